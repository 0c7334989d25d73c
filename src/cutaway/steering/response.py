"""`DoseResponse`: what steering did at every layer and coefficient, on every prompt."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from .. import plotting
from ..array_files import Array, load_arrays, save_arrays
from ..evidence import Interval, bootstrap_mean, bootstrap_means, proportion

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Flags = NDArray[np.bool_]
Success = Literal["top", "first"]
_KIND = "a dose-response"
_ARRAYS = ("difference", "probability", "top", "first", "kl", "loss")
_BASE = ("base_difference", "base_probability", "base_top", "base_first", "base_loss")
_FLAGS = ("top", "first", "base_top", "base_first")
_PER_PROMPT = (*_ARRAYS[:4], *_BASE[:4])
_TUPLES = ("lines", "layers", "coefficients", "norms")
# What is smaller than this, in logits, is rounding and moves nothing.
_ROUNDING = 1e-4


@dataclass(frozen=True, eq=False)
class DoseResponse:
    """Benefit and cost of steering, per prompt, over vectors, layers and coefficients.

    The first line is the vector; lines called random are directions of equal norm, the control.
    The *shift* of a prompt is the change of logit(target) - logit(answer), steered minus
    unsteered; it goes the wrong way where its sign is not that of the coefficient.

    Example:
        >>> response = dose_response(model, task, vector, target)  # doctest: +SKIP
        >>> print(response.success(layer=2, coefficient=4.0))  # doctest: +SKIP
        0.891 [0.791, 0.946] (95%, n=64)
    """

    lines: tuple[str, ...]
    """The vector's name, then those of the controls."""
    layers: tuple[int, ...]
    coefficients: tuple[float, ...]
    """In units of `norms`, where those were measured; else times the vector."""
    difference: Float[Array, "line layer coefficient prompt"]
    """logit(target) - logit(answer) at END, steered."""
    probability: Float[Array, "line layer coefficient prompt"]
    """Of the target."""
    top: Bool[Flags, "line layer coefficient prompt"]
    """The target is the likeliest token of all."""
    first: Bool[Flags, "line layer coefficient prompt"]
    """The target is the likeliest of the task's answers and targets (in IOI: of the names)."""
    base_difference: Float[Array, " prompt"]
    """The same four without steering."""
    base_probability: Float[Array, " prompt"]
    base_top: Bool[Flags, " prompt"]
    base_first: Bool[Flags, " prompt"]
    kl: Float[Array, "line layer coefficient text"]
    """KL(unsteered || steered) of the next token on neutral texts, nats per token."""
    loss: Float[Array, "line layer coefficient text"]
    """Cross-entropy on neutral texts under steering, nats per token."""
    base_loss: Float[Array, " text"]
    """The same without steering."""
    norms: tuple[float, ...] = ()
    """Of each layer the length that the coefficient 1 adds; empty: the vector's own length."""
    settings: dict[str, Any] = field(default_factory=dict)
    """What made it: model, task, vector, target, positions, seed."""

    def __post_init__(self) -> None:
        shape = (len(self.lines), len(self.layers), len(self.coefficients))
        for names, last in ((_ARRAYS[:4], self.base_difference), (_ARRAYS[4:], self.base_loss)):
            for name in names:
                if getattr(self, name).shape != (*shape, len(last)):
                    raise ValueError(
                        f"{name} has the shape {getattr(self, name).shape}, but lines, layers, "
                        f"coefficients and prompts are {(*shape, len(last))}."
                    )

    @property
    def shift(self) -> Float[Array, "line layer coefficient prompt"]:
        """Change of the logit difference, target minus answer."""
        return self.difference - self.base_difference

    @property
    def cost(self) -> Float[Array, "line layer coefficient text"]:
        """Change of the loss on neutral texts, nats per token."""
        return self.loss - self.base_loss

    @property
    def controls(self) -> list[int]:
        """Which lines are random directions."""
        return [i for i in range(1, len(self.lines)) if self.lines[i].startswith("random")]

    @property
    def wrong(self) -> Bool[Flags, "line layer coefficient prompt"]:
        """Which prompts move against the sign of the coefficient."""
        sign = np.sign(np.asarray(self.coefficients))[None, None, :, None]
        return np.asarray(self.shift * sign < -_ROUNDING)

    def at(self, layer: int, coefficient: float) -> tuple[int, int]:
        """The indices of a layer and a coefficient.

        Raises:
            ValueError: they were not measured.
        """
        near = np.isclose(self.coefficients, coefficient)
        if layer not in self.layers or not near.any():
            raise ValueError(
                f"layer {layer} with the coefficient {coefficient:g} was not measured: layers are "
                f"{self.layers}, coefficients {self.coefficients}."
            )
        return self.layers.index(layer), int(near.argmax())

    def success(
        self, layer: int, coefficient: float, line: int = 0, by: Success = "top"
    ) -> Interval:
        """The share of prompts whose target is the top token, or the first of the answers."""
        i, j = self.at(layer, coefficient)
        flags: Flags = getattr(self, by)[line, i, j]
        return proportion(int(flags.sum()), flags.size)

    def wrong_way(self, layer: int, coefficient: float, line: int = 0) -> Interval:
        """The share of prompts that move the wrong way."""
        i, j = self.at(layer, coefficient)
        return proportion(int(self.wrong[line, i, j].sum()), self.wrong.shape[-1])

    def mean_shift(self, layer: int, coefficient: float, line: int = 0, seed: int = 0) -> Interval:
        """The mean shift in logits, with its bootstrap interval over prompts."""
        i, j = self.at(layer, coefficient)
        return bootstrap_mean(self.shift[line, i, j], seed)

    def mean_cost(
        self, layer: int, coefficient: float, line: int = 0, of: Literal["kl", "loss"] = "kl"
    ) -> Interval:
        """Mean KL, or mean change of the loss, on neutral texts, in nats per token.

        Raises:
            ValueError: there were no neutral texts.
        """
        if not self.base_loss.size:
            raise ValueError("no neutral texts were given, so there is no cost: give neutral=.")
        i, j = self.at(layer, coefficient)
        return bootstrap_mean((self.kl if of == "kl" else self.cost)[line, i, j])

    def success_map(self, line: int = 0, by: Success = "top") -> Float[Array, "layer coefficient"]:
        """The share of prompts that succeed, at every layer and coefficient."""
        return np.asarray(getattr(self, by)[line].mean(-1))

    def control_map(self, by: Success = "top") -> Float[Array, "control layer coefficient"]:
        """The same for each random direction."""
        return np.asarray(getattr(self, by)[self.controls].mean(-1))

    def slopes(self) -> Float[Array, "line layer prompt"]:
        """Logits per unit of the coefficient: the least-squares line through 0 of each prompt's
        shift, which Tan et al. (2024, section 3) call its steerability."""
        c = np.asarray(self.coefficients)
        if not (c != 0).any():
            raise ValueError("all coefficients are 0: there is no slope.")
        slopes: Array = np.einsum("vlcp,c->vlp", self.shift, c) / (c @ c)
        return slopes

    def intervals(
        self, values: Float[Array, "... item"], seed: int = 0
    ) -> tuple[Float[Array, "..."], Float[Array, "..."], Float[Array, "..."]]:
        """(mean, low, high) over the last axis of any of the arrays: percentile bootstrap."""
        return bootstrap_means(values, seed)

    def best(self, most_kl: float | None = None, by: Success = "top") -> tuple[int, float]:
        """The layer and the coefficient where the vector succeeds most above the mean of the
        random directions; of equal ones the cheapest.

        It is the best of many on these prompts: choose on some and read its numbers off others,
        as `response.subset(range(0, n, 2)).best()` and `response.subset(range(1, n, 2))`.

        Args:
            most_kl: the highest mean KL on neutral texts that is allowed; None allows any.
            by: what counts as success.

        Raises:
            ValueError: nothing is that cheap, or there were no neutral texts to tell.
        """
        gain = self.success_map(by=by) - self.control_map(by).mean(0)
        size = np.abs(np.asarray(self.coefficients))[None].repeat(len(self.layers), 0)
        cost = self.kl[0].mean(-1) if self.base_loss.size else size
        allowed = np.ones_like(gain, dtype=bool)
        if most_kl is not None:
            if not self.base_loss.size:
                raise ValueError("no neutral texts were given, so that no cost is known.")
            allowed = cost <= most_kl
        if not allowed.any():
            raise ValueError(f"nothing costs as little as {most_kl} nats on neutral texts.")
        order = np.lexsort((cost[allowed], -gain[allowed].round(9)))
        i, j = np.argwhere(allowed)[order[0]]
        return self.layers[i], self.coefficients[j]

    def subset(self, prompts: Sequence[int]) -> DoseResponse:
        """The same of some prompts; the neutral texts stay.

        Raises:
            ValueError: no prompts.
        """
        chosen = list(prompts)
        if not chosen:
            raise ValueError("no prompts are left.")
        of_prompts = {name: getattr(self, name)[..., chosen] for name in _PER_PROMPT}
        return dataclasses.replace(self, **of_prompts)

    def to_frame(self) -> list[dict[str, Any]]:
        """One row (a dict) for each line, layer and coefficient; pandas takes it as is."""
        shift, low, high = self.intervals(self.shift)
        rows = []
        for at in np.ndindex(shift.shape):
            line, layer, coefficient = at
            row = {
                "line": self.lines[line],
                "layer": self.layers[layer],
                "coefficient": self.coefficients[coefficient],
                "shift": float(shift[at]),
                "low": float(low[at]),
                "high": float(high[at]),
                "probability": float(self.probability[at].mean()),
                "top": float(self.top[at].mean()),
                "first": float(self.first[at].mean()),
                "wrong_way": float(self.wrong[at].mean()),
            }
            if self.base_loss.size:
                row |= {"kl": float(self.kl[at].mean()), "loss": float(self.cost[at].mean())}
            rows.append(row)
        return rows

    def plot(self, by: Success = "top", title: str | None = None) -> Figure:
        """A heat map of the share of successes: layers down, coefficients across."""
        return plotting.heatmap(
            self.success_map(by=by),
            [str(layer) for layer in self.layers],
            [f"{c:g}" for c in self.coefficients],
            title or f"{self.lines[0]}: share of prompts that say the target",
            row_axis="layer",
            column_axis="coefficient",
            value_label="share of prompts",
            limit=1.0,
        )

    def save(self, path: str | Path) -> None:
        """Write one safetensors file: arrays as float32, the rest as JSON in its header."""
        arrays = {
            name: np.asarray(getattr(self, name), np.bool_ if name in _FLAGS else np.float32)
            for name in (*_ARRAYS, *_BASE)
        }
        described = {name: getattr(self, name) for name in (*_TUPLES, "settings")}
        save_arrays(path, _KIND, arrays, described)

    @classmethod
    def load(cls, path: str | Path) -> DoseResponse:
        """The inverse of `save`.

        Raises:
            ValueError: there is no such file, or it is not one that `save` wrote.
        """
        arrays, described = load_arrays(path, _KIND)
        made: dict[str, Any] = {**arrays, "settings": described["settings"]}
        made |= {name: tuple(described[name]) for name in _TUPLES}
        return cls(**made)
