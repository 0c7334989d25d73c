"""Every site by its name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from ..model.cache import get_act_name
from ..model.config import ModelConfig
from .cone import Entry, after_attention
from .head_sites import InputSite, OutputSite, PatternSite, ResultSite
from .site import Rows, Site


@dataclass(frozen=True)
class StreamSite(Site):
    """A value that is itself a vector of the residual stream."""

    def missing_in(self, cfg: ModelConfig) -> str | None:
        if cfg.attn_only and self.name in ("resid_mid", "mlp_out"):
            return "it has no MLP"
        if self.name == "resid_mid" and not cfg.has_resid_mid:
            return "its attention and MLP run in parallel"
        return None

    def hook(self, cfg: ModelConfig, layer: int) -> str:
        return get_act_name(self.name, layer)

    def entry(self, cfg: ModelConfig, layer: int) -> Entry:
        if self.name == "resid_pre":
            return Entry(layer)
        if self.name in ("resid_mid", "attn_out"):
            return after_attention(cfg, layer)
        return Entry(layer + 1)  # mlp_out, resid_post

    def change(self, rows: Rows) -> Float[Tensor, "row window d_model"]:
        hook = self.hook(rows.base.model.cfg, rows.layer)
        return rows.new(hook) - rows.old(hook)


class EmbeddingSite(StreamSite):
    """`embed` or `pos_embed`: what tokens, or their positions, put into the stream."""

    def missing_in(self, cfg: ModelConfig) -> str | None:
        if self.name == "pos_embed" and cfg.positional_embedding_type != "standard":
            return "it adds no positional embedding to the stream"
        return None

    def has_layers(self) -> bool:
        return False

    def entry(self, cfg: ModelConfig, layer: int) -> Entry:
        return Entry(0)


class NeuronSite(Site):
    """`mlp_pre` or `mlp_post`: neurons before or after the activation function, one by one or in
    groups of neighbours. In gated MLPs `mlp_pre` is what the activation function takes."""

    axes = ("position", "unit")

    def missing_in(self, cfg: ModelConfig) -> str | None:
        return "it has no MLP" if cfg.attn_only else None

    def unit_axis(self, cfg: ModelConfig) -> str | None:
        return "neuron"

    def units(self, cfg: ModelConfig) -> int:
        return cfg.d_mlp

    def hook(self, cfg: ModelConfig, layer: int) -> str:
        return get_act_name(self.name, layer)

    def hooks(self, cfg: ModelConfig, layer: int) -> tuple[str, ...]:
        names = [self.name]
        if self.name == "mlp_pre":
            names += ["mlp_post", "pre_linear"] if cfg.gated_mlp else ["mlp_post"]
        return tuple(get_act_name(name, layer) for name in names)

    def entry(self, cfg: ModelConfig, layer: int) -> Entry:
        return Entry(layer + 1)

    def change(self, rows: Rows) -> Float[Tensor, "row window d_model"]:
        mlp, hooks = rows.base.model.blocks[rows.layer].mlp, self.hooks
        new_hook, *more = hooks(rows.base.model.cfg, rows.layer)
        new = rows.new(new_hook, rows.unit)  # [row, window, member]
        post_hook = more[0] if more else new_hook
        if more:
            new = mlp.activation(new)
        if len(more) > 1:
            new = new * rows.old(more[1], rows.unit)
        difference = new - rows.old(post_hook, rows.unit)
        weight: Tensor = mlp.W_out[rows.unit]  # [row, member, d_model]
        return difference * weight if weight.shape[1] == 1 else difference @ weight


SITES: dict[str, Site] = {
    site.name: site
    for site in (
        EmbeddingSite("embed"),
        EmbeddingSite("pos_embed"),
        StreamSite("resid_pre"),
        StreamSite("resid_mid"),
        StreamSite("resid_post"),
        StreamSite("attn_out"),
        StreamSite("mlp_out"),
        NeuronSite("mlp_pre"),
        NeuronSite("mlp_post"),
        OutputSite("z"),
        ResultSite("result"),
        InputSite("q"),
        InputSite("k"),
        InputSite("v"),
        PatternSite("pattern"),
        PatternSite("attn_scores"),
    )
}


def get_site(site: str | Site, cfg: ModelConfig) -> Site:
    """The site of that name; one that is given as an object passes, if the model has it.

    Raises:
        ValueError: no such site, or this kind of model does not have it.
    """
    if not isinstance(site, Site):
        if not isinstance(site, str) or site not in SITES:
            raise ValueError(f"there is no site {site!r}; sites are {', '.join(SITES)}.")
        site = SITES[site]
    reason = site.missing_in(cfg)
    if reason is not None:
        raise ValueError(f"{cfg.model_name} has no {site.name}: {reason}.")
    return site


def check_layers(cfg: ModelConfig, site: Site, layers: int | Sequence[int] | None) -> list[int]:
    """The layers asked for; None means all. Sites that belong to no layer have the one entry 0.

    Raises:
        ValueError: a layer that the model does not have, an empty list, or layers of a site that
            has none.
    """
    layers = [layers] if isinstance(layers, int) else layers
    if not site.has_layers():
        if layers is not None:
            raise ValueError(f"layers={list(layers)!r}: {site.name} belongs to no layer.")
        return [0]
    chosen = list(range(cfg.n_layers)) if layers is None else list(layers)
    for layer in chosen:
        if not isinstance(layer, int):
            raise ValueError(f"the layer {layer!r} is not a whole number.")
        if not 0 <= layer < cfg.n_layers:
            raise ValueError(
                f"there is no layer {layer} in {cfg.model_name}: its layers are 0 to "
                f"{cfg.n_layers - 1}."
            )
    if not chosen:
        raise ValueError("the list of layers is empty.")
    return chosen
