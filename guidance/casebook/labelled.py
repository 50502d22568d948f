"""What people have said of a case's alerts, as a labelled data set to improve the software by.

``labels_zip``: COCO, an image for each judged moment, with what the software had found there and what was said of it.
Outlines and points are the software's own: a judgement says of an alert whether it was right, and draws nothing anew.
What of the pictures may be shown is for the caller to say: machines burn names into them.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from io import BytesIO
from typing import Any
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

import numpy as np

import guidance
from drivers.frame import Frame, FrameFlag, Pixels
from guidance.casebook.archive import ArchivedCase, ArchiveError
from guidance.casebook.judgements import Judgement, Verdict, judgements, standing
from guidance.encoded import gray_png
from guidance.records import AlertState
from guidance.wire import AlertMessage, CementMessage, FindingsMessage, NeedleMessage, NerveRootMessage, Polygon

CATEGORIES = (
    {"id": 1, "name": "needle", "supercategory": "instrument", "keypoints": ["tip", "back"], "skeleton": [[1, 2]]},
    {"id": 2, "name": "cement", "supercategory": "finding"},
    {"id": 3, "name": "nerve_root", "supercategory": "finding"},
)
NEEDLE, CEMENT, NERVE_ROOT = (category["id"] for category in CATEGORIES)

NOT_SEEN, COVERED, SEEN = 0, 1, 2
"""COCO's visibility of a keypoint."""

README = """Labelled moments of one case, by people who looked at it afterwards. Research data, not for diagnosis.

labels.json       COCO: an image for each judged moment. "judgements" of an image says what was said of it: right,
                  wrong, late (right, and should have come at its t_s), missed (none came, and should have).
                  Annotations are what the software had found there. "verdict" of one is what was said of the alert
                  that is about it; null: nobody said anything of it, which is not to say that it is right.
                  "left_out": moments without a picture, because it is damaged.
images/           8 or 16 bit gray PNG, lossless but for what is black: all beside the x-ray field, and the text that
                  was found in it. Look at them before you hand them on.
judgements.jsonl  All that was ever said, the oldest first; of the same alert the last line counts.
"""


def labels_zip(case: ArchivedCase, shown: Callable[[Frame], Pixels]) -> bytes:
    """The judged moments of a case, packed: ``labels.json``, ``images/``, ``judgements.jsonl``, ``README.txt``.

    ``shown``: the pixels of a frame, without what must not be handed on.
    """
    said, _ = judgements(case.folder)
    coco: dict[str, Any] = {
        "info": {"description": "judged moments of fluoroscopy", "version": "1", "software": guidance.__version__},
        "licenses": [],
        "categories": list(CATEGORIES),
        "images": [],
        "annotations": [],
        "left_out": [],
    }
    packed = BytesIO()
    with ZipFile(packed, "w", ZIP_DEFLATED) as zipped:
        for number, about in _by_frame(case, standing(said)).items():
            frame, findings = case.frame(number), _findings(case, number)
            if FrameFlag.CORRUPT in frame.flags:
                coco["left_out"].append({"frame": number, "why": "damaged"})
                continue
            name = f"images/{case.id}-{number:06}.png"
            zipped.writestr(name, gray_png(replace(frame, pixels=shown(frame))), ZIP_STORED)
            image_id, first_id = len(coco["images"]) + 1, len(coco["annotations"]) + 1
            coco["images"].append(_image(case, number, name, image_id, about))
            if findings is not None:
                coco["annotations"] += _annotations(findings, image_id, first_id, about, case.alerts)
        zipped.writestr("labels.json", json.dumps(coco, ensure_ascii=False, allow_nan=False, indent=1))
        lines = [json.dumps(one.model_dump(mode="json"), ensure_ascii=False) + "\n" for one in said]
        zipped.writestr("judgements.jsonl", "".join(lines))
        zipped.writestr("README.txt", README)
    return packed.getvalue()


def moment_of(judgement: Judgement, alerts: Iterable[AlertMessage]) -> float:
    """When what is judged is to be seen: an alert as it came; late or missed, when it should have come."""
    if judgement.verdict in (Verdict.RIGHT, Verdict.WRONG):
        raised = [a.t_s for a in alerts if a.id == judgement.alert and a.state is AlertState.RAISED]
        if raised:
            return raised[0]
    return judgement.t_s


def _by_frame(case: ArchivedCase, said: Iterable[Judgement]) -> dict[int, list[Judgement]]:
    found: dict[int, list[Judgement]] = {}
    for one in sorted(said, key=lambda one: moment_of(one, case.alerts)):
        # Half a microsecond: alerts are told to one.
        found.setdefault(case.number_at(moment_of(one, case.alerts) + 5e-7), []).append(one)
    return found


def _findings(case: ArchivedCase, number: int) -> FindingsMessage | None:
    try:
        line = case.findings_at(float(case.times_s[number]))
    except ArchiveError:
        return None
    return None if line is None else FindingsMessage.model_validate(line)


def _image(case: ArchivedCase, number: int, name: str, image_id: int, about: list[Judgement]) -> dict[str, Any]:
    return {
        "id": image_id,
        "file_name": name,
        "width": case.header.width_px,
        "height": case.header.height_px,
        "case": case.id,
        "frame": number,
        "t_s": round(float(case.times_s[number]), 6),
        "judgements": [one.model_dump(mode="json") for one in about],
    }


def _annotations(
    findings: FindingsMessage, image_id: int, first_id: int, about: list[Judgement], alerts: Iterable[AlertMessage]
) -> list[dict[str, Any]]:
    verdicts = _verdicts(about, alerts)
    shapes = [
        *((NEEDLE, needle.id, _needle(needle)) for needle in findings.needles),
        *((CEMENT, deposit.id, _region(deposit)) for deposit in findings.cement),
        *((NERVE_ROOT, root.id, _region(root)) for root in findings.nerve_roots),
    ]
    return [
        {
            "id": first_id + i,
            "image_id": image_id,
            "category_id": category,
            "iscrowd": 0,
            "track_id": number,
            "verdict": verdicts.get((category, number), verdicts.get((category, None))),
            **shape,
        }
        for i, (category, number, shape) in enumerate(shapes)
    ]


def _verdicts(about: Iterable[Judgement], alerts: Iterable[AlertMessage]) -> dict[tuple[Any, int | None], str]:
    """What was said, by what the alert is about: a needle by its number, cement as a whole."""
    by_id = {alert.id: alert for alert in alerts}
    found: dict[tuple[Any, int | None], str] = {}
    for one in about:
        if one.alert is None or one.alert not in by_id:
            continue
        alert = by_id[one.alert]
        kind = str(alert.kind)
        if kind.startswith("needle"):
            found[NEEDLE, alert.needle] = one.verdict.value
        elif kind.startswith("cement"):
            found[CEMENT, None] = one.verdict.value
    return found


def _needle(needle: NeedleMessage) -> dict[str, Any]:
    tip = needle.tip_px
    back = tip if needle.shaft_px is None else needle.shaft_px[1]
    seen = COVERED if needle.tip_hidden or needle.predicted else SEEN
    keypoints = [*tip, seen, *(back if needle.shaft_px is not None else (0, 0)), SEEN if needle.shaft_px else NOT_SEEN]
    half = (needle.diameter_px or 2.0) / 2
    x0, x1 = min(tip[0], back[0]) - half, max(tip[0], back[0]) + half
    y0, y1 = min(tip[1], back[1]) - half, max(tip[1], back[1]) + half
    box = _rounded((x0, y0, x1 - x0, y1 - y0))
    return {
        "bbox": box,
        "area": round(box[2] * box[3], 2),
        "segmentation": [],
        "keypoints": keypoints,
        "num_keypoints": 1 if needle.shaft_px is None else 2,
    }


def _region(region: CementMessage | NerveRootMessage) -> dict[str, Any]:
    rings = [ring for ring in region.polygons_px if len(ring) >= 3]
    points = np.array([point for ring in rings for point in ring]).reshape(-1, 2)
    low, size = (points.min(axis=0), np.ptp(points, axis=0)) if len(points) else (np.zeros(2), np.zeros(2))
    return {
        "bbox": _rounded((*low.tolist(), *size.tolist())),
        "area": round(sum(map(_area, rings)), 2),
        "segmentation": [_rounded(value for point in ring for value in point) for ring in rings],
    }


def _area(ring: Polygon) -> float:
    x, y = np.array(ring).T
    return abs(float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum())) / 2


def _rounded(values: Iterable[float]) -> list[float]:
    return [round(value, 2) for value in values]
