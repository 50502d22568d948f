"""Short recordings that the tests of many cases analyse."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

SIDE_PX = 160


def noise(seed: int, frames: int = 8) -> list[NDArray[np.uint8]]:
    """Pictures of a round x-ray field of noise on black."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE_PX, :SIDE_PX]
    shown = []
    for _ in range(frames):
        level = 120 + 40 * np.sin(x / 30) * np.cos(y / 23) + rng.normal(0, 6, (SIDE_PX, SIDE_PX))
        level[np.hypot(x - 80, y - 80) > 74] = 4
        shown.append(np.clip(level, 0, 255).astype(np.uint8))
    return shown


def write_gray(path: Path, shown: Sequence[NDArray[np.uint8]]) -> Path:
    """These pictures, ten a second, lossless."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("ffv1", rate=10)
        stream.height, stream.width, stream.pix_fmt = *shown[0].shape, "gray"
        for pixels in shown:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="gray")))
        container.mux(stream.encode(None))
    return path


def write_recording(path: Path, seed: int, frames: int = 8) -> Path:
    """A recording of noise."""
    return write_gray(path, noise(seed, frames))
