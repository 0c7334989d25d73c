"""Writes tracr_previous_token.json: a compiled program, with what Tracr's own model says.

The program is ours: at every position the token before it. Run it where Tracr is installed:

    make test-tracr  # sets the environment up, and tests
    .venv-tracr/bin/python tests/data/make_tracr.py
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
from tracr.compiler.compiling import compile_rasp_to_model
from tracr.rasp import rasp

from cutaway.files import write_text

VOCABULARY = ("a", "b", "c")
LONGEST = 4


def previous_token() -> Any:
    """The token one position before; at the first position nothing is selected."""
    before = rasp.Map(lambda index: index - 1, rasp.indices).named("before")
    one_back = rasp.Select(rasp.indices, before, rasp.Comparison.EQ).named("one_back")
    return rasp.Aggregate(one_back, rasp.tokens).named("previous")


def all_inputs(vocabulary: tuple[str, ...], longest: int) -> list[list[str]]:
    """Every sequence of 1 to `longest` tokens."""
    lengths = range(1, longest + 1)
    return [list(p) for n in lengths for p in itertools.product(vocabulary, repeat=n)]


def as_data(program: Any, assembled: Any) -> dict[str, Any]:
    """All that the loader reads, and for every input what Tracr's own model decodes; the streams
    of the longest inputs that start with "a"."""
    config = assembled.model_config
    names = ("num_heads", "num_layers", "key_size", "mlp_hidden_size", "layer_norm", "causal")
    expected = []
    for tokens in all_inputs(VOCABULARY, LONGEST):
        said = assembled.apply([assembled.input_encoder.bos_token, *tokens])
        row: dict[str, Any] = {"tokens": tokens, "decoded": said.decoded[1:]}
        if len(tokens) == LONGEST and tokens[:2] == ["a", "b"]:
            row["residuals"] = [rounded(stream[0]) for stream in said.residuals]
        expected.append(row)
    return {
        "made_by": "tests/data/make_tracr.py with tracr-pypi 1.0.0",
        "output": program.label,
        "config": {name: getattr(config, name) for name in names},
        "residual_labels": assembled.residual_labels,
        "inputs": assembled.input_encoder.encoding_map,
        "bos": assembled.input_encoder.bos_token,
        "outputs": assembled.output_encoder.encoding_map,
        "params": {
            module: {key: rounded(value) for key, value in weights.items()}
            for module, weights in assembled.params.items()
        },
        "expected": expected,
    }


def rounded(values: Any) -> Any:
    """As nested lists, to seven digits; whole numbers without their point."""
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim:
        return [rounded(row) for row in numbers]
    number = float(f"{numbers:.7g}")
    return int(number) if number.is_integer() else number


def main() -> None:
    """Compile, run on all inputs, write."""
    program = previous_token()
    assembled = compile_rasp_to_model(program, set(VOCABULARY), LONGEST, causal=True)
    file = Path(__file__).parent / "tracr_previous_token.json"
    text = json.dumps(as_data(program, assembled), separators=(",", ":"))
    write_text(file, text + "\n")
    print(f"{file.name}: {len(text) / 1000:.0f} kB")


if __name__ == "__main__":
    main()
