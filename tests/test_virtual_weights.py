"""Virtual weights: paths of heads against products written out, and what a model computes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cutaway.circuits.known import KNOWN
from cutaway.heads import diagonal_accuracy, full_ov, full_qk, virtual_ov, virtual_qk
from head_weights import attention_only, configs, precise, random_model


def close(actual: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(actual, expected.detach(), atol=1e-8, rtol=0)


@settings(max_examples=10)
@given(configs(min_layers=3), st.integers(0, 1000), st.data())
def test_a_path_is_the_product_of_its_heads(cfg, seed, data) -> None:
    model = precise(random_model(cfg, seed))
    heads = [data.draw(st.integers(0, cfg.n_heads - 1)) for _ in range(3)]
    path = list(enumerate(heads))
    OV = [model.OV[layer, head].AB for layer, head in path]
    close(virtual_ov(model, path).AB, OV[0] @ OV[1] @ OV[2])
    close(virtual_ov(model, path[:1]).AB, OV[0])
    close(virtual_ov(model, (0, heads[0])).AB, OV[0])  # one head is a path
    close(
        full_ov(model, *path[2], value_through=path[:2]).AB,
        model.W_E @ OV[0] @ OV[1] @ OV[2] @ model.W_U,
    )
    if cfg.positional_embedding_type == "rotary":
        return
    QK = model.QK[path[2]].AB / cfg.d_head**0.5
    close(virtual_qk(model, *path[2]).AB, QK)
    close(virtual_qk(model, *path[2], key_through=path[:2]).AB, QK @ (OV[0] @ OV[1]).T)
    both = virtual_qk(model, *path[2], query_through=path[1], key_through=path[0])
    close(both.AB, OV[1] @ QK @ OV[0].T)
    tokens = full_qk(model, *path[2], query_through=path[1], key_through=path[0])
    close(tokens.AB, model.W_E @ both.AB @ model.W_E.T)


def test_the_paths_of_a_score_add_up_to_it() -> None:
    """One token, so that every head looks at it: x = W_E + sum of OV, on both sides."""
    model = attention_only(positional_embedding_type="none", qkv_bias=False, attn_out_bias=False)
    tokens = torch.arange(model.cfg.d_vocab)[:, None]
    _, cache = model.run_with_cache(tokens)
    sides = [(), *((0, head) for head in range(3))]
    for head in range(3):
        whole = sum(
            full_qk(model, 1, head, query_through=q, key_through=k).AB for q in sides for k in sides
        )
        close(cache["attn_scores", 1][:, head, 0, 0], whole.diagonal())


def test_the_paths_of_the_logits_add_up_to_them() -> None:
    model = attention_only(positional_embedding_type="none", attn_out_bias=False)
    paths = model.W_E @ model.W_U + full_ov(model, 0, biases=True).AB
    paths = paths + full_ov(model, 1, biases=True).AB
    for head in range(3):  # b_V of the second layer is counted already
        through = full_ov(model, 1, value_through=(0, head), biases=True).AB
        constant = torch.stack(
            [model.b_V[1, h] @ model.W_O[1, h] @ model.W_U for h in range(3)]
        ).sum(0)
        paths = paths + through - constant
    tokens = torch.arange(model.cfg.d_vocab)[:, None]
    close(model(tokens)[:, 0].detach(), paths)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_induction_circuit_is_read_off_the_weights(seed) -> None:
    """Through the previous-token head's OV each token looks for itself; through no other head's,
    and not without it. What is found there is copied."""
    model = KNOWN["induction"](seed).model
    induction = diagonal_accuracy(full_qk(model, 1, 2, key_through=(0, 1)))
    assert induction.estimate == 1.0 and induction.n == 17
    others = [diagonal_accuracy(full_qk(model, 1, 2)).estimate]
    others += [
        diagonal_accuracy(full_qk(model, layer, head, key_through=(0, earlier))).estimate
        for layer, head, earlier in [(1, 2, 0), (1, 2, 2), (1, 2, 3), (1, 0, 1), (1, 3, 1)]
    ]
    assert max(others) < 0.4
    assert diagonal_accuracy(full_qk(model, 1, 2, query_through=(0, 1))).estimate < 0.4
    assert diagonal_accuracy(full_ov(model, 1, 2)).estimate == 1.0


def test_biases_go_along_the_way() -> None:
    model = attention_only()
    value = (model.W_E @ model.W_V[0, 1] + model.b_V[0, 1]) @ model.W_O[0, 1]
    expected = (model.W_E @ model.W_Q[1, 2] + model.b_Q[1, 2]) @ (
        value @ model.W_K[1, 2] + model.b_K[1, 2]
    ).T
    close(full_qk(model, 1, 2, key_through=(0, 1), biases=True).AB, expected / 2)


def test_positions_go_along_the_way() -> None:
    model = attention_only()
    expected = model.W_pos @ model.OV[0, 1].AB @ model.QK[1, 2].AB.T @ model.W_E.T
    found = full_qk(model, 1, 2, query="tokens", key="positions", key_through=(0, 1))
    close(found.AB, expected.T / 2)
    assert found.shape == (19, 7)


def test_paths_that_cannot_be_are_named() -> None:
    model = attention_only()
    rotary = attention_only(positional_embedding_type="rotary")
    for message, call in {
        "names no head": lambda: virtual_ov(model, ()),
        "no head 0.5": lambda: virtual_ov(model, [(0, 5)]),
        "layer 0 does not read what one of layer 1": lambda: virtual_ov(model, [(1, 0), (0, 0)]),
        "layer 1 does not read what one of layer 1": (
            lambda: virtual_qk(model, 1, 0, key_through=(1, 2))
        ),
        "layer 0 does not read": lambda: full_ov(model, 0, 0, value_through=[(0, 1)]),
        "no head 7.0": lambda: virtual_qk(model, 7, 0),
        "rotary positions": lambda: virtual_qk(rotary, 1, 0),
    }.items():
        with pytest.raises(ValueError, match=message):
            call()
