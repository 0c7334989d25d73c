"""`attribute`: what gradients say that replacing a value would do, for every site of a sweep.

Attribution patching (Nanda 2023; Kramár et al. 2024) is activation patching to first
order: where a sweep runs the model again with a value replaced, this takes the change of the
value times the metric's gradient. Two runs forward and one backward give every layer, head,
neuron and position at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

import torch
from jaxtyping import Float
from torch import Tensor

from ..model.transformer import HookedTransformer
from ..patching.effects import Effects, Mode
from ..patching.measure import Progress, TellMemory, attachments
from ..patching.memory import recorded_width
from ..patching.site import Site
from ..patching.sites import check_layers, get_site
from ..patching.targets import Positions, Targets, axes_of, choose_targets
from ..tasks.task import Task
from .batches import Estimate, estimated_effects, run_bytes
from .gradients import Gradient, PairedRuns, Point, Window, points_between


@torch.no_grad()
def attribute(
    model: HookedTransformer,
    task: Task,
    site: str | Site,
    *,
    positions: Positions = None,
    mode: Mode = "denoising",
    layers: Sequence[int] | None = None,
    gradient: Gradient = "base",
    steps: int = 5,
    max_memory: int | None = None,
    progress: Progress | None = None,
    tell_memory: TellMemory | None = None,
) -> Effects:
    """Estimate what a sweep over the same site measures, by gradients.

    The estimate of an intervention is

        sum of (source - base) * d metric / d value

    over the elements that it replaces, where base is the run that is patched and source the one
    that values come from (Nanda 2023). It equals the exact effect where everything after the
    site is linear, and is the worse the further the two values lie apart.

    Args:
        model: without hooks attached.
        task: pairs of clean and corrupted prompts, and a metric that can be differentiated.
        site: as in `sweep`: "resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out",
            "embed", "pos_embed"; "z", "result", "q", "k", "v", "pattern", "attn_scores" (by
            head); "mlp_pre", "mlp_post" (by neuron); or a `Site` of one's own.
        positions: as in `sweep`.
        mode: "denoising" has the corrupted run as base; "noising" the clean one.
        layers: which layers; None means all.
        gradient: where it is taken. "base" is in the base run; "both-ends" the mean of base and
            source run; "integrated" the mean over `steps` runs whose token embeddings lie
            between the two, at (k + 1/2) / steps of the way (integrated gradients; Sundararajan,
            Taly and Yan 2017, section 3; Hanna, Pezzelle and Belinkov 2024). The integrated
            estimates of "embed" over all positions add up to the whole difference of the two
            runs, if steps are many.
        steps: of "integrated"; no other gradient looks at it.
        max_memory: bytes that may be used; None means a quarter of what is free.
        progress: called with the share that is done, between 0 and 1.
        tell_memory: called before anything is run, with the bytes that will be held at most
            beside the weights.

    Returns:
        Effects with the axes of the same `sweep`; `patched` is the base run's metric plus the
        estimate, in the metric's unit, so sign and normalisation are those of exact effects.

    Raises:
        ValueError: unknown site, layer, position or gradient; hooks attached; a metric without
            gradient; too little memory.

    Example:
        >>> heads = ca.attribute(model, task, "z")
        >>> neurons = ca.attribute(model, task, "mlp_post", gradient="integrated")
    """
    chosen = get_site(site, model.cfg)
    points = points_between(gradient, steps)
    at_layers = check_layers(model.cfg, chosen, layers)
    if positions is None and chosen.unit_axis(model.cfg) is not None:
        positions = "all"
    targets = choose_targets(task, positions)
    estimator = _Nodes(model, chosen, at_layers, targets, points)
    settings = {"positions": targets.kind, "estimate": "attribution", "gradient": gradient}
    return estimated_effects(
        model,
        task,
        site=chosen.name,
        axes=axes_of(model.cfg, chosen, at_layers, targets),
        mode=mode,
        per_prompt=run_bytes(model, task) + estimator.site_bytes(task),
        max_memory=max_memory,
        progress=progress,
        tell_memory=tell_memory,
        estimate=estimator,
        settings={**settings, "steps": steps} if gradient == "integrated" else settings,
    )


class _Nodes:
    """Estimates at one site of some layers."""

    def __init__(
        self,
        model: HookedTransformer,
        site: Site,
        layers: list[int],
        targets: Targets,
        points: tuple[Point, ...],
    ) -> None:
        # What a head writes is linear in its z: the estimates are the same, and z is smaller.
        self.site = get_site("z", model.cfg) if site.name == "result" else site
        self.model, self.targets, self.points = model, targets, points
        self.hooks = [self.site.hook(model.cfg, layer) for layer in layers]
        self.attachments = attachments([self.site])

    def site_bytes(self, task: Task) -> int:
        """Bytes of one prompt's values at the site, their changes and gradients."""
        window = Window.of(task, slice(0, len(task)))
        cfg, hooks = self.model.cfg, dict.fromkeys(self.hooks)
        own = {hook: n for one in self.attachments for hook, n in one.widths(cfg).items()}
        width = sum(own.get(hook) or recorded_width(cfg, hook, window.end) for hook in hooks)
        n_results = len(self.hooks) * self.site.units(cfg) * len(self.targets)
        size = max(torch.empty((), dtype=self.model.dtype).element_size(), 4)
        return size * (5 * width * len(window) + 4 * n_results)

    def __call__(self, pair: PairedRuns, report: Progress) -> Estimate:
        with ExitStack() as stack:
            for one in self.attachments:
                stack.enter_context(one.attached(self.model))
            return self._estimate(pair, report)

    def _estimate(self, pair: PairedRuns, report: Progress) -> Estimate:
        hooks = list(dict.fromkeys(self.hooks))
        # The two embeddings are added: their gradients are one.
        at = ["hook_embed" if hook == "hook_pos_embed" else hook for hook in hooks]
        keep = [*hooks, *at]
        source = pair.source(hooks)
        base = pair.between(0.0, keep) if self.points[0].share == 0 else pair.base(hooks)
        change = {hook: pair.change(hook, base, source) for hook in hooks}
        total: dict[str, Tensor] = {}
        for i, point in enumerate(self.points):
            run = base if point.share == 0 else pair.between(point.share, keep)
            for hook, found in zip(hooks, run.gradients(at).values(), strict=True):
                part = self._fold(change[hook] * found) * point.weight
                total[hook] = total[hook] + part if hook in total else part
            report((i + 1) / len(self.points))
        estimates = torch.stack([self._at_targets(total[hook], pair) for hook in self.hooks])
        return Estimate(estimates, base.metric.detach(), source.metric)

    def _fold(self, product: Tensor) -> Float[Tensor, "prompt unit window"]:
        """Sum over all but prompts, units and positions."""
        axes = ("prompt", *self.site.axes)
        if product.ndim != len(axes):
            raise RuntimeError(f"{self.site.name} has the axes {axes}, its values {product.shape}.")
        rest = [i for i, axis in enumerate(axes) if axis not in ("prompt", "unit", "position")]
        left = [axis for axis in axes if axis in ("prompt", "unit", "position")]
        product = product.sum(rest) if rest else product
        if "unit" not in left:
            return product[:, None]
        return product if left.index("unit") == 1 else product.transpose(1, 2)

    def _at_targets(
        self, estimates: Float[Tensor, "prompt unit window"], pair: PairedRuns
    ) -> Float[Tensor, "unit option prompt"]:
        """The estimates at the positions that are replaced; 0 outside the window."""
        if self.targets.index is None:
            return estimates.sum(-1).T[:, None]
        window = pair.window
        index = self.targets.index[:, pair.prompts].T.to(estimates.device)  # [prompt, option]
        inside = (index >= window.start) & (index < window.end)
        index = (index - window.start).clamp(0, len(window) - 1)
        index = index[:, None].expand(-1, estimates.shape[1], -1)
        found = estimates.gather(2, index) * inside[:, None]
        return found.permute(1, 2, 0)
