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
# # 18 · Superposition in a non-privileged basis
#
# So far a direction in the residual stream meant one thing: a name, a sentiment, a position. But a stream of 128 dimensions has only 128 directions at right angles, and language has more features than that. Where do the others go? Elhage et al. (2022) built the smallest models in which the question can be answered, because their features are known: numbers, mostly zero, that have to pass through too few dimensions.
#
# **What you will know afterwards**
#
# - why five features fit into a plane once they are rare, and why they form a pentagon;
# - what the dimensionality of a feature is, and why it comes in plateaus;
# - when a single hidden dimension means something (a privileged basis), and when it cannot;
# - what of all that is seen in the embedding of a real model, and what is not.
#
# **Time:** about 40 minutes; the cells run in about half a minute on one core. Method card: [superposition.md](../docs/methods/superposition.md).

# %%
MODEL = "ioi-mini"  # only section 8 looks at a language model

# %%
from collections import Counter

import numpy as np
from course import Log, check, table

import cutaway as ca
from cutaway.superposition import (
    ToyModel,
    ToyTraining,
    dimensions_per_feature,
    feature_dimensionality,
    parts,
    random_directions,
    represented,
    rotate_hidden,
    shape,
    train_toys,
)
from cutaway.superposition.basis import alignment, random_rotation
from cutaway.superposition.geometry import PLATEAUS
from cutaway.views import MatricesView, Matrix, Plane, PlanesView

# %% [markdown]
# ## 1. The model
#
# Five features: each is there with the probability 1 − S, and then a uniform number from 0 to 1. They are squeezed through two hidden dimensions, h = W x, and read out again by the same weights: x′ = ReLU(Wᵀ h + b). Column i of W is the direction that feature i gets. The loss is the squared error, and feature 0 matters most (importance 0.9^i).
#
# Before anything is trained: what would two opposite directions cost? Here is the model by hand, with features 0 and 1 in one dimension, W = (1, −1), b = 0:

# %%
W = np.array([[1.0, -1.0]])
for x in ([0.8, 0.0], [0.0, 0.8], [0.8, 0.3]):
    read = np.maximum(W.T @ (W @ np.array(x)), 0)
    print(f"x = {x}   h = {(W @ x).round(1)}   x′ = {read.round(1)}")

# %% [markdown]
# One feature at a time comes through without a fault: the ReLU removes what the other would wrongly read. Only when both are there at once do they destroy each other. And how often that happens is a matter of density: p². What keeping only one of them costs goes with p. So there is a density below which sharing is the better bargain.
#
# ## 2. Predict

# %%
log = Log()
log.expect(
    "plane",
    "Features in the plane (norm above 1/2) at density 0.05, best of 8 seeds?",
    low=5,
    high=5,
    confidence=0.8,
    why="collisions are rare",
)
log.expect(
    "seeds",
    "Share of the 8 seeds that come to the commonest shape at density 0.15?",
    low=0.8,
    high=1,
    confidence=0.6,
    why="it is a tiny model",
)
log.expect(
    "linear",
    "The same count, without the ReLU?",
    low=2,
    high=2,
    confidence=0.9,
    why="nothing removes interference",
)
log.expect(
    "twenty",
    "Of 20 features in 5 dimensions at density 0.03: dimensions for each?",
    low=0.45,
    high=0.55,
    confidence=0.6,
    why="antipodal pairs",
)
log.expect(
    "plateau",
    "Of 40 in 6 at density 0.4: share of features with a dimensionality within 0.01 of 1/2?",
    low=0.2,
    high=0.6,
    confidence=0.6,
    why="half of them are in pairs",
)
log.expect(
    "rotated",
    "Loss after a random rotation of h, over the loss before?",
    low=0.999,
    high=1.001,
    confidence=0.9,
    why="Wᵀ turns back what W turned",
)
log.expect(
    "privileged",
    "The same with a ReLU on h?",
    low=2,
    confidence=0.7,
    why="the ReLU cuts other things off",
)
log.expect(
    "embedding",
    "Mean dimensionality of ioi-mini's token embeddings over that of random directions?",
    low=1,
    confidence=0.6,
    why="training avoids interference",
)

# %% [markdown]
# ## 3. From orthogonal to the pentagon
#
# `train_toys` trains a whole grid at once: importances, densities, seeds. 48 models here.

# %%
quick = ToyTraining(n_steps=1000, batch_size=256, learning_rate=0.02)
densities = (1.0, 0.7, 0.5, 0.15, 0.05, 0.01)
plane = train_toys(ToyModel(5, 2), densities, importances=0.9, seeds=range(8), training=quick)
best = plane.of_best(plane.W_in)[0]  # [density, hidden, feature]
names = [f"feature {i}" for i in range(5)]
PlanesView(
    [Plane(f"1 − S = {p:g}", W, shape(W)) for p, W in zip(densities, best)],
    names,
    title="The best of eight seeds",
)

# %%
rows = [
    (
        f"{p:g}",
        int(represented(best[d]).sum()),
        shape(best[d]),
        ", ".join(f"{n} × {s}" for s, n in Counter(map(shape, plane.W_in[0, d])).most_common()),
    )
    for d, p in enumerate(densities)
]
log.observe("plane", rows[4][1])
commonest = Counter(map(shape, plane.W_in[0, 3])).most_common(1)[0][1] / 8
log.observe("seeds", commonest)
table(["1 − S", "features", "best seed", "all eight"], rows)

# %% [markdown]
# Dense features get a dimension each, and the three least important are given up. Then antipodal pairs: the square. Then all five, as far apart as they can be. A shape is told by its cosines, not by looking; and look at the last column: near a border between two shapes the seeds disagree, and at 0.01, where a batch of 256 holds two or three of each feature, a thousand steps leave most of them in the square. A single run would have been an anecdote.
#
# ## 4. Without the ReLU there is nothing of it

# %%
linear = train_toys(ToyModel(5, 2, "linear"), densities, 0.9, range(4), quick)
kept = represented(linear.of_best(linear.W_in))[0]
log.observe("linear", int(kept[4].sum()))
closed = [
    ca.superposition.best_linear_loss(linear.model.features.covariance(p), 0.9 ** np.arange(5), 2)
    for p in densities
]
table(
    ["1 − S", "features, linear", "loss, linear", "principal components", "loss, ReLU"],
    [
        (
            f"{p:g}",
            int(kept[d].sum()),
            linear.losses[0, d].min(),
            closed[d],
            plane.losses[0, d].min(),
        )
        for d, p in enumerate(densities)
    ],
    digits=4,
)

# %% [markdown]
# A linear model is that of principal components, at every density: the closed form needs no training and says the same. Sparsity is worth something only where a nonlinearity can throw interference away.
#
# ## 5. Twenty features in five dimensions

# %%
many = train_toys(
    ToyModel(20, 5),
    (1.0, 0.3, 0.1, 0.03, 0.01),
    importances=0.7,
    seeds=range(3),
    training=ToyTraining(n_steps=1500, batch_size=512),
)
of_best = many.of_best(many.W_in)[0]
each = dimensions_per_feature(of_best)
log.observe("twenty", float(each[3]))
MatricesView(
    [
        Matrix(
            f"1 − S = {p:g}",
            W.T @ W,
            f"{int(represented(W).sum())} features, {d:.2f} dimensions each",
            np.linalg.norm(W, axis=0).tolist(),
            ca.superposition.interference(W).tolist(),
        )
        for p, W, d in zip(many.densities, of_best, each)
    ],
    bar_label="norm",
    share_label="interference",
    title="WᵀW, and the norm of every feature",
)

# %% [markdown]
# Read the matrices like this: blue on the diagonal is what is kept of a feature, orange beside it is a partner in the opposite direction, and the bars are norms, orange where other features fall on them. The least important features come last, and the sparser it gets the more of them are let in.
#
# ## 6. Shares of a dimension
#
# Dᵢ = ‖Wᵢ‖² / Σⱼ (Ŵᵢ · Wⱼ)², with Ŵᵢ of length 1, says how much of a dimension feature i has for itself. Forty features of equal importance in six dimensions could have any share. Do they?

# %%
forty = train_toys(
    ToyModel(40, 6),
    (0.647, 0.4, 0.235),
    seeds=range(4),
    training=ToyTraining(n_steps=4000, batch_size=256),
)
rows = []
for d, p in enumerate(forty.densities):
    kept = represented(forty.W_in[0, d])
    own = feature_dimensionality(forty.W_in[0, d])[kept]
    chance = feature_dimensionality(random_directions(forty.W_in[0, d]))[kept]
    groups = Counter(part.name for W in forty.W_in[0, d] for part in parts(W))
    for name in ("triangle", "digon", "pentagon", "square antiprism"):
        near = [float((np.abs(D - PLATEAUS[name]) < 0.01).mean()) for D in (own, chance)]
        rows.append((f"{p:.2f}", name, f"{PLATEAUS[name]:.3f}", *near, groups[name]))
        if (d, name) == (1, "digon"):
            log.observe("plateau", near[0])
table(["1 − S", "shape", "D", "features within 0.01", "random directions", "groups"], rows)

# %% [markdown]
# They do not take what they please. They split into groups that do not touch each other, and each group is a regular shape: pairs with half a dimension each, triangles with two thirds, pentagons with two fifths. Random directions of the same norms are the control, and it is needed: up to 14% of them lie within 0.01 of 0.4 or 3/8 by chance, up to 5% at 1/2, none at 2/3. At 0.235 three shapes live side by side in the same models.
#
# ## 7. Which way is up? Bases
#
# So far nothing happened to h itself: it was written by W and read by Wᵀ. Turn it by any rotation Q, W → Q W, and Wᵀ Qᵀ Q W is what it was. No axis of h is special; asking what "dimension 3" stands for is asking for an accident. The residual stream of a transformer is of this kind. Put a ReLU on h, and its axes become neurons:

# %%
both = {
    kind: train_toys(
        ToyModel(10, 5, kind), (0.5, 0.05), 0.75, range(4), ToyTraining(1500, 256, 0.01)
    )
    for kind in ("relu-output", "relu-hidden")
}
turned = {kind: rotate_hidden(found) for kind, found in both.items()}
rows = []
for kind, found in both.items():
    ratio = (turned[kind].loss.mean(-1) / turned[kind].loss_before)[0]  # [density, seed]
    log.observe("rotated" if kind == "relu-output" else "privileged", float(ratio[0].mean()))
    for d, p in enumerate(found.densities):
        rows.append(
            (
                kind,
                f"{p:g}",
                float(ratio[d].mean()),
                float(alignment(found.W_in)[0, d].mean()),
                float(turned[kind].alignment[0, d].mean()),
            )
        )
table(["model", "1 − S", "loss × after rotation", "alignment", "after rotation"], rows)

# %% [markdown]
# *Alignment* is the largest share of a hidden dimension's squared weights that one feature has: 1 means that it reads nothing else. Without the ReLU it is what chance gives, rotated or not. With it, dense features have a neuron each; sparse ones share neurons again, and then the alignment is no better than chance, though a rotation still ruins everything. **Privileged means that the axes matter, not that each of them has a meaning.**

# %%
hidden = both["relu-hidden"]
MatricesView(
    [
        Matrix(f"{name}, 1 − S = {p:g}", W.T)
        for name, found in (("no ReLU on h", both["relu-output"]), ("ReLU on h", hidden))
        for p, W in zip(found.densities, found.of_best(found.W_in)[0])
    ],
    "feature",
    "hidden dimension",
    limit=1.5,
    title="W, features down, hidden dimensions across",
)

# %% [markdown]
# ## 8. A real model
#
# ioi-mini writes 677 tokens into 128 dimensions: more directions than dimensions. Its embedding has no basis of its own either. Is it packed as the toys are? The same measure, beside random directions with the same norms:

# %%
model = ca.HookedTransformer.from_pretrained(MODEL)
W_E = model.W_E.detach().double().numpy().T  # [hidden, token]
random_E = random_directions(W_E)
real, chance = feature_dimensionality(W_E), feature_dimensionality(random_E)
log.observe("embedding", float(real.mean() / chance.mean()))
order = np.argsort(-real)
word = [repr(model.to_single_str_token(int(i))) for i in range(W_E.shape[1])]
print("most of a dimension:", ", ".join(word[i] for i in order[:6]))
print("least:", ", ".join(word[i] for i in order[::-1][:8]))
table(
    ["", "mean D", "largest D", "sum of D (dimensions in use)"],
    [
        ("ioi-mini", real.mean(), real.max(), real.sum()),
        ("random directions", chance.mean(), chance.max(), chance.sum()),
    ],
)

# %%
unit = W_E / np.linalg.norm(W_E, axis=0)
cosines = np.triu(unit.T @ unit, 1)
first, second = np.unravel_index(np.argsort(-np.abs(cosines), axis=None)[:8], cosines.shape)
random_unit = random_E / np.linalg.norm(random_E, axis=0)
most = np.abs(np.triu(random_unit.T @ random_unit, 1)).max()
print(f"the largest cosine of random directions: {most:.2f}")
table(
    ["token", "token", "cosine"],
    [(word[i], word[j], float(cosines[i, j])) for i, j in zip(first, second)],
)

# %% [markdown]
# Not at all as in the toys, and our guess was wrong in an instructive way. The real embedding has *less* of a dimension for each token than random directions have, and hardly any antipodal pairs: its largest cosines are positive. Tokens are no independent features. Words that are used alike (*afternoon*, *evening*) **share** a direction, since what is to be done with them is the same, and never two of them stand at one position, so that they could collide. In the toy that was the case of features that come together: pairs on the same side. The features of this model are not its tokens but what tokens have in common, and nobody hands us a list of those. Finding one is what sparse autoencoders are for: the next notebook.
#
# ## 9. Break it on purpose
#
# What the ReLU can throw away must be negative. Take a plane of five features again, but let pairs come together, always both or neither (six features, three pairs), and look where partners go:

# %%
pairs = train_toys(ToyModel(6, 2, pairs="together"), (0.05,), seeds=range(8), training=quick)
apart = train_toys(ToyModel(4, 2, pairs="apart"), (0.2,), seeds=range(8), training=quick)
PlanesView(
    [
        Plane("always together", pairs.of_best(pairs.W_in)[0, 0]),
        Plane("never together", apart.of_best(apart.W_in)[0, 0]),
    ],
    groups=(0, 0, 1, 1, 2, 2),
    names=[f"pair {i // 2}" for i in range(6)],
    title="Partners have one colour",
)

# %% [markdown]
# Partners that never meet stand opposite each other, where they cost nothing; partners that always meet stand close. Geometry follows what occurs together in the data, and so it can be read backwards, with care.
#
# ## 10. The log

# %%
log

# %% [markdown]
# ## 11. Exercises
#
# **Exercise 1.** Two features in one dimension, importances 1 and 1/2, density p. Keeping only the first costs ½ (p/3 − p²/4); keeping both as an antipodal pair costs (1 + ½) p²/6. From which density on (downwards) is the pair better?
#
# <details><summary>Hint</summary>
#
# Set the two equal and divide by p.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# border = (1 / 6) / (1 / 4 + 1 / 8)
# ```
#
# </details>

# %%
border = ...

# %%
check(border, 4 / 9, hint="The terms in p² go on one side.")

# %% [markdown]
# **Exercise 2.** Seven features at equal angles in a plane: build their W, [2, 7], and measure the dimensionality of the first. What is it for n of them?
#
# <details><summary>Hint</summary>
#
# `turns = 2 * np.pi * np.arange(7) / 7`; cosines in the first row, sines in the second.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# turns = 2 * np.pi * np.arange(7) / 7
# seven = feature_dimensionality(np.stack([np.cos(turns), np.sin(turns)]))[0]
# ```
#
# </details>

# %%
seven = ...

# %%
check(seven, 2 / 7, tolerance=1e-6, hint="There are two dimensions to share out.")

# %% [markdown]
# **Exercise 3.** Turn the hidden space of the pentagon, `best[4]`, by `random_rotation(2, np.random.default_rng(0))`, and say by how much WᵀW changes at most.
#
# <details><summary>Hint</summary>
#
# `turned_W = rotation @ W`.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# turned_W = random_rotation(2, np.random.default_rng(0)) @ best[4]
# change = np.abs(turned_W.T @ turned_W - best[4].T @ best[4]).max()
# ```
#
# </details>

# %%
change = ...

# %%
check(change, lambda found: 0 <= found < 1e-6)

# %% [markdown]
# ## 12. Questions to take along
#
# 1. The pentagon needs b < 0. Why? What would b = 0 cost at a density of 0.05?
# 2. Plateaus are seen with equal importances. What should happen to the square if one of its features is twice as important?
# 3. A neuron of a language model fires on three unrelated things. Name two explanations, and an experiment that tells them apart.
# 4. Section 8 compared with random directions of the same norms. Which other control would make "less than chance" less surprising?
# 5. If a rotation of the residual stream changes nothing, why do some of its dimensions in trained models have much larger values than others?
#
# ## Further
#
# - Next: [19 · A first sparse autoencoder](19_first_sparse_autoencoder.ipynb).
# - Everything here with more seeds, the phase diagram and computing in superposition: `cutaway run superposition`, and the method card [superposition.md](../docs/methods/superposition.md).
# - Elhage et al. (2022), *Toy Models of Superposition*, [arXiv:2209.10652](https://arxiv.org/abs/2209.10652).
# - Scherlis et al. (2022), *Polysemanticity and Capacity in Neural Networks*, [arXiv:2210.01892](https://arxiv.org/abs/2210.01892).
# - Elhage et al. (2023), *Privileged Bases in the Transformer Residual Stream*, [transformer-circuits.pub](https://transformer-circuits.pub/2023/privileged-basis/index.html).
