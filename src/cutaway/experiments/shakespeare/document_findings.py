"""The four findings of FINDINGS.md."""

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


def induction(record: Recorded, figures: Figures) -> str:
    """Finding 1."""
    one = "induction/one_repeat"
    capability = of_models(
        record,
        [
            ("accuracy on A B ... A", f"{one}/accuracy", 3, True),
            ("a bigram model on the same prompts", f"{one}/accuracy_bigram", 3, True),
            ("an n-gram model of the highest order", f"{one}/accuracy_ngram", 3, True),
            (
                "the model, A's first place taken by another",
                f"{one}/accuracy_without_first",
                3,
                True,
            ),
            ("accuracy less that of bigrams", f"{one}/above_bigram", 3, False),
            ("probability of B", f"{one}/probability", 3, False),
            (
                "passage: loss after another passage",
                "induction/passages/loss_after_another",
                3,
                False,
            ),
            ("passage: loss when read again", "induction/passages/loss_again", 3, False),
            ("passage: nats gained", "induction/passages/gain", 3, False),
        ],
        "test",
    )
    return (
        "## Finding 1: induction\n\n"
        "**Hypothesis.** Small character models learn induction heads, as larger models do "
        "(Olsson et al. 2022).\n\n"
        "**Method.** Sequences of different characters, drawn without replacement, end with one "
        "of them, A, for the second time; B is what came after it. Chance is "
        f"{record.text('data/chance', share=True)}. Since such sequences are unlike any text, a "
        "passage of held-out text read twice is a second test. Layers and heads are patched "
        "exactly, one at a time, between prompts in which B and another character have changed "
        "places. Heads are scored on random characters of their own, and are taken out of the "
        "prompts A B ... A beside random sets of as many (heads of the class previous-token, which "
        "induction heads read from, are in none).\n\n"
        f"### Does it?\n\n{say.capability(record)} {say.passages(record)}\n\n{capability}\n\n"
        f"An example: after `{_visible(record.get(f'models/0/{one}/example'))}` comes "
        f"`{_visible(record.get(f'models/0/{one}/example_answer'))}`.\n\n"
        f"{_repeats(record)}\n\n"
        f"{_control(record)}\n\n"
        f"### Which layers\n\n{_layers(record)}{picture(figures, 'induction_patching_effects')}\n\n"
        f"### Which heads\n\n{_suspects(record)}{picture(figures, 'induction_attention')}\n\n"
        f"### When the prediction forms\n\n{_lens(record)}"
        f"{picture(figures, 'induction_logit_lens')}\n\n"
        f"### Beside the literature\n\n{_literature(record)}\n\n"
        f"### What follows\n\n{_follows(record)}"
    )


def _visible(text: object) -> str:
    return str(text).replace("\n", "↵").replace("`", "'")


def _repeats(record: Recorded) -> str:
    rows = record.get("models/0/induction/by_repeats/rows")
    if not rows:
        return f"More of a sequence repeated: {record.text('models/0/induction/by_repeats/rows')}."
    cite = record.cite("models/*/induction/by_repeats/rows")
    lines = []
    for at, name in enumerate(record.names):
        for row in record.get(f"models/{at}/induction/by_repeats/rows") or []:
            cells = [shown(row[key], share=True) for key in ("accuracy", "control", "bigram")]
            lines.append([name, str(row["repeated"]), *cells])
    heads = ["model", "characters repeated", "accuracy", "other first half", "bigrams"]
    return (
        f"The more of a random sequence of {rows[0]['half_length']} characters has come again, the "
        f"plainer it is that it does{cite}:\n\n{table(heads, lines)}"
    )


def _control(record: Recorded) -> str:
    where = "control/where"
    heads = ", ".join(row["head"] for row in record.get("control/suspects") or []) or NOT_MEASURED
    return (
        "**Would these tests find it?** The control is the embedded model "
        f"{record.text('control/model')}, which was trained to have induction heads, on the same "
        "prompts of words. It completes "
        f"{record.text('control/accuracy', share=True)} of them, and "
        f"{record.text('control/accuracy_without_first', share=True)} when A's first place is "
        "taken by another word. The attention layer that patching finds is "
        f"{record.text(f'{where}/strongest_attention_layer')}; the suspects are {heads}"
        f"{record.cite('control/suspects')}, without which the answer loses "
        f"{record.text(f'{where}/ablation/lost')} of logit difference, and without random heads "
        f"{record.text(f'{where}/ablation/random_mean')} "
        f"(p = {record.text(f'{where}/ablation/p')})."
    )


def _layers(record: Recorded) -> str:
    lines = []
    kinds = (
        ("A B ... A", "induction/one_repeat/where"),
        ("passage read again", "induction/passages/where"),
        ("far context", "prediction/far_context"),
    )
    for words, path in kinds:
        for at, name in enumerate(record.names):
            key = record.get(f"models/{at}/{path}/key_layers")
            if key is None:
                lines.append([words, name, f"{NOT_MEASURED}: {record.why(f'models/{at}/{path}')}"])
                continue
            cite = record.cite(f"models/*/{path}/key_layers")
            named = [
                f"{row['site']} of layer {row['layer']}: {shown(row['effect'])}" for row in key
            ]
            lines.append([words + cite, name, "; ".join(named) or "no layer's effect matters"])
    return (
        "The share of the difference between clean and corrupted prompts that one layer's "
        "attention or MLP brings back (all positions); the four largest that matter. Far context "
        "is held-out text whose next character n-grams of a higher order foretell and those above "
        "do not, against the same ending after another window's text. Where a model does not tell "
        "the two apart, there is no difference to bring back.\n\n"
        f"{table(['prompts', 'model', 'key layers'], lines)}"
    )


def _suspects(record: Recorded) -> str:
    lines = []
    for at, name in enumerate(record.names):
        base = f"models/{at}/induction"
        for row in record.get(f"{base}/suspects") or []:
            lines.append(
                [
                    name,
                    row["head"],
                    shown(row["score"]),
                    shown(row["looks_at_b"]),
                    ", ".join(row["classes"]) or "none",
                ]
            )
    cite = record.cite("models/*/induction/suspects")
    by_chance = record.text("models/0/induction/suspects/0/by_chance")
    uniform = record.text("models/0/induction/suspects/0/uniform")
    heads = ["model", "head", "induction score", "attention from END to B", "classes"]
    where = "induction/one_repeat/where/ablation"
    tested = of_models(
        record,
        [
            ("A B ... A: lost without the suspects", f"{where}/lost", 3, False),
            ("lost without random heads, mean", f"{where}/random_mean", 3, False),
            ("share of random sets that lose as much (p)", f"{where}/p", 3, False),
            (
                "passages: lost without the suspects",
                "induction/passages/where/ablation/lost",
                3,
                False,
            ),
            ("random heads, mean", "induction/passages/where/ablation/random_mean", 3, False),
            ("p", "induction/passages/where/ablation/p", 3, False),
        ],
        "taken out",
    )
    return (
        f"{say.circuit(record)}\n\n"
        f"{table(heads, lines)}\n\n"
        f"Scores{cite} are attention to what came after the query's character the first time; "
        f"uniform attention has {by_chance}, and from END to B {uniform}.\n\n{tested}"
    )


def _lens(record: Recorded) -> str:
    return of_models(
        record,
        [
            ("first layer that gives B more than 50%", "induction/lens/first_above_half", 0, False),
            ("share of prompts where it never has 50%", "induction/lens/share_never_half", 3, True),
            (
                "layers until the model's own answer stands",
                "induction/lens/converged_after",
                2,
                False,
            ),
            ("probability of B, layer by layer", "induction/lens/answer", 3, False),
            ("of the other prompts' answers", "induction/lens/shuffled", 3, False),
        ],
        "logit lens",
    )


def _literature(record: Recorded) -> str:
    rows = []
    published = {
        "step at which induction heads emerge": (
            "evolution/emerged/induction",
            "about 2,000 to 5,000",
        ),
        "depth of the strongest attention layer (0 first, 1 last)": (
            "induction/one_repeat/where/strongest_attention_depth",
            "middle to late layers",
        ),
        "heads with the class induction": ("heads/n_induction", "1 to 2 per model"),
    }
    for words, (path, theirs) in published.items():
        label, cells = record.row(words, path, 2)
        rows.append([label, *cells, theirs])
    return (
        table(["measure", *record.names, "as the template cites Olsson et al. (2022)"], rows)
        + "\n\nThe last column is the template's and was not checked here. Steps of other models, "
        "batches and texts are not the same unit."
    )


def _follows(record: Recorded) -> str:
    high, _, n = say.count_clear(record, "induction/one_repeat/above_bigram")
    gain, _, m = say.count_clear(record, "induction/passages/gain")
    n_heads = [record.get(f"models/{at}/heads/n_induction") or 0 for at in range(record.n_models)]
    formed = sum(one > 0 for one in n_heads)
    if high == n and n:
        first = "These models do induction on characters that they never saw in such an order."
    elif high == 0 and gain == 0:
        first = (
            "At this size, on this text and for this long, no induction can be seen in behaviour. "
            "An absence is an absence for these models alone: more training, a longer context or a "
            "larger model may change it, which the sweep of sizes below asks."
        )
    else:
        first = (
            "The two tests do not agree in all models: copying from a passage and completing "
            "random characters are not one ability here."
        )
    return (
        f"{first} Heads with the class induction formed in {formed} of {record.n_models} models; "
        f"A B ... A is completed in {high} of {n}, and a passage is worth reading before in {gain} "
        f"of {m}.\n\n"
        "For safety the use is narrow and plain. Whether the formation of a circuit can be "
        f"foretold was asked here by watching it: {say.emergence(record)} Whether a failure can "
        f"be foretold from a circuit: {say.foretold(record)} Nothing here speaks of deception; "
        "models of this size have nothing to deceive with."
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
        f"{stable or NOT_MEASURED}{record.cite('models/0/heads/place_scores_again')}. Over seeds, "
        f"classes and layers overlap by {record.text(f'{alike}/overlap', 2)}, and by "
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
