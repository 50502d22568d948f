"""How the anatomy lay on each of the last pulses: what was drawn on one of them is carried to where it is now."""

import numpy as np

from guidance.vision.geometry import RigidMotion
from guidance.vision.registration import Placement

PULSES_KEPT = 36_000
"""At 30 pulses a second so long as 20 minutes, at 7.5 over an hour: nobody draws longer on one picture. 1.7 MB."""


class RecentPulses:
    """The motions of the last ``PULSES_KEPT`` pulses whose anatomy was recognised, by the pulse's number."""

    def __init__(self) -> None:
        self._pulse = np.full(PULSES_KEPT, -1, dtype=np.int64)
        self._view_id = np.zeros(PULSES_KEPT, dtype=np.int64)
        self._motion = np.zeros((PULSES_KEPT, 5))

    def note(self, pulse: int, placement: Placement) -> None:
        """Take in the newest pulse."""
        at, motion = pulse % PULSES_KEPT, placement.motion
        self._pulse[at] = pulse if placement.registration.ok else -1
        self._view_id[at] = placement.view_id
        self._motion[at] = (*motion.shift_px, motion.rotation_deg, *motion.centre_px)

    def where(self, pulse: int) -> tuple[int, RigidMotion] | None:
        """The pulse's view and its motion since that view's reference; None where it is not known any more."""
        at = pulse % PULSES_KEPT
        if pulse < 0 or self._pulse[at] != pulse:
            return None
        dx, dy, rotation_deg, x, y = (float(part) for part in self._motion[at])
        return int(self._view_id[at]), RigidMotion((dx, dy), rotation_deg, (x, y))
