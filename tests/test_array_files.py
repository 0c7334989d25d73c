"""Arrays with a header: what is written comes back, and everything else is refused in words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cutaway.array_files import load_arrays, save_arrays

KIND = "a good example"


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    arrays = {
        "x": np.arange(6.0).reshape(2, 3).T,  # not contiguous
        "flags": np.array([True, False]),
        "none": np.zeros((0, 2), np.float32),
    }
    save_arrays(path, KIND, arrays, {"axes": ("a", "b"), "n": 3})
    found, described = load_arrays(path, KIND)
    assert described == {"axes": ["a", "b"], "n": 3}
    assert set(found) == set(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_arrays(path, KIND, {"x": np.ones(1)}, {})
    with pytest.raises(TypeError):
        save_arrays(path, KIND, {"x": np.zeros(1)}, {"not json": object()})
    assert load_arrays(path, KIND)[0]["x"] == 1
    assert list(tmp_path.iterdir()) == [path]


def test_other_files_are_refused_in_words(tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    save_arrays(other, "other", {"x": np.ones(1)}, {})
    text = tmp_path / "text.safetensors"
    text.write_text("not arrays", encoding="utf-8")
    for path, why in (
        (tmp_path / "missing", "there is no file"),
        (tmp_path, "is a folder: give the file in it that holds a good example"),
        (other, "does not hold a good example"),
        (text, "does not hold a good example"),
    ):
        with pytest.raises(ValueError, match=why):
            load_arrays(path, KIND)
