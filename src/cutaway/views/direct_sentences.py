"""What direct attribution says in words. Every sentence is chosen by a stated rule."""

from __future__ import annotations

import numpy as np

from ..attribution.contributions import Contribution
from ..evidence import LEAST_EFFECT
from .direct_data import DirectReportData
from .numbers import interval_text, number, percent

N_NAMED = 5  # components with a sentence of their own
_N_SOURCES = 3
_FEW_PROMPTS = 20
_STANDS_OUT = 0.5  # a control's largest mean, as a share of the answer's own


def findings(data: DirectReportData) -> tuple[str, ...]:
    """What was found: the sum, how many components matter, the largest, the controls."""
    found = [total(data), count(data), *(component(data, one) for one in data.matter[:N_NAMED])]
    found += [control(data)]
    found += sources(data)
    if data.gap is not None:
        found.append(gap(data))
    return tuple(found)


def total(data: DirectReportData) -> str:
    """What is taken apart, and that it was."""
    n = len(data.direct.components)
    return (
        f"Over {data.total.n} prompts the {data.direct.answer} is {interval_text(data.total)}; its "
        f"{n:,} components add up to it in every prompt (largest error {data.largest_error:.0e})."
    )


def count(data: DirectReportData) -> str:
    """How many components matter."""
    matter = f"{len(data.matter):,} of the {len(data.direct.components):,} components matter"
    against = sum(one.value.estimate * data.total.estimate < 0 for one in data.matter)
    return f"{matter}, {against or 'none'} of them against the sign of the whole."


def rule() -> str:
    """What it takes to matter."""
    return (
        "A component matters if the 95% interval of its mean excludes 0 and the mean exceeds "
        f"{number(LEAST_EFFECT)} of the whole in absolute value."
    )


def component(data: DirectReportData, one: Contribution) -> str:
    """What one component adds or takes."""
    together = {"heads": "All heads together", "MLPs": "All MLPs together"}
    subject = together.get(one.name, one.name)
    verb = "write" if subject.endswith(("together", "biases")) else "writes"
    share = one.value.estimate / data.total.estimate if data.total.estimate else 0.0
    of_whole = f"{percent(share)} of the whole" if share > 0 else "against the whole"
    return f"{subject} {verb} {interval_text(one.value)} logits, {of_whole}."


def control(data: DirectReportData) -> str:
    """The largest means with answers that mean nothing."""
    said = [
        f"with {name} it is {number(size)} ({where})"
        for name, (where, size) in data.largest_control.items()
    ]
    largest = data.largest[0]
    return (
        f"The largest mean is {number(largest.value.estimate)} ({largest.name}); "
        f"{' and '.join(said)}."
    )


def sources(data: DirectReportData) -> list[str]:
    """From where the heads that write most move it."""
    named = data.by_source
    if named is None:
        return []
    said = []
    for head, values in list(zip(named.axes[0].labels, named.mean(), strict=True))[:_N_SOURCES]:
        place = int(np.abs(values).argmax())
        whole = number(float(values.sum()))
        source = named.axes[1].labels[place]
        said.append(f"{head} moves {number(float(values[place]))} of its {whole} from {source}.")
    return said


def gap(data: DirectReportData) -> str:
    """How far what is written is from what is lost."""
    assert data.gap is not None
    worst = data.gap.rows(1, data.seed)[0]
    return (
        f"Over {len(data.gap.heads)} heads, what is written directly correlates with what is lost "
        f"when a head is zeroed by {interval_text(data.gap.correlation(data.seed))}; the largest "
        f"difference is at {worst['head']}: {number(worst['direct'].estimate)} written, "
        f"{number(worst['exact'].estimate)} lost."
    )


def warnings(data: DirectReportData) -> tuple[str, ...]:
    """What is shaky about the numbers as such."""
    found = []
    if data.total.n < _FEW_PROMPTS:
        found.append(
            f"There are only {data.total.n} prompts; intervals from so few are too narrow."
        )
    if data.baseline.accuracy.low <= 0.5:
        found.append(
            "It is not established that the model does the task: the interval of its accuracy "
            "includes one half, or lies below it."
        )
    largest = abs(data.largest[0].value.estimate)
    for name, (where, size) in data.largest_control.items():
        if abs(size) > _STANDS_OUT * largest:
            found.append(
                f"With {name} {where} reaches {number(size)}, more than half of the largest mean: "
                "what it writes is not about these answers."
            )
    return tuple(found)
