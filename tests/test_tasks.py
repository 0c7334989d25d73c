"""Tasks and metrics: own prompts, their faults, saving, subsets, baselines."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from cutaway.evidence import proportion
from cutaway.model.tokenizer import Tokenizer
from cutaway.tasks import (
    LogitDifference,
    LogProbability,
    ProbabilityDifference,
    Task,
    TaskError,
    ioi,
)
from rule_model import RuleModel

ROW: dict[str, Any] = {
    "clean": "When John and Mary went to the store, John gave a drink to",
    "corrupted": "When John and Mary went to the store, Mary gave a drink to",
    "answer": " Mary",
    "wrong": " John",
}
SHORT: dict[str, Any] = {
    "clean": "Tom gave a book to",
    "corrupted": "Bob gave a book to",
    "answer": " Bob",
    "wrong": " Tom",
}


@pytest.fixture(scope="module")
def model() -> RuleModel:
    return RuleModel()


def write(path: Path, *rows: Any) -> Path:
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("\n".join(lines) + "\n")
    return path


# --- prompts of one's own


def test_rows_become_a_task(model: RuleModel) -> None:
    task = Task.from_prompts(model, [{**ROW, "positions": {"S2": 9}, "group": "x"}])
    assert len(task) == 1
    assert list(task.positions) == ["S2", "END"]
    assert task.positions["END"].tolist() == [14]
    assert model.tokenizer.token(int(task.clean[0, 10])) == " John"
    assert model.tokenizer.token(int(task.corrupted[0, 10])) == " Mary"
    assert task.first_difference.tolist() == [10]
    assert task.clean[0, 0] == model.tokenizer.bos_token_id
    assert task.group == ("x",)
    assert isinstance(task.metric, LogitDifference)


def test_bos_is_left_out_where_the_model_wants_none() -> None:
    task = Task.from_prompts(RuleModel(prepend_bos=False), [ROW])
    assert task.lengths.tolist() == [14]
    assert task.first_difference.tolist() == [9]


def test_short_prompts_are_padded_on_the_right(model: RuleModel) -> None:
    task = Task.from_prompts(model, [SHORT, ROW])
    assert task.clean.shape == (2, 15)
    assert task.lengths.tolist() == [6, 15]
    assert set(task.clean[0, 6:].tolist()) == {model.tokenizer.pad_token_id}
    assert torch.equal(task.clean[0, 6:], task.corrupted[0, 6:])


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"answer": None}, "field 'answer' must be a text, it is None"),
        ({"clean": ""}, "field 'clean' must be a text"),
        ({"answr": " Mary"}, "field 'answr' is unknown; the fields are clean"),
        ({"answer": " Mary John"}, "field 'answer': ' Mary John' is not a single token"),
        ({"answer": " Zork"}, "field 'answer': .*outside the vocabulary: Zork"),
        ({"wrong": " Mary"}, "field 'wrong': ' Mary' is the answer itself"),
        ({"corrupted": ROW["clean"]}, "field 'corrupted': the same text as 'clean'"),
        ({"corrupted": ROW["clean"] + " the"}, "field 'corrupted': 15 tokens, but 'clean' has 14"),
        ({"clean": "Zork met Quux"}, "field 'clean': not in the vocabulary: Zork, Quux"),
        ({"positions": {"S2": 14}}, "field 'positions': S2=14 is outside 0 to 13, the tokens"),
        (
            {"positions": {"END": 12}},
            "field 'positions': END=12 is not the last token of 'clean', 13",
        ),
        ({"positions": {"END": 14}}, "field 'positions': END=14 is outside 0 to 13"),
        ({"positions": {"S2": -1}}, "field 'positions': S2=-1 is outside"),
        ({"positions": {"S2": "10"}}, "field 'positions': S2 must be a whole number, it is '10'"),
        ({"positions": {"S2": True}}, "field 'positions': S2 must be a whole number"),
        ({"positions": [10]}, "field 'positions' must be an object"),
        ({"group": 3}, "field 'group' must be a text"),
    ],
)
def test_a_fault_is_named_with_its_line_and_field(
    model: RuleModel, tmp_path: Path, change: dict[str, Any], fault: str
) -> None:
    path = write(tmp_path / "prompts.jsonl", ROW, "", {**ROW, **change})
    with pytest.raises(TaskError, match=f"(?s)prompts.jsonl.*line 3: {fault}"):
        Task.load(path, model)
    with pytest.raises(TaskError, match=f"prompt 1: {fault}"):
        Task.from_prompts(model, [ROW, {**ROW, **change}])


def test_all_faults_are_named_at_once(model: RuleModel) -> None:
    rows = [{"clean": "When"}, {**ROW, "answer": " Zork", "wrong": "drink"}]
    with pytest.raises(TaskError) as error:
        Task.from_prompts(model, rows)
    for part in (
        "prompt 0: field 'corrupted' is missing",
        "prompt 0: field 'answer' is missing",
        "prompt 1: field 'answer'",
        "prompt 1: field 'wrong': 'drink' is not a single token",
    ):
        assert part in str(error.value)


def test_a_hundred_faults_are_not_all_shown(model: RuleModel) -> None:
    with pytest.raises(TaskError, match="and 80 more$"):
        Task.from_prompts(model, [{**ROW, "wrong": " Mary"}] * 100)


def test_every_prompt_needs_the_same_positions(model: RuleModel) -> None:
    rows = [{**ROW, "positions": {"S2": 9}}, ROW]
    with pytest.raises(TaskError, match="prompt 1: field 'positions': S2 is missing here"):
        Task.from_prompts(model, rows)


def test_lines_that_are_not_objects(model: RuleModel, tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", ROW, "{not json", "[1")
    with pytest.raises(TaskError, match=r"(?s)line 2: not valid JSON.*line 3: not valid JSON"):
        Task.load(path, model)
    with pytest.raises(TaskError, match="line 1: a JSON object is needed, this is list"):
        Task.load(write(tmp_path / "b.jsonl", "[1, 2]"), model)
    with pytest.raises(TaskError, match="holds no prompts"):
        Task.load(write(tmp_path / "c.jsonl", ""), model)
    with pytest.raises(FileNotFoundError, match=r"d\.jsonl does not exist"):
        Task.load(tmp_path / "d.jsonl", model)


def test_prompts_longer_than_the_context() -> None:
    with pytest.raises(
        TaskError, match="field 'clean': 15 tokens with BOS, but the model's context is 10"
    ):
        Task.from_prompts(RuleModel(n_ctx=10), [ROW])


def test_a_tokenizer_without_bos_is_an_error_and_not_a_prompt_without_it() -> None:
    nameless = RuleModel()
    nameless.tokenizer.bos_token = None
    for make in (lambda: Task.from_prompts(nameless, [ROW]), lambda: ioi(nameless, 4)):
        with pytest.raises(ValueError, match="no BOS token.*default_prepend_bos = False"):
            make()
    nameless.cfg.default_prepend_bos = False
    assert Task.from_prompts(nameless, [ROW]).lengths.tolist() == [14]


def test_a_model_without_a_tokenizer(model: RuleModel) -> None:
    bare = RuleModel()
    bare.tokenizer = None  # type: ignore[assignment]
    with pytest.raises(TaskError, match="rule has no tokenizer"):
        Task.from_prompts(bare, [ROW])


# --- saving, subsets


def test_what_is_saved_comes_back(model: RuleModel, tmp_path: Path) -> None:
    task = ioi(model, n_prompts=12, seed=3)
    task.save(tmp_path / "task.jsonl")
    again = Task.load(tmp_path / "task.jsonl", model)
    for name in ("clean", "corrupted", "lengths", "correct", "wrong"):
        assert torch.equal(getattr(again, name), getattr(task, name)), name
    assert list(again.positions) == list(task.positions)
    assert all(torch.equal(again.positions[k], v) for k, v in task.positions.items())
    assert (again.clean_text, again.group) == (task.clean_text, task.group)
    assert again.answer_text == task.answer_text


@pytest.mark.parametrize("saved_with_bos", [True, False])
def test_a_file_means_the_same_with_bos_and_without(tmp_path: Path, saved_with_bos: bool) -> None:
    models = {bos: RuleModel(prepend_bos=bos) for bos in (True, False)}
    path = tmp_path / "task.jsonl"
    ioi(models[saved_with_bos], n_prompts=8).save(path)
    row = json.loads(path.read_text().splitlines()[0])
    assert set(row["positions"]) == {"IO", "S1", "S1+1", "S2"}
    for bos, model in models.items():
        loaded, made = Task.load(path, model), ioi(model, n_prompts=8)
        assert loaded.n_before == made.n_before == int(bos)
        assert torch.equal(loaded.clean, made.clean)
        assert all(torch.equal(loaded.positions[k], v) for k, v in made.positions.items())
        assert set(loaded.baseline(model).clean_values) == {1.0}


def test_a_given_end_is_taken_where_it_is_the_last_token(model: RuleModel) -> None:
    task = Task.from_prompts(model, [{**ROW, "positions": {"END": 13, "S2": 9}}])
    assert {name: int(index[0]) for name, index in task.positions.items()} == {"S2": 10, "END": 14}


@pytest.mark.parametrize(
    ("positions", "fault"),
    [
        ({"END": 13}, "in prompt 1 END=13 is not the last token"),
        ({"S2": 0}, "in prompt 1 S2=0 is not a token of the text"),
    ],
)
def test_positions_that_a_file_cannot_hold_are_not_saved(
    model: RuleModel, tmp_path: Path, positions: dict[str, int], fault: str
) -> None:
    task = Task.from_prompts(model, [{**ROW, "positions": {"S2": 9}}] * 2)
    moved = {
        k: torch.tensor([int(v[0]), positions.get(k, int(v[1]))]) for k, v in task.positions.items()
    }
    with pytest.raises(TaskError, match=fault):
        dataclasses.replace(task, positions=moved).save(tmp_path / "task.jsonl")
    assert not list(tmp_path.iterdir())


def padded_on_the_left(task: Task) -> Task:
    """The same prompts with their padding moved to the front."""
    moved = task.clean.shape[1] - task.lengths

    def roll(tokens: torch.Tensor) -> torch.Tensor:
        return torch.stack([row.roll(int(n)) for row, n in zip(tokens, moved, strict=True)])

    return dataclasses.replace(
        task,
        clean=roll(task.clean),
        corrupted=roll(task.corrupted),
        positions={name: index + moved for name, index in task.positions.items()},
        metric=dataclasses.replace(task.metric, positions=task.metric.positions + moved[:, None]),
    )


def test_a_subset_of_a_task_padded_on_the_left_keeps_its_columns(model: RuleModel) -> None:
    task = padded_on_the_left(Task.from_prompts(model, [ROW, SHORT, SHORT]))
    part = task.subset([2, 1])
    assert part.clean.shape == (2, 15)
    assert torch.equal(part.clean, task.clean[[2, 1]])
    rows = torch.arange(2)
    assert [model.tokenizer.token(int(t)) for t in part.clean[rows, part.positions["END"]]] == [
        " to",
        " to",
    ]
    assert task.subset([0, 1]).clean.shape == (2, 15)


def test_a_subset_keeps_everything_together(model: RuleModel) -> None:
    task = Task.from_prompts(model, [ROW, SHORT, {**SHORT, "group": "last"}])
    part = task.subset([2, 1])
    assert part.clean.shape == (2, 6)
    assert part.clean_text == (SHORT["clean"], SHORT["clean"])
    assert part.group == ("last", "")
    assert torch.equal(part.metric.positions[:, 0], part.positions["END"])
    whole = task.baseline(model).clean_values
    np.testing.assert_array_equal(part.baseline(model).clean_values, whole[[2, 1]])
    with pytest.raises(TaskError, match="no prompts left"):
        task.subset([])


# --- baseline


def test_the_baseline_of_a_model_whose_answer_is_known(model: RuleModel) -> None:
    task = ioi(model, n_prompts=70, corruption="s2-flip")  # more than one chunk
    baseline = task.baseline(model)
    assert baseline.clean_values.tolist() == [1.0] * 70
    assert baseline.corrupted_values.tolist() == [-1.0] * 70
    assert (baseline.clean.low, baseline.clean.high) == pytest.approx((1.0, 1.0))
    assert baseline.accuracy == proportion(70, 70)
    assert baseline.metric == "logit difference"
    assert str(baseline).splitlines()[0] == "clean     1.000 [1.000, 1.000] (95%, n=70)"


def test_the_baseline_of_one_prompt_says_that_it_has_no_interval(model: RuleModel) -> None:
    shown = str(Task.from_prompts(model, [ROW]).baseline(model)).splitlines()
    assert shown[0] == "clean     1.000 (one prompt: no interval)"
    assert shown[2].endswith("(95%, n=1)")


def test_accuracy_counts_prompts_where_the_answer_is_ahead(model: RuleModel) -> None:
    wrong_way_round = {**ROW, "answer": " John", "wrong": " Mary"}
    baseline = Task.from_prompts(model, [ROW, ROW, wrong_way_round]).baseline(model)
    assert baseline.correct.tolist() == [True, True, False]
    assert baseline.accuracy.estimate == pytest.approx(2 / 3)


# --- metrics


def logits_and_answers() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 7, 11, generator=generator)
    positions, correct, wrong = torch.randint(0, 7, (3, 4), generator=generator)
    return logits, positions, correct, wrong


@pytest.mark.parametrize("kind", [LogitDifference, ProbabilityDifference, LogProbability])
def test_a_metric_is_what_its_formula_says(kind: type) -> None:
    logits, positions, correct, wrong = logits_and_answers()
    metric = kind.at(positions, correct, wrong)
    found = metric(metric.read(logits))
    for i in range(4):
        row = logits[i, positions[i]]
        expected = {
            LogitDifference: row[correct[i]] - row[wrong[i]],
            ProbabilityDifference: row.softmax(0)[correct[i]] - row.softmax(0)[wrong[i]],
            LogProbability: row.log_softmax(0)[correct[i]],
        }[kind]
        torch.testing.assert_close(found[i], expected)


@pytest.mark.parametrize("kind", [LogitDifference, ProbabilityDifference, LogProbability])
def test_a_metric_takes_any_leading_dimensions_and_subsets(kind: type) -> None:
    logits, positions, correct, wrong = logits_and_answers()
    metric = kind.at(positions, correct, wrong)
    read = metric.read(logits)
    stacked = torch.stack([read, 2 * read]).expand(3, 2, *read.shape)
    torch.testing.assert_close(metric(stacked)[1, 1], metric(2 * read))
    chosen = torch.tensor([3, 1])
    part = metric.subset(chosen)
    torch.testing.assert_close(part(part.read(logits[chosen])), metric(read)[chosen])
    assert metric.to("cpu").name == metric.name


def test_several_tokens_and_reads_are_averaged() -> None:
    logits = torch.zeros(1, 3, 6)
    logits[0, 1, 2], logits[0, 1, 3], logits[0, 2, 4] = 4.0, 2.0, 1.0
    correct, wrong = torch.tensor([[2, 3]]), torch.tensor([[4]])
    once = LogitDifference(torch.tensor([[1]]), correct, wrong)
    assert once(once.read(logits)).tolist() == [3.0]
    twice = LogitDifference(torch.tensor([[1, 2]]), correct, wrong)
    assert twice(twice.read(logits)).tolist() == [1.0]  # the mean of 3 and -1


def test_a_metric_whose_shapes_do_not_fit() -> None:
    # Not through the constructor: while testing, jaxtyping's checks would object first.
    fields = {"positions": torch.zeros(2, 1), "correct": torch.zeros(3, 1), "wrong": torch.ones(3)}
    with pytest.raises(ValueError, match=r"\(2, 1\), \(3, 1\), \(3,\)"):
        LogitDifference.__post_init__(SimpleNamespace(**fields))  # type: ignore[arg-type]


def test_gpt2s_tokens(shared: Path) -> None:
    tokenizer = Tokenizer.from_file(shared / "models" / "gpt2-tokenizer" / "tokenizer.json")
    gpt2 = RuleModel(tokenizer, n_ctx=1024)
    task = Task.from_prompts(gpt2, [ROW])
    assert task.clean[0, 0] == 50256
    assert task.baseline(gpt2).clean.estimate == 1.0
    with pytest.raises(TaskError, match="field 'answer': ' Zachary' is not a single token"):
        Task.from_prompts(gpt2, [{**ROW, "answer": " Zachary"}])
