"""`run_ioi`: load the model, run the study, and save the run with its report."""

from __future__ import annotations

import dataclasses
from typing import Any

from ...findings import RunFolder
from ...views.ioi_conclusions import findings
from ...views.ioi_data import IOIReportData
from ...views.ioi_report import ioi_report
from ..opening import open_model
from ..saving import FinishedRun as FinishedRun
from ..saving import origin
from ..steps import Show, Steps, Tell
from .settings import IOISettings
from .study import IOIResults, study


def run_ioi(
    settings: IOISettings,
    show: Show = lambda name, share: None,
    tell: Tell = lambda line: None,
) -> FinishedRun:
    """Run the study and save it.

    Args:
        settings: model, prompts, seeds, where to save.
        show: told how far each step is.
        tell: told what is worth knowing before the work begins; here nothing is.

    Raises:
        ValueError: a model that cannot be found, or settings that do not fit it.

    Example:
        >>> finished = run_ioi(IOISettings(n_prompts=32))
        >>> finished.folder / "report.html"
    """
    with RunFolder.create(settings.out, "ioi", settings) as run:
        steps = Steps(run, show)
        model = open_model(run, steps, settings)
        results = study(model, settings, steps)
        described = _described(settings, run.record)
        data = dataclasses.replace(
            results.data, settings=described, timings={**run.timings, "all": run.record["seconds"]}
        )
        summary = findings(data)
        for name, effects in results.effects.items():
            effects.save(run.file(f"effects/{name}.safetensors"))
        run.save_results({"summary": summary, **_numbers(results, data)})
        run.save_arrays(_arrays(results))
        run.save_report(ioi_report(data).html())
    return FinishedRun(run.path, summary)


def _described(settings: IOISettings, record: dict[str, Any]) -> dict[str, str]:
    """What the report says of how it was made."""
    return {
        "model": settings.model,
        "prompts": str(settings.n_prompts),
        "corruption": settings.corruption,
        "seed": str(settings.seed),
        **origin(record, settings.device),
    }


def _numbers(results: IOIResults, data: IOIReportData) -> dict[str, Any]:
    """What results.json holds."""
    return {
        "baseline": {
            "logit_difference": data.behaviour.logit_difference,
            "corrupted": data.behaviour.corrupted,
            "accuracy": data.behaviour.accuracy,
        },
        "role_swaps": data.role_swaps,
        "top_heads": data.top_heads,
        "ablated_heads": data.ablated_heads,
        "ablations": {
            one.kind: {
                "change": one.effect,
                "random_mean": float(one.random_effects.mean()),
                "random_sets_at_least_as_large": int(
                    (abs(one.random_effects) >= abs(one.effect.estimate)).sum()
                ),
                "random_sets": len(one.random_effects),
            }
            for one in data.ablations
        },
        "effects": {name: effects.to_frame() for name, effects in results.effects.items()},
        "predictions": data.predictions,
        "published": data.published,
    }


def _arrays(results: IOIResults) -> dict[str, Any]:
    """What results.safetensors holds: every prompt's value."""
    heads = results.effects["heads"]
    arrays = {"clean": heads.clean, "corrupted": heads.corrupted}
    arrays |= {f"patched {name}": effects.patched for name, effects in results.effects.items()}
    arrays |= {f"ablated {name}": one.ablated for name, one in results.ablations.items()}
    return arrays
