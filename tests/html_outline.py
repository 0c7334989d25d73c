"""Reads HTML back: that elements nest, and what in it could run or fetch something."""

from __future__ import annotations

from html.parser import HTMLParser


class Outline(HTMLParser):
    """Checks that elements nest, and collects scripts and everything that could fetch."""

    VOID = ("br", "input", "link", "meta", "img", "hr")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.fetching: list[str] = []
        self.scripts = 0
        self.handlers: list[str] = []

    def handle_starttag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        if name not in self.VOID:
            self.open.append(name)
        self.scripts += name == "script"
        for key, value in attributes:
            if key in ("src", "srcset", "action", "data", "poster", "background"):
                self.fetching.append(f"{name} {key}={value}")
            if key == "href" and not (value or "").startswith("#"):
                self.fetching.append(f"{name} href={value}")
            if key.startswith("on"):
                self.handlers.append(key)

    def handle_endtag(self, name: str) -> None:
        assert self.open and self.open[-1] == name, f"</{name}> closes {self.open[-3:]}"
        self.open.pop()


def outline(text: str) -> Outline:
    parser = Outline()
    parser.feed(text)
    parser.close()
    assert parser.open == []
    return parser
