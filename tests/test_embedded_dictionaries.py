"""The dictionaries of the package are what their recipes say, and come out of them."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict
from typing import Any

import pytest
import tyro

from cutaway.experiments.dictionaries.train_settings import SaeTrainSettings
from cutaway.experiments.dictionaries.train_text import training_text
from cutaway.model.transformer import HookedTransformer
from cutaway.sae.activations import Activations
from cutaway.sae.evaluation import evaluate
from cutaway.sae.files import ASSETS, embedded_dictionaries, load_dictionary
from cutaway.sae.training import DictionaryEvents, train_dictionaries

NAMES = embedded_dictionaries()


def recipe(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ASSETS / name / "recipe.json").read_text())
    return found


def asked(name: str) -> SaeTrainSettings:
    words = shlex.split(recipe(name)["command"])
    assert words[:3] == ["cutaway", "sae", "train"]
    return tyro.cli(SaeTrainSettings, args=words[3:])


def test_there_is_one() -> None:
    assert "ioi-mini-resid-2" in NAMES


@pytest.mark.parametrize("name", NAMES)
def test_it_is_what_its_recipe_says(name: str) -> None:
    found, settings = recipe(name), asked(name)
    dictionary = load_dictionary(name)
    model = HookedTransformer.from_pretrained(found["model"]["name"])
    assert dictionary.digest == found["digest"]
    assert model.digest == found["model"]["digest"]
    assert settings.one_pass() == type(settings.one_pass())(**found["pass"])
    (one,) = settings.dictionaries(dictionary.cfg.hook)
    assert one.to_dict() == found["dictionary"]
    assert dictionary.cfg.text == found["text"]
    size = sum(path.stat().st_size for path in (ASSETS / name).iterdir())
    assert size < 1_000_000


@pytest.mark.parametrize("name", NAMES)
def test_it_does_what_its_recipe_measured(name: str) -> None:
    """On a quarter of the held-out sequences, within what a quarter of them can say."""
    measured, settings = recipe(name)["measured"], asked(name)
    model = HookedTransformer.from_pretrained(recipe(name)["model"]["name"])
    text = training_text(model, None, None, settings.n_held_out, settings.seed[0])
    found = evaluate(load_dictionary(name), model, text.held_out[:50])
    rows, losses = found.dictionary, found.losses
    assert losses is not None
    assert rows.explained_variance().estimate == pytest.approx(
        float(measured["explained variance"].split()[0]), abs=0.01
    )
    assert rows.l0().estimate == pytest.approx(float(measured["L0"].split()[0]), abs=1)
    assert losses.increase("dictionary").estimate < 0.03
    for baseline in set(found.rows) - {"dictionary"}:
        assert losses.increase(baseline).low > losses.increase("dictionary").high


FIRST = {"ioi-mini-resid-2": {"explained": 0.166371, "loss": 101.4085}}


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_its_recipe_begins_as_it_did(name: str) -> None:
    """The first 25 of 1,954 steps; elsewhere sums are rounded otherwise, so not to the bit."""
    settings, points = asked(name), []
    model = HookedTransformer.from_pretrained(recipe(name)["model"]["name"])
    text = training_text(model, None, None, settings.n_held_out, settings.seed[0])
    wanted = settings.dictionaries(load_dictionary(name).cfg.hook)
    source = Activations(
        model, text.tokens, wanted[0].hook, seed=0, buffer_rows=settings.buffer_rows
    )
    events = DictionaryEvents(
        report=lambda step, found, rate: points.extend(map(asdict, found)),
        stop=lambda: bool(points),
    )
    with pytest.raises(KeyboardInterrupt, match="after step 25 of 1954"):
        train_dictionaries(source, wanted, settings.one_pass(), events=events)
    for what, value in FIRST[name].items():
        assert points[0][what] == pytest.approx(value, rel=1e-3)
