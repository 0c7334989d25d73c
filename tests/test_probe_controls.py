"""What stands beside a probe: control tasks, shuffled labels, fresh weights, embeddings."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import cutaway as ca
from cutaway.patching.effects import Axis
from cutaway.probing import (
    Labels,
    ProbeData,
    ProbeSettings,
    collect,
    control_labels,
    fit_probes,
    probe,
    shuffled_labels,
    split,
)
from cutaway.probing.controls import guess, rearrangements, seen_types

N, N_WORDS = 240, 12
SETTINGS = ProbeSettings(penalties=(1.0,), n_controls=3, n_shuffles=2, n_random_models=1)


@given(
    words=st.lists(st.integers(0, 6), min_size=4, max_size=60),
    seed=st.integers(0, 50),
    is_numeric=st.booleans(),
)
@settings(max_examples=40)
def test_a_control_label_says_the_word_and_nothing_else(words, seed, is_numeric) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=len(words)) if is_numeric else np.arange(len(words)) % 3
    labels = Labels("y", values, () if is_numeric else ("a", "b", "c"))
    if is_numeric and len(set(words)) < 2:
        return
    control = control_labels(labels, np.array(words), seed)
    of_word: dict[int, float] = {}
    for word, value in zip(words, control.values, strict=True):
        assert of_word.setdefault(word, value) == value
    assert set(control.values) <= set(labels.values) and control.classes == labels.classes
    again = control_labels(labels, np.array(words), seed)
    assert np.array_equal(again.values, control.values)


def test_control_labels_come_as_often_as_the_real_ones() -> None:
    labels = Labels("y", np.arange(1000) % 10 // 9, ("often", "rarely"))  # 90% and 10%
    control = control_labels(labels, np.arange(1000), seed=0)
    assert 0.07 < control.values.mean() < 0.13


def test_shuffled_labels_are_the_same_labels_elsewhere() -> None:
    labels = Labels("y", np.arange(40) % 4, tuple("abcd"))
    alone = tuple(map(str, range(40)))
    found = shuffled_labels(labels, alone, 0)
    assert sorted(found.values) == sorted(labels.values)
    assert 0 < (found.values == labels.values).mean() < 0.6
    # Where the label belongs to the group, groups exchange theirs and stay of one label.
    groups = tuple(str(i // 5) for i in range(40))
    whole = Labels("g", np.arange(40) // 5 % 2, ("a", "b"))
    exchanged = shuffled_labels(whole, groups, 1).values.reshape(8, 5)
    assert (exchanged == exchanged[:, :1]).all() and exchanged[:, 0].sum() == 4
    assert not np.array_equal(exchanged.ravel(), whole.values)
    orders = rearrangements(labels.values, alone, 5, seed=0)
    assert len({order.tobytes() for order in orders}) == 5


def made_up(words_in_it: bool, label_in_it: bool) -> ProbeData:
    """Two named parts: the word as one of many dimensions, and the label as one of its own."""
    rng = np.random.default_rng(0)
    words, values = rng.integers(N_WORDS, size=N), rng.integers(2, size=N)
    parts = [rng.normal(size=(N, 2))]
    if words_in_it:
        parts.append(3 * np.eye(N_WORDS)[words])
    if label_in_it:
        parts.append(3.0 * values[:, None])
    return ProbeData(
        site="resid_post",
        axes=(Axis("layer", ("0",)), Axis("position", ("A",))),
        activations=torch.from_numpy(np.concatenate(parts, axis=1))[None, None].float(),
        labels=Labels("y", values, ("no", "yes")),
        groups=tuple(map(str, range(N))),
        word_types=words[None],
    )


def test_selectivity_tells_what_is_there_from_what_can_be_learnt_by_heart() -> None:
    for words_in_it, label_in_it, accuracy, selectivity in (
        (True, True, (0.97, 1.0), (-0.03, 0.03)),  # it is there, but so would anything else be
        (False, True, (0.97, 1.0), (0.25, 0.6)),  # it is there, and words are not
        (False, False, (0.3, 0.7), (-0.25, 0.2)),  # nothing is there
    ):
        found = fit_probes(made_up(words_in_it, label_in_it), SETTINGS)
        assert accuracy[0] <= found.interval().estimate <= accuracy[1]
        selective = found.selectivity()
        assert selectivity[0] <= selective.estimate <= selectivity[1]
        assert selective.estimate == pytest.approx(
            found.interval().estimate - found.control("control task").estimate
        )
        assert 0.3 < found.control("shuffled labels").estimate < 0.7
    assert found.seen_types.tolist() == [1.0]


def test_words_that_train_lacks_are_counted() -> None:
    parts = split([str(i) for i in range(40)])
    words = np.arange(40)[None].copy()
    assert seen_types(words, parts).tolist() == [0.0]
    words[0, parts.test[: len(parts.test) // 2]] = words[0, parts.train[0]]
    assert seen_types(words, parts).tolist() == [0.5]


def test_a_guess_is_the_most_frequent_class_of_train() -> None:
    parts = split([str(i) for i in range(30)])
    values = np.zeros(30, dtype=np.int64)
    values[parts.test] = 1
    values[parts.train[:2]] = 1
    found = guess(Labels("y", values, ("a", "b")), parts)
    assert found.tolist() == [0.0] * len(parts.test)
    numbers = Labels("y", np.linspace(0, 1, 30))
    assert guess(numbers, parts).mean() == pytest.approx(0.0, abs=1e-12)


@pytest.fixture(scope="module")
def model() -> ca.HookedTransformer:
    return ca.HookedTransformer.from_pretrained("ioi-mini")


@pytest.fixture(scope="module")
def task(model) -> ca.Task:
    return ca.tasks.ioi(model, 80)


def test_every_control_is_a_probe_of_its_own_data(model, task) -> None:
    where = {"positions": ["S1", "END"], "groups": "group"}
    settings = dataclasses.replace(SETTINGS, method="ridge", n_random_models=2)
    found = probe(model, task, "order", layers=[1, 3], **where, settings=settings)
    only = dataclasses.replace(settings, n_controls=1, n_shuffles=0)
    parts = split(collect(model, task, "order", **where).groups)

    def alone(of: ca.HookedTransformer, site: str, layers: list[int]) -> np.ndarray:
        data = collect(of, task, "order", site=site, layers=layers, **where)
        return fit_probes(data, only, parts=parts).score

    embedded = alone(model, "resid_pre", [0])
    for layer in range(2):
        assert np.array_equal(found.controls["embeddings"][layer], embedded[0])
    fresh = [alone(model.fresh(seed), "resid_post", [1, 3]) for seed in (0, 1)]
    np.testing.assert_allclose(found.controls["random weights"], np.mean(fresh, axis=0))
    control = control_labels(
        collect(model, task, "order", **where).labels,
        collect(model, task, "order", **where).word_types[1],
        seed=0,
    )
    data = collect(model, task, control, layers=[3], positions="END", groups="group")
    one = fit_probes(data, only, parts=parts)
    first = fit_probes(collect(model, task, "order", layers=[1, 3], **where), only, parts=parts)
    assert np.array_equal(one.score[0, 0], first.controls["control task"][1, 1])


def test_a_fresh_model_has_the_shape_and_none_of_the_weights(model, task) -> None:
    fresh = model.fresh(0)
    assert fresh.cfg.replace(seed=0) == model.cfg.replace(seed=0)
    assert fresh.digest != model.digest and fresh.digest != model.fresh(1).digest
    assert task.baseline(fresh).accuracy.estimate < 0.8
    assert model.digest == ca.HookedTransformer.from_pretrained("ioi-mini").digest


def test_progress_ends_at_one_and_never_falls(model, task) -> None:
    seen: list[float] = []
    probe(model, task, "order", layers=0, settings=SETTINGS, progress=seen.append)
    assert seen == sorted(seen) and seen[-1] == 1.0
