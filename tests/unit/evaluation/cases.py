"""Short recordings that the tests of many cases analyse."""

from pathlib import Path
from typing import Any

import av
import numpy as np

SIDE_PX = 160


def write_recording(path: Path, seed: int, frames: int = 8) -> Path:
    """A round x-ray field of noise on black, lossless."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE_PX, :SIDE_PX]
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("ffv1", rate=10)
        stream.height, stream.width, stream.pix_fmt = SIDE_PX, SIDE_PX, "gray"
        for _ in range(frames):
            level = 120 + 40 * np.sin(x / 30) * np.cos(y / 23) + rng.normal(0, 6, (SIDE_PX, SIDE_PX))
            level[np.hypot(x - 80, y - 80) > 74] = 4
            pixels = np.clip(level, 0, 255).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="gray")))
        container.mux(stream.encode(None))
    return path
