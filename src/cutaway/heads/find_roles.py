"""`head_roles`: what every head does on an IOI task, measured; `HeadRoles` says who has a role."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Float

from ..array_files import Array
from ..model.cache import ActivationCache, get_act_name
from ..model.transformer import HookedTransformer
from ..patching.ablation import Head, random_heads
from ..patching.measure import Progress
from ..patching.paths import sweep_paths
from ..patching.reference import reference_values
from ..tasks.task import Task
from .name_copying import name_copy_scores
from .readings import (
    LOOKS,
    WRITES,
    direct_contributions,
    run_for_readings,
    whole_contribution,
)
from .roles import NEEDS, PLACES, HeadRoles, of_whole

_PROMPTS_AT_ONCE = 64  # of the reference

KnockOut = Literal["mean", "zero"]


@torch.no_grad()
def head_roles(
    model: HookedTransformer,
    task: Task,
    reference: Task | None = None,
    knock_out: KnockOut = "mean",
    n_random: int = 5,
    seed: int = 0,
    max_memory: int | None = None,
    progress: Progress | None = None,
) -> HeadRoles:
    """What every head does on an IOI task.

    Args:
        model: without hooks attached.
        task: names IO, S1 and S2; its corrupted prompts say what S-inhibition heads are asked
            about, so they must change who is inhibited (s2-flip, abc).
        reference: its corrupted prompts give the mean that stands in for the name movers (take
            the corruption abc, as Wang et al. 2022 do); None takes the task itself.
        knock_out: what stands in for the name movers: that mean, or zeros.
        n_random: sets of as many random heads that are knocked out in their place: the control.
        seed: of the random heads and the intervals.
        max_memory: bytes that the path patching may use; None means a quarter of what is free.
        progress: called with the share of the path patching that is done.

    Raises:
        ValueError: a task that names none of these positions; an unknown knock-out.

    Example:
        >>> head_roles(model, ca.tasks.ioi(model, 64)).roles
    """
    _check(task, knock_out)
    cfg = model.cfg
    layers = range(cfg.n_layers)
    names = [get_act_name(part, layer) for layer in layers for part in ("pattern", "z")]
    cache = run_for_readings(model, task, names)
    direct = _numpy(torch.stack([direct_contributions(model, task, cache, at) for at in layers]))
    whole = _numpy(whole_contribution(model, task, cache))
    looks = _looks(task, cache, layers)
    nothing = np.full_like(direct, np.nan)
    baseline = task.baseline(model, seed=seed)
    base: dict[str, Any] = {
        "looks": looks,
        "direct": direct,
        "whole": whole,
        "copies": _numpy(name_copy_scores(model, task)),
        "lowers": _numpy(name_copy_scores(model, task, sign=-1)),
        "accuracy": baseline.accuracy,
        "gap": baseline.clean_values - baseline.corrupted_values,
    }
    movers = _movers(looks[0], direct, whole)
    settings = {
        "model": cfg.model_name,
        "task": task.settings or {"task": task.name},
        "knock_out": knock_out,
        "n_random": n_random,
        "seed": seed,
        "movers": [f"{layer}.{head}" for layer, head in movers],
    }
    if not movers:
        none = np.empty((0, *direct.shape[:2]))
        return HeadRoles(
            **base,
            through=nothing,
            direct_without=nothing,
            direct_without_random=none,
            settings=settings,
        )
    without = [
        _without(model, task, reference or task, cache, heads, knock_out)
        for heads in (tuple(movers), *_others(model, movers, n_random, seed))
    ]
    return HeadRoles(
        **base,
        through=_through(model, task, movers, nothing, max_memory, progress),
        direct_without=without[0],
        direct_without_random=np.array([one.mean(-1) for one in without[1:]]).reshape(
            -1, *direct.shape[:2]
        ),
        settings=settings,
    )


def _check(task: Task, knock_out: str) -> None:
    missing = [name for name in NEEDS if name not in task.positions]
    if missing:
        raise ValueError(
            f"the task {task.name!r} names no position {', '.join(missing)}: roles are those of "
            "indirect object identification, which names IO, S1, S2 and END."
        )
    if knock_out not in get_args(KnockOut):
        raise ValueError(f"knock_out={knock_out!r} is neither 'mean' nor 'zero'.")


def _numpy(values: torch.Tensor) -> Array:
    return values.detach().cpu().double().numpy()


def _looks(
    task: Task, cache: ActivationCache, layers: Sequence[int]
) -> Float[Array, "place layer head prompt"]:
    rows = torch.arange(len(task), device=task.clean.device)
    end = task.positions["END"]
    found = []
    for place in PLACES:
        at = task.positions[place]
        found.append(torch.stack([cache["pattern", one][rows, :, end, at].T for one in layers]))
    return _numpy(torch.stack(found))


def _movers(
    at_io: Float[Array, "layer head prompt"],
    direct: Float[Array, "layer head prompt"],
    whole: Float[Array, " prompt"],
) -> list[Head]:
    """The heads that fit the definition of a name mover."""
    if whole.mean() <= 0:
        return []
    share, low, _ = of_whole(direct, whole, seed=0)
    fits = (at_io.mean(-1) > LOOKS) & (share > WRITES) & (low > 0)
    return [(int(layer), int(head)) for layer, head in np.argwhere(fits)]


def _others(
    model: HookedTransformer, movers: Sequence[Head], n_random: int, seed: int
) -> list[tuple[Head, ...]]:
    """Sets of as many heads that are no name movers; none where too few are left."""
    enough = model.cfg.n_layers * model.cfg.n_heads >= 2 * len(movers)
    return random_heads(model, len(movers), n_random if enough else 0, exclude=movers, seed=seed)


def _through(
    model: HookedTransformer,
    task: Task,
    movers: Sequence[Head],
    nothing: Float[Array, "layer head prompt"],
    max_memory: int | None,
    progress: Progress | None,
) -> Float[Array, "layer head prompt"]:
    """Path patching from every earlier head into the queries of all name movers at END."""
    found = nothing.copy()
    last = max(layer for layer, _ in movers)
    senders = [f"{layer}.{head}" for layer in range(last) for head in range(model.cfg.n_heads)]
    if not senders:
        return found
    paths = sweep_paths(
        model,
        task,
        [[f"{layer}.{head}.q" for layer, head in movers]],
        senders,
        mlps="recomputed",
        positions=["END"],
        mode="noising",
        max_memory=max_memory,
        progress=progress,
    )
    lost = paths.per_prompt[:, 0]  # [sender, prompt]
    found[:last] = lost.reshape(last, model.cfg.n_heads, -1)
    return found


def _without(
    model: HookedTransformer,
    task: Task,
    reference: Task,
    cache: ActivationCache,
    heads: Sequence[Head],
    knock_out: KnockOut,
) -> Float[Array, "layer head prompt"]:
    """Every head's direct contribution in a run without some heads."""
    layers = sorted({layer for layer, _ in heads})
    hooks = [get_act_name("z", layer) for layer in layers]
    instead = {hook: torch.zeros_like(cache[hook]) for hook in hooks}
    if knock_out == "mean":
        everyone = slice(0, len(task))
        instead = reference_values(model, task, reference, everyone, hooks, None, _PROMPTS_AT_ONCE)

    def put(z: torch.Tensor, *, hook: Any) -> torch.Tensor:
        new = z.clone()
        for layer, head in heads:
            if hook.name == get_act_name("z", layer):
                new[:, :, head] = instead[hook.name][:, :, head]
        return new

    everything = [get_act_name("z", layer) for layer in range(model.cfg.n_layers)]
    with model.hooks([(hook, put) for hook in hooks]):
        _, values = model.record(task.clean, names_filter=everything, return_type=None)
    written = [
        direct_contributions(model, task, cache, layer, z=values[hook])
        for layer, hook in enumerate(everything)
    ]
    return _numpy(torch.stack(written))
