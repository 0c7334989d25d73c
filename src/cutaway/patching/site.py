"""What a site is: where an intervention replaces a value, and what that adds to the stream.

Everything a layer computes reaches the rest of the model through the residual stream, and by
addition. Replacing a value is therefore the same as adding, at the entry where its layer writes,
the difference that the replacement makes there. A site computes that difference: for a vector of
the stream it is the difference itself; for a part of a head, the head is computed anew.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..model.config import ModelConfig
from ..model.transformer import HookedTransformer
from .cone import BaseRun, Cone, Entry, RecordedRun
from .values import Place, Value


@dataclass(frozen=True)
class Rows:
    """Interventions of one layer that are computed together; each is a row of a cone."""

    cone: Cone
    source: RecordedRun
    """The other run of the pair."""
    layer: int
    unit: Int[Tensor, "row member"]
    """Which parts are replaced together: one head, or a group of neurons."""
    value: Value
    """What is put in place."""
    at: Int[Tensor, " row"] | None
    """The one position where it is replaced; None for all positions of the window."""
    key: Int[Tensor, " row"] | None
    """Of patterns, the one key whose entry is replaced; None for all keys."""

    @property
    def base(self) -> BaseRun:
        """The run that the interventions depart from."""
        return self.cone.base

    def old(
        self, hook: str, unit: Int[Tensor, "row member"] | None = None
    ) -> Float[Tensor, "row window *value"]:
        """The base run's values; of some units, [row, window, member, ...]."""
        return self.cut(self.base.values[hook], unit)

    def new(
        self, hook: str, unit: Int[Tensor, "row member"] | None = None
    ) -> Float[Tensor, "row window *value"]:
        """The values after the replacement."""
        old = self.old(hook, unit)
        place = Place(hook, self.base, self.source, lambda values: self.cut(values, unit))
        return self.replaced(old, self.value(old, place))

    def cut(self, values: Tensor, unit: Tensor | None) -> Tensor:
        """What each row sees of values of whole prompts: [row, window, ...]."""
        prompts, window = self.cone.prompts, self.cone.positions
        if unit is None:
            return values[prompts, self.cone.start : self.cone.end]
        return values[prompts[:, None, None], window[None, :, None], unit[:, None, :]]

    def replaced(self, old: Tensor, new: Tensor) -> Tensor:
        """`new` at the positions that are replaced, `old` elsewhere; [row, window, ...]."""
        if self.at is None:
            return new
        here = self.cone.positions == self.at[:, None]  # [row, window]
        return torch.where(here.view(*here.shape, *[1] * (old.ndim - 2)), new, old)


class Attachment(Protocol):
    """Hook points that models do not have by themselves. Equal ones are attached once."""

    def __hash__(self) -> int: ...

    def widths(self, cfg: ModelConfig) -> Mapping[str, int]:
        """The hook points' names, each with the numbers that pass it at a position."""
        ...

    def attached(self, model: HookedTransformer) -> AbstractContextManager[Any]:
        """Inside, the model has them. Where nothing is attached to them in turn, it computes what
        it always does."""
        ...


@dataclass(frozen=True)
class Site(ABC):
    """One kind of value that can be replaced.

    The sites that every model has are listed by name in `sites.py`. A subclass elsewhere is one
    more, and is given to `sweep`, `Intervention` and `attribute` as an object: it says where its
    values pass, and what a change of them adds to the stream. Values that a model does not compute
    by itself pass hook points of the site's `attachment`.
    """

    name: str
    """Short hook name, as in `cache[name, layer]`."""

    axes: ClassVar[tuple[str, ...]] = ("position", "d")
    """The axes of its values behind the prompt; "unit" is the one that its parts are counted on."""
    sparse: ClassVar[bool] = False
    """Whether most replacements of a single part change nothing, so that it is worth asking
    `first_change` before they are run."""

    def missing_in(self, cfg: ModelConfig) -> str | None:
        """Why models of this shape do not compute the value; None if they do."""
        return None

    def has_layers(self) -> bool:
        """Whether every layer has one."""
        return True

    def unit_axis(self, cfg: ModelConfig) -> str | None:
        """What the parts that are replaced one by one are called; None where it is the whole."""
        return None

    def units(self, cfg: ModelConfig) -> int:
        """How many parts there are in a layer."""
        return 1

    def width(self, cfg: ModelConfig) -> int:
        """Numbers along the axis "d"."""
        return cfg.d_model

    def check(self, cfg: ModelConfig, value: Value, one_by_one: bool) -> None:
        """Raise if a value does not fit here.

        Args:
            cfg: of the model.
            value: what is to be put here.
            one_by_one: units are replaced one at a time, as in a sweep.
        """
        kind, last = type(value).__name__, self.axes[-1]
        if value.width is None:
            return
        if last == "key" or (last == "unit" and one_by_one):
            raise ValueError(
                f"{kind} with vectors cannot be put at {self.name}"
                f"{' one by one' if last == 'unit' else ''}: give one number."
            )
        width = self.units(cfg) if last == "unit" else self.width(cfg)
        if value.width != width:
            raise ValueError(
                f"{kind} has {value.width} numbers, the last axis of {self.name} has {width}."
            )

    @property
    def attachment(self) -> Attachment | None:
        """What gives models the hook points that the site needs and they do not have."""
        return None

    def first_layer(self, layer: int) -> int:
        """The first layer that has to be run for the value to be computed."""
        return layer

    @abstractmethod
    def hook(self, cfg: ModelConfig, layer: int) -> str:
        """Where the value passes in a run."""

    def hooks(self, cfg: ModelConfig, layer: int) -> tuple[str, ...]:
        """What both runs must record for `change`."""
        return (self.hook(cfg, layer),)

    @abstractmethod
    def entry(self, cfg: ModelConfig, layer: int) -> Entry:
        """Where a change of the value enters the residual stream."""

    @abstractmethod
    def change(self, rows: Rows) -> Float[Tensor, "row window d_model"]:
        """What each row's replacement adds there."""

    def first_change(self, rows: Rows, since: Int[Tensor, " row"]) -> Int[Tensor, "row unit"]:
        """Of sparse sites: the first position at which replacing a unit changes it.

        Args:
            rows: one for each prompt and position; `unit` is not looked at.
            since: the first position that counts, of each row.

        Returns:
            Positions in the prompt; past its end where nothing changes.
        """
        raise NotImplementedError(f"{self.name} is not sparse.")
