"""Circuits run alone, edges and discovery: Cutaway's engine beside full runs with hooks, on a CPU
or a GPU.

Each line does its work with the engine; the peer does a sample of the same work by full forward
passes with hooks on the same model, on the same device, and its time is multiplied up: 144 heads
one at a time, edges one at a time, and circuits one at a time with every reader's input summed up
by hooks (ACDC is one such run for each edge). On a GPU the results are compared with those of the
CPU as well.

    python benchmarks/circuits.py --layers 3
    python benchmarks/circuits.py --device cuda --check-cpu
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from common import (
    SHAPES,
    Column,
    Prompts,
    Table,
    machine,
    parser,
    random_weights,
    save,
    timed,
)
from cutaway.attribution.edges import attribute_edges
from cutaway.circuits.discovery.acdc import ACDCSettings, acdc
from cutaway.circuits.random_circuits import random_circuits
from cutaway.circuits.runs import CircuitRuns
from cutaway.circuits.wiring import Wiring
from cutaway.model.transformer import HookedTransformer
from cutaway.patching.edges import sweep_edges
from cutaway.patching.sweep import sweep
from cutaway.tasks.task import Task
from hooked_circuit import HookedCircuit
from one_edge import OneEdge
from ours import make_model, make_task


def on(prompts: Prompts, device: str) -> Prompts:
    """The prompts on a device."""
    return Prompts(*(getattr(prompts, name).to(device) for name in vars(prompts)))


def waited(device: str, work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds until the device has finished, and what came back."""

    def finished() -> Any:
        value = work()
        if device == "cuda":
            torch.cuda.synchronize()
        return value

    return timed(finished)


class Bench:
    """One model and one set of prompts, on one device."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.device = options, options.device
        self.shape = SHAPES[options.shape].with_layers(options.layers)
        state = random_weights(self.shape)
        self.cpu_model = make_model(self.shape, state)
        self.model = make_model(self.shape, state).to(self.device)
        prompts = Prompts.random(self.shape, options.prompts, options.tokens, options.position)
        self.cpu_task = make_task(prompts)
        self.prompts = on(prompts, self.device)
        self.task = make_task(self.prompts)
        self.wiring = Wiring(self.model.cfg)

    def row(
        self,
        what: str,
        n: int,
        work: Callable[[HookedTransformer, Task], Any],
        numbers: Callable[[Any], Any],
        one: Callable[[int], float] | None = None,
        check: bool = True,
    ) -> dict[str, Any]:
        """One line: the engine's time for `n` things, and the peer's for a sample of them.

        Args:
            what: the title.
            n: how many things are done.
            work: by the engine.
            numbers: the mean metric of each, from what the engine gives.
            one: the mean metric of the i-th, by full runs with hooks.
            check: compare with the engine on the CPU.
        """
        seconds, found = waited(self.device, lambda: work(self.model, self.task))
        values = np.asarray(numbers(found))
        row: dict[str, Any] = {"what": what, "n": n, "seconds": seconds}
        row |= {"peer": None, "ratio": None, "difference": None, "from_cpu": None}
        if one is not None:
            chosen = random.Random(0).sample(range(n), min(n, self.options.sample))
            one(chosen[0])  # warm-up
            spent, theirs = waited(self.device, lambda: [one(i) for i in chosen])
            row["peer"] = spent / len(chosen) * n
            row["ratio"] = row["peer"] / seconds
            row["difference"] = float(np.abs(values[chosen] - np.array(theirs)).max())
        if check and self.options.check_cpu:
            on_cpu = np.asarray(numbers(work(self.cpu_model, self.cpu_task)))
            row["from_cpu"] = float(np.abs(on_cpu - values).max())
        return row

    def masks(self, n: int) -> Tensor:
        """Random circuits of every size."""
        sizes = np.geomspace(20, len(self.wiring.graph.edges) // 2, n).astype(int).tolist()
        drawn = [random_circuits(self.wiring, size, 1, i)[0] for i, size in enumerate(sizes)]
        return torch.from_numpy(np.stack(drawn))


def rows(bench: Bench) -> Any:
    """The lines of the table, one after the other."""
    shape, options = bench.shape, bench.options
    heads = [(layer, head) for layer in range(shape.n_layers) for head in range(shape.n_heads)]
    edges = OneEdge(bench.model, bench.prompts)
    whole = HookedCircuit(bench.model, bench.prompts)
    yield bench.row(
        "z of every head",
        len(heads),
        lambda model, task: sweep(model, task, "z"),
        lambda found: found.patched.mean(-1).ravel(),
        lambda i: whole.head(*heads[i]),
    )
    masks = bench.masks(options.circuits)
    yield bench.row(
        "random circuits alone",
        len(masks),
        lambda model, task: CircuitRuns(model, task).measure(masks),
        lambda found: found.mean(-1).numpy(),
        lambda i: whole.circuit(masks[i].numpy()),
    )
    yield bench.row(
        "edges estimated (EAP)",
        len(bench.wiring.graph.edges),
        lambda model, task: attribute_edges(model, task),
        lambda found: found.patched.mean(-1),
    )
    if options.edges:
        names = bench.wiring.graph.edge_names
        yield bench.row(
            "every edge, exactly",
            len(names),
            lambda model, task: sweep_edges(model, task),
            lambda found: found.patched.mean(-1),
            lambda i: edges.metric(names[i]),
            check=False,
        )
    if options.acdc:
        full = bench.wiring.allowed
        found = bench.row(
            "ACDC, all edges",
            len(bench.wiring.graph.edges),
            lambda model, task: acdc(model, task, ACDCSettings(tau=options.tau)),
            lambda scores: np.full(len(bench.wiring.graph.edges), np.nan),
            lambda i: whole.circuit(full),
            check=False,
        )
        yield {**found, "difference": None}


COLUMNS = (
    Column("what                 ", lambda row: row["what"]),
    Column("number", lambda row: f"{row['n']:,}"),
    Column("Cutaway  ", lambda row: f"{row['seconds']:.2f} s"),
    Column("with hooks", lambda row: "" if row["peer"] is None else f"{row['peer']:.0f} s"),
    Column("ratio", lambda row: "" if row["ratio"] is None else f"{row['ratio']:.1f}"),
    Column("difference", lambda row: _small(row["difference"])),
    Column("from CPU", lambda row: _small(row["from_cpu"])),
)


def _small(value: float | None) -> str:
    return "" if value is None else f"{value:.0e}"


def parse() -> argparse.Namespace:
    """The command line."""
    options = parser(__doc__)
    options.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    options.add_argument("--tokens", type=int, default=15, help="length of the prompts")
    options.add_argument("--position", type=int, default=10, help="where the prompts differ")
    options.add_argument("--sample", type=int, default=8, help="things that the peer does")
    options.add_argument("--circuits", type=int, default=64, help="random circuits")
    options.add_argument("--edges", action="store_true", help="also every edge, exactly")
    options.add_argument("--acdc", action="store_true", help="also ACDC over all edges")
    options.add_argument("--tau", type=float, default=0.01, help="of ACDC")
    options.add_argument("--check-cpu", action="store_true", help="compare with the CPU")
    return options.parse_args()


def main() -> None:
    """Print the table; with --out also write it as JSON."""
    options = parse()
    bench = Bench(options)
    gpu = f", {torch.cuda.get_device_name()}" if options.device == "cuda" else ""
    print(
        f"{machine()}{gpu}\n{bench.shape.name} with random weights, {options.prompts} prompts of "
        f"{options.tokens} tokens, first difference at {options.position}\n"
    )
    sweep(bench.model, bench.task, "z")  # warm-up
    table = Table(COLUMNS)
    for row in rows(bench):
        table.add(row)
    save(options.out, table.rows)


if __name__ == "__main__":
    main()
