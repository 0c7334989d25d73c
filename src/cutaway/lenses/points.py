"""Where a lens reads: the points of the residual stream, and the way from there to logits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from ..model.cache import get_act_name
from ..model.config import ModelConfig
from ..model.parts import at_least_float32
from ..model.transformer import HookedTransformer


@dataclass(frozen=True)
class LensPoint:
    """One point of the residual stream."""

    label: str
    """"embed" (before layer 0), "3" (after layer 3), "3.mid" (after its attention)."""
    hook: str
    """The hook point that it passes."""


def lens_points(cfg: ModelConfig, mid: bool = False) -> tuple[LensPoint, ...]:
    """The points from the embedding to the last layer, in the order of the run.

    Args:
        cfg: of the model.
        mid: also between attention and MLP, in models that have such a point.

    Raises:
        ValueError: a model without layers; `mid` of a model that has no such point.

    Example:
        >>> cfg = ModelConfig(n_layers=2, d_model=32, n_heads=4, d_vocab=50, n_ctx=16)
        >>> [point.label for point in lens_points(cfg, mid=True)]
        ['embed', '0.mid', '0', '1.mid', '1']
    """
    if cfg.n_layers == 0:
        raise ValueError(f"{cfg.model_name} has no layers, so a lens has nothing to look into.")
    if mid and not cfg.has_resid_mid:
        raise ValueError(
            f"{cfg.model_name} has no point between attention and MLP in its layers "
            "(resid_mid): leave mid out."
        )
    found = [LensPoint("embed", get_act_name("resid_pre", 0))]
    for layer in range(cfg.n_layers):
        if mid:
            found.append(LensPoint(f"{layer}.mid", get_act_name("resid_mid", layer)))
        found.append(LensPoint(str(layer), get_act_name("resid_post", layer)))
    return tuple(found)


def depths(labels: Sequence[str]) -> tuple[float, ...]:
    """How many layers have run at each point; between attention and MLP half a layer more.

    Example:
        >>> depths(["embed", "0.mid", "0"])
        (0.0, 0.5, 1.0)
    """
    return tuple(map(_depth, labels))


def _depth(label: str) -> float:
    if label == "embed":
        return 0.0
    layer, _, part = label.partition(".")
    return float(layer) + (0.5 if part else 1.0)


@torch.no_grad()
def streams(
    model: HookedTransformer, tokens: Int[Tensor, "prompt pos"], points: Sequence[LensPoint]
) -> list[Float[Tensor, "prompt pos d_model"]]:
    """The residual stream at these points, one run for all of them."""
    _, found = model.record(tokens, names_filter=[p.hook for p in points], return_type=None)
    return [found[point.hook] for point in points]


def read_out(
    model: HookedTransformer, resid: Float[Tensor, "... d_model"]
) -> Float[Tensor, "... d_vocab"]:
    """The final norm and the unembedding, as the model applies them to its last residual stream.

    The norm takes its scale from `resid` itself. Gradients flow to `resid` and not into the
    model's weights.
    """
    weights = {name: value.detach() for name, value in model.ln_final.named_parameters()}
    normalised = torch.func.functional_call(model.ln_final, weights, (resid,))
    unembed = model.unembed
    return F.linear(normalised, unembed.W_U.detach().T, unembed.b_U.detach())


def log_probabilities(
    model: HookedTransformer, resid: Float[Tensor, "... d_model"]
) -> Float[Tensor, "... d_vocab"]:
    """`read_out` as log-probabilities, in nats; half precision is read in float32."""
    return at_least_float32(read_out(model, resid)).log_softmax(-1)
