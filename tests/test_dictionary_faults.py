"""Folders of dictionaries that are old, that mean what we do not have, or that are damaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import cutaway as ca
from cutaway.sae import DictionaryConfig, DictionaryError, load_dictionary, save_dictionary
from dictionary_folders import (
    RECORDED,
    as_saelens_computes,
    changed,
    close,
    copied,
    with_tensors,
)
from random_dictionaries import random_dictionary, random_rows

DEFAULT = DictionaryConfig("top-k", 6, 10, k=3, hook="blocks.1.hook_resid_post")


# ---- older files of SAELens ----

OLD = {
    "model_name": "a-model",
    "hook_point": "blocks.1.hook_resid_post",
    "hook_point_layer": 1,
    "hook_point_head_index": None,
    "d_in": 6,
    "d_sae": 10,
    "expansion_factor": 2,
    "dtype": "torch.float32",
    "l1_coefficient": 8e-5,
    "context_size": 16,
    "seed": 42,
}


def old(folder: Path, **fields: Any) -> Path:
    (folder / "cfg.json").write_text(json.dumps({**OLD, **fields}))
    return folder


def test_flat_files_of_older_versions_are_read_by_rule(tmp_path: Path) -> None:
    folder = copied("saelens/standard", tmp_path)
    wanted = load_dictionary(folder)
    old(folder)
    with pytest.raises(DictionaryError, match="cfg.json lacks 'architecture'"):
        load_dictionary(folder)
    found = load_dictionary(folder, assume={"architecture": "standard"})
    assert found.cfg == wanted.cfg.replace(prepend_bos=False)
    assert found(x := random_rows(found.cfg)).equal(wanted(x))
    scaled = old(folder, normalize_activations=True, architecture="standard")
    with pytest.raises(DictionaryError, match="the factor is in no activation_scaler.json"):
        load_dictionary(scaled)
    assert load_dictionary(scaled, assume={"scaling_factor": 2.5}).cfg.scale == 2.5
    z = old(folder, hook_point="blocks.1.attn.hook_z", architecture="standard")
    assert load_dictionary(z).cfg.hook == "blocks.1.attn.hook_z"


def test_an_old_topk_says_its_k_elsewhere(tmp_path: Path) -> None:
    folder = copied("saelens/topk", tmp_path)
    wanted = load_dictionary(folder)
    fields = {"architecture": "standard", "activation_fn_str": "topk", "sae_lens_version": "5.1.0"}
    found = load_dictionary(old(folder, **fields, activation_fn_kwargs={"k": 3}))
    assert found.cfg.k == wanted.cfg.k == 3
    assert found(x := random_rows(found.cfg)).equal(wanted(x))
    with pytest.raises(DictionaryError, match="cfg.json lacks 'k'"):
        load_dictionary(old(folder, **fields))
    with pytest.raises(DictionaryError, match="activation_fn='tanh-relu'"):
        load_dictionary(old(folder, architecture="standard", activation_fn="tanh-relu"))


def test_a_finetuning_factor_goes_into_the_decoder(tmp_path: Path) -> None:
    folder = copied("saelens/standard", tmp_path)
    wanted, factor = load_dictionary(folder), torch.rand(10) + 0.5
    with_tensors(folder, scaling_factor=factor)
    with pytest.raises(DictionaryError, match="'scaling_factor'"):
        load_dictionary(folder)
    found = load_dictionary(changed(folder, finetuning_scaling_factor=True))
    x = random_rows(found.cfg)
    assert found.encode(x).equal(wanted.encode(x))
    close(found(x), wanted.decode(wanted.encode(x) * factor))
    with_tensors(folder, scaling_factor=None)
    with pytest.raises(DictionaryError, match="lacks the tensor 'scaling_factor'"):
        load_dictionary(folder)
    with_tensors(changed(folder, finetuning_scaling_factor=False), scaling_factor=torch.ones(10))
    assert load_dictionary(folder)(x).equal(wanted(x))


# ---- faults ----


@pytest.mark.parametrize("name", ["architecture", "d_in", "d_sae", "dtype", "k"])
def test_a_field_that_is_missing_is_named_with_its_file(name: str, tmp_path: Path) -> None:
    folder = changed(copied("saelens/topk", tmp_path), **{name: None})
    value = json.loads((RECORDED / "saelens/topk/cfg.json").read_text())[name]
    with pytest.raises(DictionaryError, match=f"cfg.json lacks '{name}'.*nothing is assumed"):
        load_dictionary(folder)
    assert load_dictionary(folder, assume={name: value}).cfg.k == 3
    with pytest.raises(DictionaryError, match="says itself that device is 'cpu'"):
        load_dictionary(folder, assume={"device": "cuda"})


@pytest.mark.parametrize(
    ("name", "fields", "said"),
    [
        ("standard", {"architecture": "abstopk"}, "architecture='abstopk'.*no counterpart"),
        ("standard", {"dtype": "int8"}, "dtype='int8' is unknown"),
        ("standard", {"d_in": 7}, r"W_enc.*has the shape \[6, 10\].*asks for \[7, 10\]"),
        ("standard", {"d_sae": "10"}, "d_features='10' has to be a whole number"),
        ("topk", {"k": 11}, "k=11 has to be a whole number from 1 to"),
        ("topk", {"k": 2.5}, "k=2.5: here k is a whole number"),
        ("standard", {"normalize_activations": "layer_norm"}, "not one linear map"),
        ("standard", {"normalize_activations": "constant_norm_rescale"}, "not one linear map"),
        ("standard", {"normalize_activations": "covariance_whitening"}, "not folded"),
        ("standard", {"normalize_activations": None}, "lacks 'normalize_activations'"),
        ("standard", {"apply_b_dec_to_input": None}, "lacks 'apply_b_dec_to_input'"),
        ("standard", {"reshape_activations": "other"}, "reshape_activations='other'"),
        ("standard", {"metadata_hook_head_index": 3}, "hook_head_index=3: it reads or writes one"),
        ("standard", {"hook_head_index": 3}, "hook_head_index=3: it reads one head alone"),
        ("standard", {"activation_fn": "tanh-relu"}, "activation_fn='tanh-relu'"),
        ("standard", {"new_option": 1}, "'new_option', which this release does not know"),
        ("standard", {"metadata_sae_lens_version": None}, "lacks 'sae_lens_version'"),
        ("standard", {"metadata_sae_lens_version": "new"}, "which is no version"),
        ("standard", {"metadata": 3}, "metadata=3, which is no JSON object"),
        ("standard", {"metadata_cutaway": {"version": 2}}, "note of Cutaway's"),
        ("transcoder", {"d_out": None}, "lacks 'd_out'"),
        ("transcoder", {"apply_b_dec_to_input": True}, "give subtract_decoder_bias=False"),
    ],
)
def test_what_a_dictionary_cannot_do_is_refused(
    name: str, fields: dict[str, Any], said: str, tmp_path: Path
) -> None:
    folder = changed(copied(f"saelens/{name}", tmp_path), **fields)
    with pytest.raises(DictionaryError, match=said):
        load_dictionary(folder)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"k": None}, "cfg.json lacks 'k'"),
        ({"d_in": None}, "cfg.json lacks 'd_in'"),
        ({"activation": "groupmax"}, "activation='groupmax'"),
        ({"signed": True}, "signed=true"),
        ({"skip_connection": True}, "without transcode"),
        ({"new_option": 1}, "'new_option', which this release does not know"),
        ({"num_latents": 11}, r"has the shape \[12, 6\].*asks for \[11, 6\]"),
        ({"k": 40}, "k=40 has to be"),
    ],
)
def test_what_sparsify_has_and_we_do_not(fields: Any, said: str, tmp_path: Path) -> None:
    folder = changed(copied("sparsify/layers.1", tmp_path), **fields)
    with pytest.raises(DictionaryError, match=said):
        load_dictionary(folder)


def test_a_sparsify_file_from_before_the_options(tmp_path: Path) -> None:
    folder = copied("sparsify/layers.1", tmp_path)
    wanted = load_dictionary(folder)
    older = ("activation", "transcode", "skip_connection", "num_latents", "multi_topk")
    found = load_dictionary(changed(folder, **dict.fromkeys(older), signed=False))
    assert found.digest == wanted.digest
    with pytest.raises(DictionaryError, match="lacks 'expansion_factor'"):
        load_dictionary(changed(folder, expansion_factor=None))
    mixed = with_tensors(copied("sparsify/h.0.mlp", tmp_path), b_dec=torch.zeros(6).half())
    with pytest.raises(DictionaryError, match="float16, float32: the weights .* one number format"):
        load_dictionary(mixed)


@pytest.mark.parametrize("name", ["saelens/jumprelu", "sparsify/layers.1"])
def test_weights_that_are_damaged(name: str, tmp_path: Path) -> None:
    folder = copied(name, tmp_path)
    for value in (torch.nan, torch.inf):
        broken = torch.zeros(6)
        broken[2] = value
        with pytest.raises(DictionaryError, match="'b_dec'.*1 of 6 values.*NaN or infinite"):
            load_dictionary(with_tensors(folder, b_dec=broken))
    with pytest.raises(DictionaryError, match="lacks the tensor 'b_dec'"):
        load_dictionary(with_tensors(folder, b_dec=None))
    with_tensors(folder, b_dec=torch.zeros(6), other=torch.zeros(1))
    with pytest.raises(DictionaryError, match="holds the tensor 'other'"):
        load_dictionary(folder)
    path = next(folder.glob("sae*.safetensors"))
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(DictionaryError, match="not a whole safetensors file"):
        load_dictionary(folder)
    (folder / "cfg.json").write_text("{")
    with pytest.raises(DictionaryError, match="not valid JSON"):
        load_dictionary(folder)


def test_thresholds_that_do_not_fit_the_note(tmp_path: Path) -> None:
    cfg = DictionaryConfig("batch-top-k", 4, 8, k=2, dtype="bfloat16")
    dictionary = random_dictionary(cfg)
    save_dictionary(dictionary, tmp_path)
    assert load_dictionary(tmp_path).threshold.item() == pytest.approx(0.3, abs=1e-7)
    with_tensors(tmp_path, threshold=torch.linspace(0, 1, 8).bfloat16())
    with pytest.raises(DictionaryError, match="other thresholds than the note"):
        load_dictionary(tmp_path)
    assert load_dictionary(changed(tmp_path, metadata_cutaway=None)).cfg.kind == "jump-relu"


def test_negative_thresholds_are_left_to_relu(tmp_path: Path) -> None:
    folder = copied("saelens/jumprelu", tmp_path)
    threshold = load_file(folder / "sae_weights.safetensors")["threshold"] - 0.4
    assert (threshold < 0).any()
    dictionary = load_dictionary(with_tensors(folder, threshold=threshold))
    x = random_rows(dictionary.cfg)
    features, output = as_saelens_computes(folder, x.double().numpy())
    close(dictionary.encode(x), torch.tensor(features))
    close(dictionary(x), torch.tensor(output))


def test_places_where_no_dictionary_is(tmp_path: Path) -> None:
    with pytest.raises(DictionaryError, match="no dictionary 'nowhere'.*it is no folder"):
        load_dictionary("nowhere")
    with pytest.raises(DictionaryError, match="holds no cfg.json"):
        load_dictionary(tmp_path)
    (tmp_path / "cfg.json").write_text("{}")
    with pytest.raises(DictionaryError, match="holds no weights"):
        load_dictionary(tmp_path)
    with pytest.raises(DictionaryError, match="is a file: give the folder"):
        load_dictionary(tmp_path / "cfg.json")
    with pytest.raises(ValueError, match="device='abacus' is unknown"):
        load_dictionary(RECORDED / "saelens" / "gated", "abacus")
    with pytest.raises(DictionaryError, match="format='pickle' is unknown"):
        save_dictionary(random_dictionary(DEFAULT), tmp_path, "pickle")  # type: ignore[arg-type]


def test_a_dictionary_of_another_model_is_refused() -> None:
    model = ca.HookedTransformer.from_pretrained("induction-2l")
    folder = RECORDED / "saelens" / "standard"
    width = model.cfg.d_model
    with pytest.raises(DictionaryError, match=f"width 6 at .*hook_resid_post, which has {width}"):
        load_dictionary(folder, model=model)
    with pytest.raises(DictionaryError, match="has no hook 'blocks.1.ln2.hook_normalized'"):
        load_dictionary(RECORDED / "saelens" / "transcoder", model=model)
