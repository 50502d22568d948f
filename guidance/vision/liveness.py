"""Whether a frame shows a new x-ray pulse, a repeated one, or no picture at all."""

from collections import deque
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

import cv2
import numpy as np
from numpy.typing import NDArray

from drivers.frame import Frame, FrameFlag, Pixels
from guidance.records import FieldKind, FrameState
from guidance.vision.field import XrayField
from guidance.vision.kernels.liveness import is_even, likeness, noise_between
from guidance.vision.outline import Box

SAMPLES_PER_SIDE = 64
FIRST_NOISE = 0.3
"""Before any pulse is known, a change beyond this many 8-bit levels between neighbours is a new pulse."""
REPEAT_SHARE = 0.45
"""A change below this share of the pulses' own noise is compression or grabber noise on a repeated picture."""
LONGEST_INTERVAL_S = 1.1
"""Pulsed fluoroscopy is not slower than one pulse a second."""
RELEARN_S = 1.0
DRAWN_CONTRAST = 40
"""What is drawn (a clock's digit) changes by more than this, in 8-bit levels."""


@dataclass(frozen=True, slots=True)
class Liveness:
    """``new_pulse``: True only where the frame must be analysed. ``repeated_s``: since the last new pulse."""

    state: FrameState
    new_pulse: bool
    repeated_s: float


class LivenessWatch:
    """Tells live, held, frozen and missing video apart from pixels and timestamps.

    Quantum noise differs from pulse to pulse, so a field that repeats, but for what compression adds, shows the same
    pulse again. It stays ``live`` for as long as the pulse intervals seen so far explain; then it is ``held``.
    ``frozen`` needs more: something drawn beside the field that ticks on its own (a clock with seconds, a counter)
    has stopped for clearly longer than it ever did. A picture without anything that ticks, or with a clock of
    minutes only, looks the same held and frozen and is called held; so is a freeze in its first 1.3 s.
    ``no_signal`` is the source's flag, a screen of one colour, vertical bars, or snow.

    Where repeats are compressed anew or an analogue grabber adds noise, they count as pulses until three pulses have
    shown how little repeats change: analysing a still picture once more does no harm, missing a live one does. A
    field that goes evenly black or white counts as ``no_signal`` unless what is drawn beside it still stands.
    """

    def __init__(self) -> None:
        self._field: XrayField | None = None
        self._sampler: _Sampler | None = None
        self._previous: Pixels | None = None
        self._sample: NDArray[np.float32] | None = None
        self._no_picture = False
        self._pulse_noise: deque[float] = deque(maxlen=15)
        self._repeat_noise: deque[float] = deque(maxlen=15)
        self._low_noise: deque[tuple[float, float]] = deque(maxlen=200)
        self._pulse_intervals_s: deque[float] = deque(maxlen=12)
        self._frame_intervals_s: deque[float] = deque(maxlen=15)
        self._last_gap_s = 0.0
        self._t_s: float | None = None
        self._pulse_t_s: float | None = None
        self._ticks = _Ticks()

    def update(self, frame: Frame, t_s: float, field: XrayField | None) -> Liveness:
        """What this frame is worth. ``field``: as last known, None before the first picture. ``t_s``: in seconds."""
        if self._t_s is not None and t_s > self._t_s:
            self._frame_intervals_s.append(t_s - self._t_s)
        self._t_s = t_s
        if FrameFlag.CORRUPT in frame.flags:
            return self._without_picture(FrameState.CORRUPT)
        if FrameFlag.NO_SIGNAL in frame.flags:
            return self._without_picture(FrameState.NO_SIGNAL)

        pixels = frame.pixels
        same_size = self._previous is not None and self._previous.shape == pixels.shape
        if same_size and field is self._field and _equal(self._previous, pixels):
            return self._without_picture(FrameState.NO_SIGNAL) if self._no_picture else self._repeated()

        previous, self._previous = self._previous if same_size else None, pixels
        if field is not self._field or self._sampler is None or not same_size:
            self._field, self._sampler = field, _Sampler(field, pixels.shape)
            self._sample = None if previous is None else self._sampler.sample(previous, frame.bits)
        before, self._sample = self._sample, self._sampler.sample(pixels, frame.bits)
        if is_even(self._sample):
            # X-rays that are off or much too many leave an even field; what is drawn beside it shows that video comes.
            self._no_picture |= not self._sampler.still_drawn(previous, pixels, frame.bits)
        else:
            self._no_picture = _is_bars_or_snow(self._sample, pixels)
        if self._no_picture:
            return self._without_picture(FrameState.NO_SIGNAL)
        is_new = before is None or self._is_new(noise_between(before, self._sample), t_s)
        if is_new and self._pulse_t_s is not None and self._ticks.have_stopped(self._pulse_t_s, self._frame_period_s()):
            # Pulses have gone on without it: whatever it was, it was no clock.
            self._ticks.interrupt()
        if previous is not None:
            self._ticks.see(self._sampler.outside_differs(previous, pixels, frame.bits), is_new, t_s)
        return self._new_pulse(t_s) if is_new else self._repeated()

    def _is_new(self, noise: float, t_s: float) -> bool:
        """Whether a difference between two frames is that of two pulses; learns how noisy pulses and repeats are."""
        if not self._pulse_noise or noise > REPEAT_SHARE * max(self._pulse_noise):
            if noise <= FIRST_NOISE:
                return False
            self._learn_repeats(t_s)
            self._pulse_noise.append(noise)
            return True
        self._low_noise.append((t_s, noise))
        if noise <= FIRST_NOISE or noise <= 1.5 * self._known_repeat_noise():
            return False
        if t_s - self._low_noise[0][0] > RELEARN_S:
            # No pulse as noisy as before for a second: the dose has risen.
            self._pulse_noise = deque((low for _, low in self._low_noise), maxlen=15)
            self._low_noise.clear()
        return True

    def _learn_repeats(self, t_s: float) -> None:
        """What changed a little between two noisy pulses was compression or the grabber's own noise."""
        if self._low_noise and t_s - self._low_noise[0][0] < LONGEST_INTERVAL_S:
            self._repeat_noise.append(max(low for _, low in self._low_noise))
        self._low_noise.clear()

    def _known_repeat_noise(self) -> float:
        """How much repeats have been seen to change; 0 until three pulses in a row told."""
        return max(self._repeat_noise) if len(self._repeat_noise) >= 3 else 0.0

    def _new_pulse(self, t_s: float) -> Liveness:
        if self._pulse_t_s is not None:
            gap = t_s - self._pulse_t_s
            steady = abs(gap - self._last_gap_s) < 0.3 * gap
            # A single long gap is a released pedal; two alike are a slower pulse rate.
            if gap <= self._patience_s() or (steady and gap <= LONGEST_INTERVAL_S):
                self._pulse_intervals_s.append(gap)
            self._last_gap_s = gap
        self._pulse_t_s = t_s
        return Liveness(FrameState.LIVE, True, 0.0)

    def _repeated(self) -> Liveness:
        assert self._t_s is not None
        repeated_s = self._repeated_s()
        if repeated_s <= self._patience_s():
            return Liveness(FrameState.LIVE, False, repeated_s)
        frozen = self._ticks.have_stopped(self._t_s, self._frame_period_s())
        return Liveness(FrameState.FROZEN if frozen else FrameState.HELD, False, repeated_s)

    def _without_picture(self, state: FrameState) -> Liveness:
        self._low_noise.clear()
        self._ticks.interrupt()
        return Liveness(state, False, self._repeated_s())

    def _repeated_s(self) -> float:
        if self._t_s is None or self._pulse_t_s is None:
            return 0.0
        return self._t_s - self._pulse_t_s

    def _frame_period_s(self) -> float:
        return median(self._frame_intervals_s) if self._frame_intervals_s else 0.04

    def _patience_s(self) -> float:
        """How long one pulse may be shown before it counts as held."""
        longest = max(self._pulse_intervals_s) if self._pulse_intervals_s else LONGEST_INTERVAL_S
        return 1.1 * longest + 0.75 * self._frame_period_s()


class _Ticks:
    """What changes on its own beside the x-ray field, and whether it has stopped."""

    def __init__(self) -> None:
        self._times_s: deque[float] = deque(maxlen=12)
        self._with_pulse: deque[bool] = deque(maxlen=30)

    def see(self, differs: bool, new_pulse: bool, t_s: float) -> None:
        if new_pulse:
            self._with_pulse.append(differs)
            # Noise beside the field comes with the pulses: it stops when they do and says nothing.
            if sum(self._with_pulse) > 0.7 * len(self._with_pulse):
                return
        if differs:
            self._times_s.append(t_s)

    def interrupt(self) -> None:
        """The picture was away, or nothing ticks: what comes next is not one tick later."""
        self._times_s.clear()

    def have_stopped(self, t_s: float, frame_period_s: float) -> bool:
        longest_s = self._longest_interval_s()
        if longest_s is None:
            return False
        return t_s - self._times_s[-1] > 1.3 * longest_s + 2 * frame_period_s

    def _longest_interval_s(self) -> float | None:
        """How long the ticker may pause: 1 s for a clock, the longest seen for another regular one, None without."""
        times = list(self._times_s)
        # A status that is rewritten now and then must not pass for a ticker: only what is regular counts.
        if any(0.9 < later - sooner < 1.1 for i, sooner in enumerate(times) for later in times[i + 1 : i + 3]):
            return 1.0
        intervals = [later - sooner for sooner, later in pairwise(times)]
        if len(intervals) >= 5 and max(intervals) <= 2 * median(intervals):
            return max(intervals)
        return None


class _Sampler:
    """Where to look: pairs of neighbours over the field, and boxes beside it."""

    def __init__(self, field: XrayField | None, shape: tuple[int, ...]) -> None:
        h, w = shape
        x0, y0, x1, y1 = field.box_px if field is not None else (0, 0, w, h)
        step_x = max(1, (x1 - x0) // SAMPLES_PER_SIDE)
        step_y = max(1, (y1 - y0) // SAMPLES_PER_SIDE)
        rows, columns = np.arange(y0, y1, step_y), np.arange(x0, x1 - 1, step_x)
        left = (rows[:, None] * w + columns).ravel()
        self._boxes: list[Box] = []
        if field is not None:
            inside = field.mask.ravel()
            left = left[(inside[left] > 0) & (inside[left + 1] > 0)]
            self._boxes = _boxes_outside(field, (w, h))
        self._pairs = np.stack([left, left + 1])
        """Where the pairs are in the flattened frame, (2, n)."""

    def sample(self, pixels: Pixels, bits: int) -> NDArray[np.float32]:
        """Shape (2, n): left and right neighbours in 8-bit levels."""
        pairs = pixels.ravel()[self._pairs].astype(np.float32)
        pairs *= np.float32(255.0 / (2**bits - 1))
        return pairs

    def still_drawn(self, before: Pixels | None, now: Pixels, bits: int) -> bool:
        """Whether something drawn beside the field stands where it stood on the frame ``before``."""
        if before is None:
            return False
        least = DRAWN_CONTRAST * 2 ** (bits - 8)
        for x0, y0, x1, y1 in self._boxes:
            was, is_now = (image[y0:y1, x0:x1] for image in (before, now))
            drawn = was > int(was.min()) + least
            if drawn.any() and (is_now[drawn] > int(is_now.min()) + least).mean() > 0.5:
                return True
        return False

    def outside_differs(self, a: Pixels, b: Pixels, bits: int) -> bool:
        """Whether something drawn beside the field has changed; noise and the field's soft edge change less."""
        least = DRAWN_CONTRAST * 2 ** (bits - 8)
        boxes = self._boxes
        return any(cv2.norm(a[y0:y1, x0:x1], b[y0:y1, x0:x1], cv2.NORM_INF) > least for x0, y0, x1, y1 in boxes)


def _boxes_outside(field: XrayField, size: tuple[int, int]) -> list[Box]:
    """Boxes around the field's box, in the corners that its shape leaves free, and its burned-in text."""
    w, h = size
    x0, y0, x1, y1 = field.box_px
    boxes = [(0, 0, w, y0), (0, y1, w, h), (0, y0, x0, y1), (x1, y0, w, y1), *field.text_boxes_px]
    if field.outline.kind in (FieldKind.CIRCLE, FieldKind.OCTAGON):
        cw, ch = int(0.14 * (x1 - x0)), int(0.14 * (y1 - y0))
        corners = [
            (x0, y0, x0 + cw, y0 + ch),
            (x1 - cw, y0, x1, y0 + ch),
            (x0, y1 - ch, x0 + cw, y1),
            (x1 - cw, y1 - ch, x1, y1),
        ]
        boxes += [box for box in corners if not field.mask[box[1] : box[3], box[0] : box[2]].any()]
    return [box for box in boxes if box[2] > box[0] and box[3] > box[1]]


def _equal(a: Pixels | None, b: Pixels) -> bool:
    if a is None or a is b:
        return a is b
    # Two pulses differ nearly everywhere: a row tells, and all is read of repeats alone.
    middle = len(b) // 2
    return np.array_equal(a[middle], b[middle]) and cv2.norm(a, b, cv2.NORM_INF) == 0


def _is_bars_or_snow(sample: NDArray[np.float32], pixels: Pixels) -> bool:
    """A screen of vertical bars, or snow."""
    rows = pixels[:: max(1, pixels.shape[0] // 16)]
    if (rows == rows[0]).all():
        return True
    common, spread = likeness(sample)
    return spread >= 20.0**2 and common / spread < 0.2
