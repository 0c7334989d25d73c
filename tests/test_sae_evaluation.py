"""Dictionaries measured: beside the slow way, whatever the batches, and what stands beside them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import cutaway as ca
from cutaway.model.config import ModelConfig
from cutaway.sae import DictionaryConfig, new_dictionary
from cutaway.sae.baselines import baselines, moments
from cutaway.sae.evaluation import Evaluation, evaluate, evaluate_rows
from cutaway.sae.matching import random_directions
from cutaway.sae.reconstruction import reconstruct, row_batches
from cutaway.sae.spliced_loss import Place, SplicedLosses, kept_rows, spliced_losses
from cutaway.sae.synthetic import SyntheticConfig, known_features
from random_models import random_model

HOOK = "blocks.1.hook_resid_post"


def rows_of(n: int, d: int, seed: int = 0, shift: float = 3.0) -> torch.Tensor:
    """Rows that are not centred, and whose variance drifts: batches are unlike each other."""
    generator = torch.Generator().manual_seed(seed)
    drift = torch.linspace(0.2, 3.0, n)[:, None]
    return shift + drift * torch.randn(n, d, generator=generator)


@given(n=st.integers(3, 150), seed=st.integers(0, 20), batch_size=st.integers(1, 5))
@settings(max_examples=15)
def test_reconstruction_beside_the_slow_way(n, seed, batch_size) -> None:
    x = rows_of(n, 6, seed)
    one = new_dictionary(DictionaryConfig("standard", 6, 10), seed)
    found = reconstruct({"one": one}, row_batches(x, length=8, batch_size=batch_size))["one"]
    with torch.no_grad():
        features, out = one.encode(x).double(), one(x).double()
    wide = x.double()
    centre = wide.mean(0)
    unexplained = ((wide - out) ** 2).sum() / ((wide - centre) ** 2).sum()
    assert found.n == n and len(found.n_rows) == -(-n // 8)
    assert found.explained_variance().estimate == pytest.approx(float(1 - unexplained), rel=1e-5)
    assert found.l0().estimate == pytest.approx(float((features > 0).sum(1).double().mean()))
    assert np.allclose(found.density, (features > 0).double().mean(0))
    assert found.n_dead == int((features > 0).sum(0).eq(0).sum())
    cosine = torch.nn.functional.cosine_similarity(wide, out, dim=1).mean()
    assert found.mean_cosine().estimate == pytest.approx(float(cosine), rel=1e-4)
    bias = (out**2).sum() / (wide * out).sum()
    assert found.relative_bias().estimate == pytest.approx(float(bias), rel=1e-4)
    centred = ((out - centre) ** 2).sum() / ((wide - centre) * (out - centre)).sum()
    assert found.centred_bias().estimate == pytest.approx(float(centred), rel=1e-3)


def test_explained_variance_does_not_depend_on_the_batches_as_a_mean_of_ratios_does() -> None:
    x, one = rows_of(960, 6), new_dictionary(DictionaryConfig("top-k", 6, 12, k=2), 0)
    found = {
        size: reconstruct({"one": one}, row_batches(x, length=8, batch_size=size))["one"]
        for size in (1, 7, 120)
    }
    values = [one.explained_variance().estimate for one in found.values()]
    assert values == pytest.approx([values[0]] * 3, abs=1e-9)
    assert found[1].explained_variance().low == pytest.approx(
        found[120].explained_variance().low, abs=1e-9
    )

    def mean_of_ratios(size: int) -> float:
        ratios = [
            1 - (b - one(b).detach()).square().sum() / (b - b.mean(0)).square().sum()
            for b in x.split(size)
        ]
        return float(torch.stack(ratios).mean())

    assert abs(mean_of_ratios(960) - values[0]) < 1e-5
    assert abs(mean_of_ratios(8) - values[0]) > 0.1  # what it would be, batch by batch


def test_rows_that_do_not_count_change_nothing() -> None:
    x, one = rows_of(40, 6), new_dictionary(DictionaryConfig("top-k", 6, 12, k=2), 0)
    (batch,) = row_batches(x, length=10)
    holes = batch.x.clone()
    kept = batch.kept.clone()
    kept[1, 3:], kept[2] = False, False
    holes[~kept] = torch.nan  # not even looked at
    masked = reconstruct({"one": one}, [type(batch)(holes, holes, kept)])["one"]
    left = batch.x[kept]
    plain = reconstruct({"one": one}, row_batches(left))["one"]
    assert masked.n == plain.n == 23 and len(masked.n_rows) == 3
    assert masked.explained_variance().estimate == pytest.approx(
        plain.explained_variance().estimate
    )
    assert np.array_equal(masked.fired, plain.fired)


def test_a_perfect_dictionary_a_short_one_and_the_mean() -> None:
    known = known_features(SyntheticConfig(d=8, n_features=8, n_active=2), seed=0)
    x = known.draw(4000, torch.Generator().manual_seed(0)).x

    class Given:
        def __init__(self, factor: float) -> None:
            self.factor = factor

        def encode(self, x):
            return x

        def decode(self, features, x=None):
            return self.factor * (features - CENTRE) + CENTRE

    CENTRE = x.mean(0)
    found = reconstruct({str(f): Given(f) for f in (1.0, 0.7, 0.0)}, row_batches(x))
    assert found["1.0"].explained_variance().estimate == pytest.approx(1)
    assert found["0.7"].explained_variance().estimate == pytest.approx(1 - 0.3**2, abs=1e-5)
    assert found["0.7"].centred_bias().estimate == pytest.approx(0.7, abs=1e-5)
    assert found["0.7"].relative_bias().estimate > 0.7  # the mean is not shrunk, and hides it
    assert found["0.0"].explained_variance().estimate == pytest.approx(0, abs=1e-6)
    assert (
        np.isnan(found["0.0"].centred_bias().estimate)
        or abs(found["0.0"].centred_bias().estimate) < 100
    )


def test_components_are_the_best_that_a_plane_can_do() -> None:
    x = rows_of(400, 6) @ torch.randn(6, 6, generator=torch.Generator().manual_seed(1))
    beside = baselines(moments(row_batches(x)), l0=2.4, n_directions=30)
    found = reconstruct(beside, row_batches(x))
    centred = (x - x.mean(0)).double()
    squares = torch.linalg.svdvals(centred) ** 2
    plane = found["principal components"]
    assert plane.l0().estimate == 2
    assert plane.explained_variance().estimate == pytest.approx(
        float(squares[:2].sum() / squares.sum()), abs=1e-5
    )
    own = found["largest components"]
    assert own.l0().estimate == 2
    assert own.explained_variance().estimate >= plane.explained_variance().estimate
    random = found["random directions"]
    assert random.l0().estimate == 2 and 0 < random.explained_variance().estimate < 1
    every = reconstruct(baselines(moments(row_batches(x)), 99, 30), row_batches(x))
    assert every["largest components"].explained_variance().estimate == pytest.approx(1, abs=1e-5)


def test_coefficients_of_random_directions_fit_best() -> None:
    x = rows_of(50, 6)
    one = baselines(moments(row_batches(x)), l0=3, n_directions=20)["random directions"]
    features, centred = one.encode(x), x - x.mean(0)
    directions = random_directions(20, 6, 0)
    for row, wanted in zip(features, centred, strict=True):
        which = row.nonzero()[:, 0]
        best = torch.linalg.lstsq(directions[which].t(), wanted[:, None]).solution[:, 0]
        assert torch.allclose(row[which], best, atol=1e-3)
        chosen = (directions @ wanted).topk(3).indices
        assert set(which.tolist()) == set(chosen.tolist())


def test_transcoders_stand_beside_a_linear_map() -> None:
    x = rows_of(600, 6)
    linear = torch.randn(6, 4, generator=torch.Generator().manual_seed(2))
    y = x @ linear + 5
    cfg = DictionaryConfig("top-k", 6, 20, d_out=4, k=3, subtract_decoder_bias=False)
    found = evaluate_rows(new_dictionary(cfg, 0), x, y)
    components = found.rows["principal components"]
    assert components.explained_variance().estimate > 0.5
    whole = reconstruct(baselines(moments(row_batches(x, y)), 4, 20), row_batches(x, y))
    assert whole["principal components"].explained_variance().estimate == pytest.approx(1, abs=1e-3)


# ---- in a model ----


@pytest.fixture(scope="module")
def model() -> ca.HookedTransformer:
    cfg = ModelConfig(
        n_layers=2, d_model=16, n_heads=2, d_head=8, d_mlp=32, d_vocab=29, n_ctx=12, init_range=0.4
    )
    return random_model(cfg).requires_grad_(False)


@pytest.fixture(scope="module")
def tokens() -> torch.Tensor:
    return torch.randint(1, 29, (9, 10), generator=torch.Generator().manual_seed(0))


def slow_losses(model, tokens, hook, function) -> tuple[float, float]:
    """(cross-entropy, KL from the clean run), with function(x) in place of every value."""
    clean = model(tokens, return_type="logits").log_softmax(-1)
    logits = model.run_with_hooks(
        tokens, return_type="logits", fwd_hooks=[(hook, lambda v, hook: function(v))]
    )
    spliced = logits.log_softmax(-1)
    loss = torch.nn.functional.cross_entropy(spliced[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
    kl = torch.nn.functional.kl_div(spliced, clean, log_target=True, reduction="none").sum(-1)
    return float(loss), float(kl[:, :-1].mean())


def test_losses_beside_the_slow_way_whatever_the_batches(model, tokens) -> None:
    one = new_dictionary(DictionaryConfig("top-k", 16, 40, k=4, hook=HOOK), 0).requires_grad_(False)
    mean = model.record(tokens, names_filter=HOOK)[1][HOOK].flatten(0, 1).mean(0)
    found = [
        spliced_losses(model, tokens, Place.of(model, HOOK), {"one": one}, mean, batch_size=size)
        for size in (1, 4, None)
    ]
    for name, function in (
        ("one", one),
        ("mean ablation", lambda v: mean.expand_as(v)),
        ("zero ablation", torch.zeros_like),
    ):
        loss, kl = slow_losses(model, tokens, HOOK, function)
        for of in found:
            assert of.loss(name).estimate == pytest.approx(loss, rel=1e-5)
            assert of.kl(name).estimate == pytest.approx(kl, rel=1e-4)
    clean = float(model(tokens, return_type="loss"))
    assert found[0].clean_loss().estimate == pytest.approx(clean, rel=1e-5)
    assert found[0].clean_loss().n == 9


def test_nothing_in_place_recovers_all_and_the_ablation_nothing(model, tokens) -> None:
    class Same:
        def encode(self, x):
            return x

        def decode(self, features, x=None):
            return features

    mean = torch.zeros(16)
    found = spliced_losses(model, tokens, Place.of(model, HOOK), {"same": Same()}, mean)
    assert found.kl("same").estimate == pytest.approx(0, abs=1e-6)
    assert found.loss("same").estimate == pytest.approx(found.clean_loss().estimate, abs=1e-6)
    assert found.increase("mean ablation").estimate == found.increase("zero ablation").estimate


def losses(clean: list[float], ablated: list[float]) -> SplicedLosses:
    n = np.ones(len(clean))
    half = (np.array(clean) + np.array(ablated)) / 2
    by_name = {"half": half, "mean ablation": np.array(ablated), "zero ablation": np.array(ablated)}
    return SplicedLosses(n, np.array(clean), by_name, by_name)


def test_where_the_ablation_does_no_harm_nothing_is_recovered() -> None:
    rng = np.random.default_rng(0)
    clean = rng.normal(3, 0.1, 20)
    harmful = losses(clean, clean + rng.normal(2, 0.2, 20))
    assert harmful.is_meaningful()
    assert harmful.loss_recovered("half").estimate == pytest.approx(0.5)
    assert harmful.loss_recovered("mean ablation").estimate == 0
    harmless = losses(clean, clean + rng.normal(0, 0.2, 20))
    assert not harmless.is_meaningful()
    for found in (harmless.loss_recovered("half"), harmless.kl_recovered("half")):
        assert np.isnan(found.estimate) and found.low == -np.inf


def test_transcoders_and_heads_in_place(model, tokens) -> None:
    read, write = "blocks.0.ln2.hook_normalized", "blocks.0.hook_mlp_out"
    cfg = DictionaryConfig(
        "top-k", 16, 40, d_out=16, k=4, hook=read, hook_out=write, subtract_decoder_bias=False
    )
    one = new_dictionary(cfg, 0).requires_grad_(False)
    found = evaluate(one, model, tokens)
    cache = model.record(tokens, names_filter=[read])[1]
    loss, kl = slow_losses(model, tokens, write, lambda v: one(cache[read]))
    assert found.losses.loss("dictionary").estimate == pytest.approx(loss, rel=1e-5)
    assert found.losses.kl("dictionary").estimate == pytest.approx(kl, rel=1e-4)

    z = "blocks.0.attn.hook_z"
    width = model.cfg.n_heads * model.cfg.d_head
    of_heads = new_dictionary(DictionaryConfig("top-k", width, 40, k=4, hook=z), 0)
    of_heads.requires_grad_(False)
    loss, _ = slow_losses(model, tokens, z, lambda v: of_heads(v.flatten(2)).view_as(v))
    assert evaluate(of_heads, model, tokens).losses.loss("dictionary").estimate == pytest.approx(
        loss, rel=1e-5
    )


@pytest.fixture(scope="module")
def evaluated() -> Evaluation:
    ioi_mini = ca.HookedTransformer.from_pretrained("ioi-mini")
    tokens = ca.tasks.ioi(ioi_mini, 12, seed=0).clean
    one = new_dictionary(DictionaryConfig("top-k", 128, 256, k=16, hook=HOOK), seed=0)
    return evaluate(one, ioi_mini, tokens)


def test_bos_and_padding_are_left_alone(model) -> None:
    """The model's padding token is 0, and its BOS is made to be 1."""
    tokenizer = SimpleNamespace(pad_token_id=0, bos_token_id=1, eos_token_id=None)
    own = ca.HookedTransformer(model.cfg, tokenizer=tokenizer, seed=0).requires_grad_(False)
    tokens = torch.tensor([[1, 5, 6, 7, 8], [0, 0, 1, 5, 6]])
    kept = torch.tensor([[0, 1, 1, 1, 1], [0, 0, 0, 1, 1]]).bool()
    assert torch.equal(kept_rows(own, tokens, skip_bos=True), kept)
    seen = []

    class Seen:
        def encode(self, x):
            seen.append(len(x))
            return x

        def decode(self, features, x=None):
            return torch.zeros_like(features)

    place = Place.of(own, HOOK)
    found = spliced_losses(own, tokens, place, {"seen": Seen()}, torch.zeros(16))
    assert seen == [6] and found.n_tokens.tolist() == [4, 2]
    mask = kept[:, :, None]
    expected = own.run_with_hooks(
        tokens,
        return_type="loss",
        fwd_hooks=[(HOOK, lambda v, hook: torch.where(mask, 0.0, v))],
    )
    assert found.loss("seen").estimate == pytest.approx(float(expected), rel=1e-5)


def test_golden_numbers(evaluated) -> None:
    """An untrained dictionary in ioi-mini on twelve prompts: a silent change would be seen."""
    found = evaluated.dictionary
    assert found.n == 212 and found.l0().estimate == 16
    assert found.explained_variance().estimate == pytest.approx(-0.1209, abs=1e-3)
    frame = {row["what"]: row for row in evaluated.to_frame()}
    assert list(frame) == [
        "dictionary",
        "random directions",
        "principal components",
        "largest components",
        "mean ablation",
        "zero ablation",
    ]
    assert frame["mean ablation"]["loss recovered against mean ablation"] == 0
    assert frame["zero ablation"]["KL recovered against zero ablation"] == 0


def test_an_evaluation_comes_back_from_disk(evaluated, tmp_path) -> None:
    evaluated.save(tmp_path / "e.safetensors")
    back = Evaluation.load(tmp_path / "e.safetensors")
    assert back.cfg == evaluated.cfg and back.settings == evaluated.settings
    for one, other in zip(back.to_frame(), evaluated.to_frame(), strict=True):
        assert one.keys() == other.keys()
        for key, value in one.items():
            same = value == other[key] or (np.isnan(value) and np.isnan(other[key]))
            assert same, key


def test_bad_evaluations_are_refused(model, tokens) -> None:
    def one(**changes):
        values = {"kind": "top-k", "d_in": 16, "d_features": 40, "k": 4, "hook": HOOK, **changes}
        return new_dictionary(DictionaryConfig(**values), 0)

    with pytest.raises(ValueError, match=r"no hook 'blocks.9"):
        evaluate(one(hook="blocks.9.hook_resid_post"), model, tokens)
    with pytest.raises(ValueError, match="width 8"):
        evaluate(one(d_in=8), model, tokens)
    with pytest.raises(ValueError, match="no tokens"):
        evaluate(one(), model, tokens[:0])
    with pytest.raises(ValueError, match="two tokens or more"):
        evaluate(one(), model, tokens[:, :1])
    with pytest.raises(ValueError, match="no rows"):
        evaluate_rows(one(), torch.zeros(0, 16))
    with pytest.raises(ValueError, match="NaN"):
        evaluate_rows(one(), torch.full((4, 16), torch.nan))
    with pytest.raises(ValueError, match="two rows"):
        moments(row_batches(torch.zeros(1, 16)))
