"""Every edge of the residual graph, exactly: Cutaway's engine beside one full run for each edge.

`sweep_edges` patches all edges once (32,491 for GPT-2 small's shape). Beside it, in the same run,
a random sample of the same edges is patched by full forward passes with one hook each, on
Cutaway's own `HookedTransformer` and on TransformerLens 3.9's; their time is multiplied up, and
their values are compared with the engine's.

    make bench-edges
    make bench-edges ARGS="--layers 3 --sample 20"
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common import (
    SHAPES,
    Column,
    Prompts,
    Shape,
    Table,
    machine,
    matrix_product_rate,
    parser,
    peak_memory,
    random_weights,
    save,
    timed,
)
from cutaway.model.transformer import HookedTransformer
from cutaway.patching.edges import sweep_edges
from cutaway.patching.effects import Effects
from one_edge import OneEdge
from ours import count_flop, make_model, make_task
from worker import open_peers


def progress_line() -> Callable[[float], None]:
    """Show the share that is done and the time that is left, on a terminal only."""
    start, shown = time.perf_counter(), [0.0]

    def show(share: float) -> None:
        now = time.perf_counter()
        if not sys.stderr.isatty() or not share or (now < shown[0] + 1 and share < 1):
            return
        shown[0] = now
        left = (now - start) * (1 - share) / share
        end = "\n" if share >= 1 else ""
        print(f"\r{share:4.0%}, {left:5.0f} s left", end=end, file=sys.stderr, flush=True)

    return show


def arithmetic(model: HookedTransformer, prompts: Prompts) -> float:
    """FLOP of the whole sweep, counted on one prompt: every product has a row per prompt."""
    one = make_task(prompts[:1])
    return count_flop(lambda: sweep_edges(model, one, mode="denoising")) * len(prompts.clean)


def all_edges(
    model: HookedTransformer, shape: Shape, prompts: Prompts, options: argparse.Namespace
) -> tuple[dict[str, Any], Effects]:
    """The engine's row of the table, and what it found."""
    task, resume = make_task(prompts), options.resume
    flop = arithmetic(model, prompts) if options.count else None
    before = matrix_product_rate(shape)
    memory, (seconds, effects) = peak_memory(
        lambda: timed(
            lambda: sweep_edges(
                model, task, mode="denoising", progress=progress_line(), resume=resume
            )
        )
    )
    rate = (before + matrix_product_rate(shape)) / 2
    row = {
        "how": "ca.sweep_edges",
        "edges": len(effects.axes[0].labels),
        "timed": len(effects.axes[0].labels),
        "seconds": seconds,
        "ratio": 1.0,
        "memory_mb": memory,
        "tflop": None if flop is None else flop / 1e12,
        "matrix_product_gflops": rate / 1e9,
        "share_of_matrix_product_rate": None if flop is None else flop / seconds / rate,
        "largest_difference_of_means": None,
        "largest_change_of_means": float(np.abs(effects.per_prompt.mean(-1)).max()),
    }
    return row, effects


def one_at_a_time(
    how: str,
    run: Callable[[Sequence[str]], tuple[float, list[float], float | None]],
    engine: dict[str, Any],
    effects: Effects,
    sample: Sequence[int],
) -> dict[str, Any]:
    """A row for full runs: a sample of the edges, multiplied up to all.

    Args:
        how: its name in the table.
        run: edge names -> seconds, the mean metric with each edge, MB.
        engine: the engine's row.
        effects: what the engine found.
        sample: numbers of the edges to run.
    """
    names = effects.axes[0].labels
    run([names[sample[0]]])  # warm-up
    seconds, values, memory = run([names[i] for i in sample])
    estimate = seconds / len(sample) * len(names)
    expected = effects.patched.mean(-1)[list(sample)]
    return {
        "how": how,
        "edges": len(names),
        "timed": len(sample),
        "seconds": estimate,
        "ratio": estimate / engine["seconds"],
        "memory_mb": memory,
        "share_of_matrix_product_rate": None,
        "largest_difference_of_means": float(np.abs(expected - values).max()),
    }


def duration(seconds: float) -> str:
    """As "12.3 s", "4.5 min" or "6.7 h"."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _unless_none(key: str, form: str) -> Callable[[dict[str, Any]], str]:
    return lambda row: "" if row[key] is None else format(row[key], form)


COLUMNS = (
    Column("how                          ", lambda row: row["how"]),
    Column("edges timed", lambda row: f"{row['timed']:,}"),
    Column("all edges", lambda row: duration(row["seconds"])),
    Column("ratio ", lambda row: f"{row['ratio']:.0f}"),
    Column("memory ", lambda row: f"{row['memory_mb']:.0f} MB"),
    Column("of rate", _unless_none("share_of_matrix_product_rate", ".0%")),
    Column("difference", _unless_none("largest_difference_of_means", ".0e")),
)


def parse() -> argparse.Namespace:
    """The command line."""
    options = parser(__doc__)
    options.add_argument("--sample", type=int, default=60, help="edges by full runs")
    options.add_argument("--tokens", type=int, default=15, help="length of the prompts")
    options.add_argument("--position", type=int, default=10, help="where the prompts differ")
    options.add_argument("--resume", type=Path, help="file from which sweep_edges goes on")
    options.add_argument("--no-count", dest="count", action="store_false", help="skip the FLOP")
    return options.parse_args()


def main() -> None:
    """Print the table; with --out also write it as JSON."""
    options = parse()
    shape = SHAPES[options.shape].with_layers(options.layers)
    state = random_weights(shape)
    prompts = Prompts.random(shape, options.prompts, options.tokens, options.position)
    model = make_model(shape, state)
    print(
        f"{machine()}\n{shape.name} with random weights, {options.prompts} prompts of "
        f"{options.tokens} tokens, first difference at {options.position}\n"
    )
    engine, effects = all_edges(model, shape, prompts, options)
    table = Table(COLUMNS)
    table.add(engine)
    sample = np.random.default_rng(0).choice(engine["edges"], options.sample, replace=False)
    patcher = OneEdge(model, prompts)

    def with_hooks(names: Sequence[str]) -> tuple[float, list[float], float]:
        memory, found = peak_memory(lambda: timed(lambda: [patcher.metric(n) for n in names]))
        return *found, memory

    row = one_at_a_time("full runs of Cutaway's model", with_hooks, engine, effects, sample)
    table.add(row)
    with open_peers(["tl39"], shape, state) as peers:
        for peer in peers.values():

            def ask(names: Sequence[str], peer: Any = peer) -> tuple[float, list[float], Any]:
                answer = peer.ask("edges", prompts, memory=True, names=list(names))
                return answer.seconds, answer.values, answer.memory

            how = f"full runs, {peer.version.replace('transformer-lens', 'TL')}"
            table.add(one_at_a_time(how, ask, engine, effects, sample))
    print(f"\n{engine['edges']:,} edges; full runs timed on a sample, and multiplied up.")
    if engine["tflop"] is not None:
        print(
            f"{engine['tflop']:.2f} TFLOP; a plain matrix product runs at "
            f"{engine['matrix_product_gflops']:.0f} GFLOP/s here."
        )
    save(options.out, table.rows)


if __name__ == "__main__":
    main()
