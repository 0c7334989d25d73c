"""Results on disk: arrays with a JSON header in one safetensors file, whole or not there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .files import atomic_path

Array = NDArray[np.floating[Any]]


def save_arrays(
    path: str | Path, kind: str, arrays: Mapping[str, NDArray[Any]], described: Mapping[str, Any]
) -> None:
    """Write arrays as they are, and what else there is to know into the header.

    Args:
        path: the file.
        kind: what the file holds, in words, such as "effects" or "an example"; reading it as
            another kind is an error.
        arrays: by name.
        described: anything that JSON can say; tuples come back as lists.

    Example:
        >>> save_arrays("a.safetensors", "an example", {"x": np.ones(3)}, {"unit": "nats"})
    """
    from safetensors.numpy import save_file

    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    with atomic_path(path) as temporary:
        save_file(whole, temporary, metadata={_key(kind): json.dumps(dict(described))})


def load_arrays(path: str | Path, kind: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The inverse of `save_arrays`: the arrays and what was said of them.

    Args:
        path: the file.
        kind: as it was saved.

    Raises:
        ValueError: there is no such file, it is a folder, it cannot be read, or it holds something
            else.

    Example:
        >>> arrays, described = load_arrays("a.safetensors", "an example")
    """
    from safetensors import SafetensorError, safe_open

    if not Path(path).exists():
        raise ValueError(f"there is no file {path}.")
    if Path(path).is_dir():
        raise ValueError(f"{path} is a folder: give the file in it that holds {kind}.")
    try:
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            if _key(kind) not in header:
                raise ValueError(f"{path} does not hold {kind}.")
            described = json.loads(header[_key(kind)])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error}).") from None
    except (SafetensorError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} does not hold {kind}: {error}.") from None
    return arrays, described


def _key(kind: str) -> str:
    words = kind.split()
    named = words[1:] if words[0] in ("a", "an", "the") else words
    return f"cutaway.{'_'.join(named)}"
