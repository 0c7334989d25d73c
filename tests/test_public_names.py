"""The package's public face: every name is there, and importing it costs nothing."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import cutaway

# In a fresh interpreter, since the tests themselves have torch loaded. The best of a few runs,
# since another process may hold the core.
IMPORT_SECONDS = 0.2
LOADED_BY_IMPORT = "import sys, cutaway; print(*sorted(sys.modules))"
TIME_OF_IMPORT = """
import time
start = time.perf_counter()
import cutaway
print(time.perf_counter() - start)
"""


def run(code: str) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def typed_names() -> dict[str, str]:
    """The names in the `if TYPE_CHECKING` block, and the module each comes from."""
    tree = ast.parse(Path(cutaway.__file__).read_text(encoding="utf-8"))
    (block,) = [
        node
        for node in tree.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    ]
    found = {}
    for statement in block.body:
        assert isinstance(statement, ast.ImportFrom), ast.unparse(statement)
        for alias in statement.names:
            assert alias.asname == alias.name, f"write `{alias.name} as {alias.name}`"
            module = f"cutaway.{statement.module}" if statement.module else "cutaway"
            found[alias.name] = module
    return found


def test_type_checkers_and_users_see_the_same_names() -> None:
    packages = {name: path.rpartition(".")[0] for name, path in cutaway._MODULES.items()}
    table = {**cutaway._MODULE_OF, **packages}
    assert typed_names() == table


@pytest.mark.parametrize("name", sorted(cutaway._MODULE_OF))
def test_a_public_name_can_be_fetched(name: str) -> None:
    assert getattr(cutaway, name) is not None
    assert name in dir(cutaway)
    assert name in vars(cutaway)  # kept, so that the second access is an ordinary one


@pytest.mark.parametrize("name", sorted(cutaway._MODULES))
def test_a_public_module_can_be_fetched(name: str) -> None:
    assert isinstance(getattr(cutaway, name), ModuleType)


def test_an_unknown_name_is_an_error() -> None:
    with pytest.raises(AttributeError, match="no public name 'HokedTransformer'"):
        cutaway.HokedTransformer  # noqa: B018


def test_the_import_loads_nothing_heavy() -> None:
    loaded = set(run(LOADED_BY_IMPORT).split())
    heavy = {"torch", "numpy", "scipy", "sklearn", "matplotlib", "tokenizers", "tyro", "rich"}
    assert not heavy & loaded


def test_the_import_is_quick() -> None:
    assert min(float(run(TIME_OF_IMPORT)) for _ in range(3)) < IMPORT_SECONDS
