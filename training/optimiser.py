"""Muon for matrices and convolutions, AdamW for everything else, and an exponential moving average of the weights.

torch.optim.Muon takes two-dimensional parameters only, and the auto-encoder is all convolutions, so the update is
written here for kernels of any rank (flattened to a matrix per output channel). Source: Jordan et al., "Muon: an
optimizer for hidden layers in neural networks" (2024).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

_NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
_NEWTON_SCHULZ_STEPS = 5


def orthogonalise(matrix: Tensor) -> Tensor:
    """The nearest semi-orthogonal matrix [M, N], roughly, by five Newton-Schulz steps in bfloat16."""
    a, b, c = _NEWTON_SCHULZ
    x = matrix.to(torch.bfloat16)
    transposed = x.shape[0] > x.shape[1]
    x = x.mT if transposed else x
    x = x / (x.norm() + 1e-7)
    for _ in range(_NEWTON_SCHULZ_STEPS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.mT if transposed else x).to(matrix.dtype)


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised: every direction of a weight matrix learns at the same rate."""

    def __init__(self, params: Iterable[Tensor], lr: float, momentum: float = 0.95, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]  # no closure is used
        assert closure is None, "Muon takes no closure"
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group)

    def _update(self, parameter: Tensor, group: dict[str, Any]) -> None:
        assert parameter.grad is not None
        state = self.state[parameter]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(parameter)
        momentum: Tensor = state["momentum"]
        momentum.lerp_(parameter.grad, 1.0 - group["momentum"])
        nesterov = parameter.grad.lerp(momentum, group["momentum"])
        update = orthogonalise(nesterov.flatten(1)).view_as(parameter)
        # Matches the size of an AdamW update, so that one learning rate serves both (Liu et al., 2025).
        scale = 0.2 * math.sqrt(max(parameter.shape[0], parameter[0].numel()))
        parameter.mul_(1.0 - group["lr"] * group["weight_decay"])
        parameter.add_(update, alpha=-group["lr"] * scale)


def muon_and_adamw(parameters: list[nn.Parameter], lr: float, weight_decay: float) -> list[torch.optim.Optimizer]:
    """Muon for what is a matrix at heart, AdamW for the rest: for training from nothing."""
    matrices = [p for p in parameters if p.ndim >= 2 and min(p.shape[0], p[0].numel()) >= 8]
    taken = {id(p) for p in matrices}
    others = [p for p in parameters if id(p) not in taken]
    return [
        Muon(matrices, lr, weight_decay=weight_decay),
        torch.optim.AdamW(others, lr, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def adamw(parameters: list[nn.Parameter], lr: float, weight_decay: float) -> list[torch.optim.Optimizer]:
    """AdamW for everything: for weights that were trained already, and for adapters beside them."""
    return [torch.optim.AdamW(parameters, lr, betas=(0.9, 0.99), weight_decay=weight_decay)]


class Optimiser:
    """The optimisers, gradient clipping, one warm-up-and-cosine schedule and the moving average, as one."""

    def __init__(
        self,
        module: nn.Module,
        *,
        lr: float,
        num_steps: int,
        ema: float,
        weight_decay: float = 0.01,
        parts: Callable[[list[nn.Parameter], float, float], list[torch.optim.Optimizer]] = muon_and_adamw,
    ) -> None:
        """`parts(parameters, lr, weight_decay)` makes the optimisers of the parameters that are trained."""
        self._module = module
        self._parts = parts([p for p in module.parameters() if p.requires_grad], lr, weight_decay)
        self._lr, self._num_steps, self._ema = lr, num_steps, ema
        self.step_index = 0
        self.average = {name: p.detach().clone() for name, p in module.state_dict().items()}

    def step(self, loss: Tensor) -> float:
        """One update from `loss`. Returns the gradient's norm before clipping."""
        loss.backward()
        norm = float(nn.utils.clip_grad_norm_(self._module.parameters(), 1.0))
        for part in self._parts:
            for group in part.param_groups:
                group["lr"] = self._lr * self._rate()
            if math.isfinite(norm):
                part.step()
            part.zero_grad(set_to_none=True)
        self.step_index += 1
        self._update_average()
        return norm

    def _rate(self) -> float:
        warmup = min(1.0, (self.step_index + 1) / 50)
        progress = min(1.0, self.step_index / self._num_steps)
        return warmup * (0.02 + 0.98 * 0.5 * (1.0 + math.cos(math.pi * progress)))

    @torch.no_grad()
    def _update_average(self) -> None:
        decay = min(self._ema, (1 + self.step_index) / (10 + self.step_index))
        for name, value in self._module.state_dict().items():
            if value.is_floating_point():
                self.average[name].lerp_(value, 1.0 - decay)
            else:
                self.average[name].copy_(value)

    @contextmanager
    def averaged(self) -> Generator[None]:
        """Within it the module carries the averaged weights; afterwards its own again."""
        own = {name: value.clone() for name, value in self._module.state_dict().items()}
        self._module.load_state_dict(self.average)
        try:
            yield
        finally:
            self._module.load_state_dict(own)

    def state_dict(self) -> dict[str, Any]:
        return {
            "step_index": self.step_index,
            "average": self.average,
            "parts": [part.state_dict() for part in self._parts],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.step_index = state["step_index"]
        self.average = state["average"]
        for part, part_state in zip(self._parts, state["parts"], strict=True):
            part.load_state_dict(part_state)
