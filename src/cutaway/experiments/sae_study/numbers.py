"""Everything that the study measured, as results.json keeps it."""

from __future__ import annotations

from typing import Any

from ...views.sae_study_data import CircuitOfLayer, LayerOfStudy, SaeStudyData


def numbers_of(data: SaeStudyData) -> dict[str, Any]:
    """Plain values for each layer; intervals as they are."""
    numbers: dict[str, Any] = {
        "text": data.text,
        "layers": {str(one.layer): _of_layer(one, data) for one in data.layers},
    }
    if data.baseline is not None:
        numbers["baseline"] = {"clean": data.baseline.clean, "corrupted": data.baseline.corrupted}
    return numbers


def _of_layer(one: LayerOfStudy, data: SaeStudyData) -> dict[str, Any]:
    found: dict[str, Any] = {
        "measured": one.found.to_frame(),
        "alive": one.n_alive,
        "described": sum(rule is not None for rule in one.rules),
    }
    if one.carried is not None:
        found["carried"] = _carried(one, one.carried, data)
    return found


def _carried(one: LayerOfStudy, carried: CircuitOfLayer, data: SaeStudyData) -> dict[str, Any]:
    circuit = carried.circuit
    return {
        "candidates": circuit.n_candidates,
        "circuit": [
            {**row, "fires": one.says(row["feature"], data.words)} for row in circuit.to_frame()
        ],
        "faithfulness": circuit.summary(),
        "random sets that do as much": circuit.random_as_faithful,
        "incompleteness": circuit.gap,
        "by gradient": {
            "nodes": len(carried.by_gradient.nodes),
            "faithfulness": carried.by_gradient.faithfulness,
        },
        "agreement": {name: found.to_frame() for name, found in carried.agreements.items()},
        "seconds": dict(carried.seconds),
    }
