"""`run_evaluate`: a dictionary measured in its model, beside what as many numbers do otherwise."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from ...findings import RunFolder
from ...model.transformer import HookedTransformer
from ...sae.dictionary import Dictionary
from ...sae.evaluation import Evaluation, evaluate
from ...sae.files import load_dictionary
from ...sae.matching import Stability, stability
from ...sae.sparse_probing import SparseProbes, sparse_probes
from ...sae.spliced_loss import Place, model_batches
from ...views.dictionary_data import DictionaryReportData
from ...views.dictionary_report import dictionary_report
from ...views.dictionary_sentences import findings, warnings
from ..opening import open_model
from ..saving import FinishedRun, asked_for, origin
from ..steps import Show, Steps, Tell
from ..texts import words_of
from .evaluate_settings import EvaluateDictionarySettings
from .texts import text_of
from .train_text import training_text

_KS = (1, 2, 5)
_FILES = {"evaluation": "evaluation.safetensors", "probes": "probes.safetensors"}
_AT_ONCE = 16  # sequences whose features are held at a time


def run_evaluate(
    settings: EvaluateDictionarySettings,
    show: Show = lambda name, share: None,
    tell: Tell = lambda line: None,
) -> FinishedRun:
    """Measure a dictionary and its baselines, and save what came out.

    Args:
        settings: dictionary, model, text, where to save.
        show: told how far each step is.
        tell: told what is left out, and why.

    Raises:
        ValueError: a dictionary, model or file that is not there; a text that is empty, too short
            or of other words; a hook that the model does not have; another width.

    Example:
        >>> finished = run_evaluate(EvaluateDictionarySettings("ioi-mini-resid-2"))
        >>> finished.folder / "report.html"
    """
    dictionary = load_dictionary(settings.dictionary, settings.device)
    others = [load_dictionary(name, settings.device) for name in settings.beside]
    settings = _named(settings, dictionary)
    dictionary.cfg = dictionary.cfg.replace(hook=settings.hook)
    with RunFolder.create(settings.out, settings.command, settings) as run:
        steps = Steps(run, show)
        model = open_model(run, steps, settings)
        tokens, fit, text = _tokens(model, settings, dictionary.cfg.n_ctx)
        with steps("measure it and its baselines") as progress:
            found = evaluate(
                dictionary,
                model,
                tokens,
                fit_tokens=fit,
                skip_bos=settings.skip_bos,
                seed=settings.seed,
                progress=progress,
            )
        agreement = None
        if others:
            with steps("match it with the others"):
                agreement = _agreement(dictionary, others, found, settings)
        probes, why_not = None, ""
        if settings.labels != "none":
            with steps("labels from few features"):
                probes, why_not = _probes(model, dictionary, tokens, settings)
        if why_not:
            tell(f"No labels are read: {why_not}")
        data = DictionaryReportData(
            model=model.cfg.model_name,
            dictionary=settings.dictionary,
            text=text,
            found=found,
            stability=agreement,
            others=settings.beside,
            probes=probes,
            label={"token": "the token itself", "previous": "the previous token"}.get(
                settings.labels, ""
            ),
            settings={**asked_for(settings), **origin(run.record, settings.device)},
            timings={**run.timings, "all": run.record["seconds"]},
        )
        summary = _save(run, data)
    return FinishedRun(run.path, summary)


def _named(
    settings: EvaluateDictionarySettings, dictionary: Dictionary
) -> EvaluateDictionarySettings:
    """The settings with what the dictionary says of itself."""
    model = settings.model or dictionary.cfg.model_name
    hook = settings.hook or dictionary.cfg.hook
    for value, option in ((model, "model"), (hook, "hook")):
        if not value:
            raise ValueError(
                f"the dictionary {settings.dictionary} does not say its {option}: give --{option}."
            )
    return dataclasses.replace(settings, model=model, hook=hook)


def _tokens(
    model: HookedTransformer, settings: EvaluateDictionarySettings, n_ctx: int
) -> tuple[Int[Tensor, "n pos"], Int[Tensor, "n_fit pos"], str]:
    """Sequences to measure on, others for the baselines, and where they come from."""
    if settings.data is not None:
        # Its end, which `sae train` holds out.
        length = min(n_ctx, model.cfg.n_ctx) if n_ctx else None
        whole = training_text(model, settings.data, length, settings.n_sequences, settings.seed)
        return whole.held_out, whole.fitted_on[: settings.n_fit], whole.name
    text = text_of(model, None, settings.seed)
    n = settings.n_sequences
    return text.sequences(0, n), text.sequences(n, settings.n_fit), text.name


def _agreement(
    dictionary: Dictionary,
    others: list[Dictionary],
    found: Evaluation,
    settings: EvaluateDictionarySettings,
) -> Stability:
    """Matched cosines, of the features that are alive where that is known."""
    alive = [torch.from_numpy(found.dictionary.alive)]
    alive += [torch.ones(one.cfg.d_features, dtype=torch.bool) for one in others]
    rows = [one.W_dec.detach() for one in (dictionary, *others)]
    return stability(rows, alive, settings.threshold, settings.seed)


@torch.no_grad()
def _probes(
    model: HookedTransformer,
    dictionary: Dictionary,
    tokens: Int[Tensor, "n pos"],
    settings: EvaluateDictionarySettings,
) -> tuple[SparseProbes | None, str]:
    """Probes for the most frequent tokens, or why there are none."""
    place = Place.of(model, dictionary.cfg.hook, dictionary.cfg.hook_out)
    features, x, labels, groups = [], [], [], []
    n_rows = 0
    batches = model_batches(model, tokens, place, _AT_ONCE, settings.skip_bos)
    for number, batch in enumerate(batches):
        some = tokens[number * _AT_ONCE : (number + 1) * _AT_ONCE].to(batch.kept.device)
        kept = batch.kept.clone()
        kept[:, 0] = False  # nothing stands before it
        shifted = some.roll(1, dims=1) if settings.labels == "previous" else some
        x.append(batch.x[kept])
        features.append(dictionary.encode(batch.x[kept]))
        labels.append(shifted[kept])
        groups.append(kept.nonzero()[:, 0] + number * _AT_ONCE)
        n_rows += len(x[-1])
        if n_rows >= settings.n_probed:
            break
    token = torch.cat(labels).cpu()
    counts = torch.bincount(token, minlength=model.cfg.d_vocab)
    frequent = counts.topk(min(settings.n_labels, int((counts > 0).sum()))).indices
    words = dict(zip(frequent.tolist(), words_of(model, frequent), strict=True))
    names = [words.get(one, _OTHER) for one in token.tolist()]
    try:
        found = sparse_probes(
            torch.cat(features),
            torch.cat(x),
            names,
            torch.cat(groups).tolist(),
            _KS,
            seed=settings.seed,
            classes=list(words.values()),
        )
    except ValueError as error:
        return None, str(error)
    return found, ""


_OTHER = "(other)"


def _save(run: RunFolder, data: DictionaryReportData) -> tuple[str, ...]:
    """Results, arrays and the report; the findings in words."""
    summary = (*findings(data), *warnings(data))
    data.found.save(run.file(_FILES["evaluation"]))
    numbers: dict[str, Any] = {"measured": data.found.to_frame(), "text": data.text}
    if data.stability is not None:
        numbers["stability"] = data.stability.to_frame()
    if data.probes is not None:
        data.probes.save(run.file(_FILES["probes"]))
        numbers["probes"] = data.probes.to_frame()
    rows = data.found.dictionary
    run.save_results({"summary": summary, **numbers})
    run.save_arrays({"density": rows.density, "strength": np.asarray(rows.strength)})
    run.save_report(dictionary_report(data).html())
    return summary
