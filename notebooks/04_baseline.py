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
# # 04 · The behaviour, and one number for it
#
# Before you open a machine you should know exactly what it does. This notebook takes one behaviour of a small language model, gives it one number, and tries to break both. Nothing inside the model is touched yet.
#
# **What you will know afterwards**
#
# - what indirect object identification (IOI) is, and why it was the first behaviour whose circuit was traced end to end;
# - why the metric is a difference of two logits, and what it cannot see;
# - how to write a prediction that can turn out wrong;
# - how to tell "the model does the task" from "the model follows a rule that happens to agree with the task on these prompts".
#
# **Time:** about 25 minutes to read and try; the cells run in a few seconds on one processor core (GPT-2: about a minute).
#
# The cell below names the model. `ioi-mini` is a small transformer that was trained for this course and comes with the package. Write `"gpt2"` instead and everything below runs on GPT-2 small, which downloads its weights once (about 0.5 GB). No number in the text is typed in by hand: all come from the model that you name here.

# %%
MODEL = "ioi-mini"  # or "gpt2", or the folder of a model of your own

# %%
import torch
from course import Log, Markdown, check, table

import cutaway as ca
from cutaway.plotting import bars

torch.set_grad_enabled(False)  # nothing is trained here
model = ca.HookedTransformer.from_pretrained(MODEL)
cfg = model.cfg
print(
    f"{cfg.model_name}: {cfg.n_layers} layers, {cfg.n_heads} heads each, d_model {cfg.d_model}"
)
print(f"{sum(p.numel() for p in model.parameters()):,} weights, {cfg.d_vocab:,} tokens known")

# %% [markdown]
# ## 1. The behaviour
#
# Read this sentence and say the next word:
#
# > When John and Mary went to the store, John gave a drink to
#
# You said *Mary*. To get there you had to notice that John occurs twice, that the second John is the giver, and that the one who receives must be the other name. The roles have names, and we will use them in every notebook:
#
# | name | what it is | here |
# |:--|:--|:--|
# | **IO** | the indirect object: said once, and the right answer | Mary |
# | **S1** | the subject's first mention | the first John |
# | **S2** | the subject's second mention | the second John |
# | **END** | the last token, where the answer is predicted | " to" |
#
# The model sees tokens. Here a word and the space before it make one token, so the answer is `" Mary"` with its space.

# %%
prompt = "When John and Mary went to the store, John gave a drink to"
print(model.to_str_tokens(prompt))

# %% [markdown]
# ## 2. Predict, before you run
#
# A result that surprises you teaches more than one that does not, but you can only be surprised if you said beforehand what you expected. So each notebook begins with a log. The left half is written now; the right half is filled in by the cells further down, from what they compute. Every prediction is a range of numbers or one word, so that it can be wrong.
#
# **Change ours to yours before you go on.** You need one definition: the *logit difference* is `logit(IO) - logit(S)` at END. It is positive if the model prefers the right name, and 1 more means that the right name became e = 2.7 times more likely relative to the wrong one.

# %%
log = Log()
log.expect(
    "canonical", "Logit difference on the sentence above?", low=1, why="it is an easy sentence"
)
log.expect(
    "swaps", "Of 4 role swaps, how many are positive?", low=4, high=4, why="roles, not names"
)
log.expect("batch", "Mean logit difference over 64 prompts?", low=3, why="GPT-2 small has 3.6")
log.expect("accuracy", "Share of prompts with IO above S?", low=0.95, high=1)
log.expect(
    "control",
    "The same with answers of other prompts?",
    low=-1,
    high=1,
    why="wrong question, no answer",
)
log.expect(
    "third giver", "If a third person gives?", low=-1, high=1, why="both names are right"
)
log.expect("long", "With 4 sentences in between?", low=1, why="roles do not depend on distance")
log.expect(
    "last", "If the IO is the last name before END?", low=1, why="the roles are as before"
)
log

# %% [markdown]
# ## 3. One sentence, by hand
#
# The model returns logits of shape `[batch, pos, d_vocab]`: at each position a score for each token that could come next. We read the last position.

# %%
logits = model(prompt)  # [1, pos, d_vocab]
last = logits[0, -1]
probabilities = last.softmax(-1)
best = probabilities.topk(5)
table(
    ["next token", "logit", "probability"],
    [
        (repr(model.to_single_str_token(int(t))), float(last[t]), float(p))
        for p, t in zip(best.values, best.indices)
    ],
)

# %% [markdown]
# Is Mary on top? Now the one number. It ignores all tokens but two.

# %%
mary, john = model.to_single_token(" Mary"), model.to_single_token(" John")
logit_diff = float(last[mary] - last[john])
print(f"logit({' Mary'!r}) - logit({' John'!r}) = {logit_diff:+.2f}")
print(f"so Mary is {torch.tensor(logit_diff).exp():,.1f} times as likely as John")
log.observe("canonical", logit_diff)

# %% [markdown]
# Why a *difference of logits*, and not the probability of Mary?
#
# 1. **It asks one question.** Whatever makes *any* name likely here (the word "to" before it, for one) raises both logits alike, and cancels. What remains is the choice between the two names.
# 2. **It adds up.** Logits are a linear function of the last layer's normalised output. A part of the model that writes a vector to the residual stream adds a definite amount to the logit difference, and in notebook 07 we read these amounts off. Probabilities do not add up.
# 3. **It does not saturate.** Between a probability of 0.99 and 0.999 nothing seems to happen, but the logit difference still moves by 2.3.
#
# The price: it is blind to all other tokens. If the model turns to a third answer, this number may not move at all. The next cell says how much of the probability the two names have together here, and section 6 comes back to it.

# %%
both = float(probabilities[mary] + probabilities[john])
print(f"The two names together have {both:.0%} of the probability.")

# %% [markdown]
# ## 4. Four role swaps
#
# A model that loves the word *Mary* would pass the test above. So swap the roles: let Mary give, and use another couple as well. If all four differences are positive, the answer follows the *role* and not the *name*.

# %%
swaps = ca.tasks.ioi_role_swaps(model)
swap_values = swaps.baseline(model).clean_values
for text, roles, value in zip(swaps.clean_text, swaps.group, swap_values):
    print(f"{value:+6.2f}   {roles:<16} {text}")
log.observe("swaps", int((swap_values > 0).sum()))

# %% [markdown]
# ## 5. Many sentences, and an interval
#
# Four sentences are an anecdote. A `Task` holds many prompts together with all that belongs to them: the answers, the named positions, the metric, and for every *clean* prompt a *corrupted* partner (here the second name is flipped, so that the roles are exchanged). Half of the prompts name the IO first (the order ABBA), half the subject (BABA).

# %%
task = ca.tasks.ioi(model, n_prompts=64, corruption="s2-flip", seed=0)
for i in range(4):
    print(f"{task.clean_text[i]} ->{task.answer_text[i]}")
print(task)

# %%
baseline = task.baseline(model)
print(baseline)
log.observe("batch", baseline.clean)
log.observe("accuracy", baseline.accuracy)

# %% [markdown]
# How to read this: the first number is the mean over prompts. The brackets hold a 95% bootstrap interval: the prompts are drawn again and again with replacement, and 95% of the means so obtained lie inside. It tells how much the mean would move *with other prompts of this kind*. It tells nothing about prompts of another kind, and that is what section 6 is for.
#
# The corrupted prompts are measured with the clean prompts' answers. The names have changed roles there, so about the negative of the clean value is what a model that follows roles gives.
#
# A mean can hide a split. Here it is for every template, each bar with its interval: is there one on which the model fails?

# %%
from cutaway.evidence import bootstrap_mean

groups = sorted(set(task.group))
by_template = {
    g: bootstrap_mean([v for v, h in zip(baseline.clean_values, task.group) if h == g])
    for g in groups
}
weakest_first = sorted(groups, key=lambda g: by_template[g].estimate)
shown = [*weakest_first[:5], *weakest_first[-5:]] if len(groups) > 10 else weakest_first
bars(
    shown,
    [by_template[g].estimate for g in shown],
    "The five weakest and the five strongest templates",
    low=[by_template[g].low for g in shown],
    high=[by_template[g].high for g in shown],
    value_label="mean logit difference",
    reference=baseline.clean.estimate,
    reference_label="all",
)

# %%
from cutaway.tasks.ioi_text import CANONICAL, TEMPLATES

texts = {t.id: t.text for t in (*TEMPLATES, CANONICAL)}
Markdown(f"The weakest, `{weakest_first[0]}`, reads: *{texts[weakest_first[0]]} ...*")

# %% [markdown]
# **A control.** Is there something about the *procedure* that makes the number large? Give each prompt the answers of another prompt: the same logits, the same code, but names that the sentence does not hold. If this is far from zero, the metric measures something other than what we think.

# %%
all_logits = model(task.clean)
rows = torch.arange(len(task))
end = all_logits[rows, task.positions["END"]]  # [prompt, d_vocab]
io, s = (
    task.correct.roll(7),
    task.wrong.roll(7),
)  # the answers of the prompt seven places before
control = bootstrap_mean((end[rows, io] - end[rows, s]).double().numpy())
log.observe("control", control)

# %% [markdown]
# ## 6. Break it on purpose
#
# So far all prompts have the same build: two names, then one of them again, then the blank. On such prompts *very different rules give the same answers*:
#
# - **once**: answer the name that was said only once;
# - **not last**: answer the name that was *not* said last;
# - **first**: answer the first name of the sentence.
#
# Roles in the sense of "who gives, who receives" are yet another thing. Let us first see what the three rules score on our 64 prompts, without any model.


# %%
def names_in_order(text: str, io: str, s: str) -> list[str]:
    """Every mention of the two names, in order."""
    return [word for word in text.replace(",", "").replace(".", "").split() if word in (io, s)]


def once(names: list[str], io: str, s: str) -> int:
    counts = names.count(io), names.count(s)
    return (counts[0] == 1) - (counts[1] == 1)  # +1: says IO; -1: says S; 0: cannot tell


def not_last(names: list[str], io: str, s: str) -> int:
    return 1 if names[-1] == s else -1


def first(names: list[str], io: str, s: str) -> int:
    return 1 if names[0] == io else -1


RULES = {"once": once, "not last": not_last, "first": first}


def says(rule, task) -> list[int]:
    """What a rule answers to every prompt."""
    found = []
    for text, io, s in zip(task.clean_text, task.answer_text, task.wrong_text):
        io, s = io.strip(), s.strip()
        found.append(rule(names_in_order(text, io, s), io, s))
    return found


table(
    ["rule", "share of prompts where it answers IO"],
    [(name, sum(a == 1 for a in says(rule, task)) / len(task)) for name, rule in RULES.items()],
)

# %% [markdown]
# Two of these rules are perfect on our prompts, and yet they are different rules. **No number of prompts of this build can tell them apart.** So we need sentences of another build, in which the rules disagree. `ca.Task.from_prompts` makes a task of any sentences; a word that the model does not know is an error that names it.
#
# In the patterns below `{A}` and `{B}` are the two names in either order, `{GIVER}` is S in the clean prompt, `{T}` is a third person. A human answers IO to all of them, except where a third person gives.

# %%
FILLERS = (
    " It was a sunny day.",
    " The day was long.",
    " Music was playing.",
    " Nobody else was there.",
)
START = "Then {A} and {B} went to the store."
END = " {GIVER} gave a drink to"
PATTERNS = {
    "plain": START + END,
    "1 sentence between": START + "".join(FILLERS[:1]) + END,
    "2 sentences between": START + "".join(FILLERS[:2]) + END,
    "4 sentences between": START + "".join(FILLERS[:4]) + END,
    "a third name in the list": "Then {A}, {T} and {B} went to the store." + END,
    "S once more": START + " {S} was happy." + END,
    "IO once more": START + " {IO} was happy." + END,
    "both once more": START + " {IO} was happy, and {S} was sad." + END,
    "IO, S, S, IO": START + " {GIVER} looked at {IO} and gave a drink to",
    "S, S, IO": "Then {S} went to the store. {GIVER} saw {IO} there and gave a drink to",
    "IO, IO, S": "Then {IO} went to the store. {IO} was happy." + END,
    "a third person gives": START + " {T} gave a drink to",
}


def sentences(pattern: str, n: int = 64) -> ca.Task:
    """The names of `task` in sentences of this pattern."""
    prompts = []
    for i in range(n):
        io, s = task.answer_text[i].strip(), task.wrong_text[i].strip()
        third = next(
            x.strip()
            for x in task.answer_text[i + 1 :] + task.answer_text
            if x.strip() not in (io, s)
        )
        a, b = (io, s) if i % 2 == 0 else (s, io)
        names = {"A": a, "B": b, "IO": io, "S": s, "T": third}
        clean = pattern.format(**names, GIVER=s)
        # A task wants a changed partner: the giver is the other one, or another name changes.
        corrupted = pattern.format(**{**names, "T": s}, GIVER=io)
        if corrupted == clean:
            corrupted = pattern.format(**{**names, "A": b, "B": a}, GIVER=s)
        prompts.append(
            {"clean": clean, "corrupted": corrupted, "answer": f" {io}", "wrong": f" {s}"}
        )
    return ca.Task.from_prompts(model, prompts)


for name in ("4 sentences between", "S, S, IO", "IO, IO, S"):
    print(sentences(PATTERNS[name], n=1).clean_text[0])

# %% [markdown]
# Before you run the next cell: the last two of the printed sentences are those on which *once* and *not last* give opposite answers. Which of the two do you think the model follows? And what would you answer yourself?

# %%
broken = {name: sentences(pattern) for name, pattern in PATTERNS.items()}
broken["names that never met in training"] = ca.tasks.ioi(model, 64, pairs="held-out")
broken["templates that were not trained on"] = ca.tasks.ioi(model, 64, templates="held-out")
measured = {name: task_.baseline(model) for name, task_ in broken.items()}


def majority(rule, task_) -> str:
    answers = says(rule, task_)
    mean = sum(answers) / len(answers)
    return "IO" if mean > 0.9 else "S" if mean < -0.9 else "either"


table(
    ["sentences", "logit difference", "IO above S", "once says", "not last says"],
    [
        (
            name,
            result.clean,
            f"{result.accuracy.estimate:.0%}",
            majority(once, broken[name]),
            majority(not_last, broken[name]),
        )
        for name, result in measured.items()
    ],
)

# %% [markdown]
# (The last two rows are about `ioi-mini`, which never saw these pairs of names and these templates in training. To GPT-2 they are sentences like any other.)

# %%
log.observe("third giver", measured["a third person gives"].clean)
log.observe("long", measured["4 sentences between"].clean)
log.observe("last", measured["IO, S, S, IO"].clean)

# %% [markdown]
# Which rule describes this model best? For each rule, count the prompts of all patterns on which the rule answers one of the two names ("either" is no answer) and the model prefers the same one. Only the rows where the rules give *opposite* answers can decide between them.


# %%
def agreement(rule, names) -> tuple[int, int]:
    """On how many prompts the model prefers what the rule says, of those where it speaks."""
    same = total = 0
    for name in names:
        for says_, value in zip(says(rule, broken[name]), measured[name].clean_values):
            total += says_ != 0
            same += says_ * value > 0
    return same, total


apart = [
    name
    for name in PATTERNS
    if {majority(once, broken[name]), majority(not_last, broken[name])} == {"IO", "S"}
]
shares = {name: agreement(rule, PATTERNS) for name, rule in RULES.items()}
decisive = {name: agreement(rule, apart) for name, rule in RULES.items()}
print(f"Once and not last give opposite answers on: {'; '.join(apart)}.")


def share(counts: tuple[int, int]) -> str:
    return f"{counts[0]} of {counts[1]}"


table(
    ["rule", "agrees with the model on all patterns", "on those where the rules are opposed"],
    [(name, share(shares[name]), share(decisive[name])) for name in RULES],
)

# %%
winner = max(
    ("once", "not last"), key=lambda name: decisive[name][0] / max(decisive[name][1], 1)
)
won = decisive[winner][0] / max(decisive[winner][1], 1)
role = measured["IO, S, S, IO"].clean
print(
    f"Where the two rules are opposed, {winner!r} is the nearer one: "
    f"it gives {won:.0%} of the answers."
)
verdict = (
    "answers as a human does"
    if role.low > 0
    else "does not"
    if role.high < 0
    else "is undecided"
)
print(
    f"Where the giver looks at the receiver first, the logit difference is {role.estimate:+.2f}:"
)
print(f"a human answers IO there; the model {verdict}.")

# %% [markdown]
# Take this result along. **IOI as it is usually measured does not tell a model that understands giving from one that has a rule about where names stood.** Neither does a circuit that is found on these prompts. What we take apart in the next notebooks is the mechanism that produces the *behaviour on these prompts*, and its description must fit this table too.
#
# **What the metric cannot see.** The logit difference compares two tokens. Below is how often the right name beats *all* tokens, and how much probability is left for neither of the two.

# %%
p = end.softmax(-1)
top_is_io = (end.argmax(-1) == task.correct).double().mean()
rest = 1 - (p[rows, task.correct] + p[rows, task.wrong])
print(f"IO is the first of all {cfg.d_vocab:,} tokens on {top_is_io:.0%} of the prompts.")
print(
    f"Neither name: {rest.mean():.0%} of the probability on average, {rest.max():.0%} at most."
)

# %% [markdown]
# ## 7. What would falsify "the model does IOI"?
#
# A claim that nothing could refute says nothing. Ours is: *on prompts of this build, the model prefers the name in the role of IO, whichever name that is.* It would be refuted by
#
# - a role swap with a negative difference (section 4);
# - an interval of the mean that includes zero (section 5);
# - a preference that depends on the order of the names rather than on their roles: compare ABBA with BABA in exercise 3;
# - failure on names or templates that were not seen together (section 6).
#
# It is *not* refuted by failure on sentences of another build, because it does not speak about them. That is a limit of the claim, and the table above shows where the limit lies.

# %% [markdown]
# ## 8. The log

# %%
log

# %% [markdown]
# Look at the rows that say **no** or *undecided*. For each: which belief of yours made you write what you wrote, and what would you now write instead?
#
# ## 9. Exercises
#
# Replace the three dots, run the cell, then the check.
#
# **Exercise 1.** Compute the logit difference of every prompt of `task` from `all_logits` (`[prompt, pos, d_vocab]`, computed in section 5). The padding stands on the right, so the last token of a prompt is at `task.positions["END"]` and not at -1.
#
# <details><summary>Hint</summary>
#
# Index with two vectors at once: `all_logits[rows, positions]` takes position `positions[i]` of row `i`.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# at_end = all_logits[rows, task.positions["END"]]
# mine = at_end[rows, task.correct] - at_end[rows, task.wrong]
# ```
#
# </details>

# %%
mine = ...

# %%
check(
    mine,
    baseline.clean_values,
    hint="Compare with baseline.clean_values: which prompts are off?",
)

# %% [markdown]
# **Exercise 2.** How many prompts do you need so that the half-width of the 95% interval of the mean is 0.1? The half-width of a mean's interval is about 1.96 standard deviations divided by the square root of the number of prompts. Use the spread of `baseline.clean_values`.
#
# <details><summary>Hint</summary>
#
# Solve 0.1 = 1.96 · sd / √n for n.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# needed = (1.96 * baseline.clean_values.std() / 0.1) ** 2
# ```
#
# </details>

# %%
needed = ...

# %%
half = (baseline.clean.high - baseline.clean.low) / 2
print(f"With {len(task)} prompts the half-width is {half:.2f}.")
check(
    needed,
    lambda n: abs(n / (len(task) * (half / 0.1) ** 2) - 1) < 0.3,
    hint="Four times the prompts halve the interval.",
)

# %% [markdown]
# **Exercise 3.** Is there a bias for the order of the names? Compute the mean logit difference of the ABBA prompts minus that of the BABA prompts. In ABBA the IO is named first.
#
# <details><summary>Hint</summary>
#
# `task.positions["IO"] < task.positions["S1"]` is true for ABBA.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# abba = (task.positions["IO"] < task.positions["S1"]).numpy()
# order_effect = baseline.clean_values[abba].mean() - baseline.clean_values[~abba].mean()
# ```
#
# </details>

# %%
order_effect = ...

# %%
io_first = (task.positions["IO"] < task.positions["S1"]).numpy()
check(
    order_effect,
    baseline.clean_values[io_first].mean() - baseline.clean_values[~io_first].mean(),
    hint="Mean of ABBA minus mean of BABA.",
)

# %% [markdown]
# ## 10. Questions to take along
#
# 1. Suppose that the interval of the mean is [3.4, 3.7] and yet the model fails on one template out of fifteen. How would you notice, and what would you report?
# 2. The corrupted prompts differ from the clean ones in one token. Everything before that token is identical. What follows for everything the model computes before it?
# 3. Write a sentence in which *once*, *not last* and the giver's role give three different pictures. What does the model do with it?
# 4. Where, do you think, does the model decide? Write down a layer and a position before you open notebook 05.
#
# ## Further
#
# - Next: [05 · Activation patching](05_activation_patching.ipynb).
# - Wang et al. (2022), *Interpretability in the Wild: a Circuit for Indirect Object Identification in GPT-2 small*, [arXiv:2211.00593](https://arxiv.org/abs/2211.00593), section 2: the task, the names of the roles, and the metric. The rest is best read after notebook 06.
# - Heimersheim and Nanda (2024), *How to use and interpret activation patching*, [arXiv:2404.15255](https://arxiv.org/abs/2404.15255), on the choice of a metric.
