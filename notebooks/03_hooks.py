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
# # 03 · Hooks: read and intervene
#
# A running model is a stream of values. A *hook* is a function that you attach to one of them: it is called when the value passes, may look at it, and may return another one that goes on in its place. That is the whole mechanism on which this field stands. Everything else in this course, from patching to steering, is a choice of where to attach and what to return.
#
# This notebook is about the tool itself: what names there are, what shapes, what is kept and what it costs, how to write a hook that does what you mean, and the ways in which one silently does not. What interventions *tell* you is the subject of [05 · Activation patching](05_activation_patching.ipynb) and of all that follow.
#
# **What you will know afterwards**
#
# - the names of all values in a transformer, and their shapes;
# - how to read any of them, only some of them, and what a cache weighs;
# - how to write a hook that changes a value, and six ways to get it wrong;
# - hooks that stay, and how to be rid of them;
# - how to stop a run in the middle, and how to go on from there;
# - hooks on the way back: gradients;
# - when to write a hook of your own, and when `ca.intervene` does it faster.
#
# **Time:** about 45 minutes; the cells run in a few seconds on one core. Method card: [interventions.md](../docs/methods/interventions.md).

# %%
MODEL = "ioi-mini"  # or "gpt2", or the folder of a model of your own

# %%
import numpy as np
import torch
from course import Log, Markdown, check, table

import cutaway as ca
from cutaway.plotting import heatmap

torch.set_grad_enabled(False)  # until section 9
model = ca.HookedTransformer.from_pretrained(MODEL)
cfg = model.cfg
PROMPT = "When John and Mary went to the store, John gave a drink to"
IO, S = model.to_single_token(" Mary"), model.to_single_token(" John")


def logit_diff(logits) -> float:
    """logit(Mary) - logit(John) at the last position: what the course calls the metric."""
    return float(logits[0, -1, IO] - logits[0, -1, S])


# %% [markdown]
# ## 1. In one minute: look inside, and change something
#
# Two calls do nearly everything. `run_with_cache` runs the model and keeps what passed; `run_with_hooks` runs it with your functions attached.

# %%
logits, cache = model.run_with_cache(PROMPT)
words = model.to_str_tokens(PROMPT)
labels = [f"{i} {'BOS' if i == 0 else w.strip()}" for i, w in enumerate(words)]
display(
    heatmap(
        cache["pattern", 1][0, 0],
        labels,
        labels,
        "Where head 0 of layer 1 looks",
        row_axis="query",
        column_axis="key",
        value_label="attention",
        limit=1,
        cell_labels=False,
    )
)


def silence(value, hook):
    return torch.zeros_like(value)


without = model.run_with_hooks(PROMPT, fwd_hooks=[("blocks.0.hook_mlp_out", silence)])
print(f"as it is {logit_diff(logits):+.2f}; without the MLP of layer 0 {logit_diff(without):+.2f}")

# %% [markdown]
# Read and intervene: that was it. The rest is care.
#
# ## 2. Predict
#
# Change ours to yours. Most can be answered by thinking; two of ours are wrong.

# %%
log = Log()
log.expect(
    "same",
    "Run with a hook that returns its value unchanged: largest change of a logit?",
    low=0,
    high=0,
    confidence=0.9,
    why="it is the same arithmetic",
)
log.expect(
    "copy",
    "Write zeros into a cached value, and run again: change of the logits?",
    low=0,
    high=0,
    confidence=0.8,
    why="a cache should be a copy",
)
log.expect(
    "forgot",
    "A hook that computes a new value and forgets to return it: change of the logits?",
    low=0,
    high=0,
    confidence=0.8,
    why="None should mean: unchanged",
)
log.expect(
    "place",
    "The same, but with `value *= 0`: is the output changed?",
    answer="no",
    confidence=0.6,
    why="nothing is returned",
)
log.expect(
    "all",
    "names_filter=lambda name: True: hook points kept beyond the usual ones, as a share of those?",
    low=0,
    high=0,
    confidence=0.6,
    why="no filter should be all already",
)
log.expect(
    "by hand",
    "A head zeroed by hand and by ca.ablate: largest difference of the metric over 64 prompts?",
    high=1e-4,
    confidence=0.9,
    why="the same zero",
)
log.expect(
    "memory",
    "Twice as long a prompt: by how much does the memory of the patterns grow?",
    low=3.9,
    high=4.1,
    confidence=0.8,
    why="queries times keys",
)
log.expect(
    "left",
    "Hooks still attached after a run with hooks that raised an error?",
    low=0,
    high=0,
    confidence=0.7,
    why="that is what `with` is for",
)

# %% [markdown]
# ## 3. What there is: names and shapes
#
# A **hook point** is a place with a name. Names follow the modules: `blocks.3.attn.hook_z` is in block 3, in its attention. They are those of the field since Nanda and Bloom's TransformerLens, so that code from elsewhere runs here.

# %%
first = [name for name in model.hook_dict if name.startswith("blocks.0.")]
outside = [name for name in model.hook_dict if not name.startswith("blocks.")]
print(f"{len(model.hook_dict)} hook points, {len(first)} in each of {cfg.n_layers} blocks")
print("outside of the blocks:", ", ".join(outside))

_, every = model.run_with_cache(PROMPT, names_filter=lambda name: "blocks.0." in name)
letters = {
    "hook_resid_pre": "the stream before the block",
    "ln1.hook_scale": "what the norm divides by",
    "ln1.hook_normalized": "what attention reads, before the norm's weights",
    "attn.hook_q": "queries",
    "attn.hook_k": "keys",
    "attn.hook_v": "values",
    "attn.hook_attn_scores": "scores before the softmax",
    "attn.hook_pattern": "attention: each row sums to 1",
    "attn.hook_z": "what each head moved, before W_O",
    "attn.hook_result": "what each head adds to the stream *",
    "hook_attn_out": "what attention adds: all heads and b_O",
    "hook_resid_mid": "the stream between attention and MLP",
    "mlp.hook_pre": "neurons before the activation",
    "mlp.hook_post": "neurons after it",
    "hook_mlp_out": "what the MLP adds",
    "hook_resid_post": "the stream after the block",
    "hook_q_input": "what each head's queries read *",
    "hook_mlp_in": "what the MLP reads *",
}
table(
    ["hook point of block 0", "shape", "what passes there"],
    [
        (f"`{name}`", str(list(every[f"blocks.0.{name}"].shape)), what)
        for name, what in letters.items()
    ],
)

# %% [markdown]
# Read the shapes: `[batch, pos, d_model]` for the stream, one more axis for heads (`[batch, pos, head, d_head]`), and `[batch, head, query, key]` for scores and patterns. The names with a star are *computed on demand*; section 5 is about them.
#
# Short names save typing: `cache["z", 3]` is `cache["blocks.3.attn.hook_z"]`, `cache["resid_post", -1]` the last layer's, and `ca.get_act_name("z", 3)` gives the full name.

# %%
name = ca.get_act_name("z", cfg.n_layers - 1)
print(name, torch.equal(cache["z", -1], cache[name]))
for wrong in ("blocks.0.hook_zz", "blocks.0.attn.hook_resid_pre"):
    try:
        model.run_with_hooks(PROMPT, fwd_hooks=[(wrong, silence)])
    except KeyError as error:
        print(error)

# %% [markdown]
# A name that matches nothing is an error. It may seem pedantic, until you have once spent an evening on a hook that was never called.
#
# ## 4. Reading: the cache
#
# What is kept is a **copy**. You may write into it, and neither the model nor the next run will know:

# %%
_, mine = model.run_with_cache(PROMPT)
plain = model(PROMPT)  # without anything attached
mine["resid_pre", 0].zero_()
log.observe("copy", float((model(PROMPT) - plain).abs().max()))
print(f"with a cache and without: {float((plain - logits).abs().max()):.0e}")

# %% [markdown]
# The last line is not 0, and it is no mistake. Nobody needs the attention pattern as long as nobody looks at it, so a plain run never writes it down (one fused operation goes from queries, keys and values to z). A cache asks for it, and then the same sums are done in another order. Differences of 1e-6 or so are rounding; a hook that does something does more.
#
# (One trap is left. `resid_post` of a layer *is* `resid_pre` of the next, and the cache holds one tensor under both names. Clone before you write.)
#
# Everything in the cache adds up, and you can check it. The stream after a block is the stream before it and what the two parts added:

# %%
total = cache["resid_pre", 0] + cache["attn_out", 0] + cache["mlp_out", 0]
print("adds up:", torch.allclose(total, cache["resid_post", 0], atol=1e-5))

# %% [markdown]
# **What does it weigh?** Count: the sizes of all tensors, in bytes. It grows with the batch, with the length of the prompt, and the patterns with its *square*.


# %%
def megabytes(cache, *endings) -> float:
    """Of the cached values whose names end like this; all of them without an ending."""
    return sum(
        cache[name].numel() * cache[name].element_size()
        for name in cache
        if not endings or name.endswith(endings)
    ) / 2**20


tokens = model.to_tokens(PROMPT)
row = tokens.repeat(1, 5)[:, : cfg.n_ctx if cfg.n_ctx < 64 else 64]
sizes, patterns = [], []
for length in (16, 32, 64):
    _, kept = model.run_with_cache(row[:, :length].repeat(8, 1))
    patterns.append(megabytes(kept, "hook_pattern", "hook_attn_scores"))
    sizes.append((str(length), megabytes(kept), patterns[-1], kept.nbytes / 2**20))
log.observe("memory", patterns[1] / patterns[0])
table(
    ["tokens, 8 prompts", "all names, MiB", "of it patterns and scores", "really held"], sizes
)

# %% [markdown]
# (*Really held* is less, because values that pass two hook points are kept once.) For GPT-2 small with 64 prompts of 64 tokens the same count gives about three gigabytes. So say what you want:
#
# - `names_filter=` a name, a list of names, or a function of the name;
# - `pos_slice=-1` keeps the last position only;
# - `device="cpu"` moves the copies away from the GPU;
# - `stop_at_layer=2` does not even run the rest.

# %%
_, small = model.run_with_cache(
    PROMPT, names_filter=lambda name: name.endswith("hook_resid_post"), pos_slice=-1
)
print({name: list(value.shape) for name, value in small.items()})
print(f"{small.nbytes:,} bytes instead of {cache.nbytes:,}")

# %% [markdown]
# ## 5. On demand
#
# Some values are large and seldom wanted, so they are not computed at all unless somebody asks. `attn.hook_result` is what each head adds to the stream, `[batch, pos, head, d_model]`: as many numbers as the stream has, for every head. `hook_q_input`, `hook_k_input` and `hook_v_input` give each head its *own copy* of the stream to read, so that you can change what one head's queries see and nothing else.
#
# Asking is enough: attach a hook, or name it in a filter. And a filter that says yes to everything asks for all of them:

# %%
_, asked = model.run_with_cache(PROMPT, names_filter=lambda name: True)
log.observe("all", (len(asked) - len(cache)) / len(cache))
changed = [name for name in cache if cache[name].shape != asked[name].shape]
print(f"{len(cache)} values usually, {len(asked)} with that filter")
print(f"{cache.nbytes / 2**20:.1f} MiB usually, {asked.nbytes / 2**20:.1f} MiB with it")
shapes = [(list(cache[name].shape), list(asked[name].shape)) for name in changed[:1]]
print("and these have another shape:", ", ".join(changed[:2]), "...", *shapes)

# %% [markdown]
# The last line is worth a second look. Once every head reads its own copy, the norm before attention runs once for each head, and its values get an axis for heads. **What you ask for can change what you see of something else.** `names_filter=None`, the default, keeps all that is always computed and nothing else.
#
# ## 6. Intervening: a function of the value
#
# A hook is called as `function(value, hook=point)`. It may
#
# - return nothing (`None`): the value goes on as it was;
# - return a tensor: that goes on instead;
# - write into the value in place: that goes on, too.


# %%
def look(value, hook):
    print(f"{hook.name}, layer {hook.layer()}, shape {list(value.shape)}")


def unchanged(value, hook):
    return value


model.run_with_hooks(PROMPT, fwd_hooks=[("blocks.1.attn.hook_z", look)])
again = model.run_with_hooks(PROMPT, fwd_hooks=[("blocks.1.attn.hook_z", unchanged)])
log.observe("same", float((again - plain).abs().max()))

# %% [markdown]
# **Zero a head by hand.** `z` is `[batch, pos, head, d_head]`; head 2 of layer 1 is one slice of it. With several layers or heads, one function serves for all: make it with what it needs to know.


# %%
def zero_head(head: int):
    """A hook that silences one head, wherever it is attached."""

    def hook_function(value, hook):
        value[:, :, head] = 0
        return value

    return hook_function


effects = np.zeros((cfg.n_layers, cfg.n_heads))
for layer in range(cfg.n_layers):
    for head in range(cfg.n_heads):
        cut = model.run_with_hooks(
            PROMPT, fwd_hooks=[(ca.get_act_name("z", layer), zero_head(head))]
        )
        effects[layer, head] = logit_diff(cut) - logit_diff(logits)
heatmap(
    effects,
    [str(layer) for layer in range(cfg.n_layers)],
    [str(head) for head in range(cfg.n_heads)],
    "Zero one head: change of the logit difference, one prompt",
    row_axis="layer",
    column_axis="head",
    value_label="change, logits",
)

# %% [markdown]
# Negative is a head whose loss hurts. One prompt is an anecdote, and zero is not always a fair replacement (notebook [08](08_paths_and_ablation.ipynb)); but the loop above is honest and takes five lines. The library does the same over many prompts, without running what the change cannot reach. Do the two agree to the last digit?

# %%
task = ca.tasks.ioi(model, n_prompts=64, corruption="s2-flip", seed=0)
LAYER, HEAD = 1, min(2, cfg.n_heads - 1)
by_hand = task.metric(
    task.metric.read(
        model.run_with_hooks(task.clean, fwd_hooks=[(ca.get_act_name("z", LAYER), zero_head(HEAD))])
    )
)
ablated = ca.ablate(model, task, [(LAYER, HEAD)], "zero")
cut = ca.Intervention("z", LAYER, "zero", units=HEAD)
intervened = ca.intervene(model, task, cut, mode="noising")
apart = {
    "ca.ablate": np.abs(np.asarray(by_hand) - ablated.ablated).max(),
    "ca.intervene": np.abs(np.asarray(by_hand) - intervened.patched[0]).max(),
}
log.observe("by hand", float(max(apart.values())), digits=6)
table(
    [f"head {LAYER}.{HEAD} at zero, 64 prompts", "mean of the metric", "largest difference from ours"],
    [
        ("by hand", float(by_hand.mean()), ""),
        ("ca.ablate", float(ablated.ablated.mean()), f"{apart['ca.ablate']:.0e}"),
        ("ca.intervene", float(intervened.patched[0].mean()), f"{apart['ca.intervene']:.0e}"),
    ],
    digits=4,
)

# %% [markdown]
# Up to rounding, yes: a number in float32 has about seven digits, and sums in another order round differently. Write your own hook when you want to do something new, and keep the library's call beside it as long as the two can be compared. Use the library's call for all that it knows: it is faster, it knows where each prompt's END is, and its result carries intervals.
#
# ## 7. Six ways to get it wrong
#
# None of the following raises an error.


# %%
def forgets(value, hook):
    value = value * 0  # a new tensor, and nothing is returned


def in_place(value, hook):
    value *= 0  # nothing is returned here either


def wrong_axis(value, hook):
    value[:, HEAD] = 0  # axis 1 of z is the position, not the head
    return value


def every_position(value, hook):
    value[:, :, HEAD] = 0  # at all positions; END only was meant
    return value


def at_end_only(value, hook):
    value[:, -1, HEAD] = 0
    return value


site = ca.get_act_name("z", LAYER)


def change_by(*hooks, text=PROMPT) -> float:
    out = model.run_with_hooks(text, fwd_hooks=list(hooks))
    return float((out - model(text))[0, -1].abs().max())


two_prompts = [PROMPT, "John and Mary went to the store. John gave a drink to"]
padded = model.to_tokens(two_prompts)
lengths = [len(model.to_str_tokens(text)) for text in two_prompts]
at_minus_1 = [model.tokenizer.token(int(token)) for token in padded[:, -1]]
rows = [
    ("a new value, not returned", change_by((site, forgets)), "it goes on unchanged"),
    ("`value *= 0`, not returned", change_by((site, in_place)), "it is changed all the same"),
    ("positions taken for heads", change_by((site, wrong_axis)), "one position, in all heads"),
    ("at all positions", change_by((site, every_position)), "one head, everywhere"),
    ("at the last position", change_by((site, at_end_only)), "one head, at END"),
]
log.observe("forgot", rows[0][1])
log.observe("place", "yes" if rows[1][1] > 0 else "no")
display(table(["hook", "largest change of a logit at END", "what happens to the value"], rows, digits=3))
print(f"prompts of {lengths} tokens, padded to {padded.shape[1]}; at position -1: {at_minus_1}")

# %% [markdown]
# 1. **Nothing returned**: the value goes on unchanged, and your effect is exactly 0. An effect of *exactly* 0 is nearly always a hook that does nothing.
# 2. **In place without a return** does change it. So a hook that only wants to look must not write.
# 3. **The wrong axis** gives a number that looks like any other. Print the shape once.
# 4. **All positions, or one?** Both are good questions. They are not the same.
# 5. **−1 is not END** when prompts of several lengths are padded on the right: it may be padding, of which nothing is asked. Tasks carry `task.positions["END"]`.
# 6. **A loop variable in a function**: `lambda value, hook: f(value, head)` made in a loop over `head` uses whatever `head` is *when it runs*. A function that makes functions, as `zero_head` above, has no such trouble.
#
# ## 8. Hooks that stay
#
# `run_with_hooks` detaches everything at the end, also when something raises. If you want hooks over several runs, say so: `with model.hooks(fwd_hooks=[...])` for a block of code, `model.add_hook(name, function)` until `model.reset_hooks()`, and `add_perma_hook` for one that `reset_hooks` leaves alone unless told `including_permanent=True`.


# %%
def attached() -> int:
    return sum(point.has_hooks() for point in model.hook_points())


def raises(value, hook):
    raise RuntimeError("something went wrong in a hook")


try:
    model.run_with_hooks(PROMPT, fwd_hooks=[(site, raises)])
except RuntimeError as error:
    print("raised:", error)
log.observe("left", attached())

with model.hooks(fwd_hooks=[(site, zero_head(HEAD))]):
    inside = logit_diff(model(PROMPT))
print(f"inside the block {inside:+.2f}, after it {logit_diff(model(PROMPT)):+.2f}")

model.add_hook(site, zero_head(HEAD))
model.add_perma_hook("blocks.0.hook_mlp_out", unchanged)
print("attached:", attached(), end="; ")
model.reset_hooks()
print("after reset_hooks:", attached(), end="; ")
model.reset_hooks(including_permanent=True)
print("with the permanent ones:", attached())

# %% [markdown]
# A forgotten hook is the most expensive mistake of all: every later cell measures another model. If a number cannot be reproduced, `model.reset_hooks(including_permanent=True)` is the first thing to try.
#
# **Stop and go on.** A run can end in the middle (`stop_at_layer`) and begin in the middle (`start_at_layer`), with the stream as what is handed over. This is how the library avoids computing the same first layers a hundred times.

# %%
middle = cfg.n_layers // 2
stream = model(PROMPT, stop_at_layer=middle)  # [batch, pos, d_model]
rest = model(stream, start_at_layer=middle)
print(f"stopped before layer {middle}: {list(stream.shape)}")
print("and went on to the same logits:", torch.allclose(rest, logits, atol=1e-4))

# %% [markdown]
# ## 9. On the way back: gradients
#
# A gradient says how a small change of a value would change the output. Backward hooks see gradients pass, in the other direction, at the same names. The shortest way to get them is `incl_bwd`, which needs a single number to start from; here the loss.

# %%
with torch.enable_grad():
    loss, both = model.run_with_cache(PROMPT, return_type="loss", incl_bwd=True)
grads = [name for name in both if name.endswith("_grad")]
print(f"loss {float(loss):.3f}; {len(both) - len(grads)} values and {len(grads)} gradients")

# %% [markdown]
# For the logit difference there is no `return_type`, so we attach the hooks ourselves, keep them while going backward (`reset_hooks_end=False`), and take them off afterwards. With the gradient one can *estimate* what zeroing a head would do, −z · ∂metric/∂z, for all heads in one run instead of one run each (attribution patching, Nanda 2023). How good is the estimate? We have the exact numbers from section 6.

# %%
values, gradients = {}, {}


def keep_value(value, hook):
    values[hook.layer()] = value.detach()


def keep_gradient(gradient, hook):
    gradients[hook.layer()] = gradient.detach()


def is_z(name: str) -> bool:
    return name.endswith("attn.hook_z")


with torch.enable_grad():
    out = model.run_with_hooks(
        PROMPT,
        fwd_hooks=[(is_z, keep_value)],
        bwd_hooks=[(is_z, keep_gradient)],
        reset_hooks_end=False,
    )
    (out[0, -1, IO] - out[0, -1, S]).backward()
model.reset_hooks()
model.zero_grad()
estimate = np.array(
    [
        -(values[layer] * gradients[layer]).sum((0, 1, 3)).numpy()  # over all but heads
        for layer in range(cfg.n_layers)
    ]
)
largest = sorted(np.ndindex(effects.shape), key=lambda at: -abs(effects[at]))[:6]
print("hooks left:", attached())
table(
    ["head", "exact: change when zeroed", "estimate by gradient"],
    [(f"{layer}.{head}", effects[layer, head], estimate[layer, head]) for layer, head in largest],
)

# %%
r = np.corrcoef(effects.ravel(), estimate.ravel())[0, 1]
print(f"correlation of estimate and exact effect over all heads: {r:.2f}")

# %% [markdown]
# A gradient knows the slope where the model stands, and zero can be far from there: the softmax and the norms bend on the way. `ca.attribute` does this over a task, with checks beside it ([attribution-patching.md](../docs/methods/attribution-patching.md)).
#
# ## 10. Elsewhere, in words
#
# | here | TransformerLens | nnsight |
# |:--|:--|:--|
# | `run_with_cache`, `run_with_hooks`, names, shapes | the same, in `HookedTransformer` up to its version 3 | a `with model.trace(prompt):` block; values are the modules' own inputs and outputs, under the names of the model's own code |
# | the hook is a function of the value | the same | inside the block one writes as if the value were there: assigning to it intervenes, `.save()` keeps it |
# | `hook_result`, split inputs: computed when asked for | the same values behind switches (`set_use_attn_result`, ...), which are off at first; here they work as well | not there as a value: one computes it from z and W_O |
# | a name that matches nothing is an error | in some calls it is silent | an attribute error |
# | the cache is a copy | it holds the run's own tensors: what writes in place may be seen in both | what was saved is the run's own tensor |
#
# ## 11. Break it on purpose
#
# Four hooks that should have no effect, or all of it. Before you run the cell: which of these numbers do you know?

# %%
last_pattern = ca.get_act_name("pattern", cfg.n_layers - 1)


def uniform(value, hook):
    """All keys that a query sees, alike."""
    seen = (value > 0).float()
    return seen / seen.sum(-1, keepdim=True)


def to_itself(value, hook):
    return torch.eye(value.shape[-1]).expand_as(value)


def other_order(value, hook):
    return value.flip(2)  # heads exchanged


def add_constant(value, hook):
    return value + 5.0  # the same number to every entry of the stream


final = ca.get_act_name("resid_post", cfg.n_layers - 1)
table(
    ["what is done", "logit difference"],
    [
        ("nothing", logit_diff(logits)),
        *(
            (what, logit_diff(model.run_with_hooks(PROMPT, fwd_hooks=[(where, function)])))
            for what, where, function in (
                ("5 added to every entry of the last stream", final, add_constant),
                ("heads of layer 1 in another order", site, other_order),
                ("the last layer looks at all keys alike", last_pattern, uniform),
                ("the last layer looks at itself only", last_pattern, to_itself),
                ("all layers look at themselves only", lambda n: "hook_pattern" in n, to_itself),
            )
        ),
    ],
)

# %% [markdown]
# The first is a test of your understanding: a LayerNorm takes the mean out, so a constant is not seen. The last is another: if no position can look at any other, the last position knows only that it holds *to*, and can have no opinion on Mary and John that depends on the sentence.
#
# ## 12. The log

# %%
log

# %%
strongest = largest[0]
Markdown(
    f"**What this notebook found.** {cfg.model_name} has {len(model.hook_dict)} hook points. On one "
    f"prompt the head whose loss changes the logit difference most is {strongest[0]}.{strongest[1]} "
    f"({effects[strongest]:+.2f}), and the gradient's estimate correlates with the exact effects "
    f"at {r:.2f}. By hand and by library the metric differs by {max(apart.values()):.0e} at most."
)

# %% [markdown]
# ## 13. Exercises
#
# **Exercise 1.** Attention of the head: from the cache, how much attention does the last position pay to position 0 (BOS) in each head of the *last* layer? A vector `[head]`.
#
# <details><summary>Hint</summary>
#
# `cache["pattern", -1]` is `[batch, head, query, key]`.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# to_bos = cache["pattern", -1][0, :, -1, 0]
# ```
#
# </details>

# %%
to_bos = ...

# %%
check(to_bos, cache[f"blocks.{cfg.n_layers - 1}.attn.hook_pattern"][0, :, -1, 0])

# %% [markdown]
# **Exercise 2.** Write a hook `halve` for `hook_mlp_out` that halves what the MLP adds *at the last position only*, and compute the logit difference with it in layer 0.
#
# <details><summary>Hint</summary>
#
# `value[:, -1]` is the last position. Return the value.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# def halve(value, hook):
#     value[:, -1] = value[:, -1] / 2
#     return value
#
#
# halved = logit_diff(model.run_with_hooks(PROMPT, fwd_hooks=[("blocks.0.hook_mlp_out", halve)]))
# ```
#
# </details>

# %%
halved = ...

# %%
with model.hooks(
    [("blocks.0.hook_mlp_out", lambda value, hook: torch.cat([value[:, :-1], value[:, -1:] * 0.5], 1))]
):
    expected = logit_diff(model(PROMPT))
check(halved, expected, hint="Is it halved at one position, and returned?")

# %% [markdown]
# **Exercise 3.** Close one way only. With a hook on `attn_scores` (before the softmax) of layer 1, forbid all its heads to look at the *second* " John" (token 10 of the prompt) from the last position, so that the rest of the row still sums to 1. The logit difference?
#
# <details><summary>Hint</summary>
#
# Scores are `[batch, head, query, key]`; a score of minus infinity becomes a weight of 0.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# def close(value, hook):
#     value[:, :, -1, 10] = -torch.inf
#     return value
#
#
# closed = logit_diff(
#     model.run_with_hooks(PROMPT, fwd_hooks=[(ca.get_act_name("attn_scores", 1), close)])
# )
# ```
#
# </details>

# %%
closed = ...


# %%
def renormalised(value, hook):
    value[:, :, -1, 10] = 0
    return value / value.sum(-1, keepdim=True)


with model.hooks([(ca.get_act_name("pattern", 1), renormalised)]):
    expected = logit_diff(model(PROMPT))
check(closed, expected, hint="On scores, not on the pattern: the softmax then makes the sum 1.")

# %% [markdown]
# ## 14. Questions to take along
#
# 1. You zero a head's `z`, its `result`, or its `pattern`. Which two are the same? What is the third?
# 2. A hook writes into `hook_resid_post` of layer 3. Which hook point sees it first, and does the cache of *that* run show the old value or the new one at `hook_resid_post`?
# 3. The gradient's estimate has the wrong sign for one head. What could have happened between here and zero?
# 4. Patching a value with itself must do nothing. Which of the six mistakes would that test find?
#
# ## Further
#
# - Next: [04 · The behaviour, and one number for it](04_baseline.ipynb), and then [05 · Activation patching](05_activation_patching.ipynb), where hooks begin to answer questions. The method cards: [interventions.md](../docs/methods/interventions.md), [ablation.md](../docs/methods/ablation.md).
# - Nanda (2023), *Attribution Patching: Activation Patching At Industrial Scale*, [neelnanda.io](https://www.neelnanda.io/mechanistic-interpretability/attribution-patching).
# - TransformerLens: [github.com/TransformerLensOrg/TransformerLens](https://github.com/TransformerLensOrg/TransformerLens). nnsight: [nnsight.net](https://nnsight.net).
