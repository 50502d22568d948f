import json
import os
import sqlite3
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import av
import numpy as np
import pytest

from drivers.frame import Frame, FrameFlag, freeze
from drivers.recording import VideoFile
from drivers.sources import open_source
from guidance.casebook.archive import Archive, ArchivedCase, ArchiveError, CaseState
from guidance.casebook.recorder import CaseRecorder, edit_header
from guidance.records import FrameState, Phase
from tests.unit.casebook.kills import kill_once
from tests.unit.casebook.recorded import CODEC_AT_HZ, HEIGHT_PX, frames, info, record

each_codec = pytest.mark.parametrize("codec", CODEC_AT_HZ)


def codec_of(video: Path) -> str:
    with av.open(str(video)) as container:
        return str(container.streams.video[0].codec_context.name)


def same(a: Frame, b: Frame) -> bool:
    """Whether two frames are equal but for where their times begin."""
    return np.array_equal(a.pixels, b.pixels) and (a.sequence, a.bits, a.flags) == (b.sequence, b.bits, b.flags)


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_every_frame_comes_back_bit_for_bit_with_its_own_time_and_flags(tmp_path: Path, bits: int) -> None:
    recorded = frames(bits=bits)
    record(tmp_path / "case", recorded)
    with open_source(str(tmp_path / "case")) as source:
        back = list(source)
    assert len(back) == len(recorded)
    assert all(same(a, b) for a, b in zip(recorded, back, strict=True))
    assert [b.t_s for b in back] == [a.t_s - recorded[0].t_s for a in recorded]  # to the last bit
    assert source.info.mm_per_px == 0.25


@each_codec
def test_any_player_plays_the_video_and_a_picture_that_came_again_is_in_it_once(tmp_path: Path, codec: str) -> None:
    recorded = frames(12, repeats=3)
    record(tmp_path / "case", recorded, codec=codec)
    assert codec_of(tmp_path / "case" / "video.mkv") == codec
    with VideoFile(tmp_path / "case" / "video.mkv") as video:
        played = list(video)
    assert [round(frame.t_s, 3) for frame in played] == [0.0, 0.1, 0.2, 0.3]
    assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(recorded[::3], played, strict=True))


@pytest.mark.parametrize(("width_px", "height_px"), [(1, 97), (97, 1), (2, 3), (33, 71), (640, 5), (333, 251)])
@each_codec
def test_pictures_of_any_size_and_contents_come_back(tmp_path: Path, codec: str, width_px: int, height_px: int) -> None:
    rng = np.random.default_rng(width_px)
    shape = height_px, width_px
    noise = rng.integers(0, 256, shape).astype(np.uint8)
    ramp = np.arange(height_px * width_px).reshape(shape).astype(np.uint8)
    shown = [noise, np.zeros_like(noise), ramp, np.full_like(noise, 255), np.where(noise > 250, noise, 0)]
    recorded = [Frame(freeze(pixels.astype(np.uint8)), n / 30, n) for n, pixels in enumerate(shown)]
    rate_hz = {"ffv1": 1.0, "magicyuv": 1e9}[codec]
    recorder = CaseRecorder(
        tmp_path / "case", replace(info(), width_px=width_px, height_px=height_px, rate_hz=rate_hz), {}
    )
    for frame in recorded:
        recorder.frame(frame)
    recorder.close()
    assert codec_of(tmp_path / "case" / "video.mkv") == (codec if min(shape) > 1 else "magicyuv")
    with open_source(str(tmp_path / "case")) as source, VideoFile(tmp_path / "case" / "video.mkv") as video:
        assert all(same(a, b) for a, b in zip(recorded, source, strict=True))
        assert all(np.array_equal(a, b.pixels) for a, b in zip(shown, video, strict=True))


@pytest.mark.parametrize(
    ("width_px", "height_px", "rate_hz", "codec"),
    [
        (1024, 1024, 30.0, "ffv1"),
        (1280, 1024, 30.0, "ffv1"),
        (1280, 1024, None, "ffv1"),
        (1920, 1080, 15.0, "ffv1"),
        (1920, 1080, None, "magicyuv"),
        (1920, 1080, 30.0, "magicyuv"),
        (1024, 1024, 60.0, "magicyuv"),
    ],
)
def test_what_ffv1_would_take_too_long_for_is_kept_in_magicyuv(
    tmp_path: Path, width_px: int, height_px: int, rate_hz: float | None, codec: str
) -> None:
    source = replace(info(), width_px=width_px, height_px=height_px, rate_hz=rate_hz)
    recorder = CaseRecorder(tmp_path / "case", source, {})
    recorder.frame(Frame(freeze(np.full((height_px, width_px), 7, np.uint8)), 0.0, 0))
    recorder.close()
    assert codec_of(tmp_path / "case" / "video.mkv") == codec


@pytest.mark.parametrize("bits", [8, 12])
def test_a_recorder_in_haste_goes_on_in_a_faster_codec_where_there_is_one(tmp_path: Path, bits: int) -> None:
    recorded = frames(12, bits, repeats=3)
    recorder = CaseRecorder(tmp_path / "case", info(bits), {"schema": 1})
    for frame in recorded:
        recorder.frame(frame)
        if frame.sequence >= 104:
            recorder.hurry()
    recorder.close()
    with ArchivedCase(tmp_path / "case") as case:
        assert (case.damaged_frames(), case.missing) == ((), ())
        assert all(same(case.frame(n), frame) for n, frame in enumerate(recorded))
    kept_in = {video.name: codec_of(video) for video in (tmp_path / "case").glob("video*")}
    assert kept_in == ({"video.mkv": "ffv1", "video-002.mkv": "magicyuv"} if bits == 8 else {})


def test_an_opened_case_tells_all_that_was_kept(tmp_path: Path) -> None:
    record(tmp_path / "case")
    with ArchivedCase(tmp_path / "case") as case:
        assert (len(case), case.header.duration_s) == (12, pytest.approx(11 / 30))
        assert case.plan.mm_per_px == 0.2
        assert [row.phase for row in case.timeline] == [Phase.CEMENT] * 12
        assert case.number_at(0.1) == 3
        assert case.number_at(-1) == 0
        told = case.findings_at(0.1)
        assert told is not None
        assert told["frame"] == 3
        assert told["state"] == FrameState.LIVE
        assert [alert.zone for alert in case.alerts] == ["foramen_S1L"]
        assert (case.state, case.missing) == (CaseState.COMPLETE, ())


@each_codec
def test_a_flipped_byte_anywhere_in_the_pictures_is_named_by_frame(tmp_path: Path, codec: str) -> None:
    record(tmp_path / "case", frames(12, repeats=1), codec=codec)
    index = [json.loads(line) for line in (tmp_path / "case" / "frames.jsonl").read_text().splitlines()]
    rng = np.random.default_rng(5)
    video = tmp_path / "case" / "video.mkv"
    whole = video.read_bytes()
    for row in index:
        damaged = bytearray(whole)
        damaged[row["at"] + int(rng.integers(row["size"]))] ^= 1 << int(rng.integers(8))
        video.write_bytes(damaged)
        with ArchivedCase(tmp_path / "case") as case:
            assert case.damaged_frames() == (row["frame"],)
            assert FrameFlag.CORRUPT in case.frame(row["frame"]).flags


@pytest.mark.parametrize("field", ["t_s", "sequence", "flags", "crc32", "at", "size", "frame"])
def test_a_flipped_digit_in_the_index_is_named_by_frame_as_well(tmp_path: Path, field: str) -> None:
    record(tmp_path / "case", frames(12, repeats=1))
    path = tmp_path / "case" / "frames.jsonl"
    lines = path.read_text().splitlines()
    row = json.loads(lines[6])
    row[field] = row[field] * 2 + 1
    lines[6] = json.dumps(row)
    path.write_text("\n".join(lines) + "\n")
    with ArchivedCase(tmp_path / "case") as case:
        assert 6 in case.damaged_frames()
        assert np.all(np.diff(case.times_s) >= 0)
        assert case.times_s[7] == pytest.approx(7 / 30)


def test_a_flipped_byte_is_named_on_every_frame_that_shows_the_picture(tmp_path: Path) -> None:
    record(tmp_path / "case", frames(12, repeats=3))
    index = [json.loads(line) for line in (tmp_path / "case" / "frames.jsonl").read_text().splitlines()]
    video = tmp_path / "case" / "video.mkv"
    damaged = bytearray(video.read_bytes())
    damaged[index[4]["at"] + index[4]["size"] // 2] ^= 4
    video.write_bytes(damaged)
    with ArchivedCase(tmp_path / "case") as case:
        assert case.damaged_frames() == (3, 4, 5)


def test_an_index_line_that_is_lost_leaves_every_other_frame_at_its_number(tmp_path: Path) -> None:
    recorded = frames(12, repeats=1)
    record(tmp_path / "case", recorded)
    path = tmp_path / "case" / "frames.jsonl"
    lines = path.read_bytes().splitlines()
    lines[6] = b"\x00\xff" * 40
    path.write_bytes(b"\n".join(lines) + b"\n")
    with ArchivedCase(tmp_path / "case") as case:
        assert case.missing == (
            "The index is damaged at frames 6",
            "1 frames did not come or were not recorded, in 1 gaps",
        )
        assert case.damaged_frames() == (6,)
        assert same(case.frame(7), recorded[7])


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.6, 0.999])
@each_codec
def test_files_cut_off_as_power_loss_leaves_them_open_up_to_the_cut(tmp_path: Path, codec: str, share: float) -> None:
    recorded = frames(12, repeats=1)
    record(tmp_path / "case", recorded, close=False, codec=codec).break_off()
    for name in ("video.mkv", "frames.jsonl", "findings.jsonl", "timeline.jsonl", "alerts.jsonl"):
        path = tmp_path / "case" / name
        os.truncate(path, int(path.stat().st_size * share))
    with ArchivedCase(tmp_path / "case") as case:
        kept = len(case)
        whole = [n for n in range(kept) if n not in case.damaged_frames()]
        assert all(same(case.frame(n), recorded[n]) for n in whole)
        assert len(whole) >= int(12 * share) - 1
        assert len(case.missing) >= (kept > 0)


def test_a_killed_service_loses_less_than_a_second_and_the_case_opens_and_says_so(tmp_path: Path) -> None:
    killed = kill_once(tmp_path, after_s=0.7, side_px=256)
    assert killed.captured > 3
    assert killed.lost_s < 1
    assert killed.damaged == 0
    assert killed.says_so
    (entry,) = Archive(tmp_path).cases()
    assert (entry.frames, entry.state) == (killed.kept, CaseState.BROKEN_OFF)


def test_a_case_is_being_recorded_until_it_is_closed(tmp_path: Path) -> None:
    recorder = record(tmp_path / "case", close=False)
    archive = Archive(tmp_path)
    assert [(entry.state, entry.frames) for entry in archive.cases()] == [(CaseState.RECORDING, 12)]
    with pytest.raises(ArchiveError, match="being recorded"):
        archive.remove("case")
    recorder.close()
    assert archive.cases()[0].state is CaseState.COMPLETE


def test_a_full_disk_is_told_and_the_case_goes_on_in_a_new_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = frames(12, repeats=1)
    recorder = CaseRecorder(tmp_path / "case", info(), {"schema": 1})
    for frame in recorded[:4]:
        recorder.frame(frame)
    with monkeypatch.context() as full:
        full.setattr(os, "pwritev", lambda file, pieces, at: 10)
        for frame in recorded[4:6]:
            with pytest.raises(OSError, match="No space left"):
                recorder.frame(frame)
    for frame in recorded[6:]:
        recorder.frame(frame)
    recorder.close()
    with ArchivedCase(tmp_path / "case") as case:
        assert case.damaged_frames() == ()
        assert [case.frame(n).sequence for n in range(len(case))] == [100, 101, 102, 103, *range(106, 112)]
        assert case.missing == ("2 frames did not come or were not recorded, in 1 gaps",)


def test_lines_that_a_full_disk_tore_are_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = CaseRecorder(tmp_path / "case", info(), {"schema": 1})
    shown = frames(12, repeats=1)
    recorder.frame(shown[0])
    write = os.write
    with monkeypatch.context() as full:
        full.setattr(os, "write", lambda file, data: write(file, data[:20]))
        with pytest.raises(OSError, match="No space left"):
            recorder.frame(shown[1])
    recorder.frame(shown[2])
    recorder.close()
    with ArchivedCase(tmp_path / "case") as case:
        assert [case.frame(n).sequence for n in range(len(case))] == [100, 101, 102]
        assert (case.damaged_frames(), case.missing) == ((), ())


def test_the_index_is_a_cache_that_may_be_lost_damaged_or_out_of_date(tmp_path: Path) -> None:
    archive = Archive(tmp_path)
    for name in ("a", "b"):
        record(tmp_path / name)
    before = archive.cases()
    assert {entry.id for entry in before} == {"a", "b"}
    assert before[0].alerts == {"cement_in_zone": 1}
    archive.set_tags("a", ["teaching", "S1", "teaching"])
    assert next(e.tags for e in archive.cases() if e.id == "a") == ("teaching", "S1")
    (tmp_path / "index.sqlite3").write_bytes(b"not a database" * 100)
    assert len(archive.cases()) == 2
    archive.remove("b")
    assert archive.rebuild() == 1
    with sqlite3.connect(tmp_path / "index.sqlite3") as index:
        assert index.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert index.execute("SELECT id FROM cases").fetchall() == [("a",)]
    index.close()


def test_retention_takes_the_oldest_and_never_what_is_to_be_kept(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    for name, age_d in (("kept", 90), ("old", 60), ("older", 70), ("new", 1)):
        record(tmp_path / name)
        began = now - timedelta(days=age_d)
        edit_header(
            tmp_path / name,
            lambda header, began=began: header.model_copy(update={"began": began}),  # type: ignore[misc]
        )
    archive = Archive(tmp_path)
    archive.set_keep("kept", True)
    assert archive.let_go(days=65) == ("older",)
    one = archive.cases()[0].bytes
    assert archive.let_go(gigabytes=2.5 * one / 1e9) == ("old",)
    assert {entry.id for entry in archive.cases()} == {"kept", "new"}
    with pytest.raises(ArchiveError, match="marked keep"):
        archive.remove("kept")


@pytest.mark.parametrize("name", ["../etc", "", ".", "a/b", "a\0b", "missing"])
def test_what_is_no_case_of_the_archive_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    with pytest.raises(ArchiveError, match="no such case"):
        Archive(tmp_path).open(name)


def test_a_header_that_is_no_header_says_where_it_is_wrong(tmp_path: Path) -> None:
    record(tmp_path / "case")
    path = tmp_path / "case" / "case.json"
    path.write_text(path.read_text().replace(f'"height_px": {HEIGHT_PX}', '"height_px": 0'))
    with pytest.raises(ArchiveError, match=r"case\.json: height_px"):
        ArchivedCase(tmp_path / "case")


def test_nothing_of_a_case_can_be_read_by_others(tmp_path: Path) -> None:
    record(tmp_path / "case")
    assert (tmp_path / "case").stat().st_mode & 0o077 == 0
    assert all(file.stat().st_mode & 0o077 == 0 for file in (tmp_path / "case").iterdir())
