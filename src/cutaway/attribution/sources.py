"""`source_attribution`: from which tokens heads move what they write to the answer's logits.

What a head writes at a query is a sum over the keys that it sees, pattern[query, key] times
v[key] W_O (the OV circuit; Elhage et al. 2021), and so its direct attribution is one as well. Where
the head looks and what it would carry over from there are two factors of each term: a place that
gets all of the attention adds nothing if there is nothing there to be read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from ..array_files import Array
from ..model.parts import at_least_float32
from ..model.transformer import HookedTransformer
from ..patching.ablation import Head, parse_heads
from ..patching.effects import Axis
from ..patching.measure import Progress, TellMemory
from ..tasks.task import Task
from .answers import Tokens
from .contributions import Contributions
from .readout import Floats, FrozenReadout, Run, check_sum, origin_of, plan, reading_of

OTHER = "other"


@dataclass(frozen=True, eq=False)
class SourceAttribution(Contributions):
    """What each head carries over from each token: `values` [head, source, prompt], in logits.

    The sources of a head add up to the head's direct attribution, for every prompt.

    Example:
        >>> sources = ca.source_attribution(model, task, ["1.2", "3.6"])
        >>> print(*sources.named().top(3), sep="\\n")
    """

    kind: ClassVar[str] = "a source attribution"

    names: tuple[str, ...] = ()
    """What tokens are called: the task's named positions, BOS, and "other"."""
    where: Int[NDArray[np.integer], "source prompt"] | None = None
    """Which of `names` each token has."""

    def named(self) -> SourceAttribution:
        """The same by named position, each the sum over the tokens of that name.

        Tokens with several names count for the first of them, so that nothing counts twice.
        """
        if self.where is None:
            return self
        return replace(
            self,
            axes=(self.axes[0], Axis("source", self.names)),
            values=self._by_name(self.values),
            controls={name: self._by_name(values) for name, values in self.controls.items()},
            where=None,
        )

    def heads(self, places: Sequence[int] | NDArray[np.integer]) -> SourceAttribution:
        """The same of some heads, by their number in the first axis."""
        chosen = list(map(int, places))
        labels = tuple(self.axes[0].labels[place] for place in chosen)
        return replace(
            self,
            axes=(Axis("head", labels), self.axes[1]),
            values=self.values[chosen],
            controls={name: values[chosen] for name, values in self.controls.items()},
            total=self.total[chosen],
            residual_error=self.residual_error[chosen],
        )

    def _by_name(self, values: Float[Array, "head source prompt"]) -> Array:
        found = [np.where(self.where == i, values, 0).sum(1) for i in range(len(self.names))]
        return np.stack(found, 1)


@torch.no_grad()
def source_attribution(
    model: HookedTransformer,
    task: Task,
    heads: Sequence[Head | str] | None = None,
    *,
    run: Run = "clean",
    toward: Tokens | None = None,
    against: Tokens | None = None,
    centred: bool = False,
    seed: int = 0,
    max_memory: int | None = None,
    progress: Progress | None = None,
    tell_memory: TellMemory | None = None,
) -> SourceAttribution:
    """What heads move from each token to the answer's logits, in logits.

    For a head at the position that the metric reads, the token at j contributes

        pattern[read, j] * (v[j] W_O) . g / scale

    with the final norm's scale frozen, as in `direct_attribution`. v includes b_V; since attention
    adds up to 1, nothing is left over, and the sum over j is the head's direct attribution, which
    is checked.

    Args:
        model: without hooks attached.
        task: as in `direct_attribution`; its named positions give sources their names.
        heads: (layer, head) pairs, or names as "9.6"; None means all.
        run, toward, against, centred, seed, max_memory, progress, tell_memory: as in
            `direct_attribution`.

    Returns:
        Contributions [head, source, prompt]; sources are token numbers (0 is the first column of
        the prompts, and padding adds 0). `named` gives them by named position.

    Raises:
        ValueError: a head that does not exist; as `direct_attribution`.

    Example:
        >>> sources = ca.source_attribution(model, task, ["3.6"])
        >>> sources.named().to_frame()
    """
    chosen = parse_heads(model, heads) if heads is not None else _all_heads(model)
    if not chosen:
        raise ValueError("heads is empty: name at least one, or None for all.")
    reading = reading_of(model, task, run, toward, against, centred, seed)
    n_pos = task.clean.shape[1]
    width = len({layer for layer, _ in chosen}) * model.cfg.n_key_value_heads * model.cfg.d_head
    batches = plan(model, reading, len(chosen) * n_pos, width, max_memory, tell_memory)
    found, totals, errors = [], [], []
    for prompts, batch in reading.batches(batches.prompts_per_batch):
        readout = FrozenReadout(model, batch)
        values, whole = _read_sources(readout, chosen)  # [head, source, answer, prompt]
        rounding = readout.rounding()
        errors.append(check_sum(values.sum(1), whole, rounding, "the sources of a head"))
        found.append(values)
        totals.append(whole)
        if progress is not None:
            progress(prompts.stop / len(task))
    values = np.concatenate(found, -1)
    names, where = _names(task)
    return SourceAttribution(
        axes=(
            Axis("head", tuple(f"{layer}.{head}" for layer, head in chosen)),
            Axis("source", tuple(map(str, range(n_pos)))),
        ),
        samples=Axis("prompt", tuple(map(str, range(len(task))))),
        values=values[:, :, 0],
        controls={one.name: values[:, :, i] for i, one in enumerate(reading.answers) if i},
        total=np.concatenate(totals, -1)[:, 0],
        residual_error=np.concatenate(errors, -1)[:, 0],
        answer=reading.answers[0].name,
        settings={
            "model": model.cfg.model_name,
            **origin_of(task, run, seed),
            "predicted_bytes": batches.peak,
        },
        names=names,
        where=where,
    )


def _read_sources(readout: FrozenReadout, heads: Sequence[Head]) -> tuple[Floats, Floats]:
    """[head, source, answer, prompt], and the whole heads, [head, answer, prompt]."""
    model = readout.model
    layers = sorted({layer for layer, _ in heads})
    moved: dict[tuple[str, int], Tensor] = {}

    def keep(value: Tensor, *, hook: object, part: str, layer: int) -> None:
        if part == "v":
            moved[part, layer] = at_least_float32(value)  # [prompt, pos, kv, d_head]
        else:  # the rows of a pattern are its queries
            value = value.transpose(1, 2) if part == "pattern" else value
            moved[part, layer] = readout.at(value)  # [row, head, key or d_head]

    readout.run(
        [
            (f"blocks.{layer}.attn.hook_{part}", partial(keep, part=part, layer=layer))
            for layer in layers
            for part in ("v", "pattern", "z")
        ]
    )
    found, whole = [], []
    for layer, head in heads:
        W_O = model.blocks[layer].attn.W_O[head : head + 1]
        direction = readout.head_directions(W_O)[:, :, 0] / readout.scale[:, None]
        v = moved["v", layer][:, :, head // model.cfg.heads_per_group][readout.prompt]
        carried = torch.einsum("rke,are->kar", v, direction)  # as if attended to fully
        found.append(readout.per_sample(carried * moved["pattern", layer][:, head].T[:, None]))
        of_head = torch.einsum("re,are->ar", moved["z", layer][:, head], direction)
        whole.append(readout.per_sample(of_head))
    return np.stack(found), np.stack(whole)


def _names(task: Task) -> tuple[tuple[str, ...], NDArray[np.integer]]:
    """What tokens are called, and the number of each token's name, [source, prompt]."""
    index = {name: at.cpu().numpy() for name, at in task.positions.items()}
    if task.n_before and "BOS" not in index:
        index["BOS"] = np.zeros(len(task), dtype=int)
    names = (*index, OTHER)
    where = np.full((task.clean.shape[1], len(task)), len(names) - 1)
    for number in reversed(range(len(index))):  # the first name is written last, and stays
        where[index[names[number]], np.arange(len(task))] = number
    return names, where


def _all_heads(model: HookedTransformer) -> tuple[Head, ...]:
    cfg = model.cfg
    return tuple((layer, head) for layer in range(cfg.n_layers) for head in range(cfg.n_heads))
