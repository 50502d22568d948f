"""From the detector's signal to the grey levels that a frame grabber gets: display curve, field, text, monitor."""

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from math import cos, pi, sin

import cv2
import numpy as np
from numpy.typing import NDArray

Gray = NDArray[np.uint8]
Signal = NDArray[np.float32]

WHITE, DIM = 235, 150
FONT = cv2.FONT_HERSHEY_SIMPLEX


class Layout(StrEnum):
    """What stands around the picture in the video frame."""

    PICTURE = "picture"
    MONITOR_1280X1024 = "monitor_1280x1024"
    MONITOR_1920X1080 = "monitor_1920x1080"


class FieldShape(StrEnum):
    """The shape that the machine shows the picture in."""

    CIRCLE = "circle"
    OCTAGON = "octagon"
    RECTANGLE = "rectangle"


class LostVideo(StrEnum):
    """What a grabber delivers without a signal."""

    BLUE = "blue"
    BLACK = "black"
    NOISE = "noise"


@dataclass(frozen=True, slots=True)
class DisplayCurve:
    """Signal to grey: the signal's logarithm, harmonised, on a line that is rounded off at both ends."""

    latitude: float = 1.5
    """Natural logarithm of the signal's ratio from black to white."""
    middle: float = 0.49
    """Grey (0 to 1) of a signal of 1, which is where brightness control holds the central field."""
    room: float = 0.45
    """Share of the latitude that coarse differences in brightness may fill, 5th to 95th percentile. What is more the
    machine takes out, so that thick and thin parts are seen at once and a needle is black in both (dynamic range
    compression)."""
    edge_gain: float = 0.3
    """Edge enhancement: how much of the difference from a blurred copy is added."""
    edge_sigma_px: float = 1.6
    inverted: bool = False
    """True: absorbers bright."""

    def develop(self, signal: Signal) -> Gray:
        """Grey levels, uint8, of a signal that is about 1 in the middle of the field."""
        grey = cv2.log(np.maximum(signal, np.float32(1e-4)))
        coarse = _coarse(grey)
        dark, bright = np.percentile(coarse, (5, 95))
        excess = 1.0 - self.room * self.latitude / max(float(bright - dark), 1e-3)
        if excess > 0:
            large = cv2.resize(coarse, (grey.shape[1], grey.shape[0]), interpolation=cv2.INTER_LINEAR)
            grey = cv2.addWeighted(grey, 1.0, large, -excess, 0.0)
        grey *= np.float32(1.0 / self.latitude)
        grey += np.float32(self.middle)
        grey = _rounded_ends(grey)
        if self.edge_gain > 0:
            soft = cv2.GaussianBlur(grey, (0, 0), self.edge_sigma_px)
            grey = cv2.addWeighted(grey, 1 + self.edge_gain, soft, -self.edge_gain, 0.0)
        if self.inverted:
            grey = np.float32(1.0) - grey
        return np.asarray(cv2.convertScaleAbs(np.maximum(grey, 0), alpha=247.0), dtype=np.uint8)


@dataclass(frozen=True, slots=True)
class Shutters:
    """Lead leaves closing from four sides, each as a share of the picture's side; ``turn_deg`` turns them all."""

    left: float = 0.0
    top: float = 0.0
    right: float = 0.0
    bottom: float = 0.0
    turn_deg: float = 0.0

    def opening(self, side_px: int, penumbra_px: float) -> Signal:
        """The share of the beam let through, float32 (side, side); lead lets 0.4 % through."""
        y, x = np.mgrid[:side_px, :side_px].astype(np.float32) - np.float32((side_px - 1) / 2)
        a = np.deg2rad(self.turn_deg)
        u, v = x * cos(a) + y * sin(a), y * cos(a) - x * sin(a)
        half = side_px / 2
        inside = np.ones((side_px, side_px), np.float32)
        for closed, depth in (
            (self.left, half + u),
            (self.right, half - u),
            (self.top, half + v),
            (self.bottom, half - v),
        ):
            if closed > 0:
                inside *= np.clip((depth - closed * side_px) / penumbra_px + 0.5, 0, 1).astype(np.float32)
        return np.maximum(inside, np.float32(0.004))


def _coarse(grey: Signal) -> Signal:
    """What varies over more than about a sixth of the picture, float32 (32, 32)."""
    small = cv2.resize(grey, (32, 32), interpolation=cv2.INTER_AREA)
    # Lead is no part of the patient: it must not make what lies beside it brighter.
    return np.asarray(cv2.GaussianBlur(np.maximum(small, np.float32(-1.2)), (0, 0), 3.5))


def _rounded_ends(grey: Signal) -> Signal:
    """The same line, but bent below 0.32 and above 0.88 into exponentials that never quite reach black and white.

    Steel keeps a dark grey, as in real pictures.
    """
    black, foot, shoulder = np.float32(0.08), np.float32(0.32), np.float32(0.88)
    dark, bright = grey < foot, grey > shoulder
    toe = foot - black
    grey[dark] = black + toe * np.exp((grey[dark] - foot) / toe)
    room = 1 - shoulder
    grey[bright] = 1 - room * np.exp((shoulder - grey[bright]) / room)
    return grey


def field_outline(shape: FieldShape, side_px: int, share: float = 0.985) -> NDArray[np.float64]:
    """Corners (n, 2) of the field in a square picture; ``share``: its diameter over the picture's side."""
    centre, radius = (side_px - 1) / 2, share * side_px / 2
    if shape is FieldShape.RECTANGLE:
        corners, first, radius = 4, pi / 4, radius * 2**0.5
    elif shape is FieldShape.OCTAGON:
        corners, first, radius = 8, pi / 8, radius / cos(pi / 8)
    else:
        corners, first = 180, 0.0
    turns = first + np.arange(corners) * (2 * pi / corners)
    return np.column_stack([centre + radius * np.cos(turns), centre + radius * np.sin(turns)])


def field_mask(shape: FieldShape, side_px: int, edge_px: float, share: float = 0.985) -> Signal:
    """The field as a weight, float32 (side, side), 1 inside, falling to 0 over about ``edge_px``."""
    # Fixed-point corners: sixteenths of a pixel, so that the edge doesn't move when the size does.
    corners = np.round(field_outline(shape, side_px, share) * 16).astype(np.int32)
    mask = np.zeros((side_px, side_px), np.uint8)
    cv2.fillPoly(mask, [corners], 255, lineType=cv2.LINE_AA, shift=4)
    soft = cv2.GaussianBlur(mask, (0, 0), max(edge_px / 2.56, 0.3), borderType=cv2.BORDER_REPLICATE)
    return np.asarray(soft, dtype=np.float32) / np.float32(255)


@dataclass(frozen=True)
class Monitor:
    """The video frame around the picture.

    ``side_px``: the picture as developed; ``picture_px``: the side it is shown with in the frame.
    """

    layout: Layout
    side_px: int
    picture_px: int
    patient: str = "PHANTOM^SACRUM"
    text: bool = True

    @cached_property
    def size_px(self) -> tuple[int, int]:
        """(width, height) of the video frame."""
        return {
            Layout.PICTURE: (self.picture_px, self.picture_px),
            Layout.MONITOR_1280X1024: (1280, 1024),
            Layout.MONITOR_1920X1080: (1920, 1080),
        }[self.layout]

    @cached_property
    def origin_px(self) -> tuple[int, int]:
        """The picture's top-left pixel in the frame."""
        width, height = self.size_px
        if self.layout is Layout.PICTURE:
            return (0, 0)
        banner = 44
        left = 24 if self.layout is Layout.MONITOR_1280X1024 else (width // 2 - self.picture_px) // 2
        return (left, banner + (height - banner - self.picture_px) // 2)

    @cached_property
    def matrix(self) -> NDArray[np.float64]:
        """Shape (3, 3): picture pixels to frame pixels."""
        k = self.picture_px / self.side_px
        x0, y0 = self.origin_px
        return np.array([[k, 0, x0 + k / 2 - 0.5], [0, k, y0 + k / 2 - 0.5], [0, 0, 1]])

    def show(self, picture: Gray, stored: Gray | None, clock_s: float, status: str, exposure: str) -> Gray:
        """The whole frame, uint8, with ``picture`` in its place, text and a running clock burned in.

        ``stored``: a second picture, shown by the wide layout only.
        """
        frame = self._furniture(stored)
        x0, y0 = self.origin_px
        shown = picture
        if self.picture_px != picture.shape[0]:
            side = (self.picture_px, self.picture_px)
            shown = np.asarray(cv2.resize(picture, side, interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
        frame[y0 : y0 + self.picture_px, x0 : x0 + self.picture_px] = shown
        if self.text:
            self._write(frame, clock_s, status, exposure)
        return frame

    def _furniture(self, stored: Gray | None) -> Gray:
        width, height = self.size_px
        frame = np.zeros((height, width), np.uint8)
        if self.layout is Layout.PICTURE:
            return frame
        frame[:] = 18
        cv2.rectangle(frame, (0, 0), (width - 1, 39), 46, -1)
        _text(frame, f"{self.patient}   ID 000417   F   71Y", (14, 27), 0.7, WHITE)
        x0, y0 = self.origin_px
        cv2.rectangle(frame, (x0 - 2, y0 - 2), (x0 + self.picture_px + 1, y0 + self.picture_px + 1), 70, 1)
        if self.layout is Layout.MONITOR_1280X1024:
            self._panel(frame, x0 + self.picture_px + 18, 60, width - 14)
        elif stored is not None:
            side = min(self.picture_px, width // 2 - 40)
            small = cv2.resize(stored, (side, side), interpolation=cv2.INTER_AREA)
            x1, y1 = width // 2 + (width // 2 - side) // 2, y0 + (self.picture_px - side) // 2
            frame[y1 : y1 + side, x1 : x1 + side] = small
            _text(frame, "REF 1", (x1 + 8, y1 + 24), 0.6, DIM)
        return frame

    def _panel(self, frame: Gray, left: int, top: int, right: int) -> None:
        for row, label in enumerate(("FLUORO", "SNAPSHOT", "ROADMAP", "SWAP", "SAVE", "PRINT")):
            y = top + 70 * row
            cv2.rectangle(frame, (left, y), (right, y + 54), 58, -1)
            cv2.rectangle(frame, (left, y), (right, y + 54), 105, 1)
            _text(frame, label, (left + 14, y + 34), 0.55, 205)

    def _write(self, frame: Gray, clock_s: float, status: str, exposure: str) -> None:
        width, height = self.size_px
        seconds = 9 * 3600 + 41 * 60 + int(clock_s)
        clock = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
        if self.layout is Layout.PICTURE:
            size = max(0.35, width / 1400)
            line = int(30 * size)
            _text(frame, self.patient, (4, line), size, WHITE)
            _text(frame, clock, (4, height - 6), size, WHITE)
            _text(frame, exposure, (4, height - 6 - line), size, DIM)
            (w, _), _ = cv2.getTextSize(status, FONT, size, 1)
            _text(frame, status, (width - w - 4, height - 6), size, WHITE)
            return
        _text(frame, clock, (width - 140, 27), 0.7, WHITE)
        x0, y0 = self.origin_px
        _text(frame, exposure, (x0 + 4, y0 + self.picture_px - 8), 0.5, DIM)
        _text(frame, status, (x0 + self.picture_px - 110, y0 + self.picture_px - 8), 0.5, WHITE)


def lost_frame(size_px: tuple[int, int], kind: LostVideo, seed: int, frame: int) -> Gray:
    """What a grabber delivers without a signal: one even grey (the luma of blue, or black), or noise."""
    width, height = size_px
    if kind is LostVideo.NOISE:
        rng = np.random.default_rng([seed, frame, 0x105])
        return rng.integers(0, 256, (height, width), dtype=np.uint8)
    # Luma of a pure blue screen by ITU-R BT.601, limited range.
    return np.full((height, width), 41 if kind is LostVideo.BLUE else 16, np.uint8)


def jpeg(frame: Gray, quality: int) -> Gray:
    """The frame as a grabber that compresses with JPEG delivers it."""
    packed = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(packed, cv2.IMREAD_GRAYSCALE), dtype=np.uint8)


def _text(frame: Gray, words: str, at: tuple[int, int], size: float, grey: int) -> None:
    cv2.putText(frame, words, at, FONT, size, grey, 1, cv2.LINE_AA)
