"""What has become denser in a view since a baseline: registered, tone-matched, averaged and weighed by its noise.

The difference of two pictures holds cement or contrast, but also brightness control, dose steps and display curves
(all functions of the grey level), a residual slip of the registration (a function of the baseline's gradient),
instruments (known to the needle search) and noise. The first two are fitted and removed on every pulse; so is what a
shaft has slipped beside the anatomy, and where it has moved farther it is left out. Noise is measured as it is, by
grey level, after whatever lag, edge enhancement and compression did to it. No threshold here knows the dose, the
display's gamma or the scatter.

Misses: a change that covers most of one grey level is taken for a tone change; what entered the field after the
baseline was fixed is not compared at all; a picture that differs by more than a rigid move differs everywhere.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import ceil, isnan
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from guidance.vision.cells import cells_over
from guidance.vision.grid import Placed
from guidance.vision.kernels import change as kernels
from guidance.vision.kernels import grey as grey_levels
from guidance.vision.kernels import shafts
from guidance.vision.kernels.median import median
from guidance.vision.picture import Density, Mask

FINE_MM: Final = 0.3
COARSE_MM: Final = 0.6
"""Gaussian smoothing for outlines and for detection. The finer is about the blur of detector and focal spot, which
carries no detail to lose; the coarser matches the least thing looked for, about 2 mm² (1.6 mm across)."""

BASELINE_PULSES: Final = 32.0
"""A longer mean would no longer lower the sum of the noise of baseline and average much, but would go stale."""
FOLLOW_PULSES: Final = 16.0
LEAST_BASELINE_PULSES: Final = 4

SEED_SIGMA: Final = 5.0
"""About one chance seed in ten minutes of 10⁴ independent looks a pulse; two pulses in a row rule out the rest."""
GROW_SIGMA: Final = 2.5
STAY_SIGMA: Final = 1.5
"""What has been added hangs together from a seed down to the second, where it was known before down to the third
(hysteresis; Canny, 1986)."""

STEEL_MARGIN_PX: Final = 3
"""Instruments come with so much added around them: the steel itself is that much narrower."""

_CORRELATED_PULSES: Final = 2.0
"""The usual recursive filter halves the number of pulses that are independent."""

_BINS: Final = 24
_TOP: Final = 4.2
"""Densities run from 0 to ln(65) = 4.17, see ``density_of``."""
_REACH: Final = 1.0
"""Differences are told apart within this of their median: more than a doubling of the display's grey."""
_LEAST_SAMPLES: Final = 40
_STEP: Final = 3
"""Tone and noise are told by every so manieth row and column."""
_SLIP_ERROR_PX: Final = 0.1
"""What is left of the registration's error after the slip has been fitted: rotation and the model's first order."""
_MOST_SLIP_PX: Final = 3.0
"""A shaft that is this far beside its baseline, about a millimetre, has been moved."""
_SLIP_STEPS: Final = 4
_EDGE_STEEPNESS: Final = 3.0
"""Parallax is looked for where the baseline's gradient, squared, is so many times what it is on the whole."""
_EDGE_SHARE: Final = 0.8
_NORMAL_SQUARE_80: Final = 1.64
"""Four in five squares of a normal distribution with a standard deviation of 1 are less."""
_CHANGED_SIGMA: Final = 5.0
_CHANGED_MM: Final = 1.0
"""What moves through the picture while the baseline is learnt, gas or a needle, departs by so much. Of a bubble's edge
at 0.6 µR most of it does within a millimetre of what does."""
_CELL_MM: Final = 2.4
_VEIL_MM: Final = 8.0
"""Scatter spreads over centimetres; what is looked for and not yet known must be much smaller than this."""
_UNCOVERED_SIGMA: Final = 3.0
_UNCOVERED_SHARE: Final = 0.15
"""A shaft has moved where this share of its mask has become lighter by so much: a flank on one side, not noise."""
_QUIET_SIGMA: Final = 2.5
_SMALL_DISC_PX: Final = 5.0
"""Up to this radius to erode and dilate by a disc costs less than two distance transforms, a tenth at three pixels."""
_FAINT_DENSITY: Final = 0.05
"""Veil, however significant: a thick deposit scatters less than what it displaced, which darkens the centimetre
around it by some hundredths. Half a millimetre of cement adds as much, but over a small part of that reach."""
_READABLE: Final = (0.02, 3.2)
"""Baseline densities that say something: not burnt out, and not so dark that one grey level of 8 bit is 10 %."""


@dataclass(frozen=True, slots=True, eq=False)
class _Latest:
    """How well the last pulse tells what has been added: its deviation by grey level, and what variance adds to it."""

    sigma: NDArray[np.float32]
    doubt: Density


class Change:
    """A view's baseline and the density that has been added since.

    ``learn`` while nothing is to be looked for, then ``compare`` pulse by pulse; ``learn`` may go on beside it with
    places held. After ``compare``:

    ``added``: (h, w) float32, the added density, averaged over time, smoothed by FINE_MM.
    ``broad``: the same smoothed by COARSE_MM.
    ``z``: (h, w) float32, ``broad`` in its standard deviations.
    ``hidden``: (h, w) uint8, not 0 where an instrument that has moved covers the place, now or in the baseline.
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self.base = np.zeros(shape, np.float32)
        self.base_count = np.zeros(shape, np.float32)
        self.base_steel = np.zeros(shape, np.uint8)
        self.pulses_learnt = 0
        self._next_sum = self._next_count = np.zeros((0, 0), np.float32)
        self._pulses_renewed = 0
        self._delta = np.zeros(shape, np.float32)
        self._fine = np.zeros(shape, np.float32)
        self._coarse = np.zeros(shape, np.float32)
        self._grad_x = np.zeros(shape, np.float32)
        self._grad_y = np.zeros(shape, np.float32)
        self._steep = np.zeros(shape, np.float32)
        self._tone = np.zeros(_BINS, np.float32)
        self._doubt = np.zeros(shape, np.float32)
        self._doubt_here = np.zeros(shape, np.float32)
        self._veil: Density = np.zeros((0, 0), np.float32)
        self._gradient_of = 0
        self._doubt_of = -1
        self._learnt_of = -1
        self._learnt_mask = np.zeros(shape, np.uint8)
        self._grey = np.zeros(shape, np.uint8)
        self._grey_of = -1
        self._marks = np.zeros(shape, np.uint8)
        self._nothing = np.zeros(shape, np.uint8)
        self._changed = np.zeros(shape, np.uint8)
        self.forget()

    @property
    def shape(self) -> tuple[int, int]:
        return self.base.shape

    def forget(self) -> None:
        """Nothing has been added yet; the baseline stays."""
        self.added = np.zeros(self.shape, np.float32)
        self.broad = np.zeros(self.shape, np.float32)
        self.z = np.zeros(self.shape, np.float32)
        self.hidden = np.zeros(self.shape, np.uint8)
        self.count = np.zeros(self.shape, np.float32)
        self._settled = np.full(_BINS, np.inf, np.float32)
        self._latest: _Latest | None = None
        self._grey_cells: Mask | None = None
        self._doubt_cells: Density | None = None

    def learn(self, placed: Placed, work_mm: float, hold: Mask | None = None) -> None:
        """Take a pulse into the baseline; where ``hold`` is not 0 the baseline keeps what it has."""
        if self.pulses_learnt == 0:
            self.base[:] = placed.density
            self.base_count[:] = placed.valid > 0
        else:
            fresh = cv2.bitwise_and(cv2.compare(self.base_count, 0, cv2.CMP_EQ), placed.valid)
            sigma = self._differ(placed, work_mm, hold)
            kernels.departed(self._grey, self._coarse, self._steep, sigma, _CHANGED_SIGMA, self._changed)
            if hold is None and cv2.hasNonZero(self._changed):
                # Noise hides half of what has changed: what surrounds it begins anew too, or its ghost stays in specks.
                beside_steel = _without(self._changed, placed.steel, self.base_steel)
                around = cv2.dilate(beside_steel, square(max(1, round(_CHANGED_MM / work_mm))))
                cv2.bitwise_or(self._changed, around, dst=self._changed)
            held = self._nothing if hold is None else hold
            kernels.learn(self._delta, placed.valid, held, self._changed, BASELINE_PULSES, self.base, self.base_count)
            if cv2.hasNonZero(fresh):
                # What has only now come into the field begins with this pulse, in the baseline's tone.
                levels = (np.arange(_BINS) + 0.5) * (_TOP / _BINS)
                has_entered = fresh > 0
                entered = placed.density[has_entered]
                self.base[has_entered] = entered - np.interp(entered, levels, self._tone)
                self.base_count[has_entered] = 1
        self.base_steel[:] = placed.steel
        self.pulses_learnt += 1

    def renew(self, placed: Placed, work_mm: float, keep: Mask) -> bool:
        """Take one of the LEAST_BASELINE_PULSES of another baseline; True with the last, which puts it in use.

        What has been added where ``keep`` is not 0, as these pulses have it against the old baseline, stays added.
        """
        if self._pulses_renewed == 0:
            self._next_sum, self._next_count = np.zeros(self.shape, np.float32), np.zeros(self.shape, np.float32)
            self.count[keep > 0] = 0
        self.compare(placed, work_mm, keep)
        cv2.accumulate(placed.density, self._next_sum, mask=placed.valid)
        self._next_count += placed.valid > 0
        self._pulses_renewed += 1
        if self._pulses_renewed < LEAST_BASELINE_PULSES:
            return False
        for plane in (self.added, self.broad, self.z, self.count):
            plane[keep == 0] = 0
        np.divide(self._next_sum, self._next_count, out=self.base, where=self._next_count > 0)
        self.base -= self.added
        self.base_count[:] = self._next_count
        self.base_steel[:] = placed.steel
        self.pulses_learnt, self._pulses_renewed = LEAST_BASELINE_PULSES, 0
        self._gradient_of, self._doubt_of, self._learnt_of, self._grey_of = 0, -1, -1, -1
        self._settled = np.full(_BINS, np.inf, np.float32)
        return True

    def unlearn(self, where: Mask) -> None:
        """The baseline begins anew with the next pulse where ``where`` is not 0."""
        self.base_count[where > 0] = 0

    def fill(self, where: Mask) -> None:
        """What has been added becomes part of the baseline where ``where`` is not 0: gas that has left it."""
        cv2.add(self.base, self.added, dst=self.base, mask=where)
        for plane in (self.added, self.broad, self.z, self._coarse):
            plane[where > 0] = 0
        self._gradient_of, self._doubt_of, self._learnt_of, self._grey_of = 0, -1, -1, -1

    def take_out(self, pixels: tuple[NDArray[np.intp], NDArray[np.intp]], density: Density) -> None:
        """The baseline loses so much at some pixels, as rows and columns: contrast that has washed out of it."""
        kernels.take_out(*pixels, density, self.base, self.added, self.broad)
        self._grey_of = -1

    def compare(
        self,
        placed: Placed,
        work_mm: float,
        exclude: Mask | None = None,
        edges_stray: bool = False,
        watched: Mask | None = None,
    ) -> None:
        """Update ``added``, ``broad`` and ``z`` with one pulse.

        ``exclude``: not 0 where a change is known and must not pass for tone, slip or noise. ``edges_stray``: parallax
        may have moved edges, so each counts for as much less as this pulse shows them to have moved. ``watched``: not
        0 where the tone is taken from as far as it goes: a shutter that closes elsewhere darkens the same greys.
        """
        sigma = self._differ(placed, work_mm, exclude, watched)
        self._refresh_doubt(sigma)
        doubt = self._doubt
        if edges_stray:
            doubt = self._doubt_here
            np.multiply(self._steep, self._straying(sigma), out=doubt)
            doubt += self._doubt
        self._note_hidden(placed, sigma)
        self._latest = _Latest(sigma, doubt)
        kernels.follow(
            self._grey,
            self._fine,
            self._coarse,
            doubt,
            self._marks,
            sigma,
            np.minimum(self._settled, sigma),
            FOLLOW_PULSES,
            self.added,
            self.broad,
            self.count,
            self.z,
        )
        self._settled = self._spread_of(self.broad, grey_levels.SHOWN | grey_levels.OPEN)

    @property
    def of_pulse_alone(self) -> Density:
        """The density that the last pulse alone shows to have been added, smoothed by COARSE_MM: (h, w)."""
        return self._coarse

    def of_pulse(self, box: tuple[slice, slice], least: float) -> Density:
        """What the last pulse alone shows to have been added, in its standard deviations: the shape of ``box``.

        A deviation below ``least`` counts as that much; nan where the pulse says nothing.
        """
        latest, (rows, cols) = self._latest, box
        top, bottom, _ = rows.indices(self.shape[0])
        left, right, _ = cols.indices(self.shape[1])
        if latest is None:
            return np.full((bottom - top, right - left), np.nan, np.float32)
        return kernels.in_deviations(
            self._grey, self._coarse, latest.doubt, self._marks, latest.sigma, least, top, bottom, left, right
        )

    def of_pulse_in_cells(self, width: int, height: int) -> Density:
        """The same averaged over coarser cells, in standard deviations of a pixel; 0 before the first pulse."""
        latest = self._latest
        if latest is None:
            return np.zeros((height, width), np.float32)
        cells = cells_over(self.shape, (height, width))
        if self._grey_cells is None or self._grey_cells.shape != (height, width):
            self._grey_cells = np.empty((height, width), np.uint8)
            grey_levels.classify(cells.averages(self.base), _BINS, _TOP, self._grey_cells)
        doubt = self._doubt_cells
        if latest.doubt is not self._doubt:
            doubt = cells.averages(latest.doubt)
        elif doubt is None or doubt.shape != (height, width):
            doubt = self._doubt_cells = cells.averages(latest.doubt)
        added = cells.averages(self._coarse)
        added /= np.sqrt(latest.sigma[self._grey_cells] ** 2 + doubt)
        return added

    def _mark(self, placed: Placed, exclude: Mask | None, watched: Mask | None) -> None:
        """Note what may be done with each pixel on this pulse, see ``grey_levels.mark``."""
        if self._grey_of != self.pulses_learnt:
            grey_levels.classify(self.base, _BINS, _TOP, self._grey)
            self._grey_of, self._grey_cells = self.pulses_learnt, None
        nothing = self._nothing
        grey_levels.mark(
            placed.valid,
            self._learnt(),
            placed.steel,
            self.base_steel,
            nothing if exclude is None else exclude,
            nothing if watched is None else watched,
            self._marks,
        )

    def _note_hidden(self, placed: Placed, sigma: NDArray[np.float32]) -> None:
        """Fill ``hidden``: instruments that were not there, or not quite there, in the baseline.

        One that rests hides nothing but what its shadow swallows. One that has moved aside, be it by less than its
        mask tells, uncovers one of its flanks, and nothing that is injected makes a picture lighter.
        """
        cv2.bitwise_xor(placed.steel, self.base_steel, dst=self.hidden)
        shared = cv2.bitwise_and(placed.steel, self.base_steel)
        x, y, w, h = cv2.boundingRect(shared)
        if not w:
            return
        box = np.s_[y : y + h, x : x + w]
        count, parts = cv2.connectedComponents(shared[box])
        have_moved = shafts.uncovered(
            parts, count, y, x, self._grey, self._coarse, self._doubt, sigma, _UNCOVERED_SIGMA, _UNCOVERED_SHARE
        )
        if have_moved.any():
            beneath = have_moved[parts]
            self.hidden[box][beneath] = 255
            self._marks[box][beneath] &= np.uint8(255 - grey_levels.SHOWN)

    def _learnt(self) -> Mask:
        """255 where the baseline says something; kept until the baseline changes."""
        if self._learnt_of != self.pulses_learnt:
            known = cv2.compare(self.base_count, float(min(2, self.pulses_learnt)), cv2.CMP_GE)
            self._learnt_mask = cv2.bitwise_and(cv2.inRange(self.base, *_READABLE), known)
            self._learnt_of = self.pulses_learnt
        return self._learnt_mask

    def _differ(
        self, placed: Placed, work_mm: float, exclude: Mask | None, watched: Mask | None = None
    ) -> NDArray[np.float32]:
        """Fill the marks, the difference to the baseline and its smoothed versions; one pulse's sigma by grey level."""
        self._mark(placed, exclude, watched)
        table = self._tone_table(placed, watched is not None)
        self._tone = grey_levels.smoothed_by_grey(table[:, 1].copy(), table[:, 3].copy(), _LEAST_SAMPLES)
        noise = median(grey_levels.spread_by_grey(table, _LEAST_SAMPLES))
        self._subtract_baseline(placed, noise)
        self._remove_shaft_slips(placed, noise)
        self._remove_veil(work_mm)
        fine = FINE_MM / work_mm
        _blur(self._delta, max(fine, 0.5), self._fine)
        extra = (COARSE_MM**2 - FINE_MM**2) ** 0.5 / work_mm
        _blur(self._fine, max(extra, 0.5), self._coarse)
        # Under steel at rest too: nothing else in the picture may be as dark, and noise grows with density.
        return self._spread_of(self._coarse, grey_levels.RESTS | grey_levels.OPEN)

    def _tone_table(self, placed: Placed, is_watched: bool) -> NDArray[np.float32]:
        """Quartiles of the difference by grey level, and how many pixels tell them: (bins, 4)."""
        tells = grey_levels.BARE | grey_levels.OPEN
        nearby = tells | grey_levels.WATCHED
        table, near = grey_levels.tone_by_grey(
            self._grey, placed.density, self.base, self._marks, tells, nearby, _STEP, _BINS, _REACH
        )
        if is_watched:
            told = near[:, 3] >= _LEAST_SAMPLES
            # Greys that only the rest of the field has must not bleed into those that are told here.
            table[:, 3] = np.minimum(table[:, 3], _LEAST_SAMPLES)
            table[told] = near[told]
        return table

    def _subtract_baseline(self, placed: Placed, noise: float) -> None:
        """Fill the difference to the baseline in this pulse's tone, where the registration is right.

        Its residual shift is fitted and removed: one Gauss-Newton step (Lucas & Kanade, 1981). Where the pulse says
        nothing the average so far stands in, so that smoothing does not bleed.
        """
        self._refresh_gradient()
        xx, xy, yy, xd, yd = kernels.difference(
            placed.density,
            self.base,
            self._marks,
            self._tone,
            _TOP,
            self.added,
            self._grad_x,
            self._grad_y,
            2,
            3.0 * noise,
            self._delta,
        ).tolist()
        determinant = xx * yy - xy * xy
        if determinant <= 1e-9 * max(xx, yy, 1e-12) ** 2:
            return  # no edges in one direction: no slip to be seen either
        slip_x, slip_y = -(yy * xd - xy * yd) / determinant, -(xx * yd - xy * xd) / determinant
        if 0.02 < max(abs(slip_x), abs(slip_y)) < 1.5:
            kernels.take_slip(self._delta, self._grad_x, self._grad_y, self._marks, slip_x, slip_y)

    def _remove_shaft_slips(self, placed: Placed, noise: float) -> None:
        """Fit and remove what each shaft has slipped beside the anatomy: parallax, more at its hub than at its tip.

        A shaft's edges are the steepest of the picture: a tenth of a millimetre leaves a flank like a run of cement.
        """
        shared = cv2.bitwise_and(placed.steel, self.base_steel)
        x, y, w, h = cv2.boundingRect(shared)
        if not w:
            return
        box = np.s_[y : y + h, x : x + w]
        seen = cv2.bitwise_and(shared[box], cv2.inRange(self._marks[box], 1, 255))
        count, parts = cv2.connectedComponents(seen)
        shafts.take_shaft_slips(
            parts,
            count,
            y,
            x,
            self.base,
            self._grad_x,
            self._grad_y,
            self._marks,
            3.0 * noise,
            _LEAST_SAMPLES,
            _SLIP_STEPS,
            _SLIP_ERROR_PX,
            _MOST_SLIP_PX,
            self._delta,
        )

    def _remove_veil(self, work_mm: float) -> None:
        """Fit and remove what varies slowly over the field: scatter, which cement and shutters change, and glare."""
        h, w = self.shape
        cell = max(4, round(_CELL_MM / work_mm))
        sums = kernels.cell_sums(self._delta, self.z, self.broad, self._marks, cell, _QUIET_SIGMA, _FAINT_DENSITY)
        reach = _VEIL_MM / (cell * work_mm)
        total, count = (cv2.GaussianBlur(plane, (0, 0), reach) for plane in sums)
        veil = np.divide(total, count, out=np.zeros_like(total), where=count > 0.02 * cell * cell)
        rows, columns = veil.shape
        self._veil = cv2.resize(veil, (columns * cell, rows * cell), dst=self._veil, interpolation=cv2.INTER_LINEAR)
        cv2.subtract(self._delta, self._veil[:h, :w], dst=self._delta)

    def _refresh_gradient(self) -> None:
        """Gradient of the smoothed baseline, per pixel; renewed as the baseline settles, not on every pulse."""
        if self._gradient_of >= 8 and self.pulses_learnt - self._gradient_of < 8:
            return
        if self._gradient_of == self.pulses_learnt:
            return
        smooth = cv2.GaussianBlur(self.base, (0, 0), 1.0)
        cv2.Sobel(smooth, cv2.CV_32F, 1, 0, dst=self._grad_x, ksize=3, scale=0.125)
        cv2.Sobel(smooth, cv2.CV_32F, 0, 1, dst=self._grad_y, ksize=3, scale=0.125)
        np.multiply(self._grad_x, self._grad_x, out=self._steep)
        self._steep += self._grad_y * self._grad_y
        self._steep *= np.float32(_SLIP_ERROR_PX**2)
        self._gradient_of = self.pulses_learnt

    def _refresh_doubt(self, sigma: NDArray[np.float32]) -> None:
        """The variance that slip adds, and that of a mean of fewer pulses than elsewhere: ``sigma`` has neither."""
        if self._doubt_of == self.pulses_learnt:
            return
        known = self.base_count[::4, ::4]
        usual = float(np.median(known[known > 0])) if (known > 0).any() else 1.0
        kernels.fill_doubt(self._grey, self.base_count, self._steep, sigma, _CORRELATED_PULSES, usual, self._doubt)
        self._doubt_of, self._doubt_cells = self.pulses_learnt, None

    def _straying(self, sigma: NDArray[np.float32]) -> float:
        """How much more the steepest edges have changed than noise and slip make them, as a multiple of ``_steep``."""
        excess = grey_levels.excess_at_edges(
            self._steep,
            self._coarse,
            self._grey,
            self._marks,
            sigma,
            grey_levels.BARE | grey_levels.OPEN,
            _STEP,
            _EDGE_STEEPNESS,
            _NORMAL_SQUARE_80,
            _EDGE_SHARE,
            _LEAST_SAMPLES,
        )
        return 0.0 if isnan(excess) else max(0.0, excess - 1.0)

    def _spread_of(self, value: Density, bits: int) -> NDArray[np.float32]:
        """The standard deviation of a plane by grey level, where all of ``bits`` are marked: (bins,)."""
        table = grey_levels.quartiles_by_grey(self._grey, value, self._marks, bits, _STEP, _BINS, _REACH)
        return grey_levels.spread_by_grey(table, _LEAST_SAMPLES)


@lru_cache(maxsize=64)
def square(reach: int) -> Mask:
    """A square to dilate or erode by ``reach`` pixels; not writeable."""
    out = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    out.flags.writeable = False
    return out


def steel_itself(steel: Mask) -> Mask:
    """Instruments without the margin that they come with."""
    return np.asarray(cv2.erode(steel, square(STEEL_MARGIN_PX)), dtype=np.uint8)


def opened(mask: Mask, radius_px: float) -> NDArray[np.bool_]:
    """Where a disc of this radius fits into the mask (an opening), plus one pixel.

    Distances are those of ``cv2.distanceTransform`` with ``DIST_L2`` and 5, whose cost does not grow with the radius.
    """
    out = np.zeros(mask.shape, np.bool_)
    x, y, w, h = cv2.boundingRect(mask)
    if not w:
        return out
    # A disc holds the square inscribed in it. Specks and threads do not: where they lie is not looked at any more.
    fits = cv2.erode(
        mask[y : y + h, x : x + w], square(int(radius_px / 1.42)), borderType=cv2.BORDER_CONSTANT, borderValue=0
    )
    left, top, w, h = cv2.boundingRect(fits)
    if not w:
        return out
    box = grown(box_of(x + left, y + top, x + left + w, y + top + h), ceil(radius_px) + 3)
    if radius_px <= _SMALL_DISC_PX:
        centres = cv2.erode(mask[box], _disc(radius_px), borderType=cv2.BORDER_CONSTANT, borderValue=0)
        out[box] = cv2.dilate(centres, _disc(radius_px + 1)) > 0
        return out
    roomy = cv2.copyMakeBorder(mask[box], 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    rim = cv2.compare(cv2.distanceTransform(roomy, cv2.DIST_L2, 5), radius_px, cv2.CMP_LE)
    if cv2.countNonZero(rim) < rim.size:
        out[box] = (cv2.distanceTransform(rim, cv2.DIST_L2, 5) <= radius_px + 1)[1:-1, 1:-1]
    return out


@lru_cache(maxsize=16)
def _disc(radius_px: float) -> Mask:
    """All that is no farther than this from the middle, as ``opened`` measures distances; not writeable."""
    reach = int(radius_px)
    middle = np.full((2 * reach + 1, 2 * reach + 1), 255, np.uint8)
    middle[reach, reach] = 0
    disc = np.asarray(cv2.compare(cv2.distanceTransform(middle, cv2.DIST_L2, 5), radius_px, cv2.CMP_LE), dtype=np.uint8)
    disc.flags.writeable = False
    return disc


def box_of(left: int, top: int, right: int, bottom: int) -> tuple[slice, slice]:
    """Rows and columns of a box; what lies beyond the first row or column is cut off."""
    return slice(max(0, top), max(0, bottom)), slice(max(0, left), max(0, right))


def grown(box: tuple[slice, slice], reach: int) -> tuple[slice, slice]:
    rows, cols = box
    return box_of(cols.start - reach, rows.start - reach, cols.stop + reach, rows.stop + reach)


def _blur(plane: Density, sigma_px: float, out: Density) -> None:
    """Gaussian smoothing cut at 2.5 sigmas; left to itself OpenCV goes to four and takes half as long again."""
    side = 2 * ceil(2.5 * sigma_px) + 1
    cv2.GaussianBlur(plane, (side, side), sigma_px, dst=out)


def _without(mask: Mask, *holes: Mask | None) -> Mask:
    """The mask with 0 where any of the holes is not 0."""
    for hole in holes:
        if hole is not None and hole.any():
            mask = cv2.bitwise_and(mask, cv2.compare(hole, 0, cv2.CMP_EQ))
    return mask
