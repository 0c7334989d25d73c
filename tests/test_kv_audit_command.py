"""`cutaway audit kv`, as a user types it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

import cutaway as ca
from command_line import typed
from cutaway.audit import ActivationAudit, KVAudit, kv_bytes, load_shape, predict_memory
from cutaway.experiments.audit.run import run_audit
from cutaway.experiments.audit.settings import AuditKvSettings
from cutaway.findings import Run, load_run
from cutaway.views.audit_data import LEAKING, OURS, size
from cutaway.views.audit_parts import _picked
from html_outline import outline


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    """Grouped heads, a tied unembedding, biases that are off."""
    folder = tmp_path_factory.mktemp("models") / "small"
    cfg = ca.ModelConfig(
        n_layers=2,
        d_model=16,
        n_heads=4,
        n_key_value_heads=2,
        d_vocab=30,
        n_ctx=20,
        normalization_type="RMS",
        qkv_bias=False,
        tie_word_embeddings=True,
    )
    ca.HookedTransformer(cfg).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def run(small, tmp_path_factory) -> Run:
    root = tmp_path_factory.mktemp("runs")
    words = ["--model", str(small), "--chunk", "6", "--n-single", "3", "--n-cached", "4"]
    words += ["--batch", "2", "--dtype", "bfloat16", "--memory-gib", "0.01", "--out", str(root)]
    assert typed("audit", "kv", *words) == 0
    return load_run("latest", root)


def test_what_it_saves_is_what_was_measured(run) -> None:
    found = run.results()
    per_layer = 2 * 2 * 4 * 2  # keys and values, key-value heads, d_head, bytes
    assert found["bytes_per_token"] == found["measured"]["bytes_per_token"] == 2 * per_layer
    assert found["measured"]["is_exact"] is True
    audit = KVAudit.load(run.path / "audits" / "in-chunks.safetensors")
    assert audit.tokens.tolist() == [6, 12, 18, 20] and audit.shape.dtype == "bfloat16"
    assert audit.to_frame() == found["measured"]["cache"]
    assert {row["filled"] for row in audit.to_frame() if row["tokens"] == 20} == {
        2 * 20 * per_layer
    }
    leaking = KVAudit.load(run.path / "audits" / f"{LEAKING}.safetensors")
    assert not leaking.is_exact and found["measured"]["caches"][OURS]["is_exact"]
    every = ActivationAudit.load(run.path / "audits" / "activations-on-demand.safetensors")
    assert every.is_exact and every.to_frame() == found["measured"]["activations"]
    last = found["predictions"][-1]
    cfg = ca.ModelConfig.from_dict(run.record["model"]["config"])
    assert last["total"] == predict_memory(cfg, 20, 2).total and last["n_tokens"] == 20
    assert found["fits"]["memory"] == int(0.01 * 2**30)
    assert len(found["summary"]) == 7


def test_the_report_says_it_and_fetches_nothing(run) -> None:
    page = run.report.read_text()
    assert outline(page).fetching == []
    for line in run.results()["summary"]:
        assert line.split(":")[0] in page
    for words in ("2 × 2 layers × 2 key-value heads × 4 × 2 bytes = 64 bytes per token", "is seen"):
        assert words in page
    assert (run.path / "figure.svg").read_text().startswith("<?xml")


def test_a_shape_needs_no_weights(tmp_path, capsys) -> None:
    words = ["--model", "gpt2", "--shape-only", "--memory-gib", "1", "--out", str(tmp_path)]
    assert typed("audit", "kv", *words) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "= 73,728 bytes per token of a sequence (float32): 72.0 MiB" in text
    assert "Foretold, not measured." in text
    found = load_run("latest", tmp_path).results()
    assert "measured" not in found and len(found["summary"]) == 3
    assert found["predictions"][-1]["kv_cache"] == kv_bytes(load_shape("gpt2"), 1024)
    json.dumps(found)


def test_a_folder_with_a_config_alone_is_a_shape(tmp_path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    values = {"model_type": "llama", "hidden_size": 64, "intermediate_size": 96}
    values |= {"num_hidden_layers": 3, "num_attention_heads": 8, "num_key_value_heads": 2}
    values |= {"vocab_size": 100, "max_position_embeddings": 40, "rms_norm_eps": 1e-5}
    (folder / "config.json").write_text(json.dumps({**values, "hidden_act": "silu"}))
    settings = AuditKvSettings(model=str(folder), shape_only=True, dtype="float16", out=tmp_path)
    finished = run_audit(settings)
    found = json.loads((finished.folder / "results.json").read_text())
    assert found["bytes_per_token"] == 2 * 3 * 2 * 8 * 2 and found["model"] == "mine"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--n-tokens", "65"), "n_tokens=65 is more than the context of ioi-mini, which is 64"),
        (("--batch", "0"), "batch=0 is too few"),
        (("--memory-gib", "0"), "memory_gib=0.0 is not positive"),
        (("--shape-only", "--model", "gpt-17"), "no shape is known of 'gpt-17'"),
        (("--device", "tpu"), "device='tpu' is none of cpu, cuda and mps"),
    ],
)
def test_a_mistake_gets_a_sentence(tmp_path, capsys, words, message) -> None:
    assert typed("audit", "kv", *words, "--out", str(tmp_path)) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert list(tmp_path.iterdir()) == []


def test_the_memory_that_is_free_is_the_default(tmp_path) -> None:
    settings = AuditKvSettings(shape_only=True, out=tmp_path)
    assert dataclasses.replace(settings, memory_gib=None).memory_gib is None
    found = json.loads((run_audit(settings).folder / "results.json").read_text())
    assert found["fits"]["memory"] > 2**20 and found["fits"]["context"] == 64


def test_bytes_as_text_and_steps_that_are_drawn() -> None:
    assert [size(n) for n in (0, 1023, 1024, 73728, 72 * 2**20, 300 * 2**20, 2**40)] == [
        "0 B",
        "1023 B",
        "1.0 KiB",
        "72.0 KiB",
        "72.0 MiB",
        "300 MiB",
        "1.0 TiB",
    ]
    assert _picked(4, 16) == [0, 1, 2, 3] and _picked(1000, 4) == [249, 499, 749, 999]
