"""Signs of undertrained tokens in the embedding and the unembedding (Land and Bartolo 2024).

A token that never occurs gets no gradient at the input: with weight decay its row of W_E shrinks.
At the output it is pushed down at every step, along a direction that all such tokens share: its
column of W_U points where those of other unused tokens point (section 2.2 there).

With e_i the row of W_E of token i, u_i its column of W_U, and R the known-unused tokens:

    E_in norm        |e_i|
    E_in distance    |e_i - mean over R of e|
    cosine           1 - cos(u_i, mean over R of u)
    ... without mean       the same of u_i - mean over all tokens of u
    ... without component  the same of u_i - (u_i . c) c, c the first principal component of u

Low is suspicious in all of them. For an unembedding of its own the paper takes the E_in norm; where
W_U is W_E transposed, the cosine without the component.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from ..array_files import Array, load_arrays, save_arrays
from ..model.transformer import HookedTransformer
from .undertrained_references import TokenKind, Unused, known_unused, token_kinds, token_texts

NORM, DISTANCE = "E_in norm", "E_in distance"
COSINE, NO_MEAN, NO_COMPONENT = "cosine", "cosine without mean", "cosine without component"
INDICATORS = (NORM, DISTANCE, COSINE, NO_MEAN, NO_COMPONENT)
_NEEDS_NO_REFERENCE = (NORM,)
_KIND = "token indicators"
_ROWS = 2**14  # rows held in double precision at a time
_LEAST_LENGTH = 1e-12  # of a vector that a cosine can be taken of


@dataclass(frozen=True, eq=False)
class Indicators:
    """Every indicator of every token of a model. Low is suspicious.

    Example:
        >>> found = indicators(model)  # doctest: +SKIP
        >>> found.suspects(3)  # doctest: +SKIP
        [511, 12, 90]
    """

    model: str
    """Its name."""
    values: dict[str, Float[Array, " d_vocab"]]
    """Indicator -> its value for each token."""
    unused: Unused
    """The tokens that were taken to be unused; their own values are lower than they deserve."""
    tied: bool
    """Whether W_U is W_E transposed."""
    kinds: tuple[TokenKind, ...]
    """What sort of token each is."""
    texts: tuple[str, ...]
    """The text of each token."""
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def chosen(self) -> str:
        """The indicator that the paper takes for a model of this kind."""
        return NO_COMPONENT if self.tied else NORM

    @cached_property
    def order(self) -> Int[NDArray[np.int64], " token"]:
        """All tokens, the most suspicious by the chosen indicator first."""
        return np.argsort(self.values[self.chosen], kind="stable")

    def suspects(self, n: int, kinds: Sequence[TokenKind] = ("text",)) -> list[int]:
        """The `n` most suspicious tokens of these kinds that are not known to be unused.

        Raises:
            ValueError: fewer than 1.
        """
        if n < 1:
            raise ValueError(f"n={n} is too few: at least 1 suspect.")
        known = set(self.unused.tokens)
        found = [
            int(token)
            for token in self.order
            if self.kinds[token] in kinds and int(token) not in known
        ]
        return found[:n]

    def to_frame(self) -> list[dict[str, Any]]:
        """One row for each token, the most suspicious first."""
        known = set(self.unused.tokens)
        return [
            {
                "token": int(token),
                "text": self.texts[token],
                "kind": self.kinds[token],
                "known unused": int(token) in known,
                **{name: float(values[token]) for name, values in self.values.items()},
            }
            for token in self.order
        ]

    def save(self, path: str | Path) -> None:
        """Write them to one safetensors file."""
        described = {
            "model": self.model,
            "unused": [list(self.unused.tokens), list(self.unused.reasons)],
            "tied": self.tied,
            "kinds": list(self.kinds),
            "texts": list(self.texts),
            "settings": self.settings,
        }
        save_arrays(path, _KIND, self.values, described)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The inverse of `save`.

        Raises:
            ValueError: the file is not there, or holds something else.
        """
        values, described = load_arrays(path, _KIND)
        tokens, reasons = map(tuple, described.pop("unused"))
        described |= {name: tuple(described[name]) for name in ("kinds", "texts")}
        values = {name: values[name] for name in INDICATORS}
        return cls(values=values, unused=Unused(tokens, reasons), **described)


def indicators(
    model: HookedTransformer, unused: Sequence[int] | None = None, tied: bool | None = None
) -> Indicators:
    """Every indicator of Land and Bartolo (2024, section 2.2) for every token.

    Read them from the weights as they were trained: `from_pretrained_no_processing`. The usual
    processing folds the final norm into W_U and unties it, which moves the cosines and the choice.

    Args:
        model: its W_E and W_U are read.
        unused: tokens that are known to be unused; None takes those of `known_unused`.
        tied: whether W_U is W_E transposed; None takes the configuration's word.

    Raises:
        ValueError: no unused token is known, one is not in the vocabulary, or weights are not
            finite.

    Example:
        >>> model = ca.HookedTransformer.from_pretrained_no_processing("glitch-mini")
        >>> found = indicators(model)
        >>> [found.texts[token] for token in found.suspects(3)]  # doctest: +SKIP
    """
    reference = known_unused(model, unused)
    table = IndicatorTable.of(model)
    values: dict[str, Array] = {
        name: table.against(name, np.array(reference.tokens)) for name in INDICATORS
    }
    return Indicators(
        model=model.cfg.model_name,
        values=values,
        unused=reference,
        tied=model.cfg.tie_word_embeddings if tied is None else tied,
        kinds=token_kinds(model),
        texts=token_texts(model),
        settings={"digest": model.digest},
    )


@dataclass(frozen=True, eq=False)
class IndicatorTable:
    """The rows that indicators are made of, ready for any set of known-unused tokens."""

    embedding: Float[Tensor, "d_vocab d_model"]
    """W_E."""
    unembedding: Float[Tensor, "d_vocab d_model"]
    """W_U transposed."""
    mean: Float[Tensor, " d_model"]
    """Of the unembedding, over all tokens."""
    component: Float[Tensor, " d_model"]
    """The first principal component of the unembedding: of length 1."""

    @classmethod
    @torch.no_grad()
    def of(cls, model: HookedTransformer) -> Self:
        """The table of a model.

        Raises:
            ValueError: weights that are not finite.
        """
        W_E, W_U = model.W_E.detach(), model.W_U.detach().T
        for name, weight in (("W_E", W_E), ("W_U", W_U)):
            if not torch.isfinite(weight).all():
                raise ValueError(
                    f"{name} of {model.cfg.model_name} holds numbers that are not finite: no "
                    "indicator can be read from it."
                )
        mean = W_U.mean(0, dtype=torch.float64)
        spread = torch.zeros(W_U.shape[1], W_U.shape[1], dtype=torch.float64, device=W_U.device)
        for rows in W_U.split(_ROWS):
            centred = rows.double() - mean
            spread += centred.T @ centred
        component = torch.linalg.eigh(spread)[1][:, -1]  # eigenvalues grow
        return cls(W_E, W_U, mean, component)

    @torch.no_grad()
    def against(
        self, name: str, reference: Int[NDArray[np.integer], " reference"]
    ) -> Float[Array, " d_vocab"]:
        """One indicator of every token, against these known-unused tokens.

        Raises:
            ValueError: an unknown indicator, or an empty reference.
        """
        if name not in INDICATORS:
            raise ValueError(f"{name!r} is no indicator; there are {', '.join(INDICATORS)}.")
        if not len(reference):
            raise ValueError("there is no known-unused token to hold others against.")
        target = self._chosen(name, reference).mean(0)
        found = [self._compare(name, rows, target) for rows in self._rows(name)]
        return torch.cat(found).cpu().numpy()

    @torch.no_grad()
    def left_out(
        self, name: str, reference: Int[NDArray[np.integer], " reference"]
    ) -> Float[Array, " reference"]:
        """The indicator of each of these tokens against the others of them.

        Raises:
            ValueError: an unknown indicator, or fewer than 2 tokens.
        """
        n = len(reference)
        if n < 2:
            raise ValueError(f"{n} known-unused tokens are too few to leave one out: at least 2.")
        rows = self._chosen(name, reference)
        others = (rows.sum(0) - rows) / (n - 1)  # [reference, d_model]
        return self._compare(name, rows, others).cpu().numpy()

    def _chosen(self, name: str, reference: NDArray[np.integer]) -> Tensor:
        index = torch.as_tensor(np.asarray(reference, dtype=np.int64), device=self.mean.device)
        matrix = self.embedding if name in (NORM, DISTANCE) else self.unembedding
        return self._prepared(name, matrix[index])

    def _rows(self, name: str) -> Iterator[Tensor]:
        matrix = self.embedding if name in (NORM, DISTANCE) else self.unembedding
        for rows in matrix.split(_ROWS):
            yield self._prepared(name, rows)

    def _prepared(self, name: str, rows: Tensor) -> Tensor:
        rows = rows.double()
        if name == NO_MEAN:
            return rows - self.mean
        if name == NO_COMPONENT:
            return rows - (rows @ self.component)[:, None] * self.component
        return rows

    def _compare(self, name: str, rows: Tensor, target: Tensor) -> Tensor:
        """[row], against one target or one for each; a vector without length is at right angles
        to all others."""
        if name in (NORM, DISTANCE):
            found: Tensor = torch.linalg.vector_norm(rows - target * (name == DISTANCE), dim=1)
            return found
        lengths = torch.linalg.vector_norm(rows, dim=-1) * torch.linalg.vector_norm(target, dim=-1)
        cosines: Tensor = (rows * target).sum(-1) / lengths.clamp(min=_LEAST_LENGTH)
        return 1 - cosines
