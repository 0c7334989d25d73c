"""The shapes in the package's annotations are checked while the tests run."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest
from jaxtyping import Float, TypeCheckError, install_import_hook
from torch import Tensor, ones

from annotations import has_shape

SOURCE = """
from __future__ import annotations
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self
from jaxtyping import Float
from torch import Tensor
if TYPE_CHECKING:
    from somewhere import Missing

def add(a: Float[Tensor, "batch pos"], b: Float[Tensor, "batch pos"]) -> Float[Tensor, " batch"]:
    return a + b

def scale(a: Float[Tensor, " batch"] | str, by: float, unused: Missing | None = None):
    return a if isinstance(a, str) else a * by

@dataclass
class Pair:
    left: Float[Tensor, " batch"]
    name: int

    def itself(self) -> Self:
        return self
"""


@pytest.fixture
def sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "annotated_sample.py").write_text(SOURCE, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with install_import_hook("annotated_sample", "annotations.check"):
        yield importlib.import_module("annotated_sample")
    del sys.modules["annotated_sample"]


def test_a_wrong_shape_is_found(sample: Any) -> None:
    with pytest.raises(TypeCheckError, match="parameters of annotated_sample.add"):
        sample.add(ones(2, 3), ones(2, 4))
    with pytest.raises(TypeCheckError, match="return value of annotated_sample.add"):
        sample.add(ones(2, 3), ones(2, 3))
    with pytest.raises(TypeCheckError, match="Pair"):
        sample.Pair(left=ones(2, 3), name=1)


def test_everything_else_is_left_to_mypy(sample: Any) -> None:
    assert sample.scale(ones(2), 2).tolist() == [2.0, 2.0]
    assert sample.scale("text", by="not a float") == "text"
    pair = sample.Pair(left=ones(2), name="not an int")
    assert pair.itself() is pair


def test_shapes_are_found_inside_other_hints() -> None:
    shape = Float[Tensor, "batch"]
    assert has_shape(shape)
    assert has_shape(list[shape])
    assert has_shape(dict[str, shape | None])
    assert not has_shape(Tensor)
    assert not has_shape(list[int] | None)
