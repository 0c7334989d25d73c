"""Made-up circuits for the tests of the drawing: nothing in them was found in a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cutaway.circuits.circuit import Circuit
from cutaway.model.config import ModelConfig
from cutaway.patching.graph import Graph


def config(**fields: Any) -> ModelConfig:
    """A small decoder: 3 layers of 4 heads."""
    sizes = {"n_layers": 3, "n_heads": 4, "d_model": 8, "d_head": 2, "d_vocab": 9, "n_ctx": 8}
    return ModelConfig(**{**sizes, "model_name": "sample", **fields})


def random_circuit(cfg: ModelConfig, n_edges: int, seed: int = 0, **fields: Any) -> Circuit:
    """So many edges of a model (or all that it has), with effects of both signs."""
    rng = np.random.default_rng(seed)
    every = Graph(cfg).edge_names
    names = [every[i] for i in rng.choice(len(every), min(n_edges, len(every)), replace=False)]
    effects = dict(zip(names, map(float, rng.normal(0, 0.1, len(names))), strict=True))
    return Circuit(cfg, tuple(names), effects=effects, **{"task": "made-up", **fields})


def small_circuit(edges: Sequence[str] = (), **fields: Any) -> Circuit:
    """A way from the embedding through two heads, one of them with two inputs, and an MLP."""
    effects = {
        "embed->0.1.v": 0.4,
        "0.1->1.2.q": 0.2,
        "0.1->1.2.v": -0.1,
        "1.2->mlp1": 0.05,
        "mlp1->logits": 0.3,
        "1.2->logits": 0.8,
    }
    chosen = tuple(edges) or tuple(effects)
    known = {name: effects[name] for name in chosen if name in effects}
    defaults = {"effects": known, "task": "made-up", "settings": {"unit": "share"}}
    return Circuit(config(), chosen, **{**defaults, **fields})
