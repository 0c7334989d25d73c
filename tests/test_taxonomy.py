"""`ca.heads.taxonomy` names every head of the written models, and none of random weights."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

import cutaway as ca
from cutaway.circuits.known import KNOWN, KnownSettings
from cutaway.circuits.known.ioi import NAMES
from cutaway.experiments.heads.calibration import calibrate_heads
from cutaway.experiments.heads.hand_written import labelled_models
from cutaway.experiments.heads.settings import CalibrateHeadsSettings
from cutaway.heads import Taxonomy, Thresholds, default_thresholds
from cutaway.heads.head_classes import CLASSES
from cutaway.heads.measured import head_scores
from cutaway.heads.roles import ROLES
from cutaway.heads.scores import SCORES

CIRCUIT_CLASSES = {"previous-token", "duplicate-token", "induction", *ROLES}
SEEDS = (0, 20)  # the thresholds were set on 0 to 5
FEW = {"n_prompts": 16, "n_random": 0, "copying_draws": 0}


def taxonomy_of(name: str, sharpness: float, seed: int, **more) -> Taxonomy:
    known = KNOWN[name](seed, KnownSettings(sharpness=sharpness))
    is_ioi = name == "ioi"
    return ca.heads.taxonomy(
        known.model,
        seed=seed,
        bos_token=0,
        vocabulary=NAMES if is_ioi else None,  # its duplicate-token head compares names only
        task=known.tasks["s2-flip"] if is_ioi else None,
        reference=known.tasks["abc"] if is_ioi else None,
        **{**FEW, **more},
    )


@cache
def of_ioi_mini() -> Taxonomy:
    model = ca.HookedTransformer.from_pretrained("ioi-mini")
    task = ca.tasks.ioi(model, 16)
    return ca.heads.taxonomy(model, 16, n_random=1, copying_draws=100, task=task)


@pytest.mark.parametrize("sharpness", [30.0, 3.0])
@pytest.mark.parametrize("name", KNOWN)
def test_every_head_of_the_written_models_is_labelled_right(name, sharpness) -> None:
    for seed in SEEDS:
        known = KNOWN[name](seed, KnownSettings(sharpness=sharpness))
        found = taxonomy_of(name, sharpness, seed)
        for head, classes in found.classes.items():
            expected = {known.roles[head]} if head in known.roles else set()
            assert set(classes) & CIRCUIT_CLASSES == expected, (seed, head, classes)
        assert set(found.classes) == {*known.roles, *known.idle_heads}


def test_a_head_for_each_place_gets_its_name() -> None:
    for sharpness in (30.0, 3.0):
        *_, places = labelled_models(7, sharpness)
        found = ca.heads.taxonomy(places.model, bos_token=0, **FEW)
        named = {head: set(classes) for head, classes in found.classes.items()}
        assert named == {head: set(places.classes(head)) for head in places.roles}


# ---- the control ----


def test_random_weights_are_called_nothing_but_uniform() -> None:
    found = taxonomy_of("induction", 30.0, 0, n_random=6)
    for weights in ("fresh", "shuffled"):
        rates = found.false_positives(weights)
        assert all(rate.n == 6 * 8 for rate in rates.values())
        assert all(rates[name].estimate == 0 for name in CIRCUIT_CLASSES & rates.keys())
    assert found.false_positives("fresh")["uniform"].estimate == 1  # which is true of them
    assert found.false_positives("shuffled")["uniform"].estimate < 0.2
    assert found.above_random("induction") == ("1.2",)
    with pytest.raises(ValueError, match="no control with 'other' weights"):
        found.false_positives("other")
    with pytest.raises(ValueError, match="no control with 'other' weights"):
        found.above_random("induction", "other")


def test_the_control_is_scored_as_the_model_is() -> None:
    """A threshold that everybody exceeds calls all random heads so."""
    found = taxonomy_of("induction", 30.0, 0, n_random=1)
    thresholds = default_thresholds()
    loose = {name: _replaced(one, value=-1.0) for name, one in thresholds.of.items()}
    again = Taxonomy(
        model=found.model,
        scores=found.scores,
        thresholds=Thresholds(loose),
        control=found.control,
        settings=found.settings,
    )
    rates = again.false_positives("shuffled")
    assert rates["induction"].estimate == 1
    assert rates["position-only"].estimate == 0  # says nothing of what is called uniform


def _replaced(threshold, **changes):
    import dataclasses

    return dataclasses.replace(threshold, **changes)


# ---- thresholds ----


def test_the_carried_thresholds_part_what_they_were_set_on() -> None:
    found = default_thresholds()
    assert set(found.of) == set(SCORES)
    for one in found.of.values():
        assert one.highest_negative < one.value < one.lowest_positive
        assert one.found == one.n_with and one.false == 0
    assert sum(false for false, _ in found.of["induction"].random.values()) == 0
    assert found.of["uniform"].random["fresh"][0] == found.of["uniform"].random["fresh"][1]


@pytest.mark.slow
def test_the_carried_thresholds_are_those_that_the_recipe_makes() -> None:
    carried, made = default_thresholds(), calibrate_heads(CalibrateHeadsSettings())
    assert made.recipe == carried.recipe
    for name, one in made.of.items():
        assert one.value == pytest.approx(carried.of[name].value, abs=0.011)


def test_a_small_calibration_is_near_the_carried_one_and_can_be_saved(tmp_path) -> None:
    made = calibrate_heads(CalibrateHeadsSettings(seeds=1, n_prompts=8))
    for name, one in made.of.items():
        # With fewer heads the highest one without the class is lower.
        assert default_thresholds().of[name].value >= one.value - 0.03
        assert one.value > 0.3 and one.found == one.n_with
    made.save(tmp_path / "thresholds.json")
    assert Thresholds.load(tmp_path / "thresholds.json") == made
    with pytest.raises(ValueError, match="there is no file"):
        Thresholds.load(tmp_path / "none.json")
    (tmp_path / "other.json").write_text("[]")
    with pytest.raises(ValueError, match="does not hold thresholds"):
        Thresholds.load(tmp_path / "other.json")


def test_a_threshold_counts_from_chance_on() -> None:
    one = default_thresholds().of["induction"]
    assert one.raw(0.0) == one.value and one.raw(0.5) == pytest.approx(0.5 + one.value / 2)
    found = taxonomy_of("induction", 30.0, 0)
    assert found.threshold("induction") == one.raw(found.scores.by_chance["induction"])
    with pytest.raises(ValueError, match="'name mover' goes by no threshold"):
        found.threshold("name mover")


# ---- a trained model ----


def test_ioi_mini_has_the_scores_that_were_written_down() -> None:
    found = of_ioi_mini()
    assert found.scores.mean("current-token")[1, 2] == pytest.approx(0.62, abs=0.02)
    assert found.scores.mean("induction")[1, 4] == pytest.approx(0.36, abs=0.03)
    assert found.of_class("induction") == ()
    assert "1.2" in found.of_class("anti-copying") and "0.5" in found.of_class("copying")
    assert found.roles is not None and found.roles.does_task and found.roles.roles == {}
    with pytest.raises(ValueError, match="'copies' was not looked for"):
        found.of_class("copies")


def test_the_heads_of_induction_2l_have_their_names() -> None:
    model = ca.HookedTransformer.from_pretrained("induction-2l")
    found = ca.heads.taxonomy(model, **FEW)
    assert found.of_class("previous-token") == ("0.7",)
    assert set(found.of_class("induction")) == {f"1.{head}" for head in range(1, 7)}
    assert found.of_class("induction")[0] == "1.4"
    assert found.scores.mean("induction")[1, 4] == pytest.approx(0.88, abs=0.02)
    assert found.scores.mean("previous-token")[0, 7] == pytest.approx(0.94, abs=0.02)


def test_scores_do_not_depend_on_what_else_is_asked() -> None:
    model = ca.HookedTransformer.from_pretrained("ioi-mini")
    alone = head_scores(model, 16, names=["induction"])
    np.testing.assert_array_equal(
        alone.per_prompt["induction"], of_ioi_mini().scores.per_prompt["induction"]
    )


def test_a_taxonomy_is_the_same_after_saving(tmp_path) -> None:
    found = of_ioi_mini()
    found.save(tmp_path / "heads.safetensors")
    again = Taxonomy.load(tmp_path / "heads.safetensors")
    assert again.classes == found.classes and again.thresholds == found.thresholds
    assert str(again.to_frame()) == str(found.to_frame())  # NaN is not equal to itself
    assert again.false_positives("shuffled") == found.false_positives("shuffled")
    assert list(again.intervals) == list(found.intervals) == list(SCORES)
    with pytest.raises(ValueError, match="there is no file"):
        Taxonomy.load(tmp_path / "none.safetensors")


def test_rows_and_figures_show_every_head() -> None:
    found = of_ioi_mini()
    rows = found.to_frame()
    assert len(rows) == 32 and rows[10]["layer"] == 1 and rows[10]["head"] == 2
    assert rows[10]["classes"] == ", ".join(found.classes["1.2"])
    assert rows[10]["induction_low"] <= rows[10]["induction"] <= rows[10]["induction_high"]
    assert set(found.flags) <= set(CLASSES)
    assert found.plot("induction").axes and found.plot().axes
    with pytest.raises(ValueError, match="there is no score 'name mover'"):
        found.plot("name mover")
