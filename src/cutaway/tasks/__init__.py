"""Tasks: prompt pairs with answers, named positions and a metric; one task per file."""

from .country_capital import country_capital as country_capital
from .docstring import docstring as docstring
from .gendered_pronoun import gendered_pronoun as gendered_pronoun
from .greater_than import greater_than as greater_than
from .ioi import ioi as ioi
from .ioi import ioi_role_swaps as ioi_role_swaps
from .metric import LogitDifference as LogitDifference
from .metric import LogitMargin as LogitMargin
from .metric import LogProbability as LogProbability
from .metric import Metric as Metric
from .metric import ProbabilityDifference as ProbabilityDifference
from .metric import ProbabilityDifferenceOfSets as ProbabilityDifferenceOfSets
from .prompts import TaskError as TaskError
from .registry import TASKS as TASKS
from .registry import TaskFactory as TaskFactory
from .repeated_tokens import repeated_tokens as repeated_tokens
from .subject_verb_agreement import subject_verb_agreement as subject_verb_agreement
from .task import Baseline as Baseline
from .task import Task as Task
