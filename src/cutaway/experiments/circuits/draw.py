"""`cutaway circuit draw`: a circuit as a page to walk through, or as an SVG."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...circuits.circuit import CircuitError, require_edges
from ...files import write_text
from ...views.circuit_graph import CircuitGraphView
from .find import find_circuit
from .settings import DrawSettings

if TYPE_CHECKING:
    from rich.console import Console


def run_draw(settings: DrawSettings, console: Console) -> None:
    """Draw a circuit into a file, and say where it is.

    Raises:
        CircuitError: a circuit that is not there or is empty; a file that is neither .html nor
            .svg.
    """
    if settings.out.suffix not in (".html", ".svg"):
        raise CircuitError(f"out={settings.out} ends neither in .html nor in .svg: name one.")
    circuit = find_circuit(settings.circuit, settings.root).circuit
    require_edges(circuit, "draw")
    title = f"The circuit of {circuit.task or 'no task'} in {circuit.cfg.model_name}"
    view = CircuitGraphView(circuit, title=title, most=settings.most)
    is_page = settings.out.suffix == ".html"
    write_text(settings.out, view.page_html(title) if is_page else view.svg())
    console.print(str(circuit), soft_wrap=True, markup=False)
    console.print(f"drawn in {settings.out}", soft_wrap=True, markup=False)
