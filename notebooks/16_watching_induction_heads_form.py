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
# # 16 · Watching induction heads form
#
# Notebooks 10 and 11 took a finished model apart. Now we look at how its heads came to be. Loss curves of language models are smooth, and yet some abilities seem to arrive at once: for a while nothing, then everything. Olsson et al. (2022) saw that with induction heads. In a model this small we can keep it at forty steps of its training, measure each of them in every way the course has taught, and ask: when does it turn? How suddenly? And what turns first, the head, what a probe can read, or what the model says?
#
# **What you will know afterwards**
#
# - how to train a model of two layers on A ... B ... A → B in a quarter of a minute, and keep it at log-spaced steps;
# - what an S-curve is, and how its midpoint, width and onset are fitted, with intervals over seeds;
# - why "which came first?" is a harder question than it looks, and how a wrong answer comes about with six seeds out of six;
# - a test that tells a break from a bend;
# - what sets the transition off: steps, sequences, or width;
# - when steering starts to work.
#
# **Time:** about 45 minutes; the cells run in about a minute on one core. Method card: [emergence.md](../docs/methods/emergence.md).

# %%
MODEL = "induction-2l"  # a finished model, for comparison in section 9

# %%
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from course import Log, check, table

import cutaway as ca
from cutaway.evidence.change_point import change_point
from cutaway.evidence.s_curve import SCurve, fit_s_curve, fit_s_curves
from cutaway.training.checkpoints import checkpoints
from cutaway.training.config import TrainConfig
from cutaway.training.name_pairs import NamePairs
from cutaway.training.run import train_config
from cutaway.training.sources import open_source
from cutaway.views import CurveSeries, CurveView
from cutaway.views.emergence_data import (
    BEHAVIOUR,
    COPIES,
    HEAD,
    PROBE,
    SAYS,
    STEER,
    TELLS,
    Emergence,
)

config = TrainConfig.named("ioi-2l").replace(seed=100, n_steps=450, log_spaced=30)
source = open_source(config)
for row in source.held_out[:2].tolist():
    print(source.tokenizer.decode(row), "\n")

# %% [markdown]
# ## 1. The text
#
# Names come in pairs. Each pair is introduced (A, some words, B), and then the pairs come again in any order, without the words. Who belongs to whom is drawn anew for every sequence, so that no weight can know it: the first time B cannot be predicted, the second time it can, from the context alone. The loss is that of every next token.
#
# The test prompts introduce four pairs and end with an A that was introduced before. The right answer is its B:

# %%
pairs = NamePairs()
prompts = pairs.prompts(200, seed=5)
print(source.tokenizer.decode(prompts.tokens[0].tolist()))
print("->", source.tokenizer.decode([int(prompts.answer[0])]))

# %% [markdown]
# ## 2. Predict
#
# *Behaviour*: in which share of the prompts is B likelier than the B of the other three pairs? *Induction head*: how much more does a head attend from END to B than to the B of another pair? *Previous-name head*: attention of a head of layer 0 from B to its A. *Probe*: accuracy of a linear probe at END for B, minus that of one for the B of another pair. Each turns from low to high; its *onset* is the step at which a tenth of the rise is done. Some of our guesses are wrong. Change them to yours.

# %%
log = Log()
log.expect(
    "start",
    "Behaviour before training?",
    low=0.15,
    high=0.35,
    confidence=0.95,
    why="four names, one is right",
)
log.expect(
    "width",
    "Behaviour: steps at nine tenths of the rise over steps at one tenth?",
    low=1,
    high=3,
    confidence=0.7,
    why="abilities arrive suddenly",
)
log.expect(
    "order",
    "Whose onset is first: head, behaviour, or together?",
    answer="head",
    confidence=0.7,
    why="the cause comes before the effect",
)
log.expect(
    "two heads",
    "Onset of the induction head over that of the previous-name head?",
    low=1.05,
    confidence=0.7,
    why="it reads what the other wrote",
)
log.expect(
    "batch",
    "Power of the batch size by which the midpoint (in steps) goes?",
    low=-1.15,
    high=-0.85,
    confidence=0.5,
    why="the number of sequences counts",
)
log.expect(
    "steering",
    "Midpoint of saying B over that of steering (Emb(C) − Emb(B) at B)?",
    low=0.9,
    high=1.1,
    confidence=0.7,
    why="it is the same circuit",
)
log.expect(
    "one layer",
    "Behaviour of a model with one layer after 300 steps?",
    low=0.15,
    high=0.4,
    confidence=0.8,
    why="induction takes two",
)

# %% [markdown]
# ## 3. Train one, and keep it on the way
#
# `train_config` keeps the model at log-spaced steps: early training is fast, so early steps lie close together. Each kept step is a folder that loads like any model.

# %%
folder = TemporaryDirectory()
run = train_config(config, Path(folder.name) / "seed-100")
kept = checkpoints(Path(folder.name) / "seed-100")
print([saved.step for saved in kept])
print(f"held-out names that can be known: {run.held_out.accuracy} right")

# %% [markdown]
# Now measure every kept model by hand. All that it takes are logits and patterns:

# %%
rows = torch.arange(len(prompts.tokens))
places = torch.arange(4) * 5 + 4  # where the B of each pair stands
seconds = prompts.tokens[:, places]


@torch.no_grad()
def watched(model):
    """Behaviour, and attention of each head of layer 1 from END to B and to the other three."""
    logits, cache = model.run_with_cache(prompts.tokens)
    last = logits[:, -1]
    among = seconds.gather(1, last.gather(1, seconds).argmax(1, keepdim=True))[:, 0]
    pattern = cache["pattern", 1][:, :, -1]  # [prompt, head, key]
    to_b = pattern[rows, :, prompts.at_b].mean(0)
    to_all = pattern[:, :, places].sum(-1).mean(0)
    return {
        "right": float((among == prompts.answer).float().mean()),
        "some": float((last.argmax(-1)[:, None] == seconds).any(1).float().mean()),
        "to B": to_b.numpy(),
        "to another": ((to_all - to_b) / 3).numpy(),
    }


seen = [watched(saved.model()) for saved in kept]
steps = np.array([saved.step for saved in kept])
head = int(seen[-1]["to B"].argmax())
lines = {
    "B before the other B": [one["right"] for one in seen],
    "says some B": [one["some"] for one in seen],
    f"head 1.{head}: END to B": [float(one["to B"][head]) for one in seen],
    f"head 1.{head}: END to another B": [float(one["to another"][head]) for one in seen],
}
log.observe("start", lines["B before the other B"][0])
CurveView(
    [CurveSeries(name, steps[1:].tolist(), values[1:]) for name, values in lines.items()],
    title="One model, as it is trained",
    x_label="training step",
    y_label="share, or attention",
    log_x=True,
)

# %% [markdown]
# There are **two** stages. First the model learns to name *some* B of the text, and the head of layer 1 attends to all of them alike: the two lower curves rise together, and "right" stays at a quarter. Then they part: attention goes to the right one, and the answers follow. Anyone who plotted only the attention to B would say that the head began to form in the first stage. Keep that in mind for section 5.
#
# ## 4. Six seeds, and how a transition is measured
#
# One model is an anecdote. `cutaway run emergence` trained six, with everything the course knows measured at 37 steps (it takes 10 to 15 minutes, so we load what it found; prompts are averaged to keep the file small). A logistic curve in ln(step) says when and how suddenly:

# %%
found = Emergence.load("data/emergence.safetensors")
CurveView(
    [
        CurveSeries(
            f"seed {seed}", found.steps[1:].tolist(), found.curves[BEHAVIOUR][i, 1:, 0].tolist()
        )
        for i, seed in enumerate(found.seeds)
    ],
    title="Behaviour of six seeds",
    x_label="training step",
    y_label="share of prompts",
    log_x=True,
)

# %%
names = ("some B", COPIES, BEHAVIOUR, PROBE, HEAD, TELLS, STEER, SAYS)
log.observe("width", found.fits[BEHAVIOUR].width())
table(
    ["score", "onset", "midpoint", "width"],
    [
        (name, found.fits[name].onset(), found.fits[name].midpoint(), found.fits[name].width())
        for name in names
    ],
    digits=1,
)

# %% [markdown]
# Geometric means over seeds; the intervals are Student's, since six seeds are too few to resample. The width is a factor: from a tenth to nine tenths of the rise the number of steps does not even double. *Copying* is the copying score of the induction head, by its weights (notebook 10): it is there long before the head knows where to look. First what to say of a name, then which name.
#
# ## 5. Which comes first?
#
# Paired over seeds, since a seed that is late is late in everything. The ratio is the step of the second score over that of the first:

# %%
asked = [(PROBE, BEHAVIOUR), (HEAD, BEHAVIOUR), (TELLS, HEAD), (TELLS, BEHAVIOUR)]
orders = [found.order(*pair, of) for pair in asked for of in ("onset", "midpoint")]
table(
    ["first", "second", "by", "ratio", "first is earlier", "p", "verdict"],
    [
        (o.first, o.second, o.of, o.ratio, f"{o.earlier} of {o.n}", f"{o.p:.3f}", o.verdict)
        for o in orders
    ],
)

# %%
by_onset = {(o.first, o.second): o for o in orders if o.of == "onset"}
verdict = {"before": "head", "after": "behaviour"}
order = by_onset[HEAD, BEHAVIOUR].verdict
log.observe("order", verdict.get(order, order))
log.observe("two heads", by_onset[TELLS, HEAD].ratio)

# %% [markdown]
# Head, probe and behaviour **begin together**. By its midpoint the head would even come *after* the behaviour, in six of six seeds: its attention still climbs from 0.5 to 0.9 when the answers are right already. Half of one score is not half of another.
#
# Nor does the head of layer 0 come first, though the induction head needs what it writes. A little of its attention is enough for the second head to find B.
#
# Now the trap. Had we followed the *raw* attention from END to B:

# %%
after = found.steps > 0
strongest = found.strongest("END to B")
raw = fit_s_curves(found.steps[after], found.of_head("END to B", strongest)[:, after, 0])
ratio = np.log(found.fits[BEHAVIOUR].of_seeds("onset") / raw.of_seeds("onset"))
print(f"onset of the raw attention: step {raw.onset().estimate:.0f}")
print(f"earlier than the behaviour in {(ratio > 0).sum()} of {ratio.size} seeds")

# %% [markdown]
# Six of six seeds, the smallest p that six seeds can give, a clean story (the head makes the behaviour): and it is the first stage that we see, in which END attends to *every* B. Significance does not help against a score that measures two things.
#
# ## 6. A break, or a bend?
#
# A logistic curve can be fitted to many things. The change-point test asks whether two straight lines with a break between them explain the curve better than one cubic with as many coefficients; what chance does is simulated.

# %%
rng = np.random.default_rng(0)
grid = found.steps[after]
wide = SCurve(0.25, 1, 60, 60, 1, 0, False)(grid) + rng.normal(0, 0.02, grid.size)
rows_ = []
for i, seed in enumerate(found.seeds):
    one = change_point(grid, found.curves[BEHAVIOUR][i, after, 0])
    rows_.append((f"seed {seed}", f"{one.at:.0f}", one.p))
one = change_point(grid, wide)
rows_.append(("a wide S-curve with noise", f"{one.at:.0f}", one.p))
table(["curve", "break at step", "p"], rows_, digits=3)

# %% [markdown]
# All six break. The wide S-curve rises just as far, and is called what it is, a bend.
#
# ## 7. What sets it off?
#
# The run also trained small models of other context lengths, batch sizes and widths, three seeds each, and fitted by which power of each the midpoint moves. If the number of steps decided, the power of the batch would be 0; if the number of sequences did, −1.

# %%
sweep = found.sweep
log.observe("batch", sweep.law.exponents["batch"])
table(
    ["context", "batch", "midpoint, step"],
    [
        (str(context), str(batch), one)
        for (context, batch, _), one in sweep.midpoints(sweep.cells).items()
    ],
    digits=0,
)

# %%
laws = {**sweep.law.exponents, **sweep.width_law.exponents}
table(
    ["factor", "power", "doubled, the step is multiplied by"],
    [(name, one, 2**one.estimate) for name, one in laws.items()],
)

# %% [markdown]
# In between: a larger batch needs fewer steps, and more sequences. A longer context helps a little (more pairs come again in it). Of the width nothing can be told.
#
# ## 8. When does steering start to work?
#
# Emb(C) − Emb(B), C a name that is not in the prompt, added at B before layer 0, at B before layer 1, and at END:

# %%
ends = found.arrays["steered"]  # [seed, step, place, 1]
labels = ("B, before layer 0", "B, before layer 1", "END, before layer 0", "END, before layer 1")
log.observe("steering", found.order(STEER, SAYS).ratio)
table(
    ["step", *labels],
    [
        (str(found.steps[at]), *ends[:, at, :, 0].mean(0).tolist())
        for at in np.searchsorted(found.steps, (100, 150, 200, 300, 1000))
    ],
)

# %% [markdown]
# Steering at B works from the step on at which the model says B at all: it is the same circuit, fed with another name. At END it never works. What a name is when it is *read* (W_E) is not what it is when it is *said* (W_U).
#
# ## 9. The finished model
#
# How does our quarter of a minute compare with a model of several minutes? The induction score on random tokens, twice: [BOS, r, r] is nothing like the text that ours was trained on.

# %%
finished = ca.HookedTransformer.from_pretrained(MODEL)
ours = kept[-1].model()
name_tokens = list(range(ours.cfg.d_vocab - pairs.n_names, ours.cfg.d_vocab))
scores = {}
for name, model, vocabulary in (("ours", ours, name_tokens), (MODEL, finished, None)):
    of_heads = ca.heads.head_scores(
        model, half_length=12, names=["induction"], vocabulary=vocabulary
    )
    scores[name] = of_heads.mean("induction").max()
table(["model", "strongest induction score"], list(scores.items()))

# %% [markdown]
# Ours carries over in part: it learned to look for a *name* that was told its partner across some words, in a text with stops between, and random names in a row have neither.
#
# ## 10. Break it on purpose
#
# Induction takes two heads, one after the other. So take one layer away:

# %%
single = train_config(config.replace(n_layers=1, n_steps=300, log_spaced=0)).model


@torch.no_grad()
def right(model):
    """The behaviour alone."""
    last = model(prompts.tokens)[:, -1].gather(1, seconds)
    among = seconds.gather(1, last.argmax(1, keepdim=True))[:, 0]
    return ca.evidence.proportion(int((among == prompts.answer).sum()), len(rows))


log.observe("one layer", right(single))

# %% [markdown]
# It stays in the first stage: some B, and which one is a guess. (The other half of the experiment is for you: two layers, and a text in which B is drawn anew when A comes again.)
#
# ## 11. The log

# %%
log

# %% [markdown]
# ## 12. Exercises
#
# **Exercise 1.** A midpoint without a fit: take seed 0's behaviour (`found.curves[BEHAVIOUR][0, 1:, 0]`, at `found.steps[1:]`), call half-way the middle between the means of its first and its last five values, and interpolate ln(step) at the first crossing. Return the step.
#
# <details><summary>Hint</summary>
#
# Find the first index `k` whose value is above half-way; then `np.interp(half, y[k - 1 : k + 1], np.log(x[k - 1 : k + 1]))`.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# x, y = found.steps[1:], found.curves[BEHAVIOUR][0, 1:, 0]
# half = (y[:5].mean() + y[-5:].mean()) / 2
# k = int(np.argmax(y > half))
# midpoint = np.exp(np.interp(half, y[k - 1 : k + 1], np.log(x[k - 1 : k + 1])))
# ```
#
# </details>

# %%
midpoint = ...

# %%
fitted = fit_s_curve(found.steps[1:], found.curves[BEHAVIOUR][0, 1:, 0])
check(midpoint, fitted.midpoint, tolerance=0.1, hint="The fit is within a tenth of it.")

# %% [markdown]
# **Exercise 2.** If all of n seeds agree on an order, the p of the sign flips is 2 / 2^n. How many seeds does it take for p < 0.01?
#
# <details><summary>Hint</summary>
#
# Try n = 6, 7, 8.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# seeds_needed = next(n for n in range(1, 20) if 2 / 2**n < 0.01)
# ```
#
# </details>

# %%
seeds_needed = ...

# %%
check(seeds_needed, 8, tolerance=1e-9)

# %% [markdown]
# **Exercise 3.** In the trap of section 5 the probe has its part as well: `found.arrays["probe"]` is [seed, step, place, 1], the last place is after layer 1, and `found.arrays["probe another"]` is the same for the B of another pair. By how much does the probe's accuracy for B exceed the chance of 1 in 40 at step 170, on average over seeds, and how much of that is left when the accuracy for another pair's B is subtracted? Two numbers.
#
# <details><summary>Hint</summary>
#
# `at = np.searchsorted(found.steps, 170)`.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# at = np.searchsorted(found.steps, 170)
# own, another = (found.arrays[n][:, at, -1, 0].mean() for n in ("probe", "probe another"))
# excess = [own - 1 / 40, own - another]
# ```
#
# </details>

# %%
excess = ...

# %%
probe_at = [
    found.arrays[name][:, list(found.steps).index(170), 2].mean()
    for name in ("probe", "probe another")
]
check(excess, [probe_at[0] - 0.025, probe_at[0] - probe_at[1]], tolerance=1e-3)

# %% [markdown]
# ## 13. Questions to take along
#
# 1. A head's score and the loss turn at the same step in one training run. Name three explanations.
# 2. The mean over seeds of six sharp curves is a wide curve. What would you have concluded from the mean alone?
# 3. Why is ln(step) the right axis for a transition, and what would change with plain steps?
# 4. Half-way, the head of layer 0 is later than the behaviour. Does that show that the behaviour does not need it? Which experiment would?
# 5. The change-point test knows cubics as smooth. Which smooth curve would it call a break?
#
# ## Further
#
# - Next: [17 · The Shakespeare findings](17_the_shakespeare_findings.ipynb).
# - Back: [10 · Heads and induction heads](10_heads_and_induction_heads.ipynb), [11 · The induction circuit](11_the_induction_circuit.ipynb). The same as a report, with everything: `cutaway run emergence`.
# - Olsson et al. (2022), *In-context Learning and Induction Heads*, [arXiv:2209.11895](https://arxiv.org/abs/2209.11895).
# - Elhage et al. (2021), *A Mathematical Framework for Transformer Circuits*, [transformer-circuits.pub](https://transformer-circuits.pub/2021/framework/index.html).
# - Hewitt and Liang (2019), *Designing and Interpreting Probes with Control Tasks*, [arXiv:1909.03368](https://arxiv.org/abs/1909.03368).
# - Method cards: [emergence.md](../docs/methods/emergence.md), [probes.md](../docs/methods/probes.md), [steering.md](../docs/methods/steering.md), [evidence.md](../docs/methods/evidence.md).
