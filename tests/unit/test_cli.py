"""The command line as another program drives it: files, exit status, one line for what cannot be used."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from guidance.cli import main
from guidance.wire import AlertMessage, FindingsMessage

SIDE_PX = 256


def picture(seed: int) -> np.ndarray:  # type: ignore[type-arg]
    """A round x-ray field of noise on black."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE_PX, :SIDE_PX]
    level = 120 + 40 * np.sin(x / 30) * np.cos(y / 23) + rng.normal(0, 6, (SIDE_PX, SIDE_PX))
    level[np.hypot(x - 128, y - 128) > 118] = 4
    return np.clip(level, 0, 255).astype(np.uint8)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Twelve frames of lossless gray video."""
    return write_video(tmp_path / "case.mkv", [picture(i) for i in range(12)])


def write_video(path: Path, frames: list[Any]) -> Path:
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("ffv1", rate=10)
        stream.height, stream.width = frames[0].shape
        stream.pix_fmt = "gray"
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="gray")))
        container.mux(stream.encode(None))
    return path


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def fails_in_one_line(arguments: list[str], capsys: pytest.CaptureFixture[str], *words: str) -> None:
    """The contract for what cannot be used: status 2 and one line on standard error that names what and where."""
    assert main(arguments) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1, told
    assert "Traceback" not in told
    for word in words:
        assert word in told


def test_a_replay_writes_one_line_a_frame_and_a_summary(recording: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(["replay", str(recording), "--out", str(out)]) == 0
    found = rows(out / "findings.jsonl")
    assert [row["frame"] for row in found] == list(range(12))
    assert [row["t_s"] for row in found] == pytest.approx([i / 10 for i in range(12)])
    assert all(row["latency_ms"] is None for row in found)
    for row in found:
        FindingsMessage.model_validate(row)
    for row in rows(out / "alerts.jsonl"):
        AlertMessage.model_validate(row)
    summary = json.loads((out / "summary.json").read_text())
    assert summary["complete"] is True
    assert summary["frames"] == 12


def test_the_summary_says_that_a_lateral_view_cannot_show_the_foramina(recording: Path, tmp_path: Path) -> None:
    plan, out = tmp_path / "plan.json", tmp_path / "out"
    plan.write_text('{"schema": 1, "view": "lateral"}')
    assert main(["replay", str(recording), "--plan", str(plan), "--out", str(out)]) == 0
    summary = json.loads((out / "summary.json").read_text())
    assert summary["not_shown"] == ["A lateral view cannot show the foramina"]


def test_two_replays_write_the_same_bytes_whatever_the_threads(recording: Path, tmp_path: Path) -> None:
    outs = [tmp_path / name for name in ("a", "b", "c")]
    for out, threads in zip(outs, "121", strict=True):
        arguments = ["replay", str(recording), "--out", str(out), "--threads", threads, "--annotated"]
        assert main(arguments) == 0
    for name in ("findings.jsonl", "alerts.jsonl", "summary.json", "annotated.mp4"):
        assert len({(out / name).read_bytes() for out in outs}) == 1, name


def test_the_annotated_video_has_every_frame_at_its_time(recording: Path, tmp_path: Path) -> None:
    assert main(["replay", str(recording), "--out", str(tmp_path / "out"), "--annotated"]) == 0
    with av.open(str(tmp_path / "out" / "annotated.mp4")) as video:
        times = [frame.time for frame in video.decode(video=0)]
    assert times == pytest.approx([i / 10 for i in range(12)], abs=1e-3)


def test_a_recording_that_breaks_off_leaves_what_was_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for i in range(3):
        cv2.imwrite(str(tmp_path / f"{i}.png"), picture(i))
    cv2.imwrite(str(tmp_path / "3.png"), picture(3)[:200])
    out = tmp_path / "out"
    fails_in_one_line(["replay", str(tmp_path / "*.png"), "--out", str(out)], capsys, "3.png", "256")
    assert len(rows(out / "findings.jsonl")) == 3
    assert json.loads((out / "summary.json").read_text())["complete"] is False


def test_a_missing_recording_is_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fails_in_one_line(["replay", str(tmp_path / "no.mkv"), "--out", str(tmp_path / "out")], capsys, "no.mkv")


@pytest.mark.parametrize("content", [b"", b"this is no video"])
def test_a_file_that_is_no_video_is_told_in_one_line(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "notes.mp4"
    file.write_bytes(content)
    fails_in_one_line(["replay", str(file), "--out", str(tmp_path / "out")], capsys, "notes.mp4")


@pytest.mark.parametrize(
    ("plan", "word"),
    [
        ('{"schema": 1, "needles": 2}', "needles"),
        ('{"schema": 1, "mm_per_px": -1}', "mm_per_px"),
        ('{"schema": 1, "mm_per_px": NaN}', "NaN"),
        ('{"schema": 1, "zones": [{"id": "z", "kind": "target", "polygon_px": [[0, 0], [1, 1]]}]}', "polygon_px"),
        ('{"schema": 1, "zones": [{"id": "z", "kind": "target", "polygon_px": [[0, 0], [1, 1], [999, 0]]}]}', "999"),
    ],
)
def test_a_plan_that_does_not_fit_is_told_in_one_line(
    plan: str, word: str, recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "plan.json"
    file.write_text(plan)
    arguments = ["replay", str(recording), "--plan", str(file), "--out", str(tmp_path / "out")]
    fails_in_one_line(arguments, capsys, "plan.json", word)


@pytest.mark.skipif(os.name != "posix", reason="needs a file system that refuses")
def test_a_folder_that_cannot_be_written_is_told_in_one_line(
    recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "taken").write_text("a file where the folder should be")
    fails_in_one_line(["replay", str(recording), "--out", str(tmp_path / "taken" / "out")], capsys, "taken")


def test_an_unknown_scheme_is_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fails_in_one_line(["replay", "rtsp://somewhere/1", "--out", str(tmp_path / "out")], capsys, "rtsp")


def test_an_unknown_scenario_is_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fails_in_one_line(["replay", "phantom://nowhere", "--out", str(tmp_path / "out")], capsys, "nowhere")


def test_evaluating_what_is_no_case_is_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fails_in_one_line(["evaluate", str(tmp_path)], capsys, str(tmp_path))


def test_wrong_usage_ends_with_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["replay"])
    assert ended.value.code == 2
    assert "usage" in capsys.readouterr().err


TINY = """
title = "A needle in the ala"
may_alarm = false

[video]
duration_s = 1.2
size_px = 192

[[needles]]
target = "ala_L"
appears_s = 0
remaining_mm = 5
"""


def test_a_scenario_becomes_a_case_that_can_be_evaluated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scenario = tmp_path / "tiny.toml"
    scenario.write_text(TINY)
    case = tmp_path / "case"
    assert main(["phantom", str(scenario), "--seed", "2", "--out", str(case)]) == 0
    expect = json.loads((case / "expect.json").read_text())
    (case / "expect.json").write_text(json.dumps({"schema": 1, "state_accuracy": 1.0}))
    capsys.readouterr()
    assert main(["evaluate", str(case), "--json"]) == 0
    (scores,) = json.loads(capsys.readouterr().out)
    assert scores["frames"] == 9
    assert "tip_median_px" in expect


def test_a_case_that_falls_short_ends_with_status_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scenario = tmp_path / "tiny.toml"
    scenario.write_text(TINY)
    case = tmp_path / "case"
    assert main(["phantom", str(scenario), "--out", str(case)]) == 0
    (case / "expect.json").write_text(json.dumps({"schema": 1, "dice_cement": 0.9}))
    assert main(["evaluate", str(case)]) == 1
    assert "dice_cement not measured, expected at least 0.9" in capsys.readouterr().out


def test_the_built_in_scenarios_are_listed_with_their_titles(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["phantom", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) >= 12
    assert any(line.startswith("leak_foramen ") for line in lines)


def test_rendering_without_a_folder_to_write_to_is_told_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    fails_in_one_line(["phantom", "leak_foramen"], capsys, "--out")


def serving_fails_in_one_line(recording: Path, options: list[str], *words: str) -> None:
    # In a process of its own: a service tunes its interpreter.
    command = [sys.executable, "-m", "guidance.cli", "serve", "--source", str(recording), "--bus-port", "0"]
    ended = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1, ended.stderr
    for word in words:
        assert word in ended.stderr


def test_a_port_in_use_is_told_in_one_line(recording: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        serving_fails_in_one_line(recording, ["--port", port], port)


def test_a_bus_beyond_this_machine_without_keys_is_refused_in_one_line(recording: Path) -> None:
    options = ["--port", "0", "--bus-host", "0.0.0.0"]
    serving_fails_in_one_line(recording, options, "the bus on 0.0.0.0", "--keys", "fluoroguide keys")


def test_an_alarm_log_that_cannot_be_had_is_told_in_one_line(recording: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    log = str(tmp_path / "file" / "log.jsonl")
    serving_fails_in_one_line(recording, ["--port", "0", "--alarm-log", log], log, "cannot be written")


def test_devices_are_listed_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["devices", "--json"]) == 0
    assert isinstance(json.loads(capsys.readouterr().out), list)


def test_keys_are_made_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "keys"
    assert main(["keys", str(folder), "--client", "nurse_call"]) == 0
    made = capsys.readouterr().out.split()
    assert str(folder / "service.key_secret") in made
    assert str(folder / "clients" / "nurse_call.key_secret") in made
    fails_in_one_line(["keys", str(folder), "--client", "nurse_call"], capsys, "nurse_call.key", "exists")
