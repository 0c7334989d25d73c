"""Training: Cutaway's model and loop beside nanoGPT's, written plainly in torch (plain_gpt.py).

One step of ours and one of the peer's in turn, in one process, on random characters. Ours is the
loop of `cutaway train` itself: batches drawn from a seed and the step, hook points everywhere,
losses reported. A ratio is that of one pair of steps; the table gives medians, and in brackets the
quartiles of the ratios. First both train from the same weights on the same batches, and the losses
are compared.

    python benchmarks/train.py
    python benchmarks/train.py --threads 1 --steps 200 --shapes small
    python benchmarks/train.py --number-format bfloat16 --peer-format float32
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from common import Column, Table, machine, note, save
from cutaway.model.config import ModelConfig
from cutaway.model.transformer import HookedTransformer
from cutaway.training.characters import open_text
from cutaway.training.config import TrainConfig
from cutaway.training.evaluation import NextTokenLoss
from cutaway.training.run import loss_parts
from cutaway.training.settings import TrainSettings
from cutaway.training.source import Source
from cutaway.training.trainer import Watch, run_loop
from plain_gpt import PlainGPT, PlainTraining

SHAPES = {"small": (4, 4, 128, 64), "large": (6, 6, 384, 128)}
N_CHARACTERS, N_TEXT = 65, 200_000
N_COMPARED = 10


def options() -> argparse.Namespace:
    made = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    made.add_argument("--shapes", nargs="+", default=list(SHAPES), choices=list(SHAPES))
    made.add_argument("--batch", type=int, default=12, help="sequences per step")
    made.add_argument("--steps", type=int, help="pairs of steps; default 150 and 30")
    made.add_argument("--threads", type=int, help="default: as torch chooses")
    made.add_argument("--number-format", default="float32", choices=["float32", "bfloat16"])
    made.add_argument("--peer-format", choices=["float32", "bfloat16"], help="default: the same")
    made.add_argument("--out", type=Path, help="also write the rows as JSON")
    return made.parse_args()


class Bench:
    """One shape: both models, both loops."""

    def __init__(self, name: str, chosen: argparse.Namespace) -> None:
        layers, heads, width, n_ctx = SHAPES[name]
        generator = torch.Generator().manual_seed(0)
        drawn = torch.randint(N_CHARACTERS, (N_TEXT,), generator=generator) + 33
        text = "".join(map(chr, drawn.tolist()))
        self.n_steps = chosen.steps or (150 if name == "small" else 30)
        self.config = TrainConfig.from_dict(
            {
                "name": name,
                "model": {
                    "n_layers": layers,
                    "n_heads": heads,
                    "d_model": width,
                    "n_ctx": n_ctx,
                    "act_fn": "gelu",
                    "tie_word_embeddings": True,
                    **dict.fromkeys(("qkv_bias", "attn_out_bias", "mlp_bias", "norm_bias"), False),
                },
                "train": {
                    "n_steps": self.n_steps + 5,
                    "batch_size": chosen.batch,
                    "warmup_steps": 0,
                    "learning_rate": 1e-3,
                    "final_share": 1.0,
                    "beta2": 0.99,
                    "number_format": chosen.number_format,
                },
            }
        )
        self.source: Source = open_text(text, n_ctx, 0.1, seed=0)
        self.plain = PlainGPT(layers, heads, width, n_ctx, N_CHARACTERS)
        self.model = HookedTransformer(self.config.model_config(N_CHARACTERS))
        self.model.load_state_dict(translated(self.plain, self.model.cfg))
        rounded = (chosen.peer_format or chosen.number_format) == "bfloat16"
        self.peer = PlainTraining(self.plain, drawn - 33, chosen.batch, 1e-3, rounded)

    def row(self) -> dict[str, Any]:
        """Both timed, step by step in turn."""
        difference = self.compared()
        ours: list[float] = []
        theirs: list[float] = []
        since = time.perf_counter()

        def after(step: int) -> None:
            nonlocal since
            ours.append(time.perf_counter() - since)
            start = time.perf_counter()
            self.peer.step()
            theirs.append(time.perf_counter() - start)
            since = time.perf_counter()

        loss = NextTokenLoss(self.model, self.config.train.number_format)
        parts = loss_parts(self.config, self.source, self.model, loss)
        run_loop(
            self.model, parts, self.config.train, watch=Watch(lambda report: None, after=after)
        )
        ours, theirs = ours[5:], theirs[5:]  # the first steps warm up
        tokens = self.config.train.batch_size * self.config.n_ctx
        ratios = sorted(b / a for a, b in zip(ours, theirs, strict=True))
        low, ratio, high = statistics.quantiles(ratios, n=4)
        cfg = self.model.cfg
        return {
            "shape": f"{cfg.n_layers}/{cfg.n_heads}/{cfg.d_model}, {cfg.n_ctx}",
            "batch": self.config.train.batch_size,
            "format": self.config.train.number_format,
            "threads": torch.get_num_threads(),
            "pairs": len(ours),
            "ours": tokens / statistics.median(ours),
            "plain": tokens / statistics.median(theirs),
            "ratio": ratio,
            "quartiles": (low, high),
            "difference": difference,
        }

    def compared(self) -> float:
        """The largest difference of the losses over some steps on the same batches."""
        chosen = TrainSettings(
            **{**vars(self.config.train), "n_steps": N_COMPARED, "number_format": "float32"}
        )
        config = self.config.replace(train=chosen)
        seen: list[float] = []
        watch = Watch(lambda report: seen.append(report.loss), report_every=1)
        parts = loss_parts(config, self.source, self.model, NextTokenLoss(self.model))
        run_loop(self.model, parts, chosen, watch=watch)
        was, self.peer.rounded = self.peer.rounded, False
        theirs = []
        for step in range(N_COMPARED):
            rows = self.source.rows(step, chosen.batch_size)
            theirs.append(float(self.peer.step((rows[:, :-1], rows[:, 1:].contiguous()))))
        self.peer.rounded = was
        return max(abs(a - b) for a, b in zip(seen, theirs, strict=True))


def translated(plain: PlainGPT, cfg: ModelConfig) -> dict[str, Tensor]:
    """The peer's weights under our names."""
    state = {
        "embed.W_E": plain.tokens.weight,
        "pos_embed.W_pos": plain.positions.weight,
        "ln_final.w": plain.norm.weight,
    }
    heads = (cfg.n_heads, cfg.d_head, cfg.d_model)
    for at, block in enumerate(plain.blocks):
        qkv = block.attention.qkv.weight.chunk(3)
        for name, weight in zip("QKV", qkv, strict=True):
            state[f"blocks.{at}.attn.W_{name}"] = weight.view(heads).transpose(1, 2)
        state |= {
            f"blocks.{at}.attn.W_O": block.attention.out.weight.T.reshape(heads),
            f"blocks.{at}.mlp.W_in": block.up.weight.T,
            f"blocks.{at}.mlp.W_out": block.down.weight.T,
            f"blocks.{at}.ln1.w": block.norm1.weight,
            f"blocks.{at}.ln2.w": block.norm2.weight,
        }
    return {name: value.detach() for name, value in state.items()}


COLUMNS = (
    Column("layers/heads/width, context", lambda row: row["shape"]),
    Column("batch", lambda row: str(row["batch"])),
    Column("format  ", lambda row: row["format"]),
    Column("threads", lambda row: str(row["threads"])),
    Column("pairs", lambda row: str(row["pairs"])),
    Column("Cutaway   ", lambda row: f"{row['ours']:,.0f}/s"),
    Column("plain     ", lambda row: f"{row['plain']:,.0f}/s"),
    Column("ratio                ", lambda row: _ratio(row)),
    Column("loss differs", lambda row: f"{row['difference']:.0e}"),
)


def _ratio(row: dict[str, Any]) -> str:
    low, high = row["quartiles"]
    return f"{row['ratio']:.3f} ({low:.3f}, {high:.3f})"


def main() -> None:
    chosen = options()
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    torch.manual_seed(0)
    note(machine())
    table = Table(COLUMNS)
    for name in chosen.shapes:
        table.add(Bench(name, chosen).row())
    save(chosen.out, table.rows)


if __name__ == "__main__":
    main()
