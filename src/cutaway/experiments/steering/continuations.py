"""Texts continued as they are, steered, and pushed in a random direction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from ...model.transformer import HookedTransformer
from ...steering.applied import applied
from ...steering.response import DoseResponse
from ...steering.vectors import SteeringVector, random_like
from ...views.steering_data import Continuation, chosen_place
from .settings import SteerSettings
from .vectors import Aim

_SHOWN = 4  # prompts that are continued, where no text is given


@dataclass(frozen=True)
class _Text:
    """What is continued: its tokens, which prompt's vector it gets, where it is steered."""

    tokens: Int[Tensor, " pos"]
    prompt: int
    where: Any


@torch.no_grad()
def continuations(
    model: HookedTransformer, aim: Aim, responses: dict[str, DoseResponse], settings: SteerSettings
) -> tuple[Continuation, ...]:
    """Some prompts, or the texts that were given, continued greedily at the chosen place.

    Raises:
        ValueError: a text that leaves no room for another token.
    """
    if model.tokenizer is None:
        return ()
    position, layer, coefficient = chosen_place(responses)
    response = responses[position]
    how = {
        "layer": layer,
        "coefficient": coefficient,
        "site": settings.site,
        "operation": settings.operation,
        "norm": response.norms[response.layers.index(layer)] if response.norms else None,
    }
    vector = aim.vectors[layer]
    pushes = (None, vector, random_like(vector, 1, settings.seed)[0])
    found = []
    for text in _texts(model, aim, position, settings):
        room = min(settings.new_tokens, model.cfg.n_ctx - len(text.tokens))
        if room < 1:
            raise ValueError(
                f"a text of {len(text.tokens)} tokens leaves no room in the context of "
                f"{model.cfg.model_name}, which is {model.cfg.n_ctx}: give a shorter --text."
            )
        said = [_continued(model, text, push, how, room) for push in pushes]
        shown = model.get_tokenizer().decode(text.tokens.tolist(), skip_special_tokens=True)
        found.append(Continuation(shown, *said))
    return tuple(found)


def _texts(
    model: HookedTransformer, aim: Aim, position: str, settings: SteerSettings
) -> list[_Text]:
    """Prompts are steered where they were measured; texts at their last token, or at all."""
    if settings.text:
        where: Any = "all" if position == "all" else -1
        return [_Text(model.to_tokens(text)[0], 0, where) for text in settings.text]
    task, found = aim.task, []
    for prompt in range(min(_SHOWN, len(task))):
        tokens = task.clean[prompt, : int(task.lengths[prompt])]
        if position == "all":
            # What was measured is the prompt under steering; what follows is left to the model.
            at: Any = "prompt"
        elif position.isdecimal():
            at = int(position)
        else:
            at = int(task.positions[position][prompt])
        found.append(_Text(tokens, prompt, at))
    return found


def _continued(
    model: HookedTransformer,
    text: _Text,
    push: SteeringVector | None,
    how: dict[str, Any],
    n_new: int,
) -> str:
    tokens = text.tokens[None]
    if push is None:
        new = model.generate(tokens, n_new, temperature=0, return_type="tokens")
    else:
        own = push.subset([text.prompt])
        with applied(model, own, positions=text.where, **how):
            new = model.generate(tokens, n_new, temperature=0, return_type="tokens")
    row = new[0, len(text.tokens) :].tolist()
    return str(model.get_tokenizer().decode(row, skip_special_tokens=True))
