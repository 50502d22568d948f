"""A judged case as a fixture case with truth: what people have said of its alerts is what the software is held to.

An alert that was judged right or late says that what it tells of was true: a leak from then on, as cement stays; a tip
in a zone or an escape for as long as the alert stood. A missed leak or escape is true from where somebody marked it.
Around an alert that was right, what the software had found there is taken as true as well. Of all else the truth says
nothing, so that tips, outlines and shifts cannot be scored with it; and where a needle's alert was missed, nobody has
said where its tip is: that stands in the labelled moments alone.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from guidance.casebook.archive import ArchivedCase
from guidance.casebook.case import CaseTruth, FrameTruth, Mask, RunLengths, TipTruth, write_case
from guidance.casebook.judgements import Judgement, Verdict, judgements, standing
from guidance.plan import plan_json
from guidance.records import AlertKind, AlertState, FrameState
from guidance.settings import Settings
from guidance.wire import AlertMessage, FindingsMessage, NeedleMessage, Polygon

BEFORE_S, AFTER_S = 1.0, 0.5
"""Around the raising of an alert that was right, what was found is true. An evaluation looks half a second back."""

ESCAPE_LASTS_S = 2.0
"""Of a missed escape nobody says how long it lasts."""

SOURCE_TEXT = """# {id}

A recorded case, as it came, with any text that was burned in. Its truth is what people have said of its alerts: {said}.
It tells of leaks, escapes and needles in zones, and of nothing else (docs/review.md).
"""


class NotJudgedError(ValueError):
    """What is true of a case cannot be said. One line."""


@dataclass(frozen=True, slots=True)
class _Danger:
    """Something that was true from ``from_s`` to ``to_s``. ``told_s``: when its alert came; None: it was missed."""

    kind: str
    zone: str | None
    from_s: float
    to_s: float
    told_s: float | None
    values: tuple[tuple[float, float], ...] = ()

    def holds_at(self, t_s: float) -> bool:
        return self.from_s <= t_s <= self.to_s

    def is_shown_at(self, t_s: float) -> bool:
        """Whether what the software has found then is what its alert, which was right, tells of."""
        return self.told_s is not None and self.told_s - BEFORE_S <= t_s <= self.told_s + AFTER_S

    def value_at(self, t_s: float, least: float) -> float:
        place = bisect_right(self.values, (t_s, np.inf)) - 1
        return least if place < 0 else max(least, self.values[place][1])


def write_judged_case(case: ArchivedCase, out: Path) -> CaseTruth:
    """Write the case with its truth to the folder ``out``, and give the truth back.

    Raises NotJudgedError where an alert about the patient has not been judged, and CaseError where ``out`` cannot be
    written.
    """
    said = standing(judgements(case.folder)[0])
    _require_all_judged(case, said)
    if case.header.bits != 8:
        raise NotJudgedError(f"{case.id}: {case.header.bits} bits a pixel; expected 8, as fixture cases have")
    least_mm2 = Settings().limits(case.plan).cement_in_zone_mm2
    dangers = _dangers(case, said)
    counts = {verdict: sum(one.verdict is verdict for one in said) for verdict in Verdict}
    return write_case(
        out,
        _frames(case, dangers, least_mm2),
        _mm_per_px(case),
        {name: value for name, value in plan_json(case.plan).items() if name != "schema"},
        _expected(dangers),
        SOURCE_TEXT.format(id=case.id, said=", ".join(f"{count} {verdict}" for verdict, count in counts.items())),
    )


def _require_all_judged(case: ArchivedCase, said: Iterable[Judgement]) -> None:
    judged = {one.alert for one in said}
    raised = {alert.id for alert in case.alerts if alert.state is AlertState.RAISED and not alert.technical}
    if left := sorted(raised - judged):
        words = ", ".join(map(str, left))
        raise NotJudgedError(
            f"{case.id}: not judged yet: alert {words}; expected a judgement of each, to say what is true"
        )


def _mm_per_px(case: ArchivedCase) -> float:
    if case.plan.mm_per_px is not None:
        return case.plan.mm_per_px
    for row in reversed(case.timeline):
        line = case.findings_at(row.t_s)
        if line is not None and line["scale"] is not None:
            return float(line["scale"]["mm_per_px"])
    raise NotJudgedError(f"{case.id}: no scale is known; expected one in its plan or of its needle")


def _dangers(case: ArchivedCase, said: Iterable[Judgement]) -> list[_Danger]:
    end_s = float(case.times_s[-1])
    changes: dict[int, list[AlertMessage]] = {}
    for alert in case.alerts:
        changes.setdefault(alert.id, []).append(alert)
    found = []
    for one in said:
        if one.verdict is Verdict.MISSED and one.kind is not None:
            lasts_s = end_s if one.kind is AlertKind.CEMENT_IN_ZONE else one.t_s + ESCAPE_LASTS_S
            found.append(_Danger(one.kind, one.zone, one.t_s, lasts_s, None))
        elif one.alert in changes and one.verdict in (Verdict.RIGHT, Verdict.LATE):
            of_it = changes[one.alert]
            raised = of_it[0]
            from_s = one.t_s if one.verdict is Verdict.LATE else raised.first_seen_t_s or raised.t_s
            over = [alert.t_s for alert in of_it if alert.state is AlertState.CLEARED]
            stays = raised.kind is AlertKind.CEMENT_IN_ZONE or not over
            values = tuple((alert.t_s, alert.value) for alert in of_it if alert.state is AlertState.RAISED)
            found.append(
                _Danger(str(raised.kind), raised.zone, from_s, end_s if stays else over[0], raised.t_s, values)
            )
    return found


def _expected(dangers: Iterable[_Danger]) -> Mapping[str, Any]:
    """Everything that was true is to be found, and nothing of high priority that was not."""
    shares = {
        AlertKind.CEMENT_IN_ZONE: "leaks_found_share",
        AlertKind.CEMENT_ESCAPE: "escapes_found_share",
        AlertKind.NEEDLE_IN_ZONE: "breaches_found_share",
    }
    known = {danger.kind for danger in dangers if danger.kind != AlertKind.NEEDLE_IN_ZONE or danger.told_s is not None}
    return {"false_high_alerts": 0, **{share: 1 for kind, share in shares.items() if kind in known}}


def _frames(case: ArchivedCase, dangers: Sequence[_Danger], least_mm2: float) -> Iterator[tuple[Mask, FrameTruth]]:
    rows, next_row = case.timeline, 0
    findings: FindingsMessage | None = None
    for number in range(len(case)):
        t_s = round(float(case.times_s[number]), 6)
        stale = False
        while next_row < len(rows) and rows[next_row].t_s <= t_s + 1e-6:
            next_row, stale = next_row + 1, True
        if stale:
            findings = FindingsMessage.model_validate(case.findings_at(rows[next_row - 1].t_s))
        pixels: Any = case.frame(number).pixels
        yield pixels, _truth(number, t_s, findings, dangers, least_mm2, pixels.shape)


def _truth(
    number: int,
    t_s: float,
    findings: FindingsMessage | None,
    dangers: Sequence[_Danger],
    least_mm2: float,
    shape: tuple[int, int],
) -> FrameTruth:
    true = [danger for danger in dangers if danger.holds_at(t_s)]
    told: dict[str, Any] = {
        "frame": number,
        "t_s": t_s,
        "pulse": 0 if findings is None else findings.pulse,
        "state": FrameState.LIVE if findings is None else findings.state,
        "held": findings is not None and findings.state is FrameState.HELD,
        "phase": "baseline" if findings is None else findings.phase,
        "view": None if findings is None else findings.view,
        "shift_px": None,
        "rotation_deg": None,
        "leak_mm2": {d.zone: d.value_at(t_s, least_mm2) for d in _of(true, AlertKind.CEMENT_IN_ZONE) if d.zone},
        "tip_in_zone": {d.zone: True for d in _of(true, AlertKind.NEEDLE_IN_ZONE) if d.zone},
        "escape": any(_of(true, AlertKind.CEMENT_ESCAPE)),
    }
    if findings is not None and any(danger.is_shown_at(t_s) for danger in dangers):
        told |= _as_found(findings, shape)
    elif findings is not None and told["tip_in_zone"]:
        told["tips"] = _tips(findings)
    return FrameTruth.model_validate(told)


def _of(dangers: Iterable[_Danger], kind: AlertKind) -> Iterator[_Danger]:
    return (danger for danger in dangers if danger.kind == kind)


def _as_found(findings: FindingsMessage, shape: tuple[int, int]) -> dict[str, Any]:
    """All that the software had found, as the truth."""
    told: dict[str, Any] = {
        "tips": _tips(findings),
        "zones": {zone.id: tuple(zone.polygon_px) for zone in findings.zones},
    }
    if findings.cement:
        told["cement"] = _mask((ring for deposit in findings.cement for ring in deposit.polygons_px), shape)
    if findings.nerve_roots:
        told["roots"] = _mask((ring for root in findings.nerve_roots for ring in root.polygons_px), shape)
    return told


def _tips(findings: FindingsMessage) -> tuple[TipTruth, ...]:
    return tuple(_tip(needle) for needle in findings.needles if needle.shaft_px is not None)


def _tip(needle: NeedleMessage) -> TipTruth:
    assert needle.shaft_px is not None
    is_seen = not needle.predicted and not needle.tip_hidden
    return TipTruth(id=needle.id, tip_px=needle.tip_px, back_px=needle.shaft_px[1], visible=is_seen)


def _mask(rings: Iterable[Polygon], shape: tuple[int, int]) -> RunLengths:
    mask = np.zeros(shape, np.uint8)
    cv2.fillPoly(mask, [np.round(np.array(ring)).astype(np.int32) for ring in rings if len(ring) >= 3], 255)
    return RunLengths.of(mask)
