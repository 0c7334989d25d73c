"""Hook points, where course code looks for them: `from cutaway.hook_points import HookPoint`."""

from __future__ import annotations

from typing import Any

from .model.hooks import HookedModule, HookPoint

__all__ = ["HookPoint", "HookedRootModule"]


class HookedRootModule(HookedModule):
    """A module of one's own with hook points: call `setup()` at the end of `__init__`.

    Example:
        >>> class Doubling(HookedRootModule):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.hook_double = HookPoint()
        ...         self.setup()
        ...
        ...     def forward(self, x):
        ...         return self.hook_double(2 * x)
        >>> _, cache = Doubling().run_with_cache(torch.ones(3))
        >>> list(cache)
        ['hook_double']
    """

    def setup(self) -> None:
        """Give every hook point its name."""
        self.name_hook_points()

    def run_with_cache(self, *args: Any, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
        """Run the module and copy the values at its hook points: (output, name -> value).

        Args:
            args: of the module itself.
            kwargs: of the module itself, and those of `HookedModule.record` (`names_filter`, ...).
        """
        return self.record(*args, **kwargs)
