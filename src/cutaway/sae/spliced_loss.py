"""What the model loses with a dictionary in its place: cross-entropy and KL, and the share kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from ..evidence import Interval, bootstrap_ratio
from ..model.hooks import HookPoint, near_matches
from ..model.transformer import HookedTransformer
from .reconstruction import Reconstructor, SequenceBatch

Array = NDArray[np.float64]
MEAN, ZERO = "mean ablation", "zero ablation"
ABLATIONS = (MEAN, ZERO)
_LEVEL = 0.95
_CELLS = 30_000_000  # logits held at a time; it changes no result
_RESAMPLES = 2000


@dataclass(frozen=True, eq=False)
class SplicedLosses:
    """Sums over the predictions of each sequence, with something in the place of a hook's value.

    Example:
        >>> found = spliced_losses(model, tokens, place, {"dictionary": dictionary}, mean)
        >>> found.recovered("dictionary")
    """

    n_tokens: Float[Array, "sequence"]
    """Predictions that count."""
    clean: Float[Array, "sequence"]
    """Cross-entropy of the next token, in nats, untouched."""
    cross_entropy: dict[str, Float[Array, "sequence"]]
    """The same with each dictionary and each ablation in place, by name."""
    divergence: dict[str, Float[Array, "sequence"]]
    """KL(clean || spliced) of the predictions, in nats."""

    def clean_loss(self) -> Interval:
        """Nats per prediction of the model as it is."""
        return self._ratio(self.clean, self.n_tokens)

    def loss(self, name: str) -> Interval:
        """Nats per prediction with `name` in place."""
        return self._ratio(self.cross_entropy[name], self.n_tokens)

    def increase(self, name: str) -> Interval:
        """Nats per prediction that are lost, on the same tokens."""
        return self._ratio(self.cross_entropy[name] - self.clean, self.n_tokens)

    def kl(self, name: str) -> Interval:
        """KL(clean || spliced), nats per prediction."""
        return self._ratio(self.divergence[name], self.n_tokens)

    def is_meaningful(self, against: str = MEAN) -> bool:
        """Whether the ablation does harm: the interval of its increase lies above 0."""
        return bool(self.increase(against).low > 0)

    def loss_recovered(self, name: str, against: str = MEAN) -> Interval:
        """(ablated - spliced) / (ablated - clean) of mean cross-entropies: 1 is as good as the
        model, 0 as bad as the ablation, below 0 worse. NaN where the ablation does no clear harm:
        there is nothing to recover, and the ratio would be noise."""
        ablated = self.cross_entropy[against]
        return self._recovered(ablated - self.cross_entropy[name], ablated - self.clean, against)

    def kl_recovered(self, name: str, against: str = MEAN) -> Interval:
        """1 - KL(clean || spliced) / KL(clean || ablated), guarded in the same way."""
        ablated = self.divergence[against]
        return self._recovered(ablated - self.divergence[name], ablated, against)

    def _recovered(self, top: Array, bottom: Array, against: str) -> Interval:
        if not self.is_meaningful(against):
            return Interval(float("nan"), -np.inf, np.inf, _LEVEL, len(bottom))
        return self._ratio(top, bottom)

    def _ratio(self, top: Array, bottom: Array) -> Interval:
        value, low, high = bootstrap_ratio(top, bottom, level=_LEVEL, n_resamples=_RESAMPLES)
        return Interval(float(value), float(low), float(high), _LEVEL, len(bottom))


@dataclass(frozen=True)
class Place:
    """Where a dictionary stands in a model.

    Raises:
        ValueError: the model has no such hook.
    """

    read: str
    """The hook it reads."""
    write: str
    """The hook whose value it gives; of an autoencoder the same."""

    @classmethod
    def of(cls, model: HookedTransformer, read: str, write: str = "") -> Place:
        """Check the names against a model."""
        for name in (read, write or read):
            if name not in model.hook_dict:
                raise ValueError(
                    f"{model.cfg.model_name} has no hook {name!r}; near matches: "
                    f"{', '.join(near_matches(name, model.hook_dict)) if name else 'none'}."
                )
        return cls(read, write or read)


def kept_rows(
    model: HookedTransformer, tokens: Int[Tensor, "sequence pos"], skip_bos: bool
) -> Bool[Tensor, "sequence pos"]:
    """False at padding, and at BOS if it is to be left out."""
    real = model.real_tokens(tokens, model.padding_mask(tokens))
    kept = torch.ones_like(tokens, dtype=torch.bool) if real is None else real.bool()
    bos = None if model.tokenizer is None else model.tokenizer.bos_token_id
    return kept & (tokens != bos) if skip_bos and bos is not None else kept


@torch.no_grad()
def model_batches(
    model: HookedTransformer,
    tokens: Int[Tensor, "sequence pos"],
    place: Place,
    batch_size: int,
    skip_bos: bool = True,
    progress: Callable[[float], None] = lambda share: None,
) -> Iterator[SequenceBatch]:
    """The activations of a place, some sequences at a time; heads lie side by side in a row.

    Raises:
        ValueError: the place has no row for each token.
    """
    for start in range(0, len(tokens), batch_size):
        some = tokens[start : start + batch_size].to(model.device)
        names = list(dict.fromkeys([place.read, place.write]))
        _, values = model.record(some, names_filter=names, return_type=None)
        for name in names:
            if values[name].ndim < 3 or values[name].shape[:2] != some.shape:
                raise ValueError(
                    f"{name} has no row for each token: its values have the shape "
                    f"{tuple(values[name].shape)}, not [batch, pos, width]."
                )
        x, target = (values[name].flatten(2).float() for name in (place.read, place.write))
        same = place.read == place.write
        yield SequenceBatch(x, x if same else target, kept_rows(model, some, skip_bos))
        progress(min(1.0, (start + batch_size) / len(tokens)))


@torch.no_grad()
def spliced_losses(
    model: HookedTransformer,
    tokens: Int[Tensor, "sequence pos"],
    place: Place,
    reconstructors: Mapping[str, Reconstructor],
    mean: Float[Tensor, "d_out"],
    *,
    skip_bos: bool = True,
    batch_size: int | None = None,
    progress: Callable[[float], None] = lambda share: None,
) -> SplicedLosses:
    """Run the model once as it is, and once with each thing in place.

    Rows that are left out (BOS, padding) keep their own value; of padding no prediction counts.

    Args:
        model: the model.
        tokens: what it reads.
        place: where to put them.
        reconstructors: by name.
        mean: what mean ablation puts in place, best of other tokens than these.
        skip_bos: leave BOS alone.
        batch_size: sequences at a time; None is what fits. It changes no result.
        progress: told the share that is done.

    Raises:
        ValueError: no sequence of two tokens or more.

    Example:
        >>> spliced_losses(model, tokens, Place.of(model, hook), {"dictionary": one}, mean)
    """
    if tokens.ndim != 2 or tokens.shape[0] < 1 or tokens.shape[1] < 2:
        raise ValueError(
            f"the loss needs sequences of two tokens or more, and these have the shape "
            f"{tuple(tokens.shape)}."
        )
    size = batch_size or at_once(model, tokens)
    parts: list[dict[str, Array]] = []
    for start in range(0, len(tokens), size):
        some = tokens[start : start + size].to(model.device)
        parts.append(_losses_of(model, some, place, reconstructors, mean, skip_bos))
        progress(min(1.0, (start + size) / len(tokens)))
    sums = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    counted = sums["n_tokens"] > 0
    sums = {name: values[counted] for name, values in sums.items()}
    names = (*reconstructors, *ABLATIONS)
    return SplicedLosses(
        n_tokens=sums["n_tokens"],
        clean=sums["clean"],
        cross_entropy={name: sums[f"ce {name}"] for name in names},
        divergence={name: sums[f"kl {name}"] for name in names},
    )


def at_once(model: HookedTransformer, tokens: Int[Tensor, "sequence pos"]) -> int:
    """Sequences whose logits fit into memory together."""
    return max(1, _CELLS // (tokens.shape[1] * model.cfg.d_vocab * 3))


def _losses_of(
    model: HookedTransformer,
    tokens: Int[Tensor, "sequence pos"],
    place: Place,
    reconstructors: Mapping[str, Reconstructor],
    mean: Float[Tensor, "d_out"],
    skip_bos: bool,
) -> dict[str, Array]:
    kept = kept_rows(model, tokens, skip_bos)
    real = kept_rows(model, tokens, skip_bos=False)
    counts = (real[:, 1:] & real[:, :-1]).double()  # [sequence, pos - 1]
    clean = model(tokens, return_type="logits")
    log_p = clean.float().log_softmax(-1)
    sums: dict[str, Any] = {"n_tokens": counts.sum(1)}
    sums["clean"] = (_cross_entropy(log_p, tokens) * counts).sum(1)
    replaced: dict[str, Callable[[Tensor], Tensor]] = {
        name: lambda x, one=one: one.decode(one.encode(x), x)  # type: ignore[misc]
        for name, one in reconstructors.items()
    }
    replaced[MEAN] = lambda x: mean.to(x.device, x.dtype).expand(len(x), -1)
    replaced[ZERO] = lambda x: torch.zeros_like(mean, device=x.device).expand(len(x), -1)
    for name, function in replaced.items():
        logits = model.run_with_hooks(
            tokens, return_type="logits", fwd_hooks=splicing_hooks(place, function, kept)
        )
        log_q = logits.float().log_softmax(-1)
        divergence = (log_p.exp() * (log_p - log_q)).sum(-1)[:, :-1]
        sums[f"ce {name}"] = (_cross_entropy(log_q, tokens) * counts).sum(1)
        sums[f"kl {name}"] = (divergence * counts).sum(1)
    return {name: value.cpu().numpy() for name, value in sums.items()}


def _cross_entropy(
    log_p: Float[Tensor, "sequence pos d_vocab"], tokens: Int[Tensor, "sequence pos"]
) -> Float[Tensor, "sequence predicted"]:
    return -log_p[:, :-1].gather(-1, tokens[:, 1:, None])[..., 0]


def splicing_hooks(
    place: Place,
    function: Callable[[Tensor], Tensor],
    kept: Bool[Tensor, "sequence pos"],
) -> list[tuple[str, Callable[..., Any]]]:
    """Functions for `run_with_hooks` that put function(x) of the rows that count in place.

    Args:
        place: what is read, and what is replaced.
        function: rows [row, d_in] -> rows [row, d_out].
        kept: which rows are replaced; the others stay.
    """
    seen: dict[str, Tensor] = {}

    def read(value: Tensor, hook: HookPoint) -> None:
        seen["x"] = value.flatten(2)

    def write(value: Tensor, hook: HookPoint) -> Tensor:
        x = value.flatten(2) if place.read == place.write else seen["x"]
        changed = value.flatten(2).clone()
        changed[kept] = function(x[kept].float()).to(value.dtype)
        return changed.view_as(value)

    if place.read == place.write:
        return [(place.write, write)]
    return [(place.read, read), (place.write, write)]
