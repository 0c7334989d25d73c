"""The command line, as a user meets it: in a process of its own, 80 columns wide."""

from __future__ import annotations

import os
import re
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


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--help"],
        ["run", "--help"],
        ["run", "ioi", "--help"],
        ["patch", "--help"],
        ["edges", "--help"],
    ],
)
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
        for named in (command.settings, command.calls):
            module, name = named.split(":")
            found = getattr(import_module(module), name)
            assert callable(found) and found.__doc__


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


# ---- one measurement ----


def test_a_measurement_is_made_listed_and_shown(tmp_path) -> None:
    words = ("--n-prompts", "4", "--receivers", "logits", "3.6.q+3.6.v", "--senders", "1.2")
    done = run("paths", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("It will hold at most ") and max(map(len, lines)) <= 80
    assert any(line.startswith("- Patching 1.2 → logits restores 0.") for line in lines)
    folder = next((tmp_path / "runs").iterdir())
    assert f"open it with  cutaway show {Path('runs') / folder.name}" in lines
    row = run("runs", cwd=tmp_path).stdout.splitlines()[1]
    assert row.split()[1:3] == ["paths", "ioi-mini"] and "n_prompts=4" in row
    shown = run("show", "latest", "--no-browser", cwd=tmp_path)
    assert shown.stdout.startswith("paths · ioi-mini · ") and "- Patching 1.2" in shown.stdout


def test_the_help_of_patch_names_every_site() -> None:
    from cutaway.experiments.measurements.settings import PatchSettings
    from cutaway.patching.sites import SITES
    from cutaway.views.measurement_text import SITES as DESCRIBED

    words = set(re.findall(r"\w+", run("patch", "--help").stdout))
    assert set(SITES) <= words and set(SITES) == set(DESCRIBED)
    assert PatchSettings.site in SITES


ROW = {"clean": "When John and Mary went to the store, John gave a drink to", "answer": " Mary"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("patch --site zed", "there is no site 'zed'"),
        ("patch --layers 9", "there is no layer 9 in ioi-mini"),
        ("patch --positions S9", "has no position 'S9'"),
        ("patch --positions S2 3", "either all names or all numbers"),
        ("patch --keys END", "is for pattern and attn_scores"),
        ("patch --site embed --layers 1", "embed belongs to no layer"),
        ("patch --site mlp_post --neurons-per-group 7", "does not divide"),
        ("patch --n-prompts 1", "n_prompts=1 is too few"),
        ("patch --max-memory-gib 0.000001", "is too little"),
        ("patch --max-memory-gib -1", "is not positive"),
        ("patch --task iio", "there is no task and no file 'iio'"),
        ("patch --task .", "there is no task and no file '.'"),
        ("patch --task no.jsonl", "line 1: field 'corrupted' is missing"),
        ("patch --task one.jsonl", "holds 1 prompt pair, and 2 are needed"),
        ("patch --task binary.jsonl", "is not a text file in UTF-8"),
        ("patch --task same.jsonl", "there is no difference to express effects in"),
        ("patch --task same.jsonl --corruption abc", "--corruption is of tasks by name"),
        ("patch --corruption flip", "corruption='flip' is not one of s2-flip, swap, abc"),
        ("patch --task docstring --corruption 01", "not one of random-def, random-doc,"),
        ("patch --task greater-than", "knows none of the sentences of greater-than"),
        ("paths --receivers 9.6.q", "has no receiver '9.6.q'"),
        ("paths --receivers 3.6", "'3.6' is a head"),
        ("paths --receivers 3.6.q+logits", "'logits' in a set of receivers"),
        ("paths --receivers 1.2.q --senders 3.6", "3.6 writes after 1.2.q reads"),
        ("paths --senders 7.7", "has no sender '7.7'"),
        ("edges --receivers mlp9", "has no receiver 'mlp9'"),
        ("edges --resume abc", "runs holds no stopped run that begins with 'abc'"),
        ("edges --resume latest", "runs holds no stopped run."),
        ("attribute --site zed", "there is no site 'zed'"),
        ("attribute --method clean-corrupted", "--method is of edges"),
        ("attribute --edges --layers 1", "--layers is of a site"),
        ("attribute --direct --mode noising", "direct attribution estimates nothing"),
        ("attribute --by head", "--by is of direct attribution"),
        ("attribute --direct --edges", "two different things"),
        ("attribute --direct --exact --by layer", "--by head"),
        ("attribute --direct --exact --toward answer", "--toward difference"),
        ("attribute --steps 0", "steps=0 is too few"),
    ],
)
def test_a_mistake_in_a_measurement_is_one_sentence(
    words, message, tmp_path, monkeypatch, capsys
) -> None:
    import json

    monkeypatch.chdir(tmp_path)
    Path("no.jsonl").write_text(json.dumps(ROW))
    pair = {**ROW, "corrupted": ROW["clean"].replace(", John", ", Mary"), "wrong": " John"}
    Path("one.jsonl").write_text(json.dumps(pair))
    Path("binary.jsonl").write_bytes(b"\xff\xfe\x00")
    turned = {**pair, "clean": pair["corrupted"], "corrupted": pair["clean"]}
    Path("same.jsonl").write_text(f"{json.dumps(pair)}\n{json.dumps(turned)}")
    few = () if set(words.split()) & {"--n-prompts", "--task", "--resume"} else ("--n-prompts", "4")
    try:
        status = cli.main([*words.split(), *few])
    except SystemExit as stop:  # what tyro finds itself
        status = stop.code
    assert status == 2
    wrong = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert message in wrong and "Traceback" not in wrong
    assert not list(Path("runs").glob("*"))


def test_an_interrupted_run_says_how_to_go_on(monkeypatch, tmp_path, capsys) -> None:
    from cutaway.patching import edges

    def stop(*rest):
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(edges._Edges, "_run_unit", stop)
        assert cli.main(["edges", "--n-prompts", "4", "--receivers", "logits"]) == 130
    how = capsys.readouterr().err.splitlines()[-1].strip()
    assert how.startswith("cutaway edges --resume ")
    assert cli.main(["runs"]) == 0 and how in capsys.readouterr().out
    assert cli.main(how.split()[1:]) == 0
    assert "Patching 1.2 → logits restores" in capsys.readouterr().out


def test_a_gpu_that_is_not_there_is_refused_before_anything_is_made(tmp_path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    wrong = run("run", "ioi", "--device", "cuda", cwd=tmp_path)
    assert wrong.returncode == 2 and "Traceback" not in wrong.stderr
    assert "device='cuda': torch" in wrong.stderr and "sees no such device" in wrong.stderr
    assert not list(tmp_path.iterdir())


def test_a_trained_model_is_saved_beside_the_runs_and_not_under_the_embedded_name() -> None:
    from cutaway.experiments.training.settings import TrainCommandSettings

    assert TrainCommandSettings("ioi-mini").folder == Path("runs/ioi-mini")


def test_no_runs_yet_is_said_plainly(tmp_path) -> None:
    assert run("runs", cwd=tmp_path).stdout == "There are no runs in runs.\n"
