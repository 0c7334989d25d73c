"""Slow, obvious versions of what the package computes fast."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import torch

from cutaway.model.cache import get_act_name
from cutaway.model.config import ModelConfig
from cutaway.model.transformer import HookedTransformer
from cutaway.patching import values as put
from cutaway.patching.edits import Intervention
from cutaway.tasks.task import Task

HEAD_SITES = ("z", "result", "q", "k", "v", "pattern", "attn_scores")
NEURON_SITES = ("mlp_pre", "mlp_post")
SQUARE_SITES = ("pattern", "attn_scores")


def hook_of(cfg: ModelConfig, site: str, layer: int) -> str:
    """Where a site's value passes; queries and keys after the rotation."""
    if site in ("q", "k") and cfg.positional_embedding_type == "rotary":
        site = f"rot_{site}"
    return get_act_name(site, layer)


def n_units(cfg: ModelConfig, site: str) -> int | None:
    """Heads or neurons; None where there is only the whole."""
    if site in ("k", "v"):
        return cfg.n_key_value_heads
    return cfg.n_heads if site in HEAD_SITES else cfg.d_mlp if site in NEURON_SITES else None


def chosen(model: HookedTransformer, task: Task, one: Intervention) -> torch.Tensor:
    """[prompt, pos, unit, key], True where the intervention replaces; axes of 1 stand for all."""
    n_prompts, n_pos = task.clean.shape
    n = n_units(model.cfg, one.site)
    mask = torch.ones(n_prompts, n_pos, n or 1, n_pos, dtype=torch.bool)
    for axis, places in ((1, one.positions), (3, one.keys)):
        if places is None:
            continue
        here = torch.zeros(n_prompts, n_pos, dtype=torch.bool)
        for place in [places] if isinstance(places, str | int) else places:
            index = task.positions[place] if isinstance(place, str) else torch.tensor(place)
            here |= torch.arange(n_pos) == index.expand(n_prompts)[:, None]
        shape = [n_prompts, 1, 1, 1]
        shape[axis] = n_pos
        mask &= here.view(shape)
    if one.units is not None:
        units = [one.units] if isinstance(one.units, int) else list(one.units)
        mask &= torch.tensor([u in units for u in range(n)])[None, None, :, None]
    if one.site in SQUARE_SITES:
        return mask.transpose(1, 2)  # [prompt, head, query, key]
    return mask[..., 0, None] if one.site in HEAD_SITES else mask[..., 0]


def reference_mean(
    model: HookedTransformer, task: Task, reference: Task, hook: str
) -> torch.Tensor:
    """The mean over corrupted prompts of the same group and length, prompt by prompt."""
    _, cache = model.run_with_cache(reference.corrupted, names_filter=hook)
    rows = []
    for group, length in zip(task.group, task.lengths, strict=True):
        members = [
            i
            for i in range(len(reference))
            if reference.group[i] == group and reference.lengths[i] == length
        ]
        rows.append(cache[hook][members].mean(0))
    return torch.stack(rows)


def new_value(
    value: put.Value,
    old: torch.Tensor,
    other: torch.Tensor,
    base: torch.Tensor,
    mean: torch.Tensor | None,
) -> torch.Tensor:
    """What each kind of value puts, written out."""
    match value:
        case put.Patch():
            return other
        case put.Freeze():
            return base
        case put.Zero():
            return torch.zeros_like(old)
        case put.Mean():
            return mean
        case put.Constant():
            return torch.zeros_like(old) + value.value
        case put.Add():
            return old + value.value
        case put.Scale():
            return old * value.factor
        case put.Affine():
            return torch.einsum("ij,...j->...i", value.matrix, old) + value.offset
        case put.Remove() | put.Keep() | put.Exchange():
            rows = torch.atleast_2d(value.directions)
            project = torch.linalg.pinv(rows) @ rows  # onto the span of the rows
            inside = old @ project
            if isinstance(value, put.Keep):
                return inside
            outside = old - inside
            return outside if isinstance(value, put.Remove) else outside + other @ project
    raise NotImplementedError(value)


@torch.no_grad()
def intervene_by_hooks(
    model: HookedTransformer, task: Task, interventions: Sequence[Intervention], mode: str
) -> np.ndarray:
    """All interventions in one full run with hooks: the metric of every prompt."""
    into, out_of = task.corrupted, task.clean
    if mode == "noising":
        into, out_of = out_of, into
    hooks = []
    for one in interventions:
        name = hook_of(model.cfg, one.site, one.layer)
        _, source = model.run_with_cache(out_of, names_filter=name)
        _, base = model.run_with_cache(into, names_filter=name)
        value, mask = put.as_value(one.value), chosen(model, task, one)
        if one.site in SQUARE_SITES:  # what the causal mask and padding hide stays hidden
            scores = get_act_name("attn_scores", one.layer)
            _, hidden = model.run_with_cache(into, names_filter=scores)
            mask = mask & ~hidden[scores].isneginf()

        mean = None
        if isinstance(value, put.Mean):
            mean = reference_mean(model, task, value.reference or task, name)
        runs = (source[name], base[name], mean)

        def replace(old, hook, value=value, mask=mask, runs=runs):
            return torch.where(mask, new_value(value, old, *runs), old)

        hooks.append((name, replace))
    logits = model.run_with_hooks(into, fwd_hooks=hooks)
    return task.metric(task.metric.read(logits)).numpy()


def sweep_by_hooks(
    model: HookedTransformer,
    task: Task,
    site: str,
    mode: str,
    positions: Sequence[str | int] | None,
    keys: Sequence[str | int] | None = None,
    value: str | put.Value = "patch",
    group: int = 1,
) -> np.ndarray:
    """The whole sweep, one intervention at a time: [layer, unit, position, key, prompt]."""
    n = n_units(model.cfg, site)
    units = [None] if n is None else [range(u, u + group) for u in range(0, n, group)]
    layers = range(1 if site in ("embed", "pos_embed") else model.cfg.n_layers)
    axes = (layers, units, positions or [None], keys or [None])
    found = [
        intervene_by_hooks(model, task, [Intervention(site, layer, value, unit, at, key)], mode)
        for layer, unit, at, key in itertools.product(*axes)
    ]
    return np.array(found).reshape(*(len(axis) for axis in axes), -1)


def _of_prompts(task: Task, positions: Sequence[str | int] | None) -> torch.Tensor:
    """[prompt, pos], True at these positions."""
    here = torch.zeros(task.clean.shape, dtype=torch.bool)
    for place in positions or ():
        index = task.positions[place] if isinstance(place, str) else torch.tensor(place)
        here |= torch.arange(here.shape[1]) == index.expand(len(task))[:, None]
    return here if positions is not None else ~here


@torch.no_grad()
def path_by_four_runs(
    model: HookedTransformer,
    task: Task,
    senders: Sequence[str],
    receivers: Sequence[str],
    mode: str,
    mlps: str,
    positions: Sequence[str | int] | None = None,
) -> np.ndarray:
    """Path patching as its papers describe it, four full runs: the metric of every prompt."""
    into, out_of = task.corrupted, task.clean
    if mode == "noising":
        into, out_of = out_of, into
    _, base = model.run_with_cache(into)
    _, source = model.run_with_cache(out_of)
    here = _of_prompts(task, positions)

    def hold(value, hook):
        """Run three: senders as in the other run, the rest as in the base run."""
        name = hook.name
        if name == "blocks.0.hook_resid_pre":
            return source[name] if "embed" in senders else value
        layer = hook.layer()
        if name.endswith("hook_mlp_out"):
            if f"mlp{layer}" in senders:
                return source[name]
            return base[name] if mlps == "frozen" else value
        held = base[name].clone()
        for head in range(model.cfg.n_heads):
            if f"{layer}.{head}" in senders:
                held[:, :, head] = source[name][:, :, head]
        return held

    def held(name: str) -> bool:
        return name.endswith(("hook_z", "hook_mlp_out")) or name == "blocks.0.hook_resid_pre"

    inputs: dict[str, torch.Tensor] = {}
    places = {name: _input_hook(model, name) for name in receivers}

    def keep(value, hook):
        inputs[hook.name] = value.clone()

    reading = [(name, keep) for name, _ in places.values()]
    model.run_with_hooks(into, fwd_hooks=[(held, hold), *reading])

    def put_in(value, hook):
        """Run four: the receivers' inputs are those of run three."""
        new = value.clone()
        for name, head in places.values():
            if name == hook.name and head is None:
                new[here] = inputs[name][here]
            elif name == hook.name:
                new[:, :, head][here] = inputs[name][:, :, head][here]
        return new

    hooks = {name for name, _ in places.values()}
    logits = model.run_with_hooks(into, fwd_hooks=[(name, put_in) for name in hooks])
    return task.metric(task.metric.read(logits)).numpy()


def _input_hook(model: HookedTransformer, receiver: str) -> tuple[str, int | None]:
    """The hook at which a receiver's own copy of the stream passes, and which head's it is."""
    if receiver == "logits":
        return f"blocks.{model.cfg.n_layers - 1}.hook_resid_post", None
    if receiver.startswith("mlp"):
        return f"blocks.{receiver[3:]}.hook_mlp_in", None
    layer, head, kind = receiver.split(".")
    return f"blocks.{layer}.hook_{kind}_input", int(head)
