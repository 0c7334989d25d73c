"""The fast mode: the sweep over all heads in bfloat16 beside the same in float32, in pairs.

The time in bfloat16 contains the float32 sample by which each call measures its own error.

    .venv/bin/python benchmarks/bfloat16.py
"""

from __future__ import annotations

import argparse
import statistics

import numpy as np

from common import SHAPES, Prompts, machine, random_weights, timed
from cutaway.patching.sweep import sweep
from ours import make_model, make_task


def main() -> None:
    """Print both times, their ratio, and the error that was measured."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", default="gpt2-small", choices=list(SHAPES))
    parser.add_argument("--pairs", type=int, default=5)
    options = parser.parse_args()
    shape = SHAPES[options.shape]
    model = make_model(shape, random_weights(shape))
    task = make_task(Prompts.random(shape, 8, 15, 10))
    sweep(model, task, "z", precision="bfloat16")  # warm-up
    times = []
    for _ in range(options.pairs):
        slow, exact = timed(lambda: sweep(model, task, "z"))
        fast, rounded = timed(lambda: sweep(model, task, "z", precision="bfloat16"))
        times.append((slow, fast))
    ratios = sorted(slow / fast for slow, fast in times)
    slow, fast = (statistics.median(column) for column in zip(*times, strict=True))
    change = np.abs(exact.per_prompt)
    error = rounded.settings["bfloat16_error"]
    print(
        f"{machine()}\n{shape.name} with random weights, 8 prompts of 15 tokens, difference at 10"
    )
    print(f"float32 {slow:.2f} s, bfloat16 {fast:.2f} s, ratio {statistics.median(ratios):.2f}")
    print(f"pairs {', '.join(f'{ratio:.2f}' for ratio in ratios)}")
    print(f"changes of the metric: mean {change.mean():.4f}, largest {change.max():.4f}")
    print(f"error, sampled: {error}")
    print(f"error, all: {np.sqrt(((rounded.patched - exact.patched) ** 2).mean()):.5f} rms")


if __name__ == "__main__":
    main()
