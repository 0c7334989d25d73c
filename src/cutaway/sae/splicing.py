"""Dictionaries in place: a model that computes through their features, at one or several hooks.

What a model computes at a hook is y. A dictionary reads x (which is y, but of a transcoder what
passes another hook), and says that y is its output plus an error:

    y = decode(encode(x)) + error

Spliced in with the error term, y goes on as it was, and a feature that is changed from f to f'
changes y by (f' - f) times what the feature writes. Spliced in without, the dictionary's output
takes the place of y.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..model.hooks import HookPoint, near_matches
from ..model.transformer import HookedTransformer
from ..patching.memory import recorded_width
from .config import DictionaryError
from .dictionary import Dictionary

Dictionaries = Dictionary | Sequence[Dictionary] | Mapping[str, Dictionary]


def features_hook(dictionary: Dictionary, hook: str = "") -> str:
    """The hook point that a dictionary's features pass while it is spliced in.

    It is named as SAELens names it. A transcoder's lies where the transcoder writes.

    Args:
        dictionary: read for the hook that its configuration names.
        hook: takes the place of that one.

    Example:
        >>> features_hook(dictionary)
        'blocks.2.hook_resid_post.hook_sae_acts_post'
    """
    return f"{hooks_of(dictionary, hook)[1]}.hook_sae_acts_post"


def error_hook(dictionary: Dictionary, hook: str = "") -> str:
    """The hook point of what a dictionary leaves out: y - decode(encode(x)).

    Example:
        >>> error_hook(dictionary)
        'blocks.2.hook_resid_post.hook_sae_error'
    """
    return f"{hooks_of(dictionary, hook)[1]}.hook_sae_error"


def hooks_of(dictionary: Dictionary, hook: str = "") -> tuple[str, str]:
    """Where a dictionary reads, and where it writes.

    Args:
        dictionary: its configuration names both.
        hook: where it writes, instead.

    Raises:
        DictionaryError: neither says where.
    """
    cfg = dictionary.cfg
    write = hook or cfg.hook_out or cfg.hook
    read = cfg.hook if dictionary.is_transcoder else write
    if not read or not write:
        raise DictionaryError(
            "the dictionary does not say which hook it belongs to: give the hook, as "
            "{'blocks.2.hook_resid_post': dictionary}."
        )
    return read, write


def written_rows(
    dictionary: Dictionary, index: Int[Tensor, " feature"] | None = None
) -> Float[Tensor, "feature d_out"]:
    """What one unit of each feature adds to the output, in units of the model.

    For any features f: decode(f) = f @ written_rows + decode(0).

    Args:
        dictionary: of any kind.
        index: which features; None gives all.
    """
    cfg = dictionary.cfg
    rows = dictionary.W_dec if index is None else dictionary.W_dec[index]
    if cfg.rescale_by_decoder_norm:
        norms = dictionary.decoder_norms()
        rows = rows / (norms if index is None else norms[index])[:, None]
    return rows if cfg.scale == 1 else rows / cfg.scale


@contextmanager
def spliced(
    model: HookedTransformer, dictionaries: Dictionaries, with_error: bool = True
) -> Iterator[HookedTransformer]:
    """Inside the `with` block, the model computes through dictionaries: any run, also generation.

    The model has two hook points more for each dictionary, `hook_sae_acts_post` (the features)
    and, with the error term, `hook_sae_error`, behind the name of the hook. They can be cached and
    hooked as all others. What is cached at the hook itself is what goes on from there.

    With the error term, nothing changes, to the last bit, until something replaces features or
    errors; then what goes on is y + (f' - f) W + (e' - e). So the error is that of this run, also
    if it is changed by dictionaries before this one.

    Args:
        model: hooks that are attached to it before act before.
        dictionaries: one, or several, at the hooks that they name; or by hook. Vectors of heads
            (`hook_z`) are read flattened, [head * d_head], or each by itself, whichever fits. A
            transcoder reads at its `hook` and takes the place of what passes its `hook_out`.
        with_error: False puts the dictionary's output in the place of the value.

    Raises:
        DictionaryError: a hook that the model does not have, a width that is not that of the hook,
            two dictionaries at one hook, a dictionary on another device.

    Example:
        >>> with ca.sae.spliced(model, dictionary):
        ...     _, cache = model.run_with_cache(tokens)
        >>> cache["blocks.2.hook_resid_post.hook_sae_acts_post"]  # [batch, pos, feature]
        >>> with ca.sae.spliced(model, dictionary, with_error=False):
        ...     model(tokens, return_type="loss")
    """
    splices = [_Splice(model, one, hook, with_error) for hook, one in _by_hook(dictionaries)]
    with ExitStack() as stack:
        for splice in splices:
            stack.enter_context(splice.installed())
        yield model


def _by_hook(dictionaries: Dictionaries) -> list[tuple[str, Dictionary]]:
    if isinstance(dictionaries, Dictionary):
        return [("", dictionaries)]
    if isinstance(dictionaries, Mapping):
        return list(dictionaries.items())
    return [("", one) for one in dictionaries]


class _Splice:
    """One dictionary in one model."""

    def __init__(
        self, model: HookedTransformer, dictionary: Dictionary, hook: str, with_error: bool
    ) -> None:
        self.model, self.dictionary, self.with_error = model, dictionary, with_error
        self.read, self.write = hooks_of(dictionary, hook)
        check_fits(model, dictionary, hook)
        self.features = _new_point(features_hook(dictionary, hook))
        self.error = _new_point(error_hook(dictionary, hook)) if with_error else None
        self._x: Tensor | None = None

    @property
    def points(self) -> list[HookPoint]:
        """What the model has while this is installed."""
        return [self.features] if self.error is None else [self.features, self.error]

    @contextmanager
    def installed(self) -> Iterator[None]:
        known, points = self.model.hook_dict, self.points
        for point in points:
            if point.name in known:
                raise DictionaryError(
                    f"there is a dictionary at {self.write} already: one hook takes one."
                )
        hooks: list[tuple[str, Callable[..., Tensor | None]]] = [(self.write, self._replace)]
        if self.read != self.write:
            hooks.insert(0, (self.read, self._remember))
        known.update({point.name: point for point in points})
        try:
            with self.model.hooks(hooks):
                yield
        finally:
            for point in points:
                del known[point.name]
            self._x = None

    @property
    def idle(self) -> bool:
        """With the error term and nobody looking, there is nothing to compute."""
        return self.with_error and not any(point.active for point in self.points)

    def _remember(self, value: Tensor, hook: Any) -> None:
        self._x = None if self.idle else value

    def _replace(self, value: Tensor, hook: Any) -> Tensor | None:
        if self.idle:
            return None
        x = value
        if self.read != self.write:
            if self._x is None:
                raise DictionaryError(
                    f"the transcoder at {self.write} reads {self.read}, which this run did not "
                    "pass: begin it at an earlier layer."
                )
            x, self._x = self._x, None
        x, y = (_laid_out(self.dictionary, one, width) for one, width in self._widths(x, value))
        with torch.autocast(value.device.type, enabled=False):  # which features fire is not rounded
            out = self._output(x) if self.error is None else self._change(x, y)
        out = out.reshape(value.shape).to(value.dtype)
        return out if self.error is None else value + out

    def _widths(self, x: Tensor, y: Tensor) -> tuple[tuple[Tensor, int], tuple[Tensor, int]]:
        cfg = self.dictionary.cfg
        return (x, cfg.d_in), (y, cfg.output_width)

    def _output(self, x: Float[Tensor, "*batch d_in"]) -> Float[Tensor, "*batch d_out"]:
        return self.dictionary.decode(self.features(self.dictionary.encode(x)), x)

    def _change(
        self, x: Float[Tensor, "*batch d_in"], y: Float[Tensor, "*batch d_out"]
    ) -> Float[Tensor, "*batch d_out"]:
        """What replaced features and errors add to y: exactly zero if none were."""
        dictionary, error_point = self.dictionary, self.error
        assert error_point is not None
        old = dictionary.encode(x)
        # A copy, so that a gradient to the features is that of what they write.
        change = (self.features(old.clone()) - old) @ written_rows(dictionary)
        if error_point.active:
            error = y - dictionary.decode(old, x)
            change = change + (error_point(error.clone()) - error)
        return change


def _new_point(name: str) -> HookPoint:
    point = HookPoint()
    point.name = name
    return point


def _laid_out(dictionary: Dictionary, value: Tensor, width: int) -> Tensor:
    """In the dictionary's number format; heads side by side where that is what fits."""
    of_heads = value.ndim == 4 and value.shape[-2] * value.shape[-1] == width
    return (value.flatten(-2) if of_heads else value).to(dictionary.dtype)


def check_fits(model: HookedTransformer, dictionary: Dictionary, hook: str = "") -> None:
    """Raise DictionaryError if a dictionary cannot stand in a model.

    Args:
        model: where.
        dictionary: what.
        hook: where it writes, if its configuration does not say.
    """
    cfg, own = model.cfg, dictionary.cfg
    read, write = hooks_of(dictionary, hook)
    for name, width, verb in ((read, own.d_in, "reads"), (write, own.output_width, "writes")):
        if name not in model.hook_dict:
            near = ", ".join(near_matches(name, model.hook_dict))
            raise DictionaryError(
                f"{cfg.model_name} has no hook {name!r} for the dictionary; near matches: {near}."
            )
        whole = recorded_width(cfg, name, cfg.n_ctx)
        widths = (whole, cfg.d_head) if name.endswith(_HEADS) else (whole,)
        if width not in widths:
            raise DictionaryError(
                f"the dictionary {verb} vectors of width {width} at {name}, which has {whole} "
                f"in {cfg.model_name}."
            )
    if dictionary.device != model.device:
        raise DictionaryError(
            f"the dictionary is on {dictionary.device} and the model on {model.device}: move one "
            "with .to(device)."
        )


_HEADS = tuple(f"hook_{part}" for part in ("q", "k", "v", "rot_q", "rot_k", "z"))
