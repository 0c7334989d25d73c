"""Features described by simple rules, with how often the rule is right on other text.

A rule says at which tokens a feature fires: on one token, on one of a few, on a named set of
tokens, after a token, after one of a set, at a position. It is chosen on one text and counted on
another. What no such rule describes stays without a description, which is the honest label.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..evidence import Interval, proportion
from .fires import Firings

Where = Literal["on", "after", "at"]
Integers = NDArray[np.int64]
_NONE = -1


@dataclass(frozen=True)
class Rule:
    """A rule for one feature, and how well it holds on text that it was not chosen on."""

    feature: int
    where: Where
    """on: the token itself; after: the token before; at: the position."""
    members: tuple[int, ...]
    """Tokens, or one position."""
    name: str
    """Of a set of tokens; empty where the members are listed."""
    precision: Interval
    """Of the tokens that the rule names, the share at which the feature fires."""
    recall: Interval
    """Of the tokens at which the feature fires, the share that the rule names."""

    @property
    def f1(self) -> float:
        """Harmonic mean of both."""
        p, r = self.precision.estimate, self.recall.estimate
        return 2 * p * r / (p + r) if p + r > 0 else 0.0

    def text(self, words: Sequence[str]) -> str:
        """The rule in words.

        Args:
            words: text of every token.

        Example:
            >>> rule.text(words)
            "on ' Mary'"
        """
        if self.where == "at":
            return f"at position {self.members[0]}"
        named = self.name or " or ".join(repr(words[token]) for token in self.members)
        return f"{self.where} {named}"


@dataclass(frozen=True, eq=False)
class _Counts:
    """Tokens of a text by what rules look at, all and per feature."""

    token: Integers
    """[sequence * pos], of every place; _NONE where it does not count."""
    before: Integers
    """The same for the token before."""
    position: Integers

    @classmethod
    def of(cls, found: Firings) -> _Counts:
        tokens, kept = found.tokens, found.kept
        before = np.full_like(tokens, _NONE)
        before[:, 1:] = tokens[:, :-1]
        position = np.broadcast_to(np.arange(tokens.shape[1]), tokens.shape)
        laid_out = (np.where(kept, one, _NONE).ravel() for one in (tokens, before, position))
        return cls(*laid_out)

    def by(self, where: Where) -> Integers:
        """What a rule of this kind looks at, at every place."""
        return {"on": self.token, "after": self.before, "at": self.position}[where]


def describe(
    chosen_on: Firings,
    counted_on: Firings,
    n_tokens: int,
    sets: Mapping[str, Sequence[int]] | None = None,
    *,
    most_members: int = 5,
    least_f1: float = 0.5,
    fewest: int = 5,
) -> list[Rule | None]:
    """The best simple rule of every feature.

    Args:
        chosen_on: firings on the text that rules are chosen on, by F1.
        counted_on: on another text; precision and recall, with Wilson intervals, are those there.
        n_tokens: size of the vocabulary.
        sets: named sets of tokens, such as {"a name": [...]}.
        most_members: tokens of a rule that lists them.
        least_f1: on the first text; below it there is no rule.
        fewest: firings on either text; below it there is none.

    Returns:
        One for each feature; None where no rule is good enough, or it fires too rarely.

    Raises:
        ValueError: firings of two dictionaries.

    Example:
        >>> rules = describe(fit, held_out, model.cfg.d_vocab, {"a name": names})
        >>> sum(rule is not None for rule in rules) / len(rules)
    """
    if chosen_on.n_features != counted_on.n_features:
        raise ValueError(
            f"the texts were read by different dictionaries: {chosen_on.n_features} and "
            f"{counted_on.n_features} features."
        )
    counts = _Counts.of(chosen_on)
    n_pos = chosen_on.tokens.shape[1]
    sizes: dict[Where, int] = {"on": n_tokens, "after": n_tokens, "at": n_pos}
    totals = {where: _bins(counts.by(where), size) for where, size in sizes.items()}
    named = {name: np.unique(np.asarray(own, dtype=np.int64)) for name, own in (sets or {}).items()}
    other = _Counts.of(counted_on)
    rules: list[Rule | None] = []
    for feature in range(chosen_on.n_features):
        place = chosen_on.of(feature)[0]
        if len(place) < fewest or len(counted_on.of(feature)[0]) < fewest:
            rules.append(None)
            continue
        fired = {where: _bins(counts.by(where)[place], size) for where, size in sizes.items()}
        found = _best(fired, totals, named, len(place), most_members)
        f1, where, members, name = max(found, key=lambda one: one[0])
        if f1 < least_f1:
            rules.append(None)
            continue
        rules.append(_counted(feature, where, members, name, other, counted_on))
    return rules


def _best(
    fired: Mapping[Where, Integers],
    totals: Mapping[Where, Integers],
    named: Mapping[str, Integers],
    n_fired: int,
    most_members: int,
) -> list[tuple[float, Where, tuple[int, ...], str]]:
    """The best rule of each kind, with its F1 on the text it is chosen on.

    Simpler rules come first, and `max` keeps the first of equals.
    """
    found: list[tuple[float, Where, tuple[int, ...], str]] = []
    of_tokens: tuple[Where, ...] = ("on", "after")
    for where in of_tokens:
        found.append((*_listed(fired[where], totals[where], n_fired, where, 1), ""))
    for where in of_tokens:
        for name, own in named.items():
            f1 = _f1(fired[where][own].sum(), totals[where][own].sum(), n_fired)
            found.append((f1, where, tuple(own.tolist()), name))
    found.append((*_listed(fired["at"], totals["at"], n_fired, "at", 1), ""))
    for where in of_tokens:
        found.append((*_listed(fired[where], totals[where], n_fired, where, most_members), ""))
    return found


def _listed(
    fired: Integers, totals: Integers, n_fired: int, where: Where, most: int
) -> tuple[float, Where, tuple[int, ...]]:
    """At most `most` members, taken in the order of their share of firings, best F1."""
    there = np.flatnonzero(fired)
    if not len(there):
        return 0.0, where, ()
    if most == 1:
        scores = 2 * fired[there] / (totals[there] + n_fired)
        best = int(scores.argmax())
        return float(scores[best]), where, (int(there[best]),)
    # Of those that fire most: a rare token that fires by chance must not push out a common one.
    top = there[np.argsort(-fired[there], kind="stable")[: 4 * most]]
    order = top[np.argsort(-(fired[top] / totals[top]), kind="stable")]
    hits, named = np.cumsum(fired[order]), np.cumsum(totals[order])
    scores = 2 * hits / (named + n_fired)
    n = int(scores[:most].argmax()) + 1
    return float(scores[n - 1]), where, tuple(sorted(order[:n].tolist()))


def _counted(
    feature: int,
    where: Where,
    members: tuple[int, ...],
    name: str,
    counts: _Counts,
    found: Firings,
) -> Rule:
    """The rule with what it is worth on the other text."""
    looked_at = counts.by(where)
    place = found.of(feature)[0]
    n_named = int(np.isin(looked_at, members).sum())
    hits = int(np.isin(looked_at[place], members).sum())
    precision = proportion(hits, n_named) if n_named else _UNKNOWN
    return Rule(feature, where, members, name, precision, proportion(hits, len(place)))


_UNKNOWN = Interval(0.0, 0.0, 1.0, 0.95, 0)
"""Precision of a rule that names nothing in the other text."""


def _f1(hits: Any, named: Any, n_fired: int) -> float:
    return float(2 * hits / (named + n_fired)) if named + n_fired else 0.0


def _bins(values: Integers, size: int) -> Integers:
    """How often each value from 0 on occurs."""
    return np.bincount(values[values >= 0], minlength=size)
