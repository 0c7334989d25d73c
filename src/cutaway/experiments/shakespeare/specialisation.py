"""Finding 2: which heads do what, how specialised they are, and whether that is stable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ...evidence import Interval, bootstrap_mean, difference_of_proportions, proportion
from ...heads.classify import taxonomy
from ...heads.head_classes import Taxonomy
from ...heads.measured import head_scores
from ...heads.scores import SCORES
from ...model.cache import get_act_name
from ...model.transformer import HookedTransformer
from .material import Material
from .record import Record
from .settings import ShakespeareSettings

N_RANDOM_MODELS = 4
_COPYING_DRAWS = 200
_NAMING = tuple(name for name in SCORES if name != "uniform")  # fresh weights do that too
_SPECIALISED = 0.5  # of the entropy over places: below, a head mainly does one thing
_LEAST_MASS = 0.02  # of attention, beyond what its places explain


def find_heads(model: HookedTransformer, settings: ShakespeareSettings, progress: Any) -> Taxonomy:
    """The scores and classes of all heads, beside models with random weights."""
    n_prompts = min(64, settings.n_prompts)
    return taxonomy(
        model,
        n_prompts,
        n_random=min(N_RANDOM_MODELS, settings.n_random),
        seed=settings.seed,
        copying_draws=_COPYING_DRAWS,
        max_memory=settings.max_memory,
        progress=progress,
    )


def specialisation(
    model: HookedTransformer,
    material: Material,
    found: Taxonomy,
    settings: ShakespeareSettings,
    record: Record,
) -> None:
    """Measure all of finding 2 for one model."""
    classes = found.classes
    by_pattern = [flags for name, flags in found.flags.items() if name in _NAMING]
    named = proportion(int(np.any(by_pattern, axis=0).sum()), len(classes))
    at_random = _named_at_random(found)
    record.put("heads", [_without_nan(row) for row in found.to_frame()])
    record.put("classes", {name: list(found.of_class(name)) for name in found.flags})
    record.put("n_heads", len(classes))
    record.put("n_induction", len(found.of_class("induction")))
    record.put("n_previous_token", len(found.of_class("previous-token")))
    record.put("share_named", named)
    record.put("share_named_random", at_random)
    if "shuffled" in at_random:
        above = difference_of_proportions(named, at_random["shuffled"])
        record.put("named_above_random", above)
    else:
        record.skip("named_above_random", "no models with random weights were run")
    record.put(
        "above_random",
        {
            name: list(found.above_random(name))
            for name in ("induction", "previous-token", "duplicate-token")
            if found.control
        },
    )
    _generality(found, record)
    record.put("place_scores_again", _again(model, found, settings.seed))
    looked_at = on_text(model, material, settings)
    record.put("text", looked_at)
    record.put("text_heads", text_heads(looked_at))


def _named_at_random(found: Taxonomy) -> dict[str, Interval]:
    """Kind of random weights -> share of its heads that any class of patterns would name."""
    shares = {}
    for weights, control in found.control.items():
        above = [
            control.low[name] > found.threshold(name) for name in found.intervals if name in _NAMING
        ]
        any_class = np.any(above, axis=0)
        shares[weights] = proportion(int(any_class.sum()), any_class.size)
    return shares


def _generality(found: Taxonomy, record: Record) -> None:
    """0: a head that looks at one kind of place; 1: at all kinds alike."""
    entropy = found.generality[0]
    said = np.isfinite(entropy)
    record.put("generality/n_judged", int(said.sum()))
    if not said.any():
        record.skip(
            "generality",
            "no head has a tenth of its attention, above chance, at the places that are told apart",
        )
        return
    record.put("generality/mean", bootstrap_mean(entropy[said]))
    special = int((entropy[said] < _SPECIALISED).sum())
    record.put("generality/specialised", proportion(special, int(said.sum())))


def _again(model: HookedTransformer, found: Taxonomy, seed: int) -> dict[str, float | None]:
    """The correlation over heads of each score with itself on other prompts."""
    settings = found.scores.settings
    other = head_scores(model, settings["n_prompts"], settings["half_length"], seed + 1)
    shared = {}
    for name in found.scores.per_prompt:
        first, second = found.scores.mean(name).ravel(), other.mean(name).ravel()
        is_flat = min(np.ptp(first), np.ptp(second)) < 1e-9
        shared[name] = None if is_flat else float(np.corrcoef(first, second)[0, 1])
    return shared


@torch.no_grad()
def on_text(
    model: HookedTransformer, material: Material, settings: ShakespeareSettings
) -> list[dict[str, Any]]:
    """Whether heads look at kinds of characters in held-out text, beyond where these stand.

    For each head and kind (blank: space or line end; the same character as the query's; a capital)
    the mean attention to earlier characters of that kind, less what the same pattern would give to
    another window's characters. The second part is the control: what a head that only goes by
    position would have.
    """
    rows = material.windows(model.cfg.n_ctx, settings.n_windows, settings.seed).to(model.device)
    kinds = _kinds(material, rows)
    other = {name: kind.roll(1, 0) for name, kind in kinds.items()}
    kinds["same character"] = (rows[:, :, None] == rows[:, None]).tril(-1)
    moved = rows.roll(1, 0)
    other["same character"] = (rows[:, :, None] == moved[:, None]).tril(-1)
    found: dict[tuple[int, str], list[np.ndarray]] = {}
    names = [get_act_name("pattern", layer) for layer in range(model.cfg.n_layers)]
    index = torch.arange(len(rows), device=rows.device)
    for part in index.split(16):
        _, cache = model.run_with_cache(rows[part], names_filter=names, return_type=None)
        for layer in range(model.cfg.n_layers):
            pattern = cache["pattern", layer].tril(-1)
            for name, own in kinds.items():
                beyond = _mass(pattern, own[part]) - _mass(pattern, other[name][part])
                found.setdefault((layer, name), []).append(beyond.double().cpu().numpy())
    table = []
    for (layer, name), parts in found.items():
        values = np.concatenate(parts)  # [window, head]
        for head in range(values.shape[1]):
            table.append(
                {
                    "head": f"{layer}.{head}",
                    "kind": name,
                    "beyond_position": bootstrap_mean(values[:, head], settings.seed),
                }
            )
    return table


def _kinds(
    material: Material, rows: Int[Tensor, "window pos"]
) -> dict[str, Bool[Tensor, "window query key"]]:
    words = [material.tokenizer.token(i) for i in range(material.tokenizer.vocab_size)]
    tests = {"blank": str.isspace, "capital": str.isupper}
    n = rows.shape[1]
    return {
        name: torch.tensor([test(word) for word in words], device=rows.device)[rows][
            :, None
        ].expand(-1, n, -1)
        for name, test in tests.items()
    }


def _mass(
    pattern: Float[Tensor, "window head query key"], kind: Bool[Tensor, "window query key"]
) -> Float[Tensor, "window head"]:
    """Mean over queries of the attention to keys of a kind."""
    mass: Tensor = torch.einsum("whqk,wqk->wh", pattern, kind.to(pattern.dtype))
    return mass / pattern.shape[-1]


def text_heads(table: Sequence[dict[str, Any]]) -> dict[str, list[str]]:
    """Kind -> heads that look there beyond position: lower end above 0, and more than 2%."""
    found: dict[str, list[str]] = {}
    for row in table:
        one: Interval = row["beyond_position"]
        if one.low > 0 and one.estimate > _LEAST_MASS:
            found.setdefault(row["kind"], []).append(row["head"])
    return found


def _without_nan(row: dict[str, Any]) -> dict[str, Any]:
    return {
        name: None if isinstance(value, float) and not np.isfinite(value) else value
        for name, value in row.items()
    }
