"""The simple parts of the decoder: parameters, norms, and the two ends (embedding, unembedding)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from .attention_context import positions_from_mask
from .config import ModelConfig
from .hooks import HookPoint


def weight(*shape: int) -> nn.Parameter:
    """A parameter whose values are still to be set."""
    return nn.Parameter(torch.empty(*shape))


def head_weight(n_heads: int, d_model: int, d_head: int) -> nn.Parameter:
    """[head, d_model, d_head] in shape, but laid out in memory as [d_model, head, d_head], so
    that `flat_heads` is a view and all heads are one matrix product."""
    return nn.Parameter(torch.empty(d_model, n_heads, d_head).transpose(0, 1))


def flat_heads(weight: Float[Tensor, "head d_model d_head"]) -> Float[Tensor, "d_model width"]:
    """All heads side by side as one matrix."""
    return weight.transpose(0, 1).flatten(1)


def register_bias(module: nn.Module, name: str, shape: tuple[int, ...], on: bool) -> None:
    """A bias that is off is a zero that can be read, but is neither trained nor saved."""
    if on:
        module.register_parameter(name, nn.Parameter(torch.zeros(shape)))
    else:
        module.register_buffer(name, torch.zeros(shape), persistent=False)


def gelu_new(x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """GELU in its tanh approximation: x (1 + tanh(u)) / 2, u = sqrt(2/pi) (x + 0.044715 x^3).

    Hendrycks and Gimpel (2016). Since (1 + tanh(u)) / 2 = sigmoid(2u), it can be written without
    tanh, which takes half the time on CPUs; torch's own form is used where it is the faster one
    (GPUs), where gradients are wanted, and in half precision.
    """
    if x.requires_grad or x.device.type != "cpu" or x.dtype not in (torch.float32, torch.float64):
        return F.gelu(x, approximate="tanh")
    slope = 2 * math.sqrt(2 / math.pi)
    u = torch.addcmul(x.new_tensor(slope), x, x, value=slope * 0.044715).mul_(x)
    return u.sigmoid_().mul_(x)


class Norm(nn.Module):
    """LayerNorm or RMSNorm: (x - mean) / scale * w + b, or x / scale * w.

    `hook_normalized` is what the field's is: (x - mean) / scale, before w and b. Half-precision
    input is normalised in float32, and that is what the two hook points see.
    """

    b: Tensor

    def __init__(self, cfg: ModelConfig) -> None:
        super().__init__()
        self.kind, self.eps = cfg.normalization_type, cfg.eps
        self.w = None if self.kind in ("LNPre", "RMSPre") else nn.Parameter(torch.ones(cfg.d_model))
        has_bias = self.kind == "LN" and cfg.norm_bias
        self.register_parameter("b", nn.Parameter(torch.zeros(cfg.d_model)) if has_bias else None)
        self.hook_scale = HookPoint()  # [batch, pos, 1]
        self.hook_normalized = HookPoint()  # [batch, pos, d_model], before w and b

    def forward(self, x: Float[Tensor, "... d_model"]) -> Float[Tensor, "... d_model"]:
        centred = self.kind in ("LN", "LNPre")
        if not (self.hook_scale.active or self.hook_normalized.active):
            if centred:
                return F.layer_norm(x, x.shape[-1:], self.w, self.b, self.eps)
            return F.rms_norm(x, x.shape[-1:], self.w, self.eps)
        dtype, x = x.dtype, at_least_float32(x)
        if centred:
            x = x - x.mean(-1, keepdim=True)
        scale = self.hook_scale((x.pow(2).mean(-1, keepdim=True) + self.eps).sqrt())
        x = self.hook_normalized(x / scale)
        if self.w is not None:
            x = x * self.w
        if self.b is not None:
            x = x + self.b
        return x.to(dtype)


def at_least_float32(x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Half precision as float32; anything else as it is."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def make_norm(cfg: ModelConfig) -> nn.Module:
    """The configured normalisation, or nothing at all."""
    return nn.Identity() if cfg.normalization_type is None else Norm(cfg)


class Embed(nn.Module):
    """Token -> vector."""

    def __init__(self, cfg: ModelConfig) -> None:
        super().__init__()
        self.W_E = weight(cfg.d_vocab, cfg.d_model)

    def forward(self, tokens: Int[Tensor, "batch pos"]) -> Float[Tensor, "batch pos d_model"]:
        return F.embedding(tokens, self.W_E)


class PosEmbed(nn.Module):
    """Position -> vector, from a learned table."""

    def __init__(self, cfg: ModelConfig) -> None:
        super().__init__()
        self.W_pos = weight(cfg.n_ctx, cfg.d_model)

    def forward(
        self,
        tokens: Int[Tensor, "batch pos"],
        past_kv_pos_offset: int = 0,
        attention_mask: Bool[Tensor, "batch pos"] | None = None,
    ) -> Float[Tensor, "batch pos d_model"]:
        """The vectors of the positions at which `tokens` stand; which tokens they are is no matter.

        Args:
            tokens: only their shape is read.
            past_kv_pos_offset: how many tokens came before.
            attention_mask: False at padding on the left, which does not count.
        """
        if attention_mask is not None:
            positions = positions_from_mask(attention_mask.bool())
        else:
            positions = torch.arange(tokens.shape[1], device=self.W_pos.device).expand(tokens.shape)
        return self.at(positions + past_kv_pos_offset)

    def at(self, positions: Int[Tensor, "#batch pos"]) -> Float[Tensor, "#batch pos d_model"]:
        """The vectors of these positions."""
        return F.embedding(positions, self.W_pos)


class Unembed(nn.Module):
    """Final residual stream -> logits."""

    W_U: Tensor
    b_U: Tensor

    def __init__(self, cfg: ModelConfig) -> None:
        super().__init__()
        self.W_U = weight(cfg.d_model, cfg.d_vocab)
        self._finish(cfg)

    def _finish(self, cfg: ModelConfig) -> None:
        register_bias(self, "b_U", (cfg.d_vocab,), cfg.unembed_bias)
        # On demand: they hold what the final norm and the model itself return.
        self.hook_in = HookPoint(on_demand=True)  # [batch, pos, d_model]
        self.hook_out = HookPoint(on_demand=True)  # [batch, pos, d_vocab]

    def forward(self, x: Float[Tensor, "... d_model"]) -> Float[Tensor, "... d_vocab"]:
        return self.hook_out(F.linear(self.hook_in(x), self.W_U.T, self.b_U))


class TiedUnembed(Unembed):
    """An `Unembed` whose W_U is the token embedding, transposed: one parameter, not two."""

    def __init__(self, cfg: ModelConfig, embed: Embed) -> None:
        nn.Module.__init__(self)
        self._embed = (embed,)  # a tuple hides it from nn.Module: it is registered once already
        self._finish(cfg)

    @property
    def W_U(self) -> Float[Tensor, "d_model d_vocab"]:  # type: ignore[override]
        return self._embed[0].W_E.T
