"""Small helpers, where course code looks for them: `from cutaway import utils`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .model.factored import FactoredMatrix, composition_scores
from .model.loss import cross_entropy
from .model.names import get_act_name
from .model.parts import gelu_new
from .model.slices import Slice

if TYPE_CHECKING:
    from .model.transformer import HookedTransformer

__all__ = [
    "FactoredMatrix",
    "Slice",
    "composition_scores",
    "gelu_new",
    "get_act_name",
    "get_corner",
    "get_device",
    "lm_accuracy",
    "lm_cross_entropy_loss",
    "remove_batch_dim",
    "test_prompt",
    "to_numpy",
    "transpose",
]

_Corner = TypeVar("_Corner", Tensor, FactoredMatrix)


def to_numpy(value: Any) -> np.ndarray:
    """A tensor, list, tuple, number or array as an array; half precision becomes float32."""
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        return np.asarray((value.float() if value.dtype == torch.bfloat16 else value).numpy())
    return np.asarray(value)


def lm_cross_entropy_loss(
    logits: Float[Tensor, "batch pos d_vocab"],
    tokens: Int[Tensor, "batch pos"],
    attention_mask: Bool[Tensor, "batch pos"] | Int[Tensor, "batch pos"] | None = None,
    per_token: bool = False,
) -> Tensor:
    """Cross-entropy of the next token in nats: the mean, or [batch, pos - 1].

    Only what the mask says is padding; `HookedTransformer.loss_fn` finds padding by itself.
    """
    return cross_entropy(logits, tokens, attention_mask, per_token)


def lm_accuracy(
    logits: Float[Tensor, "batch pos d_vocab"],
    tokens: Int[Tensor, "batch pos"],
    per_token: bool = False,
) -> Tensor:
    """How often the likeliest token is the next one: the share, or [batch, pos - 1] of booleans."""
    correct = logits[:, :-1].argmax(-1) == tokens[:, 1:]
    return correct if per_token else correct.float().mean()


def remove_batch_dim(value: Float[Tensor, "batch ..."]) -> Float[Tensor, "..."]:
    """The only entry of a batch of one; a larger batch stays as it is."""
    return value[0] if value.shape[0] == 1 else value


def transpose(value: Float[Tensor, "... a b"]) -> Float[Tensor, "... b a"]:
    """The last two axes exchanged."""
    return value.transpose(-2, -1)


def get_corner(value: _Corner, n: int = 3) -> Any:
    """The first n entries of every axis."""
    if isinstance(value, FactoredMatrix):
        return value.get_corner(n)
    return value[tuple(slice(n) for _ in range(value.ndim))]


def get_device() -> torch.device:
    """The fastest kind of device that is there: cuda, mps or cpu."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


@torch.no_grad()
def test_prompt(
    prompt: str,
    answer: str | Sequence[str],
    model: HookedTransformer,
    prepend_space_to_answer: bool = True,
    print_details: bool = True,
    prepend_bos: bool | None = None,
    top_k: int = 10,
) -> list[tuple[str, int]]:
    """Print where an answer stands among the model's predictions, token by token.

    Args:
        prompt: the text before the answer.
        answer: what should follow; of several answers only the first token of each is looked at.
        model: with a tokenizer.
        prepend_space_to_answer: put a space before an answer that has none.
        print_details: False prints the ranks only.
        prepend_bos: whether BOS comes before the prompt; None takes the model's default.
        top_k: how many of the likeliest tokens are printed.

    Returns:
        (token, rank) for each token of the answer, or for each answer; rank 0 is the likeliest.
    """
    answers = [answer] if isinstance(answer, str) else list(answer)
    if prepend_space_to_answer:
        answers = [a if a.startswith(" ") else f" {a}" for a in answers]
    start = model.to_tokens(prompt, prepend_bos)
    encoded = [model.to_tokens(a, prepend_bos=False)[0] for a in answers]
    lines = [f"Tokenized prompt: {model.to_str_tokens(start)}"]
    ranks: list[tuple[str, int]] = []
    for at in range(len(encoded[0]) if len(answers) == 1 else 1):
        known = torch.cat([start[0], encoded[0][:at]])[None]
        wanted = [int(tokens[at]) for tokens in encoded]
        found, said = _look_up(model, model(known)[0, -1], wanted, top_k)
        ranks += found
        lines += said
    if not print_details:
        lines = []
    sys.stdout.write("\n".join([*lines, f"Ranks of the answer tokens: {ranks}", ""]))
    return ranks


test_prompt.__test__ = False  # type: ignore[attr-defined]  # no test of pytest's


def _look_up(
    model: HookedTransformer, logits: Tensor, wanted: list[int], top_k: int
) -> tuple[list[tuple[str, int]], list[str]]:
    """Ranks of the wanted tokens, and lines that tell of them and of the likeliest."""
    probabilities, order = logits.softmax(-1), logits.argsort(descending=True, stable=True)
    ranks, lines = [], []
    for token in wanted:
        text, rank = model.to_single_str_token(token), int((order == token).nonzero())
        ranks.append((text, rank))
        lines.append(f"Answer, rank {rank:<5} {_figures(logits, probabilities, token)} |{text}|")
    for place, token in enumerate(order[:top_k].tolist()):
        text = model.to_single_str_token(token)
        lines.append(f"Top {place:<5} {_figures(logits, probabilities, token)} |{text}|")
    return ranks, lines


def _figures(logits: Tensor, probabilities: Tensor, token: int) -> str:
    return f"logit {float(logits[token]):6.2f}  prob {float(probabilities[token]):7.2%}"
