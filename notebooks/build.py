"""Run the notebooks: from each text source `NN_name.py` to its executed copy `NN_name.ipynb`.

    python notebooks/build.py                  all of them, on the embedded model
    python notebooks/build.py 00_baseline      one of them
    python notebooks/build.py --model gpt2 --out /tmp/gpt2    on another model, elsewhere

The text source (jupytext's percent format) is what is edited and reviewed; the executed copy is
made from it, and a test holds the two together.
"""

from __future__ import annotations

import argparse
import base64
import os
import re
import sys
import tempfile
import time
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import jupytext
import nbformat
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbformat import NotebookNode
from PIL import Image
from traitlets.config import Config

from cutaway.files import write_text

FOLDER = Path(__file__).resolve().parent
_MODEL_LINE = re.compile(r'^MODEL = ".*?"', re.MULTILINE)
_CELL_SECONDS = 1800  # a cell that takes longer has hung (GPT-2 on one slow core included)


class ThisPython(AsyncKernelManager):
    """Starts the kernel in the Python that runs this script, whatever kernels are installed."""

    @property
    def kernel_spec(self) -> KernelSpec:
        """Never looked up by name: another environment's "python3" could be found first."""
        command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=command, display_name="Python 3", language="python")


def sources() -> list[Path]:
    """The text sources of the course, in their order."""
    return sorted(FOLDER.glob("[0-9][0-9]_*.py"))


def read_source(path: Path) -> NotebookNode:
    """The notebook that a text source describes, without outputs."""
    notebook = jupytext.read(path, fmt="py:percent")
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    for number, cell in enumerate(notebook.cells):
        cell.id = f"{path.stem}-{number:02d}"  # random by default: every build would differ
        cell.metadata = nbformat.from_dict({})
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook


def with_model(notebook: NotebookNode, model: str) -> NotebookNode:
    """The notebook with another model's name or folder in its first code cell."""
    for cell in notebook.cells:
        if cell.cell_type == "code" and _MODEL_LINE.search(cell.source):
            cell.source = _MODEL_LINE.sub(lambda _: f"MODEL = {model!r}", cell.source)
            return notebook
    raise ValueError("the notebook has no line that begins with MODEL =.")


def made_smaller(notebook: NotebookNode) -> NotebookNode:
    """The notebook with its pictures in 160 colours (half the size, and hard to tell), and
    without the arrays that interactive views hold as text."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "text/html" in data:
                data["text/plain"] = "(an interactive view: run the notebook to see it)"
            if "image/png" in data:
                picture = Image.open(BytesIO(base64.b64decode(data["image/png"]))).convert(
                    "RGB"
                )
                small = BytesIO()
                picture.quantize(160, dither=Image.Dither.NONE).save(
                    small, "png", optimize=True
                )
                data["image/png"] = base64.b64encode(small.getvalue()).decode() + "\n"
    return notebook


def execute(notebook: NotebookNode, folder: Path = FOLDER) -> NotebookNode:
    """Run every cell from top to bottom, in `folder`; the outputs are put into the notebook.

    Raises:
        CellExecutionError: a cell raised.
    """
    with tempfile.TemporaryDirectory(prefix="cutaway-") as own:
        # The kernel is reached through sockets in this folder, not through ports of the machine.
        sockets = {"transport": "ipc", "ip": f"{own}/kernel"}
        client = NotebookClient(
            notebook,
            timeout=_CELL_SECONDS,
            kernel_manager_class=ThisPython,
            resources={"metadata": {"path": str(folder)}},
            record_timing=False,
            config=Config({"ThisPython": sockets}),
        )
        # One thread, so that sums are added in one order; none of the user's IPython settings.
        client.execute(env={**os.environ, "OMP_NUM_THREADS": "1", "IPYTHONDIR": own})
    return notebook


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", help="such as 00_baseline; none means all")
    parser.add_argument("--model", help="a name or folder, in place of the embedded model")
    parser.add_argument("--out", type=Path, default=FOLDER, help="where to write the copies")
    options = parser.parse_args(arguments)
    if options.model and options.out.resolve() == FOLDER:
        parser.error("--model needs --out: the copies here are of the embedded model.")
    wanted = {name.removesuffix(".py") for name in options.names}
    unknown = wanted - {path.stem for path in sources()}
    if unknown:
        parser.error(f"there is no notebook {', '.join(sorted(unknown))}.")
    for path in sources():
        if wanted and path.stem not in wanted:
            continue
        started = time.perf_counter()
        notebook = read_source(path)
        if options.model:
            notebook = with_model(notebook, options.model)
        copy = options.out / f"{path.stem}.ipynb"
        executed = made_smaller(execute(notebook))
        write_text(copy, nbformat.writes(executed) + "\n")
        seconds, size = time.perf_counter() - started, copy.stat().st_size
        print(f"{copy}: {seconds:.1f} s, {size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
