"""The steps of `cutaway lens`: readings, controls, a tuned lens, kinds of input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from ...lenses import (
    ComponentReadings,
    InputComparison,
    LensErrors,
    LensReadings,
    TunedLens,
    compare_inputs,
    component_lens,
    lens_errors,
    logit_lens,
    mean_prediction,
    train_tuned_lens,
)
from ...lenses.tuned_training import SETTINGS as TRAINING
from ...model.transformer import HookedTransformer
from ...tasks.task import Task
from ...views.lens_grid import LensGridView
from ..steps import Steps
from ..texts import tokens_of_text
from .settings import LensSettings
from .texts import Inputs, TrainingText, kinds_of_input, training_text

RANDOM_STREAM = "stream of random weights"
_LARGE = 256  # width from which on the translators' learning rate is lowered


@dataclass(frozen=True)
class Tuned:
    """A tuned lens with what is known of it."""

    lens: TunedLens
    readings: LensReadings
    """Of the prompts, beside the logit lens's."""
    errors: LensErrors | None
    """On held-out text; None for a lens that was loaded without any."""
    text: str


@dataclass(frozen=True)
class Findings:
    """All that was measured."""

    readings: LensReadings
    control: LensReadings
    """The same prompts in a model of random weights."""
    components: ComponentReadings
    grids: tuple[LensGridView, ...]
    tuned: Tuned | None
    inputs: tuple[Inputs, InputComparison] | None


def run_study(
    model: HookedTransformer,
    prompts: Task | Int[Tensor, "prompt pos"],
    settings: LensSettings,
    steps: Steps,
) -> Findings:
    """All steps, in their order."""
    tuned_lens, text, errors = None, None, None
    if settings.tuned:
        tuned_lens, text, errors = _tuned_lens(model, settings, steps)
        has_mid = any(point.label.endswith(".mid") for point in tuned_lens.points)
        settings = replace(settings, mid=has_mid)  # one that was loaded says where it reads
    mid = settings.mid
    with steps("read the layers") as progress:
        readings = logit_lens(
            model, prompts, mid=mid, top=settings.top, seed=settings.seed, progress=progress
        )
        control = logit_lens(
            model.fresh(settings.seed), prompts, mid=mid, top=1, seed=settings.seed
        )
        components = component_lens(model, prompts, seed=settings.seed)
    tuned = None
    if tuned_lens is not None:
        with steps("read by the tuned lens"):
            of_tuned = tuned_lens.read(model, prompts, top=settings.top, seed=settings.seed)
            tuned = Tuned(tuned_lens, of_tuned, errors, "" if text is None else text.name)
    grids = _grids(model, prompts, settings, tuned_lens)
    inputs = None
    if settings.inputs:
        with steps("compare inputs"):
            kinds = kinds_of_input(model, settings.n_prompts or 64, settings.seed)
            found = compare_inputs(
                model, kinds.prompts, positions=kinds.positions, seed=settings.seed
            )
            inputs = kinds, found
    return Findings(readings, control, components, grids, tuned, inputs)


def _tuned_lens(
    model: HookedTransformer, settings: LensSettings, steps: Steps
) -> tuple[TunedLens, TrainingText | None, LensErrors | None]:
    """A lens that was loaded, or trained together with its control."""
    if settings.tuned != "train":
        with steps("load the tuned lens"):
            return TunedLens.load(Path(settings.tuned), model), None, None
    text = training_text(model, settings.data, TRAINING.batch_size)
    training = replace(TRAINING, n_steps=settings.steps, seed=settings.seed)
    if model.cfg.d_model > _LARGE:
        training = replace(training, learning_rate=1e-3)

    def train(progress: Callable[[float], None], stream: HookedTransformer | None) -> TunedLens:
        return train_tuned_lens(
            model,
            text.batches,
            training,
            mid=settings.mid,
            stream=stream,
            report=lambda done: progress(done.step / settings.steps),
            report_every=max(1, settings.steps // 50),
        )

    with steps("train the tuned lens") as progress:
        lens = train(progress, None)
    random = model.fresh(settings.seed)
    with steps("train the control") as progress:
        control = train(progress, random)
    with steps("test the lenses"):
        errors = lens_errors(
            model,
            text.held_out,
            {"tuned lens": lens, RANDOM_STREAM: control},
            {RANDOM_STREAM: random},
            mean_prediction(model, text.batches),
        )
    return lens, text, errors


def prompts_of(
    model: HookedTransformer, settings: LensSettings, task: Task | None
) -> Task | Int[Tensor, "prompt pos"]:
    """What is read: the task, or the text."""
    return tokens_of_text(model, settings.text or "") if task is None else task


def _grids(
    model: HookedTransformer,
    prompts: Task | Int[Tensor, "prompt pos"],
    settings: LensSettings,
    lens: TunedLens | None,
) -> tuple[LensGridView, ...]:
    """The first prompts, read at every position, by each lens."""
    rows = []
    if isinstance(prompts, Task):
        for tokens, length in zip(prompts.clean, prompts.lengths.tolist(), strict=True):
            rows.append(tokens[:length])
            if len(rows) == settings.n_shown:
                break
    else:
        rows = [prompts[0]]
    found = []
    for at, row in enumerate(rows):
        title = f"Prompt {at + 1}" if len(rows) > 1 else "The text"
        answer = int(prompts.correct[at]) if isinstance(prompts, Task) else None
        # END's own target is the answer: it is put behind the prompt, and read of nothing.
        whole = row if answer is None else torch.cat([row, row.new_tensor([answer])])
        whole = whole[: model.cfg.n_ctx]
        plain = logit_lens(model, whole[None], mid=settings.mid, top=settings.top)
        found.append(_grid(model, plain, len(row), f"{title}, logit lens"))
        if lens is not None:
            tuned = lens.read(model, whole[None], top=settings.top)
            found.append(_grid(model, tuned, len(row), f"{title}, tuned lens"))
    return tuple(found)


def _grid(
    model: HookedTransformer, readings: LensReadings, length: int, title: str
) -> LensGridView:
    """One prompt's readings as a grid, the last layer at the top."""

    def words(tokens: np.ndarray) -> list[str]:
        return [_word(model, int(token)) for token in tokens]

    here = (slice(None, None, -1), 0, slice(0, length))  # [point, read], upside down
    return LensGridView(
        tokens=words(readings.tokens[0, :length]),
        row_labels=readings.points[::-1],
        top_tokens=[[words(cell) for cell in row] for row in readings.top_tokens[here]],
        top_probabilities=readings.top_probabilities[here],
        targets=words(readings.followed["target"][0, :length]),
        target_probability=readings.probability("target")[here],
        target_rank=readings.rank["target"][here],
        entropy=readings.entropy[here],
        title=title,
    )


def words_of(model: HookedTransformer, components: ComponentReadings) -> dict[int, str]:
    """The text of each token that a part promotes or suppresses in the first prompt."""
    found = np.concatenate(
        [tokens[:, 0].ravel() for tokens in (components.top_tokens, components.bottom_tokens)]
    )
    return {int(token): _word(model, int(token)) for token in np.unique(found)}


def _word(model: HookedTransformer, token: int) -> str:
    """A token's text, its number where the model has no tokenizer; nothing for none."""
    if token < 0:
        return ""
    return str(token) if model.tokenizer is None else model.to_single_str_token(token)
