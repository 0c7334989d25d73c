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
# # 08 · Paths and ablation: who talks to whom
#
# We have a list of heads, and we know where they look and what they write. A list is not yet a mechanism: a mechanism has *connections*. Notebook 07 showed that one head follows when another is made clean, but not through which input, and not whether anything stood between them. Here we cut single connections. At the end stands a drawing of the circuit, and then we try hard to break it.
#
# **What you will know afterwards**
#
# - path patching: what a part says directly to another, and what it says through the MLPs in between;
# - through which input (queries, keys, values) a head gets what it uses;
# - how to patch every edge of a small model, and how to read 1,519 effects at once;
# - what a corruption can hide, even from a complete list of edges;
# - pairs of heads: what a backup looks like, and what merely looks like one;
# - how to ask whether a circuit is *enough*, and how the answer depends on what stands in for the rest.
#
# **Time:** about 50 minutes; the cells run in half a minute on one core (GPT-2: plan for an hour). Method cards: [path-patching.md](../docs/methods/path-patching.md), [edges.md](../docs/methods/edges.md), [interventions.md](../docs/methods/interventions.md).

# %%
MODEL = "ioi-mini"  # or "gpt2", or the folder of a model of your own

# %%
import dataclasses
from io import BytesIO

import numpy as np
import torch
from course import Log, Markdown, check, show, table
from IPython.display import Image
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch

import cutaway as ca
from cutaway.evidence import bootstrap_mean, bootstrap_ratio
from cutaway.patching.ablation import random_heads
from cutaway.plotting import INK, NEGATIVE, POSITIVE, bars, heatmap

torch.set_grad_enabled(False)
model = ca.HookedTransformer.from_pretrained(MODEL)
cfg = model.cfg
graph = ca.Graph(cfg)
print(
    f"{cfg.model_name}: {len(graph.senders)} senders, {len(graph.receivers)} receivers, "
    f"{len(graph.edge_names)} edges"
)

# %% [markdown]
# A **sender** writes to the residual stream: the embedding, a head, an MLP. A **receiver** reads from it: the queries, keys or values of a head, an MLP, the logits. Every receiver reads the *sum* of all that was written before it, so there is an edge from each sender to each later receiver, used or not.
#
# We start from the five heads that notebook 06 found.


# %%
def named(effects: ca.Effects) -> dict[str, ca.Interval]:
    """Every effect with its interval, by its name, the largest first."""
    n = len(effects.clean)
    return {e.name: ca.Interval(e.effect, e.low, e.high, 0.95, n) for e in effects.ranked()}


def pair(name: str) -> tuple[int, int]:
    """ "1.5" as (1, 5)."""
    layer, head = map(int, name.split("."))
    return layer, head


def receiver(head: str, kind: str) -> str:
    """An input of a head; heads that share keys and values share the name."""
    layer, n = pair(head)
    return f"{layer}.{n if kind == 'q' else n // cfg.heads_per_group}.{kind}"


task = ca.tasks.ioi(model, n_prompts=64, corruption="s2-flip", seed=0)
fresh = ca.tasks.ioi(model, n_prompts=64, corruption="s2-flip", seed=1)
TOP = 5
heads = ca.sweep(model, task, "z")
whole = named(heads)
top = [head.name for head in heads.top(TOP)]
strongest = top[0]
table(["head", "effect [95% interval]"], [(name, whole[name]) for name in top])

# %% [markdown]
# ## 1. Predict
#
# In GPT-2 small (Wang et al. 2022) the name movers at the end write the answer *directly*, and earlier heads tell them where to look: they act on the **queries** of the name movers. MLPs, apart from the first, play a small part. Some heads are **backups**, which do more when others are gone. Change our guesses to yours.

# %%
log = Log()
log.expect(
    "direct",
    "Share of the strongest head's effect that it writes to the logits itself?",
    low=0.8,
    high=1.1,
    why="it acts at END, where the answer is read",
)
log.expect(
    "MLPs",
    "Largest change of any sender's direct effect if MLPs may answer?",
    low=0,
    high=0.05,
    why="MLPs play a small part",
)
log.expect(
    "input",
    "Through which input does the strongest head's effect come: q, k or v?",
    answer="q",
    why="name movers are told where to look",
)
log.expect(
    "few",
    "Edges with an effect above 0.02, of either sign?",
    low=5,
    high=40,
    why="circuits are sparse",
)
log.expect("again", "Of the ten strongest edges, how many come back?", low=8, high=10)
log.expect("modes", "Correlation of denoising and noising over the edges?", low=0.95, high=1)
log.expect(
    "hidden",
    "With another corruption: largest effect of any q or k?",
    low=0,
    high=0.05,
    why="if it is small with one, why not with another",
)
log.expect(
    "backup",
    "Largest interaction of the strongest head with another (positive: backup)?",
    low=0.05,
    why="GPT-2 has backups",
)
log.expect("alone", "Share of the answer that the five heads keep alone?", low=0.9, high=1.1)
log.expect(
    "speaks",
    "Mean log probability of the right name from them alone (mean ablation)?",
    low=-1,
    high=0,
    why="if the difference is there, so is the name",
)
log

# %% [markdown]
# ## 2. Who talks to the logits?
#
# **Path patching.** In the corrupted run, replace what one sender writes by its clean value. But let only *one receiver* see the change: everything else keeps its corrupted value. Then the effect is that of the one connection.
#
# What "everything else" means is a choice, and papers differ:
#
# - `mlps="frozen"`: heads and MLPs are all held. Only the direct edge is left.
# - `mlps="recomputed"`: heads are held, and MLPs between sender and receiver may answer to the change. This is the default in the code of the IOI paper. The path then is "sender, directly or by way of MLPs".

# %%
direct = ca.sweep_paths(model, task, ["logits"])
with_mlps = ca.sweep_paths(model, task, ["logits"], mlps="recomputed")
frozen, recomputed = named(direct), named(with_mlps)
writers = [name.removesuffix("->logits") for name in frozen][:8]
listed = list(dict.fromkeys([*writers, *top]))
table(
    ["sender", "whole effect", "straight to the logits", "... or by way of MLPs"],
    [
        (name, whole.get(name, ""), frozen[f"{name}->logits"], recomputed[f"{name}->logits"])
        for name in listed
    ],
)

# %%
start = graph.senders.index(graph.sender(strongest))
share = bootstrap_ratio(direct.per_prompt[start, 0], heads.per_prompt[pair(strongest)])
log.observe("direct", ca.Interval(*map(float, share), 0.95, len(task)))
gap = with_mlps.normalised()[:, 0] - direct.normalised()[:, 0]
widest = int(np.abs(gap).argmax())
log.observe("MLPs", float(np.abs(gap).max()))
print(f"(it is {graph.senders[widest].name})")

# %% [markdown]
# The second column of numbers is the cleaner question, the third is closer to what a reader of "head A writes the answer" has in mind. Neither is wrong. But a drawing must say which of the two its lines are, and a comparison with published figures must use the convention of the paper.
#
# Two checks that cost nothing. What comes after a head of the *last* layer is only its MLP and the logits, so its path with MLPs recomputed must be its whole effect. And a head that matters little must show little here too.

# %%
last = [f"{cfg.n_layers - 1}.{h}" for h in range(cfg.n_heads)]
worst = max(abs(recomputed[f"{h}->logits"].estimate - whole[h].estimate) for h in last)
inert = heads.ranked()[-1].name
print(f"last layer: path with MLPs less whole effect, at most {worst:.1e}")
print(f"the head with the least effect, {inert}: {frozen[f'{inert}->logits'].estimate:+.4f}")

# %% [markdown]
# ## 3. Through which input?
#
# A head has three inputs. Its queries and keys decide where it looks; its values are what it carries. Replace each by itself. (In notebook 07 we replaced the pattern, which is queries and keys together.)

# %%
by_input = {kind: ca.sweep(model, task, kind) for kind in "qkv"}
inputs = {kind: named(effects) for kind, effects in by_input.items()}


def input_effect(head: str, kind: str) -> ca.Interval:
    return inputs[kind][receiver(head, kind).removesuffix(f".{kind}")]


table(
    ["head", "whole", "queries", "keys", "values"],
    [(h, whole[h], *(input_effect(h, kind) for kind in "qkv")) for h in top],
)

# %%
log.observe("input", max("qkv", key=lambda kind: abs(input_effect(strongest, kind).estimate)))

# %% [markdown]
# If everything is in the last column, nobody is told where to look: the heads look at the same places in both runs, and find something else there. What they find, earlier parts have put there. Who? Each column below is one input, and the numbers are the direct edges into it.

# %%
into = [receiver(h, "v") for h in top]
to_values = ca.sweep_paths(model, task, into)
values = to_values.normalised()  # [sender, receiver]
senders = list(to_values.axes[0].labels)
busy = [i for i in range(len(senders)) if np.abs(values[i]).max() > 0.01] or [0]
heatmap(
    values[busy],
    [senders[i] for i in busy],
    into,
    "Direct edges into the values of the top heads",
    row_axis="sender",
    column_axis="receiver",
    value_label="normalised effect",
)

# %% [markdown]
# ### A path is more than its edges
#
# Compare the direct edge of an early head with its path when MLPs may answer, and with *sets* of senders. A set is replaced together; `["0.5", "mlp0"]` is one entry with two members.

# %%
reader = next((h for h in top if pair(h)[0] > 0), last[0])  # the strongest that heads can reach
target = receiver(reader, "v")
reaching = named(ca.sweep_paths(model, task, [target]))
first, second, third = [name.split("->")[0] for name in list(reaching)[:3]]
starts = [first, second, third, [first, second], [first, second, third]]
through = {
    mlps: named(ca.sweep_paths(model, task, [target], starts, mlps=mlps))
    for mlps in ("frozen", "recomputed")
}
table(
    [f"sent to {target} by", "everything else frozen", "MLPs recomputed"],
    [
        (name.removesuffix(f"->{target}"), through["frozen"][name], through["recomputed"][name])
        for name in ("+".join([s] if isinstance(s, str) else s) + f"->{target}" for s in starts)
    ]
    + [("*the input as a whole*", input_effect(reader, "v"), "")],
)

# %% [markdown]
# Three things to see here. A head whose direct edge is small may be a main source all the same, if an MLP passes its message on. The effects of a set are not the sum of its members' (the normalisation in front of the receiver divides by the length of the whole input, and the rest of the model is not linear). And when *all* that a receiver reads has been replaced, we must arrive at the effect of the whole input: compare the last two rows.
#
# ### At which position?
#
# A path can be cut at one position too. What reaches the receiver at each named position?

# %%
names = list(task.positions)
source = [first, second, third]
at_position = {
    p: ca.sweep_paths(model, task, [target], [source], positions=[p]).top(1)[0] for p in names
}
table(
    [f"{'+'.join(source)} to {target}, put in at", "effect"],
    [
        (p, ca.Interval(e.effect, e.low, e.high, 0.95, len(task)))
        for p, e in at_position.items()
    ],
)

# %% [markdown]
# ## 4. Every edge
#
# So far we chose where to look. Now all edges, one at a time: with everything else frozen, exactly. On a small model this takes seconds. On a large one we restrict ourselves to the inputs of the top heads and the logits.

# %%
EVERY = len(graph.edge_names) <= 5_000
ends = None if EVERY else [*dict.fromkeys(receiver(h, k) for h in top for k in "qkv"), "logits"]
if not EVERY:
    small, small_fresh = (ca.tasks.ioi(model, n_prompts=16, seed=seed) for seed in (0, 1))
one, other = (task, fresh) if EVERY else (small, small_fresh)
edges = ca.sweep_edges(model, one, ends)
edges_again = ca.sweep_edges(model, other, ends)
edges_noised = ca.sweep_edges(model, one, ends, mode="noising")
found, again, noised = map(named, (edges, edges_again, edges_noised))
table(
    ["edge", "denoising", "other prompts", "noising"],
    [(name, found[name], again[name], noised[name]) for name in list(found)[:15]],
)

# %% [markdown]
# ### Many effects at once
#
# Among 1,500 intervals at 95%, about 75 would exclude 0 even if no edge did anything. Two guards: ask for a least *size* (0.02, as in notebook 06), stated beforehand; and look at prompts that had no part in the choice.

# %%
LEAST = 0.02
effect, low, high = edges.interval()
clear = (low > 0) | (high < 0)
large = np.abs(effect) > LEAST
print(f"edges:                        {len(effect)}")
print(
    f"intervals that exclude 0:     {int(clear.sum())} (by chance alone: {0.05 * len(effect):.0f})"
)
print(f"... and above {LEAST}:           {int((clear & large).sum())}")
log.observe("few", int((clear & large).sum()))
log.observe("again", len(set(list(found)[:10]) & set(list(again)[:10])))
log.observe("modes", float(np.corrcoef(effect, edges_noised.normalised())[0, 1]), digits=4)

# %% [markdown]
# Many intervals exclude 0, more than chance explains, and nearly all of them are tiny. That is what to expect: in a trained network almost nothing is *exactly* zero, and with 64 prompts we can see effects of a thousandth. An interval answers "is it there?", and only a size answers "does it matter?".
#
# ### The drawing
#
# Layers from bottom to top; blue restores the answer, orange works against it; the width is the effect. The letter on a line is the input that it goes into.


# %%
def node(name: str) -> str:
    return name.rsplit(".", 1)[0] if name[-1] in "qkv" and "." in name else name


def level(name: str) -> int:
    """Height of a node: embedding, then heads and MLP of each layer, then the logits."""
    if name in ("embed", "logits"):
        return 0 if name == "embed" else 2 * cfg.n_layers + 1
    return 2 * int(name[3:]) + 2 if name.startswith("mlp") else 2 * pair(name)[0] + 1


def draw(shown: dict[str, float], title: str) -> Image:
    """The graph of some edges, "sender->receiver" with their effects."""
    links = [(*edge.split("->"), value) for edge, value in shown.items()]
    nodes = sorted(
        {node(end) for a, b, _ in links for end in (a, b)}, key=lambda n: (level(n), n)
    )
    heights = {h: i for i, h in enumerate(sorted({level(n) for n in nodes}))}
    place = {}
    for h, y in heights.items():
        row = [n for n in nodes if level(n) == h]
        # MLPs stand on the left; heads drift to the right, so that long lines pass beside them.
        drift = 1.0 * (h - 1) / (2 * cfg.n_layers) + 0.1
        for i, n in enumerate(row):
            spread = 1.6 * (i - (len(row) - 1) / 2)
            x = (
                -2.2
                if n.startswith("mlp")
                else -0.3
                if n in ("embed", "logits")
                else drift + spread
            )
            place[n] = (x, y)
    figure = Figure(figsize=(7.4, 0.8 * len(heights) + 0.5), layout="constrained")
    axes = figure.add_subplot()
    most = max(abs(value) for *_, value in links)
    for a, b, value in sorted(links, key=lambda link: abs(link[2])):
        (x0, y0), (x1, y1) = place[node(a)], place[node(b)]
        bend = 0.0 if y1 - y0 == 1 else (0.2 if x1 >= x0 else -0.2)
        colour = POSITIVE if value > 0 else NEGATIVE
        arrow = FancyArrowPatch(
            (x0, y0), (x1, y1), connectionstyle=f"arc3,rad={bend}", arrowstyle="-",
            linewidth=0.6 + 9 * abs(value) / most, color=colour, alpha=0.75, zorder=1,
            shrinkA=13, shrinkB=13,
        )  # fmt: skip
        axes.add_patch(arrow)
        kind = b[-1] if b[-1] in "qkv" else ""
        # A point on the curve, a quadratic Bezier as arc3 draws it; where it is marked keeps labels apart.
        cx, cy = (x0 + x1) / 2 + bend * (y1 - y0), (y0 + y1) / 2 - bend * (x1 - x0)
        t = 0.35 if y1 - y0 == 1 else 0.42 if y1 - y0 > 3 or abs(x1 - x0) > 2.5 else 0.6
        x, y = (
            (1 - t) ** 2 * p + 2 * t * (1 - t) * c + t * t * q
            for p, c, q in ((x0, cx, x1), (y0, cy, y1))
        )
        label = f"{kind} {value:+.2f}".strip().replace("-", "−")
        axes.text(
            x, y, label, fontsize=7.5, color=INK, ha="center", va="center", zorder=3,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.85},
        )  # fmt: skip
    for n, (x, y) in place.items():
        axes.text(
            x, y, n, fontsize=10, color=INK, ha="center", va="center", zorder=4,
            bbox={"facecolor": "white", "edgecolor": INK, "boxstyle": "round,pad=0.35"},
        )  # fmt: skip
    xs = [x for x, _ in place.values()]
    axes.set_xlim(min(xs) - 0.9, max(xs) + 0.9)
    axes.set_ylim(-0.5, len(heights) - 0.5)
    axes.set_axis_off()
    axes.set_title(title, loc="left", fontsize=11, color=INK)
    data = BytesIO()
    figure.savefig(data, format="png", dpi=110)
    return Image(data=data.getvalue())


strong = {
    name: i.estimate
    for name, i in found.items()
    if abs(i.estimate) > LEAST and (i.low > 0 or i.high < 0)
}
strong = dict(list(strong.items())[:25]) or {
    next(iter(found)): next(iter(found.values())).estimate
}
draw(strong, f"Edges with an effect above {LEAST} ({cfg.model_name}, s2-flip)")

# %% [markdown]
# Read it from below. The name at S2 enters, passes through the first layer's heads and MLP, is picked up by a head that looks at S2 from END, and goes to the logits: partly by itself, partly through the last layer. On `ioi-mini` all lines into heads go to values. Nobody here says "look elsewhere"; the message itself is passed on.
#
# ### Edges do not add up
#
# It is tempting to read the widths as a flow that is divided at each node. Does what goes into a head equal what it does, and what comes out of it?

# %%
totals = []
for h in top:
    out = sum(i.estimate for name, i in found.items() if name.startswith(f"{h}->"))
    inside = sum(
        i.estimate for name, i in found.items() if name.endswith(f"->{receiver(h, 'v')}")
    )
    totals.append((h, whole[h].estimate, input_effect(h, "v").estimate, inside, out))
table(
    ["head", "effect of z", "effect of v", "sum of the edges into v", "sum of the edges out"],
    totals,
    digits=3,
)

# %% [markdown]
# Close, but not equal, and in a less linear model not even close. An edge's effect is what *this one* change does while all the others stay as they are. Two senders that must agree, or a receiver that needs only one of two, make sums meaningless. (If edges were left out on a large model, the sums are too small for that reason alone.)
#
# ## 5. What the corruption hides
#
# 1,519 edges, all exact: is anything left to find? Yes, everything that is *the same in both runs*. `s2-flip` exchanges one of the two names for the other, so S2 always holds a name that has been there before. A head that asks "has this name been there before?" gives the same answer in both runs, and has no effect.
#
# With `random-name` a third name stands at S2. Then that question has another answer. Here are the queries and keys again, noising: is the answer lost without them?

# %%
random_name = ca.tasks.ioi(model, n_prompts=64, corruption="random-name", seed=0)
gates = {}
for kind in "qk":
    for name, i in named(ca.sweep(model, random_name, kind, mode="noising")).items():
        gates[f"{name}.{kind}"] = i
flip_gates = {
    f"{name}.{kind}": i
    for kind in "qk"
    for name, i in named(ca.sweep(model, task, kind, mode="noising")).items()
}
ranked_gates = sorted(gates, key=lambda name: -abs(gates[name].estimate))
table(
    ["input", "s2-flip, noising", "random-name, noising"],
    [(name, flip_gates[name], gates[name]) for name in ranked_gates[:6]],
)

# %%
log.observe("hidden", abs(gates[ranked_gates[0]].estimate))
gate = next((name for name in ranked_gates if name.endswith(".q")), ranked_gates[0])
gate_layer, gate_head, _ = gate.split(".")
at, n = int(gate_layer), int(gate_head)
rows, end = torch.arange(64), task.positions["END"]
hook = ca.get_act_name("pattern", at)
looked = {}
for label, tokens in (
    ("clean", task.clean),
    ("s2-flip", task.corrupted),
    ("random-name", random_name.corrupted),
    ("swap", ca.tasks.ioi(model, n_prompts=64, corruption="swap", seed=0).corrupted),
    ("abc", ca.tasks.ioi(model, n_prompts=64, corruption="abc", seed=0).corrupted),
):
    _, run = model.run_with_cache(tokens, names_filter=hook)
    looked[label] = run[hook][rows, n, end]  # [prompt, key]
favourite = {name: float(looked["clean"][rows, i].mean()) for name, i in task.positions.items()}
where = max(favourite, key=favourite.get)
shares = {
    label: bootstrap_mean(attention[rows, task.positions[where]].double().numpy())
    for label, attention in looked.items()
}
table(
    [
        f"{at}.{n} from END",
        f"share of its attention on {where}, where it looks most when clean",
    ],
    list(shares.items()),
)

# %% [markdown]
# On `ioi-mini` this is a discovery. Head 3.6 rests on END itself when the name at S2 has occurred before, and lets go when it has not. It is a **gate**: it lets something through only for a repeated name. The last two rows test this. With `swap` both names are exchanged everywhere, so S2 still repeats one, and the gate must stay open; with `abc` there are three different names, and it must close. With `s2-flip` the gate is open in both runs, and no sweep over that pair of runs, of however many edges, could have shown that there is one.
#
# Who works the gate?

# %%
gate_paths = {
    mlps: named(ca.sweep_paths(model, random_name, [gate], mlps=mlps, mode="noising"))
    for mlps in ("frozen", "recomputed")
}
movers = list(
    dict.fromkeys([*list(gate_paths["frozen"])[:3], *list(gate_paths["recomputed"])[:3]])
)
table(
    [f"path to {gate} (random-name, noising)", "frozen", "MLPs recomputed"],
    [(name, gate_paths["frozen"][name], gate_paths["recomputed"][name]) for name in movers],
    digits=3,
)

# %% [markdown]
# Here the two conventions tell different stories. With everything frozen, the MLPs work the gate, and the strongest head has next to nothing to do with it. With MLPs recomputed, that head is the main source. Both are true: it speaks to the MLPs, and they compute from what it says something that the gate can read. If you draw only frozen edges, draw the MLPs too.
#
# ### AND: why one direction is not enough
#
# Now the same inputs one by one and together, in both directions.

# %%
kinds = {"q": "q", "k": "k", "v": "v", "q+k": "qk", "q+k+v": "qkv"}
gate_units = {kind: n if kind == "q" else n // cfg.heads_per_group for kind in "qkv"}
runs = {
    label: [ca.Intervention(kind, at, units=gate_units[kind]) for kind in chosen]
    for label, chosen in kinds.items()
}
directions = {
    mode: named(ca.intervene(model, random_name, runs, mode=mode))
    for mode in ("denoising", "noising")
}
table(
    [f"inputs of {at}.{n} (random-name)", "denoising: enough?", "noising: needed?"],
    [(label, directions["denoising"][label], directions["noising"][label]) for label in runs],
    digits=3,
)

# %% [markdown]
# The clean queries alone bring nothing back, since the keys and values are still those of the wrong run; without them, something is lost. The head computes an AND of its inputs: *what is there* and *whether it may pass*. Denoising one leg of an AND shows nothing. It is the reason why "we patched it and nothing happened" is not "it is not used".
#
# ### The other half of the task
#
# There is a second thing that `s2-flip` cannot show, and that the logit difference cannot either: who makes the answer one of *these two names*, and not any other word? Take the corruption `abc` (three other names) and, as metric, the log probability of the IO.

# %%
abc = ca.tasks.ioi(model, n_prompts=64, corruption="abc", seed=0)


def by_probability(t: ca.Task) -> ca.Task:
    """The task with the log probability of the right name, in nats, as its metric."""
    metric = ca.tasks.LogProbability.at(t.positions["END"], t.correct, t.wrong)
    return dataclasses.replace(t, metric=metric)


names_direct = named(ca.sweep_paths(model, by_probability(abc), ["logits"]))
name_heads = [
    name.removesuffix("->logits")
    for name, i in names_direct.items()
    if i.low > 0.05 and "." in name and name.removesuffix("->logits") not in top
][:6]
table(
    ["sender", "to the logits: s2-flip, difference", "to the logits: abc, log probability"],
    [(s, frozen[f"{s}->logits"], names_direct[f"{s}->logits"]) for s in [*name_heads, *top]],
)

# %% [markdown]
# The heads above the line that s2-flip drew are here at the top: they write *both* names, and so they cancel in the difference. (Notebook 07 met them as "both names are raised alike".) Remember them; they will decide section 7.
#
# ## 6. Backups
#
# Take heads away in *pairs*, and compare with the sum of both alone. The **interaction** is what the pair does beyond that sum, here with corrupted values put into the clean run, on fresh prompts.
#
# - **Negative**: they are stages of one path; cutting it twice does not cut it more.
# - **Positive**: losing both hurts more than the sum, as if each could do the other's work.

# %%
writer = max(
    (h for h in top if whole[h].estimate > 0),
    key=lambda h: frozen[f"{h}->logits"].estimate,
    default=strongest,
)
more = [h.name for h in heads.ranked() if h.name not in top and pair(h.name)[0] >= 1][:3]
members = list(dict.fromkeys([*top, *more, inert]))
pairs_patched = ca.sweep_pairs(model, fresh, members, value="patch")
beyond, beyond_low, beyond_high = ca.interaction(pairs_patched)
lower = np.where(np.tril(np.ones_like(beyond), -1) > 0, beyond, np.nan)
heatmap(
    lower[1:, :-1],
    members[1:],
    members[:-1],
    "Interaction of two heads (corrupted values, noising)",
    value_label="share of the difference",
)

# %%
w = members.index(writer)
alone = pairs_patched.normalised()
partners = [i for i in range(len(members)) if i != w]
ordered = sorted(partners, key=lambda i: -beyond[w, i])
table(
    [f"{writer} and", "alone", "sum of both", "together", "interaction"],
    [
        (
            members[i],
            float(alone[i, i]),
            float(alone[i, i] + alone[w, w]),
            float(alone[w, i]),
            ca.Interval(beyond[w, i], beyond_low[w, i], beyond_high[w, i], 0.95, len(fresh)),
        )
        for i in ordered
    ],
    digits=3,
)

# %%
log.observe(
    "backup",
    ca.Interval(
        *(float(x[w, ordered[0]]) for x in (beyond, beyond_low, beyond_high)), 0.95, len(fresh)
    ),
)
backup = members[ordered[0]]
later = [i for i in ordered if pair(members[i])[0] > pair(writer)[0]] or ordered
chain = members[later[-1]]  # the later head that the writer shares most with

# %% [markdown]
# ### Is it a backup, or arithmetic?
#
# A positive interaction is a hint and no more. The final normalisation divides by the length of the stream: take away something large, and *everything* else is worth more. That is arithmetic, and no head has done anything. A backup in the strict sense **changes its own output** when the other is gone. So measure that: what each head adds to the logit difference directly (as in notebook 07), before and after the writer is knocked out. The last rows are the control: the inert head is knocked out in its place.

# %%
kept = [ca.get_act_name("z", layer) for layer in range(cfg.n_layers)]
kept += [name for name in ("ln_final.hook_scale",) if name in model.hook_dict]
kept += [ca.get_act_name("resid_post", cfg.n_layers - 1)]


def record(texts, hooks=()):
    with model.hooks(list(hooks)):
        _, cache = model.run_with_cache(list(texts), padding_side="left", names_filter=kept)
    return cache


corrupted_run = record(fresh.corrupted_text)


def knocked_out(head: str, how: str):
    """A hook that replaces a head's z, by its corrupted value or by zeros."""
    layer, h = pair(head)

    def replace(act, hook):
        act[:, :, h] = 0 if how == "zeros" else corrupted_run[hook.name][:, :, h]
        return act

    return ca.get_act_name("z", layer), replace


def direct_terms(cache) -> np.ndarray:
    """What each head adds to the logit difference directly, [layer, head, prompt]."""
    stack = cache.stack_head_results(pos_slice=-1)
    terms = cache.logit_attrs(stack, fresh.correct, fresh.wrong, pos_slice=-1)
    return terms.reshape(cfg.n_layers, cfg.n_heads, len(fresh)).double().numpy()


def mean_scale(cache) -> float:
    name = "ln_final.hook_scale"
    return float(cache[name][:, -1].mean()) if name in model.hook_dict else 1.0


clean_run = record(fresh.clean_text)
before, scale_before = direct_terms(clean_run), mean_scale(clean_run)
lines, shown = [], list(dict.fromkeys([backup, chain, inert]))
for gone, how in ((writer, "corrupted"), (writer, "zeros"), (inert, "corrupted")):
    run = record(fresh.clean_text, [knocked_out(gone, how)])
    after = direct_terms(run)
    for h in shown:
        if h != gone:
            lines.append(
                (
                    f"{gone}: {how}",
                    h,
                    float(before[pair(h)].mean()),
                    float(after[pair(h)].mean()),
                    bootstrap_mean(after[pair(h)] - before[pair(h)]),
                    mean_scale(run) / scale_before,
                )
            )
table(
    ["knocked out", "head", "adds before", "adds after", "change, in logits", "final scale"],
    lines,
)

# %%
edge_between = next(
    (
        f"{writer}->{receiver(backup, kind)}: {found[f'{writer}->{receiver(backup, kind)}']}"
        for kind in "vqk"
        if f"{writer}->{receiver(backup, kind)}" in found
    ),
    "no edge between them was patched",
)
lost = -float(pairs_patched.per_prompt[w, w].mean())
response = next(
    line[4] for line in lines if line[0] == f"{writer}: corrupted" and line[1] == backup
)
print(f"edge {edge_between}")
print(f"{writer} corrupted: {lost:+.2f} logits; {backup} answers with {response.estimate:+.2f}")

# %% [markdown]
# On `ioi-mini` three measurements of different kinds agree about 1.2 and 2.7. The interaction is positive. The edge 1.2→2.7.v is *negative*: what 1.2 says holds 2.7 back. And when 1.2 is corrupted, 2.7 adds three times as much as before, which the change of the final scale (two parts in a hundred) cannot explain. So 2.7 does more when 1.2 fails. Section 9 tries to refute it.
#
# But look at the sizes, and at the second block. 2.7 gives back less than one logit of more than ten. And with zeros in place of 1.2 it answers much less: it reacts to a *wrong* message more than to a missing one. That is not a spare copy of the mechanism that waits for its turn. It fits a *damper*: a part of what 2.7 writes is a negative copy of what it hears from 1.2, whatever that is. McDougall et al. (2023) found that some of what looks like self-repair in GPT-2 is of this kind: heads that hold others back, and have nothing to hold back once those are gone.
#
# The later head with the most negative interaction (3.6 here) reads the writer: the chain of the drawing. When the writer is corrupted, its own term turns round.
#
# ### A positive interaction that is no backup
#
# The same matrix with **mean ablation**, between the strongest heads and those that write both names. Look at the columns "alone".

# %%
reference = ca.tasks.ioi(model, n_prompts=256, corruption="abc", seed=0)
mean = ca.values.Mean(reference)
against = list(dict.fromkeys([*top[:2], *name_heads[:2], inert]))
mean_pairs = ca.sweep_pairs(model, fresh, against, value=mean)
mean_beyond = ca.interaction(mean_pairs)
single = mean_pairs.normalised()
table(
    ["pair", "first alone", "second alone", "together", "interaction"],
    [
        (
            f"{against[i]} and {against[j]}",
            float(single[i, i]),
            float(single[j, j]),
            float(single[i, j]),
            ca.Interval(*(float(x[i, j]) for x in mean_beyond), 0.95, len(fresh)),
        )
        for i in range(len(against))
        for j in range(i)
    ],
)

# %% [markdown]
# Heads that write both names have a *negative* effect alone: without them the difference grows, because the stream gets shorter, the normalisation divides by less, and all that is left counts for more. With the answer half gone there is less to be multiplied, so the pair loses more than the sum. The interaction is positive and its interval far from 0, and nobody backs up anybody. An interaction says that two things are not independent. What they have to do with each other takes another experiment.
#
# ## 7. Is the circuit enough?
#
# Until now parts were taken away. Now keep *only* the circuit, and replace every other head. MLPs stay. What is put in place of the rest is a question by itself:
#
# - **corrupted values** (`patch`): do these heads carry the whole *difference* between the two runs?
# - **mean over other names**: can these heads do the task when the others know nothing of the names?

# %%
circuit = [h for h in top if whole[h].estimate > 0] or top[:1]


def only(chosen, value) -> list[ca.Intervention]:
    """Every head outside `chosen` replaced."""
    inside = {pair(h) if isinstance(h, str) else tuple(h) for h in chosen}
    rest = {
        layer: [h for h in range(cfg.n_heads) if (layer, h) not in inside]
        for layer in range(cfg.n_layers)
    }
    return [ca.Intervention("z", layer, value, units=out) for layer, out in rest.items() if out]


N_SETS = 20
cases = {"the circuit": circuit}
if name_heads:
    cases["the circuit and the name heads"] = [*circuit, *name_heads]
drawn = random_heads(model, len(circuit), N_SETS, exclude=circuit, seed=0)
cases |= {f"random {i}": list(some) for i, some in enumerate(drawn)}


def alone_with(t: ca.Task, value) -> ca.Effects:
    return ca.intervene(
        model, t, {name: only(c, value) for name, c in cases.items()}, mode="noising"
    )


said = by_probability(fresh)
results = {
    "corrupted: difference": alone_with(fresh, "patch"),
    "mean: difference": alone_with(fresh, mean),
    "mean: log probability": alone_with(said, mean),
}
n_named = len(cases) - N_SETS


def best_random(r: ca.Effects) -> float:
    return float(r.patched[n_named:].mean(-1).max())


table(
    ["heads that are left", *results],
    [
        ("all", *(bootstrap_mean(r.clean) for r in results.values())),
        *(
            (name, *(bootstrap_mean(r.patched[i]) for r in results.values()))
            for i, name in enumerate(list(cases)[:n_named])
        ),
        (
            f"{N_SETS} random sets of {len(circuit)}: mean",
            *(float(r.patched[n_named:].mean()) for r in results.values()),
        ),
        ("the best of them", *(best_random(r) for r in results.values())),
    ],
)

# %%
lost_share, lost_low, lost_high = (
    float(x[0]) for x in results["corrupted: difference"].interval()
)
log.observe("alone", ca.Interval(1 - lost_share, 1 - lost_high, 1 - lost_low, 0.95, len(fresh)))
log.observe("speaks", bootstrap_mean(results["mean: log probability"].patched[0]))

# %% [markdown]
# Read the row of the circuit from left to right. With corrupted values outside, the five heads of `ioi-mini` keep nearly all of the difference, and no random set keeps any of it: by this test the circuit is complete. With means outside, the difference is even *larger* than in the whole model, a "faithfulness" of more than 100%. And then the last column: the probability of the right name has fallen to that of a random set. **The circuit knows which of the two names it is not, and cannot say either.** Put the heads that write both names back, and it can.
#
# Nothing was wrong with the measurements before. The corruption asked "what carries the difference between the two roles?", and was answered. The claim "these heads do IOI" needs more than that.
#
# ### Leave one out
#
# From the circuit with the name heads, leave out one head at a time. Does each one earn its place, and at which of the two jobs?

# %%
full = [*circuit, *name_heads]
left_out = {
    "difference": ca.leave_one_out(model, fresh, full, "patch"),
    "log probability": ca.leave_one_out(model, said, full, mean),
}
labels = left_out["difference"].axes[0].labels
table(
    ["left out", "corrupted outside: difference", "mean outside: log probability of the IO"],
    [
        (label, *(bootstrap_mean(r.patched[i]) for r in left_out.values()))
        for i, label in enumerate(labels)
    ],
)

# %%
r = left_out["difference"]
points = [bootstrap_mean(row) for row in r.patched]
bars(
    [f"without {label}" if label != "none" else "the circuit" for label in labels],
    [p.estimate for p in points],
    "The circuit, and without each of its heads",
    low=[p.low for p in points],
    high=[p.high for p in points],
    value_label="mean logit difference (corrupted values outside)",
    reference=best_random(results["corrupted: difference"]),
    reference_label="best random set",
)

# %% [markdown]
# Two jobs, and one early head (0.5) does both. Among the name heads of `ioi-mini` only one is missed when it goes alone; the others stand in for each other, and by a strict reading of "minimal" they should go. Try which of them you can leave out together.
#
# ## 8. Break things on purpose
#
# **A set that talks to itself.** Several receivers can be one entry. All their inputs are put in at once, and each is what the *senders* make of it. So if one receiver reads another, it no longer hears from it. Put in the values of a later head together with those of an earlier one, and the effect *falls*, although more was patched:

# %%
late = next((h for h in [*top, *last] if pair(h)[0] > pair(reader)[0]), None)
if late is not None:
    sets = [target, [target, receiver(late, "v")]]
    for name, i in named(ca.sweep_paths(model, task, sets, [source])).items():
        print(f"{name:<32} {i}")
try:
    ca.sweep_paths(model, task, [["logits", target]])
except ValueError as error:
    print(f"\nValueError: {error}")

# %% [markdown]
# The same happens to `"logits"` in a set, only completely: what the logits read would be fixed, and nothing else could be heard. This is refused. A set of receivers is for heads of one kind that do *not* read each other, like the name movers of one layer.
#
# **Edges from eight prompts.** Choose edges by their interval alone, with few prompts, and look for them again in the others. No model is run for this; `Effects` keeps every prompt.


# %%
def subset(effects: ca.Effects, prompts: slice) -> ca.Effects:
    """The same measurement on some of its prompts."""
    return dataclasses.replace(
        effects,
        patched=effects.patched[..., prompts],
        clean=effects.clean[prompts],
        corrupted=effects.corrupted[prompts],
    )


half_size = min(8, len(one) // 2)
few_effect, few_low, few_high = subset(edges, slice(half_size)).interval()
rest_effect, rest_low, rest_high = subset(edges, slice(half_size, None)).interval()
chosen = (few_low > 0) | (few_high < 0)
size = np.abs(few_effect) > LEAST
same = np.sign(few_effect) == np.sign(rest_effect)
holds = same & ((rest_low > 0) | (rest_high < 0))


def outcome(which: np.ndarray) -> tuple[int, int, str]:
    count = int(which.sum())
    return count, int((which & holds).sum()), f"{(holds[which].mean() if count else 0):.0%}"


table(
    [f"chosen on {half_size} prompts", "edges", "found again in the others", "share"],
    [
        ("the interval excludes 0, below 0.02", *outcome(chosen & ~size)),
        ("the interval excludes 0, above 0.02", *outcome(chosen & size)),
    ],
)

# %% [markdown]
# Percentile intervals from few prompts are too narrow (with eight there are few different resamples, and extremes are never drawn), and of the small effects that they let through about half are not found again. All of the large ones are: size is the better filter of the two.
#
# ## 9. What would change my mind
#
# A claim that nothing could refute is no finding. For each of ours: what it rests on, and what would end it.

# %%
main = ", ".join(list(found)[:5])
table(
    ["claim", "rests on", "would be refuted by"],
    [
        (
            f"the answer travels along {main}",
            f"denoising, noising and other prompts agree "
            f"(r = {np.corrcoef(effect, edges_noised.normalised())[0, 1]:.3f})",
            "other edges on the held-out templates, or on pairs of names never seen",
        ),
        (
            f"{gate} is a gate for repeated names",
            f"{show(gates[gate])} with random-name, {show(flip_gates[gate])} with s2-flip; "
            "open with swap, closed with abc",
            "other templates where it stays closed although the name is repeated",
        ),
        (
            f"{backup} backs up {writer}",
            f"its own term changes by {show(response)} logits when {writer} is corrupted",
            "no harm when it is held at its clean value meanwhile",
        ),
        (
            f"{len(circuit)} heads carry the difference",
            f"they keep {1 - lost_share:.0%} alone; the best of {N_SETS} random sets has "
            f"{show(best_random(results['corrupted: difference']), 1)} logits",
            "a smaller set that keeps as much",
        ),
    ],
)

# %% [markdown]
# The third line can be tried at once: freeze 2.7 (whichever head it is in your model) at its clean value while the writer is corrupted. If it helps by answering, the answer must now get *worse*.

# %%
layer, h = pair(backup)
with_backup = ca.Intervention("z", pair(writer)[0], "patch", units=pair(writer)[1])
frozen_backup = ca.Intervention("z", layer, "freeze", units=h)
layer_i, h_i = pair(inert)
frozen_inert = ca.Intervention("z", layer_i, "freeze", units=h_i)
tried = ca.intervene(
    model,
    fresh,
    {
        f"{writer} corrupted": [with_backup],
        f"... and {backup} frozen": [with_backup, frozen_backup],
        f"... and {inert} frozen (control)": [with_backup, frozen_inert],
    },
    mode="noising",
)
base = tried.patched[0]
table(
    ["run", "mean logit difference", "change"],
    [
        (name, bootstrap_mean(row), bootstrap_mean(row - base) if i else "")
        for i, (name, row) in enumerate(zip(tried.axes[0].labels, tried.patched))
    ],
)

# %% [markdown]
# ## 10. The log

# %%
log

# %%
INPUT_NAMES = {"q": "queries", "k": "keys", "v": "values"}
Markdown(
    f"**What this notebook found.** Strongest edges: "
    f"{', '.join(f'{name} ({found[name].estimate:+.2f})' for name in list(found)[:6])}. "
    f"{int((clear & large).sum())} of {len(effect)} edges are above {LEAST}. "
    f"The strongest head, {strongest}, gets what it uses through its "
    f"{INPUT_NAMES[log.entries['input'].observed]}. "
    f"Hidden from s2-flip: {gate} ({gates[gate].estimate:+.2f} with random-name, noising) and the "
    f"heads that write both names ({', '.join(name_heads) or 'none'}). "
    f"Kept by {', '.join(circuit)} alone: {1 - lost_share:.0%} of the difference; log probability "
    f"of the IO {show(results['mean: log probability'].patched[0].mean())} against "
    f"{show(results['mean: log probability'].clean.mean())} in the whole model. "
    f"Largest interaction of {writer}: with {backup} ({beyond[w, ordered[0]]:+.2f})."
)

# %% [markdown]
# ## 11. Exercises
#
# **Exercise 1.** Which sender's path to the logits grows most, in the positive direction, when the MLPs are recomputed and not frozen? Write its name, such as `"2.4"` or `"mlp1"`.
#
# <details><summary>Hint</summary>
#
# `direct` and `with_mlps` hold the same senders in the same order: `direct.axes[0].labels`. `normalised()` is `[sender, receiver]`.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# growth = (with_mlps.normalised() - direct.normalised())[:, 0]
# grows_most = direct.axes[0].labels[int(growth.argmax())]
# ```
#
# </details>

# %%
grows_most = ...

# %%
check(grows_most, graph.senders[int(gap.argmax())].name, hint="A name, and mind the sign.")

# %% [markdown]
# **Exercise 2.** Compute one interaction by hand, without `sweep_pairs`: three runs with `ca.intervene` (mode `"noising"`, value `"patch"`, on `fresh`) for the heads `top[0]` and `top[1]`, alone and together. Normalised, as one number.
#
# <details><summary>Hint</summary>
#
# `ca.Intervention("z", layer, units=head)`; give `intervene` a dictionary of three lists. `normalised()` has one entry for each.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# a, b = (ca.Intervention("z", pair(h)[0], units=pair(h)[1]) for h in top[:2])
# three = ca.intervene(model, fresh, {"a": [a], "b": [b], "both": [a, b]}, mode="noising")
# only_a, only_b, both = three.normalised()
# by_hand = both - only_a - only_b
# ```
#
# </details>

# %%
by_hand = ...

# %%
check(by_hand, beyond[0, 1], tolerance=1e-3)

# %% [markdown]
# **Exercise 3.** An edge is path patching for one sender and one receiver. Show it: take the strongest edge of `found`, compute it with `sweep_paths` (on the task `one`), and write its normalised effect.
#
# <details><summary>Hint</summary>
#
# `next(iter(found)).split("->")` gives the sender and the receiver.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# sender_name, receiver_name = next(iter(found)).split("->")
# one_edge = ca.sweep_paths(model, one, [receiver_name], [sender_name]).normalised()[0, 0]
# ```
#
# </details>

# %%
one_edge = ...

# %%
check(one_edge, next(iter(found.values())).estimate, tolerance=1e-4)

# %% [markdown]
# ## 12. Questions to take along
#
# 1. A path has an effect of 0.6 with MLPs recomputed and 0.1 with everything frozen. Write one sentence for each that is true, and one that sounds the same and is false.
# 2. All 32,491 edges of GPT-2 small are measured, and an edge that a paper calls essential shows nothing. Give three explanations under which paper and measurement are both right.
# 3. A circuit keeps 130% of the logit difference. Is it a better circuit than one that keeps 95%?
# 4. Head A has a positive interaction with head B. Which two experiments of section 6 would you do first, and what result would make you say "no backup"?
# 5. Ablating everything outside a circuit leaves MLPs alone. How could a circuit of heads pass the test of section 7 although MLPs do half of the work?
#
# ## Further
#
# - Next: [09 · A circuit: find it, test it, break it](09_circuits.ipynb). Back: [07 · What they attend to](07_attention.ipynb).
# - Wang et al. (2022), [arXiv:2211.00593](https://arxiv.org/abs/2211.00593): section 3 and its appendix on path patching; section 4 on faithfulness, completeness and minimality.
# - Goldowsky-Dill et al. (2023), *Localizing Model Behavior with Path Patching*, [arXiv:2304.05969](https://arxiv.org/abs/2304.05969).
# - Conmy et al. (2023), *Towards Automated Circuit Discovery*, [arXiv:2304.14997](https://arxiv.org/abs/2304.14997).
# - McDougall et al. (2023), *Copy Suppression: Comprehensively Understanding an Attention Head*, [arXiv:2310.04625](https://arxiv.org/abs/2310.04625): heads that hold others back, and what looks like self-repair.
# - McGrath et al. (2023), *The Hydra Effect*, [arXiv:2307.15771](https://arxiv.org/abs/2307.15771): when one layer is taken away and another answers.
# - Miller, Chughtai and Saunders (2024), *Transformer Circuit Faithfulness Metrics are not Robust*, [arXiv:2407.08734](https://arxiv.org/abs/2407.08734): how much the answer of section 7 depends on what stands in for the rest.
# - Method cards: [path-patching.md](../docs/methods/path-patching.md), [edges.md](../docs/methods/edges.md), [interventions.md](../docs/methods/interventions.md), [ablation.md](../docs/methods/ablation.md).
