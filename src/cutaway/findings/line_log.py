"""A log of JSON objects, one a line, that only grows: nothing in it is ever rewritten.

Writers hold a lock on the file while they look at it and add their line in one call, so that two
of them never mix their lines, and each sees what the other has written. A line that was cut off,
because the machine went down or the disk was full, is reported to every reader, and the next line
begins on a line of its own.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if sys.platform != "win32":
    import fcntl


@dataclass(frozen=True)
class Lines:
    """What a log holds."""

    entries: tuple[tuple[int, dict[str, Any]], ...]
    """(number of the line, from 1 on; the object)."""
    faults: tuple[str, ...]
    """One sentence for each line that cannot be read."""


def read(path: Path) -> Lines:
    """What the log holds now; a file that is not there holds nothing.

    Raises:
        OSError: it is there and cannot be read.
    """
    if not path.exists():
        return Lines((), ())
    with open(path, "rb") as file, _locked(file.fileno(), exclusive=False):
        return _parsed(path, file.read())


def append(path: Path, entry_after: Callable[[Lines], Mapping[str, Any]]) -> None:
    """Add one line, safely against others who do the same at the same time.

    Args:
        path: the file; it and its folders are made where they are missing.
        entry_after: given all lines that stand there, gives the object to add. It may raise, and
            then nothing is written.

    Raises:
        NotADirectoryError: what should be the folder is a file.
        OSError: the file cannot be written.
        TypeError, ValueError: the object cannot be said in JSON.

    Example:
        >>> append(Path("runs/log.jsonl"), lambda lines: {"n": len(lines.entries)})
    """
    if path.parent.exists() and not path.parent.is_dir():
        raise NotADirectoryError(f"{path.parent} is a file, and {path.name} is kept in a folder.")
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        with _locked(descriptor, exclusive=True):
            with open(descriptor, "rb", closefd=False) as file:
                before = file.read()
            entry = dict(entry_after(_parsed(path, before)))
            text = json.dumps(entry, ensure_ascii=False, allow_nan=False) + "\n"
            # Never behind half a line that someone else left.
            data = (b"" if before.endswith(b"\n") or not before else b"\n") + text.encode("utf-8")
            if os.write(descriptor, data) != len(data):
                raise OSError(f"{path}: the disk took only a part of the line.")
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _parsed(path: Path, data: bytes) -> Lines:
    entries, faults = [], []
    for number, line in enumerate(data.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line.decode("utf-8"))
        except ValueError:  # of JSON and of UTF-8
            faults.append(f"{path}, line {number}: not a whole line of JSON.")
            continue
        if isinstance(entry, dict):
            entries.append((number, entry))
        else:
            faults.append(f"{path}, line {number}: a {type(entry).__name__} and no object.")
    return Lines(tuple(entries), tuple(faults))


@contextmanager
def _locked(descriptor: int, exclusive: bool) -> Iterator[None]:
    """Hold the file's lock; Windows has none of this kind, and there nobody waits for the other."""
    if sys.platform == "win32":
        yield
        return
    fcntl.flock(descriptor, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
    try:
        yield
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
