"""From a checkpoint to a model and back: the part of `HookedTransformer` that faces the disk."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor

from .config import ModelConfig
from .loading import Checkpoint, check_state, load_checkpoint, native
from .processing import process

if TYPE_CHECKING:
    from .tokenizer import Tokenizer


class Pretrained:
    """Loading, saving and identity of `HookedTransformer`."""

    cfg: ModelConfig
    tokenizer: Tokenizer | None

    if TYPE_CHECKING:

        @property
        def dtype(self) -> torch.dtype: ...

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | Path,
        *,
        fold_ln: bool = True,
        center_writing_weights: bool = True,
        center_unembed: bool = True,
        fold_value_biases: bool = True,
        refactor_factored_attn_matrices: bool = False,
        device: torch.device | str = "cpu",
        dtype: torch.dtype | str = torch.float32,
        revision: str | None = None,
        cfg: ModelConfig | None = None,
        tokenizer: Tokenizer | str | Path | None = None,
    ) -> Self:
        """Load a model by name or from a file or folder.

        As is the field's custom, the weights are processed so that they are easier to read. That
        never changes the log-probabilities (`from_pretrained_no_processing` loads them as they
        are); logits change by a constant per position if the unembedding is centred.

        Args:
            name_or_path: a model that is part of the package ("ioi-mini"), a folder or file, or a
                name on the Hugging Face Hub or its short form ("gpt2", "pythia-70m").
            fold_ln: move the norms' weights into the matrices that read from them.
            center_writing_weights: what is written to the residual stream has mean zero
                (LayerNorm subtracts the mean anyway; skipped for other norms).
            center_unembed: logits have mean zero over the vocabulary.
            fold_value_biases: move b_V into b_O (a pattern's rows sum to 1).
            refactor_factored_attn_matrices: write W_Q W_K^T and W_V W_O of each head by their
                singular values (see `processing.refactor_heads`).
            device: where the weights go.
            dtype: number format of the weights, whatever the file has.
            revision: branch, tag or commit on the hub, such as "step1000" for Pythia.
            cfg: for files that do not say what their shape is.
            tokenizer: in place of the checkpoint's own, or the path of one.

        Raises:
            LoadError: nothing is found there, or it cannot be read.

        Example:
            >>> model = HookedTransformer.from_pretrained("ioi-mini")
            >>> model.to_single_token(" Mary")  # doctest: +SKIP
        """
        # Folding is exact in float32 and not in half precision: the number format comes last.
        target = getattr(torch, dtype) if isinstance(dtype, str) else dtype
        working = torch.float64 if target == torch.float64 else torch.float32
        loaded = load_checkpoint(
            name_or_path, cfg=cfg, revision=revision, dtype=working, tokenizer=tokenizer
        )
        processed = process(
            loaded.cfg,
            loaded.state,
            fold_ln=fold_ln,
            center_writing_weights=center_writing_weights,
            center_unembed=center_unembed,
            fold_value_biases=fold_value_biases,
            refactor_factored_attn_matrices=refactor_factored_attn_matrices,
        )
        loaded = Checkpoint(*processed, loaded.tokenizer).to(target)
        return cls.from_state(loaded.cfg, loaded.state, loaded.tokenizer, device)

    @classmethod
    def from_pretrained_no_processing(cls, name_or_path: str | Path, **options: Any) -> Self:
        """`from_pretrained` with every weight as it is in the file."""
        off = ("fold_ln", "center_writing_weights", "center_unembed", "fold_value_biases")
        return cls.from_pretrained(name_or_path, **{**dict.fromkeys(off, False), **options})

    @classmethod
    def from_state(
        cls,
        cfg: ModelConfig,
        state: dict[str, Tensor],
        tokenizer: Tokenizer | None = None,
        device: torch.device | str = "cpu",
    ) -> Self:
        """A model with these weights, which are copied.

        Raises:
            LoadError: a weight is missing, unknown or of another shape than `cfg` asks for.
        """
        check_state(cfg, state, "the state dict")
        model: Any = cls(cfg, tokenizer=tokenizer, seed=None, device=device)  # type: ignore[call-arg]
        model.load_state_dict(state)
        return model  # type: ignore[no-any-return]

    def save_pretrained(self, folder: str | Path) -> None:
        """Write config.json, model.safetensors and tokenizer.json; `from_pretrained` reads them.

        Raises:
            FileExistsError: the folder holds something else than an earlier model of ours.
        """
        native.save(self.to_checkpoint(), Path(folder))

    def to_checkpoint(self) -> Checkpoint:
        """Configuration, weights (not copied) and tokenizer of this model."""
        dtype = str(self.dtype).removeprefix("torch.")  # `.to` may have changed it since
        state: dict[str, Tensor] = self.state_dict()  # type: ignore[attr-defined]
        return Checkpoint(self.cfg.replace(dtype=dtype), state, self.tokenizer)

    @property
    def digest(self) -> str:
        """SHA-256 of the configuration (without the name) and the weights, sorted by name."""
        checkpoint = self.to_checkpoint()
        config = checkpoint.cfg.replace(model_name="").to_dict()
        hasher = hashlib.sha256(json.dumps(config, sort_keys=True).encode())
        for name, value in sorted(checkpoint.state.items()):
            hasher.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            data = value.detach().cpu().contiguous().flatten().view(torch.uint8)
            hasher.update(data.numpy().data)
        return hasher.hexdigest()
