"""`attribute_edges`: what gradients say of every edge of the residual graph, all at once.

An edge leads from what a sender writes to what a receiver reads. Patching one exactly means
running everything after the receiver anew, for each of the edges. Edge attribution patching
(Syed, Rager and Conmy 2023) takes the first order of it instead:

    (output of the sender in the source run - in the base run) . d metric / d input of the receiver

summed over positions, where the input is the residual stream before the receiver's norm. The
gradients come from one backward pass, and the edges into a layer are one matrix product for each
prompt.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..model.transformer import Block, HookedTransformer
from ..patching.effects import Axis, Effects, Mode
from ..patching.graph import Graph, written_hooks
from ..patching.measure import Progress, TellMemory
from ..tasks.task import Task
from .batches import Estimate, estimated_effects, run_bytes
from .gradients import Gradient, PairedRuns, Point, Run, Window, points_between

EdgeMethod = Literal["eap", "eap-ig-inputs", "eap-ig-activations", "clean-corrupted"]

_GRADIENT_OF: dict[str, Gradient] = {
    "eap": "base",
    "eap-ig-inputs": "integrated",
    "eap-ig-activations": "integrated",
    "clean-corrupted": "both-ends",
}


@torch.no_grad()
def attribute_edges(
    model: HookedTransformer,
    task: Task,
    *,
    mode: Mode = "denoising",
    method: EdgeMethod = "eap",
    steps: int = 5,
    max_memory: int | None = None,
    progress: Progress | None = None,
    tell_memory: TellMemory | None = None,
) -> Effects:
    """Estimate the effect of every edge between the parts of a model, by gradients.

    All methods estimate the same thing, what patching the edge alone would do in this `mode`,
    and differ in where gradients are taken:

    - "eap": in the base run (Syed, Rager and Conmy 2023).
    - "clean-corrupted": the mean of the base run's and the source run's.
    - "eap-ig-inputs": the mean over runs whose token embeddings lie between the two (Hanna,
      Pezzelle and Belinkov 2024).
    - "eap-ig-activations": for the edges of each component (the embedding; all heads of a layer;
      an MLP), the mean over base runs in which this component's output, and nothing else before
      it, lies between the two (the variant of the same authors' published code).

    "Between" is at (k + 1/2) / steps of the way, k = 0 ... steps - 1 (midpoint rule). The paper's
    sum takes k / steps, k = 1 ... steps, which leans to one of the runs; both have one limit.

    Args:
        model: without hooks attached.
        task: pairs of clean and corrupted prompts, and a metric that can be differentiated.
        mode: "denoising" has the corrupted run as base, and an edge carries the clean one's
            value; "noising" the reverse, as in the papers.
        method: where gradients are taken.
        steps: runs of the two integrated methods; the others do not look at it.
        max_memory: bytes that may be used; None means a quarter of what is free. It changes no
            result.
        progress: called with the share that is done, between 0 and 1.
        tell_memory: called before anything is run, with the bytes that will be held at most
            beside the weights.

    Returns:
        Effects with one axis, "edge", labelled and ordered as `Graph(model.cfg).edge_names`;
        `patched` is the base run's metric plus the estimate, in the metric's unit.
        `settings["predicted_bytes"]` is what was counted on at the peak.

    Raises:
        ValueError: unknown mode or method; hooks attached; a metric without gradient; too little
            memory for one prompt.

    Example:
        >>> edges = attribute_edges(model, task)
        >>> print(edges.top(3))
    """
    if method not in _GRADIENT_OF:
        known = ", ".join(map(repr, _GRADIENT_OF))
        raise ValueError(f"method={method!r} is unknown; it can be {known}.")
    points = points_between(_GRADIENT_OF[method], steps)
    estimator = _Edges(model, Graph(model.cfg), points, method == "eap-ig-activations")
    settings = {"method": method, "estimate": "attribution"}
    return estimated_effects(
        model,
        task,
        site="edges",
        axes=(Axis("edge", estimator.graph.edge_names),),
        mode=mode,
        per_prompt=run_bytes(model, task) + estimator.edge_bytes(task),
        max_memory=max_memory,
        progress=progress,
        tell_memory=tell_memory,
        estimate=estimator,
        settings={**settings, "steps": steps} if "ig" in method else settings,
    )


@dataclass(frozen=True)
class _Reader:
    """Receivers that read the stream at one place: a layer's attention, its MLP, or the logits."""

    hooks: tuple[str, ...]
    """Where their gradients are taken."""
    layer: int
    receivers: slice
    n_upstream: int
    """How many senders they read: the first ones of the graph."""


@dataclass(frozen=True)
class _Component:
    """Senders whose outputs move together: the embedding, the heads of a layer, or an MLP."""

    senders: slice
    layer: int
    hook: str
    """Where their sum passes."""


class _Edges:
    """Estimates of all edges of a graph.

    Args:
        model: without hooks attached.
        graph: of the model.
        points: where gradients are taken.
        by_component: move one component's output at a time, and not the input.
    """

    def __init__(
        self,
        model: HookedTransformer,
        graph: Graph,
        points: Sequence[Point],
        by_component: bool,
    ) -> None:
        self.model, self.graph, self.points = model, graph, points
        self.by_component = by_component
        self.streams = [f"blocks.{layer}.hook_resid_pre" for layer in range(model.cfg.n_layers)]

    @cached_property
    def readers(self) -> list[_Reader]:
        """In the order of the graph's receivers."""
        cfg, found, at = self.model.cfg, [], 0

        def add(layer: int, n: int, *hooks: str) -> None:
            nonlocal at
            n_upstream = self.graph.n_upstream(self.graph.receivers[at])
            found.append(_Reader(hooks, layer, slice(at, at + n), n_upstream))
            at += n

        for layer in range(cfg.n_layers):
            n_heads = cfg.n_heads + 2 * cfg.n_key_value_heads
            add(layer, n_heads, *(f"blocks.{layer}.attn.hook_{part}" for part in "qkv"))
            if not cfg.attn_only:
                add(layer, 1, f"blocks.{layer}.hook_mlp_in")
        add(cfg.n_layers, 1, f"blocks.{cfg.n_layers - 1}.hook_resid_post")
        return found

    @cached_property
    def components(self) -> list[_Component]:
        """In the order of the graph's senders."""
        cfg = self.model.cfg
        found, at = [_Component(slice(0, 1), 0, "hook_embed")], 1
        for layer in range(cfg.n_layers):
            heads = slice(at, at + cfg.n_heads)
            found.append(_Component(heads, layer, f"blocks.{layer}.hook_attn_out"))
            at += cfg.n_heads
            if not cfg.attn_only:
                mlp = slice(at, at + 1)
                found.append(_Component(mlp, layer, f"blocks.{layer}.hook_mlp_out"))
                at += 1
        return found

    def edge_bytes(self, task: Task) -> int:
        """Bytes of one prompt's changes, gradients and estimates, beside those of its run."""
        cfg, n_window = self.model.cfg, len(Window.of(task, slice(0, len(task))))
        width, kv = cfg.n_heads * cfg.d_head, cfg.n_key_value_heads * cfg.d_head
        n_senders, n_receivers = len(self.graph.senders), len(self.graph.receivers)
        written = cfg.n_layers * (width + cfg.d_model)  # of the source run, and of the base run
        gradients = cfg.n_layers * (width + 2 * kv + 2 * cfg.d_model)
        of_layer = 5 * (cfg.n_heads + 2 * cfg.n_key_value_heads) * cfg.d_model
        position = 2 * written + gradients + of_layer + (n_senders + 2 * cfg.n_heads) * cfg.d_model
        size = max(torch.empty((), dtype=self.model.dtype).element_size(), 4)
        return size * n_window * position + 3 * 8 * n_senders * n_receivers

    def __call__(self, pair: PairedRuns, report: Progress) -> Estimate:
        written = written_hooks(pair.model.cfg)
        source = pair.source(written)
        keep = [*written, *self.streams]
        if self.points[0].share == 0:
            base = pair.between(0.0, [*keep, *self._hooks(self.readers)])
        else:
            base = pair.base(keep)
        changes = self._changes(pair, base, source)
        shape = (len(changes), len(self.graph.senders), len(self.graph.receivers))
        estimates = changes.new_zeros(shape)
        moves = self._one_by_one if self.by_component else self._together
        n_runs = len(self.points) * (len(self.components) if self.by_component else 1)
        for i, (senders, weight, run) in enumerate(moves(pair, base, changes)):
            self._add(estimates, senders, weight, run, changes)
            report((i + 1) / n_runs)
        return Estimate(self._edges(estimates), base.metric.detach(), source.metric)

    def _together(
        self, pair: PairedRuns, base: Run, changes: Tensor
    ) -> Iterator[tuple[slice, float, Run]]:
        """Senders, weight and run, with all components moved as the input's move brings about."""
        keep = [*self.streams, *self._hooks(self.readers)]
        for point in self.points:
            run = base if point.share == 0 else pair.between(point.share, keep)
            yield slice(0, changes.shape[1]), point.weight, run

    def _one_by_one(
        self, pair: PairedRuns, base: Run, changes: Tensor
    ) -> Iterator[tuple[slice, float, Run]]:
        """Senders, weight and run, with only one component moved, in place."""
        for component in self.components:
            senders, layer = component.senders, component.layer
            keep = [*self.streams[layer:], *self._hooks(self._after(senders))]
            change = changes[:, senders].sum(1)
            first = None if component.hook == "hook_embed" else layer
            stream = None if first is None else base.values[self.streams[layer]]
            for point in self.points:
                moved = point.share * change
                yield senders, point.weight, pair.moved(component.hook, moved, keep, first, stream)

    def _after(self, senders: slice) -> list[_Reader]:
        """Who reads these senders."""
        return [reader for reader in self.readers if reader.n_upstream >= senders.stop]

    @staticmethod
    def _hooks(readers: Sequence[_Reader]) -> list[str]:
        return [hook for reader in readers for hook in reader.hooks]

    def _changes(
        self, pair: PairedRuns, base: Run, source: Run
    ) -> Float[Tensor, "prompt sender window d_model"]:
        """What each sender writes in the source run, less what it writes in the base run."""
        embed = pair.change("blocks.0.hook_resid_pre", base, source)
        n_prompts, n_window, d_model = embed.shape
        changes = embed.new_empty(n_prompts, len(self.graph.senders), n_window, d_model)
        changes[:, 0] = embed
        for component in self.components[1:]:
            if component.hook.endswith("mlp_out"):
                changes[:, component.senders.start] = pair.change(component.hook, base, source)
                continue
            attn = self.model.blocks[component.layer].attn
            z = pair.change(f"blocks.{component.layer}.attn.hook_z", base, source)
            changes[:, component.senders] = torch.einsum("pthe,hed->phtd", z, attn.W_O)
        return changes

    def _add(
        self,
        estimates: Float[Tensor, "prompt sender receiver"],
        senders: slice,
        weight: float,
        run: Run,
        changes: Float[Tensor, "prompt sender window d_model"],
    ) -> None:
        """Add the products of changes and one run's gradients."""
        readers = self._after(senders) if self.by_component else self.readers
        gradients = run.gradients(self._hooks(readers))
        for reader in readers:
            found = [gradients[hook] for hook in reader.hooks]
            if len(found) == 3:
                stream = run.values[self.streams[reader.layer]]
                into = head_input_gradients(self.model.blocks[reader.layer], stream, *found)
            else:
                into = found[0][None]  # [receiver, prompt, window, d_model]
            read = slice(senders.start, min(senders.stop, reader.n_upstream))
            change = changes[:, read].flatten(2)  # [prompt, sender, window * d_model]
            product = torch.bmm(change, into.flatten(2).permute(1, 2, 0))
            estimates[:, read, reader.receivers] += weight * product

    def _edges(self, estimates: Tensor) -> Float[Tensor, "edge prompt"]:
        """Those pairs of sender and receiver that are edges, in the graph's order."""
        n_senders = torch.tensor(
            [reader.n_upstream for reader in self.readers], device=estimates.device
        )
        counts = [reader.receivers.stop - reader.receivers.start for reader in self.readers]
        n_senders = n_senders.repeat_interleave(torch.tensor(counts, device=estimates.device))
        sender = torch.arange(estimates.shape[1], device=estimates.device)
        return estimates.permute(2, 1, 0)[sender < n_senders[:, None]]


def head_input_gradients(
    block: Block,
    stream: Float[Tensor, "prompt window d_model"],
    q: Float[Tensor, "prompt window head d_head"],
    k: Float[Tensor, "prompt window kv d_head"],
    v: Float[Tensor, "prompt window kv d_head"],
) -> Float[Tensor, "receiver prompt window d_model"]:
    """Gradients at each head's own query, key and value input, from those at q, k and v.

    A head's query is q = W_Q norm(x) + b, so the gradient at x is norm'(x)^T W_Q^T (gradient at
    q), and x is the same stream for all: the inputs need not be split by head in the run.

    Args:
        block: whose attention it is.
        stream: the residual stream that it reads.
        q: gradient at the queries, before the rotation.
        k: gradient at the keys, before the rotation.
        v: gradient at the values.
    """
    attn = block.attn
    parts = ((q, attn.W_Q), (k, attn.W_K), (v, attn.W_V))
    normed = torch.cat([torch.einsum("pthe,hde->hptd", part, W) for part, W in parts])
    if isinstance(block.ln1, nn.Identity):
        return normed
    with torch.enable_grad():
        x = stream.expand_as(normed).detach().requires_grad_()
        y = block.ln1(x)
    (found,) = torch.autograd.grad(y, x, normed)
    return found
