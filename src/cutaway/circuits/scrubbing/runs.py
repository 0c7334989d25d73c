"""Scrubbed runs: every claimed part computed on a prompt of its own, from its parts likewise.

The tree of a hypothesis is evaluated from the logits down (Chan et al. 2022, "the causal scrubbing
algorithm"). A receiver that is asked for on a prompt reads

    stream on another prompt + sum over claimed edges of (sender on a third - sender on the other)

where the other prompt is drawn among those that agree on what the rest depends on, and the third,
for each edge, among those that agree on the edge's features. The sender is then computed on its
prompt in the same way, from inputs of its own; without claims below it is taken from a plain run.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from ...model.attention_context import context_of
from ...model.transformer import HookedTransformer
from ...patching.cone import Entry, take_positions
from ...patching.graph import Receiver, Sender
from ...tasks.metric import Metric
from .hypothesis import PROMPT, Features, Tree

Index = NDArray[np.int64]
Codes = Mapping[str, Int[Index, " prompt"]]
"""Feature -> a number for each prompt; prompts with one number agree."""
_CHUNK = 32  # prompts per plain run


class ScrubbedRuns:
    """Prompts of one length, among which parts are exchanged.

    Args:
        model: without hooks attached.
        tree: of the hypothesis.
        tokens: without padding.
        metric: of these prompts.
    """

    def __init__(
        self,
        model: HookedTransformer,
        tree: Tree,
        tokens: Int[Tensor, "prompt pos"],
        metric: Metric,
    ) -> None:
        self.model, self.tree, self.n = model, tree, len(tokens)
        cfg = model.cfg
        self._entries = {receiver: receiver.entry(cfg) for receiver in tree.receivers}
        values = self._recorded(tokens)
        self._streams = {
            entry: values[_stream_hook(entry, cfg.n_layers)] for entry in self._entries.values()
        }
        self._writes = {sender: self._written(sender, values) for sender in tree.senders}
        read = metric.positions.to(model.device)
        self._read = read
        here = torch.arange(read.shape[1], device=read.device).expand_as(read)
        self._metric = dataclasses.replace(metric, positions=here)  # of logits cut to the reads

    def clean(self) -> Float[Tensor, " prompt"]:
        """The metric of plain runs."""
        return self._measured(self._streams[self._entries[self.tree.root]])

    def scrubbed(self, codes: Codes, rng: np.random.Generator) -> Float[Tensor, " prompt"]:
        """The metric of one draw, with each prompt's own answers.

        Args:
            codes: which prompts agree.
            rng: of all prompts that are drawn.
        """
        draw = _Draw(self, codes, rng)
        return self._measured(draw.read(self.tree.root, np.arange(self.n)))

    @torch.no_grad()
    def _recorded(self, tokens: Int[Tensor, "prompt pos"]) -> dict[str, Tensor]:
        names = {_stream_hook(entry, self.model.cfg.n_layers) for entry in self._entries.values()}
        names |= {_written_hook(sender) for sender in self.tree.senders}
        parts = []
        for chunk in tokens.to(self.model.device).split(_CHUNK):
            _, values = self.model.record(chunk, return_type=None, names_filter=sorted(names))
            parts.append({name: values[name] for name in names})
        return {name: torch.cat([part[name] for part in parts]) for name in names}

    @torch.no_grad()
    def _written(self, sender: Sender, values: Mapping[str, Tensor]) -> Tensor:
        value = values[_written_hook(sender)]
        if sender.kind != "head":
            return value
        result: Tensor = (
            value[:, :, sender.head] @ self.model.blocks[sender.layer].attn.W_O[sender.head]
        )
        return result

    @torch.no_grad()
    def _measured(self, final: Float[Tensor, "prompt pos d_model"]) -> Float[Tensor, " prompt"]:
        at_reads = take_positions(final, self._read)
        logits = self.model.unembed(self.model.ln_final(at_reads))
        return self._metric(self._metric.read(logits)).double().cpu()


class _Draw:
    """One evaluation of the tree; prompts are drawn as it goes."""

    def __init__(self, runs: ScrubbedRuns, codes: Codes, rng: np.random.Generator) -> None:
        self.runs, self.codes, self.rng = runs, codes, rng

    def read(
        self, receiver: Receiver, reference: Int[Index, " prompt"]
    ) -> Float[Tensor, "prompt pos d_model"]:
        """What a receiver reads on the prompts `reference`."""
        runs, tree = self.runs, self.runs.tree
        rest = self._other(tree.rest.get(receiver, ()), reference)
        stream = runs._streams[runs._entries[receiver]][rest]
        for sender, features in tree.edges.get(receiver, {}).items():
            other = self._other(features, reference)
            stream = stream + (self.written(sender, other) - runs._writes[sender][rest])
        return stream

    @torch.no_grad()
    def written(
        self, sender: Sender, reference: Int[Index, " prompt"]
    ) -> Float[Tensor, "prompt pos d_model"]:
        """What a sender writes on the prompts `reference`."""
        model, inputs = self.runs.model, self.runs.tree.inputs(sender)
        if not inputs:
            return self.runs._writes[sender][reference]
        block = model.blocks[sender.layer]
        read = {receiver.kind: self.read(receiver, reference) for receiver in inputs}
        if sender.kind == "mlp":
            mlp_out: Tensor = block.mlp_out(read["mlp"])
            return mlp_out
        attn, cfg = block.attn, model.cfg
        context = context_of(cfg, read["q"])
        q = attn.queries(block.ln1(read["q"]), context)
        k = attn.keys(block.ln1(read["k"]), context)
        v = attn.values(block.ln1(read["v"]))
        z = attn.mix(q, k, v, context.mask)[:, :, sender.head]
        result: Tensor = z @ attn.W_O[sender.head]
        return result

    def _other(self, features: Features, reference: Int[Index, " prompt"]) -> Int[Index, " prompt"]:
        """For each prompt one that agrees with it, itself included, all equally likely."""
        if PROMPT in features:
            return reference
        classes = joint_codes(self.codes, features, self.runs.n)
        order = np.argsort(classes, kind="stable")
        sizes = np.bincount(classes)
        starts = np.cumsum(sizes) - sizes
        of = classes[reference]
        drawn = (self.rng.random(len(reference)) * sizes[of]).astype(np.int64)
        return np.asarray(order[starts[of] + drawn], dtype=np.int64)


def joint_codes(codes: Codes, features: Features, n: int) -> Int[Index, " prompt"]:
    """A number for each prompt; those that agree on all of the features have the same."""
    if PROMPT in features:
        return np.arange(n)
    columns = [np.zeros(n, dtype=np.int64), *(codes[feature] for feature in features)]
    _, classes = np.unique(np.stack(columns, axis=1), axis=0, return_inverse=True)
    return classes.reshape(-1).astype(np.int64)


def _stream_hook(entry: Entry, n_layers: int) -> str:
    if entry.layer == n_layers:
        return f"blocks.{n_layers - 1}.hook_resid_post"
    return entry.hook_name


def _written_hook(sender: Sender) -> str:
    if sender.kind == "embed":
        return Entry(0).hook_name
    kind = "attn.hook_z" if sender.kind == "head" else "hook_mlp_out"
    return f"blocks.{sender.layer}.{kind}"
