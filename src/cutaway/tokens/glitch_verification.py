"""Whether a model can say a token that it was just given: the verification of glitch tokens.

An indicator is a suspicion. Land and Bartolo (2024, section 2.3) verify it by prompts that make an
ordinary token very likely: a token whose probability stays below 1% in all of them is called
undertrained. Here the reading is: with p the highest probability over the prompts,

    strong   p < 0.001
    weak     0.001 <= p < 0.01, the paper's threshold
    repeats  p >= 0.01
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray

from ..array_files import Array, load_arrays, save_arrays
from ..evidence import Interval, proportion
from ..model.parts import at_least_float32
from ..model.transformer import HookedTransformer
from .glitch_prompts import PromptMaker

STRONG, WEAK = 0.001, 0.01
Verdict = Literal["strong", "weak", "repeats"]
_KIND = "a verification of tokens"
_LOGIT_CELLS = 2**24
"""Logits of one pass, over all positions; it changes no result."""


@dataclass(frozen=True, eq=False)
class Verification:
    """What a model makes of prompts that ask for a token again.

    Example:
        >>> verify(model, [17], makers).verdicts  # doctest: +SKIP
        ('strong',)
    """

    model: str
    tokens: Int[NDArray[np.int64], " token"]
    """The tokens that were asked for."""
    probability: Float[Array, "token prompt"]
    """Of the token itself, at the end of each of its prompts."""
    said: Int[NDArray[np.int64], "token prompt"]
    """The likeliest token there."""
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def highest(self) -> Float[Array, " token"]:
        """The token's probability in the prompt where it is highest."""
        found: Float[Array, " token"] = self.probability.max(1)
        return found

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """strong below 0.001, weak below 0.01, otherwise repeats."""
        return tuple(map(verdict, self.highest.tolist()))

    def share(self, *wanted: Verdict) -> Interval:
        """The share of the tokens with one of these verdicts, with Wilson's interval."""
        verdicts = self.verdicts
        return proportion(sum(one in wanted for one in verdicts), len(verdicts))

    def to_frame(self) -> list[dict[str, Any]]:
        """One row for each token, in the order they were asked for."""
        rows = zip(self.tokens, self.highest, self.verdicts, self.said, strict=True)
        return [
            {
                "token": int(token),
                "highest probability": float(highest),
                "verdict": verdict,
                "said": [int(one) for one in said],
            }
            for token, highest, verdict, said in rows
        ]

    def save(self, path: str | Path) -> None:
        """Write it to one safetensors file."""
        arrays = {"tokens": self.tokens, "probability": self.probability, "said": self.said}
        save_arrays(path, _KIND, arrays, {"model": self.model, "settings": self.settings})

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The inverse of `save`.

        Raises:
            ValueError: the file is not there, or holds something else.
        """
        arrays, described = load_arrays(path, _KIND)
        return cls(**arrays, **described)


def verdict(probability: float) -> Verdict:
    """What a highest probability is called.

    Example:
        >>> verdict(0.0009), verdict(0.001), verdict(0.01)
        ('strong', 'weak', 'repeats')
    """
    return "strong" if probability < STRONG else "weak" if probability < WEAK else "repeats"


@torch.no_grad()
def verify(
    model: HookedTransformer,
    tokens: Sequence[int],
    makers: Sequence[PromptMaker],
    progress: Callable[[float], None] | None = None,
) -> Verification:
    """Ask for each token again, by each maker's prompt, and read the model's probability of it.

    Args:
        model: run on the prompts; its probabilities are those of the whole vocabulary.
        tokens: what is asked for.
        makers: of prompts; three in the paper (`prompt_makers`).
        progress: told the share that is done.

    Raises:
        ValueError: nothing to ask for or with, a token that is not in the vocabulary, or a prompt
            that the context does not hold.

    Example:
        >>> makers = prompt_makers(model, ordinary_tokens(found))
        >>> verify(model, found.suspects(20), makers).verdicts  # doctest: +SKIP
    """
    if not len(tokens) or not len(makers):
        raise ValueError(f"{len(tokens)} tokens and {len(makers)} makers: at least 1 of each.")
    outside = [token for token in tokens if not 0 <= token < model.cfg.d_vocab]
    if outside:
        raise ValueError(
            f"token {outside[0]} is not in the vocabulary of {model.cfg.model_name}: "
            f"0 to {model.cfg.d_vocab - 1}."
        )
    probability = np.empty((len(tokens), len(makers)), dtype=np.float64)
    said = np.empty((len(tokens), len(makers)), dtype=np.int64)
    for column, make in enumerate(makers):
        prompts = [make(int(token)) for token in tokens]
        for rows in _batches(prompts, model.cfg.d_vocab, model.cfg.n_ctx):
            batch = torch.tensor([prompts[row] for row in rows], device=model.device)
            logs = at_least_float32(model(batch)[:, -1]).log_softmax(-1)
            wanted = torch.tensor([tokens[row] for row in rows], device=model.device)
            own = logs.gather(1, wanted[:, None])[:, 0].exp()
            probability[rows, column] = own.cpu().numpy()
            said[rows, column] = logs.argmax(-1).cpu().numpy()
            if progress is not None:
                progress((column + (rows[-1] + 1) / len(tokens)) / len(makers))
    settings = {"prompts": [make(int(tokens[0])) for make in makers]}
    whole = np.asarray(tokens, dtype=np.int64)
    return Verification(model.cfg.model_name, whole, probability, said, settings)


def _batches(prompts: Sequence[Sequence[int]], d_vocab: int, n_ctx: int) -> list[list[int]]:
    """Rows of prompts of one length, as many as may be run at once."""
    batches: list[list[int]] = []
    for row, prompt in enumerate(prompts):
        if not 1 <= len(prompt) <= n_ctx:
            raise ValueError(
                f"a prompt has {len(prompt)} tokens, and the context of the model holds 1 to "
                f"{n_ctx}: give other makers."
            )
        last = batches[-1] if batches else []
        is_full = len(last) >= max(1, _LOGIT_CELLS // (len(prompt) * d_vocab))
        if last and not is_full and len(prompts[last[-1]]) == len(prompt):
            last.append(row)
        else:
            batches.append([row])
    return batches
