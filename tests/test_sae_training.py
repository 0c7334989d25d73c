"""Training dictionaries: each as it would be alone, bit for bit after a stop, dead ones revived."""

from __future__ import annotations

import dataclasses
import itertools
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from torch import Tensor

from cutaway.model.config import ModelConfig
from cutaway.sae.activations import Activations
from cutaway.sae.config import DictionaryConfig, DictionaryError
from cutaway.sae.dead import Firing, resample
from cutaway.sae.dictionary import Dictionary
from cutaway.sae.kinds import CLASSES, new_dictionary
from cutaway.sae.learner import (
    fresh_learner,
    make_decoder_rows_unit,
    remove_parallel_gradient,
)
from cutaway.sae.rows import DrawnRows, GivenRows
from cutaway.sae.settings import DictionarySettings, PassSettings
from cutaway.sae.starts import geometric_median, unit_scale
from cutaway.sae.store import store_rows
from cutaway.sae.training import (
    DictionaryEvents,
    TrainedDictionary,
    train_dictionaries,
    unique_names,
)
from cutaway.training.checkpoints import CheckpointError
from cutaway.training.trainer import TrainingFailed
from random_models import random_model

KINDS = list(CLASSES)
PASS = PassSettings(
    n_rows=600, batch_size=40, start_rows=64, report_every=4, evaluate_every=6, checkpoint_every=4
)


def wanted(kind: str, **changes: Any) -> DictionarySettings:
    given = {"kind": kind, "d_features": 12, "dead_after": 100, "learning_rate": 3e-3, **changes}
    if "k" in kind.split("-") or kind == "matryoshka":
        given.setdefault("k", 3)
    return DictionarySettings(**given)


@pytest.fixture(scope="module")
def source() -> GivenRows:
    """Rows that are sparse sums of 10 directions, around a point that is not zero."""
    draw = torch.Generator().manual_seed(0)
    directions = torch.randn(10, 6, generator=draw)
    active = torch.rand(400, 10, generator=draw) * (torch.rand(400, 10, generator=draw) < 0.2)
    return GivenRows(active @ directions + 1, seed=0)


# ---- starts ----


@settings(max_examples=15)
@given(st.integers(1, 12), st.integers(1, 4), st.integers(0, 1000), st.booleans())
def test_geometric_median_is_the_minimum(n: int, width: int, seed: int, far: bool) -> None:
    """Oracle: scipy's general-purpose minimiser, from several starts."""
    x = np.random.default_rng(seed).normal(size=(n, width))
    if far:
        x[0] += 100

    def total(at: np.ndarray) -> float:
        return float(np.linalg.norm(x - at, axis=1).sum())

    ours = geometric_median(torch.from_numpy(x), tolerance=1e-9, n_steps=20_000).numpy()
    options = {"maxiter": 4000, "xatol": 1e-8, "fatol": 1e-10}
    best = min(
        minimize(total, at, method="Nelder-Mead", options=options).fun
        for at in (x.mean(0), np.median(x, axis=0))
    )
    assert total(ours) <= min(best, min(map(total, x))) + 1e-4


def test_geometric_median_where_it_is_known() -> None:
    assert geometric_median(torch.tensor([[0.0], [1.0], [100.0]])).item() == pytest.approx(1)
    square = torch.tensor([[0.0, 0], [2, 0], [0, 2], [2, 2]])
    assert geometric_median(square).tolist() == pytest.approx([1, 1])
    assert geometric_median(torch.full((5, 3), 7.0)).tolist() == [7, 7, 7]
    with pytest.raises(ValueError, match="no rows"):
        geometric_median(torch.empty(0, 3))


def test_scale_makes_norms_the_root_of_the_width(source: GivenRows) -> None:
    rows = source.rows[""]
    scaled = rows * unit_scale(rows)
    assert float(scaled.norm(dim=1).mean()) == pytest.approx(6**0.5, rel=1e-5)
    with pytest.raises(ValueError, match="all rows are zero"):
        unit_scale(torch.zeros(4, 2))


@pytest.mark.parametrize("start", ["mean", "geometric-median", "zero"])
def test_a_fresh_dictionary_begins_in_the_middle(source: GivenRows, start: str) -> None:
    rows = source.rows[""]
    dictionary = fresh_learner(source, wanted("top-k", start=start), 9, {"": rows}).dictionary
    middle = {"mean": rows.mean(0), "geometric-median": geometric_median(rows)}.get(start)
    expected = torch.zeros(6) if middle is None else middle * unit_scale(rows)
    torch.testing.assert_close(dictionary.b_dec.data, expected)
    plain = fresh_learner(source, wanted("top-k", normalise=False), 9, {"": rows})
    assert plain.dictionary.cfg.scale == 1


# ---- decoder rows ----


@pytest.mark.parametrize("kind", KINDS)
def test_unit_rows_and_gradients_across_them(source: GivenRows, kind: str) -> None:
    dictionary = new_dictionary(
        DictionaryConfig(
            kind,  # type: ignore[arg-type]
            d_in=6,
            d_features=12,
            k=3 if wanted(kind).k else None,
            sizes=(3, 12) if kind == "matryoshka" else (),
        )
    )
    dictionary.requires_grad_(False)
    dictionary.W_dec.grad = torch.randn(12, 6, generator=torch.Generator().manual_seed(1))
    before = dictionary.W_dec.grad.clone()
    remove_parallel_gradient(dictionary)
    along = (dictionary.W_dec.grad * dictionary.W_dec).sum(1)
    assert float(along.abs().max()) < 1e-6
    across = before - dictionary.W_dec.grad  # what was taken away lies along the rows
    assert (
        float(
            (across - (across * dictionary.W_dec).sum(1, keepdim=True) * dictionary.W_dec)
            .abs()
            .max()
        )
        < 1e-5
    )
    with torch.no_grad():
        dictionary.W_dec.mul_(3)
    make_decoder_rows_unit(dictionary)
    torch.testing.assert_close(dictionary.W_dec.norm(dim=1), torch.ones(12))


@pytest.mark.parametrize("rule", ["unit", "free"])
def test_rows_after_training(source: GivenRows, rule: str) -> None:
    trained = train_dictionaries(source, [wanted("standard", decoder=rule)], PASS)[0]
    away = (trained.dictionary.W_dec.norm(dim=1) - 1).abs()
    assert (float(away.max()) < 1e-5) == (rule == "unit")


# ---- the pass ----


def test_several_in_one_pass_are_each_alone(source: GivenRows) -> None:
    """Kinds, seeds and resampling together share nothing but the rows."""
    asked = [wanted(kind, seed=i) for i, kind in enumerate(KINDS)]
    asked.append(wanted("standard", sparsity=30.0, resample_every=4, dead_after=50, seed=9))
    together = train_dictionaries(source, asked, PASS)
    for settings_, ours in zip(asked, together, strict=True):
        alone = train_dictionaries(source, [settings_], PASS)[0]
        assert alone.dictionary.digest == ours.dictionary.digest, ours.name
        assert alone.curve == ours.curve
    assert len({one.dictionary.digest for one in together}) == len(asked)


def test_every_kind_learns(source: GivenRows) -> None:
    long = PassSettings(n_rows=12_000, batch_size=200, start_rows=400, report_every=20)
    options = {"d_features": 24, "learning_rate": 2e-2, "threshold_rate": 3.0}
    asked = [wanted(kind, sparsity=None if wanted(kind).k else 0.3, **options) for kind in KINDS]
    for one in train_dictionaries(source, asked, long):
        explained = [value for _, value in one.points("explained")]
        assert explained[-1] > max(0.8, explained[0]), one.name
        if one.settings.k:
            assert one.points("l0")[-1][1] <= one.settings.k + 1e-9


def test_what_is_told_is_what_is_so(source: GivenRows) -> None:
    """Oracle: L0 and explained variance of one batch, computed plainly."""
    learner = fresh_learner(source, wanted("standard"), 10)
    x = source.next_rows(80)[""]
    with torch.no_grad():
        features, rebuilt = learner.dictionary.encode(x), learner.dictionary(x)
    learner.step(0, {"": x[:30]})
    learner.sums.clear()
    other = fresh_learner(source, wanted("standard"), 10)
    other.step(0, {"": x})
    point = other.point()
    assert point.l0 == pytest.approx(float((features > 0).sum(1).double().mean()))
    left = ((x - rebuilt) ** 2).sum(1).mean() / ((x - x.mean(0)) ** 2).sum(1).mean()
    assert point.explained == pytest.approx(1 - float(left), abs=1e-4)


def test_a_transcoder_predicts_another_hook() -> None:
    model = random_model(
        ModelConfig(
            n_layers=1,
            d_model=8,
            n_heads=2,
            d_head=4,
            d_vocab=30,
            n_ctx=6,
            d_mlp=16,
            init_range=0.4,
        )
    )
    tokens = torch.randint(1, 30, (60, 6), generator=torch.Generator().manual_seed(0))
    hook, out = "blocks.0.ln2.hook_normalized", "blocks.0.hook_mlp_out"
    source = Activations(model, tokens, [hook, out])
    asked = wanted("top-k", hook=hook, hook_out=out, k=6, d_features=64, skip=True)
    asked = dataclasses.replace(asked, learning_rate=1e-2)
    long = PassSettings(n_rows=6000, batch_size=100, report_every=20)
    trained = train_dictionaries(source, [asked], long)[0]
    assert trained.dictionary.is_transcoder
    assert trained.points("explained")[-1][1] > 0.5
    rows = source.next_rows(300)
    with torch.no_grad():
        error = (trained.dictionary(rows[hook]) - rows[out]).square().sum()
    away = (rows[out] - rows[out].mean(0)).square().sum()
    assert float(1 - error / away) > 0.5
    assert trained.dictionary.cfg.n_ctx == 6


@pytest.mark.parametrize("kind", KINDS)
def test_a_finished_transcoder_is_in_the_models_units(kind: str) -> None:
    """While training, outputs are as long as inputs; the features take the factor afterwards."""
    draw = torch.Generator().manual_seed(0)
    rows = torch.randn(200, 6, generator=draw)
    source = GivenRows({"a": rows, "b": 0.01 * rows[:, :4]})
    asked = wanted(kind, hook="a", hook_out="b", skip=True)
    learner = fresh_learner(source, asked, 9)
    assert 50 < learner.output_scale < 200
    for step in range(3):
        learner.step(step, source.next_rows(50))
    done, x = learner.finished(), rows[:20]
    with torch.no_grad():
        raw = learner.dictionary(x) / learner.output_scale
    torch.testing.assert_close(done(x), raw, atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(done.W_dec, learner.dictionary.W_dec.data)
    assert learner.dictionary.W_dec.requires_grad
    assert not done.W_dec.requires_grad


# ---- stopping and going on ----


def stop_at(*steps: int) -> Callable[[], bool]:
    counter = itertools.count(1)
    return lambda: next(counter) in steps


def test_a_stopped_run_goes_on_bit_for_bit(source: GivenRows, tmp_path: Path) -> None:
    """Stopped at random steps, between reports and checkpoints, weights and curve are the same."""
    asked = [
        wanted("batch-top-k", seed=3),
        wanted("gated"),
        wanted("standard", sparsity=30.0, resample_every=5, dead_after=50),
    ]

    def measure(dictionary: Dictionary) -> dict[str, float]:
        return {"bias": float(dictionary.b_dec.sum())}

    whole = train_dictionaries(source, asked, PASS, folder=tmp_path / "whole", measure=measure)
    rng = random.Random(1)
    for _ in range(4):
        events = DictionaryEvents(stop=stop_at(rng.randrange(1, 5)))
        with pytest.raises(KeyboardInterrupt, match="stopped after step"):
            train_dictionaries(
                source, asked, PASS, folder=tmp_path / "cut", measure=measure, events=events
            )
    began: list[int] = []
    events = DictionaryEvents(begin=began.append)
    cut = train_dictionaries(
        source, asked, PASS, folder=tmp_path / "cut", measure=measure, events=events
    )
    assert began[0] > 0
    for a, b in zip(whole, cut, strict=True):
        assert a.dictionary.digest == b.dictionary.digest
        assert a.curve == b.curve
    assert whole[2].points("resampled")


def test_a_killed_run_goes_on_from_its_checkpoint(source: GivenRows, tmp_path: Path) -> None:
    """Nothing is saved at the moment it dies: what was saved before has to do."""

    class Killed(BaseException):
        pass

    def die(step: int, points: object, rate: float) -> None:
        if step == 12:
            raise Killed

    asked = [wanted("top-k")]
    whole = train_dictionaries(source, asked, PASS, folder=tmp_path / "whole")
    with pytest.raises(Killed):
        events = DictionaryEvents(report=die)
        train_dictionaries(source, asked, PASS, folder=tmp_path / "cut", events=events)
    began: list[int] = []
    events = DictionaryEvents(begin=began.append)
    cut = train_dictionaries(source, asked, PASS, folder=tmp_path / "cut", events=events)
    assert began == [8]
    assert cut[0].dictionary.digest == whole[0].dictionary.digest
    assert cut[0].curve == whole[0].curve


def test_a_store_trains_the_same_dictionary(source: GivenRows, tmp_path: Path) -> None:
    store = store_rows(source, tmp_path, 1200, shard_rows=170)
    ours = train_dictionaries(store, [wanted("top-k")], PASS)[0]
    assert (
        ours.dictionary.digest
        == train_dictionaries(source, [wanted("top-k")], PASS)[0].dictionary.digest
    )


def test_another_run_is_refused(source: GivenRows, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    train_dictionaries(source, [wanted("top-k")], PASS, folder=folder)
    with pytest.raises(CheckpointError, match=r"top-k k=3: seed \(0 there, 1 here\)"):
        train_dictionaries(source, [wanted("top-k", seed=1)], PASS, folder=folder)
    other = GivenRows(source.rows[""] + 1)
    with pytest.raises(CheckpointError, match="rows "):
        train_dictionaries(other, [wanted("top-k")], PASS, folder=folder)
    (tmp_path / "something").write_text("else")
    with pytest.raises(FileExistsError, match="something else"):
        train_dictionaries(source, [wanted("top-k")], PASS, folder=tmp_path)
    again = train_dictionaries(source, [wanted("top-k")], PASS, folder=folder)  # nothing left to do
    assert isinstance(again[0], TrainedDictionary)


# ---- dead features ----


def test_firing_counts_rows() -> None:
    """Oracle: a list of when each feature fired."""
    draw = np.random.default_rng(0)
    firing, last, n = Firing(5), np.zeros(5, dtype=int), 0
    for size in draw.integers(1, 9, 12):
        fired = draw.random(5) < 0.3
        firing.saw(torch.from_numpy(fired), int(size))
        n += int(size)
        last[fired] = n
        assert firing.rows_since.tolist() == (n - last).tolist()
    assert firing.dead(3).tolist() == (n - last >= 3).tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_resampled_features_point_at_what_is_missing(source: GivenRows, kind: str) -> None:
    dictionary = fresh_learner(source, wanted(kind), 9).dictionary
    x = source.rows[""]
    with torch.no_grad():
        for name, parameter in dictionary.named_parameters():
            if name not in ("W_enc", "W_dec", "b_dec"):
                parameter.add_(0.1)
    before = {name: value.clone() for name, value in dictionary.state_dict().items()}
    features = torch.tensor([2, 7, 11])
    chosen = resample(dictionary, features, x, seed=0, step=3)
    after = dictionary.state_dict()
    others = [i for i in range(12) if i not in features]
    assert torch.equal(after["W_enc"][:, others], before["W_enc"][:, others])
    assert torch.equal(after["W_dec"][others], before["W_dec"][others])
    assert torch.equal(after["b_dec"], before["b_dec"])
    read = dictionary.encoder_input(x[chosen]).detach()
    for feature, row in zip(features.tolist(), read, strict=True):
        torch.testing.assert_close(after["W_dec"][feature], row / row.norm())
        length = 0.2 * before["W_enc"][:, others].norm(dim=0).mean()
        torch.testing.assert_close(after["W_enc"][:, feature], length * row / row.norm())
    fresh = new_dictionary(dictionary.cfg).state_dict()
    for name in set(after) - {"W_enc", "W_dec", "b_dec", "threshold"}:
        assert torch.equal(after[name][features], fresh[name][features])
        assert torch.equal(after[name][others], before[name][others])


def test_badly_rebuilt_rows_are_chosen() -> None:
    """Rows are drawn in proportion to their squared error."""
    cfg = DictionaryConfig("standard", d_in=2, d_features=3000)
    dictionary = new_dictionary(cfg)
    with torch.no_grad():
        dictionary.W_enc.zero_()  # rebuilds nothing: the error is the squared norm
    x = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0], [0.0, 0.0]])
    chosen = resample(dictionary, torch.arange(3000), x, seed=0)
    share = torch.bincount(chosen, minlength=4) / 3000
    torch.testing.assert_close(share, torch.tensor([1, 4, 9, 0]) / 14, atol=0.03, rtol=0)
    with pytest.raises(ValueError, match="no rows"):
        resample(dictionary, torch.arange(3), x[:0])


def test_resampling_revives_and_adam_forgets(source: GivenRows) -> None:
    learner = fresh_learner(source, wanted("standard"), 100)
    rows = source.next_rows(100)
    learner.step(0, rows)
    with torch.no_grad():
        learner.dictionary.b_enc[:4] = -1e3  # four features that cannot fire
    learner.step(1, rows)
    learner.step(2, rows)
    assert learner.dead().tolist() == [True] * 4 + [False] * 8
    memory = learner.optimizer.state[learner.dictionary.W_enc]["exp_avg_sq"].clone()
    assert learner.resample(3, rows) == 4
    kept = learner.optimizer.state[learner.dictionary.W_enc]["exp_avg_sq"]
    assert float(kept[:, :4].abs().max()) == 0
    assert torch.equal(kept[:, 4:], memory[:, 4:])
    assert not learner.dead().any()
    learner.step(3, rows)
    assert bool((learner.firing.rows_since[:4] == 0).all())


# ---- errors ----


def test_bad_input(source: GivenRows) -> None:
    with pytest.raises(DictionaryError, match="no dictionary is to be trained"):
        train_dictionaries(source, [], PASS)
    with pytest.raises(ValueError, match="no rows of 'blocks.0.hook_z' here"):
        train_dictionaries(source, [wanted("top-k", hook="blocks.0.hook_z")], PASS)
    with pytest.raises(DictionaryError, match="needs k"):
        DictionarySettings("top-k")
    with pytest.raises(DictionaryError, match="k=3 is for top-k"):
        DictionarySettings("standard", k=3)
    with pytest.raises(DictionaryError, match="kind='sparse' is unknown"):
        DictionarySettings("sparse")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="batch_size=0 is too few"):
        PassSettings(batch_size=0)
    with pytest.raises(DictionaryError, match=r"k=13 has to be a whole number from 1 to"):
        train_dictionaries(source, [wanted("top-k", k=13)], PASS)
    huge = wanted("standard", learning_rate=1e30, gradient_clip=0.0, warmup=0.0)
    with pytest.raises(TrainingFailed, match=r"'standard lambda=5' is no longer a number"):
        train_dictionaries(source, [huge], PASS)


def test_names_tell_dictionaries_apart() -> None:
    asked = [wanted("top-k", k=k) for k in (1, 2)]
    assert unique_names(asked) == ("top-k k=1", "top-k k=2")
    asked = [wanted("top-k", seed=seed) for seed in (0, 1)]
    assert unique_names(asked) == ("top-k k=3 seed=0", "top-k k=3 seed=1")
    with pytest.raises(DictionaryError, match="two dictionaries are called"):
        unique_names([wanted("top-k"), wanted("top-k")])


def test_schedules() -> None:
    asked = wanted("standard", sparsity=4.0, warmup=0.1, decay=0.5, sparsity_warmup=0.25)
    rates = [asked.rate_at(step, 20) for step in range(20)]
    assert rates[:3] == [0.5, 1.0, 1.0]
    assert rates[10:] == pytest.approx([1 - i / 10 for i in range(10)])
    assert [asked.coefficient_at(step, 20) for step in (0, 4, 19)] == pytest.approx([0.8, 4, 4])
    assert wanted("top-k", learning_rate=None).peak_rate(2**14) == pytest.approx(2e-4)
    every = wanted("top-k", resample_every=4, resample_until=0.5)
    assert [s for s in range(1, 21) if every.is_resampled_after(s, 20)] == [4, 8]


def test_golden_loss(source: GivenRows) -> None:
    """What a silent change of a step, the order or a schedule would show."""

    def noise(generator: torch.Generator) -> Tensor:
        return torch.randn(64, 6, generator=generator)

    drawn = DrawnRows(noise, "noise")
    trained = train_dictionaries(drawn, [wanted("top-k")], PASS)[0]
    assert trained.points("explained")[-1][1] == pytest.approx(0.4622, abs=2e-3)
