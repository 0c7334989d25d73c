"""Prompts made ready for circuits: both runs, what stands outside, what every sender changes."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..model.transformer import Block, HookedTransformer
from ..patching.cone import Entry
from ..patching.measure import Batch


class PreparedPrompts:
    """Some prompts: both runs, and what stands outside."""

    def __init__(
        self, batch: Batch, outside: dict[str, Tensor], start: Int[Tensor, " prompt"]
    ) -> None:
        self.batch, self.outside, self.start = batch, outside, start
        self.streams = self._streams(batch.model)
        self._changes: Tensor | None = None

    def _streams(
        self, model: HookedTransformer
    ) -> dict[Entry, Float[Tensor, "prompt pos d_model"]]:
        """The residual stream at every entry, if every sender writes what it writes outside."""
        cfg = model.cfg
        stream = self.outside[Entry(0).hook_name]
        found = {Entry(0): stream}
        for layer, block in enumerate(model.blocks):
            stream = stream + block.attn.output(self.outside[f"blocks.{layer}.attn.hook_z"])
            if not cfg.attn_only:
                found[Entry(layer, "mid")] = stream
                stream = stream + self.outside[f"blocks.{layer}.hook_mlp_out"]
            found[Entry(layer + 1)] = stream
        return found

    @torch.no_grad()
    def changes(self, model: HookedTransformer, n: int) -> Float[Tensor, "prompt sender pos d"]:
        """What the first n senders write in the clean run, less what they write outside."""
        embedding = self._change(Entry(0).hook_name)[:, None]
        if n == 1:
            return embedding
        if self._changes is None:
            parts = [embedding]
            for layer, block in enumerate(model.blocks):
                parts.append(head_results(self._change(f"blocks.{layer}.attn.hook_z"), block))
                if not model.cfg.attn_only:
                    parts.append(self._change(f"blocks.{layer}.hook_mlp_out")[:, None])
            self._changes = torch.cat(parts, dim=1)
        return self._changes[:, :n]

    def _change(self, hook: str) -> Tensor:
        return self.batch.base.values[hook] - self.outside[hook]


def head_results(
    z: Float[Tensor, "row pos head d_head"],
    block: Block,
    heads: Int[Tensor, " head"] | None = None,
) -> Float[Tensor, "row head pos d_model"]:
    """What each head writes; `heads` says which ones they are, where they are not all."""
    weight: Tensor = block.attn.W_O
    if heads is not None and len(heads) < len(weight):
        weight = weight[heads]
    return torch.einsum("bphe,hed->bhpd", z, weight)
