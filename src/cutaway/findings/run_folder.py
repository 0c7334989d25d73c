"""A run being written: what was asked, on what, by which versions, what came out, how long it took.

A run is written under a hidden name and gets its own only when it has finished, so a folder that
can be listed is complete.
"""

from __future__ import annotations

import dataclasses
import math
import os
import secrets
import shlex
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeAlias

from .. import files
from . import environment
from .run import ARRAYS, RECORD, REPORT, RESULTS, RUNS

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from numpy.typing import NDArray

Settings: TypeAlias = "Mapping[str, Any] | DataclassInstance"

_UNFINISHED = ".unfinished-"


class RunFolder:
    """A run that is being written; use it as a context manager.

    If the block raises, nothing appears under the run's name. What had been saved by then stays
    in the hidden folder `.unfinished-...` beside it, and an empty one is removed.

    Example:
        >>> with RunFolder.create(None, "ioi", {"seed": 0}) as run:  # doctest: +SKIP
        ...     with run.step("baseline"):
        ...         baseline = task.baseline(model)
        ...     run.save_results({"logit_difference": 3.5})
        >>> run.path  # doctest: +SKIP
        PosixPath('runs/20260314-101500-ioi-3fa9c2')
    """

    def __init__(
        self, root: Path, study: str, settings: Mapping[str, Any], changed: Mapping[str, Any]
    ) -> None:
        now = datetime.now(UTC)
        self.id = secrets.token_hex(3)
        self.path = root / f"{now:%Y%m%d-%H%M%S}-{study}-{self.id}"
        """Where the finished run is, once the block has ended."""
        self._folder = root / f"{_UNFINISHED}{self.path.name}"
        self._start = time.perf_counter()
        self.timings: dict[str, float] = {}
        self._record: dict[str, Any] = {
            "id": self.id,
            "study": study,
            "settings": dict(settings),
            "changed": dict(changed),
            "started": now.isoformat(timespec="seconds"),
            "command": _command(),
            "model": {},
            "versions": environment.versions(),
            "commit": environment.git_commit(),
        }

    @classmethod
    def create(cls, out: Path | None, study: str, settings: Settings) -> RunFolder:
        """Begin a run.

        Args:
            out: the folder that runs are kept in; None means `runs` in the working folder.
            study: its short name, such as "ioi".
            settings: what was asked for: a dataclass, of which the record also says what differs
                from its defaults, or names and values that JSON can say.

        Raises:
            ValueError: `study` cannot be part of a folder's name.
            NotADirectoryError: `out` is a file.
        """
        root = RUNS if out is None else Path(out)
        if not study.replace("-", "").replace("_", "").isalnum():
            raise ValueError(f"study={study!r} must consist of letters, digits, - and _.")
        if root.exists() and not root.is_dir():
            raise NotADirectoryError(f"{root} is a file; runs are kept in a folder.")
        asked, changed = _plain(settings), _changed(settings)
        return cls(root, study, asked, changed)

    @classmethod
    def at(cls, folder: Path, study: str, settings: Settings) -> RunFolder:
        """Begin a run in a folder of a given name, which another one may have begun before.

        Work that is stopped and goes on needs a name that stays. The run is listed once its
        record is written, which is the last thing that happens.

        Args:
            folder: of this run; made if it is not there.
            study: its short name, such as "train".
            settings: as in `create`.

        Raises:
            NotADirectoryError: `folder` is a file.
        """
        if folder.exists() and not folder.is_dir():
            raise NotADirectoryError(f"{folder} is a file; a run is kept in a folder.")
        run = cls(folder.parent, study, _plain(settings), _changed(settings))
        run.path = run._folder = folder
        return run

    def __enter__(self) -> RunFolder:
        self.path.parent.mkdir(parents=True, exist_ok=True)  # so that an error names this folder
        self._folder.mkdir(exist_ok=self._folder == self.path)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self._finish()
        elif not any(self._folder.iterdir()):
            self._folder.rmdir()

    @property
    def record(self) -> dict[str, Any]:
        """What record.json would say if the run ended now."""
        return {
            **self._record,
            "machine": environment.machine(str(self._record["settings"].get("device", "cpu"))),
            "timings": dict(self.timings),
            "seconds": time.perf_counter() - self._start,
        }

    def describe_model(self, name: str, digest: str, **more: Any) -> None:
        """Note the model: its name, the digest of its weights, and what else identifies it."""
        self._record["model"] = {"name": name, "digest": digest, **more}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time a step; a name used twice adds up."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.timings[name] = self.timings.get(name, 0.0) + time.perf_counter() - start

    def file(self, name: str) -> Path:
        """Where to write a further file of the run, such as "effects/heads.safetensors".

        Its folder is made. The path is good until the run is finished.

        Raises:
            ValueError: `name` leads out of the run's folder.
        """
        path = self._folder / name
        if not path.resolve().is_relative_to(self._folder.resolve()):
            raise ValueError(f"{name!r} leads out of the folder of the run.")
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def save_results(self, results: Mapping[str, Any]) -> None:
        """Write results.json: numbers, text, lists, arrays and dataclasses.

        JSON has no infinity and no NaN: an end of an interval that is not bounded becomes null.
        """
        files.write_json(self._folder / RESULTS, _finite(dict(results)))

    def save_arrays(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Write results.safetensors: named arrays."""
        import numpy as np
        from safetensors.numpy import save_file

        # safetensors writes a buffer as it lies in memory, whatever the strides say.
        whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        with files.atomic_path(self._folder / ARRAYS) as temporary:
            save_file(whole, temporary)

    def save_report(self, html: str) -> None:
        """Write report.html."""
        files.write_text(self._folder / REPORT, html)

    def _finish(self) -> None:
        files.write_json(
            self._folder / RECORD,
            {**self.record, "ended": datetime.now(UTC).isoformat(timespec="seconds")},
        )
        if self._folder != self.path:
            os.rename(self._folder, self.path)


def stopped_folders(root: Path) -> list[Path]:
    """The hidden folders of runs that did not finish but had saved something, oldest first."""
    return sorted(root.glob(f"{_UNFINISHED}*")) if root.is_dir() else []


def _command() -> str:
    """The command line, as it could be typed again."""
    program = Path(sys.argv[0])
    is_module = program.name == "__main__.py"
    words = ["python", "-m", program.parent.name] if is_module else [program.name]
    return shlex.join([*words, *sys.argv[1:]])


def _plain(settings: Settings) -> dict[str, Any]:
    """Settings by name, paths as text."""
    values = settings if isinstance(settings, Mapping) else dataclasses.asdict(settings)
    return {name: str(v) if isinstance(v, Path) else v for name, v in values.items()}


def _changed(settings: Settings) -> dict[str, Any]:
    """Those that differ from the defaults of their dataclass; all, where there are no defaults."""
    asked = _plain(settings)
    if isinstance(settings, Mapping):
        return asked
    differ = [
        field.name
        for field in dataclasses.fields(settings)
        if getattr(settings, field.name) != _default(field)
    ]
    return {name: asked[name] for name in differ}


def _default(field: dataclasses.Field[Any]) -> Any:
    """A field's default; MISSING, which equals no value, where it has none."""
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _finite(value: Any) -> Any:
    """The value with None for every number that is not finite."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _finite(dataclasses.asdict(value))
    return _finite(value.tolist()) if hasattr(value, "tolist") else value
