"""The calibration in words: findings by rule, and the tables as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from .calibration_data import CalibrationReportData, Cell, Spread, Task
from .numbers import number

EXACT, CONTROL = "exact-edges", "random"
DIGITS = 3  # with two, one wrong pair of two hundred would read as 1.00

MISLEADS = {
    "exact-edges": "patches one edge at a time, so of two edges that can each do the work alone "
    "noising shows neither; under denoising other edges can be seen than these.",
    "exact-nodes": "finds the right heads and gives every edge between two of them the same score: "
    "edges between right nodes that carry nothing are ranked with those that do.",
    "acdc": "judges an edge by what is left when its turn comes. Of two edges that are each needed "
    "only while the other is clean it takes one out and keeps the other; which one, its order "
    "decides.",
    "eap": "takes the gradient at one end, where a saturated softmax has no slope: edges into "
    "queries and keys, and all that reaches the answer through them, get about 0.",
    "eap-ig": "samples a few points between the two runs. A jump between them is missed, and a "
    "point on the jump is counted as if its slope held for a whole step.",
    "edge-masks": "learns by the same gradients: where a softmax is saturated nothing pulls a gate "
    "open again once the price has closed it.",
    "random": "is drawn, and expected to reach 0.5.",
}


def findings(data: CalibrationReportData) -> tuple[str, ...]:
    """What was found, each sentence by a rule and with its numbers: one for each method."""
    return tuple(_exact(data) if method == EXACT else _one(data, method) for method in data.methods)


def _exact(data: CalibrationReportData) -> str:
    cells = [data.cell(EXACT, sharpness) for sharpness in data.sharpnesses]
    n_missed = sum(cell.n_missed for cell in cells)
    n_wrong = sum(cell.n_wrong or 0 for cell in cells)
    least = min(cell.auroc.low for cell in cells)
    where = f"{len(data.tasks)} tasks in {_bases(data.n_seeds)}, sharpness {_at(data)}"
    if least == 1 and not n_missed and not n_wrong:
        return f"{EXACT} finds every detectable edge ({where}): AUROC 1 throughout, no sign error."
    return (
        f"{EXACT} does NOT find every detectable edge ({where}): AUROC down to {least:.3f}, "
        f"{n_missed} missed, {n_wrong} wrong signs. Either the known answer is wrong or the method "
        "is."
    )


def _one(data: CalibrationReportData, method: str) -> str:
    cells = [data.cell(method, sharpness) for sharpness in data.sharpnesses]
    aurocs = _and(spread_text(cell.auroc) for cell in cells)
    said = f"{method}: AUROC {aurocs} at sharpness {_at(data)}"
    if method == CONTROL:
        return f"{said}, which is a guess."
    missed = _and(str(cell.n_missed) for cell in cells)
    said += f"; {missed} of {cells[0].n_detectable} detectable edges missed"
    if cells[0].n_wrong is None:
        return f"{said}, signs not known."
    return f"{said}, {_and(str(cell.n_wrong) for cell in cells)} with the wrong sign."


def _at(data: CalibrationReportData) -> str:
    return _and(f"{sharpness:g}" for sharpness in data.sharpnesses)


def _and(words: Iterable[str]) -> str:
    """What holds at each sharpness, said once where it is the same at all."""
    *first, last = dict.fromkeys(words)
    return f"{', '.join(first)} and {last}" if first else last


def _bases(n: int) -> str:
    return f"{n} bases" if n > 1 else "one basis"


# ---- Markdown ----


def markdown(data: CalibrationReportData) -> str:
    """All tables, under a heading for each sharpness."""
    parts = []
    for sharpness in data.sharpnesses:
        parts += [
            f"### Sharpness {sharpness:g}",
            _markdown_table(SUMMARY_HEADS, summary_rows(data, sharpness)),
            "AUROC of each task:",
            _by_task(data, sharpness, lambda cell: cell.auroc),
            "Precision, which is recall, at the true size:",
            _by_task(data, sharpness, lambda cell: cell.precision),
        ]
    return "\n\n".join(parts)


SUMMARY_HEADS = (
    "method",
    "AUROC",
    "of written",
    "precision = recall",
    "missed",
    "wrong signs",
    "own circuit",
    "seconds",
)


def summary_rows(data: CalibrationReportData, sharpness: float) -> list[tuple[str, ...]]:
    """One row of text for each method, over all tasks and bases."""
    return [_summary(data.cell(method, sharpness)) for method in data.methods]


def _summary(cell: Cell) -> tuple[str, ...]:
    is_control = cell.method == CONTROL
    kept = "" if cell.n_kept is None else f"{cell.n_kept_right} of {cell.n_kept} right"
    signs = "no sign" if cell.n_wrong is None else f"{cell.n_wrong} of {cell.n_detectable}"
    return (
        cell.method,
        spread_text(cell.auroc),
        number(cell.auroc_written.mean, DIGITS),
        spread_text(cell.precision),
        "" if is_control else f"{cell.n_missed} of {cell.n_detectable}",
        signs,
        kept,
        seconds_text(cell.seconds),
    )


def task_name(task: Task) -> str:
    """Model and corruption.

    Example:
        >>> task_name(("ioi", "abc"))
        'ioi / abc'
    """
    return " / ".join(task)


def spread_text(spread: Spread) -> str:
    """A mean, with the range that it is the mean of where there is one.

    Example:
        >>> spread_text(Spread(0.7, 0.5, 1.0)), spread_text(Spread(1.0, 1.0, 1.0))
        ('0.700 (0.500–1.000)', '1.000')
    """
    if spread.is_one_value:
        return number(spread.mean, DIGITS)
    ends = f"{number(spread.low, DIGITS)}–{number(spread.high, DIGITS)}"
    return f"{number(spread.mean, DIGITS)} ({ends})"


def seconds_text(seconds: float) -> str:
    """Seconds with two significant digits.

    Example:
        >>> seconds_text(3.14159), seconds_text(0.00012)
        ('3.1', '<0.001')
    """
    return f"{seconds:.2g}" if seconds >= 1e-3 else "<0.001"


def _by_task(data: CalibrationReportData, sharpness: float, of: Callable[[Cell], Spread]) -> str:
    rows = []
    for task in data.tasks:
        detectable, edges = data.sizes(task)
        cells = [spread_text(of(data.cell(m, sharpness, task))) for m in data.methods]
        rows.append((task_name(task), f"{detectable} of {edges}", *cells))
    return _markdown_table(("task", "edges", *data.methods), rows)


def _markdown_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    marks = [":--", *["--:"] * (len(heads) - 1)]
    lines = [heads, marks, *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
