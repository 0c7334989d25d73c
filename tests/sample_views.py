"""Views of made-up numbers, with text that would like to be a script in every place for text."""

from __future__ import annotations

import numpy as np

from cutaway.evidence import proportion
from cutaway.sae.examples import FeatureDirections, FeatureExamples
from cutaway.views import (
    AttentionExample,
    AttentionView,
    ColouredTokensView,
    DoseLine,
    DoseResponseView,
    DotsView,
    HeatmapView,
    LensGridView,
    MatricesView,
    Matrix,
    Plane,
    PlanesView,
    Prose,
    TokenDot,
    TokenScatterView,
    View,
)
from cutaway.views.feature_browser import FeatureBrowserView, FeatureLabel
from sample_report import patterns

EVIL = "<script>alert(1)</script></script>\"'&<img src=x onerror=alert(1)>"
TOKENS = ("<|bos|>", "When", " Mary", EVIL)
TARGETS = ("When", " Mary", EVIL, "")
DOSES = (-4.0, 0.0, 4.0, 8.0)
LABELS = tuple(f"prompt {i} {EVIL}" for i in range(5))


def lens_grid(**changes: object) -> LensGridView:
    """3 rows, 4 columns, k = 2; the top row has the targets on top."""
    tops = [
        [[target or "x", EVIL] for target in TARGETS],
        [["the", " a"], ["the", " Mary"], [EVIL, "the"], ["b", "c"]],
        [["of", " a"]] * 4,
    ]
    p = np.linspace(0.9, 0.05, 24).reshape(3, 4, 2)
    rank = np.array([[0, 0, 0, -1], [40, 1, 0, -1], [90, 7, 3, -1]])
    probability = np.where(rank < 0, np.nan, 0.5 / (1.0 + np.abs(rank)))
    fields = {
        "tokens": TOKENS,
        "row_labels": ("1", "0", "embed"),
        "top_tokens": tops,
        "top_probabilities": p,
        "targets": TARGETS,
        "target_probability": probability,
        "target_rank": rank,
        "entropy": np.linspace(0.5, 6, 12).reshape(3, 4),
        "title": f"Lens {EVIL}",
        "caption": EVIL,
    }
    return LensGridView(**{**fields, **changes})


def per_prompt() -> np.ndarray:
    """[prompt, coefficient]: four prompts follow the dose, the third moves against it."""
    slopes = np.array([0.1, 0.2, -0.05, 0.3, 0.15])
    return np.outer(slopes, DOSES)


def dose_lines() -> tuple[DoseLine, ...]:
    values = per_prompt()
    mean = values.mean(0)
    steered = DoseLine(f"layer 2 {EVIL}", DOSES, mean, mean - 0.2, mean + 0.2, values)
    flat = np.zeros(4)
    control = DoseLine("random direction", DOSES, flat, flat - 0.1, flat + 0.1, is_control=True)
    return steered, control


def dose_response(**changes: object) -> DoseResponseView:
    fields = {
        "lines": dose_lines(),
        "title": f"Dose {EVIL}",
        "caption": EVIL,
        "y_label": "logit difference",
        "references": ((0.0, EVIL),),
        "prompt_labels": LABELS,
    }
    return DoseResponseView(**{**fields, **changes})


def attention(n_heads: int = 2, **changes: object) -> AttentionView:
    example = AttentionExample(patterns(n_heads, 4), TOKENS, {"END": 3}, EVIL)
    labels = tuple(f"{i // 12}.{i % 12}" for i in range(n_heads))
    return AttentionView((example,), labels, **{"caption": EVIL, **changes})


def map_with_details() -> HeatmapView:
    """2 x 3 cells; a view behind one, a paragraph behind another."""
    return HeatmapView(
        np.array([[0.5, -0.2, 0.1], [0.0, 0.3, -0.4]]),
        ("1", "0"),
        ("0", "1", "2"),
        row_axis="layer",
        column_axis="head",
        title=f"Map {EVIL}",
        details={(0, 1): attention(), (1, 2): EVIL},
    )


def coloured(**changes: object) -> ColouredTokensView:
    fields = {
        "tokens": TOKENS,
        "values": (np.nan, 2.0, 0.5, 4.0),
        "notes": ("", "a", "b", EVIL),
        "title": f"Loss {EVIL}",
        "caption": EVIL,
        "value_label": "nats",
    }
    return ColouredTokensView(**{**fields, **changes})


def features(n_features: int = 6, **changes: object) -> FeatureBrowserView:
    """Feature 0 fires on everything, the last one never; feature 1 is described by a rule."""
    rng = np.random.default_rng(0)
    shape = (n_features, 3, 4)
    tokens, values = rng.integers(0, 4, size=shape), rng.random(shape).astype(np.float32)
    tokens[:, :, 1], values[:, :, 1] = 3, 1.0
    tokens[-1], values[-1] = -1, 0.0
    tokens[1, 0] = (-1, 2, 1, 0)
    k = np.tile([2, 3], (n_features, 1))
    by = np.tile(np.float32([1.5, -0.25]), (n_features, 1))
    near = np.tile([0, 1], (n_features, 1))
    label = FeatureLabel(f"on {EVIL}", proportion(9, 10), proportion(3, 4))
    fields: dict[str, object] = {
        "words": TOKENS,
        "examples": FeatureExamples(
            1, 2, tokens, values, np.array([0, 0, 1]), rng.integers(0, 9, size=(n_features, 5))
        ),
        "density": np.linspace(1, 0, n_features),
        "maximum": np.linspace(2, 0, n_features),
        "labels": [None, label, *[None] * (n_features - 2)],
        "directions": FeatureDirections(k, by, k, -by, near, np.abs(by)),
        "effects": {f"effect {EVIL}": [proportion(i % 6, 10) for i in range(n_features)]},
        "title": f"Features {EVIL}",
        "caption": EVIL,
    }
    return FeatureBrowserView(**(fields | changes))  # type: ignore[arg-type]


def drawings() -> tuple[View, ...]:
    """Directions, matrices, dots and tokens."""
    grid = np.arange(6.0).reshape(2, 3) - 2
    matrix = Matrix(EVIL, grid, EVIL, bars=(0.5, 1.0), shares=(0.2, 0.9))
    return (
        PlanesView((Plane(EVIL, grid, EVIL),), (EVIL, "b", "c"), title=EVIL),
        MatricesView((matrix,), EVIL, EVIL, bar_label=EVIL, share_label=EVIL, title=EVIL),
        DotsView(
            np.array([1.0, 2.0]),
            np.array([0.5, 0.7]),
            np.array([1.0, 2.0]),
            np.array([0.1, 0.2]),
            heights=((0.5, EVIL),),
            dot_name=EVIL,
            x_label=EVIL,
            y_label=EVIL,
            title=EVIL,
        ),
        TokenScatterView(
            (TokenDot(EVIL, 1e-6, 0.1, 0, EVIL), TokenDot(" the", 0.9, 0.7, 1)),
            (EVIL, "ordinary"),
            thresholds=(1e-3,),
            value_label=EVIL,
            title=EVIL,
        ),
    )


def all_views() -> Prose:
    """One page with each of them, and one view that d3 has no part in twice."""
    views: tuple[View, ...] = (
        lens_grid(),
        map_with_details(),
        dose_response(),
        coloured(),
        attention(30, head_scores={EVIL: np.linspace(0, 1, 30)}),
        lens_grid(),
    )
    return Prose(*views)
