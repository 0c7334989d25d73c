"""The tables of `cutaway heads`: classes, one head, random weights, roles, thresholds."""

from __future__ import annotations

import numpy as np

from ..evidence import Interval
from ..heads.head_classes import ANTI_COPYING, COPYING
from ..heads.roles import ROLES
from ..heads.scores import SCORES
from .heads_data import HeadsReportData
from .numbers import interval_text, number
from .table import Cell, Column, TableView

_MOST_LISTED = 12
_DEFINITIONS = {
    COPYING: "raises the token that it attends to, by its weights",
    ANTI_COPYING: "lowers the token that it attends to, by its weights",
    "name mover": "looks at IO and writes it",
    "negative name mover": "looks at IO and writes against it",
    "S-inhibition": "looks at S2 and tells the name movers' queries",
    "backup name mover": "writes IO when the name movers are taken out",
}


def classes_table(data: HeadsReportData) -> TableView:
    """Every class with its heads."""
    found = data.taxonomy
    rows: list[list[Cell]] = []
    for name in found.flags:
        heads = found.of_class(name)
        more = f" (+{len(heads) - _MOST_LISTED})" if len(heads) > _MOST_LISTED else ""
        definition = SCORES[name].definition if name in SCORES else _DEFINITIONS[name]
        rows.append([name, definition, len(heads), ", ".join(heads[:_MOST_LISTED]) + more or "-"])
    return TableView(
        ("class", "what it does", Column("heads", "right"), "which, the highest score first"),
        rows,
        title="Classes",
        caption="A head can have several classes, or none. It has one if the lower end of the 95% "
        "interval of its score is above the threshold.",
    )


def head_table(data: HeadsReportData, layer: int, head: int) -> TableView:
    """All scores of one head."""
    found = data.taxonomy
    rows: list[list[Cell]] = []
    n = int(found.scores.settings["n_prompts"])
    for name, ends in found.intervals.items():
        value, low, high = (float(one[layer, head]) for one in ends)
        interval = Interval(value, low, high, 0.95, n)
        chance = found.scores.by_chance[name] if SCORES[name].is_share else None
        is_so = "yes" if found.flags[name][layer, head] else ""
        rows.append([name, interval, chance, found.threshold(name), is_so])
    if found.copying is not None:
        is_so = "yes" if found.flags[COPYING][layer, head] else ""
        is_so = ANTI_COPYING if found.flags[ANTI_COPYING][layer, head] else is_so
        rows.append([COPYING, float(found.copying.scores[layer, head]), None, None, is_so])
    roles = ", ".join(
        role for role in ROLES if role in found.flags and found.flags[role][layer, head]
    )
    return TableView(
        (
            "score",
            Column("of this head", "right"),
            Column("uniform", "right"),
            Column("threshold", "right"),
            "called so",
        ),
        rows,
        title=f"Head {layer}.{head}{f': {roles}' if roles else ''}",
    )


def random_table(data: HeadsReportData) -> TableView:
    """The highest head of every class in the model, and of random weights."""
    found = data.taxonomy
    rows: list[list[Cell]] = []
    for name in found.intervals:
        head, value = data.highest(name)
        n_above = len(found.above_random(name))
        row: list[Cell] = [name, found.threshold(name), f"{head} {number(value)}", n_above]
        for weights in found.control:
            rate = found.false_positives(weights)[name]
            row += [data.highest_random(name, weights), interval_text(rate, share=True)]
        rows.append(row)
    columns: list[Column | str] = [
        "class",
        Column("threshold", "right"),
        "highest head",
        Column("heads above all shuffled", "right"),
    ]
    for weights in found.control:
        columns += [Column(f"{weights}: highest", "right"), f"{weights}: called so"]
    n = int(found.settings["n_random"])
    return TableView(
        columns,
        rows,
        title="What random weights are called",
        caption=f"{n} models of the same shape of each kind. Fresh: as training would start, which "
        "attends nearly uniformly (and is rightly called so). Shuffled: the model's own weights in "
        "random order, as sharp as its heads. Called so: share of all their heads, with Wilson's "
        "interval. Above all shuffled: heads of the model whose interval lies above the highest of "
        "them, whether they are called so or not.",
    )


def roles_table(data: HeadsReportData) -> TableView:
    """The heads with a role, and those that do most without one."""
    roles = data.taxonomy.roles
    assert roles is not None
    n = len(roles.whole)
    named = [tuple(map(int, head.split("."))) for head in roles.roles]
    size = np.abs(roles.direct.mean(-1))
    order = [
        tuple(map(int, np.unravel_index(at, size.shape))) for at in np.argsort(-size, axis=None)
    ]
    shown = list(dict.fromkeys([*named, *order[:8]]))
    direct, to_movers = roles.share(roles.direct), roles.through_share()
    grown = roles.share(roles.growth())
    random = roles.direct_without_random - roles.direct.mean(-1)  # [set, layer, head]
    rows: list[list[Cell]] = []
    for index in shown:
        at = (index[0], index[1])
        by_random = None
        if len(random):
            by_random = float(random[:, at[0], at[1]].mean() / roles.whole.mean())
        rows.append(
            [
                f"{at[0]}.{at[1]}",
                ", ".join(roles.roles.get(f"{at[0]}.{at[1]}", ())) or "-",
                *(float(one[at].mean()) for one in roles.looks),
                _interval(direct, at, n),
                float(roles.copies[at].mean()),
                float(roles.lowers[at].mean()),
                _interval(to_movers, at, n),
                _interval(grown, at, n),
                by_random,
            ]
        )
    return TableView(
        (
            "head",
            "role",
            Column("END to IO", "right"),
            Column("to S1", "right"),
            Column("to S2", "right"),
            Column("direct", "right"),
            Column("copies", "right"),
            Column("lowers", "right"),
            Column("to movers' q", "right"),
            Column("growth", "right"),
            Column("growth, random", "right"),
        ),
        rows,
        title="What heads do for the indirect object",
        caption=f"{n} prompts; the model puts IO above S in {interval_text(roles.accuracy)} of "
        "them. Direct: share of the logit difference that the head adds through the unembedding. "
        "Copies, lowers: share of names that its OV circuit raises or lowers most. To movers' q: "
        "what is lost if the name movers' queries hear the head's corrupted output. Growth: what "
        "it adds more when the name movers are taken out; random: when as many others are. Empty: "
        "there is no name mover, or no path to it.",
    )


def thresholds_table(data: HeadsReportData) -> TableView:
    """What the thresholds were set between, and how they did elsewhere."""
    rows: list[list[Cell]] = []
    for name, one in data.taxonomy.thresholds.of.items():
        random = ", ".join(f"{kind} {false} of {n}" for kind, (false, n) in one.random.items())
        rows.append(
            [
                name,
                one.value,
                f"{number(one.highest_negative)} ({one.n_negative})",
                f"{number(one.lowest_positive)} ({one.n_positive})",
                f"{one.found} of {one.n_with}",
                f"{one.false} of {one.n_without}",
                random,
            ]
        )
    return TableView(
        (
            "class",
            Column("threshold", "right"),
            Column("highest without (heads)", "right"),
            Column("lowest with (heads)", "right"),
            Column("found", "right"),
            Column("false", "right"),
            "random weights called so",
        ),
        rows,
        title="Calibration on models whose heads are known",
        caption="Above chance: (score − chance) / (1 − chance), so that halves of any length "
        "compare. The threshold lies half-way between the highest head without the class and the "
        "lowest with it; found and false are counted on other seeds. `cutaway calibrate heads` "
        "makes this table again.",
    )


def _interval(
    ends: tuple[np.ndarray, np.ndarray, np.ndarray], at: tuple[int, int], n: int
) -> Interval | None:
    """None where nothing was measured."""
    if not np.isfinite(ends[0][at]):
        return None
    return Interval(float(ends[0][at]), float(ends[1][at]), float(ends[2][at]), 0.95, n)
