"""Pictures in files of their own: PNG, JPEG and TIFF."""

import logging
import struct
import zlib
from collections.abc import Generator, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray

from drivers.errors import SourceError
from drivers.frame import Frame, Pixels, freeze
from drivers.luma import decode_picture, luma_of, luma_of_colour
from drivers.recording import DEFAULT_RATE_HZ, Header, Recording, natural_key, reason

# What is wrong with a TIFF is told by SourceError; without a handler its messages would reach standard error.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff"})


_TIFFFILE_DECODES = (tifffile.COMPRESSION.NONE, tifffile.COMPRESSION.ADOBE_DEFLATE, tifffile.COMPRESSION.DEFLATE)

_DAMAGE = (
    av.FFmpegError,
    cv2.error,
    tifffile.TiffFileError,
    OSError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    MemoryError,
    struct.error,
    zlib.error,
)
"""What the decoders raise on damaged files."""

_WHITE_IS_ZERO = tifffile.PHOTOMETRIC.MINISWHITE


class ImageFolder(Recording):
    """PNG, JPEG and TIFF pictures as frames, in the natural order of their names; pages of a TIFF are frames too.

    8 or 16 bit, gray or colour (luma). A 16-bit file counts as 16 bits: values are not stretched.
    Images hold no times, so they are ``rate_hz`` apart. Raises SourceError for an image that can't be decoded, after
    those before it, and SourceChanged where sizes differ.
    """

    def __init__(self, name: str, paths: Sequence[Path], rate_hz: float = DEFAULT_RATE_HZ) -> None:
        super().__init__(name)
        self._paths = sorted(paths, key=natural_key)
        self._rate_hz = rate_hz

    def _read(self) -> Generator[Frame, None, None]:
        has_pages = any(path.suffix.lower() in (".tif", ".tiff") for path in self._paths)
        self._header = Header(None if has_pages else len(self._paths), self._rate_hz)
        numbers = count()
        for path in self._paths:
            self._file = str(path)
            for pixels in _pictures(path):
                sequence = next(numbers)
                bits = 8 if pixels.dtype == np.uint8 else 16
                yield Frame(freeze(pixels), sequence / self._rate_hz, sequence, bits)


def _pictures(path: Path) -> Iterator[Pixels]:
    """The pictures of one image file: one, or the pages of a TIFF."""
    try:
        if path.suffix.lower() in (".tif", ".tiff"):
            yield from _tiff_pages(path)
        else:
            yield _coded_picture(path.read_bytes())
    except _DAMAGE as error:
        raise SourceError(f"{path}: {reason(error)}; expected a whole PNG, JPEG or TIFF image") from error


def _coded_picture(data: bytes) -> Pixels:
    """A PNG or JPEG, told apart by its first bytes: a wrong name is common."""
    return luma_of(decode_picture(data, "png" if data.startswith(b"\x89PNG") else "mjpeg"))[0]


def _tiff_pages(path: Path) -> Iterator[Pixels]:
    with tifffile.TiffFile(path) as tiff:
        if not len(tiff.pages):
            raise ValueError("no picture in it")
        for number, page in enumerate(tiff.pages):
            pixels = page.asarray() if _is_plain(page) else _page_by_opencv(path, page, number)
            if pixels.dtype not in (np.uint8, np.uint16):
                raise ValueError(f"page {number} is {pixels.dtype}, not 8 or 16 bit")
            if pixels.ndim == 3 and pixels.shape[2] in (3, 4):
                pixels = luma_of_colour(np.ascontiguousarray(pixels[..., :3]))
            if pixels.ndim != 2:
                raise ValueError(f"page {number} has the shape {pixels.shape}, not a picture's")
            yield pixels


def _is_plain(page: tifffile.TiffPage | tifffile.TiffFrame) -> bool:
    """True where tifffile alone gives the picture as it is shown."""
    return (
        isinstance(page, tifffile.TiffPage)
        and page.compression in _TIFFFILE_DECODES
        and page.photometric in (tifffile.PHOTOMETRIC.MINISBLACK, tifffile.PHOTOMETRIC.RGB)
        and page.planarconfig == tifffile.PLANARCONFIG.CONTIG
    )


def _page_by_opencv(path: Path, page: tifffile.TiffPage | tifffile.TiffFrame, number: int) -> NDArray[Any]:
    """What OpenCV's libtiff knows and tifffile leaves to another package: LZW, JPEG, palettes, white as zero."""
    _, pages = cv2.imreadmulti(str(path), start=number, count=1, flags=cv2.IMREAD_UNCHANGED)
    if not pages:
        raise ValueError(f"page {number} can't be decoded")
    pixels = np.asarray(pages[0])
    if pixels.dtype == np.uint16 and page.keyframe is not None and page.keyframe.photometric == _WHITE_IS_ZERO:
        # Of 8 bit OpenCV has done it.
        pixels = np.iinfo(np.uint16).max - pixels
    return pixels[..., 2::-1] if pixels.ndim == 3 else pixels
