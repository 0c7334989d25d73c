"""Toy models of superposition as slowly and plainly as they can be said."""

from __future__ import annotations

import numpy as np
import torch

from cutaway.superposition.toy_model import ToyModel
from cutaway.superposition.training import _START, _TRAIN, ToyTraining, _generator


def plain_output(model: ToyModel, weights: dict[str, torch.Tensor], x: torch.Tensor):
    """One instance on [batch, feature], as the paper writes it."""
    w_in, b = weights["W_in"], weights["b"]
    if model.kind == "linear":
        return x @ w_in.T @ w_in + b
    if model.kind == "relu-output":
        return torch.relu(x @ w_in.T @ w_in + b)
    if model.kind == "relu-hidden":
        return torch.relu(torch.relu(x @ w_in.T) @ w_in + b)
    return torch.relu(torch.relu(x @ w_in.T) @ weights["W_out"].T + b)


def plain_features(model: ToyModel, uniform: np.ndarray, density: float) -> np.ndarray:
    """One number at a time."""
    x = np.zeros_like(uniform)
    for sample, row in enumerate(uniform):
        for i, u in enumerate(row):
            pair = i - i % 2
            gate, other = (row[pair], row[pair + 1]) if pair + 1 < len(row) else (u, u)
            if model.pairs == "independent":
                is_there, value = u < density, u / density
            elif model.pairs == "together":
                is_there = gate < density
                value = gate / density if i == pair else other
            else:
                low = 0 if i == pair else density
                is_there, value = low <= gate < low + density, (gate - low) / density
            if is_there:
                x[sample, i] = value if model.is_tied else 2 * value - 1
    return x


def train_one(
    model: ToyModel, density: float, importance: np.ndarray, seed: int, training: ToyTraining
) -> dict[str, np.ndarray]:
    """A single instance in double precision: a loop, autograd, torch's Adam."""
    start = model.start([_generator(seed, _START, "cpu")], "cpu", torch.float64)
    weights = {name: value[0].clone().requires_grad_() for name, value in start.items()}
    optimiser = torch.optim.Adam(list(weights.values()), lr=training.learning_rate)
    generator = _generator(seed, _TRAIN, "cpu")
    half = training.n_steps / 2
    for step in range(training.n_steps):
        shape = (training.batch_size, model.n_features)
        uniform = torch.rand(shape, generator=generator, dtype=torch.float64)
        x = torch.tensor(plain_features(model, uniform.numpy(), density))
        target = x if model.is_tied else x.abs()
        squared = (target - plain_output(model, weights, x)) ** 2
        loss = (torch.tensor(importance) * squared).sum(1).mean()
        optimiser.param_groups[0]["lr"] = training.learning_rate * (
            1.0 if step <= half else (training.n_steps - step) / half
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return {name: value.detach().numpy() for name, value in weights.items()}


def dimensionality_of(W: np.ndarray) -> list[float]:
    """D_i of every column, by the formula."""
    found = []
    for i in range(W.shape[1]):
        norm = np.linalg.norm(W[:, i])
        below = sum(float(W[:, i] / norm @ W[:, j]) ** 2 for j in range(W.shape[1]))
        found.append(norm**2 / below)
    return found
