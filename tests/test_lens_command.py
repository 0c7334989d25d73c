"""`cutaway lens`, as a user types it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import cutaway as ca
from command_line import typed
from cutaway import cli
from cutaway.experiments.lens.texts import kinds_of_input, training_text
from cutaway.findings import Run, load_run
from cutaway.lenses import (
    LensReadings,
    TunedLens,
    compare_inputs,
    component_lens,
    convergence,
    logit_lens,
)
from cutaway.training.ioi_corpus import Corpus

TEXT = "When John and Mary went to the store, John gave a drink to Mary"


@pytest.fixture(scope="module")
def mini() -> ca.HookedTransformer:
    return ca.HookedTransformer.from_pretrained("ioi-mini")


def run_lens(*words: str) -> int:
    return typed("lens", *words)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Run:
    """A run with everything: prompts of ioi, a tuned lens, kinds of input."""
    root = tmp_path_factory.mktemp("runs")
    words = ["--n-prompts", "8", "--tuned", "train", "--steps", "6", "--inputs", "--mid"]
    assert run_lens(*words, "--out", str(root)) == 0
    return load_run("latest", root)


def test_what_it_saves_is_what_the_library_reads(mini, trained) -> None:
    task = ca.tasks.ioi(mini, 8)
    expected = logit_lens(mini, task, mid=True)
    found = LensReadings.load(trained.path / "readings" / "logit-lens.safetensors")
    np.testing.assert_array_equal(found.kl, expected.kl)
    results = trained.results()
    assert results["points"] == list(expected.points)
    stands = convergence(expected).mean()
    assert results["convergence"]["logit lens"]["mean"]["estimate"] == stands.estimate
    ranked = component_lens(mini, task).ranked("target", "wrong")
    assert next(iter(results["components"])) == ranked[0][0]
    compared = compare_inputs(
        mini,
        {
            "seen": ca.tasks.ioi(mini, 8, templates="train", pairs="seen"),
            "new pairs": ca.tasks.ioi(mini, 8, templates="train", pairs="held-out"),
            "new sentences": ca.tasks.ioi(mini, 8, templates="held-out", pairs="seen"),
        },
    )
    assert results["differences"] == compared.to_frame()
    rows = {(row["lens"], row["point"]): row["kl"] for row in results["lenses"]}
    assert rows["tuned lens", "1"] < rows["logit lens", "1"] < rows["mean prediction", "1"]
    assert ("stream of random weights", "3") not in rows
    assert len(results["summary"]) == 7
    lens = TunedLens.load(trained.path / "lens.safetensors", mini)
    assert lens.settings["train"]["n_steps"] == 6


def test_the_report_holds_everything_and_fetches_nothing(trained) -> None:
    page = trained.report.read_text()
    assert "http://" not in page.replace("http://www.w3.org", "") and "src=" not in page
    assert page.count('class="ct-lens-grid"') == 4  # two prompts, two lenses
    for words in ("Kinds of input", "mean prediction", "shuffled targets", "random weights"):
        assert words in page


def test_a_text_is_read_by_a_lens_that_was_trained_before(mini, trained, tmp_path, capsys) -> None:
    lens = str(trained.path / "lens.safetensors")
    assert run_lens("--text", TEXT, "--tuned", lens, "--out", str(tmp_path)) == 0
    run = load_run("latest", tmp_path)
    tuned = LensReadings.load(run.path / "readings" / "tuned-lens.safetensors")
    assert tuned.tokens.shape == (1, 16) and "0.mid" in tuned.points
    plain = LensReadings.load(run.path / "readings" / "logit-lens.safetensors")
    assert plain.points == tuned.points
    np.testing.assert_array_equal(plain.kl, logit_lens(mini, mini.to_tokens(TEXT), mid=True).kl)
    printed = " ".join(capsys.readouterr().out.split())
    assert "The token that really comes next" in printed and "nan" not in printed
    page = run.report.read_text()
    assert "its numbers have no intervals" in page and "95% interval" not in re.sub(
        r"<details.*?</details>", "", page, flags=re.DOTALL
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--text", ""], "the --text is empty"),
        (["--text", " "], "the --text is empty"),
        (["--text", "John and Zaphod, Zaphod"], "ioi-mini does not know 'Zaphod':"),
        (["--text", "John " * 80], "has 81 tokens, and ioi-mini takes at most 64"),
        (["--text", "John", "--task", "ioi"], "give one of the two"),
        (["--top", "0"], "top=0 is too few"),
        (["--data", "x.txt"], "give --tuned train as well"),
        (["--tuned", "train", "--data", "x.txt"], "there is no file x.txt"),
        (["--tuned", "nothing.safetensors"], "there is no file nothing.safetensors"),
        (["--task", "nothing"], "there is no task and no file 'nothing'"),
    ],
)
def test_mistakes_are_one_sentence_and_leave_no_run(words, message, tmp_path, capsys) -> None:
    assert run_lens(*words, "--out", str(tmp_path)) == 2
    said = re.sub(r"[\s│]+", " ", capsys.readouterr().err)
    assert message in said and "Traceback" not in said
    assert not list(tmp_path.iterdir())


def test_a_lens_of_another_model_is_refused(mini, trained, tmp_path, capsys) -> None:
    other = ca.HookedTransformer(mini.cfg, mini.tokenizer, seed=5)
    other.save_pretrained(tmp_path / "other")
    lens = str(trained.path / "lens.safetensors")
    words = ["--model", str(tmp_path / "other"), "--text", TEXT, "--tuned", lens]
    assert run_lens(*words, "--out", str(tmp_path / "runs")) == 2
    assert "was trained for ioi-mini with the digest" in capsys.readouterr().err


def test_a_file_is_cut_into_pieces_and_its_end_held_out(mini, tmp_path) -> None:
    mini_context = mini.cfg.n_ctx
    text = " ".join(["Mary and John went to the store."] * 250)
    (tmp_path / "text.txt").write_text(text)
    found = training_text(mini, tmp_path / "text.txt", 4)
    batch = found.batches(0)
    assert batch.shape == (4, mini_context) and (batch[:, 0] == 0).all()  # BOS first
    assert (found.batches(0) == batch).all() and found.held_out.shape[1] == mini_context
    encoded = mini.get_tokenizer().encode(text)
    n = len(encoded) // (mini_context - 1)
    last = encoded[(n - 1) * (mini_context - 1) : n * (mini_context - 1)]
    assert found.held_out[-1, 1:].tolist() == last
    (tmp_path / "short.txt").write_text("Mary went to the store.")
    with pytest.raises(ValueError, match="at least 10 are needed"):
        training_text(mini, tmp_path / "short.txt", 4)
    (tmp_path / "other.txt").write_text("Quetzalcoatl")
    with pytest.raises(ValueError, match="such as 'Quetzalcoatl'"):
        training_text(mini, tmp_path / "other.txt", 4)
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="not a text file in UTF-8"):
        training_text(mini, tmp_path / "bytes.txt", 4)


def test_embedded_models_have_their_own_text(mini) -> None:
    found = training_text(mini, None, 4)
    assert (found.batches(3) == Corpus(seed=101).sequences(12, 4)).all()
    assert (found.held_out == Corpus(seed=102).sequences(0, 64)).all()
    stranger = ca.HookedTransformer(mini.cfg.replace(model_name="stranger"), mini.tokenizer)
    with pytest.raises(ValueError, match="stranger has no corpus"):
        training_text(stranger, None, 4)
    with pytest.raises(ValueError, match="--inputs is of the embedded models"):
        kinds_of_input(stranger, 4, 0)


def test_kinds_of_input_are_read_before_what_can_be_known() -> None:
    from cutaway.training import induction_2l, induction_corpus

    model = induction_2l.fresh(0)
    kinds = kinds_of_input(model, 3, 0)
    assert list(kinds.prompts) == ["memorised", "repeated", "novel"]
    corpus = induction_corpus.Corpus(seed=102)
    known = corpus.repeated(3, 0).known
    where = kinds.positions["repeated"]
    assert (where[:, :-1] == known[:, 1:]).all() and not where[:, -1].any()
    assert kinds.positions["novel"][:, :-1].all()
    found = compare_inputs(model, kinds.prompts, positions=kinds.positions, n_resamples=50)
    assert found.readings["repeated"].real.sum() == known.sum()


def test_help_says_what_can_be_chosen(capsys) -> None:
    assert run_lens("--help") == 0
    said = capsys.readouterr().out
    assert "--tuned" in said and "--inputs" in said and "--mid" in said


def test_runs_are_listed(trained, capsys) -> None:
    assert cli.main(["runs", "--root", str(Path(trained.path).parent)]) == 0
    assert "lens" in capsys.readouterr().out
