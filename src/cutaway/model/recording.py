"""Recording: copies of values as they pass hook points, each distinct value once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .slices import Slice

if TYPE_CHECKING:
    from .hooks import HookPoint

# Hook points whose values have one more axis behind the position than the usual one.
_PER_HEAD = ("q", "k", "v", "rot_q", "rot_k", "z", "result")
_INPUTS = ("attn_in", "q_input", "k_input", "v_input")
POSITION_FROM_END = {f"hook_{name}": 3 for name in (*_PER_HEAD, *_INPUTS)}
"""Hook point's last name -> where its position axis is, counted from the end; 2 if not here."""


class Recorder:
    """Copies values as they pass, each distinct value once.

    Args:
        device: where the copies lie; None leaves them where they are.
        positions: which positions are kept.
    """

    def __init__(self, device: torch.device | str | None, positions: Slice) -> None:
        self.device, self.positions = device, positions
        self.values: dict[str, Tensor] = {}
        # The last value seen and its copy. Holding it keeps its identity from being reused;
        # its version tells whether it was written to in place since.
        self._last: tuple[Tensor, int, Tensor] | None = None

    def save(self, value: Tensor, /, *, hook: HookPoint) -> None:
        """A forward hook: keep a copy under the hook point's name."""
        version = -1 if value.is_inference() else value._version  # -1: cannot be known
        if self._last is not None and self._last[0] is value and self._last[1] == version >= 0:
            self.values[hook.name] = self._last[2]
            return
        copy = self._copy(value, hook)
        self.values[hook.name] = copy
        self._last = (value, version, copy)

    def save_gradient(self, grad: Tensor, /, *, hook: HookPoint) -> None:
        """A backward hook: keep a copy under the hook point's name and "_grad"."""
        self.values[hook.name + "_grad"] = self._copy(grad, hook)

    def _copy(self, value: Tensor, hook: HookPoint) -> Tensor:
        # Where heads are split, ln1 sees one more axis than usual.
        split = "ln1" in hook.name and value.ndim == 4
        tail = hook.name.rsplit(".", 1)[-1]
        from_end = 3 if split else POSITION_FROM_END.get(tail, 2)
        part = self.positions.apply(value.detach(), -from_end)
        return part.to(self.device, copy=True)
