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
# # 01 · A transformer from scratch
#
# A GPT is about a hundred lines of arithmetic. In this notebook you write them, in plain torch: no `nn.Module`, no `nn.Linear`, no attention function of a library. A model will be a dictionary of tensors and a few functions that read them. After each part you hold your numbers beside those of a trained model that comes with this package, value by value, and at the end your logits are its logits. Then we break the thing in fourteen ways, and see which of them anybody would have noticed.
#
# **What you will know afterwards**
#
# - every part of a GPT-style decoder: what it computes, what it is for, and what goes wrong without it;
# - why the residual stream is a *sum*, and what a model would be without one;
# - why scores are divided by √d_head, what the causal mask keeps from whom, and how a model with a leak looks (wonderful);
# - what tells a decoder the order of its tokens: there are *two* such things, and one of them is not the position embedding;
# - where the weights are, counted by hand;
# - the ladder of checks to climb before you believe any training run;
# - what each hook name stands for: a line of code that you wrote yourself.
#
# **How to work.** Each part is explained first, then comes a cell with our version. Stop before it, and write yours into an empty cell; give it the same name and arguments. The comparison that follows takes whatever function has that name. You need torch (indexing, broadcasting, `@`) and nothing of the other notebooks.
#
# **Time:** about 90 minutes if you write everything yourself; the cells run in about half a minute on one core. Method card: [interventions.md](../docs/methods/interventions.md) (what can be done at a hook point).

# %%
MODEL = "ioi-mini"  # or "gpt2": any model of GPT-2's build

# %%
import math
from contextlib import contextmanager

import numpy as np
import torch
from course import Log, check, table

import cutaway as ca
from cutaway.plotting import bars, heatmap
from cutaway.views import CurveSeries, CurveView

torch.set_grad_enabled(False)  # until section 10, where something is trained
model = ca.HookedTransformer.from_pretrained_no_processing(MODEL)  # weights as in the file
cfg = model.cfg
weights = dict(model.state_dict())  # name -> tensor: this is all that we take from it
for name, weight in list(weights.items())[:16]:
    print(f"{name:22} {list(weight.shape)}")
print(f"... {len(weights)} tensors, {cfg.n_layers} blocks")

# %% [markdown]
# Sixteen tensors, and all but the first two come again in each block, with other numbers. `embed.W_E` and `pos_embed.W_pos` turn tokens into vectors; `ln1`, `attn`, `ln2` and `mlp` are the four parts of a block; at the very end stand `ln_final` and `unembed`. A matrix begins with `W`, a bias with `b`, and vectors are rows: we write `x @ W`.
#
# The text is twelve sentences of seventeen tokens (a model that can do nothing but this is easier to hold in one's head than one that can do everything):

# %%
PEOPLE = "Mary John, John Mary, Anna Tom, Paul Lisa, Kate David, James Sarah"
SENTENCES = (
    "When {0} and {1} went to the store, {1} gave a drink to {0}.",
    "In the morning {0} saw {1} there, and {1} threw a ball to {0}.",
)
texts = [text.format(*pair.split()) for text in SENTENCES for pair in PEOPLE.split(", ")]
tokens = model.to_tokens(texts)  # [batch, pos]: a number for each token
words = [str(word).strip() for word in model.to_str_tokens(tokens[0])]
print(list(tokens.shape), words)
print(tokens[0].tolist())

# %% [markdown]
# ## 1. Predict
#
# Some of these questions can be answered by thinking, and some of our own answers are wrong. Change them to yours before you go on. A *relative* difference is the largest difference divided by the largest value.

# %%
log = Log()
log.expect(
    "scale",
    "64 keys, random queries and keys with 256 entries each, not scaled: the largest weight?",
    low=0.3,
    high=0.6,
    confidence=0.6,
    why="one of 64 should stand out, but not that much",
)
log.expect(
    "order 1",
    "No position embedding, earlier tokens shuffled: relative change at the last position after block 0?",
    low=0,
    high=1e-9,
    confidence=0.8,
    why="attention is a sum over keys, and sums have no order",
)
log.expect(
    "order 2",
    "... and after block 1?",
    low=0,
    high=1e-9,
    confidence=0.8,
    why="a second sum has no order either",
)
log.expect(
    "no sum",
    "12 fresh blocks that replace instead of add: cosine between two positions at the end?",
    low=0.3,
    high=0.7,
    confidence=0.5,
    why="random matrices mix things up",
)
log.expect(
    "tied",
    "Tied embeddings, no block at all: share of characters that it says come next after themselves?",
    high=0.2,
    confidence=0.7,
    why="few characters are doubled in English",
)
log.expect(
    "equal",
    "Largest relative difference between our values and the model's, whole model?",
    high=1e-5,
    confidence=0.9,
    why="the same sums in another order: seven digits, some lost",
)
log.expect(
    "share",
    "Share of the weights that lie in matrices of the blocks?",
    low=0.75,
    high=0.9,
    confidence=0.7,
    why="12 · 4 · 128² of not quite a million",
)
log.expect(
    "start",
    "Loss of fresh weights over 65 characters, minus ln 65?",
    low=-0.1,
    high=0.1,
    confidence=0.9,
    why="knows nothing, so bets on all alike",
)
log.expect(
    "leak",
    "Another last token: largest change of all logits before it?",
    low=0,
    high=0,
    confidence=0.6,
    why="not small: nothing",
)
log.expect(
    "random tokens",
    "Trained without a mask on random tokens of 16 kinds: loss? (ln 16 = 2.77)",
    low=2.6,
    confidence=0.6,
    why="nobody can foresee random tokens",
)
log.expect(
    "lower",
    "How many of 14 faults make the loss on our sentences lower?",
    low=0,
    high=0,
    confidence=0.6,
    why="the weights were trained for the right arithmetic",
)

# %% [markdown]
# ## 2. Tools: names for values, and a comparison
#
# We want to look at every value on its way. So each function that we write is given one more argument, `see`, and calls `see(name, value)` wherever a value is worth looking at; it goes on with what `see` returns. The one below writes the value down and returns it unchanged. **This is all that a hook is.** `HookedTransformer` has the same calls in the same places, under names that the field agrees on.

# %%
TOLERANCE = 1e-5  # relative; section 11 shows why this and not less, and not more


class Seen(dict):
    """A `see` that keeps every value under its name."""

    def __call__(self, name, value):
        self[name] = value
        return value


def blind(name, value):
    """A `see` that does nothing."""
    return value


def difference(ours, theirs):
    """The largest difference, as a share of the largest value; infinite if not comparable."""
    if ours.shape != theirs.shape or not torch.equal(ours.isfinite(), theirs.isfinite()):
        return math.inf
    finite = theirs.isfinite()  # masked scores are minus infinity, in both
    gap = (ours - theirs)[finite].abs().max()
    return float(gap / theirs[finite].abs().max().clamp(min=1e-30))


def compare(seen, model=model, tokens=tokens):
    """Our values beside those of the model at its hook points of the same names."""
    _, cache = model.run_with_cache(tokens, names_filter=list(seen))
    rows = []
    for name, ours in seen.items():
        apart = difference(ours, cache[name])
        verdict = "equal" if apart <= TOLERANCE else "**differs**"
        rows.append((f"`{name}`", str(list(ours.shape)), f"{apart:.1e}", verdict))
    return table(["value", "shape", "relative difference", f"within {TOLERANCE:g}"], rows)


# %% [markdown]
# What "equal" means here. A number in float32 has about seven digits (a relative step of 6e-8). We will add up the same products as the model does, but in another order, and each order rounds differently. So differences of 1e-7 to 1e-6 are nothing. A *mistake* should be much larger than that, or else the comparison cannot find it; whether it is, we check at the end instead of hoping.
#
# ## 3. Tokens to vectors
#
# A token is a number from 0 to `d_vocab − 1`, and the number means nothing: token 17 is not "more" than token 16. So each token gets a vector of its own, a row of `W_E`, that training is free to place. Looking up a row is the same as multiplying a one-hot vector with the matrix: linear, like nearly everything that follows.
#
# The same is done with the *place* at which the token stands: a row of `W_pos` for position 0, 1, 2, ... The two are **added**. One might fear that the sum blurs them; but in 128 dimensions there is room for many nearly orthogonal directions, and a reader that wants only the one can learn to ignore the other.
#
# > **Yours:** `embed(W, cfg, tokens, see)` returns `[batch, pos, d_model]`; names `hook_embed` and `hook_pos_embed` (with the batch axis).


# %%
def positions(n):
    return torch.arange(n)


def embed(W, cfg, tokens, see):
    token = see("hook_embed", W["embed.W_E"][tokens])  # [batch, pos, d_model]
    place = W["pos_embed.W_pos"][positions(tokens.shape[-1])]  # [pos, d_model]
    return token + see("hook_pos_embed", place.expand_as(token))


seen = Seen()
stream = seen("blocks.0.hook_resid_pre", embed(weights, cfg, tokens, seen))
compare(seen)

# %%
one_hot = torch.eye(cfg.d_vocab)[tokens]  # [batch, pos, d_vocab]: a single 1 in each row
print("lookup = one-hot product:", torch.equal(one_hot @ weights["embed.W_E"], seen["hook_embed"]))

# %% [markdown]
# The result has a name: it is the **residual stream**, one vector of width `d_model` for each position. `blocks.0.hook_resid_pre` is the stream before block 0. From here to the end it keeps this shape, and blocks only ever add to it.
#
# ## 4. Layer norm
#
# Each part of a block reads the stream through a layer norm. At every position, on its own: subtract the mean of the entries, divide by their standard deviation, then let each entry have its own learned gain `w` and shift `b`:
#
# $$\mathrm{LN}(x) = \frac{x - \bar x}{\sqrt{\overline{(x - \bar x)^2} + \epsilon}} \cdot w + b$$
#
# The mean of squares divides by `d_model`, not by `d_model − 1`, and ε = 1e-5 stands *under the root*. The root is called `hook_scale`, and the quotient, before `w` and `b`, `hook_normalized`.
#
# > **Yours:** `layer_norm(W, cfg, at, x, see)`. `at` says which one it is, such as `"blocks.0.ln1"`. A model may lack the `b` (or both): read weights with `W.get(name, default)`.


# %%
def variance(centred):
    return centred.pow(2).mean(-1, keepdim=True)


def epsilon(cfg):
    return cfg.eps


def layer_norm(W, cfg, at, x, see):
    centred = x - x.mean(-1, keepdim=True)
    scale = see(f"{at}.hook_scale", (variance(centred) + epsilon(cfg)).sqrt())  # [batch, pos, 1]
    normalized = see(f"{at}.hook_normalized", centred / scale)  # [batch, pos, d_model]
    return normalized * W.get(f"{at}.w", 1.0) + W.get(f"{at}.b", 0.0)


seen = Seen()
normed = layer_norm(weights, cfg, "blocks.0.ln1", stream, seen)
compare(seen)

# %% [markdown]
# What is it for? Let us ask what it throws away.

# %%
direction = torch.randn(cfg.d_model, generator=torch.Generator().manual_seed(0))
for what, changed in {
    "the same": stream,
    "a constant added": stream + 5.0,
    "10 times as long": stream * 10,
    "another direction": stream + direction,
}.items():
    after = layer_norm({}, cfg, "any", changed, blind)  # without w and b
    moved = difference(after, seen["blocks.0.ln1.hook_normalized"])
    print(f"{what:18} length {float(after[0, 0].norm()):6.2f}   output moved by {moved:.0e}")
print(f"sqrt(d_model) = {math.sqrt(cfg.d_model):.2f}")

# %% [markdown]
# It throws away the length (up to ε, which is the small change in the third row) and the mean, so that every vector comes out at length √d_model. What a reader gets is a *direction*. Section 7 shows why that is needed: the stream grows from block to block, and without the norm a late block would see inputs of another size than an early one, and a training step that makes the stream longer would change what everybody reads. The price for those who take models apart: the norm is the one place outside of attention and MLP where what you add depends on what is there already. Double a direction in the stream, and all others shrink.
#
# ## 5. Attention
#
# So far each position is alone. Attention is the only part that moves anything between positions. A head does two things that are best kept apart:
#
# - **where to look** (the QK circuit): each position forms a *query*, "what am I looking for", and a *key*, "what I can be found by". The score of a pair is their dot product; a softmax over the keys makes weights of the scores that sum to 1. This is the *pattern*.
# - **what to bring** (the OV circuit): each position forms a *value*, "what I have to tell". The head's output `z` is the average of the values, weighted by the pattern, and `W_O` writes it back into the stream.
#
# ### One head, step by step
#
# We take one head of block 0 and one sentence, so that every array has two axes.

# %%
HEAD = 1
x = normed[0]  # [pos, d_model]: the first sentence, after ln1
at = "blocks.0.attn"
n, d_head = x.shape[0], cfg.d_head


def bias(W, name, head):
    """A head's bias; 0 in a model without."""
    return W[name][head] if name in W else 0.0


q = x @ weights[f"{at}.W_Q"][HEAD] + bias(weights, f"{at}.b_Q", HEAD)  # [pos, d_head]
k = x @ weights[f"{at}.W_K"][HEAD] + bias(weights, f"{at}.b_K", HEAD)
v = x @ weights[f"{at}.W_V"][HEAD] + bias(weights, f"{at}.b_V", HEAD)
scores = q @ k.T / math.sqrt(d_head)  # [query, key]
print(f"{d_head=}, queries {list(q.shape)}, scores {list(scores.shape)}")
heatmap(
    scores.softmax(-1),
    words,
    words,
    f"Head 0.{HEAD}, not masked",
    row_axis="query: who looks",
    column_axis="key: who is looked at",
    value_label="weight",
    limit=1,
    cell_labels=False,
)

# %% [markdown]
# Every row sums to 1. But look at the right upper half: the words of a sentence attend to words that come *after* them. The model is to predict the next token at every position, and here it could simply look it up. So it is not allowed to: scores of later keys are set to −∞ **before** the softmax, which gives them weight 0 and lets the rest sum to 1.

# %%
mask = torch.ones(n, n, dtype=torch.bool).tril()  # query i may see keys 0 to i
pattern = scores.masked_fill(~mask, -math.inf).softmax(-1)
z = pattern @ v  # [pos, d_head]: averages of values
result = z @ weights[f"{at}.W_O"][HEAD]  # [pos, d_model]: what this head writes
heatmap(
    pattern,
    words,
    words,
    f"Head 0.{HEAD}, as it is: causal",
    row_axis="query: who looks",
    column_axis="key: who is looked at",
    value_label="weight",
    limit=1,
    cell_labels=False,
)

# %% [markdown]
# Each step beside the model's own. In the cache the head is an axis: `[batch, pos, head, d_head]` for `q`, `k`, `v` and `z`, `[batch, head, query, key]` for the scores and the pattern. `hook_result`, what each head writes, is only computed when it is asked for: it is `n_heads` times as large as anything else.

# %%
names = ["hook_q", "hook_k", "hook_v", "hook_attn_scores", "hook_pattern", "hook_z", "hook_result"]
_, cache = model.run_with_cache(texts[0], names_filter=[f"{at}.{name}" for name in names])
masked = scores.masked_fill(~mask, -math.inf)
for name, ours in zip(names, (q, k, v, masked, pattern, z, result)):
    theirs = cache[f"{at}.{name}"][0]  # [pos, head, ...], or [head, query, key]
    theirs = theirs[HEAD] if ours.shape[-1] == n else theirs[:, HEAD]
    print(
        f"{name:16} {str(list(ours.shape)):10} relative difference {difference(ours, theirs):.1e}"
    )

# %% [markdown]
# ### Why divide by √d_head?
#
# Let queries and keys have independent entries of variance 1. Then their dot product is a sum of `d_head` terms of variance 1, so its standard deviation is √d_head. A softmax of scores that large is all but a single 1: the head stares at one key, and since a saturated softmax has almost no gradient, it cannot learn to look elsewhere. Dividing by √d_head makes the spread the same for every width of head. It is a choice about the *start* of training; trained heads can be as sharp as they like, by growing `W_Q` and `W_K`.

# %%
generator = torch.Generator().manual_seed(0)
rows = []
for width in (4, 16, 64, 256):
    queries = torch.randn(500, 1, width, generator=generator)
    keys = torch.randn(500, width, 64, generator=generator)
    raw = (queries @ keys)[:, 0]  # [example, key]
    sharpest = [float(s.softmax(-1).max(-1).values.mean()) for s in (raw, raw / width**0.5)]
    rows.append((str(width), float(raw.std()), width**0.5, *sharpest))
log.observe("scale", rows[-1][3])
table(["d_head", "spread of q·k", "√d_head", "largest of 64 weights, unscaled", "scaled"], rows)

# %% [markdown]
# ### All heads, and W_O
#
# The heads of a layer know nothing of each other. Each reads the same normalised stream, and the layer's output is the **sum** of what they write, plus one bias `b_O` for all. Textbooks say it differently (concatenate all `z`, then multiply with one large matrix); a matrix product over a concatenation *is* the sum over its pieces. But the sum is what lets us speak of what a single head does.
#
# > **Yours:** `attention(W, cfg, at, x, see)`: from the normalised stream to `[batch, pos, d_model]`. Loop over heads; speed is for exercise 1. Names: `hook_q`, `hook_k`, `hook_v`, `hook_attn_scores`, `hook_pattern`, `hook_z`, `hook_result`.


# %%
def causal_mask(n):
    return torch.ones(n, n, dtype=torch.bool).tril()


def score_scale(cfg):
    return math.sqrt(cfg.d_head)


def to_pattern(scores):
    return scores.softmax(-1)


def project(W, at, letter, x, head):
    """Queries, keys or values of one head: [batch, pos, d_head]."""
    return x @ W[f"{at}.W_{letter}"][head] + bias(W, f"{at}.b_{letter}", head)


def write_out(W, at, result):
    """The sum over heads, and the bias that they share: [batch, pos, d_model]."""
    return result.sum(2) + W.get(f"{at}.b_O", 0.0)


def attention(W, cfg, at, x, see):
    heads = range(cfg.n_heads)
    q, k, v = (
        see(
            f"{at}.hook_{letter.lower()}",
            torch.stack([project(W, at, letter, x, h) for h in heads], dim=2),
        )
        for letter in "QKV"
    )  # each [batch, pos, head, d_head]
    scores = torch.stack([q[:, :, h] @ k[:, :, h].transpose(-2, -1) for h in heads], dim=1)
    scores = (scores / score_scale(cfg)).masked_fill(~causal_mask(x.shape[-2]), -math.inf)
    scores = see(f"{at}.hook_attn_scores", scores)  # [batch, head, query, key]
    pattern = see(f"{at}.hook_pattern", to_pattern(scores))
    z = torch.stack([pattern[:, h] @ v[:, :, h] for h in heads], dim=2)
    z = see(f"{at}.hook_z", z)  # [batch, pos, head, d_head]
    result = torch.stack([z[:, :, h] @ W[f"{at}.W_O"][h] for h in heads], dim=2)
    return write_out(W, at, see(f"{at}.hook_result", result))  # [batch, pos, head, d_model] in


seen = Seen()
attn_out = seen("blocks.0.hook_attn_out", attention(weights, cfg, at, normed, seen))
compare(seen)

# %%
side_by_side = seen[f"{at}.hook_z"].flatten(2)  # [batch, pos, head * d_head]
one_matrix = weights[f"{at}.W_O"].flatten(0, 1)  # [head * d_head, d_model]
textbook = side_by_side @ one_matrix + weights.get(f"{at}.b_O", 0.0)
print(f"concatenate, then multiply: relative difference {difference(textbook, attn_out):.1e}")

# %% [markdown]
# ## 6. The MLP
#
# The MLP works at each position alone. It asks `d_mlp` questions at once (a column of `W_in` is a direction to look for, `b_in` a threshold), bends the answers, and for each neuron that says yes it adds that neuron's row of `W_out` to the stream. Without the bend, two matrices in a row would be one matrix, and the whole part a linear map that could be folded into its neighbours.
#
# The bend is GELU: x·Φ(x), where Φ is the probability that a normal variable is below x. Half a ReLU, half a soft one. There are two versions about, and a checkpoint needs the one it was trained with: the exact one, and an approximation by tanh from days when erf was slow, which GPT-2 has (its name here: `gelu_new`).
#
# > **Yours:** `mlp(W, cfg, at, x, see)`, with names `hook_pre` and `hook_post`, before and after the bend; and the two GELUs, from their formulas. (Φ(x) = (1 + erf(x/√2))/2; the other is x(1 + tanh(√(2/π)(x + 0.044715x³)))/2.)


# %%
def gelu(x):
    return x * (1 + torch.erf(x / math.sqrt(2))) / 2


def gelu_new(x):
    return x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2


def activation(cfg, x):
    return {"gelu": gelu, "gelu_new": gelu_new}[cfg.act_fn](x)


def mlp(W, cfg, at, x, see):
    pre = see(f"{at}.hook_pre", x @ W[f"{at}.W_in"] + W.get(f"{at}.b_in", 0.0))
    post = see(f"{at}.hook_post", activation(cfg, pre))  # [batch, pos, d_mlp]
    return post @ W[f"{at}.W_out"] + W.get(f"{at}.b_out", 0.0)  # [batch, pos, d_model]


seen = Seen()
middle = seen("blocks.0.hook_resid_mid", stream + attn_out)
normed_again = layer_norm(weights, cfg, "blocks.0.ln2", middle, seen)
mlp_out = seen("blocks.0.hook_mlp_out", mlp(weights, cfg, "blocks.0.mlp", normed_again, seen))
seen("blocks.0.hook_resid_post", middle + mlp_out)
compare(seen)

# %%
line = torch.linspace(-6, 6, 100_001, dtype=torch.float64)
apart = (gelu(line) - gelu_new(line)).abs()
print(
    f"The two GELUs differ by at most {float(apart.max()):.1e}, at |x| = {float(line[apart.argmax()].abs()):.1f}"
)
print(
    f"and from torch's own by {float((gelu(line) - torch.nn.functional.gelu(line)).abs().max()):.0e}"
)
on = (seen["blocks.0.mlp.hook_post"] > 0).float().mean()
print(f"Neurons of block 0 that are above zero, over our sentences: {float(on):.0%}")

# %% [markdown]
# ## 7. The block, and why the stream is a sum
#
# You have just written a block without noticing. Attention reads the stream through `ln1` and its output is *added*; then the MLP reads the sum through `ln2` and is added too:
#
#     resid_mid  = resid_pre + attention(ln1(resid_pre))
#     resid_post = resid_mid + mlp(ln2(resid_mid))
#
# > **Yours:** `block(W, cfg, at, x, see)`, with `at` such as `"blocks.0"`; then run all of them.


# %%
def block(W, cfg, at, x, see):
    x = see(f"{at}.hook_resid_pre", x)
    attn_out = attention(W, cfg, f"{at}.attn", layer_norm(W, cfg, f"{at}.ln1", x, see), see)
    x = see(f"{at}.hook_resid_mid", x + see(f"{at}.hook_attn_out", attn_out))
    mlp_out = mlp(W, cfg, f"{at}.mlp", layer_norm(W, cfg, f"{at}.ln2", x, see), see)
    return see(f"{at}.hook_resid_post", x + see(f"{at}.hook_mlp_out", mlp_out))


seen = Seen()
stream = embed(weights, cfg, tokens, seen)
for layer in range(cfg.n_layers):
    stream = block(weights, cfg, f"blocks.{layer}", stream, seen)
compare({name: value for name, value in seen.items() if "resid" in name})

# %% [markdown]
# Because everything is added and nothing replaced, the last stream is a *list of contributions*. Here it is, taken apart and put together again:

# %%
parts = {"embed": seen["hook_embed"], "pos_embed": seen["hook_pos_embed"]}
for layer in range(cfg.n_layers):
    parts[f"attention {layer}"] = seen[f"blocks.{layer}.hook_attn_out"]
    parts[f"MLP {layer}"] = seen[f"blocks.{layer}.hook_mlp_out"]
total = sum(parts.values())
last = seen[f"blocks.{cfg.n_layers - 1}.hook_resid_post"]
print(f"{len(parts)} parts; their sum is the last stream up to {difference(total, last):.0e}")
lengths = {name: float(part[:, 1:].norm(dim=-1).mean()) for name, part in parts.items()}
bars(
    list(lengths),
    list(lengths.values()),
    "What each part writes to the stream",
    value_label="mean length over positions (without the first)",
    reference=float(last[:, 1:].norm(dim=-1).mean()),
    reference_label="the whole stream",
)

# %% [markdown]
# The lengths do not add up to the whole, since the parts point in different directions (and some point against each other). What the sum gives us:
#
# 1. **Anyone can read anything.** What a head of block 0 wrote is still there, unchanged, when block 3 reads; nobody in between has to pass it on. Two parts communicate by agreeing on a direction. This is why we can ask which head feeds which, and why a contribution to the logits can be read off for each part alone.
# 2. **Doing nothing is easy.** A part that writes 0 leaves the text as it was. Fresh blocks write little (section 10), so that a deep model begins as a shallow one.
# 3. **The signal survives.** What would happen if each part *replaced* the stream? Take fresh weights, twelve blocks, and ask how alike the vectors at different positions are, after each block.

# %%
shakespeare = ca.HookedTransformer.from_pretrained_no_processing("shakespeare-small")
newline = torch.full((16, 1), shakespeare.to_single_token("\n"))
verses = shakespeare.generate(newline, 63, generator=torch.Generator().manual_seed(0))
print(shakespeare.tokenizer.decode(verses[0].tolist()))


# %% [markdown]
# (That was another model, `shakespeare-small`: it knows 65 characters, and has just written its own text. We will need it again.)


# %%
def fresh(cfg, seed=0, std=0.02):
    """Weights as GPT-2 begins: normal, and smaller where they write to the stream."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape, std=std):
        return torch.randn(*shape, generator=generator) * std

    d, n_heads, d_head, d_mlp = cfg.d_model, cfg.n_heads, cfg.d_head, cfg.d_mlp
    small = std / math.sqrt(2 * cfg.n_layers)  # 2 L parts write to the stream
    W = {"embed.W_E": normal(cfg.d_vocab, d), "pos_embed.W_pos": normal(cfg.n_ctx, d)}
    for layer in range(cfg.n_layers):
        at = f"blocks.{layer}"
        W |= {f"{at}.{norm}.w": torch.ones(d) for norm in ("ln1", "ln2")}
        W |= {f"{at}.attn.W_{letter}": normal(n_heads, d, d_head) for letter in "QKV"}
        W[f"{at}.attn.W_O"] = normal(n_heads, d_head, d, std=small)
        W[f"{at}.mlp.W_in"] = normal(d, d_mlp)
        W[f"{at}.mlp.W_out"] = normal(d_mlp, d, std=small)
    W["ln_final.w"] = torch.ones(d)
    return W


def replacing_block(W, cfg, at, x, see):
    """A block whose parts replace what they read."""
    x = attention(W, cfg, f"{at}.attn", layer_norm(W, cfg, f"{at}.ln1", x, see), see)
    return mlp(W, cfg, f"{at}.mlp", layer_norm(W, cfg, f"{at}.ln2", x, see), see)


def alike(x):
    """Mean cosine between the streams at two different positions of a text."""
    x = x - x.mean(-1, keepdim=True)
    x = x / x.norm(dim=-1, keepdim=True)
    cosines, n = x @ x.transpose(-2, -1), x.shape[-2]  # [batch, pos, pos]
    return float((cosines.sum((-2, -1)) - n).mean() / (n * (n - 1)))


deep = shakespeare.cfg.replace(n_layers=12)
deep_weights = fresh(deep)
curves = []
for name, one_block in (("added", block), ("replaced", replacing_block)):
    x = embed(deep_weights, deep, verses, blind)
    heights = [alike(x)]
    for layer in range(deep.n_layers):
        x = one_block(deep_weights, deep, f"blocks.{layer}", x, blind)
        heights.append(alike(x))
    curves.append(CurveSeries(name, list(range(13)), heights))
log.observe("no sum", curves[1].y[-1])
CurveView(
    curves,
    title="Twelve fresh blocks: how alike are two positions?",
    x_label="blocks",
    y_label="mean cosine",
)

# %% [markdown]
# Without the sum every block averages over positions once more, and after a few blocks all positions hold the same vector: which token stood where is gone, and no later block can bring it back (Dong, Cordonnier and Loukas 2021 prove for attention alone that it goes doubly exponentially with the depth). With the sum, each position keeps what it is and attention adds to it.
#
# ## 8. Positions: who knows the order?
#
# Attention is a weighted sum over keys. Shuffle keys and values together, and the sum is the same. So without `W_pos` the last position should not notice if we shuffle the words before it. We test that: `W_pos` set to 0, float64 so that rounding does not blur it, and the words between the first and the last token shuffled.

# %%
order = torch.randperm(tokens.shape[1] - 2, generator=torch.Generator().manual_seed(1)) + 1
shuffled = tokens[:, torch.cat([torch.tensor([0]), order, torch.tensor([tokens.shape[1] - 1])])]
print(model.tokenizer.decode(shuffled[0].tolist()))


# %%
@contextmanager
def instead(**parts):
    """Within it, functions of ours are replaced by these; afterwards they are as before."""
    before = {name: globals()[name] for name in parts}
    globals().update(parts)
    try:
        yield
    finally:
        globals().update(before)


def everyone(n):
    """No mask: every query may see every key."""
    return torch.ones(n, n, dtype=torch.bool)


def changes_at_end(W):
    """Relative change at the last position after each block, if the words before it are shuffled."""
    found = []
    a, b = (embed(W, cfg, text, blind) for text in (tokens, shuffled))
    for layer in range(cfg.n_layers):
        a, b = (block(W, cfg, f"blocks.{layer}", x, blind) for x in (a, b))
        found.append(float((a - b)[:, -1].norm(dim=-1).mean() / a[:, -1].norm(dim=-1).mean()))
    return found


exact = {name: weight.double() for name, weight in weights.items()}
nowhere = exact | {"pos_embed.W_pos": exact["pos_embed.W_pos"] * 0}
rows = {"with W_pos": changes_at_end(exact), "without W_pos": changes_at_end(nowhere)}
with instead(causal_mask=everyone):
    rows["without W_pos, without the mask"] = changes_at_end(nowhere)
log.observe("order 1", rows["without W_pos"][0], digits=12)
log.observe("order 2", rows["without W_pos"][1], digits=2)
table(
    ["", *(f"after block {layer}" for layer in range(cfg.n_layers))],
    [(name, *(f"{value:.0e}" for value in values)) for name, values in rows.items()],
)

# %% [markdown]
# After block 0 the argument holds, to the last digit. After block 1 it does not! The sum over keys has no order, but the *keys* do: thanks to the causal mask the second word has seen one word before it and the tenth has seen nine, so their streams after block 0 differ by who came before whom. The second block reads that. Take the mask away as well (third row), and the model is blind to order at any depth.
#
# So there are two sources of order in a decoder, and the mask is one of them: decoders trained without any position embedding do learn where they are (Haviv et al. 2022). An encoder such as BERT, which has no mask, could not. And one layer alone cannot do it: to attend to *the previous token* in block 0, a head needs `W_pos`.
#
# ## 9. The other end: final norm, unembedding, loss
#
# The last stream goes through one more layer norm and is compared with a direction for each token: the columns of `W_U`. These are the *logits*: scores of what comes next, at every position.
#
# > **Yours:** `unembed(W, cfg, x, see)`; where there is no `unembed.W_U`, use the embedding, transposed. And `gpt(W, cfg, tokens, see)`, which is everything.


# %%
def unembed(W, cfg, x, see):
    W_U = W.get("unembed.W_U", W["embed.W_E"].T)  # [d_model, d_vocab]
    return layer_norm(W, cfg, "ln_final", x, see) @ W_U + W.get("unembed.b_U", 0.0)


def gpt(W, cfg, tokens, see=blind):
    """A GPT-style decoder: tokens [batch, pos] to logits [batch, pos, d_vocab]."""
    x = embed(W, cfg, tokens, see)
    for layer in range(cfg.n_layers):
        x = block(W, cfg, f"blocks.{layer}", x, see)
    return unembed(W, cfg, x, see)


# %% [markdown]
# This is the whole model. (An `nn.Module` is no more than this: the dictionary and the function, under one name.) Now every value that has a name, and the logits, for both models. They differ in more than size: `shakespeare-small` reads characters, uses the exact GELU, has no biases, and its `W_U` is its `W_E` transposed.


# %%
def whole_model(model, tokens):
    """How far our model is from Cutaway's: over all named values, and in the logits."""
    seen = Seen()
    logits = gpt(dict(model.state_dict()), model.cfg, tokens, seen)
    their_logits, cache = model.run_with_cache(tokens, names_filter=list(seen))
    apart = {name: difference(value, cache[name]) for name, value in seen.items()}
    worst = max(apart, key=apart.get)
    agree = sum(a <= TOLERANCE for a in apart.values())
    return {
        "model": model.cfg.model_name,
        "values": f"{agree} of {len(apart)} equal",
        "the worst of them": f"`{worst}`",
        "its relative difference": f"{apart[worst]:.1e}",
        "logits, relative": f"{difference(logits, their_logits):.1e}",
        "logits, absolute": f"{float((logits - their_logits).abs().max()):.1e}",
    }, max(*apart.values(), difference(logits, their_logits))


found = [whole_model(model, tokens), whole_model(shakespeare, verses)]
log.observe("equal", max(worst for _, worst in found), digits=7)
table(list(found[0][0]), [row.values() for row, _ in found])

# %% [markdown]
# If this says what it says for us, you have written GPT-2: it has the same parts, in the same order, only more and wider. `MODEL = "gpt2"` in the first cell puts its weights into your functions.
#
# ### Tied or not
#
# A token has a vector when it is read (a row of `W_E`) and one when it is said (a column of `W_U`). `shakespeare-small` uses one vector for both, which saves a matrix of `d_vocab · d_model` weights (39 million in GPT-2 small, which has 124 million in all). `ioi-mini` has two. What does tying do? Read the stream out after each block, as if the model stopped there, and ask: how often is its first guess *the very token that it stands at*?


# %%
def says_itself(model, tokens):
    """After the embedding and after each block: share of positions that say their own token."""
    W, shares = dict(model.state_dict()), []
    x = embed(W, model.cfg, tokens, blind)
    for layer in range(model.cfg.n_layers + 1):
        guess = unembed(W, model.cfg, x, blind).argmax(-1)
        shares.append(float((guess == tokens).float().mean()))
        if layer < model.cfg.n_layers:
            x = block(W, model.cfg, f"blocks.{layer}", x, blind)
    return shares


W_E = shakespeare.state_dict()["embed.W_E"]
of_all = unembed(dict(shakespeare.state_dict()), shakespeare.cfg, W_E, blind).argmax(-1)
log.observe("tied", float((of_all == torch.arange(len(of_all))).float().mean()))
lines = []
for one, text in ((shakespeare, verses), (model, tokens)):
    kind = "tied" if one.cfg.tie_word_embeddings else "not tied"
    n_run = list(range(one.cfg.n_layers + 1))
    lines.append(CurveSeries(f"{one.cfg.model_name}, {kind}", n_run, says_itself(one, text)))
CurveView(
    lines,
    title="Says the token it stands at",
    x_label="blocks that have run",
    y_label="share of positions",
)

# %% [markdown]
# Tied, the embedding alone says "the same again" nearly always (at every position of this text), since a vector agrees with itself more than with others. But characters are rarely doubled, so the first thing that the blocks have to do is to take this back, and they need all four of them for it. Untied, the embedding can speak of what usually comes *next* from the start: `W_E W_U` is a table of pairs, and "A then B" need not be as likely as "B then A". That is one reason why the two vectors of a token should not be taken for one another.
#
# ### The loss
#
# Position i predicts token i + 1; the last position's prediction has nothing to be compared with, and the first token is predicted by nobody. The loss is the mean of −ln(probability of the right one), in nats.
#
# > **Yours:** `loss_of(logits, tokens)`. Mind the shift.


# %%
def loss_of(logits, tokens):
    log_probabilities = logits[:, :-1].log_softmax(-1)  # at 0 ... n - 2
    return -log_probabilities.gather(-1, tokens[:, 1:, None]).mean()  # of tokens 1 ... n - 1


for one, text in ((model, tokens), (shakespeare, verses)):
    logits = gpt(dict(one.state_dict()), one.cfg, text)
    ours, theirs = float(loss_of(logits, text)), float(one(text, return_type="loss"))
    unshifted = float(-logits.log_softmax(-1).gather(-1, text[..., None]).mean())
    print(
        f"{one.cfg.model_name}: ours {ours:.6f}, Cutaway's {theirs:.6f}; without the shift {unshifted:.2f}"
    )

# %% [markdown]
# ### What the hook names say
#
# A name is an address: `blocks.2.attn.hook_pattern` is what passes the line `pattern = see(...)` of our `attention`, when `block` runs for layer 2. You have written every one of these lines:
#
# | name | shape | what it is |
# |:--|:--|:--|
# | `hook_embed`, `hook_pos_embed` | batch, pos, d_model | what the two tables give |
# | `blocks.L.hook_resid_pre`, `_mid`, `_post` | batch, pos, d_model | the stream before the block, between attention and MLP, after it |
# | `blocks.L.ln1.hook_scale`, `.hook_normalized` | ..., 1 or d_model | what the norm divides by; the quotient, before `w` and `b` |
# | `blocks.L.attn.hook_q`, `_k`, `_v` | batch, pos, head, d_head | queries, keys, values |
# | `blocks.L.attn.hook_attn_scores`, `_pattern` | batch, head, query, key | after mask and scale; after the softmax |
# | `blocks.L.attn.hook_z` | batch, pos, head, d_head | averaged values, before `W_O` |
# | `blocks.L.attn.hook_result` | batch, pos, head, d_model | what each head writes, without `b_O` |
# | `blocks.L.hook_attn_out`, `hook_mlp_out` | batch, pos, d_model | what is added to the stream |
# | `blocks.L.mlp.hook_pre`, `hook_post` | batch, pos, d_mlp | neurons before and after the bend |
# | `ln_final.hook_normalized` | batch, pos, d_model | what the unembedding reads, but for `w` and `b` |
#
# `cache["pattern", 2]` is short for the long name. And since our functions go on with what `see` *returns*, a `see` that returns something else is an intervention. Here the same one in both worlds: a head silenced.

# %%
SILENT = "blocks.0.attn.hook_z"


def silence(name, value):
    if name == SILENT:
        value = value.clone()
        value[:, :, HEAD] = 0
    return value


def silence_hook(value, hook):  # as HookedTransformer wants it
    return silence(hook.name, value)


ours = gpt(weights, cfg, tokens, silence)
theirs = model.run_with_hooks(tokens, fwd_hooks=[(SILENT, silence_hook)])
print(
    f"logits moved by {difference(ours, gpt(weights, cfg, tokens)):.2f} (relative to the largest)"
)
print(f"ours and theirs, both silenced: relative difference {difference(ours, theirs):.1e}")

# %% [markdown]
# One warning. `from_pretrained`, without our `_no_processing`, rewrites the weights so that they are easier to read: the norms' `w` and `b` go into the matrices behind them, what is written to the stream has mean 0, and so do the logits. It is the same function, in other coordinates. The names stay, and some of the values behind them do not:

# %%
rewritten = ca.HookedTransformer.from_pretrained(MODEL)
kept = ["hook_embed", "blocks.0.attn.hook_pattern", f"blocks.{cfg.n_layers - 1}.hook_resid_post"]
logits_a, cache_a = model.run_with_cache(tokens, names_filter=kept)
logits_b, cache_b = rewritten.run_with_cache(tokens, names_filter=kept)
pairs = {f"`{name}`": (cache_a[name], cache_b[name]) for name in kept}
pairs["logits"] = (logits_a, logits_b)
pairs["log-probabilities"] = (logits_a.log_softmax(-1), logits_b.log_softmax(-1))
pairs["logits: ours with the rewritten weights, theirs"] = (
    gpt(dict(rewritten.state_dict()), rewritten.cfg, tokens),
    logits_b,
)
table(
    ["value", "relative difference"],
    [(name, f"{difference(a, b):.0e}") for name, (a, b) in pairs.items()],
)

# %% [markdown]
# Compare logits only between models that were loaded alike; compare probabilities always.
#
# ## 10. Where the weights are, and the ladder
#
# ### Counting by hand
#
# With `d` for `d_model` and `H · d_head = d`, attention has four matrices of d² (Q, K, V, O), and the MLP two of 4d²: **12 d² for each block**, 12 L d² in all. Everything else is small, but for the vocabulary.


# %%
def count(cfg, W):
    """Rows of (what, formula, number), for a model with the weights W."""
    L, d, V, m, h = cfg.n_layers, cfg.d_model, cfg.d_vocab, cfg.d_mlp, cfg.n_heads * cfg.d_head
    biases = sum(w.numel() for n, w in W.items() if n.rsplit(".", 1)[-1].startswith("b_"))
    norms = sum(w.numel() for n, w in W.items() if ".ln" in f".{n}")
    return [
        ("token embedding", "V d", V * d),
        ("positions", "n_ctx d", cfg.n_ctx * d),
        ("attention: W_Q, W_K, W_V, W_O", "4 L d²", 4 * L * d * h),
        ("MLPs: W_in, W_out", "8 L d²", 2 * L * d * m),
        ("biases", "9 L d, or none", biases),
        ("norms", "(2 L + 1) d, or twice that", norms),
        ("unembedding", "d V, or tied: none", 0 if cfg.tie_word_embeddings else d * V),
    ]


two = [(one.cfg, dict(one.state_dict())) for one in (model, shakespeare)]
counted = [count(*one) for one in two]
rows = [(a[0], a[1], f"{a[2]:,}", f"{b[2]:,}") for a, b in zip(*counted)]
sums = [sum(row[2] for row in one) for one in counted]
truth = [sum(p.numel() for p in one.parameters()) for one in (model, shakespeare)]
rows += [
    ("**sum**", "", *(f"**{n:,}**" for n in sums)),
    ("the model itself", "", *(f"{n:,}" for n in truth)),
    (
        "12 L d², share of all",
        "",
        *(f"{(c[2][2] + c[3][2]) / n:.1%}" for c, n in zip(counted, sums)),
    ),
]
log.observe("share", (counted[0][2][2] + counted[0][3][2]) / sums[0])
table(["weights", "formula", cfg.model_name, "shakespeare-small"], rows)

# %% [markdown]
# Two thirds of a block are its MLP. And the two models have the very same blocks: what makes the larger one larger is its vocabulary.
#
# ### The sanity ladder
#
# Before anyone believes a training run, it climbs four rungs. Each takes seconds, and each is about another kind of mistake.
#
# **Rung 1: the loss at the start is near ln V.** Fresh logits should be near 0, so all `V` tokens get probability 1/V, and the loss is ln V. More exactly: logits that scatter with standard deviation σ, without knowing anything, cost σ²/2 more. (The expected log of the sum of exponentials is about ln V + σ²/2.) A much larger loss says that the weights start too large; a smaller one, that something knows the answer.

# %%
rows, ln_v = [], math.log(shakespeare.cfg.d_vocab)
for std in (0.002, 0.02, 0.05, 0.1, 0.2):
    sigmas, starts = [], []
    for seed in range(4):
        logits = gpt(fresh(shakespeare.cfg, seed, std), shakespeare.cfg, verses)
        sigmas.append(float(logits.std(-1).mean()))
        starts.append(float(loss_of(logits, verses)))
    row = np.mean(sigmas), ln_v + np.mean(np.square(sigmas)) / 2, np.mean(starts)
    rows.append((f"{std:g}", *row, f"{min(starts):.2f} to {max(starts):.2f}"))
log.observe("start", rows[1][3] - ln_v, digits=3)
print(f"ln {shakespeare.cfg.d_vocab} = {ln_v:.3f}")
table(
    ["standard deviation of weights", "σ of the logits", "ln V + σ²/2", "loss", "of four seeds"],
    rows,
    digits=3,
)

# %% [markdown]
# Means over four seeds; single ones scatter about the formula, since a text of few different characters is a small sample of the logits. The usual 0.02 is the second row: it costs next to nothing. Ten times that costs more than two nats, which training would first have to take back.
#
# **Rung 2: it learns one batch by heart.** If the loss of a single small batch, shown again and again, does not go to almost nothing, then gradients do not reach what they should, or the labels are shifted. Training is a loop of four lines; our model is a dictionary, and that is enough for torch:


# %%
def train(cfg, batches, learning_rate):
    """Fresh weights, one AdamW step for each batch: weights and losses."""
    W = {name: weight.requires_grad_() for name, weight in fresh(cfg).items()}
    if not cfg.tie_word_embeddings:
        W["unembed.W_U"] = W["embed.W_E"].detach().T.clone().requires_grad_()
    optimizer = torch.optim.AdamW(W.values(), lr=learning_rate, weight_decay=0.0)
    losses = []
    with torch.enable_grad():
        for batch in batches:
            loss = loss_of(gpt(W, cfg, batch), batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return W, losses


small = ca.ModelConfig(
    n_layers=2, d_model=64, n_heads=4, d_vocab=65, n_ctx=32, act_fn="gelu", tie_word_embeddings=True
)
batch = verses[:8, :32]


def least_loss(rows):
    """The loss of somebody who knows these rows by heart, and at each place their beginning only."""
    total, n_next = 0.0, 0
    for row in rows:
        for i in range(1, len(row)):
            same = [other for other in rows if other[:i] == row[:i]]
            total -= math.log(sum(other[i] == row[i] for other in same) / len(same))
            n_next += 1
    return total / n_next


_, losses = train(small, [batch] * 100, 3e-3)
print("loss at step 0, 20, 50, 99:", [round(losses[i], 3) for i in (0, 20, 50, 99)])
print(f"the least that is possible: {least_loss(batch.tolist()):.3f}")

# %% [markdown]
# Why not 0? All eight rows begin with the same line break, so nobody can know which of them it is from the first character alone. Work out what a run *can* reach before you judge what it has reached.
#
# **Rung 3: the future does not leak.** Change the last token, and look at the logits of all positions before it. They must not move. Not "hardly": the weights on later keys are exactly 0, and 0 times anything finite is 0. So this is a test without a tolerance, and it needs no training and no second implementation.


# %%
def leak(W, cfg, tokens):
    """The largest change of any logit before the last position if the last token is another."""
    changed = tokens.clone()
    changed[:, -1] = (changed[:, -1] + 1) % cfg.d_vocab
    moved = gpt(W, cfg, changed) - gpt(W, cfg, tokens)
    return float(moved[:, :-1].abs().max())


log.observe("leak", leak(weights, cfg, tokens), digits=6)
with instead(causal_mask=everyone):
    print(f"without the mask: {leak(weights, cfg, tokens):.1f}")

# %% [markdown]
# That the past does not depend on the future is also why a decoder is cheap to use. All positions can be trained in one pass, each as if its text ended there. And when a text grows by a token, the keys and values of the old ones are still right, and can be kept (a *KV cache*).
#
# **Rung 4: what cannot be predicted is not predicted.** Train on random tokens of 16 kinds, drawn anew at every step. The best that anybody can do is ln 16 = 2.77. A loss that stays there is a success; one that falls is an alarm. We train the same small model twice, with the mask and without:

# %%
KINDS, STEPS = 16, 120
tiny = ca.ModelConfig(n_layers=1, d_model=32, n_heads=2, d_vocab=KINDS, n_ctx=16, act_fn="gelu")
generator = torch.Generator().manual_seed(0)
noise = [torch.randint(KINDS, (32, 16), generator=generator) for _ in range(STEPS)]
_, honest = train(tiny, noise, 1e-2)
with instead(causal_mask=everyone):
    cheating_weights, cheating = train(tiny, noise, 1e-2)
log.observe("random tokens", float(np.mean(cheating[-10:])))
shown = list(range(0, STEPS, 5))
CurveView(
    [
        CurveSeries("with the mask", shown, honest[::5]),
        CurveSeries("without it", shown, cheating[::5]),
        CurveSeries("ln 16", [0, shown[-1]], [math.log(KINDS)] * 2),
    ],
    title="Trained on random tokens",
    x_label="step",
    y_label="loss, nats",
)

# %% [markdown]
# Without the mask the model "predicts" noise almost perfectly, by looking one place to the right. On real text nobody would be so lucky as to see the loss reach 0 and grow suspicious at once: the curve would only look *very good*. And it is of no use: where the next token does not exist yet, there is nothing to copy. Here is the cheating model with the mask back in place, as it would be used:

# %%
test = torch.randint(KINDS, (256, 16), generator=generator)
in_use = float(loss_of(gpt(cheating_weights, tiny, test), test))
print(
    f"the cheating model, with the mask: {in_use:.1f} (knowing nothing costs {math.log(KINDS):.2f})"
)

# %% [markdown]
# ## 11. Break it on purpose
#
# Fourteen faults: slips that are easily made, or choices that another architecture makes. Each replaces a function of ours (one of them two) and nothing else. For each we ask what the comparison says, what the loss says, and what the test for leaks says.


# %%
def other_gelu(cfg, x):
    return (gelu if cfg.act_fn == "gelu_new" else gelu_new)(x)


def masked_afterwards(scores):
    """Softmax over all keys, and zeros for the later ones: rows no longer sum to 1."""
    return scores.softmax(-1).tril()


def bias_of_every_head(W, at, result):
    """b_O added once for each head."""
    return (result + W.get(f"{at}.b_O", 0.0)).sum(2)


def post_norm_block(W, cfg, at, x, see):
    """The norm after the sum, as in the first transformer (Vaswani et al. 2017)."""
    x = layer_norm(W, cfg, f"{at}.ln1", x + attention(W, cfg, f"{at}.attn", x, see), see)
    return layer_norm(W, cfg, f"{at}.ln2", x + mlp(W, cfg, f"{at}.mlp", x, see), see)


def parallel_block(W, cfg, at, x, see):
    """Attention and MLP both read the stream before the block, as in GPT-J."""
    x = see(f"{at}.hook_resid_pre", x)
    attn_out = attention(W, cfg, f"{at}.attn", layer_norm(W, cfg, f"{at}.ln1", x, see), see)
    mlp_out = mlp(W, cfg, f"{at}.mlp", layer_norm(W, cfg, f"{at}.ln2", x, see), see)
    attn_out, mlp_out = see(f"{at}.hook_attn_out", attn_out), see(f"{at}.hook_mlp_out", mlp_out)
    return see(f"{at}.hook_resid_post", x + attn_out + mlp_out)


FAULTS = {
    "no mask": {"causal_mask": everyone},
    "the mask lets the next token in": {"causal_mask": lambda n: everyone(n).tril(1)},
    "masked after the softmax": {"causal_mask": everyone, "to_pattern": masked_afterwards},
    "softmax over queries": {"to_pattern": lambda s: s.softmax(-2)},
    "scores not scaled": {"score_scale": lambda cfg: 1.0},
    "scores divided by d_head": {"score_scale": lambda cfg: cfg.d_head},
    "b_O once for each head": {"write_out": bias_of_every_head},
    "variance divided by d − 1": {"variance": lambda c: c.pow(2).sum(-1, True) / (c.shape[-1] - 1)},
    "ε = 1e-6": {"epsilon": lambda cfg: 1e-6},
    "the other GELU": {"activation": other_gelu},
    "ReLU": {"activation": lambda cfg, x: x.relu()},
    "positions count from 1": {"positions": lambda n: torch.arange(1, n + 1)},
    "norm after the sum": {"block": post_norm_block},
    "attention and MLP in parallel": {"block": parallel_block},
}
right = gpt(weights, cfg, tokens)
right_loss = float(loss_of(right, tokens))


def with_fault(parts):
    """Relative difference of the logits, relative change of the loss, leak."""
    with instead(**parts):
        logits = gpt(weights, cfg, tokens)
        changed = float(loss_of(logits, tokens)) / right_loss - 1
        return difference(logits, right), changed, leak(weights, cfg, tokens)


results = {name: with_fault(parts) for name, parts in FAULTS.items()}
log.observe("lower", sum(change < 0 for _, change, _ in results.values()))
table(
    ["fault", "logits, relative difference", "loss changes by", "leak"],
    [
        (name, f"{apart:.0e}", f"{change:+.2%}".replace("-", "−"), f"{leaks:.0f}" if leaks else "0")
        for name, (apart, change, leaks) in sorted(results.items(), key=lambda r: r[1][0])
    ],
)

# %%
smallest = min(apart for apart, _, _ in results.values())
rounding = difference(right, model(tokens))
quiet = [name for name, (_, change, _) in results.items() if abs(change) < 0.01]
print(f"rounding {rounding:.0e}, our tolerance {TOLERANCE:.0e}, the smallest fault {smallest:.0e}")
print(f"loss within 1% of the right one: {', '.join(quiet)}")

# %% [markdown]
# Read the table from the top.
#
# - The comparison finds **every** fault, and there is a wide gap between rounding and the smallest of them. The tolerance stands in the gap, which is what makes it a good one. A tolerance of 1e-2 "because floats are inexact" would have let some pass.
# - The loss does not. Some faults do not move it by a percent, and several make it *lower*, ReLU and shifted positions among them, by far more than a percent. Twelve sentences of two kinds are no fair sample of what the model was trained on, and on such a text a wrong model may well be luckier than the right one. A loss that looks right is weak evidence that the code is.
# - The leak test says exactly 0 to every fault that does not leak, and shouts at every one that does. Two of the leaks are no holes in the mask: *softmax over queries* divides each weight by a sum over later positions, and *masked after the softmax* has zeros in all the right places, and denominators that know the future.
# - Nothing raised an error: the shapes fit in all fourteen. (Positions that count from 1 would, but only with a text that fills the whole context.)
#
# This is the reason for comparing value by value, by name, from the first part on: not that the end result is wrong tells you *where*, but the first name that differs.
#
# Go on: break something of your own. What does the first name that differs say, if `W_Q` and `W_K` are exchanged? If the heads are in another order in `W_O`? If the tokens lack BOS?
#
# ## 12. The log, and how sure you were

# %%
log

# %%
log.calibration()

# %% [markdown]
# ## 13. Exercises
#
# **Exercise 1.** Without loops. Write `attention_at_once(W, cfg, at, x)`: all heads in a few products, no `for`, no `hook_result` (which is the largest array of the model and not needed). It returns what `attention` returns, for models with biases and without.
#
# <details><summary>Hint</summary>
#
# `torch.einsum("bpd,hde->bhpe", x, W_Q)` gives the queries of all heads, with the heads before the positions, so that `q @ k.transpose(-2, -1)` is all scores at once. A bias `[head, d_head]` then needs an axis in the middle: `b[:, None]`. In the end `"bhpe,hed->bpd"` sums over heads and `d_head` in one go.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# def attention_at_once(W, cfg, at, x):
#     def of_all_heads(letter):  # [batch, head, pos, d_head]
#         projected = torch.einsum("bpd,hde->bhpe", x, W[f"{at}.W_{letter}"])
#         b = W.get(f"{at}.b_{letter}")
#         return projected if b is None else projected + b[:, None]
#
#     q, k, v = map(of_all_heads, "QKV")
#     scores = q @ k.transpose(-2, -1) / score_scale(cfg)
#     pattern = scores.masked_fill(~causal_mask(x.shape[-2]), -math.inf).softmax(-1)
#     out = torch.einsum("bhpe,hed->bpd", pattern @ v, W[f"{at}.W_O"])
#     return out + W.get(f"{at}.b_O", 0.0)
# ```
#
# </details>


# %%
def attention_at_once(W, cfg, at, x):
    return ...


# %%
yours, expected = [], []
for one, text in ((model, tokens), (shakespeare, verses)):
    _, cache = one.run_with_cache(text)
    W, at = dict(one.state_dict()), "blocks.0"
    read = layer_norm(W, one.cfg, f"{at}.ln1", cache["resid_pre", 0], blind)
    yours.append(attention_at_once(W, one.cfg, f"{at}.attn", read))
    expected.append(cache["attn_out", 0])
check(
    ... if yours[0] is ... else yours,
    lambda given: all(difference(*pair) <= TOLERANCE for pair in zip(given, expected)),
    hint="Compare q, k, v, scores and pattern with the cache, one after the other.",
)

# %% [markdown]
# **Exercise 2.** GPT-2 small has 12 layers of 12 heads, width 768, a vocabulary of 50,257 and a context of 1,024. It has all biases (of Q, K, V, O, both of the MLP and of the norms), and its embeddings are tied. How many weights, exactly? And which share of them lies in the matrices of its blocks?
#
# <details><summary>Hint</summary>
#
# The table of section 10, for these numbers. Biases of a block: four times `d` in attention, 4d + d in the MLP; each of the two norms has `w` and `b`. The final norm too.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# L, d, V, n_ctx = 12, 768, 50257, 1024
# in_blocks = 12 * L * d**2
# n_weights = V * d + n_ctx * d + in_blocks + L * (9 * d + 4 * d) + 2 * d
# share_in_blocks = in_blocks / n_weights
# ```
#
# </details>

# %%
n_weights, share_in_blocks = ..., ...

# %%
check(
    ... if n_weights is ... or share_in_blocks is ... else (n_weights, share_in_blocks),
    lambda given: given[0] == 124_439_808 and abs(given[1] - 0.6826) < 1e-3,
    hint="To the last one: 12 L d² is 84,934,656, and less than that are embeddings, biases, norms.",
)

# %% [markdown]
# **Exercise 3.** Find the fault. In one block of the model below, and only there, one of the faults of section 11 is at work. `suspect` holds all its values by name, in the order in which they were computed. Which is the first name that is wrong, and which fault is it? (Reading the next cell does not help; reading the names does.)
#
# <details><summary>Hint</summary>
#
# `model.run_with_cache(tokens, names_filter=list(suspect))` has the right values, and `difference` compares two. From the first name on that is wrong nearly everything is. Which function of ours makes that value? Which fault replaces it?
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# _, right_cache = model.run_with_cache(tokens, names_filter=list(suspect))
# first = next(n for n in suspect if difference(suspect[n], right_cache[n]) > TOLERANCE)
# print(first)  # the scale of a norm, and what went into it was still right
# ratio = (suspect[first] / right_cache[first]).mean()
# print(ratio**2, cfg.d_model / (cfg.d_model - 1))  # the variance is larger by d / (d - 1)
# first_wrong, the_fault = first, "variance divided by d − 1"
# ```
#
# </details>

# %%
CANDIDATES = [
    "scores not scaled",
    "variance divided by d − 1",
    "the other GELU",
    "b_O once for each head",
]
secret = np.random.default_rng(2)
where, what = int(secret.integers(1, cfg.n_layers)), CANDIDATES[secret.integers(len(CANDIDATES))]
suspect = Seen()
x = embed(weights, cfg, tokens, suspect)
for layer in range(cfg.n_layers):
    with instead(**(FAULTS[what] if layer == where else {})):
        x = block(weights, cfg, f"blocks.{layer}", x, suspect)
first_wrong, the_fault = ..., ...

# %%
made_by = {
    "scores not scaled": "attn.hook_attn_scores",
    "variance divided by d − 1": "ln1.hook_scale",
    "the other GELU": "mlp.hook_post",
    "b_O once for each head": "hook_attn_out",
}
check(
    ... if first_wrong is ... or the_fault is ... else (first_wrong, the_fault),
    lambda given: given == (f"blocks.{where}.{made_by[what]}", what),
    hint="The first name in order, not the one with the largest difference.",
)

# %% [markdown]
# **Exercise 4.** Let it write. With your `gpt` and the weights of `shakespeare-small`, continue `"ROMEO:\n"` by 40 characters, each time the likeliest one.
#
# <details><summary>Hint</summary>
#
# `shakespeare.to_tokens(text)` and `shakespeare.tokenizer.decode(list)`. In a loop: logits of the text so far, `argmax` at its last position, `torch.cat`.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# text = shakespeare.to_tokens("ROMEO:\n")
# for _ in range(40):
#     logits = gpt(dict(shakespeare.state_dict()), shakespeare.cfg, text)
#     text = torch.cat([text, logits[:, -1].argmax(-1, keepdim=True)], dim=1)
# written = shakespeare.tokenizer.decode(text[0].tolist())
# print(written)
# ```
#
# </details>

# %%
written = ...

# %%
check(written, shakespeare.generate("ROMEO:\n", 40, temperature=0))

# %% [markdown]
# ## 14. Questions to take along
#
# 1. A softmax row must sum to 1, so a head cannot look at nothing. Which token would you look at if you had nothing to find, and what would your value there have to be? (Which words look at the first column, in the second picture of section 5?)
# 2. Biases `b_K` add the same number to all scores of a query. What do they do to the pattern? So what does training do to them?
# 3. A fresh model starts with `W_O` and `W_out` divided by √(2L). How long would the stream be after 48 blocks if they were not?
# 4. Without the mask, in which place of our trained model do the logits change first, and why is it *worse* at predicting although it may look at the answer?
# 5. You are given a checkpoint, and no code. Which of the fourteen decisions can be read off the shapes of its weights, which can be found by the loss, and which cannot be found at all?
# 6. When a text grows by one token, what has to be computed anew with a KV cache, and what without? What would break the cache?
#
# ## Further
#
# - Next: [02 · Sampling: from a distribution to a text](02_sampling.ipynb).
# - Later: [04 · The behaviour, and one number for it](04_baseline.ipynb), to take apart what you have built; [07 · What heads look at](07_attention.ipynb); [12 · The logit lens](12_logit_lens.ipynb), where reading the stream after each block becomes a method. and [16 · Watching induction heads form](16_watching_induction_heads_form.ipynb).
# - The decoder that you compared with: `src/cutaway/model/transformer.py` and `parts.py`, to be read beside your own. What else it can do (rotary positions, RMS norms, gated MLPs, grouped heads) is a few lines each, at the places you now know.
# - Vaswani et al. (2017), *Attention Is All You Need*, [arXiv:1706.03762](https://arxiv.org/abs/1706.03762): the first transformer; section 3.2.1 has the reason for the scale, in a footnote.
# - Radford et al. (2019), *Language Models are Unsupervised Multitask Learners*: GPT-2, which moved the norm in front of each part and scaled the fresh weights by depth (section 2.3).
# - Phuong and Hutter (2022), *Formal Algorithms for Transformers*, [arXiv:2207.09238](https://arxiv.org/abs/2207.09238): all variants as pseudocode, with every shape.
# - Elhage et al. (2021), *A Mathematical Framework for Transformer Circuits*, [transformer-circuits.pub](https://transformer-circuits.pub/2021/framework/index.html): why the stream, QK and OV are the right things to think in.
# - Dong, Cordonnier and Loukas (2021), *Attention is Not All You Need*, [arXiv:2103.03404](https://arxiv.org/abs/2103.03404): what attention does without the sum.
# - Haviv et al. (2022), *Transformer Language Models without Positional Encodings Still Learn Positional Information*, [arXiv:2203.16634](https://arxiv.org/abs/2203.16634).
# - Hendrycks and Gimpel (2016), *Gaussian Error Linear Units*, [arXiv:1606.08415](https://arxiv.org/abs/1606.08415); Press and Wolf (2017), *Using the Output Embedding to Improve Language Models*, [arXiv:1608.05859](https://arxiv.org/abs/1608.05859): tied embeddings.
# - Karpathy, *nanoGPT* and the lecture *Let's build GPT*; the chapter *Transformer from Scratch* of ARENA: the same road with other stops. How small models are trained here: [training.md](../docs/training.md).
