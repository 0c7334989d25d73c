"""Weights of all layers, stacked and named as the field names them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from .factored import FactoredMatrix, composition_scores

_OF_MLPS = ("W_in", "W_gate", "W_out", "b_in", "b_out")


class WeightViews:
    """Properties of `HookedTransformer`: one tensor for all layers (copies, but for W_E, W_U).

    Key and value weights of grouped heads are given for each query head, so that shapes agree.
    """

    cfg: Any
    blocks: Any
    embed: Any
    pos_embed: Any
    unembed: Any

    if not TYPE_CHECKING:  # type checkers are to go on naming unknown attributes

        def __getattr__(self, name: str) -> Any:
            # Python comes here when a property raises AttributeError, and forgets that one's words.
            cfg = self.__dict__.get("cfg")
            if cfg is not None and name == "W_pos":
                why = f"its positions are {cfg.positional_embedding_type}"
            elif cfg is not None and name == "W_gate" and not cfg.attn_only:
                why = "its MLP is not gated"
            elif cfg is not None and cfg.attn_only and name in _OF_MLPS:
                why = "it has attention only"
            else:
                return super().__getattr__(name)
            raise AttributeError(f"{cfg.model_name} has no {name}: {why}.")

    def _stack(self, part: str, name: str, grouped: bool = False) -> Tensor:
        stacked = torch.stack([getattr(getattr(block, part), name) for block in self.blocks])
        if grouped and self.cfg.heads_per_group > 1:
            stacked = stacked.repeat_interleave(self.cfg.heads_per_group, dim=1)
        return stacked

    @property
    def W_E(self) -> Float[Tensor, "d_vocab d_model"]:
        """Token embedding."""
        return self.embed.W_E  # type: ignore[no-any-return]

    @property
    def W_pos(self) -> Float[Tensor, "n_ctx d_model"]:
        """Learned positions; an error where the model has none."""
        return self.pos_embed.W_pos  # type: ignore[no-any-return]

    @property
    def W_E_pos(self) -> Float[Tensor, "tokens_and_positions d_model"]:
        """Token embeddings, and the positions' below them."""
        return torch.cat([self.W_E, self.W_pos])

    @property
    def W_U(self) -> Float[Tensor, "d_model d_vocab"]:
        """Unembedding."""
        return self.unembed.W_U  # type: ignore[no-any-return]

    @property
    def b_U(self) -> Float[Tensor, " d_vocab"]:
        """Bias of the logits."""
        return self.unembed.b_U  # type: ignore[no-any-return]

    @property
    def W_Q(self) -> Float[Tensor, "layer head d_model d_head"]:
        """Query weights."""
        return self._stack("attn", "W_Q")

    @property
    def W_K(self) -> Float[Tensor, "layer head d_model d_head"]:
        """Key weights."""
        return self._stack("attn", "W_K", grouped=True)

    @property
    def W_V(self) -> Float[Tensor, "layer head d_model d_head"]:
        """Value weights."""
        return self._stack("attn", "W_V", grouped=True)

    @property
    def W_O(self) -> Float[Tensor, "layer head d_head d_model"]:
        """Output weights."""
        return self._stack("attn", "W_O")

    @property
    def b_Q(self) -> Float[Tensor, "layer head d_head"]:
        """Query biases."""
        return self._stack("attn", "b_Q")

    @property
    def b_K(self) -> Float[Tensor, "layer head d_head"]:
        """Key biases."""
        return self._stack("attn", "b_K", grouped=True)

    @property
    def b_V(self) -> Float[Tensor, "layer head d_head"]:
        """Value biases."""
        return self._stack("attn", "b_V", grouped=True)

    @property
    def b_O(self) -> Float[Tensor, "layer d_model"]:
        """Attention output biases."""
        return self._stack("attn", "b_O")

    @property
    def W_in(self) -> Float[Tensor, "layer d_model d_mlp"]:
        """MLP input weights."""
        return self._stack("mlp", "W_in")

    @property
    def W_gate(self) -> Float[Tensor, "layer d_model d_mlp"]:
        """MLP gate weights; an error where the MLP is not gated."""
        if not self.cfg.gated_mlp:
            raise AttributeError  # see __getattr__
        return self._stack("mlp", "W_gate")

    @property
    def b_in(self) -> Float[Tensor, "layer d_mlp"]:
        """MLP input biases."""
        return self._stack("mlp", "b_in")

    @property
    def W_out(self) -> Float[Tensor, "layer d_mlp d_model"]:
        """MLP output weights."""
        return self._stack("mlp", "W_out")

    @property
    def b_out(self) -> Float[Tensor, "layer d_model"]:
        """MLP output biases."""
        return self._stack("mlp", "b_out")

    @property
    def QK(self) -> FactoredMatrix:
        """W_Q W_K^T of every head, [layer, head, d_model (query), d_model (key)]."""
        return FactoredMatrix(self.W_Q, self.W_K.transpose(-2, -1))

    @property
    def OV(self) -> FactoredMatrix:
        """W_V W_O of every head, [layer, head, d_model (read), d_model (written)]."""
        return FactoredMatrix(self.W_V, self.W_O)

    def tokens_to_residual_directions(self, tokens: Any) -> Float[Tensor, "... d_model"]:
        """Columns of W_U: the direction that raises the logit of each token (text or numbers)."""
        if isinstance(tokens, str):
            tokens = self.to_single_token(tokens)  # type: ignore[attr-defined]
        return self.W_U.T[torch.as_tensor(tokens, device=self.W_U.device)]

    def accumulated_bias(
        self, layer: int | None = None, mlp_input: bool = False, include_mlp_biases: bool = True
    ) -> Float[Tensor, " d_model"]:
        """The sum of the biases that were written to the stream before `layer` reads it.

        Args:
            layer: the reader; None or -1 is the final norm.
            mlp_input: the layer's MLP reads, so its b_O counts as well.
            include_mlp_biases: whether the b_out count, and not only the b_O.
        """
        n_layers = len(self.blocks)
        layer = n_layers if layer in (None, -1) else layer
        assert layer is not None
        if not 0 <= layer <= n_layers - mlp_input:
            raise ValueError(f"layer={layer} is not between 0 and {n_layers - mlp_input}.")
        total = self.W_E.new_zeros(self.cfg.d_model)
        for at, block in enumerate(self.blocks):
            if at < layer or (at == layer and mlp_input and not self.cfg.parallel_attn_mlp):
                total = total + block.attn.b_O
            if at < layer and include_mlp_biases and not self.cfg.attn_only:
                total = total + block.mlp.b_out
        return total

    def all_head_labels(self) -> list[str]:
        """Labels "L0H0", "L0H1", ..., in the order of `[layer, head]` flattened."""
        n_layers, n_heads = self.cfg.n_layers, self.cfg.n_heads
        return [f"L{layer}H{head}" for layer in range(n_layers) for head in range(n_heads)]

    def all_composition_scores(
        self, mode: Literal["Q", "K", "V"]
    ) -> Float[Tensor, "layer_1 head_1 layer_2 head_2"]:
        """How much each head reads of what an earlier head wrote, by their weights alone.

        |W_OV of the earlier @ W of the later| / (|W_OV| |W|), in Frobenius norms, where W is the
        later head's QK circuit (Q), its transpose (K) or its OV circuit (V): Elhage et al. 2021,
        "A Mathematical Framework", on composition. 0 where the second head is not in a later layer.

        Raises:
            ValueError: another mode.
        """
        later = {"Q": self.QK, "K": self.QK.T, "V": self.OV}.get(mode)
        if later is None:
            raise ValueError(f"mode={mode!r} is unknown; it can be 'Q', 'K' or 'V'.")
        scores = composition_scores(self.OV, later)
        layers = torch.arange(self.cfg.n_layers, device=scores.device)
        is_later = layers[:, None] < layers  # [layer_1, layer_2]
        return torch.where(is_later[:, None, :, None], scores, 0)
