"""Concept erasure: nothing linear is left, no more is changed than needed; the model is asked."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

import cutaway as ca
from cutaway.patching.values import Affine, Remove
from cutaway.probing import (
    Eraser,
    Labels,
    collect,
    erase,
    erasure_effect,
    erasure_map,
    mean_difference,
    split,
)
from oracles import intervene_by_hooks
from random_models import random_model, small_task


def made_up(
    n: int, d: int, n_classes: int, seed: int, isotropic: bool = False
) -> tuple[torch.Tensor, Labels]:
    """Correlated activations in which each class has a mean of its own."""
    rng = np.random.default_rng(seed)
    values = rng.permutation(np.arange(n) % n_classes)
    x = rng.normal(size=(n, d)) + 2 * rng.normal(size=(n_classes, d))[values]
    if isotropic:  # exactly white, whatever the classes
        u, _, v = np.linalg.svd(x - x.mean(0), full_matrices=False)
        x = u @ v * np.sqrt(n)
    else:
        x = x @ rng.normal(size=(d, d)) + 5.0
    return torch.from_numpy(x), Labels("y", values, tuple("abcdef"[:n_classes]))


def crossed(x: torch.Tensor, labels: Labels, like: torch.Tensor | None = None) -> float:
    """The largest covariance of an activation with a class, in standard deviations (of `like`)."""
    z = torch.from_numpy(labels.columns())
    centred = (x.double() - x.double().mean(0)) / (x if like is None else like).double().std()
    return float((centred.T @ (z - z.mean(0)) / len(x)).abs().max())


@given(
    n=st.integers(10, 60),
    d=st.integers(1, 40),
    n_classes=st.integers(2, 5),
    seed=st.integers(0, 1000),
    shrinkage=st.sampled_from([0.0, 0.0, 0.3]),
)
@settings(max_examples=40)
def test_no_covariance_with_the_label_is_left(n, d, n_classes, seed, shrinkage) -> None:
    x, labels = made_up(n, d, n_classes, seed)
    eraser = erase(x, labels, shrinkage)
    erased = eraser(x)
    assert crossed(erased, labels, like=x) < 1e-9
    assert eraser.rank <= min(n_classes - 1, d)
    torch.testing.assert_close(erased.mean(0), x.mean(0))
    # Erasing twice changes nothing more.
    torch.testing.assert_close(eraser(erased), erased, atol=1e-7, rtol=1e-7)


@pytest.mark.parametrize("n_classes", [2, 4])
def test_no_linear_probe_beats_a_constant_on_what_is_left(n_classes) -> None:
    x, labels = made_up(80, 10, n_classes, 0)
    before = LogisticRegression(C=1e6, max_iter=20_000).fit(x, labels.values)
    assert before.score(x, labels.values) > 0.9
    erased = erase(x, labels)(x).numpy()
    erased = (erased - erased.mean(0)) / erased.std(0)
    after = LogisticRegression(C=1e6, tol=1e-8, max_iter=20_000).fit(erased, labels.values)
    assert np.abs(after.coef_).max() < 1e-3
    shares = np.bincount(labels.values) / len(labels)
    found = after.predict_proba(erased)
    np.testing.assert_allclose(found, np.tile(shares, (len(x), 1)), atol=1e-3)


@given(d=st.integers(2, 8), n_classes=st.integers(2, 3), seed=st.integers(0, 1000))
@settings(max_examples=25)
def test_it_is_the_least_change_that_does_it(d, n_classes, seed) -> None:
    """The oracle: each row of the map by itself, least squares under a linear constraint."""
    x, labels = made_up(50, d, n_classes, seed)
    z = torch.from_numpy(labels.columns())[:, :-1]
    centred, held = (x - x.mean(0)).numpy(), (z - z.mean(0)).numpy()
    covariance, crossed_ = centred.T @ centred / 50, centred.T @ held / 50
    k = crossed_.shape[1]
    system = np.block([[covariance, crossed_], [crossed_.T, np.zeros((k, k))]])
    if np.linalg.matrix_rank(system) < d + k:
        return
    rows = [
        np.linalg.solve(system, np.concatenate([covariance[i], np.zeros(k)]))[:d] for i in range(d)
    ]
    expected = torch.from_numpy(centred @ np.array(rows).T) + x.mean(0)
    torch.testing.assert_close(erase(x, labels)(x), expected, atol=1e-6, rtol=1e-6)


def test_where_all_directions_are_alike_it_is_a_projection() -> None:
    x, labels = made_up(200, 12, 2, 0, isotropic=True)
    projected = x - (x - x.mean(0)) @ _onto(mean_difference(x, labels))
    torch.testing.assert_close(erase(x, labels)(x), projected)
    # Elsewhere projecting out the difference of the means hides it too, at a higher price.
    x, labels = made_up(200, 12, 2, 1)
    projected = x - (x - x.mean(0)) @ _onto(mean_difference(x, labels))
    assert crossed(projected, labels) < 1e-9
    least, more = ((one - x).square().sum(1).mean() for one in (erase(x, labels)(x), projected))
    assert least < 0.9 * more


def _onto(vector: torch.Tensor) -> torch.Tensor:
    unit = vector / vector.norm()
    return torch.outer(unit, unit)


def test_the_share_is_what_is_taken_out_and_chance_takes_as_many_dimensions() -> None:
    x, labels = made_up(300, 10, 4, 0)
    eraser = erase(x, labels)
    whole = (x - x.mean(0)).square().sum()
    assert eraser.share == pytest.approx(float((eraser(x) - x).square().sum() / whole))
    shares = []
    for seed in range(20):
        random = eraser.random(seed)
        change = random(x) - x
        assert random.rank == torch.linalg.matrix_rank(change) == eraser.rank == 3
        shares.append(float(change.square().sum() / whole))
        assert random.share == pytest.approx(shares[-1])
        # In white coordinates it takes out three units of variance of ten, like the concept.
        white = change @ torch.linalg.pinv(eraser.unwhiten).T
        assert float(white.square().sum(1).mean()) == pytest.approx(3.0)
        assert crossed(random(x), labels) > 1e-3
    assert np.mean(shares) == pytest.approx(3 / 10, abs=0.1)


def test_where_nothing_varies_nothing_is_erased() -> None:
    _, labels = made_up(40, 6, 3, 0)
    x = torch.full((40, 6), 3.7)
    eraser = erase(x, labels)
    assert (eraser.rank, eraser.share, eraser.random(0).rank) == (0, 0.0, 0)
    torch.testing.assert_close(eraser(x), x)
    torch.testing.assert_close(eraser.value()(x, None), x)


def test_numbers_are_erased_too() -> None:
    x, _ = made_up(60, 8, 2, 0)
    labels = Labels("number", (x[:, 0] - x[:, 3] ** 2).numpy())
    eraser = erase(x, labels)
    assert eraser.rank == 1 and crossed(eraser(x), labels) < 1e-9


def test_other_prompts_keep_a_little() -> None:
    x, labels = made_up(400, 10, 2, 0)
    half = np.arange(200)
    eraser = erase(x[:200], labels.subset(half))
    rest = labels.subset(half + 200)
    assert crossed(eraser(x[:200]), labels.subset(half)) < 1e-9
    assert 1e-6 < crossed(eraser(x[200:]), rest) < 0.3 * crossed(x[200:], rest)


def test_erasers_come_back_as_they_were_saved(tmp_path) -> None:
    x, labels = made_up(40, 6, 3, 0)
    eraser = erase(x, labels)
    eraser.save(tmp_path / "eraser.safetensors")
    again = Eraser.load(tmp_path / "eraser.safetensors")
    assert torch.equal(again(x), eraser(x)) and again.concept == "y"
    with pytest.raises(ValueError, match="there is no file"):
        Eraser.load(tmp_path / "missing")


def test_bad_input_is_one_clear_sentence() -> None:
    x, labels = made_up(40, 6, 3, 0)
    for make, message in (
        (lambda: erase(x[:3], labels), "3 prompts and 40 labels"),
        (lambda: erase(x, labels, shrinkage=2), "shrinkage=2 is not between"),
        (lambda: Affine(torch.ones(2, 3), torch.ones(2)), "a square matrix and a vector"),
        (lambda: Affine(torch.ones(2, 2), torch.tensor([1.0, torch.nan])), "NaN or infinite"),
    ):
        with pytest.raises(ValueError, match=message):
            make()


# ---- in the model ----

NAMES = ["Mary", "John", "Anna", "Tom", "James", "Paul"]


@pytest.fixture(scope="module")
def model() -> ca.HookedTransformer:
    return ca.HookedTransformer.from_pretrained("ioi-mini")


def test_erasing_in_a_run_is_a_full_run_with_hooks(model) -> None:
    task = ca.tasks.ioi(model, 12, names=NAMES)
    data = collect(model, task, "order")
    eraser = erase(data.at(layer=1, position="S1"), data.labels)
    found = erasure_effect(model, task, eraser, 1, "S1", n_random=2, seed=5)
    assert found.axes[0].labels == ("concept", "random 0", "random 1")
    for row, one in enumerate((eraser, eraser.random(5), eraser.random(6))):
        edit = ca.Intervention("resid_post", 1, one.value(), positions="S1")
        expected = intervene_by_hooks(model, task, [edit], "noising")
        np.testing.assert_allclose(found.patched[row], expected, atol=1e-4)
        # What is put there is what the eraser gives.
        x = data.at(layer=1, position="S1")
        torch.testing.assert_close(one.value()(x, None), one(x).float(), atol=1e-4, rtol=1e-4)


def test_removing_a_direction_is_an_affine_map() -> None:
    cfg = ca.ModelConfig(n_layers=2, d_model=16, n_heads=4, d_vocab=17, n_ctx=12, init_range=0.4)
    model, task = random_model(cfg), small_task(cfg)
    direction = torch.randn(16, generator=torch.Generator().manual_seed(0))
    matrix = torch.eye(16) - _onto(direction)
    runs = {
        name: [ca.Intervention("resid_post", 0, value)]
        for name, value in (
            ("remove", Remove(direction)),
            ("affine", Affine(matrix, torch.zeros(16))),
            ("constant", Affine(torch.zeros(16, 16), torch.ones(16))),
            ("ones", ca.values.Constant(torch.ones(16))),
        )
    }
    remove, affine, constant, ones = ca.intervene(model, task, runs).patched
    np.testing.assert_allclose(affine, remove, atol=1e-5)
    np.testing.assert_allclose(constant, ones, atol=1e-5)
    with pytest.raises(ValueError, match="Affine has 4 numbers, the last axis of resid_post"):
        edit = ca.Intervention("resid_post", 0, Affine(torch.eye(4), torch.zeros(4)))
        ca.intervene(model, task, edit)


def test_the_map_is_a_loop_over_places_on_prompts_it_was_not_made_from(model) -> None:
    task = ca.tasks.ioi(model, 60, names=NAMES)
    data = collect(model, task, "answer", layers=[0, 3], positions=["IO", "END"], groups="group")
    parts = split(data.groups)
    found = erasure_map(model, task, data, parts, n_random=2, seed=3)
    fitted = np.concatenate([parts.train, parts.validation])
    test = task.subset(parts.test.tolist())
    for place in data.places():
        x = data.at(**place)[torch.from_numpy(fitted)]
        eraser = erase(x, data.labels.subset(fitted))
        index = (("0", "3").index(place["layer"]), ("IO", "END").index(place["position"]))
        alone = erasure_effect(
            model, test, eraser, int(place["layer"]), place["position"], n_random=2, seed=3
        )
        np.testing.assert_allclose(
            found.effects.patched[index][[0, 2, 3]], alone.patched, atol=1e-4
        )
        assert (found.rank[index], found.share[index]) == (eraser.rank, pytest.approx(eraser.share))
    assert found.effects.axes[-1].labels == ("concept", "control task", "random 0", "random 1")
    # What is read at IO is not used there; what is read at END is.
    assert abs(found.concept[1, 0]) < 0.02 and found.concept[1, 1] > 0.3
    assert found.concept[1, 1] > found.random[1, 1].max()
    with pytest.raises(ValueError, match="do not fit the 60 clean prompts"):
        erasure_map(model, task, collect(model, task, "clean"), parts)
    heads = dataclasses.replace(data, site="z", axes=(data.axes[1], data.axes[0]))
    with pytest.raises(ValueError, match="collect a site of the stream"):
        erasure_map(model, task, heads, parts)
