"""Repeated random tokens: what repeats, what is changed, models without a tokenizer."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cutaway.model.config import ModelConfig
from cutaway.model.transformer import HookedTransformer
from cutaway.tasks import Task, TaskError, repeated_tokens
from rule_model import RuleModel

CORRUPTIONS = ("other-first-half", "other-answer", "shuffle")


def bare(d_vocab: int = 40, n_ctx: int = 32) -> HookedTransformer:
    cfg = ModelConfig(n_layers=1, d_model=8, n_heads=2, d_head=4, d_vocab=d_vocab, n_ctx=n_ctx)
    return HookedTransformer(cfg, seed=0)


MODEL = bare()


def halves(task: Task, i: int, length: int) -> tuple[list[int], list[int], list[int]]:
    """The first half of the clean and of the corrupted prompt, and the second half of both."""
    start, end = task.n_before, int(task.lengths[i])
    clean, corrupted = task.clean[i, :end].tolist(), task.corrupted[i, :end].tolist()
    assert clean[:start] == corrupted[:start]
    assert clean[start + length :] == corrupted[start + length :]
    return (
        clean[start : start + length],
        corrupted[start : start + length],
        clean[start + length :],
    )


@given(
    corruption=st.sampled_from(CORRUPTIONS),
    seed=st.integers(0, 1000),
    length=st.integers(3, 9),
    bos=st.sampled_from([None, 0]),
)
def test_what_repeats_and_what_changes(
    corruption: str, seed: int, length: int, bos: int | None
) -> None:
    n = 2 * length
    task = repeated_tokens(MODEL, n, corruption, seed, half_length=length, bos_token=bos)
    assert task.n_before == (bos is not None)
    for i in range(n):
        half, changed, second = halves(task, i, length)
        k = len(second)
        assert 1 <= k < length and second == half[:k] and task.group[i] == f"k={k}"
        assert len(set(half)) == len(set(changed)) == length
        assert int(task.correct[i]) == half[k] and int(task.wrong[i]) == changed[k] != half[k]
        first = int(task.positions["FIRST"][i])
        assert task.clean[i, first] == task.clean[i, task.positions["END"][i]] == half[k - 1]
        assert task.clean[i, task.positions["FIRST+1"][i]] == task.correct[i]
        assert task.corrupted[i, task.positions["FIRST+1"][i]] == task.wrong[i]
        if corruption == "other-first-half":
            assert not set(half) & set(changed)
        elif corruption == "other-answer":
            assert [a == b for a, b in zip(half, changed, strict=True)].count(False) == 1
            assert changed[k] not in half
        else:
            assert sorted(half) == sorted(changed) and changed[k - 1] == half[k - 1]
        if bos is not None:
            assert bos not in half + changed


def copy_logits(task: Task, tokens: torch.Tensor, d_vocab: int) -> torch.Tensor:
    """The logits of a perfect induction head: 1 for what followed the last token's first copy."""
    logits = torch.zeros(*tokens.shape, d_vocab)
    for i, row in enumerate(tokens.tolist()):
        end = int(task.positions["END"][i])
        for j in range(end):
            if row[j] == row[end]:
                logits[i, end, row[j + 1]] = 1.0
    return logits


def test_a_perfect_copy_scores_one_and_the_corruptions_undo_it() -> None:
    expected = {"other-first-half": 0.0, "other-answer": -1.0, "shuffle": -1.0}
    for corruption, value in expected.items():
        task = repeated_tokens(MODEL, 22, corruption)
        for tokens, wanted in ((task.clean, 1.0), (task.corrupted, value)):
            logits = copy_logits(task, tokens, 40)
            assert task.metric(task.metric.read(logits)).tolist() == [wanted] * 22


def test_the_places_of_the_answer_take_turns() -> None:
    task = repeated_tokens(MODEL, 22, half_length=12)
    counts = {group: task.group.count(group) for group in task.group}
    assert counts == {f"k={k}": 2 for k in range(1, 12)}
    fixed = repeated_tokens(MODEL, 8, half_length=12, n_repeated=4)
    assert set(fixed.group) == {"k=4"} and fixed.lengths.tolist() == [16] * 8


def test_tokens_come_from_the_vocabulary_and_are_not_special() -> None:
    task = repeated_tokens(MODEL, 20, half_length=5, vocabulary=range(7, 20))
    assert set(task.clean.unique().tolist()) <= {0, *range(7, 20)}  # 0 pads
    mini = RuleModel()
    task = repeated_tokens(mini, 60)
    assert set(task.clean[:, 0].tolist()) == {mini.tokenizer.bos_token_id}
    for i in range(60):
        half, changed, _ = halves(task, i, 12)
        assert min(half + changed) > 2  # 0 to 2 are the special tokens of ioi-mini


def test_texts_are_given_only_where_they_read_back() -> None:
    mini = RuleModel()
    task = repeated_tokens(mini, 4, vocabulary=[mini.tokenizer.single(" the"), *range(100, 140)])
    for text, row, n in zip(
        task.clean_text, task.clean.tolist(), task.lengths.tolist(), strict=True
    ):
        assert mini.tokenizer.encode(text) == row[1:n]
    assert mini.tokenizer.single(task.answer_text[0]) == int(task.correct[0])
    nameless = repeated_tokens(MODEL, 4)
    assert nameless.clean_text == ("",) * 4
    with pytest.raises(TaskError, match="has no text, so that it cannot be saved"):
        nameless.save("nowhere.jsonl")


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ({"half_length": 2}, "half_length=2 is too short"),
        ({"half_length": 17}, "makes up to 33 tokens, but the context of .* is 32"),
        ({"half_length": 12, "vocabulary": range(23)}, "23 tokens to draw from, .* need 24"),
        ({"vocabulary": [1, 40]}, "vocabulary holds 40, but .* has tokens 0 to 39"),
        ({"n_repeated": 12}, "n_repeated=12 is not from 1 to 11"),
        ({"n_repeated": 0}, "n_repeated=0 is not from 1 to 11"),
        ({"bos_token": 40}, "bos_token=40 is not from 0 to 39"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, object], fault: str) -> None:
    with pytest.raises(TaskError, match=fault):
        repeated_tokens(MODEL, 4, **arguments)  # type: ignore[arg-type]


def test_a_golden_prompt() -> None:
    task = repeated_tokens(MODEL, 1, seed=1, half_length=4, n_repeated=2)
    assert task.clean.tolist() == [[34, 15, 1, 37, 34, 15]]
    assert task.corrupted.tolist() == [[32, 5, 26, 17, 34, 15]]
