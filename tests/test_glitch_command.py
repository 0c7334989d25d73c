"""`cutaway glitch` as a user types it, and a model whose training text is not known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import cutaway as ca
from command_line import typed
from cutaway.experiments.glitch.run import run_glitch
from cutaway.experiments.glitch.settings import GlitchSettings
from cutaway.findings import Run, load_run
from cutaway.model.config import ModelConfig
from cutaway.model.transformer import HookedTransformer
from cutaway.tokens.glitch_prompts import ordinary_tokens, prompt_makers
from cutaway.tokens.glitch_trace import TokenTrace
from cutaway.tokens.glitch_verification import Verification, verify
from cutaway.tokens.undertrained_indicators import Indicators, indicators
from cutaway.training.config import TrainConfig, TrainConfigError
from cutaway.training.run import fresh_model
from cutaway.training.sources import open_source

FEW = ("--n-prompts", "2", "--n-traced", "5", "--n-ordinary", "10")


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    root = tmp_path_factory.mktemp("runs")
    assert typed("glitch", *FEW, "--out", str(root)) == 0
    return load_run("latest", root)


def test_what_is_saved_is_what_the_library_finds(run) -> None:
    model = ca.HookedTransformer.from_pretrained_no_processing("glitch-mini")
    found = indicators(model)
    saved = Indicators.load(run.path / "indicators.safetensors")
    assert str(saved.to_frame()) == str(found.to_frame())
    ordinary = ordinary_tokens(found)
    checked = Verification.load(run.path / "verification.safetensors")
    again = verify(model, found.suspects(1000), prompt_makers(model, ordinary))
    np.testing.assert_allclose(checked.probability, again.probability, rtol=1e-5)
    trace = TokenTrace.load(run.path / "trace.safetensors")
    assert trace.token == found.suspects(1)[0] and len(trace.ordinary) == 5
    results = run.results()
    assert results["suspects"][0]["token"] == trace.token
    assert results["suspects"][0]["count"] == 0 and results["known_unused"] == [1, 2]
    assert results["strong"]["n"] == 548 and results["by_count"][0]["n"] == 56


def test_the_report_says_it_all_in_one_small_file(run) -> None:
    report = run.report.read_text(encoding="utf-8")
    assert len(report.encode()) < 1_000_000
    assert "http://" not in report.replace("http://www.w3.org", "") and "src=" not in report
    for heading in ("In short", "Suspects", "Beside the truth", "The vocabulary"):
        assert f"<h2>{heading}</h2>" in report
    for words in ("Suspicion and verification", "Where heads look", "random numbers", "control"):
        assert words in report
    assert report.count('class="ct-dots walk"') == 1


def test_the_findings_are_chosen_by_rule(run) -> None:
    summary = "\n".join(run.results()["summary"])
    assert "Of the 548 tokens that E_in norm suspects most, 73 are strongly" in summary
    assert "of 10 ordinary tokens 100%" in summary
    assert "64 of its tokens never came" in summary and "random numbers 0.4" in summary
    assert "So it is not carried from where it stood." in summary
    assert "both times up to the input of layer 0" in summary


@pytest.fixture(scope="module")
def unknown(tmp_path_factory) -> Path:
    """Tied, untrained, and without a tokenizer: nothing is known of it."""
    folder = tmp_path_factory.mktemp("models") / "small"
    cfg = ModelConfig(
        n_layers=1, d_model=8, n_heads=2, d_vocab=40, n_ctx=32, tie_word_embeddings=True
    )
    HookedTransformer(cfg).save_pretrained(folder)
    return folder


def test_a_model_of_which_nothing_is_known(unknown, tmp_path, capsys) -> None:
    line = ("glitch", "--model", str(unknown), *FEW, "--out", str(tmp_path))
    assert typed(*line) != 0
    assert "has no token that is surely unused" in capsys.readouterr().err.replace("\n", " ")
    settings = GlitchSettings(
        str(unknown), (3, 4), n_ordinary=5, n_traced=5, n_prompts=2, token=7, out=tmp_path
    )
    finished = run_glitch(settings)
    report = (finished.folder / "report.html").read_text(encoding="utf-8")
    assert "Beside the truth" not in report and "embeddings" in report
    assert "repeats only" in report and "cosine without component" in finished.summary[0]
    results = load_run(finished.folder).results()
    assert "areas" not in results and results["trace"]["token"] == 7


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--n-prompts", "1"), "n_prompts=1 is too few: at least 2"),
        (("--n-verified", "0"), "n_verified=0 is too few: at least 1"),
        (("--unused", "9999"), "the unused token 9999 is not in the vocabulary of glitch-mini"),
        (("--token", "-1"), "token=-1 is not in the vocabulary of glitch-mini: 0 to 558"),
        (("--device", "gpu"), "device='gpu' is none of cpu, cuda and mps"),
        (("--model", "no-such-model"), "no model is called 'no-such-model'"),
    ],
)
def test_faults_are_one_sentence(more, message, tmp_path, capsys) -> None:
    assert typed("glitch", *more, "--out", str(tmp_path)) != 0
    said = " ".join(capsys.readouterr().err.split())
    assert message in said and "Traceback" not in said
    assert not list(tmp_path.glob("2*"))


def test_the_recipe_makes_the_embedded_model_s_shape() -> None:
    config = TrainConfig.named("glitch-mini")
    source = open_source(config)
    fresh = fresh_model(config, source)
    embedded = ca.HookedTransformer.from_pretrained_no_processing("glitch-mini")
    assert fresh.cfg == embedded.cfg and source.tokenizer.digest == embedded.tokenizer.digest
    assert config.train.n_steps * config.train.batch_size == 64_000
    rows = source.rows(3, 64)
    assert rows.shape == (64, 33) and (rows == open_source(config).rows(3, 64)).all()
    with pytest.raises(TrainConfigError, match="n_ctx=24 is too short for lists of 12 words"):
        open_source(config.replace(n_ctx=24))
    with pytest.raises(TrainConfigError, match="n_tokens is of no use with the kind rare-words"):
        open_source(config.replace(n_tokens=7))


@pytest.mark.slow
def test_a_checkpoint_of_gpt2_s_kind(shared: Path, tmp_path: Path) -> None:
    """Its tokenizer, its tied embeddings, and random weights: everything runs, nothing is found."""
    tokenizer = ca.Tokenizer.from_file(shared / "models/gpt2-tokenizer/tokenizer.json")
    cfg = ModelConfig(
        n_layers=2, d_model=32, n_heads=2, d_vocab=50257, n_ctx=64, tie_word_embeddings=True
    )
    HookedTransformer(cfg, tokenizer).save_pretrained(tmp_path / "gpt2-like")
    settings = GlitchSettings(
        str(tmp_path / "gpt2-like"), n_verified=20, n_ordinary=10, n_prompts=2, out=tmp_path
    )
    results = load_run(run_glitch(settings).folder).results()
    assert results["indicator"] == "cosine without component"
    assert len(results["known_unused"]) == 13 and len(results["suspects"]) == 20
    assert results["strong"]["estimate"] == 1 and results["ordinary_repeat"]["estimate"] == 0


@pytest.mark.slow
def test_the_recipe_trains_the_embedded_model_again() -> None:
    """To rounding, which differs between machines; on one it is the same file."""
    from cutaway.training.run import train_config

    trained = train_config(TrainConfig.named("glitch-mini"))
    assert trained.held_out.accuracy is not None and trained.held_out.accuracy.estimate > 0.99
    found = indicators(trained.model)
    assert found.suspects(5) and found.values[found.chosen].min() < 0.2
