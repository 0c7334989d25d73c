"""Steering any run: as an `Intervention` of the exact engine, or with hooks, also while text is
generated."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from ..model.cache import get_act_name
from ..model.transformer import HookedTransformer
from ..patching.edits import Intervention
from ..patching.targets import Positions
from .norms import check_stream_site
from .values import Operation, Steer, at_positions, check_operation, restricted, steered
from .vectors import SteeringVector

Where = str | int | Sequence[int] | Tensor
"""See `applied`."""
_Where = str | tuple[int, ...] | Tensor


def scaled(
    vector: SteeringVector, coefficient: float, norm: float | None
) -> tuple[SteeringVector, float]:
    """The vector and its factor: the coefficient counts lengths of the vector itself, or `norm`s.

    Raises:
        ValueError: numbers that are not finite, or a norm that is not positive.
    """
    if not torch.isfinite(torch.tensor([coefficient, 1.0 if norm is None else norm])).all():
        raise ValueError(f"coefficient={coefficient} and norm={norm} must be finite.")
    if norm is None:
        return vector, float(coefficient)
    if not norm > 0:
        raise ValueError(f"norm={norm} is not positive: it is the length of the residual stream.")
    return vector.unit(), float(coefficient * norm)


def intervention(
    vector: SteeringVector,
    layer: int,
    coefficient: float = 1.0,
    *,
    positions: Positions = None,
    site: str = "resid_pre",
    operation: Operation = "add",
    norm: float | None = None,
) -> Intervention:
    """Steering as an `Intervention`, for `ca.intervene` and whatever else takes one.

    Args:
        vector: one for all prompts of the task, or one for each.
        layer: where it is put.
        coefficient: times the vector as it is, or, with `norm`, times norm * v / |v|.
        positions: names of the task or indices, all together; None means all.
        site: "resid_pre", "resid_mid" or "resid_post".
        operation: "add" adds it; "set" gives the component along it that size, and with the
            coefficient 0 removes it.
        norm: the length that the coefficient 1 has, such as `residual_norms(...)[layer]`; None
            takes the vector's own.

    Raises:
        ValueError: an unknown operation, a norm that is not positive. What the model or the task
            does not have is refused when it is run.

    Example:
        >>> towards = embedding_difference(model, " Paul", task.correct)  # doctest: +SKIP
        >>> ca.intervene(model, task, intervention(towards, 0, positions="IO"), mode="noising")
    """
    unit, factor = scaled(vector, coefficient, norm)
    return Intervention(site, layer, Steer(unit.vector, factor, operation), positions=positions)


@contextmanager
def applied(
    model: HookedTransformer,
    vector: SteeringVector,
    *,
    layer: int | Sequence[int],
    coefficient: float = 1.0,
    positions: Where = "all",
    site: str = "resid_pre",
    operation: Operation = "add",
    norm: float | None = None,
) -> Iterator[HookedTransformer]:
    """Steer every run inside the `with` block, also while text is generated.

    What is steered is a matter of tokens and not of passes, so generation with a key-value cache
    (one pass over the prompt, then one token at a time) gives what it gives without one. The
    prompt is what the first pass sees; a pass over the tokens of the pass before it with more
    behind them continues it.

    Args:
        model: other hooks may be attached; they act in the order in which they were attached.
        vector: one for all, or one for each row of the batch.
        layer: where it is put; several layers get the same vector, each at full size.
        coefficient: times the vector as it is, or, with `norm`, times norm * v / |v|.
        positions: "all", every token; "prompt", those of the prompt; "last", the prompt's last
            token and every one that follows it; whole numbers, counted in the tokens of each
            prompt without padding (0 is BOS where there is one; -1 the prompt's last); or, for
            each row, a column of the prompt (as `task.positions["IO"]`), or True where to steer.
        site: "resid_pre", "resid_mid" or "resid_post".
        operation: "add" or "set", see `intervention`.
        norm: the length that the coefficient 1 has; None takes the vector's own.

    Raises:
        ValueError: no such layer, site, operation or position; a vector that does not fit the
            model, or, inside the block, the batch.

    Example:
        >>> with applied(model, vector, layer=2, coefficient=4.0, positions="last"):
        ...     model.generate("Paul and Mary went to the", 10, temperature=0)
    """
    layers = check_stream_site(model.cfg, site, layer)
    vector.check_fits(model.cfg.d_model)
    check_operation(operation)
    unit, factor = scaled(vector, coefficient, norm)
    runs = _Passes(model, vector, _checked_positions(positions))
    direction = unit.vector.to(model.device, model.dtype)

    def steer(old: Tensor, hook: Any) -> Tensor:
        laid = at_positions(direction, runs.index)
        return restricted(old, steered(old, laid, factor, operation), runs.where)

    handle = model.register_forward_pre_hook(runs.begin, with_kwargs=True)
    try:
        with model.hooks([(get_act_name(site, at), steer) for at in layers]):
            yield model
    finally:
        handle.remove()


@dataclass
class _Prompt:
    """The pass that began a text."""

    n_columns: int
    last: Int[Tensor, " batch"]
    """Column of each row's last token."""
    length: Int[Tensor, " batch"]
    """Tokens of each row without padding."""


class _Passes:
    """Which tokens of the pass that is under way are steered."""

    def __init__(self, model: HookedTransformer, vector: SteeringVector, positions: _Where) -> None:
        self.signature = inspect.signature(model.forward)
        self.vector, self.positions = vector, positions
        self.prompt: _Prompt | None = None
        self.before: Tensor | None = None  # tokens of the pass before, if it had no cache
        self.index = torch.zeros(0, 0, dtype=torch.long)
        self.where = torch.zeros(0, 0, dtype=torch.bool)

    def begin(self, model: HookedTransformer, args: Any, kwargs: Any) -> None:
        """Called before each pass: lays out its tokens."""
        given = self.signature.bind(*args, **kwargs)
        given.apply_defaults()
        asked = given.arguments
        past = asked["past_kv_cache"]
        held = 0 if past is None else past.length
        tokens, real = _tokens_of_pass(model, asked)
        batch, n_new = real.shape
        self.vector.check_fits(model.cfg.d_model, batch)
        before = None if held == 0 or past.mask is None else past.mask.sum(1, keepdim=True)
        index = real.long().cumsum(1) - 1
        self.index = index + (held if before is None else before)
        self.index = torch.where(real, self.index, -1)
        if self.prompt is None or not (held or self._continues(tokens, past)):
            self.prompt = _prompt_of(real, self.index, held)
            self.check_inside(batch)
        self.before = tokens if past is None else None
        column = torch.arange(held, held + n_new, device=real.device)[None]
        self.where = self._chosen(self.prompt, column, real)

    def _continues(self, tokens: Tensor | None, past: Any) -> bool:
        """Whether this pass is the one before it with more tokens behind."""
        before = self.before
        if before is None or tokens is None or past is not None:
            return False
        n = before.shape[1]
        longer = len(tokens) == len(before) and tokens.shape[1] > n
        return longer and torch.equal(tokens[:, :n], before)

    def _chosen(
        self, prompt: _Prompt, column: Int[Tensor, "1 new"], real: Bool[Tensor, "batch new"]
    ) -> Bool[Tensor, "batch new"]:
        positions, behind = self.positions, column >= prompt.n_columns
        if isinstance(positions, Tensor):
            at = positions.to(real.device)
            if at.dtype != torch.bool:
                return real & (column == at[:, None])
            inside = column.clamp(max=at.shape[1] - 1).expand(len(at), -1)
            return real & ~behind & at.gather(1, inside) & (column < at.shape[1])
        if positions == "all":
            return real
        if positions == "prompt":
            return real & ~behind
        if positions == "last":
            return real & (behind | (column == prompt.last[:, None]))
        assert not isinstance(positions, str)
        found = torch.zeros_like(real)
        for number in positions:
            found |= self.index == (number if number >= 0 else prompt.length[:, None] + number)
        return real & ~behind & found

    def check_inside(self, batch: int) -> None:
        """Raise if the positions asked for are not in the prompt that has begun."""
        prompt, positions = self.prompt, self.positions
        assert prompt is not None
        if isinstance(positions, str):
            return
        if isinstance(positions, Tensor):
            n = positions.shape[1] if positions.ndim == 2 else int(positions.max()) + 1
            if len(positions) != batch or n > prompt.n_columns:
                raise ValueError(
                    f"positions= is for {len(positions)} prompts and needs {n} tokens; the batch "
                    f"has {batch} prompts of {prompt.n_columns}."
                )
            return
        shortest = int(prompt.length.min())
        for at in positions:
            if not -shortest <= at < shortest:
                raise ValueError(
                    f"position {at} is outside a prompt of the batch, which has {shortest} tokens."
                )


def _prompt_of(
    real: Bool[Tensor, "batch new"], index: Int[Tensor, "batch new"], held: int
) -> _Prompt:
    """The prompt that a pass begins; one that begins with a filled cache has been in it before."""
    column = torch.arange(held, held + real.shape[1], device=real.device)
    last = torch.where(real, column, -1).amax(1)
    return _Prompt(held + real.shape[1], last, index.amax(1) + 1)


def _tokens_of_pass(
    model: HookedTransformer, asked: dict[str, Any]
) -> tuple[Tensor | None, Bool[Tensor, "batch new"]]:
    """The new tokens of a pass (None where it begins with vectors), and which are not padding."""
    mask, past = asked["attention_mask"], asked["past_kv_cache"]
    if asked["start_at_layer"] is not None:
        tokens = asked["tokens"]
        shape = asked["input"].shape[:2]
        if tokens is None and mask is None:
            return None, torch.ones(shape, dtype=torch.bool, device=model.device)
        if tokens is None:
            return None, mask.to(model.device).bool()
        given, text = tokens, False
    else:
        given, text = asked["input"], isinstance(asked["input"], str | list)
    tokens, real = model.to_input(given, asked["prepend_bos"], asked["padding_side"], mask, past)
    if mask is None and not text and (past is None or past.length == 0):
        real = model.real_tokens(tokens, real)  # padding behind, which attention never sees
    ones = torch.ones_like(tokens, dtype=torch.bool)
    return tokens, ones if real is None else real


def _checked_positions(positions: Where) -> _Where:
    """Raise ValueError for what names no positions."""
    if isinstance(positions, Tensor):
        whole = not positions.is_floating_point() and positions.ndim == 1
        if positions.numel() and (whole or (positions.dtype == torch.bool and positions.ndim == 2)):
            return positions
        raise ValueError(
            "positions= as a tensor is one column for each row [batch], or True and False "
            f"[batch, pos]; this has the shape {tuple(positions.shape)} of {positions.dtype}."
        )
    if isinstance(positions, str):
        if positions in ("all", "prompt", "last"):
            return positions
        raise ValueError(
            f"positions={positions!r} is none of 'all', 'prompt' and 'last'; named positions are "
            "a task's: give task.positions[name]."
        )
    listed: tuple[Any, ...] = tuple(positions) if isinstance(positions, Sequence) else (positions,)
    if not listed or any(isinstance(at, bool) or not isinstance(at, int) for at in listed):
        raise ValueError(f"positions={positions!r} holds no whole numbers.")
    return listed
