"""The tasks in words beside IOI: tokens, corruptions, determinism, metrics, sweeps, errors."""

from __future__ import annotations

import importlib
import inspect
from collections import Counter
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import tokenizers
import torch

import cutaway as ca
from cutaway.experiments.measurements.run import run_measurement
from cutaway.experiments.measurements.settings import PatchSettings
from cutaway.model.config import ModelConfig
from cutaway.model.tokenizer import Tokenizer
from cutaway.tasks import (
    TASKS,
    LogitMargin,
    ProbabilityDifferenceOfSets,
    Task,
    TaskError,
    docstring,
    gendered_pronoun,
    greater_than,
    subject_verb_agreement,
)
from oracles import sweep_by_hooks
from rule_model import RuleModel

IN_WORDS = [name for name in TASKS if name != "repeated-tokens"]
# What each corruption changes, as named positions.
CHANGED = {
    ("greater-than", "01"): ("YY",),
    ("greater-than", "other-year"): ("YY",),
    ("docstring", "random-def"): ("A_def", "B_def", "C_def", "D_def"),
    ("docstring", "random-doc"): ("A_doc", "B_doc"),
    ("docstring", "random-answer"): ("C_def",),
    ("docstring", "other-function"): ("A_def", "B_def", "C_def", "D_def", "A_doc", "B_doc"),
    ("gendered-pronoun", "gender"): ("SUBJECT",),
    ("gendered-pronoun", "neutral"): ("SUBJECT",),
    ("country-capital", "other-country"): ("COUNTRY",),
    ("subject-verb-agreement", "number"): ("SUBJECT",),
    ("subject-verb-agreement", "both-numbers"): ("SUBJECT", "ATTRACTOR"),
}
N = 48


@pytest.fixture(scope="module")
def gpt2(shared: Path) -> Tokenizer:
    return Tokenizer.from_file(shared / "models" / "gpt2-tokenizer" / "tokenizer.json")


@pytest.fixture(scope="module")
def model(gpt2: Tokenizer) -> ca.HookedTransformer:
    cfg = ModelConfig(
        n_layers=1,
        d_model=8,
        n_heads=2,
        d_head=4,
        d_mlp=8,
        d_vocab=50257,
        n_ctx=64,
        unembed_bias=True,
        init_range=0.4,
    )
    model = ca.HookedTransformer(cfg, tokenizer=gpt2, seed=0)
    model.unembed.W_U.data.mul_(4)
    numbers = [gpt2.single(f"{number:02d}") for number in range(100)]
    model.unembed.b_U.data[numbers] += 8  # years are likely, so that their probabilities move
    return model


def at(task: Task, tokens: torch.Tensor, name: str) -> torch.Tensor:
    return tokens[torch.arange(len(task)), task.positions[name]]


def words_at(model: ca.HookedTransformer, task: Task, tokens: torch.Tensor, name: str) -> list[str]:
    return [model.tokenizer.token(int(token)) for token in at(task, tokens, name)]


# --- all of them


def test_the_registry_says_what_the_functions_say() -> None:
    for name, factory in TASKS.items():
        module = importlib.import_module(f"cutaway.tasks.{factory.make.__name__}")
        assert factory.name == name == factory.make.__name__.replace("_", "-")
        assert factory.corruptions == get_args(module.Corruption)
        parameters = inspect.signature(factory.make).parameters
        assert list(parameters)[:4] == ["model", "n_prompts", "corruption", "seed"]
        assert parameters["corruption"].default == factory.corruptions[0] == factory.corruption()
    assert {name for name, _ in CHANGED} == set(IN_WORDS) - {"ioi"}
    assert all({c for n, c in CHANGED if n == k} == set(TASKS[k].corruptions) for k, _ in CHANGED)
    with pytest.raises(TaskError, match="corruption='abc' is not one of 01, .* of greater-than"):
        TASKS["greater-than"].corruption("abc")


@pytest.mark.parametrize(("name", "corruption"), CHANGED)
def test_a_corruption_changes_its_positions_and_no_others(
    model: ca.HookedTransformer, name: str, corruption: str
) -> None:
    task = TASKS[name](model, N, corruption, seed=2)
    expected = torch.zeros_like(task.clean, dtype=torch.bool)
    for position in CHANGED[name, corruption]:
        expected[torch.arange(N), task.positions[position]] = True
    assert torch.equal(task.clean != task.corrupted, expected)
    assert torch.equal(task.positions["END"], task.lengths - 1)


@pytest.mark.parametrize("name", IN_WORDS)
def test_texts_answers_and_groups_fit_the_tokens(model: ca.HookedTransformer, name: str) -> None:
    task = TASKS[name](model, N)
    for i in range(N):
        for texts, tokens in ((task.clean_text, task.clean), (task.corrupted_text, task.corrupted)):
            own = tokens[i, 1 : int(task.lengths[i])].tolist()
            assert model.tokenizer.encode(texts[i]) == own
        assert model.tokenizer.encode(task.answer_text[i]) == [int(task.correct[i])]
        assert model.tokenizer.encode(task.wrong_text[i]) == [int(task.wrong[i])]
        assert task.answer_text[i] != task.wrong_text[i]
    of_group: dict[str, set[int]] = {}
    for group, length in zip(task.group, task.lengths.tolist(), strict=True):
        of_group.setdefault(group, set()).add(length)
    assert all(len(lengths) == 1 for lengths in of_group.values())  # so a mean means something
    counts = Counter(task.group).values()
    assert len(of_group) > 1 and min(counts) > 1


@pytest.mark.parametrize("name", [name for name in TASKS if name != "ioi"])
def test_the_seed_decides_and_the_corruption_does_not(
    model: ca.HookedTransformer, name: str
) -> None:
    factory = TASKS[name]
    clean = [factory(model, 20, corruption, 5).clean for corruption in factory.corruptions]
    assert all(torch.equal(one, clean[0]) for one in clean)
    first, again, other = (factory(model, 20, None, seed) for seed in (5, 5, 6))
    assert torch.equal(first.corrupted, again.corrupted)
    assert first.clean.shape != other.clean.shape or not torch.equal(first.clean, other.clean)
    settings = dict(first.settings)
    assert settings.pop("task") == first.name == name
    assert torch.equal(factory.make(model, **settings).corrupted, first.corrupted)


@pytest.mark.parametrize("name", TASKS)
def test_baseline_subset_and_sweep(model: ca.HookedTransformer, name: str) -> None:
    task = TASKS[name](model, 6)
    baseline = task.baseline(model)
    part = task.subset([4, 1])
    np.testing.assert_allclose(
        part.baseline(model).clean_values, baseline.clean_values[[4, 1]], atol=1e-6
    )
    effects = ca.sweep(model, task, "z", positions="named")
    named = list(task.positions)
    oracle = sweep_by_hooks(model, task, "z", "denoising", named).reshape(effects.patched.shape)
    size = np.abs(oracle - baseline.corrupted_values).max()
    assert size > 1e-3  # there is something to be equal
    np.testing.assert_allclose(effects.patched, oracle, atol=1e-3 * size)


@pytest.mark.parametrize("name", [name for name in TASKS if name != "ioi"])
def test_the_command_line_names_tasks(
    model: ca.HookedTransformer, name: str, tmp_path: Path
) -> None:
    model.save_pretrained(tmp_path / "model")
    corruption = TASKS[name].corruptions[-1]
    settings = PatchSettings(
        model=str(tmp_path / "model"),
        task=name,
        n_prompts=4,
        corruption=corruption,
        out=tmp_path / "runs",
    )
    run = ca.load_run(run_measurement(settings).folder)
    expected = ca.sweep(model, TASKS[name](model, 4, corruption), "z")
    saved = ca.Effects.load(run.path / "effects" / "patch.safetensors")
    np.testing.assert_allclose(saved.patched, expected.patched, atol=1e-5)
    report = run.report.read_text()
    assert name in report and corruption in report and run.record["model"]["name"]


@pytest.mark.parametrize("name", [name for name in IN_WORDS if name != "ioi"])
def test_a_tokenizer_without_the_words_is_one_sentence(name: str) -> None:
    with pytest.raises(
        TaskError, match="take a model whose vocabulary holds them, such as gpt2"
    ) as e:
        TASKS[name](RuleModel())
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("name", [name for name in TASKS if name != "ioi"])
def test_bad_arguments_are_named(model: ca.HookedTransformer, name: str) -> None:
    with pytest.raises(TaskError, match="corruption='x' is not one of"):
        TASKS[name].make(model, 4, "x")
    with pytest.raises(TaskError, match="n_prompts=0"):
        TASKS[name](model, 0)
    short = RuleModel(model.tokenizer, n_ctx=4)
    with pytest.raises(TaskError, match="but the context of rule is 4"):
        TASKS[name](short)


def test_how_many_words_gpt2_holds(gpt2: Tokenizer) -> None:
    """The numbers of docs/methods/tasks.md."""
    task = importlib.import_module("cutaway.tasks.greater_than")
    years = task._years(gpt2, task.CENTURIES)
    assert sum(map(len, years.values())) == 696
    capitals = importlib.import_module("cutaway.tasks.country_capital").CAPITALS
    kept = [all(gpt2.is_single(f" {word}") for word in pair) for pair in capitals]
    assert (sum(kept), len(kept), len(set(capitals))) == (38, 63, 63)
    listed = importlib.import_module("cutaway.tasks.docstring_words")
    pronouns = importlib.import_module("cutaway.tasks.gendered_pronoun")
    nouns = importlib.import_module("cutaway.tasks.subject_verb_agreement").NOUNS
    flat = [word for pairs in (pronouns.NOUNS, pronouns.NAMES, nouns) for p in pairs for word in p]
    flat += [*pronouns.NEUTRAL_NOUNS, *pronouns.NEUTRAL_NAMES, *task.EVENTS]
    flat += [*listed.FUNCTIONS, *listed.ARGUMENTS, *listed.DESCRIPTIONS]
    assert [word for word in flat if not gpt2.is_single(f" {word}")] == []
    assert all(len(set(w)) == len(w) for w in (listed.FUNCTIONS, listed.ARGUMENTS, nouns))


# --- greater-than


def test_years_are_two_tokens_with_years_on_both_sides(model: ca.HookedTransformer) -> None:
    task = greater_than(model, 200)
    start, digits, end = (words_at(model, task, task.clean, p) for p in ("XX1", "YY", "XX2"))
    assert start == end == words_at(model, task, task.clean, "END")
    assert set(start) == {f" {xx}" for xx in range(11, 19)}  # no year of 19.. is split in GPT-2
    assert all(2 <= int(yy) <= 98 for yy in digits)
    assert [int(a) - 1 for a in task.answer_text] == [int(yy) for yy in digits]
    assert set(words_at(model, task, task.corrupted, "YY")) == {"01"}
    other = greater_than(model, 200, "other-year")
    changed = words_at(model, other, other.corrupted, "YY")
    assert all(a != b for a, b in zip(changed, digits, strict=True)) and len(set(changed)) > 50


def test_the_probability_difference_is_that_of_all_years(model: ca.HookedTransformer) -> None:
    task = greater_than(model, 7)
    logits = torch.randn(7, task.clean.shape[1], 50257, generator=torch.Generator().manual_seed(0))
    found = task.metric(task.metric.read(logits * 3))
    uniform = task.metric(task.metric.read(torch.zeros_like(logits)))
    for i, yy in enumerate(words_at(model, task, task.clean, "YY")):
        p = (logits[i, int(task.lengths[i]) - 1] * 3).double().softmax(0)
        expected = 0.0
        for year in range(100):
            (token,) = model.tokenizer.encode(f"{year:02d}")
            expected += float(p[token]) * (1 if year > int(yy) else -1)
        assert float(found[i]) == pytest.approx(expected, abs=1e-6)
        assert float(uniform[i]) == pytest.approx((98 - 2 * int(yy)) / 50257, abs=1e-6)
    certain = torch.full((7, task.clean.shape[1], 50257), -40.0)
    rows = torch.arange(7)
    certain[rows, task.positions["END"], task.correct] = 40.0
    assert task.metric(task.metric.read(certain)).tolist() == pytest.approx([1.0] * 7)
    certain[rows, task.positions["END"], task.wrong] = 80.0
    assert task.metric(task.metric.read(certain)).tolist() == pytest.approx([-1.0] * 7)


def test_accuracy_counts_the_sign_of_the_probability_difference(
    model: ca.HookedTransformer,
) -> None:
    baseline = greater_than(model, 40).baseline(model)
    np.testing.assert_array_equal(baseline.correct, baseline.clean_values > 0)
    assert 0 < baseline.correct.sum() < 40


def test_centuries_can_be_chosen(model: ca.HookedTransformer) -> None:
    task = greater_than(model, 20, centuries=[16, 19])
    assert set(words_at(model, task, task.clean, "XX1")) == {" 16"}
    for centuries, fault in (([19], "only 0 of their years"), ([], "only 0"), ([7], "7 is not")):
        with pytest.raises(TaskError, match=fault):
            greater_than(model, 4, centuries=centuries)


def word_level(words: list[str]) -> Tokenizer:
    """A tokenizer of whole words, as that of `ioi-mini`."""
    ids = {word: i for i, word in enumerate(["<|bos|>", "<|unk|>", ",", ".", *words])}
    backend = tokenizers.Tokenizer(tokenizers.models.WordLevel(ids, unk_token="<|unk|>"))
    split = tokenizers.Regex(r" ?\w+|\W")
    backend.pre_tokenizer = tokenizers.pre_tokenizers.Split(split, behavior="isolated")
    backend.decoder = tokenizers.decoders.Fuse()
    return Tokenizer(backend)


def test_a_tokenizer_that_keeps_years_whole_is_refused() -> None:
    sentence = ["The", " siege", " began", " in", " and", " was", " over", " by", " 17", " 1732"]
    with pytest.raises(TaskError, match="a token for each of 00 to 99 .* none for 00, 01, 02"):
        greater_than(RuleModel(word_level(sentence)))
    numbers = [f"{number:02d}" for number in range(100)]
    with pytest.raises(TaskError, match="only 0 of their years are two tokens"):
        greater_than(RuleModel(word_level(sentence + numbers)))


# --- metrics of sets and margins


def test_sets_of_different_sizes_are_summed_as_they_are() -> None:
    logits = torch.randn(3, 2, 9, generator=torch.Generator().manual_seed(1))
    positions, right, other = torch.tensor([1, 0, 1]), [[0, 1, 2], [5], []], [[3], [6, 7], [0]]
    metric = ProbabilityDifferenceOfSets.of_sets(positions, right, other)
    expected = []
    for i in range(3):
        p = logits[i, positions[i]].softmax(0)
        expected.append(sum(float(p[t]) for t in right[i]) - sum(float(p[t]) for t in other[i]))
    read = metric.read(logits)
    assert metric(read).tolist() == pytest.approx(expected, abs=1e-6)
    part = metric.subset(torch.tensor([2, 0])).to("cpu")
    assert part(part.read(logits[[2, 0]])).tolist() == pytest.approx([expected[2], expected[0]])
    stacked = torch.stack([read, 2 * read])
    torch.testing.assert_close(metric(stacked)[1], metric(2 * read))
    one = ProbabilityDifferenceOfSets.at(positions, torch.tensor([0, 5, 2]), torch.tensor([3] * 3))
    assert one(one.read(logits)).shape == (3,)
    with pytest.raises(ValueError, match="3 positions, 2 correct and 3 wrong sets"):
        ProbabilityDifferenceOfSets.of_sets(positions, right[:2], other)


# --- docstring


def test_the_margin_is_to_the_best_of_the_other_arguments(model: ca.HookedTransformer) -> None:
    task = docstring(model, 6)
    assert isinstance(task.metric, LogitMargin)
    logits = torch.randn(6, task.clean.shape[1], 50257, generator=torch.Generator().manual_seed(0))
    end = logits[torch.arange(6), task.positions["END"]]
    rivals = torch.stack([at(task, task.clean, f"{letter}_def") for letter in "ABD"], dim=1)
    right = end.gather(1, at(task, task.clean, "C_def")[:, None])[:, 0]
    others = end.gather(1, rivals)
    torch.testing.assert_close(task.metric(task.metric.read(logits)), right - others.amax(1))
    mean = docstring(model, 6, rival="mean")
    torch.testing.assert_close(mean.metric(mean.metric.read(logits)), right - others.mean(1))
    assert task.metric(task.metric.read(torch.zeros_like(logits))).tolist() == [0.0] * 6
    baseline = docstring(model, 40).baseline(model)
    np.testing.assert_array_equal(baseline.correct, baseline.clean_values > 0)


def test_the_docstring_repeats_the_def(model: ca.HookedTransformer) -> None:
    task = docstring(model, 30, "other-function")
    for tokens in (task.clean, task.corrupted):
        for letter in "AB":
            assert torch.equal(at(task, tokens, f"{letter}_def"), at(task, tokens, f"{letter}_doc"))
    assert words_at(model, task, task.clean, "C_def") == list(task.answer_text)
    assert words_at(model, task, task.clean, "D_def") == list(task.wrong_text)
    assert set(words_at(model, task, task.clean, "B_def+1")) == {","}
    names = [
        [words_at(model, task, tokens, f"{letter}_def")[0] for letter in "ABCD"]
        for tokens in (task.clean, task.corrupted)
    ]
    assert len({*names[0], *names[1]}) == 8
    with pytest.raises(TaskError, match="rival='min' is not one of max, mean"):
        docstring(model, rival="min")  # type: ignore[arg-type]


# --- pronouns and agreement


def test_pronouns_follow_the_gender_and_take_turns(model: ca.HookedTransformer) -> None:
    from cutaway.tasks.gendered_pronoun import NAMES, NEUTRAL_NAMES, NEUTRAL_NOUNS, NOUNS

    female = {f" {pair[0]}" for pair in (*NOUNS, *NAMES)}
    male = {f" {pair[1]}" for pair in (*NOUNS, *NAMES)}
    assert not female & male
    task = gendered_pronoun(model, 64)
    assert task.answer_text == (" she", " he") * 32
    for clean, corrupted, answer in zip(
        words_at(model, task, task.clean, "SUBJECT"),
        words_at(model, task, task.corrupted, "SUBJECT"),
        task.answer_text,
        strict=True,
    ):
        assert clean in (female if answer == " she" else male)
        assert corrupted in (male if answer == " she" else female)
    neutral = gendered_pronoun(model, 64, "neutral")
    put = {word.strip() for word in words_at(model, neutral, neutral.corrupted, "SUBJECT")}
    assert put <= {*NEUTRAL_NOUNS, *NEUTRAL_NAMES}
    for subjects in ("nouns", "names"):
        groups = gendered_pronoun(model, 40, subjects=subjects).group
        assert len(set(groups)) == 8 and all(g.startswith(subjects[:-1]) for g in groups)


@pytest.mark.parametrize("attractor", ["either", "opposite", "same", "none"])
def test_verbs_follow_the_subject_and_not_the_attractor(
    model: ca.HookedTransformer, attractor: str
) -> None:
    task = subject_verb_agreement(model, 32, attractor=attractor)

    def plural(name: str, tokens: torch.Tensor) -> list[bool]:
        return [word.endswith("s") for word in words_at(model, task, tokens, name)]

    many = plural("SUBJECT", task.clean)
    assert many == [False, True] * 16
    assert [verb in (" are", " were", " have") for verb in task.answer_text] == many
    assert plural("SUBJECT", task.corrupted) == [not one for one in many]
    assert ("ATTRACTOR" in task.positions) == (attractor != "none")
    if attractor != "none":
        alike = [a == b for a, b in zip(plural("ATTRACTOR", task.clean), many, strict=True)]
        expected = {"either": [True, True, False, False] * 8, "opposite": [False] * 32}
        assert alike == expected.get(attractor, [True] * 32)


@pytest.mark.parametrize("name", ["country-capital", "gendered-pronoun", "subject-verb-agreement"])
def test_a_model_without_a_preference_scores_zero(model: ca.HookedTransformer, name: str) -> None:
    task = TASKS[name](model, 8)
    logits = torch.zeros(8, task.clean.shape[1], 50257)
    logits[:, :, task.correct[0]] = 1.0  # one word, whatever the sentence
    values = task.metric(task.metric.read(logits))
    expected = (task.correct == task.correct[0]).float() - (task.wrong == task.correct[0]).float()
    assert torch.equal(values, expected)
    if name == "gendered-pronoun":
        assert float(values.mean()) == 0.0


def test_golden_prompts(model: ca.HookedTransformer) -> None:
    first = {name: TASKS[name](model, 2).clean_text[0] for name in IN_WORDS if name != "ioi"}
    assert first["greater-than"] == (
        "In 1747 the journey was announced, and it came to an end in 17"
    )
    assert first["gendered-pronoun"] == "When the grandmother came home in the evening,"
    assert first["country-capital"] == "On the map of France a star marks the capital,"
    assert first["subject-verb-agreement"] == "The letter next to the old train"
    assert first["docstring"].startswith("def search(cls, order, end, text, bias):\n")
    assert first["docstring"].endswith("\n    :param end: bread simple\n    :param")
