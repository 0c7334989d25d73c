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
# # 09 · A circuit: find it, test it, break it
#
# Notebook 08 patched every edge and drew the strong ones. A drawing is not yet a claim. The claim would be: *these edges do the task, and the others do not matter.* That can be tested, because a circuit can be run alone. Here we let several methods look for one, and first make sure that they can be trusted at all. Then we run it alone, ask the hard questions, and finally try to break it, since a circuit that nobody tried to break has not been tested.
#
# **What you will know afterwards**
#
# - what a circuit is, and what exactly happens when it runs alone;
# - how to hold a method against a model whose circuit is known, and what gradients cannot see there;
# - faithfulness, completeness, minimality and the curve over sizes, each beside random circuits;
# - how far one number moves when only *the way of running the circuit* is changed;
# - hypothesis tests and causal scrubbing, and a test that cannot fail;
# - which claims survive other sentences, other names, other corruptions, and which do not.
#
# **Time:** about 50 minutes; the cells run in about a minute on one core (on GPT-2 with cheaper methods: plan for an hour). Method cards: [circuits.md](../docs/methods/circuits.md), [discovery.md](../docs/methods/discovery.md), [evaluation.md](../docs/methods/evaluation.md), [known-models.md](../docs/methods/known-models.md), [calibration.md](../docs/methods/calibration.md), [hypothesis-tests.md](../docs/methods/hypothesis-tests.md), [causal-scrubbing.md](../docs/methods/causal-scrubbing.md), [predictions.md](../docs/methods/predictions.md).

# %%
MODEL = "ioi-mini"  # or "gpt2", or the folder of a model of your own

# %%
import itertools

import numpy as np
import torch
from course import Log, Markdown, check, show, table
from IPython.display import SVG

import cutaway as ca
from cutaway.circuits import Circuit, CircuitRuns
from cutaway.circuits.calibration import calibrate
from cutaway.circuits.discovery import circuit_of
from cutaway.circuits.discovery.discover import parse_settings
from cutaway.circuits.evaluation import (
    How,
    Trial,
    evaluate,
    faithfulness,
    minimality,
    sufficiency_curve,
)
from cutaway.circuits.hypothesis_tests import HypothesisSettings, hypothesis_tests
from cutaway.circuits.known import KNOWN
from cutaway.circuits.random_circuits import random_circuits
from cutaway.circuits.scrubbing import causal_scrub, ioi_features, ioi_mini_hypothesis
from cutaway.circuits.selection import strongest
from cutaway.plotting import bars
from cutaway.views.circuit_graph import CircuitGraphView
from cutaway.views.curve import CurveSeries, CurveView

torch.set_grad_enabled(False)
model = ca.HookedTransformer.from_pretrained(MODEL)
cfg = model.cfg
graph = ca.Graph(cfg)
N_PROMPTS, N_EDGES, N_RANDOM = 32, 40, 20
print(f"{cfg.model_name}: {len(graph.edge_names)} edges; circuits of {N_EDGES}")

# %% [markdown]
# ## 1. What a circuit is, and what you expect of it
#
# A **circuit** is a set of edges of the graph of notebook 08: from a sender (the embedding, a head, an MLP) to a receiver (an input of a head, an MLP, the logits). *Running it alone* means: over an edge of the circuit comes what the sender computes in this very run; over every other edge comes what the sender writes **outside**, by default in the corrupted prompt of the pair. Nothing is deleted. A sender can be clean for one reader and corrupted for the next.
#
# How well it does alone is its **faithfulness**:
#
#     (circuit - empty) / (model - empty)
#
# of mean logit differences. The *empty* circuit has everything outside. 0: the circuit does nothing; 1: it does what the model does; above 1: it does more than the model.
#
# ### Predict
#
# From here on, say how sure you are as well. The log of this course is kept by `ca.predict`: each prediction is on disk, with its time, before anything runs, and can be graded once. (Here they go into a temporary folder. `Log("runs")` keeps them, and `cutaway predictions` lists what you have predicted over the months.) Change ours to yours; some of ours are wrong.

# %%
log = Log()
log.expect(
    "exact",
    "Known circuit: edges that exact patching misses?",
    low=0,
    high=0,
    confidence=0.95,
    why="it measures what is asked for",
)
log.expect(
    "gradients",
    "Known circuit: edges that EAP misses?",
    low=1,
    confidence=0.8,
    why="a saturated softmax has no slope",
)
log.expect(
    "agree",
    "ioi-mini: shared edges of the first method and EAP-IG (Jaccard)?",
    low=0.5,
    high=0.8,
    confidence=0.7,
    why="estimates differ from effects",
)
log.expect(
    "acdc",
    "... of the first and the second method?",
    low=0.5,
    high=0.9,
    confidence=0.7,
    why="all look for the same thing",
)
log.expect(
    "faithful",
    "Faithfulness of the first method's circuit on fresh prompts?",
    low=0.9,
    high=1.1,
    confidence=0.7,
    why="the strongest edges do most",
)
log.expect(
    "choice",
    "Largest gap between two ways of running that same circuit?",
    low=0,
    high=0.3,
    confidence=0.7,
    why="it is the same circuit",
)
log.expect(
    "incomplete",
    "Worst gap between circuit and model when parts are taken out of both?",
    low=-0.1,
    high=0.1,
    confidence=0.6,
    why="what is faithful is nearly complete",
)
log.expect(
    "needed",
    "Share of its edges that are not needed?",
    low=0,
    high=0.25,
    confidence=0.6,
    why="each was chosen for its effect",
)
log.expect(
    "small",
    "How many edges does it take to keep 90%?",
    low=5,
    high=25,
    confidence=0.6,
    why="few edges are much stronger than the rest",
)
log.expect(
    "scrubbed",
    "Causal scrubbing with labels dealt at random, 64 prompts: recovered?",
    high=0.3,
    confidence=0.8,
    why="claims about nothing should fail",
)
log.expect(
    "sentences",
    "Faithfulness on sentences that the model never saw?",
    low=0.85,
    high=1.1,
    confidence=0.7,
    why="the model does these too",
)
log.expect(
    "corruption",
    "... with three other names (abc) outside, in place of s2-flip?",
    low=0.8,
    high=1.1,
    confidence=0.6,
    why="the same circuit on the same prompts",
)
log.expect(
    "backup",
    "Largest interaction of two heads (positive: they back each other up)?",
    low=0.05,
    confidence=0.6,
    why="notebook 08 saw one",
)
log

# %% [markdown]
# ## 2. A known answer first
#
# How do you know that a method finds circuits? On a trained model nobody can tell you what the right answer is. So we wrote models whose circuit is in the weights because we put it there: `ca.circuits.known`. The one below does IOI in three layers, with a duplicate-token head, an S-inhibition head, a name mover and a negative name mover, and idle heads beside them, all turned by a random rotation so that nothing is easy to read.
#
# A corruption can reveal only some of the written edges: one that carries the same in both runs shows nothing. The others are **detectable**, and their signs are known.

# %%
known = KNOWN["ioi"](seed=0)
known_task = known.tasks["s2-flip"]
answer = known.detectable["s2-flip"]
print("heads:     ", ", ".join(f"{head} {role}" for head, role in known.roles.items()))
print(
    f"edges:      {len(ca.Graph(known.model.cfg).edge_names)}, written {len(known.written)}, "
    f"detectable {len(answer)}"
)
LOOKED_AT = ("exact-edges", "acdc", "eap", "eap-ig")
known_scores = {
    name: ca.circuits.score(known.model, known_task, name) for name in (*LOOKED_AT, "random")
}
exact = known_scores["exact-edges"].values
verdicts = {
    name: calibrate(scores, answer, known.written, exact)
    for name, scores in known_scores.items()
}
table(
    ["detectable edge", "sign", *LOOKED_AT],
    [
        (edge, "+" if sign > 0 else "−", *(verdicts[m].scores[edge] for m in LOOKED_AT))
        for edge, sign in answer.items()
    ],
)

# %% [markdown]
# Go through the columns.
#
# - **exact-edges** patches each edge by itself and reads what happens. Every edge has an effect, with its right sign: the name mover helps, the negative name mover works against it.
# - **acdc** (Conmy et al. 2023) takes edges out for good, one after the other, from the logits back. So an edge is measured on *what is left*, and its score depends on what went before. It misses the two edges into keys: it has taken out the values before (which alone do nothing), and with the corrupted value at S2 it no longer matters who looks there.
# - **eap** (Syed et al. 2023) estimates all effects from one gradient. Look at the edges into queries and keys (`.q`, `.k`): exchanging them turns the answer round, and the estimate is zero. Attention here is all or nothing. At either end a softmax has no slope, and a gradient is a slope.
# - **eap-ig** (Hanna et al. 2024) takes gradients at several points between the two runs. Whether one of them falls on the jump is luck: it misses some edges and overrates others.
#
# A table over all corruptions of this model. AUROC: the chance that a detectable edge is ranked above another one; 0.5 is a guess. *Missed*: scored below 1% of the exact effect.

# %%
rows = []
for corruption, edges in known.detectable.items():
    truth = ca.circuits.score(known.model, known.tasks[corruption])
    for name in (*LOOKED_AT, "random"):
        scores = ca.circuits.score(known.model, known.tasks[corruption], name)
        found = calibrate(scores, edges, known.written, truth.values)
        wrong = "no sign" if found.wrong_sign is None else str(len(found.wrong_sign))
        missed = "" if name == "random" else f"{len(found.missed)} of {len(edges)}"
        rows.append((corruption, name, found.auroc, missed, wrong))
log.observe("exact", len(verdicts["exact-edges"].missed))
log.observe("gradients", len(verdicts["eap"].missed))
table(["corruption", "method", "AUROC", "missed", "wrong signs"], rows)

# %% [markdown]
# So exact patching can be trusted to find what one edge alone can show, ACDC nearly, and gradients only where nothing is saturated. The softmax of a trained model is softer than this one. With `KnownSettings(sharpness=3)` EAP's ranking is right everywhere, and only its sizes are off ([calibration.md](../docs/methods/calibration.md)). Which of the two is *your* model like? Compare the estimate with the exact effects on it, once, before you rely on it.
#
# Note also what **no** column contains: the written edges that this corruption does not reveal. A perfect score here is perfection within one question.
#
# ## 3. Find it
#
# Now the trained model. One set of prompts to search, another to test: on the prompts that it was chosen on, a circuit looks better than it is.

# %%
task = ca.tasks.ioi(model, n_prompts=N_PROMPTS, corruption="s2-flip", seed=0)
fresh = ca.tasks.ioi(model, n_prompts=N_PROMPTS, corruption="s2-flip", seed=1)
# Exact edges and ACDC take hours on a large model without a GPU.
EVERY = len(graph.edge_names) <= 5_000
METHODS = ("exact-edges", "acdc", "eap-ig") if EVERY else ("eap-ig", "eap", "exact-nodes")
FIRST = METHODS[0]
scores, circuits = {}, {}
for method in METHODS:
    extra = {"tau": 0.01} if method == "acdc" else {}
    settings = parse_settings(method, {"n_edges": N_EDGES, **extra})
    scores[method] = ca.circuits.score(model, task, method, settings)
    circuits[method] = circuit_of(model, task, scores[method], settings)
    print(circuits[method])
circuit = circuits[FIRST]

# %% [markdown]
# `ca.circuits.discover(model, task, method, n_edges=40)` does both steps; we keep the scores for the curve in section 6. The size asked for is the size that comes back: edges are taken by the size of their score until so many of them *lie on a way from the embedding to the logits*. Point at a node to see what it hears and whom it tells; a click keeps it.

# %%
view = CircuitGraphView(
    circuit,
    title=f"{len(circuit)} edges found by {circuit.method}",
)
view

# %% [markdown]
# ### Do the methods agree?
#
# The **Jaccard index** is the number of edges of both over the number of edges of either. Beside it stands chance: pairs of random circuits that are as large and as connected as these.

# %%
wiring = circuit.wiring
drawn = [
    Circuit(cfg, wiring.names(m))
    for m in random_circuits(wiring, len(circuit), N_RANDOM, seed=0)
]
chance = [(a.jaccard(b), a.jaccard(b, of="nodes")) for a, b in itertools.combinations(drawn, 2)]
agreement = [
    (
        f"{a}, {b}",
        circuits[a].jaccard(circuits[b]),
        circuits[a].jaccard(circuits[b], of="nodes"),
    )
    for a, b in itertools.combinations(METHODS, 2)
]
if EVERY:
    log.observe("agree", circuit.jaccard(circuits["eap-ig"]))
    log.observe("acdc", circuit.jaccard(circuits["acdc"]))
table(
    ["methods", "edges", "nodes"],
    [*agreement, ("two random circuits (mean)", *map(float, np.mean(chance, axis=0)))],
)

# %% [markdown]
# And which edges are they? Below, the first two methods in one drawing.

# %%
SVG(
    CircuitGraphView(
        circuit, other=circuits[METHODS[1]], names=(FIRST, METHODS[1]), title="Two methods"
    ).svg()
)

# %% [markdown]
# On `ioi-mini` the estimate of EAP-IG and the exact effects choose the same edges or nearly, and ACDC chooses others. That is not noise: the question differs. Exact patching asks of each edge "what is lost if this alone is corrupted?"; ACDC asks "can what is left do without it?", and keeps one of several ways that do the same work. **Two methods that disagree may both be right, about different questions.** Only a test that neither was built on can compare them.
#
# ## 4. Run it alone
#
# On the fresh prompts, each beside 20 random circuits of its size.


# %%
def alone(t: ca.Task, c: Circuit, how: How | None = None):
    """Faithfulness of a circuit on a task."""
    return faithfulness(Trial(model, t, c, how), n_random=N_RANDOM, seed=0)


def beside_random(found) -> tuple:
    """Its ratio, and the mean and the largest of random circuits."""
    return found.ratio, float(found.random.mean()), float(found.random.max())


tested = {method: alone(fresh, c) for method, c in circuits.items()}
log.observe("faithful", tested[FIRST].ratio)
table(
    [
        "circuit",
        "edges",
        "faithfulness",
        f"{N_RANDOM} random: mean",
        "largest",
        "distance, logits",
    ],
    [
        (m, len(circuits[m]), *beside_random(found), found.distance)
        for m, found in tested.items()
    ],
)

# %% [markdown]
# The distance is the mean over prompts of |model − circuit|. A mean can be right because errors of both signs cancel; a distance cannot. Read both.
#
# ### The same circuit, run in other ways
#
# Everything so far had the corrupted prompt's values outside, and cut single edges. Both are choices, and papers choose differently (Miller, Chughtai and Saunders 2024):
#
# - **outside**: the corrupted value (`patch`), nothing (`zero`), the mean over prompts with other names, or the value of one such prompt (`resample`);
# - **level**: only the circuit's edges carry this run's values (`edges`), or all edges between its nodes do (`nodes`), as where whole heads are ablated.
#
# Nothing about the circuit changes from row to row.

# %%
reference = ca.tasks.ioi(model, n_prompts=256, corruption="abc", seed=0)
OUTSIDE = {
    "patch": "patch",
    "zero": "zero",
    "mean": ca.values.Mean(reference),
    "resample": ca.values.Resample(reference),
}
ways = {
    (outside, level): alone(fresh, circuit, How(value, level))
    for outside, value in OUTSIDE.items()
    for level in ("edges", "nodes")
}
table(
    ["outside", "level", "faithfulness", "random: largest", "model", "circuit", "empty"],
    [
        (
            *way,
            f.ratio,
            float(f.random.max()),
            f.model.estimate,
            f.circuit.estimate,
            f.empty.estimate,
        )
        for way, f in ways.items()
    ],
)

# %%
ratios = [found.ratio for found in ways.values()]
spread = max(r.estimate for r in ratios) - min(r.estimate for r in ratios)
log.observe("choice", spread)
bars(
    [f"{outside}, {level}" for outside, level in ways],
    [r.estimate for r in ratios],
    "One circuit, run alone in eight ways",
    low=[r.low for r in ratios],
    high=[r.high for r in ratios],
    value_label="faithfulness on the same prompts (dashed: the whole model)",
    reference=1.0,
)

# %% [markdown]
# One circuit, one set of prompts, and anything from "useless" to "better than the model". A faithfulness without its *way* is not a number. Three things to see:
#
# - What the empty circuit does sets the scale: with corrupted values it argues for the *wrong* name, with zeros or means it argues for nothing. "Half of the way" is not the same distance.
# - With corrupted values outside, all that is the same in both prompts comes for free: that there is a name at all, the heads that write both names, every constant. With zeros outside, all of it is gone. `s2-flip` never asked who carries *that*.
# - `nodes` has many more edges than the circuit. If it does better than `edges`, the edges that were left out matter; and look how well the best *random* nodes do.
#
# ## 5. Complete? Minimal?
#
# **Complete**: what the model does the task with is *in* the circuit. Then circuit and model must go on agreeing when the same parts are taken out of both. A circuit that lacks a backup fails here although it is faithful. The parts are drawn at random, and looked for greedily: the worst case, chosen on one half of the prompts and measured on the other.
#
# **Minimal**: every part is needed. A part may look idle only because another does the same work, so each is taken out with and without others. The control are *strangers*: parts added at random and measured in the same way.

# %%
evaluation = evaluate(
    model, fresh, circuit, minimal="nodes", n_random=N_RANDOM, n_subsets=10, n_greedy=3, seed=0
)
print(evaluation)

# %%
completeness = evaluation.completeness
worst = completeness.worst
log.observe("incomplete", worst.gap)
table(
    ["taken out of both", "circuit", "model", "model − circuit"],
    [
        ("nothing", *(getattr(completeness.nothing, n) for n in ("circuit", "model", "gap"))),
        (f"worst found: {', '.join(worst.without)}", worst.circuit, worst.model, worst.gap),
        ("random subsets: mean |gap|", "", "", completeness.mean_gap),
        (
            f"{N_RANDOM} random circuits: mean |gap|",
            "",
            "",
            float(completeness.random_circuits.mean()),
        ),
    ],
)

# %% [markdown]
# The greedy search takes out what drives the two furthest apart. What the model can still do then, and the circuit cannot, goes through edges that we did not choose.
#
# And is each edge needed?

# %%
of_edges = minimality(
    Trial(model, fresh, circuit), of="edges", n_subsets=4, n_strangers=N_RANDOM, seed=0
)
log.observe("needed", len(of_edges.not_needed) / len(of_edges.parts))
ordered = sorted(of_edges.parts, key=lambda one: -abs(one.change.estimate))
table(
    ["edge", "is worth", "once these are out", "needed"],
    [
        (
            one.part,
            one.change,
            f"{len(one.without)} others" if one.without else "nothing",
            one.part not in of_edges.not_needed,
        )
        for one in (*ordered[:6], *ordered[-6:])
    ],
)

# %%
print(f"{len(of_edges.not_needed)} of {len(of_edges.parts)} edges are worth no more than")
print(
    f"a stranger (95% of these: up to {of_edges.threshold:.4f}), or have 0 in their interval."
)

# %% [markdown]
# Forty was our number, not the model's. Asked for forty edges, a method gives forty, the last of them for very little. So do not ask for one size.
#
# ## 6. Every size
#
# A method puts *all* edges in an order. Run the strongest 0.1%, 0.2%, ... 50% of them alone. **CPR** is the area under this curve: much with few edges. **CMD** is the area between the curve and 1: neither less nor more than the model (Mueller et al. 2025, MIB).

# %%
runs = CircuitRuns(model, fresh)
# Random circuits once: they are the same for each method.
n_drawn = {method: 10 if method == FIRST else 1 for method in METHODS}
curves = {
    method: sufficiency_curve(runs, scores[method], n_random=n_drawn[method], seed=0)
    for method in METHODS
}
first = curves[FIRST]


def line(name: str, curve, with_interval: bool) -> CurveSeries:
    """A curve for the drawing."""
    points = curve.faithfulness
    ends = (
        ([p.low for p in points], [p.high for p in points]) if with_interval else (None, None)
    )
    return CurveSeries(name, curve.shares, [p.estimate for p in points], *ends)


CurveView(
    [line(method, curve, method == FIRST) for method, curve in curves.items()],
    control=CurveSeries(
        "10 random circuits",
        first.shares,
        first.random.mean(0).tolist(),
        first.random.min(0).tolist(),
        first.random.max(0).tolist(),
    ),
    x_label="share of all edges",
    log_x=True,
    title="Faithfulness of the strongest edges, outside: the corrupted prompt",
    interval_name="95% interval (random circuits: all of them)",
)

# %%
table(
    ["method", "CPR (larger is better)", "CMD (smaller is better)"],
    [
        *((method, curve.cpr, curve.cmd) for method, curve in curves.items()),
        ("random (mean)", float(first.random_cpr.mean()), float(first.random_cmd.mean())),
    ],
    digits=3,
)

# %%
sizes = list(range(1, N_EDGES + 1))
matrices = np.stack([strongest(wiring, scores[FIRST].values, n).matrix for n in sizes])
of_size = runs.measure(torch.from_numpy(matrices)).mean(-1)
clean, empty = float(runs.clean.mean()), float(runs.empty().mean())
kept = ((of_size - empty) / (clean - empty)).numpy()
enough = np.flatnonzero(kept >= 0.9)
log.observe("small", sizes[enough[0]] if len(enough) else len(graph.edge_names))

# %% [markdown]
# The areas are taken over shares of *all* edges, so nearly the whole axis lies to the right of everything interesting, where each method is at 1. Areas that agree to two digits can hide curves that differ where it matters. Look at the curve, on its logarithmic axis.
#
# ## 7. Hypothesis tests
#
# Shi et al. (2024) turned such questions into five tests. Mind which way they point. Of the three *ideal* ones, rejecting the null speaks **against** the circuit; of the two *relaxed* ones, **for** it.

# %%
tests = hypothesis_tests(runs, circuit, HypothesisSettings(n_random=40, n_permutations=500))
table(
    ["test", "the null is that ...", "p", "rejected at 0.05", "so this speaks"],
    [
        (
            test.name,
            test.null,
            test.p_value,
            test.rejected(),
            ("for it" if test.for_the_circuit else "against it")
            if test.rejected()
            else "neither way",
        )
        for test in tests.all()
    ],
    digits=3,
)

# %% [markdown]
# A null that is not rejected has not been shown: with 32 prompts the test of equivalence can miss a lot. And *independence* asks more than most circuits give: with the circuit knocked out, nothing of the model's ranking of prompts may be left. It is rejected even if *everything* is knocked out, since then the corrupted prompts speak, which mirror the clean ones. A test is to be read with its control:

# %%
for test in tests.all():
    controls = "; ".join(f"{name}: {value:.3g}" for name, value in test.controls.items())
    print(f"{test.name:<18} {test.interval_of}: {show(test.interval)}")
    if controls:
        print(f"{'':<18} control, {controls}")

# %% [markdown]
# ## 8. Causal scrubbing, and a test that cannot fail
#
# So far: *which* edges. A stronger claim also says *what they carry*. For `ioi-mini` ours is: the early heads, the first MLP and head 1.2 speak of S alone; what comes after knows both names. **Causal scrubbing** (Chan et al. 2022) takes this at its word: what a part carries over an edge is replaced by what it carries on some *other* prompt that agrees on the named features, and everything that no claim names comes from any prompt of that template. If the claim is right, the answer survives. The control has the labels dealt out at random: claims about nothing.

# %%
is_mini = cfg.model_name == "ioi-mini"
if is_mini:
    for claim, features in list(ioi_mini_hypothesis().claims.items()):
        print(f"{claim:<14} depends on {', '.join(features)}")

# %%
FEW_NAMES = ["Mary", "John", "Tom", "Anna", "Sara"]
scrubbed = {}
if is_mini:
    settings_of = {
        "all names, all sentences": {},
        "5 names, one sentence": {"names": FEW_NAMES, "templates": ["canonical"]},
    }
    for name, given in settings_of.items():
        many = ca.tasks.ioi(model, n_prompts=64, seed=1, **given)
        scrubbed[name] = causal_scrub(
            model,
            many,
            ioi_mini_hypothesis(),
            ioi_features(many),
            within="template",
            n_draws=5,
        )
    log.observe("scrubbed", scrubbed["all names, all sentences"].recovered_shuffled)
table(
    [
        "prompts",
        "recovered",
        "labels dealt at random",
        "unexplained",
        "prompts that agree (least)",
    ],
    [
        (name, s.recovered, s.recovered_shuffled, s.unexplained, min(s.donors.values()))
        for name, s in scrubbed.items()
    ],
)

# %% [markdown]
# Read the first row. The hypothesis recovers everything, a triumph, and **so does the control**. Look at the last column: with many names and many sentences hardly any two prompts of one template agree on anything, so each part is "replaced" by itself. Nothing was exchanged, and nothing was tested. It is not enough that a test is passed. It must have been possible to fail it.
#
# With few names and one sentence there is someone to exchange with. Now the control fails, and the claim stands: on average nothing is lost. *Unexplained* is harder to please. It counts each prompt's own distance, and gains on one do not make up for losses on another: something is carried that we did not name.
#
# ## 9. Break it on purpose
#
# **Leave out the strongest edge.** Does the circuit lose what that edge was worth alone?

# %%
trial = Trial(model, fresh, circuit)
by_size = sorted(circuit.edges, key=lambda edge: -abs(circuit.effects[edge]))
cut = by_size[:5]
whole_circuit, *shorter = trial.measure(
    [trial.matrix, *(trial.matrix & ~wiring.matrix([edge]) for edge in cut)]
)
table(
    ["left out", "its own effect (search prompts)", "what the circuit loses (fresh prompts)"],
    [
        (edge, circuit.effects[edge], trial.share(whole_circuit - values))
        for edge, values in zip(cut, shorter)
    ],
)

# %% [markdown]
# The losses of these five add up to more than all there is. They are links of one chain: cut any of them, and what the chain carried is lost. Effects of edges are not shares of a cake (notebook 08).
#
# **Other sentences, other names, other corruptions.** The circuit stays as it was found. Which of these would a circuit that "does IOI" have to survive?

# %%
TRIES = {
    "fresh prompts": {},
    "sentences never trained on": {"templates": "held-out"},
    "pairs of names never trained on": {"pairs": "held-out"},
    "swap: both names exchanged": {"corruption": "swap"},
    "random-name: S2 is a third name": {"corruption": "random-name"},
    "abc: three other names": {"corruption": "abc"},
}
tasks = {
    name: ca.tasks.ioi(model, n_prompts=N_PROMPTS, seed=1, **given)
    for name, given in TRIES.items()
}
lengths = {name: (int(t.lengths.min()), int(t.lengths.max())) for name, t in tasks.items()}
broken = {name: alone(t, circuit) for name, t in tasks.items()}
log.observe("sentences", broken["sentences never trained on"].ratio)
log.observe("corruption", broken["abc: three other names"].ratio)
table(
    [
        "outside, prompts",
        "tokens",
        "faithfulness",
        "random: mean",
        "random: largest",
        "circuit, logits",
    ],
    [
        (name, "{} to {}".format(*lengths[name]), *beside_random(f), f.circuit.estimate)
        for name, f in broken.items()
    ],
)

# %% [markdown]
# **Longer prompts.** Sentences in front, and sentences between the names and S2. The model manages some of them (notebook 04); does the circuit?

# %%
FILLERS = (
    " It was a sunny day.",
    " The day was long.",
    " Music was playing.",
    " Nobody else was there.",
)
START, END = "Then {a} and {b} went to the store.", " {giver} gave a drink to"
PATTERNS = {
    "plain": START + END,
    "2 sentences in front": "".join(FILLERS[:2]).strip() + " " + START + END,
    "1 sentence between": START + FILLERS[0] + END,
    "2 sentences between": START + "".join(FILLERS[:2]) + END,
    "4 sentences between": START + "".join(FILLERS) + END,
}


def sentences(pattern: str) -> ca.Task:
    """The names of `fresh` in sentences of this pattern."""
    prompts = []
    for i, (io, s) in enumerate(zip(fresh.answer_text, fresh.wrong_text)):
        a, b = (io.strip(), s.strip()) if i % 2 == 0 else (s.strip(), io.strip())
        clean, corrupted = (pattern.format(a=a, b=b, giver=giver.strip()) for giver in (s, io))
        prompts.append({"clean": clean, "corrupted": corrupted, "answer": io, "wrong": s})
    return ca.Task.from_prompts(model, prompts)


longer = {name: sentences(pattern) for name, pattern in PATTERNS.items()}
stretched = {name: alone(t, circuit) for name, t in longer.items()}
table(
    [
        "prompts",
        "tokens",
        "model, logits",
        "circuit, logits",
        "faithfulness",
        "random: largest",
    ],
    [
        (
            name,
            int(longer[name].lengths.max()),
            f.model,
            f.circuit.estimate,
            f.ratio,
            float(f.random.max()),
        )
        for name, f in stretched.items()
    ],
)

# %% [markdown]
# Sentences in between cost the circuit of `ioi-mini` nothing. Sentences in *front* do, though the model still answers: something helps there that did not have to help before, and the circuit has no edge for it. Do not read the ratio alone, though. Where the model itself fails, a faithful circuit fails with it; and where model and empty circuit are close, the ratio means little, and its interval says so.
#
# **Ask another question.** Let the same method look for a circuit with three other names outside. Then run each circuit, and both together, on both questions.

# %%
abc = ca.tasks.ioi(model, n_prompts=N_PROMPTS, corruption="abc", seed=0)
fresh_abc = tasks["abc: three other names"]
of_abc = ca.circuits.score(model, abc, FIRST)
other = circuit_of(model, abc, of_abc, parse_settings(FIRST, {"n_edges": N_EDGES}))
both = circuit | other
table(
    ["circuit", "edges", "heads", "s2-flip outside", "abc outside"],
    [
        (name, len(c), ", ".join(c.heads), alone(fresh, c).ratio, alone(fresh_abc, c).ratio)
        for name, c in (
            ("found with s2-flip", circuit),
            ("found with abc", other),
            ("both", both),
        )
    ],
)

# %%
LEAST = 0.02
large = {
    name: int((np.abs(x.values) > LEAST).sum())
    for name, x in (("s2-flip", scores[FIRST]), ("abc", of_abc))
}
Markdown(
    f"The two share **{len(circuit & other)}** edges (Jaccard {show(circuit.jaccard(other))}; "
    f"of nodes {show(circuit.jaccard(other, of='nodes'))}). Edges with an effect above {LEAST}: "
    + ", ".join(f"**{n}** under {name}" for name, n in large.items())
    + "."
)

# %% [markdown]
# The circuit is not the circuit of a *task*. It is the circuit of a **difference**: between this prompt and that one. `s2-flip` asks who tells the two roles apart; `abc` asks in addition who says that *these* are the names. And on its own question the second is not even very good: many more edges matter there, and forty are not enough. The right size belongs to the question as well.
#
# **Backups.** A set of edges chosen one by one cannot see two parts that stand in for each other. Pairs can (notebook 08): positive, if losing both hurts more than the sum of losing each.

# %%
heads = ca.sweep(model, fresh, "z", mode="noising")
top = [head.name for head in heads.top(8)]
pairs = ca.sweep_pairs(model, fresh, top, value="patch")
beyond, low, high = ca.interaction(pairs)
couples = [
    (
        top[i],
        top[j],
        ca.Interval(*map(float, (beyond[i, j], low[i, j], high[i, j])), 0.95, len(fresh)),
    )
    for i, j in itertools.combinations(range(len(top)), 2)
]
couples.sort(key=lambda couple: -couple[2].estimate)
log.observe("backup", couples[0][2])
table(
    ["heads", "interaction", "both in the circuit"],
    [
        (f"{a}, {b}", both_of, a in circuit.nodes and b in circuit.nodes)
        for a, b, both_of in (*couples[:4], *couples[-3:])
    ],
)

# %% [markdown]
# Positive pairs stand in for each other. The large negative ones are links of one chain: it breaks once, and the second break costs nothing more. A search that patches one edge at a time sees the links of a chain in full, and of a pair of backups too little.
#
# ### What survives
#
# Each claim, how it was tested, and what came. The verdicts are computed; on another model they come out otherwise.


# %%
def verdict(found: ca.Interval, low: float, high: float = np.inf) -> str:
    """Whether the whole interval lies between the two."""
    if low <= found.low and found.high <= high:
        return "survives"
    return "**broken**" if found.high < low or found.low > high else "undecided"


strong, loss = by_size[0], trial.share(whole_circuit - shorter[0])
best_random = float(tested[FIRST].random.max())
least, most = min(ratios, key=lambda r: r.estimate), max(ratios, key=lambda r: r.estimate)
n_needed = len(of_edges.parts) - len(of_edges.not_needed)
new_sentences = broken["sentences never trained on"].ratio
other_names = broken["abc: three other names"].ratio
LEAST_KEPT = 0.8
table(
    ["claim", "tested by", "asked for", "came", "verdict"],
    [
        (
            "the edges carry the difference of the roles",
            f"fresh prompts (best of {N_RANDOM} random: {show(best_random)})",
            f"above {LEAST_KEPT}",
            tested[FIRST].ratio,
            verdict(tested[FIRST].ratio, LEAST_KEPT),
        ),
        (
            "... in sentences that it was not found on",
            "held-out templates",
            f"above {LEAST_KEPT}",
            new_sentences,
            verdict(new_sentences, LEAST_KEPT),
        ),
        (f"{strong} is a link of the chain", "left out", "above 0.3", loss, verdict(loss, 0.3)),
        (
            "all that matters is in it",
            f"without {', '.join(worst.without) or 'anything'} in both",
            "−0.1 to 0.1",
            worst.gap,
            verdict(worst.gap, -0.1, 0.1),
        ),
        (
            "all its edges are needed",
            "edge by edge, beside strangers",
            f"all {len(of_edges.parts)}",
            f"{n_needed}",
            "survives" if n_needed == len(of_edges.parts) else "**broken**",
        ),
        (
            "it does the task, whatever stands outside",
            "the worst of eight ways",
            f"above {LEAST_KEPT}",
            least,
            verdict(least, LEAST_KEPT),
        ),
        (
            "... and no more than the model does",
            "the best of eight ways",
            "below 1.2",
            most,
            verdict(most, -np.inf, 1.2),
        ),
        (
            "it is the circuit of IOI",
            "three other names outside (abc)",
            f"above {LEAST_KEPT}",
            other_names,
            verdict(other_names, LEAST_KEPT),
        ),
    ],
)

# %% [markdown]
# What is left is smaller than "we found the IOI circuit", and it is true: *these edges carry most of what makes this model tell the roles apart, in sentences of this kind, when everything else hears the other role.* That is what a circuit claim looks like when it is finished.
#
# ## 10. The log, and how sure you were

# %%
log

# %% [markdown]
# With a confidence beside each, the misses say more: were they among those that you were sure of? (With so few, the intervals are wide. It takes some fifty predictions to see whether your 80% is an 80%.)

# %%
log.calibration()

# %% [markdown]
# ## 11. Exercises
#
# **Exercise 1.** Faithfulness by hand. `runs` holds the fresh prompts with the corrupted values outside: `runs.measure(matrices)` gives the metric of circuits `[circuit, prompt]`, `runs.clean` that of the model and `runs.empty()` that of the empty circuit. Compute the faithfulness of `circuits[METHODS[1]]`, one number.
#
# <details><summary>Hint</summary>
#
# `circuit.matrix` is an array; `measure` wants a tensor with one axis more: `torch.from_numpy(c.matrix[None])`. Means first, then divide.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# matrix = torch.from_numpy(circuits[METHODS[1]].matrix[None])
# nothing = runs.empty().mean()
# by_hand = float((runs.measure(matrix).mean() - nothing) / (runs.clean.mean() - nothing))
# ```
#
# </details>

# %%
by_hand = ...

# %%
check(by_hand, tested[METHODS[1]].ratio.estimate, tolerance=1e-4)

# %% [markdown]
# **Exercise 2.** Where do the first two methods differ? What share of the first circuit's edges does the second have too? And write, as a set, the heads that only the first one has.
#
# <details><summary>Hint</summary>
#
# Circuits know `&`, `|` and `-`. The heads of a circuit are `circuit.heads`; heads of `a - b` may be in `b` as well, by other edges.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# second = circuits[METHODS[1]]
# shared = len(circuit & second) / len(circuit)
# only_first = set(circuit.heads) - set(second.heads)
# ```
#
# </details>

# %%
shared, only_first = ..., ...

# %%
in_both = [edge for edge in circuit.edges if edge in circuits[METHODS[1]]]
heads_of_second = circuits[METHODS[1]].heads
check(
    ... if shared is ... or only_first is ... else (shared, sorted(only_first)),
    lambda given: (
        abs(given[0] - len(in_both) / len(circuit)) < 1e-6
        and given[1] == sorted(h for h in circuit.heads if h not in heads_of_second)
    ),
)

# %% [markdown]
# **Exercise 3.** A circuit with *all* edges between its nodes is much larger than the one that was found. How large? Compute the share of the model's edges that `How(level="nodes")` runs `circuit` with.
#
# <details><summary>Hint</summary>
#
# `Trial(model, fresh, circuit, How(level="nodes")).matrix`, and `len(graph.edge_names)`.
#
# </details>
# <details><summary>Solution</summary>
#
# ```python
# as_nodes = Trial(model, fresh, circuit, How(level="nodes")).matrix
# share_of_edges = as_nodes.sum() / len(graph.edge_names)
# ```
#
# </details>

# %%
share_of_edges = ...

# %%
check(
    share_of_edges,
    len(Circuit.of_nodes(model, [n for n in circuit.nodes if n != "embed"]))
    / len(graph.edge_names),
    tolerance=1e-4,
)

# %% [markdown]
# ## 12. Questions to take along
#
# 1. A paper reports a faithfulness of 0.87. Which four things do you ask before you compare it with yours?
# 2. A circuit of 5 edges and one of 500 both have a faithfulness of 1.0. Name a claim that only the first supports, and one that only the second can.
# 3. EAP ranks the edges of your model as exact patching does, on a sample of fifty edges. What could still be wrong on the others?
# 4. Your hypothesis survives causal scrubbing, and so does the control. What do you change: the hypothesis, the features, or the prompts?
# 5. Write down the weakest claim about `ioi-mini` that you would bet on, and the cheapest run that could lose you the bet. Then predict it, and run it.
#
# ## Further
#
# - Next: [10 · Heads, and the ones that continue what they have seen](10_heads_and_induction_heads.ipynb).
# - Back: [08 · Paths and ablation](08_paths_and_ablation.ipynb). The whole story on more prompts, as a report: `cutaway run circuit`. Other methods to try above: `"exact-nodes"`, `"edge-masks"`, `"eap"`.
# - Wang et al. (2022), [arXiv:2211.00593](https://arxiv.org/abs/2211.00593): faithfulness, completeness and minimality, section 4.
# - Conmy et al. (2023), *Towards Automated Circuit Discovery*, [arXiv:2304.14997](https://arxiv.org/abs/2304.14997): ACDC.
# - Syed, Rager and Conmy (2023), *Attribution Patching Outperforms Automated Circuit Discovery*, [arXiv:2310.10348](https://arxiv.org/abs/2310.10348): EAP.
# - Hanna, Pezzelle and Belinkov (2024), *Have Faith in Faithfulness*, [arXiv:2403.17806](https://arxiv.org/abs/2403.17806): EAP-IG.
# - Miller, Chughtai and Saunders (2024), *Transformer Circuit Faithfulness Metrics are not Robust*, [arXiv:2407.08734](https://arxiv.org/abs/2407.08734): section 4 of this notebook, on published circuits.
# - Shi et al. (2024), *Hypothesis Testing the Circuit Hypothesis in LLMs*, [arXiv:2410.13032](https://arxiv.org/abs/2410.13032).
# - Chan et al. (2022), *Causal Scrubbing*, [alignmentforum.org](https://www.alignmentforum.org/posts/JvZhhzycHu2Yd57RN/causal-scrubbing-a-method-for-rigorously-testing).
# - Mueller et al. (2025), *MIB: A Mechanistic Interpretability Benchmark*, [arXiv:2504.13151](https://arxiv.org/abs/2504.13151): CPR and CMD.
# - Method cards: [circuits.md](../docs/methods/circuits.md), [discovery.md](../docs/methods/discovery.md), [evaluation.md](../docs/methods/evaluation.md), [known-models.md](../docs/methods/known-models.md), [calibration.md](../docs/methods/calibration.md), [edges.md](../docs/methods/edges.md), [attribution-patching.md](../docs/methods/attribution-patching.md), [hypothesis-tests.md](../docs/methods/hypothesis-tests.md), [causal-scrubbing.md](../docs/methods/causal-scrubbing.md), [ablation.md](../docs/methods/ablation.md), [evidence.md](../docs/methods/evidence.md), [predictions.md](../docs/methods/predictions.md).
