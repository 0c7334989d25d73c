"""Jobs in processes of their own, each with one thread of torch: for work that is small and many.

A worker is an interpreter that is given one job after the other, so that torch is loaded once in
each. Threads are limited by the environment of the worker, and nothing in this process changes.
"""

from __future__ import annotations

import importlib
import json
import os
import queue
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from tempfile import TemporaryFile
from typing import IO, Any

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_LINES_OF_ERROR = 3


class WorkerError(ValueError):
    """A job that failed; the message names it and says why."""


@dataclass(frozen=True)
class Job:
    """One call in another process."""

    name: str
    """For messages."""
    calls: str
    """module:function, called with `arguments` and with a function that is told the share done."""
    arguments: Mapping[str, Any]
    """Plain values."""


def run_jobs(
    jobs: Sequence[Job],
    n_processes: int | None = None,
    progress: Callable[[float], None] = lambda share: None,
) -> None:
    """Run all jobs, some at a time; what they find they write to files.

    Args:
        jobs: in the order in which they are begun.
        n_processes: at a time; None means one for each core that this process may use.
        progress: told the share that is done, over all jobs.

    Raises:
        WorkerError: a job failed; the others are stopped.
        KeyboardInterrupt: the workers are stopped first.

    Example:
        >>> run_jobs([Job("a sum", "operator:add", {})])  # doctest: +SKIP
    """
    if not jobs:
        progress(1.0)
        return
    n = min(n_processes or n_cores(), len(jobs))
    shares = [0.0] * len(jobs)
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in range(len(jobs)):
        waiting.put(number)
    lock, stop = threading.Lock(), threading.Event()
    running: list[subprocess.Popen[str]] = []

    def told(number: int, share: float) -> None:
        with lock:
            shares[number] = share
            progress(sum(shares) / len(shares))

    def serve() -> None:
        with _worker() as (process, errors):
            running.append(process)
            while not stop.is_set():
                try:
                    number = waiting.get_nowait()
                except queue.Empty:
                    return
                _run_one(process, errors, jobs[number], partial(told, number))
                told(number, 1.0)

    with ThreadPoolExecutor(n) as pool:
        found = [pool.submit(serve) for _ in range(n)]
        try:
            for one in found:
                one.result()
        except BaseException:
            stop.set()
            for process in running:
                process.kill()
            raise


def n_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _worker() -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
    """A process, and the file that its messages and all that jobs print go to.

    A file and no pipe: nobody reads it while jobs run, and a pipe that is full stops its writer.
    """
    one_thread = {**os.environ, **dict.fromkeys(_THREADS, "1")}
    with TemporaryFile("w+", errors="replace") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=one_thread,
        )
        try:
            yield process, errors
        finally:
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with suppress(BrokenPipeError):
                        pipe.close()
            process.kill()
            process.wait()


def _run_one(
    process: subprocess.Popen[str], errors: IO[str], job: Job, told: Callable[[float], None]
) -> None:
    assert process.stdin is not None and process.stdout is not None
    asked = {"name": job.name, "calls": job.calls, "arguments": dict(job.arguments)}
    with suppress(BrokenPipeError):
        process.stdin.write(json.dumps(asked) + "\n")
        process.stdin.flush()
    for line in process.stdout:
        said = json.loads(line)
        if "error" in said:
            raise WorkerError(f"{job.name} failed: {said['error']}")
        if said.get("done"):
            return
        told(float(said["share"]))
    code = process.wait()
    errors.seek(0)
    last = " ".join(errors.read().split("\n")[-_LINES_OF_ERROR:]).strip()
    raise WorkerError(
        f"{job.name} failed: its process ended with code {code} "
        f"({last or 'no message'}); with -9 it was killed, perhaps for want of memory: ask for "
        "fewer processes."
    )


def main() -> None:
    """The worker: a job on each line of its input, what it says on each line of its output."""
    speech = os.fdopen(os.dup(1), "w")  # what a job prints goes to the other stream

    def say(**what: Any) -> None:
        speech.write(json.dumps(what) + "\n")
        speech.flush()

    sys.stdout = sys.stderr
    for line in sys.stdin:
        asked = json.loads(line)
        module, _, name = asked["calls"].partition(":")
        try:
            call = getattr(importlib.import_module(module), name)
            call(asked["arguments"], lambda share: say(share=share))
        except KeyboardInterrupt:
            return
        except ValueError as error:
            say(error=str(error))
            return
        except Exception:
            say(error=" ".join(traceback.format_exc().split("\n")[-4:]).strip())
            return
        say(done=True)


if __name__ == "__main__":
    main()
