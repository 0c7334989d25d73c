"""Sites: where an intervention replaces a value, and what that adds to the residual stream.

Everything a layer computes reaches the rest of the model through the residual stream, and by
addition. Replacing a value is therefore the same as adding, at the entry where its layer writes,
the difference that the replacement makes there. A site knows how to compute that difference.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from ..model.config import ModelConfig
from ..model.transformer import HookedTransformer
from .cone import Entry, after_attention, has_mid


@dataclass(frozen=True)
class Site(ABC):
    """One kind of value that can be replaced."""

    name: str
    """Short hook name, as in `cache[name, layer]`."""
    unit_axis: ClassVar[str | None] = None
    """What the parts that are replaced one by one are called; None where it is the whole."""

    def exists_in(self, cfg: ModelConfig) -> bool:
        """Whether models of this shape compute the value."""
        return True

    def units(self, cfg: ModelConfig) -> int:
        """How many parts of the value are replaced one by one in a layer: heads, or 1."""
        return 1

    @abstractmethod
    def hook_name(self, layer: int) -> str:
        """Where the value can be read."""

    @abstractmethod
    def entry(self, cfg: ModelConfig, layer: int) -> Entry:
        """Where a change of the value enters the residual stream."""

    @abstractmethod
    def changes(
        self, model: HookedTransformer, layer: int, difference: Tensor
    ) -> Float[Tensor, "unit prompt pos d_model"]:
        """What each unit adds at the entry when its value changes by `difference` (new - old)."""


@dataclass(frozen=True)
class StreamSite(Site):
    """A value that is itself a vector of the residual stream."""

    def exists_in(self, cfg: ModelConfig) -> bool:
        if self.name == "resid_mid":
            return has_mid(cfg)
        return not (cfg.attn_only and self.name == "mlp_out")

    def hook_name(self, layer: int) -> str:
        return f"blocks.{layer}.hook_{self.name}"

    def entry(self, cfg: ModelConfig, layer: int) -> Entry:
        if self.name == "resid_pre":
            return Entry(layer, "pre")
        if self.name in ("resid_mid", "attn_out"):
            return after_attention(cfg, layer)
        return Entry(layer + 1, "pre")  # mlp_out, resid_post

    def changes(
        self, model: HookedTransformer, layer: int, difference: Tensor
    ) -> Float[Tensor, "1 prompt pos d_model"]:
        return difference[None]


@dataclass(frozen=True)
class HeadOutputSite(Site):
    """`z`: what each head moved, before W_O. One unit for each head."""

    unit_axis = "head"

    def units(self, cfg: ModelConfig) -> int:
        return cfg.n_heads

    def hook_name(self, layer: int) -> str:
        return f"blocks.{layer}.attn.hook_{self.name}"

    def entry(self, cfg: ModelConfig, layer: int) -> Entry:
        return after_attention(cfg, layer)

    def changes(
        self, model: HookedTransformer, layer: int, difference: Tensor
    ) -> Float[Tensor, "head prompt pos d_model"]:
        # difference is [prompt, pos, head, d_head]
        return torch.einsum("bphe,hed->hbpd", difference, model.blocks[layer].attn.W_O)


SITES: dict[str, Site] = {
    site.name: site
    for site in (
        StreamSite("resid_pre"),
        StreamSite("resid_mid"),
        StreamSite("resid_post"),
        StreamSite("attn_out"),
        StreamSite("mlp_out"),
        HeadOutputSite("z"),
    )
}


def get_site(name: str, cfg: ModelConfig) -> Site:
    """The site of that name.

    Raises:
        ValueError: no such site, or this kind of model does not have it.
    """
    if name not in SITES:
        raise ValueError(f"there is no site {name!r}; sites are {', '.join(SITES)}.")
    site = SITES[name]
    if not site.exists_in(cfg):
        reason = "it has no MLP" if cfg.attn_only else "its attention and MLP run in parallel"
        raise ValueError(f"{cfg.model_name} has no {name}: {reason}.")
    return site
