"""What probes are fitted on: activations, labels, groups, words, and how prompts are dealt out."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import cutaway as ca
from cutaway.model.cache import get_act_name
from cutaway.probing import Labels, ProbeData, PromptSet, collect, labels_of_task, split
from random_models import configs, random_model, tasks

SITES = ("resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out", "z")


@pytest.fixture(scope="module")
def model() -> ca.HookedTransformer:
    return ca.HookedTransformer.from_pretrained("ioi-mini")


@given(st.data())
@settings(max_examples=15)
def test_activations_are_those_of_a_full_run(data) -> None:
    cfg = data.draw(configs())
    model, task = random_model(cfg, data.draw(st.integers(0, 100))), data.draw(tasks(cfg))
    missing = ("resid_mid", "mlp_out") if cfg.attn_only else ()
    missing = missing if cfg.has_resid_mid else (*missing, "resid_mid")
    site = data.draw(st.sampled_from([one for one in SITES if one not in missing]))
    labels = np.arange(len(task)) % 2 if len(task) > 1 else None
    if labels is None:
        return
    found = collect(model, task, labels, site=site, groups="prompt")
    for place in found.places():
        hook = get_act_name(site, int(place["layer"]))
        _, cache = model.run_with_cache(task.clean, names_filter=hook)
        for prompt in range(len(task)):
            at = int(task.positions[place["position"]][prompt])
            expected = cache[hook][prompt, at]
            expected = expected[int(place["head"])] if site == "z" else expected
            torch.testing.assert_close(found.at(**place)[prompt], expected, atol=2e-5, rtol=2e-5)


def test_the_batch_changes_nothing(model, monkeypatch) -> None:
    task = ca.tasks.ioi(model, 10)
    whole = collect(model, task, "order").activations
    monkeypatch.setattr("cutaway.probing.data._PROMPTS_AT_ONCE", 3)
    torch.testing.assert_close(collect(model, task, "order").activations, whole)


def test_labels_of_ioi_say_what_the_sentences_say(model) -> None:
    task = ca.tasks.ioi(model, 24, corruption="random-name")
    answers, orders = labels_of_task(task, "answer"), labels_of_task(task, "order")
    repeats = labels_of_task(task, "duplicate:S2")
    texts = (*task.clean_text, *task.corrupted_text)
    for i, text in enumerate(task.clean_text):
        io, s = task.answer_text[i].strip(), task.wrong_text[i].strip()
        assert answers.classes[answers.values[i]] == task.answer_text[i]
        where = {name: re.search(rf"\b{name}\b", text).start() for name in (io, s)}
        is_first = where[io] < where[s]
        assert orders.classes[orders.values[i]] == ("IO first" if is_first else "S first")
    for i, text in enumerate(texts):
        prompt = i % len(task)
        words = model.to_str_tokens(task.clean[prompt] if i < len(task) else task.corrupted[prompt])
        at = int(task.positions["S2"][prompt])
        expected = "repeated" if words[at] in words[:at] else "new"
        assert repeats.classes[repeats.values[i]] == expected, text
    assert labels_of_task(task, "clean").values.tolist() == [0] * 24 + [1] * 24
    assert labels_of_task(task, "group").classes == tuple(sorted(set(task.group)))
    tokens = labels_of_task(task, "token:S2")
    named = [int(tokens.classes[i]) for i in tokens.values]
    assert named[:24] == task.clean[torch.arange(24), task.positions["S2"]].tolist()


def test_labels_of_repeated_tokens_are_what_comes_next(model) -> None:
    task = ca.tasks.repeated_tokens(model, 12)
    labels = labels_of_task(task, "answer")
    assert [labels.classes[i] for i in labels.values] == list(task.answer_text)


def test_labels_sort_their_classes_and_tell_numbers_from_names() -> None:
    assert Labels.of("size", [10, 9, 10]).classes == ("9", "10")
    assert Labels.of("truth", [True, False]).classes == ("False", "True")
    numbers = Labels.of("length", [0.5, 2.0])
    assert numbers.is_numeric and numbers.columns().tolist() == [[0.5], [2.0]]
    assert Labels.of("x", ["b", "a", "b"]).columns().tolist() == [[0, 1], [1, 0], [0, 1]]
    for given_, message in (
        (["a", "a"], "needs two classes at least"),
        ([1.0, 1.0], "not all the same"),
        ([float("nan"), 1.0], "must be finite"),
        ([], "has no values"),
    ):
        with pytest.raises(ValueError, match=message):
            Labels.of("y", given_)


@given(
    sizes=st.lists(st.integers(1, 9), min_size=3, max_size=30),
    seed=st.integers(0, 100),
    fractions=st.sampled_from([(0.6, 0.2, 0.2), (0.34, 0.33, 0.33), (0.9, 0.05, 0.05)]),
)
def test_parts_share_no_group_and_miss_no_prompt(sizes, seed, fractions) -> None:
    groups = [f"g{i}" for i, size in enumerate(sizes) for _ in range(size)]
    parts = split(groups, fractions, seed)
    dealt = [parts.train, parts.validation, parts.test]
    assert sorted(np.concatenate(dealt).tolist()) == list(range(len(groups)))
    of_part = [{groups[i] for i in part} for part in dealt]
    assert all(of_part) and not (of_part[0] & of_part[1] or of_part[2] & (of_part[0] | of_part[1]))
    # Each part is off by less than two groups where there are enough of them to choose from.
    if len(sizes) > 10 and min(fractions) > 0.1:
        for part, share in zip(dealt, fractions, strict=True):
            assert abs(len(part) - share * len(groups)) <= 2 * max(sizes)
    again = split(groups, fractions, seed)
    assert again.test.tolist() == parts.test.tolist()


def test_bad_splits_are_one_clear_sentence() -> None:
    with pytest.raises(ValueError, match="there are 2 groups of prompts"):
        split(["a", "b", "b"])
    with pytest.raises(ValueError, match="three positive shares"):
        split(["a", "b", "c"], (0.5, 0.5, 0.0))


def test_pairs_keep_both_roles_of_two_names_together(model) -> None:
    task = ca.tasks.ioi(model, 200, names=["Mary", "John", "Anna", "Tom", "James"])
    groups = PromptSet.of_task(task).groups
    names = {
        group: frozenset(pair)
        for group, *pair in zip(groups, task.answer_text, task.wrong_text, strict=True)
    }
    assert len(set(names.values())) == len(names) == 10
    assert len(set(PromptSet.of_task(task, groups="answer").groups)) == 5
    assert (
        PromptSet.of_task(task, both=True, groups="prompt").groups == (*map(str, range(200)),) * 2
    )
    with pytest.raises(ValueError, match="groups='names' is not one of pair"):
        PromptSet.of_task(task, groups="names")


def test_control_words_are_read_where_the_probe_reads_or_where_they_vary(model) -> None:
    task = ca.tasks.ioi(model, 200)
    rows = torch.arange(200)
    for label, stands_in in (("order", "IO"), ("answer", "S1")):
        data = collect(model, task, label)
        assert data.settings["types"] == ["IO", "S1", "S1+1", "S2", stands_in]
        for words, name in zip(data.word_types, data.settings["types"], strict=True):
            assert words.tolist() == task.clean[rows, task.positions[name]].tolist()
    chosen = collect(model, task, "order", types="S2", positions=["IO", "END"])
    assert chosen.settings["types"] == ["S2", "S2"]


def test_positions_by_name_index_and_from_the_end(model) -> None:
    task = ca.tasks.ioi(model, 6)
    named = collect(model, task, "order", positions="END", layers=1)
    from_end = collect(model, task, "order", positions=[-1], layers=[1])
    assert torch.equal(named.at(), from_end.at())
    each = collect(model, task, "order", positions="each")
    assert each.axes[1].labels == tuple(map(str, range(int(task.lengths.min()))))
    for positions, message in (
        ("S3", "there is no position 'S3'"),
        ([99], "position 99 is outside some prompt"),
        ([], "list of positions is empty"),
    ):
        with pytest.raises(ValueError, match=message):
            collect(model, task, "order", positions=positions)


def test_data_come_back_as_they_were_saved(model, tmp_path) -> None:
    data = collect(model, ca.tasks.ioi(model, 6), "order", site="z", layers=[0, 2])
    data.save(tmp_path / "data.safetensors")
    again = ProbeData.load(tmp_path / "data.safetensors")
    assert torch.equal(again.activations, data.activations) and again.axes == data.axes
    assert again.labels.values.tolist() == data.labels.values.tolist()
    assert (again.groups, again.settings) == (data.groups, data.settings)
    assert again.word_types.tolist() == data.word_types.tolist()
    (tmp_path / "other").write_text("no")
    with pytest.raises(ValueError, match="does not hold data of probes"):
        ProbeData.load(tmp_path / "other")


def test_bad_input_is_one_clear_sentence(model) -> None:
    task = ca.tasks.ioi(model, 6)
    repeated = ca.tasks.repeated_tokens(model, 6)
    for make, message in (
        (lambda: collect(model, task, "name"), "label='name' is not one of answer"),
        (lambda: collect(model, task, "token:X"), "needs a position of the task ioi: token:IO"),
        (lambda: collect(model, repeated, "order"), "has no position IO"),
        (lambda: collect(model, task, "order", site="q"), "site='q' is not one of resid_pre"),
        (lambda: collect(model, task, [0, 1]), "there are 6 prompts, 2 labels"),
        (lambda: collect(model, task.clean, "order"), "are of a task"),
        (lambda: collect(model, task, "order").at(layer=9), "layer is left open|no layer '9'"),
        (lambda: collect(model, task, "order").at(layer=1), "position is left open"),
        (lambda: collect(model, task, "order").at(row=1), "there is no axis 'row'"),
    ):
        with pytest.raises(ValueError, match=message):
            make()


def test_texts_of_ones_own(model, tmp_path) -> None:
    path = tmp_path / "mine.jsonl"
    rows = [
        {"text": "When Mary and John went", "label": "two", "positions": {"NAME": 1}},
        {"text": "Mary went", "label": "one", "positions": {"NAME": 0}, "group": "short"},
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    prompts, labels = PromptSet.read(path, model)
    assert labels.classes == ("one", "two") and prompts.groups == ("0", "short")
    words = [model.to_str_tokens(tokens) for tokens in prompts.tokens]
    at = prompts.positions
    assert [w[int(i)].strip() for w, i in zip(words, at["NAME"], strict=True)] == ["Mary"] * 2
    assert [w[int(i)].strip() for w, i in zip(words, at["END"], strict=True)] == ["went"] * 2
    bad = [
        {"text": "Mary", "label": [1]},
        {"text": "Mary", "label": 1, "positions": {"NAME": 7}},
        {"label": 1, "extra": 2},
        {"text": "Zebediah walked", "label": 1},
    ]
    path.write_text("\n".join(map(json.dumps, bad)))
    with pytest.raises(ValueError) as error:
        PromptSet.read(path, model)
    told = str(error.value)
    assert "line 1: field 'label' must be" in told and "line 2: field 'positions': NAME=7" in told
    assert "line 3: field 'extra' is unknown" in told and "line 3: field 'text'" in told
    assert "line 4: field 'text': not in the vocabulary: Zebediah" in told
