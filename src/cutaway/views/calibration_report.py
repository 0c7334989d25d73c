"""The page of `cutaway calibrate`: from all trials to one HTML file."""

from __future__ import annotations

from . import calibration_text as text
from .bars import Bar, BarsView
from .calibration_data import CalibrationReportData
from .key_numbers import KeyNumber, KeyNumbers
from .layout import Disclosure, Items, Note, Section
from .numbers import number
from .origin_section import how_it_was_made
from .page import Page
from .table import Cell, Column, Share, TableView
from .view import Part

REFERENCES = (
    "Conmy et al. 2023, Towards Automated Circuit Discovery: ACDC, and ROC curves over edges of "
    "compiled models.",
    "Syed, Rager and Conmy 2023; Hanna, Pezzelle and Belinkov 2024: EAP and EAP-IG.",
    "Cao, Sanh and Rush 2021; Bhaskar et al. 2024: learned masks.",
    "Hanley and McNeil 1982, The meaning and use of the area under a ROC curve.",
)


def calibration_report(data: CalibrationReportData) -> Page:
    """The report of the calibration.

    Args:
        data: all trials.

    Example:
        >>> calibration_report(data).html()  # doctest: +SKIP
    """
    models = tuple(dict.fromkeys(model for model, _ in data.tasks))
    page = Page(
        "Methods on circuits that are known",
        "Which discovery methods find the edges of models that we wrote ourselves, and where does "
        "each go wrong?",
        facts=(
            ("models", f"{len(models)}, {_times('basis', 'bases', data.n_seeds)} each"),
            ("tasks", str(len(data.tasks))),
            ("methods", str(len(data.methods))),
            ("trials", f"{len(data.trials):,}"),
        ),
        footer="Written by Cutaway. This file needs no network and fetches nothing.",
    )
    page.add(_in_short(data))
    page.add(*(_at(data, sharpness) for sharpness in data.sharpnesses))
    page.add(_misleads(data), _method(data))
    return page


def _times(one: str, many: str, n: int) -> str:
    return f"{n} {one if n == 1 else many}"


def _in_short(data: CalibrationReportData) -> Section:
    first = data.sharpnesses[0]
    numbers = tuple(
        KeyNumber(method, data.cell(method, first).auroc.mean, "mean AUROC", digits=text.DIGITS)
        for method in data.methods
    )
    return Section(
        "In short",
        f"The area under the ROC curve, at sharpness {first:g}: the chance that an edge which the "
        "task can reveal is ranked above one that it cannot. A guess has 0.5.",
        KeyNumbers(numbers),
        Items(text.findings(data)),
    )


def _at(data: CalibrationReportData, sharpness: float) -> Section:
    return Section(
        f"Sharpness {sharpness:g}",
        _bars(data, sharpness),
        _summary(data, sharpness),
        _by_task(data, sharpness),
        _by_task(data, sharpness, precision=True),
        _faults(data, sharpness),
        Disclosure("The largest scores that are wrong", _extremes(data, sharpness)),
        anchor=f"sharpness-{sharpness:g}".replace(".", "-"),
    )


def _bars(data: CalibrationReportData, sharpness: float) -> BarsView:
    bars = []
    for method in data.methods:
        cells = [data.cell(method, sharpness, task).auroc.mean for task in data.tasks]
        names = [
            f"{text.task_name(task)}: {number(value, text.DIGITS)}"
            for task, value in zip(data.tasks, cells, strict=True)
        ]
        mean = data.cell(method, sharpness).auroc.mean
        bars.append(Bar(method.replace("-", "\u2011"), mean, "", cells, names))
    return BarsView(
        tuple(bars),
        title="How well the edges of the circuit are ranked",
        caption="Means over tasks and bases. 1: every detectable edge above every other. 0.5: a "
        "guess.",
        value_label="AUROC",
        digits=text.DIGITS,
        dots_name="one task",
    )


def _summary(data: CalibrationReportData, sharpness: float) -> TableView:
    heads = [
        Column(name, "left" if i == 0 else "right") for i, name in enumerate(text.SUMMARY_HEADS)
    ]
    return TableView(
        heads,
        text.summary_rows(data, sharpness),
        title="All tasks together",
        caption="Means over tasks and bases, with the lowest and the highest. Of written: AUROC of "
        "all edges in the weights, of which a task reveals only some. Missed: an importance below "
        "1% of the exact effect. Own circuit: what the method chose itself, by its own threshold. "
        "Seconds: median of one task.",
    )


def _by_task(data: CalibrationReportData, sharpness: float, precision: bool = False) -> TableView:
    rows: list[list[Cell]] = []
    for task in data.tasks:
        detectable, edges = data.sizes(task)
        row: list[Cell] = [text.task_name(task), f"{detectable} of {edges}"]
        for method in data.methods:
            cell = data.cell(method, sharpness, task)
            row.append(Share((cell.precision if precision else cell.auroc).mean))
        rows.append(row)
    what = "Precision and recall at the true size" if precision else "AUROC of each task"
    guess = "A guess has the share of detectable edges." if precision else "A guess has 0.5."
    return TableView(
        ("task", Column("edges", "right"), *data.methods),
        rows,
        title=what,
        caption=f"To two decimals, so that 1.00 may be 0.998. Means over "
        f"{_times('basis', 'bases', data.n_seeds)}; of the control also over draws. Edges: how "
        f"many the task can reveal, of all edges. {guess}",
    )


def _faults(data: CalibrationReportData, sharpness: float) -> Part:
    faults = data.faults(sharpness)
    if not faults:
        return Note("finding", "No detectable edge is missed, and none has the wrong sign.")
    table = TableView(
        (
            "method",
            "task",
            "edge",
            Column("exact", "right", 3),
            Column("score", "right", 3),
            "fault",
        ),
        [
            (one.method, text.task_name(one.task), one.edge, one.exact, one.score, one.kind)
            for one in faults
        ],
        caption="In the first basis. Methods whose scores have no sign and are no effects are left "
        "out. Missed: the score is below 1% of the exact effect.",
    )
    n = len(faults)
    return Disclosure(f"{n} edges missed or of the wrong sign", table)


def _extremes(data: CalibrationReportData, sharpness: float) -> TableView:
    rows: list[list[Cell]] = []
    for method in data.methods:
        if method == text.CONTROL:
            continue
        task, ratio = data.largest_ratio(method, sharpness)
        found = data.largest_outside(method, sharpness)
        outside: list[Cell] = ["none", None, ""]
        if found is not None:
            outside = [found[1], found[2], text.task_name(found[0])]
        is_effect = data.cell(method, sharpness).n_wrong is not None
        overrated: list[Cell] = [ratio, text.task_name(task)] if is_effect else [None, ""]
        rows.append([method, *overrated, *outside])
    return TableView(
        (
            "method",
            Column("largest score / exact", "right"),
            "in",
            "largest score of another edge",
            Column("score", "right", 3),
            "in",
        ),
        rows,
        caption="Left: by how much a detectable edge is overrated at most, where scores are "
        "effects. Right: the most "
        "important edge that the task cannot reveal, above rounding; at a soft attention some have "
        "small true effects.",
    )


def _misleads(data: CalibrationReportData) -> Section:
    return Section(
        "Where each goes wrong",
        Items(tuple(f"{method} {text.MISLEADS[method]}" for method in data.methods)),
        Note(
            "caution",
            "These models are clean: one head, one job, no MLPs, no norms. A method that fails "
            "here will not be better on a trained model; one that succeeds here may still fail "
            "there.",
        ),
    )


def _method(data: CalibrationReportData) -> Section:
    return how_it_was_made(
        data.settings,
        data.timings,
        Disclosure(
            "How the figures are computed",
            "Edges are ranked by the size of their score, of either sign; a learned gate by how "
            "far it is open. Sizes below 1e-5 of the difference between clean and corrupted are "
            "0, and those that agree in four digits tie: in float32 an edge that is missed gets "
            "rounding instead of 0, and equal effects differ in the sixth digit.",
            "AUROC counts all pairs of a detectable edge and another one, ties as one half. "
            "Precision is the share of detectable edges among as many of the highest ranked as "
            "there are detectable ones, of ties the mean over all choices; recall is then the same "
            "number.",
            "A sign is wrong if the score has the other sign than the exact effect, and is larger "
            "than rounding. Each method has its own default settings.",
        ),
        references=REFERENCES,
    )
