"""`run_shakespeare`: load or train the models, measure every finding, and write it all up."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from ...findings import RunFolder
from ...training.config import DataSettings
from ...views.shakespeare_report import shakespeare_report
from ..saving import FinishedRun, origin
from ..steps import Show, Steps, Tell
from .across import across
from .control import control
from .criteria import replication
from .document import write_up
from .evolution import evolution
from .failures import failures
from .figures import draw
from .induction import induction
from .material import Material, check_same_text, describe, open_material
from .methods import methods
from .models import (
    SEED_DOCUMENT,
    StudyModel,
    configuration,
    count_parameters,
    study_models,
    width_of,
)
from .prediction import prediction
from .prompts import unforeseen
from .record import Record
from .sentences import findings
from .settings import ShakespeareSettings
from .sizes import sizes
from .specialisation import find_heads, specialisation

FINDINGS, RESULTS = "FINDINGS.md", "results.json"
_DOCUMENT_SAYS = 2_500_000


def run_shakespeare(
    settings: ShakespeareSettings,
    show: Show = lambda name, share: None,
    tell: Tell = lambda line: None,
) -> FinishedRun:
    """Measure every finding on models of several seeds, and write FINDINGS.md and a report.

    Both are made from results.json alone, so that neither can print a number that was not
    measured: what is missing stands there as "not measured", with the reason.

    Args:
        settings: models or what to train, prompts, controls, where to save.
        show: told how far each step is.
        tell: told what is worth knowing before the work begins.

    Raises:
        ValueError: a folder without a model, a text that does not fit, settings that do not.
        OSError: a text that cannot be read or fetched.

    Example:
        >>> finished = run_shakespeare(ShakespeareSettings(quick=True))  # doctest: +SKIP
        >>> finished.folder / "FINDINGS.md"  # doctest: +SKIP
    """
    settings = settings.made_quick()
    config = configuration(settings)
    with RunFolder.create(settings.out, settings.command, settings) as run:
        steps, record = Steps(run, show), Record()
        models = study_models(settings, config, run, steps)
        first = models[0]
        run.describe_model(
            first.model.cfg.model_name,
            first.model.digest,
            config=first.model.cfg.to_dict(),
            all_digests=[one.model.digest for one in models],
        )
        with steps("read the text"):
            material = open_material(
                _data(config.data, models), first.model, settings.order, settings.device
            )
            describe(
                material,
                first.model.cfg.n_ctx,
                settings.n_windows,
                settings.seed,
                record.at("data"),
            )
        if len(models) < 3:
            tell(f"{len(models)} models: a finding is replicated over at least 3 seeds.")
        for at, one in enumerate(models):
            _one_model(one, material, settings, record.at(f"models/{at}"), steps)
        with steps("control"), record.attempt("control"):
            control(settings, record.at("control"))
        with record.attempt("sizes"):
            sizes(config, material, settings, record.at("sizes"), steps)
        with steps("methods"):
            methods(first.model, material, settings, record.at("methods"))
        across(record, len(models), settings.seed)
        replication(record, len(models))
        _about(record, run, settings)
        results = _saved(run, record)
        names = draw(results, lambda name: run.file(f"figures/{name}"))
        run.file(FINDINGS).write_text(write_up(results, names), encoding="utf-8")
        run.save_report(shakespeare_report(results).html())
    return FinishedRun(run.path, tuple(results["summary"]))


def _data(data: DataSettings, models: list[StudyModel]) -> DataSettings:
    """The text, parted as the models' training parted it."""
    share = models[0].training.get("held_out_share")
    return data if share is None else dataclasses.replace(data, held_out_share=share)


def _one_model(
    one: StudyModel,
    material: Material,
    settings: ShakespeareSettings,
    record: Record,
    steps: Steps,
) -> None:
    """All findings on one model."""
    model, seed, name = one.model, settings.seed, one.name
    check_same_text(material, model)
    record.put("name", name)
    record.put("digest", model.digest)
    record.put("training", one.training)
    cfg = model.cfg
    record.put("shape", {key: getattr(cfg, key) for key in SEED_DOCUMENT})
    record.put("n_parameters", one.n_parameters)
    with steps(f"{name}: heads") as progress:
        found = find_heads(model, settings, progress)
        specialisation(model, material, found, settings, record.at("heads"))
    with steps(f"{name}: induction"):
        task = induction(model, material, found, settings, record.at("induction"))
    with steps(f"{name}: prediction"):
        prediction(model, material, settings, record.at("prediction"))
        # The model's own loss is that of the last point of its lens.
        record.put("loss", record.get("prediction/orders/logit lens/loss")[-1])
    with steps(f"{name}: failures"):
        chosen = [row["head"] for row in record.get("induction/suspects")]
        with record.attempt("failures/one_repeat"):
            failures(model, task, chosen, record.at("failures/one_repeat"), seed)
        with record.attempt("failures/passages"):
            again = unforeseen(model, material.held_out, material.ngrams, settings.n_prompts, seed)
            failures(model, again, chosen, record.at("failures/passages"), seed)
    with steps(f"{name}: training") as progress, record.attempt("evolution"):
        evolution(one, material, settings, record.at("evolution"), progress)


def _about(record: Record, run: RunFolder, settings: ShakespeareSettings) -> None:
    """Sizes in weights, machine, command, time: what the head of the write-up says."""
    from ...model.config import ModelConfig

    width, n = width_of(_DOCUMENT_SAYS)
    record.put(
        "parameters",
        {
            "document_says": _DOCUMENT_SAYS,
            "of_document_sizes": count_parameters(ModelConfig(**SEED_DOCUMENT)),
            "width_that_fits": width,
            "of_width_that_fits": n,
        },
    )
    described = origin(run.record, settings.device)
    asked = {
        name: " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
        for name, value in dataclasses.asdict(settings).items()
        if value is not None and name not in ("out", "models", "data")
    }
    record.put("about", {**asked, **described})
    record.put("timings", {**run.timings, "all": run.record["seconds"]})


def _saved(run: RunFolder, record: Record) -> dict[str, Any]:
    """Write results.json, and give what it holds, read back."""
    summary = findings(record.results())
    run.save_results({"summary": list(summary), **record.results()})
    found: dict[str, Any] = json.loads(run.file(RESULTS).read_text(encoding="utf-8"))
    return found
