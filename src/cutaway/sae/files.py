"""Dictionaries on disk: our folders, SAELens' and sparsify's, found by a name or a path.

Our own format is SAELens' with a note in its metadata, so that a folder of ours opens there as it
is, and in Cutaway as the kind that it was. docs/methods/dictionary-files.md has what is read,
written and refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch
from torch import Tensor

from ..files import atomic_folder, atomic_path, write_json
from ..model.pretrained import usable_device
from . import saelens, saelens_writing, sparsify
from .config import DictionaryError
from .dictionary import Dictionary
from .saelens_options import SCALER
from .weights import assembled, check_finite, object_of

if TYPE_CHECKING:
    from ..model.transformer import HookedTransformer

Format = Literal["cutaway", "saelens", "sparsify"]
FORMATS: tuple[str, ...] = get_args(Format)
ASSETS = Path(__file__).parents[1] / "assets" / "dictionaries"
_CONFIG = saelens.CONFIG
_OWN_FILES = (_CONFIG, saelens.WEIGHTS, SCALER, sparsify.WEIGHTS)
"""What an earlier dictionary in the same folder may consist of; it goes when another is saved."""


def embedded_dictionaries() -> list[str]:
    """Names of the dictionaries that are part of the package.

    Example:
        >>> embedded_dictionaries()  # doctest: +SKIP
        ['ioi-mini-resid-2']
    """
    return sorted(path.parent.name for path in ASSETS.glob(f"*/{_CONFIG}"))


def load_dictionary(
    name_or_folder: str | Path,
    device: torch.device | str = "cpu",
    *,
    assume: Mapping[str, Any] | None = None,
    model: HookedTransformer | None = None,
) -> Dictionary:
    """Load a dictionary that is part of the package, or a folder.

    Features and outputs are those that SAELens and sparsify compute from the same folder. What
    decides them has to be in the files; nothing that is missing is guessed.

    Args:
        name_or_folder: an embedded dictionary ("ioi-mini-resid-2"), or a folder of ours, of
            SAELens' or of sparsify's.
        device: where the weights go.
        assume: fields of cfg.json that the file lacks, from somebody who knows them, under the
            file's own names, as {"architecture": "standard"}; "scaling_factor" is that of
            normalize_activations="expected_average_only_in".
        model: that it is for; hooks, widths and device are checked against it.

    Raises:
        DictionaryError: nothing is there, a file is missing or damaged, a field is missing or has
            a meaning that we do not have, weights are NaN or of another shape; or the dictionary
            does not fit the model.
        ValueError: the device does not exist.

    Example:
        >>> dictionary = load_dictionary("runs/my-dictionary")  # doctest: +SKIP
        >>> features = dictionary.encode(x)  # doctest: +SKIP
    """
    folder = _found(name_or_folder)
    values, given = object_of(folder / _CONFIG), dict(assume or {})
    if format_of(folder) == "sparsify":
        cfg, state = sparsify.read(folder, values, given)
    else:
        cfg, state = saelens.read(folder, values, given)
    dictionary = assembled(cfg, state).to(usable_device(device))
    if model is not None:
        from .splicing import check_fits  # where a dictionary meets a model

        check_fits(model, dictionary)
    return dictionary


def _found(name_or_folder: str | Path) -> Path:
    folder = Path(name_or_folder)
    if (folder / _CONFIG).is_file():
        return folder
    if isinstance(name_or_folder, str) and (ASSETS / name_or_folder / _CONFIG).is_file():
        return ASSETS / name_or_folder
    if folder.is_dir():
        raise DictionaryError(
            f"{folder} holds no {_CONFIG}: give the folder of one dictionary, with {_CONFIG} and "
            f"{saelens.WEIGHTS} (ours, SAELens') or {sparsify.WEIGHTS} (sparsify's)."
        )
    if folder.is_file():
        raise DictionaryError(f"{folder} is a file: give the folder that it lies in.")
    known = ", ".join(embedded_dictionaries()) or "none yet"
    raise DictionaryError(
        f"there is no dictionary {str(name_or_folder)!r}: it is no folder, and the package has "
        f"{known}."
    )


def format_of(folder: str | Path) -> Format:
    """Whose format a folder is in, by the files in it.

    Raises:
        DictionaryError: it holds no weights of a dictionary.
    """
    folder = Path(folder)
    if (folder / saelens.WEIGHTS).is_file():
        metadata = object_of(folder / _CONFIG).get("metadata")
        ours = isinstance(metadata, dict) and saelens.NOTE in metadata
        return "cutaway" if ours else "saelens"
    if (folder / sparsify.WEIGHTS).is_file():
        return "sparsify"
    raise DictionaryError(
        f"{folder} holds no weights: {saelens.WEIGHTS} (ours, SAELens') or {sparsify.WEIGHTS} "
        "(sparsify's) is needed there."
    )


def save_dictionary(dictionary: Dictionary, folder: str | Path, format: Format = "cutaway") -> None:
    """Write a dictionary's folder, whole or not at all.

    What is written computes the same outputs, and the same features unless decoder norms are
    folded; its scale is folded into the weights, so that it comes back with scale 1. An earlier
    dictionary there is replaced; other files beside it stay.

    Args:
        dictionary: what is saved.
        folder: where; its name is the dictionary's.
        format: "cutaway", which SAELens opens as well; "saelens", the same without our note, so
            that batch-top-k and matryoshka come back as jump-relu; "sparsify", for top-k.

    Raises:
        DictionaryError: the format has nothing that computes the same, or a weight is NaN.
        FileExistsError: the folder holds something else than a dictionary.

    Example:
        >>> save_dictionary(dictionary, "runs/for-saelens", "saelens")  # doctest: +SKIP
    """
    if format not in FORMATS:
        raise DictionaryError(f"format={format!r} is unknown; it can be {', '.join(FORMATS)}.")
    with torch.no_grad():
        if format == "sparsify":
            name, (values, tensors) = sparsify.WEIGHTS, sparsify.written(dictionary)
        else:
            name, (values, tensors) = saelens.WEIGHTS, saelens_writing.written(dictionary, format)
    for key, value in tensors.items():
        check_finite(key, value, "the dictionary")
    _refuse_foreign(Path(folder))
    with atomic_folder(folder, _OWN_FILES) as temporary:
        _write(temporary / name, tensors)
        write_json(temporary / _CONFIG, values)


def _write(path: Path, tensors: Mapping[str, Tensor]) -> None:
    from safetensors.torch import save_file

    # clone: safetensors refuses tensors that share memory, such as one threshold for all.
    whole = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    with atomic_path(path) as temporary:
        save_file(whole, temporary)


def _refuse_foreign(folder: Path) -> None:
    if not folder.is_dir():
        return
    is_ours = any((folder / name).is_file() for name in (saelens.WEIGHTS, sparsify.WEIGHTS))
    if any(folder.iterdir()) and not (is_ours and (folder / _CONFIG).is_file()):
        raise FileExistsError(f"{folder} holds something else than a dictionary: give another.")
