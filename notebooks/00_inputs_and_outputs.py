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
# # 00 · Inputs and outputs: from text to numbers and back
#
# A language model is a function. A text goes in, and what comes out is a probability for everything that could come next. This course opens such a function and looks inside. Before that you need its two ends: how a text becomes numbers, how numbers become a prediction, and how one says in a single number how good a prediction was. Nothing is assumed but a little Python, and what a vector is.
#
# **What you will know afterwards**
#
# - what a token is, and why `" John"` and `"John"` are two different things to a model;
# - what an embedding is, what an unembedding is, and what a cosine between two of them says (less than one would like);
# - what logits are, how softmax makes probabilities of them, and what cross-entropy is;
# - what a model would predict if nothing stood between its two ends, beside what counting pairs of tokens predicts;
# - how a model knows the place at which a token stands.
#
# **Time:** about 60 minutes to read and try; the cells run in about half a minute on one core. Method card: [inputs-and-outputs.md](../docs/methods/inputs-and-outputs.md).
#
# The cell below names the model. `ioi-mini` is a small transformer that was trained for this course and comes with the package: it knows some hundred English words and simple sentences about people who meet and give each other things. The numbers between the cells are not typed in: all come from the model that you name here.

# %%
MODEL = "ioi-mini"  # or the folder of a model of your own

# %%
import math

import numpy as np
import torch
from course import Log, Markdown, check, table

import cutaway as ca
from cutaway.plotting import bars, heatmap
from cutaway.training.ioi_corpus import Corpus

torch.set_grad_enabled(False)  # nothing is trained here
model = ca.HookedTransformer.from_pretrained(MODEL)
cfg = model.cfg
print(f"{cfg.model_name}: {sum(p.numel() for p in model.parameters()):,} numbers were learned")

# %% [markdown]
# ## 1. In one minute: what comes next?
#
# Read this sentence and say the next word: *When John and Mary went to the store, John gave a drink to*

# %%
PROMPT = "When John and Mary went to the store, John gave a drink to"
logits = model(PROMPT)  # [batch, pos, d_vocab]
probabilities = logits[0, -1].softmax(-1)
best = probabilities.topk(8)
words = [model.tokenizer.token(token) for token in best.indices.tolist()]
bars(
    [repr(word) for word in words],
    best.values,
    "What comes next, says the model",
    value_label="probability",
)

# %% [markdown]
# This is all that a language model ever says: one probability for each thing that it knows. Everything else (answers, translations, programs) is made by choosing one of them, putting it behind the text, and asking again. By the end of this notebook you can compute every number of this figure, except for what happens in the middle. The middle is the rest of the course.
#
# ## 2. Predict
#
# A result that surprises you teaches more than one that does not, but you can only be surprised if you said beforehand what you expected. So each notebook begins with a log: predictions that can turn out wrong, made now, and graded by the cells further down. You do not know some of these words yet; guess all the same, and **change our answers to yours**. Some of ours are wrong.

# %%
log = Log()
log.expect(
    "space",
    "Cosine between the vectors of 'John' and ' John' (1: same direction, 0: unrelated)?",
    low=0.9,
    confidence=0.6,
    why="it is the same word",
)
log.expect(
    "constant",
    "Add 100 to every logit: largest change of a probability?",
    low=0,
    high=1e-5,
    confidence=0.8,
    why="only differences count",
)
log.expect(
    "chance",
    "Cosine of a random direction with the nearest of all tokens?",
    low=0,
    high=0.1,
    confidence=0.6,
    why="random means unrelated",
)
log.expect(
    "direct",
    "Nothing between the two ends: loss less that of bare word frequencies, nats?",
    high=0,
    confidence=0.7,
    why="the ends should know which words follow each other",
)
log.expect(
    "extended",
    "... and with the first MLP put in between?",
    high=0,
    confidence=0.7,
    why="more of the model is more",
)
log.expect(
    "symmetric",
    "Tied embeddings, as `from_pretrained` loads them: symmetric share of the table (0.5: as random)?",
    low=0.99,
    high=1,
    confidence=0.5,
    why="a matrix times itself",
)
log.expect(
    "neighbours",
    "Mean cosine between neighbouring positions?",
    low=0.5,
    confidence=0.6,
    why="places next to each other should look alike",
)
log.expect(
    "shuffled",
    "Prompt's words in random order: how much higher is the loss, in nats?",
    low=0.5,
    confidence=0.7,
    why="order is grammar",
)

# %% [markdown]
# ## 3. Text to tokens
#
# A network computes with numbers, so the text has to be cut into pieces first, and each piece gets a number. The pieces are **tokens**, the list of all of them is the **vocabulary**, and the program that cuts is the **tokenizer**. It is no part of the network: it was fixed before training began, and the network never sees a letter.

# %%
tokens = model.to_tokens(PROMPT)  # [batch, pos]
pieces = model.to_str_tokens(PROMPT)
print(f"the vocabulary has {cfg.d_vocab} tokens")
table(
    ["position", "token", "number"],
    [(str(at), f"`{piece!r}`", int(tokens[0, at])) for at, piece in enumerate(pieces)],
)

# %% [markdown]
# Three things to see:
#
# - **The space belongs to the word that follows it.** `' John'` has its space inside. That is how the text can be put together again without loss.
# - **Token 0 is no text.** `<|bos|>` ("beginning of sequence") is put before every text. It gives a head a place to look at when there is nothing to look for, which will matter from notebook [07](07_attention.ipynb) on.
# - **The number means nothing.** Tokens 69 and 70 have no more to do with each other than two house numbers.
#
# The tokenizer decides what a model can see at all. Look at what it does with spaces, capitals, numbers and what it does not know:

# %%
SAMPLES = ("John", " John", "john", " the", "The", "the", " store", "store", " stores", " 42")
rows = []
for text in SAMPLES:
    ids = model.tokenizer.encode(text)
    rows.append(
        (
            f"`{text!r}`",
            " ".join(f"`{model.tokenizer.token(i)!r}`" for i in ids),
            " ".join(map(str, ids)),
        )
    )
table(["text", "tokens", "numbers"], rows)

# %% [markdown]
# `'John'` (at the beginning of a text) and `' John'` (inside) are two tokens with two numbers and, as we will see, two vectors. To the network they are as different as *John* and *store*, until training has taught it otherwise. `'john'` is in no list, and becomes `<|unk|>`, "unknown": whatever was there is lost, and so it is with numbers. A prompt with an unknown word is a different prompt than you meant, without any error; `model.tokenizer.unknown_words(text)` tells.
#
# A vocabulary of whole words is the simple case. **GPT-2** has 50,257 tokens that were made by merging the most frequent pairs of pieces again and again (byte-pair encoding, Sennrich et al. 2016): frequent words are one token, rare ones are several, and nothing is unknown, since all single bytes are in the list. The surprises stay. A word can be one token with its space and three without; capitals can change the cut; and a number such as 1234 is cut where the merges happen to cut it, which is one reason why arithmetic is hard for such models.
#
# The other simple case is a vocabulary of **characters**. `shakespeare-small` comes with the package too:

# %%
letters = ca.HookedTransformer.from_pretrained("shakespeare-small")
print(letters.to_str_tokens("ROMEO: O!"))
print(f"{letters.cfg.d_vocab} tokens:", repr("".join(letters.tokenizer.token(i) for i in range(65))))

# %% [markdown]
# Short lists make long texts: this model takes nine steps through what a model of words would read in three or four, and has to learn spelling before anything else. In exchange there is no word that it cannot read.
#
# ## 4. Tokens to vectors: the embedding
#
# Each token has a row of numbers of its own in a matrix called `W_E`, the **embedding**. Looking the rows up is all that happens at the entrance. Training moved the rows to where they are useful; nobody wrote down what the single numbers mean.
#
# The same is done with the *position*: row 0 of `W_pos` for the first token, row 1 for the second, and so on. Both are added, and the sum is what the first layer reads.

# %%
print("W_E  ", list(model.W_E.shape), " one row for each token")
print("W_pos", list(model.W_pos.shape), " one row for each position")
by_hand = model.W_E[tokens[0]] + model.W_pos[: tokens.shape[1]]  # [pos, d_model]
_, cache = model.run_with_cache(PROMPT)  # the model's own values, by name
print("the same as the model's:", torch.allclose(by_hand, cache["resid_pre", 0][0], atol=1e-6))

# %% [markdown]
# `cache["resid_pre", 0]` is the **residual stream** before layer 0: one vector for each position. Every layer adds something to it. (How to read and change any value of a model is the subject of the notebook on [hooks](03_hooks.ipynb).)
#
# ## 5. Vectors to logits: the unembedding
#
# At the other end stands the stream after the last layer, and has to be turned into one number for each token. That is done by a second matrix, `W_U`, the **unembedding**: each token has a *column* there, a direction, and its number is how far the stream points that way (a dot product). These numbers are the **logits**. Before that, a norm brings the vector to a fixed length.

# %%
last = cache["resid_post", cfg.n_layers - 1][0, -1]  # the stream at the last position
centred = last - last.mean()
normed = centred / (centred.pow(2).mean() + cfg.eps).sqrt()  # what ln_final does
mine = normed @ model.W_U + model.b_U  # [d_vocab]
print("W_U", list(model.W_U.shape), " one column for each token")
print("the same as the model's:", torch.allclose(mine, logits[0, -1], atol=1e-3))
print("largest:", {words[i]: round(float(mine[best.indices[i]]), 2) for i in range(3)})

# %% [markdown]
# So the whole model is: look up, add, **{ the layers }**, norm, dot products. Logits can be any numbers, also negative ones.
#
# ## 6. Logits to probabilities: softmax
#
# Probabilities have to be positive and to sum to 1. **Softmax** raises e to each logit, which makes all positive, and divides by the sum:
#
# $$p_i = \frac{e^{z_i}}{\sum_j e^{z_j}}$$

# %%
three = torch.tensor([2.0, 1.0, -1.0])
powers = three.exp()
table(
    ["logit", "e to the logit", "probability"],
    [(float(z), float(e), float(e / powers.sum())) for z, e in zip(three, powers)],
)

# %% [markdown]
# Two properties to remember for the whole course:
#
# - **One more is 2.7 times as likely.** The ratio of two probabilities depends only on the *difference* of their logits: $p_i / p_j = e^{z_i - z_j}$. This is why the course measures logit differences.
# - **A single logit means nothing.** Add the same constant to all of them, and nothing changes. Try it:

# %%
moved = (logits[0, -1] + 100).softmax(-1)
log.observe("constant", float((moved - probabilities).abs().max()), digits=7)

# %% [markdown]
# Dividing all logits by a number T (the *temperature*) does change something: below 1 the likeliest token gains, above 1 all become more alike. That is the subject of [02 · Sampling](02_sampling.ipynb).
#
# ## 7. How good was it? Cross-entropy
#
# The text itself is the judge: at every position it says what came next. The model is as good as the probability that it gave to *that*. One takes the negative logarithm, so that numbers add up over a text instead of multiplying, and so that lower is better: the **loss** at a position is $-\ln p(\text{what came})$, in *nats*. Its mean over a text is the **cross-entropy**.
#
# | the model gave it | loss |
# |--:|--:|
# | 1 (certain, and right) | 0 |
# | 1/2 | 0.69 |
# | 1/10 | 2.3 |
# | 1/d_vocab (knows nothing) | ln d_vocab |
# | 0 (certain, and wrong) | infinite |

# %%
TEXT = PROMPT + " Mary."
text_tokens = model.to_tokens(TEXT)
log_p = model(text_tokens)[0].log_softmax(-1)  # [pos, d_vocab]
came = text_tokens[0, 1:]  # what came after each position
loss = -log_p[:-1].gather(-1, came[:, None])[:, 0]  # [pos - 1]
print(f"mean {float(loss.mean()):.3f}, the model's own {float(model(TEXT, return_type='loss')):.3f}")
bars(
    [repr(piece) for piece in model.to_str_tokens(TEXT)[1:]],
    loss,
    "Loss at each token, given all before it",
    value_label="-ln p, nats",
    reference=math.log(cfg.d_vocab),
    reference_label="knows nothing",
)

# %% [markdown]
# Read it from the top. The first words could be many things, so their loss is high. Where the text could only go on one way, the loss is near 0. Is there a bar beyond the dashed line? Then the model would have done better by saying "anything": it was sure of something else. And what does the bar of `' Mary'` tell you?
#
# Training is nothing but making the mean of this over much text smaller, by moving every number of the model a little, again and again.

# %%
generator = torch.Generator().manual_seed(0)
losses = []
for _ in range(50):  # the same tokens in 50 other orders; BOS stays where it is
    order = 1 + torch.randperm(text_tokens.shape[1] - 1, generator=generator)
    mixed = torch.cat([text_tokens[:, :1], text_tokens[:, order]], 1)
    losses.append(float(model(mixed, return_type="loss")))
print(f"in order {float(loss.mean()):.2f}, in 50 random orders {np.mean(losses):.2f}")
log.observe("shuffled", float(np.mean(losses) - loss.mean()))

# %% [markdown]
# ## 8. What is in the vectors: nearest tokens
#
# If two words are used alike, it is good for the model to give them similar vectors. Similarity of direction is measured by the **cosine**: 1 for the same direction, 0 for a right angle, −1 for opposite ones. Here are some words against each other, first where they are *read* (`W_E`), then where they are *said* (`W_U`). The mean of all tokens is taken out, since what all share tells nobody apart.

# %%
CHOSEN = [" John", " Mary", "John", "Mary", " store", " school", " gave", " handed", " the", "."]
for side in ("embedding", "unembedding"):
    cosines = ca.tokens.token_cosines(model, CHOSEN, side=side)
    display(
        heatmap(
            cosines,
            [repr(w) for w in CHOSEN],
            [repr(w) for w in CHOSEN],
            f"Cosines in the {side}",
            value_label="cosine",
            limit=1,
        )
    )
    if side == "embedding":
        log.observe("space", float(cosines[0, 2]))

# %% [markdown]
# There are blocks: names with names, places with places. Nobody told the model what a name is; it learned that these words can stand where the others stand. (In an untrained model the picture is empty.)
#
# Are those cosines large? **A cosine means nothing until you know how large it is by chance.** Take a direction at random, and find *its* nearest token, out of all. With two controls: directions that are spread over the space evenly, and directions that are spread *as the tokens themselves are* (the same mean and covariance). The second is the harder test: if all vectors lie near one plane, then any two vectors in that plane are near each other.

# %%
found = ca.tokens.nearest_tokens(
    model, [" John", " store", " gave", " the", "."], side="embedding", k=4
)
log.observe("chance", float(found.random[0, :, 0].mean()))
p = found.p_values()
table(
    ["token", "nearest", "cosine of the nearest", "p (as the tokens are spread)"],
    [
        (
            f"`{query!r}`",
            ", ".join(f"`{text!r}`" for text in found.texts[row]),
            float(found.cosines[row, 0]),
            float(p[row, 0]),
        )
        for row, query in enumerate(found.queries)
    ]
    + [
        ("any direction", "95% stay below", float(found.random_quantile(0.95, "isotropic")[0]), ""),
        ("as the tokens are", "95% stay below", float(found.random_quantile()[0]), ""),
    ],
)

# %% [markdown]
# Three lessons in one table.
#
# - **The nearest of many is never far.** Even a random direction finds a token at a cosine that one might have called "related". It was chosen as the largest of hundreds.
# - **A sensible list is not yet a large cosine.** Where the neighbours make sense but p is large, it is the *order* of the tokens that is meaningful and not the nearness: the group lies where many vectors lie.
# - **Look at who else is near.** `<|unk|>` or `<|pad|>` among the neighbours of `'.'` are tokens that hardly any text has, and that training hardly moved. Such a vector is near to nothing in particular, and so to everything a little. (A notebook of its own is about them: *glitch tokens*.)
#
# Any vector of the stream can be asked for, not only a token's. Where does the stream at the last position of our prompt point, layer by layer, among the directions in which tokens are said?

# %%
stream = torch.stack(
    [cache["resid_pre", at][0, -1] for at in range(cfg.n_layers)] + [last]
)  # [point, d_model]
along = ca.tokens.nearest_tokens(model, stream, side="unembedding", k=3)
p_along = along.p_values("isotropic")
table(
    ["stream", "nearest among what can be said", "cosine", "p (any direction)"],
    [
        (
            f"before layer {row}" if row < cfg.n_layers else "at the end",
            ", ".join(f"`{text!r}`" for text in along.texts[row]),
            float(along.cosines[row, 0]),
            float(p_along[row, 0]),
        )
        for row in range(len(stream))
    ],
    digits=3,
)

# %% [markdown]
# This is the idea behind the *logit lens* of notebook [12](12_logit_lens.ipynb), where it gets its own controls. A cosine is not a logit: a logit is the cosine times the length of the token's direction, so that the nearest token need not be the likeliest.
#
# ## 9. The shortest way through: W_E to W_U
#
# Leave out all layers, and look a token up, apply the norm, and read the logits. What comes out is a prediction from *one* token alone: a table with a row for each token and a column for what may come next. What could such a table know at best? Which pairs of tokens follow each other: the **bigrams** of the text (Elhage et al. 2021). We can count those.

# %%
ASKED = [" went", " gave", " and", ".", " to"]
starts = {
    "nothing between": "embedding",
    "the first MLP between": "first-mlp",
    "the first layer between": "first-layer",
}
answers = {
    name: ca.tokens.direct_successors(model, ASKED, k=3, start=start)
    for name, start in starts.items()
}
table(
    ["after", *starts],
    [
        (
            f"`{asked!r}`",
            *(
                ", ".join(f"`{text!r}`" for text in answer.successor_texts[row])
                for answer in answers.values()
            ),
        )
        for row, asked in enumerate(ASKED)
    ],
)

# %% [markdown]
# Before you read on: which column looks most like English? Now against real counts. The text is of the kind that `ioi-mini` was trained on; some of it is counted, other of it is held out. For each predictor the loss on the held-out part:
#
# - **unigrams**: how frequent each token is, whatever came before; **bigrams**: how often it came after this token;
# - the three ways through the model, as they are and with all their logits multiplied by one number (*best scale*), in case only the size is wrong;
# - two controls. *Rows exchanged*: each token is given another token's row of the table. *Columns exchanged*: the names of the outputs are mixed up;
# - the **whole model**.

# %%
corpus = Corpus(seed=1)
held_out, counted = corpus.sequences(0, 100), corpus.sequences(1000, 2000)
compared = ca.tokens.compare_bigrams(model, held_out, counted)
compared.plot("loss")

# %%
loss_of = {name: compared.interval(name) for name in compared.predictors}
floor = loss_of["unigrams"]
log.observe("direct", compared.difference("embedding", "unigrams"))
log.observe("extended", compared.difference("first-mlp", "unigrams"))
table(
    ["predictor", "loss, nats", "KL from the bigrams", "rank correlation with them"],
    [
        (name, loss_of[name], compared.interval(name, "kl"), compared.interval(name, "rank"))
        for name in compared.predictors
        if "columns" not in name
    ],
)

# %% [markdown]
# How to read it. (*KL* is how many nats one loses by believing the predictor where the bigrams are true; 0 is agreement. The rank correlation asks about order only.)
#
# - The predictions are graded by differences *in pairs*, sequence by sequence: both predictors find a hard sequence hard, and that part cancels. So a difference can be clear where two intervals of the table overlap.
# - Compare **embedding** with **unigrams**. In the theory of models *without* layers this path is the bigram table. In a model with layers it is one term of many, and nothing in training asks it to be right by itself.
# - Compare **first-mlp** with it. The first MLP reads a token and adds what it knows of it. Many later parts read that sum and not `W_E`, which is why it has a name, the *extended embedding*.
# - **first-layer** is more of the model than **first-mlp**. More of a machine is not more of its output: the heads of the first layer are made to look at other tokens, and a token alone makes every one of them look at itself.
# - Compare the best scale with **rows exchanged**. If exchanging rows did no harm, the path would know how frequent words are and nothing of *this* word.
# - The **whole model** has by far the lowest loss, and yet a large KL from the bigrams: it knows more than the last token, and where it does, it is sure of something that the last token alone does not tell. **What the direct path says is not what the model says.**
#
# ### One matrix for both ends?
#
# Many models use one matrix for both: `W_U` is `W_E` transposed, and the embeddings are **tied**. `shakespeare-small` is such a model, `ioi-mini` is not. What follows for the shortest way? The entry (q, u) of `W_E W_U` is then the dot product of q's vector with u's, and the entry (u, q) the same: the table is *symmetric*. It must say of "qu" what it says of "uq". Text is not like that, so let us measure how symmetric each table is.

# %%
raw_letters = ca.HookedTransformer.from_pretrained_no_processing("shakespeare-small")
text = open("data/sampled_shakespeare.txt", encoding="utf-8").read()
ids = torch.tensor(letters.tokenizer.encode(text))
grams = ca.tokens.fit_ngrams(ids.numpy(), d_vocab=65, order=2)
counts = grams.log_probabilities(np.arange(65)[:, None], order=2)[:, 0]  # ln p(next | this)
counts = counts - counts.mean(1, keepdims=True)  # softmax does not see a row's mean


def symmetric_share(M) -> float:
    """How much of a table's size is in its symmetric part."""
    return float((((M + M.T) / 2) ** 2).sum() / (M**2).sum())


mixed_columns = np.random.default_rng(0).permutation(65)

ties = {
    cfg.model_name: ca.tokens.embedding_tie(model),
    "shakespeare-small, as in its file": ca.tokens.embedding_tie(raw_letters),
    "shakespeare-small, norms folded in": ca.tokens.embedding_tie(letters),
}
log.observe("symmetric", ties["shakespeare-small, norms folded in"].symmetric_share)
table(
    ["table", "kept as", "cosine of a token with itself", "symmetric share", "columns mixed up", "says itself"],
    [
        (
            name,
            tie.kind,
            float(tie.own_cosine.mean()),
            tie.symmetric_share,
            tie.random_symmetric_share,
            f"{tie.self_share:.0%}",
        )
        for name, tie in ties.items()
    ]
    + [
        (
            "bigrams of the text, as logs",
            "counted",
            "",
            symmetric_share(counts),
            symmetric_share(counts[:, mixed_columns]),
            f"{(counts.argmax(1) == np.arange(65)).mean():.0%}",
        )
    ],
)

# %% [markdown]
# The last row is the point. A tied table is symmetric, and the text is nearly as asymmetric as a table in random order. So a tied model *cannot* keep its bigrams between its two ends; what it says there is the token itself (last column), since no vector is nearer to it. It has to turn a token into its successor somewhere between. A head that looks at its own position could do that, and so can the first MLP:

# %%
LETTERS = ["q", "T", "h", ":", " "]
table(
    ["after", "counted in the text", *starts],
    [
        (
            f"`{letter!r}`",
            " ".join(
                f"`{letters.tokenizer.token(int(i))!r}`"
                for i in np.argsort(-counts[letters.to_single_token(letter)])[:3]
            ),
            *(
                " ".join(
                    f"`{one!r}`"
                    for one in ca.tokens.direct_successors(
                        letters, letter, k=3, start=start
                    ).successor_texts[0]
                )
                for start in starts.values()
            ),
        )
        for letter in LETTERS
    ],
)

# %% [markdown]
# Read the rows of *q* and *T*: nothing between says the letter itself, and the first MLP makes its successor of it, in either case of letters. (A warning: `from_pretrained` folds the weights of the final norm into `W_U`, as is usual in the field. After that the two matrices are two, and the table is a little less symmetric. What you measure on weights depends on how they were loaded.)
#
# ## 10. Where a token stands
#
# `W_pos` has a row for each position. Are neighbours alike?

# %%
places = ca.tokens.position_similarity(model)
places.plot()

# %%
log.observe("neighbours", float(places.by_distance[1]))
print("mean cosine by distance:")
print("  ".join(f"{d}: {places.by_distance[d]:+.2f}" for d in (1, 2, 4, 8, 16, 32)))
print("positions of a model with fresh weights, distance 1:")
print(f"  {ca.tokens.position_similarity(model.fresh(0)).by_distance[1]:+.2f}")

# %% [markdown]
# If the figure has a broad band along the diagonal, the positions lie on a smooth path through the space, and the model can tell "near" from "far" by an angle.
#
# The first and the last row may look unlike all others. Position 0 always holds BOS in this model, and serves as a place of rest. And the last position? A text of training has as many tokens as there are positions; what is predicted at the last one has nothing to be compared with, no later position looks back at it, so its row had no reason to move. **A table can have rows that were never trained**, and they look like a finding. We leave both out.
#
# Is the path a circle, a wave, a spiral? Its principal components are the directions in which it extends most. Each is a curve over positions, and a Fourier transform says which wave it is most like.

# %%
inner = ca.tokens.position_similarity(model, range(1, cfg.n_ctx - 1))
table(
    [
        "component",
        "share of the variance",
        "period, positions",
        "share of that wave",
        "positions in random order",
        "a random walk",
    ],
    [
        (
            str(row["component"]),
            row["variance_share"],
            row["period"],
            row["power_share"],
            row["random_power_share"],
            row["walk_power_share"],
        )
        for row in inner.to_frame()
    ],
)

# %% [markdown]
# It is tempting to say "the model has learned sines and cosines". Look at the last column before you do. A random walk (each position is the one before plus noise) has no period at all, and its components look like waves just as well, with periods of the whole table, half of it, and so on (Antognini and Sohl-Dickstein 2018). What the table above shows is that positions lie on a *smooth* path. A period would have to stand out from that.
#
# Many newer models have no `W_pos`. With **rotary** positions the queries and keys inside attention are turned by an angle for each position, so that their product depends on the distance only. What the rotation does by itself to two equal vectors, as one moves away:

# %%
rotary = ca.HookedTransformer(
    ca.ModelConfig(
        n_layers=1,
        d_model=64,
        n_heads=1,
        d_vocab=8,
        n_ctx=64,
        positional_embedding_type="rotary",
    )
)
decay = ca.tokens.rotary_similarity(rotary, range(33))
table(
    ["distance", *map(str, (0, 1, 2, 4, 8, 16, 32))],
    [("product", *(float(decay[d]) for d in (0, 1, 2, 4, 8, 16, 32)))],
)

# %% [markdown]
# ## 11. Break it on purpose
#
# Each line is a mistake that people make at the two ends of a model. None of them raises an error.

# %%
WRITTEN = {
    "as it should be": PROMPT,
    "a small letter": PROMPT.replace("When", "when"),
    "a space at the end": PROMPT + " ",
    "two spaces": PROMPT.replace("gave a", "gave  a"),
    "a word that it does not know": PROMPT.replace("drink", "lemonade"),
}


def next_word(logits) -> tuple[str, float]:
    p = logits[0, -1].softmax(-1)
    return f"`{model.tokenizer.token(int(p.argmax()))!r}`", float(p.max())


rows = []
for name, text in WRITTEN.items():
    unknown = sum("unk" in piece for piece in model.to_str_tokens(text))
    rows.append((name, str(unknown), *next_word(model(text))))
rows.append(("without BOS", "0", *next_word(model(PROMPT, prepend_bos=False))))
without_norm = last @ model.W_U
rows.append(("the final norm forgotten", "0", *next_word(without_norm[None, None])))
table(["what is done", "unknown tokens", "likeliest next", "its probability"], rows)

# %% [markdown]
# Which of them would you have noticed from the output? Look at the tokens (`model.to_str_tokens`) of every prompt that you write. It is the cheapest check there is.
#
# ## 12. The log

# %%
log

# %%
gained = compared.difference("first-mlp", "unigrams")
better = "below" if gained.high < 0 else "above" if gained.low > 0 else "hardly to be told from"
Markdown(
    f"**What this notebook found.** The shortest way through {cfg.model_name} has a loss of "
    f"{loss_of['embedding'].estimate:.2f} nats, where frequencies alone have "
    f"{floor.estimate:.2f} and counted bigrams {loss_of['bigrams'].estimate:.2f}. With the first "
    f"MLP in between it is {loss_of['first-mlp'].estimate:.2f}, {better} that of frequencies. The "
    f"whole model has {loss_of['whole model'].estimate:.2f}. A random direction has a token at a "
    f"cosine of {found.random[0, :, 0].mean():.2f}."
)

# %% [markdown]
# ## 13. Exercises
#
# Replace the three dots, run the cell, then the check.
#
# **Exercise 1.** Softmax and loss by hand. From `z` (the logits at the last position of our prompt, `[d_vocab]`), compute the loss in nats if `" Mary"` comes next. Use `exp`, `log` and `sum` only.
#
# <details><summary>Hint</summary>
#
# −ln of (e to Mary's logit, divided by the sum of e to all logits).
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# loss_of_mary = -(z[mary].exp() / z.exp().sum()).log()
# ```
#
# </details>

# %%
z, mary = logits[0, -1], model.to_single_token(" Mary")
loss_of_mary = ...

# %%
check(
    loss_of_mary,
    float(-logits[0, -1].log_softmax(-1)[mary]),
    hint="Did you divide by the sum over all tokens?",
)

# %% [markdown]
# **Exercise 2.** The *perplexity* of a text is e to its mean loss: "as unsure as between so many equally likely tokens". What is the perplexity of a model that has learned nothing and gives every token of `cfg.d_vocab` the same probability?
#
# <details><summary>Hint</summary>
#
# Its loss at every position is −ln(1 / d_vocab).
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# perplexity = math.exp(-math.log(1 / cfg.d_vocab))
# ```
#
# </details>

# %%
perplexity = ...

# %%
check(perplexity, cfg.d_vocab, hint="No model is needed for this.")

# %% [markdown]
# **Exercise 3.** Find the token nearest to `" school"` in the embedding, in your own code: from `W` (each token's row less the mean over tokens), its text.
#
# <details><summary>Hint</summary>
#
# Divide every row by its length; then `W @ W[school]` are the cosines. The token itself has 1: leave it out.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# unit = W / W.norm(dim=-1, keepdim=True)
# near = unit @ unit[school]
# near[school] = -1
# nearest_text = model.tokenizer.token(int(near.argmax()))
# ```
#
# </details>

# %%
W = ca.tokens.token_vectors(model, "embedding")  # [d_vocab, d_model], the mean taken out
school = model.to_single_token(" school")
nearest_text = ...

# %%
check(
    nearest_text,
    ca.tokens.nearest_tokens(model, " school", k=1, n_random=1).texts[0][0],
    hint="Without the lengths it is a dot product, and long vectors win.",
)

# %% [markdown]
# **Exercise 4.** Count a bigram: in `ids` (the Shakespeare-like text as one row of character numbers), which share of all `"q"` is followed by `"u"`?
#
# <details><summary>Hint</summary>
#
# `ids[:-1] == q` marks the places of q; `ids[1:]` is what comes after each.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# share = float((ids[1:][ids[:-1] == q] == u).float().mean())
# ```
#
# </details>

# %%
q, u = letters.to_single_token("q"), letters.to_single_token("u")
share = ...

# %%
pairs = list(zip(ids[:-1].tolist(), ids[1:].tolist()))
check(share, pairs.count((q, u)) / sum(first == q for first, _ in pairs), tolerance=1e-3)

# %% [markdown]
# ## 14. Questions to take along
#
# 1. Two models have the same loss on the same text, but one counts tokens of words and the other of characters. Which one is better?
# 2. In a model of tied embeddings the direct path says "the same token again". What must the layers do to that at every single position, and could one see it?
# 3. Why is a token that never occurs in the training text *not* left alone by training, in a model with tied embeddings? (Which gradient reaches it?)
# 4. The loss of the first word of a sentence is high in every model. What is the least that it could be, and whose property is that?
#
# ## Further
#
# - Next: [01 · A transformer from scratch](01_a_transformer_from_scratch.ipynb) writes everything between the two ends; [04 · The behaviour](04_baseline.ipynb) begins to take one model apart. The method card: [inputs-and-outputs.md](../docs/methods/inputs-and-outputs.md), and [ngrams.md](../docs/methods/ngrams.md) on counting.
# - Elhage et al. (2021), *A Mathematical Framework for Transformer Circuits*, [transformer-circuits.pub](https://transformer-circuits.pub/2021/framework/index.html): the section on zero-layer transformers.
# - Sennrich, Haddow and Birch (2016), *Neural Machine Translation of Rare Words with Subword Units*, [arXiv:1508.07909](https://arxiv.org/abs/1508.07909): byte-pair encoding.
# - Antognini and Sohl-Dickstein (2018), *PCA of high dimensional random walks with comparison to neural network training*, [arXiv:1806.08805](https://arxiv.org/abs/1806.08805): why smooth paths look like waves.
# - Press and Wolf (2017), *Using the Output Embedding to Improve Language Models*, [arXiv:1608.05859](https://arxiv.org/abs/1608.05859): tied embeddings.
