"""Checkpoints of many kinds, each turned into one `Checkpoint`; one family per file.

`load_checkpoint` finds out what lies at a name or path. To add an architecture of the Hugging Face
Hub, write a module like `gpt2.py` and enter it in `huggingface.FAMILIES`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ..config import ModelConfig
from ..tokenizer import Tokenizer
from . import hooked, hub, huggingface, llama2c, nanogpt, native, sentencepiece
from .checkpoint import Checkpoint, LoadError, check_state, expected_shapes
from .reading import WEIGHT_FILES, read_json, read_pickle, read_safetensors

__all__ = [
    "Checkpoint",
    "LoadError",
    "check_state",
    "embedded_models",
    "expected_shapes",
    "load_checkpoint",
    "load_tokenizer",
]

ASSETS = Path(__file__).parents[2] / "assets"
_SUFFIXES = (".safetensors", ".pt", ".pth", ".ckpt", ".bin")


def embedded_models() -> list[str]:
    """Names of the models that are part of the package.

    Example:
        >>> embedded_models()  # doctest: +SKIP
        ['ioi-mini']
    """
    return sorted(path.parent.name for path in ASSETS.glob("*/config.json"))


def load_checkpoint(
    name_or_path: str | Path,
    *,
    cfg: ModelConfig | None = None,
    revision: str | None = None,
    dtype: torch.dtype = torch.float32,
    tokenizer: Tokenizer | str | Path | None = None,
) -> Checkpoint:
    """Find a checkpoint by name or path, and read it.

    Args:
        name_or_path: a model that is part of the package; a folder (ours, a Hugging Face
            checkpoint, one with nanoGPT's ckpt.pt or minGPT's model.pt); a file (state dict of
            nanoGPT, minGPT or HookedTransformer, llama2.c's .bin); or a name on the hub.
        cfg: for state dicts that do not say what their shape is.
        revision: branch, tag or commit on the hub.
        dtype: what the weights are converted to.
        tokenizer: in place of the checkpoint's own, or the path of one.

    Raises:
        LoadError: nothing is found there, or it cannot be read.

    Example:
        >>> load_checkpoint("gpt2").cfg.n_layers  # doctest: +SKIP
        12
    """
    checkpoint = _find(name_or_path, cfg, revision)
    if isinstance(tokenizer, str | Path):
        tokenizer = load_tokenizer(Path(tokenizer))
    return Checkpoint(checkpoint.cfg, checkpoint.state, tokenizer or checkpoint.tokenizer).to(dtype)


def load_tokenizer(path: Path) -> Tokenizer:
    """A tokenizer.json, a folder with one, or a SentencePiece .model file."""
    if path.is_dir():
        path = path / "tokenizer.json"
    if path.suffix == ".model" and path.is_file():
        return sentencepiece.load(path)
    return Tokenizer.from_file(path)


def _find(name_or_path: str | Path, cfg: ModelConfig | None, revision: str | None) -> Checkpoint:
    name, path = str(name_or_path), Path(name_or_path)
    if not name.strip():
        raise LoadError(
            "the name of the model is empty: give the name of a model or the path of a folder "
            f"(embedded here: {', '.join(embedded_models()) or 'none'})."
        )
    local = name in embedded_models() or path.exists()
    if local and revision is not None:
        raise LoadError(f"revision={revision!r} is for names on the hub, and {name!r} is local.")
    if name in embedded_models() and (isinstance(name_or_path, str) or not path.exists()):
        if _holds_model(path):
            raise LoadError(
                f"{name!r} is a model that is embedded here and also a folder with a model: write "
                f"'./{name}' for the folder, or rename the folder for the embedded one."
            )
        return native.load(ASSETS / name)
    if path.is_dir():
        return _load_folder(path, cfg)
    if path.is_file():
        return _load_file(path, cfg)
    looks_like_path = isinstance(name_or_path, Path) or name.startswith((".", "/", "~"))
    if looks_like_path or path.suffix in _SUFFIXES:
        raise LoadError(f"{name} does not exist.")
    if hub.is_hub_name(name):
        return huggingface.load(hub.download(name, revision, huggingface.read_settings), name)
    raise LoadError(
        f"no model is called {name!r}: it can be one of those embedded here "
        f"({', '.join(embedded_models()) or 'none'}), a short name such as gpt2 or "
        "pythia-70m, a name on the Hugging Face Hub (owner/model), or the path of a folder or file."
    )


def _holds_model(folder: Path) -> bool:
    """Whether it looks as if a model could be loaded from there."""
    return any((folder / name).is_file() for name in ("config.json", "ckpt.pt", "model.pt"))


def _load_folder(folder: Path, cfg: ModelConfig | None) -> Checkpoint:
    if native.is_native(folder):
        return native.load(folder)
    if native.is_native(folder / "model"):  # the folder of a training run
        return native.load(folder / "model")
    config = folder / "config.json"
    values = read_json(config) if config.is_file() else {}
    if "model_type" in values:
        return huggingface.load(folder)
    if (folder / "ckpt.pt").is_file():
        return _load_file(folder / "ckpt.pt", cfg)
    if (folder / "model.pt").is_file():
        # minGPT's own config.json has the settings under "model".
        return _load_file(folder / "model.pt", cfg, values.get("model", {}))
    raise LoadError(
        f"{folder} holds no model: it needs a config.json (with 'model_type', or saved by "
        "save_pretrained) beside the weights, nanoGPT's ckpt.pt, or minGPT's model.pt."
    )


def _load_file(path: Path, cfg: ModelConfig | None, settings: Any = None) -> Checkpoint:
    if path.suffix == ".safetensors":
        return _load_state(read_safetensors(path), {}, path, cfg)
    if path.suffix == ".bin" and not _is_pickle(path):
        return llama2c.load(path)
    values = read_pickle(path)
    if isinstance(values, dict) and "model_args" in values and "model" in values:
        model, settings = values["model"], values["model_args"]
        return nanogpt.load(model, settings, path, exact_gelu=True, cfg=cfg)
    if isinstance(values, dict) and "state_dict" in values:
        return _load_state(values["state_dict"], values.get("config", settings), path, cfg)
    return _load_state(values, settings, path, cfg)


def _load_state(state: Any, settings: Any, path: Path, cfg: ModelConfig | None) -> Checkpoint:
    """A state dict of which only the names tell the kind."""
    tensors = isinstance(state, dict) and all(isinstance(v, torch.Tensor) for v in state.values())
    if not tensors or not isinstance(settings, dict | None):
        raise LoadError(f"{path} holds something else than a state dict of plain tensors.")
    if hooked.is_state(state):
        return hooked.load(state, cfg, path)
    if (path.parent / "config.json").is_file() and path.name in WEIGHT_FILES:
        return _load_folder(path.parent, cfg)
    if nanogpt.is_state(state):
        return nanogpt.load(state, settings or {}, path, exact_gelu=False, cfg=cfg)
    raise LoadError(
        f"the tensors in {path} have names of no known kind (such as {next(iter(state), None)!r}); "
        "known are those of HookedTransformer, nanoGPT and minGPT, and Hugging Face checkpoints as "
        "a folder with config.json."
    )


def _is_pickle(path: Path) -> bool:
    """Whether a file begins as those of torch.save do: a zip archive or a bare pickle."""
    with path.open("rb") as file:
        head = file.read(4)
    # A model of llama2.c begins with its width, whose upper two bytes are zero.
    return head[2:] != b"\0\0" and (head[:2] == b"PK" or head[:1] == b"\x80")
