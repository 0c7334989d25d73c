"""Circuits: found by several methods, tested, compared, and tried on known answers first."""

from .circuit import Circuit as Circuit
from .circuit import CircuitError as CircuitError
from .discovery import METHODS as METHODS
from .discovery import discover as discover
from .discovery import score as score
from .runs import CircuitRuns as CircuitRuns
