"""Features as a site: sweeps and sets of interventions against full runs with hooks."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cutaway.attribution.agreement import agreement
from cutaway.attribution.nodes import attribute
from cutaway.model.config import ModelConfig
from cutaway.patching import measure
from cutaway.patching import values as put
from cutaway.patching.edits import Intervention
from cutaway.patching.interventions import intervene
from cutaway.patching.memory import MemoryPlan
from cutaway.patching.sweep import sweep
from cutaway.sae import (
    DictionaryConfig,
    DictionaryError,
    errors,
    features,
    new_dictionary,
    written_rows,
)
from feature_oracles import (
    dictionaries,
    feature_sweep_by_hooks,
    features_of,
    random_dictionary,
    through,
)
from live_memory import LiveMemory
from random_models import configs, random_model, small_chunks, small_task, tasks

CFG = ModelConfig(n_layers=3, d_model=16, n_heads=4, d_vocab=17, n_ctx=12, init_range=0.4)
HOOK = "blocks.1.hook_resid_post"

GOLDEN = ("1", 1.1886)  # measured with the hook-based loop of feature_oracles.py

VALUES = ("patch", "zero", "mean", "freeze", put.Add(1.5), put.Scale(0.5), put.Constant(2.0))


def close(actual: np.ndarray, expected: np.ndarray, tolerance: float = 2e-5) -> None:
    assert actual.shape == expected.shape
    scale = max(1.0, float(np.abs(expected).max()))
    assert np.abs(actual - expected).max() <= tolerance * scale


@st.composite
def cases(draw: st.DrawFn):
    cfg = draw(configs())
    task = draw(tasks(cfg))
    chosen = {
        "value": draw(st.sampled_from(VALUES)),
        "mode": draw(st.sampled_from(["denoising", "noising"])),
        "positions": draw(st.sampled_from(["all", "each", "named"])),
    }
    model = random_model(cfg, draw(st.integers(0, 100))).double()
    dictionary = draw(dictionaries(cfg)).double()
    return model, task, dictionary, chosen, draw(st.sampled_from([1, 20, 768]))


@settings(max_examples=10)
@given(cases())
def test_every_sweep_over_features_equals_a_loop_of_full_runs_with_hooks(case) -> None:
    model, task, dictionary, chosen, chunk = case
    with small_chunks(chunk):
        effects = sweep(model, task, features(dictionary), **chosen)
    named = {"all": None, "each": range(task.clean.shape[1]), "named": list(task.positions)}
    expected = feature_sweep_by_hooks(
        model, task, dictionary, chosen["value"], chosen["mode"], named[chosen["positions"]]
    ).reshape(effects.patched.shape)
    # In float64, so that which features fire does not hang on rounding.
    close(effects.patched, expected, 1e-9)
    assert effects.axes[0].name == "feature"


@settings(max_examples=6)
@given(cases())
def test_features_that_change_nowhere_keep_the_base_runs_metric_to_the_last_bit(case) -> None:
    model, task, dictionary, chosen, _ = case
    chosen = {**chosen, "value": "zero"}
    effects = sweep(model, task, features(dictionary), **chosen)
    tokens = task.corrupted if chosen["mode"] == "denoising" else task.clean
    with torch.no_grad():
        silent = (features_of(model, tokens, dictionary) == 0).all(1).T.numpy()  # [feature, prompt]
    base = effects.corrupted if chosen["mode"] == "denoising" else effects.clean
    patched = effects.patched.reshape(*silent.shape[:1], -1, silent.shape[1])
    for option in range(patched.shape[1]):
        assert (patched[:, option] == base)[silent].all()


@settings(max_examples=8)
@given(st.data())
def test_sets_of_features_and_errors_equal_a_full_run_with_hooks(data) -> None:
    cfg = data.draw(configs())
    task = data.draw(tasks(cfg))
    model, dictionary = random_model(cfg).double(), data.draw(dictionaries(cfg)).double()
    site, units = features(dictionary), [1, 4, 5]
    louder = torch.linspace(0, 1, 6, dtype=torch.float64)
    effects = intervene(
        model,
        task,
        {
            "zero": [
                Intervention(site, value="zero", units=units),
                Intervention(site, value=put.Add(2.0), units=4),  # acts on what the first left
            ],
            "vector": [Intervention(site, value=put.Add(louder)), Intervention(errors(dictionary))],
        },
        mode="noising",
    )
    chosen = torch.zeros(6, dtype=torch.bool)
    chosen[units] = True

    def zero_then_add(old):
        new = torch.where(chosen, 0, old)
        new[..., 4] += 2.0
        return new

    with torch.no_grad():
        other = {}
        through(model, task.corrupted, dictionary, lambda f: f, lambda e: other.setdefault("e", e))
        runs = [
            through(model, task.clean, dictionary, zero_then_add),
            through(model, task.clean, dictionary, lambda f: f + louder, lambda e: other["e"]),
        ]
        expected = [task.metric(task.metric.read(logits)).numpy() for logits in runs]
    close(effects.patched, np.array(expected), 1e-9)


def test_all_features_and_the_error_from_the_other_run_are_the_other_run() -> None:
    model, task = random_model(CFG), small_task(CFG)
    dictionary = random_dictionary(CFG, "standard", HOOK)
    both = [Intervention(features(dictionary)), Intervention(errors(dictionary))]
    effects = intervene(model, task, both)
    np.testing.assert_allclose(effects.patched[0], effects.clean, atol=1e-4)
    assert both[0].name == f"patch features of {HOOK}"
    named = Intervention(features(dictionary), value="zero", units=[3], positions="END")
    assert named.name == f"zero features of {HOOK} 3 at END"


def test_the_error_alone_is_swept_like_a_part_of_the_stream() -> None:
    model, task = random_model(CFG).double(), small_task(CFG)
    dictionary = random_dictionary(CFG, "top-k", "blocks.1.attn.hook_z").double()
    effects = sweep(model, task, errors(dictionary), positions="all")
    other = {}
    with torch.no_grad():
        through(model, task.clean, dictionary, lambda f: f, lambda e: other.setdefault("e", e))
        logits = through(model, task.corrupted, dictionary, lambda f: f, lambda e: other["e"])
    close(effects.patched, task.metric(task.metric.read(logits)).numpy(), 1e-9)
    assert effects.axes == () and effects.top(1)[0].labels == {}


def test_gradients_of_features_are_exact_where_all_that_follows_is_linear() -> None:
    linear = CFG.replace(n_layers=1, normalization_type=None)
    model, task = random_model(linear).double(), small_task(linear)
    dictionary = random_dictionary(linear, "standard", "blocks.0.hook_resid_post").double()
    exact = sweep(model, task, features(dictionary), positions=["END", 4])
    estimate = attribute(model, task, features(dictionary), positions=["END", 4])
    np.testing.assert_allclose(estimate.patched, exact.patched, atol=1e-9)
    assert np.abs(exact.per_prompt).max() > 0.1


@pytest.mark.parametrize("hook", [HOOK, "blocks.1.attn.hook_z"])
def test_estimates_are_the_change_of_features_times_the_gradient_along_what_they_write(
    hook,
) -> None:
    model, task = random_model(CFG).double(), small_task(CFG)
    dictionary = random_dictionary(CFG, "gated", hook, scale=1.7).double()
    found: dict[str, torch.Tensor] = {}

    def keep(value, hook):
        found["value"] = value.detach().requires_grad_()
        return found["value"]

    logits = model.run_with_hooks(task.corrupted, fwd_hooks=[(hook, keep)])
    task.metric(task.metric.read(logits)).sum().backward()
    with torch.no_grad():
        base, other = (features_of(model, t, dictionary) for t in (task.corrupted, task.clean))
        gradient = found["value"].grad.reshape(*base.shape[:2], -1) @ written_rows(dictionary).T
        expected = ((other - base) * gradient)[:, -1].T.numpy()
    estimate = attribute(model, task, features(dictionary), positions="END")
    np.testing.assert_allclose(estimate.per_prompt[:, 0], expected, atol=1e-9)
    exact = sweep(model, task, features(dictionary), positions="END")
    assert agreement(exact, estimate).n_places == 6


def test_a_dictionary_at_a_hook_that_it_does_not_name() -> None:
    model, task = random_model(CFG), small_task(CFG)
    named = random_dictionary(CFG, "top-k", HOOK)
    nameless = new_dictionary(named.cfg.replace(hook=""))
    nameless.load_state_dict(named.state_dict())
    with pytest.raises(DictionaryError, match="does not say which hook"):
        features(nameless)
    effects = sweep(model, task, features(nameless, HOOK))
    assert np.array_equal(effects.patched, sweep(model, task, features(named)).patched)


@pytest.mark.parametrize(
    ("hook", "width", "message"),
    [
        ("blocks.7.hook_resid_post", 16, "features of blocks.7.hook_resid_post: its layers are 0"),
        ("blocks.1.hook_resid_post", 9, "its width there is 16, the dictionary's 9"),
        ("blocks.1.attn.hook_z", 4, "its width there is 16, the dictionary's 4"),
        ("blocks.1.attn.hook_q", 16, "can be spliced in, but not swept"),
        ("hook_embed", 16, "can be spliced in, but not swept"),
    ],
)
def test_a_dictionary_that_does_not_belong_is_refused_by_name(hook, width, message) -> None:
    dictionary = new_dictionary(DictionaryConfig("standard", width, 6, hook=hook))
    with pytest.raises(ValueError, match=message):
        sweep(random_model(CFG), small_task(CFG), features(dictionary))


def test_vectors_cannot_be_put_at_features_one_by_one_and_units_are_checked() -> None:
    model, task = random_model(CFG), small_task(CFG)
    site = features(random_dictionary(CFG, "top-k", HOOK))
    with pytest.raises(ValueError, match="Add with vectors cannot be put at features of blocks.1"):
        sweep(model, task, site, put.Add(torch.ones(6)))
    with pytest.raises(ValueError, match="there is no feature 6; .* has 6 in each layer"):
        intervene(model, task, Intervention(site, units=6))
    with pytest.raises(ValueError, match="there is no layer 1"):
        intervene(model, task, Intervention(site, 1, units=2))


def test_a_small_bound_on_memory_is_obeyed_and_changes_nothing(monkeypatch) -> None:
    cfg = CFG.replace(d_model=32)
    model, task = random_model(cfg), small_task(cfg, n_prompts=12)
    dictionary = random_dictionary(cfg, "top-k", HOOK, d_features=700)
    plans: list[MemoryPlan] = []
    plan_memory = measure.plan_memory

    def planned(*arguments):
        plans.append(plan_memory(*arguments))
        return plans[-1]

    monkeypatch.setattr(measure, "plan_memory", planned)
    with LiveMemory() as memory:
        bounded = sweep(model, task, features(dictionary), positions="each", max_memory=2_000_000)
    assert plans[0].predicted_peak <= 2_000_000 and plans[0].prompts_per_batch < len(task)
    # The rest is the result and one list of the rows that change.
    assert memory.peak <= 2_000_000 + 3 * bounded.patched.nbytes
    whole = sweep(model, task, features(dictionary), positions="each")
    np.testing.assert_allclose(bounded.patched, whole.patched, atol=1e-4)


def test_the_order_of_prompts_changes_nothing_and_progress_ends_at_one() -> None:
    model, task = random_model(CFG), small_task(CFG)
    site, seen = features(random_dictionary(CFG, "gated", HOOK)), []
    whole = sweep(model, task, site, progress=seen.append)
    assert seen == sorted(seen) and seen[-1] == pytest.approx(1.0)
    order = torch.tensor([3, 0, 5, 2, 1, 4])
    shuffled = sweep(model, task.subset(order), site)
    np.testing.assert_allclose(shuffled.patched, whole.patched[..., order.numpy()], atol=1e-5)


def test_the_golden_number_of_a_fixed_model() -> None:
    dictionary = random_dictionary(CFG, "top-k", HOOK)
    effects = sweep(random_model(CFG), small_task(CFG), features(dictionary))
    best = effects.top(1)[0]
    assert (best.name, round(best.effect, 4)) == GOLDEN


def test_results_keep_what_was_swept(tmp_path) -> None:
    effects = sweep(
        random_model(CFG), small_task(CFG), features(random_dictionary(CFG, "top-k", HOOK))
    )
    effects.save(tmp_path / "effects.safetensors")
    loaded = type(effects).load(tmp_path / "effects.safetensors")
    assert loaded.site == f"features of {HOOK}" and loaded.axes == effects.axes
    assert dataclasses.asdict(loaded)["mode"] == "denoising"
