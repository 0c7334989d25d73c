"""Results of this room as files: arrays as safetensors, the rest as JSON in the file's header."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..files import atomic_path

Array = NDArray[np.floating[Any]]


def save_result(
    path: str | Path, kind: str, arrays: Mapping[str, Array], described: Mapping[str, Any]
) -> None:
    """Write one file, whole or not at all.

    Args:
        path: where to.
        kind: what the file holds, so that `load_result` can tell it from others.
        arrays: by name; kept in their own number format.
        described: what JSON can say of it.
    """
    from safetensors.numpy import save_file

    with atomic_path(path) as temporary:
        save_file(
            {name: np.ascontiguousarray(array) for name, array in arrays.items()},
            temporary,
            metadata={f"cutaway.{kind}": json.dumps(dict(described))},
        )


def load_result(path: str | Path, kind: str) -> tuple[dict[str, Array], dict[str, Any]]:
    """The arrays and the description of a file that `save_result` wrote.

    Raises:
        ValueError: the file is missing, is a folder, or holds something else.
    """
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise ValueError(f"{path} is {'a folder' if Path(path).is_dir() else 'not there'}.")
    try:
        with safe_open(path, framework="numpy") as file:
            described = json.loads((file.metadata() or {})[f"cutaway.{kind}"])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} does not hold {kind}: {error}.") from None
    return arrays, described
