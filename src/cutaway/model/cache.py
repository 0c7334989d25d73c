"""`ActivationCache`: activations by short name, and what one computes from them most often."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from .hooks import UnknownHook, near_matches

if TYPE_CHECKING:
    from .transformer import HookedTransformer

PositionSlice = int | slice | tuple[int, int] | list[int] | Tensor | None

_PARTS = {
    "attn": ("q", "k", "v", "z", "rot_q", "rot_k", "attn_scores", "pattern", "result"),
    "mlp": ("pre", "post", "pre_linear"),
}
_PART_OF = {name: part for part, names in _PARTS.items() for name in names}
_SYNONYMS = {"attn": "pattern", "attn_logits": "attn_scores", "scores": "attn_scores"}
_SYNONYMS |= {"key": "k", "query": "q", "value": "v", "mlp_pre": "pre", "mlp_post": "post"}
_NORMS = {"a": "ln1", "attn": "ln1", "ln1": "ln1", "m": "ln2", "mlp": "ln2", "ln2": "ln2"}


def get_act_name(name: str, layer: int | str | None = None, layer_type: str | None = None) -> str:
    """The full hook name of a short one.

    Args:
        name: short ("z", "resid_post", "pattern", "scale", "embed") or already full.
        layer: needed for names that every layer has.
        layer_type: "ln1" or "ln2" for "scale" and "normalized"; without layer: the final norm.

    Example:
        >>> get_act_name("z", 9)
        'blocks.9.attn.hook_z'
        >>> get_act_name("scale", 0, "ln1"), get_act_name("scale")
        ('blocks.0.ln1.hook_scale', 'ln_final.hook_scale')
    """
    if "." in name or name.startswith("hook_"):
        return name
    compact = re.match(r"^([a-z_]+?)(\d+)([a-z]*[12]?)$", name)  # "resid_pre5", "scale4ln1"
    if layer is None and compact is not None:
        name, layer, layer_type = compact[1], compact[2], compact[3] or layer_type
    name = _SYNONYMS.get(name, name)
    if name in ("scale", "normalized"):
        if layer is None:
            return f"ln_final.hook_{name}"
        return f"blocks.{layer}.{_NORMS[layer_type or 'ln1']}.hook_{name}"
    if name in ("embed", "pos_embed"):
        return f"hook_{name}"
    if layer is None:
        raise ValueError(f"the activation {name!r} belongs to a layer: say which.")
    part = _PART_OF.get(name)
    return f"blocks.{layer}.{part}.hook_{name}" if part else f"blocks.{layer}.hook_{name}"


class ActivationCache(Mapping[str, Tensor]):
    """Activations of one run, by name; never sharing memory with the run itself.

    `cache["blocks.9.attn.hook_pattern"]`, `cache["pattern", 9]` and `cache["pattern", -3]` are
    the same in a model of twelve layers.

    Args:
        values: full hook name -> tensor.
        model: the model that was run (its weights and shape are needed, its tensors are not).
        has_batch_dim: whether tensors begin with the batch axis.
    """

    def __init__(
        self, values: dict[str, Tensor], model: HookedTransformer, has_batch_dim: bool = True
    ) -> None:
        self.cache_dict = values
        self.model = model
        self.has_batch_dim = has_batch_dim

    def __getitem__(self, key: str | tuple[Any, ...]) -> Tensor:
        name = self._full_name(key)
        if name not in self.cache_dict:
            raise UnknownHook(
                f"the cache holds no {name!r}; near matches: "
                f"{', '.join(near_matches(name, self.cache_dict)) or 'none, it is empty'}."
            )
        return self.cache_dict[name]

    def _full_name(self, key: str | tuple[Any, ...]) -> str:
        if isinstance(key, str):
            return key if key in self.cache_dict else _full_or_same(key)
        name, layer, *rest = key
        if isinstance(layer, int):
            if not -self.model.cfg.n_layers <= layer < self.model.cfg.n_layers:
                raise UnknownHook(
                    f"there is no layer {layer} in a model of {self.model.cfg.n_layers} layers."
                )
            layer %= self.model.cfg.n_layers
        return get_act_name(name, layer, *rest)

    def __contains__(self, key: object) -> bool:
        try:
            return self._full_name(key) in self.cache_dict  # type: ignore[arg-type]
        except (UnknownHook, ValueError, KeyError, TypeError):
            return False

    def __iter__(self) -> Iterator[str]:
        return iter(self.cache_dict)

    def __len__(self) -> int:
        return len(self.cache_dict)

    def __repr__(self) -> str:
        return f"ActivationCache({len(self)} activations, {self.nbytes / 2**20:.1f} MiB)"

    @property
    def nbytes(self) -> int:
        """Bytes held, shared storage counted once."""
        storages = {
            (v.device, v.untyped_storage().data_ptr()): v.untyped_storage().nbytes()
            for v in self.cache_dict.values()
        }
        return sum(storages.values())

    def to(self, device: torch.device | str) -> ActivationCache:
        """A cache on that device; values that shared storage share it there too."""
        moved: dict[int, Tensor] = {}
        values = {}
        for name, value in self.cache_dict.items():
            if id(value) not in moved:
                moved[id(value)] = value.to(device)
            values[name] = moved[id(value)]
        return ActivationCache(values, self.model, self.has_batch_dim)

    def remove_batch_dim(self) -> ActivationCache:
        """Drop the batch axis of a batch of one."""
        if not self.has_batch_dim:
            return self
        sizes = {value.shape[0] for value in self.cache_dict.values()}
        if sizes - {1}:
            raise ValueError(f"only a batch of one can be dropped; this cache holds {max(sizes)}.")
        values = {name: value[0] for name, value in self.cache_dict.items()}
        return ActivationCache(values, self.model, has_batch_dim=False)

    def stack_activation(self, name: str, layers: Iterable[int] | None = None) -> Tensor:
        """One activation of every layer, stacked in front: [layer, ...]."""
        layers = range(self.model.cfg.n_layers) if layers is None else layers
        return torch.stack([self[name, layer] for layer in layers])

    # Decompositions of the residual stream. `layer` is the layer that reads it: None or -1 is the
    # final norm. Every stack is [component, batch, pos, d_model] (without what was sliced away).

    def accumulated_resid(
        self,
        layer: int | None = None,
        incl_mid: bool = False,
        apply_ln: bool = False,
        pos_slice: PositionSlice = None,
        mlp_input: bool = False,
        return_labels: bool = False,
    ) -> Any:
        """The residual stream before each layer up to `layer` (the "logit lens" points)."""
        layer = self._reader(layer)
        points = []
        for at in range(layer):
            points.append((f"{at}_pre", "resid_pre", at))
            if incl_mid and self._has_mid:
                points.append((f"{at}_mid", "resid_mid", at))
        if layer == self.model.cfg.n_layers:
            points.append(("final_post", "resid_post", layer - 1))
        else:
            points.append((f"{layer}_pre", "resid_pre", layer))
            if mlp_input and self._has_mid:
                points.append((f"{layer}_mid", "resid_mid", layer))
        stack = torch.stack([self._sliced(self[name, at], pos_slice) for _, name, at in points])
        labels = [label for label, _, _ in points]
        return self._finish(stack, labels, layer, mlp_input, apply_ln, pos_slice, return_labels)

    def decompose_resid(
        self,
        layer: int | None = None,
        mlp_input: bool = False,
        mode: Literal["all", "attn", "mlp"] = "all",
        apply_ln: bool = False,
        pos_slice: PositionSlice = None,
        incl_embeds: bool = True,
        return_labels: bool = False,
    ) -> Any:
        """What each part wrote to the stream that `layer` reads; with mode="all" and the
        embeddings the components sum to that stream."""
        layer = self._reader(layer)
        named: list[tuple[str, str]] = []
        if incl_embeds:
            named += [(name, f"hook_{name}") for name in ("embed", "pos_embed")]
            named = [(label, name) for label, name in named if name in self.model.hook_dict]
        for at in range(layer + (mlp_input and self._has_mid)):
            if mode != "mlp":
                named.append((f"{at}_attn_out", get_act_name("attn_out", at)))
            if mode != "attn" and not self.model.cfg.attn_only and at < layer:
                named.append((f"{at}_mlp_out", get_act_name("mlp_out", at)))
        stack = torch.stack([self._sliced(self[name], pos_slice) for _, name in named])
        labels = [label for label, _ in named]
        return self._finish(stack, labels, layer, mlp_input, apply_ln, pos_slice, return_labels)

    def stack_head_results(
        self,
        layer: int | None = None,
        return_labels: bool = False,
        incl_remainder: bool = False,
        pos_slice: PositionSlice = None,
        apply_ln: bool = False,
    ) -> Any:
        """What each head below `layer` wrote: [layer * head, batch, pos, d_model], "L0H0", ...

        With `incl_remainder`, all else in the stream (embeddings, MLPs, biases) comes last.
        """
        layer = self._reader(layer)
        results, labels = [], []
        for at in range(layer):
            if get_act_name("result", at) in self.cache_dict:
                result = self._sliced(self["result", at], pos_slice, from_end=3)
            else:
                z = self._sliced(self["z", at], pos_slice, from_end=3)
                result = torch.einsum("...he,hed->...hd", z, self.model.blocks[at].attn.W_O)
            results += list(result.unbind(-2))
            labels += [f"L{at}H{head}" for head in range(self.model.cfg.n_heads)]
        stack = torch.stack(results) if results else self._nothing(pos_slice)
        if incl_remainder:
            stream = self._sliced(self._stream(layer), pos_slice)
            stack = torch.cat([stack, (stream - stack.sum(0))[None]])
            labels.append("remainder")
        return self._finish(stack, labels, layer, False, apply_ln, pos_slice, return_labels)

    def apply_ln_to_stack(
        self,
        residual_stack: Float[Tensor, "component ... d_model"],
        layer: int | None = None,
        mlp_input: bool = False,
        pos_slice: PositionSlice = None,
    ) -> Float[Tensor, "component ... d_model"]:
        """Each component through the norm that reads the stream, with the norm's scale frozen.

        With the scale as cached, the norm is linear: (x - mean) / scale * w. Its bias b belongs to
        no component and is left out.
        """
        cfg = self.model.cfg
        if cfg.normalization_type is None:
            return residual_stack
        layer = self._reader(layer)
        norm: Any
        if layer == cfg.n_layers:
            norm, scale_name = self.model.ln_final, "ln_final.hook_scale"
        else:
            part = "ln2" if mlp_input else "ln1"
            norm = getattr(self.model.blocks[layer], part)
            scale_name = get_act_name("scale", layer, part)
        if norm.kind in ("LN", "LNPre"):
            residual_stack = residual_stack - residual_stack.mean(-1, keepdim=True)
        stack = residual_stack / self._sliced(self[scale_name], pos_slice)
        return stack if norm.w is None else stack * norm.w

    def logit_attrs(
        self,
        residual_stack: Float[Tensor, "component *batch_and_pos d_model"],
        tokens: Any,
        incorrect_tokens: Any = None,
        pos_slice: PositionSlice = None,
    ) -> Float[Tensor, "component *batch_and_pos"]:
        """Direct logit attribution: what each component adds to the logit of `tokens`, or to the
        logit difference to `incorrect_tokens`, through the frozen final norm.

        Args:
            residual_stack: from `decompose_resid` or `stack_head_results`, without `apply_ln`.
            tokens: one token (text or number) or one per batch entry.
            incorrect_tokens: likewise.
            pos_slice: the slice that the stack was made with.
        """
        direction = self.model.tokens_to_residual_directions(tokens)
        if incorrect_tokens is not None:
            direction = direction - self.model.tokens_to_residual_directions(incorrect_tokens)
        scaled = self.apply_ln_to_stack(residual_stack, None, pos_slice=pos_slice)
        if direction.ndim == 1:
            return scaled @ direction
        n_middle = scaled.ndim - direction.ndim - 1  # a position axis that was not sliced away
        shape = (direction.shape[0], *[1] * n_middle, direction.shape[-1])
        return (scaled * direction.reshape(shape)).sum(-1)

    def _finish(
        self,
        stack: Tensor,
        labels: list[str],
        layer: int,
        mlp_input: bool,
        apply_ln: bool,
        pos_slice: PositionSlice,
        return_labels: bool,
    ) -> Any:
        if apply_ln:
            stack = self.apply_ln_to_stack(stack, layer, mlp_input, pos_slice)
        return (stack, labels) if return_labels else stack

    def _reader(self, layer: int | None) -> int:
        n_layers = self.model.cfg.n_layers
        layer = n_layers if layer in (None, -1) else layer
        assert layer is not None
        if not 0 <= layer <= n_layers:
            raise ValueError(f"layer={layer} is not between 0 and {n_layers}.")
        return layer

    @property
    def _has_mid(self) -> bool:
        """Whether the MLP reads the stream after attention, and not beside it."""
        return not (self.model.cfg.attn_only or self.model.cfg.parallel_attn_mlp)

    def _stream(self, layer: int) -> Tensor:
        if layer == self.model.cfg.n_layers:
            return self["resid_post", layer - 1]
        return self["resid_pre", layer]

    def _nothing(self, pos_slice: PositionSlice) -> Tensor:
        return self._sliced(self._stream(0), pos_slice)[None][:0]

    def _sliced(self, value: Tensor, pos_slice: PositionSlice, from_end: int = 2) -> Tensor:
        """Take positions out of [..., pos, (head,) d]; `from_end` says where that axis is."""
        if pos_slice is None:
            return value
        dim = value.ndim - from_end
        if isinstance(pos_slice, int):
            return value.select(dim, pos_slice)
        if isinstance(pos_slice, tuple):
            pos_slice = slice(*pos_slice)
        if isinstance(pos_slice, slice):
            return value[(slice(None),) * dim + (pos_slice,)]
        return value.index_select(dim, torch.as_tensor(pos_slice, device=value.device))


def _full_or_same(name: str) -> str:
    try:
        return get_act_name(name)
    except ValueError:
        return name
