"""The final norm with its scale frozen: what makes a logit a sum over all that was written.

The model ends in logits = norm(x) W_U + b_U, where x is the sum of what every component wrote.
With the norm's scale held at its value in the run, the norm is linear, and for any direction d of
weights on logits (d = W_U @ weights)

    norm(x) . d = x . g / scale + b . d        g = w * d, less its mean where the norm centres

so that a component which wrote x_c contributes x_c . g / scale: one dot product, and centring, w
and the choice of logits are all in g.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from ..model.parts import Norm, at_least_float32
from ..model.transformer import HookedTransformer
from ..patching.measure import TellMemory, check_metric, check_no_hooks
from ..patching.memory import allowed_memory
from ..tasks.task import Task
from .answers import Answer, Tokens, answer_of, controls

Floats = NDArray[np.float64]
Run = Literal["clean", "corrupted"]
_LOGIT_ROWS = 64  # whose logits of the whole vocabulary are held at once
# Sums of n terms in another order differ by about sqrt(n) roundings; this is far above, and far
# below what a part that was left out would make.
_ROUNDINGS = 4.0


@dataclass(frozen=True, eq=False)
class Reading:
    """Which prompts are run, where they are read, and what for.

    A row is one prompt read at one position; rows of one prompt stand together.
    """

    tokens: Int[Tensor, "prompt pos"]
    positions: Int[Tensor, "prompt read"]
    answers: Sequence[Answer]
    """The one that is attributed, and its controls."""
    together: int
    """How many rows one sample is the mean of: all of a prompt, or each row by itself."""

    @property
    def n_reads(self) -> int:
        """Rows of each prompt."""
        return self.positions.shape[1]

    def batches(self, size: int) -> Iterator[tuple[slice, Reading]]:
        """Some prompts at a time."""
        for first in range(0, len(self.tokens), size):
            prompts = slice(first, min(first + size, len(self.tokens)))
            rows = slice(prompts.start * self.n_reads, prompts.stop * self.n_reads)
            answers = [answer.rows(rows) for answer in self.answers]
            tokens, positions = self.tokens[prompts], self.positions[prompts]
            yield prompts, Reading(tokens, positions, answers, self.together)


def reading_of(
    model: HookedTransformer,
    task: Task,
    run: Run,
    toward: Tokens | None,
    against: Tokens | None,
    centred: bool,
    seed: int,
) -> Reading:
    """A task's prompts, read where its metric reads, for an answer and its controls.

    Args: as in `direct_attribution`.

    Raises:
        ValueError: no such run; a metric or tokens that cannot be attributed.
    """
    check_choice("run", run, get_args(Run))
    check_metric(model, task)
    tokens = task.clean if run == "clean" else task.corrupted
    answer = answer_of(model, task, tokens, toward, against, centred)
    n_reads = task.metric.positions.shape[1]
    answers = [answer, *controls(answer, model.cfg.d_vocab, n_reads, seed)]
    return Reading(tokens, task.metric.positions, answers, together=n_reads)


def origin_of(task: Task, run: Run, seed: int) -> dict[str, Any]:
    """What a result says of where its prompts come from."""
    settings = dict(task.settings)
    return {"task": task.name, "task_settings": settings, "run": run, "seed": seed}


class FrozenReadout:
    """One run of some prompts, and the directions in which what it writes is read.

    Args:
        model: without hooks attached.
        reading: prompts, positions and answers.
    """

    def __init__(self, model: HookedTransformer, reading: Reading) -> None:
        self.model, self.reading = model, reading
        device = model.device
        n_prompts, n_reads = reading.positions.shape
        self.prompt = torch.arange(n_prompts, device=device).repeat_interleave(n_reads)
        self.position = reading.positions.flatten().to(device)
        columns = [answer.columns(model) for answer in reading.answers]
        self.raw = torch.stack([one.sum(0) for one in columns])  # [answer, row, d_model]
        norm = model.ln_final
        self.has_norm = isinstance(norm, Norm)
        w = at_least_float32(norm.w) if isinstance(norm, Norm) and norm.w is not None else None
        g = self.raw if w is None else self.raw * w
        if model.cfg.normalization_type in ("LN", "LNPre"):
            g = g - g.mean(-1, keepdim=True)
        self.g: Float[Tensor, "answer row d_model"] = g
        lengths = [(one if w is None else one * w).norm(dim=-1).sum(0) for one in columns]
        self._longest = torch.stack(lengths)  # [answer, row], of g before anything cancels
        self._written = torch.zeros(len(self.prompt), device=device, dtype=g.dtype)
        self.scale = torch.ones(len(self.prompt), device=device, dtype=g.dtype)

    def at(self, value: Float[Tensor, "prompt pos *rest"]) -> Float[Tensor, "row *rest"]:
        """The rows of a value, in float32 at least."""
        return at_least_float32(value[self.prompt, self.position])

    def project(self, written: Float[Tensor, "row d_model"]) -> Float[Tensor, "answer row"]:
        """What this adds to each answer, times the scale."""
        return torch.einsum("rd,ard->ar", written, self.g)

    def constant(self, vector: Float[Tensor, " d_model"]) -> Float[Tensor, "answer row"]:
        """The same of a vector that is written in every row."""
        return torch.einsum("d,ard->ar", at_least_float32(vector), self.g)

    def of_constant_logits(self, logits: Float[Tensor, "1 d_vocab"]) -> Float[Tensor, "answer row"]:
        """What logits that are the same in every row add to each answer, after the norm."""
        every = logits.expand(len(self.prompt), -1)
        return torch.stack([answer.of(every) for answer in self.reading.answers]).to(self.g)

    def head_directions(
        self, W_O: Float[Tensor, "head d_head d_model"]
    ) -> Float[Tensor, "answer row head d_head"]:
        """What each head's z is read by: [d_head] vectors in place of [d_model] outputs."""
        return torch.einsum("hed,ard->arhe", at_least_float32(W_O), self.g)

    def run(self, hooks: Sequence[tuple[str, Callable[..., None]]]) -> Float[Tensor, "answer row"]:
        """Run the prompts with functions attached; afterwards `scale` is the final norm's.

        Returns:
            The answers, by the model's own final norm and unembedding.
        """
        model, n_layers = self.model, self.model.cfg.n_layers
        written = ["hook_embed", *(f"blocks.{i}.hook_attn_out" for i in range(n_layers))]
        written += [name for name in model.hook_dict if name.endswith("hook_mlp_out")]
        counted = [(name, self._count) for name in written]
        with model.hooks([*counted, *hooks]):
            final = model(self.reading.tokens, stop_at_layer=n_layers)
        final = final[self.prompt, self.position]
        scales: list[Tensor] = []

        def keep(value: Tensor, *, hook: object) -> None:
            scales.append(value.squeeze(-1))

        with model.hooks([("ln_final.hook_scale", keep)] if self.has_norm else []):
            normalised = model.ln_final(final)
        self.scale = scales[0] if scales else self.scale
        chunks = torch.arange(len(final), device=final.device).split(_LOGIT_ROWS)
        found: list[list[Tensor]] = [[] for _ in self.reading.answers]
        self._largest = torch.zeros_like(self.scale)
        for rows in chunks:
            logits = model.unembed(normalised[rows])
            self._largest[rows] = logits.abs().amax(-1).to(self.scale)
            for answer, values in zip(self.reading.answers, found, strict=True):
                values.append(answer.rows(rows.to(answer.tokens.device)).of(logits))
        return torch.stack([torch.cat(values) for values in found])

    def rounding(self) -> Floats:
        """[answer, sample], what rounding can make of a sum over the stream at most."""
        of_stream = self._written * self._longest / self.scale
        weights = torch.stack([a.weights.abs().sum(1).to(self.scale) for a in self.reading.answers])
        epsilon = torch.finfo(self.model.dtype).eps
        return self.per_sample(_ROUNDINGS * epsilon * (of_stream + weights * self._largest))

    def per_sample(self, values: Float[Tensor, "*axes row"]) -> Floats:
        """The mean over the rows of each sample: [*axes, sample]."""
        by_sample = values.unflatten(-1, (-1, self.reading.together))
        found: Floats = by_sample.cpu().double().mean(-1).numpy()
        return found

    def _count(self, value: Tensor, *, hook: object) -> None:
        self._written += self.at(value).norm(dim=-1)


def check_sum(parts: Floats, whole: Floats, rounding: Floats, what: str) -> Floats:
    """`whole` less `parts`, both [..., sample], if rounding explains it.

    Raises:
        ValueError: it does not.
    """
    error = whole - parts
    wrong = ~(np.abs(error) <= rounding)  # also where something is not a number
    if wrong.any():
        at = tuple(np.argwhere(wrong)[0])
        raise ValueError(
            f"{what} add up to {parts[at]:.6g} in prompt or row {at[-1]}, and the model itself "
            f"says {whole[at]:.6g}: its logits are not the linear reading of the residual stream "
            "that direct attribution takes apart."
        )
    return error


@dataclass(frozen=True)
class Plan:
    """How many prompts are run at once, and the bytes that takes."""

    prompts_per_batch: int
    peak: int


def plan(
    model: HookedTransformer,
    reading: Reading,
    numbers_per_row: int,
    numbers_per_position: int,
    max_memory: int | None,
    tell_memory: TellMemory | None,
) -> Plan:
    """How many prompts are run at once.

    Args:
        model: without hooks.
        reading: the prompts.
        numbers_per_row: held for each row and answer until the run is over.
        numbers_per_position: held for each position of a prompt until the run is over.
        max_memory: bytes that may be used; None means a quarter of what is free.
        tell_memory: called with the bytes that will be held at most.

    Raises:
        ValueError: hooks are attached; not even one prompt fits.
    """
    check_no_hooks(model)
    cfg = model.cfg
    n_prompts, n_pos = reading.tokens.shape
    hidden = 0 if cfg.attn_only else 3 * cfg.d_mlp
    width = cfg.n_heads * cfg.d_head
    working = 8 * cfg.d_model + 6 * width + hidden + 3 * cfg.n_heads * n_pos
    n_answers, k = len(reading.answers), reading.answers[0].tokens.shape[1]
    row = n_answers * (3 * numbers_per_row + (6 + 2 * k) * cfg.d_model + 2 * width + hidden)
    row += 8 * cfg.d_model + 2 * cfg.d_vocab
    size = max(torch.empty((), dtype=model.dtype).element_size(), 4)
    per_prompt = size * (n_pos * (working + numbers_per_position) + reading.n_reads * row)
    allowed = allowed_memory(model.device, max_memory)
    n_batch = min(n_prompts, allowed // per_prompt)
    if n_batch < 1:
        raise ValueError(
            f"max_memory={allowed:,} bytes is too little: one prompt of {n_pos} tokens needs "
            f"{per_prompt:,}. Raise max_memory, or use shorter prompts."
        )
    if tell_memory is not None:
        tell_memory(n_batch * per_prompt)
    return Plan(n_batch, n_batch * per_prompt)


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise if a value is none of those that it can be."""
    if value not in choices:
        raise ValueError(f"{name}={value!r} is unknown; it can be {', '.join(map(repr, choices))}.")
