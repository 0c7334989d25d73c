"""Checkpoints by their name on the Hugging Face Hub; only the files that are needed."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from .checkpoint import LoadError

_PYTHIA_SIZES = ("14m", "31m", "70m", "160m", "410m", "1b", "1.4b", "2.8b", "6.9b", "12b")


def _short_names() -> dict[str, str]:
    names = {"gpt2-small": "openai-community/gpt2", "distilgpt2": "distilbert/distilgpt2"}
    for name in ("gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl"):
        names[name] = f"openai-community/{name}"
    for size in _PYTHIA_SIZES:
        names[f"pythia-{size}"] = f"EleutherAI/pythia-{size}"
        if size not in ("14m", "31m"):
            names[f"pythia-{size}-deduped"] = f"EleutherAI/pythia-{size}-deduped"
    return names


SHORT_NAMES = _short_names()
"""Names that the field uses -> names on the hub."""

_TEXT_FILES = ["config.json", "tokenizer.json", "tokenizer_config.json"]
_SAFETENSORS = ["model*.safetensors", "model.safetensors.index.json"]
_PICKLES = ["pytorch_model*.bin", "pytorch_model.bin.index.json"]


def is_hub_name(name: str) -> bool:
    """Whether a name is a short one or has the form owner/model."""
    return name in SHORT_NAMES or bool(re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", name))


def download(name: str, revision: str | None, check: Callable[[Path], object]) -> Path:
    """The folder with the files of a model, fetched if they are not in the hub's own cache.

    Args:
        name: short ("gpt2") or in full ("EleutherAI/pythia-70m").
        revision: branch, tag or commit; None is the default branch.
        check: is given the folder before the weights are fetched, and may raise.

    Raises:
        LoadError: no such model or revision, one that needs permission, or no network.
    """
    from huggingface_hub import errors  # slow to import, and only needed here

    full_name = SHORT_NAMES.get(name, name)
    try:
        check(_fetch(full_name, revision, _TEXT_FILES))
        folder = _fetch(full_name, revision, _SAFETENSORS)
        if not any(folder.glob("*.safetensors")):
            folder = _fetch(full_name, revision, _PICKLES)
    except errors.GatedRepoError as fault:
        raise LoadError(
            f"{full_name} on the Hugging Face Hub needs permission: ask for it on its page, then "
            "run `hf auth login`."
        ) from fault
    except errors.RepositoryNotFoundError as fault:
        raise LoadError(f"the Hugging Face Hub has no model {full_name!r}.") from fault
    except errors.RevisionNotFoundError as fault:
        raise LoadError(f"{full_name} on the Hub has no revision {revision!r}.") from fault
    except (errors.LocalEntryNotFoundError, errors.HfHubHTTPError, OSError) as fault:
        raise LoadError(
            f"{full_name} is not in the local cache and the Hugging Face Hub cannot be reached: "
            "try again with a network, or give the path of a folder with the model's files."
        ) from fault
    return folder


def _fetch(name: str, revision: str | None, patterns: list[str]) -> Path:
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(name, revision=revision, allow_patterns=patterns))
