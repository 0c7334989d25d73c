"""Cutaway shows what happens inside a small language model, and proves it.

Example:
    >>> import cutaway as ca
    >>> model = ca.HookedTransformer.from_pretrained("ioi-mini")  # doctest: +SKIP
    >>> task = ca.tasks.ioi(model, n_prompts=64)  # doctest: +SKIP
    >>> ca.sweep(model, task, "z").top(10)  # doctest: +SKIP

Importing this package loads nothing: each public name is fetched from its module when it is first
asked for, so that `cutaway --help` and `import cutaway` do not wait for torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .version import __version__ as __version__

# A public name stands here and, for type checkers and editors, in the block below; a test in
# tests/test_public_names.py holds the two together.
_MODULE_OF = {
    "ActivationCache": "cutaway.model.cache",
    "DirectAttribution": "cutaway.attribution.direct",
    "Effects": "cutaway.patching.effects",
    "FactoredMatrix": "cutaway.model.factored",
    "Graph": "cutaway.patching.graph",
    "HookPoint": "cutaway.model.hooks",
    "HookedTransformer": "cutaway.model.transformer",
    "HookedTransformerConfig": "cutaway.model.field_config",
    "Interval": "cutaway.evidence",
    "Intervention": "cutaway.patching.edits",
    "ModelConfig": "cutaway.model.config",
    "SourceAttribution": "cutaway.attribution.sources",
    "Task": "cutaway.tasks.task",
    "TrainConfig": "cutaway.training.config",
    "agreement": "cutaway.attribution.agreement",
    "attribute": "cutaway.attribution.nodes",
    "attribute_edges": "cutaway.attribution.edges",
    "Tokenizer": "cutaway.model.tokenizer",
    "ablate": "cutaway.patching.ablation",
    "checkpoints": "cutaway.training.checkpoints",
    "direct_attribution": "cutaway.attribution.direct",
    "direct_attribution_of_text": "cutaway.attribution.direct",
    "get_act_name": "cutaway.model.cache",
    "interaction": "cutaway.patching.sets",
    "intervene": "cutaway.patching.interventions",
    "leave_one_out": "cutaway.patching.sets",
    "load_run": "cutaway.findings",
    "predict": "cutaway.findings",
    "source_attribution": "cutaway.attribution.sources",
    "sweep": "cutaway.patching.sweep",
    "sweep_edges": "cutaway.patching.edges",
    "sweep_pairs": "cutaway.patching.sets",
    "sweep_paths": "cutaway.patching.paths",
    "train_config": "cutaway.training.run",
}
# Whole modules, as in `ca.tasks.ioi` and `ca.values.Add`.
_MODULES = {
    "audit": "cutaway.audit",
    "circuits": "cutaway.circuits",
    "heads": "cutaway.heads",
    "hook_points": "cutaway.hook_points",
    "lenses": "cutaway.lenses",
    "probing": "cutaway.probing",
    "sae": "cutaway.sae",
    "steering": "cutaway.steering",
    "superposition": "cutaway.superposition",
    "tasks": "cutaway.tasks",
    "tokens": "cutaway.tokens",
    "utils": "cutaway.utils",
    "values": "cutaway.patching.values",
}

if TYPE_CHECKING:
    from . import audit as audit
    from . import circuits as circuits
    from . import heads as heads
    from . import hook_points as hook_points
    from . import lenses as lenses
    from . import probing as probing
    from . import sae as sae
    from . import steering as steering
    from . import superposition as superposition
    from . import tasks as tasks
    from . import tokens as tokens
    from . import utils as utils
    from .attribution.agreement import agreement as agreement
    from .attribution.direct import DirectAttribution as DirectAttribution
    from .attribution.direct import direct_attribution as direct_attribution
    from .attribution.direct import direct_attribution_of_text as direct_attribution_of_text
    from .attribution.edges import attribute_edges as attribute_edges
    from .attribution.nodes import attribute as attribute
    from .attribution.sources import SourceAttribution as SourceAttribution
    from .attribution.sources import source_attribution as source_attribution
    from .evidence import Interval as Interval
    from .findings import load_run as load_run
    from .findings import predict as predict
    from .model.cache import ActivationCache as ActivationCache
    from .model.cache import get_act_name as get_act_name
    from .model.config import ModelConfig as ModelConfig
    from .model.factored import FactoredMatrix as FactoredMatrix
    from .model.field_config import HookedTransformerConfig as HookedTransformerConfig
    from .model.hooks import HookPoint as HookPoint
    from .model.tokenizer import Tokenizer as Tokenizer
    from .model.transformer import HookedTransformer as HookedTransformer
    from .patching import values as values
    from .patching.ablation import ablate as ablate
    from .patching.edges import sweep_edges as sweep_edges
    from .patching.edits import Intervention as Intervention
    from .patching.effects import Effects as Effects
    from .patching.graph import Graph as Graph
    from .patching.interventions import intervene as intervene
    from .patching.paths import sweep_paths as sweep_paths
    from .patching.sets import interaction as interaction
    from .patching.sets import leave_one_out as leave_one_out
    from .patching.sets import sweep_pairs as sweep_pairs
    from .patching.sweep import sweep as sweep
    from .tasks.task import Task as Task
    from .training.checkpoints import checkpoints as checkpoints
    from .training.config import TrainConfig as TrainConfig
    from .training.run import train_config as train_config


def __getattr__(name: str) -> Any:
    """Fetch a public name from its module the first time it is asked for (PEP 562)."""
    if name in _MODULES:
        return import_module(_MODULES[name])
    if name not in _MODULE_OF:
        raise AttributeError(
            f"cutaway has no public name {name!r}; dir(cutaway) lists those that it has."
        )
    value = getattr(import_module(_MODULE_OF[name]), name)
    globals()[name] = value  # the next access is an ordinary one
    return value


def __dir__() -> list[str]:
    """The public names, loaded or not."""
    return sorted({*_MODULE_OF, *_MODULES, "__version__"})
