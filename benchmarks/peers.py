"""The peers, each used as its own documentation says, behind one small interface.

Nothing of Cutaway is imported here: each peer runs in an environment of its own (worker.py), and
is handed weights by their field names and prompts as tensors.
"""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, ClassVar

import torch
from torch import Tensor

from common import Prompts, Shape
from one_edge import OneEdge
from peer_models import hooked_transformer, huggingface_gpt2, stand_in_tokenizer

os.environ["HF_HUB_OFFLINE"] = "1"  # the models are made here, and nothing is to be fetched


@dataclass(frozen=True)
class Job:
    """What is timed, and how its result becomes plain numbers (which is not timed)."""

    work: Callable[[], Any]
    values: Callable[[Any], Any]


class Peer:
    """A library that can be asked for sweeps, edge attribution, or single edges."""

    package = ""
    sites: tuple[str, ...] = ()
    """Sites of `sweep`: as in Cutaway for all positions; "z-each" one position at a time."""

    def __init__(self, shape: Shape, state: dict[str, Tensor]) -> None:
        raise NotImplementedError

    @property
    def version(self) -> str:
        """As "transformer-lens 4.3.0"."""
        return f"{self.package} {version(self.package)}"

    def sweep(self, prompts: Prompts, site: str, layers: Sequence[int]) -> Job:
        """Mean metric, [layer, head], or [layer, position] of "resid_pre", or [layer, head,
        position] of "z-each"."""
        raise NotImplementedError

    def edges(self, prompts: Prompts, names: Sequence[str]) -> Job:
        """Mean metric with each of these edges patched, one full run each."""
        raise NotImplementedError

    def eap(self, prompts: Prompts) -> Job:
        """Edge attribution from the corrupted run towards the clean: name -> mean score."""
        raise NotImplementedError


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without progress bars, banners and warnings: drawing them is not what is compared."""
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        yield


class TransformerLens(Peer):
    """Both major versions share `transformer_lens.patching`: one full run for each patch."""

    package = "transformer-lens"
    sites = ("z", "q", "k", "v", "pattern", "z-each", "resid_pre")
    model: Any

    _functions: ClassVar[dict[str, str]] = {
        "z": "get_act_patch_attn_head_out_all_pos",
        "q": "get_act_patch_attn_head_q_all_pos",
        "k": "get_act_patch_attn_head_k_all_pos",
        "v": "get_act_patch_attn_head_v_all_pos",
        "pattern": "get_act_patch_attn_head_pattern_all_pos",
        "z-each": "get_act_patch_attn_head_out_by_pos",
        "resid_pre": "get_act_patch_resid_pre",
    }

    def sweep(self, prompts: Prompts, site: str, layers: Sequence[int]) -> Job:
        from transformer_lens import patching

        n_layers, n_heads = self.model.cfg.n_layers, self.model.cfg.n_heads
        n_pos = prompts.clean.shape[1]
        sizes = {"z-each": [n_pos, n_heads], "resid_pre": [n_pos]}.get(site, [n_heads])
        function = getattr(patching, self._functions[site])
        some: dict[str, Any] = {}
        if len(layers) < n_layers:  # the library's own way to patch some of the places only
            axes = {"z-each": ["pos", "head"], "resid_pre": ["pos"]}.get(site, ["head"])
            frame = patching.make_df_from_ranges([n_layers, *sizes], ["layer", *axes])
            some = {"index_df": frame[frame.layer.isin(layers)], "index_axis_names": None}

        @torch.no_grad()
        def work() -> Tensor:
            _, cache = self.model.run_with_cache(prompts.clean)

            def metric(logits: Tensor) -> Tensor:
                return prompts.difference(logits).mean()

            with quiet():
                return function(self.model, prompts.corrupted, cache, metric, **some)

        def values(found: Tensor) -> Any:
            grid = found.reshape(len(layers), *sizes)
            return (grid.mT if site == "z-each" else grid).tolist()

        return Job(work, values)


class TransformerLens3(TransformerLens):
    """`HookedTransformer`."""

    def __init__(self, shape: Shape, state: dict[str, Tensor]) -> None:
        with quiet():
            self.model = hooked_transformer(shape, state)

    def edges(self, prompts: Prompts, names: Sequence[str]) -> Job:
        self.model.set_use_split_qkv_input(True)
        self.model.set_use_hook_mlp_in(True)
        patcher = OneEdge(self.model, prompts)

        def work() -> list[float]:
            return [patcher.metric(name) for name in names]

        return Job(work, list)


class TransformerLens4(TransformerLens):
    """`TransformerBridge`, on a `transformers` model made here."""

    def __init__(self, shape: Shape, state: dict[str, Tensor]) -> None:
        with quiet(), tempfile.TemporaryDirectory() as folder:
            from transformer_lens.model_bridge import TransformerBridge

            self.model = TransformerBridge.boot_transformers(
                "gpt2",
                hf_model=huggingface_gpt2(shape, state),
                tokenizer=stand_in_tokenizer(folder),
                device="cpu",
            ).eval()

    def eap(self, prompts: Prompts) -> Job:
        from transformer_lens.tools.analysis import EdgeAttributionConfig, attribution_patch

        config = EdgeAttributionConfig(granularity="edge")

        def work() -> list[Any]:
            # It takes the pairs one by one in any case; asked for each alone, every pair can
            # have a metric of its own.
            return [
                attribution_patch(self.model, one.clean, one.corrupted, _scalar(one), config=config)
                for one in (prompts[i : i + 1] for i in range(len(prompts.clean)))
            ]

        def values(results: list[Any]) -> dict[str, float]:
            scores: dict[str, float] = {}
            for result in results:  # its edges are per position; ours are sums over positions
                for (writer, reader), score in result.edge_scores.items():
                    name = f"{_node_name(writer)}->{_node_name(reader)}"
                    scores[name] = scores.get(name, 0.0) + score / len(results)
            return scores

        return Job(work, values)


def _scalar(prompts: Prompts) -> Callable[[Tensor], Tensor]:
    return lambda logits: prompts.difference(logits).mean()


def _node_name(node: Any) -> str:
    if node.kind in ("embed", "logits"):
        return str(node.kind)
    if node.kind in ("mlp_out", "mlp_in"):
        return f"mlp{node.layer}"
    letter = "" if node.kind == "attn_head_out" else f".{node.kind[0]}"
    return f"{node.layer}.{node.head}{letter}"


class NNsight(Peer):
    """`TransformersModel`: patches of one layer as invokes of one trace, so as one batch.

    The clean values are saved by one trace beforehand, and only the last token's logits are asked
    for (`logits_to_keep`, an option of the `transformers` model); both make it faster.
    """

    _most_invokes = 16  # of a trace; more were not faster, and take memory

    package = "nnsight"
    sites = ("z", "q", "k", "v", "z-each", "resid_pre")

    def __init__(self, shape: Shape, state: dict[str, Tensor]) -> None:
        with quiet(), tempfile.TemporaryDirectory() as folder:
            from nnsight import TransformersModel

            self.shape = shape
            self.model = TransformersModel(
                huggingface_gpt2(shape, state),
                tokenizer=stand_in_tokenizer(folder),
                task="text-generation",
            )

    def sweep(self, prompts: Prompts, site: str, layers: Sequence[int]) -> Job:
        n_pos = prompts.clean.shape[1]
        every = slice(None)
        heads = [self._columns(site, head) for head in range(self.shape.n_heads)]
        places: list[Any] = [(every, columns) for columns in heads]
        if site == "resid_pre":
            places = [(pos, every) for pos in range(n_pos)]
        elif site == "z-each":
            places = [(pos, columns) for columns in heads for pos in range(n_pos)]
        steps = range(0, len(places), self._most_invokes)
        batches = [places[i : i + self._most_invokes] for i in steps]

        @torch.no_grad()
        def work() -> Tensor:
            clean = self._clean_values(prompts, site)
            found = []
            for layer in layers:
                rows = [self._patched(prompts, site, layer, clean[layer], b) for b in batches]
                found.append(torch.cat(rows))
            return torch.stack(found)

        def values(found: Tensor) -> Any:
            sizes = [len(heads), n_pos] if site == "z-each" else [-1]
            return found.reshape(len(layers), *sizes).tolist()

        return Job(work, values)

    def _columns(self, site: str, head: int) -> slice:
        """Where a head's values lie; GPT-2 keeps queries, keys and values side by side."""
        start = head * self.shape.d_head + {"k": 1, "v": 2}.get(site, 0) * self.shape.d_model
        return slice(start, start + self.shape.d_head)

    def _at(self, site: str, layer: int) -> Tensor:
        """The value at a site, inside a trace."""
        block = self.model.transformer.h[layer]
        if site == "resid_pre":
            return block.input
        return block.attn.c_proj.input if site in ("z", "z-each") else block.attn.c_attn.output

    def _clean_values(self, prompts: Prompts, site: str) -> list[Tensor]:
        import nnsight

        with self.model.trace(prompts.clean) as tracer:
            layers = range(self.shape.n_layers)
            clean = nnsight.save([self._at(site, layer).detach().clone() for layer in layers])
            tracer.stop()
        return clean

    def _patched(
        self, prompts: Prompts, site: str, layer: int, clean: Tensor, places: Sequence[Any]
    ) -> Tensor:
        import nnsight

        with self.model.trace(logits_to_keep=1) as tracer:
            metric = nnsight.save({})
            for i, (pos, columns) in enumerate(places):
                with tracer.invoke(prompts.corrupted):
                    self._at(site, layer)[:, pos, columns] = clean[:, pos, columns]
                    metric[i] = prompts.difference(self.model.lm_head.output).mean()
        return torch.stack([metric[i] for i in range(len(places))])


class AutoCircuit(Peer):
    """Edge attribution as the gradient of masks on all edges at once, in batches of prompts."""

    package = "auto-circuit"

    def __init__(self, shape: Shape, state: dict[str, Tensor]) -> None:
        with quiet():
            from auto_circuit.utils.graph_utils import patchable_model

            model = hooked_transformer(shape, state)
            for name in ("attn_result", "attn_in", "split_qkv_input", "hook_mlp_in"):
                setattr(model.cfg, f"use_{name}", True)
            model.requires_grad_(False)  # as its own loader does: only the masks have gradients
            self.model = patchable_model(
                model, factorized=True, slice_output="last_seq", separate_qkv=True
            )

    def eap(self, prompts: Prompts) -> Job:
        from auto_circuit.data import PromptDataLoader, PromptDataset
        from auto_circuit.prune_algos.mask_gradient import mask_gradient_prune_scores

        # Its scores say what moving from "clean" to "corrupt" does, so denoising swaps the two.
        answers = [list(tokens[:, None]) for tokens in (prompts.correct, prompts.wrong)]
        pairs = PromptDataset(prompts.corrupted, prompts.clean, *answers)
        loader = PromptDataLoader(pairs, seq_len=None, diverge_idx=0, batch_size=len(pairs))

        def work() -> Any:
            with quiet():
                return mask_gradient_prune_scores(
                    self.model,
                    loader,
                    official_edges=None,
                    grad_function="logit",
                    answer_function="avg_diff",
                    mask_val=0.0,
                )

        def values(scores: Any) -> dict[str, float]:
            # It differentiates a loss, the metric's negative.
            return {
                _edge_name(edge.name): -float(edge.prune_score(scores)) for edge in self.model.edges
            }

        return Job(work, values)


def _edge_name(theirs: str) -> str:
    """ "A5.5->A9.6.Q" is "5.5->9.6.q"."""
    ends = {"Resid Start": "embed", "Resid End": "logits"}
    names = [ends.get(name, name) for name in theirs.split("->")]
    return "->".join(n if n in ends.values() else n.lstrip("A").lower() for n in names).replace(
        "mlp ", "mlp"
    )


PEERS: dict[str, type[Peer]] = {
    "tl39": TransformerLens3,
    "tl4": TransformerLens4,
    "nnsight": NNsight,
    "auto-circuit": AutoCircuit,
}
