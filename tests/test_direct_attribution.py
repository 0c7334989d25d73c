"""Direct logit attribution against a plain loop over components, and what must hold of any sum."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import cutaway as ca
from cutaway.attribution.answers import RANDOM, SHUFFLED, answer_of
from cutaway.attribution.components import Component
from cutaway.attribution.direct import direct_attribution, direct_attribution_of_text
from cutaway.attribution.gap import direct_gap
from cutaway.circuits.known.registry import KNOWN
from cutaway.model.config import ModelConfig
from cutaway.model.transformer import HookedTransformer
from cutaway.tasks.metric import LogitDifference, LogitMargin
from cutaway.tasks.task import Task
from live_memory import LiveMemory
from random_models import configs, random_model, small_task, tasks

CFG = ModelConfig(
    n_layers=3, d_model=16, n_heads=4, d_vocab=17, n_ctx=12, unembed_bias=True, init_range=0.4
)
BYS = ("component", "layer", "head", "mlp", "neuron")
GOLDEN = {"1.2": 3.489, "3.6": 2.049, "mlp3": 2.012}  # of ioi-mini, 64 prompts, seed 0


def in_double(cfg: ModelConfig, seed: int = 0) -> HookedTransformer:
    """Rounding hides nothing there."""
    return random_model(cfg, seed).double()


def assert_close(actual: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(actual, expected, rtol=1e-7, atol=1e-9)


def components_by_hand(
    model: HookedTransformer, tokens: torch.Tensor
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """What every component wrote, [prompt, pos, d_model], one at a time; and the norm's scale."""
    _, cache = model.run_with_cache(tokens)
    written = {
        name: cache[f"hook_{name}"]
        for name in ("embed", "pos_embed")
        if f"hook_{name}" in model.hook_dict
    }
    for layer, block in enumerate(model.blocks):
        for head in range(model.cfg.n_heads):
            written[f"{layer}.{head}"] = cache["z", layer][:, :, head] @ block.attn.W_O[head]
        written[f"attn{layer} bias"] = block.attn.b_O.expand_as(written["embed"])
        if not model.cfg.attn_only:
            for neuron in range(model.cfg.d_mlp):
                post = cache["post", layer][:, :, neuron, None]
                written[f"mlp{layer}.{neuron}"] = post * block.mlp.W_out[neuron]
            written[f"mlp{layer} bias"] = block.mlp.b_out.expand_as(written["embed"])
    if model.cfg.normalization_type is None:
        return written, torch.ones_like(written["embed"][..., :1])
    return written, cache["scale"]


def attributed_by_hand(model: HookedTransformer, task: Task) -> dict[str, np.ndarray]:
    """Component -> logit difference that it writes, [prompt], at the positions that are read."""
    cfg, norm, metric = model.cfg, model.ln_final, task.metric
    written, scale = components_by_hand(model, task.clean)
    direction = model.W_U[:, metric.correct].mean(-1) - model.W_U[:, metric.wrong].mean(-1)
    direction = direction.T  # [prompt, d_model]
    found = {}
    for name, vector in written.items():
        if cfg.normalization_type in ("LN", "LNPre"):
            vector = vector - vector.mean(-1, keepdim=True)
        vector = vector / scale
        if getattr(norm, "w", None) is not None:
            vector = vector * norm.w
        logits = (vector * direction[:, None]).sum(-1)  # [prompt, pos]
        found[name] = logits.gather(1, metric.positions).mean(1).detach().numpy()
    if getattr(norm, "b", None) is not None:
        found["ln_final bias"] = (direction @ norm.b).detach().numpy()
    bias = model.b_U[metric.correct].mean(-1) - model.b_U[metric.wrong].mean(-1)
    found["unembedding bias"] = bias.detach().numpy()
    return found


def group_of(name: str, by: str) -> str:
    """Which component of `by` the finest component of this name belongs to."""
    one = Component.called(name)
    if one.kind == "bias" and one.name[0] in "am":
        kind = "attention biases" if one.name.startswith("attn") else "MLP biases"
        return name if by == "component" else kind
    if one.kind == "head":
        listed = by in ("component", "head")
        return name if listed else f"layer {one.layer}" if by == "layer" else "heads"
    if one.kind == "neuron":
        groups = {"neuron": name, "layer": f"layer {one.layer}", "head": "MLPs"}
        return groups.get(by, f"mlp{one.layer}")
    return name


@st.composite
def cases(draw: st.DrawFn) -> tuple[HookedTransformer, Task]:
    cfg = draw(configs())
    return in_double(cfg, draw(st.integers(0, 100))), draw(tasks(cfg))


def linear(task: Task) -> Task:
    """The task, measured by the logit difference of its own positions and tokens."""
    metric = task.metric
    return replace(task, metric=LogitDifference(metric.positions, metric.correct, metric.wrong))


@settings(max_examples=16)
@given(cases(), st.sampled_from(BYS))
def test_every_component_equals_the_plain_loop_and_all_add_up(case, by) -> None:
    model, task = case[0], linear(case[1])
    found = direct_attribution(model, task, by)
    expected: dict[str, np.ndarray] = {}
    for name, values in attributed_by_hand(model, task).items():
        group = group_of(name, by)
        expected[group] = expected.get(group, 0) + values
    for name in found.axes[0].labels:
        assert_close(found.of(name), expected[name])
    for name in set(expected) - set(found.axes[0].labels):  # parts that the model does not have
        assert not expected[name].any()
    own = task.metric(task.metric.read(model(task.clean))).detach().numpy()
    assert_close(found.total, own)
    assert_close(found.values.sum(0), own)
    assert_close(found.total - found.values.sum(0), found.residual_error)


@settings(max_examples=10)
@given(configs(), st.integers(0, 100), st.data())
def test_in_single_and_half_precision_the_sum_is_checked_too(cfg, seed, data) -> None:
    task = linear(data.draw(tasks(cfg)))
    model = random_model(cfg, seed)
    single = direct_attribution(model, task)
    exact = direct_attribution(in_double(cfg, seed), task)
    np.testing.assert_allclose(single.values, exact.values, atol=2e-3)
    assert np.abs(single.residual_error).max() < 1e-3
    direct_attribution(model.to(torch.bfloat16), task)  # would raise


@settings(max_examples=8)
@given(cases())
def test_batches_and_the_order_of_prompts_change_nothing(case) -> None:
    model, task = case[0], linear(case[1])
    whole = direct_attribution(model, task)
    needed = whole.settings["predicted_bytes"] // len(task)
    told: list[int] = []
    single = direct_attribution(model, task, max_memory=needed, tell_memory=told.append)
    assert told == [needed]
    assert_close(single.values, whole.values)
    for name, control in whole.controls.items():
        assert_close(single.controls[name], control)
    order = torch.randperm(len(task), generator=torch.Generator().manual_seed(0))
    moved = direct_attribution(model, task.subset(order))
    assert_close(moved.values, whole.values[:, order.numpy()])


@pytest.fixture(scope="module")
def small() -> tuple[HookedTransformer, Task]:
    return in_double(CFG), small_task(CFG)


@settings(max_examples=6)
@given(cases(), st.sampled_from(BYS))
def test_the_predicted_memory_is_not_exceeded(case, by) -> None:
    model, task = case[0], linear(case[1])
    with LiveMemory() as memory:
        found = direct_attribution(model, task, by)
    assert memory.peak <= found.settings["predicted_bytes"]


@settings(max_examples=8)
@given(configs(), st.data())
def test_it_is_the_effect_of_a_head_where_nothing_can_answer(cfg, data) -> None:
    """Zeroed in the run itself, with all later outputs and the final norm's scale held."""
    model, task = in_double(cfg), linear(data.draw(tasks(cfg)))
    layer = data.draw(st.integers(0, cfg.n_layers - 1))
    head = data.draw(st.integers(0, cfg.n_heads - 1))
    logits, cache = model.run_with_cache(task.clean)

    def without(z: torch.Tensor, hook: object) -> torch.Tensor:
        z = z.clone()
        z[:, :, head] = 0
        return z

    held = [f"blocks.{at}.hook_attn_out" for at in range(layer + 1, cfg.n_layers)]
    held += [f"blocks.{at}.hook_mlp_out" for at in range(layer, cfg.n_layers) if not cfg.attn_only]
    held += ["ln_final.hook_scale"] if cfg.normalization_type else []
    hooks = [(name, lambda value, hook: cache[hook.name]) for name in held]
    with model.hooks([(f"blocks.{layer}.attn.hook_z", without), *hooks]):
        cut = model(task.clean)
    whole, rest = (task.metric(task.metric.read(one)).detach().numpy() for one in (logits, cut))
    found = direct_attribution(model, task, "head").of(f"{layer}.{head}")
    np.testing.assert_allclose(found, whole - rest, atol=1e-8)


def test_attribution_is_linear_in_the_answer(small) -> None:
    model, task = small
    right, wrong = (direct_attribution(model, task, toward=t) for t in (task.correct, task.wrong))
    both = direct_attribution(model, task, toward=task.correct, against=task.wrong)
    assert (right.answer, both.answer) == ("logit of the answer", "logit difference")
    assert_close(both.values, right.values - wrong.values)
    assert_close(both.values, direct_attribution(model, task).values)
    logits = model(task.clean)[torch.arange(len(task)), task.positions["END"]]
    assert_close(right.total, logits.gather(1, task.correct[:, None])[:, 0].detach().numpy())


def test_a_centred_logit_is_less_the_mean_of_all(small) -> None:
    model, task = small
    found = direct_attribution(model, task, toward=task.correct, centred=True)
    mean = direct_attribution(model, task, toward=list(range(CFG.d_vocab))).values
    plain = direct_attribution(model, task, toward=task.correct)
    assert_close(found.values, plain.values - mean)
    assert_close(found.values.sum(0), found.total)


def test_sets_of_tokens_are_means(small) -> None:
    model, task = small
    one, two = (direct_attribution(model, task, toward=t).values for t in (3, 5))
    together = direct_attribution(model, task, toward=[3, 5])
    assert_close(together.values, (one + two) / 2)
    sets = [[3], [3, 5], [5], [5, 3], [3], [3]]
    expected = [[one, (one + two) / 2, two][{1: 0, 2: 1}.get(len(s), 0)] for s in sets]
    expected[2] = two
    found = direct_attribution(model, task, toward=sets)
    assert_close(found.values, np.stack([e[:, i] for i, e in enumerate(expected)], 1))
    table = torch.tensor([[3, 5]] * len(task))
    assert_close(direct_attribution(model, task, toward=table).values, together.values)


def test_of_a_margin_the_largest_rival_of_each_prompt_is_held(small) -> None:
    model, task = small
    others = torch.stack([(task.correct + i) % CFG.d_vocab for i in (1, 2, 3)], 1)
    metric = LogitMargin(task.positions["END"][:, None], task.correct[:, None], others)
    found = direct_attribution(model, replace(task, metric=metric))
    assert_close(found.total, metric(metric.read(model(task.clean))).detach().numpy())
    assert len(np.unique(metric.read(model(task.clean))[:, 0, 1:].argmax(-1).numpy())) > 1


def test_the_corrupted_prompts_can_be_attributed(small) -> None:
    model, task = small
    found = direct_attribution(model, task, run="corrupted")
    turned = replace(task, clean=task.corrupted, corrupted=task.clean)
    assert_close(found.values, direct_attribution(model, turned).values)


@settings(max_examples=8)
@given(configs(), st.booleans(), st.sampled_from(BYS))
def test_a_text_is_attributed_at_every_position(cfg, centred, by) -> None:
    model = in_double(cfg)
    tokens = torch.randint(1, cfg.d_vocab, (9,), generator=torch.Generator().manual_seed(1))
    with mock.patch.object(model, "tokenizer", None):
        found = direct_attribution_of_text(model, tokens, by, centred=centred)
        logits = model(tokens[None])[0, :-1]
    expected = logits.gather(1, tokens[1:, None])[:, 0]
    if centred:
        expected = expected - logits.mean(1)
    assert found.samples.labels == tuple(map(str, tokens[1:].tolist()))
    assert_close(found.values.sum(0), expected.detach().numpy())
    # A task that reads one of the positions sees the same there.
    metric = LogitDifference.at(torch.tensor([4]), tokens[5:6], tokens[5:6])
    task = Task.from_tokens(tokens[None], tokens[None], tokens[5:6], tokens[5:6], metric=metric)
    at = direct_attribution(model, task, by, toward=task.correct, centred=centred)
    assert_close(found.values[:, 4], at.values[:, 0])


def test_controls_are_the_same_model_with_answers_that_mean_nothing(small) -> None:
    model, task = small
    found = direct_attribution(model, task, seed=3)
    assert list(found.controls) == [SHUFFLED, RANDOM]
    answer = answer_of(model, task, task.clean, None, None)
    shuffled = answer.shuffled(1, seed=3).tokens
    own = answer.tokens.tolist()
    assert sorted(shuffled.tolist()) == sorted(own)
    others = direct_attribution(model, task, toward=shuffled[:, 0], against=shuffled[:, 1])
    assert_close(found.controls[SHUFFLED], others.values)
    drawn = answer.random(CFG.d_vocab, seed=3).tokens
    assert (drawn[:, 0] != drawn[:, 1]).all()
    others = direct_attribution(model, task, toward=drawn[:, 0], against=drawn[:, 1])
    assert_close(found.controls[RANDOM], others.values)
    assert list(direct_attribution(model, task.subset([0])).controls) == [RANDOM]


@given(st.integers(2, 40), st.integers(0, 1000))
@settings(max_examples=8)
def test_shuffled_answers_are_never_the_prompts_own(n_prompts, seed) -> None:
    cfg = CFG.replace(d_vocab=50)
    task = small_task(cfg, n_prompts)
    answer = answer_of(in_double(cfg), task, task.clean, torch.arange(n_prompts), None)
    order = answer.shuffled(1, seed).tokens[:, 0]
    assert (order != torch.arange(n_prompts)).all() and len(order.unique()) == n_prompts


def test_a_model_whose_logits_are_not_linear_is_refused(small) -> None:
    model, task = small
    plain = model.unembed.forward
    with (
        mock.patch.object(model.unembed, "forward", lambda x: 3 * torch.tanh(plain(x) / 3)),
        pytest.raises(ValueError, match="not the linear reading of the residual stream"),
    ):
        direct_attribution(model, task)


def test_a_component_that_is_left_out_is_noticed(small) -> None:
    model, task = small
    with (
        mock.patch.object(model.cfg, "mlp_bias", False),  # so that b_out is not listed
        pytest.raises(ValueError, match="the components add up to"),
    ):
        direct_attribution(model.float(), task)
    model.double()


REFUSED: dict[str, tuple[Callable[..., object], str]] = {
    "by": (lambda m, t: direct_attribution(m, t, "heads"), "by='heads' is unknown"),
    "run": (lambda m, t: direct_attribution(m, t, run="dirty"), "run='dirty' is unknown"),
    "no token": (lambda m, t: direct_attribution(m, t, toward=99), "no token 99"),
    "empty": (lambda m, t: direct_attribution(m, t, toward=[[1], [], [2], [3], [4], [5]]), "empty"),
    "too few": (lambda m, t: direct_attribution(m, t, toward=torch.tensor([1, 2])), "has 6"),
    "against": (lambda m, t: direct_attribution(m, t, against=1), "against= needs toward="),
    "memory": (lambda m, t: direct_attribution(m, t, max_memory=9), "Raise max_memory"),
    "text": (lambda m, t: direct_attribution_of_text(m, torch.tensor([1])), "at least two"),
    "name": (lambda m, t: direct_attribution(m, t).of("7.7"), "no component '7.7'"),
    "grid": (lambda m, t: direct_attribution(m, t).grid("neuron"), "with by='neuron'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_attributed_is_refused(name, small) -> None:
    call, message = REFUSED[name]
    with pytest.raises(ValueError, match=re.escape(message)):
        call(*small)


def test_a_metric_of_probabilities_is_refused_with_the_way_out(small) -> None:
    model, task = small
    metric = ca.tasks.ProbabilityDifference.at(task.positions["END"], task.correct, task.wrong)
    asked = replace(task, metric=metric)
    with pytest.raises(ValueError, match="not linear in the logits.*toward=task.correct"):
        direct_attribution(model, asked)
    found = direct_attribution(model, asked, toward=task.correct, against=task.wrong)
    assert_close(found.values, direct_attribution(model, task).values)


def test_hooks_are_refused(small) -> None:
    model, task = small
    with (
        model.hooks([("blocks.0.hook_mlp_out", lambda value, hook: value * 0)]),
        pytest.raises(ValueError, match="hooks are attached"),
    ):
        direct_attribution(model, task)


def test_results_are_saved_with_all_that_made_them(small, tmp_path) -> None:
    model, task = small
    found = direct_attribution(model, task, "neuron")
    found.save(tmp_path / "direct.safetensors")
    loaded = ca.DirectAttribution.load(tmp_path / "direct.safetensors")
    assert loaded.axes == found.axes and loaded.by == "neuron" and loaded.settings == found.settings
    np.testing.assert_allclose(loaded.values, found.values, atol=1e-6)
    np.testing.assert_allclose(loaded.controls[RANDOM], found.controls[RANDOM], atol=1e-6)
    assert [one.name for one in loaded.top(5)] == [one.name for one in found.top(5)]
    with pytest.raises(ValueError, match="does not hold a source attribution"):
        ca.SourceAttribution.load(tmp_path / "direct.safetensors")
    with pytest.raises(ValueError, match="there is no file"):
        ca.DirectAttribution.load(tmp_path / "other.safetensors")


def test_intervals_shares_frame_and_plot_say_the_same(small) -> None:
    found = direct_attribution(*small)
    mean, low, high = found.interval()
    rows = found.to_frame()
    assert [row["component"] for row in rows] == list(found.axes[0].labels)
    assert_close(np.array([row["logits"] for row in rows]), mean)
    assert_close(np.array([row[RANDOM] for row in rows]), found.controls[RANDOM].mean(-1))
    top = found.top(1)[0]
    place = int(np.abs(mean).argmax())
    assert top.name == rows[place]["component"]
    assert (top.value.low, top.value.high) == pytest.approx((low[place], high[place]))
    assert_close(found.share()[0].sum(), np.array(1.0))
    labels = [text.get_text() for text in found.plot().axes[0].get_yticklabels()]
    assert labels[0] == top.name


# ---- beside the exact effects ----


def test_the_gap_is_what_zeroing_takes_away_less_what_was_written(small) -> None:
    model, task = small[0].float(), small[1]
    direct = direct_attribution(model, task, "head")
    exact = ca.sweep(model, task, "z", "zero", mode="noising")
    gap = direct_gap(direct, exact)
    assert gap.heads[:5] == ("0.0", "0.1", "0.2", "0.3", "1.0") and gap.value == "zero"
    np.testing.assert_allclose(gap.direct, direct.grid().reshape(12, -1))
    difference = (exact.clean - exact.patched).reshape(12, -1) - gap.direct
    worst = int(np.abs(difference.mean(-1)).argmax())
    (row,) = gap.rows(1)
    assert row["head"] == gap.heads[worst]
    assert row["difference"].estimate == pytest.approx(difference[worst].mean())
    frame = gap.to_frame()
    assert len(frame) == 12 and frame[0]["difference"] == row["difference"].estimate
    expected = np.corrcoef(gap.direct.mean(-1), gap.exact.mean(-1))[0, 1]
    assert gap.correlation().estimate == pytest.approx(expected)
    with pytest.raises(ValueError, match="mode=.noising. at all positions"):
        direct_gap(direct, ca.sweep(model, task, "z", "zero"))
    with pytest.raises(ValueError, match="do not belong to"):
        direct_gap(direct, ca.sweep(model, task.subset([0, 1]), "z", mode="noising"))
    turned = replace(task, correct=task.wrong, wrong=task.correct)
    other = direct_attribution(model, turned, "head", toward=task.wrong)
    with pytest.raises(ValueError, match="disagree by"):
        direct_gap(other, exact)
    model.double()


# ---- known answers ----


def test_the_hand_written_movers_write_the_answer_and_against_it() -> None:
    known = KNOWN["ioi"](0)
    found = direct_attribution(known.model, known.tasks["s2-flip"])
    mover, negative = (
        next(head for head, role in known.roles.items() if role == wanted)
        for wanted in ("name mover", "negative name mover")
    )
    assert [one.name for one in found.top(2)] == [mover, negative]
    assert found.of(mover).min() > 0 > found.of(negative).max()
    np.testing.assert_allclose(found.of(negative), -0.25 * found.of(mover), rtol=1e-4)  # _AGAINST
    rest = found.values.sum(0) - found.of(mover) - found.of(negative)
    assert np.abs(rest).max() < 1e-3 * found.of(mover).min()


def test_golden_numbers_of_the_embedded_model() -> None:
    model = ca.HookedTransformer.from_pretrained("ioi-mini")
    found = ca.direct_attribution(model, ca.tasks.ioi(model, 64))
    top = {one.name: one.value.estimate for one in found.top(3)}
    assert top == pytest.approx(GOLDEN, abs=2e-3)
    assert np.abs(found.residual_error).max() < 1e-4
    assert max(np.abs(c.mean(-1)).max() for c in found.controls.values()) < 1.0
