from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx import GraphModule

from avacast.kernels.catalogue import KERNELS
from avacast.kernels.kernel import Kernel, Size

CPU = torch.device("cpu")
SMALL = Size(
    batch=2, num_latents=3, overlap=2, height=16, width=40, latent_channels=3, dim=40, num_heads=2, vae_width=6
)
every_kernel = pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.name)


def test_every_kernel_has_a_name_of_its_own():
    names = [kernel.name for kernel in KERNELS]
    assert len(set(names)) == len(names)


@every_kernel
def test_inputs_are_the_same_every_time(kernel: Kernel):
    once, again = (kernel.inputs(SMALL, CPU, torch.float32) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(once, again, strict=True))


@every_kernel
@pytest.mark.usefixtures("interpreted")
def test_the_kernel_agrees_with_its_reference(kernel: Kernel, agree: Callable[..., None]):
    """In what it returns, and in what it makes of its arguments: where one writes in place, so does the other."""
    for_reference, for_kernel = (kernel.inputs(SMALL, CPU, torch.float32) for _ in range(2))
    expected, actual = kernel.reference(*for_reference), kernel.fused(*for_kernel)
    for one, other in zip(_tensors(actual), _tensors(expected), strict=True):
        # A byte may be the next one, where the value lies half-way.
        agree(one, other, **({} if one.is_floating_point() else {"largest": 1, "mean": 1e-3}))
    for one, other in zip(for_kernel, for_reference, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


@every_kernel
@pytest.mark.usefixtures("interpreted")
def test_in_bfloat16_the_kernel_is_as_close_as_its_output_can_be(kernel: Kernel):
    """To the reference in float32 on the same values: what differs is the rounding of what is stored."""
    check_bfloat16(kernel, SMALL, CPU)


@every_kernel
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_the_kernel_is_as_close_at_the_released_size(kernel: Kernel):
    check_bfloat16(kernel, Size(), torch.device("cuda"))


@every_kernel
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_the_kernel_compiles_for_a_hopper_gpu(kernel: Kernel, dtype: torch.dtype, compiled: list[bytes]):
    """At the width of the released model, from the Python source down to machine code, in one launch."""
    kernel.fused(*kernel.inputs(Size(num_latents=2, overlap=1, height=32, width=32), CPU, dtype))
    assert len(compiled) == 1
    assert compiled[0].startswith(b"\x7fELF")


@every_kernel
def test_the_compiler_takes_the_kernel_into_its_graph(kernel: Kernel, monkeypatch: pytest.MonkeyPatch):
    """Traced on tensors that claim to be on a GPU: the launch breaks no graph, and is one node of it."""
    monkeypatch.setattr("torch.utils._triton.has_triton", lambda *_: True)
    given = kernel.inputs(SMALL, CPU, torch.bfloat16)
    graphs: list[GraphModule] = []

    def backend(graph: GraphModule, _inputs: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    with FakeTensorMode(), torch.inference_mode():
        on_gpu = [torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device="cuda") for x in given]
        torch.compile(kernel.fused, fullgraph=True, dynamic=False, backend=backend)(*on_gpu)
    assert len([node for graph in graphs for node in graph.graph.nodes if "triton_kernel" in node.name]) == 1


def test_without_triton_the_room_is_imported_and_computes():
    """Only who asks for a kernel itself is refused."""
    code = """
import sys
sys.modules["triton"] = None
import torch
from avacast.kernels.catalogue import KERNELS
from avacast.kernels.kernel import Size
from avacast.kernels.overlap_fusion import fuse_overlap
inputs = KERNELS[0].inputs(Size(height=16, width=16), torch.device("cpu"), torch.float32)
assert torch.equal(fuse_overlap(*inputs), KERNELS[0].reference(*inputs))
try:
    KERNELS[0].fused(*inputs)
except ImportError:
    print("reference only")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "reference only"


def check_bfloat16(kernel: Kernel, size: Size, device: torch.device) -> None:
    """Within two units in the last place; a residual is rounded before its norm, which adds the absolute part."""
    values = kernel.inputs(size, device, torch.bfloat16)
    in_float32 = [value.float() if value.is_floating_point() else value for value in values]
    expected = _tensors(kernel.reference(*in_float32))
    for one, other in zip(_tensors(kernel.fused(*values)), expected, strict=True):
        assert one.dtype == (torch.bfloat16 if other.is_floating_point() else other.dtype)
        torch.testing.assert_close(
            one.float(), other.float(), rtol=2**-7, atol=2**-5 if other.is_floating_point() else 1
        )


def _tensors(result: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return result if isinstance(result, tuple) else (result,)
