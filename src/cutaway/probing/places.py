"""Where probes read: axes such as layer, head and position, and one place on them."""

from __future__ import annotations

from collections.abc import Sequence

from ..patching.effects import Axis

Place = dict[str, str]
"""Axis name -> label, as {"layer": "2", "position": "END"}."""


def index_of(axes: Sequence[Axis], place: dict[str, str | int]) -> tuple[int, ...]:
    """The index of one place on the axes.

    Args:
        axes: of the results.
        place: axis name -> label; an axis of one entry may be left out.

    Raises:
        ValueError: an axis or a label that is not there; an axis that is left open.

    Example:
        >>> index_of((Axis("layer", ("0", "1")), Axis("position", ("END",))), {"layer": 1})
        (1, 0)
    """
    names = [axis.name for axis in axes]
    unknown = [name for name in place if name not in names]
    if unknown:
        raise ValueError(f"there is no axis {unknown[0]!r}; the axes are {', '.join(names)}.")
    index = []
    for axis in axes:
        if axis.name not in place and len(axis.labels) > 1:
            raise ValueError(
                f"{axis.name} is left open: give one of {', '.join(map(str, axis.labels))}."
            )
        label = str(place.get(axis.name, axis.labels[0]))
        if label not in axis.labels:
            raise ValueError(
                f"there is no {axis.name} {label!r} here; there are {', '.join(axis.labels)}."
            )
        index.append(axis.labels.index(label))
    return tuple(index)


def place_at(axes: Sequence[Axis], index: Sequence[int]) -> Place:
    """The labels of one index."""
    return {axis.name: axis.labels[int(i)] for axis, i in zip(axes, index, strict=True)}


def place_name(place: Place) -> str:
    """A place in words.

    Example:
        >>> place_name({"layer": "2", "head": "5", "position": "END"})
        'head 2.5 at END'
        >>> place_name({"layer": "2", "position": "7"})
        'layer 2 at token 7'
    """
    position = place.get("position", "")
    at = f"at token {position}" if position.lstrip("-").isdecimal() else f"at {position}"
    if "head" in place:
        return f"head {place['layer']}.{place['head']} {at}"
    return f"layer {place['layer']} {at}"
