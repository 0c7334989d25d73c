"""Files to tensors: safetensors, sharded or not, and pickles that hold plain tensors only."""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from .checkpoint import LoadError, check_shape, count_and_list

WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
"""What a folder's weights are called on the Hugging Face Hub, the preferred one first."""


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object. Raises LoadError if there is none at `path`."""
    if not path.is_file():
        raise LoadError(f"{path} does not exist.")
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as fault:
        raise LoadError(f"{path} is not valid JSON: {fault}.") from fault
    if not isinstance(value, dict):
        raise LoadError(f"{path} holds a JSON {type(value).__name__}, not an object.")
    return value


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """All tensors of one safetensors file. Raises LoadError if it is missing or not whole."""
    if not path.is_file():
        raise LoadError(f"{path} does not exist.")
    try:
        return safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, OSError) as fault:
        raise LoadError(
            f"{path} is not a whole safetensors file ({fault}): fetch or copy it again."
        ) from fault


def read_pickle(path: Path) -> Any:
    """What `torch.save` wrote, if it is tensors and plain values; nothing else is unpickled."""
    if not path.is_file():
        raise LoadError(f"{path} does not exist.")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as fault:
        named = re.search(r"GLOBAL (\S+)", str(fault))
        what = f" ({named[1]})" if named else ""
        raise LoadError(
            f"{path} is a pickle with more in it than plain tensors{what}, and opening it could "
            "run code: save the state dict alone, best as safetensors."
        ) from fault
    except (RuntimeError, EOFError, OSError, ValueError) as fault:
        reason = str(fault).split("\n")[0].rstrip(".")
        raise LoadError(f"{path} is not a whole file of torch.save ({reason}).") from fault


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of one file, by its kind. Raises LoadError if it holds anything else."""
    if path.suffix == ".safetensors":
        return read_safetensors(path)
    values = read_pickle(path)
    if not isinstance(values, dict) or not all(isinstance(v, Tensor) for v in values.values()):
        raise LoadError(f"{path} holds something else than a dictionary of tensors.")
    return values


def read_folder(folder: Path) -> dict[str, Tensor]:
    """The tensors of a folder as the Hugging Face Hub has them, in one file or in shards."""
    for name in WEIGHT_FILES:
        if (folder / name).is_file():
            return read_tensors(folder / name)
        index = folder / f"{name}.index.json"
        if index.is_file():
            return _read_shards(index)
    raise LoadError(f"{folder} holds no weights: {' or '.join(WEIGHT_FILES)} is needed there.")


def _read_shards(index: Path) -> dict[str, Tensor]:
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise LoadError(f"{index} has no 'weight_map' that says which tensor is in which file.")
    tensors: dict[str, Tensor] = {}
    for shard in sorted(set(weight_map.values())):
        tensors |= read_tensors(index.parent / shard)
    missing = [name for name in weight_map if name not in tensors]
    if missing:
        raise LoadError(f"the files that {index} names lack {count_and_list(missing)}.")
    return tensors


class RawTensors:
    """The tensors of a checkpoint under its own names, each to be taken once.

    Example:
        >>> raw = RawTensors({"wte.weight": torch.zeros(5, 2)}, "a file")
        >>> raw.take("wte.weight", 5, 2).shape
        torch.Size([5, 2])
        >>> raw.finish()
    """

    def __init__(self, tensors: dict[str, Tensor], source: str | Path) -> None:
        self.tensors = dict(tensors)
        self.source = source

    def drop_prefix(self, prefix: str) -> None:
        """Take `prefix` off every name that has it."""
        self.tensors = {name.removeprefix(prefix): v for name, v in self.tensors.items()}

    def drop(self, pattern: str) -> None:
        """Forget every tensor whose whole name the regular expression matches."""
        self.tensors = {n: v for n, v in self.tensors.items() if not re.fullmatch(pattern, n)}

    def take(self, name: str, *shape: int) -> Tensor:
        """The tensor of that name. Raises LoadError if it is missing or has another shape."""
        if name not in self.tensors:
            raise LoadError(f"{self.source} lacks the tensor {name!r}.")
        value = self.tensors.pop(name)
        check_shape(name, value, shape, self.source)
        return value

    def finish(self) -> None:
        """Raise LoadError if any tensor was not taken: the model would not be the one saved."""
        if self.tensors:
            raise LoadError(
                f"{self.source} holds {count_and_list(self.tensors)}, "
                "which this architecture does not have."
            )
