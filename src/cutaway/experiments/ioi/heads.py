"""What heads do on the prompts of a task: where they look, and what they write directly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ...model.cache import ActivationCache, get_act_name
from ...model.transformer import HookedTransformer
from ...patching.ablation import Head
from ...tasks.task import Task

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
    """Attention from S2 to S1 and S1+1, and from S1+1 to S1."""
    direct: float
    """What it adds to the logit difference directly, as a share of what the stream adds in all
    (the difference without the two tokens' b_U)."""

    @property
    def role(self) -> str:
        """What the readings say, in the words of Wang et al. (2022), by the thresholds above.

        These describe attention and direct writing. Whether a head does the work is what
        patching and ablation tell.
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
    """The readings of some heads on the clean prompts of an IOI task."""
    layers = sorted({layer for layer, _ in heads})
    names = [get_act_name(part, layer) for layer in layers for part in ("pattern", "z")]
    last = model.cfg.n_layers - 1
    names.append(get_act_name("resid_post", last))
    if model.cfg.normalization_type is not None:
        names.append(get_act_name("scale"))
    _, cache = model.run_with_cache(task.clean, names_filter=names, return_type=None)
    rows = torch.arange(len(task))
    end = task.positions["END"]
    direction = (model.W_U[:, task.correct] - model.W_U[:, task.wrong]).T  # [prompt, d_model]
    whole = _through_norm(cache["resid_post", last], cache, end)
    scale = float((whole * direction).sum(-1).mean())
    readings = {}
    for layer, head in heads:
        pattern = cache["pattern", layer][:, head]  # [prompt, query, key]
        result = cache["z", layer][:, :, head] @ model.blocks[layer].attn.W_O[head]
        direct = (_through_norm(result, cache, end) * direction).sum(-1).mean()
        readings[layer, head] = HeadReadings(
            _looks_at(pattern, task, rows, model.cfg.default_prepend_bos),
            _looks_back(pattern, task, rows),
            float(direct) / scale,
        )
    return readings


def _looks_at(
    pattern: Float[Tensor, "prompt query key"], task: Task, rows: Tensor, bos: bool
) -> dict[str, float]:
    from_end = pattern[rows, task.positions["END"]]  # [prompt, key]
    first = "BOS" if bos else "first token"
    places = {name: at for name, at in task.positions.items() if name != "END"}
    places |= {"S2+1": task.positions["S2"] + 1, "END": task.positions["END"]}
    looks = {first: from_end[:, 0]}
    looks |= {name: from_end[rows, at] for name, at in places.items()}
    return {name: float(share.mean()) for name, share in looks.items()}


def _looks_back(
    pattern: Float[Tensor, "prompt query key"], task: Task, rows: Tensor
) -> dict[str, float]:
    at = task.positions
    pairs = (("S2", "S1"), ("S2", "S1+1"), ("S1+1", "S1"))
    return {
        f"{query} to {key}": float(pattern[rows, at[query], at[key]].mean()) for query, key in pairs
    }


def _through_norm(
    vectors: Tensor, cache: ActivationCache, end: Tensor
) -> Float[Tensor, "prompt d_model"]:
    """What `vectors` [prompt, pos, d_model] add at END to what the unembedding reads."""
    scaled: Tensor = cache.apply_ln_to_stack(vectors[None])[0]
    return scaled[torch.arange(len(end)), end]
