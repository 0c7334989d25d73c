"""Roles of heads in indirect object identification, on models whose roles are written down."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch

import cutaway as ca
from cutaway.circuits.known import KNOWN, KnownModel, KnownSettings
from cutaway.circuits.known import ioi as written
from cutaway.circuits.known.building import (
    Read,
    Recipe,
    Term,
    WrittenHead,
    indicator,
    only,
    write_model,
)
from cutaway.circuits.known.parts import rest_at_bos
from cutaway.heads.find_roles import head_roles
from cutaway.heads.name_copying import name_copy_scores
from cutaway.heads.roles import ROLES, HeadRoles

BACKUP = "3.1"


@cache
def known(sharpness: float = 30.0, seed: int = 0) -> KnownModel:
    return KNOWN["ioi"](seed, KnownSettings(sharpness=sharpness))


@cache
def roles_of_known() -> HeadRoles:
    one = known()
    return head_roles(one.model, one.tasks["s2-flip"], one.tasks["abc"])


def slow_direct(model: ca.HookedTransformer, task: ca.Task, hooks=()) -> np.ndarray:
    """[layer, head, prompt], head by head, in a model without a final norm."""
    with model.hooks(list(hooks)):
        _, values = model.run_with_cache(task.clean)
    found = []
    for layer, block in enumerate(model.blocks):
        for head in range(model.cfg.n_heads):
            rows = []
            for p in range(len(task)):
                z = values["z", layer][p, task.positions["END"][p], head]
                logits = z @ block.attn.W_O[head] @ model.W_U
                rows.append(float(logits[task.correct[p]] - logits[task.wrong[p]]))
            found.append(rows)
    return np.array(found).reshape(model.cfg.n_layers, model.cfg.n_heads, -1)


# ---- written models ----


@pytest.mark.parametrize(("sharpness", "seed"), [(30.0, 0), (30.0, 1), (3.0, 0), (3.0, 2)])
@pytest.mark.parametrize("corruption", ["s2-flip", "abc"])
def test_the_roles_of_the_written_model_are_found_and_no_others(
    sharpness, seed, corruption
) -> None:
    one = known(sharpness, seed)
    found = head_roles(one.model, one.tasks[corruption], one.tasks["abc"], n_random=2, seed=seed)
    expected = {head: (role,) for head, role in one.roles.items() if role in ROLES}
    assert found.roles == expected and len(expected) == 3
    assert found.movers == ("2.0",)


@torch.no_grad()
def test_direct_contributions_are_those_of_a_loop_with_and_without_the_movers() -> None:
    one, found = known(), roles_of_known()
    task, reference = one.tasks["s2-flip"], one.tasks["abc"]
    np.testing.assert_allclose(found.direct, slow_direct(one.model, task), atol=1e-4)
    assert found.direct[2, 0].mean() == pytest.approx(16, abs=1e-3)  # the logit scale
    assert found.direct[2, 3].mean() == pytest.approx(-4, abs=1e-3)
    _, other = one.model.run_with_cache(reference.corrupted)
    mean = other["z", 2][:, :, 0].mean(0)  # all prompts are of one group

    def put(z: torch.Tensor, hook: object) -> torch.Tensor:
        z = z.clone()
        z[:, :, 0] = mean
        return z

    expected = slow_direct(one.model, task, [("blocks.2.attn.hook_z", put)])
    np.testing.assert_allclose(found.direct_without, expected, atol=1e-4)


def test_what_the_movers_hear_is_path_patching_into_their_queries() -> None:
    one, found = known(), roles_of_known()
    paths = ca.sweep_paths(
        one.model, one.tasks["s2-flip"], ["2.0.q"], ["1.2", "1.0"], mode="noising"
    )
    np.testing.assert_allclose(found.through[1, [2, 0]], paths.per_prompt[:, 0], atol=1e-5)
    assert found.through_share()[0][1, 2] == pytest.approx(4 / 3, abs=1e-3)
    assert np.isnan(found.through[2]).all()  # heads beside the mover cannot tell it anything


def test_copy_scores_tell_the_mover_from_its_negative() -> None:
    one = known()
    up = name_copy_scores(one.model, one.tasks["s2-flip"]).mean(-1)
    down = name_copy_scores(one.model, one.tasks["s2-flip"], sign=-1).mean(-1)
    assert up[2, 0] == 1 and down[2, 0] == 0
    assert up[2, 3] == 0 and down[2, 3] == 1
    assert float(up[0].max()) < 0.5  # one of seventeen tokens by chance, if anything is raised


# ---- a backup head, written ----


@cache
def with_backup(seed: int = 0) -> ca.HookedTransformer:
    """The IOI model with a head of layer 3 that moves the name that nobody has written yet."""
    base = written.recipe()
    sharpness, n = 30.0, base.n_vocab
    name, a_name = only(n, written.NAMES), indicator(n, written.NAMES)
    backup = WrittenHead(
        attend=(
            Term(key=Read("token", a_name), strength=2 * sharpness),
            Term(query=Read("inhibit"), key=Read("token"), strength=-2 * sharpness),
            Term(query=Read("output"), key=Read("token"), strength=-4 * sharpness),
            rest_at_bos(n, sharpness),
        ),
        value=Read("token", name),
        into="output",
    )
    recipe = Recipe(
        name="known-ioi-with-backup",
        n_layers=4,
        n_vocab=n,
        n_ctx=base.n_ctx,
        heads={**base.heads, BACKUP: backup},
        unembed=base.unembed,
        further_spaces=base.further_spaces,
    )
    return write_model(recipe, seed)


@pytest.mark.parametrize("knock_out", ["mean", "zero"])
def test_a_backup_head_is_found_by_what_it_does_without_the_movers(knock_out) -> None:
    one = known()
    found = head_roles(with_backup(), one.tasks["s2-flip"], one.tasks["abc"], knock_out)
    assert found.roles[BACKUP] == ("backup name mover",)
    assert set(found.roles) == {BACKUP, "1.2", "2.0", "2.3"}
    assert abs(found.direct[3, 1].mean()) < 1e-3 < 8 < found.direct_without[3, 1].mean()
    # Heads drawn at random in the movers' place wake it less, or not at all.
    control = found.direct_without_random[:, 3, 1]
    assert len(control) == 5 and control.mean() < 0.5 * found.direct_without[3, 1].mean()


# ---- what has no roles ----


def test_a_model_that_fails_the_task_has_no_roles() -> None:
    one = known()
    fresh = ca.HookedTransformer(one.model.cfg, seed=1)
    found = head_roles(fresh, one.tasks["s2-flip"], n_random=1)
    assert not found.does_task and found.roles == {}
    assert all(row["roles"] == "" for row in found.to_frame())


def test_ioi_mini_does_the_task_without_name_movers() -> None:
    model = ca.HookedTransformer.from_pretrained("ioi-mini")
    found = head_roles(model, ca.tasks.ioi(model, 16), n_random=1)
    assert found.does_task and found.roles == {} and found.movers == ()
    assert np.isnan(found.through).all() and np.isnan(found.direct_without).all()
    # 1.2 looks at S2 and lowers its name; 3.6 writes the answer and looks at neither.
    assert found.looks[2, 1, 2].mean() > 0.6 and found.lowers[1, 2].mean() == 1
    share, low, _ = found.share(found.direct)
    assert share[1, 2] == pytest.approx(0.425, abs=0.03) and low[3, 6] > 0.15


def test_another_task_is_refused() -> None:
    one = KNOWN["induction"](0)
    with pytest.raises(ValueError, match="names no position IO, S1, S2"):
        head_roles(one.model, one.tasks["key"])
    with pytest.raises(ValueError, match="neither 'mean' nor 'zero'"):
        head_roles(known().model, known().tasks["abc"], knock_out="median")


def test_roles_are_the_same_after_saving(tmp_path) -> None:
    found = roles_of_known()
    found.save(tmp_path / "roles.safetensors")
    again = HeadRoles.load(tmp_path / "roles.safetensors")
    assert again.roles == found.roles and again.accuracy == found.accuracy
    assert again.to_frame()[-1]["direct"] == found.to_frame()[-1]["direct"]
    with pytest.raises(ValueError, match="there is no file"):
        HeadRoles.load(tmp_path / "none.safetensors")
