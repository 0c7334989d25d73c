"""A dictionary while it is trained: one step, its optimiser, its firing, and what is added up."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn

from .config import DictionaryConfig
from .dead import Firing, per_feature, resample
from .dictionary import Dictionary
from .kinds import BatchTopK, Gated, new_dictionary
from .rows import Rows, RowSource
from .settings import DictionarySettings
from .starts import start_of, unit_scale
from .step import gradients


@dataclass(frozen=True)
class Point:
    """How a dictionary did since the point before, on rows that it was being trained on."""

    loss: float
    """What is descended, in scaled units."""
    l0: float
    """Mean number of active features of a row."""
    explained: float
    """1 - E|x - x'|^2 / Var(x), over all of those rows; of transcoders, x is the target."""
    dead: float
    """Share of the features that did not fire for long."""


class Sums(nn.Module):
    """What is added up between two points, in float64. A module, so that checkpoints keep it."""

    totals: Tensor
    """rows, loss x rows, active features, squared error, squared norm of what is wanted"""
    wanted: Tensor
    """[d_out]"""

    def __init__(self, d_out: int) -> None:
        super().__init__()
        self.register_buffer("totals", torch.zeros(5, dtype=torch.float64))
        self.register_buffer("wanted", torch.zeros(d_out, dtype=torch.float64))

    def add(self, loss: Tensor, n_active: Tensor, error: Tensor, wanted: Tensor) -> None:
        """A step; `error` is the mean squared error of a row, in the units of `wanted`."""
        n = len(wanted)
        row = torch.stack(
            [
                loss.new_full((), n).double(),
                loss.double() * n,
                n_active.double(),
                error.double() * n,
                wanted.double().square().sum(),
            ]
        )
        self.totals.add_(row)
        self.wanted.add_(wanted.double().sum(0))

    def point(self, dead: float) -> Point:
        """What it comes to."""
        n, loss, active, error, squared = self.totals.tolist()
        variance = squared / n - float((self.wanted / n).square().sum())
        explained = 1 - error / n / variance if variance > 0 else math.nan
        return Point(loss / n, active / n, explained, dead)

    def clear(self) -> None:
        """Begin anew."""
        self.totals.zero_()
        self.wanted.zero_()


class Learner(nn.Module):
    """One dictionary and all that its training has to remember, besides the step.

    Args:
        dictionary: trained in place.
        settings: how.
        n_steps: of the whole run, which the schedules are shares of.
        output_scale: while training, what a transcoder predicts is multiplied by it (and by the
            dictionary's own scale), so that outputs are as long as inputs; `finished` undoes it.
    """

    def __init__(
        self,
        dictionary: Dictionary,
        settings: DictionarySettings,
        n_steps: int,
        output_scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.dictionary, self.settings, self.n_steps = dictionary, settings, n_steps
        self.output_scale = output_scale
        self.firing = Firing(dictionary.cfg.d_features).to(dictionary.device)
        self.sums = Sums(dictionary.cfg.output_width).to(dictionary.device)
        self.optimizer = torch.optim.Adam(
            _groups(dictionary, settings), betas=(settings.beta1, settings.beta2), fused=True
        )

    # ---- a step ----

    def step(self, number: int, rows: Rows) -> None:
        """One step of Adam on a batch.

        Args:
            number: of the step, counted from 0.
            rows: of all hooks.
        """
        x, target = self._x_and_target(rows)
        dictionary, settings = self.dictionary, self.settings
        rate = settings.peak_rate(dictionary.cfg.d_features)
        for group in self.optimizer.param_groups:
            group["lr"] = group["factor"] * rate * settings.rate_at(number, self.n_steps)
        dead = self.dead() if settings.auxiliary else None
        weights = self._weights(number)
        measured = gradients(dictionary, x, target, dead=dead, weights=weights)
        if settings.gradient_clip:
            nn.utils.clip_grad_norm_(dictionary.parameters(), settings.gradient_clip)
        if settings.decoder_rule == "unit":
            remove_parallel_gradient(dictionary)
        self.optimizer.step()
        if settings.decoder_rule == "unit":
            make_decoder_rows_unit(dictionary)
        self.firing.saw(measured.n_active > 0, len(x))
        # As the target is here: 1 - error / variance is the same in any unit.
        error = measured.terms["reconstruction"] / dictionary.cfg.scale**2
        wanted = x if target is None else target
        self.sums.add(measured.loss, measured.n_active.sum(), error, wanted)

    def _x_and_target(self, rows: Rows) -> tuple[Tensor, Tensor | None]:
        settings = self.settings
        x = rows[settings.hook]
        return x, rows[settings.output_hook] * self.output_scale if settings.is_transcoder else None

    def _weights(self, number: int) -> dict[str, float]:
        """Of the terms of the loss at a step."""
        # The gated kind's auxiliary term is how its gates learn, whatever becomes of dead features.
        is_gated = self.settings.kind == "gated"
        return {
            "sparsity": self.settings.coefficient_at(number, self.n_steps),
            "auxiliary": 1.0 if is_gated else self.settings.auxiliary,
        }

    # ---- dead features ----

    def resample(self, step: int, rows: Rows) -> int:
        """Let the dead features begin anew after `step` steps; gives how many there were."""
        features = self.firing.dead(self.settings.dead_after).nonzero()[:, 0]
        if len(features):
            x, target = self._x_and_target(rows)
            resample(self.dictionary, features, x, target, seed=self.settings.seed, step=step)
            self._forget(features)
            self.firing.begin_anew(features)
        return len(features)

    @torch.no_grad()
    def _forget(self, features: Int[Tensor, "n"]) -> None:
        """What Adam remembers of these features' weights."""
        for name, parameter in self.dictionary.named_parameters():
            axis = per_feature(name)
            if axis is None:
                continue
            for key in ("exp_avg", "exp_avg_sq"):
                if key in self.optimizer.state[parameter]:
                    self.optimizer.state[parameter][key].index_fill_(axis, features, 0)

    # ---- what is told ----

    @torch.no_grad()
    def finished(self) -> Dictionary:
        """A copy of the dictionary as it is now, its outputs in the model's units."""
        done = copy.deepcopy(self.dictionary).requires_grad_(False)
        if self.output_scale == 1:
            return done
        factor = 1 / self.output_scale
        # Features take the factor, so that decoder rows stay as long as they are.
        done._scale_features(done.b_dec.new_full((done.cfg.d_features,), factor))
        if isinstance(done, BatchTopK):
            done.threshold.mul_(factor)
        for bias_or_map in (done.b_dec, done.W_skip):
            if bias_or_map is not None:
                bias_or_map.mul_(factor)
        return done

    def dead(self) -> Bool[Tensor, "d_features"]:
        """Features that did not fire for long."""
        return self.firing.dead(self.settings.dead_after)

    def point(self) -> Point:
        """How it did since the last time this was asked."""
        point = self.sums.point(float(self.dead().double().mean()))
        self.sums.clear()
        return point


def _groups(dictionary: Dictionary, settings: DictionarySettings) -> list[dict[str, Any]]:
    """Parameters and their share of the learning rate: thresholds have a long way to go."""
    named = dict(dictionary.named_parameters())
    thresholds = [named.pop(name) for name in ("log_threshold",) if name in named]
    groups: list[dict[str, Any]] = [{"params": list(named.values()), "factor": 1.0}]
    if thresholds:
        groups.append({"params": thresholds, "factor": settings.threshold_rate})
    return groups


@torch.no_grad()
def remove_parallel_gradient(dictionary: Dictionary) -> None:
    """Take out of each decoder row's gradient what would only change its length.

    The row is made a unit vector after the step, and Adam should not remember what that undoes
    (Bricken et al. 2023). With w a row and g its gradient: g - (g . w) w / |w|^2.
    """
    grad, rows = dictionary.W_dec.grad, dictionary.W_dec
    if grad is not None:
        along = (grad * rows).sum(-1, keepdim=True)
        grad.sub_(along * rows / rows.square().sum(-1, keepdim=True).clamp(min=1e-30))


@torch.no_grad()
def make_decoder_rows_unit(dictionary: Dictionary) -> None:
    """Divide every decoder row by its length."""
    dictionary.W_dec.div_(dictionary.decoder_norms()[:, None])


def fresh_learner(
    source: RowSource, settings: DictionarySettings, n_steps: int, first: Rows | None = None
) -> Learner:
    """A dictionary before its first step: scales and biases measured, the rest drawn.

    Args:
        source: whose rows it will be trained on.
        settings: of the dictionary.
        n_steps: of the whole run.
        first: the rows that scales and biases are measured on; None takes 16,384.

    Raises:
        ValueError: a hook that the source has no rows of; a width that does not fit the kind.

    Example:
        >>> learner = fresh_learner(source, DictionarySettings("top-k", hook=hook, k=8), 1000)
        >>> learner.dictionary.cfg.scale
    """
    source.check_hooks(settings.hook, settings.output_hook)
    first = source.next_rows(16_384) if first is None else first
    x, wanted = first[settings.hook], first[settings.output_hook]
    scale = unit_scale(x) if settings.normalise else 1.0
    output_scale = 1.0
    if settings.is_transcoder and settings.normalise:
        output_scale = unit_scale(wanted) / scale
    cfg = _configured(source, settings, x.shape[1], wanted.shape[1], scale)
    dictionary = new_dictionary(cfg, settings.seed, source.device)
    with torch.no_grad():
        dictionary.b_dec.copy_(start_of(wanted, settings.start) * (scale * output_scale))
        if settings.is_transcoder and not isinstance(dictionary, Gated):
            # Nothing is subtracted from what it reads: its features begin at the middle this way.
            middle = start_of(x, settings.start) * scale
            dictionary.b_enc.copy_(-middle @ dictionary.W_enc)
    return Learner(dictionary, settings, n_steps, output_scale)


def _configured(
    source: RowSource, settings: DictionarySettings, d_in: int, d_out: int, scale: float
) -> DictionaryConfig:
    n_features = settings.n_features(d_in)
    facts: dict[str, Any] = dict(source.facts)
    return DictionaryConfig(
        kind=settings.kind,
        d_in=d_in,
        d_features=n_features,
        d_out=d_out if settings.is_transcoder else None,
        k=settings.k,
        hook=settings.hook,
        hook_out=settings.hook_out,
        skip=settings.skip,
        subtract_decoder_bias=not settings.is_transcoder,
        scale=scale,
        sizes=settings.prefixes(n_features),
        **facts,
    )
