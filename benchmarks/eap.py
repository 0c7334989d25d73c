"""Edge attribution patching: `attribute_edges` beside TransformerLens 4 and AutoCircuit.

All give every edge (32,491 for GPT-2 small's shape) the first-order estimate of its denoising
effect: gradients of the corrupted run, times what the clean run would change. Scores are summed
over positions and averaged over prompts before they are compared. TransformerLens 4 goes through
the prompts one by one, and keeps a score for each position; AutoCircuit runs them as one batch.

    make bench-eap
"""

from __future__ import annotations

import argparse
import statistics
from typing import Any

import numpy as np

from common import (
    SHAPES,
    Column,
    Prompts,
    Table,
    machine,
    parser,
    peak_memory,
    random_weights,
    save,
    timed,
)
from cutaway.attribution.edges import attribute_edges
from cutaway.model.transformer import HookedTransformer
from cutaway.patching.effects import Effects
from ours import make_model, make_task
from worker import Local, Worker, open_peers


def our_scores(effects: Effects) -> dict[str, float]:
    """Edge -> mean score over prompts."""
    means = effects.per_prompt.mean(-1)
    return dict(zip(effects.axes[0].labels, means.tolist(), strict=True))


def agreement(ours: dict[str, float], theirs: dict[str, float]) -> dict[str, Any]:
    """How far two sets of scores are the same.

    Raises:
        ValueError: they are not about the same edges.
    """
    if ours.keys() != theirs.keys():
        odd = sorted(ours.keys() ^ theirs.keys())
        raise ValueError(f"{len(odd)} edges have a score on one side only, as {odd[:4]}.")
    a, b = (np.array([scores[name] for name in ours]) for scores in (ours, theirs))
    return {
        "edges": len(a),
        "correlation": float(np.corrcoef(a, b)[0, 1]),
        "largest_difference": float(np.abs(a - b).max()),
        "largest_score": float(np.abs(a).max()),
    }


def compare(
    model: HookedTransformer, peer: Local | Worker, prompts: Prompts, effects: Effects, pairs: int
) -> dict[str, Any]:
    """Pairs of runs; the peer's memory is measured once, and that run is its warm-up."""
    task = make_task(prompts)
    first = peer.ask("eap", prompts, memory=True)
    mine, theirs = [], []
    for _ in range(pairs):
        mine.append(timed(lambda: attribute_edges(model, task, method="eap"))[0])
        theirs.append(peer.ask("eap", prompts).seconds)
    ratios = [b / a for a, b in zip(mine, theirs, strict=True)]
    return {
        "peer": peer.version,
        "cutaway_seconds": statistics.median(mine),
        "peer_seconds": statistics.median(theirs),
        "ratio": statistics.median(ratios),
        "ratios": ratios,
        "peer_memory_mb": first.memory,
        **agreement(our_scores(effects), first.values),
    }


COLUMNS = (
    Column("peer              ", lambda row: row["peer"].replace("transformer-lens", "TL")),
    Column("Cutaway", lambda row: f"{row['cutaway_seconds']:.2f} s"),
    Column("peer's ", lambda row: f"{row['peer_seconds']:.2f} s"),
    Column("ratio", lambda row: f"{row['ratio']:.1f}"),
    Column("memory ", lambda row: f"{row['cutaway_memory_mb']:.0f} MB"),
    Column("peer's ", lambda row: f"{row['peer_memory_mb']:.0f} MB"),
    Column("correlation", lambda row: f"{row['correlation']:.6f}"),
    Column("difference", lambda row: f"{row['largest_difference']:.0e}"),
)


def parse() -> argparse.Namespace:
    """The command line."""
    options = parser(__doc__)
    options.add_argument("--peers", nargs="+", default=["tl4", "auto-circuit"])
    options.add_argument("--pairs", type=int, default=3, help="timed pairs of each row")
    options.add_argument("--tokens", type=int, default=15, help="length of the prompts")
    options.add_argument("--position", type=int, default=10, help="where the prompts differ")
    return options.parse_args()


def main() -> None:
    """Print the table; with --out also write it as JSON."""
    options = parse()
    shape = SHAPES[options.shape].with_layers(options.layers)
    state = random_weights(shape)
    model = make_model(shape, state)
    prompts = Prompts.random(shape, options.prompts, options.tokens, options.position)
    print(
        f"{machine()}\n{shape.name} with random weights, {options.prompts} prompts of "
        f"{options.tokens} tokens, first difference at {options.position}\n"
    )
    # Once, before anything else has grown the process; this is also our warm-up.
    task = make_task(prompts)
    memory, effects = peak_memory(lambda: attribute_edges(model, task, method="eap"))
    table = Table(COLUMNS)
    with open_peers(options.peers, shape, state) as peers:
        for peer in peers.values():
            row = compare(model, peer, prompts, effects, options.pairs)
            table.add({**row, "cutaway_memory_mb": memory})
    for row in table.rows:
        pairs = ", ".join(f"{ratio:.1f}" for ratio in row["ratios"])
        print(f"\n{row['peer']}: pairs {pairs}; {row['edges']:,} edges", end="")
    print()
    save(options.out, table.rows)


if __name__ == "__main__":
    main()
