"""Drawn x-ray pictures of known truth for the tests of field, liveness and registration."""

import cv2
import numpy as np
from numpy.typing import NDArray

Grey = NDArray[np.uint8]


def anatomy(side: int, seed: int = 0) -> NDArray[np.float32]:
    """Transmission, shape (side, side), about 20 to 235: air, soft tissue, bones with cortices, a rod."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side].astype(np.float32) / side
    depth = 1.1 + 0.5 * np.sin(2.2 * x + 0.6 + seed) * np.cos(1.7 * y)
    for _ in range(9):
        cx, cy, a, b = *rng.uniform(0.1, 0.9, 2), *rng.uniform(0.06, 0.2, 2)
        turn = rng.uniform(0, np.pi)
        u = ((x - cx) * np.cos(turn) + (y - cy) * np.sin(turn)) / a
        v = ((y - cy) * np.cos(turn) - (x - cx) * np.sin(turn)) / b
        radius = np.hypot(u, v)
        depth += 0.25 * (radius < 1) + 0.35 * np.exp(-(((radius - 0.95) / 0.06) ** 2))
    depth[x + 0.3 * y > 1.1] = 0.05
    image = 230.0 * np.exp(-0.7 * depth)
    cv2.line(image, (int(0.3 * side), int(0.9 * side)), (int(0.45 * side), int(0.5 * side)), 25.0, max(3, side // 80))
    return np.asarray(cv2.GaussianBlur(image.astype(np.float32), (0, 0), 1.2), dtype=np.float32)


def noisy(image: NDArray[np.float32], seed: int, noise: float = 5.0) -> Grey:
    """One pulse: quantum noise of ``noise`` grey levels at mid-grey, as the root of the signal elsewhere."""
    rng = np.random.default_rng(seed)
    grain = cv2.GaussianBlur(rng.standard_normal(image.shape, dtype=np.float32), (0, 0), 0.7) * 2.4
    seen = image + noise * grain * np.sqrt(np.maximum(image, 1.0) / 128.0)
    return np.clip(np.round(seen), 0, 255).astype(np.uint8)


def within(image: Grey, inside: NDArray[np.bool_], surround: int = 0) -> Grey:
    """The picture where ``inside``, the surround's level elsewhere."""
    return np.where(inside, image, np.uint8(surround)).astype(np.uint8)


def disc(size: tuple[int, int], centre: tuple[float, float], radius: float) -> NDArray[np.bool_]:
    """(height, width) bool. ``size``: width, height."""
    y, x = np.mgrid[: size[1], : size[0]]
    return np.hypot(x - centre[0], y - centre[1]) <= radius


def convex(size: tuple[int, int], corners: list[tuple[float, float]]) -> NDArray[np.bool_]:
    """(height, width) bool, True inside a convex polygon."""
    mask = np.zeros((size[1], size[0]), dtype=np.uint8)
    cv2.fillConvexPoly(mask, np.round(np.array(corners) * 16).astype(np.int32), 1, shift=4)
    return mask > 0


def monitor(size: tuple[int, int], picture: Grey, at: tuple[int, int]) -> Grey:
    """A grey screen with a banner, lines of text and a panel, and the picture on black at (x, y)."""
    screen = np.full((size[1], size[0]), 36, dtype=np.uint8)
    screen[:26] = 90
    cv2.putText(screen, "DOE JANE 1960-01-01 12:34:56", (10, 19), cv2.FONT_HERSHEY_SIMPLEX, 0.6, 255, 1)
    for line in range(8):
        cv2.putText(screen, f"kV {60 + line}", (6, 120 + 50 * line), cv2.FONT_HERSHEY_SIMPLEX, 0.6, 230, 1)
    screen[-90:-20, 6:70] = 150
    h, w = picture.shape
    screen[at[1] : at[1] + h, at[0] : at[0] + w] = picture
    return screen
