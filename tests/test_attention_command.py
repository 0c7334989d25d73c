"""`cutaway attention "TEXT"`: what it saves is what the model does, and faults are one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

import cutaway as ca
from cutaway.cli import main
from cutaway.experiments.attention import run as attention_run
from cutaway.experiments.attention.rates import RATES, mean_rates, rates, uniform_rates
from cutaway.experiments.attention.run import run_attention
from cutaway.experiments.attention.settings import AttentionSettings
from cutaway.views import AttentionExample
from cutaway.views.attention_report import AttentionReportData, Reading, attention_report
from html_outline import outline
from sample_report import patterns
from sample_views import EVIL, TOKENS

TEXT = "When Mary and John went to the store, John gave a drink to"


@pytest.fixture(scope="module")
def model() -> ca.HookedTransformer:
    return ca.HookedTransformer.from_pretrained("ioi-mini")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs")
    return run_attention(AttentionSettings(TEXT, heads=("3.6", "1.2"), out=out)).folder


# ---- rates ----


def slow_rates(pattern: np.ndarray, tokens: list[int]) -> dict[str, float]:
    """One head, one query after the other."""
    found: dict[str, list[float]] = {name: [] for name in RATES}
    for query in range(1, len(tokens)):
        found["previous token"].append(pattern[query, query - 1])
        found["first token"].append(pattern[query, 0])
        found["itself"].append(pattern[query, query])
        copies = [key for key in range(query) if tokens[key] == tokens[query]]
        if copies:
            found["earlier copy"].append(sum(pattern[query, key] for key in copies))
    return {name: float(np.mean(v)) if v else float("nan") for name, v in found.items()}


@settings(max_examples=30)
@given(st.lists(st.integers(0, 4), min_size=2, max_size=9), st.integers(0, 2**31 - 1))
def test_rates_are_those_of_a_slow_loop(tokens: list[int], seed: int) -> None:
    weights = patterns(3, len(tokens), seed)
    fast = rates(weights, np.array(tokens))
    for head in range(3):
        slow = slow_rates(weights[head], tokens)
        for name in RATES:
            np.testing.assert_allclose(fast[name][head], slow[name], atol=1e-12)
    alike = uniform_rates(np.array(tokens))
    assert alike["itself"] == pytest.approx(np.mean([1 / (i + 1) for i in range(1, len(tokens))]))
    assert alike["itself"] == pytest.approx(alike["first token"])


def test_prompts_without_a_copy_do_not_count() -> None:
    one = rates(np.eye(3)[None], np.array([1, 2, 3]))
    two = rates(np.eye(3)[None], np.array([1, 2, 1]))
    assert np.isnan(one["earlier copy"]).all()
    assert mean_rates([one, two])["earlier copy"] == two["earlier copy"]
    assert np.isnan(mean_rates([one])["earlier copy"]).all()


# ---- the run ----


def test_what_is_saved_is_what_the_model_does(folder, model) -> None:
    arrays = load_file(folder / "results.safetensors")
    tokens = model.to_tokens(TEXT)
    logits, cache = model.run_with_cache(tokens)
    expected = np.stack([cache["pattern", 3][0, 6].numpy(), cache["pattern", 1][0, 2].numpy()])
    np.testing.assert_allclose(arrays["pattern 0"], expected, atol=1e-6)
    loss = model.loss_fn(logits, tokens, per_token=True)[0].detach().numpy()
    np.testing.assert_allclose(arrays["loss 0"][1:], loss, atol=1e-5)
    assert np.isnan(arrays["loss 0"][0])
    results = json.loads((folder / "results.json").read_text())
    slow = slow_rates(expected[0], tokens[0].tolist())
    assert results["heads"][0]["head"] == "3.6"
    for name in RATES:
        assert results["heads"][0][name] == pytest.approx(slow[name], abs=1e-5)


def test_the_mean_loss_of_the_sentence(folder) -> None:
    summary = json.loads((folder / "results.json").read_text())["summary"]
    assert summary[0].startswith("ioi-mini predicts the 14 tokens with a mean loss of 3.48 nats")


def test_the_report_has_its_parts_and_fetches_nothing(folder) -> None:
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert outline(text).fetching == []
    for heading in ("How surprising each token is", "Where the heads look", "What each head does"):
        assert heading in text
    assert 'data-head="3.6"' in text and "all alike" in text


def test_a_task_gives_its_prompts_with_their_positions(tmp_path, model) -> None:
    asked = AttentionSettings(task="ioi", n_prompts=3, layers=(3,), seed=5, out=tmp_path)
    folder = run_attention(asked).folder
    task = ca.tasks.ioi(model, 3, seed=5)
    prompts = json.loads((folder / "results.json").read_text())["prompts"]
    assert len(prompts) == 3
    for at, prompt in enumerate(prompts):
        length = int(task.lengths[at])
        assert prompt["tokens"] == model.to_str_tokens(task.clean[at, :length])
    assert load_file(folder / "results.safetensors")["pattern 2"].shape[0] == model.cfg.n_heads
    assert "S2" in (folder / "report.html").read_text(encoding="utf-8")


def test_a_script_in_the_text_is_escaped() -> None:
    size = len(TOKENS)
    reading = Reading(
        AttentionExample(patterns(1, size), TOKENS),
        np.array([np.nan, 1.0, 2.0, 3.0]),
        ("", EVIL, EVIL, EVIL),
        np.array([np.nan, 0.5, 0.4, 0.3]),
    )
    found = rates(patterns(1, size), np.arange(size))
    alike = uniform_rates(np.arange(size))
    settings = {"text": EVIL}
    data = AttentionReportData(EVIL, EVIL, ("0.0",), (reading,), found, alike, settings, {})
    text = attention_report(data).html()
    assert EVIL not in text and outline(text).handlers == []
    assert "earlier copy" not in text  # no token occurs twice


# ---- the command line ----


def test_the_command_runs(tmp_path, capsys) -> None:
    assert main(["attention", TEXT + "  ", "--heads", "3.4", "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "mean loss of 3.48" in said and "report.html" in said
    assert main(["show", "latest", "--no-browser", "--root", str(tmp_path)]) == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["Mary saw a zebra and a giraffe"], "does not know 'zebra', 'giraffe': its vocabulary"),
        (["Mary and John " * 30], "and ioi-mini takes at most 64: shorten it"),
        (["Mary", "--heads", "9.1"], "no head 9.1: ioi-mini has 4 layers of 8 heads"),
        (["Mary", "--layers", "4"], "no layer 4"),
        (["--task", "nope"], "no task and no file 'nope'"),
        (["Mary", "--model", "no-such-model"], "no model is called 'no-such-model'"),
    ],
)
def test_a_fault_is_one_sentence_and_leaves_no_folder(words, message, tmp_path, capsys) -> None:
    assert main(["attention", *words, "--out", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("cutaway: ") and message in said and "Traceback" not in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "no text to look at"),
        ({"text": "  \n"}, "no text to look at"),
        ({"text": "Mary", "task": "ioi"}, "give one of the two"),
        ({"text": "Mary", "heads": ("1.2",), "layers": (1,)}, "give one of the two"),
        ({"text": "Mary", "heads": ("12",)}, "'12' is no head: write layer.head"),
        ({"task": "ioi", "n_prompts": 1}, "n_prompts=1 is too few"),
        ({"text": "Mary", "device": "tpu"}, "'tpu' is none of"),
    ],
)
def test_settings_that_make_no_sense_are_refused(fields: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AttentionSettings(**fields)


def test_a_page_too_large_for_a_browser_is_refused(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(attention_run, "_LARGEST_PAGE", 1000)
    with pytest.raises(ValueError, match="choose some with --heads or --layers"):
        run_attention(AttentionSettings(TEXT, out=tmp_path))
    assert list(tmp_path.iterdir()) == []
