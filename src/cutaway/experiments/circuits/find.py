"""A circuit by the name that a command is given: a file, a run, or the beginning of a run's id."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...circuits.circuit import Circuit, CircuitError
from ...findings import Run, list_runs, load_run
from ...findings.run import LATEST, RunError

FILE = "circuit.json"


@dataclass(frozen=True)
class FoundCircuit:
    """A circuit, and the run that it comes from, if it is known."""

    circuit: Circuit
    run: Run | None = None
    file: str = ""
    """Its name, of a circuit that was given as a file."""

    @property
    def name(self) -> str:
        """What tables call it."""
        place = self.run.id if self.run is not None and self.file in ("", FILE) else self.file
        return f"{self.circuit.method} ({place})"

    def reference(self, given: str) -> str:
        """What a record says it was: the file that was given, or the run that "latest" came to."""
        return given if self.file or self.run is None else self.run.id

    def asked(self, name: str, default: str = "") -> str:
        """A setting of the run that it comes from; the default where it is not known."""
        value = None if self.run is None else self.run.record["settings"].get(name)
        return str(value) if value else default


def find_circuit(given: str, root: Path) -> FoundCircuit:
    """The circuit that a command was given.

    Args:
        given: a circuit.json, a run folder that holds one, as much of a run's id as is needed, or
            "latest" for the last run that holds one.
        root: the folder in which runs are looked for.

    Raises:
        CircuitError: there is no such file or run, or it holds no circuit.
    """
    path = Path(given)
    if path.is_file():
        return FoundCircuit(Circuit.load(path), _run_of(path.parent), path.name)
    if given == LATEST:
        return _latest(root)
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


def _latest(root: Path) -> FoundCircuit:
    """The circuit of the last run that holds one, whatever was run since."""
    for run in reversed(list_runs(root)[0]):
        if (run.path / FILE).is_file():
            return FoundCircuit(Circuit.load(run.path / FILE), run)
    raise CircuitError(
        f"no run in {root} holds a circuit yet: `cutaway circuit discover` finds one."
    )


def _run_of(folder: Path) -> Run | None:
    for place in (folder, folder.parent):
        if (place / "record.json").is_file():
            try:
                return load_run(place)
            except RunError:
                return None
    return None
