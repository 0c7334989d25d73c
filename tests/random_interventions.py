"""Hypothesis strategies: random interventions for random models and tasks."""

from __future__ import annotations

import torch
from hypothesis import strategies as st

from cutaway.model.config import ModelConfig
from cutaway.patching import values as put
from cutaway.patching.edits import Intervention
from cutaway.patching.sites import SITES
from cutaway.tasks.task import Task
from oracles import NEURON_SITES, SQUARE_SITES, n_units


def available(cfg: ModelConfig) -> list[str]:
    """The sites that models of this shape have."""
    return [name for name, site in SITES.items() if site.missing_in(cfg) is None]


@st.composite
def values(draw: st.DrawFn, site: str, width: int) -> put.Value:
    """Any kind of value; vectors have the width of the site's last axis (0: numbers only)."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 1000)))
    vector = torch.randn(width, generator=generator)
    plain = [put.Patch(), put.Zero(), put.Mean(), put.Scale(0.5), put.Freeze()]
    plain += [put.Constant(0.3), put.Add(-0.2)]
    if width > 0:
        plane = torch.randn(min(2, width), width, generator=generator)
        plain += [put.Add(vector), put.Constant(vector)]
        plain += [put.Remove(vector), put.Keep(plane), put.Exchange(plane)]
        plain += [put.Affine(torch.outer(vector, vector) / width, 0.1 * vector)]
    return draw(st.sampled_from(plain))


def last_axis(cfg: ModelConfig, site: str) -> int:
    """Numbers along the last axis of a site's values, where that is the same in every cone."""
    if site in ("z", "q", "k", "v"):
        return cfg.d_head
    return 0 if site in (*NEURON_SITES, *SQUARE_SITES) else cfg.d_model


@st.composite
def interventions(draw: st.DrawFn, cfg: ModelConfig, task: Task) -> list[Intervention]:
    """Up to four interventions for one run, at any sites, layers, units and positions."""
    pool = [draw(one_intervention(cfg, task)) for _ in range(draw(st.integers(1, 3)))]
    return draw(st.lists(st.sampled_from(pool), min_size=1, max_size=4))  # also twice the same


@st.composite
def one_intervention(draw: st.DrawFn, cfg: ModelConfig, task: Task) -> Intervention:
    """Any intervention that the model and the task allow."""
    site = draw(st.sampled_from(available(cfg)))
    layer = 0 if site in ("embed", "pos_embed") else draw(st.integers(0, cfg.n_layers - 1))
    n = n_units(cfg, site)
    units = None
    if n is not None:
        some = st.lists(st.integers(0, n - 1), min_size=1, max_size=3)
        units = draw(st.one_of(st.none(), st.integers(0, n - 1), some))
    index = st.integers(0, task.clean.shape[1] - 1)
    names = st.sampled_from(list(task.positions))
    places = st.one_of(st.none(), index, names, st.lists(st.one_of(index, names), min_size=1))
    keys = draw(places) if site in SQUARE_SITES else None
    value = draw(values(site, last_axis(cfg, site)))
    return Intervention(site, layer, value, units, draw(places), keys)
