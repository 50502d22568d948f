from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from drivers.dicom import DicomFile, DicomFolder
from drivers.errors import SourceError
from drivers.frame import FrameSource
from drivers.images import ImageFolder
from drivers.recording import NpzFile, VideoFile
from drivers.sources import open_source
from drivers.v4l2 import V4L2Grabber
from tests.unit.drivers.written import pictures, write_dicom, write_video


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Path]:
    """A folder with one of everything."""
    for name in ("case", "npz_case", "images", "slices", "notes"):
        (tmp_path / name).mkdir()
    write_video(tmp_path / "case" / "video.mkv", pictures(2))
    np.savez(tmp_path / "npz_case" / "frames.npz", frames=pictures(2))
    write_video(tmp_path / "run.avi", pictures(2))
    for i in (1, 2):
        cv2.imwrite(str(tmp_path / "images" / f"{i}.png"), pictures(1)[0])
        write_dicom(tmp_path / "slices" / f"IM{i}", pictures(1), InstanceNumber=i)
        (tmp_path / "notes" / f"{i}.md").write_text("words")
    (tmp_path / "images" / "labels.json").write_text("{}")
    return tmp_path


@pytest.mark.parametrize(
    ("spec", "kind"),
    [
        ("run.avi", VideoFile),
        ("case", VideoFile),
        ("npz_case", NpzFile),
        ("npz_case/frames.npz", NpzFile),
        ("images", ImageFolder),
        ("images/*.png", ImageFolder),
        ("images/[12].png", ImageFolder),
        ("images/1.png", ImageFolder),
        ("slices", DicomFolder),
        ("slices/IM*", DicomFolder),
        ("slices/IM1", DicomFile),
        ("*.avi", VideoFile),
    ],
)
def test_a_path_finds_the_source_that_reads_it(spec: str, kind: type, shelf: Path) -> None:
    source = open_source(str(shelf / spec))

    assert type(source) is kind
    with source:
        assert next(iter(source)).pixels.shape == (48, 70)


def test_a_run_beside_other_papers_is_the_folders_run(tmp_path: Path) -> None:
    write_dicom(tmp_path / "run.dcm", pictures(3))
    (tmp_path / "notes.md").write_text("words")

    with open_source(str(tmp_path)) as source:
        assert len(list(source)) == 3


def test_a_file_whose_name_looks_like_a_glob_or_a_protocol_is_still_a_file(shelf: Path) -> None:
    for name in ("run[1].avi", "concat:a.avi", "run?.avi"):
        (shelf / "run.avi").rename(shelf / name)
        with open_source(str(shelf / name)) as source:
            assert len(list(source)) == 2
        (shelf / name).rename(shelf / "run.avi")


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ("none.mkv", "no such file or folder"),
        ("none*.png", "no files; expected images"),
        ("notes", "2 files, none of them an image or DICOM"),
        ("notes/*", "none of them an image or DICOM"),
    ],
)
def test_a_path_that_leads_nowhere_is_one_clear_error(spec: str, complaint: str, shelf: Path) -> None:
    with pytest.raises(SourceError, match=complaint) as told:
        open_source(str(shelf / spec))

    assert str(shelf) in str(told.value)
    assert "\n" not in str(told.value)


def test_an_empty_folder_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no files; expected images"):
        open_source(str(tmp_path))


@pytest.mark.parametrize("spec", ["", "a\0b"])
def test_a_name_that_cannot_be_a_path_is_refused(spec: str) -> None:
    with pytest.raises(SourceError, match="expected a path, a glob or a URL"):
        open_source(spec)


def test_a_device_is_no_recording() -> None:
    with pytest.raises(SourceError, match="neither a file nor a folder"):
        open_source("/dev/null")


def test_a_grabber_is_found_by_its_scheme() -> None:
    assert isinstance(open_source("v4l2:///dev/video0?input=0"), V4L2Grabber)


def test_a_scheme_of_ones_own_gets_the_whole_url(tmp_path: Path) -> None:
    asked = []

    def simulated(url: str) -> FrameSource:
        asked.append(url)
        return VideoFile(tmp_path / "unused")

    open_source("phantom://demo?seed=3", {"phantom": simulated})

    assert asked == ["phantom://demo?seed=3"]


def test_an_unknown_scheme_is_told_with_those_that_are_known() -> None:
    with pytest.raises(SourceError, match=r"unknown scheme rtsp://; .* decklink://, phantom://, v4l2://"):
        open_source("rtsp://camera/1", {"phantom": lambda url: VideoFile(Path(url))})
