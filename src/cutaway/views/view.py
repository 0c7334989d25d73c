"""What every view is: a result that can write itself as HTML."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, TypeAlias

from .document import document, scripts, styles
from .markup import Markup, join, tag


class View(ABC):
    """A result as HTML, the same in a notebook, in a report and in the dashboard.

    A subclass writes `markup` and names its assets; a page that holds many views includes each
    asset once.
    """

    assets: ClassVar[tuple[str, ...]] = ()
    """The style sheets and scripts this view needs, besides "base"."""

    @abstractmethod
    def markup(self) -> Markup:
        """The HTML alone, without styles and scripts."""

    def needs(self) -> tuple[str, ...]:
        """The assets of this view and of all that it holds; some may be named twice."""
        return ("base", *self.assets)

    def html(self) -> str:
        """A fragment with its own styles and scripts, which can stand in any page.

        Example:
            >>> Prose("a < b").html().count("a &lt; b")  # doctest: +SKIP
            1
        """
        names = tuple(dict.fromkeys(self.needs()))
        body = tag("div", self.markup(), class_="cutaway")
        return join(styles(names), body, scripts(names))

    def page_html(self, title: str = "Cutaway") -> str:
        """A complete HTML file that holds this view alone."""
        body = tag("main", self.markup(), class_="ct-alone")
        return document(title, body, (*self.needs(), "frame"))

    def _repr_html_(self) -> str:
        """The view in a notebook: in a frame of its own, so that no style leaks either way."""
        return str(
            tag(
                "iframe",
                srcdoc=self.page_html(),
                title=type(self).__name__,
                style="width:100%;height:26rem;border:0",
            )
        )


Part: TypeAlias = "View | str"
"""What a page is made of: a view, markup, or a plain string, which becomes a paragraph."""


def part_markup(part: Part) -> Markup:
    """The HTML of one part."""
    if isinstance(part, View):
        return part.markup()
    return part if isinstance(part, Markup) else tag("p", part)


def parts_need(parts: tuple[Part, ...]) -> tuple[str, ...]:
    """The assets of several parts."""
    return tuple(name for part in parts if isinstance(part, View) for name in part.needs())


def figure(kind: str, title: str, caption: str, *content: Markup | None) -> Markup:
    """The frame that all figures share: a title above, a caption below.

    Args:
        kind: the class of the figure, such as "ct-heatmap".
        title: above it, empty for none.
        caption: below it: what is measured, its unit and sign; empty for none.
        content: the figure itself.
    """
    return tag(
        "figure",
        tag("p", title, class_="ct-title") if title else None,
        *content,
        tag("figcaption", caption) if caption else None,
        class_=f"ct-figure {kind}",
        aria_label=title or None,
    )


def tip(*lines: str) -> str:
    """The text that hovering, focusing or tapping an element shows; the first line is its name."""
    return "\n".join(line for line in lines if line)
