"""Slow, obvious versions of attribution: full runs, one prompt and one place at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from cutaway.model.cache import get_act_name
from cutaway.model.transformer import HookedTransformer
from cutaway.patching.graph import Graph, Receiver, Sender
from cutaway.tasks.task import Task

Hooks = list[tuple[str, Callable[..., Any]]]


def pairs(task: Task, mode: str, prompt: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(base, source) tokens of one prompt: [1, pos]."""
    clean, corrupted = task.clean[[prompt]], task.corrupted[[prompt]]
    return (corrupted, clean) if mode == "denoising" else (clean, corrupted)


def run(
    model: HookedTransformer, task: Task, prompt: int, tokens: torch.Tensor, keep: Sequence[str],
    hooks: Hooks = [],  # noqa: B006
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:  # fmt: skip
    """Live values of one full run, and the metric of its one prompt."""
    values: dict[str, torch.Tensor] = {}

    def save(value: torch.Tensor, hook: Any) -> None:
        values[hook.name] = value

    with torch.enable_grad():
        logits = model.run_with_hooks(
            tokens, fwd_hooks=[*hooks, *((name, save) for name in dict.fromkeys(keep))]
        )
        metric = task.metric.subset(torch.tensor([prompt]))
        return values, metric(metric.read(logits))


def moved_input(
    model: HookedTransformer, base: torch.Tensor, source: torch.Tensor, share: float
) -> Hooks:
    """The hook that puts the token embeddings between those of two prompts."""
    mixed = (1 - share) * model.embed.W_E[base] + share * model.embed.W_E[source]
    return [("hook_embed", lambda value, hook: mixed)]


def node_hook(model: HookedTransformer, site: str, layer: int) -> str:
    rotary = model.cfg.positional_embedding_type == "rotary"
    return get_act_name(f"rot_{site}" if rotary and site in ("q", "k") else site, layer)


def attribute_by_hand(
    model: HookedTransformer,
    task: Task,
    site: str,
    layer: int,
    mode: str,
    shares: Sequence[float] = (0.0,),
) -> np.ndarray:
    """(source - base) * mean gradient at one site of one layer: [unit, pos, prompt]."""
    name, found = node_hook(model, site, layer), []
    for prompt in range(len(task)):
        base, source = pairs(task, mode, prompt)
        old = run(model, task, prompt, base, [name])[0][name]
        new = run(model, task, prompt, source, [name])[0][name]
        gradient = torch.zeros_like(old)
        for share in shares:
            hooks = moved_input(model, base, source, share)
            values, metric = run(model, task, prompt, base, [name], hooks)
            (one,) = torch.autograd.grad(
                metric.sum(), values[name], allow_unused=True, materialize_grads=True
            )
            gradient = gradient + one / len(shares)
        product = torch.where(old == -torch.inf, 0.0, (new - old) * gradient)[0].detach()
        if site in ("pattern", "attn_scores"):
            product = product.sum(-1)  # [unit, pos]
        elif site in ("mlp_pre", "mlp_post"):
            product = product.T
        else:
            product = product.sum(-1)  # [pos], or [pos, unit]
            product = product[None] if product.ndim == 1 else product.T
        found.append(product)
    return torch.stack(found, dim=-1).numpy()


def written(values: dict[str, torch.Tensor], sender: Sender) -> torch.Tensor:
    """What a sender adds to the stream: [pos, d_model]."""
    if sender.kind == "embed":
        return values["blocks.0.hook_resid_pre"][0]
    if sender.kind == "head":
        return values[f"blocks.{sender.layer}.attn.hook_result"][0, :, sender.head]
    return values[f"blocks.{sender.layer}.hook_mlp_out"][0]


def read_at(model: HookedTransformer, receiver: Receiver) -> str:
    """The hook where a receiver's own copy of the stream passes."""
    if receiver.kind == "logits":
        return f"blocks.{model.cfg.n_layers - 1}.hook_resid_post"
    part = "hook_mlp_in" if receiver.kind == "mlp" else f"hook_{receiver.kind}_input"
    return f"blocks.{receiver.layer}.{part}"


def written_at(sender: Sender) -> str:
    """The hook where a sender's output passes, with that of its whole component."""
    if sender.kind == "embed":
        return "hook_embed"
    return f"blocks.{sender.layer}.hook_{'attn' if sender.kind == 'head' else 'mlp'}_out"


def attribute_edges_by_hand(
    model: HookedTransformer, task: Task, mode: str, method: str, shares: Sequence[float]
) -> np.ndarray:
    """Every edge's estimate, with one input for each head: [edge, prompt]."""
    graph, columns = Graph(model.cfg), []
    reads = [read_at(model, receiver) for receiver in graph.receivers]
    writes = [point for point in model.hook_dict if point.endswith(("hook_result", "_out"))]
    writes = [*(w for w in writes if w.startswith("blocks")), "blocks.0.hook_resid_pre"]
    for prompt in range(len(task)):
        base, source = pairs(task, mode, prompt)
        keep = [*writes, "hook_embed"]
        old, _ = run(model, task, prompt, base, keep)
        new, _ = run(model, task, prompt, source, keep)

        def gradients(hooks: Hooks) -> dict[str, torch.Tensor]:
            values, metric = run(model, task, prompt, base, reads, hooks)  # noqa: B023
            points = list(dict.fromkeys(reads))
            found = torch.autograd.grad(
                metric.sum(), [values[p] for p in points], allow_unused=True, materialize_grads=True
            )
            return dict(zip(points, found, strict=True))

        def averaged(at: str) -> dict[str, torch.Tensor]:
            total: dict[str, torch.Tensor] = {}
            for share in shares:
                moved = (1 - share) * old[at].detach() + share * new[at].detach()  # noqa: B023
                moved.requires_grad_()  # so that all that comes after it can be differentiated
                for name, one in gradients([(at, lambda v, hook, to=moved: to)]).items():
                    total[name] = total.get(name, 0) + one / len(shares)
            return total

        known = {"hook_embed": averaged("hook_embed")}
        column = []
        for sender, receiver in graph.edges:
            at = written_at(sender) if method == "eap-ig-activations" else "hook_embed"
            if at not in known:
                known[at] = averaged(at)
            gradient = known[at][read_at(model, receiver)][0]
            if receiver.kind in "qkv":
                gradient = gradient[:, receiver.head]
            change = written(new, sender) - written(old, sender)
            column.append(float((change * gradient).sum().detach()))
        columns.append(column)
    return np.array(columns).T
