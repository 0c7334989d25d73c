"""The positive control of finding 1: the same tests on a model that has induction heads."""

from __future__ import annotations

from ...evidence import proportion
from ...model.transformer import HookedTransformer
from . import localise
from .induction import PARTNERS, answer_lens, answers_right, suspect_row, suspects
from .prompts import longest_sequence, one_repeat, without_first
from .record import Record
from .settings import ShakespeareSettings
from .specialisation import find_heads

NAME = "induction-2l"
_LENGTH = 24


def control(settings: ShakespeareSettings, record: Record) -> None:
    """Accuracy, layers, heads and ablation on A B ... A of words, in the embedded model.

    If these tests found nothing here, finding nothing elsewhere would say nothing.
    """
    model = HookedTransformer.from_pretrained(NAME, device=settings.device)
    seed, memory = settings.seed, settings.max_memory
    length = min(_LENGTH, longest_sequence(model))
    task = one_repeat(model, settings.n_prompts, length, seed)
    found = find_heads(model, settings, None)
    chosen, why = suspects(found)
    record.put("model", model.cfg.model_name)
    record.put("digest", model.digest)
    for name, tokens in (
        ("accuracy", None),
        ("accuracy_without_first", without_first(task, model, seed)),
    ):
        right = answers_right(model, task, tokens)
        record.put(name, proportion(int(right.sum()), len(right)))
    record.put("suspected_by", why)
    record.put("suspects", [suspect_row(model, task, found, head, seed) for head in chosen])
    answer_lens(model, task, record.at("lens"), seed)
    with record.attempt("where") as inside:
        localise.behaviour(model, task, inside, seed)
        localise.layers(model, task, inside, seed, memory)
        localise.heads(model, task, inside, seed, memory)
        inside.put(
            "ablation",
            localise.taken_out(
                model, task, chosen, settings.n_random, seed, memory, found.of_class(PARTNERS)
            ),
        )
