"""Adapters beside the linear layers of a network."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from avacast.engine.errors import BadSetting
from avacast.training.lora import Adapters


class Network(nn.Module):
    """Two parts with linear layers and one without."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.ModuleDict({"q": nn.Linear(6, 8), "o": nn.Linear(8, 6)})
        self.norm = nn.LayerNorm(6)
        self.ffn = nn.Sequential(nn.Linear(6, 12), nn.GELU(), nn.Linear(12, 6))

    def forward(self, x: Tensor) -> Tensor:
        return self.ffn(self.norm(x + self.attention["o"](self.attention["q"](x))))


@pytest.fixture
def network() -> Network:
    torch.manual_seed(0)
    return Network()


def adapt(network: Network, targets: tuple[str, ...] = ("attention", "ffn"), rank: int = 2) -> Adapters:
    return Adapters(network, rank=rank, alpha=4.0, targets=targets)


def test_an_untrained_adapter_changes_nothing(network: Network):
    """B starts at zero: every output is equal to the bit."""
    x = torch.randn(5, 6)
    before = network(x)
    adapters = adapt(network)
    assert torch.equal(network(x), before)
    state = network.state_dict()
    assert all(torch.equal(merged, state[name]) for name, merged in adapters.merged(state).items())


def test_a_merged_adapter_does_what_it_did_beside(network: Network):
    """Trained adapters change the output; merged into the weights they change it in the same way."""
    x = torch.randn(5, 6)
    before = network(x)
    adapters = adapt(network)
    for parameter in adapters.parameters():
        nn.init.normal_(parameter)
    beside = network(x)
    merged = adapters.merged(network.state_dict())
    adapters.take_off()
    assert torch.equal(network(x), before)
    network.load_state_dict(merged)
    torch.testing.assert_close(network(x), beside, rtol=1e-4, atol=1e-4)
    assert (beside - before).abs().max() > 0.1


def test_adapters_alone_train(network: Network):
    """The network's weights get no gradient, A and B of every layer that is meant do."""
    adapters = adapt(network, ("attention",))
    assert sorted(adapters.tensors()) == [f"attention.{name}.lora_{part}" for name in "oq" for part in "ab"]
    for parameter in adapters.parameters():
        nn.init.normal_(parameter)
    network(torch.randn(5, 6)).square().sum().backward()
    assert all(parameter.grad is None for parameter in network.parameters())
    assert all(parameter.grad is not None for parameter in adapters.parameters())


def test_the_learnt_change_has_the_rank_and_the_scale_asked_for(network: Network):
    """W' - W is (alpha / r) B A, of rank r."""
    adapters = adapt(network, ("q",), rank=3)
    a, b = adapters.tensors()["attention.q.lora_a"], torch.randn(8, 3)
    with torch.no_grad():
        next(p for name, p in adapters.named_parameters() if name.endswith("b")).copy_(b)
    change = adapters.merged(network.state_dict())["attention.q.weight"] - network.attention["q"].weight.detach()
    assert torch.linalg.matrix_rank(change, rtol=1e-4) == 3
    assert (change - 4 / 3 * b @ a).abs().max() < 1e-6


def test_weights_keep_their_type(network: Network):
    """A bundle in half precision stays one."""
    adapters = adapt(network)
    halved = {name: tensor.half() for name, tensor in network.state_dict().items()}
    assert {tensor.dtype for tensor in adapters.merged(halved).values()} == {torch.float16}


def test_a_target_that_names_nothing_is_refused(network: Network):
    with pytest.raises(BadSetting, match="attn"):
        adapt(network, ("attention", "attn"))
