"""`run_attention`: run a model on a text, and save where its heads look."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ...findings import RunFolder
from ...model.transformer import HookedTransformer
from ...views.attention import AttentionExample
from ...views.attention_report import AttentionReportData, Reading, attention_report, findings
from ..opening import open_model
from ..saving import FinishedRun, origin
from ..steps import Show, Steps, Tell
from .prompts import Looked, check_prompts, prompts
from .rates import mean_rates, rates, uniform_rates
from .settings import AttentionSettings

_LARGEST_PAGE = 30_000_000  # bytes of weights in a page, before a browser becomes slow


def run_attention(
    settings: AttentionSettings,
    show: Show = lambda name, share: None,
    tell: Tell = lambda line: None,
) -> FinishedRun:
    """Look at the attention of a model on one text or on a task's prompts, and save it.

    Args:
        settings: the text or task, the model and which of its heads, where to save.
        show: told how far each step is.
        tell: told what is worth knowing before the work begins; nothing here.

    Raises:
        ValueError: a text that is too long or holds unknown words, a head, layer, model or task
            that is not there, or more weights than a page can show.

    Example:
        >>> finished = run_attention(AttentionSettings("When Mary and John"))  # doctest: +SKIP
        >>> finished.folder / "report.html"  # doctest: +SKIP
    """
    check_prompts(settings)
    with RunFolder.create(settings.out, settings.command, settings) as run:
        steps = Steps(run, show)
        model = open_model(run, steps, settings)
        heads = _heads(model, settings)
        asked = prompts(model, settings)
        _check_size(len(heads), asked)
        with steps("run the model") as progress:
            readings, patterns = [], []
            for at, looked in enumerate(asked):
                reading, weights = _read(model, looked, heads)
                readings.append(reading)
                patterns.append(weights)
                progress((at + 1) / len(asked))
        rows = [looked.tokens.cpu().numpy() for looked in asked]
        of_heads = mean_rates([rates(*pair) for pair in zip(patterns, rows, strict=True)])
        alike = [uniform_rates(row) for row in rows]
        uniform = mean_rates([{k: np.array([v]) for k, v in one.items()} for one in alike])
        data = AttentionReportData(
            model=model.cfg.model_name,
            task=settings.task,
            heads=tuple(f"{layer}.{head}" for layer, head in heads),
            readings=tuple(readings),
            rates=of_heads,
            uniform={name: float(value[0]) for name, value in uniform.items()},
            settings={**_asked(settings), **origin(run.record, settings.device)},
            timings={**run.timings, "all": run.record["seconds"]},
        )
        summary = _save(run, data, patterns)
    return FinishedRun(run.path, summary)


def _heads(model: HookedTransformer, settings: AttentionSettings) -> list[tuple[int, int]]:
    """The heads that were asked for, as (layer, head)."""
    cfg = model.cfg
    shape = f"{cfg.model_name} has {cfg.n_layers} layers of {cfg.n_heads} heads, both from 0 on"
    if settings.heads:
        found = [(int(layer), int(head)) for layer, head in (h.split(".") for h in settings.heads)]
        for layer, head in found:
            if layer >= cfg.n_layers or head >= cfg.n_heads:
                raise ValueError(f"there is no head {layer}.{head}: {shape}.")
        return list(dict.fromkeys(found))
    layers = sorted(set(settings.layers)) or list(range(cfg.n_layers))
    outside = [layer for layer in layers if not 0 <= layer < cfg.n_layers]
    if outside:
        raise ValueError(f"there is no layer {outside[0]}: {shape}.")
    return [(layer, head) for layer in layers for head in range(cfg.n_heads)]


def _check_size(n_heads: int, asked: tuple[Looked, ...]) -> None:
    size = n_heads * sum(len(looked.words) ** 2 for looked in asked) * 2 // 3  # half, as base64
    if size > _LARGEST_PAGE:
        raise ValueError(
            f"{n_heads} heads on {sum(len(looked.words) for looked in asked)} tokens make a page "
            f"of {size / 1e6:.0f} MB: choose some with --heads or --layers, or a shorter text."
        )


@torch.no_grad()
def _read(
    model: HookedTransformer, looked: Looked, heads: list[tuple[int, int]]
) -> tuple[Reading, NDArray[np.float32]]:
    """What the model makes of one prompt, and the patterns of the heads [head, query, key]."""
    layers = sorted({layer for layer, _ in heads})
    names = {layer: f"blocks.{layer}.attn.hook_pattern" for layer in layers}
    logits, cache = model.run_with_cache(looked.tokens[None], names_filter=list(names.values()))
    weights = torch.stack([cache[names[layer]][0, head] for layer, head in heads])
    log_probs = logits[0].float().log_softmax(-1)  # [pos, d_vocab]
    of_next = log_probs[:-1].gather(1, looked.tokens[1:, None])[:, 0]
    best = log_probs[:-1].max(-1)
    guesses = _guesses(model, best.indices.tolist())
    example = AttentionExample(weights.float().cpu().numpy(), looked.words, looked.marks, title="")
    reading = Reading(
        example=example,
        loss=np.concatenate([[np.nan], -of_next.cpu().double().numpy()]),
        guesses=("", *guesses),
        guess_probability=np.concatenate([[np.nan], best.values.exp().cpu().double().numpy()]),
    )
    return reading, weights.float().cpu().numpy()


def _guesses(model: HookedTransformer, tokens: list[int]) -> list[str]:
    if model.tokenizer is None:
        return [str(token) for token in tokens]
    return [model.to_single_str_token(token) for token in tokens]


def _save(
    run: RunFolder, data: AttentionReportData, patterns: list[NDArray[np.float32]]
) -> tuple[str, ...]:
    """Numbers, patterns and the report; the findings in words."""
    summary = findings(data)
    run.save_results(
        {
            "summary": summary,
            "heads": [
                {"head": name, **{rate: float(values[at]) for rate, values in data.rates.items()}}
                for at, name in enumerate(data.heads)
            ],
            "uniform": data.uniform,
            "prompts": [
                {"tokens": list(one.example.tokens), "loss": one.loss.tolist()}
                for one in data.readings
            ],
        }
    )
    arrays: dict[str, NDArray[Any]] = {}
    for at, (reading, weights) in enumerate(zip(data.readings, patterns, strict=True)):
        arrays[f"pattern {at}"] = weights  # [head, query, key]
        arrays[f"loss {at}"] = reading.loss
    run.save_arrays(arrays)
    run.save_report(attention_report(data).html())
    return summary


def _asked(settings: AttentionSettings) -> dict[str, str]:
    """What was asked for, in the words of the command line."""
    found = {}
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        of_task = field.name in ("n_prompts", "corruption", "seed")
        if field.name in ("out", "device") or (of_task and not settings.task):
            continue
        text = " ".join(map(str, value)) if isinstance(value, tuple) else str(value or "")
        if text:
            found[field.name.replace("_", " ")] = text
    return found
