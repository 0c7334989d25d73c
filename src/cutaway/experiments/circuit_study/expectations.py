"""What the textbook's story expects of an IOI circuit, graded by what came."""

from __future__ import annotations

from collections.abc import Sequence

from ...evidence import LEAST_EFFECT
from ...findings import Expectation
from ...views import circuit_story_data as page
from ...views.numbers import number


def of_the_textbook(
    methods: Sequence[page.MethodRow],
    agreement: page.Agreement,
    faithful: float,
    heads: Sequence[page.HeadRow],
    pairs: Sequence[page.BackupPair],
) -> tuple[Expectation, ...]:
    """Written down before the study was first run, and not changed since.

    Args:
        methods: each with its curve.
        agreement: of their circuits.
        faithful: the tested circuit's faithfulness.
        heads: of the circuit, with their roles.
        pairs: of heads, with what they do together.
    """
    roles = [row.role for row in heads]
    movers = [row.name for row in heads if "name mover" in row.role]
    backups = [pair for pair in pairs if pair.interaction.low > LEAST_EFFECT]
    first, second = (
        methods[0],
        agreement.methods.index("eap-ig") if "eap-ig" in (agreement.methods) else 1,
    )
    shared = float(agreement.edges[0, second])
    early = [
        row.name
        for row in heads
        if any(word in row.role for word in ("duplicate", "induction", "previous"))
    ]
    return (
        Expectation(
            f"Faithfulness of {len(first.circuit)} edges, on other prompts",
            "above 0.9",
            number(faithful),
            faithful > 0.9,
        ),
        Expectation(
            f"Shared edges of {agreement.methods[0]} and {agreement.methods[second]} (Jaccard)",
            "above 0.5",
            number(shared),
            shared > 0.5,
        ),
        Expectation(
            "Some head looks from END to IO and writes it (a name mover)",
            "yes",
            ", ".join(movers) or "none",
            bool(movers),
        ),
        Expectation(
            "Some head looks from END to S2 (as S-inhibition heads do)",
            "yes",
            ", ".join(row.name for row in heads if "to S2" in row.role) or "none",
            any("to S2" in role for role in roles),
        ),
        Expectation(
            "Some head detects the repeated name (duplicate-token, induction or previous-token)",
            "yes",
            ", ".join(early) or "none",
            bool(early),
        ),
        Expectation(
            f"Some pair of heads backs each other up (interaction above {LEAST_EFFECT})",
            "yes",
            ", ".join(f"{pair.first} and {pair.second}" for pair in backups[:3]) or "none",
            bool(backups),
        ),
    )
