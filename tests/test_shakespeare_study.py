"""The Shakespeare study end to end on a tiny text: what it measures, and what it refuses to say."""

from __future__ import annotations

import copy
import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest

from cutaway import cli
from cutaway.evidence import Interval, auroc
from cutaway.experiments.saving import FinishedRun
from cutaway.experiments.shakespeare.control import control
from cutaway.experiments.shakespeare.criteria import CRITERIA, replication, verdict
from cutaway.experiments.shakespeare.document import has_blank, write_up
from cutaway.experiments.shakespeare.failures import shuffled_range
from cutaway.experiments.shakespeare.material import open_material
from cutaway.experiments.shakespeare.models import SEED_DOCUMENT, count_parameters, width_of
from cutaway.experiments.shakespeare.prediction import lens_probabilities, nearest_order
from cutaway.experiments.shakespeare.record import NotMeasured, Record
from cutaway.experiments.shakespeare.run import run_shakespeare
from cutaway.experiments.shakespeare.settings import ShakespeareSettings
from cutaway.findings.claims import Claim
from cutaway.model.config import ModelConfig
from cutaway.model.transformer import HookedTransformer
from cutaway.training.config import DataSettings
from cutaway.views.recorded import NOT_MEASURED, Recorded, find
from cutaway.views.shakespeare_report import shakespeare_report

CONFIG = """
[data]
kind = "characters"
[model]
n_layers = 2
n_heads = 2
d_model = 16
n_ctx = 20
default_prepend_bos = false
[train]
batch_size = 4
warmup_steps = 2
[keep]
log_spaced = 3
"""


def text(n: int) -> str:
    """Sentences of made-up words: some fifty different characters."""
    rng = np.random.default_rng(0)
    letters = list("abcdefghijklmnopqrstuvwxyz")
    words = ["".join(rng.choice(letters, rng.integers(2, 8))) for _ in range(80)]
    found = ""
    while len(found) < n:
        chosen = rng.integers(0, 80, rng.integers(4, 9))
        found += " ".join(words[i] for i in chosen).capitalize() + rng.choice(list(".,;:!?")) + "\n"
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("shakespeare")
    (path / "text.txt").write_text(text(6000))
    (path / "tiny.toml").write_text(CONFIG)
    return path


@pytest.fixture(scope="module")
def few(folder) -> ShakespeareSettings:
    return ShakespeareSettings(
        config=str(folder / "tiny.toml"),
        data=folder / "text.txt",
        n_steps=6,
        size_steps=3,
        sizes=("1x16",),
        n_random=2,
        quick=True,
        out=folder / "runs",
    )


@pytest.fixture(scope="module")
def finished(few) -> tuple[FinishedRun, list[tuple[str, float]], list[str]]:
    shown: list[tuple[str, float]] = []
    told: list[str] = []
    run = run_shakespeare(few, lambda name, share: shown.append((name, share)), told.append)
    return run, shown, told


@pytest.fixture(scope="module")
def results(finished) -> dict:
    return json.loads((finished[0].folder / "results.json").read_text())


@pytest.fixture(scope="module")
def document(finished) -> str:
    return (finished[0].folder / "FINDINGS.md").read_text()


def test_every_blank_of_the_template_is_filled(document) -> None:
    assert not has_blank(document) and has_blank("Final loss: TBD")
    for heading in (
        "Models analysed",
        "Finding 1",
        "Which layers",
        "Which heads",
        "Beside the literature",
        "Finding 2",
        "Finding 3",
        "Finding 4",
        "Activation patching",
        "Attention analysis",
        "Logit lens",
        "What was hard",
        "Reproducibility",
        "Consistency",
        "Limits",
        "Where things are",
    ):
        assert heading in document, heading


def test_every_footnote_leads_to_a_value_or_to_a_reason(document, results) -> None:
    notes = dict(re.findall(r"^\[\^(\d+)\]: results\.json: `(.+)`$", document, re.M))
    used = set(re.findall(r"(?<=.)\[\^(\d+)\]", document))
    assert used == set(notes) and len(notes) > 80
    record = Recorded(results)
    for path in notes.values():
        paths = [path.replace("*", str(at), 1) for at in range(3)] if "*" in path else [path]
        if any("*" in one for one in paths):  # of both lenses
            paths = [one.replace("*", "logit lens") for one in paths]
        for one in paths:
            noted = record.why(one) != "this run did not ask for it"
            assert record.get(one) is not None or noted, one


def test_no_number_is_printed_that_is_not_in_the_record(results) -> None:
    """Whatever is taken out of the record, the document says that it was not measured."""
    rng = np.random.default_rng(0)
    whole = write_up(results, {})
    paths = [
        path
        for path in _leaves(results["models"]["0"], "models/0")
        if "evolution" not in path and not path.endswith("/points")  # no measured values
    ]
    for path in rng.choice(paths, 25, replace=False):
        less = copy.deepcopy(results)
        *folders, name = str(path).split("/")
        place = find(less, "/".join(folders))
        del place[name]
        less["not_measured"]["/".join([*folders, name])] = "taken out for a test"
        written = write_up(less, {})
        shakespeare_report(less).html()
        if f"`{path}`" in whole or f"`{path.replace('models/0', 'models/*')}`" in whole:
            assert written.count(NOT_MEASURED) > whole.count(NOT_MEASURED), path
    empty = write_up({"models": {}, "not_measured": {}}, {})
    printed = re.sub(r"\[\^\d+\]:?", "", empty.split("## References")[0])
    assert NOT_MEASURED in printed and not re.search(r"\d\.\d{2,}", printed)


def _leaves(values: dict, prefix: str) -> list[str]:
    """Paths of values that are no further folders (intervals count as values)."""
    found = []
    for name, value in values.items():
        path = f"{prefix}/{name}"
        is_folder = isinstance(value, dict) and not {"estimate", "patterns", "random", "kl"} & set(
            value
        )
        found += _leaves(value, path) if is_folder else [path]
    return found


def test_the_numbers_are_those_of_the_saved_models(finished, results, folder) -> None:
    run = finished[0].folder
    for at in range(3):
        path = run / "models" / f"seed-{at}" / "model"
        model = HookedTransformer.from_pretrained(path)
        assert results["models"][str(at)]["digest"] == model.digest
        assert results["models"][str(at)]["training"]["seed"] == at
        steps = [row["step"] for row in results["models"][str(at)]["evolution"]["steps"]]
        assert steps[0] == 0 and steps[-1] == 6
    data = DataSettings(file=str(folder / "text.txt"))
    material = open_material(data, model, 5, "cpu")
    rows = material.windows(model.cfg.n_ctx, 8, 0)
    logs = lens_probabilities(model, rows)[-1]
    own = model(rows).log_softmax(-1).detach().numpy()
    np.testing.assert_allclose(logs, own, atol=1e-4)
    losses = -np.take_along_axis(logs[:, 4:-1], rows.numpy()[:, 5:, None], -1)
    assert results["models"]["2"]["loss"]["estimate"] == pytest.approx(losses.mean(), abs=1e-6)
    counted = material.ngrams.losses(rows.numpy(), 2)[:, 4:].mean()
    assert results["data"]["ngram_loss"]["2"]["estimate"] == pytest.approx(counted)


def test_the_run_says_what_it_did(finished, results, document) -> None:
    run, shown, told = finished
    assert {share for _, share in shown} >= {0.0, 1.0} and told == []
    assert len(run.summary) == 10 and tuple(results["summary"]) == run.summary
    for line in run.summary:
        assert line in document
    for name in re.findall(r"!\[\w+\]\((figures/[\w.]+)\)", document):
        assert (run.folder / name).stat().st_size > 1000
    page = (run.folder / "report.html").read_text()
    assert len(page.encode()) < 2_000_000
    assert "http://" not in page.replace("http://www.w3.org", "") and "src=" not in page
    assert results["replication"]["n_models"] == 3


def test_two_models_replicate_nothing(few, finished) -> None:
    """Trained models are read from their folders; what cannot be had is said, not invented."""
    run = finished[0].folder
    bare = run / "models" / "seed-0" / "model"
    settings = dataclasses.replace(
        few, models=(bare, run / "models" / "seed-1"), sizes=("none",), lens_steps=0
    )
    told: list[str] = []
    again = run_shakespeare(settings, tell=told.append)
    found = json.loads((again.folder / "results.json").read_text())
    missing = found["not_measured"]
    assert "at least 3" in told[0] and "2 of at least 3" in missing["replication"]
    assert "share_held" not in found["replication"]
    assert "no checkpoints" in missing["models/0/evolution"]
    assert "models/1/evolution" not in missing
    assert "--sizes none" in missing["sizes"]
    assert "--lens-steps 0" in missing["models/0/prediction/orders/tuned lens"]
    document = (again.folder / "FINDINGS.md").read_text()
    for why in ("no checkpoints", "2 of at least 3 models", "--sizes none"):
        assert why in document


def test_where_induction_is_known_to_be_it_is_found() -> None:
    settings = ShakespeareSettings(n_prompts=40, n_random=20)
    record = Record()
    control(settings, record)
    found = record.values
    assert found["accuracy"]["low"] > 0.5 > found["accuracy_without_first"]["high"]
    assert found["where"]["strongest_attention_layer"] == 1
    assert found["where"]["ablation"]["p"] == pytest.approx(1 / 21)
    assert {row["head"].split(".")[0] for row in found["suspects"]} == {"1"}
    assert all("induction" in row["classes"] for row in found["suspects"])


def test_the_nearest_order_is_the_one_that_it_was_drawn_from() -> None:
    rng = np.random.default_rng(0)
    kl = rng.uniform(1, 2, (5, 40))
    kl[2] *= 0.3
    assert nearest_order(kl) == {"order": 3, "low": 3, "high": 3, "share": 1.0}
    kl[3] = kl[2] + rng.normal(0, 0.2, 40)
    assert nearest_order(kl)["low"] == 3 and nearest_order(kl)["high"] == 4


def test_the_area_is_that_of_counting_pairs_and_chance_is_a_half() -> None:
    rng = np.random.default_rng(0)
    values, right = rng.integers(0, 6, 60).astype(float), rng.random(60) < 0.4
    pairs = [(a > b) + 0.5 * (a == b) for a in values[right] for b in values[~right]]
    found = auroc(values[right], values[~right])
    assert found.estimate == pytest.approx(np.mean(pairs)) and found.low < found.estimate
    control = shuffled_range(values, right)
    assert control.estimate == pytest.approx(0.5, abs=0.02)
    assert 0.3 < control.low < 0.5 < control.high < 0.7


@pytest.mark.parametrize(
    ("claim", "value", "said"),
    [
        (Claim("above", 0.0), Interval(1.0, 0.5, 2.0, 0.95, 9), "holds"),
        (Claim("above", 0.0), Interval(-1.0, -2.0, -0.5, 0.95, 9), "does not hold"),
        (Claim("above", 0.0), Interval(1.0, -0.5, 2.0, 0.95, 9), "undecided"),
        (Claim("above", 0.5), 0, "does not hold"),
        (Claim("between", (2, 2)), 2, "holds"),
        (Claim("equals", True), False, "does not hold"),
        (Claim("below", 0.05), None, "not measured"),
    ],
)
def test_a_criterion_is_decided_by_the_whole_interval(claim, value, said) -> None:
    record = Record()
    record.put("value", value)
    assert verdict(claim, record.get("value")) == said


def test_the_share_that_replicates_is_counted_over_all_criteria() -> None:
    record = Record()
    for at in range(3):
        record.put(f"models/{at}/{CRITERIA[0].path}", Interval(1.0, 0.5, 2.0, 0.95, 9))
        sign = 1 if at else -1
        record.put(f"models/{at}/{CRITERIA[1].path}", Interval(sign, sign, sign, 0.95, 9))
    replication(record, 3)
    assert record.get("replication/n_hold_everywhere") == 1
    assert record.get("replication/n_measured_everywhere") == 2
    assert record.get("replication/share_held")["estimate"] == pytest.approx(1 / len(CRITERIA))
    assert record.get("replication/share_same")["estimate"] == 0.5
    assert record.get("replication/per_model")[0] == {
        "held": 1,
        "missed": 1,
        "undecided": 0,
        "not_measured": len(CRITERIA) - 2,
    }


def test_a_reason_stands_for_all_below_its_path() -> None:
    record = Record()
    with record.attempt("a/b") as inside:
        inside.put("c", 1.0)
        raise NotMeasured("no text")
    read = Recorded(record.results(), cites=True)
    assert read.text("a/b/c") == "1.000[^1]"
    assert read.text("a/b/d") == "not measured (no text)" and read.read == ["a/b/c"]
    with pytest.raises(ZeroDivisionError), record.attempt("a"):
        _ = 1 / 0


def test_weights_are_counted_as_torch_counts_them() -> None:
    cfg = ModelConfig(
        **{**SEED_DOCUMENT, "d_model": 24, "n_layers": 3},
        tie_word_embeddings=True,
        qkv_bias=False,
        attn_out_bias=False,
        mlp_bias=False,
        norm_bias=False,
    )
    model = HookedTransformer(cfg)
    assert sum(one.numel() for one in model.parameters()) == count_parameters(cfg)
    assert count_parameters(ModelConfig(**SEED_DOCUMENT)) == 10_695_936  # golden
    assert width_of(2_500_000) == (186, 2_529_228)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--sizes 2by64", "sizes='2by64' is no size"),
        ("--n-prompts 2", "n_prompts=2 is too few"),
        ("--seeds 1 1", "give each once"),
        ("--config ioi-2l", "the study reads text"),
        ("--models nowhere", "nowhere"),
        ("--data no-such-text.txt --quick", "no-such-text.txt does not exist"),
    ],
)
def test_what_cannot_be_is_one_sentence(words, says, capsys, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        status = cli.main(["run", "shakespeare", *words.split()])
    except SystemExit as stop:  # what a settings class refuses
        status = stop.code
    error = " ".join(capsys.readouterr().err.split())
    assert status == 2 and says in error and "Traceback" not in error
    assert not any(Path("runs").glob("[!.]*"))


def test_a_text_that_the_models_do_not_know_is_refused(few, finished, tmp_path) -> None:
    (tmp_path / "greek.txt").write_text("ἄνδρα μοι ἔννεπε, Μοῦσα " * 60)
    model = finished[0].folder / "models" / "seed-0"
    settings = dataclasses.replace(few, models=(model,), data=tmp_path / "greek.txt")
    with pytest.raises(ValueError, match="does not know 'Μ', a character of greek.txt"):
        run_shakespeare(dataclasses.replace(settings, out=tmp_path / "runs"))
