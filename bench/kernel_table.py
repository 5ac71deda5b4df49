"""Every kernel beside its plain reference and what `torch.compile` makes of that: a kernel stays only if it is fastest.

Knows how to time and compare two versions of one call; knows no kernel in particular.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from avacast.bench.device_timer import Deadline, seconds_of
from avacast.bench.workbench import Workbench
from avacast.kernels import kernel as kernels
from avacast.kernels.catalogue import KERNELS
from avacast.kernels.kernel import Kernel, Outputs, Size

_MAX_S = 0.3


def kernel_table(bench: Workbench, figures: dict[str, Any], deadline: Deadline) -> None:
    """Fills in `kernels`, one by one: times in microseconds, differences from the reference, and the verdict."""
    rows: list[dict[str, Any]] = []
    figures["kernels"] = rows
    figures["left_out"] = [kernel.name for kernel in KERNELS]
    with torch.inference_mode():
        for kernel in KERNELS:
            if not deadline.passed:
                with bench.sparing(f"kernel {kernel.name}"):
                    measure_kernel(bench, kernel, rows)
                figures["left_out"].remove(kernel.name)


def measure_kernel(bench: Workbench, kernel: Kernel, rows: list[dict[str, Any]]) -> None:
    """Appends one row. Without a GPU the fused version is not run, and nothing is decided."""
    size = kernel_size(bench)
    given = kernel.inputs(size, bench.device, bench.dtype)
    compiled = bench.compile(kernel.reference)
    row: dict[str, Any] = {"name": kernel.name}
    rows.append(row)

    def record(name: str, call: Any) -> None:
        row[f"{name}_us"] = 1e6 * seconds_of(lambda: call(*given), bench.device, max_s=_MAX_S)

    record("reference", kernel.reference)
    record("compiled", compiled)
    if bench.on_gpu and kernels.HAS_TRITON:
        row["max_difference"], row["mean_difference"] = compare(bench, kernel, size)
        record("fused", kernel.fused)
        row["speedup_over_compiled"] = row["compiled_us"] / row["fused_us"]
        row["stays"] = row["speedup_over_compiled"] > 1


def compare(bench: Workbench, kernel: Kernel, size: Size) -> tuple[float, float]:
    """The largest and the mean absolute difference between the versions' outputs."""
    expected = _tensors(kernel.reference(*kernel.inputs(size, bench.device, bench.dtype)))
    fused = _tensors(kernel.fused(*kernel.inputs(size, bench.device, bench.dtype)))
    differences = torch.cat([(a.float() - b.float()).abs().flatten() for a, b in zip(fused, expected, strict=True)])
    return differences.max().item(), differences.mean().item()


def kernel_size(bench: Workbench) -> Size:
    """The pipeline's own shapes."""
    config = bench.config
    return Size(
        num_latents=config.window.window,
        overlap=config.window.overlap,
        height=config.height,
        width=config.width,
        latent_channels=config.dit.latent_channels,
        dim=config.dit.dim,
        num_heads=config.dit.num_heads,
        patch=config.dit.patch_size[1],
        vae_width=config.vae.base_dim,
    )


def _tensors(outputs: Outputs) -> tuple[Tensor, ...]:
    return (outputs,) if isinstance(outputs, Tensor) else outputs
