"""What steering did, in words. Every sentence is chosen by a stated rule."""

from __future__ import annotations

from ..evidence import Interval, proportion
from .numbers import interval_text, number, percent
from .steering_data import SteeringReportData

_FEW_PROMPTS = 20
_LOW_AGREEMENT = 0.3
_COSTLY = 0.5  # nats per token


def findings(data: SteeringReportData) -> tuple[str, ...]:
    """Success beside chance, the cost, the prompts that go the wrong way."""
    found = [unsteered(data), success(data), verdict(data)]
    if data.other is not None:
        found.append(
            "The vector to another token, as long, makes it say the target in "
            f"{interval_text(data.other, share=True)} of them."
        )
    return (*found, cost(data), wrong_way(data), elsewhere(data))


def unsteered(data: SteeringReportData) -> str:
    """How often it says the target by itself."""
    base = data.response.base_top
    said = proportion(int(base.sum()), base.size)
    return (
        f"Without steering, {data.target} is the top token in {interval_text(said, share=True)} "
        f"of {base.size} prompts."
    )


def place(data: SteeringReportData) -> str:
    """The chosen place, as in "layer 2 at END, coefficient 1"."""
    position, layer, coefficient = data.place
    where = "at all positions" if position == "all" else f"at {position}"
    return f"layer {layer} {where}, coefficient {number_of(coefficient)}"


def success(data: SteeringReportData) -> str:
    """How often it says the target at the chosen place."""
    found = data.tested.success(*data.place[1:])
    return (
        f"Steered in {place(data)}, it says the target in {interval_text(found, share=True)} of "
        f"the {found.n} prompts that the place was not chosen on."
    )


def verdict(data: SteeringReportData) -> str:
    """The vector beside random directions of equal norm at the same place."""
    control, found = data.control, data.tested.success(*data.place[1:])
    n = len(control.each)
    beside = (
        f"{n} random directions of equal norm there: {percent(control.mean)} on average, "
        f"{percent(control.largest)} the luckiest"
        if n > 1
        else f"A random direction of equal norm there: {percent(control.mean)}"
    )
    if found.estimate == 0:
        return f"{beside}. The vector does nothing of what was wanted, at any place measured."
    if found.low > control.largest:
        return f"{beside}. The vector does more than chance."
    return (
        f"{beside}. The interval of the vector's share does not exclude what chance reaches: this "
        "does not show that the direction matters."
    )


def cost(data: SteeringReportData) -> str:
    """What neutral text pays."""
    layer, coefficient = data.place[1:]
    kl = data.tested.mean_cost(layer, coefficient)
    loss = data.tested.mean_cost(layer, coefficient, of="loss")
    return (
        f"The same steering costs neutral text {interval_text(loss)} nats of loss per token "
        f"(KL {interval_text(kl)}), from the steered token on; unsteered its loss is "
        f"{number(float(data.tested.base_loss.mean()))}."
    )


def wrong_way(data: SteeringReportData) -> str:
    """How many prompts move against the sign of the coefficient."""
    there: Interval = data.tested.wrong_way(*data.place[1:])
    shift = data.tested.mean_shift(*data.place[1:])
    return (
        f"The logit difference of target and answer moves by {interval_text(shift, 1)} there; "
        f"{interval_text(there, share=True)} of the prompts move the wrong way."
    )


def elsewhere(data: SteeringReportData) -> str:
    """The best layer and coefficient of every other position."""
    parts = []
    for position, response in data.responses.items():
        if position == data.place[0]:
            continue
        shares = response.success_map()
        i, j = divmod(int(shares.argmax()), shares.shape[1])
        where = (
            f"layer {response.layers[i]}, coefficient {number_of(response.coefficients[j])}"
            if shares.max() > 0
            else "anywhere"
        )
        parts.append(f"at {position} at most {percent(float(shares.max()))} ({where})")
    return f"Elsewhere, on all prompts: {'; '.join(parts)}." if parts else ""


def warnings(data: SteeringReportData) -> tuple[str, ...]:
    """What is shaky about it."""
    found = list(data.notes)
    n = len(data.tested.base_difference)
    if n < _FEW_PROMPTS:
        found.append(
            f"The place was chosen on half of the prompts and tested on the other {n}: few."
        )
    layer, coefficient = data.place[1:]
    kl = data.tested.mean_cost(layer, coefficient).estimate
    if kl > _COSTLY:
        found.append(
            f"The steering is not gentle: with a KL of {number(kl)} nats per token it changes what "
            "the model says of anything."
        )
    low = [at for at, value in data.agreement.items() if value < _LOW_AGREEMENT]
    if low:
        found.append(
            "The pairs hardly agree on a direction (mean cosine with their mean: "
            f"{number(min(data.agreement.values()))}): their mean stands for none of them."
        )
    return tuple(found)


def number_of(coefficient: float) -> str:
    """A coefficient, without needless zeros.

    Example:
        >>> number_of(-0.5), number_of(2.0)
        ('−0.5', '2')
    """
    return f"{coefficient:g}".replace("-", "\N{MINUS SIGN}")
