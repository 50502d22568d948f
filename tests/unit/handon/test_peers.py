"""Other systems that do not do as asked, or do it in another way than Orthanc: in pynetdicom's own server."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydicom.config import disable_value_validation
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, JPEGLSLossless
from pynetdicom import AE, evt
from pynetdicom.association import Association

from drivers.sources import open_source
from guidance.handon import HandOnError
from guidance.handon.export import Wishes, hand_over
from guidance.handon.peers import COMMITMENT, COMMITMENT_INSTANCE, WORKLIST, Peer, SentFile, commit, store, worklist
from guidance.handon.recorded import Excerpt, RecordedCase
from tests.unit.handon.made import NAME, SECRETS, write_case

SUCCESS, OUT_OF_ROOM, CANNOT_PROCESS = 0x0000, 0xA700, 0x0110
Answer = Callable[[evt.Event], Any]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> SentFile:
    folder = tmp_path_factory.mktemp("sent")
    case = RecordedCase.of(str(write_case(folder / "case")), open_source)
    hand_over(case, folder / "out.dcm", Wishes(excerpt=Excerpt(to_s=0.2), keep_text=True, report=False))
    return SentFile.of(folder / "out.dcm")


@contextmanager
def served(syntax: str, takes: str, **answers: Answer) -> Iterator[Peer]:
    """A server that takes one kind of thing in one transfer syntax and answers as it is told."""
    ae = AE("PEER")
    ae.add_supported_context(takes, syntax)
    handlers: list[Any] = [(getattr(evt, f"EVT_{name}"), answer) for name, answer in answers.items()]
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    assert server is not None
    try:
        yield Peer("PEER", "127.0.0.1", server.socket.getsockname()[1])
    finally:
        server.shutdown()


def test_a_receiver_without_room_is_told_of_with_its_status(file: SentFile) -> None:
    answer = served(JPEGLSLossless, file.sop_class, C_STORE=lambda event: OUT_OF_ROOM)
    with answer as peer, pytest.raises(HandOnError, match="0xA700"):
        [*store(peer, [file])]


def test_a_receiver_that_knows_no_jpeg_ls_is_not_sent_any(file: SentFile) -> None:
    answer = served(ExplicitVRLittleEndian, file.sop_class, C_STORE=lambda event: SUCCESS)
    with answer as peer, pytest.raises(HandOnError, match="does not take"):
        [*store(peer, [file])]


def test_what_arrives_is_what_was_written(file: SentFile) -> None:
    came: list[bytes] = []

    def take(event: evt.Event) -> int:
        came.append(event.request.DataSet.getvalue())
        return SUCCESS

    with served(JPEGLSLossless, file.sop_class, C_STORE=take) as peer:
        assert [*store(peer, [file])] == [file]
    assert file.path.read_bytes().endswith(came[0])


def test_a_promise_on_the_same_association_is_heard(file: SentFile) -> None:
    late: list[threading.Thread] = []

    def promise(association: Association, request: Dataset) -> None:
        kept = Dataset()
        kept.TransactionUID, kept.ReferencedSOPSequence = request.TransactionUID, request.ReferencedSOPSequence
        association.send_n_event_report(kept, 1, COMMITMENT, COMMITMENT_INSTANCE)

    def act(event: evt.Event) -> tuple[int, None]:
        late.append(threading.Timer(0.2, promise, (event.assoc, event.action_information)))
        late[-1].start()
        return SUCCESS, None

    with served(ExplicitVRLittleEndian, COMMITMENT, N_ACTION=act) as peer:
        answer = commit(peer, [file], port=0, timeout_s=10)
        late[0].join()
    assert answer.kept == {file.sop_instance}


def test_a_promise_that_does_not_come_in_time_is_an_error(file: SentFile) -> None:
    answer = served(ExplicitVRLittleEndian, COMMITMENT, N_ACTION=lambda event: (SUCCESS, None))
    with answer as peer, pytest.raises(HandOnError, match=r"no answer .* within 0\.1 s"):
        commit(peer, [file], port=0, timeout_s=0.1)


def test_a_refused_request_for_commitment_is_an_error(file: SentFile) -> None:
    answer = served(ExplicitVRLittleEndian, COMMITMENT, N_ACTION=lambda event: (CANNOT_PROCESS, None))
    with answer as peer, pytest.raises(HandOnError, match="0x0110"):
        commit(peer, [file], port=0, timeout_s=1)


@pytest.mark.parametrize("wrong", [{"AccessionNumber": NAME * 3}, {"PatientBirthDate": "195001"}, {"PatientSex": "X"}])
def test_an_entry_of_a_worklist_that_is_not_as_dicom_says_is_left_out_without_a_word_of_what_is_in_it(
    wrong: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    def find(event: evt.Event) -> Iterator[tuple[int, Dataset]]:
        for values in (wrong, {"PatientID": "sound"}):
            entry = Dataset()
            entry.SpecificCharacterSet = "ISO_IR 192"
            entry.PatientName = NAME
            for name, value in values.items():
                with disable_value_validation():
                    setattr(entry, name, value)
            yield 0xFF00, entry

    with served(ExplicitVRLittleEndian, WORKLIST, C_FIND=find) as peer:
        assert [entry.patient.id for entry in worklist(peer)] == ["sound"]
    assert "1 entries of the worklist" in caplog.text
    assert not [word for word in SECRETS if word in caplog.text]


@pytest.mark.parametrize("text", ["PACS", "PACS@host", "@host:104", "PACS@host:0", "A_TITLE_OF_20_LETTERS@host:104"])
def test_an_address_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(HandOnError, match="expected AET@HOST:PORT"):
        Peer.parse(text)


def test_a_file_that_is_not_dicom_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.dcm").write_bytes(b"no")
    with pytest.raises(HandOnError, match=r"x\.dcm: not a DICOM file"):
        SentFile.of(tmp_path / "x.dcm")
