from pathlib import Path

import pytest

from drivers.truncation import stated_bytes
from tests.unit.drivers.written import cut, pictures, write_video


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        ("v.mkv", "ffv1", "gray"),
        ("v.webm", "libvpx-vp9", "yuv420p"),
        ("v.avi", "mjpeg", "yuvj420p"),
        ("v.mp4", "libx264", "yuv420p"),
        ("v.mov", "png", "gray"),
    ],
)
def test_a_whole_file_is_as_long_as_its_headers_say(name: str, codec: str, pix_fmt: str, tmp_path: Path) -> None:
    path = write_video(tmp_path / name, pictures(), codec, pix_fmt)

    assert stated_bytes(path) == path.stat().st_size


@pytest.mark.parametrize("name", ["v.mkv", "v.avi"])
@pytest.mark.parametrize("share", [0.5, 0.999])
def test_a_cut_file_still_states_its_former_length(name: str, share: float, tmp_path: Path) -> None:
    path = write_video(tmp_path / name, pictures())

    assert stated_bytes(cut(path, share)) == path.stat().st_size


def test_a_matroska_stream_of_unknown_length_states_none(tmp_path: Path) -> None:
    path = tmp_path / "live.mkv"
    # EBML header of no bytes, then a Segment whose length is all ones: "unknown" in RFC 8794.
    path.write_bytes(b"\x1a\x45\xdf\xa3\x80" + b"\x18\x53\x80\x67" + b"\x01" + b"\xff" * 7 + b"\0" * 20)

    assert stated_bytes(path) is None


@pytest.mark.parametrize("data", [b"", b"RIFF", b"\x1a\x45\xdf\xa3", b"GIF89a", b"\x00\x00\x00\x00mdat" + b"\0" * 8])
def test_a_file_that_does_not_say_states_none(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "short"
    path.write_bytes(data)

    assert stated_bytes(path) is None or stated_bytes(path) == 0
