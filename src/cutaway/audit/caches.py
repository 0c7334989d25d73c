"""Other key-value caches, to hold ours against: two that concatenate, and one that leaks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..model.config import ModelConfig
from ..model.kv_cache import KVCache, LayerKV


class _GrowingLayer(LayerKV):
    """Keys and values of one layer, in tensors that are replaced by longer ones."""

    def extend(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """The new keys behind the old ones in a new tensor; then the values."""
        self._k = torch.cat([self._k, k.detach()], 1)
        self._v = torch.cat([self._v, v.detach()], 1)
        self.length = self._k.shape[1]
        return self._k, self._v

    def check_room(self, n_new: int) -> None:
        """There is always room."""


class ConcatenatingCache(KVCache):
    """A cache whose layers each grow by concatenation, keys and then values.

    It holds no more than is filled, but while a layer's keys grow the old and the new ones are
    there at once, and every step copies everything.

    Args:
        model, batch, max_length, device, dtype: as of `KVCache`; no room is set aside.

    Example:
        >>> cache = ConcatenatingCache(model, batch=1)
        >>> logits = model(tokens, past_kv_cache=cache)
    """

    def __init__(
        self,
        model: Any,
        batch: int,
        max_length: int | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        cfg: ModelConfig = model if isinstance(model, ModelConfig) else model.cfg
        super().__init__(cfg.replace(n_layers=0), batch, 1)
        shape = (batch, 0, cfg.n_key_value_heads, cfg.d_head)
        options: dict[str, Any] = {"device": device or cfg.device}
        options["dtype"] = dtype or getattr(torch, cfg.dtype)
        self.layers = [
            _GrowingLayer(torch.empty(shape, **options), torch.empty(shape, **options))
            for _ in range(cfg.n_layers)
        ]


class WholeCache(KVCache):
    """A cache that is one tensor of all layers, and is replaced by a longer one at every step.

    At that moment all of it is there twice.

    Args:
        model, batch, max_length, device, dtype: as of `KVCache`; no room is set aside.

    Example:
        >>> cache = WholeCache(model, batch=1)
        >>> logits = model(tokens, past_kv_cache=cache)
    """

    def __init__(
        self,
        model: Any,
        batch: int,
        max_length: int | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        cfg: ModelConfig = model if isinstance(model, ModelConfig) else model.cfg
        super().__init__(cfg.replace(n_layers=0), batch, 1)
        self._whole = torch.empty(
            (cfg.n_layers, 2, batch, 0, cfg.n_key_value_heads, cfg.d_head),
            device=device or cfg.device,
            dtype=dtype or getattr(torch, cfg.dtype),
        )
        self.layers = [LayerKV(k, v) for k, v in self._whole]

    def extend_mask(self, new: Tensor | None, n_new: int) -> Tensor | None:
        """Make room in every layer, which is asked for before the first one runs."""
        layers, two, batch, _, kv, d_head = self._whole.shape
        room = self._whole.new_empty((layers, two, batch, n_new, kv, d_head))
        self._whole = torch.cat([self._whole, room], 3)
        for layer, (k, v) in zip(self.layers, self._whole, strict=True):
            layer._k, layer._v = k, v
        return super().extend_mask(new, n_new)


class _LeakingLayer(LayerKV):
    """A layer that keeps what it was given a second time."""

    def __init__(self, k: Tensor, v: Tensor) -> None:
        super().__init__(k, v)
        self._kept: list[Tensor] = []

    def extend(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """As it should be, and a copy that nobody asked for."""
        self._kept += [k.detach().clone(), v.detach().clone()]
        return super().extend(k, v)


class LeakingCache(KVCache):
    """A cache with a fault that an audit has to see: every layer keeps copies of its new keys and
    values. The control of `kv_cache`.

    Args:
        model, batch, max_length, device, dtype: as of `KVCache`.

    Example:
        >>> kv_cache(model, cache=LeakingCache).is_exact
        False
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.layers = [_LeakingLayer(layer._k, layer._v) for layer in self.layers]
