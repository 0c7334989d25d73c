# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 17 · The Shakespeare findings
#
# This project began with documents, and one of them was a report with nothing in it: four findings on small models of Shakespeare, all headings and methods written, and every number *TBD*. It is an honest document and a dangerous one. A text that already knows what it is going to say will find numbers that fit.
#
# `cutaway run shakespeare` filled it. This notebook loads what it found ([FINDINGS.md](../docs/findings/FINDINGS.md)), follows single numbers back to where they come from, and repeats a small part on the models that come with the package. No cell has a number of the study in it: all are looked up, so the notebook stays right when the study is run again, and so the text between the cells says how to read, not what came.
#
# **What you will know afterwards**
#
# - what a blank needs before it may be filled: a range stated beforehand, a control where the answer is known, an interval, several seeds, and an address for the number;
# - why *no*, *undecided* and *not measured* are three different answers, and how to say something exact with the second;
# - how we know that a test would find induction if it were there, and how a control can fail silently;
# - how to hold every layer of a model against n-grams, and what that ruler does to the answer;
# - what a share of findings that replicate is worth.
#
# **Time:** about 50 minutes; the cells run in less than a minute on one core, offline. Read before: [10](10_heads_and_induction_heads.ipynb) (induction heads) and [12](12_logit_lens.ipynb) (the lens). Method cards: [ngrams.md](../docs/methods/ngrams.md), [heads.md](../docs/methods/heads.md), [logit-lens.md](../docs/methods/logit-lens.md), [ablation.md](../docs/methods/ablation.md), [evidence.md](../docs/methods/evidence.md). How the study is run: [docs/findings/README.md](../docs/findings/README.md).

# %%
MODEL = "shakespeare-small"  # or the folder of a character model of your own
DATA = None  # or "shakespeare", which is fetched once, or the path of a copy: see section 11

# %%
import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from course import Log, Markdown, check, show, table

import cutaway as ca
from cutaway.evidence import bootstrap_mean, paired_difference, proportion
from cutaway.evidence.power import minimum_detectable_effect
from cutaway.experiments.shakespeare import localise, sentences
from cutaway.experiments.shakespeare.criteria import verdict
from cutaway.experiments.shakespeare.failures import failures
from cutaway.experiments.shakespeare.induction import answers_right, counted_right, suspects
from cutaway.experiments.shakespeare.material import Material, open_material
from cutaway.experiments.shakespeare.prediction import lens_probabilities, nearest_order
from cutaway.experiments.shakespeare.prompts import (
    longest_sequence,
    one_repeat,
    passages,
    unforeseen,
    without_first,
)
from cutaway.experiments.shakespeare.record import Record
from cutaway.findings.claims import Claim
from cutaway.heads.scores import SCORES
from cutaway.lenses.points import lens_points
from cutaway.plotting import heatmap
from cutaway.tasks.random_tokens import drawable_tokens, first_tokens
from cutaway.tokens import fit_ngrams
from cutaway.training.config import DataSettings
from cutaway.views import CurveSeries, CurveView
from cutaway.views.numbers import percent
from cutaway.views.recorded import Recorded, interval_of, shown

torch.set_grad_enabled(False)
model = ca.HookedTransformer.from_pretrained(MODEL)
control = ca.HookedTransformer.from_pretrained("induction-2l")
cfg = model.cfg

FOLDER = Path("../docs/findings")
FINDINGS = (FOLDER / "FINDINGS.md").read_text(encoding="utf-8")
record = Recorded(json.loads((FOLDER / "results.json").read_text(encoding="utf-8")))
MODELS = range(record.n_models)
table(
    ["the study", ""],
    [
        ("started", str(record.get("about/started"))),
        ("on", str(record.get("about/machine"))),
        ("took", f"{record.get('timings/all'):.0f} s"),
        ("models", ", ".join(record.names)),
        *(
            (name, record.text(f"models/0/{path}"))
            for name, path in (
                ("layers", "shape/n_layers"),
                ("width", "shape/d_model"),
                ("context", "shape/n_ctx"),
                ("weights", "n_parameters"),
                ("training steps", "training/n_steps"),
                ("sequences per step", "training/batch_size"),
            )
        ),
    ],
)

# %% [markdown]
# ## 1. What a blank needs
#
# Take one line of the template: *"The model learns induction heads (layer TBD, heads TBD, accuracy TBD)"*. Before a number may stand there:
#
# | what | why | in the study |
# |:--|:--|:--|
# | a **range**, stated beforehand | afterwards every number looks like what one had in mind | `experiments/shakespeare/criteria.py`, one line for each finding |
# | a **negative control** | an accuracy of 3% is much or little: beside what? | bigrams, A's place taken by another character, random weights |
# | a **positive control** | a test that finds nothing may be blind | `induction-2l`, where induction is known to be |
# | an **interval** | 3 of 200 is not 1.5% | bootstrap over prompts or windows; Wilson for shares |
# | **seeds** | one model is an anecdote | at least three, each graded alone |
# | an **address** | who reads the number must be able to find what it was computed from | a footnote behind every value, its path in `results.json` |
# | room for **no** | else the report can only say yes | negative sentences are written beforehand too, and chosen by rule |
#
# The last one deserves a look. Each sentence of the summary is a function of the record (`sentences.py`): what it says is decided by intervals, by a rule that stood there before the numbers did. Here is the whole study in ten of them, as they come out today:

# %%
Markdown("\n".join(f"- {sentence}" for sentence in sentences.findings(record.results)))

# %% [markdown]
# You will not believe them before you know how they came about. So first the address: does each footnote of `FINDINGS.md` lead to a value, or to a reason why there is none?

# %%
footnotes = dict(re.findall(r"^\[\^(\d+)\]: results\.json: `(.+)`$", FINDINGS, re.MULTILINE))


def expand(path: str) -> list[str]:
    """The paths that a path with * stands for."""
    before, star, after = path.partition("*")
    if not star:
        return [path]
    names = record.get(before.rstrip("/")) or {}
    return [full for name in names for full in expand(f"{before}{name}{after}")]


def state(path: str) -> str:
    """Whether a value stands at a path, or why not."""
    if record.get(path) is not None:
        return "a value"
    has_note = any(path == note or path.startswith(f"{note}/") for note in record.missing)
    return "a reason" if has_note else "neither"


paths = [path for pattern in footnotes.values() for path in expand(pattern)]
print(f"{len(footnotes)} footnotes, {len(paths)} places in results.json:")
print(dict(Counter(map(state, paths))))

# %% [markdown]
# ## 2. Four answers
#
# A criterion is a number and the range it has to lie in. With an interval it is decided only where the **whole interval** says the same. Below, the study's own rule on made-up values; the claim is always "above 0":

# %%
above_zero = Claim("above", 0.0)
made_up = [
    ("all of it above", {"estimate": 0.05, "low": 0.02, "high": 0.08, "n": 200}),
    ("all of it at or below", {"estimate": -0.05, "low": -0.08, "high": -0.02, "n": 200}),
    ("on both sides", {"estimate": 0.01, "low": -0.01, "high": 0.03, "n": 200}),
    ("on both sides, and wide", {"estimate": 0.01, "low": -0.40, "high": 0.42, "n": 4}),
    ("nothing there", None),
]
table(
    ["the interval is", "value", "verdict"],
    [
        (name, "none" if value is None else shown(value), verdict(above_zero, value))
        for name, value in made_up
    ],
)

# %% [markdown]
# - *Does not hold* says: we looked, well enough, and it is not so.
# - *Undecided* says: what we saw agrees with yes and with no. Look at the third and the fourth row: both are undecided, and they know very different things. The third one excludes everything above 0.03, the fourth one nothing of interest. **Do not stop at the verdict; the interval says what was excluded.** We come back to it in section 5.
# - *Not measured* says: we did not look, or there was nothing to look at. Patching, for one, takes apart a difference between two runs. If the model does not tell the prompts apart there is no difference, and a table of layers would be a table of noise.
#
# A report that writes 0 for all three has thrown away what it knew.
#
# ## 3. Predict
#
# The study is run, but you have not looked (or only at the sentences above; then be honest in the column *sure*). *Suspects* are the heads with the class induction, or else the highest scores. Some of our guesses are those of the template, and wrong ones are among them. Change them to yours.

# %%
log = Log()
log.expect(
    "accuracy",
    "A B ... A of random characters: in which share does the Shakespeare model say B?",
    low=0.1,
    confidence=0.6,
    why="the template says that it has induction heads, and larger models do",
)
log.expect(
    "control",
    "The same in induction-2l, the control?",
    low=0.9,
    confidence=0.9,
    why="it was trained to",
)
log.expect(
    "lost",
    "Share of random sets of heads that cost the control as much as its induction heads (p)?",
    high=0.05,
    confidence=0.8,
    why="they do it, others do not",
)
log.expect(
    "again",
    "Nats per character that the Shakespeare model gains on a passage that it has just read?",
    low=0.0,
    confidence=0.7,
    why="it has all that it needs in its context",
)
log.expect(
    "named",
    "Share of its heads with a class of attention?",
    low=0.25,
    confidence=0.5,
    why="some head must look at the character before",
)
log.expect(
    "early",
    "The order of the n-grams that its lens is nearest to after the first layer?",
    low=2,
    high=2,
    confidence=0.6,
    why="an embedding and one layer: bigrams",
)
log.expect(
    "late",
    "And at the output?",
    low=3,
    confidence=0.8,
    why="it predicts better than bigrams do",
)
log.expect(
    "reach",
    "How much more does the output depend on what is over 4 characters back than the first layer (nats)?",
    low=0.0,
    confidence=0.8,
    why="every layer can look further",
)
log.expect(
    "sizes",
    "The study's sweep over sizes: how many sizes complete A B ... A better than bigrams?",
    low=1,
    confidence=0.5,
    why="the largest of them should",
)
log.expect(
    "replicated",
    "Share of the study's criteria that hold in every model?",
    low=0.5,
    confidence=0.6,
    why="they are the hypotheses of the template and of papers",
)
log

# %% [markdown]
# ## 4. Text that we may use
#
# Most tests of the study read held-out Shakespeare, and the text (1.1 MB) is not in the package. But the model is, and it writes. So the small version reads **what the model wrote itself**. A piece of it:

# %%
N_ROWS = 1500


def written(n_rows: int, seed: int = 0) -> torch.Tensor:
    """What the model writes after the first token of its vocabulary (a line end), as one row."""
    start = torch.zeros((n_rows, 1), dtype=torch.int64)
    rows = model.generate(
        start,
        cfg.n_ctx - 1,
        stop_at_eos=False,
        generator=torch.Generator().manual_seed(seed),
        verbose=False,
    )
    return rows.flatten()


def own_material() -> Material:
    """Most of the model's text to count in, the rest held out from counting."""
    text = written(N_ROWS)
    n = int(0.7 * len(text))
    trained = text[:n].numpy()
    wide = fit_ngrams(trained, cfg.d_vocab, 8)
    return Material(
        f"written by {cfg.model_name}",
        trained,
        text[n:],
        wide.of_order(5),
        wide,
        model.get_tokenizer(),
    )


if DATA is None:
    material = own_material()
else:
    material = open_material(DataSettings(file=DATA), model, 5, str(model.device))
print(f"{material.origin}: {len(material.trained)} characters to count, ", end="")
print(f"{len(material.held_out)} held out\n")
print(model.to_string(material.held_out[: 3 * cfg.n_ctx]))

# %% [markdown]
# What changes with that? Whatever asks *how the model works* can be asked on its own text: what its heads look at, how its prediction forms from layer to layer. Whatever asks *how well it knows Shakespeare* cannot: its loss on its own text is its entropy, and no measure of skill. And n-grams that are counted in its writing are n-grams **of the model**; they have seen a fifteenth of the characters that the study counts. Keep that in mind for section 7.
#
# The first test needs no text at all.
#
# ## 5. Finding 1: induction, or how to find nothing
#
# Sequences of different characters, drawn without replacement; then one of them, A, for the second time. What came after it is B:

# %%
N = 200


def repeats(m: ca.HookedTransformer, n: int = N, seed: int = 0) -> ca.Task:
    """The prompts A B ... A of the study."""
    return one_repeat(m, n, min(24, longest_sequence(m)), seed)


def share_right(m: ca.HookedTransformer, prompts, tokens=None) -> ca.Interval:
    """How often the likeliest token is B."""
    right = answers_right(m, prompts, tokens)
    return proportion(int(right.sum()), len(right))


task, control_task = repeats(model), repeats(control)
row, answer = task.clean[0], task.correct[:1]
print(f"{model.to_string(row)!r} -> {model.to_string(answer)!r}")
accuracy, of_control = share_right(model, task), share_right(control, control_task)
log.observe("accuracy", accuracy, 3)
log.observe("control", of_control, 3)
table(
    ["model", "says B", "A's first place taken by another", "chance"],
    [
        (
            m.cfg.model_name,
            share_right(m, prompts),
            share_right(m, prompts, without_first(prompts, m)),
            1 / m.cfg.d_vocab,
        )
        for m, prompts in ((model, task), (control, control_task))
    ],
    digits=3,
)

# %% [markdown]
# The control gets all of it, and nothing when A's first place is taken by another token: so the test sees induction where there is induction, and it sees *that*, not something else that the model could be good at. `shakespeare-small` is at chance. Without the two columns on the right "0.5%" would be a number that may mean anything; without the second row it could mean a broken test.
#
# Now the study's rows for all its models. If one of them *is* the embedded model (the digest of its weights tells), its accuracy has to be exactly ours, since the prompts are drawn from the same seed:

# %%
digests = [record.get(f"models/{at}/digest") for at in MODELS]
if model.digest in digests:
    at = digests.index(model.digest)
    theirs = record.get(f"models/{at}/induction/one_repeat/accuracy/estimate")
    agrees = "the same accuracy" if theirs == accuracy.estimate else "ANOTHER accuracy"
    print(f"{MODEL} is the study's {record.names[at]}: {agrees}.")
else:
    print(f"{MODEL} is none of the study's models: it may differ from them as they do.")


def study_rows(*asked, digits: int = 3, share: bool = False) -> list[list[str]]:
    """Rows of the record, a cell for each model."""
    rows = (record.row(label, path, digits, share) for label, path in asked)
    return [[label, *cells] for label, cells in rows]


ONE = "induction/one_repeat"
table(
    ["the study, A B ... A", *record.names],
    study_rows(
        ("accuracy", f"{ONE}/accuracy"),
        ("bigrams on the same prompts", f"{ONE}/accuracy_bigram"),
        ("A's first place taken", f"{ONE}/accuracy_without_first"),
        ("accuracy less that of bigrams", f"{ONE}/above_bigram"),
        ("a passage read again: nats gained", "induction/passages/gain"),
    ),
)

# %% [markdown]
# ### Is the test unfair?
#
# Random characters are unlike any text. Perhaps the model copies, but only what looks like a play. Hence a second test: a passage, and the same passage once more; what is it worth to have read it, beside having read another one?

# %%
own, other, half = passages(material.held_out, cfg.n_ctx, N)


def second_half(tokens: torch.Tensor) -> np.ndarray:
    """Mean loss over the second half of each prompt, in nats per character."""
    loss = model(tokens, return_type="loss", loss_per_token=True)[:, half:].mean(1)
    return loss.double().numpy()


gain = paired_difference(second_half(other), second_half(own)).interval
log.observe("again", gain, 3)
print(f"on text {material.origin}: {show(gain, 3)} nats; above 0: ", end="")
print(
    verdict(above_zero, {"estimate": gain.estimate, "low": gain.low, "high": gain.high, "n": N})
)
Markdown(f"The study, on held-out Shakespeare: {sentences.passages(record)}")

# %% [markdown]
# The second half is the same in both, only what was read before it differs. If a model does not look back for repeats, the gain is 0. It can also be **less** than 0, as it is on the model's own text: then the passage costs *more* for having just been read. The sign was not in the template, and a test on "gain or no gain" alone would have hidden it. (Why it may be so is question 3.)
#
# ### Undecided, but not empty-handed
#
# *Is it above 0* is the question that was stated beforehand, and it stays. But the interval answers a second one: **how large can it be at most?** And before a run one can ask what a test of this size would have found with a probability of 80%:

# %%
right, bigram = answers_right(model, task), counted_right(material, task, 2)
difference = right.astype(float) - bigram.astype(float)
above = bootstrap_mean(difference)
least = float(minimum_detectable_effect(difference))
print(f"{cfg.model_name}, share right less that of bigrams: {show(above, 3)}")
print(f"{N} such prompts would have found a lead of {percent(least)} four times in five.\n")
for at, name in enumerate(record.names):
    one = interval_of(record.get(f"models/{at}/{ONE}/above_bigram"))
    if one is None:
        print(f"{name}: not measured")
        continue
    kept = percent(one.high / record.get("control/accuracy/estimate"))
    print(
        f"the study, {name}: at most {percent(one.high)} more than bigrams, {kept} of ", end=""
    )
    print("what the control does")

# %% [markdown]
# That is how a negative finding is written: not "the model has no induction", which no test can show, but "if it has any, it is worth less than this, and the same test finds all of it there".
#
# ### Heads, and why no cause is given
#
# A list of the highest heads can always be made. Which of them have the class induction, and what does the study do with the rest?

# %%
heads = ca.heads.taxonomy(model, 32, n_random=1, copying_draws=100)
control_heads = ca.heads.taxonomy(control, 32, n_random=1, copying_draws=0)
for m, found in ((model, heads), (control, control_heads)):
    chosen, why = suspects(found)
    print(f"{m.cfg.model_name}: {', '.join(chosen)}, because {why}")

run = Record()  # our own small results.json
with run.attempt("where") as inside:
    localise.behaviour(model, task, inside, 0)
print("\nlayers and heads of our model:", run.missing.get("where", "can be asked for"))
print("\nnot measured in the study:")
for path, why in record.missing.items():
    print(f"    {path}: {why}")

# %% [markdown]
# ### A control that was wrong
#
# In the control the causal test *can* be made: take the suspects out, and as many random heads, twenty times; in how many of the draws is as much lost? The first version of the study got this wrong, and it looks like a detail. Its random sets could hold **any** other head:

# %%
chosen, partners = list(suspects(control_heads)[0]), control_heads.of_class("previous-token")
rows = []
for name, left_out in (("any others", ()), ("previous-token heads are in none", partners)):
    out = localise.taken_out(control, control_task, chosen, 20, 0, None, left_out)
    rows.append((name, out["lost"], out["random_mean"], out["random_most"], out["p"]))
log.observe("lost", rows[-1][-1], 3)
table(["random sets", "lost without the suspects", "random, mean", "random, most", "p"], rows)

# %% [markdown]
# In the first row the control seems to say that any six heads are as good as the induction heads. They are not: six in ten draws of six among the ten other heads contain the one head that tells the induction heads which token stood before (notebook 10), and without it they are blind. Random heads were meant to do *nothing for the task*; the draw did not see to it.
#
# (With 20 draws the smallest p that can come out is 1 / 21 = 0.048. That is the fewest with which this test can say "below 0.05" at all.)
#
# Two lessons. A control can fail, and then it fails in silence: a negative finding went with it. And what was repaired is on record, in [the findings' README](../docs/findings/README.md): a control may be repaired after a look, if it is said; the range of a criterion may not.
#
# ## 6. Finding 2: what the heads do
#
# The taxonomy gives a class where the lower end of a head's score is above a threshold that was calibrated on hand-written heads ([heads.md](../docs/methods/heads.md)). Beside it stands a weaker claim: above *every* head of the same model with its weights shuffled.

# %%
patterns = [name for name in heads.intervals if name in SCORES and name != "uniform"]
rows = []
for name in patterns:
    mean, random = heads.scores.mean(name), heads.control["shuffled"].mean[name]
    by_chance, n_above = heads.scores.by_chance[name], len(heads.above_random(name))
    rows.append(
        (
            name,
            float(mean.max()),
            by_chance,
            heads.threshold(name),
            float(random.max()),
            len(heads.of_class(name)),
            n_above,
        )
    )
table(
    [
        "score",
        "highest",
        "uniform",
        "class from",
        "shuffled, highest",
        "in class",
        "above shuffled",
    ],
    rows,
)

# %% [markdown]
# Read the first row of the table, on `shakespeare-small`. No head *mainly* looks one back, so none has the class. Yet the highest has eight times what uniform attention has, and all 16 have more than every shuffled one. "There are no previous-token heads" and "heads look at the character before" are both right. Only a threshold that was fixed beforehand keeps us from choosing, after the look, the sentence that we like.
#
# ### The share with a class, and a second mistake
#
# The study's first version counted, for the model, *all* classes; for shuffled weights it counted classes of attention only, as those of copying are compared with random heads already. That is two different questions in one row:

# %%
flags = heads.flags
by_pattern = np.any([flags[name] for name in patterns], axis=0)
with_copying = by_pattern | flags["copying"] | flags["anti-copying"]
low = heads.control["shuffled"].low
of_random = np.any([low[name] > heads.threshold(name) for name in patterns], axis=0)


def share_of(has: np.ndarray) -> ca.Interval:
    """Heads that have it."""
    return proportion(int(has.sum()), has.size)


log.observe("named", share_of(by_pattern))
for name in ("copying", "anti-copying"):
    print(f"{name}, by weights alone: {', '.join(heads.of_class(name)) or 'no head'}")
table(
    ["heads with a class", "share"],
    [
        ("the model: attention or copying (the mistake)", share_of(with_copying)),
        ("the model: attention", share_of(by_pattern)),
        ("shuffled weights: attention", share_of(of_random)),
    ],
)

# %% [markdown]
# The first and the third row side by side make a fine headline. **Like beside like, or not at all.** The study's rows, as they are now:

# %%
table(
    ["the study, heads", *record.names],
    study_rows(
        ("with a class of attention", "heads/share_named"),
        ("with shuffled weights", "heads/share_named_random/shuffled"),
        ("the difference", "heads/named_above_random"),
        ("specialised (0) or general (1), mean", "heads/generality/mean"),
        ("induction heads", "heads/n_induction"),
        ("previous-token heads", "heads/n_previous_token"),
    ),
)

# %%
Markdown(sentences.roles(record))

# %% [markdown]
# ## 7. Finding 3: lens and n-grams
#
# The claim is old and plausible: early layers know bigrams, late ones what stands further back. Plausible claims need a measure that can say no. Here: read each layer with the logit lens, *q*, and ask which n-gram model *p* it is nearest to,
#
# $$\mathrm{KL}(q \,\|\, p_k) = \sum_w q(w)\,\ln\frac{q(w)}{p_k(w)}$$
#
# in nats, at the positions where even the highest order has all the characters it looks at.

# %%
ORDERS = range(1, material.ngrams.order + 1)
SKIP = material.ngrams.order - 1
POINTS = [point.label for point in lens_points(cfg)]
windows = material.windows(cfg.n_ctx, 100, 0)


def distances(ngrams, rows: torch.Tensor) -> np.ndarray:
    """KL(lens ‖ n-grams) in nats: [point, order, window]."""
    read = lens_probabilities(model, rows)[:, :, SKIP:]  # [point, window, pos, d_vocab]
    counted = [ngrams.log_probabilities(rows.numpy(), k)[:, SKIP:] for k in ORDERS]
    return np.stack([[(np.exp(q) * (q - p)).sum(-1).mean(-1) for p in counted] for q in read])


kl = distances(material.ngrams, windows)
nearest = [nearest_order(values) for values in kl]
log.observe("early", nearest[1]["order"])
log.observe("late", nearest[-1]["order"])
heatmap(
    kl.mean(-1),
    POINTS,
    [str(k) for k in ORDERS],
    "KL(lens ‖ n-grams), nats",
    row_axis="after layer",
    column_axis="order of the n-grams",
)

# %%
LENSES = ("logit lens", "tuned lens")


def with_range(found) -> str:
    """An order, and between which the resamples put it."""
    return f"{found['order']} ({found['low']} to {found['high']})"


rows = [[f"{MODEL}, here", *map(with_range, nearest)]]
for lens in LENSES:
    for at, name in enumerate(record.names):
        found = record.get(f"models/{at}/prediction/orders/{lens}/nearest")
        cells = [with_range(one) for one in found] if found else [""] * len(POINTS)
        rows.append([f"the study, {name}, {lens}", *cells])
points = POINTS if len(POINTS) >= 5 else [*POINTS, *[""] * (5 - len(POINTS))]
table(
    ["nearest order after", *points],
    [[*row, *[""] * (len(points) + 1 - len(row))] for row in rows],
)

# %% [markdown]
# On `shakespeare-small` the order climbs with the layers. Whether the *first* layer is at bigrams is a finer question, and depends on who reads: the logit lens takes an early layer as if it were the last one, the tuned lens learns a map for each layer. Where do the two disagree on the same stream?

# %%
other_order = Counter()
for at in MODELS:
    both = [record.get(f"models/{at}/prediction/orders/{lens}/nearest") for lens in LENSES]
    if all(both):
        for plain, tuned in zip(*both, strict=True):
            sign = int(np.sign(tuned["order"] - plain["order"]))
            other_order[("a lower order", "the same", "a higher order")[1 + sign]] += 1
print("the tuned lens, beside the logit lens, sees:", dict(other_order) or "not measured")

# %% [markdown]
# Where two instruments disagree, the difference is theirs before it is the model's. And *nearest* is not *near*: look at the heatmap again, the first row is several nats from everything.
#
# ### Without a ruler
#
# The second half of the claim can be tested with no n-grams at all. Keep the last 4 characters of each window and put another window's before them. Whoever knew 4 characters only will not notice:


# %%
def reach(near: int) -> np.ndarray:
    """KL of each layer's prediction from the one with all but `near` characters exchanged."""
    changed = torch.cat([windows[:, :-near].roll(1, 0), windows[:, -near:]], 1)
    true, other = (lens_probabilities(model, rows)[:, :, -1] for rows in (windows, changed))
    return (np.exp(true) * (true - other)).sum(-1)  # [point, window]


moved = reach(SKIP)
late_less_early = paired_difference(moved[-1], moved[1]).interval
log.observe("reach", late_less_early)
table(
    ["after layer", "moved by what is further back (nats)"],
    [(label, bootstrap_mean(values)) for label, values in zip(POINTS, moved, strict=True)],
)

# %%
Markdown(f"{sentences.orders(record)} {sentences.reach(record)}")

# %% [markdown]
# ## 8. Finding 4: four further questions
#
# ### What changes over the training?
#
# This needs the text: only who trains again has models of every step. The study kept them.


# %%
def over_training(value) -> list[CurveSeries]:
    """A line for each model: a number of each step that was kept."""
    found = []
    for at, name in enumerate(record.names):
        steps = [row for row in record.get(f"models/{at}/evolution/steps") or [] if row["step"]]
        if steps:
            y = [value(row) for row in steps]
            found.append(CurveSeries(name, [row["step"] for row in steps], y))
    return found


lines = over_training(lambda row: row["loss"]["estimate"])
CurveView(
    lines, title="Loss on held-out text", x_label="step", y_label="nats", log_x=True
) if lines else print(record.why("models/0/evolution"))

# %%
lines = over_training(lambda row: row["previous-token"]["score"]["estimate"])
CurveView(
    lines,
    title="The highest previous-token score",
    x_label="step",
    y_label="attention",
    log_x=True,
) if lines else print(record.why("models/0/evolution"))

# %%
Markdown(f"{sentences.emergence(record)}\n\n{sentences.smallest(record)}")

# %% [markdown]
# Compare with notebook 16: there a score stood at chance and then went up within a few hundred steps, and we could ask *when*. A curve that is still rising at the end of the training has no "when", only a "so far".
#
# ### How small may a model be?

# %%
sizes = record.get("sizes/rows") or []
leads = [interval_of(row["above_bigram"]) for row in sizes]
n_leads = sum(one is not None and one.low > 0 for one in leads)
print(f"one seed and {record.text('sizes/n_steps')} steps each; ", end="")
print(f"the models above: {record.text('models/0/training/n_steps')} steps")
log.observe("sizes", n_leads if sizes else float("nan"))
table(
    [
        "layers x width",
        "weights",
        "loss",
        "beats n-grams of order",
        "A B ... A, less bigrams",
        "gain",
    ],
    [
        (
            row["size"],
            row["n_parameters"],
            shown(row["loss"]),
            row["beats_order"],
            shown(row["above_bigram"]),
            shown(row["gain"]),
        )
        for row in sizes
    ],
)

# %% [markdown]
# One seed for each size: it is a sweep to know where to look. And mind what a *none* can mean here: not large enough, not trained for long enough, **or** that this text does not teach it at any size. The sweep cannot tell these apart. `cutaway run emergence` (notebook 16) shows which text does.
#
# ### Can failures be predicted?
#
# If heads explained what the model does, their attention should tell the prompts it gets right from those it gets wrong. The measure is the AUROC: how often a right prompt has more of it than a wrong one (0.5 is chance). The measure to beat is the model's own confidence, which needs no circuit:

# %%
for n in (N // 2, N):
    with run.attempt(f"failures, {n}") as inside:
        again = unforeseen(model, material.held_out, material.ngrams, n)
        failures(model, again, list(suspects(heads)[0]), inside, 0)
with run.attempt("failures, control") as inside:
    failures(control, control_task, chosen, inside, 0)
small = Recorded(run.results())
table(
    [
        "AUROC",
        f"passages read again, {N // 2} prompts",
        f"{N} prompts",
        "the control, A B ... A",
    ],
    [
        (
            name,
            *(small.text(f"failures, {which}/{path}", 2) for which in (N // 2, N, "control")),
        )
        for name, path in (
            ("attention of the suspects to B", "attention/auroc"),
            ("right and wrong dealt out at random", "attention/shuffled"),
            ("the model's confidence", "confidence/auroc"),
        )
    ],
)

# %% [markdown]
# The right column is another way to be *not measured*: the control never fails, so there is nothing to foretell. And look at the first row, on `shakespeare-small`. With 100 prompts the whole interval lies *below* 0.5: a clear result, with a story that tells itself (the heads look at B where the model errs). With 200 prompts it does not. Nobody had predicted a value below 0.5, and who looks after every hundred prompts, and stops where it is interesting, will find an interval to like. **The number of prompts belongs to what is stated beforehand.** The model's own confidence, which needs no circuit, does better both times.
#
# The study, on held-out Shakespeare:

# %%
Markdown(sentences.foretold(record))

# %% [markdown]
# ## 9. What the methods are worth, and what they cost
#
# The template also asks whether the methods work. That is a finding as well, so it has controls too: heads that patching put first on some prompts are taken out on *others*, beside random heads; classes of attention are given to heads that were written by hand.

# %%
cost = record.get("methods/cost/ms_per_layer") or {}
plain = (cost.get("plain_run") or {}).get("median", float("nan"))
table(
    ["method", "ms per layer", "plain runs"],
    [
        (name.replace("_", " "), shown(value, 1), value["median"] / plain)
        for name, value in cost.items()
    ],
)

# %%
table(
    ["does it work?", ""],
    [
        (name, record.text(path, 3))
        for name, path in (
            (
                "patching: lost without the heads it put first",
                "methods/patching/found_elsewhere/lost",
            ),
            ("lost without random heads, mean", "methods/patching/found_elsewhere/random_mean"),
            (
                "share of random sets that lose as much (p)",
                "methods/patching/found_elsewhere/p",
            ),
            ("attention: classes that are there, found", "methods/attention/categories/found"),
            ("classes that are not there, given", "methods/attention/categories/false"),
            (
                "lens: layers until the first choice stands",
                "models/0/prediction/convergence/kinds/held-out text",
            ),
            ("the same with random weights", "models/0/prediction/convergence/random_weights"),
        )
    ],
)

# %% [markdown]
# Milliseconds are the only numbers of the study that change from run to run on one machine. The ratio to a plain run is what travels.
#
# ## 10. Which findings replicate?
#
# Every criterion, graded for every model:

# %%
criteria = record.get("replication/criteria")
table(
    ["finding", "criterion", "expected", *record.names],
    [
        (str(row["finding"]), row["statement"], row["expected"], *row["verdicts"])
        for row in criteria
    ],
)

# %%
share_held = interval_of(record.get("replication/share_held"))
log.observe("replicated", share_held if share_held else float("nan"))
Markdown(sentences.replicated(record))

# %% [markdown]
# How many of these would hold if *nothing* were there? A 95% interval lies wholly above 0 by chance in 2.5% of the cases. One model and many criteria give a false finding rather often; the same one in all of several models hardly ever, if the models were independent:

# %%
n = sum(any(isinstance(value, dict) for value in row["observed"]) for row in criteria)
print(f"{n} criteria have an interval. If nothing were there:")
print(f"    at least one holds in one model: {percent(1 - 0.975**n)}")
for models in (2, 3, 5):
    print(f"    at least one holds in all of {models}: {1 - (1 - 0.025**models) ** n:.4f}")

# %% [markdown]
# They are not quite independent: the seeds share text, prompts and n-grams, and if the prompts are odd they are odd for all. So the calculation flatters us. Replication over seeds answers "is it this initialisation?", and says nothing of "is it this text, this size, this optimiser?".
#
# Nor is the interval of the share a law about findings: the criteria are no random draw from anything. It is there to keep "so many of 13" from being read as a percentage with two digits.
#
# ## 11. What cannot be measured without the text
#
# | needs the text | why |
# |:--|:--|
# | loss on held-out text, also that of n-grams | on the model's own text it is its entropy |
# | n-grams of the order 4 and 5 as they are in Shakespeare | our own text is too short to fill them |
# | far context (`far_context`), the tuned lens | many windows, and higher orders |
# | training, sizes, seeds | models have to be trained |
#
# All that this notebook measures runs on the text too: put `DATA = "shakespeare"` in the first cell (fetched once, about 1 MB, held to its SHA-256 and kept in the cache), or the path of a copy, and run all cells again. For the whole study:
#
# ```bash
# cutaway train shakespeare-small --out runs/seed-0 --seed 0   # and 1, 2
# cutaway run shakespeare --models runs/seed-0 runs/seed-1 runs/seed-2
# ```
#
# ## 12. Break it on purpose
#
# **Eight prompts.** What do the verdicts of section 5 become?

# %%
rows = []
for n in (8, 25, 100, 200):
    for m in (model, control):
        found = share_right(m, repeats(m, n))
        rows.append(
            (str(n), m.cfg.model_name, found, verdict(Claim("above", 0.1), vars(found)))
        )
table(["prompts", "model", "says B", "above 0.1?"], rows)

# %% [markdown]
# The large effect of the control is there with eight prompts. To *exclude* something takes more of them than to find something: with eight, even a model that never says B is undecided. Who wants to publish a "no" has to pay for it.
#
# **A shorter ruler.** Fit the n-grams on a part of the text. The model is the same, the windows are the same:

# %%
rows = []
for part in (1.0, 0.3, 0.1, 0.03):
    n = int(part * len(material.trained))
    found = distances(
        fit_ngrams(material.trained[:n], cfg.d_vocab, material.ngrams.order), windows
    )
    rows.append((str(n), *(str(nearest_order(values)["order"]) for values in found)))
table(["characters counted", *POINTS], rows)

# %% [markdown]
# The "order of the output" goes down with the text. It is the highest order that the *n-grams* know something of. A sentence such as "the output is at order 4" has a second half, "beside n-grams of so many characters", and a report that leaves it out cannot be compared with another one.
#
# **Shuffled characters.** The same windows with their characters in random order, so that nearly every context is one that neither the model nor the n-grams have seen. Do they still agree?

# %%
rng = np.random.default_rng(0)
shuffled = torch.from_numpy(rng.permuted(windows.numpy(), axis=1))
found = distances(material.ngrams, shuffled)
table(
    ["windows", *POINTS],
    [
        (
            name,
            *(f"{with_range(nearest_order(v))}: {v.mean(-1).min():.2f} nats" for v in values),
        )
        for name, values in (("text", kl), ("shuffled", found))
    ],
)

# %% [markdown]
# In strange contexts n-grams of a high order fall back on lower ones, and what the model makes of them is its own. The output is further off, and nearest to a lower order. A nearest order comes out all the same: an argmin always exists.
#
# ## 13. The log

# %%
log

# %% [markdown]
# ## 14. Exercises
#
# **Exercise 1.** Write the A B ... A test yourself: `my_test(m, n)` draws `n` sequences of 20 different tokens of `drawable_tokens(m, None, first_tokens(m, None))`, puts the tokens `first_tokens(m, None)` before each (BOS where the model wants it, else nothing) and one token of the sequence, A, after it. It returns how often the likeliest next token is the one that came after A, and `n`. The check tries it on both models.
#
# <details><summary>Hint</summary>
#
# `np.random.default_rng(1).permutation(tokens)[:20]`; A stands at a place from 0 to 18. Put all rows into one array, and take `m(torch.tensor(rows))[:, -1].argmax(-1)`.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# def my_test(m, n):
#     start = list(first_tokens(m, None))
#     tokens = np.array(drawable_tokens(m, None, first_tokens(m, None)))
#     rng = np.random.default_rng(1)
#     rows, answers = [], []
#     for _ in range(n):
#         row = rng.permutation(tokens)[:20].tolist()
#         at = int(rng.integers(0, 19))
#         rows.append([*start, *row, row[at]])
#         answers.append(row[at + 1])
#     said = m(torch.tensor(rows))[:, -1].argmax(-1)
#     return int((said == torch.tensor(answers)).sum()), n
# ```
#
# </details>

# %%
my_test = ...

# %%
check(
    my_test,
    lambda test: (
        proportion(*test(control, 100)).low > 0.9 > 0.2 > proportion(*test(model, 100)).high
    ),
    hint="in the control nearly all should be right, and in the character model hardly any.",
)

# %% [markdown]
# **Exercise 2.** The interval of a share by hand (Wilson 1927). With k of n right, p = k / n and z = 1.96, its middle is (p + z²/2n) / (1 + z²/n), and it goes z √(p(1−p)/n + z²/4n²) / (1 + z²/n) to either side. Compute both ends for the embedded model's A B ... A (`right`, one entry for each prompt), and whether the chance of one in `cfg.d_vocab` lies between them: three numbers, the last one 1 or 0.
#
# <details><summary>Hint</summary>
#
# `k, n = right.sum(), len(right)`. The textbook interval, p ± z √(p(1−p)/n), has no width at all at k = 0; try it.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# k, n, z = right.sum(), len(right), 1.96
# p = k / n
# middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
# side = z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
# wilson = [middle - side, middle + side, middle - side < 1 / cfg.d_vocab < middle + side]
# ```
#
# </details>

# %%
wilson = ...

# %%
ends = proportion(int(right.sum()), len(right))
check(
    wilson,
    [ends.low, ends.high, ends.low < 1 / cfg.d_vocab < ends.high],
    tolerance=1e-3,
    hint="mind that z²/2n is z² / (2n).",
)

# %% [markdown]
# **Exercise 3.** Follow a claim. In `FINDINGS` there is a row that begins with `| accuracy less that of bigrams`. Go, by code, from its footnote to the path, and from there to the estimates of all models: one number for each.
#
# <details><summary>Hint</summary>
#
# The number of the footnote stands in `[^...]` right after those words: `re.search(r"bigrams\[\^(\d+)\]", ...)`. Then `footnotes`, `expand` and `record.get` of section 1.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# number = re.search(r"\| accuracy less that of bigrams\[\^(\d+)\]", FINDINGS)[1]
# traced = [record.get(path)["estimate"] for path in expand(footnotes[number])]
# ```
#
# </details>

# %%
traced = ...

# %%
check(
    traced,
    [record.get(f"models/{at}/induction/one_repeat/above_bigram")["estimate"] for at in MODELS],
    tolerance=1e-9,
    hint="one path stands for all models: expand it.",
)

# %% [markdown]
# **Exercise 4.** Grade the study again, with your own code: how many of the `criteria` hold in every model, how many are *undecided* in at least one, and how many were *not measured* in at least one? Use the observed values, not the verdicts that stand beside them: `row["observed"]` has one for each model, and `verdict(claim, value)` grades. For the claim take the one of the same criterion in `cutaway.experiments.shakespeare.criteria.CRITERIA`, which has the same order.
#
# <details><summary>Hint</summary>
#
# `graded = [[verdict(one.claim, value) for value in row["observed"]] for one, row in zip(CRITERIA, criteria)]`
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# from cutaway.experiments.shakespeare.criteria import CRITERIA
#
# graded = [
#     [verdict(one.claim, value) for value in row["observed"]]
#     for one, row in zip(CRITERIA, criteria)
# ]
# counts = [
#     sum(set(row) == {"holds"} for row in graded),
#     sum("undecided" in row for row in graded),
#     sum("not measured" in row for row in graded),
# ]
# ```
#
# </details>

# %%
counts = ...

# %%
verdicts = [row["verdicts"] for row in criteria]
check(
    counts,
    [
        record.get("replication/n_hold_everywhere"),
        sum("undecided" in row for row in verdicts),
        sum("not measured" in row for row in verdicts),
    ],
    tolerance=1e-9,
)

# %% [markdown]
# ## 15. Questions to take along
#
# 1. The embedded model does not say B on A B ... A. Name three explanations that this notebook cannot tell apart, and for each the experiment that could.
# 2. The control is another model, on words, with two layers of attention alone. What does it show about the *test*, and what does it not show about a character model with four layers? Which better control could be made?
# 3. On its own text the model loses by having just read a passage. Which of the tables in section 6 holds a hint, and what would you take out to test it?
# 4. A criterion's range was fixed beforehand, a control was repaired afterwards. Why is the one allowed and the other not? Where would you draw the line for the *number of prompts*?
# 5. A class begins at a threshold that was calibrated on hand-written heads. What would a learned head look like that does the job and stays below it?
# 6. Suppose all criteria had held in all models. What would you look at first?
#
# ## Further
#
# - Next: [18 · Superposition in a non-privileged basis](18_superposition.ipynb).
# - Back: [10 · Heads and induction heads](10_heads_and_induction_heads.ipynb), [12 · The logit lens](12_logit_lens.ipynb), [01 · A transformer from scratch](01_a_transformer_from_scratch.ipynb), [16 · Watching induction heads form](16_watching_induction_heads_form.ipynb). The whole study: [FINDINGS.md](../docs/findings/FINDINGS.md), and with figures to point at, [report.html](../docs/findings/report.html).
# - Olsson et al. (2022), *In-context Learning and Induction Heads*, [arXiv:2209.11895](https://arxiv.org/abs/2209.11895).
# - nostalgebraist (2020), *interpreting GPT: the logit lens*; Belrose et al. (2023), *Eliciting Latent Predictions from Transformers with the Tuned Lens*, [arXiv:2303.08112](https://arxiv.org/abs/2303.08112).
# - Witten and Bell (1991), *The zero-frequency problem*; Chen and Goodman (1999), *An empirical study of smoothing techniques for language modeling*: the n-grams.
# - Wilson (1927), *Probable inference, the law of succession, and statistical inference*; Newcombe (1998): intervals of shares and of their differences.
# - Method cards: [ngrams.md](../docs/methods/ngrams.md), [heads.md](../docs/methods/heads.md), [evidence.md](../docs/methods/evidence.md), [predictions.md](../docs/methods/predictions.md).
