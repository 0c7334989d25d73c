"""What can be chosen about the Shakespeare study: the options of `cutaway run shakespeare`."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ..checks import check_device, check_least, check_memory, in_bytes

NONE = "none"


@dataclass(frozen=True)
class ShakespeareSettings:
    """All findings on small character models, measured, with no blanks."""

    command: ClassVar[str] = "shakespeare"

    models: tuple[Path, ...] = ()
    """Folders of trained models, one for each seed;
    none: they are trained first."""
    config: str = "shakespeare-small"
    """What to train: a name or a TOML file, as of `cutaway train`."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of the models that are trained."""
    n_steps: int | None = None
    """Training steps; None means those of the configuration."""
    data: Path | None = None
    """A text file; None means that of the configuration."""
    n_prompts: int = 200
    """Prompts of every test of induction."""
    n_windows: int = 200
    """Stretches of held-out text that lens and n-grams read."""
    order: int = 5
    """The highest order of the n-gram models."""
    lens_steps: int = 400
    """Training steps of the tuned lens; 0 leaves it out."""
    n_random: int = 20
    """Random sets of heads beside every set that is taken out."""
    sizes: tuple[str, ...] = ("1x64", "2x32", "2x64", "2x128", "4x64")
    """Layers x width of the models of the sweep over sizes; none leaves it out."""
    size_steps: int = 2000
    """Training steps of each of them."""
    quick: bool = False
    """A first look: few prompts, short training; the numbers mean little."""
    seed: int = 0
    """Of prompts, random heads and intervals."""
    device: str = "cpu"
    """Where the models run: cpu, cuda, or mps."""
    max_memory_gib: float | None = None
    """Memory that patching may use; None: a quarter of what is free."""
    out: Path = Path("runs")
    """The folder that the run's own folder is made in."""

    def __post_init__(self) -> None:
        least = {"n_prompts": 8, "n_windows": 4, "n_random": 1, "size_steps": 1, "order": 2}
        check_least(self, least)
        if self.lens_steps < 0 or (self.n_steps is not None and self.n_steps < 1):
            raise ValueError(f"lens_steps={self.lens_steps} and n_steps={self.n_steps} are counts.")
        if not self.models and not self.seeds:
            raise ValueError("there are neither models nor seeds: give one of them.")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds={' '.join(map(str, self.seeds))}: give each once.")
        check_device(self.device)
        check_memory(self.max_memory_gib)
        self.shapes  # noqa: B018 (says what is wrong with them)

    @property
    def max_memory(self) -> int | None:
        """`max_memory_gib` in bytes."""
        return in_bytes(self.max_memory_gib)

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """(layers, width) of the sweep over sizes.

        Raises:
            ValueError: a size that is not written as 2x64.
        """
        found = []
        for size in self.sizes:
            if size == NONE:
                continue
            layers, _, width = size.partition("x")
            if not (layers.isdigit() and width.isdigit() and int(layers) and int(width)):
                raise ValueError(
                    f"sizes={size!r} is no size: write layers x width, as 2x64, or none."
                )
            found.append((int(layers), int(width)))
        return tuple(found)

    def made_quick(self) -> ShakespeareSettings:
        """What `quick` asks for: the same study with little of everything."""
        if not self.quick:
            return self
        return dataclasses.replace(
            self,
            n_steps=min(self.n_steps or 100, 100),
            n_prompts=min(self.n_prompts, 24),
            n_windows=min(self.n_windows, 8),
            lens_steps=min(self.lens_steps, 10),
            n_random=min(self.n_random, 5),
            sizes=self.sizes[:1],
            size_steps=min(self.size_steps, 20),
        )
