"""The course: every notebook runs from top to bottom, its exercises can be solved as it says, and
the executed copy beside each source is a copy of it.
"""

from __future__ import annotations

import gc
import importlib.util
import os
import re
import sys
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import nbformat
import numpy as np
import pytest
import torch
from nbformat import NotebookNode

import cutaway as ca
from cutaway.findings import list_predictions

CHECKOUT = Path(__file__).resolve().parents[1]
FOLDER = CHECKOUT / "notebooks"
MOST_BYTES = 400_000  # of an executed copy, since every version of it stays in the history

# The packages that run notebooks warn about themselves; what a notebook warns of is shown in it.
pytestmark = pytest.mark.filterwarnings("default")


def load(name: str) -> ModuleType:
    """A module of the notebooks' folder, which is not a package."""
    spec = importlib.util.spec_from_file_location(f"notebooks_{name}", FOLDER / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


build, course = load("build"), load("course")
SOURCES = build.sources()
each_notebook = pytest.mark.parametrize("path", SOURCES, ids=[path.stem for path in SOURCES])


def with_solutions(notebook: NotebookNode) -> tuple[NotebookNode, int]:
    """The notebook with each exercise's solution and a second check put after its check."""
    cells: list[NotebookNode] = []
    solution, n_solutions = "", 0
    for cell in notebook.cells:
        cells.append(cell)
        if cell.cell_type == "markdown" and "<summary>Solution</summary>" in cell.source:
            assert not solution, f"{cell.id}: the exercise before has no check"
            (solution,) = re.findall(
                r"Solution</summary>\s+```python\n(.*?)```", cell.source, re.DOTALL
            )
        elif cell.cell_type == "code" and solution and "check(" in cell.source:
            n_solutions += 1
            cells.append(nbformat.v4.new_code_cell(solution, id=f"solution-{n_solutions}"))
            cells.append(nbformat.v4.new_code_cell(cell.source, id=f"check-{n_solutions}"))
            solution = ""
    notebook.cells = cells
    return notebook, n_solutions


def printed(cell: NotebookNode) -> str:
    return "".join(output.text for output in cell.outputs if output.output_type == "stream")


@each_notebook
def test_it_runs_and_its_exercises_can_be_solved(path: Path) -> None:
    notebook, n_solutions = with_solutions(build.read_source(path))
    assert 2 <= n_solutions <= 4
    build.execute(notebook)
    by_id = {cell.id: cell for cell in notebook.cells}
    for n in range(1, n_solutions + 1):
        assert "Right." in printed(by_id[f"check-{n}"]), by_id[f"solution-{n}"].source
    untouched = [c for c in notebook.cells if c.cell_type == "code" and "check(" in c.source]
    assert sum("Not answered yet" in printed(cell) for cell in untouched) == n_solutions
    unseen = [c for c in notebook.cells if c.cell_type == "code" and "log.expect(" in c.source]
    last_log = [c for c in notebook.cells if c.cell_type == "code" and c.source == "log"][-1]
    assert len(unseen) == 1
    rows = last_log.outputs[0].data["text/markdown"].splitlines()[2:]
    assert len(rows) >= 5
    assert all(row.rstrip(" |").endswith(("yes", "**no**", "undecided")) for row in rows), rows


@each_notebook
def test_the_executed_copy_is_a_copy_of_the_source(path: Path) -> None:
    copy = path.with_suffix(".ipynb")
    assert copy.is_file(), f"run: python notebooks/build.py {path.stem}"
    executed, source = nbformat.read(copy, as_version=4), build.read_source(path)
    nbformat.validate(executed)
    assert [(c.id, c.cell_type, c.source) for c in executed.cells] == [
        (c.id, c.cell_type, c.source) for c in source.cells
    ], f"out of date, run: python notebooks/build.py {path.stem}"
    code = [cell for cell in executed.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert not any(o.output_type == "error" for cell in code for o in cell.outputs)
    assert copy.stat().st_size < MOST_BYTES


@each_notebook
def test_it_keeps_the_form_of_the_course(path: Path) -> None:
    notebook = build.read_source(path)
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    assert re.match(r'MODEL = "(ioi-mini|induction-2l|shakespeare-small)"', code[0])
    text = "\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")
    assert not re.search(r"TODO|FIXME|XXX|TEXT AFTER", text), "unfinished text"
    for part in ("What you will know", "**Time:**", "Exercise 1", "Questions", "## Further"):
        assert part in text
    assert re.search(r"[Bb]reak (it|things) on purpose", text)
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        if not target.startswith("http"):
            assert (FOLDER / target).is_file(), target


def test_the_course_is_one_row() -> None:
    assert [path.stem[:2] for path in SOURCES] == [f"{i:02d}" for i in range(len(SOURCES))]
    listed = re.findall(
        r"^\| (\d\d) \| \[.*?\]\(\.\./notebooks/(.*?)\.ipynb\)",
        (CHECKOUT / "docs" / "course.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    assert listed == [(path.stem[:2], path.stem) for path in SOURCES]
    for path, following in pairwise(SOURCES):
        text = path.read_text(encoding="utf-8")
        assert re.search(rf"^# # {path.stem[:2]} · ", text, re.MULTILINE)
        assert re.search(rf"## Further\n#\n# - Next: \[{following.stem[:2]} · ", text), path.stem
        assert f"]({following.stem}.ipynb)" in text


@each_notebook
def test_links_say_the_number_that_they_lead_to(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for said, target in re.findall(r"\[(\d\d)(?: · [^\]]*)?\]\((\d\d)_", text):
        assert said == target


@pytest.mark.slow
@each_notebook
def test_it_runs_on_a_model_that_cannot_do_the_task(path: Path, tmp_path: Path) -> None:
    # The shape that the seed document's snippets assume, and nothing learned.
    cfg = ca.ModelConfig(
        n_layers=10, d_model=32, n_heads=10, d_head=4, d_vocab=tokenizer().vocab_size, n_ctx=64
    )
    ca.HookedTransformer(cfg, tokenizer(), seed=0).save_pretrained(tmp_path / "untrained")
    notebook = build.with_model(build.read_source(path), str(tmp_path / "untrained"))
    build.execute(notebook)


def tokenizer() -> ca.Tokenizer:
    found = ca.HookedTransformer.from_pretrained("ioi-mini").tokenizer
    assert found is not None
    return found


def test_the_seed_documents_snippet_runs_with_its_import_changed(
    shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (document,) = (shared / "seeds").glob("001_*.txt")
    text = document.read_text(encoding="utf-8")
    start = text.index("from transformer_lens import HookedTransformer")
    end = text.index("hook)])", start) + len("hook)])")
    snippet = text[start:end].replace("from transformer_lens import", "from cutaway import")
    # The document as it was kept has lost the indentation of the hook's two lines.
    snippet = re.sub(r"^(act\[|return act)", r"    \1", snippet, flags=re.MULTILINE)
    cfg = ca.ModelConfig(
        n_layers=12, d_model=48, n_heads=12, d_vocab=tokenizer().vocab_size, n_ctx=64
    )
    stand_in = ca.HookedTransformer(cfg, tokenizer())  # GPT-2 small's layers and heads
    monkeypatch.setattr(ca.HookedTransformer, "from_pretrained", lambda name: stand_in)
    prompt = "When John and Mary went to the store, John gave a drink to"
    other = "When John and Mary went to the store, Mary gave a drink to"
    _, clean_cache = stand_in.run_with_cache(other)
    names = {"prompt": prompt, "pos": -1, "head": 9, "clean_cache": clean_cache}
    exec(compile(snippet, str(document), "exec"), names)
    assert names["cache"]["resid_post", 9].shape == (1, 15, 48)
    assert names["cache"]["pattern", 9].shape == (1, 12, 15, 15)
    assert names["cache"]["z", 9].shape == (1, 15, 12, 4)
    assert torch.allclose(names["logits"], stand_in(prompt), atol=1e-5)
    assert not torch.allclose(names["patched"], names["logits"], atol=1e-5)


def test_the_kernel_is_the_python_that_runs_the_tests() -> None:
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell("import os, sys; print(sys.executable, os.getcwd())")]
    )
    build.execute(notebook)
    executable, folder = printed(notebook.cells[0]).split()
    assert os.path.samefile(executable, sys.executable)
    assert os.path.samefile(folder, FOLDER)


def test_building_writes_a_whole_copy_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "FOLDER", tmp_path)
    (tmp_path / "00_small.py").write_text('# %%\nMODEL = "ioi-mini"\nprint(MODEL)\n')
    build.main(["--model", "other", "--out", str(tmp_path / "out")])
    executed = nbformat.read(tmp_path / "out" / "00_small.ipynb", as_version=4)
    assert printed(executed.cells[0]) == "other\n"
    with pytest.raises(SystemExit):
        build.main(["--model", "other"])
    with pytest.raises(SystemExit):
        build.main(["07_nothing"])


def test_a_log_grades_what_was_predicted(capsys: pytest.CaptureFixture[str]) -> None:
    log = course.Log()
    log.expect("mean", "A mean?", low=1)
    log.expect("near", "Near one?", low=0.9, high=1.1)
    log.expect("word", "Where?", answer="END")
    log.observe("mean", ca.Interval(2.0, 1.5, 2.5, 0.95, 64))
    log.observe("near", ca.Interval(1.0, 0.8, 1.2, 0.95, 64))
    log.observe("word", "S2")
    verdicts = [row.split("|")[-2].strip() for row in log._repr_markdown_().splitlines()[2:]]
    assert verdicts == ["yes", "undecided", "**no**"]
    assert "NOT as expected" in capsys.readouterr().out
    with pytest.raises(ValueError, match="too late"):
        log.expect("word", "Where?", answer="S2")
    with pytest.raises(ValueError, match="range"):
        log.expect("nothing", "Nothing?")


def test_a_log_is_kept_by_the_library(tmp_path: Path) -> None:
    log = course.Log(tmp_path)
    log.expect("least", "At least 1?", low=1, confidence=0.9)
    log.expect("most", "At most 1?", high=1, confidence=0.6)
    log.expect("word", "Where?", answer="END", confidence=0.8)
    log.expect("nothing", "Of nothing?", low=0)
    stored, faults = list_predictions(tmp_path)
    assert not faults and [one.verdict for one in stored] == ["open"] * 4
    assert [one.confidence for one in stored] == [0.9, 0.6, 0.8, None]
    log.observe("least", 1)  # the end itself is as expected
    log.observe("most", np.float32(1.0))
    log.observe("word", "S2")
    log.observe("nothing", float("nan"))  # decides nothing
    verdicts = [row.split("|")[-2].strip() for row in log._repr_markdown_().splitlines()[2:]]
    assert verdicts == ["yes", "yes", "**no**", "undecided"]
    stored, _ = list_predictions(tmp_path)
    assert [one.verdict for one in stored] == ["held", "held", "missed", "open"]
    assert "2 of 3 graded predictions held" in log.calibration()
    assert "| 90% |" in log._repr_markdown_()


def test_a_log_without_a_folder_leaves_nothing_behind() -> None:
    log = course.Log()
    log.expect("sum", "What is 1 + 1?", low=2, high=2)
    folder = Path(log.root)
    assert len(list_predictions(folder)[0]) == 1
    del log
    gc.collect()
    assert not folder.exists()


def test_a_check_knows_right_from_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    course.check(..., 1.0)
    course.check(1.001, 1.0)
    course.check(1.1, 1.0, hint="Think.")
    course.check({"a"}, {"a"})
    course.check([1.0, 2.0], torch.tensor([1.0, 2.0]))
    course.check([1.0], torch.tensor([1.0, 2.0]))
    course.check("1.5", "1.5")
    course.check(3, lambda n: n > 2)
    first = [line.split(".")[0] for line in capsys.readouterr().out.splitlines()]
    answers = ["Not answered yet: replace the three dots", "Right", "Not yet", "Right"]
    assert first == [*answers, "Right", "Not yet", "Right", "Right"]
