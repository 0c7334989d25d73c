"""The direct path held against a text's real bigrams: `compare_bigrams`.

For each token t and each predictor q(. | t), three numbers, all means over the places of held-out
text: the loss -log q(next | t); KL(p(. | t) || q(. | t)) from the bigrams p that were counted; and
Spearman's correlation of p(. | t) and q(. | t) over the tokens that the counted text has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from .. import plotting
from ..array_files import load_arrays, save_arrays
from ..evidence import Interval, bootstrap_mean, ranks
from ..model.parts import at_least_float32
from ..model.transformer import HookedTransformer
from .direct_path import Start, direct_logits, starts_of
from .ngrams import NGrams, fit_ngrams
from .vectors import Floats, Integers, rows_at_a_time

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MEASURES = ("loss", "kl", "rank")
UNIGRAM, BIGRAM, MODEL, FRESH = "unigrams", "bigrams", "whole model", "fresh weights"
SCALES = (0.0, *np.geomspace(0.01, 4, 27).tolist())
"""What the direct path's logits are multiplied by, to see whether size alone is wrong."""
_KIND = "a comparison with bigrams"
_UNITS = {"loss": "loss, nats", "kl": "KL from the bigrams, nats", "rank": "rank correlation"}
_SEQUENCES = 16  # of the whole model, at a time

LogRows = Callable[[Int[Tensor, " row"]], Float[Tensor, "row d_vocab"]]
"""Tokens -> log q(. | token)."""


@dataclass(frozen=True)
class BigramComparison:
    """Predictors of the next token beside the counted bigrams, sequence by sequence.

    Example:
        >>> found = compare_bigrams(model, held_out, counted)
        >>> found.interval("embedding").estimate, found.interval("bigrams").estimate
        (6.4, 3.8)
    """

    model: str
    """The model's name."""
    predictors: tuple[str, ...]
    """"unigrams" and "bigrams" (counted); of each starting point its name (as it is), "NAME, best
    scale", and the controls "NAME, rows exchanged" and "NAME, columns exchanged" at that scale;
    "fresh weights" (the embedding's path in an untrained model); "whole model"."""
    loss: Float[Floats, "predictor sequence"]
    """-log q(next), a mean over the places of each held-out sequence, in nats."""
    kl: Float[Floats, "predictor sequence"]
    """KL(bigrams || predictor) at the same places, in nats."""
    rank: Float[Floats, "predictor sequence"]
    """Spearman's correlation with the bigrams over the tokens that occur; 0 of constant rows."""
    scale: dict[str, float]
    """Starting point -> what its logits are multiplied by for the least loss on the counted text;
    0 means that the path is better left out."""
    n_counted: int
    """Tokens of the counted text."""
    n_successors: int
    """Different tokens in it: what correlations go over."""

    def values(self, measure: str) -> Float[Floats, "predictor sequence"]:
        """One of `MEASURES`.

        Raises:
            ValueError: an unknown measure.
        """
        if measure not in MEASURES:
            known = ", ".join(map(repr, MEASURES))
            raise ValueError(f"measure={measure!r} is unknown; it can be {known}.")
        found: Floats = getattr(self, measure)
        return found

    def interval(self, predictor: str, measure: str = "loss", seed: int = 0) -> Interval:
        """The mean over sequences with its bootstrap interval.

        Raises:
            ValueError: an unknown predictor or measure.
        """
        return bootstrap_mean(self._row(predictor, measure), seed)

    def difference(
        self, predictor: str, other: str = UNIGRAM, measure: str = "loss", seed: int = 0
    ) -> Interval:
        """The mean over sequences of one predictor less another, in pairs.

        Raises:
            ValueError: an unknown predictor or measure.
        """
        return bootstrap_mean(self._row(predictor, measure) - self._row(other, measure), seed)

    def _row(self, predictor: str, measure: str) -> Float[Floats, " sequence"]:
        if predictor not in self.predictors:
            known = ", ".join(map(repr, self.predictors))
            raise ValueError(f"there is no predictor {predictor!r} here; there are {known}.")
        found: Floats = self.values(measure)[self.predictors.index(predictor)]
        return found

    def to_frame(self) -> list[dict[str, Any]]:
        """One row (a dict) for each predictor: each measure's mean and the ends of its interval."""
        rows = []
        for name in self.predictors:
            row: dict[str, Any] = {"predictor": name}
            for measure in MEASURES:
                found = self.interval(name, measure)
                row |= {measure: found.estimate}
                row |= {f"{measure}_low": found.low, f"{measure}_high": found.high}
            rows.append(row)
        return rows

    def plot(self, measure: str = "loss") -> Figure:
        """Bars of one measure; controls are grey."""
        found = [self.interval(name, measure) for name in self.predictors]
        return plotting.bars(
            self.predictors,
            [one.estimate for one in found],
            f"{self.model}: predictors of the next token",
            low=[one.low for one in found],
            high=[one.high for one in found],
            value_label=_UNITS[measure],
            muted=[name == FRESH or name.endswith("exchanged") for name in self.predictors],
        )

    def save(self, path: str | Path) -> None:
        """Write one safetensors file: the arrays, and the rest as JSON in its header."""
        plain = ("model", "predictors", "scale", "n_counted", "n_successors")
        save_arrays(
            path,
            _KIND,
            {name: getattr(self, name) for name in MEASURES},
            {name: getattr(self, name) for name in plain},
        )

    @classmethod
    def load(cls, path: str | Path) -> BigramComparison:
        """The inverse of `save`.

        Raises:
            ValueError: the file is missing, is a folder, or is not one that `save` wrote.
        """
        arrays, described = load_arrays(path, _KIND)
        described["predictors"] = tuple(described["predictors"])
        return cls(**described, **{name: arrays[name] for name in MEASURES})


@torch.no_grad()
def compare_bigrams(
    model: HookedTransformer,
    held_out: Int[Tensor, "sequence pos"],
    counted: Int[Tensor, "*text token"],
    *,
    starts: Sequence[Start] | None = None,
    position: int | None = None,
    seed: int = 0,
) -> BigramComparison:
    """The direct path, counted unigrams and bigrams, and the whole model on held-out text.

    The direct path is read as the model would read it (`direct_logits`), and once more with its
    logits multiplied by the one number that fits the counted text best: a path that was never
    meant to be read alone can be right in order and wrong in size.

    **Controls.** "rows exchanged": each token gets another token's row, which keeps what the path
    says of all tokens alike (their frequency) and loses what it says of this one. "columns
    exchanged": W_U's columns in another order, which loses both. "fresh weights": the same path of
    an untrained model.

    Args:
        model: read, not changed.
        held_out: sequences that were not counted, without padding.
        counted: text of the model's training, as one row or as sequences. Sequences are laid end to
            end, so that one bigram in each is of two texts.
        starts: where the direct path starts; None takes all that the model has.
        position: the row of W_pos that is added at the start; None adds none.
        seed: of the exchanges and of the fresh weights.

    Raises:
        ValueError: tokens that the model does not have, sequences of fewer than two tokens, a
            starting point that the model lacks.

    Example:
        >>> corpus = ioi_corpus.Corpus(seed=1)
        >>> compare_bigrams(model, corpus.sequences(0, 100), corpus.sequences(1000, 2000))
    """
    if held_out.ndim != 2 or held_out.shape[1] < 2 or not len(held_out):
        raise ValueError(
            f"held_out has the shape {tuple(held_out.shape)}: it must be [sequence, pos] with at "
            "least two positions."
        )
    chosen = starts_of(model) if starts is None else tuple(starts)
    text = counted.reshape(-1).cpu().numpy()
    grams = fit_ngrams(text, model.cfg.d_vocab, order=2)
    seen = np.unique(text)
    held_out = held_out.to(model.device)
    contexts, index = torch.unique(held_out[:, :-1], return_inverse=True)
    tables, scale = _tables(model, contexts, chosen, position, grams, text, seed)
    measured = _Measured(len(tables) + 1, held_out, grams, seen)
    for rows in _blocks(len(contexts), model.cfg.d_vocab):
        places = (index >= rows.start) & (index < rows.stop)  # [sequence, pos_less_1]
        which = index[places] - rows.start
        for number, log_rows in enumerate(tables.values()):
            logs = log_rows(contexts[rows])
            measured.of_tables(number, places, which, logs, contexts[rows])
    for at in range(0, len(held_out), _SEQUENCES):
        logs = at_least_float32(model(held_out[at : at + _SEQUENCES, :])).log_softmax(-1)
        measured.of_model(slice(at, at + _SEQUENCES), logs[:, :-1])
    loss, kl, rank = (values.mean(-1) for values in measured.found)
    return BigramComparison(
        model=model.cfg.model_name,
        predictors=(*tables, MODEL),
        loss=loss,
        kl=kl,
        rank=rank,
        scale=scale,
        n_counted=len(text),
        n_successors=len(seen),
    )


def _blocks(n_rows: int, d_vocab: int) -> Iterator[slice]:
    step = rows_at_a_time(d_vocab)
    for at in range(0, n_rows, step):
        yield slice(at, min(at + step, n_rows))


def _counted_rows(
    grams: NGrams, order: int, tokens: Int[Tensor, " row"]
) -> Float[Tensor, "row d_vocab"]:
    logs = grams.log_probabilities(tokens.cpu().numpy()[:, None], order)[:, 0]
    return torch.from_numpy(logs).to(tokens.device)


def _tables(
    model: HookedTransformer,
    contexts: Int[Tensor, " row"],
    starts: tuple[Start, ...],
    position: int | None,
    grams: NGrams,
    text: Integers,
    seed: int,
) -> tuple[dict[str, LogRows], dict[str, float]]:
    """Every predictor that looks at one token only, and the best scale of each start."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(contexts), generator=generator).to(contexts.device)
    other = torch.arange(model.cfg.d_vocab, device=contexts.device)
    other[contexts[order]] = contexts[order.roll(1)]  # a cycle over the tokens that are read
    columns = torch.randperm(model.cfg.d_vocab, generator=generator).to(contexts.device)

    def logits(start: Start, one: HookedTransformer = model) -> LogRows:
        return lambda tokens: direct_logits(one, tokens, start, position)

    def scaled(rows: LogRows, scale: float = 1.0) -> LogRows:
        return lambda tokens: (rows(tokens).double() * scale).log_softmax(-1)

    def rows_exchanged(rows: LogRows) -> LogRows:
        return lambda tokens: rows(other[tokens])

    def columns_exchanged(rows: LogRows) -> LogRows:
        return lambda tokens: rows(tokens)[:, columns]

    tables: dict[str, LogRows] = {
        UNIGRAM: lambda tokens: _counted_rows(grams, 1, tokens),
        BIGRAM: lambda tokens: _counted_rows(grams, 2, tokens),
    }
    scales: dict[str, float] = {}
    for start in starts:
        rows = logits(start)
        best = scales[start] = _best_scale(rows, text, model)
        tables[start] = scaled(rows)
        tables[f"{start}, best scale"] = scaled(rows, best)
        tables[f"{start}, rows exchanged"] = scaled(rows_exchanged(rows), best)
        tables[f"{start}, columns exchanged"] = scaled(columns_exchanged(rows), best)
    tables[FRESH] = scaled(logits("embedding", model.fresh(seed)))
    return tables, scales


def _best_scale(rows: LogRows, text: Integers, model: HookedTransformer) -> float:
    """Which of `SCALES` has the least loss on the counted text's bigrams."""
    pairs, counts = np.unique(text[:-1] * model.cfg.d_vocab + text[1:], return_counts=True)
    first, second = (torch.from_numpy(p).to(model.device) for p in divmod(pairs, model.cfg.d_vocab))
    weights = torch.from_numpy(counts).to(model.device).double()
    contexts, index = torch.unique(first, return_inverse=True)
    losses = torch.zeros(len(SCALES), dtype=torch.float64, device=model.device)
    for block in _blocks(len(contexts), model.cfg.d_vocab):
        here = (index >= block.start) & (index < block.stop)
        which, following, weight = index[here] - block.start, second[here], weights[here]
        logits = rows(contexts[block]).double()
        own = logits[which, following]
        for number, scale in enumerate(SCALES):
            logs = own * scale - (logits * scale).logsumexp(-1)[which]
            losses[number] -= (weight * logs).sum()
    return float(SCALES[int(losses.argmin())])


class _Measured:
    """The three measures at every place, [measure][predictor, sequence, pos_less_1]."""

    def __init__(
        self,
        n_predictors: int,
        held_out: Int[Tensor, "sequence pos"],
        grams: NGrams,
        seen: Integers,
    ) -> None:
        self.held_out, self.grams, self.seen = held_out, grams, seen
        shape = (n_predictors, len(held_out), held_out.shape[1] - 1)
        self.found = tuple(np.full(shape, np.nan) for _ in MEASURES)
        self._bigrams: tuple[bytes, Tensor, Floats] | None = None

    def of_tables(
        self,
        number: int,
        places: Tensor,
        which: Int[Tensor, " place"],
        logs: Float[Tensor, "row d_vocab"],
        tokens: Int[Tensor, " row"],
    ) -> None:
        """What a table says at all places (True in `places`) of the tokens of some rows."""
        bigrams, bigram_ranks = self._of_bigrams(tokens)
        kl, rank = self._against(logs.double(), bigrams, bigram_ranks)
        where = places.cpu().numpy()
        loss = -logs[which, self.held_out[:, 1:][places]]
        rows = which.cpu().numpy()
        measured = (loss.cpu().numpy(), kl[rows], rank[rows])
        for values, found in zip(self.found, measured, strict=True):
            values[number][where] = found

    def of_model(self, sequences: slice, logs: Float[Tensor, "sequence pos d_vocab"]) -> None:
        """What the whole model says in some sequences."""
        tokens = self.held_out[sequences]
        loss = -logs.gather(-1, tokens[:, 1:, None])[..., 0]
        self.found[0][-1, sequences] = loss.cpu().numpy()
        for within, row in enumerate(logs):  # one sequence's places at a time
            bigrams, bigram_ranks = self._of_bigrams(tokens[within, :-1])
            kl, rank = self._against(row.double(), bigrams, bigram_ranks)
            at = sequences.start + within
            self.found[1][-1, at], self.found[2][-1, at] = kl, rank

    def _of_bigrams(self, tokens: Int[Tensor, " row"]) -> tuple[Tensor, Floats]:
        """Their log-probabilities and ranks; of the last tokens asked for they are kept."""
        key = tokens.cpu().numpy().tobytes()
        if self._bigrams is None or self._bigrams[0] != key:
            logs = _counted_rows(self.grams, 2, tokens)
            self._bigrams = (key, logs, _standard_ranks(logs[:, self.seen]))
        return self._bigrams[1:]

    def _against(
        self, logs: Float[Tensor, "row d_vocab"], bigrams: Tensor, bigram_ranks: Floats
    ) -> tuple[Floats, Floats]:
        kl = (bigrams.exp() * (bigrams - logs)).sum(-1).cpu().numpy()
        rank = (_standard_ranks(logs[:, self.seen]) * bigram_ranks).sum(-1)
        return kl, np.asarray(rank)


def _standard_ranks(values: Float[Tensor, "row seen"]) -> Floats:
    """Ranks along each row, centred and of length 1, so that products are correlations."""
    found = ranks(values.cpu().numpy())
    found = found - found.mean(-1, keepdims=True)
    lengths = np.linalg.norm(found, axis=-1, keepdims=True)
    return np.asarray(found / np.where(lengths > 0, lengths, 1.0))
