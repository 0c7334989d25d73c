"""Trains in a child process that is killed again and again: what test_training_checkpoints.py runs.

    python killed_training.py FOLDER

Prints the digest of a run that was left alone, and of one that was killed at random moments, as a
line of JSON. Children are forked, so that torch is imported once.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import torch

from cutaway.training.config import TrainConfig
from cutaway.training.run import Events, train_config

CONFIG = TrainConfig.from_dict(
    {
        "name": "tiny",
        "data": {"kind": "repeated-tokens", "n_tokens": 9},
        "model": {"n_layers": 1, "n_heads": 2, "d_model": 8, "n_ctx": 8},
        "train": {
            "n_steps": 40,
            "batch_size": 4,
            "warmup_steps": 5,
            "checkpoint_every": 7,
            "dropout": 0.1,
        },
        "keep": {"log_spaced": 5, "report_every": 4, "evaluate_every": 10, "best": True},
    }
)


def train(folder: Path, kill_at: int | None = None) -> None:
    def stop() -> bool:
        nonlocal steps
        steps += 1
        if steps == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return False

    steps = 0
    train_config(CONFIG, folder, events=Events(stop=stop))


def child(folder: Path, kill_at: int | None = None, kill_after: float | None = None) -> int:
    """Train in a child; kill it at a step, or after some seconds; gives how it ended."""
    pid = os.fork()
    if pid == 0:
        train(folder, kill_at)
        os._exit(0)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(pid, signal.SIGKILL)
    return os.waitpid(pid, 0)[1]


def weights(folder: Path) -> str:
    from cutaway.model.transformer import HookedTransformer

    return HookedTransformer.from_pretrained_no_processing(folder / "model").digest


def main() -> None:
    torch.set_num_threads(1)
    folder, rng = Path(sys.argv[1]), random.Random(0)
    start = time.perf_counter()
    child(folder / "whole")
    seconds = time.perf_counter() - start
    endings = [child(folder / "steps", kill_at=rng.randrange(2, 12)) for _ in range(3)]
    for _ in range(4):  # at any moment, in the middle of a write as well
        endings.append(child(folder / "steps", kill_after=rng.uniform(0.02, 0.5) * seconds))
    last = child(folder / "steps")
    found = {name: weights(folder / name) for name in ("whole", "steps")}
    found |= {"killed": sum(end == signal.SIGKILL for end in endings), "last": last}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
