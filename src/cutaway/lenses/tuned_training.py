"""Training a tuned lens, and how far each lens is from the model's output on other text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ..evidence import Interval
from ..model.transformer import HookedTransformer
from ..training.settings import TrainSettings
from ..training.trainer import Batches, TrainReport, fit
from .intervals import row_means
from .logit_lens import logit_lens
from .points import log_probabilities, streams
from .tuned_lens import Translators, TunedLens

SETTINGS = TrainSettings(
    n_steps=300,
    batch_size=16,
    learning_rate=5e-3,
    warmup_steps=20,
    weight_decay=0.01,
    fused=False,
)
"""For models of the embedded ones' size; larger ones want more steps and a smaller rate."""

_CELLS = 2**24
"""Logits of all points beyond which they are computed a second time rather than held."""
_ROW_CELLS = 2**22
"""Logits held at a time for the mean prediction; it changes no result."""


def train_tuned_lens(
    model: HookedTransformer,
    batches: Batches,
    settings: TrainSettings = SETTINGS,
    *,
    mid: bool = False,
    stream: HookedTransformer | None = None,
    report: Callable[[TrainReport], None] | None = None,
    report_every: int = 50,
) -> TunedLens:
    """Train a translator for each point to minimise KL(model's output || lens), by our own loop.

    The loss is the mean over points and places (Belrose et al. 2023, equation 5). The model is
    left as it is. The translators of different points share nothing but the clipping of their
    common gradient.

    Args:
        model: whose output is to be predicted from its own stream.
        batches: step -> tokens [batch, pos] of the text to train on, without padding; must depend
            on the step alone.
        settings: how; `batch_size` and `seed` are the text's business, since the lens begins at
            zero and draws nothing.
        mid: also a translator between attention and MLP of every layer.
        stream: predict from this other model's stream instead. With random weights it is the
            control: what an affine map can do with a stream that computes nothing of use.
        report: called every `report_every` steps; its loss is the mean KL in nats.
        report_every: steps between reports.

    Raises:
        ValueError: a model without layers, a stream of another shape, tokens it does not know.

    Example:
        >>> corpus = Corpus(seed=1)
        >>> lens = train_tuned_lens(model, lambda step: corpus.sequences(16 * step, 16))
    """
    source = model if stream is None else stream
    if (source.cfg.d_model, source.cfg.n_layers) != (model.cfg.d_model, model.cfg.n_layers):
        raise ValueError(
            f"the stream of {source.cfg.model_name} has another shape than that of "
            f"{model.cfg.model_name}: layers and width must be the same."
        )
    translators = Translators(model.cfg, mid).to(model.device, model.dtype)

    def loss_at(step: int) -> tuple[Tensor, int]:
        tokens = batches(step).to(model.device)
        return _loss(model, source, translators, tokens), tokens.numel()

    fit(translators, loss_at, settings, None, report, report_every)
    described: dict[str, Any] = {"train": asdict(settings)}
    if stream is not None:
        described["stream"] = stream.digest
    return TunedLens(translators, model.digest, model.cfg.model_name, described)


def _loss(
    model: HookedTransformer,
    source: HookedTransformer,
    translators: Translators,
    tokens: Int[Tensor, "batch pos"],
) -> Float[Tensor, ""]:
    """Mean of KL(output || lens) over points and places, in nats."""
    points = translators.points
    read = [values.flatten(0, 1) for values in streams(source, tokens, points)]
    last = read[-1] if source is model else streams(model, tokens, points[-1:])[0].flatten(0, 1)
    with torch.no_grad():
        final = log_probabilities(model, last)  # [row, d_vocab]
        certain = (final.exp() * final).sum(-1).mean()  # minus the entropy

    def cross(point: int, x: Float[Tensor, "row d_model"]) -> Float[Tensor, ""]:
        logs = log_probabilities(model, translators(point, x))
        return -(final.exp() * logs).sum(-1).mean()

    n_translated = len(points) - 1
    is_large = final.numel() * n_translated > _CELLS
    total = final.new_zeros(())
    for point in range(n_translated):
        if is_large:
            value = checkpoint(cross, point, read[point], use_reentrant=False)
        else:
            value = cross(point, read[point])
        total = total + value + certain
    return total / n_translated


@dataclass(frozen=True)
class LensErrors:
    """KL(model's output || lens) of several lenses at each point, on the same held-out text.

    Example:
        >>> errors = lens_errors(model, held_out, {"tuned lens": lens})
        >>> print(errors.interval("tuned lens", "0"))
    """

    points: tuple[str, ...]
    per_prompt: dict[str, NDArray[np.float64]]
    """Name of the lens -> nats [point, prompt], means over each sequence's places."""

    @property
    def lenses(self) -> tuple[str, ...]:
        """Their names; "mean prediction" is the control that looks at nothing."""
        return tuple(self.per_prompt)

    def interval(self, lens: str, point: str, seed: int = 0, level: float = 0.95) -> Interval:
        """The mean of one lens at one point, with its interval over sequences.

        Raises:
            ValueError: this lens does not read there (a lens on another model's stream has no
                translator for the last point).
        """
        found = self.intervals(lens, seed, level)
        if point not in found:
            raise ValueError(f"the {lens} does not read at the point {point!r}.")
        return found[point]

    def intervals(self, lens: str, seed: int = 0, level: float = 0.95) -> dict[str, Interval]:
        """The mean of one lens at each point that it reads at."""
        points = self.read_by(lens)
        rows = self.per_prompt[lens][[self.points.index(point) for point in points]]
        return dict(zip(points, row_means(rows, seed, level), strict=True))

    def read_by(self, lens: str) -> tuple[str, ...]:
        """The points that a lens reads at."""
        values = self.per_prompt[lens]
        return tuple(
            p for p, row in zip(self.points, values, strict=True) if not np.isnan(row).any()
        )

    def to_frame(self) -> list[dict[str, Any]]:
        """One row (a dict) for each lens and point; pandas takes it as is."""
        rows = []
        for lens in self.lenses:
            for point, found in self.intervals(lens).items():
                ends = {"low": found.low, "high": found.high, "n": found.n}
                rows.append({"lens": lens, "point": point, "kl": found.estimate, **ends})
        return rows


LOGIT, MEAN = "logit lens", "mean prediction"


def lens_errors(
    model: HookedTransformer,
    held_out: Int[Tensor, "prompt pos"],
    lenses: dict[str, TunedLens],
    streams_of: dict[str, HookedTransformer] | None = None,
    prediction: Float[Tensor, " d_vocab"] | None = None,
) -> LensErrors:
    """KL(model's output || lens) at each point on text that no lens was trained on.

    The logit lens is always among them.

    Args:
        model: whose output is to be predicted.
        held_out: sequences, none of them trained on.
        lenses: name -> tuned lens; all with the same points.
        streams_of: name -> the model whose stream that lens reads, where it is another one.
        prediction: `mean_prediction` of the training text: the control that ignores the stream.

    Raises:
        ValueError: a lens of another model, or lenses with different points.
    """
    has_mid = any(p.label.endswith(".mid") for lens in lenses.values() for p in lens.points)
    plain = logit_lens(model, held_out, mid=has_mid, top=1)
    found = {LOGIT: plain.per_prompt(plain.kl)}
    for name, lens in lenses.items():
        readings = lens.read(model, held_out, top=1, stream=(streams_of or {}).get(name))
        if readings.points != plain.points:
            raise ValueError(f"{name} reads at other points than the other lenses: train it alike.")
        found[name] = readings.per_prompt(readings.kl)
        if name in (streams_of or {}):
            found[name][-1] = np.nan  # the last point is not translated, and is not the model's
    if prediction is not None:
        row = _against(model, held_out, prediction, plain.real)
        found[MEAN] = np.broadcast_to(row, (len(plain.points), len(row))).copy()
    return LensErrors(plain.points, {name: np.asarray(v, float) for name, v in found.items()})


@torch.no_grad()
def mean_prediction(
    model: HookedTransformer, batches: Batches, n_batches: int = 16
) -> Float[Tensor, " d_vocab"]:
    """The mean of the model's own output over text: log-probabilities, in nats.

    Of all distributions that do not look at the input it has the smallest mean
    KL(output || distribution), which no lens with a bias can then do worse than for want of a
    bias.
    """
    total, n = torch.zeros(model.cfg.d_vocab, dtype=torch.float64), 0
    for step in range(n_batches):
        for rows in _few(model, batches(step)):
            probabilities = model(rows).double().softmax(-1).flatten(0, 1)
            total += probabilities.sum(0).cpu()
            n += len(probabilities)
    return (total / n).clamp(min=1e-30).log().to(model.device)


@torch.no_grad()
def _against(
    model: HookedTransformer,
    held_out: Int[Tensor, "prompt pos"],
    prediction: Float[Tensor, " d_vocab"],
    real: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """KL(output || prediction) of every sequence, a mean over its places."""
    found = []
    for rows in _few(model, held_out):
        logs = model(rows).double().log_softmax(-1)
        found.append((logs.exp() * (logs - prediction.double())).sum(-1).cpu().numpy())
    kl = np.concatenate(found)  # [prompt, pos]
    return np.asarray(np.where(real, kl, 0.0).sum(1) / real.sum(1))


def _few(
    model: HookedTransformer, tokens: Int[Tensor, "prompt pos"]
) -> tuple[Int[Tensor, "some pos"], ...]:
    """Some prompts at a time."""
    step = max(1, _ROW_CELLS // (tokens.shape[1] * model.cfg.d_vocab))
    parts: tuple[Tensor, ...] = tokens.to(model.device).split(step)
    return parts
