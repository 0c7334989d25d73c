"""`run_recover`: do dictionaries find the features that are there?"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import torch

from ...findings import RunFolder
from ...sae.matching import Stability, stability
from ...sae.recovery import Known, Recovered, recover
from ...sae.synthetic import SyntheticConfig, known_features
from ...sae.training import DictionaryEvents
from ...views.recovery_data import KindRow, RecoveryReportData
from ...views.recovery_report import findings, recovery_report
from ..saving import FinishedRun, asked_for, origin
from ..steps import Show, Steps, Tell
from .recover_settings import RecoverSettings
from .toy_truth import toy_features

_GROUP = 4  # features that come together, where a correlation is asked for


def run_recover(
    settings: RecoverSettings,
    show: Show = lambda name, share: None,
    tell: Tell = lambda line: None,
) -> FinishedRun:
    """Train dictionaries of several kinds and seeds on known features, and compare.

    Args:
        settings: the features, the dictionaries, where to save.
        show: told how far each step is.
        tell: told nothing.

    Raises:
        ValueError: features or dictionaries that cannot be.

    Example:
        >>> finished = run_recover(RecoverSettings(kinds=("top-k",), n_seeds=2, n_rows=50_000))
        >>> finished.folder / "report.html"
    """
    with RunFolder.create(settings.out, settings.command, settings) as run:
        steps = Steps(run, show)
        with steps("the known features"):
            known, words = known_of(settings)
        wanted = settings.wanted(len(known.directions), settings.n_active)
        with steps("train and compare") as progress:
            found = recover(
                known,
                wanted,
                settings.training,
                threshold=settings.threshold,
                seed=settings.seed,
                events=_told(progress, settings.training.n_steps),
            )
        rows = [one.to_row() for one in found]
        data = RecoveryReportData(
            known=words,
            n_known=len(known.directions),
            width=known.directions.shape[1],
            threshold=settings.threshold,
            rows=rows,
            kinds=[
                _kind_row(kind, found, rows, settings) for kind in dict.fromkeys(settings.kinds)
            ],
            best={one.trained.name: one.matching.best for one in found},
            random_best=found[0].matching.random_best,
            baselines={
                name: (one.l0(), one.explained_variance())
                for name, one in found[0].evaluation.rows.items()
                if name != "dictionary"
            },
            settings={**asked_for(settings), **origin(run.record, settings.device)},
            timings={**run.timings, "all": run.record["seconds"]},
        )
        summary = findings(data)
        for number, one in enumerate(found):
            one.matching.save(run.file(f"matching/{number:02d}.safetensors"))
        kinds = [dataclasses.asdict(one) for one in data.kinds]
        run.save_results(
            {"summary": summary, "known": words, "kinds": kinds, "dictionaries": data.rows}
        )
        run.save_report(recovery_report(data).html())
    return FinishedRun(run.path, summary)


def known_of(settings: RecoverSettings) -> tuple[Known, str]:
    """The features that were asked for, and what they are in words."""
    if settings.truth == "toy":
        density = settings.n_active / settings.n_features
        toy = toy_features(
            settings.n_features, settings.width, density, settings.seed, settings.device
        )
        return toy, (
            f"{len(toy.which)} of {settings.n_features} features that a toy model (ReLU output) "
            f"has a direction for in {settings.width} dimensions, each there with probability "
            f"{density:.3g}"
        )
    cfg = SyntheticConfig(
        d=settings.width,
        n_features=settings.n_features,
        n_active=settings.n_active,
        falloff=settings.falloff,
        group_size=_GROUP if settings.correlation else 1,
        correlation=settings.correlation,
        n_parents=settings.n_parents,
        n_children=settings.n_children if settings.n_parents else 0,
        noise=settings.noise,
    )
    words = f"{cfg.n_features} random directions in {cfg.d} dimensions, {cfg.n_active:g} of them "
    words += "active in a row on average"
    if cfg.falloff > 1:
        words += f", the first {cfg.falloff:g} times as often as the last"
    if cfg.correlation:
        words += f", in groups of {_GROUP} that come together (correlation {cfg.correlation:g})"
    if cfg.n_children:
        words += f", {cfg.n_parents} of them with {cfg.n_children} children each"
    if cfg.noise:
        words += f", noise {cfg.noise:g}"
    return known_features(cfg, settings.seed, settings.device), words


def _told(progress: Callable[[float], None], n_steps: int) -> DictionaryEvents:
    def report(step: int, points: Sequence[Any], rate: float) -> None:
        progress(step / n_steps)

    return DictionaryEvents(report=report)


def _kind_row(
    kind: str,
    found: Sequence[Recovered],
    rows: Sequence[dict[str, Any]],
    settings: RecoverSettings,
) -> KindRow:
    """Means over the seeds of a kind, and what its seeds agree on."""
    own = [one for one in found if one.trained.settings.kind == kind]
    of_kind = [row for row in rows if row["kind"] == kind]

    def mean(name: str) -> float:
        values = [row[name] for row in of_kind if row[name] is not None]
        return sum(values) / len(values) if values else float("nan")

    agreement: Stability | None = None
    if len(own) > 1:
        agreement = stability(
            [one.dictionary.W_dec for one in own],
            [_alive(one) for one in own],
            settings.threshold,
            settings.seed,
        )
    return KindRow(
        kind=kind,
        n_seeds=len(own),
        best_cosine=mean("mean best cosine"),
        lowest=min(row["mean best cosine"] for row in of_kind),
        recall=mean("recall"),
        precision=mean("precision"),
        uniqueness=mean("uniqueness"),
        dead=mean("dead"),
        resampled=mean("resampled"),
        l0=mean("L0"),
        explained=mean("explained variance"),
        bias=mean("centred bias"),
        absorbed=mean("absorbed"),
        absorbed_by_strangers=mean("with a stranger"),
        agreement=float("nan") if agreement is None else agreement.mean_cosine,
        chance=float("nan") if agreement is None else agreement.mean_random,
    )


def _alive(one: Recovered) -> torch.Tensor:
    alive = torch.from_numpy(one.evaluation.dictionary.alive)
    return alive if bool(alive.any()) else ~alive
