"""The bound on memory is obeyed, and what is predicted is not exceeded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from cutaway.model.config import ModelConfig
from cutaway.patching import measure
from cutaway.patching.ablation import ablate_many
from cutaway.patching.edges import sweep_edges
from cutaway.patching.effects import Effects
from cutaway.patching.memory import MemoryPlan, recorded_width
from cutaway.patching.paths import sweep_paths
from cutaway.patching.sets import sweep_pairs
from cutaway.patching.sweep import sweep
from live_memory import LiveMemory
from random_models import random_model, small_task

CFG = ModelConfig(n_layers=2, d_model=64, n_heads=4, d_vocab=200, n_ctx=32)

Run = Callable[..., Effects]
RUNS: dict[str, Run] = {
    "z": lambda *a, **k: sweep(*a, "z", **k),
    "k": lambda *a, **k: sweep(*a, "k", **k),
    "mean result": lambda *a, **k: sweep(*a, "result", "mean", **k),
    "resid_pre": lambda *a, **k: sweep(*a, "resid_pre", positions="each", **k),
    "one key": lambda *a, **k: sweep(*a, "pattern", "zero", positions=[5, 9], keys="each", **k),
    "neurons": lambda *a, **k: sweep(*a, "mlp_pre", neurons_per_group=4, **k),
    "paths": lambda *a, **k: sweep_paths(*a, ["logits", "1.1.q"], mlps="recomputed", **k),
    "edges": sweep_edges,
    "pairs": lambda *a, **k: sweep_pairs(*a, ["0.1", "1.2", "1.0"], value="mean", **k),
}


def watched(monkeypatch: Any, run: Callable[[], Any]) -> tuple[Any, int, MemoryPlan]:
    """(result, bytes that lived at most, the plan that was made)."""
    plans: list[MemoryPlan] = []

    def planned(*arguments: Any) -> MemoryPlan:
        plans.append(plan_memory(*arguments))
        return plans[-1]

    plan_memory = measure.plan_memory
    monkeypatch.setattr(measure, "plan_memory", planned)
    with LiveMemory() as memory:
        result = run()
    return result, memory.peak, plans[0]


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("bound", [1_000_000])
def test_a_small_bound_is_obeyed_and_changes_nothing(name, bound, monkeypatch) -> None:
    model, task = random_model(CFG), small_task(CFG, n_prompts=16, n_pos=14, first=3)
    bounded, peak, plan = watched(monkeypatch, lambda: RUNS[name](model, task, max_memory=bound))
    assert plan.predicted_peak <= bound and plan.prompts_per_batch < len(task)
    results = 3 * bounded.patched.nbytes
    assert peak <= bound + results
    np.testing.assert_allclose(bounded.patched, RUNS[name](model, task).patched, atol=1e-4)


@pytest.mark.parametrize("name", RUNS)
def test_what_is_predicted_is_not_exceeded_nor_far_away(name, monkeypatch) -> None:
    model, task = random_model(CFG), small_task(CFG, n_prompts=16, n_pos=14, first=3)
    effects, peak, plan = watched(monkeypatch, lambda: RUNS[name](model, task))
    assert plan.predicted_peak / 15 <= peak <= plan.predicted_peak + 3 * effects.patched.nbytes


def test_ablations_obey_their_bound(monkeypatch) -> None:
    model, task = random_model(CFG), small_task(CFG, n_prompts=16, n_pos=14, first=3)
    sets = [["0.1", "1.3"], ["1.1"], []]

    def run() -> Any:
        return ablate_many(model, task, sets, "mean", max_memory=700_000)

    bounded, peak, _ = watched(monkeypatch, run)
    assert peak <= 700_000
    for some, whole in zip(bounded, ablate_many(model, task, sets, "mean"), strict=True):
        np.testing.assert_allclose(some.ablated, whole.ablated, atol=1e-4)


def test_the_width_of_every_hook_is_what_a_run_records() -> None:
    for change in ({}, {"gated_mlp": True, "n_key_value_heads": 2}):
        for positional in ("standard", "rotary"):
            cfg = CFG.replace(positional_embedding_type=positional, **change)
            model = random_model(cfg)
            model.set_use_attn_result(True)
            tokens = torch.ones(1, 7, dtype=torch.long)
            _, cache = model.run_with_cache(tokens, names_filter=lambda name: "blocks.1." in name)
            for name, value in cache.items():
                if not name.endswith(("scale", "input", "in", "normalized")):
                    assert recorded_width(cfg, name, 7) * 7 == value.numel(), name


@pytest.mark.parametrize("name", [name for name in RUNS if name != "pairs"])
def test_the_peak_is_told_before_anything_is_run(name, monkeypatch) -> None:
    model, task = random_model(CFG), small_task(CFG, n_pos=14, first=3)
    told: list[int] = []

    def refuse(self: Any, *arguments: Any) -> None:
        raise AssertionError("something was run")

    monkeypatch.setattr(measure.Measurement, "_batch", refuse)
    with pytest.raises(AssertionError, match="something was run"):
        RUNS[name](model, task, tell_memory=told.append)
    assert len(told) == 1 and told[0] > 0
