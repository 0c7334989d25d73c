"""Recorded folders of dictionaries, changed ones, and what is to be computed from them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

RECORDED = Path(__file__).parent / "data" / "dictionaries"
"""What data/make_dictionaries.py wrote with SAELens and sparsify."""
TOLERANCE = {torch.float32: 2e-6, torch.bfloat16: 2e-2, torch.float16: 3e-3}


def close(ours: torch.Tensor, theirs: torch.Tensor, dtype: torch.dtype = torch.float32) -> None:
    tolerance = TOLERANCE[dtype]
    theirs = theirs.detach()
    scale = max(float(theirs.float().abs().max()), 1.0)
    difference = float((ours.detach().float() - theirs.float()).abs().max())
    assert difference <= tolerance * scale, difference


def copied(name: str, folder: Path) -> Path:
    """A recorded folder that a test may change."""
    return Path(shutil.copytree(RECORDED / name, folder / Path(name).name))


def changed(folder: Path, **fields: Any) -> Path:
    """Its cfg.json with other fields; None takes one out, and "metadata.x" is x in the metadata."""
    values = json.loads((folder / "cfg.json").read_text())
    for name, value in fields.items():
        place = values
        if name.startswith("metadata_"):
            place, name = values["metadata"], name.removeprefix("metadata_")
        if value is None:
            place.pop(name)
        else:
            place[name] = value
    (folder / "cfg.json").write_text(json.dumps(values))
    return folder


def with_tensors(folder: Path, **tensors: torch.Tensor | None) -> Path:
    path = next(p for p in folder.glob("sae*.safetensors"))
    values = {**load_file(path), **tensors}
    save_file({k: v for k, v in values.items() if v is not None}, path)
    return folder


def as_saelens_computes(folder: Path, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The obvious version: their formulas on what lies in the files, in float64."""
    cfg = json.loads((folder / "cfg.json").read_text())
    stored = load_file(folder / "sae_weights.safetensors")
    w = {name: value.double().numpy() for name, value in stored.items()}
    name = cfg["architecture"]
    read = x - w["b_dec"] if cfg["apply_b_dec_to_input"] else x
    norms = np.linalg.norm(w["W_dec"], axis=1)
    rescale = cfg.get("rescale_acts_by_decoder_norm", False)
    if name.startswith("gated"):
        size = np.maximum(read @ (w["W_enc"] * np.exp(w["r_mag"])) + w["b_mag"], 0)
        features = size * (read @ w["W_enc"] + w["b_gate"] > 0)
    else:
        pre = read @ w["W_enc"] + w["b_enc"]
        features = np.maximum(pre, 0)
        if name.startswith("jumprelu"):
            features = features * (pre > w["threshold"])
        elif name.startswith("topk"):
            pre = pre * norms if rescale else pre
            smallest = np.sort(pre, axis=1)[:, -cfg["k"], None]
            features = np.maximum(pre, 0) * (pre >= smallest)
    written = features / norms if rescale else features
    output = written @ w["W_dec"] + w["b_dec"]
    if "skip" in name:
        output = output + x @ w["W_skip"].T
    return features, output


def as_sparsify_computes(folder: Path, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The obvious version, in float64."""
    cfg = json.loads((folder / "cfg.json").read_text())
    stored = load_file(folder / "sae.safetensors")
    w = {name: value.double().numpy() for name, value in stored.items()}
    read = x if cfg["transcode"] else x - w["b_dec"]
    pre = np.maximum(read @ w["encoder.weight"].T + w["encoder.bias"], 0)
    features = pre * (pre >= np.sort(pre, axis=1)[:, -cfg["k"], None])
    output = features @ w["W_dec"] + w["b_dec"]
    return features, output + x @ w["W_skip"].T if cfg["skip_connection"] else output
