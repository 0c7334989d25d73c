"""Sites that are parts of attention heads: what a head writes is computed anew from the part."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ..model.attention_context import AttentionContext
from ..model.config import ModelConfig
from ..model.transformer import Attention
from .cone import Entry, after_attention, key_value_hooks
from .site import Rows, Site
from .values import Place


@dataclass(frozen=True)
class HeadSite(Site):
    """A part of attention heads, from which their z follows.

    One unit is one head; for keys and values of grouped heads, one key-value head with all the
    query heads that read it.
    """

    axes = ("position", "unit", "d")

    def group(self, cfg: ModelConfig) -> int:
        """Query heads that share one unit."""
        return 1

    def unit_axis(self, cfg: ModelConfig) -> str | None:
        return "head" if self.group(cfg) == 1 else "key-value head"

    def units(self, cfg: ModelConfig) -> int:
        return cfg.n_heads // self.group(cfg)

    def width(self, cfg: ModelConfig) -> int:
        return cfg.d_head

    def hook(self, cfg: ModelConfig, layer: int) -> str:
        return f"blocks.{layer}.attn.hook_{self.name}"

    def hooks(self, cfg: ModelConfig, layer: int) -> tuple[str, ...]:
        return (z_hook(layer), self.hook(cfg, layer))

    def entry(self, cfg: ModelConfig, layer: int) -> Entry:
        return after_attention(cfg, layer)

    @abstractmethod
    def new_z(self, rows: Rows) -> Float[Tensor, "row window group d_head"]:
        """z of the unit's heads after the replacement."""

    def change(self, rows: Rows) -> Float[Tensor, "row window d_model"]:
        cfg, layer = rows.base.model.cfg, rows.layer
        group = self.group(cfg)
        old_z = rows.old(z_hook(layer), heads_of(rows.unit, group))
        difference = (self.new_z(rows) - old_z).flatten(-2)  # [row, window, group * d_head]
        weight = rows.base.model.blocks[layer].attn.W_O.reshape(
            self.units(cfg), group * cfg.d_head, cfg.d_model
        )
        # Rows of one unit stand together: one matrix product for each, instead of a weight a row.
        units, counts = rows.unit[:, 0].unique_consecutive(return_counts=True)
        parts = difference.split(counts.tolist())
        products = [part @ weight[unit] for part, unit in zip(parts, units.tolist(), strict=True)]
        return torch.cat(products)


class OutputSite(HeadSite):
    """`z`: what each head moved."""

    def hooks(self, cfg: ModelConfig, layer: int) -> tuple[str, ...]:
        return (z_hook(layer),)

    def new_z(self, rows: Rows) -> Float[Tensor, "row window 1 d_head"]:
        return rows.new(z_hook(rows.layer), rows.unit)


class ResultSite(OutputSite):
    """`result`: z W_O, what each head writes to the stream."""

    def width(self, cfg: ModelConfig) -> int:
        return cfg.d_model

    def hooks(self, cfg: ModelConfig, layer: int) -> tuple[str, ...]:
        return (self.hook(cfg, layer),)

    def change(self, rows: Rows) -> Float[Tensor, "row window d_model"]:
        hook = self.hook(rows.base.model.cfg, rows.layer)
        return (rows.new(hook, rows.unit) - rows.old(hook, rows.unit))[:, :, 0]


class PatternSite(HeadSite):
    """`pattern`, or `attn_scores` from which it follows: where each head looks, replaced for all
    keys of a query or for one. What the mask hides stays hidden."""

    axes = ("unit", "position", "key")

    def new_z(self, rows: Rows) -> Float[Tensor, "row window 1 d_head"]:
        cone = rows.cone
        old = self._cut(rows, rows.base.values[self.hook(rows.base.model.cfg, rows.layer)])
        hook = self.hook(rows.base.model.cfg, rows.layer)
        place = Place(hook, rows.base, rows.source, lambda values: self._cut(rows, values))
        pattern = rows.replaced(old, self._allowed(rows, old, rows.value(old, place)))
        if self.name == "attn_scores":
            pattern = pattern.softmax(-1)
        group = rows.base.model.cfg.heads_per_group
        _, values = rows.base.keys_and_values(rows.layer)
        keys = torch.arange(cone.end, device=cone.prompts.device)
        value = values[cone.prompts[:, None], keys, rows.unit // group]  # [row, key, d_head]
        return (pattern.to(value.dtype) @ value)[:, :, None]

    def _cut(self, rows: Rows, values: Tensor) -> Float[Tensor, "row window key"]:
        cone = rows.cone
        return values[cone.prompts, rows.unit[:, 0], cone.start : cone.end, : cone.end]

    def _allowed(self, rows: Rows, old: Tensor, new: Tensor) -> Tensor:
        """The new entries where the query sees the key, and where the key is the chosen one."""
        allowed = rows.cone.visible  # [#row, window, key]
        if rows.key is not None:
            keys = torch.arange(rows.cone.end, device=old.device)
            allowed = allowed & (keys == rows.key[:, None])[:, None, :]
        return torch.where(allowed, new, old)


class InputSite(HeadSite):
    """`q`, `k` or `v` of heads: attention is computed again with the new ones.

    Of rotary models, queries and keys are replaced after the rotation: the position is the same.
    """

    def group(self, cfg: ModelConfig) -> int:
        return 1 if self.name == "q" else cfg.heads_per_group

    def hook(self, cfg: ModelConfig, layer: int) -> str:
        return qkv_hooks(cfg, layer)[self.name]

    def hooks(self, cfg: ModelConfig, layer: int) -> tuple[str, ...]:
        return (z_hook(layer), *qkv_hooks(cfg, layer).values())

    def new_z(self, rows: Rows) -> Float[Tensor, "row window group d_head"]:
        cfg, cone = rows.base.model.cfg, rows.cone
        group = self.group(cfg)
        kv_unit = rows.unit // (cfg.heads_per_group // group)
        units = {"q": heads_of(rows.unit, group), "k": kv_unit, "v": kv_unit}
        part = {
            name: (rows.new if name == self.name else rows.old)(hook, units[name])
            for name, hook in qkv_hooks(cfg, rows.layer).items()
        }  # [row, window, group or 1, d_head]
        for name, values in zip("kv", rows.base.keys_and_values(rows.layer), strict=True):
            before = torch.arange(cone.start, device=values.device)
            prefix = values[cone.prompts[:, None], before, kv_unit][:, :, None]
            part[name] = torch.cat([prefix, part[name]], dim=1)
        q, k, v = (part[name].transpose(1, 2) for name in "qkv")  # [row, group or 1, pos, d_head]
        z = F.scaled_dot_product_attention(
            q, k.expand(-1, group, -1, -1), v.expand(-1, group, -1, -1),
            attn_mask=cone.window.mask, scale=1 / cfg.scale,
        )  # fmt: skip
        return z.transpose(1, 2)


def z_hook(layer: int) -> str:
    """Where z passes."""
    return f"blocks.{layer}.attn.hook_z"


def qkv_hooks(cfg: ModelConfig, layer: int) -> dict[str, str]:
    """Where queries, keys and values pass as attention uses them, by "q", "k" and "v"."""
    k, v = key_value_hooks(cfg, layer)
    return {"q": k.removesuffix("k") + "q", "k": k, "v": v}


def head_inputs(
    attn: Attention, kind: str, x: Float[Tensor, "row window d_model"], context: AttentionContext
) -> Float[Tensor, "row window head d_head"]:
    """What all heads make of the normalised stream x: queries ("q"), keys ("k") or values ("v"),
    as attention uses them."""
    if kind == "v":
        return attn.values(x)
    return attn.queries(x, context) if kind == "q" else attn.keys(x, context)


def heads_of(unit: Int[Tensor, "row 1"], group: int) -> Int[Tensor, "row group"]:
    """The query heads of each row's unit."""
    return unit * group + torch.arange(group, device=unit.device)
