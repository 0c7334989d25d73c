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
# # 06 · Which heads, and does the model need them?
#
# Notebook 05 showed where the answer passes. Attention moves it, and attention is made of heads. Here we patch one head at a time, say how sure we are of each, and then turn the question round: if the heads that we found are taken away, is the behaviour lost? And if as many *other* heads are taken away?
#
# **What you will know afterwards**
#
# - how to rank heads by their effect, with intervals, and how to think about testing many heads at once;
# - at which position a head does its work;
# - zero, mean and resample ablation, and why they can disagree;
# - what a backup is, and how to see one.
#
# **Time:** about 35 minutes; the cells run in half a minute on one core (GPT-2: a quarter of an hour). Method cards: [activation-patching.md](../docs/methods/activation-patching.md) and [ablation.md](../docs/methods/ablation.md).

# %%
MODEL = "ioi-mini"  # or "gpt2", or the folder of a model of your own

# %%
import dataclasses

import numpy as np
import torch
from course import Log, Markdown, check, table

import cutaway as ca
from cutaway.evidence import bootstrap_mean
from cutaway.patching.ablation import ablate_many, random_heads
from cutaway.plotting import bars, heatmap

torch.set_grad_enabled(False)
model = ca.HookedTransformer.from_pretrained(MODEL)
cfg = model.cfg
n_heads = cfg.n_layers * cfg.n_heads
print(f"{cfg.model_name}: {cfg.n_layers} layers of {cfg.n_heads} heads make {n_heads} heads")


# %%
def with_s2_next(task: ca.Task) -> ca.Task:
    """The task with one more named position, as in notebook 05: the token after S2."""
    positions = {**task.positions, "S2+1": task.positions["S2"] + 1}
    positions["END"] = positions.pop("END")
    return dataclasses.replace(task, positions=positions)


task = with_s2_next(ca.tasks.ioi(model, n_prompts=64, corruption="s2-flip", seed=0))
baseline = task.baseline(model)
print(baseline)

# %% [markdown]
# ## 1. Predict
#
# A head's output before it is written to the residual stream is called `z`. The effect of a head is the normalised effect of putting its clean `z` into the corrupted run, at all positions at once. Heads are named by layer and number: 9.6 is head 6 of layer 9.
#
# The textbook picture is that of Wang et al. (2022) for GPT-2 small: some 26 of 144 heads in seven groups, among them two that work *against* the answer, and backups that take over when others are removed. Which of this do you expect here?

# %%
log = Log()
log.expect(
    "few",
    "Share of heads with an effect above 0.02, of either sign?",
    low=0,
    high=0.25,
    why="circuits are sparse",
)
log.expect(
    "negative", "Heads that clearly work against the answer?", low=1, why="GPT-2 has two"
)
log.expect(
    "late",
    "Mean layer of the three strongest heads, as a share of the depth?",
    low=0.5,
    high=1,
    why="answers are written late",
)
log.expect(
    "where",
    "At which position does the strongest head act?",
    answer="END",
    why="the answer is written there",
)
log.expect(
    "again",
    "Of the five strongest heads, how many come back with other prompts?",
    low=4,
    high=5,
)
log.expect("modes", "Correlation of denoising and noising effects over heads?", low=0.9, high=1)
log.expect(
    "random", "Share of random sets that do as much harm as the top heads?", low=0, high=0.05
)
log.expect(
    "additive",
    "Joint loss of the top heads, divided by the sum of single losses?",
    low=0.8,
    high=1.2,
    why="no backups",
)
log

# %% [markdown]
# ## 2. One head at a time

# %%
heads = ca.sweep(model, task, "z")
heads.plot("Denoising z, one head at a time, all positions")

# %%
TOP = 8
top = heads.top(TOP)
for head in top:
    print(head)

# %%
bars(
    [head.name for head in top],
    [head.effect for head in top],
    "The strongest heads, with 95% intervals",
    low=[head.low for head in top],
    high=[head.high for head in top],
    value_label="normalised effect",
)

# %% [markdown]
# ### How many heads matter?
#
# Two questions hide in this one.
#
# *Is the effect there at all?* The interval excludes 0. But with many heads, one in twenty intervals at 95% would exclude 0 by chance even if no head did anything. A simple guard is Bonferroni's: for n heads take intervals at the level 1 - 0.05 / n.
#
# *Is it large enough to care?* With enough prompts any effect excludes 0, however small. So we also ask for a least size. We take 0.02, one fiftieth of the whole difference: a convention, stated beforehand.

# %%
effect, low, high = heads.interval(level=1 - 0.05 / n_heads)
there = (low > 0) | (high < 0)
large = np.abs(effect) > 0.02
_, low95, high95 = heads.interval()
print(
    f"intervals at 95% exclude 0:           "
    f"{int(((low95 > 0) | (high95 < 0)).sum())} of {n_heads}"
)
print(f"intervals at the stricter level do:   {int(there.sum())} of {n_heads}")
print(f"and the effect is larger than 0.02:   {int((there & large).sum())} of {n_heads}")
against = [h for h in heads.ranked(level=1 - 0.05 / n_heads) if h.high < 0 and h.effect < -0.02]
print("clearly against the answer:", ", ".join(h.name for h in against) or "none")
log.observe("few", float((there & large).mean()))
log.observe("negative", len(against))
layers = [int(h.labels["layer"]) for h in top[:3]]
log.observe("late", float(np.mean(layers) / max(cfg.n_layers - 1, 1)))

# %% [markdown]
# A negative effect is no error: putting the head's clean output back *lowers* the logit difference, so on clean prompts the head works against the answer.
#
# ## 3. Where does each head work?
#
# `z` was replaced at all positions at once. Replace it at one position at a time: the columns say where the head's output matters.

# %%
names = list(task.positions)
by_position = ca.sweep(model, task, "z", positions=names)  # [layer, head, position]
chosen = [(int(h.labels["layer"]), int(h.labels["head"])) for h in top]
rows = np.array([by_position.normalised()[at, h] for at, h in chosen])
heatmap(
    np.column_stack([rows, rows.sum(1), [h.effect for h in top]]),
    [h.name for h in top],
    [*names, "sum", "all"],
    "Denoising z of the top heads, one position at a time",
    row_axis="head",
    value_label="normalised effect",
)

# %%
strongest_at = np.abs(by_position.normalised()).argmax(
    -1
)  # [layer, head], index of the position
best_position = {
    f"{at}.{h}": names[strongest_at[at, h]]
    for at in range(cfg.n_layers)
    for h in range(cfg.n_heads)
}
log.observe("where", best_position[top[0].name])
missing = [h.name for h, row in zip(top, rows) if abs(row.sum() - h.effect) > 0.05]
print(
    "Sum over the named positions differs from 'all' by more than 0.05 for:",
    ", ".join(missing) or "none",
)

# %% [markdown]
# Compare the column "sum" with "all". If they agree, the head does its work at named positions, and we know at which. If "all" is larger, it also acts at a position that has no name here, or the positions act together.
#
# Heads that act at END *write* the answer or steer those that do. Heads that act elsewhere prepare something there, which other heads then pick up: they must, because only END is read. So a head at S2 or S2+1 and a head at END can be two stages of *one* path, and their effects count the same thing twice.
#
# ## 4. The other direction
#
# Noising: put the *corrupted* `z` into the clean run, and see how much of the answer is lost.

# %%
noised = ca.sweep(model, task, "z", mode="noising")
a, b = heads.normalised(), noised.normalised()
log.observe("modes", float(np.corrcoef(a.ravel(), b.ravel())[0, 1]))
table(
    ["head", "acts at", "denoising: enough?", "noising: needed?"],
    [
        (h.name, best_position[h.name], float(a[at, n]), float(b[at, n]))
        for h, (at, n) in zip(top, chosen)
    ],
)

# %% [markdown]
# ## 5. Is it a property of the model, or of these prompts?
#
# Draw other prompts and do it again. (The intervals above make a statement about this; here we look.)

# %%
others = with_s2_next(ca.tasks.ioi(model, n_prompts=64, corruption="s2-flip", seed=1))
again = ca.sweep(model, others, "z")
first_five, second_five = ([h.name for h in e.top(5)] for e in (heads, again))
print("seed 0:", " ".join(first_five))
print("seed 1:", " ".join(second_five))
log.observe("again", len(set(first_five) & set(second_five)))

# %% [markdown]
# ## 6. Ablate, do not only patch
#
# Patching swaps between two runs. Ablation asks something cruder: the clean prompt runs, and the head is *taken away*. But a head cannot simply be absent; something must stand in the place of its `z`.
#
# | method | what stands there | what is wrong with it |
# |:--|:--|:--|
# | **zero** | zeros | the model has never seen zeros there: later layers may rely on the head's usual output, and suffer for another reason |
# | **mean** | the mean over prompts with other names, for each position of the template | keeps what is the same in all prompts; a mean of vectors may be no vector that ever occurs |
# | **resample** | the value from one random prompt with other names | a real value, but it carries a wrong signal instead of none, and it is noisy |
#
# The other names come from the corruption `abc`, as in Wang et al.: sentences of the same templates with three different names, which hold no answer. There are more of them than task prompts, so that a mean over one template is a mean over several sentences.
#
# Two precautions. The heads were *chosen* on the prompts of seed 0, and whoever wins a race by luck will not win the next one; so from here on everything is measured on the other prompts, those of seed 1. And we take only heads that *help*: one that works against the answer would raise the metric when it is taken away, and hide the loss.
#
# The table shows the change of the mean logit difference when one head is taken away, in logits: negative where the head helps.

# %%
reference = ca.tasks.ioi(model, n_prompts=256, corruption="abc", seed=0)
fresh = others.baseline(model)  # of the prompts that the heads were not chosen on
helpers = [h for h in heads.ranked() if h.effect > 0][:TOP]
METHODS = ("zero", "mean", "resample")
single = {
    method: ablate_many(model, others, [[h.name] for h in helpers], method, reference=reference)
    for method in METHODS
}
table(
    ["head taken away", *METHODS],
    [(h.name, *(single[m][i].change() for m in METHODS)) for i, h in enumerate(helpers)],
)

# %%
spread = [
    max(r) - min(r) for r in zip(*([x.change().estimate for x in single[m]] for m in METHODS))
]
odd = int(np.argmax(spread))
print(f"The methods disagree most about {helpers[odd].name}:", end=" ")
print(", ".join(f"{m} {single[m][odd].change().estimate:+.2f}" for m in METHODS))

# %% [markdown]
# Where the three columns agree, the number means something. Where they do not, ask what the replacement does to the model besides removing the signal. A head whose zero ablation *raises* the logit difference by a lot need not be a head that works against the answer: its mean output may be something that later layers need for another purpose. That is why a single method is not enough for a claim.
#
# ### Against a control
#
# Take all top heads away together. Is the loss large? Large compared with what? With the loss from as many heads *drawn at random* among all others.

# %%
N_TOP, N_SETS = 4, 20
top_set = [h.name for h in helpers[:N_TOP]]
controls = random_heads(model, N_TOP, N_SETS, exclude=top_set, seed=0)
summary = []
for method in METHODS:
    together, *rest = ablate_many(
        model, others, [top_set, *controls], method, reference=reference
    )
    random_changes = np.array([r.change().estimate for r in rest])
    worse = float((random_changes <= together.change().estimate).mean())
    summary.append(
        (
            method,
            together.change(),
            float(random_changes.mean()),
            float(random_changes.min()),
            worse,
        )
    )
log.observe("random", next(row[-1] for row in summary if row[0] == "mean"))
print(
    f"Without ablation the logit difference is {fresh.clean.estimate:.2f}. "
    f"Top heads: {' '.join(top_set)}."
)
table(
    [
        "method",
        f"the top {N_TOP} heads",
        f"{N_SETS} random sets: mean",
        "the worst of them",
        "share as bad",
    ],
    summary,
)

# %% [markdown]
# ### One after the other
#
# Take away the strongest, then the two strongest, and so on. How many are needed until nothing is left, or until the preference turns round?

# %%
steps = ablate_many(
    model,
    others,
    [[h.name for h in helpers[:k]] for k in range(len(helpers) + 1)],
    "mean",
    reference=reference,
)
means = [step.mean() for step in steps]
bars(
    ["none", *(f"+ {h.name}" for h in helpers)],
    [m.estimate for m in means],
    "Heads taken away one after the other",
    low=[m.low for m in means],
    high=[m.high for m in means],
    value_label="mean logit difference (mean ablation)",
)

# %% [markdown]
# ## 7. Backups
#
# If heads worked independently, the loss from taking several away would be the sum of the single losses. Two things can make it different.
#
# - **Joint loss larger than the sum:** while one was missing, another one stood in for it. In GPT-2 small this is strong: remove the name movers, and *backup name movers* take over, so single ablations understate what the group does.
# - **Joint loss smaller than the sum:** the heads are stages of one path, and cutting a path twice does not cut it more. Or nothing is left to lose: a model without a preference cannot fall much further.

# %%
losses = {h.name: -r.change().estimate for h, r in zip(helpers, single["mean"])}
joint = -steps[N_TOP].change().estimate
total = sum(losses[name] for name in top_set)
print(
    f"single losses of {' '.join(top_set)}: "
    f"{' + '.join(f'{losses[n]:.2f}' for n in top_set)} = {total:.2f}"
)
print(f"joint loss: {joint:.2f}")
log.observe("additive", joint / total)

# %% [markdown]
# To find out *who* goes with whom, take the heads away in pairs. For two heads the **interaction** is the joint loss minus the sum of the two single losses, in logits: positive where they back each other up, negative where they are stages of one path, zero where they are independent. The last row is a control: the head with the least effect of all.

# %%
inert = heads.ranked()[-1].name
members = [*(h.name for h in helpers[:6]), inert]
pairs = [(x, y) for i, x in enumerate(members) for y in members[:i]]
alone = dict(
    zip(
        members, ablate_many(model, others, [[m] for m in members], "mean", reference=reference)
    )
)
both = dict(zip(pairs, ablate_many(model, others, pairs, "mean", reference=reference)))


def loss(ablation) -> np.ndarray:
    """What the ablation takes from the logit difference, [prompt]."""
    return ablation.clean - ablation.ablated


interaction = {
    (x, y): bootstrap_mean(loss(both[x, y]) - loss(alone[x]) - loss(alone[y])) for x, y in pairs
}
matrix = np.full((len(members), len(members)), np.nan)
for (x, y), value in interaction.items():
    matrix[members.index(x), members.index(y)] = value.estimate
heatmap(
    matrix[1:, :-1],
    members[1:],
    members[:-1],
    "Interaction of two heads (mean ablation)",
    value_label="logits",
)

# %%
LEAST = 0.2  # logits; smaller interactions are not named
sure = sorted(interaction.items(), key=lambda item: -abs(item[1].estimate))
backups = [(pair, i) for pair, i in sure if i.low > LEAST]
paths = [(pair, i) for pair, i in sure if i.high < -LEAST]


def described(found) -> str:
    return "; ".join(f"{x} and {y} ({i.estimate:+.2f})" for (x, y), i in found) or "none"


print("back each other up:", described(backups))
print("lie on one path:   ", described(paths))

# %% [markdown]
# The pairs above are only the heads that were found. A backup need not be among them: it may do nothing at all while the other one works. So look further down the list, too: which heads are worth *more* when the strongest one that acts at END is gone?

# %%
writer = next((h.name for h in helpers if best_position[h.name] == "END"), top_set[0])
candidates = [h.name for h in heads.ranked() if h.name != writer][:12]
gone, *with_both = ablate_many(
    model, others, [[writer], *([writer, c] for c in candidates)], "mean", reference=reference
)
without = ablate_many(model, others, [[c] for c in candidates], "mean", reference=reference)
gains = [
    (c, bootstrap_mean(loss(x)), bootstrap_mean(gone.ablated - y.ablated))
    for c, x, y in zip(candidates, without, with_both)
]
gains.sort(key=lambda row: row[1].estimate - row[2].estimate)
table(["head", "worth while all others work", f"worth when {writer} is gone"], gains[:6])

# %% [markdown]
# An interaction is not yet a mechanism. The last layers are not linear (the final normalisation divides by the length of the stream, MLPs saturate), and this alone changes what everything is worth once a large part is gone. A backup in the strict sense *changes its own behaviour*: it attends elsewhere, or writes more. Notebook 07 looks at what heads attend to and write.
#
# ## 8. Break things on purpose
#
# **Another corruption finds other heads.** With `s2-flip` both names stay where they are, and only the second mention changes: heads that merely carry *which two names there are* have the same output in both runs, and stay invisible. With `abc` all names change.

# %%
abc = ca.tasks.ioi(model, n_prompts=64, corruption="abc", seed=0)
abc_heads = ca.sweep(model, abc, "z")
five = {"s2-flip": first_five, "abc": [h.name for h in abc_heads.top(5)]}
for name, found in five.items():
    print(f"{name:<8}", " ".join(found))
new = [h for h in five["abc"] if h not in five["s2-flip"]]
print("only with abc:", " ".join(new) or "none")
table(
    ["head", "s2-flip", "abc"],
    [
        (f"{at}.{h}", float(a[at, h]), float(abc_heads.normalised()[at, h]))
        for at, h in (
            map(int, n.split(".")) for n in dict.fromkeys(five["s2-flip"] + five["abc"])
        )
    ],
)

# %% [markdown]
# **Another criterion finds other heads too.** A tempting short cut: heads that write a lot must be important. Take the heads with the longest outputs at END, and ablate as many of them as above.

# %%
_, cache = model.run_with_cache(
    task.clean, names_filter=[ca.get_act_name("z", at) for at in range(cfg.n_layers)]
)
row, end = torch.arange(len(task)), task.positions["END"]
norms = torch.stack(
    [
        torch.einsum("phe,hed->phd", cache["z", at][row, end], model.W_O[at])
        .norm(dim=-1)
        .mean(0)
        for at in range(cfg.n_layers)
    ]
)  # [layer, head]
loudest = [
    divmod(int(i), cfg.n_heads) for i in norms.flatten().argsort(descending=True)[:N_TOP]
]
loud = ca.ablate(model, others, loudest, "mean", reference=reference)
best = steps[N_TOP]
table(
    ["heads", "which", "change (mean ablation)"],
    [
        ("largest effect", best.name, best.change()),
        ("longest output", loud.name, loud.change()),
    ],
)

# %% [markdown]
# ## 9. The log

# %%
log

# %%
gain = joint / total
strongest = ", ".join(
    f"{h.name} ({h.effect:+.2f}, at {best_position[h.name]})" for h in helpers[:N_TOP]
)
Markdown(
    f"**What this notebook found.** Heads with a clear effect above 0.02: "
    f"{int((there & large).sum())} of {n_heads}. Those that help most are {strongest}. "
    f"Mean ablation of these {N_TOP} changes the logit difference from "
    f"{fresh.clean.estimate:.2f} to {steps[N_TOP].mean().estimate:.2f}; "
    f"{summary[1][-1]:.0%} of {N_SETS} random sets do as much. "
    f"Their joint loss is {gain:.2f} times the sum of the single losses, "
    + (
        "more than independent heads would lose. "
        if gain > 1.2
        else "less than independent heads would lose. "
        if gain < 0.8
        else "about what independent heads would lose. "
    )
    + f"Pairs that back each other up: {described(backups)}; on one path: {described(paths)}."
)

# %% [markdown]
# Now is the time to read Wang et al. (2022): the names of their heads will mean something. Then look back at your predictions. What did you expect from GPT-2 that a model of this size does not need?
#
# ## 10. Exercises
#
# **Exercise 1.** From `heads`, make the set of names of all heads whose 95% interval excludes 0 *and* whose effect is larger than 0.1 in absolute value.
#
# <details><summary>Hint</summary>
#
# `heads.ranked()` lists every head with `.name`, `.effect`, `.low`, `.high`.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# strong = {h.name for h in heads.ranked() if abs(h.effect) > 0.1 and (h.low > 0 or h.high < 0)}
# ```
#
# </details>

# %%
strong = ...

# %%
effects_, low_, high_ = heads.interval()
keep = (np.abs(effects_) > 0.1) & ((low_ > 0) | (high_ < 0))
check(
    strong,
    {f"{at}.{h}" for at, h in zip(*np.nonzero(keep))},
    hint="A set of names such as '1.5'.",
)

# %% [markdown]
# **Exercise 2.** What is the least number of heads, taken away in the order of `helpers` by mean ablation, after which the mean logit difference is below half of what it was? Write the number, or 0 if eight do not suffice.
#
# <details><summary>Hint</summary>
#
# `steps[k]` has the `k` strongest heads taken away; `.mean().estimate` is the mean logit difference.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# half = fresh.clean.estimate / 2
# least = next((k for k, step in enumerate(steps) if step.mean().estimate < half), 0)
# ```
#
# </details>

# %%
least = ...

# %%
check(least, next((k for k, m in enumerate(means) if m.estimate < means[0].estimate / 2), 0))

# %% [markdown]
# **Exercise 3.** Bring up the control. Which share of 40 random *single* heads (not among `top_set`; use `random_heads(model, 1, 40, exclude=top_set, seed=1)`) lose more by mean ablation than the *weakest* head of `top_set` does on its own?
#
# <details><summary>Hint</summary>
#
# `ablate_many(model, others, sets, "mean", reference=reference)` gives one result per set; a loss is a negative `.change().estimate`. There may be fewer than 40 different heads; they may be drawn twice.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# singles = random_heads(model, 1, 40, exclude=top_set, seed=1)
# changes = [r.change().estimate for r in ablate_many(model, others, singles, "mean", reference=reference)]
# weakest = max(r.change().estimate for h, r in zip(helpers, single["mean"]) if h.name in top_set)
# share_worse = sum(c < weakest for c in changes) / len(changes)
# ```
#
# </details>

# %%
share_worse = ...

# %%
if share_worse is not ...:
    drawn = random_heads(model, 1, 40, exclude=top_set, seed=1)
    drawn_changes = [
        r.change().estimate
        for r in ablate_many(model, others, drawn, "mean", reference=reference)
    ]
    bar = max(r.change().estimate for h, r in zip(helpers, single["mean"]) if h.name in top_set)
check(share_worse, lambda x: abs(x - sum(c < bar for c in drawn_changes) / 40) < 1e-6)

# %% [markdown]
# ## 11. Questions to take along
#
# 1. A head has a denoising effect of 0.3 and a loss by mean ablation of nearly 0. Give two explanations. Which experiment separates them?
# 2. Why is the mean taken for each position of a template, and not over all prompts at once?
# 3. Twenty random sets did less harm than the top heads. What is the smallest p-value that this control can give? How many sets would you draw for a paper?
# 4. Two heads at END, each with an effect of 0.5. Their joint effect is 0.5. What are they?
#
# ## Further
#
# - Next: [07 · What they attend to](07_attention.ipynb). Method card: [ablation.md](../docs/methods/ablation.md).
# - Wang et al. (2022), [arXiv:2211.00593](https://arxiv.org/abs/2211.00593): sections 3 and 4, and appendix B on backups.
# - McGrath et al. (2023), *The Hydra Effect: Emergent Self-repair in Language Model Computations*, [arXiv:2307.15771](https://arxiv.org/abs/2307.15771).
# - Heimersheim and Nanda (2024), [arXiv:2404.15255](https://arxiv.org/abs/2404.15255), on what ablations and patches do and do not show.
