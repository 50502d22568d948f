"""The annotated recording: overlay painted on the picture, at the recording's own frame times."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import av

from drivers.frame import Frame
from guidance.overlay import draw, paint
from guidance.records import Alert, Findings

TIME_BASE = Fraction(1, 90_000)


class AnnotatedVideo:
    """An H.264 file in MP4, for people to look at: lossy, and never a source for analysis."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stream: Any = None
        self._last_pts = -1

    def __enter__(self) -> Self:
        # bitexact: no version or date inside, so that equal replays are equal files.
        options = {"movflags": "+faststart", "fflags": "+bitexact"}
        self._file: Any = av.open(str(self._path), "w", format="mp4", options=options)
        return self

    def add(self, frame: Frame, findings: Findings, active: Sequence[Alert]) -> None:
        """Append one frame at its own time, with what was found on it."""
        page = paint(frame.pixels, draw(findings, active), findings, active, frame.bits)
        if self._stream is None:
            self._begin(width=page.shape[1], height=page.shape[0])
        video_frame = av.VideoFrame.from_ndarray(page, format="bgr24")
        video_frame.time_base = TIME_BASE
        self._last_pts = video_frame.pts = max(self._last_pts + 1, round(findings.t_s / TIME_BASE))
        self._file.mux(self._stream.encode(video_frame))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stream is not None:
            self._file.mux(self._stream.encode(None))
        self._file.close()

    def _begin(self, width: int, height: int) -> None:
        stream = self._file.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.time_base = TIME_BASE
        stream.codec_context.flags |= av.codec.context.Flags.bitexact
        # One thread: x264's output depends on how many there are.
        stream.options = {"preset": "veryfast", "crf": "20", "threads": "1"}
        self._stream = stream
