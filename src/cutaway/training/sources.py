"""The data of a configuration, by its kind."""

from __future__ import annotations

from jaxtyping import Int
from torch import Tensor

from . import characters, glitch_corpus, induction_2l, ioi_mini, name_pairs, repeated_rows
from .config import DataSettings, TrainConfig, TrainConfigError
from .recipe import Recipe
from .source import Source


def check_unused(data: DataSettings, *used: str) -> None:
    """Refuse settings that this kind of data would pass over in silence.

    Raises:
        TrainConfigError: one of them is not the default.
    """
    default = DataSettings()
    for name in vars(default):
        if name not in ("kind", *used) and getattr(data, name) != getattr(default, name):
            raise TrainConfigError(
                f"data.{name} is of no use with the kind {data.kind}: leave it out."
            )


def open_source(config: TrainConfig) -> Source:
    """The data that a configuration asks for.

    Raises:
        TrainConfigError: settings that do not fit the kind, a text that is empty or too short.
        OSError: the text cannot be read, or not be fetched.
    """
    seed, data = config.train.seed, config.data
    if data.kind == "characters":
        check_unused(data, "file", "held_out_share")
        text, origin = characters.read_text(data.file)
        return characters.open_text(text, config.n_ctx, data.held_out_share, seed, origin)
    if data.kind == "name-pairs":
        check_unused(data, "n_names", "pairs", "gap")
        return name_pairs.open_pairs(data, config.n_ctx, seed)
    if data.kind == "repeated-tokens":
        check_unused(data, "n_tokens")
        return repeated_rows.open_repeats(data.n_tokens, config.n_ctx, seed)
    check_unused(data)
    if data.kind == "rare-words":
        return glitch_corpus.open_rare_words(config.n_ctx, seed)
    return _of_recipe(embedded_recipe(data.kind), seed)


def embedded_recipe(kind: str) -> Recipe:
    """The recipe of an embedded model."""
    return {"ioi-mini": ioi_mini.RECIPE, "induction-2l": induction_2l.RECIPE}[kind]


def _of_recipe(recipe: Recipe, seed: int) -> Source:
    sequences = recipe.text(seed)

    def rows(step: int, size: int) -> Int[Tensor, "batch pos"]:
        return sequences(step * size, size)

    tokenizer = recipe.fresh(seed).get_tokenizer()
    held_out = recipe.text(seed + 1)(0, 512)
    return Source(
        tokenizer,
        rows,
        held_out,
        f"{recipe.name} {tokenizer.digest}",
        about={"text": f"the stream of {recipe.name}, seed {seed}; held out: seed {seed + 1}"},
    )
