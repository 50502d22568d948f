"""What differs between two analyses of the same recordings: two versions of the software, two plans, two settings.

Every line of both is held against the other: what has no column of its own is counted as ``other``, so that no
difference is passed over.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import guidance
from drivers.archived import CASE
from guidance.casebook.archive import read_header
from guidance.casebook.case_report import AlertFact, alert_facts
from guidance.casebook.document import Block, Document, Heading, Paragraph, Table
from guidance.casebook.results import FINDINGS, Results, ResultsError
from guidance.evaluation.batch import ATTEMPTS, read_notes
from guidance.evaluation.score import match_points

Row = Mapping[str, Any]

SIDES = ("first", "second")

LEFT_OUT = frozenset({"frame", "latency_ms"})
"""How many frames were looked at before and how long it took: of a room's analysis never what a replay says."""


@dataclass(frozen=True, slots=True)
class AlertChange:
    """What became of an alert. ``first_s`` and ``second_s``: when it was raised, None where it was not."""

    what: str
    text: str
    first_s: float | None
    second_s: float | None


@dataclass(slots=True)
class Difference:
    """On how many frames something differs, and by how much at most, at ``at_s``; on none: it is of the whole case."""

    what: str
    unit: str = ""
    frames: int = 0
    largest: float | None = None
    at_s: float = 0.0

    def note(self, t_s: float, size: float | None) -> None:
        """Count one frame. ``size``: by how much it differs; None where no figure says so."""
        if not self.frames or (size is not None and (self.largest is None or size > self.largest)):
            self.largest, self.at_s = size, t_s
        self.frames += 1


@dataclass(frozen=True, slots=True)
class CaseComparison:
    """One case. ``missing_in``: the side that does not have it."""

    case: str
    missing_in: str | None = None
    alerts: tuple[AlertChange, ...] = ()
    differences: tuple[Difference, ...] = ()

    @property
    def differs(self) -> bool:
        """Whether anything does."""
        return bool(self.missing_in or self.alerts or self.differences)

    def count(self, what: str) -> int:
        """How many alerts were gained, lost, moved, ..."""
        return sum(change.what == what for change in self.alerts)


@dataclass(frozen=True, slots=True)
class Comparison:
    """``software``: of the first and of the second, as their summaries and a batch's notes tell."""

    software: tuple[str, str]
    cases: tuple[CaseComparison, ...]

    @property
    def differs(self) -> bool:
        """Whether any case does."""
        return any(case.differs for case in self.cases)


def compare(first: Path, second: Path) -> Comparison:
    """Two outputs of replay or batch, or archives, case by case. Raises ResultsError where one has no results."""
    folders = [_results_in(root) for root in (first, second)]
    software: list[set[str]] = [set(), set()]
    cases = []
    batches = read_notes(first), read_notes(second)
    for name in sorted(folders[0].keys() | folders[1].keys()):
        missing = [side for side, of_side in zip(SIDES, folders, strict=True) if name not in of_side]
        if missing:
            cases.append(CaseComparison(name, missing[0]))
            continue
        pair = Results(folders[0][name]), Results(folders[1][name])
        for seen, results, notes in zip(software, pair, batches, strict=True):
            code = f", code {notes[name].made_of.software}" if name in notes else ""
            seen.add(f"{_software(results)}{code}")
        cases.append(compare_case(name, *pair))
    told = [" and ".join(sorted(seen)) or "unknown" for seen in software]
    return Comparison((told[0], told[1]), tuple(cases))


def _software(results: Results) -> str:
    """What analysed a case, by its summary or, in an archive, its header."""
    if results.summary is not None:
        return str(results.summary.get("software", "unknown"))
    return read_header(results.folder).software if (results.folder / CASE).is_file() else "unknown"


def _results_in(root: Path) -> dict[str, Path]:
    """Each case's folder by its name below ``root``; a replay's own folder has none."""
    found = {path.parent.relative_to(root).as_posix(): path.parent for path in root.rglob(FINDINGS)}
    if not found:
        raise ResultsError(f"{root}: no {FINDINGS} in it; expected the folder of a replay or a batch")
    return {"" if name == "." else name: path for name, path in found.items() if not name.startswith(ATTEMPTS)}


def compare_case(name: str, first: Results, second: Results) -> CaseComparison:
    """All that differs in one case."""
    frames = _Frames()
    for a, b in _side_by_side(first.rows(), second.rows()):
        frames.note(a, b)
    alerts = tuple(_alert_changes(alert_facts(first.alerts), alert_facts(second.alerts)))
    if not alerts and first.alerts != second.alerts:
        frames.of("alerts, other")
    for key in _summary_keys(first.summary, second.summary):
        frames.of(f"summary: {key}")
    for side, results in zip(SIDES, (first, second), strict=True):
        for words in results.damage:
            frames.of(f"{side}: {words}")
    return CaseComparison(name, alerts=alerts, differences=tuple(frames.differences.values()))


def _side_by_side(first: Iterator[Row], second: Iterator[Row]) -> Iterator[tuple[Row | None, Row | None]]:
    """The frames of both by their times; None where one has no frame of that time, as a live analysis skips some."""
    a, b = next(first, None), next(second, None)
    while a is not None or b is not None:
        if b is None or (a is not None and a["t_s"] < b["t_s"]):
            yield a, None
            a = next(first, None)
        elif a is None or b["t_s"] < a["t_s"]:
            yield None, b
            b = next(second, None)
        else:
            yield a, b
            a, b = next(first, None), next(second, None)


def _summary_keys(first: Row | None, second: Row | None) -> list[str]:
    """What of two summaries differs but the names of what was read and of what read it; an archive has none."""
    if first is None or second is None:
        return []
    keys = (first.keys() | second.keys()) - {"software", "source"}
    return sorted(key for key in keys if first.get(key) != second.get(key))


def _alert_changes(first: Iterable[AlertFact], second: Iterable[AlertFact]) -> Iterator[AlertChange]:
    """Alerts about the same are paired, those nearest in time first; the changes in the order of time."""
    ours, theirs = _by_subject(first), _by_subject(second)
    changes = [
        change
        for subject in ours.keys() | theirs.keys()
        for change in _paired(ours.get(subject, []), theirs.get(subject, []))
    ]
    yield from sorted(changes, key=lambda one: (one.first_s if one.first_s is not None else one.second_s, one.text))


def _by_subject(facts: Iterable[AlertFact]) -> dict[tuple[object, ...], list[AlertFact]]:
    subjects: dict[tuple[object, ...], list[AlertFact]] = {}
    for fact in facts:
        # A needle's number is left out: it says only in which order they came.
        alert = fact.raised
        subjects.setdefault((alert.kind, alert.zone, alert.root, alert.subject), []).append(fact)
    return subjects


def _paired(first: list[AlertFact], second: list[AlertFact]) -> Iterator[AlertChange]:
    gaps = sorted((abs(a.raised.t_s - b.raised.t_s), i, j) for i, a in enumerate(first) for j, b in enumerate(second))
    left, right = dict(enumerate(first)), dict(enumerate(second))
    for _, i, j in gaps:
        if i in left and j in right:
            a, b = left.pop(i), right.pop(j)
            what = _what_changed(a, b)
            if what is not None:
                yield AlertChange(what, _both(a.raised.text, b.raised.text), a.raised.t_s, b.raised.t_s)
    for lost in left.values():
        yield AlertChange("lost", lost.raised.text, lost.raised.t_s, None)
    for gained in right.values():
        yield AlertChange("gained", gained.raised.text, None, gained.raised.t_s)


def _what_changed(a: AlertFact, b: AlertFact) -> str | None:
    if a.raised.t_s != b.raised.t_s:
        return "moved"
    if (a.raised.priority, a.raised.value, a.raised.text) != (b.raised.priority, b.raised.value, b.raised.text):
        return "told otherwise"
    if (a.unseen_s, a.acknowledged_s) != (b.unseen_s, b.acknowledged_s):
        return "ends otherwise"
    return None


def _both(first: str, second: str) -> str:
    return first if first == second else f"{first} | {second}"


@dataclass(slots=True)
class _Frames:
    """Holds frame against frame, and keeps what differs."""

    differences: dict[str, Difference] = field(default_factory=dict)

    def of(self, what: str, unit: str = "") -> Difference:
        return self.differences.setdefault(what, Difference(what, unit))

    def note(self, a: Row | None, b: Row | None) -> None:
        """The same frame of each; None where one does not have it."""
        for side, missing, other in ((SIDES[0], b, a), (SIDES[1], a, b)):
            if missing is None and other is not None:
                self.of(f"frames only in the {side}").note(other["t_s"], None)
        if a is None or b is None or a == b:
            return
        t_s = a["t_s"]
        found = list(_differing(a, b))
        for what, unit, size in found:
            self.of(what, unit).note(t_s, size)
        if not found:
            keys = [key for key in a.keys() | b.keys() if a.get(key) != b.get(key) and key not in LEFT_OUT]
            if keys:
                self.of(f"other: {', '.join(sorted(keys))}").note(t_s, None)


def _differing(a: Row, b: Row) -> Iterator[tuple[str, str, float | None]]:
    """What of two frames differs, its unit, and by how much."""
    for key in ("state", "phase", "view", "pulse", "scale"):
        if a[key] != b[key]:
            yield key, "", None
    yield from _registrations(a["registration"], b["registration"])
    yield from _needles(a["needles"], b["needles"])
    for key, words in (("cement", "cement, area"), ("nerve_roots", "nerve roots, area")):
        if len(a[key]) != len(b[key]):
            yield f"{words.split(',')[0]}, number", "", float(abs(len(a[key]) - len(b[key])))
        yield from _figure(words, "mm²", _area(a[key]), _area(b[key]), lambda x, y: abs(x - y))


def _registrations(a: Row | None, b: Row | None) -> Iterator[tuple[str, str, float | None]]:
    if a is None or b is None:
        if a is not b:
            yield "registration, there or not", "", None
        return
    if a["ok"] != b["ok"]:
        yield "registration, zones watched or not", "", None
    if a["shift_px"] != b["shift_px"]:
        yield "registration, shift", "px", math.dist(a["shift_px"], b["shift_px"])
    if a["rotation_deg"] != b["rotation_deg"]:
        yield "registration, rotation", "°", _turn(a["rotation_deg"], b["rotation_deg"])


def _needles(first: list[Row], second: list[Row]) -> Iterator[tuple[str, str, float | None]]:
    """Needles are paired by their tips: numbers are given in the order of appearance."""
    if len(first) != len(second):
        yield "needles, number", "", float(abs(len(first) - len(second)))
    for i, j, distance_px in match_points([n["tip_px"] for n in first], [n["tip_px"] for n in second], math.inf):
        if distance_px > 0:
            yield "needles, tip", "px", distance_px
        yield from _figure("needles, angle", "°", first[i]["angle_deg"], second[j]["angle_deg"], _turn)
        depths = first[i]["depth_share"], second[j]["depth_share"]
        yield from _figure("needles, depth", "%", *depths, lambda x, y: 100 * abs(x - y))


def _figure(
    what: str, unit: str, a: float | None, b: float | None, size: Callable[[float, float], float]
) -> Iterator[tuple[str, str, float | None]]:
    if a != b:
        yield what, unit, None if a is None or b is None else size(a, b)


def _turn(a: float, b: float) -> float:
    return abs((a - b + 180) % 360 - 180)


def _area(findings: list[Row]) -> float | None:
    areas = [one["area_mm2"] for one in findings]
    return None if None in areas else round(sum(areas), 3)


ALERT_CHANGES = ("gained", "lost", "moved", "told otherwise", "ends otherwise")


def as_text(comparison: Comparison) -> str:
    """Case by case, one difference a line."""
    first, second = comparison.software
    lines = [f"first: {first}; second: {second}"]
    for case in comparison.cases:
        lines.append(f"{case.case or 'the case'}: {'differs' if case.differs else 'the same'}")
        lines += [f"  {words}" for words in _details(case)]
    return "\n".join(lines)


def as_document(comparison: Comparison) -> Document:
    """The comparison as a report: all cases in one table, then each that differs."""
    first, second = comparison.software
    differing = [case for case in comparison.cases if case.differs]
    head = ("case", "result", "alerts gained", "lost", "moved", "told otherwise", "ending otherwise", "most frames")
    rows = tuple(
        (
            case.case or "the case",
            "differs" if case.differs else "the same",
            *(str(case.count(what)) for what in ALERT_CHANGES),
            _commonest(case),
        )
        for case in comparison.cases
    )
    marked = frozenset(i for i, case in enumerate(comparison.cases) if case.count("lost") or case.missing_in)
    blocks: list[Block] = [Table(head, rows, frozenset(range(2, 2 + len(ALERT_CHANGES))), marked)]
    for case in differing:
        blocks += _sections(case)
    return Document(
        f"{len(differing)} of {len(comparison.cases)} cases differ",
        f"First: {first}. Second: {second}.",
        f"fluoroguide {guidance.__version__}",
        tuple(blocks),
    )


def _sections(case: CaseComparison) -> Iterator[Block]:
    yield Heading(case.case or "The case")
    if case.missing_in is not None:
        yield Paragraph(f"Missing in the {case.missing_in}.", warns=True)
    if case.alerts:
        alerts = tuple(
            (one.what, _time(one.first_s), _time(one.second_s), _moved(one), one.text) for one in case.alerts
        )
        lost = frozenset(i for i, one in enumerate(case.alerts) if one.what == "lost")
        yield Table(("alert", "first", "second", "later by", "what was told"), alerts, frozenset({1, 2, 3}), lost)
    if case.differences:
        rows = tuple(
            (one.what, str(one.frames or "–"), _largest(one), _time(one.at_s if one.frames else None))
            for one in case.differences
        )
        yield Table(("what differs", "frames", "at most", "at"), rows, frozenset({1, 2, 3}))


def _details(case: CaseComparison) -> Iterator[str]:
    if case.missing_in is not None:
        yield f"missing in the {case.missing_in}"
    for alert in case.alerts:
        moved = f" (later by {_moved(alert)})" if alert.what == "moved" else ""
        yield f"alert {alert.what}: {_time(alert.first_s)} | {_time(alert.second_s)}{moved}: {alert.text}"
    for one in case.differences:
        frames = f": {one.frames} frames" if one.frames else ""
        where = f", at most {_largest(one)} at {_time(one.at_s)}" if one.largest is not None else ""
        yield f"{one.what}{frames}{where}"


def _commonest(case: CaseComparison) -> str:
    most = max(case.differences, key=lambda one: one.frames, default=None)
    return "–" if most is None or not most.frames else f"{most.frames} ({most.what})"


def _largest(one: Difference) -> str:
    return "–" if one.largest is None else f"{one.largest:.3g} {one.unit}".strip()


def _moved(alert: AlertChange) -> str:
    if alert.first_s is None or alert.second_s is None:
        return "–"
    return f"{alert.second_s - alert.first_s:+.2f} s".replace("-", "−")


def _time(t_s: float | None) -> str:
    return "–" if t_s is None else f"{t_s:.2f} s"
