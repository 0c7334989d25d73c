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
# # 10 · Heads, and the ones that continue what they have seen
#
# So far we asked which heads do a *task*. Now we ask what a head does *by itself*, whatever the text. On random tokens a head has no reason to look anywhere but its own, and that is where a strange kind of head shows itself: one that finds the place where the present token stood before, and looks at what came next. It is called an **induction head**, and it is how a small transformer learns from its context.
#
# Most of this notebook is about `induction-2l`, a model of two layers with nothing but attention, small enough that one can hold all its heads in one's head.
#
# **What you will know afterwards**
#
# - how to see, without any task, what each head looks at: previous token, the same token before, what came after it, the first token;
# - how to write the induction score yourself, and what its number is worth beside random weights;
# - that a score is not an effect: how to show that the head is *needed*;
# - what a head copies, by its weights alone;
# - what a taxonomy of heads can and cannot say, and how to break it.
#
# **Time:** about 45 minutes; the cells run in about half a minute on one core. Method cards: [heads.md](../docs/methods/heads.md), [known-models.md](../docs/methods/known-models.md), [ablation.md](../docs/methods/ablation.md), [activation-patching.md](../docs/methods/activation-patching.md).

# %%
MODEL = "induction-2l"  # or "gpt2", or the folder of a model of your own

# %%
import numpy as np
import torch
from course import Log, check, table

import cutaway as ca
from cutaway.circuits.known import KNOWN
from cutaway.evidence import bootstrap_mean
from cutaway.heads import copying_scores, head_scores, random_prompts, random_weight_model
from cutaway.patching.ablation import ablate_many, random_heads
from cutaway.plotting import bars, heatmap
from cutaway.views import AttentionExample, AttentionView

torch.set_grad_enabled(False)
model = ca.HookedTransformer.from_pretrained(MODEL)
cfg = model.cfg
N_PROMPTS = 64
repeated = random_prompts(model, "repeated", N_PROMPTS)  # [BOS, r, r]
T, SECOND = repeated.half_length, repeated.second_half
tokens = repeated.tokens
words = [str(word) for word in model.to_str_tokens(tokens[0])]
print(f"{cfg.model_name}: {cfg.n_layers} layers of {cfg.n_heads} heads; halves of {T} tokens")
print(
    "".join(words[: SECOND.start]), "|", "".join(words[SECOND.start : SECOND.start + 6]), "..."
)

# %% [markdown]
# ## 1. The behaviour first
#
# The prompts are `[BOS, r, r]`: `T` random words, and the same words again. In the first half nobody can know what comes next. In the second half everybody can who remembers the first: find the word you are at, and say what followed it.
#
# ### Predict
#
# Change ours to yours, and say how sure you are. Some of ours are wrong.

# %%
log = Log()
log.expect(
    "behaviour",
    "Second half: how often is the right next word the most likely one?",
    low=0.8,
    confidence=0.8,
    why="the model was trained on repeated text",
)
log.expect(
    "layer",
    "The layer of the head with the highest induction score?",
    low=1,
    high=1,
    confidence=0.9,
    why="it has to read what an earlier head has written",
)
log.expect(
    "induction",
    "The highest induction score of all heads?",
    low=0.6,
    confidence=0.7,
    why="one head will do it properly",
)
log.expect(
    "previous",
    "The highest previous-token score?",
    low=0.6,
    confidence=0.7,
    why="somebody has to say which token stood before",
)
log.expect(
    "random",
    "The highest induction score of all heads with random weights?",
    high=0.1,
    confidence=0.8,
    why="one key in fifty is hard to hit by chance",
)
log.expect(
    "needed",
    "Without the best induction head: share of the logit difference that is lost?",
    low=0.3,
    confidence=0.5,
    why="it does what the task asks for",
)
log.expect(
    "copying",
    "The copying score of the best induction head?",
    low=0.5,
    confidence=0.7,
    why="to continue, it must raise the word it looks at",
)
log.expect(
    "movers",
    "ioi-mini: how many name movers?",
    low=1,
    confidence=0.7,
    why="GPT-2 has three, and the model does the task",
)
log


# %%
def next_token(prompts: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """(log-probability of the right next token, whether it is the most likely one), [prompt, pos]."""
    log_probs = model(prompts).log_softmax(-1)[:, :-1]
    right = prompts[:, 1:]
    said = log_probs.gather(-1, right[..., None])[..., 0]
    return said.numpy(), (log_probs.argmax(-1) == right).numpy()


said, hit = next_token(tokens)
# The token at position p is foretold at p - 1. The first word of the second copy cannot be known.
FIRST_HALF = slice(repeated.n_before, SECOND.start - 1)
SECOND_HALF = slice(SECOND.start, SECOND.stop - 1)
second_hits = bootstrap_mean(hit[:, SECOND_HALF].mean(-1))
log.observe("behaviour", second_hits)
table(
    ["", "right next word is first", "its log-probability (nats)"],
    [
        (name, bootstrap_mean(hit[:, part].mean(-1)), bootstrap_mean(said[:, part].mean(-1)))
        for name, part in (("first half", FIRST_HALF), ("second half", SECOND_HALF))
    ],
)

# %%
step = max(1, said.shape[1] // 24)
shown = range(0, said.shape[1], step)
bars(
    [f"{'1st' if p < SECOND.start - 1 else '2nd'} half, {p}" for p in shown],
    said.mean(0)[list(shown)],
    title="Log-probability of the right next word, by position",
    value_label="nats (0 is certainty)",
)

# %% [markdown]
# That cliff is what is to be explained. Nothing in the weights knows these sequences: they were drawn a moment ago.
#
# ## 2. Look before you count
#
# Below, the heads of the model on a short prompt of this kind. Choose a head, point at a token of the second half, and ask where it looks. Look for a head that looks exactly one back, everywhere; and for heads that do nothing in particular in the first half and draw a clean stripe in the second.

# %%
short = random_prompts(model, "repeated", 1, half_length=min(T, 8))
_, cache = model.run_with_cache(short.tokens)
all_heads = [(layer, head) for layer in range(cfg.n_layers) for head in range(cfg.n_heads)]
patterns = np.stack([cache["pattern", layer][0, head].numpy() for layer, head in all_heads])
AttentionView(
    (
        AttentionExample(
            patterns,
            [str(word) for word in model.to_str_tokens(short.tokens[0])],
            {"second half": short.second_half.start},
        ),
    ),
    [f"{layer}.{head}" for layer, head in all_heads],
    title="Every head on [BOS, r, r]",
)

# %% [markdown]
# ## 3. Scores
#
# What the eye finds, a number can say. At a query *i* of the second half:
#
# | score | attention to | in words |
# |:--|:--|:--|
# | previous-token | *i* − 1 | the token before |
# | duplicate-token | *i* − T | the same token, the first time |
# | induction | *i* − T + 1 | what came **after** it, the first time |
# | first-token | 0 | BOS, where a head rests that has nothing to do |
#
# Each is the mean over the second half, and over prompts. `head_scores` measures them all.

# %%
scores = head_scores(model, N_PROMPTS)
layer_names = [str(layer) for layer in range(cfg.n_layers)]
head_names = [str(head) for head in range(cfg.n_heads)]


def head_map(values, title):
    """Layers by heads."""
    return heatmap(
        values, layer_names, head_names, title, row_axis="layer", column_axis="head", limit=1.0
    )


head_map(scores.mean("induction"), "induction: attention to i − T + 1")

# %%
head_map(scores.mean("previous-token"), "previous-token: attention to i − 1")


# %%
def best_of(name: str) -> tuple[int, int]:
    """The head with the highest score."""
    at = int(scores.mean(name).argmax())
    return at // cfg.n_heads, at % cfg.n_heads


def score_of(name: str, head: tuple[int, int]) -> ca.Interval:
    """A head's score with its interval."""
    value, low, high = (float(one[head]) for one in scores.interval(name))
    return ca.Interval(value, low, high, 0.95, N_PROMPTS)


inducer, previous = best_of("induction"), best_of("previous-token")
log.observe("layer", inducer[0])
log.observe("induction", score_of("induction", inducer))
log.observe("previous", score_of("previous-token", previous))
names = ("previous-token", "duplicate-token", "induction", "first-token", "current-token")
table(
    ["head", *names],
    [
        (f"{layer}.{head}", *(score_of(name, (layer, head)) for name in names))
        for layer, head in dict.fromkeys(best_of(name) for name in names)
    ],
)

# %% [markdown]
# In `induction-2l` one head of layer 0 looks one back, head 0.7, and six of the eight heads of layer 1 are induction heads, all between 0.84 and 0.88. Nobody asked for six. The training text only made it pay to continue what has been seen.
#
# ### How large is large?
#
# A number needs something to stand beside. Uniform attention would score `chance`, about 1 / *i*. Better are heads that are as *sharp* as these and about nothing: the model's own weights in random order, with queries scaled until each head attends as sharply as its counterpart (`random_weight_model`).

# %%
distinct = random_prompts(model, "distinct", 8)
random_scores = [
    head_scores(random_weight_model(model, "shuffled", seed, distinct), 32) for seed in range(3)
]
highest = {name: max(float(one.mean(name).max()) for one in random_scores) for name in names}
log.observe("random", highest["induction"])
table(
    ["score", "highest head", "its score", "uniform attention", "highest random head"],
    [
        (
            name,
            "{}.{}".format(*best_of(name)),
            score_of(name, best_of(name)),
            scores.by_chance[name],
            highest[name],
        )
        for name in names
    ],
)

# %% [markdown]
# ## 4. A score is not an effect
#
# The head looks there. Does the model *need* it? Two tests, on `tasks.repeated_tokens`: the clean prompt repeats its first half, the corrupted one has another first half, so that nothing can be continued. The metric is the logit difference between the right word and the one that stands in its place in the corrupted prompt.
#
# **Patching** puts each head's clean output into the corrupted run: how much of the answer comes back? **Ablation** takes it out of the clean run: how much is lost?

# %%
task = ca.tasks.repeated_tokens(model, n_prompts=N_PROMPTS, half_length=min(T, 20), seed=0)
print(task.baseline(model))
restores = ca.sweep(model, task, "z")
loses = ca.sweep(model, task, "z", "mean", mode="noising")
induction = scores.mean("induction")
order = np.argsort(-induction, axis=None)[:8]
table(
    ["head", "induction score", "restores", "loses (mean ablation)"],
    [
        (
            f"{i // cfg.n_heads}.{i % cfg.n_heads}",
            float(induction.ravel()[i]),
            float(restores.normalised().ravel()[i]),
            float(loses.normalised().ravel()[i]),
        )
        for i in order
    ],
)

# %%
correlation = np.corrcoef(induction[-1], restores.normalised()[-1])[0, 1]
lost = float(loses.normalised()[inducer])
log.observe("needed", lost)
print(
    f"last layer, {cfg.n_heads} heads: score and restored share correlate by {correlation:+.2f}"
)

# %% [markdown]
# Look at the second column: the shares restored by the six induction heads are between 0.14 and 0.19 each, and in the last layer score and effect go together. And yet without the best of them hardly a fifth is lost. Six heads do the same work. Take them out one after the other, together, beside random heads of the same number.

# %%
ranked = [
    (int(i) // cfg.n_heads, int(i) % cfg.n_heads) for i in np.argsort(-induction, axis=None)
]
sizes = [n for n in (1, 2, 3, 6) if 2 * n <= len(all_heads)]
rows = []
for n in sizes:
    best = ranked[:n]
    drawn = random_heads(model, n, 20, exclude=[*best, previous], seed=0)
    found, *control = ablate_many(model, task, [best, *drawn], "mean")
    clean = found.clean.mean()
    losses = [float(1 - one.ablated.mean() / clean) for one in control]
    rows.append(
        (n, found.name, float(1 - found.ablated.mean() / clean), np.median(losses), max(losses))
    )
teller = ca.ablate(model, task, [previous])
rows.append((1, f"{teller.name} (previous-token)", float(1 - teller.mean().estimate / clean)))
table(
    ["out", "heads", "lost", "lost, random (median)", "lost, random (most)"],
    [(*row, *[""] * (5 - len(row))) for row in rows],
)

# %% [markdown]
# On `induction-2l`: each of the six is worth a sixth or so, all six together are worth everything, and one head of layer 0, which never looks at the repeat, is worth as much as all six. They cannot find the place unless it has told them what stood before each word. (The random draws leave out these heads and 0.7. For up to three, that leaves the other induction heads in them, which is why a random head loses something too. Six heads that do not look at the repeat at all still lose 0.38 in the median: mean ablation of several of layer 0 is a blow to everything.)
#
# ### A surprise worth understanding
#
# What did *patching* say about the previous-token head?

# %%
print(
    f"{previous[0]}.{previous[1]}: restores {restores.normalised()[previous]:+.2f}, "
    f"lost without it {loses.normalised()[previous]:+.2f}"
)

# %% [markdown]
# On `induction-2l`, putting the *clean* output of 0.7 into the corrupted run does not restore anything: it takes most of the answer away (−0.86). Is it against the answer? Think it through. Its clean output says, at FIRST+1, "the word before me was the one that END repeats". In the corrupted run other words stand there. The induction heads now find the place, as they should, and copy what stands there: the *wrong* word, the very one that the metric counts against. That is a prediction, so test it: where does the best induction head look from END in the three runs?

# %%
z_name = f"blocks.{previous[0]}.attn.hook_z"
pattern_name = f"blocks.{inducer[0]}.attn.hook_pattern"
_, clean_cache = model.run_with_cache(task.clean, names_filter=z_name)


def put_clean(z, hook):
    """The previous-token head's clean output."""
    z[:, :, previous[1]] = clean_cache[z_name][:, :, previous[1]]
    return z


rows = torch.arange(len(task))
looks = []
for name, prompts, hooks in (
    ("clean", task.clean, []),
    ("corrupted", task.corrupted, []),
    (
        f"corrupted, with the clean output of {teller.name}",
        task.corrupted,
        [(z_name, put_clean)],
    ),
):
    with model.hooks(hooks):
        _, cache = model.run_with_cache(prompts, names_filter=pattern_name)
    end, place = task.positions["END"], task.positions["FIRST+1"]
    share = cache[pattern_name][rows, inducer[1], end, place].numpy()
    looks.append((name, bootstrap_mean(share)))
table(["run", f"attention of {inducer[0]}.{inducer[1]} from END to FIRST+1"], looks)

# %% [markdown]
# One message was clean and the values were not. **A patch replaces one thing and leaves its surroundings**; a negative effect need not be a head that works against the answer.

# %% [markdown]
# ## 5. What it carries
#
# Where a head looks is one half. The other is what it writes when it looks there. A head that *copies* raises the logit of the very token it attends to. By the weights alone, without any prompt: take every token's embedding through the head's `W_V W_O` to the logits. If the eigenvalues of that map from tokens to tokens are positive, the head raises what it reads. The copying score is their sum over the sum of their sizes: +1 copies, −1 does the opposite.

# %%
copies = copying_scores(model).numpy()
log.observe("copying", float(copies[inducer]))
head_map(copies, "copying score (by weights alone)")

# %% [markdown]
# So: a head that looks at what came next last time, and says it again. That is induction. *How* it finds the place is another story: it must know which token stood **before** each key, and only an earlier head can have told it. Notebook 11 takes the circuit apart.
#
# ## 6. All heads at once
#
# `ca.heads.taxonomy` does all this for every head: nine scores on three kinds of random prompts, copying beside random heads, thresholds, and random models beside. The thresholds are calibrated where the answer is known, on hand-written models and random weights ([heads.md](../docs/methods/heads.md)).

# %%
found = ca.heads.taxonomy(model, n_prompts=32, n_random=2, copying_draws=100)
table(
    ["class", "heads", "threshold", "fresh weights called so", "shuffled weights called so"],
    [
        (
            name,
            ", ".join(found.of_class(name)[:10]) or "none",
            found.threshold(name),
            found.false_positives("fresh")[name],
            found.false_positives("shuffled")[name],
        )
        for name in found.intervals
    ],
)

# %% [markdown]
# All heads that we found by hand have their names, and the random ones have none but *uniform*, of which the control has a quarter on `induction-2l`: four heads of layer 0 nearly are uniform (an entropy of 0.92 and more), and the shuffled ones were made as broad as they are. (These heads attend to everything alike and still matter a little: mean ablation loses 0.04 to 0.10 with each. What they do is no matter of *where* they look.)
#
# For the places of section 3, is each head a specialist or a generalist?

# %%
entropy, low, high = found.generality
head_map(entropy, "specialised (0) or general (1)")

# %% [markdown]
# The entropy is over five places: previous, duplicate, induction, first and current token; 5 to its power is the number of places in effect. Grey heads look at none of them more than uniform attention does, and get no number. Mind what it does not say: a low entropy is *of what these five have*, which may be little.
#
# **Is the taxonomy right?** On a trained model nobody can say. On a hand-written one we can:

# %%
known = KNOWN["induction"](seed=0)
named = ca.heads.taxonomy(known.model, 16, n_random=0, bos_token=0, copying_draws=0)
table(
    ["head", "written as", "called"],
    [
        (head, known.roles.get(head, "idle"), ", ".join(classes) or "nothing")
        for head, classes in named.classes.items()
    ],
)

# %% [markdown]
# ## 7. Roles are of a task
#
# A name mover cannot be seen on random tokens: there are no names to move. It needs a task, and it is defined by what it *does*: it looks from END to the indirect object **and** writes it. Likewise S-inhibition (looks at S2, and tells the name movers' queries) and backup (writes IO when the name movers are knocked out). First where we know the answer, then where we do not.

# %%
known_ioi = KNOWN["ioi"](seed=0)
written = ca.heads.head_roles(
    known_ioi.model, known_ioi.tasks["s2-flip"], known_ioi.tasks["abc"]
)
ioi_mini = ca.HookedTransformer.from_pretrained("ioi-mini")
ioi_task = ca.tasks.ioi(ioi_mini, 64)
roles = ca.heads.head_roles(ioi_mini, ioi_task, ca.tasks.ioi(ioi_mini, 256, "abc"))
print("written: ", known_ioi.roles)
print("found:   ", written.roles)
print("ioi-mini:", roles.roles, "| does the task:", roles.accuracy)
log.observe("movers", len(roles.movers))

# %%
share, low, high = roles.share(roles.direct)
order = np.argsort(-np.abs(share), axis=None)[:5]
table(
    ["head", "END to IO", "END to S2", "direct share", "OV raises names", "OV lowers names"],
    [
        (
            f"{at[0]}.{at[1]}",
            float(roles.looks[0][at].mean()),
            float(roles.looks[2][at].mean()),
            ca.Interval(float(share[at]), float(low[at]), float(high[at]), 0.95, 64),
            float(roles.copies[at].mean()),
            float(roles.lowers[at].mean()),
        )
        for at in (tuple(map(int, np.unravel_index(i, share.shape))) for i in order)
    ],
)

# %% [markdown]
# `ioi-mini` does the task without a single name mover. Head 1.2 looks at the *subject* and lowers its name; head 3.6 writes the answer and looks at neither name: it says what earlier layers have brought to END. **That a model does a task does not mean that it does it as another model does**, and a method that looks for the known roles finds, honestly, nothing.
#
# ## 8. Break it on purpose
#
# **Another distance.** On one `T`, "T − 1 back" and "after the same token" are the same key. A head that counts would pass for one that compares. So move the second copy: put some other words between the two.


# %%
def with_gap(gap: int, half: int, n: int = N_PROMPTS) -> tuple[torch.Tensor, int]:
    """[BOS, r, gap other tokens, r], and how far apart the copies are."""
    plain = random_prompts(model, "distinct", n, half_length=half + (gap + 1) // 2).tokens
    start = repeated.n_before
    r, between = plain[:, start : start + half], plain[:, start + half : start + half + gap]
    return torch.cat([plain[:, :start], r, between, r], dim=1), half + gap


def induction_at(prompts: torch.Tensor, distance: int, half: int, head: tuple[int, int]):
    """Attention to i − distance + 1 over the last `half` queries, for each prompt."""
    name = f"blocks.{head[0]}.attn.hook_pattern"
    _, cache = model.run_with_cache(prompts, names_filter=name)
    queries = torch.arange(prompts.shape[1] - half, prompts.shape[1])
    pattern = cache[name][:, head[1]]
    return pattern[:, queries, queries - distance + 1].mean(-1).numpy()


HALF = max(3, min(10, T // 2))
rows = []
for gap in (0, 1, 3, HALF):
    prompts, distance = with_gap(gap, HALF)
    rows.append((gap, distance, bootstrap_mean(induction_at(prompts, distance, HALF, inducer))))
table(["words between", "distance", f"induction score of {inducer[0]}.{inducer[1]}"], rows)

# %% [markdown]
# On `induction-2l` the score stays (0.79 to 0.87) while the distance doubles: the head compares words, and does not count.
#
# **Longer and shorter halves.** Does a longer memory cost anything?

# %%
rows = []
for half in sorted({h for h in (3, 6, 12, 18, 24, T) if h <= T}):
    one = head_scores(model, 32, half_length=half, names=["induction"])
    other = random_prompts(model, "repeated", 32, half_length=half)
    _, right = next_token(other.tokens)
    rows.append(
        (
            half,
            float(one.mean("induction")[inducer]),
            one.by_chance["induction"],
            float(right[:, other.second_half.start : -1].mean()),
        )
    )
table(["T", "its induction score", "uniform attention", "right next word is first"], rows)

# %% [markdown]
# **Ambiguity.** Twice the same word with two different continuations: `... a b ... a c ... a`. Which one does the head look at, the earlier or the later?

# %%
plain = random_prompts(model, "distinct", N_PROMPTS, half_length=min(T, 8)).tokens
start = repeated.n_before
a, b, c = (plain[:, start + i : start + i + 1] for i in range(3))
filler = plain[:, start + 3 : start + 9]
ambiguous = torch.cat(
    [plain[:, :start], filler[:, :2], a, b, filler[:, 2:4], a, c, filler[:, 4:6], a], dim=1
)
name = f"blocks.{inducer[0]}.attn.hook_pattern"
_, cache = model.run_with_cache(ambiguous, names_filter=name)
at_end = cache[name][:, inducer[1], -1].numpy()  # [prompt, key]
places = {"b, after the first a": start + 3, "c, after the second a": start + 7}
table(
    ["attention of the last a to", ""],
    [(name, bootstrap_mean(at_end[:, place])) for name, place in places.items()],
)

# %% [markdown]
# On `induction-2l` the head divides its attention, and the *first* continuation gets more of it. The model that reads this head has to live with two answers.
#
# **Backwards.** Now let the second half run in reverse: `a b c d | d c b a`. After each word comes another one than before, so that continuing is wrong at every step. What should a head do that compares words, and what one that counts?

# %%
half = tokens[:, repeated.n_before : SECOND.start]
backwards = torch.cat([tokens[:, : SECOND.start], half.flip(1)], dim=1)
name = f"blocks.{inducer[0]}.attn.hook_pattern"
_, cache = model.run_with_cache(backwards, names_filter=name)
pattern = cache[name][:, inducer[1]]
k = torch.arange(1, T)  # the k-th query of the second half holds word T - 1 - k of the first
queries = SECOND.start + k
after_the_same = repeated.n_before + T - 1 - k + 1
_, right = next_token(backwards)
table(
    ["second half in reverse", ""],
    [
        (
            "attention to what came after the same word",
            bootstrap_mean(pattern[:, queries, after_the_same].mean(-1).numpy()),
        ),
        (
            "attention to i − T + 1",
            bootstrap_mean(pattern[:, queries, queries - T + 1].mean(-1).numpy()),
        ),
        ("right next word is first", bootstrap_mean(right[:, SECOND_HALF].mean(-1))),
    ],
)

# %% [markdown]
# It goes by the word, wherever that leads, and the model is wrong with great regularity. An induction head does not understand that a text runs backwards; it says what came next last time.
#
# ## 9. Exercises
#
# **Exercise 1.** Write the induction score yourself. `P` below is the pattern of `inducer`'s layer on `tokens`, `[prompt, head, query, key]`. Compute the mean attention from each *i* in `SECOND` to *i* − `T` + 1, over prompts: one number for each head of that layer.
#
# <details><summary>Hint</summary>
#
# Two index arrays pick pairs: `P[:, :, i, j]` with `i = torch.arange(SECOND.start, SECOND.stop)` and `j = i - T + 1` is `[prompt, head, pair]`.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# i = torch.arange(SECOND.start, SECOND.stop)
# mine = P[:, :, i, i - T + 1].mean((0, 2))
# ```
#
# </details>

# %%
_, cache = model.run_with_cache(tokens, names_filter=f"blocks.{inducer[0]}.attn.hook_pattern")
P = cache["pattern", inducer[0]]
mine = ...

# %%
check(
    mine,
    scores.mean("induction")[inducer[0]],
    tolerance=1e-4,
    hint="the queries are those of the second half only.",
)

# %% [markdown]
# **Exercise 2.** What does the induction head's OV circuit do to *one* token? For each token of the vocabulary take its embedding `model.W_E`, send it through `W_V[layer, head] @ W_O[layer, head]` and `model.W_U`, and see which token it raises most. What share of the tokens raise themselves most?
#
# <details><summary>Hint</summary>
#
# `logits` is `[token, token]`; the diagonal is what each raises of itself. `logits.argmax(-1) == torch.arange(len(logits))`. On a large vocabulary take the first thousand rows of `W_E` only.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# OV = model.W_V[inducer] @ model.W_O[inducer]
# logits = model.W_E[:1000] @ OV @ model.W_U
# raise_themselves = float((logits.argmax(-1) == torch.arange(len(logits))).float().mean())
# ```
#
# </details>

# %%
raise_themselves = ...

# %%
moved = model.W_E[:1000] @ model.W_V[inducer] @ model.W_O[inducer] @ model.W_U
itself = moved.gather(1, torch.arange(len(moved))[:, None])
check(raise_themselves, float(((moved >= itself).sum(-1) == 1).float().mean()), tolerance=1e-3)

# %% [markdown]
# **Exercise 3.** A threshold without calibration is a taste. Take the three random models of section 3 (`random_scores`), and count: what share of *their* heads would be called first-token heads with a threshold of 0.1? Compute it over all heads of the three.
#
# <details><summary>Hint</summary>
#
# `one.mean("first-token")` is `[layer, head]`.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# false = float(np.mean([one.mean("first-token") > 0.1 for one in random_scores]))
# ```
#
# </details>

# %%
false = ...

# %%
above = [float(v) > 0.1 for one in random_scores for v in one.mean("first-token").ravel()]
check(false, sum(above) / len(above), tolerance=1e-6)

# %% [markdown]
# ## 10. The log

# %%
log

# %% [markdown]
# ## 11. Questions to take along
#
# 1. A head scores 0.4 on induction. Random heads reach 0.04. The threshold is 0.63. Is it an induction head? Write the sentence that you would put into a paper.
# 2. Why does a model of *one* layer have no induction heads? (What would the query have to know about the key?)
# 3. The induction score is measured on random words. Name a text on which the same head could do something else entirely, and how you would find out.
# 4. Two heads with scores of 0.9 each; ablating either loses nothing, ablating both loses everything. What do you call them, and which of this notebook's tables would have hidden it?
# 5. Our control shuffles weights and then *sharpens* them. What would have gone wrong without the sharpening? (`found.false_positives("fresh")["uniform"]` is a hint.)
#
# ## Further
#
# - Next: [11 · The induction circuit, from end to end](11_the_induction_circuit.ipynb).
# - Back: [09 · Circuits](09_circuits.ipynb). The same as a report: `cutaway heads`; any text: `cutaway attention "..."`.
# - Elhage et al. (2021), *A Mathematical Framework for Transformer Circuits*, [transformer-circuits.pub](https://transformer-circuits.pub/2021/framework/index.html): QK and OV circuits, copying, induction heads.
# - Olsson et al. (2022), *In-context Learning and Induction Heads*, [transformer-circuits.pub](https://transformer-circuits.pub/2022/in-context-learning-and-induction-heads/index.html): the score of section 3, and how such heads come about in training.
# - Wang et al. (2022), [arXiv:2211.00593](https://arxiv.org/abs/2211.00593): the roles of section 7.
# - Voita et al. (2019), [arXiv:1905.09418](https://arxiv.org/abs/1905.09418), and Clark et al. (2019), [arXiv:1906.04341](https://arxiv.org/abs/1906.04341): what heads of trained models look at.
# - Xiao et al. (2023), [arXiv:2309.17453](https://arxiv.org/abs/2309.17453): why the first token gets so much attention.
# - Method cards: [heads.md](../docs/methods/heads.md), [known-models.md](../docs/methods/known-models.md), [tasks.md](../docs/methods/tasks.md), [evidence.md](../docs/methods/evidence.md).
