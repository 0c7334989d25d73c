"""The project's own files agree with each other."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

import cutaway

CHECKOUT = Path(__file__).resolve().parents[1]
PINNED = ["requirements.txt", "requirements-dev.txt"]
PINNED += [
    f"benchmarks/requirements-peers{which}.txt"
    for which in ("", "-4", "-nnsight", "-autocircuit", "-saelens", "-sparsify")
]
PINNED += ["benchmarks/requirements-tracr.txt"]
ALONE = {"requirements.txt", "benchmarks/requirements-peers-autocircuit.txt"}  # whole lists


def lines(name: str) -> list[str]:
    text = (CHECKOUT / name).read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and not line.startswith(("#", "-r "))]


def plain(requirement: str) -> str:
    """`scikit-learn>=1.5` and `scikit_learn==1.9.1` as `scikit-learn`."""
    return re.split(r"[<>=\[; ]", requirement)[0].lower().replace("_", "-")


def project() -> dict:
    return tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.mark.parametrize("name", PINNED)
def test_every_requirement_is_pinned_once(name: str) -> None:
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines(name))
    names = [plain(line) for line in lines(name)]
    if name not in ALONE:  # they start from it
        names += [plain(line) for line in lines("requirements.txt")]
    assert len(set(names)) == len(names)


def test_the_pins_cover_what_the_project_asks_for() -> None:
    extras = project()["optional-dependencies"]
    runtime = {plain(line) for line in lines("requirements.txt")}
    development = runtime | {plain(line) for line in lines("requirements-dev.txt")}
    peers = {plain(line) for line in lines("benchmarks/requirements-peers.txt")}
    assert {plain(line) for line in project()["dependencies"]} <= runtime
    assert {plain(line) for line in extras["dev"] + extras["notebooks"]} <= development
    assert {plain(line) for line in extras["peers"]} <= peers
    tracr = {plain(line) for line in lines("benchmarks/requirements-tracr.txt")}
    assert {plain(line) for line in extras["tracr"]} <= tracr


def test_the_changelog_knows_the_version() -> None:
    text = (CHECKOUT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert "## [Unreleased]" in text or f"## [{cutaway.__version__}]" in text


@pytest.mark.parametrize("path", sorted(CHECKOUT.glob("docs/**/*.md")), ids=lambda path: path.stem)
def test_no_page_is_unfinished(path: Path) -> None:
    assert not re.search(r"TODO|FIXME|XXX|@[A-Z_]+@", path.read_text(encoding="utf-8"))
