"""How the anatomy has moved since its view's reference frame, and which stored view this is."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import atan2, cos, degrees, sin, sqrt
from statistics import median

import cv2
import numpy as np
from numpy.typing import NDArray

from guidance.records import Registration
from guidance.vision.geometry import Matrix, RigidMotion
from guidance.vision.kernels.median import median as median_of
from guidance.vision.kernels.registration import (
    AGREE_NCC,
    BLOCK_PX,
    CLEAR_PX,
    FINE_PX,
    LEAST_BLOCKS,
    SUMS,
    TERMS,
    align,
    block_terms,
    correlation,
)
from guidance.vision.picture import Density, Mask, Picture

SIDE_PX = 320
"""Bone is compared at no more than this many pixels a side."""
BROAD_PX = 5.0
"""The band that is compared, as Gaussian sigmas from FINE_PX to this: finer is noise, broader is scatter, vignetting
and soft tissue."""
MARGIN_PX = 5
"""As far as the band carries an edge of the field or of an ignored object, most of it."""
EDGE_PX = 2
"""Of the margin, what is not looked at at all."""
MOST_BLOCKS = 140
LEAST_NCC = 0.3
"""Noise alone correlates so well with a block one time in twenty: never less counts as agreement."""
OK_SHARE = 0.55
"""Share of the textured blocks that must agree: wrong optima on real pictures reached 0.53, a search's 0.45."""
KEEP_SHARE = 0.45
"""Enough where the motion continues the last pulse's, or a search over the whole picture ends at the same place."""
OTHER_SHARE = 0.35
"""Below this the picture may show another view; in between, the same anatomy much disturbed."""
DROP = 0.85
"""A share that falls below this part of the last one calls for a search: a jump, or something in front."""
LEAST_CERTAINTY_PX = 0.6
"""Standard error of the motion, in compared pixels, beyond which parallel edges leave it undetermined."""
STRAY_PX, STRAY_SHARE = 0.4, 0.0018
"""Blocks that want to lie this far from the common motion, in compared pixels and as a share of the picture's side,
see parts at different depths move differently: the C-arm turns. What noise alone makes them stray is taken off."""
REST_SHARE = 0.5
"""A C-arm that rests a little beside its reference: the blocks stray on alike, within this share of that limit."""
LOSS = 0.4
"""This part of what agreed a moment ago no longer does: the picture is turning into another one."""
RECENT_PULSES = 4
"""How long a moment is, and how long blocks stray alike before the C-arm is taken to rest."""
USUAL_PULSES = 15
"""What is usual is the median of so many pulses."""
FAST_SHARE = 0.006
"""Of the picture's side a pulse, about 1 mm: twice as fast as deep breath. Anatomy leaves a trail, in the recursive
filter and within the exposure, that differs from the reference as cement does."""
UNUSUAL = 3.0
"""And so many times faster than of late: no motion that lasts may keep cement from being looked for."""
ELSEWHERE_SHARE = 0.03
"""Of the picture's side, about 6 mm: a fast move so far is none of breath's, and shifts what lies four centimetres
deeper by a third of a millimetre beside the rest."""
REST_PULSES = 4
"""So long without a fast move C-arm and table rest, and of a trail a recursive filter has left a tenth at most."""
TRAIL_PULSES = 2
"""Until a trail has faded: a recursive filter that keeps a half has then a quarter of it."""
LOST_PULSES = 3
MEAN_PULSES = 8
"""So many pulses make a view's reference: a third of the noise, before needles and cement have come."""
STEADY_SHARE = 0.85
"""Two pulses correlate at this part of what they do while the view stands, or the C-arm is still swinging."""
SEEN_PULSES = 4
"""A view that is lost sooner was none: the picture stood still for a moment while the C-arm swung."""
LEAST_SEEN = np.float32(1e-3)
"""Of a mean's weight: with less the mean is taken for smaller than it is, and with nothing it is 0."""
COARSE_SIDE = 128
CORNER = np.array([0.0, 0.0])
SAME_PLACE_PX = 4.0
"""Two motions are the same when they move the frame's corner alike, within this many input pixels."""
COARSE_ANGLES_DEG = (0.0, -2.0, 2.0, -4.0, 4.0, -6.0, 6.0)


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """``motion`` since frame ``reference_frame`` of view ``view_id``; ``view_changed`` on the first pulse of a view.

    ``is_sharp``: anatomy has not moved so fast of late that the picture shows its trail beside it. ``rests``: how often
    C-arm or table have come to rest elsewhere within the view: what lies at another depth is then seen beside where
    the reference has it.
    """

    view_id: int
    view_changed: bool
    motion: RigidMotion
    registration: Registration
    reference_frame: int
    is_sharp: bool
    rests: int = 0


@dataclass(frozen=True, eq=False)
class _Band:
    """The band-passed density of a picture. ``to_frame``: (3, 3), its pixels to input-frame pixels: it enlarges and
    shifts."""

    values: NDArray[np.float32]
    mask: Mask
    to_frame: Matrix

    @cached_property
    def from_frame(self) -> Matrix:
        (across, _, x), (_, down, y), _ = self.to_frame.tolist()
        return np.array([[1.0 / across, 0.0, -x / across], [0.0, 1.0 / down, -y / down], [0.0, 0.0, 1.0]])

    @cached_property
    def clear(self) -> Mask:
        """Not 0 where the mask is so over CLEAR_PX² pixels of which that one is the first."""
        square = np.ones((CLEAR_PX, CLEAR_PX), np.uint8)
        clear = cv2.erode(self.mask, square, anchor=(0, 0), borderType=cv2.BORDER_CONSTANT, borderValue=0)
        return np.asarray(clear, dtype=np.uint8)


class _SeenAround:
    """How much of a Gaussian mean about each pixel falls on such as may be used; never less than LEAST_SEEN.

    The mask differs little from pulse to pulse: what it tells is worked out anew about what has changed alone.
    """

    def __init__(self) -> None:
        self._use: Mask = np.empty((0, 0), np.uint8)
        self._fine = self._broad = np.empty((0, 0), np.float32)

    def of(self, use: Mask, share: NDArray[np.float32]) -> tuple[Density, Density]:
        """For means over FINE_PX and over BROAD_PX, shape of ``use``; they hold until the next call.

        ``use``: not 0 where a pixel may be used; ``share``: 1 there, else 0.
        """
        if use.shape != self._use.shape:
            self._fine, self._broad = np.empty((2, *use.shape), np.float32)
            changed: Sequence[int] = (0, 0, use.shape[1], use.shape[0])
        else:
            changed = cv2.boundingRect(cv2.compare(use, self._use, cv2.CMP_NE))
        self._use = use
        if changed[2] > 0:
            _blur_again(share, changed, FINE_PX, self._fine)
            _blur_again(share, changed, BROAD_PX, self._broad)
        return self._fine, self._broad


def _blur_again(share: NDArray[np.float32], changed: Sequence[int], sigma_px: float, blurred: Density) -> None:
    """Blur anew what the change in a box, left, top, width and height, reaches; to ``blurred``, at least LEAST_SEEN."""
    (left, top, width, height), reach = changed, _reach_px(sigma_px)
    right, bottom = left + width + reach, top + height + reach
    left, top = max(0, left - reach), max(0, top - reach)
    # Between multiples of 16, so that each pixel has the same place in the processor's vectors as in a whole picture.
    from_x, to_x = max(0, left - reach) // 16 * 16, -(-(right + reach) // 16) * 16
    from_y, to_y = max(0, top - reach), bottom + reach
    part = _blurred(share[from_y:to_y, from_x:to_x], sigma_px)
    inner = part[top - from_y : bottom - from_y, left - from_x : right - from_x]
    np.maximum(inner, LEAST_SEEN, out=blurred[top:bottom, left:right])


class _View:
    """A stored view: its reference picture and what is looked for in later ones.

    What is looked for is the mean of the first pulses, laid on the reference: one pulse at low dose is mostly noise.
    """

    def __init__(self, number: int, frame: int, picture: Picture, band: _Band) -> None:
        self.id, self.frame, self.picture = number, frame, picture
        self.rests = 0
        self._pulses = 0
        self._look_for(band)

    def _look_for(self, band: _Band) -> None:
        self._pulses += 1
        self.band = band
        self.blocks = _textured_blocks(band)
        self.terms = np.empty((len(self.blocks), TERMS, BLOCK_PX**2))
        self.own_sums = np.empty((len(self.blocks), SUMS))
        block_terms(band.values, band.mask, self.blocks, self.terms, self.own_sums)
        self._turned: list[tuple[float, NDArray[np.complex64]]] = []

    def turned(self) -> list[tuple[float, NDArray[np.complex64]]]:
        """The spectrum of what is looked for at each of COARSE_ANGLES_DEG; only a search asks for it."""
        while len(self._turned) < len(COARSE_ANGLES_DEG):
            self._turn_once_more()
        return self._turned

    def _turn_once_more(self) -> None:
        angle = COARSE_ANGLES_DEG[len(self._turned)]
        self._turned.append((angle, _coarse_spectrum(_turned(self.band, angle), self.band)))

    @property
    def is_settled(self) -> bool:
        return self._pulses >= SEEN_PULSES

    def learn(self, band: _Band, motion: Matrix) -> None:
        """Take a pulse into the mean, while that gains something; ``motion`` as in ``_Fit``."""
        if self._pulses >= MEAN_PULSES:
            if len(self._turned) < len(COARSE_ANGLES_DEG):
                # One in a pulse, so that they are there when a search, which takes long enough, asks for them.
                self._turn_once_more()
            return
        h, w = self.band.values.shape
        there = (band.from_frame @ motion @ self.band.to_frame)[:2]
        values = cv2.warpAffine(band.values, there, (w, h), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        mask = cv2.warpAffine(band.mask, there, (w, h), flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP)
        share = np.where(mask > 0, np.float32(1.0 / (self._pulses + 1)), np.float32(0.0))
        mean = self.band.values + share * (values - self.band.values)
        self._look_for(_Band(mean, self.band.mask, self.band.to_frame))


@dataclass(frozen=True, slots=True, eq=False)
class _Fit:
    """``motion`` (3, 3) in input-frame pixels; ``blocks`` agree with it, a ``share`` of all; ``needed`` is enough.

    ``error_px``: its standard error in compared pixels, infinite where the steps did not settle. ``stray_px``: by how
    much the agreeing blocks would rather lie elsewhere, median in compared pixels; ``is_bent``: the C-arm turns, no one
    rigid motion holds. ``reachable_ncc``: what correlation the pulse's noise leaves.
    """

    motion: Matrix
    share: float
    blocks: int
    error_px: float
    needed: float = OK_SHARE
    stray_px: float = 0.0
    is_bent: bool = False
    reachable_ncc: float = 1.0

    @property
    def is_determined(self) -> bool:
        return self.blocks >= LEAST_BLOCKS and self.error_px <= LEAST_CERTAINTY_PX

    @property
    def is_found(self) -> bool:
        """The anatomy lies there, if perhaps bent."""
        return self.is_determined and self.share >= self.needed

    @property
    def ok(self) -> bool:
        return self.is_found and not self.is_bent

    @property
    def confidence(self) -> float:
        """The share of blocks that agree; 0 where they are too few or there is no one motion that they determine."""
        return self.share if self.is_determined and not self.is_bent else 0.0


class Registrar:
    """Follows the rigid motion of the anatomy pulse by pulse, and keeps a reference for each view.

    Bone edges in a band of the density are aligned by Gauss-Newton steps over textured blocks, starting where the
    last motion continues; blocks that do not correlate (needles, cement, gas, a hand) lose their weight, and so do
    those that by themselves would go elsewhere (shutters, text, a monitor's frame: they stand still). What is looked
    for is the mean of the view's first pulses, because one pulse at low dose is mostly noise. Where the start is too
    far off, correlation of spectra at several angles finds a new one. Whether the result may be trusted is decided by
    the blocks' normalised correlation at the end, not by the fit.

    Method: inverse compositional alignment (Baker and Matthews, Lucas-Kanade 20 Years On, 2004) with weights for each
    block; start by phase correlation (Kuglin and Hines, The phase correlation image alignment method, 1975).
    A turn of the C-arm shows on its second or third pulse, as parallax: the blocks stray from the common motion. The
    anatomy is followed on meanwhile, and trusted again when the C-arm rests.
    Misses: turns of a degree or so, which pass as a shift, also where a larger turn has come to rest; a recursive
    filter's lag, by which the picture itself trails behind anatomy in motion; magnification; and anatomy that is
    hidden or featureless.
    """

    def __init__(self, first_view_id: int = 0) -> None:
        self._next_view_id = first_view_id
        self._views: list[_View] = []
        self._view: _View | None = None
        self._scale_px: int | None = None
        self._seen_around = _SeenAround()
        self._motion = np.eye(3)
        self._velocity = np.zeros(2)
        self._share = 1.0
        self._was_found = True
        self._pulses_since_fast = TRAIL_PULSES
        self._lost_pulses = 0
        self._last_band: _Band | None = None
        self._steady_pulses = 0
        self._standing_ncc: deque[float] = deque(maxlen=USUAL_PULSES)
        self._strays_px: deque[float] = deque(maxlen=RECENT_PULSES)
        self._shares: deque[float] = deque(maxlen=RECENT_PULSES)
        self._reached_ncc: deque[float] = deque(maxlen=USUAL_PULSES)
        self._usual_shares: deque[float] = deque(maxlen=USUAL_PULSES)
        self._rest_px = 0.0
        self._moves_px: deque[float] = deque(maxlen=USUAL_PULSES)
        self._rest_place: NDArray[np.float64] | None = None
        self._is_away = False

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
        # One scale for the case: when shutters close, the crop changes, but what is compared must stay the same band.
        self._scale_px = self._scale_px or _scale_px(picture)
        band = _band_of(picture, ignore, self._scale_px, self._seen_around)
        if self._view is None:
            self._last_band = band
            return self._open_view(picture, band, frame)
        fit = self._judged(self._follow(self._view, band), band)
        self._watch_steadiness(band, fit.ok)
        changed = False
        if fit.ok:
            self._lost_pulses = 0
        else:
            self._lost_pulses += 1
            if self._lost_pulses >= LOST_PULSES and not fit.is_found:
                known = self._recognise(band)
                if known is not None:
                    self._view, fit = known
                    self._forget_recent()
                    fit = self._judged(fit, band)
                    self._lost_pulses, changed = 0, True
                elif fit.share < OTHER_SHARE and self._shows_something_steady(band):
                    return self._open_view(picture, band, frame)
        if fit.is_found:
            # Where the C-arm turns or is rolled aside, the anatomy is followed on, or it would be lost for good.
            self._share = fit.share
            middle = _centre(picture)
            moved = _apply(fit.motion, middle) - _apply(self._motion, middle)
            self._velocity = moved if self._was_found and not changed else np.zeros(2)
            self._watch_speed(float(np.hypot(*moved)), FAST_SHARE * max(band.values.shape) * self._scale_px)
            self._watch_rest(_apply(fit.motion, middle), fit, ELSEWHERE_SHARE * max(band.values.shape) * self._scale_px)
            self._motion = fit.motion
        else:
            self._velocity = np.zeros(2)
        self._was_found = fit.is_found
        if fit.ok:
            self._view.learn(band, fit.motion)
            self._reached_ncc.append(fit.reachable_ncc)
        return self._placement(picture, fit, changed)

    def forget_view(self) -> None:
        """Let the next picture be the reference of a new view. The one on the screen is forgotten, others are not."""
        self._views = [view for view in self._views if view is not self._view]
        self._view = None
        self._motion, self._velocity = np.eye(3), np.zeros(2)
        self._forget_recent()

    def locate(self, picture: Picture, ignore: Mask | None) -> RigidMotion | None:
        """Where the anatomy of any pulse lies against the present view's reference; None where it is not that view's.

        ``picture`` and ``ignore`` as in ``update``, which must have been called before. Nothing is learnt from it.
        """
        assert self._view is not None
        assert self._scale_px is not None
        band = _band_of(picture, ignore, self._scale_px, _SeenAround())
        near = replace(_align(self._view, band, self._motion, self._reachable_ncc), needed=KEEP_SHARE)
        fit = near if near.is_found else _search(self._view, band, self._reachable_ncc)
        return _rigid_motion(fit.motion, _centre(picture)) if fit.is_found else None

    def _follow(self, view: _View, band: _Band) -> _Fit:
        """The present motion against a view, from where the last one leads, else from a search."""
        start = self._motion.copy()
        start[:2, 2] += self._velocity
        fit = replace(_align(view, band, start, self._reachable_ncc), needed=self._enough())
        if fit.is_found and fit.share >= DROP * self._share:
            return fit
        found = _search(view, band, self._reachable_ncc)
        apart = np.abs(_apply(fit.motion, CORNER) - _apply(found.motion, CORNER)).max()
        # Beside the place a start may be caught in steps that never settle, and be held there by its own motion.
        best = max(fit, found, key=lambda one: (one.is_determined, one.share))
        return replace(best, needed=fit.needed if apart < SAME_PLACE_PX else OK_SHARE)

    @property
    def _reachable_ncc(self) -> float:
        """The correlation that noise usually leaves: a pulse that shows anatomy in two places has no such excuse."""
        return median(self._reached_ncc) if self._reached_ncc else 1.0

    def _enough(self) -> float:
        """The share that will do where the motion continues the last one.

        At low dose it scatters from pulse to pulse: what is usual and enough may for once be missed by a little.
        """
        usual = median(self._usual_shares) if self._usual_shares else 0.0
        return min(KEEP_SHARE, DROP * usual) if usual >= KEEP_SHARE else KEEP_SHARE

    def _judged(self, fit: _Fit, band: _Band) -> _Fit:
        """The fit, called bent where the C-arm turns: parallax grows, and what agreed no longer does.

        Each alone tells where it is large, and both together sooner: bone that is alike from all sides hardly strays.
        """
        limit_px = max(STRAY_PX, STRAY_SHARE * max(band.values.shape))
        strays, shares = self._strays_px, self._shares
        strays.append(fit.stray_px)
        if len(strays) == strays.maxlen and max(strays) - min(strays) < REST_SHARE * limit_px:
            self._rest_px = median(strays)
        strayed = max(0.0, fit.stray_px - self._rest_px) / limit_px
        usual = median(shares) if shares else 0.0
        # Where nothing usually agrees, as in a picture without bone, nothing more can be lost.
        lost = max(0.0, 1.0 - fit.share / usual) / LOSS if usual > 0 else 0.0
        shares.append(fit.share)
        self._usual_shares.append(fit.share)
        return replace(fit, is_bent=strayed + lost > 1.0)

    def _watch_speed(self, moved_px: float, fast_px: float) -> None:
        """Count the pulses since anatomy moved fast, for what is usual: breath at few pulses a second is no jump."""
        usual_px = median(self._moves_px) if self._moves_px else 0.0
        self._moves_px.append(moved_px)
        is_fast = moved_px > max(fast_px, UNUSUAL * usual_px)
        self._pulses_since_fast = 0 if is_fast else self._pulses_since_fast + 1

    def _watch_rest(self, place: NDArray[np.float64], fit: _Fit, far_px: float) -> None:
        """Count the rests within the view. ``place``: where the middle of the reference lies now."""
        assert self._view is not None
        if self._rest_place is None:
            self._rest_place = place if fit.ok else None
            return
        has_jumped = self._pulses_since_fast < REST_PULSES and float(np.hypot(*(place - self._rest_place))) > far_px
        self._is_away |= fit.is_bent or has_jumped
        if self._is_away and fit.ok and self._pulses_since_fast >= REST_PULSES:
            self._view.rests += 1
            self._rest_place, self._is_away = place, False

    def _forget_recent(self) -> None:
        self._strays_px.clear()
        self._shares.clear()
        self._usual_shares.clear()
        self._rest_px = 0.0
        self._rest_place, self._is_away = None, False

    def _recognise(self, band: _Band) -> tuple[_View, _Fit] | None:
        """The stored view that this picture shows, if any; in the present one it has been looked for already."""
        fits = [(view, _search(view, band, self._reachable_ncc)) for view in self._views if view is not self._view]
        good = [pair for pair in fits if pair[1].is_found]
        return max(good, key=lambda pair: pair[1].share) if good else None

    def _shows_something_steady(self, band: _Band) -> bool:
        return self._steady_pulses >= LOST_PULSES and len(_textured_blocks(band)) >= LEAST_BLOCKS

    def _watch_steadiness(self, band: _Band, standing: bool) -> None:
        """Count for how many pulses the picture has shown what the one before did, in the same place."""
        last, self._last_band = self._last_band, band
        if last is None or last.values.shape != band.values.shape:
            self._steady_pulses = 0
            return
        seen, alike = correlation(band.values, band.mask, last.values, last.mask)
        if seen < 100:
            self._steady_pulses = 0
            return
        if standing:
            self._standing_ncc.append(alike)
        usual = median(self._standing_ncc) if self._standing_ncc else 0.5
        self._steady_pulses = self._steady_pulses + 1 if alike > STEADY_SHARE * usual else 0

    def _open_view(self, picture: Picture, band: _Band, frame: int) -> Placement:
        changed = bool(self._views)
        if self._view is not None and self._view is not self._views[0] and not self._view.is_settled:
            self._views.remove(self._view)
        self._view = _View(self._next_view_id, frame, picture, band)
        self._next_view_id += 1
        self._views.append(self._view)
        self._motion, self._velocity, self._share, self._lost_pulses = np.eye(3), np.zeros(2), 1.0, 0
        self._pulses_since_fast = TRAIL_PULSES
        self._forget_recent()
        self._rest_place = _centre(picture)
        blocks = len(self._view.blocks)
        return self._placement(picture, _Fit(np.eye(3), 1.0 if blocks >= LEAST_BLOCKS else 0.0, blocks, 0.0), changed)

    def _placement(self, picture: Picture, fit: _Fit, changed: bool) -> Placement:
        assert self._view is not None
        motion = _rigid_motion(self._motion, _centre(picture))
        registration = Registration(motion.shift_px, motion.rotation_deg, fit.confidence, fit.ok)
        is_sharp = self._pulses_since_fast >= TRAIL_PULSES and not self._is_away
        return Placement(self._view.id, changed, motion, registration, self._view.frame, is_sharp, self._view.rests)


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


def _scale_px(picture: Picture) -> int:
    """Input pixels for each compared pixel of a case that begins with this picture."""
    h, w = picture.density.shape
    return int(picture.factor * -(-max(h, w) // SIDE_PX))


def _band_of(picture: Picture, ignore: Mask | None, scale_px: int, seen_around: _SeenAround) -> _Band:
    """The band of a picture's density in which bone shows, and where it may be compared."""
    h, w = picture.density.shape
    shrink = scale_px / picture.factor
    size = (max(1, int(w / shrink)), max(1, int(h / shrink)))
    columns, rows = round(size[0] * shrink), round(size[1] * shrink)
    crop = (slice(0, rows), slice(0, columns))
    shown = cv2.resize(picture.density[crop], size, interpolation=cv2.INTER_AREA)
    use = picture.mask if ignore is None else cv2.bitwise_and(picture.mask, cv2.bitwise_not(ignore))
    use = cv2.compare(cv2.resize(use[crop], size, interpolation=cv2.INTER_AREA), 255, cv2.CMP_EQ)
    # The outermost pixels hold some of the frame around the field, which stands still and would hold the fit.
    use = _shrunk(np.asarray(use, dtype=np.uint8), EDGE_PX)
    # Means over what may be seen alone: an edge of the field or of a needle would else be carried into the band.
    share = (use & 1).astype(np.float32)
    shown = cv2.multiply(shown, share, dst=shown)
    of_fine, of_broad = seen_around.of(use, share)
    fine, broad = _blurred(shown, FINE_PX), _blurred(shown, BROAD_PX)
    values = cv2.subtract(cv2.divide(fine, of_fine, dst=fine), cv2.divide(broad, of_broad, dst=broad), dst=fine)
    mask = _shrunk(use, MARGIN_PX - EDGE_PX)
    x0, y0 = picture.origin_px
    across, down = picture.factor * columns / size[0], picture.factor * rows / size[1]
    to_frame = np.array([[across, 0, x0 + (across - 1) / 2], [0, down, y0 + (down - 1) / 2], [0, 0, 1.0]])
    return _Band(np.asarray(values, dtype=np.float32), mask, to_frame)


def _shrunk(mask: Mask, by_px: int) -> Mask:
    side = 2 * by_px + 1
    shrunk = cv2.erode(mask, np.ones((side, side), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return np.asarray(shrunk, dtype=np.uint8)


def _reach_px(sigma_px: float) -> int:
    return round(3 * sigma_px)


def _blurred(image: NDArray[np.float32], sigma_px: float) -> NDArray[np.float32]:
    side = 2 * _reach_px(sigma_px) + 1
    return np.asarray(cv2.GaussianBlur(image, (side, side), sigma_px), dtype=np.float32)


def _in_blocks(image: NDArray[np.float32] | Mask, down: int, across: int) -> NDArray[np.float64]:
    """The pixels of each block, (down * across, BLOCK_PX²), from row and column 1 on."""
    part = image[1 : 1 + down * BLOCK_PX, 1 : 1 + across * BLOCK_PX].astype(np.float64)
    return part.reshape(down, BLOCK_PX, across, BLOCK_PX).transpose(0, 2, 1, 3).reshape(down * across, -1)


def _textured_blocks(band: _Band) -> NDArray[np.int32]:
    """Top-left corners (x, y) of the blocks with the most structure, (n, 2); (0, 2) in an empty picture."""
    h, w = band.values.shape
    down, across = max(0, (h - 2) // BLOCK_PX), max(0, (w - 2) // BLOCK_PX)
    rows, columns = np.mgrid[0:down, 0:across]
    x, y = columns.ravel() * BLOCK_PX + 1, rows.ravel() * BLOCK_PX + 1
    inside = _in_blocks(band.mask, down, across) > 0
    values = _in_blocks(band.values, down, across)
    count = np.maximum(inside.sum(axis=1), 1)
    usable = inside.mean(axis=1)
    mean = (values * inside).sum(axis=1) / count
    energy = (np.square(values - mean[:, None]) * inside).sum(axis=1) / count
    good = usable > 0.6
    if not good.any():
        return np.zeros((0, 2), dtype=np.int32)
    # The quietest blocks show what the noise alone amounts to.
    good &= energy > 1.5 * float(np.percentile(energy[good], 10))
    best = np.flatnonzero(good)[np.argsort(-energy[good], kind="stable")][:MOST_BLOCKS]
    return np.ascontiguousarray(np.column_stack([x[best], y[best]]), dtype=np.int32)


def _align(view: _View, band: _Band, start: Matrix, reachable_ncc: float) -> _Fit:
    """The motion near ``start`` (3, 3, input-frame pixels) under which the view's blocks lie on the picture."""
    reference = view.band
    count = len(view.blocks)
    matrix = band.from_frame @ start @ reference.to_frame
    ncc, stray = np.empty(count), np.empty(count)
    h, w = reference.values.shape
    seen, error_px, now_reachable_ncc = align(
        view.terms, view.own_sums, band.values, band.mask, band.clear, view.blocks, w, h, matrix[:2], ncc, stray
    )
    if seen < LEAST_BLOCKS:
        return _Fit(start, 0.0, seen, np.inf)
    agreeing = ncc[:seen] > max(LEAST_NCC, AGREE_NCC * reachable_ncc)
    agree = int(np.count_nonzero(agreeing))
    stray_px = sqrt(max(0.0, median_of(stray[:seen][agreeing]))) if agree else 0.0
    found = _nearest_rigid(band.to_frame @ matrix @ reference.from_frame)
    return _Fit(found, agree / seen, agree, error_px, stray_px=stray_px, reachable_ncc=now_reachable_ncc)


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


def _coarse_spectrum(band: _Band, reference: _Band) -> NDArray[np.complex64]:
    """The spectrum of a band at COARSE_SIDE², where it lies on the reference's field; faded out at the mask's edge."""
    scale = max(reference.values.shape) / COARSE_SIDE
    soft = cv2.blur(band.mask.astype(np.float32) / 255.0, (9, 9)) * (band.mask > 0)
    # Each coarse pixel is a mean of some finer ones.
    values = cv2.blur(band.values * soft, (max(1, round(scale)),) * 2)
    coarse = np.array([[scale, 0, (scale - 1) / 2], [0, scale, (scale - 1) / 2], [0, 0, 1.0]])
    there = (np.linalg.inv(band.to_frame) @ reference.to_frame @ coarse)[:2]
    side = (COARSE_SIDE, COARSE_SIDE)
    square = cv2.warpAffine(values, there, side, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    return np.asarray(np.fft.rfft2(square), dtype=np.complex64)


def _turned(band: _Band, angle_deg: float) -> _Band:
    """A band turned about its middle, clockwise on the screen."""
    if angle_deg == 0.0:
        return band
    h, w = band.values.shape
    turn = cv2.getRotationMatrix2D(((w - 1) / 2, (h - 1) / 2), -angle_deg, 1.0)
    values = cv2.warpAffine(band.values, turn, (w, h))
    mask = cv2.warpAffine(band.mask, turn, (w, h), flags=cv2.INTER_NEAREST)
    return _Band(values, mask, band.to_frame)


def _search(view: _View, band: _Band, reachable_ncc: float) -> _Fit:
    """The best motion wherever it may lie: spectra correlated at several angles, the best starts aligned."""
    h, w = view.band.values.shape
    present = _coarse_spectrum(band, view.band)
    scale = max(h, w) / COARSE_SIDE
    starts = []
    for angle, spectrum in view.turned():
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
        fits.append(_align(view, band, view.band.to_frame @ turn @ view.band.from_frame, reachable_ncc))
        if fits[-1].is_found:
            break
    return max(fits, key=lambda fit: fit.share)
