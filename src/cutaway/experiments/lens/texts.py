"""The tokens that lenses read and are trained on: a text, a corpus, a file, kinds of input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from ...model.transformer import HookedTransformer
from ...tasks import ioi
from ...tasks.task import Task
from ...training import induction_corpus
from ..texts import corpus_of, pieces_of_file

TRAIN_SEED, TEST_SEED = 101, 102
"""Of the embedded models' corpora; the models themselves were trained on seed 0."""
_N_TEST = 64  # sequences that lenses are tested on
_LENGTH = 128  # tokens of a sequence of a file, or the model's context where it is shorter
_TESTED = 0.1  # share of a file that is not trained on
_FEWEST = 10  # sequences of a file

Sequences = Callable[[int, int], Tensor]
"""(first, how many) -> tokens [sequence, pos]."""


@dataclass(frozen=True)
class TrainingText:
    """What a tuned lens is trained and tested on."""

    batches: Callable[[int], Tensor]
    """step -> tokens [batch, pos]."""
    held_out: Int[Tensor, "sequence pos"]
    """What it is tested on, none of it trained on."""
    name: str
    """Where it comes from, in words."""


def training_text(model: HookedTransformer, data: Path | None, batch_size: int) -> TrainingText:
    """The corpus of an embedded model, or a text file.

    Raises:
        ValueError: no file for a model without a corpus; a file that is missing, no text, too
            short, or of other words.
    """
    name = model.cfg.model_name
    if data is None:
        train, test = corpus_of(model, TRAIN_SEED), corpus_of(model, TEST_SEED)
        if train is None or test is None:
            raise ValueError(
                f"{name} has no corpus of its own to train a lens on: give a text file with --data."
            )
        return TrainingText(
            lambda step: train.sequences(step * batch_size, batch_size),
            test.sequences(0, _N_TEST),
            f"the training text of {name}, from other seeds than the model's",
        )
    rows = pieces_of_file(model, data, min(_LENGTH, model.cfg.n_ctx), _FEWEST)
    n_test = max(2, min(_N_TEST, round(_TESTED * len(rows))))
    train_rows = rows[:-n_test]

    def batches(step: int) -> Tensor:
        rng = np.random.default_rng([0, step])
        chosen = rng.integers(len(train_rows), size=min(batch_size, len(train_rows)))
        return train_rows[torch.from_numpy(chosen)]

    return TrainingText(batches, rows[-n_test:], f"{data.name}, the last {n_test} pieces held out")


@dataclass(frozen=True)
class Inputs:
    """Kinds of input to compare."""

    prompts: dict[str, Task | Tensor]
    positions: dict[str, Bool[Tensor, "prompt pos"]]
    """Where to read kinds that are tokens."""
    explanation: str
    """What the kinds are, in words."""


def kinds_of_input(model: HookedTransformer, n_prompts: int, seed: int) -> Inputs:
    """What an embedded model has seen, and what is new to it.

    Raises:
        ValueError: a model of which nobody here knows what it has seen.
    """
    name = model.cfg.model_name
    if name == "induction-2l":
        return _of_induction(n_prompts, seed)
    if name == "ioi-mini":
        return Inputs(
            {
                "seen": ioi(model, n_prompts, seed=seed, templates="train", pairs="seen"),
                "new pairs": ioi(model, n_prompts, seed=seed, templates="train", pairs="held-out"),
                "new sentences": ioi(
                    model, n_prompts, seed=seed, templates="held-out", pairs="seen"
                ),
            },
            {},
            "Seen: sentences and pairs of names of the training text. New pairs: names that never "
            "met in it. New sentences: held out of it. All read at END.",
        )
    raise ValueError(
        f"--inputs is of the embedded models, whose training text is known, and {name} is none: "
        "in Python, compare_inputs takes any tokens."
    )


def _of_induction(n_prompts: int, seed: int) -> Inputs:
    corpus = induction_corpus.Corpus(seed=TEST_SEED)
    kinds = {
        "memorised": corpus.memorised(n_prompts, seed),
        "repeated": corpus.repeated(n_prompts, seed),
        "novel": corpus.novel(n_prompts, seed),
    }
    positions = {}
    for name, kind in kinds.items():
        where = torch.zeros_like(kind.known)
        where[:, :-1] = kind.known[:, 1:] if kind.known.any() else True
        positions[name] = where  # one place before each token that can be known
    return Inputs(
        {name: kind.tokens for name, kind in kinds.items()},
        positions,
        "Memorised: sayings of the training text. Repeated: random words, the second time. Novel: "
        "words drawn one from the other, never the same twice. Read before each token that can be "
        "known, of novel text before every token.",
    )
