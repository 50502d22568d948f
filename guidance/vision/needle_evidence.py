"""What along a shaft tells steel from bone, and how sure that makes one."""

from dataclasses import dataclass
from math import exp, log
from typing import Self

from guidance.vision.kernels.shaft import evenness
from guidance.vision.needle_shaft import Flags, Shaft

MOST_BENT = 1.0 / 300.0
"""A shaft's greatest curvature, in 1 / diameters: half of the strain at which steel yields. A cable bends more."""
BOW_NOISE = 0.13
"""In diameters: noise and neighbours bow what is straight."""
LEAST_LENGTHS = 3.0
MOST_UNEVEN = 0.3
"""In diameters. A shaft that leans to the beam may widen towards the source by an eighth of its own."""
MOST_LENGTHS = 50.0
"""Nothing grows more certain by being longer than this."""
CENTRE_NOISE_PX = 0.1
"""What the picture's grid and noise alone make of a straight edge, in work pixels: much of a thin wire's width."""
STEEL_CONTRAST = 0.45
"""In log density, what most steel of a needle's width has at least, even behind a lateral pelvis's scatter."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What tells steel from bone along a shaft.

    ``contrast``: in log density above the darker flank; ``lengths``: its length in diameters; ``fill``: the share of
    its rows that are ribbon; ``unbroken``: of those that are, or would be but for another shaft; ``rough``,
    ``wobble``: how far its centres leave a smooth bow and its widths their median, less what the grid makes, in
    diameters; ``bent``:
    the bow's curvature, less what noise makes, in 1 / diameters; ``uneven``: how much thicker its thickest third is
    than its thinnest, in diameters; ``lopsided``: how far one flank is darker than the other, as a share of the
    contrast (a bone's edge has bone on one side only); ``back_is_free``, ``back_is_dark``: a needle leaves the field or
    ends in a hub, so what shows both of its ends, or ends in the dark, is more likely an endplate.
    """

    contrast: float
    lengths: float
    fill: float
    unbroken: float
    rough: float
    wobble: float
    bent: float
    uneven: float
    lopsided: float
    back_is_free: bool = False
    back_is_dark: bool = False

    @classmethod
    def of(cls, shaft: Shaft, alone: Flags) -> Self:
        """The evidence of a shaft whose ends have not been looked at yet.

        ``alone``: the rows to learn from, from its first to its last, as ``rows_alone`` gives them.
        """
        lengths = (shaft.last - shaft.first + 1) / shaft.width
        told = evenness(shaft.sections, shaft.first, alone, shaft.width, shaft.contrast).tolist()
        fill, unbroken, bend, off_width, first, middle, last, *width_of_thirds, darker_flank = told
        # Of an arc, what its thirds show is 8/9 of the sagitta.
        sagitta = 9.0 / 8.0 * abs(first - 2 * middle + last) / shaft.width
        return cls(
            contrast=shaft.contrast,
            lengths=lengths,
            fill=fill,
            unbroken=unbroken,
            # Bends over a few diameters: a bow of the whole shaft hardly shows, a ragged line does.
            rough=_beyond_noise(bend / 2.0) / shaft.width,
            wobble=_beyond_noise(off_width) / shaft.width,
            bent=8.0 * max(0.0, sagitta - BOW_NOISE) / lengths**2,
            uneven=(max(width_of_thirds) - min(width_of_thirds)) / shaft.width,
            # The contrast counts from the darker flank: what that lies above the mean is half of their difference.
            lopsided=2.0 * darker_flank / shaft.contrast,
        )

    @property
    def may_be_steel(self) -> bool:
        """Whether it is worth a look at all."""
        is_even = self.wobble <= 0.25 and self.bent <= MOST_BENT and self.uneven <= MOST_UNEVEN
        return is_even and self.contrast >= 0.18 and self.lengths >= LEAST_LENGTHS and self.unbroken >= 0.5

    @property
    def features(self) -> tuple[float, ...]:
        """What the confidence is a logistic function of: 0 where there is nothing to say for or against."""
        return (
            max(0.0, log(STEEL_CONTRAST / self.contrast)),
            log(min(self.lengths, MOST_LENGTHS) / 10.0),
            1.0 - self.fill,
            self.wobble,
            self.rough,
            # A shaft that leans to the beam widens towards the source, and so does one that fades in light.
            max(0.0, self.uneven - 0.1),
            max(0.0, self.lopsided - 0.06),
            float(self.back_is_free),
            float(self.back_is_dark),
        )

    @property
    def confidence(self) -> float:
        """The share of such shafts that are needles told with the right tip.

        The weights are fitted to simulated procedures and real pictures (``guidance.evaluation.confidence``).
        """
        z = CONSTANT + sum(weight * value for weight, value in zip(WEIGHTS, self.features, strict=True))
        return 1.0 / (1.0 + exp(-z))


CONSTANT = 3.16
WEIGHTS = (-5.23, 0.83, -1.94, -6.67, -40.25, -4.34, -3.73, -1.93, -0.43)


def _beyond_noise(spread_px: float) -> float:
    return max(0.0, spread_px - CENTRE_NOISE_PX)
