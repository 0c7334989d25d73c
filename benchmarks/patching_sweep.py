"""Patches one at a time, beside the peers: one command, pairs of runs, ratios of the pairs.

For every pair Cutaway's sweep runs here and the peer's in its own environment (worker.py), one
after the other on the same random weights and prompts. The peers' mean metrics are compared with
ours, so that what is timed is known to be the same thing.

    make bench                                       (every peer, all heads)
    make bench ARGS="--peers tl39 --sites z q k v pattern --pairs 5"
"""

from __future__ import annotations

import argparse
import itertools
import statistics
from collections.abc import Callable
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
    note,
    parser,
    random_weights,
    save,
    timed,
)
from cutaway.model.transformer import HookedTransformer
from cutaway.patching.effects import Effects
from cutaway.patching.sweep import sweep
from ours import count_flop, make_model, make_task
from worker import Local, Worker, open_peers

SITES = ("z", "q", "k", "v", "pattern", "z-each", "resid_pre")


def our_sweep(model: HookedTransformer, prompts: Prompts, site: str) -> Callable[[], Effects]:
    """The sweep that corresponds to a peer's site."""
    task = make_task(prompts)
    positions = "each" if site in ("z-each", "resid_pre") else "all"
    return lambda: sweep(model, task, site.removesuffix("-each"), positions=positions)


def sampled_layers(n_layers: int, wanted: int | None) -> list[int]:
    """Layers spread evenly over the model; all of them without a wish."""
    count = n_layers if wanted is None else min(wanted, n_layers)
    return sorted({round(i) for i in np.linspace(0, n_layers - 1, count)})


def compare(
    model: HookedTransformer,
    shape: Shape,
    peer: Local | Worker,
    prompts: Prompts,
    site: str,
    options: argparse.Namespace,
) -> dict[str, Any]:
    """Pairs of runs of one sweep."""
    ours = our_sweep(model, prompts, site)
    layers = sampled_layers(shape.n_layers, options.peer_layers)
    flop = count_flop(ours)  # also the warm-up
    peer.ask("sweep", prompts, site=site, layers=layers[:1])
    rates, mine, theirs, difference, largest = [], [], [], 0.0, 0.0
    for _ in range(options.pairs):
        rates.append(matrix_product_rate(shape))
        seconds, effects = timed(ours)
        mine.append(seconds)
        answer = peer.ask("sweep", prompts, site=site, layers=layers)
        theirs.append(answer.seconds * shape.n_layers / len(layers))
        means = effects.patched.mean(-1)
        difference = max(difference, float(np.abs(means[layers] - answer.values).max()))
        largest = float(np.abs(means - effects.corrupted.mean()).max())
    ratios = [b / a for a, b in zip(mine, theirs, strict=True)]
    rate = statistics.median(rates)
    return {
        "peer": peer.version,
        "site": site,
        "shape": shape.name,
        "prompts": len(prompts.clean),
        "tokens": prompts.clean.shape[1],
        "peer_layers": None if len(layers) == shape.n_layers else layers,
        "cutaway_seconds": statistics.median(mine),
        "peer_seconds": statistics.median(theirs),
        "ratio": statistics.median(ratios),
        "ratios": ratios,
        "gflop": flop / 1e9,
        "matrix_product_gflops": rate / 1e9,
        "share_of_matrix_product_rate": flop / statistics.median(mine) / rate,
        "largest_difference_of_means": difference,
        "largest_change_of_means": largest,
    }


COLUMNS = (
    Column("peer            ", lambda row: row["peer"].replace("transformer-lens", "TL")),
    Column("site     ", lambda row: row["site"]),
    Column("tokens", lambda row: str(row["tokens"])),
    Column("first", lambda row: str(row["first_difference"])),
    Column("Cutaway", lambda row: f"{row['cutaway_seconds']:.2f} s"),
    Column("peer's  ", lambda row: f"{_about(row)}{row['peer_seconds']:.1f} s"),
    Column("ratio", lambda row: f"{row['ratio']:.1f}"),
    Column("of rate", lambda row: f"{row['share_of_matrix_product_rate']:.0%}"),
    Column("difference", lambda row: f"{row['largest_difference_of_means']:.0e}"),
)


def _about(row: dict[str, Any]) -> str:
    return "" if row["peer_layers"] is None else "~"


def parse() -> argparse.Namespace:
    """The command line."""
    options = parser(__doc__)
    options.add_argument("--peers", nargs="+", default=["tl39", "tl4", "nnsight"])
    options.add_argument("--sites", nargs="+", default=["z"], choices=SITES)
    options.add_argument("--positions", type=int, nargs="+", default=[10, 1], help="difference at")
    options.add_argument("--prompt-lengths", type=int, nargs="+", default=[15])
    options.add_argument("--pairs", type=int, default=3, help="timed pairs of each row")
    options.add_argument("--peer-layers", type=int, help="layers that peers run; extrapolated")
    return options.parse_args()


def main() -> None:
    """Print the table; with --out also write it as JSON."""
    options = parse()
    shape = SHAPES[options.shape].with_layers(options.layers)
    state = random_weights(shape)
    model = make_model(shape, state)
    print(f"{machine()}\n{shape.name} with random weights, {options.prompts} prompts\n")
    table = Table(COLUMNS)
    grid = itertools.product(options.sites, options.prompt_lengths, options.positions)
    with open_peers(options.peers, shape, state) as peers:
        for (site, n_pos, first), (name, peer) in itertools.product(grid, peers.items()):
            if site not in peer.sites:
                note(f"{name} has no counterpart of {site}")
                continue
            prompts = Prompts.random(shape, options.prompts, n_pos, first)
            row = compare(model, shape, peer, prompts, site, options)
            table.add({**row, "first_difference": first})
    print()
    for row in table.rows:
        ratios = ", ".join(f"{ratio:.1f}" for ratio in row["ratios"])
        print(f"{row['peer']}, {row['site']}, first {row['first_difference']}: pairs {ratios}")
    if options.peer_layers is not None:
        print("~: a sample of the layers was run, and its time multiplied up.")
    save(options.out, table.rows)


if __name__ == "__main__":
    main()
