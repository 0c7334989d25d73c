"""`Effects`: normalisation, ranking, frames and files."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from cutaway.patching.effects import Axis, Effect, Effects

AXES = (Axis("layer", ("0", "1")), Axis("head", ("0", "1", "2")))


def effects(mode: str = "denoising", seed: int = 0) -> Effects:
    rng = np.random.default_rng(seed)
    clean = rng.normal(3, 0.2, 40).astype(np.float32)
    corrupted = rng.normal(-3, 0.2, 40).astype(np.float32)
    share = np.array([[0, 0.5, 1], [-0.25, 0.1, 0]], dtype=np.float32)[..., None]
    into, out_of = (corrupted, clean) if mode == "denoising" else (clean, corrupted)
    patched = into + share * (out_of - into)
    return Effects("z", mode, AXES, patched, clean, corrupted, "logit difference", {"seed": seed})


@pytest.mark.parametrize("mode", ["denoising", "noising"])
def test_the_normalised_effect_is_the_share_of_the_way_from_one_run_to_the_other(mode) -> None:
    expected = [[0, 0.5, 1], [-0.25, 0.1, 0]]
    np.testing.assert_allclose(effects(mode).normalised(), expected, atol=1e-5)


def test_it_is_a_ratio_of_means_and_not_a_mean_of_ratios() -> None:
    patched = np.array([[1.0, 0.0]], np.float32)
    one = Effects("z", "denoising", AXES[:0], patched[0], np.array([1, 9], np.float32),
                  np.zeros(2, np.float32), "m")  # fmt: skip
    assert float(one.normalised()) == pytest.approx(0.1)


def test_runs_that_do_not_differ_leave_nothing_to_normalise_by() -> None:
    same = np.ones(4, np.float32)
    one = Effects("z", "denoising", AXES[:0], same, same, same, "m")
    with pytest.raises(ValueError, match="clean and corrupted do not differ on this metric"):
        one.interval()


def test_top_is_ordered_by_size_and_intervals_hold_the_effect() -> None:
    top = effects().top(3)
    assert [entry.name for entry in top] == ["0.2", "0.1", "1.0"]
    assert all(entry.low <= entry.effect <= entry.high for entry in top)
    assert str(top[2]).startswith("1.0: -0.250 [")


@pytest.mark.parametrize("mode", ["denoising", "noising"])
def test_discoveries_are_the_interventions_with_an_effect_the_largest_first(mode) -> None:
    base = effects(mode)
    noise = np.random.default_rng(1).normal(0, 0.3, base.patched.shape).astype(np.float32)
    noisy = dataclasses.replace(base, patched=base.patched + noise)
    found = noisy.discoveries()
    assert [entry.name for entry in found] == ["0.2", "0.1", "1.0", "1.1"]
    assert found == noisy.top(4)


def test_what_changes_nothing_has_the_p_value_one() -> None:
    base = effects()
    same = dataclasses.replace(base, patched=np.broadcast_to(base.corrupted, base.patched.shape))
    assert same.p_values().tolist() == [[1.0] * 3] * 2 and same.discoveries() == []


@given(st.integers(0, 2**32 - 1), st.floats(0.01, 0.5), st.integers(7, 12))
@settings(max_examples=25)
def test_discoveries_grow_with_the_rate_and_do_not_ask_for_the_order_of_axes(
    seed, rate, n_prompts
) -> None:
    rng = np.random.default_rng(seed)
    shift = rng.choice([0.0, 1.0, -2.0], (2, 3, 1))
    patched = rng.normal(shift, 1.0, (2, 3, n_prompts))
    base = Effects("z", "denoising", AXES, patched, np.full(n_prompts, 3.0), np.zeros(n_prompts),
                   "m")  # fmt: skip
    turned = dataclasses.replace(base, axes=AXES[::-1], patched=patched.swapaxes(0, 1))
    assume(2.0 ** (1 - n_prompts) <= rate)
    found = {entry.name for entry in base.discoveries(rate)}
    assert found == {entry.name for entry in turned.discoveries(rate)}
    assert found <= {entry.name for entry in base.discoveries(min(0.9, 1.5 * rate))}
    surviving = stats.false_discovery_control(base.p_values(), axis=None) <= rate
    assert len(found) == surviving.sum()


def test_one_effect_among_thousands_is_found_though_the_first_draws_are_too_coarse() -> None:
    rng = np.random.default_rng(0)
    patched = rng.normal(0, 1.0, (3000, 40))
    patched[17] += 2.0
    axis = Axis("edge", tuple(f"e{i}" for i in range(3000)))
    many = Effects("edges", "denoising", (axis,), patched, np.full(40, 4.0), np.zeros(40), "m")
    assert [entry.name for entry in many.discoveries()] == ["e17"]
    coarse = many.p_values()
    assert coarse.min() == pytest.approx(1 / 10_001)
    assert not (stats.false_discovery_control(coarse) <= 0.05).any()


def test_too_few_prompts_for_any_discovery_are_refused() -> None:
    few = np.ones(4, np.float32)
    one = Effects("z", "denoising", AXES[:0], few, few, 0 * few, "m")
    with pytest.raises(ValueError, match="With 4 prompts no p-value is below 0.125, so nothing"):
        one.discoveries()


def test_a_frame_has_one_row_for_each_intervention() -> None:
    rows = effects().to_frame()
    assert len(rows) == 6
    assert rows[1]["layer"] == "0" and rows[1]["head"] == "1"
    assert rows[1]["effect"] == pytest.approx(0.5, abs=1e-5)
    assert rows[1]["change"] == pytest.approx(3.0, abs=0.1)


def test_saved_effects_come_back_the_same(tmp_path) -> None:
    before = effects("noising")
    path = tmp_path / "heads.safetensors"
    before.save(path)
    after = Effects.load(path)
    assert after.axes == before.axes and after.settings == before.settings
    assert (after.site, after.mode, after.metric) == ("z", "noising", "logit difference")
    for name in ("patched", "clean", "corrupted"):
        assert np.array_equal(getattr(after, name), getattr(before, name))
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_is_not_effects_is_named(tmp_path) -> None:
    with pytest.raises(ValueError, match="there is no file"):
        Effects.load(tmp_path / "none.safetensors")
    with pytest.raises(ValueError, match="is a folder: give the file in it"):
        Effects.load(tmp_path)
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"not a safetensors file")
    with pytest.raises(ValueError, match="does not hold effects"):
        Effects.load(broken)


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="patched has the shape"):
        Effects("z", "denoising", AXES, np.zeros((2, 2, 4), np.float32),
                np.zeros(4, np.float32), np.zeros(4, np.float32), "m")  # fmt: skip


def test_names_say_what_was_replaced() -> None:
    def name(**labels: str) -> str:
        return Effect(labels, 0.0, 0.0, 0.0).name

    assert name(layer="9", head="6", position="END") == "9.6 END"
    assert name(layer="9", neuron="17") == "9.17"
    assert name(sender="5.5", receiver="9.6.q") == "5.5->9.6.q"
    assert name(edge="5.5->9.6.q") == "5.5->9.6.q" and name(position="S2") == "S2"
    assert name(layer="3", position="S2") == "3 S2"


def test_one_axis_is_drawn_as_bars_of_the_largest(tmp_path) -> None:
    rng = np.random.default_rng(0)
    labels = tuple(f"edge {i}" for i in range(50))
    patched = rng.normal(size=(50, 4))
    effects = Effects(
        "edges", "denoising", (Axis("edge", labels),), patched, np.ones(4), np.zeros(4), "m"
    )
    figure = effects.plot()
    figure.savefig(tmp_path / "bars.png")
    ticks = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert ticks == [effect.name for effect in effects.top(30)]
    assert (
        "the 30 largest of 50" in figure.axes[0].get_title(loc="left") + figure.axes[0].get_title()
    )


def test_a_plot_is_drawn_for_two_and_three_axes(tmp_path) -> None:
    base = effects()
    base.plot().savefig(tmp_path / "a.png")
    axes = (*AXES, Axis("position", ("S2", "END")))
    patched = np.stack([base.patched, base.patched], axis=2)
    deep = Effects("z", "denoising", axes, patched, base.clean, base.corrupted, "m")
    deep.plot().savefig(tmp_path / "b.png")
    assert deep.top(1)[0].name in ("0.2 S2", "0.2 END")
