"""Short names of activations, and the hook names that they stand for."""

from __future__ import annotations

import re

_PARTS = {
    "attn": ("q", "k", "v", "z", "rot_q", "rot_k", "attn_scores", "pattern", "result"),
    "mlp": ("pre", "post", "pre_linear"),
}
_PART_OF = {name: part for part, names in _PARTS.items() for name in names}
_SYNONYMS = {"attn": "pattern", "attn_logits": "attn_scores", "scores": "attn_scores"}
_SYNONYMS |= {"key": "k", "query": "q", "value": "v", "mlp_pre": "pre", "mlp_post": "post"}
_NORMS = {"a": "ln1", "attn": "ln1", "ln1": "ln1", "m": "ln2", "mlp": "ln2", "ln2": "ln2"}


def get_act_name(name: str, layer: int | str | None = None, layer_type: str | None = None) -> str:
    """The full hook name of a short one.

    Args:
        name: short ("z", "resid_post", "pattern", "scale", "embed") or already full.
        layer: needed for names that every layer has.
        layer_type: "ln1" or "ln2" for "scale" and "normalized"; without layer: the final norm.

    Example:
        >>> get_act_name("z", 9)
        'blocks.9.attn.hook_z'
        >>> get_act_name("scale", 0, "ln1"), get_act_name("scale")
        ('blocks.0.ln1.hook_scale', 'ln_final.hook_scale')
    """
    if "." in name or name.startswith("hook_"):
        return name
    compact = re.match(r"^([a-z_]+?)(\d+)([a-z]*[12]?)$", name)  # "resid_pre5", "scale4ln1"
    if layer is None and compact is not None:
        name, layer, layer_type = compact[1], compact[2], compact[3] or layer_type
    name = _SYNONYMS.get(name, name)
    if name in ("scale", "normalized"):
        if layer is None:
            return f"ln_final.hook_{name}"
        return f"blocks.{layer}.{_NORMS[layer_type or 'ln1']}.hook_{name}"
    if name in ("embed", "pos_embed"):
        return f"hook_{name}"
    if layer is None:
        raise ValueError(f"the activation {name!r} belongs to a layer: say which.")
    part = _PART_OF.get(name)
    return f"blocks.{layer}.{part}.hook_{name}" if part else f"blocks.{layer}.hook_{name}"
