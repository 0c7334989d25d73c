"""Sites: where an intervention replaces a value, and what that adds to the residual stream.

Everything a layer computes reaches the rest of the model through the residual stream, and by
addition. Replacing a value is therefore the same as adding, at the entry where its layer writes,
the difference that the replacement makes there. A site computes that difference: for a vector of
the stream it is the difference itself; for a part of a head, the head is computed anew.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ..model.config import ModelConfig
from .cone import BaseRun, Cone, Entry, RecordedRun, after_attention, key_value_hooks


@dataclass(frozen=True)
class Rows:
    """Interventions of one layer that are computed together; each is a row of a cone."""

    cone: Cone
    source: RecordedRun
    """The run that new values come from."""
    layer: int
    unit: Int[Tensor, " row"]
    """Which part is replaced: the head."""
    at: Int[Tensor, " row"] | None
    """The one position where it is replaced; None for all positions of the window."""

    @property
    def base(self) -> BaseRun:
        """The run that the interventions depart from."""
        return self.cone.base

    def old(self, hook: str) -> Float[Tensor, "row window *value"]:
        """The base run's values."""
        return self._window(self.base, hook)

    def new(self, hook: str) -> Float[Tensor, "row window *value"]:
        """The values after the replacement."""
        source = self._window(self.source, hook)
        if self.at is None:
            return source
        window = torch.arange(self.cone.start, self.cone.end, device=source.device)
        here = window == self.at[:, None]  # [row, window]
        here = here.view(*here.shape, *[1] * (source.ndim - 2))
        return torch.where(here, source, self._window(self.base, hook))

    def _window(self, run: RecordedRun, hook: str) -> Tensor:
        return run.values[hook][self.cone.prompts, self.cone.start : self.cone.end]


@dataclass(frozen=True)
class Site(ABC):
    """One kind of value that can be replaced."""

    name: str
    """Short hook name, as in `cache[name, layer]`."""

    def missing_in(self, cfg: ModelConfig) -> str | None:
        """Why models of this shape do not compute the value; None if they do."""
        return None

    def unit_axis(self, cfg: ModelConfig) -> str | None:
        """What the parts that are replaced one by one are called; None where it is the whole."""
        return None

    def units(self, cfg: ModelConfig) -> int:
        """How many parts there are in a layer."""
        return 1

    @abstractmethod
    def hooks(self, cfg: ModelConfig, layer: int) -> tuple[str, ...]:
        """What both runs must record."""

    @abstractmethod
    def entry(self, cfg: ModelConfig, layer: int) -> Entry:
        """Where a change of the value enters the residual stream."""

    @abstractmethod
    def change(self, rows: Rows) -> Float[Tensor, "row window d_model"]:
        """What each row's replacement adds there."""


@dataclass(frozen=True)
class StreamSite(Site):
    """A value that is itself a vector of the residual stream."""

    def missing_in(self, cfg: ModelConfig) -> str | None:
        if cfg.attn_only and self.name in ("resid_mid", "mlp_out"):
            return "it has no MLP"
        if self.name == "resid_mid" and not cfg.has_resid_mid:
            return "its attention and MLP run in parallel"
        return None

    def hooks(self, cfg: ModelConfig, layer: int) -> tuple[str, ...]:
        return (f"blocks.{layer}.hook_{self.name}",)

    def entry(self, cfg: ModelConfig, layer: int) -> Entry:
        if self.name == "resid_pre":
            return Entry(layer, "pre")
        if self.name in ("resid_mid", "attn_out"):
            return after_attention(cfg, layer)
        return Entry(layer + 1, "pre")  # mlp_out, resid_post

    def change(self, rows: Rows) -> Float[Tensor, "row window d_model"]:
        (hook,) = self.hooks(rows.base.model.cfg, rows.layer)
        return rows.new(hook) - rows.old(hook)


@dataclass(frozen=True)
class HeadSite(Site):
    """A part of attention heads: what they write is computed anew from the part.

    One unit is one head; for keys and values of grouped heads, one key-value head with all the
    query heads that read it.
    """

    def group(self, cfg: ModelConfig) -> int:
        """Query heads that share one unit."""
        return 1

    def unit_axis(self, cfg: ModelConfig) -> str | None:
        return "head" if self.group(cfg) == 1 else "key-value head"

    def units(self, cfg: ModelConfig) -> int:
        return cfg.n_heads // self.group(cfg)

    def hooks(self, cfg: ModelConfig, layer: int) -> tuple[str, ...]:
        return (f"blocks.{layer}.attn.hook_z",)

    def entry(self, cfg: ModelConfig, layer: int) -> Entry:
        return after_attention(cfg, layer)

    @abstractmethod
    def new_z(self, rows: Rows) -> Float[Tensor, "row window group d_head"]:
        """z of the unit's heads after the replacement."""

    def change(self, rows: Rows) -> Float[Tensor, "row window d_model"]:
        cfg, layer = rows.base.model.cfg, rows.layer
        group = self.group(cfg)
        old_z = of_unit(rows.old(f"blocks.{layer}.attn.hook_z"), rows.unit, group)
        difference = (self.new_z(rows) - old_z).flatten(-2)  # [row, window, group * d_head]
        weight = rows.base.model.blocks[layer].attn.W_O.reshape(
            self.units(cfg), group * cfg.d_head, cfg.d_model
        )
        # Rows of one unit stand together: one matrix product for each, instead of a weight a row.
        units, counts = rows.unit.unique_consecutive(return_counts=True)
        parts = difference.split(counts.tolist())
        products = [part @ weight[unit] for part, unit in zip(parts, units.tolist(), strict=True)]
        return torch.cat(products)


class OutputSite(HeadSite):
    """`z`, and `result`, which is z W_O: what each head moved, replaced."""

    def new_z(self, rows: Rows) -> Float[Tensor, "row window 1 d_head"]:
        return of_unit(rows.new(f"blocks.{rows.layer}.attn.hook_z"), rows.unit, 1)


class PatternSite(HeadSite):
    """`pattern` (or `attn_scores`, from which it follows): where each head looks, replaced for
    all keys of a query."""

    def hooks(self, cfg: ModelConfig, layer: int) -> tuple[str, ...]:
        return (*super().hooks(cfg, layer), f"blocks.{layer}.attn.hook_pattern")

    def new_z(self, rows: Rows) -> Float[Tensor, "row window 1 d_head"]:
        cone, group = rows.cone, rows.base.model.cfg.heads_per_group
        source = rows.source.values[f"blocks.{rows.layer}.attn.hook_pattern"]
        window = slice(cone.start, cone.end)
        pattern = source[cone.prompts, rows.unit, window, : cone.end]  # [row, window, key]
        _, values = rows.base.keys_and_values(rows.layer)
        value = of_unit(values[cone.prompts, : cone.end], rows.unit // group, 1)[:, :, 0]
        new = (pattern @ value)[:, :, None]
        if rows.at is None:
            return new
        old = of_unit(rows.old(f"blocks.{rows.layer}.attn.hook_z"), rows.unit, 1)
        positions = torch.arange(cone.start, cone.end, device=new.device)
        return torch.where((positions == rows.at[:, None])[..., None, None], new, old)


class InputSite(HeadSite):
    """`q`, `k` or `v` of heads: attention is computed again with the new ones."""

    def group(self, cfg: ModelConfig) -> int:
        return 1 if self.name == "q" else cfg.heads_per_group

    def hooks(self, cfg: ModelConfig, layer: int) -> tuple[str, ...]:
        return (*super().hooks(cfg, layer), *_qkv_hooks(cfg, layer))

    def new_z(self, rows: Rows) -> Float[Tensor, "row window group d_head"]:
        cfg, cone = rows.base.model.cfg, rows.cone
        hooks = dict(zip("qkv", _qkv_hooks(cfg, rows.layer), strict=True))
        # Turned queries and keys are replaced after the rotation: the position is the same.
        part = {
            name: rows.new(hook) if name == self.name else rows.old(hook)
            for name, hook in hooks.items()
        }
        before = zip("kv", rows.base.keys_and_values(rows.layer), strict=True)
        for name, values in before:
            prefix = values[cone.prompts, : cone.start]
            part[name] = torch.cat([prefix, part[name]], dim=1)
        group = self.group(cfg)
        kv_unit = rows.unit // (cfg.heads_per_group // group)
        q = of_unit(part["q"], rows.unit, group).transpose(1, 2)  # [row, group, window, d_head]
        k, v = (of_unit(part[name], kv_unit, 1).transpose(1, 2) for name in "kv")
        mask = cone.window.mask
        z = F.scaled_dot_product_attention(
            q, k.expand(-1, group, -1, -1), v.expand(-1, group, -1, -1),
            attn_mask=mask, scale=1 / cfg.scale,
        )  # fmt: skip
        return z.transpose(1, 2)


def _qkv_hooks(cfg: ModelConfig, layer: int) -> tuple[str, str, str]:
    k, v = key_value_hooks(cfg, layer)
    return k.removesuffix("k") + "q", k, v


def of_unit(
    values: Float[Tensor, "row pos head d"], unit: Int[Tensor, " row"], group: int
) -> Float[Tensor, "row pos group d"]:
    """The heads of each row's unit."""
    heads = unit[:, None] * group + torch.arange(group, device=unit.device)  # [row, group]
    index = heads[:, None, :, None].expand(-1, values.shape[1], -1, values.shape[-1])
    return values.gather(2, index)


SITES: dict[str, Site] = {
    site.name: site
    for site in (
        StreamSite("resid_pre"),
        StreamSite("resid_mid"),
        StreamSite("resid_post"),
        StreamSite("attn_out"),
        StreamSite("mlp_out"),
        OutputSite("z"),
        OutputSite("result"),
        InputSite("q"),
        InputSite("k"),
        InputSite("v"),
        PatternSite("pattern"),
        PatternSite("attn_scores"),
    )
}


def get_site(name: str, cfg: ModelConfig) -> Site:
    """The site of that name.

    Raises:
        ValueError: no such site, or this kind of model does not have it.
    """
    if name not in SITES:
        raise ValueError(f"there is no site {name!r}; sites are {', '.join(SITES)}.")
    reason = SITES[name].missing_in(cfg)
    if reason is not None:
        raise ValueError(f"{cfg.model_name} has no {name}: {reason}.")
    return SITES[name]
