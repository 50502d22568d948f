"""The report of a case: one record, the same facts in HTML and PDF, and no patient in it unless asked for."""

import html
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pypdf
import pytest

from drivers.errors import SourceError
from drivers.frame import Frame, FrameFlag, Pixels, freeze
from guidance.casebook.archive import ArchivedCase
from guidance.casebook.case_report import (
    ALWAYS_HIDDEN,
    AlertFact,
    CaseReport,
    Recording,
    alert_facts,
    as_document,
    make_report,
    recording_of,
)
from guidance.casebook.document import Document, Facts, Heading, Paragraph, Picture, Table, as_html
from guidance.casebook.document_pdf import UnprintableError, as_pdf
from guidance.casebook.results import Results
from guidance.casebook.stills import ArchivedCasePictures, SourcePictures, moments
from guidance.cli import main
from guidance.overlay import VIEW_LIMITS
from guidance.overlay.look import SCALE_ASSUMED
from guidance.records import AlertState, Findings, FrameState, Phase, Scale, ScaleSource, View
from guidance.wire import AlertMessage, findings_json
from tests.unit.casebook.recorded import alert, record
from tests.unit.evaluation.cases import SIDE_PX, noise, write_gray, write_recording
from tests.unit.safety.scenes import LOST, deposit, findings, needle

PATIENT = {"schema": 1, "name": "Müller^Jürgen", "birth_date": "1950-02-28"}


def at(t_s: float, **changes: object) -> Findings:
    return replace(findings(), frame=round(10 * t_s), t_s=t_s, pulse=round(10 * t_s), **changes)  # type: ignore[arg-type]


def turned(angle_deg: float, depth_share: float | None, number: int = 1) -> object:
    return replace(needle(50, 40), id=number, angle_deg=angle_deg, depth_share=depth_share)


SEEN = (
    at(0.0, phase=Phase.NEEDLE, view=View.AP),
    at(0.1, phase=Phase.NEEDLE, needles=(turned(-70.25, None),)),
    at(0.2, phase=Phase.NEEDLE, view=View.LATERAL, view_id=1, needles=(turned(10.0, 0.7),)),
    at(0.3, phase=Phase.NEEDLE, view=View.LATERAL, view_id=1, needles=(turned(12.0, 0.6),)),
    at(0.4, view=View.LATERAL, view_id=1, needles=(replace(turned(80.0, 0.9), predicted=True),)),  # type: ignore[type-var]
    at(0.5, cement=(deposit(50, 50, 20, 20, growth_mm2_per_s=3.0),), registration=LOST),
    at(0.6, cement=(deposit(50, 50, 40, 20, growth_mm2_per_s=8.5),), scale=Scale(0.25, ScaleSource.ASSUMED)),
    at(0.7, state=FrameState.FROZEN),
    at(0.9, state=FrameState.FROZEN),
    at(1.0, cement=(deposit(50, 50, 30, 20),), scale=Scale(0.25, ScaleSource.ASSUMED)),
)
CHANGES = (
    alert(5, 0.5),
    alert(6, 0.6, AlertState.CLEARED),
    alert(7, 0.7, AlertState.ACKNOWLEDGED).model_copy(update={"by": "ito"}),
    alert(10, 1.0),
)


class Grey:
    """Pictures of one grey."""

    def at(self, times_s: Sequence[float]) -> Iterator[Frame]:
        for i, t_s in enumerate(times_s):
            yield Frame(freeze(np.full((200, 300), 120, np.uint8)), t_s, i)


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return told(tmp_path / "results", SEEN, CHANGES)


def told(folder: Path, seen: Sequence[Findings], changes: Sequence[AlertMessage] = ()) -> Results:
    folder.mkdir()
    (folder / "findings.jsonl").write_text("".join(json.dumps(findings_json(one)) + "\n" for one in seen))
    (folder / "alerts.jsonl").write_text("".join(change.model_dump_json() + "\n" for change in changes))
    return Results(folder)


def as_it_is(frame: Frame) -> Pixels:
    return frame.pixels


def report_of(results: Results, with_patient: bool = False) -> CaseReport:
    patient = (("Name", "Müller^Jürgen"),)
    recording = Recording("20261130T165214-1", "/media/Müller/run.mp4", 300, 200, 8, patient=patient)
    return make_report(results, recording, Grey(), None if with_patient else as_it_is)


def words_of(document: Document) -> list[str]:
    """Everything that a reader is told, piece by piece."""
    words = [document.title, document.subtitle, document.software, document.disclaimer]
    for block in document.blocks:
        match block:
            case Heading() | Paragraph():
                words.append(block.words)
            case Facts():
                words += [word for row in block.rows for word in row]
            case Table():
                words += [word for row in (block.head, *block.rows) for word in row]
            case Picture():
                words.append(block.caption)
    return words


def text_of(pdf: bytes) -> str:
    return "".join(page.extract_text() for page in pypdf.PdfReader(BytesIO(pdf)).pages)


def squeezed(words: str) -> str:
    """Without the spaces and breaks that depend on the layout."""
    return re.sub(r"\s", "", words)


def test_needles_are_told_view_by_view_as_last_seen_and_never_as_predicted(results: Results) -> None:
    facts = {needle.view: needle for needle in report_of(results).needles}
    assert (facts[View.AP].angle_deg, facts[View.AP].depth_share) == (-70.25, None)
    lateral = facts[View.LATERAL]
    assert (lateral.angle_deg, lateral.depth_share, lateral.deepest_share) == (12.0, 0.6, 0.7)
    assert (lateral.from_s, lateral.to_s) == (0.2, 0.3)


def test_a_deposit_is_told_with_its_last_and_largest_area_and_its_fastest_growth(results: Results) -> None:
    (cement,) = report_of(results).deposits
    assert (cement.area_mm2, cement.largest_mm2, cement.fastest_mm2_per_s) == (37.5, 50.0, 8.5)


def test_phases_last_until_the_next_one_begins(results: Results) -> None:
    assert [(span.from_s, span.to_s, *span.what) for span in report_of(results).phases] == [
        (0.0, 0.2, "needle", "AP"),
        (0.2, 0.4, "needle", "lateral"),
        (0.4, 0.5, "cement", "lateral"),
        (0.5, 1.0, "cement", "AP"),
    ]


def test_an_alert_that_is_raised_again_is_told_twice_with_what_became_of_it() -> None:
    first, again = alert_facts(CHANGES)
    assert first == AlertFact(CHANGES[0], unseen_s=0.6, acknowledged_s=0.7, by="ito")
    assert again == AlertFact(CHANGES[3], unseen_s=None, acknowledged_s=None, by=None)


def test_what_the_views_cannot_show_is_told_in_the_overlays_words(results: Results) -> None:
    limits = report_of(results).limits
    assert limits[0] == f"{VIEW_LIMITS[View.LATERAL]}."
    assert limits[1].startswith("Zones not watched for 0.1 s")
    assert limits[2:] == (f"{SCALE_ASSUMED}.", ALWAYS_HIDDEN)


def test_times_without_a_good_picture_and_a_recording_that_broke_off_are_told_as_missing(results: Results) -> None:
    results.summary = {"complete": False}
    assert report_of(results).missing == (
        "The recording broke off: this is what was found before.",
        "Frozen from 0.7 s to 1.0 s: the source repeats one picture.",
    )


def test_html_and_pdf_tell_the_same_with_every_letter(results: Results) -> None:
    document = as_document(report_of(results))
    document = replace(document, blocks=(*document.blocks, Paragraph("Größe: 5 µm² − <b>&nicht</b> 3 °, ≈ 1 · “x”")))
    page = squeezed(html.unescape(re.sub(r"<[^>]+>", "", as_html(document))))
    printed = squeezed(text_of(as_pdf(document)))
    for words in words_of(document):
        assert squeezed(words) in page, words
        assert squeezed(words) in printed, words
    assert as_html(document).count("data:image/jpeg") == as_pdf(document).count(b"/DCTDecode") == 2
    assert "&lt;b&gt;&amp;nicht&lt;/b&gt;" in as_html(document)


def test_the_same_report_gives_the_same_bytes(results: Results) -> None:
    documents = [as_document(report_of(results)) for _ in range(2)]
    assert as_pdf(documents[0]) == as_pdf(documents[1])
    assert as_html(documents[0]) == as_html(documents[1])


def test_the_patient_is_named_only_where_that_is_asked_for(results: Results) -> None:
    for with_patient in (False, True):
        document = as_document(report_of(results, with_patient))
        for written in (as_html(document), text_of(as_pdf(document))):
            assert ("Müller" in written) == with_patient


def test_a_letter_that_the_pdf_lacks_is_refused_and_named(results: Results) -> None:
    document = replace(as_document(report_of(results)), title="Case Жук")
    with pytest.raises(UnprintableError, match=r"'Ж' \(U\+0416\) in 'Case Жук'.*expected letters of Western Europe"):
        as_pdf(document)


def test_a_long_table_goes_on_over_pages_with_its_head(results: Results) -> None:
    rows = tuple((str(i), "a word or two " * 12, "x" * 90) for i in range(120))
    pdf = as_pdf(replace(as_document(report_of(results)), blocks=(Table(("number", "words", "one word"), rows),)))
    pages = pypdf.PdfReader(BytesIO(pdf)).pages
    assert len(pages) > 3
    assert all("number" in page.extract_text() for page in pages[1:])


def test_a_recorded_case_reports_itself_and_says_what_it_lacks(tmp_path: Path) -> None:
    record(tmp_path / "case").close()
    (tmp_path / "case" / "patient.json").write_text(json.dumps(PATIENT))
    with ArchivedCase(tmp_path / "case") as case:
        recording = recording_of(case)
        assert recording.patient == (("Name", "Müller^Jürgen"), ("Birth date", "1950-02-28"))
        report = make_report(Results(case.folder), recording, ArchivedCasePictures(case), as_it_is)
        assert report.recording.patient is None
        assert report.analysed_by.startswith("fluoroguide ")
        assert [picture.caption for picture in report.pictures] == [
            "0.2 s: Cement in foramen S1L: 4.2 mm² (alert 1, high priority)"
        ]
    for name in ("r.html", "r.pdf"):
        assert main(["report", str(tmp_path / "case"), "--out", str(tmp_path / name)]) == 0
    assert "Müller" not in (tmp_path / "r.html").read_text(encoding="utf-8")
    assert main(["report", str(tmp_path / "case"), "--out", str(tmp_path / "p.pdf"), "--with-patient"]) == 0
    assert "Müller^Jürgen" in text_of((tmp_path / "p.pdf").read_bytes())


def test_a_picture_that_is_damaged_in_the_recording_is_marked(tmp_path: Path) -> None:
    record(tmp_path / "case").close()
    with ArchivedCase(tmp_path / "case") as case:

        class Damaged(ArchivedCasePictures):
            def at(self, times_s: Sequence[float]) -> Iterator[Frame]:
                for frame in super().at(times_s):
                    yield replace(frame, flags=FrameFlag.CORRUPT)

        report = make_report(Results(case.folder), recording_of(case), Damaged(case), as_it_is)
    assert "the recording is damaged here" in report.pictures[0].caption


def test_a_still_shows_the_findings_with_the_very_picture_that_they_are_of(tmp_path: Path) -> None:
    record(tmp_path / "case").close()
    with ArchivedCase(tmp_path / "case") as case:
        ((_, moment),) = moments(ArchivedCasePictures(case), Results(case.folder), [0.19])
        assert moment.findings.frame == 5
        assert moment.frame.sequence == 105
        assert moment.frame.t_s == pytest.approx(moment.findings.t_s, abs=1e-6)


def test_an_alert_before_anything_was_seen_is_told_without_a_picture_and_one_after_the_end_with_the_last(
    tmp_path: Path,
) -> None:
    early, late = alert(0, 0.1), alert(9, 9.0)
    report = report_of(told(tmp_path / "results", [at(0.2), at(0.4)], [early, late]))
    assert [picture.caption[:5] for picture in report.pictures] == ["9.0 s"]
    words = [block.words for block in as_document(report).blocks if isinstance(block, Paragraph)]
    assert "Moments with alerts that have no picture here: 1." in words


def test_stills_are_of_each_alert_or_of_the_times_that_are_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record(tmp_path / "case").close()
    assert main(["stills", str(tmp_path / "case"), "--out", str(tmp_path / "a")]) == 0
    assert [file.name for file in (tmp_path / "a").iterdir()] == ["000000.167s.png"]
    assert main(["stills", str(tmp_path / "case"), "--out", str(tmp_path / "b"), "--at-s", "0.3", "0"]) == 0
    assert sorted(file.name for file in (tmp_path / "b").iterdir()) == ["000000.000s.png", "000000.300s.png"]
    capsys.readouterr()
    assert main(["stills", str(tmp_path / "case"), "--out", str(tmp_path / "c"), "--at-s", "9"]) == 2
    assert capsys.readouterr().err == "fluoroguide: 9 s: expected a time within the case, which ends at 0.366667 s\n"


def test_pictures_of_a_recording_are_the_last_at_or_before_each_time() -> None:
    shown = [Frame(freeze(np.zeros((8, 8), np.uint8)), t_s, i) for i, t_s in enumerate((10.0, 10.1, 10.5, 10.6))]
    times_s = (0.0, 0.1, 0.1, 0.3, 0.5, 99.0)
    assert [frame.sequence for frame in SourcePictures(shown).at(times_s)] == [0, 1, 1, 1, 2, 3]  # type: ignore[arg-type]


def test_pictures_before_the_place_where_a_recording_breaks_off_are_had() -> None:
    def breaks_off() -> Iterator[Frame]:
        for i in range(3):
            yield Frame(freeze(np.zeros((8, 8), np.uint8)), i / 10, i)
        raise SourceError("cut short")

    pictures = SourcePictures(breaks_off()).at((0.0, 0.2, 0.3))  # type: ignore[arg-type]
    assert [next(pictures).sequence, next(pictures).sequence] == [0, 2]
    with pytest.raises(SourceError):
        next(pictures)


def test_a_recording_without_results_is_analysed_now_with_the_same_outcome(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recording = str(write_recording(tmp_path / "run.mkv", 1))
    assert main(["replay", recording, "--out", str(tmp_path / "results")]) == 0
    written = []
    for given in ([], ["--results", str(tmp_path / "results")]):
        out = tmp_path / str(len(given))
        assert main(["stills", recording, "--at-s", "0.4", "--out", str(out), *given]) == 0
        assert main(["report", recording, "--out", str(out / "report.html"), *given]) == 0
        written.append([file.read_bytes() for file in sorted(out.iterdir())])
    assert written[0] == written[1]
    assert len(written[0]) == 2
    arguments = ["--results", str(tmp_path / "results"), "--plan", "plan.json", "--out", str(tmp_path / "x")]
    assert main(["stills", recording, *arguments]) == 2
    assert "--plan: expected only where the case is analysed now" in capsys.readouterr().err


def test_a_report_of_another_kind_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(tmp_path / "case").close()
    assert main(["report", str(tmp_path / "case"), "--out", str(tmp_path / "r.doc")]) == 2
    assert "r.doc: expected a name that ends in .html or .pdf" in capsys.readouterr().err


def test_a_still_has_no_burned_in_text_unless_the_patient_may_be_told(tmp_path: Path) -> None:
    shown = noise(1, frames=4)
    for picture in shown:
        cv2.putText(picture, "MUELLER", (2, 12), cv2.FONT_HERSHEY_PLAIN, 0.8, 255)
    recording = str(write_gray(tmp_path / "run.mkv", shown))
    brightest = []
    for given in ([], ["--with-patient"]):
        out = tmp_path / str(len(given))
        assert main(["stills", recording, "--at-s", "0.2", "--out", str(out), *given]) == 0
        (file,) = out.iterdir()
        picture = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
        zoom = picture.shape[1] // SIDE_PX
        top = (picture.shape[0] - SIDE_PX * zoom) // 3  # one of three strips
        brightest.append(int(picture[top + 2 * zoom : top + 13 * zoom, 2 * zoom : 40 * zoom].max()))
    assert brightest[0] < 120 < brightest[1]
