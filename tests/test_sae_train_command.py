"""`cutaway sae train`: the command, its folder and report, stopping, errors."""

from __future__ import annotations

import json
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from command_line import typed
from cutaway.experiments.dictionaries import train_progress
from cutaway.experiments.dictionaries.train_settings import SaeTrainSettings
from cutaway.findings import load_run
from cutaway.sae.evaluation import Evaluation
from cutaway.sae.files import load_dictionary
from cutaway.training.checkpoints import checkpoints
from cutaway.views.dictionary_training_data import DictionaryTrainingData, TrainedRow
from cutaway.views.dictionary_training_report import dictionary_training_report
from cutaway.views.dictionary_training_sentences import findings
from html_outline import outline
from sample_report import HOSTILE

TEXT = "To be, or not to be, that is the question:\nWhether 'tis nobler in the mind to suffer\n"
SMALL = (
    "sae train --model shakespeare-small --n-ctx 16 --k 2 4 --n-features 32 --n-rows 960",
    "--batch-size 96 --buffer-rows 600 --n-held-out 8 --evaluate-every 5 --checkpoint-every 4",
)
WORDS = " ".join(SMALL).split()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sae")
    (folder / "text.txt").write_text(TEXT * 30)
    words = [*WORDS, "--data", str(folder / "text.txt"), "--out", str(folder / "run")]
    assert typed(*words) == 0
    return folder


def test_its_folder_holds_dictionaries_record_and_report(finished: Path) -> None:
    run = finished / "run"
    names = {path.name for path in run.iterdir()}
    assert names == {"training", "dictionaries", "record.json", "results.json", "report.html"}
    for k in (2, 4):
        folder = run / "dictionaries" / f"batch-top-k-k-{k}"
        dictionary = load_dictionary(folder)
        cfg = dictionary.cfg
        assert (cfg.kind, cfg.k, cfg.d_features, cfg.n_ctx) == ("batch-top-k", k, 32, 16)
        assert (cfg.hook, cfg.model_name) == ("blocks.2.hook_resid_post", "shakespeare-small")
        recipe = json.loads((folder / "recipe.json").read_text())
        assert recipe["dictionary"]["k"] == k and recipe["pass"]["n_rows"] == 960
        measured = Evaluation.load(folder / "evaluation.safetensors")
        assert str(measured.dictionary.l0()) == recipe["measured"]["L0"]
    results = load_run(run).results()
    assert set(results["dictionaries"]) == {"batch-top-k k=2", "batch-top-k k=4"}
    lines = (run / "training/curve.jsonl").read_text().splitlines()
    steps = [json.loads(line)["step"] for line in lines if "measured" in line]
    assert steps == [5, 5, 10, 10]


def test_its_report(finished: Path) -> None:
    page = (finished / "run/report.html").read_text()
    found = outline(page)
    assert not found.fetching and not found.handlers
    for words in ("2 dictionaries for shakespeare-small", "Loss recovered", "largest components"):
        assert words in page


def test_stopped_it_goes_on_and_comes_out_the_same(
    finished: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Ctrl-C after the second report, and activations that come from disk the second time."""

    class Stopping(train_progress.DictionaryProgress):
        def measured(self, step: int, found: object) -> None:
            os.kill(os.getpid(), signal.SIGINT)

    words = [*WORDS, "--data", str(finished / "text.txt"), "--out", str(tmp_path / "run")]
    with monkeypatch.context() as patch:
        patch.setattr("cutaway.experiments.dictionaries.train.DictionaryProgress", Stopping)
        assert typed(*words) == 130
    said = " ".join(capsys.readouterr().err.split())
    assert "stopped after step 5 of 10, which is saved in" in said
    assert [one.step for one in checkpoints(tmp_path / "run/training")] == [4, 5]
    assert typed(*words) == 0
    assert "going on after step 5" in capsys.readouterr().out
    for k in (2, 4):
        name = f"dictionaries/batch-top-k-k-{k}"
        ours = load_dictionary(tmp_path / "run" / name).digest
        assert ours == load_dictionary(finished / "run" / name).digest


def test_from_disk_it_comes_out_the_same(finished: Path, tmp_path: Path) -> None:
    words = [*WORDS, "--data", str(finished / "text.txt"), "--store", str(tmp_path / "store")]
    assert typed(*words, "--out", str(tmp_path / "run")) == 0
    name = "dictionaries/batch-top-k-k-2"
    ours = load_dictionary(tmp_path / "run" / name).digest
    assert ours == load_dictionary(finished / "run" / name).digest
    assert (tmp_path / "store/rows-00001.safetensors").is_file()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--hook blocks.9.hook_resid_post", "has no hook 'blocks.9.hook_resid_post'"),
        ("--hook blocks.0.attn.hook_pattern", "no row for each token"),
        ("--model nothing-here", "nothing-here"),
        ("--data missing.txt", "there is no file"),
        ("--data empty.txt", "the text is empty"),
        ("--data short.txt", "at least 20"),
        ("--n-ctx 999", "n_ctx=999 does not fit"),
        ("--k 99", "k=99 has to be a whole number from 1 to d_features=32"),
        ("--kind standard", "--k is of no use with --kind standard"),
        ("--n-rows 0", "n_rows=0 is too few"),
        ("--out text.txt", "text.txt is a file"),
        ("--skip", "skip is for transcoders"),
    ],
)
def test_a_mistake_is_one_sentence(
    finished: Path,
    tmp_path: Path,
    words: str,
    says: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in (("text", TEXT * 30), ("empty", ""), ("short", TEXT)):
        (tmp_path / f"{name}.txt").write_text(text)
    assert typed(*WORDS, "--data", "text.txt", "--out", "run", *words.split()) == 2
    said = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert says in said and "Traceback" not in said
    assert not (tmp_path / "run").exists()


def test_another_command_in_the_same_folder_is_refused(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(finished / "run", tmp_path / "run")
    words = [*WORDS, "--data", str(finished / "text.txt"), "--out", str(tmp_path / "run")]
    assert typed(*words, "--seed", "1") == 2
    assert "made with other settings" in capsys.readouterr().err


def test_options_name_the_dictionaries() -> None:
    settings = SaeTrainSettings(kind="gated", sparsity=(1.0, 2.0), seed=(0, 1))
    titles = [(one.title, one.seed) for one in settings.dictionaries("h")]
    assert titles == [(f"gated lambda={v}", s) for v in (1, 2) for s in (0, 1)]
    assert [one.k for one in SaeTrainSettings().dictionaries("h")] == [16]


# ---- the report of a run, changed ----


@pytest.fixture
def made_up(finished: Path) -> DictionaryTrainingData:
    found = Evaluation.load(finished / "run/dictionaries/batch-top-k-k-2/evaluation.safetensors")
    points = {
        "explained": [(1, 0.2), (2, 0.5)],
        "dead": [(1, 0.0), (2, 0.0)],
        "measured.explained variance": [(1, 0.5), (5, 0.7), (10, 0.701)],
    }
    row = TrainedRow("one", found, points, dead_after=100)
    return DictionaryTrainingData("tiny", "h", "", "a text", 960, 96, 10.0, [row])


def test_the_sentences_follow_from_the_numbers(made_up: DictionaryTrainingData) -> None:
    assert len(findings(made_up)) == 1
    assert findings(made_up)[0].startswith("3.")  # its L0, and no name where it is alone
    row = made_up.dictionaries[0]
    rising = {**row.points, "measured.explained variance": [(1, 0.5), (5, 0.6), (10, 0.7)]}
    dying = {**row.points, "dead": [(1, 0.0), (2, 0.25)]}
    for points, says in ((rising, "still rose by 0.100"), (dying, "25% of the features did not")):
        data = replace(made_up, dictionaries=[replace(row, points=points)])
        assert says in findings(data)[1]
    two = replace(made_up, dictionaries=[row, replace(row, name="two")])
    assert findings(two)[1].startswith("two: ")


def test_names_are_text_and_no_page(made_up: DictionaryTrainingData) -> None:
    row = replace(made_up.dictionaries[0], name=HOSTILE, resampled=[(4, 3.0)])
    page = dictionary_training_report(replace(made_up, dictionaries=[row, row, row])).html()
    assert HOSTILE not in page and "&lt;script&gt;" in page
    assert "Sparsity and explained variance" in page and "Resampled" in page
    assert "Dead features" not in page  # none was
