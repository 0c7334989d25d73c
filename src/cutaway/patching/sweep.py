"""`sweep`: the same intervention at every layer, head and position, exactly, one at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..model.transformer import HookedTransformer
from ..tasks.metric import Metric
from ..tasks.task import Task
from .cone import BaseRun, Cone, DivergedRun, RecordedRun
from .effects import Axis, Effects, Mode
from .memory import Workload, plan_memory
from .sites import Rows, Site, get_site

Positions = str | Sequence[str] | Sequence[int] | None
Progress = Callable[[float], None]

# Cones of different windows are merged until a batch has about this many positions, since smaller
# matrix products do not reach the machine's rate.
_POSITIONS_AT_FULL_RATE = {"cpu": 96, "cuda": 8192}


@torch.no_grad()
def sweep(
    model: HookedTransformer,
    task: Task,
    site: str,
    *,
    positions: Positions = None,
    mode: Mode = "denoising",
    layers: Sequence[int] | None = None,
    max_memory: int | None = None,
    progress: Progress | None = None,
) -> Effects:
    """Replace one value at a time by the other run's, and measure the task's metric.

    The result is exact: what a loop of full runs with hooks gives, up to rounding. It does not
    depend on `max_memory` or on the order of prompts.

    Args:
        model: without hooks attached.
        task: pairs of clean and corrupted prompts, and the metric.
        site: "resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out" (over layers and
            positions), or a part of heads: "z", "result", "q", "k", "v", "pattern", "attn_scores"
            (over layers and heads; k and v over key-value heads; a pattern's position is its
            query).
        positions: "all" replaces a value at all positions at once; "each" at every token index
            in turn; "named" at each of the task's named positions; or some of the names, or
            indices. None means "all" for heads and "named" for the rest ("each" without names).
        mode: "denoising" puts clean values into the corrupted run; "noising" the reverse.
        layers: which layers; None means all.
        max_memory: bytes that may be used; None means a quarter of what is free.
        progress: called with the share that is done, between 0 and 1.

    Returns:
        Effects with the axes layer, head (for parts of heads) and position (unless "all").

    Raises:
        ValueError: unknown site, layer or position; hooks attached; too little memory.

    Example:
        >>> heads = ca.sweep(model, task, "z")
        >>> stream = ca.sweep(model, task, "resid_pre", positions=["S2", "END"])
    """
    check_no_hooks(model)
    chosen = get_site(site, model.cfg)
    if mode not in ("denoising", "noising"):
        raise ValueError(f"mode={mode!r} is neither 'denoising' nor 'noising'.")
    layers = _check_layers(model, layers)
    unit_axis = chosen.unit_axis(model.cfg)
    if positions is None and unit_axis is not None:
        positions = "all"
    targets = choose_targets(task, positions)
    run = _Sweep(model, task, chosen, mode, layers, targets, max_memory, progress)
    patched, clean, corrupted = (values.numpy() for values in run.run())
    axes = [Axis("layer", tuple(str(layer) for layer in layers))]
    if unit_axis is not None:
        units = range(chosen.units(model.cfg))
        axes.append(Axis(unit_axis, tuple(str(unit) for unit in units)))
    if targets.labels is not None:
        axes.append(Axis("position", targets.labels))
    shape = (*(len(axis.labels) for axis in axes), len(task))
    settings = {"model": model.cfg.model_name, "task": task.name, "positions": targets.kind}
    return Effects(
        site=site,
        mode=mode,
        axes=tuple(axes),
        patched=patched.reshape(shape),
        clean=clean,
        corrupted=corrupted,
        metric=task.metric.name,
        settings={**settings, "task_settings": dict(task.settings)},
    )


def check_no_hooks(model: HookedTransformer) -> None:
    """Raise if hooks are attached: they would change some of the runs and not others."""
    active = [name for name, point in model.hook_dict.items() if point.active]
    if active:
        raise ValueError(
            f"hooks are attached to the model ({', '.join(active[:3])}): call "
            "model.reset_hooks(including_permanent=True) first."
        )


def _check_layers(model: HookedTransformer, layers: Sequence[int] | None) -> list[int]:
    n_layers = model.cfg.n_layers
    chosen = list(range(n_layers)) if layers is None else [int(layer) for layer in layers]
    for layer in chosen:
        if not 0 <= layer < n_layers:
            raise ValueError(
                f"there is no layer {layer} in {model.cfg.model_name}: its layers are 0 to "
                f"{n_layers - 1}."
            )
    if not chosen:
        raise ValueError("the list of layers is empty.")
    return chosen


@dataclass(frozen=True)
class Targets:
    """At which positions a value is replaced: one option after the other."""

    kind: str
    labels: tuple[str, ...] | None
    """One label for each option; None where all positions are replaced together."""
    index: Int[Tensor, "option prompt"] | None
    """Token index of each option in each prompt; None where all are replaced together."""


def choose_targets(task: Task, positions: Positions) -> Targets:
    """Resolve `positions` (see `sweep`) against a task.

    Raises:
        ValueError: a name that the task does not have, or an index outside the prompts.
    """
    if positions is None:
        positions = "named" if task.positions else "each"
    n_prompts, n_pos = task.clean.shape
    chosen: Sequence[str | int]
    if not isinstance(positions, str):
        chosen = list(positions)
    elif positions == "all":
        return Targets("all", None, None)
    elif positions == "each":
        chosen = range(n_pos)
    elif positions == "named" and not task.positions:
        raise ValueError(f"the task {task.name} has no named positions: use 'each' or 'all'.")
    else:
        chosen = list(task.positions) if positions == "named" else [positions]
    index = []
    for position in chosen:
        if isinstance(position, str):
            if position not in task.positions:
                known = ", ".join(task.positions) or "none"
                raise ValueError(
                    f"the task {task.name} has no position {position!r}; it names {known}, and "
                    "'all', 'each' and 'named' are understood."
                )
            index.append(task.positions[position].cpu())
        elif not 0 <= position < n_pos:
            raise ValueError(f"position {position} is outside the prompts' {n_pos} tokens.")
        else:
            index.append(torch.full((n_prompts,), int(position)))
    if not index:
        raise ValueError("the list of positions is empty.")
    return Targets("listed", tuple(str(p) for p in chosen), torch.stack(index))


def read_metric(
    model: HookedTransformer, metric: Metric, final: Float[Tensor, "row read d_model"]
) -> Float[Tensor, " row"]:
    """The metric of rows whose prompts are the metric's own, from the final residual stream.

    Only the logits that the metric asks for are computed.
    """
    x = model.ln_final(final)
    if metric.tokens is None:
        return metric(model.unembed(x))
    tokens = metric.tokens.to(x.device)  # [row, token]
    directions = model.W_U[:, tokens]  # [d_model, row, token]
    logits = torch.einsum("rqd,drt->rqt", x, directions) + model.b_U[tokens][:, None]
    return metric(logits)


class _Sweep:
    """One call of `sweep`: prompts in batches, layers in turn, cones in chunks."""

    def __init__(
        self,
        model: HookedTransformer,
        task: Task,
        site: Site,
        mode: Mode,
        layers: list[int],
        targets: Targets,
        max_memory: int | None,
        progress: Progress | None,
    ) -> None:
        self.model, self.task, self.site, self.mode = model, task, site, mode
        self.layers, self.targets, self.progress = layers, targets, progress
        self.n_units = site.units(model.cfg)
        n_prompts, n_pos = task.clean.shape
        n_logits = task.metric.positions.shape[1] * (
            model.cfg.d_vocab if task.metric.tokens is None else task.metric.tokens.shape[1]
        )
        work = Workload(n_prompts, n_pos, n_logits)
        self.memory = plan_memory(model.cfg, work, model.dtype, model.device, max_memory)
        n_options = 1 if targets.index is None else targets.index.shape[0]
        self.patched = torch.empty(len(layers), self.n_units, n_options, n_prompts)
        self.clean, self.corrupted = torch.empty(2, n_prompts)
        self._done, self._total = 0.0, float(n_prompts * sum(self._cost(at) for at in layers))

    def _cost(self, layer: int) -> float:
        return self.model.cfg.n_layers - layer + 0.5

    def run(self) -> tuple[Tensor, Tensor, Tensor]:
        """(patched [layer, unit, option, prompt], clean [prompt], corrupted [prompt])."""
        n_prompts = len(self.task)
        for first in range(0, n_prompts, self.memory.prompts_per_batch):
            self._run_prompts(slice(first, min(first + self.memory.prompts_per_batch, n_prompts)))
        return self.patched, self.clean, self.corrupted

    def _run_prompts(self, prompts: slice) -> None:
        task, model = self.task, self.model
        read = task.metric.positions[prompts]
        hooks = [hook for layer in self.layers for hook in self.site.hooks(model.cfg, layer)]
        into, out_of = task.corrupted[prompts], task.clean[prompts]
        if self.mode == "noising":
            into, out_of = out_of, into
        base = BaseRun(model, into, read, hooks)
        first = int(task.first_difference[prompts].min())
        # At least one token is run, also where no prompt differs from its partner.
        source = DivergedRun(base, out_of, min(first, out_of.shape[1] - 1), hooks)
        metric = task.metric.subset(torch.arange(prompts.start, prompts.stop))
        base_metric = read_metric(model, metric, base.final()).float().cpu()
        source_metric = read_metric(model, metric, source.final()).float().cpu()
        denoising = self.mode == "denoising"
        self.clean[prompts] = source_metric if denoising else base_metric
        self.corrupted[prompts] = base_metric if denoising else source_metric
        groups = self._groups(prompts)
        for i, layer in enumerate(self.layers):
            self.patched[i, :, :, prompts] = base_metric  # stands where nothing can change
            for group in groups:
                self._run_group(base, source, metric, layer, group, self.patched[i, :, :, prompts])
            self._done += self._cost(layer) * (prompts.stop - prompts.start)
            if self.progress is not None:
                self.progress(self._done / self._total)

    def _groups(self, prompts: slice) -> list[_Group]:
        """Pairs (option, prompt) whose cones begin at about the same position."""
        first = self.task.first_difference[prompts].cpu()
        if self.targets.index is None:
            starts = first[None]
        else:
            # Before the first difference both runs hold the same value: nothing is replaced.
            index = self.targets.index[:, prompts]
            starts = torch.where(index >= first, index, torch.iinfo(torch.long).max)
        last_read = self.task.metric.positions[prompts].cpu().amax(-1)  # [prompt]
        option, prompt = (starts <= last_read).nonzero(as_tuple=True)
        starts = starts[option, prompt]
        lengths = last_read[prompt] + 1 - starts
        full = _POSITIONS_AT_FULL_RATE.get(self.model.device.type, 1024) / self.n_units
        single = self.targets.index is not None
        return [
            _Group(start, option[of], prompt[of], starts[of] if single else None)
            for start, of in _grouped(starts, lengths, full)
        ]

    def _run_group(
        self,
        base: BaseRun,
        source: RecordedRun,
        metric: Metric,
        layer: int,
        group: _Group,
        into: Float[Tensor, "unit option prompt"],
    ) -> None:
        device = base.tokens.device
        n_pairs = len(group.prompt)
        end = int(base.read[group.prompt.to(device)].max()) + 1
        n_rows = self.memory.rows_per_chunk(end - group.start, end)
        unit = torch.arange(self.n_units).repeat_interleave(n_pairs)
        option, prompt = group.option.repeat(self.n_units), group.prompt.repeat(self.n_units)
        position = None if group.position is None else group.position.repeat(self.n_units)
        entry = self.site.entry(self.model.cfg, layer)
        for at in range(0, len(unit), n_rows):
            rows = slice(at, at + n_rows)
            cone = Cone(base, prompt[rows].to(device), group.start)
            at_position = None if position is None else position[rows].to(device)
            replaced = Rows(cone, source, layer, unit[rows].to(device), at_position)
            final = cone.propagate(entry, self.site.change(replaced))
            values = read_metric(self.model, metric.subset(prompt[rows]), final)
            into[unit[rows], option[rows], prompt[rows]] = values.float().cpu()


@dataclass(frozen=True)
class _Group:
    """Cones that share a window."""

    start: int
    option: Int[Tensor, " pair"]
    prompt: Int[Tensor, " pair"]
    position: Int[Tensor, " pair"] | None
    """The one position that is replaced; None where it is all of them."""


def _grouped(starts: Tensor, lengths: Tensor, full: float) -> Iterator[tuple[int, Tensor]]:
    """(start, members) of each group of cones, the earliest first.

    Cones that start at different positions are merged until a group has `full` positions.
    """
    members: list[Tensor] = []
    size = start = 0
    for value in starts.unique().tolist():
        here = (starts == value).nonzero().flatten()
        start = start if members else value
        members.append(here)
        size += int(lengths[here].sum())
        if size >= full:
            yield start, torch.cat(members)
            members, size = [], 0
    if members:
        yield start, torch.cat(members)
