"""`HeadRoles`: name movers, negative name movers, S-inhibition and backup heads of an IOI task.

The roles of Wang et al. (2022, sections 3.1 to 3.4), each by what a head does and not only by where
it looks. Attention says where it could read; the direct contribution says what it writes;
path patching whom it tells; a knock-out who stands in.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from .. import evidence
from ..array_files import Array, load_arrays, save_arrays
from ..evidence import Interval
from .readings import LOOKS, WRITES

NAME_MOVER, NEGATIVE, INHIBITION, BACKUP = (
    "name mover",
    "negative name mover",
    "S-inhibition",
    "backup name mover",
)
ROLES = (NAME_MOVER, NEGATIVE, INHIBITION, BACKUP)
NEEDS = ("IO", "S1", "S2", "END")
"""The positions that a task has to name."""
PLACES = ("IO", "S1", "S2")


@dataclass(frozen=True, eq=False)
class HeadRoles:
    """What every head does for the indirect object, prompt by prompt.

    Example:
        >>> found = head_roles(model, task, reference=other_names)
        >>> found.roles
        {'9.9': ('name mover',), '8.6': ('S-inhibition',), ...}
    """

    looks: Float[Array, "place layer head prompt"]
    """Attention from END to IO, S1 and S2."""
    direct: Float[Array, "layer head prompt"]
    """What a head adds directly to logit(IO) - logit(S) at END, in logits."""
    whole: Float[Array, " prompt"]
    """What the stream adds to it in all, in logits."""
    copies: Float[Array, "layer head prompt"]
    """Wang et al.'s copy score: the share of both names that its OV circuit raises most."""
    lowers: Float[Array, "layer head prompt"]
    """The same with the sign turned round: the share that it lowers most."""
    through: Float[Array, "layer head prompt"]
    """What the metric loses if the name movers' queries at END hear this head's corrupted output
    (and all else clean); NaN where there is no path, or no name mover."""
    gap: Float[Array, " prompt"]
    """Metric of clean minus corrupted, which `through` is expressed in."""
    direct_without: Float[Array, "layer head prompt"]
    """`direct` in a run without the name movers, the final norm's scale as it was with them; NaN
    where there is no name mover."""
    direct_without_random: Float[Array, "set layer head"]
    """The same without as many heads drawn at random, means over prompts: the control."""
    accuracy: Interval
    """Of the model on the task: without the behaviour there are no roles."""
    settings: dict[str, Any] = field(default_factory=dict)
    """What made it, and which heads were taken for name movers."""

    @property
    def does_task(self) -> bool:
        """Whether IO is above S clearly more often than not: otherwise no head has a role."""
        return self.accuracy.low > 0.5 and float(self.whole.mean()) > 0

    @property
    def movers(self) -> tuple[str, ...]:
        """The name movers that were knocked out, and whose queries were listened to."""
        return tuple(self.settings["movers"])

    def share(
        self, values: Float[Array, "layer head prompt"], seed: int = 0
    ) -> tuple[Float[Array, "layer head"], Float[Array, "layer head"], Float[Array, "layer head"]]:
        """(share, low, high) of the direct logit difference: of `direct`, or of a change of it."""
        return of_whole(values, self.whole, seed)

    def growth(self) -> Float[Array, "layer head prompt"]:
        """What a head adds more without the name movers, in logits."""
        return np.asarray(self.direct_without - self.direct)

    def through_share(
        self, seed: int = 0
    ) -> tuple[Float[Array, "layer head"], Float[Array, "layer head"], Float[Array, "layer head"]]:
        """(effect, low, high) of the path into the name movers' queries, normalised."""
        return of_whole(self.through, self.gap, seed)

    @property
    def roles(self) -> dict[str, tuple[str, ...]]:
        """Head -> its roles, of the heads that have one; none where the model fails the task."""
        found: dict[str, tuple[str, ...]] = {}
        if not self.does_task:
            return found
        flags = self.flags()
        for index in np.ndindex(self.direct.shape[:2]):
            roles = tuple(role for role in ROLES if flags[role][index])
            if roles:
                found[f"{index[0]}.{index[1]}"] = roles
        return found

    def flags(self) -> dict[str, NDArray[np.bool_]]:
        """Role -> which heads fit its definition, [layer, head], whether the model does the task
        or not.

        Name mover: more than 0.3 of the attention of END is on IO, and it adds more than 0.05 of
        the direct logit difference. Negative: likewise, and it takes as much away. S-inhibition:
        more than 0.3 on S2, and the path from it to the name movers' queries carries more than
        0.02. Backup: no name mover; without the name movers it adds more than 0.05 and at least
        0.02 more than with them. Of all shares and effects the 95% interval excludes 0.
        """
        looks = dict(zip(PLACES, self.looks.mean(-1), strict=True))
        direct, low, high = self.share(self.direct)
        mover = (looks["IO"] > LOOKS) & (direct > WRITES) & (low > 0)
        negative = (looks["IO"] > LOOKS) & (direct < -WRITES) & (high < 0)
        effect, effect_low, effect_high = self.through_share()
        tells = evidence.matters(effect, effect_low, effect_high) & (effect > 0)
        grown = self.share(self.growth())
        left, left_low, _ = self.share(self.direct_without)
        is_mover = np.zeros_like(mover)
        for name in self.movers:
            layer, head = map(int, name.split("."))
            is_mover[layer, head] = True
        grows = evidence.matters(*grown) & (grown[0] > 0)
        backup = ~is_mover & grows & (left > WRITES) & (left_low > 0)
        return {
            NAME_MOVER: mover,
            NEGATIVE: negative,
            INHIBITION: (looks["S2"] > LOOKS) & tells,
            BACKUP: backup,
        }

    def to_frame(self) -> list[dict[str, Any]]:
        """One row (a dict) for each head, with every share and its interval."""
        shares = {
            "direct": self.share(self.direct),
            "to_movers": self.through_share(),
            "growth": self.share(self.growth()),
            "direct_without": self.share(self.direct_without),
        }
        control = self.direct_without_random - self.direct.mean(-1)
        roles, rows = self.roles, []
        for layer, head in np.ndindex(self.direct.shape[:2]):
            row: dict[str, Any] = {"layer": layer, "head": head}
            for place, looks in zip(PLACES, self.looks, strict=True):
                row[f"END to {place}"] = float(looks[layer, head].mean())
            row["copies"] = float(self.copies[layer, head].mean())
            row["lowers"] = float(self.lowers[layer, head].mean())
            for name, (value, low, high) in shares.items():
                row[name] = float(value[layer, head])
                row[f"{name}_low"], row[f"{name}_high"] = (
                    float(low[layer, head]),
                    float(high[layer, head]),
                )
            of_head = control[:, layer, head] / self.whole.mean()
            row["growth_random"] = float(of_head.mean()) if len(of_head) else float("nan")
            row["roles"] = ", ".join(roles.get(f"{layer}.{head}", ()))
            rows.append(row)
        return rows

    def save(self, path: str | Path) -> None:
        """Write one safetensors file."""
        arrays, described = self.stored()
        save_arrays(path, "head-roles", arrays, described)

    def stored(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """(arrays by name, the rest): what `save` writes and `restored` reads."""
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        return arrays, {"accuracy": vars(self.accuracy), "settings": self.settings}

    @classmethod
    def restored(cls, arrays: dict[str, Array], described: dict[str, Any]) -> HeadRoles:
        """The inverse of `stored`."""
        return cls(
            **{name: arrays[name] for name in _ARRAYS},
            accuracy=Interval(**described["accuracy"]),
            settings=described["settings"],
        )

    @classmethod
    def load(cls, path: str | Path) -> HeadRoles:
        """The inverse of `save`.

        Raises:
            ValueError: the file is missing or holds something else.
        """
        return cls.restored(*load_arrays(path, "head-roles"))


_ARRAYS = (
    "looks",
    "direct",
    "whole",
    "copies",
    "lowers",
    "through",
    "gap",
    "direct_without",
    "direct_without_random",
)


def of_whole(
    values: Array, whole: Float[Array, " prompt"], seed: int
) -> tuple[Array, Array, Array]:
    """Ratios of means with their intervals; NaN where nothing was measured."""
    measured = np.isfinite(values).all(-1)
    ends = tuple(np.full(values.shape[:-1], np.nan) for _ in range(3))
    if measured.any() and whole.mean() != 0:
        for end, found in zip(
            ends, evidence.bootstrap_ratio(values[measured], whole, seed), strict=True
        ):
            end[measured] = found
    return ends[0], ends[1], ends[2]
