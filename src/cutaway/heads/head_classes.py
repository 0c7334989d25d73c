"""`Taxonomy`: every head with its classes, how sure they are, and what random weights give."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from .. import plotting
from ..array_files import Array, load_arrays, save_arrays
from ..evidence import Interval, proportion
from .copying import CopyingBaseline
from .generality import generality
from .measured import HeadScores
from .roles import ROLES, HeadRoles
from .scores import SCORES
from .thresholds import Threshold, Thresholds

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COPYING, ANTI_COPYING = "copying", "anti-copying"
COPIES = 0.5  # half-way between idle heads (0) and those that are written to copy (1)
OF_PATTERNS = tuple(SCORES)
"""The classes that have a score on random prompts."""
CLASSES = (*OF_PATTERNS, COPYING, ANTI_COPYING, *ROLES)
"""All classes, in the order in which they are named."""


@dataclass(frozen=True, eq=False)
class RandomControl:
    """What heads of random-weight models of the same shape score, on the same prompts."""

    mean: dict[str, Float[Array, "model layer head"]]
    """By the name of the score."""
    low: dict[str, Float[Array, "model layer head"]]
    """Lower ends of the intervals, which classes go by."""


@dataclass(frozen=True, eq=False)
class Taxonomy:
    """The heads of a model, each with its classes.

    A head has a class if the lower end of the 95% interval of its score is above the threshold;
    copying or anti-copying, if its copying score is above 0.5 or below -0.5 and random heads have
    no such score (false discovery rate 5% over all heads); a role, by what it does on the task
    (`HeadRoles.flags`).

    Example:
        >>> heads = ca.heads.taxonomy(model)
        >>> heads.classes["1.4"]
        ('induction',)
        >>> heads.false_positives("shuffled")["induction"]
        Interval(estimate=0.0, low=0.0, high=0.04, level=0.95, n=96)
    """

    model: str
    scores: HeadScores
    thresholds: Thresholds
    control: dict[str, RandomControl] = field(default_factory=dict)
    """Kind of random weights ("fresh", "shuffled") -> what their heads score."""
    copying: CopyingBaseline | None = None
    """Copying scores beside those of random heads; None where they were not asked for."""
    roles: HeadRoles | None = None
    """What heads do on an IOI task; None where none was given."""
    settings: dict[str, Any] = field(default_factory=dict)
    """What made it."""

    @property
    def shape(self) -> tuple[int, int]:
        """(layers, heads per layer)."""
        layers, heads = next(iter(self.scores.per_prompt.values())).shape[:2]
        return layers, heads

    @property
    def heads(self) -> tuple[str, ...]:
        """The names of all heads, as "1.4"."""
        return tuple(f"{layer}.{head}" for layer, head in np.ndindex(self.shape))

    def threshold(self, name: str) -> float:
        """The threshold of a class on the scale of its score.

        Raises:
            ValueError: a class that goes by no threshold.
        """
        if name not in self.thresholds.of:
            raise ValueError(
                f"{name!r} goes by no threshold of a score; these do: "
                f"{', '.join(self.thresholds.of)}."
            )
        return self.thresholds.of[name].raw(self.scores.by_chance[name])

    @cached_property
    def intervals(self) -> dict[str, tuple[Array, Array, Array]]:
        """Score -> (mean, low, high), each [layer, head]."""
        seed = int(self.settings.get("seed", 0))
        return {name: self.scores.interval(name, seed=seed) for name in self.scores.per_prompt}

    @cached_property
    def flags(self) -> dict[str, NDArray[np.bool_]]:
        """Class -> which heads have it, [layer, head]; only classes that were looked for."""
        found = self._above({name: low for name, (_, low, _) in self.intervals.items()})
        if self.copying is not None:
            is_found = self.copying.discoveries().found
            found[COPYING] = is_found & (self.copying.scores > COPIES)
            found[ANTI_COPYING] = is_found & (self.copying.scores < -COPIES)
        if self.roles is not None:
            nobody = np.zeros(self.shape, dtype=np.bool_)
            of_task = self.roles.flags() if self.roles.does_task else {}
            found |= {role: of_task.get(role, nobody) for role in ROLES}
        return {name: found[name] for name in CLASSES if name in found}

    @property
    def classes(self) -> dict[str, tuple[str, ...]]:
        """Head -> its classes, none for a head that fits none."""
        return {
            f"{layer}.{head}": tuple(name for name, has in self.flags.items() if has[layer, head])
            for layer, head in np.ndindex(self.shape)
        }

    def of_class(self, name: str) -> tuple[str, ...]:
        """The heads of a class, the highest score first; of a role, in their order.

        Raises:
            ValueError: no such class, or it was not looked for.
        """
        if name not in self.flags:
            raise ValueError(f"{name!r} was not looked for; these were: {', '.join(self.flags)}.")
        found = [(int(at), int(head)) for at, head in np.argwhere(self.flags[name])]
        if name in self.intervals:
            found.sort(key=lambda index: -float(self.intervals[name][0][index]))
        elif name in (COPYING, ANTI_COPYING) and self.copying is not None:
            copies = np.abs(self.copying.scores)
            found.sort(key=lambda index: -float(copies[index]))
        return tuple(f"{layer}.{head}" for layer, head in found)

    @cached_property
    def generality(self) -> tuple[Array, Array, Array]:
        """(entropy, low, high), each [layer, head]: `generality.generality` says of what."""
        return generality(self.scores, seed=int(self.settings.get("seed", 0)))

    def false_positives(self, weights: str) -> dict[str, Interval]:
        """Class -> share of the heads of random-weight models that are called so.

        Args:
            weights: "fresh" or "shuffled".

        Raises:
            ValueError: that control was not run.
        """
        if weights not in self.control:
            raise ValueError(
                f"no control with {weights!r} weights was run; there are: "
                f"{', '.join(self.control) or 'none'}."
            )
        flags = self._above(self.control[weights].low)
        return {name: proportion(int(has.sum()), has.size) for name, has in flags.items()}

    def above_random(self, name: str, weights: str = "shuffled") -> tuple[str, ...]:
        """The heads whose interval lies above the score of every random head, the highest first.

        A weaker claim than a class: a threshold asks whether a head mainly does something, this
        whether it does so more than anything that does it by chance.

        Raises:
            ValueError: no such score, or that control was not run.
        """
        self.scores.mean(name)  # refuses an unknown name
        if weights not in self.control:
            raise ValueError(f"no control with {weights!r} weights was run.")
        value, low, _ = self.intervals[name]
        found = np.argwhere(low > self.control[weights].mean[name].max())
        order = sorted(found.tolist(), key=lambda index: -float(value[index[0], index[1]]))
        return tuple(f"{layer}.{head}" for layer, head in order)

    def _above(self, low: dict[str, Array]) -> dict[str, NDArray[np.bool_]]:
        """Which lower ends exceed the thresholds; a class counts for nothing inside another one
        that says it all."""
        found = {name: np.asarray(low[name] > self.threshold(name)) for name in low}
        for name in list(found):
            unless = SCORES[name].unless
            if unless in found:
                found[name] = found[name] & ~found[unless]
        return found

    def to_frame(self) -> list[dict[str, Any]]:
        """One row (a dict) for each head; pandas takes it as is."""
        entropy, entropy_low, entropy_high = self.generality
        classes, rows = self.classes, []
        for layer, head in np.ndindex(self.shape):
            row: dict[str, Any] = {
                "layer": layer,
                "head": head,
                "classes": ", ".join(classes[f"{layer}.{head}"]),
                "generality": float(entropy[layer, head]),
                "generality_low": float(entropy_low[layer, head]),
                "generality_high": float(entropy_high[layer, head]),
            }
            for name, (value, low, high) in self.intervals.items():
                row[name] = float(value[layer, head])
                row[f"{name}_low"] = float(low[layer, head])
                row[f"{name}_high"] = float(high[layer, head])
            if self.copying is not None:
                row["copying"] = float(self.copying.scores[layer, head])
                row["copying_p"] = float(self.copying.p_values[layer, head])
            rows.append(row)
        return rows

    def plot(self, name: str | None = None) -> Figure:
        """A heat map: of one score [layer, head], or of all scores above chance [head, score].

        Raises:
            ValueError: no such score.
        """
        if name is not None:
            return plotting.heatmap(
                self.scores.mean(name),
                row_labels=[str(layer) for layer in range(self.shape[0])],
                column_labels=[str(head) for head in range(self.shape[1])],
                title=f"{name} in {self.model}",
                row_axis="layer",
                column_axis="head",
                limit=1.0,
            )
        values = [self.scores.above_chance(one).mean(-1).ravel() for one in self.intervals]
        return plotting.heatmap(
            np.stack(values, axis=1),
            row_labels=list(self.heads),
            column_labels=list(self.intervals),
            title=f"heads of {self.model}",
            row_axis="head",
            value_label="score above chance",
            limit=1.0,
        )

    def save(self, path: str | Path) -> None:
        """Write one safetensors file."""
        arrays: dict[str, Array] = {
            f"score/{name}": values for name, values in self.scores.per_prompt.items()
        }
        for weights, control in self.control.items():
            for part in ("mean", "low"):
                arrays |= {
                    f"{weights}/{part}/{name}": values
                    for name, values in getattr(control, part).items()
                }
        described: dict[str, Any] = {
            "model": self.model,
            "by_chance": self.scores.by_chance,
            "score_settings": self.scores.settings,
            "thresholds": {name: asdict(one) for name, one in self.thresholds.of.items()},
            "recipe": self.thresholds.recipe,
            "control": list(self.control),
            "settings": self.settings,
        }
        if self.copying is not None:
            arrays |= {"copying/scores": self.copying.scores, "copying/draws": self.copying.draws}
            described["copying"] = {
                "control": self.copying.control,
                "seed": self.copying.seed,
                "settings": self.copying.settings,
            }
        if self.roles is not None:
            of_roles, described["roles"] = self.roles.stored()
            arrays |= {f"roles/{name}": values for name, values in of_roles.items()}
        save_arrays(path, "taxonomy", arrays, described)

    @classmethod
    def load(cls, path: str | Path) -> Taxonomy:
        """The inverse of `save`.

        Raises:
            ValueError: the file is missing or holds something else.
        """
        arrays, described = load_arrays(path, "taxonomy")

        def under(prefix: str) -> dict[str, Array]:
            start = prefix + "/"
            return {k.removeprefix(start): v for k, v in arrays.items() if k.startswith(start)}

        copying = described.get("copying")
        roles = described.get("roles")
        return cls(
            model=described["model"],
            scores=HeadScores(
                {name: under("score")[name] for name in SCORES if name in under("score")},
                described["by_chance"],
                described["score_settings"],
            ),
            thresholds=Thresholds(
                {name: _threshold(one) for name, one in described["thresholds"].items()},
                described["recipe"],
            ),
            control={
                weights: RandomControl(under(f"{weights}/mean"), under(f"{weights}/low"))
                for weights in described["control"]
            },
            copying=None if copying is None else _copying(under("copying"), copying),
            roles=None if roles is None else HeadRoles.restored(under("roles"), roles),
            settings=described["settings"],
        )


def _copying(arrays: dict[str, Array], described: dict[str, Any]) -> CopyingBaseline:
    both: dict[str, Any] = {**arrays, **described}
    return CopyingBaseline(**both)


def _threshold(found: dict[str, Any]) -> Threshold:
    random = {kind: (int(a), int(b)) for kind, (a, b) in found["random"].items()}
    return Threshold(**{**found, "random": random})
