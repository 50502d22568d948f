"""What all objects of one hand-over have in common: patient, study, equipment, and whether they name anybody."""

from dataclasses import dataclass, field
from datetime import datetime

from pydicom.dataset import Dataset
from pydicom.uid import UID, generate_uid

import guidance
from guidance.handon.patient import Patient, in_confidence

CODES = (("113100", "Basic Application Confidentiality Profile"), ("113101", "Clean Pixel Data Option"))
"""PS3.16, CID 7050."""


def new_uid() -> UID:
    """A UID of the form 2.25.UUID, drawn at random: nothing in it leads back to a case."""
    return generate_uid(prefix=None)


@dataclass(frozen=True, slots=True)
class Study:
    """Patient and study of what is handed on together.

    ``patient`` None: nobody can be told from it. Then names, dates and numbers are empty, which the basic profile of
    PS3.15, Annex E, asks for wherever an attribute must be there, and all else that the profile removes is never
    written. ``began``: when the case's first frame came, None where not known or not to be told. ``clean_pixels``:
    burned-in text has been blacked out.
    """

    patient: Patient | None
    began: datetime | None
    clean_pixels: bool
    uid: UID = field(default_factory=new_uid)

    @classmethod
    def of(cls, patient: Patient | None, began: datetime | None, clean_pixels: bool) -> "Study":
        """The study that the patient's order names, or else a new one; without a patient also without a date."""
        if patient is None:
            return cls(None, None, clean_pixels)
        local = None if began is None else began.astimezone()
        return cls(patient, local, clean_pixels, UID(patient.study_uid) if patient.study_uid else new_uid())

    def dataset(self) -> Dataset:
        """The modules Patient, General Study, General Equipment and what SOP Common says of the text's alphabet."""
        with in_confidence():
            return self._dataset(self.patient or Patient())

    def _dataset(self, patient: Patient) -> Dataset:
        ds = Dataset()
        ds.SpecificCharacterSet = "ISO_IR 192"
        ds.PatientName, ds.PatientID = patient.name, patient.id
        ds.PatientBirthDate = "" if patient.birth_date is None else f"{patient.birth_date:%Y%m%d}"
        ds.PatientSex = patient.sex or ""
        ds.StudyInstanceUID = self.uid
        ds.StudyDate = "" if self.began is None else f"{self.began:%Y%m%d}"
        ds.StudyTime = "" if self.began is None else f"{self.began:%H%M%S}"
        ds.AccessionNumber, ds.StudyID = patient.accession_number, patient.study_id
        ds.ReferringPhysicianName = patient.referring_physician
        if patient.study_description:
            ds.StudyDescription = patient.study_description
        if patient.procedure_id or patient.step_id:
            request = Dataset()
            request.RequestedProcedureID, request.ScheduledProcedureStepID = patient.procedure_id, patient.step_id
            ds.RequestAttributesSequence = [request]
        if self.began is not None:
            ds.TimezoneOffsetFromUTC = f"{self.began:%z}"
        self.mark(ds)
        ds.Manufacturer = ds.ManufacturerModelName = "fluoroguide"
        ds.SoftwareVersions = guidance.__version__
        return ds

    def mark(self, ds: Dataset) -> None:
        """Note in an object whether anybody can be told from it, and how that was done (PS3.15, E.1.1)."""
        unknown = self.patient is None and self.clean_pixels
        ds.PatientIdentityRemoved = "YES" if unknown else "NO"
        if not unknown:
            return
        ds.DeidentificationMethod = [
            f"fluoroguide {guidance.__version__}",
            "no identity written",
            "burned-in text blacked out",
        ]
        ds.DeidentificationMethodCodeSequence = [_code(value, meaning) for value, meaning in CODES]
        ds.LongitudinalTemporalInformationModified = "REMOVED"


def _code(value: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, "DCM", meaning
    return code
