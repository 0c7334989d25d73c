"""Checkpoints of a run: models that are kept, and states from which training goes on.

    checkpoints/step-00000100/   config.json, model.safetensors, tokenizer.json: a model's folder,
                                 which every command opens
                 state.json      the step, and digests of the files beside it
                 training.pt     the optimiser and the sums that are still to be reported; only in
                                 the last two from which a run can go on

Batches are a function of the step alone and no random state outlives a step, so that weights,
optimiser and step are all there is to a run. A folder is written under another name and renamed
when it is on the disk, so that one that is listed is whole.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import nn

from ..files import atomic_folder, atomic_path, digest, write_json
from ..model.loading.checkpoint import LoadError
from ..model.loading.native import FILES as MODEL_FILES
from ..model.loading.reading import read_json, read_pickle, read_safetensors
from ..model.transformer import HookedTransformer

FOLDER = "checkpoints"
_WEIGHTS, _STATE, _TRAINING = "model.safetensors", "state.json", "training.pt"
_OWN_FILES = (*MODEL_FILES, _WEIGHTS, _STATE, _TRAINING)
_NAME = re.compile(r"step-(\d{8,})")
WRITE_FAULTS = (OSError, RuntimeError, safetensors.SafetensorError)
"""What the writers raise when a disk is full: our own, torch's and safetensors'."""
_RESUMABLE = 2  # states from which a run can go on: one more than is needed, should one break


class CheckpointError(ValueError):
    """A checkpoint that cannot be written or used; the message says what is left to go on from."""


@dataclass(frozen=True)
class SavedStep:
    """A model as it was after some step."""

    step: int
    """Steps that were done: 0 is the fresh model."""
    path: Path
    """Its folder."""

    def model(self, **options: Any) -> HookedTransformer:
        """The model; the options are those of `HookedTransformer.from_pretrained`.

        Raises:
            LoadError: the folder is not whole.
        """
        return HookedTransformer.from_pretrained(self.path, **options)


def checkpoints(folder: str | Path) -> list[SavedStep]:
    """The models that a run kept, by their step.

    Args:
        folder: of the run, or the `checkpoints` folder in it.

    Raises:
        FileNotFoundError: there is no such folder.

    Example:
        >>> for saved in checkpoints("runs/ioi-2l"):  # doctest: +SKIP
        ...     print(saved.step, saved.model().cfg.n_layers)
    """
    folder = Path(folder)
    inner = folder / FOLDER
    folder = inner if inner.is_dir() else folder
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} does not exist: give the folder of a training run.")
    return sorted(_steps(folder), key=lambda saved: saved.step)


def _steps(folder: Path) -> list[SavedStep]:
    found = []
    for path in folder.iterdir() if folder.is_dir() else ():
        match = _NAME.fullmatch(path.name)
        if match and (path / _STATE).is_file():
            found.append(SavedStep(int(match[1]), path))
    return found


@dataclass(frozen=True)
class TrainingState:
    """What training goes on from, beside the weights."""

    step: int
    """Steps that were done."""
    optimizer: Mapping[str, Any]
    """Its state dict."""
    sums: Mapping[str, Any]
    """What was added up since the last report."""


class CheckpointStore:
    """Writes the checkpoints of one run, and finds the one to go on from.

    Args:
        folder: that the checkpoints lie in.
        module: what is trained; a `HookedTransformer` is saved as a model's folder.
        identity: what decides the run, as plain values; another run's checkpoints are refused.
        kept: steps whose model stays.
        every: steps between states from which the run can go on.
        warn: told in a sentence about each checkpoint that is broken.
    """

    def __init__(
        self,
        folder: Path,
        module: nn.Module,
        identity: Mapping[str, Any],
        kept: frozenset[int] = frozenset(),
        every: int = 500,
        warn: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.folder, self.module, self.identity = folder, module, dict(identity)
        self.kept, self.every, self.warn = kept, every, warn

    def is_due(self, step: int, last: int) -> bool:
        """Whether something is to be saved after `step` steps."""
        return step in self.kept or self._is_resumable(step, last)

    def _is_resumable(self, step: int, last: int) -> bool:
        return step == last or (step > 0 and step % self.every == 0)

    # ---- writing ----

    def save(
        self,
        step: int,
        last: int,
        optimizer: torch.optim.Optimizer,
        sums: Mapping[str, Any],
        now: bool = False,
    ) -> None:
        """Save what is due after `step` steps; `now` also what the run can go on from.

        Raises:
            CheckpointError: the disk is full, or cannot be written. What was saved before stays.
        """
        resumable = now or self._is_resumable(step, last)
        path = self.folder / f"step-{step:08d}"
        try:
            with atomic_folder(path, _OWN_FILES) as temporary:
                self._write(temporary, step, optimizer.state_dict() if resumable else None, sums)
            self._drop_superseded()
        except WRITE_FAULTS as fault:
            raise CheckpointError(f"{_not_written(path, fault)} {self._what_is_left()}") from fault

    def _write(
        self, folder: Path, step: int, optimizer: dict[str, Any] | None, sums: Mapping[str, Any]
    ) -> None:
        if isinstance(self.module, HookedTransformer):
            self.module.save_pretrained(folder)
        else:
            state = {k: v.detach().cpu().contiguous() for k, v in self.module.state_dict().items()}
            with atomic_path(folder / _WEIGHTS) as path:
                safetensors.torch.save_file(state, path)
        digests = {_WEIGHTS: digest(folder / _WEIGHTS)}
        if optimizer is not None:
            with atomic_path(folder / _TRAINING) as path:
                torch.save({"step": step, "optimizer": optimizer, "sums": dict(sums)}, path)
            digests[_TRAINING] = digest(folder / _TRAINING)
        state = {"step": step, "run": self.identity, "sha256": digests}
        write_json(folder / _STATE, state)

    def _drop_superseded(self) -> None:
        """Of states to go on from only the last ones stay; of models those that are kept."""
        found = sorted(_steps(self.folder), key=lambda saved: -saved.step)
        states = [saved for saved in found if (saved.path / _TRAINING).is_file()]
        for saved in states[_RESUMABLE:]:
            if saved.step in self.kept:
                (saved.path / _TRAINING).unlink()
            else:
                shutil.rmtree(saved.path)

    def _what_is_left(self) -> str:
        states = [s.step for s in _steps(self.folder) if (s.path / _TRAINING).is_file()]
        left = f"The run goes on from step {max(states)}" if states else "The run begins anew"
        return f"{left} when there is room and the same command is given again."

    # ---- going on ----

    def resume(self) -> TrainingState | None:
        """Put the newest whole checkpoint's weights into the module; None where there is none.

        Raises:
            CheckpointError: the newest checkpoint is of another run.
        """
        for saved in sorted(_steps(self.folder), key=lambda one: -one.step):
            try:
                state = self._read(saved)
            except (LoadError, OSError) as fault:
                self.warn(f"{saved.path.name} is left out, it is not whole: {fault}")
                continue
            if state is not None:
                return state
        return None

    def _read(self, saved: SavedStep) -> TrainingState | None:
        described = read_json(saved.path / _STATE)
        self.check_identity(saved.path, described.get("run", {}))
        digests = described.get("sha256", {})
        if _TRAINING not in digests or not (saved.path / _TRAINING).is_file():
            return None  # a model that was kept, and nothing to go on from
        for name, wanted in digests.items():
            if digest(saved.path / name) != wanted:
                raise LoadError(f"{saved.path / name} is not what was written.")
        values = read_pickle(saved.path / _TRAINING)
        self.module.load_state_dict(read_safetensors(saved.path / _WEIGHTS))
        return TrainingState(int(values["step"]), values["optimizer"], values["sums"])

    def check_identity(self, path: Path, found: Mapping[str, Any]) -> None:
        """Refuse what was made with other settings, naming them.

        Raises:
            CheckpointError: they differ.
        """
        differ = [
            f"{name} ({found.get(name)!r} there, {self.identity.get(name)!r} here)"
            for name in sorted({*found, *self.identity})
            if found.get(name) != self.identity.get(name)
        ]
        if differ:
            raise CheckpointError(
                f"{path} was made with other settings: {', '.join(differ)}. "
                "Give the same ones, or another folder."
            )


@contextmanager
def written(path: Path) -> Iterator[None]:
    """Around what writes `path`: say it in one sentence if that fails.

    Raises:
        CheckpointError: it does.
    """
    try:
        yield
    except FileExistsError:
        raise
    except WRITE_FAULTS as fault:
        raise CheckpointError(
            f"{_not_written(path, fault)} The run goes on when there is room and the same command "
            "is given again."
        ) from fault


def _not_written(path: Path, fault: Exception) -> str:
    why = fault.strerror if isinstance(fault, OSError) else None
    said = " ".join(str(why or fault).split())[:200]
    return f"{path} could not be written ({said[:1].lower()}{said[1:]})."
