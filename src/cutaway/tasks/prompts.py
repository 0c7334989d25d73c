"""Prompt pairs of one's own: checked rows, from JSONL or from dictionaries, as `Prompt`s."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..model.tokenizer import Tokenizer
    from ..model.transformer import HookedTransformer

REQUIRED = ("clean", "corrupted", "answer", "wrong")
OPTIONAL = ("positions", "group")
_SHOWN = 20  # faults in one error


class TaskError(ValueError):
    """Prompts that make no task; the message names every faulty line and field."""


@dataclass(frozen=True)
class Prompt:
    """One checked pair of prompts, as token ids that include BOS where the model wants it."""

    clean: list[int]
    """Token ids of the prompt that has the answer."""
    corrupted: list[int]
    """Token ids of the changed prompt, as many as in `clean`."""
    clean_text: str
    """The clean prompt, without BOS."""
    corrupted_text: str
    """The corrupted prompt, without BOS."""
    answer: str
    """The right continuation of the clean prompt, one token, e.g. `' Mary'`."""
    wrong: str
    """The continuation that `answer` is compared with, one token."""
    answer_token: int
    """The id of `answer`."""
    wrong_token: int
    """The id of `wrong`."""
    positions: dict[str, int] = field(default_factory=dict)
    """Named positions as indices into `clean`; END is always there."""
    group: str = ""
    """What kind of prompt it is, e.g. the id of its template."""


def tokenizer_of(model: HookedTransformer) -> Tokenizer:
    """The model's tokenizer; a model without one can take no prompts in words."""
    if model.tokenizer is None:
        raise TaskError(
            f"{model.cfg.model_name} has no tokenizer, so a task in words cannot be made for it: "
            "give tokenizer= when loading the model."
        )
    return model.tokenizer


def read_rows(path: str | Path) -> dict[str, Any]:
    """The rows of a JSONL file by the name of their line; empty lines are skipped.

    Raises:
        TaskError: lines that are not JSON objects, each named, or no rows at all.
    """
    rows: dict[str, Any] = {}
    faults = []
    for number, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            rows[f"line {number}"] = json.loads(line)
        except ValueError as fault:
            faults.append(f"line {number}: not valid JSON ({fault})")
    raise_faults(faults, str(path))
    if not rows:
        raise TaskError(f"{path} holds no prompts: one JSON object per line is needed.")
    return rows


def parse_rows(
    model: HookedTransformer, rows: Mapping[str, Any], source: str = "the prompts"
) -> list[Prompt]:
    """Check every row against the model's tokenizer and context.

    Args:
        model: gives the tokenizer, the context length and whether BOS goes first.
        rows: what to call a row in an error (`line 3`) -> the row: `clean`, `corrupted`,
            `answer`, `wrong`, and optionally `positions` (name -> index into the tokens of
            `clean`, where 0 is the first token of the text: BOS is not counted) and `group`.
        source: what to call the whole in an error.

    Raises:
        TaskError: naming row and field of every fault.
    """
    faults: list[str] = []
    prompts = []
    for where, row in rows.items():
        found = _row_faults(row) or _text_faults(model, row)
        if found:
            faults += [f"{where}: {fault}" for fault in found]
        else:
            prompts.append(_prompt(model, row))
    if not faults:
        names = {name for prompt in prompts for name in prompt.positions}
        for where, prompt in zip(rows, prompts, strict=True):
            missing = sorted(names - set(prompt.positions))
            if missing:
                faults.append(
                    f"{where}: field 'positions': {', '.join(missing)} is missing here, "
                    "but other prompts have it"
                )
    raise_faults(faults, source)
    return prompts


def raise_faults(faults: Sequence[str], source: str) -> None:
    """One error for all faults, if there are any."""
    if not faults:
        return
    shown = list(faults[:_SHOWN])
    if len(faults) > _SHOWN:
        shown.append(f"and {len(faults) - _SHOWN} more")
    raise TaskError(f"{source} cannot be used:\n  " + "\n  ".join(shown))


def _row_faults(row: Any) -> list[str]:
    """What is wrong with the row's form: fields and types."""
    if not isinstance(row, dict):
        return [f"a JSON object is needed, this is {type(row).__name__}"]
    faults = [f"field '{name}' is missing" for name in REQUIRED if name not in row]
    known = (*REQUIRED, *OPTIONAL)
    faults += [
        f"field '{name}' is unknown; the fields are {', '.join(known)}"
        for name in row
        if name not in known
    ]
    for name in (*REQUIRED, "group"):
        if name in row and not (isinstance(row[name], str) and (row[name] or name == "group")):
            faults.append(f"field '{name}' must be a text, it is {row[name]!r}")
    positions = row.get("positions", {})
    if not isinstance(positions, dict):
        faults.append("field 'positions' must be an object of names and token indices")
    else:
        faults += [
            f"field 'positions': {name} must be a whole number, it is {index!r}"
            for name, index in positions.items()
            if not isinstance(index, int) or isinstance(index, bool)
        ]
    return faults


def _text_faults(model: HookedTransformer, row: Mapping[str, Any]) -> list[str]:
    """What is wrong with the row's words, lengths and positions."""
    tokenizer = tokenizer_of(model)
    faults = []
    for name in ("clean", "corrupted"):
        unknown = tokenizer.unknown_words(row[name])
        if unknown:
            faults.append(f"field '{name}': not in the vocabulary: {', '.join(unknown)}")
    for name in ("answer", "wrong"):
        try:
            tokenizer.single(row[name])
        except ValueError as fault:
            faults.append(f"field '{name}': {fault}")
    if row["answer"] == row["wrong"]:
        faults.append(f"field 'wrong': {row['wrong']!r} is the answer itself")
    if row["clean"] == row["corrupted"]:
        faults.append("field 'corrupted': the same text as 'clean'")
    clean, corrupted = (len(tokenizer.encode(row[name])) for name in ("clean", "corrupted"))
    if clean != corrupted:
        faults.append(
            f"field 'corrupted': {corrupted} tokens, but 'clean' has {clean}; "
            "they must be equally long"
        )
    start = len(model.start_tokens())
    if start + clean > model.cfg.n_ctx:
        bos = " with BOS" if start else ""
        faults.append(
            f"field 'clean': {start + clean} tokens{bos}, but the model's context is "
            f"{model.cfg.n_ctx}"
        )
    return faults + _position_faults(row.get("positions", {}), clean - 1)


def _position_faults(positions: Mapping[str, int], last: int) -> list[str]:
    """Indices outside the text, and an END that is not its last token."""
    faults = [
        f"field 'positions': {name}={index} is outside 0 to {last}, the tokens of 'clean' "
        "without BOS"
        for name, index in positions.items()
        if not 0 <= index <= last
    ]
    if positions.get("END", last) != last:
        faults.append(
            f"field 'positions': END={positions['END']} is not the last token of 'clean', "
            f"{last}; it can be left out"
        )
    return faults


def _prompt(model: HookedTransformer, row: Mapping[str, Any]) -> Prompt:
    tokenizer = tokenizer_of(model)
    start = model.start_tokens()
    clean = start + tokenizer.encode(row["clean"])
    given = {name: len(start) + index for name, index in row.get("positions", {}).items()}
    return Prompt(
        clean=clean,
        corrupted=start + tokenizer.encode(row["corrupted"]),
        clean_text=row["clean"],
        corrupted_text=row["corrupted"],
        answer=row["answer"],
        wrong=row["wrong"],
        answer_token=tokenizer.single(row["answer"]),
        wrong_token=tokenizer.single(row["wrong"]),
        positions={**given, "END": len(clean) - 1},
        group=row.get("group", ""),
    )
