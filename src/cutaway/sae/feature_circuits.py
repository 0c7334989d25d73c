"""`feature_circuit`: the fewest features that carry an answer, tested beside random ones.

Features are put in the order of their effects, and as many are taken as reach a share of what all
features of the dictionary do. The circuit is then run alone (faithfulness; Wang et al. 2022,
section 4; Marks et al. 2024, section 3), left out of the whole model, and compared with the whole
when the same nodes are taken out of both (completeness). Beside it stand random sets of as many
nodes that do something, and the dictionary's error, which carries what no feature says.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from ..array_files import load_arrays, save_arrays
from ..evidence import Interval, bootstrap_mean, bootstrap_ratio
from ..model.transformer import HookedTransformer
from ..patching.effects import Effects
from ..patching.measure import Progress
from ..tasks.task import Task
from .config import DictionaryError
from .dictionary import Dictionary
from .kept import Case, Node, nodes_of, run_kept
from .splicing import hooks_of

Floats = NDArray[np.float64]
_KIND = "a feature circuit"


@dataclass(frozen=True, eq=False)
class FeatureCircuit:
    """A circuit of features at one hook, and what it does on every prompt.

    Metrics are per prompt, in the metric's own unit; `share` makes faithfulness of them.

    Example:
        >>> circuit = ca.sae.feature_circuit(model, task, dictionary, scores)
        >>> print(circuit)
        blocks.2.hook_resid_post: 32 nodes of 148 reach 0.75 of all features' 0.81
        ...
    """

    hook: str
    """Where the dictionary writes."""
    metric: str
    nodes: tuple[Node, ...]
    """The circuit, the node with the largest effect first."""
    n_candidates: int
    """Nodes that do anything at all, among which circuit and random sets are chosen."""
    whole: Float[Floats, " prompt"]
    """The clean run."""
    empty: Float[Floats, " prompt"]
    """Features and error of the corrupted run."""
    features: Float[Floats, " prompt"]
    """All features clean, at all positions; the error corrupted."""
    error: Float[Floats, " prompt"]
    """The error alone clean."""
    circuit: Float[Floats, " prompt"]
    """The circuit alone clean, the error corrupted."""
    circuit_and_error: Float[Floats, " prompt"]
    """Circuit and error clean."""
    without: Float[Floats, " prompt"]
    """The whole model but for the circuit's nodes, which are corrupted."""
    random: Float[Floats, "set prompt"]
    """Random sets of as many candidates, run as the circuit."""
    random_without: Float[Floats, "set prompt"]
    """The same sets, taken out of the whole model."""
    left_out: Float[Floats, "node prompt"]
    """The circuit alone, without each of its nodes."""
    subset_circuit: Float[Floats, "subset prompt"]
    """Circuit and error without random halves of the circuit's nodes."""
    subset_whole: Float[Floats, "subset prompt"]
    """The whole model without the same nodes."""
    positions: tuple[str, ...]
    """Positions that candidates have."""
    at_position: Float[Floats, "position prompt"]
    """All candidates of one position alone clean, the error corrupted."""
    sizes: tuple[int, ...]
    """Sizes of the curve."""
    curve: Float[Floats, "size prompt"]
    """The first so many candidates alone, the error corrupted."""
    random_curve: Float[Floats, "size prompt"]
    """The mean over random sets of the same sizes."""
    settings: dict[str, Any] = field(default_factory=dict)

    def share(self, values: Float[Floats, " prompt"], seed: int = 0) -> Interval:
        """Faithfulness: (values - empty) / (whole - empty) of means, with a 95% interval."""
        change, gap = values - self.empty, self.whole - self.empty
        estimate, low, high = map(float, bootstrap_ratio(change, gap, seed=seed))
        return Interval(estimate, low, high, 0.95, len(gap))

    def shares(self, values: Float[Floats, "case prompt"]) -> Float[Floats, " case"]:
        """The same of many, without intervals."""
        found: Floats = (values - self.empty).mean(-1) / (self.whole - self.empty).mean()
        return found

    @property
    def faithfulness(self) -> Interval:
        """Of the circuit alone."""
        return self.share(self.circuit)

    @property
    def destroyed(self) -> Interval:
        """The share of the behaviour that is gone where the circuit alone is corrupted."""
        return self.share(self.empty + self.whole - self.without)

    @property
    def random_as_faithful(self) -> int:
        """Random sets that do at least as much as the circuit."""
        return int((self.shares(self.random) >= self.faithfulness.estimate).sum())

    @property
    def gap(self) -> Interval:
        """Incompleteness: the mean over random halves K of |whole without K - circuit with error
        without K|, as a share of whole - empty; 0 for a complete circuit."""
        per_subset = self.subset_whole - self.subset_circuit
        gaps = np.abs(per_subset.mean(-1)) / abs((self.whole - self.empty).mean())
        return bootstrap_mean(gaps)

    def to_frame(self) -> list[dict[str, Any]]:
        """One row (a dict) for each node, in the order of the circuit: feature, position and the
        faithfulness that the circuit loses without it."""
        whole = self.faithfulness.estimate
        lost = whole - self.shares(self.left_out)
        return [
            {"feature": node.feature, "position": node.position or "all", "lost": float(loss)}
            for node, loss in zip(self.nodes, lost, strict=True)
        ]

    def summary(self) -> list[dict[str, Any]]:
        """One row for each run that is compared: what, faithfulness, low, high."""
        rows = {
            "circuit": self.circuit,
            "circuit and error": self.circuit_and_error,
            "all features": self.features,
            "error alone": self.error,
            "all but the circuit": self.without,
            **{
                f"all at {position or 'all positions'}": values
                for position, values in zip(self.positions, self.at_position, strict=True)
            },
            f"random {len(self.nodes)} (mean of {len(self.random)})": self.random.mean(0),
            "all but random": self.random_without.mean(0),
        }
        shares = {what: self.share(values) for what, values in rows.items()}
        return [
            {"what": what, "faithfulness": s.estimate, "low": s.low, "high": s.high}
            for what, s in shares.items()
        ]

    def __str__(self) -> str:
        found, everything = self.faithfulness.estimate, self.share(self.features).estimate
        lines = [
            f"{self.hook}: {len(self.nodes)} nodes of {self.n_candidates} reach {found:.2f} of "
            f"all features' {everything:.2f}"
        ]
        lines += [
            f"  {row['what']:<24}{row['faithfulness']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}]"
            for row in self.summary()
        ]
        return "\n".join([*lines, f"  incompleteness          {self.gap.estimate:.3f}"])

    def save(self, path: str | Path) -> None:
        """Write one safetensors file: arrays, the rest as JSON in its header."""
        arrays: dict[str, NDArray[Any]] = {}
        described: dict[str, Any] = {}
        for entry in dataclasses.fields(self):
            value = getattr(self, entry.name)
            (arrays if isinstance(value, np.ndarray) else described)[entry.name] = value
        described["nodes"] = [dataclasses.asdict(node) for node in self.nodes]
        save_arrays(path, _KIND, arrays, described)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The inverse of `save`.

        Raises:
            ValueError: the file is missing, or is not one that `save` wrote.
        """
        arrays, described = load_arrays(path, _KIND)
        nodes = tuple(Node(**node) for node in described.pop("nodes"))
        for name in ("positions", "sizes"):
            described[name] = tuple(described[name])
        return cls(nodes=nodes, **arrays, **described)


def feature_circuit(
    model: HookedTransformer,
    task: Task,
    dictionary: Dictionary,
    scores: Effects,
    *,
    target: float = 0.9,
    n_random: int = 20,
    n_subsets: int = 10,
    seed: int = 0,
    hook: str = "",
    max_memory: int | None = None,
    progress: Progress | None = None,
) -> FeatureCircuit:
    """Find the fewest features, in the order of their scores, that carry an answer; test them.

    Args:
        model: without hooks attached.
        task: clean and corrupted prompts; both choice of size and tests are on these.
        dictionary: at a hook of the residual stream nothing gets past it; elsewhere the rest of the
            model goes on as in the clean run.
        scores: effects of features by a noising sweep or by `ca.attribute`, over positions of the
            task or over all at once. They should come from other prompts than `task`'s, or the
            choice flatters the result.
        target: the share of what all features do together that the circuit has to reach, between 0
            and 1.
        n_random: random sets of the circuit's size.
        n_subsets: random halves of the circuit for completeness.
        seed: of random sets and subsets.
        hook: where the dictionary writes, if its configuration does not say.
        max_memory: bytes that may be used; None means a quarter of what is free.
        progress: called with the share that is done.

    Raises:
        DictionaryError: scores that are none, or zero everywhere; a target that is no share; a
            model that does the same on clean and corrupted prompts.

    Example:
        >>> fit = ca.tasks.ioi(model, n_prompts=64, seed=1)
        >>> site = ca.sae.features(dictionary)
        >>> scores = ca.sweep(model, fit, site, positions="named", mode="noising")
        >>> circuit = ca.sae.feature_circuit(model, task, dictionary, scores)
    """
    if not 0 < target <= 1:
        raise DictionaryError(f"target={target} is not a share, above 0 up to 1.")
    candidates, effects = nodes_of(scores)
    _, write = hooks_of(dictionary, hook)
    if not candidates:
        raise DictionaryError(f"no feature at {write} does anything on the prompts of the scores.")
    tests = _Tests(model, task, dictionary, hook, candidates, max_memory, progress)
    # Negative effects come last: they work against the answer, and no circuit needs them.
    n, sizes, curve = tests.smallest(target, int((effects > 0).sum()))
    rng = np.random.default_rng(seed)
    settings = {
        "target": target,
        "seed": seed,
        "model": model.cfg.model_name,
        "digest": dictionary.digest,
        "task": dict(task.settings),
        "scores": scores.settings,
    }
    return FeatureCircuit(
        hook=write,
        metric=task.metric.name,
        nodes=tuple(candidates[:n]),
        n_candidates=len(candidates),
        sizes=sizes,
        curve=curve,
        settings=settings,
        **tests.of(candidates[:n], n_random, n_subsets, rng),
        random_curve=tests.random_curve(sizes, rng),
    )


class _Tests:
    """Runs of one model, task and dictionary."""

    def __init__(
        self,
        model: HookedTransformer,
        task: Task,
        dictionary: Dictionary,
        hook: str,
        candidates: list[Node],
        max_memory: int | None,
        progress: Progress | None,
    ) -> None:
        self.model, self.task, self.dictionary, self.hook = model, task, dictionary, hook
        self.candidates, self.max_memory, self.progress = candidates, max_memory, progress
        whole, empty, features = self.run([Case(kept=False, error=True), Case(), Case(kept=False)])
        self.ends = {"whole": whole, "empty": empty, "features": features}
        self.gap = float((whole - empty).mean())
        if abs(self.gap) < 1e-6 * max(1.0, float(np.abs(whole).max())):
            raise DictionaryError(
                "clean and corrupted runs have the same mean metric at this hook: there is no "
                "difference for features to carry."
            )

    def run(self, cases: list[Case]) -> Float[Floats, "case prompt"]:
        """The metric of every case."""
        return run_kept(
            self.model,
            self.task,
            self.dictionary,
            cases,
            hook=self.hook,
            max_memory=self.max_memory,
        )

    def share(self, values: Float[Floats, "*case prompt"]) -> Float[Floats, "*case"]:
        """Faithfulness of means."""
        found: Floats = np.asarray((values - self.ends["empty"]).mean(-1) / self.gap)
        return found

    def smallest(
        self, target: float, most: int
    ) -> tuple[int, tuple[int, ...], Float[Floats, "size prompt"]]:
        """(size, sizes of the curve, the curve): powers of two, then those between by halves."""
        wanted = target * float(self.share(self.ends["features"]))
        sizes = [2**i for i in range(len(self.candidates).bit_length())]
        sizes = sorted({*sizes, max(most, 1), len(self.candidates)})
        curve = self.run([Case(self.candidates[:n]) for n in sizes])
        found = [n for n, s in zip(sizes, self.share(curve), strict=True) if s >= wanted]
        high = min(found, default=max(most, 1))
        low = max((n for n in sizes if n < high), default=0)
        while high - low > 1:
            middle = (low + high) // 2
            (values,) = self.run([Case(self.candidates[:middle])])
            low, high = (low, middle) if float(self.share(values)) >= wanted else (middle, high)
        self._tell(0.3)
        return high, tuple(sizes), curve

    def of(
        self, nodes: list[Node], n_random: int, n_subsets: int, rng: np.random.Generator
    ) -> dict[str, Any]:
        """Everything that is measured of a circuit."""
        n = len(nodes)
        random = [self._drawn(n, rng) for _ in range(n_random)]
        halves = [[node for node in nodes if rng.random() < 0.5] for _ in range(n_subsets)]
        positions = tuple(dict.fromkeys(node.position for node in self.candidates))
        groups: dict[str, list[Case]] = {
            "error": [Case(error=True)],
            "circuit": [Case(nodes)],
            "circuit_and_error": [Case(nodes, error=True)],
            "without": [Case(nodes, kept=False, error=True)],
            "random": [Case(some) for some in random],
            "random_without": [Case(some, kept=False, error=True) for some in random],
            "left_out": [Case([*nodes[:i], *nodes[i + 1 :]]) for i in range(n)],
            "subset_circuit": [
                Case([node for node in nodes if node not in half], error=True) for half in halves
            ],
            "subset_whole": [Case(half, kept=False, error=True) for half in halves],
            "at_position": [
                Case([node for node in self.candidates if node.position == position])
                for position in positions
            ],
        }
        found: dict[str, Any] = {**self.ends, "positions": positions}
        for done, (name, cases) in enumerate(groups.items()):
            values = self.run(cases) if cases else np.empty((0, len(self.task)))
            single = name in ("error", "circuit", "circuit_and_error", "without")
            found[name] = values[0] if single else values
            self._tell(0.3 + 0.5 * (done + 1) / len(groups))
        return found

    def random_curve(
        self, sizes: tuple[int, ...], rng: np.random.Generator
    ) -> Float[Floats, "size prompt"]:
        """Means over five random sets of every size."""
        n_sets = 5
        cases = [Case(self._drawn(n, rng)) for n in sizes for _ in range(n_sets)]
        values = self.run(cases).reshape(len(sizes), n_sets, -1)
        self._tell(1.0)
        means: Floats = values.mean(1)
        return means

    def _drawn(self, n: int, rng: np.random.Generator) -> list[Node]:
        return [self.candidates[i] for i in rng.permutation(len(self.candidates))[:n]]

    def _tell(self, share: float) -> None:
        if self.progress is not None:
            self.progress(share)
