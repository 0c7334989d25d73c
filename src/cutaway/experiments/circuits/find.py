"""A circuit by the name that a command is given: a file, a run, or the beginning of a run's id."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...circuits.circuit import Circuit, CircuitError
from ...findings import Run, load_run
from ...findings.run import RunError

FILE = "circuit.json"


@dataclass(frozen=True)
class FoundCircuit:
    """A circuit, and the run that found it, if it is known."""

    circuit: Circuit
    run: Run | None = None

    @property
    def name(self) -> str:
        """What tables call it."""
        return f"{self.circuit.method}" + (f" ({self.run.id})" if self.run else "")

    def asked(self, name: str, default: str = "") -> str:
        """A setting of the run that found it."""
        value = None if self.run is None else self.run.record["settings"].get(name)
        return default if value is None else str(value)


def find_circuit(given: str, root: Path) -> FoundCircuit:
    """The circuit that a command was given.

    Args:
        given: a circuit.json, a run folder that holds one, or as much of a run's id as is needed.
        root: the folder in which runs are looked for.

    Raises:
        CircuitError: there is no such file or run, or it holds no circuit.
    """
    path = Path(given)
    if path.is_file():
        return FoundCircuit(Circuit.load(path), _run_of(path.parent))
    try:
        run = load_run(given, root)
    except RunError as error:
        raise CircuitError(
            f"{given!r} is neither a file that holds a circuit nor a run: {error}"
        ) from None
    if not (run.path / FILE).is_file():
        raise CircuitError(
            f"the run {run.path.name} has no {FILE}: give one of `cutaway circuit discover`, or a "
            "file, such as circuits/exact-edges.json of `cutaway run circuit`."
        )
    return FoundCircuit(Circuit.load(run.path / FILE), run)


def _run_of(folder: Path) -> Run | None:
    for place in (folder, folder.parent):
        if (place / "record.json").is_file():
            try:
                return load_run(place)
            except RunError:
                return None
    return None
