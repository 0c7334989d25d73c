"""Full QK and OV circuits against what the model computes, and large products read in blocks."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cutaway import FactoredMatrix, HookedTransformer
from cutaway.circuits.known import KNOWN
from cutaway.heads import (
    blocks,
    copy_accuracy,
    copying_scores,
    diagonal,
    diagonal_accuracy,
    diagonal_ranks,
    extended_embedding,
    folded,
    full_ov,
    full_qk,
    row_statistics,
    top_entries,
)
from cutaway.model.config import ModelConfig
from head_weights import attention_only, configs, dense_ov, precise, random_model


def close(actual: torch.Tensor, expected: torch.Tensor, atol: float = 1e-8) -> None:
    torch.testing.assert_close(actual, expected, atol=atol, rtol=0)


def every_token(model: HookedTransformer) -> torch.Tensor:
    return torch.arange(model.cfg.d_vocab)


# ---- circuits ----


@settings(max_examples=15)
@given(configs(), st.integers(0, 1000))
def test_the_ov_circuit_of_each_head_is_the_product_of_its_weights(cfg, seed) -> None:
    model = precise(random_model(cfg, seed))
    for layer in range(cfg.n_layers):
        heads = [dense_ov(model, layer, head) for head in range(cfg.n_heads)]
        for head, expected in enumerate(heads):
            close(full_ov(model, layer, head).AB, expected)
        close(full_ov(model, layer).AB, torch.stack(heads).sum(0))


def test_a_layer_that_looks_at_one_token_does_what_its_ov_circuits_say() -> None:
    """With a single token there is nowhere else to look, so the logits are a sum of circuits."""
    model = attention_only(n_layers=1, positional_embedding_type="none", unembed_bias=True)
    direct = model.W_E @ model.W_U + model.blocks[0].attn.b_O @ model.W_U + model.b_U
    circuits = full_ov(model, 0, biases=True).AB
    close(model(every_token(model)[:, None])[:, 0].detach(), (direct + circuits).detach())


@pytest.mark.parametrize("scale", [None, 3.0])
def test_attention_scores_are_the_sum_of_the_four_qk_circuits(scale) -> None:
    model = attention_only(qkv_bias=False, attn_scale=scale)
    tokens = torch.tensor([[3, 1, 4, 1, 5, 9, 2]])
    _, cache = model.run_with_cache(tokens)
    for head in range(3):
        parts = {
            (query, key): full_qk(model, 0, head, query=query, key=key).AB
            for query in ("tokens", "positions")
            for key in ("tokens", "positions")
        }
        at = tokens[0]
        expected = (
            parts["tokens", "tokens"][at][:, at]
            + parts["tokens", "positions"][at]
            + parts["positions", "tokens"][:, at]
            + parts["positions", "positions"]
        )
        seen = torch.ones(7, 7).tril().bool()
        close(cache["attn_scores", 0][0, head][seen], expected[seen])


def test_biases_belong_to_the_circuits_if_asked() -> None:
    model = attention_only(positional_embedding_type="none")
    tokens = torch.tensor([[3, 1, 4, 1, 5, 9, 2]])
    _, cache = model.run_with_cache(tokens)
    circuit = full_qk(model, 0, 1, biases=True).AB[tokens[0]][:, tokens[0]]
    seen = torch.ones(7, 7).tril().bool()
    close(cache["attn_scores", 0][0, 1][seen], circuit[seen])


@pytest.mark.parametrize("adjacent", [True, False])
@pytest.mark.parametrize("rotary_dim", [2, 4])
def test_a_rotary_model_has_a_qk_circuit_for_every_distance(adjacent, rotary_dim) -> None:
    model = attention_only(
        positional_embedding_type="rotary", rotary_dim=rotary_dim, rotary_adjacent_pairs=adjacent
    )
    tokens = torch.tensor([[3, 1, 4, 1, 5, 9, 2]])
    _, cache = model.run_with_cache(tokens)
    scores = cache["attn_scores", 0][0, 2]
    for distance in range(7):
        circuit = full_qk(model, 0, 2, distance=distance, biases=True).AB
        for query in range(distance, 7):
            t_query, t_key = tokens[0, query], tokens[0, query - distance]
            # The model's own angles are float32.
            close(scores[query, query - distance], circuit[t_query, t_key], atol=1e-5)
    close(full_qk(model, 0, 2).AB, full_qk(model, 0, 2, distance=0).AB)


@settings(max_examples=10)
@given(configs(), st.integers(0, 1000))
def test_grouped_heads_have_the_keys_of_their_group(cfg, seed) -> None:
    model = precise(random_model(cfg, seed))
    layer, head = cfg.n_layers - 1, cfg.n_heads - 1
    QK = model.W_E @ model.QK[layer, head].AB @ model.W_E.T
    close(full_qk(model, layer, head).AB, QK.detach() / cfg.d_head**0.5)


def test_folding_gives_a_copy_that_acts_by_its_circuits() -> None:
    """One token: the circuit says the logits up to the norms' scales and a constant."""
    cfg = ModelConfig(
        1, 16, 2, 19, 4, d_head=4, attn_only=True, positional_embedding_type="none", init_range=0.5
    )
    model = precise(random_model(cfg))
    copy = folded(model)
    tokens = every_token(model)[:, None]
    close(model(tokens).log_softmax(-1), copy(tokens).log_softmax(-1))
    _, cache = copy.run_with_cache(tokens)
    scale = cache["scale", 0, "ln1"][:, 0] * cache["ln_final.hook_scale"][:, 0]
    whole = full_ov(copy, 0).AB / scale
    rest = copy.W_E @ copy.W_U + copy.blocks[0].attn.b_O @ copy.W_U  # what no head writes
    logits = whole + rest / cache["ln_final.hook_scale"][:, 0] + copy.b_U
    from_biases = torch.einsum("hd,hdm->m", copy.blocks[0].attn.b_V, copy.blocks[0].attn.W_O)
    assert not from_biases.any()  # they are in b_O
    close(logits.log_softmax(-1), copy(tokens)[:, 0].log_softmax(-1))
    assert model.cfg.normalization_type == "LN"  # the model itself stays as it was
    assert (copying_scores(copy) - copying_scores(model)).abs().max() > 0.01


def test_the_first_mlp_extends_the_embedding() -> None:
    cfg = ModelConfig(2, 16, 2, 19, 4, positional_embedding_type="none", init_range=0.5)
    model = precise(random_model(cfg))
    silent = [("blocks.0.hook_attn_out", lambda value, hook: torch.zeros_like(value))]
    _, cache = model.run_with_cache(every_token(model)[:, None])
    with model.hooks(silent):
        _, cache = model.run_with_cache(every_token(model)[:, None])
    close(extended_embedding(model), cache["resid_post", 0][:, 0])
    with pytest.raises(ValueError, match="has attention only"):
        extended_embedding(attention_only())


def test_known_heads_copy_every_token_and_others_as_many_as_by_chance() -> None:
    model = KNOWN["induction"](0).model
    n = model.cfg.d_vocab
    assert copy_accuracy(model, 1, 2).estimate == 1.0
    assert copy_accuracy(model, 1, 2).n == n
    assert copy_accuracy(model, 0, 1).estimate < 0.5
    assert copy_accuracy(model, 0, 1, k=n).estimate == 1.0
    assert copy_accuracy(model, 1).estimate == 1.0  # all heads of the layer together


def test_the_previous_token_head_is_seen_in_its_positional_circuit() -> None:
    model = KNOWN["previous-token"](0).model
    circuit = full_qk(model, 0, 1, query="positions", key="positions")
    scores = circuit.AB
    assert (
        diagonal(circuit, -1).min()
        > scores.masked_fill(torch.ones_like(scores).tril(-1).triu(-1).bool(), -torch.inf).max() + 5
    )


# ---- blocks ----


def random_product(seed: int, left: int = 13, right: int = 11) -> FactoredMatrix:
    generator = torch.Generator().manual_seed(seed)
    A = torch.randn(left, 3, generator=generator, dtype=torch.float64)
    return FactoredMatrix(A, torch.randn(3, right, generator=generator, dtype=torch.float64))


@settings(max_examples=30)
@given(
    st.integers(0, 1000),
    st.integers(1, 200),
    st.sampled_from(["largest", "smallest", "absolute"]),
    st.integers(1, 150),
)
def test_the_extreme_entries_are_those_of_the_matrix_multiplied_out(
    seed: int, k: int, order: str, most_cells: int
) -> None:
    matrix = random_product(seed)
    dense = matrix.AB.flatten()
    key = {"largest": dense, "smallest": -dense, "absolute": dense.abs()}[order]
    expected = key.argsort(descending=True)[:k]
    found = top_entries(matrix, k, order, most_cells)  # type: ignore[arg-type]
    assert (found.rows * 11 + found.columns).tolist() == expected.tolist()
    close(found.values, dense[expected])


@settings(max_examples=15)
@given(st.integers(0, 1000), st.integers(1, 150))
def test_statistics_and_ranks_are_those_of_the_matrix_multiplied_out(seed, most_cells) -> None:
    matrix = random_product(seed, 11)
    dense = matrix.AB
    found = row_statistics(matrix, most_cells)
    close(found.mean, dense.mean(-1))
    close(found.std, dense.std(-1, correction=0))
    close(found.largest, dense.max(-1).values)
    close(found.smallest, dense.min(-1).values)
    assert found.argmax.tolist() == dense.argmax(-1).tolist()
    assert found.argmin.tolist() == dense.argmin(-1).tolist()
    ranks = diagonal_ranks(matrix, most_cells)
    expected = [sum(x > row[i] for x in row) for i, row in enumerate(dense.tolist())]
    assert ranks.tolist() == expected
    for k in (1, 5, 11):
        share = diagonal_accuracy(matrix, k, most_cells)
        assert share.estimate == sum(rank < k for rank in expected) / 11
    for offset in range(-10, 11):
        close(diagonal(matrix, offset), dense.diagonal(offset))


def test_no_more_of_the_matrix_is_held_than_was_allowed(monkeypatch) -> None:
    sizes = []
    original = blocks.row_blocks

    def watched(matrix, most_cells=None):
        for start, block in original(matrix, most_cells):
            sizes.append(block.numel())
            yield start, block

    monkeypatch.setattr(blocks, "row_blocks", watched)
    matrix = random_product(0, 50, 50)
    top_entries(matrix, 3, most_cells=120)
    row_statistics(matrix, most_cells=120)
    diagonal_accuracy(matrix, most_cells=120)
    assert max(sizes) == 100 and len(sizes) == 3 * 25  # two rows at a time
    sizes.clear()
    top_entries(matrix, 3, most_cells=1)
    assert max(sizes) == 50  # a row is the least


def test_ties_count_against_the_diagonal() -> None:
    nothing = FactoredMatrix(torch.zeros(5, 2), torch.zeros(2, 5))
    assert diagonal_ranks(nothing).tolist() == [4] * 5
    assert diagonal_accuracy(nothing, 4).estimate == 0.0


def test_half_precision_is_multiplied_in_float32() -> None:
    matrix = random_product(0)
    half = FactoredMatrix(matrix.A.bfloat16(), matrix.B.bfloat16())
    exact = (half.A.float() @ half.B.float()).flatten()
    assert top_entries(half, 2).values.tolist() == exact.topk(2).values.tolist()


def test_entries_have_labels() -> None:
    matrix = FactoredMatrix(torch.tensor([[1.0], [3.0]]), torch.tensor([[1.0, -2.0, 0.5]]))
    found = top_entries(matrix, 2, "absolute")
    assert found.to_frame(["a", "b"], ["x", "y", "z"]) == [
        {"row": "b", "column": "y", "value": -6.0},
        {"row": "b", "column": "x", "value": 3.0},
    ]
    assert found.to_frame()[0] == {"row": 1, "column": 1, "value": -6.0}


# ---- what cannot be ----


def test_bad_arguments_are_named() -> None:
    model = attention_only()
    rotary = attention_only(positional_embedding_type="rotary")
    matrix = random_product(0)
    several = FactoredMatrix(torch.zeros(2, 5, 2), torch.zeros(2, 2, 5))
    for message, call in {
        "no head 0.3: .*heads 0 to 2": lambda: full_ov(model, 0, 3),
        "no head 2.0: .*layers 0 to 1": lambda: full_qk(model, 2, 0),
        "no head -1.0": lambda: full_ov(model, -1, 0),
        r"no table of positions.*'rotary'\): give a distance": (
            lambda: full_qk(rotary, 0, 0, key="positions")
        ),
        "a side can be": lambda: full_qk(model, 0, 0, query="words"),  # type: ignore[arg-type]
        "distance=2: the scores of custom": lambda: full_qk(model, 0, 0, distance=2),
        "distance=-1 is negative": lambda: full_qk(rotary, 0, 0, distance=-1),
        r"embedding has the shape \(3, 2\)": (
            lambda: full_ov(model, 0, 0, embedding=torch.zeros(3, 2))
        ),
        "k=0 must": lambda: top_entries(matrix, 0),
        "order='best' is unknown": lambda: top_entries(matrix, 1, "best"),  # type: ignore[arg-type]
        "index its leading axes": lambda: row_statistics(several),
        "not square": lambda: diagonal_ranks(matrix),
        "k=6 must lie between 1 and 5": lambda: diagonal_accuracy(several, 6),
        "has no diagonal 11": lambda: diagonal(matrix, 11),
    }.items():
        with pytest.raises(ValueError, match=message):
            call()


def test_golden_number_of_ioi_mini() -> None:
    model = HookedTransformer.from_pretrained("ioi-mini")
    assert copy_accuracy(model, 0, 5, k=5).estimate == pytest.approx(0.282, abs=0.005)
