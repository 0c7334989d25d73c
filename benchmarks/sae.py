"""A training step of a top-k dictionary: Cutaway beside SAELens and sparsify.

768 to 6144 features, k = 32, batches of 4096 rows, float32, the optimiser included. Every side
starts from the same weights and gets the same batches; ours and a peer's steps alternate, and a
ratio is that of one pair. "dense" is our own dictionary by dense autograd with the same fused Adam:
what is gained by going through the active features alone.

*Of limit*: the arithmetic that is needed (the encoder's product with all features, and four
products with the active ones), at the rate of a plain product of the encoder's shape that is
measured between the pairs, divided by our time. It and one ratio are of CPU time, which says what
a step costs also while other programs want the same cores; alone, both clocks agree.

    make bench-sae
    python benchmarks/sae.py --pairs 20 --threads 2 --dead 614
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from common import Column, Table, machine, note, save
from cutaway.patching.precision import Precision
from cutaway.sae.config import DictionaryConfig
from cutaway.sae.dictionary import Dictionary
from cutaway.sae.kinds import new_dictionary
from cutaway.sae.step import dense_gradients, train_step
from sae_peers import ENVIRONMENTS, LARGEST_NORM, LEARNING_RATE, Setting, Step, Worker

N_BATCHES = 4
N_COMPARED = 5
"""Steps from the same weights whose losses are compared; they warm up, too."""


def parse() -> argparse.Namespace:
    """The command line."""
    made = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    made.add_argument("--peers", nargs="+", default=[*ENVIRONMENTS, "dense"])
    made.add_argument("--pairs", type=int, default=10, help="timed pairs of steps of each row")
    made.add_argument("--threads", type=int, help="default: as torch chooses")
    made.add_argument("--kind", default="top-k", choices=["top-k", "batch-top-k", "matryoshka"])
    made.add_argument("--width", type=int, default=768)
    made.add_argument("--features", type=int, default=6144)
    made.add_argument("--k", type=int, default=32)
    made.add_argument("--rows", type=int, default=4096, help="of a batch")
    made.add_argument("--dead", type=int, default=0, help="features that count as dead")
    made.add_argument("--precision", default="float32", choices=["float32", "bfloat16"])
    made.add_argument("--out", type=Path, help="also write the rows as JSON")
    return made.parse_args()


def make_batches(setting: Setting, seed: int = 0) -> Tensor:
    """Rows of a few out of many directions, some noise; norms about the root of the width."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*size: int) -> Tensor:
        return torch.randn(*size, generator=generator)

    directions = torch.nn.functional.normalize(draw(2 * setting.d_in, setting.d_in), dim=-1)
    shape = (N_BATCHES, setting.n_rows, len(directions))
    strengths = draw(*shape).abs() * (torch.rand(shape, generator=generator) < 20 / len(directions))
    x = strengths @ directions + 0.02 * draw(N_BATCHES, setting.n_rows, setting.d_in)
    return x * setting.d_in**0.5 / x.norm(dim=-1).mean()


class Ours:
    """Our step, and what is counted beside it: which features fired."""

    def __init__(
        self,
        dictionary: Dictionary,
        setting: Setting,
        batches: Tensor,
        precision: Precision = "float32",
    ) -> None:
        self.dictionary, self.batches, self.precision = dictionary, batches, precision
        self.optimizer = torch.optim.Adam(dictionary.parameters(), lr=LEARNING_RATE, fused=True)
        self.since_fired = torch.zeros(setting.d_features, dtype=torch.long)
        self.dead = None
        if setting.n_dead:
            self.dead = torch.arange(setting.d_features) < setting.n_dead

    def step(self, batch: int) -> Step:
        """One step, timed."""
        return _timed(lambda: self._step(self.batches[batch]))

    def _step(self, x: Tensor) -> float:
        measured = train_step(
            self.dictionary,
            self.optimizer,
            x,
            dead=self.dead,
            largest_norm=LARGEST_NORM,
            precision=self.precision,
        )
        self.since_fired.add_(1).masked_fill_(measured.n_active > 0, 0)
        return float(measured.terms["reconstruction"])

    def close(self) -> None:
        """Nothing to end."""


class Dense(Ours):
    """The same by dense autograd."""

    version = "ours, dense autograd"

    def _step(self, x: Tensor) -> float:
        measured = dense_gradients(self.dictionary, x, dead=self.dead)
        torch.nn.utils.clip_grad_norm_(self.dictionary.parameters(), LARGEST_NORM)
        self.optimizer.step()
        self.since_fired.add_(1).masked_fill_(measured.n_active > 0, 0)
        return float(measured.terms["reconstruction"])


def _timed(step: Callable[[], float]) -> Step:
    cpu, start = time.process_time(), time.perf_counter()
    loss = step()
    return Step(time.perf_counter() - start, time.process_time() - cpu, loss)


class Bench:
    """The weights and batches that all sides share, and the pairs."""

    def __init__(self, chosen: argparse.Namespace, folder: Path) -> None:
        self.chosen, self.folder = chosen, folder
        self.setting = Setting(chosen.width, chosen.features, chosen.k, chosen.rows, chosen.dead)
        self.batches = make_batches(self.setting)
        sizes = tuple(chosen.features // part for part in (8, 4, 2, 1))
        self.cfg = DictionaryConfig(
            chosen.kind,
            chosen.width,
            chosen.features,
            k=chosen.k,
            sizes=sizes if chosen.kind == "matryoshka" else (),
            rescale_by_decoder_norm=True,
        )
        state = new_dictionary(self.cfg, seed=0).state_dict()
        weights = {name: state[name].contiguous() for name in ("W_enc", "b_enc", "W_dec", "b_dec")}
        save_file(weights, folder / "weights.safetensors")
        save_file({"x": self.batches}, folder / "batches.safetensors")
        (folder / "setting.json").write_text(json.dumps(asdict(self.setting)))

    def row(self, name: str) -> dict[str, Any]:
        """Pairs of steps of ours and a peer's."""
        precision: Precision = self.chosen.precision
        ours = Ours(new_dictionary(self.cfg, seed=0), self.setting, self.batches, precision)
        peer: Dense | Worker
        if name == "dense":
            peer = Dense(new_dictionary(self.cfg, seed=0), self.setting, self.batches)
        else:
            peer = Worker(name, self.folder)
        try:
            numbers = [step % N_BATCHES for step in range(N_COMPARED)]
            losses = [(ours.step(n).loss, peer.step(n).loss) for n in numbers]
            mine, theirs, products = [], [], []
            for pair in range(self.chosen.pairs):
                mine.append(ours.step(pair % N_BATCHES))
                theirs.append(peer.step(pair % N_BATCHES))
                products.append(self.product())
        finally:
            peer.close()
        return {
            "peer": peer.version,
            "kind": self.cfg.kind,
            "dead": self.setting.n_dead,
            "precision": precision,
            "pairs": len(mine),
            **self.figures(mine, theirs, products),
            "first_loss_differs": abs(losses[0][1] / losses[0][0] - 1),
            "losses_differ": max(abs(b / a - 1) for a, b in losses),
        }

    def figures(self, mine: list[Step], theirs: list[Step], products: list[Step]) -> dict[str, Any]:
        """Medians and quartiles."""
        ratios = [b.seconds / a.seconds for a, b in zip(mine, theirs, strict=True)]
        cpu = [b.cpu_seconds / a.cpu_seconds for a, b in zip(mine, theirs, strict=True)]
        # The product's arithmetic, and a little for the entries of the list.
        s = self.setting
        needed = 1 + 4 * s.k / s.d_features
        shares = [
            needed * product.cpu_seconds / step.cpu_seconds
            for step, product in zip(mine, products, strict=True)
        ]
        flops, threads = 2.0 * s.n_rows * s.d_in * s.d_features, torch.get_num_threads()
        product = statistics.median(product.cpu_seconds for product in products)
        return {
            "ours": s.n_rows / statistics.median(step.seconds for step in mine),
            "ours_best": s.n_rows / min(step.seconds for step in mine),
            "theirs": s.n_rows / statistics.median(step.seconds for step in theirs),
            "theirs_best": s.n_rows / min(step.seconds for step in theirs),
            "ratio": statistics.median(ratios),
            "ratio_quartiles": quartiles(ratios),
            "cpu_seconds": statistics.median(step.cpu_seconds for step in mine),
            "peer_cpu_seconds": statistics.median(step.cpu_seconds for step in theirs),
            "cpu_ratio": statistics.median(cpu),
            "cpu_quartiles": quartiles(cpu),
            "product_gflops": flops / product * threads / 1e9,
            "limit": s.n_rows / (needed * product) * threads,
            "of_limit": statistics.median(shares),
        }

    def product(self) -> Step:
        """A plain product of the encoder's shape."""
        s = self.setting
        x, weight = self.batches[0], torch.empty(s.d_in, s.d_features).fill_(0.1)
        out = torch.empty(s.n_rows, s.d_features).fill_(0)
        return _timed(lambda: float(torch.mm(x, weight, out=out)[0, 0]))


def quartiles(values: list[float]) -> tuple[float, float]:
    """The first and the third; of fewer than two values, the value."""
    if len(values) < 2:
        return values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4)
    return low, high


def _with_quartiles(middle: float, between: tuple[float, float]) -> str:
    return f"{middle:.2f} ({between[0]:.2f}, {between[1]:.2f})"


COLUMNS = (
    Column("peer                  ", lambda row: row["peer"]),
    Column("pairs", lambda row: str(row["pairs"])),
    Column("Cutaway, rows/s", lambda row: f"{row['ours']:,.0f}"),
    Column("peer's", lambda row: f"{row['theirs']:,.0f}"),
    Column("ratio            ", lambda r: _with_quartiles(r["ratio"], r["ratio_quartiles"])),
    Column("of CPU time      ", lambda r: _with_quartiles(r["cpu_ratio"], r["cpu_quartiles"])),
    Column("of limit", lambda row: f"{row['of_limit']:.0%}"),
    Column("losses differ", lambda row: f"{row['losses_differ']:.0e}"),
)


def main() -> None:
    """Print the table; with --out also write it as JSON."""
    chosen = parse()
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    table = Table(COLUMNS)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(chosen, Path(folder))
        print(
            f"{machine()}\n{chosen.kind}, {chosen.width} to {chosen.features}, k = {chosen.k}, "
            f"{chosen.rows} rows, {chosen.dead} dead features, {chosen.precision}\n"
        )
        for name in chosen.peers:
            try:
                table.add(bench.row(name))
            except FileNotFoundError as missing:
                note(f"{name} left out: {missing}")
    if table.rows:
        rate = statistics.median(row["product_gflops"] for row in table.rows)
        limit = statistics.median(row["limit"] for row in table.rows)
        print(f"\nproducts at {rate:,.0f} GFLOP/s: the limit is {limit:,.0f} rows/s")
    save(chosen.out, table.rows)


if __name__ == "__main__":
    main()
