"""What the notebooks of the course share: a log of predictions, checks of exercises, tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any
from weakref import finalize

import numpy as np

import cutaway as ca
from cutaway import Interval
from cutaway.findings import Prediction, calibration, list_predictions
from cutaway.findings.prediction_scores import bin_table, calibration_sentences
from cutaway.views.numbers import bracket, number


class Markdown(str):
    """Text that a notebook shows as Markdown, also on pages where no script may run."""

    def _repr_markdown_(self) -> str:
        return str(self)


def show(value: Any, digits: int = 2) -> str:
    """A value as a reader wants it: numbers with a true minus sign, intervals in brackets."""
    if isinstance(value, Interval):
        return f"{number(value.estimate, digits)} {bracket(value.low, value.high, digits)}"
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, int | np.integer):
        return str(value)
    if isinstance(value, float | np.floating):
        return number(float(value), digits)
    return str(value)


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], digits: int = 2) -> Markdown:
    """Rows under headed columns, as Markdown.

    Example:
        >>> table(["head", "effect"], [["9.9", 0.41]])
        '| head | effect |\\n|:--|--:|\\n| 9.9 | 0.41 |'
    """
    rows = [list(row) for row in rows]
    texts = [all(isinstance(row[i], str) for row in rows) for i in range(len(columns))]
    cells = [[show(cell, digits).replace("|", "\\|") for cell in row] for row in rows]
    lines = [
        [name.replace("|", "\\|") for name in columns],
        [":--" if text else "--:" for text in texts],
        *cells,
    ]
    head, rule, *body = lines
    return Markdown(
        "\n".join(
            [
                f"| {' | '.join(head)} |",
                f"|{'|'.join(rule)}|",
                *(f"| {' | '.join(row)} |" for row in body),
            ]
        )
    )


@dataclass
class _Entry:
    question: str
    low: float | None
    high: float | None
    answer: str | None
    why: str
    prediction: Prediction
    observed: Any = None
    seen: bool = False

    @property
    def expected(self) -> str:
        if self.answer is not None:
            return self.answer
        if self.low is not None and self.low == self.high:
            return f"{self.low:g}"
        if self.low is not None and self.high is not None:
            return f"{self.low:g} to {self.high:g}"
        return f"at most {self.high:g}" if self.low is None else f"at least {self.low:g}"

    @property
    def verdict(self) -> str:
        """Whether the whole interval of the observation lies in what was expected."""
        if not self.seen:
            return ""
        graded = {"held": "yes", "missed": "**no**"}
        return graded.get(self.prediction.verdict, "undecided")


@dataclass(repr=False)
class Log:
    """What was expected before a run, and what came.

    Write every expectation before the cell that answers it runs; change ours to yours. A
    prediction is a range of numbers or one word, so that it can turn out wrong. Each is stored by
    `ca.predict` as it is made, and graded there: in a folder that goes when the notebook does, so
    that reruns do not pile up, or in one of yours, `Log("runs")`, for `cutaway predictions`.

    Example:
        >>> log = Log()
        >>> log.expect("sum", "What is 1 + 1?", low=2, high=2)
        >>> log.observe("sum", 1 + 1)
        What is 1 + 1?
            expected 2, observed 2: as expected.
    """

    root: str | Path | None = None
    """Folder of the stored predictions; None means a temporary one."""
    entries: dict[str, _Entry] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.root is None:
            self.root = mkdtemp(prefix="cutaway-")
            finalize(self, rmtree, self.root, ignore_errors=True)

    def expect(
        self,
        key: str,
        question: str,
        *,
        low: float | None = None,
        high: float | None = None,
        answer: str | None = None,
        why: str = "",
        confidence: float | None = None,
    ) -> None:
        """Write down a prediction: a range (either end may be left open) or one word.

        `confidence` is the probability, 0 to 1, that you give it.
        """
        if (low is None and high is None) == (answer is None):
            raise ValueError("a prediction is a range (low=, high=) or a word (answer=).")
        if key in self.entries and self.entries[key].seen:
            raise ValueError(
                f"{key!r} has been observed already: it is too late to predict it."
            )
        stored = ca.predict(
            question,
            between=None if low is None or high is None else (low, high),
            # The next number further out, since the end itself is as expected too.
            above=float(np.nextafter(low, -np.inf))
            if low is not None and high is None
            else None,
            below=float(np.nextafter(high, np.inf))
            if high is not None and low is None
            else None,
            equals=answer,
            confidence=confidence,
            root=self.root,
        )
        self.entries[key] = _Entry(question, low, high, answer, why, stored)

    def observe(self, key: str, value: Any, digits: int = 2) -> None:
        """Enter what was measured beside the prediction, and say whether they agree."""
        entry = self.entries[key]
        estimate = value.estimate if isinstance(value, Interval) else value
        # What is not finite decides nothing: the prediction stays open.
        if entry.answer is not None or np.isfinite(estimate):
            entry.prediction = entry.prediction.grade(value)
        entry.observed, entry.seen = value, True
        verdict = {"yes": "as expected", "**no**": "NOT as expected"}.get(
            entry.verdict, "undecided, since the interval crosses the border"
        )
        print(entry.question)
        print(f"    expected {entry.expected}, observed {show(value, digits)}: {verdict}.")

    def calibration(self) -> Markdown:
        """Did what was called 80% sure come in 80% of the cases? Over all that is stored."""
        found = calibration(list_predictions(self.root)[0])
        return Markdown(
            f"{table(*bin_table(found))}\n\n{' '.join(calibration_sentences(found))}"
        )

    def __repr__(self) -> str:
        return f"Log of {len(self.entries)} predictions"

    def _repr_markdown_(self) -> str:
        entries = self.entries.values()
        columns = ["question", "expected", "because", "observed", "as expected"]
        rows = [
            [e.question, e.expected, e.why, show(e.observed) if e.seen else "", e.verdict]
            for e in entries
        ]
        if any(e.prediction.confidence is not None for e in entries):
            columns.insert(2, "sure")
            for row, e in zip(rows, entries):
                sure = e.prediction.confidence
                row.insert(2, "" if sure is None else f"{sure:.0%}")
        return table(columns, rows)


def check(
    answer: Any,
    expected: Any | Callable[[Any], bool],
    tolerance: float = 1e-2,
    hint: str = "",
) -> None:
    """Say whether an exercise's answer is right; `...` means that it was not tried yet.

    Args:
        answer: a number, array, text, set or list.
        expected: what it should be, or a function that tells.
        tolerance: how far numbers may be off, absolutely and relatively.
        hint: said with a wrong answer.
    """
    if answer is ... or answer is None:
        print("Not answered yet: replace the three dots.")
        return
    if callable(expected):
        right = bool(expected(answer))
    elif isinstance(expected, str | set | frozenset):
        right = answer == expected
    elif len(list(np.ravel(expected))) and isinstance(np.ravel(expected)[0], str):
        right = list(answer) == list(expected)
    else:
        given, wanted = np.asarray(answer, dtype=float), np.asarray(expected, dtype=float)
        right = given.shape == wanted.shape and np.allclose(
            given, wanted, rtol=tolerance, atol=tolerance
        )
    print("Right." if right else f"Not yet. {hint}".strip())
