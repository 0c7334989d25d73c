"""The report of the IOI study: whole, safe, small, and its sentences follow from its numbers."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from cutaway.views import ioi_conclusions as say
from cutaway.views import ioi_report
from cutaway.views.ioi_data import Ablation, EffectMap, RoleSwap, TopHead
from html_outline import outline
from sample_report import HOSTILE, behaviour, interval, report_data


def test_the_report_is_whole_safe_and_small() -> None:
    text = ioi_report(report_data(n_prompts=8, n_heads=12, size=64)).html()
    found = outline(text)
    assert found.fetching == [] and found.handlers == []
    assert "http://" not in text and "https://" not in text
    assert HOSTILE not in text
    assert len(text.encode()) < 2_000_000
    for title in ("In short", "Which heads", "Are they needed?", "Expected and observed"):
        assert f"<h2>{title}</h2>" in text


def test_the_report_leaves_out_what_was_not_measured() -> None:
    data = dataclasses.replace(
        report_data(),
        role_swaps=(),
        attention=(),
        ablations=(),
        token_map=None,
        head_positions=None,
        published=(),
        predictions=(),
        settings={},
        timings={},
    )
    text = ioi_report(data).html()
    for title in ("Where they look", "Are they needed?", "published figures", "Expected and"):
        assert title not in text
    assert "<h2>Which heads</h2>" in text


def test_many_prompts_are_thinned_and_the_page_says_so() -> None:
    data = dataclasses.replace(report_data(), behaviour=behaviour(n=1000))
    text = ioi_report(data).html()
    assert "of the 1000 prompts are drawn" in text
    assert text.count("<u ") < 1000


# ---- the conclusions ----


def test_the_behaviour_is_judged_by_its_interval() -> None:
    there = behaviour()
    assert say.behaviour(there).startswith("The behaviour is there")
    absent = dataclasses.replace(there, logit_difference=interval(0.1, 0.3))
    assert "not established" in say.behaviour(absent)
    reversed_ = dataclasses.replace(there, logit_difference=interval(-2.0))
    assert "prefers the subject" in say.behaviour(reversed_)


def test_the_corruption_is_judged_by_its_interval() -> None:
    there = behaviour()
    assert "is reversed" in say.corruption(there)
    assert "no preference" in say.corruption(
        dataclasses.replace(there, corrupted=interval(0.0, 0.2))
    )
    weak = dataclasses.replace(there, corrupted=interval(2.5, 0.2))
    assert "remains" in say.corruption(weak) and "unstable" in say.corruption(weak)


def test_role_swaps_are_counted() -> None:
    good = RoleSwap("", " Mary", " John", 1.0)
    bad = dataclasses.replace(good, logit_difference=-0.5)
    assert "All 2 role swaps are positive" in say.role_swaps((good, good))
    assert "on these 2 prompts, all of one template, the answer follows the role" in (
        say.role_swaps((good, good))
    )
    assert "Only 1 of the 2" in say.role_swaps((good, bad))


def exact(values: np.ndarray, half: float = 0.0) -> EffectMap:
    rows, columns = (tuple(map(str, range(n))) for n in values.shape)
    return EffectMap(values, values - half, values + half, rows, columns)


def test_what_matters_needs_size_and_certainty() -> None:
    assert exact(np.array([[0.5, 0.019, -0.3]])).matters().tolist() == [[True, False, True]]
    assert not exact(np.array([[0.5]]), half=0.6).matters().any()


def test_positions_are_named_with_their_layers() -> None:
    values = np.array([[1.0, 0.0], [0.9, 0.0], [0.2, 0.8], [0.7, 1.0]])
    assert "at 0 in layers 0 to 1 and 3 and at 1 in layers 2 to 3" in say.positions(exact(values))
    assert "No single position" in say.positions(exact(values / 10))


def test_heads_are_named_in_both_directions() -> None:
    values = np.array([[0.0, 0.4], [-0.3, 0.1]])
    said = say.heads(exact(values))
    assert said == (
        "3 of the 4 heads matter; 0.1 (0.40) and 1.1 (0.10) restore the answer most; "
        "1.0 (−0.30) work against it most."
    )
    assert "None of the 4" in say.heads(exact(values, half=1.0))


def test_attention_is_named_by_position() -> None:
    heads = [
        TopHead("3.0", interval(0.3), {"IO": 0.7, "S1": 0.1}),
        TopHead("3.1", interval(0.2), {"IO": 0.2, "S2": 0.2}),
        TopHead("3.2", interval(0.2), {}),
    ]
    assert say.attention(heads).endswith("goes to: 3.0 on IO.")
    assert "no top head" in say.attention(heads[1:])


def test_ablation_is_judged_against_random_sets() -> None:
    data = report_data()
    strong = Ablation("zero", interval(-2.0), np.linspace(-0.5, 0.2, 10))
    assert "none of 10 random sets" in say.ablation(strong, data)
    weak = Ablation("mean", interval(-0.2), np.linspace(-0.5, 0.2, 10))
    assert "not special" in say.ablation(weak, data)
    alone = Ablation("zero", interval(-2.0), np.array([]))
    assert "no random heads were tried" in say.ablation(alone, data)
    both = dataclasses.replace(data, ablations=(strong, weak))
    assert "−2.00 (zero) and −0.20 (mean)" in say.ablations(both)[0]


def test_ablations_on_other_prompts_are_said_to_be() -> None:
    same, other = report_data(), dataclasses.replace(report_data(), intact=interval(4.2))
    assert "The prompts are others than those" not in ioi_report(same).html()
    assert "on these the intact model has 4.20 [4.15, 4.25]" in ioi_report(other).html()


def test_maps_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="high has the shape"):
        EffectMap(np.eye(2), np.eye(2), np.eye(3), ("0", "1"), ("a", "b"))
