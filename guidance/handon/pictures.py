"""A case as DICOM Multi-frame Grayscale Byte (or Word) Secondary Capture, written as its frames come.

A grabber knows neither the positioner's angles nor the exposure, so that an XA image would have to invent them:
Secondary Capture is the honest object. DICOM PS3.3, A.8.3 (Byte) and A.8.4 (Word).
"""

import shutil
import struct
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

import numpy as np
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels.encoders.base import Encoder, get_encoder
from pydicom.tag import Tag
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    JPEGLSLossless,
    MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
    MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
)

from drivers.frame import Frame, Pixels
from guidance.handon import HandOnError
from guidance.handon.patient import in_confidence
from guidance.handon.recorded import TOLERANCE_S
from guidance.handon.study import Study, new_uid
from guidance.records import ScaleSource

MOST_FRAMES = 4000
"""A Frame Time Vector is text of at most 65534 bytes, of which a frame takes up to 16."""

MOST_BYTES = 1 << 29
"""Of a file's pixels before they are compressed: whoever sends or receives a file may hold all of it in memory."""

ITEM, SEQUENCE_END = (0xFFFE, 0xE000), (0xFFFE, 0xE0DD)


@dataclass(frozen=True, slots=True, eq=False)
class PictureFile:
    """A file that was written. ``header``: all but the pixels. ``times_s``: its frames', from the case's first one."""

    path: Path
    header: Dataset
    times_s: tuple[float, ...]

    def frame_at(self, t_s: float) -> int | None:
        """The number, from 1, of the frame that is shown at this time; None where the file has none."""
        number = int(np.searchsorted(self.times_s, t_s + TOLERANCE_S, side="right"))
        return number if number > 0 and t_s <= self.times_s[-1] + TOLERANCE_S else None


@dataclass(frozen=True, slots=True)
class Calibration:
    """How many millimetres a pixel is, and who says so."""

    mm_per_px: float
    source: ScaleSource


def write_pictures(
    frames: Iterable[tuple[float, Frame]],
    out: Path,
    study: Study,
    *,
    compress: bool = True,
    calibration: Calibration | None = None,
    blackened: bool = True,
) -> list[PictureFile]:
    """The files: ``out``, and ``-002`` and so on beside it where one cannot hold all. No more than one frame is held.

    ``frames``: with their times from the case's first frame, of one size; 8 bit become Byte, more Word SC.
    ``compress``: JPEG-LS, lossless (a picture that is the same object as the one before is not coded again); else
    Explicit VR Little Endian. ``blackened``: burned-in text has been blacked out. A file gets its name once it is
    whole; where anything fails, none is left. Raises HandOnError where nothing can be written or there is no frame.
    """
    series_uid = new_uid()
    files: list[PictureFile] = []
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        for part in _parts(frames, out.parent, compress):
            with part:
                path = out if not files else out.with_name(f"{out.stem}-{len(files) + 1:03d}{out.suffix}")
                header = _header(study, series_uid, len(files) + 1, part, blackened)
                _calibrate(header, calibration)
                part.write(path, header)
                files.append(PictureFile(path, header, tuple(part.times_s)))
    except BaseException as error:
        for file in files:
            file.path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise HandOnError(
                f"{error.filename or out}: cannot be written ({error.strerror}); expected room in a writable folder"
            ) from error
        raise
    if not files:
        raise HandOnError(f"{out}: no sound frame in that part of the case; nothing was written")
    return files


@dataclass(slots=True, eq=False)
class _Part:
    """One file's pixels while they come, kept beside the file that is to be: only the end tells how many there are."""

    pixels: IO[bytes]
    rows: int
    columns: int
    bits: int
    encoder: Encoder | None
    times_s: list[float] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    """Of each frame's item from the first one's."""
    last: Pixels | None = None
    last_coded: bytes = b""

    def __enter__(self) -> "_Part":
        return self

    def __exit__(self, *_: object) -> None:
        self.pixels.close()

    @property
    def bits_allocated(self) -> int:
        return 8 if self.bits <= 8 else 16

    @property
    def syntax(self) -> UID:
        return ExplicitVRLittleEndian if self.encoder is None else JPEGLSLossless

    def takes(self, pixels: Pixels) -> bool:
        """Whether there is room for one frame more."""
        return len(self.times_s) < MOST_FRAMES and (len(self.times_s) + 1) * pixels.nbytes <= MOST_BYTES

    def add(self, t_s: float, pixels: Pixels) -> None:
        if pixels.shape != (self.rows, self.columns):
            raise HandOnError(
                f"at {t_s:.3f} s: {pixels.shape[1]}x{pixels.shape[0]} pixels; "
                f"expected {self.columns}x{self.rows} as before"
            )
        self.times_s.append(t_s)
        if self.encoder is None:
            self.pixels.write(np.asarray(pixels, dtype=pixels.dtype.newbyteorder("<")).tobytes())
            return
        if pixels is not self.last:
            self.last, self.last_coded = pixels, self._encoded(pixels)
        self.offsets.append(self.pixels.tell())
        self.pixels.write(struct.pack("<HHL", *ITEM, len(self.last_coded)))
        self.pixels.write(self.last_coded)

    def _encoded(self, pixels: Pixels) -> bytes:
        assert self.encoder is not None
        coded = self.encoder.encode(
            np.asarray(pixels),
            rows=self.rows,
            columns=self.columns,
            samples_per_pixel=1,
            number_of_frames=1,
            bits_allocated=self.bits_allocated,
            bits_stored=self.bits,
            pixel_representation=0,
            photometric_interpretation="MONOCHROME2",
        )
        return bytes(coded) + b"\0" * (len(coded) % 2)

    def write(self, path: Path, header: Dataset) -> None:
        """The whole file, under its name only when it is whole."""
        length = self.pixels.tell()
        self.pixels.seek(0)
        unfinished = path.with_name(path.name + ".part")
        try:
            with unfinished.open("wb") as file:
                with in_confidence():
                    dcmwrite(file, header, enforce_file_format=True)
                if self.encoder is None:
                    vr = b"OB" if self.bits_allocated == 8 else b"OW"
                    file.write(struct.pack("<HH2sHL", 0x7FE0, 0x0010, vr, 0, length + length % 2))
                    shutil.copyfileobj(self.pixels, file, 1 << 20)
                    file.write(b"\0" * (length % 2))
                else:
                    file.write(struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF))
                    file.write(struct.pack(f"<HHL{len(self.offsets)}L", *ITEM, 4 * len(self.offsets), *self.offsets))
                    shutil.copyfileobj(self.pixels, file, 1 << 20)
                    file.write(struct.pack("<HHL", *SEQUENCE_END, 0))
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)


def _parts(frames: Iterable[tuple[float, Frame]], folder: Path, compress: bool) -> Iterator[_Part]:
    """Each file's pixels as soon as they are whole. What is half done when the reader goes is closed."""
    encoder = get_encoder(JPEGLSLossless) if compress else None
    with ExitStack() as unfinished:
        part: _Part | None = None
        for t_s, frame in frames:
            if part is not None and not part.takes(frame.pixels):
                yield part
                part = None
            if part is None:
                height, width = frame.pixels.shape
                # Beside the file that is to be: the system's folder for such files may be memory.
                pixels = unfinished.enter_context(TemporaryFile(dir=folder))
                part = _Part(pixels, height, width, frame.bits, encoder)
            part.add(t_s, frame.pixels)
        if part is not None:
            yield part


def _header(study: Study, series_uid: UID, number: int, part: _Part, blackened: bool) -> Dataset:
    """All attributes of one file but the pixels, by the modules of PS3.3 A.8.3 and A.8.4."""
    is_byte = part.bits_allocated == 8
    ds = study.dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = part.syntax
    ds.SOPClassUID = (
        MultiFrameGrayscaleByteSecondaryCaptureImageStorage
        if is_byte
        else MultiFrameGrayscaleWordSecondaryCaptureImageStorage
    )
    ds.SOPInstanceUID = new_uid()
    ds.SeriesInstanceUID = series_uid
    ds.Modality = "RF"
    ds.SeriesNumber = 1
    ds.SeriesDescription = "Fluoroscopy, screen capture"
    ds.InstanceNumber = number
    ds.ConversionType = "DV"
    ds.ImageType = ["DERIVED", "PRIMARY"] if blackened else ["ORIGINAL", "PRIMARY"]
    if blackened:
        ds.DerivationDescription = "All outside the x-ray field and text in it blacked out"
    ds.Laterality = ds.PatientOrientation = ""
    # A case of which nobody knows when it was has no times of day either.
    began = study.began
    ds.ContentDate, ds.ContentTime = _date_and_time(began and began + timedelta(seconds=part.times_s[0]))
    ds.BurnedInAnnotation = "NO" if blackened else "YES"
    _describe_pixels(ds, part)
    return ds


def _describe_pixels(ds: Dataset, part: _Part) -> None:
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.PresentationLUTShape = "IDENTITY"
    ds.NumberOfFrames = len(part.times_s)
    if len(part.times_s) > 1:
        ds.FrameIncrementPointer = Tag("FrameTimeVector")
        ds.FrameTimeVector = _frame_time_vector_ms(part.times_s)
    ds.Rows, ds.Columns = part.rows, part.columns
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = part.bits_allocated, part.bits, part.bits - 1
    ds.PixelRepresentation = 0
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = 0, 1, "US"
    ds.LossyImageCompression = "00"


def _frame_time_vector_ms(times_s: list[float]) -> list[str]:
    """From each frame to the next in milliseconds, the first 0 (PS3.3, C.7.6.5); rounded so that no error adds up."""
    times_ms = [round(1000 * (t_s - times_s[0]), 3) for t_s in times_s]
    steps_ms = [0.0, *(later - sooner for sooner, later in pairwise(times_ms))]
    return [f"{step_ms:.3f}".rstrip("0").rstrip(".") for step_ms in steps_ms]


def _calibrate(ds: Dataset, calibration: Calibration | None) -> None:
    if calibration is None or calibration.source is ScaleSource.ASSUMED:
        return
    ds.PixelSpacing = [f"{calibration.mm_per_px:.6g}"] * 2
    if calibration.source is ScaleSource.NEEDLE:
        ds.PixelSpacingCalibrationType = "FIDUCIAL"
        ds.PixelSpacingCalibrationDescription = "Known width of a bone access needle, at its depth"


def _date_and_time(when: datetime | None) -> tuple[str, str]:
    return ("", "") if when is None else (f"{when:%Y%m%d}", f"{when:%H%M%S.%f}")
