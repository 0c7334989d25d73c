"""The IOI task: positions, corruptions, balance, held-out sets, errors, both tokenizers."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import tokenizers
import torch

from cutaway.model.tokenizer import Tokenizer, UnknownTokenError
from cutaway.tasks import Task, TaskError, ioi, ioi_role_swaps, ioi_text
from cutaway.tasks.ioi_text import CANONICAL, NAMES, OBJECTS, PLACES, TEMPLATES, pair_is_held_out
from rule_model import RuleModel

CORRUPTIONS = ("s2-flip", "swap", "abc", "random-name")
SEED_SENTENCE = "When John and Mary went to the store, John gave a drink to"


@pytest.fixture(scope="module", params=["ioi-mini", "gpt2"])
def model(request: pytest.FixtureRequest) -> RuleModel:
    if request.param == "ioi-mini":
        return RuleModel()
    shared: Path = request.getfixturevalue("shared")
    path = shared / "models" / "gpt2-tokenizer" / "tokenizer.json"
    return RuleModel(Tokenizer.from_file(path), n_ctx=1024)


def at(model: RuleModel, task: Task, tokens: torch.Tensor, name: str) -> list[str]:
    index = task.positions[name]
    return [model.tokenizer.token(int(row[i])) for row, i in zip(tokens, index, strict=True)]


# --- the words


def test_the_lists_are_what_the_task_needs() -> None:
    assert len(NAMES) == len(set(NAMES)) >= 90
    assert {"John", "Mary", "Alice", "Bob"} <= set(NAMES)
    assert len(set(PLACES)) >= 20
    assert len(set(OBJECTS)) >= 25
    assert len(TEMPLATES) >= 20
    assert len({template.text for template in (*TEMPLATES, CANONICAL)}) == len(TEMPLATES) + 1
    assert sum(template.held_out for template in TEMPLATES) == 8


def test_every_word_is_one_token(model: RuleModel) -> None:
    for word in (*NAMES, *PLACES, *OBJECTS):
        assert model.tokenizer.is_single(f" {word}"), word


@pytest.mark.parametrize("template", [*TEMPLATES, CANONICAL], ids=lambda t: t.id)
def test_a_template_has_every_name_once_and_ends_before_the_answer(
    template: ioi_text.Template,
) -> None:
    slots = [slot for piece in template.pieces() if (slot := ioi_text.slot_of(piece))]
    assert set(slots) <= set(ioi_text.SLOTS)
    assert [s for s in slots if s not in ("place", "object")] == ["first", "second", "subject"]
    assert "".join(template.pieces()) == template.text
    assert template.text.endswith(" to")
    assert template.pieces()[0][0] != "{"  # the first word of a text has no space before it


def test_every_built_in_template_is_used(model: RuleModel) -> None:
    task = ioi(model, n_prompts=2 * len(TEMPLATES))
    assert Counter(task.group) == {template.id: 2 for template in TEMPLATES}


def test_a_tenth_of_the_pairs_is_held_out() -> None:
    pairs = [(a, b) for i, a in enumerate(NAMES) for b in NAMES[i + 1 :]]
    share = sum(pair_is_held_out(a, b) for a, b in pairs) / len(pairs)
    assert 0.08 < share < 0.12
    assert all(pair_is_held_out(a, b) == pair_is_held_out(b, a) for a, b in pairs)


# --- positions and corruptions


@pytest.mark.parametrize("corruption", CORRUPTIONS)
def test_positions_point_at_the_names(model: RuleModel, corruption: str) -> None:
    task = ioi(model, n_prompts=60, corruption=corruption)
    assert at(model, task, task.clean, "IO") == list(task.answer_text)
    assert at(model, task, task.clean, "S1") == list(task.wrong_text)
    assert at(model, task, task.clean, "S2") == list(task.wrong_text)
    assert at(model, task, task.clean, "END") == [" to"] * 60
    assert torch.equal(task.positions["S1+1"], task.positions["S1"] + 1)
    assert torch.equal(task.positions["END"], task.lengths - 1)
    assert (task.positions["S2"] > task.positions["S1"]).all()
    assert (task.positions["S2"] > task.positions["IO"]).all()
    decoded = [
        model.tokenizer.decode(row[1:n]) for row, n in zip(task.clean, task.lengths, strict=True)
    ]
    assert decoded == list(task.clean_text)


@pytest.mark.parametrize(
    ("corruption", "changed"),
    [
        ("s2-flip", ("S2",)),
        ("random-name", ("S2",)),
        ("swap", ("IO", "S1", "S2")),
        ("abc", ("IO", "S1", "S2")),
    ],
)
def test_a_corruption_changes_its_positions_and_no_others(
    model: RuleModel, corruption: str, changed: tuple[str, ...]
) -> None:
    task = ioi(model, n_prompts=40, corruption=corruption)
    expected = torch.zeros_like(task.clean, dtype=torch.bool)
    for name in changed:
        expected[torch.arange(40), task.positions[name]] = True
    assert torch.equal(task.clean != task.corrupted, expected)
    assert torch.equal(
        task.first_difference, torch.stack([task.positions[name] for name in changed]).amin(0)
    )


def test_what_the_corruptions_put_in_place(model: RuleModel) -> None:
    for corruption in CORRUPTIONS:
        task = ioi(model, n_prompts=30, corruption=corruption)
        places = [at(model, task, task.corrupted, name) for name in ("IO", "S1", "S2")]
        for io, s, new_io, new_s1, new_s2 in zip(
            task.answer_text, task.wrong_text, *places, strict=True
        ):
            if corruption == "s2-flip":
                assert (new_io, new_s1, new_s2) == (io, s, io)
            elif corruption == "swap":
                assert (new_io, new_s1, new_s2) == (s, io, io)
            elif corruption == "random-name":
                assert (new_io, new_s1) == (io, s)
                assert new_s2 not in (io, s)
            else:
                assert len({io, s, new_io, new_s1, new_s2}) == 5


def test_a_model_that_follows_the_rule_is_read_right(model: RuleModel) -> None:
    expected = {"s2-flip": -1.0, "swap": -1.0, "abc": 0.0, "random-name": 0.0}
    for corruption, value in expected.items():
        baseline = ioi(model, n_prompts=20, corruption=corruption).baseline(model)
        assert set(baseline.clean_values) == {1.0}
        assert set(baseline.corrupted_values) == {value}


# --- choices


def test_both_orders_take_turns() -> None:
    task = ioi(RuleModel(), n_prompts=20)
    io_first = task.positions["IO"] < task.positions["S1"]
    assert io_first.tolist() == [True, False] * 10
    for order, expected in (("ABBA", True), ("BABA", False)):
        task = ioi(RuleModel(), n_prompts=20, order=order)
        assert ((task.positions["IO"] < task.positions["S1"]) == expected).all()


def test_the_seed_decides_and_the_corruption_does_not() -> None:
    model = RuleModel()
    texts = {c: ioi(model, 30, corruption=c, seed=5).clean_text for c in CORRUPTIONS}
    assert len(set(texts.values())) == 1
    assert ioi(model, 30, seed=5).corrupted_text == ioi(model, 30, seed=5).corrupted_text
    assert ioi(model, 30, seed=6).clean_text != texts["s2-flip"]


def test_the_settings_make_the_task_again() -> None:
    task = ioi(RuleModel(), 10, corruption="abc", seed=2, templates=["ioi-03"], pairs="seen")
    settings = dict(task.settings)
    assert settings.pop("task") == "ioi"
    assert torch.equal(ioi(RuleModel(), **settings).clean, task.clean)


def test_templates_and_pairs_can_be_chosen() -> None:
    model = RuleModel()
    held_out = {template.id for template in TEMPLATES if template.held_out}
    assert set(ioi(model, 30, templates="held-out").group) == held_out
    assert not set(ioi(model, 60, templates="train").group) & held_out
    assert set(ioi(model, 6, templates=["ioi-07", "canonical"]).group) == {"ioi-07", "canonical"}
    for pairs, expected in (("seen", False), ("held-out", True)):
        task = ioi(model, 30, pairs=pairs)
        people = zip(task.answer_text, task.wrong_text, strict=True)
        assert {pair_is_held_out(io.strip(), s.strip()) for io, s in people} == {expected}


def test_names_of_ones_own() -> None:
    names = ["Mary", "John", "Bob", "Tom", "Ann"]
    task = ioi(RuleModel(), 20, names=names, corruption="abc")
    assert {text.strip() for text in task.answer_text} <= set(names)


def test_without_bos_positions_count_from_the_first_word() -> None:
    with_bos, without = ioi(RuleModel(), 8), ioi(RuleModel(prepend_bos=False), 8)
    assert torch.equal(with_bos.clean[:, 1:], without.clean)
    assert torch.equal(with_bos.positions["S2"] - 1, without.positions["S2"])


# --- role swaps


def test_role_swaps_are_the_four_of_the_seed_document(model: RuleModel) -> None:
    task = ioi_role_swaps(model)
    assert task.group == ("IO=Mary S=John", "IO=John S=Mary", "IO=Alice S=Bob", "IO=Bob S=Alice")
    assert task.clean_text[0] == SEED_SENTENCE
    assert task.answer_text == (" Mary", " John", " Alice", " Bob")
    assert task.wrong_text == (" John", " Mary", " Bob", " Alice")
    assert at(model, task, task.clean, "IO") == list(task.answer_text)
    assert at(model, task, task.clean, "S2") == list(task.wrong_text)
    assert task.baseline(model).clean_values.tolist() == [1.0] * 4


# --- errors


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ({"corruption": "s2flip"}, "corruption='s2flip' is not one of s2-flip, swap"),
        ({"order": "AB"}, "order='AB' is not one of both, ABBA, BABA"),
        ({"pairs": "new"}, "pairs='new' is not one of all, seen, held-out"),
        ({"templates": "mine"}, "templates='mine' is neither one of all, train, held-out nor"),
        ({"templates": ["ioi-99"]}, "templates='ioi-99' is not one of ioi-01, "),
        ({"templates": []}, "leaves no template"),
        ({"n_prompts": 0}, "n_prompts=0"),
        ({"names": ["Mary", "John"]}, "5 different names are needed"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, object], fault: str) -> None:
    with pytest.raises(TaskError, match=fault):
        ioi(RuleModel(), **arguments)  # type: ignore[arg-type]


def test_a_given_name_that_is_not_a_token_is_named() -> None:
    with pytest.raises(UnknownTokenError, match="' Zork' is not a single token"):
        ioi(RuleModel(), names=["Mary", "John", "Zork", "Bob", "Tom"])


def word_level(words: list[str]) -> Tokenizer:
    """A tokenizer like that of `ioi-mini`, with other words."""
    ids = {word: i for i, word in enumerate(["<|bos|>", "<|unk|>", ",", ".", *words])}
    backend = tokenizers.Tokenizer(tokenizers.models.WordLevel(ids, unk_token="<|unk|>"))
    split = tokenizers.Regex(r" ?\w+|\W")
    backend.pre_tokenizer = tokenizers.pre_tokenizers.Split(split, behavior="isolated")
    backend.decoder = tokenizers.decoders.Fuse()
    return Tokenizer(backend)


def test_the_lists_shrink_to_what_the_tokenizer_holds() -> None:
    known = [f" {name}" for name in NAMES[:12]]
    words = [" and", " went", " to", " the", " gave", " a", " store", " drink", "When"]
    small = RuleModel(word_level(known + words))
    task = ioi(small, 10, templates=["canonical"])
    assert set(task.answer_text) <= set(known)
    assert all("store" in text and "drink" in text for text in task.clean_text)
    with pytest.raises(TaskError, match="knows none of the templates .train.: it"):
        ioi(small, 10, templates="train")
    with pytest.raises(TaskError, match="does not know the template 'ioi-01': it lacks 'While'"):
        ioi(small, 10, templates=["ioi-01"])
    few = RuleModel(word_level(known[:5] + words))
    with pytest.raises(TaskError, match=f"Only 5 of the 100 .* not single: {NAMES[5]}, {NAMES[6]}"):
        ioi(few, 10, templates=["canonical"])
    nowhere = RuleModel(word_level([*known, *(word for word in words if word != " store")]))
    with pytest.raises(TaskError, match="No built-in place .* not even 'store'"):
        ioi(nowhere, 10, templates=["canonical"])


def test_a_context_too_short_is_an_error() -> None:
    with pytest.raises(TaskError, match="but the context of rule is 8"):
        ioi(RuleModel(n_ctx=8))
