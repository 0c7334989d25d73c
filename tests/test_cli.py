"""The command line, as a user meets it: in a process of its own, 80 columns wide."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cutaway import cli


def run(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "80"}
    return subprocess.run(
        [sys.executable, "-m", "cutaway", *words],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=environment,
        timeout=300,
    )


def test_help_lists_every_command_within_80_columns() -> None:
    shown = run("--help")
    assert shown.returncode == 0 and shown.stderr == ""
    assert all(f"cutaway {command.words}" in shown.stdout for command in cli.COMMANDS)
    assert max(map(len, shown.stdout.splitlines())) <= 80


@pytest.mark.parametrize("words", [[], ["--help"], ["run", "--help"], ["run", "ioi", "--help"]])
def test_help_does_not_load_torch(words) -> None:
    code = (
        "import sys; from cutaway.cli import main\n"
        f"try: main({words!r})\nexcept SystemExit: pass\n"
        "assert 'torch' not in sys.modules and 'matplotlib' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_command_names_settings_and_a_function_that_exist() -> None:
    from importlib import import_module

    for command in cli.COMMANDS:
        module, name = command.settings.split(":")
        assert getattr(import_module(module), name).__doc__
        assert callable(getattr(cli, command.function))


def test_an_unknown_command_gets_a_near_match_and_status_2() -> None:
    wrong = run("rum", "ioi")
    assert wrong.returncode == 2
    assert "there is no command `rum ioi`. Did you mean `cutaway run ioi`?" in wrong.stderr


def test_the_version_is_printed() -> None:
    import cutaway

    assert run("--version").stdout == f"cutaway {cutaway.__version__}\n"


def test_a_run_is_made_listed_and_shown(tmp_path) -> None:
    done = run("run", "ioi", "--n-prompts", "8", "--n-random", "3", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    folder = next((tmp_path / "runs").iterdir())
    assert str(Path("runs") / folder.name / "report.html") in done.stdout
    (tmp_path / "runs" / "ioi-mini").mkdir()  # where `cutaway train ioi-mini` saves the model
    listed = run("runs", cwd=tmp_path)
    head, row = listed.stdout.splitlines()
    assert max(len(head), len(row)) <= 80
    assert row.split()[:3] == [folder.name.rsplit("-", 1)[-1], "ioi", "ioi-mini"]
    assert row.rstrip().endswith("n_prompts=8, n_random=3")
    shown = run("show", "latest", "--no-browser", cwd=tmp_path)
    assert shown.returncode == 0 and "report.html" in shown.stdout
    title, *lines = shown.stdout.splitlines()
    assert title.startswith("ioi · ioi-mini · 20") and lines[0].startswith("- ")
    assert all(len(line) <= 80 and line == line.rstrip() for line in lines[:-1])
    assert all(line.count("[") == line.count("]") for line in lines)  # no interval is broken


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "ioi", "--model", "./no-such-folder"], "no-such-folder"),
        (["run", "ioi", "--n-prompts", "1"], "n_prompts=1 is too few"),
        (["run", "ioi", "--device", "tpu"], "device='tpu'"),
        (["run", "ioi", "--out", "/dev/null"], "/dev/null is a file; runs are kept in a folder."),
        (["run", "ioi", "--out", "/dev/null/runs"], "/dev/null/runs: not a directory."),
        (["show", "abc"], "No run in runs begins with 'abc'"),
    ],
)
def test_a_mistake_is_one_sentence_and_no_traceback(words, message, tmp_path) -> None:
    wrong = run(*words, cwd=tmp_path)
    assert wrong.returncode == 2
    assert message in wrong.stderr and "Traceback" not in wrong.stderr


def test_a_gpu_that_is_not_there_is_refused_before_anything_is_made(tmp_path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    wrong = run("run", "ioi", "--device", "cuda", cwd=tmp_path)
    assert wrong.returncode == 2 and "Traceback" not in wrong.stderr
    assert "device='cuda': torch" in wrong.stderr and "sees no such device" in wrong.stderr
    assert not list(tmp_path.iterdir())


def test_a_trained_model_is_saved_beside_the_runs_and_not_under_the_embedded_name() -> None:
    from cutaway.training.settings import IOIMiniSettings

    assert IOIMiniSettings().out == Path("runs/ioi-mini")


def test_no_runs_yet_is_said_plainly(tmp_path) -> None:
    assert run("runs", cwd=tmp_path).stdout == "There are no runs in runs.\n"
