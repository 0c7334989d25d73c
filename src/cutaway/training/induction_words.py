"""The words and sayings of `induction-2l`: forty sayings to know by heart, and words by class.

All of it is written for this model. The classes are for the chain of novel text, which goes from
class to class as English does and from word to word as it was drawn once (`induction_corpus`).
"""

from __future__ import annotations

SAYINGS = (
    "the old miller keeps a grey horse behind the stone barn",
    "a quiet river carries the last boat to the open sea",
    "my brother paints every door of the long house dark blue",
    "no winter lasts longer than the fire of a good neighbour",
    "the baker opens her window before the first bird sings",
    "seven lamps burn in the tower when the king comes home",
    "a clever fox never sleeps near the door of the hunter",
    "the young queen hides her golden ring under a wooden bridge",
    "our captain reads the stars and forgets the way back home",
    "every gardener knows the road that the rain will take",
    "the tall soldier sold his sword for a warm coat and bread",
    "a broken clock tells the right hour to a patient man",
    "the white cat follows the farmer across the frozen lake",
    "two sisters share one candle and one very long letter",
    "a small stone turns the heavy cart of a proud merchant",
    "the doctor of our village plants an apple tree each spring",
    "an empty bottle on the table makes a loud evening",
    "her grandmother counts the silver spoons after every wedding",
    "the brave sailor carries a green lantern into the storm",
    "a narrow path leads from the market to the forgotten garden",
    "the teacher draws a perfect circle with an old piece of chalk",
    "three hungry wolves wait by the gate of the sleepy town",
    "his father built the red mill where two rivers meet",
    "the wise judge listens twice before he opens the book",
    "a heavy snow covers the field and the secret of the shepherd",
    "the little drummer walks in front of a tired army",
    "nobody asks the fisherman about the colour of his boat",
    "the painter leaves one corner of the picture quite empty",
    "a lazy goat eats the best flowers of the garden first",
    "four merchants bring salt and paper from the far island",
    "the moon lends the night watchman her pale silver light",
    "an honest thief returns the key before the morning bell",
    "the last train stops where the yellow fields begin",
    "a proud rooster wakes the castle but never the cook",
    "the carpenter builds a narrow bed for his tall son",
    "five small bells ring when the wind turns north again",
    "our uncle hides warm bread from the greedy black crow",
    "the silent monk copies a long song without one mistake",
    "a thin rope holds the great ship against the dark tide",
    "the happy cook burns the soup and sings about it",
)

_WORDS = {
    "determiner": "the a my our his her this every",
    "adjective": (
        "old young grey quiet long dark blue good golden wooden warm broken patient white frozen "
        "small heavy proud empty loud silver brave green narrow hungry sleepy red wise little "
        "tired lazy pale honest yellow tall silent great thin happy black greedy open early "
        "bright cold deep dry fresh gentle hard high new noisy plain quick rich rough round "
        "sharp short slow soft strange strong sweet wet wide wild"
    ),
    "noun": (
        "miller horse barn river boat sea brother door house winter fire neighbour baker window "
        "bird tower king fox hunter queen ring bridge captain road rain soldier sword coat bread "
        "clock man cat farmer lake candle letter stone cart merchant doctor village tree bottle "
        "table evening grandmother wedding sailor lantern storm path market garden teacher gate "
        "town father mill judge book snow field shepherd drummer army fisherman painter picture "
        "goat island moon night light thief key morning bell train rooster castle cook carpenter "
        "bed son wind uncle crow monk song rope ship tide soup "
        "bear basket bench box cave chair child city cloud cup daughter dog dream farm feather "
        "forest friend guest hammer hat hill kitchen knife ladder leaf lion map mirror mother "
        "mountain mouse needle nest owl palace pear pen pilot pond prince puppet rabbit saddle "
        "school shadow shoe shop singer sister spider street student tailor tent tiger valley "
        "violin wagon wall well wheel witch wolf writer"
    ),
    "verb": (
        "keeps carries paints opens hides reads forgets knows tells follows turns plants counts "
        "draws covers leaves eats returns wakes builds copies holds burns "
        "breaks buys calls catches cleans cuts drops feels fills finds fixes gives guards hears "
        "helps hits hunts joins kicks lifts loses loves makes meets misses moves needs owns "
        "passes pulls pushes remembers saves sees sells sends shows steals stops takes teaches "
        "thanks throws touches trusts visits washes watches wears"
    ),
    "preposition": (
        "near under behind before across above below inside outside around through toward past "
        "beside over without"
    ),
    "adverb": (
        "never slowly quickly often again soon there today always gladly quietly together twice "
        "alone badly"
    ),
    "conjunction": "and but while because when until",
}
CLASSES = {name: tuple(words.split()) for name, words in _WORDS.items()}

FOLLOWS: dict[str, dict[str, float]] = {
    "determiner": {"adjective": 0.45, "noun": 0.55},
    "adjective": {"noun": 0.85, "adjective": 0.15},
    "noun": {"verb": 0.4, "preposition": 0.3, "conjunction": 0.2, "adverb": 0.1},
    "verb": {"determiner": 0.6, "preposition": 0.25, "adverb": 0.15},
    "preposition": {"determiner": 1.0},
    "adverb": {"conjunction": 0.35, "preposition": 0.35, "determiner": 0.3},
    "conjunction": {"determiner": 0.9, "adverb": 0.1},
}
"""How often the chain of novel text goes from a class to another; rows sum to 1."""
