"""`cutaway train`: the command, its folder and report, stopping, errors; several processes."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import cutaway as ca
import parallel_training
from cutaway import cli
from cutaway.evidence import Interval
from cutaway.experiments.training.progress import sparkline
from cutaway.findings import list_runs, load_run
from cutaway.training.checkpoints import checkpoints
from cutaway.training.config import TrainConfigError
from cutaway.training.distributed import World
from cutaway.training.run import train_config
from cutaway.training.settings import TrainSettings
from cutaway.views.training_data import TrainingReportData
from cutaway.views.training_report import training_report
from cutaway.views.training_sentences import findings
from html_outline import outline
from sample_report import HOSTILE

SMALL = "--n-layers 1 --n-heads 2 --d-model 16 --n-ctx 8 --n-steps 12 --batch-size 4"


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text("To be, or not to be, that is the question:\n" * 20)
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[Path, str]:
    """A small run, and what it printed."""
    folder = tmp_path_factory.mktemp("train")
    (folder / "text.txt").write_text("To be, or not to be, that is the question:\n" * 20)
    words = ["train", "shakespeare-small", "--data", str(folder / "text.txt"), *SMALL.split()]
    command = [sys.executable, "-m", "cutaway", *words, "--log-spaced", "3"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def test_it_says_what_came_out(finished) -> None:
    _, said = finished
    assert "held-out loss" in said and "Loss on held-out data after step" in said
    assert "report        runs/shakespeare-small/report.html" in said
    assert "use it with   --model runs/shakespeare-small" in said


def test_its_folder_holds_config_curve_checkpoints_model_record_and_report(finished) -> None:
    run = finished[0] / "runs/shakespeare-small"
    names = {path.name for path in run.iterdir()}
    assert names == {
        "config.json",
        "curve.jsonl",
        "checkpoints",
        "best",
        "model",
        "record.json",
        "results.json",
        "report.html",
    }
    lines = [json.loads(line) for line in (run / "curve.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [12, 12]
    assert lines[0]["loss"] == pytest.approx(lines[1]["held_out"]["estimate"], abs=0.5)
    assert [saved.step for saved in checkpoints(run)] == [0, 1, 3, 12]
    record = load_run(run).record
    assert record["study"] == "train" and record["versions"]["torch"]
    assert record["changed"]["n_steps"] == 12
    results = load_run(run).results()
    assert results["held_out"]["n"] == 10 and set(results["controls"]) == {
        "unigram",
        "bigram",
        "fresh",
    }
    recipe = json.loads((run / "model/recipe.json").read_text())
    assert recipe["command"] == "cutaway train shakespeare-small"
    assert recipe["train"]["n_steps"] == 12 and "held-out loss" in recipe["measured"]
    assert [one.path for one in list_runs(finished[0] / "runs")[0]] == [run]


def test_every_command_takes_the_folder_for_a_model(finished) -> None:
    model = ca.HookedTransformer.from_pretrained(finished[0] / "runs/shakespeare-small")
    assert model.cfg.n_ctx == 8 and model.generate("To", 4, temperature=0).startswith("To")


def test_its_report(finished) -> None:
    page = (finished[0] / "runs/shakespeare-small/report.html").read_text()
    found = outline(page)
    assert not found.fetching and not found.handlers
    for words in (
        "counting pairs",
        "the fresh model",
        "Samples",
        "Models were kept",
        "Loss by step",
    ):
        assert words in page


def test_the_same_command_again_does_nothing_and_another_seed_is_refused(
    finished, monkeypatch, capsys
) -> None:
    folder, _ = finished
    monkeypatch.chdir(folder)
    words = [
        "train",
        "shakespeare-small",
        "--data",
        "text.txt",
        *SMALL.split(),
        "--log-spaced",
        "3",
    ]
    before = (folder / "runs/shakespeare-small/model/model.safetensors").read_bytes()
    assert cli.main(words) == 0
    assert "going on after step 12" in capsys.readouterr().out
    assert (folder / "runs/shakespeare-small/model/model.safetensors").read_bytes() == before
    assert cli.main([*words, "--seed", "1"]) == 2
    assert "train.seed (0 there, 1 here)" in capsys.readouterr().err


def test_ctrl_c_saves_the_state_and_the_same_command_goes_on(tmp_path, capsys) -> None:
    words = [
        "train",
        "repeated-tokens",
        *SMALL.split(),
        "--n-steps",
        "100000",
        "--batch-size",
        "64",
    ]
    words += ["--out", str(tmp_path / "run")]

    def stop() -> None:
        while not (tmp_path / "run/curve.jsonl").is_file():
            time.sleep(0.02)
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGINT)

    watcher = threading.Thread(target=stop)
    watcher.start()
    assert cli.main(words) == 130
    watcher.join()
    said = " ".join(capsys.readouterr().err.split())
    assert "of 100000, which is saved in" in said and "the same command goes on" in said
    (saved,) = (s for s in checkpoints(tmp_path / "run") if (s.path / "training.pt").is_file())
    assert f"stopped after step {saved.step} of" in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("nothing", "there is no configuration 'nothing'"),
        ("shakespeare-smal", "near: shakespeare-small"),
        ("mine.toml", "mine.toml does not exist"),
        ("ioi-2l --n-steps 0", "n_steps=0 is too few"),
        ("ioi-2l --d-model 30", "d_model=30 does not divide by n_heads=4"),
        ("ioi-2l --n-ctx 8", "n_ctx=8 is too short"),
        ("ioi-mini --n-layers 3", "n_layers=3 cannot be chosen with the text of ioi-mini"),
        ("ioi-2l --data text.txt", "data.file is of no use with the kind name-pairs"),
        ("shakespeare-small --data nothing.txt", "nothing.txt does not exist"),
        ("shakespeare-small --data empty.txt", "empty.txt is empty"),
        ("shakespeare-small --data short.txt", "short.txt is too short for a context of 64"),
        ("ioi-2l --device tpu", "device='tpu' is none of cpu, cuda and mps"),
        ("ioi-2l --out text.txt", "text.txt is a file"),
    ],
)
def test_a_mistake_is_one_sentence(words, message, text, tmp_path, monkeypatch, capsys) -> None:
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "short.txt").write_text("To be, or not to be")
    monkeypatch.chdir(tmp_path)
    try:
        status = cli.main(["train", *words.split()])
    except SystemExit as stop:  # what tyro finds itself
        status = stop.code
    wrong = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert status == 2 and message in wrong and "Traceback" not in wrong
    assert not [path for path in tmp_path.rglob("*") if path.suffix != ".txt" and path.is_file()]


def test_sparklines() -> None:
    assert sparkline([3.0, 2.0, 1.0]) == "█▅▁"
    assert sparkline([]) == "" and sparkline([1.0, 1.0]) == "▁▁"
    assert len(sparkline(list(range(100)), width=10)) == 10


# ---- the report of made-up numbers ----


def made_up(**changes) -> TrainingReportData:
    def at(value: float) -> Interval:
        return Interval(value, value - 0.01, value + 0.01, 0.95, 50)

    values = {
        "model": "tiny",
        "n_parameters": 10,
        "d_vocab": 65,
        "step": 200,
        "n_steps": 300,
        "n_tokens": 1000,
        "held_out": at(1.5),
        "controls": {"unigram": at(3.3), "bigram": at(2.5)},
        "training": [(100, 2.0), (200, 1.2), (300, 0.8)],
        "measured": [(100, at(2.0)), (200, at(1.5)), (300, at(1.9))],
        "tokens_per_second": 5.0,
    }
    return TrainingReportData(**{**values, **changes})


def test_the_sentences_follow_from_the_numbers() -> None:
    loss, overfits = findings(made_up())
    assert f"guessing {math.log(65):.3f}" in loss and "counting pairs 2.500" in loss
    assert "lowest after step 200 (1.500 [1.490, 1.510]) and stood at 1.900" in overfits
    assert overfits.endswith("That model is kept.")
    assert findings(made_up(step=300))[1].endswith("The last model is kept.")
    assert len(findings(made_up(measured=made_up().measured[:2]))) == 1
    right = made_up(accuracy=Interval(0.5, 0.4, 0.6, 0.95, 9), known_loss=made_up().held_out)
    assert "it gets 50.0% right [40.0, 60.0]" in findings(right)[1]


def test_what_the_model_wrote_is_text_and_no_page() -> None:
    page = training_report(made_up(samples=[HOSTILE], prompt="\n")).html()
    assert HOSTILE not in page and "&lt;script&gt;" in page


# ---- several processes ----


def check_parallel(folder: Path) -> None:
    alone = train_config(parallel_training.CONFIG)
    lines = [json.loads(line) for line in (folder / "curve.jsonl").read_text().splitlines()]
    together = [(line["step"], line["loss"]) for line in lines if "loss" in line]
    assert [step for step, _ in together] == [step for step, _ in alone.curve.training()]
    assert [loss for _, loss in together] == pytest.approx(
        [loss for _, loss in alone.curve.training()], abs=1e-5
    )
    model = ca.HookedTransformer.from_pretrained_no_processing(folder)
    assert model.digest == (folder / "digest-of-the-other").read_text(), "all have the same weights"
    assert [saved.step for saved in checkpoints(folder)] == [0, 1, 4, 16]


def test_two_processes_train_as_one(tmp_path: Path) -> None:
    command = [sys.executable, parallel_training.__file__, tmp_path / "run"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    check_parallel(tmp_path / "run")


@pytest.mark.slow
def test_two_processes_of_torchrun_train_as_one(tmp_path: Path) -> None:
    starter = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    command = [*starter, parallel_training.__file__, tmp_path / "run"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    check_parallel(tmp_path / "run")


def test_a_batch_that_does_not_divide_among_the_processes() -> None:
    config = parallel_training.CONFIG.replace(train=TrainSettings(batch_size=6, accumulate=2))
    with pytest.raises(
        TrainConfigError, match="batch_size=6 in accumulate=2 parts does not divide"
    ):
        train_config(config, world=World(0, 2))
