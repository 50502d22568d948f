"""What an evaluation tells a CI server, and its pictures."""

import re
import shutil
import subprocess
import sys
from base64 import b64decode
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
import yaml

from guidance.casebook.case import FrameTruth, RunLengths, TipTruth, write_case
from guidance.cli import main
from guidance.evaluation.worst import truth_strokes
from guidance.overlay import StrokeKind
from guidance.overlay.look import STYLES

ROOT = Path(__file__).parents[3]
SIDE_PX = 160


def frame_truth(frame: int) -> FrameTruth:
    """A tip in the middle that nobody will find, and nothing else."""
    return FrameTruth.model_validate(
        {
            "frame": frame,
            "t_s": frame / 10,
            "pulse": frame + 1,
            "state": "live",
            "held": False,
            "phase": "needle",
            "view": "ap",
            "shift_px": (0.0, 0.0),
            "rotation_deg": 0.0,
            "tips": [{"id": 1, "tip_px": (80.0, 80.0), "back_px": (120.0, 40.0), "visible": True}],
        }
    )


@pytest.fixture
def case(tmp_path: Path) -> Path:
    """Six pictures of noise in a round field."""
    rng = np.random.default_rng(8)
    y, x = np.mgrid[:SIDE_PX, :SIDE_PX]
    frames = []
    for i in range(6):
        pixels = np.clip(rng.normal(120, 6, (SIDE_PX, SIDE_PX)), 0, 255).astype(np.uint8)
        pixels[np.hypot(x - 80, y - 80) > 74] = 4
        frames.append((pixels, frame_truth(i)))
    write_case(tmp_path / "noise", frames, 0.5, {"mm_per_px": 0.5}, {"missed_share": 0.5}, "made by a test\n")
    return tmp_path / "noise"


def test_a_case_that_falls_short_is_a_failure_in_junits_xml_with_its_bound(case: Path, tmp_path: Path) -> None:
    assert main(["evaluate", str(case), "--junit", str(tmp_path / "j.xml")]) == 1
    root = ElementTree.parse(tmp_path / "j.xml").getroot()
    assert (root.tag, root.get("tests"), root.get("failures"), root.get("errors")) == ("testsuites", "1", "1", "0")
    failure = root.find("testsuite/testcase[@name='noise']/failure")
    assert failure is not None
    assert failure.get("message") == "missed_share 1, expected at most 0.5"


def test_a_case_that_cannot_be_read_is_an_error_and_the_others_are_evaluated(
    case: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (case / "expect.json").write_text('{"schema": 1}')
    shutil.copytree(case, tmp_path / "broken")
    (tmp_path / "broken" / "truth.json").write_text("{")
    assert main(["evaluate", str(tmp_path / "broken"), str(case), "--junit", str(tmp_path / "j.xml")]) == 2
    assert "truth.json" in capsys.readouterr().err
    tests = ElementTree.parse(tmp_path / "j.xml").getroot().findall("testsuite/testcase")
    assert [[child.tag for child in test] for test in tests] == [["error"], ["system-out"]]
    assert tests[1].findtext("system-out", "").splitlines()[2] == "missed: 100.0%"


def test_the_report_needs_no_other_file_and_shows_the_worst_frame_with_the_truth_in_white(
    case: Path, tmp_path: Path
) -> None:
    main(["evaluate", str(case), "--html", str(tmp_path / "e.html")])
    page = (tmp_path / "e.html").read_text(encoding="utf-8")
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    pictures = re.findall(r'src="data:image/jpeg;base64,([^"]+)"[^>]+alt="([^"]+)"', page)
    missed = next(picture for picture, caption in pictures if "needles missed: 1" in caption)
    shown = cv2.imdecode(np.frombuffer(b64decode(missed), np.uint8), cv2.IMREAD_GRAYSCALE)
    zoom = shown.shape[1] // SIDE_PX
    top = (shown.shape[0] - SIDE_PX * zoom) // 3  # one of three strips
    around = shown[top + 76 * zoom : top + 84 * zoom, 83 * zoom : 84 * zoom]
    assert around.max() > 120 + 8 * 6  # an arm of the cross, a pixel wide: no noise is so bright
    assert "missed_share 1, expected at most 0.5" in page


def test_the_truth_is_drawn_where_it_is() -> None:
    mask = np.zeros((40, 60), np.uint8)
    mask[10:20, 30:50] = 255
    truth = frame_truth(0).model_copy(
        update={
            "cement": RunLengths.of(mask),
            "zones": {"foramen": ((1.0, 2.0), (5.0, 2.0), (5.0, 6.0))},
            "tips": (
                TipTruth(id=1, tip_px=(20, 30), back_px=(0, 0), visible=True),
                TipTruth(id=2, tip_px=(9, 9), back_px=(0, 0), visible=False),
            ),
        }
    )
    strokes = truth_strokes(truth, cross_px=6)
    zone, cement = (stroke.points_px for stroke in strokes if stroke.kind is StrokeKind.POLYGON)
    assert zone == ((1, 2), (5, 2), (5, 6))
    assert {min(cement), max(cement)} == {(30, 10), (49, 19)}
    arms = [stroke.points_px for stroke in strokes if stroke.kind is StrokeKind.POLYLINE]
    assert arms == [((22, 30), (26, 30)), ((18, 30), (14, 30)), ((20, 32), (20, 36)), ((20, 28), (20, 24))]
    assert {stroke.style for stroke in strokes} <= STYLES.keys()


def test_the_action_evaluates_with_its_own_steps_and_fails_where_a_case_does(case: Path, tmp_path: Path) -> None:
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    assert action["runs"]["using"] == "composite"
    install, evaluate = action["runs"]["steps"]
    assert install["run"] == 'make -C "$GITHUB_ACTION_PATH" install'
    given = {name: one["default"] for name, one in action["inputs"].items()} | {"cases": f"{tmp_path}/no*/"}
    values = {
        name: given[re.sub(r"\$\{\{ inputs\.(\w+) \}\}", r"\1", value)] for name, value in evaluate["env"].items()
    }
    environment = {"GITHUB_ACTION_PATH": str(ROOT), "PATH": "/usr/bin:/bin", **values}
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", evaluate["run"]]
    assert subprocess.run(command, env=environment, cwd=tmp_path, check=False, capture_output=True).returncode == 1
    assert (tmp_path / "fluoroguide-junit.xml").is_file()
    assert (tmp_path / "fluoroguide-report.html").is_file()


def test_the_example_without_a_test_framework_fails_where_a_case_does(case: Path, tmp_path: Path) -> None:
    example = [sys.executable, str(ROOT / "docs/examples/evaluate_cases.py"), str(tmp_path / "j.xml"), str(case)]
    done = subprocess.run(example, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout == "noise: missed_share 1, expected at most 0.5\n"
    assert ElementTree.parse(tmp_path / "j.xml").getroot().get("failures") == "1"
