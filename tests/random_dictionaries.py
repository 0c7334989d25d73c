"""Random dictionaries of every kind, and hypothesis' strategy for their configurations."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import strategies as st

from cutaway.sae.config import KINDS, TOP_K_KINDS, DictionaryConfig
from cutaway.sae.dictionary import Dictionary
from cutaway.sae.kinds import BatchTopK, JumpReLU, new_dictionary


def random_dictionary(cfg: DictionaryConfig, seed: int = 0) -> Dictionary:
    """Weights of about 0.6, thresholds of about 0.3: some features of a normal row are active."""
    dictionary = new_dictionary(cfg, seed=seed)
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for parameter in dictionary.parameters():
            parameter.copy_(0.6 * torch.randn(parameter.shape, generator=generator))
        if isinstance(dictionary, JumpReLU):
            drawn = 0.1 + 0.5 * torch.rand(cfg.d_features, generator=generator)
            dictionary.log_threshold.copy_(drawn.log())
        if isinstance(dictionary, BatchTopK):
            dictionary.threshold.fill_(0.3 + 0.1 * seed)
    return dictionary


def random_rows(cfg: DictionaryConfig, n: int = 7, seed: int = 5) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, cfg.d_in, generator=generator).to(getattr(torch, cfg.dtype))


@st.composite
def configs(draw: st.DrawFn, kinds: tuple[str, ...] = KINDS) -> DictionaryConfig:
    """Any configuration that can be, of a few features."""
    kind = draw(st.sampled_from(kinds))
    d_in, d_features = draw(st.integers(1, 7)), draw(st.integers(1, 9))
    is_transcoder = draw(st.booleans())
    fields: dict[str, Any] = {
        "d_out": draw(st.integers(1, 7)) if is_transcoder else None,
        "skip": is_transcoder and draw(st.booleans()),
        "subtract_decoder_bias": not is_transcoder and draw(st.booleans()),
        "scale": draw(st.sampled_from((1.0, 0.37, 4.2))),
        "dtype": draw(st.sampled_from(("float32", "bfloat16", "float16"))),
        "hook": draw(st.sampled_from(("", "blocks.0.hook_resid_post", "blocks.1.attn.hook_z"))),
        "prepend_bos": draw(st.booleans()),
        "n_ctx": draw(st.sampled_from((0, 16))),
        "model_name": draw(st.sampled_from(("", "ioi-mini"))),
    }
    if kind in TOP_K_KINDS:
        fields["k"] = draw(st.integers(1, d_features))
        fields["rescale_by_decoder_norm"] = draw(st.booleans())
    if kind == "matryoshka":
        fields["sizes"] = tuple({(d_features + 1) // 2: 0, d_features: 0})
    return DictionaryConfig(kind, d_in, d_features, **fields)  # type: ignore[arg-type]
