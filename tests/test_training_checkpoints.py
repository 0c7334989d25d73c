"""Checkpoints: killed at any moment, a run goes on to the same weights, and nothing is lost."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import cutaway as ca
from cutaway.training.checkpoints import CheckpointError, CheckpointStore, checkpoints
from cutaway.training.config import KeepSettings, TrainConfig
from cutaway.training.run import Events, TrainedRun, train_config
from cutaway.training.schedule import kept_steps, log_spaced
from cutaway.training.settings import TrainSettings
from cutaway.training.trainer import fit

CONFIG = TrainConfig.from_dict(
    {
        "name": "tiny",
        "data": {"kind": "repeated-tokens", "n_tokens": 9},
        "model": {"n_layers": 1, "n_heads": 2, "d_model": 16, "n_ctx": 8},
        "train": {"n_steps": 20, "batch_size": 4, "warmup_steps": 5, "checkpoint_every": 6},
        "keep": {"log_spaced": 4, "report_every": 4, "evaluate_every": 10, "n_held_out": 20},
    }
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[Path, TrainedRun]:
    folder = tmp_path_factory.mktemp("runs") / "whole"
    return folder, train_config(CONFIG, folder)


@pytest.fixture
def run(finished, tmp_path) -> Path:
    """A copy of the finished run."""
    folder = tmp_path / "run"
    shutil.copytree(finished[0], folder)
    return folder


def stopped(folder: Path, after: int) -> None:
    """A run that is stopped after so many steps of this session."""
    asked = iter([*[False] * (after - 1), True])
    with pytest.raises(KeyboardInterrupt, match="stopped after step"):
        train_config(CONFIG, folder, events=Events(stop=lambda: next(asked)))


def resumable(folder: Path) -> list[int]:
    return [s.step for s in checkpoints(folder) if (s.path / "training.pt").is_file()]


# ---- going on ----


def test_killed_at_any_moment_it_ends_with_the_same_bits(tmp_path: Path) -> None:
    script = Path(__file__).with_name("killed_training.py")
    done = subprocess.run(
        [sys.executable, script, tmp_path], capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    assert found["whole"] == found["steps"] and found["last"] == 0
    assert found["killed"] >= 4
    curves = [
        [
            {k: v for k, v in json.loads(line).items() if k != "tokens_per_second"}
            for line in (tmp_path / name / "curve.jsonl").read_text().splitlines()
        ]
        for name in ("whole", "steps")
    ]
    assert curves[0] == curves[1] and len(curves[0]) == 14
    assert [s.step for s in checkpoints(tmp_path / "steps")] == [
        s.step for s in checkpoints(tmp_path / "whole")
    ]
    left = [path.name for path in (tmp_path / "steps").rglob(".*")]
    assert not left, "what was being written is cleared away"


def test_stopped_and_started_again(tmp_path: Path, finished) -> None:
    begun: list[int] = []
    stopped(tmp_path / "run", 3)
    stopped(tmp_path / "run", 9)
    found = train_config(CONFIG, tmp_path / "run", events=Events(begin=begun.append))
    assert begun == [12] and found.model.digest == finished[1].model.digest
    assert found.curve.training() == finished[1].curve.training()
    assert found.held_out == finished[1].held_out


def test_a_finished_run_is_left_as_it_is(run: Path, finished) -> None:
    steps: list[int] = []
    again = train_config(CONFIG, run, events=Events(begin=steps.append))
    assert steps == [20] and again.model.digest == finished[1].model.digest
    assert again.curve.entries == finished[1].curve.entries


def test_any_module_goes_on(tmp_path: Path) -> None:
    def trained(folder: Path | None, n_calls: int = 99) -> torch.Tensor:
        module = torch.nn.Linear(3, 1, bias=False)
        torch.nn.init.constant_(module.weight, 1.0)
        calls = iter(range(n_calls))

        def loss_at(step: int) -> tuple[torch.Tensor, int]:
            next(calls)
            x = torch.randn(5, 3, generator=torch.Generator().manual_seed(step))
            return (module(x) - x.sum(1, keepdim=True) * 2).pow(2).mean(), 5

        fit(module, loss_at, TrainSettings(n_steps=9, checkpoint_every=4), folder)
        return module.weight.detach()

    with pytest.raises(StopIteration):
        trained(tmp_path / "half", 6)
    assert torch.equal(trained(tmp_path / "half", 5), trained(None))
    with pytest.raises(CheckpointError, match=r"learning_rate \(0.002 there, 1.0 here\)"):
        store = CheckpointStore(tmp_path / "half", torch.nn.Linear(3, 1), {"learning_rate": 1.0})
        store.resume()


# ---- what is broken ----


@pytest.mark.parametrize("name", ["training.pt", "model.safetensors", "state.json"])
@pytest.mark.parametrize("how", ["cut", "gone", "flipped"])
def test_a_broken_checkpoint_is_said_and_the_one_before_is_used(
    run: Path, finished, name: str, how: str
) -> None:
    path = run / "checkpoints/step-00000020" / name
    data = bytearray(path.read_bytes())
    if how == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif how == "gone":
        path.unlink()
    else:
        data[len(data) // 2] ^= 255
        path.write_bytes(data)
    warnings: list[str] = []
    begun: list[int] = []
    found = train_config(CONFIG, run, events=Events(begin=begun.append, warn=warnings.append))
    assert begun == [18] and found.model.digest == finished[1].model.digest
    if how != "gone":
        (warning,) = warnings
        assert warning.startswith("step-00000020 is left out, it is not whole: ")
        assert "\n" not in warning
    assert resumable(run) == [18, 20], "the broken one is written again"


def test_with_nothing_whole_left_it_begins_anew(run: Path, finished) -> None:
    for step in resumable(run):
        (run / f"checkpoints/step-{step:08d}/training.pt").write_bytes(b"")
    begun: list[int] = []
    found = train_config(CONFIG, run, events=Events(begin=begun.append))
    assert begun == [0] and found.model.digest == finished[1].model.digest
    assert found.curve.training() == finished[1].curve.training()


def test_a_line_that_was_cut_off_is_dropped(run: Path, finished) -> None:
    with (run / "curve.jsonl").open("a") as file:
        file.write('{"step": 21, "lo')
    assert train_config(CONFIG, run).curve.entries == finished[1].curve.entries


def test_a_full_disk_is_said_in_a_sentence_and_nothing_is_lost(tmp_path: Path, finished) -> None:
    """No file may grow beyond a few bytes, which is how a full disk looks to a writer."""
    folder = tmp_path / "run"
    stopped(folder, 8)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (9_000, limits[1]))
    try:
        with pytest.raises(CheckpointError) as said:
            train_config(CONFIG, folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    message = str(said.value)
    assert "step-00000012 could not be written" in message and "\n" not in message
    assert "The run goes on from step 8 when there is room" in message
    for path, data in before.items():
        assert path.name == "curve.jsonl" or path.read_bytes() == data
    assert not [path for path in folder.rglob(".*")]
    assert train_config(CONFIG, folder).model.digest == finished[1].model.digest


@pytest.mark.parametrize(
    "fault", [OSError(28, "No space left on device"), RuntimeError("PytorchStreamWriter failed")]
)
def test_every_writers_fault_is_one_sentence(tmp_path: Path, monkeypatch, fault) -> None:
    def fail(*rest, **options):
        raise fault

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(CheckpointError, match="could not be written.*The run begins anew when"):
        train_config(CONFIG.replace(log_spaced=0), tmp_path / "run")


# ---- another run's folder ----


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        (
            {"seed": 5, "learning_rate": 0.5},
            ["train.learning_rate", "train.seed (0 there, 5 here)"],
        ),
        ({"d_model": 8}, ["model.d_model (16 there, 8 here)"]),
        ({"n_tokens": 11}, ["data.n_tokens (9 there, 11 here)"]),
    ],
)
def test_other_settings_are_refused_by_name(run: Path, changes, fields: list[str]) -> None:
    with pytest.raises(CheckpointError, match="was made with other settings") as said:
        train_config(CONFIG.replace(**changes), run)
    assert all(field in str(said.value) for field in fields)
    assert "another folder" in str(said.value)


def test_what_changes_no_weight_may_be_chosen_anew(tmp_path: Path, finished) -> None:
    stopped(tmp_path / "run", 8)
    other = CONFIG.replace(checkpoint_every=5, evaluate_every=3, log_spaced=0, model_every=10)
    found = train_config(other, tmp_path / "run")
    assert found.model.digest == finished[1].model.digest


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("Dear Sir")
    with pytest.raises(FileExistsError, match="something else than a training run"):
        train_config(CONFIG, tmp_path)
    with pytest.raises(FileExistsError, match="is a file"):
        train_config(CONFIG, tmp_path / "letter.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


# ---- what is kept ----


def test_models_are_kept_by_the_schedule_and_states_of_the_last_two(finished) -> None:
    folder, _ = finished
    assert [saved.step for saved in checkpoints(folder)] == [0, 1, 3, 7, 18, 20]
    assert resumable(folder) == [18, 20]
    assert checkpoints(folder / "checkpoints") == checkpoints(folder)


def test_a_kept_model_is_the_one_of_its_step(finished) -> None:
    folder, found = finished
    first, *_, last = checkpoints(folder)
    fresh = ca.HookedTransformer(found.model.cfg, seed=0)
    load = ca.HookedTransformer.from_pretrained_no_processing
    assert load(first.path).digest == fresh.digest
    assert load(last.path).digest == load(folder).digest == found.model.digest
    tokens = torch.tensor([[0, 4, 5, 4]])
    torch.testing.assert_close(
        last.model()(tokens).log_softmax(-1), found.model(tokens).log_softmax(-1)
    )
    assert last.model().tokenizer.encode("t3") == [6]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="folder of a training run"):
        checkpoints(tmp_path / "nothing")


def test_golden_schedules() -> None:
    assert log_spaced(5, 1000) == [1, 6, 32, 178, 1000]
    assert log_spaced(20, 10) == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
    assert (log_spaced(1, 9), log_spaced(0, 9), log_spaced(3, 0)) == ([9], [], [])
    assert sorted(kept_steps(KeepSettings(model_every=4), 10)) == [0, 4, 8, 10]
    assert kept_steps(KeepSettings(), 10) == frozenset()
