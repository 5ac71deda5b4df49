"""The tiny auto-encoder's growth: height and width doubled and more frames made, as one transposed convolution.

Knows two convolutions of the public `taew2_1` layout with an upsampling between them, and what they fold to. Knows no
stream and no other layer.

Frames are stacked time-major, [T*B, C, H, W] in channels-last memory.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class GrowUpsample(nn.Module):
    """Doubles height and width, and makes `stride` frames of each.

    The public layout has three layers here: a 1x1 convolution that makes the frames, nearest upsampling, and a 3x3
    convolution that narrows. Nothing bends between them, so together they are one transposed convolution of kernel 4
    and stride 2: a third of the operations, and no large picture in between. On one AVX-512 core the growth to 256x256
    takes 43 ms for eight frames in float32 instead of 81.
    """

    def __init__(self, width: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv2d(width, stride * width, 1, bias=False)

    def forward(self, x: Tensor, batch: int, narrowing: nn.Conv2d) -> Tensor:
        return interleaved(self.grown(x, narrowing), batch)

    def grown(self, x: Tensor, narrowing: nn.Conv2d) -> list[Tensor]:
        """`x` [T*B, C, H, W] to `stride` tensors [T*B, N, 2H, 2W]: the first frames made of each, the second, ..."""
        # Folding takes well under a millisecond; a folded copy would have to follow every change of the weights.
        kernels = _folded(self.conv.weight, narrowing.weight, self.stride)
        return [_doubled(x, kernel) for kernel in kernels]


def _folded(growing: Tensor, narrowing: Tensor, stride: int) -> list[Tensor]:
    """The kernels [C, N, 4, 4] of `stride` transposed convolutions that replace 1x1, upsampling and 3x3.

    `growing` is [stride*W, C, 1, 1], `narrowing` [N, W, 3, 3]. Nearest upsampling is a transposed convolution with a
    2x2 kernel of ones, so the 4x4 kernel is the 3x3 one, turned as transposing asks, summed over 2x2 shifts.
    """
    turned = narrowing.float().flip(2, 3)
    wide = F.pad(turned, (0, 1)) + F.pad(turned, (1, 0))
    kernel = F.pad(wide, (0, 0, 0, 1)) + F.pad(wide, (0, 0, 1, 0))
    parts = growing.float().flatten(1).unflatten(0, (stride, -1))
    return [torch.einsum("nwij,wc->cnij", kernel, part).to(narrowing.dtype) for part in parts]


def _doubled(x: Tensor, kernel: Tensor) -> Tensor:
    """The transposed convolution with `kernel` [C, N, 4, 4] and stride 2 of [B, C, H, W] to [B, N, 2H, 2W]."""
    if torch.compiler.is_exporting():
        # TensorRT for RTX 1.7 has none in bfloat16: as a 3x3 convolution whose channels are the 2x2 pixels of a cell.
        return F.pixel_shuffle(F.conv2d(x, _by_pixel(kernel), padding=1), 2)
    return F.conv_transpose2d(x, kernel, stride=2, padding=1)


def _by_pixel(kernel: Tensor) -> Tensor:
    """[C, N, 4, 4] of a transposed convolution to [N*4, C, 3, 3]: a convolution for each pixel of a 2x2 cell."""
    columns = _halves(kernel).transpose(-1, -2)
    by_pixel = _halves(columns).transpose(-1, -2)
    return by_pixel.permute(3, 0, 1, 2, 4, 5).flatten(0, 2)


def _halves(kernel: Tensor) -> Tensor:
    """[..., 4] to [2, ..., 3]: of a cell's two pixels the first sees the cell before too, the second the next."""
    none = torch.zeros_like(kernel[..., :1])
    first = torch.cat((kernel[..., 3:4], kernel[..., 1:2], none), dim=-1)
    return torch.stack((first, torch.cat((none, kernel[..., 2:3], kernel[..., 0:1]), dim=-1)))


def interleaved(parts: list[Tensor], batch: int) -> Tensor:
    """One tensor [T*S*B, C, H, W] of S tensors [T*B, C, H, W], in order of time."""
    if len(parts) == 1:
        return parts[0]
    frames = torch.stack([part.permute(0, 2, 3, 1).unflatten(0, (-1, batch)) for part in parts], dim=1)
    return frames.flatten(0, 2).permute(0, 3, 1, 2)
