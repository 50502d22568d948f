"""The report of one case: what was seen and told of it, as one record that HTML and PDF are both made of."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import guidance
from drivers.frame import FrameFlag
from guidance.casebook.archive import ArchivedCase
from guidance.casebook.document import Block, Document, Facts, Heading, Paragraph, Picture, Table, picture_of
from guidance.casebook.recorder import PATIENT
from guidance.casebook.results import Results, ResultsError
from guidance.casebook.stills import Moment, Pictures, Redact, moments, paint_moment, raised_times
from guidance.overlay import VIEW_LIMITS
from guidance.overlay.look import NOTHING_ACTIVE, SCALE_ASSUMED, STATE_WORDS, ZONES_NOT_WATCHED
from guidance.records import AlertState, FrameState, Priority, ScaleSource, View
from guidance.wire import AlertMessage

MOST_PICTURES = 30
"""Moments with a picture in one report: some 6 MB."""

ALWAYS_HIDDEN = (
    "No view shows cement under about 1 mm in thickness, cement behind steel, or what happened before the view was "
    "first seen. None detected never means none."
)
UNKNOWN = "–"
VIEW_WORDS = {View.AP: "AP", View.LATERAL: "lateral", None: "unknown"}


@dataclass(frozen=True, slots=True)
class Recording:
    """What is known of the recording itself. ``missing``: what it lacks or where it is damaged, in words.

    ``frames``: as many were recorded; None where findings were told of each. ``patient``: names with their values, only
    where a report may show them.
    """

    name: str
    source: str
    width_px: int
    height_px: int
    bits: int
    began: str | None = None
    recorded_by: str | None = None
    frames: int | None = None
    missing: tuple[str, ...] = ()
    patient: tuple[tuple[str, str], ...] | None = None


@dataclass(frozen=True, slots=True)
class Span:
    """A time during which something stayed the same."""

    from_s: float
    to_s: float
    what: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NeedleFact:
    """A needle in one view: as it was last seen there, not predicted. ``deepest_share``: of all its depths."""

    id: int
    view: View | None
    from_s: float
    to_s: float
    angle_deg: float | None
    depth_share: float | None
    deepest_share: float | None


@dataclass(frozen=True, slots=True)
class DepositFact:
    """A deposit in one view. ``area_mm2``: as it was last seen; ``largest_mm2`` and ``fastest_mm2_per_s``: at most."""

    id: int
    view: View | None
    needle: int | None
    from_s: float
    to_s: float
    area_mm2: float | None
    largest_mm2: float | None
    fastest_mm2_per_s: float | None


@dataclass(frozen=True, slots=True)
class AlertFact:
    """One raising of an alert, and when its condition was no longer seen and who acknowledged it when."""

    raised: AlertMessage
    unseen_s: float | None
    acknowledged_s: float | None
    by: str | None


@dataclass(frozen=True, slots=True)
class CaseReport:
    """All facts of a case's report. ``told``: how many times findings were, once for each frame that was looked at.

    ``pictures``: one for each moment at which alerts were raised, the first ones.
    """

    recording: Recording
    analysed_by: str
    told: int
    pulses: int
    duration_s: float
    states_s: Mapping[FrameState, float]
    unwatched_s: float
    scale: tuple[float, ScaleSource] | None
    phases: tuple[Span, ...]
    needles: tuple[NeedleFact, ...]
    deposits: tuple[DepositFact, ...]
    alerts: tuple[AlertFact, ...]
    missing: tuple[str, ...]
    limits: tuple[str, ...]
    pictures: tuple[Picture, ...] = ()


def recording_of(case: ArchivedCase) -> Recording:
    """What a recorded case tells of itself. Raises ResultsError where its patient's data cannot be read."""
    header = case.header
    return Recording(
        name=case.id,
        source=header.source,
        width_px=header.width_px,
        height_px=header.height_px,
        bits=header.bits,
        began=f"{header.began:%d %B %Y, %H:%M} {header.began.tzname() or ''}".rstrip(),
        recorded_by=header.software,
        frames=len(case),
        missing=tuple(f"{words}." for words in case.missing),
        patient=_patient_of(case.folder / PATIENT),
    )


def _patient_of(path: Path) -> tuple[tuple[str, str], ...] | None:
    if not path.is_file():
        return None
    try:
        rows = dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise ResultsError(f"{path}: {error}; expected the patient's data") from error
    known = {key: value for key, value in rows.items() if value not in (None, "") and key != "schema"}
    return tuple((key.replace("_", " ").capitalize(), str(value)) for key, value in known.items())


def make_report(results: Results, recording: Recording, pictures: Pictures, redact: Redact | None) -> CaseReport:
    """The report of what ``results`` tell of a recording. Raises ResultsError and SourceError.

    ``redact``: takes what may name the patient out of a picture; then no patient's data are in the report. None: they
    are.
    """
    gathered = _Gathered()
    for row in results.rows():
        gathered.note(row)
    alerts = alert_facts(results.alerts)
    times_s = raised_times(results)[:MOST_PICTURES]
    if redact is not None:
        # The path of an imported recording may well hold a name; a device's address does not.
        source = recording.source if "://" in recording.source else ""
        recording = replace(recording, patient=None, source=source)
    summary = results.summary or {}
    broken = () if summary.get("complete", True) else ("The recording broke off: this is what was found before.",)
    return CaseReport(
        recording=recording,
        analysed_by=summary.get("software") or recording.recorded_by or "unknown",
        told=gathered.told,
        pulses=gathered.pulses,
        duration_s=gathered.last_s,
        states_s=gathered.states_s,
        unwatched_s=gathered.unwatched_s,
        scale=gathered.scale,
        phases=tuple(gathered.phases),
        needles=tuple(gathered.needles[key] for key in sorted(gathered.needles)),
        deposits=tuple(gathered.deposits[key] for key in sorted(gathered.deposits)),
        alerts=alerts,
        missing=(*recording.missing, *broken, *gathered.interruptions(), *results.damage),
        limits=gathered.limits(),
        pictures=tuple(
            _alert_picture(alerts, t_s, moment, redact) for t_s, moment in moments(pictures, results, times_s)
        ),
    )


def as_document(report: CaseReport) -> Document:
    """The report laid out, the same for HTML and PDF."""
    recording = report.recording
    began = "" if recording.began is None else f"{recording.began} · "
    return Document(
        title=f"Case {recording.name}",
        subtitle=f"{began}{_seconds(report.duration_s)} · {report.pulses} x-ray pulses",
        software=f"fluoroguide {guidance.__version__}",
        blocks=(
            *_patient(report),
            *_recording(report),
            *_missing(report),
            Heading("What the views cannot show"),
            *(Paragraph(words, warns=True) for words in report.limits),
            *_phases(report),
            *_needles(report),
            *_deposits(report),
            *_alerts(report),
        ),
    )


@dataclass(slots=True)
class _Gathered:
    """Goes through the findings once, line by line, and keeps what a report tells of them."""

    told: int = 0
    pulses: int = 0
    last_s: float = 0.0
    unwatched_s: float = 0.0
    scale: tuple[float, ScaleSource] | None = None
    states_s: dict[FrameState, float] = field(default_factory=dict)
    phases: list[Span] = field(default_factory=list)
    needles: dict[tuple[int, int], NeedleFact] = field(default_factory=dict)
    deposits: dict[tuple[int, int], DepositFact] = field(default_factory=dict)
    _views: set[View | None] = field(default_factory=set)
    _states: list[Span] = field(default_factory=list)
    _before: dict[str, Any] | None = None

    def note(self, row: dict[str, Any]) -> None:
        t_s, state = row["t_s"], FrameState(row["state"])
        self._note_time(t_s)
        self.told += 1
        self.pulses = row["pulse"]
        _extend(self._states, t_s, (state.value,))
        if state is FrameState.LIVE:
            view = None if row["view"] is None else View(row["view"])
            self._views.add(view)
            phase = row["phase"] + (" (inferred)" if row["phase_inferred"] else "")
            _extend(self.phases, t_s, (phase, VIEW_WORDS[view]))
            if row["scale"] is not None:
                self.scale = row["scale"]["mm_per_px"], ScaleSource(row["scale"]["source"])
            for needle in row["needles"]:
                if not needle["predicted"]:
                    self._note_needle(needle, view, row)
            for deposit in row["cement"]:
                self._note_deposit(deposit, view, row)
        self._before = row

    def interruptions(self) -> list[str]:
        """When no good picture came, in words."""
        bad = {FrameState.FROZEN, FrameState.NO_SIGNAL, FrameState.CORRUPT}
        words = []
        for span in self._states:
            state = FrameState(span.what[0])
            if state in bad:
                word, detail = STATE_WORDS[state]
                words.append(f"{word.capitalize()} from {_seconds(span.from_s)} to {_seconds(span.to_s)}: {detail}.")
        return words

    def limits(self) -> tuple[str, ...]:
        """What the views that were watched cannot show."""
        words = [VIEW_LIMITS[view] + "." for view in (View.LATERAL, None) if view in self._views]
        if self.unwatched_s > 0:
            words.append(f"{ZONES_NOT_WATCHED} for {_seconds(self.unwatched_s)}: the anatomy was not recognised.")
        if self.scale is not None and self.scale[1] is ScaleSource.ASSUMED:
            words.append(SCALE_ASSUMED + ".")
        return (*words, ALWAYS_HIDDEN)

    def _note_time(self, t_s: float) -> None:
        if self._before is not None:
            passed_s, state = t_s - self.last_s, FrameState(self._before["state"])
            self.states_s[state] = self.states_s.get(state, 0.0) + passed_s
            registration = self._before["registration"]
            if state is FrameState.LIVE and (registration is None or not registration["ok"]):
                self.unwatched_s += passed_s
        self.last_s = t_s

    def _note_needle(self, needle: dict[str, Any], view: View | None, row: dict[str, Any]) -> None:
        key = (needle["id"], row["view_id"])
        before = self.needles.get(key)
        self.needles[key] = NeedleFact(
            id=needle["id"],
            view=view,
            from_s=row["t_s"] if before is None else before.from_s,
            to_s=row["t_s"],
            angle_deg=needle["angle_deg"],
            depth_share=needle["depth_share"],
            deepest_share=_largest(None if before is None else before.deepest_share, needle["depth_share"]),
        )

    def _note_deposit(self, deposit: dict[str, Any], view: View | None, row: dict[str, Any]) -> None:
        key = (deposit["id"], row["view_id"])
        before = self.deposits.get(key)
        self.deposits[key] = DepositFact(
            id=deposit["id"],
            view=view,
            needle=deposit.get("needle"),
            from_s=row["t_s"] if before is None else before.from_s,
            to_s=row["t_s"],
            area_mm2=deposit["area_mm2"],
            largest_mm2=_largest(None if before is None else before.largest_mm2, deposit["area_mm2"]),
            fastest_mm2_per_s=_largest(
                None if before is None else before.fastest_mm2_per_s, deposit["growth_mm2_per_s"]
            ),
        )


def _extend(spans: list[Span], t_s: float, what: tuple[str, ...]) -> None:
    """The last span goes on up to now; one of something else begins where it ends."""
    if spans:
        spans[-1] = replace(spans[-1], to_s=t_s)
    if not spans or spans[-1].what != what:
        spans.append(Span(t_s, t_s, what))


def _largest(a: float | None, b: float | None) -> float | None:
    return max((value for value in (a, b) if value is not None), default=None)


def alert_facts(changes: Sequence[AlertMessage]) -> tuple[AlertFact, ...]:
    """Each raising with what became of it until the same alert was raised again, in the order of time."""
    facts = []
    for of_one in _by_id(changes):
        raised = [i for i, change in enumerate(of_one) if change.state is AlertState.RAISED]
        for begin, end in pairwise([*raised, len(of_one)]):
            later = of_one[begin + 1 : end]
            unseen = next((change for change in later if change.state is AlertState.CLEARED), None)
            acknowledged = next((change for change in later if change.state is AlertState.ACKNOWLEDGED), None)
            facts.append(
                AlertFact(
                    of_one[begin],
                    None if unseen is None else unseen.t_s,
                    None if acknowledged is None else acknowledged.t_s,
                    None if acknowledged is None else acknowledged.by,
                )
            )
    return tuple(sorted(facts, key=lambda fact: (fact.raised.t_s, fact.raised.id)))


def _by_id(changes: Iterable[AlertMessage]) -> Iterable[list[AlertMessage]]:
    of: dict[int, list[AlertMessage]] = {}
    for change in changes:
        of.setdefault(change.id, []).append(change)
    return of.values()


def _alert_picture(alerts: Sequence[AlertFact], t_s: float, moment: Moment, redact: Redact | None) -> Picture:
    raised = [alert.raised for alert in alerts if alert.raised.t_s == t_s]
    told = [f"{alert.text} (alert {alert.id}, {alert.priority.value} priority)" for alert in raised]
    if moment.frame.flags is not FrameFlag.NONE:
        told.append("the recording is damaged here, and the picture is not what was seen")
    return picture_of(paint_moment(moment, redact), f"{_seconds(t_s)}: {'; '.join(told)}")


def _patient(report: CaseReport) -> list[Block]:
    patient = report.recording.patient
    return [] if patient is None else [Heading("Patient and study"), Facts(patient)]


def _recording(report: CaseReport) -> list[Block]:
    recording = report.recording
    states = ", ".join(f"{state.value.replace('_', ' ')} {_seconds(s)}" for state, s in report.states_s.items())
    scale = "unknown" if report.scale is None else f"{report.scale[0]:.3f} mm/px from {report.scale[1].value}"
    facts = [
        *([("Source", recording.source)] if recording.source else []),
        ("Picture", f"{recording.width_px} × {recording.height_px}, {recording.bits} bits"),
        ("Frames", str(report.told if recording.frames is None else recording.frames)),
        ("Findings", f"told {report.told} times"),
        ("States", states or UNKNOWN),
        ("Scale", scale),
        ("Analysed by", report.analysed_by),
    ]
    return [Heading("Recording"), Facts(tuple(facts))]


def _missing(report: CaseReport) -> list[Block]:
    words = report.missing or ("Nothing is known to be missing from the recording.",)
    return [Heading("Missing or damaged"), *(Paragraph(one, warns=bool(report.missing)) for one in words)]


def _phases(report: CaseReport) -> list[Block]:
    rows = tuple((_seconds(span.from_s), _seconds(span.to_s), *span.what) for span in report.phases)
    return _section("Phases", ("from", "to", "phase", "view"), rows, {0, 1})


def _needles(report: CaseReport) -> list[Block]:
    head = ("needle", "view", "seen from", "to", "angle", "depth", "deepest")
    rows = tuple(
        (
            str(needle.id),
            VIEW_WORDS[needle.view],
            _seconds(needle.from_s),
            _seconds(needle.to_s),
            _number(needle.angle_deg, ".1f", "°"),
            _number(needle.depth_share and 100 * needle.depth_share, ".0f", " %"),
            _number(needle.deepest_share and 100 * needle.deepest_share, ".0f", " %"),
        )
        for needle in report.needles
    )
    how = (
        "Angle and depth as last seen in the view. The angle is from the tip back along the shaft, counter-clockwise "
        "from the picture's right. Depth: 0 % at the vertebral body's posterior wall, 100 % at its anterior cortex, "
        "where the plan draws the body."
    )
    return _section("Needles", head, rows, {2, 3, 4, 5, 6}, how)


def _deposits(report: CaseReport) -> list[Block]:
    head = ("deposit", "view", "from needle", "seen from", "to", "area", "largest", "fastest growth")
    rows = tuple(
        (
            str(deposit.id),
            VIEW_WORDS[deposit.view],
            UNKNOWN if deposit.needle is None else str(deposit.needle),
            _seconds(deposit.from_s),
            _seconds(deposit.to_s),
            _number(deposit.area_mm2, ".0f", " mm²"),
            _number(deposit.largest_mm2, ".0f", " mm²"),
            _number(deposit.fastest_mm2_per_s, ".1f", " mm²/s"),
        )
        for deposit in report.deposits
    )
    return _section(
        "Cement", head, rows, {3, 4, 5, 6, 7}, "Areas are of the projection. Area as last seen in the view."
    )


def _alerts(report: CaseReport) -> list[Block]:
    head = ("alert", "priority", "raised", "no longer seen", "acknowledged", "what was told")
    rows = tuple(
        (
            str(alert.raised.id),
            alert.raised.priority.value,
            _seconds(alert.raised.t_s),
            UNKNOWN if alert.unseen_s is None else _seconds(alert.unseen_s),
            UNKNOWN if alert.acknowledged_s is None else _seconds(alert.acknowledged_s) + _by(alert.by),
            alert.raised.text,
        )
        for alert in report.alerts
    )
    if not rows:
        return [Heading("Alerts"), Paragraph(f"{NOTHING_ACTIVE}.")]
    high = frozenset(i for i, alert in enumerate(report.alerts) if alert.raised.priority is Priority.HIGH)
    left_out = len({alert.raised.t_s for alert in report.alerts}) - len(report.pictures)
    more = [Paragraph(f"Moments with alerts that have no picture here: {left_out}.")] if left_out else []
    return [Heading("Alerts"), Table(head, rows, frozenset({2, 3, 4}), high), *report.pictures, *more]


def _by(name: str | None) -> str:
    return "" if name is None else f" by {name}"


def _section(
    title: str, head: tuple[str, ...], rows: tuple[tuple[str, ...], ...], right: set[int], how: str = ""
) -> list[Block]:
    if not rows:
        return [Heading(title), Paragraph("None detected.")]
    return [Heading(title), Table(head, rows, frozenset(right)), *([Paragraph(how)] if how else [])]


def _seconds(t_s: float) -> str:
    return f"{t_s:.1f} s"


def _number(value: float | None, spec: str, unit: str) -> str:
    return UNKNOWN if value is None else f"{value:{spec}}{unit}".replace("-", "−")
