"""One edge at a time by full runs with hooks: what exact edge patching costs without an engine.

Cutaway's `HookedTransformer` and TransformerLens 3's have the same hook names, so that this
serves both.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from common import Prompts


class OneEdge:
    """Runs of the corrupted prompts in which one receiver sees one sender's clean output."""

    def __init__(self, model: Any, prompts: Prompts) -> None:
        self.model, self.prompts = model, prompts
        self.clean, self.corrupted = (
            self._written(tokens) for tokens in (prompts.clean, prompts.corrupted)
        )

    @torch.no_grad()
    def _written(self, tokens: Tensor) -> dict[str, Tensor]:
        names = ("hook_resid_pre", "attn.hook_z", "hook_mlp_out")
        _, cache = self.model.run_with_cache(tokens, names_filter=lambda n: n.endswith(names))
        return {name: cache[name] for name in cache}

    def _change(self, sender: str) -> Tensor:
        """What the sender writes in the clean run, less what it writes in the corrupted one."""

        def change(hook: str) -> Tensor:
            return self.clean[hook] - self.corrupted[hook]

        if sender == "embed":
            return change("blocks.0.hook_resid_pre")
        if sender.startswith("mlp"):
            return change(f"blocks.{sender.removeprefix('mlp')}.hook_mlp_out")
        layer, head = map(int, sender.split("."))
        z = change(f"blocks.{layer}.attn.hook_z")[:, :, head]
        return z @ self.model.blocks[layer].attn.W_O[head]

    @torch.no_grad()
    def metric(self, edge: str) -> float:
        """The mean metric with this edge patched."""
        sender, receiver = edge.split("->")
        change = self._change(sender)
        if receiver == "logits":
            hook_name = f"blocks.{self.model.cfg.n_layers - 1}.hook_resid_post"
            part: Any = slice(None)
        elif receiver.startswith("mlp"):
            hook_name = f"blocks.{receiver.removeprefix('mlp')}.hook_mlp_in"
            part = slice(None)
        else:
            layer, head, letter = receiver.split(".")
            hook_name = f"blocks.{layer}.hook_{letter}_input"
            part = (slice(None), slice(None), int(head))

        def add(value: Tensor, hook: Any) -> Tensor:
            value = value.clone()
            value[part] += change
            return value

        logits = self.model.run_with_hooks(self.prompts.corrupted, fwd_hooks=[(hook_name, add)])
        return float(self.prompts.difference(logits).mean())
