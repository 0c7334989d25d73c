"""`cutaway sae eval` and `cutaway sae recover`, as a user types them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

import cutaway as ca
from command_line import typed
from cutaway.experiments.dictionaries.recover import known_of
from cutaway.experiments.dictionaries.recover_settings import RecoverSettings
from cutaway.experiments.dictionaries.texts import text_of
from cutaway.experiments.dictionaries.toy_truth import ToyFeatures, toy_features
from cutaway.findings import Run, load_run
from cutaway.sae import DictionaryConfig, new_dictionary, save_dictionary
from cutaway.sae.evaluation import Evaluation, evaluate
from cutaway.sae.matching import Matching
from cutaway.sae.sparse_probing import SparseProbes
from cutaway.superposition.data import SparseFeatures
from html_outline import outline

HOOK = "blocks.1.hook_resid_post"
FEW = ["--n-sequences", "8", "--n-fit", "6", "--n-labels", "3", "--seed", "4"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> tuple[Path, Path]:
    """Two untrained dictionaries."""
    out = tmp_path_factory.mktemp("dictionaries")
    for seed in (0, 1):
        cfg = DictionaryConfig("top-k", 128, 160, k=8, hook=HOOK, model_name="ioi-mini")
        save_dictionary(new_dictionary(cfg, seed), out / f"d{seed}")
    return out / "d0", out / "d1"


@pytest.fixture(scope="module")
def run(folders, tmp_path_factory) -> Run:
    out = tmp_path_factory.mktemp("runs")
    words = ["sae", "eval", str(folders[0]), "--beside", str(folders[1]), *FEW]
    assert typed(*words, "--out", str(out)) == 0
    return load_run("latest", out)


def test_what_is_saved_is_what_the_library_finds(run, folders) -> None:
    model = ca.HookedTransformer.from_pretrained("ioi-mini")
    text = text_of(model, None, 4)
    expected = evaluate(
        ca.sae.load_dictionary(folders[0]),
        model,
        text.sequences(0, 8),
        fit_tokens=text.sequences(8, 6),
        seed=4,
    )
    found = Evaluation.load(run.path / "evaluation.safetensors")
    assert found.settings["digest"] == expected.settings["digest"]
    for name, one in expected.rows.items():
        np.testing.assert_allclose(found.rows[name].error, one.error, rtol=1e-6)
    results = run.results()
    told = {row["what"]: row for row in results["measured"]}
    loss = expected.losses.loss("dictionary").estimate
    assert told["dictionary"]["cross-entropy"] == pytest.approx(loss)
    assert results["stability"][0]["shared"]["estimate"] == 0
    density = run.arrays()["density"]
    np.testing.assert_array_equal(density, expected.dictionary.density)
    probes = SparseProbes.load(run.path / "probes.safetensors")
    assert len(probes.classes) == 3 and probes.ks == (1, 2, 5)


def test_the_report_has_every_number_beside_its_baselines(run) -> None:
    report = run.report.read_text()
    read = outline(report)
    assert read.fetching == []
    text = re.sub(r"<[^>]+>", " ", report)
    for words in (
        "random directions",
        "principal components",
        "largest components",
        "mean ablation",
        "zero ablation",
        "What single features say",
        "With another seed",
        "When this misleads",
    ):
        assert words in text, words
    summary = run.results()["summary"]
    assert summary[0].startswith("With 8.0 [8.0, 8.0] of 160 features active in a row")
    # An untrained dictionary loses to components, and the report says so.
    assert any("need another reason to be believed" in line for line in summary)
    assert any("rows are few" in line for line in summary)
    assert any(line.startswith("Matched one to one with 1 other dictionary") for line in summary)


def test_the_end_of_a_file_is_measured_on(folders, tmp_path) -> None:
    model = ca.HookedTransformer.from_pretrained("ioi-mini")
    words = [model.tokenizer.decode([i]) for i in range(5, 45)]  # type: ignore[union-attr]
    file = tmp_path / "text.txt"
    file.write_text("".join(words * 140))
    out = tmp_path / "runs"
    command = ["sae", "eval", str(folders[0]), "--data", str(file), "--labels", "none", *FEW]
    assert typed(*command, "--out", str(out)) == 0
    results = load_run("latest", out).results()
    assert "held out" in results["text"] and "probes" not in results


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--hook", "blocks.7.hook_resid_post"], "no hook 'blocks.7.hook_resid_post'"),
        (["--hook", "blocks.0.mlp.hook_post"], "width"),
        (["--n-sequences", "1"], "n_sequences=1 is too few"),
        (["--threshold", "2"], "threshold=2.0"),
        (["--data", "nowhere.txt"], "there is no file nowhere.txt"),
        (["--beside", "nowhere"], "nowhere"),
    ],
)
def test_mistakes_are_said_in_a_sentence(folders, words, said, tmp_path, capsys) -> None:
    out = tmp_path / "runs"
    assert typed("sae", "eval", str(folders[0]), *FEW, *words, "--out", str(out)) == 2
    error = capsys.readouterr()
    told = " ".join((error.err + error.out).replace("│", " ").split())
    assert said in told and "Traceback" not in told
    assert not out.exists() or not any(out.iterdir())


def test_an_unnamed_dictionary_needs_its_hook(tmp_path, capsys) -> None:
    save_dictionary(new_dictionary(DictionaryConfig("top-k", 128, 160, k=8)), tmp_path / "d")
    assert typed("sae", "eval", str(tmp_path / "d"), "--out", str(tmp_path / "runs")) == 2
    assert "give --model" in capsys.readouterr().err


# ---- recover ----


@pytest.fixture(scope="module")
def recovered(tmp_path_factory) -> Run:
    out = tmp_path_factory.mktemp("runs")
    words = ["sae", "recover", "--kinds", "top-k", "standard", "--n-seeds", "2"]
    words += ["--width", "8", "--n-features", "12", "--n-active", "1", "--n-rows", "15000"]
    words += ["--n-parents", "1", "--n-children", "2", "--batch-size", "128"]
    assert typed(*words, "--learning-rate", "0.01", "--out", str(out)) == 0
    return load_run("latest", out)


def test_known_features_are_found_far_beyond_chance(recovered) -> None:
    results = recovered.results()
    assert len(results["dictionaries"]) == 4
    by_kind = {row["kind"]: row for row in results["kinds"]}
    for row in results["dictionaries"]:
        assert row["mean best cosine"] > row["random"] + 0.15
        assert row["features"] == 12 and 0 <= row["absorbed"] <= 1
    assert by_kind["top-k"]["l0"] <= 1 < by_kind["standard"]["l0"]
    assert by_kind["standard"]["bias"] < 1 < by_kind["top-k"]["bias"] + 0.1
    own = [r["recall"] for r in results["dictionaries"] if r["kind"] == "top-k"]
    assert by_kind["top-k"]["recall"] == pytest.approx(sum(own) / 2)
    first = Matching.load(recovered.path / "matching" / "00.safetensors")
    told = results["dictionaries"][0]
    assert first.mean_best_cosine().estimate == pytest.approx(told["mean best cosine"])


def test_the_report_on_recovery_reads_back(recovered) -> None:
    report = recovered.report.read_text()
    assert outline(report).fetching == []
    for words in ("random directions", "absorbed", "When this misleads", "Feature by feature"):
        assert words in report, words
    assert "12 random directions in 8 dimensions" in recovered.results()["summary"][0]


@pytest.mark.slow
def test_dictionaries_find_all_known_features_and_none_is_dead(tmp_path) -> None:
    """The bar of the study: mean best cosine above 0.99, all alive, with resampling."""
    words = ["sae", "recover", "--kinds", "top-k", "batch-top-k", "--n-seeds", "1"]
    assert typed(*words, "--out", str(tmp_path)) == 0
    for row in load_run("latest", tmp_path).results()["dictionaries"]:
        assert row["mean best cosine"] > 0.99 and row["dead"] == 0, row
        assert row["recall"] == row["precision"] == row["uniqueness"] == 1
        assert row["resampled"] > 0


def test_toy_features_are_the_columns_that_the_model_has_learnt() -> None:
    W = torch.tensor([[1.0, 0.0, 0.1], [0.0, -2.0, 0.1]])
    toy = ToyFeatures(SparseFeatures(3), 0.5, W, torch.tensor([0, 1]))
    rows = toy.draw(2000, torch.Generator().manual_seed(0))
    assert torch.allclose(toy.directions, torch.tensor([[1.0, 0.0], [0.0, -1.0]]))
    assert rows.x.shape == (2000, 2) and rows.features.shape == (2000, 2)
    left = rows.x - rows.features @ toy.directions
    assert 0 < float(left.abs().max()) <= 0.1 + 1e-6  # the third, which has no direction to find
    assert float((rows.features > 0).float().mean()) == pytest.approx(0.5, abs=0.03)


@pytest.mark.slow
def test_a_toy_model_that_learns_a_pentagon() -> None:
    toy = toy_features(n_features=5, width=2, density=0.05)
    assert len(toy.which) == 5
    gram = toy.directions @ toy.directions.t()
    neighbours = gram.sort(dim=1).values[:, -3:-1]  # each has two, 72 degrees away
    assert torch.allclose(neighbours, torch.full((5, 2), 0.309), atol=0.1)


def test_what_is_known_is_said_in_words() -> None:
    settings = RecoverSettings(
        falloff=3.0, correlation=0.5, n_parents=2, noise=0.1, n_features=32, width=8
    )
    known, words = known_of(settings)
    assert known.directions.shape == (32, 8)
    for part in ("32 random directions in 8", "3 times as often", "correlation 0.5", "noise 0.1"):
        assert part in words
    with pytest.raises(ValueError, match="three numbers"):
        RecoverSettings(sparsity=(1.0,))
    with pytest.raises(ValueError, match="nothing to train"):
        RecoverSettings(kinds=())
