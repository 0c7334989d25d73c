"""How probes are fitted, and what stands beside them. Loads neither torch nor numpy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Method = Literal["logistic", "ridge", "gradient"]
Solver = Literal["torch", "sklearn"]
METHODS = ("logistic", "ridge", "gradient")
SOLVERS = ("torch", "sklearn")
_MOST_LOGISTIC = 10  # classes


@dataclass(frozen=True)
class ProbeSettings:
    """How probes are fitted and held against their controls.

    Example:
        >>> ProbeSettings(method="ridge", penalties=(10.0,)).penalties
        (10.0,)
    """

    method: Method | None = None
    """logistic: softmax regression; ridge: least squares (of classes on targets of -1 and 1);
    gradient: softmax regression by Adam, stopped early on the validation prompts. None means
    logistic for up to ten classes, and ridge for more, where logistic regression is slow, and for
    numbers."""
    penalties: tuple[float, ...] = (1.0, 10.0, 100.0)
    """Of sum(loss) + penalty / 2 |w|^2 (logistic: 1 / C of scikit-learn) or of
    sum(error^2) + penalty |w|^2 (ridge: alpha). Of several, each place takes the one that is best
    on the validation prompts; method gradient takes the smallest, since it stops early."""
    solver: Solver = "torch"
    """torch solves all places and controls at once; sklearn one after the other."""
    fractions: tuple[float, float, float] = (0.6, 0.2, 0.2)
    """Shares of train, validation and test prompts."""
    n_controls: int = 3
    """Control tasks: labels drawn for each word type."""
    n_shuffles: int = 3
    """Fits with shuffled labels."""
    n_random_models: int = 1
    """Models of the same shape with fresh weights."""
    seed: int = 0
    """Of the split, the controls, the shuffles and the fresh weights."""
    learning_rate: float = 0.05
    """Of method gradient."""
    max_epochs: int = 200
    """Of method gradient: passes over the train prompts at most."""
    patience: int = 10
    """Of method gradient: epochs without a better validation loss before it stops."""

    def __post_init__(self) -> None:
        if self.method is not None and self.method not in METHODS:
            raise ValueError(f"method={self.method!r} is not one of {', '.join(METHODS)}.")
        if self.solver not in SOLVERS:
            raise ValueError(f"solver={self.solver!r} is not one of {', '.join(SOLVERS)}.")
        if self.method == "gradient" and self.solver == "sklearn":
            raise ValueError("method='gradient' is trained by torch: leave solver='torch'.")
        if not self.penalties or not all(penalty > 0 for penalty in self.penalties):
            raise ValueError(
                f"penalties={self.penalties} must be positive numbers, at least one: without a "
                "penalty classes that can be told apart have no finite weights."
            )
        counts = (self.n_controls, self.n_shuffles, self.n_random_models)
        if min(counts) < 0 or self.n_controls == 0:
            raise ValueError(
                f"n_controls={self.n_controls}, n_shuffles={self.n_shuffles}, n_random_models="
                f"{self.n_random_models}: none is negative, and one control task is needed."
            )
        if min(self.max_epochs, self.patience) < 1 or not self.learning_rate > 0:
            raise ValueError("learning_rate, max_epochs and patience must be positive.")

    def method_for(self, n_classes: int) -> Method:
        """The method that is meant, for so many classes (0: numbers)."""
        if n_classes == 0:
            return "ridge"
        if self.method is not None:
            return self.method
        return "logistic" if n_classes <= _MOST_LOGISTIC else "ridge"
