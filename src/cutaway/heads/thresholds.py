"""From which score on a head is called something: thresholds set on models whose heads are known.

`cutaway calibrate heads` makes them; `docs/methods/heads.md` says how. They are carried in the
package.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from ..files import write_json

_FILE = "head_thresholds.json"


@dataclass(frozen=True)
class Threshold:
    """The threshold of one class, and what it was set between."""

    value: float
    """Above chance: (score - chance) / (1 - chance), of which uniform attention has 0 and a head
    that does nothing else 1; for scores that are no share of attention the score itself."""
    highest_negative: float
    """Of all heads without the class that it was set on, the highest mean score (same scale)."""
    lowest_positive: float
    """Of all heads with the class, the lowest."""
    n_negative: int
    n_positive: int
    found: int
    """On models that it was not set on: heads with the class that are called so."""
    n_with: int
    """Of so many."""
    false: int
    """On models that it was not set on: hand-written and idle heads without the class that are
    called so all the same."""
    n_without: int
    """Of so many."""
    random: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Kind of random weights -> (heads that are called so, of how many)."""

    def raw(self, by_chance: float) -> float:
        """The threshold on the scale of the score, where uniform attention has `by_chance`.

        Example:
            >>> THRESHOLD.raw(0.0) == THRESHOLD.value
            True
        """
        return by_chance + self.value * (1 - by_chance)


@dataclass(frozen=True)
class Thresholds:
    """The threshold of every class, and the recipe that made them."""

    of: dict[str, Threshold]
    recipe: dict[str, Any] = field(default_factory=dict)
    """The command, models, seeds, and prompts."""

    def save(self, path: str | Path) -> None:
        """Write JSON."""
        write_json(path, {"recipe": self.recipe, "thresholds": self.of})

    @classmethod
    def load(cls, path: str | Path) -> Thresholds:
        """The inverse of `save`.

        Raises:
            ValueError: the file is missing or does not hold thresholds.
        """
        if not Path(path).is_file():
            raise ValueError(f"there is no file {path} that holds thresholds of heads.")
        return _parsed(Path(path).read_text(encoding="utf-8"), str(path))


@cache
def default_thresholds() -> Thresholds:
    """The thresholds that the package carries.

    Example:
        >>> 0 < default_thresholds().of["induction"].value < 1
        True
    """
    file = resources.files("cutaway") / "assets" / _FILE
    return _parsed(file.read_text(encoding="utf-8"), _FILE)


def _parsed(text: str, name: str) -> Thresholds:
    try:
        found = json.loads(text)
        of = {
            key: Threshold(
                **{
                    **one,
                    "random": {kind: (int(a), int(b)) for kind, (a, b) in one["random"].items()},
                }
            )
            for key, one in found["thresholds"].items()
        }
        return Thresholds(of, found["recipe"])
    except (json.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{name} does not hold thresholds of heads: {error!r}.") from None
