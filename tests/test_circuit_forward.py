"""The forward pass of circuits where it takes a short way: unread parts, and one stream for all."""

from __future__ import annotations

from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from circuit_oracles import circuit_by_hooks
from cutaway.circuits.discovery import score
from cutaway.circuits.discovery.edge_masks import EdgeMaskSettings
from cutaway.circuits.forward import CircuitPass
from cutaway.circuits.runs import CircuitRuns
from cutaway.circuits.wiring import Wiring
from cutaway.model.config import ModelConfig
from cutaway.model.transformer import MLP
from random_models import configs, random_model, small_chunks, small_task, tasks

CFG = ModelConfig(n_layers=3, d_model=16, n_heads=4, d_vocab=17, n_ctx=12, init_range=0.4)
GROUPED = CFG.replace(n_key_value_heads=2)


def of_nodes(wiring: Wiring, rng: np.random.Generator) -> np.ndarray:
    """All edges between some nodes: what every reader of a layer reads is the same."""
    names = [one.name for one in wiring.graph.senders if rng.random() < 0.5]
    return wiring.between(["embed", *names])


def without_nodes(wiring: Wiring, rng: np.random.Generator) -> np.ndarray:
    """The model without some nodes: the same, with every reader there."""
    return wiring.allowed & (rng.random(wiring.allowed.shape[1]) < 0.5)


def few_edges(wiring: Wiring, rng: np.random.Generator) -> np.ndarray:
    """Most parts are not read, and many edges lead nowhere."""
    mask: np.ndarray = wiring.allowed & (rng.random(wiring.allowed.shape) < 0.1)
    return mask


@settings(max_examples=30)
@given(st.data())
def test_short_ways_equal_runs_with_hooks(data) -> None:
    cfg = data.draw(configs())
    model, task = random_model(cfg, data.draw(st.integers(0, 100))), data.draw(tasks(cfg))
    outside = data.draw(st.sampled_from(["patch", "zero", "mean"]))
    positions = data.draw(st.sampled_from([None, {"embed": ("A",)}, {"0.0": ("END", "B")}]))
    wiring, rng = Wiring(cfg), np.random.default_rng(data.draw(st.integers(0, 1000)))
    kinds = data.draw(st.lists(st.sampled_from([of_nodes, without_nodes, few_edges]), min_size=1))
    masks = np.stack([kind(wiring, rng) for kind in kinds[:3]])  # alone, or in one chunk
    with small_chunks(data.draw(st.sampled_from([20, 768]))):
        found = CircuitRuns(model, task, outside).measure(torch.from_numpy(masks), positions)
    with torch.no_grad():
        scale = max(1.0, *(float(model(t).abs().max()) for t in (task.clean, task.corrupted)))
    for mask, values in zip(masks, found, strict=True):
        expected = circuit_by_hooks(model, task, set(wiring.names(mask)), outside, positions)
        assert (values - expected).abs().max() <= 2e-5 * scale


def passes_of(model, mask: np.ndarray) -> list[CircuitPass]:
    """The passes that one circuit makes."""
    made: list[CircuitPass] = []
    kept = CircuitPass.propagate

    def propagate(self, *arguments):
        made.append(self)
        return kept(self, *arguments)

    with mock.patch.object(CircuitPass, "propagate", propagate):
        CircuitRuns(model, small_task(model.cfg), "zero").measure(torch.from_numpy(mask)[None])
    return made


def test_what_nobody_reads_is_not_computed() -> None:
    """Of two MLPs that are written to, only the one that leads on to the logits is run."""
    model = random_model(CFG)
    wiring = Wiring(CFG)
    mask = wiring.matrix(["embed->0.1.v", "0.1->mlp1", "mlp1->logits", "0.1->mlp2", "embed->mlp0"])
    runs = CircuitRuns(model, small_task(CFG), "zero")
    runs.clean  # noqa: B018 -- both runs are made before the MLPs are counted
    run: list[int] = []
    kept = MLP.forward

    def forward(self, x):
        run.append([block.mlp for block in model.blocks].index(self))
        return kept(self, x)

    with mock.patch.object(MLP, "forward", forward):
        runs.measure(torch.from_numpy(mask)[None])
    assert run == [1]
    (one,) = passes_of(model, mask)
    names = [wiring.graph.senders[i].name for i in one.senders]
    assert names == ["embed", "0.1", "mlp1"] and one.n == 3


def test_one_stream_serves_readers_with_the_same_edges() -> None:
    """As many streams are made for a circuit of nodes as there are layers, not readers."""
    model = random_model(GROUPED)
    wiring = Wiring(GROUPED)
    made: dict[str, int] = {}
    for name, mask in {
        "nodes": wiring.between(["embed", "0.1", "0.3", "1.2", "mlp1"]),
        "edges": wiring.matrix(["embed->0.1.q", "0.1->1.1.k", "0.1->1.1.v", "1.2->logits"]),
    }.items():
        rows: list[int] = []
        kept = CircuitPass._inputs

        def inputs(self, entry, at, n=None, rows=rows, kept=kept):
            rows.append(len(at))
            return kept(self, entry, at, n)

        with mock.patch.object(CircuitPass, "_inputs", inputs):
            passes_of(model, mask)
        made[name] = sum(rows)
    # nodes: the heads of layer 0, the head of layer 1, mlp1, the logits. edges: in each layer two
    # heads that share keys and values (q, q, k, v), and the logits.
    assert made == {"nodes": 4, "edges": 9}


@pytest.mark.parametrize("cfg", [CFG, GROUPED, CFG.replace(attn_only=True)])
def test_masks_that_learn_give_what_masks_that_do_not_give(cfg) -> None:
    """With gradients everything is computed, and nothing is written over."""
    model, task = random_model(cfg), small_task(cfg)
    runs = CircuitRuns(model, task)
    mask = few_edges(runs.wiring, np.random.default_rng(0)) | of_nodes(
        runs.wiring, np.random.default_rng(1)
    )
    (prompts,) = runs.prompts()
    (rows,) = runs.rows(prompts, torch.tensor([0]), 0)
    weights = torch.from_numpy(mask).float().repeat(len(rows.prompt), 1, 1)
    learnt = runs.run_rows(prompts, rows, weights.requires_grad_())
    fixed = runs.measure(torch.from_numpy(mask)[None])[0, rows.prompt]
    assert learnt.requires_grad and (learnt.detach() - fixed).abs().max() < 1e-5


def test_learning_masks_leaves_nothing_in_the_model() -> None:
    model, task = random_model(CFG), small_task(CFG)
    score(model, task, "edge-masks", EdgeMaskSettings(steps=2))
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(parameter.requires_grad for parameter in model.parameters())
