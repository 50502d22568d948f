"""One frame of a source that nobody watches, in a process of its own: however long it takes, nothing else waits for it.

python -m web.preview SOURCE

Writes a JPEG to standard output, or one line to standard error and exits with 2.
"""

import os
import sys

import cv2
import numpy as np

from drivers.errors import SourceError
from drivers.frame import Frame, FrameFlag
from drivers.sources import open_source
from guidance.phantom.source import open_phantom

LONGEST_SIDE_PX = 480
MOST_FRAMES = 60
"""A grabber that has just been opened delivers some frames of noise before its signal is there."""
NICENESS = 15
"""What watches a patient comes first."""


def preview(spec: str) -> bytes:
    """The first sound frame as a JPEG of at most ``LONGEST_SIDE_PX`` a side. Raises SourceError."""
    with open_source(spec, {"phantom": open_phantom}) as source:
        for number, frame in enumerate(source):
            if not frame.flags & (FrameFlag.NO_SIGNAL | FrameFlag.CORRUPT):
                return _jpeg(frame)
            if number >= MOST_FRAMES:
                break
    raise SourceError(f"{spec}: no sound frame came; expected a signal")


def _jpeg(frame: Frame) -> bytes:
    pixels = np.right_shift(frame.pixels, frame.bits - 8).astype(np.uint8)
    h, w = pixels.shape
    share = min(1.0, LONGEST_SIDE_PX / max(h, w))
    size = (max(1, round(w * share)), max(1, round(h * share)))
    done, jpeg = cv2.imencode(".jpg", cv2.resize(pixels, size, interpolation=cv2.INTER_AREA))
    assert done
    return bytes(jpeg)


def main(arguments: list[str]) -> int:
    """The exit status."""
    os.nice(NICENESS)
    try:
        jpeg = preview(arguments[0])
    except SourceError as error:
        print(" ".join(str(error).split()), file=sys.stderr)  # noqa: T201 - who has asked reads it
        return 2
    sys.stdout.buffer.write(jpeg)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
