"""`run_glitch`: suspects by their vectors, verified by prompts, one of them traced; saved."""

from __future__ import annotations

from typing import Any

from ...findings import RunFolder
from ...model.transformer import HookedTransformer
from ...tokens.glitch_prompts import ordinary_tokens, prompt_makers
from ...tokens.glitch_trace import TokenTrace, trace_token
from ...tokens.glitch_verification import Verification, verify
from ...tokens.undertrained_indicators import indicators
from ...views.glitch_data import GlitchReportData
from ...views.glitch_report import glitch_report
from ...views.glitch_sentences import findings
from ..saving import FinishedRun, asked_for, origin
from ..steps import Show, Steps, Tell
from .settings import GlitchSettings
from .truth import truth_of


def run_glitch(
    settings: GlitchSettings,
    show: Show = lambda name, share: None,
    tell: Tell = lambda line: None,
) -> FinishedRun:
    """Find undertrained tokens of a model, verify and trace them, and save it all.

    Args:
        settings: model, known-unused tokens, how many are asked for, where to save.
        show: told how far each step is.
        tell: told what is worth knowing before the work begins; nothing here.

    Raises:
        ValueError: a model that cannot be found, no token that is known to be unused, a token that
            is not in the vocabulary, or too few ordinary tokens.

    Example:
        >>> finished = run_glitch(GlitchSettings())
        >>> finished.folder / "report.html"
    """
    with RunFolder.create(settings.out, settings.command, settings) as run:
        steps = Steps(run, show)
        model = _open_as_trained(run, steps, settings)
        with steps("indicators"):
            found = indicators(model, settings.unused)
            _check_token(model, settings.token)
            ordinary = ordinary_tokens(found, None, settings.seed)
            suspects = found.suspects(settings.n_verified)
        verified, control = _verified(model, settings, suspects, ordinary, steps)
        token = _to_trace(settings.token, verified, suspects)
        with steps("trace") as progress:
            beside = [one for one in ordinary if one != token][: 2 * settings.n_traced]
            trace = trace_token(
                model, token, beside, settings.n_prompts, settings.seed, progress=progress
            )
        with steps("truth"):
            truth = truth_of(model, found, verified, settings.seed)
        data = GlitchReportData(
            indicators=found,
            verification=verified,
            control=control,
            trace=trace,
            truth=truth,
            settings={**asked_for(settings), **origin(run.record, settings.device)},
            timings={**run.timings, "all": run.record["seconds"]},
        )
        summary = _save(run, data)
    return FinishedRun(run.path, summary)


def _open_as_trained(run: RunFolder, steps: Steps, settings: GlitchSettings) -> HookedTransformer:
    """The model with its weights as they were trained: the indicators are about those."""
    with steps("load the model"):
        model = HookedTransformer.from_pretrained_no_processing(
            settings.model, device=settings.device
        )
        digest = model.digest
    run.describe_model(model.cfg.model_name, digest, config=model.cfg.to_dict())
    return model


def _check_token(model: HookedTransformer, token: int | None) -> None:
    if token is not None and not 0 <= token < model.cfg.d_vocab:
        raise ValueError(
            f"token={token} is not in the vocabulary of {model.cfg.model_name}: 0 to "
            f"{model.cfg.d_vocab - 1}."
        )


def _verified(
    model: HookedTransformer,
    settings: GlitchSettings,
    suspects: list[int],
    ordinary: list[int],
    steps: Steps,
) -> tuple[Verification, Verification]:
    """The suspects, and ordinary tokens as their control, asked for by the same prompts."""
    makers = prompt_makers(model, ordinary, settings.seed)
    with steps("verify suspects") as progress:
        verified = verify(model, suspects, makers, progress)
    with steps("verify ordinary tokens") as progress:
        control = verify(model, ordinary[: settings.n_ordinary], makers, progress)
    return verified, control


def _to_trace(asked: int | None, verified: Verification, suspects: list[int]) -> int:
    """The token that was asked for, or the first suspect that the model cannot say at all."""
    if asked is not None:
        return asked
    strong = (
        int(token)
        for token, verdict in zip(verified.tokens, verified.verdicts, strict=True)
        if verdict == "strong"
    )
    return next(strong, suspects[0])


def _save(run: RunFolder, data: GlitchReportData) -> tuple[str, ...]:
    """Arrays, numbers and the report; the findings in words."""
    summary = findings(data)
    data.indicators.save(run.file("indicators.safetensors"))
    data.verification.save(run.file("verification.safetensors"))
    data.control.save(run.file("verification-ordinary.safetensors"))
    data.trace.save(run.file("trace.safetensors"))
    run.save_results({"summary": summary, **_numbers(data)})
    run.save_report(glitch_report(data).html())
    return summary


def _numbers(data: GlitchReportData) -> dict[str, Any]:
    """What results.json holds."""
    numbers: dict[str, Any] = {
        "indicator": data.indicators.chosen,
        "known_unused": data.indicators.unused.tokens,
        "suspects": [row.plain() for row in data.suspects(len(data.verification.tokens))],
        "strong": data.verification.share("strong"),
        "weak": data.verification.share("weak"),
        "ordinary_repeat": data.control.share("repeats"),
        "trace": {
            "token": data.trace.token,
            "text": data.indicators.texts[data.trace.token],
            "first_outside": {
                name: data.trace.first_outside(name)
                for name in ("norm", "floor", "rise", "log_probability", "follower")
            },
            "means": _trace_means(data.trace),
        },
    }
    if data.truth is not None:
        numbers["areas"] = data.truth.areas
        numbers["left_out"] = data.truth.halves.to_frame()
        numbers["by_count"] = [row.plain() for row in data.by_count()]
    return numbers


def _trace_means(trace: TokenTrace) -> dict[str, list[float]]:
    return {
        name: trace.means(name)[0].tolist()
        for name in ("norm", "floor", "rise", "log_probability", "follower")
    }
