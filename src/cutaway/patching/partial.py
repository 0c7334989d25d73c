"""Partial results: long work that can be stopped and goes on where it was."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from torch import Tensor

from ..files import atomic_path

_SECONDS_BETWEEN_SAVES = 10.0


class PartialResult:
    """Keeps a tensor that fills up in a file, while a `with` block runs.

    What the file of an earlier, stopped block holds is there at the beginning. The file is removed
    when the block ends without an error, for then the result is whole.

    Args:
        path: the file; None keeps nothing.
        identity: gives what the work depends on, as JSON; another one's file is refused.
        values: filled with NaN where nothing is computed yet.
    """

    def __init__(
        self, path: str | Path | None, identity: Callable[[], dict[str, Any]], values: Tensor
    ) -> None:
        self.path = None if path is None else Path(path)
        self.values = values
        self.digest = ""
        if self.path is not None:
            text = json.dumps(identity(), sort_keys=True)
            self.digest = hashlib.sha256(text.encode()).hexdigest()
        self._saved = time.monotonic()

    def __enter__(self) -> PartialResult:
        if self.path is None:
            return self
        if self.path.is_file():
            self.values.copy_(self._load(self.path))
        try:
            self.save()  # better now than after hours that it cannot be written
        except OSError as error:
            raise ValueError(
                f"resume={self.path} cannot be written: {error.strerror or error}."
            ) from None
        return self

    def _load(self, path: Path) -> Tensor:
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="pt") as file:
                digest = (file.metadata() or {}).get("cutaway.partial")
                values: Tensor = file.get_tensor("values")
        except (OSError, SafetensorError) as error:
            raise ValueError(f"{path} does not hold a partial result: {error}.") from None
        if digest != self.digest or values.shape != self.values.shape:
            raise ValueError(
                f"{path} holds part of another result (another model, task or choice): remove it, "
                "or name another file."
            )
        return values

    def save_now_and_then(self) -> None:
        """Save if the last time is some seconds ago."""
        if time.monotonic() - self._saved > _SECONDS_BETWEEN_SAVES:
            self.save()

    def save(self) -> None:
        """Write what there is."""
        from safetensors.torch import save_file

        if self.path is None:
            return
        with atomic_path(self.path) as temporary:
            metadata = {"cutaway.partial": self.digest}
            save_file({"values": self.values}, temporary, metadata=metadata)
        self._saved = time.monotonic()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.path is None:
            return
        if error is None:
            self.path.unlink(missing_ok=True)
        else:
            self.save()
