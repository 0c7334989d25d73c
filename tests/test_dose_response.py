"""Dose-response: every number against plain loops with hooks, and what must hold of it."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import cutaway as ca
from cutaway.model.config import ModelConfig
from cutaway.steering import (
    DoseResponse,
    SteeringVector,
    dose_response,
    embedding_difference,
    intervention,
    mean_difference,
    random_like,
)
from cutaway.tasks.ioi_text import NAMES
from random_models import configs, random_model, small_chunks, small_task, tasks

CFG = ModelConfig(n_layers=3, d_model=16, n_heads=4, d_vocab=17, n_ctx=12, init_range=0.4)


def vector_of(shape, seed=0) -> SteeringVector:
    generator = torch.Generator().manual_seed(seed)
    return SteeringVector(torch.randn(*shape, generator=generator), "random")


def targets_of(task) -> torch.Tensor:
    """Another token than the answer for each prompt."""
    return task.correct % 16 + 1


@torch.no_grad()
def steered_logits(model, tokens, layer, site, added, where) -> torch.Tensor:
    """A whole run in float64 with a vector [prompt, 1, d_model] added where it says."""

    def steer(old, hook):
        return old + where[..., None] * added

    return model.run_with_hooks(tokens, fwd_hooks=[(f"blocks.{layer}.hook_{site}", steer)])


@settings(max_examples=12)
@given(st.data())
def test_every_number_equals_that_of_plain_runs(data) -> None:
    cfg = data.draw(configs())
    model, task = random_model(cfg, data.draw(st.integers(0, 100))), data.draw(tasks(cfg))
    if task.positions["END"].ne(task.lengths - 1).any():
        task = small_task(cfg)  # padding on the left is the subject of the next test
    n, n_pos = task.clean.shape
    exact = copy.deepcopy(model).double()
    site = data.draw(st.sampled_from(["resid_pre", "resid_post"]))
    vector = vector_of(data.draw(st.sampled_from([(n, cfg.d_model), (cfg.d_model,)])))
    position = data.draw(st.sampled_from([*task.positions, "all"]))
    target, coefficients = targets_of(task), (-1.0, 0.5, 2.0)
    with small_chunks(data.draw(st.sampled_from([1, 20, 768]))):
        found = dose_response(
            model,
            task,
            vector,
            target,
            coefficients=coefficients,
            positions=position,
            site=site,
            n_random=1,
            seed=3,
        )
    where = torch.arange(n_pos) <= task.positions["END"][:, None]
    if position != "all":
        where = torch.arange(n_pos) == task.positions[position][:, None]
    rows, end = torch.arange(n), task.positions["END"]
    for line, made in enumerate([vector, random_like(vector, 1, 3)[0]]):
        directions = made.unit().vector.double().expand(n, -1)[:, None]
        for layer in range(cfg.n_layers):
            stream = exact.run_with_cache(task.clean)[1][f"blocks.{layer}.hook_{site}"]
            inner = where & (torch.arange(n_pos) > 0) if position == "all" else where
            norm = float(stream.norm(dim=-1)[inner].mean()) if bool(inner.any()) else 1.0
            assert found.norms[layer] == pytest.approx(norm, rel=1e-4)
            for number, c in enumerate(coefficients):
                logits = steered_logits(
                    exact, task.clean, layer, site, c * norm * directions, where
                )[rows, end]
                expected = logits[rows, target] - logits[rows, task.correct]
                got = found.difference[line, layer, number]
                scale = max(1.0, float(logits.abs().max()))
                assert np.abs(got - expected.numpy()).max() <= 1e-4 * scale
                probability = logits.softmax(-1)[rows, target].numpy()
                np.testing.assert_allclose(
                    found.probability[line, layer, number], probability, atol=1e-4
                )
                ranked = logits.topk(2).values
                clear = (ranked[:, 0] - ranked[:, 1] > 1e-3).numpy()
                top = (logits.argmax(-1) == target).numpy()
                assert np.array_equal(found.top[line, layer, number][clear], top[clear])


@pytest.mark.parametrize("position", ["CHANGE", "all"])
@pytest.mark.parametrize("shape", [(6, 16), (1, 4, 16)])
def test_what_neutral_texts_pay_is_that_of_plain_runs(position, shape) -> None:
    model, task, vector = random_model(CFG), small_task(CFG), vector_of(shape)
    exact = copy.deepcopy(model).double()
    texts = torch.randint(1, 17, (7, 10), generator=torch.Generator().manual_seed(5))
    texts[2, 8:] = 0  # padding behind
    where, counted = torch.ones(7, 10, dtype=torch.bool), torch.ones(7, 10, dtype=torch.bool)
    where[2, 8:], counted[2, 8:] = False, False
    options = {"positions": position, "neutral": texts, "n_random": 2, "coefficients": (1.0, 4.0)}
    found = dose_response(model, task, vector, targets_of(task), unit="own", **options)
    if position == "CHANGE":  # one random position of each text, not the first or the last
        rng = np.random.default_rng(0)
        where = torch.zeros(7, 10, dtype=torch.bool)
        for text in range(7):
            n = 8 if text == 2 else 10
            where[text, rng.choice(np.arange(1, n - 1), size=1, replace=False)] = True
        counted &= where.long().cumsum(1) > 0
    pair = counted[:, :-1] & counted[:, 1:]
    added = torch.zeros(7, 10, 16, dtype=torch.float64)
    for text in range(7):
        own = vector.vector[text % len(vector.vector)].double()
        added[text, : 10 if own.ndim == 1 else 4] = own
    with torch.no_grad():
        old = exact(texts).log_softmax(-1)
    for layer in range(3):
        for number, c in enumerate((1.0, 4.0)):
            new = steered_logits(exact, texts, layer, "resid_pre", c * added, where)
            new = new.log_softmax(-1)
            kl = (old.exp() * (old - new)).sum(-1)[:, :-1]
            nll = -new[:, :-1].gather(-1, texts[:, 1:, None])[..., 0]
            before = -old[:, :-1].gather(-1, texts[:, 1:, None])[..., 0]
            per_text = [(x * pair).sum(1) / pair.sum(1) for x in (kl, nll, before)]
            at = (0, layer, number)
            np.testing.assert_allclose(found.kl[at], per_text[0].numpy(), atol=1e-4)
            np.testing.assert_allclose(found.loss[at], per_text[1].numpy(), atol=1e-4)
            np.testing.assert_allclose(found.base_loss, per_text[2].numpy(), atol=1e-4)


def test_it_is_what_intervene_measures() -> None:
    model, task, vector = random_model(CFG), small_task(CFG), vector_of((6, 16))
    found = dose_response(
        model, task, vector, task.wrong, positions=["CHANGE", "END"], coefficients=(-1, 2)
    )
    runs = {
        f"{layer} {c}": [
            intervention(vector, layer, c, positions=["CHANGE", "END"], norm=found.norms[layer])
        ]
        for layer in range(3)
        for c in (-1, 2)
    }
    effects = ca.intervene(model, task, runs, mode="noising")  # logit(answer) - logit(wrong)
    np.testing.assert_allclose(-effects.patched, found.difference[0].reshape(6, 6), atol=2e-5)
    np.testing.assert_allclose(-effects.clean, found.base_difference, atol=2e-5)


def test_padding_on_the_left_changes_nothing() -> None:
    model, task = random_model(CFG), small_task(CFG)
    right = task.subset(range(6))
    pad = torch.zeros(6, 2, dtype=torch.long)
    left = ca.Task.from_tokens(
        torch.cat([pad, task.clean], 1),
        torch.cat([pad, task.corrupted], 1),
        task.correct,
        task.wrong,
        lengths=task.lengths,
        positions={"CHANGE": task.positions["CHANGE"] + 2, "END": task.positions["END"] + 2},
        metric=type(task.metric).at(task.positions["END"] + 2, task.correct, task.wrong),
    )
    for shape in ((16,), (1, 6, 16)):
        a, b = (
            dose_response(model, t, vector_of(shape), targets_of(task), positions=at, unit="own")
            for t, at in ((right, "CHANGE"), (left, "CHANGE"))
        )
        np.testing.assert_allclose(a.difference, b.difference, atol=2e-5)


def test_the_bound_on_memory_changes_nothing() -> None:
    model, task, vector = random_model(CFG), small_task(CFG), vector_of((6, 16))
    texts = torch.randint(1, 17, (5, 8), generator=torch.Generator().manual_seed(5))
    a, b = (
        dose_response(model, task, vector, targets_of(task), neutral=texts, max_memory=max_memory)
        for max_memory in (None, 120_000)
    )
    for name in ("difference", "probability", "kl", "loss"):
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), atol=2e-5)


def test_coefficient_0_does_nothing_and_costs_nothing() -> None:
    model, task = random_model(CFG), small_task(CFG)
    found = dose_response(
        model,
        task,
        vector_of((16,)),
        targets_of(task),
        coefficients=(0, 1),
        positions="all",
        neutral=torch.arange(1, 11).reshape(2, 5),
    )
    for values in (found.shift, found.cost, found.kl):
        assert np.abs(values[:, :, 0]).max() < 1e-5 < np.abs(values[:, :, 1]).max()
    assert not found.wrong[:, :, 0].any()


def made(difference, **more) -> DoseResponse:
    """A response with chosen differences [line, layer, coefficient, prompt]."""
    shape = difference.shape
    empty = np.zeros((*shape[:-1], 0))
    arrays = {
        "difference": difference,
        "probability": np.zeros(shape),
        "top": difference > 0,
        "first": difference > 0,
        "base_difference": np.full(shape[-1], -2.0),
        "base_probability": np.zeros(shape[-1]),
        "base_top": np.zeros(shape[-1], dtype=bool),
        "base_first": np.zeros(shape[-1], dtype=bool),
        "kl": empty,
        "loss": empty,
        "base_loss": np.zeros(0),
    }
    return DoseResponse(
        ("vector", "random 1")[: shape[0]], (0, 2), (-1.0, 1.0, 2.0), **(arrays | more)
    )


def test_shares_slopes_and_the_best_place_are_what_they_say() -> None:
    difference = np.full((2, 2, 3, 4), -2.0)
    difference[0, 1] = [[-4, -4, -1, -2], [1, 1, -3, -2], [4, 4, -5, 0]]
    found = made(difference)
    assert found.success(2, 2.0).estimate == 0.5 and found.success(0, 1.0).estimate == 0
    assert found.wrong_way(2, 1.0).estimate == 0.25
    assert found.wrong_way(2, -1.0).estimate == 0.25, "a negative coefficient turns the sign round"
    assert found.mean_shift(2, 2.0).estimate == pytest.approx(2.75)
    # Through 0: (c . shift) / (c . c), with c = -1, 1, 2.
    np.testing.assert_allclose(found.slopes()[0, 1], [17 / 6, 17 / 6, -8 / 6, 4 / 6])
    assert found.best() == (2, 1.0), "of equal shares the smaller coefficient"
    assert np.array_equal(found.subset([0, 3]).shift, found.shift[..., [0, 3]])
    difference[1, 1, 1] = 1  # now chance succeeds at the coefficient 1 and not at 2
    assert made(difference).best() == (2, 2.0)
    assert found.controls == [1] and found.control_map().shape == (1, 2, 3)
    rows = found.to_frame()
    assert len(rows) == 12 and rows[5]["top"] == 0.5 and "kl" not in rows[0]
    kl = np.zeros((2, 2, 3, 2))
    kl[0, 1] = [[0.1, 0.1], [0.5, 0.7], [0.2, 0.2]]
    costly = made(difference, kl=kl, loss=kl + 1, base_loss=np.ones(2))
    assert costly.best() == (2, 2.0), "of equal shares the cheaper"
    assert costly.mean_cost(2, 1.0).estimate == pytest.approx(0.6)
    assert costly.mean_cost(2, 1.0, of="loss").estimate == pytest.approx(0.6)
    with pytest.raises(ValueError, match="nothing costs as little"):
        costly.best(most_kl=-1)
    with pytest.raises(ValueError, match="no cost"):
        found.mean_cost(2, 1.0)
    with pytest.raises(ValueError, match="layer 1 with the coefficient 1 was not measured"):
        found.success(1, 1.0)
    with pytest.raises(ValueError, match="difference has the shape"):
        made(difference[:, :1])


def test_it_is_saved_whole(tmp_path) -> None:
    model, task = random_model(CFG), small_task(CFG)
    found = dose_response(
        model,
        task,
        vector_of((16,)),
        targets_of(task),
        neutral=torch.arange(1, 11).reshape(2, 5),
        others={"another": vector_of((16,), 1)},
    )
    found.save(tmp_path / "d.safetensors")
    back = DoseResponse.load(tmp_path / "d.safetensors")
    assert back.lines == found.lines and back.settings == found.settings
    assert back.lines[:2] == ("vector", "another") and back.norms == found.norms
    np.testing.assert_allclose(back.shift, found.shift, atol=1e-5)
    assert np.array_equal(back.top, found.top) and back.top.dtype == bool
    np.testing.assert_allclose(back.kl, found.kl, atol=1e-6)
    with pytest.raises(ValueError, match="there is no file"):
        DoseResponse.load(tmp_path / "none")
    (tmp_path / "bad").write_text("{}")
    with pytest.raises(ValueError, match="does not hold a dose-response"):
        DoseResponse.load(tmp_path / "bad")
    assert found.plot().axes


@pytest.fixture(scope="module")
def ioi_mini() -> ca.HookedTransformer:
    return ca.HookedTransformer.from_pretrained("ioi-mini")


def third_names(model, task) -> torch.Tensor:
    """For each prompt the first name of the list that is not in it."""
    names = [model.to_single_token(f" {name}") for name in NAMES]
    pairs = zip(task.correct.tolist(), task.wrong.tolist(), strict=True)
    return torch.tensor([next(n for n in names if n not in pair) for pair in pairs])


def test_the_seed_experiment_on_ioi_mini(ioi_mini) -> None:
    """Forcing another name: the embedding works where tokens are read, and nowhere behind."""
    task = ca.tasks.ioi(ioi_mini, 16, seed=0)
    third = third_names(ioi_mini, task)
    read = embedding_difference(ioi_mini, third, task.correct)
    options = {"n_random": 2, "coefficients": (1.0,)}
    at_io = dose_response(ioi_mini, task, read, third, positions="IO", unit="own", **options)
    assert at_io.success_map()[0, 0] >= 0.9 and at_io.success_map()[1:].max() == 0
    assert at_io.control_map().max() == 0
    said = embedding_difference(ioi_mini, third, task.correct, "W_U")
    at_end = dose_response(ioi_mini, task, said, third, coefficients=(2.0,), n_random=2)
    assert at_end.success_map()[0, 0] <= 0.3 and at_end.success_map()[2:].min() == 1
    assert at_end.base_top.sum() == 0 and at_end.control_map().max() == 0
    assert at_end.shift[0, 2, 0].mean() == pytest.approx(GOLDEN, abs=0.01)


GOLDEN = 32.840


def test_a_mean_difference_names_one_name_and_no_role(ioi_mini) -> None:
    """CAA: "the answer is Mary" is a direction; "the other name is the answer" is none."""
    task = ca.tasks.ioi(ioi_mini, 24, seed=0)
    many = ca.tasks.ioi(ioi_mini, 150, seed=1, names=NAMES[:12])
    mary = ioi_mini.to_single_token(" Mary")
    task = task.subset([i for i in range(24) if mary not in (task.correct[i], task.wrong[i])])
    names = [many.correct == mary, (many.correct != mary) & (many.wrong != mary)]
    sets = [[many.clean_text[i] for i in chosen.nonzero().flatten()] for chosen in names]
    named = {layer: mean_difference(ioi_mini, *sets, layer) for layer in (2, 3)}
    options = {"layers": (2, 3), "coefficients": (2.0,), "n_random": 1}
    found = dose_response(ioi_mini, task, named, mary, **options)
    assert found.success_map().min() > 0.8 and found.control_map().max() == 0
    assert found.settings["vector_norms"] == [named[2].norm, named[3].norm]
    end = many.positions["END"]
    roles = {
        layer: mean_difference(ioi_mini, many.corrupted, many.clean, layer, at=end)
        for layer in (2, 3)
    }
    assert max(vector.settings["agreement"] for vector in roles.values()) < 0.3
    turned = dose_response(ioi_mini, task, roles, task.wrong, **options)
    assert turned.success_map().max() < 0.2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"target": "correct"}, "the target of prompt 0 is its answer"),
        ({"coefficients": ()}, "holds no finite numbers"),
        ({"coefficients": (1, 1.0)}, "holds a number twice"),
        ({"positions": "S2"}, "no position 'S2'"),
        ({"positions": None}, "names none"),
        ({"unit": "metres"}, "neither 'residual' nor 'own'"),
        ({"layers": 5}, "no layer 5"),
        ({"site": "z"}, "is not of the stream"),
        ({"n_random": 0}, "are no control"),
        ({"vectors": {0: vector_of((16,))}}, "no vector for layer 1"),
        ({"vectors": vector_of((4, 16))}, "is for 4 prompts, and there are 6"),
        ({"vectors": vector_of((5,))}, "has 5 numbers"),
        ({"operation": "multiply"}, "neither 'add' nor 'set'"),
        ({"neutral": torch.tensor([[1]])}, "one token only"),
    ],
)
def test_what_cannot_be_done_is_said(arguments, message) -> None:
    model, task = random_model(CFG), small_task(CFG)
    given = {"vectors": vector_of((16,)), "target": targets_of(task), **arguments}
    if given["target"] == "correct" if isinstance(given["target"], str) else False:
        given["target"] = task.correct
    with pytest.raises(ValueError, match=message):
        dose_response(model, task, **given)
