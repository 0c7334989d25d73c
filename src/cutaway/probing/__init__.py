"""What can be read from a model's activations by linear probes, and whether the model uses it.

Example:
    >>> import cutaway as ca
    >>> model = ca.HookedTransformer.from_pretrained("ioi-mini")  # doctest: +SKIP
    >>> task = ca.tasks.ioi(model, n_prompts=1024)  # doctest: +SKIP
    >>> found = ca.probing.probe(model, task, "answer", positions=["S2", "END"])  # doctest: +SKIP
    >>> found.selectivity(layer=3, position="END")  # doctest: +SKIP
"""

from .controls import control_labels as control_labels
from .controls import shuffled_labels as shuffled_labels
from .data import ProbeData as ProbeData
from .data import collect as collect
from .directions import mean_difference as mean_difference
from .erasure import Eraser as Eraser
from .erasure import erase as erase
from .erasure_effect import ErasureMap as ErasureMap
from .erasure_effect import erasure_effect as erasure_effect
from .erasure_effect import erasure_map as erasure_map
from .labels import Labels as Labels
from .labels import labels_of_task as labels_of_task
from .linear_probe import LinearProbe as LinearProbe
from .linear_probe import fit_probe as fit_probe
from .probe import fit_probes as fit_probes
from .probe import probe as probe
from .prompt_set import PromptSet as PromptSet
from .results import ProbeResults as ProbeResults
from .settings import ProbeSettings as ProbeSettings
from .splits import Split as Split
from .splits import split as split
