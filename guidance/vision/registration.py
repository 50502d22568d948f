"""How the anatomy has moved since its view's reference frame, and which stored view this is."""

from collections import deque
from dataclasses import dataclass, replace
from math import atan2, cos, degrees, sin
from statistics import median

import cv2
import numpy as np
from numpy.typing import NDArray

from guidance.records import Registration
from guidance.vision.geometry import Matrix, RigidMotion
from guidance.vision.kernels.registration import BLOCK_PX, SUMS, block_sums
from guidance.vision.picture import Mask, Picture

SIDE_PX = 320
"""Bone is compared at no more than this many pixels a side."""
FINE_PX, BROAD_PX = 1.2, 5.0
"""The band that is compared, as Gaussian sigmas: finer is noise, broader is scatter, vignetting and soft tissue."""
MARGIN_PX = 5
"""As far as the band carries an edge of the field or of an ignored object, most of it."""
MOST_BLOCKS = 140
AGREE_NCC = 0.5
"""A block agrees from this normalised correlation on: bone edges elsewhere in the picture reach it now and then."""
OK_SHARE = 0.55
"""Share of the textured blocks that must agree: wrong optima on real pictures reached 0.53, a search's 0.45."""
KEEP_SHARE = 0.45
"""Enough where the motion continues the last pulse's, or a search over the whole picture ends at the same place."""
OTHER_SHARE = 0.35
"""Below this the picture may show another view; in between, the same anatomy much disturbed."""
DROP = 0.85
"""A share that falls below this part of the last one calls for a search: a jump, or something in front."""
LEAST_BLOCKS = 8
LEAST_CERTAINTY_PX = 0.6
"""Standard error of the motion, in compared pixels, beyond which parallel edges leave it undetermined."""
STRAY_PX, STRAY_SHARE = 0.45, 0.0023
"""Blocks that want to lie this far from the common motion, in compared pixels and as a share of the picture's side,
see parts at different depths move differently: the C-arm turns. Noise alone, at low dose, makes them stray 0.3 px."""
REST_SHARE = 0.25
"""A C-arm that rests a little beside its reference: the blocks stray on alike, within this share of their mean."""
LOST_PULSES = 3
STEADY_SHARE = 0.85
"""Two pulses correlate at this part of what they do while the view stands, or the C-arm is still swinging."""
STEPS = 10
SETTLED_PX = 0.15
COARSE_SIDE = 128
CORNER = np.array([0.0, 0.0])
SAME_PLACE_PX = 4.0
"""Two motions are the same when they move the frame's corner alike, within this many input pixels."""
COARSE_ANGLES_DEG = (0.0, -2.0, 2.0, -4.0, 4.0, -6.0, 6.0)


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """``motion`` since frame ``reference_frame`` of view ``view_id``; ``view_changed`` on the first pulse of a view."""

    view_id: int
    view_changed: bool
    motion: RigidMotion
    registration: Registration
    reference_frame: int


@dataclass(frozen=True, slots=True, eq=False)
class _Band:
    """The band-passed density of a picture. ``to_frame``: (3, 3), its pixels to input-frame pixels."""

    values: NDArray[np.float32]
    mask: Mask
    to_frame: Matrix


@dataclass(frozen=True, slots=True, eq=False)
class _View:
    """A stored view: its reference picture and what is looked for in later ones."""

    id: int
    frame: int
    picture: Picture
    band: _Band
    blocks: NDArray[np.int32]
    turned: tuple[tuple[float, NDArray[np.complex64]], ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Fit:
    """``motion`` (3, 3) in input-frame pixels; ``blocks`` agree with it, a ``share`` of all.

    ``error_px``: its standard error in compared pixels, infinite where the steps did not settle. ``expected``: it
    continues the last motion, so that less agreement will do. ``stray_px``: by how much the agreeing blocks would
    rather lie elsewhere, median in compared pixels; ``is_bent``: by too much for one rigid motion.
    """

    motion: Matrix
    share: float
    blocks: int
    error_px: float
    expected: bool = False
    stray_px: float = 0.0
    is_bent: bool = False

    @property
    def confidence(self) -> float:
        """The share of blocks that agree; 0 where they are too few or there is no one motion that they determine."""
        is_determined = self.blocks >= LEAST_BLOCKS and self.error_px <= LEAST_CERTAINTY_PX
        return self.share if is_determined and not self.is_bent else 0.0

    @property
    def ok(self) -> bool:
        return self.confidence >= (KEEP_SHARE if self.expected else OK_SHARE)


class Registrar:
    """Follows the rigid motion of the anatomy pulse by pulse, and keeps a reference for each view.

    Bone edges in a band of the density are aligned by Gauss-Newton steps over textured blocks, starting where the
    last motion continues; blocks that do not correlate (needles, cement, gas, a hand) lose their weight. Where the
    start is too far off, correlation of spectra at several angles finds a new one. Whether the result may be
    trusted is decided by the blocks' normalised correlation at the end, not by the fit.

    Method: inverse compositional alignment (Baker and Matthews, Lucas-Kanade 20 Years On, 2004) with weights for each
    block; start by phase correlation (Kuglin and Hines, The phase correlation image alignment method, 1975).
    A turn of the C-arm shows on its second or third pulse, as parallax: the blocks stray from the common motion.
    Misses: turns of a degree or so, which pass as a shift, also where a larger turn has come to rest; magnification;
    and anatomy that is hidden or featureless.
    """

    def __init__(self, first_view_id: int = 0) -> None:
        self._first_view_id = first_view_id
        self._views: list[_View] = []
        self._view: _View | None = None
        self._motion = np.eye(3)
        self._velocity = np.zeros(2)
        self._share = 1.0
        self._lost_pulses = 0
        self._last_band: _Band | None = None
        self._steady_pulses = 0
        self._standing_ncc: deque[float] = deque(maxlen=15)
        self._strays_px: deque[float] = deque(maxlen=LOST_PULSES + 1)

    @property
    def reference(self) -> Picture:
        """The reference picture of the present view; AttributeError before the first picture."""
        if self._view is None:
            raise AttributeError("no picture has been registered yet")
        return self._view.picture

    def update(self, picture: Picture, ignore: Mask | None, frame: int, t_s: float) -> Placement:
        """Where the anatomy of this pulse lies. The first picture becomes the reference of the first view.

        ``ignore``: work-scale uint8 like ``picture.mask``, 255 where instruments, cement or contrast lie.
        """
        band = _band_of(picture, ignore)
        if self._view is None:
            self._last_band = band
            return self._open_view(picture, band, frame)
        fit = self._unless_at_rest(self._follow(self._view, band))
        self._watch_steadiness(band, fit.ok)
        changed = False
        if fit.ok:
            self._lost_pulses = 0
        else:
            self._lost_pulses += 1
            if self._lost_pulses >= LOST_PULSES and fit.share < OTHER_SHARE:
                known = self._recognise(band)
                if known is not None:
                    self._view, fit = known
                    self._lost_pulses, changed = 0, True
                elif self._steady_pulses >= LOST_PULSES and len(_textured_blocks(band)) >= LEAST_BLOCKS:
                    return self._open_view(picture, band, frame)
        if fit.ok:
            self._share = fit.share
            middle = _centre(picture)
            moved = _apply(fit.motion, middle) - _apply(self._motion, middle)
            self._velocity = np.zeros(2) if changed or self._lost_pulses else moved
            self._motion = fit.motion
        else:
            self._velocity = np.zeros(2)
        return self._placement(picture, fit, changed)

    def _follow(self, view: _View, band: _Band) -> _Fit:
        """The present motion against a view, from where the last one leads, else from a search."""
        start = self._motion.copy()
        start[:2, 2] += self._velocity
        fit = replace(_align(view, band, start), expected=True)
        if fit.ok and fit.share >= DROP * self._share:
            return fit
        found = _search(view, band)
        apart = np.abs(_apply(fit.motion, CORNER) - _apply(found.motion, CORNER)).max()
        if apart < SAME_PLACE_PX:
            return fit
        return found if found.share > fit.share else replace(fit, expected=False)

    def _unless_at_rest(self, fit: _Fit) -> _Fit:
        """The fit, no longer called bent where the C-arm has turned a little and now stands."""
        self._strays_px.append(fit.stray_px)
        strays = self._strays_px
        is_at_rest = len(strays) == strays.maxlen and max(strays) - min(strays) < REST_SHARE * sum(strays) / len(strays)
        return replace(fit, is_bent=fit.is_bent and not is_at_rest)

    def _recognise(self, band: _Band) -> tuple[_View, _Fit] | None:
        """The stored view that this picture shows, if any; in the present one it has been looked for already."""
        fits = [(view, _search(view, band)) for view in self._views if view is not self._view]
        good = [pair for pair in fits if pair[1].ok]
        return max(good, key=lambda pair: pair[1].share) if good else None

    def _watch_steadiness(self, band: _Band, standing: bool) -> None:
        """Count for how many pulses the picture has shown what the one before did, in the same place."""
        last, self._last_band = self._last_band, band
        if last is None or last.values.shape != band.values.shape:
            self._steady_pulses = 0
            return
        both = (band.mask[::2, ::2] > 0) & (last.mask[::2, ::2] > 0)
        if both.sum() < 100:
            self._steady_pulses = 0
            return
        now, before = band.values[::2, ::2][both], last.values[::2, ::2][both]
        alike = float(np.corrcoef(now, before)[0, 1])
        if standing:
            self._standing_ncc.append(alike)
        usual = median(self._standing_ncc) if self._standing_ncc else 0.5
        self._steady_pulses = self._steady_pulses + 1 if alike > STEADY_SHARE * usual else 0

    def _open_view(self, picture: Picture, band: _Band, frame: int) -> Placement:
        changed = bool(self._views)
        self._view = _store_view(self._first_view_id + len(self._views), picture, band, frame)
        self._views.append(self._view)
        self._motion, self._velocity, self._share, self._lost_pulses = np.eye(3), np.zeros(2), 1.0, 0
        blocks = len(self._view.blocks)
        return self._placement(picture, _Fit(np.eye(3), 1.0 if blocks >= LEAST_BLOCKS else 0.0, blocks, 0.0), changed)

    def _placement(self, picture: Picture, fit: _Fit, changed: bool) -> Placement:
        assert self._view is not None
        motion = _rigid_motion(self._motion, _centre(picture))
        registration = Registration(motion.shift_px, motion.rotation_deg, fit.confidence, fit.ok)
        return Placement(self._view.id, changed, motion, registration, self._view.frame)


def _centre(picture: Picture) -> NDArray[np.float64]:
    h, w = picture.pixels.shape
    return np.array([(w - 1) / 2, (h - 1) / 2])


def _apply(matrix: Matrix, point: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(matrix[:2, :2] @ point + matrix[:2, 2])


def _rigid_motion(matrix: Matrix, centre: NDArray[np.float64]) -> RigidMotion:
    shift = _apply(matrix, centre) - centre
    # With y down, a positive angle of the matrix runs clockwise on the screen.
    turn = -degrees(atan2(matrix[1, 0], matrix[0, 0]))
    return RigidMotion((float(shift[0]), float(shift[1])), turn, (float(centre[0]), float(centre[1])))


def _band_of(picture: Picture, ignore: Mask | None) -> _Band:
    """The band of a picture's density in which bone shows, and where it may be compared."""
    h, w = picture.density.shape
    shrink = -(-max(h, w) // SIDE_PX)
    size = (w // shrink, h // shrink)
    crop = (slice(0, size[1] * shrink), slice(0, size[0] * shrink))
    density = cv2.resize(picture.density[crop], size, interpolation=cv2.INTER_AREA)
    use = picture.mask if ignore is None else cv2.bitwise_and(picture.mask, cv2.bitwise_not(ignore))
    use = np.where(cv2.resize(use[crop], size, interpolation=cv2.INTER_AREA) == 255, 255, 0).astype(np.uint8)
    # What must not be seen is filled from around it, or the band would carry its edges outwards.
    weight = cv2.blur(use.astype(np.float32), (15, 15))
    around = cv2.blur(density * use, (15, 15)) / np.maximum(weight, 1e-3)
    density = np.where(use > 0, density, around)
    values = cv2.GaussianBlur(density, (0, 0), FINE_PX) - cv2.GaussianBlur(density, (0, 0), BROAD_PX)
    reach = 2 * MARGIN_PX + 1
    mask = cv2.erode(use, np.ones((reach, reach), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    scale = picture.factor * shrink
    x0, y0 = picture.origin_px
    to_frame = np.array([[scale, 0, x0 + (scale - 1) / 2], [0, scale, y0 + (scale - 1) / 2], [0, 0, 1.0]])
    return _Band(np.ascontiguousarray(values), np.ascontiguousarray(mask), to_frame)


def _store_view(number: int, picture: Picture, band: _Band, frame: int) -> _View:
    turned = tuple((angle, _coarse_spectrum(_turned(band, angle))) for angle in COARSE_ANGLES_DEG)
    return _View(number, frame, picture, band, _textured_blocks(band), turned)


def _textured_blocks(band: _Band) -> NDArray[np.int32]:
    """Top-left corners (x, y) of the blocks with the most structure, (n, 2); (0, 2) in an empty picture."""
    h, w = band.values.shape
    rows, columns = np.mgrid[1 : h - BLOCK_PX - 1 : BLOCK_PX, 1 : w - BLOCK_PX - 1 : BLOCK_PX]
    x, y = columns.ravel(), rows.ravel()
    usable = np.zeros(len(x))
    energy = np.zeros(len(x))
    for i in range(len(x)):
        here = (slice(y[i], y[i] + BLOCK_PX), slice(x[i], x[i] + BLOCK_PX))
        inside = band.mask[here] > 0
        usable[i] = inside.mean()
        energy[i] = float(band.values[here][inside].var()) if inside.any() else 0.0
    good = usable > 0.6
    if not good.any():
        return np.zeros((0, 2), dtype=np.int32)
    # The quietest blocks show what the noise alone amounts to.
    good &= energy > 1.5 * float(np.percentile(energy[good], 10))
    best = np.flatnonzero(good)[np.argsort(-energy[good], kind="stable")][:MOST_BLOCKS]
    return np.ascontiguousarray(np.column_stack([x[best], y[best]]), dtype=np.int32)


def _align(view: _View, band: _Band, start: Matrix) -> _Fit:
    """The motion near ``start`` (3, 3, input-frame pixels) under which the view's blocks lie on the picture."""
    reference = view.band
    if not len(view.blocks):
        return _Fit(start, 0.0, 0, np.inf)
    from_frame = np.linalg.inv(band.to_frame)
    matrix = from_frame @ start @ reference.to_frame
    h, w = reference.values.shape
    sums = np.empty((len(view.blocks), SUMS))
    enough = 0.4 * BLOCK_PX**2
    step = np.zeros(3)
    for count in range(STEPS + 1):
        block_sums(
            reference.values,
            reference.mask,
            band.values,
            band.mask,
            np.ascontiguousarray(matrix[:2]),
            view.blocks,
            sums,
        )
        seen = sums[:, 0] > enough
        if seen.sum() < LEAST_BLOCKS:
            return _Fit(start, 0.0, int(seen.sum()), np.inf)
        blocks = _BlockFit.of(sums[seen])
        if count == STEPS or (count > 0 and float(np.abs(step).max()) < 0.01):
            break
        step, _ = blocks.solve()
        largest = float(np.abs(step).max())
        if largest > 4.0:
            step *= 4.0 / largest
        matrix = matrix @ np.linalg.inv(_small_motion(step, w, h))
    _, error_px = blocks.solve()
    if float(np.abs(step).max()) > SETTLED_PX:
        error_px = np.inf
    agreeing = blocks.ncc > AGREE_NCC
    found = _nearest_rigid(band.to_frame @ matrix @ np.linalg.inv(reference.to_frame))
    stray_px = blocks.stray_px(agreeing)
    is_bent = stray_px > max(STRAY_PX, STRAY_SHARE * max(w, h))
    return _Fit(found, float(agreeing.mean()), int(agreeing.sum()), error_px, stray_px=stray_px, is_bent=is_bent)


@dataclass(frozen=True, slots=True, eq=False)
class _BlockFit:
    """Normal equations of each block, and its normalised correlation ``ncc`` as it lies now."""

    ncc: NDArray[np.float64]
    normal: NDArray[np.float64]
    right: NDArray[np.float64]
    residual: NDArray[np.float64]
    pixels: NDArray[np.float64]

    @classmethod
    def of(cls, sums: NDArray[np.float64]) -> "_BlockFit":
        n, c, t, cc, tt, ct = sums[:, :6].T
        var_c, var_t = np.maximum(cc - c * c / n, 1e-12), np.maximum(tt - t * t / n, 1e-12)
        cov = ct - c * t / n
        # One gain for the whole picture: brightness control and display curves change contrast everywhere.
        gain = float(np.clip(np.median(np.sqrt(var_c / var_t)), 0.2, 5.0))
        j, cj, tj = sums[:, 6:9], sums[:, 9:12], sums[:, 12:15]
        right = (cj - c[:, None] * j / n[:, None]) / gain - (tj - t[:, None] * j / n[:, None])
        normal = sums[:, [15, 16, 17, 16, 18, 19, 17, 19, 20]].reshape(-1, 3, 3)
        normal = normal - j[:, :, None] * j[:, None, :] / n[:, None, None]
        residual = var_c / gain**2 + var_t - 2 * cov / gain
        return cls(cov / np.sqrt(var_c * var_t), normal, right, np.maximum(residual, 0.0), n)

    def solve(self) -> tuple[NDArray[np.float64], float]:
        """The step (x, y, turn) that most blocks want, and the standard error of its worst part, in pixels."""
        weight = np.clip(self.ncc, 0.03, 1.0) ** 2
        noise = self.residual / self.pixels
        # Blocks that something covers fit much worse than most.
        weight = weight / (1.0 + (noise / (3.0 * np.median(noise) + 1e-12)) ** 2)
        normal = np.einsum("b,bij->ij", weight, self.normal)
        right = weight @ self.right
        normal[np.diag_indices(3)] += 1e-9 + 1e-6 * np.trace(normal)
        inverse = np.linalg.inv(normal)
        # The band makes neighbouring pixels alike: about 2 pi FINE_PX² of them count as one.
        alike = 2 * np.pi * FINE_PX**2
        mean_noise = float((weight * noise).sum() / max(float(weight.sum()), 1e-12))
        error = float(np.sqrt(np.abs(np.diag(inverse)).max() * mean_noise * alike * float(weight.max())))
        return inverse @ right, error

    def stray_px(self, which: NDArray[np.bool_]) -> float:
        """How far the marked blocks lie from where each by itself would rather lie, median in pixels; 0 for none."""
        if not which.any():
            return 0.0
        normal = self.normal[which][:, :2, :2]
        normal = normal + 1e-6 * np.trace(normal, axis1=1, axis2=2)[:, None, None] * np.eye(2)
        own = np.linalg.solve(normal, self.right[which][:, :2, None])[:, :, 0]
        return float(np.median(np.hypot(own[:, 0], own[:, 1])))


def _small_motion(step: NDArray[np.float64], w: int, h: int) -> Matrix:
    """(3, 3) for a step of ``block_sums``'s parameters."""
    x, y = float(step[0]), float(step[1])
    a = float(step[2]) * 4.0 / w
    cx, cy = (w - 1) / 2, (h - 1) / 2
    turn = np.array([[cos(a), -sin(a)], [sin(a), cos(a)]])
    offset = np.array([cx + x, cy + y]) - turn @ np.array([cx, cy])
    return np.vstack([np.column_stack([turn, offset]), [0.0, 0.0, 1.0]])


def _nearest_rigid(matrix: Matrix) -> Matrix:
    """The same motion without the rounding that repeated products bring."""
    a = atan2(matrix[1, 0], matrix[0, 0])
    return np.array([[cos(a), -sin(a), matrix[0, 2]], [sin(a), cos(a), matrix[1, 2]], [0.0, 0.0, 1.0]])


def _coarse(band: _Band) -> NDArray[np.float32]:
    """A band at COARSE_SIDE² for spectra: faded out at the mask's edge, unused corners empty."""
    h, w = band.values.shape
    scale = COARSE_SIDE / max(h, w)
    size = (max(1, round(w * scale)), max(1, round(h * scale)))
    soft = cv2.blur(band.mask.astype(np.float32) / 255.0, (9, 9)) * (band.mask > 0)
    small = cv2.resize(band.values * soft, size, interpolation=cv2.INTER_AREA)
    square = np.zeros((COARSE_SIDE, COARSE_SIDE), dtype=np.float32)
    square[: size[1], : size[0]] = small
    return square


def _coarse_spectrum(band: _Band) -> NDArray[np.complex64]:
    return np.asarray(np.fft.rfft2(_coarse(band)), dtype=np.complex64)


def _turned(band: _Band, angle_deg: float) -> _Band:
    """A band turned about its middle, clockwise on the screen."""
    if angle_deg == 0.0:
        return band
    h, w = band.values.shape
    turn = cv2.getRotationMatrix2D(((w - 1) / 2, (h - 1) / 2), -angle_deg, 1.0)
    values = cv2.warpAffine(band.values, turn, (w, h))
    mask = cv2.warpAffine(band.mask, turn, (w, h), flags=cv2.INTER_NEAREST)
    return _Band(values, mask, band.to_frame)


def _search(view: _View, band: _Band) -> _Fit:
    """The best motion wherever it may lie: spectra correlated at several angles, the best starts aligned."""
    h, w = view.band.values.shape
    if band.values.shape != (h, w):
        return _align(view, band, np.eye(3))
    present = _coarse_spectrum(band)
    scale = max(h, w) / COARSE_SIDE
    starts = []
    for angle, spectrum in view.turned:
        cross = np.conj(spectrum) * present
        size = np.abs(cross)
        # Halfway between correlation and phase correlation: robust to both noise and strong edges.
        peaks = np.fft.irfft2(cross / np.sqrt(size + 1e-6 * float(size.max()) + 1e-20), s=(COARSE_SIDE, COARSE_SIDE))
        at = int(np.argmax(peaks))
        dy, dx = divmod(at, COARSE_SIDE)
        dx, dy = (d - COARSE_SIDE if d > COARSE_SIDE // 2 else d for d in (dx, dy))
        a = np.radians(angle) * w / 4.0
        turn = _small_motion(np.array([0.0, 0.0, a]), w, h)
        turn[:2, 2] += np.array([dx, dy]) * scale
        starts.append((float(peaks.flat[at]), turn))
    starts.sort(key=lambda start: -start[0])
    fits = []
    for _, turn in starts[:2]:
        fits.append(_align(view, band, band.to_frame @ turn @ np.linalg.inv(view.band.to_frame)))
        if fits[-1].ok:
            break
    return max(fits, key=lambda fit: fit.share)
