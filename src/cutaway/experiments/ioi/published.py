"""The published figures for GPT-2 small, put beside what was measured."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from ...circuits.published import published
from ...findings import Comparison
from ...model.transformer import HookedTransformer
from ...patching.ablation import ablate
from ...patching.effects import Effects
from ...tasks.task import Baseline, Task

PAPER = "Wang et al. 2022"
DEMO = "TransformerLens, Exploratory Analysis Demo"


@cache
def figures() -> dict[str, Any]:
    """The published figures and their sources, as carried in the package."""
    file = resources.files("cutaway") / "assets" / "published" / "gpt2_small_ioi.json"
    loaded: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return loaded


def applies_to(model: HookedTransformer) -> bool:
    """Whether this is GPT-2 small, by its name and its shape."""
    cfg = model.cfg
    shape = (cfg.n_layers, cfg.n_heads, cfg.d_model, cfg.d_vocab)
    return cfg.model_name in ("gpt2", "gpt2-small") and shape == (12, 12, 768, 50257)


def classes() -> dict[str, str]:
    """Head name -> its class in the paper, as in {"9.9": "name mover"}."""
    return {head: kind for kind, heads in published("ioi").classes.items() for head in heads}


def comparisons(
    model: HookedTransformer, task: Task, baseline: Baseline, heads: Effects
) -> tuple[Comparison, ...]:
    """Each published figure that this study measures too."""
    paper, demo = figures()["paper"], figures()["demo"]
    published_heads = np.array(demo["patch_head_out_all_positions"])
    measured_heads = heads.normalised()
    correlation = float(np.corrcoef(published_heads.ravel(), measured_heads.ravel())[0, 1])
    strongest = np.unravel_index(np.abs(published_heads).argmax(), published_heads.shape)
    layer, head = (int(i) for i in strongest)
    without = ablate(model, task, [(9, 9)], "zero")
    return (
        Comparison("mean logit difference", paper["mean_logit_difference"], baseline.clean, PAPER),
        Comparison("IO above S", paper["io_over_s_accuracy"], baseline.accuracy, PAPER),
        Comparison(
            "mean logit difference, 8 prompts", demo["mean_logit_difference"], baseline.clean, DEMO
        ),
        Comparison(
            "the same after 9.9 is set to zero",
            demo["mean_logit_difference_after_zero_ablating_9_9"],
            without.mean(),
            DEMO,
        ),
        Comparison(
            f"effect of patching {layer}.{head}, the largest",
            float(published_heads[strongest]),
            float(measured_heads[strongest]),
            DEMO,
        ),
        Comparison("correlation of all 144 head effects", 1.0, correlation, DEMO),
    )
