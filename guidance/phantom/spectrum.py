"""The beam: attenuation of what lies in it, at four energies, weighted as the tube's voltage weights them."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from guidance.phantom.patient import Volume

ENERGIES_KEV = (50.0, 60.0, 70.0, 80.0)

ATTENUATION_PER_CM = {
    "soft": (0.240, 0.217, 0.203, 0.193),  # soft tissue, 1.06 g/cm³
    "bone": (0.815, 0.604, 0.494, 0.428),  # cortical bone, 1.92 g/cm³
    "steel": (15.4, 9.51, 6.45, 4.71),
    "cement": (2.53, 1.64, 1.16, 0.87),  # set PMMA with about 20 wt% BaSO4
    "iodine": (2.69, 1.72, 1.20, 0.89),  # contrast medium of 200 mgI/mL
}
"""Linear attenuation, 1/cm, at ``ENERGIES_KEV``, from the field's notes. Cement and contrast differ by 5 % only."""

_BIN_EDGES_KEV = (40.0, 55.0, 65.0, 75.0, 150.0)


@dataclass(frozen=True)
class Beam:
    """A polychromatic beam. ``kvp`` is the tube voltage, 55 to 120.

    Each of the four energies stands for a bin of the spectrum. Their weights follow the bremsstrahlung of a thick
    target, with as many photons at energy E as (kvp - E) / E (H. A. Kramers, On the theory of X-ray absorption and of
    the continuous X-ray spectrum, 1923), behind 3 mm of aluminium and 0.2 mm of copper, times E because the
    detector adds up energy. Beam hardening emerges from adding the bins. What lies above 75 keV counts as 80 keV and
    what lies between 40 and 55 as 50; photons below 40 keV, which no pelvis lets through, and the tungsten lines
    are left out.
    """

    kvp: float = 85.0

    def __post_init__(self) -> None:
        if not 55 <= self.kvp <= 120:
            raise ValueError(f"kvp {self.kvp:g}: expected 55 to 120")

    @cached_property
    def weights(self) -> NDArray[np.float32]:
        """Share of the detected energy of the open beam in each bin, shape (4,), sum 1."""
        energy = np.arange(_BIN_EDGES_KEV[0] + 0.25, self.kvp, 0.5)
        # Photoelectric part falls with the third power, on top of a Compton floor; 1/cm at 60 keV from NIST's tables.
        aluminium = 2.7 * (0.115 * (60 / energy) ** 3 + 0.16)
        copper = 8.96 * (1.45 * (60 / energy) ** 3 + 0.14)
        energy_fluence = (self.kvp - energy) * np.exp(-0.3 * aluminium - 0.02 * copper)
        share, _ = np.histogram(energy, bins=_BIN_EDGES_KEV, weights=energy_fluence)
        return np.asarray(share / share.sum(), dtype=np.float32)

    def primary(
        self,
        soft_cm: Volume,
        bone_cm: Volume,
        steel_cm: Volume | None = None,
        cement_cm: Volume | None = None,
        iodine_cm: Volume | None = None,
    ) -> Volume:
        """Transmitted share of the detected energy, float32 in (0, 1], same shape as the path lengths (cm).

        None: none of that material. Scatter is not in it. Path lengths of overlapping materials are simply added:
        a needle does not take out the tissue that it stands in.
        """
        given = {"soft": soft_cm, "bone": bone_cm, "steel": steel_cm, "cement": cement_cm, "iodine": iodine_cm}
        present = {name: path for name, path in given.items() if path is not None}
        total = np.zeros(np.shape(soft_cm), dtype=np.float32)
        exponent = np.empty_like(total)
        scratch = np.empty_like(total)
        for i, weight in enumerate(self.weights):
            exponent.fill(0)
            for name, path in present.items():
                np.multiply(path, np.float32(-ATTENUATION_PER_CM[name][i]), out=scratch)
                exponent += scratch
            np.exp(exponent, out=exponent)
            exponent *= weight
            total += exponent
        return total
