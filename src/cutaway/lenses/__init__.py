"""Lenses: what the residual stream of each layer would predict, if the model stopped there."""

from .comparison import InputComparison as InputComparison
from .comparison import compare_inputs as compare_inputs
from .component_readings import ComponentReadings as ComponentReadings
from .components import component_lens as component_lens
from .convergence import Convergence as Convergence
from .convergence import convergence as convergence
from .logit_lens import logit_lens as logit_lens
from .readings import LensReadings as LensReadings
from .trajectories import Trajectory as Trajectory
from .trajectories import overtaking as overtaking
from .trajectories import trajectory as trajectory
from .tuned_lens import TunedLens as TunedLens
from .tuned_training import LensErrors as LensErrors
from .tuned_training import lens_errors as lens_errors
from .tuned_training import mean_prediction as mean_prediction
from .tuned_training import train_tuned_lens as train_tuned_lens
