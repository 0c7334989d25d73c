"""The method section of FINDINGS.md, what was hard, replication, and what stays open."""

from __future__ import annotations

from ...views.recorded import NOT_MEASURED, Recorded, interval_of, shown
from . import sentences as say
from .criteria import UNDECIDED, UNKNOWN
from .markdown import table

_LEVEL = 0.05
_ROUNDING = 1e-4


def methods(record: Recorded) -> str:
    """Effectiveness, cost and robustness of the three methods."""
    cost = "methods/cost"
    about = (
        f"on {record.text(f'{cost}/n_prompts')} prompts of "
        f"{record.text(f'{cost}/n_positions')} characters, {record.text(f'{cost}/n_layers')} "
        f"layers, {record.text(f'{cost}/threads')} threads of {record.text(f'{cost}/device')}; "
        f"a plain run takes {record.text(f'{cost}/ms_per_layer/plain_run', 2)} ms per layer"
    )
    return (
        "## Methods: do they work here?\n\n"
        f"Costs are milliseconds per layer {about}. Median of several, with the least and the "
        "most.\n\n"
        f"{_patching(record)}\n\n{_attention(record)}\n\n{_lens(record)}"
    )


def _patching(record: Recorded) -> str:
    found = "methods/patching/found_elsewhere"
    p = record.get(f"{found}/p")
    verdict = NOT_MEASURED if p is None else ("yes" if p < _LEVEL else "no")
    alike = "across/patching"
    return (
        "### Activation patching\n\n"
        f"- **Finds components that matter: {verdict}.** The heads that patching puts first on "
        f"some prompts ({record.text(f'{found}/heads')}), taken out on others, cost "
        f"{record.text(f'{found}/lost')} of logit difference; random heads "
        f"{record.text(f'{found}/random_mean')} on average (p = {record.text(f'{found}/p')}).\n"
        f"- **Cost:** {record.text('methods/cost/ms_per_layer/patching_layer', 2)} ms per layer "
        "for one part of every layer, "
        f"{record.text('methods/cost/ms_per_layer/patching_heads', 2)} for every head.\n"
        "- **Robustness over seeds:** effects of layers correlate between models by "
        f"{record.text(f'{alike}/mean_correlation', 2)} "
        f"(least {record.text(f'{alike}/least', 2)}).\n"
        "- **Lesson:** patching takes apart a difference between two runs. Where the model does "
        "not tell clean from corrupted prompts there is nothing to take apart, and any number "
        "would be noise; the study then prints none."
    )


def _attention(record: Recorded) -> str:
    worst = record.get("methods/attention/worst_row_sum")
    ahead = record.get("methods/attention/most_ahead")
    known = worst is not None and ahead is not None
    verdict = ("yes" if worst < _ROUNDING and ahead == 0 else "no") if known else NOT_MEASURED
    base = "methods/attention/categories"
    return (
        "### Attention analysis\n\n"
        f"- **Patterns are read reliably: {verdict}.** Rows of attention differ from 1 by at most "
        f"{_tiny(worst)}{record.cite('methods/attention/worst_row_sum')}, and what lies ahead of "
        f"the query has at most {_tiny(ahead)}{record.cite('methods/attention/most_ahead')}.\n"
        f"- **Accuracy of the categories:** {record.text(f'{base}/accuracy', share=True)} of the "
        "decisions on heads that were written by hand, in models that no threshold was set on; "
        f"{record.text(f'{base}/found', share=True)} of the classes that are there were found, and "
        f"{record.text(f'{base}/false', share=True)} of those that are not were given. Learned "
        "heads are less pure than written ones.\n"
        "- **Figures:** the report shows scores, patterns and effects to point at; how good they "
        "are is for readers to say, and no number here claims it.\n"
        f"- **Cost:** {record.text('methods/cost/ms_per_layer/attention', 2)} ms per layer, the "
        "run counted.\n"
        "- **Lesson:** where a head looks does not say what it does. "
        f"{say.circuit(record)}"
    )


def _tiny(value: float | None) -> str:
    return NOT_MEASURED if value is None else f"{value:.1e}"


def _lens(record: Recorded) -> str:
    path = "prediction/orders/logit lens/falls_at_every_layer"
    falls = [record.get(f"models/{at}/{path}") for at in range(record.n_models)]
    verdict = "yes" if falls and all(falls) else "in part" if any(falls) else "no"
    reads = _apart(record)
    return (
        "### Logit lens\n\n"
        f"- **Shows the prediction forming: {verdict}.** The lens comes nearer to the output with "
        f"every layer in {sum(map(bool, falls))} of {len(falls)} models"
        f"{record.cite(f'models/*/{path}')}.\n"
        f"- **Convergence means something: {reads}.** Layers until the first choice stands, on "
        f"held-out text: {record.text('models/0/prediction/convergence/kinds/held-out text', 2)}; "
        "with random weights "
        f"{record.text('models/0/prediction/convergence/random_weights', 2)}.\n"
        f"- **Cost:** {record.text('methods/cost/ms_per_layer/lens', 2)} ms per layer, the run "
        "counted.\n"
        f"- **Lesson:** {_misread(record)}"
    )


def _apart(record: Recorded) -> str:
    """Whether the model converges at another depth than one with random weights."""
    base = "models/0/prediction/convergence"
    own = interval_of(record.get(f"{base}/kinds/held-out text"))
    random = interval_of(record.get(f"{base}/random_weights"))
    if own is None or random is None:
        return NOT_MEASURED
    return "yes" if own.high < random.low or own.low > random.high else "no"


def _misread(record: Recorded) -> str:
    base = "models/0/prediction/orders"
    plain, tuned = (f"{base}/{name}/kl_to_output/1" for name in ("logit lens", "tuned lens"))
    return (
        "the logit lens reads early layers in the basis of the last one. After the first layer it "
        f"is {record.text(plain)} nats from the output; a tuned lens reads the same stream at "
        f"{record.text(tuned)}."
    )


def challenges(record: Recorded) -> str:
    """What was hard, what was done, and what came of it in numbers."""
    near = "models/0/prediction"
    beyond = record.get(f"{near}/reach/beyond")
    return (
        "## What was hard\n\n"
        "1. **Random characters are unlike any text.** A model may fail A B ... A for want of "
        "practice and copy all the same. So passages of held-out text, read twice, are a second "
        "test. What came: accuracy "
        f"{record.text('models/0/induction/one_repeat/accuracy', share=True)} on the first, and "
        f"{record.text('models/0/induction/passages/gain')} nats gained on the second.\n"
        "2. **Nearest n-gram orders may be the lens's fault.** So a tuned lens repeats the "
        "comparison, and the dependence on what stands further back is tested by exchanging it: "
        f"beyond {beyond} characters it moves the output by "
        f"{record.text(f'{near}/reach/kl/{beyond}/-1')} nats, and the first layer's prediction by "
        f"{record.text(f'{near}/reach/kl/{beyond}/1')}.\n"
        "3. **A highest head always exists.** So every set of suspected heads stands beside random "
        "sets of as many, and classes beside models with random weights: "
        f"{record.text('models/0/heads/share_named_random/shuffled', share=True)} of their heads "
        "have a class."
    )


def reproducibility(record: Recorded) -> str:
    """Every criterion in every model; the share that holds everywhere; limits."""
    rows = record.get("replication/criteria") or []
    lines = []
    for row in rows:
        cells = [
            verdict if value is None else f"{verdict}: {shown(value)}"
            for verdict, value in zip(row["verdicts"], row["observed"], strict=True)
        ]
        lines.append([str(row["finding"]), row["statement"], row["expected"], *cells])
    heads = ["finding", "criterion", "expected", *record.names]
    per_model = record.get("replication/per_model") or []
    counts = "; ".join(
        f"{name}: {one['held']} hold, {one['missed']} do not, {one['undecided']} undecided, "
        f"{one['not_measured']} not measured"
        for name, one in zip(record.names, per_model, strict=True)
    )
    return (
        "## Reproducibility\n\n"
        "The criteria stand in `experiments/shakespeare/criteria.py`, written down before the "
        "study was first run. One with an interval is decided only where the "
        "whole interval says the same.\n\n"
        f"{table(heads, lines)}\n\n"
        f"By model: {counts}{record.cite('replication/per_model')}.\n\n"
        f"**Consistency:** {record.text('replication/share_held', share=True)} of the criteria "
        "hold in every model. Of those that could be measured in every model, "
        f"{record.text('replication/share_same', share=True)} came out the same in all of them, "
        "whichever way.\n\n"
        "### Limits\n\n"
        f"- **Size:** {record.text('models/0/n_parameters')} weights; what larger models do is "
        "another question.\n"
        "- **Text:** one author; n-grams and models saw the same "
        f"{record.text('data/n_trained')} characters.\n"
        f"- **Training:** {record.text('models/0/training/n_steps')} steps; longer training may "
        "bring what is missing here.\n"
        "- **Tools:** patching is exact; the lens assumes that early layers write in the last "
        "one's basis; classes of heads are those of attention alone.\n"
        f"- **Seeds:** {record.n_models} models; three show what varies, and not how often.\n\n"
        "### The same again\n\n"
        "```bash\n"
        f"{(record.get('about') or {}).get('command', 'cutaway run shakespeare')}\n"
        "```"
    )


def open_questions(record: Recorded) -> str:
    """What the criteria leave undecided, and what would decide it."""
    rows = record.get("replication/criteria") or []
    undecided = [row["statement"] for row in rows if UNDECIDED in row["verdicts"]]
    unknown = [
        (row["statement"], next(why for why in row["reasons"] if why))
        for row in rows
        if UNKNOWN in row["verdicts"]
    ]
    lines = [f"- Undecided in some model, more prompts would tell: {one}." for one in undecided]
    lines += [f"- Not measured in some model: {one} ({why})." for one, why in unknown]
    lines.append(
        "- Other texts, longer contexts, and sparse features of the stream are not part of this "
        "study; circuits edge by edge are searched by `cutaway run circuit`."
    )
    return "## What stays open\n\n" + "\n".join(lines)
