"""Dictionaries opened by SAELens and here, from the same folders: `make test-peers`.

SAELens' pins conflict with the tests' own, so it has an environment of its own, in which this file
runs by itself; Cutaway is found there by its path.
"""

from __future__ import annotations

import copy
import json
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings

from cutaway.sae import DictionaryConfig, load_dictionary, save_dictionary
from cutaway.sae.saelens_writing import VERSION
from data.make_dictionaries import SAELENS, TRAINED, randomise
from dictionary_folders import close
from random_dictionaries import configs, random_dictionary, random_rows

if find_spec("sae_lens") is None:
    pytest.skip(
        "needs SAELens: run `make test-peers`, which sets up its environment",
        allow_module_level=True,
    )
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of what it imports
    import sae_lens
    from sae_lens.registry import get_sae_class, get_sae_training_class
    from sae_lens.saes.sae import TrainStepInput

D_IN, D_FEATURES, D_OUT = 24, 60, 17


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "dictionary"


def shaped(cfg: DictionaryConfig) -> DictionaryConfig:
    """The same options at a size at which rounding would show."""
    changes: dict[str, Any] = {"d_in": D_IN, "d_features": D_FEATURES}
    if cfg.d_out is not None:
        changes["d_out"] = D_OUT
    if cfg.k is not None:
        changes["k"] = 7
    if cfg.sizes:
        changes["sizes"] = (20, D_FEATURES)
    return cfg.replace(**changes)


def same(ours: Any, theirs: Any, x: torch.Tensor) -> None:
    """Equal features and outputs. Half precision is widened first: the weights are what a file
    holds, and which of two nearly equal features is larger is a matter of rounding."""
    ours, theirs, x = copy.deepcopy(ours).float(), theirs.to(dtype=torch.float32), x.float()
    as_given = x.unflatten(-1, (3, -1)) if theirs.cfg.reshape_activations == "hook_z" else x
    with torch.no_grad():
        features, their_features = ours.encode(x), theirs.encode(as_given)
        close(ours(x), theirs(as_given).flatten(1))
    close(features, their_features)
    assert (features > 0).equal(their_features > 0)
    assert 0 < (features > 0).float().mean() < 1


def test_the_version_is_the_one_whose_folders_we_write() -> None:
    assert sae_lens.__version__ == VERSION


@settings(max_examples=60)
@given(configs())
def test_ours_opened_by_saelens(tmp_path_factory, cfg: DictionaryConfig) -> None:
    cfg, folder = shaped(cfg), tmp_path_factory.mktemp("ours") / "dictionary"
    dictionary, x = random_dictionary(cfg, seed=3), random_rows(cfg, n=50)
    save_dictionary(dictionary, folder)
    if cfg.is_transcoder and cfg.kind in ("top-k", "gated"):
        with pytest.raises(KeyError, match="_transcoder"):  # it computes nothing else instead
            sae_lens.SAE.load_from_disk(folder)
        return
    theirs = sae_lens.SAE.load_from_disk(folder)
    assert theirs.cfg.metadata.hook_name == (cfg.hook or None)
    # Their own save keeps our note, so it comes back as what it was.
    theirs.save_model(folder.parent / "again")
    loaded = load_dictionary(folder)
    if cfg.dtype != "float32" and "threshold" in loaded.state_dict():  # the note has it exactly
        loaded.threshold.copy_(theirs.threshold[0].detach())
    same(loaded, theirs, x)
    if cfg.dtype == "float32":
        same(dictionary, theirs, x)
    again = load_dictionary(folder.parent / "again")
    assert again.cfg == loaded.cfg
    assert again(x).equal(load_dictionary(folder)(x))


@pytest.mark.parametrize("name", SAELENS)
def test_theirs_opened_here(name: str, folder: Path) -> None:
    sae_class, config_class = get_sae_class(name.split("-")[0])
    options = {**SAELENS[name], **({"d_out": D_OUT} if "d_out" in SAELENS[name] else {})}
    cfg = config_class(d_in=D_IN, d_sae=D_FEATURES, **options)
    theirs = sae_class(cfg)
    randomise(theirs, seed=4)
    theirs.save_model(folder)
    ours = load_dictionary(folder)
    same(ours, theirs, random_rows(ours.cfg, n=50))
    save_dictionary(ours, folder, "saelens")
    same(ours, sae_lens.SAE.load_from_disk(folder), random_rows(ours.cfg, n=50))


@pytest.mark.parametrize("rescale", [False, True])
@pytest.mark.parametrize("name", ["standard", "gated", "topk", "jumprelu", *TRAINED])
def test_what_they_trained_opened_here(name: str, rescale: bool, folder: Path) -> None:
    """Ten steps of their training, then the folder for use and the checkpoint."""
    theirs = trained(name, rescale)
    theirs.save_inference_model(folder)
    used = sae_lens.SAE.load_from_disk(folder)
    ours = load_dictionary(folder)
    x = random_rows(ours.cfg, n=50)
    same(ours, used, x)
    theirs.save_model(folder.parent / "checkpoint")
    checkpoint = load_dictionary(folder.parent / "checkpoint")
    with torch.no_grad():
        close(checkpoint(x), used(x))
    if name in TRAINED:
        assert checkpoint.cfg.kind == {"batchtopk": "batch-top-k"}.get(name, "matryoshka")
        assert checkpoint.threshold.item() == pytest.approx(theirs.topk_threshold.item())


def trained(name: str, rescale: bool) -> Any:
    sae_class, config_class = get_sae_training_class(name)
    options: dict[str, Any] = {}
    if "topk" in name:
        options = {"k": 7, "rescale_acts_by_decoder_norm": rescale}
    if name.startswith("matryoshka"):
        options["matryoshka_widths"] = [20, D_FEATURES]
    theirs = sae_class(config_class(d_in=D_IN, d_sae=D_FEATURES, **options))
    randomise(theirs, seed=5)
    optimizer = torch.optim.Adam(theirs.parameters(), lr=1e-2)
    generator = torch.Generator().manual_seed(6)
    for step in range(10):
        taken = TrainStepInput(
            sae_in=torch.randn(64, D_IN, generator=generator),
            coefficients={"l1": 0.1, "l0": 0.1},
            dead_neuron_mask=None,
            n_training_steps=step,
            is_logging_step=False,
        )
        optimizer.zero_grad()
        theirs.training_forward_pass(taken).loss.backward()
        optimizer.step()
    return theirs


@pytest.mark.parametrize("name", ["standard", "batchtopk"])
def test_a_training_that_was_not_finished(name: str, folder: Path) -> None:
    """Its checkpoint has the factor beside it; at the end SAELens folds it into the weights."""
    theirs, factor = trained(name, rescale=True), 1.75
    theirs.cfg.normalize_activations = "expected_average_only_in"
    theirs.save_model(folder)
    scaler = {"scaling_factor": factor, "has_whitening": False}
    (folder / "activation_scaler.json").write_text(json.dumps(scaler))
    checkpoint = load_dictionary(folder)
    assert checkpoint.cfg.scale == factor
    theirs.fold_activation_norm_scaling_factor(factor)
    theirs.save_inference_model(folder.parent / "finished")
    finished = sae_lens.SAE.load_from_disk(folder.parent / "finished")
    x = random_rows(checkpoint.cfg, n=50)
    with torch.no_grad():
        close(checkpoint(x), finished(x))
        assert (checkpoint.encode(x) > 0).equal(finished.encode(x) > 0)


OLD = {
    "model_name": "a-model",
    "hook_point": "blocks.1.hook_resid_post",
    "hook_point_layer": 1,
    "hook_point_head_index": None,
    "dtype": "torch.float32",
    "prepend_bos": True,
    "context_size": 16,
    "l1_coefficient": 8e-5,
    "d_in": D_IN,
    "d_sae": D_FEATURES,
}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("standard", {"architecture": "standard", "activation_fn_str": "relu"}),
        ("topk", {"activation_fn_str": "topk", "activation_fn_kwargs": {"k": 7}}),
        ("jumprelu", {"architecture": "jumprelu", "apply_b_dec_to_input": False}),
        ("gated", {"architecture": "gated", "sae_lens_version": "5.3.0"}),
    ],
)
def test_flat_files_of_older_versions(name: str, options: dict[str, Any], folder: Path) -> None:
    sae_class, config_class = get_sae_class(name)
    own = {"k": 7} if name == "topk" else {}
    theirs = sae_class(config_class(d_in=D_IN, d_sae=D_FEATURES, **own))
    randomise(theirs, seed=7)
    theirs.save_model(folder)
    options = {"architecture": "standard", **options}
    (folder / "cfg.json").write_text(json.dumps({**OLD, **options}))
    ours = load_dictionary(folder)
    same(ours, sae_lens.SAE.load_from_disk(folder), random_rows(ours.cfg, n=50))
    assert (ours.cfg.hook, ours.cfg.prepend_bos) == (OLD["hook_point"], True)
