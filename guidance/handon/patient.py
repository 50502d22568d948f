"""Who the patient is and which study this belongs to: ``patient.json``, the only file that knows."""

import json
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydicom import dcmread
from pydicom.config import disable_value_validation
from pydicom.errors import InvalidDicomError

from guidance.handon import HandOnError


def _one_line(text: str) -> str:
    if "\\" in text or any(ord(letter) < 32 or ord(letter) == 127 for letter in text):
        raise ValueError("expected no backslash and no control character")
    return text


def _name(text: str) -> str:
    if any(len(group) > 64 for group in text.split("=")) or text.count("=") > 2:
        raise ValueError("expected at most 64 letters, as FAMILY^GIVEN, in each of at most three scripts")
    return _one_line(text)


def _text(longest: int, **more: Any) -> Any:
    """A text that DICOM can hold; ``repr`` off, so that no error or log shows it by accident."""
    return Field(default="", max_length=longest, repr=False, **more)


_KEYWORDS = {
    "name": "PatientName",
    "id": "PatientID",
    "birth_date": "PatientBirthDate",
    "sex": "PatientSex",
    "accession_number": "AccessionNumber",
    "study_uid": "StudyInstanceUID",
    "study_id": "StudyID",
    "study_description": "StudyDescription",
    "referring_physician": "ReferringPhysicianName",
}

Text = Annotated[str, AfterValidator(_one_line)]
Name = Annotated[str, AfterValidator(_name)]


@contextmanager
def in_confidence() -> Iterator[None]:
    """Meanwhile nobody is told of a value that pydicom or highdicom doubts: their warnings repeat it."""
    with warnings.catch_warnings(), disable_value_validation():
        warnings.simplefilter("ignore")
        yield


class Patient(BaseModel):
    """A patient and the study that a case belongs to; empty or null where not known.

    ``name`` and ``referring_physician``: FAMILY^GIVEN. ``study_uid``: of the study that the order made, so that
    pictures and report join it. ``procedure_id`` and ``step_id``: Requested Procedure ID and Scheduled Procedure Step
    ID.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, hide_input_in_errors=True)

    version: Literal[1] = Field(default=1, alias="schema")
    name: Name = _text(324)
    id: Text = _text(64)
    birth_date: date | None = Field(default=None, repr=False)
    sex: Literal["M", "F", "O"] | None = Field(default=None, repr=False)
    accession_number: Text = _text(16)
    study_uid: str | None = Field(default=None, pattern=r"^[0-2](\.(0|[1-9]\d*))+$", max_length=64, repr=False)
    study_id: Text = _text(16)
    study_description: Text = _text(64)
    referring_physician: Name = _text(324)
    procedure_id: Text = _text(16)
    step_id: Text = _text(16)

    @classmethod
    def read(cls, path: Path) -> Self:
        """The file's patient. Raises HandOnError, which names the place in it and never what stands there."""
        try:
            given = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise HandOnError(f"{path}: cannot be read ({error.strerror}); expected a patient.json") from error
        except ValueError:
            # The parser's own words may repeat what it stumbled over.
            raise HandOnError(f"{path}: not valid JSON; expected a patient.json") from None
        return cls.checked(given, str(path))

    @classmethod
    def of_dicom(cls, path: Path) -> Self:
        """Whom a DICOM file names, and its study. Raises HandOnError where that is none, as ``checked``."""
        with in_confidence():
            try:
                header = dcmread(path, stop_before_pixels=True)
            except (OSError, InvalidDicomError) as error:
                raise HandOnError(f"{path}: cannot be read; expected a DICOM file") from error
            told = {name: str(header.get(keyword, None) or "").strip() for name, keyword in _KEYWORDS.items()}
        born = told.pop("birth_date")
        return cls.checked(
            {name: text for name, text in told.items() if text}
            | {"birth_date": f"{born[:4]}-{born[4:6]}-{born[6:8]}" if re.fullmatch("[0-9]{8}", born) else None},
            str(path),
        )

    @classmethod
    def checked(cls, given: object, name: str) -> Self:
        """The patient that ``given`` describes; ``name`` is what an error calls it. Raises HandOnError as ``read``."""
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            if first["type"] == "extra_forbidden":
                # The name of a field that is none may be anything.
                raise HandOnError(f"{name}: an unknown field; expected {', '.join(cls.model_fields)}") from None
            place = ".".join(str(part) for part in first["loc"]) or "patient"
            raise HandOnError(f"{name}: {place}: {first['msg']}") from None

    def write(self, path: Path) -> None:
        """The file, which its owner alone may read. Raises HandOnError."""
        text = self.model_dump_json(by_alias=True, indent=1) + "\n"
        try:
            # Never readable by others, not for a moment, also where the file was.
            path.unlink(missing_ok=True)
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise HandOnError(f"{path}: cannot be written ({error.strerror}); expected a writable place") from error
