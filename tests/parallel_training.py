"""Trains in two processes that share each step's sequences: what test_train_command.py runs.

    python parallel_training.py FOLDER
    torchrun --nproc-per-node 2 parallel_training.py FOLDER

Without `torchrun` it starts the two processes itself, as forks, with the environment that
`torchrun` would give them: so torch is imported once.
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import torch

from cutaway.training.config import TrainConfig
from cutaway.training.distributed import joined_world
from cutaway.training.run import train_config

CONFIG = TrainConfig.from_dict(
    {
        "name": "tiny",
        "data": {"kind": "repeated-tokens", "n_tokens": 13},
        "model": {"n_layers": 2, "n_heads": 2, "d_model": 16, "n_ctx": 12},
        "train": {"n_steps": 16, "batch_size": 8, "accumulate": 2, "warmup_steps": 4},
        "keep": {"report_every": 2, "evaluate_every": 8, "n_held_out": 20, "log_spaced": 3},
    }
)


def train(folder: Path) -> None:
    torch.set_num_threads(1)
    with joined_world("cpu") as world:
        assert world.size == 2
        found = train_config(CONFIG, folder, world=world)
        if not world.is_main:
            (folder / "digest-of-the-other").write_text(found.model.digest)


def main() -> None:
    folder = Path(sys.argv[1])
    if "WORLD_SIZE" in os.environ:
        train(folder)
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    children = []
    for rank in ("0", "1"):
        pid = os.fork()
        if pid == 0:
            os.environ.update(shared, RANK=rank, LOCAL_RANK=rank)
            train(folder)
            os._exit(0)
        children.append(pid)
    sys.exit(any(os.waitpid(pid, 0)[1] for pid in children))


if __name__ == "__main__":
    main()
