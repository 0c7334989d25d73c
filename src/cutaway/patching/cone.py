"""The causal cone: what an intervention can change, computed and nothing else.

An intervention adds something to the residual stream of some prompts, at one layer, from some
position on. Attention is causal, so it can change only the layers above, the positions from
there on, and in the end only what the metric reads. Everything else is taken from a run that was
made once, the base run. A cone is a continuation of that run, as generation with a key-value
cache is: keys and values before the window are the base run's, those inside are recomputed.

Many cones run as one batch: a row is one intervention on one prompt.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ..model.attention_context import AttentionContext, attention_context
from ..model.config import ModelConfig
from ..model.hooks import HookPoint
from ..model.kv_cache import KVCache
from ..model.transformer import HookedTransformer


@dataclass(frozen=True)
class Entry:
    """Where in the residual stream a change enters.

    "pre" is before block `layer` (n_layers: before the final norm), "mid" is between its
    attention and its MLP.
    """

    layer: int
    stage: Literal["pre", "mid"] = "pre"

    def __le__(self, other: Entry) -> bool:
        """Whether what enters here has passed, or is, the other entry: both are on the stream."""
        return self.order <= other.order

    @property
    def order(self) -> tuple[int, bool]:
        """Sorts entries from the first in a run to the last."""
        return self.layer, self.stage == "mid"

    @property
    def hook_name(self) -> str:
        """The hook point whose value is the residual stream here."""
        return f"blocks.{self.layer}.hook_resid_{self.stage}"


def after_attention(cfg: ModelConfig, layer: int) -> Entry:
    """Where the output of a layer's attention enters the stream."""
    return Entry(layer, "mid") if cfg.has_resid_mid else Entry(layer + 1, "pre")


class RecordedRun:
    """One whole run, and the values at some hook points.

    Args:
        model: without hooks attached.
        tokens: [prompt, pos].
        read: the positions that the metric reads, as indices into tokens.
        keep: hook names to record.
        attention_mask: False at padding on the left.
    """

    def __init__(
        self,
        model: HookedTransformer,
        tokens: Int[Tensor, "prompt pos"],
        read: Int[Tensor, "prompt read"],
        keep: Iterable[str],
        attention_mask: Bool[Tensor, "prompt pos"] | None = None,
    ) -> None:
        self.model = model
        self.tokens, self.mask = model.to_input(tokens, None, None, attention_mask, None)
        self.read = read.to(self.tokens.device)
        _, self.values = model.record(
            self.tokens,
            return_type=None,
            names_filter=list(dict.fromkeys([*keep, _last_hook(model.cfg)])),
            attention_mask=self.mask,
        )

    def final(self) -> Float[Tensor, "prompt read d_model"]:
        """The residual stream before the final norm, where the metric reads."""
        return take_positions(self.values[_last_hook(self.model.cfg)], self.read)


class BaseRun(RecordedRun):
    """The run that interventions depart from: it also records all that cones need."""

    def __init__(
        self,
        model: HookedTransformer,
        tokens: Int[Tensor, "prompt pos"],
        read: Int[Tensor, "prompt read"],
        keep: Iterable[str] = (),
        attention_mask: Bool[Tensor, "prompt pos"] | None = None,
    ) -> None:
        super().__init__(model, tokens, read, [*cone_hooks(model.cfg), *keep], attention_mask)

    def stream(self, entry: Entry) -> Float[Tensor, "prompt pos d_model"]:
        """The residual stream at an entry."""
        if entry.layer == self.model.cfg.n_layers:
            return self.values[_last_hook(self.model.cfg)]
        return self.values[entry.hook_name]

    def keys_and_values(self, layer: int) -> tuple[Tensor, Tensor]:
        """As attention used them: [prompt, pos, kv, d_head] each, keys after the rotation."""
        k_name, v_name = key_value_hooks(self.model.cfg, layer)
        return self.values[k_name], self.values[v_name]


class DivergedRun(RecordedRun):
    """The run of prompts that equal the base run's before `start`: only the rest is computed.

    Args:
        base: has recorded all of `keep`.
        tokens: [prompt, pos].
        start: the first position at which any prompt differs.
        keep: hook names to record.
    """

    def __init__(
        self, base: BaseRun, tokens: Int[Tensor, "prompt pos"], start: int, keep: Iterable[str]
    ) -> None:
        model = base.model
        self.model, self.read, self.mask = model, base.read, base.mask
        self.tokens = tokens.to(base.tokens.device)
        names = list(dict.fromkeys([*keep, _last_hook(model.cfg)]))
        past = KVCache(model, *tokens.shape)
        for layer, held in enumerate(past.layers):
            held.extend(*(x[:, :start] for x in base.keys_and_values(layer)))
        past.mask = None if self.mask is None else self.mask[:, :start]
        _, values = model.record(
            self.tokens[:, start:],
            return_type=None,
            names_filter=names,
            attention_mask=None if self.mask is None else self.mask[:, start:],
            past_kv_cache=past,
        )
        self.values = {}
        for name, value in values.items():
            # Patterns are [prompt, head, query, key], all else begins with [prompt, pos].
            axis = 2 if name.endswith(("hook_pattern", "hook_attn_scores")) else 1
            before = base.values[name].narrow(axis, 0, start)
            self.values[name] = torch.cat([before, value], dim=axis)


def cone_hooks(cfg: ModelConfig) -> list[str]:
    """The hook names that any cone needs of its base run."""
    names = []
    for layer in range(cfg.n_layers):
        names.append(Entry(layer, "pre").hook_name)
        if cfg.has_resid_mid:
            names.append(Entry(layer, "mid").hook_name)
        names += key_value_hooks(cfg, layer)
    return names


def _last_hook(cfg: ModelConfig) -> str:
    return f"blocks.{cfg.n_layers - 1}.hook_resid_post"


def key_value_hooks(cfg: ModelConfig, layer: int) -> tuple[str, str]:
    """Where keys and values are as attention uses them: keys after the rotation."""
    k = "hook_rot_k" if cfg.positional_embedding_type == "rotary" else "hook_k"
    return f"blocks.{layer}.attn.{k}", f"blocks.{layer}.attn.hook_v"


def take_positions(x: Float[Tensor, "row pos d"], index: Int[Tensor, "row read"]) -> Tensor:
    """The positions `index` of each row: [row, read, d]."""
    return x.gather(1, index[..., None].expand(-1, -1, x.shape[-1]))


class Prefix:
    """Keys and values before the window: those of the base run's prompts."""

    def __init__(self, k: Tensor, v: Tensor) -> None:
        self._k, self._v = k, v  # [row, start, kv, d_head]

    def extend(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """All keys and values that the window sees, from those inside it."""
        return torch.cat([self._k, k], dim=1), torch.cat([self._v, v], dim=1)


class Cone:
    """Rows that share one window of positions, and the path of a change through them.

    Args:
        base: the run that the change departs from.
        prompts: the prompt of each row, [row].
        start: the first position that can change, in any row.
    """

    def __init__(self, base: BaseRun, prompts: Int[Tensor, " row"], start: int) -> None:
        self.base, self.prompts, self.start = base, prompts, start
        read = base.read[prompts]  # [row, read]
        self.end = int(read.max()) + 1
        # A row may read a position before the window: the base run's value stands there.
        self.read_in_window = (read - start).clamp(min=0)
        self.reads_base = read < start
        self.positions = torch.arange(start, self.end, device=read.device)
        self.window = self._context(self.positions[None])
        self.reading = self._context(self.read_in_window + start)

    def _context(self, query: Int[Tensor, "#row query"]) -> AttentionContext:
        model, mask = self.base.model, self.base.mask
        key_mask = None if mask is None else mask[self.prompts, : self.end]
        return attention_context(model.cfg, query, self.end, key_mask, model.dtype)

    @property
    def visible(self) -> Bool[Tensor, "#row window key"]:
        """Which keys each position of the window sees."""
        assert self.window.mask is not None
        return self.window.mask[:, 0]

    def stream(self, entry: Entry) -> Float[Tensor, "row window d_model"]:
        """The base run's residual stream at an entry, for each row."""
        return self.base.stream(entry)[self.prompts, self.start : self.end]

    def propagate(
        self, entry: Entry, change: Float[Tensor, "row window d_model"] | None
    ) -> Float[Tensor, "row read d_model"]:
        """Add `change` at `entry` and compute all that follows, up to the final norm, where the
        metric reads.

        Functions attached to the model's hook points see and may replace what passes them, as in
        any run; positions are those of the window.
        """
        blocks = self.base.model.blocks
        layer, last = entry.layer, len(blocks) - 1
        resid = self.stream(entry)
        if change is not None:
            resid = resid + change
        narrow = not _is_hooked(blocks[last])  # nobody looks where the metric does not read
        at_reads = False
        if entry.stage == "mid":
            if layer == last and narrow:
                resid, at_reads = take_positions(resid, self.read_in_window), True
            resid = resid + blocks[layer].mlp_out(resid)
            layer += 1
        for at in range(layer, last + 1):
            if at == last and narrow:
                resid, at_reads = self._last_block(resid), True
            else:
                resid = blocks[at](resid, self.window, self.prefix(at))
        if not at_reads:
            resid = take_positions(resid, self.read_in_window)
        return self.with_base_reads(resid)

    def with_base_reads(self, resid: Float[Tensor, "row read d_model"]) -> Tensor:
        """What is read: where a row reads before the window, the base run's stream."""
        if not bool(self.reads_base.any()):
            return resid
        return torch.where(self.reads_base[..., None], self.base.final()[self.prompts], resid)

    def prefix(self, layer: int) -> Prefix | None:
        """The base run's keys and values before the window; None where it begins at 0."""
        if self.start == 0:
            return None
        k, v = self.base.keys_and_values(layer)
        return Prefix(k[self.prompts, : self.start], v[self.prompts, : self.start])

    def _last_block(self, resid: Float[Tensor, "row window d_model"]) -> Tensor:
        """The last block, only where the metric reads: [row, read, d_model]."""
        layer = len(self.base.model.blocks) - 1
        block = self.base.model.blocks[layer]
        cfg, attn = block.cfg, block.attn
        x = block.ln1(resid)
        k, v = attn.keys(x, self.window), attn.values(x)
        prefix = self.prefix(layer)
        if prefix is not None:
            k, v = prefix.extend(k, v)
        x = take_positions(x, self.read_in_window)
        resid = take_positions(resid, self.read_in_window)
        z = attn.mix(attn.queries(x, self.reading), k, v, self.reading.mask)
        mixed: Tensor = resid + attn.output(z)
        if cfg.attn_only:
            return mixed
        mlp_out: Tensor = block.mlp_out(resid if cfg.parallel_attn_mlp else mixed)
        return mixed + mlp_out


def _is_hooked(block: nn.Module) -> bool:
    return any(isinstance(part, HookPoint) and part.active for part in block.modules())
