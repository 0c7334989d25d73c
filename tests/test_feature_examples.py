"""What is read of features, against slow and obvious counts: firings, examples, rules."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cutaway.model.config import ModelConfig
from cutaway.sae.config import DictionaryConfig, DictionaryError
from cutaway.sae.examples import OUTSIDE, FeatureExamples, feature_directions, feature_examples
from cutaway.sae.fires import Firings, firings
from cutaway.sae.rules import describe
from cutaway.sae.splicing import written_rows
from random_dictionaries import random_dictionary
from random_models import random_model

CFG = ModelConfig(n_layers=2, d_model=12, n_heads=3, d_vocab=11, n_ctx=9, init_range=0.4)
HOOK = "blocks.1.hook_resid_post"
OWN = DictionaryConfig("top-k", 12, 20, k=4, hook=HOOK)


def read(kind: str = "top-k", n: int = 6, seed: int = 0):
    model = random_model(CFG, seed=seed)
    cfg = OWN if kind == "top-k" else DictionaryConfig(kind, 12, 20, hook=HOOK)  # type: ignore[arg-type]
    dictionary = random_dictionary(cfg, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(1, CFG.d_vocab, (n, CFG.n_ctx), generator=generator)  # 0 is padding
    return model, dictionary, tokens, firings(model, dictionary, tokens, skip_bos=False)


@pytest.mark.parametrize("kind", ["top-k", "standard", "jump-relu"])
def test_firings_are_all_features_above_zero(kind: str) -> None:
    model, dictionary, tokens, found = read(kind)
    _, cache = model.run_with_cache(tokens)
    features = dictionary.encode(cache[HOOK]).detach().numpy()  # [sequence, pos, feature]
    for feature in range(20):
        place, value = found.of(feature)
        dense = features[..., feature].ravel()
        assert place.tolist() == np.flatnonzero(dense).tolist()
        np.testing.assert_allclose(value, dense[dense != 0], rtol=1e-4)
    np.testing.assert_allclose(found.density, (features > 0).mean((0, 1)))
    np.testing.assert_allclose(found.maximum(), features.max((0, 1)), rtol=1e-4)


def test_padding_does_not_count() -> None:
    model, dictionary, tokens, _ = read()
    tokens[2, 5:] = 0
    found = firings(model, dictionary, tokens, skip_bos=False)
    assert np.flatnonzero(~found.kept).tolist() == list(range(2 * 9 + 5, 3 * 9))
    assert not np.isin(found.place, np.flatnonzero(~found.kept)).any()
    assert found.n_tokens == found.tokens.size - 4


def test_firings_come_back_from_a_file(tmp_path: Path) -> None:
    found = read()[-1]
    found.save(tmp_path / "f.safetensors")
    again = Firings.load(tmp_path / "f.safetensors")
    for name in ("tokens", "kept", "starts", "place", "value"):
        np.testing.assert_array_equal(getattr(again, name), getattr(found, name))
    with pytest.raises(ValueError, match="examples of features"):
        FeatureExamples.load(tmp_path / "f.safetensors")


def test_what_cannot_be_read_is_refused() -> None:
    model, dictionary, tokens, _ = read()
    with pytest.raises(ValueError, match="the text is empty"):
        firings(model, dictionary, tokens[:0])
    wrong = random_dictionary(DictionaryConfig("top-k", 12, 20, k=4, hook="blocks.7.hook_z"))
    with pytest.raises(DictionaryError, match=r"blocks\.7\.hook_z"):
        firings(model, wrong, tokens)
    with torch.no_grad():
        model.W_E[3] = torch.nan
    with pytest.raises(ValueError, match="NaN"):
        firings(model, dictionary, tokens)


@settings(max_examples=15)
@given(seed=st.integers(0, 50), before=st.integers(0, 4), after=st.integers(0, 3))
def test_examples_are_the_strongest_and_draws_from_each_band(
    seed: int, before: int, after: int
) -> None:
    found = read(seed=seed)[-1]
    shown = feature_examples(
        found, n_top=3, n_per_band=2, n_bands=2, before=before, after=after, n_bins=5
    )
    assert shown.band.tolist() == [0, 0, 0, 1, 1, 2, 2]
    n_pos = found.tokens.shape[1]
    for feature in range(found.n_features):
        at = {int(p): float(v) for p, v in zip(*found.of(feature), strict=True)}
        best = [max((v for p, v in at.items() if p // n_pos == s), default=0.0) for s in range(6)]
        top = sorted(filter(None, best), reverse=True)[:3]
        peaks = shown.values[feature, :, before]
        np.testing.assert_allclose(peaks[:3], [*top, *[0.0] * (3 - len(top))])
        ordered = sorted(at.values(), reverse=True)
        upper = ordered[: -(-len(ordered) // 2)]
        assert all(np.isclose(upper, v).any() for v in peaks[3:5].tolist() if v)
        assert shown.histogram[feature].sum() == len(at)
        for example in range(7):
            check_window(found, shown, feature, example, at)


def check_window(found, shown, feature: int, example: int, at: dict[int, float]) -> None:
    """Some place has this peak, and around it stand the window's tokens and values."""
    tokens, values = shown.tokens[feature, example], shown.values[feature, example]
    peak = float(values[shown.before])
    if peak == 0:
        assert (tokens == OUTSIDE).all()
        return
    n_pos = found.tokens.shape[1]
    fitting = []
    for place, value in at.items():
        sequence, pos = divmod(place, n_pos)
        places = range(pos - shown.before, pos - shown.before + len(tokens))
        around = [found.tokens[sequence, p] if 0 <= p < n_pos else OUTSIDE for p in places]
        firing = [at.get(sequence * n_pos + p, 0.0) if 0 <= p < n_pos else 0.0 for p in places]
        same = around == tokens.tolist() and np.allclose(firing, values)
        fitting.append(same and value == pytest.approx(peak))
    assert any(fitting)


def test_draws_of_a_feature_do_not_depend_on_the_others() -> None:
    found = read()[-1]
    whole = feature_examples(found, seed=3)
    first = Firings(
        found.tokens,
        found.kept,
        found.starts[:6],
        found.place[: found.starts[5]],
        found.value[: found.starts[5]],
    )
    np.testing.assert_array_equal(feature_examples(first, seed=3).tokens, whole.tokens[:5])
    with pytest.raises(ValueError, match="n_top=0"):
        feature_examples(found, n_top=0)


def test_what_features_write_is_their_row_through_the_unembedding() -> None:
    model, dictionary, _, _ = read()
    found = feature_directions(model, dictionary, k=3, n_similar=2)
    rows = written_rows(dictionary)
    logits = rows @ (model.W_U - model.W_U.mean(1, keepdim=True))
    for feature in range(20):
        order = logits[feature].argsort(descending=True)
        assert found.promoted[feature].tolist() == order[:3].tolist()
        assert found.suppressed[feature].tolist() == order.flip(0)[:3].tolist()
        cosine = torch.nn.functional.cosine_similarity(rows[feature][None], rows)
        others = [i for i in cosine.argsort(descending=True).tolist() if i != feature]
        assert found.similar[feature].tolist() == others[:2]
    of_heads = random_dictionary(DictionaryConfig("top-k", 12, 5, k=2, hook="blocks.0.attn.hook_z"))
    assert feature_directions(model, of_heads).promoted.shape == (5, 0)


# ---- rules ----


def fired_where(tokens: np.ndarray, *conditions: np.ndarray) -> Firings:
    """Features that fire with value 1 wherever a condition holds."""
    places = [np.flatnonzero(one) for one in conditions]
    starts = np.concatenate([[0], np.cumsum([len(one) for one in places])])
    place = np.concatenate(places).astype(np.int64)
    kept = np.ones(tokens.shape, dtype=bool)
    return Firings(tokens, kept, starts, place, np.ones(len(place), dtype=np.float32))


def text(seed: int, n: int = 40) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 8, size=(n, 10))


def conditions(tokens: np.ndarray) -> list[np.ndarray]:
    before = np.concatenate([np.full((len(tokens), 1), -1), tokens[:, :-1]], axis=1)
    position = np.broadcast_to(np.arange(tokens.shape[1]), tokens.shape)
    noise = np.random.default_rng(9).random(tokens.shape) < 0.1
    return [
        tokens == 3,
        before == 5,
        position == 4,
        np.isin(tokens, [1, 6]),
        np.isin(tokens, [0, 2, 4]),
        np.isin(before, [0, 2, 4]),
        noise,
        np.zeros(tokens.shape, dtype=bool),
    ]


def test_planted_rules_are_found_and_noise_gets_none() -> None:
    one, other = (fired_where(t, *conditions(t)) for t in (text(0), text(1)))
    rules = describe(one, other, 8, {"an even one": [0, 2, 4]})
    words = list("abcdefgh")
    said = [None if rule is None else rule.text(words) for rule in rules]
    assert said == [
        "on 'd'",
        "after 'f'",
        "at position 4",
        "on 'b' or 'g'",
        "on an even one",
        "after an even one",
        None,
        None,
    ]
    for rule in rules[:6]:
        assert rule is not None and rule.precision.estimate == rule.recall.estimate == 1.0
        assert rule.f1 == 1.0


def test_precision_and_recall_are_counted_on_the_other_text() -> None:
    """A feature that fires on d, but in the other text on half of them, and on as many others."""
    tokens, others = text(2), text(3)
    place = np.flatnonzero(others == 3)
    half = np.zeros(others.size, dtype=bool)
    half[place[::2]] = True
    half[np.flatnonzero(others == 7)[: half.sum()]] = True
    counted_on = fired_where(others, half.reshape(others.shape))
    rule = describe(fired_where(tokens, tokens == 3), counted_on, 8)[0]
    assert rule is not None and rule.text(list("abcdefgh")) == "on 'd'"
    hits = len(place[::2])
    assert rule.precision.estimate == pytest.approx(hits / len(place))
    assert rule.recall.estimate == pytest.approx(hits / half.sum())
    assert (rule.precision.n, rule.recall.n) == (len(place), int(half.sum()))


@settings(max_examples=20)
@given(seed=st.integers(0, 10_000))
def test_no_rule_of_one_member_is_better_than_the_chosen_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tokens = rng.integers(0, 5, size=(12, 6))
    fires = rng.random(tokens.shape) < rng.random(5)[tokens]
    found = fired_where(tokens, fires)
    rule = describe(found, found, 5, least_f1=0.0, fewest=1)[0]
    if not fires.any():
        assert rule is None
        return
    assert rule is not None
    before = np.concatenate([np.full((12, 1), -1), tokens[:, :-1]], axis=1)
    position = np.broadcast_to(np.arange(6), tokens.shape)
    for looked_at, values in ((tokens, range(5)), (before, range(5)), (position, range(6))):
        for value in values:
            named = looked_at == value
            f1 = 2 * (named & fires).sum() / max(1, named.sum() + fires.sum())
            assert rule.f1 >= f1 - 1e-12


def test_firings_of_two_dictionaries_are_refused() -> None:
    tokens = text(0)
    with pytest.raises(ValueError, match="1 and 2 features"):
        describe(fired_where(tokens, tokens == 1), fired_where(tokens, tokens == 1, tokens == 2), 8)
