"""Features as a site: swept, patched, ablated and steered as heads are, by the same engine.

With the error term held, changing a feature from f to f' adds (f' - f) times what the feature
writes to the residual stream, where its dictionary writes. The rest is a cone as of any other
site. Most features are silent on most prompts, and patching or ablating what is zero in both runs
changes nothing: those are not run at all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..model.config import ModelConfig
from ..model.transformer import HookedTransformer
from ..patching.cone import Entry
from ..patching.memory import recorded_width
from ..patching.site import Attachment, Rows, Site
from ..patching.sites import get_site
from .config import DictionaryError
from .dictionary import Dictionary
from .splicing import error_hook, features_hook, hooks_of, spliced, written_rows

_WRITES = {
    "hook_resid_pre": "resid_pre",
    "hook_resid_mid": "resid_mid",
    "hook_resid_post": "resid_post",
    "hook_attn_out": "attn_out",
    "hook_mlp_out": "mlp_out",
    "attn.hook_z": "z",
    "mlp.hook_post": "mlp_post",
}
"""Where a dictionary may write, and the site whose values pass there."""


@dataclass(frozen=True)
class Splice:
    """The hook points of a dictionary's features and error, for the engine."""

    dictionary: Dictionary = field(repr=False)
    at: str
    """The hook that it writes."""

    def widths(self, cfg: ModelConfig) -> Mapping[str, int]:
        """Numbers at a position."""
        own = self.dictionary.cfg
        return {
            features_hook(self.dictionary, self.at): own.d_features,
            error_hook(self.dictionary, self.at): own.output_width,
        }

    def attached(self, model: HookedTransformer) -> AbstractContextManager[Any]:
        """Spliced in, with the error term."""
        return spliced(model, {self.at: self.dictionary})


@dataclass(frozen=True)
class DictionarySite(Site):
    """What a dictionary makes of a value: its features, or its error."""

    dictionary: Dictionary = field(repr=False)
    at: str
    """The hook that it writes."""

    def has_layers(self) -> bool:
        return False

    @property
    def where(self) -> tuple[int, str]:
        """The layer that it writes in, and the name of the site there."""
        match = re.fullmatch(r"blocks\.(\d+)\.(.+)", self.at)
        assert match is not None  # `_site` has looked
        return int(match[1]), _WRITES[match[2]]

    def missing_in(self, cfg: ModelConfig) -> str | None:
        layer, name = self.where
        if layer >= cfg.n_layers:
            return f"its layers are 0 to {cfg.n_layers - 1}"
        try:
            get_site(name, cfg)
        except ValueError as error:
            return str(error).split(": ", 1)[1].removesuffix(".")
        has, own = recorded_width(cfg, self.at, cfg.n_ctx), self.dictionary.cfg.output_width
        return None if has == own else f"its width there is {has}, the dictionary's {own}"

    @property
    def attachment(self) -> Attachment:
        return Splice(self.dictionary, self.at)

    def first_layer(self, layer: int) -> int:
        read, _ = hooks_of(self.dictionary, self.at)
        match = re.match(r"blocks\.(\d+)\.", read)
        return min(self.where[0], int(match[1]) if match else 0)

    def entry(self, cfg: ModelConfig, layer: int) -> Entry:
        layer, name = self.where
        return get_site(name, cfg).entry(cfg, layer)

    def into_stream(
        self, model: HookedTransformer, written: Float[Tensor, "*batch d_out"]
    ) -> Float[Tensor, "*batch d_model"]:
        """What a change of the value at the hook adds to the residual stream."""
        layer, name = self.where
        if name not in ("z", "mlp_post"):
            return written
        block = model.blocks[layer]
        weight: Tensor = block.attn.W_O.flatten(0, 1) if name == "z" else block.mlp.W_out
        return written @ weight.to(written.dtype)


@dataclass(frozen=True)
class FeatureSite(DictionarySite):
    """The features of one dictionary, one by one or in sets; see `features`."""

    axes = ("position", "unit")
    sparse = True

    def unit_axis(self, cfg: ModelConfig) -> str | None:
        return "feature"

    def units(self, cfg: ModelConfig) -> int:
        return self.dictionary.cfg.d_features

    def hook(self, cfg: ModelConfig, layer: int) -> str:
        return features_hook(self.dictionary, self.at)

    def change(self, rows: Rows) -> Float[Tensor, "row window d_model"]:
        model, hook = rows.base.model, self.hook(rows.base.model.cfg, rows.layer)
        difference = rows.new(hook, rows.unit) - rows.old(hook, rows.unit)  # [row, window, member]
        writes = written_rows(self.dictionary, rows.unit.flatten()).unflatten(0, rows.unit.shape)
        writes = self.into_stream(model, writes)  # [row, member, d_model]
        with torch.autocast(writes.device.type, enabled=False):
            change = difference.to(writes.dtype) @ writes
        return change.to(model.dtype)

    def first_change(self, rows: Rows, since: Int[Tensor, " row"]) -> Int[Tensor, "row unit"]:
        hook = self.hook(rows.base.model.cfg, rows.layer)
        changed = rows.new(hook) != rows.old(hook)  # [row, window, unit]
        changed &= (rows.cone.positions >= since[:, None])[..., None]
        first = rows.cone.start + changed.to(torch.int8).argmax(1)
        return torch.where(changed.any(1), first, torch.iinfo(torch.long).max)


@dataclass(frozen=True)
class ErrorSite(DictionarySite):
    """What one dictionary leaves out; see `errors`."""

    def width(self, cfg: ModelConfig) -> int:
        return self.dictionary.cfg.output_width

    def hook(self, cfg: ModelConfig, layer: int) -> str:
        return error_hook(self.dictionary, self.at)

    def change(self, rows: Rows) -> Float[Tensor, "row window d_model"]:
        model, hook = rows.base.model, self.hook(rows.base.model.cfg, rows.layer)
        with torch.autocast(model.device.type, enabled=False):
            change = self.into_stream(model, rows.new(hook) - rows.old(hook))
        return change.to(model.dtype)


def features(dictionary: Dictionary, hook: str = "") -> FeatureSite:
    """The features of a dictionary, for `ca.sweep`, `ca.attribute` and `ca.Intervention`.

    The error term is held: what the dictionary leaves out stays what it is in the run. A sweep
    over them has the axes feature and, unless all positions are replaced together, position. The
    values are features as `encode` gives them, in units of the scaled input.

    Args:
        dictionary: of the residual stream, of attn_out or mlp_out, of z (heads laid side by side),
            of the neurons (`mlp.hook_post`), or a transcoder that writes one of these.
        hook: where it writes, if its configuration does not say.

    Raises:
        DictionaryError: it writes somewhere else.

    Example:
        >>> effects = ca.sweep(model, task, ca.sae.features(dictionary), positions="named")
        >>> effects.top(5)
        >>> loud = ca.Intervention(ca.sae.features(dictionary), value=ca.values.Add(4.0), units=17)
        >>> ca.intervene(model, task, loud)
    """
    write = _checked(dictionary, hook)
    return FeatureSite(f"features of {write}", dictionary, write)


def errors(dictionary: Dictionary, hook: str = "") -> ErrorSite:
    """What a dictionary leaves out of a value, as a site: [position, d_out], features held.

    Args:
        dictionary: as for `features`.
        hook: where it writes, if its configuration does not say.

    Example:
        >>> ca.sweep(model, task, ca.sae.errors(dictionary), positions="all")
    """
    write = _checked(dictionary, hook)
    return ErrorSite(f"error at {write}", dictionary, write)


def _checked(dictionary: Dictionary, hook: str) -> str:
    _, write = hooks_of(dictionary, hook)
    match = re.fullmatch(r"blocks\.\d+\.(.+)", write)
    if match is None or match[1] not in _WRITES:
        raise DictionaryError(
            f"a dictionary that writes {write!r} can be spliced in, but not swept: a change has to "
            f"enter the residual stream from {', '.join(_WRITES)} of a layer."
        )
    return write
