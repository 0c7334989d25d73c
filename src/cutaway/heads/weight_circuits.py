"""Full QK and OV circuits: what a head does from tokens to tokens, by its weights alone.

Elhage et al. (2021, "A Mathematical Framework for Transformer Circuits"): W_E W_Q W_K^T W_E^T says
how much each token, as a query, wants to attend to each token, as a key; W_E W_V W_O W_U says how
much each token, once attended to, raises the logit of each token. Both are [d_vocab, d_vocab], and
stay products of thin factors; `blocks` reads them.

**Norms.** Weights are taken as they are, and the norms' scales are left out: they differ from
prompt to prompt and only stretch a row as a whole. A norm's own weights belong to what follows it.
`folded` puts them there in a copy; `from_pretrained` has done so unless it was told not to.

**Heads that share keys and values** each get those of their group.

**What the first MLP does.** In a model with MLPs, later heads seldom read W_E: they read what the
first MLP has made of it. `extended_embedding` stands for W_E there.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from .. import evidence
from ..model.attention_context import rotary_angles, rotate
from ..model.factored import FactoredMatrix
from ..model.parts import at_least_float32
from ..model.processing import process
from ..model.transformer import HookedTransformer
from .blocks import diagonal_accuracy
from .virtual_weights import (
    Path,
    check_head,
    check_path,
    key_value,
    query_key_weights,
    through,
    value_weights,
)

Side = Literal["tokens", "positions"]


def full_ov(
    model: HookedTransformer,
    layer: int,
    head: int | None = None,
    *,
    value_through: Path = (),
    embedding: Float[Tensor, "d_vocab d_model"] | None = None,
    biases: bool = False,
) -> FactoredMatrix:
    """W_E W_V W_O W_U: how much each attended token raises each logit.

    Args:
        model: any.
        layer: of the head.
        head: its number; None adds up the circuits of all heads of the layer, which is what the
            layer does if all of them look at the same token.
        value_through: earlier heads that the value came through, (layer, head) or several:
            W_E OV_1 OV_2 ... W_V W_O W_U (V-composition).
        embedding: what stands for W_E.
        biases: b_V is added to every value, also on the way, and so the same to every row.

    Returns:
        [d_vocab (attended to), d_vocab (logit)].

    Raises:
        ValueError: a head that is not there or cannot be heard, an embedding of another shape.

    Example:
        >>> ov = full_ov(model, 1, 2)
        >>> ov.shape, top_entries(ov, k=3).values
    """
    numbers = range(model.cfg.n_heads) if head is None else [head]
    path = check_path(model, value_through, before=layer)
    rows = through(model, _embedding(model, embedding), path, biases)
    W_U = at_least_float32(model.W_U.detach())
    values, written = [], []
    for number in numbers:
        check_head(model, layer, number)
        W_V, W_O = value_weights(model, layer, number)
        bias = key_value(model, "b_V", layer, number) if biases else 0.0
        values.append(rows @ W_V + bias)
        written.append(W_O @ W_U)
    return FactoredMatrix(torch.cat(values, dim=1), torch.cat(written))


def full_qk(
    model: HookedTransformer,
    layer: int,
    head: int,
    *,
    query: Side = "tokens",
    key: Side = "tokens",
    query_through: Path = (),
    key_through: Path = (),
    distance: int | None = None,
    embedding: Float[Tensor, "d_vocab d_model"] | None = None,
    biases: bool = False,
) -> FactoredMatrix:
    """W_E W_Q W_K^T W_E^T / sqrt(d_head): how much each token attends to each, as a score.

    It is a term of the attention scores before the softmax: they also have terms from positions
    (`query="positions"`, `key="positions"`: W_pos for W_E), from what other heads and MLPs wrote
    (`query_through`, `key_through`) and from biases. A row can be shifted as a whole without any
    change of attention, so compare within rows.

    Args:
        model: any; the divisor is `model.cfg.scale`.
        layer: of the head.
        head: its number.
        query: what the query side is, rows of W_E or of W_pos.
        key: what the key side is.
        query_through: earlier heads through which the query reads that side (Q-composition).
        key_through: likewise for the key (K-composition). With a previous-token head there, the
            columns are tokens *before* the key.
        distance: of models with rotary positions: how many positions the key lies before the
            query; None is 0 there.
        embedding: what stands for W_E.
        biases: b_Q, b_K (and b_V on the way) are added.

    Returns:
        [query, key]; each side is d_vocab or n_ctx long.

    Raises:
        ValueError: a head that is not there or cannot be heard; positions in a model that has no
            table of them; a distance in a model without rotary positions, or a negative one.

    Example:
        >>> induction = full_qk(model, 1, 2, key_through=(0, 1))
        >>> diagonal_accuracy(induction).estimate  # a token looks for itself, one place later
        1.0
        >>> previous = full_qk(model, 0, 1, query="positions", key="positions")
        >>> diagonal(previous, offset=-1)
    """
    check_head(model, layer, head)
    _check_distance(model, distance)
    W_Q, W_K = query_key_weights(model, layer, head)
    b_Q = at_least_float32(model.blocks[layer].attn.b_Q[head].detach())
    sides = []
    for side, path, W, b in (
        (query, query_through, W_Q, b_Q),
        (key, key_through, W_K, key_value(model, "b_K", layer, head)),
    ):
        heads = check_path(model, path, before=layer)
        rows = through(model, _side(model, side, embedding), heads, biases)
        sides.append(rows @ W + (b if biases else 0.0))  # [row, d_head]
    queries, keys = sides
    if distance:
        queries = _turned(model, queries, distance)
    return FactoredMatrix(queries / model.cfg.scale, keys.T)


def copy_accuracy(
    model: HookedTransformer,
    layer: int,
    head: int | None = None,
    k: int = 1,
    *,
    embedding: Float[Tensor, "d_vocab d_model"] | None = None,
    most_cells: int | None = None,
) -> evidence.Interval:
    """The share of tokens that are among the k tokens which the OV circuit promotes most for them.

    By chance it is k / d_vocab. Tokens count alike, however rare, and the interval takes them for
    a sample of tokens.

    Args:
        model: any.
        layer: of the head.
        head: its number; None is all heads of the layer together, as in `full_ov`.
        k: how many promoted tokens count; 1 and 5 are usual.
        embedding: what stands for W_E, such as `extended_embedding(model)`.
        most_cells: numbers of the circuit held at a time.

    Raises:
        ValueError: a head that is not there, a k outside 1 to d_vocab.

    Example:
        >>> copy_accuracy(KNOWN["induction"](0).model, 1, 2).estimate
        1.0
    """
    circuit = full_ov(model, layer, head, embedding=embedding)
    return diagonal_accuracy(circuit, k, most_cells)


def folded(model: HookedTransformer) -> HookedTransformer:
    """A copy of the model with its norms in its weights, and logits up to a constant per position.

    Norm weights and biases go into the matrices that read from the norms; writing weights and the
    unembedding are centred; b_V goes into b_O (`model.processing.process`). Log-probabilities are
    the same. Full circuits of the copy are those that the model acts by, up to the norms' scales.
    Scores change with it: centring W_U takes out what all logits share, and that has eigenvalues
    as well.

    Example:
        >>> raw = HookedTransformer.from_pretrained_no_processing("ioi-mini")
        >>> copying_scores(folded(raw))
    """
    cfg, state = process(model.cfg, model.state_dict())
    return HookedTransformer.from_state(cfg, state, model.tokenizer, model.device)


def extended_embedding(model: HookedTransformer) -> Float[Tensor, "d_vocab d_model"]:
    """W_E and what the first MLP adds when it reads a token's embedding alone.

    Without position and without the first layer's attention. Wang et al. (2022, "Interpretability
    in the Wild", on name movers) measure copying behind it as well: in GPT-2 the first MLP acts as
    a second embedding.

    Raises:
        ValueError: the model has no MLPs.

    Example:
        >>> copying_scores(model, embedding=extended_embedding(model))
    """
    if model.cfg.attn_only:
        raise ValueError(
            f"{model.cfg.model_name} has attention only: no MLP extends its embedding, so W_E is "
            "all that there is."
        )
    with torch.no_grad():
        W_E = model.W_E.detach()
        added: Tensor = model.blocks[0].mlp_out(W_E[None])
        return W_E + added[0]


def _embedding(model: HookedTransformer, embedding: Tensor | None) -> Tensor:
    W_E = model.W_E if embedding is None else embedding
    if W_E.shape[-1] != model.cfg.d_model or W_E.ndim != 2:
        raise ValueError(
            f"the embedding has the shape {tuple(W_E.shape)}, not [tokens, {model.cfg.d_model}]."
        )
    return at_least_float32(W_E.detach())


def _side(model: HookedTransformer, side: Side, embedding: Tensor | None) -> Tensor:
    if side == "tokens":
        return _embedding(model, embedding)
    if side not in get_args(Side):
        raise ValueError(f"a side can be 'tokens' or 'positions', not {side!r}.")
    kind = model.cfg.positional_embedding_type
    if kind != "standard":
        instead = "give a distance instead" if kind == "rotary" else "it has tokens only"
        raise ValueError(
            f"{model.cfg.model_name} has no table of positions to put on a side of its QK circuit "
            f"(positional_embedding_type is {kind!r}): {instead}."
        )
    return at_least_float32(model.W_pos.detach())


def _check_distance(model: HookedTransformer, distance: int | None) -> None:
    if distance is None:
        return
    if model.cfg.positional_embedding_type != "rotary":
        raise ValueError(
            f"distance={distance}: the scores of {model.cfg.model_name} depend on distances only "
            "through its table of positions; take query='positions' and key='positions'."
        )
    if distance < 0:
        raise ValueError(f"distance={distance} is negative: a query sees no later keys.")


def _turned(model: HookedTransformer, queries: Tensor, distance: int) -> Tensor:
    """Queries [row, d_head] as at position `distance`, with the keys at position 0."""
    position = torch.tensor([[distance]], device=queries.device)
    cos, sin = rotary_angles(model.cfg, position, queries.dtype)
    return rotate(model.cfg, queries[:, None, None], cos, sin)[:, 0, 0]
