"""Finished runs on disk: found, listed, opened. `run_folder` writes them.

Files of a run:

    record.json           study, settings, versions, machine, model, times, command line;
                          `changed` are the settings that differ from their defaults
    results.json          numbers and text
    results.safetensors   arrays
    report.html           the page
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RUNS = Path("runs")
LATEST = "latest"

RECORD = "record.json"
RESULTS = "results.json"
ARRAYS = "results.safetensors"
REPORT = "report.html"

_STAMP = len("20260314-101500")
_NAME = re.compile(r"\d{8}-\d{6}-.+")
_REQUIRED: dict[str, type | tuple[type, ...]] = {
    "id": str,
    "study": str,
    "settings": dict,
    "started": str,
    "seconds": (int, float),
}


class RunError(ValueError):
    """A run that is not there, or cannot be read. The message is one sentence."""


@dataclass(frozen=True)
class Run:
    """A finished run on disk.

    Example:
        >>> load_run("latest").results()["logit_difference"]  # doctest: +SKIP
        3.5
    """

    path: Path
    """Its folder."""
    record: dict[str, Any] = field(repr=False)
    """What record.json says."""

    @property
    def id(self) -> str:
        """Its short name, six hexadecimal digits."""
        return str(self.record["id"])

    @property
    def study(self) -> str:
        """The study it ran."""
        return str(self.record["study"])

    @property
    def model(self) -> str:
        """The name of the model it ran on; empty where the record has none."""
        model = self.record.get("model")
        return str(model.get("name", "")) if isinstance(model, dict) else ""

    @property
    def started(self) -> str:
        """When it began (UTC), to the minute: "2026-03-14 10:15"."""
        return str(self.record["started"])[:16].replace("T", " ")

    @property
    def report(self) -> Path:
        """Its page.

        Raises:
            RunError: the run wrote none.
        """
        return self._file(REPORT)

    def results(self) -> dict[str, Any]:
        """What results.json holds.

        Raises:
            RunError: the file is missing or is not JSON.
        """
        return _read_json(self._file(RESULTS))

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """What results.safetensors holds.

        Raises:
            RunError: the file is missing or broken.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        path = self._file(ARRAYS)
        try:
            return dict(load_file(path))
        except SafetensorError as error:
            raise RunError(f"{path} is not a readable safetensors file ({error}).") from error

    def _file(self, name: str) -> Path:
        path = self.path / name
        if not path.is_file():
            raise RunError(f"The run {self.path.name} has no {name}.")
        return path


def load_run(run: str | Path, root: Path = RUNS) -> Run:
    """Open a finished run.

    Args:
        run: its folder, the first characters of its id or of its folder's name, or "latest".
        root: the folder that runs are kept in.

    Raises:
        RunError: there is no such run, the characters fit several, or its record is broken.

    Example:
        >>> load_run("3fa9")  # doctest: +SKIP
        Run(path=PosixPath('runs/20260314-101500-ioi-3fa9c2'))
    """
    folder = Path(run)
    if (folder / RECORD).is_file():
        return _read_run(folder)
    if folder.is_dir() and len(folder.parts) > 1:
        raise RunError(f"{folder} has no {RECORD}, so it is not a finished run.")
    folders = _folders(root)
    if str(run) == LATEST:
        if not folders:
            raise RunError(f"There are no runs in {root} yet.")
        return _read_run(folders[-1])
    fitting = [one for one in folders if _fits(one.name, str(run))]
    if not fitting:
        raise RunError(f"No run in {root} begins with {str(run)!r}; `cutaway runs` lists them.")
    if len(fitting) > 1:
        names = ", ".join(one.name for one in fitting)
        raise RunError(f"{len(fitting)} runs begin with {str(run)!r}: {names}.")
    return _read_run(fitting[0])


def list_runs(root: Path = RUNS) -> tuple[list[Run], list[str]]:
    """The finished runs in a folder, oldest first, and one sentence for each that is broken.

    Args:
        root: the folder that runs are kept in; one that is missing has no runs.

    Example:
        >>> list_runs(Path("no-such-folder"))
        ([], [])
    """
    runs, faults = [], []
    for folder in _folders(root):
        try:
            runs.append(_read_run(folder))
        except RunError as error:
            faults.append(str(error))
    return runs, faults


def run_table(runs: list[Run]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """The table of `cutaway runs`: its heads and a row of text for each run."""
    heads = ("id", "study", "model", "started (UTC)", "seconds", "not the default")
    return heads, [_row(run) for run in runs]


def _row(run: Run) -> tuple[str, ...]:
    record = run.record
    changed = record.get("changed", record["settings"])
    # The model has a column, and the folder is the one that is listed.
    hidden = {"out": changed.get("out"), "model": run.model}
    settings = ", ".join(
        f"{name}={value}" for name, value in changed.items() if hidden.get(name, ...) != value
    )
    return run.id, run.study, run.model, run.started, f"{record['seconds']:.1f}", settings


def _folders(root: Path) -> list[Path]:
    """The folders that may be runs, oldest first: named by their time, or with a record.

    Others, such as a model that was trained into the same folder, are passed over.
    """
    if not root.is_dir():
        return []
    found = [
        one
        for one in root.iterdir()
        if one.is_dir()
        and not one.name.startswith(".")
        and (_NAME.fullmatch(one.name) or (one / RECORD).is_file())
    ]
    return sorted(found, key=lambda one: (one.name[:_STAMP], one.stat().st_mtime_ns, one.name))


def _fits(name: str, start: str) -> bool:
    return bool(start) and (name.startswith(start) or name.rpartition("-")[2].startswith(start))


def _read_run(folder: Path) -> Run:
    path = folder / RECORD
    if not path.is_file():
        raise RunError(f"{folder} has no {RECORD}, so it is not a finished run.")
    record = _read_json(path)
    faults = [key for key, kind in _REQUIRED.items() if not isinstance(record.get(key), kind)]
    if faults:
        raise RunError(f"{path} lacks {', '.join(faults)}, or holds something else there.")
    return Run(folder, record)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"{path} cannot be read ({error}).") from error
    except json.JSONDecodeError as error:
        raise RunError(f"{path} is not JSON (line {error.lineno}: {error.msg}).") from error
    if not isinstance(value, dict):
        raise RunError(f"{path} holds a {type(value).__name__} where an object is expected.")
    return value
