"""The components that logits are taken apart into: their names, and how each is read in a run."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal, Self

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..model.parts import Norm, at_least_float32
from ..model.transformer import HookedTransformer
from .readout import Floats, FrozenReadout

By = Literal["component", "layer", "head", "mlp", "neuron"]
Kind = Literal["embed", "pos_embed", "head", "mlp", "neuron", "layer", "rest", "bias"]

_NAMES: dict[Kind, re.Pattern[str]] = {
    "head": re.compile(r"(\d+)\.(\d+)"),
    "mlp": re.compile(r"mlp(\d+)()"),
    "neuron": re.compile(r"mlp(\d+)\.(\d+)"),
    "layer": re.compile(r"layer (\d+)()"),
}
_EMBEDDINGS: tuple[Kind, ...] = ("embed", "pos_embed")
FINAL_NORM, UNEMBEDDING = "ln_final bias", "unembedding bias"


@dataclass(frozen=True)
class Component:
    """One part of the model that writes to the residual stream, or a bias."""

    kind: Kind
    """"rest" is all heads or all MLPs together, where another part is listed by itself."""
    name: str
    """ "embed", "9.6" (a head), "mlp3", "mlp3.120" (a neuron), "layer 3", "attn3 bias", ..."""
    layer: int | None = None
    unit: int | None = None
    """The head or the neuron."""

    @classmethod
    def called(cls, name: str) -> Self:
        """The component of this name."""
        for kind, pattern in _NAMES.items():
            match = pattern.fullmatch(name)
            if match is not None:
                layer, unit = match.groups()
                return cls(kind, name, int(layer), int(unit) if unit else None)
        for kind in _EMBEDDINGS:
            if name == kind:
                return cls(kind, name)
        return cls("bias" if "bias" in name else "rest", name)


@dataclass(frozen=True)
class Part:
    """One row or several, read at one hook point, or known without a run."""

    names: list[str]
    """Of the component that each row counts for."""
    hook: str | None
    read: Callable[..., Float[Tensor, "unit answer row"]]
    """(readout) or, with a hook, (readout, value at the rows) -> what it adds."""
    through_norm: bool = True
    """Whether the norm's scale divides it."""


def parts_of(model: HookedTransformer, by: By) -> Iterator[Part]:
    """All that is added up to the answer, in the order of the model."""
    for name in ("embed", "pos_embed"):
        if f"hook_{name}" in model.hook_dict:
            yield Part([name], f"hook_{name}", lambda out, value: out.project(value)[None])
    for layer in range(model.cfg.n_layers):
        yield from _of_layer(model, layer, by)
    norm = model.ln_final
    if isinstance(norm, Norm) and norm.b is not None:
        bias = at_least_float32(norm.b)
        yield Part(
            [FINAL_NORM],
            None,
            lambda out: torch.einsum("d,ard->ar", bias, out.raw)[None],
            through_norm=False,
        )
    if model.cfg.unembed_bias:
        logits = model.unembed.b_U[None]

        def of_unembedding(out: FrozenReadout) -> Tensor:
            return out.of_constant_logits(logits)[None]

        yield Part([UNEMBEDDING], None, of_unembedding, through_norm=False)


def _of_layer(model: HookedTransformer, layer: int, by: By) -> Iterator[Part]:
    cfg, block = model.cfg, model.blocks[layer]
    whole_layer = f"layer {layer}"
    heads = [f"{layer}.{head}" for head in range(cfg.n_heads)]
    if by not in ("component", "head"):
        heads = [whole_layer if by == "layer" else "heads"] * cfg.n_heads

    def of_heads(out: FrozenReadout, z: Float[Tensor, "row head d_head"]) -> Tensor:
        return torch.einsum("arhe,rhe->har", out.head_directions(block.attn.W_O), z)

    yield Part(heads, f"blocks.{layer}.attn.hook_z", of_heads)
    listed = by == "component"
    if cfg.attn_out_bias:
        name = f"attn{layer} bias" if listed else "attention biases"
        yield Part([name], None, lambda out: out.constant(block.attn.b_O)[None])
    if cfg.attn_only:
        return

    def of_neurons(out: FrozenReadout, post: Float[Tensor, "row neuron"]) -> Tensor:
        # W_out onto the directions first: [neuron, row, d_model] is never made.
        by_neuron = torch.einsum("nd,ard->nar", at_least_float32(block.mlp.W_out), out.g)
        return by_neuron * post.T[:, None]

    def of_mlp(out: FrozenReadout, written: Float[Tensor, "row d_model"]) -> Tensor:
        return out.project(written - block.mlp.b_out)[None]

    if by == "neuron":
        names = [f"mlp{layer}.{neuron}" for neuron in range(cfg.d_mlp)]
        yield Part(names, f"blocks.{layer}.mlp.hook_post", of_neurons)
    else:
        name = {"layer": whole_layer, "head": "MLPs"}.get(by, f"mlp{layer}")
        yield Part([name], f"blocks.{layer}.hook_mlp_out", of_mlp)
    if cfg.mlp_bias:
        name = f"mlp{layer} bias" if listed else "MLP biases"
        yield Part([name], None, lambda out: out.constant(block.mlp.b_out)[None])


def read_parts(readout: FrozenReadout, parts: list[Part]) -> tuple[Floats, Floats]:
    """What each row adds, [row, answer, sample], and the answers, [answer, sample]."""
    found: dict[int, Tensor] = {}

    def keep(value: Tensor, *, hook: object, number: int) -> None:
        found[number] = parts[number].read(readout, readout.at(value))

    hooks = [
        (part.hook, partial(keep, number=number))
        for number, part in enumerate(parts)
        if part.hook is not None
    ]
    whole = readout.run(hooks)
    rows = []
    for number, part in enumerate(parts):
        value = found.pop(number) if part.hook is not None else part.read(readout)
        rows.append(readout.per_sample(value / readout.scale if part.through_norm else value))
    return np.concatenate(rows), readout.per_sample(whole)


def together(rows: Floats, labels: list[str], names: tuple[str, ...]) -> Floats:
    """The sum of the rows of each name."""
    if len(names) == len(labels):
        return rows
    place = {name: i for i, name in enumerate(names)}
    found = np.zeros((len(names), *rows.shape[1:]))
    np.add.at(found, [place[label] for label in labels], rows)
    return found
