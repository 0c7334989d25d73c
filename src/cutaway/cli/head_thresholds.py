"""`cutaway calibrate heads`: set the thresholds that heads are named by, and write them down."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from ..experiments.heads.settings import CalibrateHeadsSettings


def calibrate(settings: CalibrateHeadsSettings, console: Console) -> None:
    """`cutaway calibrate heads`."""
    from ..experiments.heads.calibration import calibrate_heads

    thresholds = calibrate_heads(settings)
    thresholds.save(settings.out)
    console.print("class            threshold  without  with  found     false")
    for name, one in thresholds.of.items():
        wrong = [one.false, *(false for false, _ in one.random.values())]
        of = [one.n_without, *(n for _, n in one.random.values())]
        console.print(
            f"{name:<17}{one.value:>9.2f}{one.highest_negative:>9.2f}{one.lowest_positive:>6.2f}"
            f"{one.found:>4} of {one.n_with:<3}{sum(wrong):>4} of {sum(of)}"
        )
    console.print(f"saved in {settings.out}", soft_wrap=True)
