"""What can be chosen about the calibration: the options of `cutaway calibrate`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

# As in `METHODS` and `KNOWN`, which a test holds; written out, so that --help loads no torch.
METHODS = ("exact-edges", "exact-nodes", "acdc", "eap", "eap-ig", "edge-masks", "random")
MODELS = ("previous-token", "duplicate-token", "induction", "ioi")


@dataclass(frozen=True)
class CalibrateSettings:
    """Try every discovery method on models whose circuit is known."""

    command: ClassVar[str] = "calibrate"

    methods: tuple[str, ...] = METHODS
    """The discovery methods, each with its own default settings."""
    models: tuple[str, ...] = MODELS
    """The models written by hand (docs/methods/known-models.md)."""
    seeds: int = 3
    """How many bases (with other idle heads) of every model; a method that draws gets the same
    seed."""
    sharpness: tuple[float, ...] = (30.0, 3.0)
    """By how much the score of the key that is meant exceeds the next one's: at 30 attention is 0
    or 1, at 3 some of it lies elsewhere."""
    n_prompts: int = 16
    """Prompts of each task."""
    n_random: int = 20
    """Draws of the control in each basis."""
    table: Path | None = None
    """A Markdown file whose table, between two marks, is written anew."""
    out: Path = Path("runs")
    """The folder that the run's own folder is made in."""

    def __post_init__(self) -> None:
        for name, least in (("seeds", 1), ("n_prompts", 2), ("n_random", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}={getattr(self, name)} is too few: at least {least}.")
        for name, known in (("methods", METHODS), ("models", MODELS)):
            given = getattr(self, name)
            for one in given:
                if one not in known:
                    raise ValueError(
                        f"there is no {name[:-1]} {one!r}; there are {', '.join(known)}."
                    )
            _check_each_once(name, given)
        _check_each_once("sharpness", self.sharpness)
        for value in self.sharpness:
            if not value >= 2:
                raise ValueError(
                    f"sharpness={value:g} is too small: below 2 the known models no longer solve "
                    "all of their tasks."
                )


def _check_each_once(name: str, given: tuple[object, ...]) -> None:
    if not given or len(set(given)) < len(given):
        words = " ".join(map(str, given))
        raise ValueError(f"{name}={words!r}: give at least one, and each only once.")
