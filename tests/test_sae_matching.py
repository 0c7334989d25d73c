"""Known features, and learned directions beside them."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cutaway.sae import DictionaryConfig, new_dictionary
from cutaway.sae.matching import Matching, cosines, match, random_directions, stability
from cutaway.sae.synthetic import SyntheticConfig, known_features


def drawn(cfg: SyntheticConfig, n: int = 20_000, seed: int = 1):
    known = known_features(cfg, seed=0)
    return known, known.draw(n, torch.Generator().manual_seed(seed))


def test_activations_are_sparse_sums_of_the_known_directions() -> None:
    known, rows = drawn(SyntheticConfig(d=16, n_features=40, n_active=3.0, falloff=4.0))
    assert torch.allclose(rows.x, rows.features @ known.directions, atol=1e-5)
    assert torch.allclose(known.directions.norm(dim=1), torch.ones(40), atol=1e-6)
    often = (rows.features > 0).float().mean(0)
    assert float(often.sum()) == pytest.approx(3.0, abs=0.05)
    assert torch.allclose(often, known.probability, atol=0.012)
    assert float(known.probability[0] / known.probability[-1]) == pytest.approx(4.0, rel=1e-4)
    strengths = rows.features[rows.features > 0]
    assert 0.5 <= float(strengths.min()) < 0.51 and 1.49 < float(strengths.max()) <= 1.5
    again = known.draw(20_000, torch.Generator().manual_seed(1))
    assert torch.equal(again.x, rows.x)
    assert torch.equal(
        known.drawing(8)(torch.Generator().manual_seed(3)),
        known.draw(8, torch.Generator().manual_seed(3)).x,
    )


def test_noise_has_the_size_that_was_asked_for() -> None:
    known, rows = drawn(SyntheticConfig(d=16, n_features=16, noise=0.25))
    left = rows.x - rows.features @ known.directions
    assert float(left.std()) == pytest.approx(0.25, rel=0.02)


def test_correlated_features_are_as_frequent_and_come_together() -> None:
    alone, together = (
        drawn(SyntheticConfig(n_features=40, n_active=4.0, group_size=4, correlation=rho))[1]
        for rho in (0.0, 0.8)
    )
    on = [rows.features.gt(0).double() for rows in (alone, together)]
    assert torch.allclose(on[0].mean(0), on[1].mean(0), atol=0.015)
    of_group, of_others = (float((on[1][:, 0] * on[1][:, i]).mean()) for i in (1, 4))
    assert of_group > 0.03 and of_others == pytest.approx(0.01, abs=0.003)


def test_children_are_active_only_where_their_parents_are() -> None:
    cfg = SyntheticConfig(n_features=50, n_active=5, n_parents=6, n_children=3, p_child=0.4)
    known, rows = drawn(cfg)
    on = rows.features > 0
    children = (known.parent >= 0).nonzero()[:, 0]
    assert len(children) == 18 and cfg.n_roots == 32
    parents = known.parent[children]
    assert not bool((on[:, children] & ~on[:, parents]).any())
    share = on[:, children].sum() / on[:, parents].sum()
    assert float(share) == pytest.approx(0.4, abs=0.02)


def test_no_seed_gives_known_directions_to_a_fresh_dictionary_or_to_the_control() -> None:
    """They would be drawn alike by one generator, and training would begin with the answer."""
    known = known_features(SyntheticConfig(d=32, n_features=64), seed=0)
    fresh = new_dictionary(DictionaryConfig("top-k", 32, 64, k=4), seed=0)
    for other in (fresh.W_dec, random_directions(64, 32, 0)):
        assert float(cosines(known.directions, other).max()) < 0.85
    found = match(known.directions, fresh.W_dec, seed=0)
    assert found.mean_best_cosine().estimate < 0.55
    assert abs(found.mean_best_cosine().estimate - found.mean_random_cosine().estimate) < 0.05


@given(known=st.integers(1, 5), learned=st.integers(1, 5), seed=st.integers(0, 30))
@settings(max_examples=25)
def test_matching_beside_the_slow_way(known, learned, seed) -> None:
    rng = np.random.default_rng(seed)
    a, b = (torch.from_numpy(rng.normal(size=(n, 3))) for n in (known, learned))
    found = match(a, b, threshold=0.7)
    table = np.array([[float(x @ y / x.norm() / y.norm()) for y in b] for x in a])
    assert found.best == pytest.approx(table.max(1))
    assert found.nearest == pytest.approx(table.max(0))
    best = max(
        sum(table[i, j] for i, j in zip(rows, columns, strict=True))
        for rows in permutations(range(known), min(known, learned))
        for columns in permutations(range(learned), min(known, learned))
    )
    assert np.nansum(found.matched) == pytest.approx(best)
    partners = found.partner[found.partner >= 0]
    assert len(set(partners.tolist())) == len(partners) == min(known, learned)
    assert found.recall().estimate == pytest.approx((table.max(1) >= 0.7).mean())
    assert found.precision().estimate == pytest.approx((table.max(0) >= 0.7).mean())


def test_recall_precision_and_uniqueness_say_different_things() -> None:
    known = torch.eye(8)
    # Five known ones, two of them twice, one blend, one dead: 8 learned, 7 of the 8 alive known.
    learned = torch.cat([known[:5], known[:2] + 0.01, (known[5] + known[6])[None], known[7:]])
    alive = torch.tensor([True] * 8 + [False])
    found = match(known, learned, alive)
    assert found.recall().estimate == 5 / 8
    assert found.precision().estimate == 7 / 8
    assert found.uniqueness() == 5 / 7
    assert found.best[7] == pytest.approx(0, abs=0.1)
    assert np.isnan(match(known, -known).uniqueness())  # the opposite is another feature
    assert found.to_frame()[0]["found"] and not found.to_frame()[7]["found"]


def test_scaled_and_reordered_directions_are_the_same() -> None:
    known = random_directions(30, 12, 5)
    order = torch.randperm(30, generator=torch.Generator().manual_seed(0))
    found = match(known, 7.5 * known[order])
    assert found.mean_matched_cosine().estimate == pytest.approx(1)
    assert torch.equal(order[torch.from_numpy(found.partner)], torch.arange(30))
    same = stability([known, 3 * known[order]])
    assert same.mean_cosine == pytest.approx(1) and same.mean_shared == 1
    # Unrelated dictionaries agree as much as the control does, which is more than nothing.
    other = stability([known, random_directions(30, 12, 6), random_directions(30, 12, 7)], seed=9)
    assert len(other.pairs) == 3
    assert other.mean_cosine == pytest.approx(other.mean_random, abs=0.06)
    assert other.mean_random > 0.4


def test_dead_features_are_left_out_of_stability() -> None:
    one, other = torch.eye(4), torch.cat([torch.eye(4)[:3], torch.ones(1, 4)])
    alive = [torch.tensor([True, True, True, False])] * 2
    assert stability([one, other]).mean_shared == 0.75
    assert stability([one, other], alive).mean_shared == 1


def test_a_matching_comes_back_from_disk(tmp_path) -> None:
    found = match(torch.eye(5), torch.eye(5)[:3])
    found.save(tmp_path / "m.safetensors")
    back = Matching.load(tmp_path / "m.safetensors")
    assert back.to_frame()[:3] == found.to_frame()[:3] and back.recall() == found.recall()
    assert np.isnan(back.matched[3]) and back.partner[3] == -1


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"d": 0}, "d=0"),
        ({"n_active": 0}, "n_active=0"),
        ({"n_active": 200}, "at most 128"),
        ({"correlation": 1.5}, "correlation=1.5"),
        ({"p_child": -0.1}, "p_child=-0.1"),
        ({"falloff": 0.5}, "falloff=0.5"),
        ({"weakest": 2}, "weakest=2"),
        ({"n_parents": 20, "n_children": 10}, "need 220 features"),
    ],
)
def test_bad_known_features_are_refused(values, said) -> None:
    with pytest.raises(ValueError, match=said):
        SyntheticConfig(**values)


def test_bad_comparisons_are_refused() -> None:
    with pytest.raises(ValueError, match="more often than always|active in"):
        known_features(SyntheticConfig(n_features=10, n_active=5, falloff=100))
    with pytest.raises(ValueError, match="different spaces"):
        match(torch.eye(3), torch.eye(4))
    with pytest.raises(ValueError, match="nothing to compare"):
        match(torch.eye(3), torch.eye(3), torch.zeros(3, dtype=torch.bool))
    with pytest.raises(ValueError, match="threshold=1"):
        match(torch.eye(3), torch.eye(3), threshold=1)
    with pytest.raises(ValueError, match="two dictionaries"):
        stability([torch.eye(3)])
