"""How sure a number is: intervals, tests, effect sizes and power. Arrays in, numbers out."""

from .comparisons import Difference as Difference
from .comparisons import paired_difference as paired_difference
from .comparisons import two_sample_difference as two_sample_difference
from .correlation import bootstrap_correlation as bootstrap_correlation
from .correlation import correlation as correlation
from .correlation import ranks as ranks
from .effect_size import auroc as auroc
from .effect_size import cliffs_delta as cliffs_delta
from .effect_size import cohens_d_z as cohens_d_z
from .intervals import LEAST_EFFECT as LEAST_EFFECT
from .intervals import Interval as Interval
from .intervals import bootstrap_mean as bootstrap_mean
from .intervals import bootstrap_means as bootstrap_means
from .intervals import bootstrap_ratio as bootstrap_ratio
from .intervals import difference_of_proportions as difference_of_proportions
from .intervals import matters as matters
from .intervals import proportion as proportion
from .multiplicity import Discoveries as Discoveries
from .multiplicity import benjamini_hochberg as benjamini_hochberg
from .permutation import PValues as PValues
from .permutation import regroupings as regroupings
from .permutation import sign_flips as sign_flips
from .power import minimum_detectable_effect as minimum_detectable_effect
from .power import prompts_needed as prompts_needed
