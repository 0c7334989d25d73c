"""Where every feature of a dictionary fires on a text, and how strongly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from ..array_files import load_arrays, save_arrays
from ..model.transformer import HookedTransformer
from .dictionary import Dictionary
from .spliced_loss import Place, at_once, model_batches
from .splicing import check_fits

_KIND = "the firings of a dictionary"


@dataclass(frozen=True, eq=False)
class Firings:
    """Every place at which a feature is above zero, sorted by feature.

    Example:
        >>> found = firings(model, dictionary, tokens)
        >>> places, values = found.of(12)
        >>> found.tokens.flat[places]  # the tokens that feature 12 fires on
    """

    tokens: Int[NDArray[np.int64], "sequence pos"]
    kept: Bool[NDArray[np.bool_], "sequence pos"]
    """False where a token does not count: BOS, padding."""
    starts: Int[NDArray[np.int64], "feature_plus_1"]
    """Where each feature's entries begin in `place` and `value`."""
    place: Int[NDArray[np.int64], "entry"]
    """sequence * n_pos + pos, rising for each feature."""
    value: Float[NDArray[np.float32], "entry"]
    """The feature there, in units of the scaled input."""

    @property
    def n_features(self) -> int:
        """Of the dictionary."""
        return len(self.starts) - 1

    @property
    def n_tokens(self) -> int:
        """Tokens that count."""
        return int(self.kept.sum())

    @property
    def n_fired(self) -> Int[NDArray[np.int64], "feature"]:
        """Places at which each feature fires."""
        return np.diff(self.starts)

    @property
    def density(self) -> Float[NDArray[np.float64], "feature"]:
        """Share of the tokens at which each feature fires."""
        return np.asarray(self.n_fired / max(self.n_tokens, 1))

    def of(
        self, feature: int
    ) -> tuple[Int[NDArray[np.int64], "entry"], Float[NDArray[np.float32], "entry"]]:
        """Places and values of one feature."""
        own = slice(self.starts[feature], self.starts[feature + 1])
        return self.place[own], self.value[own]

    def maximum(self) -> Float[NDArray[np.float64], "feature"]:
        """The largest value of each feature; 0 where it never fires."""
        return np.array([values.max(initial=0.0) for values in self._values()])

    def mean(self) -> Float[NDArray[np.float64], "feature"]:
        """The mean over the places at which it fires; 0 where it never does."""
        return np.array([values.mean() if len(values) else 0.0 for values in self._values()])

    def _values(self) -> list[NDArray[np.float32]]:
        return np.split(self.value, self.starts[1:-1])

    def save(self, path: str | Path) -> None:
        """Write one safetensors file."""
        names = ("tokens", "kept", "starts", "place", "value")
        save_arrays(path, _KIND, {name: getattr(self, name) for name in names}, {})

    @classmethod
    def load(cls, path: str | Path) -> Firings:
        """The inverse of `save`.

        Raises:
            ValueError: the file is missing or holds something else.
        """
        arrays, _ = load_arrays(path, _KIND)
        return cls(**arrays)


@torch.no_grad()
def firings(
    model: HookedTransformer,
    dictionary: Dictionary,
    tokens: Int[Tensor, "sequence pos"],
    *,
    skip_bos: bool = True,
    progress: Callable[[float], None] = lambda share: None,
) -> Firings:
    """Run a model on a text, and keep where each feature fires.

    What is kept is as long as the text times the features of a token: with 32 of them 400 bytes
    for each token.

    Args:
        model: that the dictionary belongs to.
        dictionary: of any kind.
        tokens: the text.
        skip_bos: BOS does not count.
        progress: told the share that is done.

    Raises:
        ValueError: an empty text, a hook that the model does not have, another width, values that
            are not finite.

    Example:
        >>> found = firings(model, dictionary, corpus.sequences(0, 200))
        >>> found.density.max()
    """
    check_fits(model, dictionary)
    if tokens.ndim != 2 or not tokens.numel():
        raise ValueError(
            f"the text is empty: tokens have the shape [sequence, pos], and these have "
            f"{tuple(tokens.shape)}."
        )
    place = Place.of(model, dictionary.cfg.hook)
    kept: list[Tensor] = []
    entries: list[tuple[Tensor, Tensor, Tensor]] = []
    done, n_pos = 0, tokens.shape[1]
    for batch in model_batches(model, tokens, place, at_once(model, tokens), skip_bos, progress):
        x = batch.x[batch.kept].to(dictionary.dtype)
        if not bool(torch.isfinite(x).all()):
            raise ValueError(
                f"{place.read} holds NaN or infinite values: features cannot be read from them. A "
                "model in float16 may overflow; load it in float32."
            )
        features = dictionary.encode(x)
        where = batch.kept.flatten().nonzero().squeeze(1) + done * n_pos
        row, feature = features.nonzero(as_tuple=True)
        entries.append((feature.cpu(), where[row].cpu(), features[row, feature].float().cpu()))
        kept.append(batch.kept.cpu())
        done += len(batch.kept)
    feature, entry_place, value = (torch.cat(one) for one in zip(*entries, strict=True))
    order = torch.argsort(feature, stable=True)
    counts = torch.bincount(feature, minlength=dictionary.cfg.d_features)
    return Firings(
        tokens=tokens.cpu().numpy(),
        kept=torch.cat(kept).numpy(),
        starts=np.concatenate([[0], counts.cumsum(0).numpy()]),
        place=entry_place[order].numpy(),
        value=value[order].numpy(),
    )
