"""`direct_attribution`: what each component writes straight to the answer's logits.

Direct logit attribution takes the logits of one run apart, with the final norm's scale frozen
(Elhage et al. 2021, on the path expansion of logits): readout.py has the equation.
Nothing is changed in the model, so nothing answers to a change.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..array_files import Array
from ..model.transformer import HookedTransformer
from ..patching.effects import Axis
from ..patching.measure import Progress, TellMemory
from ..tasks.task import Task
from .answers import Tokens, controls, next_tokens
from .components import By, Component, Kind, parts_of, read_parts, together
from .contributions import Contributions
from .readout import (
    FrozenReadout,
    Reading,
    Run,
    check_choice,
    check_sum,
    origin_of,
    plan,
    reading_of,
)


@dataclass(frozen=True, eq=False)
class DirectAttribution(Contributions):
    """What each component adds to the answer by itself: `values` [component, prompt], in logits.

    The components add up to the answer as the model's own logits have it, for every prompt.

    Example:
        >>> found = ca.direct_attribution(model, task)
        >>> found.top(5)
        >>> found.grid("head").mean(-1)  # [layer, head]
    """

    kind: ClassVar[str] = "a direct attribution"

    by: By = "component"
    """What is listed one by one; the rest is listed in groups."""

    @cached_property
    def components(self) -> tuple[Component, ...]:
        """In the order of the first axis."""
        return tuple(map(Component.called, self.axes[0].labels))

    def of(self, name: str) -> Float[Array, " prompt"]:
        """The contribution of the component of this name.

        Raises:
            ValueError: there is none.
        """
        if name not in self.axes[0].labels:
            shown = ", ".join(self.axes[0].labels[:6])
            raise ValueError(f"there is no component {name!r}; there are {shown}, ...")
        found: Array = self.values[self.axes[0].labels.index(name)]
        return found

    def places(self, kind: Kind) -> list[int]:
        """Which components are of a kind, by their number."""
        return [i for i, one in enumerate(self.components) if one.kind == kind]

    def grid(
        self, kind: Literal["head", "neuron"] = "head", control: str | None = None
    ) -> Float[Array, "layer unit prompt"]:
        """The contributions of all heads or neurons by layer.

        Args:
            kind: which.
            control: of one of the controls, by its name.

        Raises:
            ValueError: they are not listed one by one.
        """
        places = self.places(kind)
        if not places:
            raise ValueError(f"{kind}s are not listed one by one here: attribute with by={kind!r}.")
        values = self.values if control is None else self.controls[control]
        layers = len({self.components[place].layer for place in places})
        return values[places].reshape(layers, -1, values.shape[-1])


@torch.no_grad()
def direct_attribution(
    model: HookedTransformer,
    task: Task,
    by: By = "component",
    *,
    run: Run = "clean",
    toward: Tokens | None = None,
    against: Tokens | None = None,
    centred: bool = False,
    seed: int = 0,
    max_memory: int | None = None,
    progress: Progress | None = None,
    tell_memory: TellMemory | None = None,
) -> DirectAttribution:
    """What each component writes directly to the answer, in logits, where the metric reads.

    A component that wrote x_c to the stream contributes x_c . g / scale, with the final norm's
    scale of this very run (Elhage et al. 2021). The final norm's and the unembedding's biases, b_O
    and b_out are components of their own; b_V is part of what heads write, since attention adds up
    to 1. The sum over components is checked against the model's logits.

    Args:
        model: without hooks attached.
        task: its clean or corrupted prompts are run, and read where its metric reads (END, of
            all tasks by name); over several positions the mean is taken.
        by: what is listed one by one. "component": embeddings, every head, every MLP, every
            layer's biases. "layer": each layer as one. "head", "mlp", "neuron": these, with
            everything else in groups.
        run: which prompts; the answers are the clean prompts' for both.
        toward: tokens whose mean logit is attributed, in place of the metric: one for all (" Mary"
            or a number), a list for all, or for each prompt one (task.correct) or a list.
        against: tokens whose mean logit is subtracted from it.
        centred: whether each logit counts less the mean logit of all tokens, which moves no
            probability. Differences do not change by it.
        seed: of the controls: answers of other prompts, and random tokens.
        max_memory: bytes that may be used; None means a quarter of what is free.
        progress: called with the share that is done, between 0 and 1.
        tell_memory: called before anything is run, with the bytes that will be held at most
            beside the weights.

    Returns:
        Contributions [component, prompt], positive where they speak for the answer. Of a logit
        margin the largest rival of each prompt is held.

    Raises:
        ValueError: an unknown `by` or `run`; a metric that is not linear in the logits, without
            `toward`; hooks attached; too little memory; components that do not add up.

    Example:
        >>> heads = ca.direct_attribution(model, task, by="head")
        >>> print(*heads.top(3), sep="\\n")
        >>> one_logit = ca.direct_attribution(model, task, toward=task.correct)
    """
    check_choice("by", by, get_args(By))
    reading = reading_of(model, task, run, toward, against, centred, seed)
    samples = Axis("prompt", tuple(map(str, range(len(task)))))
    made_of = origin_of(task, run, seed)
    return _attributed(model, reading, by, samples, made_of, max_memory, progress, tell_memory)


@torch.no_grad()
def direct_attribution_of_text(
    model: HookedTransformer,
    text: str | Int[Tensor, " pos"],
    by: By = "component",
    *,
    centred: bool = False,
    seed: int = 0,
    max_memory: int | None = None,
) -> DirectAttribution:
    """What each component writes to the logit of the next token, at every position of a text.

    Args:
        model: without hooks attached.
        text: text, which BOS goes before if the model wants it, or tokens.
        by: as in `direct_attribution`.
        centred: whether the logit counts less the mean logit of all tokens.
        seed: of the controls.
        max_memory: bytes that may be used; None means a quarter of what is free.

    Returns:
        Contributions [component, position]; the labels of `samples` are the tokens predicted, the
        first of them at position 0. Intervals take positions for independent, which they are not
        quite.

    Raises:
        ValueError: fewer than two tokens; an unknown `by`; components that do not add up.

    Example:
        >>> found = ca.direct_attribution_of_text(model, "The cat sat on the mat.", by="layer")
        >>> found.values[:, 3]  # who predicts the token at position 4
    """
    check_choice("by", by, get_args(By))
    tokens = (model.to_tokens(text)[0] if isinstance(text, str) else text).to(model.device)
    if tokens.ndim != 1 or len(tokens) < 2:
        raise ValueError(
            f"a text of the shape {tuple(tokens.shape)} has no next token to attribute: give [pos] "
            "with at least two tokens."
        )
    answer = next_tokens(tokens, centred)
    positions = torch.arange(len(tokens) - 1)
    answers = [answer, *controls(answer, model.cfg.d_vocab, 1, seed)]
    reading = Reading(tokens[None], positions[None], answers, together=1)
    names = model.to_str_tokens(tokens) if model.tokenizer is not None else tokens.tolist()
    samples = Axis("position", tuple(map(str, names[1:])))
    return _attributed(model, reading, by, samples, {"seed": seed}, max_memory, None, None)


def _attributed(
    model: HookedTransformer,
    reading: Reading,
    by: By,
    samples: Axis,
    made_of: dict[str, Any],
    max_memory: int | None,
    progress: Progress | None,
    tell_memory: TellMemory | None,
) -> DirectAttribution:
    """Batch by batch; the samples are prompts, or all rows of a single one."""
    parts = list(parts_of(model, by))
    labels = [name for part in parts for name in part.names]
    names = tuple(dict.fromkeys(labels))
    batches = plan(model, reading, len(labels), 0, max_memory, tell_memory)
    found, totals, errors = [], [], []
    for prompts, batch in reading.batches(batches.prompts_per_batch):
        readout = FrozenReadout(model, batch)
        rows, whole = read_parts(readout, parts)
        values = together(rows, labels, names)  # [component, answer, sample]
        errors.append(check_sum(values.sum(0), whole, readout.rounding(), "the components"))
        found.append(values)
        totals.append(whole)
        if progress is not None:
            progress(prompts.stop / len(reading.tokens))
    values = np.concatenate(found, -1)
    return DirectAttribution(
        axes=(Axis("component", names),),
        samples=samples,
        values=values[:, 0],
        controls={one.name: values[:, i] for i, one in enumerate(reading.answers) if i},
        total=np.concatenate(totals, -1)[0],
        residual_error=np.concatenate(errors, -1)[0],
        answer=reading.answers[0].name,
        settings={"model": model.cfg.model_name, **made_of, "predicted_bytes": batches.peak},
        by=by,
    )
