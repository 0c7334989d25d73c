"""Models whose circuit is known because their weights were written by hand, to try methods on."""

from .base import KnownModel as KnownModel
from .base import KnownSettings as KnownSettings
from .in_weights import circuit_in_weights as circuit_in_weights
from .in_weights import edges_in_weights as edges_in_weights
from .registry import KNOWN as KNOWN
from .registry import all_known as all_known
