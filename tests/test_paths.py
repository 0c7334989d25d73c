"""Path patching and edges against four full runs, and what must hold of them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cutaway.model.config import ModelConfig
from cutaway.patching import edges as edges_module
from cutaway.patching import partial, precision
from cutaway.patching.edges import sweep_edges
from cutaway.patching.graph import Graph
from cutaway.patching.paths import sweep_paths
from cutaway.patching.sweep import sweep
from cutaway.tasks.metric import ProbabilityDifference
from oracles import path_by_four_runs
from random_models import configs, random_model, small_chunks, small_task, tasks

CFG = ModelConfig(n_layers=3, d_model=16, n_heads=4, d_vocab=17, n_ctx=12, init_range=0.4)


def scale_of(model, task, expected: np.ndarray) -> float:
    with torch.no_grad():
        logits = [float(model(tokens).abs().max()) for tokens in (task.clean, task.corrupted)]
    return max(1.0, np.abs(expected).max(), *logits)


@given(st.data())
def test_every_path_equals_four_full_runs(data) -> None:
    cfg = data.draw(configs())
    model, task = random_model(cfg, data.draw(st.integers(0, 100))), data.draw(tasks(cfg))
    graph = Graph(cfg)
    mode = data.draw(st.sampled_from(["denoising", "noising"]))
    mlps = data.draw(st.sampled_from(["frozen", "recomputed"]))
    positions = data.draw(st.sampled_from([None, ["END"], ["A", 1]]))
    inner = [receiver.name for receiver in graph.receivers[:-1]]
    ends = [["logits"], *data.draw(sets_of(inner))]
    last = {end: max(graph.n_upstream(graph.receiver(r)) for r in end) for end in map(tuple, ends)}
    readable = [sender.name for sender in graph.senders[: min(last.values())]]
    starts = data.draw(sets_of(readable))
    with small_chunks(data.draw(st.sampled_from([1, 20, 768]))):
        found = sweep_paths(
            model, task, ends, starts, mlps=mlps, mode=mode,
            positions="all" if positions is None else positions,
        )  # fmt: skip
    expected = np.array(
        [
            [path_by_four_runs(model, task, start, end, mode, mlps, positions) for end in ends]
            for start in starts
        ]
    )
    assert np.abs(found.patched - expected).max() <= 2e-5 * scale_of(model, task, expected)


def sets_of(names: list[str]) -> st.SearchStrategy[list[list[str]]]:
    one = st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True)
    return st.lists(one, min_size=1, max_size=2)


@given(st.data())
def test_every_edge_equals_four_full_runs(data) -> None:
    cfg = data.draw(configs(max_layers=2))
    model, task = random_model(cfg, data.draw(st.integers(0, 100))), data.draw(tasks(cfg))
    mode = data.draw(st.sampled_from(["denoising", "noising"]))
    with small_chunks(data.draw(st.sampled_from([1, 20, 768]))):
        effects = sweep_edges(model, task, mode=mode)
    edges = Graph(cfg).edges
    some = data.draw(st.lists(st.integers(0, len(edges) - 1), min_size=1, max_size=12))
    expected = np.array(
        [
            path_by_four_runs(model, task, [edges[i][0].name], [edges[i][1].name], mode, "frozen")
            for i in some
        ]
    )
    scale = scale_of(model, task, expected)
    assert np.abs(effects.patched[some] - expected).max() <= 2e-5 * scale
    small = sweep_edges(model, task, mode=mode, max_memory=150_000)
    assert np.abs(small.patched - effects.patched).max() <= 2e-5 * scale


def test_all_edges_are_the_paths_of_every_sender_to_every_receiver() -> None:
    model, task = random_model(CFG), small_task(CFG)
    effects = sweep_edges(model, task)
    graph = Graph(CFG)
    assert effects.axes[0].labels == graph.edge_names
    at = 0
    for receiver in graph.receivers:
        paths = sweep_paths(model, task, [receiver.name])
        n = graph.n_upstream(receiver)
        assert paths.axes[0].labels == tuple(sender.name for sender in graph.senders[:n])
        np.testing.assert_allclose(effects.patched[at : at + n], paths.patched[:, 0], atol=2e-5)
        at += n
    assert at == len(effects.patched)


def test_all_senders_together_give_the_receiver_its_input_of_the_other_run() -> None:
    """Every edge into a head's query at once is the query patched: two engines, one number."""
    model, task = random_model(CFG), small_task(CFG)
    graph = Graph(CFG)
    for kind in ("q", "k", "v"):
        receiver = f"2.1.{kind}"
        upstream = [s.name for s in graph.senders[: graph.n_upstream(graph.receiver(receiver))]]
        together = sweep_paths(model, task, [receiver], [upstream]).patched[0, 0]
        np.testing.assert_allclose(together, sweep(model, task, kind).patched[2, 1], atol=2e-5)


def test_the_two_conventions_differ_only_by_mlps() -> None:
    attn_only = CFG.replace(attn_only=True)
    for cfg, equal in ((attn_only, True), (CFG, False)):
        model, task = random_model(cfg), small_task(cfg)
        frozen, recomputed = (
            sweep_paths(model, task, ["logits"], mlps=mlps).patched
            for mlps in ("frozen", "recomputed")
        )
        assert np.allclose(frozen, recomputed, atol=1e-5) == equal


def test_some_receivers_are_the_same_edges_of_the_whole() -> None:
    model, task = random_model(CFG), small_task(CFG)
    whole = dict(zip(Graph(CFG).edge_names, sweep_edges(model, task).patched, strict=True))
    some = sweep_edges(model, task, ["logits", "1.2.k", "mlp0"])
    assert {label.split("->")[1] for label in some.axes[0].labels} == {"logits", "1.2.k", "mlp0"}
    for label, values in zip(some.axes[0].labels, some.patched, strict=True):
        np.testing.assert_allclose(values, whole[label], atol=1e-5)


def test_stopped_work_goes_on_where_it_was(tmp_path, monkeypatch) -> None:
    model, task = random_model(CFG), small_task(CFG)
    expected = sweep_edges(model, task).patched
    file = tmp_path / "edges.partial"

    class Stop(Exception):
        pass

    def stop(share: float) -> None:
        if share > 0.5:
            raise Stop

    with pytest.raises(Stop):
        sweep_edges(model, task, progress=stop, resume=file)
    assert file.exists()
    computed: list[str] = []
    run_unit = edges_module._Edges._run_unit

    def counted(self, batch, unit, *arguments) -> None:
        computed.extend(receiver.name for receiver in unit.receivers)
        run_unit(self, batch, unit, *arguments)

    monkeypatch.setattr(edges_module._Edges, "_run_unit", counted)
    found = sweep_edges(model, task, resume=file)
    assert 0 < len(computed) < len(Graph(CFG).receivers)
    assert np.array_equal(found.patched, expected)
    assert not file.exists()


def test_another_tasks_partial_result_is_refused(tmp_path) -> None:
    model, file = random_model(CFG), tmp_path / "edges.partial"

    def stop(share: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep_edges(model, small_task(CFG), progress=stop, resume=file)
    with pytest.raises(ValueError, match="holds part of another result"):
        sweep_edges(model, small_task(CFG, first=2), resume=file)
    file.write_bytes(b"nonsense")
    with pytest.raises(ValueError, match="does not hold a partial result"):
        sweep_edges(model, small_task(CFG), resume=file)


def test_progress_ends_at_one_and_never_falls() -> None:
    for run in (sweep_edges, lambda *a, **k: sweep_paths(*a, ["logits"], **k)):
        seen: list[float] = []
        run(random_model(CFG), small_task(CFG), progress=seen.append)
        assert seen == sorted(seen) and seen[-1] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("receivers", "senders", "change", "message"),
    [
        (["9.9.q"], None, {}, "no receiver '9.9.q'; receivers are 0.0.q, 0.1.q"),
        (["1.0"], None, {}, "is a head: say which of its inputs receives, 1.0.q"),
        (["logits"], ["0.9"], {}, "no sender '0.9'; senders are embed, 0.0 ... 2.3, mlp2"),
        (["1.0.q"], ["1.2"], {}, "1.2 writes after 1.0.q reads: there is no path"),
        (["mlp1"], ["mlp1"], {}, "mlp1 writes after mlp1 reads"),
        ([["logits", "1.0.q"]], None, {}, "would hide the others"),
        ([], None, {}, "list of receivers is empty"),
        ([[]], None, {}, "a set of senders or receivers is empty"),
        (["logits"], None, {"mlps": "both"}, "neither 'frozen' nor 'recomputed'"),
        (["logits"], None, {"mode": "both"}, "neither 'denoising' nor 'noising'"),
        (["logits"], None, {"positions": ["S9"]}, "no position 'S9'"),
    ],
)
def test_bad_input_is_one_clear_sentence(receivers, senders, change, message) -> None:
    with pytest.raises(ValueError, match=message):
        sweep_paths(random_model(CFG), small_task(CFG), receivers, senders, **change)


def stopped_at(model, task, file, share: float = 0.5, **options) -> None:
    def stop(done: float) -> None:
        if done > share:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep_edges(model, task, progress=stop, resume=file, **options)


def test_a_partial_result_belongs_to_all_that_it_depends_on(tmp_path, monkeypatch) -> None:
    model, task, file = random_model(CFG), small_task(CFG), tmp_path / "edges.partial"
    stopped_at(model, task, file)
    monkeypatch.setattr(precision, "has_bfloat16", lambda device: True)
    metric = dataclasses.replace(task.metric, wrong=task.metric.correct)
    kind = ProbabilityDifference(metric.positions, task.metric.correct, task.metric.wrong)
    for other_model, other_task, options in (
        (random_model(CFG, seed=1), task, {}),
        (model, dataclasses.replace(task, metric=metric), {}),
        (model, dataclasses.replace(task, metric=kind), {}),
        (model, task, {"mode": "noising"}),
        (model, task, {"precision": "bfloat16"}),
    ):
        with pytest.raises(ValueError, match="holds part of another result"):
            sweep_edges(other_model, other_task, resume=file, **options)
    assert sweep_edges(model, task, resume=file).patched.shape[0] == len(Graph(CFG).edge_names)


def test_a_unit_that_is_stopped_halfway_is_computed_again(tmp_path, monkeypatch) -> None:
    model, task, file = random_model(CFG), small_task(CFG), tmp_path / "edges.partial"
    real, calls = edges_module._Edges._to_heads, []

    def stop(self, *rest):
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return real(self, *rest)

    monkeypatch.setattr(edges_module._Edges, "_to_heads", stop)
    with pytest.raises(KeyboardInterrupt):
        sweep_edges(model, task, resume=file)
    found = sweep_edges(model, task, resume=file)
    assert np.array_equal(found.patched, sweep_edges(model, task).patched)


def test_the_file_stays_until_all_is_done_and_is_saved_on_the_way(tmp_path, monkeypatch) -> None:
    model, task, file = random_model(CFG), small_task(CFG), tmp_path / "edges.partial"
    monkeypatch.setattr(precision, "has_bfloat16", lambda device: True)
    monkeypatch.setattr(partial, "_SECONDS_BETWEEN_SAVES", 0.0)

    def fail(*arguments) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(edges_module, "_error", fail)
    with pytest.raises(KeyboardInterrupt):
        sweep_edges(model, task, precision="bfloat16", resume=file)
    assert file.exists()
    saved = []
    save = partial.PartialResult.save
    monkeypatch.setattr(
        partial.PartialResult, "save", lambda self: (saved.append(1), save(self))[1]
    )
    sweep_edges(model, task, resume=tmp_path / "other.partial")
    assert len(saved) > 5


def test_a_file_that_cannot_be_written_is_known_at_once(tmp_path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(ValueError, match="cannot be written"):
        sweep_edges(random_model(CFG), small_task(CFG), resume=folder)
