"""`logit_lens`: what the model would predict if it stopped after each layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..model.transformer import HookedTransformer
from ..tasks.task import Task
from .places import NOTHING, PREDICTED, Followed, Places, Positions, places_of
from .points import LensPoint, lens_points, log_probabilities, streams
from .readings import LensReadings

Translate = Callable[[int, Float[Tensor, "row d_model"]], Float[Tensor, "row d_model"]]
"""(number of the point, stream there) -> what is read in its stead."""

_STREAM_CELLS = 2**24
"""Numbers of the stream held at a time, over all points; it changes no result."""
_LOGIT_CELLS = 2**22
"""Logits held at a time, of one point; some arrays of this size are alive at once."""


def logit_lens(
    model: HookedTransformer,
    prompts: Task | Int[Tensor, "prompt pos"],
    *,
    mid: bool = False,
    top: int = 5,
    positions: Positions | None = None,
    follow: Mapping[str, Followed] | None = None,
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
) -> LensReadings:
    """The final norm and the unembedding, applied to the stream after every layer.

    logits(x) = norm(x) W_U + b_U for the stream x at each point (nostalgebraist 2020). The norm
    takes its scale from x itself, so that each point is read as if the model ended there. The
    last point gives the model's own output.

    Args:
        model: read, not changed.
        prompts: a task, whose clean prompts are read at END; or tokens, read everywhere but at
            padding (which is found as `model.loss_fn` finds it).
        mid: also between attention and MLP of every layer.
        top: how many of the most probable tokens are kept at every point.
        positions: where to read instead: indices for each prompt, or True at the places.
        follow: name -> further tokens whose rank and probability are kept: one number, one for
            each prompt, or one for each place; -1 stands for none.
        seed: of the shuffled targets, the control.
        progress: told the share that is done.

    Returns:
        readings [point, prompt, read]; logits of the whole vocabulary are never held for more
        than some positions of one point.

    Raises:
        ValueError: a model without layers, tokens it does not know, a sequence that is too long,
            positions that are not there, `top` out of range.

    Example:
        >>> readings = logit_lens(model, model.to_tokens("When John and Mary went"))
        >>> readings.top_tokens.shape  # [point, prompt, read, k]
        (5, 1, 6, 5)
    """
    points = lens_points(model.cfg, mid)
    places = places_of(model, prompts, positions, follow, seed)
    return read_points(model, places, points, lambda _, x: x, "logit lens", top, progress=progress)


@torch.no_grad()
def read_points(
    model: HookedTransformer,
    places: Places,
    points: tuple[LensPoint, ...],
    translate: Translate,
    lens: str,
    top: int = 5,
    stream: HookedTransformer | None = None,
    progress: Callable[[float], None] | None = None,
) -> LensReadings:
    """Read every point at every place; what all lenses end in.

    Args:
        model: its final norm and unembedding read, and its output is what each point is held
            against.
        places: prompts, positions, tokens to follow.
        points: in the order of the run; the last one is the model's output.
        translate: what the lens does to the stream before it is read.
        lens: the lens's name, for reports.
        top: tokens kept at each point.
        stream: another model whose stream is read in place of `model`'s (a control).
        progress: told the share that is done.

    Raises:
        ValueError: `top` is below 1 or larger than the vocabulary.
    """
    if not 1 <= top <= model.cfg.d_vocab:
        raise ValueError(f"top={top} is not between 1 and {model.cfg.d_vocab}, the vocabulary.")
    kept = _Kept(points, places, top)
    n_prompts = len(places.tokens)
    for start, stop in _prompt_chunks(places, points, model.cfg.d_model):
        chunk = slice(start, stop)
        real = places.real[chunk]
        where = places.positions[chunk]
        read = [
            _at(values, where)[real]
            for values in streams(stream or model, places.tokens[chunk], points)
        ]
        final = read[-1]
        if stream is not None:
            (whole,) = streams(model, places.tokens[chunk], points[-1:])
            final = _at(whole, where)[real]
        followed = {name: tokens[chunk][real] for name, tokens in places.followed.items()}
        rows = np.flatnonzero(places.real.cpu().numpy())
        first = int(places.real[:start].sum())
        step = max(1, _LOGIT_CELLS // model.cfg.d_vocab)
        for at in range(0, len(final), step):
            some = slice(at, at + step)
            target = log_probabilities(model, final[some])
            tokens = {name: token[some] for name, token in followed.items()}
            tokens[PREDICTED] = target.argmax(-1)
            here = rows[first + at : first + at + len(target)]
            for number, values in enumerate(read):
                logs = log_probabilities(model, translate(number, values[some]))
                kept.put(number, here, logs, target, tokens)
        if progress is not None:
            progress(stop / n_prompts)
    return kept.readings(lens, model)


def _prompt_chunks(
    places: Places, points: tuple[LensPoint, ...], d_model: int
) -> Iterator[tuple[int, int]]:
    n_prompts, n_pos = places.tokens.shape
    step = max(1, _STREAM_CELLS // (n_pos * d_model * len(points)))
    for start in range(0, n_prompts, step):
        yield start, min(start + step, n_prompts)


def _at(
    values: Float[Tensor, "prompt pos d_model"], positions: Int[Tensor, "prompt read"]
) -> Float[Tensor, "prompt read d_model"]:
    return values[torch.arange(len(values), device=values.device)[:, None], positions]


class _Kept:
    """Arrays that the chunks are written into, [point, place], NaN where nothing is read."""

    def __init__(self, points: tuple[LensPoint, ...], places: Places, top: int) -> None:
        self.points, self.places = points, places
        shape = (len(points), places.real.numel())
        self.top_tokens = np.full((*shape, top), NOTHING, dtype=np.int64)
        self.top_probabilities = np.full((*shape, top), np.nan, dtype=np.float32)
        self.entropy = np.full(shape, np.nan, dtype=np.float32)
        self.kl = np.full(shape, np.nan, dtype=np.float32)
        names = (*places.followed, PREDICTED)
        self.log_probability = {name: np.full(shape, np.nan, dtype=np.float32) for name in names}
        self.rank = {name: np.full(shape, NOTHING, dtype=np.int64) for name in names}
        self.predicted = np.full(shape[1], NOTHING, dtype=np.int64)

    def put(
        self,
        point: int,
        rows: np.ndarray,
        logs: Float[Tensor, "row d_vocab"],
        final: Float[Tensor, "row d_vocab"],
        tokens: dict[str, Int[Tensor, " row"]],
    ) -> None:
        """What is kept of one point's log-probabilities at some places."""
        best, chosen = logs.topk(self.top_tokens.shape[-1], dim=-1)
        self.top_tokens[point, rows] = chosen.cpu().numpy()
        self.top_probabilities[point, rows] = best.exp().float().cpu().numpy()
        self.entropy[point, rows] = -(logs.exp() * logs).sum(-1).float().cpu().numpy()
        kl = (final.exp() * (final - logs)).sum(-1).clamp(min=0)  # rounding can make it negative
        self.kl[point, rows] = kl.float().cpu().numpy()
        self.predicted[rows] = tokens[PREDICTED].cpu().numpy()
        for name, token in tokens.items():
            there = token != NOTHING
            own = logs.gather(1, token.clamp(min=0)[:, None])
            rank = (logs > own).sum(-1)
            own, rank = own[:, 0].float(), rank.masked_fill(~there, NOTHING)
            own = own.masked_fill(~there, float("nan"))
            self.log_probability[name][point, rows] = own.cpu().numpy()
            self.rank[name][point, rows] = rank.cpu().numpy()

    def readings(self, lens: str, model: HookedTransformer) -> LensReadings:
        shape = tuple(self.places.real.shape)

        def shaped(values: np.ndarray) -> np.ndarray:
            return values.reshape(len(self.points), *shape, *values.shape[2:])

        followed = {name: t.cpu().numpy() for name, t in self.places.followed.items()}
        return LensReadings(
            lens=lens,
            model=model.cfg.model_name,
            points=tuple(point.label for point in self.points),
            tokens=self.places.tokens.cpu().numpy(),
            positions=self.places.positions.cpu().numpy(),
            real=self.places.real.cpu().numpy(),
            top_tokens=shaped(self.top_tokens),
            top_probabilities=shaped(self.top_probabilities),
            entropy=shaped(self.entropy),
            kl=shaped(self.kl),
            followed={**followed, PREDICTED: self.predicted.reshape(shape)},
            log_probability={name: shaped(v) for name, v in self.log_probability.items()},
            rank={name: shaped(v) for name, v in self.rank.items()},
        )
