"""Hugging Face checkpoints: `transformers` on random weights is the oracle, family by family."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from cutaway.model.loading import LoadError, load_checkpoint
from cutaway.model.transformer import HookedTransformer

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 56,
    "vocab_size": 50,
    "max_position_embeddings": 40,
    "initializer_range": 0.3,
}
TOKENS = {"bos_token_id": 0, "eos_token_id": 1}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 300.0,
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
LINEAR = {"rope_type": "linear", "rope_theta": 10_000.0, "factor": 2.0}


def gpt2(**changes: Any) -> Any:
    sizes = {"n_embd": 24, "n_layer": 2, "n_head": 3, "vocab_size": 50, "n_positions": 40}
    return GPT2LMHeadModel(GPT2Config(**{**sizes, "initializer_range": 0.3, **TOKENS, **changes}))


def neox(**changes: Any) -> Any:
    return GPTNeoXForCausalLM(GPTNeoXConfig(**{**SIZES, **TOKENS, **changes}))


def llama(**changes: Any) -> Any:
    return LlamaForCausalLM(LlamaConfig(**{**SIZES, **TOKENS, **changes}))


def mistral(**changes: Any) -> Any:
    return MistralForCausalLM(MistralConfig(**{**SIZES, **TOKENS, **changes}))


def qwen2(**changes: Any) -> Any:
    return Qwen2ForCausalLM(Qwen2Config(**{**SIZES, **changes}))


CASES = {
    "gpt2": lambda: gpt2(),
    "gpt2, wide MLP, relu, untied": lambda: gpt2(
        n_inner=40, activation_function="relu", tie_word_embeddings=False
    ),
    "gpt2, one head, scores unscaled": lambda: gpt2(n_head=1, scale_attn_weights=False),
    "neox, a quarter turned, parallel": lambda: neox(rotary_pct=0.25, use_parallel_residual=True),
    "neox, all turned, in sequence": lambda: neox(rotary_pct=1.0, use_parallel_residual=False),
    "neox without attention biases": lambda: neox(attention_bias=False),
    "llama": lambda: llama(num_key_value_heads=4),
    "llama, grouped, tied": lambda: llama(num_key_value_heads=2, tie_word_embeddings=True),
    "llama, one key-value head, wide heads, biases": lambda: llama(
        num_key_value_heads=1, head_dim=12, attention_bias=True, mlp_bias=True
    ),
    "llama, llama3 frequencies": lambda: llama(num_key_value_heads=2, rope_parameters=LLAMA3),
    "llama, linear frequencies": lambda: llama(num_key_value_heads=2, rope_parameters=LINEAR),
    "mistral, window of 5": lambda: mistral(num_key_value_heads=2, sliding_window=5),
    "mistral, no window": lambda: mistral(num_key_value_heads=2, sliding_window=None),
    "qwen2": lambda: qwen2(num_key_value_heads=2),
    "qwen2, tied, window of 6": lambda: qwen2(
        num_key_value_heads=2,
        tie_word_embeddings=True,
        use_sliding_window=True,
        sliding_window=6,
        max_window_layers=0,
    ),
}


def oracle(case: str, folder: Path, **save: Any) -> Any:
    """A saved model with every weight random, biases and norms too."""
    torch.manual_seed(sum(map(ord, case)))
    model = CASES[case]().eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1:
                offset = 1.0 if "norm" in name or "ln_" in name else 0.0
                parameter.normal_(offset if name.endswith("weight") else 0.0, 0.3)
    model.save_pretrained(folder, **save)
    return model


@torch.no_grad()
def assert_same_logits(model: HookedTransformer, theirs: Any) -> None:
    for batch, length in ((1, 1), (2, 7), (3, 23)):
        tokens = torch.randint(0, 50, (batch, length), generator=torch.Generator().manual_seed(1))
        torch.testing.assert_close(model(tokens), theirs(tokens).logits, rtol=0, atol=1e-4)


@pytest.mark.parametrize("case", CASES)
def test_logits_equal_those_of_transformers(case: str, tmp_path: Path) -> None:
    theirs = oracle(case, tmp_path)
    model = HookedTransformer.from_pretrained_no_processing(tmp_path)
    assert_same_logits(model, theirs)
    processed = HookedTransformer.from_pretrained(tmp_path)
    tokens = torch.arange(20)[None]
    with torch.no_grad():
        torch.testing.assert_close(
            processed(tokens).log_softmax(-1), model(tokens).log_softmax(-1), rtol=0, atol=2e-4
        )


@pytest.mark.parametrize("case", ["gpt2", "neox, a quarter turned, parallel", "llama"])
def test_shards_are_put_together(case: str, tmp_path: Path) -> None:
    theirs = oracle(case, tmp_path, max_shard_size="10KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 2
    assert_same_logits(HookedTransformer.from_pretrained_no_processing(tmp_path), theirs)


def test_a_pickled_checkpoint_loads(tmp_path: Path) -> None:
    theirs = oracle("gpt2", tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save(theirs.state_dict(), tmp_path / "pytorch_model.bin")
    for path in (tmp_path, tmp_path / "pytorch_model.bin"):
        assert_same_logits(HookedTransformer.from_pretrained_no_processing(path), theirs)


def test_gpt2_without_the_prefix_and_with_mask_buffers(tmp_path: Path) -> None:
    """As the first GPT-2 checkpoints on the hub are."""
    theirs = oracle("gpt2", tmp_path)
    (tmp_path / "model.safetensors").unlink()
    state = {k.removeprefix("transformer."): v for k, v in theirs.state_dict().items()}
    state |= {f"h.{i}.attn.bias": torch.ones(1, 1, 40, 40).tril() for i in range(2)}
    state |= {f"h.{i}.attn.masked_bias": torch.tensor(-1e4) for i in range(2)}
    torch.save(state, tmp_path / "pytorch_model.bin")
    assert_same_logits(HookedTransformer.from_pretrained_no_processing(tmp_path), theirs)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_files_load_as_float32(dtype: torch.dtype, tmp_path: Path) -> None:
    oracle("llama", tmp_path).to(dtype).save_pretrained(tmp_path)
    theirs = LlamaForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    model = HookedTransformer.from_pretrained_no_processing(tmp_path)
    assert model.dtype == torch.float32
    assert_same_logits(model, theirs)
    assert HookedTransformer.from_pretrained(tmp_path, dtype="bfloat16").dtype == torch.bfloat16


def edit_config(folder: Path, drop: tuple[str, ...] = (), **changes: Any) -> None:
    path = folder / "config.json"
    values = json.loads(path.read_text())
    values = {k: v for k, v in values.items() if k not in drop} | changes
    path.write_text(json.dumps(values))


@pytest.mark.parametrize(
    ("case", "old"),
    [
        ("llama, llama3 frequencies", {"rope_theta": 300.0, "rope_scaling": LLAMA3}),
        (
            "llama, linear frequencies",
            {"rope_theta": 10_000.0, "rope_scaling": {"type": "linear", "factor": 2.0}},
        ),
        ("llama", {"rope_theta": 10_000.0, "rope_scaling": None}),
        (
            "neox, a quarter turned, parallel",
            {"rotary_pct": 0.25, "rotary_emb_base": 10_000, "rope_scaling": None},
        ),
    ],
)
def test_the_spelling_of_transformers_4_is_read(case: str, old: Any, tmp_path: Path) -> None:
    theirs = oracle(case, tmp_path)
    edit_config(tmp_path, drop=("rope_parameters",), **old)
    assert_same_logits(HookedTransformer.from_pretrained_no_processing(tmp_path), theirs)


def test_the_first_gpt2_configuration_is_read(tmp_path: Path) -> None:
    theirs = oracle("gpt2", tmp_path)
    edit_config(tmp_path, drop=("n_positions", "tie_word_embeddings", "n_inner"), n_ctx=40)
    assert_same_logits(HookedTransformer.from_pretrained_no_processing(tmp_path), theirs)


def test_qwen2_of_transformers_4_without_layer_types(tmp_path: Path) -> None:
    theirs = oracle("qwen2, tied, window of 6", tmp_path)
    edit_config(tmp_path, drop=("layer_types",))
    assert_same_logits(HookedTransformer.from_pretrained_no_processing(tmp_path), theirs)


def test_the_bos_convention_of_each_family(tmp_path: Path) -> None:
    expected = {"gpt2": True, "neox, all turned, in sequence": True, "llama": True, "qwen2": False}
    for case, bos in expected.items():
        oracle(case, tmp_path / case)
        assert load_checkpoint(tmp_path / case).cfg.default_prepend_bos is bos


def test_the_tokenizer_and_its_bos_come_along(shared: Path, tmp_path: Path) -> None:
    oracle("gpt2", tmp_path)
    text = (shared / "models/gpt2-tokenizer/tokenizer.json").read_text()
    (tmp_path / "tokenizer.json").write_text(text)
    edit_config(tmp_path, bos_token_id=50256, eos_token_id=50256)
    tokenizer = load_checkpoint(tmp_path).tokenizer
    assert tokenizer is not None
    assert tokenizer.bos_token_id == 50256
    assert tokenizer.single(" Mary") == 5335
    (tmp_path / "tokenizer.json").unlink()
    given = load_checkpoint(tmp_path, tokenizer=shared / "models/gpt2-tokenizer/tokenizer.json")
    assert given.tokenizer is not None
    assert given.tokenizer.single(" Mary") == 5335


# ---- faults ----


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "bert"}, "unknown architecture 'bert'; known are gpt2, gpt_neox, llama"),
        ({"activation_function": "mish"}, "'mish', an unknown activation; known are"),
        ({"n_layer": None}, "lacks the field 'n_layer'"),
        ({"scale_attn_by_inverse_layer_idx": True}, "all layers must scale scores alike"),
        ({"vocab_size": 51}, r"'wte.weight' in .* has the shape \[50, 24\]; .* \[51, 24\]"),
        ({"n_head": 5}, "d_model=24 does not divide by n_heads=5"),
        ({"n_layer": 3}, "lacks the tensor 'h.2.ln_1.weight'"),
        ({"n_layer": 1}, "holds 12 tensors .*'h.1.* does not have"),
        ({"tie_word_embeddings": False}, "lacks the tensor 'lm_head.weight'"),
    ],
)
def test_a_gpt2_folder_that_does_not_fit_is_named(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    oracle("gpt2", tmp_path)
    edit_config(tmp_path, **changes)
    with pytest.raises(LoadError, match=message) as caught:
        load_checkpoint(tmp_path)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rope_parameters": {"rope_type": "yarn", "factor": 2.0}}, "scaling 'yarn'; known are"),
        ({"rope_parameters": {"rope_type": "linear"}}, "lacks the field 'factor'"),
        ({"rope_parameters": {"full_attention": LINEAR}}, "for each kind of layer"),
        (
            {
                "model_type": "qwen2",
                "use_sliding_window": True,
                "sliding_window": 4,
                "max_window_layers": 1,
            },
            "mixes layers",
        ),
    ],
)
def test_a_llama_that_cannot_be_computed_is_refused(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    oracle("llama", tmp_path)
    edit_config(tmp_path, **changes)
    with pytest.raises(LoadError, match=message):
        load_checkpoint(tmp_path)


def test_damaged_files_are_named(tmp_path: Path) -> None:
    oracle("gpt2", tmp_path, max_shard_size="10KB")
    shard = sorted(tmp_path.glob("*.safetensors"))[0]
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(LoadError, match=f"{shard.name} is not a whole safetensors file"):
        load_checkpoint(tmp_path)
    shard.unlink()
    with pytest.raises(LoadError, match=f"{shard.name} does not exist"):
        load_checkpoint(tmp_path)
    for path in tmp_path.glob("model*"):
        path.unlink()
    with pytest.raises(LoadError, match=r"holds no weights: model.safetensors or pytorch_model"):
        load_checkpoint(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(LoadError, match=r"config.json is not valid JSON"):
        load_checkpoint(tmp_path)


@pytest.mark.slow
@torch.no_grad()
def test_gpt2_small_in_its_real_shape(shared: Path, tmp_path: Path) -> None:
    """Random weights, the real tokenizer: what a user with the real files has, but for training."""
    torch.manual_seed(0)
    theirs = GPT2LMHeadModel(GPT2Config()).eval()
    theirs.save_pretrained(tmp_path)
    text = (shared / "models/gpt2-tokenizer/tokenizer.json").read_text()
    (tmp_path / "tokenizer.json").write_text(text)
    model = HookedTransformer.from_pretrained_no_processing(tmp_path)
    tokens = model.to_tokens("When John and Mary went to the store, John gave a drink to")
    assert tokens.shape == (1, 15)
    expected = theirs(tokens).logits
    torch.testing.assert_close(model(tokens), expected, rtol=0, atol=1e-4)
    processed = HookedTransformer.from_pretrained(tmp_path, refactor_factored_attn_matrices=True)
    difference = processed(tokens).log_softmax(-1) - expected.log_softmax(-1)
    assert difference.abs().max() < 1e-4
