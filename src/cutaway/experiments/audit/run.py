"""`run_audit`: count what a model's caches hold, and save it with a report."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch

from ...audit import (
    KNOWN_SHAPES,
    activation_shapes,
    kv_bytes_per_token,
    load_shape,
    n_parameters,
    predict_memory,
    total_bytes,
    what_fits,
)
from ...audit.formulas import number_bytes
from ...findings import RunFolder
from ...model.config import ModelConfig
from ...model.transformer import HookedTransformer
from ...patching.memory import free_memory
from ...views.audit_data import AuditData, Measured, OtherModel, size
from ...views.audit_parts import total_curve
from ...views.audit_report import audit_report
from ...views.audit_sentences import findings
from ..saving import FinishedRun, asked_for, origin
from ..steps import Show, Steps, Tell
from .measure import measure
from .settings import AuditKvSettings


def run_audit(
    settings: AuditKvSettings,
    show: Show = lambda name, share: None,
    tell: Tell = lambda line: None,
) -> FinishedRun:
    """Audit the memory of a model, beside what was foretold of it.

    Args:
        settings: which model, how long, where to save.
        show: told how far each step is.
        tell: told beforehand what is foretold.

    Raises:
        ValueError: a model that cannot be found, a sequence longer than its context.

    Example:
        >>> finished = run_audit(AuditKvSettings(shape_only=True, model="gpt2"))
        >>> finished.folder / "report.html"
    """
    with RunFolder.create(settings.out, settings.command, settings) as run:
        steps = Steps(run, show)
        model = None if settings.shape_only else _open(run, steps, settings)
        if model is None:
            cfg = load_shape(settings.model).replace(dtype=settings.dtype)
            run.describe_model(cfg.model_name, "", config=cfg.to_dict())
        else:
            cfg = model.cfg
        n_tokens = _n_tokens(cfg, settings)
        with steps("foretell"):
            data = _foretold(cfg, n_tokens, settings)
        last = data.last
        tell(
            f"foretold for {last.n_tokens:,} tokens, batch {last.batch}, {cfg.dtype}: weights "
            f"{size(last.weights)}, key-value cache {size(last.kv_cache)}, in passing about "
            f"{size(last.working.peak)}, run_with_cache {size(data.activations[last.n_tokens])}"
        )
        if model is not None:
            data = dataclasses.replace(data, measured=measure(model, n_tokens, settings, steps))
        data = dataclasses.replace(
            data,
            settings={**asked_for(settings), **origin(run.record, settings.device)},
            timings={**run.timings, "all": run.record["seconds"]},
        )
        summary = findings(data)
        if data.measured is not None:
            _save(run, data.measured)
        run.save_results({"summary": summary, **numbers(data)})
        run.save_report(audit_report(data).html())
    return FinishedRun(run.path, summary)


def _open(run: RunFolder, steps: Steps, settings: AuditKvSettings) -> HookedTransformer:
    with steps("load the model"):
        model = HookedTransformer.from_pretrained(
            settings.model, device=settings.device, dtype=settings.dtype
        )
        digest = model.digest
    run.describe_model(model.cfg.model_name, digest, config=model.cfg.to_dict())
    return model


def _n_tokens(cfg: ModelConfig, settings: AuditKvSettings) -> int:
    n_tokens = cfg.n_ctx if settings.n_tokens is None else settings.n_tokens
    if n_tokens > cfg.n_ctx:
        raise ValueError(
            f"n_tokens={n_tokens} is more than the context of {cfg.model_name}, which is "
            f"{cfg.n_ctx}: ask for fewer."
        )
    return n_tokens


def _foretold(cfg: ModelConfig, n_tokens: int, settings: AuditKvSettings) -> AuditData:
    """All that needs no run."""
    memory = (
        free_memory(torch.device(settings.device))
        if settings.memory_gib is None
        else settings.memory_gib * 2**30
    )
    lengths = sorted({max(n_tokens // part, 1) for part in (16, 8, 4, 2, 1)})
    shapes = {n: activation_shapes(cfg, n, settings.batch) for n in lengths}
    fit: dict[str, Any] = {"batch": settings.batch, "n_tokens": n_tokens}
    return AuditData(
        cfg.model_name,
        cfg.n_layers,
        cfg.n_heads,
        cfg.n_key_value_heads,
        cfg.d_head,
        cfg.d_vocab,
        cfg.n_ctx,
        cfg.dtype,
        number_bytes(cfg),
        n_parameters(cfg),
        tuple(predict_memory(cfg, n, settings.batch) for n in lengths),
        {n: total_bytes(shape) for n, shape in shapes.items()},
        what_fits(cfg, memory, working=False, **fit),
        what_fits(cfg, memory, **fit),
        tuple(_other(name) for name in KNOWN_SHAPES),
    )


def _other(name: str) -> OtherModel:
    known = KNOWN_SHAPES[name]
    cfg = known.cfg
    return OtherModel(
        name,
        cfg.n_layers,
        cfg.n_heads,
        cfg.n_key_value_heads,
        cfg.d_head,
        known.n_parameters,
        cfg.n_ctx,
        kv_bytes_per_token(cfg, "bfloat16"),
        known.source,
    )


def _save(run: RunFolder, found: Measured) -> None:
    """Everything counted, and the figure."""
    found.in_chunks.save(run.file("audits/in-chunks.safetensors"))
    for kind, audit in found.caches.items():
        audit.save(run.file(f"audits/{kind.replace(' ', '-')}.safetensors"))
    found.activations.save(run.file("audits/activations.safetensors"))
    found.on_demand.save(run.file("audits/activations-on-demand.safetensors"))
    run.file("figure.svg").write_text(total_curve(found).svg(), encoding="utf-8")


def numbers(data: AuditData) -> dict[str, Any]:
    """What results.json holds."""
    found: dict[str, Any] = {
        "model": data.model,
        "dtype": data.dtype,
        "bytes_per_token": data.per_token,
        "predictions": [
            {
                "n_tokens": one.n_tokens,
                "batch": one.batch,
                "weights": one.weights,
                "kv_cache": one.kv_cache,
                "working": dataclasses.asdict(one.working),
                "total": one.total,
                "activations": data.activations[one.n_tokens],
            }
            for one in data.predictions
        ],
        "fits": dataclasses.asdict(data.fit),
        "fits_weights_and_cache": dataclasses.asdict(data.exact_fit),
        "well_known": [dataclasses.asdict(one) for one in data.others],
    }
    if data.measured is None:
        return found
    measured = data.measured
    found["measured"] = {
        "bytes_per_token": measured.in_chunks.bytes_per_token,
        "is_exact": measured.in_chunks.is_exact,
        "cache": measured.in_chunks.to_frame(),
        "caches": {
            kind: {
                "is_exact": audit.is_exact,
                "tokens": audit.tokens,
                "held": audit.filled.sum(1),
                "at_most": audit.cache_peak,
                "written": audit.copied,
                "excess": audit.excess.sum(1),
            }
            for kind, audit in measured.caches.items()
        },
        "peak_in_chunks": measured.in_chunks.peak,
        "peak_in_chunks_estimated": measured.estimated_peaks,
        "passes": measured.passes.to_frame(),
        "activations": measured.on_demand.to_frame(),
        "weights": dataclasses.asdict(measured.weights),
    }
    return found
