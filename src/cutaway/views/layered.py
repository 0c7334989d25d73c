"""Layered drawing: the order of items within rows, and where each of them stands.

Rows of items, and links between items of neighbouring rows: few links cross and most of them run
straight. The order follows the barycentre heuristic (Sugiyama, Tagawa and Toda 1981, "Methods for
Visual Understanding of Hierarchical System Structures"); the places are least squares, solved row
by row by pooling adjacent violators. Nothing here is random: the same rows give the same drawing.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

_ORDER_SWEEPS = 24
_PLACE_SWEEPS = 60
_STRAIGHTEN_SWEEPS = 4
# How hard every item is drawn to the middle, where a link of weight 1 draws with 1.
_PULL = 0.02


@dataclass(frozen=True)
class Link:
    """A line between two items of neighbouring rows."""

    lower: int
    upper: int
    lower_shift: float = 0.0
    """Where it leaves the lower item, from that item's middle."""
    upper_shift: float = 0.0
    """Where it enters the upper item, from that item's middle."""
    weight: float = 1.0
    """How much it matters that it runs straight."""


def crossings(rows: Sequence[Sequence[int]], links: Sequence[Link]) -> int:
    """How many pairs of links cross, if items stand in this order.

    Example:
        >>> crossings([[0, 1], [2, 3]], [Link(0, 3), Link(1, 2)])
        1
    """
    place = {item: (row, at) for row, items in enumerate(rows) for at, item in enumerate(items)}
    by_row: defaultdict[int, list[tuple[float, float]]] = defaultdict(list)
    for link in links:
        row, lower = place[link.lower]
        # Two links of one item cross where they leave it in the wrong order.
        by_row[row].append(
            (lower + _share(link.lower_shift), place[link.upper][1] + _share(link.upper_shift))
        )
    found = 0
    for ends in by_row.values():
        seen: list[float] = []
        for _, upper in sorted(ends):
            found += len(seen) - bisect_right(seen, upper)
            insort(seen, upper)
    return found


def _share(shift: float) -> float:
    """A shift in pixels as a part of one place, so that it only decides between equals."""
    return shift / 1000


def order_rows(rows: Sequence[Sequence[int]], links: Sequence[Link]) -> list[list[int]]:
    """The same rows, each in an order in which few links cross.

    Args:
        rows: the items of each row, from the bottom.
        links: between an item of one row and an item of the next.
    """
    current = [list(row) for row in rows]
    best, fewest = [list(row) for row in current], crossings(current, links)
    neighbours = _neighbours(links)
    for sweep in range(_ORDER_SWEEPS):
        if not fewest:
            break
        upward = sweep % 2 == 0
        order = range(1, len(rows)) if upward else range(len(rows) - 2, -1, -1)
        for row in order:
            beside = current[row - 1 if upward else row + 1]
            place = {item: (at + 0.5) / len(beside) for at, item in enumerate(beside)}
            current[row] = _by_barycentre(current[row], place, neighbours[upward])
        found = crossings(current, links)
        if found < fewest:
            best, fewest = [list(row) for row in current], found
    return best


def _neighbours(links: Sequence[Link]) -> dict[bool, dict[int, list[tuple[int, float]]]]:
    """True: what stands below each item; False: what stands above; each with its shift there."""
    found: dict[bool, dict[int, list[tuple[int, float]]]] = {
        True: defaultdict(list),
        False: defaultdict(list),
    }
    for link in links:
        found[True][link.upper].append((link.lower, link.lower_shift))
        found[False][link.lower].append((link.upper, link.upper_shift))
    return found


def _by_barycentre(
    items: list[int],
    place: dict[int, float],
    neighbours: dict[int, list[tuple[int, float]]],
) -> list[int]:
    """Sorted by the mean place of their neighbours; one without neighbours keeps its place."""
    keys = {}
    for at, item in enumerate(items):
        near = neighbours.get(item, ())
        means = [place[one] + _share(_share(shift)) for one, shift in near]
        keys[item] = sum(means) / len(means) if means else (at + 0.5) / len(items)
    return sorted(items, key=keys.__getitem__)  # stable: equals stay as they were


def place_items(
    rows: Sequence[Sequence[int]],
    links: Sequence[Link],
    widths: Sequence[float],
    margins: Sequence[float],
) -> list[float]:
    """The middle of each item, so that links run straight and items keep their distance.

    Args:
        rows: the items of each row, in order.
        links: between an item of one row and an item of the next.
        widths: of each item.
        margins: of each item; two neighbours stand at least the mean of their margins apart.

    Returns:
        One number for each item; the drawing is centred at about 0.
    """
    wanted_by: dict[int, list[tuple[int, float, float]]] = defaultdict(list)
    for link in links:
        shift = link.lower_shift - link.upper_shift
        wanted_by[link.upper].append((link.lower, shift, link.weight))
        wanted_by[link.lower].append((link.upper, -shift, link.weight))
    gaps = [
        [(widths[a] + widths[b] + margins[a] + margins[b]) / 2 for a, b in pairwise(row)]
        for row in rows
    ]
    places = [0.0] * len(widths)
    for row, apart in zip(rows, gaps, strict=True):
        for item, x in zip(row, separated([0.0] * len(row), [1.0] * len(row), apart), strict=True):
            places[item] = x
    upward = list(range(len(rows)))
    for sweep in range(_PLACE_SWEEPS):
        for number in upward if sweep % 2 == 0 else reversed(upward):
            row = rows[number]
            wishes, weights = [], []
            for item in row:
                near = wanted_by.get(item, ())
                weight = sum(w for _, _, w in near) + _PULL
                wishes.append(sum(w * (places[one] + shift) for one, shift, w in near) / weight)
                weights.append(weight)
            for item, x in zip(row, separated(wishes, weights, gaps[number]), strict=True):
                places[item] = x
    return places


def straighten(
    rows: Sequence[Sequence[int]],
    chains: Sequence[tuple[float | None, Sequence[int]]],
    places: Sequence[float],
    widths: Sequence[float],
    margins: Sequence[float],
) -> list[float]:
    """The same places, with chains of items upright for as long as their neighbours leave room.

    Args:
        rows: the items of each row, in order.
        chains: where the chain comes from, or None, and its items, row by row.
        places, widths, margins: of each item, as in `place_items`.
    """
    moved = list(places)
    beside: dict[int, tuple[int | None, int | None]] = {}
    for row in rows:
        for at, item in enumerate(row):
            right = row[at + 1] if at + 1 < len(row) else None
            beside[item] = (row[at - 1] if at else None, right)

    def room(item: int) -> tuple[float, float]:
        ends = []
        for sign, other in zip((-1, 1), beside[item], strict=True):
            if other is None:
                ends.append(sign * float("inf"))
                continue
            apart = (widths[item] + widths[other] + margins[item] + margins[other]) / 2
            ends.append(moved[other] - sign * apart)
        return ends[0], ends[1]

    for _ in range(_STRAIGHTEN_SWEEPS):
        for origin, items in chains:
            x, at = origin, 0
            while at < len(items):
                low, high = room(items[at])
                end = at + 1
                while end < len(items):
                    below, above = room(items[end])
                    if max(low, below) > min(high, above):
                        break
                    low, high, end = max(low, below), min(high, above), end + 1
                mean = sum(moved[item] for item in items[at:end]) / (end - at)
                x = min(max(mean if x is None else x, low), high)
                for item in items[at:end]:
                    moved[item] = x
                at = end
    return moved


def separated(
    wishes: Sequence[float], weights: Sequence[float], gaps: Sequence[float]
) -> list[float]:
    """Places as near to the wishes as the distances between neighbours allow.

    The weighted sum of squares is least: isotonic regression of the wishes, less the distances.

    Args:
        wishes: where each item would like to stand, in the order in which they stand.
        weights: positive, one for each.
        gaps: the least distance of each to the next.

    Example:
        >>> separated([0.0, 0.0], [1.0, 1.0], [10.0])
        [-5.0, 5.0]
    """
    offsets = [0.0]
    for gap in gaps:
        offsets.append(offsets[-1] + gap)
    blocks: list[list[float]] = []  # mean, weight, how many
    for wish, weight, offset in zip(wishes, weights, offsets, strict=False):
        blocks.append([wish - offset, weight, 1])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            mean, weight_above, n = blocks.pop()
            below = blocks[-1]
            total = below[1] + weight_above
            below[0] = (below[0] * below[1] + mean * weight_above) / total
            below[1], below[2] = total, below[2] + n
    means = [mean for mean, _, n in blocks for _ in range(int(n))]
    return [mean + offset for mean, offset in zip(means, offsets, strict=False)]
