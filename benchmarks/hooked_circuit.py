"""A circuit alone, or one head patched, by full runs with hooks: what the engine is held to."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from common import Prompts
from cutaway.model.transformer import HookedTransformer
from cutaway.patching.graph import Graph


class HookedCircuit:
    """Runs of the clean prompts in which every reader's input is the corrupted run's, with what the
    circuit's senders change added over its edges; as loops over readers, one full run each."""

    def __init__(self, model: HookedTransformer, prompts: Prompts) -> None:
        self.model, self.prompts, self.graph = model, prompts, Graph(model.cfg)
        self.clean, self.corrupted = (
            model.run_with_cache(tokens)[1] for tokens in (prompts.clean, prompts.corrupted)
        )

    @torch.no_grad()
    def head(self, layer: int, head: int) -> float:
        """The mean metric of the corrupted prompts with one head's clean z."""
        hook_name = f"blocks.{layer}.attn.hook_z"

        def put(value: Tensor, hook: Any) -> Tensor:
            value = value.clone()
            value[:, :, head] = self.clean[hook_name][:, :, head]
            return value

        logits = self.model.run_with_hooks(self.prompts.corrupted, fwd_hooks=[(hook_name, put)])
        return float(self.prompts.difference(logits).mean())

    @torch.no_grad()
    def circuit(self, matrix: NDArray[np.bool_]) -> float:
        """The mean metric with a circuit run alone; matrix [receiver, sender]."""
        model, cfg = self.model, self.model.cfg
        weights = torch.from_numpy(matrix).to(model.device, model.dtype)
        number = {receiver: i for i, receiver in enumerate(self.graph.receivers)}
        kinds = {kind: [r for r in number if r.kind == kind] for kind in ("q", "k", "v")}
        changes: list[Tensor] = []  # of the senders so far, [batch, pos, d_model]

        def carried(rows: list[int]) -> Tensor:
            stacked = torch.stack(changes)  # [sender, batch, pos, d_model]
            return torch.einsum("rs,sbpd->bprd", weights[rows, : len(changes)], stacked)

        def on_embedding(value: Tensor, hook: Any) -> None:
            changes.append(value - self.corrupted["resid_pre", 0])

        hooks: list[tuple[str, Any]] = [("blocks.0.hook_resid_pre", on_embedding)]
        for layer in range(cfg.n_layers):
            for kind, receivers in kinds.items():
                rows = [number[r] for r in receivers if r.layer == layer]

                def on_input(
                    value: Tensor, hook: Any, rows: list[int] = rows, at: int = layer
                ) -> Tensor:
                    return self.corrupted["resid_pre", at][:, :, None] + carried(rows)

                hooks.append((f"blocks.{layer}.hook_{kind}_input", on_input))

            def on_z(value: Tensor, hook: Any, at: int = layer) -> None:
                z = value - self.corrupted["z", at]
                for head in range(cfg.n_heads):
                    changes.append(z[:, :, head] @ model.blocks[at].attn.W_O[head])

            def on_mlp_in(value: Tensor, hook: Any, at: int = layer) -> Tensor:
                row = [i for r, i in number.items() if (r.kind, r.layer) == ("mlp", at)]
                return self.corrupted["resid_mid", at] + carried(row)[:, :, 0]

            def on_mlp_out(value: Tensor, hook: Any, at: int = layer) -> None:
                changes.append(value - self.corrupted["mlp_out", at])

            hooks += [
                (f"blocks.{layer}.attn.hook_z", on_z),
                (f"blocks.{layer}.hook_mlp_in", on_mlp_in),
                (f"blocks.{layer}.hook_mlp_out", on_mlp_out),
            ]

        def on_last(value: Tensor, hook: Any) -> Tensor:
            return (
                self.corrupted["resid_post", cfg.n_layers - 1] + carried([len(number) - 1])[:, :, 0]
            )

        hooks.append((f"blocks.{cfg.n_layers - 1}.hook_resid_post", on_last))
        logits = model.run_with_hooks(self.prompts.clean, fwd_hooks=hooks)
        return float(self.prompts.difference(logits).mean())
