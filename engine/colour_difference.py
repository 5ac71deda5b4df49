"""How different two colours look: sRGB to CIE L*a*b* (D65), and the CIEDE2000 difference of two such colours.

Knows colours, no pictures. Source: Sharma, Wu and Dalal, "The CIEDE2000 color-difference formula: implementation
notes, supplementary test data, and mathematical observations", Color Research and Application 30(1), 2005; the names
are theirs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Colours = NDArray[np.float64]

_RGB_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
_D65 = np.array([0.95047, 1.0, 1.08883])


def lab(rgb: Colours) -> Colours:
    """Colours in sRGB `[..., 3]`, 0..255, as L*, a*, b* `[..., 3]`."""
    share = rgb / 255.0
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    xyz = linear @ _RGB_TO_XYZ.T / _D65
    root = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = root[..., 0], root[..., 1], root[..., 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def ciede2000(first: Colours, second: Colours) -> Colours:
    """CIEDE2000 difference of L*a*b* colours `[..., 3]`, as `[...]`; about 1 is the least one notices."""
    lightness, chroma, hue = zip(*_cylindrical(first, second), strict=True)
    delta_hue = _hue_difference(chroma, hue)
    mean_lightness, mean_chroma = (lightness[0] + lightness[1]) / 2, (chroma[0] + chroma[1]) / 2
    mean_hue = _mean_hue(chroma, hue)
    t = (
        1
        - 0.17 * np.cos(np.radians(mean_hue - 30))
        + 0.24 * np.cos(np.radians(2 * mean_hue))
        + 0.32 * np.cos(np.radians(3 * mean_hue + 6))
        - 0.20 * np.cos(np.radians(4 * mean_hue - 63))
    )
    from_middle = (mean_lightness - 50) ** 2
    scaled_l = (lightness[1] - lightness[0]) / (1 + 0.015 * from_middle / np.sqrt(20 + from_middle))
    scaled_c = (chroma[1] - chroma[0]) / (1 + 0.045 * mean_chroma)
    scaled_h = 2 * np.sqrt(chroma[0] * chroma[1]) * np.sin(np.radians(delta_hue / 2)) / (1 + 0.015 * mean_chroma * t)
    turn = np.radians(60 * np.exp(-(((mean_hue - 275) / 25) ** 2)))
    rotation = -2 * np.sqrt(_saturation(mean_chroma)) * np.sin(turn)
    return np.sqrt(scaled_l**2 + scaled_c**2 + scaled_h**2 + rotation * scaled_c * scaled_h)


def _saturation(chroma: Colours) -> Colours:
    return chroma**7 / (chroma**7 + 25.0**7)


def _cylindrical(first: Colours, second: Colours) -> list[tuple[Colours, Colours, Colours]]:
    """Lightness, corrected chroma C' and hue h' in degrees of both colours."""
    chroma = (np.hypot(first[..., 1], first[..., 2]) + np.hypot(second[..., 1], second[..., 2])) / 2
    stretch = 1.5 - 0.5 * np.sqrt(_saturation(chroma))
    result: list[tuple[Colours, Colours, Colours]] = []
    for colour in (first, second):
        a, b = stretch * colour[..., 1], colour[..., 2]
        result.append((colour[..., 0], np.hypot(a, b), np.degrees(np.arctan2(b, a)) % 360))
    return result


def _hue_difference(chroma: tuple[Colours, ...], hue: tuple[Colours, ...]) -> Colours:
    difference = (hue[1] - hue[0] + 180) % 360 - 180
    # Exactly opposite hues keep their sign.
    difference = np.where(np.abs(hue[1] - hue[0]) == 180, hue[1] - hue[0], difference)
    return np.where(chroma[0] * chroma[1] == 0, 0.0, difference)


def _mean_hue(chroma: tuple[Colours, ...], hue: tuple[Colours, ...]) -> Colours:
    total = hue[0] + hue[1]
    across = np.where(total < 360, total + 360, total - 360) / 2
    mean = np.where(np.abs(hue[0] - hue[1]) <= 180, total / 2, across)
    # A grey has no hue: the other colour's stands alone.
    return np.where(chroma[0] * chroma[1] == 0, total, mean)
