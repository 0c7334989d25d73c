"""The peer of train.py: a GPT and its training step written plainly in torch, as nanoGPT has them.

The architecture and the recipe are nanoGPT's (Karpathy 2022): LayerNorm before each part, one
matrix for queries, keys and values, torch's fused attention, the exact GELU, tied embeddings, no
biases; AdamW in two groups, gradients clipped at norm 1, batches cut from one row of tokens. The
code is ours. Nothing in it can be looked at or replaced while it runs.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class LayerNorm(nn.Module):
    """LayerNorm with a weight and no bias."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.weight.shape, self.weight, None, 1e-5)


class Attention(nn.Module):
    """Causal attention of all heads."""

    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        batch, n, width = x.shape
        parts = self.qkv(x).split(width, dim=2)
        q, k, v = (
            part.view(batch, n, self.n_heads, width // self.n_heads).transpose(1, 2)
            for part in parts
        )
        z = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(z.transpose(1, 2).reshape(batch, n, width))


class Block(nn.Module):
    """Attention, then an MLP."""

    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = LayerNorm(width), LayerNorm(width)
        self.attention = Attention(width, n_heads)
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class PlainGPT(nn.Module):
    """Tokens in, the mean loss of the next token out."""

    def __init__(self, n_layers: int, n_heads: int, width: int, n_ctx: int, d_vocab: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(d_vocab, width)
        self.positions = nn.Embedding(n_ctx, width)
        self.blocks = nn.ModuleList(Block(width, n_heads) for _ in range(n_layers))
        self.norm = LayerNorm(width)
        self.head = nn.Linear(width, d_vocab, bias=False)
        self.head.weight = self.tokens.weight
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                written = name.endswith(("out.weight", "down.weight"))
                std = 0.02 / math.sqrt(2 * n_layers) if written else 0.02
                nn.init.normal_(parameter, std=std)

    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        places = torch.arange(inputs.shape[1], device=inputs.device)
        x = self.tokens(inputs) + self.positions(places)
        for block in self.blocks:
            x = block(x)
        logits = self.head(self.norm(x))
        return F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.view(-1))


class PlainTraining:
    """The loop's state: `step` does one.

    Args:
        model: trained in place.
        data: one row of tokens.
        batch: sequences per step.
        learning_rate: constant, since a schedule costs nothing.
        rounded: bfloat16 by autocast, as nanoGPT has it on GPUs.
    """

    def __init__(
        self, model: PlainGPT, data: Tensor, batch: int, learning_rate: float, rounded: bool = False
    ) -> None:
        self.model, self.data, self.batch, self.rounded = model, data, batch, rounded
        self.n_ctx = model.positions.weight.shape[0]
        parameters = list(model.parameters())
        groups = [
            {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": 0.1},
            {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
        ]
        fused = data.is_cuda  # nanoGPT takes the fused form on GPUs only
        self.optimizer = torch.optim.AdamW(
            groups, lr=learning_rate, betas=(0.9, 0.99), fused=fused or None
        )

    def draw(self) -> tuple[Tensor, Tensor]:
        """A batch cut out at random places, and the same one place later."""
        starts = torch.randint(len(self.data) - self.n_ctx, (self.batch,)).tolist()
        inputs = torch.stack([self.data[i : i + self.n_ctx] for i in starts])
        targets = torch.stack([self.data[i + 1 : i + 1 + self.n_ctx] for i in starts])
        return inputs, targets

    def step(self, batch: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Draw a batch, go forward and back, clip, update; gives the loss."""
        inputs, targets = batch or self.draw()
        with torch.autocast(inputs.device.type, torch.bfloat16, enabled=self.rounded):
            loss = self.model(inputs, targets)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        detached: Tensor = loss.detach()
        return detached
