"""Predictions: written down before a run, graded after it, and never changed in between.

They are lines of `predictions.jsonl` in the folder that runs are kept in. A prediction is one line,
its grade another; `line_log` says how they are kept whole. The stated confidence makes it possible
to see later how well one knows what one knows (`prediction_scores`).
"""

from __future__ import annotations

import dataclasses
import math
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..evidence import Interval
from . import line_log
from .claims import KINDS, Claim, Observed, PredictionError, observed_value, plain_text
from .digests import settings_digest
from .line_log import Lines
from .run import RUNS, Run

if TYPE_CHECKING:
    from .run_folder import Settings

LOG = "predictions.jsonl"


@dataclass(frozen=True)
class Grade:
    """What came of a prediction."""

    graded: datetime
    """When it was graded (UTC)."""
    observed: Observed
    """What came."""
    held: bool
    """Whether it came as predicted; an interval goes by its estimate."""
    clear: bool
    """Whether the whole interval says the same; if not, the case is undecided."""
    settings: str | None = None
    """The digest of the settings that were checked; None where they were not."""


@dataclass(frozen=True)
class Prediction:
    """What was predicted, and, once it was graded, what came.

    Example:
        >>> prediction = ca.predict("share restored by 1.2 at END", between=(0.2, 0.5))
        >>> prediction.grade(0.31).verdict
        'held'
    """

    id: str
    """Its short name, eight hexadecimal digits."""
    statement: str
    """What the number or word is of."""
    claim: Claim
    """What it shall be."""
    made: datetime
    """When it was written down (UTC)."""
    log: Path
    """The file that it stands in."""
    confidence: float | None = None
    """The stated probability that it holds."""
    settings: str | None = None
    """`settings_digest` of the run that it is about; None where none was named."""
    result: Grade | None = None
    """Its grade; None while it is open."""

    @property
    def verdict(self) -> str:
        """ "held", "missed", "undecided" (the interval crosses the border) or "open"."""
        if self.result is None:
            return "open"
        if not self.result.clear:
            return "undecided"
        return "held" if self.result.held else "missed"

    @property
    def day(self) -> str:
        """The day on which it was made (UTC), as "2026-03-14"."""
        return f"{self.made:%Y-%m-%d}"

    def __str__(self) -> str:
        sure = "" if self.confidence is None else f" (confidence {self.confidence:g})"
        came = "" if self.result is None else f", observed {plain_text(self.result.observed)}"
        return f"{self.statement}: expected {self.claim}{sure}{came}: {self.verdict}."

    def grade(
        self, observed: Any, settings: Settings | None = None, run: Run | None = None
    ) -> Prediction:
        """Write down what came. It can be done once.

        Args:
            observed: a number (or an array or tensor of one), an `Interval`, or text.
            settings: those of the run that gave it; refused if they are not those that the
                prediction was made for.
            run: the finished run that gave it, in place of its settings; refused as well if it
                began before the prediction was made.

        Returns:
            The prediction with its grade.

        Raises:
            PredictionError: it has been graded before, other settings, a run that is older, a
                value of another kind than what was predicted.
            OSError: the log cannot be written.

        Example:
            >>> prediction.grade(heads.top(1)[0].effect, run=ca.load_run("latest"))
        """
        value = observed_value(observed)
        held, clear = self.claim.judge(value)
        digest = self._checked_digest(settings, run)
        grade = Grade(datetime.now(UTC), value, held, clear, digest)

        def entry(lines: Lines) -> Mapping[str, Any]:
            stored = [one for one in _read(self.log, lines)[0] if one.id == self.id]
            if not stored:
                raise PredictionError(f"{self.log} holds no prediction {self.id}.")
            first = stored[0].result
            if first is not None:
                raise PredictionError(
                    f"Prediction {self.id} was graded at {_minute(first.graded)} UTC already: "
                    f"observed {plain_text(first.observed)}, {stored[0].verdict}."
                )
            return _grade_entry(self.id, grade)

        line_log.append(self.log, entry)
        return dataclasses.replace(self, result=grade)

    def _checked_digest(self, settings: Settings | None, run: Run | None) -> str | None:
        if run is not None:
            if settings is not None:
                raise PredictionError("Give settings or a run, not both.")
            settings = run.record["settings"]
            began = datetime.fromisoformat(str(run.record["started"]))
            if began < self.made.replace(microsecond=0):  # a run notes whole seconds
                raise PredictionError(
                    f"Run {run.id} began at {_minute(began)} UTC, before prediction {self.id} was "
                    f"made at {_minute(self.made)} UTC: that would be no prediction."
                )
        if settings is None:
            return None
        if self.settings is None:
            raise PredictionError(
                f"Prediction {self.id} was made without settings, so that no run can be checked "
                "against it: grade it without."
            )
        digest = settings_digest(settings)
        if digest != self.settings:
            raise PredictionError(
                f"Prediction {self.id} was made for a run with other settings (their digest begins "
                f"with {self.settings[:8]}, this one with {digest[:8]}): grade it with its own run."
            )
        return digest


def predict(
    statement: str,
    *,
    between: tuple[float, float] | None = None,
    above: float | None = None,
    below: float | None = None,
    equals: str | int | bool | None = None,
    confidence: float | None = None,
    settings: Settings | None = None,
    root: str | Path = RUNS,
) -> Prediction:
    """Write down what you expect, before you run it.

    It is stored at once, with the time, and cannot be changed. Of `between`, `above`, `below` and
    `equals` give exactly one.

    Args:
        statement: what the number or word is of, in a sentence that will still be clear next year.
        between: (low, high): the number lies between, ends included.
        above: the number is larger.
        below: the number is smaller.
        equals: the text, whole number or bool that it will be.
        confidence: the probability, 0 to 1, that it holds. Without it a prediction says nothing of
            how sure you are, and does not count in the calibration.
        settings: of the run that it is about, a dataclass or names and values; only their digest
            is stored. A run with others cannot be taken for it later.
        root: the folder of the log; it is made if it is missing.

    Raises:
        PredictionError: no statement, not exactly one claim, a claim that is none, a confidence
            outside 0 to 1.
        ValueError: settings that JSON cannot say.
        OSError: the log cannot be written.

    Example:
        >>> ca.predict("patching z of the top head at END restores", between=(0.2, 0.5))
    """
    text = " ".join(statement.split())
    if not text:
        raise PredictionError("A prediction takes a statement: what is it that will be so?")
    claim = _claim({"between": between, "above": above, "below": below, "equals": equals})
    if confidence is not None and not 0 <= confidence <= 1:
        raise PredictionError(f"confidence={confidence} must be a probability, 0 to 1.")
    digest = None if settings is None else settings_digest(settings)
    sure = None if confidence is None else float(confidence)
    now, log = datetime.now(UTC), Path(root) / LOG
    prediction = Prediction(secrets.token_hex(4), text, claim, now, log, sure, digest)
    line_log.append(log, lambda lines: _prediction_entry(prediction))
    return prediction


def list_predictions(root: str | Path = RUNS) -> tuple[list[Prediction], list[str]]:
    """All predictions of a folder, the oldest first, and one sentence for each broken line.

    Args:
        root: the folder of the log; one without a log has no predictions.

    Raises:
        OSError: the log cannot be read.

    Example:
        >>> list_predictions("no-such-folder")
        ([], [])
    """
    log = Path(root) / LOG
    return _read(log, line_log.read(log))


def _claim(given: Mapping[str, Any]) -> Claim:
    """The one claim that was given, its numbers as Python's own."""
    chosen = [kind for kind in KINDS if given.get(kind) is not None]
    if len(chosen) != 1:
        what = " and ".join(chosen) or "none"
        raise PredictionError(f"Give exactly one of between, above, below and equals, not {what}.")
    kind, value = chosen[0], given[chosen[0]]
    if kind == "between" and isinstance(value, Sequence) and not isinstance(value, str):
        return Claim(kind, tuple(_python(end) for end in value))
    return Claim(kind, _python(value))


def _python(value: Any) -> Any:
    """A scalar of numpy or torch as Python's; anything else as it is, for `Claim` to judge."""
    return value.item() if hasattr(value, "item") else value


def _minute(when: datetime) -> str:
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M}"


# ---- lines of the log ----


def _prediction_entry(one: Prediction) -> dict[str, Any]:
    return {
        "kind": "prediction",
        "id": one.id,
        "made": one.made.isoformat(),
        "statement": one.statement,
        one.claim.kind: one.claim.value,
        "confidence": one.confidence,
        "settings": one.settings,
    }


def _grade_entry(of: str, grade: Grade) -> dict[str, Any]:
    value: Any = grade.observed
    if isinstance(value, Interval):  # JSON has no infinity: an end that nothing bounds is null
        ends = {name: getattr(value, name) for name in ("low", "high")}
        bounded = {name: end if math.isfinite(end) else None for name, end in ends.items()}
        value = {**dataclasses.asdict(value), **bounded}
    return {
        "kind": "grade",
        "of": of,
        "graded": grade.graded.isoformat(),
        "observed": value,
        "held": grade.held,
        "clear": grade.clear,
        "settings": grade.settings,
    }


def _read(log: Path, lines: Lines) -> tuple[list[Prediction], list[str]]:
    """Predictions with their grades, and a sentence for each line that is neither or too much."""
    found: dict[str, Prediction] = {}
    faults = list(lines.faults)
    for number, entry in lines.entries:
        where = f"{log}, line {number}"
        try:
            if entry["kind"] == "grade":
                of = str(entry["of"])
                if of not in found:
                    faults.append(f"{where}: a grade of a prediction {of} that is not above it.")
                elif found[of].result is not None:
                    faults.append(f"{where}: a second grade of prediction {of}; the first counts.")
                else:
                    found[of] = dataclasses.replace(found[of], result=_grade_of(entry))
            else:
                one = _prediction_of(log, entry)
                if one.id in found:
                    faults.append(f"{where}: a second prediction {one.id}; the first counts.")
                else:
                    found[one.id] = one
        except (KeyError, TypeError, ValueError) as error:
            fault = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            faults.append(f"{where}: neither a prediction nor a grade ({fault}).")
    return list(found.values()), faults


def _prediction_of(log: Path, entry: Mapping[str, Any]) -> Prediction:
    if entry["kind"] != "prediction":
        raise ValueError(f"of the kind {entry['kind']!r}")
    sure, settings = entry["confidence"], entry["settings"]
    return Prediction(
        id=str(entry["id"]),
        statement=str(entry["statement"]),
        claim=_claim(entry),
        made=_time(entry["made"]),
        log=log,
        confidence=None if sure is None else float(sure),
        settings=None if settings is None else str(settings),
    )


def _grade_of(entry: Mapping[str, Any]) -> Grade:
    value, settings = entry["observed"], entry["settings"]
    if isinstance(value, dict):
        low = -math.inf if value["low"] is None else value["low"]
        high = math.inf if value["high"] is None else value["high"]
        value = Interval(value["estimate"], low, high, value["level"], value["n"])
    if not isinstance(entry["held"], bool) or not isinstance(entry["clear"], bool):
        raise ValueError("held and clear must be true or false")
    settings = None if settings is None else str(settings)
    return Grade(
        _time(entry["graded"]), observed_value(value), entry["held"], entry["clear"], settings
    )


def _time(text: str) -> datetime:
    when = datetime.fromisoformat(text)
    if when.tzinfo is None:
        raise ValueError(f"the time {text} has no time zone")
    return when.astimezone(UTC)
