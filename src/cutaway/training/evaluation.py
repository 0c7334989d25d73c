"""The loss on held-out data with its interval, and what simpler predictors reach on the same."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ..evidence import Interval, bootstrap_mean, proportion
from ..model.attention_context import attention_context
from ..model.transformer import HookedTransformer
from .source import Source

_TOKENS_AT_A_TIME = 2**15


@dataclass(frozen=True)
class HeldOut:
    """What a model makes of held-out sequences."""

    loss: Interval
    """Mean over sequences of the mean loss of their tokens, in nats."""
    accuracy: Interval | None = None
    """Of the tokens that can be known: how often the likeliest one is right."""
    known_loss: Interval | None = None
    """Of the same: their loss, mean over sequences."""


def next_token_logits(
    model: HookedTransformer, rows: Int[Tensor, "batch pos"]
) -> Float[Tensor, "batch pos d_vocab"]:
    """`model(rows)` for whole sequences without padding, whose tokens are known to be valid.

    Nothing in it waits for the device, as the checks of the model's input do, and torch.compile
    can read it in one piece.
    """
    query = torch.arange(rows.shape[1], device=rows.device)[None]
    context = attention_context(model.cfg, query, rows.shape[1], None, model.dtype, plain=True)
    logits: Tensor = model(model.embedding(rows, context), start_at_layer=0)
    return logits


class NextTokenLoss(nn.Module):
    """Mean loss of the next token in nats: what is trained.

    Args:
        model: the one to train.
        number_format: "bfloat16" rounds the inputs of matrix products (autocast).
    """

    def __init__(self, model: HookedTransformer, number_format: str = "float32") -> None:
        super().__init__()
        self.model = model
        self.rounded = number_format == "bfloat16"

    def forward(self, rows: Int[Tensor, "batch pos"]) -> Float[Tensor, ""]:
        """Rows as `Source` describes them."""
        device = rows.device.type
        with torch.autocast(device, torch.bfloat16, enabled=self.rounded):
            if rows.shape[1] <= self.model.cfg.n_ctx:
                loss: Tensor = self.model(rows, return_type="loss")
                return loss
            logits = next_token_logits(self.model, rows[:, :-1])
        return F.cross_entropy(logits.flatten(0, 1).float(), rows[:, 1:].flatten())


@torch.no_grad()
def held_out_loss(
    model: HookedTransformer, source: Source, n_sequences: int | None = None, seed: int = 0
) -> HeldOut:
    """The loss on held-out sequences, the same ones every time.

    Args:
        model: in whatever state.
        source: gives the sequences, evenly spread over all that are held out.
        n_sequences: at most so many; None takes all.
        seed: of the interval's resamples.

    Example:
        >>> held_out_loss(model, source).loss  # doctest: +SKIP
        1.884 [1.867, 1.902] (95%, n=1742)
    """
    n_all = len(source.held_out)
    n_sequences = n_all if n_sequences is None else min(n_sequences, n_all)
    chosen = torch.linspace(0, n_all - 1, n_sequences).round().long()
    rows = source.held_out[chosen]
    known = None if source.known is None else source.known[chosen, 1:]
    losses, right = _per_token(model, rows)
    loss = bootstrap_mean(losses.mean(1).numpy(), seed=seed)
    if known is None:
        return HeldOut(loss)
    has_any = known.any(1)
    per_sequence = (losses * known).sum(1)[has_any] / known.sum(1)[has_any]
    return HeldOut(
        loss,
        proportion(int(right[known].sum()), int(known.sum())),
        bootstrap_mean(per_sequence.numpy(), seed=seed),
    )


def _per_token(
    model: HookedTransformer, rows: Int[Tensor, "n pos"]
) -> tuple[Float[Tensor, "n predicted"], Bool[Tensor, "n predicted"]]:
    """The loss of each token but the first, and whether the likeliest one was right."""
    losses, right = [], []
    for part in rows.split(max(1, _TOKENS_AT_A_TIME // rows.shape[1])):
        part = part.to(model.device)
        logits = next_token_logits(model, part[:, :-1]).float()
        targets = part[:, 1:]
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
        losses.append(loss.view(targets.shape).double().cpu())
        right.append((logits.argmax(-1) == targets).cpu())
    return torch.cat(losses), torch.cat(right)


def counting_losses(source: Source, d_vocab: int, n_rows: int = 4096) -> dict[str, Interval]:
    """What counting reaches on the same held-out sequences: the controls of a loss.

    "unigram" says how often each token occurs, "bigram" how often after the one before; counts are
    taken from `n_rows` training sequences, and each pair counts a bit of the unigram as well, so
    that nothing has the probability 0.

    Args:
        source: both kinds of sequences.
        d_vocab: size of the vocabulary.
        n_rows: training sequences that are counted.
    """
    rows = source.rows(0, n_rows).numpy()
    held_out = source.held_out.numpy()
    pairs = np.zeros((d_vocab, d_vocab))
    np.add.at(pairs, (rows[:, :-1].ravel(), rows[:, 1:].ravel()), 1.0)
    single = pairs.sum(0) + 1.0
    single /= single.sum()
    after = (pairs + single) / (pairs.sum(1, keepdims=True) + 1.0)  # [before, token]
    losses = {
        "unigram": -np.log(single)[held_out[:, 1:]],
        "bigram": -np.log(after)[held_out[:, :-1], held_out[:, 1:]],
    }
    return {name: bootstrap_mean(loss.mean(1)) for name, loss in losses.items()}
