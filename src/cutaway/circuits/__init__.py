"""Circuits: found by several methods, tested, compared, and tried on known answers first."""

from .circuit import Circuit as Circuit
from .circuit import CircuitError as CircuitError
from .compare import compare_heads as compare_heads
from .discovery import METHODS as METHODS
from .discovery import discover as discover
from .discovery import score as score
from .evaluation import evaluate as evaluate
from .evaluation import stability as stability
from .evaluation import sufficiency_curve as sufficiency_curve
from .published import published as published
from .random_circuits import random_circuits as random_circuits
from .runs import CircuitRuns as CircuitRuns
