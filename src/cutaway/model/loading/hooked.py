"""State dicts in HookedTransformer's own naming, such as those that TransformerLens wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..config import ModelConfig
from .checkpoint import Checkpoint, LoadError, check_state, expected_shapes
from .reading import RawTensors


def is_state(names: Any) -> bool:
    """Whether these tensor names are those of a HookedTransformer."""
    return "embed.W_E" in names


def load(tensors: dict[str, Tensor], cfg: ModelConfig | None, source: str | Path) -> Checkpoint:
    """A state dict and its configuration.

    The gated MLP of TransformerLens adds b_in behind the gate, (act(x W_gate) * (x W_in) + b_in)
    W_out + b_out; ours before it. Its b_in is moved into b_out, which is the same: b_in W_out +
    b_out. A file with b_gate is one of ours, and stays as it is.

    Buffers are ignored; biases that the file lacks are zero; biases that `cfg` has turned off may
    be in the file if they are zero.

    Raises:
        LoadError: no configuration, or the weights do not fit it.
    """
    if cfg is None:
        raise LoadError(
            f"{source} is a state dict in HookedTransformer's naming, which does not say what kind "
            "of model it is: give cfg=ModelConfig(...)."
        )
    raw = RawTensors(tensors, source)
    raw.drop(r".*\.attn\.(mask|IGNORE|rotary_sin|rotary_cos)")
    # Grouped key and value weights carry an underscore there.
    state = {name.replace("attn._", "attn."): value for name, value in raw.tensors.items()}
    expected = expected_shapes(cfg)
    if cfg.gated_mlp and not any(name.endswith(".b_gate") for name in state):
        _move_bias_behind_gate(cfg, state)
    _drop_redundant(cfg, state, expected)
    for name, shape in expected.items():
        if ".b_" in name and name not in state:
            state[name] = torch.zeros(shape)
    check_state(cfg, state, source)
    return Checkpoint(cfg, state)


def _drop_redundant(cfg: ModelConfig, state: dict[str, Tensor], expected: Any) -> None:
    """Forget zero biases that the configuration has not, and W_U where it is W_E transposed."""
    for name in [name for name in state if name not in expected]:
        zero_bias = ".b" in name and not state[name].any()
        tied = name == "unembed.W_U" and torch.equal(state[name], state["embed.W_E"].T)
        if zero_bias or tied:
            del state[name]


def _move_bias_behind_gate(cfg: ModelConfig, state: dict[str, Tensor]) -> None:
    for layer in range(cfg.n_layers):
        b_in, b_out, W_out = (f"blocks.{layer}.mlp.{x}" for x in ("b_in", "b_out", "W_out"))
        if b_in not in state or W_out not in state or not state[b_in].any():
            continue
        if not cfg.mlp_bias:
            raise LoadError(
                f"the tensor {b_in!r} is not zero, and the configuration has mlp_bias=False: "
                "give mlp_bias=True."
            )
        moved = state[b_in] @ state[W_out]
        state[b_out] = state[b_out] + moved if b_out in state else moved
        state[b_in] = torch.zeros_like(state[b_in])
