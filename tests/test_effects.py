"""`Effects`: normalisation, ranking, frames and files."""

from __future__ import annotations

import numpy as np
import pytest

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
    with pytest.raises(ValueError, match="does not hold the effects"):
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
