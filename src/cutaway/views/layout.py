"""Parts that hold other parts: sections, rows, folds, notes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from .markup import Markup, join, tag
from .view import Part, View, part_markup, parts_need


class _Holder(View):
    """A view made of parts."""

    def __init__(self, *parts: Part) -> None:
        self.parts = parts

    def needs(self) -> tuple[str, ...]:
        """The assets of this view and of its parts."""
        return (*super().needs(), *parts_need(self.parts))

    def _inside(self) -> Markup:
        return join(*(part_markup(part) for part in self.parts))


class Prose(_Holder):
    """Paragraphs; a plain string is one paragraph.

    Example:
        >>> Prose("The metric is a difference of logits.").markup()
        '<div class="ct-prose"><p>The metric is a difference of logits.</p></div>'
    """

    def markup(self) -> Markup:
        """The HTML alone."""
        return tag("div", self._inside(), class_="ct-prose")


class Beside(_Holder):
    """Views side by side, one below the other where the window is narrow.

    Example:
        >>> Beside(Prose("left"), Prose("right")).markup()[:23]
        '<div class="ct-beside">'
    """

    def markup(self) -> Markup:
        """The HTML alone."""
        return tag("div", self._inside(), class_="ct-beside")


class Disclosure(_Holder):
    """Something folded away behind a line that opens it, such as settings and method notes.

    Args:
        summary: the line.
        parts: what it opens.
        open_: whether it starts open.

    Example:
        >>> Disclosure("Settings", "seed 0").markup()[:28]
        '<details class="ct-details">'
    """

    def __init__(self, summary: str, *parts: Part, open_: bool = False) -> None:
        super().__init__(*parts)
        self.summary, self.open = summary, open_

    def markup(self) -> Markup:
        """The HTML alone."""
        body = tag("div", self._inside(), class_="ct-details-body")
        return tag(
            "details", tag("summary", self.summary), body, class_="ct-details", open=self.open
        )


class Note(_Holder):
    """A marked passage: a finding (what the numbers say) or a caution (when they mislead).

    Example:
        >>> Note("caution", "The baseline is weak.").markup()[:30]
        '<aside class="ct-note caution"'
    """

    def __init__(self, kind: Literal["finding", "caution"], *parts: Part, title: str = "") -> None:
        super().__init__(*parts)
        self.kind, self.title = kind, title

    def markup(self) -> Markup:
        """The HTML alone."""
        title = tag("p", self.title, class_="ct-note-title") if self.title else None
        return tag("aside", title, self._inside(), class_=f"ct-note {self.kind}")


class Section(_Holder):
    """A part of the page with a heading, which the page's contents list.

    Args:
        title: the heading.
        parts: what stands in it.
        anchor: its name within the page; made from the title where it is empty.

    Example:
        >>> Section("Which heads", "All of them.").anchor
        'which-heads'
    """

    def __init__(self, title: str, *parts: Part, anchor: str = "") -> None:
        super().__init__(*parts)
        self.title = title
        self.anchor = anchor or slug(title)

    def markup(self) -> Markup:
        """The HTML alone."""
        return tag("section", tag("h2", self.title), self._inside(), id=self.anchor)


@dataclass(frozen=True)
class Items(View):
    """A list of sentences.

    Example:
        >>> Items(("one", "two")).markup()
        '<ul class="ct-items"><li>one</li><li>two</li></ul>'
    """

    items: tuple[str, ...]
    """Text or markup, one for each item."""

    assets: ClassVar[tuple[str, ...]] = ()

    def markup(self) -> Markup:
        """The HTML alone."""
        return tag("ul", *(tag("li", item) for item in self.items), class_="ct-items")


def slug(title: str) -> str:
    """A title as an anchor: lower case, hyphens.

    Example:
        >>> slug("Where they look")
        'where-they-look'
    """
    words = "".join(letter.lower() if letter.isalnum() else " " for letter in title).split()
    return "-".join(words) or "section"
