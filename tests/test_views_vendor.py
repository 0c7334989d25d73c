"""The d3 inside the package is the d3 of the table beside it, and all of it is used."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import cutaway
from cutaway.views.d3 import D3

VENDOR = Path(cutaway.__file__).parent / "views" / "assets" / "vendor"
TABLE = re.findall(
    r"^\| (d3-\w+) \| ([\d.]+) \| `([0-9a-f]{64})` \|$",
    (VENDOR / "README.md").read_text(encoding="utf-8"),
    re.M,
)


def test_the_files_are_those_of_the_table() -> None:
    files = {path.name for path in VENDOR.glob("*.js")}
    assert files == {f"{name}.min.js" for name, _, _ in TABLE}
    assert files == {f"{Path(asset).name}.js" for asset in D3}
    for name, version, digest in TABLE:
        data = (VENDOR / f"{name}.min.js").read_bytes()
        assert hashlib.sha256(data).hexdigest() == digest
        assert f"d3js.org/{name}/ v{version} " in data[:120].decode()
        assert b"</script" not in data  # it is put inside that element as it is


def test_the_licence_comes_with_it() -> None:
    licence = (VENDOR / "LICENSE").read_text(encoding="utf-8")
    assert "Mike Bostock" in licence and "permission notice appear in all copies" in licence


def test_d3_is_small() -> None:
    assert sum(path.stat().st_size for path in VENDOR.glob("*.js")) < 66_000
