"""Run folders: complete or not there, and clear about what is wrong with one."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from cutaway.evidence import Interval
from cutaway.findings import RunError, RunFolder, environment, list_runs, load_run, run_table


def write_run(root: Path, study: str = "ioi", seed: int = 0) -> Path:
    with RunFolder.create(root, study, {"seed": seed, "model": "ioi-mini"}) as run:
        run.describe_model("ioi-mini", "9f86d081", parameters=123)
        with run.step("baseline"):
            pass
        run.save_results({"logit_difference": Interval(3.5, 3.0, math.inf, 0.95, 8)})
        run.save_arrays({"z": np.arange(6, dtype=np.float32).reshape(2, 3).T})
        run.save_report("<!doctype html>")
    return run.path


def test_a_run_round_trips(tmp_path: Path) -> None:
    path = write_run(tmp_path)
    run = load_run(path)
    assert path.name.endswith(f"-ioi-{run.id}") and run.study == "ioi"
    assert run.results()["logit_difference"] == {
        "estimate": 3.5,
        "low": 3.0,
        "high": None,
        "level": 0.95,
        "n": 8,
    }
    assert np.array_equal(run.arrays()["z"], np.arange(6).reshape(2, 3).T)
    assert run.report.read_text() == "<!doctype html>"


def test_the_record_says_what_is_needed_to_repeat_the_run(tmp_path: Path) -> None:
    record = load_run(write_run(tmp_path)).record
    assert record["settings"] == {"seed": 0, "model": "ioi-mini"}
    assert record["model"] == {"name": "ioi-mini", "digest": "9f86d081", "parameters": 123}
    assert {"cutaway", "python", "numpy", "torch"} <= set(record["versions"])
    assert record["machine"]["cores"] >= 1 and record["machine"]["cpu"]
    assert record["command"] and "commit" in record
    assert set(record["timings"]) == {"baseline"} and record["seconds"] >= 0
    assert record["started"] <= record["ended"]


def test_a_step_named_twice_adds_up_and_is_timed_when_it_fails(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path, "ioi", {})
    for _ in range(2):
        with pytest.raises(KeyError), run.step("maps"):
            raise KeyError
    assert list(run.timings) == ["maps"] and run.timings["maps"] > 0


def test_a_crashed_run_does_not_look_finished(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), RunFolder.create(tmp_path, "ioi", {}) as run:
        run.save_results({"half": 1})
        assert [one.name for one in tmp_path.iterdir()] == [f".unfinished-{run.path.name}"]
        raise KeyboardInterrupt
    assert not run.path.exists()
    assert list_runs(tmp_path) == ([], [])
    # What it had saved is kept out of sight.
    assert (tmp_path / f".unfinished-{run.path.name}" / "results.json").exists()


def test_a_run_that_crashed_before_it_saved_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), RunFolder.create(tmp_path / "runs", "ioi", {}):
        raise RuntimeError
    assert list((tmp_path / "runs").iterdir()) == []


def test_runs_are_found_by_the_beginning_of_their_name(tmp_path: Path) -> None:
    first, last = write_run(tmp_path), write_run(tmp_path, "ioi", 1)
    identifier = first.name.rpartition("-")[2]
    assert load_run(identifier[:5], tmp_path).path == first
    assert load_run(first.name, tmp_path).path == first
    assert load_run(str(first)).path == first
    assert load_run("latest", tmp_path).path == last


def test_the_table_of_runs(tmp_path: Path) -> None:
    write_run(tmp_path)
    heads, rows = run_table(list_runs(tmp_path)[0])
    assert len(heads) == len(rows[0]) == 6
    assert rows[0][1:3] == ("ioi", "ioi-mini") and rows[0][5] == "seed=0"


@dataclass(frozen=True)
class Chosen:
    """Settings as a study has them."""

    model: str = "ioi-mini"
    seed: int = 0
    out: Path = Path("runs")
    sites: list[str] = field(default_factory=lambda: ["z"])


def test_the_record_says_which_settings_are_not_the_defaults(tmp_path: Path) -> None:
    for settings in (Chosen(out=tmp_path), Chosen("gpt2", 3, tmp_path, ["z", "q"])):
        with RunFolder.create(tmp_path, "ioi", settings) as run:
            run.describe_model(settings.model, "9f86d081")
    runs, _ = list_runs(tmp_path)
    assert runs[0].record["changed"] == {"out": str(tmp_path)}
    assert runs[1].record["settings"] == {**runs[1].record["changed"]} and runs[1].model == "gpt2"
    assert [row[5] for row in run_table(runs)[1]] == ["", "seed=3, sites=['z', 'q']"]


@pytest.mark.parametrize(
    ("program", "shown"),
    [
        ("/usr/bin/cutaway", "cutaway run ioi"),
        ("/x/cutaway/__main__.py", "python -m cutaway run ioi"),
    ],
)
def test_the_command_line_is_kept_as_it_can_be_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, shown: str
) -> None:
    monkeypatch.setattr(sys, "argv", [program, "run", "ioi"])
    assert RunFolder.create(tmp_path, "ioi", {}).record["command"] == shown


def test_other_folders_beside_the_runs_are_passed_over(tmp_path: Path) -> None:
    path = write_run(tmp_path)
    (tmp_path / "ioi-mini").mkdir()
    assert [run.path for run in list_runs(tmp_path)[0]] == [path]
    assert list_runs(tmp_path)[1] == []
    moved = path.rename(tmp_path / "kept")
    assert load_run("latest", tmp_path).path == moved


def test_the_gpu_is_named_where_one_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = {"cuda": "NVIDIA H200", "cuda:1": "NVIDIA L4"}
    cuda = SimpleNamespace(is_available=lambda: True, get_device_name=seen.__getitem__)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    assert environment.machine("cuda:1")["gpu"] == "NVIDIA L4"
    assert "gpu" not in environment.machine("cpu")
    with RunFolder.create(tmp_path, "ioi", {"device": "cuda"}):
        pass
    assert load_run("latest", tmp_path).record["machine"]["gpu"] == "NVIDIA H200"
    monkeypatch.delitem(sys.modules, "torch")
    assert "gpu" not in environment.machine("cuda")  # and torch is not loaded to find out


def test_a_missing_run_is_one_clear_sentence(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no runs in"):
        load_run("latest", tmp_path)
    write_run(tmp_path), write_run(tmp_path)
    with pytest.raises(RunError, match="begins with 'xyz'"):
        load_run("xyz", tmp_path)
    with pytest.raises(RunError, match="2 runs begin with '2"):
        load_run("2" + list_runs(tmp_path)[0][0].path.name[1:8], tmp_path)
    with pytest.raises(RunError, match="begins with ''"):
        load_run("", tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"is not JSON \(line 1"),
        ("[]", "holds a list where an object"),
        ('{"id": "abc", "settings": 3}', "lacks study, settings, started, seconds"),
    ],
)
def test_a_broken_record_is_named_and_hides_no_other_run(
    tmp_path: Path, text: str, message: str
) -> None:
    broken, good = write_run(tmp_path), write_run(tmp_path)
    (broken / "record.json").write_text(text)
    with pytest.raises(RunError, match=message):
        load_run(broken)
    runs, faults = list_runs(tmp_path)
    assert [run.path for run in runs] == [good]
    assert len(faults) == 1 and str(broken) in faults[0]


def test_a_run_without_a_file_says_which(tmp_path: Path) -> None:
    path = write_run(tmp_path)
    run = load_run(path)
    (path / "results.safetensors").write_bytes(b"\x10")
    with pytest.raises(RunError, match="not a readable safetensors"):
        run.arrays()
    (path / "report.html").unlink()
    with pytest.raises(RunError, match=f"{path.name} has no report.html"):
        _ = run.report
    (path / "record.json").unlink()
    with pytest.raises(RunError, match="not a finished run"):
        load_run(path)


def test_a_run_takes_further_files_and_keeps_them_inside(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path, "ioi", {}) as run:
        run.file("effects/heads.txt").write_text("x")
        with pytest.raises(ValueError, match="leads out"):
            run.file("../other.txt")
    assert (run.path / "effects" / "heads.txt").read_text() == "x"


def test_bad_places_and_names_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(NotADirectoryError, match="is a file"):
        RunFolder.create(file, "ioi", {})
    with pytest.raises(ValueError, match=r"\.\./ioi"):
        RunFolder.create(tmp_path, "../ioi", {})


def test_runs_go_to_the_working_folder_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with RunFolder.create(None, "ioi", {}):
        pass
    assert load_run("latest").path.parent == Path("runs")
    assert json.loads((load_run("latest").path / "record.json").read_text())["study"] == "ioi"
