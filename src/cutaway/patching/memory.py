"""How much memory a sweep may use, and how large its parts may then be."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

import torch

from ..model.config import ModelConfig

# Past this many positions in one matrix product nothing is gained: measured on two CPU cores
# (products are at their full rate from about 100 rows on) and chosen generously for GPUs.
_POSITIONS_PER_CHUNK = {"cpu": 768, "cuda": 65_536}


def free_memory(device: torch.device) -> int:
    """Bytes that are free on the device now; in a container, what is left of its limit."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        match = re.search(r"MemAvailable:\s+(\d+) kB", meminfo.read_text())
        if match:
            free = int(match.group(1)) * 1024
    limit, used = (_read_number(f"/sys/fs/cgroup/memory.{name}") for name in ("max", "current"))
    return free if limit is None or used is None else max(min(free, limit - used), 0)


def allowed_memory(device: torch.device, max_memory: float | None) -> int:
    """`max_memory` in whole bytes; None means a quarter of what is free.

    Raises:
        ValueError: it is not a positive number.
    """
    if max_memory is None:
        return free_memory(device) // 4
    if not max_memory > 0:
        raise ValueError(f"max_memory={max_memory} is not a positive number of bytes.")
    return int(max_memory)


def _read_number(path: str) -> int | None:
    try:
        return int(Path(path).read_text())
    except (OSError, ValueError):  # no such file, or "max": no limit
        return None


@dataclass(frozen=True)
class MemoryPlan:
    """What fits: prompts in one base run, and rows in one cone."""

    bytes_allowed: int
    prompts_per_batch: int
    bytes_per_prompt: int
    bytes_per_row_position: int
    bytes_per_row_key: int
    bytes_per_row: int
    positions_per_chunk: int
    n_pos: int

    @property
    def predicted_peak(self) -> int:
        """Bytes that will be held at most, beside the weights and the results."""
        chunks = []
        for window in (1, self.n_pos):  # many short rows, which all hold keys, or few long ones
            row = window * self.bytes_per_row_position + self.n_pos * self.bytes_per_row_key
            rows = self.rows_per_chunk(window, self.n_pos)
            chunks.append(rows * (row + self.bytes_per_row))
        return self.prompts_per_batch * self.bytes_per_prompt + max(chunks)

    def rows_per_chunk(self, n_window: int, n_keys: int) -> int:
        """Rows of a window of n_window positions that see n_keys keys."""
        per_row = n_window * self.bytes_per_row_position + n_keys * self.bytes_per_row_key
        per_row += self.bytes_per_row
        by_memory = self.bytes_allowed // 2 // per_row
        by_speed = self.positions_per_chunk // max(n_window, 1)
        return max(1, min(by_memory, max(by_speed, 1)))


@dataclass(frozen=True)
class Workload:
    """What a sweep has to hold."""

    n_prompts: int
    n_pos: int
    """Tokens of the longest prompt."""
    n_logits: int
    """Logits that the metric reads of each row."""
    recorded: int
    """Numbers per position that each of the two runs records beside what every cone needs."""
    extra: int = 0
    """Numbers per position and prompt that are held beside the runs."""
    working: int = 0
    """Numbers per position that a run, or a cone, holds in passing beside the model's own."""


def recorded_width(cfg: ModelConfig, hook: str, n_pos: int) -> int:
    """Numbers per position at a hook point."""
    name = hook.rsplit(".", 1)[-1].removeprefix("hook_")
    widths = {
        "q": cfg.n_heads * cfg.d_head,
        "k": cfg.n_key_value_heads * cfg.d_head,
        "v": cfg.n_key_value_heads * cfg.d_head,
        "z": cfg.n_heads * cfg.d_head,
        "result": cfg.n_heads * cfg.d_model,
        "pattern": cfg.n_heads * n_pos,
        "attn_scores": cfg.n_heads * n_pos,
        "pre": cfg.d_mlp,
        "pre_linear": cfg.d_mlp,
        "post": cfg.d_mlp,
    }
    return widths.get(name.removeprefix("rot_"), cfg.d_model)


def plan_memory(
    cfg: ModelConfig,
    work: Workload,
    dtype: torch.dtype,
    device: torch.device,
    max_memory: int | None,
) -> MemoryPlan:
    """Divide what is allowed: half for the two recorded runs, half for the cones.

    Args:
        max_memory: bytes; None means a quarter of what is free.

    Raises:
        ValueError: not even one prompt and one row fit.
    """
    allowed = allowed_memory(device, max_memory)
    size = torch.empty((), dtype=dtype).element_size()
    n_pos = work.n_pos
    kv = 2 * cfg.n_key_value_heads * cfg.d_head
    width = max(cfg.d_model, cfg.n_heads * cfg.d_head)
    # Recorded per position: of the base run all that cones need; of both runs, and of a reference's
    # values that are put in place, what the intervention needs.
    recorded = cfg.n_layers * (2 * cfg.d_model + kv) + 3 * work.recorded + work.extra
    hidden = 0 if cfg.attn_only else (3 if cfg.gated_mlp else 2) * cfg.d_mlp
    # A whole run holds one layer's working values as well.
    per_prompt = n_pos * size * (recorded + 6 * width + hidden + cfg.n_heads * n_pos + work.working)
    row_position = size * (12 * width + kv + hidden + 2 * cfg.n_heads * n_pos + work.working)
    row_key = size * 2 * kv * cfg.heads_per_group
    n_batch = int(min(work.n_prompts, allowed // 2 // per_prompt))
    row_logits = 3 * size * work.n_logits
    row = n_pos * (row_position + row_key) + row_logits
    if n_batch < 1 or allowed // 2 < row:
        needed = 2 * max(per_prompt, row)
        raise ValueError(
            f"max_memory={allowed:,} bytes is too little: one prompt of {n_pos} tokens needs "
            f"{needed:,}. Raise max_memory, or use shorter prompts."
        )
    per_chunk = _POSITIONS_PER_CHUNK.get(device.type, 8192)
    return MemoryPlan(
        allowed, n_batch, per_prompt, row_position, row_key, row_logits, per_chunk, n_pos
    )
