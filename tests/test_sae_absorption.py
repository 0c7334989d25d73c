"""Absorption in dictionaries written by hand, and labels read from few features."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score

from cutaway.sae import Dictionary, DictionaryConfig, new_dictionary
from cutaway.sae.absorption import Absorption, measure_absorption
from cutaway.sae.sparse_probing import SparseProbes, sparse_probes
from cutaway.sae.synthetic import KnownFeatures, KnownRows, SyntheticConfig, known_features

CFG = SyntheticConfig(
    d=16, n_features=16, n_active=4, n_parents=2, n_children=2, p_child=0.4
)  # roots 0 to 11, of which 0 and 1 are parents; children 12 to 15


@pytest.fixture(scope="module")
def hierarchy() -> tuple[KnownFeatures, KnownRows]:
    """Orthogonal directions, so that a dictionary can be written down."""
    known = known_features(CFG, seed=0)
    turned = torch.linalg.qr(known.directions.t())[0].t().contiguous()
    own = KnownFeatures(CFG, turned, known.probability, known.parent)
    return own, own.draw(6000, torch.Generator().manual_seed(1))


def by_hand(known: KnownFeatures, silent: bool, taken_over: bool, scale: float = 1.0) -> Dictionary:
    """One feature for each known one. `silent`: the parent's is off where its child is on;
    `taken_over`: the child's writes the parent as well."""
    cfg = DictionaryConfig("standard", 16, 16, scale=scale)
    one = new_dictionary(cfg).requires_grad_(False)
    reads, writes = known.directions.clone(), known.directions.clone()
    for child in (known.parent >= 0).nonzero()[:, 0].tolist():
        parent = int(known.parent[child])
        if silent:
            reads[parent] -= 3 * known.directions[child]
        if taken_over:
            writes[child] += known.directions[parent]
    one.W_enc.copy_(reads.t())
    one.W_dec.copy_(writes)
    return one


@pytest.mark.parametrize("scale", [1.0, 2.5])
def test_only_a_silent_parent_whose_child_writes_for_it_is_absorbed(hierarchy, scale) -> None:
    known, rows = hierarchy
    clean = measure_absorption(by_hand(known, False, False, scale), known, rows)
    assert clean.rate().estimate == clean.silent().estimate == 0
    silent = measure_absorption(by_hand(known, True, False, scale), known, rows)
    assert silent.silent().estimate == 1 and silent.rate().estimate == 0
    absorbed = measure_absorption(by_hand(known, True, True, scale), known, rows)
    assert absorbed.silent().estimate == 1
    # The child's strength c stands for the parent's p where c >= p / 2, both from 0.5 to 1.5, in
    # 15 of 16 rows; a second child that is on as well may fill in.
    assert 0.92 < absorbed.rate().estimate < 0.98
    for control in ("alone", "stranger"):
        assert absorbed.rate(control).n > 100
        assert absorbed.rate(control).estimate == absorbed.silent(control).estimate == 0
    assert absorbed.child_cosine == pytest.approx(0.5**0.5, abs=1e-5)
    assert clean.child_cosine == pytest.approx(0, abs=1e-5)
    assert absorbed.parent.tolist() == [0, 0, 1, 1] and absorbed.child.tolist() == [12, 13, 14, 15]
    assert absorbed.latent.tolist() == [0, 0, 1, 1]
    on = rows.features > 0
    assert absorbed.with_child[0, 0] == int((on[:, 0] & on[:, 12]).sum())
    assert absorbed.alone[0, 0] == int((on[:, 0] & ~on[:, 12] & ~on[:, 13]).sum())


def test_absorption_needs_a_hierarchy_and_comes_back_from_disk(hierarchy, tmp_path) -> None:
    known, rows = hierarchy
    flat = known_features(SyntheticConfig(d=16, n_features=16))
    with pytest.raises(ValueError, match="no hierarchy"):
        measure_absorption(by_hand(known, True, True), flat, rows)
    found = measure_absorption(by_hand(known, True, True), known, rows)
    found.save(tmp_path / "a.safetensors")
    assert Absorption.load(tmp_path / "a.safetensors").to_frame() == found.to_frame()


# ---- sparse probing ----


def made_up(n: int = 600, seed: int = 0):
    """Two features that say the label of three classes, among noise; x mixes all of them."""
    rng = np.random.default_rng(seed)
    names = np.array(["a", "b", "c"])[rng.integers(3, size=n)]
    features = rng.exponential(size=(n, 20)) * (rng.random((n, 20)) < 0.3)
    features[:, 7] = (names == "a") * (1 + rng.random(n))
    features[:, 3] = (names == "b") * (rng.random(n) < 0.8)
    features[:, 11] = 0  # dead
    x = features @ rng.normal(size=(20, 8))
    groups = np.arange(n) // 10
    return torch.from_numpy(features), torch.from_numpy(x), names, groups


def test_a_feature_that_says_the_label_is_found() -> None:
    features, x, names, groups = made_up()
    found = sparse_probes(features, x, names, groups, ks=(1, 2, 20))
    assert found.classes == ("a", "b", "c") and found.n_train + found.n_test == 600
    assert found.chosen[0, 0] == 7 and found.chosen[1, 0] == 3
    assert set(found.chosen[2, :2].tolist()) == {3, 7}  # neither a nor b
    assert found.of_class("a").estimate == 1
    assert 0.8 < found.of_class("b").estimate < 0.97
    assert found.of_class("c", k=2).estimate > found.of_class("c").estimate
    assert found.score("random features").estimate < 0.65
    assert found.score().estimate > found.score("coordinates").estimate
    dense = found.score("dense probe")
    assert dense == found.score("dense probe", k=20) and dense.estimate > 0.7


def test_scores_are_scikit_learns_balanced_accuracy() -> None:
    features, x, names, groups = made_up()
    found = sparse_probes(features, x, names, groups, ks=(2,), seed=3)
    order = np.random.default_rng(3).permutation(60)
    test = np.isin(groups, order[:24])
    chosen = found.chosen[2]
    f = features.numpy()[:, chosen]
    f = (f - f[~test].mean(0)) / f[~test].std(0)
    probe = LogisticRegression(class_weight="balanced", max_iter=1000).fit(
        f[~test], names[~test] == "c"
    )
    expected = balanced_accuracy_score(names[test] == "c", probe.predict(f[test]))
    assert found.of_class("c", k=2).estimate == pytest.approx(expected)
    assert found.of_class("c", k=2).n == 24


def test_no_group_is_in_both_parts() -> None:
    """A feature that knows the label of each group by heart is worth nothing on other groups."""
    rng = np.random.default_rng(0)
    groups = np.arange(400) // 10
    label = rng.integers(2, size=40)[groups]
    heart = np.eye(40)[groups]
    found = sparse_probes(
        torch.from_numpy(heart), torch.from_numpy(heart), label.astype(str), groups, ks=(5,)
    )
    assert found.score("dense probe", k=5).estimate < 0.7


def test_sparse_probes_come_back_from_disk_and_refuse(tmp_path) -> None:
    features, x, names, groups = made_up(300)
    found = sparse_probes(features, x, names, groups)
    found.save(tmp_path / "p.safetensors")
    back = SparseProbes.load(tmp_path / "p.safetensors")
    assert back.to_frame() == found.to_frame() and back.score(k=5) == found.score(k=5)
    with pytest.raises(ValueError, match="k=3 was not tried"):
        found.score(k=3)
    with pytest.raises(ValueError, match="no class 'z'"):
        found.of_class("z")
    with pytest.raises(ValueError, match="one group"):
        sparse_probes(features, x, names, [0] * 300)
    with pytest.raises(ValueError, match="as many of each"):
        sparse_probes(features, x, names[:5], groups)
    with pytest.raises(ValueError, match="no label has 5 rows"):
        sparse_probes(features, x, ["same"] * 300, groups)
