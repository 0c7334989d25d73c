"""The models and findings 2 to 4 of FINDINGS.md; `document_induction` has the first."""

from __future__ import annotations

from collections.abc import Mapping

from ...views.numbers import number
from ...views.recorded import NOT_MEASURED, Recorded, shown
from . import sentences as say
from .markdown import of_models, picture, table

Figures = Mapping[str, str]
LENS = "prediction/orders/logit lens"


def models(record: Recorded) -> str:
    """The models, and what their sizes come to."""
    shape = of_models(
        record,
        [
            ("layers", "shape/n_layers", 0, False),
            ("heads per layer", "shape/n_heads", 0, False),
            ("width", "shape/d_model", 0, False),
            ("context (characters)", "shape/n_ctx", 0, False),
            ("vocabulary (characters)", "shape/d_vocab", 0, False),
            ("weights", "n_parameters", 0, False),
            ("training steps", "training/n_steps", 0, False),
            ("sequences per step", "training/batch_size", 0, False),
            ("loss on held-out text (nats per character)", "loss", 3, False),
        ],
        "model",
    )
    orders = record.get("data/ngram_loss") or {}
    counted = table(
        ["n-gram model of order", *orders],
        [["loss", *(record.text(f"data/ngram_loss/{order}") for order in orders)]],
    )
    return (
        "## Models analysed\n\n"
        f"{shape}\n\n"
        f"The text is {record.text('data/origin')}: {record.text('data/n_trained')} characters "
        f"were trained on, and {record.text('data/n_held_out')} held out. Losses are means over "
        "windows of held-out text, from the character on at which every n-gram model has all that "
        f"it looks at. Beside them, counting on the same text:\n\n{counted}\n\n"
        "The template gives 6 layers, 6 heads, width 384, context 128 and 65 characters as about "
        f"2.5 million weights. Those sizes make {record.text('parameters/of_document_sizes')}; "
        f"{record.text('parameters/of_width_that_fits')} weights come with width "
        f"{record.text('parameters/width_that_fits')}."
    )


def specialisation(record: Recorded, figures: Figures) -> str:
    """Finding 2."""
    rows = of_models(
        record,
        [
            ("heads", "heads/n_heads", 0, False),
            ("share with a class of attention, uniform left out", "heads/share_named", 3, True),
            ("of heads with shuffled weights", "heads/share_named_random/shuffled", 3, True),
            ("of heads with fresh weights", "heads/share_named_random/fresh", 3, True),
            ("difference to shuffled weights", "heads/named_above_random", 3, False),
            ("heads whose places can be judged", "heads/generality/n_judged", 0, False),
            ("generality of these (0 one place, 1 all alike)", "heads/generality/mean", 2, False),
            ("share that is specialised (below 0.5)", "heads/generality/specialised", 3, True),
        ],
        "measure",
    )
    classes = []
    for at, name in enumerate(record.names):
        for kind, heads in (record.get(f"models/{at}/heads/classes") or {}).items():
            if heads:
                classes.append([name, kind, ", ".join(heads)])
        for kind, heads in (record.get(f"models/{at}/heads/text_heads") or {}).items():
            classes.append([name, f"in text: looks at {kind}", ", ".join(heads)])
    cite = record.cite("models/*/heads/classes") + record.cite("models/*/heads/text_heads")
    again = record.get("models/0/heads/place_scores_again") or {}
    stable = ", ".join(
        f"{name} {number(value, 2)}" for name, value in again.items() if value is not None
    )
    alike = "across/head_classes"
    return (
        "## Finding 2: what heads specialise in\n\n"
        "**Hypothesis.** Heads specialise: some look at the character before, some at positions, "
        "some at kinds of characters.\n\n"
        "**Method.** Every head is scored on random characters (where only the head itself can "
        "make a pattern) and has a class if the lower end of its interval is above a threshold "
        "that was set on hand-written heads. Models of the same shape with fresh and with "
        "shuffled weights are scored beside it. In held-out text, attention to blanks, capitals "
        "and equal characters counts beyond what the same pattern gives to another window's "
        "characters.\n\n"
        f"**Result.** {say.roles(record)}\n\n{rows}\n\n"
        f"The taxonomy{cite}:\n\n"
        f"{table(['model', 'class', 'heads'], classes) if classes else 'No head has a class.'}"
        f"{picture(figures, 'head_scores')}\n\n"
        "**Stability.** The same model on other prompts, correlation of scores over heads: "
        f"{stable or NOT_MEASURED}{record.cite('models/0/heads/place_scores_again')}. Over "
        f"seeds, all classes and layers overlap by {record.text(f'{alike}/overlap', 2)}, and by "
        f"{record.text(f'{alike}/shuffled_mean', 2)} if each model's heads are dealt out to other "
        f"layers (p = {record.text(f'{alike}/p')})."
    )


def prediction(record: Recorded, figures: Figures) -> str:
    """Finding 3."""
    return (
        "## Finding 3: how the prediction forms from layer to layer\n\n"
        "**Hypothesis.** Early layers know bigrams, late layers what stands further back.\n\n"
        "**Method.** The logit lens reads each layer's prediction at every character of held-out "
        "text. It is held against n-gram models of order 1 up, fitted on the training text: "
        "KL(lens ‖ n-grams), in nats, from the character on at which every order has its whole "
        "context; the nearest order is that of the smallest mean. A tuned lens repeats it, since "
        "the logit lens may misread early layers. The second part of the claim is tested "
        "directly: characters further back than the last few are exchanged for another window's, "
        "and the change of each layer's prediction is measured.\n\n"
        f"**Result.** {say.orders(record)} {say.reach(record)}\n\n"
        f"{_nearest(record)}{picture(figures, 'lens_and_ngrams')}\n\n"
        f"{_reach(record)}{picture(figures, 'reach')}\n\n"
        f"{_kinds(record)}"
    )


def _nearest(record: Recorded) -> str:
    lines = []
    for at, name in enumerate(record.names):
        for lens in record.get(f"models/{at}/prediction/orders") or {}:
            base = f"models/{at}/prediction/orders/{lens}"
            nearest = record.get(f"{base}/nearest")
            if nearest is None:
                continue
            cells = [f"{one['order']} ({one['low']} to {one['high']})" for one in nearest]
            lines.append([f"{name}, {lens}", *cells])
    points = record.get("models/0/prediction/points") or []
    cite = record.cite("models/*/prediction/orders/*/nearest")
    tuned = record.get("models/0/prediction/orders/tuned lens/nearest")
    tail = ""
    if tuned is None:
        why = record.why("models/0/prediction/orders/tuned lens")
        tail = f"\n\nTuned lens: {NOT_MEASURED} ({why})."
    return (
        f"The nearest order after each layer{cite}, in brackets where 95% of the resamples of "
        f"windows put it:\n\n{table(['', *points], lines)}{tail}"
    )


def _reach(record: Recorded) -> str:
    lines = []
    beyond = record.get("models/0/prediction/reach/beyond")
    for at, name in enumerate(record.names):
        row = record.get(f"models/{at}/prediction/reach/kl/{beyond}")
        if row is not None:
            lines.append([name, *(shown(one) for one in row)])
    points = record.get("models/0/prediction/points") or []
    cite = record.cite(f"models/*/prediction/reach/kl/{beyond}")
    return (
        f"What is lost of each layer's prediction when all but the last {beyond} characters are "
        f"another window's, in nats{cite}:\n\n{table(['', *points], lines)}"
    )


def _kinds(record: Recorded) -> str:
    kinds = record.get("models/0/prediction/convergence/kinds") or {}
    rows = [(f"on {kind}", f"prediction/convergence/kinds/{kind}", 2, False) for kind in kinds]
    random = ("random weights, held-out text", "prediction/convergence/random_weights", 2, False)
    return (
        "Layers after which the model's first choice stands, by kind of text (one more than all "
        f"layers where it never does):\n\n{of_models(record, [*rows, random], 'layers')}"
    )


def new_findings(record: Recorded, figures: Figures) -> str:
    """Finding 4."""
    return (
        "## Finding 4: four further questions\n\n"
        f"### How do circuits change over the training?\n\n{say.emergence(record)}\n\n"
        f"{_steps(record)}{picture(figures, 'evolution')}\n\n"
        f"### How small may a model be?\n\n{say.smallest(record)}\n\n{_sizes(record)}\n\n"
        "### How robust are findings over seeds?\n\n"
        f"{say.replicated(record)} The table is under Reproducibility.\n\n"
        f"### Do circuit measures foretell failures?\n\n{say.foretold(record)}\n\n"
        f"{_failures(record)}"
    )


def _steps(record: Recorded) -> str:
    lines = []
    for at, name in enumerate(record.names):
        rows = record.get(f"models/{at}/evolution/steps") or []
        for row in rows[:: max(1, len(rows) // 6)]:
            cells = [shown(row["loss"]), shown(row["accuracy"], share=True), shown(row["gain"])]
            scores = [
                f"{shown(row[kind]['score'])} ({row[kind]['head']})"
                for kind in ("previous-token", "induction")
            ]
            lines.append([name, f"{row['step']:,}", *cells, *scores])
    if not lines:
        return f"{record.text('models/0/evolution/steps')}"
    cite = record.cite("models/*/evolution/steps")
    heads = ["model", "step", "loss", "A B ... A", "passage gain", "previous-token", "induction"]
    return f"Some of the steps that were kept{cite}:\n\n{table(heads, lines)}"


def _sizes(record: Recorded) -> str:
    rows = record.get("sizes/rows")
    if not rows:
        return record.text("sizes/rows")
    lines = [
        [
            row["size"],
            f"{row['n_parameters']:,}",
            shown(row["loss"]),
            str(row["beats_order"]),
            shown(row["accuracy"], share=True),
            shown(row["above_bigram"]),
            shown(row["gain"]),
            f"{shown(row['induction']['score'])} ({row['induction']['head']})",
        ]
        for row in rows
    ]
    heads = [
        "size",
        "weights",
        "loss",
        "beats order",
        "A B ... A",
        "less bigrams",
        "passage gain",
        "induction",
    ]
    return (
        f"{table(heads, lines)}\n\nOne seed each{record.cite('sizes/rows')}. Beats order: the "
        "highest order of n-grams whose loss on the same text is clearly higher; 0 is none."
    )


def _failures(record: Recorded) -> str:
    rows = []
    for kind, words in (("one_repeat", "A B ... A"), ("passages", "passages read again")):
        for name in ("attention", "confidence"):
            base = f"failures/{kind}/{name}"
            rows.append((f"{words}: AUROC of {name}", f"{base}/auroc", 2, False))
            rows.append(("with right and wrong dealt out at random", f"{base}/shuffled", 2, False))
    return of_models(record, rows, "measure")
