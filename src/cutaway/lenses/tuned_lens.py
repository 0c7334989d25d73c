"""`TunedLens`: an affine translator for each point, so that early layers are read in their own
basis (Belrose et al. 2023)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..array_files import load_arrays, save_arrays
from ..model.config import ModelConfig
from ..model.transformer import HookedTransformer
from ..tasks.task import Task
from .logit_lens import read_points
from .places import Followed, Positions, places_of
from .points import LensPoint, lens_points
from .readings import LensReadings

_KIND = "a tuned lens"
NAME = "tuned lens"


class Translators(nn.Module):
    """x + x A + b at each point but the last, whose stream needs no translation.

    A and b are zero at first, so that the lens begins as the logit lens; weight decay on A pulls
    it back there, and not towards reading nothing.
    """

    def __init__(self, cfg: ModelConfig, mid: bool = False) -> None:
        super().__init__()
        self.points = lens_points(cfg, mid)
        n_translated = len(self.points) - 1
        # Names as the training loop knows them: b is a vector and does not decay.
        self.A = nn.Parameter(torch.zeros(n_translated, cfg.d_model, cfg.d_model))
        self.b = nn.Parameter(torch.zeros(n_translated, cfg.d_model))

    def forward(self, point: int, x: Float[Tensor, "row d_model"]) -> Float[Tensor, "row d_model"]:
        """The stream of point `point` in the last one's basis."""
        if point == len(self.points) - 1:
            return x
        return x + torch.addmm(self.b[point], x, self.A[point])


@dataclass(frozen=True, eq=False)
class TunedLens:
    """A trained lens, bound to the model that it was trained for.

    Example:
        >>> lens = train_tuned_lens(model, batches)
        >>> lens.read(model, task).mean_kl()
        >>> lens.save("lens.safetensors")
    """

    translators: Translators
    digest: str
    """Of the model whose output it was trained to predict."""
    model: str = ""
    """That model's name."""
    settings: dict[str, Any] = field(default_factory=dict)
    """How it was trained."""

    @classmethod
    def untrained(cls, model: HookedTransformer, mid: bool = False) -> TunedLens:
        """Identity and zero: this lens reads what the logit lens reads."""
        translators = Translators(model.cfg, mid).to(model.device, model.dtype)
        return cls(translators, model.digest, model.cfg.model_name)

    @property
    def points(self) -> tuple[LensPoint, ...]:
        """Where it reads."""
        return self.translators.points

    def read(
        self,
        model: HookedTransformer,
        prompts: Task | Int[Tensor, "prompt pos"],
        *,
        top: int = 5,
        positions: Positions | None = None,
        follow: Mapping[str, Followed] | None = None,
        seed: int = 0,
        stream: HookedTransformer | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> LensReadings:
        """As `logit_lens`, each point translated first.

        Args:
            model: the one it was trained for.
            prompts: as in `logit_lens`.
            top: as in `logit_lens`.
            positions: as in `logit_lens`.
            follow: as in `logit_lens`.
            seed: as in `logit_lens`.
            stream: of a lens that was trained on another model's stream: that model.
            progress: as in `logit_lens`.

        Raises:
            ValueError: another model than the one it was trained for; what `logit_lens` refuses.
        """
        self.check_fits(model)
        places = places_of(model, prompts, positions, follow, seed)
        return read_points(
            model, places, self.points, self.translators, NAME, top, stream, progress
        )

    def check_fits(self, model: HookedTransformer) -> None:
        """Raise if the lens was trained for other weights.

        Raises:
            ValueError: the digests differ.
        """
        if self.digest != model.digest:
            raise ValueError(
                f"this tuned lens was trained for {self.model or 'a model'} with the digest "
                f"{self.digest[:12]}, and {model.cfg.model_name} as it is loaded here has "
                f"{model.digest[:12]}: train one for it."
            )

    def save(self, path: str | Path) -> None:
        """Write one safetensors file: the translators, and as JSON in its header the model's
        digest and how the lens was trained."""
        arrays = {
            name: value.detach().float().cpu().numpy()
            for name, value in self.translators.named_parameters()
        }
        described = {
            "digest": self.digest,
            "model": self.model,
            "points": [point.label for point in self.points],
            "settings": self.settings,
        }
        save_arrays(path, _KIND, arrays, described)

    @classmethod
    def load(cls, path: str | Path, model: HookedTransformer) -> TunedLens:
        """The inverse of `save`.

        Raises:
            ValueError: there is no such file, it is not a tuned lens, or it is another model's.
        """
        arrays, described = load_arrays(path, _KIND)
        labels = described["points"]
        translators = Translators(model.cfg, mid=any(x.endswith(".mid") for x in labels))
        lens = cls(translators, described["digest"], described["model"], described["settings"])
        lens.check_fits(model)  # before shapes, which would say it less well
        translators.load_state_dict({name: torch.from_numpy(v) for name, v in arrays.items()})
        translators.to(model.device, model.dtype)
        return lens
