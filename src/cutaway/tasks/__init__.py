"""Tasks: prompt pairs with answers, named positions and a metric; one task per file."""

from .ioi import ioi as ioi
from .ioi import ioi_role_swaps as ioi_role_swaps
from .metric import LogitDifference as LogitDifference
from .metric import LogProbability as LogProbability
from .metric import Metric as Metric
from .metric import ProbabilityDifference as ProbabilityDifference
from .prompts import TaskError as TaskError
from .task import Baseline as Baseline
from .task import Task as Task
