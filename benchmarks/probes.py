"""Linear probes of a whole model: the batched torch solver beside a loop over scikit-learn.

Each line fits the same probes (every layer and position, real labels and controls, standardised
on the train prompts) by both, in pairs that take turns, and shows the median of each, the median
of the ratios, and the largest share of test prompts on which they differ. Activations are those of
ioi-mini on IOI, or random ones of GPT-2 small's shape in which the label can be seen.

    python benchmarks/probes.py
    python benchmarks/probes.py --data gpt2-small --repeats 3
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

import cutaway as ca
from common import SHAPES, Column, Table, machine, save, timed
from cutaway.patching.effects import Axis
from cutaway.probing import Labels, ProbeData, ProbeSettings, collect, fit_probes

N_CONTROLS, N_SHUFFLES = 3, 3


def ioi_mini(n_prompts: int) -> ProbeData:
    """Which name comes first, at all layers and named positions of the embedded model."""
    model = ca.HookedTransformer.from_pretrained("ioi-mini")
    return collect(model, ca.tasks.ioi(model, n_prompts), "order")


def gpt2_shaped(n_prompts: int, n_positions: int = 5) -> ProbeData:
    """Random activations with a few strong directions, as streams have, and a visible label."""
    shape, rng = SHAPES["gpt2-small"], np.random.default_rng(0)
    values = rng.integers(2, size=n_prompts)
    size = 1 / np.arange(1, shape.d_model + 1) ** 0.5
    x = rng.normal(size=(shape.n_layers, n_positions, n_prompts, shape.d_model)) * size
    x += 0.2 * rng.normal(size=shape.d_model) * size * values[:, None]
    return ProbeData(
        site="resid_post",
        axes=(
            Axis("layer", tuple(map(str, range(shape.n_layers)))),
            Axis("position", tuple(map(str, range(n_positions)))),
        ),
        activations=torch.from_numpy(x).float(),
        labels=Labels("made up", values, ("no", "yes")),
        groups=tuple(map(str, range(n_prompts))),
        word_types=rng.integers(100, size=(n_positions, n_prompts)),
    )


DATA = {"ioi-mini": ioi_mini, "gpt2-small": gpt2_shaped}


def row(
    name: str, data: ProbeData, method: Any, penalties: tuple[float, ...], repeats: int
) -> dict[str, Any]:
    """One line: both solvers in turn, so that neither has the quieter machine."""
    common = {"method": method, "penalties": penalties, "n_random_models": 0}
    counts = {"n_controls": N_CONTROLS, "n_shuffles": N_SHUFFLES}
    ours, theirs, ratios = [], [], []
    for _ in range(repeats + 1):
        pair = [
            timed(lambda s=solver: fit_probes(data, ProbeSettings(solver=s, **common, **counts)))
            for solver in ("torch", "sklearn")
        ]
        (mine, found), (other, expected) = pair
        ours.append(mine)
        theirs.append(other)
        ratios.append(other / mine)
    n_places = int(np.prod(found.shape))
    return {
        "data": name,
        "method": method,
        "probes": n_places * (1 + N_CONTROLS + N_SHUFFLES) * len(penalties),
        "cutaway": statistics.median(ours[1:]),  # the first pair is a warm-up
        "sklearn": statistics.median(theirs[1:]),
        "ratio": statistics.median(ratios[1:]),
        "differ": float((found.predicted != expected.predicted).mean(-1).max()),
    }


COLUMNS = (
    Column("data      ", lambda one: one["data"]),
    Column("method  ", lambda one: one["method"]),
    Column("probes", lambda one: f"{one['probes']:,}"),
    Column("Cutaway", lambda one: f"{one['cutaway']:.2f} s"),
    Column("scikit-learn", lambda one: f"{one['sklearn']:.2f} s"),
    Column("ratio", lambda one: f"{one['ratio']:.1f}"),
    Column("differ at most", lambda one: f"{one['differ']:.3f}"),
)


def rows(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The lines of the table, one after the other."""
    for name in options.data:
        data = DATA[name](options.prompts)
        for method in options.methods:
            yield row(name, data, method, tuple(options.penalties), options.repeats)


def main() -> None:
    """Print the table; with --out also write it as JSON."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--data", nargs="+", default=list(DATA), choices=list(DATA))
    options.add_argument("--methods", nargs="+", default=["ridge", "logistic"])
    options.add_argument("--prompts", type=int, default=1024, help="60% of them are fitted on")
    options.add_argument("--penalties", nargs="+", type=float, default=[1.0, 10.0, 100.0])
    options.add_argument("--repeats", type=int, default=3, help="pairs after the warm-up")
    options.add_argument("--out", type=Path, help="also write the rows as JSON")
    chosen = options.parse_args()
    print(
        f"{machine()}\n{chosen.prompts} prompts, penalties {chosen.penalties}, "
        f"{chosen.repeats} pairs\n"
    )
    table = Table(COLUMNS)
    for one in rows(chosen):
        table.add(one)
    save(chosen.out, table.rows)


if __name__ == "__main__":
    main()
