"""Dictionaries: sparse autoencoders and transcoders, trained, measured, read and put in place.

Each name is fetched from its module when it is first asked for, so that settings of commands
(`sae.config` among them) do not wait for torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

# A public name stands here and, for type checkers and editors, in the block below.
_MODULE_OF = {
    "Absorption": "absorption",
    "Activations": "activations",
    "BatchTopK": "kinds",
    "Dictionary": "dictionary",
    "DictionaryConfig": "config",
    "DictionaryError": "config",
    "DictionaryEvents": "training",
    "DictionarySettings": "settings",
    "DrawnRows": "rows",
    "DrawnTokens": "token_rows",
    "Evaluation": "evaluation",
    "FeatureCircuit": "feature_circuits",
    "FeatureExamples": "examples",
    "FeatureSite": "feature_site",
    "Firings": "fires",
    "FixedTokens": "token_rows",
    "Gated": "kinds",
    "GivenRows": "rows",
    "JumpReLU": "kinds",
    "Matching": "matching",
    "Matryoshka": "kinds",
    "PassSettings": "settings",
    "RowSource": "rows",
    "Rule": "rules",
    "SparseFeatures": "sparse",
    "SparseProbes": "sparse_probing",
    "Standard": "kinds",
    "Store": "store",
    "SyntheticConfig": "synthetic",
    "TopK": "kinds",
    "TrainedDictionary": "training",
    "describe": "rules",
    "embedded_dictionaries": "files",
    "error_hook": "splicing",
    "errors": "feature_site",
    "evaluate": "evaluation",
    "evaluate_rows": "evaluation",
    "feature_circuit": "feature_circuits",
    "feature_directions": "examples",
    "feature_examples": "examples",
    "features": "feature_site",
    "features_hook": "splicing",
    "firings": "fires",
    "geometric_median": "starts",
    "gradients": "step",
    "known_features": "synthetic",
    "load_dictionary": "files",
    "match": "matching",
    "measure_absorption": "absorption",
    "new_dictionary": "kinds",
    "pieces": "token_rows",
    "recover": "recovery",
    "resample": "dead",
    "run_kept": "kept",
    "save_dictionary": "files",
    "sparse_probes": "sparse_probing",
    "spliced": "splicing",
    "stability": "matching",
    "steered": "steering",
    "store_rows": "store",
    "train_dictionaries": "training",
    "train_step": "step",
    "written_rows": "splicing",
}

if TYPE_CHECKING:
    from .absorption import Absorption as Absorption
    from .absorption import measure_absorption as measure_absorption
    from .activations import Activations as Activations
    from .config import DictionaryConfig as DictionaryConfig
    from .config import DictionaryError as DictionaryError
    from .dead import resample as resample
    from .dictionary import Dictionary as Dictionary
    from .evaluation import Evaluation as Evaluation
    from .evaluation import evaluate as evaluate
    from .evaluation import evaluate_rows as evaluate_rows
    from .examples import FeatureExamples as FeatureExamples
    from .examples import feature_directions as feature_directions
    from .examples import feature_examples as feature_examples
    from .feature_circuits import FeatureCircuit as FeatureCircuit
    from .feature_circuits import feature_circuit as feature_circuit
    from .feature_site import FeatureSite as FeatureSite
    from .feature_site import errors as errors
    from .feature_site import features as features
    from .files import embedded_dictionaries as embedded_dictionaries
    from .files import load_dictionary as load_dictionary
    from .files import save_dictionary as save_dictionary
    from .fires import Firings as Firings
    from .fires import firings as firings
    from .kept import run_kept as run_kept
    from .kinds import BatchTopK as BatchTopK
    from .kinds import Gated as Gated
    from .kinds import JumpReLU as JumpReLU
    from .kinds import Matryoshka as Matryoshka
    from .kinds import Standard as Standard
    from .kinds import TopK as TopK
    from .kinds import new_dictionary as new_dictionary
    from .matching import Matching as Matching
    from .matching import match as match
    from .matching import stability as stability
    from .recovery import recover as recover
    from .rows import DrawnRows as DrawnRows
    from .rows import GivenRows as GivenRows
    from .rows import RowSource as RowSource
    from .rules import Rule as Rule
    from .rules import describe as describe
    from .settings import DictionarySettings as DictionarySettings
    from .settings import PassSettings as PassSettings
    from .sparse import SparseFeatures as SparseFeatures
    from .sparse_probing import SparseProbes as SparseProbes
    from .sparse_probing import sparse_probes as sparse_probes
    from .splicing import error_hook as error_hook
    from .splicing import features_hook as features_hook
    from .splicing import spliced as spliced
    from .splicing import written_rows as written_rows
    from .starts import geometric_median as geometric_median
    from .steering import steered as steered
    from .step import gradients as gradients
    from .step import train_step as train_step
    from .store import Store as Store
    from .store import store_rows as store_rows
    from .synthetic import SyntheticConfig as SyntheticConfig
    from .synthetic import known_features as known_features
    from .token_rows import DrawnTokens as DrawnTokens
    from .token_rows import FixedTokens as FixedTokens
    from .token_rows import pieces as pieces
    from .training import DictionaryEvents as DictionaryEvents
    from .training import TrainedDictionary as TrainedDictionary
    from .training import train_dictionaries as train_dictionaries


def __getattr__(name: str) -> Any:
    """Fetch a public name from its module the first time it is asked for (PEP 562)."""
    if name not in _MODULE_OF:
        raise AttributeError(
            f"cutaway.sae has no public name {name!r}; dir(cutaway.sae) lists those that it has."
        )
    value = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value  # the next access is an ordinary one
    return value


def __dir__() -> list[str]:
    """The public names, loaded or not."""
    return sorted(_MODULE_OF)
