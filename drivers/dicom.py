"""DICOM runs: multi-frame files, and folders of single frames."""

import struct
import warnings
import zlib
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from io import BytesIO
from itertools import accumulate, pairwise
from math import isfinite
from pathlib import Path
from typing import Any, BinaryIO

import av
import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, parse_basic_offsets, parse_fragments
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.multival import MultiValue
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi
from pydicom.pixels.utils import as_pixel_options
from pydicom.tag import Tag
from pydicom.uid import (
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
)
from pydicom.valuerep import DT

from drivers.errors import SourceError
from drivers.frame import Frame, Pixels, freeze
from drivers.luma import decode_picture, look_up, luma_of, luma_of_colour
from drivers.recording import DEFAULT_RATE_HZ, Header, Recording, mean_rate_hz, natural_key, reason

_CODECS = {
    JPEGBaseline8Bit: "mjpeg",
    JPEGExtended12Bit: "mjpeg",
    JPEGLossless: "mjpeg",
    JPEGLosslessSV1: "mjpeg",
    JPEGLSLossless: "jpegls",
    JPEGLSNearLossless: "jpegls",
    JPEG2000Lossless: "jpeg2000",
    JPEG2000: "jpeg2000",
}
"""FFmpeg's decoder of each compressed transfer syntax. (GDCM ends the whole process on some damaged JPEG data.)"""

_DAMAGE = (
    InvalidDicomError,
    BytesLengthException,
    av.FFmpegError,
    OSError,
    EOFError,
    ValueError,
    RuntimeError,
    AttributeError,
    KeyError,
    IndexError,
    TypeError,
    OverflowError,
    MemoryError,
    struct.error,
    zlib.error,
)
"""What pydicom and FFmpeg raise on damaged files, depending on where the damage is."""


def is_dicom(path: Path) -> bool:
    """True where the file has DICOM's mark after the preamble."""
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def is_run(path: Path) -> bool:
    """True where a DICOM file holds several frames; False also where it cannot be read as one."""
    try:
        return _frame_count(_read_header(path)) > 1
    except _DAMAGE:
        return False


class DicomFile(Recording):
    """The frames of one DICOM file (XA, RF, SC, ...), decoded one at a time, as a monitor shows them.

    Rescale, window or VOI LUT are applied and MONOCHROME1 is inverted, so that low is black; ``bits`` is Bits Stored
    (at least 8) and the window fills it. Without a window the stored range is kept. The Modality LUT *Sequence* of
    an X-ray image that states its pixel intensity relationship leads back to beam intensity and is not for
    display (DICOM PS3.17, FFF.2.3.1.3.4), so it is left out. Colour becomes luma.
    ``t_s`` counts from the first frame: each frame's acquisition time, the Frame Time Vector, Frame Time, Cine Rate or
    Recommended Display Frame Rate, in that order; else 15 frames a second. ``mm_per_px``: see ``mm_per_px_of``.

    Raises SourceError for what is no DICOM, has no pixels or an unknown coding, and after the last whole frame where
    pixel data end early. Misses: subtraction masks, overlays, presentation states, 12-bit JPEG Extended and
    JPEG-LS in colour (FFmpeg can't).
    """

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._path = path

    def _read(self) -> Generator[Frame, None, None]:
        with _told_by(self._name, "expected a DICOM file with pixels"):
            header = _read_header(self._path)
            frames = _frame_count(header)
            times_s, rate_hz = _frame_times(header, frames)
            self._header = Header(frames, rate_hz, mm_per_px_of(header))
        for sequence, (pixels, bits) in enumerate(_shown_frames(self._path, header)):
            yield Frame(pixels, times_s[sequence], sequence, bits)


class DicomFolder(Recording):
    """Single-frame DICOM files of one series as a run, each shown as ``DicomFile`` shows it.

    In the order of Instance Number, else of acquisition time, else of the names. ``t_s`` counts from the first frame
    and comes from the acquisition times where these increase from frame to frame (many systems write whole
    seconds); else from the first file's frame time or rate; else 15 frames a second.
    Raises SourceError where the files belong to several series, or are runs themselves, naming them.
    """

    def __init__(self, name: str, paths: Sequence[Path]) -> None:
        super().__init__(name)
        self._paths = paths

    def _read(self) -> Generator[Frame, None, None]:
        headers = self._headers()
        self._require_one_series([header for _, header in headers])
        headers = _in_order(headers)
        first = headers[0][1]
        with _told_by(str(headers[0][0]), "expected a DICOM file with pixels"):
            times_s, rate_hz = _run_times([header for _, header in headers])
            self._header = Header(len(headers), rate_hz, mm_per_px_of(first))
        for sequence, (path, header) in enumerate(headers):
            self._file = str(path)
            for pixels, bits in _shown_frames(path, header):
                yield Frame(pixels, times_s[sequence], sequence, bits)

    def _headers(self) -> list[tuple[Path, Dataset]]:
        """Those of the files that hold pictures: an index (DICOMDIR) or a report is passed over."""
        headers = []
        for path in sorted(self._paths, key=natural_key):
            with _told_by(str(path), "expected a DICOM file"):
                header = _read_header(path)
                if "Rows" in header:
                    headers.append((path, header))
                    if _frame_count(header) > 1 and len(self._paths) > 1:
                        raise SourceError(
                            f"{path}: a run of {_frame_count(header)} frames among {len(self._paths)} files; "
                            "expected single frames, or give the run's own file"
                        )
        if not headers:
            raise SourceError(f"{self._name}: no DICOM file with pixels; expected single frames of one series")
        return headers

    def _require_one_series(self, headers: Sequence[Dataset]) -> None:
        counts: dict[str, int] = {}
        for header in headers:
            number, text = header.get("SeriesNumber"), str(header.get("SeriesDescription", "")).strip()
            label = (
                f"series {number if number is not None else '?'} {text} ({header.get('SeriesInstanceUID', 'no UID')})"
            )
            counts[label] = counts.get(label, 0) + 1
        if len(counts) > 1:
            found = ", ".join(f"{' '.join(label.split())}: {files} files" for label, files in counts.items())
            raise SourceError(f"{self._name}: several series: {found}; expected one")


def mm_per_px_of(header: Dataset) -> float | None:
    """Millimetres a pixel, from the header; None where it states none or pixels are not square (by more than 1 %).

    Pixel Spacing where it is calibrated, that is, differs from Imager Pixel Spacing (DICOM PS3.3, 10.7.1.3). Else
    Imager Pixel Spacing, brought from the detector to the patient by the Estimated Radiographic Magnification Factor,
    or the ratio of source-to-detector to source-to-patient distance, where the header has them.
    """
    imager = _square_mm(_group(header, 0, "FramePixelDataPropertiesSequence").get("ImagerPixelSpacing"))
    patient = _square_mm(_group(header, 0, "PixelMeasuresSequence").get("PixelSpacing"))
    if patient is not None and patient != imager:
        return patient
    if imager is None:
        return None
    return imager / (_magnification(header) or 1.0)


def _square_mm(spacing: object) -> float | None:
    if not isinstance(spacing, MultiValue) or len(spacing) != 2:
        return None
    rows, columns = _number(spacing[0]), _number(spacing[1])
    if rows is None or columns is None or rows <= 0 or abs(rows - columns) > 0.01 * rows:
        return None
    return (rows + columns) / 2


def _magnification(header: Dataset) -> float | None:
    stated = _number(header.get("EstimatedRadiographicMagnificationFactor"))
    if stated is not None and stated >= 1:
        return stated
    detector, patient = (_number(header.get(f"DistanceSourceTo{end}")) for end in ("Detector", "Patient"))
    return detector / patient if detector and patient and detector >= patient > 0 else None


@contextmanager
def _told_by(place: str, expected: str) -> Iterator[None]:
    """Turns pydicom's many errors into one SourceError, and keeps its warnings to itself."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except _DAMAGE as error:
        raise SourceError(f"{place}: {reason(error)}; {expected}") from error


def _read_header(path: Path) -> Dataset:
    try:
        return dcmread(path, stop_before_pixels=True)
    except InvalidDicomError as error:
        raise ValueError("not a DICOM file") from error


def _frame_count(header: Dataset) -> int:
    """Number of Frames, 1 where it is absent. Raises ValueError where the header describes no pictures."""
    for name in ("Rows", "Columns", "BitsAllocated", "BitsStored", "PhotometricInterpretation"):
        if not header.get(name):
            raise ValueError(f"no {name} in the header")
    if header.BitsAllocated not in (8, 16) or not 1 <= header.BitsStored <= header.BitsAllocated:
        raise ValueError(f"{header.BitsStored} of {header.BitsAllocated} bits are not supported, only 8 to 16")
    stated = header.get("NumberOfFrames")
    frames = 1 if stated is None else int(stated)
    if frames < 1:
        raise ValueError(f"Number of Frames is {frames}")
    return frames


def _shown_frames(path: Path, header: Dataset) -> Iterator[tuple[Pixels, int]]:
    """Each frame as the monitor shows it, with its bits."""
    frames = 0
    with path.open("rb") as file:
        with _told_by(str(path), "expected pixel data"):
            expected = _frame_count(header)
            curve = _DisplayCurve(header)
            coded, vr = _coded_frames(file, header, expected)
        while frames < expected:
            with _told_by(f"{path}: frame {frames}", "expected a whole picture"):
                data = next(coded, None)
                if data is None:
                    break
                shown = curve.show(_decoded(data, header, vr), frames)
            yield freeze(shown), curve.bits
            frames += 1
    if frames < expected:
        raise SourceError(f"{path}: frame {frames}: the pixel data end here; expected {expected} frames")


def _coded_frames(file: BinaryIO, header: Dataset, expected: int) -> tuple[Iterator[bytes], str]:
    """Each frame's bytes as they are stored, one at a time, up to the last whole one; and their VR."""
    syntax = header.file_meta.TransferSyntaxUID
    if syntax == DeflatedExplicitVRLittleEndian:
        # Everything is compressed together: there is no reading it in parts.
        pixel_data = dcmread(file).PixelData
        return _native_frames(BytesIO(pixel_data), header, expected, len(pixel_data)), "OW"
    dcmread(file, stop_before_pixels=True)
    order = "<" if syntax.is_little_endian else ">"
    start = file.read(8 if syntax.is_implicit_VR else 12)
    if len(start) < 8:
        raise ValueError("no pixel data in it")
    group, element = struct.unpack(f"{order}HH", start[:4])
    (length,) = struct.unpack(f"{order}L", start[-4:])
    if (group, element) != (0x7FE0, 0x0010):
        raise ValueError(f"{Tag(group, element)} instead of (7FE0,0010) Pixel Data")
    vr = "OW" if syntax.is_implicit_VR else start[4:6].decode("ascii")
    if syntax.is_encapsulated:
        return _encapsulated_frames(file, expected), vr
    return _native_frames(file, header, expected, length), vr


def _native_frames(file: BinaryIO, header: Dataset, expected: int, length: int) -> Iterator[bytes]:
    samples = 2 if header.PhotometricInterpretation == "YBR_FULL_422" else header.get("SamplesPerPixel", 1)
    size = header.Rows * header.Columns * samples * header.BitsAllocated // 8
    for _ in range(min(expected, length // size)):
        data = file.read(size)
        if len(data) < size:
            return
        yield data


def _encapsulated_frames(file: BinaryIO, expected: int) -> Iterator[bytes]:
    """Fragments joined to frames: by the offset table; else one each; else, if there are more, by JPEG's end mark."""
    starts = set(parse_basic_offsets(file))
    first = file.tell()
    fragments, _ = parse_fragments(file)
    frame: list[bytes] = []
    for offset, fragment in _fragments(file, first):
        ended = bool(frame) and (
            offset in starts if starts else expected > 1 and (fragments <= expected or b"\xff\xd9" in frame[-1][-10:])
        )
        if ended:
            yield b"".join(frame)
            frame = []
        if fragment is None:
            return
        frame.append(fragment)
    if frame:
        yield b"".join(frame)


def _fragments(file: BinaryIO, first: int) -> Iterator[tuple[int, bytes | None]]:
    """Each fragment with its offset from the first; None for one that the end of the file cuts."""
    while True:
        offset = file.tell() - first
        item = file.read(8)
        if len(item) < 8:
            yield offset, None
            return
        group, element, length = struct.unpack("<HHL", item)
        if (group, element) != (0xFFFE, 0xE000):
            return
        fragment = file.read(length)
        yield offset, fragment if len(fragment) == length else None


def _decoded(data: bytes, header: Dataset, vr: str) -> NDArray[Any]:
    """One frame's stored values, (rows, columns); of colour, luma or RGB (rows, columns, 3)."""
    syntax = header.file_meta.TransferSyntaxUID
    if syntax in _CODECS:
        if syntax in (JPEGLossless, JPEGLosslessSV1) and _has_widest_step(data):
            raise ValueError("16-bit JPEG Lossless with a step of 32768 between neighbours can't be decoded exactly")
        stored, _ = luma_of(decode_picture(data, _CODECS[syntax]))
        if stored.shape != (header.Rows, header.Columns):
            raise ValueError(f"{stored.shape[1]}x{stored.shape[0]} pixels instead of {header.Columns}x{header.Rows}")
        if syntax in (JPEGBaseline8Bit, JPEGExtended12Bit) and stored.dtype != np.uint8:
            raise ValueError("lossy JPEG of more than 8 bits can't be decoded")
        if stored.dtype == np.uint8 and header.BitsStored > 8:
            raise ValueError(f"8-bit pixels instead of {header.BitsStored}-bit ones")
        if _CODECS[syntax] == "jpegls":
            return _lowered(stored, data)
        return _as_stored(stored, data) if _CODECS[syntax] == "jpeg2000" else stored
    native = not syntax.is_encapsulated
    options = as_pixel_options(header, number_of_frames=1, pixel_keyword="PixelData", pixel_vr=vr)
    options.pop("extended_offsets", None)
    options.update(correct_unused_bits=False, view_only=native)
    array, _ = get_decoder(syntax).as_array(
        data if native else encapsulate([data], has_bot=False),
        index=0,
        validate=False,
        decoding_plugin="" if native else "pydicom",
        **options,
    )
    return array


def _has_widest_step(data: bytes) -> bool:
    """True where a lossless JPEG has a code for differences of 32768, which FFmpeg decodes wrongly without a word."""
    at = 2
    while data[at : at + 1] == b"\xff" and data[at + 1 : at + 2] != b"\xda":
        (length,) = struct.unpack(">H", data[at + 2 : at + 4])
        table, end = at + 4, at + 2 + length
        while data[at + 1] == 0xC4 and table + 17 <= end:
            symbols = table + 17
            table = symbols + sum(data[table + 1 : symbols])
            if 16 in data[symbols:table]:
                return True
        at = end
    return False


def _as_stored(codes: Pixels, data: bytes) -> Pixels:
    """FFmpeg lifts signed JPEG 2000 samples by half their range to count from zero: this takes it back."""
    size = data.find(b"\xff\x4f\xff\x51")
    precision = data[size + 42 : size + 43]  # ISO/IEC 15444-1, A.5.1: the first component's Ssiz
    if size < 0 or not precision or precision[0] < 0x80:
        return codes
    half = 1 << (precision[0] & 0x7F)
    return np.asarray(codes - np.asarray(half, codes.dtype))


def _lowered(codes: Pixels, data: bytes) -> Pixels:
    """FFmpeg shifts JPEG-LS samples of 9 to 15 bits up to 16: this takes it back."""
    frame = data.find(b"\xff\xf7")
    precision = data[frame + 4] if 0 <= frame < len(data) - 4 else 0  # ISO/IEC 14495-1, C.2.2: P
    return np.asarray(codes >> (16 - precision)) if 8 < precision < 16 else codes


class _DisplayCurve:
    """From stored values to what the monitor shows, as one table over all codes a pixel can hold."""

    def __init__(self, header: Dataset) -> None:
        self._header = header
        self.bits = max(8, header.BitsStored)
        self._per_frame = any(
            name in group
            for group in header.get("PerFrameFunctionalGroupsSequence") or ()
            for name in ("FrameVOILUTSequence", "PixelValueTransformationSequence")
        )
        self._is_colour = not header.PhotometricInterpretation.startswith("MONOCHROME")
        self._table: Pixels | None = None

    def show(self, stored: NDArray[Any], frame: int) -> Pixels:
        """The displayed picture, (rows, columns), uint8 for 8 bits, else uint16."""
        if self._header.PhotometricInterpretation == "PALETTE COLOR":
            stored = apply_color_lut(stored, self._header)
        if stored.ndim == 3:
            stored = luma_of_colour(np.ascontiguousarray(stored[..., :3]))
        if self._is_colour:
            self.bits = 8 * stored.dtype.itemsize
            return stored
        if self._table is None or self._per_frame:
            self._table = self._tabulate(frame)
        unsigned = np.uint8 if stored.dtype.itemsize == 1 else np.uint16
        codes = stored.astype(stored.dtype.newbyteorder("="), copy=False).view(unsigned)
        return look_up(codes, self._table)

    def _tabulate(self, frame: int) -> Pixels:
        header, stored_bits = self._header, self._header.BitsStored
        code = np.arange(2**header.BitsAllocated)
        # Bits above Bits Stored may hold an old overlay; bits below, where High Bit is the top one, are empty.
        low = 0 if header.file_meta.TransferSyntaxUID.is_encapsulated else header.HighBit + 1 - stored_bits
        code = (code >> max(low, 0)) & (2**stored_bits - 1)
        value = np.arange(2**stored_bits)
        if header.get("PixelRepresentation") == 1:
            value = np.where(value < 2 ** (stored_bits - 1), value, value - 2**stored_bits)
        shown = _windowed(self._rescaled(value, frame), _group(header, frame, "FrameVOILUTSequence"))
        if header.PhotometricInterpretation == "MONOCHROME1":
            shown = 1 - shown
        table = np.rint(shown * (2**self.bits - 1)).astype(np.uint8 if self.bits == 8 else np.uint16)
        return np.ascontiguousarray(table[code])

    def _rescaled(self, value: NDArray[np.int_], frame: int) -> NDArray[np.float64]:
        group = _group(self._header, frame, "PixelValueTransformationSequence")
        if group.get("ModalityLUTSequence"):
            if self._header.get("PixelIntensityRelationship"):
                return value.astype(np.float64)
            return np.asarray(apply_modality_lut(value, group), dtype=np.float64)
        slope, intercept = _number(group.get("RescaleSlope")), _number(group.get("RescaleIntercept"))
        return np.asarray(value * (1.0 if slope is None else slope) + (intercept or 0.0))


def _windowed(value: NDArray[np.float64], voi: Dataset) -> NDArray[np.float64]:
    """Display share, 0 (black) to 1 (white). Source: DICOM PS3.3, C.11.2.1.2 and C.11.2.1.3, VOI LUT functions."""
    if voi.get("VOILUTSequence"):
        bits = int(voi.VOILUTSequence[0].LUTDescriptor[2])
        return np.asarray(np.clip(apply_voi(value.astype(np.int64), voi) / (2**bits - 1), 0, 1))
    centre, width = _number(voi.get("WindowCenter")), _number(voi.get("WindowWidth"))
    function = str(voi.get("VOILUTFunction") or "LINEAR")
    if centre is None or width is None or width < 1:
        # Ordered as stored: values may run downwards where the slope is negative.
        lowest, highest = value.min(), value.max()
        return np.asarray((value - lowest) / max(highest - lowest, 1e-9))
    if function == "SIGMOID":
        return np.asarray(1 / (1 + np.exp(-4 * (value - centre) / width)))
    if function == "LINEAR":
        centre, width = centre - 0.5, max(width - 1, 1e-9)
    return np.asarray(np.clip((value - centre) / width + 0.5, 0, 1))


def _group(header: Dataset, frame: int, sequence: str) -> Dataset:
    """Where a functional group's attributes stand for a frame: its own item, the shared one, else the file itself."""
    per_frame = header.get("PerFrameFunctionalGroupsSequence") or ()
    shared = header.get("SharedFunctionalGroupsSequence") or ()
    for holder in (*per_frame[frame : frame + 1], *shared[:1]):
        if items := holder.get(sequence):
            group: Dataset = items[0]
            return group
    return header


def _number(value: object) -> float | None:
    """A header's number, the first where there are several; None for one that is empty, malformed or not finite."""
    if isinstance(value, MultiValue):
        value = value[0] if value else None
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return number if isfinite(number) else None


def _frame_times(header: Dataset, frames: int) -> tuple[list[float], float | None]:
    """Each frame's seconds from the first, and the nominal rate. Raises ValueError where they run backwards."""
    acquired = [_acquired(_group(header, i, "FrameContentSequence")) for i in range(frames)] if frames > 1 else []
    times_s = _increasing(acquired)
    vector = header.get("FrameTimeVector")
    if times_s is None and isinstance(vector, MultiValue) and len(vector) == frames:
        steps_ms = [_number(step) for step in vector][1:]
        if any(step is None or step < 0 for step in steps_ms):
            raise ValueError("Frame Time Vector holds a negative or malformed time")
        times_s = [ms / 1000 for ms in accumulate(step or 0.0 for step in [0.0, *steps_ms])]
    if times_s is not None:
        return times_s, mean_rate_hz(times_s)
    rate_hz = _rate_hz(header)
    return [i / rate_hz for i in range(frames)], rate_hz


def _run_times(headers: Sequence[Dataset]) -> tuple[list[float], float | None]:
    """The same for a run of single frames."""
    times_s = _increasing([_acquired(_group(header, 0, "FrameContentSequence")) for header in headers])
    if times_s is not None and len(times_s) > 1:
        return times_s, mean_rate_hz(times_s)
    rate_hz = _rate_hz(headers[0])
    return [i / rate_hz for i in range(len(headers))], rate_hz


def _rate_hz(header: Dataset) -> float:
    frame_time_ms = _number(header.get("FrameTime"))
    if frame_time_ms and frame_time_ms > 0:
        return 1000 / frame_time_ms
    for name in ("CineRate", "RecommendedDisplayFrameRate"):
        rate_hz = _number(header.get(name))
        if rate_hz and rate_hz > 0:
            return rate_hz
    return DEFAULT_RATE_HZ


def _acquired(header: Dataset) -> datetime | None:
    """When the frame was taken; None where the header does not say, or not in the standard's form."""
    for name in ("FrameAcquisitionDateTime", "FrameReferenceDateTime", "AcquisitionDateTime"):
        if header.get(name):
            return _moment(str(header[name].value))
    date, time = header.get("AcquisitionDate"), header.get("AcquisitionTime")
    return _moment(f"{date or '19700101'}{time}") if time else None


def _moment(text: str) -> datetime | None:
    try:
        return DT(text)
    except ValueError:
        return None


def _increasing(moments: Sequence[datetime | None]) -> list[float] | None:
    """Seconds from the first, if every frame has a time later than the one before it."""
    known = [moment for moment in moments if moment is not None]
    if not known or len(known) < len(moments) or len({moment.tzinfo is None for moment in known}) > 1:
        return None
    times_s = [(moment - known[0]).total_seconds() for moment in known]
    return times_s if all(a < b for a, b in pairwise(times_s)) else None


def _in_order(headers: list[tuple[Path, Dataset]]) -> list[tuple[Path, Dataset]]:
    numbers = [_number(header.get("InstanceNumber")) for _, header in headers]
    if None not in numbers and len(set(numbers)) == len(headers):
        return sorted(headers, key=lambda item: float(item[1].InstanceNumber))
    moments = [_acquired(header) for _, header in headers]
    if None not in moments and len({moment.tzinfo is None for moment in moments if moment}) == 1:
        order = sorted(range(len(headers)), key=lambda i: moments[i])  # type: ignore[arg-type,return-value]
        return [headers[i] for i in order]
    return headers
