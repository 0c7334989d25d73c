"""Files that are either whole or not there: everything Cutaway saves goes through here."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import secrets
import shutil
import stat
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; what was written to it becomes `path` on success.

    A reader sees the old file or the new one, never half of one. If the block raises, the old
    file stays as it was and the temporary one is removed. Missing folders are made. The temporary
    path keeps the suffix of `path`, since some writers choose their format by it. Whatever wrote
    it, the file gets the permissions that the umask gives to any new file.

    Raises:
        IsADirectoryError: `path` is a folder.
        FileNotFoundError: the block wrote nothing.

    Example:
        >>> with atomic_path("runs/heads.safetensors") as temporary:  # doctest: +SKIP
        ...     save_file(tensors, temporary)
    """
    # A link is followed, so that the file it points to is replaced and not the link.
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise IsADirectoryError(f"{path} is a folder; give the name of a file.")
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.stem}.{secrets.token_hex(6)}{target.suffix}")
    try:
        yield temporary
        if not temporary.exists():
            raise FileNotFoundError(f"Nothing was written for {path}.")
        temporary.chmod(_mode_of_new_files(target.parent))
        _flush_to_disk(temporary)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | Path, own_files: Collection[str]) -> Iterator[Path]:
    """Give a temporary folder beside `path`; it becomes `path` on success.

    A reader sees the old folder or the new one. If the block raises, the old one stays as it was.
    What lies in the old one and is none of `own_files` is carried over.

    Raises:
        FileExistsError: `path` is a file.

    Example:
        >>> with atomic_folder("models/mine", ("config.json",)) as temporary:  # doctest: +SKIP
        ...     write_json(temporary / "config.json", {})
    """
    folder = Path(os.path.realpath(path))
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{folder} is a file; give the name of a folder.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(6)}")
    temporary.mkdir()
    try:
        yield temporary
        _flush_to_disk(temporary)
        _put_in_place(temporary, folder, own_files)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _put_in_place(temporary: Path, folder: Path, own_files: Collection[str]) -> None:
    if not folder.exists():
        os.rename(temporary, folder)
        return
    old = folder.with_name(f"{temporary.name}.old")
    os.rename(folder, old)
    try:
        os.rename(temporary, folder)
    except OSError:
        os.rename(old, folder)
        raise
    for path in old.iterdir():
        if path.name not in own_files:
            os.rename(path, folder / path.name)
    shutil.rmtree(old)


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write `data` to `path`, whole or not at all.

    Example:
        >>> write_bytes("runs/model.bin", b"...")  # doctest: +SKIP
    """
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: str | Path, text: str) -> None:
    """Write `text` to `path` as UTF-8 with its line ends unchanged, whole or not at all.

    Example:
        >>> write_text("runs/report.html", "<!doctype html>")  # doctest: +SKIP
    """
    write_bytes(path, text.encode("utf-8"))


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as indented JSON, whole or not at all.

    Besides JSON's own kinds it takes arrays and their scalars (anything with `tolist`), paths
    and dataclasses.

    Raises:
        TypeError: `value` holds something that JSON cannot say.
        ValueError: `value` holds NaN or an infinity, which no browser would read back.

    Example:
        >>> write_json("runs/config.json", {"seed": 0})  # doctest: +SKIP
    """
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False, default=_plain)
    write_text(path, text + "\n")


def digest(path: str | Path) -> str:
    """The SHA-256 of a file's bytes, as 64 hexadecimal digits.

    Example:
        >>> digest("model.safetensors")  # doctest: +SKIP
        '9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08'
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):  # numpy and torch, neither of them imported for this
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    raise TypeError(f"JSON has no form for a {type(value).__name__}: {value!r}")


def _mode_of_new_files(folder: Path) -> int:
    # The umask itself can only be read by setting it, for the whole process.
    probe = folder / f".{secrets.token_hex(8)}"
    try:
        probe.touch(exist_ok=False)
        return stat.S_IMODE(probe.stat().st_mode)
    finally:
        probe.unlink(missing_ok=True)


def _flush_to_disk(path: Path) -> None:
    # Without this a crash just after the rename can leave an empty file under the final name.
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
