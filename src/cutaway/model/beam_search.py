"""Beam search: the likeliest whole continuations, not the likeliest next token.

The `num_beams` best beginnings are kept at every step. Which beams count as finished, how their
scores are made and when the search ends is that of `transformers`, so that both give the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .continuation import NextLogits, Prompt
from .sampling import Sampling

if TYPE_CHECKING:
    from .transformer import HookedTransformer

EarlyStopping = bool | Literal["never"]


@dataclass(frozen=True)
class BeamSearchResult:
    """The best continuations that were found of each prompt, the best first."""

    tokens: Int[Tensor, "batch beam pos"]
    """Prompt (with its padding) and continuation; what comes behind an end token is filled."""
    scores: Float[Tensor, "batch beam"]
    """log p(continuation) / n^length_penalty in nats, its end token included; -inf: no such beam
    was found."""
    n_generated: Int[Tensor, "batch beam"]
    """New tokens n, the end token included."""
    texts: list[list[str]] | None
    """As text, without special tokens; None if the model has no tokenizer."""

    def best(self) -> Int[Tensor, "batch pos"]:
        """The tokens of each prompt's best beam, cut to the longest of these."""
        n_prompt = self.tokens.shape[-1] - int(self.n_generated.max())
        return self.tokens[:, 0, : n_prompt + int(self.n_generated[:, 0].max())]

    def to_frame(self) -> list[dict[str, Any]]:
        """One row for each beam: prompt, rank, score, n_generated, text."""
        n_prompts, n_beams = self.scores.shape
        return [
            {
                "prompt": prompt,
                "rank": rank,
                "score": float(self.scores[prompt, rank]),
                "n_generated": int(self.n_generated[prompt, rank]),
                "text": None if self.texts is None else self.texts[prompt][rank],
            }
            for prompt in range(n_prompts)
            for rank in range(n_beams)
        ]


@torch.no_grad()
def beam_search(
    model: HookedTransformer,
    input: str | list[str] | Int[Tensor, "batch pos"] | Int[Tensor, " pos"],
    max_new_tokens: int = 10,
    num_beams: int = 4,
    *,
    length_penalty: float = 1.0,
    early_stopping: EarlyStopping = False,
    freq_penalty: float = 0.0,
    repetition_penalty: float = 1.0,
    no_repeat_ngram_size: int = 0,
    stop_at_eos: bool = True,
    eos_token_id: int | Sequence[int] | None = None,
    prepend_bos: bool | None = None,
    use_past_kv_cache: bool = True,
) -> BeamSearchResult:
    """Search for the continuations with the highest score, and return all that were kept.

    The score of a continuation y of n tokens is log p(y | prompt) / n^length_penalty. At each step
    every beam is extended by every token; of these the `num_beams` best that go on are the next
    beams, and those among the `num_beams` best that end are finished. With as many beams as there
    are continuations this is exhaustive search; with one it is greedy.

    Args:
        model: the model.
        input: as in `generate`.
        max_new_tokens: where they are reached, a beam is finished.
        num_beams: beams for each prompt.
        length_penalty: above 0 favours long continuations, since log-probabilities are negative;
            0 compares log p itself, 1 its mean over tokens.
        early_stopping: when a prompt is done. True: as soon as `num_beams` are finished. False:
            when the best beam's score at its present length is below all the finished ones'.
            "never": when it could not get above them at any length that is left.
        freq_penalty, repetition_penalty, no_repeat_ngram_size: as in `Sampling`; they act on
            log-probabilities here, and are part of the score.
        stop_at_eos, eos_token_id, prepend_bos, use_past_kv_cache: as in `generate`.

    Raises:
        ValueError: fewer beams than one, an unknown early_stopping, and what `generate` raises.

    Example:
        >>> found = beam_search(model, "Once upon a time", 20, num_beams=4)  # doctest: +SKIP
        >>> found.texts[0][0], found.scores[0, 0]  # doctest: +SKIP
    """
    if not (num_beams >= 1 and float(num_beams).is_integer()):
        raise ValueError(f"num_beams={num_beams} is not a positive whole number.")
    if early_stopping not in (True, False, "never"):
        raise ValueError(
            f"early_stopping={early_stopping!r} is unknown; it can be True, False or 'never'."
        )
    prompt = Prompt.of(model, input, max_new_tokens, prepend_bos, stop_at_eos, eos_token_id)
    penalties = Sampling(
        freq_penalty=freq_penalty,
        repetition_penalty=repetition_penalty,
        no_repeat_ngram_size=no_repeat_ngram_size,
    )
    num_beams = int(num_beams)
    search = _Search(prompt, num_beams, length_penalty, early_stopping)
    next_logits = NextLogits(model, prompt, use_past_kv_cache)
    logits = next_logits(prompt.tokens).repeat_interleave(num_beams, 0)
    next_logits.reorder(torch.arange(len(logits), device=logits.device) // num_beams)
    while True:
        beams = search.beams.flatten(0, 1)  # [batch * beam, pos]
        scores = logits.float().log_softmax(-1)
        rows = search.step(penalties.penalised(scores, beams, search.mask))
        if search.done:
            return search.result(model)
        next_logits.reorder(rows)
        logits = next_logits(search.beams.flatten(0, 1))


class _Search:
    """The beams that go on and those that are finished, for all prompts at once."""

    def __init__(
        self, prompt: Prompt, num_beams: int, length_penalty: float, early_stopping: EarlyStopping
    ) -> None:
        self.prompt, self.n_beams = prompt, num_beams
        self.length_penalty, self.early_stopping = length_penalty, early_stopping
        self.n_new = 0  # tokens of the beams that go on
        batch, device = len(prompt.tokens), prompt.tokens.device
        self.fill = 0 if prompt.ends is None else int(prompt.ends[0])
        self._tokens = torch.full((batch, num_beams, prompt.total), self.fill, device=device)
        self._tokens[:, :, : prompt.length] = prompt.tokens[:, None]
        # All beams are the same at first, so only one of them counts.
        self._scores = torch.full((batch, num_beams), -torch.inf, device=device)
        self._scores[:, 0] = 0.0
        self._finished = self._tokens.clone()
        self._finished_scores = torch.full((batch, num_beams), -torch.inf, device=device)
        self._finished_new = torch.zeros((batch, num_beams), dtype=torch.long, device=device)
        self._open = torch.ones(batch, dtype=torch.bool, device=device)
        whole = prompt.whole_mask()
        self._mask = None if whole is None else whole.repeat_interleave(num_beams, 0)

    @property
    def beams(self) -> Int[Tensor, "batch beam pos"]:
        """Those that go on."""
        return self._tokens[:, :, : self.prompt.length + self.n_new]

    @property
    def mask(self) -> Bool[Tensor, "rows pos"] | None:
        """Which of their tokens are real; None if all are."""
        return None if self._mask is None else self._mask[:, : self.prompt.length + self.n_new]

    @property
    def done(self) -> bool:
        """Whether nothing can be improved any more, for any prompt."""
        return self.n_new == self.prompt.max_new_tokens or not bool(self._open.any())

    def step(self, log_probs: Float[Tensor, "rows d_vocab"]) -> Int[Tensor, " rows"]:
        """Extend every beam by one token; returns which row each of the new beams comes from."""
        batch, n_beams = self._scores.shape
        d_vocab, ends = log_probs.shape[-1], self.prompt.ends
        total = self._scores[..., None] + log_probs.unflatten(0, (batch, n_beams))
        # So many that n_beams of them go on, even if each beam's likeliest tokens are the ends.
        n_best = n_beams * (1 + max(1, 0 if ends is None else len(ends)))
        score, index = total.flatten(1).topk(min(n_best, n_beams * d_vocab))  # [batch, best]
        origin, token = index // d_vocab, index % d_vocab
        tokens = _take(self._tokens, origin)
        tokens[:, :, self.prompt.length + self.n_new] = token
        self.n_new += 1
        ended = torch.zeros_like(token, dtype=torch.bool)
        if ends is not None:
            ended = torch.isin(token, ends)
        if self.n_new == self.prompt.max_new_tokens:
            ended[:] = True
        self._finish(tokens, score, ended)
        self._scores, which = score.masked_fill(ended, -torch.inf).topk(n_beams)
        self._tokens = _take(tokens, which)
        self._close()
        first = torch.arange(batch, device=which.device)[:, None] * n_beams
        rows: Tensor = first + origin.gather(1, which)
        return rows.flatten()

    def _finish(
        self,
        tokens: Int[Tensor, "batch best total"],
        score: Float[Tensor, "batch best"],
        ended: Bool[Tensor, "batch best"],
    ) -> None:
        """Keep the best of what was finished before and what has just ended."""
        counts = ended & self._open[:, None]
        counts[:, self.n_beams :] = False  # an end is taken where it is one of the best
        score = (score / self.n_new**self.length_penalty).masked_fill(~counts, -torch.inf)
        scores = torch.cat([self._finished_scores, score], 1)
        n_new = torch.full_like(ended, self.n_new, dtype=torch.long)
        lengths = torch.cat([self._finished_new, n_new], 1)
        self._finished_scores, which = scores.topk(self.n_beams)
        self._finished = _take(torch.cat([self._finished, tokens], 1), which)
        self._finished_new = lengths.gather(1, which)

    def _close(self) -> None:
        """Prompts whose finished beams will not be beaten any more (or, if that is asked for,
        that have as many as are wanted)."""
        full = self._finished_scores.isfinite().all(1)
        if self.early_stopping is True:
            self._open &= ~full
        length = self.n_new
        if self.early_stopping == "never" and self.length_penalty > 0:
            length = self.prompt.max_new_tokens
        best = self._scores[:, 0] / length**self.length_penalty
        self._open &= best.isfinite() & (~full | (best > self._finished_scores[:, -1]))

    def result(self, model: HookedTransformer) -> BeamSearchResult:
        """The finished beams, cut to the longest of them."""
        if not bool(self._finished_scores[:, 0].isfinite().all()):
            raise ValueError(
                "no continuation is left for one of the prompts: either the n-gram block forbids "
                "every token (take a larger no_repeat_ngram_size or fewer new tokens), or the "
                "model's logits are not finite."
            )
        n_new = self._finished_new.masked_fill(self._finished_scores.isinf(), 0)
        tokens = self._finished[:, :, : self.prompt.length + int(n_new.max())]
        texts = None
        if model.tokenizer is not None:
            texts = [
                [self.prompt.text(model, row, beam) for beam in beams]
                for row, beams in enumerate(tokens)
            ]
        return BeamSearchResult(tokens, self._finished_scores, n_new, texts)


def _take(
    tokens: Int[Tensor, "batch from total"], which: Int[Tensor, "batch to"]
) -> Int[Tensor, "batch to total"]:
    """The beams `which` of each prompt, copied."""
    return tokens.gather(1, which[..., None].expand(-1, -1, tokens.shape[-1]))
