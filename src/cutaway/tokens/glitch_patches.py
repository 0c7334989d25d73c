"""What comes back when the stream of an ordinary token is put into the run of an anomalous one.

Two tasks of the same sequences. *say*: the clean run holds an ordinary token, the corrupted run
the anomalous one, and the metric is how far the ordinary token's logit lies above the anomalous
one's where it has to be said. *follow*: both runs should say the same follower, and the metric is
its logit above that of another token of the list; what the corrupted run lacks, the anomalous token
has cost. Their control is the same with a second ordinary token instead of the anomalous one.

To be followed, the token has to be the same both times it stands there: a stream put in at one of
the two breaks even what was whole. So places that answer each other are patched together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from ..array_files import Array
from ..evidence import Interval, bootstrap_mean
from ..model.transformer import HookedTransformer
from ..patching.edits import Intervention
from ..patching.interventions import intervene
from ..tasks.task import Task
from .glitch_frames import Frames

PLACES: Mapping[str, Mapping[str, Sequence[str]]] = {
    "say": {"token": ("token",), "follower": ("follower",), "end": ("END",)},
    "follow": {
        "token, both times": ("token", "END"),
        "follower and end": ("follower", "END"),
        "end": ("END",),
    },
}
"""Question -> name -> the places of its task that are patched together."""


@dataclass(frozen=True, eq=False)
class Patch:
    """Denoising of the stream before each layer, at the places that differ or read what differs."""

    restored: Float[Array, "layer place prompt"]
    """By how many logits the metric rises."""
    gap: Float[Array, " prompt"]
    """The metric of the clean run minus that of the corrupted run: all that can be restored."""
    places: tuple[str, ...]
    """Those of `PLACES`; the end is where the question is answered."""

    @property
    def mean(self) -> Float[Array, "layer place"]:
        """Over prompts, in logits."""
        values: Float[Array, "layer place"] = self.restored.mean(-1)
        return values

    def whole_gap(self, seed: int = 0) -> Interval:
        """The mean gap, in logits."""
        return bootstrap_mean(self.gap, seed)

    def last_layer(self, place: str) -> int | None:
        """The last layer before which patching this place restores more than half of the gap.

        None where none does, or where there is no gap: the interval of its mean reaches 0.
        """
        if not self.whole_gap().low > 0:
            return None
        share = self.mean[:, self.places.index(place)] / self.gap.mean()
        above = np.flatnonzero(share > 0.5)
        return int(above[-1]) if above.size else None


def patch_frames(model: HookedTransformer, frames: Frames) -> dict[str, Patch]:
    """ "say", "follow" and the control of each."""
    n = len(frames.whole)
    first = [frames.ordinary[i % len(frames.ordinary)] for i in range(n)]
    second = [frames.ordinary[(i + 1) % len(frames.ordinary)] for i in range(n)]
    found = {}
    for name, other in (("", [frames.token] * n), (", control", second)):
        for question, make in (("say", say_task), ("follow", follow_task)):
            task = make(frames, first, other)
            found[question + name] = _patch(model, task, PLACES[question])
    return found


def say_task(frames: Frames, clean: list[int], corrupted: list[int]) -> Task:
    """Which of the two tokens is said where the list comes to its place again."""
    end = frames.at["say"]
    return _task(frames, clean, corrupted, end, _column(frames, clean), _column(frames, corrupted))


def follow_task(frames: Frames, clean: list[int], corrupted: list[int]) -> Task:
    """Whether the follower is said after the token has come again."""
    whole, at = frames.whole, frames.at
    return _task(
        frames, clean, corrupted, at["again"], whole[:, at["next"]], whole[:, at["next"] + 1]
    )


def _task(
    frames: Frames,
    clean: list[int],
    corrupted: list[int],
    end: int,
    correct: torch.Tensor,
    wrong: torch.Tensor,
) -> Task:
    places = {"token": frames.at["X"], "follower": frames.at["next"]}
    n = len(frames.whole)
    positions = {
        name: torch.full((n,), place, device=frames.whole.device) for name, place in places.items()
    }
    return Task.from_tokens(
        frames.mixed(clean)[:, : end + 1],
        frames.mixed(corrupted)[:, : end + 1],
        correct,
        wrong,
        positions=positions,
        name="a token traced",
    )


def _column(frames: Frames, tokens: list[int]) -> torch.Tensor:
    return torch.tensor(tokens, device=frames.whole.device)


def _patch(model: HookedTransformer, task: Task, places: Mapping[str, Sequence[str]]) -> Patch:
    layers = range(model.cfg.n_layers)
    cases = {
        f"{layer} {name}": [Intervention("resid_pre", layer, positions=list(where))]
        for layer in layers
        for name, where in places.items()
    }
    effects = intervene(model, task, cases)
    restored = effects.per_prompt.reshape(len(layers), len(places), -1)
    return Patch(restored, effects.clean - effects.corrupted, tuple(places))
