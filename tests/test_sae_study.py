"""`cutaway run sae`: from dictionaries to circuits of features, small, as a user would call it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from cutaway.experiments.sae_study.run import run_sae
from cutaway.experiments.sae_study.settings import SaeStudySettings
from cutaway.model.transformer import HookedTransformer
from cutaway.patching.effects import Effects
from cutaway.sae import FeatureCircuit, features, load_dictionary, run_kept
from cutaway.sae.kept import Case

SMALL = {
    "n_features": 64,
    "k": 8,
    "n_rows": 4_096,
    "n_prompts": 4,
    "n_held_out": 4,
    "n_sequences": 6,
    "n_random": 2,
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    seen: list[tuple[str, float]] = []
    out = tmp_path_factory.mktemp("runs")
    settings = SaeStudySettings(layers=(3,), out=out, **SMALL)
    return run_sae(settings, lambda name, share: seen.append((name, share))), seen


def test_a_run_holds_dictionaries_effects_circuits_pages_and_a_report(finished) -> None:
    run, seen = finished
    results = json.loads((run.folder / "results.json").read_text())
    assert set(results["layers"]) == {"3"} and tuple(results["summary"]) == run.summary
    for layer in (3,):
        dictionary = load_dictionary(run.folder / "dictionaries" / f"layer-{layer}")
        assert dictionary.cfg.hook == f"blocks.{layer}.hook_resid_post"
        assert dictionary.cfg.d_features == 64
        circuit = FeatureCircuit.load(run.folder / "circuits" / f"layer-{layer}.safetensors")
        effects = Effects.load(run.folder / "effects" / f"layer-{layer}-noising.safetensors")
        assert effects.site == features(dictionary).name and len(effects.clean) == 16
        nodes = results["layers"][str(layer)]["carried"]["circuit"]
        assert [node["feature"] for node in nodes] == [node.feature for node in circuit.nodes]
        page = (run.folder / f"features-{layer}.html").read_text()
        assert "effect on ioi" in page
    report = (run.folder / "report.html").read_text()
    for words in ("Where the answer is carried", "error alone", "features-3.html", "random"):
        assert words in report
    shown = [share for name, share in seen if name == "train the dictionaries"]
    assert shown == sorted(shown) and shown[-1] == 1.0


def test_what_is_saved_is_what_a_run_by_hand_gives(finished) -> None:
    run, _ = finished
    from cutaway import tasks

    model = HookedTransformer.from_pretrained("ioi-mini")
    task = tasks.ioi(model, n_prompts=4, seed=0)
    circuit = FeatureCircuit.load(run.folder / "circuits" / "layer-3.safetensors")
    dictionary = load_dictionary(run.folder / "dictionaries" / "layer-3")
    again = run_kept(model, task, dictionary, [Case(circuit.nodes), Case(error=True)])
    np.testing.assert_allclose(again, [circuit.circuit, circuit.error], atol=1e-3)


def test_without_a_task_the_middle_layer_is_read(tmp_path) -> None:
    told: list[str] = []
    settings = SaeStudySettings(task="none", out=tmp_path, **SMALL)
    run = run_sae(settings, tell=told.append)
    results = json.loads((run.folder / "results.json").read_text())
    assert list(results["layers"]) == ["2"] and "carried" not in results["layers"]["2"]
    assert "Where the answer is carried" not in (run.folder / "report.html").read_text()
    assert told == [] and len(run.summary) == 2


def test_dictionaries_that_are_there_are_not_trained_again(finished, tmp_path) -> None:
    run, _ = finished
    given = str(run.folder / "dictionaries" / "layer-3")
    small = {name: SMALL[name] for name in ("n_held_out", "n_sequences")}
    again = run_sae(SaeStudySettings(task="none", dictionaries=(given,), out=tmp_path, **small))
    first, second = (
        json.loads((one.folder / "results.json").read_text())["layers"]["3"]["measured"]
        for one in (run, again)
    )
    assert first[0]["L0"] == pytest.approx(second[0]["L0"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers": (7,)}, "there is no layer 7: ioi-mini has 0 to 3"),
        ({"task": "nonsense"}, "there is no task and no file 'nonsense'"),
        ({"model": "shakespeare-small"}, "no text of its own"),
    ],
)
def test_bad_input_is_one_clear_sentence(change, message, tmp_path) -> None:
    with pytest.raises(ValueError, match=message):
        run_sae(SaeStudySettings(out=tmp_path, **{**SMALL, **change}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": 0.0}, "target=0.0 is not a share"),
        ({"n_random": 0}, "n_random=0 is too few"),
        ({"dictionaries": ("a",), "layers": (1,)}, "leave --layers out"),
    ],
)
def test_settings_that_cannot_be_are_refused(change, message) -> None:
    with pytest.raises(ValueError, match=message):
        SaeStudySettings(**change)
