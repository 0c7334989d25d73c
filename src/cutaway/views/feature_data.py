"""What the page of `cutaway sae features` is made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..evidence import Interval
from ..sae.config import DictionaryConfig
from ..sae.rules import Rule
from .feature_browser import FeatureBrowserView


@dataclass(frozen=True, eq=False)
class FeatureReportData:
    """What was read of a dictionary."""

    model: str
    dictionary: str
    cfg: DictionaryConfig
    n_tokens: int
    """Tokens that the features were read on."""
    n_alive: int
    """Features that fired on any of them."""
    rules: Sequence[Rule | None]
    words: Sequence[str]
    """The text of every token."""
    effects: Mapping[str, Sequence[Interval | None]]
    browser: FeatureBrowserView
    settings: Mapping[str, str]
    timings: Mapping[str, float]
