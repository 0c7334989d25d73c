"""The IOI study, step by step: pin the metric, find where, find which heads, check them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ... import evidence
from ...heads.readings import HeadReadings, read_heads
from ...model.cache import get_act_name
from ...model.transformer import HookedTransformer
from ...patching import ablation
from ...patching.ablation import AblationMethod, Head
from ...patching.effects import Effects
from ...patching.sweep import sweep
from ...tasks import ioi, ioi_role_swaps
from ...tasks.task import Baseline, Task
from ...views import ioi_data as page
from ...views.attention import AttentionExample
from ...views.numbers import number
from ..steps import Steps
from . import published
from .settings import IOISettings

N_LISTED = 10  # heads in the table and in the attention view
N_EXAMPLES = 6  # prompts in the attention view
N_REFERENCE = 512  # prompts that mean and resample ablation draw from
SITES = ("resid_pre", "attn_out", "mlp_out")
METHODS: tuple[AblationMethod, ...] = ("zero", "mean", "resample")


@dataclass(frozen=True)
class IOIResults:
    """What the study measured: the sweeps with every prompt's value, and the report's data."""

    effects: dict[str, Effects]
    """Sweeps by name: resid_pre, attn_out, mlp_out, heads, head_positions, tokens."""
    ablations: dict[str, ablation.Ablation]
    """The top heads taken out, by method."""
    data: page.IOIReportData


@torch.no_grad()
def study(model: HookedTransformer, settings: IOISettings, steps: Steps) -> IOIResults:
    """Run every step on a loaded model."""
    _check_heads(model, settings)
    with steps("baseline"):
        task = ioi(model, settings.n_prompts, settings.corruption, settings.seed)
        baseline = task.baseline(model, seed=settings.seed)
        swaps = _role_swaps(model)
    effects = _sweeps(model, task, settings, steps)
    ranked = effects["heads"].ranked(seed=settings.seed)
    top = ranked[: max(N_LISTED, settings.n_heads)]
    listed = [_head(effect.labels) for effect in top]
    # Heads that write against the answer would, taken out, hide what the others do.
    restoring = [_head(effect.labels) for effect in ranked if effect.effect > 0]
    chosen = restoring[: settings.n_heads]
    with steps("head readings"):
        readings = read_heads(model, task, list(dict.fromkeys([*listed, *chosen[:1]])))
    ablations, controls = _ablations(model, chosen, settings, steps)
    beside: tuple[page.Comparison, ...] = ()
    if published.applies_to(model) and settings.corruption == "s2-flip":
        with steps("published figures"):
            beside = published.comparisons(model, task, baseline, effects["heads"])
    classes: dict[str, str] = published.classes() if beside else {}
    data = page.IOIReportData(
        model=model.cfg.model_name,
        behaviour=_behaviour(task, baseline, settings),
        example=_example(model, task),
        role_swaps=swaps,
        maps={site: _map(effects[site], settings.seed) for site in SITES if site in effects},
        heads=_map(effects["heads"], settings.seed),
        top_heads=tuple(
            page.TopHead(
                effect.name,
                evidence.Interval(effect.effect, effect.low, effect.high, 0.95, len(task)),
                readings[head].looks_at,
                readings[head].role,
                classes.get(effect.name, ""),
            )
            for effect, head in zip(top, listed, strict=True)
        ),
        attention=_attention(model, task, listed),
        attention_heads=tuple(effect.name for effect in top),
        ablations=tuple(
            page.Ablation(method, ablations[method].change(seed=settings.seed), controls[method])
            for method in METHODS
        ),
        ablated_heads=tuple(f"{layer}.{head}" for layer, head in chosen),
        intact=evidence.bootstrap_mean(ablations["zero"].clean, seed=settings.seed),
        token_map=_map(
            effects["tokens"],
            settings.seed,
            _text_tokens(model, _one_template(model, settings), 0, clean=True),
        ),
        head_positions=_head_positions(effects["head_positions"], listed, settings.seed),
        published=beside,
        predictions=_predictions(effects, readings[chosen[0]], ablations["mean"])
        if settings.corruption == "s2-flip"
        else (),
    )
    return IOIResults(effects, ablations, data)


def _sweeps(
    model: HookedTransformer, task: Task, settings: IOISettings, steps: Steps
) -> dict[str, Effects]:
    def run(
        name: str,
        on: Task,
        site: str,
        positions: str | None = None,
        layers: Sequence[int] | None = None,
    ) -> Effects:
        with steps(f"sweep {name}") as progress:
            return sweep(
                model,
                on,
                site,
                positions=positions,
                layers=layers,
                max_memory=settings.max_memory,
                progress=progress,
            )

    sites = [site for site in SITES if not (model.cfg.attn_only and site == "mlp_out")]
    effects = {site: run(site, task, site) for site in sites}
    effects["tokens"] = run("tokens", _one_template(model, settings), "resid_pre", "each")
    effects["heads"] = run("heads", task, "z")
    top = effects["heads"].top(max(N_LISTED, settings.n_heads))
    layers = sorted({int(effect.labels["layer"]) for effect in top})
    effects["head_positions"] = run("head_positions", task, "z", "named", layers)
    return effects


def _one_template(model: HookedTransformer, settings: IOISettings) -> Task:
    """Prompts of one length whose tokens stand in the same places."""
    return ioi(
        model,
        n_prompts=min(settings.n_prompts, 16),
        corruption=settings.corruption,
        seed=settings.seed,
        order="ABBA",
        templates=["canonical"],
    )


def _check_heads(model: HookedTransformer, settings: IOISettings) -> None:
    """Refuse what would fail after minutes of work."""
    n_heads = model.cfg.n_layers * model.cfg.n_heads
    if n_heads < 2 * settings.n_heads:
        raise ValueError(
            f"n_heads={settings.n_heads} is too many for {model.cfg.model_name}: it has {n_heads} "
            "heads, and as many others are needed as the control."
        )


def _ablations(
    model: HookedTransformer,
    heads: Sequence[Head],
    settings: IOISettings,
    steps: Steps,
) -> tuple[dict[str, ablation.Ablation], dict[str, page.Floats]]:
    """The heads taken out by every method, and the mean change of each random set.

    The prompts are others than those that the heads were chosen on: on the same ones, the choice
    would flatter the result.
    """
    task = ioi(model, settings.n_prompts, settings.corruption, settings.seed + 1)
    reference = ioi(
        model, max(N_REFERENCE, settings.n_prompts), "abc", seed=settings.seed + 2
    )  # other prompts again
    sets = ablation.random_heads(
        model, len(heads), settings.n_random, exclude=heads, seed=settings.seed
    )
    found: dict[str, ablation.Ablation] = {}
    controls: dict[str, page.Floats] = {}
    for i, method in enumerate(METHODS):
        with steps(f"ablate {method}") as progress:
            first, *random = ablation.ablate_many(
                model,
                task,
                [heads, *sets],
                method,
                reference=reference,
                seed=settings.seed + i,
                progress=progress,
            )
        found[method] = first
        controls[method] = np.array([(r.ablated - r.clean).mean() for r in random])
    return found, controls


def _head(labels: dict[str, str]) -> Head:
    return int(labels["layer"]), int(labels["head"])


def _map(effects: Effects, seed: int, columns: Sequence[str] | None = None) -> page.EffectMap:
    values, low, high = effects.interval(seed=seed)
    rows, labels = (axis.labels for axis in effects.axes)
    return page.EffectMap(values, low, high, rows, tuple(columns or labels))


def _head_positions(effects: Effects, listed: Sequence[Head], seed: int) -> page.EffectMap:
    """Rows of the listed heads only: [head, position]."""
    values, low, high = effects.interval(seed=seed)  # [layer, head, position]
    layers = [int(label) for label in effects.axes[0].labels]
    at = tuple(np.array([(layers.index(layer), head) for layer, head in listed]).T)
    names = tuple(f"{layer}.{head}" for layer, head in listed)
    return page.EffectMap(values[at], low[at], high[at], names, effects.axes[2].labels)


def _text_tokens(model: HookedTransformer, task: Task, prompt: int, clean: bool) -> list[str]:
    row = (task.clean if clean else task.corrupted)[prompt, : int(task.lengths[prompt])]
    tokens: list[str] = model.to_str_tokens(row)  # type: ignore[assignment]
    return tokens


def _behaviour(task: Task, baseline: Baseline, settings: IOISettings) -> page.Behaviour:
    return page.Behaviour(
        logit_difference=baseline.clean,
        corrupted=baseline.corrupted,
        accuracy=baseline.accuracy,
        per_prompt=baseline.clean_values,
        corrupted_per_prompt=baseline.corrupted_values,
        prompts=task.clean_text,
        corruption=settings.corruption,
    )


def _example(model: HookedTransformer, task: Task) -> page.PromptPair:
    return page.PromptPair(
        clean=tuple(_text_tokens(model, task, 0, clean=True)),
        corrupted=tuple(_text_tokens(model, task, 0, clean=False)),
        positions={name: int(at[0]) for name, at in task.positions.items()},
        correct=task.answer_text[0],
        wrong=task.wrong_text[0],
    )


def _role_swaps(model: HookedTransformer) -> tuple[page.RoleSwap, ...]:
    swaps = ioi_role_swaps(model)
    values = swaps.baseline(model).clean_values
    return tuple(
        page.RoleSwap(text, io, s, float(value))
        for text, io, s, value in zip(
            swaps.clean_text, swaps.answer_text, swaps.wrong_text, values, strict=True
        )
    )


def _attention(
    model: HookedTransformer, task: Task, heads: Sequence[Head]
) -> tuple[AttentionExample, ...]:
    names = [get_act_name("pattern", layer) for layer in sorted({layer for layer, _ in heads})]
    chosen = range(min(N_EXAMPLES, len(task)))
    _, cache = model.run_with_cache(task.clean[: len(chosen)], names_filter=names, return_type=None)
    examples = []
    for prompt in chosen:
        length = int(task.lengths[prompt])
        patterns = [cache["pattern", layer][prompt, head] for layer, head in heads]
        cut = torch.stack(patterns)[:, :length, :length]  # [head, query, key]
        tokens = _text_tokens(model, task, prompt, clean=True)
        marks = {name: int(at[prompt]) for name, at in task.positions.items()}
        examples.append(AttentionExample(cut.float().cpu().numpy(), tokens, marks))
    return tuple(examples)


def _predictions(
    effects: dict[str, Effects], first: HeadReadings, without: ablation.Ablation
) -> tuple[page.Expectation, ...]:
    """What the textbook story (Wang et al. 2022) expects of a model when S2 is flipped.

    `first` are the readings of the head that restores most.
    """
    resid = effects["resid_pre"].normalised()
    names = effects["resid_pre"].axes[1].labels
    s2, end = names.index("S2"), names.index("END")
    most = max(first.looks_at, key=lambda name: first.looks_at[name])
    left = without.mean().estimate / float(without.clean.mean())
    return (
        _prediction(
            "Share restored by the stream at S2 before layer 0",
            "above 0.9",
            resid[0, s2],
            lambda share: share > 0.9,
        ),
        _prediction(
            "Share restored by the stream at END before the last layer",
            "above 0.5",
            resid[-1, end],
            lambda share: share > 0.5,
        ),
        page.Expectation(
            "Where the head that restores most looks from END",
            "IO (as a name mover)",
            f"{most} ({number(first.looks_at[most])})",
            most == "IO",
        ),
        _prediction(
            "Share of the logit difference left without the top heads (mean ablation)",
            "below 0.5",
            left,
            lambda share: share < 0.5,
        ),
    )


def _prediction(
    question: str, expected: str, value: float, holds: Callable[[float], bool]
) -> page.Expectation:
    return page.Expectation(question, expected, number(float(value)), holds(float(value)))
