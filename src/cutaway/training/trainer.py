"""The training loop: AdamW, warm-up and cosine, checkpoints from which a run goes on as if it
had never stopped.

Batches are a function of the step alone, so the only state is the model, the optimiser and the
step: a checkpoint holds exactly those.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn

from ..files import atomic_path
from ..model.transformer import HookedTransformer
from .settings import TrainSettings

Batches = Callable[[int], Int[Tensor, "batch pos"]]
Loss = Callable[[int], tuple[Tensor, int]]
"""step -> (the loss to descend, how many tokens it was computed on); depends on the step alone."""


@dataclass(frozen=True)
class TrainReport:
    """What happened at one logged step."""

    step: int
    loss: float
    """Mean training loss since the last report, in nats per token."""
    learning_rate: float
    tokens_per_second: float


def learning_rate_at(step: int, settings: TrainSettings) -> float:
    """Linear warm-up, then a cosine from the peak to a tenth of it."""
    if step < settings.warmup_steps:
        return settings.learning_rate * (step + 1) / settings.warmup_steps
    span = max(settings.n_steps - settings.warmup_steps, 1)
    progress = min((step - settings.warmup_steps) / span, 1.0)
    return settings.learning_rate * (0.1 + 0.45 * (1 + math.cos(math.pi * progress)))


def make_optimizer(module: nn.Module, settings: TrainSettings) -> torch.optim.AdamW:
    """AdamW in the usual two groups: matrices decay, vectors (biases, norm weights) do not."""
    vectors = ("b_", "b", "w")
    decayed: list[Tensor] = []
    plain: list[Tensor] = []
    for name, parameter in module.named_parameters():
        tail = name.rsplit(".", 1)[-1]
        (plain if tail.startswith(vectors) else decayed).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": settings.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    betas = (settings.beta1, settings.beta2)
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=betas)


def train(
    model: HookedTransformer,
    batches: Batches,
    settings: TrainSettings,
    checkpoint: Path | None = None,
    report: Callable[[TrainReport], None] | None = None,
    report_every: int = 50,
) -> None:
    """Train in place.

    Args:
        model: trained in place; left in its last state.
        batches: step -> tokens [batch, pos]; must depend on the step alone.
        settings: how.
        checkpoint: file that is written every `checkpoint_every` steps; if it exists, the run
            goes on from it.
        report: called every `report_every` steps.

    Raises:
        ValueError: the checkpoint was made with other settings.
    """

    def loss_at(step: int) -> tuple[Tensor, int]:
        tokens = batches(step)
        return model(tokens, return_type="loss"), tokens.numel()

    fit(model, loss_at, settings, checkpoint, report, report_every)


def fit(
    module: nn.Module,
    loss_at: Loss,
    settings: TrainSettings,
    checkpoint: Path | None = None,
    report: Callable[[TrainReport], None] | None = None,
    report_every: int = 50,
) -> None:
    """The loop itself: any module, any loss.

    Args:
        module: its parameters are trained in place.
        loss_at: the loss of one step, and the tokens it was computed on; must depend on the step
            alone.
        settings: how.
        checkpoint: as in `train`.
        report: as in `train`.
        report_every: as in `train`.

    Raises:
        ValueError: the checkpoint was made with other settings.
    """
    optimizer = make_optimizer(module, settings)
    first = _resume(module, optimizer, settings, checkpoint) if checkpoint else 0
    total, n_tokens, since = 0.0, 0, time.perf_counter()
    for step in range(first, settings.n_steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate_at(step, settings)
        loss, n_read = loss_at(step)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), settings.gradient_clip)
        optimizer.step()
        total, n_tokens = total + float(loss.detach()), n_tokens + n_read
        done = step + 1
        if report is not None and (done % report_every == 0 or done == settings.n_steps):
            now = time.perf_counter()
            n_reported = (done - first - 1) % report_every + 1
            rate = n_tokens / (now - since)
            report(TrainReport(done, total / n_reported, learning_rate_at(step, settings), rate))
            total, n_tokens, since = 0.0, 0, now
        if checkpoint and (done % settings.checkpoint_every == 0 or done == settings.n_steps):
            _save(module, optimizer, settings, checkpoint, done)


def _save(
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    settings: TrainSettings,
    path: Path,
    step: int,
) -> None:
    state: dict[str, Any] = {
        "model": module.state_dict(),
        "optimizer": optimizer.state_dict(),
        "settings": asdict(settings),
        "step": step,
    }
    with atomic_path(path) as temporary:
        torch.save(state, temporary)


def _resume(
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    settings: TrainSettings,
    path: Path,
) -> int:
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True)
    if state["settings"] != asdict(settings):
        changed = [k for k, v in asdict(settings).items() if state["settings"].get(k) != v]
        raise ValueError(
            f"{path} was made with other settings ({', '.join(changed)}): give the same ones, "
            "or another folder."
        )
    module.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"])
