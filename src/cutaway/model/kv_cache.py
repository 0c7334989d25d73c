"""Keys and values of tokens already seen, so that each new token costs one step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .config import ModelConfig

if TYPE_CHECKING:
    from .transformer import HookedTransformer


class PastKV(Protocol):
    """What attention asks of keys and values that are already there."""

    def extend(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """All keys and values, the new ones last."""


class LayerKV:
    """Keys and values of one layer, in buffers that are allocated once.

    Keys are stored as attention uses them: after the rotation, if positions are rotary.
    """

    def __init__(self, k: Tensor, v: Tensor) -> None:
        self._k, self._v = k, v  # [batch, max_length, kv, d_head]
        self.length = 0

    def extend(
        self, k: Float[Tensor, "batch pos kv d_head"], v: Float[Tensor, "batch pos kv d_head"]
    ) -> tuple[Tensor, Tensor]:
        """Append, and return all keys and values so far (views of the buffers).

        What is held takes no part in gradients: they reach the new tokens only.
        """
        self.check_room(k.shape[1])
        start, end = self.length, self.length + k.shape[1]
        self._k[:, start:end] = k.detach()
        self._v[:, start:end] = v.detach()
        self.length = end
        if k.requires_grad or v.requires_grad:  # copies, since the buffers will be written to again
            return torch.cat([self._k[:, :start], k], 1), torch.cat([self._v[:, :start], v], 1)
        return self._k[:, :end], self._v[:, :end]

    def reorder(self, rows: Int[Tensor, " new_batch"], start: int = 0) -> None:
        """See `KVCache.reorder`."""
        self._k, self._v = (self._reordered(x, rows, start) for x in (self._k, self._v))

    def _reordered(self, buffer: Tensor, rows: Tensor, start: int) -> Tensor:
        if len(rows) == len(buffer):
            buffer[:, start : self.length] = buffer[rows, start : self.length]
            return buffer
        shape = (len(rows), *buffer.transpose(1, 2).shape[1:])
        fresh = buffer.new_empty(shape).transpose(1, 2)  # the same layout
        fresh[:, : self.length] = buffer[rows, : self.length]
        return fresh

    def check_room(self, n_new: int) -> None:
        """Raise ValueError if so many more tokens do not fit."""
        end = self.length + n_new
        if end > self._k.shape[1]:
            raise ValueError(
                f"the key-value cache holds {self._k.shape[1]} tokens and cannot take {end}: "
                "make it with a larger max_length."
            )

    @property
    def nbytes(self) -> int:
        """Bytes of the filled part."""
        per_token = self._k[:, :1].numel() + self._v[:, :1].numel()
        return self.length * per_token * self._k.element_size()


class KVCache:
    """One `LayerKV` for each layer, and the mask of what was padding.

    Args:
        model: the model that will use it, or its configuration.
        batch: sequences.
        max_length: tokens it can hold; None means the model's context.
        device: None is where the model is.
        dtype: None is the model's.

    Example:
        >>> cache = KVCache(model, batch=1)
        >>> logits = model(tokens[:, :5], past_kv_cache=cache)  # then
        >>> logits = model(tokens[:, 5:6], past_kv_cache=cache)
    """

    def __init__(
        self,
        model: HookedTransformer | ModelConfig,
        batch: int,
        max_length: int | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        cfg = model if isinstance(model, ModelConfig) else model.cfg
        shape = (batch, cfg.n_key_value_heads, max_length or cfg.n_ctx, cfg.d_head)
        device, dtype = device or cfg.device, dtype or getattr(torch, cfg.dtype)
        # Laid out head by head, as attention reads them: each head's keys are one piece of memory.
        buffers = torch.empty((cfg.n_layers, 2, *shape), device=device, dtype=dtype)
        self.layers = [LayerKV(k, v) for k, v in buffers.transpose(-2, -3)]
        self.mask: Bool[Tensor, "batch pos"] | None = None

    @property
    def length(self) -> int:
        """Tokens held."""
        return self.layers[0].length if self.layers else 0

    @property
    def nbytes(self) -> int:
        """Bytes of the filled part of all layers."""
        return sum(layer.nbytes for layer in self.layers)

    def reorder(self, rows: Int[Tensor, " new_batch"], start: int = 0) -> None:
        """Row i holds from now on what row `rows[i]` held; there may be more or fewer rows.

        Beam search goes on from some of its beams, from a good one more than once.

        Args:
            rows: for each new row, which of the old ones it is.
            start: tokens before this one are left as they are, because they are the same in all
                rows that change places; of effect only where the number of rows stays.

        Example:
            >>> cache.reorder(torch.tensor([0, 0, 2]))  # row 1 is given up for a second row 0
        """
        for layer in self.layers:
            layer.reorder(rows, start)
        if self.mask is not None:
            self.mask = self.mask[rows]

    def extend_mask(
        self, new: Bool[Tensor, "batch new"] | None, n_new: int
    ) -> Bool[Tensor, "batch all"] | None:
        """The mask over held and new tokens; None where nothing was ever padding.

        Raises:
            ValueError: so many more tokens do not fit; nothing is changed then.
        """
        for layer in self.layers:
            layer.check_room(n_new)
        if new is None and self.mask is None:
            return None
        known = self.mask if self.mask is not None else new
        assert known is not None
        batch = known.shape[0]
        old = self.mask if self.mask is not None else known.new_ones(batch, self.length)
        new = new if new is not None else known.new_ones(batch, n_new)
        self.mask = torch.cat([old, new], dim=1)
        return self.mask
