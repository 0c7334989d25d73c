"""The fast mode: products in bfloat16, the residual stream and the norms in float32.

Each product rounds its inputs to 8 bits of mantissa, about 1 part in 256, and adds up in float32;
what an effect loses by that depends on the model, so it is measured on a sample each time.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ..model.transformer import HookedTransformer

Precision = Literal["float32", "bfloat16"]


def check_precision(precision: str, model: HookedTransformer) -> None:
    """Raise if there is no such precision, or if this device would not be faster for it."""
    if precision not in get_args(Precision):
        raise ValueError(f"precision={precision!r} is neither 'float32' nor 'bfloat16'.")
    if precision == "bfloat16" and not has_bfloat16(model.device):
        raise ValueError(
            f"precision='bfloat16': {model.device} has no instructions for it, so that it would "
            "only be slower. Leave precision at float32."
        )
    if precision == "bfloat16" and model.dtype != torch.float32:
        raise ValueError(
            f"precision='bfloat16' is for models in float32; this one is in {model.dtype}."
        )


def has_bfloat16(device: torch.device) -> bool:
    """Whether products in bfloat16 are computed by the hardware."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    if device.type != "cpu":
        return False
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def in_bfloat16(model: HookedTransformer) -> HookedTransformer:
    """The model with the weights of its attention and MLPs in bfloat16; all else is shared."""
    replaced: dict[int, Any] = {}
    rounded = {
        id(part)
        for block in model.blocks
        for name in ("attn", "mlp")
        if hasattr(block, name)
        for part in (*getattr(block, name).parameters(), *getattr(block, name).buffers())
    }
    for tensor in (*model.parameters(), *model.buffers()):
        new = tensor
        if id(tensor) in rounded:
            new = tensor.detach().to(torch.bfloat16)
            if isinstance(tensor, nn.Parameter):
                new = nn.Parameter(new, requires_grad=False)
        replaced[id(tensor)] = new
    if model.tokenizer is not None:
        replaced[id(model.tokenizer)] = model.tokenizer
    return copy.deepcopy(model, replaced)


@contextmanager
def arithmetic(precision: Precision, device: torch.device) -> Iterator[None]:
    """Inside, products are computed in this precision."""
    rounded = precision == "bfloat16"  # else also an autocast of the caller's is switched off
    with torch.autocast(device.type, torch.bfloat16, enabled=rounded, cache_enabled=False):
        yield


@dataclass(frozen=True)
class MeasuredError:
    """How far a sample of results in bfloat16 is from the same in float32, in the metric's unit."""

    n_sampled: int
    """Interventions, each on every prompt."""
    root_mean_square: float
    largest: float
    largest_of_means: float
    """Of the means over prompts, which effects are made of."""

    @classmethod
    def of(cls, fast: NDArray[np.float64], exact: NDArray[np.float64]) -> MeasuredError:
        """From two arrays [..., prompt]."""
        error = (fast - exact).reshape(-1, fast.shape[-1])
        return cls(
            n_sampled=len(error),
            root_mean_square=float(np.sqrt((error**2).mean())),
            largest=float(np.abs(error).max()),
            largest_of_means=float(np.abs(error.mean(-1)).max()),
        )

    def settings(self) -> dict[str, Any]:
        """What `Effects.settings` keeps of it."""
        return {"precision": "bfloat16", "bfloat16_error": asdict(self)}
