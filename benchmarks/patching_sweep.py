"""All heads patched one at a time: Cutaway's cone engine against TransformerLens 3.9.

Both run in this process, on the same random weights of GPT-2 small's shape, the same prompts and
the same metric, in pairs one after the other; the table gives medians and the ratios of the pairs.
TransformerLens is used as its documentation says: `get_act_patch_attn_head_out_all_pos`.

    make bench            (makes the environment that TransformerLens needs, then runs this)
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import platform
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from cutaway.model.config import ModelConfig
from cutaway.model.loading import hooked
from cutaway.model.transformer import HookedTransformer
from cutaway.patching.sweep import sweep
from cutaway.tasks.task import Task

N_PROMPTS, N_POS = 8, 15
SHAPE = {"n_layers": 12, "d_model": 768, "n_heads": 12, "d_vocab": 50257, "n_ctx": 1024}


def peer_model() -> Any:
    """TransformerLens' model with random weights."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        import transformer_lens

        cfg = transformer_lens.HookedTransformerConfig(
            **SHAPE, d_head=64, d_mlp=3072, act_fn="gelu_new", normalization_type="LN", seed=0
        )
        return transformer_lens.HookedTransformer(cfg).eval()


def task_with_difference_at(position: int, seed: int) -> Task:
    """Random prompts that differ at one position; the metric is read at the last one."""
    generator = torch.Generator().manual_seed(seed)

    def tokens(*shape: int) -> torch.Tensor:
        return torch.randint(0, SHAPE["d_vocab"], shape, generator=generator)

    clean = tokens(N_PROMPTS, N_POS)
    corrupted = clean.clone()
    corrupted[:, position] = tokens(N_PROMPTS)
    return Task.from_tokens(clean, corrupted, tokens(N_PROMPTS), tokens(N_PROMPTS))


def peer_sweep(model: Any, task: Task) -> np.ndarray:
    """The same sweep with TransformerLens: mean metric, [layer, head]."""
    from transformer_lens import patching

    def metric(logits: torch.Tensor) -> torch.Tensor:
        return task.metric(task.metric.read(logits)).mean()

    _, cache = model.run_with_cache(task.clean)
    with contextlib.redirect_stderr(io.StringIO()):  # its progress bar
        patched = patching.get_act_patch_attn_head_out_all_pos(model, task.corrupted, cache, metric)
    return patched.numpy()


def timed(function: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds, and what came back."""
    start = time.perf_counter()
    value = function()
    return time.perf_counter() - start, value


def matrix_product_rate() -> float:
    """The machine's rate on the products that the cone consists of, in FLOP/s."""
    x, weight = torch.randn(480, 768), torch.randn(768, 3072)
    seconds = [timed(lambda: x @ weight)[0] for _ in range(60)]
    return 2 * 480 * 768 * 3072 / statistics.median(seconds[10:])


def compare(ours: HookedTransformer, peer: Any, position: int, pairs: int) -> dict[str, Any]:
    """Pairs of runs at one first difference."""
    task = task_with_difference_at(position, seed=position)
    rate, mine, theirs, error = [], [], [], 0.0
    with FlopCounterMode(display=False) as counter:
        sweep(ours, task, "z")  # also the warm-up
    for _ in range(pairs):
        rate.append(matrix_product_rate())
        seconds, effects = timed(lambda: sweep(ours, task, "z"))
        mine.append(seconds)
        seconds, expected = timed(lambda: peer_sweep(peer, task))
        theirs.append(seconds)
        error = max(error, float(np.abs(effects.patched.mean(-1) - expected).max()))
    flop, best_rate = float(counter.get_total_flops()), statistics.median(rate)
    ratios = [b / a for a, b in zip(mine, theirs, strict=True)]
    return {
        "first_difference": position,
        "cutaway_seconds": statistics.median(mine),
        "transformer_lens_seconds": statistics.median(theirs),
        "ratio": statistics.median(ratios),
        "ratios": ratios,
        "cone_gflop": flop / 1e9,
        "matrix_product_gflops": best_rate / 1e9,
        "share_of_matrix_product_rate": flop / statistics.median(mine) / best_rate,
        "largest_difference_of_means": error,
    }


def main() -> None:
    """Print the table; with --out also write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--positions", type=int, nargs="+", default=[10, 1])
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_grad_enabled(False)
    peer = peer_model()
    weights = hooked.load(peer.state_dict(), ModelConfig(**SHAPE), "TransformerLens")
    ours = HookedTransformer.from_state(weights.cfg, weights.state)
    rows = []
    print(
        f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, torch "
        f"{torch.__version__}, float32; GPT-2 small's shape, {N_PROMPTS} prompts of {N_POS} tokens"
    )
    for position in options.positions:
        row = compare(ours, peer, position, options.pairs)
        rows.append(row)
        print(
            f"first difference at {position:>2}: Cutaway {row['cutaway_seconds']:.2f} s, "
            f"TransformerLens {row['transformer_lens_seconds']:.1f} s, ratio {row['ratio']:.1f} "
            f"(pairs {', '.join(f'{r:.1f}' for r in row['ratios'])}); "
            f"{row['cone_gflop']:.0f} GFLOP at {row['share_of_matrix_product_rate']:.0%} of "
            f"{row['matrix_product_gflops']:.0f} GFLOP/s; "
            f"largest difference {row['largest_difference_of_means']:.1e}"
        )
    if options.out is not None:
        options.out.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
