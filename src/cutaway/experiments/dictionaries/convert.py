"""`cutaway sae convert`: a dictionary in another format, checked by computing with both."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import torch

from ...sae.dictionary import Dictionary
from ...sae.files import load_dictionary, save_dictionary
from .convert_settings import ConvertSettings

if TYPE_CHECKING:
    from rich.console import Console

_N_ROWS, _SEED = 1024, 0


def run_convert(settings: ConvertSettings, console: Console) -> None:
    """Read, write, read what was written, and say how far the two differ.

    Raises:
        DictionaryError: it cannot be read, or the format has nothing that computes the same.
        FileExistsError: the target is no dictionary.
        ValueError: the target is the folder that is read.
    """
    if os.path.realpath(settings.source) == os.path.realpath(settings.target):
        raise ValueError(f"{settings.target} is the folder that is read: give another to write.")
    before = load_dictionary(settings.source, assume=_assumed(settings.assume))
    save_dictionary(before, settings.target, settings.format)
    after = load_dictionary(settings.target)
    lines = [
        f"{settings.source}: {_described(before)}",
        f"written to {settings.target} in {_OWNERS[settings.format]} format",
        *_changes(before, after),
        f"{_N_ROWS:,} random rows through both: {_difference(before, after)}",
    ]
    for line in lines:
        console.print(line, soft_wrap=True, markup=False)


_OWNERS = {"cutaway": "our own", "saelens": "SAELens'", "sparsify": "sparsify's"}


def _assumed(given: tuple[str, ...]) -> dict[str, Any]:
    return {name: _value(value) for name, _, value in (pair.partition("=") for pair in given)}


def _value(text: str) -> Any:
    """A number, true or false as JSON has them; all else is text."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _described(dictionary: Dictionary) -> str:
    cfg = dictionary.cfg
    what = "transcoder" if cfg.is_transcoder else "autoencoder"
    parts = [f"a {cfg.kind} {'skip-' if cfg.skip else ''}{what}"]
    if cfg.k is not None:
        parts.append(f"k = {cfg.k}")
    parts.append(f"{cfg.d_in} to {cfg.d_features:,} features to {cfg.output_width}")
    if cfg.hook:
        parts.append(f"at {cfg.hook}" + (f" and {cfg.hook_out}" if cfg.hook_out else ""))
    return ", ".join([*parts, cfg.dtype])


def _changes(before: Dictionary, after: Dictionary) -> list[str]:
    """What is said otherwise than it was."""
    changes = []
    if before.cfg.kind != after.cfg.kind:
        changes.append(f"{before.cfg.kind} became {after.cfg.kind}, with the same thresholds")
    if before.cfg.scale != after.cfg.scale:
        changes.append(f"the input's scale, {before.cfg.scale:.6g}, went into the weights")
    if before.cfg.rescale_by_decoder_norm and not after.cfg.rescale_by_decoder_norm:
        changes.append("decoder norms went into the encoder")
    if before.cfg.subtract_decoder_bias != after.cfg.subtract_decoder_bias:
        changes.append("b_dec is subtracted from the input, and the encoder's bias makes up for it")
    return changes


def _difference(before: Dictionary, after: Dictionary) -> str:
    """The largest difference of outputs, and the features that are active in one of them only."""
    # Widened: which of two nearly equal features is larger would else be a matter of rounding.
    before, after = before.float(), after.float()
    generator = torch.Generator().manual_seed(_SEED)
    x = torch.randn(_N_ROWS, before.cfg.d_in, generator=generator) / before.cfg.scale
    with torch.no_grad():
        off = (before(x) - after(x)).norm(dim=-1).max() / before(x).norm(dim=-1).mean()
        features, again = before.encode(x) > 0, after.encode(x) > 0
    n_other = int((features != again).sum())
    return (
        f"outputs differ by at most {float(off):.1e} of their mean norm; "
        f"{int(features.sum()):,} features are active, and {n_other} in one of the two only"
    )
