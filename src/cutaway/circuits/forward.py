"""One forward pass of many circuits, layer by layer, in which every reader has its own input.

What nobody reads is not computed: heads and MLPs from which no edge of any row leads on to the
logits. And where all readers of a layer have the same edges in every row, as in circuits of whole
nodes, one stream serves them all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from ..model.attention_context import AttentionContext, rotate
from ..model.config import ModelConfig
from ..model.parts import flat_heads
from ..model.transformer import Attention, Block
from ..patching.cone import Cone, Entry, after_attention, take_positions
from .prepared import PreparedPrompts, head_results
from .wiring import Wiring

Index = NDArray[np.intp]


@dataclass(frozen=True)
class Readers:
    """Where the readers of one layer stand among all."""

    q: slice
    k: slice
    v: slice
    mlp: int | None


def readers_of_layers(cfg: ModelConfig) -> list[Readers]:
    """The readers of every layer, and one entry behind the last for the logits."""
    heads, kv = cfg.n_heads, cfg.n_key_value_heads
    size = heads + 2 * kv + (not cfg.attn_only)
    found = []
    for layer in range(cfg.n_layers + 1):
        at = layer * size
        q, k = slice(at, at + heads), slice(at + heads, at + heads + kv)
        v = slice(k.stop, k.stop + kv)
        found.append(Readers(q, k, v, None if cfg.attn_only else v.stop))
    return found


class CircuitPass:
    """The rows of one pass: a circuit on a prompt each.

    Args:
        wiring: of the model.
        cone: the rows' prompts, and the window of positions that is computed.
        prompts: the same prompts, with what stands outside.
        masks: each row's edges, 1 for those of its circuit, or a weight for each. Where it wants a
            gradient everything is computed, as every edge has one.
        inside: 1 where a sender belongs to the circuits, else 0; None where all do.
    """

    def __init__(
        self,
        wiring: Wiring,
        cone: Cone,
        prompts: PreparedPrompts,
        masks: Float[Tensor, "row receiver sender"],
        inside: Float[Tensor, "sender row pos"] | None,
    ) -> None:
        self.cfg, self.graph, self.cone, self.prompts = wiring.cfg, wiring.graph, cone, prompts
        self.model = prompts.batch.model
        self.learns = masks.requires_grad
        edges = wiring.allowed if self.learns else (masks != 0).any(0).cpu().numpy()
        self.read = wiring.read(edges)  # [receiver]: what is computed from it leads to the logits
        self.senders = np.flatnonzero((edges & self.read[:, None]).any(0))
        kept = torch.from_numpy(self.senders).to(masks.device)
        self.masks = masks[:, :, kept]
        self.inside = None if inside is None else inside[kept]
        self.at_reads = False
        # What the senders change, [row, sender, pos, d_model], of which the first n are known.
        self.changes = masks.new_empty(0)
        self.n = 0
        self._outside: dict[str | Entry, Tensor] = {}

    def propagate(
        self,
        readers: Sequence[Readers],
        first: int,
        changes: Float[Tensor, "prompt sender all d_model"],
    ) -> Float[Tensor, "row read d_model"]:
        """The stream that the metric reads.

        Args:
            readers: of every layer.
            first: layers below this one are the clean run's in every row.
            changes: what the senders below it write in the clean run, less what they write
                outside.
        """
        cone, blocks = self.cone, self.model.blocks
        known = torch.from_numpy(self.senders[self.senders < changes.shape[1]]).to(changes.device)
        window = slice(cone.start, cone.end)
        below = changes[cone.prompts[:, None], known[None], window]
        self.changes = below[:, :0]
        if not self.learns:
            shape = (len(below), len(self.senders), *below.shape[2:])
            self.changes = below.new_empty(shape)
        self._add(below)
        for layer in range(first, len(blocks)):
            self._block(layer, blocks[layer], readers[layer], layer == len(blocks) - 1)
        if not self.at_reads:  # all layers are clean: only what the logits read is chosen
            self._cut_to_reads()
        final: Tensor = self._inputs(Entry(len(blocks)), np.array([len(self.read) - 1]))[:, 0]
        return final

    def _block(self, layer: int, block: Block, readers: Readers, last: bool) -> None:
        before = self.n
        heads = self._written(layer, "head")
        if len(heads):
            self._heads(layer, block, readers, heads, last)
        elif last:
            self._cut_to_reads()
        if not len(self._written(layer, "mlp")):
            return
        assert readers.mlp is not None
        reads = after_attention(self.cfg, layer) if self.cfg.has_resid_mid else Entry(layer)
        n = self.n if self.cfg.has_resid_mid else before
        read = self._inputs(reads, np.array([readers.mlp]), n)[:, 0]
        outside = self._here(f"blocks.{layer}.hook_mlp_out")
        self._add((block.mlp_out(read) - outside)[:, None])

    def _written(self, layer: int, kind: str) -> Index:
        """The heads of a layer (or its MLP) that somebody reads."""
        found = [self.graph.senders[i] for i in self.senders]
        return np.array(
            [one.head for one in found if one.kind == kind and one.layer == layer], dtype=np.intp
        )

    def _heads(self, layer: int, block: Block, readers: Readers, heads: Index, last: bool) -> None:
        """Some heads of a layer. Of those that share keys and values all are computed."""
        cfg, attn, cone, entry = self.cfg, block.attn, self.cone, Entry(layer)
        size = cfg.heads_per_group
        groups = np.unique(heads // size)
        members = (groups[:, None] * size + np.arange(size)).ravel()
        # Nobody reads what the other members write, so they may ask as one that is read.
        asks = np.where(np.isin(members, heads), members, heads[0])
        q_rows, k_rows, v_rows = (
            where.start + which
            for where, which in ((readers.q, asks), (readers.k, groups), (readers.v, groups))
        )
        shared = self._one_stream(np.concatenate([q_rows, k_rows, v_rows]))
        x_k = self._normalized(block, entry, k_rows, shared)
        x_v = x_k if shared else self._normalized(block, entry, v_rows, shared)
        k = _rotated(attn, _projected(x_k, attn.W_K, attn.b_K, groups), cone.window)
        v = _projected(x_v, attn.W_V, attn.b_V, groups)
        if cone.start > 0:
            before = (x[cone.prompts, : cone.start] for x in cone.base.keys_and_values(layer))
            k, v = (
                torch.cat([_some(old, groups, axis=2), new], dim=1)
                for old, new in zip(before, (k, v), strict=True)
            )
        if last:
            self._cut_to_reads()
        if not shared:
            x_q = self._normalized(block, entry, q_rows, shared)
        else:
            x_q = take_positions(x_k, cone.read_in_window) if last else x_k
        context = cone.reading if self.at_reads else cone.window
        q = _rotated(attn, _projected(x_q, attn.W_Q, attn.b_Q, members), context)
        z = attn.mix(q, k, v, context.mask)
        z = _some(z, np.searchsorted(members, heads), axis=2)
        outside = self._here(f"blocks.{layer}.attn.hook_z").unflatten(-1, (cfg.n_heads, -1))
        self._add(head_results(z - _some(outside, heads, axis=2), block, _index(heads, z)))

    def _one_stream(self, rows: Index) -> bool:
        """Whether these readers have the same edges in every row."""
        if self.learns:
            return False
        masks = self.masks[:, _index(rows, self.masks), : self.n]
        return bool((masks == masks[:, :1]).all())

    def _normalized(self, block: Block, entry: Entry, rows: Index, shared: bool) -> Tensor:
        """What some heads read: [row, pos, head, d_model], or [row, pos, d_model] if it is one."""
        if shared:
            one: Tensor = block.ln1(self._inputs(entry, rows[:1])[:, 0])
            return one
        normalized: Tensor = block.ln1(self._inputs(entry, rows))
        return normalized.transpose(1, 2)

    def _inputs(self, entry: Entry, rows: Index, n: int | None = None) -> Tensor:
        """The stream as each of some readers has it: [row, reader, pos, d_model]."""
        n = self.n if n is None else n
        changes = self.changes[:, :n]
        masks = self.masks[:, _index(rows, self.masks), :n]
        stream = self._here(entry)
        carried = torch.baddbmm(stream.flatten(1)[:, None], masks, changes.flatten(2))
        inputs: Tensor = carried.unflatten(2, stream.shape[1:])
        return inputs

    def _here(self, place: str | Entry) -> Float[Tensor, "row pos d"]:
        """What stands outside at a hook, or the stream made of it at an entry: the rows' own, over
        the window or where the metric reads."""
        if place not in self._outside:
            cone = self.cone
            if isinstance(place, Entry):
                values = self.prompts.streams[place]
            else:
                values = self.prompts.outside[place].flatten(2)
            self._outside[place] = (
                take_positions(values[cone.prompts], cone.read_in_window + cone.start)
                if self.at_reads
                else values[cone.prompts, cone.start : cone.end]
            )
        return self._outside[place]

    def _add(self, changes: Float[Tensor, "row sender pos d"]) -> None:
        start, end = self.n, self.n + changes.shape[1]
        if self.inside is not None:
            kept = self.inside[start:end].transpose(0, 1)  # [row, sender, pos]
            changes = changes * kept[..., None]
        if self.learns:  # a gradient does not allow writing over what was read
            self.changes = torch.cat([self.changes, changes], dim=1)
        else:
            self.changes[:, start:end] = changes
        self.n = end

    def _cut_to_reads(self) -> None:
        """From here on only the positions that the metric reads."""
        index = self.cone.read_in_window  # [row, read]
        wide = index[:, None, :, None].expand(-1, self.changes.shape[1], -1, self.cfg.d_model)
        self.changes = self.changes.gather(2, wide)
        if self.inside is not None:
            self.inside = self.inside.gather(2, index.expand(len(self.inside), -1, -1))
        self.at_reads = True
        self._outside = {}


def _index(which: Index, like: Tensor) -> Int[Tensor, " chosen"]:
    return torch.from_numpy(which).to(like.device)


def _some(x: Tensor, which: Index, axis: int) -> Tensor:
    """Some entries of an axis; the same tensor where they are all."""
    if len(which) == x.shape[axis]:
        return x
    return x.index_select(axis, _index(which, x))


def _projected(x: Tensor, weight: Tensor, bias: Tensor, which: Index) -> Tensor:
    """x [row, pos, d_model], or one input for each head, to some heads: [row, pos, head, d_head].

    Without hooks, which nobody can have attached here.
    """
    weight, bias = _some(weight, which, 0), _some(bias, which, 0)
    if x.ndim == 4:
        return torch.einsum("bphd,hde->bphe", x, weight) + bias
    flat = flat_heads(weight)
    projected: Tensor = F.linear(x, flat.T, bias.flatten()).unflatten(-1, bias.shape)
    return projected


def _rotated(attn: Attention, x: Tensor, context: AttentionContext) -> Tensor:
    if context.cos is None or context.sin is None:
        return x
    return rotate(attn.cfg, x, context.cos, context.sin)
