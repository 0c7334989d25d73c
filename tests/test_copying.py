"""Copying scores against dense eigenvalues, and their random heads."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cutaway import HookedTransformer
from cutaway.circuits.known import KNOWN
from cutaway.heads import CopyingBaseline, copying_baseline, copying_scores
from cutaway.model.config import ModelConfig
from head_weights import attention_only, configs, dense_ov, precise, random_model, set_weight


def dense_score(circuit: torch.Tensor) -> float:
    """The definition: all eigenvalues of the [d_vocab, d_vocab] matrix."""
    values = np.linalg.eigvals(circuit.numpy())
    return float(values.sum().real / np.abs(values).sum())


@settings(max_examples=25)
@given(configs(), st.integers(0, 1000))
def test_scores_are_those_of_the_matrix_multiplied_out(cfg: ModelConfig, seed: int) -> None:
    model = precise(random_model(cfg, seed))
    expected = [
        [dense_score(dense_ov(model, layer, head)) for head in range(cfg.n_heads)]
        for layer in range(cfg.n_layers)
    ]
    np.testing.assert_allclose(copying_scores(model).numpy(), expected, atol=1e-4)


def one_head_on_tokens(d: int = 8) -> HookedTransformer:
    """A stream that is one coordinate for each token, read out as it is."""
    model = attention_only(n_layers=1, n_heads=1, d_model=d, d_head=d, d_vocab=d)
    with torch.no_grad():
        model.embed.W_E.copy_(torch.eye(d))
        model.unembed.W_U.copy_(torch.eye(d))
    set_weight(model, "W_V", 0, 0, torch.eye(d))
    return model


@pytest.mark.parametrize(
    ("written", "score"),
    [
        (torch.eye(8), 1.0),
        (-torch.eye(8), -1.0),
        (torch.zeros(8, 8), 0.0),
        (torch.eye(8).roll(1, dims=0), 0.0),  # every token to the next, round in a circle
        (torch.eye(8).roll(1, dims=0).triu(), 0.0),  # and not round: nilpotent
        (torch.diag(torch.tensor([1.0] * 6 + [-1.0] * 2)), 0.5),
    ],
)
def test_what_a_head_writes_says_its_score(written: torch.Tensor, score: float) -> None:
    model = one_head_on_tokens()
    set_weight(model, "W_O", 0, 0, written)
    assert copying_scores(model).item() == pytest.approx(score, abs=1e-3)


@settings(max_examples=10)
@given(st.integers(0, 1000), st.floats(0.01, 100.0))
def test_neither_the_basis_nor_the_size_of_a_head_counts(seed: int, factor: float) -> None:
    model = attention_only(seed)
    before = copying_scores(model)
    attn = model.blocks[1].attn
    turn, _ = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(seed)))
    turn = turn.double()
    set_weight(model, "W_V", 1, 2, factor * attn.W_V[2].detach() @ turn)
    set_weight(model, "W_O", 1, 2, turn.T @ attn.W_O[2].detach())
    torch.testing.assert_close(copying_scores(model), before, atol=1e-5, rtol=0)


def test_the_heads_of_known_models_that_write_tokens_copy_and_no_others() -> None:
    expected = {
        "previous-token": {(0, 1): 1.0},
        "duplicate-token": {(0, 2): 1.0},
        "induction": {(1, 2): 1.0},
        "ioi": {(2, 0): 1.0, (2, 3): -1.0},  # the name mover, and the negative one
    }
    for name, heads in expected.items():
        model = KNOWN[name](0).model
        scores = torch.zeros(model.cfg.n_layers, model.cfg.n_heads)
        for place, score in heads.items():
            scores[place] = score
        torch.testing.assert_close(copying_scores(model), scores, atol=1e-4, rtol=0)


def test_random_heads_of_normal_weights_are_those_drawn_one_by_one() -> None:
    model = attention_only()
    found = copying_baseline(model, "gaussian", n_draws=5, seed=3)
    generator = torch.Generator().manual_seed(3)
    for score in found.draws:
        W_V, W_O_T = (
            torch.empty(16, 4, dtype=torch.float64).normal_(generator=generator) for _ in range(2)
        )
        circuit = (model.W_E @ W_V @ W_O_T.T @ model.W_U).detach()
        assert score == pytest.approx(dense_score(circuit), abs=1e-6)


@pytest.mark.parametrize("control", ["rotated", "gaussian"])
def test_random_heads_lie_around_zero_and_random_models_are_like_them(control) -> None:
    """Weights are normal, so that both controls draw from what the model was drawn from."""
    model = attention_only(seed=5, n_layers=4, n_heads=16, d_model=32)
    found = copying_baseline(model, control, n_draws=200)
    spread = found.draws.std() / np.sqrt(200)
    assert abs(found.draws.mean()) < 4 * spread
    assert 0.3 < (found.p_values < 0.5).mean() < 0.7  # of 64 heads
    assert (found.p_values < 0.05).mean() < 0.15
    assert found.discoveries(0.05).n == 0


def test_a_head_of_rank_one_copies_by_luck_and_only_its_own_spectrum_knows() -> None:
    model = attention_only(n_layers=1, n_heads=1, d_model=32, d_head=8)
    attn = model.blocks[0].attn
    first = torch.zeros(8, 8, dtype=torch.float64)
    first[0, 0] = 1.0
    set_weight(model, "W_V", 0, 0, attn.W_V[0].detach() @ first)
    assert abs(copying_scores(model).item()) == pytest.approx(1.0)
    assert copying_baseline(model, "gaussian", n_draws=99).p_values.item() <= 0.02
    assert copying_baseline(model, "rotated", n_draws=99).p_values.item() == 1.0


def test_p_values_and_percentiles_count_draws() -> None:
    draws = np.array([-0.5, -0.1, 0.1, 0.3])
    found = CopyingBaseline(np.array([[0.3, -0.6, 0.0]]), draws, "gaussian", 0)
    assert found.p_values.tolist() == [[3 / 5, 1 / 5, 1.0]]
    assert found.percentiles.tolist() == [[87.5, 0.0, 50.0]]
    low, high = found.band(0.5)
    assert (low, high) == (pytest.approx(-0.2), pytest.approx(0.15))


def test_a_result_is_saved_whole_and_says_what_it_is(tmp_path) -> None:
    model = attention_only()
    found = copying_baseline(model, n_draws=7, seed=1)
    found.save(tmp_path / "copying.safetensors")
    loaded = CopyingBaseline.load(tmp_path / "copying.safetensors")
    assert loaded.to_frame() == found.to_frame()
    assert loaded.settings["digest"] == model.digest
    row = found.to_frame()[5]
    assert (row["layer"], row["head"]) == (1, 2) and row["copying"] == found.scores[1, 2]
    assert found.draws.shape == (2, 3, 7)
    assert found.plot().axes[0].get_title(loc="left") == "copying score of each head"
    with pytest.raises(ValueError, match="there is no file"):
        CopyingBaseline.load(tmp_path / "nothing")
    with pytest.raises(ValueError, match="is a folder"):
        CopyingBaseline.load(tmp_path)
    (tmp_path / "text").write_text("text")
    with pytest.raises(ValueError, match="does not hold copying"):
        CopyingBaseline.load(tmp_path / "text")


def test_the_same_seed_gives_the_same_heads() -> None:
    model = attention_only()
    one, same, other = (copying_baseline(model, n_draws=5, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.draws, same.draws)
    assert (one.draws != other.draws).all()


def test_bad_arguments_are_named() -> None:
    model = attention_only()
    with pytest.raises(ValueError, match="control='shuffled' is unknown.*'rotated', 'gaussian'"):
        copying_baseline(model, "shuffled")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="n_draws=0"):
        copying_baseline(model, n_draws=0)
    with pytest.raises(ValueError, match=r"shape \(3, 16\).*\(19, 16\)"):
        copying_scores(model, torch.zeros(3, 16, dtype=torch.float64))
    with pytest.raises(ValueError, match="level=1.0"):
        copying_baseline(model, n_draws=2).band(1.0)


def test_golden_numbers_of_ioi_mini() -> None:
    scores = copying_scores(HookedTransformer.from_pretrained("ioi-mini"))
    assert scores[0, 5].item() == pytest.approx(0.91, abs=0.01)
    assert scores[2, 7].item() == pytest.approx(-0.53, abs=0.01)
