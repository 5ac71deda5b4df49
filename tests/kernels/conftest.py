"""What the kernels' tests share: Triton's interpreter and its compiler in the place of a GPU, and how far results lie
apart.

Both take over where a kernel would be launched, so that what is tested is the launch itself, with its real arguments.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import torch
import triton
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.interpreter import InterpretedFunction, _patch_lang
from triton.runtime.jit import JITFunction, mangle_type

HOPPER = GPUTarget("cuda", 90, 32)
ALIGNMENT = 16
"""Bytes of a pointer, or a number's divisor, that a launch tells the compiler of; torch's allocations have more."""

COMPILE_OPTIONS = {"num_warps", "num_stages"}

Agree: TypeAlias = Callable[..., None]


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs launched kernels on the CPU, program by program, as TRITON_INTERPRET=1 does for a whole process."""

    def run(kernel: JITFunction[Any], *args: Any, **options: Any) -> None:
        InterpretedFunction(kernel.fn).run(*args, **options)

    def call(function: JITFunction[Any], *args: Any, **options: Any) -> Any:
        # As InterpretedFunction's own call, which leaves the language patched and the compiler broken for good.
        scope = _patch_lang(function.fn)
        try:
            return InterpretedFunction(function.fn).rewrite()(*args, **options)
        finally:
            scope.restore()

    monkeypatch.setattr(JITFunction, "run", run)
    monkeypatch.setattr(JITFunction, "__call__", call)


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[bytes]:
    """Compiles launched kernels for an H100 or H200 with Triton's own assembler; the list collects their machine code.

    Nothing runs: outputs stay as they were allocated.
    """
    binaries: list[bytes] = []

    def run(kernel: JITFunction[Any], *args: Any, grid: Any, warmup: bool, **options: Any) -> None:  # noqa: ARG001  # as launched
        given = dict(zip(kernel.arg_names, args, strict=False)) | options
        # As at a real launch: None, one, and what is declared so are constants; what divides evenly is said to.
        signature = {
            p.name: "constexpr" if p.is_constexpr else mangle_type(given[p.name], specialize=True)
            for p in kernel.params
        }
        constants = {name: given[name] for name, kind in signature.items() if kind == "constexpr"}
        aligned = {
            (index,): [["tt.divisibility", ALIGNMENT]]
            for index, (name, kind) in enumerate(signature.items())
            if kind.startswith("*") or (kind.startswith("i") and given[name] % ALIGNMENT == 0)
        }
        source = ASTSource(kernel, signature, constants, aligned)
        how = {name: value for name, value in options.items() if name in COMPILE_OPTIONS}
        binaries.append(triton.compile(source, target=HOPPER, options=how).asm["cubin"])

    # A folder of its own: a cached kernel would be compiled by nobody.
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(JITFunction, "run", run)
    return binaries


@pytest.fixture
def agree() -> Agree:
    """Asserts that two results agree, and prints by how much they differ.

    Unless told, within a few roundings of float32 values below ten.
    """

    def check(actual: Tensor, expected: Tensor, *, largest: float = 4e-6, mean: float = 2e-7) -> None:
        assert actual.shape == expected.shape, (actual.shape, expected.shape)
        assert actual.dtype == expected.dtype, (actual.dtype, expected.dtype)
        difference = (actual.double() - expected.double()).abs()
        largest_value = expected.double().abs().max()
        print(f"max {difference.max():.2e} mean {difference.mean():.2e} of values up to {largest_value:.2e}")
        assert difference.max() <= largest
        assert difference.mean() <= mean

    return check
