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
# # 20 · Features in a residual stream: found, read, and tested
#
# In notebook 19 the features were known, and we could count which of them a dictionary finds. On a language model there is no such list. What is left are three questions of rising strictness. Does the dictionary rebuild what the model computes (*found*)? Can a person say when a feature fires (*read*)? And does the model use it (*tested*)? Most of what is written about features stops at the second. This notebook does not, and you will see the second and the third answer come apart.
#
# The dictionary is the one that comes with the package: 768 features of the stream after layer 2 of `ioi-mini`, about 16 of them active at a token, trained on four million activations. The behaviour is the one of notebooks 04 to 09: after *Then Mary and John went to the store. John gave a drink to* the model says *Mary*.
#
# **What you will know afterwards**
#
# - what a dictionary of a real stream is worth, beside baselines with as many numbers;
# - how to read a feature, and why its strongest examples flatter;
# - what a rule with precision and recall says, and that random directions have rules too;
# - features patched, ablated and steered with the words you know from heads, and the error term that no feature speaks of;
# - that a rule says *when*, not *what for*; and that "what for" depends on how you ask.
#
# **Time:** about 60 minutes; the cells run in about half a minute on one core. Method cards: [features.md](../docs/methods/features.md), [features-in-circuits.md](../docs/methods/features-in-circuits.md).

# %%
MODEL = "ioi-mini"  # or "gpt2", or the folder of a model of your own

# %%
import copy

import matplotlib.pyplot as plt
import numpy as np
import torch
from course import Log, check, table

import cutaway as ca
from cutaway.evidence import (
    bootstrap_correlation,
    bootstrap_mean,
    bootstrap_ratio,
    proportion,
)
from cutaway.experiments.dictionaries.token_sets import token_sets
from cutaway.sae import (
    Activations,
    DictionarySettings,
    FixedTokens,
    PassSettings,
    describe,
    evaluate,
    feature_circuit,
    feature_directions,
    feature_examples,
    firings,
    new_dictionary,
    run_kept,
    spliced,
    steered,
    train_dictionaries,
    written_rows,
)
from cutaway.sae.kept import Case, nodes_of
from cutaway.training import ioi_corpus

NAME = " Nick"  # we shall look for whoever says this name
model = ca.HookedTransformer.from_pretrained(MODEL)
words = model.to_str_tokens(torch.arange(model.cfg.d_vocab))
task = ca.tasks.ioi(model, n_prompts=64, seed=0)
print(task.baseline(model))

# %% [markdown]
# ## 1. Predict
#
# A guess that you make after the number is none. Some of ours are wrong; change them to yours.

# %%
log = Log()
log.expect(
    "nats",
    "Loss of the model with the dictionary in place of the stream: up by (nats)?",
    high=0.05,
    confidence=0.7,
    why="16 of 768 features, well trained",
)
log.expect(
    "described",
    "Living features that a simple rule describes (F1 of 0.5 on one text)?",
    low=0.5,
    confidence=0.6,
    why="the sentences are simple",
)
log.expect(
    "random rules",
    "The same of a dictionary of random directions?",
    high=0.05,
    confidence=0.7,
    why="they mean nothing",
)
log.expect(
    "said",
    "The feature that writes Nick most: at how many of its places has Nick been said?",
    low=0.5,
    confidence=0.7,
    why="it is the Nick feature",
)
log.expect(
    "estimate",
    "Correlation of effects estimated by gradients with exact ones?",
    low=0.95,
    confidence=0.7,
    why="one layer follows",
)
log.expect(
    "nodes",
    "Features that reach 90% of what all features do on IOI?",
    high=10,
    confidence=0.6,
    why="the answer is one name",
)
log.expect(
    "random nodes",
    "Faithfulness of as many random features that do something?",
    high=0.2,
    confidence=0.8,
    why="an answer is not anywhere",
)
log.expect(
    "error",
    "What does the error term carry alone?",
    high=0.1,
    confidence=0.6,
    why="as much as it leaves of the variance",
)
log.expect(
    "own prompts",
    "Share of that feature's effect from prompts with Nick in them?",
    low=0.5,
    confidence=0.7,
    why="on others it has nothing to say",
)
log.expect(
    "when",
    "Largest effect among the ten features with the best rules?",
    low=0.02,
    confidence=0.6,
    why="what is so clean must be good for something",
)
log.expect(
    "steered",
    "That feature at twice its largest value: share of prompts that say Nick?",
    low=0.8,
    confidence=0.7,
    why="it writes Nick",
)
log.expect(
    "turned",
    "The same dose along a random direction?",
    high=0.05,
    confidence=0.8,
    why="a random direction writes nothing",
)
log

# %% [markdown]
# ## 2. Found
#
# For another model than `ioi-mini` a small dictionary is trained here, on prompts of the task, in seconds: enough to run the notebook, too little to believe in.


# %%
def text(seed: int, n: int) -> torch.Tensor:
    """Tokens [sequence, pos]: the training's kind of text, or prompts of the task."""
    if MODEL == "ioi-mini":
        return ioi_corpus.Corpus(seed=seed).sequences(0, n)
    return ca.tasks.ioi(model, n_prompts=n, seed=seed).clean


if MODEL == "ioi-mini":
    dictionary = ca.sae.load_dictionary("ioi-mini-resid-2")
else:
    hook = f"blocks.{model.cfg.n_layers // 2}.hook_resid_post"
    wanted = DictionarySettings(
        "batch-top-k", hook=hook, k=16, d_features=256, learning_rate=3e-3
    )
    source = Activations(model, FixedTokens(text(301, 300)), hook, buffer_rows=8192)
    one_pass = PassSettings(n_rows=60_000, batch_size=512, start_rows=2048)
    dictionary = train_dictionaries(source, [wanted], one_pass)[0].dictionary
dictionary.requires_grad_(False)
HOOK, N = dictionary.cfg.hook, dictionary.cfg.d_features
print(dictionary.cfg.kind, "with", N, "features of", HOOK)

# %%
seen = evaluate(dictionary, model, text(302, 32), fit_tokens=text(303, 32))
log.observe("nats", seen.losses.increase("dictionary"), digits=3)
table(
    ["in place of the stream", "L0", "explained variance", "loss up by", "recovered"],
    [
        (
            name,
            one.l0(),
            one.explained_variance(),
            seen.losses.increase(name),
            seen.losses.loss_recovered(name, "mean ablation"),
        )
        for name, one in seen.rows.items()
    ],
)

# %% [markdown]
# Read the columns together, as in notebook 19. With 17 numbers for each token the dictionary explains 94% of the variance, and the model hardly notices that it computes through it: 0.02 nats. As many of each row's own largest principal components, which know nothing of features, explain 77% and cost 0.17. And the share that is "recovered" hardly tells them apart: even random directions recover 93%.
#
# So something has been found. How often do its features fire?

# %%
fit_text = firings(model, dictionary, text(304, 400))
other_text = firings(model, dictionary, text(305, 200))
alive = fit_text.n_fired > 0
figure, axis = plt.subplots(figsize=(6, 3))
axis.hist(np.log10(fit_text.density[alive]), bins=40, color="tab:blue")
axis.set(xlabel="log10 of the share of tokens at which a feature fires", ylabel="features")
plt.show()
print(
    f"{fit_text.n_tokens:,} tokens; {int((~alive).sum())} of {N} features fire at none of them"
)
print("quartiles:", np.quantile(fit_text.density[alive], (0.25, 0.5, 0.75)).round(3))
print(
    "features that fire at more than a tenth of the tokens:",
    int((fit_text.density > 0.1).sum()),
)

# %% [markdown]
# Half of them fire at fewer than one token in a hundred. At the right end stand 36 that fire at more than one in ten, two dozen of them almost equally often (the spike near −0.8, which is 15%). Remember them.
#
# ## 3. Read
#
# **Who says Nick?** A unit of a feature adds its row of `written_rows` to the stream, and the unembedding makes logits of it. That is the direct path, without what layer 3 does. Which features raise the logit of Nick most?

# %%
directions = feature_directions(model, dictionary)
name_token = model.to_single_token(NAME)
W_U = (model.W_U - model.W_U.mean(-1, keepdim=True)).detach().float()
per_unit = written_rows(dictionary).float() @ W_U  # [feature, token]
writers = per_unit[:, name_token].argsort(descending=True)[:5].tolist()


def promotes(feature: int, k: int = 4) -> str:
    """The tokens whose logits a feature raises most by its direct path."""
    return ", ".join(repr(words[token]) for token in directions.promoted[feature][:k])


table(
    ["feature", f"logit of {NAME.strip()} per unit", "density", "promotes most"],
    [
        (str(f), float(per_unit[f, name_token]), f"{fit_text.density[f]:.1%}", promotes(f))
        for f in writers
    ],
)

# %% [markdown]
# One stands out. Now its examples: the strongest places (one for each sequence), and below them places drawn from each quarter of its values, so that we see all that the feature does and not only its best moments. `⟦ ⟧` marks the token at which it has the value, `¶` the start of a text.
#
# Read the eight strongest first, and write down a label. Then read on.

# %%
NICK = writers[0]
examples = feature_examples(fit_text, n_top=8, n_per_band=3, before=10, after=2)
BANDS = ("strongest", "upper quarter", "second", "third", "lowest quarter")


def look(feature: int):
    """Examples of all strengths; the token at which the feature has the value is marked."""
    rows = []
    for example, band in enumerate(examples.band):
        window = examples.tokens[feature, example]
        if window[examples.before] < 0:
            continue
        shown = [
            f"⟦{words[token]}⟧" if at == examples.before else words[token]
            for at, token in enumerate(window)
            if token >= 0
        ]
        value = float(examples.values[feature, example, examples.before])
        rows.append((BANDS[band], value, "".join(shown).strip().replace("<|bos|>", " ¶ ")))
    return table(["", "value", f"feature {feature}"], rows)


look(NICK)

# %% [markdown]
# From the strongest examples anybody would write: *Nick has been said, and could be named next*. It even promotes " Nick". Further down there is no Nick. How far does the label hold? It can be counted, on text that we have not looked at:

# %%
SAME = [
    t for t, word in enumerate(words) if word.strip() == NAME.strip()
]  # with and without space


def said_before(found) -> np.ndarray:
    """[sequence, pos]: whether the name stands before or at a token, since BOS."""
    said = np.zeros(found.tokens.shape, dtype=bool)
    for sequence, row in enumerate(found.tokens):
        now = False
        for at, token in enumerate(row):
            now = (now or token in SAME) and token != model.tokenizer.bos_token_id
            said[sequence, at] = now
    return said & found.kept


said = said_before(other_text)
places, values = other_text.of(NICK)
places = places[np.argsort(-values)]
parts = {"strongest ten": places[:10], **dict(zip(BANDS[1:], np.array_split(places, 4)))}
parts["all of them"] = places
share = {
    name: proportion(int(said.flat[own].sum()), len(own)) for name, own in parts.items()
}
share["all tokens"] = proportion(int(said.sum()), other_text.n_tokens)
log.observe("said", share["all of them"])
table(
    [f"places of feature {NICK}", f"{NAME.strip()} has been said", "of"],
    [(name, found, found.n) for name, found in share.items()],
)

# %%
figure, axes = plt.subplots(1, 2, figsize=(9, 3))
nick_places, nick_values = other_text.of(NICK)
of_name = said.flat[nick_places]
bins = np.linspace(0, nick_values.max(), 40)
for axis in axes:
    axis.hist(nick_values[~of_name], bins, color="0.7", label="not said")
    axis.hist(
        nick_values[of_name],
        bins,
        color="tab:blue",
        alpha=0.8,
        label=f"{NAME.strip()} said",
    )
    axis.set(xlabel=f"feature {NICK}", ylabel="tokens")
axes[1].set(ylim=(0, 25), title="the same, enlarged")
axes[0].legend()
plt.show()
for border in (3, 5):
    above = nick_values > border
    print(f"places above {border}: {above.sum()}, with {NAME.strip()}: {of_name[above].sum()}")
missed = said.sum() - of_name.sum()
print(
    f"tokens with {NAME.strip()} said at which the feature is silent: {missed} of {said.sum()}"
)

# %% [markdown]
# Seven of the ten strongest places, and 4% of all. In the picture: of the twelve places above 5 nine are about Nick, as the examples say, and the feature fires at 1,962. (It misses as well: at more than half of the tokens after a Nick it is silent.) A page of top examples shows the right tail of every feature and nothing else. It is why examples of all strengths stand on ours, and why a label needs its **recall** beside its precision.
#
# What is it, then, that the feature does at its other places? Keep the question. Section 4 has an answer.
#
# **Rules.** `describe` tries a fixed list of simple rules on every feature: it fires *on* a token, on a named set (names, numbers, punctuation, ...) or one of at most five tokens; *after* one of these; *at* a position. The rule with the best F1 on one text is kept if its F1 is at least 0.5, and its precision and recall are counted on another text. No language model writes labels or grades them. Beside our dictionary goes one of random directions, with as many active at a token.

# %%
SETS = token_sets(words)
rules = describe(fit_text, other_text, model.cfg.d_vocab, SETS)
described = sorted([rule for rule in rules if rule is not None], key=lambda rule: -rule.f1)


def random_dictionary(seed: int = 0):
    """As many random unit directions, the k largest of a row active."""
    k = round(seen.dictionary.l0().estimate)
    cfg = dictionary.cfg.replace(kind="top-k", k=k)
    random = new_dictionary(cfg, seed=seed).requires_grad_(False)
    random.b_dec.copy_(
        dictionary.b_dec
    )  # the middle of the stream is not what is in question
    return random


stranger = random_dictionary()
stranger_fit = firings(model, stranger, text(304, 400))
stranger_rules = describe(
    stranger_fit, firings(model, stranger, text(305, 200)), model.cfg.d_vocab, SETS
)
n_alive = int(alive.sum())
of_strangers = [rule for rule in stranger_rules if rule is not None]
n_strangers = int((stranger_fit.n_fired > 0).sum())
log.observe("described", proportion(len(described), n_alive))
log.observe("random rules", proportion(len(of_strangers), n_strangers))
table(
    ["dictionary", "alive", "described", "on", "after", "at", "median F1 of these"],
    [
        (
            name,
            n,
            len(own),
            *(sum(rule.where == where for rule in own) for where in ("on", "after", "at")),
            float(np.median([rule.f1 for rule in own])) if own else 0.0,
        )
        for name, own, n in (
            ("trained", described, n_alive),
            ("random directions", of_strangers, n_strangers),
        )
    ],
)

# %%
table(
    ["feature", "fires", "precision", "recall", "density", "promotes"],
    [
        (
            str(rule.feature),
            rule.text(words),
            rule.precision,
            rule.recall,
            f"{fit_text.density[rule.feature]:.1%}",
            promotes(rule.feature, 3),
        )
        for rule in (*described[:6], *described[-3:])
    ],
)

# %% [markdown]
# Three features in four have no rule, which is not the same as no meaning: the list looks at one token, the one before and the position, and at nothing else. But what has a rule did not get it by chance: of the random directions 2% have one. (Do not rely on it everywhere: section 6 has a model in which seven times as many random directions have one.)
#
# The last three rows are the price of choosing: rules with an F1 of 0.5 or more on the first text, most of them for features that fire a few times there, and that hold nowhere else. Without the second text you would have believed them. And hold a precision against the density: a feature that fires at 60% of all tokens has a precision of 0.6 for any rule at all.
#
# **One that fits no rule.** You can always invent one. Our list never looks at the token that comes *next*, which is what a language model is about. Of the features without a rule, which one fires most nearly *before a name*?

# %%
names = np.array(SETS["a name"])


def before_a_name(found) -> np.ndarray:
    """[sequence, pos]: whether the next token is a name."""
    next_is = np.zeros(found.tokens.shape, dtype=bool)
    next_is[:, :-1] = np.isin(found.tokens[:, 1:], names)
    return next_is & found.kept


wanted_places = before_a_name(fit_text)


def f1_of(feature: int) -> float:
    """Of the rule "before a name", on the text that rules are chosen on."""
    own = fit_text.of(feature)[0]
    return float(2 * wanted_places.flat[own].sum() / (len(own) + wanted_places.sum()))


BEFORE = max((f for f in np.flatnonzero(alive) if rules[f] is None), key=f1_of)
own, there = other_text.of(BEFORE)[0], before_a_name(other_text)
hits = int(there.flat[own].sum())
print(f"feature {BEFORE}: precision {proportion(hits, len(own))}")
print(f"             recall    {proportion(hits, int(there.sum()))}")
print(
    f"before a name are    {proportion(int(there.sum()), other_text.n_tokens)} of all tokens"
)
print("it promotes", promotes(int(BEFORE), 8))
look(int(BEFORE))

# %% [markdown]
# Here the examples of all strengths tell one story: after *Sunday*, *knew*, *with*, *and*, a name comes. The feature cannot see the next token, so what it says is that a name is *expected*, and it promotes nearly all of them a little. The recall of 0.45 says that it is not the only one to do so.
#
# All this, for all features, with a search and filters, is a page: `cutaway sae features ioi-mini-resid-2` writes it, and you should spend ten minutes there before you go on.
#
# ## 4. Tested
#
# A rule is a correlation. Whether the model *uses* a feature can only be found by changing it. With the rest of the stream held (the **error term**: what the dictionary does not rebuild stays what it is), changing feature *i* from f to f′ adds (f′ − f) times its row to the stream. So features are a site like heads, and the words are those of notebooks 05 to 08: noising puts the corrupted prompt's value into the clean run, denoising the other way round, at a named position; an effect of 1 is the whole difference between clean and corrupted.
#
# 768 features at five positions, both directions, on 256 prompts, exactly. `ca.attribute` estimates the same from one gradient.

# %%
fit = ca.tasks.ioi(model, n_prompts=256, seed=1)
site = ca.sae.features(dictionary)
noising = ca.sweep(model, fit, site, positions="named", mode="noising")
denoising = ca.sweep(model, fit, site, positions="named")
estimated = ca.attribute(model, fit, site, positions="named", mode="noising")
does = (noising.per_prompt != 0).any(-1)  # [feature, position]: those that do anything
exact, guessed = noising.per_prompt[does], estimated.per_prompt[does]
close = bootstrap_correlation(exact, guessed)
log.observe("estimate", close, digits=3)
print(f"{does.sum()} of {does.size:,} features at positions do anything")
print("estimates with exact effects: correlation", close)
print("... of the ranks:", bootstrap_correlation(exact, guessed, ranked=True))
print("denoising with noising:", bootstrap_correlation(denoising.per_prompt[does], exact))


def rule_of(feature: int) -> str:
    """In words, with precision and recall."""
    rule = rules[feature]
    if rule is None:
        return "no rule"
    return f"{rule.text(words)} ({rule.precision.estimate:.2f}, {rule.recall.estimate:.2f})"


positions = noising.axes[1].labels
gap = noising.clean - noising.corrupted  # per prompt


def mean_effect(effects) -> np.ndarray:
    """Normalised effects [feature, position]; `normalised` with its intervals takes longer."""
    return effects.per_prompt.mean(-1) / gap.mean()


def effect_at(f: int, p: int) -> ca.Interval:
    """The noising effect with its interval over prompts."""
    return ca.Interval(
        *map(float, bootstrap_ratio(noising.per_prompt[f, p], gap)), 0.95, len(fit)
    )


forth, back, guess = map(mean_effect, (noising, denoising, estimated))
largest = np.dstack(np.unravel_index(np.argsort(-forth, axis=None)[:10], forth.shape))[0]
table(
    ["feature", "at", "noising", "denoising", "estimated", "fires", "promotes"],
    [
        (
            str(f),
            positions[p],
            effect_at(f, p),
            float(back[f, p]),
            float(guess[f, p]),
            rule_of(f),
            promotes(f, 3),
        )
        for f, p in largest.tolist()
    ],
    digits=3,
)

# %% [markdown]
# Of 3,840 places 294 do anything at all; the others are silent in both runs. Those with the largest effects are all at END: after layer 2 the answer has arrived there. Estimates and exact effects agree to 0.999, since little follows this layer. But look at the columns: the estimates of the largest are 10% to 20% too small. A correlation does not see a factor.
#
# And compare with section 3. All ten promote two to four names, none of them has a rule, and first comes a feature that you know. Its effect is 0.05.
#
# **How many features does the answer need?** `feature_circuit` takes them in the order of these effects, until those chosen do 90% of what *all* features do: they alone have the clean prompt's values, every other feature and the error the corrupted prompt's. The prompts are others than those that the order comes from. Beside it stand as many random ones (of those that do something) and the error alone.

# %%
circuit = feature_circuit(model, task, dictionary, noising, n_random=20, n_subsets=4)
log.observe("nodes", len(circuit.nodes))
log.observe("random nodes", float(circuit.shares(circuit.random).mean()))
log.observe("error", circuit.share(circuit.error), digits=3)
table(
    ["clean values at", "faithfulness"],
    [
        (
            row["what"],
            ca.Interval(row["faithfulness"], row["low"], row["high"], 0.95, len(task)),
        )
        for row in circuit.summary()
    ],
)

# %%
figure, axis = plt.subplots(figsize=(6, 3.5))
axis.plot(circuit.sizes, circuit.shares(circuit.curve), "o-", label="largest effects first")
axis.plot(
    circuit.sizes,
    circuit.shares(circuit.random_curve),
    "o-",
    color="0.6",
    label="at random",
)
axis.axhline(
    circuit.share(circuit.features).estimate, ls=":", color="0.3", label="all features"
)
axis.axvline(len(circuit.nodes), ls="--", color="0.3", lw=1)
axis.set(xscale="log", xlabel="features at positions, alone", ylabel="faithfulness")
axis.legend()
plt.show()
print(
    len(circuit.nodes),
    "of",
    circuit.n_candidates,
    "nodes:",
    ", ".join(n.name for n in circuit.nodes[:8]),
    "...",
)

# %% [markdown]
# 25 features at END carry 0.86 of the answer (and 32 all that features do); 25 random ones of those that do something 0.09; the error term, which nobody can read, 0.06. Taken out of the whole model they leave 0.15. By the standards of notebook 09 that is a good circuit, and by the strongest feature alone you would not have guessed it: its effect is 0.05. The answer is one name, and yet 25 features say it. Why so many? Perhaps each looks after its own few names. Then a feature should act on the prompts that contain them:

# %%
END = positions.index("END")
rows = []
for node in circuit.nodes[:8]:
    change = noising.per_prompt[node.feature, positions.index(node.position)]
    own_names = {words[t].strip() for t in directions.promoted[node.feature][:4].tolist()}
    has = np.array(
        [
            bool({io.strip(), s.strip()} & own_names)
            for io, s in zip(fit.answer_text, fit.wrong_text)
        ]
    )
    rows.append(
        (
            node.name,
            float((change != 0).mean()),
            ", ".join(sorted(own_names)),
            float(has.mean()),
            float((change * has).sum() / change.sum()),
        )
    )
table(
    [
        "node",
        "does something in",
        "its names",
        "prompts with one of them",
        "share of its effect from those",
    ],
    rows,
)

# %%
nick = noising.per_prompt[NICK, END]
with_name = np.array([NAME in (io, s) for io, s in zip(fit.answer_text, fit.wrong_text)])
print(f"prompts with {NAME.strip()}: {with_name.sum()} of {len(fit)}")
own_share = float("nan")  # without any effect there is nothing to share out
if nick.mean() != 0:
    ends = map(float, bootstrap_ratio(nick * with_name, nick))
    own_share = ca.Interval(*ends, 0.95, len(fit))
log.observe("own prompts", own_share)
for name, of in (("with it", with_name), ("without", ~with_name)):
    mean = bootstrap_mean(nick[of] / gap.mean()) if of.any() else "no prompts"
    print(f"mean effect of feature {NICK} in prompts {name}: {mean}")

# %% [markdown]
# Not so. Each of these features does something in about half of all prompts, and most of what it does is done in prompts without any of its names. Where Nick is one of the two, the "Nick feature" has a large effect, 0.36 and not 0.04. But there are five such prompts and 251 others, and the others make up 85% of what it does for the answer.
#
# A guess: a name is not said by the feature of that name but by a **combination** of several, each of which takes part in many names. Then prompts with the same answer should have the same combination, and not just the same loudest feature. Take the features that fire often (the right end of the densities in section 2), look at their values at END, and find for each prompt the other prompt that is nearest (by the cosine).

# %%
with torch.no_grad(), spliced(model, dictionary):
    _, cache = model.run_with_cache(fit.clean)
at_end_of = cache[f"{HOOK}.hook_sae_acts_post"][
    torch.arange(len(fit)), fit.positions["END"]
]
often = fit_text.density >= min(0.1, np.sort(fit_text.density)[-20])  # at least twenty
code = at_end_of[:, torch.from_numpy(often)]
unit = torch.nn.functional.normalize(code, dim=1)
cosine = (unit @ unit.T).numpy()
same = (fit.correct[:, None] == fit.correct).numpy()
other_prompt = ~np.eye(len(fit), dtype=bool)
has_twin = (same & other_prompt).any(1)
nearest = np.where(other_prompt, cosine, -np.inf).argmax(1)
loudest = code.argmax(1).numpy()
agree = same[np.arange(len(fit)), nearest][has_twin]
print(
    f"{often.sum()} features fire often; at END {(code > 0).sum(1).float().mean():.1f} of them"
)
print(
    f"cosine of two prompts with one answer {cosine[same & other_prompt].mean():.2f},",
    end=" ",
)
print(f"with two {cosine[~same].mean():.2f}")
print("nearest prompt has the same answer:", proportion(int(agree.sum()), len(agree)))
alike = (loudest[:, None] == loudest)[same & other_prompt].mean()
print(f"two prompts with one answer have the same loudest feature: {alike:.2f}")

# %% [markdown]
# So it is. The eleven or so of 36 features that are active together say which name it is (the nearest prompt has the same answer in 99 of 100 cases), and the loudest of them alone does not: two prompts with the same answer share it in 44 of 100. It is the cheaper way. With 16 active features for a token, thirty-six features taken eleven at a time tell far more names apart than thirty-six features with one name each. Notebook 18 found features in superposition among dimensions; here are **names in superposition among features**. The top examples were not wrong about Nick. They showed the one word of the code in which this feature happens to be loudest.
#
# **When is not what for.** Now the other way round: take the features with the best rules, and ask what they do for the answer. Three ways to take a feature out, at all positions: give it the corrupted prompt's value (patch), its mean over the prompts, or zero.

# %%
ablated = {
    value: ca.sweep(model, task, site, value, positions="all", mode="noising")
    for value in ("patch", "mean", "zero")
}
effect = {
    value: one.per_prompt.mean(-1) / (one.clean - one.corrupted).mean()
    for value, one in ablated.items()
}
best_described = [rule.feature for rule in described[:10]]
strongest = [float(abs(own[f])) for own in effect.values() for f in best_described]
log.observe("when", max(strongest, default=0.0), digits=4)
shown = list(
    dict.fromkeys(
        [*best_described[:6], NICK, int(BEFORE), *np.argsort(-effect["zero"])[:3].tolist()]
    )
)
table(
    ["feature", "fires", *(f"effect, {value}" for value in effect), "promotes"],
    [
        (str(f), rule_of(f), *(float(own[f]) for own in effect.values()), promotes(f, 3))
        for f in shown
    ],
    digits=3,
)

# %%
LOUD = int(np.argmax(effect["zero"]))
end = task.positions["END"]
prompts = torch.arange(len(task))


def at_end(changed: dict[int, float], of=dictionary) -> torch.Tensor:
    """Logits at END of the clean prompts, with some features set to other values everywhere."""
    with torch.no_grad(), steered(model, of, changed):
        return model(task.clean)[prompts, end]


rows = []
for name, changed in (("as it is", {}), (f"feature {LOUD} at 0", {LOUD: 0.0})):
    logits = at_end(changed)
    probability = logits.softmax(-1)
    rows.append(
        (
            name,
            float(probability[:, names].sum(-1).mean()),
            float(probability[prompts, task.correct].mean()),
            float((logits[prompts, task.correct] - logits[prompts, task.wrong]).mean()),
        )
    )
table(["", "P(any name)", "P(the answer)", "logit difference"], rows)

# %% [markdown]
# Three columns, three answers, and none of them is wrong.
#
# - The best rules of section 3 have no effect: the largest of ten is 0.001. Their features are about *Where*, *One* and *Everyone*, and the answer does not need that. A clean label is a fact about the label.
# - One feature without a rule has by far the largest effect when it is set to zero, 0.198, and none when it is *patched* or set to its mean. It is active at END in both prompts, by nearly the same amount: it says "a name comes now". Patching asks **which features tell the two prompts apart**; zero asks **what is needed to answer at all**. Without it the model is less sure that a name comes (1.00 to 0.90), and the difference between the two names falls from 8.2 to 5.0.
# - "Features that carry the answer" is therefore no property of features. It belongs to the question, as for the circuits of notebook 09.
#
# No effect on IOI, then. Is a feature with a good rule good for nothing? Take it out on ordinary text, and look at the next token at the places where it fires:

# %%
with torch.no_grad():
    tokens = text(305, 200)
    before_cut = model(
        tokens, return_type="loss", loss_per_token=True
    )  # [sequence, pos - 1]


def loss_up(feature: int) -> ca.Interval:
    """Nats at the tokens at which the feature fires, when it is set to zero."""
    with torch.no_grad(), steered(model, dictionary, {feature: 0.0}):
        after_cut = model(tokens, return_type="loss", loss_per_token=True)
    up = torch.zeros(tokens.shape)
    up[:, :-1] = after_cut - before_cut
    fired = np.zeros(tokens.numel(), dtype=bool)
    fired[other_text.of(feature)[0]] = True
    fired.reshape(tokens.shape)[:, -1] = False  # the last token has no next one
    return bootstrap_mean(up.flatten()[torch.from_numpy(fired)].double().numpy())


table(
    ["feature", "fires", "next token, where it fires: loss up by"],
    [(str(f), rule_of(f), loss_up(f)) for f in (*best_described[:6], NICK, LOUD)],
    digits=3,
)

# %% [markdown]
# Hardly more. Of six features with the best rules none costs more than a few hundredths of a nat where it fires, and all six intervals reach zero, or nearly. ("Where" and "One" are rare, so that some of them are wide.) Feature 216 costs 0.17, and the "Nick feature" 0.05, at all those places without a Nick. So here the readable features are the ones that matter least, one at a time. *One at a time* is the catch: the token "Where" is written into the stream by its embedding, and more than one feature speaks of it. What two parts both say, neither is needed for (notebook 09).

# %% [markdown]
# ## 5. Steered
#
# If a feature writes Nick, more of it should make the model say Nick. `steered` sets features to a value at every token. The dose is counted in the feature's largest value on text. Two controls: the same dose along **random directions of the same length** (five of them: the decoder row is exchanged, the rest stays), and another feature, the one with the best rule and no effect.

# %%
CLEAN_RULE = best_described[0] if best_described else int(np.flatnonzero(alive)[0])


def turned(seed: int):
    """The same dictionary, writing along random directions of the same lengths."""
    one = copy.deepcopy(dictionary)
    random = torch.randn(one.W_dec.shape, generator=torch.Generator().manual_seed(seed))
    lengths = dictionary.W_dec.norm(dim=1, keepdim=True)
    one.W_dec.copy_(torch.nn.functional.normalize(random, dim=1) * lengths)
    return one


maximum = fit_text.maximum()
free = [i for i, row in enumerate(task.clean.tolist()) if name_token not in row]


def says(logits: torch.Tensor, token: int) -> float:
    """Share of the prompts without the name that say a token."""
    return float((logits.argmax(-1) == token)[free].float().mean())


def answers(logits: torch.Tensor) -> float:
    """Share of these prompts that say the answer."""
    return float((logits.argmax(-1) == task.correct)[free].float().mean())


at_random = [turned(seed) for seed in range(5)]
own_word = int(directions.promoted[CLEAN_RULE][0])
rows = []
for dose in (0.0, 0.5, 1.0, 2.0, 4.0):
    amount = dose * float(maximum[NICK])
    by_nick = at_end({NICK: amount})
    by_random = [at_end({NICK: amount}, of=one) for one in at_random]
    by_other = at_end({CLEAN_RULE: dose * float(maximum[CLEAN_RULE])})
    chance = float(np.mean([says(one, name_token) for one in by_random]))
    kept = float(np.mean([answers(one) for one in by_random]))
    one_row = (says(by_nick, name_token), answers(by_nick), chance, kept)
    rows.append((f"{dose:g}", *one_row, says(by_other, own_word), answers(by_other)))
    if dose == 2:
        log.observe("steered", proportion(round(one_row[0] * len(free)), len(free)))
        log.observe("turned", chance)
table(
    [
        "dose, in largest values",
        f"{NICK}: says {NAME.strip()}",
        "keeps the answer",
        f"random direction: says {NAME.strip()}",
        "keeps the answer",
        f"{CLEAN_RULE}: says {words[own_word]!r}",
        "keeps the answer",
    ],
    rows,
)

# %%
PROMPT = "Then Mary and John went to the store."
some_text = text(306, 16)
for dose in (0.0, 0.5, 1.0, 2.0):
    with steered(model, dictionary, {NICK: dose * float(maximum[NICK])}), torch.no_grad():
        loss = float(model(some_text, return_type="loss"))
        print(
            f"{dose:g}: loss on text {loss:.2f};", model.generate(PROMPT, 12, temperature=0)
        )

# %% [markdown]
# It works, and it is the direction that does it: at twice its largest value the feature makes every prompt say Nick, and random directions of the same length nearly none. So the direct path of section 3 is real. Read the other columns before you call it a demonstration:
#
# - At the largest value that the feature ever has on text, where it "is" Nick, 42% say Nick, and only 20% still have the answer: it breaks more than it makes.
# - At the dose that always works the model is no longer a language model (loss 4.6 for 1.7), and repeats a name until the end.
# - Four times as much of a random direction, or of a feature that has nothing to do with the task, destroys the answer too. That something happens when you shout says nothing; the control says whether it is what was shouted.
#
# Steering shows what a direction *writes*. What the model uses the feature for, at the values it really has, was section 4, and there it was one word of a code.
#
# ## 6. Break it on purpose
#
# Four dictionaries go through the mill: ours; ours with its decoder rows shuffled, so that every feature reads what it read and writes what another one wrote; random directions; and random directions once more, in a model that has **learnt nothing** (the same shape, fresh weights). Which of our measures notice?

# %%
shuffled = copy.deepcopy(dictionary)
order = torch.randperm(N, generator=torch.Generator().manual_seed(0))
shuffled.W_dec.copy_(dictionary.W_dec[order])
n_nodes = len(circuit.nodes)
rows = []
for name, one, n_rules in (
    ("ours", dictionary, len(described)),
    ("rows shuffled", shuffled, len(described)),
    ("random directions", stranger, len(of_strangers)),
):
    effects = ca.sweep(model, fit, ca.sae.features(one), positions="named", mode="noising")
    best_nodes = nodes_of(effects)[0][:n_nodes]
    found = run_kept(
        model, task, one, [Case(best_nodes), Case(kept=False), Case(error=True)]
    )
    with torch.no_grad():
        with spliced(model, one):
            with_error = float(model(some_text, return_type="loss"))
        with spliced(model, one, with_error=False):
            without = float(model(some_text, return_type="loss"))
    rows.append((name, n_rules, *map(circuit.share, found), with_error, without))
table(
    [
        "dictionary",
        "rules",
        f"best {n_nodes} alone",
        "all features",
        "error alone",
        "loss, error kept",
        "loss, error left out",
    ],
    rows,
)

# %%
blank = ca.HookedTransformer(model.cfg, model.tokenizer, seed=0)
cfg = dictionary.cfg.replace(kind="top-k", k=16)
blank_stranger = new_dictionary(cfg, seed=0).requires_grad_(False)
with torch.no_grad():
    _, cache = blank.run_with_cache(text(306, 32), names_filter=HOOK)
blank_stranger.b_dec.copy_(cache[HOOK].flatten(0, 1).mean(0) * cfg.scale)
blank_fit = firings(blank, blank_stranger, text(304, 200))
blank_rules = describe(
    blank_fit, firings(blank, blank_stranger, text(305, 200)), model.cfg.d_vocab, SETS
)
with_rule = [rule for rule in blank_rules if rule is not None]
print("random directions in a model that has learnt nothing, described:", end=" ")
print(proportion(len(with_rule), int((blank_fit.n_fired > 0).sum())))
for rule in sorted(with_rule, key=lambda rule: -rule.f1)[:3]:
    print(f"    {rule.text(words)}: precision {rule.precision}, recall {rule.recall}")

# %% [markdown]
# - **The rules** do not notice that the rows are shuffled: they look at when a feature fires, and that is decided by what it reads. All of section 3 but the promoted tokens would have looked the same.
# - **The loss with the error kept** notices nothing at all, and cannot: y = output + error holds for *any* dictionary, and a bad one has a large error. A "spliced model" that works is no evidence unless the error is left out, or shown beside. Left out, the shuffled dictionary costs 7 nats.
# - **All features** carry 0.94 of the answer, and of random directions still 0.67. That an answer *can* be written in a dictionary is cheap. What training bought is how few it takes: the best 25 do 0.86, of random directions 0.25.
# - **Rules again**: in a model that has learnt nothing, 15% of random directions have one, and the best are better than any in our table: ' the' and '.' with precision and recall near 1. There the stream is little more than the token itself, so that any direction is about tokens. A dictionary can be read because the *input* is readable. Heap et al. (2025) found the same with trained dictionaries of random transformers. Readable is not learnt.
#
# More to break: leave the error out in section 4 (`run_kept` with `Case(nodes)` against `Case(nodes, error=True)`); choose the order of the circuit by densities; shuffle the rows *and* the columns of the encoder in the same way (what changes?); give `ca.tasks.ioi` another corruption ("abc"): does 216 stay out of the circuit?

# %%
log

# %% [markdown]
# ## 7. Exercises
#
# **Exercise 1.** Patch a feature by hand. `clean_x` and `corrupted_x` are the streams at END, [prompt, d_model]. Write `added`, [prompt, d_model]: what the noising patch of feature `NICK` adds to `clean_x`. The check adds it and runs the rest of the model.
#
# <details><summary>Hint</summary>
#
# (f′ − f) times the row: `dictionary.encode(x)` gives features, `written_rows(dictionary)` what a unit of each writes. The error term does not appear: it is held.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# change = (dictionary.encode(corrupted_x) - dictionary.encode(clean_x))[:, NICK]
# added = change[:, None] * written_rows(dictionary)[NICK]
# ```
#
# </details>

# %%
_, clean_cache = model.run_with_cache(task.clean, names_filter=HOOK)
_, corrupted_cache = model.run_with_cache(task.corrupted, names_filter=HOOK)
clean_x = clean_cache[HOOK][prompts, end].detach()
corrupted_x = corrupted_cache[HOOK][prompts, end].detach()
added = ...

# %%


def gives_the_same(change) -> bool:
    """Whether adding the change at END has the effect that the engine finds."""

    def add(value, hook):
        value = value.clone()
        value[prompts, end] += change
        return value

    with torch.no_grad():
        logits = model.run_with_hooks(task.clean, fwd_hooks=[(HOOK, add)])[prompts, end]
    metric = logits[prompts, task.correct] - logits[prompts, task.wrong]
    patch = ca.Intervention(site, units=NICK, positions="END")
    wanted = ca.intervene(model, task, patch, mode="noising").patched[0]
    return bool(np.allclose(metric.numpy(), wanted, atol=1e-3))


check(added, gives_the_same, hint="Corrupted minus clean, one feature, one row.")

# %% [markdown]
# **Exercise 2.** Feature `LOUD`, which the zero ablation found, has no rule on our list. Judge one of your own, "before a name": its precision and its recall on the other text, two numbers. `before_a_name(other_text)` says where the rule holds, [sequence, pos].
#
# <details><summary>Hint</summary>
#
# `other_text.of(LOUD)[0]` are places, numbers into the flattened text: `.flat[places]`. Precision of the *feature* here: of the places where it fires, the share before a name.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# holds, fires = before_a_name(other_text), other_text.of(LOUD)[0]
# judged = (holds.flat[fires].mean(), holds.flat[fires].sum() / holds.sum())
# ```
#
# </details>

# %%
judged = (
    ...
)  # (of its places the share before a name, of the places before a name its share)

# %%
rule_holds, its_places = before_a_name(other_text), other_text.of(LOUD)[0]
n_hits = float(rule_holds.flat[its_places].sum())
check(judged, (n_hits / max(len(its_places), 1), n_hits / max(rule_holds.sum(), 1)))

# %% [markdown]
# **Exercise 3.** The circuit reaches 90% of what all features do with its 25 nodes. How many nodes, in the same order, reach *half* of what all features do?
#
# <details><summary>Hint</summary>
#
# `nodes_of(noising)[0]` is the order, `Case(nodes)` keeps the nodes alone, `run_kept` runs a list of cases at once, and `circuit.shares` makes faithfulness of what comes out. `circuit.share(circuit.features).estimate` is what all features do.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# candidates, whole = nodes_of(noising)[0], circuit.share(circuit.features).estimate
# cases = [Case(candidates[:n]) for n in range(1, n_nodes + 1)]
# shares = circuit.shares(run_kept(model, task, dictionary, cases))
# half = 1 + int(np.argmax(shares >= whole / 2))
# ```
#
# </details>

# %%
half = ...

# %%


def is_the_first(n) -> bool:
    """Whether n nodes reach half and n - 1 do not."""
    in_order = nodes_of(noising)[0]
    needed = circuit.share(circuit.features).estimate / 2
    values = run_kept(
        model, task, dictionary, [Case(in_order[:n]), Case(in_order[: n - 1])]
    )
    enough, before_it = circuit.shares(values)
    return bool(enough >= needed > before_it)


check(half, is_the_first, hint="The first size that is enough.")

# %% [markdown]
# ## 8. Questions to take along
#
# 1. A page shows twenty features with eight top examples each, all of them clear. What do you ask to see?
# 2. "Feature 255 is the Nick feature." Write the strongest sentence about it that sections 3 to 5 support.
# 3. Feature 216 has no effect when patched and the largest when set to zero. Which of the two would a circuit "for IOI" contain, and what would its author say of the other?
# 4. Somebody reports that 94% of the answer is carried by features. What is the number for random directions here, and what did the dictionary buy instead?
# 5. Names are said by combinations of features. How would you train a dictionary in which they are not, and what would that cost?
#
# ## Further
#
# - Next: [21 · What a cache holds: an audit of memory](21_kv_cache_audit.ipynb).
# - Back: [19 · A first sparse autoencoder](19_first_sparse_autoencoder.ipynb), [09 · Circuits](09_circuits.ipynb), [14 · Steering](14_steering.ipynb). From the command line: `cutaway sae features`, `cutaway run sae`.
# - Bricken et al. (2023), *Towards Monosemanticity*: examples over the whole range of values. Cunningham et al. (2023), [arXiv:2309.08600](https://arxiv.org/abs/2309.08600).
# - Marks et al. (2024), *Sparse Feature Circuits*, [arXiv:2403.19647](https://arxiv.org/abs/2403.19647): features and errors as nodes, faithfulness and completeness.
# - Templeton et al. (2024), *Scaling Monosemanticity*: features clamped while text is made.
# - Heap et al. (2025), *Sparse Autoencoders Can Interpret Randomly Initialized Transformers*, [arXiv:2501.17727](https://arxiv.org/abs/2501.17727): section 6 at full size.
# - Wang et al. (2022), *Interpretability in the Wild*, [arXiv:2211.00593](https://arxiv.org/abs/2211.00593): the task, faithfulness, completeness.
# - Method cards: [features.md](../docs/methods/features.md), [features-in-circuits.md](../docs/methods/features-in-circuits.md), [training-dictionaries.md](../docs/methods/training-dictionaries.md), [dictionary-evaluation.md](../docs/methods/dictionary-evaluation.md), [ablation.md](../docs/methods/ablation.md).
