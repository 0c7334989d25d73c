"""A sweep over the features of a dictionary: cones beside a loop of full runs with hooks.

Every feature is patched by itself, at all positions together or at each position, with the error
term held. The loop does what libraries offer: features of both runs are computed once; then for
each feature (and position) the model is run on all prompts with a hook that adds the change times
the feature's decoder row. It is timed on a random sample of features that change anything, in turn
with the sweep, and multiplied up twice: to all features, and to those that change anything on some
prompt, as a loop would do that skips the rest.

    python benchmarks/features.py
    python benchmarks/features.py --data ioi-mini --positions named
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import cutaway as ca
from common import SHAPES, Column, Prompts, Table, machine, random_weights, save, timed
from ours import make_model, make_task


@dataclass(frozen=True)
class Setting:
    """A model, its task and a dictionary."""

    name: str
    model: ca.HookedTransformer
    task: ca.Task
    dictionary: ca.sae.Dictionary


def gpt2_small(options: argparse.Namespace) -> Setting:
    """GPT-2 small's shape with random weights, and a fresh top-k dictionary in its middle."""
    shape = SHAPES["gpt2-small"].with_layers(options.layers)
    model = make_model(shape, random_weights(shape))
    task = make_task(Prompts.random(shape, options.prompts, 15, options.first))
    hook = f"blocks.{shape.n_layers // 2}.hook_resid_post"
    cfg = ca.sae.DictionaryConfig("top-k", 768, options.features, k=32, hook=hook)
    return Setting("gpt2-small", model, task, ca.sae.new_dictionary(cfg))


def ioi_mini(options: argparse.Namespace) -> Setting:
    """The embedded model on IOI, with its own dictionary, or with a fresh one."""
    model = ca.HookedTransformer.from_pretrained("ioi-mini")
    task = ca.tasks.ioi(model, options.prompts)
    embedded = [name for name in ca.sae.embedded_dictionaries() if name.startswith("ioi-mini")]
    if embedded:
        return Setting(embedded[0], model, task, ca.sae.load_dictionary(embedded[0]))
    cfg = ca.sae.DictionaryConfig("top-k", 128, 1024, k=16, hook="blocks.2.hook_resid_post")
    return Setting("ioi-mini, fresh", model, task, ca.sae.new_dictionary(cfg))


DATA = {"gpt2-small": gpt2_small, "ioi-mini": ioi_mini}


class Loop:
    """Features one by one, by full runs with a hook."""

    def __init__(self, setting: Setting, positions: str) -> None:
        self.setting, self.hook = setting, setting.dictionary.cfg.hook
        task = setting.task
        base, other = (self._features(tokens) for tokens in (task.corrupted, task.clean))
        self.change = other - base  # [prompt, pos, feature]
        self.places: list[Tensor | None] = [None]  # all positions together
        if positions == "named":
            self.places = list(task.positions.values())

    @torch.no_grad()
    def _features(self, tokens: Tensor) -> Tensor:
        _, cache = self.setting.model.run_with_cache(tokens, names_filter=self.hook)
        return self.setting.dictionary.encode(cache[self.hook])

    def changing(self) -> list[tuple[int, int]]:
        """(feature, place) of all that change anything on some prompt."""
        found = []
        for number, place in enumerate(self.places):
            change = self.change
            if place is not None:
                change = change[torch.arange(len(place)), place][:, None]
            alive = (change != 0).any(0).any(0)
            found += [(feature, number) for feature in alive.nonzero().flatten().tolist()]
        return found

    @torch.no_grad()
    def patched(self, feature: int, number: int) -> Tensor:
        """The metric of every prompt with one feature patched."""
        change, place = self.change[..., feature, None], self.places[number]
        if place is not None:
            here = torch.arange(change.shape[1]) == place[:, None]
            change = change * here[..., None]
        row = ca.sae.written_rows(self.setting.dictionary)[feature]
        task = self.setting.task
        logits = self.setting.model.run_with_hooks(
            task.corrupted, fwd_hooks=[(self.hook, lambda value, hook: value + change * row)]
        )
        return task.metric(task.metric.read(logits))


def row(setting: Setting, positions: str, options: argparse.Namespace) -> dict[str, Any]:
    """One line: sweep and sample of the loop in turn, so that neither has the quieter machine."""
    loop = Loop(setting, positions)
    changing = loop.changing()
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randperm(len(changing), generator=generator)[: options.sample].tolist()
    site, n_all = ca.sae.features(setting.dictionary), setting.dictionary.cfg.d_features
    ours, theirs, difference = [], [], 0.0
    for _ in range(options.pairs + 1):
        seconds, effects = timed(
            lambda: ca.sweep(setting.model, setting.task, site, positions=positions)
        )
        ours.append(seconds)
        seconds, values = timed(lambda: [loop.patched(*changing[i]) for i in drawn])
        theirs.append(seconds / len(drawn))
        found = effects.patched.reshape(n_all, len(loop.places), -1)
        for i, value in zip(drawn, values, strict=True):
            apart = abs(found[changing[i]].mean() - float(value.mean()))
            difference = max(difference, apart)
    ratios = [other / mine for mine, other in zip(ours[1:], theirs[1:], strict=True)]
    cases = n_all * len(loop.places)
    return {
        "data": setting.name,
        "positions": positions,
        "features": n_all,
        "prompts": len(setting.task),
        "cases": cases,
        "changing": len(changing),
        "cutaway": statistics.median(ours[1:]),  # the first pair is a warm-up
        "one": statistics.median(theirs[1:]),
        "all": [ratio * cases for ratio in ratios],
        "skipping": [ratio * len(changing) for ratio in ratios],
        "difference": difference,
    }


COLUMNS = (
    Column("data      ", lambda one: one["data"]),
    Column("positions", lambda one: one["positions"]),
    Column("patches", lambda one: f"{one['cases']:,}"),
    Column("that change", lambda one: f"{one['changing']:,}"),
    Column("Cutaway", lambda one: f"{one['cutaway']:.2f} s"),
    Column("one run", lambda one: f"{1000 * one['one']:.0f} ms"),
    Column("loop over all", lambda one: f"{statistics.median(one['all']):.0f}x"),
    Column("skipping loop", lambda one: f"{statistics.median(one['skipping']):.1f}x"),
    Column("difference", lambda one: f"{one['difference']:.0e}"),
)


def rows(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The lines of the table, one after the other."""
    for name in options.data:
        setting = DATA[name](options)
        for positions in options.positions:
            yield row(setting, positions, options)


def main() -> None:
    """Print the table; with --out also write it as JSON."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--data", nargs="+", default=list(DATA), choices=list(DATA))
    options.add_argument("--positions", nargs="+", default=["all", "named"])
    options.add_argument("--prompts", type=int, default=8, help="pairs of prompts")
    options.add_argument("--first", type=int, default=10, help="first difference, of gpt2-small")
    options.add_argument("--features", type=int, default=6144, help="of gpt2-small's dictionary")
    options.add_argument("--layers", type=int, help="a shallower gpt2-small, to try things out")
    options.add_argument("--sample", type=int, default=20, help="runs of the loop that are timed")
    options.add_argument("--pairs", type=int, default=3, help="pairs after the warm-up")
    options.add_argument("--out", type=Path, help="also write the rows as JSON")
    chosen = options.parse_args()
    print(f"{machine()}\n{chosen.prompts} prompt pairs, {chosen.pairs} pairs of timings\n")
    table = Table(COLUMNS)
    for one in rows(chosen):
        table.add(one)
    save(chosen.out, table.rows)


if __name__ == "__main__":
    main()
