"""How far two sets of effects agree: against scipy, by hand, and on what must hold."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from cutaway.attribution.agreement import Agreement, agreement
from cutaway.attribution.nodes import attribute
from cutaway.evidence import bootstrap_correlation, correlation, ranks
from cutaway.model.config import ModelConfig
from cutaway.patching.effects import Axis, Effects
from cutaway.patching.sweep import sweep
from random_models import random_model, small_task

CFG = ModelConfig(n_layers=3, d_model=16, n_heads=4, d_vocab=17, n_ctx=12, init_range=0.4)
AXES = (Axis("layer", tuple("012")), Axis("head", tuple("0123")))

GOLDEN = (0.967, 0.179)  # with scipy from both sets of effects


def effects(mode: str = "denoising", seed: int = 0, noise: float = 0.0, n: int = 8) -> Effects:
    """Twelve effects of known size; the noise has a seed of its own."""
    size = np.linspace(-0.2, 0.9, 12).reshape(3, 4)[..., None]
    clean, corrupted = np.full(n, 3.0), np.full(n, -3.0)
    rng = np.random.default_rng(seed)
    change = 6 * (size + noise * rng.normal(size=(3, 4, n)))
    patched = corrupted + change if mode == "denoising" else clean - change
    return Effects("z", mode, AXES, patched, clean, corrupted, "logit difference", {"seed": seed})


@pytest.mark.parametrize("mode", ["denoising", "noising"])
def test_effects_agree_with_themselves(mode: str) -> None:
    found = agreement(effects(mode), effects(mode))
    assert found.pearson.estimate == found.spearman.estimate == pytest.approx(1)
    assert found.pearson.low == pytest.approx(1)
    assert found.equal_signs == 1 and found.n_matter == 11  # one is 0
    assert [(o.n, o.share) for o in found.overlaps] == [(5, 1), (10, 1)]
    assert found.largest_difference == found.mean_difference == 0


def test_turned_round_estimates_have_the_wrong_signs_but_the_same_tops() -> None:
    exact = effects()
    turned = replace(exact, patched=exact.corrupted - exact.per_prompt)
    found = agreement(exact, turned)
    assert found.pearson.estimate == pytest.approx(-1)
    assert found.equal_signs == 0 and found.overlap(5).share == 1
    assert found.overlap(5).by_chance == pytest.approx(5 / 12)


def test_one_place_that_is_wrong_is_found_and_named() -> None:
    exact = effects()
    patched = exact.patched.copy()
    patched[1, 2] -= 6 * 0.5  # half of the whole difference
    found = agreement(exact, replace(exact, patched=patched), n_worst=1)
    (worst,) = found.worst
    assert worst.labels == {"layer": "1", "head": "2"} and worst.name == "1.2"
    assert worst.difference == pytest.approx(-0.5) == -found.largest_difference
    assert found.mean_difference == pytest.approx(0.5 / 12)
    assert "1.2: exact +0.400, estimated -0.100" in str(found)


@given(st.integers(0, 1000), st.integers(2, 30))
def test_correlations_are_scipys(seed: int, n_items: int) -> None:
    x, y = np.random.default_rng(seed).integers(-3, 4, (2, n_items)).astype(float)
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        assert math.isnan(float(correlation(x, y)))
        return
    assert float(correlation(x, y)) == pytest.approx(stats.pearsonr(x, y).statistic, abs=1e-12)
    spearman = stats.spearmanr(x, y).statistic
    assert float(correlation(ranks(x), ranks(y))) == pytest.approx(spearman, abs=1e-12)


@settings(max_examples=20)
@given(st.integers(0, 1000), st.booleans())
def test_the_interval_is_that_of_a_loop_over_resampled_prompts(seed: int, ranked: bool) -> None:
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(6, 1)) + rng.normal(size=(6, 12))
    b = a + rng.normal(size=(6, 12))
    found = bootstrap_correlation(a, b, ranked, seed=seed, n_resamples=300)
    drawn = np.random.default_rng(seed).integers(12, size=(300, 12))
    measure = stats.spearmanr if ranked else stats.pearsonr
    by_hand = [measure(a[:, d].mean(1), b[:, d].mean(1)).statistic for d in drawn]
    low, high = np.quantile(by_hand, [0.025, 0.975])
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))


def test_nothing_that_varies_gives_no_correlation_and_says_so() -> None:
    exact = effects()
    nothing = np.broadcast_to(exact.corrupted, exact.patched.shape).copy()
    flat = replace(exact, patched=nothing + 0.1)
    found = agreement(exact, flat)
    assert math.isnan(found.pearson.estimate) and math.isnan(found.spearman.low)
    assert "no correlation" in str(found)
    nowhere = agreement(replace(exact, patched=nothing), exact)
    assert math.isnan(nowhere.equal_signs) and nowhere.n_matter == 0


def test_one_prompt_has_no_interval() -> None:
    found = agreement(effects(n=1), effects(n=1, noise=0.1))
    assert math.isinf(found.pearson.high) and "no interval" in str(found.pearson)


def test_small_effects_are_judged_by_the_ten_largest() -> None:
    exact = effects()
    small = replace(exact, patched=exact.corrupted + 0.01 * exact.per_prompt)
    assert agreement(small, small).n_matter == 10


def test_the_order_of_prompts_changes_no_estimate() -> None:
    exact, estimate = effects(noise=0.3), effects(noise=0.3, seed=1)
    order = np.random.default_rng(0).permutation(8)
    moved = [replace(e, patched=e.patched[..., order]) for e in (exact, estimate)]
    one, other = agreement(exact, estimate), agreement(*moved)
    assert one.pearson.estimate == pytest.approx(other.pearson.estimate)
    assert [w.name for w in one.worst] == [w.name for w in other.worst]


@pytest.mark.parametrize("estimate", [effects(noise=0.2, seed=1), effects(n=8)])
def test_a_saved_agreement_is_the_same_when_loaded(tmp_path, estimate: Effects) -> None:
    found = agreement(effects(noise=0.2), estimate)
    found.save(tmp_path / "agreement.json")
    assert Agreement.load(tmp_path / "agreement.json") == found


def test_numbers_that_json_lacks_survive(tmp_path) -> None:
    exact = effects(n=1)
    flat = replace(exact, patched=np.full_like(exact.patched, 0.5))
    found = agreement(exact, flat)
    found.save(tmp_path / "a.json")
    loaded = Agreement.load(tmp_path / "a.json")
    assert math.isnan(loaded.pearson.estimate) and loaded.pearson.low == -math.inf
    assert str(loaded) == str(found)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": "other"}', '{"format": 1'])
def test_another_file_is_refused_by_name(tmp_path, content: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(content)
    with pytest.raises(ValueError, match="other.json does not hold an agreement"):
        Agreement.load(path)
    with pytest.raises(ValueError, match="nothing.json cannot be read"):
        Agreement.load(tmp_path / "nothing.json")


def test_a_frame_has_one_row_for_each_measure() -> None:
    rows = agreement(effects(), effects(noise=0.1)).to_frame()
    names = [row["measure"] for row in rows]
    assert names[:4] == ["pearson", "spearman", "equal signs", "overlap of the top 5"]
    assert all(set(row) == {"measure", "value", "low", "high"} for row in rows)
    assert rows[0]["low"] <= rows[0]["value"] <= rows[0]["high"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"site": "q"}, "the site 'z' and the estimates 'q'"),
        ({"mode": "noising"}, "the mode 'denoising' and the estimates 'noising'"),
        ({"metric": "probability"}, "the metric 'logit difference' and the estimates 'prob"),
        (
            {"axes": AXES[:1], "patched": np.zeros((3, 8))},
            "3 layers x 4 heads and the estimates over 3 layers",
        ),
        ({"axes": (AXES[0], Axis("head", tuple("4567")))}, "or over other labels"),
        ({"clean": np.full(8, 2.0)}, "clean prompt 0 is 3 with the exact effects and 2 with"),
        ({"corrupted": np.full(8, 2.0)}, "corrupted prompt 0 is -3 .* make both from one model"),
    ],
)
def test_what_cannot_be_compared_is_one_clear_sentence(change, message) -> None:
    with pytest.raises(ValueError, match=message):
        agreement(effects(), replace(effects(), **change))


def test_another_number_of_prompts_or_no_difference_says_so() -> None:
    with pytest.raises(ValueError, match="of 8 prompts and the estimates of 3"):
        agreement(effects(), effects(n=3))
    same = replace(effects(), corrupted=effects().clean)
    with pytest.raises(ValueError, match="is the same, so there is no difference"):
        agreement(same, same)
    with pytest.raises(ValueError, match="there are 5, 10"):
        agreement(effects(), effects()).overlap(7)


def test_bad_input_of_the_bootstrap_is_one_clear_sentence() -> None:
    with pytest.raises(ValueError, match="must be .item, prompt. alike"):
        bootstrap_correlation(np.ones((2, 3)), np.ones((3, 2)))
    with pytest.raises(ValueError, match="level=2"):
        bootstrap_correlation(np.ones((2, 3)), np.ones((2, 3)), level=2)


def test_the_golden_numbers_of_a_fixed_model() -> None:
    model, task = random_model(CFG), small_task(CFG)
    found = agreement(sweep(model, task, "z"), attribute(model, task, "z"))
    assert (round(found.pearson.estimate, 3), round(found.largest_difference, 3)) == GOLDEN


def test_estimates_are_held_only_against_patching() -> None:
    model, task = random_model(CFG), small_task(CFG)
    with pytest.raises(ValueError, match="put 'zero' in place, but estimates are of patching"):
        agreement(sweep(model, task, "z", "zero"), attribute(model, task, "z"))
