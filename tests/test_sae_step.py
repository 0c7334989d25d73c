"""The sparse step of the top-k kinds: equal to dense autograd, whatever the shapes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cutaway.sae import sparse, step
from cutaway.sae.active import Active, active_in_training
from cutaway.sae.config import KINDS, TOP_K_KINDS, DictionaryConfig
from cutaway.sae.dictionary import Dictionary
from cutaway.sae.kinds import BatchTopK, TopK, new_dictionary
from cutaway.sae.sparse import largest, largest_of_all
from cutaway.sae.step import Measured, dense_gradients, gradients, train_step

WEIGHTS = {"auxiliary": 0.3, "prefixes": 0.7, "reconstruction": 1.2, "sparsity": 0.1}


def scrambled(dictionary: Dictionary, seed: int, whole: bool = False) -> Dictionary:
    """All weights drawn; `whole` numbers make ties common and arithmetic exact."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in dictionary.named_parameters():
            drawn = torch.randn(parameter.shape, generator=generator)
            if whole:
                drawn = drawn.round()
            parameter.copy_(drawn if name != "log_threshold" else drawn * 0.1 - 1)
    return dictionary


def both(
    dictionary: Dictionary, x: Tensor, target: Tensor | None, dead: Tensor | None
) -> tuple[Measured, Measured, dict[str, tuple[Tensor, Tensor]]]:
    """Dense and sparse, and each weight's two gradients."""
    given = {"dead": dead, "weights": WEIGHTS}
    before = {name: value.clone() for name, value in dictionary.named_buffers()}
    dense = dense_gradients(dictionary, x, target, **given)
    expected = {name: p.grad.clone() for name, p in dictionary.named_parameters()}  # type: ignore[union-attr]
    after = {name: value.clone() for name, value in dictionary.named_buffers()}
    for name, value in dictionary.named_buffers():
        value.copy_(before[name])
    sparse = gradients(dictionary, x, target, **given)
    for name, value in dictionary.named_buffers():  # the threshold moved alike
        torch.testing.assert_close(value, after[name])
    pairs = {n: (p.grad, expected[n]) for n, p in dictionary.named_parameters()}
    return dense, sparse, pairs  # type: ignore[return-value]


def assert_alike(dense: Measured, sparse: Measured, pairs: dict[str, Any]) -> None:
    assert dense.terms.keys() == sparse.terms.keys()
    for name, term in dense.terms.items():
        torch.testing.assert_close(sparse.terms[name], term, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(sparse.loss, dense.loss, rtol=1e-5, atol=1e-5)
    assert torch.equal(sparse.n_active, dense.n_active)
    for name, (found, expected) in pairs.items():
        scale = expected.abs().max().clamp(min=1e-3)
        assert (found - expected).abs().max() <= 1e-5 * scale, name
        if min(found.shape) > 1:  # fused Adam goes through memory and does not look at strides
            assert found.stride() == expected.stride(), name


@st.composite
def cases(draw: st.DrawFn) -> tuple[Dictionary, Tensor, Tensor | None, Tensor | None]:
    """A dictionary of a top-k kind, rows, a target, dead features."""
    kind = draw(st.sampled_from(TOP_K_KINDS))
    d_in, d_features = draw(st.integers(1, 9)), draw(st.sampled_from([1, 2, 5, 17, 48, 192]))
    options: dict[str, Any] = {"k": draw(st.integers(1, min(d_features, 12)))}
    if draw(st.booleans()):
        options["k"] = d_features
    if kind == "matryoshka":
        cuts = draw(st.sets(st.integers(1, d_features), max_size=3))
        options["sizes"] = tuple(sorted(cuts | {d_features}))
    transcoder = draw(st.booleans())
    if transcoder:
        options |= {"d_out": draw(st.integers(1, 7)), "subtract_decoder_bias": False}
        options["skip"] = draw(st.booleans())
    whole = draw(st.booleans())
    if not whole:
        options["scale"] = draw(st.sampled_from([1.0, 0.3]))
        options["rescale_by_decoder_norm"] = draw(st.booleans())
    seed, n_rows = draw(st.integers(0, 10**6)), draw(st.sampled_from([1, 2, 13]))
    dictionary = scrambled(
        new_dictionary(DictionaryConfig(kind, d_in, d_features, **options)), seed, whole
    )
    generator = torch.Generator().manual_seed(seed + 1)
    x = torch.randn(n_rows, d_in, generator=generator)
    x = x.round() if whole else x
    if draw(st.booleans()):
        x[0] = 0
    target = None
    if transcoder:
        target = torch.randn(n_rows, dictionary.cfg.output_width, generator=generator)
    dead = None
    if draw(st.booleans()):
        share = draw(st.sampled_from([0.0, 0.5, 1.0]))
        dead = torch.rand(d_features, generator=generator) < share
    return dictionary, x, target, dead


@given(cases())
@settings(max_examples=60)
def test_sparse_gradients_are_those_of_dense_autograd(case: Any) -> None:
    assert_alike(*both(*case))


@pytest.mark.parametrize("kind", TOP_K_KINDS)
def test_they_are_at_a_larger_size(kind: str) -> None:
    options: dict[str, Any] = {"sizes": (64, 256, 768)} if kind == "matryoshka" else {}
    cfg = DictionaryConfig(kind, 96, 768, k=16, rescale_by_decoder_norm=True, **options)
    x = torch.randn(300, 96, generator=torch.Generator().manual_seed(0))
    dead = torch.arange(768) % 5 == 0  # more than d_in / 2, so that not all of them are kept
    assert_alike(*both(new_dictionary(cfg), x, None, dead))


@pytest.mark.parametrize("kind", TOP_K_KINDS)
def test_rows_without_a_positive_feature_move_biases_alone(kind: str) -> None:
    options: dict[str, Any] = {"sizes": (4, 12)} if kind == "matryoshka" else {}
    dictionary = new_dictionary(DictionaryConfig(kind, 5, 12, k=3, **options))
    with torch.no_grad():
        dictionary.b_enc.fill_(-100)
    x = torch.randn(4, 5, generator=torch.Generator().manual_seed(0))
    dense, sparse, pairs = both(dictionary, x, None, None)
    assert_alike(dense, sparse, pairs)
    assert int(sparse.n_active.sum()) == 0
    assert float(pairs["W_dec"][0].abs().sum()) == 0
    assert float(pairs["b_dec"][0].abs().sum()) > 0


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_gradients_for_every_weight(kind: str) -> None:
    options: dict[str, Any] = {"k": 3} if kind in TOP_K_KINDS else {}
    options |= {"sizes": (4, 12)} if kind == "matryoshka" else {}
    dictionary = scrambled(new_dictionary(DictionaryConfig(kind, 5, 12, **options)), 0)
    x = torch.randn(9, 5, generator=torch.Generator().manual_seed(0))
    measured = gradients(dictionary, x, weights=WEIGHTS)
    assert all(parameter.grad is not None for parameter in dictionary.parameters())
    weighed = sum(WEIGHTS[name] * term for name, term in measured.terms.items())
    torch.testing.assert_close(measured.loss, weighed)
    if not isinstance(dictionary, BatchTopK):
        assert torch.equal(measured.n_active, (dictionary.encode(x) > 0).sum(0))
    assert not any(term.requires_grad for term in measured.terms.values())


@pytest.mark.parametrize("kind", TOP_K_KINDS)
def test_the_size_of_chunks_changes_nothing(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = {"sizes": (16, 64)} if kind == "matryoshka" else {}
    dictionary = new_dictionary(DictionaryConfig(kind, 8, 64, k=4, **options))
    x = torch.randn(50, 8, generator=torch.Generator().manual_seed(0))
    whole = gradients(dictionary, x)
    expected = [p.grad.clone() for p in dictionary.parameters()]  # type: ignore[union-attr]
    monkeypatch.setattr(sparse, "_CHUNK_BYTES", 7 * 64 * 4)
    if isinstance(dictionary, BatchTopK):
        dictionary.threshold.zero_()
    parts = gradients(dictionary, x)
    torch.testing.assert_close(parts.loss, whole.loss)
    for parameter, grad in zip(dictionary.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, grad)


@pytest.mark.parametrize("rescale", [False, True])
@pytest.mark.parametrize("kind", TOP_K_KINDS)
def test_bfloat16_chooses_and_does_not_count(
    kind: str, rescale: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the same features are chosen, everything is as in float32."""
    monkeypatch.setattr(step, "has_bfloat16", lambda device: True)
    options: dict[str, Any] = {"sizes": (64, 256)} if kind == "matryoshka" else {}
    cfg = DictionaryConfig(kind, 16, 256, k=8, rescale_by_decoder_norm=rescale, **options)
    dictionary = scrambled(new_dictionary(cfg), 0)
    assert isinstance(dictionary, TopK)
    x = torch.randn(64, 16, generator=torch.Generator().manual_seed(0))
    read = dictionary.encoder_input(x).detach()
    rounded = active_in_training(dictionary, read, "bfloat16")
    exact = active_in_training(dictionary, read)

    def values(found: Active) -> dict[tuple[int, int], float]:
        keys = zip(found.bag.tolist(), found.feature.tolist(), strict=True)
        return dict(zip(keys, found.value.tolist(), strict=True))

    mine, theirs = values(rounded), values(exact)
    assert mine.keys() != theirs.keys()  # a few close calls
    shared = mine.keys() & theirs.keys()
    assert len(shared) > 0.95 * len(theirs)
    for key in shared:
        assert mine[key] == pytest.approx(theirs[key], rel=1e-5)
    measured = gradients(dictionary, x, precision="bfloat16")
    plain = gradients(dictionary, x)
    torch.testing.assert_close(measured.loss, plain.loss, rtol=0.02, atol=0)


def test_bfloat16_where_it_is_no_use_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.zeros(2, 4)
    cfg = DictionaryConfig("top-k", 4, 8, k=2)
    monkeypatch.setattr(step, "has_bfloat16", lambda device: False)
    with pytest.raises(ValueError, match="cpu has no instructions for it"):
        gradients(new_dictionary(cfg), x, precision="bfloat16")
    monkeypatch.setattr(step, "has_bfloat16", lambda device: True)
    with pytest.raises(ValueError, match=r"these are in torch\.float64"):
        gradients(new_dictionary(cfg.replace(dtype="float64")), x.double(), precision="bfloat16")
    with pytest.raises(ValueError, match="a gated dictionary would lose digits"):
        gradients(new_dictionary(DictionaryConfig("gated", 4, 8)), x, precision="bfloat16")
    with pytest.raises(ValueError, match="precision='half'"):
        gradients(new_dictionary(cfg), x, precision="half")  # type: ignore[arg-type]


def test_the_same_step_gives_the_same_bits() -> None:
    found = []
    for _ in range(2):
        dictionary = new_dictionary(DictionaryConfig("batch-top-k", 32, 256, k=8))
        optimizer = torch.optim.Adam(dictionary.parameters(), lr=1e-2, fused=True)
        for seed in range(3):
            x = torch.randn(64, 32, generator=torch.Generator().manual_seed(seed))
            train_step(dictionary, optimizer, x, dead=torch.arange(256) < 30)
        found.append(dictionary.digest)
    assert found[0] == found[1]


@pytest.mark.parametrize("largest_norm", [0.0, 0.5])
def test_training_steps_are_those_of_plain_adam(largest_norm: float) -> None:
    """Fused Adam over weights that lie feature by feature, beside Adam written out."""
    cfg = DictionaryConfig("top-k", 6, 40, k=4)
    dictionary, plain = new_dictionary(cfg), new_dictionary(cfg)
    optimizer = torch.optim.Adam(dictionary.parameters(), lr=0.02, fused=True)
    moments = {n: [torch.zeros_like(p), torch.zeros_like(p)] for n, p in plain.named_parameters()}
    for number in range(1, 7):
        x = torch.randn(20, 6, generator=torch.Generator().manual_seed(number))
        train_step(dictionary, optimizer, x, largest_norm=largest_norm)
        dense_gradients(plain, x)
        grads: dict[str, Any] = {n: p.grad for n, p in plain.named_parameters()}
        norm = torch.stack([g.square().sum() for g in grads.values()]).sum().sqrt()
        factor = min(1.0, largest_norm / float(norm)) if largest_norm else 1.0
        with torch.no_grad():
            for name, parameter in plain.named_parameters():
                g, (m, v) = grads[name] * factor, moments[name]
                m.mul_(0.9).add_(0.1 * g)
                v.mul_(0.999).add_(0.001 * g * g)
                update = m / (1 - 0.9**number) / ((v / (1 - 0.999**number)).sqrt() + 1e-8)
                parameter.sub_(0.02 * update)
    for name, parameter in plain.named_parameters():
        # Adam's first steps are signs of gradients, which magnify rounding.
        torch.testing.assert_close(
            dictionary.get_parameter(name), parameter, rtol=1e-4, atol=1e-4, msg=name
        )


def test_one_golden_number() -> None:
    dictionary = new_dictionary(DictionaryConfig("top-k", 16, 64, k=4), seed=0)
    optimizer = torch.optim.Adam(dictionary.parameters(), lr=3e-3, fused=True)
    x = torch.randn(256, 16, generator=torch.Generator().manual_seed(0))
    losses = [float(train_step(dictionary, optimizer, x).loss) for _ in range(40)]
    assert losses[0] == pytest.approx(GOLDEN[0], rel=1e-4)
    assert losses[-1] == pytest.approx(GOLDEN[1], rel=1e-3)


GOLDEN = (13.416557, 4.472980)


# ---- the largest elements ----


@given(
    st.sampled_from([1, 3, 48, 96, 192, 768]),
    st.integers(1, 20),
    st.sampled_from([(), (1,), (5,), (2, 3)]),
    st.booleans(),
    st.integers(0, 10**6),
)
@settings(max_examples=60)
def test_the_largest_by_blocks_are_the_largest(
    width: int, k: int, batch: tuple[int, ...], ties: bool, seed: int
) -> None:
    k = min(k, width)
    scores = torch.randn(*batch, width, generator=torch.Generator().manual_seed(seed))
    if ties:
        scores = scores.round()
    value, index = largest(scores, k)
    assert value.shape == index.shape == (*batch, k)
    assert torch.equal(scores.gather(-1, index), value)
    expected = scores.sort(dim=-1, descending=True).values[..., :k]
    assert torch.equal(value.sort(dim=-1, descending=True).values, expected)
    ordered = index.sort(dim=-1).values
    assert (ordered[..., 1:] > ordered[..., :-1]).all()  # none twice


@pytest.mark.parametrize("where", ["anywhere", "only sampled", "never sampled", "all equal"])
def test_the_largest_of_all_are_found_whatever_the_sample_says(where: str) -> None:
    flat = torch.randn(61 * 200, generator=torch.Generator().manual_seed(0))
    sampled = torch.arange(len(flat)) % 61 == 0
    if where == "only sampled":
        flat[sampled] += 100
    elif where == "never sampled":
        flat[~sampled] += 100
    elif where == "all equal":
        flat[:] = 1
    for n in (1, 30, 500, len(flat)):
        value, index = largest_of_all(flat.view(200, 61), n)
        assert torch.equal(flat[index], value)
        assert torch.equal(
            value.sort(descending=True).values, flat.sort(descending=True).values[:n]
        )
        assert len(index.unique()) == n
