"""What results.json of the circuit study holds."""

from __future__ import annotations

from typing import Any

from ...views.circuit_story_data import CircuitStory, MethodRow


def numbers_of(story: CircuitStory) -> dict[str, Any]:
    """Every number of the study, each with its interval and its control."""
    baseline, evaluation = story.baseline, story.evaluation
    return {
        "baseline": {
            "clean": baseline.clean,
            "corrupted": baseline.corrupted,
            "accuracy": baseline.accuracy,
        },
        "methods": [_method(row) for row in story.methods],
        "agreement": story.agreement,
        "circuit": story.circuit.to_frame(),
        "faithfulness": evaluation.faithfulness,
        "completeness": evaluation.completeness,
        "minimality": evaluation.minimality,
        "choices": [
            {
                "level": one.level,
                "outside": one.outside,
                "faithfulness": one.faithfulness.ratio,
                "random": one.faithfulness.random,
            }
            for one in story.choices
        ],
        "hypothesis_tests": _tests(story),
        "heads": story.heads,
        "paths": story.paths.rows(),
        "pairs": story.pairs,
        "stability": story.stability,
        "scrubbed": _scrubbed(story),
        "published": None if story.published is None else story.published.to_frame(),
        "expectations": story.expectations,
    }


def _method(row: MethodRow) -> dict[str, Any]:
    curve = row.curve
    return {
        "method": row.circuit.method,
        "edges": len(row.circuit),
        "seconds": row.seconds,
        "faithfulness": row.faithfulness,
        "cpr": curve.cpr,
        "cmd": curve.cmd,
        "random_cpr": curve.random_cpr,
        "random_cmd": curve.random_cmd,
        "notes": row.circuit.notes,
        "curve": curve.to_frame(),
    }


def _tests(story: CircuitStory) -> list[dict[str, Any]]:
    return [
        {
            "name": test.name,
            "null": test.null,
            "statistic": test.statistic,
            "p_value": test.p_value,
            "interval": test.interval,
            "n": test.n,
        }
        for test in story.tests.all()
    ]


def _scrubbed(story: CircuitStory) -> dict[str, Any] | None:
    found = story.scrubbed
    if found is None:
        return None
    return {
        "recovered": found.recovered,
        "recovered_shuffled": found.recovered_shuffled,
        "unexplained": found.unexplained,
        "claims": found.hypothesis.claims,
    }
