"""A dictionary measured: sparsity, reconstruction, what the model loses, beside its baselines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..array_files import load_arrays, save_arrays
from ..model.transformer import HookedTransformer
from .baselines import Moments, baselines, moments
from .config import DictionaryConfig
from .dictionary import Dictionary
from .reconstruction import SUMS, Reconstruction, Reconstructor, reconstruct, row_batches
from .spliced_loss import ABLATIONS, MEAN, Place, SplicedLosses, at_once, model_batches
from .spliced_loss import spliced_losses as losses_with
from .splicing import check_fits

DICTIONARY = "dictionary"
_OF_ROWS = ("n_rows", *SUMS, "fired", "strength")


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What was measured of a dictionary and, on the same rows, of its baselines.

    Example:
        >>> found = evaluate(dictionary, model, tokens)
        >>> found.dictionary.explained_variance()
        >>> found.losses.loss_recovered("dictionary")
    """

    cfg: DictionaryConfig
    rows: dict[str, Reconstruction]
    """"dictionary" and the baselines, by name."""
    losses: SplicedLosses | None = None
    """With each of them in its place in the model; None without a model."""
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def dictionary(self) -> Reconstruction:
        """Of the dictionary itself."""
        return self.rows[DICTIONARY]

    def to_frame(self) -> list[dict[str, Any]]:
        """One row (a dict) for the dictionary, each baseline and each ablation."""
        frame: list[dict[str, Any]] = []
        for name, one in self.rows.items():
            measured = {
                "L0": one.l0(),
                "explained variance": one.explained_variance(),
                "cosine": one.mean_cosine(),
                "relative bias": one.relative_bias(),
                "centred bias": one.centred_bias(),
            }
            row: dict[str, Any] = {"what": name}
            for measure, interval in measured.items():
                row |= {
                    measure: interval.estimate,
                    f"{measure} low": interval.low,
                    f"{measure} high": interval.high,
                }
            frame.append({**row, "dead": one.n_dead, "rows": one.n, **self._losses_of(name)})
        if self.losses is not None:
            frame += [{"what": name, **self._losses_of(name)} for name in ABLATIONS]
        return frame

    def _losses_of(self, name: str) -> dict[str, float]:
        if self.losses is None:
            return {}
        found: dict[str, float] = {}
        measured = {
            "cross-entropy": self.losses.loss(name),
            "increase": self.losses.increase(name),
            "KL": self.losses.kl(name),
        }
        for against in ABLATIONS:
            measured[f"loss recovered against {against}"] = self.losses.loss_recovered(
                name, against
            )
            measured[f"KL recovered against {against}"] = self.losses.kl_recovered(name, against)
        for measure, interval in measured.items():
            found |= {
                measure: interval.estimate,
                f"{measure} low": interval.low,
                f"{measure} high": interval.high,
            }
        return found

    def save(self, path: str | Path) -> None:
        """Write one safetensors file: sums per sequence, the rest as JSON in its header."""
        arrays = {
            f"{name}/{part}": getattr(one, part)
            for name, one in self.rows.items()
            for part in _OF_ROWS
        }
        if self.losses is not None:
            arrays |= {f"losses/{part}": getattr(self.losses, part) for part in _OF_LOSSES}
            for kind in _BY_NAME:
                of_kind: dict[str, Any] = getattr(self.losses, kind)
                arrays |= {f"{kind}/{name}": values for name, values in of_kind.items()}
        described = {
            "cfg": self.cfg.to_dict(),
            "names": list(self.rows),
            "losses": None if self.losses is None else list(self.losses.cross_entropy),
            "settings": self.settings,
        }
        save_arrays(path, "an evaluation", arrays, described)

    @classmethod
    def load(cls, path: str | Path) -> Evaluation:
        """The inverse of `save`.

        Raises:
            ValueError: the file is missing, or is not one that `save` wrote.
        """
        arrays, described = load_arrays(path, "an evaluation")
        rows = {
            name: Reconstruction(**{part: arrays[f"{name}/{part}"] for part in _OF_ROWS})
            for name in described["names"]
        }
        losses = None
        if described["losses"] is not None:
            parts: dict[str, Any] = {part: arrays[f"losses/{part}"] for part in _OF_LOSSES}
            for kind in _BY_NAME:
                parts[kind] = {name: arrays[f"{kind}/{name}"] for name in described["losses"]}
            losses = SplicedLosses(**parts)
        cfg = DictionaryConfig.from_dict(described["cfg"])
        return cls(cfg, rows, losses, described["settings"])


_OF_LOSSES = ("n_tokens", "clean")
_BY_NAME = ("cross_entropy", "divergence")


def evaluate_rows(
    dictionary: Dictionary,
    x: Float[Tensor, "row d_in"],
    target: Float[Tensor, "row d_out"] | None = None,
    *,
    fit: Float[Tensor, "row d_in"] | None = None,
    fit_target: Float[Tensor, "row d_out"] | None = None,
    seed: int = 0,
    batch_size: int = 64,
) -> Evaluation:
    """Measure a dictionary on given rows, without a model: synthetic ones, toy models.

    Intervals resample runs of 64 rows.

    Args:
        dictionary: to measure.
        x: what it reads.
        target: what a transcoder predicts.
        fit: rows that the baselines are fitted on; None is `x`, which favours the baselines.
        fit_target: of a transcoder, what belongs to `fit`.
        seed: of the random directions.
        batch_size: runs of 64 rows at a time; it changes no result.

    Raises:
        ValueError: no rows, another width, values that are not finite.

    Example:
        >>> evaluate_rows(dictionary, known.draw(10_000, generator).x).dictionary.l0()
    """
    on, wanted = (x, target) if fit is None else (fit, fit_target)

    def of_rows(reconstructors: dict[str, Reconstructor]) -> dict[str, Reconstruction]:
        return reconstruct(reconstructors, row_batches(x, target, batch_size=batch_size))

    found = of_rows({DICTIONARY: dictionary})
    fitted = moments(row_batches(on, wanted, batch_size=batch_size))
    beside = _baselines(dictionary, fitted, found, seed)
    return Evaluation(dictionary.cfg, found | of_rows(beside), None, {"seed": seed})


@torch.no_grad()
def evaluate(
    dictionary: Dictionary,
    model: HookedTransformer,
    tokens: Int[Tensor, "sequence pos"],
    *,
    fit_tokens: Int[Tensor, "n_fit length"] | None = None,
    skip_bos: bool = True,
    seed: int = 0,
    batch_size: int | None = None,
    progress: Callable[[float], None] = lambda share: None,
) -> Evaluation:
    """Measure a dictionary in its model: rows rebuilt, and predictions with it in its place.

    Beside it stand random directions, principal components, mean and zero ablation, measured on
    the same tokens with as many active numbers per row. Intervals (95%) resample sequences.

    Args:
        dictionary: reads `cfg.hook`, and stands in the place of `cfg.hook_out`, or of the same.
        model: that it was trained on.
        tokens: that it was not trained on.
        fit_tokens: what means, components and the linear map are taken from; None is `tokens`,
            which favours the baselines.
        skip_bos: leave out rows of BOS, which keep their own value in the model.
        seed: of the random directions.
        batch_size: sequences at a time; None is what fits. It changes no result.
        progress: told the share that is done.

    Raises:
        ValueError: a hook that the model does not have, another width, no tokens, activations
            that are not finite.

    Example:
        >>> found = evaluate(dictionary, model, tokens)
        >>> found.losses.loss_recovered("dictionary", "mean ablation")
    """
    place = Place.of(model, dictionary.cfg.hook, dictionary.cfg.hook_out)
    check_fits(model, dictionary)
    if tokens.ndim != 2 or not tokens.numel():
        raise ValueError(
            f"there are no tokens to evaluate on: they have the shape {tuple(tokens.shape)}, not "
            "[sequence, pos]."
        )
    size = batch_size or at_once(model, tokens)

    def of_rows(names: dict[str, Reconstructor], start: float) -> dict[str, Reconstruction]:
        def told(share: float) -> None:
            progress(start + _SHARE * share)

        batches = model_batches(model, tokens, place, size, skip_bos, told)
        return reconstruct(names, batches)

    found = of_rows({DICTIONARY: dictionary}, 0.0)
    on = tokens if fit_tokens is None else fit_tokens
    fitted = moments(model_batches(model, on, place, size, skip_bos))
    beside = _baselines(dictionary, fitted, found, seed)
    found |= of_rows(beside, _SHARE)
    losses = losses_with(
        model,
        tokens,
        place,
        {DICTIONARY: dictionary, **beside},
        fitted.mean_y.float(),
        skip_bos=skip_bos,
        batch_size=size,
        progress=lambda share: progress(2 * _SHARE + (1 - 2 * _SHARE) * share),
    )
    settings = {
        "model": model.cfg.model_name,
        "digest": dictionary.digest,
        "skip_bos": skip_bos,
        "seed": seed,
        "sequences": len(tokens),
        "fitted on": "the same sequences" if fit_tokens is None else f"{len(on)} others",
    }
    return Evaluation(dictionary.cfg, found, losses, settings)


_SHARE = 0.15  # of the time that each pass over the rows takes; the rest is the runs of the model


def _baselines(
    dictionary: Dictionary, fitted: Moments, found: dict[str, Reconstruction], seed: int
) -> dict[str, Reconstructor]:
    l0 = found[DICTIONARY].l0().estimate
    n_directions = dictionary.cfg.d_features
    return baselines(fitted, l0, n_directions, seed, dictionary.dtype)


__all__ = ["ABLATIONS", "DICTIONARY", "MEAN", "Evaluation", "evaluate", "evaluate_rows"]
