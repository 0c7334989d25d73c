"""`sweep_edges`: every edge of the residual graph, patched by itself, exactly.

An edge leads from what writes to the stream to what reads from it. Patching one swaps the sender's
one contribution in the receiver's input, for the other run's, and computes all that follows; it is
path patching with everything else frozen, for one sender and one receiver. ACDC (Conmy et al. 2023)
begins with the same measurement, by a full run for each edge, and then goes on greedily.

Receivers of one layer share what is costly: the stream with each sender's contribution swapped is
normalised and projected once for all heads, and then each head's attention is computed anew.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from ..model.transformer import HookedTransformer
from ..tasks.task import Task
from .cone import Cone, Entry
from .effects import Axis, Effects, Mode
from .graph import Graph, Receiver, written_changes, written_hooks
from .head_sites import InputSite, head_inputs, qkv_hooks
from .measure import Batch, Measurement, Progress, TellMemory, Window
from .partial import PartialResult
from .precision import MeasuredError, Precision
from .site import Rows
from .sites import SITES
from .values import Patch

_N_SAMPLED = 6  # receivers whose edges are computed again to measure the error of bfloat16


@torch.no_grad()
def sweep_edges(
    model: HookedTransformer,
    task: Task,
    receivers: str | Sequence[str] | None = None,
    *,
    mode: Mode = "denoising",
    precision: Precision = "float32",
    max_memory: int | None = None,
    progress: Progress | None = None,
    tell_memory: TellMemory | None = None,
    resume: str | Path | None = None,
) -> Effects:
    """Patch every edge of the residual graph, one at a time, and measure the task's metric.

    Args:
        model: without hooks attached.
        task: prompt pairs and metric.
        receivers: only edges to these ("9.6.q", "mlp3", "logits"); None means all.
        mode: "denoising" patches clean values into the corrupted run; "noising" the reverse.
        precision: "bfloat16" is several times faster where the processor has it, and not exact:
            `settings["bfloat16_error"]` says how far the edges to some receivers, drawn
            with a fixed seed, are from float32.
        max_memory: bytes that may be used; None means a quarter of what is free.
        progress: called with the share of the work that is done, between 0 and 1.
        tell_memory: called before anything is run, with the bytes that will be held at most
            beside the weights.
        resume: a file that keeps what is done, so that the same call goes on after it was
            stopped; it is removed at the end.

    Returns:
        Effects with the axis "edge", labelled "5.5->9.6.q", in the order of `Graph.edges`.

    Raises:
        ValueError: a receiver that the model does not have; a `resume` file of another model,
            task, mode or choice of receivers.

    Example:
        >>> edges = ca.sweep_edges(model, task)
        >>> edges.top(5)
    """
    graph = Graph(model.cfg)
    wanted = graph.receivers
    if receivers is not None:
        names = [receivers] if isinstance(receivers, str) else receivers
        chosen = {graph.receiver(name) for name in names}
        wanted = tuple(receiver for receiver in graph.receivers if receiver in chosen)
        if not wanted:
            raise ValueError("the list of receivers is empty.")
    run = _Edges(model, task, graph, wanted, mode, precision, max_memory, progress, tell_memory)
    with PartialResult(resume, run.identity, run.patched) as saved:
        run.run(saved)
        patched = run.measurement.corrected(run.patched)
        settings = run.measurement.settings()
        if precision == "bfloat16":
            settings |= _error(model, task, graph, run, patched, max_memory).settings()
    labels = tuple(
        f"{sender.name}->{receiver.name}"
        for receiver in wanted
        for sender in graph.senders[: graph.n_upstream(receiver)]
    )
    return Effects(
        site="edges",
        axes=(Axis("edge", labels),),
        patched=patched,
        settings=settings,
        **run.measurement.results(),
    )


def _error(
    model: HookedTransformer,
    task: Task,
    graph: Graph,
    fast: _Edges,
    patched: NDArray[np.float64],
    max_memory: int | None,
) -> MeasuredError:
    """The edges to some receivers again, in float32."""
    wanted = fast.wanted
    sample = sorted(random.Random(0).sample(range(len(wanted)), min(_N_SAMPLED, len(wanted))))
    chosen = [wanted[i] for i in sample]
    run = _Edges(model, task, graph, chosen, fast.measurement.mode, "float32", max_memory)
    run.run()
    firsts = np.cumsum([0, *(graph.n_upstream(receiver) for receiver in wanted)])
    mine = np.concatenate([patched[firsts[i] : firsts[i + 1]] for i in sample])
    return MeasuredError.of(mine, run.measurement.corrected(run.patched))


@dataclass(frozen=True)
class _Unit:
    """Edges that are computed together: to the same kind of input of one layer."""

    receivers: tuple[Receiver, ...]
    n_senders: int
    first: int
    """The number of the first edge."""

    @property
    def n_edges(self) -> int:
        return len(self.receivers) * self.n_senders


class _Edges:
    """One call of `sweep_edges`."""

    def __init__(
        self,
        model: HookedTransformer,
        task: Task,
        graph: Graph,
        wanted: Sequence[Receiver],
        mode: Mode,
        precision: Precision,
        max_memory: int | None,
        progress: Progress | None = None,
        tell_memory: TellMemory | None = None,
    ) -> None:
        self.graph, self.progress = graph, progress
        hooks = [
            *written_hooks(model.cfg),
            *(
                hook
                for layer in range(model.cfg.n_layers)
                for hook in _attention_hooks(model, layer)
            ),
        ]
        held = len(graph.senders) * model.cfg.d_model
        self.measurement = Measurement(
            model, task, mode, hooks, max_memory, held, precision, tell_memory
        )
        self.model = self.measurement.model
        self.units = list(_units(graph, wanted))
        n_edges = sum(unit.n_edges for unit in self.units)
        self.patched = torch.full((n_edges, len(task)), torch.nan, dtype=torch.float64)
        self.task, self.wanted = task, wanted

    def identity(self) -> dict[str, Any]:
        """What the numbers depend on."""
        metric = self.task.metric
        kept = {field.name: getattr(metric, field.name) for field in dataclasses.fields(metric)}
        tokens = {"clean": self.task.clean, "corrupted": self.task.corrupted}
        return {
            "model": self.measurement.exact_model.digest,
            "padding": str(self.measurement.model.to_input(tokens["clean"], *[None] * 4)[1]),
            "mode": self.measurement.mode,
            "precision": self.measurement.precision,
            "metric": f"{type(metric).__module__}.{type(metric).__qualname__}",
            "receivers": [receiver.name for receiver in self.wanted],
            **{
                name: value.tolist() if isinstance(value, Tensor) else repr(value)
                for name, value in (kept | tokens).items()
            },
        }

    def run(self, saved: PartialResult | None = None) -> None:
        """Every unit that is not there yet, batch by batch."""
        costs = [self._cost(unit) for unit in self.units]
        total, done = sum(costs) * len(self.measurement.task), 0.0
        with self.measurement.arithmetic():
            for batch in self.measurement.batches():
                n = len(batch.base_metric)
                windows = list(batch.windows())
                for unit, cost in zip(self.units, costs, strict=True):
                    into = self.patched[unit.first : unit.first + unit.n_edges, batch.prompts]
                    if bool(into.isnan().any()):
                        self._run_unit(batch, unit, windows, into)
                        if saved is not None:
                            saved.save_now_and_then()
                    done += cost * n
                    if self.progress is not None:
                        self.progress(done / total)

    def _cost(self, unit: _Unit) -> float:
        entry = unit.receivers[0].entry(self.model.cfg)
        left = self.model.cfg.n_layers - entry.layer - 0.4 * (entry.stage == "mid")
        return unit.n_edges * (left + 0.1)

    def _run_unit(
        self,
        batch: Batch,
        unit: _Unit,
        windows: Sequence[Window],
        into: Float[Tensor, "edge prompt"],
    ) -> None:
        # A unit is written at once, so that work that is stopped leaves none half done.
        shape = (len(unit.receivers), unit.n_senders, len(batch.base_metric))
        found = batch.base_metric.expand(shape).clone()
        kind = unit.receivers[0].kind
        for window in windows:
            for senders in _in_parts(batch, unit, window):
                if kind in ("q", "k", "v"):
                    values = self._to_heads(batch, unit, window, senders)
                else:
                    values = self._to_stream(batch, unit.receivers[0], window, senders)
                found[:, senders.start : senders.stop, window.prompt] = values
        into.copy_(found.flatten(0, 1))

    def _to_stream(
        self, batch: Batch, receiver: Receiver, window: Window, senders: range
    ) -> Float[Tensor, "1 sender prompt"]:
        """Edges to an MLP, or to the logits: the receiver is computed with its input changed."""
        prompt = window.prompt.repeat(len(senders))
        entry = receiver.entry(self.model.cfg)
        changes = self._changes(batch, window, senders).flatten(0, 1)

        def change(cone: Cone, rows: slice) -> Tensor:
            if receiver.kind == "logits":
                return changes[rows]
            old, mlp_out = cone.stream(entry), self.model.blocks[receiver.layer].mlp_out
            answer: Tensor = mlp_out(old + changes[rows]) - mlp_out(old)
            return answer

        enters = entry if receiver.kind == "logits" else Entry(receiver.layer + 1)
        values = batch.measure(prompt, window.start, enters, change)
        return values.view(1, len(senders), len(window.prompt))

    def _to_heads(
        self, batch: Batch, unit: _Unit, window: Window, senders: range
    ) -> Float[Tensor, "receiver sender prompt"]:
        """Edges to the queries, keys or values of heads of one layer."""
        kind, layer = unit.receivers[0].kind, unit.receivers[0].layer
        n_pairs = len(senders) * len(window.prompt)
        heads = self._head_inputs(batch, unit, window, senders)  # [pair, window, head, d_head]
        pair = torch.arange(n_pairs).repeat(len(unit.receivers))
        prompt = window.prompt.repeat(len(senders))[pair]
        device = heads.device
        number = torch.tensor([receiver.head for receiver in unit.receivers], device=device)
        head = number.repeat_interleave(n_pairs)[:, None]
        pair_on_device = pair.to(device)
        site = SITES[kind]
        assert isinstance(site, InputSite)

        def change(cone: Cone, rows: slice) -> Tensor:
            replaced = _EdgeRows(
                cone,
                batch.source,
                layer,
                head[rows],
                Patch(),
                None,
                None,
                heads,
                pair_on_device[rows],
            )
            return site.change(replaced)

        entry = site.entry(self.model.cfg, layer)
        values = batch.measure(prompt, window.start, entry, change)
        return values.view(len(unit.receivers), len(senders), len(window.prompt))

    def _head_inputs(
        self, batch: Batch, unit: _Unit, window: Window, senders: range
    ) -> Float[Tensor, "pair window head d_head"]:
        """What all heads of a layer compute when each sender's contribution is swapped."""
        receiver = unit.receivers[0]
        block = self.model.blocks[receiver.layer]
        changes = self._changes(batch, window, senders).flatten(0, 1)  # [pair, window, d_model]
        parts = []
        prompt = window.prompt.repeat(len(senders))
        for cone, rows in batch.chunks(prompt, window.start):
            x = block.ln1(cone.stream(receiver.entry(self.model.cfg)) + changes[rows])
            parts.append(head_inputs(block.attn, receiver.kind, x, cone.window))
        return torch.cat(parts)

    def _changes(
        self, batch: Batch, window: Window, senders: range
    ) -> Float[Tensor, "sender prompt window d_model"]:
        chosen = self.graph.senders[senders.start : senders.stop]
        span = slice(window.start, window.end)
        changes = written_changes(chosen, batch.base, batch.source, span)
        return changes[:, window.prompt.to(changes.device)]


@dataclass(frozen=True)
class _EdgeRows(Rows):
    """Rows whose new values have been computed: one for each sender and prompt."""

    computed: Float[Tensor, "pair window head d_head"]
    pair: Int[Tensor, " row"]

    def new(self, hook: str, unit: Int[Tensor, "row member"] | None = None) -> Tensor:
        assert unit is not None
        return self.computed[self.pair, :, unit[:, 0]][:, :, None]


def _attention_hooks(model: HookedTransformer, layer: int) -> tuple[str, ...]:
    return tuple(qkv_hooks(model.cfg, layer).values())


def _units(graph: Graph, wanted: Sequence[Receiver]) -> Iterator[_Unit]:
    """Neighbours among the receivers that read the same way."""
    first, members = 0, []
    for i, receiver in enumerate(wanted):
        members.append(receiver)
        following = wanted[i + 1] if i + 1 < len(wanted) else None
        same = following is not None and (following.kind, following.layer) == (
            receiver.kind,
            receiver.layer,
        )
        if not same:
            unit = _Unit(tuple(members), graph.n_upstream(receiver), first)
            yield unit
            first, members = first + unit.n_edges, []


def _in_parts(batch: Batch, unit: _Unit, window: Window) -> Iterator[range]:
    """The senders, as many at a time as have room beside the runs."""
    cfg = batch.model.cfg
    width = cfg.d_model + cfg.n_heads * cfg.d_head
    numbers = len(window.prompt) * (window.end - window.start) * width
    size = torch.empty((), dtype=batch.model.dtype).element_size()
    n = max(1, batch.memory.bytes_allowed // 4 // (2 * numbers * size))
    for first in range(0, unit.n_senders, n):
        yield range(first, min(first + n, unit.n_senders))
