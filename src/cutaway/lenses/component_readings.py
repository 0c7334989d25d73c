"""`ComponentReadings`: what each part of the model adds to the logits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from ..array_files import load_arrays, save_arrays
from ..evidence import Interval
from .intervals import row_means

By = Literal["head", "layer"]
Array = NDArray[np.floating[Any]]
Integers = NDArray[np.integer[Any]]

_KIND = "readings of a component lens"


@dataclass(frozen=True)
class ComponentReadings:
    """What each component adds to the logits: [component, prompt, read], in logits.

    Logits are taken less their mean over the vocabulary, which no probability depends on. The sum
    over components is then the model's own output, less its mean.

    Example:
        >>> found = component_lens(model, task)
        >>> for name, interval in found.ranked("target", "wrong")[:5]:
        ...     print(name, interval)
    """

    model: str
    by: By
    components: tuple[str, ...]
    """"embed", "0.5" (head 5 of layer 0) or "attn0", "mlp0", "bias", ..."""
    real: NDArray[np.bool_]
    """[prompt, read], False at padding."""
    top_tokens: Int[Integers, "component prompt read k"]
    """The tokens promoted most, the most promoted first."""
    top_logits: Float[Array, "component prompt read k"]
    bottom_tokens: Int[Integers, "component prompt read k"]
    """The tokens suppressed most, the most suppressed first."""
    bottom_logits: Float[Array, "component prompt read k"]
    followed: dict[str, Int[Integers, "prompt read"]]
    """As of `LensReadings`, without "predicted"."""
    logits: dict[str, Float[Array, "component prompt read"]]
    """What each component adds to the logit of each token that is followed."""

    def per_prompt(
        self, first: str = "target", second: str | None = None
    ) -> Float[NDArray[np.float64], "component prompt"]:
        """What each component adds to one token, or to one less another: means over places.

        Raises:
            ValueError: no token of this name is followed, or no prompt has one.
        """
        for name in filter(None, (first, second)):
            if name not in self.followed:
                raise ValueError(
                    f"no token {name!r} is followed; there are "
                    f"{', '.join(map(repr, self.followed))}."
                )
        values = self.logits[first] - (0 if second is None else self.logits[second])
        there = ~np.isnan(values[0])
        some = there.any(1)
        if not some.any():
            raise ValueError(f"no prompt has a token {first!r}.")
        total = np.where(there, values, 0.0).sum(-1)[:, some]
        return np.asarray(total / there.sum(1)[some], dtype=np.float64)

    def ranked(
        self, first: str = "target", second: str | None = None, seed: int = 0, level: float = 0.95
    ) -> list[tuple[str, Interval]]:
        """Components by the size of what they add, of either sign, with intervals over prompts."""
        means = row_means(self.per_prompt(first, second), seed, level)
        found = zip(self.components, means, strict=True)
        return sorted(found, key=lambda one: -abs(one[1].estimate))

    def to_frame(self) -> list[dict[str, Any]]:
        """One row (a dict) for each component and token that is followed; pandas takes it as is."""
        rows = []
        for token in self.followed:
            for name, one in self.ranked(token):
                ends = {"low": one.low, "high": one.high, "n": one.n}
                rows.append({"component": name, "token": token, "logits": one.estimate, **ends})
        return rows

    def save(self, path: str | Path) -> None:
        """Write one safetensors file: the arrays, and the rest as JSON in its header."""
        plain = ("real", "top_tokens", "top_logits", "bottom_tokens", "bottom_logits")
        arrays = {name: getattr(self, name) for name in plain}
        for field in ("followed", "logits"):
            arrays |= {f"{field}.{name}": v for name, v in getattr(self, field).items()}
        described = {
            "model": self.model,
            "by": self.by,
            "components": list(self.components),
            "names": list(self.followed),
        }
        save_arrays(path, _KIND, arrays, described)

    @classmethod
    def load(cls, path: str | Path) -> ComponentReadings:
        """The inverse of `save`.

        Raises:
            ValueError: the file is missing, is a folder, or is not one that `save` wrote.
        """
        arrays, described = load_arrays(path, _KIND)
        names = described.pop("names")
        by_name: dict[str, Any] = {
            field: {name: arrays.pop(f"{field}.{name}") for name in names}
            for field in ("followed", "logits")
        }
        plain: dict[str, Any] = dict(arrays)
        return cls(
            **{**described, **plain, **by_name, "components": tuple(described["components"])}
        )
