"""Probes: what they are fitted to, held against scikit-learn, and what their results say."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
from sklearn.metrics import log_loss, r2_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import cutaway as ca
from cutaway.patching.effects import Axis
from cutaway.probing import (
    Labels,
    ProbeData,
    ProbeResults,
    ProbeSettings,
    fit_probe,
    fit_probes,
    mean_difference,
    probe,
    split,
)
from cutaway.probing.fit import fit_places
from cutaway.probing.results import clustered
from cutaway.probing.solvers import Scale, SoftmaxLoss, Whitened, logistic


def made_up(
    n: int = 60, d: int = 6, n_classes: int = 3, seed: int = 0, signal: float = 1.5, places: int = 2
) -> ProbeData:
    """Activations in which the class can be seen, at `places` layers and two positions."""
    rng = np.random.default_rng(seed)
    values = rng.integers(n_classes, size=n)
    means = rng.normal(size=(places, 2, n_classes, d))
    x = rng.normal(size=(places, 2, n, d)) + signal * means[:, :, values] + 3.0
    names = tuple(f"class {i}" for i in range(n_classes))
    return ProbeData(
        site="resid_post",
        axes=(Axis("layer", tuple(map(str, range(places)))), Axis("position", ("A", "B"))),
        activations=torch.from_numpy(x).float(),
        labels=Labels("made up", values, names),
        groups=tuple(str(i // 2) for i in range(n)),
        word_types=rng.integers(8, size=(2, n)),
    )


QUICK = ProbeSettings(penalties=(1.0,), n_controls=1, n_shuffles=1)


@given(
    n=st.integers(12, 40),
    d=st.integers(1, 50),
    n_classes=st.integers(2, 4),
    penalty=st.sampled_from([0.1, 1.0, 100.0]),
    seed=st.integers(0, 1000),
)
@settings(max_examples=12)
def test_torch_gives_the_weights_of_scikit_learn(n, d, n_classes, penalty, seed) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d)) @ rng.normal(size=(d, d))
    y = rng.permutation(np.arange(n) % n_classes)
    labels = Labels("y", y, tuple("abcd"[:n_classes]))
    theirs = StandardScaler().fit(x)
    z = theirs.transform(x)
    ours = fit_probe(torch.from_numpy(x), labels, penalty=penalty, solver="torch")
    reference = LogisticRegression(C=1 / penalty, tol=1e-10, max_iter=10_000).fit(z, y)
    # Of more than two classes only differences of intercepts are determined.
    weights = ours.weights.numpy() * theirs.scale_
    bias = (ours.bias + ours.weights @ torch.from_numpy(theirs.mean_)).numpy()
    centre = bias.mean() if n_classes > 2 else 0.0
    own_centre = reference.intercept_.mean() if n_classes > 2 else 0.0
    size = max(1.0, np.abs(reference.coef_).max())
    np.testing.assert_allclose(weights, reference.coef_, atol=2e-4 * size)
    np.testing.assert_allclose(bias - centre, reference.intercept_ - own_centre, atol=2e-4 * size)
    assert (ours.predict(torch.from_numpy(x)) == reference.predict(z)).all()

    ridge = fit_probe(torch.from_numpy(x), labels, "ridge", penalty, solver="torch")
    reference = RidgeClassifier(alpha=penalty).fit(z, y)
    expected = np.atleast_2d(reference.coef_)
    np.testing.assert_allclose(ridge.weights.numpy() * theirs.scale_, expected, atol=1e-7)
    assert (ridge.predict(torch.from_numpy(x)) == reference.predict(z)).all()
    numbers = Labels("number", rng.normal(size=n))
    one = fit_probe(torch.from_numpy(x), numbers, "ridge", penalty, solver="torch")
    expected = Ridge(alpha=penalty).fit(z, numbers.values).predict(z)
    np.testing.assert_allclose(one.predict(torch.from_numpy(x)), expected, atol=1e-7)


@pytest.mark.parametrize("method", ["logistic", "ridge"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_both_solvers_fill_a_sweep_with_the_same_answers(method, n_classes) -> None:
    data = made_up(n_classes=n_classes)
    settings = dataclasses.replace(QUICK, method=method)
    ours = fit_probes(data, settings)
    theirs = fit_probes(data, dataclasses.replace(settings, solver="sklearn"))
    assert np.array_equal(ours.predicted, theirs.predicted)
    for name, scores in theirs.controls.items():
        # The sweep stops at scikit-learn's own default tolerance: a tie may fall either way.
        assert np.abs(ours.controls[name] - scores).mean() <= 0.02, name
    torch.testing.assert_close(ours.weights, theirs.weights, atol=2e-2, rtol=1e-2)


def test_the_loss_is_the_one_that_scikit_learn_reports() -> None:
    data = made_up(n=40)
    x, y = data.at(layer=0, position="A").double()[None], torch.from_numpy(data.labels.values)
    z = Whitened.of(Scale.of(x)(x), 3, 1.0)
    (weights, bias), w, converged = logistic(z, y[None, None], 3, 1.0, tolerance=1e-8)
    value, gradient = SoftmaxLoss(y[None, None], 3)(z.z, w)
    scores = Scale.of(x)(x)[0] @ weights[0, 0] + bias[0, 0]
    assert float(value) == pytest.approx(log_loss(y, scores.softmax(1).numpy()), rel=1e-9)
    assert bool(converged.all())
    nudge = 1e-6 * torch.randn(w.shape, generator=torch.Generator().manual_seed(0)).double()
    change = SoftmaxLoss(y[None, None], 3)(z.z, w + nudge)[0] - value
    assert float(change) == pytest.approx(float((gradient * nudge).sum()), rel=1e-3)


def test_a_class_that_train_lacks_is_never_predicted() -> None:
    data = made_up(n=30)
    x, values = data.at(layer=0, position="A"), data.labels.values
    some = np.flatnonzero(values > 0)
    labels = data.labels.subset(some)
    for method in ("logistic", "ridge"):
        for solver in ("torch", "sklearn"):
            found = fit_probe(x[torch.from_numpy(some)], labels, method, solver=solver)
            assert set(found.predict(x)) == {1, 2}
    alone = data.labels.subset(np.flatnonzero(values == 2))
    only = torch.from_numpy(np.flatnonzero(values == 2))
    for solver in ("torch", "sklearn"):
        assert set(fit_probe(x[only], alone, solver=solver).predict(x)) == {2}


def test_a_sweep_is_a_loop_over_pipelines_that_see_train_only() -> None:
    """The oracle: scikit-learn's own pipeline, fitted on the train prompts of each place."""
    data, wanted = made_up(n=80, n_classes=2), None
    parts = split(data.groups)
    found = fit_probes(data, QUICK, parts=parts)
    wanted = data.labels.values[parts.test]
    for place in found.places():
        x = data.at(**place).double().numpy()
        pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, tol=1e-8))
        pipeline.fit(x[parts.train], data.labels.values[parts.train])
        assert found.interval(**place).estimate == pipeline.score(x[parts.test], wanted)
        assert (found.probe(**place).predict(data.at(**place)) == pipeline.predict(x)).all()


@pytest.mark.parametrize("method", ["logistic", "ridge", "gradient"])
def test_nothing_of_the_test_prompts_reaches_the_fit(method) -> None:
    data = made_up(n=50, n_classes=2)
    parts = split(data.groups)
    moved = data.activations.clone()
    moved[..., parts.test, :] = 1e4 * torch.randn(moved[..., parts.test, :].shape)
    settings = ProbeSettings(method=method, n_controls=1, n_shuffles=0, max_epochs=15)
    found = fit_probes(data, settings, parts=parts)
    again = fit_probes(dataclasses.replace(data, activations=moved), settings, parts=parts)
    assert torch.equal(found.weights, again.weights) and torch.equal(found.bias, again.bias)
    assert np.array_equal(found.validation, again.validation)


@pytest.mark.parametrize("method", ["logistic", "ridge"])
def test_chunks_and_neighbours_change_nothing(method, monkeypatch) -> None:
    data = made_up(n_classes=3)
    settings = dataclasses.replace(QUICK, method=method, n_shuffles=2)
    whole = fit_probes(data, settings)
    monkeypatch.setattr("cutaway.probing.fit._MOST_NUMBERS", 1)
    one_by_one = fit_probes(data, settings)
    assert np.array_equal(whole.predicted, one_by_one.predicted)
    assert np.array_equal(whole.shuffled, one_by_one.shuffled)
    torch.testing.assert_close(whole.weights, one_by_one.weights, atol=5e-3, rtol=5e-3)


def test_the_penalty_is_the_one_that_validation_prefers() -> None:
    data = made_up(n=40, d=30, signal=0.5)
    parts = split(data.groups)
    penalties = (0.1, 10.0, 1000.0)
    chosen = fit_probes(data, dataclasses.replace(QUICK, method="ridge", penalties=penalties))
    alone = [
        fit_probes(data, dataclasses.replace(QUICK, method="ridge", penalties=(one,)), parts=parts)
        for one in penalties
    ]
    table = np.stack([one.validation for one in alone])  # [penalty, layer, position]
    assert np.array_equal(chosen.validation, table.max(0))
    last = len(penalties) - 1 - table[::-1].argmax(0)  # of equal ones the largest penalty
    assert np.array_equal(chosen.penalty, np.asarray(penalties)[last])
    assert len(np.unique(chosen.penalty)) > 1


def test_gradient_keeps_the_weights_of_the_lowest_validation_loss() -> None:
    data = made_up(n=60, d=20, n_classes=3, signal=0.7)
    parts = split(data.groups)
    settings = ProbeSettings(method="gradient", penalties=(0.01,), n_controls=1, n_shuffles=0)
    found = fit_probes(data, settings, parts=parts)
    curves = found.curves["validation"]
    assert curves.shape[-1] < settings.max_epochs  # it has stopped early
    train, validation = (torch.from_numpy(part) for part in (parts.train, parts.validation))
    for place in found.places():
        index = (found.axes[0].labels.index(place["layer"]), "AB".index(place["position"]))
        scores = found.probe(**place).scores(data.at(**place))
        kept = log_loss(
            data.labels.values[validation], scores[validation].softmax(1).numpy(), labels=[0, 1, 2]
        )
        assert kept == pytest.approx(float(np.nanmin(curves[index])), rel=1e-6)
        assert found.curves["train"][index][0] == pytest.approx(np.log(3), rel=1e-6)
        assert len(train) and found.curves["train"][index][-1] < 0.8 * np.log(3)


def test_gradient_that_never_stops_comes_to_the_same_minimum() -> None:
    data = made_up(n=40, n_classes=2)
    parts = split(data.groups)
    same = dataclasses.replace(parts, validation=parts.train)
    x, columns = data.activations[0], data.labels.values[None, None].repeat(2, axis=0)
    common = {"penalties": (5.0,), "max_epochs": 3000, "patience": 3000}
    slow, fast = (
        fit_places(x, columns, 2, same, ProbeSettings(method=method, **common))
        for method in ("gradient", "logistic")
    )
    assert slow.curves is not None
    index = torch.from_numpy(parts.train)
    y = torch.from_numpy(data.labels.values)[index]
    for place in range(2):
        scores = x[place, index].double() @ fast.weights[place, 0] + fast.bias[place, 0]
        expected = torch.nn.functional.binary_cross_entropy_with_logits(scores, y.double())
        assert float(slow.curves.train[place, 0, -1]) == pytest.approx(float(expected), rel=1e-3)


def test_numbers_are_scored_by_r_squared() -> None:
    data = made_up(n=300)
    rng = np.random.default_rng(1)
    numbers = data.at(layer=1, position="B").double().numpy() @ rng.normal(size=6)
    data = dataclasses.replace(data, labels=Labels("number", numbers + rng.normal(size=300)))
    parts = split(data.groups)
    found = fit_probes(data, QUICK, parts=parts)
    assert found.measure == "R²" and found.method == "ridge"
    for place in found.places():
        index = (int(place["layer"]), "AB".index(place["position"]))
        # R^2 about the mean of the train prompts: what is guessed without any activation.
        target, train = found.target, data.labels.values[parts.train].mean()
        expected = (
            1 - ((target - found.predicted[index]) ** 2).sum() / ((target - train) ** 2).sum()
        )
        assert found.mean()[index] == pytest.approx(expected)
        theirs = r2_score(target, found.predicted[index])
        assert expected == pytest.approx(theirs, abs=0.1)
    assert found.mean()[1, 1] > 0.5
    assert found.control("majority", layer=0, position="A").estimate == pytest.approx(0, abs=1e-12)


def test_weights_are_in_the_units_of_the_activations() -> None:
    data = made_up(n_classes=2)
    one = fit_probe(data.at(layer=0, position="A"), data.labels)
    x = data.at(layer=0, position="A")
    direction = one.direction()
    step = torch.randn(6, dtype=torch.double, generator=torch.Generator().manual_seed(0))
    moved = one.scores(x + step) - one.scores(x)
    torch.testing.assert_close(moved[:, 0], (step @ direction).expand(len(x)), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(one.direction("class 0"), -direction)
    torch.testing.assert_close(one.direction("class 1", "class 0"), direction)
    three = made_up(n_classes=3)
    many = fit_probe(three.at(layer=0, position="A"), three.labels)
    pair = many.direction("class 2", "class 0")
    torch.testing.assert_close(pair, many.weights[2] - many.weights[0])
    towards = many.direction("class 2")
    torch.testing.assert_close(towards, many.weights[2] - many.weights[:2].mean(0))
    for bad, message in ((("class 9",), "there is no class 'class 9'"), ((), "name the one")):
        with pytest.raises(ValueError, match=message):
            many.direction(*bad)
    with pytest.raises(ValueError, match="and away from it is none"):
        one.direction("class 1", "class 1")


def test_mean_differences_are_differences_of_means() -> None:
    data = made_up(n_classes=3)
    x, values = data.at(layer=1, position="A"), data.labels.values
    means = [x[torch.from_numpy(np.flatnonzero(values == k))].mean(0) for k in range(3)]
    torch.testing.assert_close(
        mean_difference(x, data.labels, "class 2", "class 0"), means[2] - means[0]
    )
    others = x[torch.from_numpy(np.flatnonzero(values != 1))].mean(0)
    torch.testing.assert_close(mean_difference(x, data.labels, "class 1"), means[1] - others)
    two = made_up(n_classes=2)
    found = mean_difference(two.at(layer=0, position="B"), two.labels)
    again = mean_difference(two.at(layer=0, position="B"), two.labels, "class 1", "class 0")
    assert torch.equal(found, again)
    with pytest.raises(ValueError, match="name the one that the direction is towards"):
        mean_difference(x, data.labels)


def test_intervals_resample_groups() -> None:
    """A loop that draws groups, prompts of each together, and takes percentiles."""
    rng = np.random.default_rng(0)
    groups = [str(i) for i in range(12) for _ in range(i % 3 + 1)]
    values = rng.random(12).repeat([i % 3 + 1 for i in range(12)])  # the same within a group
    estimate, low, high = clustered(values[None], groups)
    drawn = []
    members = [[i for i, g in enumerate(groups) if g == str(k)] for k in range(12)]
    for _ in range(4000):
        chosen = [i for k in rng.integers(12, size=12) for i in members[k]]
        drawn.append(values[chosen].mean())
    assert estimate[0] == pytest.approx(values.mean())
    np.testing.assert_allclose([low[0], high[0]], np.quantile(drawn, [0.025, 0.975]), atol=0.02)
    naive = clustered(values[None], [str(i) for i in range(len(values))])
    assert high[0] - low[0] > 1.2 * (naive[2][0] - naive[1][0])


def test_a_perfect_score_still_has_a_width() -> None:
    data = made_up(n=120, n_classes=2, signal=30)
    found = fit_probes(data, QUICK)
    interval = found.interval(layer=0, position="A")
    assert interval.estimate == 1.0 and 0.7 < interval.low < 0.9 and interval.high == 1.0
    assert found.p_values().max() == 0.001


def test_p_values_of_nothing_are_spread_out() -> None:
    found = [fit_probes(made_up(n=40, signal=0.0, seed=seed), QUICK) for seed in range(12)]
    lowest = np.array([one.p_values().min() for one in found])  # corrected: the lowest of each
    assert 0.2 < lowest.mean() < 0.9 and (lowest <= 0.05).sum() <= 3


def test_results_come_back_as_they_were_saved(tmp_path) -> None:
    found = fit_probes(made_up(), dataclasses.replace(QUICK, method="gradient", max_epochs=5))
    found.save(tmp_path / "probes.safetensors")
    again = ProbeResults.load(tmp_path / "probes.safetensors")
    assert (again.axes, again.classes, again.groups) == (found.axes, found.classes, found.groups)
    assert (again.label, again.method, again.settings) == (
        found.label,
        found.method,
        found.settings,
    )
    np.testing.assert_allclose(again.score, found.score)
    assert again.controls.keys() == found.controls.keys()
    np.testing.assert_allclose(again.curves["train"], found.curves["train"], rtol=1e-6)
    torch.testing.assert_close(again.weights, found.weights, rtol=1e-6, atol=1e-6)
    rows = found.to_frame()
    assert len(rows) == 4 and rows[0]["layer"] == "0" and "control task" in rows[0]
    figure = found.plot()
    assert len(figure.axes) > 0
    with pytest.raises(ValueError, match="there is no file"):
        ProbeResults.load(tmp_path / "missing")


def test_the_answer_is_readable_at_the_end_and_the_order_is_not() -> None:
    """The golden numbers: ioi-mini, 300 prompts of eight names."""
    model = ca.HookedTransformer.from_pretrained("ioi-mini")
    names = ["Mary", "John", "Anna", "Tom", "James", "Paul", "Lisa", "Peter"]
    task = ca.tasks.ioi(model, 300, names=names)
    settings = ProbeSettings(method="ridge", n_random_models=0)
    where = {"layers": [3], "positions": ["S1", "END"], "settings": settings}
    answer = probe(model, task, "answer", groups="group", **where)
    order = probe(model, task, "order", groups="group", **where)
    assert answer.mean()[0].tolist() == pytest.approx(GOLDEN["answer"], abs=1e-6)
    assert order.mean()[0].tolist() == pytest.approx(GOLDEN["order"], abs=1e-6)


GOLDEN = {"answer": [10 / 60, 1.0], "order": [55 / 60, 33 / 60]}


def test_settings_that_make_no_sense_are_refused() -> None:
    for wrong, message in (
        ({"method": "svm"}, "method='svm' is not one of logistic"),
        ({"solver": "jax"}, "solver='jax' is not one of torch"),
        ({"method": "gradient", "solver": "sklearn"}, "is trained by torch"),
        ({"penalties": ()}, "must be positive numbers, at least one"),
        ({"penalties": (0.0,)}, "must be positive numbers"),
        ({"n_controls": 0}, "one control task is needed"),
        ({"patience": 0}, "must be positive"),
    ):
        with pytest.raises(ValueError, match=message):
            ProbeSettings(**wrong)
    data = made_up()
    for make, message in (
        (lambda: fit_probe(data.at(layer=0, position="A")[:3], data.labels), "3 prompts and 60"),
        (lambda: fit_probe(data.at(layer=0, position="A"), data.labels, penalty=0), "positive"),
        (lambda: fit_probe(data.at(layer=0, position="A"), data.labels, "svm"), "neither logistic"),
    ):
        with pytest.raises(ValueError, match=message):
            make()
    assert ProbeSettings().method_for(3) == "logistic" and ProbeSettings().method_for(30) == "ridge"
