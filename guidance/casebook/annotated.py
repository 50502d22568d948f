"""The annotated recording: overlay painted on the picture, at the recording's own frame times."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import numpy as np
from numpy.typing import NDArray

from drivers.frame import Pixels, SourceInfo
from guidance.overlay import Stroke, paint
from guidance.records import Alert, Findings

TIME_BASE = Fraction(1, 90_000)


class AnnotatedVideo:
    """An H.264 file in MP4, for people to look at: lossy, and never a source for analysis."""

    def __init__(self, path: Path, info: SourceInfo) -> None:
        self._path = path
        # H.264 in 4:2:0 needs even sides: an odd one is padded by a black line.
        self._width, self._height = info.width_px + info.width_px % 2, info.height_px + info.height_px % 2
        self._last_pts = -1

    def __enter__(self) -> Self:
        self._file = av.open(str(self._path), "w", format="mp4", options={"movflags": "+faststart"})
        self._file.flags |= 0x0400  # AVFMT_FLAG_BITEXACT: no version or date, so that equal replays are equal files
        stream = self._file.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = self._width, self._height, "yuv420p"
        stream.time_base = TIME_BASE
        # One thread: x264's output depends on how many there are.
        stream.codec_context.options = {"preset": "veryfast", "crf": "20", "threads": "1"}
        self._stream = stream
        return self

    def add(
        self,
        pixels: Pixels,
        bits: int,
        strokes: Sequence[Stroke],
        findings: Findings,
        active: Sequence[Alert],
    ) -> None:
        """Append one frame at its own time."""
        shown = pixels if pixels.dtype == np.uint8 else (pixels >> max(0, bits - 8)).astype(np.uint8)
        picture = paint(shown, strokes, findings, active)
        frame = av.VideoFrame.from_ndarray(self._padded(picture), format="bgr24")
        frame.time_base = TIME_BASE
        frame.pts = max(self._last_pts + 1, round(findings.t_s / TIME_BASE))
        self._last_pts = frame.pts
        self._file.mux(self._stream.encode(frame))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.mux(self._stream.encode(None))
        self._file.close()

    def _padded(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        missing = (self._height - picture.shape[0], self._width - picture.shape[1])
        if missing == (0, 0):
            return picture
        return np.pad(picture, ((0, missing[0]), (0, missing[1]), (0, 0)))
