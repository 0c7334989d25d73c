"""One step of training: gradients, through the active features alone where the kind allows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ..patching.precision import Precision, has_bfloat16
from .active import Active, active_in_training
from .config import TOP_K_KINDS
from .dictionary import Dictionary
from .kinds import Matryoshka, TopK


@dataclass(frozen=True, eq=False)
class Measured:
    """What a batch showed on the way to its gradients."""

    terms: Mapping[str, Tensor]
    """The terms of the loss, not weighed, as `Dictionary.losses` names them; without gradients."""
    loss: Float[Tensor, ""]
    """Their weighed sum."""
    n_active: Int[Tensor, "d_features"]
    """Rows in which each feature was active."""


def train_step(
    dictionary: Dictionary,
    optimizer: torch.optim.Optimizer,
    x: Float[Tensor, "row d_in"],
    target: Float[Tensor, "row d_out"] | None = None,
    *,
    dead: Bool[Tensor, "d_features"] | None = None,
    weights: Mapping[str, float] | None = None,
    largest_norm: float = 0.0,
    precision: Precision = "float32",
) -> Measured:
    """Gradients, clipping, and one step of the optimiser.

    Args:
        dictionary: changed in place.
        optimizer: over its parameters, as `torch.optim.Adam(dictionary.parameters(), fused=True)`.
        x: what is read, in units of the model.
        target: what a transcoder predicts.
        dead: features that the auxiliary loss is to revive.
        weights: of the terms of the loss; one that is not named counts once.
        largest_norm: of the whole gradient, which is scaled down to it; 0 does not clip.
        precision: see `gradients`.

    Example:
        >>> optimizer = torch.optim.Adam(dictionary.parameters(), lr=3e-4, fused=True)
        >>> train_step(dictionary, optimizer, x, weights={"auxiliary": 1 / 32}).loss
    """
    measured = gradients(dictionary, x, target, dead=dead, weights=weights, precision=precision)
    if largest_norm:
        nn.utils.clip_grad_norm_(dictionary.parameters(), largest_norm)
    optimizer.step()
    return measured


def gradients(
    dictionary: Dictionary,
    x: Float[Tensor, "row d_in"],
    target: Float[Tensor, "row d_out"] | None = None,
    *,
    dead: Bool[Tensor, "d_features"] | None = None,
    weights: Mapping[str, float] | None = None,
    precision: Precision = "float32",
) -> Measured:
    """Set the gradient of every weight, as the backward pass of the weighed losses would.

    For the top-k kinds only the encoder's first product is computed for all features; the rest goes
    through the active ones (sae/active.py) and equals dense autograd up to rounding.

    Args:
        dictionary: whose `.grad` are replaced.
        x: what is read, in units of the model.
        target: what a transcoder predicts.
        dead: features that the auxiliary loss is to revive.
        weights: of the terms of the loss; one that is not named counts once.
        precision: "bfloat16" rounds that first product, where the processor has instructions for
            it. It then decides only which features are the largest, so that a few close calls come
            out otherwise; their values and everything after them are computed in float32.

    Raises:
        ValueError: bfloat16 where the device would not be faster for it, or for a kind or a number
            format that has no use for it.

    Example:
        >>> gradients(dictionary, x).terms["reconstruction"]
    """
    given = dict(weights or {})
    if precision != "float32":
        _check_precision(dictionary, precision)
    if isinstance(dictionary, TopK):
        return _sparse_gradients(dictionary, x, target, dead, given, precision)
    return dense_gradients(dictionary, x, target, dead=dead, weights=given)


def _check_precision(dictionary: Dictionary, precision: str) -> None:
    if precision not in get_args(Precision):
        raise ValueError(f"precision={precision!r} is neither 'float32' nor 'bfloat16'.")
    if not isinstance(dictionary, TopK):
        raise ValueError(
            f"precision='bfloat16' is for {', '.join(TOP_K_KINDS)}, where it only chooses; a "
            f"{dictionary.cfg.kind} dictionary would lose digits."
        )
    if dictionary.dtype != torch.float32:
        raise ValueError(
            f"precision='bfloat16' is for weights in float32; these are in {dictionary.dtype}."
        )
    if not has_bfloat16(dictionary.device):
        raise ValueError(
            f"precision='bfloat16': {dictionary.device} has no instructions for it, so that it "
            "would only be slower. Leave precision at float32."
        )


def dense_gradients(
    dictionary: Dictionary,
    x: Float[Tensor, "row d_in"],
    target: Float[Tensor, "row d_out"] | None = None,
    *,
    dead: Bool[Tensor, "d_features"] | None = None,
    weights: Mapping[str, float] | None = None,
) -> Measured:
    """The same by dense autograd, for any kind; see `gradients`."""
    dictionary.zero_grad(set_to_none=True)
    with torch.enable_grad():
        terms, features = dictionary.losses_and_features(x, target, dead)
        loss = _weighed(terms, weights or {})
        loss.backward()
    _give_the_rest_zeros(dictionary)
    told = {name: term.detach() for name, term in terms.items()}
    return Measured(told, loss.detach(), (features.detach() > 0).sum(0))


def _weighed(terms: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    return torch.stack([weights.get(name, 1.0) * term for name, term in terms.items()]).sum()


def _give_the_rest_zeros(dictionary: Dictionary) -> None:
    # Adam goes on moving a weight whose gradient is 0, and would leave one without a gradient.
    for parameter in dictionary.parameters():
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)


# ---- through the active features ----


@torch.no_grad()
def _sparse_gradients(
    dictionary: TopK,
    x: Float[Tensor, "row d_in"],
    target: Float[Tensor, "row d_out"] | None,
    dead: Bool[Tensor, "d_features"] | None,
    weights: Mapping[str, float],
    precision: Precision,
) -> Measured:
    read, wanted = dictionary.encoder_input(x), dictionary.scaled_target(x, target)
    active = active_in_training(dictionary, read, precision)
    error, written = _errors(dictionary, active, x, wanted)
    terms = _terms(dictionary, error)
    missing = None if dead is None else -error[:, -1]
    upstream = _upstream(dictionary, error, weights)
    # What a little more of each active feature would change: its decoder row times upstream.
    (to_value,) = torch.autograd.grad(written, active.value, upstream.flatten(0, 1))
    n_active = _set_gradients(dictionary, active, to_value, read, x, upstream)
    if dead is not None and missing is not None:
        terms["auxiliary"] = _add_auxiliary(dictionary, x, missing, dead, weights)
    return Measured(terms, _weighed(terms, weights), n_active)


def _errors(
    dictionary: TopK,
    active: Active,
    x: Float[Tensor, "row d_in"],
    wanted: Float[Tensor, "row d_out"],
) -> tuple[Float[Tensor, "row group d_out"], Float[Tensor, "bag d_out"]]:
    """Reconstructions less what is wanted, by prefix; and what was written, for its gradient."""
    active.value.requires_grad_()
    with torch.enable_grad():
        written = nn.functional.embedding_bag(
            active.feature,
            dictionary.W_dec.detach(),
            active.starts(),
            per_sample_weights=active.value,
            mode="sum",
        )
    n_rows = len(x)
    error = written.detach().unflatten(0, (n_rows, active.n_bags // n_rows))
    if error.shape[1] > 1:
        error.cumsum_(1)  # a prefix has what its groups write, together
    error += dictionary.b_dec
    error -= wanted[:, None]
    if dictionary.W_skip is not None:
        error += ((x * dictionary.cfg.scale) @ dictionary.W_skip)[:, None]
    return error, written


def _terms(dictionary: TopK, error: Float[Tensor, "row group d_out"]) -> dict[str, Tensor]:
    # Not by vector_norm: over millions of numbers it is off by 1 part in 10,000.
    squared = error.square().sum((0, 2)) / len(error)  # [group]
    terms = {"reconstruction": squared[-1]}
    if isinstance(dictionary, Matryoshka):
        terms["prefixes"] = squared[:-1].sum()
    return terms


def _upstream(
    dictionary: TopK, error: Float[Tensor, "row group d_out"], weights: Mapping[str, float]
) -> Float[Tensor, "row group d_out"]:
    """Gradient of the loss for what each bag writes, in the place of the errors.

    A group takes part in its own prefix and in all longer ones, so their gradients add up.
    """
    each = torch.full((error.shape[1],), weights.get("prefixes", 1.0), dtype=error.dtype)
    each[-1] = weights.get("reconstruction", 1.0)
    error *= (2 / len(error)) * each.to(error.device)[:, None]
    for group in range(error.shape[1] - 2, -1, -1):
        error[:, group] += error[:, group + 1]
    return error


def _set_gradients(
    dictionary: TopK,
    active: Active,
    to_value: Float[Tensor, "n"],
    read: Float[Tensor, "row d_in"],
    x: Float[Tensor, "row d_in"],
    upstream: Float[Tensor, "row group d_out"],
) -> Int[Tensor, "d_features"]:
    """Set all gradients; gives the number of entries of each feature."""
    order, starts, counts = active.by_feature()
    bag, to_value = active.bag[order], to_value[order]
    n_groups = upstream.shape[1]
    row = bag if n_groups == 1 else bag // n_groups

    def collected(rows: Tensor, which: Tensor, strength: Tensor) -> Tensor:
        """For each feature, the sum of its entries' rows, each times its strength."""
        return nn.functional.embedding_bag(
            which, rows, starts, per_sample_weights=strength, mode="sum"
        )

    to_output = upstream[:, 0]  # the first group's holds all prefixes
    dictionary.W_dec.grad = collected(upstream.flatten(0, 1), bag, active.value.detach()[order])
    dictionary.W_enc.grad = collected(read, row, to_value).t()
    dictionary.b_enc.grad = torch.segment_reduce(to_value, "sum", lengths=counts)
    dictionary.b_dec.grad = to_output.sum(0)
    if dictionary.cfg.subtract_decoder_bias:
        dictionary.b_dec.grad -= dictionary.W_enc.detach() @ dictionary.b_enc.grad
    if dictionary.W_skip is not None:
        dictionary.W_skip.grad = (x * dictionary.cfg.scale).t() @ to_output
    return counts


def _add_auxiliary(
    dictionary: TopK,
    x: Float[Tensor, "row d_in"],
    missing: Float[Tensor, "row d_out"],
    dead: Bool[Tensor, "d_features"],
    weights: Mapping[str, float],
) -> Tensor:
    """The auxiliary loss; its gradients, which only dead features have, are added."""
    with torch.enable_grad():
        term = dictionary.auxiliary_loss(x, missing, dead)
        if term.requires_grad:
            (weights.get("auxiliary", 1.0) * term).backward()
    return term.detach()
