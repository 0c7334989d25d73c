"""The words and sentences of indirect object identification (IOI): data and strings only.

The form of the task is that of Wang et al. (2022), "Interpretability in the Wild", section 2:
two names, then one of them again as the subject of a giving, then the blank for the other one,
the indirect object. Every sentence here is our own.
"""

from __future__ import annotations

import zlib

from .sentences import Template as Template
from .sentences import slot_of as slot_of
from .sentences import words as words

# Every name, place and object is one token in GPT-2's vocabulary when a space goes before it.
NAMES: tuple[str, ...] = words("""
    Mary Alice Emma Sarah Anna Laura Julia Kate Jane Lucy Claire Emily Rachel Susan Linda Karen
    Nancy Betty Helen Ruth Amy Lisa Maria Diana Martha Sophie Charlotte Hannah Olivia Rebecca
    Amanda Melissa Nicole Megan Lauren Heather Julie Ann Jean Sara Rose Ellen Nina Eva Molly Sally
    Clara Naomi Chloe Lily
    John Bob Tom James Robert Michael William David Richard Joseph Thomas Charles Daniel Matthew
    Paul Andrew Kevin Brian George Edward Jason Ryan Jacob Eric Stephen Justin Scott Samuel Frank
    Patrick Jack Dennis Adam Nathan Henry Peter Kyle Walter Simon Luke Sam Ben Dan Tim Jim Bill
    Mike Nick Alex Victor
""")
PLACES: tuple[str, ...] = words("""
    store school park market garden hospital office station library museum restaurant beach farm
    theater church hotel airport kitchen bakery zoo
""")
OBJECTS: tuple[str, ...] = words("""
    drink book ball letter ring key bottle necklace toy computer snack phone ticket coin map hat
    flower box photo camera watch lamp cup basket guitar
""")

# `{first}` and `{second}` are the two names in the order of their first mention, `{subject}` is
# the second mention of one of them (S2). With the indirect object first the order is ABBA, with
# the subject first BABA.
SLOTS = ("first", "second", "subject", "place", "object")
_HELD_OUT_SHARE = 10

CANONICAL = Template(
    "canonical",
    "When {first} and {second} went to the {place}, {subject} gave a {object} to",
    held_out=True,
)
"""The prompt everyone knows; kept out of the training text of `ioi-mini`."""

_TRAINED = """
While {first} and {second} were waiting at the {place}, {subject} handed a {object} to
After {first} and {second} came home from the {place}, {subject} showed a {object} to
Because {first} and {second} had met at the {place} before, {subject} brought a {object} to
Yesterday {first} and {second} walked to the {place}. {subject} passed a {object} to
Once {first} and {second} were inside the {place}, {subject} gave the {object} to
As soon as {first} and {second} found the {place}, {subject} offered a {object} to
The {object} was still in the bag when {first} and {second} left the {place}, so
    {subject} gave it to
Last night {first} said hello to {second} near the {place}, and later {subject} sent a {object} to
One day {first} sat next to {second} in the {place}. After some time {subject} lent a {object} to
At the {place}, {first} and {second} opened a big box. Then {subject} gave a {object} to
In the morning {first} saw {second} at the {place}, and {subject} threw a {object} to
There was a party at the {place} for {first} and {second}. In the end {subject} gave a {object} to
Everyone at the {place} knew {first} and {second}. Today {subject} sold a {object} to
Before {first} and {second} went into the {place}, {subject} quickly passed the {object} to
Since {first} lived with {second} above the {place}, {subject} often brought a {object} to
Both {first} and {second} wanted to see the {place}. On the way {subject} showed a {object} to
Long ago, {first} and {second} worked together at the {place}, where {subject} once
    offered a {object} to
Although {first} did not know {second} well, at the {place} {subject} lent the {object} to
Today the {place} was quiet, and {first} and {second} were alone. {subject} slowly handed
    the {object} to
Every summer {first} and {second} stay near the {place}. Each time {subject} gives a {object} to
When the lights of the {place} went out, {first} looked for {second}. Then {subject} gave
    a small {object} to
With {first} and {second} at the {place}, the day was fun, and {subject} tossed the {object} to
"""

_HELD_OUT = """
Just after {first} and {second} arrived at the {place}, {subject} gave a {object} to
Soon {first} met {second} outside the {place}, and there {subject} handed the {object} to
On Sunday {first} and {second} talked about the {place}. The next day {subject} sent a {object} to
While the {place} was open, {first} helped {second} with the work, so {subject} later
    brought a {object} to
After the party at the {place}, {first} walked home with {second}.
    On the way {subject} gave a {object} to
The {place} was already dark when {first} called {second},
    and {subject} quickly handed the {object} to
Last summer {first} and {second} played in the {place} every day.
    At the end {subject} lent a {object} to
Because the {place} was too cold, {first} and {second} went out together,
    and {subject} passed a {object} to
"""


def _numbered(prefix: str, lines: str, held_out: bool) -> tuple[Template, ...]:
    sentences = lines.strip().replace("\n    ", " ").splitlines()
    return tuple(Template(f"{prefix}{i:02d}", s, held_out) for i, s in enumerate(sentences, 1))


TRAINED_TEMPLATES: tuple[Template, ...] = _numbered("ioi-", _TRAINED, held_out=False)
HELD_OUT_TEMPLATES: tuple[Template, ...] = _numbered("held-out-", _HELD_OUT, held_out=True)
TEMPLATES: tuple[Template, ...] = TRAINED_TEMPLATES + HELD_OUT_TEMPLATES


def pair_is_held_out(name_a: str, name_b: str) -> bool:
    """Whether these two names never meet in the training text of `ioi-mini` (one pair in ten).

    The answer depends on the two names alone, not on their order or on any list.
    """
    low, high = sorted((name_a, name_b))
    return zlib.crc32(f"ioi-mini {low} {high}".encode()) % _HELD_OUT_SHARE == 0
