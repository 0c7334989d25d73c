"""`run_calibrate`: try every method on every known model, and save the run with its report."""

from __future__ import annotations

import dataclasses
from typing import Any

from ... import files
from ...findings import RunFolder
from ...views.calibration_data import CalibrationReportData
from ...views.calibration_report import calibration_report
from ...views.calibration_text import CONTROL, findings, markdown
from ..saving import FinishedRun, asked_for, origin
from ..steps import Show, Steps, Tell
from .marked_table import check_marks, write_between_marks
from .settings import CalibrateSettings
from .study import calibrate_all


def run_calibrate(
    settings: CalibrateSettings,
    show: Show = lambda name, share: None,
    tell: Tell = lambda line: None,
) -> FinishedRun:
    """Try the methods on circuits that are known, and save what they found and missed.

    Args:
        settings: methods, models, bases, sharpness, where to save.
        show: told how far each step is.
        tell: told what is worth knowing before the work begins; here nothing.

    Raises:
        ValueError: `table` is no file, or has no marks to write between.

    Example:
        >>> finished = run_calibrate(CalibrateSettings(methods=("eap",), seeds=1))
        >>> finished.folder / "report.html"
    """
    if settings.table is not None:
        check_marks(settings.table)
    with RunFolder.create(settings.out, settings.command, settings) as run:
        found = calibrate_all(settings, Steps(run, show))
        run.describe_model("known", found.digest)
        described = {**asked_for(settings), **origin(run.record, "cpu")}
        timings = {**run.timings, "all": run.record["seconds"]}
        data = CalibrationReportData(found.trials, described, timings)
        summary = findings(data)
        table = markdown(data)
        run.save_results({"summary": summary, **_numbers(data)})
        files.write_text(run.file("table.md"), table + "\n")
        run.save_report(calibration_report(data).html())
    if settings.table is not None:
        write_between_marks(settings.table, table)
    return FinishedRun(run.path, summary)


def _numbers(data: CalibrationReportData) -> dict[str, Any]:
    """What results.json holds: cells of the tables, the edges that went wrong, and each trial but
    the control's, which are many and alike."""
    return {
        "methods": [
            {"sharpness": sharpness, **dataclasses.asdict(data.cell(method, sharpness))}
            for sharpness in data.sharpnesses
            for method in data.methods
        ],
        "tasks": [
            {
                "sharpness": sharpness,
                "model": task[0],
                "corruption": task[1],
                **dataclasses.asdict(data.cell(method, sharpness, task)),
            }
            for sharpness in data.sharpnesses
            for task in data.tasks
            for method in data.methods
        ],
        "faults": [
            {"sharpness": sharpness, **dataclasses.asdict(fault)}
            for sharpness in data.sharpnesses
            for fault in data.faults(sharpness)
        ],
        "trials": [trial.row() for trial in data.trials if trial.found.method != CONTROL],
    }
