"""What can be chosen about the audit of memory: the options of `cutaway audit kv`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from ..checks import check_device


@dataclass(frozen=True)
class AuditKvSettings:
    """Count the bytes that a model's caches really hold, beside what formulas say."""

    command: ClassVar[str] = "audit-kv"

    model: str = "ioi-mini"
    """An embedded model, a folder, or a name on the
    Hugging Face Hub such as gpt2."""
    shape_only: bool = False
    """Foretell only, from the configuration: no weights.
    The model is then a well-known name (gpt2-xl,
    pythia-6.9b, llama-3-8b) or a folder's config.json."""
    n_tokens: int | None = None
    """How far the sequence grows; left out: the context."""
    batch: int = 1
    """Sequences."""
    dtype: Literal["float32", "float64", "float16", "bfloat16"] = "float32"
    """Number format of weights and caches."""
    chunk: int | None = None
    """New tokens in a call; left out: in 16 calls."""
    n_single: int = 32
    """Tokens that also come one at a time, and with
    other kinds of cache."""
    n_cached: int = 64
    """Tokens whose activations are cached by name."""
    memory_gib: float | None = None
    """What has to fit; left out: what is free now."""
    device: str = "cpu"
    """Where the model runs: cpu, cuda, or mps."""
    seed: int = 0
    """Of the tokens, which are random."""
    out: Path = Path("runs")
    """The folder that the run's own folder is made in."""

    def __post_init__(self) -> None:
        for name in ("n_tokens", "batch", "chunk", "n_single", "n_cached"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name}={value} is too few: at least 1.")
        if self.memory_gib is not None and not self.memory_gib > 0:
            raise ValueError(f"memory_gib={self.memory_gib} is not positive.")
        check_device(self.device)
        if self.seed < 0:
            raise ValueError(f"seed={self.seed} is negative.")
