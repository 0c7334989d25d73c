"""What heads move from each token: against a plain loop, and adding up to what they write."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import cutaway as ca
from cutaway.attribution.direct import direct_attribution
from cutaway.attribution.sources import source_attribution
from cutaway.circuits.known.registry import KNOWN
from cutaway.model.transformer import HookedTransformer
from cutaway.tasks.task import Task
from random_models import configs, small_task, tasks
from test_direct_attribution import CFG, assert_close, in_double, linear

GOLDEN = {"1.2 from S2": 3.492, "3.6 from END": 2.001}  # of ioi-mini, 64 prompts, seed 0


def sources_by_hand(model: HookedTransformer, task: Task, layer: int, head: int) -> np.ndarray:
    """[source, prompt]: pattern x value x W_O at each source, alone through the frozen norm."""
    metric, norm = task.metric, model.ln_final
    _, cache = model.run_with_cache(task.clean)
    W_O = model.blocks[layer].attn.W_O[head]
    v = cache["v", layer][:, :, head // model.cfg.heads_per_group]
    found = torch.zeros(task.clean.shape[1], len(task), dtype=v.dtype)
    for prompt in range(len(task)):
        direction = model.W_U[:, metric.correct[prompt]].mean(1)
        direction = direction - model.W_U[:, metric.wrong[prompt]].mean(1)
        for read in metric.positions[prompt].tolist():
            for source in range(task.clean.shape[1]):
                share = cache["pattern", layer][prompt, head, read, source]
                moved = share * v[prompt, source] @ W_O
                if model.cfg.normalization_type in ("LN", "LNPre"):
                    moved = moved - moved.mean()
                if model.cfg.normalization_type is not None:
                    moved = moved / cache["scale"][prompt, read]
                if getattr(norm, "w", None) is not None:
                    moved = moved * norm.w
                found[source, prompt] += (moved @ direction) / metric.positions.shape[1]
    return found.detach().numpy()


@st.composite
def cases(draw: st.DrawFn) -> tuple[HookedTransformer, Task, int, int]:
    cfg = draw(configs())
    layer = draw(st.integers(0, cfg.n_layers - 1))
    head = draw(st.integers(0, cfg.n_heads - 1))
    return in_double(cfg, draw(st.integers(0, 100))), draw(tasks(cfg)), layer, head


@settings(max_examples=10)
@given(cases())
def test_every_source_equals_the_plain_loop_and_all_add_up_to_the_head(case) -> None:
    model, task, layer, head = case[0], linear(case[1]), *case[2:]
    found = source_attribution(model, task, [(layer, head)])
    assert found.axes[0].labels == (f"{layer}.{head}",)
    assert_close(found.values[0], sources_by_hand(model, task, layer, head))
    direct = direct_attribution(model, task, "head").of(f"{layer}.{head}")
    assert_close(found.values[0].sum(0), direct)
    assert_close(found.total[0], direct)
    named = found.named()
    assert named.axes[1].labels == (*task.positions, "other")
    assert_close(named.values.sum(1), found.values.sum(1))


@settings(max_examples=6)
@given(cases())
def test_batches_change_nothing_and_controls_add_up_too(case) -> None:
    model, task = case[0], linear(case[1])
    whole = source_attribution(model, task)
    needed = whole.settings["predicted_bytes"] // len(task)
    single = source_attribution(model, task, max_memory=needed)
    assert_close(single.values, whole.values)
    direct = direct_attribution(model, task, "head")
    for name, control in whole.controls.items():
        assert_close(single.controls[name], control)
        assert_close(control.sum(1), direct.grid(control=name).reshape(-1, len(task)))


def test_a_token_with_several_names_counts_once_for_the_first() -> None:
    model, task = in_double(CFG), small_task(CFG)
    end = task.positions["END"]
    positions = {"A": end, "B": end, "C": end - 1, "END": end}
    twice = Task.from_tokens(
        task.clean, task.corrupted, task.correct, task.wrong, positions=positions
    )
    found = source_attribution(model, twice, ["2.1"])
    named = found.named()
    assert named.axes[1].labels == ("A", "B", "C", "END", "other")
    assert_close(named.values[0, 0], found.values[0, -1])
    assert not named.values[0, [1, 3]].any()
    assert_close(named.values[0, 2], found.values[0, -2])
    assert_close(named.values[0, 4], found.values[0, :-2].sum(0))


def test_heads_that_are_none_are_refused() -> None:
    model, task = in_double(CFG), small_task(CFG)
    with pytest.raises(ValueError, match="9.9"):
        source_attribution(model, task, ["9.9"])
    with pytest.raises(ValueError, match="heads is empty"):
        source_attribution(model, task, [])


def test_results_are_saved_with_their_names(tmp_path) -> None:
    found = source_attribution(in_double(CFG), small_task(CFG), ["1.0", "2.3"])
    found.save(tmp_path / "sources.safetensors")
    loaded = ca.SourceAttribution.load(tmp_path / "sources.safetensors")
    assert loaded.names == found.names and loaded.axes == found.axes
    np.testing.assert_allclose(loaded.named().values, found.named().values, atol=1e-6)
    found.named().save(tmp_path / "named.safetensors")
    named = ca.SourceAttribution.load(tmp_path / "named.safetensors")
    assert named.axes == found.named().axes and named.named() is named
    assert_close(named.share()[0].sum(1), np.ones(2))
    figure = named.plot()
    assert figure.axes[0].get_xlabel() == "source"


# ---- known answers ----


def test_the_hand_written_movers_read_the_indirect_object() -> None:
    known = KNOWN["ioi"](0)
    heads = [head for head, role in known.roles.items() if "mover" in role]
    found = source_attribution(known.model, known.tasks["s2-flip"], heads).named()
    assert found.axes[0].labels == tuple(heads) and found.axes[1].labels[0] == "IO"
    of_io, rest = found.values[:, 0], np.abs(found.values[:, 1:]).sum(1)
    assert (rest < 0.01 * np.abs(of_io)).all()
    assert of_io[0].min() > 0 > of_io[1].max()


def test_golden_numbers_of_the_embedded_model() -> None:
    model = ca.HookedTransformer.from_pretrained("ioi-mini")
    found = ca.source_attribution(model, ca.tasks.ioi(model, 64)).named()
    assert found.names == ("IO", "S1", "S1+1", "S2", "END", "BOS", "other")
    top = {one.name: one.value.estimate for one in found.top(2)}
    assert top == pytest.approx(GOLDEN, abs=2e-3)
