"""Causal scrubbing (Chan et al. 2022): a hypothesis as claims, tested by resampling."""

from .examples import induction_features as induction_features
from .examples import induction_hypothesis as induction_hypothesis
from .examples import ioi_features as ioi_features
from .examples import ioi_mini_hypothesis as ioi_mini_hypothesis
from .hypothesis import Hypothesis as Hypothesis
from .hypothesis import HypothesisError as HypothesisError
from .scrub import Scrubbing as Scrubbing
from .scrub import causal_scrub as causal_scrub
