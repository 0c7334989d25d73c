"""The findings in sentences. Each is chosen by a stated rule from what the record holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...views.numbers import number
from ...views.recorded import NOT_MEASURED, Recorded, interval_of
from .evolution import NEVER


def findings(results: Mapping[str, Any]) -> tuple[str, ...]:
    """The study in short, one sentence for each finding."""
    record = Recorded(results)
    return (
        capability(record),
        passages(record),
        circuit(record),
        roles(record),
        orders(record),
        reach(record),
        emergence(record),
        smallest(record),
        foretold(record),
        replicated(record),
    )


def count_clear(record: Recorded, path: str, above: float = 0.0) -> tuple[int, int, int]:
    """(models whose whole interval lies above, whose lies at or below, where it was measured)."""
    found = [interval_of(record.get(f"models/{at}/{path}")) for at in range(record.n_models)]
    there = [one for one in found if one is not None]
    high = sum(one.low > above for one in there)
    return high, sum(one.high <= above for one in there), len(there)


def capability(record: Recorded) -> str:
    """Whether A B ... A is completed."""
    clear, _, n = count_clear(record, "induction/one_repeat/above_bigram")
    values = _each(record, "induction/one_repeat/accuracy", share=True)
    chance = record.text("data/chance", share=True)
    if clear == n and n:
        verdict = "Every model completes"
    elif clear:
        verdict = f"{clear} of {n} models complete"
    else:
        verdict = "No model completes"
    return (
        f"{verdict} A B ... A with B more often than a bigram model does: accuracy {values}; "
        f"chance is {chance}."
    )


def passages(record: Recorded) -> str:
    """What it is worth to have read a passage before."""
    clear, dear, n = count_clear(record, "induction/passages/gain")
    values = _each(record, "induction/passages/gain")
    if clear == n and n:
        verdict = "In every model a passage costs less when it is read a second time"
    elif clear:
        verdict = f"In {clear} of {n} models a passage costs less when it is read a second time"
    else:
        verdict = "In no model does a passage clearly cost less when it is read a second time"
    dearer = f" (in {dear} it clearly costs more)" if dear else ""
    return f"{verdict}{dearer}: {values} nats per character gained."


def circuit(record: Recorded) -> str:
    """Which heads are suspected, and whether they matter."""
    parts = []
    for at, name in enumerate(record.names):
        heads = [row["head"] for row in record.get(f"models/{at}/induction/suspects") or []]
        lost = record.get(f"models/{at}/induction/one_repeat/where/ablation/p")
        tested = (
            "cannot be tested" if lost is None else f"p = {number(lost, 3)} beside random heads"
        )
        parts.append(f"{name}: {', '.join(heads) or 'none'} ({tested})")
    why = sorted(
        {str(record.get(f"models/{at}/induction/suspected_by")) for at in range(record.n_models)}
    )
    return f"Suspected induction heads, because {' or '.join(why)}: {'; '.join(parts)}."


def roles(record: Recorded) -> str:
    """How many heads have a class."""
    named = _each(record, "heads/share_named", share=True)
    random = _each(record, "heads/share_named_random/shuffled", share=True)
    alike = record.get("across/head_classes")
    tail = ""
    if alike is not None:
        tail = (
            " Counting all classes, those of copying as well, models overlap in class and layer "
            f"by {number(alike['overlap'], 2)}; with each model's heads dealt out to other layers "
            f"by {number(alike['shuffled_mean'], 2)} (p = {number(alike['p'], 3)})"
            f"{record.cite('across/head_classes')}."
        )
    return (
        f"A class of attention on random characters (uniform left out) is had by {named} of the "
        f"heads; with shuffled weights by {random}.{tail}"
    )


def orders(record: Recorded) -> str:
    """Which n-grams the lens is nearest to, early and late."""
    path = "prediction/orders/logit lens"
    first = _each(record, f"{path}/nearest_after_first_layer")
    last = _each(record, f"{path}/nearest_at_output")
    return (
        f"After the first layer the logit lens is nearest to n-grams of order {first}, at the "
        f"output to order {last}."
    )


def reach(record: Recorded) -> str:
    """Whether late layers depend more on what stands further back."""
    clear, less, n = count_clear(record, "prediction/reach/late_less_early")
    values = _each(record, "prediction/reach/late_less_early")
    beyond = record.get("models/0/prediction/reach/beyond")
    fewer = f" (less in {less})" if less else ""
    return (
        f"The output depends more than the first layer does on what stands more than {beyond} "
        f"characters back in {clear} of {n} models{fewer}: {values} nats more."
    )


def emergence(record: Recorded) -> str:
    """From which step on there are heads of the two classes."""
    found = []
    for kind in ("previous-token", "induction"):
        path = f"evolution/emerged/{kind}"
        models = range(record.n_models)
        values = [str(record.get(f"models/{at}/{path}")) for at in models]
        if values and all(value.startswith(NEVER) for value in values):
            scores = _each(record, f"evolution/steps/-1/{kind}/score/estimate")
            begins = record.text(f"models/0/evolution/steps/-1/{kind}/threshold")
            found.append(
                f"no head ever has the class {kind} (the highest scores in the end are {scores}; "
                f"the class begins at {begins})"
            )
        else:
            found.append(f"a head has the class {kind} from step {_each(record, path)}")
    return f"Over the training, {'; '.join(found)}."


def smallest(record: Recorded) -> str:
    """The smallest size that does it."""
    steps = record.get("sizes/n_steps")
    if steps is None:
        return f"Minimal size: {record.text('sizes/smallest')}."
    beats = record.get("sizes/smallest/beats_order") or {}
    orders = ", ".join(f"order {order}: {size}" for order, size in beats.items())
    return (
        f"After {steps:,} steps, the smallest size (layers x width) that completes A B ... A "
        f"better than bigrams: {record.text('sizes/smallest/above_bigram')}; that gains by having "
        f"read a passage: {record.text('sizes/smallest/gain')}; that predicts text better than "
        f"n-grams of {orders}."
    )


def foretold(record: Recorded) -> str:
    """Whether attention tells right answers from wrong ones."""
    parts = []
    for kind, words in (("one_repeat", "on A B ... A"), ("passages", "on passages read again")):
        own = _each(record, f"failures/{kind}/attention/auroc", digits=2)
        sure = ""
        if not own.startswith(NOT_MEASURED):
            confidence = _each(record, f"failures/{kind}/confidence/auroc", digits=2)
            sure = f", and by the model's confidence {confidence}"
        parts.append(f"{words} {own}{sure}")
    return (
        "How well the suspected heads' attention tells right answers from wrong ones (AUROC; 0.5 "
        f"is chance): {'; '.join(parts)}."
    )


def replicated(record: Recorded) -> str:
    """The share of findings that hold in all models."""
    n = record.get("replication/n_criteria")
    if n is None:
        return f"Replication: {record.text('replication/share_held')}."
    held, never = (record.get(f"replication/n_hold_{word}") for word in ("everywhere", "nowhere"))
    return (
        f"Of {n} criteria stated beforehand {held} hold in all {record.n_models} models "
        f"({record.text('replication/share_held', share=True)}), and {never} in none of them."
    )


def _each(record: Recorded, path: str, digits: int = 3, share: bool = False) -> str:
    """The value of every model; if all lack it, the first one's reason."""
    cite, cells = record.row("", path, digits, share)
    if cells and all(cell == NOT_MEASURED for cell in cells):
        return f"{NOT_MEASURED} ({record.why(f'models/0/{path}')}){cite}"
    return "; ".join(cells) + cite
