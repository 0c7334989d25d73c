"""Cutaway's own folder: config.json, model.safetensors and, with a tokenizer, tokenizer.json."""

from __future__ import annotations

import json
import os
from pathlib import Path

import safetensors.torch

from ...files import atomic_folder, atomic_path
from ..config import ConfigError, ModelConfig
from ..tokenizer import Tokenizer
from .checkpoint import Checkpoint, LoadError, check_state
from .reading import read_json, read_safetensors

FORMAT, VERSION = "cutaway", 1
FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")


def is_native(folder: Path) -> bool:
    """Whether a folder is one that `save` wrote."""
    path = folder / "config.json"
    return path.is_file() and read_json(path).get("format") == FORMAT


def load(folder: Path) -> Checkpoint:
    """Read a folder that `save` wrote.

    Raises:
        LoadError: a file is missing or damaged, or the weights do not fit the configuration.
    """
    values = read_json(folder / "config.json")
    version = values.pop("version", None)
    values.pop("format", None)
    if version != VERSION:
        raise LoadError(
            f"{folder} has version {version!r} of the folder format; this release reads "
            f"version {VERSION}."
        )
    try:
        cfg = ModelConfig.from_dict(values, source="it")
    except (ConfigError, TypeError) as fault:
        raise LoadError(f"{folder / 'config.json'} describes no model: {fault}") from fault
    state = read_safetensors(folder / "model.safetensors")
    check_state(cfg, state, folder / "model.safetensors")
    path = folder / "tokenizer.json"
    return Checkpoint(cfg, state, Tokenizer.from_file(path) if path.is_file() else None)


def save(checkpoint: Checkpoint, folder: Path) -> None:
    """Write the folder whole or not at all. An earlier model of ours there is replaced; other
    files beside it stay.

    Raises:
        FileExistsError: something that is not a model of ours lies there.
    """
    check_state(checkpoint.cfg, checkpoint.state, "the model")
    folder = Path(os.path.realpath(folder))
    _refuse_foreign(folder)
    with atomic_folder(folder, FILES) as temporary:
        _write_files(checkpoint, temporary)


def _refuse_foreign(folder: Path) -> None:
    if folder.is_dir() and any(folder.iterdir()) and not is_native(folder):
        raise FileExistsError(
            f"{folder} holds something that Cutaway did not save: give another folder."
        )


def _write_files(checkpoint: Checkpoint, folder: Path) -> None:
    config = {"format": FORMAT, "version": VERSION, **checkpoint.cfg.to_dict()}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    # clone: safetensors refuses tensors that share memory, such as views of one weight.
    state = {
        name: value.detach().cpu().contiguous().clone() for name, value in checkpoint.state.items()
    }
    with atomic_path(folder / "model.safetensors") as path:  # for its permissions as well
        safetensors.torch.save_file(state, path)
    tokenizer = checkpoint.tokenizer
    if tokenizer is None:
        return
    tokenizer.save(folder / "tokenizer.json")
    special = {name: getattr(tokenizer, name) for name in ("bos_token", "eos_token", "pad_token")}
    text = json.dumps(special, indent=2, ensure_ascii=False) + "\n"
    (folder / "tokenizer_config.json").write_text(text, encoding="utf-8")
