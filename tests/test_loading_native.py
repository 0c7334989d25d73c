"""Our own folder, state dicts in HookedTransformer's naming, and finding out what lies where."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import tokenizers
import torch
from huggingface_hub import errors

from cutaway.model import loading
from cutaway.model.config import ModelConfig
from cutaway.model.loading import LoadError, embedded_models, load_checkpoint
from cutaway.model.tokenizer import Tokenizer
from cutaway.model.transformer import HookedTransformer

CFG = ModelConfig(n_layers=2, d_model=12, n_heads=3, d_vocab=9, n_ctx=8, model_name="tiny")
LLAMA_LIKE = CFG.replace(
    normalization_type="RMS",
    gated_mlp=True,
    positional_embedding_type="rotary",
    n_key_value_heads=1,
    d_head=4,
    tie_word_embeddings=True,
    sliding_window=4,
    rotary_scaling={"kind": "linear", "factor": 2.0},
    qkv_bias=False,
)


def words() -> Tokenizer:
    vocabulary = {word: i for i, word in enumerate(["<|bos|>", "<|pad|>", "a", "b", "[B]"])}
    backend = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="b"))
    return Tokenizer(backend, bos_token="[B]")


# ---- our own folder ----


@pytest.mark.parametrize("cfg", [CFG, LLAMA_LIKE])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_what_is_saved_comes_back(cfg: ModelConfig, dtype: torch.dtype, tmp_path: Path) -> None:
    model = HookedTransformer(cfg, words()).to(dtype)
    model.save_pretrained(tmp_path / "runs/model")
    loaded = HookedTransformer.from_pretrained_no_processing(tmp_path / "runs/model", dtype=dtype)
    assert loaded.cfg == cfg.replace(dtype=str(dtype).removeprefix("torch."))
    assert loaded.digest == model.digest
    assert loaded.tokenizer.bos_token_id == 4, "a special token that was named is named again"
    assert loaded.tokenizer.pad_token_id == 1
    tokens = torch.tensor([[0, 3, 8, 2]])
    assert torch.equal(loaded(tokens), model(tokens))
    assert sorted(os.listdir(tmp_path / "runs")) == ["model"], "no temporary folder is left"


def test_the_digest_tells_models_apart() -> None:
    digests = {HookedTransformer(CFG, seed=seed).digest for seed in (0, 0, 1)}
    assert len(digests) == 2
    assert HookedTransformer(CFG.replace(eps=1e-6)).digest not in digests
    assert HookedTransformer(CFG.replace(model_name="the same")).digest in digests


def test_an_earlier_model_is_replaced_and_other_files_stay(tmp_path: Path) -> None:
    HookedTransformer(CFG, words()).save_pretrained(tmp_path)
    (tmp_path / "notes.txt").write_text("kept")
    later = HookedTransformer(CFG, seed=1)
    later.save_pretrained(tmp_path)
    assert HookedTransformer.from_pretrained_no_processing(tmp_path).digest == later.digest
    assert sorted(os.listdir(tmp_path)) == ["config.json", "model.safetensors", "notes.txt"]


def test_what_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    model = HookedTransformer(CFG)
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(FileExistsError, match="holds something that Cutaway did not save"):
        model.save_pretrained(tmp_path)
    with pytest.raises(FileExistsError, match="is a file"):
        model.save_pretrained(tmp_path / "thesis.tex")
    assert os.listdir(tmp_path) == ["thesis.tex"]


def test_a_save_that_fails_leaves_the_old_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = HookedTransformer(CFG, words())
    model.save_pretrained(tmp_path / "model")

    def full(*_: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(Tokenizer, "save", full)
    with pytest.raises(OSError, match="no space"):
        HookedTransformer(CFG, words(), seed=1).save_pretrained(tmp_path / "model")
    assert os.listdir(tmp_path) == ["model"]
    loaded = HookedTransformer.from_pretrained_no_processing(tmp_path / "model")
    assert loaded.digest == model.digest


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 2}, "has version 2 of the folder format; this release reads version 1"),
        ({"colour": "red"}, "config.json describes no model: it has unknown fields: colour"),
        ({"n_heads": 5}, "config.json describes no model: n_heads=5 does not divide"),
        ({"n_layers": 3}, r"lacks 16 tensors \('blocks.2.ln1.w'"),
        ({"n_layers": 1}, "holds 16 tensors .* does not have"),
        ({"d_vocab": 10}, r"'embed.W_E' in .* has the shape \[9, 12\]; .* \[10, 12\]"),
        ({"unembed_bias": True}, "lacks the tensor 'unembed.b_U'"),
    ],
)
def test_a_folder_that_does_not_fit_is_named(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    HookedTransformer(CFG).save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(ValueError, match=message) as caught:
        HookedTransformer.from_pretrained(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    HookedTransformer(CFG).save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(LoadError, match=r"model.safetensors is not a whole safetensors file"):
        load_checkpoint(tmp_path)
    path.unlink()
    with pytest.raises(LoadError, match=r"model.safetensors does not exist"):
        load_checkpoint(tmp_path)


# ---- HookedTransformer's naming ----


def transformer_lens_state(model: HookedTransformer) -> dict[str, torch.Tensor]:
    """The same weights as TransformerLens would save them: all biases, and its buffers."""
    cfg, state = model.cfg, dict(model.state_dict())
    everything = cfg.replace(qkv_bias=True, attn_out_bias=True, mlp_bias=True, unembed_bias=True)
    for name, shape in loading.expected_shapes(everything).items():
        state.setdefault(name, torch.zeros(shape))
    state["unembed.W_U"] = model.W_U
    for layer in range(cfg.n_layers):
        attn = f"blocks.{layer}.attn"
        state[f"{attn}.mask"] = torch.ones(8, 8).tril().bool()
        state[f"{attn}.IGNORE"] = torch.tensor(-torch.inf)
        if cfg.heads_per_group > 1:
            for letter in "KV":
                state[f"{attn}._W_{letter}"] = state.pop(f"{attn}.W_{letter}")
                state[f"{attn}._b_{letter}"] = state.pop(f"{attn}.b_{letter}")
    return state


@pytest.mark.parametrize("cfg", [CFG, LLAMA_LIKE])
def test_state_dicts_of_transformer_lens(cfg: ModelConfig, tmp_path: Path) -> None:
    model = HookedTransformer(cfg)
    path = tmp_path / "model.pt"
    torch.save(transformer_lens_state(model), path)
    loaded = HookedTransformer.from_pretrained_no_processing(path, cfg=cfg)
    assert loaded.digest == model.digest
    with pytest.raises(LoadError, match="does not say what kind"):
        load_checkpoint(path)


def test_biases_that_are_missing_are_zero(tmp_path: Path) -> None:
    model = HookedTransformer(CFG)
    state = {name: v for name, v in model.state_dict().items() if ".b_" not in name}
    torch.save(state, tmp_path / "model.pt")
    loaded = HookedTransformer.from_pretrained_no_processing(tmp_path / "model.pt", cfg=CFG)
    assert loaded.digest == model.digest


def test_a_bias_that_would_be_lost_is_an_error(tmp_path: Path) -> None:
    state = HookedTransformer(CFG).state_dict()
    state["blocks.1.attn.b_Q"] = torch.ones(3, 4)
    torch.save(state, tmp_path / "model.pt")
    cfg = CFG.replace(qkv_bias=False)
    with pytest.raises(LoadError, match="holds the tensor 'blocks.1.attn.b_Q'"):
        load_checkpoint(tmp_path / "model.pt", cfg=cfg)


def test_from_state_names_what_does_not_fit() -> None:
    state = dict(HookedTransformer(CFG).state_dict())
    state["blocks.0.attn.W_Q"] = torch.zeros(2, 12, 4)
    with pytest.raises(LoadError, match=r"'blocks.0.attn.W_Q' .* \[2, 12, 4\]; .* \[3, 12, 4\]"):
        HookedTransformer.from_state(CFG, state)


# ---- what lies where ----


def test_unknown_options_are_refused() -> None:
    with pytest.raises(TypeError, match="fold_layernorm"):
        HookedTransformer.from_pretrained("x", fold_layernorm=True)  # type: ignore[call-arg]


def test_embedded_models_load_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "ASSETS", tmp_path)
    HookedTransformer(CFG).save_pretrained(tmp_path / "one")
    assert embedded_models() == ["one"]
    assert load_checkpoint("one").cfg.model_name == "tiny"
    with pytest.raises(LoadError, match=r"no model is called 'two': .*\(one\).* gpt2"):
        load_checkpoint("two")
    with pytest.raises(LoadError, match="revision='main' is for names on the hub"):
        load_checkpoint("one", revision="main")


def test_places_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match=f"{tmp_path} holds no model"):
        load_checkpoint(tmp_path)
    for missing in (tmp_path / "x", str(tmp_path / "x.pt"), "./x", "x.safetensors"):
        with pytest.raises(LoadError, match="does not exist"):
            load_checkpoint(missing)


class Hub:
    """Stands for the hub: a folder that is copied from, or an error."""

    def __init__(self, folder: Path, fault: Exception | None = None) -> None:
        self.folder, self.fault = folder, fault
        self.asked: list[tuple[str, str | None, list[str]]] = []

    def __call__(self, name: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        self.asked.append((name, revision, allow_patterns))
        if self.fault is not None:
            raise self.fault
        return str(self.folder)


def test_short_names_and_revisions_reach_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = Hub(tmp_path)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", hub)
    (tmp_path / "config.json").write_text('{"model_type": "mamba"}')
    with pytest.raises(LoadError, match="unknown architecture 'mamba'"):
        load_checkpoint("pythia-70m", revision="step1000")
    ((name, revision, patterns),) = hub.asked
    assert (name, revision) == ("EleutherAI/pythia-70m", "step1000")
    assert not any("safetensors" in pattern for pattern in patterns), "no weights were fetched"


def fault_of(kind: type[Exception]) -> Exception:
    return kind.__new__(kind)  # their constructors want a web response


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (fault_of(errors.RepositoryNotFoundError), "the Hugging Face Hub has no model 'a/b'"),
        (fault_of(errors.GatedRepoError), "needs permission"),
        (fault_of(errors.RevisionNotFoundError), "has no revision 'v1'"),
        (fault_of(errors.LocalEntryNotFoundError), "cannot be reached"),
        (ConnectionError("no route to host"), "cannot be reached"),
    ],
)
def test_what_the_hub_refuses_is_said_plainly(
    fault: Exception, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub, "snapshot_download", Hub(tmp_path, fault))
    with pytest.raises(LoadError, match=message):
        load_checkpoint("a/b", revision="v1")


# ---- names, devices, permissions ----


def test_an_empty_name_is_not_the_folder_one_is_in(tmp_path: Path, monkeypatch: Any) -> None:
    HookedTransformer(CFG).save_pretrained(tmp_path / "model")
    monkeypatch.chdir(tmp_path / "model")
    for name in ("", "  "):
        with pytest.raises(LoadError, match="the name of the model is empty: give the name"):
            HookedTransformer.from_pretrained(name)


def test_an_embedded_name_and_a_folder_of_that_name(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    name = embedded_models()[0]
    embedded = HookedTransformer.from_pretrained(name)
    (tmp_path / name).mkdir()
    (tmp_path / name / "notes.txt").write_text("no model")
    assert HookedTransformer.from_pretrained(name).digest == embedded.digest
    (tmp_path / name / "notes.txt").unlink()
    HookedTransformer(CFG).save_pretrained(tmp_path / name)
    with pytest.raises(LoadError, match=f"also a folder with a model: write './{name}'"):
        HookedTransformer.from_pretrained(name)
    for path in (f"./{name}", Path(name), tmp_path / name):
        assert HookedTransformer.from_pretrained(path).cfg.model_name == "tiny"


@pytest.mark.parametrize("device", ["cuda", "cuda:1", "mps"])
def test_a_device_that_is_not_there(device: str, monkeypatch: Any) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    message = f"device='{device}' cannot be used here: torch finds none; take 'cpu'"
    with pytest.raises(ValueError, match=message):
        HookedTransformer.from_pretrained(embedded_models()[0], device=device)
    with pytest.raises(ValueError, match=message):
        HookedTransformer(CFG, device=device)


def test_names_of_devices_and_number_formats() -> None:
    with pytest.raises(ValueError, match="device='gpu' is unknown; it can be cpu, cuda or mps"):
        HookedTransformer(CFG, device="gpu")
    with pytest.raises(ValueError, match="dtype='int4' is unknown; it can be float32"):
        HookedTransformer.from_pretrained(embedded_models()[0], dtype="int4")
    half = HookedTransformer.from_pretrained(embedded_models()[0], dtype="bf16")
    assert half.dtype == torch.bfloat16 and half.cfg.dtype == "bfloat16"


def test_saved_files_have_the_permissions_of_new_files(tmp_path: Path) -> None:
    (tmp_path / "new").touch()
    HookedTransformer(CFG, words()).save_pretrained(tmp_path / "model")
    expected = (tmp_path / "new").stat().st_mode
    assert {path.stat().st_mode for path in (tmp_path / "model").iterdir()} == {expected}


@torch.no_grad()
def test_a_gated_mlp_of_transformerlens_has_its_bias_behind_the_gate(tmp_path: Path) -> None:
    cfg = CFG.replace(gated_mlp=True)
    state = {
        name: torch.randn(v.shape) / 4 for name, v in HookedTransformer(cfg).state_dict().items()
    }
    theirs = {name: v for name, v in state.items() if not name.endswith("b_gate")}
    torch.save(theirs, tmp_path / "theirs.pt")
    model = HookedTransformer.from_pretrained_no_processing(tmp_path / "theirs.pt", cfg=cfg)
    tokens = torch.tensor([[0, 3, 8, 2]])
    _, cache = model.run_with_cache(tokens)
    for layer in range(2):
        mlp = f"blocks.{layer}.mlp."
        x = model.blocks[layer].ln2(cache["resid_mid", layer])
        gate = torch.nn.functional.gelu(x @ theirs[mlp + "W_gate"], approximate="tanh")
        post = gate * (x @ theirs[mlp + "W_in"]) + theirs[mlp + "b_in"]
        out = post @ theirs[mlp + "W_out"] + theirs[mlp + "b_out"]
        torch.testing.assert_close(cache["mlp_out", layer], out, rtol=1e-5, atol=1e-5)
    torch.save(state, tmp_path / "ours.pt")
    ours = HookedTransformer.from_pretrained_no_processing(tmp_path / "ours.pt", cfg=cfg)
    assert torch.equal(ours.b_in[0], state["blocks.0.mlp.b_in"]), "with b_gate it is one of ours"
    with pytest.raises(LoadError, match="is not zero, .* give mlp_bias=True"):
        loading.hooked.load(theirs, cfg.replace(mlp_bias=False), "a file")
