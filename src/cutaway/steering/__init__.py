"""Steering: a direction is written into the residual stream, and what the model says is measured.

`ca.steering` gives the calls that users need; the parts are modules of this package.
"""

from .applied import applied as applied
from .applied import intervention as intervention
from .dose_response import dose_response as dose_response
from .norms import residual_norms as residual_norms
from .response import DoseResponse as DoseResponse
from .sources import activation_difference as activation_difference
from .sources import embedding_difference as embedding_difference
from .sources import mean_difference as mean_difference
from .values import Steer as Steer
from .vectors import SteeringVector as SteeringVector
from .vectors import random_like as random_like
