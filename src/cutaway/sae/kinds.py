"""The kinds of dictionaries, one class for each idea of which features are active.

Standard: all that are positive, kept few by an L1 penalty. Gated: one decision whether, another
how much. JumpReLU: those above a learned threshold of their own. TopK: the k largest of a row.
BatchTopK: the k largest a row on average. Matryoshka: BatchTopK whose first features also have
to do alone.
"""

from __future__ import annotations

import math
from typing import Any, Self

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from .config import DictionaryConfig, DictionaryError
from .dictionary import Dictionary
from .sparse import Scoring, SparseFeatures, in_places, largest, largest_of_all, top_k_of_rows


class Standard(Dictionary):
    """ReLU features under an L1 penalty (Bricken et al. 2023).

    The penalty counts a feature times its decoder row's norm (Conerly et al. 2024), so that it
    cannot be had cheaper by longer rows:

        loss = |x - x'|^2 + lambda sum_i f_i |W_dec_i|

    """

    def activate(
        self, pre: Float[Tensor, "*batch d_features"]
    ) -> Float[Tensor, "*batch d_features"]:
        """max(pre, 0)."""
        return pre.relu()

    def losses_and_features(
        self,
        x: Float[Tensor, "row d_in"],
        target: Float[Tensor, "row d_out"] | None = None,
        dead: Bool[Tensor, "d_features"] | None = None,
    ) -> tuple[dict[str, Tensor], Float[Tensor, "row d_features"]]:
        """Reconstruction, and sparsity: L1 times decoder norms, averaged over rows."""
        features = self.encode(x)
        penalty = (features @ self.W_dec.norm(dim=-1)).mean()
        terms = {
            "reconstruction": self.reconstruction_loss(features, x, target),
            "sparsity": penalty,
        }
        return terms, features


class TopK(Dictionary):
    """The k largest pre-activations of a row, and of those the positive ones (Gao et al. 2024).

    Dead features learn by an auxiliary loss (appendix A.2 there): the error is reconstructed once
    more from the d_in / 2 largest dead features of each row.

    With `cfg.rescale_by_decoder_norm` a feature is its pre-activation times the norm of its
    decoder row, and decoding divides by it.
    """

    def scores(self, pre: Float[Tensor, "*batch d_features"]) -> Float[Tensor, "*batch d_features"]:
        """What is compared: pre-activations, times decoder norms if so configured."""
        return pre * self.decoder_norms() if self.cfg.rescale_by_decoder_norm else pre

    def activate(
        self, pre: Float[Tensor, "*batch d_features"]
    ) -> Float[Tensor, "*batch d_features"]:
        """All but the k largest of a row set to zero, and those if negative."""
        assert self.cfg.k is not None
        scores = self.scores(pre)
        value, index = largest(scores, self.cfg.k)
        return torch.zeros_like(scores).scatter(-1, index, value.relu())

    def activate_in_training(
        self, pre: Float[Tensor, "row d_features"]
    ) -> Float[Tensor, "row d_features"]:
        """The features that the loss sees; of batch kinds, rows decide together."""
        return self.activate(pre)

    def scoring(self, rounded: bool = False) -> Scoring:
        """What makes `scores` of an encoder's input; see sae/sparse.py."""
        factor = self.decoder_norms().detach() if self.cfg.rescale_by_decoder_norm else None
        return Scoring(self.W_enc.detach(), self.b_enc.detach(), factor, rounded)

    @torch.no_grad()
    def sparse_encode(self, x: Float[Tensor, "row d_in"]) -> SparseFeatures:
        """The same features as lists of the active ones, without gradients. All features are
        written out for so many rows at a time only."""
        assert self.cfg.k is not None
        value, index = top_k_of_rows(self.scoring(), self.encoder_input(x), self.cfg.k)
        return SparseFeatures(index, value.relu())

    def fold_decoder_norms(self) -> Self:
        """A new dictionary with the same outputs whose decoder rows are unit vectors.

        Raises:
            DictionaryError: the rows differ in length and `cfg.rescale_by_decoder_norm` is not set:
                other features would be the k largest.
        """
        norms = self.decoder_norms()
        if not self.cfg.rescale_by_decoder_norm and (norms - 1).abs().max() > 1e-4:
            raise DictionaryError(
                f"the decoder rows of this {self.cfg.kind} dictionary differ in length; folding "
                "that into the encoder would change which features are the largest; only one with "
                "rescale_by_decoder_norm=True can be folded."
            )
        return super().fold_decoder_norms()

    def decode(
        self,
        features: Float[Tensor, "*batch d_features"],
        x: Float[Tensor, "*batch d_in"] | None = None,
    ) -> Float[Tensor, "*batch d_out"]:
        """The output that features stand for, in units of the model; see `Dictionary.decode`."""
        return super().decode(self._per_row_unit(features), x)

    def _per_row_unit(
        self, features: Float[Tensor, "*batch d_features"]
    ) -> Float[Tensor, "*batch d_features"]:
        """Features as coefficients of W_dec's rows, whatever their lengths."""
        return features / self.decoder_norms() if self.cfg.rescale_by_decoder_norm else features

    def losses_and_features(
        self,
        x: Float[Tensor, "row d_in"],
        target: Float[Tensor, "row d_out"] | None = None,
        dead: Bool[Tensor, "d_features"] | None = None,
    ) -> tuple[dict[str, Tensor], Float[Tensor, "row d_features"]]:
        """Reconstruction, and the auxiliary loss where `dead` is given."""
        pre = self.pre_activations(x)
        features = self.activate_in_training(pre)
        written = self._per_row_unit(features) @ self.W_dec
        error = self._scaled_output(written, x) - self.scaled_target(x, target)
        terms = {"reconstruction": error.square().sum(-1).mean()}
        if dead is not None:
            terms["auxiliary"] = self.auxiliary_loss(x, -error.detach(), dead)
        return terms, features

    def auxiliary_loss(
        self,
        x: Float[Tensor, "row d_in"],
        missing: Float[Tensor, "row d_out"],
        dead: Bool[Tensor, "d_features"],
    ) -> Float[Tensor, ""]:
        """How badly the d_in / 2 largest dead features of each row reconstruct what is missing.

        Only the dead features are computed, as a dictionary of their own.

        Args:
            x: what is read.
            missing: target less reconstruction, in scaled units.
            dead: features that have not fired for long.
        """
        which = dead.nonzero().squeeze(1)
        if not len(which):
            return missing.new_zeros(())
        rows = self.W_dec.index_select(0, which)
        pre = nn.functional.linear(
            self.encoder_input(x), self.W_enc.t().index_select(0, which), self.b_enc[which]
        )
        features = pre.relu()
        n_kept = max(self.cfg.d_in // 2, 1)
        if n_kept < len(which):
            norms = rows.norm(dim=-1) if self.cfg.rescale_by_decoder_norm else 1
            _, kept = largest((features * norms).detach(), n_kept)
            features = torch.zeros_like(features).scatter(1, kept, features.gather(1, kept))
        return (features @ rows - missing).square().sum(-1).mean()


class BatchTopK(TopK):
    """While training, the k x rows largest features of a batch (Bussmann et al. 2024).

    Rows that need more features take them from rows that need fewer. Afterwards, so that no row
    depends on its neighbours, a feature is active above one threshold: the running mean of the
    smallest that was kept in training. It is 0 until the first batch: all positive ones are kept.
    """

    momentum = 0.01
    threshold: Tensor

    def __init__(self, cfg: DictionaryConfig) -> None:
        super().__init__(cfg)
        self.register_buffer("threshold", torch.zeros((), dtype=torch.float32))

    def activate(
        self, pre: Float[Tensor, "*batch d_features"]
    ) -> Float[Tensor, "*batch d_features"]:
        """Zero up to the threshold, unchanged above it."""
        scores = self.scores(pre).relu()
        return torch.where(scores > self.threshold, scores, 0)

    @torch.no_grad()
    def sparse_encode(self, x: Float[Tensor, "row d_in"]) -> SparseFeatures:
        """The same features as lists of the active ones; see `TopK.sparse_encode`."""
        found = []
        for rows, scores in self.scoring().chunks(self.encoder_input(x)):
            row, feature = (scores > self.threshold).nonzero(as_tuple=True)
            found.append((row + rows.start, feature, scores[row, feature]))
        row, feature, value = (torch.cat(parts) for parts in zip(*found, strict=True))
        return in_places(row, feature, value, len(x))

    def activate_in_training(
        self, pre: Float[Tensor, "row d_features"]
    ) -> Float[Tensor, "row d_features"]:
        """All but the k x rows largest of the batch set to zero. Moves the threshold."""
        assert self.cfg.k is not None
        scores = self.scores(pre).relu()
        value, index = largest_of_all(scores, self.cfg.k * len(scores))
        self.follow(value)
        return torch.zeros_like(scores.flatten()).scatter(0, index, value).view_as(scores)

    @torch.no_grad()
    def follow(self, kept: Float[Tensor, "n"]) -> None:
        """Move the threshold towards the smallest positive feature that a batch kept."""
        positive = torch.where(kept > 0, kept, torch.inf).min().to(self.threshold.dtype)
        moved = torch.where(
            self.threshold > 0, self.threshold.lerp(positive, self.momentum), positive
        )
        self.threshold.copy_(torch.where(positive.isfinite(), moved, self.threshold))


class Matryoshka(BatchTopK):
    """BatchTopK whose nested prefixes reconstruct by themselves as well (Bussmann et al. 2025).

    With sizes m_1 < ... < m_n = d_features and x'_j made of the first m_j features and b_dec:

        loss = sum_j |x - x'_j|^2

    Early features have to be general, since the loss of a small prefix knows no others.
    """

    def losses_and_features(
        self,
        x: Float[Tensor, "row d_in"],
        target: Float[Tensor, "row d_out"] | None = None,
        dead: Bool[Tensor, "d_features"] | None = None,
    ) -> tuple[dict[str, Tensor], Float[Tensor, "row d_features"]]:
        """Reconstruction by all features; "prefixes", the sum of the shorter ones' errors."""
        pre = self.pre_activations(x)
        features = self.activate_in_training(pre)
        used, wanted = self._per_row_unit(features), self.scaled_target(x, target)
        errors = [
            self._scaled_output(used[:, :size] @ self.W_dec[:size], x) - wanted
            for size in self.cfg.sizes
        ]
        squared = [error.square().sum(-1).mean() for error in errors]
        terms = {
            "reconstruction": squared[-1],
            "prefixes": sum(squared[:-1], start=squared[-1].new_zeros(())),
        }
        if dead is not None:
            terms["auxiliary"] = self.auxiliary_loss(x, -errors[-1].detach(), dead)
        return terms, features


class JumpReLU(Dictionary):
    """Features above a threshold of their own, unshrunk (Rajamanoharan et al. 2024b).

        f_i = z_i H(z_i - theta_i),   loss = |x - x'|^2 + lambda sum_i H(z_i - theta_i)

    H is the step function. The thresholds, exp(log_threshold), get their gradients through a window
    of width `cfg.bandwidth` around them (section 3 there).
    """

    first_threshold = 0.01

    def _make_biases(self, d_features: int, form: torch.dtype) -> None:
        super()._make_biases(d_features, form)
        self.log_threshold = nn.Parameter(torch.empty(d_features, dtype=form))

    @property
    def threshold(self) -> Float[Tensor, "d_features"]:
        """Above which a feature is active, in scaled units."""
        return self.log_threshold.exp()

    def activate(
        self, pre: Float[Tensor, "*batch d_features"]
    ) -> Float[Tensor, "*batch d_features"]:
        """Zero up to the threshold, unchanged above it."""
        jumped: Tensor = _Jump.apply(pre, self.threshold, self.cfg.bandwidth)  # type: ignore[no-untyped-call]
        return jumped

    def losses_and_features(
        self,
        x: Float[Tensor, "row d_in"],
        target: Float[Tensor, "row d_out"] | None = None,
        dead: Bool[Tensor, "d_features"] | None = None,
    ) -> tuple[dict[str, Tensor], Float[Tensor, "row d_features"]]:
        """Reconstruction, and sparsity: the mean number of active features of a row."""
        pre = self.pre_activations(x)
        active: Tensor = _Step.apply(pre, self.threshold, self.cfg.bandwidth)  # type: ignore[no-untyped-call]
        features = self.activate(pre)
        terms = {
            "reconstruction": self.reconstruction_loss(features, x, target),
            "sparsity": active.sum(-1).mean(),
        }
        return terms, features

    def _scale_features(self, factor: Float[Tensor, "d_features"]) -> None:
        super()._scale_features(factor)
        self.log_threshold.add_(factor.log())


class Gated(Dictionary):
    """One decision whether a feature is active, another how strong it is (Rajamanoharan 2024a).

        gate = (x - b_dec) W_enc + b_gate,   size = exp(r_mag) (x - b_dec) W_enc + b_mag
        f    = H(gate) max(size, 0)

    The L1 penalty is on the gate alone, so strengths are not shrunk. The gate learns by
    reconstructing by itself, with a decoder that this term does not move (section 3.2.2 there):

        loss = |x - x'|^2 + lambda sum_i max(gate_i, 0) |W_dec_i| + |x - x'(max(gate, 0))|^2

    """

    def _make_biases(self, d_features: int, form: torch.dtype) -> None:
        self.r_mag = nn.Parameter(torch.empty(d_features, dtype=form))
        self.b_gate = nn.Parameter(torch.empty(d_features, dtype=form))
        self.b_mag = nn.Parameter(torch.empty(d_features, dtype=form))

    def pre_activations(
        self, x: Float[Tensor, "*batch d_in"]
    ) -> Float[Tensor, "*batch d_features"]:
        """What gate and size share: no bias yet."""
        return nn.functional.linear(self.encoder_input(x), self.W_enc.t())

    def activate(
        self, pre: Float[Tensor, "*batch d_features"]
    ) -> Float[Tensor, "*batch d_features"]:
        """max(size, 0) where the gate is open."""
        size = pre * self.r_mag.exp() + self.b_mag
        return torch.where(pre + self.b_gate > 0, size.relu(), 0)

    def losses_and_features(
        self,
        x: Float[Tensor, "row d_in"],
        target: Float[Tensor, "row d_out"] | None = None,
        dead: Bool[Tensor, "d_features"] | None = None,
    ) -> tuple[dict[str, Tensor], Float[Tensor, "row d_features"]]:
        """Reconstruction; sparsity: L1 of open gates times decoder norms; auxiliary: by gates."""
        pre = self.pre_activations(x)
        gate = (pre + self.b_gate).relu()
        alone = gate @ self.W_dec.detach() + self.b_dec.detach()
        if self.W_skip is not None:
            alone = alone + (x * self.cfg.scale) @ self.W_skip.detach()
        features = self.activate(pre)
        terms = {
            "reconstruction": self.reconstruction_loss(features, x, target),
            "sparsity": (gate @ self.W_dec.norm(dim=-1)).mean(),
            "auxiliary": (alone - self.scaled_target(x, target)).square().sum(-1).mean(),
        }
        return terms, features

    def _scale_features(self, factor: Float[Tensor, "d_features"]) -> None:
        self.W_enc.mul_(factor)
        self.b_gate.mul_(factor)
        self.b_mag.mul_(factor)


CLASSES: dict[str, type[Dictionary]] = {
    "standard": Standard,
    "top-k": TopK,
    "batch-top-k": BatchTopK,
    "jump-relu": JumpReLU,
    "gated": Gated,
    "matryoshka": Matryoshka,
}


def empty_dictionary(cfg: DictionaryConfig) -> Dictionary:
    """A dictionary of the configured kind whose weights are not set; for loaders."""
    return CLASSES[cfg.kind](cfg)


def new_dictionary(
    cfg: DictionaryConfig, seed: int = 0, device: torch.device | str = "cpu"
) -> Dictionary:
    """A dictionary to be trained: random unit decoder rows, W_enc their transpose, biases 0.

    A transcoder whose widths differ reads along directions of their own. Thresholds of jump-relu
    start at 0.01; a skip map starts at 0.

    Args:
        cfg: kind, shape and options.
        seed: of the directions; the same on every device.
        device: where the weights are to be.

    Example:
        >>> new_dictionary(DictionaryConfig("top-k", d_in=64, d_features=512, k=8), seed=0)
    """
    dictionary = empty_dictionary(cfg)
    generator = torch.Generator().manual_seed(seed)

    def directions(width: int) -> Tensor:
        drawn = torch.randn(cfg.d_features, width, generator=generator)
        return nn.functional.normalize(drawn, dim=-1)

    with torch.no_grad():
        for parameter in dictionary.parameters():
            parameter.zero_()
        rows = directions(cfg.output_width)
        dictionary.W_dec.copy_(rows)
        reads = rows if cfg.output_width == cfg.d_in else directions(cfg.d_in)
        dictionary.W_enc.copy_(reads.t())
        if isinstance(dictionary, JumpReLU):
            dictionary.log_threshold.fill_(math.log(JumpReLU.first_threshold))
    return dictionary.to(device)


def _near(pre: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
    """The rectangle K((z - theta) / bandwidth): 1 within half a bandwidth, else 0."""
    return ((pre - threshold).abs() < bandwidth / 2).to(pre.dtype)


class _Jump(torch.autograd.Function):
    """z H(z - theta), with the window's gradient for theta: -(theta / bandwidth) K."""

    @staticmethod
    def forward(ctx: Any, pre: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
        ctx.save_for_backward(pre, threshold)
        ctx.bandwidth = bandwidth
        return torch.where(pre > threshold, pre, 0)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        pre, threshold = ctx.saved_tensors
        to_pre = torch.where(pre > threshold, grad, 0)
        near = _near(pre, threshold, ctx.bandwidth)
        to_threshold = -(threshold / ctx.bandwidth) * (near * grad).flatten(0, -2).sum(0)
        return to_pre, to_threshold, None


class _Step(torch.autograd.Function):
    """H(z - theta), with the window's gradient for theta: -(1 / bandwidth) K."""

    @staticmethod
    def forward(ctx: Any, pre: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
        ctx.save_for_backward(pre, threshold)
        ctx.bandwidth = bandwidth
        return (pre > threshold).to(pre.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor, None]:
        pre, threshold = ctx.saved_tensors
        near = _near(pre, threshold, ctx.bandwidth)
        return None, -(near * grad).flatten(0, -2).sum(0) / ctx.bandwidth, None
