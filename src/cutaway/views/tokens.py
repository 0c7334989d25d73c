"""Lines of tokens, with the named positions above them and what differs marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from .markup import Markup, tag, visible_space
from .view import View, figure


@dataclass(frozen=True)
class TokenLine:
    """The tokens of one prompt."""

    label: str
    """Before the line, such as "clean"."""
    tokens: Sequence[str]
    """The tokens as text, spaces included."""
    marks: Mapping[str, int] = field(default_factory=dict)
    """Named positions: {"IO": 3, "END": 14}."""
    changed: frozenset[int] = frozenset()
    """Positions to mark as different."""
    answer: str = ""
    """What should follow, shown after the line."""


@dataclass(frozen=True)
class TokensView(View):
    """Prompts token by token; the tokens of all lines stand in the same columns.

    Example:
        >>> view = TokensView((TokenLine("clean", ("When", " Mary"), {"IO": 1}),))
        >>> "·Mary" in view.markup()
        True
    """

    assets: ClassVar[tuple[str, ...]] = ("figure", "tokens")

    lines: Sequence[TokenLine]
    """One for each prompt."""
    title: str = ""
    """Above the lines."""
    caption: str = ""
    """Below them. Markup is allowed."""

    def markup(self) -> Markup:
        """The HTML alone."""
        lines = tag("div", *map(_line, self.lines), class_="ct-token-lines")
        return figure("ct-tokens-figure", self.title, self.caption, lines)


def names_at(marks: Mapping[str, int]) -> dict[int, str]:
    """The names of each marked position; two names on one token share it.

    Example:
        >>> names_at({"IO": 3, "END": 14})
        {3: 'IO', 14: 'END'}
    """
    found: dict[int, str] = {}
    for name, position in marks.items():
        found[position] = f"{found[position]}, {name}" if position in found else name
    return found


def _line(line: TokenLine) -> Markup:
    names = names_at(line.marks)
    tokens = [
        _token(token, names.get(place, ""), "changed" if place in line.changed else "")
        for place, token in enumerate(line.tokens)
    ]
    if line.answer:
        tokens.append(_token(line.answer, "answer", "answer"))
    return tag(
        "div",
        tag("span", line.label, class_="ct-line-label"),
        tag("span", *tokens, class_="ct-token-row"),
        class_="ct-token-line",
    )


def _token(token: str, mark: str, kind: str) -> Markup:
    return tag(
        "span",
        tag("small", mark or "\u00a0"),
        tag("span", visible_space(token), class_="text"),
        class_=f"ct-token {kind}".strip(),
    )
