"""The table in a Markdown file: what stands between two marks, written anew and the rest kept."""

from __future__ import annotations

from pathlib import Path

from ... import files

BEGIN = "<!-- cutaway calibrate: the table begins -->"
END = "<!-- cutaway calibrate: the table ends -->"


def check_marks(path: Path) -> None:
    """Refuse a file that has no place for the table, before the work begins.

    Raises:
        ValueError: no such file, or not each mark once, the first one first.
    """
    _around(path)


def write_between_marks(path: Path, table: str) -> None:
    """Put the table between the marks; the file is whole at any time.

    Raises:
        ValueError: no such file, or not each mark once, the first one first.

    Example:
        >>> write_between_marks(Path("docs/methods/calibration.md"), "| a |")  # doctest: +SKIP
    """
    before, after = _around(path)
    files.write_text(path, f"{before}{BEGIN}\n\n{table.strip()}\n\n{END}{after}")


def between_marks(path: Path) -> str:
    """The table that stands there."""
    before, after = _around(path)
    text = path.read_text(encoding="utf-8")
    return text[len(before) + len(BEGIN) : len(text) - len(after) - len(END)].strip()


def _around(path: Path) -> tuple[str, str]:
    """What stands before the first mark, and after the second."""
    if not path.is_file():
        raise ValueError(f"there is no file {path} to write the table into.")
    text = path.read_text(encoding="utf-8")
    begin, end = text.find(BEGIN), text.find(END)
    if text.count(BEGIN) != 1 or text.count(END) != 1 or end < begin:
        raise ValueError(
            f"{path} has no place for the table: write the line {BEGIN} and after it {END}, each "
            "once."
        )
    return text[:begin], text[end + len(END) :]
