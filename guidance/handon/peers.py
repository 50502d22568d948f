"""Other systems of the hospital: pictures sent to them, their promise to keep them, and their worklist."""

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Self

import requests
from dicomweb_client import DICOMwebClient
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID
from pynetdicom import AE, _config, evt
from pynetdicom.association import Association

from guidance.handon import COMMIT_PORT, OWN_AE_TITLE, HandOnError
from guidance.handon.patient import Patient, in_confidence
from guidance.handon.study import new_uid

ANSWER_S = 30.0
"""An archive that compresses anew, or writes to tape, takes its time over a large file."""

# By their numbers, since pynetdicom makes their names at run time (PS3.4, annexes A, J and K).
VERIFICATION = UID("1.2.840.10008.1.1")
COMMITMENT, COMMITMENT_INSTANCE = UID("1.2.840.10008.1.20.1"), UID("1.2.840.10008.1.20.1.1")
WORKLIST = UID("1.2.840.10008.5.1.4.31")

SLOWEST_BYTES_PER_S = 1_000_000
"""A line that carries less than this is taken for broken."""

SUCCESS, PENDING, WARNINGS = 0x0000, (0xFF00, 0xFF01), range(0xB000, 0xC000)

# What pynetdicom logs of its own accord: identifiers hold the patient.
_config.LOG_HANDLER_LEVEL = "none"
_config.LOG_REQUEST_IDENTIFIERS = _config.LOG_RESPONSE_IDENTIFIERS = False
_config.STORE_SEND_CHUNKED_DATASET = True

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Peer:
    """A DICOM application elsewhere: AET@HOST:PORT."""

    ae_title: str
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises HandOnError for what is not of the form AET@HOST:PORT."""
        title, _, place = text.rpartition("@")
        host, _, port = place.rpartition(":")
        if not (0 < len(title) <= 16 and host and port.isdecimal() and 0 < int(port) < 65536):
            raise HandOnError(f"{text}: expected AET@HOST:PORT, an AE title of at most 16 letters")
        return cls(title, host.strip("[]"), int(port))

    def __str__(self) -> str:
        return f"{self.ae_title}@{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class SentFile:
    """A DICOM file and what names it to others."""

    path: Path
    sop_class: UID
    sop_instance: UID
    syntax: UID

    @classmethod
    def of(cls, path: Path) -> Self:
        """Raises HandOnError for what is no DICOM file."""
        try:
            meta = dcmread(path, specific_tags=[]).file_meta
            return cls(path, meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID, meta.TransferSyntaxUID)
        except OSError as error:
            raise HandOnError(f"{path}: cannot be read ({error.strerror}); expected a DICOM file") from error
        except (InvalidDicomError, AttributeError) as error:
            raise HandOnError(
                f"{path}: not a DICOM file; expected one that `fluoroguide export` has written"
            ) from error


def store(peer: Peer, files: Sequence[SentFile], own_ae_title: str = OWN_AE_TITLE) -> Iterator[SentFile]:
    """Each file once the peer has it (C-STORE). A file that is sent waits in memory. Raises HandOnError.

    Each transfer syntax is proposed in a presentation context of its own: of several in one, a peer may pick the
    uncompressed one, and then can't be given what is compressed.
    """
    ae = AE(own_ae_title)
    for sop_class, syntax in sorted({(file.sop_class, file.syntax) for file in files}):
        ae.add_requested_context(sop_class, syntax)
    # The answer is waited for from the moment on which the file is read, not from that on which it is sent.
    largest_bytes = max((file.path.stat().st_size for file in files), default=0)
    ae.dimse_timeout = ae.network_timeout = ANSWER_S + largest_bytes / SLOWEST_BYTES_PER_S
    with _associated(ae, peer) as association:
        for file in files:
            try:
                status = association.send_c_store(file.path)
            except (ValueError, RuntimeError) as error:
                raise HandOnError(f"{file.path}: {peer} does not take it: {' '.join(str(error).split())}") from error
            _require_success(status, f"{file.path}: {peer}", "stored")
            yield file


@dataclass(slots=True)
class Commitment:
    """What a peer promises. ``kept``: what it will keep. ``refused``: other instances, each with DICOM's reason."""

    kept: set[str] = field(default_factory=set)
    refused: dict[str, int] = field(default_factory=dict)


def commit(
    peer: Peer,
    files: Sequence[SentFile],
    own_ae_title: str = OWN_AE_TITLE,
    port: int = COMMIT_PORT,
    timeout_s: float = 60.0,
) -> Commitment:
    """The peer's answer to the request to keep what it was sent (storage commitment, PS3.4 annex J).

    The answer comes on the same association or on one that the peer opens to ``port`` of this machine, where it must
    know ``own_ae_title``. Raises HandOnError where none comes in time.
    """
    transaction, answer, answered = new_uid(), Commitment(), threading.Event()

    def take(event: evt.Event) -> tuple[int, None]:
        told = event.event_information
        if told.get("TransactionUID") == transaction:
            answer.kept = {item.ReferencedSOPInstanceUID for item in told.get("ReferencedSOPSequence") or ()}
            answer.refused = {
                item.ReferencedSOPInstanceUID: int(item.get("FailureReason") or 0)
                for item in told.get("FailedSOPSequence") or ()
            }
            answered.set()
        return SUCCESS, None

    handlers: list[Any] = [(evt.EVT_N_EVENT_REPORT, take)]
    ae = AE(own_ae_title)
    ae.add_requested_context(COMMITMENT)
    # The peer that comes back is the provider still: it must be let play that part.
    ae.add_supported_context(COMMITMENT, scu_role=False, scp_role=True)
    ae.add_supported_context(VERIFICATION)
    ae.dimse_timeout = ae.network_timeout = ANSWER_S
    request = Dataset()
    request.TransactionUID = transaction
    request.ReferencedSOPSequence = [_reference(file) for file in files]
    try:
        server = ae.start_server(("", port), block=False, evt_handlers=handlers)
    except OSError as error:
        raise HandOnError(f"port {port}: {error.strerror}; expected a free one for {peer}'s answer") from error
    try:
        with _associated(ae, peer, handlers) as association:
            status, _ = association.send_n_action(request, 1, COMMITMENT, COMMITMENT_INSTANCE)
            _require_success(status, f"{peer}", "took the request for commitment")
            answered.wait(min(2.0, timeout_s))
        if not answered.wait(timeout_s):
            raise HandOnError(
                f"{peer}: no answer to the request for commitment within {timeout_s:g} s; expected one at port {port}, "
                f"where it must know {own_ae_title}"
            )
    finally:
        assert server is not None
        server.shutdown()
    return answer


def stow(url: str, files: Sequence[SentFile]) -> Iterator[SentFile]:
    """Each file once the DICOMweb service has it (STOW-RS), one a request. Raises HandOnError.

    A login is taken from ~/.netrc, as curl does. A file is held in memory, and so is the message made from it.
    """
    try:
        client = DICOMwebClient(url, timeout=(10.0, 10 * ANSWER_S))
        client.set_http_retry_params(retry=False)
    except ValueError as error:
        raise HandOnError(f"{url}: {error}; expected the address of a DICOMweb service") from error
    for file in files:
        try:
            with in_confidence():
                answer = client.store_instances([dcmread(file.path)])
        except requests.RequestException as error:
            raise HandOnError(f"{file.path}: {url} does not take it: {_words(error)}") from error
        if file.sop_instance not in {i.ReferencedSOPInstanceUID for i in answer.get("ReferencedSOPSequence") or ()}:
            failed = next(iter(answer.get("FailedSOPSequence") or ()), Dataset())
            raise HandOnError(f"{file.path}: {url} has not stored it (reason {failed.get('FailureReason', 'unknown')})")
        yield file


@dataclass(frozen=True, slots=True)
class WorklistEntry:
    """A step that is scheduled: whose it is, when and where. ``when``: as DICOM writes it, YYYYMMDD HHMM."""

    patient: Patient = field(repr=False)
    when: str
    station: str
    modality: str
    step: str


def worklist(
    peer: Peer,
    own_ae_title: str = OWN_AE_TITLE,
    *,
    day: date | None = None,
    modality: str = "",
    station: str = "",
    accession_number: str = "",
) -> list[WorklistEntry]:
    """What is scheduled, of the day, modality, station (AE title) and number that are given. Raises HandOnError.

    An entry that is not as DICOM says is left out, with a warning that it was.
    """
    ae = AE(own_ae_title)
    ae.add_requested_context(WORKLIST)
    ae.dimse_timeout = ae.network_timeout = ANSWER_S
    entries: list[WorklistEntry | None] = []
    with _associated(ae, peer) as association, in_confidence():
        question = _question(day, modality, station, accession_number)
        for status, found in association.send_c_find(question, WORKLIST):
            if status and status.Status in PENDING and found is not None:
                entries.append(_entry(found))
            else:
                _require_success(status, f"{peer}", "answered about its worklist")
    if None in entries:
        log.warning("%s: %d entries of the worklist are not as DICOM says: left out", peer, entries.count(None))
    return sorted(filter(None, entries), key=lambda entry: (entry.when, entry.patient.accession_number))


_ASKED = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyInstanceUID",
    "ReferringPhysicianName",
    "RequestedProcedureID",
    "RequestedProcedureDescription",
)


def _question(day: date | None, modality: str, station: str, accession_number: str) -> Dataset:
    """An empty attribute asks for its value (PS3.4, K.6.1.2.2)."""
    step = Dataset()
    step.Modality = modality
    step.ScheduledStationAETitle = station
    step.ScheduledProcedureStepStartDate = "" if day is None else f"{day:%Y%m%d}"
    step.ScheduledProcedureStepStartTime = ""
    step.ScheduledProcedureStepDescription = ""
    step.ScheduledProcedureStepID = ""
    question = Dataset()
    question.SpecificCharacterSet = "ISO_IR 192"
    for name in _ASKED:
        setattr(question, name, "")
    question.AccessionNumber = accession_number
    question.ScheduledProcedureStepSequence = [step]
    return question


def _entry(found: Dataset) -> WorklistEntry | None:
    step = next(iter(found.get("ScheduledProcedureStepSequence") or ()), Dataset())
    born = str(found.get("PatientBirthDate") or "")
    try:
        patient = Patient.model_validate(
            {
                "name": str(found.get("PatientName") or ""),
                "id": str(found.get("PatientID") or ""),
                "birth_date": date.fromisoformat(born) if born else None,
                "sex": str(found.get("PatientSex") or "") or None,
                "accession_number": str(found.get("AccessionNumber") or ""),
                "study_uid": str(found.get("StudyInstanceUID") or "") or None,
                "study_description": str(found.get("RequestedProcedureDescription") or ""),
                "referring_physician": str(found.get("ReferringPhysicianName") or ""),
                "procedure_id": str(found.get("RequestedProcedureID") or ""),
                "step_id": str(step.get("ScheduledProcedureStepID") or ""),
            }
        )
    except ValueError:
        # Lengths, dates or codes are wrong; the error's own words could hold what they are about.
        return None
    return WorklistEntry(
        patient,
        f"{step.get('ScheduledProcedureStepStartDate') or ''} {step.get('ScheduledProcedureStepStartTime') or ''}"[
            :13
        ].strip(),
        str(step.get("ScheduledStationAETitle") or ""),
        str(step.get("Modality") or ""),
        str(step.get("ScheduledProcedureStepDescription") or ""),
    )


@contextmanager
def _associated(ae: AE, peer: Peer, handlers: list[Any] | None = None) -> Iterator[Association]:
    try:
        association = ae.associate(peer.host, peer.port, ae_title=peer.ae_title, evt_handlers=handlers)
    except OSError as error:
        raise HandOnError(f"{peer}: {error.strerror}; expected the name or address of a machine") from error
    if not association.is_established:
        if association.is_rejected:
            raise HandOnError(f"{peer}: refuses {ae.ae_title}; expected it among the AE titles that it knows")
        if association.rejected_contexts:
            names = ", ".join(sorted({UID(cx.abstract_syntax or "").name for cx in association.rejected_contexts}))
            raise HandOnError(f"{peer}: does not take {names}")
        raise HandOnError(f"{peer}: nobody answers; expected a DICOM application there")
    try:
        yield association
    finally:
        if association.is_established:
            association.release()


def _require_success(status: Dataset | None, who: str, what: str) -> None:
    code = None if status is None else status.get("Status")
    if code is None:
        raise HandOnError(f"{who}: no answer; expected it to have {what}")
    if code != SUCCESS and code not in WARNINGS:
        raise HandOnError(f"{who}: status 0x{code:04X}; expected it to have {what}")
    if code in WARNINGS:
        log.warning("%s: done, with warning 0x%04X", who, code)


def _reference(file: SentFile) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = file.sop_class, file.sop_instance
    return item


def _words(error: requests.RequestException) -> str:
    """One line; of an answer with a status that alone, since what stands in its text is not ours to repeat."""
    if error.response is not None:
        return f"HTTP status {error.response.status_code}"
    return type(error).__name__
