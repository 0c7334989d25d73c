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
# # 05 · Activation patching: where, and from which layer on
#
# Notebook 04 pinned the behaviour down to one number. Now we open the machine. The tool is one move: *run the model on one prompt, and at one place put in the value from another prompt.* If the answer comes back, that place carried what the answer needs. Everything in this course is this move at increasing resolution.
#
# **What you will know afterwards**
#
# - how to make the move by hand, with `run_with_cache` and `run_with_hooks`;
# - denoising and noising, and the normalised effect of each;
# - which positions carry the answer in which layers, and what moves it from one to the next;
# - four ways to misread such a map.
#
# **Time:** about 35 minutes; the cells run in some seconds on one core (GPT-2: about five minutes). The method card is [activation-patching.md](../docs/methods/activation-patching.md).

# %%
MODEL = "ioi-mini"  # or "gpt2", or the folder of a model of your own

# %%
import dataclasses
import time

import numpy as np
import torch
from course import Log, Markdown, check, table

import cutaway as ca
from cutaway.plotting import heatmap

torch.set_grad_enabled(False)
model = ca.HookedTransformer.from_pretrained(MODEL)
cfg = model.cfg
LAYERS = [str(layer) for layer in range(cfg.n_layers)]
print(
    f"{cfg.model_name}: {cfg.n_layers} layers, {cfg.n_heads} heads each, d_model {cfg.d_model}"
)

# %% [markdown]
# ## 1. Two runs
#
# The **clean** prompt is the one with the answer that we care about. The **corrupted** prompt differs in one token: the second name is flipped, so the roles are exchanged and the answer turns round. We measure both with the clean prompt's answers, IO = Mary and S = John.

# %%
clean_prompt = "When John and Mary went to the store, John gave a drink to"
corrupted_prompt = "When John and Mary went to the store, Mary gave a drink to"
IO, S = model.to_single_token(" Mary"), model.to_single_token(" John")


def logit_diff(logits) -> float:
    """logit(IO) - logit(S) at the last position."""
    return float(logits[0, -1, IO] - logits[0, -1, S])


clean_tokens = model.to_str_tokens(clean_prompt)
corrupted_tokens = model.to_str_tokens(corrupted_prompt)
clean_value, corrupted_value = (
    logit_diff(model(clean_prompt)),
    logit_diff(model(corrupted_prompt)),
)
S2 = next(i for i, (a, b) in enumerate(zip(clean_tokens, corrupted_tokens)) if a != b)
END = len(clean_tokens) - 1
labels = [
    f"{i} {'BOS' if i == 0 and '<' in t else t.strip()}" for i, t in enumerate(clean_tokens)
]
print(" | ".join(labels))
print(f"They differ at position {S2} only (S2). END is position {END}.")
print(f"clean {clean_value:+.2f}, corrupted {corrupted_value:+.2f}")

# %% [markdown]
# ## 2. Predict
#
# The normalised effect of a patch is 0 if nothing of the clean answer came back, and 1 if all of it did (the formula comes in section 4). `resid_pre` is the residual stream at the entry of a layer: all that the layers before have written at that position.
#
# Change ours to yours. Two of these can be answered by thinking alone.

# %%
log = Log()
log.expect(
    "entry",
    "Effect of resid_pre at layer 0, position S2?",
    low=0.99,
    high=1.01,
    why="one token is all that differs",
)
log.expect(
    "before",
    "Largest effect at any position before S2?",
    low=-0.01,
    high=0.01,
    why="attention looks back only",
)
log.expect(
    "half",
    "First layer at whose entry END carries more than half?",
    low=cfg.n_layers / 2,
    high=cfg.n_layers - 1,
    why="answers are written late",
)
log.expect(
    "last place",
    "Which position carries most at the entry of the last layer?",
    answer="END",
    why="END makes the prediction",
)
log.expect(
    "named",
    "Least sum over the named positions, of all layers?",
    low=0.9,
    high=1.1,
    why="they are the places that matter",
)
log.expect(
    "mover",
    "Strongest single place: attn_out or mlp_out?",
    answer="attn_out",
    why="only attention moves things",
)
log.expect(
    "modes",
    "Largest gap between denoising and noising in the stream?",
    low=0,
    high=0.1,
    why="the same place, asked twice",
)
log.expect(
    "wrong source",
    "Effect of END's stream taken from an unrelated prompt?",
    low=-0.2,
    high=0.2,
    why="it knows nothing of our names",
)
log

# %% [markdown]
# ## 3. The tape and the splice
#
# `run_with_cache` runs the model as usual and keeps a copy of every intermediate value. Short names work with a layer: `cache["resid_post", 9]`, or `-1` for the last one.

# %%
logits, cache = model.run_with_cache(clean_prompt)
last = cfg.n_layers - 1
table(
    ["activation", "shape", "axes"],
    [
        (f"`cache[{name!r}, {last}]`", str(list(cache[name, last].shape)), axes)
        for name, axes in (
            ("resid_post", "batch, pos, d_model: the residual stream after this layer"),
            ("pattern", "batch, head, query, key: where each head looks"),
            ("z", "batch, pos, head, d_head: what each head moved"),
            ("mlp_out", "batch, pos, d_model: what the MLP adds"),
        )
    ],
)

# %% [markdown]
# `run_with_hooks` runs the model with a function attached to a named place. The function receives the value that passes there, and what it returns goes on in its stead. Below, the corrupted prompt runs, but one head's output at END is overwritten by its value from the clean run.

# %%
_, clean_cache = model.run_with_cache(clean_prompt)
layer, pos, head = last, END, 0  # try others


def hook(act, hook):
    act[:, pos, head] = clean_cache["z", layer][:, pos, head]  # splice in the clean value
    return act


patched = model.run_with_hooks(
    corrupted_prompt, fwd_hooks=[(f"blocks.{layer}.attn.hook_z", hook)]
)
print(
    f"corrupted {corrupted_value:+.2f} -> patched {logit_diff(patched):+.2f} "
    f"(clean {clean_value:+.2f})"
)

# %% [markdown]
# That is the whole method. One head out of many, chosen without thought, will often do next to nothing. The rest of this notebook asks about larger pieces first: the whole residual stream at one position.
#
# <details><summary>Coming from the seed notebook, or from TransformerLens?</summary>
#
# On GPT-2 you would write layer 9, as in
#
# ```python
# from cutaway import HookedTransformer
# model = HookedTransformer.from_pretrained("gpt2")
# logits, cache = model.run_with_cache(prompt)
# cache["pattern", 9]
# patched = model.run_with_hooks(prompt, fwd_hooks=[("blocks.9.attn.hook_z", hook)])
# ```
#
# Only the import line differs. What the cache gives you is a copy, so writing into it changes nothing in the model, and a hook name that does not exist is an error that lists similar names.
#
# </details>


# %%
def patch(site: str, layer: int, position: int, into: str, out_of: str) -> float:
    """Run `into`, with the value of one place taken from the run of `out_of`."""
    name = ca.get_act_name(site, layer)
    _, source = model.run_with_cache(out_of, names_filter=name)

    def splice(act, hook):
        act[:, position] = source[name][:, position]
        return act

    return logit_diff(model.run_with_hooks(into, fwd_hooks=[(name, splice)]))


value = patch("resid_pre", 0, S2, into=corrupted_prompt, out_of=clean_prompt)
print(f"resid_pre at layer 0, position S2: {corrupted_value:+.2f} -> {value:+.2f}")

# %% [markdown]
# ## 4. Denoising, noising, and the normalised effect
#
# **Denoising** puts clean values into the corrupted run, and asks: *is this enough to bring the answer back?*
#
#     effect = (patched - corrupted) / (clean - corrupted)
#
# **Noising** puts corrupted values into the clean run, and asks: *is the answer lost without this?*
#
#     effect = (clean - patched) / (clean - corrupted)
#
# In both, 0 means that nothing happened and 1 that the answer went all the way over to the other run's. Over many prompts we take the means first and divide them afterwards (section 8 shows why).


# %%
def denoised(site: str, layer: int, position: int) -> float:
    value = patch(site, layer, position, into=corrupted_prompt, out_of=clean_prompt)
    return (value - corrupted_value) / (clean_value - corrupted_value)


def noised(site: str, layer: int, position: int) -> float:
    value = patch(site, layer, position, into=clean_prompt, out_of=corrupted_prompt)
    return (clean_value - value) / (clean_value - corrupted_value)


middle = cfg.n_layers // 2
table(
    ["resid_pre", "denoising", "noising"],
    [
        (f"layer {at}, {name}", denoised("resid_pre", at, p), noised("resid_pre", at, p))
        for at in sorted({0, middle, last})
        for name, p in (("S2", S2), ("END", END))
    ],
)

# %% [markdown]
# The first row *must* be 1. At the entry of layer 0 the stream is nothing but the token and its position, and the two prompts differ in this one token: putting the clean value in makes the prompt clean. A row that you can work out by hand is a test of your code. Always look for one.

# %%
log.observe("entry", denoised("resid_pre", 0, S2))

# %% [markdown]
# ## 5. Every layer and every position
#
# Two loops give the map of the whole residual stream, one run of the model for each cell.

# %%
grid = np.array(
    [[denoised("resid_pre", at, p) for p in range(END + 1)] for at in range(cfg.n_layers)]
)
heatmap(
    grid,
    LAYERS,
    labels,
    "Denoising resid_pre, one prompt",
    row_axis="layer",
    value_label="normalised effect",
    limit=1,
)

# %% [markdown]
# Read it from the top down, as the model computes. Each row holds the stream *at the entry* of that layer. At first all that matters sits at S2. Where is it in the last row? What lies in between: does it go straight to END, or does it stop somewhere?
#
# Everything left of S2 is exactly 0: attention only looks back, so what stands before the first difference is the same in both runs, and putting in the same value changes nothing.

# %%
log.observe("before", float(np.abs(grid[:, :S2]).max()), digits=6)

# %% [markdown]
# ## 6. Many prompts: `ca.sweep`
#
# One prompt is an anecdote, so we take 64. Now the positions differ from prompt to prompt, and a map needs columns that mean the same in each: the *named positions* that the task carries.
#
# A loop over full runs is wasteful. A patch at layer 2, position S2 cannot change anything in earlier layers or at earlier positions, and the metric is read at END only. `ca.sweep` computes the base run once, and then for each patch only what it can change, its *causal cone*. The result is the same up to rounding. Do not believe this: check it. Below, the loop runs on some of the prompts, and both are compared value by value.

# %%
task = ca.tasks.ioi(model, n_prompts=64, corruption="s2-flip", seed=0)
few = task.subset(range(16))
rows = torch.arange(len(few))

started = time.perf_counter()
by_hand = np.zeros((cfg.n_layers, len(few.positions), len(few)))
_, source = model.run_with_cache(few.clean)
for at in range(cfg.n_layers):
    for column, position in enumerate(few.positions.values()):  # position: one index per prompt

        def splice(act, hook):
            act[rows, position] = source[hook.name][rows, position]
            return act

        logits = model.run_with_hooks(
            few.corrupted, fwd_hooks=[(ca.get_act_name("resid_pre", at), splice)]
        )
        by_hand[at, column] = few.metric(few.metric.read(logits))
loop_seconds = time.perf_counter() - started

started = time.perf_counter()
swept = ca.sweep(model, few, "resid_pre")
sweep_seconds = time.perf_counter() - started

print(
    f"largest difference in any of {swept.patched.size} values: "
    f"{np.abs(swept.patched - by_hand).max():.1e}"
)
print(f"loop {loop_seconds:.2f} s, sweep {sweep_seconds:.2f} s")

# %%
stream = ca.sweep(model, task, "resid_pre")
stream.plot("Denoising resid_pre, 64 prompts")

# %% [markdown]
# `stream` keeps the metric under every patch *for each prompt*, so each number has an interval: how far would it move with other prompts of this kind?


# %%
def numbers(effects: ca.Effects, least: float = 0.05):
    """The places with an effect of at least `least`, in the order of the layers."""
    kept = [row for row in effects.to_frame() if abs(row["effect"]) >= least]
    return table(
        ["layer", "position", "effect", "95% interval", "change in logits"],
        [
            (
                r["layer"],
                r["position"],
                r["effect"],
                f"{r['low']:.2f} to {r['high']:.2f}",
                r["change"],
            )
            for r in kept
        ],
    )


numbers(stream)

# %%
names = list(task.positions)
effect = stream.normalised()  # [layer, position]
at_end = effect[:, names.index("END")]
carrying = [at for at in range(cfg.n_layers) if at_end[at] > 0.5]
log.observe("half", carrying[0] if carrying else cfg.n_layers)
log.observe("last place", names[int(effect[last].argmax())])
log.observe("named", float(effect.sum(-1).min()))
print()
table(
    ["entry of layer", "sum over the named positions"],
    [(str(at), float(effect[at].sum())) for at in range(cfg.n_layers)],
)

# %% [markdown]
# ### What the named positions miss
#
# Look at the sums. The whole difference between the two runs enters at S2, and from there on it is somewhere in the stream. Effects of different positions need not add up to 1 (the model is not linear), but a row whose sum is far from 1 is a sign that **something is carried at a position that has no name.** A sweep over names can only find what was named.
#
# So take prompts that all have one template in one order, where every token index means the same, and sweep over each of them.

# %%
aligned = ca.tasks.ioi(model, n_prompts=64, templates=["canonical"], order="ABBA", seed=0)
every = ca.sweep(model, aligned, "resid_pre", positions="each")
named_at = {int(index[0]): name for name, index in aligned.positions.items()}
tokens = model.to_str_tokens(aligned.clean[0])
columns = [
    named_at.get(i) or ("BOS" if i == 0 and "<" in t else t.strip())
    for i, t in enumerate(tokens)
]
heatmap(
    every.normalised(),
    LAYERS,
    columns,
    "Denoising resid_pre, 64 prompts of one template",
    row_axis="layer",
    value_label="normalised effect",
    limit=1,
)

# %%
each = every.normalised()
unnamed = [i for i in range(each.shape[1]) if i not in named_at]
place = max(unnamed, key=lambda i: np.abs(each[:, i]).max())
found = float(np.abs(each[:, place]).max())
s2_at = int(aligned.positions["S2"][0])
print(
    f"Largest effect at a position without a name: {found:.2f}, "
    f"at token {place} ({tokens[place]!r}), which is S2{place - s2_at:+d}."
)

# %% [markdown]
# Is it the token right after S2? In many models a head of an early layer copies each token to the next position, so this is a natural place to look, whatever the model. In what follows it has a name of its own, `S2+1`. That costs one line, and it is the kind of line that decides what a study can see.


# %%
def with_s2_next(task: ca.Task) -> ca.Task:
    """The task with one more named position: the token after S2."""
    positions = {**task.positions, "S2+1": task.positions["S2"] + 1}
    positions["END"] = positions.pop("END")  # last, where it belongs
    return dataclasses.replace(task, positions=positions)


task = with_s2_next(task)
names = list(task.positions)
stream = ca.sweep(model, task, "resid_pre")
stream.plot("Denoising resid_pre, with S2+1 named")

# %%
sums = stream.normalised().sum(-1)
print("Sum over the named positions, by layer:", "  ".join(f"{x:.2f}" for x in sums))
moves = [names[int(row.argmax())] for row in stream.normalised()]
print("The strongest position, by layer:      ", "  ".join(moves))

# %% [markdown]
# ## 7. What moves it: attention and MLP outputs
#
# The stream says *where* the information is; it does not say who put it there. For that, patch what each layer *adds*: the output of its attention (`attn_out`) or of its MLP (`mlp_out`).
#
# The two can do different things. Attention is the only part that can take something from one position to another. An MLP works at one position at a time, on what is already there.

# %%
attention = ca.sweep(model, task, "attn_out")
attention.plot("Denoising attn_out")

# %%
mlp = ca.sweep(model, task, "mlp_out")
mlp.plot("Denoising mlp_out")

# %%
best_attention, best_mlp = attention.top(1)[0], mlp.top(1)[0]
log.observe(
    "mover", "attn_out" if abs(best_attention.effect) > abs(best_mlp.effect) else "mlp_out"
)
table(
    ["part", "strongest places: layer and position, effect [95% interval]"],
    [
        ("attn_out", "; ".join(map(str, attention.top(3)))),
        ("mlp_out", "; ".join(map(str, mlp.top(3)))),
    ],
)

# %% [markdown]
# An MLP with a large effect does not contradict what was said above. It can *pass on* at END what attention brought to END in an earlier layer or in the same one, and make it stronger. Its effect is then counted twice, once for the attention output that it depends on and once for its own. This is why effects in one map do not add up to 1.
#
# ### The other question: noising

# %%
noised_stream = ca.sweep(model, task, "resid_pre", mode="noising")
gap = np.abs(noised_stream.normalised() - stream.normalised())
log.observe("modes", float(gap.max()))
noised_attention = ca.sweep(model, task, "attn_out", mode="noising")
table(
    ["attn_out", "denoising: enough?", "noising: needed?"],
    [
        (
            f"layer {at}, {name}",
            float(attention.normalised()[at, column]),
            float(noised_attention.normalised()[at, column]),
        )
        for at in range(cfg.n_layers)
        for column, name in enumerate(names)
        if max(
            abs(attention.normalised()[at, column]),
            abs(noised_attention.normalised()[at, column]),
        )
        > 0.05
    ],
)

# %% [markdown]
# When would the two differ? Think of two parts that both write the answer, and either is enough: an OR. Restoring one brings the answer back (denoising: large), but removing one does no harm, for the other is still there (noising: small). If both are needed, an AND, it is the other way round. **Denoising finds what is enough, noising what is needed.** If the two columns above agree, the parts act on the metric more or less by addition.
#
# ## 8. Four ways to misread a map
#
# **1. "Zero, so it is not important."** Look at S1 in any of the maps. The model needs it: without the first *John* nothing tells that a name occurs twice. Yet its effect is exactly 0, because this corruption does not change it. A patch can only find what differs between the two runs. *The corruption is the question.* Put another one: `abc` replaces all three names by others.

# %%
abc = with_s2_next(ca.tasks.ioi(model, n_prompts=64, corruption="abc", seed=0))
abc_stream = ca.sweep(model, abc, "resid_pre")
abc_stream.plot("Denoising resid_pre, corruption abc: all three names are others")

# %%
print("Baseline of s2-flip:", task.baseline(model).corrupted)
print("Baseline of abc:    ", abc.baseline(model).corrupted)
print("Effects at the entry of layer 0:")
table(
    ["position", "s2-flip", "abc"],
    [
        (n, float(a), float(b))
        for n, a, b in zip(names, stream.normalised()[0], abc_stream.normalised()[0])
    ],
)

# %% [markdown]
# Under `abc` no single position of layer 0 need bring everything back, since three tokens differ. And the meaning of 1 is another one: with `s2-flip` the answer must travel from "clearly S" to "clearly IO", with `abc` only from "neither" to "clearly IO". Effects of different corruptions are answers to different questions, and their sizes cannot be compared.
#
# **2. "The effect is at S2 in layer 2, so layer 2 computes it."** The stream at the entry of layer 2 holds what *all earlier layers* wrote. It says where the information passes, not where it is made. Compare with `attn_out` and `mlp_out`.
#
# **3. "The mean of the ratios."** Some prompts have a small difference between clean and corrupted. Dividing by it prompt by prompt lets these few decide everything. This is why `normalised()` divides mean by mean. Compare, for the strongest attention output, under a corruption that changes the metric less:

# %%
small = ca.tasks.ioi(model, n_prompts=64, corruption="random-name", seed=0)
small_attention = ca.sweep(model, small, "attn_out")
best = small_attention.top(1)[0]
row = small_attention.axes[0].labels.index(best.labels["layer"])
column = small_attention.axes[1].labels.index(best.labels["position"])
whole = (
    small_attention.clean - small_attention.corrupted
)  # [prompt], what each ratio divides by
ratios = small_attention.per_prompt[row, column] / whole
print(
    f"attn_out {best.name}: ratio of means {best.effect:.2f} [{best.low:.2f}, {best.high:.2f}]"
)
print(
    f"mean of the ratios {ratios.mean():.2f}; "
    f"the single ratios run from {ratios.min():.2f} to {ratios.max():.2f}"
)
print(f"the differences that they divide by run from {whole.min():+.2f} to {whole.max():+.2f}")

# %% [markdown]
# **4. "More than 1, or less than 0: a bug."** No. A part can overshoot, when something downstream that would have held it back still runs on corrupted input. And a part can work *against* the answer: restoring it lowers the metric, which is a negative effect. Is there one of either kind in the table of misreading 1? In GPT-2 there are heads that do so (the negative name movers).
#
# ## 9. Break things on purpose
#
# A method that always says yes says nothing. Here are three splices that should *not* bring the answer back, all at END at the entry of the last layer, where the right splice does most:
#
# - the clean stream of **another prompt**;
# - **noise** with the length of the real difference between the two runs;
# - the clean stream of the **token before** END.


# %%
def splice_at_end(values) -> float:
    """Normalised effect of putting `values` [prompt, d_model] at END, entry of the last layer."""
    rows = torch.arange(len(task))

    def replace(act, hook):
        act[rows, task.positions["END"]] = values
        return act

    logits = model.run_with_hooks(
        task.corrupted, fwd_hooks=[(ca.get_act_name("resid_pre", last), replace)]
    )
    patched = task.metric(task.metric.read(logits)).numpy()
    return float((patched - stream.corrupted).mean() / (stream.clean - stream.corrupted).mean())


name = ca.get_act_name("resid_pre", last)
_, clean_run = model.run_with_cache(task.clean, names_filter=name)
_, corrupted_run = model.run_with_cache(task.corrupted, names_filter=name)
rows, end = torch.arange(len(task)), task.positions["END"]
right, base = clean_run[name][rows, end], corrupted_run[name][rows, end]
noise = torch.randn(right.shape, generator=torch.Generator().manual_seed(0))
noise *= (right - base).norm(dim=-1, keepdim=True) / noise.norm(dim=-1, keepdim=True)
wrong_source = splice_at_end(right.roll(7, dims=0))
table(
    ["what is put in at END", "effect"],
    [
        ("the right values", splice_at_end(right)),
        ("those of another prompt", wrong_source),
        ("noise of the same size, added", splice_at_end(base + noise)),
        ("those of the token before END", splice_at_end(clean_run[name][rows, end - 1])),
    ],
)

# %%
log.observe("wrong source", wrong_source)
halfway = -stream.corrupted.mean() / (stream.clean - stream.corrupted).mean()
print(f"No preference between the two names at all would be an effect of {halfway:.2f}.")

# %% [markdown]
# Did you expect 0 for the stream of another prompt? It knows nothing about *our* two names, so the model has no reason to prefer one: the logit difference is about 0. But with `s2-flip` the corrupted run prefers the wrong name, so "no preference" is already *half of the way* to clean. **An effect of 0.5 under this corruption can mean "half of the signal is here", or "the signal of the corrupted run is destroyed, and nothing is in its place".** The noise tells the two apart, and so do other corruptions. This is a reason to look at more than one.
#
# ## 10. The log

# %%
log

# %%
s2_column, end_column = names.index("S2"), names.index("END")
final = stream.normalised()
leaves = [at for at in range(cfg.n_layers) if final[at, s2_column] < 0.5]
arrives = [at for at in range(cfg.n_layers) if final[at, end_column] > 0.5]
between = [
    n for i, n in enumerate(names) if n not in ("S2", "END") and np.abs(final[:, i]).max() > 0.1
]
Markdown(
    "**What this notebook found.** "
    + (
        f"S2 carries less than half of the metric from the entry of layer {leaves[0]} on"
        if leaves
        else "S2 carries at least half of the metric in every layer"
    )
    + (
        f", and END more than half from the entry of layer {arrives[0]} on. "
        if arrives
        else ", and END at no layer's entry more than half. "
    )
    + (
        f"On the way some of it stands at {', '.join(between)}. "
        if between
        else "No other named position carries more than a tenth of it. "
    )
    + f"The strongest attention output is layer {best_attention.name} "
    f"({best_attention.effect:+.2f}), the strongest MLP output layer {best_mlp.name} "
    f"({best_mlp.effect:+.2f})."
)

# %% [markdown]
# In GPT-2 small the journey takes long. In the published maps (the TransformerLens demonstration notebook, 8 prompts) S2 carries more than nine tenths at the entries of layers 0 to 7, and END does from layer 9 on. A model of few layers has no room for this. How many does the one above use?
#
# ## 11. Exercises
#
# **Exercise 1.** From `stream.patched` (`[layer, position, prompt]`), `stream.clean` and `stream.corrupted` (`[prompt]`), compute the normalised effects `[layer, position]` yourself.
#
# <details><summary>Hint</summary>
#
# Means over prompts first, then the ratio.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# mine = (stream.patched - stream.corrupted).mean(-1) / (stream.clean - stream.corrupted).mean()
# ```
#
# </details>

# %%
mine = ...

# %%
check(mine, stream.normalised(), tolerance=1e-4, hint="Did you divide prompt by prompt?")

# %% [markdown]
# **Exercise 2.** By hand: the denoising effect of `resid_mid` (the stream between attention and MLP) at layer 0, position END, for the pair `clean_prompt`, `corrupted_prompt`. Then say, before you look anywhere: at which other positions can the rest be?
#
# <details><summary>Hint</summary>
#
# The function `denoised` of section 4 takes any site that `ca.get_act_name` knows.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# at_end_of_attention = denoised("resid_mid", 0, END)
# ```
#
# </details>

# %%
at_end_of_attention = ...

# %%
pair = ca.Task.from_prompts(
    model,
    [
        {
            "clean": clean_prompt,
            "corrupted": corrupted_prompt,
            "answer": " Mary",
            "wrong": " John",
        }
    ],
)
check(
    at_end_of_attention,
    lambda x: (
        abs(
            x
            - ca.sweep(model, pair, "resid_mid", layers=[0], positions=["END"]).normalised()[
                0, 0
            ]
        )
        < 1e-3
    ),
)

# %% [markdown]
# **Exercise 3.** Which *set* of positions at the entry of the middle layer is certain to bring back exactly everything, in any model, whatever it has learned? Write the set of token indices for our pair (a Python set of integers, as small as can be *guaranteed*).
#
# <details><summary>Hint</summary>
#
# The state of a transformer at the entry of a layer is the stream at all positions. At which of them do the two runs differ at all?
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# certain = set(range(S2, END + 1))
# ```
#
# </details>

# %%
certain = ...

# %%
check(
    certain,
    set(range(S2, END + 1)),
    hint="Everything that can differ must be put right, and nothing else.",
)

# %% [markdown]
# ## 12. Questions to take along
#
# 1. At the entry of some layer, S2 has the effect 0.6 and END 0.4. Give two different mechanisms that would look like this. Which further patch tells them apart?
# 2. Every effect at END in the last layers is near 1. Why is that no discovery?
# 3. The prompts are padded on the right. Why does this change no number in this notebook?
# 4. If IO were swapped with a third name instead (`IO` changes, S1 and S2 stay), which positions would light up at layer 0, and which path would you expect?
#
# ## Further
#
# - Next: [06 · Which heads](06_which_heads.ipynb). The method card: [activation-patching.md](../docs/methods/activation-patching.md).
# - Heimersheim and Nanda (2024), *How to use and interpret activation patching*, [arXiv:2404.15255](https://arxiv.org/abs/2404.15255): denoising and noising, AND and OR, choice of corruption and metric. The best companion to this notebook.
# - Zhang and Nanda (2023), *Towards Best Practices of Activation Patching in Language Models*, [arXiv:2309.16042](https://arxiv.org/abs/2309.16042).
# - Elhage et al. (2021), *A Mathematical Framework for Transformer Circuits*, [transformer-circuits.pub](https://transformer-circuits.pub/2021/framework/index.html): the residual stream as a sum of what each part writes.
