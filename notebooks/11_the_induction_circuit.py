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
# # 11 · The induction circuit, from end to end
#
# Notebook 10 found heads that continue what they have seen, and one head in the layer below without which they are lost. That they belong together was a guess. Here we take the circuit apart until no step is a guess: what is asked, what answers, what is copied, by which weights, and what breaks when one of these is changed. Then we run it alone, and find that the story everyone tells is not the whole of it.
#
# If you have tried to reverse-engineer this circuit before and got stuck, it was probably here: *attention patterns show where a head looks and never why.* The reason lies in keys that another head has written. So the plan is to change one thing at a time, the query, the keys or the values, and to see which edge answers to it.
#
# **What you will know afterwards**
#
# - how to ask three questions with the same right answer and the same wrong one, of which each is decided by another input of a head;
# - K-composition in three ways: by patching paths, by weights, and by taking an attention score apart without a remainder;
# - how to build the QK circuit through an earlier head, and the OV circuit, and read them as tables from words to words;
# - how to run the circuit that you derived alone, beside random ones, and find what it lacks;
# - a forecast that only the right story makes: move one head's attention by one place, and say which word the model will say then.
#
# **Time:** about 60 minutes; the cells run in half a minute on one core. Method cards: [weight-circuits.md](../docs/methods/weight-circuits.md), [path-patching.md](../docs/methods/path-patching.md), [edges.md](../docs/methods/edges.md), [evaluation.md](../docs/methods/evaluation.md), [known-models.md](../docs/methods/known-models.md), [direct-logit-attribution.md](../docs/methods/direct-logit-attribution.md).

# %%
MODEL = "induction-2l"  # or "gpt2", or the folder of a model of your own

# %%
import numpy as np
import torch
from course import Log, check, show, table
from IPython.display import SVG

import cutaway as ca
from cutaway.circuits import Circuit
from cutaway.circuits.evaluation import How, Trial, completeness, faithfulness, minimality
from cutaway.circuits.known import KNOWN
from cutaway.evidence import bootstrap_mean
from cutaway.heads import (
    composition_scores,
    copy_accuracy,
    copying_baseline,
    diagonal,
    diagonal_accuracy,
    full_ov,
    full_qk,
    head_scores,
    random_prompts,
)
from cutaway.plotting import bars, heatmap
from cutaway.views.circuit_graph import CircuitGraphView
from cutaway.views.curve import CurveSeries, CurveView

torch.set_grad_enabled(False)
model = ca.HookedTransformer.from_pretrained(MODEL)
cfg = model.cfg
graph = ca.Graph(cfg)
N_PROMPTS = 64
looks = head_scores(model, 32)
by_previous, by_induction = looks.mean("previous-token"), looks.mean("induction")
at = int(by_previous[:-1].argmax())  # not in the last layer: somebody has to read it
previous = (at // cfg.n_heads, at % cfg.n_heads)
later = [
    (layer, head) for layer in range(previous[0] + 1, cfg.n_layers) for head in range(cfg.n_heads)
]
later.sort(key=lambda head: -by_induction[head])
inductors = sorted(head for head in later[:8] if by_induction[head] >= by_induction[later[0]] / 2)
best = later[0]


def name_of(head: tuple[int, int]) -> str:
    """As in "0.7"."""
    return "{}.{}".format(*head)


P, H = name_of(previous), [name_of(head) for head in inductors]
print(f"{cfg.model_name}: {cfg.n_layers} layers of {cfg.n_heads} heads, MLPs: ", end="")
print(f"{'no' if cfg.attn_only else 'yes'}; norms: {cfg.normalization_type or 'none'}")
print(f"previous-token head {P} ({by_previous[previous]:.2f} of its attention one back)")
print(f"induction heads {', '.join(H)} (best: {name_of(best)}, {by_induction[best]:.2f})")

# %% [markdown]
# In `induction-2l` there is no MLP, no norm and no bias. Given the attention patterns, every logit is a sum of products of matrices, with nothing left over (Elhage et al. 2021). That is why every step below can be checked to the last digit. ([The model's card](../docs/models/induction-2l.md) says how it was made.)
#
# ## 1. The story, and what it has to foretell
#
# In `... A B ... A` the model says `B`. The story told of it is this:
#
# 1. A **previous-token head** looks one back, wherever it stands, and writes *which word was there*. At `B` it writes "before me stood A".
# 2. An **induction head** at the last `A` asks for the place *before which its own word stood*. Its query is `A`; its keys are what the first head wrote.
# 3. It **copies** what stands at that place: `B`.
#
# Four claims about matrices are in it: the first head's QK circuit is about *positions*; the second head's QK circuit matches words to *themselves*, but only through the first head's OV circuit (this is **K-composition**); and the second head's OV circuit raises the word that it looks at. The query needs nothing but the word.
#
# ### Predict
#
# Change ours to yours. Some of ours are wrong.

# %%
log = Log()
log.expect(
    "without",
    f"Loss on the second copy without {P} (nats)?",
    low=3,
    confidence=0.8,
    why="the induction heads cannot find the place",
)
log.expect(
    "key path",
    f"Who stood before whom is exchanged: share that comes by {P} into the induction heads' keys?",
    low=0.7,
    confidence=0.7,
    why="step 2",
)
log.expect(
    "query path",
    f"... and of another query, the share that comes by {P} into their queries?",
    high=0.05,
    confidence=0.8,
    why="the query needs only the word itself",
)
log.expect(
    "composition",
    f"Does {P} have the highest K-composition score of all pairs of heads, with an induction head?",
    answer="yes",
    confidence=0.7,
    why="it is what the score was made for",
)
log.expect(
    "diagonal",
    f"Through {P}: share of words that look for themselves (best induction head)?",
    low=0.8,
    confidence=0.7,
    why="step 2, by weights",
)
log.expect(
    "direct",
    f"... and without {P} in between?",
    high=0.05,
    confidence=0.7,
    why="a word does not look for itself but for what follows it",
)
log.expect(
    "score",
    f"Share of the score difference between right and wrong place that is {P}'s message?",
    low=0.8,
    confidence=0.7,
    why="it is what the keys are read for",
)
log.expect(
    "logits",
    "Share of the logit difference that the induction heads write themselves?",
    low=0.8,
    high=1.05,
    confidence=0.7,
    why="there is nobody behind them",
)
log.expect(
    "alone, key",
    "The derived circuit alone, when only the keys are in question: faithfulness?",
    low=0.85,
    high=1.05,
    confidence=0.7,
    why="it is the circuit",
)
log.expect(
    "alone, all",
    "... and with a wholly different first half outside?",
    low=0.85,
    high=1.05,
    confidence=0.6,
    why="it is the circuit",
)
log.expect(
    "two back",
    f"{P} made to look two back: how often does the model say the word after next?",
    low=0.5,
    confidence=0.5,
    why="the story says so",
)
log.expect(
    "saying",
    "A saying known by heart, with one word exchanged, said twice: which word comes the second time?",
    answer="the new one",
    confidence=0.6,
    why="induction copies what stood there",
)
log

# %% [markdown]
# ## 2. What is to be explained
#
# The loss at every position of `[BOS, r, r]`, with a head taken out (its mean over the prompts put in its place) and without.

# %%
repeated = random_prompts(model, "repeated", N_PROMPTS)  # [BOS, r, r]
tokens, T = repeated.tokens, repeated.half_length
places = np.arange(1, tokens.shape[1])


def without(*heads: tuple[int, int]) -> list:
    """Hooks that put the mean over prompts in the place of what heads write."""

    def hook_of(head: int):
        def put_mean(z, hook):
            z[:, :, head] = z[:, :, head].mean(0, keepdim=True)
            return z

        return put_mean

    return [(f"blocks.{layer}.attn.hook_z", hook_of(head)) for layer, head in heads]


def losses(hooks) -> np.ndarray:
    """Loss of the token at each position from 1 on: [prompt, pos]."""
    log_probs = model.run_with_hooks(tokens, fwd_hooks=hooks)[:, :-1].log_softmax(-1)
    return -log_probs.gather(-1, tokens[:, 1:, None])[..., 0].numpy()


neighbour = (previous[0], (previous[1] + 1) % cfg.n_heads)
runs = {
    "the whole model": losses([]),
    f"without {P}": losses(without(previous)),
    f"without {name_of(neighbour)}, another head": losses(without(neighbour)),
    "without the induction heads": losses(without(*inductors)),
}
CurveView(
    [CurveSeries(name, places.tolist(), values.mean(0).tolist()) for name, values in runs.items()],
    x_label="position (the second copy is foretold from the middle on)",
    y_label="loss, nats",
    references=((float(np.log(cfg.d_vocab)), "a guess"),),
    title="Loss at each position of [BOS, r, r], 64 prompts",
)

# %%
# The first word of the second copy cannot be known; from its second word on all of it can.
known_part = slice(repeated.second_half.start, None)
second = {name: bootstrap_mean(values[:, known_part].mean(1)) for name, values in runs.items()}
log.observe("without", second[f"without {P}"])
print(f"log of the number of words: {np.log(cfg.d_vocab):.2f}")
table(["", "loss on the second copy (nats)"], second.items())

# %% [markdown]
# On `induction-2l` the cliff is there. Without another head of layer 0 the second copy costs a quarter of a nat more. Without 0.7, or without the six induction heads, there is no cliff at all, and the model does no better than a guess among all words. So two sorts of heads are needed. Now the wiring between them.
#
# ## 3. Three questions with one answer
#
# Which input of the induction head knows what? Take `... A B ... C D ... A`, with the answer `B`, and three ways of making `D` right instead:
#
# | question | what is changed | then right | decided by |
# |:--|:--|:--|:--|
# | **query** | the last word becomes `C` | D | who asks |
# | **key** | the first `A` and `C` change places | D | what stood *before* each place |
# | **value** | `B` and `D` change places | D | what stands *at* the place |
#
# Right word and wrong word are the same in all three, so that the effects can be compared. Only one thing differs between the two runs of a question, and only edges that carry it can have an effect.
#
# ### First where the answer is known
#
# `KNOWN["induction"]` is an induction circuit that we wrote into the weights ourselves: head 0.1 looks one back, 1.2 is the induction head, the others are idle. Patch every edge, in each of the three questions: the corrupted value over this edge alone, all else as it is.

# %%
known = KNOWN["induction"](seed=0)
QUESTIONS = ("query", "key", "value")
by_question = {
    question: ca.sweep_edges(known.model, known.tasks[question], mode="noising")
    for question in QUESTIONS
}
effect = {
    question: dict(zip(edges.axes[0].labels, edges.normalised().tolist()))
    for question, edges in by_question.items()
}
print(", ".join(f"{head}: {role}" for head, role in known.roles.items()))
written = [edge for edge in effect["query"] if edge in known.written]
largest = {
    question: max(abs(v) for edge, v in found.items() if edge not in known.written)
    for question, found in effect.items()
}
table(
    ["written edge", *QUESTIONS],
    [
        *((edge, *(effect[question][edge] for question in QUESTIONS)) for edge in written),
        ("largest of all other edges", *largest.values()),
    ],
)

# %% [markdown]
# Every question lights up its own way in: `embed->1.2.q` for the query, `embed->1.2.v` for the value, and for the key a chain of two, `embed->0.1.v` and then `0.1->1.2.k`. This is what K-composition looks like under the knife. Three written edges never show: two of them read positions, one says where BOS is, and these are the same in both runs of every question. They have to be looked for in another way (section 5).
#
# ### Now the trained model
#
# The same three questions in its own words.


# %%
def questions(n_words: int = 12, seed: int = 0) -> dict[str, ca.Task]:
    """... A B ... C D ... A, with the last word, A and C, or B and D exchanged."""
    drawn = random_prompts(model, "distinct", N_PROMPTS, half_length=n_words, seed=seed)
    rng = np.random.default_rng(seed)
    first = drawn.n_before
    prompts = drawn.tokens[:, : first + n_words + 1].clone()  # the last word is put in below
    pairs = [rng.choice(n_words - 1, size=2, replace=False) for _ in range(len(prompts))]
    while any(abs(a - c) == 1 for a, c in pairs):  # B and C would be the same place
        pairs = [
            rng.choice(n_words - 1, size=2, replace=False) if abs(a - c) == 1 else (a, c)
            for a, c in pairs
        ]
    rows = torch.arange(len(prompts))
    A, C = (first + torch.tensor(np.array(pairs)).T).unbind(0)
    prompts[:, -1] = prompts[rows, A]
    changed = {question: prompts.clone() for question in QUESTIONS}
    changed["query"][:, -1] = prompts[rows, C]
    for question, a, c in (("key", A, C), ("value", A + 1, C + 1)):
        changed[question][rows, a] = prompts[rows, c]
        changed[question][rows, c] = prompts[rows, a]
    return {
        question: ca.Task.from_tokens(
            prompts,
            corrupted,
            prompts[rows, A + 1],
            prompts[rows, C + 1],
            positions={"A": A, "B": A + 1, "C": C, "D": C + 1},
            name=f"induction, {question}",
        )
        for question, corrupted in changed.items()
    }


asked = questions()
example = asked["query"]
print("clean:", "".join(map(str, model.to_str_tokens(example.clean[0]))))
for question, task in asked.items():
    print(f"{question}:", "".join(map(str, model.to_str_tokens(task.corrupted[0]))))
table(
    ["question", "logit(B) − logit(D), clean", "corrupted", "B over D, clean"],
    [
        (question, found.clean, found.corrupted, found.accuracy)
        for question, found in (
            (question, task.baseline(model)) for question, task in asked.items()
        )
    ],
)

# %% [markdown]
# Paths now, in place of single edges: from each sender into the queries of *all* induction heads at once, into their keys, and into their values. **Needed**: the corrupted value over this path into the clean run; how much of the difference is lost? **Enough**: the clean value over this path into the corrupted run; how much comes back?

# %%
INTO = [[f"{head}.{kind}" for head in H] for kind in "qkv"]
needed, enough = (
    {question: ca.sweep_paths(model, task, INTO, mode=mode) for question, task in asked.items()}
    for mode in ("noising", "denoising")
)


def path_effect(effects: ca.Effects, sender: str, kind: str) -> ca.Interval:
    """One path's effect with its interval."""
    at = effects.axes[0].labels.index(sender), "qkv".index(kind)
    mean, low, high = (float(np.asarray(one)[at]) for one in effects.interval())
    return ca.Interval(mean, low, high, 0.95, N_PROMPTS)


rows = []
for question in QUESTIONS:
    found = needed[question]
    grid = np.abs(found.normalised())
    for flat in np.argsort(-np.nan_to_num(grid), axis=None)[:3]:
        sender, kind = found.axes[0].labels[flat // 3], "qkv"[flat % 3]
        rows.append(
            (
                question,
                f"{sender} → {kind}",
                path_effect(found, sender, kind),
                path_effect(enough[question], sender, kind),
            )
        )
key_path = path_effect(needed["key"], P, "k")
log.observe("key path", key_path)
log.observe("query path", path_effect(needed["query"], P, "q"))
table(["question", "strongest paths", "needed", "enough"], rows)

# %% [markdown]
# The same picture as in the model written by hand. On `induction-2l`, what stood before each place reaches the induction heads through 0.7 and their *keys*, and by hardly any other way: the next sender, head 0.5, carries three hundredths of the whole, and into queries and values 0.7 carries nothing to speak of. This path is needed, and it is also enough. Who asks comes straight from the embedding into the *query*; what is copied comes straight from the embedding into the *value*.
#
# Straight, but not all of it. A fifth of the query and a quarter of the value do not come this way, and small effects of *other* heads of layer 0 stand in the rows below. Keep that in mind until section 8.
#
# ## 4. Head by head
#
# The six induction heads were patched as one. Is each of them wired in this way? One path at a time, in the question of the key.

# %%
each = [f"{head}.{kind}" for head in H for kind in "qkv"]
single = ca.sweep_paths(model, asked["key"], each, [P], mode="noising")
values = dict(zip(each, np.asarray(single.normalised())[0].tolist()))
others = [
    s.name for s in graph.senders if s.kind == "head" and s.layer == previous[0] and s.name != P
]
rival = ca.sweep_paths(model, asked["key"], [f"{h}.k" for h in H], others, mode="noising")
table(
    ["induction head", f"{P} → q", f"{P} → k", f"{P} → v", "largest other head → k"],
    [
        (
            head,
            *(values[f"{head}.{kind}"] for kind in "qkv"),
            float(np.abs(np.asarray(rival.normalised())[:, i]).max()),
        )
        for i, head in enumerate(H)
    ],
    digits=3,
)

# %% [markdown]
# Six times the same circuit. Notebook 10 showed what follows: take out one, and the others do its work.
#
# ## 5. Where the first head looks, by its weights
#
# Step 1 did not show in the three questions, because positions are the same in all runs. It shows in the weights: the positional QK circuit, `W_pos W_Q W_K^T W_pos^T / sqrt(d_head)`, gives every query position a score for every key position.

# %%
positional = full_qk(model, *previous, query="positions", key="positions")
n = min(cfg.n_ctx, 64)
square = (positional.A[:n] @ positional.B[:, :n]).numpy()
seen = np.where(np.tril(np.ones_like(square, dtype=bool)), square, np.nan)
prefers = np.array([np.nanargmax(seen[i]) for i in range(n)])
hits = float((prefers[1:] == np.arange(n - 1)).mean())
one_back = float(diagonal(positional, offset=-1)[: n - 1].mean())
rest = float(np.nanmean(seen[1:]))
print(
    f"{hits:.0%} of positions prefer the one before; its score is {show(one_back, 1)} on average,"
)
print(f"that of all visible keys {show(rest, 1)}")
heatmap(
    seen[:24, :24],
    [str(i) for i in range(24)],
    [str(i) for i in range(24)],
    f"{P}: score of key positions for query positions (first 24)",
    row_axis="query",
    column_axis="key",
    value_label="score",
)

# %% [markdown]
# A stripe one below the diagonal, from positions alone. What do the *words* add to it? Cross terms (a word as the query, a position as the key, and so on) would make the stripe depend on the text. Compare how much each term varies from key to key: that is what a softmax sees.

# %%
shares = {}
for query in ("positions", "tokens"):
    for key in ("positions", "tokens"):
        term = full_qk(model, *previous, query=query, key=key)
        some = term.A[:200] @ term.B[:, :200]
        shares[f"{query} × {key}"] = float(some.std(-1).mean())
table(["query × key", "standard deviation over keys"], shares.items())

# %% [markdown]
# On `induction-2l` positions vary more than four times as much as anything with a word in it. Step 1 stands: where this head looks is decided by place.

# %% [markdown]
# ## 6. K-composition by weights
#
# Do the induction heads *read* what 0.7 writes? The composition score of Elhage et al. (2021) measures how much of what one head's OV circuit writes falls into the directions that another one's keys read: `|W_OV W_QK^T| / (|W_OV| |W_QK|)`. Random pairs overlap too. Beside each score stands the mean of pairs that keep their singular values and are turned at random.

# %%
composed = {kind: composition_scores(model, kind) for kind in "QKV"}
top = composed["K"].top(1)[0]
log.observe("composition", "yes" if top.earlier == previous and top.later in inductors else "no")
rows = []
for kind, found in composed.items():
    for pair in found.top(7 if kind == "K" else 2):
        rows.append((kind, pair.name, pair.score, pair.random_mean, f"{pair.q:.1g}"))
table(["kind", "pair", "score", "random (mean)", "false discovery rate"], rows)

# %%
composed["K"].plot()

# %% [markdown]
# On `induction-2l` six bright cells stand in one row: 0.7, read by the keys of the six induction heads, and nothing else is near. (Much smaller scores are "significant" as well, as the last column says. What counts here is the size.)
#
# A warning: a score like this says that something *can* pass. That it *does* was section 3.
#
# ## 7. The two circuits, from words to words
#
# ### QK through the previous-token head
#
# With `key_through` the keys are read through another head's OV circuit: `W_E W_Q (W_E W_V^P W_O^P W_K)^T`. Row: the word that asks. Column: the word that stood **before** the key. Eight words of it:

# %%
matched = full_qk(model, *best, key_through=previous)
direct = full_qk(model, *best)
words = repeated.tokens[0, 1:9]
labels = [str(model.to_string(int(t))) for t in words]
heatmap(
    (matched.A[words] @ matched.B[:, words]).numpy(),
    labels,
    labels,
    f"{name_of(best)} reading {P} in its keys",
    row_axis="asks",
    column_axis=f"what {P} looked at",
    value_label="score",
)

# %%
rows = [
    (
        head,
        diagonal_accuracy(full_qk(model, *number, key_through=previous)),
        diagonal_accuracy(full_qk(model, *number)),
        max(
            diagonal_accuracy(full_qk(model, *number, key_through=(previous[0], other))).estimate
            for other in range(cfg.n_heads)
            if other != previous[1]
        ),
    )
    for head, number in zip(H, inductors)
]
log.observe("diagonal", diagonal_accuracy(matched))
log.observe("direct", diagonal_accuracy(direct))
table(
    [
        "words that look for themselves most",
        f"through {P}",
        "directly",
        f"through another head of layer {previous[0]} (best)",
    ],
    rows,
)

# %% [markdown]
# Through 0.7 nearly every one of the 431 words looks for *itself* above all others; directly, none does. Nobody looked at any text here. This is step 2, read off the weights.
#
# ### A score taken apart without a remainder
#
# The weights say what the circuit *would* do. What does it do in these prompts? The attention score from END to `B` is a product of a query and a key, and both are sums: the embedding, the position, what each earlier head wrote. So the score is a sum over pairs of parts, and since there is no norm, an exact one. (With a norm, its scale is held at what it was.) We take the *difference* of the scores of `B` and of `D`, which is what decides between them.


# %%
def parts_at(cache, layer: int, place: torch.Tensor):
    """What each part wrote to the stream that a layer reads, at one place of each prompt."""
    rows = torch.arange(len(place))
    parts, names = [], []
    for name in ("embed", "pos_embed"):
        parts.append(cache[f"hook_{name}"][rows, place])
        names.append(name)
    for at in range(layer):
        z = cache[f"blocks.{at}.attn.hook_z"][rows, place]  # [prompt, head, d_head]
        parts += list(torch.einsum("phd,hdm->hpm", z, model.W_O[at]))
        names += [f"{at}.{head}" for head in range(cfg.n_heads)]
    stack = torch.stack(parts)  # [part, prompt, d_model]
    rest = cache[f"blocks.{layer}.hook_resid_pre"][rows, place] - stack.sum(0)
    stack, names = torch.cat([stack, rest[None]]), [*names, "MLPs, biases"]
    if cfg.normalization_type is not None:
        scale = cache[f"blocks.{layer}.ln1.hook_scale"][rows, place]
        stack = (stack - stack.mean(-1, keepdim=True)) / scale
    return stack, names


layer, head = best
task = asked["key"]
_, cache = model.run_with_cache(task.clean)
ends = {place: task.positions[place] for place in ("END", "B", "D")}
queries, names = parts_at(cache, layer, ends["END"])
keys = parts_at(cache, layer, ends["B"])[0] - parts_at(cache, layer, ends["D"])[0]
Q, K = queries @ model.W_Q[layer, head], keys @ model.W_K[layer, head]
terms = torch.einsum("xpd,ypd->xyp", Q, K) / cfg.scale  # [query part, key part, prompt]
rows_of = torch.arange(len(task))
scores = cache[f"blocks.{layer}.attn.hook_attn_scores"][rows_of, head, ends["END"]]
actual = scores[rows_of, ends["B"]] - scores[rows_of, ends["D"]]
mean_terms = terms.mean(-1)
order = mean_terms.abs().flatten().argsort(descending=True)[:6]
print(f"sum of the parts {float(terms.sum((0, 1)).mean()):.3f}, ", end="")
print(f"the model's own scores {float(actual.mean()):.3f}")
total = float(actual.mean())
message = names.index(P)
position = names.index("pos_embed")
share = float(mean_terms[:, message].sum()) / total
of_word = float(mean_terms[names.index("embed"), message]) / total
of_position = mean_terms[position].sum() + mean_terms[:, position].sum()
of_position = float(of_position - mean_terms[position, position]) / total
log.observe("score", share)
print(f"message of {P}: {share:.0%}, of which asked for by the word itself: {of_word:.0%}")
print(f"with a position on either side: {show(100 * of_position, 1)}%")
table(
    ["query", "key", f"score of B less score of D in {name_of(best)}"],
    [
        (
            names[i // len(names)],
            names[i % len(names)],
            bootstrap_mean(terms[i // len(names), i % len(names)].numpy()),
        )
        for i in order.tolist()
    ],
)

# %% [markdown]
# One pair of a hundred makes four fifths of it: *the word that asks* times *the message of 0.7*. Positions make next to nothing. It is a lookup by content. Most of what is left is 0.7's message once more, asked for by what *other* heads of layer 0 wrote at END: they too seem to bring the word that asks, a little of it each.
#
# ### OV: what is copied
#
# `W_E W_V W_O W_U`: what each word, looked at, does to each logit. The **copying score** sums its eigenvalues over their sizes (+1: every mixture of words raises itself); beside it, random heads with the same singular values. **First** is the share of words that a head raises above all others.

# %%
copying = copying_baseline(model, n_draws=200)
low, high = copying.band()
together = copy_accuracy(model, best[0])
table(
    ["head", "copying score", "random, 95%", "first", "among the first five"],
    [
        *(
            (
                name_of(number),
                float(copying.scores[number]),
                f"{show(float(low[number]))} to {show(float(high[number]))}",
                copy_accuracy(model, *number).estimate,
                copy_accuracy(model, *number, k=5).estimate,
            )
            for number in inductors
        ),
        (
            f"layer {best[0]}, all heads",
            "",
            "",
            together.estimate,
            copy_accuracy(model, best[0], k=5).estimate,
        ),
    ],
)

# %% [markdown]
# A head of 16 dimensions cannot keep 431 words apart: each of the six puts the right word first only for about six words in ten. Added up, they do it for 99 in a hundred. So six heads are not merely five spares.
#
# And who writes the answer? **Direct attribution** takes the logit difference apart by who wrote it:

# %%
found = ca.direct_attribution(model, asked["key"])
own = found.values[[found.axes[0].labels.index(head) for head in H]].sum(0)
log.observe("logits", float(own.sum() / found.values.sum()))
strongest = found.top(8)
bars(
    [part.name for part in strongest],
    [part.value.estimate for part in strongest],
    "What each part writes to logit(B) − logit(D)",
    low=[part.value.low for part in strongest],
    high=[part.value.high for part in strongest],
    value_label="logits",
)

# %% [markdown]
# ## 8. The circuit alone
#
# The edges follow from the story, without any search: the previous-token head reads the embedding (words and positions come on one edge, `embed`); the induction heads read it in their keys, and the embedding in their queries, values and (for BOS, their place of rest) keys; they write to the logits.


# %%
def story(heads: list[str]) -> list[str]:
    """The edges of the textbook circuit with these induction heads."""
    edges = [f"embed->{P}.{kind}" for kind in "qkv"]
    for head in heads:
        edges += [f"{P}->{head}.k", f"{head}->logits"]
        edges += [f"embed->{head}.{kind}" for kind in "qkv"]
    return edges


circuit = Circuit.of(model, story(H), method="by hand")
alone = {question: Trial(model, task, circuit) for question, task in asked.items()}
new_half = ca.tasks.repeated_tokens(model, N_PROMPTS, half_length=min(T, 20), seed=1)
alone["another first half"] = Trial(model, new_half, circuit)
tested = {name: faithfulness(trial, n_random=20, seed=0) for name, trial in alone.items()}
one_head = {
    name: faithfulness(
        Trial(model, trial.runs.task, Circuit.of(model, story([name_of(best)]))), n_random=1
    )
    for name, trial in alone.items()
}
log.observe("alone, key", tested["key"].ratio)
log.observe("alone, all", tested["another first half"].ratio)
print(f"{len(circuit)} of {len(graph.edge_names)} edges")
table(
    ["question", "faithfulness", "20 random: mean", "largest", f"with {name_of(best)} only"],
    [
        (
            name,
            found.ratio,
            float(found.random.mean()),
            float(found.random.max()),
            one_head[name].ratio.estimate,
        )
        for name, found in tested.items()
    ],
)

# %%
SVG(CircuitGraphView(circuit, title="The circuit of the story").svg())

# %% [markdown]
# The last question is the hard one: not one thing is changed but the whole first half (`tasks.repeated_tokens`), so that *nothing* comes for free from the corrupted run. On `induction-2l` the circuit of the textbook is nearly perfect where only the keys are in question, good where query or value is, and does **half** of the work when all of it is asked for. No random circuit comes near, and yet: a story that explains half is not finished.
#
# ### What is missing?
#
# Add groups of edges to it, one at a time: the other heads of layer 0 into the queries, the keys, the values of the induction heads (and what they read), and into the logits.

# %%
feed = [f"embed->{name}.{kind}" for name in others for kind in "qkv"]
groups = {
    f"{P} → values": [f"{P}->{head}.v" for head in H],
    f"{P} → queries": [f"{P}->{head}.q" for head in H],
    **{
        f"other heads → {name}": [
            *feed,
            *(f"{other}->{head}.{name[0]}" for other in others for head in H),
        ]
        for name in ("queries", "keys", "values")
    },
    "other heads → logits": [*feed, *(f"{other}->logits" for other in others)],
    "embed → logits": ["embed->logits"],
}
all_three = sum((groups[f"other heads → {name}"] for name in ("queries", "keys", "values")), [])
groups["other heads → queries, keys and values"] = all_three


def with_edges(trial: Trial, extra: list[str]) -> float:
    """The circuit's faithfulness with more edges."""
    larger = Circuit.of(model, {*circuit.edges, *extra})
    (found,) = trial.measure([larger.matrix])
    return float(trial.shares((found - trial.empty)[None])[0])


table(
    ["added", "edges", *alone],
    [
        (
            name,
            len({*circuit.edges, *extra}),
            *(with_edges(trial, extra) for trial in alone.values()),
        )
        for name, extra in {"nothing": [], **groups}.items()
    ],
)

# %% [markdown]
# Read it by columns. What the question of the *query* lacks comes by the other heads into the queries, and nothing else helps it; what the *value* lacks, by the other heads into the values; of the *key*, into the keys. Each to its own, and with all three the circuit does what the model does (0.98 to 1.00). So seven heads that "look nearly everywhere alike" carry a part of every step. What part?

# %%
_, cache = model.run_with_cache(asked["value"].clean)
patterns = cache[f"blocks.{previous[0]}.attn.hook_pattern"]
B = asked["value"].positions["B"]
to_self = patterns[rows_of, :, B, B].mean(0)
into_values = {name: path_effect(needed["value"], name, "v") for name in others}
print(f"evenly spread attention: {float((1 / (B + 1.0)).mean()):.2f}")
table(
    ["head", "attention of B to itself", "its path into the values (question of the value)"],
    [
        (name, float(to_self[int(name.split(".")[1])]), effect)
        for name, effect in into_values.items()
    ],
)

# %% [markdown]
# They look at everything before, *and at the place itself*, some of them more than twice as much as an even spread would. So each of them passes on a diluted copy of the present word, and those that look at themselves most are those whose path into the values counts most. The induction heads have learned to read that copy too, beside the embedding: in the query (who asks), and most of all in the value (what is copied). The textbook draws one arrow from the embedding; here it is one thick arrow and seven thin ones beside it. Nothing in the three steps is wrong. They leave out that the model says everything several times.
#
# Is the completed circuit *complete*, so that it goes on agreeing with the model when the same parts are taken out of both? And is each edge of the textbook's needed?

# %%
whole_story = Circuit.of(model, {*circuit.edges, *all_three}, method="by hand, completed")
gaps = {
    name: completeness(Trial(model, new_half, one), n_subsets=10, n_greedy=2, n_random=5, seed=0)
    for name, one in (("the textbook", circuit), ("completed", whole_story))
}
table(
    [
        "circuit",
        "edges",
        "gap with nothing out",
        "mean |gap|, random parts out",
        "worst found",
        "its gap",
    ],
    [
        (
            name,
            len(circuit if name == "the textbook" else whole_story),
            found.nothing.gap,
            found.mean_gap,
            ", ".join(found.worst.without) or "nothing",
            found.worst.gap,
        )
        for name, found in gaps.items()
    ],
)

# %%
minimal = minimality(alone["another first half"], of="edges", n_subsets=4, n_strangers=20, seed=0)
idle = set(minimal.not_needed)
print(f"{len(idle)} of {len(circuit)} edges are not needed in this question: ")
print(", ".join(edge for edge in circuit.edges if edge in idle))

# %% [markdown]
# Look at what is "not needed". Queries: the second copy is the same in both runs, so that the corrupted query says the same as the clean one. Positions, and BOS as a place of rest: likewise. **An edge that carries no difference cannot be needed, in a test that only changes differences.** The weights of section 5 say that they are there all the same. Put zeros outside instead of the other prompt, and nothing comes for free:

# %%
at_zero = Trial(model, new_half, circuit, How("zero"))
cut = {
    "the circuit": [],
    "without embed → queries": [f"embed->{head}.q" for head in H],
    f"without embed → {P}.q and .k": [f"embed->{P}.q", f"embed->{P}.k"],
    "without embed → keys": [f"embed->{head}.k" for head in H],
}
rows = []
for name, edges in cut.items():
    smaller = Circuit.of(model, [edge for edge in circuit.edges if edge not in edges])
    cells = []
    for trial in (alone["another first half"], at_zero):
        (found,) = trial.measure([smaller.matrix])
        cells.append(trial.share(found - trial.empty))
    rows.append((name, *cells))
table(["", "other prompt outside", "zeros outside"], rows)

# %% [markdown]
# With zeros outside the circuit does nothing without its queries, and nothing without the positions that 0.7 reads. (The keys' own way from the embedding, by which they find BOS to rest on, hardly matters either way.) Two ways of running one circuit, and they disagree about a third of its edges: ask what a way of running can see before you call an edge idle.
#
# ## 9. Break it on purpose
#
# ### Move one head by one place
#
# A story is worth what it forbids. This one says: the induction heads go where the message "your word was here" has been left, and copy what stands *there*. The previous-token head leaves the message one place after the word. Make it look **two** back instead, and the message lies two places after the word: the model must then skip a word. Make it look at *itself*, and the model must stammer. Nothing else is touched. Before you run the cell: which word will the model say with 0, 2, 3?

# %%
pattern_name = f"blocks.{previous[0]}.attn.hook_pattern"


def look_back(by: int):
    """A hook that makes the previous-token head look exactly `by` places back."""

    def put(pattern, hook):
        n = pattern.shape[-1]
        target = (torch.arange(n) - by).clamp(min=0)
        pattern[:, previous[1]] = torch.nn.functional.one_hot(target, n).to(pattern.dtype)
        return pattern

    return put


def says(hooks) -> np.ndarray:
    """How often the most likely word is the one 0, 1, ... 4 after the present word's first time."""
    guess = model.run_with_hooks(tokens, fwd_hooks=hooks).argmax(-1)
    queries = torch.arange(repeated.second_half.start + 1, tokens.shape[1] - 4)
    return np.array(
        [(guess[:, queries] == tokens[:, queries - T + d]).float().mean() for d in range(5)]
    )


said = {"as it is": says([])}
for by in (0, 1, 2, 3):
    said[f"looks {by} back"] = says([(pattern_name, look_back(by))])
log.observe("two back", float(said["looks 2 back"][2]))
table(
    [P, "the same word", "the next", "the one after", "the third", "the fourth"],
    [(name, *map(float, values)) for name, values in said.items()],
)

# %% [markdown]
# That is as good as it gets in this field. A description in three sentences, made from other experiments, says what the model will do in a situation that it was never in, and is right nearly every time.
#
# ### Forge a message
#
# Exchange what 0.7 writes at `B` with what it writes at some other place `X`, two words of the same prompt that have nothing to do with the question. Now the message "A stood before me" lies at `X`. If the *message* decides and not what stands there, the model says X.

# %%
task = asked["query"]
rng = np.random.default_rng(0)
taken = [{int(task.positions[k][i]) for k in "ABCD"} for i in range(len(task))]
free = [
    [p for p in range(2, task.clean.shape[1] - 1) if p not in taken[i]] for i in range(len(task))
]
X = torch.tensor([int(rng.choice(places)) for places in free])
B, END = task.positions["B"], task.positions["END"]


def exchange(z, hook):
    """What the previous-token head writes at B and at X, exchanged."""
    at_b, at_x = z[rows_of, B, previous[1]].clone(), z[rows_of, X, previous[1]].clone()
    z[rows_of, B, previous[1]], z[rows_of, X, previous[1]] = at_x, at_b
    return z


rows = []
best_pattern = f"blocks.{best[0]}.attn.hook_pattern"
for name, hooks in (
    ("as it is", []),
    ("messages exchanged", [(f"blocks.{previous[0]}.attn.hook_z", exchange)]),
):
    with model.hooks(hooks):
        logits, cache = model.run_with_cache(task.clean, names_filter=best_pattern)
    guess = logits[rows_of, END].argmax(-1)
    attention = cache[best_pattern][rows_of, best[1], END]
    rows.append(
        (
            name,
            float(attention[rows_of, B].mean()),
            float(attention[rows_of, X].mean()),
            float((guess == task.clean[rows_of, B]).float().mean()),
            float((guess == task.clean[rows_of, X]).float().mean()),
        )
    )
table(["", f"{name_of(best)} looks at B", "at X", "says B", "says X"], rows)

# %% [markdown]
# ### Where it fails
#
# **Two first times.** The circuit matches *one* word. Let a word stand twice in the first half, with different words after it: nothing in the message can tell which is meant. (A person would go by the word before it.)

# %%
drawn = random_prompts(model, "distinct", 200, half_length=20, seed=3)
half = drawn.tokens[:, drawn.n_before : drawn.n_before + 20].clone()
EARLY, LATE = 4, 12
half[:, LATE] = half[:, EARLY]
doubled = torch.cat([drawn.tokens[:, : drawn.n_before], half, half], dim=1)
guess = model(doubled).argmax(-1)
start = drawn.n_before + 20
rows = []
for name, place, other in (
    ("the earlier", EARLY, LATE),
    ("the later", LATE, EARLY),
    ("(a word that stands once)", 8, None),
):
    now = guess[:, start + place]
    rows.append(
        (
            name,
            float((now == half[:, place + 1]).float().mean()),
            "" if other is None else float((now == half[:, other + 1]).float().mean()),
        )
    )
table(["which of the two is meant", "right", "what followed the other one"], rows)

# %% [markdown]
# Whichever is meant, three times in four the model takes what followed the *earlier* one. Its answer does not depend on the question, which is what "it matches one word" means.
#
# **What it knows by heart.** `induction-2l` has learned forty sayings. Exchange the sixth word of one, say it, say something else, say it again. The second time the context holds the new word, and the weights hold the old one.

# %%
if cfg.model_name == "induction-2l":
    from cutaway.training.induction_corpus import sayings

    rng = np.random.default_rng(5)
    rows, n = {"the new one": 0, "the old one": 0, "another": 0}, 0
    for saying in sayings():
        for new in rng.choice(np.arange(3, cfg.d_vocab), size=5):
            changed = saying.copy()
            changed[5] = new
            text = [0, *changed, *rng.choice(np.arange(3, cfg.d_vocab), size=8), *changed]
            guess = int(model(torch.tensor([text]))[0, -len(saying) + 4].argmax())
            which = {int(new): "the new one", int(saying[5]): "the old one"}
            rows[which.get(guess, "another")] += 1
            n += 1
    log.observe("saying", max(rows, key=lambda name: rows[name]))
    print(", ".join(f"{name}: {count} of {n}" for name, count in rows.items()))

# %% [markdown]
# Induction is one voice among several. The induction heads do look at the right place and do copy; the heads that know the sayings speak louder. *"This head copies what came next"* was never a claim about what the model says in the end.
#
# ### What survives
#
# Each claim with the experiment that could have killed it.


# %%
def verdict(found: float, low: float = -np.inf, high: float = np.inf) -> str:
    """Whether the number lies where the claim needs it."""
    return "survives" if low <= found <= high else "**broken**"


claims = [
    (f"{P} finds the place before by position", "positional QK", "above 0.9", hits, 0.9, 1),
    (
        f"{P} tells the induction heads' keys who stood before",
        "path patching, key",
        "above 0.8",
        key_path.estimate,
        0.8,
        1.2,
    ),
    (
        "... and their queries and values nothing",
        "path patching, all questions",
        "below 0.02",
        max(abs(path_effect(needed[q], P, kind).estimate) for q in QUESTIONS for kind in "qv"),
        -np.inf,
        0.02,
    ),
    (
        "they look for the word itself in that message",
        "QK by weights",
        "above 0.9",
        diagonal_accuracy(matched).estimate,
        0.9,
        1,
    ),
    ("... and go by that message", "score taken apart", "above 0.8", share, 0.8, 1.2),
    (
        "... not by where things stand",
        "score taken apart, positions",
        "below 0.05",
        abs(of_position),
        -np.inf,
        0.05,
    ),
    ("they copy, together", "OV by weights", "above 0.9", together.estimate, 0.9, 1),
    (
        "moving the message moves the copying",
        f"{P} looks two back",
        "above 0.9",
        float(said["looks 2 back"][2]),
        0.9,
        1,
    ),
    (
        "these edges are enough",
        "alone, another first half",
        "above 0.9",
        tested["another first half"].ratio.estimate,
        0.9,
        1.1,
    ),
    (
        "... with the other heads' thin copies",
        "alone, another first half",
        "above 0.9",
        with_edges(alone["another first half"], all_three),
        0.9,
        1.1,
    ),
]
table(
    ["claim", "tested by", "asked for", "came", "verdict"],
    [(*claim[:4], verdict(claim[3], *claim[4:])) for claim in claims],
)

# %% [markdown]
# ## 10. The log

# %%
log

# %%
log.calibration()

# %% [markdown]
# ## 11. Exercises
#
# **Exercise 1.** The composition score by hand. With `W_OV = W_V[previous] @ W_O[previous]` and `W_QK = W_Q[best] @ W_K[best].T`, both `[d_model, d_model]`, K-composition is |W_OV W_QK^T| / (|W_OV| |W_QK|), with Frobenius norms. Why W_QK *transposed*?
#
# <details><summary>Hint</summary>
#
# The stream is a row vector here: `x @ W_OV` is what the earlier head writes, and a key reads it as `(x W_OV) W_K`, which is what stands on the right side of `W_Q W_K^T`. `torch.linalg.matrix_norm` is the Frobenius norm.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# OV = model.W_V[previous] @ model.W_O[previous]
# QK = model.W_Q[best] @ model.W_K[best].T
# norm = torch.linalg.matrix_norm
# by_hand = float(norm(OV @ QK.T) / (norm(OV) * norm(QK)))
# ```
#
# </details>

# %%
by_hand = ...

# %%
check(by_hand, float(composed["K"].scores[*previous, *best]), tolerance=1e-3)

# %% [markdown]
# **Exercise 2.** Build the QK circuit through the previous-token head yourself, for the tokens 3 to 302: `[300, 300]`, row the word that asks, column the word that the previous-token head looked at, divided by `cfg.scale`. What share of rows have their largest entry on the diagonal?
#
# <details><summary>Hint</summary>
#
# Queries: `E @ W_Q[best]`. Keys: `E @ W_V[previous] @ W_O[previous] @ W_K[best]`. E is `model.W_E[3:303]`.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# E = model.W_E[3:303]
# asks = E @ model.W_Q[best]
# answers = E @ model.W_V[previous] @ model.W_O[previous] @ model.W_K[best]
# QK = asks @ answers.T / cfg.scale
# on_the_diagonal = float((QK.argmax(1) == torch.arange(300)).float().mean())
# ```
#
# </details>

# %%
QK, on_the_diagonal = ..., ...

# %%
block = matched.A[3:303] @ matched.B[:, 3:303]
best_column = (block.argmax(1) == torch.arange(len(block))).float().mean()
check(
    ... if QK is ... or on_the_diagonal is ... else (np.asarray(QK), on_the_diagonal),
    lambda given: (
        np.allclose(given[0], block, atol=1e-3) and abs(given[1] - float(best_column)) < 1e-6
    ),
    hint="rows ask, columns answer; divide by cfg.scale.",
)

# %% [markdown]
# **Exercise 3.** Foretell the logit difference of every prompt of `asked["key"]` (clean) from attention and OV circuits alone: for each induction head, its attention from END to `B` times what its OV circuit makes of the word at `B`, plus the same for `D`, each read as logit(B) − logit(D). `[prompt]`. How much of the true difference is it?
#
# <details><summary>Hint</summary>
#
# `full_ov(model, *number)` holds the circuit as two factors: row `b` of it is `ov.A[b] @ ov.B`. `attention_to["B"][number]` below is the attention, `[prompt]`.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# b, d = asked["key"].correct, asked["key"].wrong
# foretold = torch.zeros(len(b))
# for number in inductors:
#     ov = full_ov(model, *number)
#     for place, word in (("B", b), ("D", d)):
#         logits = ov.A[word] @ ov.B
#         foretold += attention_to[place][number] * (logits[rows_of, b] - logits[rows_of, d])
# ```
#
# </details>

# %%
_, cache = model.run_with_cache(asked["key"].clean)
attention_to = {
    place: {
        number: cache[f"blocks.{number[0]}.attn.hook_pattern"][
            rows_of, number[1], asked["key"].positions["END"], asked["key"].positions[place]
        ]
        for number in inductors
    }
    for place in ("B", "D")
}
foretold = ...

# %%
b, d = asked["key"].correct, asked["key"].wrong
true = asked["key"].baseline(model).clean_values
answer = torch.zeros(len(b))
for number in inductors:
    ov = full_ov(model, *number)
    for place, word in (("B", b), ("D", d)):
        raised = ov.A[word] @ (ov.B[:, b] - ov.B[:, d])
        answer += attention_to[place][number] * raised.diagonal()
check(foretold, answer.numpy(), hint="attention times the row of the OV circuit, two places.")
if foretold is not ...:
    print(f"foretold {float(answer.mean()):.2f} of {true.mean():.2f} logits on average")

# %% [markdown]
# (What is missing are the thin copies of section 8: values that came by the other heads, and looks at other places.)
#
# ## 12. Questions to take along
#
# 1. In a model with one layer the query could know `A` and the value could be `B`. Which of the three steps is impossible there, and why does no amount of training help?
# 2. Q-composition could do induction too: a head that tells the *query* where its word stood before. What would the three questions of section 3 have shown? Which heads would you look for first?
# 3. Denoising and noising agree in section 3, and notebook 10 saw a head that "restores −0.86". What is different about the corruption there?
# 4. The textbook circuit has a faithfulness of 0.96 in one question and 0.51 in another. Somebody reports "the induction circuit is 96% faithful". What do you ask?
# 5. The thin copies pass through heads that attend to *themselves*. Design the run that shows it: what exactly do you put in their patterns, and which number has to fall?
# 6. Repeat the notebook on a model of your own, with its own previous-token head. Which claim of section 9 do you expect to break first?
#
# ## Further
#
# - Next: [12 · The logit lens: what would it say now?](12_logit_lens.ipynb).
# - Back: [10 · Heads and induction heads](10_heads_and_induction_heads.ipynb), [08 · Paths and ablation](08_paths_and_ablation.ipynb). The same circuit under causal scrubbing: [causal-scrubbing.md](../docs/methods/causal-scrubbing.md). The model: [induction-2l.md](../docs/models/induction-2l.md).
# - Elhage et al. (2021), *A Mathematical Framework for Transformer Circuits*, [transformer-circuits.pub](https://transformer-circuits.pub/2021/framework/index.html): everything of sections 5 to 7, and why two layers can do what one cannot.
# - Olsson et al. (2022), *In-context Learning and Induction Heads*, [arXiv:2209.11895](https://arxiv.org/abs/2209.11895): the same heads in large models, and how they form.
# - Wang et al. (2022), [arXiv:2211.00593](https://arxiv.org/abs/2211.00593): path patching.
# - Method cards: [weight-circuits.md](../docs/methods/weight-circuits.md), [heads.md](../docs/methods/heads.md), [path-patching.md](../docs/methods/path-patching.md), [edges.md](../docs/methods/edges.md), [circuits.md](../docs/methods/circuits.md), [evaluation.md](../docs/methods/evaluation.md), [known-models.md](../docs/methods/known-models.md), [direct-logit-attribution.md](../docs/methods/direct-logit-attribution.md), [ablation.md](../docs/methods/ablation.md), [predictions.md](../docs/methods/predictions.md).
