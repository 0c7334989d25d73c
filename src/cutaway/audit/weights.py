"""`weights`: what a model's parameters really hold, shared ones once."""

from __future__ import annotations

from dataclasses import dataclass

from ..model.transformer import HookedTransformer
from .formulas import n_parameters, n_zero_biases, weight_bytes
from .spans import bytes_held


@dataclass(frozen=True)
class WeightAudit:
    """Bytes of a model's weights, measured and foretold. `weights` makes it."""

    n_parameters: int
    """By formula."""
    n_zero_biases: int
    """Zeros that stand for biases that are off, by formula."""
    n_bytes_predicted: int
    """Of both."""
    n_bytes: int
    """Measured: the storages that parameters and buffers keep alive."""
    n_bytes_by_name: int
    """What adding up every weight by its name would say: a tied W_U counts twice."""
    is_tied: bool
    """W_U is W_E."""

    @property
    def is_exact(self) -> bool:
        """Whether the model holds what was foretold."""
        return self.n_bytes == self.n_bytes_predicted


def weights(model: HookedTransformer) -> WeightAudit:
    """Measure the storages of a model's parameters and buffers, each once.

    Example:
        >>> weights(model).is_exact
        True
    """
    cfg = model.cfg
    every = [*model.parameters(), *model.buffers()]
    by_name = sum(one.numel() * one.element_size() for one in every)
    if cfg.tie_word_embeddings:
        by_name += model.W_U.numel() * model.W_U.element_size()
    return WeightAudit(
        n_parameters(cfg),
        n_zero_biases(cfg),
        weight_bytes(cfg),
        bytes_held(every),
        by_name,
        cfg.tie_word_embeddings,
    )
