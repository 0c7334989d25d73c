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
# # 21 · What a cache holds: an audit of memory
#
# A model that writes text keeps the keys and values of every token it has read. How many bytes is that? There is a formula of one line, and everybody quotes it. Here you do not believe it: you intercept the forward pass, follow every tensor from the operation that makes it until nothing holds it any more, and count what is left, layer by layer, while the sequence grows. Only then do you use the formula, on models that would not fit on your machine. On the way you find out what concatenation costs, what looking into a model costs, why a tiny view can keep a large tensor alive, and which part of a forward pass takes most.
#
# **What you will know afterwards**
#
# - why keys and values are kept, and nothing else;
# - how allocations are intercepted, and what interception does not see;
# - the formula of the cache, and why it has key-value heads in it and not heads;
# - what a cache costs that grows by concatenation, in memory and in bytes written;
# - what `run_with_cache` keeps by name, and which of it grows with the square of the tokens;
# - how to say beforehand what fits into a memory, and what that sentence leaves out.
#
# **Time:** about 35 minutes; the cells run in about 20 seconds on one core. Method card: [kv-audit.md](../docs/methods/kv-audit.md). It helps to have done [01 · A transformer from scratch](01_a_transformer_from_scratch.ipynb).

# %%
MODEL = "ioi-mini"  # or "gpt2", or the folder of a model of your own

# %%
import numpy as np
import torch
from course import Log, check, table

import cutaway as ca
from cutaway.audit.kv_cache import random_tokens
from cutaway.model.kv_cache import KVCache
from cutaway.plotting import bars, heatmap

torch.set_grad_enabled(False)
model = ca.HookedTransformer.from_pretrained(MODEL)
cfg = model.cfg
N = min(cfg.n_ctx, 64)  # tokens, at most
tokens = random_tokens(model, 1, N, seed=0)
print(f"{cfg.model_name}: {cfg.n_layers} layers, {cfg.n_key_value_heads} key-value heads")
print(f"of width {cfg.d_head}; {N} tokens")

# %% [markdown]
# ## 1. Why anything is kept, and what you expect
#
# Attention is causal: what a layer computes at a position depends on the positions up to it, and on nothing after. When a token is added, nothing changes for those before it. The new token needs exactly two things of each of them in every layer: its **key**, to be found by, and its **value**, to be read. Not its query (nobody asks for an old token any more), not its MLP, not its logits.
#
# Check that it is enough: all tokens at once, beside one at a time with nothing kept but keys and values.

# %%
at_once = model(tokens)
cache = KVCache(model, batch=1, max_length=N)
one_by_one = torch.cat(
    [model(tokens[:, at : at + 1], past_kv_cache=cache) for at in range(N)], dim=1
)
difference = float((at_once - one_by_one).abs().max())
print(f"largest difference of any logit: {difference:.1e}")
print(f"tokens that go through the model, written one at a time: {N} with the cache,")
print(f"{N * (N + 1) // 2} without, since each step would begin from the first token again")

# %% [markdown]
# Write down what you expect. A byte is a byte: this time there are no intervals, and a wrong guess is just wrong. (Ours are kept as we first made them.)

# %%
log = Log()
log.expect(
    "exact",
    "Layers in which what is held differs from 2 x heads x d_head x tokens x 4 bytes?",
    low=0,
    high=0,
    confidence=0.9,
    why="what else should it hold",
)
log.expect(
    "growing",
    "A cache whose layers grow by concatenation: the most at once, over what it holds?",
    low=1.8,
    high=2.2,
    confidence=0.7,
    why="old and new are there at the same time",
)
log.expect(
    "written",
    "Bytes it writes for 32 tokens, over those of a cache that is allocated once?",
    low=10,
    confidence=0.6,
    why="every token copies all before it",
)
log.expect(
    "view",
    "Keep one key of every eight: share of the eight that stays alive?",
    low=0.125,
    high=0.125,
    confidence=0.6,
    why="one of eight",
)
log.expect(
    "doubled",
    "Twice the tokens: how many times the bytes of run_with_cache?",
    low=2.05,
    high=4,
    confidence=0.7,
    why="patterns are squares",
)
log.expect(
    "half",
    "bfloat16 in place of float32: share of the bytes of run_with_cache that is left?",
    low=0.49,
    high=0.51,
    confidence=0.8,
    why="half the bytes in every number",
)
log.expect(
    "peak",
    "The estimate of the most at once in a pass: off by how much at most, as a share?",
    high=0.05,
    confidence=0.6,
    why="the code can be read",
)
log

# %% [markdown]
# ## 2. Watching memory
#
# How does one see an allocation? Torch has a place that every tensor operation goes through, and code can be put there: a *dispatch mode*. `ca.audit.Allocations` is one. After every operation it looks at the results; where a result lies in a storage that was not there before, it notes its size, and leaves a weak reference behind that tells when the storage is gone.
#
# A **storage** is the memory itself; a tensor is a way of looking at one: start, shape, strides. Two tensors can look at the same storage, and a storage lives as long as anybody looks.

# %%
with ca.audit.Allocations() as seen:
    a = torch.ones(1000)
    b = a * 2
    print("two tensors of 1,000 numbers:", seen.live)
    first = b[:10]
    print("and a view of ten of them:", seen.live)
    del b
    print("the second tensor deleted, its view kept:", seen.live)
    del first
    print("the view deleted too:", seen.live, "- and at most there were", seen.peak)

# %% [markdown]
# A view costs nothing, and it keeps everything. Remember that for your hooks.
#
# Now a forward pass. What is alive while it runs, and what afterwards?

# %%
with ca.audit.Allocations() as seen:
    logits = model(tokens)
    print(f"in the pass at most {seen.peak:,} bytes")
    print(f"after it {seen.live:,}: the logits, {logits.nbytes:,}")
    del logits
    print(f"logits deleted: {seen.live:,}")

# %% [markdown]
# Without a cache nothing stays. Everything that was computed on the way, keys and values as well, is gone.
#
# ## 3. The audit
#
# `ca.audit.kv_cache` makes a cache inside of such a mode, runs the model call by call, and after every call asks four things of every layer. **Allocated**: bytes that the layer's tensors cover. **Filled**: bytes among them that the layer was *seen* to write to (writing is an operation, and passes through the same place). **Beside**: bytes that are still alive and belong to no cache. **Formula**: what we think. It never asks the cache how large it is, since a cache that is wrong about itself would say so with confidence.

# %%
audit = ca.audit.kv_cache(model, N, chunk=N // 8)
table(
    ["tokens held", "filled, layer 0", "formula", "allocated", "beside", "all layers, filled"],
    [
        [
            str(n),
            str(audit.filled[at, 0]),
            str(audit.formula[at, 0]),
            str(audit.allocated[at, 0]),
            str(audit.beside[at].sum()),
            str(audit.filled[at].sum()),
        ]
        for at, n in enumerate(audit.tokens)
    ],
)

# %%
heatmap(
    audit.filled.T / 1024,
    [str(layer) for layer in range(cfg.n_layers)],
    [str(n) for n in audit.tokens],
    "What each layer holds as the sequence grows",
    row_axis="layer",
    column_axis="tokens held",
    value_label="KiB",
)

# %%
wrong = (audit.excess != 0).any(0).sum()
log.observe("exact", int(wrong))
print(f"{audit.bytes_per_token:,.0f} bytes per token, measured")

# %% [markdown]
# It is a straight line, the same in every layer. *Allocated* is flat: this cache was made for all tokens from the beginning, and costs all of them from the first one on. Filled and allocated meet at the end. Servers that keep a place for the longest answer of every user waste most of their memory on this difference (Kwon et al. 2023 measured it, and cut caches into pages for it).
#
# The formula, with every factor in its place:
#
#     2 (keys and values) x layers x key-value heads x d_head x tokens x sequences x bytes of a number
#
# ## 4. Models that are not here
#
# A formula that was held against what is really there may be used where nothing is. A shape needs no weights:

# %%
names = ["gpt2", "gpt2-xl", "pythia-6.9b", "llama-2-7b", "llama-3-8b", "llama-2-70b"]
shapes = {name: ca.audit.load_shape(name) for name in names}
gpt2 = shapes["gpt2"]
print(f"GPT-2 small: {ca.audit.kv_bytes_per_token(gpt2):,} bytes per token in float32,")
print(f"{ca.audit.kv_bytes(gpt2, 1024) / 2**20:.0f} MiB for 1,024 tokens")
table(
    ["model", "layers", "key-value heads", "d_head", "KiB per token", "GiB, 4,096 tokens x 8"],
    [
        [
            name,
            shape.n_layers,
            f"{shape.n_key_value_heads} of {shape.n_heads}",
            shape.d_head,
            ca.audit.kv_bytes_per_token(shape, "bfloat16") / 1024,
            ca.audit.kv_bytes(shape, 4096, batch=8, dtype="bfloat16") / 2**30,
        ]
        for name, shape in shapes.items()
    ],
)

# %% [markdown]
# The table is in bfloat16. Llama 3 8B has the layers and the width of Llama 2 7B, and a quarter of its cache: 32 query heads share 8 pairs of keys and values. Llama 2 70B, with ten times the parameters of Llama 2 7B, keeps *less* per token than it. That is what grouped-query attention is for (Ainslie et al. 2023): not fewer parameters, a smaller cache.
#
# ## 5. A cache that grows
#
# Why allocate for everything at once? One could begin with nothing and append. `torch.cat` makes a new tensor and copies both parts into it. Two caches do that, beside ours: in one each layer grows by itself, in the other all layers are one tensor. And one that is broken on purpose, as a control: it keeps copies of what it was given. If the audit does not see that, do not believe it about the others.

# %%
N_SINGLE = min(N, 32)
kinds = {
    "allocated once": KVCache,
    "each layer grows": ca.audit.ConcatenatingCache,
    "one tensor grows": ca.audit.WholeCache,
    "leaks (control)": ca.audit.LeakingCache,
}
audits = {name: ca.audit.kv_cache(model, N_SINGLE, cache=kind) for name, kind in kinds.items()}
ours = audits["allocated once"]
table(
    ["cache", "holds, KiB", "at most, KiB", "at most / holds", "written / ours", "too much, KiB"],
    [
        [
            name,
            one.filled[-1].sum() / 1024,
            one.cache_peak[-1] / 1024,
            one.cache_peak[-1] / one.filled[-1].sum(),
            one.copied.sum() / ours.copied.sum(),
            one.excess[-1].sum() / 1024,
        ]
        for name, one in audits.items()
    ],
)

# %%
grows = audits["each layer grows"]
log.observe("growing", float(grows.cache_peak[-1] / grows.filled[-1].sum()))
log.observe("written", float(grows.copied.sum() / ours.copied.sum()))

# %% [markdown]
# "Concatenation needs twice the memory" is what one reads, and of one tensor it is true: old and new are there at once. Layer by layer it is not. While a layer's values grow, its own old values are there twice, and every other layer is there once. That is 1 + (1/2)(1/layers) in the limit, and the more layers, the less.
#
# What does not go away is the *writing*: the n-th token copies all n, so n tokens write n(n + 1)/2, and ours n. At 32 tokens that is 16.5 times as much, at 1,024 tokens 512 times.
#
# ## 6. What looking costs
#
# The other cache of this library is the one you know: `run_with_cache` copies every value that passes a hook point. `ca.audit.activations` measures what each name keeps, and foretells it from shapes alone.

# %%
kept = ca.audit.activations(model, tokens)
print(f"{kept.total / 2**20:.2f} MiB for {N} tokens; as foretold: {kept.is_exact}")
print(f"keys and values of these tokens: {ca.audit.kv_bytes(cfg, N) / 2**20:.2f} MiB")
largest = list(kept.by_kind().items())[:12]
bars(
    [name for name, _ in largest],
    [n_bytes / 1024 for _, n_bytes in largest],
    "What run_with_cache keeps, over all layers",
    value_label="KiB",
)

# %%
half_as_long = ca.audit.activations(model, tokens[:, : N // 2])
log.observe("doubled", kept.total / half_as_long.total)
shared = [row["name"] for row in kept.to_frame() if row["measured"] == 0]
print(f"{len(shared)} names cost nothing, such as {shared[-1]}: its tensor is another name's")

# %% [markdown]
# Scores and patterns are [batch, head, query, key]: they grow with the square of the tokens, all else in proportion. At GPT-2's context they are most of it:

# %%
rows = []
for n in (64, 256, 1024):
    foretold = ca.audit.activation_shapes(gpt2, n)
    squares = [one for one in foretold if one.name.endswith(("attn_scores", "pattern"))]
    total = ca.audit.total_bytes(foretold)
    rows.append([str(n), total / 2**20, ca.audit.total_bytes(tuple(squares)) / total])
table(["tokens of GPT-2", "run_with_cache, MiB", "share of scores and patterns"], rows)

# %% [markdown]
# And in half precision?

# %%
half = ca.HookedTransformer.from_pretrained(MODEL, dtype="bfloat16")
kept_half = ca.audit.activations(half, tokens)
log.observe("half", kept_half.total / kept.total)
print(
    f"the cache of keys and values: "
    f"{ca.audit.kv_bytes(half.cfg, N) / ca.audit.kv_bytes(cfg, N):.2f} of what it was"
)

# %% [markdown]
# Keys and values are half as large, exactly. What one looks at is not: norms, scores and patterns are computed in float32 also in a model of half precision, because a softmax or a mean of squares in bfloat16 would be worth little, and what you look at is what is computed.
#
# ## 7. The most at once
#
# Between two calls only the cache is there. In a call there is more: the stream, queries, keys and values, the hidden layer of an MLP, the logits. What is the most, and where?

# %%
peak = ca.audit.forward_peak(model, (1, N // 4, N))
print(f"measured by {peak.peak_by}")
log.observe("peak", float(np.abs(peak.error).max()))
table(
    ["tokens", "measured, KiB", "estimated, KiB", "off by, %", "where"],
    [
        [
            str(row["tokens"]),
            row["measured"] / 1024,
            row["estimated"] / 1024,
            100 * row["error"],
            row["stage"],
        ]
        for row in peak.to_frame()
    ],
)

# %% [markdown]
# The estimate counts what the code of `transformer.py` holds at three places: in attention, in the MLP, at the logits. Its error on sixty random shapes is on the method card, and it is an estimate of *this* code: with gradients, another attention kernel or another device it is another number.
#
# Where the most is depends on the vocabulary. `ioi-mini` has 677 words and four times as many neurons as dimensions. GPT-2 has 50,257 words:

# %%
rows = []
for chunk in (None, 64, 1):
    one = ca.audit.predict_memory(gpt2, 1024, chunk=chunk)
    rows.append(
        [
            "all at once" if chunk is None else f"in calls of {chunk}",
            *(n / 2**20 for n in (one.weights, one.kv_cache, one.working.peak, one.total)),
            one.working.stage,
        ]
    )
table(["1,024 tokens of GPT-2", "weights", "cache", "in passing", "in all, MiB", "where"], rows)

# %% [markdown]
# Read all at once, a prompt of 1,024 tokens costs nearly three times its cache in logits, 1,023 of 1,024 of which nobody looks at when the next token is drawn. Reading it in calls of 64 does the same work with a sixteenth of that.
#
# ## 8. What fits?
#
# Everything grows with tokens and with sequences, so there is a last size that fits. `what_fits` finds it.

# %%
rows = []
for name, gib in (("gpt2", 1), ("gpt2", 8), ("llama-2-7b", 24), ("llama-3-8b", 24)):
    fits = ca.audit.what_fits(
        shapes[name], gib * 2**30, dtype="bfloat16", chunk=64, n_tokens=1024
    )
    rows.append(
        [
            name,
            f"{gib} GiB",
            f"{fits.context_by_memory:,}",
            f"{fits.context:,}",
            fits.limited_by,
            fits.batch_at,
        ]
    )
table(
    ["in bfloat16", "memory", "tokens by memory", "tokens", "limited by", "sequences of 1,024"],
    rows,
)

# %% [markdown]
# With one sequence it is not memory that ends the context of any of these, but the model: it was made for so many positions. Memory decides how many sequences there can be. Llama 3 8B has the larger weights and still has room for nearly three times as many as Llama 2 7B, because each costs a quarter.
#
# Is it true, though? Try it where trying is cheap: take a memory that has room for the weights and for 17 tokens, ask what fits, and run both that and one token more.

# %%
N_FIT = 17
room = ca.audit.weights(model).n_bytes + ca.audit.kv_bytes(cfg, N_FIT) + 1
fits = ca.audit.what_fits(cfg, room, working=False)
for n in (fits.context, fits.context + 1):
    held = ca.audit.weights(model).n_bytes + ca.audit.kv_cache(model, n, chunk=n).filled[-1].sum()
    print(f"{n} tokens: {held:,} bytes held, {room:,} allowed: {'fits' if held <= room else 'no'}")

# %% [markdown]
# ## 9. Break it on purpose
#
# **A hook that keeps a little.** Suppose you want one key of every eight, and write `kept.append(k[:, :1])`. It is one line, it looks careful, and it was in many a notebook whose memory ran out.

# %%
careless: list[torch.Tensor] = []
with model.hooks([("blocks.1.attn.hook_k", lambda k, hook: careless.append(k[:, :1]))]):
    leaking = ca.audit.kv_cache(model, N // 8 * 8, chunk=8)
wanted = sum(one.numel() * one.element_size() for one in careless)
alive = leaking.beside[-1].sum()
log.observe("view", float(alive / (8 * wanted)))
print(f"wanted {wanted:,} bytes, kept {alive:,}; by layer: {leaking.beside[-1].tolist()}")

# %% [markdown]
# All eight stay. A view of one keeps the storage of all, and the audit says at which layer. (`Recorder`, which `run_with_cache` uses, copies for this reason.)
#
# **The wrong heads.** A formula with *heads* in place of *key-value heads* is right for GPT-2, and so it stands in many texts. On a model with grouped heads:

# %%
grouped = ca.HookedTransformer(
    ca.ModelConfig(
        n_layers=2, d_model=64, n_heads=8, n_key_value_heads=2, d_vocab=50, n_ctx=32
    )
)
found = ca.audit.kv_cache(grouped, 32, chunk=32)
by_heads = 2 * grouped.cfg.n_layers * grouped.cfg.n_heads * grouped.cfg.d_head * 4
print(f"measured {found.bytes_per_token:.0f} bytes per token; with heads {by_heads}")
print(f"with key-value heads {ca.audit.kv_bytes_per_token(grouped.cfg)}")

# %% [markdown]
# **Adding up by name.** GPT-2 reads its words with the matrix that it says them with. Who adds up the sizes of all names counts it twice, 147 MiB in GPT-2 small; who loads it with folded norms really has it twice, because then the two differ.

# %%
tied = ca.HookedTransformer(
    ca.ModelConfig(
        n_layers=1, d_model=64, n_heads=4, d_vocab=5000, n_ctx=32, tie_word_embeddings=True
    )
)
measured = ca.audit.weights(tied)
print(f"storages {measured.n_bytes:,}; by name {measured.n_bytes_by_name:,}")

# %% [markdown]
# Things to break by yourself: a sliding window (does this cache get smaller? should it?); a batch with one long sequence and seven short ones; a cache made for 64 tokens that holds 3; `names_filter=lambda name: True`.
#
# ## 10. The log

# %%
log

# %% [markdown]
# Two of ours were common knowledge and wrong: that concatenation doubles, and that bfloat16 halves. A third, about the view, is a mistake that most people make once.
#
# ## 11. Exercises
#
# **Exercise 1.** By arithmetic alone: how many bytes does one token of Llama 3 8B leave in its cache in bfloat16? Use the fields of `shapes["llama-3-8b"]`, and none of `ca.audit`.
#
# <details><summary>Hint</summary>
#
# Keys *and* values; a bfloat16 has 2 bytes; which of `n_heads` and `n_key_value_heads`?
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# llama = shapes["llama-3-8b"]
# per_token = 2 * llama.n_layers * llama.n_key_value_heads * llama.d_head * 2
# ```
#
# </details>

# %%
per_token = ...

# %%
check(per_token, ca.audit.kv_bytes_per_token(shapes["llama-3-8b"], "bfloat16"))

# %% [markdown]
# **Exercise 2.** Mend the careless hook: write `careful(k, hook)`, which appends to the list `mended` so that only what is wanted stays alive.
#
# <details><summary>Hint</summary>
#
# What makes a tensor with a storage of its own?
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# mended = []
#
#
# def careful(k, hook):
#     mended.append(k[:, :1].clone())
# ```
#
# </details>

# %%
mended = []
careful = ...


# %%
def left_behind(hook_function) -> int:
    """Bytes that a hook keeps alive beside the cache in eight calls."""
    mended.clear()
    with model.hooks([("blocks.1.attn.hook_k", hook_function)]):
        return int(ca.audit.kv_cache(model, N // 8 * 8, chunk=8).beside[-1].sum())


check(
    ... if careful is ... else left_behind(careful),
    wanted,
    hint="How many bytes of the eight keys should stay?",
)

# %% [markdown]
# **Exercise 3.** Which context makes GPT-2's cache as large as its weights (float32, one sequence, `shapes["gpt2"]`, which is tied)? Give the number of tokens, rounded down.
#
# <details><summary>Hint</summary>
#
# `ca.audit.weight_bytes(gpt2)`, and how many tokens' keys and values go into it.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# as_large = ca.audit.weight_bytes(gpt2) // ca.audit.kv_bytes_per_token(gpt2)
# ```
#
# </details>

# %%
as_large = ...

# %%
check(
    as_large,
    ca.audit.what_fits(gpt2, 2 * ca.audit.weight_bytes(gpt2), working=False).context_by_memory,
)

# %% [markdown]
# ## 12. Questions to take along
#
# 1. A service answers 200 users at once with a model whose cache takes half a MiB per token. Most answers are short, a few are long. What would you allocate, and when?
# 2. Why are queries not kept? Which change of attention would make them necessary?
# 3. Five beams share their prompt. Which bytes of their caches are equal, and what would a cache look like that knows it?
# 4. `nvidia-smi` shows 3 GiB more than the sum of your tensors. Name three places where they may be, and one measurement for each.
# 5. You want the patterns of all heads on 4,096 tokens. What do you do instead of `run_with_cache`?
#
# ## Further
#
# - Next: [22 · Glitch tokens: words that it was never told](22_glitch_tokens.ipynb).
# - Back: [01 · A transformer from scratch](01_a_transformer_from_scratch.ipynb). The same as a report: `cutaway audit kv`; for a model that is not here: `cutaway audit kv --model llama-3-8b --shape-only`.
# - Shazeer (2019), *Fast Transformer Decoding: One Write-Head is All You Need*, [arXiv:1911.02150](https://arxiv.org/abs/1911.02150): reading the cache is what takes the time.
# - Ainslie et al. (2023), *GQA*, [arXiv:2305.13245](https://arxiv.org/abs/2305.13245).
# - Pope et al. (2022), *Efficiently Scaling Transformer Inference*, [arXiv:2211.05102](https://arxiv.org/abs/2211.05102).
# - Kwon et al. (2023), *PagedAttention*, [arXiv:2309.06180](https://arxiv.org/abs/2309.06180): allocated and filled apart, and what to do about it.
# - Method card: [kv-audit.md](../docs/methods/kv-audit.md).
