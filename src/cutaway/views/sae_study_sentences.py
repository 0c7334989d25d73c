"""What the study of dictionaries found, in words. Every sentence is chosen by a stated rule."""

from __future__ import annotations

from ..sae.spliced_loss import MEAN
from .numbers import interval_text, number, percent
from .sae_study_data import CircuitOfLayer, LayerOfStudy, SaeStudyData

_OWN = "dictionary"
_MOST = 0.5


def findings(data: SaeStudyData) -> tuple[str, ...]:
    """In short: how good, how readable, where the answer is, by how many features."""
    found = [rebuilt(data), described(data)]
    carried = data.middle.carried
    if carried is not None:
        found += [
            where(data),
            circuit(data.middle, carried),
            beside(data.middle, carried),
            error(data.middle, carried),
            estimated(data.middle, carried),
        ]
    return tuple(found)


def rebuilt(data: SaeStudyData) -> str:
    """The middle dictionary beside its baselines."""
    one = data.middle
    rows, losses = one.found.dictionary, one.found.losses
    assert losses is not None
    others = [name for name in one.found.rows if name != _OWN]
    best = min(others, key=lambda name: losses.increase(name).estimate)
    return (
        f"After layer {one.layer}, {interval_text(rows.l0(), 1)} of "
        f"{one.found.cfg.d_features:,} features explain "
        f"{interval_text(rows.explained_variance(), share=True)} of the variance; in its place the "
        f"loss rises by {interval_text(losses.increase(_OWN))} nats, where {best} with as many "
        f"numbers cost {interval_text(losses.increase(best))}, and the mean "
        f"{number(losses.increase(MEAN).estimate)}."
    )


def described(data: SaeStudyData) -> str:
    """How many features have a simple rule."""
    parts = [
        f"{sum(rule is not None for rule in one.rules)} of {one.n_alive} after layer {one.layer}"
        for one in data.layers
    ]
    return f"Features that fire and that a simple rule describes: {', '.join(parts)}."


def where(data: SaeStudyData) -> str:
    """At which position each layer's features carry most of what all of them do."""
    parts = []
    for one in data.layers:
        if one.carried is None:
            continue
        circuit = one.carried.circuit
        whole = circuit.share(circuit.features).estimate
        shares = circuit.shares(circuit.at_position)
        best = int(shares.argmax())
        if shares[best] > _MOST * whole:
            parts.append(
                f"after layer {one.layer} those at {circuit.positions[best] or 'all positions'} "
                f"({number(shares[best])} of all features' {number(whole)})"
            )
        else:
            parts.append(f"after layer {one.layer} those of no single position")
    return f"The answer is carried by features: {'; '.join(parts)}."


def circuit(one: LayerOfStudy, carried: CircuitOfLayer) -> str:
    """The circuit's size and faithfulness."""
    found = carried.circuit
    features = len({node.feature for node in found.nodes})
    return (
        f"After layer {one.layer}, {len(found.nodes)} of {found.n_candidates} nodes that do "
        f"anything ({features} features) have a faithfulness of "
        f"{interval_text(found.faithfulness)} alone, where all features have "
        f"{interval_text(found.share(found.features))}; with the error term "
        f"{interval_text(found.share(found.circuit_and_error))}."
    )


def beside(one: LayerOfStudy, carried: CircuitOfLayer) -> str:
    """Random sets of the same size, and what is left without the circuit."""
    found = carried.circuit
    return (
        f"{len(found.random)} random sets of {len(found.nodes)} of those nodes have "
        f"{number(float(found.shares(found.random).mean()))} on average, and "
        f"{found.random_as_faithful} of them as much as the circuit. Without the circuit "
        f"{interval_text(found.share(found.without))} of the behaviour is left, without a random "
        f"set {number(float(found.shares(found.random_without).mean()))}."
    )


def error(one: LayerOfStudy, carried: CircuitOfLayer) -> str:
    """What the error term does alone."""
    found = carried.circuit
    share = found.share(found.error)
    return (
        f"The error term alone, which no feature speaks of, carries {interval_text(share)} of the "
        f"behaviour after layer {one.layer}."
    )


def estimated(one: LayerOfStudy, carried: CircuitOfLayer) -> str:
    """Gradients beside exact effects."""
    name, best = max(carried.agreements.items(), key=lambda pair: pair[1].pearson.estimate)
    base = carried.agreements["base"]
    same = len(set(carried.by_gradient.nodes) & set(carried.circuit.nodes))
    n, other = len(carried.circuit.nodes), len(carried.by_gradient.nodes)
    return (
        f"Estimated by the gradient of the clean run, effects after layer {one.layer} correlate "
        f"with the exact ones by {interval_text(base.pearson)}, their ranks by "
        f"{interval_text(base.spearman)}; best is {name} ({number(best.pearson.estimate)}). The "
        f"circuit by estimates has {other} nodes, {same} of them among the {n}."
    )


def share_of_names(one: LayerOfStudy, carried: CircuitOfLayer) -> str:
    """How many of the circuit's features a simple rule describes."""
    features = dict.fromkeys(node.feature for node in carried.circuit.nodes)
    known = sum(one.rules[feature] is not None for feature in features)
    return (
        f"{known} of the circuit's {len(features)} features ({percent(known / len(features))}) are "
        "described by a simple rule."
    )
