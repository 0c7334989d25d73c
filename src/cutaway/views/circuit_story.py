"""The page of the study `circuit`: from what was measured to one HTML file."""

from __future__ import annotations

from . import circuit_story_sentences as say
from .bars import Bar, BarsView
from .circuit_graph import CircuitGraphView
from .circuit_story_data import CircuitStory
from .circuit_story_parts import (
    agreement_tables,
    choices_table,
    curves_view,
    expectations_table,
    heads_table,
    methods_table,
    pairs_table,
    published_table,
    stability_table,
)
from .key_numbers import KeyNumber, KeyNumbers
from .layout import Beside, Disclosure, Items, Note, Section
from .measurement_maps import maps
from .numbers import number
from .page import Page
from .table import Column, TableView
from .view import Part

REFERENCES = (
    "Wang et al. 2022, Interpretability in the Wild: faithfulness, completeness, minimality.",
    "Conmy et al. 2023, Towards Automated Circuit Discovery: ACDC.",
    "Syed, Rager and Conmy 2023; Hanna, Pezzelle and Belinkov 2024: EAP and EAP-IG.",
    "Mueller et al. 2025, MIB: the sufficiency curve, CPR and CMD.",
    "Shi et al. 2024, Hypothesis Testing the Circuit Hypothesis in LLMs.",
    "Miller, Chughtai and Saunders 2024: how much the way of ablating moves faithfulness.",
    "Chan et al. 2022, Causal Scrubbing.",
)


_SMALLEST_P = 0.0001


def circuit_story(story: CircuitStory) -> Page:
    """The report of `cutaway run circuit`.

    Args:
        story: everything measured; sections whose data are missing are left out.

    Example:
        >>> circuit_story(story).html()  # doctest: +SKIP
    """
    page = Page(
        f"The circuit of {story.task} in {story.model}",
        "Which connections between the parts of the model do the task, how sure is that, and what "
        "does each part contribute?",
        facts=(
            ("model", story.model),
            ("task", story.task),
            ("prompts", str(story.baseline.clean.n)),
            ("circuit", f"{len(story.circuit)} edges by {story.circuit.method}"),
        ),
        footer="Written by Cutaway. This file needs no network and fetches nothing.",
    )
    page.add(_in_short(story), _drawing(story), _search(story), _tests(story), _who(story))
    if story.expectations:
        page.add(_textbook(story))
    page.add(_method(story))
    return page


def _in_short(story: CircuitStory) -> Section:
    found, baseline = story.evaluation.faithfulness, story.baseline
    numbers = (
        KeyNumber(baseline.metric.capitalize(), baseline.clean, "whole model, clean prompts"),
        KeyNumber("Faithfulness", found.ratio, f"{len(story.circuit)} edges alone"),
        KeyNumber(
            "Random circuits",
            float(found.random.mean()),
            f"mean of {len(found.random)} of the same size; at most "
            f"{number(float(found.random.max()))}",
        ),
        KeyNumber("Worst gap", story.evaluation.completeness.worst.gap, "completeness, greedy"),
    )
    return Section("In short", KeyNumbers(numbers), Items(say.in_short(story)))


def _drawing(story: CircuitStory) -> Section:
    classes = {row.name: row.published or row.role for row in story.heads}
    graph = CircuitGraphView(
        story.circuit,
        node_classes={name: kind.split(",")[0] for name, kind in classes.items() if kind},
        title=f"The circuit of {story.task}",
    )
    notes = story.circuit.notes
    parts: list[Part] = [graph]
    if notes:
        parts.append(Note("caution", *notes))
    return Section("The circuit", *parts)


def _search(story: CircuitStory) -> Section:
    return Section(
        "Found by several methods",
        "Each method looked for a circuit of the same size on the same prompts. Its circuit was "
        "then run alone on other prompts, everything outside it at its value in the corrupted "
        "prompt.",
        methods_table(story),
        curves_view(story),
        Note("finding", say.curves(story), say.agree(story)),
        *agreement_tables(story),
        stability_table(story),
    )


def _tests(story: CircuitStory) -> Section:
    evaluation = story.evaluation
    found = evaluation.faithfulness
    bars = BarsView(
        (
            Bar("whole model", found.model),
            Bar("the circuit alone", found.circuit),
            Bar("empty circuit", found.empty),
        ),
        title=f"The {found.metric} of the circuit alone",
        caption=f"Means over {evaluation.n_prompts} prompts. Run as: {found.how}.",
        value_label=found.metric,
    )
    random = BarsView(
        (Bar("the circuit", found.ratio, "", found.random),),
        title="Beside random circuits",
        caption="Faithfulness of the circuit, and of random connected circuits of as many edges.",
        value_label="(circuit − empty) / (model − empty)",
        dots_name="one random circuit",
    )
    return Section(
        "Run alone: faithful, complete, minimal?",
        Beside(bars, random),
        choices_table(story),
        Note("caution", say.choice(story)),
        _completeness(story),
        _minimality(story),
        _hypothesis_tests(story),
        *_scrubbed(story),
    )


def _completeness(story: CircuitStory) -> TableView:
    found = story.evaluation.completeness
    sets = [("nothing", found.nothing), ("the worst set, greedily", found.worst)]
    sets += [(f"random set {i + 1}", one) for i, one in enumerate(found.random[:6])]
    return TableView(
        (
            "out of both",
            "which",
            Column("circuit", "right"),
            Column("model", "right"),
            Column("model − circuit", "right"),
        ),
        [
            [name, ", ".join(one.without) or "-", one.circuit, one.model, one.gap]
            for name, one in sets
        ],
        title="Completeness: the same parts out of circuit and model",
        caption="As shares of model − empty. The worst set was chosen on half of the prompts and "
        f"measured on the other half. Mean gap of random circuits: "
        f"{found.random_circuits.mean():.2f}.",
    )


def _minimality(story: CircuitStory) -> Part:
    found = story.evaluation.minimality
    parts = sorted(found.parts, key=lambda one: -abs(one.change.estimate))
    table = TableView(
        (
            found.of.removesuffix("s"),
            "with these out already",
            Column("what it is worth", "right", 3),
        ),
        [[one.part, ", ".join(one.without) or "-", one.change] for one in parts],
        caption="The change when it is taken out, as a share of model − empty. The set K that "
        "shows most was chosen on half of the prompts, the number is from the other half. Of "
        f"{len(found.strangers)} {found.of} added at random, 95% are worth less than "
        f"{found.threshold:.3f}.",
    )
    return Disclosure(f"Minimality: what each of the {len(parts)} {found.of} is worth", table)


def _hypothesis_tests(story: CircuitStory) -> TableView:
    return TableView(
        (
            "test",
            "the null is that",
            Column("p", "right", 4),
            "interval of",
            Column("", "right", 3),
        ),
        [
            [
                test.name,
                test.null,
                f"{test.p_value:.4f}" if test.p_value >= _SMALLEST_P else f"< {_SMALLEST_P}",
                f"{test.interval_of} ({test.n} {test.n_of})",
                test.interval,
            ]
            for test in story.tests.all()
        ],
        title="Hypothesis tests",
        caption="Rejecting one of the first three speaks against the circuit, rejecting "
        "sufficiency or partial necessity for it. A null that is not rejected is not thereby "
        "shown. "
        + " ".join(f"{name}: not run, {why}" for name, why in story.tests.not_run.items()),
    )


def _scrubbed(story: CircuitStory) -> tuple[Part, ...]:
    if story.scrubbed is None:
        return ()
    found = story.scrubbed
    table = TableView(
        ("hypothesis", Column("recovered", "right")),
        [
            ["the route, by its features", found.recovered],
            ["features shuffled", found.recovered_shuffled],
        ],
        title="Causal scrubbing of the route",
        caption="(scrubbed − all resampled) / (clean − all resampled): 1 if nothing that the "
        "hypothesis calls irrelevant matters.",
    )
    return (table,)


def _who(story: CircuitStory) -> Section:
    drawn = maps(story.paths, "share of the difference")
    return Section(
        "Who does what, and who feeds whom",
        heads_table(story),
        Note("finding", say.heads(story)),
        "Each path below was patched by itself: the sender's contribution to the receiver's input "
        "is taken from the corrupted prompt, all else is clean.",
        *drawn,
        pairs_table(story),
        Note("finding", say.backup(story)),
        *published_table(story),
    )


def _textbook(story: CircuitStory) -> Section:
    return Section(
        "Beside the textbook's story",
        "What Wang et al. (2022) found in GPT-2 small, as expectations of this model. They were "
        "written down before the study was first run.",
        expectations_table(story),
    )


def _method(story: CircuitStory) -> Section:
    settings = TableView(("setting", "value"), list(story.settings.items()))
    timings = TableView(("step", Column("seconds", "right", 1)), list(story.timings.items()))
    return Section(
        "How this was made",
        Disclosure(
            "How the figures are computed",
            "A circuit is a set of edges of the residual graph. Run alone, every edge of it "
            "carries what its sender computes in that run, every other edge what stands in "
            "outside. Faithfulness is (circuit − empty) / (model − empty) of mean metrics.",
            "Intervals are 95% percentile bootstrap over prompts, numerator and denominator "
            "resampled together. The circuit is searched on one set of prompts and tested on "
            "another.",
        ),
        Disclosure("Settings of this run", settings),
        Disclosure("Time taken", timings),
        Disclosure("Literature", Items(REFERENCES)),
    )
