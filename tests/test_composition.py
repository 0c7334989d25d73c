"""Composition of heads against norms written out, random pairs, and circuits that are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cutaway import HookedTransformer
from cutaway.circuits.known import KNOWN
from cutaway.heads import CompositionScores, composition_scores
from cutaway.heads.composition import _gaussian, _rotated
from head_weights import attention_only, configs, precise, random_model, set_weight

KINDS = ("Q", "K", "V")


def dense_score(model: HookedTransformer, kind: str, earlier, later) -> float:
    W = {"Q": model.QK[later].AB, "K": model.QK[later].AB.T, "V": model.OV[later].AB}[kind]
    OV, W = model.OV[earlier].AB.detach(), W.detach()
    return ((OV @ W).norm() / OV.norm() / W.norm()).item()


@settings(max_examples=6)
@given(configs(min_layers=2, max_layers=2), st.integers(0, 1000), st.sampled_from(KINDS))
def test_scores_are_norms_of_the_products_written_out(cfg, seed, kind) -> None:
    model = precise(random_model(cfg, seed))
    found = composition_scores(model, kind, n_draws=3)
    for index in np.ndindex(found.scores.shape):
        if index[0] < index[2]:
            expected = dense_score(model, kind, index[:2], index[2:])
            assert found.scores[index] == pytest.approx(expected, abs=1e-9)
            assert found.is_pair[index] and 0 < found.random_mean[index] <= 1
        else:
            assert found.scores[index] == 0 and not found.is_pair[index]
    assert len(found.ranked()) == found.is_pair.sum()


def overlapping(read: torch.Tensor) -> HookedTransformer:
    """0.0 writes the first four coordinates of the stream; 1.0 reads `read` in queries, keys and
    values."""
    model = attention_only(n_heads=1)
    written = torch.eye(16)[:4]
    set_weight(model, "W_O", 0, 0, written)
    set_weight(model, "W_V", 0, 0, torch.eye(16)[:, :4])
    for name in ("W_Q", "W_K", "W_V"):
        set_weight(model, name, 1, 0, read.T)
    return model


@pytest.mark.parametrize("kind", KINDS)
def test_at_right_angles_nothing_composes_and_equal_spaces_do_fully(kind) -> None:
    axes = torch.eye(16)
    apart = composition_scores(overlapping(axes[4:8]), kind, n_draws=99)
    assert apart.scores[0, 0, 1, 0] == 0.0 and apart.p_values[0, 0, 1, 0] == 1.0
    same = composition_scores(overlapping(axes[:4]), kind, n_draws=99)
    # |I_4| / (|I_4| |I_4|), and for values the random W_O of the reader, read through I_4
    expected = dense_score(overlapping(axes[:4]), kind, (0, 0), (1, 0))
    assert same.scores[0, 0, 1, 0] == pytest.approx(expected)
    if kind != "V":
        assert same.scores[0, 0, 1, 0] == pytest.approx(0.5)
    assert same.p_values[0, 0, 1, 0] == pytest.approx(0.01)
    assert same.percentiles[0, 0, 1, 0] == 100.0


def test_one_direction_that_is_read_as_it_is_written_scores_one() -> None:
    one = torch.zeros(4, 16)
    one[0, 0] = 1.0
    model = overlapping(one)
    set_weight(model, "W_O", 0, 0, one)
    assert composition_scores(model, "K", n_draws=2).scores[0, 0, 1, 0] == pytest.approx(1.0)


@settings(max_examples=10)
@given(st.integers(0, 1000), st.sampled_from(KINDS))
def test_neither_the_basis_nor_the_size_of_a_head_counts(seed: int, kind) -> None:
    model = attention_only(seed)
    before = composition_scores(model, kind, n_draws=20)
    generator = torch.Generator().manual_seed(seed)
    turn, _ = torch.linalg.qr(torch.randn(4, 4, generator=generator, dtype=torch.float64))
    for layer, head in [(0, 1), (1, 2)]:
        attn = model.blocks[layer].attn
        for name in ("W_Q", "W_K"):
            set_weight(model, name, layer, head, 3 * getattr(attn, name)[head].detach() @ turn)
        set_weight(model, "W_V", layer, head, attn.W_V[head].detach() @ turn)
        set_weight(model, "W_O", layer, head, 0.1 * turn.T @ attn.W_O[head].detach())
    after = composition_scores(model, kind, n_draws=20)
    np.testing.assert_allclose(after.scores, before.scores, atol=1e-9)
    np.testing.assert_allclose(after.random_mean, before.random_mean, atol=1e-9)
    np.testing.assert_array_equal(after.reached, before.reached)


# ---- the random pairs ----


def test_pairs_of_normal_weights_are_those_drawn_one_by_one() -> None:
    model = attention_only()
    drawn = torch.cat(list(_gaussian(model, "K", 5, torch.Generator().manual_seed(2)))).flatten()
    generator = torch.Generator().manual_seed(2)
    for score in drawn:
        A, B, C, D = (
            torch.empty(16, 4, dtype=torch.float64).normal_(generator=generator) for _ in range(4)
        )
        first, second = A @ B.T, C @ D.T
        expected = (first @ second).norm() / first.norm() / second.norm()
        assert score.item() == pytest.approx(expected.item())


@pytest.mark.parametrize("kind", ["K", "V"])
def test_turned_pairs_are_like_heads_whose_weights_are_turned(kind) -> None:
    """The slow version turns what the earlier head writes, in the weights themselves."""
    model = attention_only(n_heads=2)
    fast = torch.cat(list(_rotated(model, kind, 1000, torch.Generator().manual_seed(0))))
    fast = fast[:, 0, 1, 1, 0]
    generator, slow = torch.Generator().manual_seed(1), []
    W_O = model.blocks[0].attn.W_O[1].detach().clone()
    for _ in range(300):
        noise = torch.randn(16, 16, generator=generator, dtype=torch.float64)
        q, r = torch.linalg.qr(noise)
        set_weight(model, "W_O", 0, 1, W_O @ (q * r.diagonal().sign()))
        slow.append(dense_score(model, kind, (0, 1), (1, 0)))
    slow = np.array(slow)
    error = np.hypot(slow.std() / 300**0.5, fast.std().item() / 1000**0.5)
    assert abs(slow.mean() - fast.mean().item()) < 4 * error
    assert fast.std().item() == pytest.approx(slow.std(), rel=0.2)


@pytest.mark.parametrize("control", ["rotated", "gaussian"])
def test_random_models_compose_as_much_as_random_pairs(control) -> None:
    model = attention_only(seed=3, n_layers=4, n_heads=4, d_model=32)
    for kind in KINDS:
        found = composition_scores(model, kind, control, n_draws=400)
        p = found.p_values[found.is_pair]
        assert p.size == 96 and (p < 0.05).mean() < 0.15 and 0.3 < (p < 0.5).mean() < 0.7
        assert found.discoveries(0.01) == []
        assert abs(found.excess[found.is_pair].mean()) < 0.02


def test_normal_weights_take_concentration_for_composition() -> None:
    """Heads of rank one at random angles: many pass the first control, none the second."""
    model = attention_only(seed=1, n_layers=3, n_heads=4, d_model=32)
    first = torch.zeros(4, 4, dtype=torch.float64)
    first[0, 0] = 1.0
    for layer in range(3):
        for head in range(4):
            for name in ("W_V", "W_K"):
                old = getattr(model.blocks[layer].attn, name)[head].detach()
                set_weight(model, name, layer, head, old @ first)
    found = {
        control: len(composition_scores(model, "K", control, n_draws=999).discoveries(0.05))
        for control in ("gaussian", "rotated")
    }
    assert found["gaussian"] >= 5 and found["rotated"] == 0  # of 48


# ---- known circuits ----


@pytest.mark.parametrize("seed", [0, 1])
def test_the_pairs_of_known_circuits_stand_out_and_no_others(seed) -> None:
    expected = {
        "induction": {"K": ["0.1->1.2.k"], "Q": [], "V": []},
        "ioi": {"K": [], "Q": ["1.2->2.0.q", "1.2->2.3.q"], "V": ["0.1->1.2.v"]},
    }
    for name, kinds in expected.items():
        model = KNOWN[name](seed).model
        for kind, pairs in kinds.items():
            found = composition_scores(model, kind, n_draws=1000)  # type: ignore[arg-type]
            assert sorted(pair.name for pair in found.top(len(pairs))) == pairs
            assert sorted(pair.name for pair in found.discoveries()) == pairs


def test_a_result_is_saved_whole_and_says_what_it_is(tmp_path) -> None:
    model = attention_only()
    found = composition_scores(model, "V", n_draws=9, seed=4)
    found.save(tmp_path / "composition.safetensors")
    loaded = CompositionScores.load(tmp_path / "composition.safetensors")
    assert loaded.to_frame() == found.to_frame()
    assert (loaded.kind, loaded.seed, loaded.control) == ("V", 4, "rotated")
    first = found.to_frame()[0]
    assert first["pair"] == found.top(1)[0].name
    assert first["excess"] == pytest.approx(found.excess[found.is_pair].max())
    axes = found.plot().axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["1.0", "1.1", "1.2"]
    with pytest.raises(ValueError, match="does not hold copying"):
        from cutaway.heads import CopyingBaseline

        CopyingBaseline.load(tmp_path / "composition.safetensors")


def test_a_head_that_does_nothing_composes_with_nothing() -> None:
    model = attention_only()
    set_weight(model, "W_O", 0, 1, torch.zeros(4, 16))
    found = composition_scores(model, "K", n_draws=5)
    assert not found.scores[0, 1].any() and (found.p_values[0, 1, 1] == 1).all()


def test_bad_arguments_are_named() -> None:
    model = attention_only()
    with pytest.raises(ValueError, match="mode='O' is unknown"):
        composition_scores(model, "O")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="control='none' is unknown"):
        composition_scores(model, "K", "none")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="has one layer"):
        composition_scores(attention_only(n_layers=1))
    with pytest.raises(ValueError, match="rate=2"):
        composition_scores(model, n_draws=2).discoveries(2)


def test_golden_number_of_ioi_mini() -> None:
    found = composition_scores(HookedTransformer.from_pretrained("ioi-mini"), "V", n_draws=200)
    best = found.top(1)[0]
    assert best.name == "1.2->3.6.v"
    assert best.score == pytest.approx(0.24, abs=0.005)
    assert best.random_mean == pytest.approx(0.09, abs=0.005)


def test_draws_are_enough_to_find_one_pair_alone() -> None:
    model = attention_only(n_layers=3, n_heads=6, d_model=24)  # 108 pairs
    found = composition_scores(model, "Q")
    assert found.n_draws == 2160 and 108 / (1 + found.n_draws) < 0.05
    assert composition_scores(attention_only(), "Q").n_draws == 2000
