from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from drivers.errors import SourceChanged, SourceError
from drivers.frame import Frame
from drivers.images import ImageFolder
from drivers.sources import open_source
from tests.unit.drivers.written import cut, pictures, read_until_error

REAL_PICTURES = Path(__file__).parents[4] / "shared" / "data" / "carm_hip_dev"


def _read(*paths: Path) -> list[Frame]:
    with ImageFolder("shots", paths) as source:
        return list(source)


@pytest.mark.parametrize("counted", [["img1", "img2", "img10"], ["a9b2", "a9b10", "a10b1"], ["2", "10", "x1"]])
def test_names_are_sorted_as_people_count(counted: list[str], tmp_path: Path) -> None:
    for value, name in enumerate(counted):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((4, 6), value, np.uint8))

    frames = _read(*sorted(tmp_path.iterdir(), reverse=True))

    assert [int(frame.pixels[0, 0]) for frame in frames] == [0, 1, 2]


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize(("dtype", "bits"), [(np.uint8, 8), (np.uint16, 16)])
def test_gray_images_come_out_as_they_went_in(suffix: str, dtype: type, bits: int, tmp_path: Path) -> None:
    shown = pictures(1, dtype=dtype, top=2**bits - 1)[0]
    path = tmp_path / f"shot{suffix}"
    cv2.imwrite(str(path), shown)

    (frame,) = _read(path)

    assert frame.bits == bits
    np.testing.assert_array_equal(frame.pixels, shown)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_colour_becomes_luma(suffix: str, tmp_path: Path) -> None:
    red = np.zeros((4, 6, 3), np.uint8)
    red[..., 2] = 255  # OpenCV writes blue, green, red
    path = tmp_path / f"shot{suffix}"
    cv2.imwrite(str(path), red)

    (frame,) = _read(path)

    assert np.all(frame.pixels == 76)  # ITU-R BT.601


def test_a_jpeg_is_read_in_full_range(tmp_path: Path) -> None:
    path = tmp_path / "shot.jpg"
    cv2.imwrite(str(path), np.hstack([np.zeros((16, 16), np.uint8), np.full((16, 16), 255, np.uint8)]))

    (frame,) = _read(path)

    assert (frame.pixels.min(), frame.pixels.max()) == (0, 255)


def test_an_image_with_the_wrong_ending_is_known_by_its_first_bytes(tmp_path: Path) -> None:
    shown = pictures(1)[0]
    cv2.imwrite(str(tmp_path / "shot.png"), shown)
    path = (tmp_path / "shot.png").rename(tmp_path / "shot.jpg")

    np.testing.assert_array_equal(_read(path)[0].pixels, shown)


@pytest.mark.parametrize("compression", [None, "deflate", "lzw"])
def test_every_page_of_a_tiff_is_a_frame(compression: str | None, tmp_path: Path) -> None:
    shown = pictures(4, dtype=np.uint16, top=65535)
    path = tmp_path / "run.tif"
    with tifffile.TiffWriter(path) as writer:
        for picture in shown:
            if compression == "lzw":
                break
            writer.write(picture, compression=compression, contiguous=False)
    if compression == "lzw":
        assert cv2.imwritemulti(str(path), list(shown), [cv2.IMWRITE_TIFF_COMPRESSION, 5])

    frames = _read(path)

    np.testing.assert_array_equal([frame.pixels for frame in frames], shown)
    assert [frame.sequence for frame in frames] == [0, 1, 2, 3]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_tiff_whose_zero_is_white_is_turned_to_low_is_black(dtype: type, tmp_path: Path) -> None:
    top = np.iinfo(dtype).max
    shown = pictures(1, dtype=dtype, top=top)[0]
    path = tmp_path / "shot.tif"
    tifffile.imwrite(path, top - shown, photometric="miniswhite")

    np.testing.assert_array_equal(_read(path)[0].pixels, shown)


def test_images_that_hold_no_times_are_a_fifteenth_of_a_second_apart(tmp_path: Path) -> None:
    for i in range(3):
        cv2.imwrite(str(tmp_path / f"{i}.png"), pictures(1)[0])

    frames = _read(*tmp_path.iterdir())

    assert [frame.t_s for frame in frames] == pytest.approx([0, 1 / 15, 2 / 15])


def test_images_of_different_sizes_are_one_clear_error_at_the_first_that_differs(tmp_path: Path) -> None:
    for i, height in enumerate((20, 20, 24)):
        cv2.imwrite(str(tmp_path / f"{i}.png"), np.zeros((height, 30), np.uint8))

    frames, error = read_until_error(open_source(str(tmp_path)), tmp_path)

    assert isinstance(error, SourceChanged)
    assert "frame 2: 30x24 pixels of 8 bits; expected 30x20" in str(error)
    assert len(frames) == 2


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_a_truncated_image_is_one_clear_error_after_those_before_it(
    suffix: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    paths = [tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"]
    for path in paths:
        cv2.imwrite(str(path), pictures(1)[0])
    short = cut(paths[1]).rename(tmp_path / f"z{suffix}")

    capfd.readouterr()
    frames, _ = read_until_error(ImageFolder("shots", [paths[0], short]), short)

    assert len(frames) == 1
    assert capfd.readouterr().err == ""


def test_a_damaged_png_is_told_by_its_checksum(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), pictures(1)[0])
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)

    with pytest.raises(SourceError, match="expected a whole PNG"):
        _read(path)


@pytest.mark.parametrize("content", [b"", b"not an image at all"])
def test_a_file_that_is_no_image_is_one_clear_error(content: bytes, tmp_path: Path) -> None:
    for suffix in (".png", ".jpg", ".tif"):
        path = tmp_path / f"x{suffix}"
        path.write_bytes(content)
        with pytest.raises(SourceError, match="expected a whole PNG, JPEG or TIFF image"):
            _read(path)


def test_floating_point_tiffs_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, np.zeros((4, 6), np.float32))

    with pytest.raises(SourceError, match="float32, not 8 or 16 bit"):
        _read(path)


@pytest.mark.skipif(not REAL_PICTURES.is_dir(), reason="the real C-arm pictures are not on this machine")
def test_real_c_arm_pictures_are_read_at_8_and_16_bit() -> None:
    frames = [_read(path)[0] for path in sorted(REAL_PICTURES.glob("*.png"))]

    assert len(frames) == 20
    assert {frame.bits for frame in frames} == {8, 16}
    with open_source(str(REAL_PICTURES / "044*.png")) as source:
        assert [frame.pixels.shape for frame in source] == [(980, 980)] * 2
