"""How long a video file says it is: FFmpeg ends a file that was cut short without a word."""

from pathlib import Path
from typing import BinaryIO

_EBML = b"\x1a\x45\xdf\xa3"
_SEGMENT = 0x18538067


def stated_bytes(path: Path) -> int | None:
    """The length that a Matroska, MP4 or RIFF (AVI) file's own headers add up to; None where they do not say.

    A shorter file was cut. None: other containers, and files whose writer never came back to fill the length in
    (a live recording, or one that ended in a crash), which can't be told from whole ones.
    Sources: RFC 8794, Extensible Binary Meta Language, 2020; ISO/IEC 14496-12, ISO base media file format;
    Microsoft and IBM, Multimedia Programming Interface and Data Specifications, 1991.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        magic = file.read(12)
        file.seek(0)
        if magic.startswith(_EBML):
            return _matroska_bytes(file)
        if magic.startswith(b"RIFF"):
            return _chunks_bytes(file, size)
        if magic[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
            return _boxes_bytes(file, size)
    return None


def _matroska_bytes(file: BinaryIO) -> int | None:
    """The end of the first Segment."""
    _variable_int(file, keep_marker=True)
    header = _variable_int(file)
    file.seek(header or 0, 1)
    if header is None or _variable_int(file, keep_marker=True) != _SEGMENT:
        return None
    length = _variable_int(file)
    return None if length is None else file.tell() + length


def _variable_int(file: BinaryIO, keep_marker: bool = False) -> int | None:
    """EBML's number of 1 to 8 bytes: the leading zeros of the first byte count the rest. All ones is "unknown"."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    count = 8 - first[0].bit_length()
    whole = int.from_bytes(first + file.read(count), "big")
    if keep_marker:
        return whole
    value_bits = 7 * (count + 1)
    value = whole & ((1 << value_bits) - 1)
    return None if value == (1 << value_bits) - 1 else value


def _chunks_bytes(file: BinaryIO, size: int) -> int | None:
    """The end of the last top-level RIFF chunk; large AVI files have several."""
    end = 0
    while end + 8 <= size:
        file.seek(end)
        name, length = file.read(4), int.from_bytes(file.read(4), "little")
        if name != b"RIFF":
            break
        if length == 0:
            return None
        end += 8 + length + length % 2
    # The padding byte of an odd chunk at the very end is often left out.
    return end - 1 if end == size + 1 else end


def _boxes_bytes(file: BinaryIO, size: int) -> int | None:
    """The end of the last top-level box."""
    end = 0
    while end + 8 <= size:
        file.seek(end)
        length = int.from_bytes(file.read(4), "big")
        file.read(4)
        if length == 1:
            length = int.from_bytes(file.read(8), "big")
        if length < 8:
            return None
        end += length
    return end
