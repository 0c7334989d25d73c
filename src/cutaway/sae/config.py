"""What a dictionary is: its kind, shape, and what it reads. Loads without torch."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

Kind = Literal["standard", "top-k", "batch-top-k", "jump-relu", "gated", "matryoshka"]
KINDS: tuple[str, ...] = get_args(Kind)
TOP_K_KINDS = ("top-k", "batch-top-k", "matryoshka")
"""Kinds that keep a given number of features; they have the sparse step."""
NUMBER_FORMATS = ("float32", "float64", "float16", "bfloat16")


class DictionaryError(ValueError):
    """A dictionary that cannot be, or that does not fit; the message says why."""


@dataclass(frozen=True)
class DictionaryConfig:
    """Everything about a dictionary but its weights.

    Raises:
        DictionaryError: values that do not fit together.

    Example:
        >>> cfg = DictionaryConfig("top-k", d_in=64, d_features=512, k=8)
        >>> DictionaryConfig.from_dict(cfg.to_dict()) == cfg
        True
    """

    kind: Kind
    """Which features are active: one class each in sae/kinds.py."""
    d_in: int
    """Width of what is read."""
    d_features: int
    """Number of features."""
    d_out: int | None = None
    """Width of what a transcoder predicts; None is d_in."""
    k: int | None = None
    """top-k: active features of a row; batch-top-k and matryoshka: on average."""
    hook: str = ""
    """The hook whose values it reads, as blocks.2.hook_resid_post."""
    hook_out: str = ""
    """What a transcoder predicts, as blocks.2.hook_mlp_out; empty is `hook`."""
    skip: bool = False
    """A transcoder's linear map from input to output beside the features."""
    subtract_decoder_bias: bool = True
    """The decoder's bias is subtracted from what the encoder reads. Not of transcoders, whose
    bias lies in the output's space."""
    scale: float = 1.0
    """The input is multiplied by it, and the output divided; weights live in scaled units."""
    sizes: tuple[int, ...] = ()
    """matryoshka: sizes of the nested prefixes, rising; the last is d_features."""
    rescale_by_decoder_norm: bool = False
    """Top-k kinds: features are counted, and given, times the norm of their decoder row."""
    bandwidth: float = 0.05
    """jump-relu: width of the window through which thresholds get gradients, in scaled units."""
    model_name: str = ""
    """The model it was trained on."""
    prepend_bos: bool = False
    """Whether that model's sequences began with BOS."""
    n_ctx: int = 0
    """Length of those sequences; 0 is unknown."""
    text: str = ""
    """What they were taken from."""
    dtype: str = "float32"
    """Number format of the weights."""

    def __post_init__(self) -> None:
        # What comes back from JSON is a list.
        object.__setattr__(self, "sizes", tuple(self.sizes))
        _check_shape(self)
        _check_k(self)
        _check_sizes(self)
        _check_transcoder(self)
        for name in ("scale", "bandwidth"):
            value = getattr(self, name)
            if not (_is_number(value) and math.isfinite(value) and value > 0):
                raise DictionaryError(f"{name}={value!r} has to be a positive number.")
        if self.dtype not in NUMBER_FORMATS:
            raise DictionaryError(
                f"dtype={self.dtype!r} is unknown; it can be {', '.join(NUMBER_FORMATS)}."
            )

    @property
    def output_width(self) -> int:
        """d_out, or d_in where that is None."""
        return self.d_in if self.d_out is None else self.d_out

    @property
    def is_transcoder(self) -> bool:
        """Whether it predicts something else than what it reads."""
        return self.d_out is not None or self.hook_out not in ("", self.hook)

    def replace(self, **changes: Any) -> Self:
        """The same but for `changes`, checked again."""
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """All fields, as JSON can say them."""
        return {**dataclasses.asdict(self), "sizes": list(self.sizes)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`.

        Raises:
            DictionaryError: a field that is unknown or missing, or a value that cannot be.
        """
        known = {entry.name: entry for entry in dataclasses.fields(cls)}
        strangers = sorted(set(values) - set(known))
        if strangers:
            raise DictionaryError(
                f"{strangers[0]!r} is no field of a dictionary's configuration; it has "
                f"{', '.join(known)}."
            )
        needed = [n for n, e in known.items() if e.default is dataclasses.MISSING]
        missing = [name for name in needed if name not in values]
        if missing:
            raise DictionaryError(f"the configuration of a dictionary lacks {missing[0]!r}.")
        return cls(**values)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_shape(cfg: DictionaryConfig) -> None:
    if cfg.kind not in KINDS:
        raise DictionaryError(f"kind={cfg.kind!r} is unknown; it can be {', '.join(KINDS)}.")
    for name in ("d_in", "d_features", "d_out"):
        value = getattr(cfg, name)
        if not (_is_count(value) or (name == "d_out" and value is None)):
            raise DictionaryError(f"{name}={value!r} has to be a whole number from 1 on.")
    for name in ("skip", "subtract_decoder_bias", "rescale_by_decoder_norm", "prepend_bos"):
        if not isinstance(getattr(cfg, name), bool):
            raise DictionaryError(f"{name}={getattr(cfg, name)!r} has to be true or false.")
    for name in ("hook", "hook_out", "model_name", "text"):
        if not isinstance(getattr(cfg, name), str):
            raise DictionaryError(f"{name}={getattr(cfg, name)!r} has to be text.")
    if not (cfg.n_ctx == 0 or _is_count(cfg.n_ctx)):
        raise DictionaryError(f"n_ctx={cfg.n_ctx!r} has to be a whole number from 0 on.")


def _check_k(cfg: DictionaryConfig) -> None:
    if cfg.kind not in TOP_K_KINDS:
        if cfg.k is not None:
            raise DictionaryError(
                f"k={cfg.k!r} is for {', '.join(TOP_K_KINDS)}; a {cfg.kind} dictionary has none."
            )
        if cfg.rescale_by_decoder_norm:
            raise DictionaryError(
                f"rescale_by_decoder_norm is for {', '.join(TOP_K_KINDS)}, and not for "
                f"{cfg.kind}; fold_decoder_norms makes its decoder rows unit vectors."
            )
        return
    if cfg.k is None:
        raise DictionaryError(f"a {cfg.kind} dictionary needs k, its active features per row.")
    if not _is_count(cfg.k) or cfg.k > cfg.d_features:
        raise DictionaryError(
            f"k={cfg.k!r} has to be a whole number from 1 to d_features={cfg.d_features}."
        )


def _check_sizes(cfg: DictionaryConfig) -> None:
    if cfg.kind != "matryoshka":
        if cfg.sizes:
            raise DictionaryError(f"sizes={cfg.sizes} is for matryoshka, not for {cfg.kind}.")
        return
    rising = all(a < b for a, b in zip(cfg.sizes, cfg.sizes[1:], strict=False))
    counts = all(_is_count(size) for size in cfg.sizes)
    if not (cfg.sizes and counts and rising and cfg.sizes[-1] == cfg.d_features):
        raise DictionaryError(
            f"sizes={cfg.sizes} has to rise and to end with d_features={cfg.d_features}, as "
            f"({max(cfg.d_features // 4, 1)}, {cfg.d_features})."
        )


def _check_transcoder(cfg: DictionaryConfig) -> None:
    if cfg.is_transcoder and cfg.subtract_decoder_bias:
        raise DictionaryError(
            "a transcoder's decoder bias lies in the space of its output and cannot be subtracted "
            "from its input: give subtract_decoder_bias=False."
        )
    if cfg.skip and not cfg.is_transcoder:
        raise DictionaryError(
            "skip is for transcoders: an autoencoder would copy its input through it. Give "
            "hook_out or d_out."
        )
