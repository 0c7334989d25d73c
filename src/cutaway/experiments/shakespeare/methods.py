"""The method section: do patching, attention analysis and lens work here, and what do they cost?"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from ...circuits.known.base import BOS
from ...evidence import proportion
from ...heads.measured import head_scores
from ...heads.scores import SCORES
from ...heads.thresholds import default_thresholds
from ...lenses.logit_lens import logit_lens
from ...model.cache import get_act_name
from ...model.transformer import HookedTransformer
from ...patching.sweep import sweep
from ..heads.hand_written import labelled_models
from ..heads.settings import CalibrateHeadsSettings
from . import localise
from .material import Material
from .prompts import far_context
from .record import Record
from .settings import ShakespeareSettings

_REPEATS = 5
_N_TIMED = 32
_N_HEADS = 2
_UNSEEN_SEED = 1000  # the thresholds were set and tried on seeds far below


def methods(
    model: HookedTransformer, material: Material, settings: ShakespeareSettings, record: Record
) -> None:
    """Effectiveness and cost of each method, on one model."""
    with record.attempt("patching/found_elsewhere"):
        record.put("patching/found_elsewhere", _found_elsewhere(model, material, settings))
    _extraction(model, material, settings, record.at("attention"))
    _categories(settings, record.at("attention/categories"))
    with record.attempt("cost"):
        _cost(model, material, settings, record.at("cost"))


def _found_elsewhere(
    model: HookedTransformer, material: Material, settings: ShakespeareSettings
) -> dict[str, Any]:
    """Heads that patching puts first on some prompts, taken out on others: is more lost than
    without as many random heads?"""
    first, second = (
        far_context(
            model, material.held_out, material.ngrams, material.wide, settings.n_prompts, seed
        )
        for seed in (settings.seed + 1, settings.seed + 2)
    )
    for task in (first, second):
        localise.behaviour(model, task, Record(), settings.seed)
    effects = sweep(model, first, "z", max_memory=settings.max_memory)
    chosen = localise.top_heads(effects, _N_HEADS)
    return localise.taken_out(
        model, second, chosen, settings.n_random, settings.seed, settings.max_memory
    )


@torch.no_grad()
def _extraction(
    model: HookedTransformer, material: Material, settings: ShakespeareSettings, record: Record
) -> None:
    """Whether the recorded patterns are what attention has to be: rows of sum 1, nothing ahead."""
    rows = material.windows(model.cfg.n_ctx, 8, settings.seed).to(model.device)
    names = [get_act_name("pattern", layer) for layer in range(model.cfg.n_layers)]
    _, cache = model.run_with_cache(rows, names_filter=names, return_type=None)
    patterns = torch.stack([cache["pattern", layer] for layer in range(model.cfg.n_layers)])
    record.put("worst_row_sum", float((patterns.sum(-1) - 1).abs().max()))
    record.put("most_ahead", float(patterns.triu(1).abs().max()))


def _categories(settings: ShakespeareSettings, record: Record) -> None:
    """Classes given to heads that are known by construction, in models nobody set thresholds on."""
    thresholds = default_thresholds().of
    found = with_class = false = without = 0
    for sharpness in CalibrateHeadsSettings().sharpness:
        for one in labelled_models(_UNSEEN_SEED + settings.seed, sharpness):
            scores = head_scores(one.model, 16, None, settings.seed, one.vocabulary, bos_token=BOS)
            for name in scores.per_prompt:
                above = scores.above_chance(name).mean(-1) > thresholds[name].value
                for layer, head in np.ndindex(above.shape):
                    classes = one.classes(f"{layer}.{head}")
                    if SCORES[name].unless in classes:
                        continue
                    has = name in classes
                    with_class, without = with_class + has, without + (not has)
                    found += bool(above[layer, head]) and has
                    false += bool(above[layer, head]) and not has
    record.put("found", proportion(found, with_class))
    record.put("false", proportion(false, without))
    right = found + without - false
    record.put("accuracy", proportion(right, with_class + without))


def _cost(
    model: HookedTransformer, material: Material, settings: ShakespeareSettings, record: Record
) -> None:
    """Milliseconds per layer of each method on the same number of prompts; median of several."""
    n = min(_N_TIMED, settings.n_prompts)
    task = far_context(model, material.held_out, material.ngrams, material.wide, n, settings.seed)
    tokens = task.clean
    names = [get_act_name("pattern", layer) for layer in range(model.cfg.n_layers)]

    @torch.no_grad()
    def plain() -> None:
        model(tokens)

    @torch.no_grad()
    def patterns() -> None:
        model.run_with_cache(tokens, names_filter=names, return_type=None)

    timed: dict[str, Callable[[], Any]] = {
        "plain_run": plain,
        "patching_layer": lambda: sweep(model, task, "attn_out", positions="all"),
        "patching_heads": lambda: sweep(model, task, "z"),
        "attention": patterns,
        "lens": lambda: logit_lens(model, tokens),
    }
    record.put("n_prompts", n)
    record.put("n_positions", int(tokens.shape[1]))
    record.put("n_layers", model.cfg.n_layers)
    record.put("device", str(model.device))
    record.put("threads", torch.get_num_threads())
    for name, call in timed.items():
        call()  # the first call pays for what is kept
        seconds = []
        for _ in range(_REPEATS):
            start = time.perf_counter()
            call()
            if model.device.type == "cuda":
                torch.cuda.synchronize(model.device)
            seconds.append(time.perf_counter() - start)
        per_layer = [1000 * one / model.cfg.n_layers for one in seconds]
        record.put(
            f"ms_per_layer/{name}",
            {
                "median": statistics.median(per_layer),
                "least": min(per_layer),
                "most": max(per_layer),
                "n": _REPEATS,
            },
        )
