from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread, uid
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.sequence import Sequence
from pydicom.uid import JPEGLSLossless

from drivers.dicom import DicomFile, DicomFolder, mm_per_px_of
from drivers.errors import SourceError
from drivers.frame import Frame
from tests.unit.drivers.written import cut, dataset, pictures, read_until_error, recode, write_dicom


def _read(path: Path) -> list[Frame]:
    with DicomFile(path) as source:
        return list(source)


def _shown(path: Path) -> NDArray[Any]:
    return np.array([frame.pixels for frame in _read(path)])


def _item(**attributes: Any) -> Dataset:
    item = Dataset()
    for name, value in attributes.items():
        setattr(item, name, value)
    return item


@pytest.mark.parametrize(("dtype", "bits"), [(np.uint8, 8), (np.uint16, 10), (np.uint16, 12), (np.uint16, 16)])
def test_unwindowed_pictures_come_out_as_they_went_in(dtype: type, bits: int, tmp_path: Path) -> None:
    shown = pictures(dtype=dtype, top=2**bits - 1)

    frames = _read(write_dicom(tmp_path / "r.dcm", shown, bits))

    assert {frame.bits for frame in frames} == {bits}
    np.testing.assert_array_equal([frame.pixels for frame in frames], shown)


@pytest.mark.parametrize(
    "syntax",
    [
        "JPEGLosslessProcess14",
        "JPEGLosslessProcess14_1",
        "JPEGLSLossless",
        "JPEG2000Lossless",
        "RLELossless",
        "ImplicitVRLittleEndian",
        "ExplicitVRBigEndian",
        "DeflatedExplicitVRLittleEndian",
    ],
)
@pytest.mark.parametrize(("dtype", "bits"), [(np.uint8, 8), (np.uint16, 12), (np.uint16, 16)])
def test_lossless_transfer_syntaxes_come_out_as_they_went_in(
    syntax: str, dtype: type, bits: int, tmp_path: Path
) -> None:
    shown = pictures(3, dtype=dtype, top=2**bits - 1)
    path = recode(write_dicom(tmp_path / "r.dcm", shown, bits), syntax)

    np.testing.assert_array_equal(_shown(path), shown)


@pytest.mark.parametrize("syntax", ["JPEGBaselineProcess1", "JPEGExtendedProcess2_4", "JPEGLSNearLossless", "JPEG2000"])
def test_lossy_transfer_syntaxes_come_out_close(syntax: str, tmp_path: Path) -> None:
    ramp = np.tile(np.linspace(0, 255, 70).astype(np.uint8), (3, 48, 1))
    path = recode(write_dicom(tmp_path / "r.dcm", ramp), syntax)

    assert np.abs(_shown(path).astype(int) - ramp).max() <= 8


def test_a_frame_in_several_fragments_is_put_together(tmp_path: Path) -> None:
    shown = pictures(3)
    made = dcmread(recode(write_dicom(tmp_path / "r.dcm", shown), "JPEGLSLossless"))
    coded = list(generate_frames(made.PixelData, number_of_frames=3))
    for has_table in (True, False):
        made.PixelData = encapsulate(coded, fragments_per_frame=4, has_bot=has_table)
        made.save_as(tmp_path / "parts.dcm")
        np.testing.assert_array_equal(_shown(tmp_path / "parts.dcm"), shown)


def test_monochrome1_is_inverted_so_that_low_is_black(tmp_path: Path) -> None:
    shown = pictures(2, dtype=np.uint16, top=4095)
    path = write_dicom(tmp_path / "r.dcm", 4095 - shown, 12, PhotometricInterpretation="MONOCHROME1")

    np.testing.assert_array_equal(_shown(path), shown)


def test_signed_pixels_are_shown_from_the_lowest_up(tmp_path: Path) -> None:
    shown = pictures(2, dtype=np.uint16, top=4095)
    path = write_dicom(tmp_path / "r.dcm", shown.astype(np.int16) - 2048, 12)

    np.testing.assert_array_equal(_shown(path), shown)


@pytest.mark.parametrize("bits", [9, 10, 12, 15])
def test_jpeg_ls_of_just_the_stored_bits_comes_out_as_it_went_in(bits: int, tmp_path: Path) -> None:
    """As pydicom and DCMTK write it; GDCM says 16 bits whatever there are."""
    shown = pictures(1, dtype=np.uint16, top=2**bits - 1)
    made = dcmread(write_dicom(tmp_path / "r.dcm", shown, bits))
    made.compress(JPEGLSLossless, encoding_plugin="pyjpegls")
    made.save_as(tmp_path / "ls.dcm")

    np.testing.assert_array_equal(_shown(tmp_path / "ls.dcm"), shown)


@pytest.mark.parametrize("syntax", ["JPEGLosslessProcess14_1", "JPEGLSLossless", "JPEG2000Lossless", "RLELossless"])
@pytest.mark.parametrize("bits", [12, 16])
def test_signed_pixels_stay_signed_in_every_transfer_syntax(syntax: str, bits: int, tmp_path: Path) -> None:
    shown = pictures(3, dtype=np.uint16, top=2**bits - 1)
    stored = (shown.astype(np.int32) - 2 ** (bits - 1)).astype(np.int16)

    np.testing.assert_array_equal(_shown(recode(write_dicom(tmp_path / "r.dcm", stored, bits), syntax)), shown)


def test_a_lossless_jpeg_that_ffmpeg_would_get_wrong_is_refused(tmp_path: Path) -> None:
    steps = np.tile(np.array([0, 32768, 0, 7], np.uint16), (1, 8, 4))
    path = recode(write_dicom(tmp_path / "r.dcm", steps), "JPEGLosslessProcess14_1")

    with pytest.raises(SourceError, match="step of 32768"):
        _read(path)


def test_jpeg_extended_of_twelve_bits_is_refused_and_not_shown_too_dark(tmp_path: Path) -> None:
    deep = pictures(1, dtype=np.uint16, top=4095)

    with pytest.raises(SourceError, match="frame 0"):
        _read(recode(write_dicom(tmp_path / "r.dcm", deep, 12), "JPEGExtendedProcess2_4"))


def test_what_an_old_overlay_left_in_the_upper_bits_is_not_shown(tmp_path: Path) -> None:
    shown = pictures(2, dtype=np.uint16, top=4095)
    marked = shown | (pictures(2, dtype=np.uint16, top=15) << 12)

    np.testing.assert_array_equal(_shown(write_dicom(tmp_path / "r.dcm", marked, 12)), shown)


def _linear(value: NDArray[Any], centre: float, width: float, top: int) -> NDArray[Any]:
    """DICOM PS3.3, C.11.2.1.2.1, its pseudo-code as it stands."""
    ramp = ((value - (centre - 0.5)) / (width - 1) + 0.5) * top
    low, high = centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2
    return np.rint(np.where(value <= low, 0, np.where(value > high, top, ramp)))


def test_a_window_is_applied_as_the_standard_says(tmp_path: Path) -> None:
    stored = pictures(2, dtype=np.uint16, top=4095)
    path = write_dicom(tmp_path / "r.dcm", stored, 12, WindowCenter=1000, WindowWidth=600)

    np.testing.assert_array_equal(_shown(path), _linear(stored, 1000, 600, 4095))


def test_the_window_works_on_rescaled_values(tmp_path: Path) -> None:
    stored = pictures(2, dtype=np.uint16, top=4095)
    header = {"RescaleSlope": 2, "RescaleIntercept": -1000, "WindowCenter": 1000, "WindowWidth": 600}
    path = write_dicom(tmp_path / "r.dcm", stored, 12, **header)

    np.testing.assert_array_equal(_shown(path), _linear(stored * 2.0 - 1000, 1000, 600, 4095))


def test_of_several_windows_the_first_counts(tmp_path: Path) -> None:
    stored = pictures(1)
    path = write_dicom(tmp_path / "r.dcm", stored, WindowCenter=[100, 50], WindowWidth=[60, 20])

    np.testing.assert_array_equal(_shown(path), _linear(stored, 100, 60, 255))


def test_a_negative_slope_turns_the_picture_over(tmp_path: Path) -> None:
    stored = pictures(1)
    path = write_dicom(tmp_path / "r.dcm", stored, RescaleSlope=-1, RescaleIntercept=255)

    np.testing.assert_array_equal(_shown(path), 255 - stored)


@pytest.mark.parametrize(("function", "at_edge"), [("SIGMOID", 255 / (1 + np.exp(-2))), ("LINEAR_EXACT", 255)])
def test_other_window_functions_follow_their_own_curves(function: str, at_edge: float, tmp_path: Path) -> None:
    stored = np.full((1, 4, 4), 150, np.uint8)
    header = {"WindowCenter": 100, "WindowWidth": 100, "VOILUTFunction": function}

    # C.11.2.1.3: at the centre plus half the width.
    assert _shown(write_dicom(tmp_path / "r.dcm", stored, **header))[0, 0, 0] == round(at_edge)


def test_a_voi_table_is_looked_up(tmp_path: Path) -> None:
    table = np.arange(256) ** 2 * 1023 // 255**2
    lut = _item(LUTDescriptor=[256, 0, 10], LUTData=table.tolist())
    lut["LUTDescriptor"].VR = lut["LUTData"].VR = "US"
    stored = pictures(1)
    path = write_dicom(tmp_path / "r.dcm", stored, VOILUTSequence=Sequence([lut]))

    np.testing.assert_array_equal(_shown(path), np.rint(table[stored] * 255 / 1023))


def test_a_modality_table_that_leads_back_to_beam_intensity_is_not_for_display(tmp_path: Path) -> None:
    lut = _item(LUTDescriptor=[256, 0, 8], ModalityLUTType="US", LUTData=list(range(255, -1, -1)))
    lut["LUTDescriptor"].VR = lut["LUTData"].VR = "US"
    stored = pictures(1)
    tables = {"ModalityLUTSequence": Sequence([lut])}

    as_is = write_dicom(tmp_path / "xa.dcm", stored, PixelIntensityRelationship="LOG", **tables)
    applied = write_dicom(tmp_path / "sc.dcm", stored, **tables)

    np.testing.assert_array_equal(_shown(as_is), stored)
    np.testing.assert_array_equal(_shown(applied), 255 - stored)


def test_each_frame_has_the_window_of_its_functional_group(tmp_path: Path) -> None:
    stored = pictures(2)
    windows = [(100, 60), (150, 20)]
    groups = [
        _item(FrameVOILUTSequence=Sequence([_item(WindowCenter=centre, WindowWidth=width)]))
        for centre, width in windows
    ]
    path = write_dicom(tmp_path / "r.dcm", stored, PerFrameFunctionalGroupsSequence=Sequence(groups))

    for shown, picture, (centre, width) in zip(_shown(path), stored, windows, strict=True):
        np.testing.assert_array_equal(shown, _linear(picture, centre, width, 255))


@pytest.mark.parametrize(
    "syntax", ["JPEGBaselineProcess1", "JPEGLosslessProcess14_1", "JPEG2000Lossless", "RLELossless"]
)
def test_a_compressed_colour_capture_becomes_luma(syntax: str, tmp_path: Path) -> None:
    gray = np.tile(np.linspace(0, 255, 70).astype(np.uint8), (2, 48, 1))
    path = recode(write_dicom(tmp_path / "r.dcm", np.repeat(gray[..., np.newaxis], 3, axis=3)), syntax)

    np.testing.assert_allclose(_shown(path), gray, atol=4)


@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL"])
def test_a_colour_capture_becomes_luma(photometric: str, tmp_path: Path) -> None:
    gray = pictures(2)
    colour = np.repeat(gray[..., np.newaxis], 3, axis=3)
    if photometric == "YBR_FULL":
        colour[..., 1:] = 128

    shown = _shown(write_dicom(tmp_path / "r.dcm", colour, PhotometricInterpretation=photometric))

    np.testing.assert_allclose(shown, gray, atol=1)


@pytest.mark.parametrize(
    ("header", "times_s"),
    [
        ({"FrameTime": 100}, [0, 0.1, 0.2, 0.3]),
        ({"FrameTimeVector": [0, 100, 50, 200]}, [0, 0.1, 0.15, 0.35]),
        ({"FrameTimeVector": [0, 100, 50, 200], "FrameTime": 33}, [0, 0.1, 0.15, 0.35]),
        ({"CineRate": 10}, [0, 0.1, 0.2, 0.3]),
        ({"RecommendedDisplayFrameRate": 5}, [0, 0.2, 0.4, 0.6]),
        ({"FrameTime": 0, "CineRate": 10}, [0, 0.1, 0.2, 0.3]),
        ({}, [0, 1 / 15, 2 / 15, 3 / 15]),
    ],
)
def test_frame_times_come_from_the_header(header: dict[str, Any], times_s: list[float], tmp_path: Path) -> None:
    frames = _read(write_dicom(tmp_path / "r.dcm", pictures(4), **header))

    assert [frame.t_s for frame in frames] == pytest.approx(times_s)


def test_frame_times_come_from_each_frames_own_acquisition_time(tmp_path: Path) -> None:
    moments = ["20261122101500.000000", "20261122101500.200000", "20261122101501.000000"]
    groups = [_item(FrameContentSequence=Sequence([_item(FrameAcquisitionDateTime=moment)])) for moment in moments]
    path = write_dicom(tmp_path / "r.dcm", pictures(3), FrameTime=33, PerFrameFunctionalGroupsSequence=Sequence(groups))

    assert [frame.t_s for frame in _read(path)] == pytest.approx([0, 0.2, 1.0])


def test_frame_times_that_run_backwards_are_refused(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "r.dcm", pictures(3), FrameTimeVector=[0, 100, -5])

    with pytest.raises(SourceError, match="negative or malformed time"):
        _read(path)


@pytest.mark.parametrize(
    ("header", "mm_per_px"),
    [
        ({}, None),
        ({"ImagerPixelSpacing": [0.4, 0.4]}, 0.4),
        ({"ImagerPixelSpacing": [0.4, 0.4], "EstimatedRadiographicMagnificationFactor": 1.6}, 0.25),
        ({"ImagerPixelSpacing": [0.4, 0.4], "DistanceSourceToDetector": 1000, "DistanceSourceToPatient": 800}, 0.32),
        ({"ImagerPixelSpacing": [0.4, 0.4], "PixelSpacing": [0.21, 0.21]}, 0.21),
        ({"ImagerPixelSpacing": [0.4, 0.4], "PixelSpacing": [0.4, 0.4],
          "EstimatedRadiographicMagnificationFactor": 1.6}, 0.25),
        ({"PixelSpacing": [0.3, 0.2]}, None),
    ],
)  # fmt: skip
def test_the_scale_is_that_of_the_patients_plane_where_the_header_has_it(
    header: dict[str, Any], mm_per_px: float | None, tmp_path: Path
) -> None:
    path = write_dicom(tmp_path / "r.dcm", pictures(1), **header)

    with DicomFile(path) as source:
        assert source.info.mm_per_px == (None if mm_per_px is None else pytest.approx(mm_per_px))
    assert mm_per_px_of(dcmread(path)) == source.info.mm_per_px


def _refusal(path: Path) -> tuple[int, str]:
    """How many frames came before the error, and its text."""
    frames, error = read_until_error(DicomFile(path), path)
    return len(frames), str(error)


@pytest.mark.parametrize(
    "syntax", [None, "JPEGLSLossless", "JPEG2000Lossless", "JPEGLosslessProcess14_1", "RLELossless"]
)
def test_truncated_pixel_data_give_the_whole_frames_and_then_one_error(syntax: str | None, tmp_path: Path) -> None:
    shown = pictures(10)
    path = write_dicom(tmp_path / "r.dcm", shown)
    path = recode(path, syntax) if syntax else path

    frames, error = _refusal(cut(path, 0.7))

    assert 4 < frames < 10
    assert f"frame {frames}: the pixel data end here; expected 10 frames" in error


def test_a_damaged_frame_gives_the_frames_before_it_and_one_error(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = recode(write_dicom(tmp_path / "r.dcm", pictures(6)), "JPEGLSLossless")
    data = bytearray(path.read_bytes())
    starts = [i for i in range(len(data) - 3) if data[i : i + 4] == b"\xff\xd8\xff\xf7"]
    data[starts[3] + 2 : starts[3] + 30] = bytes(28)
    path.write_bytes(data)
    capfd.readouterr()

    frames, error = _refusal(path)

    assert frames == 3
    assert "frame 3" in error
    assert capfd.readouterr().err == ""


def test_files_without_pictures_are_one_clear_error(tmp_path: Path) -> None:
    report = dataset(pictures(1))
    for name in ("PixelData", "Rows", "Columns"):
        delattr(report, name)
    report.save_as(tmp_path / "report.dcm", enforce_file_format=True)
    no_pixels = dataset(pictures(1))
    del no_pixels.PixelData
    no_pixels.save_as(tmp_path / "no_pixels.dcm", enforce_file_format=True)
    write_dicom(tmp_path / "no_frames.dcm", pictures(1), NumberOfFrames=0)
    (tmp_path / "text.dcm").write_bytes(b"not DICOM" * 40)
    (tmp_path / "empty.dcm").write_bytes(b"")

    for name, complaint in {
        "report": "no Rows in the header",
        "no_pixels": "no pixel data",
        "no_frames": "Number of Frames is 0",
        "text": "not a DICOM file",
        "empty": "not a DICOM file",
    }.items():
        frames, error = _refusal(tmp_path / f"{name}.dcm")
        assert frames == 0
        assert complaint in error


def test_more_frames_promised_than_stored_are_told_after_those_there_are(tmp_path: Path) -> None:
    frames, error = _refusal(write_dicom(tmp_path / "r.dcm", pictures(3), NumberOfFrames=5))

    assert frames == 3
    assert "expected 5 frames" in error


@pytest.mark.parametrize("syntax", [None, "JPEGLSLossless"])
def test_more_frames_stored_than_promised_are_left_out(syntax: str | None, tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "r.dcm", pictures(4))
    made = dcmread(recode(path, syntax) if syntax else path)
    made.NumberOfFrames = 2
    made.save_as(path)

    assert len(_read(path)) == 2


def test_an_unknown_transfer_syntax_is_one_clear_error(tmp_path: Path) -> None:
    made = dataset(pictures(1))
    made.PixelData = encapsulate([b"\0" * 100])
    made["PixelData"].VR = "OB"
    made.file_meta.TransferSyntaxUID = uid.MPEG2MPML
    made.save_as(tmp_path / "r.dcm", enforce_file_format=True)

    frames, error = _refusal(tmp_path / "r.dcm")

    assert frames == 0
    assert "MPEG2" in error


def test_malformed_header_values_raise_no_warning(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "r.dcm", pictures(1), FrameTime="100.0")
    path.write_bytes(path.read_bytes().replace(b"100.0 ", b"1O0,0 "))

    assert len(_read(path)) == 1


def _single(folder: Path, number: int, picture: NDArray[Any], **header: Any) -> Path:
    header = {"SeriesInstanceUID": "1.2.3", "SeriesNumber": 1, **header}
    return write_dicom(folder / f"{header.pop('name', number)}.dcm", picture[np.newaxis], **header)


def _run(folder: Path) -> DicomFolder:
    return DicomFolder(str(folder), list(folder.iterdir()))


def test_single_frames_come_in_the_order_of_their_instance_numbers(tmp_path: Path) -> None:
    shown = pictures(4)
    for i in (2, 0, 3, 1):
        _single(tmp_path, 9 - i, shown[i], InstanceNumber=10 * i + 1)

    with _run(tmp_path) as source:
        frames = list(source)

    np.testing.assert_array_equal([frame.pixels for frame in frames], shown)
    assert [frame.sequence for frame in frames] == [0, 1, 2, 3]


def test_single_frames_without_numbers_come_in_the_order_of_their_times(tmp_path: Path) -> None:
    shown = pictures(3)
    for i, time in enumerate(["101500.1", "101500.35", "101501"]):
        _single(tmp_path, 9 - i, shown[i], AcquisitionDate="20261122", AcquisitionTime=time)

    with _run(tmp_path) as source:
        frames = list(source)

    np.testing.assert_array_equal([frame.pixels for frame in frames], shown)
    assert [frame.t_s for frame in frames] == pytest.approx([0, 0.25, 0.9])


def test_times_in_whole_seconds_do_not_count_as_frame_times(tmp_path: Path) -> None:
    for i in range(4):
        _single(tmp_path, i, pictures(1)[0], InstanceNumber=i, AcquisitionTime=f"10150{i // 2}", CineRate=2)

    with _run(tmp_path) as source:
        assert [frame.t_s for frame in source] == pytest.approx([0, 0.5, 1.0, 1.5])


def test_several_series_in_a_folder_are_named_in_one_error(tmp_path: Path) -> None:
    _single(tmp_path, 1, pictures(1)[0], SeriesDescription="AP")
    _single(tmp_path, 2, pictures(1)[0], SeriesInstanceUID="4.5.6", SeriesNumber=2, SeriesDescription="Lateral")

    with pytest.raises(SourceError, match=r"series 1 AP \(1.2.3\): 1 files, series 2 Lateral \(4.5.6\): 1 files"):
        _run(tmp_path).__enter__()


def test_a_run_among_single_frames_is_refused_by_its_name(tmp_path: Path) -> None:
    _single(tmp_path, 1, pictures(1)[0])
    write_dicom(tmp_path / "run.dcm", pictures(3))

    with pytest.raises(SourceError, match=r"run.dcm: a run of 3 frames"):
        _run(tmp_path).__enter__()


def test_a_report_among_single_frames_is_passed_over(tmp_path: Path) -> None:
    _single(tmp_path, 1, pictures(1)[0])
    report = dataset(pictures(1))
    for name in ("PixelData", "Rows", "Columns"):
        delattr(report, name)
    report.save_as(tmp_path / "report.dcm", enforce_file_format=True)

    with _run(tmp_path) as source:
        assert len(list(source)) == 1
