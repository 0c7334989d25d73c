"""Write the weights of an attention-only transformer by hand, as a recipe.

The residual stream is divided into named subspaces at right angles. A head is written down as what
it attends to (a sum of terms, each a product of something read at the query and something read at
the key), what it takes from there, and the subspace that it writes this into. That is how Elhage
et al. (2021, "A Mathematical Framework for Transformer Circuits") take heads apart: a QK circuit
and an OV circuit, which compose where one head reads the subspace that another has written.

When all is written, the stream and the inner space of every head are turned by random rotations,
so that nothing lies along an axis; what the model computes stays the same. The heads that a recipe
does not name are idle: they read the whole stream with random weights, attend to something, and
write into a subspace that only idle heads read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from ...model.config import ModelConfig, NumberFormat
from ...model.transformer import Attention, HookedTransformer

HEADS_PER_LAYER = 4
_IDLE_WIDTH = 8


@dataclass(frozen=True, eq=False)
class Read:
    """What is taken from the stream: the coordinates in one subspace, times a matrix.

    Example:
        >>> Read("token")  # which token it is, one-hot
        >>> Read("token", indicator(17, [0]))  # one number: whether it is token 0
    """

    space: str
    """Name of the subspace."""
    by: Float[Tensor, "width inner"] | None = None
    """None is the identity."""


@dataclass(frozen=True, eq=False)
class Term:
    """One term of a head's attention scores: strength x (read at the query) . (read at the key)."""

    key: Read
    query: Read | None = None
    """None: every query asks for it alike (a bias), and the key's reading is a single number."""
    strength: float = 1.0


@dataclass(frozen=True, eq=False)
class WrittenHead:
    """A head in words: where it looks, what it takes from there, and where it puts it."""

    attend: tuple[Term, ...]
    value: Read
    into: str
    """The subspace it writes, as wide as what `value` reads."""


@dataclass(frozen=True, eq=False)
class Recipe:
    """All that a model is made of, before it is turned.

    The subspaces "token" and "position" hold the embeddings, one-hot; "idle" is what idle heads
    write. All three are always there.
    """

    name: str
    n_layers: int
    n_vocab: int
    n_ctx: int
    heads: Mapping[str, WrittenHead]
    """By name, as "1.2": layer 1, head 2. All others are idle."""
    unembed: Read
    """What becomes the logits, as wide as the vocabulary."""
    further_spaces: Mapping[str, int] = field(default_factory=dict)
    """Width of every other subspace."""

    @cached_property
    def widths(self) -> dict[str, int]:
        """Width of each subspace, in the order in which they lie in the stream."""
        always = {"token": self.n_vocab, "position": self.n_ctx, "idle": _IDLE_WIDTH}
        return always | dict(self.further_spaces)

    @cached_property
    def subspaces(self) -> dict[str, slice]:
        """Where each subspace lies in the stream, before it is turned."""
        ends = torch.tensor([0, *self.widths.values()]).cumsum(0).tolist()
        return {name: slice(*ends) for name, ends in zip(self.widths, pairwise(ends), strict=True)}

    @property
    def d_model(self) -> int:
        """Width of the stream: all subspaces side by side."""
        return sum(self.widths.values())

    @property
    def d_head(self) -> int:
        """Inner width of every head: what the largest head needs."""
        widths = []
        for head in self.heads.values():
            widths.append(sum(self.matrix(term.key).shape[1] for term in head.attend))
            widths.append(self.matrix(head.value).shape[1])
        return max(widths)

    @property
    def idle_heads(self) -> tuple[str, ...]:
        """The heads that are not written down."""
        names = (f"{i}.{j}" for i in range(self.n_layers) for j in range(HEADS_PER_LAYER))
        return tuple(name for name in names if name not in self.heads)

    def matrix(self, read: Read) -> Float[Tensor, "d_model inner"]:
        """The matrix that takes a reading from the stream before it is turned."""
        width = self.widths[read.space]
        by = torch.eye(width) if read.by is None else read.by
        full = torch.zeros(self.d_model, by.shape[1], dtype=torch.float64)
        full[self.subspaces[read.space]] = by.double()
        return full


@torch.no_grad()
def write_model(
    recipe: Recipe, seed: int, *, dtype: NumberFormat = "float32", device: str = "cpu"
) -> HookedTransformer:
    """The model that a recipe describes, in a random basis.

    Args:
        recipe: the embedding, heads and unembedding.
        seed: of the basis of the stream, the bases of the heads, and the idle heads' weights.
        dtype: number format of the weights; they are computed in float64.
        device: where the model lies.

    Example:
        >>> model = write_model(recipe, seed=0)
    """
    cfg = ModelConfig(
        n_layers=recipe.n_layers,
        d_model=recipe.d_model,
        n_heads=HEADS_PER_LAYER,
        d_head=recipe.d_head,
        d_vocab=recipe.n_vocab,
        n_ctx=recipe.n_ctx,
        attn_only=True,
        normalization_type=None,
        attn_scale=1.0,  # so that a term's strength is what it adds to a score
        attn_out_bias=False,
        dtype=dtype,
        model_name=recipe.name,
    )
    model = HookedTransformer(cfg, init_weights=False, device="cpu")
    generator = torch.Generator().manual_seed(seed)
    basis = random_rotation(recipe.d_model, generator)
    at = recipe.subspaces
    model.embed.W_E.copy_(basis[at["token"]])  # one-hot, turned: rows of the basis
    model.pos_embed.W_pos.copy_(basis[at["position"]])
    model.unembed.W_U.copy_(basis.T @ recipe.matrix(recipe.unembed))
    for layer, block in enumerate(model.blocks):
        for number in range(HEADS_PER_LAYER):
            head = recipe.heads.get(f"{layer}.{number}")
            weights = _idle_head(recipe, generator) if head is None else _written_head(recipe, head)
            _put(block.attn, number, weights, basis, generator)
    return model.to(device)


@dataclass(frozen=True, eq=False)
class _HeadWeights:
    """Before the stream and the head's inner space are turned."""

    W_Q: Float[Tensor, "d_model d_head"]
    W_K: Float[Tensor, "d_model d_head"]
    W_V: Float[Tensor, "d_model d_head"]
    W_O: Float[Tensor, "d_head d_model"]
    b_Q: Float[Tensor, " d_head"]


def _written_head(recipe: Recipe, head: WrittenHead) -> _HeadWeights:
    """Every term of the scores has inner dimensions of its own."""
    d_model, d_head = recipe.d_model, recipe.d_head
    W_Q, W_K, W_V = torch.zeros(3, d_model, d_head, dtype=torch.float64)
    W_O, b_Q = torch.zeros(d_head, d_model, dtype=torch.float64), torch.zeros(d_head)
    first = 0
    for term in head.attend:
        key = recipe.matrix(term.key)
        inner = slice(first, first + key.shape[1])
        W_K[:, inner] = key
        if term.query is None:
            b_Q[inner] = term.strength
        else:
            W_Q[:, inner] = term.strength * recipe.matrix(term.query)
        first = inner.stop
    value = recipe.matrix(head.value)
    W_V[:, : value.shape[1]] = value
    W_O[: value.shape[1], recipe.subspaces[head.into]] = torch.eye(value.shape[1]).double()
    return _HeadWeights(W_Q, W_K, W_V, W_O, b_Q.double())


def _idle_head(recipe: Recipe, generator: torch.Generator) -> _HeadWeights:
    """Reads everything, what other idle heads wrote as well, and writes into "idle" alone."""
    d_model, d_head = recipe.d_model, recipe.d_head

    def drawn(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    # The stream holds a few one-hot vectors. With entries of variance d_head ** -0.5 a score has a
    # standard deviation of about their number: the head looks somewhere, and is not saturated.
    W_Q, W_K = drawn(2, d_model, d_head) * d_head**-0.25
    W_V = drawn(d_model, d_head) * d_head**-0.5
    W_O = torch.zeros(d_head, d_model, dtype=torch.float64)
    W_O[:, recipe.subspaces["idle"]] = drawn(d_head, _IDLE_WIDTH) * _IDLE_WIDTH**-0.5
    return _HeadWeights(W_Q, W_K, W_V, W_O, torch.zeros(d_head).double())


def _put(
    attention: Attention,
    number: int,
    weights: _HeadWeights,
    basis: Float[Tensor, "d_model d_model"],
    generator: torch.Generator,
) -> None:
    """Write one head's weights into a layer, turned."""
    d_head = weights.W_Q.shape[1]
    inner_scores, inner_values = (random_rotation(d_head, generator) for _ in range(2))
    attention.W_Q[number] = basis.T @ weights.W_Q @ inner_scores
    attention.W_K[number] = basis.T @ weights.W_K @ inner_scores
    attention.W_V[number] = basis.T @ weights.W_V @ inner_values
    attention.W_O[number] = inner_values.T @ weights.W_O @ basis
    attention.b_Q[number] = weights.b_Q @ inner_scores
    attention.b_K[number] = 0
    attention.b_V[number] = 0


def random_rotation(n: int, generator: torch.Generator) -> Float[Tensor, "n n"]:
    """An orthogonal matrix (float64), uniform over all of them.

    The signs make the QR decomposition unique, and the result uniform (Mezzadri 2007, "How to
    generate random matrices from the classical compact groups").
    """
    q, r = torch.linalg.qr(torch.randn(n, n, dtype=torch.float64, generator=generator))
    turned: Tensor = q * r.diagonal().sign()
    return turned


def indicator(width: int, chosen: list[int] | range) -> Float[Tensor, "width 1"]:
    """Reads one number from one-hot coordinates: 1 if it is one of `chosen`, else 0."""
    found = torch.zeros(width, 1)
    found[list(chosen)] = 1
    return found


def only(width: int, chosen: list[int] | range) -> Float[Tensor, "width width"]:
    """Reads one-hot coordinates as they are for `chosen`, and nothing for all others."""
    return torch.diag(indicator(width, chosen)[:, 0])


def one_before(width: int) -> Float[Tensor, "width width"]:
    """Reads position i as position i - 1, and position 0 as none."""
    return torch.eye(width).roll(-1, dims=1).tril(-1)
