"""What is made once in a process and used again: patients, their shadows, where cement and contrast can go.

All of it is determined by its key, so a scenario opened a second time is there at once and has the same bytes. Each
shelf keeps the few things that were used last: two patients of about 270 MB, eight views of up to 13 MB at 1024 pixels.
Nothing on a shelf may be changed; the arrays of a view are read-only.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Self

from guidance.phantom.anatomy import make_patient
from guidance.phantom.carm import CArm
from guidance.phantom.ct import load_patient
from guidance.phantom.patient import Patient, Volume
from guidance.phantom.projector import path_lengths_cm
from guidance.phantom.spectrum import Beam
from guidance.phantom.spread import CementSpread, ContrastRun, Course, Leak


@dataclass(frozen=True, slots=True)
class PatientKey:
    """Which patient: the built-in one of a seed, or a CT volume as it was at ``changed_ns``."""

    seed: int
    ct: Path | None = None
    changed_ns: int = 0

    @classmethod
    def of(cls, seed: int, ct: Path | None) -> Self:
        """The key of a patient as found now. Raises OSError where there is no such CT volume."""
        return cls(seed) if ct is None else cls(0, ct.resolve(), ct.stat().st_mtime_ns)


@dataclass(frozen=True, slots=True, eq=False)
class BareView:
    """The patient alone in a view: path lengths in cm, and the share of the beam that comes through."""

    soft_cm: Volume
    bone_cm: Volume
    primary: Volume


@lru_cache(maxsize=2)
def patient_of(key: PatientKey) -> Patient:
    """The patient. Raises SourceError on a CT volume that cannot be used."""
    return make_patient(key.seed) if key.ct is None else load_patient(key.ct)


@lru_cache(maxsize=8)
def bare_view(key: PatientKey, carm: CArm, upsample: int, beam: Beam) -> BareView:
    """The patient in a view, kept. ``upsample`` as in ``path_lengths_cm``."""
    return project(patient_of(key), carm, upsample, beam)


def project(patient: Patient, carm: CArm, upsample: int, beam: Beam) -> BareView:
    """The patient in a view, not kept: for views that are seen once."""
    soft_cm, bone_cm = path_lengths_cm(patient, carm, upsample)
    view = BareView(soft_cm, bone_cm, beam.primary(soft_cm, bone_cm))
    for array in (view.soft_cm, view.bone_cm, view.primary):
        array.setflags(write=False)
    return view


def cement_spread(
    key: PatientKey, tip_mm: tuple[float, float, float], seed: int, leak: Leak | None, leak_after_ml: float
) -> CementSpread:
    """A deposit before anything has been injected."""
    return _untouched_spread(key, tip_mm, seed, leak, leak_after_ml).again()


@lru_cache(maxsize=8)
def contrast_run(key: PatientKey, root: str, ml: float, seed: int, washout_s: float, into: Course) -> ContrastRun:
    """An injection of contrast from its beginning to its end."""
    return ContrastRun(patient_of(key), root, ml, seed, washout_s=washout_s, into=into)


@lru_cache(maxsize=8)
def _untouched_spread(
    key: PatientKey, tip_mm: tuple[float, float, float], seed: int, leak: Leak | None, leak_after_ml: float
) -> CementSpread:
    return CementSpread(patient_of(key), tip_mm, seed, leak, leak_after_ml)
