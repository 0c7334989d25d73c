"""Weights on their way between files and dictionaries: checked, cast, folded."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..model.loading.checkpoint import LoadError
from ..model.loading.reading import RawTensors, read_json, read_safetensors
from .config import DictionaryConfig, DictionaryError
from .dictionary import Dictionary
from .kinds import empty_dictionary


class Weights:
    """The tensors of a file, each to be taken once, in the number format of a configuration.

    Args:
        tensors: by the file's names.
        dtype: what they are cast to.
        source: the file, for what is said of faults.

    Raises:
        DictionaryError: a value is NaN or infinite.
    """

    def __init__(self, tensors: Mapping[str, Tensor], dtype: torch.dtype, source: Path) -> None:
        self._raw, self._dtype, self.source = RawTensors(dict(tensors), source), dtype, source
        for name, value in tensors.items():
            check_finite(name, value, source)

    @classmethod
    def of_file(cls, path: Path, cfg: DictionaryConfig) -> Weights:
        """Those of a safetensors file.

        Raises:
            DictionaryError: it is missing, not whole, or has a value that is not finite.
        """
        return cls(tensors_of(path), getattr(torch, cfg.dtype), path)

    def has(self, name: str) -> bool:
        """Whether a tensor of that name is still to be taken."""
        return name in self._raw.tensors

    def take(self, name: str, *shape: int) -> Tensor:
        """One tensor.

        Raises:
            DictionaryError: it is missing, or has another shape.
        """
        try:
            return self._raw.take(name, *shape).to(self._dtype)
        except LoadError as fault:
            raise DictionaryError(str(fault)) from None

    def take_exactly(self, name: str) -> Tensor:
        """One tensor in the number format that the file has.

        Raises:
            DictionaryError: it is missing.
        """
        if name not in self._raw.tensors:
            raise DictionaryError(f"{self.source} lacks the tensor {name!r}.")
        return self._raw.tensors.pop(name)

    def finish(self) -> None:
        """Raise DictionaryError if any tensor was not taken."""
        try:
            self._raw.finish()
        except LoadError as fault:
            raise DictionaryError(str(fault)) from None


def tensors_of(path: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file. Raises DictionaryError if it is missing or not whole."""
    try:
        return read_safetensors(path)
    except LoadError as fault:
        raise DictionaryError(str(fault)) from None


def object_of(path: Path) -> dict[str, Any]:
    """What a JSON file says. Raises DictionaryError if it is missing or no JSON object."""
    try:
        return read_json(path)
    except LoadError as fault:
        raise DictionaryError(str(fault)) from None


def check_finite(name: str, value: Tensor, source: Path | str) -> None:
    """Raise DictionaryError if a tensor holds NaN or an infinity."""
    if value.is_floating_point() and not bool(value.isfinite().all()):
        n_wrong = int((~value.isfinite()).sum())
        raise DictionaryError(
            f"the tensor {name!r} in {source} holds {n_wrong} of {value.numel()} values that are "
            "NaN or infinite: the training that it comes from went wrong."
        )


def assembled(cfg: DictionaryConfig, state: Mapping[str, Tensor]) -> Dictionary:
    """A dictionary with these weights, under our names.

    Thresholds keep the number format that they come in: an exponential in half precision would be
    another one.

    Raises:
        DictionaryError: a name or a shape that a dictionary of this kind does not have.
    """
    dictionary = empty_dictionary(cfg)
    own = dictionary.state_dict()
    if set(own) != set(state):
        wrong = sorted(set(own) ^ set(state))[0]
        raise DictionaryError(f"a {cfg.kind} dictionary and these weights differ in {wrong!r}.")
    log_threshold = state.get("log_threshold")
    if log_threshold is not None:
        if log_threshold.shape != own["log_threshold"].shape:
            raise DictionaryError(
                f"'log_threshold' has the shape {list(log_threshold.shape)}, not "
                f"{list(own['log_threshold'].shape)}."
            )
        dictionary.log_threshold = nn.Parameter(torch.empty_like(log_threshold))
    dictionary.load_state_dict(dict(state))
    return dictionary


def exact_log(threshold: Tensor) -> Tensor:
    """The smallest logarithms whose exponentials are not below the thresholds, in float32 or more.

    With the next smaller ones a pre-activation that equals its threshold could pass it.

    Example:
        >>> bool((exact_log(threshold).exp() >= threshold).all())
        True
    """
    form = torch.promote_types(threshold.dtype, torch.float32)
    wanted = threshold.to(form)
    log = wanted.log()
    for _ in range(64):
        below = log.exp() < wanted
        if not below.any():
            break
        log = torch.where(below, log.nextafter(torch.full_like(log, torch.inf)), log)
    return log


def folded(dictionary: Dictionary, norms: bool) -> Dictionary:
    """A copy with scale 1 and, if `norms`, with decoder rows of length 1; the same function.

    In half precision what is folded is computed in float32 and stays so; the caller rounds once.
    """
    if dictionary.cfg.scale == 1 and not norms:
        return dictionary
    wide = copy.deepcopy(dictionary)
    if dictionary.dtype in (torch.float16, torch.bfloat16):
        wide = wide.float()
    wide = wide.fold_decoder_norms() if norms else wide
    return wide.fold_scale() if dictionary.cfg.scale != 1 else wide
