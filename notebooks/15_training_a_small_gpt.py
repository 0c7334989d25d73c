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
# # 15 · Training a small GPT
#
# Every model so far was given. Now we make one: a GPT of two layers that reads characters, trained in a few seconds by a loop that we write ourselves, line by line. Training code has a bad property: almost every mistake in it still gives a falling loss. So this notebook is as much about *knowing that it is right* as about training: bounds that a loss cannot cross, a ladder of cheap checks, and a second implementation that must agree with ours in every bit.
#
# **What you will know afterwards**
#
# - what a loss in nats says, and which numbers lie above and below it;
# - three checks that find most mistakes before a long run does;
# - the loop of every GPT: two groups of weights, warm-up and cosine, clipping, AdamW;
# - what a model learns first, and what counting knows that it does not;
# - what the interval of a loss covers, and what it leaves out;
# - how a run that is killed goes on as if nothing had happened;
# - which of the loop's ingredients are missed when they are taken away, and which are not.
#
# **Time:** about an hour; the cells run in about a minute on one core. Card: [training.md](../docs/training.md).

# %%
MODEL = "shakespeare-small"  # a finished model, to compare with: 4 layers, 4 heads, width 128

# %%
import math
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
import torch.nn.functional as F
from course import Log, check, table

import cutaway as ca
from cutaway.evidence import bootstrap_mean, paired_difference
from cutaway.files import digest
from cutaway.tokens import fit_ngrams
from cutaway.training.evaluation import NextTokenLoss, held_out_loss
from cutaway.training.name_pairs import NamePairs
from cutaway.training.optimizer import learning_rate_at
from cutaway.training.run import Events, fresh_model
from cutaway.training.sampling import sample
from cutaway.training.sources import open_source
from cutaway.views import CurveSeries, CurveView

finished = ca.HookedTransformer.from_pretrained(MODEL)
TEXT = Path("data/sampled_shakespeare.txt")
text = TEXT.read_text(encoding="utf-8")
print(f"{len(text):,} characters\n{text[6420:6860]}")

# %% [markdown]
# ## 1. The text
#
# This is not Shakespeare. It was written by `shakespeare-small`, which was trained on Shakespeare ([training.md](../docs/training.md)): 64 streams of 3,200 characters, each drawn from the model's own probabilities. Why learn from a model, when there is Shakespeare? Because here **we know where the text comes from**. Nobody knows how well Shakespeare could be predicted by the best of readers. Of this text we do: its author is in the room, and can be asked for the probability that it gave to each character. No reader can do better than the author, on average. That makes a floor.
#
# Its author writes like this. Where the context of 64 is full, it goes on from the last 32 characters:


# %%
def written(model, n_streams, n_characters, seed=0):
    """Streams of text [stream, character], drawn from the model."""
    draws = torch.Generator().manual_seed(seed)
    tokens = torch.zeros(n_streams, 1, dtype=torch.long)  # a line break
    half = model.cfg.n_ctx // 2
    while tokens.shape[1] < n_characters:
        window = tokens[:, -half:]
        n_new = min(model.cfg.n_ctx - window.shape[1], n_characters - tokens.shape[1])
        tokens_ = model.generate(
            window, n_new, generator=draws, stop_at_eos=False, return_type="tokens"
        )
        tokens = torch.cat([tokens, tokens_[:, window.shape[1] :]], 1)
    return tokens


again = finished.get_tokenizer().decode(written(finished, 64, 64)[0].tolist())
print("the same text as in the file:", text.startswith(again))

# %% [markdown]
# (On another processor a rounding may tip a draw, and from there on the text is another one. That is why the file is kept.)
#
# **Characters are the tokens.** Those that occur, sorted, are the vocabulary; a character's number is its place. The first nine tenths of the text are trained on, and **the end is held out**: it is only ever measured. (Not every tenth line: neighbouring lines know too much of each other.) A **batch** is a number of windows cut out at random places of the first part, one character longer than the context, since every position predicts the next character.
#
# A training run is a configuration, in a file such as this one:

# %%
folder = TemporaryDirectory()
FILE = Path(folder.name) / "small.toml"
FILE.write_text(f"""
[data]
kind = "characters"
file = "{TEXT}"

[model]
n_layers = 2
n_heads = 4
d_model = 64
n_ctx = 32
act_fn = "gelu"
tie_word_embeddings = true
qkv_bias = false
attn_out_bias = false
mlp_bias = false
norm_bias = false
default_prepend_bos = false

[train]
n_steps = 600
batch_size = 16
learning_rate = 5e-3
warmup_steps = 60
beta2 = 0.99
checkpoint_every = 20

[keep]
report_every = 1
evaluate_every = 100
log_spaced = 30
""")
config = ca.TrainConfig.from_file(FILE)
source = open_source(config)
V = source.tokenizer.vocab_size
rows = source.rows(0, config.train.batch_size)  # the batch of step 0
print(f"vocabulary {V}, batch {tuple(rows.shape)}, held out {tuple(source.held_out.shape)}")
for row in rows[:3].tolist():
    print(repr(source.tokenizer.decode(row)))

# %% [markdown]
# The batch depends on the seed and the step, and on nothing else. It looks like a detail, and it is what makes section 8 simple.
#
# ## 2. Predict
#
# Write down what you expect; ours are guesses, and some are wrong. A *nat* is the unit of −ln p: a loss of L nats is as if each character were drawn from e^L equally likely ones.

# %%
log = Log()
log.expect(
    "fresh",
    "Loss of a model before training, minus ln(vocabulary)?",
    low=-0.05,
    high=0.05,
    confidence=0.9,
    why="it knows nothing and says so",
)
log.expect(
    "loop",
    "In how many of 100 steps does the loss of our loop differ from train_config's?",
    low=0,
    high=0,
    confidence=0.5,
    why="the same formulas",
)
log.expect(
    "counting",
    "Highest order of counting (1 to 5) that 600 steps of training beat?",
    low=3,
    high=5,
    confidence=0.6,
    why="100,000 weights, and attention",
)
log.expect(
    "first",
    "Steps until it is better than the frequencies of single characters?",
    low=10,
    high=60,
    confidence=0.6,
    why="they come first",
)
log.expect(
    "seed",
    "Same recipe, two seeds, paired on the same text: is 0 in the interval of the difference?",
    answer="yes",
    confidence=0.6,
    why="it is the same recipe",
)
log.expect(
    "killed",
    "Weights of a run that was killed and went on, beside one that was not?",
    answer="the same",
    confidence=0.8,
    why="the batch depends on the step alone",
)
log.expect(
    "warm-up",
    "Without warm-up: how much more loss, in nats (mean of three seeds)?",
    low=0.05,
    confidence=0.7,
    why="large steps in random directions",
)
log.expect(
    "clipping",
    "Without clipping?",
    low=0.05,
    confidence=0.6,
    why="a single bad batch can throw it off",
)
log.expect(
    "decay",
    "With weight decay on the norm weights as well?",
    low=0.02,
    confidence=0.5,
    why="every recipe exempts them",
)
log.expect(
    "words",
    "Sampled at temperature 0.5: share of words that the training text has?",
    low=0.7,
    high=1.0,
    confidence=0.6,
    why="it is unsure of less",
)
log.expect(
    "pairs",
    "Text without pairs (section 11): attention to the right B, less that to another?",
    low=-0.05,
    high=0.05,
    confidence=0.8,
    why="there is nothing to look for",
)

# %% [markdown]
# ## 3. Between which numbers?
#
# A loss alone says nothing. What would others get on the same held-out text?
#
# - **ln V**: who knows nothing but the alphabet.
# - **Counting**: an n-gram model of order k knows how often each character came after the k − 1 before it ([ngrams.md](../docs/methods/ngrams.md)). Order 1 is the frequencies alone, order 2 is bigrams.
# - **The finished model** on the same windows of 32.
# - **The floor**: the author, with the 32 to 63 characters that it had before it when it wrote.

# %%
ids = np.array(source.tokenizer.encode(text))
n_trained = int(len(ids) * 0.9)
counted = fit_ngrams(ids[:n_trained], V, order=5)
held_out = source.held_out.numpy()
by_counting = {k: bootstrap_mean(counted.losses(held_out, k).mean(1)) for k in range(1, 6)}

# Another MODEL may not read these characters: then what compares with it is left out.
reads_text = finished.get_tokenizer().digest == source.tokenizer.digest
floor = the_finished = ca.Interval(float("nan"), float("nan"), float("nan"), 0.95, 0)
if reads_text:
    the_finished = held_out_loss(finished, source).loss
    streams = torch.from_numpy(ids).reshape(64, 3200)[-6:]  # these lie in what is held out
    windows = streams.unfold(1, 64, 32).flatten(0, 1)  # read as they were written
    with torch.no_grad():
        logs = finished(windows[:, :-1]).log_softmax(-1)
    given = logs.gather(-1, windows[:, 1:, None])[:, 31:, 0]  # log p of the new characters
    floor = bootstrap_mean(-given.mean(1).numpy())

table(
    ["predicted by", "held-out loss, nats", "as if one of"],
    [
        (name, loss, f"{math.exp(loss if isinstance(loss, float) else loss.estimate):.1f}")
        for name, loss in {
            f"nothing: ln {V}": math.log(V),
            **{f"counting, order {k}": one for k, one in by_counting.items()},
            f"{MODEL}, windows of 32": the_finished,
            "the author: the floor": floor,
        }.items()
    ],
    digits=3,
)

# %% [markdown]
# The intervals are over held-out windows: how far the number would move if other windows had been held out. The finished model lies above the floor although it *is* the author: at the start of a window it has not seen what it had seen when it wrote.
#
# Order 5 is no better than order 4: most contexts of four characters were seen too rarely for counts to mean something. Somewhere there a model that *generalises* has to overtake.
#
# ## 4. The ladder
#
# Three checks that cost seconds. The first: a model that is not trained should know nothing, and say so. Much above ln V means first weights that are too large, with much certainty about nothing.

# %%
model = fresh_model(config, source)
with torch.no_grad():
    loss = float(F.cross_entropy(model(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten()))
n_weights = sum(one.numel() for one in model.parameters())
print(f"{n_weights:,} weights, loss {loss:.3f}, ln {V} = {math.log(V):.3f}")
log.observe("fresh", loss - math.log(V), digits=3)

# %% [markdown]
# The second: **it must be able to learn eight windows by heart.** If it cannot, something between the gradient and the weights is broken, and more data will not help.

# %%
few = rows[:8]
by_heart = fresh_model(config, source)
optimizer = torch.optim.AdamW(by_heart.parameters(), lr=5e-3)
for step in range(81):
    logits = by_heart(few[:, :-1])
    loss = F.cross_entropy(logits.flatten(0, 1), few[:, 1:].flatten())
    if step % 20 == 0:
        right = float((logits[:, 8:].argmax(-1) == few[:, 9:]).float().mean())
        print(f"step {step:>2}: loss {loss.item():.3f}, right after 8 characters {right:.2f}")
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

# %% [markdown]
# It can: 80 steps for 256 characters. (The first few of a window are the hard ones, since they have to tell which window it is; that is why we count from the ninth on.)
#
# The third: **the future must not leak.** Change the last character that the model reads: what it says before must not move by a single bit.

# %%
changed = rows[:, :-1].clone()
changed[:, -1] = (changed[:, -1] + 1) % V
with torch.no_grad():
    same = (model(changed) == model(rows[:, :-1])).all(-1).all(0)  # [pos]
print("positions that stay as they were:", int(same.sum()), "of", len(same))

# %% [markdown]
# ## 5. The loop
#
# Now by hand. Four ingredients.
#
# **Two groups.** Weight decay pulls weights to 0 a little at every step. Matrices get it. Vectors (norm weights, biases) do not: a norm weight's natural place is 1.


# %%
def groups(model, decay, decay_all=False):
    """Parameters with weight decay, and without."""
    named = dict(model.named_parameters())
    vectors = {name for name in named if name.rsplit(".", 1)[-1].startswith(("b", "w"))}
    matrices = [one for name, one in named.items() if name not in vectors or decay_all]
    rest = [one for name, one in named.items() if name in vectors and not decay_all]
    return [
        {"params": matrices, "weight_decay": decay},
        {"params": rest, "weight_decay": 0.0},
    ]


for group in groups(model, 0.1):
    sizes = [one.numel() for one in group["params"]]
    print(f"decay {group['weight_decay']}: {len(sizes)} tensors, {sum(sizes):,} weights")

# %% [markdown]
# **Warm-up and cosine.** The learning rate rises in a straight line from almost nothing to its peak, and falls along half a cosine to a tenth of it. The rise is for AdamW: it divides each gradient by a running mean of its size, which after a few steps is the mean of a few numbers. The fall is for the end: large steps find the valley, small ones its bottom.


# %%
def rate(step, t):
    """The learning rate of a step, counted from 0."""
    if step < t.warmup_steps:
        return t.learning_rate * (step + 1) / t.warmup_steps
    done = (step - t.warmup_steps) / (t.n_steps - t.warmup_steps)
    high, low = t.learning_rate, t.learning_rate * t.final_share
    return low + (high - low) * (1 + math.cos(math.pi * done)) / 2


table(
    ["step", "rate", "train_config's"],
    [
        (str(s), rate(s, config.train), learning_rate_at(s, config.train))
        for s in (0, 30, 60, 330, 599)
    ],
    digits=5,
)

# %% [markdown]
# **Clipping.** If the gradient as a whole (one long vector) is longer than 1, it is shortened to 1. Its direction stays. A rare batch then cannot move the weights further than a common one.
#
# **AdamW** itself we take from torch (exercise 2 writes it out). Here is the loop:


# %%
def clip_(parameters, longest):
    """Shorten the whole gradient; gives the length that it had."""
    norm = torch.stack([one.grad.norm() for one in parameters]).norm()
    scale = (longest / (norm + 1e-6)).clamp(max=1)
    for one in parameters:
        one.grad.mul_(scale)
    return norm


def descend(config, rows_at, model, n_steps=None, decay_all=False, clip=clip_, targets=None):
    """Train in place. Gives the loss and the length of the gradient of every step."""
    t = config.train
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(
        groups(model, t.weight_decay, decay_all),
        lr=t.learning_rate,
        betas=(t.beta1, t.beta2),
        fused=True,
    )
    losses, norms = [], []
    for step in range(n_steps or t.n_steps):
        for group in optimizer.param_groups:
            group["lr"] = rate(step, t)
        batch = rows_at(step, t.batch_size)
        inputs, wanted = batch[:, :-1], (targets or (lambda b: b[:, 1:]))(batch)
        loss = F.cross_entropy(model(inputs).flatten(0, 1), wanted.flatten())
        optimizer.zero_grad()
        loss.backward()
        norms.append(float(clip(parameters, t.gradient_clip)))
        optimizer.step()
        losses.append(loss.item())
    return np.array(losses), np.array(norms)


mine = fresh_model(config, source)
losses, norms = descend(config, source.rows, mine, n_steps=100)
print(f"loss {losses[0]:.3f} at first, {losses[-10:].mean():.3f} over steps 91 to 100")
print(f"gradients longer than 1: {(norms > 1).mean():.0%}; the longest: {norms.max():.1f}")

# %% [markdown]
# It falls. But it would fall with most mistakes as well. So hold it against an implementation that others have tested: `ca.train_config` runs the same configuration, with a folder in which it keeps the model at log-spaced steps.

# %%
run = ca.train_config(config, Path(folder.name) / "small")
theirs = np.array([loss for _, loss in run.curve.training()])
print(f"{config.train.n_steps} steps, held-out loss {run.held_out.loss}")
log.observe("loop", int((losses != theirs[:100]).sum()))

# %% [markdown]
# **Every bit of a hundred losses**, each of which depends on all the steps before. How much does that prove? Make a change that no mathematician would call one: compute the factor by which gradients are shortened with more digits, and round it then. Once with our recipe, once with four times the learning rate and less warm-up.


# %%
def clip_rounded_(parameters, longest):
    """As `clip_`, with the factor in double precision."""
    norm = torch.stack([one.grad.norm() for one in parameters]).norm()
    scale = min(1.0, longest / (float(norm) + 1e-6))
    for one in parameters:
        one.grad.mul_(scale)
    return norm


hot = config.replace(learning_rate=2e-2, warmup_steps=20)
ways = {}
for name, one in (("as it is", config), ("4 × the rate", hot)):
    for clip in (clip_, clip_rounded_):
        ways[name, clip], _ = descend(
            one, source.rows, fresh_model(one, source), n_steps=100, clip=clip
        )
table(
    ["the two losses differ by", "step 10", "step 30", "step 100", "steps that differ"],
    [
        (
            name,
            *(f"{apart[step - 1]:.0e}" for step in (10, 30, 100)),
            f"{(apart > 0).sum()} of 100",
        )
        for name in ("as it is", "4 × the rate")
        for apart in [abs(ways[name, clip_] - ways[name, clip_rounded_])]
    ],
)

# %% [markdown]
# With our recipe a last digit stays a last digit. With the larger rate it has grown to 0.01 nats after 30 steps and to 0.09 after 100, and *neither run is more right than the other*. Then "the losses differ a little" may mean a rounding or a mistake, and no tolerance tells them apart. Equal in every bit is the one comparison of two training runs that needs no judgement. Get there first, then optimise.
#
# ## 6. Learning curves
#
# Every kept step is a folder that loads like any model. Early training is fast, so early steps lie close together:

# %%
kept = ca.checkpoints(Path(folder.name) / "small")
models = {saved.step: saved.model() for saved in kept}
measured = {step: held_out_loss(one, source, 200).loss for step, one in models.items()}
steps = [step for step in measured if step > 0]
tens = np.arange(10, 601, 10) - 4.5
known = {f"order {k}": by_counting[k].estimate for k in (1, 2, 3, 4)} | {
    "floor": floor.estimate
}
CurveView(
    [
        CurveSeries(
            "held out",
            steps,
            [measured[s].estimate for s in steps],
            [measured[s].low for s in steps],
            [measured[s].high for s in steps],
        )
    ],
    control=CurveSeries(
        "training, ten batches", tens.tolist(), theirs[:600].reshape(-1, 10).mean(1)
    ),
    title="Loss as it is trained, beside counting",
    x_label="training step",
    y_label="nats per character",
    log_x=True,
    references=[(loss, name) for name, loss in known.items() if math.isfinite(loss)],
)

# %%
log.observe("first", next(s for s in steps if measured[s].estimate < by_counting[1].estimate))
beaten = [k for k, one in by_counting.items() if run.held_out.loss.high < one.low]
log.observe("counting", max(beaten, default=0))
print("ours:", run.held_out.loss)

# %% [markdown]
# The curve falls fast until it comes near order 2, and from there it is slow. At the end our GPT has beaten bigrams, *and no more*: counting three characters at a time, which takes no training at all, predicts better. It is not the floor that stops us, nor the kind of model. The finished one, of the same build, lies far below all counting; it has eight times the weights and has read fifty times as many characters. A model that generalises overtakes counting, but not at once.
#
# What does the model know at each step? Compare its whole prediction with that of counting: KL(model ‖ order k), in nats, at positions that have four characters before them.

# %%
some = held_out[::4]
tables_of = {k: counted.log_probabilities(some[:, :-1], k)[:, 4:] for k in (1, 2, 3)}
far = {k: [] for k in tables_of}
for step in steps:
    with torch.no_grad():
        logs = models[step](torch.from_numpy(some[:, :-1])).log_softmax(-1)[:, 4:].numpy()
    for k, table_ in tables_of.items():
        far[k].append(float((np.exp(logs) * (logs - table_)).sum(-1).mean()))
nearest = {k: steps[int(np.argmin(values))] for k, values in far.items()}
print("nearest to order", ", to ".join(f"{k} at step {step}" for k, step in nearest.items()))
CurveView(
    [CurveSeries(f"order {k}", steps, values) for k, values in far.items()],
    title="How far the model's predictions are from counting",
    x_label="training step",
    y_label="KL, nats",
    log_x=True,
    references=[(0.0, "")],
)

# %% [markdown]
# It passes by them in their order: nearest to the frequencies after 27 steps, to bigrams after 160, and then away from both and towards order 3, which it has not reached when the run ends. Easy things first. A frequency needs no attention (one direction that is always on would do), a bigram only the token at hand, and for anything longer heads have to find their place.
#
# ## 7. What does the interval cover?
#
# Train the same recipe three times, 120 steps each, with different seeds. A seed decides the first weights and which windows are drawn.

# %%
short = config.replace(n_steps=120, warmup_steps=15)
SEEDS = (0, 1, 2)


def trained(seed, settings=None, **how):
    """A model after the short recipe."""
    own = short.replace(seed=seed, **(settings or {}))
    model = fresh_model(own, source)
    descend(own, open_source(own).rows, model, **how)
    return model


@torch.no_grad()
def losses_of(model):
    """Held-out loss of each window, in nats."""
    logits = model(source.held_out[:, :-1])
    each = F.cross_entropy(
        logits.flatten(0, 1), source.held_out[:, 1:].flatten(), reduction="none"
    )
    return each.view(len(source.held_out), -1).mean(1).double().numpy()


as_it_is = [losses_of(trained(seed)) for seed in SEEDS]
for seed, one in zip(SEEDS, as_it_is):
    print(f"seed {seed}: {bootstrap_mean(one)}")
between = paired_difference(as_it_is[0], as_it_is[1])
print("seed 0 minus seed 1, window by window:", between.interval)
log.observe("seed", "yes" if between.interval.low <= 0 <= between.interval.high else "no")

# %% [markdown]
# The interval of a loss is over **windows**: how sure are we of the loss of *this model* on text like this? About ± 0.02, it says, and it is right. Compared window by window (some are hard for every model, and that cancels) we know the difference of two models better still: seed 1 is better than seed 0, beyond doubt. And still it is **the same recipe**.
#
# So whoever trains recipe A once and recipe B once, and finds a difference with an interval that excludes 0, has shown that two *models* differ. Seeds do that too. A claim about recipes needs several models of each, and its n is the number of models. No number of held-out windows makes up for it.
#
# ## 8. Kill it
#
# A run writes what it needs to go on: weights, AdamW's two running means, and the step. No position in the data, since the batch follows from the step; no random state, since none outlives a step. Start one as a process of its own, and kill it without warning (SIGKILL, which no program can catch):

# %%
killed = Path(folder.name) / "killed"
command = ["train", str(FILE), "--out", str(killed), "--n-steps", "120"]
process = subprocess.Popen(
    [sys.executable, "-m", "cutaway", *command],
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
)
reached = killed / "checkpoints" / "step-00000040" / "state.json"
while process.poll() is None and not reached.exists():
    time.sleep(0.02)
process.kill()
process.wait()
print("finished:", (killed / "model").exists(), "| kept:", ca.checkpoints(killed)[-1].path.name)

# %% [markdown]
# Now the same run again in the same folder, and once more in a folder of its own, from nothing:

# %%
longer = config.replace(n_steps=120)
ca.train_config(
    longer, killed, events=Events(begin=lambda step: print("goes on from step", step))
)
ca.train_config(longer, Path(folder.name) / "whole")
digests = {
    name: digest(Path(folder.name) / name / "model" / "model.safetensors")
    for name in ("killed", "whole")
}
for name, one in digests.items():
    print(f"{name:<7}{one[:32]}...")
log.observe("killed", "the same" if len(set(digests.values())) == 1 else "others")

# %% [markdown]
# SHA-256 of the weights: not one bit is different. (On one machine, with the same number of threads. Elsewhere sums are added in another order, and section 5 has shown what comes of a last digit.)
#
# ## 9. Let it write
#
# Divide the logits by a **temperature** before the draw. At 1 the model writes as it believes; below it keeps to what is likely, at 0 to the likeliest; above it takes risks.

# %%
voices = {"ours": run.model, **({MODEL: finished} if reads_text else {})}
vocabulary = set(text[:n_trained].split())
heard = []
for name, voice in voices.items():
    for temperature in (0.0, 0.5, 1.0, 1.5):
        said = sample(voice, "\n", 300, temperature, seed=1)
        words = said.split()[:-1]
        share = sum(word in vocabulary for word in words) / len(words)
        heard.append((name, f"{temperature}", share))
        if name == "ours" and temperature == 0.5:
            log.observe("words", share)
        if temperature in (0.0, 0.5, 1.0):
            print(f"{name}, temperature {temperature}: {said[1:101]!r}")
table(["model", "temperature", "words that the training text has"], heard)

# %% [markdown]
# At 0 ours says one word for ever, and all of it is English: a measure that is best for the worst text is no measure of text. At 0.5 a third of its words are none. Ours knows letters and short words, and no more; that is what 2.1 nats are.
#
# ## 10. Break it on purpose
#
# **Take the ingredients away**, one at a time, three seeds each, and compare with the same seeds as they are.

# %%
changes = {
    "learning rate × 40": {"settings": {"learning_rate": 0.2}},
    "no warm-up": {"settings": {"warmup_steps": 0}},
    "no clipping": {"settings": {"gradient_clip": 1e9}},
    "decay on everything": {"decay_all": True},
}
costs = {}
for name, how in changes.items():
    ends = [losses_of(trained(seed, **how)).mean() for seed in SEEDS]
    costs[name] = np.array(ends) - [one.mean() for one in as_it_is]
for key, name in (
    ("warm-up", "no warm-up"),
    ("clipping", "no clipping"),
    ("decay", "decay on everything"),
):
    log.observe(key, float(costs[name].mean()), digits=3)
table(
    ["change", "cost, nats", "least of three seeds", "most"],
    [(name, one.mean(), one.min(), one.max()) for name, one in costs.items()],
    digits=3,
)

# %% [markdown]
# Hold each against section 7, where the seed alone made 0.05 nats of difference.
#
# - **Learning rate × 40**: the model ends a little below the frequencies of single characters (order 1). A rate that is far too high need not explode. The run ends with numbers, and a loss that is lower than at first.
# - **No warm-up** costs in all three seeds, from 0.07 to 0.32: what happens in a few wild steps at the beginning is a matter of luck, and 120 steps are too few to make up for it.
# - **No clipping** costs most after the learning rate, and in every seed alike. That is more than "a bad batch now and then": in section 5, 42% of the first hundred gradients were longer than 1. Our guess is AdamW's memory. Each gradient is divided by the root of a running mean of squares, which with β₂ = 0.99 remembers the long first ones for a hundred steps, so that all later steps are too short. Question 4 asks for the test.
# - **Decay on the norm weights** costs next to nothing. Each seed is worse, by about 0.01: too little to matter in 120 steps, in a model with 320 such weights. The habit may be good for longer runs; this experiment does not show it.
#
# A warning against our own table: *without* is not the same as *not needed*, and the size of each cost goes with the learning rate, the number of steps and the size of the model. These are the costs in *this* recipe.
#
# **Let it see the answer.** The classic mistake: targets that are not shifted, so that every position is asked for the character that it reads. The loss falls as nicely as one could wish:

# %%
leaking = fresh_model(short, source)
leaked, _ = descend(short, source.rows, leaking, targets=lambda batch: batch[:, :-1])
print(f"after {len(leaked)} steps: {leaked[-1]:.3f} nats. The floor: {floor.estimate:.3f}")

# %% [markdown]
# Under the floor. With a text whose floor nobody knows, one would have celebrated.
#
# ## 11. The data decides
#
# The same loop, another text: `name-pairs`, on which notebook 16 watches induction heads form. Pairs of names are introduced (A, some words, B), and come again; the second time B can be known. Beside it **the same text with one thing destroyed**: when A comes again, any B of the text follows. Which names there are, how often and where, stays as it was.

# %%
pairs = NamePairs()
names_config = ca.TrainConfig.named("ioi-2l").replace(
    n_steps=300, learning_rate=6e-3, warmup_steps=30, seed=1
)
names_source = open_source(names_config)
prompts = pairs.prompts(200, seed=5)
places = torch.arange(4) * 5 + 4  # where the B of each pair stands


def without_pairs(step, size):
    """The rows of a step, with a random B of the text wherever B could be known."""
    rng = np.random.default_rng([0, step])
    drawn, is_known, couples = pairs.draw(rng, size, names_config.n_ctx + 1)
    n_couples = (couples[:, :, 0] >= 0).sum(1)[:, None]
    which = (rng.random(drawn.shape) * n_couples).astype(int)
    another = np.take_along_axis(couples[:, :, 1], which, 1)
    return torch.from_numpy(np.where(is_known == 1, another, drawn))


@torch.no_grad()
def looks_at_b(model):
    """Attention from the last A to its B, less that to another B: the strongest head."""
    _, cache = model.run_with_cache(prompts.tokens)
    pattern = cache["pattern", 1][:, :, -1]  # [prompt, head, key]
    to_b = pattern[torch.arange(200), :, prompts.at_b].mean(0)
    return float((to_b - (pattern[:, :, places].sum(-1).mean(0) - to_b) / 3).max())


curves = {}
for name, rows_at in {
    "with pairs": names_source.rows,
    "without pairs": without_pairs,
}.items():
    two_layers, seen = fresh_model(names_config, names_source), []

    def watched(step, size, rows_at=rows_at, two_layers=two_layers, seen=seen):
        """The rows of a step; every 20 steps the model is looked at first."""
        if step % 20 == 0:
            seen.append((step, looks_at_b(two_layers)))
        return rows_at(step, size)

    descend(names_config, watched, two_layers)
    curves[name] = [*seen, (300, looks_at_b(two_layers))]
log.observe("pairs", curves["without pairs"][-1][1])
CurveView(
    [CurveSeries(name, *map(list, zip(*curve))) for name, curve in curves.items()],
    title="Does a head look at the right B?",
    x_label="training step",
    y_label="attention, right B less another",
    references=[(0.0, "")],
)

# %% [markdown]
# Same build, same first weights, same loop, same names. With pairs, a head of layer 1 begins after some 160 steps to tell the right B from the others; without, none ever does. **The text decides which circuits form**: a circuit that predicts nothing gets no gradient. It works the other way round as well. If you look for a circuit and do not find it, ask first whether anything in the training text would have paid for it.
#
# (The seed was chosen: in 300 steps not every one gets as far. Seed 0 does not. [Notebook 16](16_watching_induction_heads_form.ipynb) takes the time, six seeds, and a closer look at what comes first.)
#
# ## 12. The log

# %%
log

# %% [markdown]
# ## 13. Exercises
#
# **Exercise 1.** The loss of order 1 by hand, without smoothing: how often each character occurs in `ids[:n_trained]`, and the mean of −ln of that frequency over the characters of `ids[n_trained:]`.
#
# <details><summary>Hint</summary>
#
# `np.bincount(ids[:n_trained], minlength=V)`; divide by the sum; then index with `ids[n_trained:]`.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# share = np.bincount(ids[:n_trained], minlength=V) / n_trained
# unigram = -np.log(share[ids[n_trained:]]).mean()
# ```
#
# </details>

# %%
unigram = ...

# %%
check(unigram, by_counting[1].estimate, tolerance=5e-3, hint="Logarithms are natural ones.")

# %% [markdown]
# **Exercise 2.** AdamW by hand. `w` is a matrix and `gradients` are those of three steps. After each, with m and v from 0 and t = 1, 2, 3:
#
# m ← β₁ m + (1 − β₁) g,  v ← β₂ v + (1 − β₂) g²,
# w ← w − η λ w − η (m / (1 − β₁ᵗ)) / (√(v / (1 − β₂ᵗ)) + ε)
#
# with η = 0.01, β₁ = 0.9, β₂ = 0.99, λ = 0.1, ε = 1e-8. Give `w` after the third step.
#
# <details><summary>Hint</summary>
#
# `for t, g in enumerate(gradients, 1):` and five lines. The decay does not pass through m and v: that is the W of AdamW (Loshchilov and Hutter 2019).
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# after, m, v = w.clone(), torch.zeros_like(w), torch.zeros_like(w)
# for t, g in enumerate(gradients, 1):
#     m = 0.9 * m + 0.1 * g
#     v = 0.99 * v + 0.01 * g**2
#     step = (m / (1 - 0.9**t)) / ((v / (1 - 0.99**t)).sqrt() + 1e-8)
#     after = after - 0.01 * 0.1 * after - 0.01 * step
# ```
#
# </details>

# %%
draws = torch.Generator().manual_seed(0)
w = torch.randn(4, 3, generator=draws)
gradients = [torch.randn(4, 3, generator=draws) for _ in range(3)]
after = ...

# %%
parameter = torch.nn.Parameter(w.clone())
adamw = torch.optim.AdamW([parameter], lr=0.01, betas=(0.9, 0.99), weight_decay=0.1)
for gradient in gradients:
    parameter.grad = gradient.clone()
    adamw.step()
check(after, parameter.detach().numpy(), tolerance=1e-5)

# %% [markdown]
# **Exercise 3.** A batch that does not fit into memory is run in parts (`accumulate`). Compute the gradient of `model.embed.W_E` for the 16 windows of `rows` in four parts of four, so that it is that of all 16 at once.
#
# <details><summary>Hint</summary>
#
# `backward()` adds to what is in `.grad`. The loss of a part is a mean over the part: what has to become of it, so that four of them add up to the mean over all?
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# model.zero_grad()
# for part in rows.chunk(4):
#     (NextTokenLoss(model)(part) / 4).backward()
# in_parts = model.embed.W_E.grad.clone()
# ```
#
# </details>

# %%
in_parts = ...

# %%
model.zero_grad()
NextTokenLoss(model)(rows).backward()
check(
    in_parts if in_parts is ... else (in_parts / in_parts.abs().max()).numpy(),
    (model.embed.W_E.grad / model.embed.W_E.grad.abs().max()).numpy(),
    tolerance=1e-4,
)

# %% [markdown]
# **Exercise 4.** An interval that does cover the seed: the mean loss of the three models of section 7, and Student's 95% interval of the mean with n = 3 models. Give its half width.
#
# <details><summary>Hint</summary>
#
# `scipy.stats.t.ppf(0.975, 2)` times the standard deviation (`ddof=1`) over √3.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# from scipy.stats import t as student
#
# three = np.array([one.mean() for one in as_it_is])
# half_width = student.ppf(0.975, 2) * three.std(ddof=1) / math.sqrt(3)
# ```
#
# </details>

# %%
half_width = ...

# %%
three = [one.mean() for one in as_it_is]
check(half_width, 4.3027 * np.std(three, ddof=1) / math.sqrt(3), tolerance=1e-4)

# %% [markdown]
# ## 14. Questions to take along
#
# 1. A colleague's loss is lower than yours on "the same" text. Name four differences that would make the two numbers incomparable.
# 2. Our text was written by a model. What would Shakespeare teach that nobody can learn from it?
# 3. The finished model has a loss of 1.55 nats on Shakespeare that it was not trained on, and of 1.30 (the floor) on its own text. If it were exactly as sure as it should be, how would the two compare? (Mind the contexts: 1 to 64 characters there, 32 to 63 here.)
# 4. If AdamW's memory is why clipping helps, what should β₂ = 0.9 do to the cost of no clipping? (`"settings": {"beta2": 0.9, "gradient_clip": 1e9}`, beside `{"beta2": 0.9}`.)
# 5. Exercise 4's interval is wide with three models. How many would you train before you say that warm-up helps by 0.02 nats?
#
# ## Further
#
# - Next: [16 · Watching induction heads form](16_watching_induction_heads_form.ipynb). A text of your own: `cutaway train shakespeare-small --data my-text.txt`, or change `file` in the configuration above.
# - Karpathy (2022), nanoGPT, [github.com/karpathy/nanoGPT](https://github.com/karpathy/nanoGPT): the loop that this one and many others descend from. How fast ours is beside it: [benchmarks.md](../docs/benchmarks.md#training).
# - Loshchilov and Hutter (2019), *Decoupled Weight Decay Regularization*, [arXiv:1711.05101](https://arxiv.org/abs/1711.05101): AdamW. The cosine: [arXiv:1608.03983](https://arxiv.org/abs/1608.03983).
# - Pascanu, Mikolov and Bengio (2013), [arXiv:1211.5063](https://arxiv.org/abs/1211.5063): clipping by the norm of the whole gradient.
# - Witten and Bell (1991), *The zero-frequency problem*: the smoothing of the n-grams.
# - Cards: [training.md](../docs/training.md), [ngrams.md](../docs/methods/ngrams.md), [evidence.md](../docs/methods/evidence.md), [emergence.md](../docs/methods/emergence.md).
