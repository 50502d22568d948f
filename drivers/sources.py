"""From what a person types to the source that reads it."""

import glob
from collections.abc import Callable, Mapping
from pathlib import Path

from drivers.archived import INDEX, ArchivedFrames
from drivers.decklink import open_decklink
from drivers.dicom import DicomFile, DicomFolder, is_dicom
from drivers.errors import SourceError
from drivers.frame import FrameSource
from drivers.images import IMAGE_SUFFIXES, ImageFolder
from drivers.recording import NpzFile, VideoFile
from drivers.v4l2 import open_grabber

OWN_SCHEMES: Mapping[str, Callable[[str], FrameSource]] = {"v4l2": open_grabber, "decklink": open_decklink}


def open_source(spec: str, schemes: Mapping[str, Callable[[str], FrameSource]] = {}) -> FrameSource:
    """The source that reads ``spec``: a URL, a path, or a glob. It opens in its own ``with``.

    Paths: a video file; an image or a folder or glob of images; a DICOM file or a folder or glob of single-frame DICOM
    files; an .npz archive; an archived case, that is, a folder with frames.jsonl, video.mkv or frames.npz.
    ``schemes`` adds URL schemes: each gets the whole URL. Raises SourceError.
    """
    scheme, found, _ = spec.partition("://")
    if found:
        return _open_url(scheme, spec, schemes)
    path = Path(spec)
    if not spec or "\0" in spec:
        raise SourceError(f"{spec!r}: no name of a file; expected a path, a glob or a URL")
    try:
        if path.is_dir():
            return _open_folder(path)
        if path.exists():
            return _open_file(path)
        if glob.has_magic(spec):
            return _open_files(spec, [Path(name) for name in glob.glob(spec)])  # noqa: PTH207 - may be absolute
    except OSError as error:
        raise SourceError(f"{spec}: {error.strerror}; expected a readable file or folder") from error
    raise SourceError(f"{spec}: no such file or folder; expected a video, images, DICOM, a case or a URL")


def _open_url(scheme: str, spec: str, schemes: Mapping[str, Callable[[str], FrameSource]]) -> FrameSource:
    readers = {**OWN_SCHEMES, **schemes}
    if scheme in readers:
        return readers[scheme](spec)
    known = ", ".join(f"{name}://" for name in sorted(readers))
    raise SourceError(f"{spec}: unknown scheme {scheme}://; expected a path or one of {known}")


def _open_folder(folder: Path) -> FrameSource:
    if (folder / INDEX).is_file():
        return ArchivedFrames(folder)
    if (folder / "video.mkv").is_file():
        return VideoFile(folder / "video.mkv")
    if (folder / "frames.npz").is_file():
        return NpzFile(folder / "frames.npz")
    return _open_files(str(folder), [path for path in folder.iterdir() if not path.name.startswith(".")])


def _open_files(name: str, paths: list[Path]) -> FrameSource:
    files = [path for path in paths if path.is_file()]
    if not files:
        raise SourceError(f"{name}: no files; expected images, single-frame DICOM files or a case")
    if len(files) == 1:
        return _open_file(files[0])
    if dicom := [path for path in files if is_dicom(path)]:
        return DicomFolder(name, dicom) if len(dicom) > 1 else DicomFile(dicom[0])
    if images := [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES]:
        return ImageFolder(name, images)
    raise SourceError(f"{name}: {len(files)} files, none of them an image or DICOM; expected images, DICOM or a case")


def _open_file(path: Path) -> FrameSource:
    if not path.is_file():
        raise SourceError(f"{path}: neither a file nor a folder; expected a recording")
    if path.suffix.lower() == ".npz":
        return NpzFile(path)
    if is_dicom(path):
        return DicomFile(path)
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return ImageFolder(str(path), [path])
    return VideoFile(path)
