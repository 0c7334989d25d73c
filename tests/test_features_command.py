"""`cutaway sae features`: what it saves is what the library reads, and its faults are sentences."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import cutaway as ca
from cutaway.experiments.dictionaries.features import run_features
from cutaway.experiments.dictionaries.features_settings import FeaturesSettings
from cutaway.experiments.dictionaries.texts import text_of
from cutaway.experiments.dictionaries.token_sets import token_sets
from cutaway.sae import DictionaryConfig, save_dictionary
from cutaway.sae.examples import FeatureExamples, feature_examples
from cutaway.sae.fires import firings
from random_dictionaries import random_dictionary

HOOK = "blocks.3.hook_resid_post"
CFG = DictionaryConfig("top-k", 128, 24, k=3, hook=HOOK, model_name="ioi-mini")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("dictionary") / "small"
    save_dictionary(random_dictionary(CFG), path)
    return path


def settings(folder: Path, out: Path, **changes: object) -> FeaturesSettings:
    fields: dict[str, object] = {"n_sequences": 6, "n_prompts": 8, "out": out, "n_top": 4}
    return FeaturesSettings(str(folder), **{**fields, **changes})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def finished(folder: Path, tmp_path_factory: pytest.TempPathFactory):
    return run_features(settings(folder, tmp_path_factory.mktemp("runs")))


def test_what_is_saved_is_what_the_library_reads(finished) -> None:
    model, dictionary = ca.HookedTransformer.from_pretrained("ioi-mini"), random_dictionary(CFG)
    tokens = text_of(model, None, seed=0).sequences(0, 12)
    found = firings(model, dictionary, tokens[:6])
    rows = json.loads((finished.folder / "results.json").read_text())["features"]
    np.testing.assert_allclose([row["density"] for row in rows], found.density)
    np.testing.assert_allclose([row["maximum"] for row in rows], found.maximum(), rtol=1e-5)
    saved = FeatureExamples.load(finished.folder / "examples.safetensors")
    np.testing.assert_array_equal(saved.tokens, feature_examples(found, n_top=4).tokens)
    task = ca.tasks.ioi(model, n_prompts=8, seed=0)
    effects = ca.sweep(
        model, task, ca.sae.features(dictionary), "zero", positions="all", mode="noising"
    )
    measured = [row["effect on ioi"]["estimate"] for row in rows]
    np.testing.assert_allclose(measured, effects.normalised(), atol=1e-6)
    report = (finished.folder / "report.html").read_text()
    assert report.count("#feature-") >= 24 and "Effect on ioi" in report


def test_it_says_how_many_features_are_alive_and_described(finished) -> None:
    rows = json.loads((finished.folder / "results.json").read_text())["features"]
    alive = sum(row["maximum"] > 0 for row in rows)
    described = sum("fires" in row for row in rows)
    assert finished.summary[0].startswith(f"{alive} of 24 features fire on")
    assert f"{described} of them are described" in finished.summary[0]


def test_a_text_of_ones_own_and_no_task(folder: Path, tmp_path: Path) -> None:
    data = tmp_path / "text.txt"
    data.write_text("Then Mary gave a book to John at the park. " * 60)
    run = run_features(settings(folder, tmp_path, data=data, task="none", n_sequences=3))
    rows = json.loads((run.folder / "results.json").read_text())["features"]
    assert not any("effect on ioi" in row for row in rows)


def test_faults_are_sentences(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no dictionary 'nothing'"):
        run_features(settings(Path("nothing"), tmp_path))
    with pytest.raises(ValueError, match=r"no hook 'blocks\.9"):
        run_features(settings(folder, tmp_path, hook="blocks.9.hook_resid_post"))
    with pytest.raises(ValueError, match="there is no file"):
        run_features(settings(folder, tmp_path, data=tmp_path / "missing.txt"))
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(ValueError, match="the text is empty"):
        run_features(settings(folder, tmp_path, data=tmp_path / "empty.txt"))
    with pytest.raises(ValueError, match="n_top=0"):
        settings(folder, tmp_path, n_top=0)
    bare = random_dictionary(CFG.replace(model_name=""))
    save_dictionary(bare, tmp_path / "bare")
    with pytest.raises(ValueError, match="does not say its model: give --model"):
        run_features(settings(tmp_path / "bare", tmp_path))
    wide = random_dictionary(
        DictionaryConfig("top-k", 64, 8, k=2, hook=HOOK, model_name="ioi-mini")
    )
    save_dictionary(wide, tmp_path / "wide")
    with pytest.raises(ValueError, match="width 64"):
        run_features(settings(tmp_path / "wide", tmp_path))


def test_a_model_that_cannot_do_the_task_is_said_to(tmp_path: Path) -> None:
    cfg = DictionaryConfig("top-k", 128, 8, k=2, hook="blocks.1.hook_resid_post")
    save_dictionary(random_dictionary(cfg), tmp_path / "small")
    told: list[str] = []
    run = run_features(
        settings(tmp_path / "small", tmp_path, model="induction-2l"), tell=told.append
    )
    assert told and told[0].startswith("No effects on a task")
    assert (run.folder / "report.html").is_file()


def test_sets_of_tokens_go_by_their_text() -> None:
    found = token_sets([" Mary", " John", ".", ",", " cat", "12", "7", "a", "e"])
    assert found["a name"] == [0, 1] and found["punctuation"] == [2, 3]
    assert found["a number"] == [5, 6] and found["a vowel"] == [7, 8]
    assert "white space" not in found


def test_pieces_of_a_file_do_not_depend_on_how_many_are_asked_for(tmp_path: Path) -> None:
    model = ca.HookedTransformer.from_pretrained("ioi-mini")
    data = tmp_path / "text.txt"
    data.write_text("Then Mary gave a book to John at the park. " * 60)
    text = text_of(model, data, seed=1)
    assert torch.equal(text.sequences(0, 4)[:2], text.sequences(0, 2))
    assert text.n_sequences is not None and len(text.sequences(0, 999)) == text.n_sequences
