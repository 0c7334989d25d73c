"""`sweep_paths`: what one component does through another's input, and through nothing else.

Path patching (Wang et al. 2022, section 3.1 and appendix B; Goldowsky-Dill et al. 2023) takes four
runs: the base run; the other run; the base run with the senders' outputs replaced and all other
heads held, in which the receivers' inputs are read off; and the base run with those inputs put in.
Of the third run only the stream at the receivers is needed, and with heads held it is a sum.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, TypeVar, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..model.transformer import HookedTransformer
from ..tasks.task import Task
from .cone import Cone, Entry
from .effects import Axis, Effects, Mode
from .graph import Graph, Receiver, Sender, written_changes, written_hooks
from .head_sites import head_inputs, qkv_hooks
from .measure import Batch, Hook, Measurement, Progress, TellMemory
from .targets import Positions, choose_targets

T = TypeVar("T")
MLPs = Literal["frozen", "recomputed"]
Together = str | Sequence[str]
"""One sender or receiver by its name, or several that act as one."""


@torch.no_grad()
def sweep_paths(
    model: HookedTransformer,
    task: Task,
    receivers: str | Sequence[Together],
    senders: str | Sequence[Together] | None = None,
    *,
    mlps: MLPs = "frozen",
    positions: Positions = "all",
    mode: Mode = "denoising",
    max_memory: int | None = None,
    progress: Progress | None = None,
    tell_memory: TellMemory | None = None,
) -> Effects:
    """Patch the path from each sender to each receiver, and measure the task's metric.

    Args:
        model: without hooks attached.
        task: prompt pairs and metric.
        receivers: inputs of heads ("9.6.q", "9.6.k", "9.6.v"), of MLPs ("mlp3"), or "logits";
            an entry that is a list is a set whose inputs are all put in at once.
        senders: "embed", heads ("5.5"), MLPs ("mlp3"); an entry that is a list is a set replaced
            together; None means every one that some receiver reads.
        mlps: "frozen": all that is not a sender keeps its value, so that only the direct edge
            from sender to receiver carries anything. "recomputed": heads keep theirs but MLPs
            between sender and receiver answer to what changed, as in Wang et al.'s (2022) code.
        positions: where the receivers' inputs are put in, all at once.
        mode: "denoising" patches clean values into the corrupted run; "noising" the reverse.
        max_memory: bytes that may be used; None means a quarter of what is free.
        progress: called with the share that is done, between 0 and 1.
        tell_memory: called before anything is run, with the bytes that will be held at most
            beside the weights.

    Returns:
        Effects with the axes "sender" and "receiver"; sets are named "9.6.q+9.9.q".

    Raises:
        ValueError: a name that the model does not have, a sender that no receiver of an entry
            reads because it writes later, "logits" in a set with others.

    Example:
        >>> ca.sweep_paths(model, task, "logits")
        >>> ca.sweep_paths(model, task, [["9.6.q", "9.9.q"]], mlps="recomputed")
    """
    if mlps not in get_args(MLPs):
        raise ValueError(f"mlps={mlps!r} is neither 'frozen' nor 'recomputed'.")
    graph = Graph(model.cfg)
    ends = [_parsed(entry, graph.receiver) for entry in _entries(receivers)]
    if not ends:
        raise ValueError("the list of receivers is empty.")
    if senders is None:
        n = max(graph.n_upstream(receiver) for entry in ends for receiver in entry)
        starts: list[tuple[Sender, ...]] = [(sender,) for sender in graph.senders[:n]]
    else:
        starts = [_parsed(entry, graph.sender) for entry in _entries(senders)]
    _check_paths(model, starts, ends, chosen=senders is not None)
    hooks = [*written_hooks(model.cfg), *_receiver_hooks(model, ends)]
    n_members = sum(map(len, starts))
    held = n_members * model.cfg.d_model * (1 + len({_entry(model, r) for e in ends for r in e}))
    measurement = Measurement(model, task, mode, hooks, max_memory, held, tell_memory=tell_memory)
    run = _Paths(
        measurement,
        starts,
        ends,
        mlps,
        choose_targets(task, positions).together(task.clean.shape[1]),
        progress,
    )
    axes = (Axis("sender", _labels(starts)), Axis("receiver", _labels(ends)))
    patched = run.run()
    return Effects(
        site="paths",
        axes=axes,
        patched=patched.numpy(),
        settings={**measurement.settings(), "mlps": mlps},
        **measurement.results(),
    )


def _entries(given: str | Sequence[Together]) -> Sequence[Together]:
    return [given] if isinstance(given, str) else given


def _parsed(entry: Together, find: Callable[[str], T]) -> tuple[T, ...]:
    """The members of one entry."""
    names = [entry] if isinstance(entry, str) else entry
    if not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{entry!r} is not a sender or receiver: give names, such as '9.6.q'.")
    if not names:
        raise ValueError("a set of senders or receivers is empty.")
    return tuple(dict.fromkeys(find(name) for name in names))


def _labels(entries: Sequence[Sequence[Sender | Receiver]]) -> tuple[str, ...]:
    return tuple("+".join(member.name for member in entry) for entry in entries)


def _entry(model: HookedTransformer, receiver: Receiver) -> Entry:
    return receiver.entry(model.cfg)


def _check_paths(
    model: HookedTransformer,
    starts: Sequence[tuple[Sender, ...]],
    ends: Sequence[tuple[Receiver, ...]],
    chosen: bool,
) -> None:
    for end in ends:
        if len(end) > 1 and any(receiver.kind == "logits" for receiver in end):
            raise ValueError(
                "'logits' in a set of receivers would hide the others, since what the logits read "
                "is then fixed: make it an entry of its own."
            )
        for start in starts if chosen else ():
            last = max((_entry(model, receiver) for receiver in end), key=lambda entry: entry.order)
            for sender in start:
                if not sender.entry(model.cfg) <= last:
                    raise ValueError(
                        f"{sender.name} writes after {'+'.join(r.name for r in end)} reads: there "
                        "is no path from it."
                    )


def _receiver_hooks(model: HookedTransformer, ends: Sequence[tuple[Receiver, ...]]) -> list[str]:
    found = []
    for receiver in {receiver for end in ends for receiver in end}:
        if receiver.kind in ("q", "k", "v"):
            found.append(qkv_hooks(model.cfg, receiver.layer)[receiver.kind])
    return sorted(found)


class _Paths:
    """One call of `sweep_paths`."""

    def __init__(
        self,
        measurement: Measurement,
        starts: Sequence[tuple[Sender, ...]],
        ends: Sequence[tuple[Receiver, ...]],
        mlps: MLPs,
        mask: Tensor | None,
        progress: Progress | None,
    ) -> None:
        self.measurement, self.starts, self.ends = measurement, starts, ends
        self.mlps, self.mask, self.progress = mlps, mask, progress
        self.model = measurement.model
        self.patched = torch.empty(
            len(starts), len(ends), len(measurement.task), dtype=torch.float64
        )
        self._done = 0

    def run(self) -> Float[Tensor, "sender receiver prompt"]:
        with self.measurement.arithmetic():
            for batch in self.measurement.batches():
                self.patched[:, :, batch.prompts] = batch.base_metric
                for window in batch.windows():
                    n_rows = batch.memory.rows_per_chunk(window.end - window.start, window.end)
                    for prompt in window.prompt.split(n_rows):
                        self._run_window(batch, prompt, window.start, n_rows // len(prompt))
                self._report(batch.prompts.stop * len(self.starts))
        return self.patched

    def _report(self, done: int) -> None:
        """Paths from this many senders and prompts are done."""
        self._done = done
        if self.progress is not None:
            self.progress(done / (len(self.starts) * len(self.measurement.task)))

    def _run_window(
        self, batch: Batch, prompt: Int[Tensor, " prompt"], start: int, n_options: int
    ) -> None:
        """All paths of prompts that first differ at `start`, some sender options at a time."""
        for first in range(0, len(self.starts), n_options):
            options = range(first, min(first + n_options, len(self.starts)))
            rows = prompt.repeat(len(options))
            cone = Cone(batch.base, rows.to(batch.base.tokens.device), start)
            entries = {_entry(self.model, receiver) for end in self.ends for receiver in end}
            streams = self._changed_streams(batch, cone, options, prompt, entries)
            for i, end_set in enumerate(self.ends):
                values = self._measured(batch, cone, rows, end_set, streams)
                self.patched[options.start : options.stop, i, prompt + batch.prompts.start] = (
                    values.view(len(options), len(prompt))
                )
            self._report(self._done + len(rows))

    def _changed_streams(
        self,
        batch: Batch,
        cone: Cone,
        options: range,
        prompt: Int[Tensor, " prompt"],
        wanted: set[Entry],
    ) -> dict[Entry, Float[Tensor, "row window d_model"]]:
        """The third run: what the senders change in the stream where receivers read it."""
        cfg = self.model.cfg
        window = slice(cone.start, cone.end)
        members = [
            (i, sender) for i, option in enumerate(options) for sender in self.starts[option]
        ]
        written = written_changes(
            [sender for _, sender in members], batch.base, batch.source, window
        )
        written = written[:, prompt.to(written.device)]
        shape = (len(options), len(prompt), *written.shape[2:])
        change = written.new_zeros(shape)  # [option, prompt, window, d_model]
        found = {}
        last = max(wanted, key=lambda entry: entry.order)
        stages: list[Entry] = []
        for layer in range(cfg.n_layers + 1):
            stages.append(Entry(layer))
            if layer < cfg.n_layers and cfg.has_resid_mid:
                stages.append(Entry(layer, "mid"))
        for entry in stages:
            for (option, sender), part in zip(members, written, strict=True):
                if sender.entry(cfg) == entry:
                    change[option] += part
            if entry in wanted:
                found[entry] = change.flatten(0, 1).clone()
            if entry == last:
                break
            reads = Entry(entry.layer, "mid") if cfg.has_resid_mid else Entry(entry.layer)
            if self.mlps == "recomputed" and not cfg.attn_only and entry == reads:
                answers = self._mlp_answers(cone, entry, change.flatten(0, 1)).view(shape)
                for option, sender in members:  # a sender's output is replaced, not recomputed
                    if sender == Sender("mlp", entry.layer):
                        answers[option] = 0.0
                # Later in parallel blocks, but nobody reads in between.
                change = change + answers
        return found

    def _mlp_answers(
        self, cone: Cone, entry: Entry, change: Float[Tensor, "row window d_model"]
    ) -> Float[Tensor, "row window d_model"]:
        """What the MLP of a layer adds to, or takes from, what it writes in the base run."""
        moved = change.abs().sum((1, 2)) > 0
        answers = torch.zeros_like(change)
        if bool(moved.any()):
            old = cone.stream(entry)[moved]
            mlp_out = self.model.blocks[entry.layer].mlp_out
            answers[moved] = mlp_out(old + change[moved]) - mlp_out(old)
        return answers

    def _measured(
        self,
        batch: Batch,
        cone: Cone,
        prompt: Int[Tensor, " row"],
        receivers: tuple[Receiver, ...],
        streams: dict[Entry, Float[Tensor, "row window d_model"]],
    ) -> Float[Tensor, " row"]:
        """The fourth run: the receivers' inputs put in, all else computed as it follows."""
        model = self.model
        here = None
        if self.mask is not None:
            mask = self.mask[prompt + batch.prompts.start, cone.start : cone.end]
            here = mask.to(cone.prompts.device)[..., None]  # [row, window, 1]
        if receivers[0].kind == "logits":
            change = streams[_entry(model, receivers[0])]
            change = change if here is None else change * here
            return batch.read(prompt, cone.propagate(Entry(model.cfg.n_layers), change))
        hooks: list[Hook] = []
        for receiver in receivers:
            stream = cone.stream(_entry(model, receiver)) + streams[_entry(model, receiver)]
            hooks.append(_put_in(model, cone, receiver, stream, here))
        first = min(receiver.layer for receiver in receivers)
        with model.hooks(hooks):
            final = cone.propagate(Entry(first), None)
        return batch.read(prompt, final)


def _put_in(
    model: HookedTransformer,
    cone: Cone,
    receiver: Receiver,
    stream: Float[Tensor, "row window d_model"],
    here: Tensor | None,
) -> Hook:
    """A hook that gives a receiver what it computes from `stream`."""
    block = model.blocks[receiver.layer]
    if receiver.kind == "mlp":
        new = block.mlp_out(stream)

        def put_output(old: Tensor, *, hook: object) -> Tensor:
            return new if here is None else torch.where(here, new, old)

        return f"blocks.{receiver.layer}.hook_mlp_out", put_output
    x = block.ln1(stream)
    heads = head_inputs(block.attn, receiver.kind, x, cone.window)
    part = heads[:, :, receiver.head]

    def put_input(old: Tensor, *, hook: object) -> Tensor:
        value = old.clone()
        mine = part if here is None else torch.where(here, part, old[:, :, receiver.head])
        value[:, :, receiver.head] = mine
        return value

    return qkv_hooks(model.cfg, receiver.layer)[receiver.kind], put_input
