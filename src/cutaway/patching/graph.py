"""The residual graph: who writes to the stream, who reads from it, and every edge between them.

Writers (senders) are the embedding, heads and MLPs; readers (receivers) are the query, key and
value inputs of heads, the inputs of MLPs, and the logits. Every reader reads the sum of all that
was written before it, so an edge leads from each writer to each later reader (Elhage et al. 2021,
"A Mathematical Framework for Transformer Circuits"). Biases are written too, but are the same in
every run.

Names are "embed", "9.6" (a head), "mlp3"; "9.6.q", "9.6.k", "9.6.v", "mlp3", "logits"; an edge is
"5.5->9.6.q". Where query heads share keys and values, "9.1.k" is key-value head 1.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from ..model.config import ModelConfig
from .cone import BaseRun, Entry, RecordedRun, after_attention

T = TypeVar("T")


@dataclass(frozen=True)
class Sender:
    """What writes to the residual stream."""

    kind: Literal["embed", "head", "mlp"]
    layer: int = 0
    head: int = 0

    @property
    def name(self) -> str:
        """ "embed", "9.6" or "mlp3"."""
        return {"embed": "embed", "head": f"{self.layer}.{self.head}", "mlp": f"mlp{self.layer}"}[
            self.kind
        ]

    def entry(self, cfg: ModelConfig) -> Entry:
        """The first place in the stream that holds what it wrote."""
        if self.kind == "embed":
            return Entry(0, "pre")
        return after_attention(cfg, self.layer) if self.kind == "head" else Entry(self.layer + 1)


@dataclass(frozen=True)
class Receiver:
    """What reads from the residual stream; `head` counts key-value heads for "k" and "v"."""

    kind: Literal["q", "k", "v", "mlp", "logits"]
    layer: int
    head: int = 0

    @property
    def name(self) -> str:
        """ "9.6.q", "mlp3" or "logits"."""
        if self.kind in ("q", "k", "v"):
            return f"{self.layer}.{self.head}.{self.kind}"
        return "logits" if self.kind == "logits" else f"mlp{self.layer}"

    def entry(self, cfg: ModelConfig) -> Entry:
        """Where it reads."""
        if self.kind == "mlp" and cfg.has_resid_mid:
            return Entry(self.layer, "mid")
        return Entry(self.layer)


@dataclass(frozen=True)
class Graph:
    """All senders, receivers and edges of models of one shape, in the order of the layers.

    Example:
        >>> graph = Graph(model.cfg)
        >>> len(graph.edge_names)  # of GPT-2 small
        32491
    """

    cfg: ModelConfig

    @cached_property
    def senders(self) -> tuple[Sender, ...]:
        """Embedding, then the heads and the MLP of each layer."""
        found = [Sender("embed")]
        for layer in range(self.cfg.n_layers):
            found += [Sender("head", layer, head) for head in range(self.cfg.n_heads)]
            if not self.cfg.attn_only:
                found.append(Sender("mlp", layer))
        return tuple(found)

    @cached_property
    def receivers(self) -> tuple[Receiver, ...]:
        """Queries, keys and values of each layer, then its MLP; the logits last."""
        found: list[Receiver] = []
        for layer in range(self.cfg.n_layers):
            found += [Receiver("q", layer, head) for head in range(self.cfg.n_heads)]
            for kind in ("k", "v"):
                units = range(self.cfg.n_key_value_heads)
                found += [Receiver(kind, layer, head) for head in units]
            if not self.cfg.attn_only:
                found.append(Receiver("mlp", layer))
        return (*found, Receiver("logits", self.cfg.n_layers))

    def n_upstream(self, receiver: Receiver) -> int:
        """How many senders a receiver reads: always the first ones of `senders`."""
        return self._n_written_at(receiver.entry(self.cfg))

    def _n_written_at(self, entry: Entry) -> int:
        """Senders that have written by then: the embedding, and what each layer before adds."""
        cfg = self.cfg
        n = 1 + entry.layer * (cfg.n_heads + (not cfg.attn_only))
        return n + cfg.n_heads * (entry.stage == "mid")

    @cached_property
    def edges(self) -> tuple[tuple[Sender, Receiver], ...]:
        """Every edge: receiver by receiver, its senders in their order."""
        return tuple(
            (sender, receiver)
            for receiver in self.receivers
            for sender in self.senders[: self.n_upstream(receiver)]
        )

    @cached_property
    def edge_names(self) -> tuple[str, ...]:
        """The name of every edge, as "5.5->9.6.q"."""
        return tuple(f"{sender.name}->{receiver.name}" for sender, receiver in self.edges)

    def sender(self, name: str) -> Sender:
        """The sender of that name.

        Raises:
            ValueError: this kind of model has no such sender.
        """
        return _find(name, {sender.name: sender for sender in self.senders}, "sender", self.cfg)

    def receiver(self, name: str) -> Receiver:
        """The receiver of that name.

        Raises:
            ValueError: this kind of model has no such receiver.
        """
        known = {receiver.name: receiver for receiver in self.receivers}
        if re.fullmatch(r"\d+\.\d+", name) and f"{name}.q" in known:
            raise ValueError(
                f"{name!r} is a head: say which of its inputs receives, {name}.q, {name}.k or "
                f"{name}.v."
            )
        return _find(name, known, "receiver", self.cfg)


def _find(name: str, known: dict[str, T], role: str, cfg: ModelConfig) -> T:
    if name not in known:
        examples = [*known][:2] + [*known][-2:]
        raise ValueError(
            f"{cfg.model_name} has no {role} {name!r}; {role}s are {', '.join(examples[:2])} ... "
            f"{', '.join(examples[2:])}."
        )
    return known[name]


def written_hooks(cfg: ModelConfig) -> list[str]:
    """The hook names whose values tell what every sender writes."""
    names = [Entry(0).hook_name]
    for layer in range(cfg.n_layers):
        names.append(f"blocks.{layer}.attn.hook_z")
        if not cfg.attn_only:
            names.append(f"blocks.{layer}.hook_mlp_out")
    return names


def written_changes(
    senders: Sequence[Sender], base: BaseRun, source: RecordedRun, window: slice
) -> Float[Tensor, "sender prompt window d_model"]:
    """What each sender writes in the source run, less what it writes in the base run.

    Args:
        senders: any.
        base, source: have recorded `written_hooks`.
        window: of positions.
    """
    blocks = base.model.blocks

    def change(hook: str) -> Tensor:
        return source.values[hook][:, window] - base.values[hook][:, window]

    found = []
    for sender in senders:
        if sender.kind == "head":
            z = change(f"blocks.{sender.layer}.attn.hook_z")[:, :, sender.head]
            found.append(z @ blocks[sender.layer].attn.W_O[sender.head])
        elif sender.kind == "mlp":
            found.append(change(f"blocks.{sender.layer}.hook_mlp_out"))
        else:
            found.append(change(Entry(0).hook_name))
    return torch.stack(found)
