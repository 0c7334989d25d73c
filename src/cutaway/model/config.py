"""What a model is made of: `ModelConfig`, one flat, frozen-by-convention dataclass."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self, get_args

Normalization = Literal["LN", "LNPre", "RMS", "RMSPre"]
Activation = Literal["gelu", "gelu_new", "relu", "silu"]
PositionalEmbedding = Literal["standard", "rotary", "none"]
NumberFormat = Literal["float32", "float64", "float16", "bfloat16"]


class ConfigError(ValueError):
    """A configuration that no model can have; the message names the field and the way out."""


ScalingKind = Literal["linear", "llama3"]


def _runtime(default: Any) -> Any:
    """A field that is about running a model: neither saved nor compared."""
    return field(default=default, compare=False, metadata={"runtime": True})


@dataclass
class RotaryScaling:
    """Frequency scaling of rotary positions, for contexts longer than the trained one."""

    kind: ScalingKind
    """`linear` divides every frequency; `llama3` divides the slow ones and blends between."""
    factor: float
    """By how much the slow frequencies are divided."""
    low_freq_factor: float = 1.0
    """`llama3`: wavelengths above original_n_ctx / low_freq_factor are divided in full."""
    high_freq_factor: float = 4.0
    """`llama3`: wavelengths below original_n_ctx / high_freq_factor are left alone."""
    original_n_ctx: int = 8192
    """`llama3`: the context length before scaling."""

    def __post_init__(self) -> None:
        _check_choice("the kind of rotary scaling", self.kind, get_args(ScalingKind))
        if self.factor <= 0:
            raise ConfigError(f"rotary_scaling has factor={self.factor!r}, which is not positive.")


@dataclass
class ModelConfig:
    """The shape and the options of one decoder. Field names are the field's own.

    The fields from `device` on are about running a model and not about what it is: they are not
    saved, and two configurations are equal whatever they hold. A model has a configuration of its
    own, so that its `cfg.device` says where that model is.

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
    dtype: NumberFormat = "float32"
    """Name of the torch dtype of the weights; `model.dtype` is the dtype itself."""
    model_name: str = "custom"
    """What the model is called in reports and errors."""

    device: str = _runtime("cpu")
    """Where a model of this configuration is made, and then where it is."""
    seed: int = _runtime(0)
    """Of fresh weights, where the model is given none."""
    use_attn_result: bool = _runtime(False)
    """`run_with_cache` without a filter keeps `attn.hook_result` too."""
    use_split_qkv_input: bool = _runtime(False)
    """`run_with_cache` without a filter keeps `hook_q_input` and its like for k and v too."""
    use_attn_in: bool = _runtime(False)
    """`run_with_cache` without a filter keeps `hook_attn_in` too."""
    use_hook_mlp_in: bool = _runtime(False)
    """`run_with_cache` without a filter keeps `hook_mlp_in` too."""

    def __post_init__(self) -> None:
        if isinstance(self.rotary_scaling, dict):
            self.rotary_scaling = RotaryScaling(**self.rotary_scaling)
        self._check_numbers()
        self._check_choices()
        for name, value in self._defaults().items():
            setattr(self, name, getattr(self, name) or value)
        if self.n_heads % self.n_key_value_heads:
            raise ConfigError(
                f"n_heads={self.n_heads} does not divide by "
                f"n_key_value_heads={self.n_key_value_heads}."
            )
        if self.positional_embedding_type == "rotary" and (
            self.rotary_dim % 2 or self.rotary_dim > self.d_head
        ):
            raise ConfigError(
                f"rotary_dim={self.rotary_dim} must be even and at most d_head={self.d_head}."
            )

    def _check_numbers(self) -> None:
        for name in ("n_layers", "d_model", "n_heads", "d_vocab", "n_ctx"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < (0 if name == "n_layers" else 1):
                raise ConfigError(f"{name}={value!r} is not a positive whole number.")
        for name in _DERIVED:
            value = getattr(self, name)
            if not isinstance(value, int) or value < 0:
                raise ConfigError(
                    f"{name}={value!r} is not a positive whole number (0 stands for its default)."
                )
        window = self.sliding_window
        if window is not None and (not isinstance(window, int) or window < 1):
            raise ConfigError(
                f"sliding_window={window!r} is not a positive whole number; None turns it off."
            )
        for name in ("eps", "rotary_base", "attn_scale"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"{name}={value!r} is not positive.")

    def _check_choices(self) -> None:
        norms = (*get_args(Normalization), None)
        _check_choice("normalization_type", self.normalization_type, norms)
        _check_choice("act_fn", self.act_fn, get_args(Activation))
        kind = self.positional_embedding_type
        _check_choice("positional_embedding_type", kind, get_args(PositionalEmbedding))
        _check_choice("dtype", self.dtype, get_args(NumberFormat))

    def _defaults(self) -> dict[str, int]:
        """What the derived fields are unless they are given otherwise."""
        if not self.d_head and self.d_model % self.n_heads:
            raise ConfigError(
                f"d_model={self.d_model} does not divide by n_heads={self.n_heads}: "
                "choose another number of heads, or give d_head."
            )
        d_head = self.d_model // self.n_heads
        rotary_dim = self.d_head or d_head
        values = (d_head, 4 * self.d_model, self.n_heads, rotary_dim)
        return dict(zip(_DERIVED, values, strict=True))

    @property
    def scale(self) -> float:
        """What attention scores are divided by."""
        return self.attn_scale if self.attn_scale is not None else float(self.d_head) ** 0.5

    @property
    def heads_per_group(self) -> int:
        """Query heads that share one key-value head."""
        return self.n_heads // self.n_key_value_heads

    @property
    def d_vocab_out(self) -> int:
        """Number of logits: always that of the tokens."""
        return self.d_vocab

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed.

        d_head, d_mlp, n_key_value_heads and rotary_dim follow what is changed where they have
        their default now; give them along to keep them.

        Example:
            >>> cfg = ModelConfig(n_layers=2, d_model=64, n_heads=4, d_vocab=100, n_ctx=32)
            >>> cfg.replace(n_heads=8).d_head
            8
        """
        # Not what was given once but what the value is now decides, so that a configuration that
        # was saved and loaded behaves as before.
        defaults = self._defaults()
        if self.d_model % self.n_heads:
            del defaults["d_head"]  # it must have been given
        follow = {name: 0 for name, value in defaults.items() if getattr(self, name) == value}
        return dataclasses.replace(self, **{**follow, **changes})

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; without what is about running a model only."""
        runtime = {f.name for f in dataclasses.fields(self) if f.metadata.get("runtime")}
        return {k: v for k, v in dataclasses.asdict(self).items() if k not in runtime}

    @property
    def has_resid_mid(self) -> bool:
        """Whether the MLP reads the residual stream after attention, and not beside it."""
        return not (self.attn_only or self.parallel_attn_mlp)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], source: str | Path = "the configuration") -> Self:
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


_DERIVED = ("d_head", "d_mlp", "n_key_value_heads", "rotary_dim")


def _check_choice(name: str, value: object, choices: tuple[object, ...]) -> None:
    if value not in choices:
        known = ", ".join(map(repr, choices))
        raise ConfigError(f"{name}={value!r} is unknown; it can be {known}.")
