"""One training run from its configuration: data, model, loop, checkpoints, what came out."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ..files import write_json
from ..model.loading.reading import read_json, read_safetensors
from ..model.transformer import HookedTransformer
from .checkpoints import FOLDER, CheckpointStore, written
from .config import TrainConfig, TrainConfigError
from .curve import Curve
from .distributed import ALONE, World
from .dropout import dropout
from .evaluation import HeldOut, NextTokenLoss, held_out_loss
from .schedule import kept_steps
from .source import Source
from .sources import embedded_recipe, open_source
from .trainer import TrainingFailed, TrainReport, Watch, run_loop

CONFIG, CURVE, MODEL, BEST = "config.json", "curve.jsonl", "model", "best"
_RECIPES = ("ioi-mini", "induction-2l")


@dataclass(frozen=True)
class Events:
    """Who is told how a run goes."""

    begin: Callable[[int], None] = lambda step: None
    """Called once, with the number of steps that an earlier run did."""
    report: Callable[[TrainReport], None] = lambda report: None
    """Called every `keep.report_every` steps."""
    measured: Callable[[int, HeldOut], None] = lambda step, found: None
    """Called every `keep.evaluate_every` steps, with the loss on held-out data."""
    warn: Callable[[str], None] = lambda line: None
    """Told what went wrong and did not stop the run."""
    stop: Callable[[], bool] = lambda: False
    """Asked after every step; if true the state is saved and KeyboardInterrupt raised."""


@dataclass(frozen=True, eq=False)
class TrainedRun:
    """A finished run."""

    config: TrainConfig
    model: HookedTransformer
    """After the last step, or with `keep.best` where the held-out loss was lowest."""
    step: int
    """After which the model was so."""
    source: Source
    curve: Curve
    held_out: HeldOut
    """On all held-out sequences."""


def fresh_model(
    config: TrainConfig, source: Source, device: torch.device | str = "cpu"
) -> HookedTransformer:
    """The model before its first step.

    Raises:
        TrainConfigError: an embedded model's recipe with another shape than it has.
    """
    seed = config.train.seed
    cfg = config.model_config(source.tokenizer.vocab_size)
    if config.data.kind not in _RECIPES:
        return HookedTransformer(cfg, source.tokenizer, seed=seed, device=device)
    model = embedded_recipe(config.data.kind).fresh(seed)
    own, asked = model.cfg.to_dict(), cfg.to_dict()
    differ = [name for name in own if name != "model_name" and own[name] != asked[name]]
    if differ:
        raise TrainConfigError(
            f"{differ[0]}={asked[differ[0]]} cannot be chosen with the text of {config.data.kind}: "
            f"its recipe has {own[differ[0]]}."
        )
    return model.to(device)


def train_config(
    config: TrainConfig,
    folder: Path | None = None,
    *,
    device: str = "cpu",
    world: World = ALONE,
    events: Events | None = None,
) -> TrainedRun:
    """Train a model from nothing, or go on where a run in the same folder was stopped.

    Args:
        config: what to train, on what, how.
        folder: keeps config.json, curve.jsonl, the checkpoints, and in the end the model; None
            keeps nothing.
        device: where the model is.
        world: the processes that train together (`joined_world`).
        events: who is told how it goes.

    Raises:
        TrainConfigError: settings that fit neither each other nor the data.
        CheckpointError: the folder holds a run with other settings, or the disk is full.
        FileExistsError: the folder holds something else.
        TrainingFailed: out of memory, a loss that is no number, kernels that cannot be compiled.

    Example:
        >>> config = TrainConfig.named("ioi-2l").replace(n_steps=100)
        >>> train_config(config).held_out.accuracy  # doctest: +SKIP
    """
    events = events or Events()
    _check_world(config, world)
    source = open_source(config)
    model = fresh_model(config, source, world.device(device))
    store = _open_folder(config, source, model, folder, world, events) if folder else None
    curve = Curve(folder / CURVE if folder and world.is_main else None)
    best = _Best(config, model, folder if world.is_main else None)
    loss = _parallel_loss(config, model, world)

    def begin(step: int) -> None:
        curve.go_on_from(step)
        best.go_on_from(curve)
        events.begin(step)

    def report(found: TrainReport) -> None:
        if world.is_main:
            curve.add_report(found)
            events.report(found)

    def after(step: int) -> None:
        is_last = step == config.train.n_steps
        if world.is_main and (is_last or step % config.keep.evaluate_every == 0):
            found = held_out_loss(model, source, config.keep.n_held_out)
            curve.add_held_out(step, found)
            best.see(step, found)
            events.measured(step, found)

    watch = Watch(report, config.keep.report_every, after, begin, events.stop)
    run_loop(
        model, loss_parts(config, source, model, loss, world), config.train, store, watch, world
    )
    step = best.put_back()
    if folder and world.is_main:
        with written(folder / MODEL):
            model.save_pretrained(folder / MODEL)
    return TrainedRun(config, model, step, source, curve, held_out_loss(model, source))


def _check_world(config: TrainConfig, world: World) -> None:
    n_at_once = config.train.batch_size // config.train.accumulate
    if n_at_once % world.size:
        raise TrainConfigError(
            f"batch_size={config.train.batch_size} in accumulate={config.train.accumulate} parts "
            f"does not divide among {world.size} processes: choose another batch_size."
        )


def _open_folder(
    config: TrainConfig,
    source: Source,
    model: HookedTransformer,
    folder: Path,
    world: World,
    events: Events,
) -> CheckpointStore:
    """The run's folder, made or found again."""
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{folder} is a file; a run is kept in a folder.")
    store = CheckpointStore(
        folder / FOLDER,
        model,
        {**config.identity(), "data": source.digest},
        kept_steps(config.keep, config.train.n_steps),
        config.train.checkpoint_every,
        events.warn if world.is_main else lambda line: None,
    )
    if not world.is_main:
        return store
    _clear(folder)
    path = folder / CONFIG
    if path.is_file() and "run" in read_json(path):
        store.check_identity(folder, read_json(path)["run"])
    elif folder.is_dir() and any(folder.iterdir()):
        raise FileExistsError(
            f"{folder} holds something else than a training run: give another folder."
        )
    else:
        with written(path):
            write_json(path, {"config": config.to_dict(), "run": store.identity})
    return store


def _clear(folder: Path) -> None:
    """Remove what a run that was killed was just writing."""
    for pattern in (f"{FOLDER}/.*", f".{MODEL}.*", f".{BEST}.*"):
        for left in folder.glob(pattern):
            shutil.rmtree(left, ignore_errors=True)


def _parallel_loss(config: TrainConfig, model: HookedTransformer, world: World) -> nn.Module:
    loss: nn.Module = NextTokenLoss(model, config.train.number_format)
    if config.train.compile:
        loss.compile()
    return world.parallel(loss, model.device)


def loss_parts(
    config: TrainConfig,
    source: Source,
    model: HookedTransformer,
    loss: nn.Module,
    world: World = ALONE,
) -> Callable[[int], Iterator[tuple[Tensor, int]]]:
    """The loss of a step, in as many parts as `accumulate` says, and of those this process's.

    Args:
        config: batch size, parts, dropout, seed.
        source: gives the rows.
        model: hooked where there is dropout.
        loss: of some rows; a `NextTokenLoss` of the model, or what wraps one.
        world: the processes that share the rows.
    """
    train = config.train

    def parts(step: int) -> Iterator[tuple[Tensor, int]]:
        chunks = source.rows(step, train.batch_size).chunk(train.accumulate)
        for number, chunk in enumerate(chunks):
            rows = world.share(chunk).to(model.device)
            n_predicted = len(rows) * min(rows.shape[1], config.n_ctx)
            with ExitStack() as inside:
                if isinstance(loss, DistributedDataParallel) and number < len(chunks) - 1:
                    inside.enter_context(loss.no_sync())
                seed = (train.seed, step, number, world.rank)
                inside.enter_context(dropout(model, train.dropout, seed))
                yield _explained(loss, rows, train.compile) / len(chunks), n_predicted

    return parts


def _explained(loss: nn.Module, rows: Tensor, is_compiled: bool) -> Tensor:
    """The loss; if its kernels cannot be made, a sentence that says so."""
    if not is_compiled:
        value: Tensor = loss(rows)
        return value
    from torch._dynamo.exc import TorchDynamoException

    try:
        value = loss(rows)
    except (TorchDynamoException, RuntimeError) as fault:
        if isinstance(fault, torch.OutOfMemoryError):
            raise
        said = " ".join(str(fault).split())[:200]
        raise TrainingFailed(
            f"torch.compile cannot make kernels for this model here ({said}): it needs a C++ "
            "compiler; leave compile off."
        ) from fault
    return value


class _Best:
    """The model of the lowest loss on held-out data so far: in the folder, or in memory."""

    def __init__(self, config: TrainConfig, model: HookedTransformer, folder: Path | None) -> None:
        self.is_wanted, self.last = config.keep.best, config.train.n_steps
        self.model, self.folder = model, folder
        self.step, self.loss = 0, math.inf
        self.state: dict[str, Tensor] | None = None

    def go_on_from(self, curve: Curve) -> None:
        """What an earlier run had found."""
        for step, found in curve.measured():
            if found.estimate < self.loss:
                self.step, self.loss = step, found.estimate

    def see(self, step: int, found: HeldOut) -> None:
        """Keep the model if it is better than all before."""
        if not self.is_wanted or found.loss.estimate >= self.loss:
            return
        self.step, self.loss = step, found.loss.estimate
        if self.folder is None:
            self.state = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        else:
            with written(self.folder / BEST):
                self.model.save_pretrained(self.folder / BEST)

    def put_back(self) -> int:
        """Make the model the best one; gives the step after which it was so."""
        if not self.is_wanted or self.step == 0:
            return self.last
        path = self.folder / BEST / "model.safetensors" if self.folder else None
        state = read_safetensors(path) if path and path.is_file() else self.state
        if state is None:
            return self.last
        self.model.load_state_dict(state)
        return self.step
