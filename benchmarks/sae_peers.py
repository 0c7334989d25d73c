"""Training steps of dictionaries elsewhere, each in a process of its own environment.

A worker builds its dictionary once, from the weights in the folder, and waits for numbers of
batches; it times its own steps. What runs is the peer's own code: its loss, backward pass, clipping
or normalising, and optimiser, without its logging. Its imports are here, inside its class.

    python sae_peers.py PEER FOLDER THREADS      (started by `Worker`, not by hand)
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import torch
from safetensors.torch import load_file
from torch import Tensor

_ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENTS = {
    "saelens": ".venv-peers-saelens",
    "saelens-sparse": ".venv-peers-saelens",
    "sparsify": ".venv-peers-sparsify",
}
LEARNING_RATE = 3e-4
LARGEST_NORM = 1.0
"""Gradients are clipped to it, as SAELens does."""


@dataclass(frozen=True)
class Setting:
    """What is trained, the same on both sides."""

    d_in: int
    d_features: int
    k: int
    n_rows: int
    n_dead: int = 0
    """The first so many features count as dead, so that the auxiliary loss has work."""


class SAELens:
    """`SAETrainer.step` on a `TopKTrainingSAE`."""

    options: ClassVar[dict[str, Any]] = {"rescale_acts_by_decoder_norm": True}

    def __init__(self, setting: Setting, weights: dict[str, Tensor]) -> None:
        from sae_lens import TopKTrainingSAE, TopKTrainingSAEConfig
        from sae_lens.config import SAETrainerConfig
        from sae_lens.training.sae_trainer import SAETrainer

        self.version = f"SAELens {version('sae-lens')}"
        sae = TopKTrainingSAE(
            TopKTrainingSAEConfig(
                d_in=setting.d_in,
                d_sae=setting.d_features,
                k=setting.k,
                apply_b_dec_to_input=True,
                **self.options,
            )
        )
        sae.load_state_dict(weights)
        cfg = SAETrainerConfig(
            total_training_samples=10**9,
            train_batch_size_samples=setting.n_rows,
            lr=LEARNING_RATE,
            lr_end=LEARNING_RATE,
        )
        self.trainer = SAETrainer(cfg, sae, data_provider=iter(()))
        self.n_dead = setting.n_dead

    def step(self, batch: Tensor) -> float:
        """One step; the squared error of a row before it."""
        self.trainer.n_forward_passes_since_fired[: self.n_dead] = 10**6
        output = self.trainer.step(batch)
        self.trainer.n_training_steps += 1
        return output.losses["mse_loss"].item()


class SAELensSparse(SAELens):
    """The same with its option for sparse activations, which has no gradient for decoder norms."""

    options: ClassVar[dict[str, Any]] = {
        "use_sparse_activations": True,
        "rescale_acts_by_decoder_norm": False,
    }

    def __init__(self, setting: Setting, weights: dict[str, Tensor]) -> None:
        super().__init__(setting, weights)
        self.version += ", sparse"


class Sparsify:
    """The step of sparsify's `Trainer`, which cannot be had without a language model: normalise
    decoder rows, backward, remove the gradient along them, and Adam (it offers Adam in 8 bits)."""

    def __init__(self, setting: Setting, weights: dict[str, Tensor]) -> None:
        from sparsify import SparseCoder, SparseCoderConfig

        self.version = f"sparsify {version('eai-sparsify')}"
        cfg = SparseCoderConfig(num_latents=setting.d_features, k=setting.k)
        self.sae = SparseCoder(setting.d_in, cfg)
        with torch.no_grad():
            self.sae.encoder.weight.copy_(weights["W_enc"].t())
            self.sae.encoder.bias.copy_(weights["b_enc"])
            self.sae.W_dec.copy_(weights["W_dec"])
            self.sae.b_dec.copy_(weights["b_dec"])
        self.optimizer = torch.optim.Adam(self.sae.parameters(), lr=LEARNING_RATE)
        self.dead = None
        if setting.n_dead:
            self.dead = torch.arange(setting.d_features) < setting.n_dead

    def step(self, batch: Tensor) -> float:
        """One step; the squared error of a row before it."""
        sae = self.sae
        sae.set_decoder_norm_to_unit_norm()
        out = sae(batch, dead_mask=self.dead)
        (out.fvu + out.auxk_loss / 32).backward()
        sae.remove_gradient_parallel_to_decoder_directions()
        self.optimizer.step()
        self.optimizer.zero_grad()
        variance = (batch - batch.mean(0)).square().sum() / len(batch)
        return (out.fvu * variance).item()


PEERS: dict[str, type[SAELens] | type[Sparsify]] = {
    "saelens": SAELens,
    "saelens-sparse": SAELensSparse,
    "sparsify": Sparsify,
}


@dataclass(frozen=True)
class Step:
    """What one step took, and the loss that it saw."""

    seconds: float
    cpu_seconds: float
    loss: float


class Worker:
    """A peer in a process of its own; while it waits, it uses no core."""

    def __init__(self, name: str, folder: Path) -> None:
        python = _ROOT / ENVIRONMENTS[name] / "bin" / "python"
        if not python.exists():
            raise FileNotFoundError(f"{ENVIRONMENTS[name]} is missing: `make peers` sets it up.")
        command = [python, __file__, name, folder, torch.get_num_threads()]
        self._process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "HF_HUB_OFFLINE": "1", "WANDB_MODE": "disabled"},
        )
        self.version: str = self._receive()["version"]

    def step(self, batch: int) -> Step:
        """Let it do one step on a batch, by number, and wait."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{batch}\n")
        self._process.stdin.flush()
        return Step(**self._receive())

    def _receive(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the worker ended early; its words are above.")
        received: dict[str, Any] = json.loads(line)
        return received

    def close(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.wait()


def _serve(name: str, folder: Path, n_threads: int) -> None:
    # What libraries print must not come between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    torch.set_num_threads(n_threads)
    setting = Setting(**json.loads((folder / "setting.json").read_text()))
    batches = load_file(folder / "batches.safetensors")["x"]  # [batch, row, d_in]
    peer = PEERS[name](setting, load_file(folder / "weights.safetensors"))

    def send(message: dict[str, Any]) -> None:
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    send({"version": peer.version})
    for line in sys.stdin:
        batch = batches[int(line)]
        cpu, start = time.process_time(), time.perf_counter()
        loss = peer.step(batch)
        seconds, used = time.perf_counter() - start, time.process_time() - cpu
        send({"seconds": seconds, "cpu_seconds": used, "loss": loss})


if __name__ == "__main__":
    _serve(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
