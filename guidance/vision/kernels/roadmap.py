"""The roadmap's kernel: the densest that each pixel has been on two looks in a row."""

import numpy as np
from numpy.typing import NDArray

from guidance.vision.kernels._jit import kernel

Plane = NDArray[np.float32]
Bytes = NDArray[np.uint8]

_PLANE = 'Array(float32, 2, "C", readonly=True)'
_BYTES = 'Array(uint8, 2, "C", readonly=True)'
_OUT = "float32[:, ::1]"


@kernel(
    f"void({_PLANE}, {_PLANE}, {_PLANE}, {_BYTES}, float32, float32, float32, float32, "
    f"{_OUT}, {_OUT}, {_OUT}, {_OUT}, {_OUT})"
)
def draw(
    z: Plane,
    added: Plane,
    count: Plane,
    inner: Bytes,
    t_s: float,
    settled: float,
    plain: float,
    arrives: float,
    last_z: Plane,
    last_added: Plane,
    peak: Plane,
    peak_z: Plane,
    arrived_s: Plane,
) -> None:
    """Take a pulse into ``peak``, ``peak_z`` and ``arrived_s``, in place; ``last_z`` and ``last_added`` become its own.

    What lasts is the lesser of two looks. It is drawn where ``inner`` is not 0, where it is more significant than what
    is drawn there, and where ``count`` pulses are ``settled`` or it is beyond ``plain``. Beyond ``arrives`` contrast
    has arrived.
    """
    h, w = z.shape
    lasting = np.empty(w, dtype=np.float32)
    denser = np.empty(w, dtype=np.bool_)
    for r in range(h):
        for c in range(w):
            lasting[c] = min(z[r, c], last_z[r, c])
        for c in range(w):
            is_sure = (count[r, c] >= settled) | (lasting[c] > plain)
            denser[c] = (lasting[c] > peak_z[r, c]) & is_sure & (inner[r, c] != 0)
        for c in range(w):
            peak_z[r, c] = lasting[c] if denser[c] else peak_z[r, c]
        for c in range(w):
            peak[r, c] = min(added[r, c], last_added[r, c]) if denser[c] else peak[r, c]
        for c in range(w):
            has_arrived = denser[c] & (lasting[c] > arrives)
            arrived_s[r, c] = min(arrived_s[r, c], t_s) if has_arrived else arrived_s[r, c]
        for c in range(w):
            last_z[r, c], last_added[r, c] = z[r, c], added[r, c]
