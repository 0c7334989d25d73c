"""Activations on disk: computed once, read many times.

    STORE/store.json                what the rows are of: digest, hooks, widths, rows of a shard
          rows-00000.safetensors    [row, width] for each hook, in the stream's order
          rows-00001.safetensors    ...

Shards are whole or not there, and each says where in the stream the next one begins, so that a
store whose writing was stopped goes on behind its last shard. Read back, the first pass is the
stream itself, row for row; later passes have another order.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from ..files import atomic_path, write_json
from ..model.loading.checkpoint import LoadError
from ..model.loading.reading import read_json
from .rows import ROWS, SHARDS, Position, Rows, RowSource, digest_of, permuted

INDEX = "store.json"
_FORMAT = "cutaway activations"
_NAME = re.compile(r"rows-(\d{5,})\.safetensors")
_FORMATS = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
_LARGEST = 65_504.0  # of float16


def store_rows(
    source: RowSource,
    folder: str | Path,
    n_rows: int,
    *,
    shard_rows: int = 65_536,
    dtype: str = "float32",
    device: torch.device | str = "cpu",
    progress: Callable[[float], None] = lambda share: None,
) -> Store:
    """Write the first rows of a stream to disk, or go on where that was stopped.

    Args:
        source: the stream.
        folder: of the store.
        n_rows: how many rows; the last shard holds what is left over.
        shard_rows: rows of a file. Rows are mixed among these when a store is read again.
        dtype: of the files: float32 keeps the stream bit for bit, float16 and bfloat16 halve it.
        device: where the store puts rows when it is read.
        progress: told the share that is written.

    Raises:
        ValueError: the folder holds something else, or rows of another stream; fewer rows than
            one; values that float16 cannot hold.

    Example:
        >>> store = store_rows(source, "runs/activations", n_rows=2_000_000)
        >>> train_dictionaries(store, [...])
    """
    folder = Path(folder)
    for name, value in (("n_rows", n_rows), ("shard_rows", shard_rows)):
        if value < 1:
            raise ValueError(f"{name}={value} is too few: at least 1.")
    if dtype not in _FORMATS:
        raise ValueError(f"dtype={dtype!r} is unknown; it can be {', '.join(_FORMATS)}.")
    described = {
        "format": _FORMAT,
        "rows_digest": source.digest,
        "widths": dict(source.widths),
        "facts": dict(source.facts),
        "n_rows": n_rows,
        "shard_rows": shard_rows,
        "dtype": dtype,
    }
    _open(folder, described)
    n_shards = -(-n_rows // shard_rows)
    first, position = _go_on_from(folder, n_shards)
    for number in range(first, n_shards):
        size = min(shard_rows, n_rows - number * shard_rows)
        batch = next(iter(source.batches(size, position)))
        position = batch.after
        _write(folder / _name(number), batch.rows, position, dtype)
        progress((number + 1) / n_shards)
    return Store(folder, device=device)


class Store(RowSource):
    """A store that was written by `store_rows`, as a source of rows.

    Args:
        folder: of the store.
        seed: of the order in the passes after the first.
        device: where rows are put.

    Raises:
        ValueError: no store, one that is not finished, or one with a broken or missing shard.

    Example:
        >>> Store("runs/activations").widths
        {'blocks.2.hook_resid_post': 128}
    """

    def __init__(
        self, folder: str | Path, seed: int = 0, device: torch.device | str = "cpu"
    ) -> None:
        self.folder, self.seed, self._device = Path(folder), seed, torch.device(device)
        if not (self.folder / INDEX).is_file():
            raise ValueError(f"{folder} holds no activations: it lacks {INDEX}.")
        self.described = _read_index(self.folder)
        self.widths: Mapping[str, int] = self.described["widths"]
        self.facts: Mapping[str, Any] = self.described["facts"]
        self.n_rows = int(self.described["n_rows"])
        self.n_blocks: int | None = -(-self.n_rows // int(self.described["shard_rows"]))
        missing = [n for n in range(self.n_blocks) if not (self.folder / _name(n)).is_file()]
        if missing:
            raise ValueError(
                f"{folder} lacks {len(missing)} of its {self.n_blocks} shards, first "
                f"{_name(missing[0])}: write it again, which goes on where it was stopped."
            )

    @property
    def digest(self) -> str:
        """Of what was stored, and the seed."""
        return digest_of("store", self.seed, json.dumps(self.described, sort_keys=True))

    @property
    def device(self) -> torch.device:
        """Where rows are put."""
        return self._device

    def block(self, number: int) -> Rows:
        """A shard: in the first pass as it was written, later in another order."""
        assert self.n_blocks is not None
        a_pass, within = divmod(number, self.n_blocks)
        if a_pass:
            within = int(permuted(self.n_blocks, self.seed, SHARDS, a_pass)[within])
        rows = self._read(within)
        if not a_pass:
            return rows
        order = permuted(len(next(iter(rows.values()))), self.seed, ROWS, number, self._device)
        return {hook: values[order] for hook, values in rows.items()}

    def _read(self, number: int) -> Rows:
        path = self.folder / _name(number)
        try:
            read = safetensors.torch.load_file(path, device=str(self._device))
        except (OSError, safetensors.SafetensorError) as fault:
            raise ValueError(
                f"{path} is not whole ({fault}): remove it, and write the store again."
            ) from None
        return {hook: read[hook].float() for hook in self.widths}


def _open(folder: Path, described: Mapping[str, Any]) -> None:
    """The folder of a store, made or found again."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file; activations are stored in a folder.")
    if (folder / INDEX).is_file():
        found = _read_index(folder)
        differ = [name for name, value in described.items() if found.get(name) != value]
        if differ:
            name = differ[0]
            what = "the rows of another stream" if name == "rows_digest" else f"another {name}"
            raise ValueError(
                f"{folder} holds {what} ({found.get(name)!r} there, {described[name]!r} here): "
                "give the same, or another folder."
            )
        return
    if folder.is_dir() and any(folder.iterdir()):
        raise ValueError(f"{folder} holds something else than activations: give another folder.")
    write_json(folder / INDEX, described)


def _read_index(folder: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = read_json(folder / INDEX)
    except LoadError as fault:
        raise ValueError(f"{folder / INDEX} cannot be read: {fault}") from None
    if found.get("format") != _FORMAT:
        raise ValueError(f"{folder / INDEX} is not the index of stored activations.")
    return found


def _name(number: int) -> str:
    return f"rows-{number:05d}.safetensors"


def _go_on_from(folder: Path, n_shards: int) -> tuple[int, Position]:
    """The first shard that is not there, and where its rows begin."""
    for left in folder.glob(".rows-*"):  # what a run that was killed was just writing
        left.unlink(missing_ok=True)
    there = {int(match[1]) for path in folder.iterdir() if (match := _NAME.fullmatch(path.name))}
    first = next(n for n in range(n_shards + 1) if n not in there)
    if first == 0:
        return 0, Position()
    path = folder / _name(first - 1)
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return first, Position(**json.loads(file.metadata()["after"]))
    except (OSError, KeyError, TypeError, ValueError, safetensors.SafetensorError) as fault:
        raise ValueError(
            f"{path} is not whole ({fault}): remove it, and write the store again."
        ) from None


def _write(path: Path, rows: Rows, after: Position, dtype: str) -> None:
    for hook, values in rows.items():
        if dtype == "float16" and float(values.abs().max()) > _LARGEST:
            raise ValueError(
                f"{hook} reaches {float(values.abs().max()):g}, which float16 cannot hold: store "
                "in bfloat16 or float32."
            )
    kept = {hook: values.to("cpu", _FORMATS[dtype]).contiguous() for hook, values in rows.items()}
    with atomic_path(path) as temporary:
        safetensors.torch.save_file(kept, temporary, {"after": json.dumps(asdict(after))})
