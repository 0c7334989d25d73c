"""Jobs in processes of their own: all are done, one thread each, and what fails says why."""

from __future__ import annotations

import json
import os

import pytest

from cutaway.experiments.workers import Job, WorkerError, run_jobs

JOBS = """
import json, os, pathlib

def note(asked, told):
    told(0.5)
    print("what a job prints goes nowhere")
    path = pathlib.Path(asked["file"])
    path.write_text(json.dumps([os.getpid(), os.environ["OMP_NUM_THREADS"], asked["number"]]))

def refuse(asked, told):
    raise ValueError("the number 7 is too large: at most 6.")

def fault(asked, told):
    return {}["missing"]

def chatter(asked, told):
    import sys
    print("x" * 300_000)
    sys.stderr.write("y" * 300_000)
    note(asked, told)

def die(asked, told):
    os._exit(3)
"""


@pytest.fixture
def jobs(tmp_path, monkeypatch):
    """Makes jobs that call a function of a module that workers can import."""
    (tmp_path / "jobs_for_workers.py").write_text(JOBS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)

    def make(name: str, n: int = 1) -> list[Job]:
        return [
            Job(
                f"{name} {number}",
                f"jobs_for_workers:{name}",
                {"file": str(tmp_path / f"{number}.json"), "number": number},
            )
            for number in range(n)
        ]

    return make


def test_a_job_may_print_more_than_a_pipe_holds(jobs, tmp_path) -> None:
    run_jobs(jobs("chatter", 3), n_processes=1)
    assert all((tmp_path / f"{number}.json").is_file() for number in range(3))


def test_every_job_is_done_once_by_as_many_workers_as_asked(jobs, tmp_path) -> None:
    shares: list[float] = []
    run_jobs(jobs("note", 5), n_processes=2, progress=shares.append)
    found = [json.loads((tmp_path / f"{number}.json").read_text()) for number in range(5)]
    assert [row[2] for row in found] == list(range(5))
    assert {row[1] for row in found} == {"1"}
    assert len({row[0] for row in found}) <= 2
    assert shares == sorted(shares) and shares[-1] == pytest.approx(1.0)


def test_nothing_to_do_is_done() -> None:
    shares: list[float] = []
    run_jobs([], progress=shares.append)
    assert shares == [1.0]


@pytest.mark.parametrize(
    "name, why",
    [
        ("refuse", "refuse 0 failed: the number 7 is too large: at most 6"),
        ("fault", "fault 0 failed: .*KeyError: 'missing'"),
        ("die", "die 0 failed: its process ended with code 3"),
    ],
)
def test_a_job_that_fails_says_why_and_stops_the_rest(jobs, tmp_path, name: str, why: str) -> None:
    with pytest.raises(WorkerError, match=why):
        run_jobs([*jobs(name), *jobs("note", 3)], n_processes=1)
    assert not (tmp_path / "2.json").exists()
