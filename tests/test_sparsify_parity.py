"""Dictionaries opened by sparsify and here, from the same folders: `make test-peers`.

sparsify's pins conflict with the tests' own, so it has an environment of its own, in which this
file runs by itself; Cutaway is found there by its path.
"""

from __future__ import annotations

import copy
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings

from cutaway.sae import DictionaryConfig, DictionaryError, load_dictionary, save_dictionary
from data.make_dictionaries import randomise
from dictionary_folders import close
from random_dictionaries import configs, random_dictionary, random_rows

if find_spec("sparsify") is None:
    pytest.skip(
        "needs sparsify: run `make test-peers`, which sets up its environment",
        allow_module_level=True,
    )
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of what it imports
    from sparsify import SparseCoder, SparseCoderConfig

D_IN, D_FEATURES = 24, 60


def same(ours: Any, theirs: Any, x: torch.Tensor) -> None:
    """Equal features and outputs. Half precision is widened first: the weights are what a file
    holds, and which of two nearly equal features is larger is a matter of rounding."""
    ours, theirs, x = copy.deepcopy(ours).float(), theirs.float(), x.float()
    theirs.cfg.multi_topk = False  # else its forward gives what 4k features would
    with torch.no_grad():
        top = theirs.encode(x)
        features = torch.zeros(len(x), theirs.num_latents)
        features.scatter_(1, top.top_indices, top.top_acts)
        close(ours.encode(x), features)
        close(ours(x), theirs(x).sae_out)


@settings(max_examples=40)
@given(configs(kinds=("top-k",)))
def test_ours_opened_by_sparsify(tmp_path_factory, cfg: DictionaryConfig) -> None:
    d_out = None if cfg.d_out is None else D_IN
    cfg = cfg.replace(d_in=D_IN, d_features=D_FEATURES, d_out=d_out, k=7)
    folder = tmp_path_factory.mktemp("ours") / "dictionary"
    dictionary, x = random_dictionary(cfg, seed=3), random_rows(cfg, n=50)
    save_dictionary(dictionary, folder, "sparsify")
    theirs = SparseCoder.load_from_disk(folder)
    same(load_dictionary(folder), theirs, x)
    if cfg.dtype == "float32":
        same(dictionary, theirs, x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    "options",
    [
        {"expansion_factor": 3},
        {"num_latents": D_FEATURES},
        {"num_latents": D_FEATURES, "multi_topk": True, "normalize_decoder": False},
        {"num_latents": D_FEATURES, "transcode": True},
        {"num_latents": D_FEATURES, "transcode": True, "skip_connection": True},
    ],
    ids=str,
)
def test_theirs_opened_here(options: dict[str, Any], dtype: torch.dtype, tmp_path: Path) -> None:
    theirs = SparseCoder(D_IN, SparseCoderConfig(k=7, **options), dtype=dtype)
    randomise(theirs, seed=4)
    theirs.save_to_disk(tmp_path / "layers.3")
    ours = load_dictionary(tmp_path / "layers.3")
    same(ours, theirs, random_rows(ours.cfg, n=50))
    assert ours.cfg.hook == ("" if options.get("transcode") else "blocks.3.hook_resid_post")
    save_dictionary(ours, tmp_path / "again", "sparsify")
    same(ours, SparseCoder.load_from_disk(tmp_path / "again"), random_rows(ours.cfg, n=50))


@pytest.mark.parametrize(
    ("options", "said"),
    [({"activation": "groupmax"}, "groupmax"), ({"skip_connection": True}, "without transcode")],
)
def test_what_they_have_and_we_do_not(options: dict[str, Any], said: str, tmp_path: Path) -> None:
    SparseCoder(D_IN, SparseCoderConfig(k=6, **options)).save_to_disk(tmp_path / "layers.3")
    with pytest.raises(DictionaryError, match=said):
        load_dictionary(tmp_path / "layers.3")
