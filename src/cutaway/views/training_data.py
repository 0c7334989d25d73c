"""What the report of `cutaway train` is made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..evidence import Interval


@dataclass(frozen=True, eq=False)
class TrainingReportData:
    """A finished training run."""

    model: str
    """Its name."""
    n_parameters: int
    d_vocab: int
    step: int
    """After which the model is kept."""
    n_steps: int
    """Steps that were done."""
    n_tokens: int
    """Tokens that were read in training, counting each time."""
    held_out: Interval
    """The model's loss on all held-out sequences, in nats per token."""
    controls: Mapping[str, Interval]
    """Losses on the same sequences: of counting ("unigram", "bigram"), of the fresh model."""
    training: Sequence[tuple[int, float]]
    """(step, mean training loss since the point before)."""
    measured: Sequence[tuple[int, Interval]]
    """(step, loss on some held-out sequences)."""
    tokens_per_second: float
    """Median over the reports of this session; 0 where nothing was left to do."""
    accuracy: Interval | None = None
    """Of held-out tokens that follow from what stands before them: how often it is right."""
    known_loss: Interval | None = None
    """The loss on the same tokens."""
    accuracies: Sequence[tuple[int, Interval]] = ()
    """(step, accuracy on some held-out sequences)."""
    samples: Sequence[str] = ()
    """What the model writes, its prompt first."""
    prompt: str = ""
    kept: Sequence[int] = ()
    """Steps whose model was kept."""
    notes: Mapping[str, str] = field(default_factory=dict)
    """What else was measured, in words."""
    about: Mapping[str, str] = field(default_factory=dict)
    """Facts about the data."""
    settings: Mapping[str, str] = field(default_factory=dict)
    timings: Mapping[str, float] = field(default_factory=dict)
