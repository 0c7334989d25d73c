"""Whether a head's OV circuit copies names: the copy score of Wang et al. (2022, section 3.1)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ..model.cache import get_act_name
from ..model.transformer import HookedTransformer
from ..tasks.task import Task

TOP = 5
_SHARE = 0.05  # of the vocabulary: in a small one the first five tokens are no distinction
_NAMES = ("IO", "S1")


@torch.no_grad()
def name_copy_scores(
    model: HookedTransformer, task: Task, sign: int = 1
) -> Float[Tensor, "layer head prompt"]:
    """The share of a prompt's two names that a head would raise most if it attended to them only.

    The stream after the first block at IO and S1, which holds the name, is put through the head's
    norm, W_V, W_O, the final norm and the unembedding. A name counts if its own logit is among the
    highest 5 (at most a twentieth of the vocabulary). Wang et al. report above 0.95 for name movers
    of GPT-2 small, and with the sign turned round for negative name movers.

    Args:
        model: any.
        task: an IOI task.
        sign: +1, or -1 for what the head lowers most.

    Example:
        >>> name_copy_scores(model, task).mean(-1)[9, 9]
    """
    cfg = model.cfg
    k = max(1, min(TOP, int(_SHARE * cfg.d_vocab)))
    name = get_act_name("resid_post", 0)
    _, cache = model.run_with_cache(task.clean, names_filter=name, return_type=None)
    rows = torch.arange(len(task), device=task.clean.device)[:, None]
    at = torch.stack([task.positions[place] for place in _NAMES], dim=1)  # [prompt, place]
    stream, tokens = cache[name][rows, at], task.clean[rows, at]
    scores = []
    for block in model.blocks:
        read = block.attn.values(block.ln1(stream))  # [prompt, place, kv, d_head]
        values = read.repeat_interleave(cfg.heads_per_group, dim=2)
        for head in range(cfg.n_heads):
            written = sign * (values[:, :, head] @ block.attn.W_O[head])
            logits = model.unembed(model.ln_final(written)) - model.b_U
            own = logits.gather(-1, tokens[..., None])
            above = (logits >= own).sum(-1) - 1  # tokens that are raised at least as much
            scores.append((above < k).float().mean(-1))  # [prompt]
    found: Tensor = torch.stack(scores).unflatten(0, (cfg.n_layers, cfg.n_heads))
    return found
