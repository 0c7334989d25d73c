"""Finding 3: do early layers know bigrams and late ones what stands further back?

Each layer's prediction, as a lens reads it, is held against n-gram models of every order, and
against itself with the characters further back exchanged for another window's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from ...evidence import Interval, bootstrap_mean, paired_difference
from ...evidence.resampling import resampled_means
from ...lenses.convergence import convergence
from ...lenses.logit_lens import logit_lens
from ...lenses.points import lens_points, log_probabilities, streams
from ...lenses.tuned_lens import TunedLens
from ...lenses.tuned_training import train_tuned_lens
from ...model.transformer import HookedTransformer
from ...training.settings import TrainSettings
from . import localise
from .material import Material
from .prompts import far_context
from .record import NotMeasured, Record
from .settings import ShakespeareSettings

Floats = NDArray[np.floating[Any]]
PLAIN, TUNED = "logit lens", "tuned lens"
_N_RESAMPLES = 2000
_BATCH = 16


def prediction(
    model: HookedTransformer, material: Material, settings: ShakespeareSettings, record: Record
) -> None:
    """Measure all of finding 3 for one model."""
    rows = material.windows(model.cfg.n_ctx, settings.n_windows, settings.seed).to(model.device)
    lenses: dict[str, TunedLens | None] = {PLAIN: None}
    with record.attempt(f"orders/{TUNED}"):
        lenses[TUNED] = _tuned(model, material, settings)
    points = [point.label for point in lens_points(model.cfg)]
    record.put("points", points)
    record.put("n_windows", len(rows))
    for name, lens in lenses.items():
        _orders(model, material, rows, lens, settings, record.at(f"orders/{name}"))
    _reach(model, material, rows, settings, record.at("reach"))
    _convergence(model, material, rows, settings, record.at("convergence"))
    with record.attempt("far_context"):
        task = far_context(
            model,
            material.held_out,
            material.ngrams,
            material.wide,
            settings.n_prompts,
            settings.seed,
        )
        inside = record.at("far_context")
        localise.behaviour(model, task, inside, settings.seed)
        localise.layers(model, task, inside, settings.seed, settings.max_memory)
        localise.heads(model, task, inside, settings.seed, settings.max_memory)


def _tuned(
    model: HookedTransformer, material: Material, settings: ShakespeareSettings
) -> TunedLens:
    if settings.lens_steps == 0:
        raise NotMeasured("no tuned lens was asked for (--lens-steps 0)")
    text = torch.from_numpy(material.trained).to(model.device)
    span = torch.arange(model.cfg.n_ctx, device=model.device)

    def batches(step: int) -> Int[Tensor, "batch pos"]:
        rng = np.random.default_rng([5, settings.seed, step])
        starts = rng.integers(0, len(text) - model.cfg.n_ctx + 1, _BATCH)
        return text[torch.from_numpy(starts).to(text.device)[:, None] + span]

    train = TrainSettings(
        n_steps=settings.lens_steps,
        batch_size=_BATCH,
        learning_rate=2e-3,
        warmup_steps=min(20, settings.lens_steps // 2),
        weight_decay=0.01,
        seed=settings.seed,
        fused=False,
    )
    return train_tuned_lens(model, batches, train)


@torch.no_grad()
def lens_probabilities(
    model: HookedTransformer, rows: Int[Tensor, "window pos"], lens: TunedLens | None = None
) -> Float[Floats, "point window pos d_vocab"]:
    """Log-probabilities of the next character at every point, as a lens reads them."""
    points = lens_points(model.cfg)
    read: Callable[[int, Tensor], Tensor] = lens.translators if lens else lambda _, x: x
    found = []
    for part in rows.split(64):
        shape = (*part.shape, model.cfg.d_vocab)
        found.append(
            np.stack(
                [
                    log_probabilities(model, read(number, stream.flatten(0, 1)))
                    .double()
                    .cpu()
                    .numpy()
                    .reshape(shape)
                    for number, stream in enumerate(streams(model, part, points))
                ]
            )
        )
    return np.concatenate(found, axis=1)


def _orders(
    model: HookedTransformer,
    material: Material,
    rows: Int[Tensor, "window pos"],
    lens: TunedLens | None,
    settings: ShakespeareSettings,
    record: Record,
) -> None:
    """KL(lens || n-grams) and agreement, by layer and order; which order is nearest."""
    skip = material.ngrams.order - 1  # from here on every order has all its characters
    said = lens_probabilities(model, rows, lens)[:, :, skip:]
    tokens = rows.cpu().numpy()
    orders = list(range(1, material.ngrams.order + 1))
    counted = [material.ngrams.log_probabilities(tokens, k)[:, skip:] for k in orders]
    kl = np.stack([[_kl(one, gram) for gram in counted] for one in said])
    control = np.stack([[_kl(one, np.roll(gram, 1, 0)) for gram in counted] for one in said])
    same = np.stack(
        [[(one.argmax(-1) == gram.argmax(-1)).mean(-1) for gram in counted] for one in said]
    )  # [point, order, window]
    seed = settings.seed
    record.put("orders", orders)
    record.put("kl", _intervals(kl, seed))
    record.put("kl_other_window", control.mean(-1))
    record.put("agreement", _intervals(same, seed))
    record.put("nearest", [nearest_order(values, seed) for values in kl])
    final = said[-1]
    record.put("kl_to_output", [bootstrap_mean(_kl(final, one), seed) for one in said])
    losses = -np.take_along_axis(said[:, :, :-1], tokens[None, :, skip + 1 :, None], -1)[..., 0]
    record.put("loss", [bootstrap_mean(one.mean(-1), seed) for one in losses])
    order = [row["order"] for row in record.get("nearest")]
    first, last = order[min(1, len(order) - 1)], order[-1]
    record.put("nearest_after_first_layer", first)
    record.put("nearest_at_output", last)
    record.put("order_gained", last - first)
    means = [_kl(final, one).mean() for one in said]
    record.put("falls_at_every_layer", bool(np.all(np.diff(means) < 0)))


def _kl(p: Floats, q: Floats) -> Floats:
    """KL(p || q) in nats, a mean over each window's positions: [window]."""
    values: Floats = (np.exp(p) * (p - q)).sum(-1).mean(-1)
    return values


def _intervals(values: Floats, seed: int) -> list[list[Interval]]:
    return [[bootstrap_mean(one, seed, n_resamples=_N_RESAMPLES) for one in row] for row in values]


def nearest_order(kl: Float[Floats, "order window"], seed: int = 0) -> dict[str, Any]:
    """The order whose mean KL is the smallest, and how sure that is.

    Returns:
        `order`; `low` and `high`, between which 95% of the resamples of windows put it; `share`,
        the share of resamples that give this very order.

    Example:
        >>> nearest_order(np.array([[2.0, 2.1], [0.1, 0.2], [0.5, 0.4]]))["order"]
        2
    """
    best = int(kl.mean(-1).argmin()) + 1
    drawn = resampled_means(kl.astype(np.float64), seed, _N_RESAMPLES).argmin(1) + 1  # [resample]
    low, high = np.quantile(drawn, [0.025, 0.975], method="nearest")
    return {
        "order": best,
        "low": int(low),
        "high": int(high),
        "share": float((drawn == best).mean()),
    }


def _reach(
    model: HookedTransformer,
    material: Material,
    rows: Int[Tensor, "window pos"],
    settings: ShakespeareSettings,
    record: Record,
) -> None:
    """How much the prediction after each layer depends on what stands further back.

    KL(lens with the true context || lens with all but the last k characters from another window)
    at the last position: 0 where nothing beyond k counts.
    """
    n_ctx = rows.shape[1]
    near = sorted({k for k in (1, 2, material.ngrams.order - 1, 8, 16, 32) if k < n_ctx})
    true = lens_probabilities(model, rows)[:, :, -1]
    table = {}
    for k in near:
        changed = torch.cat([rows[:, :-k].roll(1, 0), rows[:, -k:]], 1)
        other = lens_probabilities(model, changed)[:, :, -1]  # [point, window, d_vocab]
        table[k] = (np.exp(true) * (true - other)).sum(-1)
    record.put("near", near)
    record.put(
        "kl",
        {k: [bootstrap_mean(one, settings.seed) for one in values] for k, values in table.items()},
    )
    of_order = table[material.ngrams.order - 1]
    first = min(1, len(of_order) - 1)
    found = paired_difference(of_order[-1], of_order[first], settings.seed)
    record.put("beyond", material.ngrams.order - 1)
    record.put("late_less_early", found.interval)
    record.put("late_less_early_p", found.p_value)


def _convergence(
    model: HookedTransformer,
    material: Material,
    rows: Int[Tensor, "window pos"],
    settings: ShakespeareSettings,
    record: Record,
) -> None:
    """After how many layers the prediction stands, on several kinds of text; random weights too."""
    half = rows.shape[1] // 2
    rng = np.random.default_rng([6, settings.seed])
    order = torch.from_numpy(
        rng.permuted(np.tile(np.arange(rows.shape[1]), (len(rows), 1)), axis=1)
    )
    kinds = {
        "held-out text": rows,
        "its characters shuffled": rows.gather(1, order.to(rows.device)),
        "its first half twice": torch.cat([rows[:, :half], rows[:, :half]], 1),
    }
    for name, tokens in kinds.items():
        stands = convergence(logit_lens(model, tokens, seed=settings.seed), "top", "predicted")
        record.put(f"kinds/{name}", stands.mean(settings.seed))
    fresh = model.fresh(settings.seed)
    stands = convergence(logit_lens(fresh, rows, seed=settings.seed), "top", "predicted")
    record.put("random_weights", stands.mean(settings.seed))
    record.put("n_layers", model.cfg.n_layers)
