"""Evaluation: is a circuit faithful, complete, minimal and stable?"""

from .completeness import Completeness as Completeness
from .completeness import completeness as completeness
from .curve import Curve as Curve
from .curve import sufficiency_curve as sufficiency_curve
from .evaluate import Evaluation as Evaluation
from .evaluate import evaluate as evaluate
from .faithfulness import Faithfulness as Faithfulness
from .faithfulness import faithfulness as faithfulness
from .minimality import Minimality as Minimality
from .minimality import minimality as minimality
from .stability import Stability as Stability
from .stability import stability as stability
from .stability import stability_over_prompts as stability_over_prompts
from .trial import How as How
from .trial import Trial as Trial
