"""What the dashboard remembers of the present case beyond the newest picture: a page that opens late has it too."""

from collections import deque

from guidance.bus.messages import FrameMessage
from guidance.records import FrameState
from guidance.wire import FindingsMessage

VIEWS_KEPT = 6
TREND_STEP_S = 0.5
TRENDS_KEPT = 16
TREND_POINTS = 3600
"""Half an hour; of a longer case the beginning is forgotten."""


class StoredViews:
    """The last live picture of each view of the C-arm, with what was drawn on it."""

    def __init__(self) -> None:
        self._last: dict[int, FrameMessage] = {}
        self._present: FrameMessage | None = None

    def note(self, picture: FrameMessage) -> None:
        """Take in a picture. One that is not live or not recognised shows no view anew."""
        findings = picture.header.findings
        recognised = findings.registration is not None and findings.registration.ok
        if picture.jpeg and findings.state is FrameState.LIVE and recognised:
            # The latest stands last.
            self._last.pop(findings.view_id, None)
            self._last[findings.view_id] = picture
            if len(self._last) > VIEWS_KEPT:
                del self._last[next(iter(self._last))]
        self._present = picture

    @property
    def other(self) -> FrameMessage | None:
        """The latest picture of a view that is not on the screen; None where there has been no other.

        A view that was given a new reference has a new ``view_id``, but is no other one for that.
        """
        if self._present is None:
            return None
        now = self._present.header.findings
        for view_id, picture in reversed(self._last.items()):
            view = picture.header.findings.view
            if view_id != now.view_id and (view is None or view is not now.view):
                return picture
        return None

    def forget(self) -> None:
        self._last.clear()
        self._present = None


class CementTrends:
    """Each deposit's area over time, by view and deposit, a point each half second; those seen last are kept."""

    def __init__(self) -> None:
        self._points: dict[tuple[int, int], deque[tuple[float, float]]] = {}

    def note(self, findings: FindingsMessage) -> None:
        """Take in what is seen on one frame."""
        if findings.state is not FrameState.LIVE:
            return
        for deposit in findings.cement:
            if deposit.area_mm2 is None:
                continue
            points = self._points.setdefault((findings.view_id, deposit.id), deque(maxlen=TREND_POINTS))
            if not points or findings.t_s - points[-1][0] >= TREND_STEP_S:
                points.append((findings.t_s, deposit.area_mm2))
        if len(self._points) > TRENDS_KEPT:
            del self._points[min(self._points, key=lambda name: self._points[name][-1][0])]

    def as_json(self) -> dict[str, list[tuple[float, float]]]:
        """``{"VIEW/DEPOSIT": [[t_s, area_mm2], ...]}``, the oldest point first."""
        return {f"{view_id}/{deposit}": list(points) for (view_id, deposit), points in self._points.items()}

    def forget(self) -> None:
        self._points.clear()
