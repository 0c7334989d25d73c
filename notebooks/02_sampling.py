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
# # 02 · Sampling: from a distribution to a text
#
# A language model does not write. It gives a probability for each next token, and something else, outside of the model, picks one. That something has knobs (temperature, top-k, top-p, min-p, penalties, beams), and whoever reads a model's text reads the knobs as well. So we look at the distribution *before* anything is drawn, turn one knob at a time, and then see what comes out.
#
# **What you will know afterwards**
#
# - what each knob does to the distribution, as a picture and as a number;
# - how to test that a sampler draws what it says it draws;
# - why the likeliest text is not a good text, and why a wider beam makes it worse;
# - what beam search finds and what it misses, against a search through everything;
# - what penalties break, on a task where repeating a word is the right answer.
#
# **Time:** about 40 minutes; the cells run in about half a minute on one core. Method card: [sampling.md](../docs/methods/sampling.md).

# %%
MODEL = "shakespeare-small"  # or "gpt2", or the folder of a model of your own

# %%
import numpy as np
import torch
from course import Log, check, table
from scipy.stats import chisquare

import cutaway as ca
from cutaway.evidence import bootstrap_mean, proportion
from cutaway.model.beam_search import beam_search
from cutaway.model.sampling import Sampling, keep_top_p
from cutaway.plotting import heatmap
from cutaway.tasks.ioi_text import NAMES

torch.set_grad_enabled(False)
model = ca.HookedTransformer.from_pretrained(MODEL)
cfg = model.cfg
CHARACTERS = cfg.d_vocab < 100  # each token is one character
START = "ROMEO:\n" if CHARACTERS else "Then Mary and John went to the"
start = model.to_tokens(START)
N_NEW = min(56, cfg.n_ctx - start.shape[1])
logits = model(start)[:, -1]  # [1, d_vocab]: of the next token
print(f"{cfg.d_vocab} tokens to choose from after {START!r}")

# %% [markdown]
# ## 1. The knobs, before anything is drawn
#
# `Sampling` holds the knobs, and `Sampling(...).distribution(logits)` is what would be drawn from: a pure function. One row for each setting, one column for each of the likeliest tokens.

# %%
SETTINGS = {
    "as it is": Sampling(),
    "temperature 0.5": Sampling(temperature=0.5),
    "temperature 2": Sampling(temperature=2.0),
    "top_k 5": Sampling(top_k=5),
    "top_p 0.8": Sampling(top_p=0.8),
    "min_p 0.1": Sampling(min_p=0.1),
    "temperature 0 (greedy)": Sampling(temperature=0.0),
}
made = {name: setting.distribution(logits)[0] for name, setting in SETTINGS.items()}
likeliest = made["as it is"].topk(12).indices
heatmap(
    torch.stack([p[likeliest] for p in made.values()]),
    list(SETTINGS),
    [repr(model.to_single_str_token(int(t)))[1:-1] for t in likeliest],
    f"The next token after {START!r}",
    row_axis="setting",
    column_axis="token",
    value_label="probability",
    limit=0.3,
)


# %%
def entropy(p):
    """In bits: so many fair coins are worth this choice."""
    return float(-(p * p.clamp(min=1e-30).log2()).sum(-1).mean())


table(
    ["setting", "tokens left", "entropy, bits", "likeliest", "cut off"],
    [
        (
            name,
            int((p > 0).sum()),
            entropy(p),
            float(p.max()),
            float(made["as it is"][p == 0].sum()),
        )
        for name, p in made.items()
    ],
)

# %% [markdown]
# Temperature moves everything and removes nothing. The three cuts leave the order and the ratios of what stays alone: they cut off a tail and share its probability out. They differ in how they choose the place to cut: a *number* of tokens, a *mass*, or a *height* relative to the likeliest.
#
# ## 2. Predict
#
# Some of our guesses are wrong. Change them to yours.

# %%
log = Log()
log.expect(
    "chi",
    "20,000 draws against the exact distribution, top_p 0.8: p-value?",
    low=0.01,
    high=1,
    confidence=0.95,
    why="it draws what it says",
)
log.expect(
    "nucleus",
    "Tokens that top_p 0.9 keeps at temperature 2, divided by those at 1?",
    low=1,
    high=2,
    confidence=0.6,
    why="a hotter choice is a wider one",
)
log.expect(
    "best",
    "Is a search with 4 beams over a few tokens exact?",
    answer="yes",
    confidence=0.6,
    why="it looks only a few tokens ahead",
)
log.expect(
    "likelier",
    "Log p per token: best of 16 beams − real text, nats?",
    low=0,
    high=0.5,
    confidence=0.6,
    why="real text is nearly the likeliest",
)
log.expect(
    "plain",
    "Log p per token: drawn at temperature 1 − real text, nats?",
    low=-0.3,
    high=0.3,
    confidence=0.7,
    why="the model learned how likely text is",
)
log.expect(
    "dull",
    "Four-grams that stand twice in a beam's own text: more with 16 beams than with 1?",
    answer="no",
    confidence=0.6,
    why="the better search, the better text",
)
log.expect(
    "names",
    "ioi-mini, repetition penalty 2: share of right names?",
    low=0.5,
    high=1,
    confidence=0.6,
    why="it knows these prompts very well",
)
log.expect(
    "same",
    "Two loadings of one model with equal probabilities, repetition penalty 1.5: differ by?",
    low=0,
    high=0.001,
    confidence=0.8,
    why="equal probabilities",
)
log

# %% [markdown]
# ## 3. Does it draw what it says?
#
# Nobody sees a wrong sampler in a text. So compare frequencies with the exact distribution: Pearson's χ² over the tokens that can come. Under a right sampler its p-value is uniform between 0 and 1.

# %%
N_DRAWS = 20_000
rows = []
for name, setting in SETTINGS.items():
    generator = torch.Generator().manual_seed(1)
    drawn = setting.choose(logits.expand(N_DRAWS, -1), generator=generator)
    counts = drawn.bincount(minlength=cfg.d_vocab).double()
    expected = made[name].double() / made[name].double().sum() * N_DRAWS
    common = expected >= 5  # where the test holds
    never = int(counts[made[name] == 0].sum())
    seen, wanted = counts[common].numpy(), expected[common].numpy()
    p_value = chisquare(seen, wanted * seen.sum() / wanted.sum()).pvalue if len(seen) > 1 else 1.0
    rows.append((name, len(seen), float(np.abs(seen - wanted).max() / N_DRAWS), p_value, never))
log.observe("chi", rows[list(SETTINGS).index("top_p 0.8")][3])
table(
    ["setting", "tokens tested", "largest difference", "p-value", "drawn though cut off"],
    rows,
    digits=3,
)

# %% [markdown]
# One seed shows little. The tests of this package do it for every knob and for all of them together, also through `generate` itself. (A test that cannot fail is none: theirs are shown to fail against the plain softmax.)
#
# ## 4. The order of the knobs
#
# Temperature comes before top-p and min-p here, as in `transformers`. Elsewhere it may come after; then the same numbers mean another sampler.

# %%
ORDER_T = (0.5, 1.0, 1.5, 2.0)


def n_kept(p):
    return int((p > 0).sum())


SURE = START + "My lor" if CHARACTERS else START  # what comes now, every reader knows
places = {"unsure": logits, "sure": model(model.to_tokens(SURE))[:, -1]}
kept = {
    (place, t): (
        n_kept(Sampling(temperature=t, top_p=0.9).distribution(x)),
        n_kept((keep_top_p(x, 0.9) / t).softmax(-1)),
        n_kept(Sampling(temperature=t, min_p=0.1).distribution(x)),
    )
    for place, x in places.items()
    for t in ORDER_T
}
log.observe("nucleus", kept["unsure", 2.0][0] / kept["unsure", 1.0][0])
print(f"unsure: after {START!r}; sure: after {SURE!r}")
table(
    ["place", "temperature", "top_p 0.9 after it", "top_p 0.9 before it", "min_p 0.1 after it"],
    [(place, f"{t:g}", *numbers) for (place, t), numbers in kept.items()],
)

# %% [markdown]
# A high temperature lifts the tail, and a nucleus that is chosen afterwards lets in what has been lifted: 23 of the 65 characters at temperature 2, where it had 15 at 1. Chosen before, it would always be the same 15. Both orders are in use, and both are called top-p.
#
# Min-p counts height in place of mass. Where the model is unsure that cuts no less and no more (25 characters at temperature 2). The difference is where it is sure: after "My lor" everybody knows what comes. There the nucleus at temperature 2 has let four characters in, since the many small ones together weigh something; next to the tall one each of them is nothing, and min-p keeps one. A text is spoilt at the places where one was sure.
#
# ## 5. What comes out
#
# Now the texts. For each setting 60 continuations, and of each the mean log-probability per token *under the model as it is* (how surprised would the model be to read this?), the share of four-grams that stand twice in one text, and how many of the texts differ.
#
# Beside them **real text**: lines of *Hamlet*, a play that is not in this model's training text.

# %%
HAMLET = """To be, or not to be: that is the question:
Whether 'tis nobler in the mind to suffer
The slings and arrows of outrageous fortune,
Or to take arms against a sea of troubles,
And by opposing end them? To die: to sleep;
No more; and by a sleep to say we end
The heart-ache and the thousand natural shocks
That flesh is heir to, 'tis a consummation
Devoutly to be wish'd. To die, to sleep;
To sleep: perchance to dream: ay, there's the rub;
For in that sleep of death what dreams may come
When we have shuffled off this mortal coil,
Must give us pause: there's the respect
That makes calamity of so long life;
"""
N_TEXTS = 60
if CHARACTERS:
    whole = torch.tensor(model.get_tokenizer().encode(HAMLET))
    real = torch.stack(
        [torch.cat([start[0], piece]) for piece in whole.unfold(0, N_NEW, N_NEW)]
    )
else:  # other models: prompts of the IOI task stand in
    real = ca.tasks.ioi(model, n_prompts=40, seed=5).clean


def surprise(tokens, n_prompt):
    """Mean log-probability of each text's new tokens, in nats."""
    log_p = model(tokens)[:, :-1].log_softmax(-1).gather(-1, tokens[:, 1:, None])[..., 0]
    return log_p[:, n_prompt - 1 :].mean(-1).numpy()


def repeated(tokens, n_prompt, size=4):
    """Share of each text's n-grams that stood there before."""
    grams = tokens[:, n_prompt:].unfold(1, size, 1).tolist()
    return np.array([1 - len(set(map(tuple, row))) / len(row) for row in grams])


def written(**knobs):
    return model.generate(
        start.repeat(N_TEXTS, 1),
        N_NEW,
        stop_at_eos=False,
        generator=torch.Generator().manual_seed(0),
        **knobs,
    )


KNOBS = {
    "greedy": {"temperature": 0},
    "temperature 0.5": {"temperature": 0.5},
    "temperature 1": {},
    "temperature 1, top_k 5": {"top_k": 5},
    "temperature 1, top_p 0.8": {"top_p": 0.8},
    "temperature 1, min_p 0.1": {"min_p": 0.1},
    "temperature 2": {"temperature": 2.0},
    "temperature 2, top_p 0.9": {"temperature": 2.0, "top_p": 0.9},
    "temperature 2, min_p 0.1": {"temperature": 2.0, "min_p": 0.1},
}
texts = {name: written(**knobs) for name, knobs in KNOBS.items()}
n_start = start.shape[1]
n_front = n_start if CHARACTERS else 1
scores = {"real text": surprise(real, n_front)}
scores |= {name: surprise(tokens, n_start) for name, tokens in texts.items()}
repeats = {"real text": repeated(real, n_front)}
repeats |= {name: repeated(tokens, n_start) for name, tokens in texts.items()}
table(
    ["text", "log p per token", "four-grams repeated", "different texts"],
    [
        (
            name,
            bootstrap_mean(scores[name], seed=0) if name != "greedy" else float(scores[name][0]),
            float(repeats[name].mean()),
            "" if name == "real text" else f"{len(texts[name].unique(dim=0))} of {N_TEXTS}",
        )
        for name in scores
    ],
)

# %%
for name, tokens in texts.items():
    print(f"--- {name}\n{model.to_string(tokens[:1, n_start:])[0]}")

# %%
log.observe("plain", float(scores["temperature 1"].mean() - scores["real text"].mean()))

# %% [markdown]
# Three things to see.
#
# - **Cuts and cold make text likelier than real text.** Drawn with top-k, top-p, min-p or at temperature 0.5, texts lie between −0.94 and −1.10 per character; the real lines at −1.73. Nobody who writes chooses the most expected character all the time. (With a cut, of course, nothing that was cut off can lower the mean.)
# - **Even uncut draws are likelier than real text**, −1.30. Had the model learned Shakespeare perfectly, both would be the same: the mean log-probability of its own draws is minus its entropy, that of real text minus its cross-entropy, and the difference is what it has yet to learn. That is large here: *Hamlet* is another play, our pieces of it begin in the middle of a word, and the model is small.
# - **The three settings at temperature 2 differ.** Uncut it is noise. Top-p 0.9 is hardly better, and min-p 0.1 comes down to where real text is. Likely is not readable, though: read the texts.
#
# Greedy is one text, however often you ask. Already within 56 characters it has written an eighth of its four-grams twice.
#
# ## 6. Beam search, by hand and against everything
#
# Greedy choice takes the likeliest *token*. Beam search looks for the likeliest *text*: it keeps the `n` best beginnings, extends each by every token, and keeps the `n` best again. A few lines:

# %%
N_EXACT = 3 if CHARACTERS else 2


def beams_by_hand(n_beams, n_new):
    beams, log_p = start, torch.zeros(1)
    for _ in range(n_new):
        new = log_p[:, None] + model(beams)[:, -1].log_softmax(-1)  # [beam, d_vocab]
        log_p, best = new.flatten().topk(min(n_beams, new.numel()))
        beams = torch.cat([beams[best // cfg.d_vocab], (best % cfg.d_vocab)[:, None]], 1)
    return beams[0, n_start:], float(log_p[0])


def everything(n_new):
    """The log-probability of every continuation there is: [d_vocab] * n_new."""
    beginnings, log_p = start, torch.zeros(1)
    for step in range(n_new):
        new = torch.cat(
            [model(part)[:, -1].log_softmax(-1) for part in beginnings.split(1000)]
        )
        log_p = (log_p[:, None] + new).flatten()
        if step < n_new - 1:
            tokens = torch.arange(cfg.d_vocab).repeat(len(beginnings))[:, None]
            beginnings = torch.cat([beginnings.repeat_interleave(cfg.d_vocab, 0), tokens], 1)
    return log_p


exact = everything(N_EXACT)
best = float(exact.max())
index = int(exact.argmax())
true_best = []
for _ in range(N_EXACT):
    true_best.insert(0, index % cfg.d_vocab)
    index //= cfg.d_vocab
print(f"{len(exact)} continuations, together {float(exact.exp().sum()):.4f}")
print(f"the likeliest: {model.to_string(true_best)!r}, log p {best:.4f}")
table(
    ["beams", "found", "log p", "by hand", "what is missing"],
    [
        (
            str(n),
            repr(model.to_string(found.tokens[0, 0, n_start:])),
            float(found.scores[0, 0]),
            beams_by_hand(n, N_EXACT)[1],
            best - float(found.scores[0, 0]),
        )
        for n in (1, 2, 4, 8, 16)
        for found in [
            beam_search(model, start, N_EXACT, n, length_penalty=0.0, stop_at_eos=False)
        ]
    ],
    digits=3,
)

# %%
four = beam_search(model, start, N_EXACT, 4, length_penalty=0.0, stop_at_eos=False)
log.observe("best", "yes" if abs(float(four.scores[0, 0]) - best) < 1e-4 else "no")

# %% [markdown]
# Two beams find the best of 274,625 here, and one does not: it starts with `I`, the likeliest first character, and `I` leads to less likely places than `T`. Nothing guarantees the others. Beam search throws beginnings away by their score so far, and where the best text begins badly it is lost; a test of this package holds a model where two beams miss what four find. Over more characters nobody can look at everything, and one does not know.
#
# ## 7. The likeliest text
#
# Now over the whole length, and wider and wider.

# %%
WIDTHS = (1, 4, 16, 64)
wide = {n: beam_search(model, start, N_NEW, n, stop_at_eos=False) for n in WIDTHS}
for n, found in wide.items():
    print(f"--- {n} beams\n{model.to_string(found.tokens[0, 0, n_start:])}")

# %%
beam_scores = {n: float(surprise(found.tokens[:, 0], n_start)[0]) for n, found in wide.items()}
beam_repeats = {n: float(repeated(found.tokens[:, 0], n_start)[0]) for n, found in wide.items()}
log.observe("likelier", beam_scores[16] - float(scores["real text"].mean()))
log.observe("dull", "yes" if beam_repeats[16] > beam_repeats[1] else "no")
table(
    ["beams", "log p per token", "four-grams repeated", "of the drawn ones, less likely"],
    [
        (
            str(n),
            beam_scores[n],
            beam_repeats[n],
            float((scores["temperature 1"] < beam_scores[n]).mean()),
        )
        for n in WIDTHS
    ],
)

# %% [markdown]
# The search works: wider beams find likelier texts, and from four beams on each is likelier than all 60 that we drew. And the text gets worse and worse. At 16 beams it is −0.44 per character, a nat and more above real text, and a third of its four-grams stand twice: *My lord, my lord.* What has been said is likely to be said again, most of all by models with induction heads (notebook 10), and every repetition makes the next one likelier. The likeliest text of a good model of text is a bad text (Holtzman et al. 2020). The model is not wrong there: each single text like that is likely, and there are few of them; the others are unlikely one by one, and there are so many that you draw one of them nearly always.
#
# Beam search is for tasks where the answer is nearly fixed and only its wording is open, as in translation.
#
# ### How long is the best text?
#
# Every further token makes a text less likely, so a search for the likeliest text likes short ones. `length_penalty` divides log p by length to that power. Let a line's end be the end:

# %%
if CHARACTERS:
    end = model.to_single_token("\n")
    line_start = model.to_tokens(START + "I")
else:
    end = int(logits.argmax())
    line_start = start
lines = {
    power: beam_search(
        model, line_start, min(50, N_NEW - 1), 16, length_penalty=power, eos_token_id=end
    )
    for power in (0.0, 0.5, 1.0, 2.0)
}
table(
    ["length_penalty", "tokens", "log p", "text"],
    [
        (
            f"{power:g}",
            int(found.n_generated[0, 0]),
            float(found.scores[0, 0]) * int(found.n_generated[0, 0]) ** power,
            repr(model.to_string(found.tokens[0, 0, n_start:][: 1 + int(found.n_generated[0, 0])])),
        )
        for power, found in lines.items()
    ],
)

# %% [markdown]
# With 0 the likeliest line is `I` and an end: it is hardly ever written, but any longer line has to pay for every character. With 1 the *mean* per character is compared, with 2 the search never wants to stop. All of these are "beam search". Nothing in the model says which to take.
#
# ## 8. Penalties, and what they break
#
# Against loops there are penalties on what has stood in the text before, prompt included. The *repetition penalty* divides positive logits by a factor and multiplies negative ones; the *frequency penalty* takes something off for each occurrence; the *n-gram block* forbids.
#
# But in "Because Sophie and Eric had met at the restaurant before, Eric brought a flower to", the right answer *is* a repetition.

# %%
ioi = ca.HookedTransformer.from_pretrained("ioi-mini")
task = ca.tasks.ioi(ioi, n_prompts=200, corruption="s2-flip", seed=0)
each = torch.arange(len(task.clean))
real_tokens = task.clean != ioi.get_tokenizer().pad_token_id
answer_logits = ioi(task.clean)[each, task.positions["END"]]


def likeliest_answer(setting, of=answer_logits):
    return setting.penalised(of, task.clean, real_tokens).argmax(-1)


def is_name(token):
    return ioi.to_single_str_token(token).strip() in NAMES


rows = []
for option, values in (
    ("repetition_penalty", (1.0, 1.2, 1.5, 2.0)),
    ("freq_penalty", (1.0, 2.0, 4.0, 8.0)),
):
    for value in values:
        setting = Sampling(**{option: value})
        said = likeliest_answer(setting)
        right = said == task.correct
        others = [is_name(int(t)) for t in said[~right & (said != task.wrong)]]
        share = proportion(int(right.sum()), len(right))
        p_io = setting.distribution(answer_logits, task.clean, real_tokens)[each, task.correct]
        rows.append(
            (
                f"{option} {value:g}",
                share,
                float((said == task.wrong).float().mean()),
                sum(others) / len(said),
                float(p_io.mean()),
            )
        )
        if (option, value) == ("repetition_penalty", 2.0):
            log.observe("names", share)
table(["penalty", "says IO", "says S", "another name", "P(IO)"], rows, digits=3)

# %% [markdown]
# Without a penalty the model knows every name. A repetition penalty of 1.2, which many use without a thought, already takes more than a tenth of the probability away; at 1.5 three names in ten are wrong; at 2 all of them. The model has not forgotten the name, the sampler forbids it. What it says then is never the other name of the prompt, which is penalised as well, but always a name that nobody has mentioned.
#
# So before you say that a model cannot do something, read the settings that it was asked with. Copying is what a penalty on repetition punishes, and copying is what induction heads and name movers do.
#
# ### Where is zero?
#
# The repetition penalty asks whether a logit is positive. But a softmax does not know where the zero of its logits is: add 5 to all of them, and nothing changes. `from_pretrained` centres the unembedding, as is the field's custom, which moves all logits by one number per position and leaves every probability alone.

# %%
plain = ca.HookedTransformer.from_pretrained_no_processing("ioi-mini")
plain_logits = plain(task.clean)[each, task.positions["END"]]
difference = (answer_logits.log_softmax(-1) - plain_logits.log_softmax(-1)).abs().max()
print(f"largest difference of a log-probability: {float(difference):.0e}")
print(f"mean shift of the logits: {float((answer_logits - plain_logits).mean()):.2f}")
rows = []
for setting in (
    Sampling(),
    Sampling(repetition_penalty=1.5),
    Sampling(freq_penalty=2.0),
):
    one, other = (
        likeliest_answer(setting, of) == task.correct for of in (answer_logits, plain_logits)
    )
    rows.append(
        (
            f"repetition {setting.repetition_penalty:g}, frequency {setting.freq_penalty:g}",
            float(one.float().mean()),
            float(other.float().mean()),
        )
    )
log.observe("same", abs(rows[1][1] - rows[1][2]))
table(["penalties", "right name, centred", "right name, as in the file"], rows)

# %% [markdown]
# One model, loaded twice, all probabilities equal to the fourth digit, and the penalty takes 30 answers of 100 away in one and 19 in the other. Its result depends on a number that means nothing. The frequency penalty subtracts and so does not care. `transformers` applies the repetition penalty to the logits of the file, so load with `from_pretrained_no_processing` if you need the same as there. (In beam search both act on log-probabilities, whose zero is fixed.)
#
# ## 9. Break it on purpose
#
# **Block every repetition.** `no_repeat_ngram_size=1` lets no token come twice, those of the prompt included:

# %%
prompt = task.clean_text[0]
for size in (0, 1, 2):
    said = ioi.generate(prompt, 8, temperature=0, no_repeat_ngram_size=size)
    print(f"{size}: {said[len(prompt) :]!r}")

# %% [markdown]
# The model wants to say the name so much that it finds a way round: *Sophie* without a space before it is another token (the one that begins a sentence), and that one has not stood there. And it cannot stop any more. Its end token is also its start token, which stands before every prompt, so the block forbids it; penalties weaken it for the same reason.
#
# Things to break by yourself:
#
# - Give `temperature=5` with `min_p=0.1` and then with `top_p=0.9` in section 5. Which one still writes words?
# - Give a negative `freq_penalty`. How long until nothing else comes?
# - Draw with two generators of the same seed, one of them used once before. How many tokens are the same?
# - Draw the same prompt in a batch of 1 and of 60 with the same seed. Is the first text the same? Should it be?
#
# ## 10. The log

# %%
log

# %% [markdown]
# ## 11. Exercises
#
# **Exercise 1.** Write min-p yourself: from `logits[0]` the distribution in which every token has gone that is less than 0.05 times as likely as the likeliest, without `Sampling`.
#
# <details><summary>Hint</summary>
#
# Softmax first; then zero, and divide by what is left.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# p = logits[0].softmax(-1)
# p[p < 0.05 * p.max()] = 0
# by_min_p = p / p.sum()
# ```
#
# </details>

# %%
by_min_p = ...

# %%
check(by_min_p, Sampling(min_p=0.05).distribution(logits)[0], tolerance=1e-5)

# %% [markdown]
# **Exercise 2.** How far is a cut distribution from the whole one? The *total variation distance* is half the sum of absolute differences. Compute it for `top_k=5`, and compare it with a number that the table of section 1 has already.
#
# <details><summary>Hint</summary>
#
# `made["top_k 5"]` and `made["as it is"]`. What is cut off is lost in one place and gained in another.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# distance = float((made["top_k 5"] - made["as it is"]).abs().sum() / 2)
# ```
#
# </details>

# %%
distance = ...

# %%
check(distance, float(made["as it is"].sort(descending=True).values[5:].sum()), tolerance=1e-4)

# %% [markdown]
# **Exercise 3.** A frequency penalty f takes f from the logit of IO, which stood in the prompt once, and 2 f from that of S, which stood there twice. By how much does the mean logit difference IO − S change for f = 3? Measure it with `Sampling(...).penalised`.
#
# <details><summary>Hint</summary>
#
# `penalised(answer_logits, task.clean, real_tokens)`, then rows `each`, columns `task.correct` and `task.wrong`, with the penalty and without.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# after = Sampling(freq_penalty=3.0).penalised(answer_logits, task.clean, real_tokens)
# before = answer_logits
# change = float(
#     (after - before)[each, task.correct].mean() - (after - before)[each, task.wrong].mean()
# )
# ```
#
# </details>

# %%
change = ...

# %%
check(change, 3.0, tolerance=1e-3, hint="IO loses 3, S loses 6.")

# %% [markdown]
# ## 12. Questions to take along
#
# 1. A paper shows texts "sampled with top-p 0.9". Which two more settings do you need to repeat them?
# 2. You compare two models by the texts that they write, each with its maker's default settings. What have you compared?
# 3. A model that has learned its text perfectly is sampled at temperature 0.7. Are its texts like the text it learned?
# 4. Beam search finds a continuation that the model holds for e⁵ times likelier than what a human wrote. Which of the two is wrong?
# 5. In an experiment on induction heads someone generates with a repetition penalty. What happens to the heads' work?
#
# ## Further
#
# - Next: [03 · Hooks: read and intervene](03_hooks.ipynb).
# - Holtzman et al. (2020), *The Curious Case of Neural Text Degeneration*, [arXiv:1904.09751](https://arxiv.org/abs/1904.09751): top-p, and why the likeliest text is dull.
# - Fan, Lewis and Dauphin (2018), *Hierarchical Neural Story Generation*, [arXiv:1805.04833](https://arxiv.org/abs/1805.04833): top-k.
# - Nguyen et al. (2024), *Turning Up the Heat: Min-p Sampling*, [arXiv:2407.01082](https://arxiv.org/abs/2407.01082).
# - Keskar et al. (2019), *CTRL*, [arXiv:1909.05858](https://arxiv.org/abs/1909.05858): the repetition penalty.
# - Method cards: [sampling.md](../docs/methods/sampling.md), [evidence.md](../docs/methods/evidence.md).
