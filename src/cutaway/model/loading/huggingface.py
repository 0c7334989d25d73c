"""Folders as the Hugging Face Hub has them: config.json beside weights in one file or shards."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from torch import Tensor

from ..config import ConfigError, ModelConfig
from ..tokenizer import Tokenizer
from . import gpt2, llama, neox
from .checkpoint import Checkpoint, LoadError
from .reading import RawTensors, read_folder, read_json
from .settings import Settings


class Family(Protocol):
    """What the module of one family gives."""

    def config(self, settings: Settings, /) -> ModelConfig:
        """Shape and options from `config.json`."""

    def convert(self, cfg: ModelConfig, raw: RawTensors, /) -> dict[str, Tensor]:
        """The weights under our names; every tensor must be taken."""


FAMILIES: dict[str, Family] = {
    "gpt2": gpt2,
    "gpt_neox": neox,
    "llama": llama,
    "mistral": llama,
    "qwen2": llama,
}
"""`model_type` in config.json -> the module that reads it."""


def load(folder: Path, name: str | None = None) -> Checkpoint:
    """Read a folder.

    Args:
        folder: with config.json, model.safetensors (or pytorch_model.bin) and tokenizer.json.
        name: what the model is to be called; None takes the folder's name.

    Raises:
        LoadError: a file is missing or damaged, the architecture is unknown, or the weights do
            not fit the configuration.
    """
    settings, family = read_settings(folder)
    try:
        cfg = family.config(settings).replace(model_name=name or folder.name)
    except ConfigError as fault:
        raise LoadError(f"{settings.source} describes no model: {fault}") from fault
    state = family.convert(cfg, RawTensors(read_folder(folder), folder))
    return Checkpoint(cfg, state, _tokenizer(folder, settings))


def read_settings(folder: Path) -> tuple[Settings, Family]:
    """config.json and who reads it. Raises LoadError for an unknown architecture."""
    settings = Settings(read_json(folder / "config.json"), folder / "config.json")
    kind = settings.need("model_type")
    if kind not in FAMILIES:
        raise LoadError(
            f"{settings.source} is of the unknown architecture {kind!r}; known are "
            f"{', '.join(FAMILIES)}."
        )
    return settings, FAMILIES[kind]


def _tokenizer(folder: Path, settings: Settings) -> Tokenizer | None:
    """The folder's tokenizer; tokenizer_config.json names its special tokens, else config.json."""
    path = folder / "tokenizer.json"
    if not path.is_file():
        return None
    tokenizer = Tokenizer.from_file(path)
    if (folder / "tokenizer_config.json").is_file():
        return tokenizer
    named = {}
    for token in ("bos_token", "eos_token", "pad_token"):
        number = settings.get(f"{token}_id")
        number = number[0] if isinstance(number, list) else number
        if isinstance(number, int) and 0 <= number < tokenizer.vocab_size:
            named[token] = tokenizer.backend.id_to_token(number)
    return Tokenizer.from_file(path, **named)
