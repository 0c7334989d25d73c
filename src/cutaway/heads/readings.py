"""What heads do on the prompts of an IOI task: where they look, and what they write directly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..model.cache import ActivationCache, get_act_name
from ..model.transformer import HookedTransformer
from ..patching.ablation import Head
from ..tasks.task import Task

# A head is said to look somewhere if more than this share of its attention is there on average.
LOOKS = 0.3
# A head is said to write (or to suppress) the answer if it adds (takes) more than this share of
# the clean logit difference through the unembedding, not counting what later layers make of it.
WRITES = 0.05


@dataclass(frozen=True)
class HeadReadings:
    """Means over the clean prompts of one head."""

    looks_at: dict[str, float]
    """Attention from END to the first token, each named position, and the token after S2."""
    looks_back: dict[str, float]
    """Attention from S2 to S1 and S1+1, and from S1+1 to S1, where the task names them."""
    direct: float
    """What it adds to the logit difference directly, as a share of what the stream adds in all
    (the difference without the two tokens' b_U)."""

    @property
    def role(self) -> str:
        """What the readings say, in the words of Wang et al. (2022), by the thresholds above.

        These describe attention and direct writing. Whether a head does the work is what
        patching and ablation tell: `head_roles`.
        """
        roles = []
        if self.looks_at.get("IO", 0) > LOOKS and abs(self.direct) > WRITES:
            roles.append("name mover" if self.direct > 0 else "negative name mover")
        for place in ("S2", "S2+1"):
            if self.looks_at.get(place, 0) > LOOKS:
                roles.append(f"looks from END to {place}")
        if self.looks_back.get("S2 to S1", 0) > LOOKS:
            roles.append("duplicate token")
        if self.looks_back.get("S2 to S1+1", 0) > LOOKS:
            roles.append("induction")
        if self.looks_back.get("S1+1 to S1", 0) > LOOKS:
            roles.append("previous token")
        return ", ".join(roles)


@torch.no_grad()
def read_heads(
    model: HookedTransformer, task: Task, heads: Sequence[Head]
) -> dict[Head, HeadReadings]:
    """The readings of some heads on the clean prompts of an IOI task.

    Example:
        >>> read_heads(model, task, [(9, 9)])[9, 9].role
        'name mover'
    """
    layers = sorted({layer for layer, _ in heads})
    names = [get_act_name(part, layer) for layer in layers for part in ("pattern", "z")]
    cache = run_for_readings(model, task, names)
    scale = float(whole_contribution(model, task, cache).mean())
    written = {layer: direct_contributions(model, task, cache, layer) for layer in layers}
    readings = {}
    for layer, head in heads:
        pattern = cache["pattern", layer][:, head]  # [prompt, query, key]
        readings[layer, head] = HeadReadings(
            looks_from_end(pattern, task, model.cfg.default_prepend_bos),
            _looks_back(pattern, task),
            float(written[layer][head].mean()) / scale,
        )
    return readings


def run_for_readings(
    model: HookedTransformer, task: Task, names: Sequence[str] = ()
) -> ActivationCache:
    """The clean run: these activations, and what direct contributions are computed from."""
    kept = [*names, get_act_name("resid_post", model.cfg.n_layers - 1)]
    if model.cfg.normalization_type is not None:
        kept.append(get_act_name("scale"))
    cache: ActivationCache
    _, cache = model.run_with_cache(task.clean, names_filter=kept, return_type=None)
    return cache


def direct_contributions(
    model: HookedTransformer,
    task: Task,
    cache: ActivationCache,
    layer: int,
    z: Float[Tensor, "prompt pos head d_head"] | None = None,
) -> Float[Tensor, "head prompt"]:
    """What each head of a layer adds at END to logit(answer) - logit(wrong), in logits.

    Through the unembedding alone, with the final norm's scale as it is in `cache` (Elhage et al.
    2021; Wang et al. 2022, section 3.1); what later layers make of it does not count.

    Args:
        cache: of `run_for_readings`, with the layer's "z" unless it is given.
        z: of another run, measured with this run's scale.
    """
    end = task.positions["END"]
    z = cache["z", layer] if z is None else z
    at_end = z[torch.arange(len(end), device=z.device), end]  # [prompt, head, d_head]
    written = torch.einsum("phd,hdm->hpm", at_end, model.blocks[layer].attn.W_O)
    return (_through_norm(written, cache, end) * _direction(model, task)).sum(-1)


def whole_contribution(
    model: HookedTransformer, task: Task, cache: ActivationCache
) -> Float[Tensor, " prompt"]:
    """What the whole stream adds at END to the logit difference: that without the two b_U."""
    end = task.positions["END"]
    stream = cache["resid_post", model.cfg.n_layers - 1]
    at_end = stream[torch.arange(len(end), device=stream.device), end]  # [prompt, d_model]
    return (_through_norm(at_end[None], cache, end)[0] * _direction(model, task)).sum(-1)


def looks_from_end(
    pattern: Float[Tensor, "prompt query key"], task: Task, bos: bool
) -> dict[str, float]:
    """Mean attention from END to each named position, the first token, and the one after S2."""
    rows = torch.arange(len(task), device=pattern.device)
    from_end = pattern[rows, task.positions["END"]]  # [prompt, key]
    first = "BOS" if bos else "first token"
    places = {name: at for name, at in task.positions.items() if name != "END"}
    places |= {"S2+1": task.positions["S2"] + 1, "END": task.positions["END"]}
    looks = {first: from_end[:, 0]}
    looks |= {name: from_end[rows, at] for name, at in places.items()}
    return {name: float(share.mean()) for name, share in looks.items()}


def _looks_back(pattern: Float[Tensor, "prompt query key"], task: Task) -> dict[str, float]:
    at, rows = task.positions, torch.arange(len(task), device=pattern.device)
    pairs = (("S2", "S1"), ("S2", "S1+1"), ("S1+1", "S1"))
    return {
        f"{query} to {key}": float(pattern[rows, at[query], at[key]].mean())
        for query, key in pairs
        if query in at and key in at
    }


def _direction(model: HookedTransformer, task: Task) -> Float[Tensor, "prompt d_model"]:
    return (model.W_U[:, task.correct] - model.W_U[:, task.wrong]).T


def _through_norm(
    vectors: Float[Tensor, "component prompt d_model"],
    cache: ActivationCache,
    end: Int[Tensor, " prompt"],
) -> Float[Tensor, "component prompt d_model"]:
    """What vectors at END add to what the unembedding reads, the norm's scale frozen."""
    name = get_act_name("scale")
    at_end = {}
    if name in cache:
        scale = cache[name]
        at_end[name] = scale[torch.arange(len(end), device=scale.device), end]  # [prompt, 1]
    return ActivationCache(at_end, cache.model).apply_ln_to_stack(vectors)
