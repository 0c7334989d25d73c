"""Load what Tracr compiles: RASP programs as transformers whose graph is known.

Tracr (Lindner et al. 2023, arXiv:2301.05062) turns a program in RASP (Weiss et al. 2021) into
weights. Every direction of its residual stream has a label, so what each part reads and writes can
be said in words, and the edges in the weights are the program's own. The weights are copied as they
are: same basis, same order of layers, the same output at every position.

Tracr itself is not imported here: `from_tracr` takes what its compiler returns, or anything with
the same attributes. docs/methods/tracr.md says how to install it and compile a program.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...model.config import ModelConfig, NumberFormat
from ...model.transformer import HookedTransformer
from ...patching.graph import Graph, Receiver, Sender
from .in_weights import circuit_in_weights

_GIVEN = ("tokens", "indices")  # what every program is given, and none has as its output


class AssembledModel(Protocol):
    """What is used of Tracr's `AssembledTransformerModel`."""

    params: Mapping[str, Mapping[str, Any]]
    """Weights by the name of their module."""
    model_config: Any
    """num_heads, num_layers, key_size, mlp_hidden_size, activation_function, layer_norm, causal."""
    residual_labels: Sequence[str]
    """The direction of each coordinate of the stream, as "tokens:a" or "fraction_1"."""
    input_encoder: Any
    """Its encoding_map says which number each token has; bos_token is what goes first."""
    output_encoder: Any
    """The same of the outputs; without encoding_map where they are numbers."""


@dataclass(frozen=True, eq=False)
class TracrModel:
    """A compiled program: a model, its vocabulary, and the edges that the program consists of.

    Example:
        >>> compiled = from_tracr(assembled, output=program.label)  # doctest: +SKIP
        >>> logits = compiled.model(compiled.encode(["abba"]))  # doctest: +SKIP
        >>> compiled.decode(logits)  # doctest: +SKIP
        [['a', 'a', 'b', 'b']]
    """

    name: str
    """What it is called in reports."""
    model: HookedTransformer
    """It has no tokenizer: `encode` makes its tokens."""
    labels: tuple[str, ...]
    """The name of each coordinate of the residual stream."""
    inputs: tuple[Any, ...]
    """The token of each number, with the BOS and the padding that Tracr adds. Its models do not
    mask padding, so prompts of one call are of one length."""
    outputs: tuple[Any, ...] | None
    """What each of the first logits stands for; None: the first logit is the output, a number."""
    bos: Any
    """The token that goes first."""
    reads: dict[str, tuple[str, ...]]
    """For each receiver ("1.0.q", "mlp0", "logits"), the labels that what it does depends on."""
    writes: dict[str, tuple[str, ...]]
    """For each sender ("embed", "1.0", "mlp0"), the labels that it can write."""
    written: frozenset[str]
    """The edges in the weights on a way from the embedding to the logits: the program's circuit."""

    def encode(self, prompts: Sequence[Sequence[Any]]) -> Int[Tensor, "prompt pos"]:
        """Token numbers, with BOS in front.

        Args:
            prompts: lists of tokens, or strings of one-character tokens, all of one length.

        Raises:
            ValueError: no prompts, prompts of several lengths or too long, or an unknown token.
        """
        lengths = {len(prompt) for prompt in prompts}
        if len(lengths) != 1:
            raise ValueError(
                f"prompts have the lengths {sorted(lengths)}: give some, of one length."
            )
        (length,), longest = lengths, self.model.cfg.n_ctx - 1
        if length > longest:
            raise ValueError(
                f"a prompt has {length} tokens and {self.name} was compiled for {longest}: compile "
                f"it with max_seq_len={length}."
            )
        number = {token: i for i, token in enumerate(self.inputs)}
        for token in {token for prompt in prompts for token in prompt} - number.keys():
            raise ValueError(f"{token!r} is not a token of {self.name}: {self.inputs}.")
        rows = [[number[token] for token in (self.bos, *prompt)] for prompt in prompts]
        return torch.tensor(rows, device=self.model.device)

    def decode(self, logits: Float[Tensor, "prompt pos d_vocab"]) -> list[list[Any]]:
        """The program's output at every position after BOS.

        Of symbols the one with the largest logit; where the program leaves its output open (it
        selects nothing, and has no default) all are about 0, and the answer means nothing.
        """
        values = logits[:, 1:].detach().cpu().numpy()
        if self.outputs is None:
            return [[float(value) for value in row] for row in values[..., 0]]
        best = values[..., : len(self.outputs)].argmax(-1)
        return [[self.outputs[i] for i in row] for row in best]

    def answer(self, value: Any) -> int:
        """The number of an output among the logits, as a task's answer token.

        Raises:
            ValueError: the program has no such output, or its output is a number.
        """
        if self.outputs is None:
            raise ValueError(f"the output of {self.name} is a number: it is the first logit.")
        if value not in self.outputs:
            raise ValueError(f"{value!r} is not an output of {self.name}: {self.outputs}.")
        return self.outputs.index(value)


@torch.no_grad()
def from_tracr(
    assembled: AssembledModel,
    output: str | None = None,
    name: str = "tracr",
    *,
    dtype: NumberFormat = "float32",
    device: str = "cpu",
) -> TracrModel:
    """A program that Tracr has compiled, as our decoder, with its graph.

    Args:
        assembled: what Tracr's `compile_rasp_to_model(..., causal=True)` returns.
        output: `program.label`. Tracr keeps its unembedding out of the parameters, so the label
            says which coordinates are the output. None: they are found where only one variable
            fits, besides the tokens and indices that every program is given.
        name: of the model.
        dtype: number format of the weights.
        device: where the model lies.

    Raises:
        ValueError: a model that attends to later tokens, has norms or another activation; an
            output that no coordinate, or more than one label, could be; a missing or misshapen
            parameter.

    Example:
        >>> assembled = compile_rasp_to_model(  # doctest: +SKIP
        ...     program, vocab={"a", "b"}, max_seq_len=5, causal=True
        ... )
        >>> from_tracr(assembled, output=program.label).written  # doctest: +SKIP
    """
    _check(assembled)
    labels = tuple(str(label) for label in assembled.residual_labels)
    inputs = _values(assembled.input_encoder)
    outputs = _values(assembled.output_encoder)
    columns = _output_columns(labels, outputs, output)
    model = HookedTransformer(_config(assembled, len(columns), name, dtype), init_weights=False)
    _copy_weights(model, assembled, columns)
    graph = Graph(model.cfg)
    return TracrModel(
        name=name,
        model=model.to(device),
        labels=labels,
        inputs=inputs or (),
        outputs=outputs,
        bos=assembled.input_encoder.bos_token,
        reads={one.name: _named(labels, _read(model, one)) for one in graph.receivers},
        writes={one.name: _named(labels, _written(model, one).T) for one in graph.senders},
        written=circuit_in_weights(model),
    )


def _check(assembled: AssembledModel) -> None:
    config = assembled.model_config
    if not config.causal:
        raise ValueError(
            "the compiled model attends to later tokens (causal=False), and this decoder cannot: "
            "compile the program with causal=True; it then sees only what came before."
        )
    if config.layer_norm:
        raise ValueError("the compiled model has layer norms, which Tracr's compiler never makes.")
    points = np.array([-1.0, 0.0, 2.0], dtype=np.float32)
    if not np.array_equal(np.asarray(config.activation_function(points)), points.clip(min=0)):
        raise ValueError(
            "the compiled model's activation is not ReLU, as Tracr's compiler makes it."
        )
    if _values(assembled.input_encoder) is None or assembled.input_encoder.bos_token is None:
        raise ValueError("the compiled model's input_encoder has no encoding_map or no bos_token.")


def _values(encoder: Any) -> tuple[Any, ...] | None:
    """What each number stands for; None of an encoder of numbers."""
    encoding = getattr(encoder, "encoding_map", None)
    return None if encoding is None else tuple(sorted(encoding, key=encoding.__getitem__))


def _output_columns(
    labels: tuple[str, ...], outputs: tuple[Any, ...] | None, output: str | None
) -> list[int]:
    """The coordinates of the stream that are the output, in the order of the logits."""
    if outputs is None:  # a number: one coordinate
        fitting = [label for label in labels if ":" not in label and label != "one"]
    else:
        end = f":{outputs[0]}"
        variables = [label.removesuffix(end) for label in labels if label.endswith(end)]
        fitting = [v for v in variables if all(f"{v}:{value}" in labels for value in outputs)]
        fitting = [v for v in fitting if v not in _GIVEN]
    if output is None and len(fitting) != 1:
        raise ValueError(
            f"the output could be any of {fitting}: give output=program.label to say which."
        )
    chosen = fitting[0] if output is None else output
    names = [chosen] if outputs is None else [f"{chosen}:{value}" for value in outputs]
    missing = [name for name in names if name not in labels]
    if missing:
        raise ValueError(f"output={output!r}: the stream has no {missing[0]!r}, only {labels}.")
    return [labels.index(name) for name in names]


def _config(
    assembled: AssembledModel, n_outputs: int, name: str, dtype: NumberFormat
) -> ModelConfig:
    tokens = _array(assembled, "token_embed", "embeddings")
    positions = _array(assembled, "pos_embed", "embeddings")
    config = assembled.model_config
    return ModelConfig(
        n_layers=int(config.num_layers),
        d_model=len(assembled.residual_labels),
        n_heads=int(config.num_heads),
        d_head=int(config.key_size),
        d_mlp=int(config.mlp_hidden_size),
        # Tokens and outputs are numbered apart in Tracr, and we have one vocabulary: the longer
        # one. What is added has embeddings and logits of 0.
        d_vocab=max(len(tokens), n_outputs),
        n_ctx=len(positions),
        act_fn="relu",
        normalization_type=None,
        dtype=dtype,
        model_name=name,
    )


def _copy_weights(model: HookedTransformer, assembled: AssembledModel, columns: list[int]) -> None:
    cfg = model.cfg
    d_model, n_heads, d_head = cfg.d_model, cfg.n_heads, cfg.d_head

    def array(module: str, key: str, *shape: int) -> Tensor:
        return torch.from_numpy(_array(assembled, module, key, shape))

    tokens = array(
        "token_embed", "embeddings", len(_values(assembled.input_encoder) or ()), d_model
    )
    model.embed.W_E.zero_()
    model.embed.W_E[: len(tokens)] = tokens
    model.pos_embed.W_pos.copy_(array("pos_embed", "embeddings", cfg.n_ctx, d_model))
    model.unembed.W_U.zero_()
    model.unembed.W_U[columns, range(len(columns))] = 1
    for layer, block in enumerate(model.blocks):
        attention, at = block.attn, f"transformer/layer_{layer}/attn"
        for letter, part in (("Q", "query"), ("K", "key"), ("V", "value")):
            weight = array(f"{at}/{part}", "w", d_model, n_heads * d_head)
            bias = array(f"{at}/{part}", "b", n_heads * d_head)
            per_head = weight.unflatten(1, (n_heads, d_head)).transpose(0, 1)
            getattr(attention, f"W_{letter}").copy_(per_head)  # [head, d_model, d_head]
            getattr(attention, f"b_{letter}").copy_(bias.unflatten(0, (n_heads, d_head)))
        out = array(f"{at}/linear", "w", n_heads * d_head, d_model)
        attention.W_O.copy_(out.unflatten(0, (n_heads, d_head)))
        attention.b_O.copy_(array(f"{at}/linear", "b", d_model))
        mlp, at = block.mlp, f"transformer/layer_{layer}/mlp"
        mlp.W_in.copy_(array(f"{at}/linear_1", "w", d_model, cfg.d_mlp))
        mlp.b_in.copy_(array(f"{at}/linear_1", "b", cfg.d_mlp))
        mlp.W_out.copy_(array(f"{at}/linear_2", "w", cfg.d_mlp, d_model))
        mlp.b_out.copy_(array(f"{at}/linear_2", "b", d_model))


def _array(
    assembled: AssembledModel, module: str, key: str, shape: tuple[int, ...] | None = None
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """One parameter, as a copy in float64."""
    try:
        found = np.array(assembled.params[module][key], dtype=np.float64)
    except KeyError:
        raise ValueError(f"the compiled model has no parameter {module!r} {key!r}.") from None
    if shape is not None and found.shape != shape:
        raise ValueError(
            f"the parameter {module!r} {key!r} has the shape {found.shape}, not {shape}."
        )
    return found


def _named(labels: tuple[str, ...], rows: Float[Tensor, "d_model any"]) -> tuple[str, ...]:
    """The labels of the coordinates that are not exactly 0, as in Tracr's basis they are."""
    return tuple(label for label, row in zip(labels, rows, strict=True) if row.any())


def _written(model: HookedTransformer, sender: Sender) -> Float[Tensor, "any d_model"]:
    """Rows whose sums are all that a sender can write, beside its biases."""
    if sender.kind == "embed":
        written: Tensor = model.W_E_pos
    elif sender.kind == "mlp":
        written = model.blocks[sender.layer].mlp.W_out
    else:
        attention = model.blocks[sender.layer].attn
        written = attention.W_V[sender.head] @ attention.W_O[sender.head]
    return written


def _read(model: HookedTransformer, receiver: Receiver) -> Float[Tensor, "d_model any"]:
    """Columns that hold all that a receiver's result depends on."""
    if receiver.kind == "logits":
        return model.W_U
    if receiver.kind == "mlp":
        read: Tensor = model.blocks[receiver.layer].mlp.W_in
        return read
    attention, head = model.blocks[receiver.layer].attn, receiver.head
    read = {
        "q": attention.W_Q[head] @ attention.W_K[head].T,
        "k": attention.W_K[head] @ torch.cat([attention.W_Q[head], attention.b_Q[head, None]]).T,
        "v": attention.W_V[head] @ attention.W_O[head],
    }[receiver.kind]
    return read
