"""What all discovery methods ask for."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from ...patching.effects import Mode


@dataclass(frozen=True)
class DiscoverySettings:
    """How large the circuit shall be, and how it is looked for.

    Give `n_edges` or `threshold`; with neither, every edge stays whose score is at least 0.02.
    """

    n_edges: int | None = None
    """How many edges the circuit shall have."""
    threshold: float | None = None
    """The smallest score that stays, of either sign, in the method's unit."""
    mode: Mode = "noising"
    """noising: what is lost where an edge carries the corrupted prompt's value. denoising: what
    the clean value brings back. For methods that intervene or estimate what intervening does."""
    seed: int = 0
    """Of whatever is drawn."""
    max_memory: int | None = None
    """Bytes that may be used beside the weights; None means a quarter of what is free."""

    def __post_init__(self) -> None:
        if self.n_edges is not None and self.threshold is not None:
            raise ValueError(
                "give n_edges or threshold, not both: each says how large it shall be."
            )

    def described(self) -> dict[str, Any]:
        """The settings as plain values, without those that change no result."""
        found = dataclasses.asdict(self)
        del found["max_memory"]
        return found


def no_progress(share: float) -> None:
    """Says nothing."""
