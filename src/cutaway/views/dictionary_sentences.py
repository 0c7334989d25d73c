"""What was found of a dictionary, in words. Every sentence is chosen by a stated rule."""

from __future__ import annotations

from ..sae.sparse_probing import COORDINATES, DENSE, FEATURES, RANDOM
from ..sae.spliced_loss import MEAN, ZERO
from .dictionary_data import DictionaryReportData
from .numbers import interval_text, number, percent

_ALWAYS, _RARE = 0.5, 1e-4
_SHRUNK = 0.95
_MANY_DEAD = 0.1
_FEW_ROWS = 10_000


def findings(data: DictionaryReportData) -> tuple[str, ...]:
    """How sparse, how well rebuilt, what the model loses, who is dead; beside the baselines."""
    found = [rebuilt(data), lost(data), beside(data), fired(data), length(data)]
    if data.probes is not None:
        found.append(probed(data))
    if data.stability is not None:
        found.append(again(data))
    return tuple(found)


def rebuilt(data: DictionaryReportData) -> str:
    """Sparsity and explained variance."""
    rows = data.found.dictionary
    return (
        f"With {interval_text(rows.l0(), 1)} of {data.found.cfg.d_features:,} features active in a "
        f"row, the dictionary explains {interval_text(rows.explained_variance(), share=True)} of "
        f"the variance, on {rows.n:,} rows of {len(rows.n_rows):,} sequences ({data.text})."
    )


def lost(data: DictionaryReportData) -> str:
    """What the model loses."""
    losses = data.losses
    text = (
        f"In its place in {data.model}, the loss rises by "
        f"{interval_text(losses.increase(_OWN), 3)} nats from "
        f"{interval_text(losses.clean_loss())}; KL from the model's own predictions: "
        f"{interval_text(losses.kl(_OWN), 3)} nats."
    )
    for against, words in ((MEAN, "the mean"), (ZERO, "zero")):
        if losses.is_meaningful(against):
            text += (
                f" Of what {words} in its place would cost "
                f"({number(losses.increase(against).estimate)} nats), "
                f"{interval_text(losses.loss_recovered(_OWN, against), share=True)} is recovered."
            )
        else:
            text += f" Putting {words} in its place costs nothing clear, so nothing is recovered."
    return text


def beside(data: DictionaryReportData) -> str:
    """The strongest baseline with as many numbers."""
    losses, name = data.losses, data.strongest_baseline
    own, other = losses.increase(_OWN), losses.increase(name)
    verdict = (
        "the dictionary costs less"
        if own.estimate < other.estimate
        else "which costs less than the dictionary"
    )
    return (
        f"With as many numbers for a row, the strongest baseline is {_WORDS[name]}: explained "
        f"variance {interval_text(data.found.rows[name].explained_variance(), share=True)}, loss "
        f"up by {interval_text(other, 3)} nats; {verdict} ({number(own.estimate, 3)})."
    )


def fired(data: DictionaryReportData) -> str:
    """Dead, rare and dense features."""
    rows = data.found.dictionary
    n = len(rows.density)
    rare = int(((rows.density > 0) & (rows.density < _RARE)).sum())
    often = int((rows.density > _ALWAYS).sum())
    return (
        f"{rows.n_dead:,} of {n:,} features ({percent(rows.n_dead / n)}) fire in none of these "
        f"{rows.n:,} rows, {rare:,} in fewer than 1 in {1 / _RARE:,.0f}, and {often:,} in more "
        "than half of them."
    )


def length(data: DictionaryReportData) -> str:
    """Shrinkage."""
    bias = data.found.dictionary.centred_bias()
    verdict = "it shrinks what it rebuilds" if bias.high < _SHRUNK else "no shrinkage to speak of"
    return (
        f"Relative bias, measured from the mean: {interval_text(bias)} (1: as long as it should "
        f"be): {verdict}."
    )


def probed(data: DictionaryReportData) -> str:
    """One feature beside its controls."""
    assert data.probes is not None
    probes, k = data.probes, data.probes.ks[0]
    scores = {
        name: interval_text(probes.score(name, k))
        for name in (FEATURES, RANDOM, COORDINATES, DENSE)
    }
    return (
        f"{data.label.capitalize()} (the {len(probes.classes)} most frequent ones, each against "
        f"the rest), from the best feature alone: balanced accuracy {scores[FEATURES]}, from a "
        f"random feature {scores[RANDOM]}, from the best coordinate {scores[COORDINATES]}, from "
        f"the whole activation {scores[DENSE]}."
    )


def again(data: DictionaryReportData) -> str:
    """What is found again with another seed."""
    assert data.stability is not None
    one = data.stability
    return (
        f"Matched one to one with {len(data.others)} other "
        f"dictionar{'y' if len(data.others) == 1 else 'ies'}, {percent(one.mean_shared)} of the "
        f"features are found again (cosine of {one.threshold:g} or more); mean cosine "
        f"{number(one.mean_cosine)}, of random directions {number(one.mean_random)}."
    )


def warnings(data: DictionaryReportData) -> tuple[str, ...]:
    """What makes these numbers shaky."""
    rows, losses = data.found.dictionary, data.losses
    found = []
    if rows.n < _FEW_ROWS:
        found.append(
            f"{rows.n:,} rows are few: features that fire less often than that count as dead."
        )
    if rows.n_dead / len(rows.density) > _MANY_DEAD:
        found.append(
            f"{percent(rows.n_dead / len(rows.density))} of the features are dead on this text: "
            "the dictionary is smaller than it looks."
        )
    strongest = data.strongest_baseline
    if losses.increase(strongest).estimate <= losses.increase(_OWN).estimate:
        found.append(
            f"{_WORDS[strongest][0].upper()}{_WORDS[strongest][1:]} cost the model no more than "
            "the dictionary does: its features need another reason to be believed."
        )
    return tuple(found)


_OWN = "dictionary"
_WORDS = {
    "random directions": "random directions with the best coefficients",
    "principal components": "the first principal components",
    "largest components": "each row's own largest principal components",
}
