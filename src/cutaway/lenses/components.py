"""`component_lens`: which tokens each part of the model promotes and suppresses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..model.cache import get_act_name
from ..model.parts import Norm, at_least_float32
from ..model.transformer import HookedTransformer
from ..tasks.task import Task
from .component_readings import By, ComponentReadings
from .places import NOTHING, Followed, Places, Positions, places_of

_CELLS = 2**24
"""Numbers held at a time: of what the components wrote, and of one component's logits."""


@torch.no_grad()
def component_lens(
    model: HookedTransformer,
    prompts: Task | Int[Tensor, "prompt pos"],
    by: By = "head",
    *,
    top: int = 5,
    positions: Positions | None = None,
    follow: Mapping[str, Followed] | None = None,
    seed: int = 0,
) -> ComponentReadings:
    """What each part of the model wrote, through the final norm and the unembedding.

    The norm's scale is *frozen*: that of the whole final stream, the same for all parts, so that
    the norm is linear and the parts add up to the logits (Elhage et al. 2021). `logit_lens`
    recomputes the scale at each point, because it asks what the model would say there; a single
    part read with a scale of its own would be blown up to the size of the whole stream. What a
    part promotes is a change of logits and no prediction (Geva et al. 2022 say so of MLPs).

    Args:
        model: read, not changed.
        prompts: as in `logit_lens`.
        by: "head" takes attention apart into heads (and its biases), "layer" does not.
        top: how many of the most promoted and most suppressed tokens are kept.
        positions: as in `logit_lens`.
        follow: as in `logit_lens`.
        seed: of the shuffled targets, the control.

    Raises:
        ValueError: what `logit_lens` refuses.

    Example:
        >>> component_lens(model, task).ranked("target", "wrong")[0]
        ('3.6', Interval(...))
    """
    if not 1 <= top <= model.cfg.d_vocab:
        raise ValueError(f"top={top} is not between 1 and {model.cfg.d_vocab}, the vocabulary.")
    places = places_of(model, prompts, positions, follow, seed)
    labels = _labels(model, by)
    kept = _Kept(labels, places, top)
    n_prompts, n_pos = places.tokens.shape
    step = max(1, _CELLS // (n_pos * model.cfg.d_model * len(labels)))
    first = 0
    rows = np.flatnonzero(places.real.cpu().numpy())
    for start in range(0, n_prompts, step):
        chunk = slice(start, start + step)
        n_here = int(places.real[chunk].sum())
        here = rows[first : first + n_here]
        followed = {name: t[chunk][places.real[chunk]] for name, t in places.followed.items()}
        parts = _parts(model, places, chunk, by)
        for number, (part, scale) in enumerate(parts):
            kept.put(number, here, _added(model, part, scale), followed)
        first += n_here
    return kept.readings(model, by)


def _labels(model: HookedTransformer, by: By) -> tuple[str, ...]:
    cfg = model.cfg
    found = ["embed", *(["pos_embed"] if "hook_pos_embed" in model.hook_dict else [])]
    for layer in range(cfg.n_layers):
        if by == "head":
            found += [f"{layer}.{head}" for head in range(cfg.n_heads)]
        else:
            found.append(f"attn{layer}")
        found += [] if cfg.attn_only else [f"mlp{layer}"]
    return (*found, *(["attention biases"] if by == "head" else []), "bias")


def _parts(
    model: HookedTransformer, places: Places, chunk: slice, by: By
) -> Iterator[tuple[Tensor | None, Tensor]]:
    """What each component wrote at the places of some prompts, [row, d_model], in the order of
    `_labels`, and the final norm's scale there; None is the bias of norm and unembedding."""
    cfg, blocks = model.cfg, model.blocks
    last = get_act_name("resid_post", cfg.n_layers - 1) if cfg.n_layers else "hook_embed"
    kind = "z" if by == "head" else "attn_out"
    ends: tuple[str, ...] = ("hook_embed", "hook_pos_embed")
    names = [name for name in ends if name in model.hook_dict]
    for layer in range(cfg.n_layers):
        names.append(get_act_name(kind, layer))
        names += [] if cfg.attn_only else [get_act_name("mlp_out", layer)]
    tokens, where = places.tokens[chunk], places.positions[chunk]
    _, found = model.record(tokens, names_filter=[*names, last], return_type=None)
    real = places.real[chunk]
    prompt = torch.arange(len(tokens), device=tokens.device)[:, None]

    def at(name: str) -> Tensor:
        return found[name].expand(len(tokens), *found[name].shape[1:])[prompt, where][real]

    scale = _scale(model, at(last))
    for name in names:
        values = at(name)
        if name.endswith("hook_z"):
            layer = int(name.split(".")[1])
            W_O = blocks[layer].attn.W_O
            for head in range(cfg.n_heads):
                yield values[:, head] @ W_O[head], scale
        else:
            yield values, scale
    if by == "head":
        total = torch.stack([block.attn.b_O for block in blocks]).sum(0)
        yield total.expand(len(scale), -1), scale
    yield None, scale


def _scale(model: HookedTransformer, resid: Float[Tensor, "row d_model"]) -> Tensor:
    """What the final norm divides by: [row, 1]."""
    norm = model.ln_final
    if not isinstance(norm, Norm):
        return torch.ones_like(resid[:, :1])
    x = at_least_float32(resid)
    if norm.kind in ("LN", "LNPre"):
        x = x - x.mean(-1, keepdim=True)
    return (x.pow(2).mean(-1, keepdim=True) + norm.eps).sqrt()


def _added(
    model: HookedTransformer, part: Float[Tensor, "row d_model"] | None, scale: Tensor
) -> Float[Tensor, "row d_vocab"]:
    """What one component adds to the logits, less the mean over the vocabulary."""
    norm, unembed = model.ln_final, model.unembed
    W_U = at_least_float32(unembed.W_U)
    if part is None:
        logits = at_least_float32(unembed.b_U)
        if isinstance(norm, Norm) and norm.b is not None:
            logits = logits + at_least_float32(norm.b) @ W_U
        logits = logits.expand(len(scale), -1)
    else:
        part = at_least_float32(part)
        if isinstance(norm, Norm):
            if norm.kind in ("LN", "LNPre"):
                part = part - part.mean(-1, keepdim=True)
            part = part / scale
            part = part if norm.w is None else part * norm.w
        logits = part @ W_U
    return logits - logits.mean(-1, keepdim=True)


class _Kept:
    """Arrays that are written into, [component, place], NaN where nothing is read."""

    def __init__(self, labels: tuple[str, ...], places: Places, top: int) -> None:
        self.labels, self.places = labels, places
        shape = (len(labels), places.real.numel())
        self.tokens = [np.full((*shape, top), NOTHING, dtype=np.int64) for _ in range(2)]
        self.values = [np.full((*shape, top), np.nan, dtype=np.float32) for _ in range(2)]
        self.logits = {name: np.full(shape, np.nan, dtype=np.float32) for name in places.followed}

    def put(
        self,
        component: int,
        rows: np.ndarray,
        logits: Float[Tensor, "row d_vocab"],
        tokens: dict[str, Int[Tensor, " row"]],
    ) -> None:
        """What is kept of one component's logits at some places."""
        k = self.tokens[0].shape[-1]
        for at, largest in enumerate((True, False)):
            best, chosen = logits.topk(k, dim=-1, largest=largest)
            self.tokens[at][component, rows] = chosen.cpu().numpy()
            self.values[at][component, rows] = best.float().cpu().numpy()
        for name, token in tokens.items():
            own = logits.gather(1, token.clamp(min=0)[:, None])[:, 0].float()
            own = own.masked_fill(token == NOTHING, float("nan"))
            self.logits[name][component, rows] = own.cpu().numpy()

    def readings(self, model: HookedTransformer, by: By) -> ComponentReadings:
        shape = tuple(self.places.real.shape)

        def shaped(values: np.ndarray) -> np.ndarray:
            return values.reshape(len(self.labels), *shape, *values.shape[2:])

        return ComponentReadings(
            model=model.cfg.model_name,
            by=by,
            components=self.labels,
            real=self.places.real.cpu().numpy(),
            top_tokens=shaped(self.tokens[0]),
            top_logits=shaped(self.values[0]),
            bottom_tokens=shaped(self.tokens[1]),
            bottom_logits=shaped(self.values[1]),
            followed={name: t.cpu().numpy() for name, t in self.places.followed.items()},
            logits={name: shaped(v) for name, v in self.logits.items()},
        )
