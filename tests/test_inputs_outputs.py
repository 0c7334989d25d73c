"""Tokens' vectors, the direct path and positions: loops as oracles, invariants, golden numbers."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

import cutaway as ca
from cutaway.model.config import ModelConfig
from cutaway.model.transformer import HookedTransformer
from cutaway.tokens import direct_path, vectors
from cutaway.training.ioi_corpus import Corpus
from random_models import configs, random_model

tokens = ca.tokens


@pytest.fixture(scope="module")
def mini() -> HookedTransformer:
    return HookedTransformer.from_pretrained("ioi-mini")


@pytest.fixture(scope="module")
def raw() -> HookedTransformer:
    return HookedTransformer.from_pretrained_no_processing("ioi-mini")


def small(**options) -> HookedTransformer:
    shape = {"n_layers": 2, "d_model": 8, "n_heads": 2, "d_vocab": 17, "n_ctx": 12}
    return random_model(ModelConfig(**{**shape, "init_range": 0.4, **options}), seed=3)


# ---- nearest tokens ----


@settings(max_examples=15)
@given(configs(min_layers=1), st.sampled_from(["embedding", "unembedding"]), st.booleans())
def test_nearest_tokens_are_those_of_a_loop(cfg, side, centred) -> None:
    model = random_model(cfg)
    layer_norm = cfg.normalization_type in ("LN", "LNPre")
    weights = model.ln_final.w if cfg.normalization_type in ("LN", "RMS") else None
    table = []
    for token in range(cfg.d_vocab):
        row = (model.W_E[token] if side == "embedding" else model.W_U[:, token]).detach()
        if side == "unembedding" and weights is not None:
            row = row * weights.detach()
        table.append(row - row.mean() if layer_norm else row)
    if centred:
        mean = torch.stack(table).mean(0)
        table = [row - mean for row in table]
    found = tokens.nearest_tokens(model, 3, side=side, centred=centred, k=4, n_random=5)
    cosines = {
        token: float(table[3] @ row / (table[3].norm() * row.norm()))
        for token, row in enumerate(table)
        if token != 3
    }
    expected = sorted(cosines, key=cosines.__getitem__, reverse=True)[:4]
    assert found.tokens[0].tolist() == expected
    np.testing.assert_allclose(found.cosines[0], [cosines[t] for t in expected], atol=1e-5)


def test_an_unembedding_direction_is_what_raises_its_logit_fastest() -> None:
    """By autograd through a final norm whose scale is held still."""
    model = small(normalization_type="LN")
    stream = torch.linspace(-1, 2, 8).square().requires_grad_()
    centred = stream - stream.mean()
    scale = (centred.pow(2).mean() + model.cfg.eps).sqrt().detach()
    normed = centred / scale * model.ln_final.w + model.ln_final.b
    model.unembed(normed)[5].backward()
    direction = tokens.token_vectors(model, "unembedding", centred=False)[5]
    torch.testing.assert_close(stream.grad * scale, direction, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("side", ["embedding", "unembedding"])
def test_folding_the_norms_changes_no_neighbour(mini, raw, side) -> None:
    words = [" John", " store", " gave"]
    folded, plain = (tokens.nearest_tokens(m, words, side=side, k=5) for m in (mini, raw))
    np.testing.assert_allclose(folded.cosines, plain.cosines, atol=1e-5)
    np.testing.assert_array_equal(folded.tokens, plain.tokens)


@pytest.mark.parametrize("side", ["embedding", "unembedding"])
def test_a_tokens_own_vector_finds_the_token(mini, side) -> None:
    token = mini.to_single_token(" store")
    vector = (mini.W_E[token] if side == "embedding" else mini.W_U[:, token]) * 7.0
    found = tokens.nearest_tokens(mini, vector, side=side, k=1, centred=False, n_random=3)
    assert found.texts == ((" store",),) and found.cosines[0, 0] == pytest.approx(1, abs=1e-5)
    assert found.queries == ("vector 0",) and found.query_tokens.tolist() == [-1]


def test_a_random_direction_is_no_nearer_than_random_directions(mini) -> None:
    """The control of a query that is itself random: p-values are spread over 0 to 1."""
    queries = torch.randn(200, 128, generator=torch.Generator().manual_seed(5))
    p = tokens.nearest_tokens(mini, queries, k=1, n_random=400).p_values("isotropic")[:, 0]
    assert 0.4 < p.mean() < 0.6 and (p < 0.05).mean() < 0.12


def test_the_shaped_control_has_the_covariance_of_the_tokens(mini) -> None:
    from cutaway.tokens.neighbours import _random_directions

    table = tokens.token_vectors(mini)
    plain, shaped = _random_directions(table, None, 20_000, seed=0)
    wanted = (table.T @ table / len(table)).double()
    found = (shaped.T @ shaped / len(shaped)).double()
    assert (found - wanted).norm() / wanted.norm() < 0.05
    assert (plain.T @ plain / len(plain)).diagonal().mean() == pytest.approx(1, abs=0.02)


def test_blocks_change_no_neighbour(mini, monkeypatch) -> None:
    whole = tokens.nearest_tokens(mini, [1, 2, 3, 40], k=3, n_random=50)
    monkeypatch.setattr(vectors, "MOST_CELLS", 1000)
    blocks = tokens.nearest_tokens(mini, [1, 2, 3, 40], k=3, n_random=50)
    np.testing.assert_array_equal(whole.tokens, blocks.tokens)
    np.testing.assert_allclose(whole.random, blocks.random, atol=1e-6)


def test_names_are_near_names_in_the_trained_model(mini, tmp_path) -> None:
    found = tokens.nearest_tokens(mini, [" store", " gave"], side="unembedding", k=3)
    assert set(found.texts[1]) == {" handed", " threw", " sold"}
    assert found.cosines[1, 0] == pytest.approx(0.678, abs=0.005)  # golden
    assert found.p_values()[1, 0] < 0.01
    found.save(tmp_path / "near.safetensors")
    back = tokens.Neighbours.load(tmp_path / "near.safetensors")
    assert back.to_frame() == found.to_frame() and back.side == "unembedding"
    pairs = tokens.token_cosines(mini, [" store", " gave", " handed"], side="unembedding")
    assert float(pairs[1, 2]) == pytest.approx(found.cosines[1, 0], abs=1e-5)


# ---- the direct path ----


@settings(max_examples=15)
@given(configs(min_layers=1), st.integers(0, 100))
def test_the_direct_path_is_the_model_without_what_lies_between(cfg, seed) -> None:
    """By hooks: all that is not on the path is set to zero in runs of one token."""
    model = random_model(cfg, seed)

    def zero(value, hook):
        return torch.zeros_like(value)

    for start in direct_path.starts_of(model):
        spared = {"embedding": 0, "first-mlp": 0, "first-layer": 1}[start]
        hooks = [(f"blocks.{layer}.hook_attn_out", zero) for layer in range(spared, cfg.n_layers)]
        if not cfg.attn_only:
            first = {"embedding": 0, "first-mlp": 1, "first-layer": 1}[start]
            hooks += [(f"blocks.{n}.hook_mlp_out", zero) for n in range(first, cfg.n_layers)]
        if cfg.positional_embedding_type == "standard":
            hooks.append(("hook_pos_embed", zero))
        run = model.run_with_hooks(torch.arange(cfg.d_vocab)[:, None], fwd_hooks=hooks)[:, 0]
        found = tokens.direct_logits(model, start=start)
        torch.testing.assert_close(found, run.detach(), atol=2e-5, rtol=1e-4)


def test_a_model_without_layers_is_its_direct_path() -> None:
    model = small(n_layers=0)
    text = torch.tensor([[4, 2, 9]])
    for at, token in enumerate(text[0].tolist()):
        direct = tokens.direct_logits(model, [token], position=at)[0]
        torch.testing.assert_close(model(text)[0, at].detach(), direct)


def test_successors_are_the_largest_logits_whatever_the_blocks(mini, monkeypatch) -> None:
    monkeypatch.setattr(vectors, "MOST_CELLS", 5000)
    found = tokens.direct_successors(mini, k=3, start="first-mlp")
    best = tokens.direct_logits(mini, start="first-mlp").softmax(-1).topk(3)
    np.testing.assert_array_equal(found.successors, best.indices)
    np.testing.assert_allclose(found.probabilities, best.values, atol=1e-6)
    row = found.to_frame()[3 * mini.to_single_token(" went")]
    assert (row["token"], row["successor"]) == (" went", " to")  # golden
    assert row["probability"] == pytest.approx(0.697, abs=0.005)


def test_a_tie_is_one_matrix_or_two_of_equal_values() -> None:
    tied, separate = small(tie_word_embeddings=True), small()
    assert tokens.embedding_tie(tied).kind == "one matrix"
    assert tokens.embedding_tie(separate).kind == "separate"
    separate.unembed.W_U.data.copy_(separate.W_E.data.T)
    copied = tokens.embedding_tie(separate)
    assert copied.kind == "equal values"
    assert copied.symmetric_share == pytest.approx(1)


def test_the_symmetric_share_is_that_of_the_table() -> None:
    model = small()
    table = (model.W_E @ model.W_U).detach().double()
    share = ((table + table.T) / 2).square().sum() / table.square().sum()
    found = tokens.embedding_tie(model)
    assert found.symmetric_share == pytest.approx(float(share), abs=1e-6)
    assert found.to_frame()[0]["kind"] == "separate"


def test_folding_hides_a_tie_and_its_cosines_show_it() -> None:
    load = HookedTransformer.from_pretrained
    raw = tokens.embedding_tie(HookedTransformer.from_pretrained_no_processing("shakespeare-small"))
    folded = tokens.embedding_tie(load("shakespeare-small"))
    assert (raw.kind, folded.kind) == ("one matrix", "separate")
    assert raw.symmetric_share == pytest.approx(1)
    assert folded.symmetric_share == pytest.approx(0.943, abs=0.005)  # golden
    assert folded.own_cosine.mean() > 0.99 and abs(folded.other_cosine.mean()) < 0.1


# ---- beside counted bigrams ----


def test_every_number_of_the_comparison_is_that_of_a_loop() -> None:
    model = small()
    rng = np.random.default_rng(0)
    counted, held_out = rng.integers(0, 15, 300), rng.integers(0, 15, (3, 6))
    counted[::7] = 14  # not uniform
    found = tokens.compare_bigrams(
        model, torch.from_numpy(held_out), torch.from_numpy(counted), seed=1
    )
    grams = tokens.fit_ngrams(counted, 17, 2)
    seen = sorted(set(counted.tolist()))
    assert (found.n_counted, found.n_successors) == (300, len(seen))
    direct = tokens.direct_logits(model).double().log_softmax(-1).numpy()
    whole = model(torch.from_numpy(held_out)).log_softmax(-1).detach().double().numpy()
    for row in range(3):
        loss: dict[str, list[float]] = {name: [] for name in found.predictors}
        kl, rank = ({name: [] for name in found.predictors} for _ in range(2))
        for at in range(5):
            token, following = held_out[row, at], held_out[row, at + 1]
            bigram = grams.log_probabilities(np.array([[token]]), 2)[0, 0]
            unigram = grams.log_probabilities(np.array([[token]]), 1)[0, 0]
            said = {"unigrams": unigram, "bigrams": bigram, "embedding": direct[token]}
            said["whole model"] = whole[row, at]
            for name, logs in said.items():
                loss[name].append(-logs[following])
                kl[name].append(
                    sum(math.exp(b) * (b - q) for b, q in zip(bigram, logs, strict=True))
                )
                constant = np.ptp(logs[seen]) == 0
                correlated = 0.0 if constant else spearmanr(bigram[seen], logs[seen]).statistic
                rank[name].append(correlated)
        for name in said:
            number = found.predictors.index(name)
            for measure, values in (("loss", loss), ("kl", kl), ("rank", rank)):
                expected = np.mean(values[name])
                assert found.values(measure)[number, row] == pytest.approx(expected, abs=1e-5)


def test_a_path_of_the_right_order_and_the_wrong_size_is_found_by_its_scale() -> None:
    """A model without layers whose table is the bigrams' log-probabilities times ten."""
    rng = np.random.default_rng(1)
    chances = rng.dirichlet(np.full(8, 0.4), 8)
    text = [0]
    for _ in range(6000):
        text.append(int(rng.choice(8, p=chances[text[-1]])))
    cfg = ModelConfig(
        n_layers=0, d_model=8, n_heads=1, d_head=8, d_vocab=8, n_ctx=51, normalization_type=None
    )
    model = HookedTransformer(cfg)
    model.embed.W_E.data.copy_(torch.eye(8))
    model.unembed.W_U.data.copy_(torch.from_numpy(10 * np.log(chances)).float())
    row = torch.tensor(text)
    found = tokens.compare_bigrams(model, row[-1020:].reshape(20, 51), row[:-1020], seed=2)
    assert found.scale["embedding"] == pytest.approx(0.1, rel=0.15)
    means = {name: found.interval(name).estimate for name in found.predictors}
    scaled = means["embedding, best scale"]
    assert scaled == pytest.approx(means["bigrams"], abs=0.03)
    assert means["embedding"] > scaled + 1
    assert means["embedding, rows exchanged"] > means["unigrams"] > scaled
    assert found.interval("embedding", "rank").estimate > 0.95
    assert found.interval("bigrams", "kl").estimate == 0


def test_the_extended_embedding_of_ioi_mini_knows_bigrams_and_its_embedding_does_not(
    mini, tmp_path
) -> None:
    corpus = Corpus(seed=1)
    found = tokens.compare_bigrams(mini, corpus.sequences(0, 30), corpus.sequences(1000, 400))
    loss = {name: found.interval(name).estimate for name in found.predictors}
    assert loss["whole model"] < loss["bigrams"] < loss["first-mlp, best scale"]
    assert loss["first-mlp, best scale"] < loss["unigrams"] < loss["embedding, best scale"]
    assert loss["embedding, best scale"] < loss["embedding, rows exchanged"]
    assert loss["fresh weights"] == pytest.approx(math.log(677), abs=0.1)
    assert loss["first-mlp"] == pytest.approx(5.43, abs=0.05)  # golden
    found.save(tmp_path / "bigrams.safetensors")
    back = tokens.BigramComparison.load(tmp_path / "bigrams.safetensors")
    assert back.to_frame() == found.to_frame() and back.scale == found.scale
    assert found.plot("kl").axes
    worse = found.difference("embedding", "bigrams")  # in pairs, and so narrower
    assert worse.estimate == pytest.approx(loss["embedding"] - loss["bigrams"])
    assert worse.high - worse.low < sum(
        found.interval(name).high - found.interval(name).low for name in ("embedding", "bigrams")
    )
    with pytest.raises(ValueError, match="no predictor 'trigrams'"):
        found.interval("trigrams")
    with pytest.raises(ValueError, match="measure='bits' is unknown"):
        found.plot("bits")


def test_blocks_change_no_comparison(monkeypatch) -> None:
    model = small()
    text = torch.from_numpy(np.random.default_rng(3).integers(0, 17, (40, 9)))
    whole = tokens.compare_bigrams(model, text[:5], text[5:])
    monkeypatch.setattr(vectors, "MOST_CELLS", 40)
    blocks = tokens.compare_bigrams(model, text[:5], text[5:])
    for measure in ("loss", "kl", "rank"):
        np.testing.assert_allclose(whole.values(measure), blocks.values(measure), atol=1e-6)
    assert Counter(whole.predictors) == Counter(blocks.predictors)


# ---- positions ----


def test_cosines_of_positions_and_their_means_are_those_of_a_loop() -> None:
    model = small()
    rows = model.W_pos.detach()[2:10]
    rows = rows - rows.mean(-1, keepdim=True)
    rows = (rows - rows.mean(0)).double().numpy()
    found = tokens.position_similarity(model, range(2, 10), n_random=5)
    for distance in range(8):
        pairs = [
            rows[i]
            @ rows[i + distance]
            / np.linalg.norm(rows[i])
            / np.linalg.norm(rows[i + distance])
            for i in range(8 - distance)
        ]
        assert found.by_distance[distance] == pytest.approx(np.mean(pairs), abs=1e-5)
        np.testing.assert_allclose(np.diagonal(found.cosines, distance), pairs, atol=1e-5)


@pytest.mark.parametrize(("period", "n"), [(4.0, 12), (3.0, 12), (2.0, 12)])
def test_a_wave_that_was_put_in_is_found(period, n) -> None:
    model = small(normalization_type=None)
    angle = 2 * math.pi * torch.arange(n) / period
    model.pos_embed.W_pos.data.mul_(0.01)
    model.pos_embed.W_pos.data[:, 0] += angle.cos()
    found = tokens.position_similarity(model, n_components=2, n_random=200)
    assert found.periods[0] == period and found.power_shares[0] > 0.99
    assert found.variance_shares[0] > 0.9 and found.p_values()[0] < 0.02


def test_fresh_positions_are_unlike_and_trained_ones_are_smooth(mini, tmp_path) -> None:
    trained = tokens.position_similarity(mini, n_random=200)
    fresh = tokens.position_similarity(mini.fresh(0), n_random=200)
    assert trained.by_distance[1] == pytest.approx(0.918, abs=0.005)  # golden
    assert abs(fresh.by_distance[1]) < 0.1
    assert trained.p_values()[0] < 0.01 < fresh.p_values()[0]
    # A random walk has waves of that length too: smooth is not periodic.
    assert trained.power_shares[0] < trained.walk_power_shares[:, :2].max()
    trained.save(tmp_path / "positions.safetensors")
    back = tokens.PositionSimilarity.load(tmp_path / "positions.safetensors")
    assert back.to_frame() == trained.to_frame() and len(back.plot().axes) == 2


@pytest.mark.parametrize("adjacent", [False, True])
def test_the_rotation_is_the_sum_of_cosines_and_what_the_model_does(adjacent) -> None:
    model = small(
        n_heads=1,
        d_head=6,
        positional_embedding_type="rotary",
        rotary_dim=4,
        rotary_adjacent_pairs=adjacent,
        qkv_bias=False,
        normalization_type=None,
    )
    frequencies = [1.0, 10_000.0**-0.5]
    found = tokens.rotary_similarity(model, range(12))
    for distance in range(12):
        turned = sum(2 * math.cos(distance * f) for f in frequencies)
        assert float(found[distance]) == pytest.approx((turned + 2) / 6, abs=1e-5)
    # In the model: the same token everywhere, so that only the distance differs.
    _, cache = model.run_with_cache(torch.full((1, 12), 4))
    scores = cache["attn_scores", 0][0, 0, 11] * model.cfg.scale
    q, k = (cache[name, 0][0, 0, 0] for name in ("q", "k"))
    similarity = tokens.rotary_similarity(model, torch.arange(12), q, k) * q.norm() * k.norm()
    torch.testing.assert_close(similarity.flip(0), scores, atol=1e-4, rtol=1e-4)


# ---- what cannot be ----


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda m: tokens.nearest_tokens(m, 17), "no token 17: the vocabulary has 0 to 16"),
        (lambda m: tokens.nearest_tokens(m, []), "no tokens are given"),
        (lambda m: tokens.nearest_tokens(m, 1, k=17), "k=17 is not between 1 and 16"),
        (lambda m: tokens.nearest_tokens(m, 1, n_random=0), "n_random=0 must be at least 1"),
        (
            lambda m: tokens.nearest_tokens(m, torch.zeros(8), centred=False),
            "the length 0: no direction",
        ),
        (lambda m: tokens.nearest_tokens(m, torch.ones(7)), r"\(7,\), not \[8\]"),
        (lambda m: tokens.nearest_tokens(m, 1, side="both"), "side='both' is unknown"),
        (lambda m: tokens.nearest_tokens(m, 1, k=2).p_values("none"), "control='none'"),
        (lambda m: tokens.direct_logits(m, [1], "last"), "start='last' is unknown"),
        (lambda m: tokens.direct_logits(m, [1], position=12), "not between 0 and 11"),
        (lambda m: tokens.direct_successors(m, k=0), "k=0 is not between 1 and 17"),
        (
            lambda m: tokens.compare_bigrams(m, torch.ones(3, 1).long(), torch.ones(9).long()),
            r"\(3, 1\)",
        ),
        (lambda m: tokens.position_similarity(m, range(2)), "at least 4 consecutive ones"),
        (lambda m: tokens.position_similarity(m, range(5, 15)), "of 0 to 11"),
        (lambda m: tokens.position_similarity(m, n_random=0), "n_random=0 must be"),
        (lambda m: tokens.rotary_similarity(m, range(3)), "does not turn its queries"),
    ],
)
def test_what_cannot_be_is_one_sentence(wrong, says) -> None:
    with pytest.raises(ValueError, match=says):
        wrong(small(normalization_type=None))


def test_what_another_kind_of_model_lacks_is_said() -> None:
    rotary = small(positional_embedding_type="rotary", attn_only=True)
    with pytest.raises(ValueError, match="has no table W_pos: its positions turn"):
        tokens.position_similarity(rotary)
    with pytest.raises(ValueError, match="has no table of positions"):
        tokens.direct_logits(rotary, [1], position=1)
    with pytest.raises(ValueError, match="has no MLPs"):
        tokens.direct_logits(rotary, [1], "first-mlp")
    with pytest.raises(ValueError, match="the distance -1 is negative"):
        tokens.rotary_similarity(rotary, torch.tensor([-1]))
    with pytest.raises(ValueError, match="give both or neither"):
        tokens.rotary_similarity(rotary, range(3), torch.ones(4))
    with pytest.raises(ValueError, match=r"is not a direction of \[4\]"):
        tokens.rotary_similarity(rotary, range(3), torch.ones(5), torch.ones(5))
    with pytest.raises(ValueError, match="has no layers"):
        tokens.direct_logits(small(n_layers=0), [1], "first-layer")


def test_a_filter_that_takes_every_hook_point_computes_the_split_inputs(mini) -> None:
    """As the docstring of run_with_cache says."""
    text = "When John and Mary went"
    _, usual = mini.run_with_cache(text)
    _, every = mini.run_with_cache(text, names_filter=lambda name: True)
    name = "blocks.0.ln1.hook_scale"
    assert usual[name].shape == (1, 6, 1) and every[name].shape == (1, 6, 8, 1)
    assert "blocks.0.hook_q_input" in every and "blocks.0.hook_q_input" not in usual
