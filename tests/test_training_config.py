"""Configurations of training runs: by name, from TOML, changed; and every fault named."""

from __future__ import annotations

from pathlib import Path

import pytest

from cutaway.training.config import DataSettings, TrainConfig, TrainConfigError, recipe_names
from cutaway.training.induction_2l import config as induction_2l
from cutaway.training.ioi_mini import config as ioi_mini

GOOD = """
[data]
kind = "repeated-tokens"
n_tokens = 20
[model]
n_layers = 1
n_heads = 2
d_model = 16
n_ctx = 16
normalization_type = "none"
[train]
n_steps = 7
learning_rate = 1
[keep]
log_spaced = 3
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "my-model.toml"
    path.write_text(text)
    return path


def test_a_file_is_read_with_the_defaults_of_what_it_leaves_out(tmp_path: Path) -> None:
    config = TrainConfig.find(str(written(tmp_path, GOOD)))
    assert config.name == "my-model" and config.n_ctx == 16
    assert config.data == DataSettings("repeated-tokens", n_tokens=20)
    assert config.model_config(23).normalization_type is None
    assert (config.train.n_steps, config.train.learning_rate, config.train.batch_size) == (7, 1, 64)
    assert config.keep.log_spaced == 3 and config.keep.report_every == 50


@pytest.mark.parametrize("name", recipe_names())
def test_what_is_in_the_package_can_be_read_and_comes_back(name: str) -> None:
    config = TrainConfig.named(name)
    assert config.name == name
    assert TrainConfig.from_dict(config.to_dict()) == config
    assert config.model_config(50).n_ctx == config.n_ctx


def test_golden_sizes() -> None:
    """As the issue and nanoGPT have them."""
    small, large = (TrainConfig.named(f"shakespeare-{size}") for size in ("small", "char"))
    shapes = [
        (c["n_layers"], c["n_heads"], c["d_model"], c["n_ctx"]) for c in (small.model, large.model)
    ]
    assert shapes == [(4, 4, 128, 64), (6, 6, 384, 128)] and large.train.n_steps == 5000
    assert TrainConfig.named("ioi-2l").model["n_layers"] == 2


def test_embedded_models_have_the_shape_of_their_recipe() -> None:
    for name, shape in (("ioi-mini", ioi_mini), ("induction-2l", induction_2l)):
        assert TrainConfig.named(name).model_config(99) == shape(99)
        assert TrainConfig.named(name).train.fused is False, "as they were trained"


def test_changes_go_where_the_field_is() -> None:
    config = TrainConfig.named("ioi-2l")
    changed = config.replace(
        seed=3, n_ctx=40, log_spaced=2, n_names=30, name="mine", attn_only=False
    )
    assert (changed.train.seed, changed.n_ctx, changed.keep.log_spaced) == (3, 40, 2)
    assert (changed.data.n_names, changed.name, changed.model["attn_only"]) == (30, "mine", False)
    assert changed.train.n_steps == config.train.n_steps and config.train.seed == 0
    with pytest.raises(TypeError, match="n_laers"):
        config.replace(n_laers=3)


def test_what_decides_the_weights_is_known_by_name() -> None:
    config = TrainConfig.named("ioi-2l")
    identity = config.identity()
    assert identity["train.seed"] == 0 and identity["data.pairs"] == [2, 4]
    free = config.replace(checkpoint_every=3, log_spaced=1, file="another.txt", name="other")
    assert free.identity() == identity
    assert config.replace(gap=(0, 1)).identity() != identity


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("n_layers = 1", "n_layer = 1", r"'n_layer' is no field of \[model\] \(near: n_layers"),
        ("n_tokens", "n_token", r"'n_token' is no field of \[data\] \(near: n_tokens"),
        ("n_steps", "steps", r"'steps' is no field of \[train\] \(near: n_steps"),
        ("log_spaced", "zzzz", r"'zzzz' is no field of \[keep\]; there are report_every"),
        ("[keep]", "[kept]", r"'kept' is no entry \(near: keep\)"),
        ("n_steps = 7", 'n_steps = "7"', r"\[train\] n_steps = '7' has to be a whole number"),
        ("n_steps = 7", "n_steps = 7.5", r"n_steps = 7.5 has to be a whole number"),
        ("n_steps = 7", "n_steps = true", r"n_steps = True has to be a whole number"),
        ("n_steps = 7", "n_steps = -7", "n_steps=-7 is too few"),
        ("learning_rate = 1", 'learning_rate = "fast"', "has to be a number"),
        ("n_steps = 7", "compile = 1", "compile = 1 has to be true or false"),
        ('"repeated-tokens"', '"repeats"', "has to be one of characters, name-pairs"),
        ("n_tokens = 20", "pairs = [1, 2, 3]", "pairs = .* has to be a list of 2 whole numbers"),
        ("n_tokens = 20", "gap = [3, 1]", r"gap=\[3, 1\] is not a smallest and a largest"),
        ("n_tokens = 20", "held_out_share = 1", "held_out_share=1 is not between 0 and 1"),
        ("n_layers = 1", "", r"lacks n_layers in \[model\]"),
        ("d_model = 16", "d_model = 15", "d_model=15 does not divide by n_heads=2"),
        ("n_layers = 1", "n_layers = 1\nd_vocab = 3", r"'d_vocab' is no field of \[model\]"),
        ('"none"', '"Layer"', "normalization_type = 'Layer' has to be one of LN"),
        ("[keep]", "[keep", "is not a TOML file"),
    ],
)
def test_every_fault_is_one_sentence(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in GOOD
    path = written(tmp_path, GOOD.replace(old, new))
    with pytest.raises(TrainConfigError, match=message) as said:
        TrainConfig.from_file(path)
    assert str(said.value).startswith(str(path)) and "\n" not in str(said.value)


def test_names_and_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(TrainConfigError, match=r"'shakespear-small' \(near: shakespeare-small"):
        TrainConfig.find("shakespear-small")
    with pytest.raises(FileNotFoundError, match=r"x.toml does not exist"):
        TrainConfig.find("x.toml")
    for text, message in (
        ("model = 3", "model is a table"),
        ("name = 3", "name = 3 is not a text"),
    ):
        with pytest.raises(TrainConfigError, match=message):
            TrainConfig.from_file(written(tmp_path, text + "\n" + GOOD * (text[0] == "n")))
