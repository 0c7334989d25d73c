"""Finding 1: does the model complete A B ... A with B, where, and by which heads?"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...evidence import bootstrap_mean, paired_difference, proportion
from ...heads.head_classes import Taxonomy
from ...lenses.convergence import convergence
from ...lenses.logit_lens import logit_lens
from ...lenses.trajectories import trajectory
from ...model.cache import get_act_name
from ...model.transformer import HookedTransformer
from ...tasks.repeated_tokens import repeated_tokens
from ...tasks.task import Task
from . import localise
from .material import Material
from .prompts import AFTER, FIRST, longest_sequence, one_repeat, passages, unforeseen, without_first
from .record import Record
from .settings import ShakespeareSettings

HALF = 0.5
PARTNERS = "previous-token"
"""Heads of this class write what induction heads read (Elhage et al. 2021)."""
_LENGTH = 24  # characters of a sequence, where context and vocabulary have room
_HALF_LENGTH = 12
_N_SUSPECTS = 3
BY_CLASS = "they have the class induction"
BY_RANDOM = "their score is above that of every head with random weights, though none has the class"
BY_RANK = "they score highest, though no higher than heads with random weights do"


def induction(
    model: HookedTransformer,
    material: Material,
    taxonomy: Taxonomy,
    settings: ShakespeareSettings,
    record: Record,
) -> Task:
    """Measure all of finding 1; gives the prompts A B ... A."""
    n, seed = settings.n_prompts, settings.seed
    task = one_repeat(model, n, min(_LENGTH, longest_sequence(model)), seed)
    _accuracy(model, material, task, settings, record.at("one_repeat"))
    with record.attempt("by_repeats") as inside:
        inside.put("rows", _by_repeats(model, material, settings))
    _passages(model, material, settings, record.at("passages"))
    chosen, why = suspects(taxonomy)
    record.put("suspected_by", why)
    record.put("suspects", [suspect_row(model, task, taxonomy, head, seed) for head in chosen])
    record.put("pattern", _pattern(model, material, task, chosen[0]))
    with record.attempt("one_repeat/where"):
        _where(model, task, taxonomy, settings, record.at("one_repeat/where"))
    with record.attempt("passages/where"):
        again = unforeseen(model, material.held_out, material.ngrams, n, seed)
        _where(model, again, taxonomy, settings, record.at("passages/where"))
    answer_lens(model, task, record.at("lens"), seed)
    return task


@torch.no_grad()
def final_logits(
    model: HookedTransformer, tokens: Int[Tensor, "prompt pos"], at: Int[Tensor, " prompt"]
) -> Float[Tensor, "prompt d_vocab"]:
    """The logits at one position of each prompt."""
    rows = [
        model(part)[torch.arange(len(part), device=part.device), index]
        for part, index in zip(tokens.split(64), at.split(64), strict=True)
    ]
    return torch.cat(rows)


def answers_right(
    model: HookedTransformer, task: Task, tokens: Int[Tensor, "prompt pos"] | None = None
) -> np.ndarray:
    """Whether the most probable character is the clean prompts' answer: [prompt]."""
    logits = final_logits(model, task.clean if tokens is None else tokens, task.lengths - 1)
    right: np.ndarray = (logits.argmax(-1) == task.correct).cpu().numpy()
    return right


def counted_right(material: Material, task: Task, order: int) -> np.ndarray:
    """The same of an n-gram model."""
    rows = task.clean.cpu().numpy()
    last = (task.lengths - 1).cpu().numpy()
    before = np.stack(
        [row[max(0, at - order + 2) : at + 1] for row, at in zip(rows, last, strict=True)]
    )
    said = material.ngrams.log_probabilities(before, order)[:, -1].argmax(-1)
    right: np.ndarray = said == task.correct.cpu().numpy()
    return right


def _share(right: np.ndarray) -> Any:
    return proportion(int(right.sum()), len(right))


def _accuracy(
    model: HookedTransformer,
    material: Material,
    task: Task,
    settings: ShakespeareSettings,
    record: Record,
) -> None:
    right = answers_right(model, task)
    bigram = counted_right(material, task, 2)
    without = answers_right(model, task, without_first(task, model, settings.seed))
    record.put("n_prompts", len(task))
    record.put("length", task.clean.shape[1] - 1)
    record.put("example", material.tokenizer.decode(task.clean[0].tolist()))
    record.put("example_answer", material.tokenizer.token(int(task.correct[0])))
    record.put("accuracy", _share(right))
    record.put("accuracy_bigram", _share(bigram))
    record.put("accuracy_ngram", _share(counted_right(material, task, material.ngrams.order)))
    record.put("accuracy_without_first", _share(without))
    for name, other in (("above_bigram", bigram), ("above_without_first", without)):
        found = paired_difference(right.astype(float), other.astype(float), settings.seed)
        record.put(name, found.interval)
        record.put(f"{name}_p", found.p_value)
    probability = final_logits(model, task.clean, task.lengths - 1).softmax(-1)
    of_answer = probability.gather(1, task.correct[:, None])[:, 0].double().cpu().numpy()
    record.put("probability", bootstrap_mean(of_answer, settings.seed))


def _by_repeats(
    model: HookedTransformer, material: Material, settings: ShakespeareSettings
) -> list[dict[str, Any]]:
    """The more of a sequence has come again, the plainer it is that it does."""
    half = min(_HALF_LENGTH, model.cfg.n_ctx // 2, (longest_sequence(model) + 1) // 2)
    rows = []
    for k in sorted({1, 2, 3, half // 2, half - 1}):
        task = repeated_tokens(
            model, settings.n_prompts, seed=settings.seed, half_length=half, n_repeated=k
        )
        right = answers_right(model, task)
        rows.append(
            {
                "repeated": k,
                "half_length": half,
                "accuracy": _share(right),
                "control": _share(answers_right(model, task, task.corrupted)),
                "bigram": _share(counted_right(material, task, 2)),
            }
        )
    return rows


@torch.no_grad()
def _passages(
    model: HookedTransformer, material: Material, settings: ShakespeareSettings, record: Record
) -> None:
    """What it is worth, in nats per character, to have read a passage before."""
    with record.attempt("gain"):
        n_ctx = model.cfg.n_ctx
        own, other, half = passages(material.held_out, n_ctx, settings.n_prompts, settings.seed)
        losses = {}
        for name, tokens in (("again", own), ("after_another", other)):
            parts = [
                model(part, return_type="loss", loss_per_token=True)[:, half:].mean(1)
                for part in tokens.to(model.device).split(64)
            ]
            losses[name] = torch.cat(parts).double().cpu().numpy()
            record.put(f"loss_{name}", bootstrap_mean(losses[name], settings.seed))
        found = paired_difference(losses["after_another"], losses["again"], settings.seed)
        record.put("gain", found.interval)
        record.put("gain_p", found.p_value)
        record.put("half_length", half)


def suspects(taxonomy: Taxonomy) -> tuple[list[str], str]:
    """(the heads that may do induction, why these): by class, else above random, else by rank."""
    by_class = list(taxonomy.of_class("induction"))
    if by_class:
        return by_class, BY_CLASS
    if taxonomy.control:
        above = list(taxonomy.above_random("induction"))[:_N_SUSPECTS]
        if above:
            return above, BY_RANDOM
    score = taxonomy.scores.mean("induction")
    order = np.argsort(-score, axis=None)[: min(2, score.size // 2)]
    return [f"{i // score.shape[1]}.{i % score.shape[1]}" for i in order.tolist()], BY_RANK


def suspect_row(
    model: HookedTransformer, task: Task, taxonomy: Taxonomy, head: str, seed: int
) -> dict[str, Any]:
    """A suspected head: its score, its classes, and where it looks on these prompts."""
    layer, number = map(int, head.split("."))
    value, low, high = taxonomy.intervals["induction"]
    looks = attention_to(model, task, [head], AFTER)[:, 0]
    n = taxonomy.scores.per_prompt["induction"].shape[-1]
    return {
        "head": head,
        "classes": list(taxonomy.classes[head]),
        "score": {
            "estimate": float(value[layer, number]),
            "low": float(low[layer, number]),
            "high": float(high[layer, number]),
            "level": 0.95,
            "n": n,
        },
        "by_chance": taxonomy.scores.by_chance["induction"],
        "looks_at_b": bootstrap_mean(looks, seed),
        "uniform": 1 / task.clean.shape[1],
    }


@torch.no_grad()
def _pattern(model: HookedTransformer, material: Material, task: Task, head: str) -> dict[str, Any]:
    """Where the heads of one head's layer look on the first prompt."""
    layer, number = map(int, head.split("."))
    name = get_act_name("pattern", layer)
    _, cache = model.run_with_cache(task.clean[:1], names_filter=name, return_type=None)
    return {
        "head": head,
        "layer": layer,
        "number": number,
        "first": int(task.positions[FIRST][0]),
        "characters": [material.tokenizer.token(token) for token in task.clean[0].tolist()],
        "patterns": cache["pattern", layer][0].double().cpu().numpy().round(4),
    }


@torch.no_grad()
def attention_to(
    model: HookedTransformer, task: Task, heads: list[str], position: str
) -> np.ndarray:
    """Attention of some heads from END to a named position: [prompt, head]."""
    wanted = [tuple(map(int, head.split("."))) for head in heads]
    names = [get_act_name("pattern", layer) for layer in sorted({layer for layer, _ in wanted})]
    found = []
    at = torch.arange(len(task), device=task.clean.device)
    for rows in at.split(64):
        _, cache = model.run_with_cache(task.clean[rows], names_filter=names, return_type=None)
        here = torch.arange(len(rows), device=rows.device)
        query, key = task.lengths[rows] - 1, task.positions[position][rows]
        patterns = [cache["pattern", layer][here, head, query, key] for layer, head in wanted]
        found.append(torch.stack(patterns, 1).double().cpu())
    values: np.ndarray = torch.cat(found).numpy()
    return values


def _where(
    model: HookedTransformer,
    task: Task,
    taxonomy: Taxonomy,
    settings: ShakespeareSettings,
    record: Record,
) -> None:
    """Layers, heads and causal tests on prompts that the model tells apart."""
    seed, memory = settings.seed, settings.max_memory
    localise.behaviour(model, task, record, seed)
    localise.layers(model, task, record, seed, memory)
    localise.heads(model, task, record, seed, memory)
    with record.attempt("ablation"):
        chosen, partners = suspects(taxonomy)[0], taxonomy.of_class(PARTNERS)
        found = localise.taken_out(model, task, chosen, settings.n_random, seed, memory, partners)
        record.put("ablation", found)


def answer_lens(model: HookedTransformer, task: Task, record: Record, seed: int) -> None:
    """The answer's probability at every layer, and the first layer that gives it more than half."""
    readings = logit_lens(model, task, seed=seed)
    of_answer = trajectory(readings, "target").intervals(seed)
    record.put("points", list(readings.points))
    record.put("answer", of_answer)
    record.put("shuffled", trajectory(readings, "shuffled").intervals(seed))
    record.put("said", trajectory(readings, "predicted").intervals(seed))
    above = [at for at, one in zip(readings.points, of_answer, strict=True) if one.estimate > HALF]
    most = max(one.estimate for one in of_answer)
    record.put("first_above_half", above[0] if above else f"none (at most {most:.3f})")
    stands = convergence(readings, "top", "predicted")
    record.put("converged_after", stands.mean(seed))
    sure = convergence(readings, "probability", "target")
    record.put("share_never_half", sure.share_never(seed))
