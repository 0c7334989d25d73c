"""Audits of memory: what caches, weights and passes hold, measured, foretold, and what fits.

`kv_cache` intercepts the forward pass as a sequence grows; `activations` measures `run_with_cache`
by name; `forward_peak` the most memory at once; `predict_memory` and `what_fits` need no weights.
"""

from .activation_shapes import Activation as Activation
from .activation_shapes import activation_shapes as activation_shapes
from .activation_shapes import total_bytes as total_bytes
from .activations import ActivationAudit as ActivationAudit
from .activations import activations as activations
from .caches import ConcatenatingCache as ConcatenatingCache
from .caches import LeakingCache as LeakingCache
from .caches import WholeCache as WholeCache
from .formulas import kv_bytes as kv_bytes
from .formulas import kv_bytes_per_token as kv_bytes_per_token
from .formulas import logits_bytes as logits_bytes
from .formulas import n_parameters as n_parameters
from .formulas import weight_bytes as weight_bytes
from .interception import Allocations as Allocations
from .known_shapes import KNOWN_SHAPES as KNOWN_SHAPES
from .known_shapes import load_shape as load_shape
from .kv_audit import KVAudit as KVAudit
from .kv_cache import kv_cache as kv_cache
from .passes import ForwardPeak as ForwardPeak
from .passes import estimated_peaks as estimated_peaks
from .passes import forward_peak as forward_peak
from .prediction import Fits as Fits
from .prediction import MemoryPrediction as MemoryPrediction
from .prediction import predict_memory as predict_memory
from .prediction import what_fits as what_fits
from .spans import bytes_held as bytes_held
from .weights import WeightAudit as WeightAudit
from .weights import weights as weights
from .working import working_bytes as working_bytes
