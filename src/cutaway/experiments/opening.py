"""How every study begins: its model is loaded, and noted in the run's record."""

from __future__ import annotations

from typing import Protocol

from ..findings import RunFolder
from ..model.transformer import HookedTransformer
from .steps import Steps


class _AsksForAModel(Protocol):
    @property
    def model(self) -> str: ...
    @property
    def device(self) -> str: ...


def open_model(run: RunFolder, steps: Steps, settings: _AsksForAModel) -> HookedTransformer:
    """Load the model that was asked for, and note its name, digest and shape.

    Raises:
        ValueError: a model that cannot be found.

    Example:
        >>> model = open_model(run, steps, settings)  # doctest: +SKIP
        >>> run.record["model"]["digest"] == model.digest  # doctest: +SKIP
        True
    """
    with steps("load the model"):
        model = HookedTransformer.from_pretrained(settings.model, device=settings.device)
        digest = model.digest
    run.describe_model(model.cfg.model_name, digest, config=model.cfg.to_dict())
    return model
