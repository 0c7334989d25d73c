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
# # 07 · What the heads attend to, what they write, and who feeds whom
#
# We know which heads matter and where they act. Now we ask what they *do*. A head does two things that can be looked at separately: it chooses *where* to look (its pattern), and it carries *something* from there to here (its values, through W_O). At the end we put a story together and hold it against the textbook, point by point.
#
# **What you will know afterwards**
#
# - how to read attention patterns, and what they do not tell;
# - whether a head's effect comes from where it looks or from what it carries;
# - how to recognise previous-token, duplicate-token and induction heads, on the task and off it;
# - direct logit attribution: what each part adds to the answer, exactly;
# - how to show that one head feeds another.
#
# **Time:** about 45 minutes; the cells run in some seconds on one core (GPT-2: some minutes).

# %%
MODEL = "ioi-mini"  # or "gpt2", or the folder of a model of your own

# %%
import dataclasses

import numpy as np
import torch
from course import Log, Markdown, check, table

import cutaway as ca
from cutaway.evidence import bootstrap_mean
from cutaway.plotting import heatmap
from cutaway.views import AttentionExample, AttentionView

torch.set_grad_enabled(False)
model = ca.HookedTransformer.from_pretrained(MODEL)
cfg = model.cfg


def with_s2_next(task: ca.Task) -> ca.Task:
    """The task with one more named position, as in notebook 05: the token after S2."""
    positions = {**task.positions, "S2+1": task.positions["S2"] + 1}
    positions["END"] = positions.pop("END")
    return dataclasses.replace(task, positions=positions)


task = with_s2_next(ca.tasks.ioi(model, n_prompts=64, corruption="s2-flip", seed=0))
positions, names = task.positions, list(task.positions)
rows = torch.arange(len(task))
heads = ca.sweep(model, task, "z")
by_position = ca.sweep(model, task, "z", positions=names)
TOP = 6
top = heads.top(TOP)
chosen = [(int(h.labels["layer"]), int(h.labels["head"])) for h in top]
acts_at = {
    h.name: names[int(np.abs(by_position.normalised()[at, n]).argmax())]
    for h, (at, n) in zip(top, chosen)
}
table(
    ["head", "effect [95% interval]", "acts at"],
    [
        (h.name, ca.Interval(h.effect, h.low, h.high, 0.95, len(task)), acts_at[h.name])
        for h in top
    ],
)

# %% [markdown]
# ## 1. Predict
#
# The textbook story, found by Wang et al. (2022) in GPT-2 small:
#
# 1. *Duplicate-token heads* and *induction heads* notice at S2 that this name was there before: they look from S2 to S1, or to the token after S1 (which *previous-token heads* have marked there).
# 2. *S-inhibition heads* look from END to S2, and bring the news to END: "not this one".
# 3. *Name movers* look from END to the names. Because of step 2 they look at the IO, and copy it to the output. *Negative name movers* do the same with the other sign, and *backups* wait.
#
# Change ours, which are this story, to yours. You have seen the maps of notebooks 05 and 06.

# %%
writer = next((h for h in top if acts_at[h.name] == "END"), top[0])
log = Log()
log.expect(
    "looks at",
    f"From END, where does {writer.name} look most?",
    answer="IO",
    why="name movers look at the IO",
)
log.expect(
    "does", "What does it do, mostly?", answer="raises IO", why="it copies what it looks at"
)
log.expect(
    "through",
    "Its effect comes mostly from its pattern or from its values?",
    answer="pattern",
    why="it looks elsewhere in the corrupted run",
)
log.expect("duplicate", "Strongest attention of any head from S2 to S1?", low=0.5, high=1)
log.expect("induction", "Strongest attention of any head from S2 to S1+1?", low=0.5, high=1)
log.expect("previous", "Strongest attention of any head from S1+1 to S1?", low=0.5, high=1)
log.expect(
    "sum",
    "Largest error when the parts are added up, in logits?",
    low=0,
    high=1e-3,
    why="a sum must be a sum",
)
log.expect(
    "feeds",
    "Strongest share that one head restores of another part's output?",
    low=0.5,
    why="heads work in stages",
)
log

# %% [markdown]
# ## 2. Where do they look?
#
# `pattern` has the shape `[batch, head, query, key]`: at each query position, how the head divides its attention over the keys. We take the query where the head acts, and average over prompts how much goes to each named position. What is left over is listed under "elsewhere".

# %%
pattern_names = [ca.get_act_name("pattern", at) for at in range(cfg.n_layers)]
_, clean = model.run_with_cache(task.clean, names_filter=pattern_names)
_, corrupted = model.run_with_cache(task.corrupted, names_filter=pattern_names)
keys = ["BOS", *names]


def looks(cache, at: int, head: int, query: str) -> list[float]:
    """Mean attention from a named position to BOS, to each named position, and to the rest."""
    row = cache["pattern", at][rows, head, positions[query]]  # [prompt, key]
    to = [row[:, 0].mean(), *(row[rows, positions[n]].mean() for n in names)]
    return [*map(float, to), float(1 - sum(to))]


shares = np.array(
    [looks(clean, at, h, acts_at[top[i].name]) for i, (at, h) in enumerate(chosen)]
)
heatmap(
    shares,
    [f"{h.name} from {acts_at[h.name]}" for h in top],
    [*keys, "elsewhere"],
    "Mean attention on the clean prompts",
    value_label="share of attention",
    limit=1,
)

# %%
place = top.index(writer)
log.observe("looks at", [*keys, "elsewhere"][int(shares[place].argmax())])

# %% [markdown]
# Means hide a lot. Point at a token in the view below to see where each head looks from there (the view needs a running notebook or a page that allows scripts; the figure above shows the same in numbers). Three prompts can be chosen.


# %%
def example(prompt: int) -> AttentionExample:
    length = int(task.lengths[prompt])
    patterns = torch.stack(
        [clean["pattern", at][prompt, h, :length, :length] for at, h in chosen]
    )
    marks = {name: int(index[prompt]) for name, index in positions.items()}
    return AttentionExample(
        patterns.numpy(), model.to_str_tokens(task.clean[prompt, :length]), marks
    )


AttentionView(
    [example(i) for i in (0, 1, 2)],
    [h.name for h in top],
    [f"{h.effect:+.2f}" for h in top],
    title="Attention of the top heads",
)

# %% [markdown]
# Two warnings before we build on patterns.
#
# - **Attention is not importance.** A head can look hard at a token and carry nothing from it that matters. Many heads rest on the first token (BOS) when they have nothing to do.
# - **The position is not the word.** From layer 1 on, what stands at a position is no longer only its own token: earlier layers have moved things there. A head that looks at S2+1 may be reading the name that was at S2.
#
# ### Does the pattern follow the roles?
#
# In the corrupted prompts the roles are exchanged, while the positions called IO and S1 hold the same names as before. A head that *follows the roles* must look somewhere else there. A head that *always looks at the same place* can still carry the answer, if what stands at this place has changed.

# %%
table(
    ["head", "from", "looks most at", "share, clean", "share, corrupted"],
    [
        (
            h.name,
            acts_at[h.name],
            [*keys, "elsewhere"][k],
            float(shares[i, k]),
            looks(corrupted, at, n, acts_at[h.name])[k],
        )
        for i, (h, (at, n)) in enumerate(zip(top, chosen))
        for k in [int(shares[i].argmax())]
    ],
)

# %% [markdown]
# ### Where it looks, or what it carries?
#
# This can be decided by an intervention. In the corrupted run, give a head its clean *pattern* but leave its values; then its clean *values*, but leave its pattern. The two effects say through which of the two the head's effect comes: the QK circuit or the OV circuit, in the words of Elhage et al. (2021).

# %%
base, whole = heads.corrupted, (heads.clean - heads.corrupted).mean()


def with_clean(short: str, at: int, head: int) -> float:
    """Normalised effect of one head's clean `pattern` or `v` in the corrupted run."""
    name = ca.get_act_name(short, at)
    _, source = model.run_with_cache(task.clean, names_filter=name)
    group = cfg.n_heads // cfg.n_key_value_heads

    def replace(act, hook):
        if short == "pattern":  # [prompt, head, query, key]
            act[:, head] = source[name][:, head]
        else:  # [prompt, pos, head, d_head]
            act[:, :, head // group] = source[name][:, :, head // group]
        return act

    logits = model.run_with_hooks(task.corrupted, fwd_hooks=[(name, replace)])
    return float((task.metric(task.metric.read(logits)).numpy() - base).mean() / whole)


routes = {h.name: (with_clean("pattern", *c), with_clean("v", *c)) for h, c in zip(top, chosen)}
table(
    ["head", "whole effect", "clean pattern only", "clean values only"],
    [(h.name, h.effect, *routes[h.name]) for h in top],
)

# %%
by_pattern, by_values = routes[writer.name]
log.observe("through", "pattern" if abs(by_pattern) > abs(by_values) else "values")

# %% [markdown]
# ## 3. Are the textbook heads here?
#
# Three kinds are easy to recognise by their patterns. Look for them among *all* heads, not only among the top ones:
#
# - **previous-token**: from S1+1 to S1;
# - **duplicate-token**: from S2 to S1;
# - **induction**: from S2 to S1+1, the token that came after this name the last time.

# %%
KINDS = {"previous": ("S1+1", "S1"), "duplicate": ("S2", "S1"), "induction": ("S2", "S1+1")}


def scores(query: str, key: str) -> np.ndarray:
    """Mean attention from one named position to another, [layer, head]."""
    return np.array(
        [
            clean["pattern", at][rows, :, positions[query], positions[key]].mean(0).numpy()
            for at in range(cfg.n_layers)
        ]
    )


def pair(name: str) -> tuple[int, int]:
    """ "1.5" as (1, 5)."""
    layer, head = map(int, name.split("."))
    return layer, head


def best(score: np.ndarray, k: int = 3) -> list[tuple[str, float]]:
    order = np.argsort(-score, axis=None)[:k]
    return [(f"{i // cfg.n_heads}.{i % cfg.n_heads}", float(score.flat[i])) for i in order]


on_task = {kind: scores(*where) for kind, where in KINDS.items()}
for kind, score in on_task.items():
    log.observe(kind, float(score.max()))

# %% [markdown]
# The names are those of the textbook, but the test is not fair yet. A head can look from S2 to S1 because it looks at *all names*. On random tokens that are written twice, names and grammar are gone, and only the bare pattern remains. A head that scores high on both deserves its name.

# %%
generator = torch.Generator().manual_seed(0)
length = 20
first_half = torch.randint(10, cfg.d_vocab, (32, length), generator=generator)
start = torch.full((32, 1), model.tokenizer.bos_token_id)
repeated = torch.cat([start, first_half, first_half], dim=1)  # [batch, 1 + 2 * length]
_, random_run = model.run_with_cache(repeated, names_filter=pattern_names)


def diagonal(offset: int, first: int) -> np.ndarray:
    """Mean attention to the token `offset` places back, over queries from `first` on."""
    query = torch.arange(first, repeated.shape[1])
    return np.array(
        [
            random_run["pattern", at][:, :, query, query - offset].mean((0, 2)).numpy()
            for at in range(cfg.n_layers)
        ]
    )


off_task = {
    "previous": diagonal(1, 1),
    "duplicate": diagonal(length, length + 1),
    "induction": diagonal(length - 1, length + 1),
}
effect = heads.normalised()
table(
    ["kind", "head", "on the task", "on random repeats", "effect on the answer"],
    [
        (kind, name, value, float(off_task[kind][pair(name)]), float(effect[pair(name)]))
        for kind in KINDS
        for name, value in best(on_task[kind])
    ],
)

# %%
half = model(repeated, return_type="loss", loss_per_token=True)  # [batch, pos - 1], in nats
print(
    f"Loss on random tokens: first half {half[:, :length].mean():.2f}, "
    f"second half {half[:, length:].mean():.2f} nats."
)
table(
    ["kind", "strongest on random repeats"],
    [
        (kind, ", ".join(f"{n} ({v:.2f})" for n, v in best(score)))
        for kind, score in off_task.items()
    ],
)

# %% [markdown]
# If the second half has a much lower loss than the first, the model *can* do induction. Whether it *uses* these heads for our task is another question, and the last column of the first table answers it: a head may be a perfect induction head and yet have no effect here.
#
# ## 4. What do they write? Direct logit attribution
#
# The last residual stream at END is a sum of what was written there: the embeddings, each head, each MLP, and some biases. The final normalisation, with its scale held fixed, is linear, and so is the unembedding. So the logit difference is *exactly* a sum with one term for each part. This is not an approximation, and there is no intervention: it is bookkeeping.
#
# The prompts have different lengths. Padding them on the left puts END at the last position everywhere.

# %%
kept = [
    ca.get_act_name(n, at) for n in ("z", "attn_out", "mlp_out") for at in range(cfg.n_layers)
]
kept += [
    n for n in ("hook_embed", "hook_pos_embed", "ln_final.hook_scale") if n in model.hook_dict
]
kept += [ca.get_act_name("resid_post", cfg.n_layers - 1)]


def record(texts):
    return model.run_with_cache(list(texts), padding_side="left", names_filter=kept)


logits, cache = record(task.clean_text)
_, corrupted_cache = record(task.corrupted_text)
parts, part_names = cache.decompose_resid(mode="all", pos_slice=-1, return_labels=True)
terms = cache.logit_attrs(parts, task.correct, task.wrong, pos_slice=-1)  # [part, prompt]
bias = model.b_U[task.correct] - model.b_U[task.wrong]
total = logits[rows, -1, task.correct] - logits[rows, -1, task.wrong]
log.observe("sum", float((terms.sum(0) + bias - total).abs().max()), digits=6)
table(
    ["part", "adds to the logit difference"],
    [
        *((name, bootstrap_mean(t.double().numpy())) for name, t in zip(part_names, terms)),
        ("bias", bootstrap_mean(bias.double().numpy())),
        ("**together**", bootstrap_mean(total.double().numpy())),
    ],
)

# %% [markdown]
# Attention outputs can be split further, into heads.


# %%
def head_terms(cache) -> tuple[np.ndarray, np.ndarray]:
    """What each head adds to logit(IO) and to logit(S), [layer, head, prompt] each."""
    stack = cache.stack_head_results(pos_slice=-1)
    shape = (cfg.n_layers, cfg.n_heads, len(task))
    io = cache.logit_attrs(stack, task.correct, pos_slice=-1)
    s = cache.logit_attrs(stack, task.wrong, pos_slice=-1)
    return io.reshape(shape).numpy(), s.reshape(shape).numpy()


io_clean, s_clean = head_terms(cache)
direct = (io_clean - s_clean).mean(-1)
heatmap(
    direct,
    [str(at) for at in range(cfg.n_layers)],
    [str(h) for h in range(cfg.n_heads)],
    "Direct contribution of each head to the logit difference",
    row_axis="layer",
    column_axis="head",
    value_label="logits",
)

# %% [markdown]
# ### Raise the right name, or push down the wrong one?
#
# A difference can be made from either side. A *name mover* raises the IO; a *suppressor* lowers S. (The logits here are relative to the mean over all tokens, which the unembedding is centred to have at zero.)
#
# Beside it stands the comparison with patching. The *direct part* of a head's effect is what its own term contributes to the difference between the clean and the corrupted run. The rest of its effect must come *through other parts*: later heads, or MLPs.

# %%
io_corrupted, s_corrupted = head_terms(corrupted_cache)
swing = ((io_clean - s_clean) - (io_corrupted - s_corrupted)).mean(-1) / whole  # [layer, head]
table(
    ["head", "acts at", "adds to IO", "adds to S", "difference", "whole effect", "direct part"],
    [
        (
            h.name,
            acts_at[h.name],
            float(io_clean[c].mean()),
            float(s_clean[c].mean()),
            float(direct[c]),
            h.effect,
            float(swing[c]),
        )
        for h, c in zip(top, chosen)
    ],
)

# %%
w = chosen[place]
raises, lowers = float(io_clean[w].mean()), float(-s_clean[w].mean())
log.observe(
    "does", "raises IO" if raises > max(lowers, 0) else "lowers S" if lowers > 0 else "neither"
)


def kind_of(i: int) -> str:
    """A plain description of a top head, by stated rules."""
    c = chosen[i]
    if abs(top[i].effect) < 0.02:
        return "does little"
    part = float(swing[c]) / top[i].effect  # negative if its own term goes the other way
    side = "raises the IO" if io_clean[c].mean() > -s_clean[c].mean() else "lowers S"
    if part < 0.25:
        return "works through other parts"
    if part > 0.75:
        return f"writes the answer itself: {side}"
    return f"writes part of it itself ({side}), the rest through other parts"


for i, h in enumerate(top):
    print(f"{h.name}: {kind_of(i)}")

# %% [markdown]
# The MLPs in the table of parts can have large terms of their own: they read the stream at END after the heads, and pass on what they find there. A head that "works through other parts" may be read by the MLP of its own layer; section 5 looks.
#
# ### What this corruption hides
#
# Somebody must see to it that the answer is one of *these two names* at all, and not any other word. Such a head does the same in the clean and in the corrupted run, for both hold the same names. Patching with `s2-flip` cannot see it, and neither can a metric that compares the two names. Direct attribution can: look for heads that add to *both*. As a check, each of them is mean-ablated, and we measure the logarithm of the probability of the right answer instead of the difference.

# %%
to_both = np.minimum(io_clean.mean(-1), s_clean.mean(-1))  # [layer, head]
reference = ca.tasks.ioi(model, n_prompts=256, corruption="abc", seed=0)
log_probability = ca.tasks.LogProbability.at(positions["END"], task.correct, task.wrong)
by_probability = dataclasses.replace(task, metric=log_probability)
hidden = [name for name, _ in best(to_both, 3)]

table(
    [
        "head",
        "adds to IO",
        "adds to S",
        "patching effect",
        "ablated: logit difference",
        "ablated: log probability of IO",
    ],
    [
        (
            name,
            float(io_clean[pair(name)].mean()),
            float(s_clean[pair(name)].mean()),
            float(effect[pair(name)]),
            ca.ablate(model, task, [name], "mean", reference=reference).change(),
            ca.ablate(model, by_probability, [name], "mean", reference=reference).change(),
        )
        for name in hidden
    ],
)

# %% [markdown]
# A head with next to no effect in notebook 06 and a large one in the last column is no contradiction. Notebook 04 said what the logit difference cannot see, and here it is.
#
# ## 5. Who feeds whom?
#
# A head that acts at a position other than END must be read by a later part, and so must a head that acts at END without writing the answer itself. To see by which, put the clean output of head A into the corrupted run, and look not at the answer but at the *output of part B at END*: how far does it go from its corrupted to its clean value? We measure along the line between the two: 0 is not at all, 1 is all the way. The parts are the top heads, and those MLPs that matter at END.

# %%
mlps = ca.sweep(model, task, "mlp_out", positions=["END"])
strong_mlps = [int(e.labels["layer"]) for e in mlps.top(3) if abs(e.effect) > 0.05]
# A receiver: its name, its layer and head (None for an MLP), and its own effect.
receivers = [(h.name, at, n, h.effect) for h, (at, n) in zip(top, chosen)]
receivers += [(f"MLP {at}", at, None, mlps.normalised()[at, 0]) for at in sorted(strong_mlps)]
outputs = [ca.get_act_name(n, at) for n in ("z", "mlp_out") for at in range(cfg.n_layers)]
_, from_clean = model.run_with_cache(task.clean, names_filter=outputs)
_, from_corrupted = model.run_with_cache(task.corrupted, names_filter=outputs)
end = positions["END"]


def at_end(cache, layer: int, head: int | None):
    """What a head or an MLP puts out at END, [prompt, d]."""
    if head is None:
        return cache["mlp_out", layer][rows, end]
    return cache["z", layer][rows, end, head]


def fed(sender: tuple[int, int]) -> list[float]:
    """How far each receiver's output at END goes over when `sender` is made clean."""
    layer, head = sender

    def replace(act, hook):
        act[:, :, head] = from_clean[hook.name][:, :, head]
        return act

    with model.hooks([(ca.get_act_name("z", layer), replace)]):
        _, changed = model.run_with_cache(task.corrupted, names_filter=outputs)
    found = []
    for _, at, n, _ in receivers:
        if at < layer or (at == layer and n is not None):
            found.append(np.nan)  # not later: it cannot be reached
            continue
        start = at_end(from_corrupted, at, n)
        line, moved = at_end(from_clean, at, n) - start, at_end(changed, at, n) - start
        found.append(float((moved * line).sum() / (line * line).sum()))
    return found


feeding = np.array([fed(sender) for sender in chosen])  # [sender, receiver]
heatmap(
    feeding,
    [f"{h.name} at {acts_at[h.name]}" for h in top],
    [name for name, *_ in receivers],
    "Sender made clean: how far each part follows",
    row_axis="sender",
    column_axis="receiver (its output at END)",
    value_label="share of the way",
    limit=1,
)

# %%
links = [
    (top[i].name, name, float(feeding[i, j]))
    for i in range(TOP)
    for j, (name, _, _, own_effect) in enumerate(receivers)
    if abs(top[i].effect) > 0.02 and abs(own_effect) > 0.02 and feeding[i, j] > 0.3
]
print(
    "Links of more than 0.3 between parts that matter:",
    "; ".join(f"{a} -> {b} ({x:.2f})" for a, b, x in links) or "none",
)
log.observe("feeds", max((x for _, _, x in links), default=0.0))

# %% [markdown]
# (A part with hardly any difference between its clean and its corrupted output can show any number here: a share of nothing. This is why only parts with an effect of their own are named.)
#
# What this does not show is *by which input* the sender reaches a head: its queries, its keys or its values. Section 2 gives a hint, since a receiver that works by its values receives through them. To prove it takes path patching, which comes later in the course.
#
# ## 6. Break things on purpose: turn a head's gaze
#
# If we understand what a head does at END, we can say what happens when it is made to look elsewhere. In the *clean* run, take all its attention from END, and put it on one position of our choice.
#
# Before you run it: a head that *copies* the name it looks at should turn the answer round when it looks at S1. A head that *pushes down* the name it looks at should do so when it looks at the IO. Which do you expect?


# %%
def looking_at(where: str | None, layer: int, head: int) -> np.ndarray:
    """The metric when a head looks from END at one place only; None: at all alike."""

    def turn(act, hook):
        if where is None:
            seen = torch.arange(act.shape[-1]) <= end[:, None]
            act[rows, head, end] = seen.float() / (end[:, None] + 1)
        else:
            act[rows, head, end] = 0
            act[rows, head, end, positions[where]] = 1
        return act

    name = ca.get_act_name("pattern", layer)
    logits = model.run_with_hooks(task.clean, fwd_hooks=[(name, turn)])
    return task.metric(task.metric.read(logits)).double().numpy()


turned_heads = [i for i, h in enumerate(top) if acts_at[h.name] == "END"][:3] or [0]
turned = {
    where: [bootstrap_mean(looking_at(where, *chosen[i])) for i in turned_heads]
    for where in (*names, None)
}
unturned = bootstrap_mean(heads.clean)
table(
    ["looks from END at", *(top[i].name for i in turned_heads)],
    [
        ("wherever it wants", *(unturned for _ in turned_heads)),
        *((where or "all alike", *values) for where, values in turned.items()),
    ],
)

# %%
for column, i in enumerate(turned_heads):
    order = sorted(names, key=lambda where: turned[where][column].estimate)
    print(
        f"{top[i].name}: worst for the answer when it looks at {order[0]}, best at {order[-1]}."
    )

# %% [markdown]
# If a head fails to do what you expected when it looks straight at a name, remember the second warning of section 2: it may not read *names where they stand*, but what an earlier head has put somewhere else. Pointed at the word itself, it finds nothing that it can read.
#
# ## 7. The story, and what does not fit
#
# Below, each claim of the textbook story is held against what was measured. The rules are stated in the cell; nothing is decided by taste.


# %%
def strongest(score: np.ndarray) -> str:
    (name, value), *_ = best(score, 1)
    return f"{name} ({value:.2f}), effect {effect[pair(name)]:+.2f}"


matter = [i for i in range(TOP) if abs(top[i].effect) > 0.02]
at_s2 = [top[i].name for i in matter if acts_at[top[i].name] == "S2"]
inhibition = [
    top[i].name
    for i in matter
    if acts_at[top[i].name] == "END"
    and shares[i, keys.index("S2")] > 0.3
    and abs(swing[chosen[i]]) < 0.25 * abs(top[i].effect)
]
movers = [
    top[i].name
    for i in matter
    if shares[i, keys.index("IO")] > 0.3 and io_clean[chosen[i]].mean() > 0.25
]
suppressors = [
    top[i].name
    for i in matter
    if acts_at[top[i].name] == "END"
    and -s_clean[chosen[i]].mean() > max(io_clean[chosen[i]].mean(), 0.25)
]
negative = [top[i].name for i in matter if top[i].effect < 0]
blind = [
    name for name in hidden if to_both[pair(name)] > 0.5 and abs(effect[pair(name)]) < 0.05
]


def holds(found: list[str]) -> str:
    return ", ".join(found) if found else "not seen"


table(
    ["claim of the textbook story", "rule", "here"],
    [
        ("a head detects the duplicate at S2", "acts at S2, effect above 0.02", holds(at_s2)),
        (
            "a duplicate-token head",
            "strongest attention from S2 to S1",
            strongest(on_task["duplicate"]),
        ),
        (
            "an induction head",
            "strongest attention from S2 to S1+1",
            strongest(on_task["induction"]),
        ),
        (
            "S-inhibition: END looks at S2 and steers others",
            "looks at S2 by more than 0.3, direct part below a quarter",
            holds(inhibition),
        ),
        (
            "name movers: END looks at IO and copies it",
            "looks at IO by more than 0.3, adds more than 0.25 to it",
            holds(movers),
        ),
        ("negative heads", "effect below -0.02", holds(negative)),
        (
            "*not* in the story: END pushes S down directly",
            "acts at END, lowers S more than it raises IO",
            holds(suppressors),
        ),
        (
            "*not* in the story: both names are raised alike",
            "adds more than 0.5 to both, patching effect below 0.05",
            holds(blind),
        ),
    ],
)

# %%
lines = []
for i in matter:
    h, share = top[i], shares[i]
    k = int(share.argmax())
    others = [f"{b} ({x:.2f})" for a, b, x in links if a == h.name]
    by_looking, by_carrying = map(abs, routes[h.name])
    route = "where it looks" if by_looking > by_carrying else "what it carries"
    lines.append(
        f"- **{h.name}** ({h.effect:+.2f}) acts at {acts_at[h.name]} and looks from there "
        + (
            f"at {[*keys, 'elsewhere'][k]} ({share[k]:.2f})"
            if k < len(keys)
            else f"mostly at positions without a name ({share[k]:.2f})"
        )
        + f". Its effect comes from {route}; it {kind_of(i)}"
        + (f". It feeds {', '.join(others)}" if others else "")
        + "."
    )
if blind:
    lines.append(
        "- Hidden from patching: "
        + "; ".join(
            f"**{n}** adds {io_clean[pair(n)].mean():.1f} to the IO "
            f"and {s_clean[pair(n)].mean():.1f} to S"
            for n in blind
        )
        + "."
    )
explained = sum(float(swing[chosen[i]]) for i in matter)
Markdown(
    "**The story so far, as measured:**\n\n"
    + "\n".join(lines)
    + f"\n\nThe direct terms of these heads make up {explained:.0%} of the difference between the "
    "clean and the corrupted run. The rest passes through MLPs, through heads outside the "
    "list, or through the change of the final scale."
)

# %% [markdown]
# Compare it with notebook 04. Which of the rules there (*once*, *not last*) would a mechanism like this follow, and on which sentences must it fail? If your description of the circuit and the table of broken sentences do not agree, one of them is wrong.
#
# And compare it with GPT-2: change `MODEL` and run all. The two models do the same task on the same prompts. **The same behaviour does not mean the same mechanism.**
#
# ## 8. The log

# %%
log

# %% [markdown]
# ## 9. Exercises
#
# **Exercise 1.** Compute the mean attention of the strongest head (`chosen[0]`, a pair of layer and head) from END to S2 on the *corrupted* prompts.
#
# <details><summary>Hint</summary>
#
# `corrupted["pattern", layer]` is `[prompt, head, query, key]`; index it with `rows`, the head, `positions["END"]` and `positions["S2"]`.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# layer, head = chosen[0]
# attention = float(corrupted["pattern", layer][rows, head, positions["END"], positions["S2"]].mean())
# ```
#
# </details>

# %%
attention = ...

# %%
check(attention, looks(corrupted, *chosen[0], "END")[keys.index("S2")], tolerance=1e-4)

# %% [markdown]
# **Exercise 2.** Direct logit attribution from scratch, without `logit_attrs`: what does the *MLP of the last layer* add to the logit difference, mean over prompts? You need `cache["mlp_out", -1][:, -1]` (`[prompt, d_model]`), the scale `cache["scale"][:, -1]`, and the unembedding `model.W_U` (`[d_model, d_vocab]`). The model was loaded with its final norm folded into the unembedding, so the norm is: subtract the mean, divide by the scale.
#
# <details><summary>Hint</summary>
#
# The direction is `model.W_U[:, task.correct] - model.W_U[:, task.wrong]`, of the shape `[d_model, prompt]`.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# out = cache["mlp_out", -1][:, -1]
# normalised = (out - out.mean(-1, keepdim=True)) / cache["scale"][:, -1]
# direction = (model.W_U[:, task.correct] - model.W_U[:, task.wrong]).T
# last_mlp = float((normalised * direction).sum(-1).mean())
# ```
#
# </details>

# %%
last_mlp = ...

# %%
check(
    last_mlp,
    float(terms[part_names.index(f"{cfg.n_layers - 1}_mlp_out")].mean()),
    tolerance=1e-3,
)

# %% [markdown]
# **Exercise 3.** Which head, of all, attends most from S2+1 to S2? Write its name, such as `"1.5"`. Is it among the top heads, and what would it be for?
#
# <details><summary>Hint</summary>
#
# `scores` and `best` of section 3.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# looks_back = best(scores("S2+1", "S2"), 1)[0][0]
# ```
#
# </details>

# %%
looks_back = ...

# %%
back = scores("S2+1", "S2")
check(looks_back, f"{int(back.argmax()) // cfg.n_heads}.{int(back.argmax()) % cfg.n_heads}")

# %% [markdown]
# ## 10. Questions to take along
#
# 1. A head looks at the IO with 0.6 of its attention in the clean run and with 0.6 in the corrupted run. Can it be a name mover of this task? What does "the IO" mean in the corrupted prompt?
# 2. The direct terms of all parts add up to the logit difference, but the patching effects do not add up to 1. Why is the one exact and the other not?
# 3. You replace a head's pattern by hand and the answer changes. Have you shown that the model *uses* this pattern?
# 4. Write down, in three sentences, an algorithm that would give every number in this notebook. What is the cheapest experiment that could prove it wrong?
#
# ## Further
#
# - Next: [08 · Paths and ablation: who talks to whom](08_paths_and_ablation.ipynb).
# - Wang et al. (2022), [arXiv:2211.00593](https://arxiv.org/abs/2211.00593), section 3: the circuit of GPT-2 small, head by head.
# - Elhage et al. (2021), *A Mathematical Framework for Transformer Circuits*, [transformer-circuits.pub](https://transformer-circuits.pub/2021/framework/index.html): QK and OV circuits, composition, and why the residual stream may be read as a sum.
# - Olsson et al. (2022), *In-context Learning and Induction Heads*, [arXiv:2209.11895](https://arxiv.org/abs/2209.11895).
# - Heimersheim and Nanda (2024), [arXiv:2404.15255](https://arxiv.org/abs/2404.15255).
# - Method cards: [activation-patching.md](../docs/methods/activation-patching.md), [ablation.md](../docs/methods/ablation.md).
