"""Markdown: tables of values of every model, and pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...views.recorded import Recorded


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; bars in cells are escaped.

    Example:
        >>> print(table(["a"], [["1|2"]]))
        | a |
        |:--|
        | 1\\|2 |
    """

    def line(cells: Sequence[str]) -> str:
        return (
            "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
        )

    return "\n".join([line(heads), "|" + ":--|" * len(heads), *map(line, rows)])


def of_models(record: Recorded, rows: Sequence[tuple[str, str, int, bool]], first: str = "") -> str:
    """A table with a column for each model.

    Args:
        record: read by path.
        rows: (label, path within a model, decimals, whether it is a share).
        first: heading of the first column.
    """
    cells = [record.row(label, path, digits, share) for label, path, digits, share in rows]
    return table([first, *record.names], [[label, *values] for label, values in cells])


def picture(figures: Mapping[str, str], name: str) -> str:
    """A figure, if there is one of that name."""
    return f"\n\n![{name}]({figures[name]})" if name in figures else ""
