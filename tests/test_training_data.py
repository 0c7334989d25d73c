"""What is trained on: characters, names in pairs, tokens that repeat; and what is refused."""

from __future__ import annotations

import hashlib
import io
import urllib.request
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cutaway.model.config import ModelConfig
from cutaway.model.tokenizer import Tokenizer, UnknownTokenError
from cutaway.model.transformer import HookedTransformer
from cutaway.training import characters
from cutaway.training.characters import character_tokenizer, open_text, read_text
from cutaway.training.config import DataSettings, TrainConfig, TrainConfigError
from cutaway.training.evaluation import counting_losses
from cutaway.training.name_pairs import NamePairs
from cutaway.training.repeated_rows import open_repeats, stretches
from cutaway.training.sampling import sample
from cutaway.training.source import Source
from cutaway.training.sources import open_source

TEXT = "".join(f"{i:03} " for i in range(250))  # 1,000 characters, each number once
SMALL = TrainConfig.named("ioi-2l")


# ---- characters ----


@given(st.text(min_size=1, max_size=40))
@settings(max_examples=40)
def test_every_character_is_a_token_and_decoding_gives_the_text(text: str) -> None:
    text = text.encode("utf-8", "replace").decode("utf-8")
    tokenizer = character_tokenizer("".join(sorted(set(text))))
    assert len(tokenizer.encode(text)) == len(text)
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.vocab_size == len(set(text))


def test_a_character_that_was_never_seen_is_named(tmp_path: Path) -> None:
    tokenizer = character_tokenizer("\n abc")
    tokenizer.save(tmp_path / "tokenizer.json")
    for one in (tokenizer, Tokenizer.from_file(tmp_path / "tokenizer.json")):
        assert one.encode("cab\n") == [4, 2, 3, 0]
        with pytest.raises(UnknownTokenError, match="has no token for 'é', 'x': leave such"):
            one.encode("a é x é b")
    cfg = ModelConfig(1, 8, 2, 5, 8, default_prepend_bos=False)
    with pytest.raises(ValueError, match="has no token for 'z'"):
        sample(HookedTransformer(cfg, tokenizer), "zab")


def test_batches_are_cut_from_the_part_that_is_trained_on() -> None:
    source = open_text(TEXT, n_ctx=16, held_out_share=0.25, seed=3)
    rows = source.rows(7, 20)
    assert rows.shape == (20, 17)
    assert torch.equal(rows, open_text(TEXT, 16, 0.25, 3).rows(7, 20))
    assert not torch.equal(rows, source.rows(8, 20))
    assert not torch.equal(rows, open_text(TEXT, 16, 0.25, 4).rows(7, 20))
    for row in rows.tolist():
        at = TEXT.index(source.tokenizer.decode(row))
        assert 0 <= at <= 750 - 17


def test_every_place_can_be_drawn_and_no_other() -> None:
    source = open_text(TEXT[:40], n_ctx=9, held_out_share=0.5, seed=0)
    starts = {
        TEXT.index(source.tokenizer.decode(row))
        for step in range(40)
        for row in source.rows(step, 8)
    }
    assert starts == set(range(20 - 9))


def test_what_is_held_out_is_predicted_once() -> None:
    source = open_text(TEXT, n_ctx=16, held_out_share=0.25, seed=0)
    assert source.held_out.shape == (15, 17)  # 250 characters
    predicted = source.tokenizer.decode(source.held_out[:, 1:].flatten())
    assert predicted == TEXT[751 : 751 + 240]
    assert source.digest == hashlib.sha256(TEXT.encode()).hexdigest()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a text is empty: there is nothing to train on"),
        ("To be, or not to be", "too short for a context of 16: of its 19 characters 2 are held"),
        (
            "abc",
            "too short for a context of 16: of its 3 characters 2 are trained on, and it takes 17",
        ),
    ],
)
def test_texts_that_are_too_short(text: str, message: str) -> None:
    with pytest.raises(TrainConfigError, match=message):
        open_text(text, n_ctx=16, held_out_share=0.1, seed=0)


def test_files_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "bytes").write_bytes(b"abc\xff")
    with pytest.raises(TrainConfigError, match=r"not a text in UTF-8 \(byte 3\)"):
        read_text(str(tmp_path / "bytes"))
    with pytest.raises(FileNotFoundError, match="does not exist"):
        read_text(str(tmp_path / "nothing"))
    (tmp_path / "text").write_bytes("Né\r\n".encode())
    assert read_text(str(tmp_path / "text")) == ("Né\r\n", "text")


def test_shakespeare_is_fetched_once_and_checked(tmp_path: Path, monkeypatch) -> None:
    asked: list[str] = []

    def answer(url: str, timeout: float) -> io.BytesIO:
        asked.append(url)
        return io.BytesIO(b"To be")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(urllib.request, "urlopen", answer)
    with pytest.raises(TrainConfigError, match="is not tiny Shakespeare: its SHA-256 is"):
        read_text("shakespeare")
    assert not list(tmp_path.rglob("*.txt"))
    monkeypatch.setattr(characters, "DIGEST", hashlib.sha256(b"To be").hexdigest())
    assert read_text("shakespeare")[0] == read_text("shakespeare")[0] == "To be"
    assert len(asked) == 2 and (tmp_path / "cutaway/tinyshakespeare.txt").read_text() == "To be"
    (tmp_path / "cutaway/tinyshakespeare.txt").write_text("To b")
    with pytest.raises(TrainConfigError, match=r"tinyshakespeare.txt is not tiny Shakespeare"):
        read_text("shakespeare")


def test_without_a_network_it_says_what_to_do(tmp_path: Path, monkeypatch) -> None:
    def refuse(url: str, timeout: float) -> None:
        raise urllib.error.URLError("no route")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    with pytest.raises(OSError, match=r"cannot be fetched .*\(no route\).* as --data"):
        read_text("shakespeare")


def test_golden_shakespeare(shared: Path) -> None:
    text = (shared / "data/tinyshakespeare.txt").read_text()
    source = open_text(text, n_ctx=64, held_out_share=0.1, seed=0)
    assert source.digest == characters.DIGEST
    assert source.tokenizer.vocab_size == 65 and source.held_out.shape == (1742, 65)
    assert source.about["characters"] == "1,003,854 trained on, the last 111,540 held out"
    counted = counting_losses(source, 65)
    assert counted["unigram"].estimate == pytest.approx(3.348, abs=0.002)
    assert counted["bigram"].estimate == pytest.approx(2.493, abs=0.002)


# ---- names in pairs ----


@given(
    st.integers(0, 50),
    st.tuples(st.integers(1, 2), st.integers(2, 4)),
    st.tuples(st.integers(0, 1), st.integers(1, 3)),
)
@settings(max_examples=20)
def test_the_context_says_what_is_marked_as_known(seed, pairs, gap) -> None:
    """Read as text: in the second mention of an A its B is the name that followed it at first."""
    made = NamePairs(30, pairs, gap)
    rows, known, couples = made.draw(np.random.default_rng(seed), 6, 40)
    tokenizer = made.tokenizer()
    for row, marks, couple in zip(rows, known, couples, strict=True):
        words = [tokenizer.token(token).strip() for token in row]
        assert words[0] == "<|bos|>" and "<|bos|>" not in words[1:]
        sentences = "".join(tokenizer.token(t) for t in row[1:]).split(".")
        partner: dict[str, str] = {}
        expected = [0]
        for sentence in sentences:
            said = sentence.split()
            if len(said) > 1 and said[0] not in partner:
                assert gap[0] <= len(said) - 2 <= gap[1] or sentence is sentences[-1]
                partner[said[0]] = said[-1]
                expected += [0] * len(said)
            else:
                assert len(said) < 2 or said == [said[0], partner[said[0]]]
                expected += [0, 1][: len(said)]
            expected.append(0)  # the stop
        assert marks.tolist() == expected[: len(row)]
        ids = {tokenizer.single(f" {a}"): tokenizer.single(f" {b}") for a, b in partner.items()}
        assert ids == {a: b for a, b in couple.tolist() if a >= 0}
        assert pairs[0] <= len(partner) <= pairs[1]
        assert len({*partner, *partner.values()}) == 2 * len(partner)


def test_prompts_ask_for_the_b_of_an_a() -> None:
    made = NamePairs()
    found = made.prompts(30, n_pairs=3, seed=1)
    rows = torch.arange(30)
    assert torch.equal(found.tokens[rows, found.at_a], found.tokens[:, -1])
    assert torch.equal(found.tokens[rows, found.at_b], found.answer)
    assert not (found.tokens == found.other[:, None]).any()
    assert (found.tokens == found.answer[:, None]).sum() == 30
    assert len(found.at_a.unique()) == 3
    again = made.prompts(30, n_pairs=3, seed=1)
    assert torch.equal(again.tokens, found.tokens)
    assert not torch.equal(made.prompts(30, n_pairs=3, seed=2).tokens, found.tokens)


def test_prompts_make_a_task_in_which_one_token_differs() -> None:
    made = NamePairs()
    model = HookedTransformer(SMALL.model_config(made.tokenizer().vocab_size), made.tokenizer())
    task = made.prompts(8).task(model)
    differ = task.clean != task.corrupted
    assert torch.equal(differ.nonzero()[:, 1], task.positions["B"])
    rows = torch.arange(8)
    assert torch.equal(task.clean[rows, task.positions["B"]], task.correct)
    assert torch.equal(task.corrupted[rows, task.positions["B"]], task.wrong)
    assert (task.positions["END"] == task.clean.shape[1] - 1).all()
    assert np.isfinite(task.baseline(model).clean.estimate)


# ---- tokens that repeat ----


@given(st.integers(0, 50), st.integers(8, 30))
@settings(max_examples=20)
def test_each_known_token_came_after_the_same_one_before(step: int, n_ctx: int) -> None:
    source = open_repeats(32, n_ctx, seed=0)
    shortest, longest = stretches(n_ctx)
    for row, known in zip(source.held_out[:20].tolist(), source.known[:20].tolist(), strict=True):
        period = row.index(row[1], 2) - 1 if row[1] in row[2:] else len(row)
        assert shortest <= period <= longest
        after = defaultdict(set)
        for i in range(1, len(row)):
            assert known[i] == (i > 1 and row[i - 1] in after)
            if known[i]:
                assert after[row[i - 1]] == {row[i]}
            after[row[i - 1]].add(row[i])
    rows = source.rows(step, 4)
    assert rows.shape == (4, n_ctx + 1) and torch.equal(
        rows, open_repeats(32, n_ctx, 0).rows(step, 4)
    )


# ---- by configuration ----


def changed(**data) -> TrainConfig:
    return SMALL.replace(data=DataSettings(**data))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (changed(kind="name-pairs", n_names=8), "n_names=8 has to be from 9"),
        (changed(kind="name-pairs", n_names=4000), "n_names=4000 has to be from 9"),
        (changed(kind="name-pairs", gap=(0, 5)), "n_ctx=32 is too short: 4 pairs with up to 5"),
        (changed(kind="repeated-tokens", n_tokens=15), "a stretch has up to 16 different"),
        (changed(kind="repeated-tokens", n_names=9), "data.n_names is of no use with the kind"),
        (changed(kind="repeated-tokens").replace(n_ctx=6), "n_ctx=6 is too short"),
        (changed(kind="ioi-mini", n_tokens=9), "data.n_tokens is of no use"),
    ],
)
def test_data_that_cannot_be_had(config: TrainConfig, message: str) -> None:
    with pytest.raises(TrainConfigError, match=message):
        open_source(config)


@pytest.mark.parametrize("name", ["ioi-2l", "repeated-tokens", "ioi-mini", "induction-2l"])
def test_a_source_has_rows_of_its_vocabulary_that_depend_on_seed_and_step(name: str) -> None:
    config = TrainConfig.named(name)
    source: Source = open_source(config)
    rows = source.rows(3, 4)
    width = config.n_ctx + (name in ("ioi-2l", "repeated-tokens"))
    assert rows.shape == (4, width) == (4, source.held_out.shape[1])
    assert rows.min() >= 0 and rows.max() < source.tokenizer.vocab_size
    assert torch.equal(rows, open_source(config).rows(3, 4))
    assert not torch.equal(rows, open_source(config.replace(seed=1)).rows(3, 4))
    trained = {tuple(row) for step in range(5) for row in source.rows(step, 16).tolist()}
    assert not trained & {tuple(row) for row in source.held_out.tolist()}


def test_a_sample_goes_on_beyond_the_context() -> None:
    tokenizer = character_tokenizer("ab")
    model = HookedTransformer(ModelConfig(1, 8, 2, 2, 8, default_prepend_bos=False), tokenizer)
    text = sample(model, "a", 30, seed=1)
    assert len(text) == 31 and text[0] == "a"
    assert text == sample(model, "a", 30, seed=1) != sample(model, "a", 30, seed=2)
    greedy = sample(model, "abba", 12, temperature=0)
    with torch.no_grad():
        best = model(tokenizer_tensor(tokenizer, greedy[:7]))[0, -1].argmax()
    assert greedy[7] == "ab"[int(best)]


def tokenizer_tensor(tokenizer: Tokenizer, text: str) -> torch.Tensor:
    return torch.tensor([tokenizer.encode(text)])
