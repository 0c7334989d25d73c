"""`cutaway sae train`: a study with a progress of its own, which Ctrl-C asks to stop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .printing import print_finished, print_path
from .studies import check_device

if TYPE_CHECKING:
    from rich.console import Console

    from ..experiments.dictionaries.train_settings import SaeTrainSettings


def train(settings: SaeTrainSettings, console: Console) -> None:
    """Train, and say where the dictionaries are."""
    from ..experiments.dictionaries.train import DICTIONARIES, run_sae_train

    check_device(settings.device)
    finished = run_sae_train(settings, console)
    print_finished(finished, console)
    for path in sorted((finished.folder / DICTIONARIES).iterdir()):
        if path.is_dir():
            print_path("read it with  cutaway sae features ", path, console)
