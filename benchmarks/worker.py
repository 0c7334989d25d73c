"""Peers in processes of their own: their pins conflict, and memory is measured for each alone.

A worker loads its model once and waits; it times its own work, so that neither its start nor the
way here counts. While one side is at work, the others wait and use no core.

    python worker.py PEER FOLDER THREADS      (started by `open_peers`, not by hand)
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from common import Prompts, Shape, note, peak_memory, timed

_ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENTS = {
    "tl39": ".venv-peers",
    "tl4": ".venv-peers-4",
    "nnsight": ".venv-peers-nnsight",
    "auto-circuit": ".venv-peers-autocircuit",
}


@dataclass(frozen=True)
class Answer:
    """What a peer found, the seconds it took, and the MB that its process grew by."""

    seconds: float
    values: Any
    memory: float | None = None


class Local:
    """A peer in this process, where this is its environment."""

    def __init__(self, name: str, shape: Shape, state: dict[str, Tensor]) -> None:
        from peers import PEERS

        self._peer = PEERS[name](shape, state)
        self.version, self.sites = self._peer.version, self._peer.sites

    def ask(self, kind: str, prompts: Prompts, memory: bool = False, **options: Any) -> Answer:
        """Do one thing; see `Worker.ask`."""
        return _answer(self._peer, kind, prompts, memory, options)

    def close(self) -> None:
        """Nothing to end."""


class Worker:
    """A peer in a process of its own, in its own environment."""

    def __init__(self, name: str, shape: Shape, state: dict[str, Tensor], folder: Path) -> None:
        weights = folder / "weights.safetensors"
        if not weights.exists():
            save_file({key: value.contiguous() for key, value in state.items()}, weights)
            (folder / "shape.json").write_text(json.dumps(asdict(shape)))
        python = _ROOT / ENVIRONMENTS[name] / "bin" / "python"
        if not python.exists():
            raise FileNotFoundError(f"{ENVIRONMENTS[name]} is missing: `make peers` sets it up.")
        command = [python, __file__, name, folder, torch.get_num_threads()]
        self._process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
        )
        ready = self._receive()
        self.version: str = ready["version"]
        self.sites: tuple[str, ...] = tuple(ready["sites"])

    def ask(self, kind: str, prompts: Prompts, memory: bool = False, **options: Any) -> Answer:
        """Let it do one thing (a method of `Peer`) and wait.

        Args:
            kind: "sweep", "edges" or "eap".
            prompts: what to do it on.
            memory: also measure memory, which takes a little time from it.
            options: of that method.
        """
        tokens = {name: value.tolist() for name, value in vars(prompts).items()}
        request = {"kind": kind, "prompts": tokens, "memory": memory, "options": options}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return Answer(**self._receive())

    def _receive(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the worker ended early; its words are above.")
        received: dict[str, Any] = json.loads(line)
        return received

    def close(self) -> None:
        """End the process, also in the middle of its work."""
        self._process.terminate()
        self._process.wait()


@contextlib.contextmanager
def open_peers(
    names: Sequence[str], shape: Shape, state: dict[str, Tensor]
) -> Iterator[dict[str, Local | Worker]]:
    """The peers whose environments are there, until the end; a remark for each that is not."""
    found: dict[str, Local | Worker] = {}
    with tempfile.TemporaryDirectory() as folder:
        try:
            for name in names:
                try:
                    if Path(sys.prefix).resolve() == _ROOT / ENVIRONMENTS[name]:
                        found[name] = Local(name, shape, state)
                    else:
                        found[name] = Worker(name, shape, state, Path(folder))
                except FileNotFoundError as missing:
                    note(f"{name} left out: {missing}")
            yield found
        finally:
            for peer in found.values():
                peer.close()


def _answer(
    peer: Any, kind: str, prompts: Prompts, memory: bool, options: dict[str, Any]
) -> Answer:
    job = getattr(peer, kind)(prompts, **options)
    if memory:
        grown, (seconds, result) = peak_memory(lambda: timed(job.work))
        return Answer(seconds, job.values(result), grown)
    seconds, result = timed(job.work)
    return Answer(seconds, job.values(result))


def _serve(name: str, folder: Path, n_threads: int) -> None:
    # What libraries print must not come between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    torch.set_num_threads(n_threads)
    from peers import PEERS

    shape = Shape(**json.loads((folder / "shape.json").read_text()))
    peer = PEERS[name](shape, load_file(folder / "weights.safetensors"))

    def send(message: dict[str, Any]) -> None:
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    send({"version": peer.version, "sites": peer.sites})
    for line in sys.stdin:
        request = json.loads(line)
        prompts = Prompts(**{key: torch.tensor(v) for key, v in request["prompts"].items()})
        answer = _answer(peer, request["kind"], prompts, request["memory"], request["options"])
        send(asdict(answer))


if __name__ == "__main__":
    _serve(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
