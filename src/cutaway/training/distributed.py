"""The same training on several devices: `torchrun` starts one process for each.

Every process has the whole model and a share of each step's sequences; DistributedDataParallel
averages the gradients, so that all take the same step. One of them writes and speaks.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed
from jaxtyping import Int
from torch import Tensor, nn


@dataclass(frozen=True)
class World:
    """Which of how many processes this one is."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def is_main(self) -> bool:
        """Whether this process writes and speaks."""
        return self.rank == 0

    def device(self, wanted: str) -> str:
        """The device of this process: with "cuda", a GPU of its own."""
        return f"cuda:{self.local_rank}" if wanted == "cuda" and self.size > 1 else wanted

    def share(self, rows: Int[Tensor, "batch pos"]) -> Int[Tensor, "part pos"]:
        """This process's part of a step's sequences.

        Raises:
            ValueError: they do not divide.
        """
        if len(rows) % self.size:
            raise ValueError(
                f"{len(rows)} sequences (batch_size / accumulate) do not divide among "
                f"{self.size} processes: choose another batch_size."
            )
        return rows.chunk(self.size)[self.rank] if self.size > 1 else rows

    def mean(self, value: Tensor) -> Tensor:
        """The mean over all processes, in each of them."""
        if self.size > 1:
            value = value.clone()
            torch.distributed.all_reduce(value)
            value = value / self.size
        return value

    def from_main(self, number: int, device: torch.device) -> int:
        """The main process's number, in each of them."""
        if self.size == 1:
            return number
        box = torch.tensor([number], device=device)
        torch.distributed.broadcast(box, 0)
        return int(box)

    def parallel(self, module: nn.Module, device: torch.device) -> nn.Module:
        """The module with its gradients averaged over all processes."""
        if self.size == 1:
            return module
        ids = [device] if device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(module, device_ids=ids)


ALONE = World()


@contextmanager
def joined_world(device: str) -> Iterator[World]:
    """The processes that `torchrun` started together; alone where it did not.

    Example:
        >>> with joined_world("cpu") as world:
        ...     world.size
        1
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield ALONE
        return
    backend = "nccl" if device.startswith("cuda") else "gloo"
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    bound = torch.device("cuda", local_rank) if backend == "nccl" else None
    torch.distributed.init_process_group(backend, device_id=bound)
    try:
        yield World(torch.distributed.get_rank(), torch.distributed.get_world_size(), local_rank)
    finally:
        torch.distributed.destroy_process_group()
