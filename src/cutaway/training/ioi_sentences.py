"""The world of `ioi-mini` in sentences: what its training text says besides the IOI templates.

Sentences have slots in braces. `{a}` to `{d}` are four different people of one document;
`{place}` and `{place2}`, `{object}` and `{object2}` differ; every other slot is a word of its
list in `LISTS` or, if it is in `ALIGNED`, the word that belongs to another slot's word: the
worker of a place, what one does with an object, the next day, and for each person a favourite
colour and an animal, which hold throughout the training text and so are facts to be learned.
"""

from __future__ import annotations

import zlib

from ..tasks.ioi_text import NAMES, OBJECTS, PLACES, words


def _lines(text: str) -> tuple[str, ...]:
    return tuple(text.strip().splitlines())


def _fact(name: str, choices: tuple[str, ...]) -> str:
    return choices[zlib.crc32(name.encode()) % len(choices)]


COLOURS = words("red blue green yellow black white brown pink")
ANIMALS = words("dog cat horse bird rabbit fish goat duck mouse")
DAYS = words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")

LISTS: dict[str, tuple[str, ...]] = {
    "place": PLACES,
    "object": OBJECTS,
    "colour": COLOURS,
    "animal": ANIMALS,
    "day": DAYS,
    "quality": words("new small big good nice strange heavy lovely simple cheap broken"),
    "mood": words("happy sad tired hungry angry busy calm proud afraid glad late ready"),
    "weather": words("sunny rainy cold warm windy dark cloudy hot"),
    "food": words("bread milk soup rice cheese fruit tea water"),
    "time": words("morning evening afternoon"),
    "adverb": words("often slowly quickly once later soon always now then"),
    "transfer": words("gave handed passed offered sent brought threw showed lent sold"),
}

ALIGNED: dict[str, tuple[str, tuple[str, ...]]] = {
    "worker": (
        "place",
        words(
            "clerk teacher ranger seller gardener nurse manager guard librarian guide waiter "
            "swimmer farmer singer priest porter pilot cook baker keeper"
        ),
    ),
    "used": (
        "object",
        words(
            "finished read kicked wrote wore turned filled hid shook fixed ate answered bought "
            "counted studied lost picked closed took cleaned checked lit washed carried "
            "played"
        ),
    ),
    "tomorrow": ("day", DAYS[1:] + DAYS[:1]),
    "colour_a": ("a", tuple(_fact(name, COLOURS) for name in NAMES)),
    "colour_b": ("b", tuple(_fact(name, COLOURS) for name in NAMES)),
    "animal_a": ("a", tuple(_fact(name, ANIMALS) for name in NAMES)),
    "animal_b": ("b", tuple(_fact(name, ANIMALS) for name in NAMES)),
}
"""slot -> (the slot it follows, its word for each word of that slot's list, in order)."""

STATEMENTS = _lines("""
{a} went to the {place}.
{a} likes {colour_a} things.
{a} has a {animal_a}.
The {animal_a} of {a} is very {quality}.
{a} {used} the {object}.
{a} {used} the {quality} {object} at the {place}.
The {worker} at the {place} is {mood}.
The {worker} of the {place} said hello to {a}.
{a} knows the {worker} at the {place}.
On {day} it was {weather}, so {a} stayed at home.
It was a {weather} {time}, and {a} was {mood}.
{a} wants to be a {worker} one day.
The {colour_a} {object} belongs to {a}.
Where is the {object} of {a}?
{a} lost a {object} near the {place}.
There is a {quality} {object} in the bag.
There are many people at the {place} today.
In the {time} {a} often walks to the {place}.
{a} said that {a} was {mood}.
{a} lives near the {place}, and {a} works there too.
When {a} is {mood}, {a} goes to the {place}.
If {a} has a {object}, {a} is {mood}.
After lunch {a} went to the {place}, and in the {time} {a} went home.
{a} bought some {food} and a {object} at the store.
Every {day} {a} eats {food} for lunch.
A {animal} ran through the {place}, and {a} ran after the {animal}.
{a} was {mood} because the {object} was {quality}.
Although the {object} was {quality}, {a} wanted it.
{a} thinks that the {place} is too {quality}.
{a} could not find the {object}, so {a} bought a {quality} {object}.
The {worker} had no {food} and went home early.
All the shops were open until the {time}.
{a} and the {worker} went into the {place}.
{a} was alone in the {place} all day.
Before {a} left the {place}, {a} {used} the {object}.
Nobody knew where {a} was.
The story of the {animal} and the {object} is very old.
{a} read the letter twice and then put it in a box.
{a} always takes the {colour} car to the {place}.
There is a {animal} in the street.
{a} opened the door and went into the room.
The mother of {a} is a {worker}, and the father of {a} works at the {place2}.
{a} will never go to the {place} again.
An old man and a young woman were at the {place}.
The boy and the girl played with the {animal}.
Children like the {place} very much.
Afterwards the {worker} gave a talk about the {object}.
The whole city is {quality}, but {a} is {mood} here.
{a} has two friends and a {animal_a}.
""")
"""Sentences about at most one person, who may be named twice: a second mention is not always
the sign of a giver."""

PAIR_STATEMENTS = _lines("""
{a} and {b} are friends.
{a} likes {colour_a} things, but {b} likes {colour_b} things.
{a} has a {animal_a}, and {b} has a {animal_b}.
{a} saw {b} at the {place} on {day}.
{a} is older than {b}, so {b} is younger than {a}.
{a} told {b} that {a} was {mood}.
{a} told {b} that {b} was too late.
{a} asked {b} to come to the {place}, but {b} was {mood}.
{a} thinks that {b} is {mood}, and {b} thinks that {a} is {mood}.
When {a} met {b}, {a} was {mood}.
While {a} {used} the {object}, {b} looked at {a}.
{a} bought a {object} for {b} at the {place}.
{a} wrote a long letter to {b}.
{a} and {b} both wanted the {object}.
{a} took the {object} from {b}, and now {a} has the {object}.
The {worker} knows both {a} and {b}.
{b} is {mood} when {a} is at the {place}.
Who is {mood}, {a} or {b}?
""")

OPENERS = _lines("""
{a} and {b} went to the {place}.
{a} and {b} were at the {place} on {day}.
{a} met {b} at the {place}.
{a} was at the {place} with {b}.
{a} and {b} played near the {place}.
On {day} {a} called {b}.
{a} sat down beside {b}.
Last {day} {a} visited {b}.
It was {weather}, so {a} and {b} stayed at the {place}.
One {time} {a} found {b} in front of the {place}.
{a} and {b} had lunch together.
The {worker} knew {a} and {b} well.
In the {time} {a} and {b} talked for a long time.
Soon {a} and {b} were at the {place}.
Just before lunch {a} ran into {b}.
When {a} arrived at the {place}, {b} was already there.
{a} helped {b} with the work at the {place}.
{a} lived with {b} in a {quality} house.
{a} and {b} went out to buy {food}.
Then {a} and {b} arrived outside the {place}.
""")
"""A first sentence that brings two people together."""

MIDDLES = _lines("""
It was a {weather} day.
The {place} was {quality}.
There was a {quality} {object} on the table.
The {worker} said hello.
Nobody else was there.
The day was long.
A {animal} ran past.
The {object} was {quality}.
The sun was out, and it was {weather}.
It was time for lunch.
Music was playing.
The {object} was in the bag.
""")
"""A sentence without people between an opener and an ending."""

ENDINGS = _lines("""
{b} {transfer} the {object} to {a}.
{b} {transfer} a {quality} {object} to {a}.
{b} {transfer} {a} a {object}.
Then {b} {transfer} a {object} to {a}.
Later {b} {transfer} the {quality} {object} to {a}.
So {b} {transfer} the {colour} {object} to {a}.
The next day {b} {transfer} a bottle of {food} to {a}.
At last {b} {transfer} the {object} to {a}, and {a} said thanks.
{b} had a {object} and {transfer} it to {a}.
After a while {b} smiled at {a}.
{b} said thanks to {a}.
{b} told {a} a story about a {animal}.
{b} asked {a} about the {object}.
{b} went home without {a}.
In the end {b} bought some {food} for {a}.
{b} gave the {object} to {a}, so now the {object} belongs to {a}.
{b} took the {object} away, so now the {object} belongs to {b}.
{b} wanted to keep the {object}, so {b} kept it for {b} alone.
{b} was {mood}, and {b} gave it all to {a}.
""")
"""A last sentence in which one of two people acts, mostly on the other; one who keeps a thing is
named again, and the word `keep` or `took` says so."""

SET_PIECES = _lines("""
{a} has the {object}. {b} has the {object2}. Who has the {object}? {a}.
{a} has the {object}. {b} has the {object2}. Who has the {object2}? {b}.
{a} is at the {place}. {b} is at the {place2}. Where is {a}? At the {place}.
{a} is at the {place}. {b} is at the {place2}. Where is {b}? At the {place2}.
{a} went to the {place} and then to the {place2}. Where is {a} now? At the {place2}.
{a} gave the {object} to {b}. Then {b} gave the {object} back to {a}.
{a} gave the {object} to {b}. {b} gave the {object} to {c}. Now {c} has the {object}.
{a} gave a {object} to {b} and a {object2} to {c}. {b} has the {object}, and {c} has the {object2}.
{a}, {b} and {c} went to the {place}. {a} gave a {object} to {b} and {c}.
{a}, {b} and {c} went to the {place}. {a} and {b} gave a {object} to {c}.
{a}, {b} and {c} were at the {place}. {c} gave a {object} to both {a} and {b}.
{a} went to the {place} with {b} and {c}. {b} left first. Then {c} left. Now {a} is alone.
{a}, {b}, {c} and {d} are friends. {a} likes {b}, and {c} likes {d}.
The friends of {a} are {b}, {c} and {d}.
{a} sat between {b} and {c}. So {b} was next to {a}, and {c} was next to {a}.
{a} is older than {b}, and {b} is older than {c}. So {a} is older than {c}.
The box holds a {object}, a {object2} and some {food}. Take the {object2}, said {a}.
Today is {day}. Tomorrow is {tomorrow}. {a} will be at the {place} on {tomorrow}.
{day} comes before {tomorrow}. {tomorrow} comes after {day}.
One, two, three, four, five, six, seven, eight, nine, ten.
Who works at the {place}? The {worker}. Who works at the {place2}? {a} does not know.
Is {a} {mood}? Yes, {a} is {mood}. Is {b} {mood} too? No, {b} is not.
What does {a} like? {a} likes {colour_a} things. What does {b} like? {b} likes {colour_b} things.
What animal does {a} have? A {animal_a}. What animal does {b} have? A {animal_b}.
{a} said: {b}, please come to the {place}. {b} said: yes, {a}.
{a} called {b}. {b} called {c}. {c} called {d}. {d} did not answer.
Red, blue, green and yellow are colours. A {animal} and a {animal_a} are animals.
""")
"""Short texts of several sentences: questions, lists, chains, things that change hands."""
