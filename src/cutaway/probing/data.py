"""`ProbeData`: what passes hook points at some positions, with a label and a group per prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from ..array_files import load_arrays, save_arrays
from ..model.cache import get_act_name
from ..model.transformer import HookedTransformer
from ..patching.effects import Axis
from ..patching.sites import check_layers, get_site
from ..tasks.task import Task
from .labels import Labels, has_both, labels_of_task
from .places import Place, index_of
from .prompt_set import Positions, PromptSet

SITES = ("resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out", "z")
_PROMPTS_AT_ONCE = 64


@dataclass(frozen=True, eq=False)
class ProbeData:
    """Activations at layers (and heads) and positions, and what each prompt is labelled.

    Example:
        >>> data = collect(model, task, "order", site="resid_post")
        >>> data.at(layer=2, position="END").shape
        torch.Size([64, 128])
    """

    site: str
    """What was read: "resid_post", "z", ..."""
    axes: tuple[Axis, ...]
    """layer, head (of z) and position."""
    activations: Float[Tensor, "*axes prompt d"]
    labels: Labels
    groups: tuple[str, ...]
    """What train and test must not share, of each prompt."""
    word_types: Int[NDArray[np.int64], "position prompt"]
    """The word that a control task deals a label to: the token that is read, or where that is
    always the same, the one at another position (`settings["types"]` says which)."""
    settings: dict[str, Any] = field(default_factory=dict)
    """What made it."""

    def __post_init__(self) -> None:
        expected = (*(len(axis.labels) for axis in self.axes), len(self.labels))
        if self.activations.shape[:-1] != expected or len(self.groups) != len(self.labels):
            raise ValueError(
                f"activations have the shape {tuple(self.activations.shape)}, axes and labels "
                f"{expected}, and there are {len(self.groups)} groups."
            )

    def __len__(self) -> int:
        return len(self.labels)

    def at(self, **place: str | int) -> Float[Tensor, "prompt d"]:
        """The activations of one place.

        Args:
            place: axis name -> label, as layer=2, position="END"; axes of one entry can be left
                out.

        Raises:
            ValueError: a place that is not there.
        """
        return self.activations[index_of(self.axes, place)]

    def places(self) -> list[Place]:
        """Every place, in the order of the axes."""
        return [
            {a.name: a.labels[i] for a, i in zip(self.axes, index, strict=True)}
            for index in np.ndindex(*(len(axis.labels) for axis in self.axes))
        ]

    def save(self, path: str | Path) -> None:
        """Write one safetensors file: activations as float32, the rest as JSON in its header."""
        described = {
            "site": self.site,
            "axes": [asdict(axis) for axis in self.axes],
            "label": self.labels.name,
            "classes": self.labels.classes,
            "groups": self.groups,
            "settings": self.settings,
        }
        arrays = {
            "activations": self.activations.float().cpu().numpy(),
            "labels": self.labels.values,
            "word_types": self.word_types,
        }
        save_arrays(path, "data of probes", arrays, described)

    @classmethod
    def load(cls, path: str | Path) -> ProbeData:
        """The inverse of `save`.

        Raises:
            ValueError: the file is missing, or is not one that `save` wrote.
        """
        arrays, described = load_arrays(path, "data of probes")
        return cls(
            site=described["site"],
            axes=tuple(Axis(a["name"], tuple(a["labels"])) for a in described["axes"]),
            activations=torch.from_numpy(arrays["activations"]),
            labels=Labels(described["label"], arrays["labels"], tuple(described["classes"])),
            groups=tuple(described["groups"]),
            word_types=arrays["word_types"],
            settings=described["settings"],
        )


def collect(
    model: HookedTransformer,
    prompts: Task | PromptSet | Int[Tensor, "prompt pos"],
    labels: str | Labels | Sequence[Any],
    *,
    site: str = "resid_post",
    layers: int | Sequence[int] | None = None,
    positions: Positions = None,
    groups: str | Sequence[str] | None = None,
    types: str | None = None,
) -> ProbeData:
    """Run prompts, and keep what passes a site at every layer and at chosen positions.

    Args:
        model: without hooks attached.
        prompts: a task (its clean prompts, or of labels such as "clean" all of them), prompts, or
            token numbers.
        labels: of a task a name (`labels_of_task` lists them); else `Labels`, or a value for each
            prompt.
        site: resid_pre, resid_mid, resid_post, attn_out, mlp_out, or z (every head by itself).
        layers: which layers; None means all.
        positions: names, token indices (-1 is the last token), "each"; None means all names.
        groups: of a task a way to group ("pair", "group", "answer", "prompt"); or the group of
            each prompt. None means "pair", and of prompts their own groups.
        types: at which position stands the word that control tasks deal labels to; None means
            where the probe reads, and where that is one word in all prompts, the first named
            position whose word varies and does not already say the label.

    Raises:
        ValueError: a site, layer, position or label that is not there; labels that are not as
            many as the prompts.

    Example:
        >>> data = collect(model, ca.tasks.ioi(model, 256), "answer", positions=["S2", "END"])
        >>> [axis.name for axis in data.axes]
        ['layer', 'position']
    """
    chosen, named = _prompts_and_labels(prompts, labels, groups)
    if site not in SITES:
        raise ValueError(f"site={site!r} is not one of {', '.join(SITES)}.")
    at = get_site(site, model.cfg)
    layers = check_layers(model.cfg, at, layers)
    where = chosen.choose(positions)
    index = torch.stack([chosen.index(position) for position in where])
    hooks = [get_act_name(site, layer) for layer in layers]
    activations = _read(model, chosen, hooks, index)
    axes = [Axis("layer", tuple(map(str, layers))), Axis("position", tuple(map(str, where)))]
    if site == "z":
        activations = activations.movedim(-2, 1)  # [layer, head, position, prompt, d_head]
        axes.insert(1, Axis("head", tuple(map(str, range(model.cfg.n_heads)))))
    word_types, type_names = _word_types(chosen, named, where, index, types)
    return ProbeData(
        site=site,
        axes=tuple(axes),
        activations=activations,
        labels=named,
        groups=chosen.groups,
        word_types=word_types,
        settings={
            **chosen.settings,
            "model": model.cfg.model_name,
            "label": named.name,
            "types": type_names,
        },
    )


def _prompts_and_labels(
    prompts: Task | PromptSet | Tensor,
    labels: str | Labels | Sequence[Any],
    groups: str | Sequence[str] | None,
) -> tuple[PromptSet, Labels]:
    by = groups if isinstance(groups, str) else "pair"
    if isinstance(prompts, Task):
        both = isinstance(labels, str) and has_both(labels)
        named = labels_of_task(prompts, labels) if isinstance(labels, str) else _as_labels(labels)
        chosen = PromptSet.of_task(prompts, both=both, groups=by)
    else:
        if isinstance(labels, str) or isinstance(groups, str):
            raise ValueError(
                f"label and groups by name ({labels if isinstance(labels, str) else groups!r}) are "
                "of a task: give a value for each prompt."
            )
        chosen = prompts if isinstance(prompts, PromptSet) else PromptSet.of_tokens(prompts)
        named = _as_labels(labels)
    if groups is not None and not isinstance(groups, str):
        chosen = PromptSet(
            chosen.tokens,
            chosen.lengths,
            chosen.positions,
            tuple(map(str, groups)),
            chosen.texts,
            chosen.settings,
        )
    if not len(named) == len(chosen) == len(chosen.groups):
        raise ValueError(
            f"there are {len(chosen)} prompts, {len(named)} labels and {len(chosen.groups)} groups"
            ": each prompt needs one of both."
        )
    return chosen, named


def _as_labels(labels: Labels | Sequence[Any]) -> Labels:
    return labels if isinstance(labels, Labels) else Labels.of("label", labels)


@torch.no_grad()
def _read(
    model: HookedTransformer, prompts: PromptSet, hooks: Sequence[str], index: Tensor
) -> Float[Tensor, "layer position prompt *d"]:
    """The values at each prompt's own positions, some prompts at a time."""
    parts = []
    for rows in torch.arange(len(prompts), device=prompts.tokens.device).split(_PROMPTS_AT_ONCE):
        last = int(index[:, rows].max())  # attention is causal: nothing behind it is needed
        tokens = prompts.tokens[rows, : last + 1]
        _, values = model.record(tokens, names_filter=list(hooks), return_type=None)
        of_row = torch.arange(len(rows), device=model.device)
        at = index[:, rows].to(model.device)
        parts.append(torch.stack([values[hook][of_row, at].float() for hook in hooks]))
    return torch.cat(parts, dim=2)


def _word_types(
    prompts: PromptSet,
    labels: Labels,
    where: Sequence[str | int],
    index: Int[Tensor, "position prompt"],
    types: str | None,
) -> tuple[NDArray[np.int64], list[str]]:
    """The word of each prompt that a control task goes by, and at which position it stands."""
    tokens, rows = prompts.tokens, torch.arange(len(prompts), device=prompts.tokens.device)
    words = {name: tokens[rows, at].cpu().numpy() for name, at in prompts.positions.items()}
    fallback = _fallback(words, labels)
    found, names = [], []
    for position, at in zip(where, index, strict=True):
        here = tokens[rows, at].cpu().numpy()
        name = str(position)
        if types is not None:
            name, here = types, tokens[rows, prompts.index(types)].cpu().numpy()
        elif len(np.unique(here)) == 1 and fallback is not None:
            name, here = fallback, words[fallback]
        found.append(here.astype(np.int64))
        names.append(name)
    return np.stack(found), names


def _fallback(words: dict[str, NDArray[np.int64]], labels: Labels) -> str | None:
    """The first position whose word varies and does not say the label; None if there is none."""
    for name, here in words.items():
        pairs = {*zip(here.tolist(), labels.values.tolist(), strict=True)}
        n_words = len(set(here.tolist()))
        if n_words > 1 and len(pairs) > n_words:
            return name
    return None
