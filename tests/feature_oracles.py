"""Interventions on features, the slow and obvious way: full runs with functions of the hook."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from hypothesis import strategies as st

from cutaway.model.config import ModelConfig
from cutaway.model.transformer import HookedTransformer
from cutaway.patching import values as put
from cutaway.sae import Dictionary, DictionaryConfig, new_dictionary
from cutaway.tasks.task import Task
from oracles import new_value

KINDS = ("standard", "top-k", "batch-top-k", "jump-relu", "gated", "matryoshka")


def write_hooks(cfg: ModelConfig) -> list[str]:
    """The kinds of hooks, within a layer, that a dictionary of this model may write."""
    names = ["hook_resid_pre", "hook_resid_post", "hook_attn_out", "attn.hook_z"]
    if cfg.has_resid_mid:
        names.append("hook_resid_mid")
    return names if cfg.attn_only else [*names, "hook_mlp_out", "mlp.hook_post"]


def width_of(cfg: ModelConfig, hook: str) -> int:
    """Numbers at a position, heads side by side."""
    if hook.endswith("hook_z"):
        return cfg.n_heads * cfg.d_head
    return cfg.d_mlp if hook.endswith("hook_post") and "mlp" in hook else cfg.d_model


def random_dictionary(
    cfg: ModelConfig,
    kind: str,
    write: str,
    read: str = "",
    d_features: int = 6,
    scale: float = 1.0,
    skip: bool = False,
    seed: int = 0,
) -> Dictionary:
    """With weights and biases that are nowhere trivial; a transcoder if it reads elsewhere."""
    transcoder = read not in ("", write)
    own = DictionaryConfig(
        kind,  # type: ignore[arg-type]
        d_in=width_of(cfg, read or write),
        d_features=d_features,
        d_out=width_of(cfg, write) if transcoder else None,
        k=2 if kind in ("top-k", "batch-top-k", "matryoshka") else None,
        sizes=(3, d_features) if kind == "matryoshka" else (),
        hook=read or write,
        hook_out=write if transcoder else "",
        subtract_decoder_bias=not transcoder,
        skip=skip and transcoder,
        scale=scale,
        rescale_by_decoder_norm=kind == "top-k",
    )
    dictionary = new_dictionary(own, seed)
    generator = torch.Generator().manual_seed(seed)
    for name, value in dictionary.named_parameters():
        if name != "log_threshold":
            noise = torch.empty(value.shape).normal_(0, 0.3, generator=generator)
            value.data.add_(noise)
    return dictionary


@st.composite
def dictionaries(draw: st.DrawFn, cfg: ModelConfig, transcoders: bool = True) -> Dictionary:
    """Any kind, at any hook that can be swept."""
    layer = draw(st.integers(0, cfg.n_layers - 1))
    write = f"blocks.{layer}.{draw(st.sampled_from(write_hooks(cfg)))}"
    reads = [""]
    if transcoders and write.endswith("hook_mlp_out"):
        reads += [f"blocks.{layer}.{name}" for name in ("ln2.hook_normalized", "hook_mlp_in")]
        reads = reads if cfg.normalization_type is not None else [reads[0], reads[2]]
        reads.append("blocks.0.hook_resid_pre")
    return random_dictionary(
        cfg,
        draw(st.sampled_from(KINDS)),
        write,
        draw(st.sampled_from(reads)),
        scale=draw(st.sampled_from([1.0, 2.5])),
        skip=draw(st.booleans()),
        seed=draw(st.integers(0, 50)),
    )


def through(
    model: HookedTransformer, tokens: torch.Tensor, dictionary: Dictionary, replace, error=None
) -> torch.Tensor:
    """Logits of a full run in which features f become replace(f) and errors e error(e); the rest
    of what passes the hook stays."""
    cfg = dictionary.cfg
    read, write = cfg.hook, cfg.hook_out or cfg.hook
    seen = {}

    def remember(value, hook):
        seen["x"] = value

    def change(value, hook):
        y = value.flatten(-2) if value.ndim == 4 else value
        x = seen["x"].flatten(-2) if seen["x"].ndim == 4 else seen["x"]
        old = dictionary.encode(x)
        left_out = y - dictionary.decode(old, x)
        new_error = left_out if error is None else error(left_out)
        return (dictionary.decode(replace(old), x) + new_error).reshape(value.shape)

    return model.run_with_hooks(tokens, fwd_hooks=[(read, remember), (write, change)])


def features_of(
    model: HookedTransformer, tokens: torch.Tensor, dictionary: Dictionary
) -> torch.Tensor:
    """[prompt, pos, feature]"""
    _, cache = model.run_with_cache(tokens, names_filter=dictionary.cfg.hook)
    x = cache[dictionary.cfg.hook]
    return dictionary.encode(x.flatten(-2) if x.ndim == 4 else x)


@torch.no_grad()
def feature_sweep_by_hooks(
    model: HookedTransformer,
    task: Task,
    dictionary: Dictionary,
    value: str | put.Value,
    mode: str,
    positions: Sequence[str | int] | None,
) -> np.ndarray:
    """[feature, position, prompt], one full run each."""
    value = put.as_value(value)
    into, out_of = (
        (task.corrupted, task.clean) if mode == "denoising" else (task.clean, task.corrupted)
    )
    base, other = (features_of(model, tokens, dictionary) for tokens in (into, out_of))
    mean = None
    if isinstance(value, put.Mean):
        of_reference = features_of(model, task.corrupted, dictionary)
        rows = []
        for group, length in zip(task.group, task.lengths, strict=True):
            same = zip(task.group, task.lengths, strict=True)
            members = [i for i, pair in enumerate(same) if pair == (group, length)]
            rows.append(of_reference[members].mean(0))
        mean = torch.stack(rows)
    n_prompts, n_pos = into.shape
    found = []
    for feature in range(dictionary.cfg.d_features):
        for place in positions or [None]:
            here = torch.ones(n_prompts, n_pos, dtype=torch.bool)
            if place is not None:
                at = task.positions[place] if isinstance(place, str) else torch.tensor(place)
                here = torch.arange(n_pos) == at.expand(n_prompts)[:, None]
            mask = here[..., None] & (torch.arange(dictionary.cfg.d_features) == feature)

            def replace(old, mask=mask):
                return torch.where(mask, new_value(value, old, other, base, mean), old)

            logits = through(model, into, dictionary, replace)
            found.append(task.metric(task.metric.read(logits)).numpy())
    return np.array(found).reshape(dictionary.cfg.d_features, len(positions or [None]), n_prompts)
