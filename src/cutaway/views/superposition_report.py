"""The page of `cutaway run superposition`: the figures of the toy models, with their numbers."""

from __future__ import annotations

from . import superposition_more_parts as more
from . import superposition_parts as part
from .key_numbers import KeyNumber, KeyNumbers
from .layout import Disclosure, Items, Section
from .origin_section import how_it_was_made
from .page import Page
from .superposition_data import SWEEP, Superposition
from .superposition_more import computation_rows, phases
from .superposition_sentences import density, findings

_REFERENCES = (
    "Elhage et al. 2022, Toy Models of Superposition, Transformer Circuits Thread, "
    "arXiv:2209.10652: the models, the feature dimensionality, the phase diagram.",
    "Scherlis et al. 2022, Polysemanticity and Capacity in Neural Networks, arXiv:2210.01892: "
    "dimensions shared out among features.",
    "Eckart and Young 1936; Baldi and Hornik 1989: why the linear model is that of principal "
    "components.",
    "Kingma and Ba 2015: Adam. Glorot and Bengio 2010: the start. Stewart 1980: random rotations.",
    "Wilson 1927: intervals of shares. Student 1908: intervals of means over seeds.",
)
_CAUTIONS = (
    "Seeds differ. What is drawn is the seed of least loss; how often a shape comes stands beside "
    "it, and a shape that comes once in sixteen is not what training does.",
    "Counting features with a norm above 1/2 is a rule. Where norms shrink evenly, as at high "
    "density with equal importances, it counts nothing or everything.",
    "A dimensionality of 1/2 is no proof of a pair: forty random directions in six dimensions have "
    "some at every value below that. A plateau is many at one value.",
    "The toy's features are known, independent and of one size. In a language model none of these "
    "is given.",
)


def superposition_report(found: Superposition) -> Page:
    """The report of `cutaway run superposition`.

    Args:
        found: everything trained.

    Example:
        >>> superposition_report(found).html()  # doctest: +SKIP
    """
    n = sum(toys.losses.size for toys in found.toys.values())
    page = Page(
        "Toy models of superposition",
        "When does a model keep more features than it has dimensions, in which shapes, and what "
        "does it cost?",
        facts=(
            ("models trained", f"{n:,}"),
            ("seeds", _seeds(found)),
            ("steps", f"{found.toys[SWEEP].training['n_steps']:,}"),
        ),
        footer="Written by Cutaway. This file needs no network and fetches nothing.",
    )
    page.add(_in_short(found), _plane(found), _counts(found), _dimensions(found), _phase(found))
    page.add(_pairs(found), _bases(found), _computing(found))
    page.add(how_it_was_made(found.settings, found.timings, references=_REFERENCES))
    return page


def _seeds(found: Superposition) -> str:
    counted = [len(toys.seeds) for toys in found.toys.values()]
    return f"{min(counted)} to {max(counted)}"


def _in_short(found: Superposition) -> Section:
    first, last = found.counts[0], found.counts[-1]
    computed = computation_rows(found)[-1]
    numbers = (
        KeyNumber(
            "Features in 5 dimensions",
            str(last.n_best),
            f"at 1 − S = {density(last.density)}; {first.n_best} at {density(first.density)}",
        ),
        KeyNumber("Best in a plane", found.plane[-1].shape, "the sparsest"),
        KeyNumber("Theory of phases", phases(found).agreement, "of cells as trained", share=True),
        KeyNumber(
            "Computing",
            computed.ratio_best,
            "times the least loss without superposition",
        ),
    )
    cautions = Disclosure("When this misleads", *_CAUTIONS)
    return Section("In short", KeyNumbers(numbers), Items(findings(found)), cautions)


def _plane(found: Superposition) -> Section:
    return Section(
        "Five features in a plane",
        "x′ = ReLU(Wᵀ W x + b) with n = 5 features and m = 2 hidden dimensions, importance 0.9^i. "
        "Column i of W is the direction that feature i gets. The sparser the features (from left "
        "to right), the rarer two of them collide, and the more of them share the plane.",
        part.planes(found),
        part.plane_table(found),
        part.every_seed(found),
    )


def _counts(found: Superposition) -> Section:
    return Section(
        "Twenty features in five dimensions",
        "n = 20, m = 5, importance 0.7^i. WᵀW is what of each feature arrives at each other: the "
        "diagonal is what is kept, the rest is interference.",
        part.grams(found),
        part.counts_table(found),
        part.losses(found),
    )


def _dimensions(found: Superposition) -> Section:
    return Section(
        "How many dimensions has a feature?",
        "Dᵢ = ‖Wᵢ‖² / Σⱼ (Wᵢ/‖Wᵢ‖ · Wⱼ)², for n = 40 features of equal importance in m = 6 "
        "dimensions. Features do not take just any share of a dimension: they gather at the values "
        "of a few regular shapes.",
        part.dots(found),
        part.plateau_table(found),
        part.shape_table(found),
    )


def _phase(found: Superposition) -> Section:
    return Section(
        "A phase diagram",
        "Two features in one dimension. Along the importance of the second (the first has 1) and "
        "the density, one solution gives way to another at once: the first alone, the second "
        "alone, or both as an antipodal pair.",
        *more.phase_maps(found),
    )


def _pairs(found: Superposition) -> Section:
    return Section(
        "Features that come together, or never do",
        "Four features in a plane always find the square. But which of them are opposite? "
        "Features that are never there at once lose nothing by being opposite; features that come "
        "together lose most.",
        *more.pair_planes(found),
        more.pair_table(found),
    )


def _bases(found: Superposition) -> Section:
    return Section(
        "Does the basis matter?",
        "Ten features, five hidden dimensions, importance 0.75^i. Without a nonlinearity on the "
        "hidden dimensions (x′ = ReLU(Wᵀ W x + b)) a rotation of them changes nothing, and no "
        "dimension means anything by itself. With one (x′ = ReLU(Wᵀ ReLU(W x) + b)) the "
        "dimensions are neurons: dense features have one each, and as they get sparser, neurons "
        "come to read several.",
        *more.basis_matrices(found),
        more.basis_table(found),
    )


def _computing(found: Superposition) -> Section:
    return Section(
        "Computing in superposition",
        "Twelve features from −1 to 1, six neurons, importance 0.9^i: |x|′ = ReLU(W₂ ReLU(W₁ x) + "
        "b). An absolute value takes two neurons. Are there more than three?",
        more.computation_matrices(found),
        more.computation_table(found),
    )
