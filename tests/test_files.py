"""Files are whole or not there."""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutaway import files


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_text_is_written_unchanged_and_folders_are_made(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "report.html"
    text = "première\r\nsecond −1.0\n"
    files.write_text(path, text)
    assert path.read_bytes() == text.encode("utf-8")
    assert names(path.parent) == ["report.html"]


def test_a_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    files.write_bytes(path, b"old and longer")
    files.write_bytes(str(path), b"new")
    assert path.read_bytes() == b"new"


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    files.write_text(path, "old")
    with pytest.raises(RuntimeError, match="half way"), files.atomic_path(path) as temporary:
        temporary.write_text("ne")
        raise RuntimeError("half way")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["x.txt"]


def test_the_old_file_is_there_until_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    files.write_text(path, "old")
    with files.atomic_path(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
        assert temporary.parent == path.parent
        assert temporary.suffix == ".safetensors"
    assert path.read_text() == "new"


def test_a_block_that_writes_nothing_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    nothing = pytest.raises(FileNotFoundError, match=r"Nothing was written for .*x\.txt")
    with nothing, files.atomic_path(path):
        pass
    assert names(tmp_path) == []


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match="is a folder"):
        files.write_text(tmp_path, "x")


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real.txt").write_text("old")
    (tmp_path / "link.txt").symlink_to(tmp_path / "real.txt")
    files.write_text(tmp_path / "link.txt", "new")
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "real.txt").read_text() == "new"


def test_the_permissions_are_those_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("x")
    files.write_text(tmp_path / "atomic", "x")
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_many_writers_leave_one_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    texts = [str(number) * 10_000 for number in range(8)]
    threads = [threading.Thread(target=files.write_text, args=(path, text)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_text() in texts
    assert names(tmp_path) == ["x.txt"]


@dataclass
class Settings:
    seed: int
    folder: Path


def test_json_takes_arrays_paths_and_dataclasses(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    value = {
        "array": np.arange(3),
        "scalar": np.float32(0.5),
        "settings": Settings(seed=0, folder=Path("runs")),
        "text": "−",
    }
    files.write_json(path, value)
    assert json.loads(path.read_text(encoding="utf-8")) == {
        "array": [0, 1, 2],
        "scalar": 0.5,
        "settings": {"seed": 0, "folder": "runs"},
        "text": "−",
    }
    assert path.read_bytes().endswith(b"}\n")
    assert "−" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), np.array([np.nan])])
def test_json_refuses_what_a_browser_cannot_read(tmp_path: Path, value: object) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(tmp_path / "x.json", {"value": value})
    assert names(tmp_path) == []


def test_json_names_what_it_cannot_say(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="no form for a set"):
        files.write_json(tmp_path / "x.json", {"value": {1, 2}})


@given(data=st.binary(max_size=4096))
def test_the_digest_is_that_of_the_bytes(tmp_path_factory: pytest.TempPathFactory, data: bytes):
    path = tmp_path_factory.mktemp("digest") / "x.bin"
    files.write_bytes(path, data)
    assert path.read_bytes() == data
    assert files.digest(path) == hashlib.sha256(data).hexdigest()


def test_a_missing_file_has_no_digest(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        files.digest(tmp_path / "missing.bin")


def test_the_permissions_follow_the_umask_whatever_the_writer_did(tmp_path: Path) -> None:
    (tmp_path / "new").touch()
    with files.atomic_path(tmp_path / "private.bin") as temporary:
        temporary.write_bytes(b"x")
        temporary.chmod(0o600)
    assert (tmp_path / "private.bin").stat().st_mode == (tmp_path / "new").stat().st_mode
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "private.bin"]


def test_a_folder_is_whole_or_not_there_and_keeps_what_is_not_its_own(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "model"
    with files.atomic_folder(target, ("a",)) as temporary:
        (temporary / "a").write_text("1")
        assert not target.exists()
    (target / "note").write_text("mine")
    with pytest.raises(RuntimeError), files.atomic_folder(target, ("a",)) as temporary:
        (temporary / "a").write_text("2")
        raise RuntimeError
    assert (target / "a").read_text() == "1"
    with files.atomic_folder(target, ("a",)) as temporary:
        (temporary / "a").write_text("3")
    assert (target / "a").read_text() == "3" and (target / "note").read_text() == "mine"
    assert sorted(path.name for path in target.parent.iterdir()) == ["model"]
    with (
        pytest.raises(FileExistsError, match="is a file"),
        files.atomic_folder(target / "note", ()),
    ):
        pass
