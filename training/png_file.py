"""Pictures of what a model makes, as PNG files, by OpenCV: a training machine has no Pillow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def write_png(path: Path, picture: NDArray[np.uint8]) -> None:
    """Writes `picture`, RGB `[H, W, 3]`. Raises OSError when that cannot be done."""
    import cv2

    done, content = cv2.imencode(".png", picture[:, :, ::-1])
    assert done, picture.shape
    path.write_bytes(content.tobytes())
