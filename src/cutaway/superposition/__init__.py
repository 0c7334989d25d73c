"""Toy models of superposition: more features than dimensions, trained many at once.

`ca.superposition` gives the calls that users need; the parts are modules of this package.
"""

from .basis import alignment as alignment
from .basis import rotate_hidden as rotate_hidden
from .computation import loss_without_superposition as loss_without_superposition
from .computation import monosemantic_share as monosemantic_share
from .computation import n_computed as n_computed
from .data import SparseFeatures as SparseFeatures
from .geometry import PLATEAUS as PLATEAUS
from .geometry import dimensions_per_feature as dimensions_per_feature
from .geometry import feature_dimensionality as feature_dimensionality
from .geometry import interference as interference
from .geometry import parts as parts
from .geometry import random_directions as random_directions
from .geometry import represented as represented
from .geometry import shape as shape
from .linear import best_linear_loss as best_linear_loss
from .phase import measured_phase as measured_phase
from .phase import phase_losses as phase_losses
from .phase import predicted_phase as predicted_phase
from .toy_model import ToyModel as ToyModel
from .trained import TrainedToys as TrainedToys
from .training import ToyTraining as ToyTraining
from .training import train_toys as train_toys
