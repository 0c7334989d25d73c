"""Compiled programs: the loader against Tracr's own model, recorded and, where it can be, live."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import cutaway as ca
from cutaway.circuits.known.in_weights import edges_in_weights
from cutaway.circuits.known.tracr import TracrModel, from_tracr
from cutaway.patching.graph import Graph
from cutaway.tasks.task import Task

RECORDED = Path(__file__).parent / "data" / "tracr_previous_token.json"


def recorded() -> dict[str, Any]:
    return json.loads(RECORDED.read_text(encoding="utf-8"))


def as_assembled(data: dict[str, Any], **changes: Any) -> SimpleNamespace:
    """What stands in for Tracr's result, from the file."""

    def relu(x: np.ndarray) -> np.ndarray:
        return np.maximum(x, 0)

    config = {**data["config"], "activation_function": relu, **changes}
    return SimpleNamespace(
        params=data["params"],
        model_config=SimpleNamespace(**config),
        residual_labels=data["residual_labels"],
        input_encoder=SimpleNamespace(encoding_map=data["inputs"], bos_token=data["bos"]),
        output_encoder=SimpleNamespace(encoding_map=data["outputs"]),
    )


@pytest.fixture(scope="module")
def previous() -> TracrModel:
    return from_tracr(as_assembled(recorded()), name="previous token")


def edges_by_labels(compiled: TracrModel) -> frozenset[str]:
    """The obvious version: an edge where the sender writes a label that the receiver reads."""
    return frozenset(
        f"{sender.name}->{receiver.name}"
        for sender, receiver in Graph(compiled.model.cfg).edges
        if set(compiled.writes[sender.name]) & set(compiled.reads[receiver.name])
    )


def streams(compiled: TracrModel, tokens: torch.Tensor) -> torch.Tensor:
    """The stream after each attention and each MLP, as Tracr lists it: [stream, prompt, pos, d]."""
    names = [
        f"blocks.{layer}.hook_resid_{place}"
        for layer in range(compiled.model.cfg.n_layers)
        for place in ("mid", "post")
    ]
    _, cache = compiled.model.run_with_cache(tokens)
    return torch.stack([cache[name] for name in names])


# ---- from the file: always ----


def test_every_recorded_answer_is_decoded(previous) -> None:
    """All 120 inputs. The first position has nothing before it: what it decodes is left open."""
    expected = recorded()["expected"]
    assert len(expected) == 3 + 9 + 27 + 81
    for row in expected:
        decoded = previous.decode(previous.model(previous.encode([row["tokens"]])))[0]
        assert decoded[1:] == row["decoded"][1:] == row["tokens"][:-1]


def test_the_stream_is_tracrs_at_every_layer(previous) -> None:
    rows = [row for row in recorded()["expected"] if "residuals" in row]
    assert len(rows) == 9
    for row in rows:
        found = streams(previous, previous.encode([row["tokens"]]))[:, 0]
        torch.testing.assert_close(found, torch.tensor(row["residuals"]).float(), atol=1e-4, rtol=0)


def test_the_graph_is_the_program(previous) -> None:
    """An MLP computes index - 1, a head matches it with the index, takes the token, and writes."""
    assert previous.written == {
        "embed->mlp0",
        "mlp0->1.0.q",
        "embed->1.0.q",  # BOS and `one`, for where nothing is selected
        "embed->1.0.k",
        "embed->1.0.v",
        "1.0->logits",
    }
    assert previous.writes["1.0"] == ("previous_1:a", "previous_1:b", "previous_1:c")
    assert previous.reads["1.0.v"] == ("tokens:a", "tokens:b", "tokens:c")
    assert previous.writes["0.0"] == previous.writes["mlp1"] == ()


def test_products_of_weights_and_shared_labels_tell_the_same_edges(previous) -> None:
    assert edges_in_weights(previous.model) == edges_by_labels(previous)


def test_exact_edges_find_nothing_outside_the_graph(previous) -> None:
    """A compiled model is a known answer: a corrupted token must show only edges of the program."""
    clean, corrupted = previous.encode(["abca"]), previous.encode(["abba"])
    correct, wrong = (torch.tensor([previous.answer(value)]) for value in "cb")
    task = Task.from_tokens(clean, corrupted, correct, wrong)
    edges = ca.sweep_edges(previous.model, task, mode="noising")
    shown = {row["edge"] for row in edges.to_frame() if abs(row["effect"]) > 1e-3}
    assert shown == {"embed->1.0.v", "1.0->logits"}
    assert shown <= previous.written


def test_the_output_is_found_where_only_one_label_fits_and_can_be_said(previous) -> None:
    said = from_tracr(as_assembled(recorded()), output="previous_1")
    assert torch.equal(said.model.W_U, previous.model.W_U)
    with pytest.raises(ValueError, match="the stream has no 'colour:a'"):
        from_tracr(as_assembled(recorded()), output="colour")
    data = recorded()
    data["outputs"] = {"a": 0, "b": 1}
    data["residual_labels"][:2] = ["other:a", "other:b"]
    with pytest.raises(ValueError, match="could be any of .*'other', 'previous_1'"):
        from_tracr(as_assembled(data))


def test_an_output_of_more_values_than_there_are_tokens_has_empty_embeddings() -> None:
    data = recorded()
    data["outputs"] = {label: i for i, label in enumerate(range(-1, 3))} | {"x": 4, "y": 5}
    data["residual_labels"][4:6] = ["before_3:x", "before_3:y"]
    compiled = from_tracr(as_assembled(data), output="before_3")
    assert compiled.model.cfg.d_vocab == 6 and len(compiled.inputs) == 5
    assert not compiled.model.W_E[5].any() and compiled.answer("y") == 5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"causal": False}, "causal=False.*compile the program with causal=True"),
        ({"layer_norm": True}, "has layer norms"),
        ({"activation_function": np.tanh}, "activation is not ReLU"),
    ],
)
def test_a_model_that_this_decoder_is_not_is_refused(changes, message) -> None:
    with pytest.raises(ValueError, match=message):
        from_tracr(as_assembled(recorded(), **changes))


def test_faults_of_the_parameters_are_named() -> None:
    data = recorded()
    del data["params"]["transformer/layer_1/attn/key"]["w"]
    with pytest.raises(ValueError, match="no parameter 'transformer/layer_1/attn/key' 'w'"):
        from_tracr(as_assembled(data))
    data = recorded()
    data["params"]["transformer/layer_0/mlp/linear_1"]["b"] = [0.0]
    with pytest.raises(ValueError, match=r"linear_1' 'b' has the shape \(1,\), not \(4,\)"):
        from_tracr(as_assembled(data))


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ([], r"have the lengths \[\]"),
        (["a", "ab"], r"have the lengths \[1, 2\]"),
        (["abcab"], "5 tokens and previous token was compiled for 4.*max_seq_len=5"),
        (["az"], "'z' is not a token of previous token"),
    ],
)
def test_prompts_that_the_program_cannot_read_are_refused(previous, prompts, message) -> None:
    with pytest.raises(ValueError, match=message):
        previous.encode(prompts)
    with pytest.raises(ValueError, match="'z' is not an output"):
        previous.answer("z")


# ---- with Tracr ----


def fraction_of_x(rasp: Any) -> Any:
    """At every position the share of "x" among the tokens up to it: a number."""
    is_x = rasp.numerical(rasp.Map(lambda token: float(token == "x"), rasp.tokens))
    so_far = rasp.Select(rasp.indices, rasp.indices, rasp.Comparison.LEQ)
    return rasp.numerical(rasp.Aggregate(so_far, is_x, default=0)).named("fraction")


def count_so_far(rasp: Any) -> Any:
    """At every position how often its token has occurred: a selector width, a head and an MLP."""
    same = rasp.Select(rasp.tokens, rasp.tokens, rasp.Comparison.EQ)
    return rasp.SelectorWidth(same).named("count")


def token_before(rasp: Any) -> Any:
    """At every position the token before it."""
    before = rasp.Map(lambda index: index - 1, rasp.indices)
    one_back = rasp.Select(rasp.indices, before, rasp.Comparison.EQ)
    return rasp.Aggregate(one_back, rasp.tokens).named("previous")


def said_of_fraction(tokens: list[str]) -> list[float]:
    return [tokens[: i + 1].count("x") / (i + 1) for i in range(len(tokens))]


def said_of_count(tokens: list[str]) -> list[int]:
    return [tokens[: i + 1].count(token) for i, token in enumerate(tokens)]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # jax's and haiku's own
@pytest.mark.parametrize(
    ("program", "by_hand", "first"),
    [
        (fraction_of_x, said_of_fraction, 0),
        (count_so_far, said_of_count, 0),
        (token_before, lambda tokens: [None, *tokens[:-1]], 1),
    ],
)
def test_every_short_input_gives_tracrs_output_and_stream(
    program: Callable[[Any], Any], by_hand: Callable[[list[str]], list[Any]], first: int
) -> None:
    """`first`: the position from which on the program says what its output is."""
    why = "needs Tracr: run `make test-tracr`, or install benchmarks/requirements-tracr.txt"
    rasp = pytest.importorskip("tracr.rasp.rasp", reason=why)
    compiling = pytest.importorskip("tracr.compiler.compiling", reason=why)
    written = program(rasp)
    assembled = compiling.compile_rasp_to_model(written, {"a", "b", "x"}, 4, causal=True)
    compiled = from_tracr(assembled, output=written.label)
    for length in range(1, 5):
        prompts = [list(prompt) for prompt in itertools.product("abx", repeat=length)]
        tokens = compiled.encode(prompts)
        theirs = assembled.forward(assembled.params, tokens.numpy())  # what `apply` calls
        residuals = torch.tensor(np.stack(theirs.transformer_output.residuals))
        torch.testing.assert_close(streams(compiled, tokens), residuals, atol=1e-4, rtol=0)
        answers = compiled.decode(compiled.model(tokens))
        outputs = np.asarray(theirs.unembedded_output).tolist()
        for prompt, answer, output in zip(prompts, answers, outputs, strict=True):
            decoded = assembled.output_encoder.decode(output)[1:]
            if compiled.outputs is None:
                assert answer == pytest.approx(decoded, abs=1e-4)
                assert answer == pytest.approx(by_hand(prompt), abs=1e-3)
            else:
                assert answer[first:] == decoded[first:] == by_hand(prompt)[first:]
    longest = ["x", "a", "x", "b"]  # and once through Tracr's own door
    said = assembled.apply([assembled.input_encoder.bos_token, *longest]).decoded[1:]
    ours = compiled.decode(compiled.model(compiled.encode([longest])))[0]
    assert ours[first:] == pytest.approx(said[first:], abs=1e-4)
    assert edges_in_weights(compiled.model) == edges_by_labels(compiled)
    assert compiled.written and compiled.written <= edges_by_labels(compiled)
