import struct
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from drivers.errors import SourceChanged
from drivers.frame import Frame, FrameFlag
from drivers.recording import VideoFile
from tests.unit.drivers.written import cut, pictures, read_until_error, write_sound, write_video


def _until_error(path: Path) -> tuple[list[Frame], str]:
    frames, error = read_until_error(VideoFile(path), path)
    return frames, str(error)


@pytest.mark.parametrize(
    ("name", "codec"),
    [("v.mkv", "ffv1"), ("v.avi", "ffv1"), ("v.nut", "ffv1"), ("v.mov", "png"), ("v.nut", "rawvideo")],
)
def test_lossless_gray_comes_out_as_it_went_in(name: str, codec: str, tmp_path: Path) -> None:
    shown = pictures()

    with VideoFile(write_video(tmp_path / name, shown, codec)) as source:
        read = [frame.pixels for frame in source]

    np.testing.assert_array_equal(read, shown)


def test_twelve_bit_gray_keeps_its_codes_and_tells_its_bits(tmp_path: Path) -> None:
    shown = pictures(dtype=np.uint16, top=4095)

    with VideoFile(write_video(tmp_path / "v.mkv", shown, "ffv1", "gray12le", "gray12le")) as source:
        frames = list(source)

    assert source.info.bits == 12
    np.testing.assert_array_equal([frame.pixels for frame in frames], shown)


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [("v.mp4", "libx264", "yuv420p"), ("v.ts", "libx264", "yuv420p"), ("v.mov", "prores_ks", "yuv422p10le")],
)
def test_lossy_codecs_come_out_close_and_in_full_range(name: str, codec: str, pix_fmt: str, tmp_path: Path) -> None:
    ramp = np.tile(np.linspace(0, 255, 96).astype(np.uint8), (64, 1))

    with VideoFile(write_video(tmp_path / name, [ramp] * 3, codec, pix_fmt)) as source:
        frames = list(source)
        top = 2**source.info.bits - 1

    # 2 % is far above a smooth ramp's coding error and far below limited range's 6 % of black.
    assert np.abs(frames[-1].pixels / top - ramp / 255).max() < 0.02


def test_timestamps_are_those_of_the_file_even_where_frames_come_unevenly(tmp_path: Path) -> None:
    ticks = [7, 8, 30, 31, 90, 91]
    path = write_video(tmp_path / "v.mov", pictures(), "png", times=ticks, time_base=Fraction(1, 30))

    with VideoFile(path) as source:
        times_s = [frame.t_s for frame in source]

    # The container may count in finer ticks, but 1/30 is exact in them.
    assert np.diff(times_s).tolist() == pytest.approx(np.diff(ticks) / 30, abs=1e-12)


def test_pictures_stored_out_of_order_come_in_the_order_of_showing(tmp_path: Path) -> None:
    steps = [np.full((64, 96), 20 * i, np.uint8) for i in range(12)]
    path = write_video(tmp_path / "v.mp4", steps, "libx264", "yuv420p", options={"bf": "3", "preset": "medium"})

    with VideoFile(path) as source:
        means = [frame.pixels.mean() for frame in source]

    assert len(means) == 12
    assert all(a < b for a, b in pairwise(means))


def test_a_stream_without_timestamps_goes_at_its_nominal_rate(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.h264", pictures(height=64, width=96), "libx264", "yuv420p")

    with VideoFile(path) as source:
        times_s = [frame.t_s for frame in source]
        assert source.info.rate_hz is not None
        assert np.diff(times_s) == pytest.approx(1 / source.info.rate_hz)


@pytest.mark.parametrize(("name", "codec"), [("v.mkv", "ffv1"), ("v.mp4", "libx264"), ("v.webm", "libvpx-vp9")])
def test_the_number_of_threads_does_not_change_a_byte(name: str, codec: str, tmp_path: Path) -> None:
    path = write_video(tmp_path / name, pictures(8, 128, 128), codec, "gray" if codec == "ffv1" else "yuv420p")

    read = []
    for threads in (1, 2, 3):
        with VideoFile(path, threads=threads) as source:
            read.append([(frame.t_s, frame.pixels.tobytes()) for frame in source])

    assert read[0] == read[1] == read[2]


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        ("v.mkv", "ffv1", "gray"),
        ("v.avi", "mjpeg", "yuvj420p"),
        ("v.avi", "rawvideo", "gray"),
        ("v.webm", "libvpx-vp9", "yuv420p"),
        ("v.ts", "libx264", "yuv420p"),
    ],
)
def test_a_truncated_video_gives_its_whole_frames_and_then_one_error(
    name: str, codec: str, pix_fmt: str, tmp_path: Path
) -> None:
    path = write_video(tmp_path / name, pictures(20, 64, 96), codec, pix_fmt)
    with VideoFile(path) as source:
        whole = [frame.pixels.tobytes() for frame in source]

    frames, error = _until_error(cut(path))

    sound = [frame.pixels.tobytes() for frame in frames if not frame.flags & FrameFlag.CORRUPT]
    assert 5 < len(sound) < 19
    assert sound == whole[: len(sound)]
    assert f"frame {len(frames)}" in error
    assert "expected" in error


def test_an_mp4_that_can_start_playing_at_once_is_told_to_be_cut_too(tmp_path: Path) -> None:
    path = tmp_path / "v.mp4"
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("mjpeg", rate=15)
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width, stream.pix_fmt = 64, 96, "yuvj420p"
        for picture in pictures(20, 64, 96):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="gray").reformat(format="yuvj420p")))
        container.mux(stream.encode())

    frames, error = _until_error(cut(path))

    assert 5 < len(frames) < 20
    assert "cut short" in error


def test_an_mp4_whose_index_was_cut_off_is_refused_at_once(tmp_path: Path) -> None:
    path = cut(write_video(tmp_path / "v.mp4", pictures(), "libx264", "yuv420p"))

    frames, error = _until_error(path)

    assert not frames
    assert "expected a video" in error


def test_damage_in_the_middle_gives_the_frames_before_it_and_one_error(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.avi", pictures(20, 64, 96), "mjpeg", "yuvj420p")
    data = bytearray(path.read_bytes())
    pictures_at = [i for i in range(len(data) - 3) if data[i : i + 3] == b"\xff\xd8\xff"]
    tables = pictures_at[9] + 300
    data[tables : tables + 400] = bytes(400)
    path.write_bytes(data)

    frames, error = _until_error(path)

    assert len(frames) == 9
    assert "frame 9 (after 0.533 s)" in error


def test_a_picture_that_changes_its_size_is_told_at_that_frame(tmp_path: Path) -> None:
    small = write_video(tmp_path / "a.mjpeg", pictures(4, 64, 96), "mjpeg", "yuvj420p")
    large = write_video(tmp_path / "b.mjpeg", pictures(4, 80, 128), "mjpeg", "yuvj420p")
    joined = tmp_path / "joined.mjpeg"
    joined.write_bytes(small.read_bytes() + large.read_bytes())

    frames, error = read_until_error(VideoFile(joined), joined)

    assert isinstance(error, SourceChanged)
    assert "frame 4: 128x80 pixels of 8 bits; expected 96x64" in str(error)
    assert len(frames) == 4


def test_time_goes_on_where_recordings_were_joined_end_to_end(tmp_path: Path) -> None:
    part = write_video(tmp_path / "a.ts", pictures(5, 64, 96), "mpeg2video", "yuv420p", options={"bf": "0"})
    joined = tmp_path / "joined.ts"
    joined.write_bytes(part.read_bytes() * 2)

    with VideoFile(joined) as source:
        times_s = [frame.t_s for frame in source]

    assert len(times_s) == 10
    assert np.diff(times_s) == pytest.approx(1 / 15, abs=1e-4)


def test_a_video_filmed_sideways_is_turned_upright(tmp_path: Path) -> None:
    shown = pictures()
    path = write_video(tmp_path / "v.mov", shown, "png")
    data = bytearray(path.read_bytes())
    # ISO/IEC 14496-12: version and flags, five numbers, two reserved, layer to reserved, then the 3 x 3 matrix.
    matrix = data.index(b"tkhd") + 4 + 4 + 20 + 8 + 8
    one = 1 << 16
    struct.pack_into(">9i", data, matrix, 0, one, 0, -one, 0, 0, 0, 0, 1 << 30)
    path.write_bytes(data)

    with VideoFile(path) as source:
        read = [frame.pixels for frame in source]

    # This matrix turns the picture clockwise by a quarter when it is shown.
    np.testing.assert_array_equal(read, np.rot90(shown, -1, axes=(1, 2)))
    assert (source.info.width_px, source.info.height_px) == (48, 70)


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    frames, error = _until_error(write_sound(tmp_path / "a.wav"))

    assert not frames
    assert error.endswith("holds audio; expected a video stream")


@pytest.mark.parametrize(
    ("content", "expectation"),
    [(b"", "empty"), (b"\x00" * 4000, "expected a video"), (b"patient: 1\n" * 300, "expected a video")],
)
def test_what_is_no_video_gives_one_clear_error(content: bytes, expectation: str, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)

    frames, error = _until_error(path)

    assert not frames
    assert expectation in error


def test_a_missing_video_gives_one_clear_error(tmp_path: Path) -> None:
    _, error = _until_error(tmp_path / "none.mkv")

    assert "No such file" in error


def test_libav_writes_nothing_to_standard_error(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = cut(write_video(tmp_path / "v.ts", pictures(20, 64, 96), "libx264", "yuv420p"))
    capfd.readouterr()

    _until_error(path)

    assert capfd.readouterr().err == ""
