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
# # 19 · A first sparse autoencoder
#
# A network that holds more features than it has dimensions keeps them as directions that are not at right angles (notebook 18). No neuron stands for one of them, and no rotation helps. A **sparse autoencoder** is a way back: it looks for many directions, of which only a few are needed for each activation. If the network works that way, the directions that it finds should be the features.
#
# Should. On a language model nobody can check, because nobody knows the features. So we begin where they are known: with a toy model that we train ourselves. We write the autoencoder by hand, see it fail in three ways (it shrinks, some features die, some are found twice), repair it, and then meet the same faults, and the numbers that show them, in `ca.sae`.
#
# **What you will know afterwards**
#
# - a sparse autoencoder in twenty lines, and what each of its terms is for;
# - why an L1 penalty makes everything too short, and what top-k does instead;
# - what a dead feature is, why it stays dead, and how it is revived;
# - how recovery is measured, beside what random directions give;
# - why a good reconstruction is no proof of good features;
# - a failure that no reconstruction shows: absorption.
#
# **Time:** about 50 minutes; the cells run in about a minute on one core. Method card: [dictionary-evaluation.md](../docs/methods/dictionary-evaluation.md).

# %%
MODEL = "ioi-mini"  # or "gpt2", or the folder of a model of your own

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch
from course import Log, check, table

import cutaway as ca
from cutaway.sae import (
    Activations,
    DictionaryConfig,
    DictionarySettings,
    DrawnTokens,
    PassSettings,
    SyntheticConfig,
    evaluate,
    evaluate_rows,
    known_features,
    match,
    measure_absorption,
    new_dictionary,
    recover,
    train_dictionaries,
)
from cutaway.superposition import SparseFeatures, ToyModel, train_toys
from cutaway.training import induction_corpus, ioi_corpus

# %% [markdown]
# ## 1. Predict

# %%
log = Log()
log.expect(
    "five",
    "Mean best cosine of a hand-written autoencoder with five features, on five features in two dimensions?",
    low=0.95,
    confidence=0.6,
    why="there is nothing else to find",
)
log.expect(
    "shrinkage",
    "How long is its output, as a share of what it should be?",
    low=0.7,
    high=0.97,
    confidence=0.7,
    why="each unit of a feature costs L1",
)
log.expect(
    "dead",
    "Of ten features, eight of which begin out of reach, how many are dead after training?",
    low=6,
    high=8,
    confidence=0.6,
    why="what never fires gets no gradient",
)
log.expect(
    "recall",
    "48 features in 24 dimensions: share that a top-k dictionary finds (cosine of 0.9 or more)?",
    low=0.9,
    confidence=0.6,
    why="it knows how many are active",
)
log.expect(
    "absorbed",
    "Children that are active only with their parents: share of such rows where the parent's feature keeps silent?",
    low=0.1,
    confidence=0.5,
    why="one feature fewer is sparser",
)
log.expect(
    "components",
    "In the stream of a real model: does a dictionary explain more variance than as many principal components?",
    answer="yes",
    confidence=0.8,
    why="each row may choose its own",
)
log

# %% [markdown]
# ## 2. Where the truth is known
#
# Five features, two dimensions, each feature there one time in twenty. The toy model of notebook 18 puts them into a pentagon. Its hidden activations are what the autoencoder will see; the columns of its `W` are what it should find.

# %%
DENSITY = 0.05
toys = train_toys(ToyModel(5, 2), (DENSITY,), 1.0, seeds=range(4))
W = torch.from_numpy(toys.W_in[0, 0, int(toys.best[0, 0])]).float()  # [hidden, feature]
data = SparseFeatures(5)


def hidden(n: int, seed: int) -> torch.Tensor:
    """Hidden activations of the toy model: [row, 2]."""
    uniform = torch.rand(n, 5, generator=torch.Generator().manual_seed(seed))
    return data.draw(uniform, DENSITY) @ W.t()


def arrows(axis, rows, color, label) -> None:
    """Directions as arrows from the middle."""
    for number, (x, y) in enumerate(torch.nn.functional.normalize(rows, dim=1).tolist()):
        axis.plot([0, x], [0, y], color=color, label=label if number == 0 else None, lw=2)


x = hidden(2000, seed=1)
figure, axis = plt.subplots(figsize=(4, 4))
axis.scatter(*x.t(), s=4, color="0.7")
arrows(axis, W.t(), "tab:blue", "features")
axis.set(aspect="equal", title="What the autoencoder sees")
axis.legend(loc="upper right")
plt.show()
print(f"rows that are not zero: {(x.norm(dim=1) > 0).float().mean():.2f}")

# %% [markdown]
# Look at the grey points. Nearly all lie *on* the arrows: where one feature is active at a time, the activation points along it. That is what sparsity buys, and all that the autoencoder has to go by. Where two features are active together the point lies between two arrows, and there the same point could come from another pair.
#
# ## 3. An autoencoder by hand
#
#     features  f  = ReLU((x - b_dec) W_enc + b_enc)
#     output    x' = f W_dec + b_dec
#     loss         = mean of |x - x'|² + lambda sum f
#
# The first term wants everything said, the second wants little said. The rows of `W_dec` are held at length 1: otherwise the penalty could be dodged by small features and long rows.


# %%
class Autoencoder:
    """A standard sparse autoencoder, in full."""

    def __init__(self, d_features: int, seed: int, bias: float = 0.0) -> None:
        generator = torch.Generator().manual_seed(seed)
        rows = torch.nn.functional.normalize(torch.randn(d_features, 2, generator=generator), dim=1)
        self.W_dec = rows.clone()  # [feature, hidden]
        self.W_enc = rows.t().clone()  # [hidden, feature]
        self.b_enc = torch.full((d_features,), bias)
        self.b_dec = torch.zeros(2)
        for weight in self.weights:
            weight.requires_grad_(True)

    @property
    def weights(self) -> list[torch.Tensor]:
        """All that is learnt."""
        return [self.W_enc, self.b_enc, self.W_dec, self.b_dec]

    def encode(self, x):
        """Features of each row."""
        return torch.relu((x - self.b_dec) @ self.W_enc + self.b_enc)

    def decode(self, f, x=None):
        """Rows from features."""
        return f @ self.W_dec + self.b_dec


def train(one: Autoencoder, sparsity: float, n_steps: int = 2000, each=None) -> Autoencoder:
    """Adam, fresh rows in every step, decoder rows held at length 1."""
    optimiser = torch.optim.Adam(one.weights, lr=0.03)
    for step in range(n_steps):
        x = hidden(256, seed=10_000 + step)
        f = one.encode(x)
        loss = (x - one.decode(f)).square().sum(1).mean() + sparsity * f.sum(1).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        with torch.no_grad():
            one.W_dec /= one.W_dec.norm(dim=1, keepdim=True)
            if each is not None and each(step, one):
                optimiser = torch.optim.Adam(one.weights, lr=0.03)  # it begins anew as well
    for weight in one.weights:
        weight.requires_grad_(False)
    return one


def look(ones: dict[str, Autoencoder]) -> None:
    """Learned directions beside the features."""
    figure, axes = plt.subplots(1, len(ones), figsize=(4 * len(ones), 4), squeeze=False)
    for axis, (name, one) in zip(axes[0], ones.items()):
        alive = (one.encode(x) > 0).any(0)
        arrows(axis, 1.15 * W.t(), "tab:blue", "features")
        for row in one.W_dec[alive]:
            axis.plot(*zip([0, 0], (1.25 * row).tolist()), color="tab:orange", ls="--", lw=2)
        axis.set(aspect="equal", title=name, xlim=(-1.4, 1.4), ylim=(-1.4, 1.4))
    plt.show()


five = {f"seed {seed}": train(Autoencoder(5, seed), sparsity=0.5) for seed in range(3)}
look(five)
for name, one in five.items():
    found = match(W.t(), one.W_dec)
    print(name, found.mean_best_cosine(), "| random:", found.mean_random_cosine())

# %% [markdown]
# Blue: the features; orange, dashed: what was learnt. **Mean best cosine** is the number for it: of each known feature, the cosine with the learned direction that is nearest, averaged. All three seeds have found the pentagon. Beside it stands what as many *random* directions give: 0.80. In two dimensions anything is near something: five arrows on a circle leave no large gaps. Always look at that control before you are pleased.

# %%
log.observe(
    "five",
    float(np.mean([match(W.t(), one.W_dec).mean_best_cosine().estimate for one in five.values()])),
)

# %% [markdown]
# ## 4. It shrinks
#
# Is the output as long as the input? The penalty pays for every unit of a feature, so a feature that says a little less than it should saves more than it costs. `evaluate_rows` measures it as the **relative bias**, E|x'|² / E[x · x'] (Rajamanoharan et al. 2024): 1 is right, below 1 is too short.

# %%
test = hidden(20_000, seed=2)
rows = []
for sparsity in (0.0, 0.05, 0.5, 1.0):
    one = train(Autoencoder(5, seed=0), sparsity)
    f, out = one.encode(test), one.decode(one.encode(test))
    bias = float(out.square().sum() / (test * out).sum())
    unexplained = (test - out).square().sum() / (test - test.mean(0)).square().sum()
    found = match(W.t(), one.W_dec).mean_best_cosine().estimate
    rows.append(
        (sparsity, float((f > 0).sum(1).float().mean()), float(1 - unexplained), bias, found)
    )
    if sparsity == 0.5:
        log.observe("shrinkage", bias)
table(["lambda", "active (L0)", "explained variance", "relative bias", "best cosine"], rows)

# %% [markdown]
# Read the first row again. Without a penalty the reconstruction is perfect, and the features are not found: a few directions and about their opposites, two of them active at a time, are all it takes to write down two numbers. **Explained variance says nothing about features.** A best cosine of 0.94 looks fine until one remembers the 0.80 of random arrows.
#
# Then read downwards. With a penalty of 0.5 the features are found, and the output is 29% too short: explained variance *falls* to 0.83 as the features come out. With 1 most of it is gone, and a feature has to be strong to be worth its price (0.25 features are there in a row, 0.13 are said).
#
# **Top-k** has no such price. It keeps the k largest features of a row and sets the rest to zero; what it keeps may be as long as it likes.


# %%
class TopK(Autoencoder):
    """The one largest feature of each row, and no penalty."""

    def encode(self, x):
        f = super().encode(x)
        value, index = f.topk(1, dim=1)
        return torch.zeros_like(f).scatter(1, index, value)


one = train(TopK(5, seed=0), sparsity=0.0)
out = one.decode(one.encode(test))
print("best cosine  ", match(W.t(), one.W_dec).mean_best_cosine())
print("relative bias", round(float(out.square().sum() / (test * out).sum()), 3))

# %% [markdown]
# ## 5. Some are dead
#
# Ten features this time, and the biases of eight of them begin at −1.5: nothing in the data is that strong, so at first these do not fire. What never fires gets no gradient, from either term, and so it never will.


# %%
def dead(one: Autoencoder) -> torch.Tensor:
    """Which features fire in none of the test rows."""
    return (one.encode(test) <= 0).all(0)


def start(seed: int) -> Autoencoder:
    """Ten features of which eight begin out of reach."""
    one = Autoencoder(10, seed)
    with torch.no_grad():
        one.b_enc[2:] = -1.5
    return one


left = train(start(0), sparsity=0.5)
print("dead:", int(dead(left).sum()), "of 10")
print("best cosine:", match(W.t(), left.W_dec, alive=~dead(left)).mean_best_cosine())
log.observe("dead", int(dead(left).sum()))

# %% [markdown]
# The repair is **resampling** (Bricken et al. 2023): now and then, look for features that have not fired, and point them at something that is badly reconstructed. A row with a large error is evidence that a feature is missing there.


# %%
def resample(step: int, one: Autoencoder) -> bool:
    """Every 200 steps, in the first half, point dead features at rows with large errors."""
    if step % 200 or step == 0 or step > 1000:
        return False
    x = hidden(4096, seed=50_000 + step)
    which = (one.encode(x) <= 0).all(0).nonzero()[:, 0]
    if not len(which):
        return False
    missing = x - one.decode(one.encode(x))
    error = missing.square().sum(1)
    generator = torch.Generator().manual_seed(step)
    chosen = torch.multinomial(error, len(which), generator=generator)
    direction = torch.nn.functional.normalize(missing[chosen], dim=1)
    one.W_dec[which] = direction
    one.W_enc[:, which] = direction.t()
    one.b_enc[which] = 0
    print(f"step {step}: {len(which)} dead features begin anew")
    return True


revived = train(start(0), sparsity=0.5, each=resample)
print("dead:", int(dead(revived).sum()), "of 10")
found = match(W.t(), revived.W_dec, alive=~dead(revived))
print("best cosine:", found.mean_best_cosine())
print("precision:", found.precision(), "uniqueness:", round(found.uniqueness(), 2))
look({"left dead": left, "resampled": revived})

# %% [markdown]
# With six dead, two of the five features had to share one direction, which lies between them (left picture): a best cosine of 0.92. Resampled, all five are found. Two details matter. Adam begins anew too: it remembers that the gradients of a dead feature were tiny, and would throw it out of reach again with its first steps. (Leave that line out and see.) And four are dead in the end all the same: five features are there, one of them has two, and the penalty lets nobody speak who has nothing to say.
#
# Three more numbers. **Recall** is the share of the known features that were found (cosine of 0.9 or more), **precision** the share of the living learned ones that are known, and **uniqueness** how many *different* ones are among those. The mean best cosine does not notice that one feature is there twice. Uniqueness does.
#
# ## 6. The same in `ca.sae`
#
# `ca.sae` has six kinds: standard, top-k, batch-top-k, JumpReLU, gated, Matryoshka. Is its standard one ours? Put our weights in and compare the loss.

# %%
ours = five["seed 0"]
theirs = new_dictionary(DictionaryConfig("standard", d_in=2, d_features=5)).requires_grad_(False)
for name in ("W_enc", "b_enc", "W_dec", "b_dec"):
    getattr(theirs, name).copy_(getattr(ours, name))
terms = theirs.losses(test)
f = ours.encode(test)
by_hand = ((test - ours.decode(f)).square().sum(1).mean(), f.sum(1).mean())
for name, mine in zip(("reconstruction", "sparsity"), by_hand):
    print(f"{name:<16}{float(terms[name]):.6f}  {float(mine):.6f}")

# %% [markdown]
# The same. Now something larger, where random directions are no help: 48 features in 24 dimensions, two active at a time on average. `known_features` makes the truth, `recover` trains dictionaries on it (all in one pass over the same rows, with resampling) and compares.

# %%
known = known_features(SyntheticConfig(d=24, n_features=48, n_active=2), seed=0)
common = {
    "d_features": 48,
    "learning_rate": 5e-3,
    "dead_after": 5000,
    "resample_every": 100,
}
wanted = [
    DictionarySettings("standard", sparsity=1.0, **common),
    DictionarySettings("top-k", k=2, **common),
    DictionarySettings("batch-top-k", k=2, **common),
]
found = recover(known, wanted, PassSettings(n_rows=300_000, batch_size=256, start_rows=4096))
log.observe("recall", found[1].matching.recall().estimate)
table(
    [
        "dictionary",
        "best cosine",
        "random",
        "recall",
        "precision",
        "unique",
        "dead",
        "resampled",
        "L0",
        "explained",
        "bias",
    ],
    [
        (
            row["dictionary"],
            *(
                row[name]
                for name in ("mean best cosine", "random", "recall", "precision", "uniqueness")
            ),
            row["dead"],
            row["resampled"],
            *(row[name] for name in ("L0", "explained variance", "centred bias")),
        )
        for row in (one.to_row() for one in found)
    ],
)

# %% [markdown]
# Compare the columns "recall" and "explained". The top-k dictionary has found every feature and explains least of the three: some rows have three or four active features, and it may name two. The standard dictionary explains most, with four features active where two are there, and with outputs that are 12% short. Batch-top-k, after so short a training, has two dead features and has missed six. No column ranks them alike.
#
# What would *no* learning have explained, with as many numbers for each row?

# %%
top_k = found[1]
table(
    ["with as many numbers", "L0", "explained variance"],
    [(name, one.l0(), one.explained_variance()) for name, one in top_k.evaluation.rows.items()],
)

# %% [markdown]
# - **random directions**: as many as there are features, the two that a row points along most, with the best coefficients;
# - **principal components**: the first two of all, the same for every row;
# - **largest components**: each row's own two largest components. As free in its choice as a dictionary.
#
# ## 7. A failure that no reconstruction shows: absorption
#
# Let some features have **children**: active only where their parent is, as "starts with S" is wherever "short" stands. Saying both takes two active features. It is cheaper that the child's feature says *both*, and the parent's keeps silent there (Chanin et al. 2024). The reconstruction does not suffer. But the parent's feature, which by its examples seems to say "starts with S", has holes.

# %%
tree = SyntheticConfig(d=24, n_features=48, n_active=2, n_parents=6, n_children=2, p_child=0.3)
family = known_features(tree, seed=0)
wanted = [
    DictionarySettings("standard", sparsity=2.0, **common),
    DictionarySettings("top-k", k=2, **common),
]
grown = recover(family, wanted, PassSettings(n_rows=300_000, batch_size=256, start_rows=4096))
test_rows = family.draw(20_000, torch.Generator().manual_seed(3))
rows = []
for one in grown:
    absorbed = measure_absorption(one.dictionary, family, test_rows)
    rows.append(
        (
            one.trained.name,
            absorbed.silent("with_child"),
            absorbed.rate("with_child"),
            absorbed.rate("alone"),
            absorbed.rate("stranger"),
            float(np.mean(absorbed.child_cosine)),
        )
    )
log.observe("absorbed", rows[1][1])
table(
    [
        "dictionary",
        "silent, with child",
        "absorbed, with child",
        "alone",
        "with a stranger",
        "child's cosine with the parent",
    ],
    rows,
)

# %% [markdown]
# **Silent**: the parent is active, a child too, and the parent's feature is at 0. **Absorbed**: on top of that, one other feature writes the parent's direction in its stead. The controls are rows where the parent is alone, and rows where it comes with an unrelated feature. The last column shows what happened to the child's direction: two known directions have a cosine of about 0, a child that has taken over its parent about 0.7. Top-k, which has to count its features, does it twice as often as the standard dictionary. (In the larger study of the method card a Matryoshka dictionary, made against this, does it in 4% of the rows, where top-k does in 61%.)
#
# ## 8. A look at a real model
#
# Now without a truth. A small dictionary on the residual stream, trained for seconds, measured on text that it has not seen. `ca.sae.evaluate` puts it in its place in the model and asks what the model loses: with the dictionary, with each baseline, and with the mean and zero in place.

# %%
model = ca.HookedTransformer.from_pretrained(MODEL)
HOOK = f"blocks.{model.cfg.n_layers // 2 - 1}.hook_resid_post"
corpora = {"ioi-mini": ioi_corpus, "induction-2l": induction_corpus}


def tokens(seed: int, first: int, n: int) -> torch.Tensor:
    """Text of the embedded models; of others random tokens, which is a poor stand-in."""
    if MODEL in corpora:
        return corpora[MODEL].Corpus(seed=seed).sequences(first, n)
    generator = torch.Generator().manual_seed(seed + first)
    return torch.randint(model.cfg.d_vocab, (n, 64), generator=generator)


source = Activations(
    model, DrawnTokens(lambda first, n: tokens(301, first, n), "text"), HOOK, buffer_rows=16_384
)
(trained,) = train_dictionaries(
    source,
    [
        DictionarySettings(
            "top-k", hook=HOOK, k=16, d_features=256, learning_rate=3e-3, dead_after=10_000
        )
    ],
    PassSettings(n_rows=120_000, batch_size=512, start_rows=8192),
)
seen = evaluate(trained.dictionary, model, tokens(302, 0, 48), fit_tokens=tokens(302, 48, 48))
better = (
    seen.dictionary.explained_variance().estimate
    > seen.rows["principal components"].explained_variance().estimate
)
log.observe("components", "yes" if better else "no")
table(
    ["in place", "L0", "explained variance", "loss up by", "recovered (mean)", "recovered (zero)"],
    [
        (
            name,
            seen.rows[name].l0() if name in seen.rows else "",
            seen.rows[name].explained_variance() if name in seen.rows else "",
            seen.losses.increase(name),
            seen.losses.loss_recovered(name, "mean ablation"),
            seen.losses.loss_recovered(name, "zero ablation"),
        )
        for name in (*seen.rows, "mean ablation", "zero ablation")
    ],
)

# %% [markdown]
# Read it from the right. Random directions "recover" more than half of the loss, and each row's own largest principal components, which know nothing of features, 95% of it beside the dictionary's 96%. The mean in place of the stream is a catastrophe of six nats, and a share of a catastrophe is soon recovered. The nats that are lost say more: 0.21 and 0.31. So: give a dictionary's numbers beside baselines with as many numbers per row, and give the nats.
#
# What is missing here is everything that sections 3 to 7 had. There is no truth to compare with: no recall, no precision, no absorption by name. Notebook 20 asks the model instead, by cutting.

# %%
log

# %% [markdown]
# ## 9. Exercises
#
# **Exercise 1.** A dictionary has 100 features. 60 of the 80 known directions have a learned one with a cosine of 0.9 or more; 72 of its 90 living features have a known one; those 72 are of 60 different ones. Recall, precision, uniqueness?
#
# <details><summary>Hint</summary>
#
# Recall is of the known directions, precision of the living learned ones, uniqueness of those that are known.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# counted = (60 / 80, 72 / 90, 60 / 72)
# ```
#
# </details>

# %%
counted = ...  # three numbers

# %%
check(counted, (0.75, 0.8, 5 / 6), hint="Dead features are not counted.")

# %% [markdown]
# **Exercise 2.** With a loss of (a − f)² + λ f for one feature of strength a = 1 (decoder of length 1), which f is best at λ = 0.2?
#
# <details><summary>Hint</summary>
#
# Set the derivative to zero: −2 (1 − f) + λ = 0. What is lost, λ / 2, is the shrinkage, and it is the same for weak and strong features.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# best_f = 1 - 0.2 / 2
# ```
#
# </details>

# %%
best_f = ...

# %%
check(best_f, 0.9, hint="The derivative of the loss is 0 there.")

# %% [markdown]
# **Exercise 3.** Explained variance is 1 − Σ|x − x'|² / Σ|x − mean|² over *all* rows. Somebody takes it within batches of 8 rows instead, each with its own mean, and averages. What do they get for the top-k dictionary of section 6 on `rows_x`? Higher or lower than the right number, and why?
#
# <details><summary>Hint</summary>
#
# `rows_x.split(8)` gives the batches, `top_k.dictionary(batch)` what is made of one. A batch's own mean is nearer to its rows than the mean of all, so that its denominator is smaller by 1/8 on average.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# within = [
#     float(1 - (a - top_k.dictionary(a)).square().sum() / (a - a.mean(0)).square().sum())
#     for a in rows_x.split(8)
# ]
# mean_of_ratios = float(np.mean(within))
# ```
#
# </details>

# %%
rows_x = known.draw(4000, torch.Generator().manual_seed(9)).x
whole = evaluate_rows(top_k.dictionary, rows_x).dictionary.explained_variance().estimate
print("over all rows:", round(whole, 3))
mean_of_ratios = ...

# %%
check(
    mean_of_ratios,
    lambda found: whole - 0.2 < found < whole - 0.01,
    hint="Each batch has a denominator of its own.",
)

# %% [markdown]
# ## 10. Break it on purpose
#
# - Leave out `one.W_dec /= ...` in `train`. What happens to the features' strengths, and to λ's power?
# - Give the toy model a density of 0.5 instead of 0.05. The pentagon is gone, and the points no longer lie on arrows. What does the autoencoder find?
# - Set `n_active=8` in section 6 and leave `k=2`. Which of recall, explained variance and bias notices first?
# - Give the dictionary of section 6 four times as many features. Which number stays, which falls?
# - Start `known_features` and the dictionary from the very same random directions (copy them into `W_dec` and `W_enc`). Training now *begins* with the answer. Would any number but the control tell you?
#
# ## 11. Questions to take along
#
# 1. Why is the mean best cosine in section 3 nothing to be proud of, and in section 6 it is?
# 2. Name a dictionary with an explained variance of 1 and a recall of 0.
# 3. The dead features of section 5 could be left alone. What is lost?
# 4. In section 7, which features would you show to somebody as examples of "the parent's feature", and what would they not see?
# 5. "Our dictionary recovers 98% of the loss." What do you ask?
#
# ## Further
#
# - Next: [20 · Features in a residual stream: found, read, and tested](20_features_in_a_residual_stream.ipynb).
# - Elhage et al. (2022), *Toy Models of Superposition*; Sharkey, Braun and Millidge (2022), *Taking features out of superposition with sparse autoencoders*: the toy setting and the mean best cosine.
# - Bricken et al. (2023), *Towards Monosemanticity*: the autoencoder and resampling. Rajamanoharan et al. (2024), *Improving Dictionary Learning with Gated Sparse Autoencoders*, [arXiv:2404.16014](https://arxiv.org/abs/2404.16014): shrinkage.
# - Gao et al. (2024), *Scaling and evaluating sparse autoencoders*, [arXiv:2406.04093](https://arxiv.org/abs/2406.04093): top-k. Bussmann et al. (2024), *BatchTopK Sparse Autoencoders*, [arXiv:2412.06410](https://arxiv.org/abs/2412.06410).
# - Chanin et al. (2024), *A is for Absorption*, [arXiv:2409.14507](https://arxiv.org/abs/2409.14507).
# - Method card: [dictionary-evaluation.md](../docs/methods/dictionary-evaluation.md).
