"""`induction-2l`, the embedded model with induction heads, and the recipe that makes it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

import cutaway as ca
from cutaway.model.loading import ASSETS, embedded_models
from cutaway.training.config import TrainConfig
from cutaway.training.induction_2l import config, evaluate, fresh, looks_back, waves
from cutaway.training.induction_corpus import Corpus, build_tokenizer, vocabulary
from cutaway.training.run import Events, train_config

FOLDER = ASSETS / "induction-2l"
# Of the weights as they were trained, without processing.
DIGEST = "1b484a92bc55e89bc43b31301c92221fb3995951b4c10c620122ddc618ca36ee"
PREVIOUS, INDUCTION = 7, [1, 2, 3, 4, 5, 6]  # heads of layer 0 and of layer 1
CONFIG = TrainConfig.named("induction-2l")
SHORT = CONFIG.replace(n_steps=4, batch_size=4, warmup_steps=2, checkpoint_every=2)


@pytest.fixture(scope="module")
def model() -> ca.HookedTransformer:
    return ca.HookedTransformer.from_pretrained("induction-2l")


# --- what is shipped


def test_the_embedded_model_is_the_one_that_the_recipe_describes(model) -> None:
    raw = ca.HookedTransformer.from_pretrained_no_processing("induction-2l")
    assert raw.digest == DIGEST
    assert "induction-2l" in embedded_models()
    assert raw.cfg == config(len(vocabulary())).replace(dtype="float32")
    assert [raw.tokenizer.token(i) for i in range(raw.cfg.d_vocab)] == list(vocabulary())
    assert raw.tokenizer.encode("the wise judge") == build_tokenizer().encode("the wise judge").ids
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 2_000_000
    recipe = json.loads((FOLDER / "recipe.json").read_text())
    assert recipe["train"] == dataclasses.asdict(CONFIG.train)
    # Nothing to fold: processing changes logits by a constant per position only.
    tokens = Corpus(1).novel(2).tokens
    with torch.no_grad():
        difference = model(tokens) - raw(tokens)
    assert difference.std(-1).max() < 1e-4


def test_it_is_linear_given_its_patterns(model) -> None:
    """No norm, no bias, no MLP: the logits are the sum of what the parts write, times W_U."""
    tokens = Corpus(1).repeated(2).tokens
    with torch.no_grad():
        logits, cache = model.run_with_cache(tokens)
        stream = cache["hook_embed"] + cache["hook_pos_embed"]
        for layer in (0, 1):
            z = cache[f"blocks.{layer}.attn.hook_z"]
            stream = stream + torch.einsum("bphd,hdm->bpm", z, model.W_O[layer])
    torch.testing.assert_close(stream @ model.W_U, logits, rtol=1e-4, atol=1e-3)


def test_golden_accuracy_on_repeated_tokens(model) -> None:
    for half_length, seed in ((5, 0), (12, 1), (31, 2)):
        task = ca.tasks.repeated_tokens(model, 200, half_length=half_length, seed=seed)
        baseline = task.baseline(model)
        assert baseline.accuracy.estimate >= 0.99 and baseline.accuracy.low > 0.96
    assert baseline.clean.low > 7  # logits, of the right token over another
    assert -1 < baseline.corrupted.estimate < 0.5  # nothing to copy


@torch.no_grad()
def test_induction_neither_rests_on_places_nor_on_distances(model) -> None:
    """[BOS, other words, r, other words, r]: whatever stands before and between."""
    rng = np.random.default_rng(0)
    for before, between in ((0, 0), (0, 30), (10, 13), (24, 16), (30, 3)):
        words = np.stack([3 + rng.permutation(len(vocabulary()) - 3) for _ in range(40)])
        r, rest = words[:, :8], words[:, 8:]
        parts = (np.zeros((40, 1), int), rest[:, :before], r, rest[:, before : before + between], r)
        tokens = torch.from_numpy(np.concatenate(parts, axis=1))
        right = model(tokens)[:, -8:-1].argmax(-1) == tokens[:, -7:]
        assert right.float().mean() > 0.95, (before, between)


@torch.no_grad()
def test_golden_scores_of_its_heads(model) -> None:
    kind = Corpus(1).repeated(50)
    _, cache = model.run_with_cache(kind.tokens)
    previous = looks_back(cache["blocks.0.attn.hook_pattern"], 1, 31).mean(0)
    induction = looks_back(cache["blocks.1.attn.hook_pattern"], 30, 31).mean(0)
    assert previous[PREVIOUS] == pytest.approx(0.821, abs=0.01)
    assert previous.argsort()[-2] != PREVIOUS and previous.sort().values[-2] < 0.1
    assert (induction > 0.8).nonzero().flatten().tolist() == INDUCTION
    assert induction[4] == pytest.approx(0.867, abs=0.01)


def test_the_previous_token_head_is_read_by_the_keys_of_the_induction_heads(model) -> None:
    scores = model.all_composition_scores("K")[0, :, 1]  # [writes, reads]
    first = scores.flatten().argsort(descending=True)[: len(INDUCTION)]
    assert sorted((int(i) // 8, int(i) % 8) for i in first) == [(PREVIOUS, h) for h in INDUCTION]


def test_what_it_predicts_of_each_kind(model) -> None:
    found = evaluate(model, 20)
    accuracy = {name: float(line.split()[1]) for name, line in found.items() if "accuracy" in line}
    assert accuracy["sayings"] > 0.98 and accuracy["repeated random words, 31 of them"] > 0.98
    assert 0.15 < accuracy["novel text"] < 0.3
    assert found["strongest previous-token head"].startswith("0.7, 0.82")
    assert found["strongest induction head"].startswith("1.4, 0.8")


def test_attention_looks_back_on_a_pattern_written_by_hand() -> None:
    pattern = torch.zeros(1, 1, 5, 5)
    pattern[0, 0, 3, 1], pattern[0, 0, 4, 2], pattern[0, 0, 2, 0] = 0.5, 0.25, 1.0
    assert looks_back(pattern, 2, 2).item() == 0.375


# --- the recipe


def test_positions_start_as_waves_of_which_a_turn_makes_the_one_before() -> None:
    start = waves(64, 128)
    frequencies = torch.pi * (torch.arange(64) + 0.5) / 64
    cos, sin = frequencies.cos().diag(), frequencies.sin().diag()
    turn = torch.cat([torch.cat([cos, sin], dim=1), torch.cat([-sin, cos], dim=1)])
    torch.testing.assert_close(start[1:] @ turn, start[:-1], atol=1e-4, rtol=0)
    torch.testing.assert_close(start @ start.T, 64 * torch.eye(64), atol=2.0, rtol=0)


def test_a_fresh_model_depends_on_its_seed_alone() -> None:
    assert fresh(3).digest == fresh(3).digest != fresh(4).digest
    stds = [w.std().item() for w in (fresh(0).W_E, fresh(0).W_Q, fresh(0).W_O[0], fresh(0).W_U)]
    assert stds == pytest.approx([0.3, 0.1, 0.2, 0.1], rel=0.03)


def test_the_configuration_has_the_shape_of_the_recipe() -> None:
    assert CONFIG.model_config(len(vocabulary())) == config(len(vocabulary()))


def test_training_goes_on_where_it_stopped(tmp_path: Path) -> None:
    whole = train_config(SHORT, tmp_path / "whole").model
    loaded = ca.HookedTransformer.from_pretrained_no_processing(tmp_path / "whole")
    assert loaded.digest == whole.digest
    asked = iter([False, False, True])
    with pytest.raises(KeyboardInterrupt, match="stopped after step 3 of 4"):
        train_config(SHORT, tmp_path / "half", events=Events(stop=lambda: next(asked)))
    assert train_config(SHORT, tmp_path / "half").model.digest == whole.digest


@pytest.mark.slow
def test_the_recipe_gives_the_same_losses_again() -> None:
    losses: list[list[float]] = [[], []]
    for found in losses:
        events = Events(report=lambda report, found=found: found.append(report.loss))
        train_config(CONFIG.replace(n_steps=60, report_every=30), events=events)
    assert losses[0] == losses[1] and losses[0][1] < losses[0][0]
