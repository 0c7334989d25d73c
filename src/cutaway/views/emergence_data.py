"""What `cutaway run emergence` found, and what follows: curves, transitions, their order."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ..array_files import Array, load_arrays, save_arrays
from ..evidence import Interval, benjamini_hochberg, sign_flips
from ..evidence.change_point import FEWEST, ChangePoint, change_point
from ..evidence.s_curve import SCurveFits, fit_s_curves, student_mean
from .emergence_sweep import Sweep

CLASSES = ("previous-token", "duplicate-token", "induction", "first-token", "current-token")
"""Classes of heads that are followed."""
STEERED = (("B", 0), ("B", 1), ("END", 0), ("END", 1))
"""Where Emb(C) - Emb(B) is added: position, and before which layer."""
BEHAVIOUR, HEAD, PROBE, TELLS = "behaviour", "induction head", "probe", "previous-name head"
ANY, SAYS, COPIES = "some B", "says B", "copying"
REPEATS, PATCHED, STEER, IN_CONTEXT = "random repeats", "patched head", "steering", "in context"
MAIN = (PROBE, HEAD, BEHAVIOUR)
"""The three whose transitions are compared first of all."""
ALL = (ANY, COPIES, TELLS, HEAD, PATCHED, PROBE, BEHAVIOUR, SAYS, IN_CONTEXT, STEER, REPEATS)
WHAT = {
    BEHAVIOUR: "share of prompts in which B is likelier than the B of every other pair",
    ANY: "share of prompts whose likeliest token is the B of some pair",
    SAYS: "share of prompts whose likeliest token is B",
    HEAD: "attention from END to B minus that to the B of another pair, on average, of the head "
    "that looks to B most in the end",
    COPIES: "copying score, by its weights, of the head that looks to B most in the end",
    TELLS: "attention of layer 0 from B to its A, of the head that has most in the end",
    PROBE: "accuracy of a linear probe for B at END after the last layer, minus that of one for "
    "the B of another pair",
    PATCHED: "logits that B gains on C when the head of the clean run is put into the corrupted "
    "one, of the head that gains most in the end",
    STEER: "share of prompts that say C when Emb(C) − Emb(B) is added to B before layer 0",
    IN_CONTEXT: "loss of a B the first time minus its loss when it comes again, nats",
    REPEATS: "induction score on random names [BOS, r, r], of the head that has most in the end",
}
CLOSE = 1.1
"""Transitions coincide if the interval of the ratio of their midpoints lies within 1 / this and
this."""
_SETTLED = 1e-12
Point = Literal["onset", "midpoint"]


@dataclass(frozen=True)
class Order:
    """One transition beside another, paired over seeds."""

    first: str
    second: str
    of: Point
    """midpoint: half of the rise is done; onset: a tenth of it is."""
    ratio: Interval
    """Step of the second over that of the first: geometric mean, Student's interval."""
    earlier: int
    """Seeds in which the first is the earlier one."""
    n: int
    """Seeds in which both have a transition."""
    p: float
    """Sign flips of ln(ratio), two-sided."""
    smallest_p: float
    """The smallest that so few seeds could give."""

    @property
    def verdict(self) -> str:
        """before, after, together, or unknown, by the interval of the ratio."""
        if self.n < 2:
            return "unknown"
        if self.ratio.low >= 1 / CLOSE and self.ratio.high <= CLOSE:
            return "together"
        if self.ratio.low > 1:
            return "before"
        return "after" if self.ratio.high < 1 else "unknown"


@dataclass(frozen=True, eq=False)
class Emergence:
    """Every measure of every seed at every step.

    Example:
        >>> found = Emergence.load("runs/latest/emergence.safetensors")  # doctest: +SKIP
        >>> print(found.fits["behaviour"].midpoint())  # doctest: +SKIP
        187.114 [164.028, 213.450] (95%, n=6)
    """

    steps: NDArray[np.int64]
    """[step], the first is 0."""
    seeds: tuple[int, ...]
    arrays: Mapping[str, Array]
    """Name -> [seed, step, ...]; the last axis is prompts where there are any."""
    sweep: Sweep | None = None
    places: tuple[range, range] = (range(1, 1), range(1, 1))
    """Tokens at which the in-context score reads its early and its late loss."""
    settings: Mapping[str, str] = field(default_factory=dict)
    timings: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0
    """Of intervals."""

    @property
    def n_layers(self) -> int:
        """Of the models."""
        return int(self.arrays["END to B"].shape[2])

    def strongest(self, name: str, layer: int | None = None) -> NDArray[np.int64]:
        """The head (layer, head) that has most of something at the last step: [seed, 2]."""
        last = self.arrays[name][:, -1].mean(-1)  # [seed, layer, head]
        if layer is not None:
            last = np.where(np.arange(last.shape[1])[:, None] == layer, last, -np.inf)
        flat = last.reshape(len(last), -1).argmax(-1)
        return np.stack(np.unravel_index(flat, last.shape[1:]), axis=-1)

    def of_head(self, name: str, head: NDArray[np.int64]) -> Array:
        """One head of each seed, [seed, step, ...]."""
        return np.stack([self.arrays[name][i, :, a, b] for i, (a, b) in enumerate(head)])

    @cached_property
    def curves(self) -> dict[str, Array]:
        """The scores that may turn, each [seed, step, prompt]."""
        a, looks = self.arrays, self.strongest("END to B")
        return {
            COPIES: self.of_head("copying", looks)[..., None],
            TELLS: self.of_head("B to A", self.strongest("B to A", 0)),
            HEAD: self.of_head("END to B", looks) - self.of_head("END to others", looks),
            PATCHED: self.of_head("patched", self.strongest("patched")),
            PROBE: a["probe"][:, :, -1] - a["probe another"][:, :, -1],
            BEHAVIOUR: a["chosen"],
            ANY: a["some"],
            SAYS: a["correct"],
            IN_CONTEXT: a["loss first"] - a["loss again"],
            STEER: a["steered"][:, :, 0],
            REPEATS: self.of_head("induction", self.strongest("induction")),
        }

    @cached_property
    def fits(self) -> dict[str, SCurveFits]:
        """The S-curves of every score, from step 1 on."""
        after = self.steps > 0
        return {
            name: fit_s_curves(self.steps[after], values[:, after], seed=self.seed)
            for name, values in self.curves.items()
        }

    def order(self, first: str, second: str, of: Point = "midpoint") -> Order | None:
        """Which of two transitions comes first, by their midpoints or by their onsets; None where
        fewer than two seeds have both."""
        one, two = (self.fits[name].of_seeds(of) for name in (first, second))
        ratio = np.log(two / one)
        ratio = ratio[np.isfinite(ratio)]
        if ratio.size < 2:
            return None
        mean = student_mean(ratio)
        middle, low, high = (float(np.exp(end)) for end in (mean.estimate, mean.low, mean.high))
        tested = sign_flips(ratio)
        return Order(
            first,
            second,
            of,
            Interval(middle, low, high, mean.level, mean.n),
            int((ratio > _SETTLED).sum()),
            ratio.size,
            float(tested.p),
            tested.smallest,
        )

    @cached_property
    def orders(self) -> tuple[Order, ...]:
        """Every score beside the behaviour, and some beside each other; midpoints and onsets."""
        pairs = [(PROBE, HEAD), (TELLS, HEAD), (STEER, SAYS)]
        pairs += [(name, BEHAVIOUR) for name in ALL if name not in (BEHAVIOUR, STEER)]
        found = [self.order(*pair, of) for pair in pairs for of in get_args(Point)]
        return tuple(one for one in found if one is not None)

    @cached_property
    def breaks(self) -> dict[str, tuple[ChangePoint | None, ...]]:
        """Change-point tests of the three main scores, one for each seed; None where there are too
        few steps, or the score never changes."""
        after = self.steps > 0
        enough = int(after.sum()) >= FEWEST
        found: dict[str, tuple[ChangePoint | None, ...]] = {}
        for name in MAIN:
            found[name] = tuple(
                change_point(self.steps[after], row, seed=self.seed)
                if enough and np.ptp(row) > 0
                else None
                for row in self.curves[name][:, after].mean(-1)
            )
        return found

    def n_breaks(self, name: str) -> tuple[int, int]:
        """Seeds with a break (false discovery rate 5% over seeds and scores), and of how many."""
        tested = [(score, one.p) for score, row in self.breaks.items() for one in row if one]
        if not tested:
            return 0, 0
        kept = benjamini_hochberg(np.array([p for _, p in tested])).found
        of_score = [bool(k) for (score, _), k in zip(tested, kept, strict=True) if score == name]
        return sum(of_score), len(of_score)

    def over_seeds(self, name: str, values: Array | None = None) -> list[Interval]:
        """The mean of a score at every step, with Student's interval over seeds."""
        values = self.curves[name] if values is None else values
        means = values.reshape(*values.shape[:2], -1).mean(-1)
        return [student_mean(means[:, step]) for step in range(means.shape[1])]

    def final(self, name: str) -> Interval:
        """The same at the last step."""
        return self.over_seeds(name)[-1]

    @property
    def in_context_score(self) -> Array:
        """Late minus early loss (Olsson et al. 2022), [seed, step, sequence]."""
        return np.asarray(self.arrays["loss late"] - self.arrays["loss early"])

    def save(self, path: str | Path) -> None:
        """Write one safetensors file."""
        described: dict[str, Any] = {
            "seeds": self.seeds,
            "places": [[one.start, one.stop] for one in self.places],
            "settings": dict(self.settings),
            "timings": dict(self.timings),
            "seed": self.seed,
            "sweep": None if self.sweep is None else self.sweep.plain(),
        }
        arrays = {f"measure/{name}": values for name, values in self.arrays.items()}
        save_arrays(path, "emergence", {"steps": self.steps, **arrays}, described)

    @classmethod
    def load(cls, path: str | Path) -> Emergence:
        """The inverse of `save`.

        Raises:
            ValueError: the file is missing or holds something else.
        """
        arrays, described = load_arrays(path, "emergence")
        sweep = described["sweep"]
        return cls(
            steps=arrays["steps"],
            seeds=tuple(described["seeds"]),
            arrays={
                name.removeprefix("measure/"): values
                for name, values in arrays.items()
                if name != "steps"
            },
            sweep=None if sweep is None else Sweep.of_plain(sweep),
            places=(range(*described["places"][0]), range(*described["places"][1])),
            settings=described["settings"],
            timings=described["timings"],
            seed=described["seed"],
        )

    def without_prompts(self) -> Emergence:
        """The same with means in place of prompts: small enough to keep, but its curves have no
        intervals over prompts."""
        whole = ("copying", "classes")
        means = {
            name: values if name in whole else values.mean(-1, keepdims=True)
            for name, values in self.arrays.items()
        }
        return dataclasses.replace(self, arrays=means)


def stacked(parts: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    """The arrays of each seed as one: [seed, ...]."""
    return {name: np.stack([one[name] for one in parts]) for name in parts[0]}
