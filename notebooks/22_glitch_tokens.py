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
# # 22 · Glitch tokens: words that it was never told
#
# A tokenizer is made from one text and a model is trained on another. What is in the first and not in the second becomes a token with a number, a row in the embedding and a column in the unembedding, and nobody who ever said what it means. The best known is ` SolidGoldMagikarp` in GPT-2's vocabulary, a user's name from a forum that was probably in the tokenizer's text and hardly in the model's (Rumbelow and Watkins 2023). Such tokens can be found without asking anything, by their vectors alone. Here we do that where we *know* which tokens they are, check what the suspicion is worth, and then follow one through the layers to the place where it goes wrong.
#
# **What you will know afterwards**
#
# - why a token that never occurs leaves a mark in both embeddings, and why the mark is another one where the two are tied;
# - how to test a detector honestly: what it was tuned on must not be what it finds;
# - how a suspicion is verified, and what a model that cannot repeat does to the verification;
# - at which layer a token fails, by norms, lens, attention and patching, always beside ordinary tokens;
# - how to make a glitch token yourself.
#
# **Time:** about 40 minutes; the cells run in a few seconds on one core. Method card: [glitch-tokens.md](../docs/methods/glitch-tokens.md); the model: [glitch-mini.md](../docs/models/glitch-mini.md).

# %%
MODEL = "induction-2l"  # looked at in section 7; or "gpt2", or the folder of a model of your own

# %%
import numpy as np
import torch
from course import Log, check, show, table

import cutaway as ca
from cutaway.tokens import (
    half_left_out,
    indicators,
    list_prompts,
    ordinary_tokens,
    prompt_makers,
    separation,
    trace_token,
    verify,
)
from cutaway.training.glitch_corpus import COUNTS, occurrences
from cutaway.views import CurveSeries, CurveView, TokenDot, TokenScatterView

torch.set_grad_enabled(False)
# The weights as they were trained: see section 2.
model = ca.HookedTransformer.from_pretrained_no_processing("glitch-mini")
counts = occurrences()  # in how many of 64,000 training sequences each token stood
is_word = np.arange(counts.size) >= 3  # without <|bos|>, <|pad|>, <|unk|>
never = np.flatnonzero(is_word & (counts == 0))
used = np.flatnonzero(is_word & (counts > 0))
common = used[~np.isin(counts[used], COUNTS)]
print(f"{counts.size} tokens: {len(common)} common, {len(used) - len(common)} rare,")
print(f"{len(never)} that never came, such as", [model.tokenizer.token(t) for t in never[:4]])

# %% [markdown]
# ## 1. A vocabulary that knows more than the text
#
# `glitch-mini` has two layers of attention and was trained on one thing: lists of words that come again and again.
#
#     <|bos|> cat river old boat cat river old boat cat river ...
#
# It can say any word that it has just read (notebook 11 shows the circuit that does this). 428 words are common. 64 invented ones came in exactly 1, 3, 10, ... 3,000 of the 64,000 training sequences, eight words for each number. 64 more never came at all.

# %%
PROMPT = "cat river old boat cat river"
said = model.generate(PROMPT, max_new_tokens=4, temperature=0)
print(said)
stranger = model.tokenizer.token(int(never[0]))
tokens = model.to_tokens(PROMPT)
tokens[tokens == model.to_single_token(" old")] = int(never[0])
print([model.tokenizer.token(t) for t in tokens[0].tolist()[1:]], "->")
print("   ", repr(model.tokenizer.token(int(model(tokens)[0, -1].argmax()))), "and not", stranger)

# %% [markdown]
# The same list with a stranger in it, and the model says something else. Put the token in by its *number*: some of these no text can give (the tokenizer parts them), and that is a kind of its own, *unreachable*.
#
# ### Predict
#
# Before you read on: change our expectations to yours. Some of ours are wrong.

# %%
log = Log()
log.expect(
    "norm",
    "Area under the curve of the length of the row of W_E, never against used words?",
    low=0.95,
    confidence=0.8,
    why="weight decay shrinks what is never trained",
)
log.expect(
    "decayed",
    "Length of such a row, over that of a row before training?",
    high=0.5,
    confidence=0.6,
    why="a thousand steps of decay",
)
log.expect(
    "two",
    "Area of the cosine with only two known-unused tokens as reference?",
    low=0.9,
    confidence=0.6,
    why="they are all pushed the same way",
)
log.expect(
    "once",
    "Share of the words that came in one sequence which can be repeated?",
    low=0.5,
    confidence=0.6,
    why="repeating needs no meaning",
)
log.expect(
    "reason",
    "Share of the missing logit that the unembedding keeps down?",
    low=0.5,
    confidence=0.6,
    why="its column was pushed down a thousand times",
)
log.expect(
    "layer",
    "First point from which on the rise of its logit is beyond all ordinary tokens?",
    answer="1",
    confidence=0.7,
    why="layer 1 holds the induction heads",
)
log.expect(
    "input",
    "An ordinary word with a stranger's row in W_E: highest probability?",
    high=0.001,
    confidence=0.7,
    why="it is no longer recognised",
)
log.expect(
    "output",
    "... with a stranger's column in W_U instead?",
    high=0.001,
    confidence=0.7,
    why="it can no longer be said",
)
log.expect(
    "wrong",
    "Area of the cosine if the reference is two common words?",
    high=0.6,
    confidence=0.6,
    why="a wrong reference points nowhere",
)
log

# %% [markdown]
# ## 2. The marks
#
# **At the input.** The gradient of a row of W_E comes from the places where its token stands. No place, no gradient: the row stays what it was when it was drawn, except that weight decay shrinks it.
#
# **At the output.** Every token takes part in every softmax. A token that is never right is pushed down at every step, along whatever the stream holds in all places. All unused tokens are pushed the same way, so their columns of W_U come to point in *one* direction (Land and Bartolo 2024). If some unused tokens are known, the others are near them.
#
# With R the known-unused tokens, low is suspicious:
#
#     E_in norm      |e_i|                               row i of W_E
#     cosine         1 - cos(u_i, mean over R of u)      column i of W_U
#     ... without mean, ... without component            of columns without their mean,
#                                                        or without their first principal component
#
# R does not have to be known from anybody: `<|pad|>` and `<|unk|>` are in the vocabulary and in no text. `indicators` finds such tokens by itself.

# %%
found = indicators(model)
print("known unused:", [found.texts[t] for t in found.unused.tokens], found.unused.reasons[0])
print("tied:", found.tied, " chosen:", found.chosen)
common_count = int(counts[common[0]])
rows = []
for count in (0, *COUNTS, common_count):
    group = np.flatnonzero(is_word & (counts == count))
    name = {0: "never", common_count: "common"}.get(count, f"in {count}")
    rows.append((name, len(group), *(v[group].mean() for v in found.values.values())))
table(["words", "n", *found.values], rows)

# %% [markdown]
# All five grow with how often a word came (the last one only at the start). Which part of that is weight decay? Compare with the rows of the model before its first step.

# %%
fresh = model.fresh(0).W_E.norm(dim=1).mean().item()
length = model.W_E.norm(dim=1).numpy()
log.observe("decayed", float(length[never].mean() / fresh))
areas = {name: separation(values, never, used) for name, values in found.values.items()}
log.observe("norm", areas["E_in norm"])
log.observe("two", areas["cosine"])
print(f"before training {fresh:.3f}, never {length[never].mean():.3f},", end=" ")
print(f"common {length[common].mean():.3f}")
table(["indicator", "area: never below used"], list(areas.items()), digits=3)

# %% [markdown]
# The rows of strangers shrank by a fifth. What parts them from the others is that the *others grew*, to almost four times. In a training without weight decay the area is the same (0.997), and only with ten times as much does it become perfect (the card has the table). The story "weight decay shrinks them" is in many texts. Here it is true and does not matter.
#
# And where embeddings are **tied**? Then the row that is never read is pushed down as a column. In our tied model of the same recipe the rows of strangers are *longer* than all others: the norm has an area of 0.002, as wrong as can be. That is why the paper takes the cosines there, and why we load weights without processing: the usual processing unties the two.
#
# ### Exercise 1
#
# Compute the *cosine without mean* of token `never[0]` yourself. Columns of `model.W_U` are tokens; the reference is `found.unused.tokens`.
#
# <details><summary>Hint</summary>
#
# Take the mean over all columns out of every column first. Then the mean of the two reference columns, then one minus the cosine.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# U = model.W_U.double() - model.W_U.double().mean(1, keepdim=True)
# target = U[:, list(found.unused.tokens)].mean(1)
# mine = U[:, never[0]]
# by_hand = float(1 - mine @ target / (mine.norm() * target.norm()))
# ```
#
# </details>

# %%
by_hand = ...

# %%
check(by_hand, float(found.values["cosine without mean"][never[0]]), hint="Mean over columns.")

# %% [markdown]
# ## 3. An honest test
#
# The reference above was made of two tokens that were not counted. With more known-unused tokens it is tempting to use all of them, and then to see how well they are "found". But a token that the reference was made of is near it for that reason alone. So: one half of the strangers is the reference, the *other* half is to be found. The cutoff may not look at that half either: it is the value that nine in ten of the reference's tokens stay below when each is measured against the others.

# %%
halves = half_left_out(model, never.tolist(), used.tolist(), n_splits=10, seed=0)
print(f"reference {halves.n_reference}, to be found {halves.n_found}, used {halves.n_used}")
table(
    ["indicator", "area", "precision", "recall"],
    [
        (name, *(halves.mean(name, rate) for rate in ("area", "precision", "recall")))
        for name in halves.names
    ],
    digits=3,
)

# %% [markdown]
# The control is the last row: random numbers have an area of one half, and a *recall* as good as any, because the cutoff is set so that nine in ten pass. Recall alone says nothing. Their precision is that of a guess: 32 in 524.
#
# ### Exercise 2
#
# What do the indicators confuse with strangers? Take the 64 words (not special tokens) of lowest `E_in norm`. Which of them came at all, and in how many sequences? Give the set of the counts that are not 0.
#
# <details><summary>Hint</summary>
#
# `np.argsort(values)` sorts all tokens; leave out those where `is_word` is False. Then `counts`.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# order = [t for t in np.argsort(found.values["E_in norm"]) if is_word[t]]
# confused = {int(counts[t]) for t in order[:64]} - {0}
# ```
#
# </details>

# %%
confused = ...

# %%
check(confused, {1}, hint="Sort by the norm, the lowest first, and leave out special tokens.")

# %% [markdown]
# ## 4. Verify
#
# Low norm is a suspicion. The charge is that the model cannot *say* the token, and that can be tried: prompts that make an ordinary token very likely. For a model that reads English that is a sentence with the token in it. This one knows lists, so it gets lists: three of ordinary words, twice, and a third time up to the token. The highest probability of the three decides: below 0.001 *strong*, below 0.01 (the paper's threshold) *weak*, otherwise it *repeats*.

# %%
makers = list_prompts(model, common.tolist())
print([model.tokenizer.token(t) for t in makers[0](int(never[0]))], "->", repr(stranger))
words = np.flatnonzero(is_word).tolist()
checked = verify(model, words, makers)
verdict = dict(zip(words, checked.verdicts))
highest = dict(zip(words, checked.highest.tolist()))
rows = []
for count in (0, *COUNTS, common_count):
    group = np.flatnonzero(is_word & (counts == count))
    number = [sum(verdict[t] == v for t in group) for v in ("strong", "weak", "repeats")]
    name = {0: "never", common_count: "common"}.get(count, f"in {count}")
    rows.append((name, f"{np.median([highest[t] for t in group]):.1e}", *number))
once = [verdict[t] == "repeats" for t in np.flatnonzero(counts == 1)]
log.observe("once", float(np.mean(once)))
table(["words", "median probability", "strong", "weak", "repeats"], rows)

# %%
GroupOf = {0: 0, **dict.fromkeys((1, 3, 10, 30, 100), 1)}
TokenScatterView(
    [
        TokenDot(
            found.texts[t],
            highest[t],
            float(found.values["E_in norm"][t]),
            GroupOf.get(int(counts[t]), 2),
        )
        for t in words
    ],
    ("never came", "in 1 to 100 sequences", "in more"),
    thresholds=(0.001, 0.01),
    value_label="E_in norm",
    title="Suspicion and verification",
)

# %% [markdown]
# The last row of the table is the control: every common word is repeated, so the prompts work. The line between mute and able lies near ten sequences: one sequence is not enough to learn to repeat a word, although repeating needs no knowledge of what a word means. What does it need, then? Follow one.
#
# ## 5. Through the layers
#
#     a b X c d a b | X |
#                 ^   ^
#         say X here   find c here
#
# To **say** X, the model has to bring it back from where it stood. To **follow** it, it has to know X again when it comes the second time. `trace_token` measures both, and everything on the way, for the token and for ordinary tokens *in the same places*.
#
# The logit of X, where it has to be said, is taken apart. The **floor** is what it has when *another* token stood in the place of X: how much the unembedding likes X at all. The **rise** is what X itself having been there adds.

# %%
stranger_id = int(never[0])
beside = [t for t in ordinary_tokens(found, 60) if counts[t] == common_count][:40]
trace = trace_token(model, stranger_id, beside, n_prompts=16)
rows = []
for name in ("norm", "floor", "rise", "log_probability", "follower"):
    values = trace.means(name)
    for at, point in enumerate(trace.points):
        low, high = values[1:, at].min(), values[1:, at].max()
        own = values[0, at]
        rows.append((name, point, own, low, high, "" if low <= own <= high else "outside"))
log.observe("layer", str(trace.first_outside("rise")))
table(["measure", "after layer", "stranger", "lowest ordinary", "highest", ""], rows)

# %%
floor, rise = (trace.means(name)[:, -1] for name in ("floor", "rise"))
lack_floor, lack_rise = floor[1:].mean() - floor[0], rise[1:].mean() - rise[0]
log.observe("reason", float(lack_floor / (lack_floor + lack_rise)))
print(f"missing: {lack_floor:.1f} logits of the floor, {lack_rise:.1f} of the rise")
x = [0.0, 1.0, 2.0]
ordinary = trace.means("rise")[1:]
CurveView(
    [CurveSeries(found.texts[stranger_id], x, trace.means("rise")[0].tolist())],
    control=CurveSeries(
        f"{len(ordinary)} ordinary words",
        x,
        ordinary.mean(0).tolist(),
        ordinary.min(0).tolist(),
        ordinary.max(0).tolist(),
    ),
    title="Rise of the logit where the word has to be said",
    x_label="layers that have run",
    y_label="logits",
    references=((0.0, ""),),
    interval_name="lowest to highest",
)

# %% [markdown]
# So it is *not* mainly the output that is at fault, as we had expected. The column in W_U was pushed down, and that costs 2.9 logits. The other 17.6 are missing because nothing that looks like the word arrives. Does the model look at the wrong place?

# %%
attention = trace.attention.mean(2)  # [route, run, layer, head]
routes = ("say X: back to X", "c: back to X", "X again: to c")
table(
    ["from and to", "layer", "strongest head, stranger", "strongest head, ordinary"],
    [
        (route, layer, attention[i, 0, layer].max(), attention[i, 1:, layer].mean(0).max())
        for i, route in enumerate(routes)
        for layer in range(2)
    ],
)

# %% [markdown]
# Two different faults.
#
# - **Saying.** Layer 1 looks at the right place: the word *before* X tells it where, and that is an ordinary one. What it brings back comes from a row that no training ever tied to the column.
# - **Following.** In layer 0 the follower *c* should note which word stood before it. It looks back less than usual, and notes something faint. When X comes again no head of layer 1 finds *c*: it looks for a word that nobody has written down.
#
# Patching says where it can be mended. An ordinary word's stream is put into the stranger's run, before each layer; the number is how many logits come back. Both places of X have to look the same, so they are patched together.

# %%
rows = []
for question in ("say", "follow"):
    for name in (question, f"{question}, control"):
        patch = trace.patches[name]
        for layer in range(2):
            rows.append(
                (name, layer, *(f"{p}: {show(m)}" for p, m in zip(patch.places, patch.mean[layer])))
            )
        rows.append((name, "gap", show(patch.whole_gap()), "", ""))
table(["task", "before layer", "place", "place", "place"], [tuple(map(str, r)) for r in rows])

# %% [markdown]
# Read the rows of *follow*. Before layer 0, all of the damage sits at the two places of X: it is the embedding. Before layer 1 it is no longer there: mending X changes nothing, and mending the follower and the end mends everything. So layer 0 is where it gets lost, and layer 1 where one sees it. The control, one ordinary word in the place of another, has hardly a gap (−0.7), and mixing the two runs *breaks* what was whole.
#
# ### Exercise 3
#
# How much of the attention that head 0.1 gives from the follower back to the word is missing for the stranger? Give the difference of the means (ordinary minus stranger) from `attention`; the route "c: back to X" is number 1.
#
# <details><summary>Hint</summary>
#
# The axes are route, run, layer, head. Run 0 is the stranger.
#
# </details>
#
# <details><summary>Solution</summary>
#
# ```python
# missing = float(attention[1, 1:, 0, 1].mean() - attention[1, 0, 0, 1])
# ```
#
# </details>

# %%
missing = ...

# %%
wanted = float(attention[1, 1:, 0, 1].mean() - attention[1, 0, 0, 1])
check(missing, wanted, hint="Ordinary minus stranger, layer 0, head 1.")

# %% [markdown]
# ## 6. Break it on purpose
#
# If we know what makes a stranger, we can make one. Take the word ` boat`, which the model repeats, and give it a stranger's vectors: first only at the input, then only at the output. A second test turns it round: give a stranger an ordinary word's vectors.

# %%
victim = model.to_single_token(" boat")
helper = model.to_single_token(" river")


def with_vectors(token, of, read=False, say=False):
    """A copy of the model in which a token has another's row, column, or both."""
    changed = ca.HookedTransformer.from_pretrained_no_processing("glitch-mini")
    if read:
        changed.embed.W_E[token] = model.W_E[of]
    if say:
        changed.unembed.W_U[:, token] = model.W_U[:, of]
    return changed


rows = []
for name, token, of in (
    ("' boat' made a stranger", victim, stranger_id),
    ("the stranger made ' river'", stranger_id, helper),
):
    pool = [t for t in common.tolist() if t not in (victim, helper)]
    row = [name, verify(model, [token], list_prompts(model, pool)).highest[0]]
    for parts in ({"read": True}, {"say": True}, {"read": True, "say": True}):
        changed = with_vectors(token, of, **parts)
        row.append(verify(changed, [token], list_prompts(changed, pool)).highest[0])
    rows.append([row[0], *(f"{p:.1e}" if p < 0.01 else f"{p:.3f}" for p in row[1:])])
log.observe("input", float(rows[0][2]))
log.observe("output", float(rows[0][3]))
table(["probability of the token", "as it was", "row of W_E", "column of W_U", "both"], rows)

# %% [markdown]
# Both break ` boat`, one more than the other. With a stranger's row it is still said with 1.4%: what is brought back from its place belongs to nobody, and its column, still that of a common word, picks up a little of it. With a stranger's column it is mute. To make a word of the stranger takes both. With the row of ` river` alone the model says ` river`; with the column alone nothing arrives that fits it. With both, the stranger and ` river` are one word with two numbers, and each gets half: 0.499.
#
# Now break the *detector*. The cosines lean on the reference. What if the two "known-unused" tokens are two common words?

# %%
wrong = indicators(model, [victim, helper])
rest = np.array([t for t in used if t not in (victim, helper)])
areas_wrong = {name: separation(v, never, rest) for name, v in wrong.values.items()}
log.observe("wrong", areas_wrong["cosine"].estimate)
table(["indicator", "area with a wrong reference"], list(areas_wrong.items()), digits=3)

# %% [markdown]
# The plain cosine no longer knows anything. Without the mean it is the wrong way round: strangers are what is farthest from trained words. The norm asks for no reference and does not care. So look at the list of known-unused tokens first (the report shows it), and at more than one indicator.
#
# ## 7. A model that nobody told you about
#
# So far we knew the answer. `MODEL` is one for which you do not (or think you do). The steps are the same, and the control tells whether the verification can be believed: if ordinary tokens are not repeated either, a token that is not repeated means nothing.

# %%
other = ca.HookedTransformer.from_pretrained_no_processing(MODEL)
seen = indicators(other)
plain = ordinary_tokens(seen)
ask = prompt_makers(other, plain)
suspects = seen.suspects(100)
result, control = verify(other, suspects, ask), verify(other, plain[:100], ask)
print(f"{seen.model}: {seen.chosen}, {len(seen.unused.tokens)} known unused tokens")
table(
    ["tokens", "strong", "weak", "repeats", "median probability"],
    [
        (
            name,
            *(one.share(v) for v in ("strong", "weak", "repeats")),
            float(np.median(one.highest)),
        )
        for name, one in (("suspects", result), ("ordinary", control))
    ],
)

# %% [markdown]
# `induction-2l` was trained on a text that holds every word of its vocabulary, and the search finds nothing: its most suspicious words are repeated like all others. A detector that cannot come back with empty hands would be worth little. From the shell, with a report: `cutaway glitch --model ...`; on GPT-2 (`--model gpt2`, if you have the weights) look where ` SolidGoldMagikarp` comes.
#
# ## Questions to take along
#
# 1. With tied embeddings, 46 of 64 strangers *can* be repeated (0.01 or more). By which path, if their row was never read in training?
# 2. An unreachable token is undertrained for certain. Is it a danger?
# 3. The E_in norm needs no reference, the cosines do. For a model with an unembedding of its own and no known-unused token at all, what would you do to trust the norm?
# 4. A word that came in three sequences is mute, one that came in thirty is not. Is it the row or the column that learned to repeat it? Section 6 has the tool to find out.
# 5. A token that means something in every *training* text but nothing in yours: would any of these indicators see it?
#
# Your predictions once more:

# %%
log

# %% [markdown]
# ## Further
#
# - The end of the course: [the table](../docs/course.md) says what else there is.
# - Land and Bartolo (2024), *Fishing for Magikarp: Automatically Detecting Under-trained Tokens in Large Language Models*, [arXiv:2405.05417](https://arxiv.org/abs/2405.05417): indicators and verification, on dozens of models.
# - Rumbelow and Watkins (2023), *SolidGoldMagikarp (plus, prompt generation)*, [lesswrong.com](https://www.lesswrong.com/posts/aPeJE8bSo6rAFoLqg/solidgoldmagikarp-plus-prompt-generation): how such tokens were met first.
# - Olsson et al. (2022), *In-context Learning and Induction Heads*, [transformer-circuits.pub](https://transformer-circuits.pub/2022/in-context-learning-and-induction-heads/index.html): the circuit that repeats.
# - Method cards: [glitch-tokens.md](../docs/methods/glitch-tokens.md), [logit-lens.md](../docs/methods/logit-lens.md), [activation-patching.md](../docs/methods/activation-patching.md), [heads.md](../docs/methods/heads.md). The model: [glitch-mini.md](../docs/models/glitch-mini.md).
