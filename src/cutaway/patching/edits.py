"""Edits: interventions checked against a model and a task, and what does them in a cone's run."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from ..model.config import ModelConfig
from ..tasks.task import Task
from .cone import Cone
from .measure import Batch
from .site import Site
from .sites import SITES, get_site
from .targets import Positions, choose_targets
from .values import Place, Value, as_value

Units = int | Sequence[int] | None


@dataclass(frozen=True)
class Intervention:
    """One value replaced in a run.

    Example:
        >>> Intervention("z", 9, units=[6, 9])
        >>> Intervention("resid_post", 4, value=Add(direction), positions="END")
    """

    site: str | Site
    """As `sweep` names them: "z", "resid_pre", "mlp_post", ...; or a `Site`."""
    layer: int = 0
    """Which layer; of sites that belong to none, such as "embed", 0."""
    value: str | Value = "patch"
    """What is put there: see `cutaway.patching.values`."""
    units: Units = None
    """Heads (key-value heads for k and v) or neurons; None means all."""
    positions: Positions = None
    """Names of the task, or indices, all replaced together; None means all positions."""
    keys: Positions = None
    """Of patterns and scores: which keys; None means all."""

    @property
    def name(self) -> str:
        """As in "zero z 9.6 9.9 at END"."""
        units = [] if self.units is None else list(map(str, _listed(self.units)))
        site = SITES.get(self.site) if isinstance(self.site, str) else self.site
        where = units
        if site is None or site.has_layers():
            where = [f"{self.layer}.{unit}" for unit in units] or [str(self.layer)]
        at = [] if self.positions is None else ["at", *map(str, _listed(self.positions))]
        keys = [] if self.keys is None else ["from", *map(str, _listed(self.keys))]
        named = str(self.site) if site is None else site.name
        return " ".join([as_value(self.value).name, named, *where, *at, *keys])


@dataclass(frozen=True)
class Edit:
    """An intervention, checked and resolved against the model and the task."""

    site: Site
    layer: int
    """The first layer that has to be run for it."""
    hook: str
    value: Value
    units: Bool[Tensor, " unit"] | None
    """Which units are replaced; None for all."""
    at: Bool[Tensor, "prompt pos"] | None
    keys: Bool[Tensor, "prompt pos"] | None

    @classmethod
    def of(cls, cfg: ModelConfig, task: Task, one: Intervention, shared: dict[Any, Value]) -> Edit:
        """Raises ValueError for what the model or the task does not have."""
        site = get_site(one.site, cfg)
        if not isinstance(one.layer, int):
            raise ValueError(f"layer={one.layer!r} is not a whole number.")
        if not 0 <= one.layer < (cfg.n_layers if site.has_layers() else 1):
            raise ValueError(
                f"there is no layer {one.layer} for {one.name!r}: {cfg.model_name} has "
                f"{cfg.n_layers} layers."
            )
        if one.keys is not None and "key" not in site.axes:
            raise ValueError(f"{one.name!r}: keys are for pattern and attn_scores.")
        # Equal names stand for one value, so that its runs are made once.
        value = as_value(one.value)
        site.check(cfg, value, one_by_one=False)
        if isinstance(one.value, str):
            value = shared.setdefault(one.value, value)
        return cls(
            site,
            site.first_layer(one.layer),
            site.hook(cfg, one.layer),
            value,
            _unit_mask(cfg, site, one),
            _position_mask(task, one.positions),
            _position_mask(task, one.keys),
        )

    def joined(self, other: Edit) -> Edit | None:
        """One edit that does what this and then the other does, if that is easy to say: the same
        value at other units."""
        same = self.hook == other.hook and self.value is other.value
        if not same or self.units is None or other.units is None:
            return None
        placed = (self.at, self.keys, other.at, other.keys)
        if any(mask is not None for mask in placed) or bool((self.units & other.units).any()):
            return None
        return dataclasses.replace(self, units=self.units | other.units)

    def start(self, batch: Batch) -> Int[Tensor, " prompt"]:
        """The first position that it changes in each prompt; past the end if none."""
        first = torch.zeros_like(batch.first_difference)
        never = torch.iinfo(torch.long).max
        if self.value.after_difference:
            first = batch.first_difference
        if self.at is not None:
            at = self.at[batch.prompts]
            late = at & (torch.arange(at.shape[1]) >= first[:, None])
            first = torch.where(late.any(1), late.long().argmax(1), never)
        if self.keys is not None:  # queries before the first of the keys do not see it
            first = torch.maximum(first, self.keys[batch.prompts].long().argmax(1))
        return first

    def mask(
        self, cone: Cone, prompt: Int[Tensor, " row"], visible: Bool[Tensor, "#row window key"]
    ) -> Bool[Tensor, "row ..."]:
        """Where it replaces, over the axes of the site's values; axes of 1 stand for all.

        Args:
            cone: of these rows and others.
            prompt: of the task, of each row.
            visible: which keys each query of these rows sees.
        """
        window = slice(cone.start, cone.end)
        parts: dict[str, Tensor | None] = {}
        if self.at is not None:
            parts["position"] = self.at[prompt, window]
        if self.keys is not None:
            parts["key"] = self.keys[prompt, : cone.end]
        if self.units is not None:
            parts["unit"] = self.units[None]
        mask = torch.ones(1, *[1] * len(self.site.axes), dtype=torch.bool)
        for i, axis in enumerate(self.site.axes):
            part = parts.get(axis)
            if part is not None:
                shape = [part.shape[0], *[1] * len(self.site.axes)]
                shape[i + 1] = part.shape[1]
                mask = mask & part.view(shape)
        mask = mask.to(visible.device)
        if "key" in self.site.axes:
            mask = mask & visible[:, None]
        return mask.expand(len(prompt), *mask.shape[1:])


def merged(edits: Sequence[Edit]) -> list[Edit]:
    """Neighbours at one hook that do the same, as one: a hundred heads are not a hundred steps."""
    found: list[Edit] = []
    last: dict[str, int] = {}  # hook -> the index of its last edit
    for edit in edits:
        joined = found[last[edit.hook]].joined(edit) if edit.hook in last else None
        if joined is not None:
            found[last[edit.hook]] = joined
            continue
        last[edit.hook] = len(found)
        found.append(edit)
    return found


def _unit_mask(cfg: ModelConfig, site: Site, one: Intervention) -> Bool[Tensor, " unit"] | None:
    if one.units is None:
        return None
    kind, n = site.unit_axis(cfg), site.units(cfg)
    if kind is None:
        raise ValueError(f"{one.name!r}: {site.name} has no parts to choose units of.")
    units = _listed(one.units)
    if not all(isinstance(unit, int) for unit in units):
        raise ValueError(f"units={one.units!r}: units are whole numbers, such as 6 or [6, 9].")
    mask = torch.zeros(n, dtype=torch.bool)
    for unit in units:
        if not 0 <= unit < n:
            raise ValueError(
                f"{one.name!r}: there is no {kind} {unit}; {cfg.model_name} has {n} in each layer."
            )
        mask[unit] = True
    if not units:
        raise ValueError(f"{site.name} of layer {one.layer}: the list of units is empty.")
    return mask


def _position_mask(task: Task, positions: Positions) -> Bool[Tensor, "prompt pos"] | None:
    targets = choose_targets(task, "all" if positions is None else positions)
    return targets.together(task.clean.shape[1])


def _listed(value: Any) -> list[Any]:
    if isinstance(value, str | Integral):
        value = [value]
    return [int(one) if isinstance(one, Integral) else one for one in value]


class Replacement:
    """A hook that puts one value at chosen places of some rows."""

    def __init__(
        self,
        batch: Batch,
        cone: Cone,
        hook: str,
        value: Value,
        edits: Sequence[tuple[Edit, Tensor]],  # each with the rows that it is for
        prompt: Int[Tensor, " row"],
    ) -> None:
        self.batch, self.cone, self.hook, self.value = batch, cone, hook, value
        self.square = "key" in edits[0][0].site.axes
        visible = cone.visible.expand(len(prompt), -1, -1)
        masks = [edit.mask(cone, prompt[rows], visible[rows]) for edit, rows in edits]
        self.rows = torch.cat([rows for _, rows in edits]).to(cone.prompts.device)
        shape = [max(sizes) for sizes in zip(*(mask.shape[1:] for mask in masks), strict=True)]
        self.mask = torch.cat([mask.expand(len(mask), *shape) for mask in masks])

    def __call__(self, old: Tensor, *, hook: Any) -> Tensor:
        rows, cone = self.rows, self.cone
        prompts = cone.prompts[rows]
        window = slice(cone.start, cone.end)

        def pick(values: Tensor) -> Tensor:
            if self.square:
                return values[prompts, :, window, : cone.end]
            return values[prompts, window]

        place = Place(self.hook, self.batch.base, self.batch.source, pick)
        chosen = old[rows]
        new = torch.where(self.mask, self.value(chosen, place), chosen)
        return old.index_put((rows,), new)
