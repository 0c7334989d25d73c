"""`activations`: what `run_with_cache` really keeps by name, beside what shapes foretell."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from ..array_files import load_arrays, save_arrays
from ..model.hooks import NamesFilter
from ..model.transformer import HookedTransformer
from .activation_shapes import activation_shapes
from .spans import bytes_held, storage_key

_KIND = "an audit of cached activations"


@dataclass(frozen=True, eq=False)
class ActivationAudit:
    """Bytes of cached activations by name, measured and foretold. `activations` makes it.

    Example:
        >>> activations(model, tokens).is_exact
        True
    """

    model: str
    batch: int
    n_tokens: int
    dtype: str
    names: tuple[str, ...]
    """Hook points, in the model's order."""
    shapes: tuple[tuple[int, ...], ...]
    """The shape of each, foretold."""
    predicted: Int[np.ndarray, " name"]
    """Bytes by shape; 0 where the tensor is another name's too."""
    measured: Int[np.ndarray, " name"]
    """Bytes of the storage that the name keeps alive; 0 where an earlier name does already."""

    @property
    def is_exact(self) -> bool:
        """Whether every name holds what was foretold."""
        return bool((self.predicted == self.measured).all())

    @property
    def total(self) -> int:
        """Measured bytes of all."""
        return int(self.measured.sum())

    def by_kind(self) -> dict[str, int]:
        """Measured bytes over all layers, by the name without its layer, the largest first."""
        found: dict[str, int] = defaultdict(int)
        for name, n_bytes in zip(self.names, self.measured.tolist(), strict=True):
            found[kind_of(name)] += n_bytes
        return dict(sorted(found.items(), key=lambda item: -item[1]))

    def to_frame(self) -> list[dict[str, Any]]:
        """One row for each name."""
        return [
            {
                "name": name,
                "shape": list(self.shapes[at]),
                "predicted": int(self.predicted[at]),
                "measured": int(self.measured[at]),
            }
            for at, name in enumerate(self.names)
        ]

    def save(self, path: str | Path) -> None:
        """Write it into one file; `load` is the inverse."""
        described = {
            "model": self.model,
            "batch": self.batch,
            "n_tokens": self.n_tokens,
            "dtype": self.dtype,
            "names": self.names,
            "shapes": self.shapes,
        }
        save_arrays(
            path, _KIND, {"predicted": self.predicted, "measured": self.measured}, described
        )

    @classmethod
    def load(cls, path: str | Path) -> ActivationAudit:
        """Read what `save` wrote.

        Raises:
            ValueError: there is no such file, or it holds something else.
        """
        arrays, described = load_arrays(path, _KIND)
        names = tuple(described.pop("names"))
        shapes = tuple(tuple(shape) for shape in described.pop("shapes"))
        return cls(names=names, shapes=shapes, **described, **arrays)


def kind_of(name: str) -> str:
    """A hook name without its layer.

    Example:
        >>> kind_of("blocks.3.attn.hook_z")
        'attn.hook_z'
    """
    return name.split(".", 2)[2] if name.startswith("blocks.") else name


@torch.no_grad()
def activations(
    model: HookedTransformer,
    tokens: Int[Tensor, "batch pos"],
    names_filter: NamesFilter = None,
) -> ActivationAudit:
    """Run the model with a cache of activations, and measure what each name holds.

    Args:
        model: the model.
        tokens: what it reads.
        names_filter: as of `run_with_cache`; None is all that are always computed. A name that is
            computed on demand (`attn.hook_result`) is measured where the filter selects it.

    Raises:
        UnknownHook: a filter that matches nothing.

    Example:
        >>> audit = activations(model, torch.tensor([[1, 2, 3]]))
        >>> next(iter(audit.by_kind()))
        'mlp.hook_pre'
    """
    batch, n_tokens = tokens.shape
    expected = {
        one.name: one for one in activation_shapes(model.cfg, n_tokens, batch, names_filter)
    }
    _, cache = model.run_with_cache(tokens, names_filter=names_filter)
    seen: set[int] = set()
    measured = []
    for name in cache:
        key = storage_key(cache[name])
        measured.append(0 if key in seen else bytes_held([cache[name]]))
        seen.add(key)
    ours = [expected[name] for name in cache]
    owner = {one.name: one.shares or one.name for one in ours}
    first: dict[str, str] = {}  # owner -> the name that is counted, the first in the model's order
    for one in ours:
        first.setdefault(_root(owner, one.name), one.name)
    predicted = [one.n_bytes if first[_root(owner, one.name)] == one.name else 0 for one in ours]
    return ActivationAudit(
        model.cfg.model_name,
        batch,
        n_tokens,
        model.cfg.dtype,
        tuple(cache),
        tuple(one.shape for one in ours),
        np.array(predicted, dtype=np.int64),
        np.array(measured, dtype=np.int64),
    )


def _root(owner: dict[str, str], name: str) -> str:
    while owner[name] != name:
        name = owner[name]
    return name
