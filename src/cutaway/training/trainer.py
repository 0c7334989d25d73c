"""The training loop: AdamW, warm-up and cosine, checkpoints from which a run goes on as if it
had never stopped.

Batches are a function of the step alone, so the only state is the model, the optimiser and the
step: a checkpoint holds exactly those.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn

from ..model.transformer import HookedTransformer
from .checkpoints import CheckpointStore
from .distributed import ALONE, World
from .optimizer import learning_rate_at, make_optimizer
from .settings import TrainSettings

Batches = Callable[[int], Int[Tensor, "batch pos"]]
Loss = Callable[[int], tuple[Tensor, int]]
"""step -> (the loss to descend, how many tokens it was computed on); depends on the step alone."""
Parts = Callable[[int], Iterable[tuple[Tensor, int]]]
"""step -> parts of its loss, which add up, and their tokens; each is computed when it is asked for,
after the one before it has gone backward."""


class TrainingFailed(ValueError):
    """Training that cannot go on; the message names the step and the setting to change."""


@dataclass(frozen=True)
class TrainReport:
    """What happened at one logged step."""

    step: int
    loss: float
    """Mean training loss since the last report, in nats per token."""
    learning_rate: float
    tokens_per_second: float


@dataclass
class _Sums:
    """What was added up since the last report."""

    losses: list[Tensor | float] = field(default_factory=list)
    """Of each step; tensors are read at a report, so that no step waits for the device."""
    n_tokens: int = 0
    seconds: float = 0.0
    """Of steps alone, without what is measured and saved between them."""

    def plain(self) -> dict[str, Any]:
        return {
            "losses": [float(loss) for loss in self.losses],
            "n_tokens": self.n_tokens,
            "seconds": self.seconds,
        }


@dataclass(frozen=True)
class Watch:
    """Who is told what happens, and who may stop it."""

    report: Callable[[TrainReport], None] | None = None
    """Called every `report_every` steps, and after the last one."""
    report_every: int = 50
    after: Callable[[int], None] | None = None
    """Called with the number of steps that were done, after each of them."""
    begin: Callable[[int], None] | None = None
    """Called once, with the number of steps that an earlier run did."""
    stop: Callable[[], bool] = lambda: False
    """Asked after each step; if true the state is saved and KeyboardInterrupt raised."""


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
        checkpoint: folder that is written to every `checkpoint_every` steps; if there is a
            checkpoint in it, the run goes on from there.
        report: called every `report_every` steps.
        report_every: steps between reports.

    Raises:
        CheckpointError: the checkpoint was made with other settings, or cannot be written.
        TrainingFailed: out of memory, or the loss is no longer a number.
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
    """Any module, any loss.

    Of the settings, those about how a model runs (accumulate, dropout, number_format, compile) are
    the business of `loss_at`.

    Args:
        module: its parameters are trained in place.
        loss_at: the loss of one step, and the tokens it was computed on; must depend on the step
            alone.
        settings: how.
        checkpoint: as in `train`.
        report: as in `train`.
        report_every: as in `train`.

    Raises:
        CheckpointError: the checkpoint was made with other settings, or cannot be written.
        TrainingFailed: out of memory, or the loss is no longer a number.
    """
    store = None
    if checkpoint is not None:
        identity = asdict(settings)
        every = identity.pop("checkpoint_every")
        store = CheckpointStore(checkpoint, module, identity, every=every)
    run_loop(module, lambda step: [loss_at(step)], settings, store, Watch(report, report_every))


def run_loop(
    module: nn.Module,
    parts_at: Parts,
    settings: TrainSettings,
    store: CheckpointStore | None = None,
    watch: Watch | None = None,
    world: World = ALONE,
) -> None:
    """The loop itself.

    Args:
        module: its parameters are trained in place.
        parts_at: the loss of a step, in parts; must depend on the step alone.
        settings: how.
        store: where checkpoints are written and found; only the main process writes.
        watch: who is told what happens.
        world: the processes that train together. The gradients of the last part of a step have to
            be the mean over all of them.

    Raises:
        CheckpointError, TrainingFailed: as in `fit`.
        KeyboardInterrupt: `watch.stop` said so.
    """
    watch = watch or Watch()
    optimizer = make_optimizer(module, settings)
    device = next(module.parameters()).device
    first, sums = _begin(optimizer, settings, store, world, device)
    if watch.begin is not None:
        watch.begin(first)
    if first == 0 and store is not None and world.is_main and store.is_due(0, settings.n_steps):
        store.save(0, settings.n_steps, optimizer, sums.plain())
    for step in range(first, settings.n_steps):
        start = time.perf_counter()
        with _memory_explained(step, settings):
            _take_step(module, parts_at, optimizer, settings, step, sums)
        sums.seconds += time.perf_counter() - start
        done, is_last = step + 1, step + 1 == settings.n_steps
        if done % watch.report_every == 0 or is_last:
            sums = _reported(sums, done, settings, watch, world, device)
        if watch.after is not None:
            watch.after(done)
        stopped = watch.stop() and not is_last
        is_due = store is not None and (stopped or store.is_due(done, settings.n_steps))
        if store is not None and is_due and world.is_main:
            store.save(done, settings.n_steps, optimizer, sums.plain(), now=stopped)
        if stopped:
            raise KeyboardInterrupt(f"stopped after step {done} of {settings.n_steps}")


def _begin(
    optimizer: torch.optim.Optimizer,
    settings: TrainSettings,
    store: CheckpointStore | None,
    world: World,
    device: torch.device,
) -> tuple[int, _Sums]:
    """The step to go on from, and the sums as they were; weights and optimiser are put in place."""
    state = None if store is None else store.resume()
    first = 0 if state is None else state.step
    if world.from_main(first, device) != first:
        raise TrainingFailed("the processes found different checkpoints: give them one folder.")
    if state is None:
        return 0, _Sums()
    optimizer.load_state_dict(dict(state.optimizer))
    return first, _Sums(**state.sums)


def _take_step(
    module: nn.Module,
    parts_at: Parts,
    optimizer: torch.optim.Optimizer,
    settings: TrainSettings,
    step: int,
    sums: _Sums,
) -> None:
    for group in optimizer.param_groups:
        group["lr"] = learning_rate_at(step, settings)
    optimizer.zero_grad(set_to_none=True)
    losses = []
    for loss, n_read in parts_at(step):
        loss.backward()
        losses.append(loss.detach())
        sums.n_tokens += n_read
    torch.nn.utils.clip_grad_norm_(module.parameters(), settings.gradient_clip)
    optimizer.step()
    sums.losses.append(losses[0] if len(losses) == 1 else torch.stack(losses).sum())


def _reported(
    sums: _Sums,
    done: int,
    settings: TrainSettings,
    watch: Watch,
    world: World,
    device: torch.device,
) -> _Sums:
    """Report the sums, and begin new ones."""
    start = time.perf_counter()
    loss = sum(map(float, sums.losses)) / len(sums.losses)
    seconds = sums.seconds + time.perf_counter() - start  # what the device still had to do
    if world.size > 1:
        loss = float(world.mean(torch.tensor(loss, device=device)))
    if not math.isfinite(loss):
        raise TrainingFailed(
            f"the loss is no longer a number at step {done}: lower learning_rate="
            f"{settings.learning_rate:g}, or lengthen warmup_steps={settings.warmup_steps}."
        )
    if watch.report is not None:
        rate = sums.n_tokens * world.size / max(seconds, 1e-9)
        watch.report(TrainReport(done, loss, learning_rate_at(done - 1, settings), rate))
    return _Sums()


@contextmanager
def _memory_explained(step: int, settings: TrainSettings) -> Iterator[None]:
    """Say which setting to lower when memory runs out."""
    try:
        yield
    except (RuntimeError, MemoryError) as fault:
        said = str(fault).lower()
        is_memory = isinstance(fault, torch.OutOfMemoryError | MemoryError) or any(
            words in said for words in ("can't allocate memory", "not enough memory")
        )
        if not is_memory:
            raise
        parts = "at once" if settings.accumulate == 1 else f"in {settings.accumulate} parts"
        raise TrainingFailed(
            f"out of memory at step {step + 1}: batch_size={settings.batch_size} sequences {parts} "
            f"do not fit. Raise accumulate={settings.accumulate}, which gives the same gradient in "
            "less memory; or lower batch_size, n_ctx or d_model."
        ) from fault
