"""In what two analyses of the same case differ: alerts gained, lost and moved, areas of cement, tips of needles."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from math import dist
from typing import Any

from guidance.records import AlertState, FrameState
from guidance.wire import AlertMessage, FindingsMessage

LEAST_MM2 = 4.0
"""What a leak's alert takes: less is not worth a line. Of large deposits more: ``SHARE``."""

SHARE = 0.1
LEAST_TIP_MM = 2.0
"""Two thirds of the distance at which a tip alarms."""

LEAST_TIP_PX = 8.0
"""The same where no scale is known."""

MOVED_S = 0.2
"""An alert that comes so much earlier or later: three pulses at 15 a second, which is what it takes to raise one."""

SAME_ALERT_S = 5.0
"""The same kind of alert for the same place, so near in time, is the same one, moved."""

GAP_S = 1.0
"""Differences of the same thing that lie no farther apart are told as one."""


class DifferenceKind(StrEnum):
    ALERT_GAINED = "alert_gained"
    ALERT_LOST = "alert_lost"
    ALERT_MOVED = "alert_moved"
    CEMENT_AREA = "cement_area"
    NEEDLE_TIP = "needle_tip"
    NEEDLE_COUNT = "needle_count"


@dataclass(frozen=True, slots=True)
class Difference:
    """``from_s`` to ``to_s``: where in the case."""

    kind: DifferenceKind
    from_s: float
    to_s: float
    text: str

    def as_json(self) -> dict[str, Any]:
        """As the page takes it."""
        return {"kind": self.kind.value, "from_s": self.from_s, "to_s": self.to_s, "text": self.text}


def alert_differences(then: Iterable[AlertMessage], now: Iterable[AlertMessage]) -> list[Difference]:
    """Alerts that only one of two analyses raised, and those that came at another time."""
    before = [alert for alert in then if alert.state is AlertState.RAISED]
    found: list[Difference] = []
    for alert in [alert for alert in now if alert.state is AlertState.RAISED]:
        same = [a for a in before if _place(a) == _place(alert) and abs(a.t_s - alert.t_s) <= SAME_ALERT_S]
        if not same:
            found.append(Difference(DifferenceKind.ALERT_GAINED, alert.t_s, alert.t_s, f"only now: {alert.text}"))
            continue
        old = min(same, key=lambda a: abs(a.t_s - alert.t_s))
        before.remove(old)
        by_s = alert.t_s - old.t_s
        if abs(by_s) > MOVED_S:
            words = f"{abs(by_s):.1f} s {'later' if by_s > 0 else 'earlier'} now: {alert.text}"
            from_s, to_s = min(old.t_s, alert.t_s), max(old.t_s, alert.t_s)
            found.append(Difference(DifferenceKind.ALERT_MOVED, from_s, to_s, words))
    found += [Difference(DifferenceKind.ALERT_LOST, a.t_s, a.t_s, f"not any more: {a.text}") for a in before]
    return sorted(found, key=lambda one: one.from_s)


def _place(alert: AlertMessage) -> tuple[str, str | None]:
    """What an alert is about. Each analysis counts needles and roots anew, so that their numbers do not tell."""
    return str(alert.kind), alert.zone


@dataclass(slots=True)
class _Span:
    from_s: float
    to_s: float
    most: float
    words: str


@dataclass(slots=True)
class FindingsDifferences:
    """Gathers in what the findings of two analyses differ, frame by frame; ``found`` at the end."""

    _open: dict[DifferenceKind, _Span] = field(default_factory=dict)
    _done: list[Difference] = field(default_factory=list)

    def note(self, then: FindingsMessage, now: FindingsMessage) -> None:
        """Compare two looks at the same frame. One that is not live repeats what was seen before, and says nothing."""
        if then.state is not FrameState.LIVE or now.state is not FrameState.LIVE:
            return
        for kind, amount, words in _of_one(then, now):
            span = self._open.get(kind)
            if span is not None and now.t_s - span.to_s > GAP_S:
                self._close(kind)
                span = None
            if span is None:
                self._open[kind] = _Span(now.t_s, now.t_s, amount, words)
                continue
            span.to_s = now.t_s
            if amount > span.most:
                span.most, span.words = amount, words

    def found(self) -> list[Difference]:
        """All of them, in order."""
        for kind in list(self._open):
            self._close(kind)
        return sorted(self._done, key=lambda one: one.from_s)

    def _close(self, kind: DifferenceKind) -> None:
        span = self._open.pop(kind)
        self._done.append(Difference(kind, span.from_s, span.to_s, span.words))


def _of_one(then: FindingsMessage, now: FindingsMessage) -> Iterator[tuple[DifferenceKind, float, str]]:
    """Each kind of difference between two looks at one frame: how large, and in words."""
    areas = _area_mm2(then), _area_mm2(now)
    if abs(areas[1] - areas[0]) > max(LEAST_MM2, SHARE * areas[0]):
        words = f"cement {areas[0]:.0f} mm² then, {areas[1]:.0f} mm² now"
        yield DifferenceKind.CEMENT_AREA, abs(areas[1] - areas[0]), words
    tips = [needle.tip_px for needle in then.needles], [needle.tip_px for needle in now.needles]
    if len(tips[0]) != len(tips[1]):
        words = f"{len(tips[0])} needles then, {len(tips[1])} now"
        yield DifferenceKind.NEEDLE_COUNT, abs(len(tips[0]) - len(tips[1])), words
    elif tips[0]:
        apart_px = max(_nearest_px(tip, tips[1]) for tip in tips[0])
        scale = now.scale or then.scale
        if scale is not None and apart_px * scale.mm_per_px > LEAST_TIP_MM:
            yield DifferenceKind.NEEDLE_TIP, apart_px, f"a tip lies {apart_px * scale.mm_per_px:.1f} mm apart"
        elif scale is None and apart_px > LEAST_TIP_PX:
            yield DifferenceKind.NEEDLE_TIP, apart_px, f"a tip lies {apart_px:.0f} px apart"


def _area_mm2(findings: FindingsMessage) -> float:
    return sum(deposit.area_mm2 or 0.0 for deposit in findings.cement)


def _nearest_px(tip: tuple[float, float], others: Sequence[tuple[float, float]]) -> float:
    return min(dist(tip, other) for other in others)
