"""Commands that run a study: its bars, its findings, where its report is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .printing import print_finished, print_path

if TYPE_CHECKING:
    from rich.console import Console

    from ..experiments.saving import FinishedRun
    from ..experiments.training.settings import TrainCommandSettings

Study = Callable[[Any, Callable[[str, float], None], Callable[[str], None]], "FinishedRun"]
"""(settings, show, tell) -> FinishedRun"""


def run_study(study: Study, settings: Any, console: Console) -> None:
    """Run a study with bars in the terminal, and print what it found.

    Args:
        study: called with the settings, a function that is told how far each step is, and one that
            is told what is worth knowing before the work begins.
        settings: of the study; a field `device` is checked first.
        console: the terminal.
    """
    from ..experiments.terminal import progress_bars, stopped_by_signal

    def tell(line: str) -> None:
        console.print(line, soft_wrap=True, markup=False)

    check_device(getattr(settings, "device", "cpu"))
    with stopped_by_signal(), progress_bars(console) as show:
        finished = study(settings, show, tell)
    print_finished(finished, console)


def train(settings: TrainCommandSettings, console: Console) -> None:
    """`cutaway train`."""
    from ..experiments.training.run import run_training

    check_device(settings.device)
    finished = run_training(settings, console)
    if finished is not None:
        print_finished(finished, console)
        print_path("use it with   --model ", finished.folder, console)


def check_device(device: str) -> None:
    """Refuse a GPU that torch does not see, before anything is made for the run."""
    import torch

    kind = device.split(":")[0]
    seen = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if not seen[kind]:
        raise ValueError(f"device={device!r}: torch {torch.__version__} sees no such device here.")
