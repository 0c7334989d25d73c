"""Circuits run alone, the slow and obvious way: every reader's input written out as a sum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from cutaway.model.transformer import HookedTransformer
from cutaway.patching.graph import Graph, Sender
from cutaway.tasks.task import Task
from oracles import reference_mean


def writes_of(model: HookedTransformer, tokens: torch.Tensor) -> dict[str, torch.Tensor]:
    """Sender -> what it writes, [prompt, pos, d_model]."""
    _, cache = model.run_with_cache(tokens)
    found = {"embed": cache["resid_pre", 0]}
    for layer, block in enumerate(model.blocks):
        for head in range(model.cfg.n_heads):
            found[f"{layer}.{head}"] = cache["z", layer][:, :, head] @ block.attn.W_O[head]
        if not model.cfg.attn_only:
            found[f"mlp{layer}"] = cache["mlp_out", layer]
    return found


def writes_outside(model: HookedTransformer, task: Task, outside: str) -> dict[str, torch.Tensor]:
    """What stands in for each sender outside the circuit."""
    corrupted = writes_of(model, task.corrupted)
    if outside == "patch":
        return corrupted
    if outside == "zero":
        return {name: torch.zeros_like(value) for name, value in corrupted.items()}
    assert outside == "mean"
    found = {"embed": reference_mean(model, task, task, "blocks.0.hook_resid_pre")}
    for layer, block in enumerate(model.blocks):
        z = reference_mean(model, task, task, f"blocks.{layer}.attn.hook_z")
        for head in range(model.cfg.n_heads):
            found[f"{layer}.{head}"] = z[:, :, head] @ block.attn.W_O[head]
        if not model.cfg.attn_only:
            hook = f"blocks.{layer}.hook_mlp_out"
            found[f"mlp{layer}"] = reference_mean(model, task, task, hook)
    return found


@torch.no_grad()
def circuit_by_hooks(
    model: HookedTransformer,
    task: Task,
    edges: set[str],
    outside: str,
    positions: Mapping[str, Sequence[str]] | None = None,
) -> torch.Tensor:
    """One full run of the clean prompts, in which hooks give every reader its own sum."""
    cfg, graph = model.cfg, Graph(model.cfg)
    replaced = writes_outside(model, task, outside)
    inside = {}
    for name in replaced:
        here = torch.ones(task.clean.shape, dtype=torch.bool)
        if positions and name in positions:
            here[:] = False
            for place in positions[name]:
                here[torch.arange(len(task)), task.positions[place]] = True
        inside[name] = here[..., None]
    written: dict[str, torch.Tensor] = {}
    biases = {layer: sum(b.attn.b_O for b in list(model.blocks)[:layer]) for layer in range(99)}

    def read(receiver: str, layer: int, senders: list[Sender]) -> torch.Tensor:
        total = torch.zeros_like(replaced["embed"]) + biases[layer]
        for sender in senders:
            name = sender.name
            mine = torch.where(inside[name], written[name], replaced[name])
            total = total + (mine if f"{name}->{receiver}" in edges else replaced[name])
        return total

    def upstream(receiver: str) -> list[Sender]:
        return list(graph.senders[: graph.n_upstream(graph.receiver(receiver))])

    hooks = []

    def on_embed(value, hook):
        written["embed"] = value.clone()

    hooks.append(("blocks.0.hook_resid_pre", on_embed))
    for layer in range(cfg.n_layers):
        for kind, n in (
            ("q", cfg.n_heads),
            ("k", cfg.n_key_value_heads),
            ("v", cfg.n_key_value_heads),
        ):

            def on_input(value, hook, layer=layer, kind=kind, n=n):
                names = [f"{layer}.{head}.{kind}" for head in range(n)]
                return torch.stack([read(name, layer, upstream(name)) for name in names], dim=2)

            hooks.append((f"blocks.{layer}.hook_{kind}_input", on_input))

        def on_z(value, hook, layer=layer):
            for head in range(cfg.n_heads):
                written[f"{layer}.{head}"] = value[:, :, head] @ model.blocks[layer].attn.W_O[head]

        hooks.append((f"blocks.{layer}.attn.hook_z", on_z))
        if not cfg.attn_only:

            def on_mlp_in(value, hook, layer=layer):
                n_biases = layer + (1 if cfg.has_resid_mid else 0)
                return read(f"mlp{layer}", n_biases, upstream(f"mlp{layer}"))

            def on_mlp(value, hook, layer=layer):
                written[f"mlp{layer}"] = value.clone()

            hooks.append((f"blocks.{layer}.hook_mlp_in", on_mlp_in))
            hooks.append((f"blocks.{layer}.hook_mlp_out", on_mlp))

    def on_last(value, hook):
        return read("logits", cfg.n_layers, upstream("logits"))

    hooks.append((f"blocks.{cfg.n_layers - 1}.hook_resid_post", on_last))
    logits = model.run_with_hooks(task.clean, fwd_hooks=hooks)
    return task.metric(task.metric.read(logits)).double()
