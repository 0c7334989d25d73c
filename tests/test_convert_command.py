"""`cutaway sae convert`, as a user types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cutaway.cli import main
from cutaway.experiments.dictionaries.convert_settings import ConvertSettings
from cutaway.sae import load_dictionary
from dictionary_folders import RECORDED, changed, copied, with_tensors
from random_dictionaries import random_rows


def convert(*words: object) -> int:
    return main(["sae", "convert", *map(str, words)])


def test_there_and_back_is_the_same_dictionary(tmp_path: Path, capsys) -> None:
    source = RECORDED / "saelens" / "topk"
    assert convert(source, tmp_path / "a", "--format", "sparsify") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "a top-k autoencoder, k = 3, 6 to 10 features to 6, at blocks.1.hook_resid_post" in said
    assert "in sparsify's format" in said
    assert "outputs differ by at most 0.0e+00" in said
    assert convert(tmp_path / "a", tmp_path / "b") == 0
    before, after = load_dictionary(source), load_dictionary(tmp_path / "b")
    assert after.digest == before.digest


def test_what_becomes_of_a_checkpoint_is_said(tmp_path: Path, capsys) -> None:
    source = RECORDED / "saelens" / "matryoshka_batchtopk-checkpoint"
    assert convert(source, tmp_path / "a") == 0
    said = capsys.readouterr().out
    assert "matryoshka became jump-relu, with the same thresholds" in said
    assert "the input's scale, 1.75, went into the weights" in said
    assert "decoder norms went into the encoder" in said
    assert "and 0 in one of the two only" in said
    cfg = json.loads((tmp_path / "a" / "cfg.json").read_text())
    assert cfg["architecture"] == "jumprelu" and "cutaway" not in cfg["metadata"]
    assert convert(source, tmp_path / "a", "--format", "cutaway") == 0  # in its place
    assert "became" not in capsys.readouterr().out
    assert load_dictionary(tmp_path / "a").cfg.kind == "matryoshka"


def test_what_a_file_lacks_can_be_said(tmp_path: Path, capsys) -> None:
    folder = changed(copied("saelens/topk", tmp_path), architecture=None, k=None)
    assert convert(folder, tmp_path / "a") == 2
    assert "cfg.json lacks 'architecture'" in capsys.readouterr().err
    assert convert(folder, tmp_path / "a", "--assume", "architecture=topk", "k=3") == 0
    x = random_rows(load_dictionary(tmp_path / "a").cfg)
    wanted = load_dictionary(RECORDED / "saelens" / "topk")
    assert load_dictionary(tmp_path / "a")(x).equal(wanted(x))


def test_a_mistake_is_one_sentence(tmp_path: Path, capsys) -> None:
    source = RECORDED / "saelens" / "gated"
    for words, message in (
        ((source, source), "is the folder that is read"),
        (("nowhere", tmp_path / "a"), "there is no dictionary 'nowhere'"),
        ((source, tmp_path / "a", "--format", "sparsify"), "this one is gated"),
        ((source, RECORDED), "something else than a dictionary"),
    ):
        assert convert(*words) == 2
        shown = capsys.readouterr()
        assert message in shown.err and "Traceback" not in shown.err and not shown.out
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="assume='k' is not NAME=VALUE"):
        ConvertSettings("a", tmp_path, assume=("k",))


def test_a_dictionary_that_is_broken_is_not_converted(tmp_path: Path, capsys) -> None:
    folder = copied("saelens/gated", tmp_path)
    weights = load_dictionary(folder).b_mag.detach().clone()
    weights[3] = float("nan")
    assert convert(with_tensors(folder, b_mag=weights), tmp_path / "a") == 2
    assert "'b_mag'" in capsys.readouterr().err
    assert not (tmp_path / "a").exists()
