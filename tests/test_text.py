"""Text in and tokens out of a model: BOS, padding, names of single tokens, and positions."""

from __future__ import annotations

import numpy as np
import pytest
import tokenizers
import torch

from cutaway.model.config import ModelConfig
from cutaway.model.tokenizer import Tokenizer
from cutaway.model.transformer import HookedTransformer
from test_generation import word_tokenizer

CFG = ModelConfig(n_layers=1, d_model=8, n_heads=2, d_vocab=17, n_ctx=12)
# In word_tokenizer, 0 is BOS, 1 EOS, 2 PAD, and "w0" is 3.


@pytest.fixture
def model() -> HookedTransformer:
    return HookedTransformer(CFG.replace(), word_tokenizer())


def test_bos_is_explicit(model: HookedTransformer) -> None:
    assert model.to_tokens("w0 w1").tolist() == [[0, 3, 4]]
    assert model.to_tokens("w0 w1", prepend_bos=False).tolist() == [[3, 4]]
    model.cfg.default_prepend_bos = False
    assert model.to_tokens("w0 w1").tolist() == [[3, 4]]
    assert model.to_tokens("w0 w1", prepend_bos=True).tolist() == [[0, 3, 4]]
    assert model("w0 w1").shape == (1, 2, 17)
    assert model("w0 w1", prepend_bos=True).shape == (1, 3, 17)


def test_padding_on_either_side(model: HookedTransformer) -> None:
    texts = ["w0 w1 w2", "w0"]
    assert model.to_tokens(texts).tolist() == [[0, 3, 4, 5], [0, 3, 2, 2]]
    left = model.to_tokens(texts, padding_side="left", prepend_bos=False)
    assert left.tolist() == [[3, 4, 5], [2, 2, 3]]


def test_tokens_come_back_as_text(model: HookedTransformer) -> None:
    tokens = model.to_tokens("w0 w1", prepend_bos=False)
    assert model.to_string(tokens) == ["w0 w1"]
    assert model.to_string(tokens[0]) == "w0 w1"
    assert model.to_string([3, 5]) == "w0 w2"
    assert model.to_string(4) == "w1"


def test_the_text_of_each_token(model: HookedTransformer) -> None:
    assert model.to_str_tokens("w0 w1") == ["<|bos|>", "w0", "w1"]
    assert model.to_str_tokens("w0 w1", prepend_bos=False) == ["w0", "w1"]
    assert model.to_str_tokens(["w0", "w1 w2"]) == [["<|bos|>", "w0"], ["<|bos|>", "w1", "w2"]]
    assert model.to_str_tokens(torch.tensor([3, 4])) == ["w0", "w1"]
    assert model.to_str_tokens(torch.tensor([[3, 4]])) == ["w0", "w1"]
    assert model.to_str_tokens([3, 4]) == model.to_str_tokens(np.array([3, 4])) == ["w0", "w1"]
    with pytest.raises(ValueError, match="not a batch of 2"):
        model.to_str_tokens(torch.zeros(2, 3, dtype=torch.long))


def test_single_tokens(model: HookedTransformer) -> None:
    assert model.to_single_token("w5") == 8
    assert model.to_single_str_token(8) == "w5"
    with pytest.raises(ValueError, match="'w1 w2' is not a single token"):
        model.to_single_token("w1 w2")


def test_where_a_token_stands(model: HookedTransformer) -> None:
    text = "w1 w2 w3 w2"
    assert model.get_token_position("w2", text) == 2
    assert model.get_token_position("w2", text, mode="last") == 4
    assert model.get_token_position(5, text, prepend_bos=False) == 1
    assert model.get_token_position("w3", torch.tensor([[6, 7]])) == 0
    with pytest.raises(ValueError, match="'w7' does not occur"):
        model.get_token_position("w7", text)


def test_texts_that_give_no_tokens(model: HookedTransformer) -> None:
    assert model.to_tokens("").tolist() == [[0]]
    with pytest.raises(ValueError, match="nothing to run on"):
        model.to_tokens("", prepend_bos=False)
    with pytest.raises(ValueError, match="the list of texts is empty"):
        model.to_tokens([])


def test_a_tokenizer_without_special_tokens() -> None:
    words = {f"w{i}": i for i in range(17)}
    backend = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="w0"))
    backend.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    model = HookedTransformer(CFG, Tokenizer(backend))
    with pytest.raises(ValueError, match="has no BOS token: give prepend_bos=False"):
        model("w1")
    assert model.to_tokens("w1 w2", prepend_bos=False).tolist() == [[1, 2]]
    with pytest.raises(ValueError, match="no token to pad shorter texts with"):
        model.to_tokens(["w1 w2", "w3"], prepend_bos=False)
    with torch.no_grad():  # where the mask goes along, no token is needed
        together = model(["w1 w2", "w3"], prepend_bos=False, padding_side="left")
        alone = model("w3", prepend_bos=False)
    torch.testing.assert_close(together[1, -1], alone[0, -1])


def test_gpt2s_own_tokenizer(shared) -> None:
    tokenizer = Tokenizer.from_file(shared / "models/gpt2-tokenizer/tokenizer.json")
    model = HookedTransformer(CFG.replace(d_vocab=50257, n_ctx=32), tokenizer)
    text = "When John and Mary went to the store, John gave a drink to"
    tokens = model.to_tokens(text)
    assert tokens[0, 0] == 50256
    assert model.to_str_tokens(text)[-4:] == [" gave", " a", " drink", " to"]
    assert model.get_token_position(" Mary", text) == 4
    assert model.to_string(tokens[0, 1:]) == text
    assert model.to_single_token(" Mary") == 5335
