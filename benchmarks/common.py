"""What every benchmark needs, in torch alone, so that the peers' environments can use it too:
shapes, prompts, random weights, clocks, memory, and how results are shown."""

from __future__ import annotations

import argparse
import json
import math
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")
WIDTH = 100  # columns that a terminal and a page of the docs hold


@dataclass(frozen=True)
class Shape:
    """The sizes of a decoder as GPT-2 has them."""

    name: str
    n_layers: int
    d_model: int
    n_heads: int
    d_vocab: int = 50257
    n_ctx: int = 1024

    @property
    def d_head(self) -> int:
        """Width of a head."""
        return self.d_model // self.n_heads

    @property
    def d_mlp(self) -> int:
        """Width of the MLP."""
        return 4 * self.d_model

    def with_layers(self, n_layers: int | None) -> Shape:
        """The same with another depth; None keeps it."""
        if n_layers is None or n_layers == self.n_layers:
            return self
        return replace(self, name=f"{self.name} ({n_layers} layers)", n_layers=n_layers)


SHAPES = {
    shape.name: shape
    for shape in (Shape("gpt2-small", 12, 768, 12), Shape("gpt2-medium", 24, 1024, 16))
}


@dataclass(frozen=True)
class Prompts:
    """Pairs of prompts that differ at one position; the answers are compared at the last one."""

    clean: Tensor  # [prompt, pos]
    corrupted: Tensor  # [prompt, pos]
    correct: Tensor  # [prompt]
    wrong: Tensor  # [prompt]

    @classmethod
    def random(cls, shape: Shape, n_prompts: int, n_pos: int, first_difference: int) -> Prompts:
        """Random tokens, the same for the same arguments."""
        generator = torch.Generator().manual_seed(1000 * n_pos + first_difference)

        def tokens(*size: int) -> Tensor:
            return torch.randint(0, shape.d_vocab, size, generator=generator)

        clean = tokens(n_prompts, n_pos)
        corrupted = clean.clone()
        corrupted[:, first_difference] = tokens(n_prompts)
        return cls(clean, corrupted, tokens(n_prompts), tokens(n_prompts))

    def __getitem__(self, chosen: slice) -> Prompts:
        return Prompts(
            self.clean[chosen], self.corrupted[chosen], self.correct[chosen], self.wrong[chosen]
        )

    def difference(self, logits: Tensor) -> Tensor:
        """Logit difference of each prompt, from logits [prompt, pos, vocab] that end at the end."""
        last = logits[:, -1]
        rows = torch.arange(len(last))
        return last[rows, self.correct] - last[rows, self.wrong]


def random_weights(shape: Shape, seed: int = 0) -> dict[str, Tensor]:
    """Weights by their field names. Biases and norms are drawn too: a peer that lost one of
    them on the way would show in the results."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*size: int, std: float = 0.03) -> Tensor:
        return torch.empty(size).normal_(0, std, generator=generator)

    heads, d, head, mlp = shape.n_heads, shape.d_model, shape.d_head, shape.d_mlp
    state = {"embed.W_E": draw(shape.d_vocab, d), "pos_embed.W_pos": draw(shape.n_ctx, d)}
    writes = 0.03 / math.sqrt(2 * shape.n_layers)
    for block in (f"blocks.{layer}" for layer in range(shape.n_layers)):
        for letter in "QKV":
            state[f"{block}.attn.W_{letter}"] = draw(heads, d, head)
            state[f"{block}.attn.b_{letter}"] = draw(heads, head)
        state |= {
            f"{block}.attn.W_O": draw(heads, head, d, std=writes),
            f"{block}.attn.b_O": draw(d),
            f"{block}.mlp.W_in": draw(d, mlp),
            f"{block}.mlp.b_in": draw(mlp),
            f"{block}.mlp.W_out": draw(mlp, d, std=writes),
            f"{block}.mlp.b_out": draw(d),
        }
    norms = [f"blocks.{layer}.ln{i}" for layer in range(shape.n_layers) for i in (1, 2)]
    for norm in [*norms, "ln_final"]:
        state |= {f"{norm}.w": 1 + draw(d), f"{norm}.b": draw(d)}
    return state | {"unembed.W_U": draw(d, shape.d_vocab)}


def parser(doc: str | None) -> argparse.ArgumentParser:
    """The options that every benchmark of a shape has."""
    made = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    made.add_argument("--shape", default="gpt2-small", choices=list(SHAPES))
    made.add_argument("--layers", type=int, help="a shallower model, to try things out")
    made.add_argument("--prompts", type=int, default=8, help="pairs of prompts")
    made.add_argument("--out", type=Path, help="also write the rows as JSON")
    return made


def timed(function: Callable[[], T]) -> tuple[float, T]:
    """Seconds, and what came back."""
    start = time.perf_counter()
    value = function()
    return time.perf_counter() - start, value


def matrix_product_rate(shape: Shape) -> float:
    """The machine's rate on products as the model's MLP has them, in FLOP/s."""
    x, weight = torch.randn(480, shape.d_model), torch.randn(shape.d_model, shape.d_mlp)
    seconds = [timed(lambda: x @ weight)[0] for _ in range(60)]
    return 2 * 480 * shape.d_model * shape.d_mlp / statistics.median(seconds[10:])


def peak_memory(function: Callable[[], T]) -> tuple[float, T]:
    """By how many MB the process grew at most while the function ran, and what came back.

    Linux can forget the earlier peak. Elsewhere the process's peak ever is all there is, so that
    only a function that goes beyond everything before it shows.
    """
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        before = _peak_ever()
        value = function()
        return _peak_ever() - before, value
    before = _status("VmRSS")
    value = function()
    return _status("VmHWM") - before, value


def _status(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def _peak_ever() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 1024)


def machine() -> str:
    """One line on what the figures were measured on."""
    names = [
        line.split(":", 1)[1].strip()
        for line in _read("/proc/cpuinfo").splitlines()
        if line.startswith("model name")
    ]
    name = names[0] if names else platform.processor() or platform.machine()
    return f"{name}, {torch.get_num_threads()} threads, torch {torch.__version__}, float32"


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


@dataclass(frozen=True)
class Column:
    """One column of a table: its title, and how a row's value is written."""

    title: str
    show: Callable[[dict[str, Any]], str]


class Table:
    """A Markdown table that is printed row by row, while the next one is still being measured."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self.columns = columns
        self.rows: list[dict[str, Any]] = []

    def add(self, row: dict[str, Any]) -> None:
        """Print one more row, after the titles if it is the first."""
        if not self.rows:
            print("| " + " | ".join(column.title for column in self.columns) + " |")
            print("|" + "|".join("-" * (len(c.title) + 1) + ":" for c in self.columns) + "|")
        self.rows.append(row)
        cells = [column.show(row).rjust(len(column.title)) for column in self.columns]
        print("| " + " | ".join(cells) + " |", flush=True)


def save(path: Path | None, rows: Sequence[dict[str, Any]]) -> None:
    """Write the rows and the machine as JSON, if a path is given."""
    if path is not None:
        described = {"machine": machine(), "rows": list(rows)}
        path.write_text(json.dumps(described, indent=2) + "\n")


def note(text: str) -> None:
    """A remark on the error stream, so that the table stays clean."""
    print(text, file=sys.stderr, flush=True)
