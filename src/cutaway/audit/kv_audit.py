"""`KVAudit`: what a key-value cache was seen to hold as the sequence grew."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from ..array_files import load_arrays, save_arrays
from .formulas import NUMBER_BYTES

_KIND = "an audit of a key-value cache"
_ARRAYS: tuple[str, ...] = ("tokens", "allocated", "filled", "beside", "layer_peak", "cache_peak")
_ARRAYS += ("copied", "logits", "peak")


@dataclass(frozen=True)
class CacheShape:
    """What the formula needs to know."""

    n_layers: int
    n_key_value_heads: int
    d_head: int
    batch: int
    dtype: str

    @property
    def per_layer(self) -> int:
        """Bytes of one token of every sequence in one layer."""
        numbers = 2 * self.batch * self.n_key_value_heads * self.d_head
        return numbers * NUMBER_BYTES[self.dtype]


@dataclass(frozen=True, eq=False)
class KVAudit:
    """Bytes of a key-value cache, measured after every call of the model. `kv_cache` makes it.

    Example:
        >>> audit = kv_cache(model)
        >>> audit.is_exact, audit.bytes_per_token
        (True, 4096.0)
    """

    model: str
    """Its name."""
    cache: str
    """The class of the cache."""
    shape: CacheShape
    max_length: int
    """Tokens that it was made for."""
    chunk: int
    """New tokens in every call, but the last one."""
    device: str
    peak_by: str
    """How `peak` was measured."""
    tokens: Int[np.ndarray, " step"]
    """Tokens held after each call."""
    allocated: Int[np.ndarray, "step layer"]
    """Bytes that the tensors of the layer's cache cover, each byte once."""
    filled: Int[np.ndarray, "step layer"]
    """Of them, bytes that the layer was seen to write data to."""
    beside: Int[np.ndarray, "step place"]
    """Bytes that are still alive after the call and belong to no layer's cache, by the layer in
    which they were made; the last place is outside of all layers (there the mask of padding is)."""
    layer_peak: Int[np.ndarray, "step layer"]
    """The most bytes at once, during the call, that the layer's cache had made."""
    cache_peak: Int[np.ndarray, " step"]
    """The most bytes at once, during the call, that the cache had made for all layers."""
    copied: Int[np.ndarray, " step"]
    """Bytes that the cache's code wrote during the call."""
    logits: Int[np.ndarray, " step"]
    """Bytes that the call returned."""
    peak: Int[np.ndarray, " step"]
    """The most bytes at once during the call, cache and logits included, weights not."""

    @property
    def formula(self) -> Int[np.ndarray, "step layer"]:
        """What `filled` ought to be: 2 x key-value heads x d_head x tokens x batch x bytes."""
        per_layer: Any = self.tokens[:, None] * np.full(self.shape.n_layers, self.shape.per_layer)
        return per_layer  # type: ignore[no-any-return]

    @property
    def excess(self) -> Int[np.ndarray, "step place"]:
        """Bytes held beyond the formula: what is filled too much, and what is held beside."""
        found = self.beside.copy()
        found[:, :-1] += self.filled - self.formula
        return found

    @property
    def is_exact(self) -> bool:
        """Whether after every call every layer held what the formula says, and nothing else was
        left."""
        return not self.excess.any()

    @property
    def bytes_per_token(self) -> float:
        """Measured bytes of one token of one sequence, over all layers."""
        if not len(self.tokens):
            return 0.0
        return float(self.filled[-1].sum() / (self.tokens[-1] * self.shape.batch))

    def to_frame(self) -> list[dict[str, Any]]:
        """One row for each call and layer."""
        formula, excess = self.formula, self.excess
        return [
            {
                "tokens": int(self.tokens[step]),
                "layer": layer,
                "formula": int(formula[step, layer]),
                "filled": int(self.filled[step, layer]),
                "allocated": int(self.allocated[step, layer]),
                "excess": int(excess[step, layer]),
                "layer_peak": int(self.layer_peak[step, layer]),
            }
            for step in range(len(self.tokens))
            for layer in range(self.shape.n_layers)
        ]

    def save(self, path: str | Path) -> None:
        """Write all numbers into one file; `load` is the inverse."""
        described = {
            "model": self.model,
            "cache": self.cache,
            "shape": asdict(self.shape),
            "max_length": self.max_length,
            "chunk": self.chunk,
            "device": self.device,
            "peak_by": self.peak_by,
        }
        save_arrays(path, _KIND, {name: getattr(self, name) for name in _ARRAYS}, described)

    @classmethod
    def load(cls, path: str | Path) -> KVAudit:
        """Read what `save` wrote.

        Raises:
            ValueError: there is no such file, or it holds something else.
        """
        arrays, described = load_arrays(path, _KIND)
        shape = CacheShape(**described.pop("shape"))
        return cls(shape=shape, **described, **arrays)
