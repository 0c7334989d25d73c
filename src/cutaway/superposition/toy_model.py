"""The toy models: n features squeezed through m < n hidden dimensions, and read out again.

Many instances stand side by side along the first axis of every tensor. The gradients are written
out, which takes half of the time that autograd does; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from .data import Pairs, SparseFeatures

Kind = Literal["relu-output", "linear", "relu-hidden", "absolute-value"]
Weights = Mapping[str, Tensor]
"""W_in [instance, hidden, feature]; b [instance, feature]; where the output has weights of its own,
W_out [instance, feature, hidden]."""


@dataclass(frozen=True)
class ToyModel:
    """A model by its shape and kind (Elhage et al. 2022).

    - "relu-output": x' = ReLU(W^T W x + b), the model of superposition;
    - "linear": x' = W^T W x + b, whose best is that of principal components;
    - "relu-hidden": x' = ReLU(W^T ReLU(W x) + b), whose hidden basis is privileged;
    - "absolute-value": |x|' = ReLU(W_out ReLU(W_in x) + b), which computes.

    Raises:
        ValueError: no hidden dimension, or an unknown kind.

    Example:
        >>> ToyModel(5, 2).features
        SparseFeatures(n_features=5, pairs='independent', signed=False)
    """

    n_features: int
    n_hidden: int
    kind: Kind = "relu-output"
    pairs: Pairs = "independent"
    """What pairs of features have in common."""

    def __post_init__(self) -> None:
        if self.n_hidden < 1:
            raise ValueError(f"n_hidden={self.n_hidden} is too few: at least 1.")
        if self.kind not in get_args(Kind):
            raise ValueError(f"kind={self.kind!r} is none of {', '.join(get_args(Kind))}.")
        _ = self.features  # which checks the rest

    @property
    def features(self) -> SparseFeatures:
        """What goes in."""
        return SparseFeatures(self.n_features, self.pairs, signed=not self.is_tied)

    @property
    def is_tied(self) -> bool:
        """Whether the output reads with the transpose of W_in."""
        return self.kind != "absolute-value"

    @property
    def is_privileged(self) -> bool:
        """Whether a nonlinearity acts on each hidden dimension."""
        return self.kind in ("relu-hidden", "absolute-value")

    def start(
        self, generators: Sequence[torch.Generator], device: str, dtype: torch.dtype
    ) -> dict[str, Tensor]:
        """Weights before training, one instance for each generator.

        W is normal with the variance 2 / (n + m) (Glorot and Bengio 2010), b is 0.
        """
        shapes = {"W_in": (self.n_hidden, self.n_features)}
        if not self.is_tied:
            shapes["W_out"] = (self.n_features, self.n_hidden)
        deviation = (2 / (self.n_features + self.n_hidden)) ** 0.5
        drawn: dict[str, list[Tensor]] = {name: [] for name in shapes}
        for generator in generators:
            for name, shape in shapes.items():
                noise = torch.randn(shape, generator=generator, device=device, dtype=dtype)
                drawn[name].append(deviation * noise)
        weights = {name: torch.stack(each) for name, each in drawn.items()}
        n = len(generators)
        return {**weights, "b": torch.zeros(n, self.n_features, device=device, dtype=dtype)}

    def target(self, x: Float[Tensor, "*batch feature"]) -> Float[Tensor, "*batch feature"]:
        """What the model is to give: the features, or their absolute values."""
        return x if self.is_tied else x.abs()

    def hidden(
        self, weights: Weights, x: Float[Tensor, "instance batch feature"]
    ) -> Float[Tensor, "instance batch hidden"]:
        """What passes through the bottleneck."""
        inside = x @ weights["W_in"].mT
        return inside.relu_() if self.is_privileged else inside

    def output(
        self, weights: Weights, x: Float[Tensor, "instance batch feature"]
    ) -> Float[Tensor, "instance batch feature"]:
        """What the model gives."""
        return self._read(weights, self.hidden(weights, x))

    def _read(
        self, weights: Weights, hidden: Float[Tensor, "instance batch hidden"]
    ) -> Float[Tensor, "instance batch feature"]:
        out = torch.baddbmm(weights["b"][:, None], hidden, self._w_out(weights))
        return out if self.kind == "linear" else out.relu_()

    def _w_out(self, weights: Weights) -> Float[Tensor, "instance hidden feature"]:
        return weights["W_in"] if self.is_tied else weights["W_out"].mT

    def gradients(
        self,
        weights: Weights,
        x: Float[Tensor, "instance batch feature"],
        importance: Float[Tensor, "instance feature"],
    ) -> dict[str, Tensor]:
        """Of every instance's loss, the mean over the batch of sum_i I_i (target_i - output_i)^2.

        Args:
            weights: of every instance.
            x: its features.
            importance: I, of each of them.
        """
        w_in, w_out = weights["W_in"], self._w_out(weights)
        hidden = self.hidden(weights, x)
        out = self._read(weights, hidden)
        is_on = None if self.kind == "linear" else out > 0
        error = out.sub_(self.target(x)).mul_(importance[:, None] * (2 / x.shape[1]))
        if is_on is not None:
            error.mul_(is_on)
        back = error @ w_out.mT  # [instance, batch, hidden]
        if self.is_privileged:
            back.mul_(hidden > 0)
        into = back.mT @ x
        out_of = hidden.mT @ error  # [instance, hidden, feature]
        found = {"b": error.sum(1)}
        if self.is_tied:
            return {**found, "W_in": into + out_of}
        assert w_in.shape == into.shape
        return {**found, "W_in": into, "W_out": out_of.mT}

    def errors(
        self, weights: Weights, x: Float[Tensor, "instance batch feature"]
    ) -> Float[Tensor, "instance feature"]:
        """Mean squared error of every feature, without its importance."""
        return (self.output(weights, x) - self.target(x)).square_().mean(1)
