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
# # 13 · Probes: what can be read, and what is used
#
# All the notebooks before this one intervened and looked at the answer. A probe does not touch the model at all. It takes activations and a label ("which name is the answer?", "which name came first?"), and learns to tell the one from the other. If it can, the label is *in there*. That is a useful thing to know, and it is easy to take it for more than it is: the model is not obliged to look where we look. So there are three questions, and three controls for each: is it there, is it there because the model put it there, and does the model use it?
#
# **What you will know afterwards**
#
# - how to fit a linear probe by hand, and why prompts are dealt out by groups;
# - what a probe's accuracy must be held against: control tasks, shuffled labels, random weights, embeddings;
# - where `ioi-mini` knows the answer, what it knows at S2, and what it does not keep at all;
# - how to *erase* a label, so that no linear probe can read it, and that the behaviour may not care;
# - a probe with an accuracy of 1.00 whose erasure changes nothing, and one whose erasure destroys the behaviour;
# - three ways to fool yourself with probes.
#
# **Time:** about 45 minutes; the cells run in about a minute on one core (on GPT-2: plan for an hour). Method card: [probes.md](../docs/methods/probes.md).

# %%
MODEL = "ioi-mini"  # or "gpt2", or the folder of a model of your own

# %%
import numpy as np
import torch
from course import Log, check, table

import cutaway as ca
from cutaway.plotting import heatmap
from cutaway.probing import (
    Labels,
    ProbeSettings,
    collect,
    erase,
    erasure_effect,
    erasure_map,
    fit_probe,
    mean_difference,
    probe,
    split,
)

torch.set_grad_enabled(False)
model = ca.HookedTransformer.from_pretrained(MODEL)
LAST = model.cfg.n_layers - 1
EARLY = min(1, LAST)
NAMES = "Mary John Anna Tom James Paul Lisa Peter Kate David Sarah Emma".split()
N_PROMPTS = 1024
task = ca.tasks.ioi(model, n_prompts=N_PROMPTS, corruption="s2-flip", names=NAMES)
print(task.baseline(model))
print(task.clean_text[0], "->", task.answer_text[0])

# %% [markdown]
# Twelve names only, so that every name is the answer of many prompts: a probe with twelve classes and 128 dimensions has some 1,500 weights to learn.
#
# ## 1. Predict

# %%
log = Log()
log.expect(
    "end",
    "Accuracy of 'which name is the answer?' at END after the last layer?",
    low=0.9,
    confidence=0.9,
    why="it is about to say it",
)
log.expect(
    "s2",
    "The same at S2 after layer 1 (a guess: 1 in 12)?",
    low=0.0,
    high=0.3,
    confidence=0.6,
    why="at S2 the name that stands there is the other one",
)
log.expect(
    "random",
    "And at S2 in a model that was never trained?",
    low=0.0,
    high=0.2,
    confidence=0.7,
    why="it has learnt nothing",
)
log.expect(
    "order",
    "'Which name came first?' at END after the last layer (a guess: 0.5)?",
    low=0.8,
    confidence=0.6,
    why="it must have kept track of the two",
)
log.expect(
    "duplicate",
    "'Did the name at S2 stand before?' at S2 after layer 1?",
    low=0.9,
    confidence=0.7,
    why="notebook 08 saw duplicate-token heads there",
)
log.expect(
    "used",
    "Effect of erasing the answer at END after layer 1 (1: as on the corrupted prompts)?",
    low=0.4,
    high=1.0,
    confidence=0.8,
    why="without it there is nothing to say",
)
log.expect(
    "unused",
    "Effect of erasing the answer at IO after layer 1?",
    low=0.2,
    high=1.0,
    confidence=0.5,
    why="the name movers read the name there",
)
log.expect(
    "control",
    "Accuracy at IO after layer 1 of a probe of labels that mean nothing, dealt out by word?",
    low=0.0,
    high=0.3,
    confidence=0.5,
    why="there is nothing to find",
)
log

# %% [markdown]
# ## 2. One probe, by hand
#
# `collect` runs the prompts and keeps what passes a site at every layer and named position, with a label for each prompt.

# %%
data = collect(model, task, "answer", site="resid_post")
print(" x ".join(f"{len(axis.labels)} {axis.name}s" for axis in data.axes), "|", data.labels)
print(data.at(layer=LAST, position="END").shape)

# %% [markdown]
# A probe must be tested on prompts that it has not seen. But what is "not seen"? If *Mary and John* are in a train prompt and in a test prompt, the probe may have learnt the pair. So whole **groups** of prompts are dealt out: here all prompts of the same two names (in either role) go to the same side. Three parts: **train** to fit, **validation** to choose (a penalty, a place), **test** to look at once.

# %%
parts = split(data.groups, seed=0)
print({name: len(part) for name, part in vars(parts).items()}, "prompts")
shared = {data.groups[i] for i in parts.train} & {data.groups[i] for i in parts.test}
print("pairs of names in both train and test:", len(shared))

x = data.at(layer=LAST, position="END")
one = fit_probe(x[parts.train], data.labels.subset(parts.train))
for name in ("train", "test"):
    part = getattr(parts, name)
    print(f"{name:<6}{one.accuracy(x[part], data.labels.subset(part)):.3f}")

# %% [markdown]
# `fit_probe` is scikit-learn's logistic regression on activations that were standardised *by the train prompts alone*, with the weights turned back into the activations' own units. Nothing about the test prompts, not even their mean, has gone into it.
#
# ## 3. The whole map
#
# The same at every layer and position; all places, labels and controls are solved at once. With more than ten classes it takes ridge regression, which has a closed form.

# %%
answer = probe(model, task, "answer")
log.observe("end", answer.interval(layer=LAST, position="END"))
log.observe("s2", answer.interval(layer=EARLY, position="S2"))
heatmap(
    answer.mean(),
    row_labels=answer.axes[0].labels,
    column_labels=answer.axes[1].labels,
    title="Which name is the answer? Accuracy on test prompts",
    row_axis="layer",
    column_axis="position",
)

# %% [markdown]
# (The log may say "undecided": all test prompts are right, but they are of thirteen pairs of names only, and thirteen of thirteen is compatible with a share of 0.77.)
#
# Read it column by column. At **IO** it is the token itself. At **S1** and **S1+1** there is next to nothing. At **END** it is there from layer 1 on, as the earlier notebooks would have it: head 1.2 and its like bring it. And at **S2** it is there too, from layer 1 on. Has the model worked out the answer at S2, where the giver is named for the second time? That would be news. Before you believe it, look at the controls.
#
# ## 4. Beside the controls
#
# - **control task** (Hewitt and Liang 2019): each *word* gets a label by lot, the same wherever it stands. That can only be learnt by heart. What a probe gains beyond it is its **selectivity**.
# - **shuffled labels**: nothing to find at all.
# - **random weights**: the same probe on a model of the same shape that was never trained.
# - **embeddings**: the same position before the first layer.
# - **majority**: the most frequent class.

# %%
names_of = ("control task", "shuffled labels", "random weights", "embeddings", "majority")
places = [{"layer": str(EARLY), "position": position} for position in ("IO", "S2", "END")]
log.observe("random", answer.control("random weights", layer=EARLY, position="S2"))
log.observe("control", answer.control("control task", layer=EARLY, position="IO"))
table(
    [f"after layer {EARLY}", "accuracy", "selectivity", *names_of],
    [
        (
            place["position"],
            answer.interval(**place),
            answer.selectivity(**place),
            *(answer.control(name, **place).estimate for name in names_of),
        )
        for place in places
    ],
)

# %% [markdown]
# Three rows, three lessons.
#
# - **IO**: labels that mean nothing are read as well as the real ones. The probe knows twelve words apart, and anything can be hung on a word. The accuracy of 1.00 says "the word is there", which we knew.
# - **S2**: a model that was *never trained* does it as well. Attention that looks everywhere alike carries a little of each name to every later position, and a probe with enough prompts digs it out. So this is no sign that `ioi-mini` does anything at S2.
# - **END**: random weights manage 0.20. Here training has put something.
#
# The selectivity at END is near 0 as well, though the answer is there by the model's own work. The control task there goes by the word at S1, which can be read at END too, so that *its* labels can be learnt. Selectivity says whether a high accuracy *may* be words learnt by heart. It does not say that it is.
#
# ## 5. What is not there, and what is not linear
#
# Two more labels. `order`: is the IO named first or second? `duplicate:S2`: did the name at S2 stand in the prompt before? For that we need prompts where it did not, so the corrupted prompts, with a third name at S2, join in. Both have all hundred names again.

# %%
many = ca.tasks.ioi(model, n_prompts=N_PROMPTS)
third = ca.tasks.ioi(model, n_prompts=N_PROMPTS, corruption="random-name")
quick = ProbeSettings("ridge", (10.0, 100.0), n_controls=1, n_shuffles=0)
order = probe(model, many, "order", positions=["S1", "S2", "END"], settings=quick)
duplicate = probe(model, third, "duplicate:S2", positions=["S2", "END"], settings=quick)
log.observe("order", order.interval(layer=LAST, position="END"))
log.observe("duplicate", duplicate.interval(layer=EARLY, position="S2"))
table(
    ["layer", "order at S1", "at S2", "at END", "duplicate at S2", "at END "],
    [
        (
            str(layer),
            *(order.interval(layer=layer, position=at) for at in ("S1", "S2", "END")),
            *(duplicate.interval(layer=layer, position=at) for at in ("S2", "END")),
        )
        for layer in range(LAST + 1)
    ],
)

# %% [markdown]
# - The **order** can be read at S1, where it is a matter of position and of what came before. At S2 and END it is a coin toss. The model does the task without keeping it: it needs *who is named twice*, not *who came first*. A negative result like this one is worth as much as a positive one, but it says "no linear probe on so many prompts", not "nowhere".
# - The **duplicate** is barely readable at S2 and clearly at END. That a name matches an earlier one is a relation of two vectors. A head can act on it (its queries and keys do the matching), and yet there is no direction at S2 that stands for "repeated".
#
# ## 6. Is it used? Erasure
#
# Now the question that a probe cannot answer. **Erase** the label: find the affine map after which no linear probe can read it, and which changes the activations least otherwise (LEACE, Belrose et al. 2023). In whitened coordinates it is an orthogonal projection: away with the directions in which the activations and the label vary together.

# %%
fitted = np.concatenate([parts.train, parts.validation])
rows = []
for position in ("IO", "END"):
    x = data.at(layer=EARLY, position=position)
    eraser = erase(x[fitted], data.labels.subset(fitted))
    scores = []
    for before in (x, eraser(x)):
        again = fit_probe(before[fitted], data.labels.subset(fitted), "ridge")
        scores.append(again.accuracy(before[fitted], data.labels.subset(fitted)))
    rows.append((position, *scores, eraser.rank, eraser.share))
table(["at", "probe before", "a new probe after", "dimensions", "share of variance"], rows)

# %% [markdown]
# A new probe, fitted on what is left, is back at a guess *on the very prompts that it is fitted on*. (Twelve classes span eleven dimensions, so eleven are taken out.) Put the map into the running model, on test prompts. The control erases as many dimensions at random. The scale is that of noising: 0, nothing lost; 1, the model does what it does on the corrupted prompts, where the answer is the other name; 0.5 would be no preference at all.

# %%
test = task.subset(parts.test.tolist())
effects = {}
for position in ("IO", "END"):
    x = data.at(layer=EARLY, position=position)[fitted]
    eraser = erase(x, data.labels.subset(fitted))
    effects[position] = erasure_effect(model, test, eraser, EARLY, position, n_random=10)


def erased(position: str) -> ca.Interval:
    """The effect of erasing the label, with its interval."""
    value, low, high = (float(one[0]) for one in effects[position].interval())
    return ca.Interval(value, low, high, 0.95, len(test))


log.observe("used", erased("END"))
log.observe("unused", erased("IO"))
table(
    [
        "erased at",
        "accuracy of the probe",
        "effect",
        "random: mean",
        "random: most",
        "still right",
    ],
    [
        (
            position,
            answer.interval(layer=EARLY, position=position),
            erased(position),
            float(found.normalised()[1:].mean()),
            float(found.normalised()[1:].max()),
            float((found.patched[0] > 0).mean()),
        )
        for position, found in effects.items()
    ],
)

# %% [markdown]
# Two probes with an accuracy of 1.00. Take away what the first one reads, and nothing happens. Take away what the second one reads, and the behaviour is gone, far beyond what eleven dimensions cost by themselves.
#
# Does that mean that the model does not need the name at IO? It has to: nobody else has it at first. But what is erased after layer 1 may have been read already. Every place needs its own question, so here is the whole map, and below it the effect *beyond random subspaces*.

# %%
whole = erasure_map(model, task, data, parts, n_random=3)
beyond, low, high = whole.beyond_random()
heatmap(
    whole.concept,
    row_labels=answer.axes[0].labels,
    column_labels=answer.axes[1].labels,
    title="Which name is the answer? Effect of erasing it",
    row_axis="after layer",
    column_axis="position",
)

# %%
layers = [str(layer) for layer in range(LAST + 1)]
table(
    ["after layer", "IO: read", "used", "S2: read", "used ", "END: read", "used  "],
    [
        (
            layer,
            *(
                value
                for at in ("IO", "S2", "END")
                for value in (
                    float(answer.mean()[i, answer.axes[1].labels.index(at)]),
                    ca.Interval(
                        *(
                            float(a[i, answer.axes[1].labels.index(at)])
                            for a in (beyond, low, high)
                        ),
                        0.95,
                        len(test),
                    ),
                )
            ),
        )
        for i, layer in enumerate(layers)
    ],
)

# %% [markdown]
# From layer 0 on nobody misses the name at IO, with a perfect probe at every layer. Nor at S2, nor, after layer 0, at END. Yet at END it is missed from layer 1 on. So in layer 1 END must hear it from somewhere: from a place that *has no name in this task*. (Notebook 05 could not see this: with `s2-flip` the name at IO is the same in both prompts, and patching it changes nothing.)
#
# So look at every token. That needs prompts of one template and one order, where tokens stand at the same index.


# %%
def over_tokens(template: str, n_random: int = 4):
    """Prompts of one template (S first), and the answer erased after layer 0 at each token."""
    prompts = ca.tasks.ioi(model, n_prompts=384, names=NAMES, order="BABA", templates=[template])
    every = list(range(int(prompts.positions["S1"][0]), int(prompts.lengths.min())))
    found = collect(model, prompts, "answer", layers=0, positions=every)
    return (
        prompts,
        every,
        erasure_map(model, prompts, found, split(found.groups), n_random=n_random),
    )


def beyond_at(found, i: int) -> ca.Interval:
    """What erasing at one token does beyond random subspaces."""
    value, low, high = (float(one[0, i]) for one in found.beyond_random())
    return ca.Interval(value, low, high, 0.95, found.effects.clean.size)


prompts, every, by_token = over_tokens(task.group[0])
words = [str(word) for word in model.to_str_tokens(prompts.clean[0])]
named = {int(at[0]): name for name, at in prompts.positions.items()}
readable = probe(model, prompts, "answer", layers=0, positions=every, settings=quick)
table(
    ["token", "", "read after layer 0", "random weights", "erased", "random", "beyond random"],
    [
        (
            repr(words[at]),
            named.get(at, ""),
            float(readable.mean()[0, i]),
            float(readable.controls["random weights"].mean(-1)[0, i]),
            float(by_token.concept[0, i]),
            float(by_token.random[0, i].mean()),
            beyond_at(by_token, i),
        )
        for i, at in enumerate(every)
    ],
)

# %% [markdown]
# There it is: **the comma**. At six tokens a probe finds the answer perfectly, and nothing happens when it is erased. At the comma it reads a little less, random weights read as much, and there erasure does something: half of the way to the corrupted prompts, a fifth beyond what eleven random dimensions do. (Those do a lot here too: at a comma little varies but the names, so that any eleven dimensions hold some of them.) Layer 0 collects the names at the end of the clause, and layer 1 fetches the answer from there. None of the positions that the task names is it, so that no map over named positions could have shown it.
#
# One template is one sentence. In others?

# %%
rows = []
for template in sorted(set(many.group))[:6]:
    prompts, every, found = over_tokens(template)
    i = int(found.beyond_random()[0][0].argmax())
    words = [str(word) for word in model.to_str_tokens(prompts.clean[0])]
    where = every[i] - int(prompts.positions["S2"][0])
    rows.append(
        (
            template,
            "".join(words[every[i] - 1 : every[i] + 1]),
            f"{where:+d}",
            float(found.concept[0, i]),
            float(found.random[0, i].mean()),
            beyond_at(found, i),
        )
    )
table(["template", "most missed at", "from S2", "erased", "random", "beyond random"], rows)

# %% [markdown]
# The mark that ends the first clause, wherever it stands, and where it is not the mark, the last word before S2. (The largest of a dozen tokens is flattered by being chosen; the pattern over templates is not.) Asked about "the token before S2" over all templates at once, the effect would have been near 0 and the story lost: a position is only as good as its name.
#
# **Presence is not use, use at a place is use at that place, and the place may be one that you have no name for.**
#
# ## 7. Directions
#
# A probe's weights are a direction; so is the difference of two means. They are not the same. The first points where *evidence* grows fastest, discounting what varies anyway; the second points from one cloud to the other. Both are plain vectors in the stream's own units (notebook 14 pushes along such vectors).

# %%
x, labels = data.at(layer=LAST, position="END")[fitted], data.labels.subset(fitted)
MARY, JOHN = " Mary", " John"
mary, john = (model.W_U[:, model.to_single_token(name)] for name in (MARY, JOHN))
directions = {
    "difference of means": mean_difference(x.double(), labels, MARY, JOHN),
    "ridge probe": fit_probe(x, labels, "ridge", 10.0).direction(MARY, JOHN),
    "unembedding": (mary - john).double(),
}
units = {name: v / v.norm() for name, v in directions.items()}
table(
    ["cosine, Mary minus John", *units],
    [(a, *(float(units[a] @ units[b]) for b in units)) for a in units],
)

# %% [markdown]
# The two directions that were learnt from the same prompts are far from parallel. The difference of the means is close to what the unembedding reads off; the probe has turned away from it, since along it the names vary together with much else. When someone reports "the direction of X", ask which one.
#
# ## 8. Break it on purpose
#
# **Too few prompts.** Fit on fewer, of all hundred names, and the answer seems to fade from END. The model is the same.

# %%
small = ProbeSettings(n_controls=1, n_shuffles=0, n_random_models=0)
sizes = (128, 256, 512, 1024)
table(
    ["prompts", "accuracy at END after the last layer"],
    [
        (
            n,
            probe(
                model,
                many.subset(range(n)),
                "answer",
                layers=LAST,
                positions="END",
                settings=small,
            ).interval(),
        )
        for n in sizes
    ],
)

# %% [markdown]
# **A split that leaks.** The same probe of the twelve names at S2, with nothing kept apart but the prompt; with pairs of names kept apart; with whole templates kept apart.

# %%
table(
    ["train and test share no", "accuracy at S2", "groups of test prompts"],
    [
        (
            {"prompt": "prompt", "pair": "pair of names", "group": "template"}[by],
            found.interval(layer=EARLY, position="S2"),
            len(set(found.groups)),
        )
        for by in ("prompt", "pair", "group")
        for found in [
            probe(
                model,
                task,
                "answer",
                layers=EARLY,
                positions=["S2"],
                groups=by,
                settings=small,
            )
        ]
    ],
)

# %% [markdown]
# Each of the three is "accuracy on unseen prompts". (With few groups the intervals are wide, and rightly so: prompts of one template are right or wrong together.)
#
# **Erasing without a control.** With all hundred names, telling them apart takes 99 of the 128 dimensions. Erase them at S2 after layer 0:

# %%
broad = collect(model, many, "wrong", layers=0, positions="S2")
broad_parts = split(broad.groups)
large = erasure_map(model, many, broad, broad_parts, n_random=5)
table(
    [
        "dimensions",
        "share of variance",
        "erased",
        "random: mean",
        "random: most",
        "beyond random",
    ],
    [
        (
            int(large.rank[0, 0]),
            float(large.share[0, 0]),
            float(large.concept[0, 0]),
            float(large.random.mean()),
            float(large.random.max()),
            ca.Interval(
                *(float(one[0, 0]) for one in large.beyond_random()),
                0.95,
                len(broad_parts.test),
            ),
        )
    ],
)

# %% [markdown]
# "Erasing the giver's name at S2 costs half of the behaviour" would be a fine sentence for a paper; but most of that is what 99 random dimensions cost as well. Now put `task`, with its twelve names, in place of `many`: eleven dimensions, the same effect, and random ones cost next to nothing. The sentence was true, and its evidence was not.
#
# ## 9. The log

# %%
log

# %% [markdown]
# ## 10. Exercises
#
# **Exercise 1.** A ridge probe by hand. Fit "Mary is the answer" (targets `y`, +1 and −1) from `z`, standardised train activations at END after the last layer: `w` minimises |y − mean(y) − z w|² + 10 |w|².
#
# <details><summary>Hint</summary>
#
# Set the gradient to zero: (zᵀz + 10 I) w = zᵀ(y − mean(y)). `torch.linalg.solve(A, b)`.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# w = torch.linalg.solve(z.T @ z + 10 * torch.eye(z.shape[1]).double(), z.T @ (y - y.mean()))
# ```
#
# </details>

# %%
raw = data.at(layer=LAST, position="END")[parts.train].double()
mean, std = raw.mean(0), raw.std(0, correction=0)
z = (raw - mean) / std
is_mary = [data.labels.classes[i] == MARY for i in data.labels.values[parts.train]]
y = torch.where(torch.tensor(is_mary), 1.0, -1.0).double()
w = ...

# %%
ours = fit_probe(raw, Labels.of("is it Mary?", is_mary), "ridge", 10.0)
check(w if w is ... else (w / std).numpy(), ours.weights[0].numpy(), tolerance=1e-4)

# %% [markdown]
# **Exercise 2.** Make a control task for `order` at S1: deal every *word* at S1 one of the two labels by lot. `words` holds the token at S1 of each prompt; give `dealt`, a list with "IO first" or "S first" for each prompt. How well is it read at S1 in the first layer, and why so much better than 0.5?
#
# <details><summary>Hint</summary>
#
# A dictionary from word to label, filled with `rng.choice(["IO first", "S first"])`, and then looked up for each prompt.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# rng = np.random.default_rng(0)
# lot = {word: str(rng.choice(["IO first", "S first"])) for word in sorted(set(words))}
# dealt = [lot[word] for word in words]
# ```
#
# </details>

# %%
words = task.clean[torch.arange(len(task)), task.positions["S1"]].tolist()
dealt = ...

# %%
check(
    dealt,
    lambda given: (
        len(given) == len(words)
        and len({(word, label) for word, label in zip(words, given)}) == len(set(words))
        and set(given) == {"IO first", "S first"}
    ),
    hint="The same word must get the same label in every prompt, and both labels must occur.",
)
if dealt is not ...:
    found = probe(model, task, dealt, layers=0, positions="S1", settings=small)
    print("read at S1 after layer 0:", found.interval())

# %% [markdown]
# **Exercise 3.** Erase by hand. For two classes LEACE takes out one direction. If all directions of the activations were alike (white), it would be the difference of the means, projected out. Compute that simpler thing: `without`, the activations `a` with their component along the unit vector of `d = mean_difference(a, two)` removed (of `a` minus its mean). Then no linear probe can read the label either, only more is changed than needed.
#
# <details><summary>Hint</summary>
#
# `u = d / d.norm()`, then `a - outer((a - a.mean(0)) @ u, u)`.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# u = d / d.norm()
# without = a - torch.outer((a - a.mean(0)) @ u, u)
# ```
#
# </details>

# %%
two = collect(model, task, "order", layers=0, positions="S1")
a = two.at().double()
d = mean_difference(a, two.labels)
without = ...

# %%
u_ = d / d.norm()
check(
    without if without is ... else without.numpy(),
    (a - torch.outer((a - a.mean(0)) @ u_, u_)).numpy(),
    tolerance=1e-6,
)
if without is not ...:
    least = erase(a, two.labels)(a)
    for name, b in (("projected", without), ("LEACE", least)):
        left = fit_probe(b, two.labels, "ridge").accuracy(b, two.labels)
        change = float((b - a).square().sum(1).mean())
        print(f"{name:<10} a probe after: {left:.2f}, changed by {change:.2f}")

# %% [markdown]
# ## 11. Questions to take along
#
# 1. A paper reads syntax from layer 6 with 95%. Which four numbers do you ask for before you say that layer 6 "represents" syntax?
# 2. A probe on random weights does as well as on trained ones. Does that show that training changed nothing there?
# 3. Which head fetches the answer from the comma, and does its pattern look there? Notebooks 06 and 07 have the tools.
# 4. Erasing a label destroys the behaviour, and so does erasing it a layer later. Does the second layer *read* it, or only pass it on? Which notebook has the tool?
# 5. Your erasure has an effect of 0. Name three reasons other than "the model does not use it".
#
# ## Further
#
# - Next: [14 · Steering: push a direction in, and see who answers](14_steering.ipynb).
# - Back: [09 · A circuit](09_circuits.ipynb). As a report, on any task or your own texts: `cutaway probe`. Other labels to try above: `"wrong"`, `"group"`, `"token:S2"`; other sites: `"attn_out"`, `"mlp_out"`, `"z"`.
# - Alain and Bengio (2016), [arXiv:1610.01644](https://arxiv.org/abs/1610.01644): linear probes of every layer.
# - Hewitt and Liang (2019), [arXiv:1909.03368](https://arxiv.org/abs/1909.03368): control tasks and selectivity.
# - Ravichander, Belinkov and Hovy (2021), [arXiv:2005.00719](https://arxiv.org/abs/2005.00719): what is encoded need not be used.
# - Belinkov (2022), [arXiv:2102.12452](https://arxiv.org/abs/2102.12452): a survey of what probes can and cannot show.
# - Belrose et al. (2023), *LEACE*, [arXiv:2306.03819](https://arxiv.org/abs/2306.03819): erasure in closed form.
# - Method cards: [probes.md](../docs/methods/probes.md), [interventions.md](../docs/methods/interventions.md), [steering.md](../docs/methods/steering.md), [evidence.md](../docs/methods/evidence.md).
