"""The residual stream taken apart: what each part of the model wrote, and what that does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from .names import get_act_name
from .slices import Slice, SliceInput, take

if TYPE_CHECKING:
    from .transformer import HookedTransformer


class Decompositions(Mapping[Any, Tensor]):
    """The part of `ActivationCache` that computes.

    `layer` is the layer that reads the stream: None or -1 is the final norm. Every stack is
    [component, batch, pos, d_model] (without what was sliced away).
    """

    model: HookedTransformer
    cache_dict: dict[str, Tensor]
    has_batch_dim: bool

    def accumulated_resid(
        self,
        layer: int | None = None,
        incl_mid: bool = False,
        apply_ln: bool = False,
        pos_slice: SliceInput = None,
        mlp_input: bool = False,
        return_labels: bool = False,
    ) -> Any:
        """The residual stream before each layer up to `layer` (the "logit lens" points)."""
        layer = self._reader(layer)
        points = []
        for at in range(layer):
            points.append((f"{at}_pre", "resid_pre", at))
            if incl_mid and self.model.cfg.has_resid_mid:
                points.append((f"{at}_mid", "resid_mid", at))
        if layer == self.model.cfg.n_layers:
            points.append(("final_post", "resid_post", layer - 1))
        else:
            points.append((f"{layer}_pre", "resid_pre", layer))
            if mlp_input and self.model.cfg.has_resid_mid:
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
        pos_slice: SliceInput = None,
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
        for at in range(layer + (mlp_input and self.model.cfg.has_resid_mid)):
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
        pos_slice: SliceInput = None,
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

    def compute_head_results(self) -> None:
        """Put `hook_result` of every layer into the cache, from `hook_z`, where it is not yet."""
        for at, block in enumerate(self.model.blocks):
            name = get_act_name("result", at)
            if name not in self.cache_dict:
                z, W_O = self["z", at], block.attn.W_O.detach()
                result = torch.einsum("...he,hed->...hd", z, W_O.to(z.device))
                self.cache_dict[name] = result

    def get_neuron_results(
        self, layer: int, neuron_slice: SliceInput = None, pos_slice: SliceInput = None
    ) -> Tensor:
        """What each neuron of one MLP wrote: [batch, pos, neuron, d_model] (large)."""
        post = self._sliced(self["post", layer], pos_slice)
        post = take(post, Slice(neuron_slice).keeping_axis(), -1)
        W_out = take(self.model.blocks[layer].mlp.W_out, Slice(neuron_slice).keeping_axis(), 0)
        return post[..., None] * W_out

    def stack_neuron_results(
        self,
        layer: int | None = None,
        pos_slice: SliceInput = None,
        neuron_slice: SliceInput = None,
        return_labels: bool = False,
        incl_remainder: bool = False,
        apply_ln: bool = False,
    ) -> Any:
        """What each neuron below `layer` wrote: [layer * neuron, batch, pos, d_model], "L0N0", ...

        With `incl_remainder`, all else in the stream (embeddings, attention, biases) comes last.
        """
        layer = self._reader(layer)
        numbers = torch.arange(self.model.cfg.d_mlp)
        numbers = take(numbers, Slice(neuron_slice).keeping_axis(), 0)
        results = [
            self.get_neuron_results(at, neuron_slice, pos_slice).movedim(-2, 0)
            for at in range(layer)
        ]
        labels = [f"L{at}N{neuron}" for at in range(layer) for neuron in numbers.tolist()]
        stack = torch.cat(results) if results else self._nothing(pos_slice)
        if incl_remainder:
            stream = self._sliced(self._stream(layer), pos_slice)
            stack = torch.cat([stack, (stream - stack.sum(0))[None]])
            labels.append("remainder")
        return self._finish(stack, labels, layer, False, apply_ln, pos_slice, return_labels)

    def get_full_resid_decomposition(
        self,
        layer: int | None = None,
        mlp_input: bool = False,
        expand_neurons: bool = True,
        apply_ln: bool = False,
        pos_slice: SliceInput = None,
        return_labels: bool = False,
    ) -> Any:
        """The stream that `layer` reads, in its smallest parts, which sum to it.

        Heads ("L0H0"), neurons ("L0N0"; with expand_neurons=False the MLPs, "0_mlp_out"),
        embeddings ("embed", "pos_embed"), and all biases together ("bias"), in this order.
        """
        layer = self._reader(layer)
        cfg = self.model.cfg
        heads_below = layer + (mlp_input and self.model.cfg.has_resid_mid)
        parts = [self.stack_head_results(heads_below, True, pos_slice=pos_slice)]
        if not cfg.attn_only and layer > 0:
            if expand_neurons:
                parts.append(self.stack_neuron_results(layer, pos_slice, return_labels=True))
            else:
                mlps = self.decompose_resid(
                    layer, False, "mlp", False, pos_slice, incl_embeds=False, return_labels=True
                )
                parts.append(mlps)
        parts.append(self.decompose_resid(0, pos_slice=pos_slice, return_labels=True))
        bias = self.model.accumulated_bias(
            layer, mlp_input and self.model.cfg.has_resid_mid, include_mlp_biases=expand_neurons
        )
        like = parts[-1][0][:1]
        parts.append((bias.detach().to(like).expand_as(like), ["bias"]))
        stack = torch.cat([stack for stack, _ in parts])
        labels = [label for _, names in parts for label in names]
        return self._finish(stack, labels, layer, mlp_input, apply_ln, pos_slice, return_labels)

    def apply_ln_to_stack(
        self,
        residual_stack: Float[Tensor, "component ... d_model"],
        layer: int | None = None,
        mlp_input: bool = False,
        pos_slice: SliceInput = None,
        batch_slice: SliceInput = None,
        has_batch_dim: bool = True,
    ) -> Float[Tensor, "component ... d_model"]:
        """Each component through the norm that reads the stream, with the norm's scale frozen.

        With the scale as cached, the norm is linear: (x - mean) / scale * w. Its bias b belongs to
        no component and is left out.

        Args:
            residual_stack: what was written to the stream.
            layer: the reader.
            mlp_input: the layer's MLP reads, and not its attention.
            pos_slice: the slice that the stack was made with; it is taken of the scale.
            batch_slice: likewise for the batch; it is taken of the stack too.
            has_batch_dim: whether the stack has a batch axis.
        """
        cfg = self.model.cfg
        if has_batch_dim:
            residual_stack = take(residual_stack, batch_slice, 1)
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
        scale = self._sliced(self[scale_name], pos_slice)
        if self.has_batch_dim:
            scale = take(scale, batch_slice, 0)
        stack = residual_stack / scale
        return stack if norm.w is None else stack * norm.w

    def logit_attrs(
        self,
        residual_stack: Float[Tensor, "component *batch_and_pos d_model"],
        tokens: Any,
        incorrect_tokens: Any = None,
        pos_slice: SliceInput = None,
        batch_slice: SliceInput = None,
        has_batch_dim: bool = True,
    ) -> Float[Tensor, "component *out"]:
        """Direct logit attribution: what each component adds to the logit of `tokens`, or to the
        logit difference to `incorrect_tokens`, through the frozen final norm.

        Args:
            residual_stack: from `decompose_resid` or `stack_head_results`, without `apply_ln`.
            tokens: one token (text or number), one per batch entry, or one per entry and position.
            incorrect_tokens: likewise.
            pos_slice: the slice that the stack was made with.
            batch_slice: which entries of the batch are meant; it is taken of the stack too.
            has_batch_dim: whether the stack has a batch axis.
        """
        direction = self.model.tokens_to_residual_directions(tokens)
        if incorrect_tokens is not None:
            direction = direction - self.model.tokens_to_residual_directions(incorrect_tokens)
        scaled = self.apply_ln_to_stack(
            residual_stack, None, False, pos_slice, batch_slice, has_batch_dim
        )
        direction = direction.to(scaled.dtype)
        if direction.ndim == 1:
            return scaled @ direction
        if not has_batch_dim:  # one token per position
            return (scaled * direction).sum(-1)
        n_middle = scaled.ndim - direction.ndim - 1  # a position axis that was not sliced away
        shape = (*direction.shape[:-1], *[1] * n_middle, direction.shape[-1])
        return (scaled * direction.reshape(shape)).sum(-1)

    def _finish(
        self,
        stack: Tensor,
        labels: list[str],
        layer: int,
        mlp_input: bool,
        apply_ln: bool,
        pos_slice: SliceInput,
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

    def _stream(self, layer: int) -> Tensor:
        if layer == self.model.cfg.n_layers:
            return self["resid_post", layer - 1]
        return self["resid_pre", layer]

    def _nothing(self, pos_slice: SliceInput) -> Tensor:
        return self._sliced(self._stream(0), pos_slice)[None][:0]

    def _sliced(self, value: Tensor, pos_slice: SliceInput, from_end: int = 2) -> Tensor:
        """Take positions out of [..., pos, (head,) d]; `from_end` says where that axis is."""
        return take(value, pos_slice, -from_end)
