"""`ActivationCache`: activations by short name; decompositions.py computes with them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .decompositions import Decompositions
from .hooks import UnknownHook, near_matches
from .names import get_act_name
from .on_demand import switch_of
from .slices import Slice, SliceInput

if TYPE_CHECKING:
    from .transformer import HookedTransformer

__all__ = ["ActivationCache", "get_act_name"]


class ActivationCache(Decompositions):
    """Activations of one run, by name; never sharing memory with the run itself.

    `cache["blocks.9.attn.hook_pattern"]`, `cache["pattern", 9]` and `cache["pattern", -3]` are
    the same in a model of twelve layers.

    Where one value passes two hook points (`hook_resid_post` of a layer and `hook_resid_pre` of the
    next), both names hold one tensor: clone it before you write to it.

    Args:
        values: full hook name -> tensor.
        model: the model that was run (its weights and shape are needed, its tensors are not).
        has_batch_dim: whether tensors begin with the batch axis.
    """

    def __init__(
        self, values: dict[str, Tensor], model: HookedTransformer, has_batch_dim: bool = True
    ) -> None:
        self.cache_dict = values
        self.model = model
        self.has_batch_dim = has_batch_dim

    def __getitem__(self, key: str | tuple[Any, ...]) -> Tensor:
        name = self._full_name(key)
        if name not in self.cache_dict:
            raise UnknownHook(self._why_missing(name))
        return self.cache_dict[name]

    def _why_missing(self, name: str) -> str:
        point = self.model.hook_dict.get(name)
        if point is None:
            near = ", ".join(near_matches(name, self.cache_dict)) or "none, it is empty"
            return f"the cache holds no {name!r}; near matches: {near}."
        switch = switch_of(name)
        if switch is not None:
            return (
                f"the cache holds no {name!r}, which is computed on demand: run with "
                f"names_filter={name!r} (or a predicate that selects it), or call "
                f"model.set_{switch}(True) before a run without a filter."
            )
        return (
            f"the cache holds no {name!r}: the model has it, but this run did not keep it "
            "(see names_filter) or did not reach it (see stop_at_layer)."
        )

    def _full_name(self, key: str | tuple[Any, ...]) -> str:
        if isinstance(key, str):
            return key if key in self.cache_dict else _full_or_same(key)
        name, layer, *rest = key
        if isinstance(layer, int):
            if not -self.model.cfg.n_layers <= layer < self.model.cfg.n_layers:
                raise UnknownHook(
                    f"there is no layer {layer} in a model of {self.model.cfg.n_layers} layers."
                )
            layer %= self.model.cfg.n_layers
        return get_act_name(name, layer, *rest)

    def __contains__(self, key: object) -> bool:
        try:
            return self._full_name(key) in self.cache_dict  # type: ignore[arg-type]
        except (UnknownHook, ValueError, KeyError, TypeError):
            return False

    def __iter__(self) -> Iterator[str]:
        return iter(self.cache_dict)

    def __len__(self) -> int:
        return len(self.cache_dict)

    def __repr__(self) -> str:
        return f"ActivationCache({len(self)} activations, {self.nbytes / 2**20:.1f} MiB)"

    @property
    def nbytes(self) -> int:
        """Bytes held, shared storage counted once."""
        storages = {
            (v.device, v.untyped_storage().data_ptr()): v.untyped_storage().nbytes()
            for v in self.cache_dict.values()
        }
        return sum(storages.values())

    def to(self, device: torch.device | str) -> ActivationCache:
        """A cache on that device; values that shared storage share it there too."""
        moved: dict[int, Tensor] = {}
        values = {}
        for name, value in self.cache_dict.items():
            if id(value) not in moved:
                moved[id(value)] = value.to(device)
            values[name] = moved[id(value)]
        return ActivationCache(values, self.model, self.has_batch_dim)

    def remove_batch_dim(self) -> ActivationCache:
        """Drop the batch axis of a batch of one."""
        if not self.has_batch_dim:
            return self
        sizes = {value.shape[0] for value in self.cache_dict.values()}
        if sizes - {1}:
            raise ValueError(f"only a batch of one can be dropped; this cache holds {max(sizes)}.")
        values = {name: value[0] for name, value in self.cache_dict.items()}
        return ActivationCache(values, self.model, has_batch_dim=False)

    def apply_slice_to_batch_dim(self, batch_slice: SliceInput) -> ActivationCache:
        """The cache of some entries of the batch; a number takes the batch axis away."""
        if not self.has_batch_dim:
            raise ValueError("this cache has no batch axis any more.")
        cut = Slice(batch_slice)
        values = {name: cut.apply(value, 0) for name, value in self.cache_dict.items()}
        return ActivationCache(values, self.model, has_batch_dim=not isinstance(cut.index, int))

    def stack_activation(
        self,
        activation_name: str,
        layer: int | None = None,
        sublayer_type: str | None = None,
        *,
        layers: Iterable[int] | None = None,
    ) -> Tensor:
        """One activation of several layers, stacked in front: [layer, ...].

        Args:
            activation_name: short, such as "pattern".
            layer: those before this one; None or -1 takes all.
            sublayer_type: "ln1" or "ln2" for "scale" and "normalized".
            layers: just these, in place of `layer`.
        """
        layers = range(self._reader(layer)) if layers is None else layers
        return torch.stack([self[activation_name, at, sublayer_type] for at in layers])


def _full_or_same(name: str) -> str:
    try:
        return get_act_name(name)
    except ValueError:
        return name
