"""Toy models of superposition: many at once as one alone, geometry, theory, closed forms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import cutaway as ca
from cutaway.superposition import (
    PLATEAUS,
    SparseFeatures,
    ToyModel,
    ToyTraining,
    TrainedToys,
    best_linear_loss,
    dimensions_per_feature,
    feature_dimensionality,
    interference,
    loss_without_superposition,
    measured_phase,
    monosemantic_share,
    n_computed,
    parts,
    phase_losses,
    predicted_phase,
    random_directions,
    represented,
    rotate_hidden,
    shape,
    train_toys,
)
from cutaway.superposition.basis import alignment, random_rotation
from cutaway.superposition.geometry import _corners
from cutaway.superposition.linear import principal_components
from cutaway.superposition.phase import least_density_of_both
from superposition_oracles import dimensionality_of, plain_features, plain_output, train_one

KINDS = ("relu-output", "linear", "relu-hidden", "absolute-value")


@st.composite
def models(draw) -> ToyModel:
    pairs = draw(st.sampled_from(("independent", "together", "apart")))
    n = draw(st.integers(1, 6)) if pairs == "independent" else 2 * draw(st.integers(1, 3))
    return ToyModel(n, draw(st.integers(1, 4)), draw(st.sampled_from(KINDS)), pairs)


# ---- many at once ----


@settings(max_examples=8)
@given(model=models(), seed=st.integers(0, 100), steps=st.integers(1, 10))
def test_many_at_once_are_as_each_alone(model, seed, steps) -> None:
    training = ToyTraining(steps, batch_size=7, learning_rate=0.03, n_test=5)
    rng = np.random.default_rng(seed)
    importances = rng.uniform(0.2, 2, (2, model.n_features))
    densities, seeds = (0.45, 0.2), (seed, seed + 3)
    found = train_toys(model, densities, importances, seeds, training, dtype=torch.float64)
    for i, d, s in ((0, 0, 0), (1, 1, 0), (0, 1, 1)):
        alone = train_one(model, densities[d], importances[i], seeds[s], training)
        for name, value in alone.items():
            np.testing.assert_allclose(found.weights[name][i, d, s], value, atol=1e-9)


def test_what_becomes_of_one_does_not_depend_on_the_others() -> None:
    model, training = ToyModel(5, 2), ToyTraining(40, 32, n_test=100)
    many = train_toys(model, (1.0, 0.3, 0.1), 0.9, (0, 1, 2), training)
    few = train_toys(model, (0.1, 1.0), np.stack([np.ones(5), 0.9 ** np.arange(5)]), (2,), training)
    np.testing.assert_allclose(many.W_in[0, [2, 0], 2], few.W_in[1, :, 0], atol=1e-6)
    np.testing.assert_allclose(many.errors[0, [2, 0], 2], few.errors[1, :, 0], atol=1e-6)


@settings(max_examples=12)
@given(model=models(), seed=st.integers(0, 100))
def test_gradients_are_those_of_autograd(model, seed) -> None:
    generator = torch.Generator().manual_seed(seed)
    weights = model.start([generator] * 3, "cpu", torch.float64)
    weights["b"] += 0.1 * torch.randn(weights["b"].shape, generator=generator, dtype=torch.float64)
    x = torch.randn(3, 6, model.n_features, generator=generator, dtype=torch.float64)
    importance = torch.rand(3, model.n_features, generator=generator, dtype=torch.float64) + 0.1
    leaves = {name: value.clone().requires_grad_() for name, value in weights.items()}
    loss = torch.zeros((), dtype=torch.float64)
    for at in range(3):
        own = {name: value[at] for name, value in leaves.items()}
        squared = (model.target(x[at]) - plain_output(model, own, x[at])) ** 2
        loss = loss + (importance[at] * squared).sum(1).mean()
    loss.backward()
    found = model.gradients(weights, x, importance)
    assert found.keys() == leaves.keys()
    for name, value in leaves.items():
        assert torch.allclose(found[name], value.grad, atol=1e-12), name


@settings(max_examples=10)
@given(model=models(), density=st.floats(0.05, 0.5), seed=st.integers(0, 100))
def test_features_are_drawn_one_by_one(model, density, seed) -> None:
    uniform = np.random.default_rng(seed).random((20, model.n_features))
    drawn = model.features.draw(torch.tensor(uniform), density).numpy()
    np.testing.assert_allclose(drawn, plain_features(model, uniform, density), atol=1e-12)


@pytest.mark.parametrize("pairs", ["independent", "together", "apart"])
def test_the_moments_are_those_that_are_told(pairs) -> None:
    features, n = SparseFeatures(4, pairs), 200_000
    uniform = torch.rand(n, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = features.draw(uniform, 0.4).numpy()
    np.testing.assert_allclose((x > 0).mean(0), 0.4, atol=0.005)
    np.testing.assert_allclose(x.mean(0), features.mean(0.4), atol=0.005)
    np.testing.assert_allclose(np.cov(x.T), features.covariance(0.4), atol=0.002)
    together = ((x[:, 0] > 0) & (x[:, 1] > 0)).mean()
    assert together == pytest.approx(
        {"independent": 0.16, "together": 0.4, "apart": 0}[pairs], abs=0.005
    )
    signed = SparseFeatures(4, pairs, signed=True).draw(uniform, 0.4).numpy()
    assert signed.min() < -0.99 and abs(signed.mean()) < 0.005
    assert np.abs(signed).var() == pytest.approx(features.variance(0.4), abs=0.002)


def test_results_are_saved_and_loaded(tmp_path: Path) -> None:
    training = ToyTraining(5, 8, n_test=10)
    found = train_toys(ToyModel(4, 2, "absolute-value"), (0.5, 0.1), 0.8, (3, 5), training)
    found.save(tmp_path / "toys.safetensors")
    again = TrainedToys.load(tmp_path / "toys.safetensors")
    assert again.model == found.model and again.seeds == (3, 5) and again.densities == (0.5, 0.1)
    assert again.training == found.training and again.to_frame() == found.to_frame()
    assert {name: value.dtype for name, value in again.weights.items()} == {
        name: np.float32 for name in ("W_in", "W_out", "b")
    }
    rows = found.to_frame()
    assert len(rows) == 4 and sum(row["is_best"] for row in rows) == 2
    best = found.of_best(found.losses)
    np.testing.assert_array_equal(best, found.losses.min(-1))
    with pytest.raises(ValueError, match="does not hold toy models"):
        ca.array_files.save_arrays(tmp_path / "x.safetensors", "others", {}, {})
        TrainedToys.load(tmp_path / "x.safetensors")


# ---- geometry ----


@settings(max_examples=20)
@given(seed=st.integers(0, 1000), m=st.integers(1, 4), n=st.integers(1, 7))
def test_dimensionality_is_its_formula_in_every_rotation(seed, m, n) -> None:
    rng = np.random.default_rng(seed)
    W = rng.normal(size=(m, n))
    found = feature_dimensionality(W)
    np.testing.assert_allclose(found, dimensionality_of(W), rtol=1e-9)
    turned = random_rotation(m, rng) @ W
    np.testing.assert_allclose(feature_dimensionality(turned), found, rtol=1e-9)
    np.testing.assert_allclose(interference(turned), interference(W), rtol=1e-9, atol=1e-12)
    # No more dimensions can be shared out than there are.
    assert 0 < found.sum() <= min(m, n) + 1e-9
    norms = np.linalg.norm(random_directions(W, seed), axis=0)
    np.testing.assert_allclose(norms, np.linalg.norm(W, axis=0))


@settings(max_examples=15)
@given(seed=st.integers(0, 1000), noise=st.floats(0, 0.01))
def test_shapes_are_known_in_every_rotation(seed, noise) -> None:
    rng = np.random.default_rng(seed)
    for name, plateau in PLATEAUS.items():
        if name == "alone":
            continue
        corners = _corners(name)
        corners = corners / np.linalg.norm(corners, axis=1, keepdims=True)
        size, rank = corners.shape
        W = np.zeros((rank + 2, size + 2))
        W[:rank, :size], W[rank, size] = corners.T, 1.0  # and one alone, and one left out
        W = random_rotation(rank + 2, rng) @ W
        W = (W + noise * rng.normal(size=W.shape))[:, rng.permutation(size + 2)]
        found = parts(W)
        assert [part.name for part in found] == [name, "alone"]
        assert (found[0].rank, len(found[0].features)) == (rank, size)
        assert found[0].dimensionality == pytest.approx(plateau, abs=0.01)
        assert plateau == pytest.approx(rank / size)
        assert represented(W).sum() == size + 1


def test_shapes_in_a_plane_have_names() -> None:
    def plane(*degrees: float) -> np.ndarray:
        turns = np.deg2rad(degrees)
        return np.stack([np.cos(turns), np.sin(turns)])

    assert shape(plane(0, 90)) == "orthogonal"
    assert shape(plane(10, 100, 190)) == "digon and one"
    assert shape(plane(0, 90, 180, 270)) == "square"
    assert shape(plane(0, 120, 240)) == "triangle"
    assert shape(plane(5, 77, 149, 221, 293)) == "pentagon"
    assert shape(plane(0, 40)) == "irregular" == shape(plane(0, 60, 120, 180, 240))
    assert shape(0.1 * plane(0, 90)) == "nothing"
    assert shape(plane(30)) == "alone"
    assert float(dimensions_per_feature(plane(0, 90, 180, 270))) == pytest.approx(0.5)


# ---- closed forms ----


@pytest.mark.parametrize(("importance", "density"), [(1.0, 0.3), (0.4, 0.8), (3.0, 0.15)])
def test_losses_of_the_phases_are_those_of_the_models(importance, density) -> None:
    model = ToyModel(2, 1)
    mean = density / 2
    solutions = {
        "first": ([1.0, 0.0], [0.0, mean]),
        "second": ([0.0, 1.0], [mean, 0.0]),
        "both": ([1.0, -1.0], [0.0, 0.0]),
    }
    uniform = torch.rand(1, 400_000, 2, generator=torch.Generator().manual_seed(1)).double()
    x = model.features.draw(uniform, density)
    told = phase_losses(importance, density)
    for name, (w, b) in solutions.items():
        weights = {"W_in": torch.tensor([[w]]).double(), "b": torch.tensor([b]).double()}
        errors = model.errors(weights, x)[0].numpy()
        assert errors @ [1, importance] == pytest.approx(float(told[name]), rel=0.03), name
        assert measured_phase(np.array([w])).item() == name


def test_the_border_between_phases_is_where_losses_cross() -> None:
    for importance in (0.1, 0.5, 1.0, 4.0):
        border = float(least_density_of_both(importance))
        assert predicted_phase(importance, border - 1e-6).item() == "both"
        assert predicted_phase(importance, border + 1e-6).item() != "both"
    assert measured_phase(np.array([[1.0, 0.9]])).item() == "same side"
    assert measured_phase(np.array([[0.1, 0.1]])).item() == "neither"


def test_a_trained_linear_model_is_that_of_principal_components() -> None:
    training = ToyTraining(300, 256, learning_rate=0.03, n_test=20_000)
    model = ToyModel(4, 2, "linear", "together")
    found = train_toys(model, (0.2,), 1.0, (0, 1), training)
    covariance = model.features.covariance(0.2)
    best = best_linear_loss(covariance, np.ones(4), 2)
    np.testing.assert_allclose(found.losses, best, rtol=0.05)
    W = found.W_in[0, 0, 0].astype(float)
    components = principal_components(covariance, 2)
    np.testing.assert_allclose(W.T @ W, components.T @ components, atol=0.05)
    # Unequal importances: the two most important are kept, and nothing else.
    found = train_toys(ToyModel(5, 2, "linear"), (0.1,), 0.5, (0, 1), training)
    assert (represented(found.W_in) == [True, True, False, False, False]).all()
    importance = 0.5 ** np.arange(5)
    best = best_linear_loss(SparseFeatures(5).covariance(0.1), importance, 2)
    np.testing.assert_allclose(found.losses, best, rtol=0.08)


@pytest.mark.parametrize(("n_hidden", "density"), [(4, 1.0), (5, 0.3), (3, 0.05)])
def test_the_loss_without_superposition_is_that_of_such_neurons(n_hidden, density) -> None:
    n, n_whole = 4, n_hidden // 2
    importance = 0.8 ** np.arange(n)
    model = ToyModel(n, n_hidden, "absolute-value")
    w_in, w_out, b = np.zeros((n_hidden, n)), np.zeros((n, n_hidden)), np.full(n, density / 2)
    for i in range(n_whole):
        w_in[2 * i, i], w_in[2 * i + 1, i] = 1, -1
        w_out[i, 2 * i : 2 * i + 2], b[i] = 1, 0
    uniform = torch.rand(1, 300_000, n, generator=torch.Generator().manual_seed(2)).double()
    x = model.features.draw(uniform, density)
    if n_hidden % 2:  # the neuron left over gives ReLU(x) of the next, by least squares
        w_in[-1, n_whole] = 1
        target, given_ = x[0, :, n_whole].abs().numpy(), x[0, :, n_whole].relu().numpy()
        w_out[n_whole, -1], b[n_whole] = np.polyfit(given_, target, 1)
    arrays = {"W_in": w_in[None], "W_out": w_out[None], "b": b[None]}
    errors = model.errors({k: torch.tensor(v) for k, v in arrays.items()}, x)[0].numpy()
    told = loss_without_superposition(importance, density, n_hidden)
    assert errors @ importance == pytest.approx(told, rel=0.02)
    assert monosemantic_share(w_in) == 1.0


# ---- what the paper found, small ----


def test_five_features_in_a_plane_go_from_orthogonal_to_the_pentagon() -> None:
    training = ToyTraining(700, 256, learning_rate=0.02)
    found = train_toys(ToyModel(5, 2), (1.0, 0.05), 0.9, range(3), training)
    best = found.of_best(found.W_in)[0]
    assert [shape(W) for W in best] == ["orthogonal", "pentagon"]
    np.testing.assert_allclose(feature_dimensionality(best[1]), 0.4, atol=0.02)
    assert found.losses[0].min(1) == pytest.approx([0.1845, 0.00732], rel=0.03)  # golden


def test_turning_the_hidden_space_matters_only_where_its_axes_do() -> None:
    training = ToyTraining(250, 128, learning_rate=0.03, n_test=1000)
    for kind in KINDS:
        found = train_toys(ToyModel(6, 4, kind), (0.6, 0.2), 0.75, (0, 1), training)
        turned = rotate_hidden(found, 4, 500)
        assert turned.loss.shape == (1, 2, 2, 4)
        if kind in ("relu-output", "linear"):
            assert turned.moved.max() < 1e-20
            np.testing.assert_allclose(turned.loss, turned.loss_before[..., None] * np.ones(4))
        else:
            assert turned.moved.min() > 0.01
            assert (turned.loss.mean(-1) > 1.5 * turned.loss_before).all()
            # Two neurons for each absolute value: the axes are what is learned.
            aligned = alignment(found.W_in) > turned.alignment.mean(-1)
            assert aligned.all() or kind == "relu-hidden"
    assert n_computed(found).shape == (1, 2, 2)


# ---- bad input ----


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: ToyModel(0, 1), "n_features=0"),
        (lambda: ToyModel(3, 0), "n_hidden=0"),
        (lambda: ToyModel(3, 1, "relu"), "kind='relu' is none of"),
        (lambda: ToyModel(3, 1, pairs="apart"), "n_features=3 is odd"),
        (lambda: ToyModel(4, 1, pairs="near"), "pairs='near'"),
        (lambda: ToyTraining(n_steps=0), "n_steps=0"),
        (lambda: ToyTraining(learning_rate=-1.0), "learning_rate=-1.0"),
        (lambda: train_toys(ToyModel(4, 1, pairs="apart"), (0.6,)), "at most 0.5"),
        (lambda: train_toys(ToyModel(3, 1), (0.0,)), "density=0.0"),
        (lambda: train_toys(ToyModel(3, 1), ()), "densities="),
        (lambda: train_toys(ToyModel(3, 1), (0.5,), seeds=(1, 1)), "must be different"),
        (lambda: train_toys(ToyModel(3, 1), (0.5,), seeds=(-1,)), "seed=-1"),
        (lambda: train_toys(ToyModel(3, 1), (0.5,), np.ones(4)), "each of 3 features"),
        (lambda: train_toys(ToyModel(3, 1), (0.5,), -1.0), "positive"),
        (lambda: best_linear_loss(np.array([[1, 0.5], [0.5, 1]]), np.array([1, 2.0]), 1), "closed"),
        (lambda: SparseFeatures(2, signed=True).covariance(0.5), "not signed"),
        (lambda: measured_phase(np.ones((2, 2))), "2 features in 1 dimension"),
    ],
)
def test_what_cannot_be_is_one_sentence(call, says) -> None:
    with pytest.raises(ValueError, match=says):
        call()


def test_a_loss_that_runs_away_is_told() -> None:
    training = ToyTraining(30, 16, learning_rate=1e30, n_test=10)
    with pytest.raises(ValueError, match="lower the learning rate"):
        train_toys(ToyModel(5, 2, "linear"), (0.5,), training=training)
