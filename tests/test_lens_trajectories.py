"""Trajectories, convergence, and kinds of input compared: against loops, and on made-up cases."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import cutaway as ca
from cutaway.lenses import (
    LensReadings,
    TunedLens,
    compare_inputs,
    convergence,
    logit_lens,
    overtaking,
    trajectory,
)
from cutaway.lenses.convergence import _first_to_stay
from random_models import configs, random_model


@pytest.fixture(scope="module")
def mini() -> ca.HookedTransformer:
    return ca.HookedTransformer.from_pretrained("ioi-mini")


@pytest.fixture(scope="module")
def readings(mini) -> LensReadings:
    return logit_lens(mini, ca.tasks.ioi(mini, 32))


@given(st.lists(st.lists(st.booleans(), min_size=4, max_size=4), min_size=1, max_size=6))
def test_the_first_point_to_stay_is_found_by_walking_back(columns) -> None:
    held = np.array(columns).T[:, :, None]  # [point, prompt, 1]
    found = _first_to_stay(held)[:, 0]
    for column, first in zip(columns, found, strict=True):
        at = len(column)
        while at > 0 and column[at - 1]:
            at -= 1
        assert first == at


def made_up(probability: np.ndarray, rank: np.ndarray) -> LensReadings:
    """Readings of given probabilities and ranks [point, prompt, read] of one token."""
    shape = probability.shape
    return LensReadings(
        lens="made up",
        model="none",
        points=("embed", *map(str, range(shape[0] - 1))),
        tokens=np.ones(shape[1:], dtype=int),
        positions=np.zeros(shape[1:], dtype=int),
        real=np.ones(shape[1:], dtype=bool),
        top_tokens=np.ones((*shape, 1), dtype=int),
        top_probabilities=np.ones((*shape, 1)),
        entropy=np.zeros(shape),
        kl=np.zeros(shape),
        followed={"predicted": np.ones(shape[1:], dtype=int)},
        log_probability={"predicted": np.log(probability)},
        rank={"predicted": rank},
    )


def test_convergence_of_cases_that_are_known() -> None:
    # Prompt by prompt: at once; on top, lost, found again; at the end only; never above one half.
    p = np.array([[0.9, 0.8, 0.1, 0.3], [0.9, 0.4, 0.2, 0.4], [0.9, 0.7, 0.6, 0.45]])[:, :, None]
    r = np.array([[0, 0, 5, 2], [0, 1, 3, 0], [0, 0, 0, 0]])[:, :, None]
    found = made_up(p, r)
    top = convergence(found)
    assert top.first[:, 0].tolist() == [0, 2, 2, 1]
    assert [one.estimate for one in top.share_by()] == [0.25, 0.5, 1.0]
    assert top.mean().estimate == 1.25 and top.share_never().estimate == 0
    half = convergence(found, "probability")
    assert half.first[:, 0].tolist() == [0, 2, 2, math.inf]
    assert half.share_never().estimate == 0.25
    assert half.mean().estimate == (0 + 2 + 2 + 3) / 4  # "never" is one more than the last
    with pytest.raises(ValueError, match="'top' or 'probability'"):
        convergence(found, "half")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no token 'target'"):
        convergence(found, token="target")


def test_points_between_attention_and_mlp_are_half_a_layer(mini, readings) -> None:
    fine = logit_lens(mini, ca.tasks.ioi(mini, 32), mid=True)
    found, coarse = convergence(fine).first, convergence(readings).first
    assert set(np.unique(found % 1)) == {0, 0.5}
    assert (np.ceil(found) <= coarse).all()


def test_places_without_a_token_do_not_count() -> None:
    p = np.full((2, 2, 2), 0.25)
    found = made_up(p, np.array([[[0, 3], [7, 0]], [[0, 0], [0, 0]]]))
    real = np.array([[True, False], [True, True]])
    found = replace(found, real=real, followed={"predicted": np.where(real, 1, -1)})
    assert convergence(found).per_prompt.tolist() == [0, 0.5]
    ranks = trajectory(found, "predicted", "rank")
    expected = [math.sqrt(math.sqrt(8) * 1) - 1, 0]  # geometric means of 1 + rank, less 1
    assert [one.estimate for one in ranks.intervals()] == pytest.approx(expected)


@given(cfg=configs(), seed=st.integers(0, 50))
@settings(max_examples=15)
def test_trajectories_are_means_over_places_and_then_prompts(cfg, seed) -> None:
    model = random_model(cfg, seed)
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(1, cfg.d_vocab, (4, 6), generator=generator)
    found = logit_lens(model, tokens)
    way = trajectory(found, "target", "log_probability")
    losses = model(tokens, return_type="loss", loss_per_token=True).detach()
    assert way.per_prompt.shape == (cfg.n_layers + 1, 4)
    np.testing.assert_allclose(-way.per_prompt[-1], losses.mean(1), rtol=1e-4, atol=1e-5)
    middle = trajectory(found, "target", "probability").intervals()[0]
    assert middle.estimate == pytest.approx(float(found.probability()[0, :, :-1].mean()), rel=1e-5)
    assert middle.low <= middle.estimate <= middle.high and middle.n == 4


def test_the_difference_of_log_probabilities_is_that_of_logits(mini, readings) -> None:
    task = ca.tasks.ioi(mini, 32)
    gap = overtaking(readings)
    assert gap.shape == (5, 32)
    np.testing.assert_allclose(gap[-1], task.baseline(mini).clean_values, atol=1e-4)


def test_golden_numbers_of_ioi_mini(mini, readings) -> None:
    assert (overtaking(readings) > 0).mean(1).tolist() == pytest.approx(GOLDEN["ahead"], abs=0.04)
    assert convergence(readings).mean().estimate == pytest.approx(GOLDEN["top"], abs=0.04)
    fresh = logit_lens(mini.fresh(), ca.tasks.ioi(mini, 32))
    assert convergence(fresh).mean().low > convergence(readings).mean().high
    shuffled = trajectory(readings, "shuffled", "probability").intervals()
    assert max(one.high for one in shuffled) < 0.1


GOLDEN = {"ahead": [0.625, 0.4375, 1.0, 1.0, 1.0], "top": 2.0}


def test_kinds_of_input_are_compared(mini) -> None:
    tokens = torch.randint(5, 200, (12, 8), generator=torch.Generator().manual_seed(0))
    twice = torch.cat([tokens, tokens], 1)
    second = torch.zeros(twice.shape, dtype=torch.bool)
    second[:, 8:-1] = True
    inputs = {"repeated": twice, "random": torch.cat([tokens, tokens.flip(0)], 1)}
    where = {"repeated": second, "random": second}
    found = compare_inputs(mini, inputs, positions=where, n_resamples=400)
    assert found.kinds == ("repeated", "random") and found.points[-1] == "3"
    assert [one.what for one in found.differences] == ["convergence", *found.points]
    last = found.differences[-1]
    a, b = (found.trajectory(kind).per_prompt[-1] for kind in found.kinds)
    assert last.difference.interval.estimate == pytest.approx(a.mean() - b.mean())
    assert last.difference.interval.low > 0  # the second time is easier
    assert all(one.q_value >= one.difference.p_value for one in found.differences)
    assert found.to_frame()[-1]["q_value"] == last.q_value < 0.05
    assert found.control_convergence("repeated").mean().n == 12
    expected = logit_lens(mini, twice, positions=second)
    np.testing.assert_array_equal(found.readings["repeated"].kl, expected.kl)
    tuned = compare_inputs(mini, inputs, TunedLens.untrained(mini), positions=where)
    np.testing.assert_array_equal(tuned.readings["repeated"].kl, expected.kl)


@pytest.mark.parametrize(
    ("inputs", "where", "message"),
    [
        ({"a": 2}, {}, "give at least two"),
        ({"a": 2, "b": 1}, {}, "b has 1 prompt"),
        ({"a": 2, "b": 2}, {"c": torch.ones(2, 3, dtype=torch.bool)}, "positions has c"),
    ],
)
def test_comparisons_that_cannot_be_made_are_named(inputs, where, message, mini) -> None:
    tokens = {kind: torch.full((n, 3), 7) for kind, n in inputs.items()}
    with pytest.raises(ValueError, match=message):
        compare_inputs(mini, tokens, positions=where)


def test_a_text_of_one_token_has_no_target(mini) -> None:
    found = logit_lens(mini, torch.tensor([[7]]))
    for use in (trajectory, convergence):
        with pytest.raises(ValueError, match="no prompt has a token 'target'"):
            use(found, token="target")
