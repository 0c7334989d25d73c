"""HTML that is escaped by construction: a plain string becomes text, only `Markup` is HTML."""

from __future__ import annotations

import html
from typing import TypeAlias


class Markup(str):
    """A string that is HTML already.

    Only `tag`, `join` and `embedded_json` make one from data. Adding or formatting one gives an
    ordinary string, which is escaped where it is used: forgetting something shows, and is never
    run.

    Example:
        >>> tag("p", "1 < 2, ", tag("em", "always"))
        '<p>1 &lt; 2, <em>always</em></p>'
    """

    __slots__ = ()


Child: TypeAlias = "str | None"  # a `Markup` goes in as it is, a plain string is escaped
Attribute: TypeAlias = "str | int | float | bool | None"

_VOID = frozenset({"br", "hr", "img", "input", "link", "meta"})


def tag(name: str, /, *children: Child, **attributes: Attribute) -> Markup:
    """An HTML element.

    Args:
        name: the name of the element.
        children: text, markup, or None for nothing.
        attributes: `class_` and `for_` stand for class and for, `data_tip` for data-tip; True
            gives a bare attribute, None and False none.

    Example:
        >>> tag("td", "<script>", class_="cell", hidden=True)
        '<td class="cell" hidden>&lt;script&gt;</td>'
    """
    opening = "".join(_attribute(key, value) for key, value in attributes.items())
    if name in _VOID:
        return Markup(f"<{name}{opening}>")
    return Markup(f"<{name}{opening}>{join(*children)}</{name}>")


def join(*children: Child) -> Markup:
    """Several pieces one after the other, plain strings escaped.

    Example:
        >>> join("a & b", tag("br"))
        'a &amp; b<br>'
    """
    return Markup("".join(_escaped(child) for child in children if child is not None))


def embedded_json(text: str, **attributes: Attribute) -> Markup:
    """JSON inside the page for a script to read, which cannot end the element that holds it.

    Example:
        >>> embedded_json('["</script>"]')
        '<script type="application/json">["\\\\u003c/script>"]</script>'
    """
    opening = "".join(_attribute(key, value) for key, value in attributes.items())
    safe = text.replace("<", "\\u003c")  # within JSON, "<" can only stand inside a string
    return Markup(f'<script type="application/json"{opening}>{safe}</script>')


def classes(*always: str, **where_true: bool) -> str:
    """The value of a class attribute.

    Example:
        >>> classes("share", strong=True, half=False)
        'share strong'
    """
    return " ".join([*always, *(name for name, is_true in where_true.items() if is_true)])


def code(text: str) -> Markup:
    """A name from the program.

    Example:
        >>> code("attn.hook_z")
        '<code>attn.hook_z</code>'
    """
    return tag("code", text)


def visible_space(token: str) -> str:
    """A token with its leading space and its line ends made visible.

    Example:
        >>> visible_space(" Mary")
        '·Mary'
    """
    marked = token.replace("\n", "↵").replace("\t", "⇥")
    stripped = marked.lstrip(" ")
    return "·" * (len(marked) - len(stripped)) + stripped


def _escaped(child: str) -> str:
    return child if isinstance(child, Markup) else html.escape(child, quote=False)


def _attribute(key: str, value: Attribute) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{html.escape(str(value))}"'
