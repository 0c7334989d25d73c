"""Finding 4, second question: how small a model may be and still do induction."""

from __future__ import annotations

from typing import Any

from ...evidence import paired_difference
from ...training.config import TrainConfig
from ...training.run import Events, train_config
from ..steps import Steps
from .evolution import snapshot
from .induction import answers_right, counted_right
from .material import Material
from .prompts import longest_sequence, one_repeat
from .record import NotMeasured, Record
from .settings import ShakespeareSettings

_LENGTH = 24


def sizes(
    config: TrainConfig,
    material: Material,
    settings: ShakespeareSettings,
    record: Record,
    steps: Steps,
) -> None:
    """Train one model of every size on the same text, and test them alike.

    Raises:
        NotMeasured: no sizes were asked for.
    """
    if not settings.shapes:
        raise NotMeasured("no sizes were asked for (--sizes none)")
    rows = []
    for layers, width in settings.shapes:
        with steps(f"size {layers} x {width}") as progress:
            rows.append(_one(config, layers, width, material, settings, progress))
    record.put("rows", rows)
    record.put("n_steps", settings.size_steps)
    for name in ("above_bigram", "gain"):
        having = [row for row in rows if row[name].low > 0]
        if having:
            smallest = min(having, key=lambda row: row["n_parameters"])
            record.put(f"smallest/{name}", smallest["size"])
            record.put(f"smallest_parameters/{name}", smallest["n_parameters"])
        else:
            record.put(f"smallest/{name}", f"none of {len(rows)}")
    for order in range(2, settings.order + 1):
        having = [row for row in rows if row["beats_order"] >= order]
        name = min(having, key=lambda row: row["n_parameters"])["size"] if having else "none"
        record.put(f"smallest/beats_order/{order}", name)


def _one(
    config: TrainConfig,
    layers: int,
    width: int,
    material: Material,
    settings: ShakespeareSettings,
    progress: Any,
) -> dict[str, Any]:
    n_heads = config.model["n_heads"]
    n_heads = n_heads if width % n_heads == 0 else 1
    n_steps = settings.size_steps
    own = config.replace(
        name=f"{layers}x{width}",
        n_layers=layers,
        d_model=width,
        n_heads=n_heads,
        n_steps=n_steps,
        warmup_steps=min(config.train.warmup_steps, n_steps // 2),
        evaluate_every=n_steps,
        best=False,
    )
    events = Events(report=lambda found: progress(found.step / n_steps))
    model = train_config(own, device=settings.device, events=events).model
    task = one_repeat(
        model, settings.n_prompts, min(_LENGTH, longest_sequence(model)), settings.seed
    )
    right, bigram = answers_right(model, task), counted_right(material, task, 2)
    above = paired_difference(right.astype(float), bigram.astype(float), settings.seed)
    return {
        "size": f"{layers}x{width}",
        "layers": layers,
        "width": width,
        "heads": n_heads,
        "n_parameters": sum(parameter.numel() for parameter in model.parameters()),
        "above_bigram": above.interval,
        **snapshot(model, material, settings),
    }
