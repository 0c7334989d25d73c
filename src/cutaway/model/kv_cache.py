"""Keys and values of tokens already seen, so that each new token costs one step."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from .config import ModelConfig


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
        """Append, and return all keys and values so far (views of the buffers)."""
        end = self.length + k.shape[1]
        if end > self._k.shape[1]:
            raise ValueError(
                f"the key-value cache holds {self._k.shape[1]} tokens and cannot take {end}: "
                "make it with a larger max_length."
            )
        self._k[:, self.length : end] = k
        self._v[:, self.length : end] = v
        self.length = end
        return self._k[:, :end], self._v[:, :end]

    @property
    def nbytes(self) -> int:
        """Bytes of the filled part."""
        per_token = self._k[:, :1].numel() + self._v[:, :1].numel()
        return self.length * per_token * self._k.element_size()


class KVCache:
    """One `LayerKV` for each layer, and the mask of what was padding.

    Args:
        cfg: of the model that will use it.
        batch: sequences.
        max_length: tokens it can hold; None means the model's context.

    Example:
        >>> cache = KVCache(model.cfg, batch=1)
        >>> model(tokens[:, :5], past_kv_cache=cache)  # then
        >>> model(tokens[:, 5:6], past_kv_cache=cache)
    """

    def __init__(
        self,
        cfg: ModelConfig,
        batch: int,
        max_length: int | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype | None = None,
    ) -> None:
        shape = (batch, max_length or cfg.n_ctx, cfg.n_key_value_heads, cfg.d_head)
        dtype = dtype or getattr(torch, cfg.dtype)
        buffers = torch.empty((cfg.n_layers, 2, *shape), device=device, dtype=dtype)
        self.layers = [LayerKV(k, v) for k, v in buffers]
        self.mask: Bool[Tensor, "batch pos"] | None = None

    @property
    def length(self) -> int:
        """Tokens held."""
        return self.layers[0].length if self.layers else 0

    @property
    def nbytes(self) -> int:
        """Bytes of the filled part of all layers."""
        return sum(layer.nbytes for layer in self.layers)

    def extend_mask(
        self, new: Bool[Tensor, "batch new"] | None, n_new: int
    ) -> Bool[Tensor, "batch all"] | None:
        """The mask over held and new tokens; None where nothing was ever padding."""
        if new is None and self.mask is None:
            return None
        known = self.mask if self.mask is not None else new
        assert known is not None
        batch = known.shape[0]
        old = self.mask if self.mask is not None else known.new_ones(batch, self.length)
        new = new if new is not None else known.new_ones(batch, n_new)
        self.mask = torch.cat([old, new], dim=1)
        return self.mask
