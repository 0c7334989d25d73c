"""`LensReadings`: what a lens saw, at every point of the stream, at every place."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray

from ..array_files import load_arrays, save_arrays
from ..evidence import Interval
from .intervals import row_means

Array = NDArray[np.floating[Any]]
Integers = NDArray[np.integer[Any]]

_KIND = "readings of a lens"
_PLAIN = ("top_tokens", "top_probabilities", "entropy", "kl", "tokens", "positions", "real")
_BY_NAME = ("followed", "log_probability", "rank")


@dataclass(frozen=True)
class LensReadings:
    """The distributions that a lens read, in what is kept of each: [point, prompt, read].

    NaN (or -1 of ranks and tokens) stands where there is nothing: at padding, and where a token
    that is followed does not exist.

    Example:
        >>> readings = logit_lens(model, task)
        >>> readings.probability("target")[:, 0, 0]  # of the first prompt's answer, point by point
        >>> print(*readings.mean_kl(), sep="\\n")
    """

    lens: str
    """The lens's name."""
    model: str
    """The model's name."""
    points: tuple[str, ...]
    """Labels of the points: "embed", "0", "1", ... (and "0.mid", ... if asked for)."""
    tokens: Int[Integers, "prompt pos"]
    """The prompts."""
    positions: Int[Integers, "prompt read"]
    """Where each was read."""
    real: Bool[NDArray[np.bool_], "prompt read"]
    """False at padding and wherever nothing was read."""
    top_tokens: Int[Integers, "point prompt read k"]
    """The most probable tokens, the most probable first."""
    top_probabilities: Float[Array, "point prompt read k"]
    """Their probabilities."""
    entropy: Float[Array, "point prompt read"]
    """Of the whole distribution, in nats."""
    kl: Float[Array, "point prompt read"]
    """KL(model's output || lens), in nats: 0 where the lens says what the model will say."""
    followed: dict[str, Int[Integers, "prompt read"]]
    """The tokens that are followed: "target", "shuffled" (the control), "predicted" (what the
    model itself puts first), of a task "wrong", and those that were asked for."""
    log_probability: dict[str, Float[Array, "point prompt read"]]
    """Of each token that is followed, in nats."""
    rank: dict[str, Int[Integers, "point prompt read"]]
    """Of each token that is followed: how many tokens are more probable; 0 is the top."""

    def probability(self, name: str = "target") -> Float[Array, "point prompt read"]:
        """The probability of a token that is followed.

        Raises:
            ValueError: no token of this name is followed.
        """
        return np.exp(self.log_probability[self._known(name)])

    def per_prompt(
        self, values: Float[Array, "point prompt read"], name: str | None = None
    ) -> Float[Array, "point prompt"]:
        """Means over each prompt's places; prompts without any (or without the token) are left out.

        Positions of one prompt depend on each other, so that a prompt is the unit of all
        intervals.

        Args:
            values: of these readings.
            name: count only places where this token exists.
        """
        there = self.real if name is None else self.real & (self.followed[self._known(name)] >= 0)
        some = there.any(1)
        total = np.where(there[some], values[:, some], 0.0).sum(-1)  # [point, prompt]
        return np.asarray(total / there[some].sum(1))

    def mean_kl(self, seed: int = 0, level: float = 0.95) -> list[Interval]:
        """KL(model's output || lens) at each point, in nats, with its interval over prompts."""
        return row_means(self.per_prompt(self.kl), seed, level)

    def _known(self, name: str) -> str:
        if name not in self.followed:
            raise ValueError(
                f"no token {name!r} is followed; there are {', '.join(map(repr, self.followed))}."
            )
        return name

    def to_frame(self) -> list[dict[str, Any]]:
        """One row (a dict) for each point and place that was read; pandas takes it as is."""
        rows = []
        for prompt, read in zip(*np.nonzero(self.real), strict=True):
            for at, point in enumerate(self.points):
                here = (at, prompt, read)
                row: dict[str, Any] = {
                    "point": point,
                    "prompt": int(prompt),
                    "position": int(self.positions[prompt, read]),
                    "top_token": int(self.top_tokens[here][0]),
                    "top_probability": float(self.top_probabilities[here][0]),
                    "entropy": float(self.entropy[here]),
                    "kl": float(self.kl[here]),
                }
                for name, token in self.followed.items():
                    if token[prompt, read] >= 0:
                        row[f"{name}_token"] = int(token[prompt, read])
                        row[f"{name}_probability"] = float(np.exp(self.log_probability[name][here]))
                        row[f"{name}_rank"] = int(self.rank[name][here])
                rows.append(row)
        return rows

    def save(self, path: str | Path) -> None:
        """Write one safetensors file: the arrays, and the rest as JSON in its header."""
        arrays: dict[str, NDArray[Any]] = {name: getattr(self, name) for name in _PLAIN}
        for field in _BY_NAME:
            arrays |= {f"{field}.{name}": v for name, v in getattr(self, field).items()}
        described = {
            "lens": self.lens,
            "model": self.model,
            "points": list(self.points),
            "names": list(self.followed),
        }
        save_arrays(path, _KIND, arrays, described)

    @classmethod
    def load(cls, path: str | Path) -> LensReadings:
        """The inverse of `save`.

        Raises:
            ValueError: the file is missing, is a folder, or is not one that `save` wrote.
        """
        arrays, described = load_arrays(path, _KIND)
        names = described.pop("names")
        by_name: dict[str, dict[str, NDArray[Any]]] = {
            field: {name: arrays[f"{field}.{name}"] for name in names} for field in _BY_NAME
        }
        plain = {name: arrays[name] for name in _PLAIN}
        return cls(**{**described, "points": tuple(described["points"])}, **plain, **by_name)  # type: ignore[arg-type]
