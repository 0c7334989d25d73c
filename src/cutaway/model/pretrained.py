"""From a checkpoint to a model and back: the part of `HookedTransformer` that faces the disk."""

from __future__ import annotations

import copy
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, get_args

import torch
from torch import Tensor

from .config import ModelConfig, NumberFormat
from .loading import Checkpoint, check_state, load_checkpoint, native
from .processing import process
from .text import PaddingSide

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
        fold_ln: bool = True,
        center_writing_weights: bool = True,
        center_unembed: bool = True,
        refactor_factored_attn_matrices: bool = False,
        *,
        fold_value_biases: bool = True,
        device: torch.device | str | None = "cpu",
        dtype: torch.dtype | str = torch.float32,
        revision: str | None = None,
        cfg: ModelConfig | None = None,
        tokenizer: Tokenizer | str | Path | None = None,
        default_prepend_bos: bool | None = None,
        default_padding_side: PaddingSide | None = None,
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
            refactor_factored_attn_matrices: write W_Q W_K^T and W_V W_O of each head by their
                singular values (see `processing.refactor_heads`).
            fold_value_biases: move b_V into b_O (a pattern's rows sum to 1).
            device: where the weights go; None is the CPU.
            dtype: number format of the weights, whatever the file has.
            revision: branch, tag or commit on the hub, such as "step1000" for Pythia.
            cfg: for files that do not say what their shape is.
            tokenizer: in place of the checkpoint's own, or the path of one.
            default_prepend_bos: whether BOS is put before text; None leaves it to the checkpoint.
            default_padding_side: where shorter texts are padded; None leaves it to the tokenizer.

        Raises:
            LoadError: nothing is found there, or it cannot be read.
            ValueError: the device or the dtype does not exist.

        Example:
            >>> model = HookedTransformer.from_pretrained("ioi-mini")
            >>> model.to_single_token(" Mary")  # doctest: +SKIP
        """
        # Folding is exact in float32 and not in half precision: the number format comes last.
        target, device = number_format(dtype), usable_device(device or "cpu")
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
        if default_prepend_bos is not None:
            loaded.cfg.default_prepend_bos = default_prepend_bos
        if default_padding_side is not None and loaded.tokenizer is not None:
            loaded.tokenizer = copy.copy(loaded.tokenizer)  # it may be the caller's
            loaded.tokenizer.padding_side = default_padding_side
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
        model: Any = cls(cfg, tokenizer, device=device, init_weights=False)  # type: ignore[call-arg]
        model.load_state_dict(state)
        return model  # type: ignore[no-any-return]

    def fresh(self, seed: int = 0) -> Self:
        """A model of the same shape with weights that were never trained: a control for much.

        Example:
            >>> model.fresh(seed=1).cfg == model.cfg
            True
        """
        made: Any = type(self)
        return made(self.cfg, self.tokenizer, seed=seed, device=self.device)  # type: ignore[no-any-return, attr-defined]

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


def number_format(dtype: torch.dtype | str) -> torch.dtype:
    """A dtype by itself or by its name. Raises ValueError if models do not have it."""
    name = str(dtype).removeprefix("torch.")
    name = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}.get(name, name)
    if name not in get_args(NumberFormat):
        raise ValueError(
            f"dtype={name!r} is unknown; it can be {', '.join(get_args(NumberFormat))}."
        )
    return getattr(torch, name)  # type: ignore[no-any-return]


def usable_device(device: torch.device | str) -> torch.device:
    """A device that is there. Raises ValueError if it is not, or if there is none of that name."""
    try:
        found = torch.device(device)
    except RuntimeError as fault:
        raise ValueError(f"device={device!r} is unknown; it can be cpu, cuda or mps.") from fault
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(found.type, True):
        raise ValueError(
            f"device={str(found)!r} cannot be used here: torch finds none; take 'cpu'."
        )
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"device={str(found)!r} is not there: torch finds {torch.cuda.device_count()}."
        )
    return found
