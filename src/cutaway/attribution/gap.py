"""`direct_gap`: what heads write directly, beside all that is lost when they are taken out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from .. import evidence
from ..array_files import Array
from ..evidence import Interval
from ..patching.effects import Effects
from .direct import DirectAttribution

_SAME = 1e-2  # of the metric's scale: what rounding may make of one run


@dataclass(frozen=True, eq=False)
class DirectGap:
    """Direct attribution and exact effect of the same heads on the same prompts, in logits.

    The difference is what the later layers and the final norm's scale make of a head's absence:
    positive where more is lost than the head wrote, negative where the rest makes up for it.
    """

    heads: tuple[str, ...]
    direct: Float[Array, "head prompt"]
    exact: Float[Array, "head prompt"]
    """The metric of the whole model less that without the head."""
    value: str
    """What stood in the head's place: "zero", ..."""

    def correlation(self, seed: int = 0) -> Interval:
        """Pearson's, over heads, of the two means."""
        return evidence.bootstrap_correlation(self.direct, self.exact, seed=seed)

    def rows(self, k: int | None = None, seed: int = 0) -> list[dict[str, Any]]:
        """Head, and intervals of direct, exact and difference (exact less direct), the largest
        difference first.

        Args:
            k: how many; None means all.
            seed: of the bootstrap.
        """
        difference = self.exact - self.direct
        order = np.argsort(-np.abs(difference.mean(-1)), kind="stable")[:k]
        parts = {"direct": self.direct, "exact": self.exact, "difference": difference}
        return [
            {
                "head": self.heads[i],
                **{name: evidence.bootstrap_mean(part[i], seed) for name, part in parts.items()},
            }
            for i in map(int, order)
        ]

    def to_frame(self) -> list[dict[str, Any]]:
        """One row (a dict) for each head, numbers only; pandas takes it as is."""
        found = []
        for row in self.rows():
            flat: dict[str, Any] = {"head": row.pop("head")}
            for name, one in row.items():
                flat |= {name: one.estimate, f"{name} low": one.low, f"{name} high": one.high}
            found.append(flat)
        return found


def direct_gap(direct: DirectAttribution, exact: Effects) -> DirectGap:
    """Direct attribution beside the exact effect of taking the same heads out.

    Args:
        direct: of the clean prompts, heads listed one by one.
        exact: of a sweep over z of all heads with mode="noising"; with value "zero" the two
            differ only by what answers to the head's absence.

    Raises:
        ValueError: the two are not of the same heads, prompts and metric.

    Example:
        >>> exact = ca.sweep(model, task, "z", "zero", mode="noising")
        >>> direct_gap(ca.direct_attribution(model, task, "head"), exact).rows(3)
    """
    grid = direct.grid("head")
    named = [axis.name for axis in exact.axes]
    if named != ["layer", "head"] or exact.site != "z" or exact.mode != "noising":
        raise ValueError(
            f"exact effects of {exact.site}, {exact.mode}, over {' x '.join(named)} were given: "
            'sweep with site "z" and mode="noising" at all positions.'
        )
    if exact.patched.shape != grid.shape:
        raise ValueError(
            f"exact effects of {exact.patched.shape} layers, heads and prompts do not belong to a "
            f"direct attribution of {grid.shape}: make both from one model and one task."
        )
    apart = np.abs(exact.clean - direct.total).max()
    if not apart <= _SAME * max(np.abs(exact.clean).max(), 1e-9):
        raise ValueError(
            f"the two disagree by {apart:.4g} on the {exact.metric} of the clean prompts: make "
            "both from one model, one task and one metric."
        )
    n_prompts = grid.shape[-1]
    return DirectGap(
        heads=tuple(direct.axes[0].labels[place] for place in direct.places("head")),
        direct=grid.reshape(-1, n_prompts),
        exact=exact.per_prompt.reshape(-1, n_prompts),
        value=str(exact.settings.get("value", "")),
    )
