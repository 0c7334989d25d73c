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
# # 14 · Steering: push a direction in, and see who answers
#
# So far we took things out, or exchanged them for what another prompt had. Now we write something of our own into the residual stream: a direction that is meant to make the model say *another name*. The recipe is one line, `x + c * v`, and it is easy to be fooled by. Sometimes the push works because the direction means something to the model. Sometimes any push would have done. Sometimes it moves half of the prompts the wrong way, and the mean hides it. We build the vectors, measure dose and response, and set every result beside a random direction of the same length.
#
# **What you will know afterwards**
#
# - the classic experiment: force another name with Emb(C) − Emb(B), by layer, position and size, and what truly happens;
# - why the same vector works at one place and does nothing, or the reverse, at another;
# - what a coefficient is measured in, and why it matters;
# - controls: random directions, the vector to another name, and a success of 100% that was none;
# - what steering costs on text that has nothing to do with it;
# - mean differences (CAA), and how to see that a mean is not a direction;
# - steering while text is generated.
#
# **Time:** about 45 minutes; the cells run in about half a minute on one core (on GPT-2: plan for an hour, or a GPU). Method card: [steering.md](../docs/methods/steering.md).

# %%
MODEL = "ioi-mini"  # or "gpt2", or the folder of a model of your own

# %%
import numpy as np
import torch
from course import Log, check, table

import cutaway as ca
from cutaway.plotting import heatmap
from cutaway.steering import (
    applied,
    dose_response,
    embedding_difference,
    intervention,
    mean_difference,
    random_like,
    residual_norms,
)
from cutaway.tasks.ioi_text import NAMES
from cutaway.training.ioi_corpus import Corpus
from cutaway.views import DoseLine, DoseResponseView

torch.set_grad_enabled(False)
model = ca.HookedTransformer.from_pretrained(MODEL)
cfg = model.cfg
LAST, MIDDLE = cfg.n_layers - 1, cfg.n_layers // 2
N_PROMPTS, N_RANDOM = 48, 4
task = ca.tasks.ioi(model, n_prompts=N_PROMPTS, corruption="s2-flip", seed=0)
print(task.baseline(model))
print(task.clean_text[0], "->", task.answer_text[0])

# %% [markdown]
# ## 1. The experiment, and its unit
#
# The model says the indirect object (IO). We want it to say a third name C, one that does **not stand in the prompt**, and choose one for each prompt. The vector is Emb(C) − Emb(IO): take away what the answer is, put in what we want. `dose_response` adds it at one layer and one position (or several), with a coefficient, runs what this can change, and reads everything at END.
#
# What should a coefficient of 1 mean? The stream grows on its way up, so a vector of one length is a hammer in layer 0 and a feather at the top:

# %%
pool = sorted(set(task.correct.tolist()))
rng = np.random.default_rng(0)
third = torch.tensor(
    [int(rng.choice([n for n in pool if n not in row])) for row in task.clean.tolist()]
)
read = embedding_difference(model, third, task.correct)  # rows of W_E
columns = torch.arange(task.clean.shape[1])
norms = {
    at: residual_norms(model, task.clean, where=columns == task.positions[at][:, None])
    for at in ("IO", "S2", "END")
}
print(f"Emb(C) - Emb(IO) is {read.norm:.2f} long, on average over {read.n_prompts} prompts")
table(
    ["layer", *(f"stream at {at}" for at in norms)],
    [(str(i), *(norms[at][i] for at in norms)) for i in range(cfg.n_layers)],
)

# %% [markdown]
# So we count in **mean norms of the stream at that layer and position**. One norm is as much as all that stands there already.
#
# ## 2. Predict
#
# *Success*: C is the likeliest token of the whole vocabulary. *Wrong way*: logit(C) − logit(IO) moves against the sign of the coefficient. Some of our guesses are wrong. Change them to yours.

# %%
log = Log()
log.expect(
    "read",
    "Emb(C) − Emb(IO) at IO, layer 0: highest success?",
    low=0.9,
    high=1,
    confidence=0.9,
    why="it exchanges the name",
)
log.expect(
    "later",
    "... and half way up the model?",
    low=0.3,
    high=1,
    confidence=0.6,
    why="the stream still holds the name",
)
log.expect(
    "end",
    "... at END, any layer?",
    low=0.3,
    high=1,
    confidence=0.6,
    why="that is where the answer is said",
)
log.expect(
    "said",
    "The columns of W_U instead, at END, last layer, 1 norm?",
    low=0.8,
    high=1,
    confidence=0.8,
    why="the logits are compared with these",
)
log.expect(
    "chance",
    "Luckiest random direction anywhere in these maps?",
    low=0,
    high=0.1,
    confidence=0.9,
    why="there are many names",
)
log.expect(
    "copied",
    "induction-2l: Emb(C) − Emb(answer) where it is copied from, layer 1, 1 norm?",
    low=0,
    high=0.2,
    confidence=0.6,
    why="above layer 0 nothing happened here either",
)
log.expect(
    "subject",
    "Make S the target: random directions at IO, layer 0, 1 norm?",
    low=0,
    high=0.2,
    confidence=0.7,
    why="random directions mean nothing",
)
log.expect(
    "reverse",
    "Emb(C) − Emb(IO) at S2, layer 0, half a norm: share that moves the wrong way?",
    low=0,
    high=0.2,
    confidence=0.7,
    why="more of C is more of C",
)
log.expect(
    "cheap",
    "W_U at END, last layer, 1 norm: KL on neutral text, nats per token?",
    low=0,
    high=0.1,
    confidence=0.6,
    why="one token is touched",
)
log.expect(
    "dear",
    "... at all positions?",
    low=0,
    high=0.5,
    confidence=0.6,
    why="it is one direction of many",
)
log.expect(
    "mary",
    "Mean of prompts that answer Mary − mean of others, at END, 2 norms, last layer?",
    low=0.8,
    high=1,
    confidence=0.7,
    why="their means differ in the name",
)
log.expect(
    "role",
    "Mean of corrupted − mean of clean at S2 (the role turned round): best success for S?",
    low=0.5,
    high=1,
    confidence=0.6,
    why="the position S2 tells the roles",
)
log.expect(
    "cache",
    "Steered generation: tokens that differ with and without the cache?",
    low=0,
    high=0,
    confidence=0.95,
    why="it has to be the same",
)
log

# %% [markdown]
# ## 3. Force another name
#
# Three places for the same vector: at IO, at END, and at all positions at once.

# %%
COEFFICIENTS = (-1.0, 0.25, 0.5, 1.0, 2.0, 4.0)


def steer(vector, target, positions, of=task, **more):
    """Success and its control, over layers and coefficients."""
    given = {"coefficients": COEFFICIENTS, "n_random": N_RANDOM, **more}
    return dose_response(model, of, vector, target, positions=positions, **given)


def success(found, title):
    return heatmap(
        found.success_map(),
        [str(layer) for layer in found.layers],
        [f"{c:g}" for c in found.coefficients],
        title,
        row_axis="layer",
        column_axis="coefficient",
        value_label="share of prompts that say C",
        limit=1.0,
    )


embedded = {at: steer(read, third, at) for at in ("IO", "END", "all")}
success(embedded["IO"], "Emb(C) - Emb(IO), added at IO")

# %%
log.observe("read", float(embedded["IO"].success_map()[0].max()))
log.observe("later", float(embedded["IO"].success_map()[MIDDLE].max()))
log.observe("end", float(embedded["END"].success_map().max()))
table(
    ["added at", "best success", "layer", "coefficient", "same place, random (mean)"],
    [
        (
            at,
            found.success(*found.best()),
            str(found.best()[0]),
            found.best()[1],
            float(found.control_map().mean(0)[found.at(*found.best())]),
        )
        for at, found in embedded.items()
    ],
)

# %% [markdown]
# One cell of the map is full and nearly everything else is empty. In layer 0 at IO the vector makes the model say C, and with twice as much it does not any more. One layer up it does nothing at all, at any size. At END nothing happens anywhere.
#
# The full cell is less than it seems. Before layer 0 the stream *is* the token's embedding and its position, so adding Emb(C) − Emb(IO) with its own length replaces the name. We have edited the prompt, by a long detour:

# %%
exchanged = task.clean.clone()
exchanged[torch.arange(N_PROMPTS), task.positions["IO"]] = third
by_editing = task.metric(task.metric.read(model(exchanged)))
by_steering = ca.intervene(
    model, task, intervention(read, 0, positions="IO"), mode="noising"
).patched[0]
print("largest difference of the metric:", f"{np.abs(by_steering - by_editing.numpy()).max():.0e}")

# %% [markdown]
# Where does it stop working? `site="resid_mid"` is the stream between the attention and the MLP of a layer. The vector keeps its own length.

# %%
sites = ("resid_pre", "resid_mid", "resid_post")
by_site = {
    site: steer(read, third, "IO", site=site, layers=[0], coefficients=(0.5, 1, 2), unit="own")
    for site in sites
}
at_io = torch.arange(N_PROMPTS), task.positions["IO"]
_, cache = model.run_with_cache(task.clean)
for name in ("resid_pre", "attn_out", "mlp_out"):
    print(f"{name:<9} of layer 0 at IO: {cache[name, 0][at_io].norm(dim=-1).mean():5.2f} long")
table(
    ["site of layer 0", "0.5", "1", "2"],
    [(site, *found.success_map()[0]) for site, found in by_site.items()],
)

# %% [markdown]
# On `ioi-mini` it is too late already behind the attention of layer 0. That layer adds much more than the embedding was (the lengths above), and both its attention and its MLP have read the embedding when it is done: exchanging it for only one of the two readers is not enough. Further up the old embedding is still in the sum, but a push along it no longer brings the name.
#
# ## 4. What a token is when it is said
#
# The logits compare the final stream with the columns of W_U. In a model that does not tie W_E to W_U, being read and being said need have nothing in common.

# %%
names = torch.tensor([model.to_single_token(f" {name}") for name in NAMES])
cosine = torch.cosine_similarity(model.W_E[names], model.W_U[:, names].T).mean()
print(f"mean cosine of a name's row of W_E and its column of W_U: {float(cosine):+.3f}")
neutral = (
    Corpus(seed=1_000).sequences(0, 12)  # text of the training's kind, and none that was seen
    if MODEL == "ioi-mini"
    else ca.tasks.ioi(model, n_prompts=12, seed=9).clean
)
said = embedding_difference(model, third, task.correct, "W_U")
unembedded = {at: steer(said, third, at, neutral=neutral) for at in ("END", "all")}
success(unembedded["END"], "W_U[C] - W_U[IO], added at END")

# %%
log.observe("said", unembedded["END"].success(LAST, 1.0))
everything = [*embedded.values(), *unembedded.values()]
log.observe("chance", max(float(found.control_map().max()) for found in everything))

# %% [markdown]
# Now it works from the second layer on: what is written at END stays in the stream until the end, because nobody has to read it on the way. This is hardly "changing what the model thinks". It is writing the answer on the exit door. Whether one calls that steering is taste; that the two vectors act at opposite ends of the model is a fact.
#
# ### A model that keeps its tokens
#
# Is "above layer 0 an embedding does nothing" a law? `induction-2l` has two layers of attention, no MLP and no norm, and completes repeated random tokens: after r1 r2 r3 ... r1 it says r2. What it says stood at FIRST+1, right behind the first time. We ask it for a token C that is not in the prompt.

# %%
inducing = ca.HookedTransformer.from_pretrained("induction-2l")
repeated = ca.tasks.repeated_tokens(inducing, n_prompts=32, seed=0)
words = sorted(set(repeated.correct.tolist()))
new = torch.tensor(
    [int(rng.choice([w for w in words if w not in row])) for row in repeated.clean.tolist()]
)
rows = []
for matrix in ("W_E", "W_U"):
    vector = embedding_difference(inducing, new, repeated.correct, matrix)
    for at in ("FIRST+1", "END"):
        found = dose_response(
            inducing, repeated, vector, new, positions=at, coefficients=(0.5, 1.0, 2.0)
        )
        if (matrix, at) == ("W_E", "FIRST+1"):
            log.observe("copied", found.success(1, 1.0))
        rows += [
            (
                matrix,
                at,
                str(layer),
                *found.success_map()[layer],
                found.control_map()[:, layer].max(),
            )
            for layer in (0, 1)
        ]
table(["matrix", "at", "layer", "0.5", "1", "2", "luckiest random"], rows)

# %% [markdown]
# Not a law. Here nothing rewrites the token on the way: in layer 1 the induction head reads the embedding itself out of the stream at FIRST+1, and copies what we have put there. The answer to "where does this vector act?" is the answer to "who reads it, and where?", and that differs between models. (W_U works at END, as before.)
#
# ## 5. Controls
#
# Random directions of the same length did nothing above. Is that a formality? Let the target be S, the *other* name of the prompt, and push at IO.

# %%
to_subject = steer(embedding_difference(model, task.wrong, task.correct), task.wrong, "IO")
log.observe("subject", float(to_subject.control_map()[:, 0, COEFFICIENTS.index(1.0)].mean()))
table(
    ["layer 0, coefficient", "Emb(S) − Emb(IO)", "random (mean)", "random (luckiest)"],
    [
        (
            f"{c:g}",
            to_subject.success(0, c),
            float(to_subject.control_map()[:, 0, j].mean()),
            float(to_subject.control_map()[:, 0, j].max()),
        )
        for j, c in enumerate(COEFFICIENTS)
    ],
)

# %% [markdown]
# A perfect success, and noise does it too. If the name at IO cannot be read any more, S is what is left. **A success is evidence for a direction only where random directions fail.** (At half a norm the vector has 1.00 and chance 0.17, so there is something to it. The other half of the map is not about it.)
#
# The second control: a vector to yet another name C′, as long and as meaningful. It should bring C′, and never C.

# %%
fourth = torch.tensor(
    [
        int(rng.choice([n for n in pool if n not in row and n != c]))
        for row, c in zip(task.clean.tolist(), third.tolist(), strict=True)
    ]
)
elsewhere = embedding_difference(model, fourth, task.correct, "W_U")
for_third = steer(said, third, "END", layers=[LAST], others={"to C'": elsewhere}, n_random=1)
for_fourth = steer(elsewhere, fourth, "END", layers=[LAST], n_random=1)
table(
    ["coefficient", "vector to C says C", "vector to C′ says C", "vector to C′ says C′"],
    [
        (
            f"{c:g}",
            for_third.success(LAST, c),
            for_third.success(LAST, c, line=1),
            for_fourth.success(LAST, c),
        )
        for c in (0.5, 1.0, 2.0)
    ],
)

# %% [markdown]
# ## 6. Dose and response, prompt by prompt
#
# A mean over prompts can rise while some of them fall. Tan et al. (2024) found that for many published vectors a large part of the prompts moves the wrong way. Choose a line, and its single prompts appear; those that move against the mean are dashed. The vector is the one of section 3, now at S2, in layer 0.

# %%
at_s2 = steer(read, third, "S2", coefficients=(-2, -1, -0.5, 0, 0.5, 1, 2))
lines = []
for line, name in enumerate(at_s2.lines):
    mean, low, high = at_s2.intervals(at_s2.shift[line, 0])
    single = at_s2.shift[line, 0].T
    lines.append(
        DoseLine(name, at_s2.coefficients, mean, low, high, single, name.startswith("random"))
    )
DoseResponseView(
    lines,
    title="Emb(C) - Emb(IO) at S2, layer 0",
    y_label="shift of logit(C) - logit(IO)",
    prompt_labels=task.clean_text,
)

# %%
log.observe("reverse", at_s2.wrong_way(0, 0.5))
table(
    ["coefficient", "mean shift", "wrong way", "says C"],
    [
        (f"{c:g}", at_s2.mean_shift(0, c), at_s2.wrong_way(0, c), at_s2.success(0, c))
        for c in at_s2.coefficients
        if c
    ],
)

# %% [markdown]
# The sign is the reverse: a *little* C at S2 makes C less likely in most prompts, and taking C away there makes the model **say** it. Notebooks 06 to 09 tell why. S2 is the name that must not be said; the model carries it to END and pushes it down. What stands at S2 with a minus sign is pushed up. A vector has no meaning by itself, it has one *where it is read*.
#
# ## 7. What it costs
#
# Push hard enough and a model says anything, and nothing else. So the same steering is done to neutral text (for a single position, at one random token of each text), and we look at how far the predictions move: KL, and what the loss gains, per token from there on.

# %%
log.observe("cheap", unembedded["END"].mean_cost(LAST, 1.0))
log.observe("dear", unembedded["all"].mean_cost(LAST, 1.0))
print(f"loss of the neutral text: {unembedded['END'].base_loss.mean():.2f} nats per token")
rows = []
for at, found in unembedded.items():
    for c in (0.25, 0.5, 1.0, 2.0):
        cost = [found.mean_cost(LAST, c, of=of) for of in ("kl", "loss")]
        rows.append((at, f"{c:g}", found.success(LAST, c), *cost))
table(["W_U, last layer, at", "coefficient", "says C", "KL", "loss"], rows)

# %% [markdown]
# At END, success comes long before the cost. At all positions both come together, since every token is pushed towards a name, wanted or not.
#
# ## 8. Mean differences
#
# Where should a vector come from if it is not a token? **Contrastive activation addition** (Rimsky et al. 2024): the mean stream over texts that have something, minus the mean over texts that do not. First something simple: prompts whose answer is Mary, against prompts with other answers.

# %%
many = ca.tasks.ioi(model, n_prompts=200, seed=1, names=NAMES[:12])
mary = model.to_single_token(" Mary")
has = many.correct == mary
has_not = ~has & (many.clean != mary).all(1)
sets = [[many.clean_text[int(i)] for i in chosen.nonzero()] for chosen in (has, has_not)]
upper = sorted({MIDDLE, LAST})
named = {layer: mean_difference(model, *sets, layer) for layer in upper}
kept = [i for i, row in enumerate(task.clean.tolist()) if mary not in row]
to_mary = steer(named, mary, "END", of=task.subset(kept), layers=upper)
log.observe("mary", to_mary.success(LAST, 2.0))
print(f"{len(sets[0])} texts that answer Mary, {len(sets[1])} that do not hold her")
success(to_mary, "mean(answer Mary) - mean(other answers), at END")

# %% [markdown]
# Now something that the whole task is about: the *role*. In the corrupted prompts the other name stands at S2, and nothing else is changed. The mean difference at S2 should be "the roles are turned round", and adding it should make the model say S. The pairs that it is made of are other prompts than those it is tried on.

# %%
role = {
    layer: mean_difference(model, many.corrupted, many.clean, layer, at=many.positions["S2"])
    for layer in range(cfg.n_layers)
}
turned = steer(role, task.wrong, "S2")
log.observe("role", float(turned.success_map().max()))
table(
    ["layer", "length", "agreement of the pairs", "best success for S", "random, same place"],
    [
        (
            str(i),
            role[i].norm,
            role[i].settings["agreement"],
            float(turned.success_map()[i].max()),
            float(turned.control_map().mean(0)[i, int(turned.success_map()[i].argmax())]),
        )
        for i in range(cfg.n_layers)
    ],
    digits=2,
)

# %% [markdown]
# Now and then it makes the model say S, and random directions do so about as often: it is noise at S2, and noise at S2 confuses. The column *agreement* says why: the mean cosine of one pair's difference with the mean of all is close to 0. Each pair's difference says "this name instead of that one"; their mean is the little that remains when all of that has cancelled (compare its length with that of the stream, section 1). There is no direction for the role at S2 here. The role *is* which name stands there. (Patching each pair's own difference works, of course: that was notebook 05.) Look at the agreement before you trust a mean, and at the control before you believe a success.
#
# ## 9. While text is generated
#
# `applied` steers any run inside a `with` block, also generation, where the prompt passes once and then one token at a time, its keys and values cached. `positions=` is about tokens, not passes: `"last"` is the prompt's last token and every new one, `-1` the prompt's last token only.

# %%
text = task.clean_text[0]
length = norms["END"][LAST]
first = said.subset([0])
wanted = model.to_string([int(third[0])])
print("as it is:     ", model.generate(text, 6, temperature=0)[len(text) :])
for positions in (-1, "last"):
    with applied(model, first, layer=LAST, coefficient=3.0, positions=positions, norm=length):
        out = [
            model.generate(text, 6, temperature=0, use_past_kv_cache=cached)[len(text) :]
            for cached in (True, False)
        ]
    print(f"{positions!r:<5} to {wanted}:", out[0])
with applied(model, said, layer=LAST, coefficient=3.0, positions="last", norm=length):
    with_cache, without = (
        model.generate(
            list(task.clean_text), 6, temperature=0, use_past_kv_cache=cached, stop_at_eos=False
        )
        for cached in (True, False)
    )
log.observe("cache", sum(a != b for a, b in zip(with_cache, without, strict=True)))

# %% [markdown]
# With three norms at the prompt's last token the model says C and then goes on by itself. With `"last"` the vector goes on pushing after its work is done, and the text is lost. (Try 1 norm: it is enough for the name, and the full stop survives.) What is enough for one answer and what a text can bear are two numbers.
#
# ## 10. Break it on purpose
#
# **Choose on the prompts that you report on.** We look at many places and keep the best. Try this with random directions only: the best of them, and the same one on prompts that had no part in the choice.

# %%
# 40 random directions, 3 coefficients: 120 places to be lucky in.
lucky = random_like(embedding_difference(model, task.wrong, task.correct), 40, seed=7)
places = steer(
    lucky[0],
    task.wrong,
    "END",
    others={f"direction {i}": v for i, v in enumerate(lucky)},
    layers=[MIDDLE],
    coefficients=(1, 2, 4),
    n_random=1,
)
shares = places.top[1:-1].mean(-1)  # [direction, layer, coefficient]
half = places.top[1:-1, ..., ::2].mean(-1)
chosen = np.unravel_index(half.argmax(), half.shape)
other_half = places.top[1:-1, ..., 1::2].mean(-1)
print(f"random directions, target S: mean {shares.mean():.2f}")
print(f"the best of {half.size} on every second prompt: {half[chosen]:.2f}")
print(f"the same on the other prompts:         {other_half[chosen]:.2f}")

# %% [markdown]
# What looked like a find was the best of many throws. `cutaway steer` chooses on every second prompt and reports the others, for this reason.
#
# Things to break by yourself:
#
# - Take `unit="own"` in section 3 and compare layers by it. What would you have concluded?
# - Count success by `first` (`found.success(layer, c, by="first")`): C beats the other *names*. How much is gained by not asking whether it beats all other words?
# - `operation="set"` with the coefficient 0 removes the component along the vector. Does the model need it? At which position?
# - Steer at all positions and look at what the model says of `"Yesterday the"`.
#
# ## 11. The log

# %%
log

# %% [markdown]
# ## 12. Exercises
#
# **Exercise 1.** Steering is patching with a vector of your own, so the vector that *is* the difference of two runs must give activation patching. Take the stream before layer `MIDDLE` of the clean and of the corrupted run, steer the corrupted run (`mode="denoising"`) by their difference at all positions, and return the metric of every prompt.
#
# <details><summary>Hint</summary>
#
# `model.run_with_cache(tokens)[1]["resid_pre", MIDDLE]`; `ca.steering.SteeringVector(difference, "clean - corrupted")` takes `[prompt, pos, d_model]`; then `intervention(...)` and `ca.intervene(...).patched[0]`.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# clean, corrupted = (
#     model.run_with_cache(tokens)[1]["resid_pre", MIDDLE]
#     for tokens in (task.clean, task.corrupted)
# )
# difference = ca.steering.SteeringVector(clean - corrupted, "clean - corrupted")
# steered = ca.intervene(model, task, intervention(difference, MIDDLE)).patched[0]
# ```
#
# </details>

# %%
steered = ...

# %%
patched = ca.intervene(model, task, ca.Intervention("resid_pre", MIDDLE)).patched[0]
check(steered, patched, tolerance=1e-3)

# %% [markdown]
# **Exercise 2.** The *slope* of a prompt (Tan et al. 2024) is how many logits it gains per unit of the coefficient, by a least-squares line through 0. What share of the prompts has a negative slope at S2 in layer 0 under the vector of section 6? And under `unembedded["END"]` in the last layer? Two shares.
#
# <details><summary>Hint</summary>
#
# `found.slopes()` is `[line, layer, prompt]`; the first line is the vector.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# negative = [
#     (at_s2.slopes()[0, 0] < 0).mean(),
#     (unembedded["END"].slopes()[0, -1] < 0).mean(),
# ]
# ```
#
# </details>

# %%
negative = ...

# %%
c = np.asarray(COEFFICIENTS)
by_hand = [
    (f.shift[0, at].T @ np.asarray(f.coefficients) < 0).mean()
    for f, at in ((at_s2, 0), (unembedded["END"], -1))
]
check(negative, by_hand, tolerance=1e-6)

# %% [markdown]
# **Exercise 3.** A direction that steers need not be one that is used. Remove the component along W_U[IO] − W_U[S] (`embedding_difference(model, task.correct, task.wrong, "W_U")`) at END before the last layer, and return the mean metric of the clean prompts that is left.
#
# <details><summary>Hint</summary>
#
# `intervention(vector, LAST, 0.0, positions="END", operation="set")`, `mode="noising"`.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# answer = embedding_difference(model, task.correct, task.wrong, "W_U")
# removed = intervention(answer, LAST, 0.0, positions="END", operation="set")
# left = ca.intervene(model, task, removed, mode="noising").patched[0].mean()
# ```
#
# </details>

# %%
left = ...


# %%
def without(old, hook):
    """The stream without the component, by hand."""
    v = model.W_U[:, task.correct].T - model.W_U[:, task.wrong].T
    rows, end = torch.arange(N_PROMPTS), task.positions["END"]
    x = old[rows, end]
    old[rows, end] = x - (x * v).sum(-1, keepdim=True) / (v * v).sum(-1, keepdim=True) * v
    return old


logits = model.run_with_hooks(task.clean, fwd_hooks=[(f"blocks.{LAST}.hook_resid_pre", without)])
expected = float(task.metric(task.metric.read(logits)).mean())
check(left, expected, tolerance=1e-3)

# %% [markdown]
# ## 13. Questions to take along
#
# 1. A paper steers with "a coefficient of 15" in layer 6. Which two numbers do you need before you can compare that with yours?
# 2. A vector works in 90% of the prompts, a random one in 40%. What is the success of the *direction*?
# 3. Emb(C) − Emb(B) does nothing in layer 2. Does the model not represent C there?
# 4. A probe finds a concept with 99% accuracy, and steering along it does nothing. Name two explanations, and the run that separates them.
# 5. Your vector makes a model polite, and costs 0.4 nats per token on neutral text. Is that much? What would you compare it with?
#
# ## Further
#
# - Next: [15 · Training a small GPT](15_training_a_small_gpt.ipynb).
# - Back: [09 · A circuit](09_circuits.ipynb). The same as a report: `cutaway steer`, and with other vectors `cutaway steer --method mean --target " Mary"`.
# - Turner et al. (2023), *Activation Addition*, [arXiv:2308.10248](https://arxiv.org/abs/2308.10248): vectors from a pair of texts (`ca.steering.activation_difference`).
# - Rimsky et al. (2024), *Steering Llama 2 via Contrastive Activation Addition*, [arXiv:2312.06681](https://arxiv.org/abs/2312.06681).
# - Li et al. (2023), *Inference-Time Intervention*, [arXiv:2306.03341](https://arxiv.org/abs/2306.03341).
# - Tan et al. (2024), *Analyzing the Generalization and Reliability of Steering Vectors*, [arXiv:2407.12404](https://arxiv.org/abs/2407.12404).
# - Elhage et al. (2021), *A Mathematical Framework for Transformer Circuits*, [transformer-circuits.pub](https://transformer-circuits.pub/2021/framework/index.html).
# - Method cards: [steering.md](../docs/methods/steering.md), [interventions.md](../docs/methods/interventions.md), [activation-patching.md](../docs/methods/activation-patching.md), [evidence.md](../docs/methods/evidence.md).
