"""From logits to the distribution that the next token is drawn from.

`Sampling` holds the options; its `distribution` is a pure function of the logits and of the tokens
so far, so that one can look at it before anything is drawn. It applies, in this order (that of
`transformers`): repetition penalty, frequency penalty, n-gram block, temperature, top-k, top-p,
min-p. Each is a function of its own, from logits to logits; a token that cannot come has -inf.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen.

    Example:
        >>> sampling = Sampling(temperature=0.7, top_p=0.9)
        >>> sampling.distribution(torch.tensor([[2.0, 1.0, -1.0]]))
        tensor([[0.8067, 0.1933, 0.0000]])
    """

    temperature: float = 1.0
    """The logits are divided by it; 0 puts everything on the likeliest token."""
    top_k: int | None = None
    """Only the likeliest so many tokens; None keeps all."""
    top_p: float | None = None
    """Only the likeliest tokens that together have this probability; None keeps all."""
    min_p: float | None = None
    """Only tokens at least this many times as likely as the likeliest; None keeps all."""
    freq_penalty: float = 0.0
    """Subtracted from a token's logit for each time that it stands in the text so far."""
    repetition_penalty: float = 1.0
    """Divides the positive and multiplies the negative logits of tokens in the text so far."""
    no_repeat_ngram_size: int = 0
    """No so many tokens in a row come twice; 0 is off."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise ValueError(
                f"temperature={self.temperature} is negative or not finite; 0 is greedy."
            )
        if self.top_k is not None and not (self.top_k >= 1 and float(self.top_k).is_integer()):
            raise ValueError(
                f"top_k={self.top_k} leaves no token to draw or is no whole number; "
                "None draws from all."
            )
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ValueError(
                f"top_p={self.top_p} is no probability above 0; None keeps all tokens."
            )
        if self.min_p is not None and not 0 <= self.min_p <= 1:
            raise ValueError(
                f"min_p={self.min_p} is not between 0 and 1: it is a share of the likeliest "
                "token's probability; None keeps all tokens."
            )
        if not math.isfinite(self.freq_penalty):
            raise ValueError(f"freq_penalty={self.freq_penalty} is not finite; 0 is none.")
        if not 0 < self.repetition_penalty < math.inf:
            raise ValueError(
                f"repetition_penalty={self.repetition_penalty} is not positive and finite; "
                "1 is none, above 1 repeats less."
            )
        size = self.no_repeat_ngram_size
        if not (size >= 0 and float(size).is_integer()):
            raise ValueError(
                f"no_repeat_ngram_size={size} is not a number of tokens; 0 lets anything repeat."
            )

    @property
    def needs_tokens(self) -> bool:
        """Whether the text so far matters."""
        return bool(
            self.freq_penalty != 0 or self.repetition_penalty != 1 or self.no_repeat_ngram_size
        )

    def penalised(
        self,
        logits: Float[Tensor, "batch d_vocab"],
        tokens: Int[Tensor, "batch pos"] | None = None,
        real: Bool[Tensor, "batch pos"] | None = None,
    ) -> Float[Tensor, "batch d_vocab"]:
        """The logits after penalties and n-gram block, which is all that greedy choice and beam
        search use; a row can end up with -inf everywhere.

        Args:
            logits: of the next token.
            tokens: the text so far, prompt included; needed where a penalty or block is set.
            real: False at padding, which counts as nothing; None where there is none.

        Raises:
            ValueError: a penalty or block without tokens.
        """
        logits = logits.float()
        if not self.needs_tokens:
            return logits
        if tokens is None:
            raise ValueError("penalties and the n-gram block need tokens=, the text so far.")
        if self.freq_penalty != 0 or self.repetition_penalty != 1:
            counts = token_counts(tokens, logits.shape[-1], real)
            logits = penalise_repetition(logits, counts, self.repetition_penalty)
            logits = penalise_frequency(logits, counts, self.freq_penalty)
        if self.no_repeat_ngram_size:
            logits = block_ngrams(logits, tokens, self.no_repeat_ngram_size, real)
        return logits

    def distribution(
        self,
        logits: Float[Tensor, "batch d_vocab"],
        tokens: Int[Tensor, "batch pos"] | None = None,
        real: Bool[Tensor, "batch pos"] | None = None,
    ) -> Float[Tensor, "batch d_vocab"]:
        """The probability of every token to be drawn next; arguments as of `penalised`.

        Raises:
            ValueError: a penalty or block without tokens, or a block that leaves no token.
        """
        logits = self._some_left(self.penalised(logits, tokens, real), tokens)
        if self.temperature == 0:
            likeliest = logits.argmax(-1, keepdim=True)
            return torch.zeros_like(logits).scatter(-1, likeliest, 1.0)
        if self.temperature != 1:
            logits = logits / self.temperature
        if self.top_k is not None:
            logits = keep_top_k(logits, self.top_k)
        if self.top_p is not None and self.top_p < 1:
            logits = keep_top_p(logits, self.top_p)
        if self.min_p is not None:
            logits = keep_min_p(logits, self.min_p)
        return logits.softmax(-1)

    def choose(
        self,
        logits: Float[Tensor, "batch d_vocab"],
        tokens: Int[Tensor, "batch pos"] | None = None,
        real: Bool[Tensor, "batch pos"] | None = None,
        generator: torch.Generator | None = None,
    ) -> Int[Tensor, " batch"]:
        """The next token of each row: the likeliest at temperature 0, otherwise drawn."""
        if self.temperature == 0:
            return self._some_left(self.penalised(logits, tokens, real), tokens).argmax(-1)
        return draw(self.distribution(logits, tokens, real), generator)

    def _some_left(self, logits: Tensor, tokens: Tensor | None) -> Tensor:
        """The logits; raises ValueError if the n-gram block has left a row no token."""
        size = self.no_repeat_ngram_size
        if not size or tokens is None or tokens.shape[1] - size + 1 < logits.shape[-1]:
            return logits  # fewer n-grams than tokens: some token is left
        if bool(logits.isinf().all(-1).any()):
            raise ValueError(
                f"no_repeat_ngram_size={size} leaves no token after {tokens.shape[1]} tokens: each "
                f"of the {logits.shape[-1]} in the vocabulary would repeat something; take a "
                "larger size or fewer new tokens."
            )
        return logits


def draw(
    probabilities: Float[Tensor, "batch d_vocab"], generator: torch.Generator | None = None
) -> Int[Tensor, " batch"]:
    """One draw for each row, made where the generator lives; None is torch's global generator.

    Raises:
        ValueError: probabilities that are NaN, as those of NaN logits are.
    """
    device = probabilities.device if generator is None else generator.device
    try:
        drawn = torch.multinomial(probabilities.to(device), 1, generator=generator)
    except RuntimeError as error:
        if bool(probabilities.isfinite().all()):
            raise
        raise ValueError(
            "there is nothing to draw from: the probabilities are NaN, so the model's logits are "
            "not finite; look at its weights, or use a number format with a wider range."
        ) from error
    return drawn[:, 0].to(probabilities.device)


def token_counts(
    tokens: Int[Tensor, "batch pos"],
    d_vocab: int,
    real: Bool[Tensor, "batch pos"] | None = None,
) -> Float[Tensor, "batch d_vocab"]:
    """How often each token of the vocabulary stands in each row; padding is not counted."""
    one = torch.ones_like(tokens, dtype=torch.float32) if real is None else real.float()
    return one.new_zeros(len(tokens), d_vocab).scatter_add_(1, tokens, one)


def penalise_repetition(
    logits: Float[Tensor, "batch d_vocab"], counts: Float[Tensor, "batch d_vocab"], penalty: float
) -> Float[Tensor, "batch d_vocab"]:
    """Logits of tokens that have occurred, divided by `penalty` if positive, else multiplied by it.

    Keskar et al. (2019, section 4.1) divide only; multiplying the negative ones, as `transformers`
    does, keeps a penalty from helping them. It depends on where the logits have their zero, which
    the softmax does not know: the same model with its unembedding centred is penalised otherwise.
    """
    if penalty == 1:
        return logits
    weaker = torch.where(logits < 0, logits * penalty, logits / penalty)
    return torch.where(counts > 0, weaker, logits)


def penalise_frequency(
    logits: Float[Tensor, "batch d_vocab"], counts: Float[Tensor, "batch d_vocab"], penalty: float
) -> Float[Tensor, "batch d_vocab"]:
    """logits - penalty x count (OpenAI's frequency penalty; a negative one rewards)."""
    return logits if penalty == 0 else logits - penalty * counts


def block_ngrams(
    logits: Float[Tensor, "batch d_vocab"],
    tokens: Int[Tensor, "batch pos"],
    size: int,
    real: Bool[Tensor, "batch pos"] | None = None,
) -> Float[Tensor, "batch d_vocab"]:
    """-inf for each token that would complete `size` tokens in a row that stand there already."""
    n_pos, size = tokens.shape[1], int(size)
    if n_pos < size:
        return logits
    grams = tokens.unfold(1, size, 1)  # [batch, start, size]
    begun = tokens[:, n_pos - size + 1 :]  # what the next token would complete
    again = (grams[..., :-1] == begun[:, None]).all(-1)  # [batch, start]
    if real is not None:
        again = again & real[:, : again.shape[1]]  # padding is on the left: the first one tells
    last = grams[..., -1]
    blocked = token_counts(last, logits.shape[-1], again) > 0
    return logits.masked_fill(blocked, -torch.inf)


def keep_top_k(
    logits: Float[Tensor, "batch d_vocab"], top_k: int
) -> Float[Tensor, "batch d_vocab"]:
    """-inf for all but the likeliest `top_k` tokens (and those as likely as the last of them).

    Fan, Lewis and Dauphin (2018, section 5.4).
    """
    least = logits.topk(min(int(top_k), logits.shape[-1])).values[..., -1:]
    return logits.masked_fill(logits < least, -torch.inf)


def keep_top_p(
    logits: Float[Tensor, "batch d_vocab"], top_p: float
) -> Float[Tensor, "batch d_vocab"]:
    """-inf outside of the nucleus: the fewest likeliest tokens with a probability of `top_p`.

    Holtzman et al. (2020, section 3.1). The likeliest token always stays.
    """
    ascending, index = logits.sort(-1)
    tail = ascending.softmax(-1).cumsum(-1) <= 1 - top_p  # what the nucleus can do without
    tail[..., -1] = False
    return logits.masked_fill(tail.scatter(-1, index, tail), -torch.inf)


def keep_min_p(
    logits: Float[Tensor, "batch d_vocab"], min_p: float
) -> Float[Tensor, "batch d_vocab"]:
    """-inf for tokens less likely than `min_p` times the likeliest (Nguyen et al. 2024)."""
    probabilities = logits.softmax(-1)
    least = min_p * probabilities.amax(-1, keepdim=True)
    return logits.masked_fill(probabilities < least, -torch.inf)
