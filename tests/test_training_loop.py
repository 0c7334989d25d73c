"""The training loop: a plain loop as the oracle, the sanity ladder, what changes nothing."""

from __future__ import annotations

import dataclasses
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from cutaway.model.config import ModelConfig
from cutaway.model.transformer import HookedTransformer
from cutaway.training import run
from cutaway.training.config import DataSettings, KeepSettings, TrainConfig
from cutaway.training.dropout import dropout
from cutaway.training.evaluation import (
    NextTokenLoss,
    counting_losses,
    held_out_loss,
    next_token_logits,
)
from cutaway.training.optimizer import learning_rate_at, make_optimizer
from cutaway.training.run import train_config
from cutaway.training.settings import TrainSettings
from cutaway.training.sources import open_source
from cutaway.training.trainer import TrainingFailed, fit
from random_models import configs, random_model

TINY = TrainConfig.from_dict(
    {
        "name": "tiny",
        "data": {"kind": "repeated-tokens", "n_tokens": 13},
        "model": {"n_layers": 2, "n_heads": 2, "d_model": 16, "n_ctx": 12},
        "train": {"n_steps": 12, "batch_size": 8, "warmup_steps": 4, "learning_rate": 0.01},
        "keep": {"report_every": 3, "evaluate_every": 6, "n_held_out": 20},
    }
)


def losses(config: TrainConfig) -> list[float]:
    return [loss for _, loss in train_config(config).curve.training()]


# ---- the oracle: the same, written out ----


@pytest.mark.parametrize("fused", [False, True])
def test_a_plain_loop_gives_the_same_weights(fused: bool) -> None:
    config = TINY.replace(fused=fused, beta2=0.9, weight_decay=0.3)
    source = open_source(config)
    model = HookedTransformer(config.model_config(16), seed=0)
    matrices = [p for name, p in model.named_parameters() if ".W_" in name]
    vectors = [p for name, p in model.named_parameters() if ".W_" not in name]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.3}, {"params": vectors, "weight_decay": 0.0}],
        betas=(0.9, 0.9),
    )
    for step in range(12):
        share = (
            (step + 1) / 4 if step < 4 else 0.1 + 0.9 * (1 + math.cos((step - 4) / 8 * math.pi)) / 2
        )
        for group in optimizer.param_groups:
            group["lr"] = 0.01 * share
        rows = source.rows(step, 8)
        logits = model(rows[:, :-1])
        loss = F.cross_entropy(logits.reshape(-1, 16), rows[:, 1:].reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        norm = torch.sqrt(sum((p.grad**2).sum() for p in model.parameters()))
        for parameter in model.parameters():
            parameter.grad *= min(1.0, 1.0 / float(norm))
        optimizer.step()
    found = train_config(config).model.state_dict()
    for name, value in model.state_dict().items():
        torch.testing.assert_close(found[name], value, atol=2e-5, rtol=1e-4)


def test_the_learning_rate_rises_falls_and_ends_at_its_share() -> None:
    chosen = TrainSettings(n_steps=110, warmup_steps=10, learning_rate=2.0, final_share=0.25)
    rates = [learning_rate_at(step, chosen) for step in range(111)]
    assert rates[0] == 0.2 and rates[9] == 2.0 == rates[10]
    assert rates[60] == pytest.approx((2.0 + 0.5) / 2) and rates[110] == pytest.approx(0.5)
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_matrices_decay_and_vectors_do_not() -> None:
    model = HookedTransformer(TINY.model_config(16))
    names = {id(p): name for name, p in model.named_parameters()}
    decayed, plain = make_optimizer(model, TrainSettings()).param_groups
    assert {names[id(p)].rsplit(".")[-1][:2] for p in decayed["params"]} == {"W_"}
    assert {names[id(p)].rsplit(".")[-1][:2] for p in plain["params"]} == {"b_", "b", "w"}
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.1, 0.0)


@given(configs(), st.integers(0, 100))
@settings(max_examples=15)
@torch.no_grad()
def test_the_way_without_checks_is_the_model(cfg: ModelConfig, seed: int) -> None:
    model = random_model(cfg, seed)
    rows = torch.randint(1, 17, (3, 11), generator=torch.Generator().manual_seed(seed))
    assert torch.equal(next_token_logits(model, rows), model(rows))
    long = torch.randint(1, 17, (3, 13), generator=torch.Generator().manual_seed(seed))
    expected = F.cross_entropy(model(long[:, :-1]).flatten(0, 1), long[:, 1:].flatten())
    torch.testing.assert_close(NextTokenLoss(model)(long), expected)
    torch.testing.assert_close(NextTokenLoss(model)(rows), model(rows, return_type="loss"))


# ---- the sanity ladder ----


@pytest.mark.parametrize("name", ["ioi-2l", "repeated-tokens", "ioi-mini"])
def test_the_loss_begins_near_that_of_guessing(name: str) -> None:
    config = TrainConfig.named(name)
    source = open_source(config)
    model = run.fresh_model(config, source)
    # Larger first weights, as ioi-2l has them, guess a little worse; those of induction-2l, which
    # has no norms, much worse (10.2 nats where guessing costs 6.1).
    wide = 0.25 if config.model.get("init_range", 0.02) > 0.02 else 0.05
    found = held_out_loss(model, source, 40).loss.estimate
    assert found == pytest.approx(math.log(model.cfg.d_vocab), abs=wide)


def test_one_batch_is_learned_by_heart() -> None:
    model = HookedTransformer(TINY.model_config(16))
    rows = torch.randint(16, (4, 13), generator=torch.Generator().manual_seed(0))
    seen: list[float] = []
    chosen = TrainSettings(n_steps=150, warmup_steps=5, learning_rate=0.01)
    fit(
        model,
        lambda step: (NextTokenLoss(model)(rows), rows.numel()),
        chosen,
        report=lambda report: seen.append(report.loss),
        report_every=1,
    )
    assert seen[0] > 1.0 and seen[-1] < 0.05


@given(configs(), st.integers(1, 10))
@settings(max_examples=15)
def test_no_token_sees_a_later_one(cfg: ModelConfig, position: int) -> None:
    model = random_model(cfg)
    rows = torch.randint(1, 17, (2, 12), generator=torch.Generator().manual_seed(1))
    changed = rows.clone()
    changed[:, position:] = torch.randint(1, 17, (2, 12 - position))
    before = next_token_logits(model, rows)[:, :position]
    after = next_token_logits(model, changed)[:, :position]
    torch.testing.assert_close(before, after, atol=1e-5, rtol=1e-5)


def test_it_learns_what_can_be_known() -> None:
    shape = {"n_ctx": 16, "d_model": 32, "attn_only": True, "init_range": 0.1}
    found = train_config(TINY.replace(n_steps=200, batch_size=16, learning_rate=0.01, **shape))
    counted = counting_losses(found.source, found.model.cfg.d_vocab)
    assert counted["unigram"].estimate == pytest.approx(math.log(13), abs=0.2)
    assert found.held_out.loss.high < counted["bigram"].low < counted["unigram"].high
    assert found.held_out.accuracy.low > 0.4 and found.held_out.loss.n == 1000
    measured = found.curve.measured("accuracy")
    assert [step for step, _ in measured][-1] == 200 and measured[0][1].estimate < 0.3


# ---- what changes nothing, or only what it should ----


def test_the_same_seed_gives_the_same_weights_and_another_one_others() -> None:
    assert train_config(TINY).model.digest == train_config(TINY).model.digest
    assert train_config(TINY).model.digest != train_config(TINY.replace(seed=1)).model.digest


def test_parts_of_a_batch_add_up_to_it() -> None:
    whole, parts = (train_config(TINY.replace(accumulate=n)) for n in (1, 4))
    assert losses(TINY.replace(accumulate=4)) == pytest.approx(losses(TINY), abs=1e-5)
    for name, value in whole.model.state_dict().items():
        torch.testing.assert_close(parts.model.state_dict()[name], value, atol=1e-4, rtol=1e-3)


def test_what_is_looked_at_changes_no_weight() -> None:
    watched = TINY.replace(report_every=1, evaluate_every=1, n_held_out=3, best=False)
    assert train_config(watched).model.digest == train_config(TINY).model.digest


def test_bfloat16_is_near_float32_and_leaves_the_weights_in_float32() -> None:
    found = train_config(TINY.replace(number_format="bfloat16"))
    assert found.model.dtype == torch.float32
    near = [loss for _, loss in found.curve.training()]
    assert near == pytest.approx(losses(TINY), abs=0.05) and near != losses(TINY)


def test_dropout_keeps_the_mean_and_leaves_no_hook() -> None:
    model = random_model(ModelConfig(2, 8, 2, 9, 8))
    rows = torch.randint(9, (4, 8))
    with dropout(model, 0.5, (0, 1)):
        one = model(rows)
    with dropout(model, 0.5, (0, 1)):
        assert torch.equal(model(rows), one)
    with dropout(model, 0.5, (0, 2)):
        assert not torch.equal(model(rows), one)
    assert not any(point.active for point in model.hook_points())
    seen: list[torch.Tensor] = []
    with dropout(model, 0.25, (3,)):
        note = [("blocks.1.attn.hook_pattern", lambda value, hook: seen.append(value))]
        model.run_with_hooks(torch.zeros(400, 8, dtype=torch.long), fwd_hooks=note)
    values = seen[0][:, :, 0, 0]  # the first token sees itself alone: 1, or nothing
    assert (values == 0).float().mean() == pytest.approx(0.25, abs=0.06)
    assert sorted(set(values.flatten().tolist())) == pytest.approx([0.0, 1 / 0.75])


def test_the_best_model_is_the_one_that_is_kept(tmp_path: Path) -> None:
    letters = torch.randint(97, 107, (500,), generator=torch.Generator().manual_seed(0)).tolist()
    (tmp_path / "noise.txt").write_text("".join(map(chr, letters)))
    config = TINY.replace(
        data=DataSettings("characters", str(tmp_path / "noise.txt"), held_out_share=0.3),
        keep=KeepSettings(evaluate_every=5, n_held_out=9, best=True),
        n_steps=60,
        default_prepend_bos=False,
    )
    for folder in (None, tmp_path / "run"):
        found = train_config(config, folder)
        measured = dict(found.curve.measured())
        assert found.step == min(measured, key=lambda step: measured[step].estimate) < 60
        assert held_out_loss(found.model, found.source, 9).loss == measured[found.step]
    last = train_config(config.replace(best=False))
    assert last.step == 60 and last.held_out.loss.estimate > found.held_out.loss.estimate


# ---- what goes wrong ----


def test_no_memory_names_the_settings_to_change(monkeypatch) -> None:
    for fault in (
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    ):

        def forward(self, rows, fault=fault):
            raise fault

        with monkeypatch.context() as patch:
            patch.setattr(NextTokenLoss, "forward", forward)
            with pytest.raises(
                TrainingFailed, match="out of memory at step 1: batch_size=8"
            ) as said:
                train_config(TINY)
        assert "accumulate" in str(said.value) and "\n" not in str(said.value)


def test_other_faults_stay_what_they_are(monkeypatch) -> None:
    def forward(self, rows):
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(NextTokenLoss, "forward", forward)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        train_config(TINY)


def test_a_loss_that_is_no_number_stops_the_run() -> None:
    with pytest.raises(TrainingFailed, match="no longer a number at step 3: lower learning_rate"):
        train_config(TINY.replace(learning_rate=1e30, gradient_clip=1e30))


def test_kernels_that_cannot_be_made_are_said_plainly(monkeypatch) -> None:
    def fail(self, *rest, **options):
        raise torch._dynamo.exc.TorchDynamoException("no compiler\nwas found")

    monkeypatch.setattr(NextTokenLoss, "compile", lambda self: None)
    monkeypatch.setattr(NextTokenLoss, "forward", fail)
    with pytest.raises(TrainingFailed, match="cannot make kernels.*no compiler was found"):
        train_config(TINY.replace(compile=True))


@pytest.mark.slow
def test_compiled_kernels_give_the_same_losses() -> None:
    code = """if True:
        import sys
        sys.path.insert(0, sys.argv[1])
        from test_training_loop import TINY, losses
        print(*losses(TINY.replace(compile=True)))
    """  # in a process of its own, where annotations are not checked
    command = [sys.executable, "-c", code, str(Path(__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = list(map(float, done.stdout.split()))
    assert found == pytest.approx(losses(TINY), abs=1e-4)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n_steps": 0}, "n_steps=0 is too few"),
        ({"batch_size": 8, "accumulate": 3}, "batch_size=8 does not divide into accumulate=3"),
        ({"learning_rate": -1.0}, "learning_rate=-1.0 is not positive"),
        ({"dropout": 1.0}, "dropout=1.0 is not from 0 to 0.99"),
        ({"warmup_steps": -1}, "warmup_steps=-1 is negative"),
        ({"number_format": "float16"}, "number_format='float16' is unknown"),
        ({"dropout": 0.1, "compile": True}, "works by hooks"),
    ],
)
def test_settings_that_no_run_can_have(wrong, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(TrainSettings(), **wrong)
