"""`cutaway steer`, as a user types it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import cutaway as ca
from command_line import typed
from cutaway.findings import Run, load_run
from cutaway.steering import (
    DoseResponse,
    SteeringVector,
    activation_difference,
    applied,
    dose_response,
    embedding_difference,
)
from cutaway.views.steering_data import SteeringReportData, chosen_place
from cutaway.views.steering_sentences import findings, verdict, warnings

FEW = ["--n-prompts", "8", "--n-random", "2", "--n-neutral", "3"]


@pytest.fixture(scope="module")
def model() -> ca.HookedTransformer:
    return ca.HookedTransformer.from_pretrained("ioi-mini")


def run_of(root: Path, *words: str) -> Run:
    assert typed("steer", *FEW, *words, "--out", str(root)) == 0
    return load_run("latest", root)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    """Third names, by columns of W_U, at END and IO."""
    words = ["--method", "unembedding", "--positions", "IO", "END"]
    return run_of(
        tmp_path_factory.mktemp("runs"), *words, "--layers", "0", "3", "--coefficients", "1", "2"
    )


def test_what_is_saved_is_what_the_library_finds(run, model) -> None:
    vector = SteeringVector.load(run.path / "vector.safetensors")
    task = ca.tasks.ioi(model, 8)
    columns = model.W_U.T.detach()
    target = (vector.vector + columns[task.correct])[:, None] - columns  # [prompt, vocab, d_model]
    target = target.norm(dim=-1).argmin(1)
    for prompt in range(8):
        assert int(target[prompt]) not in task.clean[prompt].tolist()
    for position in ("IO", "END"):
        saved = DoseResponse.load(run.path / "responses" / f"{position}.safetensors")
        expected = dose_response(
            model,
            task,
            embedding_difference(model, target, task.correct, "W_U"),
            target,
            layers=[0, 3],
            coefficients=(1, 2),
            positions=position,
            n_random=2,
        )
        assert saved.lines == ("vector", "to another token", "random 1", "random 2")
        np.testing.assert_allclose(saved.difference[0], expected.difference[0], atol=1e-3)
        np.testing.assert_allclose(saved.difference[2:], expected.difference[1:], atol=1e-3)
        assert saved.kl.shape == (4, 2, 2, 3)


def test_the_place_is_chosen_on_one_half_and_its_numbers_are_of_the_other(run) -> None:
    found = run.results()
    responses = {
        position: DoseResponse.load(run.path / "responses" / f"{position}.safetensors")
        for position in ("IO", "END")
    }
    position, layer, coefficient = chosen_place(responses)
    assert found["chosen"] == {
        "position": position,
        "layer": layer,
        "coefficient": coefficient,
    }
    assert (position, layer) == ("END", 3)
    other = responses["END"].subset(range(1, 8, 2))
    assert found["success"]["estimate"] == other.success(layer, coefficient).estimate
    assert found["success"]["n"] == 4
    best = {at: r.subset(range(0, 8, 2)).success_map().max() for at, r in responses.items()}
    i, j = responses["END"].at(layer, coefficient)
    assert responses["END"].top[0, i, j, ::2].mean() == best["END"] >= best["IO"]


def test_continuations_are_those_of_the_library(run, model) -> None:
    rows, chosen = run.results()["continuations"], run.results()["chosen"]
    task, vector = (
        ca.tasks.ioi(model, 8),
        SteeringVector.load(run.path / "vector.safetensors"),
    )
    norm = run.results()["norms"]["END"][1]
    assert len(rows) == 4
    for prompt, row in enumerate(rows):
        assert row["text"] == task.clean_text[prompt]
        plain = model.generate(row["text"], 8, temperature=0)
        assert row["text"] + row["plain"] == plain
        with applied(
            model,
            vector.subset([prompt]),
            layer=chosen["layer"],
            coefficient=chosen["coefficient"],
            positions=-1,
            norm=norm,
        ):
            assert row["text"] + row["steered"] == model.generate(row["text"], 8, temperature=0)
    assert any(row["plain"] != row["steered"] for row in rows)


def test_the_report_shows_the_control_and_the_cost(run, capsys) -> None:
    report = run.report.read_text()
    for text in ("Random directions, at END", "KL, random", "wrong way", "to another token"):
        assert text in report
    assert "http://" not in report.replace("http://www.w3.org", "") and "src=" not in report


def test_a_pair_of_texts_is_steered_at_all_positions(model, tmp_path) -> None:
    run = run_of(
        tmp_path,
        *["--method", "pair", "--plus", "Paul gave a book to", "--minus", "Mary gave a book to"],
        *["--target", " Paul", "--positions", "all", "--layers", "2", "--coefficients", "2"],
        *["--text", "Then Mary and Tom went to the", "--new-tokens", "3"],
    )
    vector = SteeringVector.load(run.path / "vector.safetensors")
    expected = activation_difference(model, "Paul gave a book to", "Mary gave a book to", 2)
    assert vector.origin == expected.origin and vector.vector.shape == expected.vector.shape
    (row,) = run.results()["continuations"]
    norm = run.results()["norms"]["all"][0]
    with applied(model, vector, layer=2, coefficient=2.0, positions="all", norm=norm):
        said = model.generate("Then Mary and Tom went to the", 3, temperature=0)
    assert row["text"] + row["steered"] == said


def test_means_of_prompts_by_their_answer(tmp_path) -> None:
    run = run_of(
        tmp_path,
        *["--method", "mean", "--target", " Mary", "--positions", "END"],
        *["--coefficients", "2", "--layers", "3"],
    )
    saved = DoseResponse.load(run.path / "responses" / "END.safetensors")
    assert saved.success(3, 2.0).estimate > 0.5
    assert run.results()["control"]["each"] == [0.0, 0.0]


def test_means_of_given_texts_and_neutral_text_from_a_file(model, tmp_path, capsys) -> None:
    (tmp_path / "neutral.txt").write_text("Mary went to the store. " * 30)
    run = run_of(
        tmp_path / "runs",
        *["--method", "mean", "--plus", "Paul to", "Tom and Paul to"],
        *["--minus", "Mary to", "Tom and Mary to"],
        *["--target", "wrong", "--positions", "IO", "--layers", "0", "1", "--coefficients", "1"],
        *["--data", str(tmp_path / "neutral.txt"), "--unit", "own"],
    )
    assert "pieces of neutral.txt" in run.report.read_text()
    saved = DoseResponse.load(run.path / "responses" / "IO.safetensors")
    assert "the texts do not differ there: layer 0" in " ".join(capsys.readouterr().out.split())
    assert saved.layers == (1,) and saved.norms == () and saved.kl.shape[-1] == 3
    vector = SteeringVector.load(run.path / "vector.safetensors")
    assert 0 < vector.settings["agreement"] <= 1


def response_of(top, kl=0.1, wrong=0) -> DoseResponse:
    """One layer and coefficient; `top` [line, prompt], of which `wrong` prompts fall."""
    flags = np.asarray(top, dtype=bool)[:, None, None]
    n = flags.shape[-1]
    difference = np.ones(flags.shape)
    difference[..., :wrong] = -3.0
    return DoseResponse(
        ("vector", "random 1", "random 2"),
        (2,),
        (1.0,),
        difference,
        np.zeros(flags.shape),
        flags,
        flags,
        np.full(n, -2.0),
        np.zeros(n),
        np.zeros(n, dtype=bool),
        np.zeros(n, dtype=bool),
        np.full((3, 1, 1, 2), kl),
        np.full((3, 1, 1, 2), 1 + kl),
        np.ones(2),
        settings={"vector_norms": [1.0], "vector": "x", "operation": "add"},
    )


def data_of(response, **more) -> SteeringReportData:
    labels = [""] * len(response.base_difference)
    return SteeringReportData(
        "m", "t", "mean", "' Paul'", {"END": response}, (), labels, "texts", **more
    )


@pytest.mark.parametrize(
    ("shares", "says"),
    [
        ((1.0, 0.0, 0.1), "The vector does more than chance."),
        ((0.8, 0.0, 0.7), "does not exclude what chance reaches"),
        ((0.0, 0.0, 0.0), "does nothing of what was wanted"),
    ],
)
def test_the_verdict_is_against_the_luckiest_direction(shares, says) -> None:
    top = [np.arange(40) // 2 < 20 * share for share in shares]
    assert says in verdict(data_of(response_of(top)))


def test_what_is_shaky_is_said() -> None:
    calm = response_of(np.ones((3, 80)))
    assert warnings(data_of(calm)) == ()
    costly = data_of(response_of(np.ones((3, 8)), kl=2.0, wrong=2), agreement={2: 0.1})
    found = " ".join(warnings(costly))
    assert "on the other 4: few" in found
    assert "KL of 2.00 nats per token" in found and "hardly agree on a direction" in found
    assert "25% [5%, 70%] of the prompts move the wrong way" in " ".join(findings(costly))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--target xyzzy", "xyzzy"),
        ("--method pair --target wrong", "needs one --plus and one --minus"),
        ("--method mean --plus a --target wrong", "needs both --plus and --minus"),
        ("--method mean --target wrong", "needs one token as --target"),
        ("--method mean", "give --target, one token"),
        ("--plus a --minus b", "--plus and --minus are of pair and mean"),
        ("--method pair --target wrong --plus Mary --minus Mary", "the texts do not differ"),
        (
            "--method pair --target wrong --plus Mary --minus store.",
            "give texts of the same length",
        ),
        ("--positions S9", "no position 'S9'"),
        ("--positions each", "each is taken in turn"),
        ("--layers 9", "no layer 9"),
        ("--data none.txt", "there is no file none.txt"),
        ("--n-random 0", "n_random=0 is too few"),
        ("--task nothing", "there is no task and no file"),
    ],
)
def test_what_cannot_be_is_one_sentence(words, says, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert typed("steer", *FEW, *words.split()) == 2
    error = " ".join(capsys.readouterr().err.split())
    assert says in error and "Traceback" not in error
    assert not any(Path("runs").glob("[!.]*"))


def test_a_file_of_other_words_is_refused(tmp_path, capsys) -> None:
    path = tmp_path / "other.txt"
    path.write_text("zyzzyva quagga " * 50, encoding="utf-8")
    words = ["steer", "--n-prompts", "4", "--data", str(path), "--out", str(tmp_path)]
    assert typed(*words) != 0
    assert "holds words that ioi-mini does not know, such as" in " ".join(
        "".join(capsys.readouterr()).split()
    )
