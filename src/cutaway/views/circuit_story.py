"""The page of the study `circuit`: from what was measured to one HTML file."""

from __future__ import annotations

from . import circuit_story_sentences as say
from .circuit_graph import CircuitGraphView
from .circuit_sections import (
    completeness_table,
    faithfulness_bars,
    hypothesis_table,
    minimality_table,
    published_table,
)
from .circuit_story_data import CircuitStory
from .circuit_story_parts import (
    agreement_tables,
    choices_table,
    curves_view,
    expectations_table,
    heads_table,
    methods_table,
    pairs_table,
    stability_table,
)
from .key_numbers import KeyNumber, KeyNumbers
from .layout import Disclosure, Items, Note, Section
from .measurement_maps import maps
from .numbers import number
from .origin_section import how_it_was_made
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
    return Section(
        "Run alone: faithful, complete, minimal?",
        *faithfulness_bars(evaluation.faithfulness),
        choices_table(story),
        Note("caution", say.choice(story)),
        completeness_table(evaluation.completeness),
        minimality_table(evaluation.minimality),
        hypothesis_table(story.tests),
        *_scrubbed(story),
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
        *([] if story.published is None else [published_table(story.published)]),
    )


def _textbook(story: CircuitStory) -> Section:
    return Section(
        "Beside the textbook's story",
        "What Wang et al. (2022) found in GPT-2 small, as expectations of this model. They were "
        "written down before the study was first run.",
        expectations_table(story),
    )


def _method(story: CircuitStory) -> Section:
    return how_it_was_made(
        story.settings,
        story.timings,
        Disclosure(
            "How the figures are computed",
            "A circuit is a set of edges of the residual graph. Run alone, every edge of it "
            "carries what its sender computes in that run, every other edge what stands in "
            "outside. Faithfulness is (circuit − empty) / (model − empty) of mean metrics.",
            "Intervals are 95% percentile bootstrap over prompts, numerator and denominator "
            "resampled together. The circuit is searched on one set of prompts and tested on "
            "another.",
        ),
        references=REFERENCES,
    )
