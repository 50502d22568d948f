"""The fixture case's files."""

import json
from pathlib import Path
from typing import Any

import av
import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from guidance.casebook.case import CaseError, FrameTruth, RunLengths, read_case, write_case

TIMES_S = (0.0, 0.133, 0.2, 0.9)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20261122)


def pictures(rng: np.random.Generator) -> list[NDArray[np.uint8]]:
    return [rng.integers(0, 256, (30, 44), dtype=np.uint8) for _ in TIMES_S]


def truth(frame: int) -> FrameTruth:
    fields: dict[str, Any] = {"frame": frame, "t_s": TIMES_S[frame], "pulse": frame, "state": "live", "held": False}
    fields |= {"phase": "baseline", "view": "ap", "shift_px": (0.5, -1.0), "rotation_deg": 0.25}
    return FrameTruth.model_validate(fields)


@pytest.fixture
def folder(tmp_path: Path, rng: np.random.Generator) -> Path:
    frames = [(pixels, truth(i)) for i, pixels in enumerate(pictures(rng))]
    write_case(tmp_path / "case", frames, 0.2, {"mm_per_px": 0.2}, {"dice_cement": 0.8}, "made by a test\n")
    return tmp_path / "case"


def test_a_case_is_read_as_it_was_written(folder: Path) -> None:
    case = read_case(folder)
    assert case.recording.name == "video.mkv"
    assert case.plan.mm_per_px == case.truth.mm_per_px == 0.2
    assert (case.truth.width_px, case.truth.height_px) == (44, 30)
    assert case.truth.frames == tuple(truth(i) for i in range(4))
    assert case.expect.dice_cement == 0.8
    assert case.expect.tip_median_px is None


def test_the_video_keeps_every_pixel_and_every_uneven_time(folder: Path) -> None:
    with av.open(str(folder / "video.mkv")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("ffv1", "gray")
        frames = list(container.decode(stream))
    assert [frame.time for frame in frames] == pytest.approx(TIMES_S)
    assert len(frames) == 4


def test_pixels_come_back_unchanged(tmp_path: Path, rng: np.random.Generator) -> None:
    given_pixels = pictures(rng)
    write_case(tmp_path, [(p, truth(i)) for i, p in enumerate(given_pixels)], 0.2, {}, {}, "")
    with av.open(str(tmp_path / "video.mkv")) as container:
        read = [frame.to_ndarray() for frame in container.decode(video=0)]
    assert all(np.array_equal(a, b) for a, b in zip(read, given_pixels, strict=True))


@given(arrays.arrays(np.bool_, arrays.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9)))
def test_a_mask_survives_its_run_lengths(mask: NDArray[np.bool_]) -> None:
    runs = RunLengths.of(mask)
    assert np.array_equal(runs.mask(), np.where(mask, 255, 0))
    assert sum(runs.counts) == mask.size


@given(st.lists(st.integers(0, 50), max_size=6))
def test_run_lengths_that_do_not_fill_the_frame_are_refused(counts: list[int]) -> None:
    if sum(counts) != 12:
        with pytest.raises(ValueError, match="add up to 3 x 4"):
            RunLengths(size=(3, 4), counts=tuple(counts))


def spoil(path: Path, change: dict[str, Any]) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | change))


@pytest.mark.parametrize(
    ("file", "change", "complaint"),
    [
        ("expect.json", {"dice_cemnt": 0.8}, "expect.json: dice_cemnt: Extra inputs"),
        ("truth.json", {"mm_per_px": -1}, "truth.json: mm_per_px: Input should be greater than 0"),
        ("truth.json", {"frames": [truth(1).model_dump(mode="json")]}, "expected frame 0 at frames.0, found 1"),
        ("plan.json", {"speed": 1}, "plan.json: speed: Extra inputs"),
    ],
)
def test_a_spoilt_file_gives_one_line_that_names_it(
    folder: Path, file: str, change: dict[str, Any], complaint: str
) -> None:
    spoil(folder / file, change)
    with pytest.raises(CaseError) as error:
        read_case(folder)
    assert complaint in str(error.value)
    assert "\n" not in str(error.value)


def test_what_is_no_case_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(CaseError, match=r"no frames; expected video.mkv or frames.npz"):
        read_case(tmp_path)
    with pytest.raises(CaseError, match="not a folder"):
        read_case(tmp_path / "gone")


def test_truth_that_is_missing_or_cut_off_is_told_so(folder: Path) -> None:
    text = (folder / "truth.json").read_text()
    (folder / "truth.json").write_text(text[: len(text) // 2])
    with pytest.raises(CaseError, match=r"truth.json: not valid JSON"):
        read_case(folder)
    (folder / "truth.json").unlink()
    with pytest.raises(CaseError, match=r"truth.json: cannot be read"):
        read_case(folder)


def test_a_folder_that_cannot_be_made_is_told_so(tmp_path: Path, rng: np.random.Generator) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CaseError, match=r"cannot be written"):
        write_case(tmp_path / "file" / "case", [(pictures(rng)[0], truth(0))], 0.2, {}, {}, "")
