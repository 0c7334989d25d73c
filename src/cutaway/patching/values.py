"""What an intervention puts in place of a value.

A value is a function of what stands there in the intervened run (`old`) and, for some, of recorded
runs. `Patch` is activation patching; `Zero`, `Mean` and `Resample` are the ablations; `Add` is
steering; `Remove` is directional ablation; `Exchange` is an interchange intervention on a subspace
(Geiger et al. 2021; 2023); `Freeze` holds a component at what it is in the base run.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from ..model.transformer import HookedTransformer
from ..tasks.task import Task
from .cone import BaseRun, RecordedRun
from .reference import reference_values


@dataclass(frozen=True)
class Place:
    """Where a value is put: one hook point, in the rows of a cone."""

    hook: str
    base: BaseRun
    """The run that is intervened on."""
    source: RecordedRun
    """The other run of the pair."""
    pick: Callable[[Tensor], Tensor]
    """Cuts a value of whole prompts, [prompt, ...] as recorded at the hook, to what is replaced."""


@dataclass(frozen=True)
class Preparation:
    """What a value is told before the cones are run."""

    model: HookedTransformer
    task: Task
    prompts: slice
    """Which of the task's prompts."""
    hooks: Sequence[str]
    """Where the value will be put."""
    prompts_at_once: int
    """How many prompts a run may have."""


@dataclass(frozen=True, eq=False)
class Value(ABC):
    """What is put somewhere. Projections and vectors run along the value's last axis."""

    after_difference: ClassVar[bool] = False
    """Whether it leaves positions before the first difference of the two prompts as they are."""
    changes: ClassVar[bool] = True
    """Whether it changes anything in a run that is otherwise the base run."""
    holds_values: ClassVar[bool] = False
    """Whether it keeps values of whole prompts for itself."""

    @abstractmethod
    def __call__(
        self, old: Float[Tensor, "row *value"], place: Place
    ) -> Float[Tensor, "row *value"]:
        """The new value, of the old one's shape."""

    def prepare(self, preparation: Preparation) -> Value:
        """The value for some prompts of a task, with all runs made that it takes.

        Raises:
            ValueError: the value cannot be had for these prompts; the message says why.
        """
        return self

    @property
    def name(self) -> str:
        """How results call it."""
        return type(self).__name__.lower()

    @property
    def width(self) -> int | None:
        """Numbers along the last axis that it is made for; None where any will do."""
        return None


class Patch(Value):
    """The other run's value (Vig et al. 2020; Meng et al. 2022): clean into corrupted, or the
    reverse."""

    after_difference = True

    def __call__(self, old: Tensor, place: Place) -> Tensor:
        return place.pick(place.source.values[place.hook])


class Freeze(Value):
    """The base run's value: the component does not answer to what is changed before it."""

    changes = False

    def __call__(self, old: Tensor, place: Place) -> Tensor:
        return place.pick(place.base.values[place.hook])


class Zero(Value):
    """Zeros."""

    def __call__(self, old: Tensor, place: Place) -> Tensor:
        return torch.zeros_like(old)


@dataclass(frozen=True, eq=False)
class Given(Value):
    """Values of one's own, as recorded at the hook: [prompt, pos, ...], or [prompt, head, query,
    key] for patterns. Every hook that it is put at must be a key.

    Example:
        >>> _, cache = model.run_with_cache(other_prompts, names_filter="blocks.3.attn.hook_z")
        >>> given = Given({"blocks.3.attn.hook_z": cache["z", 3]})
    """

    values: dict[str, Tensor] = field(repr=False)
    holds_values = True

    def __post_init__(self) -> None:
        for hook, value in self.values.items():
            if not isinstance(value, Tensor):
                raise ValueError(f"the given value at {hook} is {type(value)}, not a tensor.")
            _check_finite(f"the given value at {hook}", value, allow=("attn_scores",), hook=hook)

    def __call__(self, old: Tensor, place: Place) -> Tensor:
        given, recorded = self.values[place.hook], place.base.values[place.hook]
        if given.shape[1:] != recorded.shape[1:]:
            raise ValueError(
                f"the given value at {place.hook} has the shape [prompt, "
                f"{', '.join(map(str, given.shape[1:]))}], a run there has [prompt, "
                f"{', '.join(map(str, recorded.shape[1:]))}]."
            )
        return place.pick(given)

    def prepare(self, preparation: Preparation) -> Value:
        n_prompts = len(preparation.task)
        for hook in preparation.hooks:
            if hook not in self.values:
                raise ValueError(
                    f"nothing is given for {hook}: the values are for {', '.join(self.values)}."
                )
            if len(self.values[hook]) != n_prompts:
                raise ValueError(
                    f"the given value at {hook} has the shape {tuple(self.values[hook].shape)}, "
                    f"but the task has {n_prompts} prompts: the first axis must be the prompt."
                )
        model, prompts = preparation.model, preparation.prompts
        return Given(
            {
                hook: self.values[hook][prompts].to(model.device, model.dtype)
                for hook in preparation.hooks
            }
        )


@dataclass(frozen=True, eq=False)
class Mean(Value):
    """The mean over a reference's corrupted prompts of the same group, position by position.

    Wang et al. (2022) call this mean ablation, with the ABC distribution as reference.
    """

    reference: Task | None = None
    """None takes the task itself."""
    holds_values = True

    def __call__(self, old: Tensor, place: Place) -> Tensor:
        raise RuntimeError("prepare() turns this value into the one that is put.")

    def prepare(self, preparation: Preparation) -> Value:
        return Given(_of_reference(preparation, self.reference, seed=None))


@dataclass(frozen=True, eq=False)
class Resample(Value):
    """The value of one of a reference's corrupted prompts of the same group, drawn anew for each
    prompt (Chan et al. 2022)."""

    reference: Task | None = None
    """None takes the task itself."""
    seed: int = 0
    holds_values = True

    @property
    def name(self) -> str:
        return f"resample (seed {self.seed})"

    def __call__(self, old: Tensor, place: Place) -> Tensor:
        raise RuntimeError("prepare() turns this value into the one that is put.")

    def prepare(self, preparation: Preparation) -> Value:
        return Given(_of_reference(preparation, self.reference, self.seed))


@dataclass(frozen=True, eq=False)
class Constant(Value):
    """One number everywhere, or one vector along the last axis."""

    value: float | Tensor

    def __post_init__(self) -> None:
        _check_vector("Constant", self.value)

    @property
    def width(self) -> int | None:
        return _width(self.value)

    def __call__(self, old: Tensor, place: Place) -> Tensor:
        return _like(self.value, old).expand_as(old)


@dataclass(frozen=True, eq=False)
class Add(Value):
    """The old value plus a number or a vector along the last axis, as in steering."""

    value: float | Tensor

    def __post_init__(self) -> None:
        _check_vector("Add", self.value)

    @property
    def width(self) -> int | None:
        return _width(self.value)

    def __call__(self, old: Tensor, place: Place) -> Tensor:
        return old + _like(self.value, old)


@dataclass(frozen=True, eq=False)
class Scale(Value):
    """The old value times a number."""

    factor: float

    def __post_init__(self) -> None:
        _check_vector("Scale", self.factor)
        if _width(self.factor) is not None:
            raise ValueError("Scale takes one number; for directions there are Remove and Keep.")

    def __call__(self, old: Tensor, place: Place) -> Tensor:
        return old * self.factor


@dataclass(frozen=True, eq=False)
class Affine(Value):
    """The old value times a matrix, plus a vector: concept erasure is one (Belrose et al. 2023)."""

    matrix: Tensor
    """[d, d]; the new value is matrix @ old + offset."""
    offset: Tensor
    """[d]"""

    def __post_init__(self) -> None:
        shape = tuple(self.matrix.shape)
        if shape != (len(self.offset),) * 2 or self.offset.ndim != 1:
            raise ValueError(
                f"Affine takes a square matrix and a vector; the shapes are {shape} and "
                f"{tuple(self.offset.shape)}."
            )
        _check_finite("Affine(matrix)", self.matrix)
        _check_finite("Affine(offset)", self.offset)

    @property
    def width(self) -> int | None:
        return len(self.offset)

    def __call__(self, old: Tensor, place: Place) -> Tensor:
        return old @ _like(self.matrix, old).T + _like(self.offset, old)


@dataclass(frozen=True, eq=False)
class _Subspace(Value):
    """A value that treats a subspace and the rest differently.

    `directions` is one vector [d] or several [n, d] that span it; they need be neither
    normalised nor orthogonal.
    """

    directions: Tensor

    def __post_init__(self) -> None:
        kind = type(self).__name__
        directions = torch.atleast_2d(torch.as_tensor(self.directions))
        _check_finite(f"{kind}(directions)", directions)
        if (
            directions.ndim != 2
            or 0 in directions.shape
            or torch.linalg.matrix_rank(directions.double()) < len(directions)
        ):
            raise ValueError(
                f"{kind}(directions) needs linearly independent rows [n, d]; the shape is "
                f"{tuple(directions.shape)}."
            )
        basis, _ = torch.linalg.qr(directions.double().T)  # [d, n], orthonormal columns
        object.__setattr__(self, "_basis", basis)

    @property
    def width(self) -> int | None:
        return int(torch.atleast_2d(torch.as_tensor(self.directions)).shape[-1])

    def _projected(self, x: Tensor) -> Tensor:
        basis = self._basis.to(x.device, x.dtype)  # type: ignore[attr-defined]
        projected: Tensor = x @ basis @ basis.T
        return projected


class Remove(_Subspace):
    """The old value without its part in the subspace: directional ablation (Arditi et al. 2024)."""

    def __call__(self, old: Tensor, place: Place) -> Tensor:
        return old - self._projected(old)


class Keep(_Subspace):
    """Only the old value's part in the subspace."""

    def __call__(self, old: Tensor, place: Place) -> Tensor:
        return self._projected(old)


class Exchange(_Subspace):
    """The old value with its part in the subspace taken from the other run: an interchange
    intervention on that subspace (Geiger et al. 2023)."""

    after_difference = True

    def __call__(self, old: Tensor, place: Place) -> Tensor:
        other = place.pick(place.source.values[place.hook])
        return old + self._projected(other - old)


NAMED: dict[str, type[Value]] = {
    "patch": Patch,
    "zero": Zero,
    "mean": Mean,
    "resample": Resample,
    "freeze": Freeze,
}


def as_value(value: str | Value) -> Value:
    """A value from its name; values pass as they are.

    Raises:
        ValueError: no value that needs no argument has that name.
    """
    if isinstance(value, Value):
        return value
    if not isinstance(value, str) or value not in NAMED:
        raise ValueError(
            f"value={value!r} is not one of {', '.join(NAMED)}; others are made with their "
            "arguments, as Add(vector)."
        )
    return NAMED[value]()


def _of_reference(
    preparation: Preparation, reference: Task | None, seed: int | None
) -> dict[str, Tensor]:
    return reference_values(
        preparation.model,
        preparation.task,
        preparation.task if reference is None else reference,
        preparation.prompts,
        preparation.hooks,
        seed,
        preparation.prompts_at_once,
    )


def _width(value: float | Tensor) -> int | None:
    tensor = torch.as_tensor(value)
    return None if tensor.ndim == 0 else len(tensor)


def _check_vector(kind: str, value: float | Tensor) -> None:
    try:
        tensor = torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f"{kind} takes a number or a vector, not {value!r}.") from None
    if tensor.ndim > 1:
        raise ValueError(
            f"{kind} takes a number or a vector, not a tensor of shape {tuple(tensor.shape)}."
        )
    _check_finite(kind, tensor)


def _check_finite(what: str, value: Tensor, allow: tuple[str, ...] = (), hook: str = "") -> None:
    fine = ~value.isnan() if hook.endswith(allow) and allow else value.isfinite()
    if not bool(fine.all()):
        bad = int((~fine).sum())
        raise ValueError(f"{what} holds {bad} numbers that are NaN or infinite.")


def _like(value: float | Tensor, old: Tensor) -> Tensor:
    return torch.as_tensor(value, dtype=old.dtype, device=old.device)
