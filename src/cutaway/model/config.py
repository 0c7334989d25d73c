"""What a model is made of: `ModelConfig`, one flat, frozen-by-convention dataclass."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

Normalization = Literal["LN", "LNPre", "RMS", "RMSPre"]
Activation = Literal["gelu", "gelu_new", "relu", "silu"]
PositionalEmbedding = Literal["standard", "rotary", "none"]


class ConfigError(ValueError):
    """A configuration that no model can have; the message names the field and the way out."""


@dataclass
class RotaryScaling:
    """Frequency scaling of rotary positions, for contexts longer than the trained one."""

    kind: Literal["linear", "llama3"]
    """`linear` divides every frequency; `llama3` divides the slow ones and blends between."""
    factor: float
    """By how much the slow frequencies are divided."""
    low_freq_factor: float = 1.0
    """`llama3`: wavelengths above original_n_ctx / low_freq_factor are divided in full."""
    high_freq_factor: float = 4.0
    """`llama3`: wavelengths below original_n_ctx / high_freq_factor are left alone."""
    original_n_ctx: int = 8192
    """`llama3`: the context length before scaling."""


@dataclass
class ModelConfig:
    """The shape and the options of one decoder. Field names are the field's own.

    Example:
        >>> ModelConfig(n_layers=2, d_model=64, n_heads=4, d_vocab=100, n_ctx=32).d_head
        16
    """

    n_layers: int
    """Number of blocks."""
    d_model: int
    """Width of the residual stream."""
    n_heads: int
    """Query heads per layer."""
    d_vocab: int
    """Number of tokens."""
    n_ctx: int
    """Longest sequence, in tokens."""
    d_head: int = 0
    """Width of a head; 0 means d_model / n_heads."""
    d_mlp: int = 0
    """Hidden width of the MLP; 0 means 4 x d_model."""
    n_key_value_heads: int = 0
    """Key-value heads per layer (grouped-query attention); 0 means n_heads."""
    attn_only: bool = False
    """No MLPs at all."""
    act_fn: Activation = "gelu_new"
    """The MLP's activation; `gelu` is the exact form, `gelu_new` the tanh approximation."""
    gated_mlp: bool = False
    """MLP is act(x W_gate) * (x W_in) instead of act(x W_in)."""
    normalization_type: Normalization | None = "LN"
    """LayerNorm or RMSNorm; `...Pre` has no weights of its own (they were folded); None is off."""
    eps: float = 1e-5
    """Added to the variance (or mean square) inside the normalisation."""
    positional_embedding_type: PositionalEmbedding = "standard"
    """`standard` is a learned table, `rotary` turns queries and keys, `none` is neither."""
    rotary_dim: int = 0
    """How many dimensions of each head are turned; 0 means all of d_head."""
    rotary_base: float = 10_000.0
    """Base of the rotary frequencies (theta)."""
    rotary_adjacent_pairs: bool = False
    """Pair dimensions (0,1), (2,3), ... (GPT-J, llama2.c) instead of (0, d/2), (1, d/2+1), ..."""
    rotary_scaling: RotaryScaling | None = None
    """Scaling of the rotary frequencies; None is off."""
    sliding_window: int | None = None
    """A query sees only this many latest keys, itself included; None is all."""
    parallel_attn_mlp: bool = False
    """Attention and MLP both read resid_pre and are added together (GPT-NeoX)."""
    attn_scale: float | None = None
    """Scores are divided by this; None means sqrt(d_head)."""
    qkv_bias: bool = True
    """b_Q, b_K, b_V are parameters; otherwise they are zero and not trained or saved."""
    attn_out_bias: bool = True
    """b_O is a parameter."""
    mlp_bias: bool = True
    """b_in, b_out and, in a gated MLP, b_gate are parameters."""
    norm_bias: bool = True
    """The LayerNorms have a bias b (RMSNorm never has one)."""
    unembed_bias: bool = False
    """b_U is a parameter."""
    tie_word_embeddings: bool = False
    """W_U is W_E transposed: one parameter."""
    default_prepend_bos: bool = True
    """`to_tokens` puts the BOS token first unless told otherwise."""
    init_range: float = 0.02
    """Standard deviation of fresh weights; those that write to the residual stream
    are divided by sqrt(2 n_layers), as in GPT-2."""
    dtype: str = "float32"
    """Name of the torch dtype of the weights."""
    model_name: str = "custom"
    """What the model is called in reports and errors."""

    def __post_init__(self) -> None:
        if isinstance(self.rotary_scaling, dict):
            self.rotary_scaling = RotaryScaling(**self.rotary_scaling)
        for name in ("n_layers", "d_model", "n_heads", "d_vocab", "n_ctx"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < (0 if name == "n_layers" else 1):
                raise ConfigError(f"{name}={value!r} is not a positive whole number.")
        if not self.d_head:
            if self.d_model % self.n_heads:
                raise ConfigError(
                    f"d_model={self.d_model} does not divide by n_heads={self.n_heads}: "
                    "choose another number of heads, or give d_head."
                )
            self.d_head = self.d_model // self.n_heads
        self.d_mlp = self.d_mlp or 4 * self.d_model
        self.n_key_value_heads = self.n_key_value_heads or self.n_heads
        if self.n_heads % self.n_key_value_heads:
            raise ConfigError(
                f"n_heads={self.n_heads} does not divide by "
                f"n_key_value_heads={self.n_key_value_heads}."
            )
        self.rotary_dim = self.rotary_dim or self.d_head
        if self.positional_embedding_type == "rotary" and (
            self.rotary_dim % 2 or self.rotary_dim > self.d_head
        ):
            raise ConfigError(
                f"rotary_dim={self.rotary_dim} must be even and at most d_head={self.d_head}."
            )

    @property
    def scale(self) -> float:
        """What attention scores are divided by."""
        return self.attn_scale if self.attn_scale is not None else float(self.d_head) ** 0.5

    @property
    def heads_per_group(self) -> int:
        """Query heads that share one key-value head."""
        return self.n_heads // self.n_key_value_heads

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed."""
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any], source: str | Path = "the configuration") -> Self:
        """The inverse of `to_dict`; an unknown or missing field is an error naming `source`."""
        known = {field.name for field in dataclasses.fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise ConfigError(f"{source} has unknown fields: {', '.join(unknown)}.")
        required = {
            field.name for field in dataclasses.fields(cls) if field.default is dataclasses.MISSING
        }
        missing = sorted(required - set(values))
        if missing:
            raise ConfigError(f"{source} lacks the fields: {', '.join(missing)}.")
        return cls(**values)

    def to_json(self) -> str:
        """`to_dict` as indented JSON."""
        return json.dumps(self.to_dict(), indent=2) + "\n"
