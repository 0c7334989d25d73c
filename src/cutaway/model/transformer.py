"""The one decoder of Cutaway: `HookedTransformer`, readable top to bottom.

Tokens become vectors (`Embed`, `PosEmbed`), pass through blocks that read from and add to the
residual stream (`Attention`, `MLP`, each behind a `Norm`), and become logits (`Unembed`).
Every value worth looking at passes a `HookPoint`, named as the field names it. The parts that do
one simple thing are in parts.py.

Letters in shapes: batch, pos (query, key), head (kv for key-value heads), d_model, d_head, d_mlp.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, Self, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from .attention_context import AttentionContext, attention_context, context_of, rotate
from .cache import ActivationCache
from .config import ModelConfig
from .field_config import HookedTransformerConfig
from .generation import generate
from .hooks import HookPoint, NamesFilter
from .loss import Loss, cross_entropy
from .on_demand import OnDemand
from .parts import (
    Embed,
    PosEmbed,
    TiedUnembed,
    Unembed,
    at_least_float32,
    flat_heads,
    gelu_new,
    head_weight,
    make_norm,
    register_bias,
    weight,
)
from .pretrained import Pretrained, usable_device
from .slices import SliceInput
from .weights import WeightViews

if TYPE_CHECKING:
    from .kv_cache import KVCache, PastKV
    from .tokenizer import Tokenizer

_ReturnName = Literal["logits", "loss", "both"]
ReturnType = _ReturnName | None


class Attention(nn.Module):
    """Each head reads three projections of the stream and adds what it moved through W_O."""

    b_Q: Tensor
    b_K: Tensor
    b_V: Tensor
    b_O: Tensor

    def __init__(self, cfg: ModelConfig) -> None:
        super().__init__()
        self.cfg = cfg
        heads, kv_heads = cfg.n_heads, cfg.n_key_value_heads
        self.W_Q = head_weight(heads, cfg.d_model, cfg.d_head)
        self.W_K = head_weight(kv_heads, cfg.d_model, cfg.d_head)
        self.W_V = head_weight(kv_heads, cfg.d_model, cfg.d_head)
        self.W_O = weight(heads, cfg.d_head, cfg.d_model)
        register_bias(self, "b_Q", (heads, cfg.d_head), cfg.qkv_bias)
        register_bias(self, "b_K", (kv_heads, cfg.d_head), cfg.qkv_bias)
        register_bias(self, "b_V", (kv_heads, cfg.d_head), cfg.qkv_bias)
        register_bias(self, "b_O", (cfg.d_model,), cfg.attn_out_bias)
        self.hook_q = HookPoint()  # [batch, pos, head, d_head]
        self.hook_k = HookPoint()  # [batch, pos, kv, d_head]
        self.hook_v = HookPoint()  # [batch, pos, kv, d_head]
        if cfg.positional_embedding_type == "rotary":
            self.hook_rot_q = HookPoint()  # after the rotation
            self.hook_rot_k = HookPoint()
        self.hook_attn_scores = HookPoint()  # [batch, head, query, key], -inf where masked
        self.hook_pattern = HookPoint()  # [batch, head, query, key], rows sum to 1
        self.hook_z = HookPoint()  # [batch, pos, head, d_head]
        self.hook_result = HookPoint(on_demand=True)  # [batch, pos, head, d_model]

    def forward(
        self,
        query_input: Tensor,  # [batch, pos, d_model], or per head [batch, pos, head, d_model]
        key_input: Tensor,
        value_input: Tensor,
        context: AttentionContext | None = None,
        past: PastKV | None = None,
        attention_mask: Bool[Tensor, "batch pos"] | None = None,
    ) -> Float[Tensor, "batch pos d_model"]:
        """Without a context (a direct call) the inputs are whole sequences, and `attention_mask`
        is False at padding on the left."""
        context = context or context_of(self.cfg, key_input, attention_mask)
        q = self.queries(query_input, context)
        k = self.keys(key_input, context)
        v = self.values(value_input)
        if past is not None:
            k, v = past.extend(k, v)
        return self.output(self.hook_z(self.mix(q, k, v, context.mask)))

    def queries(self, x: Tensor, context: AttentionContext) -> Float[Tensor, "b pos head d_head"]:
        q = self.hook_q(_project(x, self.W_Q, self.b_Q))
        if context.cos is None or context.sin is None:
            return q
        return self.hook_rot_q(rotate(self.cfg, q, context.cos, context.sin))

    def keys(self, x: Tensor, context: AttentionContext) -> Float[Tensor, "b pos kv d_head"]:
        k = self.hook_k(_project(x, self.W_K, self.b_K))
        if context.cos is None or context.sin is None:
            return k
        return self.hook_rot_k(rotate(self.cfg, k, context.cos, context.sin))

    def values(self, x: Tensor) -> Float[Tensor, "b pos kv d_head"]:
        return self.hook_v(_project(x, self.W_V, self.b_V))

    def mix(
        self,
        q: Float[Tensor, "b query head d_head"],
        k: Float[Tensor, "b key kv d_head"],
        v: Float[Tensor, "b key kv d_head"],
        mask: Bool[Tensor, "#b 1 query key"] | None,
    ) -> Float[Tensor, "b query head d_head"]:
        """Softmax attention. The pattern is written out only if something is hooked to it."""
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)  # [b, head, pos, d_head]
        if self.cfg.heads_per_group > 1:
            k = k.repeat_interleave(self.cfg.heads_per_group, dim=1)
            v = v.repeat_interleave(self.cfg.heads_per_group, dim=1)
        causal = mask is None and q.shape[2] > 1
        if not (self.hook_attn_scores.active or self.hook_pattern.active):
            z = F.scaled_dot_product_attention(
                q, k, v, attn_mask=mask, is_causal=causal, scale=1 / self.cfg.scale
            )
            return z.transpose(1, 2)
        # Half precision in float32 here, as the fused attention does within.
        scores = at_least_float32(q) @ at_least_float32(k).transpose(-1, -2)
        scores = scores / self.cfg.scale  # [b, head, query, key]
        if causal:
            mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).tril()
        if mask is not None:
            scores = scores.masked_fill(~mask, -torch.inf)
        scores = self.hook_attn_scores(scores)
        pattern = self.hook_pattern(scores.softmax(-1))
        return (pattern.to(v.dtype) @ v).transpose(1, 2)  # [b, query, head, d_head]

    def output(self, z: Float[Tensor, "b pos head d_head"]) -> Float[Tensor, "b pos d_model"]:
        """Sum over heads of z W_O, plus b_O; per head first if `hook_result` is hooked."""
        if not self.hook_result.active:
            return F.linear(z.flatten(-2), self.W_O.flatten(0, 1).T, self.b_O)
        result = self.hook_result(torch.einsum("bphe,hed->bphd", z, self.W_O))
        return result.sum(-2) + self.b_O


def _project(x: Tensor, weight: Tensor, bias: Tensor) -> Float[Tensor, "b pos head d_head"]:
    """x [b, pos, d_model], or one input per head [b, pos, head, d_model], to every head."""
    if x.ndim == 4:
        return torch.einsum("bphd,hde->bphe", x, weight) + bias
    heads: Tensor = F.linear(x, flat_heads(weight).T, bias.flatten()).unflatten(-1, bias.shape)
    return heads


_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_new": gelu_new,
    "relu": F.relu,
    "silu": F.silu,
}


class MLP(nn.Module):
    """act(x W_in + b_in) W_out + b_out; gated: act(x W_gate + b_gate) * (x W_in + b_in)."""

    b_in: Tensor
    b_gate: Tensor
    b_out: Tensor

    def __init__(self, cfg: ModelConfig) -> None:
        super().__init__()
        self.activation = _ACTIVATIONS[cfg.act_fn]
        self.W_in = weight(cfg.d_model, cfg.d_mlp)
        self.W_gate = weight(cfg.d_model, cfg.d_mlp) if cfg.gated_mlp else None
        self.W_out = weight(cfg.d_mlp, cfg.d_model)
        register_bias(self, "b_in", (cfg.d_mlp,), cfg.mlp_bias)
        register_bias(self, "b_out", (cfg.d_model,), cfg.mlp_bias)
        self.hook_pre = HookPoint()  # [batch, pos, d_mlp], before the activation
        if cfg.gated_mlp:
            register_bias(self, "b_gate", (cfg.d_mlp,), cfg.mlp_bias)
            self.hook_pre_linear = HookPoint()  # [batch, pos, d_mlp], what the gate multiplies
        self.hook_post = HookPoint()  # [batch, pos, d_mlp]

    def forward(self, x: Float[Tensor, "... d_model"]) -> Float[Tensor, "... d_model"]:
        if self.W_gate is None:
            post = self.activation(self.hook_pre(F.linear(x, self.W_in.T, self.b_in)))
        else:
            pre = self.hook_pre(F.linear(x, self.W_gate.T, self.b_gate))
            post = self.activation(pre) * self.hook_pre_linear(F.linear(x, self.W_in.T, self.b_in))
        return F.linear(self.hook_post(post), self.W_out.T, self.b_out)


class Block(nn.Module):
    """Attention, then MLP, each adding to the residual stream (or both at once, in parallel)."""

    def __init__(self, cfg: ModelConfig) -> None:
        super().__init__()
        self.cfg = cfg
        self.ln1 = make_norm(cfg)
        self.attn = Attention(cfg)
        self.hook_resid_pre = HookPoint()  # [batch, pos, d_model]
        self.hook_attn_in = HookPoint(on_demand=True)  # [batch, pos, head, d_model]
        self.hook_q_input = HookPoint(on_demand=True)  # [batch, pos, head, d_model]
        self.hook_k_input = HookPoint(on_demand=True)  # [batch, pos, kv, d_model]
        self.hook_v_input = HookPoint(on_demand=True)  # [batch, pos, kv, d_model]
        self.hook_attn_out = HookPoint()  # [batch, pos, d_model]
        if not cfg.attn_only:
            self.ln2 = make_norm(cfg)
            self.mlp = MLP(cfg)
            if cfg.has_resid_mid:
                self.hook_resid_mid = HookPoint()  # [batch, pos, d_model]
            self.hook_mlp_in = HookPoint(on_demand=True)  # [batch, pos, d_model], before ln2
            self.hook_mlp_out = HookPoint()  # [batch, pos, d_model]
        self.hook_resid_post = HookPoint()  # [batch, pos, d_model]

    def forward(
        self,
        resid_pre: Float[Tensor, "batch pos d_model"],
        context: AttentionContext | None = None,
        past: PastKV | None = None,
        attention_mask: Bool[Tensor, "batch pos"] | None = None,
    ) -> Float[Tensor, "batch pos d_model"]:
        """Without a context (a direct call) the stream is that of whole sequences, and
        `attention_mask` is False at padding on the left."""
        context = context or context_of(self.cfg, resid_pre, attention_mask)
        resid_pre = self.hook_resid_pre(resid_pre)
        q_in, k_in, v_in = self.attention_inputs(resid_pre)
        attn_out = self.hook_attn_out(self.attn(q_in, k_in, v_in, context, past))
        if self.cfg.attn_only:
            return self.hook_resid_post(resid_pre + attn_out)
        if self.cfg.parallel_attn_mlp:
            return self.hook_resid_post(resid_pre + attn_out + self.mlp_out(resid_pre))
        resid_mid = self.hook_resid_mid(resid_pre + attn_out)
        return self.hook_resid_post(resid_mid + self.mlp_out(resid_mid))

    def mlp_out(self, resid: Float[Tensor, "batch pos d_model"]) -> Tensor:
        """What the MLP adds when it reads `resid`: [batch, pos, d_model]."""
        if self.hook_mlp_in.active:
            resid = self.hook_mlp_in(resid.clone())  # the stream itself goes on unchanged
        return self.hook_mlp_out(self.mlp(self.ln2(resid)))

    def attention_inputs(self, resid_pre: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What the queries, keys and values read: ln1(resid_pre), once for all heads, or one copy
        for each head where the split inputs are hooked."""
        points = (self.hook_q_input, self.hook_k_input, self.hook_v_input)
        if not (self.hook_attn_in.active or any(point.active for point in points)):
            normalized = self.ln1(resid_pre)
            return normalized, normalized, normalized
        if self.hook_attn_in.active:
            per_head = self.hook_attn_in(_one_per_head(resid_pre, self.cfg.n_heads))
        else:
            per_head = _one_per_head(resid_pre, self.cfg.n_heads)
        grouped = per_head[:, :, :: self.cfg.heads_per_group]  # one for each key-value head
        q_in, k_in, v_in = (
            self.ln1(point(x.clone()))
            for point, x in zip(points, (per_head, grouped, grouped), strict=True)
        )
        return q_in, k_in, v_in


def _one_per_head(x: Tensor, n_heads: int) -> Tensor:
    return x[:, :, None].repeat(1, 1, n_heads, 1)  # copies, also of a single head


class HookedTransformer(Loss, WeightViews, Pretrained, OnDemand):
    """A decoder-only transformer whose every intermediate value can be read and replaced.

    Hook names, weight names and calls are those that the field uses for `HookedTransformer`
    (Nanda and Bloom, TransformerLens), so that course code runs after changing its import.

    Args:
        cfg: shape and options; the model keeps a copy. A dictionary is read as
            `HookedTransformerConfig` reads it.
        tokenizer: turns text into tokens; without one the model takes tokens only.
        seed: of the fresh weights; None takes `cfg.seed`.
        device: where the weights lie; None takes `cfg.device`.
        init_weights: False leaves the weights unset, for a checkpoint to fill.

    Example:
        >>> cfg = ModelConfig(n_layers=2, d_model=32, n_heads=4, d_vocab=50, n_ctx=16)
        >>> model = HookedTransformer(cfg)
        >>> logits, cache = model.run_with_cache(torch.tensor([[1, 2, 3]]))
        >>> cache["pattern", 1].shape
        torch.Size([1, 4, 3, 3])
    """

    def __init__(
        self,
        cfg: ModelConfig | dict[str, Any],
        tokenizer: Tokenizer | None = None,
        seed: int | None = None,
        device: torch.device | str | None = None,
        init_weights: bool = True,
    ) -> None:
        super().__init__()
        cfg = HookedTransformerConfig(**cfg) if isinstance(cfg, dict) else cfg.replace()
        self.cfg: ModelConfig = cfg
        self.tokenizer = tokenizer
        self.embed = Embed(cfg)
        self.hook_embed = HookPoint()  # [batch, pos, d_model]
        if cfg.positional_embedding_type == "standard":
            self.pos_embed = PosEmbed(cfg)
            self.hook_pos_embed = HookPoint()  # [batch, pos, d_model]
        self.blocks = nn.ModuleList(Block(cfg) for _ in range(cfg.n_layers))
        self.ln_final = make_norm(cfg)
        tied = cfg.tie_word_embeddings
        self.unembed = TiedUnembed(cfg, self.embed) if tied else Unembed(cfg)
        self.name_hook_points()
        self.apply_switches()
        if init_weights:
            self.init_weights(cfg.seed if seed is None else seed)
        self.to(device=usable_device(device or cfg.device), dtype=getattr(torch, cfg.dtype))

    def _apply(self, *args: Any, **kwargs: Any) -> Self:
        """What `to`, `cuda`, `half` and the like go through: `cfg` says where the model is now."""
        super()._apply(*args, **kwargs)  # type: ignore[no-untyped-call]
        self.cfg.device = str(self.device)
        self.cfg.dtype = str(self.dtype).removeprefix("torch.")  # type: ignore[assignment]
        return self

    generate = generate

    @torch.no_grad()
    def init_weights(self, seed: int) -> None:
        """Fresh weights as in GPT-2: normal(0, init_range), smaller where written to the stream."""
        generator = torch.Generator().manual_seed(seed)
        depth = math.sqrt(2 * max(self.cfg.n_layers, 1))
        for name, parameter in self.named_parameters():
            tail = name.rsplit(".", 1)[-1]
            if tail.startswith("W_"):
                std = self.cfg.init_range / (depth if tail in ("W_O", "W_out") else 1.0)
                # Drawn in the shape's own order, so that the memory layout does not matter.
                parameter.copy_(torch.empty(parameter.shape).normal_(0, std, generator=generator))

    def forward(
        self,
        input: str | list[str] | Int[Tensor, "*batch pos"] | Float[Tensor, "batch pos d_model"],
        return_type: ReturnType = "logits",
        loss_per_token: bool = False,
        prepend_bos: bool | None = None,
        padding_side: Literal["left", "right"] | None = None,
        start_at_layer: int | None = None,
        stop_at_layer: int | None = None,
        attention_mask: Bool[Tensor, "batch pos"] | None = None,
        past_kv_cache: KVCache | None = None,
        tokens: Int[Tensor, "batch pos"] | None = None,
    ) -> Any:
        """Run the model.

        Args:
            input: text, tokens, or with `start_at_layer` the residual stream before that layer.
            return_type: "logits" [batch, pos, d_vocab]; "loss" the mean cross-entropy of the next
                token in nats; "both"; or None, which stops before the unembedding.
            loss_per_token: the loss as [batch, pos - 1].
            prepend_bos: whether the BOS token is put before text; None takes the model's default.
            padding_side: where a batch of texts is padded; None means right.
            start_at_layer: run only blocks from this one on.
            stop_at_layer: run only blocks before this one, and return the residual stream there;
                negative numbers count from the end.
            attention_mask: False at padding; None derives it (see `padding_mask`).
            past_kv_cache: keys and values of tokens already seen; extended by this call.
            tokens: needed for a loss when `input` is a residual stream.

        Raises:
            ValueError: a token id out of range, a sequence longer than the context, a layer that
                does not exist, a loss without tokens.
        """
        if return_type not in get_args(_ReturnName) and return_type is not None:
            known = ", ".join(map(repr, get_args(_ReturnName)))
            raise ValueError(f"return_type={return_type!r} is unknown; it can be {known} or None.")
        mask = attention_mask
        if start_at_layer is None:
            tokens, mask = self.to_input(
                input, prepend_bos, padding_side, attention_mask, past_kv_cache
            )
            n_query = tokens.shape[1]
        else:
            residual = torch.as_tensor(input)
            n_query = residual.shape[1]
            if mask is None and tokens is not None:
                tokens, mask = self.to_input(tokens, None, None, None, past_kv_cache)
        real = mask  # of the new tokens
        n_past = 0 if past_kv_cache is None else past_kv_cache.length
        if past_kv_cache is not None:
            mask = past_kv_cache.extend_mask(mask, n_query)
        n_key = n_past + n_query
        self.check_length(n_key)
        query = torch.arange(n_past, n_key, device=self.device)[None]
        plain = n_query in (1, n_key)
        context = attention_context(self.cfg, query, n_key, mask, self.dtype, plain)
        if start_at_layer is None:
            assert tokens is not None
            residual = self.embedding(tokens, context)
        self.check_layers(start_at_layer=start_at_layer, stop_at_layer=stop_at_layer)
        blocks = list(enumerate(self.blocks))[start_at_layer or 0 : stop_at_layer]
        for layer, block in blocks:
            past = None if past_kv_cache is None else past_kv_cache.layers[layer]
            residual = block(residual, context, past)
        if stop_at_layer is not None:
            return residual
        residual = self.ln_final(residual)
        if return_type is None:
            return None
        logits = self.unembed(residual)
        if return_type == "logits":
            return logits
        if tokens is None:
            raise ValueError("a loss needs tokens= when the input is a residual stream.")
        if attention_mask is None and not isinstance(input, str | list):
            real = self.real_tokens(tokens, real)
        loss = cross_entropy(logits, tokens, real, loss_per_token)
        return loss if return_type == "loss" else (logits, loss)

    def embedding(
        self, tokens: Int[Tensor, "batch pos"], context: AttentionContext
    ) -> Float[Tensor, "batch pos d_model"]:
        """The residual stream before the first block."""
        embed = self.hook_embed(self.embed(tokens))
        if self.cfg.positional_embedding_type != "standard":
            return embed
        position = self.pos_embed.at(context.positions).expand_as(embed)
        if self.hook_pos_embed.active:
            position = position.clone()  # so that one prompt's can be written to
        return embed + self.hook_pos_embed(position)

    def run_with_cache(
        self,
        *args: Any,
        names_filter: NamesFilter = None,
        device: torch.device | str | None = None,
        remove_batch_dim: bool = False,
        incl_bwd: bool = False,
        pos_slice: SliceInput = None,
        reset_hooks_end: bool = True,
        clear_contexts: bool = False,
        return_cache_object: bool = True,
        **kwargs: Any,
    ) -> tuple[Any, Any]:
        """Run the model and keep its activations: (output, ActivationCache).

        Args:
            names_filter: which hook points to keep: a name, a list, a predicate; None keeps all
                that are always computed (not the on-demand ones such as `hook_result`). A predicate
                such as `lambda name: True` selects the on-demand ones too, and with the split
                inputs computed, `ln1.hook_scale` and `ln1.hook_normalized` have a head axis (those
                of the values, the last to pass).
            device: where the copies lie; None leaves them where the model is.
            remove_batch_dim: drop the batch axis of a batch of one.
            incl_bwd: also run `backward` from a scalar output (return_type="loss") and keep
                gradients as `name + "_grad"`.
            pos_slice: which positions to keep (of patterns and scores, which queries); None keeps
                all. The position axis stays, also for a single one.
            reset_hooks_end: of no effect, since nothing of this call stays attached; course code
                gives it.
            clear_contexts: empty the `ctx` of every hook point afterwards.
            return_cache_object: False returns the plain dictionary.

        Raises:
            UnknownHook: a filter that matches nothing, or a named point that this run (with
                `stop_at_layer`, say) did not reach.
        """
        output, values = self.record(
            *args,
            names_filter=names_filter,
            device=device,
            incl_bwd=incl_bwd,
            pos_slice=pos_slice,
            **kwargs,
        )
        if clear_contexts:
            self.clear_contexts()
        cache = ActivationCache(values, self)
        if remove_batch_dim:
            cache = cache.remove_batch_dim()
        return output, cache if return_cache_object else cache.cache_dict

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        weight: Tensor = self.embed.W_E
        return weight.device

    @property
    def dtype(self) -> torch.dtype:
        """Number format of the weights."""
        weight: Tensor = self.embed.W_E
        return weight.dtype
