"""What a training run is: data, shape, settings, what is kept. By name, or from a TOML file.

    [data]
    kind = "characters"       # or name-pairs, repeated-tokens
    file = "my-text.txt"

    [model]                   # any field of ModelConfig but d_vocab, which the data decides
    n_layers = 4
    n_heads = 4
    d_model = 128
    n_ctx = 64

    [train]                   # TrainSettings
    n_steps = 2000

    [keep]                    # KeepSettings
    log_spaced = 20

Loads without torch.
"""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Self, Union, get_args, get_origin, get_type_hints

from ..model.config import ModelConfig
from .settings import TrainSettings

Kind = Literal[
    "characters", "name-pairs", "repeated-tokens", "rare-words", "ioi-mini", "induction-2l"
]
RECIPES = Path(__file__).parents[1] / "assets" / "recipes"
SHAKESPEARE = "shakespeare"


class TrainConfigError(ValueError):
    """A configuration that cannot be trained; the message names the field and the way out."""


@dataclass(frozen=True)
class DataSettings:
    """What is trained on. Fields that a kind does not use have to keep their default."""

    kind: Kind = "characters"
    """characters: a text file, one token for each character;
    name-pairs: A ... B ... A -> B; repeated-tokens: random tokens, twice;
    rare-words: lists that repeat, of words some of which never come;
    ioi-mini, induction-2l: the text of the embedded model of that name."""
    file: str = SHAKESPEARE
    """characters: a text file in UTF-8, or shakespeare, which is fetched once."""
    held_out_share: float = 0.1
    """characters: share of the file, its end, that is never trained on."""
    n_names: int = 40
    """name-pairs: different names."""
    pairs: tuple[int, int] = (2, 4)
    """name-pairs: fewest and most pairs of a sequence."""
    gap: tuple[int, int] = (0, 2)
    """name-pairs: fewest and most words between A and B the first time."""
    n_tokens: int = 64
    """repeated-tokens: size of the vocabulary, BOS not counted."""


@dataclass(frozen=True)
class KeepSettings:
    """What is looked at and kept on the way. None of it changes the weights."""

    report_every: int = 50
    """Steps between points of the training loss."""
    evaluate_every: int = 250
    """Steps between measurements of the loss on held-out data."""
    n_held_out: int = 200
    """Held-out sequences that are measured on the way; all are in the end."""
    log_spaced: int = 0
    """Models that are kept at steps spaced evenly on a logarithmic scale, from 1 to the last;
    the fresh model is kept as well, as step 0."""
    model_every: int = 0
    """A model is kept every so many steps; 0 is never."""
    best: bool = False
    """The model of the lowest held-out loss is the result, instead of the last one."""

    def __post_init__(self) -> None:
        for name, least in (
            ("report_every", 1),
            ("evaluate_every", 1),
            ("n_held_out", 2),
            ("log_spaced", 0),
            ("model_every", 0),
        ):
            if getattr(self, name) < least:
                raise ValueError(f"{name}={getattr(self, name)} is too few: at least {least}.")


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides a training run.

    Raises:
        TrainConfigError: values that do not fit together.

    Example:
        >>> TrainConfig.named("shakespeare-small").model["n_layers"]
        4
    """

    name: str
    """What the model is called in reports."""
    data: DataSettings = field(default_factory=DataSettings)
    """What is trained on."""
    model: Mapping[str, Any] = field(default_factory=dict)
    """Fields of ModelConfig, without d_vocab."""
    train: TrainSettings = field(default_factory=TrainSettings)
    """How."""
    keep: KeepSettings = field(default_factory=KeepSettings)
    """What is looked at and kept on the way."""

    def __post_init__(self) -> None:
        _check_data(self.data)
        self.model_config(d_vocab=2)

    def model_config(self, d_vocab: int) -> ModelConfig:
        """The shape of the model, for a vocabulary of that size."""
        return ModelConfig(**{**self.model, "d_vocab": d_vocab, "model_name": self.name})

    @property
    def n_ctx(self) -> int:
        """Longest sequence, in tokens."""
        return int(self.model["n_ctx"])

    @classmethod
    def named(cls, name: str) -> Self:
        """A configuration that is part of the package.

        Raises:
            TrainConfigError: there is none of that name.
        """
        if name not in recipe_names():
            raise TrainConfigError(
                f"there is no configuration {name!r}{_near(name, recipe_names())}: take one of "
                f"{', '.join(recipe_names())}, or the path of a TOML file."
            )
        return cls.from_file(RECIPES / f"{name}.toml")

    @classmethod
    def find(cls, name_or_path: str) -> Self:
        """By name, or from a file: what `cutaway train` is given."""
        path = Path(name_or_path)
        looks_like_path = path.suffix == ".toml" or len(path.parts) > 1
        return cls.from_file(path) if looks_like_path else cls.named(name_or_path)

    @classmethod
    def from_file(cls, path: str | Path) -> Self:
        """Read a TOML file.

        Raises:
            FileNotFoundError: it is not there.
            TrainConfigError: it is not TOML, or an entry is unknown or of the wrong kind.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(
                f"{path} does not exist: the configuration is a TOML file, or one of "
                f"{', '.join(recipe_names())}."
            )
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as fault:
            raise TrainConfigError(f"{path} is not a TOML file: {fault}.") from fault
        return cls.from_dict({"name": path.stem, **values}, path)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], source: str | Path = "the configuration") -> Self:
        """The inverse of `to_dict`; `source` is what an error names."""
        tables = {"data": DataSettings, "train": TrainSettings, "keep": KeepSettings}
        _check_names(values, ("name", "model", *tables), source, "entry")
        for name in ("model", *tables):
            if not isinstance(values.get(name, {}), Mapping):
                raise TrainConfigError(f"{source}: {name} is a table, written [{name}].")
        # TOML has no None.
        model = {k: None if v == "none" else v for k, v in values.get("model", {}).items()}
        fields = [f.name for f in dataclasses.fields(ModelConfig) if not f.metadata.get("runtime")]
        own = [name for name in fields if name not in ("d_vocab", "model_name", "dtype")]
        _check_names(model, own, source, "field of [model]")
        _check_types(ModelConfig, model, source, "model")
        missing = [name for name in _NEEDED if name not in model]
        if missing:
            raise TrainConfigError(f"{source} lacks {', '.join(missing)} in [model].")
        name = values.get("name", "model")
        if not isinstance(name, str):
            raise TrainConfigError(f"{source}: name = {name!r} is not a text.")
        read = {
            table: _read(kind, values.get(table, {}), source, table)
            for table, kind in tables.items()
        }
        try:
            return cls(name=name, model=model, **read)
        except ValueError as fault:
            raise TrainConfigError(f"{source}: {fault}") from fault

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return dataclasses.asdict(dataclasses.replace(self, model=dict(self.model)))

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed, wherever they are: in train, model, data or keep.

        Example:
            >>> TrainConfig.named("shakespeare-small").replace(n_steps=10).train.n_steps
            10
        """
        tables: dict[str, Any] = {"train": self.train, "keep": self.keep, "data": self.data}
        model = dict(self.model)
        own: dict[str, Any] = {}
        for name, value in changes.items():
            table = next((t for t, v in tables.items() if hasattr(v, name)), None)
            if name in ("name", *tables):
                own[name] = value
            elif table is not None:
                own.setdefault(table, {})[name] = value
            else:
                model[name] = value
        new = {
            name: dataclasses.replace(tables[name], **value) if isinstance(value, dict) else value
            for name, value in own.items()
        }
        return dataclasses.replace(self, model=model, **new)

    def identity(self) -> dict[str, Any]:
        """What decides the weights, by its full name: "train.seed"."""
        values = self.to_dict()
        found = {
            f"{table}.{name}": list(value) if isinstance(value, tuple) else value
            for table in ("data", "model", "train")
            for name, value in values[table].items()
        }
        return {name: value for name, value in found.items() if name not in _FREE}


_NEEDED = ("n_layers", "d_model", "n_heads", "n_ctx")
# These change neither the weights nor their place in the run.
_FREE = ("train.checkpoint_every", "data.file")  # of a file the text itself is compared


def recipe_names() -> list[str]:
    """The configurations that are part of the package."""
    return sorted(path.stem for path in RECIPES.glob("*.toml"))


def _check_data(data: DataSettings) -> None:
    if data.kind not in get_args(Kind):
        known = ", ".join(get_args(Kind))
        raise TrainConfigError(f"data.kind={data.kind!r} is unknown; it can be {known}.")
    if not 0 < data.held_out_share < 1:
        raise TrainConfigError(f"held_out_share={data.held_out_share} is not between 0 and 1.")
    for name in ("pairs", "gap"):
        low, high = getattr(data, name)
        if not (0 if name == "gap" else 1) <= low <= high:
            raise TrainConfigError(f"{name}={[low, high]} is not a smallest and a largest number.")


def _near(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=2, cutoff=0.5)
    return f" (near: {', '.join(near)})" if near else ""


def _check_names(
    values: Mapping[str, Any], known: tuple[str, ...] | list[str], source: str | Path, what: str
) -> None:
    for name in values:
        if name not in known:
            near = _near(name, list(known)) or f"; there are {', '.join(known)}"
            raise TrainConfigError(f"{source}: {name!r} is no {what}{near}.")


def _read(kind: type, values: Mapping[str, Any], source: str | Path, table: str) -> Any:
    _check_names(values, [f.name for f in dataclasses.fields(kind)], source, f"field of [{table}]")
    _check_types(kind, values, source, table)
    given = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    try:
        return kind(**given)
    except ValueError as fault:
        raise TrainConfigError(f"{source}: {fault}") from fault


def _check_types(kind: type, values: Mapping[str, Any], source: str | Path, table: str) -> None:
    hints = get_type_hints(kind)
    for name, value in values.items():
        if not _fits(value, hints[name]):
            raise TrainConfigError(
                f"{source}: [{table}] {name} = {value!r} has to be {_kind(hints[name])}."
            )


def _fits(value: Any, hint: Any) -> bool:
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        return any(_fits(value, one) for one in get_args(hint))
    if origin is Literal:
        return value in get_args(hint)
    if origin is tuple:
        parts = get_args(hint)
        is_row = isinstance(value, list | tuple) and len(value) == len(parts)
        return is_row and all(map(_fits, value, parts))
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint if isinstance(hint, type) else object)


def _kind(hint: Any) -> str:
    """A type in words."""
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        return " or ".join(_kind(one) for one in get_args(hint) if one is not type(None))
    if origin is Literal:
        return "one of " + ", ".join(map(str, get_args(hint)))
    if origin is tuple:
        return f"a list of {len(get_args(hint))} whole numbers"
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
    return words.get(hint, getattr(hint, "__name__", str(hint)))
