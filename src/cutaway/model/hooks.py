"""Hook points: named places in a model where values can be read or replaced.

A `HookPoint` is the identity. Where nothing is attached it costs one Python call and changes
nothing; where a function is attached, the function sees the value and may return another one.
`HookedModule` finds all hook points below it by name and runs a model with functions attached.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from .recording import Recorder
from .slices import Slice, SliceInput

Direction = Literal["fwd", "bwd"]
NamesFilter = str | Sequence[str] | Callable[[str], bool] | None


class UnknownHook(KeyError):
    """A hook name or filter that matches nothing; the message lists near matches."""

    def __str__(self) -> str:
        return str(self.args[0])


class _Attached:
    """One attached function and how long it stays."""

    def __init__(
        self, function: Callable[..., Any], permanent: bool, level: int | None = None
    ) -> None:
        self.function = function
        self.permanent = permanent
        self.level = level


class HookPoint(nn.Module):
    """The identity, with a name, to which functions can be attached.

    `on_demand` points are computed only where something is attached to them, because their
    values are large; `run_with_cache` without a filter leaves them out.
    """

    def __init__(self, on_demand: bool = False) -> None:
        super().__init__()
        self.name = ""
        self.on_demand = on_demand
        self.ctx: dict[str, Any] = {}
        self.fwd_hooks: list[_Attached] = []
        self.bwd_hooks: list[_Attached] = []

    @property
    def active(self) -> bool:
        """Whether anything is attached."""
        return bool(self.fwd_hooks or self.bwd_hooks)

    def __call__(self, value: Tensor) -> Tensor:  # not nn.Module's: no cost where nothing hooks
        if not (self.fwd_hooks or self.bwd_hooks):
            return value
        for attached in tuple(self.fwd_hooks):
            replacement = attached.function(value, hook=self)
            if replacement is not None:
                value = replacement
        if value.requires_grad:
            for attached in tuple(self.bwd_hooks):
                value.register_hook(lambda grad, f=attached.function: f(grad, hook=self))
        return value

    def add_hook(
        self,
        hook: Callable[..., Any],
        dir: Direction = "fwd",
        is_permanent: bool = False,
        level: int | None = None,
        prepend: bool = False,
    ) -> None:
        """Attach `hook(value, hook=self)`; it stays until `remove_hooks`.

        A `level` is a mark by which `remove_hooks` can detach some functions and leave others.
        """
        hooks = {"fwd": self.fwd_hooks, "bwd": self.bwd_hooks}[dir]
        hooks.insert(0 if prepend else len(hooks), _Attached(hook, is_permanent, level))

    def add_perma_hook(self, hook: Callable[..., Any], dir: Direction = "fwd") -> None:
        """Attach a function that `remove_hooks` leaves in place."""
        self.add_hook(hook, dir, is_permanent=True)

    def has_hooks(self) -> bool:
        """Whether anything is attached: `active`, as course code calls it."""
        return self.active

    def remove_hooks(
        self,
        dir: Literal["fwd", "bwd", "both"] = "fwd",
        including_permanent: bool = False,
        level: int | None = None,
    ) -> None:
        """Detach every function of that direction (and level, if one is given), the permanent ones
        only if asked."""
        for name, hooks in (("fwd", self.fwd_hooks), ("bwd", self.bwd_hooks)):
            if dir in (name, "both"):
                hooks[:] = [
                    h
                    for h in hooks
                    if (h.permanent and not including_permanent)
                    or (level is not None and h.level != level)
                ]

    def clear_context(self) -> None:
        """Empty `ctx`."""
        self.ctx.clear()

    def layer(self) -> int:
        """The layer in the name, as in `blocks.3.attn.hook_z`."""
        match = re.match(r"blocks\.(\d+)\.", self.name)
        if match is None:
            raise ValueError(f"the hook point {self.name!r} belongs to no layer.")
        return int(match.group(1))


def near_matches(name: str, known: Iterable[str], n: int = 4) -> list[str]:
    """Known names that look like `name`, the nearest first."""
    known = list(known)
    tail = name.rsplit(".", 1)[-1]
    short = [k for k in known if k.rsplit(".", 1)[-1] == f"hook_{name}"]  # "z" for "...hook_z"
    same_tail = [k for k in known if k.rsplit(".", 1)[-1] == tail]
    close = difflib.get_close_matches(name, known, n=n, cutoff=0.5)
    return list(dict.fromkeys([*short, *close, *same_tail]))[:n] or known[:n]


class HookedModule(nn.Module):
    """A module whose hook points can be reached by name."""

    def name_hook_points(self) -> None:
        """Give every hook point its dotted name; call once at the end of `__init__`."""
        self.hook_dict: dict[str, HookPoint] = {}
        for name, module in self.named_modules():
            if isinstance(module, HookPoint):
                module.name = name
                self.hook_dict[name] = module

    @property
    def mod_dict(self) -> dict[str, nn.Module]:
        """Every module by its dotted name, hook points among them."""
        return {name: module for name, module in self.named_modules() if name}

    def hook_points(self) -> list[HookPoint]:
        """Every hook point, in the order of their names in the model."""
        return list(self.hook_dict.values())

    def match_hook_names(self, names_filter: NamesFilter) -> list[str]:
        """The names that a filter selects: a name, a list of names, a predicate, or None for all
        that are always computed.

        Raises:
            UnknownHook: a name that does not exist, or a predicate that matches none.
        """
        if names_filter is None:
            return [name for name, point in self.hook_dict.items() if not point.on_demand]
        if callable(names_filter):
            matched = [name for name in self.hook_dict if names_filter(name)]
            if not matched:
                raise UnknownHook(
                    "the filter matches no hook point; names look like "
                    f"{', '.join(list(self.hook_dict)[:4])}."
                )
            return matched
        wanted = [names_filter] if isinstance(names_filter, str) else list(names_filter)
        if not wanted:
            raise UnknownHook("the list of hook names is empty.")
        for name in wanted:
            if name not in self.hook_dict:
                raise UnknownHook(
                    f"no hook point is called {name!r} here; near matches: "
                    f"{', '.join(near_matches(name, self.hook_dict))}."
                )
        return wanted

    def add_hook(
        self,
        name: NamesFilter,
        hook: Callable[..., Any],
        dir: Direction = "fwd",
        is_permanent: bool = False,
        level: int | None = None,
        prepend: bool = False,
    ) -> None:
        """Attach a function to every hook point that the name, list or predicate selects."""
        for matched in self.match_hook_names(name):
            self.hook_dict[matched].add_hook(hook, dir, is_permanent, level, prepend)

    def add_perma_hook(
        self, name: NamesFilter, hook: Callable[..., Any], dir: Direction = "fwd"
    ) -> None:
        """Attach a function that `reset_hooks` leaves in place."""
        self.add_hook(name, hook, dir, is_permanent=True)

    def reset_hooks(
        self,
        clear_contexts: bool = True,
        direction: Literal["fwd", "bwd", "both"] = "both",
        including_permanent: bool = False,
        level: int | None = None,
    ) -> None:
        """Detach every function (of that direction and level); the permanent ones only if asked."""
        for point in self.hook_points():
            point.remove_hooks(direction, including_permanent, level)
        if clear_contexts:
            self.clear_contexts()

    def remove_all_hook_fns(
        self,
        direction: Literal["fwd", "bwd", "both"] = "both",
        including_permanent: bool = False,
        level: int | None = None,
    ) -> None:
        """`reset_hooks` that leaves every `ctx` as it is."""
        self.reset_hooks(False, direction, including_permanent, level)

    def clear_contexts(self) -> None:
        """Empty the `ctx` of every hook point."""
        for point in self.hook_points():
            point.clear_context()

    @contextmanager
    def hooks(
        self,
        fwd_hooks: Sequence[tuple[NamesFilter, Callable[..., Any]]] = (),
        bwd_hooks: Sequence[tuple[NamesFilter, Callable[..., Any]]] = (),
        reset_hooks_end: bool = True,
        clear_contexts: bool = False,
    ) -> Iterator[HookedModule]:
        """Functions that are attached inside the `with` block only, also when it raises.

        Args:
            fwd_hooks: pairs (name, list of names or predicate; function of the value).
            bwd_hooks: the same for gradients.
            reset_hooks_end: False leaves the functions attached.
            clear_contexts: empty the `ctx` of every hook point at the end.
        """
        added: list[tuple[list[_Attached], _Attached]] = []
        directions = (("fwd_hooks", fwd_hooks), ("bwd_hooks", bwd_hooks))
        resolved = [
            (direction, self.match_hook_names(name), function)
            for direction, hooks in directions
            for name, function in hooks
        ]
        try:
            for direction, names, function in resolved:
                for name in names:
                    hooks_here: list[_Attached] = getattr(self.hook_dict[name], direction)
                    attached = _Attached(function, permanent=False)
                    hooks_here.append(attached)
                    added.append((hooks_here, attached))
            yield self
        finally:
            for hooks_here, attached in added if reset_hooks_end else ():
                if attached in hooks_here:
                    hooks_here.remove(attached)
            if clear_contexts:
                self.clear_contexts()

    def run_with_hooks(
        self,
        *args: Any,
        fwd_hooks: Sequence[tuple[NamesFilter, Callable[..., Any]]] = (),
        bwd_hooks: Sequence[tuple[NamesFilter, Callable[..., Any]]] = (),
        reset_hooks_end: bool = True,
        clear_contexts: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Run the model with functions attached for this one call.

        Args:
            fwd_hooks: pairs (name, list of names or predicate; function of the value).
            bwd_hooks: the same for gradients.
            reset_hooks_end: False leaves the functions attached (needed for `bwd_hooks`
                when `backward` is called afterwards); `reset_hooks` then removes them.
            clear_contexts: empty the `ctx` of every hook point afterwards.

        Raises:
            UnknownHook: a name that matches nothing.
        """
        with self.hooks(fwd_hooks, bwd_hooks, reset_hooks_end, clear_contexts):
            return self(*args, **kwargs)

    def record(
        self,
        *args: Any,
        names_filter: NamesFilter = None,
        device: torch.device | str | None = None,
        incl_bwd: bool = False,
        pos_slice: SliceInput = None,
        **kwargs: Any,
    ) -> tuple[Any, dict[str, Tensor]]:
        """Run the model and copy the values at the selected hook points: (output, name -> value).

        The copies never share memory with live activations. Where the same value passes two
        hook points (`hook_resid_post` and the next `hook_resid_pre`) it is copied once.
        With `incl_bwd` the output must be a scalar; its gradients come as `name + "_grad"`.
        With `pos_slice` only those positions are copied (of patterns and scores, those queries).
        """
        recorder = Recorder(device, Slice(pos_slice).keeping_axis())
        names = self.match_hook_names(names_filter)
        forward = [(name, recorder.save) for name in names]
        backward = [(name, recorder.save_gradient) for name in names] if incl_bwd else []
        with self.hooks(forward, backward):
            output = self(*args, **kwargs)
            if incl_bwd:
                output.backward()
        values = recorder.values
        if not callable(names_filter) and names_filter is not None:
            for name in names:
                if name not in values:
                    raise UnknownHook(f"the hook point {name!r} was not reached in this run.")
        order = {name: i for i, name in enumerate(self.hook_dict)}
        return output, dict(sorted(values.items(), key=lambda item: order.get(item[0], len(order))))
