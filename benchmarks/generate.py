"""Generation: tokens per second beside `transformers`, from the same weights, in pairs.

A model of GPT-2 small's shape with random weights continues prompts of 16 random tokens by 128,
greedily and by drawing from the whole softmax, with a key-value cache on both sides. Ours has its
hook points. One call of ours and one of the peer's in turn, who is first changes from pair to pair;
a ratio is that of one pair, and the table gives medians with quartiles. Beside the wall clock there
is the ratio of processor time, which says more where other programs share the cores. Greedy tokens
are compared: beyond float32's last digits there is nothing to tell two equal models apart.

    python benchmarks/generate.py
    python benchmarks/generate.py --threads 1 --pairs 9
    python benchmarks/generate.py --batches 8 --kinds nucleus beams
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from common import SHAPES, Column, Table, machine, note, random_weights, save
from ours import make_model
from peer_models import huggingface_gpt2

KINDS: dict[str, dict[str, Any]] = {
    "greedy": {"do_sample": False},
    "sampling": {"do_sample": True},
    "nucleus": {"do_sample": True, "top_p": 0.9, "temperature": 0.8},
    "penalties": {"do_sample": False, "repetition_penalty": 1.2, "no_repeat_ngram_size": 3},
    "beams": {"do_sample": False, "num_beams": 4},
}


def options() -> argparse.Namespace:
    made = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    made.add_argument("--shape", default="gpt2-small", choices=list(SHAPES))
    made.add_argument("--layers", type=int, help="a shallower model, to try things out")
    made.add_argument("--batches", nargs="+", type=int, default=[1, 8])
    made.add_argument("--kinds", nargs="+", default=["greedy", "sampling"], choices=list(KINDS))
    made.add_argument("--prompt", type=int, default=16, help="tokens of the prompt")
    made.add_argument("--new", type=int, default=128, help="tokens of the continuation")
    made.add_argument("--pairs", type=int, default=7)
    made.add_argument("--threads", type=int, help="default: as torch chooses")
    made.add_argument("--out", type=Path, help="also write the rows as JSON")
    return made.parse_args()


def measured(function: Callable[[], Tensor]) -> tuple[float, float, Tensor]:
    """Seconds by the clock, seconds of processor time, and the tokens."""
    start, start_cpu = time.perf_counter(), time.process_time()
    tokens = function()
    return time.perf_counter() - start, time.process_time() - start_cpu, tokens


def row(model: Any, peer: Any, kind: str, batch: int, chosen: argparse.Namespace) -> dict[str, Any]:
    """Both timed, call by call in turn."""
    drawing = KINDS[kind]
    generator = torch.Generator().manual_seed(batch)
    tokens = torch.randint(0, model.cfg.d_vocab, (batch, chosen.prompt), generator=generator)

    def ours() -> Tensor:
        given = {"generator": generator} if drawing["do_sample"] else {}
        return model.generate(tokens, chosen.new, stop_at_eos=False, **given, **drawing)

    def theirs() -> Tensor:
        return peer.generate(
            tokens,
            attention_mask=torch.ones_like(tokens),
            max_new_tokens=chosen.new,
            eos_token_id=None,
            pad_token_id=0,
            **{"top_k": 0, **drawing} if drawing["do_sample"] else drawing,
        )

    seen: dict[str, list[tuple[float, float, Tensor]]] = {"ours": [], "theirs": []}
    both = [("ours", ours), ("theirs", theirs)]
    for pair in range(chosen.pairs + 1):  # the first warms up
        for name, function in both if pair % 2 else both[::-1]:
            seen[name].append(measured(function))
    pairs = list(zip(seen["ours"][1:], seen["theirs"][1:], strict=True))
    n_tokens = batch * chosen.new
    same = [float((a[2] == b[2]).float().mean()) for a, b in pairs]
    return {
        "kind": kind,
        "batch": batch,
        "threads": torch.get_num_threads(),
        "pairs": chosen.pairs,
        "ours": n_tokens / statistics.median(a[0] for a, _ in pairs),
        "theirs": n_tokens / statistics.median(b[0] for _, b in pairs),
        "ratio": _quartiles([b[0] / a[0] for a, b in pairs]),
        "processor": _quartiles([b[1] / a[1] for a, b in pairs]),
        "same": min(same) if not drawing["do_sample"] else None,
    }


def _quartiles(ratios: list[float]) -> tuple[float, float, float]:
    """Median first, then the quartiles."""
    low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return middle, low, high


def _ratio(values: tuple[float, float, float]) -> str:
    return "{:.2f} ({:.2f}, {:.2f})".format(*values)


COLUMNS = [
    Column("how      ", lambda r: r["kind"]),
    Column("batch", lambda r: str(r["batch"])),
    Column("threads", lambda r: str(r["threads"])),
    Column("pairs", lambda r: str(r["pairs"])),
    Column("Cutaway, tokens/s", lambda r: f"{r['ours']:.1f}"),
    Column("transformers", lambda r: f"{r['theirs']:.1f}"),
    Column("ratio (quartiles) ", lambda r: _ratio(r["ratio"])),
    Column("processor time    ", lambda r: _ratio(r["processor"])),
    Column("same tokens", lambda r: "" if r["same"] is None else f"{r['same']:.0%}"),
]


def main() -> None:
    chosen = options()
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    import transformers

    transformers.logging.set_verbosity_error()
    shape = SHAPES[chosen.shape].with_layers(chosen.layers)
    state = random_weights(shape)
    model, peer = make_model(shape, state), huggingface_gpt2(shape, state)
    note(f"{machine()}; transformers {transformers.__version__}; {shape.name}, random weights")
    note(f"prompts of {chosen.prompt} tokens, {chosen.new} new ones")
    table = Table(COLUMNS)
    for kind in chosen.kinds:
        for batch in chosen.batches:
            table.add(row(model, peer, kind, batch, chosen))
    save(chosen.out, table.rows)


if __name__ == "__main__":
    main()
