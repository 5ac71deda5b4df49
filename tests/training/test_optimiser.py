"""Muon, AdamW and the moving average."""

from __future__ import annotations

import torch
from torch import nn

from avacast.training.optimiser import Optimiser, orthogonalise


def test_orthogonalising_evens_out_the_singular_values() -> None:
    """Values that span a factor of a thousand come out near 1, in the same directions, wide or tall."""
    torch.manual_seed(0)
    for shape in ((16, 40), (40, 16)):
        u, _, vh = torch.linalg.svd(torch.randn(shape), full_matrices=False)
        matrix = u @ torch.diag(torch.logspace(0, -2, 16)) @ vh
        values = torch.linalg.svdvals(orthogonalise(matrix).float())
        assert values.min() > 0.3
        assert values.max() < 1.4


def test_a_small_network_learns() -> None:
    """Convolution kernels, matrices and biases all take part: the error falls to under a third."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv1d(8, 16, 3, padding=1), nn.ReLU(), nn.Conv1d(16, 8, 1))
    teacher = nn.Conv1d(8, 8, 3, padding=1)
    optimiser = Optimiser(network, lr=1e-2, num_steps=200, ema=0.9)
    losses = []
    for _ in range(200):
        x = torch.randn(16, 8, 12)
        loss = (network(x) - teacher(x).detach()).square().mean()
        optimiser.step(loss)
        losses.append(float(loss.detach()))
    assert sum(losses[-5:]) < sum(losses[:5]) / 3


def test_a_stop_loses_nothing() -> None:
    """State saved and loaded into a fresh optimiser continues to the very same weights."""

    def run(network: nn.Module, optimiser: Optimiser, steps: range) -> None:
        for step in steps:
            x = torch.randn(4, 12, generator=torch.Generator().manual_seed(step))
            optimiser.step(network(x).square().mean())

    torch.manual_seed(0)
    whole = nn.Linear(12, 12)
    split = nn.Linear(12, 12)
    split.load_state_dict(whole.state_dict())
    run(whole, Optimiser(whole, lr=1e-2, num_steps=20, ema=0.9), range(8))
    first = Optimiser(split, lr=1e-2, num_steps=20, ema=0.9)
    run(split, first, range(4))
    second = Optimiser(split, lr=1e-2, num_steps=20, ema=0.9)
    second.load_state_dict(first.state_dict())
    run(split, second, range(4, 8))
    assert torch.equal(whole.weight, split.weight)
