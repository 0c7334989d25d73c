"""The standing text of the report on direct attribution: what it measures, when it misleads."""

from __future__ import annotations

DEFINITION = (
    "The logits are the final residual stream through the final norm and the unembedding, and the "
    "stream is the sum of what was written to it. With the norm's scale held at its value in this "
    "very run, each part's share of the logits is one product: what it wrote, times the direction "
    "of the answer. Nothing is changed in the model. The biases of the final norm and of the "
    "unembedding, and those that attention layers and MLPs add, are listed by themselves; value "
    "biases belong to what heads write."
)

FORMULA = "(what it wrote) · (direction of the answer, through the norm) / scale"

MEANING = (
    "In logits. Above 0: it speaks for the answer; below 0: against it. All together are the "
    "answer's own logits, which is checked for every prompt."
)

CONTROL = (
    "The same runs, attributed to answers that mean nothing: each prompt with the answers of "
    "another one, and with tokens drawn from the whole vocabulary. A component that writes as much "
    "toward these does not write about the answer."
)

SOURCES = (
    "What a head writes is a sum over the tokens that it looks at: its attention there times the "
    "value there, moved to the end. Each row adds up to what the head writes directly. A token "
    "with several names counts for the first of them."
)

GAP = (
    "Each head was also taken out exactly: its output zeroed, all that follows computed anew. The "
    "difference is what later layers made of the head's output, what they do in its absence, and "
    "the final norm, whose scale changes when a part is missing."
)

CAUTIONS = (
    "Only the last step is seen. A head whose output is read by later layers writes nothing to the "
    "answer itself and can still be what everything rests on; --exact shows by how much.",
    "What is written directly need not be lost without the head: the final norm's scale shrinks "
    "with the stream and makes the rest larger, and later parts make up for what is missing "
    "(self-repair). The frozen scale hides both.",
    "Large contributions can cancel each other, and a constant part of them is the same in all "
    "prompts: look at the single prompts, and at the controls.",
    "The logit of one token also moves when all logits move together, which changes no "
    "probability; a difference of logits does not.",
    "Intervals say how the figures would vary with other prompts of the same kind.",
)

REFERENCES = (
    "N. Elhage et al. (2021): A Mathematical Framework for Transformer Circuits. "
    "transformer-circuits.pub.",
    "K. Wang et al. (2022): Interpretability in the Wild: a Circuit for Indirect Object "
    "Identification in GPT-2 small. arXiv:2211.00593.",
    "T. McGrath et al. (2023): The Hydra Effect: Emergent Self-repair in Language Model "
    "Computations. arXiv:2307.15771.",
    "C. Rushing, N. Nanda (2024): Explorations of Self-Repair in Language Models. "
    "arXiv:2402.15390.",
    "J. Janiak et al. (2023): An Adversarial Example for Direct Logit Attribution: Memory "
    "Management in GELU-4L. arXiv:2310.07325.",
)
