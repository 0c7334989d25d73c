"""The tokenizer wrapper, on the word-level tokenizer of `ioi-mini` and on GPT-2's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tokenizers
import torch
from hypothesis import given
from hypothesis import strategies as st

from cutaway.model.tokenizer import Tokenizer, TokenizerError, UnknownTokenError
from cutaway.training.ioi_vocabulary import BOS, PAD, SPECIAL, UNKNOWN, build_tokenizer, vocabulary

WORDS = Tokenizer(build_tokenizer())
SENTENCE = "When John and Mary went to the store, John gave a drink to"


@pytest.fixture
def words() -> Tokenizer:
    return WORDS


@pytest.fixture(scope="module")
def gpt2(shared: Path) -> Tokenizer:
    return Tokenizer.from_file(shared / "models" / "gpt2-tokenizer" / "tokenizer.json")


def test_words_are_tokens_with_the_space_before_them(words: Tokenizer) -> None:
    assert words.tokens(SENTENCE)[:4] == ["When", " John", " and", " Mary"]
    assert words.tokens("Mary gave it. When?") == ["Mary", " gave", " it", ".", " When", "?"]


def test_both_tokenizers_split_the_sentence_alike(words: Tokenizer, gpt2: Tokenizer) -> None:
    assert words.tokens(SENTENCE) == gpt2.tokens(SENTENCE)


def test_special_tokens_are_found_by_their_names(words: Tokenizer, gpt2: Tokenizer) -> None:
    tokens = vocabulary()
    assert words.bos_token_id == tokens.index(BOS)
    assert words.pad_token_id == tokens.index(PAD)
    assert words.unk_token_id == tokens.index(UNKNOWN)
    assert gpt2.bos_token_id == gpt2.eos_token_id == gpt2.pad_token_id == 50256
    assert gpt2.unk_token_id is None
    assert words.vocab_size == len(words) == len(tokens) <= 800
    assert gpt2.vocab_size == 50257


def test_a_special_token_can_be_written_in_the_text(words: Tokenizer) -> None:
    ids = words.encode(BOS + "When John")
    assert ids == [words.bos_token_id, *words.encode("When John")]
    assert words.decode(ids) == BOS + "When John"
    assert words.decode(ids, skip_special_tokens=True) == "When John"


@given(st.data())
def test_every_text_of_known_words_comes_back(data: st.DataObject) -> None:
    plain = [token for token in vocabulary() if token not in SPECIAL]
    starts = [token for token in plain if token[0].isupper()]
    following = [token for token in plain if not token[0].isalpha()]
    text = data.draw(st.sampled_from(starts)) + "".join(
        data.draw(st.lists(st.sampled_from(following), max_size=12))
    )
    assert UNKNOWN not in WORDS.tokens(text)
    assert WORDS.decode(WORDS.encode(text)) == text


@given(st.text(max_size=40))
def test_any_text_can_be_encoded(text: str) -> None:
    assert all(0 <= i < len(WORDS) for i in WORDS.encode(text))


def test_tokens_are_numbered_as_the_vocabulary_lists_them(words: Tokenizer) -> None:
    assert [words.token(i) for i in range(len(words))] == list(vocabulary())
    assert len(set(vocabulary())) == len(vocabulary())


def test_decode_takes_tensors(words: Tokenizer) -> None:
    assert words.decode(torch.tensor(words.encode(SENTENCE))) == SENTENCE


def test_single_says_why_a_text_is_not_one_token(words: Tokenizer, gpt2: Tokenizer) -> None:
    assert words.token(words.single(" Mary")) == " Mary"
    assert words.is_single(" Mary")
    assert not words.is_single(" Zork")
    with pytest.raises(UnknownTokenError, match="' Zork' is not a single token.*: Zork"):
        words.single(" Zork")
    with pytest.raises(UnknownTokenError, match="Did you mean ' drink', with a space"):
        words.single("drink")
    with pytest.raises(UnknownTokenError, match=r"is 2 tokens: .*Zach.*ary"):
        gpt2.single(" Zachary")


def test_unknown_words_are_listed(words: Tokenizer, gpt2: Tokenizer) -> None:
    assert words.unknown_words("When Zork and Mary met Quux.") == ["Zork", "Quux"]
    assert words.unknown_words(SENTENCE) == []
    assert gpt2.unknown_words("Zork") == []


def test_a_token_id_outside_the_vocabulary_is_an_error(words: Tokenizer) -> None:
    with pytest.raises(IndexError, match=f"vocabulary of {len(words)}"):
        words.token(len(words))


def test_a_saved_tokenizer_is_the_same(words: Tokenizer, tmp_path: Path) -> None:
    words.save(tmp_path / "tokenizer.json")
    again = Tokenizer.from_file(tmp_path / "tokenizer.json")
    assert again.digest == words.digest
    assert again.encode(SENTENCE) == words.encode(SENTENCE)
    assert (again.bos_token_id, again.pad_token_id) == (words.bos_token_id, words.pad_token_id)


def test_special_tokens_come_from_the_file_beside_or_from_arguments(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    Tokenizer(build_tokenizer()).save(path)
    config = {"bos_token": {"content": PAD}, "pad_token": None}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    assert Tokenizer.from_file(path).bos_token == PAD
    assert Tokenizer.from_file(path, bos_token=UNKNOWN).bos_token == UNKNOWN
    with pytest.raises(TokenizerError, match=r"does not hold pad_token='<nothing>'"):
        Tokenizer.from_file(path, pad_token="<nothing>")


def test_a_tokenizer_without_special_tokens_has_none() -> None:
    plain = Tokenizer(tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0}, unk_token="a")))
    assert plain.bos_token_id is None
    assert plain.pad_token_id is None


def test_the_spaces_of_sentencepiece_are_kept() -> None:
    backend = tokenizers.Tokenizer(tokenizers.models.WordLevel({"\u2581a": 0}))
    backend.decoder = tokenizers.decoders.Metaspace()
    assert Tokenizer(backend).token(0) == " a"


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.json does not exist"):
        Tokenizer.from_file(tmp_path / "nowhere.json")
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(TokenizerError, match="is not a readable"):
        Tokenizer.from_file(tmp_path / "tokenizer.json")


def test_the_names_that_course_code_uses() -> None:
    from test_generation import word_tokenizer

    tokenizer = word_tokenizer()
    assert tokenizer("w0 w1")["input_ids"] == [3, 4]
    several = tokenizer(["w0 w1", "w2"])
    assert several["input_ids"] == [[3, 4], [5]]
    assert several["attention_mask"] == [[1, 1], [1]]
    assert tokenizer.batch_decode([[3, 4], [5]]) == ["w0 w1", "w2"]
    assert tokenizer.get_vocab()["w2"] == tokenizer.vocab["w2"] == 5
    assert tokenizer.decode([0, 3], skip_special_tokens=True) == "w0"
