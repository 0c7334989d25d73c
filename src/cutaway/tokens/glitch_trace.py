"""Where in a model an anomalous token goes wrong, beside ordinary tokens in the same places.

One sequence asks two things of a token X, among ordinary tokens a, b, c, d:

    a b X c d a b | X |
                ^   ^
        say X here   find c here

To *say* it, the model has to know X when it comes again; to *follow* it, it has to know X when it
sees it again. Every measure is taken of the token and of each of the ordinary tokens, in the same
sequences: the norm of the stream at X, what each layer would predict (logit lens), where heads
look, and what comes back when the stream of an ordinary token is put into the run of X, layer by
layer and place by place (denoising; Meng et al. 2022; Wang et al. 2022).

The logit of X is taken apart into a *floor*, what it has in the same place when another token
stands where X stood, and a *rise* above it. A token that the unembedding was trained to push down
has a low floor; one that is not carried from its place has no rise. Logits are above their mean
over the vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from ..array_files import Array, load_arrays, save_arrays
from ..model.cache import get_act_name
from ..model.parts import at_least_float32
from ..model.transformer import HookedTransformer
from .glitch_frames import ROUTES, Frames, draw_frames
from .glitch_patches import Patch, patch_frames

_KIND = "a token's trace"
_LAYERED = ("norm", "floor", "rise", "log_probability", "follower")


@dataclass(frozen=True, eq=False)
class TokenTrace:
    """One token and some ordinary ones through the layers. Run 0 is the token, the rest ordinary.

    Example:
        >>> trace = trace_token(model, token, ordinary)  # doctest: +SKIP
        >>> trace.first_outside("rise")  # doctest: +SKIP
        '1'
    """

    model: str
    token: int
    ordinary: tuple[int, ...]
    """The control."""
    points: tuple[str, ...]
    """Of the residual stream: "embed", then "0" for after layer 0, and so on."""
    norm: Float[Array, "run prompt point"]
    """Length of the stream where the token stands first."""
    floor: Float[Array, "run prompt point"]
    """Logit of the token where it has to be said, if another one stood in its place: mean over
    the other runs."""
    rise: Float[Array, "run prompt point"]
    """What the logit is above that when it is the token itself that stood there."""
    log_probability: Float[Array, "run prompt point"]
    """Of the token where it has to be said, in nats."""
    follower: Float[Array, "run prompt point"]
    """Log-probability of what followed it, where it has come again, in nats."""
    attention: Float[Array, "route run prompt layer head"]
    """Along `ROUTES`: from the place that has to say it, back to it; from its follower, back to
    it; from where it comes again, back to its follower."""
    patches: dict[str, Patch]
    """"say" and "follow", what comes back by denoising; "say, control" and "follow, control" with
    an ordinary token in place of the anomalous one."""
    settings: dict[str, Any] = field(default_factory=dict)

    def means(self, name: str) -> Float[Array, "run point"]:
        """A measure over the points, mean over prompts: "norm", "floor", "rise",
        "log_probability" or "follower".

        Raises:
            ValueError: no such measure.
        """
        if name not in _LAYERED:
            raise ValueError(f"{name!r} is no measure; there are {', '.join(_LAYERED)}.")
        values: Float[Array, "run point"] = getattr(self, name).mean(1)
        return values

    def outside(self, name: str) -> NDArray[np.bool_]:
        """At which points the token lies below all ordinary tokens, or above all: [point].

        One of n ordinary tokens does so, among the others, with a chance of 2 / (n + 1).
        """
        values = self.means(name)
        low, high = values[1:].min(0), values[1:].max(0)
        beyond: NDArray[np.bool_] = (values[0] < low) | (values[0] > high)
        return beyond

    def first_outside(self, name: str) -> str | None:
        """The first point from which on the token stays outside of what ordinary tokens do."""
        beyond = self.outside(name)
        if not beyond[-1]:
            return None
        inside = np.flatnonzero(~beyond)
        return self.points[int(inside[-1]) + 1 if inside.size else 0]

    def to_frame(self) -> list[dict[str, Any]]:
        """One row for each run and point, with every measure's mean over prompts."""
        means = {name: self.means(name) for name in _LAYERED}
        return [
            {
                "token": token,
                "is ordinary": run > 0,
                "point": point,
                **{name: float(values[run, at]) for name, values in means.items()},
            }
            for run, token in enumerate((self.token, *self.ordinary))
            for at, point in enumerate(self.points)
        ]

    def save(self, path: str | Path) -> None:
        """Write it to one safetensors file."""
        arrays = {name: getattr(self, name) for name in (*_LAYERED, "attention")}
        described: dict[str, Any] = {
            "model": self.model,
            "token": self.token,
            "ordinary": list(self.ordinary),
            "points": list(self.points),
            "settings": self.settings,
            "patches": {name: list(patch.places) for name, patch in self.patches.items()},
        }
        for name, patch in self.patches.items():
            arrays |= {f"{name}.restored": patch.restored, f"{name}.gap": patch.gap}
        save_arrays(path, _KIND, arrays, described)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The inverse of `save`.

        Raises:
            ValueError: the file is not there, or holds something else.
        """
        arrays, described = load_arrays(path, _KIND)
        patches = {
            name: Patch(arrays.pop(f"{name}.restored"), arrays.pop(f"{name}.gap"), tuple(places))
            for name, places in described.pop("patches").items()
        }
        described |= {name: tuple(described[name]) for name in ("ordinary", "points")}
        return cls(**arrays, patches=patches, **described)


@torch.no_grad()
def trace_token(
    model: HookedTransformer,
    token: int,
    ordinary: Sequence[int],
    n_prompts: int = 16,
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
) -> TokenTrace:
    """Follow a token through the layers, beside ordinary tokens in the same places.

    Args:
        model: without hooks attached.
        token: the one that is anomalous.
        ordinary: tokens that are not. At most half of them are put where the token stood; the
            sequences are made of the rest.
        n_prompts: sequences.
        seed: of the sequences.
        progress: told the share that is done.

    Raises:
        ValueError: too few ordinary tokens, one that is the token itself or not in the
            vocabulary, too short a context, or a model without layers.

    Example:
        >>> trace = trace_token(model, found.suspects(1)[0], ordinary_tokens(found, 24))
        >>> trace.patches["follow"].mean  # doctest: +SKIP
    """
    frames = draw_frames(model, token, ordinary, n_prompts, seed)
    found = [
        _read(model, frames, run, progress, 0.7 * run / frames.n_runs)
        for run in range(frames.n_runs)
    ]
    own = np.stack([one["own"] for one in found])  # [run seen, run asked for, prompt, point]
    n_runs = frames.n_runs
    itself = own[np.arange(n_runs), np.arange(n_runs)]  # [run, prompt, point]
    floor = (own.sum(0) - itself) / (n_runs - 1)
    patches = patch_frames(model, frames)
    if progress is not None:
        progress(1.0)

    def stacked(name: str, axis: int = 0) -> Array:
        return np.stack([one[name] for one in found], axis=axis)

    return TokenTrace(
        model=model.cfg.model_name,
        token=token,
        ordinary=frames.ordinary,
        points=("embed", *map(str, range(model.cfg.n_layers))),
        norm=stacked("norm"),
        floor=floor,
        rise=itself - floor,
        log_probability=stacked("log_probability"),
        follower=stacked("follower"),
        attention=stacked("attention", axis=1),
        patches=patches,
        settings={"n_prompts": n_prompts, "seed": seed, "digest": model.digest},
    )


def _read(
    model: HookedTransformer,
    frames: Frames,
    run: int,
    progress: Callable[[float], None] | None,
    share: float,
) -> dict[str, Array]:
    """Everything that one run's sequences show."""
    if progress is not None:
        progress(share)
    tokens = frames.sequences(run)  # [prompt, pos]
    layers = range(model.cfg.n_layers)
    stream = [get_act_name("resid_pre", 0), *(get_act_name("resid_post", one) for one in layers)]
    patterns = [get_act_name("pattern", layer) for layer in layers]
    _, kept = model.run_with_cache(tokens, names_filter=[*stream, *patterns], return_type=None)
    at = frames.at
    asked = torch.tensor([frames.token, *frames.ordinary], device=tokens.device)
    norm, own, log_probability, follower = [], [], [], []
    for name in stream:
        norm.append(kept[name][:, at["X"]].double().norm(dim=-1))
        logits = _read_out(model, kept[name][:, at["say"]])  # [prompt, d_vocab]
        own.append((logits - logits.mean(-1, keepdim=True))[:, asked].T)
        log_probability.append(logits.log_softmax(-1)[:, asked[run]])
        after = _read_out(model, kept[name][:, at["again"]]).log_softmax(-1)
        follower.append(after.gather(1, tokens[:, at["next"], None])[:, 0])
    attention = torch.stack(
        [
            torch.stack([kept[name][:, :, at[query], at[key]] for name in patterns], dim=1)
            for query, key in ROUTES.values()
        ]
    )  # [route, prompt, layer, head]
    return {
        "norm": _array(torch.stack(norm, -1)),
        "own": _array(torch.stack(own, -1)),
        "log_probability": _array(torch.stack(log_probability, -1)),
        "follower": _array(torch.stack(follower, -1)),
        "attention": _array(attention),
    }


def _read_out(
    model: HookedTransformer, resid: Float[Tensor, "prompt d_model"]
) -> Float[Tensor, "prompt d_vocab"]:
    """The final norm and the unembedding, as if the model ended here."""
    logits: Tensor = model.unembed(model.ln_final(resid[:, None]))[:, 0]
    return at_least_float32(logits)


def _array(values: Tensor) -> Array:
    found: Array = values.double().cpu().numpy()
    return found
