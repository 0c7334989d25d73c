"""A `Task`: prompt pairs, answers, named positions and the metric, all that a method needs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor

from ..evidence import Interval, bootstrap_mean, proportion
from ..files import write_text
from .metric import LogitDifference, Metric
from .prompts import Prompt, TaskError, parse_rows, read_rows, tokenizer_of

if TYPE_CHECKING:
    from ..model.transformer import HookedTransformer

_CHUNK = 32  # prompts per forward pass of the baseline


@dataclass(frozen=True)
class Baseline:
    """What a model does with a task before anything is changed in it.

    Example:
        >>> print(task.baseline(model))  # doctest: +SKIP
        clean     7.912 [7.401, 8.402] (95%, n=64)
        corrupted -7.655 [-8.204, -7.091] (95%, n=64)
        accuracy  1.000 [0.943, 1.000] (95%, n=64)
    """

    clean: Interval
    """Mean metric on the clean prompts."""
    corrupted: Interval
    """Mean metric on the corrupted prompts, with the clean prompts' answers."""
    accuracy: Interval
    """Share of the clean prompts where the answer's logit exceeds the wrong token's, or, of a
    metric whose sign is the answer (`Metric.sign_is_the_answer`), where the metric exceeds 0."""
    metric: str
    """The metric's name."""
    clean_values: NDArray[np.float64]
    """The metric on every clean prompt: [prompt]."""
    corrupted_values: NDArray[np.float64]
    """The metric on every corrupted prompt: [prompt]."""
    correct: NDArray[np.bool_]
    """Which clean prompts are answered right: [prompt]."""

    def __str__(self) -> str:
        rows = {"clean": self.clean, "corrupted": self.corrupted, "accuracy": self.accuracy}
        return "\n".join(f"{name:<10}{interval}" for name, interval in rows.items())


@dataclass(frozen=True, eq=False)
class Task:
    """Prompt pairs with their answers, named positions and one metric.

    Prompts are padded on the right to one length. Attention is causal, so padding changes
    nothing that a metric reads.

    Example:
        >>> task = cutaway.tasks.ioi(model, n_prompts=8)  # doctest: +SKIP
        >>> print(task.clean_text[0], "->", task.answer_text[0])  # doctest: +SKIP
        One day Anna sat next to Paul in the zoo. After some time Paul lent a key to ->  Anna
    """

    name: str
    """What the task is called in results."""
    clean: Int[Tensor, "prompt pos"]
    """Tokens of the prompts that have the answer."""
    corrupted: Int[Tensor, "prompt pos"]
    """Tokens of the changed prompts."""
    lengths: Int[Tensor, " prompt"]
    """Tokens of each prompt without padding."""
    positions: dict[str, Int[Tensor, " prompt"]]
    """Named positions, e.g. IO, S1, S1+1, S2, END: an index for each prompt."""
    correct: Int[Tensor, " prompt"]
    """The answer's token."""
    wrong: Int[Tensor, " prompt"]
    """The token that the answer is compared with."""
    metric: Metric
    """One number per prompt; the answers are the clean prompts' for both kinds of prompt."""
    clean_text: tuple[str, ...]
    """The clean prompts in words, without BOS."""
    corrupted_text: tuple[str, ...]
    """The corrupted prompts in words, without BOS."""
    answer_text: tuple[str, ...]
    """The answers in words, e.g. `' Mary'`."""
    wrong_text: tuple[str, ...]
    """The wrong answers in words."""
    group: tuple[str, ...]
    """What kind of prompt each is, e.g. the id of its template."""
    settings: dict[str, Any] = field(default_factory=dict)
    """What made the task, enough to make it again."""
    n_before: int = 0
    """Tokens before the text of every prompt: 1 where BOS goes first, otherwise 0."""

    @classmethod
    def from_prompts(
        cls,
        model: HookedTransformer,
        rows: Sequence[dict[str, Any]],
        name: str = "custom",
    ) -> Self:
        """A task of one's own prompt pairs, measured by the logit difference at END.

        Args:
            model: gives the tokenizer, the context length and whether BOS goes first.
            rows: dictionaries with `clean`, `corrupted`, `answer`, `wrong` and optionally
                `group` and `positions` (name -> index into the tokens of `clean`: 0 is the first
                token of the text, BOS is not counted; END is added).
            name: what to call the task.

        Raises:
            TaskError: naming the prompt and the field of every fault.

        Example:
            >>> Task.from_prompts(model, [{  # doctest: +SKIP
            ...     "clean": "When John and Mary went to the store, John gave a drink to",
            ...     "corrupted": "When John and Mary went to the store, Mary gave a drink to",
            ...     "answer": " Mary", "wrong": " John", "positions": {"S2": 9}}])
        """
        named = {f"prompt {i}": row for i, row in enumerate(rows)}
        return cls.build(model, parse_rows(model, named), name)

    @classmethod
    def from_tokens(
        cls,
        clean: Int[Tensor, "prompt pos"],
        corrupted: Int[Tensor, "prompt pos"],
        correct: Int[Tensor, " prompt"],
        wrong: Int[Tensor, " prompt"],
        *,
        lengths: Int[Tensor, " prompt"] | None = None,
        positions: dict[str, Int[Tensor, " prompt"]] | None = None,
        metric: Metric | None = None,
        name: str = "tokens",
    ) -> Self:
        """A task of token numbers, where there is no text.

        Args:
            clean: prompts that have the answer.
            corrupted: the changed prompts, as long.
            correct: the answers.
            wrong: the tokens that they are compared with.
            lengths: tokens without padding; None means that there is none.
            positions: named positions besides END, the last token.
            metric: None means the logit difference at END.
            name: what to call the task.

        Raises:
            TaskError: clean and corrupted prompts of different shapes.

        Example:
            >>> tokens = torch.tensor([[1, 2, 3]])
            >>> Task.from_tokens(tokens, tokens.flip(1), tokens[:, 0], tokens[:, 1]).positions
            {'END': tensor([2])}
        """
        if clean.shape != corrupted.shape:
            raise TaskError(
                f"Clean prompts {tuple(clean.shape)} and corrupted ones {tuple(corrupted.shape)} "
                "must have the same shape [prompt, pos]."
            )
        n_prompts, n_pos = clean.shape
        lengths = torch.full_like(correct, n_pos) if lengths is None else lengths
        positions = {"END": lengths - 1, **(positions or {})}
        nothing = ("",) * n_prompts
        return cls(
            name=name,
            clean=clean,
            corrupted=corrupted,
            lengths=lengths,
            positions={key: positions[key] for key in _in_order(positions)},
            correct=correct,
            wrong=wrong,
            metric=metric or LogitDifference.at(positions["END"], correct, wrong),
            clean_text=nothing,
            corrupted_text=nothing,
            answer_text=nothing,
            wrong_text=nothing,
            group=nothing,
        )

    @classmethod
    def load(cls, path: str | Path, model: HookedTransformer) -> Self:
        """A task from a JSONL file with one prompt pair per line, in the form `save` writes.

        Raises:
            FileNotFoundError: there is no such file.
            TaskError: naming the line and the field of every fault.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"{path} does not exist: a JSONL file of prompts is needed.")
        return cls.build(model, parse_rows(model, read_rows(path), str(path)), path.stem)

    @classmethod
    def build(
        cls,
        model: HookedTransformer,
        prompts: Sequence[Prompt],
        name: str,
        settings: dict[str, Any] | None = None,
    ) -> Self:
        """Put checked prompts together; what `from_prompts`, `load` and `ioi` end in."""
        if not prompts:
            raise TaskError(f"The task {name!r} has no prompts.")
        device = model.device
        pad = tokenizer_of(model).pad_token_id or 0

        def column(values: list[int]) -> Tensor:
            return torch.tensor(values, dtype=torch.long, device=device)

        length = max(len(prompt.clean) for prompt in prompts)
        padded = [p.clean + [pad] * (length - len(p.clean)) for p in prompts]
        changed = [p.corrupted + [pad] * (length - len(p.corrupted)) for p in prompts]
        positions = {
            name: column([prompt.positions[name] for prompt in prompts])
            for name in _in_order(prompts[0].positions)
        }
        correct = column([prompt.answer_token for prompt in prompts])
        wrong = column([prompt.wrong_token for prompt in prompts])
        return cls(
            name=name,
            clean=torch.tensor(padded, device=device),
            corrupted=torch.tensor(changed, device=device),
            lengths=column([len(prompt.clean) for prompt in prompts]),
            positions=positions,
            correct=correct,
            wrong=wrong,
            metric=LogitDifference.at(positions["END"], correct, wrong),
            clean_text=tuple(prompt.clean_text for prompt in prompts),
            corrupted_text=tuple(prompt.corrupted_text for prompt in prompts),
            answer_text=tuple(prompt.answer for prompt in prompts),
            wrong_text=tuple(prompt.wrong for prompt in prompts),
            group=tuple(prompt.group for prompt in prompts),
            settings=settings or {"task": name},
            n_before=len(model.start_tokens()),
        )

    def __len__(self) -> int:
        return len(self.clean)

    @cached_property
    def first_difference(self) -> Int[Tensor, " prompt"]:
        """The first position at which the clean and the corrupted prompt differ."""
        return (self.clean != self.corrupted).long().argmax(1)

    def subset(self, indices: Sequence[int] | Int[Tensor, " chosen"]) -> Self:
        """The task with some of its prompts, in the order of `indices`.

        Columns that only hold padding on the right are cut; a task of one's own making that is
        padded on the left keeps all its columns, so that its positions stay true.
        """
        chosen = torch.as_tensor(indices, dtype=torch.long, device=self.clean.device)
        if chosen.numel() == 0:
            raise TaskError(f"The task {self.name!r} has no prompts left.")
        metric = self.metric.subset(chosen)
        positions = {name: index[chosen] for name, index in self.positions.items()}
        longest = int(self.lengths[chosen].max())
        named = [metric.positions.to(chosen.device), *(p[:, None] for p in positions.values())]
        if int(torch.cat(named, dim=1).max()) >= longest:  # padded on the left
            longest = self.clean.shape[1]

        def texts(values: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(values[i] for i in chosen.tolist())

        return dataclasses.replace(
            self,
            clean=self.clean[chosen, :longest],
            corrupted=self.corrupted[chosen, :longest],
            lengths=self.lengths[chosen],
            positions=positions,
            correct=self.correct[chosen],
            wrong=self.wrong[chosen],
            metric=metric,
            clean_text=texts(self.clean_text),
            corrupted_text=texts(self.corrupted_text),
            answer_text=texts(self.answer_text),
            wrong_text=texts(self.wrong_text),
            group=texts(self.group),
        )

    @torch.no_grad()
    def baseline(self, model: HookedTransformer, seed: int = 0, level: float = 0.95) -> Baseline:
        """Run the clean and the corrupted prompts and measure them.

        Args:
            model: called with tokens, gives logits.
            seed: of the bootstrap.
            level: of the intervals.
        """
        judge = self.metric
        if not judge.sign_is_the_answer:
            judge = LogitDifference.at(self.positions["END"], self.correct, self.wrong)
        clean, gaps = self._measure(model, self.clean, (self.metric, judge))
        (corrupted,) = self._measure(model, self.corrupted, (self.metric,))
        correct = gaps > 0
        return Baseline(
            clean=bootstrap_mean(clean, seed, level),
            corrupted=bootstrap_mean(corrupted, seed, level),
            accuracy=proportion(int(correct.sum()), len(correct), level),
            metric=self.metric.name,
            clean_values=clean,
            corrupted_values=corrupted,
            correct=correct,
        )

    def _measure(
        self, model: HookedTransformer, tokens: Int[Tensor, "prompt pos"], metrics: Sequence[Metric]
    ) -> list[NDArray[np.float64]]:
        """Each metric on every prompt, some prompts at a time: one [prompt] per metric."""
        values: list[list[Tensor]] = [[] for _ in metrics]
        for chunk in _chunks(len(self), tokens.device):
            logits = model(tokens[chunk])
            for metric, found in zip(metrics, values, strict=True):
                part = metric.subset(chunk)
                found.append(part(part.read(logits).cpu().double()))
        return [torch.cat(found).numpy() for found in values]

    def save(self, path: str | Path) -> None:
        """Write the prompts as JSONL, one pair per line, for models with BOS and without.

        Positions are counted in the text, without BOS; END, which is always the last token, is
        not written, nor is the metric.

        Raises:
            TaskError: prompts without a text; a position that the text does not have, or an END
                that is not the last token; the message names the prompt.
        """
        if not all(self.clean_text):
            raise TaskError(
                f"The task {self.name!r} was made of token numbers and has no text, so that it "
                "cannot be saved: make it again from its settings."
            )
        counted = self._counted_in_the_text()
        rows = []
        for i in range(len(self)):
            row = {
                "clean": self.clean_text[i],
                "corrupted": self.corrupted_text[i],
                "answer": self.answer_text[i],
                "wrong": self.wrong_text[i],
                "positions": {name: index[i] for name, index in counted.items()},
                "group": self.group[i],
            }
            rows.append(json.dumps(row, ensure_ascii=False) + "\n")
        write_text(path, "".join(rows))

    def _counted_in_the_text(self) -> dict[str, list[int]]:
        """Named positions but END, where 0 is the first token of the text."""
        last = self.lengths - 1
        for name, index in self.positions.items():
            is_wrong = index != last if name == "END" else (index < self.n_before) | (index > last)
            if bool(is_wrong.any()):
                prompt = int(is_wrong.long().argmax())
                where = "the last token" if name == "END" else "a token of the text"
                raise TaskError(
                    f"The task {self.name!r} cannot be saved: in prompt {prompt} {name}="
                    f"{int(index[prompt])} is not {where} (of {int(self.lengths[prompt])} tokens, "
                    f"{self.n_before} of them before the text)."
                )
        return {
            name: (index - self.n_before).tolist()
            for name, index in self.positions.items()
            if name != "END"
        }

    def __repr__(self) -> str:
        return (
            f"Task({self.name!r}, {len(self)} prompts of up to {self.clean.shape[1]} tokens, "
            f"positions {', '.join(self.positions)}, {self.metric.name})"
        )


def _in_order(positions: Iterable[str]) -> list[str]:
    """END last, everything else as given."""
    return [*(name for name in positions if name != "END"), "END"]


def _chunks(n: int, device: torch.device) -> Iterator[Tensor]:
    yield from torch.arange(n, device=device).split(_CHUNK)
