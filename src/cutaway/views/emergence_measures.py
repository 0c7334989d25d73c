"""The measures on the page of `cutaway run emergence`: heads, probes, loss, patching, steering."""

from __future__ import annotations

import numpy as np

from . import emergence_sentences as say
from .emergence_charts import ZERO, chart, line
from .emergence_data import CLASSES, COPIES, HEAD, REPEATS, STEERED, TELLS, Emergence
from .heatmap import HeatmapView
from .layout import Beside, Section
from .table import Cell, Column, TableView

_MOST_COLUMNS = 24  # steps that a map shows


def heads_section(found: Emergence) -> Section:
    """Every head of one seed, the two that matter in all, and the classes in the end."""
    curve = chart(
        [
            *(line(found, name) for name in (TELLS, HEAD, REPEATS, COPIES)),
        ],
        "The two heads, and what they do elsewhere",
        "score",
        caption="The first two are attention on this task's prompts; of the induction head that to "
        "another pair's B is subtracted. Random repeats: the induction score on random names "
        "[BOS, r, r], which no training sequence looks like. Copying: of the induction head, by "
        "its weights alone.",
    )
    maps = [
        _map(found, score, title)
        for score, title in (("B to A", "From B to its A"), ("END to B", "From END to B"))
    ]
    return Section("Heads", f"Seed {found.seeds[0]}, head by head:", *maps, curve, _classes(found))


def _map(found: Emergence, score: str, title: str) -> HeatmapView:
    values = found.arrays[score][0].mean(-1)  # [step, layer, head]
    shown = np.unique(np.linspace(0, len(values) - 1, _MOST_COLUMNS).round().astype(int))
    return HeatmapView(
        values[shown].reshape(len(shown), -1).T,
        _names(found),
        [str(found.steps[at]) for at in shown],
        title=title,
        row_axis="head",
        column_axis="step",
        value_label="attention",
        limit=1.0,
        cell_labels=False,
    )


def _names(found: Emergence) -> list[str]:
    n_layers, n_heads = found.arrays["END to B"].shape[2:4]
    return [f"{layer}.{head}" for layer in range(n_layers) for head in range(n_heads)]


def _classes(found: Emergence) -> TableView:
    a, names = found.arrays, _names(found)
    flags = a["classes"][:, -1] > 0  # [seed, layer, head, class]
    tells, looks = found.strongest("B to A", 0), found.strongest("END to B")
    rows: list[list[Cell]] = []
    for at, seed in enumerate(found.seeds):
        of_class = [
            ", ".join(names[i] for i in np.flatnonzero(flags[at, ..., number].ravel())) or "–"
            for number in range(len(CLASSES))
        ]
        copying = float(a["copying"][at, -1][tuple(looks[at])])
        which = (".".join(map(str, one[at])) for one in (tells, looks))
        rows.append([str(seed), *which, copying, *of_class])
    return TableView(
        (
            Column("seed", "right"),
            "tells B its A",
            "looks from A to B",
            Column("its copying score", "right"),
            *CLASSES,
        ),
        rows,
        title="Heads in the end",
        caption="Tells B its A: the head of layer 0 with most attention from B to its A. Looks "
        "from A to B: the head with most attention from END to B; its copying score is that of its "
        "weights (1: raises what it looks at). Classes go by scores on random names [BOS, r, r] "
        "and the thresholds of cutaway heads, which were set on heads that do nothing else.",
    )


def probes_section(found: Emergence) -> Section:
    """Linear probes with their controls, and the logit lens."""
    a = found.arrays
    points = ["embedding", *(f"after layer {layer}" for layer in range(found.n_layers))]
    controls = (
        ("probe another", "the B of another pair"),
        ("probe shuffled labels", "shuffled labels"),
        ("probe control task", "labels dealt out by A"),
    )
    layer = found.over_seeds("", a["lens layer"])[-1]
    return Section(
        "What can be read at END",
        Beside(
            chart(
                [line(found, name, a["probe"][:, :, i]) for i, name in enumerate(points)],
                "Linear probe: which token is B",
                "accuracy on test prompts",
                control=[line(found, said, a[name][:, :, -1]) for name, said in controls],
                caption="Grey: controls, after the last layer. Labels dealt out by A can be "
                "learned by heart, since A stands at END: they say what a probe can do, not what "
                "the model knows.",
            ),
            chart(
                [line(found, name, a["lens"][:, :, i]) for i, name in enumerate(points)],
                "Logit lens: B is the likeliest token",
                "share of prompts",
                caption=f"In the end B stays on top from {layer.estimate:.2f} layers on, on "
                f"average ({found.n_layers + 1} stands for never).",
            ),
        ),
    )


def losses_section(found: Emergence) -> Section:
    """Loss on held-out sequences, and the in-context score."""
    a = found.arrays
    early, late = (f"tokens {one.start} to {one.stop - 1}" for one in found.places)
    names = (
        ("loss", "all tokens"),
        ("loss first", "a name the first time"),
        ("loss again", "the same when it can be known"),
    )
    return Section(
        "Loss, and learning in context",
        Beside(
            chart(
                [line(found, said, a[name]) for name, said in names],
                "Loss on held-out sequences",
                "nats",
                references=ZERO,
            ),
            chart(
                [
                    line(found, f"{late} minus {early}", found.in_context_score),
                    line(
                        found,
                        "the same names, again minus first",
                        a["loss again"] - a["loss first"],
                    ),
                ],
                "In-context score",
                "nats",
                references=ZERO,
                caption="Olsson et al. (2022) take token 500 minus token 50 of 512; here the same "
                "shares of the context, three tokens each. The loss at late places also falls "
                "because sentences there are simpler; the second line compares the same names.",
            ),
        ),
    )


def patching_section(found: Emergence) -> Section:
    """Exact effects of the strongest heads."""
    lines = [
        line(
            found,
            f"strongest head of layer {layer}",
            found.of_head("patched", found.strongest("patched", layer)),
        )
        for layer in range(found.n_layers)
    ]
    view = chart(
        lines,
        "One head of the clean run in the corrupted one",
        "logits",
        control=[line(found, "all there is to gain", found.arrays["to gain"])],
        references=ZERO,
        caption="The corrupted prompt has C in B's place. Logits that B gains on C, exactly.",
    )
    return Section("Do these heads do it?", say.patched(found), view)


def steering_section(found: Emergence) -> Section:
    """Emb(C) - Emb(B), at each place and step."""
    a = found.arrays
    view = chart(
        [
            line(found, f"{position}, before layer {layer}", a["steered"][:, :, i])
            for i, (position, layer) in enumerate(STEERED)
        ],
        "Emb(C) − Emb(B): share of prompts that say C",
        "share of prompts",
        control=[line(found, "random directions", a["steered random"].mean(2))],
    )
    return Section(
        "When does steering start to work?",
        "C is a name that is not in the prompt. Added to B's place before layer 0 the vector "
        "exchanges the name itself, so that it works when the model does; before layer 1 it "
        "changes only what the induction head finds there. At END it is added where the answer is "
        "read, in the directions in which names are read and not in those in which they are said.",
        view,
    )
