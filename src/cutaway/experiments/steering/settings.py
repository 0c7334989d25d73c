"""What can be chosen about steering: the options of `cutaway steer`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from ..task_settings import TaskSettings


@dataclass(frozen=True)
class SteerSettings(TaskSettings):
    """Push the model towards another answer, and measure what that does and what it costs."""

    command: ClassVar[str] = "steer"

    method: Literal["embedding", "unembedding", "pair", "mean"] = "embedding"
    """Where the vector comes from. embedding, unembedding:
    target minus answer, as rows of W_E or columns of W_U;
    pair: one text minus another (ActAdd);
    mean: the mean of some texts minus that of others (CAA)."""
    target: str = "third"
    """What it should say. third: the answer of another prompt
    that this one does not hold (of ioi a third name);
    wrong: the task's wrong answer (of ioi the subject);
    or one token for all prompts, such as " Paul"."""
    plus: tuple[str, ...] = ()
    """Of pair one text, of mean several, of what is wanted;
    of mean none given: prompts whose answer is the target."""
    minus: tuple[str, ...] = ()
    """The same of what is not wanted; of mean none given:
    prompts with other answers."""
    positions: tuple[str, ...] = ()
    """Where it is added, each in turn: names, indices, all;
    none given: the task's first name (of ioi IO), END, all."""
    layers: tuple[int, ...] = ()
    """Which layers, one at a time; none given means all."""
    coefficients: tuple[float, ...] = (-1.0, 0.25, 0.5, 1.0, 2.0, 4.0)
    """How much; 1 is the mean norm of the stream there."""
    site: Literal["resid_pre", "resid_mid", "resid_post"] = "resid_pre"
    """Where in a layer."""
    operation: Literal["add", "set"] = "add"
    """add: it is added; set: the component along it is given
    that size, whatever it was (0 removes it)."""
    unit: Literal["residual", "own"] = "residual"
    """own: a coefficient of 1 adds the vector as it is."""
    n_random: int = 4
    """Random directions of equal norm beside it."""
    data: str = ""
    """A text file whose pieces are the neutral text; none
    given: training text of an embedded model, else prompts."""
    n_neutral: int = 16
    """Neutral texts that the cost is measured on."""
    text: tuple[str, ...] = ()
    """Texts to continue with and without steering;
    none given: the first prompts."""
    new_tokens: int = 8
    """How long the continuations are."""

    def __post_init__(self) -> None:
        super().__post_init__()
        texts = len(self.plus) + len(self.minus)
        if texts and self.method not in ("pair", "mean"):
            raise ValueError(f"--plus and --minus are of pair and mean, not of {self.method}.")
        if self.method == "pair" and (len(self.plus), len(self.minus)) != (1, 1):
            raise ValueError("--method pair needs one --plus and one --minus text.")
        if self.method == "mean" and bool(self.plus) != bool(self.minus):
            raise ValueError("--method mean needs both --plus and --minus texts, or neither.")
        if self.method in ("pair", "mean") and self.target == "third":
            raise ValueError(
                f"--method {self.method} is one vector for all prompts: give --target, one token "
                'such as " Paul", to be measured.'
            )
        if self.method == "mean" and not self.plus and self.target == "wrong":
            raise ValueError(
                "--method mean without --plus needs one token as --target, to choose prompts by."
            )
        for name in ("n_random", "n_neutral", "new_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} is too few: at least 1.")
        if not self.coefficients:
            raise ValueError("the list of coefficients is empty.")
