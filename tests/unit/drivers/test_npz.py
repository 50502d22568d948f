from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drivers.errors import SourceError
from drivers.recording import NpzFile
from tests.unit.drivers.written import cut, pictures


def _write(path: Path, **arrays: Any) -> Path:
    np.savez_compressed(path, **arrays)
    return path


def test_each_frame_shows_its_pulse_at_its_time(tmp_path: Path) -> None:
    pulses = pictures(3)
    path = _write(tmp_path / "a.npz", pulses=pulses, pulse_of_frame=[0, 0, 2, 1], t_s=[0.5, 0.6, 0.6, 0.9])

    with NpzFile(path) as source:
        frames = list(source)

    np.testing.assert_array_equal([frame.pixels for frame in frames], pulses[[0, 0, 2, 1]])
    assert [frame.t_s for frame in frames] == [0.5, 0.6, 0.6, 0.9]
    assert source.info.frame_count == 4
    assert source.info.rate_hz == pytest.approx(3 / 0.4)


def test_frames_that_show_the_same_pulse_share_its_memory(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.npz", pulses=pictures(1), pulse_of_frame=[0, 0], t_s=[0, 1])

    with NpzFile(path) as source:
        first, second = source

    assert np.shares_memory(first.pixels, second.pixels)


def test_plain_frames_without_times_come_at_fifteen_a_second(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.npz", frames=pictures(3))

    with NpzFile(path) as source:
        assert [frame.t_s for frame in source] == pytest.approx([0, 1 / 15, 2 / 15])


@pytest.mark.parametrize(("stated", "bits"), [({}, 16), ({"bits": 12}, 12)])
def test_sixteen_bit_frames_have_the_bits_that_are_stated(stated: dict[str, int], bits: int, tmp_path: Path) -> None:
    path = _write(tmp_path / "a.npz", frames=pictures(dtype=np.uint16, top=4095), **stated)

    with NpzFile(path) as source:
        assert source.info.bits == bits


@pytest.mark.parametrize(
    ("arrays", "complaint"),
    [
        ({}, "none of the keys"),
        ({"t_s": [0.0]}, "has t_s; expected `pulses` or `frames`"),
        ({"frames": np.zeros((2, 4, 4))}, "`frames` is float64"),
        ({"frames": np.zeros((4, 4), np.uint8)}, r"`frames` is uint8 \(4, 4\)"),
        ({"frames": np.zeros((0, 4, 4), np.uint8)}, "holds no picture"),
        ({"frames": np.zeros((2, 0, 4), np.uint8)}, r"`frames` is uint8 \(2, 0, 4\)"),
        ({"frames": np.array([{}, {}])}, "pickle"),
        ({"frames": pictures(2), "t_s": [0.0]}, "expected 2 numbers"),
        ({"frames": pictures(2), "t_s": [0.0, np.nan]}, "`t_s` of frame 1 is nan"),
        ({"frames": pictures(3), "t_s": [0.0, 2.0, 1.0]}, "`t_s` of frame 2 is 1.0"),
        ({"frames": pictures(2), "t_s": ["a", "b"]}, "expected 2 numbers"),
        ({"frames": pictures(2, dtype=np.uint16), "bits": 20}, "`bits` is 20; expected 8 to 16"),
        ({"pulses": pictures(2), "t_s": [0.0]}, "`pulse_of_frame`"),
        ({"pulses": pictures(2), "pulse_of_frame": [0, 1]}, "their times"),
        ({"pulses": pictures(2), "pulse_of_frame": [0.0, 1.0], "t_s": [0, 1]}, "whole numbers"),
        ({"pulses": pictures(2), "pulse_of_frame": [0, 2], "t_s": [0, 1]}, "frame 1 shows pulse 2; expected 0 to 1"),
        ({"pulses": pictures(2), "pulse_of_frame": [-1, 0], "t_s": [0, 1]}, "frame 0 shows pulse -1"),
    ],
)
def test_arrays_that_make_no_recording_are_refused_in_one_line(
    arrays: dict[str, Any], complaint: str, tmp_path: Path
) -> None:
    path = _write(tmp_path / "a.npz", **arrays)

    with pytest.raises(SourceError, match=complaint) as told:
        NpzFile(path).__enter__()

    assert str(path) in str(told.value)
    assert "\n" not in str(told.value)


def test_a_damaged_archive_is_one_clear_error(tmp_path: Path) -> None:
    whole = _write(tmp_path / "a.npz", frames=pictures())
    flipped = bytearray(whole.read_bytes())
    flipped[len(flipped) // 2] ^= 0xFF
    (tmp_path / "flipped.npz").write_bytes(flipped)
    (tmp_path / "empty.npz").write_bytes(b"")
    (tmp_path / "junk.npz").write_bytes(b"junk" * 50)

    for path in (cut(whole), tmp_path / "flipped.npz", tmp_path / "empty.npz", tmp_path / "junk.npz"):
        with pytest.raises(SourceError, match=r"expected a whole \.npz archive"):
            NpzFile(path).__enter__()
