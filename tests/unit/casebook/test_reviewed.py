"""A recorded leak looked at afterwards: drawn as it was then, analysed anew, judged, and handed on as labels."""

import fcntl
import json
from collections.abc import Iterator
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import get_args
from zipfile import ZipFile

import cv2
import numpy as np
import pytest

from drivers.sources import open_source
from guidance.bus.messages import Command
from guidance.casebook.archive import ArchivedCase, CommandRow
from guidance.casebook.judgements import Said, Verdict, judge
from guidance.casebook.recompute import (
    Recomputed,
    RecomputeError,
    _Recorded,
    _Room,
    progress_of,
    recompute,
    version_folder,
)
from guidance.casebook.recorder import ALERTS, COMMANDS, FINDINGS, JUDGEMENTS
from guidance.casebook.shown import active_at, drawn
from guidance.records import AlertKind, AlertState
from guidance.review import labels_of
from guidance.settings import Settings
from guidance.vision.pipeline import NothingSeenError, Pipeline
from tests.unit.casebook.analysed import record_analysed


@pytest.fixture(scope="module")
def leak(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ArchivedCase]:
    with ArchivedCase(record_analysed(tmp_path_factory.mktemp("archive"))) as case:
        yield case


def raised(case: ArchivedCase, kind: AlertKind) -> tuple[int, float]:
    return next((a.id, a.t_s) for a in case.alerts if a.kind is kind and a.state is AlertState.RAISED)


def test_the_alerts_of_a_moment_are_those_that_stood_then(leak: ArchivedCase) -> None:
    number, t_s = raised(leak, AlertKind.CEMENT_IN_ZONE)
    assert number not in {alert.id for alert in active_at(leak.alerts, t_s - 0.001)}
    assert number in {alert.id for alert in active_at(leak.alerts, t_s)}


def test_a_leak_is_drawn_as_it_was_drawn_then(leak: ArchivedCase) -> None:
    _, t_s = raised(leak, AlertKind.CEMENT_IN_ZONE)
    line = leak.findings_at(t_s)
    assert line is not None
    told = drawn(line, active_at(leak.alerts, t_s))
    assert {"zone_breached", "cement", "needle"} <= {stroke["style"] for stroke in told["strokes"]}
    assert "zone_breached" not in {stroke["style"] for stroke in drawn(line, ())["strokes"]}
    assert f"{t_s:.2f} s" in told["status"]


def test_the_same_version_finds_the_same_again_and_says_so(leak: ArchivedCase) -> None:
    before = {file.name: file.read_bytes() for file in leak.folder.iterdir()}
    assert progress_of(leak.folder) is None
    recompute(leak)
    assert {file.name: file.read_bytes() for file in leak.folder.iterdir() if file.is_file()} == before
    told = progress_of(leak.folder)
    assert told is not None
    assert (told["complete"], told["done"], told["running"], told["differences"]) == (True, len(leak), False, [])
    now = Recomputed(leak.folder)
    assert now.alerts == leak.alerts
    assert now.findings_at(12.0) == leak.findings_at(12.0)
    assert now.findings_at(-1.0) is None


def copied(case: ArchivedCase, folder: Path) -> Path:
    """The same case with files of its own, to be changed."""
    folder.mkdir()
    for file in case.folder.iterdir():
        if file.is_file():
            (folder / file.name).write_bytes(file.read_bytes())
    return folder


def test_what_was_recorded_otherwise_is_a_difference_and_what_is_damaged_is_counted(
    leak: ArchivedCase, tmp_path: Path
) -> None:
    folder = copied(leak, tmp_path / "case")
    number, t_s = raised(leak, AlertKind.CEMENT_IN_ZONE)
    lines = (folder / ALERTS).read_text().splitlines()
    (folder / ALERTS).write_text("".join(f"{line}\n" for line in lines if json.loads(line)["id"] != number))
    findings = bytearray((folder / FINDINGS).read_bytes())
    findings[leak.timeline[20].at] = 0
    (folder / FINDINGS).write_bytes(findings)
    with ArchivedCase(folder) as case:
        recompute(case)
    told = progress_of(folder)
    assert told is not None
    (found,) = told["differences"]
    assert (found["kind"], found["from_s"]) == ("alert_gained", t_s)
    assert (told["complete"], told["unreadable"]) == (True, 1)


def test_orders_of_then_are_given_again_and_what_cannot_be_is_told(leak: ArchivedCase, tmp_path: Path) -> None:
    folder = copied(leak, tmp_path / "case")
    zone = {"id": "drawn", "kind": "caution", "polygon_px": [[100, 100], [140, 100], [120, 140]]}
    orders = [
        {"at": "2026-11-30T09:00:02Z", "t_s": 2.0, "by": "ito", "command": {"kind": "phase", "phase": "cement"}},
        {"at": "2026-11-30T09:00:03Z", "t_s": 3.0, "by": "ito", "command": {"kind": "zone", "zone": zone, "pulse": 9}},
        {"at": "2026-11-30T09:00:04Z", "t_s": 4.0, "by": "ito", "command": {"kind": "remove_zone", "id": "drawn"}},
        {"at": "2026-11-30T09:00:05Z", "t_s": 5.0, "by": "ito", "command": {"kind": "phase", "phase": "of tomorrow"}},
        {"at": "2026-11-30T09:00:06Z", "t_s": 6.0, "by": "ito", "command": {"kind": "of tomorrow"}},
    ]
    (folder / COMMANDS).write_text("".join(json.dumps(order) + "\n" for order in orders))
    with ArchivedCase(folder) as case:
        recompute(case)
    now = Recomputed(folder)

    def at(t_s: float) -> tuple[str, set[str]]:
        line = now.findings_at(t_s)
        assert line is not None
        return line["phase"], {zone["id"] for zone in line["zones"]}

    assert at(2.0)[0] == "epidurogram"
    assert at(2.5)[0] == "cement"
    assert "drawn" in at(3.5)[1]
    assert "drawn" not in at(4.5)[1]
    refused = (progress_of(folder) or {})["not_obeyed"]
    assert [words.split(":")[0] for words in refused] == ["at 5.0 s, phase", "at 6.0 s, of tomorrow"]


def test_every_order_of_the_bus_can_be_given_again_or_changes_nothing_that_is_seen(leak: ArchivedCase) -> None:
    kinds = {model.model_fields["kind"].default for model in get_args(get_args(Command)[0])}
    with open_source(str(leak.folder)) as source:
        room = _Room(leak, Settings(), Pipeline(leak.plan, source.info))
    for kind in kinds:
        row = CommandRow.model_validate({"at": "2026-11-30T09:00:00Z", "t_s": 0.0, "by": "", "command": {"kind": kind}})
        # Without its particulars it may fail, but is not unknown.
        with suppress(KeyError, NothingSeenError):
            room._obey(row, _Recorded(leak))


def test_a_case_that_is_being_analysed_is_not_begun_again(leak: ArchivedCase, tmp_path: Path) -> None:
    folder = copied(leak, tmp_path / "case")
    version_folder(folder).mkdir(parents=True)
    with (version_folder(folder) / "lock").open("wb") as lock, ArchivedCase(folder) as case:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(RecomputeError, match="already"):
            recompute(case)


def test_judged_moments_become_a_labelled_data_set(leak: ArchivedCase, tmp_path: Path) -> None:
    folder = copied(leak, tmp_path / "case")
    number, t_s = raised(leak, AlertKind.CEMENT_IN_ZONE)
    judge(folder, Said(alert=number, t_s=t_s, verdict=Verdict.RIGHT), "ito")
    missed = Said(t_s=7.0, verdict=Verdict.MISSED, kind=AlertKind.NEEDLE_NEAR_ZONE, zone="foramen_S1L")
    judge(folder, missed, "ito")
    with ArchivedCase(folder) as case, ZipFile(BytesIO(labels_of(case))) as packed:
        coco = json.loads(packed.read("labels.json"))
        said = packed.read(JUDGEMENTS).decode().splitlines()
        early, late = coco["images"]
        pixels = cv2.imdecode(np.frombuffer(packed.read(late["file_name"]), np.uint8), cv2.IMREAD_UNCHANGED)
        recorded = case.frame(late["frame"]).pixels
    assert len(said) == 2
    assert [image["judgements"][0]["verdict"] for image in (early, late)] == ["missed", "right"]
    assert late["t_s"] == pytest.approx(t_s, abs=1e-6)
    of_late = [one for one in coco["annotations"] if one["image_id"] == late["id"]]
    names = {category["id"]: category["name"] for category in coco["categories"]}
    verdicts = {names[one["category_id"]]: one["verdict"] for one in of_late}
    assert verdicts == {"needle": None, "cement": "right", "nerve_root": None}
    for one in coco["annotations"]:
        x, y, w, h = one["bbox"]
        assert w > 0
        assert h > 0
        for ring in one["segmentation"]:
            assert min(ring[::2]) >= x - 0.02
            assert max(ring[1::2]) <= y + h + 0.02
    assert (pixels[120:160, 120:160] == recorded[120:160, 120:160]).all()
    assert (pixels[:8, :8] == 0).all(), "black beside the x-ray field, where machines write names"
    assert len({one["id"] for one in coco["annotations"]}) == len(coco["annotations"])


def test_a_case_that_nobody_has_judged_has_no_labels(leak: ArchivedCase) -> None:
    with ZipFile(BytesIO(labels_of(leak))) as packed:
        assert json.loads(packed.read("labels.json"))["images"] == []
