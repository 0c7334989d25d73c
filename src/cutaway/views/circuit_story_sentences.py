"""What the circuit study found, in words. Every sentence is chosen by a stated rule."""

from __future__ import annotations

from ..evidence import LEAST_EFFECT
from . import circuit_sentences as shared
from .circuit_story_data import CircuitStory
from .numbers import interval_text, number

_N_NAMED = 5


def findings(story: CircuitStory) -> tuple[str, ...]:
    """What was found, the circuit first."""
    found = [
        circuit(story),
        shared.faithful(story.evaluation.faithfulness),
        shared.complete(story.evaluation.completeness),
        shared.minimal(story.evaluation.minimality),
        agree(story),
        curves(story),
        choice(story),
        heads(story),
        backup(story),
        *stable(story),
        shared.tests(story.tests),
    ]
    if story.scrubbed is not None:
        found.append(scrubbed(story))
    found += surprises(story)
    return tuple(found)


def in_short(story: CircuitStory) -> tuple[str, ...]:
    """The findings that the rest of the page explains."""
    return (
        circuit(story),
        shared.faithful(story.evaluation.faithfulness),
        shared.complete(story.evaluation.completeness),
        shared.minimal(story.evaluation.minimality),
        agree(story),
        choice(story),
        *surprises(story),
    )


def circuit(story: CircuitStory) -> str:
    """How large the circuit is, and its strongest nodes."""
    strongest = ", ".join(row.name for row in story.heads[:_N_NAMED])
    return f"{shared.size(story.circuit)} The heads that matter most are {strongest}."


def agree(story: CircuitStory) -> str:
    """How alike the methods' circuits are."""
    table = story.agreement
    n = len(table.methods)
    off = [(table.edges[i, j], i, j) for i in range(n) for j in range(i)]
    low, high = min(off), max(off)
    if len(off) == 1:
        return (
            f"The circuits of {table.methods[0]} and {table.methods[1]} share "
            f"{number(float(low[0]))} of their edges (Jaccard); random circuits share "
            f"{number(table.random_edges)}."
        )
    return (
        f"Circuits of {n} methods share {number(float(low[0]))} (Jaccard, {table.methods[low[2]]} "
        f"and {table.methods[low[1]]}) to {number(float(high[0]))} ({table.methods[high[2]]} and "
        f"{table.methods[high[1]]}) of their edges; random circuits share "
        f"{number(table.random_edges)}."
    )


def curves(story: CircuitStory) -> str:
    """Which method's curve is nearest to the whole model's, and which is furthest."""
    worst = max(story.methods, key=lambda one: one.curve.cmd.estimate)
    best = story.best
    random = float(best.curve.random_cmd.mean())
    return (
        f"Over all sizes, {best.circuit.method} is nearest to the whole model (CMD "
        f"{interval_text(best.curve.cmd, 3)}) and {worst.circuit.method} furthest "
        f"({interval_text(worst.curve.cmd, 3)}); random circuits: {number(random, 3)}."
    )


def choice(story: CircuitStory) -> str:
    """How much the way of running it moves the number."""
    rows = sorted(story.choices, key=lambda row: row.faithfulness.ratio.estimate)
    low, high = rows[0], rows[-1]
    return (
        "The same circuit, run alone in other ways, keeps from "
        f"{number(low.faithfulness.ratio.estimate)} ({low.level}, outside {low.outside}) to "
        f"{number(high.faithfulness.ratio.estimate)} ({high.level}, outside {high.outside}): a "
        "faithfulness without its method is no number."
    )


def heads(story: CircuitStory) -> str:
    """What the strongest heads are, by their attention."""
    if not any(row.looks_at for row in story.heads):
        return f"What heads look at is read on IOI prompts only, not on those of {story.task}."
    named = [f"{row.name} ({row.role})" for row in story.heads if row.role][:_N_NAMED]
    nameless = [row.name for row in story.heads if not row.role][:_N_NAMED]
    if not named:
        return "No head of the circuit has one of the roles that the readings look for."
    rest = f" None of the roles fits {', '.join(nameless)}." if nameless else ""
    return f"By where they look and what they write: {', '.join(named)}.{rest}"


def backup(story: CircuitStory) -> str:
    """Whether heads back each other up."""
    pairs = [one for one in story.pairs if one.interaction.low > LEAST_EFFECT]
    if not pairs:
        largest = story.pairs[0]
        return (
            f"No pair of heads backs each other up by more than {number(LEAST_EFFECT)}; the "
            f"largest interaction is {interval_text(largest.interaction, 3)} ({largest.first} and "
            f"{largest.second})."
        )
    named = ", ".join(
        f"{one.first} and {one.second} ({interval_text(one.interaction, 3)})"
        for one in pairs[:_N_NAMED]
    )
    return f"Heads that back each other up, beyond the sum of both: {named}."


def stable(story: CircuitStory) -> tuple[str, ...]:
    """Whether the search finds the same again."""
    return tuple(
        f"Over {one.edges.n} {one.over} the circuits share {interval_text(one.edges)} of their "
        f"edges (random: {number(one.random_edges)}) and {interval_text(one.nodes)} of their nodes "
        f"(random: {number(one.random_nodes)})."
        for one in story.stability
    )


def scrubbed(story: CircuitStory) -> str:
    """What the route recovers as a hypothesis."""
    found = story.scrubbed
    assert found is not None
    return (
        f"As a causal-scrubbing hypothesis the route recovers {interval_text(found.recovered)}; "
        f"with features shuffled between prompts {interval_text(found.recovered_shuffled)}."
    )


def surprises(story: CircuitStory) -> list[str]:
    """What of the textbook's story does not hold here."""
    missed = [one for one in story.expectations if one.held is False]
    if not story.expectations:
        return []
    if not missed:
        return [f"All {len(story.expectations)} expectations of the textbook's story are met."]
    named = "; ".join(
        f"{one.question} (expected {one.expected}, found {one.observed})" for one in missed
    )
    return [f"What does not fit the textbook's story: {named}."]
