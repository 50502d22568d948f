"""Recordings that the tests write, each from pictures whose every pixel is known."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import gdcm
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset

from drivers.errors import SourceError
from drivers.frame import Frame, FrameSource

Pictures = NDArray[Any]


def pictures(count: int = 6, height: int = 48, width: int = 70, dtype: type = np.uint8, top: int = 255) -> Pictures:
    """Different noisy pictures, (count, height, width), of values 0 to ``top``; neither square nor a multiple of 16."""
    rng = np.random.default_rng(count * height * width)
    return rng.integers(0, top, (count, height, width), dtype=dtype, endpoint=True)


def write_video(
    path: Path,
    shown: Sequence[NDArray[Any]] | Pictures,
    codec: str = "ffv1",
    pix_fmt: str = "gray",
    source_format: str = "gray",
    times: Sequence[int] | None = None,
    time_base: Fraction = Fraction(1, 15),
    options: dict[str, str] | None = None,
) -> Path:
    """A video of one stream; ``times`` in units of ``time_base``."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=1 / time_base, options=options or {})
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width = shown[0].shape[:2]
        stream.pix_fmt = pix_fmt
        stream.time_base = time_base
        for i, picture in enumerate(shown):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format=source_format)
            if pix_fmt != source_format:
                frame = frame.reformat(format=pix_fmt)
            frame.pts = i if times is None else times[i]
            frame.time_base = time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_sound(path: Path) -> Path:
    """A file of sound alone."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        assert isinstance(stream, av.AudioStream)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def cut(path: Path, share: float = 0.6) -> Path:
    """The same file without its end."""
    data = path.read_bytes()
    short = path.with_name(f"cut_{path.name}")
    short.write_bytes(data[: int(len(data) * share)])
    return short


def dataset(
    shown: Pictures, bits: int | None = None, syntax: str = uid.ExplicitVRLittleEndian, **header: Any
) -> Dataset:
    """An X-ray angiography dataset of gray pictures, or of RGB ones (count, height, width, 3)."""
    allocated = 8 * shown.dtype.itemsize
    stored = bits or allocated
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    meta.MediaStorageSOPClassUID = uid.XRayAngiographicImageStorage
    meta.MediaStorageSOPInstanceUID = uid.generate_uid(entropy_srcs=[str(header)])
    made = Dataset()
    made.file_meta = meta
    made.SOPClassUID, made.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    made.Rows, made.Columns = shown.shape[1:3]
    made.SamplesPerPixel = 1 if shown.ndim == 3 else 3
    made.PhotometricInterpretation = "MONOCHROME2" if shown.ndim == 3 else "RGB"
    if shown.ndim == 4:
        made.PlanarConfiguration = 0
    made.NumberOfFrames = len(shown)
    made.BitsAllocated, made.BitsStored, made.HighBit = allocated, stored, stored - 1
    made.PixelRepresentation = int(shown.dtype.kind == "i")
    data = shown.astype(shown.dtype.newbyteorder("<")).tobytes()
    made.PixelData = data + b"\0" * (len(data) % 2)
    made["PixelData"].VR = "OB" if allocated == 8 else "OW"
    for name, value in header.items():
        setattr(made, name, value)
    return made


def write_dicom(path: Path, shown: Pictures, bits: int | None = None, **header: Any) -> Path:
    """A DICOM file in explicit little endian."""
    dataset(shown, bits, **header).save_as(path, enforce_file_format=True)
    return path


def recode(path: Path, syntax: str) -> Path:
    """The same DICOM file in another of GDCM's transfer syntaxes."""
    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, syntax)))
    change.SetInput(reader.GetImage())
    assert change.Change()
    coded = path.with_name(f"{syntax}.dcm")
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(coded))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    return coded


def read_until_error(source: FrameSource, named: Path) -> tuple[list[Frame], SourceError]:
    """The frames before the error, and the error: one line that names the file."""
    frames: list[Frame] = []
    with pytest.raises(SourceError) as told, source:
        frames.extend(source)
    assert "\n" not in str(told.value)
    assert str(named) in str(told.value)
    return frames, told.value
