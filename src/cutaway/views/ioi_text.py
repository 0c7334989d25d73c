"""The standing text of the IOI report: what each figure measures, and when it misleads."""

from __future__ import annotations

from .markup import code, tag

# Per site: the title of its map and what it shows.
SITES = {
    "resid_pre": (
        "Residual stream (resid_pre)",
        "All that has been written before this layer at this position.",
    ),
    "attn_out": (
        "Attention layers (attn_out)",
        "What all heads of one layer add at this position.",
    ),
    "mlp_out": (
        "MLP layers (mlp_out)",
        "What the MLP of one layer adds at this position.",
    ),
}

CAUTIONS = {
    "behaviour": (
        "A high logit difference compares two tokens only: a model may prefer some third word to "
        "both and still score well. Accuracy here means IO above S, not IO above everything.",
        "The mean can hide prompts on which the model fails; the dots show them.",
    ),
    "positions": (
        "A residual stream holds everything written before it, so its map says where information "
        "has arrived, not which component put it there. Two of its values are certain beforehand: "
        "after the last layer END restores everything, and before layer 0 so does a token that is "
        "the only one changed.",
        "Effects of different places do not add up: two places in a row along one path can each "
        "restore the whole metric.",
        "The normalisation divides by the difference between clean and corrupted. A corruption "
        "that flips the answer counts both names, one gained and one lost; other corruptions give "
        "other numbers for the same model.",
    ),
    "heads": (
        "Of heads that do nothing, about 1 in 20 has a 95% interval that excludes 0. The size in "
        "the rule is there for that reason; a head just above it deserves a second run with "
        "another seed.",
        "A head can matter because it writes the answer, or because later heads read what it "
        "writes. This map does not tell the two apart.",
        "A head with no effect here may still be a backup that acts only when others are gone.",
    ),
    "attention": (
        "Where a head looks is not what it writes: the pattern says which tokens are read, and the "
        "head's OV circuit says what is done with them.",
        "Much attention on the first token is often a resting place, and means that the head has "
        "nothing to do there.",
        "A weight is stored in 256 steps, so it is exact to 0.002.",
    ),
    "ablation": (
        "Zero is not a neutral value: many heads write a constant that the rest of the model "
        "relies on, so zero ablation can break things the head does not compute. Mean and resample "
        "ablation keep that constant.",
        "Other heads can take over when one is missing (backup heads, self-repair), so a small "
        "loss does not prove that a head was idle. Heads that write against the answer make the "
        "metric rise when they are taken out.",
        "Taking out more heads does more damage; that is why the control takes out as many.",
    ),
}

# What each corruption does to a prompt.
CORRUPTIONS = {
    "s2-flip": "the second mention of the subject (S2) becomes the indirect object, so the answer "
    "turns round",
    "swap": "both names change places everywhere, so the answer turns round",
    "abc": "three other names stand in the three places, so no name is mentioned twice",
    "random-name": "a third name stands in the place of S2, so no name is mentioned twice",
}

METHOD = (
    tag(
        "p",
        tag("b", "Logit difference. "),
        "logit(IO) − logit(S) at END, from one forward pass per prompt; the metric of Wang et al. "
        "(2022), section 2.",
    ),
    tag(
        "p",
        tag("b", "Patching. "),
        "Denoising: a clean activation is put into the corrupted run. The effects are ratios of "
        "means over the prompts, (mean patched − mean corrupted) / (mean clean − mean corrupted), "
        "and not means of ratios, which prompts with a small difference would dominate.",
    ),
    tag(
        "p",
        tag("b", "Sites. "),
        code("resid_pre"),
        " is the residual stream before a layer, ",
        code("attn_out"),
        " and ",
        code("mlp_out"),
        " what its two halves add to it, and ",
        code("z"),
        " the output of a head before W_O.",
    ),
    tag(
        "p",
        tag("b", "Intervals. "),
        "Percentile bootstrap over prompts, numerator and denominator resampled together; for "
        "shares, the Wilson interval. They say how the figures would vary with other prompts of "
        "the same kind, not with other templates, other corruptions or other models.",
    ),
    tag(
        "p",
        tag("b", "Ablation. "),
        "Zero: the heads write nothing. Mean: at each position their mean output over reference "
        "prompts of the same template with three unrelated names (the ABC distribution of Wang et "
        "al. 2022). Resample: their output on one of those prompts, drawn at random.",
    ),
    tag(
        "p",
        tag("b", "Random sets. "),
        "As many heads as are ablated, drawn without replacement from those that are not.",
    ),
)

REFERENCES = (
    "K. Wang, A. Variengien, A. Conmy, B. Shlegeris, J. Steinhardt (2022): Interpretability in the "
    "Wild: a Circuit for Indirect Object Identification in GPT-2 small. arXiv:2211.00593.",
    "F. Zhang, N. Nanda (2023): Towards Best Practices of Activation Patching in Language Models: "
    "Metrics and Methods. arXiv:2309.16042.",
    "S. Heimersheim, N. Nanda (2024): How to use and interpret activation patching. "
    "arXiv:2404.15255.",
    "T. McGrath, M. Rahtz, J. Kramár, V. Mikulik, S. Legg (2023): The Hydra Effect: Emergent "
    "Self-repair in Language Model Computations. arXiv:2307.15771.",
)
