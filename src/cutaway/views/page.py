"""A whole report: one HTML file, readable on a phone, on paper, in the light and in the dark."""

from __future__ import annotations

from .document import document
from .layout import Section
from .markup import Markup, join, tag
from .view import Part, View, part_markup, parts_need

_THEMES = ("auto", "light", "dark")


class Page(View):
    """A page that parts are added to, in the order in which they are read.

    Args:
        title: the heading and the title of the window.
        subtitle: one sentence below it.
        facts: short facts under the subtitle, such as ("model", "ioi-mini").
        footer: text at the foot of the page.

    Example:
        >>> page = Page("IOI in ioi-mini", "Which heads compute the indirect object?")
        >>> page.add("Everything here is measured.", Section("Behaviour", "It is there."))
        >>> page.html().startswith("<!doctype html>")
        True
    """

    assets = ("page", "frame")

    def __init__(
        self,
        title: str,
        subtitle: str = "",
        facts: tuple[tuple[str, str], ...] = (),
        footer: str = "",
    ) -> None:
        self.title, self.subtitle, self.facts, self.footer = title, subtitle, facts, footer
        self.parts: list[Part] = []

    def add(self, *parts: Part) -> None:
        """Append views, sections, markup or paragraphs (plain strings, which are escaped).

        Raises:
            ValueError: two sections would share an anchor.
        """
        self.parts.extend(parts)
        anchors = [part.anchor for part in self.parts if isinstance(part, Section)]
        twice = {anchor for anchor in anchors if anchors.count(anchor) > 1}
        if twice:
            raise ValueError(
                f"Two sections share the anchor {', '.join(sorted(twice))}: give one of them an "
                "anchor= of its own."
            )

    def needs(self) -> tuple[str, ...]:
        """The assets of the page and of all its parts."""
        return (*super().needs(), *parts_need(tuple(self.parts)))

    def markup(self) -> Markup:
        """What stands in the body, without styles and scripts."""
        contents = _contents([part for part in self.parts if isinstance(part, Section)])
        main = tag("main", *(part_markup(part) for part in self.parts), id="main")
        footer = tag("footer", tag("p", self.footer)) if self.footer else None
        return join(
            tag("a", "Skip to the content", href="#main", class_="ct-skip"),
            self._header(),
            tag("div", contents, main, class_="ct-columns"),
            footer,
        )

    def html(self) -> str:
        """The complete, self-contained file."""
        return self.page_html()

    def page_html(self, title: str = "") -> str:
        """The same as `html`: a page is a complete file already."""
        return document(title or self.title, self.markup(), self.needs())

    def _header(self) -> Markup:
        facts = [
            tag("div", tag("dt", name), tag("dd", value), class_="ct-fact")
            for name, value in self.facts
        ]
        return tag(
            "header",
            tag("div", tag("span", "Cutaway", class_="ct-wordmark"), _theme(), class_="ct-bar"),
            tag("h1", self.title),
            tag("p", self.subtitle, class_="ct-subtitle") if self.subtitle else None,
            tag("dl", *facts, class_="ct-facts") if facts else None,
            class_="ct-header",
        )


def _theme() -> Markup:
    """Three radio buttons; the style sheet alone makes them work."""
    choices = [
        tag(
            "label",
            tag("input", type="radio", name="ct-theme", value=name, checked=name == "auto"),
            tag("span", name),
        )
        for name in _THEMES
    ]
    legend = tag("legend", "Theme", class_="ct-hidden")
    return tag("fieldset", legend, *choices, class_="ct-choice ct-theme")


def _contents(sections: list[Section]) -> Markup:
    items = [tag("li", tag("a", one.title, href=f"#{one.anchor}")) for one in sections]
    return tag("nav", tag("ol", *items), class_="ct-contents", aria_label="Contents")
