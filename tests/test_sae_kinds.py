"""Kinds of dictionaries: each beside a slow, obvious version of its paper's equations."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cutaway.sae.config import KINDS, DictionaryConfig, DictionaryError
from cutaway.sae.dictionary import Dictionary
from cutaway.sae.kinds import BatchTopK, Gated, JumpReLU, Matryoshka, TopK, new_dictionary

D_IN, D_FEATURES, K = 6, 20, 3
OPTIONS: dict[str, dict[str, Any]] = {
    "top-k": {"k": K},
    "batch-top-k": {"k": K},
    "matryoshka": {"k": K, "sizes": (4, 9, D_FEATURES)},
}
TRANSCODER = {"d_out": 5, "subtract_decoder_bias": False}


def config(kind: str, **changes: Any) -> DictionaryConfig:
    return DictionaryConfig(kind, D_IN, D_FEATURES, **{**OPTIONS.get(kind, {}), **changes})


def random_dictionary(kind: str, seed: int = 0, **changes: Any) -> Any:
    """All weights drawn, so that none of them can be forgotten unseen."""
    dictionary = new_dictionary(config(kind, dtype="float64", **changes), seed)
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for parameter in dictionary.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator).double() * 0.5)
        if isinstance(dictionary, BatchTopK):
            dictionary.threshold.fill_(0.4)
    return dictionary


def rows(n: int = 7, seed: int = 0, width: int = D_IN) -> Tensor:
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed)).double()


# ---- the slow, obvious versions: one row, one feature at a time ----


@torch.no_grad()
def slow_pre(d: Any, row: Tensor) -> list[float]:
    read = row * d.cfg.scale
    if d.cfg.subtract_decoder_bias:
        read = read - d.b_dec
    return [float(sum(read[j] * d.W_enc[j, i] for j in range(d.cfg.d_in))) for i in range(20)]


@torch.no_grad()
def slow_norm(d: Any, i: int) -> float:
    return math.sqrt(sum(float(w) ** 2 for w in d.W_dec[i]))


@torch.no_grad()
def slow_features(d: Any, row: Tensor) -> list[float]:
    z = slow_pre(d, row)
    if d.cfg.kind == "gated":
        size = [math.exp(d.r_mag[i]) * z[i] + float(d.b_mag[i]) for i in range(20)]
        return [max(size[i], 0.0) if z[i] + float(d.b_gate[i]) > 0 else 0.0 for i in range(20)]
    z = [z[i] + float(d.b_enc[i]) for i in range(20)]
    if d.cfg.rescale_by_decoder_norm:
        z = [z[i] * slow_norm(d, i) for i in range(20)]
    if d.cfg.kind == "top-k":
        chosen = sorted(range(20), key=lambda i: -z[i])[: d.cfg.k]
        return [max(z[i], 0.0) if i in chosen else 0.0 for i in range(20)]
    if d.cfg.kind == "standard":
        return [max(value, 0.0) for value in z]
    if d.cfg.kind == "jump-relu":
        return [z[i] if z[i] > math.exp(d.log_threshold[i]) else 0.0 for i in range(20)]
    return [value if value > float(d.threshold) else 0.0 for value in z]


@torch.no_grad()
def slow_output(d: Any, features: list[float], row: Tensor, size: int = 20) -> Tensor:
    out = d.b_dec.detach().clone()
    for i in range(size):
        norm = slow_norm(d, i) if d.cfg.rescale_by_decoder_norm else 1.0
        out += features[i] / norm * d.W_dec[i].detach()
    if d.W_skip is not None:
        out += (row * d.cfg.scale) @ d.W_skip.detach()
    return out / d.cfg.scale


def squared_error(d: Any, features: list[list[float]], x: Tensor, target: Tensor, **kw: Any):
    errors = [
        float((slow_output(d, f, row, **kw) - wanted).mul(d.cfg.scale).square().sum())
        for f, row, wanted in zip(features, x, target, strict=True)
    ]
    return sum(errors) / len(errors)


VARIANTS = [
    *((kind, {}) for kind in KINDS),
    *((kind, {"scale": 0.3}) for kind in KINDS),
    *((kind, {"rescale_by_decoder_norm": True, "scale": 1.7}) for kind in OPTIONS),
    *((kind, TRANSCODER) for kind in KINDS),
    *((kind, {**TRANSCODER, "skip": True, "scale": 0.5}) for kind in KINDS),
]


@pytest.mark.parametrize(("kind", "changes"), VARIANTS)
def test_features_and_outputs_are_those_of_the_slow_version(
    kind: str, changes: dict[str, Any]
) -> None:
    dictionary, x = random_dictionary(kind, **changes), rows()
    features = dictionary.encode(x)
    slow = [slow_features(dictionary, row) for row in x]
    torch.testing.assert_close(features, torch.tensor(slow).double())
    expected = torch.stack(
        [slow_output(dictionary, f, row) for f, row in zip(slow, x, strict=True)]
    )
    torch.testing.assert_close(dictionary.decode(features, x), expected)
    torch.testing.assert_close(dictionary(x), expected)
    assert (features >= 0).all()
    assert 0 < int((features > 0).sum()) < features.numel()
    sparse = dictionary.sparse_encode(x)
    torch.testing.assert_close(sparse.dense(D_FEATURES), features)
    # Any leading axes.
    torch.testing.assert_close(
        dictionary.encode(x[:6].view(2, 3, D_IN)).flatten(0, 1), features[:6]
    )


# One golden number for each kind: the losses of a fresh dictionary, added up.
GOLDEN: dict[str, float] = {
    "standard": 18.6278,
    "top-k": 23.833,
    "batch-top-k": 31.15423,
    "jump-relu": 20.42131,
    "gated": 28.7089,
    "matryoshka": 38.98814,
}


@pytest.mark.parametrize("kind", KINDS)
def test_one_golden_number(kind: str) -> None:
    dictionary = new_dictionary(config(kind), seed=3)
    dead = torch.arange(D_FEATURES) < 12
    terms = dictionary.losses(rows(50, seed=5).float(), dead=dead)
    assert sum(terms.values()).item() == pytest.approx(GOLDEN[kind], rel=1e-5)


# ---- losses ----


@pytest.mark.parametrize("changes", [{}, {"scale": 0.3}, {**TRANSCODER, "skip": True}])
@pytest.mark.parametrize("kind", ["standard", "top-k", "jump-relu", "gated"])
def test_reconstruction_is_the_mean_squared_error(kind: str, changes: dict[str, Any]) -> None:
    dictionary, x = random_dictionary(kind, **changes), rows()
    target = rows(seed=9, width=5) if dictionary.is_transcoder else x
    slow = squared_error(dictionary, [slow_features(dictionary, row) for row in x], x, target)
    terms = dictionary.losses(x, target if dictionary.is_transcoder else None)
    assert terms["reconstruction"].item() == pytest.approx(slow)


def test_the_standard_penalty_counts_features_times_decoder_norms() -> None:
    dictionary, x = random_dictionary("standard"), rows()
    slow = sum(
        f * slow_norm(dictionary, i)
        for row in x
        for i, f in enumerate(slow_features(dictionary, row))
    ) / len(x)
    assert dictionary.losses(x)["sparsity"].item() == pytest.approx(slow)


def test_the_penalty_cannot_be_had_cheaper_by_longer_rows() -> None:
    dictionary, x = random_dictionary("standard"), rows()
    before = {name: term.item() for name, term in dictionary.losses(x).items()}
    with torch.no_grad():
        dictionary.W_dec.mul_(10)
        dictionary.W_enc.div_(10)
        dictionary.b_enc.div_(10)
    after = {name: term.item() for name, term in dictionary.losses(x).items()}
    assert after == pytest.approx(before)


def test_the_jump_relu_penalty_counts_active_features() -> None:
    dictionary, x = random_dictionary("jump-relu"), rows()
    active = sum(f > 0 for row in x for f in slow_features(dictionary, row))
    assert dictionary.losses(x)["sparsity"].item() == pytest.approx(active / len(x))


def test_thresholds_get_the_gradients_of_the_paper() -> None:
    """-(theta / eps) K for f, where K is the window around theta (section 3)."""
    theta, eps = 0.5, 0.2
    z = torch.tensor(
        [0.39, 0.41, 0.5, 0.59, 0.61, 2.0, -1.0], dtype=torch.float64
    )  # 3 of them within 0.1
    upstream = torch.arange(1.0, 8.0).double()
    dictionary = new_dictionary(DictionaryConfig("jump-relu", 1, 1, bandwidth=eps, dtype="float64"))
    assert isinstance(dictionary, JumpReLU)
    with torch.no_grad():
        dictionary.log_threshold.fill_(math.log(theta))
    pre = z[:, None].clone().requires_grad_()
    features = dictionary.activate(pre)
    assert features[:, 0].tolist() == [0, 0, 0, 0.59, 0.61, 2.0, 0]  # above, not at, the threshold
    (features[:, 0] * upstream).sum().backward()
    inside = upstream[1:4].sum()
    # The parameter is the logarithm: d/dlog(theta) = theta d/dtheta.
    assert float(dictionary.log_threshold.grad) == pytest.approx(
        float(-(theta / eps) * inside * theta)
    )
    # What passes through is passed unchanged.
    assert pre.grad is not None
    assert pre.grad[:, 0].tolist() == [0, 0, 0, *upstream[3:6].tolist(), 0]


def test_the_penalty_moves_thresholds_as_a_finite_difference_would() -> None:
    """The window's gradient of L0 is the change of the count from theta - eps/2 to theta + eps/2,
    divided by eps."""
    theta, eps = 0.5, 0.25
    dictionary = new_dictionary(DictionaryConfig("jump-relu", 1, 1, bandwidth=eps, dtype="float64"))
    assert isinstance(dictionary, JumpReLU)
    with torch.no_grad():
        dictionary.W_enc.fill_(1)
        dictionary.log_threshold.fill_(math.log(theta))
    x = torch.rand(500, 1, generator=torch.Generator().manual_seed(0)).double()
    dictionary.losses(x)["sparsity"].backward()

    def count(at: float) -> float:
        return float((x > at).double().mean())

    expected = (count(theta + eps / 2) - count(theta - eps / 2)) / eps * theta
    assert float(dictionary.log_threshold.grad) == pytest.approx(expected)
    assert expected < 0  # a higher threshold, fewer active features
    assert dictionary.W_enc.grad is None  # features themselves are not pushed


def test_the_gate_learns_by_itself_through_a_decoder_that_stays() -> None:
    dictionary, x = random_dictionary("gated"), rows()
    gates = [
        [max(z + dictionary.b_gate[i].item(), 0.0) for i, z in enumerate(slow_pre(dictionary, row))]
        for row in x
    ]
    terms = dictionary.losses(x)
    assert terms["auxiliary"].item() == pytest.approx(squared_error(dictionary, gates, x, x))
    penalty = sum(g * slow_norm(dictionary, i) for row in gates for i, g in enumerate(row)) / len(x)
    assert terms["sparsity"].item() == pytest.approx(penalty)
    terms["auxiliary"].backward()
    assert dictionary.W_dec.grad is None
    assert dictionary.r_mag.grad is None and dictionary.b_mag.grad is None
    assert float(dictionary.b_gate.grad.abs().sum()) > 0


def test_a_closed_gate_hides_a_feature_whatever_its_size() -> None:
    dictionary = random_dictionary("gated")
    with torch.no_grad():
        dictionary.b_gate.fill_(-100)
        dictionary.b_mag.fill_(100)
    assert isinstance(dictionary, Gated)
    assert dictionary.encode(rows()).abs().sum().item() == 0


@torch.no_grad()
def slow_auxiliary(d: Any, x: Tensor, missing: Tensor, dead: Tensor) -> float:
    total = 0.0
    for row, wanted in zip(x, missing, strict=True):
        z = [a + float(d.b_enc[i]) for i, a in enumerate(slow_pre(d, row))]
        score = [max(z[i], 0) * (slow_norm(d, i) if d.cfg.rescale_by_decoder_norm else 1)
                 for i in range(20)]  # fmt: skip
        chosen = sorted((i for i in range(20) if dead[i]), key=lambda i: -score[i])
        made = torch.zeros_like(wanted)
        for i in chosen[: d.cfg.d_in // 2]:
            made += max(z[i], 0) * d.W_dec[i].detach()
        total += float((made - wanted).square().sum())
    return total / len(x)


@pytest.mark.parametrize("n_dead", [0, 2, 14])
@pytest.mark.parametrize("rescale", [False, True])
def test_dead_features_learn_what_is_missing(n_dead: int, rescale: bool) -> None:
    dictionary, x = random_dictionary("top-k", rescale_by_decoder_norm=rescale), rows()
    dead = torch.arange(D_FEATURES) >= D_FEATURES - n_dead
    missing = x - dictionary(x).detach()
    terms = dictionary.losses(x, dead=dead)
    expected = slow_auxiliary(dictionary, x, missing, dead) if n_dead else 0.0
    assert terms["auxiliary"].item() == pytest.approx(expected)
    if n_dead:
        terms["auxiliary"].backward()
        assert float(dictionary.W_dec.grad[~dead].abs().sum()) == 0
        assert float(dictionary.W_dec.grad[dead].abs().sum()) > 0
    assert "auxiliary" not in dictionary.losses(x)


def test_prefixes_are_reconstructions_by_the_first_features() -> None:
    dictionary, x = random_dictionary("matryoshka", rescale_by_decoder_norm=True), rows()
    features = dictionary.activate_in_training(dictionary.pre_activations(x)).tolist()
    slow = [squared_error(dictionary, features, x, x, size=m) for m in dictionary.cfg.sizes]
    terms = dictionary.losses(x)
    assert terms["reconstruction"].item() == pytest.approx(slow[-1])
    assert terms["prefixes"].item() == pytest.approx(slow[0] + slow[1])


def test_one_prefix_is_a_batch_top_k_dictionary() -> None:
    nested = random_dictionary("matryoshka", sizes=(D_FEATURES,))
    plain = random_dictionary("batch-top-k")
    a, b = nested.losses(rows()), plain.losses(rows())
    assert a["reconstruction"].item() == b["reconstruction"].item()
    assert a["prefixes"].item() == 0


# ---- top-k kinds ----


@given(st.integers(0, 10**6), st.integers(1, 9), st.integers(1, D_FEATURES))
@settings(max_examples=20)
def test_a_batch_shares_its_places(seed: int, n_rows: int, k: int) -> None:
    dictionary, x = random_dictionary("batch-top-k", seed % 7, k=k), rows(n_rows, seed)
    pre = dictionary.pre_activations(x)
    features = dictionary.activate_in_training(pre)
    positive = int((pre > 0).sum())
    assert int((features > 0).sum()) == min(k * n_rows, positive)
    left_out = pre[(features == 0) & (pre > 0)]
    if len(left_out):
        assert left_out.max().item() <= features[features > 0].min().item()


def test_the_threshold_follows_the_smallest_that_was_kept() -> None:
    dictionary = random_dictionary("batch-top-k")
    dictionary.threshold.zero_()
    smallest = []
    for seed in range(3):
        pre = dictionary.pre_activations(rows(30, seed))
        features = dictionary.activate_in_training(pre)
        smallest.append(features[features > 0].min().item())
    first, second, third = smallest
    after_two = 0.99 * first + 0.01 * second
    assert float(dictionary.threshold) == pytest.approx(0.99 * after_two + 0.01 * third, rel=1e-6)


def test_before_the_first_batch_all_positive_features_are_active() -> None:
    dictionary = new_dictionary(config("batch-top-k"))
    x = rows().float()
    assert torch.equal(dictionary.encode(x), dictionary.pre_activations(x).relu())


def test_a_batch_without_a_positive_feature_leaves_the_threshold() -> None:
    dictionary = random_dictionary("batch-top-k")
    before = float(dictionary.threshold)
    with torch.no_grad():
        dictionary.b_enc.fill_(-1000)
    terms = dictionary.losses(rows())
    assert float(dictionary.threshold) == before
    assert torch.isfinite(terms["reconstruction"])


@pytest.mark.parametrize("kind", KINDS)
def test_no_row_depends_on_another(kind: str) -> None:
    dictionary, x = random_dictionary(kind), rows()
    alone = torch.cat([dictionary.encode(row[None]) for row in x])
    torch.testing.assert_close(dictionary.encode(x), alone)


def test_k_of_all_features_is_relu() -> None:
    dictionary, x = random_dictionary("top-k", k=D_FEATURES), rows()
    assert isinstance(dictionary, TopK)
    assert torch.equal(dictionary.encode(x), dictionary.pre_activations(x).relu())


# ---- the same function, otherwise written ----


@pytest.mark.parametrize("changes", [{}, {**TRANSCODER, "skip": True}])
@pytest.mark.parametrize("kind", KINDS)
def test_folding_changes_no_output(kind: str, changes: dict[str, Any]) -> None:
    rescale = kind in OPTIONS
    dictionary = random_dictionary(kind, scale=0.3, rescale_by_decoder_norm=rescale, **changes)
    x = rows()
    before = dictionary.digest
    features, out = dictionary.encode(x), dictionary(x)
    scaled = dictionary.fold_scale()
    assert scaled.cfg.scale == 1
    torch.testing.assert_close(scaled(x), out)
    torch.testing.assert_close(scaled.encode(x), features)
    folded = dictionary.fold_decoder_norms()
    torch.testing.assert_close(folded(x), out)
    torch.testing.assert_close(folded.W_dec.norm(dim=-1), torch.ones(D_FEATURES).double())
    norms = dictionary.W_dec.norm(dim=-1)
    # Features that are already given times the norm keep their values.
    torch.testing.assert_close(folded.encode(x), features if rescale else features * norms)
    assert not folded.cfg.rescale_by_decoder_norm
    torch.testing.assert_close(folded.fold_scale()(x), out)
    assert dictionary.digest == before


def test_a_decoder_row_of_zeros_survives_folding() -> None:
    dictionary = random_dictionary("standard")
    with torch.no_grad():
        dictionary.W_dec[4] = 0
    folded = dictionary.fold_decoder_norms()
    torch.testing.assert_close(folded(rows()), dictionary(rows()))


def test_norms_that_decide_who_is_largest_are_not_folded() -> None:
    with pytest.raises(DictionaryError, match="rescale_by_decoder_norm=True"):
        random_dictionary("top-k").fold_decoder_norms()
    fresh = new_dictionary(config("top-k"))
    x = rows().float()
    torch.testing.assert_close(fresh.fold_decoder_norms()(x), fresh(x))


# ---- fresh ones, facts, faults ----


@pytest.mark.parametrize("kind", KINDS)
def test_a_fresh_dictionary_reads_along_what_it_writes(kind: str) -> None:
    dictionary = new_dictionary(config(kind), seed=1)
    torch.testing.assert_close(dictionary.W_dec.norm(dim=-1), torch.ones(D_FEATURES))
    assert torch.equal(dictionary.W_enc, dictionary.W_dec.t())
    assert dictionary.b_dec.abs().sum().item() == 0
    assert dictionary.W_enc.t().is_contiguous()  # feature by feature
    again = new_dictionary(config(kind), seed=1)
    assert again.digest == dictionary.digest
    assert new_dictionary(config(kind), seed=2).digest != dictionary.digest
    with torch.no_grad():
        again.b_dec[0] = 1
    assert again.digest != dictionary.digest


def test_a_fresh_transcoder_begins_without_its_skip_map() -> None:
    dictionary = new_dictionary(config("top-k", skip=True, **TRANSCODER))
    assert dictionary.W_skip is not None
    assert dictionary.W_skip.shape == (D_IN, 5)
    assert dictionary.W_skip.abs().sum().item() == 0
    torch.testing.assert_close(dictionary.W_enc.norm(dim=0), torch.ones(D_FEATURES))


def test_matryoshka_is_saved_with_its_threshold() -> None:
    dictionary = random_dictionary("matryoshka")
    assert isinstance(dictionary, Matryoshka)
    copy = new_dictionary(dictionary.cfg)
    copy.load_state_dict(dictionary.state_dict())
    assert float(copy.threshold) == float(dictionary.threshold)  # type: ignore[arg-type]
    assert copy.digest == dictionary.digest


FAULTS = [
    ("top-k", {"k": None}, "needs k"),
    ("top-k", {"k": 0}, "k=0"),
    ("top-k", {"k": D_FEATURES + 1}, "k=21"),
    ("top-k", {"k": True}, "k=True"),
    ("standard", {"k": 3}, "k=3 is for top-k"),
    ("standard", {"rescale_by_decoder_norm": True}, "fold_decoder_norms"),
    ("standard", {"sizes": (2, 20)}, "for matryoshka"),
    ("matryoshka", {"sizes": ()}, "has to rise"),
    ("matryoshka", {"sizes": (4, 4, 20)}, "has to rise"),
    ("matryoshka", {"sizes": (4, 9)}, "end with d_features=20"),
    ("gated", {"scale": 0.0}, "scale=0.0"),
    ("gated", {"scale": math.nan}, "scale=nan"),
    ("gated", {"dtype": "int8"}, "dtype='int8'"),
    ("gated", {"d_out": 0}, "d_out=0"),
    ("gated", {"d_out": 5}, "subtract_decoder_bias=False"),
    ("gated", {"hook": "a", "hook_out": "b"}, "subtract_decoder_bias=False"),
    ("gated", {"skip": True}, "skip is for transcoders"),
    ("gated", {"n_ctx": -1}, "n_ctx=-1"),
    ("gated", {"hook": None}, "hook=None"),
    ("jump-relu", {"bandwidth": -1}, "bandwidth=-1"),
    ("lasso", {}, "kind='lasso'"),
]


@pytest.mark.parametrize(("kind", "changes", "said"), FAULTS)
def test_a_configuration_that_cannot_be_says_why(
    kind: str, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(DictionaryError, match=said):
        config(kind, **changes)


def test_configurations_survive_json() -> None:
    cfg = config("matryoshka", hook="blocks.0.hook_resid_pre", scale=0.5)
    assert DictionaryConfig.from_dict(cfg.to_dict()) == cfg
    with pytest.raises(DictionaryError, match="'width' is no field"):
        DictionaryConfig.from_dict({**cfg.to_dict(), "width": 3})
    values = cfg.to_dict()
    del values["d_in"]
    with pytest.raises(DictionaryError, match="lacks 'd_in'"):
        DictionaryConfig.from_dict(values)


def test_vectors_of_another_width_are_told_apart() -> None:
    dictionary: Dictionary = new_dictionary(config("top-k", hook="blocks.1.hook_mlp_out"))
    with pytest.raises(DictionaryError, match=r"width 6 at blocks\.1\.hook_mlp_out.* have 7"):
        dictionary.encode(torch.zeros(2, 7))
    with pytest.raises(DictionaryError, match="width 6, and the target has 4"):
        dictionary.losses(torch.zeros(2, 6), torch.zeros(2, 4))


def test_transcoders_ask_for_what_they_need() -> None:
    dictionary = random_dictionary("top-k", skip=True, **TRANSCODER)
    with pytest.raises(DictionaryError, match="needs its target"):
        dictionary.losses(rows())
    with pytest.raises(DictionaryError, match="needs its input"):
        dictionary.decode(dictionary.encode(rows()))
