"""Finding 1 of FINDINGS.md: induction."""

from __future__ import annotations

from collections.abc import Mapping

from ...views.recorded import NOT_MEASURED, Recorded, shown
from . import sentences as say
from .markdown import of_models, picture, table

Figures = Mapping[str, str]
LENS = "prediction/orders/logit lens"


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
            "larger model may change it."
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
