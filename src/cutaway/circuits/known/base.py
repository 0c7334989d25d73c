"""`KnownModel`: a model whose weights are written by hand, with its tasks and its known answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch

from ...model.config import NumberFormat
from ...model.transformer import HookedTransformer
from ...patching.graph import Graph
from ...tasks.task import Task
from .building import Recipe, write_model

BOS = 0
Signs = Mapping[str, int]
"""Edge -> +1 (it helps the answer) or -1 (it works against it)."""


@dataclass(frozen=True)
class KnownSettings:
    """What can be chosen of a known model; the circuit is the same for all choices."""

    sharpness: float = 30.0
    """By how much the score of the key that is meant exceeds the next one's. `detectable` is stated
    for a saturated softmax, that is from 10 on (attention elsewhere is then below 0.001). Smaller
    values leave more elsewhere; all tasks are still solved at 2, and IOI no longer at 1.5."""
    logit_scale: float = 16.0
    """The logit of the answer where the head that writes it attends to one place."""
    n_prompts: int = 16
    """Prompts of each task."""
    prompt_seed: int = 0
    """Of the prompts; they do not depend on the seed of the weights."""
    dtype: NumberFormat = "float32"
    """Number format of the weights."""
    device: str = "cpu"
    """Where model and prompts lie."""

    def __post_init__(self) -> None:
        for name in ("sharpness", "logit_scale", "n_prompts"):
            value = getattr(self, name)
            if not value > 0:
                raise ValueError(f"{name}={value!r} of a known model must be positive.")


DEFAULT_SETTINGS = KnownSettings()


@dataclass(frozen=True, eq=False)
class KnownModel:
    """A model written by hand, and what a method ought to find in it.

    Two sets of edges are known. The written ones are in the weights. Of these, a corruption can
    reveal only some: an edge whose sender says the same in both runs carries no difference, and a
    difference may arrive at keys that are not attended to either way.

    Example:
        >>> known = KNOWN["induction"](0)
        >>> edges = ca.sweep_edges(known.model, known.tasks["query"], mode="noising")
        >>> sorted(known.detectable["query"])
        ['1.2->logits', 'embed->1.2.q']
    """

    name: str
    """As in `KNOWN`."""
    model: HookedTransformer
    """It has no tokenizer: its tasks are made of token numbers."""
    tasks: dict[str, Task]
    """By the name of the corruption; the clean prompts are the same in all."""
    roles: dict[str, str]
    """What each head of the circuit does: "1.2" -> "induction"."""
    written: frozenset[str]
    """Edges in the weights that lead on to the logits: the circuit."""
    detectable: dict[str, Signs]
    """For each corruption: the edges that change the metric when their corrupted value alone is
    put into the clean run (`sweep_edges` with mode="noising"), and the sign of the normalised
    effect."""
    seed: int
    """Of the basis and of the idle heads."""
    settings: KnownSettings = field(default_factory=KnownSettings)

    @property
    def idle_heads(self) -> tuple[str, ...]:
        """Heads that are not part of the circuit."""
        heads = [s.name for s in Graph(self.model.cfg).senders if s.kind == "head"]
        return tuple(name for name in heads if name not in self.roles)

    @property
    def idle_edges(self) -> frozenset[str]:
        """Edges into idle heads: they read all that was written before them. They are in the
        weights as well, and lead nowhere."""
        graph = Graph(self.model.cfg)
        return frozenset(
            f"{sender.name}->{receiver.name}"
            for sender, receiver in graph.edges
            if f"{receiver.layer}.{receiver.head}" in self.idle_heads and receiver.kind in "qkv"
        )


@dataclass(frozen=True)
class Pair:
    """One clean prompt with a corrupted one."""

    clean: Sequence[int]
    corrupted: Sequence[int]
    correct: int
    """The answer to the clean prompt."""
    wrong: int
    positions: Mapping[str, int] = field(default_factory=dict)
    """Named positions besides END."""


def known_model(
    name: str,
    recipe: Recipe,
    pairs: Callable[[str, KnownSettings], Sequence[Pair]],
    *,
    roles: dict[str, str],
    written: frozenset[str],
    detectable: Mapping[str, Signs],
    seed: int,
    settings: KnownSettings,
) -> KnownModel:
    """The model of a recipe, with one task for each corruption.

    Args:
        pairs: from the name of a corruption, its prompts.
        roles, written, detectable, seed, settings: as in `KnownModel`.
    """
    return KnownModel(
        name=name,
        model=write_model(recipe, seed, dtype=settings.dtype, device=settings.device),
        tasks={
            corruption: task_of(pairs(corruption, settings), f"{name} {corruption}", settings)
            for corruption in detectable
        },
        roles=roles,
        written=written,
        detectable=dict(detectable),
        seed=seed,
        settings=settings,
    )


def task_of(pairs: Sequence[Pair], name: str, settings: KnownSettings) -> Task:
    """The task of these pairs, which are all of one length."""

    def column(values: Sequence[int] | Sequence[Sequence[int]]) -> torch.Tensor:
        return torch.tensor(values, device=settings.device)

    return Task.from_tokens(
        column([pair.clean for pair in pairs]),
        column([pair.corrupted for pair in pairs]),
        column([pair.correct for pair in pairs]),
        column([pair.wrong for pair in pairs]),
        positions={
            place: column([pair.positions[place] for pair in pairs]) for place in pairs[0].positions
        },
        name=name,
    )


def with_token(prompt: Sequence[int], position: int, token: int) -> list[int]:
    """The prompt with one token exchanged."""
    changed = list(prompt)
    changed[position] = token
    return changed


def exchanged(prompt: Sequence[int], names: Mapping[int, int]) -> list[int]:
    """The prompt with each token of `names` replaced, wherever it stands; others stay."""
    return [names.get(token, token) for token in prompt]
