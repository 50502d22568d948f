"""Findings and thresholds in, conditions out: what is wrong on this frame.

A rule never decides whether to alarm: persistence, escalation and release belong to ``alarms``. To add a rule, write
a generator that yields conditions and name it in ``RULES``.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import dist, inf

import numpy as np

from guidance.records import (
    AlertKind,
    CementDeposit,
    Condition,
    Findings,
    FrameState,
    Needle,
    PointPx,
    PolygonPx,
    Priority,
    Zone,
    ZoneKind,
)
from guidance.safety.limits import AlarmTiming, Limits
from guidance.safety.shapes import DRAWN_BESIDE_PX, deepest_corner, depth_in_px, gap_px, gap_to_line_px, overlap_px2

APPROACH_MM = 0.2
"""A tip is going towards a zone when it has come this much nearer than it has been: above a still tip's jitter."""

CLOSING_WINDOW_S = 1.0
CLOSING_PULSES = 4
"""Cement's approach is measured over this long and at least this many pulses: an edge flickers by half a pixel."""

CLOSING_SETTLED_S = 1.0
"""So long after its first outline a deposit still comes out of the noise, which looks like a fast approach; and so
long after it was held, its outline catches up."""

FORESEEN_MM = 6.0
"""An arrival is foreseen from no farther off: beyond, only what outruns foresight would be in time, see escapes."""

ESCAPE_PULSES = 2
"""A run seen on so many pulses in a row has been there, whatever noise hides of it later. One pulse is never enough."""

ESCAPE_LOG_RATIO = 4.0
"""So likely, 55 times on a pulse on average, runs are from their second pulse on, faint ones too; specks of noise that
chance to line up ahead of a deposit's lobe stay at about 20 times."""

FRONT_MM = 5.0
"""A run has one front. From pulse to pulse it is found again so near, and as much farther as the run has grown longer
since, a chord being no longer than its arc; specks of noise that chance to line up do so elsewhere each time."""

APART_S = 0.4
"""A front is looked for again for so long where another one was told in between: of two runs the faster one is told."""

RUN_WIDTH_MM = 1.0
"""Veins and fracture lines are 1 to 4 mm wide: as much of a zone a run covers at least for each millimetre in it."""

TIP_ERROR_MM = 0.75
"""One tip in twenty lies farther than this from where it is told, and in a stroke the picture trails the needle: what
is told so near a zone may be in it."""

TRUSTED_NEEDLE = 0.5
"""A tip less likely than this is shown but does not alarm."""

SIGHTED_GAIN, MISSED_LOSS = 0.35, 1.5
"""A needle is found on at least 92 % of the pulses, also at 0.6 µR; what only looks like one at times, a bone's edge or
a clamp's arm, on some 65 %: ln(92/65) and ln(8/35) are what a pulse says for and against it."""
STEADY_FROM, LOST_AT, STEADIEST = 3.5, 0.0, 6.0
"""Steady, thirty times likelier a needle than not: after ten sightings in a row (a sequential probability ratio test;
Wald, 1945). It stays so until less than one sighting is left of that, after four pulses without it at the latest."""
FIRST_LOOK_S = 0.5
"""What is seen so soon after its view first was is taken for steady: nobody could have seen it come. What comes later
is trusted until it is missed for the first time."""


@dataclass(frozen=True, slots=True, eq=False)
class _Gap:
    """How a deposit lay to a zone on one pulse."""

    t_s: float
    mm: float
    rings_px: tuple[PolygonPx, ...]
    zone_px: PolygonPx


@dataclass(frozen=True, slots=True)
class _Escape:
    """A run since it was fast: on how many pulses it has been seen, how surely, and its greatest length and speed.

    ``front_px`` and ``front_mm``: where it was last told, as the anatomy lay on the reference frame, and how far from
    its deposit along the run. ``is_alone``: no other front was
    being followed when it was first told.
    """

    pulses: int
    run_mm: float
    mm_per_s: float
    log_ratios: float
    front_px: PointPx
    front_mm: float
    t_s: float
    is_alone: bool

    @property
    def is_sure(self) -> bool:
        """Whether its pulses together speak for it."""
        return self.pulses >= ESCAPE_PULSES and self.log_ratios >= ESCAPE_LOG_RATIO * self.pulses

    def may_alarm(self, t_s: float) -> bool:
        """Whether it is a condition; a first pulse is one, because an alert waits for the second."""
        return self.is_sure or (self.pulses < ESCAPE_PULSES and self.is_alone and self.t_s == t_s)

    def goes_on_at(self, front_px: PointPx, run_mm: float, mm_per_px: float) -> bool:
        """Whether a front told there, at the end of a run so long, is its own."""
        reach_mm = FRONT_MM + max(0.0, run_mm - self.front_mm)
        return dist(front_px, self.front_px) * mm_per_px <= reach_mm


@dataclass(slots=True)
class _Steadiness:
    """How surely something that is called a needle is one, by how regularly it is seen."""

    log_ratio: float
    is_steady: bool

    def note(self, is_sighted: bool) -> None:
        """Take in a pulse."""
        gain = SIGHTED_GAIN if is_sighted else -MISSED_LOSS
        self.log_ratio = min(STEADIEST, max(LOST_AT, self.log_ratio + gain))
        self.is_steady = self.log_ratio >= (LOST_AT + SIGHTED_GAIN if self.is_steady else STEADY_FROM)


Key = tuple[AlertKind, str | None, int | None, int | None, str | None]
"""Kind, zone, needle, root and subject: what makes two conditions the same one."""

LONGEST_STEP_S = 10.0
"""No two frames are farther apart: a longer step, or one backwards, is a clock that was set."""


@dataclass(slots=True)
class History:
    """What the rules remember from frame to frame."""

    view_since_s: dict[int, float] = field(default_factory=dict)
    """When each view was first seen."""
    steadiness: dict[int, _Steadiness] = field(default_factory=dict)
    """Of each needle that has been told."""
    farthest_mm: dict[tuple[int, str], float] = field(default_factory=dict)
    """How far each tip has recently been from each zone, decaying towards where it is."""
    followed_since_s: dict[tuple[int, int], float] = field(default_factory=dict)
    """For each view and deposit, since when its outline has been seen on every pulse."""
    gaps: dict[tuple[int, int, str], tuple["_Gap", ...]] = field(default_factory=dict)
    """For each view, deposit and zone, how it lately lay to it."""
    escapes: dict[tuple[int, int], tuple["_Escape", ...]] = field(default_factory=dict)
    """For each view and deposit, the runs through which cement seems to escape, or has."""
    run_depths_mm: dict[tuple[int, int, str], float] = field(default_factory=dict)
    """For each view, deposit and zone, how deep the front of its run has come into the zone; negative: still before."""
    lasted_s: dict[FrameState | str, float] = field(default_factory=dict)
    """How long each technical trouble has lasted."""
    told: frozenset[Key] = frozenset()
    """What has alarmed and is not over: it is over only well beyond its threshold, so that nothing flickers."""
    t_s: float | None = None
    """When the last frame came."""
    clinical: tuple[Condition, ...] = ()
    """What the last new pulse showed: a frame that repeats it shows the same."""
    pulse: int = -1


@dataclass(frozen=True, slots=True)
class Assessment:
    """What is wrong, and how much of the picture the answer covers.

    ``new_pulse``: the clinical conditions were looked at afresh. ``watched``: zones and roots could be trusted.
    """

    conditions: tuple[Condition, ...]
    new_pulse: bool
    watched: bool


def assess(findings: Findings, limits: Limits, timing: AlarmTiming, history: History) -> Assessment:
    """What is wrong on this frame. ``history`` is brought up to date."""
    new_pulse = findings.state is FrameState.LIVE and findings.pulse != history.pulse
    watched = findings.registration is not None and findings.registration.ok
    if new_pulse:
        history.pulse = findings.pulse
        _note_needles(findings, history)
        _note_runs(findings, limits, history)
        history.clinical = tuple(condition for rule in RULES for condition in rule(findings, limits, history))
    step_s = seconds_between(history.t_s, findings.t_s)
    history.t_s = findings.t_s
    technical = tuple(_technical(findings, limits, timing, history, step_s))
    return Assessment(history.clinical + technical, new_pulse, watched)


def key_of(condition: Condition) -> Key:
    """What makes two conditions the same one."""
    return (condition.kind, condition.zone, condition.needle, condition.root, condition.subject)


def seconds_between(before_s: float | None, now_s: float) -> float:
    """How long lies between two frames, whatever was done to the clock that stamped them."""
    return 0.0 if before_s is None else min(max(0.0, now_s - before_s), LONGEST_STEP_S)


def _note_needles(findings: Findings, history: History) -> None:
    """Bring up to date how regularly each needle is seen; while no view is known that tells nothing."""
    if not _trusted(findings):
        return
    is_first_look = findings.t_s - history.view_since_s.setdefault(findings.view_id, findings.t_s) <= FIRST_LOOK_S
    for needle in findings.needles:
        new = _Steadiness(STEADY_FROM if is_first_look else LOST_AT, is_steady=True)
        history.steadiness.setdefault(needle.id, new).note(not needle.predicted)


def _cement_and_zones(findings: Findings, limits: Limits, history: History) -> Iterator[Condition]:
    for deposit in findings.cement:
        name = (findings.view_id, deposit.id)
        if deposit.is_held or name not in history.followed_since_s:
            history.followed_since_s[name] = findings.t_s
    mm = _mm_per_px(findings)
    for zone in _watched_zones(findings, ZoneKind.FORBIDDEN, ZoneKind.CAUTION):
        gaps_px = [gap_px(deposit.polygons_px, zone.polygon_px) for deposit in findings.cement]
        touching = (deposit for deposit, gap in zip(findings.cement, gaps_px, strict=True) if gap <= DRAWN_BESIDE_PX)
        inside_mm2 = sum(overlap_px2(deposit.polygons_px, zone.polygon_px) for deposit in touching) * mm**2
        inside_mm2 = max(inside_mm2, RUN_WIDTH_MM * _deepest_run_mm(findings, zone, history))
        is_told = (AlertKind.CEMENT_IN_ZONE, zone.id, None, None, None) in history.told
        breach_mm2 = limits.cement_in_zone_mm2 * (limits.release_share if is_told else 1.0)
        if zone.kind is ZoneKind.FORBIDDEN and inside_mm2 >= breach_mm2:
            yield Condition(
                AlertKind.CEMENT_IN_ZONE,
                Priority.HIGH,
                inside_mm2,
                "mm2",
                f"Cement in {_name(zone)}: {inside_mm2:.1f} mm²",
                zone=zone.id,
            )
            continue
        near_mm = _nearest_cement_mm([gap * mm for gap in gaps_px], findings, zone, limits, history)
        if near_mm is not None:
            where = f"Cement at {_name(zone)}" if near_mm == 0 else f"Cement {near_mm:.1f} mm from {_name(zone)}"
            yield Condition(AlertKind.CEMENT_NEAR_ZONE, Priority.MEDIUM, near_mm, "mm", where, zone=zone.id)


def _nearest_cement_mm(
    gaps_mm: list[float], findings: Findings, zone: Zone, limits: Limits, history: History
) -> float | None:
    """How far the nearest cement is from the zone, where that is near or soon will be; None where it is not.

    ``gaps_mm``: how far each deposit is from it.
    """
    nearest_mm, arrives = inf, False
    for deposit, gap_mm in zip(findings.cement, gaps_mm, strict=True):
        nearest_mm = min(nearest_mm, gap_mm)
        arrives = _arrives(deposit, zone, gap_mm, findings, limits, history) or arrives
    if zone.kind is ZoneKind.CAUTION:
        return nearest_mm if nearest_mm == 0 else None
    nearest_mm = min(nearest_mm, max(0.0, -_deepest_run_mm(findings, zone, history)))
    is_told = (AlertKind.CEMENT_NEAR_ZONE, zone.id, None, None, None) in history.told
    near_mm = limits.cement_near_zone_mm + (limits.release_mm if is_told else 0.0)
    return nearest_mm if arrives or nearest_mm <= near_mm else None


def _deepest_run_mm(findings: Findings, zone: Zone, history: History) -> float:
    """How deep the front of a run has come into the zone; negative: how far it is from it."""
    names = ((findings.view_id, deposit.id, zone.id) for deposit in findings.cement)
    return max((history.run_depths_mm.get(name, -inf) for name in names), default=-inf)


def _arrives(
    deposit: CementDeposit, zone: Zone, gap_mm: float, findings: Findings, limits: Limits, history: History
) -> bool:
    """Whether a deposit, going on as over the last moments, soon reaches the zone; False until that can be told.

    The slower half of the time counts: a deposit that fills up comes fast and slows down. And its foremost point
    must be going where the zone is: a run may come nearer and pass by.
    """
    if findings.t_s - history.followed_since_s[findings.view_id, deposit.id] < CLOSING_SETTLED_S:
        return False
    key = (findings.view_id, deposit.id, zone.id)
    past = [gap for gap in history.gaps.get(key, ()) if findings.t_s - gap.t_s <= CLOSING_WINDOW_S]
    past.append(_Gap(findings.t_s, gap_mm, deposit.polygons_px, zone.polygon_px))
    history.gaps[key] = tuple(past)
    if len(past) <= CLOSING_PULSES:
        return False
    first, middle, last = past[0], past[len(past) // 2], past[-1]
    mm_per_s = min((a.mm - b.mm) / (b.t_s - a.t_s) for a, b in ((first, middle), (middle, last)))
    within_mm = min(mm_per_s * limits.cement_arrival_s, FORESEEN_MM)
    return gap_mm <= within_mm and _heads_for(middle, last, findings, limits)


def _heads_for(before: _Gap, now: _Gap, findings: Findings, limits: Limits) -> bool:
    """Whether cement's nearest point, going on as it has, comes near the zone. Both are taken relative to the zone."""
    tip, tip_before = (deepest_corner(gap.rings_px, gap.zone_px) for gap in (now, before))
    way = (tip - now.zone_px.mean(axis=0)) - (tip_before - before.zone_px.mean(axis=0))
    ahead = way * (limits.cement_arrival_s / (now.t_s - before.t_s))
    line = np.stack([tip, tip + ahead])
    return gap_to_line_px((now.zone_px,), line) * _mm_per_px(findings) <= limits.cement_near_zone_mm


def _cement_escapes(findings: Findings, limits: Limits, history: History) -> Iterator[Condition]:
    """A thin run that was fast once, told with its greatest length and speed.

    It stays a condition once a second pulse has shown it: cement that has left the bone does not come back.
    """
    of_deposits = (history.escapes.get((findings.view_id, deposit.id), ()) for deposit in findings.cement)
    escapes = [escape for followed in of_deposits for escape in followed if escape.may_alarm(findings.t_s)]
    if escapes:
        worst = max(escapes, key=lambda escape: escape.run_mm)
        text = f"Cement escapes in a thin run of {worst.run_mm:.0f} mm, {worst.mm_per_s:.0f} mm/s"
        yield Condition(AlertKind.CEMENT_ESCAPE, Priority.HIGH, worst.mm_per_s, "mm/s", text)


def _note_runs(findings: Findings, limits: Limits, history: History) -> None:
    """Bring up to date which runs there are and how their fronts lie to the zones.

    A run is followed through noise in which it cannot be outlined yet, so its front tells of a zone first.
    """
    for deposit in findings.cement:
        name = (findings.view_id, deposit.id)
        escapes = _escapes_of(deposit, history.escapes.pop(name, ()), findings, limits)
        if not escapes:
            history.run_depths_mm = {key: mm for key, mm in history.run_depths_mm.items() if key[:2] != name}
            continue
        history.escapes[name] = escapes
        newest = escapes[0]
        if deposit.front_px is None or newest.t_s < findings.t_s or not newest.may_alarm(findings.t_s):
            continue
        for zone in _watched_zones(findings, ZoneKind.FORBIDDEN):
            depth_mm = depth_in_px(deposit.front_px, zone.polygon_px) * _mm_per_px(findings)
            history.run_depths_mm[*name, zone.id] = max(depth_mm, history.run_depths_mm.get((*name, zone.id), -inf))


def _escapes_of(
    deposit: CementDeposit, before: tuple[_Escape, ...], findings: Findings, limits: Limits
) -> tuple[_Escape, ...]:
    """The escapes from a deposit with what this pulse shows of them, the one that it shows first."""
    speed = deposit.front_mm_per_s or 0.0
    if deposit.run_mm is None or deposit.front_px is None or deposit.is_held:
        return tuple(escape for escape in before if escape.is_sure)
    before = tuple(escape for escape in before if escape.is_sure or findings.t_s - escape.t_s <= APART_S)
    front_px = _on_reference(deposit.front_px, findings)
    mm = _mm_per_px(findings)
    own = next((escape for escape in before if escape.goes_on_at(front_px, deposit.run_mm, mm)), None)
    if own is None:
        if speed < limits.cement_escape_mm_per_s:
            return before
        is_alone = all(escape.is_sure for escape in before)
        log_ratio, length_mm = deposit.run_log_ratio, deposit.run_mm
        new = _Escape(1, length_mm, speed, log_ratio, front_px, length_mm, findings.t_s, is_alone)
        return (new, *before)
    others = tuple(escape for escape in before if escape is not own)
    seen = _Escape(
        own.pulses + 1,
        max(own.run_mm, deposit.run_mm),
        max(own.mm_per_s, speed),
        # A run that has once been sure and comes to rest has been there all the same.
        own.log_ratios + max(deposit.run_log_ratio, ESCAPE_LOG_RATIO if own.is_sure else 0.0),
        front_px,
        deposit.run_mm,
        findings.t_s,
        own.is_alone,
    )
    return (seen, *others)


def _on_reference(at_px: PointPx, findings: Findings) -> PointPx:
    """Where a point of this frame lay on the reference frame, but for small turns."""
    dx, dy = (0.0, 0.0) if findings.registration is None else findings.registration.shift_px
    return at_px[0] - dx, at_px[1] - dy


def _cement_and_roots(findings: Findings, limits: Limits, history: History) -> Iterator[Condition]:
    if not _trusted(findings):
        return
    mm = _mm_per_px(findings)
    for root in findings.nerve_roots:
        gaps = [
            min(gap_px(deposit.polygons_px, ring) for ring in root.polygons_px) * mm
            for deposit in findings.cement
            if root.polygons_px
        ]
        near_mm = min(gaps, default=None)
        is_told = (AlertKind.CEMENT_NEAR_ROOT, None, None, root.id, None) in history.told
        within_mm = limits.cement_near_root_mm + (limits.release_mm if is_told else 0.0)
        if near_mm is not None and near_mm <= within_mm:
            text = f"Cement {near_mm:.1f} mm from nerve root {root.id}"
            yield Condition(AlertKind.CEMENT_NEAR_ROOT, Priority.MEDIUM, near_mm, "mm", text, root=root.id)


def _needles_and_zones(findings: Findings, limits: Limits, history: History) -> Iterator[Condition]:
    mm = _mm_per_px(findings)
    for zone in _watched_zones(findings, ZoneKind.FORBIDDEN):
        for needle in _trusted_needles(findings, history):
            depth_mm = depth_in_px(needle.tip_px, zone.polygon_px) * mm
            is_told = (AlertKind.NEEDLE_IN_ZONE, zone.id, needle.id, None, None) in history.told
            if depth_mm >= -TIP_ERROR_MM - (limits.release_mm if is_told else 0.0):
                inside = f"in {_name(zone)}: {depth_mm:.1f} mm past its edge"
                text = f"Needle {needle.id} {inside if depth_mm >= 0 else f'at the edge of {_name(zone)}'}"
                yield Condition(
                    AlertKind.NEEDLE_IN_ZONE,
                    Priority.HIGH,
                    max(0.0, depth_mm),
                    "mm",
                    text,
                    zone=zone.id,
                    needle=needle.id,
                )
            elif _approaches(needle, zone, -depth_mm, history) and -depth_mm <= _needle_near_mm(
                needle, zone, limits, history
            ):
                text = f"Needle {needle.id} {-depth_mm:.1f} mm from {_name(zone)} and advancing"
                yield Condition(
                    AlertKind.NEEDLE_NEAR_ZONE,
                    Priority.MEDIUM,
                    -depth_mm,
                    "mm",
                    text,
                    zone=zone.id,
                    needle=needle.id,
                )


def _needle_near_mm(needle: Needle, zone: Zone, limits: Limits, history: History) -> float:
    is_told = (AlertKind.NEEDLE_NEAR_ZONE, zone.id, needle.id, None, None) in history.told
    return limits.needle_near_zone_mm + (limits.release_mm if is_told else 0.0)


def _needles_and_roots(findings: Findings, limits: Limits, history: History) -> Iterator[Condition]:
    if not _trusted(findings):
        return
    mm = _mm_per_px(findings)
    for root in findings.nerve_roots:
        for needle in _trusted_needles(findings, history):
            gap_mm = min(max(0.0, -depth_in_px(needle.tip_px, ring)) for ring in root.polygons_px) * mm
            is_told = (AlertKind.NEEDLE_NEAR_ROOT, None, needle.id, root.id, None) in history.told
            if gap_mm <= limits.needle_near_root_mm + (limits.release_mm if is_told else 0.0):
                text = f"Needle {needle.id} {gap_mm:.1f} mm from nerve root {root.id}"
                yield Condition(
                    AlertKind.NEEDLE_NEAR_ROOT,
                    Priority.MEDIUM,
                    gap_mm,
                    "mm",
                    text,
                    needle=needle.id,
                    root=root.id,
                )


Rule = Callable[[Findings, Limits, History], Iterator[Condition]]

RULES: tuple[Rule, ...] = (
    _cement_and_zones,
    _cement_escapes,
    _cement_and_roots,
    _needles_and_zones,
    _needles_and_roots,
)


def _technical(
    findings: Findings, limits: Limits, timing: AlarmTiming, history: History, step_s: float
) -> Iterator[Condition]:
    """Troubles of video and analysis, once they have lasted beyond their grace time."""
    troubles = (
        (FrameState.NO_SIGNAL, AlertKind.VIDEO_LOST, timing.lost_grace_s, "No video signal"),
        (FrameState.FROZEN, AlertKind.VIDEO_FROZEN, timing.frozen_grace_s, "Video is frozen"),
        (FrameState.CORRUPT, AlertKind.VIDEO_CORRUPT, timing.corrupt_grace_s, "Video is damaged"),
    )
    for state, kind, grace_s, words in troubles:
        lasted_s = _lasted_s(state, findings.state is state, step_s, history)
        if lasted_s is not None and lasted_s >= grace_s:
            why = "" if findings.input_fault is None else f": {findings.input_fault}"
            yield Condition(kind, Priority.HIGH, lasted_s, "s", f"{words} for {lasted_s:.1f} s{why}")
    lost = findings.registration is not None and not findings.registration.ok
    lasted_s = _lasted_s("reference", lost, step_s, history)
    if lasted_s is not None and lasted_s >= timing.reference_grace_s:
        text = f"Anatomy not recognised for {lasted_s:.1f} s: zones are not watched"
        yield Condition(AlertKind.REFERENCE_LOST, Priority.MEDIUM, lasted_s, "s", text)
    is_told = (AlertKind.ANALYSIS_BEHIND, None, None, None, None) in history.told
    behind_ms = limits.behind_ms * (limits.release_share if is_told else 1.0)
    behind = findings.latency_ms is not None and findings.latency_ms > behind_ms
    lasted_s = _lasted_s("analysis", behind, step_s, history)
    if findings.latency_ms is not None and lasted_s is not None and lasted_s >= timing.behind_grace_s:
        text = f"Analysis is {findings.latency_ms:.0f} ms behind the picture"
        yield Condition(AlertKind.ANALYSIS_BEHIND, Priority.MEDIUM, findings.latency_ms, "ms", text)


def _lasted_s(trouble: FrameState | str, present: bool, step_s: float, history: History) -> float | None:
    if not present:
        history.lasted_s.pop(trouble, None)
        return None
    # Counted from the first frame that shows it; added up, because a clock that is set would make it hours or none.
    history.lasted_s[trouble] = history.lasted_s[trouble] + step_s if trouble in history.lasted_s else 0.0
    return history.lasted_s[trouble]


def _approaches(needle: Needle, zone: Zone, gap_mm: float, history: History) -> bool:
    """Whether the tip has come nearer to the zone than it has lately been."""
    key = (needle.id, zone.id)
    farthest = max(gap_mm, history.farthest_mm.get(key, gap_mm))
    # Forget slowly: a needle that rests for some seconds beside a zone is no longer going towards it.
    history.farthest_mm[key] = farthest + (gap_mm - farthest) * 0.1
    return farthest - gap_mm >= APPROACH_MM


def _watched_zones(findings: Findings, *kinds: ZoneKind) -> Iterator[Zone]:
    if _trusted(findings):
        yield from (zone for zone in findings.zones if zone.kind in kinds)


def _trusted_needles(findings: Findings, history: History) -> Iterator[Needle]:
    for needle in findings.needles:
        is_likely = not needle.predicted and needle.confidence >= TRUSTED_NEEDLE
        if is_likely and history.steadiness[needle.id].is_steady:
            yield needle


def _trusted(findings: Findings) -> bool:
    return findings.registration is not None and findings.registration.ok


def _mm_per_px(findings: Findings) -> float:
    # The pipeline always gives a scale with a picture, at worst one assumed from the field's size.
    assert findings.scale is not None
    return findings.scale.mm_per_px


def _name(zone: Zone) -> str:
    return zone.id.replace("_", " ")
