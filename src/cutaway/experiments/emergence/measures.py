"""One model, measured in every way of the study: arrays by name, per prompt where there are any."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from ...heads import copying_scores, taxonomy
from ...lenses import convergence, logit_lens
from ...model.cache import get_act_name
from ...model.transformer import HookedTransformer
from ...patching.sweep import sweep
from ...probing import Labels, ProbeSettings, PromptSet, collect, fit_probes
from ...steering import dose_response, embedding_difference
from ...training.name_pairs import Prompts
from ...views.emergence_data import CLASSES, STEERED
from .prompts import Measured

Arrays = dict[str, NDArray[np.float32]]
_N_REPEATS = 32  # random prompts [BOS, r, r]
_LONGEST_HALF = 15
_N_RANDOM = 2  # directions beside each steering vector
_PROBE = ProbeSettings(
    method="ridge", penalties=(10.0,), n_controls=1, n_shuffles=1, n_random_models=0
)


def measure(model: HookedTransformer, on: Measured, seed: int) -> Arrays:
    """Everything that the study says of one checkpoint.

    Args:
        model: norms folded, as a checkpoint is loaded.
        on: prompts and sequences.
        seed: of random prompts, splits and controls.
    """
    found = {
        **losses(model, on),
        **behaviour(model, on),
        **heads(model, on, seed),
        **probes(model, on, seed),
        **lens(model, on.prompts),
        **patching(model, on.prompts),
        **steering(model, on.prompts, seed),
    }
    return {name: np.asarray(values, dtype=np.float32) for name, values in found.items()}


@torch.no_grad()
def losses(model: HookedTransformer, on: Measured) -> dict[str, NDArray[np.floating]]:
    """Loss on held-out sequences in nats: of all tokens, of B the first time and again, and of the
    tokens at an early and at a late place (the in-context score is their difference)."""
    rows = on.rows.to(model.device)
    logs = model(rows[:, :-1]).log_softmax(-1)
    each = torch.zeros(rows.shape, device=rows.device)
    each[:, 1:] = -logs.gather(-1, rows[:, 1:, None])[..., 0]  # of the token at that place

    def over(marks: Tensor) -> Float[Tensor, " row"]:
        marks = marks.to(each.device)
        return (each * marks).sum(1) / marks.sum(1)

    found = {
        "loss": each[:, 1:].mean(1),
        "loss again": over(on.again),
        "loss first": over(on.first),
        "loss early": each[:, on.early.start : on.early.stop].mean(1),
        "loss late": each[:, on.late.start : on.late.stop].mean(1),
    }
    return {name: values.cpu().numpy() for name, values in found.items()}


@torch.no_grad()
def behaviour(model: HookedTransformer, on: Measured) -> dict[str, NDArray[np.floating]]:
    """At END: whether B is likelier than the B of every other pair ("chosen"), whether the
    likeliest token of all is one of them ("some"), or is B ("correct"), and B's probability; and
    the attention of each head from END to B (an induction head's), on average to the B of another
    pair, and from B to its A."""
    prompts, seconds = on.prompts, on.seconds.to(model.device)
    tokens = prompts.tokens.to(model.device)
    rows = torch.arange(len(tokens), device=model.device)
    at_a, at_b = prompts.at_a.to(model.device), prompts.at_b.to(model.device)
    answer = prompts.answer.to(model.device)
    names = [get_act_name("pattern", layer) for layer in range(model.cfg.n_layers)]
    logits, patterns = model.record(tokens, names_filter=names)
    last = logits[:, -1].softmax(-1)
    of_layer = [patterns[name] for name in names]  # each [prompt, head, query, key]
    looks = [p[rows, :, -1, at_b].T for p in of_layer]
    n_others = seconds.shape[1] - 1
    all_seconds = [p[:, :, -1, on.second_places].sum(-1).T for p in of_layer]
    others = [(whole - one) / n_others for whole, one in zip(all_seconds, looks, strict=True)]
    tells = [p[rows, :, at_b, at_a].T for p in of_layer]
    best = last.argmax(-1)
    among = seconds.gather(1, last.gather(1, seconds).argmax(-1, keepdim=True))[:, 0]
    return {
        "chosen": (among == answer).float().cpu().numpy(),
        "some": (best[:, None] == seconds).any(-1).float().cpu().numpy(),
        "correct": (best == answer).float().cpu().numpy(),
        "probability": last[rows, answer].cpu().numpy(),
        "END to B": torch.stack(looks).cpu().numpy(),  # [layer, head, prompt]
        "END to others": torch.stack(others).cpu().numpy(),
        "B to A": torch.stack(tells).cpu().numpy(),
    }


@torch.no_grad()
def heads(model: HookedTransformer, on: Measured, seed: int) -> dict[str, NDArray[np.floating]]:
    """Scores on random names [BOS, r, r], copying by weights, and classes by the thresholds."""
    half = min(_LONGEST_HALF, (model.cfg.n_ctx - 1) // 2, len(on.names) // 2)
    found = taxonomy(
        model,
        n_prompts=_N_REPEATS,
        half_length=half,
        n_random=0,
        seed=seed,
        vocabulary=on.names,
        copying_draws=0,
    )
    flags = found.flags
    return {
        "induction": found.scores.per_prompt["induction"],
        "previous-token": found.scores.per_prompt["previous-token"],
        "copying": copying_scores(model).cpu().numpy(),
        "classes": np.stack([flags.get(name, np.zeros(found.shape)) for name in CLASSES], axis=-1),
    }


def probes(model: HookedTransformer, on: Measured, seed: int) -> dict[str, NDArray[np.floating]]:
    """Linear probes at END for "which token is B": before layer 0 and after each layer. Beside
    them: the same probes for the B of another pair, for shuffled labels, and for labels that were
    dealt out by A (a control task in the sense of Hewitt and Liang 2019)."""
    prompts = PromptSet.of_tokens(on.probed.tokens.to(model.device))
    settings = ProbeSettings(**{**vars(_PROBE), "seed": seed})
    found: dict[str, list[NDArray[np.floating]]] = {}
    for site, layers in (("resid_pre", [0]), ("resid_post", None)):
        for name, tokens in (("probe", on.probed.answer), ("probe another", on.another)):
            labels = Labels.of(name, tokens.tolist())
            data = collect(model, prompts, labels, site=site, layers=layers, positions=["END"])
            result = fit_probes(data, settings)
            found.setdefault(name, []).append(result.score[:, 0])
            if name == "probe":
                for control in ("shuffled labels", "control task"):
                    values = result.controls[control][:, 0]
                    found.setdefault(f"probe {control}", []).append(values)
    return {name: np.concatenate(parts) for name, parts in found.items()}  # [place, prompt]


def lens(model: HookedTransformer, prompts: Prompts) -> dict[str, NDArray[np.floating]]:
    """The logit lens at END: whether B is on top at each point, and after how many layers it stays
    there (one more than there are, where it never does)."""
    readings = logit_lens(model, prompts.task(model), top=1)
    found = convergence(readings, token="target")
    never = model.cfg.n_layers + 1
    return {
        "lens": (readings.rank["target"][..., 0] == 0).astype(np.float32),  # [point, prompt]
        "lens layer": np.minimum(found.first[:, 0], never),
    }


def patching(model: HookedTransformer, prompts: Prompts) -> dict[str, NDArray[np.floating]]:
    """Each head's output of the clean run in the corrupted one, where C stands in B's place: by how
    many logits B gains on C, exactly; and what there is to gain."""
    effects = sweep(model, prompts.task(model), "z", positions="all")
    return {
        "patched": effects.patched - effects.corrupted,  # [layer, head, prompt]
        "to gain": effects.clean - effects.corrupted,
    }


def steering(
    model: HookedTransformer, prompts: Prompts, seed: int
) -> dict[str, NDArray[np.floating]]:
    """Emb(C) - Emb(B) added before each layer, at B's place and at END: whether C becomes the
    likeliest token of all; and the same with random directions of equal length."""
    task = prompts.task(model)
    other = prompts.other.to(model.device)
    vector = embedding_difference(model, other, task.correct)
    steered, control = [], []
    layers = sorted({layer for _, layer in STEERED})
    for position in dict.fromkeys(position for position, _ in STEERED):
        found = dose_response(
            model,
            task,
            vector,
            other,
            layers=layers,
            coefficients=(1.0,),
            positions=position,
            unit="own",
            n_random=_N_RANDOM,
            seed=seed,
        )
        steered.append(found.top[0, :, 0])  # [layer, prompt]
        control.append(found.top[1:, :, 0].mean(0))
    return {"steered": np.concatenate(steered), "steered random": np.concatenate(control)}
