"""From what reaches the detector to what it reads out: scatter, blur, quanta, lag, brightness control, glare.

The order is the physical one. The focal spot blurs the primary; scatter is added; quanta are counted; the
scintillator spreads signal *and* noise, which is what correlates the noise from pixel to pixel; the recursive
filter averages pulses; brightness control has set the tube's output beforehand. ``docs/phantom.md`` has the
figures of real pictures that the defaults were matched to.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Signal = NDArray[np.float32]

QUANTA_PER_MM2_PER_UR = 178.0
"""From the noise of 33, 25 and 13 % at 0.6, 1 and 4 µR a frame on a 0.3 mm pixel: 16 quanta there at 1 µR."""

SCATTER_SIDE_PX = 48
"""Scatter varies over centimetres, so it is computed on a picture this small."""


@dataclass(frozen=True, slots=True)
class DetectorSettings:
    """What a detector does to a pulse. Lengths are in the detector's plane."""

    pixel_mm: float
    focal_blur_mm: float = 0.3
    """Standard deviation of the focal spot's penumbra, before the quanta are counted."""
    detector_blur_mm: float = 0.14
    """Standard deviation of the scintillator's spread, after the quanta are counted."""
    readout_blur_px: float = 0.5
    """The same of digitising and scan conversion: real pictures of 512 and of 980 pixels have the same grain."""
    scatter_per_depth: float = 0.12
    """Scatter over primary for each unit of optical depth: once-scattered photons grow with the depth crossed.

    A depth of 5 (AP through the pelvis) gives 1.0; sideways it is more, up to twice that where bone is thickest.
    """
    scatter_spread: float = 0.09
    """Standard deviation of the scatter's blur, as a share of the picture's side."""
    scatter_pedestal: float = 0.1
    """The share of scatter that is spread evenly over the picture."""
    glare: float = 0.04
    """Veiling glare: the share of all signal that is spread wide inside the detector."""
    lag: float = 0.5
    """The recursive filter's weight of the past; noise falls by sqrt((1 - lag) / (1 + lag)) to 58 %."""
    brightness_s: float = 0.6
    """Time constant of automatic brightness control."""


class Detector:
    """A detector with its memory. ``expose`` must be called pulse after pulse."""

    def __init__(self, settings: DetectorSettings, seed: int) -> None:
        self._settings = settings
        self._rng = np.random.default_rng([seed, 0xDE7EC7])
        self._output: float | None = None
        self._past: Signal | None = None
        self._settled = True

    def forget(self) -> None:
        """Start the recursive filter afresh, as a machine does when the pedal is pressed again."""
        self._past = None
        self._settled = False

    def expose(self, primary: Signal, dose_ur: float, since_last_s: float) -> Signal:
        """The signal read out after one pulse: float32, same shape, about 1 in the middle of the field.

        ``primary``: transmitted share of the beam, float32 (h, w), 0 behind the collimator. ``dose_ur``: exposure
        of this pulse at the detector, behind the patient. ``since_last_s``: time since the pulse before.

        Misses: electronic noise, defects of pixels, k-fluorescence, afterglow beyond the recursive filter.
        """
        s = self._settings
        pixels_per_mm = 1.0 / s.pixel_mm
        reaching = _blur(primary, s.focal_blur_mm * pixels_per_mm) + self._scatter(primary)
        reaching *= self._tube_output(reaching, since_last_s)

        quanta_at_one = QUANTA_PER_MM2_PER_UR * dose_ur * s.pixel_mm**2
        # Normal instead of Poisson: at 16 quanta and more nobody can tell, and it is ten times faster.
        noise = self._rng.standard_normal(reaching.shape, dtype=np.float32)
        if self._past is None and self._settled:
            # A recording begins in mid-fluoroscopy: the filter's noise is down to where it stays.
            quanta_at_one *= (1 + s.lag) / (1 - s.lag)
        noise *= np.sqrt(reaching * np.float32(1.0 / quanta_at_one))
        noise += reaching
        spread_px = float(np.hypot(s.detector_blur_mm * pixels_per_mm, s.readout_blur_px))
        counted = _blur(np.maximum(noise, 0, out=noise), spread_px)

        if self._past is None:
            self._past = counted
        else:
            self._past = cv2.addWeighted(counted, 1 - s.lag, self._past, s.lag, 0.0)
        return self._veil(self._past)

    def _scatter(self, primary: Signal) -> Signal:
        """Scattered signal: born where the beam crosses matter, spread wide, plus an even pedestal."""
        s = self._settings
        small = _shrink(primary)
        depth = -np.log(np.maximum(small, 1e-5))
        # Behind the collimator nothing is crossed: a zero of primary is shadow, not depth.
        born = s.scatter_per_depth * small * np.where(small > 1e-5, depth, 0)
        wide = _blur(born.astype(np.float32), s.scatter_spread * SCATTER_SIDE_PX)
        mixed = (1 - s.scatter_pedestal) * wide + np.float32(s.scatter_pedestal * born.mean())
        return _enlarge(mixed, primary.shape)

    def _veil(self, signal: Signal) -> Signal:
        small = _blur(_shrink(np.minimum(signal, 8.0)), 0.2 * SCATTER_SIDE_PX)
        glare = np.float32(self._settings.glare)
        return np.asarray(signal * (1 - glare) + glare * _enlarge(small, signal.shape), dtype=np.float32)

    def _tube_output(self, reaching: Signal, since_last_s: float) -> np.float32:
        """The factor that brings the central field's mean to 1, approached with the control's time constant."""
        h, w = reaching.shape
        centre = reaching[h // 3 : h - h // 3, w // 3 : w - w // 3]
        wanted = 1.0 / max(float(centre.mean()), 1e-6)
        if self._output is None:
            self._output = wanted
        else:
            share = 1.0 - float(np.exp(-since_last_s / self._settings.brightness_s))
            self._output *= (wanted / self._output) ** share
        return np.float32(self._output)


def _blur(image: Signal, sigma_px: float) -> Signal:
    if sigma_px < 0.15:  # a kernel this narrow does nothing
        return image.copy()
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma_px, borderType=cv2.BORDER_REFLECT_101))


def _shrink(image: Signal) -> Signal:
    side = (SCATTER_SIDE_PX, SCATTER_SIDE_PX)
    return np.asarray(cv2.resize(image, side, interpolation=cv2.INTER_AREA), dtype=np.float32)


def _enlarge(image: Signal, shape: tuple[int, ...]) -> Signal:
    return np.asarray(cv2.resize(image, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR), dtype=np.float32)
