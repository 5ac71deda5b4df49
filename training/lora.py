"""Low-rank adaptation: small trained matrices beside the frozen linear layers of a network.

A layer `W x` becomes `W x + (alpha / r) B A x` with A of r rows and B of r columns. B starts at zero, so an untrained
adapter changes nothing; trained, it is added into W and costs nothing. The network itself is left untouched: adapters
listen to its layers and can be taken off again. Knows no loss, no optimiser and no bundle.

Source: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models" (arXiv 2106.09685).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from avacast.engine.errors import BadSetting


class LowRank(nn.Module):
    """The product B A of one layer, [out, r] times [r, in], in float32."""

    def __init__(self, layer: nn.Linear, rank: int, scale: float) -> None:
        super().__init__()
        device = layer.weight.device
        self.a = nn.Parameter(torch.empty(rank, layer.in_features, device=device))
        self.b = nn.Parameter(torch.zeros(layer.out_features, rank, device=device))
        self.scale = scale
        nn.init.kaiming_uniform_(self.a, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(F.linear(x, self.a), self.b) * self.scale

    def delta(self) -> Tensor:
        """What is added to the layer's weight, [out, in]."""
        return self.scale * self.b.detach() @ self.a.detach()


class Adapters(nn.Module):
    """Adapters of all linear layers of `network` that lie in a part named in `targets`; their weights alone train.

    A layer is meant when any part of its dotted name is a target: "self_attn" takes `blocks.0.self_attn.q`. Raises
    BadSetting for a target that names nothing.
    """

    def __init__(self, network: nn.Module, *, rank: int, alpha: float, targets: Sequence[str]) -> None:
        super().__init__()
        assert rank > 0, rank
        # Exactly nn.Linear: subclasses compute otherwise than with their weight alone.
        layers = {name: module for name, module in network.named_modules() if type(module) is nn.Linear}
        for target in targets:
            if not any(target in name.split(".") for name in layers):
                raise BadSetting(
                    f"no linear layer of the model lies in {target!r}; see `avacast train finetune --help`"
                )
        meant = {name: layer for name, layer in layers.items() if not set(targets).isdisjoint(name.split("."))}
        # A module's own name may hold no dot.
        self.parts = nn.ModuleDict(
            {name.replace(".", "/"): LowRank(layer, rank, alpha / rank) for name, layer in meant.items()}
        )
        network.requires_grad_(False)
        self._hooks = [layer.register_forward_hook(_beside(self._part(name))) for name, layer in meant.items()]

    def take_off(self) -> None:
        """Leaves the network as it was."""
        for hook in self._hooks:
            hook.remove()

    def merged(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The network's `weights` with the adapters added in; every tensor keeps its type."""
        merged = dict(weights)
        for key in self.parts:
            name = f"{key.replace('/', '.')}.weight"
            weight = weights[name]
            delta = self._part(key.replace("/", ".")).delta().to(weight.device)
            merged[name] = (weight.float() + delta).to(weight.dtype)
        return merged

    def tensors(self) -> dict[str, Tensor]:
        """A and B of every layer by the layer's name, `blocks.0.self_attn.q.lora_a` and `.lora_b`, on the CPU."""
        found = {name.replace("/", "."): value for name, value in self.parts.state_dict().items()}
        return {f"{name[:-1]}lora_{name[-1]}": value.to("cpu", copy=True) for name, value in found.items()}

    def _part(self, name: str) -> LowRank:
        part = self.parts[name.replace(".", "/")]
        assert isinstance(part, LowRank), type(part)
        return part


def _beside(part: LowRank):  # noqa: ANN202  # a closure of torch's hook type
    def add(_layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return output + part(inputs[0]).to(output.dtype)

    return add
