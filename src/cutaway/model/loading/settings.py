"""The fields of a Hugging Face `config.json` that several families share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..config import Activation, RotaryScaling
from .checkpoint import LoadError

_ACTIVATIONS: dict[str, Activation] = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_new",
    "gelu_fast": "gelu_new",
    "gelu_pytorch_tanh": "gelu_new",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
}


class Settings:
    """A `config.json` whose missing or unsupported fields are named in the error."""

    def __init__(self, values: Mapping[str, Any], source: str | Path) -> None:
        self.values = values
        self.source = source

    def need(self, name: str) -> Any:
        """A field that must be there."""
        if self.values.get(name) is None:
            raise LoadError(f"{self.source} lacks the field {name!r}.")
        return self.values[name]

    def get(self, name: str, default: Any = None) -> Any:
        """A field, or the value that the family takes where it is absent."""
        return self.values.get(name, default)

    def refuse(self, name: str, why: str) -> None:
        """Raise if a field is set that asks for something this library does not compute."""
        if self.values.get(name):
            raise LoadError(f"{self.source} has {name}={self.values[name]!r}: {why}.")

    def activation(self, name: str, default: str) -> Activation:
        """The MLP's activation under our name."""
        value = self.get(name, default)
        if value not in _ACTIVATIONS:
            raise LoadError(
                f"{self.source} has {name}={value!r}, an unknown activation; known are "
                f"{', '.join(_ACTIVATIONS)}."
            )
        return _ACTIVATIONS[value]

    @property
    def _rope(self) -> Mapping[str, Any]:
        """`rope_parameters` (transformers 5) or `rope_scaling` (before)."""
        value: Mapping[str, Any] = self.get("rope_parameters") or self.get("rope_scaling") or {}
        if any(isinstance(entry, dict) for entry in value.values()):
            raise LoadError(
                f"{self.source} has other rotary positions for each kind of layer, "
                "which is not supported."
            )
        return value

    def rotary_base(self, old_name: str = "rope_theta") -> float:
        """Base of the rotary frequencies."""
        return float(self._rope.get("rope_theta") or self.get(old_name) or 10_000.0)

    def rotary_share(self, old_name: str, default: float) -> float:
        """Which share of each head is turned."""
        name = "partial_rotary_factor"
        return float(self._rope.get(name) or self.get(old_name) or self.get(name) or default)

    def rotary_scaling(self) -> RotaryScaling | None:
        """Scaling of the rotary frequencies."""
        rope = Settings(self._rope, f"the rotary positions in {self.source}")
        kind = rope.get("rope_type") or rope.get("type") or "default"
        if kind == "default":
            return None
        if kind == "linear":
            return RotaryScaling("linear", float(rope.need("factor")))
        if kind == "llama3":
            return RotaryScaling(
                "llama3",
                float(rope.need("factor")),
                float(rope.need("low_freq_factor")),
                float(rope.need("high_freq_factor")),
                int(rope.need("original_max_position_embeddings")),
            )
        raise LoadError(
            f"{self.source} has the unknown rotary scaling {kind!r}; known are default, linear "
            "and llama3."
        )
