"""Hypothesis strategies: random decoders with all their options, and random tasks for them."""

from __future__ import annotations

from contextlib import AbstractContextManager
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
from hypothesis import strategies as st

from cutaway.model.config import ModelConfig
from cutaway.model.transformer import HookedTransformer
from cutaway.patching import memory
from cutaway.tasks.metric import LogitDifference, Metric, ProbabilityDifference
from cutaway.tasks.task import Task


@st.composite
def configs(draw: st.DrawFn, min_layers: int = 1, max_layers: int = 3) -> ModelConfig:
    """A small decoder with any combination of the options."""
    n_heads, d_head = draw(st.sampled_from([(1, 4), (2, 4), (4, 4), (4, 2)]))
    positional = draw(st.sampled_from(["standard", "rotary", "none"]))
    return ModelConfig(
        n_layers=draw(st.integers(min_layers, max_layers)),
        d_model=draw(st.sampled_from([8, 12])),
        n_heads=n_heads,
        d_head=d_head,
        d_mlp=draw(st.sampled_from([8, 20])),
        d_vocab=17,
        n_ctx=12,
        n_key_value_heads=draw(st.sampled_from([k for k in (1, 2, 4) if n_heads % k == 0])),
        attn_only=draw(st.booleans()),
        act_fn=draw(st.sampled_from(["gelu", "gelu_new", "relu", "silu"])),
        gated_mlp=draw(st.booleans()),
        normalization_type=draw(st.sampled_from(["LN", "LNPre", "RMS", "RMSPre", None])),
        positional_embedding_type=positional,
        rotary_dim=draw(st.sampled_from([0, 2])) if positional == "rotary" else 0,
        rotary_adjacent_pairs=draw(st.booleans()),
        sliding_window=draw(st.sampled_from([None, None, 3])),
        parallel_attn_mlp=draw(st.booleans()),
        qkv_bias=draw(st.booleans()),
        attn_out_bias=draw(st.booleans()),
        mlp_bias=draw(st.booleans()),
        norm_bias=draw(st.booleans()),
        unembed_bias=draw(st.booleans()),
        tie_word_embeddings=draw(st.booleans()),
        init_range=0.4,
    )


PADDING = SimpleNamespace(pad_token_id=0, bos_token_id=None, eos_token_id=None)
"""Stands for a tokenizer where only padding matters: token 0, which `tasks` never draws."""


def random_model(cfg: ModelConfig, seed: int = 0) -> HookedTransformer:
    """Fresh weights, with biases and norm weights that are not the trivial ones."""
    model = HookedTransformer(cfg, tokenizer=PADDING, seed=seed)  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(seed + 1)
    for name, parameter in model.named_parameters():
        if not name.rsplit(".", 1)[-1].startswith("W_"):
            noise = torch.empty(parameter.shape).normal_(0, 0.3, generator=generator)
            parameter.data.add_(noise)
    return model


def small_chunks(n_positions: int) -> AbstractContextManager[Any]:
    """Inside, cones hold about so many positions: many chunks, of prompts that differ."""
    return mock.patch.dict(memory._POSITIONS_PER_CHUNK, {"cpu": n_positions})


@st.composite
def tasks(draw: st.DrawFn, cfg: ModelConfig) -> Task:
    """Prompt pairs of several lengths, padded on either side, different from anywhere on, read
    anywhere."""
    n_prompts, n_pos = draw(st.integers(1, 5)), draw(st.integers(2, 9))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10_000)))

    def tokens(*shape: int) -> torch.Tensor:
        return torch.randint(1, cfg.d_vocab, shape, generator=generator)

    lengths = torch.randint(1, n_pos + 1, (n_prompts,), generator=generator)
    lengths[0] = n_pos
    clean = tokens(n_prompts, n_pos)
    clean[torch.arange(n_pos) >= lengths[:, None]] = 0
    corrupted = clean.clone()
    together = draw(st.booleans())  # prompts of several lengths that first differ at one position
    for prompt in range(n_prompts):
        if together and lengths[prompt] > 1:
            corrupted[prompt, 1] = tokens(1)
            continue
        changed = torch.randint(0, int(lengths[prompt]), (2,), generator=generator)
        corrupted[prompt, changed] = tokens(2)
    n_read = draw(st.integers(1, 2))
    read = (torch.rand(n_prompts, n_read, generator=generator) * lengths[:, None]).long()
    kind: type[Metric] = draw(st.sampled_from([LogitDifference, ProbabilityDifference]))
    correct, wrong = tokens(n_prompts), tokens(n_prompts)
    named = {
        name: (torch.rand(n_prompts, generator=generator) * lengths).long() for name in ("A", "B")
    }
    named["END"] = lengths - 1
    if draw(st.booleans()):  # padding on the left: everything moves to the right
        moved = n_pos - lengths
        clean = torch.stack([t.roll(int(n)) for t, n in zip(clean, moved, strict=True)])
        corrupted = torch.stack([t.roll(int(n)) for t, n in zip(corrupted, moved, strict=True)])
        read = read + moved[:, None]
        named = {name: index + moved for name, index in named.items()}
    return Task.from_tokens(
        clean,
        corrupted,
        correct,
        wrong,
        lengths=lengths,
        positions=named,
        metric=kind(read, correct[:, None], wrong[:, None]),
    )


def small_task(cfg: ModelConfig, n_prompts: int = 6, n_pos: int = 9, first: int = 4) -> Task:
    """Prompts of one length that differ at one position and are read at the last one."""
    generator = torch.Generator().manual_seed(0)
    clean = torch.randint(1, cfg.d_vocab, (n_prompts, n_pos), generator=generator)
    corrupted = clean.clone()
    corrupted[:, first] = (clean[:, first] % (cfg.d_vocab - 1)) + 1
    correct, wrong = torch.randint(0, cfg.d_vocab, (2, n_prompts), generator=generator)
    change = torch.full((n_prompts,), first)
    return Task.from_tokens(clean, corrupted, correct, wrong, positions={"CHANGE": change})
