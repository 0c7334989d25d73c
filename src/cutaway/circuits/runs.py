"""Running circuits alone: inside, values as they follow; outside, what stands in for them.

Every reader of the residual stream gets its own input. Over an edge of the circuit comes what the
sender computes in this very run; over every other edge comes what the sender writes outside: in the
corrupted prompt, on average, or nothing. So the input of reader r is

    stream outside + sum over edges s -> r of the circuit of (s in this run - s outside)

which for all readers of a layer is one product of the matrix of edges with the senders' changes.
This is the intervention behind ACDC (Conmy et al. 2023), EAP (Syed et al. 2023) and MIB (Mueller et
al. 2025); node by node it is that of Wang et al. (2022).

Many circuits run in one batch: a row is a circuit on a prompt. Layers below which no row has left
an edge out are the clean run's and are not computed; nor are positions before the two prompts
differ, where what stands outside is the corrupted prompt.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..model.transformer import HookedTransformer
from ..patching.cone import Cone
from ..patching.graph import written_hooks
from ..patching.measure import (
    POSITIONS_AT_FULL_RATE,
    Batch,
    Measurement,
    Progress,
    TellMemory,
)
from ..patching.targets import position_index, windows
from ..patching.values import Place, Value, as_value
from ..tasks.task import Task
from .forward import CircuitPass, readers_of_layers
from .prepared import PreparedPrompts
from .wiring import Wiring

_ROWS_HELD = 4  # copies of the senders' changes that a row holds at its peak


class CircuitRuns:
    """One task on one model, on which circuits are run alone.

    Args:
        model: without hooks attached.
        task: prompt pairs and metric; the clean prompts are run.
        outside: what stands in outside the circuit: "patch" (the sender's output in the corrupted
            prompt of the pair), "zero", "mean" or "resample" (over the task's corrupted prompts of
            the same group), or a `Value` such as `Mean(reference)`.
        max_memory: bytes that may be used; None means a quarter of what is free.
        tell_memory: called with the bytes that will be held at most beside the weights.

    Raises:
        ValueError: hooks attached, an unknown value, too little memory.

    Example:
        >>> runs = CircuitRuns(model, task)
        >>> runs.measure([circuit.matrix]).mean(-1)
    """

    def __init__(
        self,
        model: HookedTransformer,
        task: Task,
        outside: str | Value = "patch",
        *,
        max_memory: int | None = None,
        tell_memory: TellMemory | None = None,
    ) -> None:
        self.model, self.task, self.value = model, task, as_value(outside)
        self.wiring = Wiring(model.cfg)
        n_senders, width = len(self.wiring.graph.senders), model.cfg.d_model
        # Held for each prompt: both runs' streams, and every sender's change.
        held = (n_senders + 2 * model.cfg.n_layers + 2) * width
        self.measurement = Measurement(
            model,
            task,
            "noising",
            written_hooks(model.cfg),
            max_memory,
            held,
            "float32",
            tell_memory,
        )
        self._kept: list[PreparedPrompts] = []
        self._readers = readers_of_layers(model.cfg)

    @property
    def clean(self) -> Float[Tensor, " prompt"]:
        """The metric of the whole model."""
        return self._metrics[0]

    @property
    def corrupted(self) -> Float[Tensor, " prompt"]:
        """The metric on the corrupted prompts."""
        return self._metrics[1]

    def empty(self) -> Float[Tensor, " prompt"]:
        """The metric with everything outside the circuit."""
        nothing = torch.zeros(1, *self.wiring.allowed.shape, dtype=torch.bool)
        return self.measure(nothing)[0]

    @torch.no_grad()
    def measure(
        self,
        circuits: Bool[Tensor, "circuit receiver sender"],
        positions: Mapping[str, Sequence[str]] | None = None,
        progress: Progress | None = None,
    ) -> Float[Tensor, "circuit prompt"]:
        """The metric of every prompt with each circuit run alone, in float64 on the CPU.

        Args:
            circuits: matrices of edges, as `Circuit.matrix`.
            positions: sender -> names of the positions at which its edges belong to the circuits.
            progress: called with the share that is done.
        """
        found = torch.empty(len(circuits), len(self.task), dtype=torch.float64)
        firsts = (
            self._first_layers(circuits)
            if positions is None
            else torch.zeros(len(circuits), dtype=torch.long)
        )
        inside = None if positions is None else self._inside(positions)
        done, total = 0, found.numel()
        for prompts in self.prompts():
            of_prompts = found[:, prompts.batch.prompts]
            of_prompts.copy_(prompts.batch.base_metric)
            for first in firsts[firsts <= self.model.cfg.n_layers].unique().tolist():
                circuit = (firsts == first).nonzero().flatten()
                for rows in self.rows(prompts, circuit, first):
                    masks = circuits[rows.circuit].to(self.model.device)
                    values = self.run_rows(prompts, rows, masks, inside)
                    of_prompts[rows.circuit, rows.prompt] = values
                    done += len(values)
                    if progress is not None:
                        progress(done / total)
        if progress is not None:
            progress(1.0)
        return found

    def prompts(self) -> Iterator[PreparedPrompts]:
        """The prompts in batches, each with both runs; a single batch is kept."""
        if self._kept:
            yield from self._kept
            return
        for batch in self.measurement.batches():
            prompts = self._prepared(batch)
            if len(self.measurement.slices()) == 1:
                self._kept = [prompts]
            yield prompts

    @cached_property
    def _metrics(self) -> tuple[Float[Tensor, " prompt"], Float[Tensor, " prompt"]]:
        for _ in self.prompts():  # afterwards the measurement has both
            pass
        return self.measurement.clean, self.measurement.corrupted

    @torch.no_grad()
    def _prepared(self, batch: Batch) -> PreparedPrompts:
        hooks = written_hooks(self.model.cfg)
        value = self.value.prepare(self.measurement.preparation(batch, hooks))
        outside = {}
        for hook in hooks:
            place = Place(hook, batch.base, batch.source, lambda values: values)
            outside[hook] = value(batch.base.values[hook], place)
        start = (
            batch.first_difference if self.value.after_difference else 0 * batch.first_difference
        )
        return PreparedPrompts(batch, outside, start)

    def _first_layers(
        self, circuits: Bool[Tensor, "circuit receiver sender"]
    ) -> Int[Tensor, " circuit"]:
        """The first layer whose readers miss an edge, for each circuit; below it all is clean.

        It is n_layers where only the logits do, and more where nothing is missing.
        """
        allowed = torch.from_numpy(self.wiring.allowed)
        whole = (circuits | ~allowed).all(-1)  # [circuit, receiver]
        layer = torch.tensor([receiver.layer for receiver in self.wiring.graph.receivers])
        return torch.where(whole, self.model.cfg.n_layers + 1, layer).amin(-1)

    def _inside(self, positions: Mapping[str, Sequence[str]]) -> Float[Tensor, "sender prompt pos"]:
        """1 where a sender belongs to the circuits, else 0."""
        graph, shape = self.wiring.graph, self.task.clean.shape
        inside = torch.ones(len(graph.senders), *shape)
        number = {sender.name: i for i, sender in enumerate(graph.senders)}
        for name, places in positions.items():
            graph.sender(name)
            index = torch.stack([position_index(self.task, place) for place in places])
            inside[number[name]] = torch.zeros(shape).scatter_(1, index.T, 1.0)
        return inside.to(self.model.device, self.model.dtype)

    def rows(
        self, prompts: PreparedPrompts, circuit: Int[Tensor, " circuit"], first: int
    ) -> Iterator[Rows]:
        """Every circuit on every prompt in which it can change something, as many as fit."""
        batch, n = prompts.batch, len(circuit)
        prompt = (prompts.start <= batch.last_read).nonzero().flatten()
        if not len(prompt):
            return
        starts = prompts.start[prompt]
        lengths = batch.last_read[prompt] + 1 - starts
        full = POSITIONS_AT_FULL_RATE.get(self.model.device.type, 1024) / n
        for start, members in windows(starts, lengths, full):
            of = prompt[members]
            both_circuit = circuit.repeat_interleave(len(of))
            both_prompt = of.repeat(n)
            end = int(batch.last_read[of].max()) + 1
            size = self._rows_at_once(batch, end - start, end)
            for at in range(0, len(both_prompt), size):
                rows = slice(at, at + size)
                yield Rows(both_circuit[rows], both_prompt[rows], start, first)

    def _rows_at_once(self, batch: Batch, n_window: int, n_keys: int) -> int:
        cfg, size = self.model.cfg, torch.empty((), dtype=self.model.dtype).element_size()
        n_inputs = 2 * cfg.n_heads + 2 * cfg.n_key_value_heads
        senders = len(self.wiring.graph.senders)
        per_row = n_window * cfg.d_model * (_ROWS_HELD * senders + 3 * n_inputs) * size
        by_memory = batch.memory.bytes_allowed // 2 // max(per_row, 1)
        return max(1, min(by_memory, batch.memory.rows_per_chunk(n_window, n_keys)))

    def run_rows(
        self,
        prompts: PreparedPrompts,
        rows: Rows,
        masks: Tensor,  # [row, receiver, sender], True or a weight for each edge
        inside: Float[Tensor, "sender prompt pos"] | None = None,
    ) -> Float[Tensor, " row"]:
        """The metric of each row, on the CPU. It keeps its gradient where `masks` has one."""
        batch, graph = prompts.batch, self.wiring.graph
        device = self.model.device
        prompt = rows.prompt.to(device)
        cone = Cone(batch.base, prompt, rows.start)
        window = slice(cone.start, cone.end)
        keep = None if inside is None else inside[:, rows.prompt + batch.prompts.start, window]
        n = graph.n_upstream(graph.receivers[self._readers[rows.first].q.start])
        run = CircuitPass(self.wiring, cone, prompts, masks.to(self.model.dtype), keep)
        final = run.propagate(self._readers, rows.first, prompts.changes(self.model, n))
        return batch.read(rows.prompt, cone.with_base_reads(final))


@dataclass(frozen=True)
class Rows:
    """Circuits on prompts that run together."""

    circuit: Int[Tensor, " row"]
    prompt: Int[Tensor, " row"]
    """Counted in the batch."""
    start: int
    """The first position that may differ from the clean run's prefix."""
    first: int
    """Layers below this one are the clean run's."""

    def only(self, chosen: Bool[Tensor, " row"]) -> Rows:
        """Some of the rows."""
        return Rows(self.circuit[chosen], self.prompt[chosen], self.start, self.first)
