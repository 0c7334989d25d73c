"""The standing text of the reports on one measurement: what each measures, and when it misleads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .measurement_data import MeasurementReportData

SITES = {
    "embed": "what the tokens put into the residual stream",
    "pos_embed": "what the positions put into the residual stream",
    "resid_pre": "the residual stream before a layer",
    "resid_mid": "the residual stream between a layer's attention and its MLP",
    "resid_post": "the residual stream after a layer",
    "attn_out": "what the attention of a layer adds to the residual stream",
    "mlp_out": "what the MLP of a layer adds to the residual stream",
    "mlp_pre": "a neuron before its activation function",
    "mlp_post": "a neuron after its activation function",
    "z": "what one attention head moved, before W_O",
    "result": "what one attention head writes to the residual stream",
    "q": "the queries of one attention head",
    "k": "the keys of one attention head",
    "v": "the values of one attention head",
    "pattern": "where one attention head looks, after the softmax",
    "attn_scores": "the attention scores of one head, before the softmax",
}

_VALUES = {
    "zero": "zeros",
    "mean": "its mean over the corrupted prompts of the same group, position by position",
    "resample": "its value in a corrupted prompt of the same group, drawn at random",
}

_GRADIENTS = {
    "base": "taken in the run that is patched",
    "eap": "taken in the run that is patched",
    "both-ends": "the mean of those in both runs",
    "clean-corrupted": "the mean of those in both runs",
    "integrated": "the mean over {steps} runs whose token embeddings lie between the two",
    "eap-ig-inputs": "the mean over {steps} runs whose token embeddings lie between the two",
    "eap-ig-activations": "the mean over {steps} runs in which one component's output lies between "
    "the two",
}


def title(data: MeasurementReportData) -> str:
    """The heading of the page."""
    site = data.choices.get("site", "")
    return {
        "patch": f"Patching {site} in {data.model}"
        if data.choices.get("value") == "patch"
        else f"Ablating {site} in {data.model}",
        "paths": f"Paths in {data.model}",
        "edges": f"Every edge of {data.model}",
        "attribute": f"Attribution of {'edges' if data.of_edges else site} in {data.model}",
    }[data.command]


def question(data: MeasurementReportData) -> str:
    """What the page answers, in one sentence."""
    enough = data.measured.effects.mode == "denoising"
    asked = "is enough to bring the answer back" if enough else "is needed for the answer"
    part = {
        "paths": "Which path from one part of the model to another",
        "edges": "Which single edge between two parts of the model",
    }.get(data.command, "Which edge" if data.of_edges else "Which part of the model")
    hedge = ", by the estimate of gradients" if data.is_estimate else ""
    return f"{part} {asked}{hedge}?"


def definition(data: MeasurementReportData) -> str:
    """What was done to the model, in words."""
    into, out_of = runs(data)
    if data.command == "paths":
        return _paths(data.choices, into, out_of)
    if data.command == "edges":
        return (
            f"In the {into} run, the one contribution of a sender is swapped for what it writes in "
            f"the {out_of} run, in the input of one receiver alone; all that follows from it is "
            "computed anew, and nothing else. This is done for every edge, one at a time, and is "
            "exact."
        )
    if data.is_estimate:
        return _estimate(data, into, out_of)
    site, value = str(data.choices["site"]), str(data.choices["value"])
    put = _VALUES.get(value, f"its value in the {out_of} run")
    return (
        f"In the {into} run, one value at a time is replaced by {put}: {SITES[site]} ({site}). All "
        "that follows from it is computed anew, and the metric is read. This is exact."
    )


def _paths(choices: Mapping[str, Any], into: str, out_of: str) -> str:
    between = (
        "all that lies between keeps its value, so that only the direct edge carries anything"
        if choices["mlps"] == "frozen"
        else "heads between them keep their values, and MLPs between them answer to the change"
    )
    where = " ".join(choices["positions"])
    return (
        f"In the {into} run, what a sender writes is swapped for what it writes in the {out_of} "
        f"run, and only the receiver sees it: {between}. What follows from the receiver's new "
        f"input{f' at {where}' if where else ''} is computed anew. This is exact."
    )


def _estimate(data: MeasurementReportData, into: str, out_of: str) -> str:
    way = "method" if data.of_edges else "gradient"
    how = _GRADIENTS[str(data.choices[way])].format(steps=data.choices["steps"])
    site = str(data.choices["site"])
    what = "each sender's contribution" if data.of_edges else f"{SITES[site]} ({site})"
    whose = "the receiver's input" if data.of_edges else "it"
    return (
        f"The change of {what} from the {into} to the {out_of} run is multiplied by the gradient "
        f"of the metric with respect to {whose}, {how}. This is what replacing it in the {into} "
        "run would do if everything after it were linear: an estimate, and not the effect."
    )


def runs(data: MeasurementReportData) -> tuple[str, str]:
    """The run that is intervened on, and the other one."""
    denoising = data.measured.effects.mode == "denoising"
    return ("corrupted", "clean") if denoising else ("clean", "corrupted")


def formula(data: MeasurementReportData) -> tuple[str, str]:
    """How an effect is normalised, and what 0 and 1 mean."""
    if data.measured.effects.mode == "denoising":
        return (
            "(patched − corrupted) / (clean − corrupted)",
            "0: nothing is restored; 1: all of the difference; below 0: the metric moves away "
            "from the clean run's.",
        )
    return (
        "(clean − patched) / (clean − corrupted)",
        "0: nothing is lost; 1: all of the difference; below 0: the metric moves away from the "
        "corrupted run's.",
    )


def value_label(data: MeasurementReportData) -> str:
    """The unit of the effects."""
    word = "restored" if data.measured.effects.mode == "denoising" else "lost"
    return f"share of the difference {word}" + (" (estimate)" if data.is_estimate else "")


def cautions(data: MeasurementReportData) -> tuple[str, ...]:
    """When these numbers mislead."""
    found = [*_CAUTIONS[data.command], *_CAUTIONS["all"]]
    if data.choices.get("value", "patch") != "patch":
        found.insert(0, _ABLATED)
    positions = [a.labels for a in data.measured.effects.axes if a.name in ("position", "key")]
    if any(label.isdecimal() for labels in positions for label in labels):
        found.insert(0, _NUMBERED)
    return tuple(found)


_NUMBERED = (
    "A token's number means something else in prompts of another form or length; named positions "
    "mean the same in all."
)

_ABLATED = (
    "Heads and layers write a part that is the same in all prompts and that later parts rely on. "
    "Zeros take this away as well; means and resampled values keep it. Effects are divided by the "
    "difference of clean and corrupted all the same, so that they can exceed 1."
)

_CAUTIONS = {
    "patch": (
        "Effects of different places do not add up: two places in a row along one path can each "
        "carry all of it.",
        "A residual stream holds everything written before it, so an effect there says where "
        "information has arrived, and not which part put it there.",
    ),
    "paths": (
        "A path has no effect of its own if the receiver reads what the sender writes only "
        "together with something else.",
        "The two conventions differ: with MLPs recomputed, a path includes what MLPs make of the "
        "sender's output on the way.",
    ),
    "edges": (
        "An edge that does nothing alone can matter together with others, and of two edges that "
        "can stand in for each other denoising finds both and noising neither.",
        "Effects of edges do not add up to the effect of their sender.",
    ),
    "attribute": (
        "Where the model is far from linear, as in attention that saturates or a norm whose scale "
        "changes, an estimate can be far off, or have the wrong sign. --exact shows by how much.",
        "The intervals say how the estimate would vary with other prompts. They do not hold its "
        "error.",
    ),
    "all": (
        "What is the same in the clean and in the corrupted prompts cannot show an effect, however "
        "important it is.",
        "Intervals say how the figures would vary with other prompts of the same kind, and nothing "
        "of other corruptions or other models.",
    ),
}

REFERENCES = {
    "patch": (
        "J. Vig et al. (2020): Investigating Gender Bias in Language Models Using Causal Mediation "
        "Analysis. arXiv:2004.12265.",
        "F. Zhang, N. Nanda (2023): Towards Best Practices of Activation Patching in Language "
        "Models: Metrics and Methods. arXiv:2309.16042.",
    ),
    "paths": (
        "K. Wang et al. (2022): Interpretability in the Wild: a Circuit for Indirect Object "
        "Identification in GPT-2 small. arXiv:2211.00593.",
        "N. Goldowsky-Dill et al. (2023): Localizing Model Behavior with Path Patching. "
        "arXiv:2304.05969.",
    ),
    "edges": (
        "A. Conmy et al. (2023): Towards Automated Circuit Discovery for Mechanistic "
        "Interpretability. arXiv:2304.14997.",
    ),
    "attribute": (
        "A. Syed, C. Rager, A. Conmy (2023): Attribution Patching Outperforms Automated Circuit "
        "Discovery. arXiv:2310.10348.",
        "M. Hanna, S. Pezzelle, Y. Belinkov (2024): Have Faith in Faithfulness: Going Beyond "
        "Circuit Overlap When Finding Model Mechanisms. arXiv:2403.17806.",
        "J. Kramár et al. (2024): AtP*: An efficient and scalable method for localizing LLM "
        "behaviour to components. arXiv:2403.00745.",
    ),
}
