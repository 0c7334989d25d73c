"""The shapes of well-known models, for predictions without their weights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..model.config import ModelConfig
from ..model.loading import ASSETS, LoadError, embedded_models
from ..model.loading.hub import SHORT_NAMES
from ..model.loading.huggingface import read_settings
from ..model.loading.reading import read_json

_RADFORD = "Radford et al. 2019, table 2"
_BIDERMAN = "Biderman et al. 2023, table 1 and the models' config.json"
_LLAMA2 = "Touvron et al. 2023 (Llama 2) and the models' config.json"
_LLAMA3 = "Grattafiori et al. 2024 (Llama 3), table 3, and the models' config.json"
_SMALL_LLAMA3 = "Meta 2024 (Llama 3.2), the models' config.json"
_MISTRAL = "Jiang et al. 2023 (Mistral 7B), table 1"
_TINY = "Zhang et al. 2024 (TinyLlama) and its config.json"


@dataclass(frozen=True)
class KnownShape:
    """A published model: its configuration, and where that stands."""

    cfg: ModelConfig
    source: str
    n_parameters: int
    """Of the published checkpoint: `n_parameters(cfg)` has to say the same."""


def _gpt2(name: str, layers: int, width: int, heads: int, n: int) -> KnownShape:
    cfg = ModelConfig(
        n_layers=layers,
        d_model=width,
        n_heads=heads,
        d_vocab=50257,
        n_ctx=1024,
        tie_word_embeddings=True,
        model_name=name,
    )
    return KnownShape(cfg, _RADFORD, n)


def _pythia(name: str, layers: int, width: int, heads: int, vocab: int, n: int) -> KnownShape:
    cfg = ModelConfig(
        n_layers=layers,
        d_model=width,
        n_heads=heads,
        d_vocab=vocab,
        n_ctx=2048,
        act_fn="gelu",
        positional_embedding_type="rotary",
        rotary_dim=width // heads // 4,
        parallel_attn_mlp=True,
        model_name=name,
    )
    return KnownShape(cfg, _BIDERMAN, n)


def _llama(
    name: str, layers: int, width: int, heads: int, kv: int, mlp: int, source: str, n: int,
    **more: Any,
) -> KnownShape:  # fmt: skip
    options: dict[str, Any] = {"d_vocab": 32000, "n_ctx": 4096, **more}
    cfg = ModelConfig(
        n_layers=layers,
        d_model=width,
        n_heads=heads,
        n_key_value_heads=kv,
        d_mlp=mlp,
        act_fn="silu",
        gated_mlp=True,
        normalization_type="RMS",
        positional_embedding_type="rotary",
        qkv_bias=False,
        attn_out_bias=False,
        mlp_bias=False,
        model_name=name,
        **options,
    )
    return KnownShape(cfg, source, n)


def _all() -> dict[str, KnownShape]:
    llama3: dict[str, Any] = {"d_vocab": 128256, "n_ctx": 8192}
    small: dict[str, Any] = {"d_vocab": 128256, "n_ctx": 131072, "tie_word_embeddings": True}
    shapes = (
        _gpt2("gpt2", 12, 768, 12, 124_439_808),
        _gpt2("gpt2-medium", 24, 1024, 16, 354_823_168),
        _gpt2("gpt2-large", 36, 1280, 20, 774_030_080),
        _gpt2("gpt2-xl", 48, 1600, 25, 1_557_611_200),
        _pythia("pythia-70m", 6, 512, 8, 50304, 70_426_624),
        _pythia("pythia-160m", 12, 768, 12, 50304, 162_322_944),
        _pythia("pythia-410m", 24, 1024, 16, 50304, 405_334_016),
        _pythia("pythia-1b", 16, 2048, 8, 50304, 1_011_781_632),
        _pythia("pythia-1.4b", 24, 2048, 16, 50304, 1_414_647_808),
        _pythia("pythia-2.8b", 32, 2560, 32, 50304, 2_775_208_960),
        _pythia("pythia-6.9b", 32, 4096, 32, 50432, 6_857_302_016),
        _pythia("pythia-12b", 36, 5120, 40, 50688, 11_846_072_320),
        _llama("tinyllama-1.1b", 22, 2048, 32, 4, 5632, _TINY, 1_100_048_384, n_ctx=2048),
        _llama("llama-2-7b", 32, 4096, 32, 32, 11008, _LLAMA2, 6_738_415_616),
        _llama("llama-2-13b", 40, 5120, 40, 40, 13824, _LLAMA2, 13_015_864_320),
        _llama("llama-2-70b", 80, 8192, 64, 8, 28672, _LLAMA2, 68_976_648_192),
        _llama("mistral-7b", 32, 4096, 32, 8, 14336, _MISTRAL, 7_241_732_096, n_ctx=32768,
               sliding_window=4096),
        _llama("llama-3-8b", 32, 4096, 32, 8, 14336, _LLAMA3, 8_030_261_248, **llama3),
        _llama("llama-3-70b", 80, 8192, 64, 8, 28672, _LLAMA3, 70_553_706_496, **llama3),
        _llama("llama-3.2-1b", 16, 2048, 32, 8, 8192, _SMALL_LLAMA3, 1_235_814_400, **small),
        _llama("llama-3.2-3b", 28, 3072, 24, 8, 8192, _SMALL_LLAMA3, 3_212_749_824, **small),
    )  # fmt: skip
    return {shape.cfg.model_name: shape for shape in shapes}


KNOWN_SHAPES = _all()
"""Name -> shape."""

_HUB_NAMES = {full: short for short, full in SHORT_NAMES.items()}


def load_shape(name_or_folder: str | Path) -> ModelConfig:
    """The configuration of a model without its weights.

    Args:
        name_or_folder: a name in `KNOWN_SHAPES`, an embedded model, or a folder with a
            config.json (ours or the Hugging Face Hub's).

    Raises:
        ValueError: nothing of that name is known, or the file describes no model.

    Example:
        >>> load_shape("gpt2-xl").n_layers
        48
    """
    name = str(name_or_folder)
    known = {"gpt2-small": "gpt2"}.get(name, _HUB_NAMES.get(name, name))
    if known in KNOWN_SHAPES:
        return KNOWN_SHAPES[known].cfg
    folder = ASSETS / name if name in embedded_models() else Path(name_or_folder)
    if not (folder / "config.json").is_file():
        raise LoadError(
            f"no shape is known of {name!r}: it can be {', '.join(KNOWN_SHAPES)}, an embedded "
            f"model ({', '.join(embedded_models())}), or a folder with a config.json."
        )
    values = read_json(folder / "config.json")
    if "model_type" in values:
        settings, family = read_settings(folder)
        return family.config(settings).replace(model_name=folder.name)
    ours = {key: value for key, value in values.items() if key not in ("format", "version")}
    return ModelConfig.from_dict(ours, folder / "config.json")
