"""Activations of any hooks of a model, streamed: run on a block of sequences at a time, shuffled.

The sequences of a text are first put in a random order, so that a block is a sample of all of it,
and the rows of each block in another: neighbours in a batch come from all over the block. Both
orders are functions of the seed and of a number, and nothing else has to be remembered.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..model.hooks import UnknownHook, near_matches
from ..model.transformer import HookedTransformer
from .rows import ROWS, Rows, RowSource, digest_of, permuted
from .token_rows import FixedTokens, TokenSource

_AT_ONCE = 4096  # tokens that the model is run on at a time
_NO_ROWS = ("hook_pattern", "hook_attn_scores")  # [batch, head, query, key]


class Activations(RowSource):
    """Rows of any hooks of a model, one for each token of a text.

    Several hooks are read in the same runs; a row is the same token at each, so that a transcoder
    finds its input at one and its target at another. Heads lie side by side in a row: hook_z gives
    n_heads d_head values.

    Args:
        model: run on the text, up to the last layer that a hook needs.
        tokens: [sequence, pos], or a `TokenSource`.
        hooks: names, as blocks.2.hook_resid_post.
        seed: of the order of rows (and of the sequences, where `tokens` is a tensor).
        buffer_rows: about how many rows are mixed at a time; they lie in memory.
        skip_bos: leave out the rows of BOS, whose activations are unlike all others, and in many
            models far longer (Sun et al. 2024). Rows of padding are always left out.
        dtype: of the rows.
        text: what the tokens are, in words; dictionaries note it.

    Raises:
        ValueError: an empty text, a hook that the model does not have or that has no row for each
            token, and, when rows are asked for, values that are not finite.

    Example:
        >>> source = Activations(model, tokens, ["blocks.2.hook_resid_post"], seed=0)
        >>> batch = next(source.batches(4096))
        >>> batch.rows["blocks.2.hook_resid_post"].shape
        torch.Size([4096, 128])
    """

    def __init__(
        self,
        model: HookedTransformer,
        tokens: Int[Tensor, "n pos"] | TokenSource,
        hooks: str | Sequence[str],
        *,
        seed: int = 0,
        buffer_rows: int = 65_536,
        skip_bos: bool = True,
        dtype: torch.dtype = torch.float32,
        text: str = "",
    ) -> None:
        self.model, self.seed = model, seed
        self.tokens = FixedTokens(tokens, seed) if isinstance(tokens, Tensor) else tokens
        self.hooks = (hooks,) if isinstance(hooks, str) else tuple(dict.fromkeys(hooks))
        self.skip_bos, self.dtype, self.buffer_rows = skip_bos, dtype, buffer_rows
        if buffer_rows < 1:
            raise ValueError(f"buffer_rows={buffer_rows} is too few: at least 1.")
        _check_hooks(model, self.hooks)
        self._stop = _last_layer(self.hooks)
        first = self.tokens.block(0, 1)[0]
        self.n_ctx = first.shape[1]
        self.n_sequences = max(1, buffer_rows // self.n_ctx)  # of a block
        whole = self.tokens.n_sequences
        self.n_blocks = None if whole is None else -(-whole // self.n_sequences)
        self.widths = {hook: rows.shape[-1] for hook, rows in self._run(first).items()}
        self.facts = {
            "model_name": model.cfg.model_name,
            "prepend_bos": bool(model.cfg.default_prepend_bos),
            "n_ctx": self.n_ctx,
            "text": text,
        }
        if whole is not None:
            self._check_rows(whole)

    @property
    def digest(self) -> str:
        """Of model, text, hooks, seed and options."""
        return digest_of(
            "activations",
            self.model.digest,
            self.tokens.digest,
            self.hooks,
            (self.seed, self.n_sequences, self.skip_bos, str(self.dtype)),
        )

    @property
    def device(self) -> torch.device:
        """Where the rows are: the model's device."""
        return self.model.device

    def block(self, number: int) -> Rows:
        """The rows of some sequences, shuffled.

        Raises:
            ValueError: values that are not finite; it names hook, sequence and position.
        """
        tokens, numbers = self.tokens.block(number, self.n_sequences)
        per_run = max(1, _AT_ONCE // self.n_ctx)
        parts = []
        for some, ids in zip(tokens.split(per_run), numbers.split(per_run), strict=True):
            kept = self._kept(some)
            values = self._run(some)
            for hook, rows in values.items():
                _check_finite(hook, rows, kept, ids)
            parts.append({hook: rows[kept] for hook, rows in values.items()})
        n = sum(len(part[self.hooks[0]]) for part in parts)
        order = permuted(n, self.seed, ROWS, number, self.device)
        return {hook: torch.cat([part[hook] for part in parts])[order] for hook in self.hooks}

    @torch.no_grad()
    def _run(self, tokens: Int[Tensor, "n pos"]) -> dict[str, Float[Tensor, "n pos width"]]:
        """Every hook's values, heads side by side."""
        behind = any(hook.startswith("unembed.") for hook in self.hooks)
        _, values = self.model.record(
            tokens,
            names_filter=list(self.hooks),
            stop_at_layer=self._stop,
            return_type="logits" if behind else None,
        )
        n, pos = tokens.shape
        for hook, value in values.items():
            if value.ndim < 3 or value.shape[:2] != (n, pos):
                raise ValueError(
                    f"{hook} has no row for each token: its values have the shape "
                    f"{tuple(value.shape)}, not [batch, pos, width]."
                )
        return {hook: values[hook].flatten(2).to(self.dtype) for hook in self.hooks}

    def _kept(self, tokens: Int[Tensor, "n pos"]) -> Bool[Tensor, "n pos"]:
        """False at padding, and at BOS if it is to be left out."""
        tokens = tokens.to(self.device)
        real = self.model.real_tokens(tokens, self.model.padding_mask(tokens))
        kept = torch.ones_like(tokens, dtype=torch.bool) if real is None else real
        tokenizer = self.model.tokenizer
        bos = None if tokenizer is None else tokenizer.bos_token_id
        return kept & (tokens != bos) if self.skip_bos and bos is not None else kept

    def _check_rows(self, n_sequences: int) -> None:
        """Refuse a text of which nothing is left."""
        assert self.n_blocks is not None
        for number in range(self.n_blocks):
            if bool(self._kept(self.tokens.block(number, self.n_sequences)[0]).any()):
                return
        raise ValueError(
            f"there are no rows: all tokens of the {n_sequences} sequences are BOS or padding."
        )


def _check_hooks(model: HookedTransformer, hooks: tuple[str, ...]) -> None:
    if not hooks or not all(hooks):
        raise ValueError("no hook is named: give one, as blocks.0.hook_resid_post.")
    try:
        model.match_hook_names(hooks)
    except UnknownHook:
        name = next(hook for hook in hooks if hook not in model.hook_dict)
        raise ValueError(
            f"{model.cfg.model_name} has no hook {name!r}; near matches: "
            f"{', '.join(near_matches(name, model.hook_dict))}."
        ) from None
    for hook in hooks:
        if hook.rsplit(".", 1)[-1] in _NO_ROWS:
            raise ValueError(
                f"{hook} has no row for each token but one for each pair of positions: choose "
                "another hook."
            )


def _last_layer(hooks: tuple[str, ...]) -> int | None:
    """The layers that have to be run, counted; None for all and what comes behind them."""
    layers = [re.match(r"blocks\.(\d+)\.", hook) for hook in hooks]
    embedded = ("hook_embed", "hook_pos_embed")
    if any(m is None and h not in embedded for m, h in zip(layers, hooks, strict=True)):
        return None
    return max((int(match[1]) + 1 for match in layers if match), default=0)


def _check_finite(
    hook: str,
    rows: Float[Tensor, "n pos width"],
    kept: Bool[Tensor, "n pos"],
    numbers: Int[Tensor, "n"],
) -> None:
    bad = ~torch.isfinite(rows).all(dim=-1) & kept
    if not bool(bad.any()):
        return
    sequence, position = (int(i) for i in bad.nonzero()[0])
    kind = "NaN" if bool(rows[sequence, position].isnan().any()) else "infinite values"
    raise ValueError(
        f"{hook} holds {kind}, first in sequence {int(numbers[sequence])} of the text at position "
        f"{position} ({int(bad.sum()):,} of the {int(kept.sum()):,} rows of this run of the "
        "model): a dictionary cannot be trained on them. A model in float16 may overflow; load it "
        "in float32."
    )
