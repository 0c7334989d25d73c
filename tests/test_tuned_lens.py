"""The tuned lens: it begins as the logit lens, learns, is saved, and belongs to one model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import cutaway as ca
from cutaway.lenses import (
    TunedLens,
    lens_errors,
    logit_lens,
    mean_prediction,
    train_tuned_lens,
    tuned_training,
)
from cutaway.lenses.points import lens_points
from cutaway.lenses.tuned_training import SETTINGS
from cutaway.training.ioi_corpus import Corpus
from random_models import configs, random_model

SHORT = replace(SETTINGS, n_steps=25, warmup_steps=5)


@pytest.fixture(scope="module")
def mini() -> ca.HookedTransformer:
    return ca.HookedTransformer.from_pretrained("ioi-mini")


def batches(step: int) -> torch.Tensor:
    return Corpus(seed=11).sequences(8 * step, 8)


@pytest.fixture(scope="module")
def held_out() -> torch.Tensor:
    return Corpus(seed=12).sequences(0, 16)


@pytest.fixture(scope="module")
def trained(mini) -> TunedLens:
    return train_tuned_lens(mini, batches, SHORT)


def tokens_of(cfg, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(1, cfg.d_vocab, (3, 7), generator=generator)


@given(cfg=configs(), seed=st.integers(0, 50))
@settings(max_examples=10)
def test_untrained_it_is_the_logit_lens(cfg, seed) -> None:
    model, mid = random_model(cfg, seed).double(), cfg.has_resid_mid
    tokens = tokens_of(cfg, seed)
    found = TunedLens.untrained(model, mid).read(model, tokens, top=3)
    plain = logit_lens(model, tokens, mid=mid, top=3)
    assert found.points == plain.points
    for name in ("top_tokens", "top_probabilities", "entropy", "kl"):
        np.testing.assert_array_equal(getattr(found, name), getattr(plain, name))


@torch.no_grad()
def loss_written_out(model, lens: TunedLens, tokens: torch.Tensor) -> torch.Tensor:
    """Mean KL over points and places: affine map, norm, unembedding, one point at a time."""
    final = model(tokens).log_softmax(-1)
    _, cache = model.run_with_cache(tokens)
    found = []
    for at, point in enumerate(lens_points(model.cfg)[:-1]):
        x = cache[point.hook]
        x = x @ (torch.eye(model.cfg.d_model) + lens.translators.A[at]) + lens.translators.b[at]
        logs = (model.ln_final(x) @ model.W_U + model.b_U).log_softmax(-1)
        found.append((final.exp() * (final - logs)).sum(-1).mean())
    return torch.stack(found).mean()


@pytest.mark.parametrize("cells", [1, 2**24])
def test_the_loss_is_the_mean_kl_and_trains_the_lens_alone(cells, mini, held_out, monkeypatch):
    monkeypatch.setattr(tuned_training, "_CELLS", cells)  # with and without computing it twice
    lens = TunedLens.untrained(mini)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        lens.translators.A.normal_(0, 0.02, generator=generator)
        lens.translators.b.normal_(0, 0.02, generator=generator)
    tokens = held_out[:2]
    loss = tuned_training._loss(mini, mini, lens.translators, tokens)
    assert loss.item() == pytest.approx(loss_written_out(mini, lens, tokens).item(), rel=1e-5)
    loss.backward()
    assert all(p.grad is None for p in mini.parameters())
    # One entry of the gradient by finite differences.
    slope = lens.translators.A.grad[1, 3, 5].item()
    ends = []
    for step in (1e-2, -2e-2):
        with torch.no_grad():
            lens.translators.A[1, 3, 5] += step
        ends.append(tuned_training._loss(mini, mini, lens.translators, tokens).item())
    assert (ends[0] - ends[1]) / 2e-2 == pytest.approx(slope, rel=0.05, abs=2e-4)


def test_training_brings_it_nearer_on_text_it_has_not_seen(mini, held_out, trained) -> None:
    before = [p.clone() for p in mini.parameters()]
    prediction = mean_prediction(mini, batches, 4)
    found = lens_errors(mini, held_out, {"tuned lens": trained}, prediction=prediction)
    assert all(torch.equal(a, b) for a, b in zip(before, mini.parameters(), strict=True))
    assert found.lenses == ("logit lens", "tuned lens", "mean prediction")
    for point in ("embed", "0", "1", "2"):
        tuned, plain = (found.interval(name, point) for name in ("tuned lens", "logit lens"))
        assert tuned.high < plain.low
    assert (
        found.interval("tuned lens", "embed").high < found.interval("mean prediction", "embed").low
    )
    assert found.interval("tuned lens", "3").estimate < 1e-6
    rows = {(row["lens"], row["point"]): row["kl"] for row in found.to_frame()}
    assert rows["tuned lens", "0"] == pytest.approx(GOLDEN["tuned lens"], abs=0.01)
    assert rows["logit lens", "0"] == pytest.approx(GOLDEN["logit lens"], abs=2e-3)
    assert rows["mean prediction", "0"] == pytest.approx(GOLDEN["mean prediction"], abs=0.01)


GOLDEN = {"tuned lens": 1.023, "logit lens": 1.805, "mean prediction": 3.632}


def test_the_mean_prediction_is_the_best_that_looks_at_nothing(mini, held_out) -> None:
    best = mean_prediction(mini, lambda step: held_out, 1)
    assert best.exp().sum().item() == pytest.approx(1, abs=1e-5)

    def error(prediction: torch.Tensor) -> float:
        found = lens_errors(mini, held_out, {}, prediction=prediction)
        return found.interval("mean prediction", "0").estimate

    least = error(best)
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        noise = torch.empty(best.shape).normal_(0, 0.1, generator=generator)
        assert error((best + noise).log_softmax(-1)) > least
    with torch.no_grad():
        logs = mini(held_out).log_softmax(-1)
    written_out = (logs.exp() * (logs - best)).sum(-1).mean()
    assert least == pytest.approx(written_out.item(), abs=1e-4)


def test_another_models_stream_is_a_control(mini, held_out, trained) -> None:
    other = mini.fresh(seed=3)
    control = train_tuned_lens(mini, batches, SHORT, stream=other)
    found = lens_errors(
        mini, held_out, {"tuned lens": trained, "random stream": control}, {"random stream": other}
    )
    assert found.read_by("random stream") == ("embed", "0", "1", "2")
    assert found.interval("tuned lens", "2").high < found.interval("random stream", "2").low
    with pytest.raises(ValueError, match="does not read at the point '3'"):
        found.interval("random stream", "3")
    small = ca.HookedTransformer(mini.cfg.replace(n_layers=2))
    with pytest.raises(ValueError, match="another shape"):
        train_tuned_lens(mini, batches, SHORT, stream=small)


def test_it_is_saved_and_belongs_to_its_model(mini, held_out, trained, tmp_path) -> None:
    path = tmp_path / "lens.safetensors"
    trained.save(path)
    again = TunedLens.load(path, mini)
    assert again.settings == trained.settings and again.settings["train"]["n_steps"] == 25
    np.testing.assert_array_equal(
        again.read(mini, held_out[:2]).kl, trained.read(mini, held_out[:2]).kl
    )
    other = mini.fresh()
    for use in (lambda: TunedLens.load(path, other), lambda: trained.read(other, held_out)):
        with pytest.raises(ValueError, match="was trained for ioi-mini with the digest"):
            use()
    logit_lens(mini, held_out[:2]).save(tmp_path / "readings.safetensors")
    with pytest.raises(ValueError, match="does not hold a tuned lens"):
        TunedLens.load(tmp_path / "readings.safetensors", mini)


def test_lenses_that_read_at_other_points_are_not_compared(mini, held_out, trained) -> None:
    finer = TunedLens.untrained(mini, mid=True)
    with pytest.raises(ValueError, match="reads at other points"):
        lens_errors(mini, held_out[:2], {"a": trained, "b": finer})
