"""Measuring many interventions: prompts in batches, both runs of each, cones in chunks.

Sweeps, paths, edges and sets of interventions all come down to rows (an intervention on a prompt)
whose change enters the stream at one place, and this is where rows become numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from ..model.transformer import HookedTransformer
from ..tasks.metric import Metric
from ..tasks.task import Task
from .cone import BaseRun, Cone, DivergedRun, Entry, RecordedRun
from .effects import Mode
from .memory import MemoryPlan, Workload, plan_memory, recorded_width
from .precision import Precision, arithmetic, check_precision, in_bfloat16
from .site import Attachment, Site
from .values import Preparation

Progress = Callable[[float], None]
TellMemory = Callable[[int], None]
Hook = tuple[str, Callable[..., Tensor]]
Change = Callable[[Cone, slice], Float[Tensor, "row window d_model"] | None]

# Cones of different windows are merged until a batch has about this many positions, since smaller
# matrix products do not reach the machine's rate.
POSITIONS_AT_FULL_RATE = {"cpu": 96, "cuda": 8192}


def same_mask(a: Tensor | None, b: Tensor | None) -> bool:
    """Whether two runs are padded in the same places."""
    return a is b if a is None or b is None else torch.equal(a, b)


def read_metric(
    model: HookedTransformer, metric: Metric, final: Float[Tensor, "row read d_model"]
) -> Float[Tensor, " row"]:
    """The metric of rows whose prompts are the metric's own, from the final residual stream.

    Only the logits that the metric asks for are computed.

    Raises:
        ValueError: the metric does not give one number per row.
    """
    with torch.autocast(final.device.type, enabled=False):  # the answer itself is not rounded
        return _read_metric(model, metric, final.to(model.dtype))


def _read_metric(
    model: HookedTransformer, metric: Metric, final: Float[Tensor, "row read d_model"]
) -> Float[Tensor, " row"]:
    x = model.ln_final(final)
    if metric.tokens is None:
        values = metric(model.unembed(x))
    else:
        tokens = metric.tokens.to(x.device)  # [row, token]
        directions = model.W_U[:, tokens]  # [d_model, row, token]
        logits = torch.einsum("rqd,drt->rqt", x, directions) + model.b_U[tokens][:, None]
        values = metric(logits)
    shape = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
    if shape != (len(final),):
        raise ValueError(
            f"the metric {metric.name!r} gave {shape} for {len(final)} prompts: it must give a "
            "tensor with one number per prompt."
        )
    return values


def check_no_hooks(model: HookedTransformer) -> None:
    """Raise if hooks are attached: they would change some of the runs and not others."""
    active = [name for name, point in model.hook_dict.items() if point.active]
    if active:
        raise ValueError(
            f"hooks are attached to the model ({', '.join(active[:3])}): call "
            "model.reset_hooks(including_permanent=True) first."
        )


def check_mode(mode: str) -> None:
    """Raise if there is no such mode."""
    if mode not in ("denoising", "noising"):
        raise ValueError(f"mode={mode!r} is neither 'denoising' nor 'noising'.")


def check_metric(model: HookedTransformer, task: Task) -> None:
    """Raise if there is nothing to read, or if the metric reads where nothing is."""
    if len(task) == 0:
        raise ValueError(f"the task {task.name} has no prompts.")
    metric, n_pos = task.metric, task.clean.shape[1]
    given = [("position", metric.positions, n_pos, "the prompts have {n} tokens")]
    if metric.tokens is not None:
        given.append(("token", metric.tokens, model.cfg.d_vocab, "the model knows {n}"))
    for what, index, n, known in given:
        wrong = index[(index < 0) | (index >= n)]
        if len(wrong):
            raise ValueError(
                f"the metric {metric.name!r} reads {what} {int(wrong[0])}, but "
                f"{known.format(n=n)}, counted from 0."
            )


def attachments(sites: Iterable[Site]) -> list[Attachment]:
    """What sites need attached, each once."""
    needed = (site.attachment for site in sites)
    return list(dict.fromkeys(one for one in needed if one is not None))


@dataclass(frozen=True)
class Window:
    """Prompts of a batch whose cones span the same positions."""

    prompt: Int[Tensor, " prompt"]
    start: int
    """The first position at which the two runs differ."""
    end: int
    """One past the last position that the metric reads."""


@dataclass(frozen=True)
class Batch:
    """Some prompts of a task: the run that is intervened on, the other one, and the metric."""

    prompts: slice
    """Which prompts of the task."""
    base: BaseRun
    source: RecordedRun
    metric: Metric
    base_metric: Float[Tensor, " prompt"]
    first_difference: Int[Tensor, " prompt"]
    """The first position at which the two runs differ."""
    last_read: Int[Tensor, " prompt"]
    """The last position that the metric reads."""
    memory: MemoryPlan

    @property
    def model(self) -> HookedTransformer:
        """The model of both runs."""
        return self.base.model

    def windows(self) -> Iterator[Window]:
        """The prompts in which something can change, together where they have one window."""
        changes = self.last_read >= self.first_difference
        spans = torch.stack([self.first_difference, self.last_read + 1], dim=1)
        for start, end in spans[changes].unique(dim=0).tolist():
            here = changes & (spans == torch.tensor([start, end])).all(1)
            yield Window(here.nonzero().flatten(), start, end)

    def chunks(self, prompt: Int[Tensor, " row"], start: int) -> Iterator[tuple[Cone, slice]]:
        """Rows in as many cones as memory asks for."""
        device = self.base.tokens.device
        end = int(self.last_read[prompt].max()) + 1
        n_rows = self.memory.rows_per_chunk(end - start, end)
        for at in range(0, len(prompt), n_rows):
            rows = slice(at, at + n_rows)
            yield Cone(self.base, prompt[rows].to(device), start), rows

    def measure(
        self,
        prompt: Int[Tensor, " row"],
        start: int,
        entry: Entry,
        change: Change,
        hooks: Callable[[Cone, slice], Sequence[Hook]] | None = None,
    ) -> Float[Tensor, " row"]:
        """The metric of each row, on the CPU.

        Args:
            prompt: of each row, counted in this batch.
            start: the first position that changes in any row.
            entry: where the change enters.
            change: what a cone's rows add there; None adds nothing.
            hooks: what else is attached to the model while a cone's rows run.
        """
        values = torch.empty(len(prompt), dtype=torch.float64)
        for cone, rows in self.chunks(prompt, start):
            added = change(cone, rows)
            with self.model.hooks(() if hooks is None else hooks(cone, rows)):
                final = cone.propagate(entry, added)
            values[rows] = self.read(prompt[rows], final)
        return values

    def read(
        self, prompt: Int[Tensor, " row"], final: Float[Tensor, "row read d_model"]
    ) -> Float[Tensor, " row"]:
        """The metric of rows, from their final residual streams."""
        return read_metric(self.model, self.metric.subset(prompt), final).cpu().double()


class Measurement:
    """One task measured on one model in one direction: batches, and what both runs gave.

    Args:
        model: without hooks attached.
        task: prompt pairs and metric.
        mode: "denoising" intervenes on the corrupted run, "noising" on the clean one.
        hooks: what both runs record beside what cones need.
        max_memory: bytes; None means a quarter of what is free.
        extra_per_prompt: numbers held for each position of a prompt beside the runs.
        precision: of the products; see `precision.py`.
        tell_memory: called before anything is run, with the bytes that will be held at most
            beside the weights.
        sites: whose attachments are there while runs are recorded, if they have any.
    """

    def __init__(
        self,
        model: HookedTransformer,
        task: Task,
        mode: Mode,
        hooks: Sequence[str],
        max_memory: int | None = None,
        extra_per_prompt: int = 0,
        precision: Precision = "float32",
        tell_memory: TellMemory | None = None,
        sites: Sequence[Site] = (),
    ) -> None:
        check_no_hooks(model)
        check_mode(mode)
        check_precision(precision, model)
        check_metric(model, task)
        self.task, self.mode, self.precision = task, mode, precision
        self.exact_model = model
        self.model = in_bfloat16(model) if precision == "bfloat16" else model
        self.hooks = list(dict.fromkeys(hooks))
        self.attachments = attachments(sites)
        n_prompts, n_pos = task.clean.shape
        n_logits = task.metric.positions.shape[1] * (
            model.cfg.d_vocab if task.metric.tokens is None else task.metric.tokens.shape[1]
        )
        own = {hook: n for one in self.attachments for hook, n in one.widths(model.cfg).items()}
        recorded = sum(
            own.get(hook) or recorded_width(model.cfg, hook, n_pos) for hook in self.hooks
        )
        # In passing: the value itself, what is put in place, their difference, a mask.
        working = 4 * sum(own.values())
        work = Workload(n_prompts, n_pos, n_logits, recorded, extra_per_prompt, working)
        self.memory = plan_memory(model.cfg, work, model.dtype, model.device, max_memory)
        if tell_memory is not None:
            tell_memory(self.memory.predicted_peak)
        self.clean, self.corrupted, self._rounding = torch.zeros(3, n_prompts, dtype=torch.float64)

    def slices(self) -> list[slice]:
        """The prompts of each batch."""
        n, size = len(self.task), self.memory.prompts_per_batch
        return [slice(first, min(first + size, n)) for first in range(0, n, size)]

    def batches(self) -> Iterator[Batch]:
        """Every batch; afterwards `clean` and `corrupted` hold both runs' metric."""
        for prompts in self.slices():
            with self.attached():
                batch = self._batch(prompts)
            yield batch

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Inside, the model has the hook points that the sites need."""
        with ExitStack() as stack:
            for one in self.attachments:
                stack.enter_context(one.attached(self.model))
            yield

    def arithmetic(self) -> AbstractContextManager[None]:
        """Batches and cones run inside it, so that products have the chosen precision."""
        return arithmetic(self.precision, self.model.device)

    @torch.no_grad()
    def _batch(self, prompts: slice) -> Batch:
        task, model = self.task, self.model
        into, out_of = task.corrupted[prompts], task.clean[prompts]
        if self.mode == "noising":
            into, out_of = out_of, into
        read = task.metric.positions[prompts]
        first = task.first_difference[prompts].cpu()
        base = BaseRun(model, into, read, self.hooks)
        source: RecordedRun
        if same_mask(model.to_input(out_of, None, None, None, None)[1], base.mask):
            # At least one token is run, also where no prompt differs from its partner.
            start = min(int(first.min()), out_of.shape[1] - 1)
            source = DivergedRun(base, out_of, start, self.hooks)
        else:  # padded otherwise: nothing of the base run can be used
            source = RecordedRun(model, out_of, read, self.hooks)
        metric = task.metric.subset(torch.arange(prompts.start, prompts.stop))
        base_metric, source_metric = (
            read_metric(model, metric, run.final()).cpu().double() for run in (base, source)
        )
        ours, other = base_metric, source_metric
        if self.precision != "float32":
            ours, other = (self._exact_metric(tokens, read, metric) for tokens in (into, out_of))
            self._rounding[prompts] = base_metric - ours
        denoising = self.mode == "denoising"
        self.clean[prompts] = other if denoising else ours
        self.corrupted[prompts] = ours if denoising else other
        return Batch(
            prompts, base, source, metric, base_metric, first, read.cpu().amax(-1), self.memory
        )

    def _exact_metric(
        self, tokens: Int[Tensor, "prompt pos"], read: Int[Tensor, "prompt read"], metric: Metric
    ) -> Float[Tensor, " prompt"]:
        with torch.autocast(tokens.device.type, enabled=False):
            final = RecordedRun(self.exact_model, tokens, read, ()).final()
            return read_metric(self.exact_model, metric, final).cpu().double()

    def corrected(self, patched: Float[Tensor, "... prompt"]) -> NDArray[np.float64]:
        """Measured values, without the rounding error that they share with their base run."""
        values: NDArray[np.float64] = (patched - self._rounding).numpy()
        return values

    def preparation(self, batch: Batch, hooks: Sequence[str]) -> Preparation:
        """What values are told that will be put at some hooks in a batch."""
        at_once = self.memory.prompts_per_batch
        return Preparation(self.model, self.task, batch.prompts, hooks, at_once)

    def results(self) -> dict[str, Any]:
        """What every `Effects` of this measurement says of it."""
        task = self.task
        clean, corrupted = (values.numpy() for values in (self.clean, self.corrupted))
        found: dict[str, NDArray[np.float64] | str] = {"clean": clean, "corrupted": corrupted}
        return {**found, "mode": self.mode, "metric": task.metric.name}

    def settings(self) -> dict[str, Any]:
        """What made it: model, task; and the memory that was counted on."""
        return {
            "predicted_bytes": self.memory.predicted_peak,
            "model": self.model.cfg.model_name,
            "task": self.task.name,
            "task_settings": dict(self.task.settings),
        }
