"""Writes dictionaries/: folders that SAELens and sparsify saved, with what they say of some rows.

The weights are random, and small. Run it with the Python of each (`make test-peers` sets the
environments up):

    .venv-peers-saelens/bin/python tests/data/make_dictionaries.py
    .venv-peers-sparsify/bin/python tests/data/make_dictionaries.py
"""

from __future__ import annotations

import json
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

FOLDER = Path(__file__).parent / "dictionaries"
D_IN, D_FEATURES, D_OUT, N_ROWS = 6, 10, 4, 5
EXPECTED = "expected.safetensors"
BASE: dict[str, Any] = {"d_in": D_IN, "d_sae": D_FEATURES}
TRANSCODER: dict[str, Any] = {"d_out": D_OUT, "apply_b_dec_to_input": False}
SAELENS: dict[str, dict[str, Any]] = {
    "standard": {},
    "standard-half": {"dtype": "bfloat16", "apply_b_dec_to_input": False},
    "standard-z": {"reshape_activations": "hook_z"},
    "gated": {},
    "topk": {"k": 3},
    "topk-rescaled": {"k": 3, "rescale_acts_by_decoder_norm": True},
    "jumprelu": {},
    "jumprelu-half": {"dtype": "bfloat16"},
    "transcoder": TRANSCODER,
    "skip_transcoder": TRANSCODER,
    "jumprelu_transcoder": TRANSCODER,
    "jumprelu_skip_transcoder": TRANSCODER,
}
TRAINED: dict[str, dict[str, Any]] = {
    "batchtopk": {"k": 3, "rescale_acts_by_decoder_norm": True},
    "matryoshka_batchtopk": {"k": 3.0, "matryoshka_widths": [4, D_FEATURES]},
}
SCALING = 1.75
"""Of the checkpoint of a training that was not finished."""


def randomise(module: torch.nn.Module, seed: int) -> None:
    """Random weights; thresholds, which are not negative, between 0 and 0.5."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in sorted(module.named_parameters()):
        drawn = torch.randn(parameter.shape, generator=generator)
        if name == "threshold":
            drawn = torch.rand(parameter.shape, generator=generator) / 2
        parameter.data.copy_(drawn * (1 if name == "threshold" else 0.6))


def rows(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(9))


def expect(folder: Path, x: Tensor, features: Tensor, output: Tensor) -> None:
    found = {"x": x, "features": features, "output": output}
    save_file({k: v.detach().float().contiguous() for k, v in found.items()}, folder / EXPECTED)


def metadata() -> Any:
    from sae_lens.saes.sae import SAEMetadata

    return SAEMetadata(
        model_name="a-model",
        hook_name="blocks.1.hook_resid_post",
        prepend_bos=True,
        context_size=16,
    )


def write_saelens() -> None:
    from sae_lens import SAE
    from sae_lens.registry import get_sae_class, get_sae_training_class

    for seed, (name, options) in enumerate(SAELENS.items()):
        sae_class, config_class = get_sae_class(name.split("-")[0])
        cfg = config_class(**BASE, **options, metadata=metadata())
        is_z = options.get("reshape_activations") == "hook_z"
        if is_z:
            cfg.metadata.hook_name = "blocks.1.attn.hook_z"
        if "d_out" in options:
            cfg.metadata.hook_name = "blocks.1.ln2.hook_normalized"
            cfg.metadata.hook_name_out = "blocks.1.hook_mlp_out"
        sae = sae_class(cfg)
        randomise(sae, seed)
        folder = FOLDER / "saelens" / name
        sae.save_model(folder)
        x = rows(N_ROWS, 2, D_IN // 2) if is_z else rows(N_ROWS, D_IN)
        output = sae(x)
        expect(folder, x, sae.encode(x), output)
    for seed, (name, options) in enumerate(TRAINED.items(), start=50):
        sae_class, config_class = get_sae_training_class(name)
        sae = sae_class(config_class(**BASE, **options, metadata=metadata()))
        randomise(sae, seed)
        sae.topk_threshold.fill_(0.3125)
        folder = FOLDER / "saelens" / name
        sae.save_inference_model(folder)
        loaded, x = SAE.load_from_disk(folder), rows(N_ROWS, D_IN)
        expect(folder, x, loaded.encode(x), loaded(x))
        folder = FOLDER / "saelens" / f"{name}-checkpoint"
        sae.cfg.normalize_activations = "expected_average_only_in"
        sae.save_model(folder)
        scaler = {"scaling_factor": SCALING, "has_whitening": False}
        (folder / "activation_scaler.json").write_text(json.dumps(scaler))
        expect(folder, x, loaded.encode(x * SCALING), loaded(x * SCALING) / SCALING)


def write_sparsify() -> None:
    from sparsify import SparseCoder, SparseCoderConfig

    choices: dict[str, dict[str, Any]] = {
        "layers.1": {"expansion_factor": 2},
        "h.0.mlp": {"num_latents": D_FEATURES, "transcode": True},
        "skip": {"num_latents": D_FEATURES, "transcode": True, "skip_connection": True},
    }
    for seed, (name, options) in enumerate(choices.items()):
        dtype = torch.bfloat16 if name == "skip" else torch.float32
        coder = SparseCoder(D_IN, SparseCoderConfig(k=3, **options), dtype=dtype)
        randomise(coder, seed)
        folder = FOLDER / "sparsify" / name
        coder.save_to_disk(folder)
        x = rows(N_ROWS, D_IN).to(dtype)
        top = coder.encode(x)
        features = torch.zeros(N_ROWS, coder.num_latents, dtype=dtype)
        features.scatter_(1, top.top_indices, top.top_acts)
        expect(folder, x, features, coder(x).sae_out)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    if find_spec("sae_lens") is not None:
        write_saelens()
    if find_spec("sparsify") is not None:
        write_sparsify()
