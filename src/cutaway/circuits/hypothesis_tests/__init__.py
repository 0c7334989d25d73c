"""The hypothesis tests of circuits of Shi et al. (2024), one per file."""

from .base import HypothesisTest as HypothesisTest
from .run import HypothesisSettings as HypothesisSettings
from .run import HypothesisTests as HypothesisTests
from .run import hypothesis_tests as hypothesis_tests
