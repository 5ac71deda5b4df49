"""Device code of `yuv`; imported only where Triton runs. One program is a run of two by two pixels on two lines."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def rgb_to_i420(
    planes: tl.tensor,
    frames: tl.tensor,
    frames_t: tl.tensor,
    frames_c: tl.tensor,
    frames_h: tl.tensor,
    frames_w: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    luma_red: tl.tensor,
    luma_green: tl.tensor,
    luma_blue: tl.tensor,
    blue_red: tl.tensor,
    blue_green: tl.tensor,
    blue_blue: tl.tensor,
    red_red: tl.tensor,
    red_green: tl.tensor,
    red_blue: tl.tensor,
    BLOCK: tl.constexpr,
) -> None:
    """`planes` is contiguous: luma, blue difference, red difference; `frames` is walked by its strides."""
    pair = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    line_pair = tl.program_id(1)
    frame = tl.program_id(2).to(tl.int64)
    column = 2 * pair[:, None] + tl.arange(0, 2)[None, :]
    inside = column < width
    frame_rgb = frames + frame * frames_t
    frame_luma = planes + frame * (height * width * 3 // 2)
    red_sum = tl.zeros((BLOCK,), tl.float32)
    green_sum = tl.zeros((BLOCK,), tl.float32)
    blue_sum = tl.zeros((BLOCK,), tl.float32)
    for line_of_pair in tl.static_range(2):
        line = 2 * line_pair + line_of_pair
        here = frame_rgb + line * frames_h + column * frames_w
        red = tl.load(here, mask=inside, other=0.0).to(tl.float32)
        green = tl.load(here + frames_c, mask=inside, other=0.0).to(tl.float32)
        blue = tl.load(here + 2 * frames_c, mask=inside, other=0.0).to(tl.float32)
        red = tl.minimum(tl.maximum(red, 0.0), 1.0)
        green = tl.minimum(tl.maximum(green, 0.0), 1.0)
        blue = tl.minimum(tl.maximum(blue, 0.0), 1.0)
        luma = luma_red * red + luma_green * green + luma_blue * blue + 16
        tl.store(frame_luma + line * width + column, (luma + 0.5).to(tl.uint8), mask=inside)
        red_sum += tl.sum(red, axis=1)
        green_sum += tl.sum(green, axis=1)
        blue_sum += tl.sum(blue, axis=1)
    half = width // 2
    there = frame_luma + height * width + line_pair * half + pair
    blue_difference = (blue_red * red_sum + blue_green * green_sum + blue_blue * blue_sum) / 4 + 128
    red_difference = (red_red * red_sum + red_green * green_sum + red_blue * blue_sum) / 4 + 128
    tl.store(there, (blue_difference + 0.5).to(tl.uint8), mask=pair < half)
    tl.store(there + height // 2 * half, (red_difference + 0.5).to(tl.uint8), mask=pair < half)
