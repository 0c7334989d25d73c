"""Runs that were stopped, and how they go on: what was asked stays beside what is done."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ... import files
from ...findings import RunFolder
from ...findings.run_folder import stopped_folders
from .settings import EdgesSettings

_ASKED, _DONE = "asked.json", "done.safetensors"
_OWN = ("resume", "out", "device", "max_memory_gib")  # may differ when a run goes on


class Stopped(KeyboardInterrupt):
    """A run was stopped, and can go on; the message says how."""


@dataclass(frozen=True)
class Kept:
    """Where a run keeps what is done, so that it can go on."""

    done: Path
    asked: Path | None
    """None where only a file was named, and the command says the rest."""
    resume: str
    """What --resume is given to go on."""

    def remove(self) -> None:
        """Nothing is left to be resumed."""
        self.done.unlink(missing_ok=True)
        if self.asked is not None:
            self.asked.unlink(missing_ok=True)


def asked_again(settings: EdgesSettings) -> tuple[EdgesSettings, Kept | None]:
    """The settings to run by, and where an earlier run kept its part; None if there is none.

    Raises:
        ValueError: no such run was stopped, or other settings are given than it had.
    """
    name = settings.resume
    if not name:
        return settings, None
    path = Path(name)
    if path.suffix == ".safetensors" and not path.is_dir():
        return settings, Kept(path, None, name)
    folder = path if path.is_dir() else _find(name, settings.out)
    short = name if path.is_dir() else _short(_id(folder), settings.out)
    asked = folder / _ASKED
    try:
        earlier = EdgesSettings(**_read(asked))
    except (OSError, ValueError, TypeError, KeyError):
        raise ValueError(
            f"{folder} holds no edges that were stopped: it has no readable {_ASKED}."
        ) from None
    others = [
        field.name
        for field in dataclasses.fields(settings)
        if field.name not in _OWN and getattr(settings, field.name) != field.default
    ]
    if others:
        raise ValueError(
            f"--resume goes on with the settings of the stopped run: leave out "
            f"{', '.join('--' + other.replace('_', '-') for other in others)}."
        )
    own = {name: getattr(settings, name) for name in _OWN}
    defaults = {field.name: field.default for field in dataclasses.fields(settings)}
    changed = {name: value for name, value in own.items() if value != defaults[name]}
    return dataclasses.replace(earlier, **changed), Kept(folder / _DONE, asked, short)


@contextmanager
def resumable(run: RunFolder, settings: EdgesSettings, earlier: Kept | None) -> Iterator[Kept]:
    """Keep what is needed to go on, while a `with` block runs; gone when it has ended well.

    Raises:
        Stopped: instead of KeyboardInterrupt.
    """
    kept = earlier
    if kept is None:
        kept = Kept(run.file(_DONE), run.file(_ASKED), _short(run.id, settings.out))
        files.write_json(run.file(_ASKED), dataclasses.asdict(settings))
    try:
        yield kept
    except KeyboardInterrupt:
        how = how_to_go_on(kept)
        raise Stopped(f"stopped; what is done is kept. To go on:\n  {how}") from None
    except Exception:
        if earlier is None and not kept.done.exists():  # a mistake in the input: nothing was begun
            kept.remove()
        raise
    kept.remove()
    if kept is earlier and kept.asked is not None and not any(kept.asked.parent.iterdir()):
        kept.asked.parent.rmdir()


def how_to_go_on(kept: Kept) -> str:
    """The command that goes on."""
    same = " and the same options" if kept.asked is None else ""
    return f"cutaway edges --resume {kept.resume}{same}"


def list_stopped(root: Path) -> list[str]:
    """How to go on with each run in a folder that was stopped, oldest first."""
    return [f"cutaway edges --resume {_short(_id(folder), root)}" for folder in _stopped_in(root)]


def _stopped_in(root: Path) -> list[Path]:
    return [one for one in stopped_folders(root) if (one / _ASKED).is_file()]


def _id(folder: Path) -> str:
    return folder.name.rpartition("-")[2]


def _short(id: str, root: Path) -> str:
    return id if root == EdgesSettings().out else f"{id} --out {root}"


def _find(name: str, root: Path) -> Path:
    found = _stopped_in(root)
    if name != "latest":
        found = [one for one in found if _id(one).startswith(name)]
    if not found:
        which = "" if name == "latest" else f" that begins with {name!r}"
        raise ValueError(f"{root} holds no stopped run{which}.")
    if len(found) > 1 and name != "latest":
        raise ValueError(f"{root} holds {len(found)} stopped runs that begin with {name!r}.")
    return found[-1]


def _read(path: Path) -> dict[str, Any]:
    values = json.loads(path.read_text(encoding="utf-8"))
    values["receivers"] = tuple(values["receivers"])
    values["out"] = Path(values["out"])
    return {**values}
