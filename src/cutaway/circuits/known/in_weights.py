"""Which edges are in the weights: what a sender can write, times what a receiver reads, is not 0.

The measure is the composition of Elhage et al. (2021, "Composition of attention heads"): the
Frobenius norm of the product over the product of the norms. It says nothing of any prompt. An edge
that is in the weights may never carry anything; one that is not can carry nothing.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ...model.transformer import Attention, HookedTransformer
from ...patching.graph import Graph, Receiver, Sender
from ..wiring import Wiring


@torch.no_grad()
def edges_in_weights(model: HookedTransformer, tolerance: float = 1e-4) -> frozenset[str]:
    """The edges whose composition is larger than `tolerance`.

    What is written is W_E and W_pos (embedding), W_V W_O (head) or W_out (MLP); what is read is
    W_Q W_K^T (queries), W_K W_Q^T together with W_K b_Q (keys), W_V W_O (values), W_in and W_gate
    (MLP) or W_U (logits).

    Args:
        model: without norms; its positions are learned or there are none.
        tolerance: between 0 and 1; above what rounding leaves of a product that is 0 (about 1e-7
            in float32), below what is meant (a random product has about 1 / sqrt(d_model)).

    Raises:
        ValueError: a model with norms (which mix all directions), rotary positions (where the
            product depends on the distance), or grouped keys and values.

    Example:
        >>> edges_in_weights(known.model) == known.written | known.idle_edges
        True
    """
    cfg = model.cfg
    faults = {
        f"has norms ({cfg.normalization_type})": cfg.normalization_type is not None,
        "has rotary positions": cfg.positional_embedding_type == "rotary",
        "shares keys and values between heads": cfg.heads_per_group > 1,
    }
    found = [fault for fault, is_so in faults.items() if is_so]
    if found:
        raise ValueError(
            f"{cfg.model_name} {' and '.join(found)}, so that products of its weights do not tell "
            "which edges there are: measure them with sweep_edges."
        )
    graph = Graph(cfg)
    writes = {sender: _written(model, sender) for sender in graph.senders}
    reads = {receiver: _read(model, receiver) for receiver in graph.receivers}
    return frozenset(
        f"{sender.name}->{receiver.name}"
        for sender, receiver in graph.edges
        if _composition(writes[sender], reads[receiver]) > tolerance
    )


def circuit_in_weights(model: HookedTransformer, tolerance: float = 1e-4) -> frozenset[str]:
    """Those edges in the weights that lie on a way from the embedding to the logits.

    Args and errors are those of `edges_in_weights`.

    Example:
        >>> circuit_in_weights(known.model) == known.written
        True
    """
    wiring = Wiring(model.cfg)
    edges = wiring.matrix(edges_in_weights(model, tolerance))
    return frozenset(wiring.names(wiring.pruned(edges)))


def _composition(write: Tensor, read: Tensor) -> float:
    norms = float(write.norm() * read.norm())
    return float((write @ read).norm()) / norms if norms else 0.0


def _written(model: HookedTransformer, sender: Sender) -> Float[Tensor, "any d_model"]:
    """Rows that span what the sender writes, beside its biases."""
    if sender.kind == "embed":
        has_table = model.cfg.positional_embedding_type == "standard"
        written: Tensor = model.W_E_pos if has_table else model.W_E
    elif sender.kind == "mlp":
        written = model.blocks[sender.layer].mlp.W_out
    else:
        attention: Attention = model.blocks[sender.layer].attn
        written = attention.W_V[sender.head] @ attention.W_O[sender.head]
    return written.double()


def _read(model: HookedTransformer, receiver: Receiver) -> Float[Tensor, "d_model any"]:
    """Columns that span what the receiver's result depends on."""
    if receiver.kind == "logits":
        read: Tensor = model.W_U
    elif receiver.kind == "mlp":
        mlp = model.blocks[receiver.layer].mlp
        read = mlp.W_in if mlp.W_gate is None else torch.cat([mlp.W_in, mlp.W_gate], dim=1)
    else:
        attention: Attention = model.blocks[receiver.layer].attn
        W_Q, W_K, W_V = (W[receiver.head] for W in (attention.W_Q, attention.W_K, attention.W_V))
        if receiver.kind == "q":
            read = W_Q @ W_K.T  # b_K adds the same to all keys of a query: the softmax drops it
        elif receiver.kind == "k":
            read = W_K @ torch.cat([W_Q, attention.b_Q[receiver.head][None]]).T
        else:
            read = W_V @ attention.W_O[receiver.head]
    return read.double()
