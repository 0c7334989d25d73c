"""Predictions: stored before, graded once, never rewritten; and how they are counted."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cutaway as ca
from cutaway import cli
from cutaway.evidence import Interval
from cutaway.findings import (
    Prediction,
    PredictionError,
    RunFolder,
    calibration,
    line_log,
    list_predictions,
    load_run,
    settings_digest,
)
from cutaway.findings.claims import Claim
from cutaway.findings.predictions import Grade

STATEMENT = "patching z of the top head at END restores"
FINITE = st.floats(-1e6, 1e6)


def interval(estimate: float, low: float, high: float) -> Interval:
    return Interval(estimate, low, high, 0.95, 64)


def lines(root: Path) -> list[str]:
    return (root / "predictions.jsonl").read_text().splitlines()


# ---- claims ----


@pytest.mark.parametrize(
    ("kind", "value", "observed", "expected"),
    [
        ("between", (0.2, 0.5), 0.2, (True, True)),
        ("between", (0.2, 0.5), 0.51, (False, True)),
        ("between", (0.2, 0.5), interval(0.3, 0.25, 0.5), (True, True)),
        ("between", (0.2, 0.5), interval(0.3, 0.1, 0.4), (True, False)),
        ("between", (0.2, 0.5), interval(0.1, 0.0, 0.2), (False, False)),
        ("between", (0.2, 0.5), interval(0.1, 0.0, 0.19), (False, True)),
        ("between", (0.2, 0.5), interval(0.6, 0.1, 0.7), (False, False)),
        ("above", 0.5, 0.5, (False, True)),
        ("above", 0.5, interval(0.6, 0.5, 0.7), (True, False)),
        ("above", 0.5, interval(0.4, 0.3, 0.5), (False, True)),
        ("below", 0.0, -1, (True, True)),
        ("below", 0.0, interval(-1.0, -math.inf, math.inf), (True, False)),
        ("equals", "S2", "S2", (True, True)),
        ("equals", "S2", "IO", (False, True)),
        ("equals", 3, 3.0, (True, True)),
        ("equals", 3, 3.2, (False, True)),
        ("equals", True, False, (False, True)),
    ],
)
def test_a_claim_is_held_against_what_came(kind, value, observed, expected) -> None:
    assert Claim(kind, value).judge(observed) == expected


@given(st.lists(FINITE, min_size=3, max_size=3), st.lists(FINITE, min_size=2, max_size=2))
def test_a_clear_case_is_one_that_no_value_of_the_interval_would_change(ends, claimed) -> None:
    low, estimate, high = sorted(ends)
    first, last = sorted(claimed)
    for claim in (Claim("between", (first, last)), Claim("above", first), Claim("below", first)):
        held, clear = claim.judge(interval(estimate, low, high))
        # Where the answer could change inside the interval: its ends, and the borders it holds.
        inside = [x for x in (first, last, math.nextafter(first, -math.inf),
                              math.nextafter(first, math.inf), math.nextafter(last, math.inf))
                  if low <= x <= high]  # fmt: skip
        answers = {claim.judge(x)[0] for x in (low, estimate, high, *inside)}
        assert held == claim.judge(estimate)[0] and clear == (answers == {held})


@pytest.mark.parametrize(
    ("claim", "message"),
    [
        ({}, "exactly one of between, above, below and equals, not none"),
        ({"above": 1.0, "below": 2.0}, "not above and below"),
        ({"between": (0.5, 0.2)}, "low is above high"),
        ({"between": (0.1, 0.2, 0.3)}, "must be (low, high)"),
        ({"between": "ab"}, "must be (low, high)"),
        ({"between": 0.5}, "must be (low, high)"),
        ({"above": math.nan}, "above=nan must be a number, finite"),
        ({"below": "x"}, "below='x' must be a number, finite"),
        ({"equals": 0.5}, "so give a range"),
    ],
)
def test_what_is_no_claim_is_refused_and_not_stored(claim, message, tmp_path) -> None:
    with pytest.raises(PredictionError) as error:
        ca.predict(STATEMENT, root=tmp_path, **claim)
    assert message in str(error.value)
    with pytest.raises(PredictionError, match="confidence=80 must be a probability"):
        ca.predict(STATEMENT, above=1, confidence=80, root=tmp_path)
    with pytest.raises(PredictionError, match="takes a statement"):
        ca.predict("  ", above=1, root=tmp_path)
    assert not list(tmp_path.iterdir())


def test_what_came_must_be_of_the_kind_that_was_predicted(tmp_path) -> None:
    number = ca.predict(STATEMENT, above=0.5, root=tmp_path)
    word = ca.predict("it looks at", equals="IO", root=tmp_path)
    for prediction, observed, message in (
        (number, "IO", "observed='IO' cannot be held against the claim above 0.5"),
        (number, True, "give a number or an Interval"),
        (number, math.nan, "observed=nan is not finite"),
        (number, [0.5], "observed is a list: give a number"),
        (number, np.ones(2), "observed is a ndarray"),
        (word, 3, "cannot be held against the claim IO: give text"),
        (word, interval(1, 0, 2), "give text"),
    ):
        with pytest.raises(PredictionError) as error:
            prediction.grade(observed)
        assert message in str(error.value)
    assert len(lines(tmp_path)) == 2


# ---- storing ----


def test_a_prediction_is_stored_at_once_and_read_back_the_same(tmp_path) -> None:
    made = [
        ca.predict(STATEMENT, between=(np.float32(0.25), 0.5), confidence=0.8, root=tmp_path),
        ca.predict("number of edges", below=100, settings={"seed": 0}, root=tmp_path),
        ca.predict("“IO” is what\n it looks at", equals=True, root=tmp_path),
    ]
    assert list_predictions(tmp_path) == (made, [])
    graded = [made[0].grade(np.float64(0.3)), made[1].grade(interval(90.0, 80.0, math.inf)),
              made[2].grade(np.bool_(False))]  # fmt: skip
    assert list_predictions(tmp_path) == (graded, [])
    assert [one.verdict for one in graded] == ["held", "undecided", "missed"]
    assert made[0].made < datetime.now(UTC) and made[0].made.utcoffset() == timedelta(0)
    assert made[2].statement == "“IO” is what it looks at"
    assert str(graded[0]) == (
        f"{STATEMENT}: expected 0.25 to 0.5 (confidence 0.8), observed 0.3: held."
    )


def test_a_line_of_the_log_is_what_it_was(tmp_path) -> None:
    prediction = ca.predict(STATEMENT, above=0.5, confidence=0.9, root=tmp_path)
    before = lines(tmp_path)
    assert json.loads(before[0]) == {
        "kind": "prediction",
        "id": prediction.id,
        "made": prediction.made.isoformat(),
        "statement": STATEMENT,
        "above": 0.5,
        "confidence": 0.9,
        "settings": None,
    }
    prediction.grade(interval(0.6, 0.4, math.inf))
    after = lines(tmp_path)
    assert after[:1] == before and len(after) == 2
    grade = json.loads(after[1])
    assert (grade["of"], grade["held"], grade["clear"]) == (prediction.id, True, False)
    assert grade["observed"] == {
        "estimate": 0.6, "low": 0.4, "high": None, "level": 0.95, "n": 64
    }  # fmt: skip


def test_a_second_grade_is_refused_and_names_the_first(tmp_path) -> None:
    prediction = ca.predict(STATEMENT, above=0.5, root=tmp_path)
    prediction.grade(0.3)
    (stored,), _ = list_predictions(tmp_path)
    for stale in (prediction, stored):
        with pytest.raises(PredictionError, match=r"graded at .* UTC already: observed 0.3, misse"):
            stale.grade(0.9)
    assert len(lines(tmp_path)) == 2


def test_a_prediction_that_is_not_in_the_log_cannot_be_graded(tmp_path) -> None:
    prediction = ca.predict(STATEMENT, above=0.5, root=tmp_path)
    (tmp_path / "predictions.jsonl").unlink()
    with pytest.raises(PredictionError, match=f"holds no prediction {prediction.id}"):
        prediction.grade(1.0)


# ---- settings ----


@dataclass(frozen=True)
class Settings:
    site: str = "z"
    seed: int = 0
    out: Path = Path("runs")
    layers: tuple[int, ...] = (1, 2)


def test_the_digest_is_that_of_the_content() -> None:
    golden = "a5b4a7f150af20fde2297240d628a54fdd1d73c4c61cd0fe071382d46b181cd8"
    text = '{"layers": [1, 2], "out": "runs", "seed": 0, "site": "z"}'
    assert hashlib.sha256(text.encode()).hexdigest() == golden
    same = {"layers": [1, 2], "out": "runs", "seed": 0, "site": "z"}
    assert settings_digest(Settings()) == settings_digest(same) == golden
    assert settings_digest(Settings(seed=1)) != golden
    with pytest.raises(ValueError, match="there is no form for a set"):
        settings_digest({"a": {1}})
    with pytest.raises(ValueError, match="settings cannot be said in JSON"):
        settings_digest({"a": math.inf})


def test_a_run_with_other_settings_is_refused(tmp_path) -> None:
    prediction = ca.predict(STATEMENT, above=0.5, settings=Settings(), root=tmp_path)
    with pytest.raises(PredictionError, match="was made for a run with other settings"):
        prediction.grade(0.9, settings=Settings(seed=1))
    free = ca.predict(STATEMENT, above=0.5, root=tmp_path)
    with pytest.raises(PredictionError, match="was made without settings"):
        free.grade(0.9, settings=Settings())
    assert len(lines(tmp_path)) == 2
    graded = prediction.grade(0.9, settings=Settings())
    assert graded.result is not None and graded.result.settings == settings_digest(Settings())
    assert free.grade(0.9).result.settings is None


def test_a_run_is_checked_by_its_record_and_must_be_younger(tmp_path) -> None:
    with RunFolder.create(tmp_path, "patch", Settings()) as folder:
        folder.save_results({})
    run = load_run("latest", tmp_path)
    prediction = ca.predict(STATEMENT, above=0.5, settings=Settings(), root=tmp_path)
    early = dataclasses.replace(prediction, made=prediction.made + timedelta(seconds=5))
    with pytest.raises(PredictionError, match=f"Run {run.id} began at .* that would be no predic"):
        early.grade(0.9, run=run)
    with pytest.raises(PredictionError, match="settings or a run, not both"):
        prediction.grade(0.9, settings=Settings(), run=run)
    late = dataclasses.replace(prediction, made=prediction.made - timedelta(seconds=5))
    assert late.grade(0.9, run=run).result.settings == settings_digest(Settings())


# ---- a log that others write to, or that is broken ----


def write_many(root: str) -> None:
    for i in range(20):
        ca.predict(f"number {i} " + "x" * 5000, above=0.5, root=root)


def grade_one(root: str) -> bool:
    (prediction,), _ = list_predictions(root)
    try:
        prediction.grade(1.0)
    except PredictionError:
        return False
    return True


def test_writers_at_the_same_time_do_not_mix_their_lines(tmp_path) -> None:
    many, one = str(tmp_path / "many"), str(tmp_path / "one")
    ca.predict(STATEMENT, above=0.5, root=one)
    with ProcessPoolExecutor(4, get_context("spawn")) as pool:
        list(pool.map(write_many, [many] * 4))
        graded = list(pool.map(grade_one, [one] * 8))
    found, faults = list_predictions(many)
    assert len(found) == 80 and not faults
    assert sum(graded) == 1 and len(lines(tmp_path / "one")) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="there is no lock of this kind")
def test_who_writes_second_has_read_what_the_first_wrote(tmp_path) -> None:
    log, seen = tmp_path / "log.jsonl", []

    def second(lines: line_log.Lines) -> dict[str, int]:
        seen.extend(lines.entries)
        return {"second": 2}

    other = Thread(target=line_log.append, args=(log, second))

    def first(lines: line_log.Lines) -> dict[str, int]:
        other.start()
        other.join(0.2)  # time enough to get ahead, if nothing held it back
        return {"first": 1}

    line_log.append(log, first)
    other.join()
    assert seen == [(1, {"first": 1})]
    assert [entry for _, entry in line_log.read(log).entries] == [{"first": 1}, {"second": 2}]


def test_half_a_line_is_reported_and_harms_no_other(tmp_path) -> None:
    first = ca.predict("first", above=0.5, root=tmp_path)
    log = tmp_path / "predictions.jsonl"
    whole = log.read_bytes()
    log.write_bytes(whole + whole[: len(whole) // 2])  # the machine went down while it was written
    second = ca.predict("second", above=0.5, root=tmp_path)
    graded = first.grade(1.0)
    found, faults = list_predictions(tmp_path)
    assert found == [graded, second]
    assert faults == [f"{log}, line 2: not a whole line of JSON."]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("[1]", "a list and no object"),
        ("\xff", "not a whole line of JSON"),
        ('{"kind": "note"}', "neither a prediction nor a grade (of the kind 'note')"),
        ('{"id": "a"}', "neither a prediction nor a grade ('kind' is missing)"),
        ('{"kind": "prediction"}', "('confidence' is missing)"),
        ('{"kind": "grade", "of": "aa"}', "a grade of a prediction aa that is not above it"),
        ("again", "a second prediction"),
        ("naive", "has no time zone"),
        ("claimless", "exactly one of between"),
        ("grades", "a second grade of prediction"),
        ("vague", "held and clear must be true or false"),
    ],
)
def test_every_line_that_is_not_understood_is_reported(line, fault, tmp_path) -> None:
    prediction = ca.predict("first", above=0.5, root=tmp_path)
    log = tmp_path / "predictions.jsonl"
    (text,) = lines(tmp_path)
    grade = {"kind": "grade", "of": prediction.id, "graded": prediction.made.isoformat(),
             "observed": 1.0, "held": True, "clear": True, "settings": None}  # fmt: skip
    special = {
        "again": text,
        "naive": text.replace("+00:00", "").replace(prediction.id, "bb"),
        "claimless": text.replace("above", "over").replace(prediction.id, "bb"),
        "grades": f"{json.dumps(grade)}\n{json.dumps({**grade, 'held': False})}",
        "vague": json.dumps({**grade, "clear": "yes"}),
    }
    with open(log, "ab") as file:
        file.write((special.get(line, line) + "\n").encode("latin-1"))
    (found,), (said,) = list_predictions(tmp_path)
    assert found.id == prediction.id and fault in said and said.startswith(f"{log}, line ")
    assert found.result is None or found.result.held


def test_a_folder_that_is_a_file_is_named(tmp_path) -> None:
    (tmp_path / "runs").touch()
    with pytest.raises(NotADirectoryError, match="runs is a file"):
        ca.predict(STATEMENT, above=0.5, root=tmp_path / "runs")


# ---- calibration ----


def made_up(confidence: float | None, held: bool | None, day: int = 1) -> Prediction:
    made = datetime(2026, 3, day, tzinfo=UTC)
    result = None if held is None else Grade(made, 1.0 if held else 0.0, held, True)
    return Prediction("a", "s", Claim("above", 0.5), made, Path("log"), confidence, None, result)


@given(
    st.lists(
        st.tuples(st.sampled_from([None, 0.0, 0.2, 0.55, 0.8, 1.0]), st.sampled_from([None, True,
                  False]), st.integers(1, 3)),
        max_size=30,
    )
)  # fmt: skip
def test_every_graded_prediction_is_counted_once(cases) -> None:
    found = calibration([made_up(*case) for case in cases])
    sure = [(c, h) for c, h, _ in cases if h is not None and c is not None]
    n_graded = sum(h is not None for _, h, _ in cases)
    assert sum(one.held.n for one in found.bins) == len(sure)
    assert sum(one.held.n for one in found.days) == n_graded
    assert found.n_open == len(cases) - n_graded
    assert found.n_without_confidence == n_graded - len(sure)
    slack = 1e-12  # of rounding in a mean of equal numbers
    assert all(b.low - slack <= b.confidence <= b.high + slack for b in found.bins)
    if sure:
        assert found.brier.estimate == pytest.approx(np.mean([(c - h) ** 2 for c, h in sure]))
    else:
        assert found.brier is None


def test_the_shares_of_known_predictions() -> None:
    cases = [made_up(0.9, i < 9, day=1 + i // 5) for i in range(10)]
    cases += [made_up(0.5, i < 1, day=3) for i in range(4)] + [made_up(None, True, day=3)]
    found = calibration(cases)
    assert [(one.held.estimate, one.held.n) for one in found.bins] == [(0.25, 4), (0.9, 10)]
    assert [one.confidence for one in found.bins] == pytest.approx([0.5, 0.9])
    assert [(one.day, one.held.n) for one in found.days] == [
        ("2026-03-01", 5), ("2026-03-02", 5), ("2026-03-03", 5)
    ]  # fmt: skip
    assert found.days[0].brier == pytest.approx(0.01)
    assert found.brier.estimate == pytest.approx((9 * 0.01 + 0.81 + 4 * 0.25) / 14)
    assert found.brier.low < found.brier.estimate < found.brier.high
    with pytest.raises(ValueError, match="must ascend from 0 to 1"):
        calibration(cases, edges=(0.0, 0.5))


# ---- the command line ----


def shown(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cutaway", "predictions", *words],
        capture_output=True, text=True, cwd=cwd, env={**os.environ, "COLUMNS": "80"},
    )  # fmt: skip


def test_the_command_shows_predictions_and_calibration_within_80_columns(tmp_path) -> None:
    root = tmp_path / "runs"
    long = "where the head that restores most looks from END when the subject is flipped"
    ca.predict(long, equals="IO (as a name mover)", confidence=0.65, root=root).grade(
        "S1, and at a third of all prompts also S2"
    )
    ca.predict(STATEMENT, between=(0.2, 0.5), confidence=0.8, root=root).grade(
        interval(0.4812, 0.44, 0.5123)
    )
    ca.predict("edges [large]", above=100, root=root)
    done = shown(cwd=tmp_path)
    assert done.returncode == 0 and done.stderr == ""
    assert max(map(len, done.stdout.splitlines())) <= 80 and "…" not in done.stdout
    text = " ".join(done.stdout.split())
    for part in ("edges [large]", "undecided", "missed", "open", "0.2 to 0.5", "80% to 100%",
                 "1 of 2 graded predictions held: 50% [9, 91].", "Brier score 0.23",
                 "- 1 are undecided", "- 1 are not graded yet."):  # fmt: skip
        assert part in text
    with open(root / "predictions.jsonl", "a") as file:
        file.write('{"kind": "pre')
    last = shown("--last", "1", cwd=tmp_path).stdout
    assert "edges [large]" in last and STATEMENT[:12] not in last
    assert "broken: runs/predictions.jsonl, line 6: not a whole line" in " ".join(last.split())


def test_the_command_is_plain_where_there_is_nothing_and_where_something_is_wrong(
    tmp_path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["predictions"]) == 0
    assert capsys.readouterr().out == "There are no predictions in runs.\n"
    ca.predict(STATEMENT, above=0.5)
    assert cli.main(["predictions"]) == 0
    assert "- Nothing is graded yet." in capsys.readouterr().out
    assert cli.main(["predictions", "--last", "0"]) == 2
    assert capsys.readouterr().err == "cutaway: last=0 must be at least 1.\n"
    Path("runs/predictions.jsonl").unlink()
    Path("runs/predictions.jsonl").mkdir()
    assert cli.main(["predictions"]) == 2
    assert capsys.readouterr().err == "cutaway: runs/predictions.jsonl: is a directory.\n"
