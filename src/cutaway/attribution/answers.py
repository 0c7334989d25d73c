"""`Answer`: which logits are attributed, as weights on tokens: always linear in the logits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..model.parts import at_least_float32
from ..model.transformer import HookedTransformer
from ..tasks.metric import LogitDifference, LogitMargin, Metric
from ..tasks.task import Task

OneToken: TypeAlias = str | int
Tokens: TypeAlias = OneToken | Sequence[OneToken] | Sequence[Sequence[OneToken]] | Tensor
"""A token (as text or number) or a list of them, the same for all prompts; or for each prompt a
token (a tensor [prompt]) or a set (a tensor [prompt, k], or a list of lists of any sizes)."""

SHUFFLED, RANDOM = "shuffled answers", "random tokens"


@dataclass(frozen=True, eq=False)
class Answer:
    """A weighted sum of logits, for each row (one prompt, read at one position)."""

    name: str
    """What it is, as "logit difference"."""
    tokens: Int[Tensor, "row k"]
    weights: Float[Tensor, "row k"]
    centred: bool = False
    """Whether each logit counts less the mean logit of all tokens."""

    def rows(self, chosen: slice | Int[Tensor, " chosen"]) -> Answer:
        """The same of some rows."""
        return replace(self, tokens=self.tokens[chosen], weights=self.weights[chosen])

    def of(self, logits: Float[Tensor, "row d_vocab"]) -> Float[Tensor, " row"]:
        """Its value, from the logits of all tokens."""
        logits = at_least_float32(logits)
        weights = self.weights.to(logits)
        found = (logits.gather(1, self.tokens.to(logits.device)) * weights).sum(1)
        return found - weights.sum(1) * logits.mean(1) if self.centred else found

    def columns(self, model: HookedTransformer) -> Float[Tensor, "k row d_model"]:
        """The columns of W_U whose sum over k is the direction, each with its weight."""
        device = model.W_U.device
        found = at_least_float32(model.W_U.T[self.tokens.T.to(device)])
        weights = self.weights.T.to(found)[..., None]  # [k, row, 1]
        if self.centred:
            found = found - at_least_float32(model.W_U).mean(1)
        return found * weights

    def shuffled(self, n_reads: int, seed: int) -> Answer:
        """Each prompt with the answer of another one; `n_reads` rows are one prompt.

        The order is one cycle through all prompts, so that none keeps its own.
        """
        n_prompts = len(self.tokens) // n_reads
        order = np.random.default_rng([seed, 0]).permutation(n_prompts)
        other = np.empty_like(order)
        other[order] = np.roll(order, 1)
        rows = torch.from_numpy((other[:, None] * n_reads + np.arange(n_reads)).ravel())
        return replace(self.rows(rows.to(self.tokens.device)), name=SHUFFLED)

    def random(self, d_vocab: int, seed: int) -> Answer:
        """Each row with tokens drawn from the whole vocabulary, all different, equally weighted."""
        rng = np.random.default_rng([seed, 1])
        n_rows, k = self.tokens.shape
        first = rng.integers(d_vocab, size=(n_rows, 1))
        apart = rng.choice(d_vocab, k, replace=False) if k <= d_vocab else np.arange(k)
        tokens = torch.from_numpy((first + apart) % d_vocab).to(self.tokens)
        return replace(self, tokens=tokens, name=RANDOM)


def controls(answer: Answer, d_vocab: int, n_reads: int, seed: int) -> list[Answer]:
    """Answers that mean nothing: those of other prompts (if there are any), and random tokens."""
    found = [answer.random(d_vocab, seed)]
    if len(answer.tokens) > n_reads:
        found.insert(0, answer.shuffled(n_reads, seed))
    return found


def answer_of(
    model: HookedTransformer,
    task: Task,
    tokens: Int[Tensor, "prompt pos"],
    toward: Tokens | None,
    against: Tokens | None,
    centred: bool = False,
) -> Answer:
    """What is attributed on a task's prompts: its metric, or the logits of given tokens.

    Args:
        model: gives the largest rival, where the metric asks for one.
        task: gives the metric and the positions.
        tokens: the prompts that are run.
        toward: tokens whose mean logit counts; None takes the metric.
        against: tokens whose mean logit is subtracted; None: none.
        centred: whether logits count less the mean of all.

    Raises:
        ValueError: a metric that is not linear in the logits; `against` without `toward`; a token
            that the model does not know.
    """
    n_reads = task.metric.positions.shape[1]
    if toward is None:
        if against is not None:
            raise ValueError("against= needs toward=: without it the task's metric is attributed.")
        return _of_metric(model, task, tokens)
    right, weights = _sets(model, toward, len(task))
    name = f"logit of {_described(toward)}"
    if against is not None:
        wrong, less = _sets(model, against, len(task))
        right, weights = torch.cat([right, wrong], 1), torch.cat([weights, -less], 1)
        name = f"{name} less {_described(against)}"
    if toward is task.correct:
        name = "logit of the answer" if against is None else name
        name = LogitDifference.name if against is task.wrong else name
    right, weights = (tensor.repeat_interleave(n_reads, 0) for tensor in (right, weights))
    return Answer(name, right, weights, centred)


def is_linear(metric: Metric) -> bool:
    """Whether a metric is a sum over logits; of a logit margin, with the largest rival held."""
    return isinstance(metric, LogitDifference | LogitMargin)


def next_tokens(tokens: Int[Tensor, " pos"], centred: bool) -> Answer:
    """The logit of each token of a text but the first, where it is predicted."""
    ones = torch.ones(len(tokens) - 1, 1)
    return Answer("logit of the next token", tokens[1:, None].cpu(), ones, centred)


def _of_metric(model: HookedTransformer, task: Task, tokens: Int[Tensor, "prompt pos"]) -> Answer:
    metric = task.metric
    n_reads = metric.positions.shape[1]
    right, wrong = (t.repeat_interleave(n_reads, 0).cpu() for t in (metric.correct, metric.wrong))
    if isinstance(metric, LogitMargin):
        wrong = _largest_rivals(model, metric, tokens, task.lengths)
    elif not is_linear(metric):
        raise ValueError(
            f"the metric {metric.name!r} is not linear in the logits, so that it is no sum over "
            "components: say which logits are meant, as toward=task.correct, against=task.wrong."
        )
    shares = [torch.full(t.shape, s / t.shape[1]) for t, s in ((right, 1.0), (wrong, -1.0))]
    return Answer(metric.name, torch.cat([right, wrong], 1), torch.cat(shares, 1))


def _largest_rivals(
    model: HookedTransformer,
    metric: LogitMargin,
    tokens: Int[Tensor, "prompt pos"],
    lengths: Int[Tensor, " prompt"],
) -> Int[Tensor, "row 1"]:
    """The wrong token with the largest logit, for each prompt and read."""
    found = []
    for prompt in torch.arange(len(tokens), device=tokens.device).split(16):
        part = metric.subset(prompt)
        n_correct = part.correct.shape[1]
        rivals = part.read(model(tokens[prompt]))[..., n_correct:]  # [prompt, read, other]
        wrong = part.wrong.to(rivals.device)[:, None].expand(rivals.shape)
        found.append(wrong.gather(-1, rivals.argmax(-1, keepdim=True)).flatten(0, 1).cpu())
    return torch.cat(found)


def _sets(
    model: HookedTransformer, tokens: Tokens, n_prompts: int
) -> tuple[Int[Tensor, "prompt k"], Float[Tensor, "prompt k"]]:
    """A set of tokens for each prompt, with the weights of their mean."""
    if isinstance(tokens, Tensor):
        table = tokens.cpu().long()
        table = table.expand(n_prompts) if table.ndim == 0 else table
        rows = (table[:, None] if table.ndim == 1 else table).tolist()
    elif isinstance(tokens, str | int):
        rows = [[_number(model, tokens)]] * n_prompts
    elif tokens and all(isinstance(one, str | int) for one in tokens):
        rows = [[_number(model, one) for one in tokens]] * n_prompts  # type: ignore[arg-type]
    else:
        rows = [[_number(model, one) for one in row] for row in tokens]  # type: ignore[union-attr]
    if len(rows) != n_prompts:
        raise ValueError(
            f"tokens for {len(rows)} prompts were given, and the task has {n_prompts}: give one "
            "token or set for each, or one for all."
        )
    wrong = [token for row in rows for token in row if not 0 <= token < model.cfg.d_vocab]
    if wrong or not all(rows):
        fault = f"there is no token {wrong[0]}" if wrong else "a prompt's set of tokens is empty"
        raise ValueError(f"{fault}; the model knows {model.cfg.d_vocab}, counted from 0.")
    found = torch.zeros(n_prompts, max(map(len, rows)), dtype=torch.long)
    weights = torch.zeros(found.shape)
    for i, row in enumerate(rows):
        found[i, : len(row)] = torch.tensor(row)
        weights[i, : len(row)] = 1 / len(row)
    return found, weights


def _number(model: HookedTransformer, token: OneToken) -> int:
    return model.to_single_token(token) if isinstance(token, str) else token


def _described(tokens: Tokens) -> str:
    if isinstance(tokens, str):
        return repr(tokens)
    if isinstance(tokens, int):
        return f"token {tokens}"
    is_one = isinstance(tokens, Tensor) and (tokens.ndim < 2 or tokens.shape[1] == 1)
    return "each prompt's token" if is_one else "a set of tokens (mean)"
