"""Our definitions beside TransformerLens' on the same random weights: `make test-peers`.

TransformerLens' pins conflict with the tests' own, so it has an environment of its own, in which
this file runs by itself. Where the two define a thing differently, the test says how one follows
from the other.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
import torch

import cutaway as ca
from cutaway.heads import (
    SCORES,
    RandomPrompts,
    composition_scores,
    copying_scores,
    full_ov,
    full_qk,
    random_prompts,
)
from cutaway.heads.scores import attention_at_distance
from cutaway.model.config import ModelConfig

if find_spec("transformer_lens") is None:
    pytest.skip(
        "needs TransformerLens: run `make test-peers`, which sets up its environment",
        allow_module_level=True,
    )

N_LAYERS, N_HEADS, N_VOCAB, BOS = 3, 4, 53, 0
VARIANTS: dict[str, dict[str, Any]] = {
    "norms folded": {"normalization_type": "LNPre"},
    "norms": {"normalization_type": "LN"},
    "attention only": {"normalization_type": None, "attn_only": True},
}


@dataclass(frozen=True)
class Pair:
    """One model twice, and what both say of the same prompts."""

    variant: str
    ours: ca.HookedTransformer
    theirs: Any
    prompts: RandomPrompts
    our_cache: ca.ActivationCache
    their_cache: Any


@pytest.fixture(scope="module", params=VARIANTS)
def pair(request) -> Iterator[Pair]:
    cfg = ModelConfig(
        n_layers=N_LAYERS,
        d_model=32,
        n_heads=N_HEADS,
        d_vocab=N_VOCAB,
        n_ctx=32,
        unembed_bias=True,
        init_range=0.4,
        **VARIANTS[request.param],
    )
    ours = ca.HookedTransformer(cfg, seed=0)
    generator = torch.Generator().manual_seed(1)
    for name, parameter in ours.named_parameters():
        if not name.rsplit(".", 1)[-1].startswith("W_"):  # biases, and the norms' weights
            parameter.data += 0.3 * torch.randn(parameter.shape, generator=generator)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs, and of what they import
        theirs = their_model(ours)
    prompts = random_prompts(ours, "repeated", n_prompts=3, half_length=12, bos_token=BOS)
    with torch.no_grad():
        _, our_cache = ours.run_with_cache(prompts.tokens)
        _, their_cache = theirs.run_with_cache(prompts.tokens)
    yield Pair(request.param, ours, theirs, prompts, our_cache, their_cache)


def their_model(ours: ca.HookedTransformer) -> Any:
    """TransformerLens' own model with our weights."""
    import transformer_lens

    cfg = ours.cfg
    model = transformer_lens.HookedTransformer(
        transformer_lens.HookedTransformerConfig(
            n_layers=cfg.n_layers,
            d_model=cfg.d_model,
            n_heads=cfg.n_heads,
            d_head=cfg.d_head,
            d_mlp=cfg.d_mlp,
            d_vocab=cfg.d_vocab,
            n_ctx=cfg.n_ctx,
            act_fn=cfg.act_fn,
            attn_only=cfg.attn_only,
            normalization_type=cfg.normalization_type,
            device=cfg.device,
        )
    )
    own, given = dict(model.state_dict()), ours.state_dict()
    kept = [name for name in own if name not in given]
    assert all(name.endswith((".mask", ".IGNORE")) for name in kept)  # buffers of its own
    model.load_state_dict({**{name: own[name] for name in kept}, **given})
    # Its `detect_head` takes text, and so gets tokens as they are.
    model.to_tokens = lambda tokens, **options: tokens
    return model.eval()


def close(ours: Any, theirs: Any, atol: float = 1e-5) -> None:
    np.testing.assert_allclose(as_array(ours), as_array(theirs), rtol=0, atol=atol)


def as_array(values: Any) -> Any:
    return values.detach().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)


def patterns(pair: Pair) -> torch.Tensor:
    """[prompt, layer * head, query, key], ours."""
    layers = [pair.our_cache["pattern", layer] for layer in range(N_LAYERS)]
    return torch.cat(layers, dim=1)


def by_head(scores: torch.Tensor) -> torch.Tensor:
    """[prompt, layer * head] as [layer, head], the mean over prompts."""
    return scores.mean(0).reshape(N_LAYERS, N_HEADS)


def detected(pair: Pair, name: str, **options: Any) -> torch.Tensor:
    """Their scores, [layer, head]: one prompt at a time, as `detect_head` takes them."""
    from transformer_lens.head_detector import detect_head

    found = [detect_head(pair.theirs, row[None], name, **options) for row in pair.prompts.tokens]
    return torch.stack(found).mean(0)


# ---- the ground that all else stands on ----


def test_the_two_are_one_model(pair) -> None:
    with torch.no_grad():
        close(pair.ours(pair.prompts.tokens), pair.theirs(pair.prompts.tokens), 1e-4)
    for layer in range(N_LAYERS):
        for name in ("pattern", "z"):
            close(pair.our_cache[name, layer], pair.their_cache[name, layer])


# ---- detect_head ----

OURS = {
    "previous_token_head": "previous-token",
    "duplicate_token_head": "duplicate-token",
    "induction_head": "induction",
}


def our_score(pair: Pair, name: str) -> tuple[torch.Tensor, int]:
    """(mean attention to the keys that theirs counts, [prompt, layer * head]; over how many
    queries).

    On [BOS, r, r], r without equal tokens, these are the keys of our scores. But theirs counts
    previous tokens of all queries, and our score those of the second copy.
    """
    if name == "previous_token_head":
        queries = range(1, pair.prompts.length)
        return attention_at_distance(patterns(pair), 1, queries), len(queries)
    score = SCORES[OURS[name]].of(patterns(pair), pair.prompts)
    return score, len(pair.prompts.second_half)


@pytest.mark.parametrize("name", OURS)
def test_their_share_of_attention_is_our_score_times_the_share_of_queries(pair, name) -> None:
    """Theirs divides by all attention, which is the number of all queries; ours is a mean over the
    queries that have such a key."""
    score, n_queries = our_score(pair, name)
    close(by_head(score) * n_queries / pair.prompts.length, detected(pair, name))


@pytest.mark.parametrize("name", OURS)
def test_their_absolute_error_follows_from_our_score(pair, name) -> None:
    """A query with one such key is off by 2 (1 - attention), and any other by 1, so "abs" is
    (2 x attention - 1) x the share of queries with such a key; it is rounded to three digits."""
    score, n_queries = our_score(pair, name)
    expected = (2 * by_head(score) - 1) * n_queries / pair.prompts.length
    close(expected, detected(pair, name, error_measure="abs"), 5.1e-4)


@pytest.mark.parametrize("name", OURS)
def test_what_theirs_excludes_is_taken_out_of_the_whole(pair, name) -> None:
    """Attention to BOS and to the query itself. Only as the token before the second is BOS itself
    one of the keys."""
    pattern, n = patterns(pair), pair.prompts.length
    score, n_queries = our_score(pair, name)
    counted = score * n_queries
    if name == "previous_token_head":
        counted = counted - pattern[..., 1, 0]
    itself = torch.diagonal(pattern, dim1=-2, dim2=-1)[..., 1:].sum(-1)  # BOS is counted once
    expected = by_head(counted / (n - pattern[..., 0].sum(-1) - itself))
    close(expected, detected(pair, name, exclude_bos=True, exclude_current_token=True))


# ---- logit_attrs ----

STACKS = ("decompose_resid", "stack_head_results", "accumulated_resid")


def both_attributions(pair: Pair, stack: str, **options: Any) -> list[torch.Tensor]:
    """(ours, theirs), [part, prompt], at the last position."""
    return [
        cache.logit_attrs(
            getattr(cache, stack)(layer=-1, pos_slice=-1),
            pair.prompts.tokens[:, 1],
            pos_slice=-1,
            **options,
        ).detach()
        for cache in (pair.our_cache, pair.their_cache)
    ]


@pytest.mark.parametrize("pair", ["norms folded", "attention only"], indirect=True)
@pytest.mark.parametrize("stack", STACKS)
def test_every_part_adds_the_same_to_the_logits(pair, stack) -> None:
    close(*both_attributions(pair, stack), 1e-4)
    wrong = pair.prompts.tokens[:, 2]
    close(*both_attributions(pair, stack, incorrect_tokens=wrong), 1e-4)


@pytest.mark.parametrize("pair", ["norms"], indirect=True)
def test_theirs_leaves_out_the_weights_of_a_norm_that_is_not_folded(pair) -> None:
    """So that its parts do not add up to the logits; ours do, but for the biases behind them."""
    ours, theirs = both_attributions(pair, "decompose_resid")
    tokens = pair.prompts.tokens
    at = torch.arange(len(tokens)), tokens[:, 1]
    with torch.no_grad():
        logits = pair.ours(tokens)[:, -1][at]
    behind = (pair.ours.ln_final.b @ pair.ours.W_U + pair.ours.b_U)[tokens[:, 1]]
    close(ours.sum(0) + behind, logits, 1e-4)
    assert ((theirs.sum(0) + behind - logits).abs() > 0.05).all()
    weights = pair.ours.ln_final.w.detach().clone()
    pair.ours.ln_final.w.data.fill_(1.0)
    without, _ = both_attributions(pair, "decompose_resid")
    pair.ours.ln_final.w.data.copy_(weights)
    close(without, theirs, 1e-4)


# ---- weights ----


@pytest.mark.parametrize("kind", ["Q", "K", "V"])
def test_composition_scores_are_the_same(pair, kind) -> None:
    theirs = pair.theirs.all_composition_scores(kind).detach()
    close(pair.ours.all_composition_scores(kind), theirs)
    close(composition_scores(pair.ours, kind, n_draws=1).scores, theirs)


def test_factored_matrices_are_the_same(pair) -> None:
    for name in ("QK", "OV"):
        ours, theirs = getattr(pair.ours, name), getattr(pair.theirs, name)
        close(ours.AB, theirs.AB)
        close(ours.norm(), theirs.norm())
        (U, S, V), (_, their_S, _) = ours.svd(), theirs.svd()
        close(S, their_S)
        close(U @ torch.diag_embed(S) @ V.mT, theirs.AB)  # V is what both of them call it
        close(by_size(ours.eigenvalues), by_size(theirs.eigenvalues), 1e-4)


def by_size(eigenvalues: torch.Tensor) -> torch.Tensor:
    """Sizes in order: which of a pair a + bi, a - bi comes first is the routine's choice."""
    return eigenvalues.detach().abs().sort(-1).values


def test_full_circuits_and_their_eigenvalues_are_the_same(pair) -> None:
    """Theirs has no function for a full circuit: it is written out of its factored matrices."""
    ours, theirs = pair.ours, pair.theirs
    scores = copying_scores(ours)
    for layer in range(N_LAYERS):
        for head in range(N_HEADS):
            ov = theirs.W_E @ theirs.OV[layer, head] @ theirs.W_U
            close(full_ov(ours, layer, head).AB, ov.AB, 1e-4)
            eigenvalues = ov.eigenvalues.detach()
            expected = eigenvalues.sum().real / eigenvalues.abs().sum()
            close(scores[layer, head], expected, 1e-4)
            qk = theirs.W_E @ theirs.QK[layer, head] @ theirs.W_E.T
            scale = theirs.cfg.attn_scale  # divided by in the scores, and not in its QK
            close(full_qk(ours, layer, head).AB, qk.AB / scale, 1e-4)
