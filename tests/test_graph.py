"""The residual graph: its size, its order, and who reads whom."""

from __future__ import annotations

import pytest
from hypothesis import given

from cutaway.model.config import ModelConfig
from cutaway.patching.graph import Graph
from random_models import configs

GPT2_SMALL = ModelConfig(n_layers=12, d_model=768, n_heads=12, d_vocab=50257, n_ctx=1024)


def test_gpt2_small_has_32491_edges() -> None:
    graph = Graph(GPT2_SMALL)
    assert len(graph.senders) == 1 + 12 * 13
    assert len(graph.receivers) == 12 * (3 * 12 + 1) + 1
    assert len(graph.edges) == len(set(graph.edge_names)) == 32_491
    assert graph.edge_names[0] == "embed->0.0.q" and graph.edge_names[-1] == "mlp11->logits"


@given(configs())
def test_a_receiver_reads_exactly_the_senders_that_write_before_it(cfg) -> None:
    graph = Graph(cfg)
    for receiver in graph.receivers:
        reads = receiver.entry(cfg)
        upstream = [sender for sender in graph.senders if sender.entry(cfg) <= reads]
        assert tuple(upstream) == graph.senders[: graph.n_upstream(receiver)]


@given(configs())
def test_names_lead_back_to_what_they_name(cfg) -> None:
    graph = Graph(cfg)
    assert all(graph.sender(sender.name) == sender for sender in graph.senders)
    assert all(graph.receiver(receiver.name) == receiver for receiver in graph.receivers)


def test_unknown_names_say_what_there_is() -> None:
    graph = Graph(GPT2_SMALL)
    with pytest.raises(ValueError, match=r"no sender 'mlp12'; senders are embed, 0\.0 \.\.\."):
        graph.sender("mlp12")
    with pytest.raises(ValueError, match=r"'9\.6' is a head: say which of its inputs"):
        graph.receiver("9.6")
