"""Steering runs: the exact engine and hooks against plain loops, and text that is generated."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import cutaway as ca
from cutaway.model.config import ModelConfig
from cutaway.model.kv_cache import KVCache
from cutaway.patching.interventions import intervene
from cutaway.steering import SteeringVector, applied, intervention
from random_models import configs, random_model, small_chunks, small_task, tasks
from test_generation import word_tokenizer

CFG = ModelConfig(n_layers=2, d_model=16, n_heads=4, d_vocab=17, n_ctx=14, init_range=0.4)


def steered_by_hand(old, vector, factor, operation, where) -> torch.Tensor:
    """Row by row and token by token, in float64; `vector` is [row, pos, d]."""
    new = old.double().clone()
    for row, column in where.nonzero().tolist():
        x, v = new[row, column], vector[row, column].double()
        if operation == "set" and v.norm() > 0:
            x = x - (x @ v) / (v @ v) * v
        new[row, column] = x + factor * v
    return new.to(old.dtype)


def laid(vector, n, n_pos, before) -> torch.Tensor:
    """[row, pos, d] of any vector; `before` counts the padding in front of each row."""
    full = torch.zeros(n, n_pos, vector.shape[-1])
    for row in range(n):
        for column in range(n_pos):
            at = column - int(before[row])
            if vector.ndim == 1:
                full[row, column] = vector
            elif vector.ndim == 2:
                full[row, column] = vector[row]
            elif 0 <= at < vector.shape[1]:
                full[row, column] = vector[row if len(vector) > 1 else 0, at]
    return full


def shapes(n) -> st.SearchStrategy[tuple[int, ...]]:
    return st.sampled_from([(), (n,), (n, 3), (1, 3)])


@settings(max_examples=25)
@given(st.data())
def test_interventions_and_hooks_equal_a_plain_loop(data) -> None:
    cfg = data.draw(configs())
    model, task = random_model(cfg, data.draw(st.integers(0, 100))), data.draw(tasks(cfg))
    n, n_pos = task.clean.shape
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 100)))
    tensor = torch.randn(*data.draw(shapes(n)), cfg.d_model, generator=generator)
    vector = SteeringVector(tensor, "random")
    sites = ["resid_pre", "resid_post"]
    if cfg.has_resid_mid and not cfg.attn_only:
        sites.append("resid_mid")
    site, layer = data.draw(st.sampled_from(sites)), data.draw(st.integers(0, cfg.n_layers - 1))
    operation = data.draw(st.sampled_from(["add", "set"]))
    factor = data.draw(st.sampled_from([-1.5, 0.0, 2.0]))
    position = data.draw(st.sampled_from([None, "A", "END"]))
    real = model.padding_mask(task.clean)
    before = torch.zeros(n) if real is None else (~real).sum(1)
    where = torch.ones(n, n_pos, dtype=torch.bool)
    if position is not None:
        where = torch.arange(n_pos) == task.positions[position][:, None]
    hook, full = f"blocks.{layer}.hook_{site}", laid(tensor, n, n_pos, before)

    def steer(old, hook):
        return steered_by_hand(old, full, factor, operation, where)

    with torch.no_grad():
        logits = model.run_with_hooks(task.clean, fwd_hooks=[(hook, steer)])
        expected = task.metric(task.metric.read(logits)).numpy()
        scale = max(1.0, float(logits.abs().max()))
        one = intervention(
            vector, layer, factor, positions=position, site=site, operation=operation
        )
        with small_chunks(data.draw(st.sampled_from([1, 20, 768]))):
            found = intervene(model, task, one, mode="noising").patched[0]
        assert np.abs(found - expected).max() <= 3e-5 * scale
        at = "all" if position is None else task.positions[position]
        with applied(
            model,
            vector,
            layer=layer,
            coefficient=factor,
            positions=at,
            site=site,
            operation=operation,
        ):
            by_hooks = model(task.clean)
        read = task.metric(task.metric.read(by_hooks)).numpy()
        assert np.abs(read - expected).max() <= 3e-5 * scale
    assert not any(point.active for point in model.hook_points())


def test_the_coefficient_counts_the_norm_that_is_given() -> None:
    model, task = random_model(CFG), small_task(CFG)
    tensor = torch.randn(6, 16, generator=torch.Generator().manual_seed(0))
    vector = SteeringVector(tensor, "random")
    one = intervention(vector, 1, 2.0, norm=5.0, positions="END")
    length = tensor.norm(dim=-1, keepdim=True)
    other = intervention(SteeringVector(10 * tensor / length, "scaled"), 1, positions="END")
    a, b = ca.intervene(model, task, {"norm": [one], "own": [other]}, mode="noising").patched
    np.testing.assert_allclose(a, b, atol=1e-5)


def test_coefficient_0_changes_nothing_and_removing_twice_is_removing_once() -> None:
    model, task = random_model(CFG), small_task(CFG)
    vector = SteeringVector(torch.randn(16, generator=torch.Generator().manual_seed(0)), "v")
    remove = intervention(vector, 1, 0.0, operation="set")
    runs = {
        "nothing": [intervention(vector, 1, 0.0)],
        "once": [remove],
        "twice": [remove, remove],
        "there and back": [intervention(vector, 1, 3.0), intervention(vector, 1, -3.0)],
    }
    found = ca.intervene(model, task, runs, mode="noising")
    nothing, once, twice, back = found.patched
    np.testing.assert_allclose(nothing, found.clean, atol=1e-6)
    np.testing.assert_allclose(once, twice, atol=1e-6)
    np.testing.assert_allclose(back, found.clean, atol=1e-5)
    assert np.abs(once - found.clean).max() > 1e-3


def test_steering_by_the_difference_of_two_runs_is_patching() -> None:
    model, task = random_model(CFG), small_task(CFG)
    for site in ("resid_pre", "resid_post"):
        hook = f"blocks.1.hook_{site}"
        clean, corrupted = (
            model.run_with_cache(tokens, names_filter=hook)[1][hook]
            for tokens in (task.clean, task.corrupted)
        )
        steer = intervention(SteeringVector(clean - corrupted, "clean - corrupted"), 1, site=site)
        runs = {"steer": [steer], "patch": [ca.Intervention(site, 1)]}
        a, b = ca.intervene(model, task, runs).patched
        np.testing.assert_allclose(a, b, atol=2e-5)


# ---- generation ----


@pytest.fixture
def model() -> ca.HookedTransformer:
    model = random_model(CFG)
    model.tokenizer = word_tokenizer()
    return model


POSITIONS = ["all", "prompt", "last", 1, -1, (0, -2), "columns", "mask"]


def generated(model, vector, tokens, positions, cached, n=6, **more) -> torch.Tensor:
    with applied(model, vector, layer=1, coefficient=3.0, positions=positions):
        return model.generate(
            tokens, n, temperature=0, use_past_kv_cache=cached, stop_at_eos=False, **more
        )


def greedy_by_hand(model, vector, tokens, where_of, n=6) -> torch.Tensor:
    """Everything is run again for every token, steered token by token."""
    n_prompt = tokens.shape[1]
    full = laid(vector, len(tokens), n_prompt + n, torch.zeros(len(tokens)))
    for _ in range(n):
        where = where_of(torch.arange(tokens.shape[1]), n_prompt).expand(tokens.shape)

        def steer(old, hook, where=where):
            return steered_by_hand(old, full, 3.0, "add", where)

        logits = model.run_with_hooks(tokens, fwd_hooks=[("blocks.1.hook_resid_pre", steer)])
        tokens = torch.cat([tokens, logits[:, -1].argmax(-1, keepdim=True)], dim=1)
    return tokens


RULES = {
    "all": lambda column, n: column >= 0,
    "prompt": lambda column, n: column < n,
    "last": lambda column, n: column >= n - 1,
    1: lambda column, n: column == 1,
    -1: lambda column, n: column == n - 1,
    (0, -2): lambda column, n: (column == 0) | (column == n - 2),
}


@torch.no_grad()
@settings(max_examples=12)
@given(configs(), st.sampled_from(list(RULES)), st.sampled_from([(), (3,), (3, 2), (1, 9)]))
def test_steered_generation_is_that_of_full_steered_runs(cfg, positions, shape) -> None:
    model = random_model(cfg.replace(n_layers=2))
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(1, 17, (3, 4), generator=generator)
    vector = SteeringVector(torch.randn(*shape, cfg.d_model, generator=generator), "random")
    expected = greedy_by_hand(model, vector.vector, tokens, RULES[positions])
    for cached in (True, False):
        assert torch.equal(generated(model, vector, tokens, positions, cached), expected)


@torch.no_grad()
@settings(max_examples=8)
@given(configs(), st.sampled_from(POSITIONS), st.booleans(), st.integers(0, 20))
def test_a_padded_batch_gets_with_and_without_the_cache_what_each_gets_alone(
    cfg, positions, per_position, seed
) -> None:
    model = random_model(cfg.replace(n_layers=2, n_ctx=14), seed)
    model.tokenizer = word_tokenizer()
    texts = ["w3 w2", "w1 w2 w3 w4 w5", "w9 w9 w1"]
    generator = torch.Generator().manual_seed(seed)
    shape = (3, 2) if per_position else (3,)
    vector = SteeringVector(torch.randn(*shape, cfg.d_model, generator=generator), "random")
    lengths = [3, 6, 4]  # with BOS
    together: object = positions
    alone: list[object] = [positions] * 3
    if positions == "columns":  # the last column but one of the padded batch
        together, alone = torch.tensor([4, 4, 4]), [-2, -2, -2]
    elif positions == "mask":  # each text's second token
        together = torch.arange(6) == torch.tensor([[6 - n + 1] for n in lengths])
        alone = [1, 1, 1]
    expected = [
        generated(model, vector.subset([i]), text, alone[i], True) for i, text in enumerate(texts)
    ]
    for cached in (True, False):
        assert generated(model, vector, texts, together, cached) == expected


@torch.no_grad()
def test_last_is_each_prompts_last_token_also_with_padding_behind(model) -> None:
    vector = SteeringVector(torch.randn(16, generator=torch.Generator().manual_seed(0)), "v")
    texts = ["w3", "w1 w2 w3 w4"]
    with applied(model, vector, layer=0, positions="last"):
        together = model(texts, padding_side="right")
        single = model(texts[0])
    torch.testing.assert_close(together[0, :2], single[0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(single[0, 0], model(texts[0])[0, 0], atol=1e-6, rtol=1e-5)
    assert not torch.allclose(single[0, 1], model(texts[0])[0, 1], atol=1e-2)


@torch.no_grad()
def test_a_prompt_in_pieces_is_one_prompt(model) -> None:
    """A cache that was filled before the block: its tokens are the prompt's too."""
    vector = SteeringVector(torch.randn(16, generator=torch.Generator().manual_seed(0)), "v")
    tokens = torch.tensor([[0, 4, 5, 6, 7]])
    cache = KVCache(model, 1)
    model(tokens[:, :3], past_kv_cache=cache)
    with applied(model, vector, layer=0, positions=(4,)):
        pieces = model(tokens[:, 3:], past_kv_cache=cache)
        whole = model(tokens)
    torch.testing.assert_close(pieces[0, -1], whole[0, -1], atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_two_texts_in_one_block_are_two_prompts(model) -> None:
    vector = SteeringVector(torch.randn(16, generator=torch.Generator().manual_seed(0)), "v")
    settings = {"temperature": 0, "stop_at_eos": False}
    with applied(model, vector, layer=0, coefficient=2.0, positions="last"):
        for cached in (True, False):
            both = [
                model.generate(text, 4, use_past_kv_cache=cached, **settings)
                for text in ("w1 w2", "w1 w2", "w5", "w1 w2")
            ]
            assert both[0] == both[1] == both[3]
    alone = []
    for text in ("w1 w2", "w5"):
        with applied(model, vector, layer=0, coefficient=2.0, positions="last"):
            alone.append(model.generate(text, 4, **settings))
    assert [both[0], both[2]] == alone


@torch.no_grad()
def test_the_block_leaves_nothing_behind_and_lets_other_hooks_be(model) -> None:
    vector, before = SteeringVector(torch.ones(16), "ones"), model("w1 w2")
    seen = []
    point = "blocks.1.hook_resid_pre"
    with (
        model.hooks([(point, lambda x, hook: seen.append(x.shape[1]))]),
        pytest.raises(RuntimeError, match="on purpose"),
        applied(model, vector, layer=[0, 1], positions="prompt"),
    ):
        model.generate("w1 w2", 3, temperature=0, stop_at_eos=False)
        raise RuntimeError("on purpose")
    assert seen == [3, 1, 1]
    assert torch.equal(model("w1 w2"), before) and not model._forward_pre_hooks


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layer": 2}, "no layer 2"),
        ({"layer": 0, "site": "z"}, "site='z' is not of the stream"),
        ({"layer": 0, "positions": "END"}, "give task.positions"),
        ({"layer": 0, "positions": ()}, "no whole numbers"),
        ({"layer": 0, "positions": 1.5}, "no whole numbers|not iterable"),
        ({"layer": 0, "positions": torch.ones(2)}, "one column for each row"),
        ({"layer": 0, "operation": "multiply"}, "neither 'add' nor 'set'"),
        ({"layer": 0, "coefficient": float("nan")}, "must be finite"),
        ({"layer": 0, "positions": 5}, "position 5 is outside a prompt"),
        ({"layer": 0, "positions": torch.tensor([1, 1])}, "is for 2 prompts"),
    ],
)
def test_what_cannot_be_done_is_said(model, arguments, message) -> None:
    vector = SteeringVector(torch.ones(16), "ones")
    with pytest.raises(ValueError, match=message), applied(model, vector, **arguments):
        model("w1 w2")


def test_a_vector_that_does_not_fit_is_refused(model) -> None:
    with (
        pytest.raises(ValueError, match="has 3 numbers"),
        applied(model, SteeringVector(torch.ones(3), "x"), layer=0),
    ):
        pass
    two = SteeringVector(torch.ones(2, 16), "x")
    with pytest.raises(ValueError, match="is for 2 prompts"), applied(model, two, layer=0):
        model("w1 w2")
