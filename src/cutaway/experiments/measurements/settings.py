"""What can be chosen about one measurement. These fields are the options of four commands."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar, Literal

from ..task_settings import TaskSettings


@dataclass(frozen=True)
class MeasurementSettings(TaskSettings):
    """What all measurements ask for."""

    mode: Literal["denoising", "noising"] = "denoising"
    """denoising: is a part enough to bring the answer back? noising: is it needed for it?"""


@dataclass(frozen=True)
class PatchSettings(MeasurementSettings):
    """Replace one value after the other, exactly, and measure what the answer loses or gains."""

    command: ClassVar[str] = "patch"

    site: str = "z"
    """Of layers: resid_pre, resid_mid, resid_post, attn_out, mlp_out;
    of heads: z, result, q, k, v, pattern, attn_scores;
    of neurons: mlp_pre, mlp_post; of positions: embed, pos_embed."""
    value: Literal["patch", "zero", "mean", "resample"] = "patch"
    """The other run's value, zeros, the mean over corrupted prompts, or that of a random one."""
    positions: tuple[str, ...] = ()
    """all (at once), each (in turn), named (each in turn);
    or some, by name or by token index: S2 END.
    None given: all for heads and neurons, named for the rest."""
    keys: tuple[str, ...] = ()
    """Of pattern and attn_scores: which keys, as for positions; none given: all at once."""
    layers: tuple[int, ...] = ()
    """Which layers; none given means all."""
    neurons_per_group: int = 1
    """Of mlp_pre and mlp_post: how many neighbouring neurons are replaced together."""


@dataclass(frozen=True)
class PathsSettings(MeasurementSettings):
    """Patch the paths from some parts of the model to the inputs of others, exactly."""

    command: ClassVar[str] = "paths"

    receivers: tuple[str, ...] = ("logits",)
    """Inputs of heads (9.6.q, 9.6.k, 9.6.v), of MLPs (mlp3),
    or logits; 9.6.q+9.9.q is a set that is put in together."""
    senders: tuple[str, ...] = ()
    """embed, heads (5.5), MLPs (mlp3), or sets (5.5+5.6);
    none given: all that some receiver reads."""
    mlps: Literal["frozen", "recomputed"] = "frozen"
    """frozen: only the direct edge carries anything;
    recomputed: MLPs between sender and receiver answer."""
    positions: tuple[str, ...] = ()
    """Where inputs are put in, together: names or token indices; none given: everywhere."""


@dataclass(frozen=True)
class EdgesSettings(MeasurementSettings):
    """Patch every edge between two parts of the model, one at a time, exactly."""

    command: ClassVar[str] = "edges"

    receivers: tuple[str, ...] = ()
    """Only edges to these (9.6.q, mlp3, logits); none given means all."""
    resume: str = ""
    """Go on with a stopped run and its settings: the beginning of
    its id, "latest", or its folder.
    Or a file.safetensors that keeps what is done."""


# Which of the three things that can be attributed each option belongs to.
_OF = {
    **dict.fromkeys(("site", "positions", "layers", "gradient"), ("site",)),
    "method": ("edges",),
    **dict.fromkeys(("mode", "steps"), ("site", "edges")),
    **dict.fromkeys(("by", "toward", "sources"), ("direct",)),
}
_WORDS = {"site": "a site", "edges": "edges", "direct": "direct attribution"}
_ASKED = {
    "site": "a site is to be estimated",
    "edges": "edges are to be estimated",
    "direct": "direct attribution estimates nothing",
}


@dataclass(frozen=True)
class AttributeSettings(MeasurementSettings):
    """Estimate by gradients what patching would do; with --direct, take the logits apart."""

    command: ClassVar[str] = "attribute"

    site: str = "z"
    """Which value, as in `cutaway patch`."""
    positions: tuple[str, ...] = ()
    """As in `cutaway patch`."""
    layers: tuple[int, ...] = ()
    """Which layers; none given means all."""
    gradient: Literal["base", "both-ends", "integrated"] = "base"
    """Of a site, where the gradient is taken: in the run
    that is patched, in both runs (the mean), or between them."""
    edges: bool = False
    """Estimate every edge instead of a site."""
    method: Literal["eap", "eap-ig-inputs", "eap-ig-activations", "clean-corrupted"] = "eap"
    """Of edges, where the gradient is taken: in the run
    that is patched, between the two runs (by inputs, or by
    component), or in both runs (the mean)."""
    steps: int = 5
    """Of integrated gradients: how many runs between the two."""
    exact: bool = False
    """Measure the exact effects as well, and show the gap."""
    direct: bool = False
    """Estimate nothing, but take the clean run's logits apart:
    what each component writes straight to the answer."""
    by: Literal["component", "layer", "head", "mlp", "neuron"] = "component"
    """Of direct: what is listed one by one."""
    toward: Literal["metric", "difference", "answer"] = "metric"
    """Of direct, which logits: those of the task's metric,
    the answer's less the wrong token's, or the answer's alone."""
    sources: bool = False
    """Of direct: also from which tokens heads move it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.direct and self.edges:
            raise ValueError("--direct and --edges are two different things: leave one out.")
        self._check_options("direct" if self.direct else "edges" if self.edges else "site")
        if self.direct and self.exact:
            self._check_exact()
        if self.steps < 1:
            raise ValueError(f"steps={self.steps} is too few: at least 1.")

    def _check_options(self, asked: str) -> None:
        """Refuse an option of something that is not asked for."""
        defaults = {field.name: field.default for field in fields(self)}
        for name, of in _OF.items():
            if asked in of or getattr(self, name) == defaults[name]:
                continue
            flag = of[0]
            missing = flag in ("edges", "direct") and asked == "site"
            way_out = f"give --{flag} as well" if missing else "leave one of the two out"
            whose = "estimates" if asked == "direct" else _WORDS[flag]
            raise ValueError(f"--{name} is of {whose}, and {_ASKED[asked]}: {way_out}.")

    def _check_exact(self) -> None:
        if self.by not in ("component", "head"):
            raise ValueError(
                f"--exact with --direct is of heads, and --by {self.by} does not list them: give "
                "--by head."
            )
        if self.toward == "answer":
            raise ValueError(
                "--exact with --direct measures a difference of logits: give --toward difference."
            )
