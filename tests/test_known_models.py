"""Models written by hand: they do their task, and exactly the circuit that was written down."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cutaway.circuits.known import (
    KNOWN,
    KnownModel,
    KnownSettings,
    all_known,
    circuit_in_weights,
    edges_in_weights,
)
from cutaway.circuits.known.building import (
    Read,
    Recipe,
    Term,
    WrittenHead,
    indicator,
    one_before,
    only,
    random_rotation,
    write_model,
)
from cutaway.circuits.known.parts import one_back
from cutaway.model.config import ModelConfig
from cutaway.model.transformer import HookedTransformer
from cutaway.patching.ablation import ablate
from cutaway.patching.edges import sweep_edges

SEEDS = (0, 1)
SETTINGS = KnownSettings(n_prompts=8)
MODELS = {(known.name, known.seed): known for known in all_known(SEEDS, SETTINGS)}
CASES = [
    (name, corruption) for name in KNOWN for corruption in MODELS[name, 0].tasks
]  # of every seed the same, which a test holds


@pytest.fixture(params=MODELS, ids=lambda key: f"{key[0]}-{key[1]}")
def known(request) -> KnownModel:
    return MODELS[request.param]


# ---- the oracle: what the answer is, said in Python ----


def previous_token_rule(prompt: list[int]) -> int:
    return prompt[-2]


def duplicate_token_rule(prompt: list[int]) -> int:
    return prompt[-1] if prompt[-1] in prompt[:-1] else 0


def induction_rule(prompt: list[int]) -> int:
    before = prompt[:-1]
    return before[before.index(prompt[-1]) + 1] if prompt[-1] in before else 0


def ioi_rule(prompt: list[int]) -> int | None:
    """The name that occurs once, if another occurs twice."""
    counts = {token: prompt.count(token) for token in prompt if 1 <= token <= 8}
    if sorted(counts.values()) != [1, 2]:
        return None  # three names: the model says each of them alike
    return min(counts, key=counts.__getitem__)


RULES = {
    "previous-token": previous_token_rule,
    "duplicate-token": duplicate_token_rule,
    "induction": induction_rule,
    "ioi": ioi_rule,
}


def test_every_answer_is_what_the_rule_says(known: KnownModel) -> None:
    n_checked = 0
    for task in known.tasks.values():
        assert task.baseline(known.model).accuracy.estimate == 1
        for tokens in (task.clean, task.corrupted):
            answers = known.model(tokens)[:, -1].argmax(-1).tolist()
            for prompt, answer in zip(tokens.tolist(), answers, strict=True):
                expected = RULES[known.name](prompt)
                assert expected in (None, answer), prompt
                n_checked += expected is not None
        assert [RULES[known.name](p) for p in task.clean.tolist()] == task.correct.tolist()
    assert n_checked >= 2 * 8


def test_prompts_have_the_form_that_they_claim(known: KnownModel) -> None:
    for corruption, task in known.tasks.items():
        clean, corrupted = task.clean, task.corrupted
        differ = clean != corrupted
        assert not differ[:, 0].any()  # BOS
        assert torch.equal(clean, next(iter(known.tasks.values())).clean)
        n_changed = {
            "previous": 1,
            "query": 1,
            "s2-flip": 1,
            "value": 2,
            "abc": 3,
            "all-tokens": clean.shape[1] - 1,
            "key": 1 if known.name == "duplicate-token" else 2,
        }
        assert (differ.sum(1) == n_changed[corruption]).all()
        rows = zip(clean.tolist(), corrupted.tolist(), strict=True)
        if corruption == "all-tokens" and known.name != "ioi":
            assert all(not set(a[1:]) & set(b[1:]) for a, b in rows)
        assert (torch.stack([*task.positions.values()]) < clean.shape[1]).all()
    orders = {bool(io < s1) for io, s1 in _io_and_s1(known)}
    assert known.name != "ioi" or orders == {True, False}  # ABBA and BABA


def _io_and_s1(known: KnownModel) -> list[tuple[int, int]]:
    if known.name != "ioi":
        return []
    places = known.tasks["abc"].positions
    return [*zip(places["IO"].tolist(), places["S1"].tolist(), strict=True)]


# ---- the circuit ----


def test_what_is_in_the_weights_is_what_was_written_down(known: KnownModel) -> None:
    assert edges_in_weights(known.model) == known.written | known.idle_edges
    assert circuit_in_weights(known.model) == known.written
    assert not known.written & known.idle_edges


def test_detectable_edges_are_written_ones(known: KnownModel) -> None:
    assert list(known.detectable) == list(known.tasks)
    for signs in known.detectable.values():
        assert set(signs) <= known.written
        assert set(signs.values()) <= {+1, -1}


@pytest.mark.parametrize("name", KNOWN)
def test_written_is_more_than_detectable(name: str) -> None:
    """Each model has a task that leaves part of its circuit in the dark."""
    known = MODELS[name, 0]
    assert any(set(signs) < known.written for signs in known.detectable.values())


@pytest.mark.parametrize(("name", "corruption"), CASES)
@pytest.mark.parametrize("seed", SEEDS)
def test_exact_effects_tell_detectable_edges_from_all_others(
    name: str, corruption: str, seed: int
) -> None:
    known = MODELS[name, seed]
    signs = known.detectable[corruption]
    edges = sweep_edges(known.model, known.tasks[corruption], mode="noising")
    whole = (edges.clean - edges.corrupted).mean()
    assert whole > 1
    is_detectable = np.array([label in signs for label in edges.axes[0].labels])
    per_prompt = edges.per_prompt / whole
    assert np.abs(per_prompt[~is_detectable]).max() < 1e-3
    expected = [signs[label] for label in edges.axes[0].labels if label in signs]
    # The sign holds for every single prompt, and a hundred times as large as any other edge.
    assert (per_prompt[is_detectable] * np.array(expected)[:, None]).min() > 0.1


# Worked out by hand from the recipe, in units of (clean - corrupted). Of IOI: the name mover
# writes 1, the negative one -1/4 of it, so that clean is 3/4 and s2-flip -3/4. Without inhibition
# the mover attends to IO, S1 and S2 by 1/3 each and writes IO - S = -1/3.
GOLDEN = {
    ("duplicate-token", "key"): {"embed->0.2.k": 1, "embed->0.2.v": 1 / 2},
    ("induction", "all-tokens"): {"embed->0.1.v": 1 / 2, "embed->1.2.v": 1},
    ("ioi", "s2-flip"): {
        "embed->0.1.q": 1,
        "1.2->2.0.q": 2 / 1.5,
        "embed->2.0.k": 1 / 1.5,
        "1.2->2.3.q": -0.5 / 1.5,
        "embed->2.3.k": -0.25 / 1.5,
    },
    ("ioi", "abc"): {
        "0.1->1.2.k": (3 / 4 + 1 / 4) / (3 / 4),
        "1.2->2.0.q": (1 + 1 / 3) / (3 / 4),
        "embed->2.0.v": 1 / (3 / 4),
        "1.2->2.3.q": -(1 / 4) * (1 + 1 / 3) / (3 / 4),
    },
}


@pytest.mark.parametrize("case", GOLDEN, ids=str)
def test_effects_have_the_size_that_follows_from_the_recipe(case: tuple[str, str]) -> None:
    name, corruption = case
    known = MODELS[name, 1]
    edges = sweep_edges(known.model, known.tasks[corruption], mode="noising")
    found = dict(zip(edges.axes[0].labels, edges.normalised(), strict=True))
    for edge, expected in GOLDEN[case].items():
        assert found[edge] == pytest.approx(expected, abs=1e-4), edge


# ---- seeds, idle heads, settings ----


@settings(max_examples=5)
@given(name=st.sampled_from(list(KNOWN)), seed=st.integers(0, 2**40), prompts=st.integers(0, 2**40))
def test_any_seed_gives_the_circuit_and_solves_any_prompt(
    name: str, seed: int, prompts: int
) -> None:
    known = KNOWN[name](seed, KnownSettings(prompt_seed=prompts, n_prompts=5))
    assert edges_in_weights(known.model) == known.written | known.idle_edges
    for task in known.tasks.values():
        answers = known.model(task.clean)[:, -1].argmax(-1)
        assert answers.tolist() == [RULES[name](prompt) for prompt in task.clean.tolist()]


@pytest.mark.parametrize(("name", "corruption"), CASES)
def test_seeds_change_the_weights_and_nothing_that_is_measured(name: str, corruption: str) -> None:
    models = [MODELS[name, seed] for seed in SEEDS]
    first, *others = [known.tasks[corruption].baseline(known.model) for known in models]
    for known, other in zip(models[1:], others, strict=True):
        np.testing.assert_allclose(other.clean_values, first.clean_values, atol=1e-3)
        np.testing.assert_allclose(other.corrupted_values, first.corrupted_values, atol=1e-3)
        assert torch.equal(known.tasks[corruption].clean, models[0].tasks[corruption].clean)
        assert known.written == models[0].written
        assert (known.model.W_E - models[0].model.W_E).abs().max() > 0.1
    assert KNOWN[name](1, SETTINGS).model.digest == models[1].model.digest


def test_nothing_lies_along_an_axis(known: KnownModel) -> None:
    model = known.model
    written = [tuple(map(int, name.split("."))) for name in known.roles]
    matrices = [model.W_E, model.W_pos, model.W_U.T]
    matrices += [model.W_O[layer, head] for layer, head in written]
    # Rows of the head's matrices in the inner space, whose basis is random as well.
    matrices += [model.W_V[layer, head] for layer, head in written]
    for matrix in matrices:
        rows = matrix[matrix.norm(dim=1) > 1e-3].detach()
        largest_share = rows.abs().max(dim=1).values / rows.norm(dim=1)
        assert float(largest_share.max()) < 0.9
        assert float((rows.abs() < 1e-6).float().mean()) < 0.01  # no zeros


@pytest.mark.parametrize("method", ["zero", "mean"])
def test_idle_heads_can_be_taken_out(known: KnownModel, method: str) -> None:
    assert len(known.idle_heads) + len(known.roles) == known.model.cfg.n_layers * 4
    for task in known.tasks.values():
        ablation = ablate(known.model, task, known.idle_heads, method)
        np.testing.assert_allclose(ablation.ablated, ablation.clean, atol=1e-4)
    role = next(iter(known.roles))
    crippled = ablate(known.model, task, [role], "zero")
    assert (crippled.clean - crippled.ablated).min() > 1  # while the circuit's heads cannot


def test_idle_heads_attend_and_write(known: KnownModel) -> None:
    """They are no dead weight: what they look at and what they write differs between tokens."""
    task = known.tasks["all-tokens"]
    _, clean = known.model.run_with_cache(task.clean)
    _, corrupted = known.model.run_with_cache(task.corrupted)
    for name in known.idle_heads:
        layer, head = map(int, name.split("."))
        change = (clean["z", layer] - corrupted["z", layer])[:, 1:, head]
        assert change.norm(dim=-1).mean() > 0.1
        pattern = clean["pattern", layer][:, head, -1]
        entropy = -(pattern * pattern.clamp_min(1e-9).log()).sum(-1).mean()
        assert 0.1 < entropy < 0.98 * np.log(pattern.shape[-1])


def test_a_softer_softmax_leaves_attention_elsewhere() -> None:
    sharp, soft = (KNOWN["induction"](0, KnownSettings(sharpness=s)) for s in (30.0, 3.0))
    attended = []
    for known in (sharp, soft):
        task = known.tasks["query"]
        _, cache = known.model.run_with_cache(task.clean)
        pattern = cache["pattern", 1][:, 2, -1]  # of 1.2 at END
        attended.append(float(pattern.gather(1, task.positions["B"][:, None]).min()))
        assert task.baseline(known.model).accuracy.estimate == 1
    assert attended[0] > 1 - 1e-6
    assert 0.7 < attended[1] < 0.99
    assert sharp.written == soft.written == circuit_in_weights(soft.model)


def test_settings_reach_model_and_prompts() -> None:
    chosen = KnownSettings(logit_scale=4.0, n_prompts=3, prompt_seed=5, dtype="float64")
    for known in all_known((4,), chosen):
        assert known.model.dtype == torch.float64
        for task in known.tasks.values():
            assert len(task) == 3
            values = task.baseline(known.model).clean_values
            expected = 3.0 if known.name == "ioi" else 4.0
            np.testing.assert_allclose(values, expected, rtol=1e-6)
        assert not torch.equal(
            task.clean, MODELS[known.name, 0].tasks[task.name.split()[-1]].clean[:3]
        )


@pytest.mark.parametrize("name", ["sharpness", "logit_scale", "n_prompts"])
def test_settings_that_make_no_model_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}=0 .* must be positive"):
        KnownSettings(**{name: 0})


# ---- the builder ----


def test_a_rotation_is_orthogonal_and_random() -> None:
    generator = torch.Generator().manual_seed(0)
    first, second = random_rotation(30, generator), random_rotation(30, generator)
    torch.testing.assert_close(first @ first.T, torch.eye(30, dtype=torch.float64))
    assert (first - second).abs().max() > 0.1
    # Uniform over all orthogonal matrices: an entry has mean 0 and variance 1 / n.
    many = torch.stack([random_rotation(5, generator) for _ in range(500)])
    assert many.mean(0).abs().max() < 0.08
    assert (many.var(0) - 1 / 5).abs().max() < 0.05


def test_matrices_read_what_they_say() -> None:
    one_hot = torch.eye(5)
    assert (one_hot @ indicator(5, [0, 3]))[:, 0].tolist() == [1, 0, 0, 1, 0]
    assert torch.equal((one_hot @ only(5, [1, 2])).sum(1), torch.tensor([0.0, 1, 1, 0, 0]))
    before = one_hot @ one_before(5)
    assert not before[0].any()
    assert before[1:].argmax(1).tolist() == [0, 1, 2, 3]


def tiny_recipe(**heads: WrittenHead) -> Recipe:
    return Recipe(
        name="tiny",
        n_layers=1,
        n_vocab=5,
        n_ctx=4,
        heads={name.removeprefix("head").replace("_", "."): h for name, h in heads.items()},
        unembed=Read("output"),
        further_spaces={"output": 5},
    )


def test_scores_and_outputs_are_those_of_the_recipe() -> None:
    """In the random basis, the head's scores are what its terms add up to."""
    terms = (one_back(4, 3.0), Term(key=Read("token", indicator(5, [2])), strength=1.5))
    head = WrittenHead(attend=terms, value=Read("token", 2 * torch.eye(5)), into="output")
    model = write_model(tiny_recipe(head0_3=head), seed=3, dtype="float64")
    tokens = torch.tensor([[2, 4, 1, 3]])
    logits, cache = model.run_with_cache(tokens)
    scores = cache["attn_scores", 0][0, 3]
    for query in range(4):
        for key in range(query + 1):
            expected = 3.0 * (key == query - 1) + 1.5 * (int(tokens[0, key]) == 2)
            assert float(scores[query, key]) == pytest.approx(expected, abs=1e-10)
    expected_logits = cache["pattern", 0][0, 3] @ (2 * torch.eye(5).double())[tokens[0]]
    torch.testing.assert_close(logits[0], expected_logits)


# ---- edges in weights of other models ----


def test_a_random_model_has_all_edges_until_one_is_cut() -> None:
    cfg = ModelConfig(
        n_layers=2, d_model=16, n_heads=2, d_vocab=11, n_ctx=6, normalization_type=None
    )
    model = HookedTransformer(cfg, seed=0)
    everything = edges_in_weights(model)
    # b_Q is 0 and W_K W_Q^T is not: keys count.
    assert len(everything) == sum(n * k for n, k in ((1, 6), (3, 1), (4, 6), (6, 1), (7, 1)))
    with torch.no_grad():
        model.blocks[1].attn.W_V[1] = 0  # head 1.1 moves nothing
        model.blocks[1].mlp.W_out.zero_()
    left = edges_in_weights(model)
    gone = {edge for edge in everything if edge.endswith("->1.1.v") or edge.startswith("1.1->")}
    gone |= {"mlp1->logits"}
    assert everything - left == gone
    # Queries and keys of 1.1 and the input of mlp1 are read, and lead nowhere.
    assert left - circuit_in_weights(model) == {
        edge for edge in left if edge.split("->")[1] in ("1.1.q", "1.1.k", "mlp1")
    }


def test_a_query_bias_makes_a_key_count() -> None:
    term = Term(key=Read("token", indicator(5, [1])), strength=2.0)  # asked by a bias alone
    head = WrittenHead(attend=(term,), value=Read("token"), into="output")
    found = circuit_in_weights(write_model(tiny_recipe(head0_0=head), seed=0))
    assert found == {"embed->0.0.k", "embed->0.0.v", "0.0->logits"}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"normalization_type": "LN"}, "has norms \\(LN\\)"),
        ({"positional_embedding_type": "rotary"}, "rotary positions"),
        ({"n_key_value_heads": 1}, "shares keys and values"),
    ],
)
def test_models_whose_products_tell_nothing_are_refused(changes: dict, why: str) -> None:
    plain = {"n_layers": 1, "d_model": 8, "n_heads": 2, "d_vocab": 5, "n_ctx": 4}
    model = HookedTransformer(ModelConfig(**(plain | {"normalization_type": None} | changes)))
    with pytest.raises(ValueError, match=f"{why}.*sweep_edges"):
        edges_in_weights(model)
