"""`intervene`: several interventions at once, in one run, at any layers; exactly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..model.config import ModelConfig
from ..model.transformer import HookedTransformer
from ..tasks.task import Task
from .cone import Cone, Entry
from .edits import Edit, Intervention, Replacement, merged
from .effects import Axis, Effects, Mode
from .measure import (
    POSITIONS_AT_FULL_RATE,
    Batch,
    Hook,
    Measurement,
    Progress,
    TellMemory,
    attachments,
)
from .memory import recorded_width
from .targets import windows
from .values import Value


def intervene(
    model: HookedTransformer,
    task: Task,
    interventions: Intervention | Sequence[Intervention] | Mapping[str, Sequence[Intervention]],
    *,
    mode: Mode = "denoising",
    max_memory: int | None = None,
    progress: Progress | None = None,
    tell_memory: TellMemory | None = None,
) -> Effects:
    """Run with all of these interventions at once, and measure the task's metric.

    Each acts on what stands there when the run comes by, so a later one sees what an earlier one
    has changed; several at one place act in their order. What no intervention can reach is taken
    from the base run.

    Args:
        model: without hooks attached.
        task: prompt pairs and metric.
        interventions: of one run; or of several runs, by a name for each.
        mode: "denoising" intervenes on the corrupted run; "noising" on the clean one.
        max_memory: bytes that may be used; None means a quarter of what is free.
        progress: called with the share that is done, between 0 and 1.
        tell_memory: called before anything is run, with the bytes that will be held at most
            beside the weights.

    Returns:
        Effects with the axis "intervention": one entry for each run.

    Raises:
        ValueError: unknown site, layer, unit, position or value; a vector that does not fit.

    Example:
        >>> knock = Intervention("z", 9, "mean", units=9)
        >>> ca.intervene(model, task, [knock, Intervention("mlp_out", 0, "freeze")])
        >>> ca.intervene(model, task, {"9.9": [knock], "both": [knock, other]}, mode="noising")
    """
    if isinstance(interventions, Intervention):
        interventions = [interventions]
    if not isinstance(interventions, Mapping):
        name = ", ".join(one.name for one in interventions) or "nothing"
        interventions = {name: interventions}
    if not interventions:
        raise ValueError("interventions is empty: give at least one run.")
    names = tuple(interventions)
    for name, run in interventions.items():
        if not isinstance(run, Sequence) or not all(isinstance(one, Intervention) for one in run):
            raise ValueError(f"the run {name!r} is not a list of interventions but {run!r}.")
    patched, measurement = run_cases(
        model, task, list(interventions.values()), mode, max_memory, progress, tell_memory
    )
    return Effects(
        site="interventions",
        axes=(Axis("intervention", names),),
        patched=patched.numpy(),
        settings={
            **measurement.settings(),
            "interventions": {
                name: [one.name for one in run] for name, run in interventions.items()
            },
        },
        **measurement.results(),
    )


@torch.no_grad()
def run_cases(
    model: HookedTransformer,
    task: Task,
    cases: Sequence[Sequence[Intervention]],
    mode: Mode,
    max_memory: int | None = None,
    progress: Progress | None = None,
    tell_memory: TellMemory | None = None,
) -> tuple[Float[Tensor, "case prompt"], Measurement]:
    """The metric of every prompt under every case's interventions (see `intervene`)."""
    shared: dict[Any, Value] = {}
    compiled = [merged([Edit.of(model.cfg, task, one, shared) for one in case]) for case in cases]
    hooks = [edit.hook for case in compiled for edit in case]
    sites = [edit.site for case in compiled for edit in case]
    held = _held_by_values(model.cfg, task, compiled)
    measurement = Measurement(
        model, task, mode, hooks, max_memory, held, tell_memory=tell_memory, sites=sites
    )
    patched = torch.empty(len(cases), len(task), dtype=torch.float64)
    done, total = 0, len(cases) * len(task)
    with measurement.arithmetic():
        for batch in measurement.batches():
            into = patched[:, batch.prompts]
            into.copy_(batch.base_metric)
            with measurement.attached():
                values = _prepared(measurement, batch, compiled)
                for case_of, prompt, start, layer in _groups(batch, compiled):
                    into[case_of, prompt] = _run_group(
                        batch, compiled, values, case_of, prompt, start, layer
                    )
                    done += len(case_of)
                    if progress is not None:
                        progress(done / total)
    if progress is not None:
        progress(1.0)
    return patched, measurement


def _held_by_values(cfg: ModelConfig, task: Task, cases: Sequence[Sequence[Edit]]) -> int:
    """Numbers per position that values hold for themselves, each for every hook it is put at."""
    edits = [edit for case in cases for edit in case if edit.value.holds_values]
    needed = attachments(edit.site for edit in edits)
    own = {hook: width for one in needed for hook, width in one.widths(cfg).items()}
    places, n_pos = {(id(edit.value), edit.hook) for edit in edits}, task.clean.shape[1]
    return sum(own.get(hook) or recorded_width(cfg, hook, n_pos) for _, hook in places)


def _prepared(
    measurement: Measurement, batch: Batch, cases: Sequence[Sequence[Edit]]
) -> dict[int, Value]:
    """Every value for these prompts, by the id of the value that was asked for."""
    hooks: dict[int, tuple[Value, dict[str, None]]] = {}
    for case in cases:
        for edit in case:
            hooks.setdefault(id(edit.value), (edit.value, {}))[1][edit.hook] = None
    return {
        key: value.prepare(measurement.preparation(batch, list(names)))
        for key, (value, names) in hooks.items()
    }


def _groups(batch: Batch, cases: Sequence[Sequence[Edit]]) -> list[tuple[Tensor, Tensor, int, int]]:
    """(cases, prompts, start, layer) of rows that begin at one layer and about one position."""
    rows: dict[int, list[tuple[Tensor, Tensor, Tensor]]] = {}
    for number, case in enumerate(cases):
        changing = [edit for edit in case if edit.value.changes]
        if not changing:
            continue
        start = torch.stack([edit.start(batch) for edit in changing]).amin(0)
        prompt = (start <= batch.last_read).nonzero().flatten()
        layer = min(edit.layer for edit in changing)
        found = (torch.full_like(prompt, number), prompt, start[prompt])
        rows.setdefault(layer, []).append(found)
    full = POSITIONS_AT_FULL_RATE.get(batch.model.device.type, 1024)
    groups = []
    for layer, of_layer in sorted(rows.items()):
        cases_of, prompts, starts = (torch.cat(part) for part in zip(*of_layer, strict=True))
        lengths = batch.last_read[prompts] + 1 - starts
        for first, of in windows(starts, lengths, full):
            groups.append((cases_of[of], prompts[of], first, layer))
    return groups


def _run_group(
    batch: Batch,
    cases: Sequence[Sequence[Edit]],
    values: dict[int, Value],
    case: Int[Tensor, " row"],
    prompt: Int[Tensor, " row"],
    start: int,
    layer: int,
) -> Float[Tensor, " row"]:
    steps: dict[str, list[Replacement]] = {}

    def change(cone: Cone, rows: slice) -> Tensor | None:
        steps.clear()
        for step in _row_steps(batch, cone, cases, values, case[rows], prompt[rows]):
            steps.setdefault(step.hook, []).append(step)
        return _embedding_change(batch, cone, steps)

    def hooks(cone: Cone, rows: slice) -> list[Hook]:
        return [(hook, step) for hook, of_hook in steps.items() for step in of_hook]

    return batch.measure(prompt, start, Entry(layer), change, hooks)


def _embedding_change(
    batch: Batch, cone: Cone, steps: dict[str, list[Replacement]]
) -> Float[Tensor, "row window d_model"] | None:
    """What edits of the embeddings add to the stream: a cone begins behind them."""
    change: Tensor | None = None
    for hook in ("hook_embed", "hook_pos_embed"):
        if hook not in steps:
            continue
        old = new = batch.base.values[hook][cone.prompts, cone.start : cone.end]
        for step in steps.pop(hook):
            new = step(new, hook=None)
        change = new - old if change is None else change + new - old
    return change


def _row_steps(
    batch: Batch,
    cone: Cone,
    cases: Sequence[Sequence[Edit]],
    values: dict[int, Value],
    case: Int[Tensor, " row"],
    prompt: Int[Tensor, " row"],
) -> list[Replacement]:
    """The edits of some rows, in the order in which each row's act at one hook."""
    of_task = prompt + batch.prompts.start
    steps: dict[tuple[str, int, int], list[tuple[Edit, Tensor]]] = {}
    for number in case.unique().tolist():
        rows = (case == number).nonzero().flatten()
        turn: dict[str, int] = {}
        for edit in cases[number]:
            turn[edit.hook] = turn.get(edit.hook, -1) + 1
            key = (edit.hook, turn[edit.hook], id(edit.value))
            steps.setdefault(key, []).append((edit, rows))
    return [
        Replacement(batch, cone, hook, values[key], edits, of_task)
        for (hook, _, key), edits in sorted(steps.items(), key=lambda item: item[0][:2])
    ]
