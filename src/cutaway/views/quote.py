"""Text as a model wrote it: its own lines, and long ones folded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .markup import Markup, tag
from .view import View


@dataclass(frozen=True)
class Quote(View):
    """A text set in its own lines.

    Example:
        >>> "<pre" in Quote("First line,\\nand second.").markup()
        True
    """

    assets: ClassVar[tuple[str, ...]] = ("quote",)

    text: str
    """It is escaped."""

    def markup(self) -> Markup:
        """The HTML alone."""
        return tag("pre", self.text, class_="ct-quote")
