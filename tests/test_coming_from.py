"""Every call that docs/coming-from.md names as ours, run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).resolve().parents[1] / "docs" / "coming-from.md"
TEXT = PAGE.read_text(encoding="utf-8")
OURS = re.findall(r"^\| .* \| `([^`]+)` \|$", TEXT, re.MULTILINE)


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    found: dict[str, Any] = {"folder": tmp_path_factory.mktemp("coming-from") / "dictionary"}
    exec(code, found)
    return found


def test_every_row_has_one_call_of_ours() -> None:
    rows = re.findall(r"^\| (?!:--|TransformerLens|nnsight|SAELens).*\|$", TEXT, re.MULTILINE)
    assert len(rows) == len(OURS) >= 40


@pytest.mark.parametrize("call", OURS)
def test_it_runs(call: str, names: dict[str, Any]) -> None:
    exec(call, names)
    names["model"].reset_hooks(including_permanent=True)
