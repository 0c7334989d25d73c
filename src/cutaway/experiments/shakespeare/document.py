"""FINDINGS.md: the whole study in words, each value with the path in results.json behind it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...views.recorded import Recorded
from . import document_findings as part
from . import document_methods as rest
from .document_induction import induction
from .markdown import table

REFERENCES = (
    "Elhage et al. 2021, A Mathematical Framework for Transformer Circuits.",
    "Olsson et al. 2022, In-context Learning and Induction Heads.",
    "Olah et al. 2020, Zoom In: An Introduction to Circuits.",
    "Wang et al. 2022, Interpretability in the Wild.",
    "nostalgebraist 2020, interpreting GPT: the logit lens.",
    "Belrose et al. 2023, Eliciting Latent Predictions with the Tuned Lens.",
    "Witten and Bell 1991; Chen and Goodman 1999: n-gram models.",
    "Cliff 1993; Newcombe 1998: the intervals of areas and of differences of shares.",
    "Karpathy, nanoGPT and char-rnn: the shape of the models, and the text.",
)


def write_up(results: Mapping[str, Any], figures: Mapping[str, str]) -> str:
    """The document.

    Args:
        results: what results.json holds; nothing else is printed as a measured value.
        figures: name -> path beside the document, of the figures that could be drawn.

    Example:
        >>> write_up(run.results(), {}).startswith("# ")  # doctest: +SKIP
        True
    """
    record = Recorded(results, cites=True)
    parts = [
        _head(record),
        part.models(record),
        induction(record, figures),
        part.specialisation(record, figures),
        part.prediction(record, figures),
        part.new_findings(record, figures),
        rest.methods(record),
        rest.challenges(record),
        rest.reproducibility(record),
        rest.open_questions(record),
        _figures(figures),
        _artifacts(),
        "## References\n\n" + "\n".join(f"- {one}" for one in REFERENCES),
        _missing(record),
        _where_from(record),
    ]
    return "\n\n".join(parts).rstrip() + "\n"


def _head(record: Recorded) -> str:
    about = record.get("about") or {}
    lines = "\n".join(f"- {line}" for line in record.get("summary") or ())
    return (
        "# Findings on small character models of Shakespeare\n\n"
        f"Measured {str(about.get('started', ''))[:10]} by `{about.get('command', '')}` in "
        f"{record.text('timings/all', 0)} seconds on {about.get('machine', 'an unknown machine')} "
        f"({about.get('versions', '')}; commit {about.get('commit', 'unknown')}).\n\n"
        "Every value below was looked up in `results.json` of this run; the footnote behind it is "
        "its path there. Where a value is missing the text says so, and why. Brackets are 95% "
        "intervals; in a row with several cells each is one model.\n\n"
        f"## In short\n\n{lines}"
    )


def _figures(figures: Mapping[str, str]) -> str:
    if not figures:
        return "## Figures\n\nNone could be drawn from what was measured."
    return "## Figures\n\n" + "\n".join(f"- {name}: `{path}`" for name, path in figures.items())


def _artifacts() -> str:
    return (
        "## Where things are\n\n"
        "- `results.json`: every number, with its interval\n"
        "- `record.json`: settings, versions, machine, digests of models, seconds of each step\n"
        "- `report.html`: the same findings as a page with figures to point at\n"
        "- `figures/`: the figures of this document\n"
        "- `models/`: the trained models and their checkpoints, if this run trained them"
    )


def _missing(record: Recorded) -> str:
    if not record.missing:
        return "## Not measured\n\nEverything that was asked for was measured."
    rows = [[f"`{path}`", why] for path, why in record.missing.items()]
    return f"## Not measured\n\n{table(['path in results.json', 'why'], rows)}"


def _where_from(record: Recorded) -> str:
    lines = [f"[^{n}]: results.json: `{path}`" for n, path in enumerate(record.read, start=1)]
    return "\n".join(lines)


def has_blank(text: str) -> bool:
    """Whether a document still has a blank of the template."""
    return any(blank in text for blank in ("TBD", "X.XX", "Y.YY"))
