"""Folders of dictionaries: what SAELens and sparsify wrote, and what we write.

tests/test_saelens_parity.py and tests/test_sparsify_parity.py run both themselves.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from cutaway.sae import (
    DictionaryConfig,
    DictionaryError,
    embedded_dictionaries,
    load_dictionary,
    save_dictionary,
)
from cutaway.sae import files as dictionary_files
from cutaway.sae.config import KINDS
from cutaway.sae.files import format_of
from cutaway.sae.weights import exact_log
from dictionary_folders import RECORDED, as_saelens_computes, as_sparsify_computes, close
from random_dictionaries import configs, random_dictionary, random_rows

FOLDERS = sorted(path.parent for path in RECORDED.glob("*/*/cfg.json"))
NAMES = [f"{path.parent.name}/{path.name}" for path in FOLDERS]
DEFAULT = DictionaryConfig("top-k", 6, 10, k=3, hook="blocks.1.hook_resid_post")


# ---- what others wrote ----


@pytest.mark.parametrize("folder", FOLDERS, ids=NAMES)
def test_what_others_wrote_has_their_features_and_outputs(folder: Path) -> None:
    dictionary, expected = load_dictionary(folder), load_file(folder / "expected.safetensors")
    x = expected["x"].flatten(1).to(dictionary.dtype)  # heads side by side
    features = dictionary.encode(x)
    assert (features > 0).equal(expected["features"] > 0)
    assert 0 < (features > 0).float().mean() < 1
    close(features, expected["features"], dictionary.dtype)
    close(dictionary(x), expected["output"].flatten(1), dictionary.dtype)


def test_all_architectures_are_recorded() -> None:
    assert len(FOLDERS) == 19
    kinds = {name: load_dictionary(path).cfg for name, path in zip(NAMES, FOLDERS, strict=True)}
    assert {cfg.kind for cfg in kinds.values()} == set(KINDS)
    assert kinds["saelens/batchtopk"].kind == "jump-relu"  # as they save it
    matryoshka = kinds["saelens/matryoshka_batchtopk-checkpoint"]
    assert (matryoshka.sizes, matryoshka.k, matryoshka.scale) == ((4, 10), 3, 1.75)
    assert matryoshka.rescale_by_decoder_norm
    assert kinds["saelens/skip_transcoder"].hook_out == "blocks.1.hook_mlp_out"
    assert kinds["saelens/standard"].prepend_bos and kinds["saelens/standard"].n_ctx == 16
    assert kinds["sparsify/layers.1"].hook == "blocks.1.hook_resid_post"
    assert kinds["sparsify/h.0.mlp"].hook == ""  # a transcoder reads what no such hook has
    assert kinds["saelens/standard-half"].dtype == "bfloat16"


# ---- what we write ----


def needs_folding(cfg: DictionaryConfig) -> bool:
    batch = cfg.kind in ("batch-top-k", "matryoshka")
    return cfg.scale != 1 or (batch and cfg.rescale_by_decoder_norm)


@settings(max_examples=30)
@given(configs(), st.integers(0, 3))
def test_our_own_format_gives_the_same_dictionary(cfg: DictionaryConfig, seed: int) -> None:
    dictionary, x = random_dictionary(cfg, seed), random_rows(cfg)
    with tempfile.TemporaryDirectory() as folder:
        save_dictionary(dictionary, Path(folder) / "a")
        once = load_dictionary(Path(folder) / "a")
        save_dictionary(once, Path(folder) / "b")
        twice = load_dictionary(Path(folder) / "b")
    assert type(once) is type(dictionary)
    told = once.cfg.replace(scale=cfg.scale, rescale_by_decoder_norm=cfg.rescale_by_decoder_norm)
    assert told == cfg
    if not needs_folding(cfg):
        assert once.cfg == cfg
        for name, value in once.state_dict().items():
            if name != "log_threshold":
                assert value.equal(dictionary.state_dict()[name]), name
        assert once.encode(x).equal(dictionary.encode(x))
        assert once(x).equal(dictionary(x))
    elif cfg.dtype == "float32":
        close(once.encode(x), dictionary.encode(x))
        close(once(x), dictionary(x))
    # What was folded is folded: from then on nothing moves.
    assert twice.cfg == once.cfg
    for name, value in twice.state_dict().items():
        assert value.equal(once.state_dict()[name]), name


@settings(max_examples=25)
@given(configs(), st.sampled_from(("cutaway", "saelens")))
def test_saelens_formulas_on_our_files_give_our_outputs(cfg: DictionaryConfig, form: Any) -> None:
    cfg = cfg.replace(dtype="float32")
    dictionary, x = random_dictionary(cfg, 2), random_rows(cfg)
    lacks = cfg.is_transcoder and cfg.kind in ("top-k", "gated")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a"
        if lacks and form == "saelens":
            with pytest.raises(DictionaryError, match=f"SAELens has no {cfg.kind} transcoder"):
                save_dictionary(dictionary, path, form)
            assert not list(Path(folder).iterdir())
            return
        save_dictionary(dictionary, path, form)
        features, output = as_saelens_computes(path, x.double().numpy())
        loaded = load_dictionary(path)
        assert format_of(path) == form
    close(dictionary.encode(x), torch.tensor(features))
    close(dictionary(x), torch.tensor(output))
    batch = cfg.kind in ("batch-top-k", "matryoshka")
    assert loaded.cfg.kind == ("jump-relu" if batch and form == "saelens" else cfg.kind)
    close(loaded(x), torch.tensor(output))


@settings(max_examples=12)
@given(configs(kinds=("top-k",)))
def test_sparsify_formulas_on_our_files_give_our_outputs(cfg: DictionaryConfig) -> None:
    d_out = cfg.d_in if cfg.is_transcoder else None
    cfg = cfg.replace(dtype="float32", d_out=d_out)
    dictionary, x = random_dictionary(cfg, 3), random_rows(cfg)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a"
        save_dictionary(dictionary, path, "sparsify")
        features, output = as_sparsify_computes(path, x.double().numpy())
        loaded = load_dictionary(path)
        assert format_of(path) == "sparsify"
        said = json.loads((path / "cfg.json").read_text())
    norms = loaded.W_dec.detach().norm(dim=1)
    assert said["normalize_decoder"] == bool(((norms - 1).abs() < 1e-2).all())
    close(dictionary.encode(x), torch.tensor(features))
    close(dictionary(x), torch.tensor(output))
    close(loaded.encode(x), dictionary.encode(x))
    assert loaded.cfg.hook == cfg.hook and loaded.cfg.model_name == cfg.model_name


@pytest.mark.parametrize(
    ("cfg", "said"),
    [
        (DictionaryConfig("batch-top-k", 4, 8, k=2), "top-k dictionaries only"),
        (DictionaryConfig("standard", 4, 8), "top-k dictionaries only"),
        (
            DictionaryConfig("top-k", 4, 8, k=2, d_out=5, subtract_decoder_bias=False),
            "one width for input and output",
        ),
    ],
)
def test_what_sparsify_cannot_say_is_refused(cfg: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(DictionaryError, match=said):
        save_dictionary(random_dictionary(cfg), tmp_path / "a", "sparsify")
    assert not list(tmp_path.iterdir())


def test_decoder_rows_of_length_zero_that_saelens_would_divide_by(tmp_path: Path) -> None:
    dictionary = random_dictionary(DEFAULT.replace(rescale_by_decoder_norm=True))
    dictionary.W_dec.data[4] = 0
    save_dictionary(dictionary, tmp_path / "a")
    x = random_rows(DEFAULT)
    features, output = as_saelens_computes(tmp_path / "a", x.double().numpy())
    close(dictionary.encode(x), torch.tensor(features))
    close(dictionary(x), torch.tensor(output))


@given(st.lists(st.floats(0, 100, width=32), min_size=1, max_size=20))
def test_a_preactivation_that_equals_its_threshold_does_not_pass(values: list[float]) -> None:
    threshold = torch.tensor(values, dtype=torch.float32)
    log = exact_log(threshold)
    again = log.exp()
    assert (again >= threshold).all()
    rounding = (log.clamp(min=-104).abs() + 2) * 2**-23  # of a logarithm in float32
    assert (again <= threshold * (1 + rounding) + 1e-38).all()


def test_golden_folder(tmp_path: Path) -> None:
    """A silent change of what we write would show here."""
    cfg = DictionaryConfig(
        "matryoshka", 2, 4, k=1, sizes=(2, 4), hook="blocks.0.hook_resid_pre", n_ctx=8, scale=2.0
    )
    save_dictionary(random_dictionary(cfg), tmp_path / "a")
    said = json.loads((tmp_path / "a" / "cfg.json").read_text())
    assert said == {
        "architecture": "jumprelu",
        "d_in": 2,
        "d_sae": 4,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "reshape_activations": "none",
        "metadata": {
            "sae_lens_version": "6.54.12",
            "sae_lens_training_version": None,
            "model_name": None,
            "hook_name": "blocks.0.hook_resid_pre",
            "hook_head_index": None,
            "model_from_pretrained_kwargs": {},
            "prepend_bos": False,
            "context_size": 8,
            "dataset_path": None,
            "training_architecture": "matryoshka_batchtopk",
            "training_architecture_details": {"k": 1, "matryoshka_widths": [2, 4]},
            "cutaway": {
                "version": 1,
                "kind": "matryoshka",
                "bandwidth": 0.05,
                "d_out": None,
                "hook_out": "",
                "k": 1,
                "threshold": 0.30000001192092896,
                "sizes": [2, 4],
            },
        },
    }


# ---- whole or not there ----


def test_an_embedded_dictionary_has_a_name(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(dictionary_files, "ASSETS", tmp_path)
    assert embedded_dictionaries() == []
    dictionary = random_dictionary(DEFAULT)
    save_dictionary(dictionary, tmp_path / "small")
    assert embedded_dictionaries() == ["small"]
    assert load_dictionary("small").digest == dictionary.digest
    with pytest.raises(DictionaryError, match="the package has small"):
        load_dictionary("large")


def test_another_dictionary_takes_the_place_and_notes_beside_it_stay(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    save_dictionary(random_dictionary(DEFAULT), folder, "sparsify")
    (folder / "notes.txt").write_text("mine")
    dictionary = random_dictionary(DEFAULT.replace(kind="gated", k=None))
    save_dictionary(dictionary, folder)
    assert load_dictionary(folder).digest == dictionary.digest
    names = {path.name for path in folder.iterdir()}
    assert names == {"cfg.json", "sae_weights.safetensors", "notes.txt"}
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_nothing_else_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(FileExistsError, match="something else than a dictionary"):
        save_dictionary(random_dictionary(DEFAULT), tmp_path)
    with pytest.raises(FileExistsError, match="is a file"):
        save_dictionary(random_dictionary(DEFAULT), tmp_path / "config.json")
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_an_interrupted_save_leaves_what_was_there(tmp_path: Path, monkeypatch) -> None:
    folder, first = tmp_path / "a", random_dictionary(DEFAULT)
    save_dictionary(first, folder)

    def full(path: Path, values: Any) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(dictionary_files, "write_json", full)
    with pytest.raises(OSError, match="No space left"):
        save_dictionary(random_dictionary(DEFAULT, seed=8), folder)
    assert load_dictionary(folder).digest == first.digest
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    broken = random_dictionary(DEFAULT)
    broken.b_enc.data[1] = torch.nan
    with pytest.raises(DictionaryError, match="'b_enc' in the dictionary holds 1 of 10"):
        save_dictionary(broken, folder)
