"""Values that are computed on demand, and the switches that make a model always keep them."""

from __future__ import annotations

from .config import ModelConfig
from .hooks import HookedModule

# Switch -> the last names of the hook points that it is about.
_SWITCHES = {
    "use_attn_result": ("hook_result",),
    "use_split_qkv_input": ("hook_q_input", "hook_k_input", "hook_v_input"),
    "use_attn_in": ("hook_attn_in",),
    "use_hook_mlp_in": ("hook_mlp_in",),
}


def switch_of(hook_name: str) -> str | None:
    """The switch that turns a hook point on, if it is computed on demand and has one."""
    tail = hook_name.rsplit(".", 1)[-1]
    return next((name for name, tails in _SWITCHES.items() if tail in tails), None)


class OnDemand(HookedModule):
    """The switches of `HookedTransformer`.

    A value such as `attn.hook_result` is computed where a function is attached to it, or where a
    filter of `run_with_cache` names it; no switch is needed. A switch that is on makes
    `run_with_cache` without a filter keep it as well.
    """

    cfg: ModelConfig

    def set_use_attn_result(self, use_attn_result: bool) -> None:
        """What each head adds to the stream (`attn.hook_result`)."""
        self._switch("use_attn_result", use_attn_result)

    def set_use_split_qkv_input(self, use_split_qkv_input: bool) -> None:
        """What the queries, keys and values of each head read (`hook_q_input`, ...)."""
        self._switch("use_split_qkv_input", use_split_qkv_input)

    def set_use_attn_in(self, use_attn_in: bool) -> None:
        """What each head reads (`hook_attn_in`)."""
        self._switch("use_attn_in", use_attn_in)

    def set_use_hook_mlp_in(self, use_hook_mlp_in: bool) -> None:
        """What the MLP reads, before its norm (`hook_mlp_in`)."""
        self._switch("use_hook_mlp_in", use_hook_mlp_in)

    def _switch(self, name: str, on: bool) -> None:
        setattr(self.cfg, name, bool(on))
        self.apply_switches()

    def apply_switches(self) -> None:
        """Make the hook points do what the configuration says."""
        for name, point in self.hook_dict.items():
            switch = switch_of(name)
            if switch is not None:
                point.on_demand = not getattr(self.cfg, switch)
