"""llama2.c binaries, with a trained story teller; and SentencePiece models."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
import torch
import transformers
from transformers import LlamaConfig, LlamaForCausalLM

from cutaway.model.loading import LoadError, load_checkpoint, load_tokenizer
from cutaway.model.tokenizer import Tokenizer
from cutaway.model.transformer import HookedTransformer

transformers.logging.set_verbosity_error()


@pytest.fixture(scope="module")
def story_teller(shared: Path) -> HookedTransformer:
    path = shared / "models/babyllama-tok105/model5000.bin"
    return HookedTransformer.from_pretrained_no_processing(path)


@pytest.fixture(scope="module")
def tokenizer(shared: Path) -> Tokenizer:
    return load_tokenizer(shared / "models/babyllama-tok105/tok105.model")


def test_the_shape_follows_from_the_header(story_teller: HookedTransformer) -> None:
    cfg = story_teller.cfg
    assert (cfg.n_layers, cfg.d_model, cfg.n_heads, cfg.n_key_value_heads) == (5, 128, 8, 4)
    assert (cfg.d_mlp, cfg.d_vocab, cfg.n_ctx) == (352, 105, 256)
    assert cfg.tie_word_embeddings
    assert cfg.rotary_adjacent_pairs
    assert sum(p.numel() for p in story_teller.parameters()) == 936_448


STORY = (
    "Once upon a time, there was a little girl named Lily. She loved to play outside in the "
    "sunshine. One day, she went to the park with her mommy and daddy. She saw a big box on the "
    "ground. She wanted to play with it"
)


@torch.no_grad()
def test_it_tells_a_story_in_fluent_english(story_teller: HookedTransformer) -> None:
    start = "Once upon a time"
    assert story_teller.generate(start, len(STORY) - len(start), temperature=0) == STORY
    unseen = "Tom and his dog went to the lake. It was a hot day, and they wanted to swim."
    loss = story_teller(unseen, return_type="loss").item()
    assert loss < 1.0, "nats per character; one that knows only how frequent letters are needs 2.9"


@torch.no_grad()
def test_log_probabilities_survive_the_processing(story_teller: HookedTransformer, shared: Path):
    path = shared / "models/babyllama-tok105/model5000.bin"
    processed = HookedTransformer.from_pretrained(path)
    assert processed.cfg.normalization_type == "RMSPre"
    tokens = story_teller.to_tokens(STORY)
    difference = processed(tokens).log_softmax(-1) - story_teller(tokens).log_softmax(-1)
    assert difference.abs().max() < 1e-4


@torch.no_grad()
def test_logits_equal_those_of_transformers(story_teller: HookedTransformer) -> None:
    """transformers pairs rotary dimensions (0, d/2), ...: the rows of q and k are reordered."""
    cfg = story_teller.cfg
    theirs = LlamaForCausalLM(
        LlamaConfig(
            hidden_size=128,
            num_hidden_layers=5,
            num_attention_heads=8,
            num_key_value_heads=4,
            intermediate_size=352,
            vocab_size=105,
            max_position_embeddings=256,
            rms_norm_eps=1e-5,
            tie_word_embeddings=True,
        )
    ).eval()
    order = [*range(0, cfg.d_head, 2), *range(1, cfg.d_head, 2)]
    model = theirs.model
    model.embed_tokens.weight.copy_(story_teller.W_E)
    model.norm.weight.copy_(story_teller.ln_final.w)
    for layer, block in zip(model.layers, story_teller.blocks, strict=True):
        attn, mlp = block.attn, block.mlp
        layer.input_layernorm.weight.copy_(block.ln1.w)
        layer.post_attention_layernorm.weight.copy_(block.ln2.w)
        for name, weight in (("q_proj", attn.W_Q), ("k_proj", attn.W_K)):
            rows = weight[:, :, order].transpose(1, 2).flatten(0, 1)
            getattr(layer.self_attn, name).weight.copy_(rows)
        layer.self_attn.v_proj.weight.copy_(attn.W_V.transpose(1, 2).flatten(0, 1))
        layer.self_attn.o_proj.weight.copy_(attn.W_O.flatten(0, 1).T)
        layer.mlp.gate_proj.weight.copy_(mlp.W_gate.T)
        layer.mlp.up_proj.weight.copy_(mlp.W_in.T)
        layer.mlp.down_proj.weight.copy_(mlp.W_out.T)
    tokens = story_teller.to_tokens(STORY)
    difference = story_teller(tokens) - theirs(tokens).logits
    assert difference.abs().max() < 1e-4


@torch.no_grad()
def test_an_unembedding_of_its_own(tmp_path: Path) -> None:
    """A negative number of tokens in the header says that one follows at the end."""
    generator = torch.Generator().manual_seed(0)
    n_weights = 7 * 8 + 2 * (8 + 8 * 8 + 2 * 4 * 8 + 8 * 8 + 8 + 3 * 12 * 8) + 8 + 2 * 5 * 2
    weights = torch.randn(n_weights + 7 * 8, generator=generator)
    header = struct.pack("<7i", 8, 12, 2, 2, 1, -7, 5)
    path = tmp_path / "model.bin"
    path.write_bytes(header + weights.numpy().tobytes())
    checkpoint = load_checkpoint(path)
    assert not checkpoint.cfg.tie_word_embeddings
    assert checkpoint.tokenizer is None
    assert torch.equal(checkpoint.state["embed.W_E"], weights[:56].view(7, 8))
    assert torch.equal(checkpoint.state["unembed.W_U"], weights[-56:].view(7, 8).T)
    HookedTransformer.from_pretrained(path)(torch.tensor([[0, 6, 3]]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "too short"),
        (struct.pack("<7i", 8, 12, 2, 2, 1, 7, 5), "holds 0 weights, and its header asks for"),
        (struct.pack("<7i", 8, 12, 2, 2, 1, 7, 5) + b"\0" * 40_000, "holds 10000 weights"),
        (struct.pack("<7i", 8, 12, 0, 2, 1, 7, 5), "does not begin as"),
        (b"some text that is no model at all...", "does not begin as"),
        (struct.pack("<7i", 0x616B3432, 1, 8, 12, 2, 2, 1), "--version 0"),
    ],
)
def test_other_files_are_refused(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(content)
    with pytest.raises(LoadError, match=message) as caught:
        load_checkpoint(path)
    assert str(path) in str(caught.value)


# ---- SentencePiece ----


def test_pieces_are_those_of_the_listing(tokenizer: Tokenizer, shared: Path) -> None:
    text = (shared / "models/babyllama-tok105/tok105.vocab").read_text(encoding="utf-8")
    pieces = [line.rsplit("\t", 1)[0] for line in text.split("\n")[:-1]]
    assert [tokenizer.backend.id_to_token(i) for i in range(tokenizer.vocab_size)] == pieces
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id) == (1, 2, 0)


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("Tom", [3, 27, 7, 16]),
        (" Tom", [3, 27, 7, 16]),  # one space is put in front, and others there are taken away
        ("a  b ", [3, 5, 3, 23]),
        ("é€", [3, 78, 96]),
        ("日本", [3, 0]),  # what no piece covers is one unknown
        ("", []),
    ],
)
def test_text_is_cut_as_sentencepiece_cuts_it(
    tokenizer: Tokenizer, text: str, ids: list[int]
) -> None:
    """The numbers are those of the sentencepiece library, version 0.2."""
    assert tokenizer.encode(text) == ids


def test_text_comes_back(tokenizer: Tokenizer) -> None:
    text = 'Once upon a time, "Lily" saw 3 dogs.'
    assert tokenizer.decode(tokenizer.encode(text)) == text


def message(*fields: tuple[int, bytes | float | int]) -> bytes:
    """A protocol buffer message with short fields."""
    out = b""
    for number, value in fields:
        if isinstance(value, bytes):
            out += bytes([number << 3 | 2, len(value)]) + value
        elif isinstance(value, float):
            out += bytes([number << 3 | 5]) + struct.pack("<f", value)
        else:
            out += bytes([number << 3, value])
    return out


def sentencepiece_file(pieces: list[tuple[str, float, int]], kind: int, *rest: bytes) -> bytes:
    entries = [(1, message((1, text.encode()), (2, score), (3, k))) for text, score, k in pieces]
    return message(*entries, (2, message((3, kind))), *[(3, spec) for spec in rest])


SPECIAL = [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3)]


def test_bpe_joins_the_best_pair_first(tmp_path: Path) -> None:
    letters = [(letter, -10.0 - i, 1) for i, letter in enumerate("▁abc")]
    joined = [("bc", -1.0, 1), ("ab", -2.0, 1), ("▁a", -3.0, 1), ("abc", -4.0, 1)]
    path = tmp_path / "bpe.model"
    path.write_bytes(sentencepiece_file([*SPECIAL, *joined, *letters], 2))
    tokenizer = load_tokenizer(path)
    assert tokenizer.tokens("abc") == [" a", "bc"]
    assert tokenizer.tokens("cab") == [" ", "c", "ab"]


def test_unigram_takes_the_likeliest_cut_and_bytes_stand_in(tmp_path: Path) -> None:
    pieces = [("▁", -2.0, 1), ("a", -3.0, 1), ("b", -3.0, 1), ("ab", -4.0, 1), ("aba", -9.0, 1)]
    pieces += [(f"<0x{i:02X}>", 0.0, 6) for i in range(256)]
    path = tmp_path / "unigram.model"
    path.write_bytes(sentencepiece_file([*SPECIAL, *pieces], 1, message((3, 0))))
    tokenizer = load_tokenizer(path)
    assert tokenizer.tokens("aba") == ["ab", "a"]
    assert tokenizer.encode("é") == [8 + 0xC3, 8 + 0xA9]
    assert tokenizer.decode(tokenizer.encode("aé b")) == "aé b"


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "not a SentencePiece model"),
        (b"\x0a\x7fshort", "not a whole SentencePiece model"),
        (sentencepiece_file(SPECIAL, 4), "of kind unigram or BPE"),
        (sentencepiece_file(SPECIAL, 2, message((1, b"nmt_nfkc"))), "normalises text by"),
    ],
)
def test_other_files_are_no_tokenizers(content: bytes, fault: str, tmp_path: Path) -> None:
    path = tmp_path / "x.model"
    path.write_bytes(content)
    with pytest.raises(LoadError, match=fault):
        load_tokenizer(path)
