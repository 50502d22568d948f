"""A small case as the archive has it: thirty frames of ten pulses, a needle, cement, an alert, a patient."""

import json
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from drivers.frame import Frame, SourceInfo, freeze
from guidance.casebook.recorder import CaseRecorder
from guidance.records import (
    Alert,
    AlertKind,
    AlertState,
    CementDeposit,
    FieldKind,
    FieldOutline,
    Findings,
    FrameState,
    Needle,
    Phase,
    Priority,
    Registration,
    Scale,
    ScaleSource,
    View,
)
from guidance.wire import alert_message, findings_message

WIDTH_PX, HEIGHT_PX = 320, 256
FRAMES_A_PULSE, PULSES = 3, 10
FRAME_S = 1 / 30
NAME, ID, ACCESSION = "Müller^Änne", "PID-4711", "ACC-99"
PATIENT = {
    "schema": 1,
    "name": NAME,
    "id": ID,
    "birth_date": "1950-01-31",
    "sex": "F",
    "accession_number": ACCESSION,
    "study_uid": "1.2.826.0.1.3680043.8.498.1",
    "study_description": "Sacroplasty",
    "referring_physician": "Ito^Ken",
}
SECRETS = (NAME, "Müller", ID, ACCESSION, "1950-01", "195001", "Ito^Ken")
BANNER = "MULLER ANNE"


def picture(seed: int, bits: int = 8, text: str = BANNER) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """A round x-ray field of noise on black, with ``text`` burned in beside it."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:HEIGHT_PX, :WIDTH_PX]
    level = 120 + 40 * np.sin(x / 30 + seed / 9) * np.cos(y / 23) + rng.normal(0, 6, x.shape)
    level[np.hypot(x - 160, y - 128) > 118] = 4
    grey = np.clip(level, 0, 255).astype(np.uint8)
    cv2.putText(grey, text, (2, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.45, 255, 1)
    if bits == 8:
        return grey
    return grey.astype(np.uint16) << (bits - 8) | rng.integers(0, 2 ** (bits - 8), x.shape, dtype=np.uint16)


def findings(frame: int) -> Findings:
    """A needle that goes deeper with each pulse, and cement that grows from the sixth on."""
    pulse = frame // FRAMES_A_PULSE
    is_cement = pulse >= 5
    needle = Needle(1, (150.0, 120.0), ((150.0, 120.0), (90.0, 40.0)), 126.9, 7.0, 0.05 * pulse, False, 0.9)
    ring = np.array([[140.0, 110.0], [160.0, 110.0], [160.0, 130.0]])
    return Findings(
        frame=frame,
        t_s=frame * FRAME_S,
        state=FrameState.LIVE if frame % FRAMES_A_PULSE == 0 else FrameState.HELD,
        phase=Phase.CEMENT if is_cement else Phase.NEEDLE,
        phase_inferred=False,
        view=View.AP,
        view_id=0,
        field=FieldOutline(FieldKind.CIRCLE, ring, bone_dark=True),
        registration=Registration((0.0, 0.0), 0.0, 0.97, ok=True),
        scale=Scale(0.4, ScaleSource.NEEDLE),
        needles=(needle,),
        cement=(CementDeposit(1, (ring,), 10.0 * (pulse - 4)),) if is_cement else (),
        pulse=pulse + 1,
    )


def alert(state: AlertState, frame: int) -> Alert:
    return Alert(
        id=3,
        kind=AlertKind.CEMENT_IN_ZONE,
        priority=Priority.HIGH,
        state=state,
        frame=frame,
        t_s=frame * FRAME_S,
        zone="foramen_S1L",
        needle=None,
        value=4.2,
        unit="mm2",
        text="Cement in foramen S1L: 4.2 mm²",
    )


def write_case(folder: Path, bits: int = 8) -> Path:
    """The case, recorded as the service does."""
    info = SourceInfo("grabber", WIDTH_PX, HEIGHT_PX, bits, live=True)
    case = CaseRecorder(folder, info, {"schema": 1}, datetime(2026, 11, 30, 16, 52, 14, tzinfo=UTC))
    for i in range(PULSES * FRAMES_A_PULSE):
        case.frame(Frame(freeze(picture(i // FRAMES_A_PULSE, bits)), 77 + i * FRAME_S, i, bits))
        case.findings(findings_message(findings(i)))
    changes = [alert(AlertState.RAISED, 18), alert(AlertState.ACKNOWLEDGED, 21), alert(AlertState.CLEARED, 27)]
    case.alerts(alert_message(change) for change in changes)
    case.close()
    (folder / "patient.json").write_text(json.dumps(PATIENT), encoding="utf-8")
    return folder
