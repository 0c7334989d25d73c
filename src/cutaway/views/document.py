"""One HTML file that needs nothing else: styles and scripts inside, and a policy that holds it.

The page's Content-Security-Policy allows no connection and no script but those whose digest it
names, so neither a prompt nor a mistake of ours can make a report fetch or run anything.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from functools import cache
from importlib import resources

from .markup import Markup, join, tag


def document(title: str, body: Markup, assets: Iterable[str]) -> str:
    """A complete HTML file.

    Args:
        title: of the window.
        body: what stands in the body.
        assets: names of the assets, each of them a .css, a .js or both; given twice, kept once.

    Raises:
        FileNotFoundError: there is no asset of that name.

    Example:
        >>> document("A", tag("p", "x"), ["base"])[:15]
        '<!doctype html>'
    """
    names = tuple(dict.fromkeys(assets))
    scripts = [text for name in names if (text := _read(name, "js"))]
    digests = " ".join(_script_digest(text) for text in scripts) or "'none'"
    policy = (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src {digests}; "
        "base-uri 'none'; form-action 'none'"
    )
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        styles(names),
    )
    page = tag("html", head, tag("body", body, *map(_script, scripts)), lang="en", class_="cutaway")
    return f"<!doctype html>\n{page}\n"


def styles(names: Iterable[str]) -> Markup:
    """The style sheets of these assets, in one element."""
    return Markup(f"<style>\n{''.join(_read(name, 'css') for name in names)}</style>")


def scripts(names: Iterable[str]) -> Markup:
    """The scripts of these assets, each in its element."""
    return join(*(_script(text) for name in names if (text := _read(name, "js"))))


@cache
def _read(name: str, kind: str) -> str:
    """The text of an asset, empty where it has only the other kind."""
    folder = resources.files(__package__) / "assets"
    if not any((folder / f"{name}.{suffix}").is_file() for suffix in ("css", "js")):
        raise FileNotFoundError(f"There is no asset named {name!r} in {folder}.")
    path = folder / f"{name}.{kind}"
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _script(text: str) -> Markup:
    return Markup(f"<script>{text}</script>")


def _script_digest(text: str) -> str:
    value = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{value}'"
