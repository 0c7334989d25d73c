"""`Dictionary`: what all kinds of sparse autoencoders and transcoders share."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Self

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from .config import DictionaryConfig, DictionaryError
from .sparse import SparseFeatures, sparse_from_dense


class Dictionary(nn.Module, ABC):
    """Features of a model's activations: directions to read, and directions to write.

        features = activate((scale x - b_dec) W_enc + b_enc)
        output   = (features W_dec + b_dec + scale x W_skip) / scale

    Subtracting b_dec and W_skip are options of `cfg`. A kind is a subclass that says which features
    are active (`activate`) and what its loss is (`losses`). Weights are those given by
    `new_dictionary` or `load_dictionary`; the constructor leaves them unset.

    Args:
        cfg: kind, shape and options.

    Example:
        >>> dictionary = new_dictionary(DictionaryConfig("top-k", 64, 512, k=8), seed=0)
        >>> features = dictionary.encode(x)  # [..., d_features]
        >>> dictionary.decode(features)  # [..., d_out]
    """

    W_enc: nn.Parameter
    b_enc: nn.Parameter
    W_dec: nn.Parameter
    b_dec: nn.Parameter
    W_skip: nn.Parameter | None

    def __init__(self, cfg: DictionaryConfig) -> None:
        super().__init__()
        self.cfg = cfg
        form = getattr(torch, cfg.dtype)
        d_in, d_features, d_out = cfg.d_in, cfg.d_features, cfg.output_width
        # Laid out feature by feature: what one feature reads lies together in memory, as what it
        # writes does, and the sparse step goes through whole features.
        self.W_enc = nn.Parameter(torch.empty(d_features, d_in, dtype=form).t())
        self.W_dec = nn.Parameter(torch.empty(d_features, d_out, dtype=form))
        self.b_dec = nn.Parameter(torch.empty(d_out, dtype=form))
        if cfg.skip:
            self.W_skip = nn.Parameter(torch.empty(d_in, d_out, dtype=form))
        else:
            self.register_parameter("W_skip", None)
        self._make_biases(d_features, form)

    def _make_biases(self, d_features: int, form: torch.dtype) -> None:
        self.b_enc = nn.Parameter(torch.empty(d_features, dtype=form))

    # ---- reading and writing ----

    def encoder_input(self, x: Float[Tensor, "*batch d_in"]) -> Float[Tensor, "*batch d_in"]:
        """What the encoder's directions are compared with: scaled, and less b_dec.

        Raises:
            DictionaryError: another width than d_in.
        """
        if x.shape[-1] != self.cfg.d_in:
            place = f" at {self.cfg.hook}" if self.cfg.hook else ""
            raise DictionaryError(
                f"the dictionary reads vectors of width {self.cfg.d_in}{place}, and these have "
                f"{x.shape[-1]}."
            )
        scaled = x if self.cfg.scale == 1 else x * self.cfg.scale
        return scaled - self.b_dec if self.cfg.subtract_decoder_bias else scaled

    def pre_activations(
        self, x: Float[Tensor, "*batch d_in"]
    ) -> Float[Tensor, "*batch d_features"]:
        """What `activate` decides on: how much of each feature's reading direction there is."""
        # As W_enc.t() lies in memory, this is the form that torch turns into one product.
        return nn.functional.linear(self.encoder_input(x), self.W_enc.t(), self.b_enc)

    @abstractmethod
    def activate(
        self, pre: Float[Tensor, "*batch d_features"]
    ) -> Float[Tensor, "*batch d_features"]:
        """The kind's idea: features from pre-activations, each row on its own."""

    def encode(self, x: Float[Tensor, "*batch d_in"]) -> Float[Tensor, "*batch d_features"]:
        """Features, not negative, in units of the scaled input.

        No row depends on another, also of the kinds that are trained by batches.
        """
        return self.activate(self.pre_activations(x))

    def sparse_encode(self, x: Float[Tensor, "row d_in"]) -> SparseFeatures:
        """The same features as lists of the active ones."""
        return sparse_from_dense(self.encode(x))

    def decode(
        self,
        features: Float[Tensor, "*batch d_features"],
        x: Float[Tensor, "*batch d_in"] | None = None,
    ) -> Float[Tensor, "*batch d_out"]:
        """The output that features stand for, in units of the model.

        Args:
            features: as `encode` gives them.
            x: the input; only a skip-transcoder needs it.

        Raises:
            DictionaryError: a skip-transcoder without x.
        """
        return self._scaled_output(features @ self.W_dec, x) / self.cfg.scale

    def _scaled_output(
        self, written: Float[Tensor, "*batch d_out"], x: Float[Tensor, "*batch d_in"] | None
    ) -> Float[Tensor, "*batch d_out"]:
        out = written + self.b_dec
        if self.W_skip is None:
            return out
        if x is None:
            raise DictionaryError(
                "a skip-transcoder's output needs its input: decode(features, x)."
            )
        return out + (x * self.cfg.scale) @ self.W_skip

    def forward(self, x: Float[Tensor, "*batch d_in"]) -> Float[Tensor, "*batch d_out"]:
        """Encoded and decoded."""
        return self.decode(self.encode(x), x)

    # ---- training ----

    def losses(
        self,
        x: Float[Tensor, "row d_in"],
        target: Float[Tensor, "row d_out"] | None = None,
        dead: Bool[Tensor, "d_features"] | None = None,
    ) -> dict[str, Tensor]:
        """The terms of the kind's loss, not yet weighed, with gradients.

        Args:
            x: what is read, in units of the model.
            target: what a transcoder predicts; None is x.
            dead: features that have not fired for long; kinds with an auxiliary loss revive them.

        Returns:
            "reconstruction": squared error in scaled units, summed over the width, averaged over
            rows; and what else the kind adds ("sparsity", "auxiliary", "prefixes").
        """
        return self.losses_and_features(x, target, dead)[0]

    @abstractmethod
    def losses_and_features(
        self,
        x: Float[Tensor, "row d_in"],
        target: Float[Tensor, "row d_out"] | None = None,
        dead: Bool[Tensor, "d_features"] | None = None,
    ) -> tuple[dict[str, Tensor], Float[Tensor, "row d_features"]]:
        """`losses`, and the features that they are about."""

    def scaled_target(
        self, x: Float[Tensor, "row d_in"], target: Float[Tensor, "row d_out"] | None
    ) -> Float[Tensor, "row d_out"]:
        """What the reconstruction is compared with, in scaled units.

        Raises:
            DictionaryError: a transcoder without a target, or a target of another width.
        """
        if target is None:
            if self.is_transcoder:
                raise DictionaryError("a transcoder's loss needs its target: losses(x, target).")
            target = x
        if target.shape[-1] != self.cfg.output_width:
            raise DictionaryError(
                f"the dictionary writes vectors of width {self.cfg.output_width}, and the target "
                f"has {target.shape[-1]}."
            )
        return target if self.cfg.scale == 1 else target * self.cfg.scale

    def reconstruction_loss(
        self,
        features: Float[Tensor, "row d_features"],
        x: Float[Tensor, "row d_in"],
        target: Float[Tensor, "row d_out"] | None,
    ) -> Float[Tensor, ""]:
        """Squared error in scaled units, summed over the width, averaged over rows."""
        error = self._scaled_output(features @ self.W_dec, x) - self.scaled_target(x, target)
        return error.square().sum(-1).mean()

    # ---- the same function, otherwise written ----

    def decoder_norms(self) -> Float[Tensor, "d_features"]:
        """Length of each feature's decoder row; 1 where the row is zero, for it is divided by."""
        norms = self.W_dec.norm(dim=-1)
        return torch.where(norms > 0, norms, 1)

    @torch.no_grad()
    def fold_decoder_norms(self) -> Self:
        """A new dictionary with the same outputs whose decoder rows are unit vectors.

        Features are multiplied by the norms that their rows had.
        """
        norms = self.decoder_norms()
        folded = self._copy(rescale_by_decoder_norm=False)
        folded.W_dec.div_(norms[:, None])
        folded._scale_features(norms)
        return folded

    @torch.no_grad()
    def fold_scale(self) -> Self:
        """A new dictionary with the same outputs and scale 1; its features keep their units."""
        folded = self.fold_decoder_norms() if self.cfg.rescale_by_decoder_norm else self._copy()
        folded.cfg = folded.cfg.replace(scale=1.0)
        folded.W_enc.mul_(self.cfg.scale)
        folded.W_dec.div_(self.cfg.scale)
        folded.b_dec.div_(self.cfg.scale)
        return folded

    def _scale_features(self, factor: Float[Tensor, "d_features"]) -> None:
        """Multiply features by positive numbers, by changing what the encoder reads."""
        self.W_enc.mul_(factor)
        self.b_enc.mul_(factor)

    def _copy(self, **changes: object) -> Self:
        copy = type(self)(self.cfg.replace(**changes)).to(self.device, self.dtype)
        copy.load_state_dict(self.state_dict())
        return copy

    # ---- facts ----

    @property
    def is_transcoder(self) -> bool:
        """Whether it predicts something else than what it reads."""
        return self.cfg.is_transcoder

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.W_dec.device

    @property
    def dtype(self) -> torch.dtype:
        """Number format of the weights."""
        return self.W_dec.dtype

    @property
    def digest(self) -> str:
        """SHA-256 of the configuration and the weights, sorted by name."""
        hasher = hashlib.sha256(json.dumps(self.cfg.to_dict(), sort_keys=True).encode())
        for name, value in self._weights():
            hasher.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            data = value.detach().cpu().contiguous().flatten().view(torch.uint8)
            hasher.update(data.numpy().data)
        return hasher.hexdigest()

    def _weights(self) -> Iterator[tuple[str, Tensor]]:
        yield from sorted(self.state_dict().items())
