"""Undertrained tokens: indicators, detection, verification, trace; beside loops that are slow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import cutaway as ca
from cutaway.evidence import auroc
from cutaway.model.config import ModelConfig
from cutaway.model.transformer import HookedTransformer
from cutaway.tokens import glitch_frames, glitch_patches
from cutaway.tokens.glitch_prompts import list_prompts, ordinary_tokens, prompt_makers, reads_text
from cutaway.tokens.glitch_trace import TokenTrace, trace_token
from cutaway.tokens.glitch_verification import Verification, verdict, verify
from cutaway.tokens.undertrained_detection import (
    RANDOM,
    HalfOut,
    half_left_out,
    precision_and_recall,
    separation,
)
from cutaway.tokens.undertrained_indicators import (
    COSINE,
    DISTANCE,
    INDICATORS,
    NO_COMPONENT,
    NO_MEAN,
    NORM,
    Indicators,
    IndicatorTable,
    indicators,
)
from cutaway.tokens.undertrained_references import known_unused, token_kinds, token_texts
from cutaway.training.glitch_corpus import COUNTS, occurrences, open_rare_words, vocabulary
from random_models import configs

N_SPECIAL = 3


@pytest.fixture(scope="module")
def mini() -> HookedTransformer:
    return ca.HookedTransformer.from_pretrained_no_processing("glitch-mini")


@pytest.fixture(scope="module")
def found(mini) -> Indicators:
    return indicators(mini)


@pytest.fixture(scope="module")
def never() -> np.ndarray:
    counts = occurrences()
    return np.flatnonzero((counts == 0) & (np.arange(counts.size) >= N_SPECIAL))


@pytest.fixture(scope="module")
def used() -> np.ndarray:
    counts = occurrences()
    return np.flatnonzero((counts > 0) & (np.arange(counts.size) >= N_SPECIAL))


def nameless(seed: int = 0, **changes) -> HookedTransformer:
    """A model without a tokenizer."""
    options = {"n_layers": 1, "d_model": 8, "n_heads": 2, "d_vocab": 30, "n_ctx": 20} | changes
    return HookedTransformer(ModelConfig(**options, init_range=0.3), seed=seed)


# ---- indicators ----


def slow_indicator(name: str, W_E: np.ndarray, W_U: np.ndarray, reference: list[int]) -> list:
    """One token after the other, as the formulas are written. W_U is [d_model, d_vocab]."""
    n = len(W_E)
    columns = [W_U[:, i] for i in range(n)]
    if name == NO_MEAN:
        mean = sum(columns) / n
        columns = [column - mean for column in columns]
    if name == NO_COMPONENT:
        mean = sum(columns) / n
        centred = np.stack([column - mean for column in columns])
        component = np.linalg.svd(centred)[2][0]
        columns = [column - (column @ component) * component for column in columns]
    values = []
    for i in range(n):
        if name == NORM:
            values.append(sum(x * x for x in W_E[i]) ** 0.5)
        elif name == DISTANCE:
            centre = sum(W_E[j] for j in reference) / len(reference)
            values.append(sum((x - y) ** 2 for x, y in zip(W_E[i], centre, strict=True)) ** 0.5)
        else:
            centre = sum(columns[j] for j in reference) / len(reference)
            length = (columns[i] @ columns[i]) ** 0.5 * (centre @ centre) ** 0.5
            values.append(1 - columns[i] @ centre / length)
    return values


@pytest.mark.parametrize("name", INDICATORS)
@settings(max_examples=8)
@given(seed=st.integers(0, 99), reference=st.sets(st.integers(0, 29), min_size=1, max_size=6))
def test_indicators_are_their_formulas(name: str, seed: int, reference: set[int]) -> None:
    model = nameless(seed)
    W_E, W_U = (one.detach().double().numpy() for one in (model.W_E, model.W_U))
    expected = slow_indicator(name, W_E, W_U, sorted(reference))
    values = indicators(model, sorted(reference)).values[name]
    np.testing.assert_allclose(values, expected, atol=1e-6)


@settings(max_examples=8)
@given(seed=st.integers(0, 99))
def test_a_constant_and_a_rotation_change_what_they_should(seed: int) -> None:
    model, reference = nameless(seed), np.array([1, 4, 9])
    generator = torch.Generator().manual_seed(seed)
    table = IndicatorTable.of(model)
    before = {name: table.against(name, reference) for name in INDICATORS}
    turn = torch.linalg.qr(torch.randn(8, 8, generator=generator))[0]
    turned, moved = nameless(seed), nameless(seed)
    with torch.no_grad():
        turned.embed.W_E.copy_(model.W_E @ turn)
        turned.unembed.W_U.copy_(turn.T @ model.W_U)
        moved.unembed.W_U.copy_(model.W_U + torch.randn(8, 1, generator=generator))
    after_turn, after_move = IndicatorTable.of(turned), IndicatorTable.of(moved)
    for name in INDICATORS:
        np.testing.assert_allclose(after_turn.against(name, reference), before[name], atol=1e-5)
    np.testing.assert_allclose(after_move.against(NO_MEAN, reference), before[NO_MEAN], atol=1e-5)
    assert np.abs(after_move.against(COSINE, reference) - before[COSINE]).max() > 1e-2


def test_leaving_one_out_is_measuring_it_against_the_others() -> None:
    table, reference = IndicatorTable.of(nameless()), np.array([2, 3, 5, 7])
    for name in INDICATORS:
        others = [
            table.against(name, np.delete(reference, at))[token]
            for at, token in enumerate(reference)
        ]
        np.testing.assert_allclose(table.left_out(name, reference), others, atol=1e-9)


def planted(seed: int = 0) -> tuple[HookedTransformer, list[int], list[int]]:
    """Random weights, in which some tokens are as undertrained ones are: small when read, and
    pushed down along one direction when said."""
    model = nameless(seed, d_vocab=200, d_model=32)
    rng = np.random.default_rng(seed)
    unused = rng.permutation(200)[:30].tolist()
    direction = torch.randn(32, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        model.embed.W_E[unused] *= 0.1
        model.unembed.W_U[:, unused] *= 0.1
        model.unembed.W_U[:, unused] -= direction[:, None] / direction.norm()
    return model, unused, [token for token in range(200) if token not in unused]


def test_planted_tokens_are_found_by_the_half_that_is_known() -> None:
    model, unused, used = planted()
    halves = half_left_out(model, unused, used, n_splits=3)
    for name in (NORM, DISTANCE, COSINE, NO_MEAN):
        assert halves.mean(name, "area") == 1 and halves.mean(name, "precision") == 1, name
        assert halves.mean(name, "recall") > 0.7
    assert 0.3 < halves.mean(RANDOM, "area") < 0.7 and halves.mean(RANDOM, "precision") < 0.3
    assert halves.mean(NO_COMPONENT, "area") > 0.9


def test_a_random_model_has_nothing_to_find() -> None:
    model = nameless(3, d_vocab=200, d_model=32)
    halves = half_left_out(model, range(40), range(40, 200), n_splits=20)
    for name in INDICATORS:
        assert abs(halves.mean(name, "area") - 0.5) < 0.12, name


def test_rates_of_one_split_are_counted() -> None:
    values = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    precision, recall = precision_and_recall(values, np.array([0, 3]), np.array([1, 2, 4, 5]), 2)
    assert (precision.estimate, recall.estimate) == (0.5, 0.5)
    area = separation(values, np.array([0, 3]), np.array([1, 2, 4, 5]))
    pairs = [(a < b) for a in (0.1, 0.4) for b in (0.2, 0.3, 0.5, 0.6)]
    assert area.estimate == pytest.approx(np.mean(pairs))
    assert area.estimate == auroc([-0.1, -0.4], [-0.2, -0.3, -0.5, -0.6]).estimate


# ---- which tokens are unused ----


def test_the_corpus_holds_each_token_as_often_as_it_says() -> None:
    """Over the first 400 steps: rare words stand in as many sequences as were planned for them,
    and the rest in none."""
    from cutaway.training.glitch_corpus import N_PLANNED, _rare_places

    source = open_rare_words(32, seed=0)
    rows = torch.cat([source.rows(step, 64) for step in range(40)]).numpy()  # 2,560 sequences
    seen = np.zeros(len(vocabulary()), dtype=int)
    for row in rows:
        seen[np.unique(row)] += 1
    counts, places = occurrences(), _rare_places(0)
    planned = np.zeros_like(seen)
    for number, tokens in places.items():
        if number < len(rows):
            planned[list(tokens)] += 1
    rare = (counts > 0) & (counts <= max(COUNTS)) & np.isin(counts, COUNTS)
    np.testing.assert_array_equal(seen[rare], planned[rare])
    assert not seen[counts == 0].any()
    totals = np.bincount([t for tokens in places.values() for t in tokens], minlength=len(seen))
    np.testing.assert_array_equal(totals[rare], counts[rare])
    assert max(places) < N_PLANNED


def test_references_and_kinds_of_glitch_mini(mini, never) -> None:
    unused = known_unused(mini)
    assert token_texts(mini)[1:3] == ("<|pad|>", "<|unk|>")
    assert (unused.tokens, unused.reasons) == ((1, 2), ("special", "special"))
    kinds = token_kinds(mini)
    unreachable = [token for token, kind in enumerate(kinds) if kind == "unreachable"]
    assert len(unreachable) == 8 and set(unreachable) <= set(never.tolist())
    assert kinds.count("special") == 3 and kinds.count("text") == len(kinds) - 11
    assert all(" " in token_texts(mini)[token].strip() for token in unreachable)


def test_rows_beyond_the_tokenizer_are_known_to_be_unused(mini) -> None:
    cfg = mini.cfg.replace(d_vocab=mini.cfg.d_vocab + 2)
    padded = HookedTransformer(cfg, mini.tokenizer)
    assert known_unused(padded).tokens == (1, 2, 559, 560)
    assert token_kinds(padded)[-2:] == ("outside", "outside")
    assert token_texts(padded)[-1] == "row 560"


def byte_level_tokenizer() -> ca.Tokenizer:
    """A token for every byte, written as GPT-2 writes them, and nothing else."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE({c: i for i, c in enumerate(alphabet)}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    return ca.Tokenizer(backend)


def test_bytes_that_no_text_holds() -> None:
    tokenizer = byte_level_tokenizer()
    model = HookedTransformer(
        ModelConfig(n_layers=1, d_model=4, n_heads=1, d_vocab=256, n_ctx=32), tokenizer
    )
    unused, kinds = known_unused(model), token_kinds(model)
    seen = set(tokenizer.encode("".join(map(chr, range(0x20, 0x3000))) + "\U0001f600"))
    assert len(unused.tokens) == 13 and not seen & set(unused.tokens)
    assert {kinds[token] for token in unused.tokens} == {"partial"}
    assert kinds[tokenizer.single("a")] == "text" and kinds.count("partial") == 128


@pytest.mark.slow
def test_bytes_and_partial_tokens_of_gpt2(shared: Path) -> None:
    """GPT-2 has a token for every byte; 13 of them stand in no UTF-8 text."""
    tokenizer = ca.Tokenizer.from_file(shared / "models/gpt2-tokenizer/tokenizer.json")
    cfg = ModelConfig(
        n_layers=1, d_model=4, n_heads=1, d_vocab=50257, n_ctx=64, tie_word_embeddings=True
    )
    model = HookedTransformer(cfg, tokenizer)
    found = indicators(model)
    unused, kinds = found.unused, found.kinds
    assert len(unused.tokens) == 13 and set(unused.reasons) == {"byte of no text"}
    assert kinds[50256] == "special" and kinds[tokenizer.single(" the")] == "text"
    assert kinds.count("partial") > 200 and kinds.count("outside") == 0
    assert {kinds[token] for token in unused.tokens} == {"partial"}
    assert reads_text(tokenizer)
    token = tokenizer.get_vocab()["ĠSolidGoldMagikarp"]
    prompts = [make(token) for make in prompt_makers(model, [])]
    assert [prompt.count(token) for prompt in prompts] == [1, 3, 1]
    checked = verify(model, [token, 262], prompt_makers(model, []))
    assert checked.highest.max() < 1e-3  # random weights can say nothing
    assert found.chosen == NO_COMPONENT


# ---- verification ----


def test_verification_is_a_plain_forward(mini, found) -> None:
    makers = list_prompts(mini, ordinary_tokens(found))
    tokens = [5, 100, 377]
    checked = verify(mini, tokens, makers)
    for row, token in enumerate(tokens):
        for column, make in enumerate(makers):
            prompt = make(token)
            odds = mini(torch.tensor([prompt]))[0, -1].softmax(-1)
            assert prompt.count(token) == 2, "twice, and asked for the third time"
            assert checked.probability[row, column] == pytest.approx(odds[token].item(), rel=1e-4)
            assert checked.said[row, column] == odds.argmax()


def test_verdicts_at_their_thresholds() -> None:
    assert [verdict(p) for p in (0.0, 0.00099, 0.001, 0.0099, 0.01, 1.0)] == [
        *("strong",) * 2,
        *("weak",) * 2,
        *("repeats",) * 2,
    ]


def test_golden_verification_of_glitch_mini(mini, found, never, used) -> None:
    """Of tokens that never came none can be said; common words all can."""
    makers = list_prompts(mini, ordinary_tokens(found))
    assert set(verify(mini, never.tolist(), makers).verdicts) == {"strong"}
    counts = occurrences()
    common = [token for token in used.tolist() if counts[token] not in COUNTS][:100]
    assert verify(mini, common, makers).share("repeats").estimate == 1
    rare = [int(token) for token in used if counts[token] == 1]
    assert set(verify(mini, rare, makers).verdicts) == {"strong"}


def test_golden_detection_in_glitch_mini(mini, found, never, used) -> None:
    assert found.chosen == NORM and not found.tied
    areas = {name: separation(v, never, used).estimate for name, v in found.values.items()}
    assert areas[NORM] == pytest.approx(0.9972, abs=5e-4)
    assert areas[NO_COMPONENT] == pytest.approx(0.9998, abs=5e-4)
    precision, recall = precision_and_recall(found.values[NORM], never, used, len(never))
    assert precision.estimate == recall.estimate == 61 / 64
    halves = half_left_out(mini, never.tolist(), used.tolist(), n_splits=4)
    assert halves.mean(NORM, "recall") > 0.85 and halves.mean(NORM, "precision") > 0.85


# ---- trace ----


@pytest.fixture(scope="module")
def trace(mini, found, never) -> TokenTrace:
    token = next(one for one in found.suspects(64) if one in never)
    return trace_token(mini, token, ordinary_tokens(found, 20), n_prompts=4, seed=1)


def test_a_trace_is_what_plain_runs_show(mini, trace) -> None:
    ordinary = ordinary_tokens(indicators(mini), 20)
    frames = glitch_frames.draw_frames(mini, trace.token, ordinary, 4, seed=1)
    at, own = frames.at, {}
    assert trace.ordinary == frames.ordinary == tuple(ordinary[:10])
    for run in range(frames.n_runs):
        tokens = frames.sequences(run)
        logits, cache = mini.run_with_cache(tokens)
        centred = logits - logits.mean(-1, keepdim=True)
        own[run] = centred[:, at["say"]].detach()
        stream = cache["resid_post", 1][:, at["X"]].norm(dim=-1)
        np.testing.assert_allclose(trace.norm[run, :, -1], stream.numpy(), rtol=1e-4)
        put = (trace.token, *trace.ordinary)[run]
        logs = logits.log_softmax(-1)
        np.testing.assert_allclose(
            trace.log_probability[run, :, -1], logs[:, at["say"], put].detach(), atol=1e-3
        )
        after = logs[range(4), at["again"], tokens[:, at["next"]]].detach()
        np.testing.assert_allclose(trace.follower[run, :, -1], after, atol=1e-3)
        pattern = cache["pattern", 1][:, :, at["again"], at["next"]]
        np.testing.assert_allclose(trace.attention[2, run, :, 1], pattern.numpy(), atol=1e-4)
    others = torch.stack([own[run][:, trace.token] for run in range(1, frames.n_runs)]).mean(0)
    np.testing.assert_allclose(trace.floor[0, :, -1], others.numpy(), atol=1e-3)
    rise = own[0][:, trace.token] - others
    np.testing.assert_allclose(trace.rise[0, :, -1], rise.numpy(), atol=1e-3)


def test_a_patch_is_a_run_with_a_hook(mini, trace) -> None:
    ordinary = ordinary_tokens(indicators(mini), 20)
    frames = glitch_frames.draw_frames(mini, trace.token, ordinary, 4, seed=1)
    task = glitch_patches.follow_task(frames, list(frames.ordinary[:4]), [trace.token] * 4)
    hook = "blocks.1.hook_resid_pre"
    places = [frames.at["next"], frames.at["again"]]
    with torch.no_grad():
        _, clean = mini.run_with_cache(task.clean)

        def put(value, hook):
            value = value.clone()
            value[:, places] = clean[hook.name][:, places]
            return value

        logits = mini.run_with_hooks(task.corrupted, fwd_hooks=[(hook, put)])[:, -1]
        before = mini(task.corrupted)[:, -1]
    rows = range(4)
    gained = (logits - before)[rows, task.correct] - (logits - before)[rows, task.wrong]
    patch = trace.patches["follow"]
    column = patch.places.index("follower and end")
    np.testing.assert_allclose(patch.restored[1, column], gained.numpy(), atol=1e-3)


def test_patching_all_that_differs_restores_all(trace) -> None:
    say, follow = trace.patches["say"], trace.patches["follow"]
    np.testing.assert_allclose(say.restored[0, say.places.index("token")], say.gap, atol=1e-3)
    both = follow.places.index("token, both times")
    np.testing.assert_allclose(follow.restored[0, both], follow.gap, atol=1e-3)


def test_golden_trace_of_a_token_that_never_came(trace) -> None:
    """It is not carried (rise), and its follower is not found: the previous-token head of layer 0
    does not write it down, so that layer 1 has nothing to look for."""
    assert trace.first_outside("rise") in ("0", "1")
    assert trace.means("rise")[0, -1] < 3 < trace.means("rise")[1:, -1].min()
    assert trace.first_outside("follower") == "1"
    look = trace.attention.mean(2)[2, :, 1].max(-1)  # from where it comes again, in layer 1
    assert look[0] < 0.3 < 0.7 < look[1:].min()
    follow = trace.patches["follow"]
    assert follow.last_layer("token, both times") == 0
    assert follow.last_layer("follower and end") == 1 and follow.last_layer("end") is None
    control = trace.patches["follow, control"].whole_gap()
    assert abs(control.estimate) < follow.whole_gap().low / 4


@settings(max_examples=6)
@given(cfg=configs(min_layers=1, max_layers=2))
def test_a_trace_runs_on_any_decoder(cfg: ModelConfig) -> None:
    model = HookedTransformer(cfg)
    trace = trace_token(model, 0, list(range(1, 13)), n_prompts=2)
    assert np.isfinite(trace.rise).all() and trace.norm.shape == (7, 2, cfg.n_layers + 1)
    # Where nothing has run yet the token cannot have risen at another place.
    np.testing.assert_allclose(trace.rise[:, :, 0], 0, atol=1e-5)


# ---- files, and faults ----


def test_everything_is_what_it_was_after_a_file(found, trace, mini, tmp_path: Path) -> None:
    unused, used = list(range(3, 9)), list(range(20, 60))
    things = {
        "indicators": found,
        "trace": trace,
        "verification": verify(mini, [4, 5], list_prompts(mini, ordinary_tokens(found))),
        "half": half_left_out(mini, unused, used, n_splits=2),
    }
    kinds = (Indicators, TokenTrace, Verification, HalfOut)
    for (name, thing), kind in zip(things.items(), kinds, strict=True):
        thing.save(tmp_path / name)
        assert str(kind.load(tmp_path / name).to_frame()) == str(thing.to_frame())
    again = TokenTrace.load(tmp_path / "trace")
    np.testing.assert_array_equal(again.patches["say"].mean, trace.patches["say"].mean)
    with pytest.raises(ValueError, match="does not hold a token's trace"):
        TokenTrace.load(tmp_path / "half")


def test_faults_are_named(mini, found) -> None:
    plain = nameless()
    with pytest.raises(ValueError, match="no token that is surely unused .*: give some"):
        known_unused(plain)
    with pytest.raises(ValueError, match="the unused token 30 is not in the vocabulary"):
        known_unused(plain, [3, 30])
    with pytest.raises(ValueError, match="no unused token was given"):
        known_unused(plain, [])
    with pytest.raises(ValueError, match="token 4 is in unused and in used"):
        half_left_out(plain, [1, 2, 3, 4], [4, 5])
    with pytest.raises(ValueError, match="n_reference=4 is not from 2 to 3"):
        half_left_out(plain, [1, 2, 3, 4], [6, 5], n_reference=4)
    with pytest.raises(ValueError, match="2 unused tokens are too few"):
        half_left_out(plain, [1, 2], [6, 5])
    with pytest.raises(ValueError, match=r"token 600 is not in the vocabulary"):
        verify(mini, [600], list_prompts(mini, ordinary_tokens(found)))
    with pytest.raises(ValueError, match="0 tokens and 1 makers"):
        verify(mini, [], [lambda token: [token]])
    with pytest.raises(ValueError, match="a prompt has 40 tokens, and the context"):
        verify(mini, [5], [lambda token: [token] * 40])
    with pytest.raises(ValueError, match="too few for lists of 8: at least 9"):
        list_prompts(mini, range(10, 15))
    with pytest.raises(ValueError, match="token 12 is among the ordinary tokens"):
        trace_token(mini, 12, range(10, 40))
    with pytest.raises(ValueError, match="4 ordinary tokens are too few for a trace"):
        trace_token(mini, 12, range(20, 24))
    with pytest.raises(ValueError, match="holds 7 tokens; a trace needs 8"):
        trace_token(nameless(n_ctx=7), 0, range(1, 20))
    with torch.no_grad():
        plain.embed.W_E[3, 3] = torch.nan
    with pytest.raises(ValueError, match="W_E of custom holds numbers that are not finite"):
        indicators(plain, [1])
