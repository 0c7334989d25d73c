"""Discovery: methods that look for the circuit of a task, one per file, all called alike."""

from .discover import METHODS as METHODS
from .discover import Method as Method
from .discover import circuit_of as circuit_of
from .discover import discover as discover
from .discover import score as score
from .settings import DiscoverySettings as DiscoverySettings
