"""Causal scrubbing, the slow and obvious way: one prompt, one part and one full run at a time.

Prompts are drawn in the same order as by the engine, so that both make the same exchanges.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from circuit_oracles import writes_of
from cutaway.circuits.scrubbing import Hypothesis
from cutaway.model.transformer import HookedTransformer
from cutaway.patching.graph import Graph, Receiver, Sender
from cutaway.tasks.task import Task


class SlowScrub:
    """Every receiver's input is a sum over all its senders; a part is run by hooks in a full run of
    its prompt, with what its inputs read put in."""

    def __init__(
        self,
        model: HookedTransformer,
        task: Task,
        hypothesis: Hypothesis,
        labels: Mapping[str, list[int]],
        seed: tuple[int, ...],
    ) -> None:
        self.model, self.task, self.labels = model, task, labels
        self.claims = dict(hypothesis.claims)
        self.graph = Graph(model.cfg)
        self.rng = np.random.default_rng(seed)
        with torch.no_grad():
            self.writes = writes_of(model, task.clean)

    def metric(self) -> torch.Tensor:
        n = len(self.task)
        final = self.read(self.graph.receivers[-1], list(range(n)))
        with torch.no_grad():
            logits = self.model.unembed(self.model.ln_final(final))
        return self.task.metric(self.task.metric.read(logits)).double()

    def donors(self, features: tuple[str, ...], reference: list[int]) -> list[int]:
        if "prompt" in features:
            return reference
        uniform = self.rng.random(len(reference))
        found = []
        for prompt, u in zip(reference, uniform, strict=True):
            agree = [
                other
                for other in range(len(self.task))
                if all(self.labels[f][other] == self.labels[f][prompt] for f in features)
            ]
            found.append(agree[int(u * len(agree))])
        return found

    def read(self, receiver: Receiver, reference: list[int]) -> torch.Tensor:
        rest = self.donors(self.claims.get(receiver.name, ()), reference)
        total = self.biases(receiver).expand(len(rest), self.task.clean.shape[1], -1)
        upstream = self.graph.senders[: self.graph.n_upstream(receiver)]
        edges = {s.name: s for s in upstream if f"{s.name}->{receiver.name}" in self.claims}
        for sender in upstream:
            if sender.name not in edges:
                total = total + self.writes[sender.name][rest]
        for claim in self.claims:  # prompts are drawn in the order of the claims
            name, arrow, end = claim.partition("->")
            if arrow and end == receiver.name:
                other = self.donors(self.claims[claim], reference)
                total = total + self.written(edges[name], other)
        return total

    def biases(self, receiver: Receiver) -> torch.Tensor:
        n = receiver.layer + (receiver.kind == "mlp" and self.model.cfg.has_resid_mid)
        return sum((b.attn.b_O for b in list(self.model.blocks)[:n]), self.model.embed.W_E[0] * 0)

    def inputs(self, sender: Sender) -> list[Receiver]:
        if sender.kind == "embed":
            return []
        if sender.kind == "mlp":
            return [self.graph.receiver(sender.name)]
        kv = sender.head // self.model.cfg.heads_per_group
        heads = {"q": sender.head, "k": kv, "v": kv}
        return [self.graph.receiver(f"{sender.layer}.{h}.{kind}") for kind, h in heads.items()]

    def written(self, sender: Sender, reference: list[int]) -> torch.Tensor:
        inputs = self.inputs(sender)
        claimed = {claim.partition("->")[2] or claim for claim in self.claims}
        if not any(receiver.name in claimed for receiver in inputs):
            return self.writes[sender.name][reference]
        hooks, seen = [], {}
        for receiver in inputs:
            value = self.read(receiver, reference)
            if receiver.kind == "mlp":
                hooks.append((f"blocks.{sender.layer}.hook_mlp_in", lambda x, hook, v=value: v))
                continue

            def put(x, hook, v=value, at=receiver.head):
                x = x.clone()
                x[:, :, at] = v
                return x

            hooks.append((f"blocks.{sender.layer}.hook_{receiver.kind}_input", put))
        kind = "hook_mlp_out" if sender.kind == "mlp" else "attn.hook_z"
        name = f"blocks.{sender.layer}.{kind}"
        hooks.append((name, lambda x, hook: seen.update(x=x.clone())))
        with torch.no_grad():
            self.model.run_with_hooks(self.task.clean[reference], fwd_hooks=hooks)
            if sender.kind == "mlp":
                return seen["x"]
            return (
                seen["x"][:, :, sender.head] @ self.model.blocks[sender.layer].attn.W_O[sender.head]
            )
