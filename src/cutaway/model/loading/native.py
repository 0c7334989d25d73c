"""Cutaway's own folder: config.json, model.safetensors and, with a tokenizer, tokenizer.json."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from pathlib import Path

import safetensors.torch

from ...files import atomic_path
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
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(6)}")
    temporary.mkdir()
    try:
        _write_files(checkpoint, temporary)
        _put_in_place(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _refuse_foreign(folder: Path) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        raise FileExistsError(f"{folder} is a file; give the name of a folder.")
    if any(folder.iterdir()) and not is_native(folder):
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


def _put_in_place(temporary: Path, folder: Path) -> None:
    """Rename the finished folder to its name, and carry over what else lay in the old one."""
    if not folder.exists():
        os.rename(temporary, folder)
        return
    old = folder.with_name(f"{temporary.name}.old")
    os.rename(folder, old)
    try:
        os.rename(temporary, folder)
    except OSError:
        os.rename(old, folder)
        raise
    for path in old.iterdir():
        if path.name not in FILES:
            os.rename(path, folder / path.name)
    shutil.rmtree(old)
