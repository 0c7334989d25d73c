"""`dose_response`: how far steering moves the answer, what it costs, and what chance does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from ..model.transformer import HookedTransformer
from ..patching.measure import Progress
from ..patching.targets import Positions, choose_targets
from ..tasks.task import Task
from .cost import neutral_cost
from .norms import check_stream_site, residual_norms
from .response import DoseResponse
from .rows import Measure, Steered, measure_steered
from .sources import Tokens, token_numbers
from .values import Operation, check_operation
from .vectors import SteeringVector, random_like

COEFFICIENTS = (-2.0, -1.0, -0.5, 0.5, 1.0, 2.0, 4.0)
Unit = Literal["residual", "own"]


def dose_response(
    model: HookedTransformer,
    task: Task,
    vectors: SteeringVector | Mapping[int, SteeringVector],
    target: Tokens,
    *,
    layers: int | Sequence[int] | None = None,
    coefficients: Sequence[float] = COEFFICIENTS,
    positions: Positions = "END",
    site: str = "resid_pre",
    operation: Operation = "add",
    unit: Unit = "residual",
    neutral: list[str] | Int[Tensor, "text pos"] | None = None,
    n_random: int = 4,
    others: Mapping[str, SteeringVector] | None = None,
    seed: int = 0,
    max_memory: int | None = None,
    progress: Progress | None = None,
) -> DoseResponse:
    """Steer the clean prompts of a task, at each layer with each coefficient, one at a time.

    Exact, and computed as cones: prompts are run once, and only what a vector can change is run
    again. Answer, target and everything else are read at END.

    The cost is measured on neutral texts under the same steering. Where the prompts are steered at
    all positions, so are the texts; where they are steered at some, each text is steered at as
    many positions, drawn at random. KL and loss are means over the tokens from the first of these
    on. A vector that is different for each prompt is taken in turn: text i gets prompt i's.

    Args:
        model: without hooks attached.
        task: its clean prompts, answers and positions.
        vectors: one for all layers, or for each layer its own.
        target: what the model should say, one token for all prompts or one for each.
        layers: which layers, one at a time; None means all.
        coefficients: how much, in the unit below; negative ones push the other way.
        positions: where the prompts are steered, together: names of the task, indices, or "all".
        site: "resid_pre", "resid_mid" or "resid_post".
        operation: "add", or "set": the component along the vector, whatever it was (0 removes it).
        unit: "residual": the coefficient 1 has the mean norm of the stream at that layer and these
            positions of the clean prompts (of "all" without the first token); "own": that of the
            vector as it is.
        neutral: texts or tokens that have nothing to do with the task; None measures no cost.
        n_random: directions of equal norm beside it.
        others: more lines, by name: other vectors (for all layers) under the same target.
        seed: of the random directions and positions.
        max_memory: bytes that may be used; None means a quarter of what is free.
        progress: called with the share that is done.

    Raises:
        ValueError: what the model or the task does not have, coefficients that are none, a target
            that is the answer, a vector that does not fit.

    Example:
        >>> vector = embedding_difference(model, " Paul", task.correct)  # doctest: +SKIP
        >>> found = dose_response(model, task, vector, " Paul", positions="IO")  # doctest: +SKIP
        >>> found.success_map().shape  # doctest: +SKIP
        (4, 7)
    """
    chosen = check_stream_site(model.cfg, site, layers)
    check_operation(operation)
    sizes = _checked_coefficients(coefficients)
    wanted = _targets(model, task, target)
    of_layer = _of_each_layer(model, task, vectors, chosen)
    where = _where(task, positions)
    norms = _norms(model, task, chosen, site, positions, unit)
    lines = {at: _lines(of_layer[at], others or {}, n_random, seed, unit) for at in chosen}
    for made in lines.values():
        for one in made.values():
            one.check_fits(model.cfg.d_model, len(task))
    factors = {at: [c * norms[at] for c in sizes] for at in chosen}
    vectors_at = {at: list(made.values()) for at, made in lines.items()}
    runs = Steered(
        model, task.clean, task.positions["END"][:, None], where, site, operation, max_memory
    )
    measure = _on_task(task, wanted)
    found = measure_steered(runs, vectors_at, factors, measure, _part(progress, 0.0, 0.5))
    base = _unsteered(runs, measure)
    costs, base_loss = neutral_cost(
        runs, vectors_at, factors, neutral, positions, seed, _part(progress, 0.5, 1.0)
    )
    return DoseResponse(
        lines=tuple(lines[chosen[0]]),
        layers=tuple(chosen),
        coefficients=tuple(sizes),
        **_named(found, base),
        kl=costs[0],
        loss=costs[1],
        base_loss=base_loss,
        norms=tuple(norms.values()) if unit == "residual" else (),
        settings={
            **_described(model, task, target, positions),
            "vector": of_layer[chosen[0]].origin,
            "vector_norms": [of_layer[at].norm for at in chosen],
            "site": site,
            "operation": operation,
            "unit": unit,
            "seed": seed,
        },
    )


def _described(
    model: HookedTransformer, task: Task, target: Tokens, positions: Positions
) -> dict[str, Any]:
    """Model, task, target and positions, as JSON can say them."""
    return {
        "model": model.cfg.model_name,
        "task": task.name,
        "task_settings": dict(task.settings),
        "target": target if isinstance(target, str | int) else "one for each prompt",
        "positions": positions if isinstance(positions, str | int) else list(positions or ()),
    }


def _norms(
    model: HookedTransformer,
    task: Task,
    layers: list[int],
    site: str,
    positions: Positions,
    unit: Unit,
) -> dict[int, float]:
    """Layer -> the length that the coefficient 1 has; of a vector's own unit 1."""
    if unit == "own":
        return dict.fromkeys(layers, 1.0)
    if unit != "residual":
        raise ValueError(f"unit={unit!r} is neither 'residual' nor 'own'.")
    at = None if positions == "all" else _where(task, positions)
    return residual_norms(model, task.clean, layers, site, at)


def _checked_coefficients(coefficients: Sequence[float]) -> list[float]:
    sizes = [float(c) for c in coefficients]
    if not sizes or not np.isfinite(sizes).all():
        raise ValueError(f"coefficients={list(coefficients)!r} holds no finite numbers.")
    if len(set(sizes)) < len(sizes):
        raise ValueError(f"coefficients={sizes} holds a number twice.")
    return sorted(sizes)


def _targets(model: HookedTransformer, task: Task, target: Tokens) -> Int[Tensor, " prompt"]:
    wanted = token_numbers(model, target).expand(len(task))
    same = (wanted == task.correct.to(wanted.device)).nonzero().flatten().tolist()
    if same:
        raise ValueError(
            f"the target of prompt {same[0]} is its answer: there is nothing to steer to. Choose "
            "another target, or leave these prompts out with task.subset."
        )
    return wanted


def _of_each_layer(
    model: HookedTransformer,
    task: Task,
    vectors: SteeringVector | Mapping[int, SteeringVector],
    layers: Sequence[int],
) -> dict[int, SteeringVector]:
    if isinstance(vectors, SteeringVector):
        return dict.fromkeys(layers, vectors)
    missing = [at for at in layers if at not in vectors]
    if missing:
        raise ValueError(f"there is no vector for layer {missing[0]}: vectors= has {[*vectors]}.")
    return {at: vectors[at] for at in layers}


def _where(task: Task, positions: Positions) -> Bool[Tensor, "prompt pos"]:
    """Which tokens of the prompts are steered, padding behind them left out."""
    if positions is None:
        raise ValueError("positions=None names none: give names of the task, indices or 'all'.")
    n_pos = task.clean.shape[1]
    mask = choose_targets(task, positions).together(n_pos)
    if mask is None:
        mask = torch.ones(task.clean.shape, dtype=torch.bool)
    end = task.positions["END"].cpu()
    return mask & (torch.arange(n_pos) <= end[:, None])


def _lines(
    vector: SteeringVector,
    others: Mapping[str, SteeringVector],
    n_random: int,
    seed: int,
    unit: Unit,
) -> dict[str, SteeringVector]:
    """The vector, the others and the control, scaled to 1 where the stream gives the unit."""
    found = {"vector": vector, **others}
    random = random_like(vector, n_random, seed)
    found |= {f"random {number}": one for number, one in enumerate(random, start=1)}
    if unit == "own":
        return found
    return {name: one.unit() for name, one in found.items()}


def _on_task(task: Task, target: Int[Tensor, " prompt"]) -> Measure:
    """Four numbers of each row: logit difference, probability, top token, first of the answers."""
    answer = task.correct.to(target.device)
    among = torch.cat([answer, task.wrong.to(target.device), target]).unique()

    def measure(
        prompt: Int[Tensor, " row"],
        logits: Float[Tensor, "row read vocab"],
        before: Float[Tensor, "row read vocab"],
    ) -> Float[Tensor, "row quantity"]:
        rows = logits[:, 0]
        wanted, other = (t[prompt.to(t.device)][:, None].to(rows.device) for t in (target, answer))
        aimed = rows.gather(1, wanted)[:, 0]
        candidates = among.to(rows.device)
        first = candidates[rows[:, candidates].argmax(1)] == wanted[:, 0]
        return torch.stack(
            [
                aimed - rows.gather(1, other)[:, 0],
                (aimed - rows.logsumexp(1)).exp(),
                (rows.argmax(1) == wanted[:, 0]).to(rows.dtype),
                first.to(rows.dtype),
            ],
            dim=1,
        )

    return measure


@torch.no_grad()
def _unsteered(runs: Steered, measure: Measure) -> NDArray[np.float64]:
    """What `measure` says of the prompts as they are: [quantity, prompt]."""
    found = []
    for part in torch.arange(len(runs.tokens)).split(32):
        logits = runs.model(runs.tokens[part])
        rows = torch.arange(len(part), device=logits.device)[:, None]
        read = logits[rows, runs.read[part].to(logits.device)]
        found.append(measure(part, read, read).T.cpu().double())
    return np.asarray(torch.cat(found, dim=1).numpy())


def _named(found: NDArray[np.float64], base: NDArray[np.float64]) -> dict[str, Any]:
    names = ("difference", "probability", "top", "first")
    named: dict[str, Any] = {}
    for number, name in enumerate(names):
        for prefix, values in (("", found[number]), ("base_", base[number])):
            named[prefix + name] = values > 0.5 if name in ("top", "first") else values
    return named


def _part(progress: Progress | None, start: float, end: float) -> Progress | None:
    if progress is None:
        return None
    return lambda share: progress(start + share * (end - start))
