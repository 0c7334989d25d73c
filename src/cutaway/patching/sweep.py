"""`sweep`: the same intervention at every layer, head and position, exactly, one at a time."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..model.transformer import HookedTransformer
from ..tasks.task import Task
from .cone import Cone
from .effects import Effects, Mode
from .measure import POSITIONS_AT_FULL_RATE, Batch, Measurement, Progress, TellMemory
from .precision import MeasuredError, Precision
from .site import Rows, Site
from .sites import check_layers, get_site
from .targets import Positions, Targets, axes_of, choose_targets, windows
from .values import Value, as_value


@torch.no_grad()
def sweep(
    model: HookedTransformer,
    task: Task,
    site: str | Site,
    value: str | Value = "patch",
    *,
    positions: Positions = None,
    keys: Positions = None,
    mode: Mode = "denoising",
    layers: int | Sequence[int] | None = None,
    neurons_per_group: int = 1,
    precision: Precision = "float32",
    max_memory: int | None = None,
    progress: Progress | None = None,
    tell_memory: TellMemory | None = None,
) -> Effects:
    """Replace one value at a time, and measure the task's metric.

    The result is exact: what a loop of full runs with hooks gives, up to rounding. It does not
    depend on `max_memory`, nor on the order of prompts unless they are drawn for ("resample").

    Args:
        model: without hooks attached.
        task: pairs of clean and corrupted prompts, and the metric.
        site: "resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out" (over layers and
            positions); "embed", "pos_embed" (over positions); a part of heads: "z", "result",
            "q", "k", "v", "pattern", "attn_scores" (over layers and heads; k and v over
            key-value heads; a pattern's position is its query); "mlp_pre", "mlp_post" (over
            layers and neurons). Or a `Site` of one's own, such as `ca.sae.features(dictionary)`.
        value: what is put there: "patch" (the other run's value), "zero", "mean", "resample", or
            a `Value` such as `Add(vector)`, `Scale(0.5)`, `Remove(direction)`.
        positions: "all" replaces a value at all positions at once; "each" at every token index
            in turn; "named" at each of the task's named positions; or some of the names, or
            indices. None means "all" for heads and neurons and "named" for the rest ("each"
            without names).
        keys: of "pattern" and "attn_scores", which keys, in the same words; None means all at
            once.
        mode: "denoising" intervenes on the corrupted run; "noising" on the clean one.
        layers: which layers; None means all.
        neurons_per_group: how many neighbouring neurons are replaced together.
        precision: "bfloat16" is several times faster where the processor has it, and not exact:
            `settings["bfloat16_error"]` says how far one layer, drawn with a fixed seed, is from
            float32.
        max_memory: bytes that may be used; None means a quarter of what is free.
        progress: called with the share that is done, between 0 and 1.
        tell_memory: called before anything is run, with the bytes that will be held at most
            beside the weights.

    Returns:
        Effects with the axes layer (unless the site is an embedding), head or neuron (for parts
        of layers), position (unless "all") and key (unless all).

    Raises:
        ValueError: unknown site, value, layer or position; hooks attached; too little memory.

    Example:
        >>> heads = ca.sweep(model, task, "z")
        >>> stream = ca.sweep(model, task, "resid_pre", positions=["S2", "END"])
        >>> knocked_out = ca.sweep(model, task, "z", "mean", mode="noising")
    """
    chosen, put = get_site(site, model.cfg), as_value(value)
    chosen.check(model.cfg, put, one_by_one=True)
    layers = check_layers(model.cfg, chosen, layers)
    group = _check_group(model, chosen, neurons_per_group)
    if positions is None and chosen.unit_axis(model.cfg) is not None:
        positions = "all"
    targets = choose_targets(task, positions)
    if keys is not None and "key" not in chosen.axes:
        raise ValueError(
            f"keys={keys!r} is for pattern and attn_scores; the site is {chosen.name}."
        )
    key_targets = None if keys is None else choose_targets(task, keys)
    hooks = [hook for layer in layers for hook in chosen.hooks(model.cfg, layer)]
    measurement = Measurement(
        model, task, mode, hooks, max_memory, 0, precision, tell_memory, sites=[chosen]
    )
    run = _Sweep(measurement, chosen, put, layers, group, targets, key_targets, progress)
    axes = axes_of(model.cfg, chosen, layers, targets, key_targets, group)
    patched = measurement.corrected(run.run())
    settings = {
        **measurement.settings(),
        "value": put.name,
        "layers": layers,
        "positions": targets.kind if targets.labels is None else list(targets.labels),
        "keys": None if key_targets is None else list(key_targets.labels or ["all"]),
    }
    if precision == "bfloat16":
        sample = random.Random(0).randrange(len(layers))
        exact = Measurement(model, task, mode, hooks, max_memory, sites=[chosen])
        again = _Sweep(exact, chosen, put, [layers[sample]], group, targets, key_targets, None)
        of_layer = exact.corrected(again.run())[0]
        settings |= MeasuredError.of(patched[sample], of_layer).settings()
    return Effects(
        site=chosen.name,
        axes=axes,
        patched=patched.reshape(*(len(axis.labels) for axis in axes), len(task)),
        settings=settings,
        **measurement.results(),
    )


def _check_group(model: HookedTransformer, site: Site, n: int) -> int:
    if n == 1:
        return 1
    if site.unit_axis(model.cfg) != "neuron":
        raise ValueError(f"neurons_per_group={n} is for mlp_pre and mlp_post, not {site.name}.")
    if n < 1 or site.units(model.cfg) % n:
        raise ValueError(
            f"neurons_per_group={n} does not divide the {site.units(model.cfg)} neurons of a layer."
        )
    return n


@dataclass(frozen=True)
class _Pairs:
    """Prompts, each with an option of what is replaced, whose cones share a window."""

    start: int
    """The first position that changes in any of them."""
    option: Int[Tensor, " pair"]
    prompt: Int[Tensor, " pair"]
    since: Int[Tensor, " pair"]
    """The first position that changes in each."""


@dataclass(frozen=True)
class _Rows:
    """The same for single units."""

    start: int
    unit: Int[Tensor, " row"]
    option: Int[Tensor, " row"]
    prompt: Int[Tensor, " row"]


class _Sweep:
    """One call of `sweep`: prompts in batches, layers in turn, cones in chunks."""

    def __init__(
        self,
        measurement: Measurement,
        site: Site,
        value: Value,
        layers: list[int],
        neurons_per_group: int,
        targets: Targets,
        keys: Targets | None,
        progress: Progress | None,
    ) -> None:
        self.measurement, self.site, self.value = measurement, site, value
        self.layers, self.progress = layers, progress
        self.members = neurons_per_group
        self.n_units = site.units(measurement.model.cfg) // neurons_per_group
        n_prompts = len(measurement.task)
        n_keys = 1 if keys is None else len(keys)
        self.n_options = len(targets) * n_keys
        # Every position with every key: option = position * n_keys + key.
        self.at = _repeated(targets.index, n_keys, outer=False)
        self.key = None if keys is None else _repeated(keys.index, len(targets), outer=True)
        self.patched = torch.empty(
            len(layers), self.n_units, self.n_options, n_prompts, dtype=torch.float64
        )
        self._done, self._total = 0.0, float(n_prompts * sum(self._cost(at) for at in layers))

    def _cost(self, layer: int) -> float:
        return self.measurement.model.cfg.n_layers - layer + 0.5

    def run(self) -> Float[Tensor, "layer unit option prompt"]:
        """The metric under every intervention."""
        with self.measurement.arithmetic():
            for batch in self.measurement.batches():
                self._run_batch(batch)
        return self.patched

    def _run_batch(self, batch: Batch) -> None:
        pairs, value = self._pairs(batch), self._prepared(batch)
        for i, layer in enumerate(self.layers):
            into = self.patched[i, :, :, batch.prompts]
            into.copy_(batch.base_metric)  # stands where nothing can change
            groups = list(self._rows(batch, layer, value, pairs))
            for n, rows in enumerate(groups):
                self._run_rows(batch, layer, value, rows, into)
                self._report(layer, batch, (n + 1) / len(groups))
            self._done += self._cost(layer) * len(batch.base_metric)
            self._report(layer, batch, 0.0)

    def _report(self, layer: int, batch: Batch, share: float) -> None:
        if self.progress is not None:
            more = share * self._cost(layer) * len(batch.base_metric)
            self.progress((self._done + more) / self._total)

    def _prepared(self, batch: Batch) -> Value:
        hooks = [self.site.hook(batch.model.cfg, layer) for layer in self.layers]
        with self.measurement.attached():
            return self.value.prepare(self.measurement.preparation(batch, hooks))

    def _pairs(self, batch: Batch) -> list[_Pairs]:
        """What is replaced in which prompts, together where cones begin at about one position."""
        starts = torch.zeros(self.n_options, len(batch.base_metric), dtype=torch.long)
        never = torch.iinfo(torch.long).max
        for index in (self.at, self.key):  # nothing changes before the query, or before the key
            if index is not None:
                starts = torch.maximum(starts, index[:, batch.prompts])
        if self.value.after_difference:
            starts = torch.maximum(starts, batch.first_difference)
        if self.at is not None:  # ... and a query is replaced alone, if it is late enough
            at = self.at[:, batch.prompts]
            starts = torch.where(starts > at, never, at)
        option, prompt = (starts <= batch.last_read).nonzero(as_tuple=True)
        starts = starts[option, prompt]
        lengths = batch.last_read[prompt] + 1 - starts
        full = POSITIONS_AT_FULL_RATE.get(batch.model.device.type, 1024)
        cones = 1 if self.site.sparse else self.n_units  # of each pair
        return [
            _Pairs(start, option[of], prompt[of], starts[of])
            for start, of in windows(starts, lengths, full / cones)
        ]

    def _rows(self, batch: Batch, layer: int, value: Value, pairs: list[_Pairs]) -> Iterator[_Rows]:
        """What is run: every unit of every pair; of sparse sites only those that change."""
        if not self.site.sparse:
            for of in pairs:
                unit = torch.arange(self.n_units).repeat_interleave(len(of.prompt))
                option, prompt = of.option.repeat(self.n_units), of.prompt.repeat(self.n_units)
                yield _Rows(of.start, unit, option, prompt)
            return
        found = [self._changing(batch, layer, value, of) for of in pairs]
        if not found:
            return
        unit, option, prompt, starts = (torch.cat(part) for part in zip(*found, strict=True))
        lengths = batch.last_read[prompt] + 1 - starts
        full = POSITIONS_AT_FULL_RATE.get(batch.model.device.type, 1024)
        for start, rows in windows(starts, lengths, full):
            yield _Rows(start, unit[rows], option[rows], prompt[rows])

    def _changing(
        self, batch: Batch, layer: int, value: Value, of: _Pairs
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(unit, option, prompt, first change) of all that change before the last read."""
        everything = torch.zeros(len(of.prompt), 1, dtype=torch.long)
        found = []
        for cone, rows in batch.chunks(of.prompt, of.start):
            replaced = self._replaced(
                batch, cone, layer, everything[rows], value, of.option[rows], of.prompt[rows]
            )
            since = of.since[rows].to(cone.prompts.device)
            first = self.site.first_change(replaced, since).cpu()  # [pair, unit]
            pair, unit = (first <= batch.last_read[of.prompt[rows]][:, None]).nonzero(as_tuple=True)
            found.append((unit, of.option[rows][pair], of.prompt[rows][pair], first[pair, unit]))
        unit, option, prompt, starts = (torch.cat(part) for part in zip(*found, strict=True))
        return unit, option, prompt, starts

    def _replaced(
        self,
        batch: Batch,
        cone: Cone,
        layer: int,
        unit: Int[Tensor, "row member"],
        value: Value,
        option: Int[Tensor, " row"],
        prompt: Int[Tensor, " row"],
    ) -> Rows:
        device, of_task = cone.prompts.device, prompt + batch.prompts.start
        at, key = (
            None if index is None else index[option, of_task].to(device)
            for index in (self.at, self.key)
        )
        return Rows(cone, batch.source, layer, unit.to(device), value, at, key)

    def _run_rows(
        self,
        batch: Batch,
        layer: int,
        value: Value,
        rows: _Rows,
        into: Float[Tensor, "unit option prompt"],
    ) -> None:
        members = torch.arange(self.members)

        def change(cone: Cone, of: slice) -> Tensor:
            unit = rows.unit[of][:, None] * self.members + members
            replaced = self._replaced(
                batch, cone, layer, unit, value, rows.option[of], rows.prompt[of]
            )
            return self.site.change(replaced)

        entry = self.site.entry(batch.model.cfg, layer)
        measured = batch.measure(rows.prompt, rows.start, entry, change)
        into[rows.unit, rows.option, rows.prompt] = measured


def _repeated(index: Tensor | None, n: int, outer: bool) -> Int[Tensor, "option prompt"] | None:
    if index is None:
        return None
    return index.repeat(n, 1) if outer else index.repeat_interleave(n, 0)
