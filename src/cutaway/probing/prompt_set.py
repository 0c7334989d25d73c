"""`PromptSet`: the prompts that probes read, with named positions and groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from jaxtyping import Int
from torch import Tensor

from ..tasks.prompts import TaskError, raise_faults, read_rows, tokenizer_of
from ..tasks.task import Task
from .labels import Labels

if TYPE_CHECKING:
    from ..model.transformer import HookedTransformer

Positions = str | int | Sequence[str | int] | Sequence[str] | Sequence[int] | None
GROUPS = ("pair", "group", "answer", "prompt")
_FIELDS = ("text", "label", "group", "positions")


@dataclass(frozen=True, eq=False)
class PromptSet:
    """Prompts padded on the right to one length, without answers and without a metric.

    Example:
        >>> PromptSet.of_task(ca.tasks.ioi(model, 8)).positions["END"].shape
        torch.Size([8])
    """

    tokens: Int[Tensor, "prompt pos"]
    lengths: Int[Tensor, " prompt"]
    """Tokens of each prompt without padding."""
    positions: dict[str, Int[Tensor, " prompt"]]
    """Named positions: an index for each prompt."""
    groups: tuple[str, ...]
    """What must not be shared between train and test, such as the pair of names."""
    texts: tuple[str, ...] = ()
    """The prompts in words; empty where they have none."""
    settings: dict[str, Any] = field(default_factory=dict)
    """What made them."""

    @classmethod
    def of_task(cls, task: Task, both: bool = False, groups: str = "pair") -> Self:
        """The clean prompts of a task; with `both`, the corrupted ones after them.

        Args:
            task: the prompts and their positions.
            both: whether to take the corrupted prompts too; a pair stays in one group.
            groups: "pair" (prompts of the same two answers, in either role), "group" (of the same
                template), "answer" (of the same right answer) or "prompt" (each by itself).

        Raises:
            ValueError: no such way to group.
        """
        of_prompt = _groups(task, groups)
        times = 2 if both else 1
        return cls(
            tokens=torch.cat([task.clean, task.corrupted]) if both else task.clean,
            lengths=task.lengths.repeat(times),
            positions={name: at.repeat(times) for name, at in task.positions.items()},
            groups=of_prompt * times,
            texts=(*task.clean_text, *task.corrupted_text) if both else task.clean_text,
            settings={**task.settings, "groups": groups, "both": both},
        )

    @classmethod
    def of_tokens(
        cls,
        tokens: Int[Tensor, "prompt pos"],
        *,
        lengths: Int[Tensor, " prompt"] | None = None,
        positions: Mapping[str, Int[Tensor, " prompt"]] | None = None,
        groups: Sequence[str] | None = None,
    ) -> Self:
        """Prompts from token numbers; END is the last token of each.

        Args:
            tokens: padded on the right where they differ in length.
            lengths: tokens without padding; None means that there is none.
            positions: named positions besides END.
            groups: of each prompt; None means each by itself.
        """
        n, width = tokens.shape
        if lengths is None:
            lengths = torch.full((n,), width, device=tokens.device)
        return cls(
            tokens=tokens,
            lengths=lengths,
            positions={**(positions or {}), "END": lengths - 1},
            groups=tuple(map(str, range(n) if groups is None else groups)),
        )

    @classmethod
    def read(cls, path: str | Path, model: HookedTransformer) -> tuple[Self, Labels]:
        """Texts of one's own with their labels, from a JSONL file.

        Each line is an object with `text`, `label` (a text, a whole number or a truth value is a
        class; a number with a decimal point is a number to predict) and optionally `group` and
        `positions` (name -> index into the tokens of the text, where 0 is the first one: BOS is
        not counted; END is the last token).

        Raises:
            TaskError: naming line and field of every fault.
            ValueError: labels that are no labels.
        """
        rows = read_rows(path)
        raise_faults(
            [f"{where}: {fault}" for where, row in rows.items() for fault in _faults(model, row)],
            str(path),
        )
        tokenizer, start = tokenizer_of(model), model.start_tokens()
        encoded = [start + tokenizer.encode(row["text"]) for row in rows.values()]
        lengths = torch.tensor([len(one) for one in encoded])
        tokens = torch.full((len(encoded), int(lengths.max())), tokenizer.pad_token_id or 0)
        for row, one in enumerate(encoded):
            tokens[row, : len(one)] = torch.tensor(one)
        given = [row.get("positions", {}) for row in rows.values()]
        named = {
            name: torch.tensor([one[name] + len(start) for one in given], device=model.device)
            for name in given[0]
            if all(name in one for one in given)
        }
        prompts = cls(
            tokens=tokens.to(model.device),
            lengths=lengths.to(model.device),
            positions={**named, "END": (lengths - 1).to(model.device)},
            groups=tuple(str(row.get("group", i)) for i, row in enumerate(rows.values())),
            texts=tuple(row["text"] for row in rows.values()),
            settings={"texts": Path(path).name},
        )
        return prompts, Labels.of("label", [row["label"] for row in rows.values()])

    def __len__(self) -> int:
        return len(self.tokens)

    def index(self, position: str | int) -> Int[Tensor, " prompt"]:
        """Token index of one named or numbered position in each prompt; -1 is the last token.

        Raises:
            ValueError: a name that is not there, or an index that some prompt does not have.
        """
        if isinstance(position, str) and position in self.positions:
            return self.positions[position]
        if isinstance(position, Integral) or (
            isinstance(position, str) and position.lstrip("-").isdecimal()
        ):
            shortest, number = int(self.lengths.min()), int(position)
            if not -shortest <= number < shortest:
                raise ValueError(
                    f"position {number} is outside some prompt: the shortest has {shortest} tokens."
                )
            return self.lengths + number if number < 0 else torch.full_like(self.lengths, number)
        raise ValueError(
            f"there is no position {position!r}: the prompts name "
            f"{', '.join(self.positions)}; a token index and 'each' are understood too."
        )

    def choose(self, positions: Positions) -> list[str | int]:
        """The positions that are meant: None or "named" is all names, "each" every token index."""
        if positions is None or positions == "named":
            return list(self.positions)
        if positions == "each":
            return list(range(int(self.lengths.min())))
        if isinstance(positions, str | int | Integral):
            return [positions if isinstance(positions, str) else int(positions)]
        chosen = list(positions)
        if not chosen:
            raise ValueError("the list of positions is empty.")
        return [one if isinstance(one, str) else int(one) for one in chosen]


def _groups(task: Task, by: str) -> tuple[str, ...]:
    pairs = list(zip(task.correct.tolist(), task.wrong.tolist(), strict=True))
    found = {
        "pair": lambda: tuple("-".join(map(str, sorted(pair))) for pair in pairs),
        "group": lambda: task.group,
        "answer": lambda: tuple(str(correct) for correct, _ in pairs),
        "prompt": lambda: tuple(map(str, range(len(pairs)))),
    }
    if by not in found:
        raise ValueError(f"groups={by!r} is not one of {', '.join(GROUPS)}.")
    return found[by]()


def _faults(model: HookedTransformer, row: Any) -> list[str]:
    """What is wrong with a row of a file."""
    if not isinstance(row, dict):
        return [f"a JSON object is needed, this is {type(row).__name__}"]
    faults = [
        f"field '{name}' is unknown; the fields are {', '.join(_FIELDS)}"
        for name in row
        if name not in _FIELDS
    ]
    faults += [f"field '{name}' is missing" for name in ("text", "label") if name not in row]
    if not isinstance(row.get("text", " "), str) or not row.get("text", " "):
        return [*faults, "field 'text' must be a text"]
    if not isinstance(row.get("label", ""), str | int | float):
        faults.append("field 'label' must be a text, a number or a truth value")
    if faults:
        return faults
    try:
        tokenizer = tokenizer_of(model)
    except TaskError as error:
        return [str(error)]
    unknown = tokenizer.unknown_words(row["text"])
    if unknown:
        faults.append(f"field 'text': not in the vocabulary: {', '.join(unknown)}")
    n = len(tokenizer.encode(row["text"]))
    if n + len(model.start_tokens()) > model.cfg.n_ctx:
        faults.append(f"field 'text': {n} tokens, the model's context is {model.cfg.n_ctx}")
    positions = row.get("positions", {})
    if not isinstance(positions, dict):
        return [*faults, "field 'positions' must be an object of names and token indices"]
    return faults + [
        f"field 'positions': {name}={at!r} is not from 0 to {n - 1}, the tokens of 'text'"
        for name, at in positions.items()
        if not isinstance(at, int) or isinstance(at, bool) or not 0 <= at < n
    ]
