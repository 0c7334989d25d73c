"""Dictionaries in place: runs with and without the error term, caches, gradients, generation."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cutaway.model.config import ModelConfig
from cutaway.model.hooks import UnknownHook
from cutaway.sae import (
    DictionaryConfig,
    DictionaryError,
    error_hook,
    features_hook,
    new_dictionary,
    spliced,
    steered,
    written_rows,
)
from feature_oracles import KINDS, dictionaries, features_of, random_dictionary, through
from random_models import configs, random_model, small_task, tasks

CFG = ModelConfig(n_layers=3, d_model=16, n_heads=4, d_vocab=17, n_ctx=12, init_range=0.4)
HOOK = "blocks.1.hook_resid_post"
FEATURES = f"{HOOK}.hook_sae_acts_post"


@pytest.fixture(scope="module")
def model():
    return random_model(CFG)


@settings(max_examples=20)
@given(st.data())
def test_with_the_error_term_nothing_changes_to_the_last_bit(data) -> None:
    cfg = data.draw(configs())
    model, task = random_model(cfg), data.draw(tasks(cfg))
    dictionary = data.draw(dictionaries(cfg))
    watched = [features_hook(dictionary), error_hook(dictionary)]
    # The on-demand hook that a transcoder may read is hooked in both runs.
    read = dictionary.cfg.hook
    expected, _ = model.run_with_cache(task.clean, names_filter=read)
    with spliced(model, dictionary):
        assert torch.equal(model.run_with_cache(task.clean, names_filter=read)[0], expected)
        logits, cache = model.run_with_cache(task.clean, names_filter=[read, *watched])
    assert torch.equal(logits, expected)
    assert torch.equal(cache[watched[0]], features_of(model, task.clean, dictionary))
    assert not any(point.active for point in model.hook_points())
    assert not any("sae" in name for name in model.hook_dict)


@settings(max_examples=12)
@given(st.data())
def test_without_it_the_reconstruction_goes_on(data) -> None:
    cfg = data.draw(configs())
    model, task = random_model(cfg).double(), data.draw(tasks(cfg))
    dictionary = data.draw(dictionaries(cfg)).double()
    with spliced(model, dictionary, with_error=False):
        logits = model(task.clean)
    expected = through(model, task.clean, dictionary, lambda f: f, torch.zeros_like)
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-9)


def test_replaced_features_write_along_their_rows(model) -> None:
    dictionary = random_dictionary(CFG, "top-k", HOOK, scale=3.0)
    tokens = small_task(CFG).clean
    with spliced(model, dictionary):
        louder = [(FEATURES, lambda f, hook: f + torch.eye(6)[2] * 1.5)]
        _, cache = model.run_with_cache(tokens, names_filter=HOOK)
        with model.hooks(louder):
            _, changed = model.run_with_cache(tokens, names_filter=HOOK)
    moved = (changed[HOOK] - cache[HOOK]) / 1.5
    expected = written_rows(dictionary, torch.tensor([2]))[0]
    torch.testing.assert_close(moved, expected.expand_as(moved), atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_written_are_what_decoding_adds(kind) -> None:
    dictionary = random_dictionary(CFG, kind, HOOK, scale=1.7)
    features = torch.rand(5, 6)
    with torch.no_grad():
        expected = dictionary.decode(features) - dictionary.decode(torch.zeros(5, 6))
    torch.testing.assert_close(features @ written_rows(dictionary), expected)
    some = torch.tensor([4, 1])
    assert torch.equal(written_rows(dictionary, some), written_rows(dictionary)[some])


def test_several_at_once_each_see_what_the_one_before_let_through(model) -> None:
    first = random_dictionary(CFG, "top-k", "blocks.0.hook_mlp_out", "blocks.0.hook_resid_mid")
    second = random_dictionary(CFG, "jump-relu", "blocks.2.attn.hook_z", seed=1)
    tokens = small_task(CFG).clean
    with spliced(model, first, with_error=False), spliced(model, [second], with_error=False):
        logits = model(tokens)
    mid, seen = {}, {}

    def z_replaced(value, hook):
        seen["z"] = value
        return second(value.flatten(-2)).view(value.shape)

    hooks = [
        ("blocks.0.hook_resid_mid", lambda value, hook: mid.update(x=value)),
        ("blocks.0.hook_mlp_out", lambda value, hook: first(mid["x"])),
        ("blocks.2.attn.hook_z", z_replaced),
    ]
    torch.testing.assert_close(logits, model.run_with_hooks(tokens, fwd_hooks=hooks))
    with spliced(model, {"blocks.0.hook_mlp_out": first, "blocks.2.attn.hook_z": second}):
        assert torch.equal(model(tokens), model(tokens))


def test_a_dictionary_of_single_heads_reads_each_head(model) -> None:
    own = DictionaryConfig("standard", CFG.d_head, 6, hook="blocks.1.attn.hook_z")
    dictionary = new_dictionary(own)
    with spliced(model, dictionary):
        _, cache = model.run_with_cache(small_task(CFG).clean)
    features = cache["blocks.1.attn.hook_z.hook_sae_acts_post"]
    assert features.shape == (6, 9, CFG.n_heads, 6)
    torch.testing.assert_close(features, dictionary.encode(cache["z", 1]))


def test_gradients_reach_features_and_what_comes_before(model) -> None:
    dictionary = random_dictionary(CFG, "standard", HOOK)
    tokens = small_task(CFG).clean
    before = "blocks.0.hook_resid_post"
    with spliced(model, dictionary):
        _, cache = model.run_with_cache(
            tokens, names_filter=[before, HOOK, FEATURES], incl_bwd=True, return_type="loss"
        )
    _, plain = model.run_with_cache(
        tokens, names_filter=[before, HOOK], incl_bwd=True, return_type="loss"
    )
    torch.testing.assert_close(cache[f"{before}_grad"], plain[f"{before}_grad"])
    torch.testing.assert_close(
        cache[f"{FEATURES}_grad"], plain[f"{HOOK}_grad"] @ written_rows(dictionary).T
    )
    model.zero_grad()


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("read", ["", "blocks.1.ln2.hook_normalized"])
def test_text_is_made_through_it(model, cached, read) -> None:
    write = "blocks.1.hook_mlp_out" if read else HOOK
    dictionary = random_dictionary(CFG, "batch-top-k", write, read)
    prompt = small_task(CFG).clean[:2, :5]
    how = {"max_new_tokens": 5, "temperature": 0, "use_past_kv_cache": cached}
    plain = model.generate(prompt, **how)
    with spliced(model, dictionary):
        assert torch.equal(model.generate(prompt, **how), plain)
    amounts = {1: 9.0, 4: 0.0}
    with steered(model, dictionary, amounts):
        made = model.generate(prompt, **how)
        with torch.no_grad():
            logits = model(made[:, :-1])[:, 4:]
    assert torch.equal(logits.argmax(-1), made[:, 5:])
    assert not torch.equal(made, plain)


@pytest.mark.parametrize("operation", ["set", "add", "scale"])
def test_steering_sets_adds_or_scales(model, operation) -> None:
    dictionary = random_dictionary(CFG, "standard", HOOK)
    tokens, amounts = small_task(CFG).clean, torch.tensor([2.0, 0.0])
    with torch.no_grad():
        old = features_of(model, tokens, dictionary)[..., [3, 0]]
    with steered(model, dictionary, {3: 2.0, 0: 0.0}, operation):
        _, cache = model.run_with_cache(tokens, names_filter=FEATURES)
    wanted = {"set": amounts.expand_as(old), "add": old + amounts, "scale": old * amounts}
    torch.testing.assert_close(cache[FEATURES][..., [3, 0]], wanted[operation])


def test_hooks_and_points_are_gone_also_after_an_error(model) -> None:
    dictionary = random_dictionary(CFG, "top-k", HOOK)
    with pytest.raises(RuntimeError), spliced(model, dictionary):
        raise RuntimeError
    assert FEATURES not in model.hook_dict
    with pytest.raises(UnknownHook, match="near matches"):
        model.run_with_cache(small_task(CFG).clean, names_filter=FEATURES)


def _dictionary(width: int, hook: str, **more):
    return new_dictionary(DictionaryConfig("standard", width, 6, hook=hook, **more))


@pytest.mark.parametrize(
    ("hook", "width", "message"),
    [
        ("blocks.1.resid_post", 16, "has no hook 'blocks.1.resid_post' .* near matches: blocks.1."),
        ("blocks.9.hook_resid_post", 16, "has no hook 'blocks.9.hook_resid_post'"),
        (HOOK, 9, f"reads vectors of width 9 at {HOOK}, which has 16"),
        ("", 16, "does not say which hook it belongs to"),
    ],
)
def test_a_dictionary_that_does_not_belong_is_refused(model, hook, width, message) -> None:
    with pytest.raises(DictionaryError, match=message), spliced(model, _dictionary(width, hook)):
        pass


def test_one_hook_takes_one_dictionary(model) -> None:
    one, other = _dictionary(16, HOOK), _dictionary(16, HOOK)
    refused = pytest.raises(DictionaryError, match="a dictionary at .* already")
    with refused, spliced(model, [one, other]):
        pass
    assert FEATURES not in model.hook_dict


def test_a_transcoder_needs_what_it_reads(model) -> None:
    dictionary = random_dictionary(CFG, "top-k", "blocks.1.hook_mlp_out", "blocks.0.hook_resid_mid")
    stream = torch.zeros(1, 4, 16)
    refused = pytest.raises(DictionaryError, match="reads blocks.0.hook_resid_mid, which this run")
    with spliced(model, dictionary, with_error=False), refused:
        model(stream, start_at_layer=1)


@pytest.mark.parametrize(
    ("amounts", "operation", "message"),
    [
        ({6: 1.0}, "set", "there is no feature 6: the dictionary has 6"),
        ({1: float("nan")}, "set", "the amount nan of feature 1 is not finite"),
        ({1: 1.0}, "multiply", "operation='multiply' is none of set, add, scale"),
    ],
)
def test_steering_names_what_is_wrong(model, amounts, operation, message) -> None:
    dictionary = random_dictionary(CFG, "top-k", HOOK)
    refused = pytest.raises(DictionaryError, match=message)
    with refused, steered(model, dictionary, amounts, operation):
        pass
