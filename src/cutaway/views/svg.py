"""SVG that stands alone: a file for a paper or a slide, with its own style and without scripts."""

from __future__ import annotations

import re
import unicodedata

from .document import styles
from .markup import Markup, tag

_NAMESPACE = "http://www.w3.org/2000/svg"
# What may not stand in XML, not even escaped.
_NOT_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def standalone(body: Markup, width: float, height: float, asset: str, title: str) -> str:
    """A complete SVG file on a white ground.

    Args:
        body: the drawing.
        width, height: of the drawing, in pixels.
        asset: the name of the style sheet; it may use nothing that only browsers know.
        title: what screen readers and file managers call it.
    """
    content = tag(
        "svg",
        tag("title", title),
        styles([asset]),
        tag("rect", width="100%", height="100%", fill="#fff"),
        body,
        xmlns=_NAMESPACE,
        viewBox=f"0 0 {short(width)} {short(height)}",
        width=short(width),
        height=short(height),
    )
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + _NOT_IN_XML.sub("\ufffd", content) + "\n"


def short(value: float) -> str:
    """A coordinate with one decimal, or none where it is whole.

    Example:
        >>> short(12.04), short(0.5)
        ('12', '0.5')
    """
    text = f"{value:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text


def text_width(text: str, size: float) -> float:
    """About how wide a text is in a common sans-serif face, rather too wide than too narrow.

    Args:
        text: one line.
        size: of the type, in pixels.
    """
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    narrow = sum(letter in " .,:;'|!ijlt()[]-" for letter in text)
    return size * (wide + 0.33 * narrow + 0.58 * (len(text) - wide - narrow))


def fitted(text: str, size: float, width: float) -> str:
    """The text, cut off with an ellipsis where it is wider than there is room."""
    if text_width(text, size) <= width:
        return text
    while text and text_width(text + "…", size) > width:
        text = text[:-1]
    return text.rstrip() + "…"
