"""What can be chosen about converting: the options of `cutaway sae convert`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro


@dataclass(frozen=True)
class ConvertSettings:
    """Write a dictionary in another format, and check that it computes the same."""

    source: Annotated[str, tyro.conf.arg(metavar="FROM")]
    """A folder of ours, of SAELens' or of sparsify's,
    or a dictionary that is part of the package."""
    target: Annotated[Path, tyro.conf.arg(metavar="TO")]
    """The folder that is written; an earlier dictionary there goes."""
    format: Literal["cutaway", "saelens", "sparsify"] = "saelens"
    """Whose. SAELens opens the first two; cutaway keeps the kind."""
    assume: tuple[str, ...] = ()
    """What the file's cfg.json lacks and you know,
    as architecture=standard scaling_factor=2.5."""

    def __post_init__(self) -> None:
        for given in self.assume:
            name, equals, value = given.partition("=")
            if not (name and equals and value):
                raise ValueError(f"assume={given!r} is not NAME=VALUE, as architecture=standard.")
