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
# # 12 · The logit lens: what would it say now?
#
# Every layer reads the residual stream and adds to it. Only the last one's stream is turned into a prediction, by the final norm and the unembedding. But nothing stops us from turning *any* layer's stream into one: stop the model after layer 2 and let it speak. That is the logit lens, three lines of code, and it gives pictures that everybody understands at once. Which is the danger: a lens shows what can be *read off* a layer in one particular way, and not what the layer does.
#
# **What you will know afterwards**
#
# - how to write a logit lens, and why its last row must be the model itself;
# - after which layer `ioi-mini` prefers the right name, and which head does it, in a way that its label hides;
# - why a lens can know less than nothing, and how a *tuned* lens repairs that, and what it cannot repair;
# - what a convergence layer is, and why a model that has learned nothing has one too;
# - how differently a model comes to say what it knows by heart, what it has just seen, and what is new;
# - what no lens shows: work that is written for another layer to read.
#
# **Time:** about 45 minutes; the cells run in half a minute on one core (on GPT-2: plan for half an hour). Method card: [logit-lens.md](../docs/methods/logit-lens.md).

# %%
MODEL = "ioi-mini"  # or "gpt2", or the folder of a model of your own

# %%
from dataclasses import replace

import numpy as np
import torch
from course import Log, check, table

import cutaway as ca
from cutaway import lenses
from cutaway.evidence import bootstrap_mean, proportion
from cutaway.lenses import component_lens, convergence, logit_lens, overtaking, trajectory
from cutaway.lenses.intervals import row_means
from cutaway.lenses.tuned_training import SETTINGS
from cutaway.training import induction_corpus, ioi_corpus
from cutaway.views import CurveSeries, CurveView
from cutaway.views.lens_grid import LensGridView

model = ca.HookedTransformer.from_pretrained(MODEL)
cfg = model.cfg
is_mini = cfg.model_name == "ioi-mini"
N_PROMPTS = 64
task = ca.tasks.ioi(model, n_prompts=N_PROMPTS, seed=0)
print(task.baseline(model))
print(task.clean_text[0], "->", task.answer_text[0])

# %% [markdown]
# ## 1. What you expect
#
# First the words. A **point** is a place in the stream: `embed` before layer 0, then `0`, `1`, ... after each layer. At each point we have a distribution over the next token. Of some tokens we follow the probability and the **rank** (how many tokens are more probable; 0 is the top). A prediction **stands** from the point on at which the token that the model will say in the end is on top, and stays there.
#
# `ioi-mini` has four layers; `induction-2l`, in the second half, has two and no MLPs. Write down what you think. Ours are below, and some are wrong.

# %%
log = Log()
log.expect(
    "overtakes",
    "After how many of 4 layers is IO ahead of S in more than 90% of the prompts?",
    low=3,
    high=4,
    confidence=0.7,
    why="in GPT-2 the name movers sit late",
)
log.expect(
    "mover",
    "The head that writes most of IO over S: what does it add to IO itself, in logits?",
    low=1,
    confidence=0.8,
    why="a name mover writes the name",
)
log.expect(
    "nothing",
    "KL of the logit lens at the embedding, over that of a guess which looks at nothing?",
    high=1,
    confidence=0.8,
    why="it knows the current word at least",
)
log.expect(
    "tuned",
    "KL of a tuned lens after layer 1, as a share of the logit lens's?",
    low=0.3,
    high=0.8,
    confidence=0.6,
    why="the streams should be related",
)
log.expect(
    "earlier",
    "Share of prompts in which the tuned lens has IO ahead of S after layer 0?",
    low=0.35,
    high=0.65,
    confidence=0.7,
    why="what is not there cannot be read",
)
log.expect(
    "random",
    "After how many of 4 layers does the prediction of random weights stand?",
    low=0,
    high=1.5,
    confidence=0.6,
    why="nothing happens after the embedding",
)
log.expect(
    "repeated",
    "induction-2l, repeated words: after how many of 2 layers does it stand?",
    low=1.9,
    high=2,
    confidence=0.8,
    why="induction heads are in layer 1",
)
log.expect(
    "memorised",
    "... sayings that it knows by heart?",
    low=0.5,
    high=1.2,
    confidence=0.6,
    why="no need to look far back",
)
log.expect(
    "novel",
    "... text that is new, where only the current word helps?",
    low=0.8,
    high=1.3,
    confidence=0.6,
    why="the embedding alone can know it",
)
log

# %% [markdown]
# ## 2. Layer by layer
#
# One prompt, every position, every layer. Rows are points, the model's own output at the top; a column is a position, and each cell holds the token that would come next. A bold frame says that it is the one that really comes. Switch the colour to *target's rank*, and walk up the last column but one, which is END.


# %%
def grid(reading: lenses.LensReadings, prompt: int = 0, title: str = "") -> LensGridView:
    """One prompt's readings, the last layer at the top."""

    def words(ids) -> list[str]:
        return [model.to_single_str_token(int(i)) if i >= 0 else "" for i in ids]

    upside_down = slice(None, None, -1)
    return LensGridView(
        tokens=words(reading.tokens[prompt]),
        row_labels=reading.points[upside_down],
        top_tokens=[
            [words(cell) for cell in row] for row in reading.top_tokens[upside_down, prompt]
        ],
        top_probabilities=reading.top_probabilities[upside_down, prompt],
        targets=words(reading.followed["target"][prompt]),
        target_probability=reading.probability("target")[upside_down, prompt],
        target_rank=reading.rank["target"][upside_down, prompt],
        entropy=reading.entropy[upside_down, prompt],
        title=title,
    )


first = torch.cat([task.clean[0, : int(task.lengths[0])], task.correct[:1]])
grid(logit_lens(model, first[None]), title="The first prompt and its answer, logit lens")

# %% [markdown]
# Three things to see. The bottom row is nonsense: words that nobody would expect, some of them not even words. The easy tokens (`the` after `at`) are right from the middle on. And at the end (the last column but one) the answer's name is on top long before the last layer.
#
# One prompt is an anecdote. Now all 64, read at END, with intervals over prompts, and beside the answer its **control**: *shuffled* targets, the answers of other prompts. What both have in common is what the model says at every END, names in general; only what lies between them is the answer to *this* prompt.

# %%
readings = logit_lens(model, task)
ways = {
    token: [trajectory(readings, token, q).intervals() for q in ("probability", "rank")]
    for token in ("target", "wrong", "shuffled")
}
table(
    ["point", *(f"{t}: {q}" for t in ways for q in ("p", "rank"))],
    [
        (point, *(found[at] for way in ways.values() for found in way))
        for at, point in enumerate(readings.points)
    ],
)

# %% [markdown]
# ### When does IO overtake S?
#
# The difference of two log-probabilities is the difference of the two logits, since everything else cancels. So the lens's difference at the last point is the metric of this course.

# %%
gap = overtaking(readings)  # [point, prompt]
ahead = (gap > 0).mean(1)
layers_run = np.arange(len(readings.points))
log.observe("overtakes", int(layers_run[np.argmax(ahead > 0.9)]))
table(
    ["point", "logit(IO) − logit(S)", "IO ahead, share of prompts"],
    [
        (point, interval, share)
        for point, interval, share in zip(readings.points, row_means(gap), ahead)
    ],
)

# %% [markdown]
# On `ioi-mini` the decision falls in layer 1, of four: before it a coin toss, after it right in 98% of the prompts. What do layers 2 and 3 do, then? They make it *sure*: the difference grows from 5.2 to 8.2 logits, and the probability from 0.81 to 0.98. In GPT-2 small the name movers sit in layers 9 and 10 of 12 (Wang et al. 2022). "Late" is a fact about a model, not about the task.
#
# ## 3. Which part said it?
#
# The stream is a sum: embedding, heads, MLPs, biases. Each part can be read by itself, with one thing done differently. Above, the norm took its scale from the stream *at that point*: the question was what the model would say if it ended there. For parts the scale is **frozen** at that of the whole final stream. Then the norm is linear, and the parts add up to the output. (A single head read with a scale of its own would be blown up to the size of the whole stream; section 8 does it.)

# %%
parts = component_lens(model, task)
total = parts.per_prompt("target", "wrong").sum(0)
print("sum of all parts less the model's own difference, at most:", np.abs(total - gap[-1]).max())
shown = [name for name, _ in parts.ranked("target", "wrong")[:4]]
shown += [name for name, _ in parts.ranked("target")[:4] if name not in shown]
mover = next(name for name, _ in parts.ranked("target", "wrong") if "." in name)
by_token = {
    name: {part: interval for part, interval in parts.ranked(*tokens)}
    for name, tokens in {
        "IO less S": ("target", "wrong"),
        "IO": ("target", None),
        "S": ("wrong", None),
        "shuffled": ("shuffled", None),
    }.items()
}
log.observe("mover", by_token["IO"][mover])
table(
    ["part", *by_token],
    [(part, *(found[part] for found in by_token.values())) for part in shown],
)

# %% [markdown]
# Look at head 1.2 of `ioi-mini`, which makes most of the difference. A name mover? It adds *nothing* to IO, it takes a bit away. What it does is to push **S down**, by four logits. And who raises IO? Heads 1.4 and 1.6, which raise S just as much: they write *both* names of the prompt. Layer 1 says "one of these two, and not that one". Only 3.6 and the last MLP tell the two apart by raising IO more.
#
# A lens that had only been asked about the difference would have called 1.2 a name mover. Always read both tokens, and the shuffled ones.
#
# ### But does the model use it?
#
# What a head writes directly is not what it does. Take 1.2 out and read again: a lens can read a model with hooks attached.


# %%
def without(model: ca.HookedTransformer, *heads: str):
    """The model with these heads' outputs set to zero, while the block runs."""

    def silence(z, hook):
        for head in heads:
            layer, number = map(int, head.split("."))
            if hook.layer() == layer:
                z[:, :, number] = 0
        return z

    return model.hooks([(lambda name: name.endswith("hook_z"), silence)])


with without(model, mover):
    silenced = overtaking(logit_lens(model, task))
table(
    ["point", "whole model", f"without {mover}"],
    [
        (point, one, other)
        for point, one, other in zip(readings.points, row_means(gap), row_means(silenced))
    ],
)

# %% [markdown]
# It does: after layer 1 the two names are even again, and at the end 1.3 of 8.2 logits are left. That is a loss of 6.9, twice what the head wrote *directly* (3.5). The rest went through layers 2 and 3, which had heard it and now do not. What a lens reads in a part is its direct contribution and no more; what the part is worth, patching has to say (notebook 05).
#
# ## 4. Less than nothing
#
# How good is the logit lens's reading? Hold it against what the model will say: KL(output ‖ lens), in nats, at every position of fresh text and not only at END. And beside it a **mean prediction**, the best distribution that looks at nothing at all.


# %%
def text(seed: int, first: int, count: int) -> torch.Tensor:
    """Text of the kind that the model was trained on, from other seeds; else IOI prompts."""
    if is_mini:
        return ioi_corpus.Corpus(seed=seed).sequences(first, count)
    prompts = ca.tasks.ioi(model, n_prompts=count, seed=seed + first)
    return prompts.clean[:, : int(prompts.lengths.min())]


BATCH = 16
held_out = text(102, 0, 48)


def batches(step: int) -> torch.Tensor:
    """The training text of the lens."""
    return text(101, BATCH * step, BATCH)


nothing = lenses.mean_prediction(model, batches)
plain = lenses.lens_errors(model, held_out, {}, prediction=nothing)
log.observe(
    "nothing",
    plain.interval("logit lens", "embed").estimate
    / plain.interval("mean prediction", "embed").estimate,
)
table(
    ["KL in nats", *plain.points],
    [(name, *plain.intervals(name).values()) for name in plain.lenses],
)

# %% [markdown]
# At the embedding of `ioi-mini` the logit lens is worse than looking at nothing. Not because nothing is there: the embedding knows the current word, and the current word says a lot about the next. But early layers do not speak the unembedding's language, and nothing in training asked them to. The nonsense in the grid's bottom row is a *translation* without a dictionary.
#
# ## 5. A dictionary: the tuned lens
#
# Belrose et al. (2023) give each point a translator, an affine map x + xA + b, and train it to say what the model will say. It starts as the logit lens (A and b are zero). The danger is plain: a map that is trained to be right may *compute* something that the model never does. So we train a second lens, the **control**, in the same way, on the stream of a model with random weights. What that one can do, no knowledge of the model was needed for.

# %%
settings = replace(SETTINGS, n_steps=120, batch_size=BATCH)
untaught = model.fresh(seed=0)
tuned = lenses.train_tuned_lens(model, batches, settings)
control = lenses.train_tuned_lens(model, batches, settings, stream=untaught)
RANDOM = "tuned, random stream"
errors = lenses.lens_errors(
    model, held_out, {"tuned lens": tuned, RANDOM: control}, {RANDOM: untaught}, nothing
)
at = "1"
log.observe(
    "tuned",
    errors.interval("tuned lens", at).estimate / errors.interval("logit lens", at).estimate,
)


def line(name: str) -> CurveSeries:
    """The KL of one lens at the points that it reads at."""
    found = list(errors.intervals(name).values())
    return CurveSeries(
        name,
        range(len(found)),
        [one.estimate for one in found],
        [one.low for one in found],
        [one.high for one in found],
    )


CurveView(
    [line(name) for name in ("logit lens", "tuned lens", "mean prediction")],
    line(RANDOM),
    title="How far each lens is from what the model will say",
    caption="KL(output ‖ lens) on held-out text, in nats.",
    x_label="layers that have run",
    y_label="KL in nats",
    references=((0.0, ""),),
)

# %%
table(
    ["KL in nats", *errors.points[:-1]],
    [
        (name, *(errors.interval(name, point) for point in errors.points[:-1]))
        for name in errors.lenses
    ],
)

# %% [markdown]
# Two distances to read. From the logit lens down to the tuned lens: what was there in another basis. From the control down to the tuned lens: what is the *model's*, and not the translator's. At the embedding the control comes nearest: a random embedding also knows the current word, and a linear map can learn which word follows which. From layer 0 on it stays where it is, and the model's lens goes on falling: that is computation.
#
# ### Does it see the answer earlier?

# %%
by_lens = {"logit lens": readings, "tuned lens": tuned.read(model, task)}
shares = {name: (overtaking(one) > 0).mean(1) for name, one in by_lens.items()}
probabilities = {name: trajectory(one).intervals() for name, one in by_lens.items()}
n_ahead = int((overtaking(by_lens["tuned lens"])[1] > 0).sum())
log.observe("earlier", proportion(n_ahead, len(task)))
table(
    ["point", *(f"{name}: {what}" for name in by_lens for what in ("IO ahead", "p(IO)"))],
    [
        (
            point,
            *(
                value
                for name in by_lens
                for value in (float(shares[name][i]), probabilities[name][i])
            ),
        )
        for i, point in enumerate(readings.points)
    ],
)

# %% [markdown]
# No. After layer 0 both lenses toss a coin, as far as 64 prompts can tell: the stream at END has not heard of the two names' roles yet, and no dictionary translates what was not said. That is the best thing that a tuned lens can do for you: where it finds nothing either, "in another basis" is ruled out, as far as affine maps go.
#
# ## 6. From which layer on does a prediction stand?
#
# `convergence` finds it for each place. Beside it, the same of random weights.

# %%
rows = []
for name, one in {**by_lens, "random weights": logit_lens(untaught, task)}.items():
    stands = convergence(one)
    rows.append((name, stands.mean(), *(share.estimate for share in stands.share_by())))
log.observe("random", rows[-1][1])
table(["IOI, at END", "layers", *readings.points], rows)

# %% [markdown]
# Every model has a convergence layer, because the last point agrees with itself. Ours has one at 2.0, and random weights at 3.6: there every layer throws the dice again, and what wins in the end was on top only at the end. (We had expected the opposite. In `induction-2l`, which has no norm, it *is* the opposite; see below.) A number like "the model decides in layer 2" means something beside its control, and nothing alone.
#
# A second criterion asks for more: the top token must have *more than one half* and keep it. Some places never get there, since the model does not know. They count as one more than all layers, and the mean is then a lower bound:

# %%
everywhere = logit_lens(model, held_out)
half = convergence(everywhere, "probability")
print("on text, on top:          ", convergence(everywhere).mean())
print("on text, above one half:  ", half.mean(), "(a lower bound)")
print("never above one half:     ", half.share_never())

# %% [markdown]
# ## 7. By heart, just seen, new
#
# Now another model. `induction-2l` has two layers of attention and nothing else; notebooks 10 and 11 are about its heads. Its text has three kinds, each predictable in its own way: **memorised** sayings, the same each time; **repeated** random words, where only the first time says what comes the second time; and **novel** text, in which each word draws the next one by fixed odds, so that the current word is all there is to know. We read before each token that can be known (of novel text before every one).

# %%
two = ca.HookedTransformer.from_pretrained("induction-2l")
corpus = induction_corpus.Corpus(seed=102)
kinds = {
    "memorised": corpus.memorised(64),
    "repeated": corpus.repeated(64),
    "novel": corpus.novel(64),
}
before_known = {}
for name, kind in kinds.items():
    where = torch.zeros_like(kind.known)
    where[:, :-1] = kind.known[:, 1:] if kind.known.any() else True
    before_known[name] = where
for name, kind in kinds.items():
    print(f"{name:<10}", two.to_string(kind.tokens[0, 1:13]))
compared = lenses.compare_inputs(
    two, {name: kind.tokens for name, kind in kinds.items()}, positions=before_known
)
for name in kinds:
    log.observe(name, compared.convergence(name).mean())

# %%
table(
    ["kind", "stands after", "random weights", *(f"p(target), {p}" for p in compared.points)],
    [
        (
            name,
            compared.convergence(name).mean(),
            compared.control_convergence(name).mean(),
            *compared.trajectory(name, quantity="probability").intervals(),
        )
        for name in kinds
    ],
    digits=3,
)

# %% [markdown]
# What has **just been seen** stands nowhere before the last layer: at two of two, in practically every place. The induction heads are in layer 1, and before it there is not a trace of the answer. The **new** stands earliest, in four of ten places already in the embedding of the current word (which says little about being right: the model's first choice is right in one of five). The **memorised** lies between, at one and a half. We had thought that what is known by heart needs no second layer; but the words of the sayings are shared, so that the word before does not tell the next one, and the model needs to know *which* saying it is in.
#
# Are these differences sure? Each pair of kinds was compared in four numbers; `q` is the false discovery rate at which each survives among all twelve.

# %%
table(
    ["less", "in", "difference", "q"],
    [
        (
            f"{one.first} − {one.second}",
            "layers" if one.what == "convergence" else f"log p at {one.what}",
            one.difference.interval,
            one.q_value,
        )
        for one in compared.differences
    ],
    digits=4,
)

# %% [markdown]
# And here is the trap from the other side: **random weights stand earlier** than the trained model, after less than one layer. Without a norm, layers with small fresh weights add little to the embedding, and the first guess stays. An early convergence layer can mean that nothing happened.
#
# ## 8. Break it on purpose
#
# **Work that a lens does not see.** After layer 0 the lens found nothing of the repeated words. Does layer 0 do nothing for them? Silence its previous-token head, and read both rows.

# %%
where = before_known["repeated"]
tokens = kinds["repeated"].tokens
_, cache = two.run_with_cache(tokens, names_filter=["blocks.0.attn.hook_pattern"])
looks_back = cache["pattern", 0].diagonal(-1, 2, 3).mean((0, 2))
previous = f"0.{int(looks_back.argmax())}"
whole = logit_lens(two, tokens, positions=where)
with without(two, previous):
    broken = logit_lens(two, tokens, positions=where)
table(
    ["p(target), repeated", *whole.points],
    [
        ("whole model", *trajectory(whole).intervals()),
        (f"without {previous}", *trajectory(broken).intervals()),
    ],
    digits=3,
)

# %% [markdown]
# The row after layer 0 does not move, and the answer is gone. The head wrote something that layer 1 *reads* (which word came before), and the unembedding does not. Half of what a transformer does is of this kind. **A lens that shows nothing has not shown that nothing is there**, and a tuned lens has not either: it reads one position's stream, and the message lies at another.
#
# **A head with a scale of its own.** Read head 1.2 alone as if it were the whole stream:

# %%
layer, head = map(int, mover.split("."))
_, cache = model.run_with_cache(task.clean, names_filter=[f"blocks.{layer}.attn.hook_z"])
end = task.positions["END"]
with torch.no_grad():
    z = cache["z", layer][torch.arange(len(task)), end, head]
    alone = z @ model.blocks[layer].attn.W_O[head]  # [prompt, d_model]
    blown_up = model.unembed(model.ln_final(alone))
own_scale = (blown_up.amax(-1) - blown_up.mean(-1)).numpy()
frozen = parts.top_logits[parts.components.index(mover), :, 0, 0]
print("its largest logit above the mean, frozen scale:   ", bootstrap_mean(frozen))
print("... with a scale of its own:                      ", bootstrap_mean(own_scale))

# %% [markdown]
# The head now shouts. Nothing about it has changed but the size that the norm gave it. That is why parts are read with the frozen scale, and why a part read in this way is no prediction of anything.
#
# ## 9. The log

# %%
log

# %%
log.calibration()

# %% [markdown]
# ## 10. Exercises
#
# **Exercise 1.** Write the logit lens yourself. `cache` below holds the stream after every layer of the first eight prompts. Compute the probability of the answer (`few.correct`) at END after layer 1, for each prompt: `[8]`.
#
# <details><summary>Hint</summary>
#
# `model.ln_final` and `model.unembed` are the last two steps of the model, and can be called on any stream. END is `few.positions["END"]`, one index for each prompt.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# row = torch.arange(8)
# stream = cache["resid_post", 1][row, few.positions["END"]]
# my_probability = model.unembed(model.ln_final(stream)).softmax(-1)[row, few.correct].tolist()
# ```
#
# </details>

# %%
few = task.subset(range(8))
_, cache = model.run_with_cache(few.clean)
my_probability = ...

# %%
check(
    my_probability,
    logit_lens(model, few).probability("target")[2, :, 0],
    hint="Norm first, then the unembedding, then the softmax over the whole vocabulary.",
)

# %% [markdown]
# **Exercise 2.** The convergence layer by hand. `ranks` is `[point, prompt]`, the rank of what the model says in the end. For each prompt, the number of the first point from which the rank is 0 *and stays 0*.
#
# <details><summary>Hint</summary>
#
# Walk back from the last point as long as the rank is 0. The first 0 from the front is not enough: the token may lose its place again.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# my_layers = []
# for column in ranks.T:
#     at = len(column)
#     while at > 0 and column[at - 1] == 0:
#         at -= 1
#     my_layers.append(at)
# ```
#
# </details>

# %%
ranks = readings.rank["predicted"][:, :, 0]
my_layers = ...

# %%
check(
    my_layers,
    convergence(readings).first[:, 0],
    hint="The point embed is 0; the last one is 0 by definition for every prompt.",
)

# %% [markdown]
# **Exercise 3.** Attention or MLP? Between attention and MLP of a layer there are points too (`mid=True`). At which point of `ioi-mini` is IO first ahead of S in more than 90% of the prompts? A text such as `"2.mid"`.
#
# <details><summary>Hint</summary>
#
# `logit_lens(model, task, mid=True)`, then `overtaking` as in section 2.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# fine = logit_lens(model, task, mid=True)
# my_point = fine.points[int(np.argmax((overtaking(fine) > 0).mean(1) > 0.9))]
# ```
#
# </details>

# %%
my_point = ...

# %%
fine = logit_lens(model, task, mid=True)
check(
    my_point,
    fine.points[int(np.argmax((overtaking(fine) > 0).mean(1) > 0.9))],
    hint="The order of the points is embed, 0.mid, 0, 1.mid, 1, ...",
)

# %% [markdown]
# **Exercise 4.** What does head 1.2 do to S on *your own* pair of names? Put the two contributions of that head, to the answer and to the wrong token, into a list `[IO, S]` for the prompt below.
#
# <details><summary>Hint</summary>
#
# `component_lens(model, mine).per_prompt("target")` is `[component, prompt]`, and `.components` are the names.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# found = component_lens(model, mine)
# at = found.components.index("1.2")
# my_parts = [found.per_prompt(token)[at, 0] for token in ("target", "wrong")]
# ```
#
# </details>

# %%
mine = ca.Task.from_prompts(
    model,
    [
        {
            "clean": "Then Anna and Tom went to the store. Tom gave a drink to",
            "corrupted": "Then Anna and Tom went to the store. Anna gave a drink to",
            "answer": " Anna",
            "wrong": " Tom",
        }
    ],
)
my_parts = ...

# %%
if is_mini:
    found = component_lens(model, mine)
    expected = [
        found.per_prompt(token)[found.components.index("1.2"), 0] for token in ("target", "wrong")
    ]
    check(my_parts, expected, hint="Frozen scale; the second should be far below 0.")

# %% [markdown]
# ## 11. Questions to take along
#
# 1. Head 1.2 pushes S down and does not raise IO. How would you patch to find out *how it knows* which name is S? (Notebook 08 did something of the kind.)
# 2. The control lens, on a random stream, beat the mean prediction by more than a nat. What did it know?
# 3. A tuned lens finds the answer three layers before the logit lens does. Write down two explanations, and an experiment that tells them apart.
# 4. On repeated words, would a tuned lens find the answer after layer 0? Say why before you try. (Think of where the information is, and at which position.)
# 5. "The model has made up its mind by layer 2." What would you have to show beside the picture?
#
# ## Further
#
# - Next: [13 · Probes: what can be read, and what is used](13_probes.ipynb).
# - Method card: [logit-lens.md](../docs/methods/logit-lens.md), with the formulas, the costs, and more ways to be misled. As a report: `cutaway lens --tuned train`, `cutaway lens --text "..."`, `cutaway lens --model induction-2l --inputs`.
# - nostalgebraist (2020), *interpreting GPT: the logit lens*, [LessWrong](https://www.lesswrong.com/posts/AcKRB8wDpdaN6v6ru/interpreting-gpt-the-logit-lens): the idea.
# - Belrose et al. (2023), *Eliciting Latent Predictions from Transformers with the Tuned Lens*, [arXiv:2303.08112](https://arxiv.org/abs/2303.08112).
# - Geva et al. (2022), *Transformer Feed-Forward Layers Build Predictions by Promoting Concepts in the Vocabulary Space*, [arXiv:2203.14680](https://arxiv.org/abs/2203.14680): what single parts promote.
# - Wang et al. (2022), *Interpretability in the Wild*, [arXiv:2211.00593](https://arxiv.org/abs/2211.00593): the name movers of GPT-2 small.
