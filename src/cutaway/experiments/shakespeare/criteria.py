"""What counts as a finding: stated before the study was first run, graded for every model.

They are the hypotheses of the template and of the papers that it cites, each as one number of the
record and the range that it has to lie in. With an interval a criterion is decided only where the
whole interval says the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...evidence import Interval, proportion
from ...findings.claims import Claim, PredictionError
from .record import Record, find, reason

HELD, MISSED, UNDECIDED, UNKNOWN = "holds", "does not hold", "undecided", "not measured"
LEAST_MODELS = 3


@dataclass(frozen=True)
class Criterion:
    """One finding, and what it takes."""

    finding: int
    """Of the write-up."""
    statement: str
    """What is so if it holds."""
    path: str
    """Where its number is, within the record of a model."""
    claim: Claim


CRITERIA = (
    Criterion(
        1,
        "A B ... A is completed with B more often than a bigram model does",
        "induction/one_repeat/above_bigram",
        Claim("above", 0.0),
    ),
    Criterion(
        1,
        "A passage costs less when it is read a second time (nats per character)",
        "induction/passages/gain",
        Claim("above", 0.0),
    ),
    Criterion(
        1,
        "At least one head has the class induction",
        "heads/n_induction",
        Claim("above", 0.5),
    ),
    Criterion(
        1,
        "Without the suspected heads A B ... A loses more than without random ones (p)",
        "induction/one_repeat/where/ablation/p",
        Claim("below", 0.05),
    ),
    Criterion(
        1,
        "The attention layer that matters most for A B ... A is in the later half (depth, 0 to 1)",
        "induction/one_repeat/where/strongest_attention_depth",
        Claim("between", (0.5, 1.0)),
    ),
    Criterion(
        2,
        "At least one head has the class previous-token",
        "heads/n_previous_token",
        Claim("above", 0.5),
    ),
    Criterion(
        2,
        "More heads have a class than of models with shuffled weights (difference of shares)",
        "heads/named_above_random",
        Claim("above", 0.0),
    ),
    Criterion(
        3,
        "After the first layer the lens is nearest to bigrams (order)",
        "prediction/orders/logit lens/nearest_after_first_layer",
        Claim("equals", 2),
    ),
    Criterion(
        3,
        "The output is nearest to a higher order than the first layer (orders gained)",
        "prediction/orders/logit lens/order_gained",
        Claim("above", 0.5),
    ),
    Criterion(
        3,
        "The output depends more on what n-grams do not see than the first layer does (nats)",
        "prediction/reach/late_less_early",
        Claim("above", 0.0),
    ),
    Criterion(
        3,
        "The lens comes nearer to the output with every layer",
        "prediction/orders/logit lens/falls_at_every_layer",
        Claim("equals", True),
    ),
    Criterion(
        4,
        "Attention of the suspected heads foretells right answers on A B ... A (AUROC)",
        "failures/one_repeat/attention/auroc",
        Claim("above", 0.5),
    ),
    Criterion(
        4,
        "Attention of the suspected heads foretells right answers in passages read again (AUROC)",
        "failures/passages/attention/auroc",
        Claim("above", 0.5),
    ),
)


def replication(record: Record, n_models: int) -> None:
    """Grade every criterion for every model; the share that holds in all of them."""
    results = record.values
    rows = [_row(one, results, record.missing, n_models) for one in CRITERIA]
    record.put("replication/criteria", rows)
    record.put("replication/n_models", n_models)
    record.put(
        "replication/per_model",
        [
            {
                "held": sum(row["verdicts"][at] == HELD for row in rows),
                "missed": sum(row["verdicts"][at] == MISSED for row in rows),
                "undecided": sum(row["verdicts"][at] == UNDECIDED for row in rows),
                "not_measured": sum(row["verdicts"][at] == UNKNOWN for row in rows),
            }
            for at in range(n_models)
        ],
    )
    if n_models < LEAST_MODELS:
        record.skip(
            "replication",
            f"{n_models} of at least {LEAST_MODELS} models were given, so nothing was replicated",
        )
        return
    everywhere = sum(set(row["verdicts"]) == {HELD} for row in rows)
    nowhere = sum(set(row["verdicts"]) == {MISSED} for row in rows)
    decided = [row for row in rows if UNKNOWN not in row["verdicts"]]
    same = sum(len(set(row["verdicts"])) == 1 for row in decided)
    record.put("replication/n_criteria", len(rows))
    record.put("replication/n_hold_everywhere", everywhere)
    record.put("replication/n_hold_nowhere", nowhere)
    record.put("replication/n_measured_everywhere", len(decided))
    record.put("replication/share_held", proportion(everywhere, len(rows)))
    if decided:
        record.put("replication/share_same", proportion(same, len(decided)))
    else:
        record.skip("replication/share_same", "no criterion could be measured in every model")


def _row(
    one: Criterion, results: dict[str, Any], missing: dict[str, str], n_models: int
) -> dict[str, Any]:
    paths = [f"models/{at}/{one.path}" for at in range(n_models)]
    observed = [find(results, path) for path in paths]
    return {
        "finding": one.finding,
        "statement": one.statement,
        "expected": str(one.claim),
        "paths": paths,
        "observed": observed,
        "verdicts": [verdict(one.claim, value) for value in observed],
        "reasons": [
            None if value is not None else reason(missing, path)
            for path, value in zip(paths, observed, strict=True)
        ],
    }


def verdict(claim: Claim, value: Any) -> str:
    """What a value of the record says of a claim.

    Example:
        >>> verdict(Claim("above", 0.0), {"estimate": 1.0, "low": -1.0, "high": 3.0, "n": 9})
        'undecided'
    """
    if value is None:
        return UNKNOWN
    if isinstance(value, dict):
        ends = (value["estimate"], value["low"], value["high"])
        if None in ends:
            return UNDECIDED
        value = Interval(*ends, value.get("level", 0.95), value["n"])
    try:
        held, clear = claim.judge(value)
    except PredictionError:
        return UNKNOWN
    if not clear:
        return UNDECIDED
    return HELD if held else MISSED


def verdicts_of(rows: Sequence[dict[str, Any]], finding: int) -> list[dict[str, Any]]:
    """The rows of one finding."""
    return [row for row in rows if row["finding"] == finding]
