"""Cases that the tests record: noise whose every pixel is known, and what was told beside it."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from drivers.frame import Frame, FrameFlag, SourceInfo, freeze
from guidance.casebook.recorder import CaseRecorder
from guidance.records import Alert, AlertKind, AlertState, Findings, FrameState, Phase, Priority, View
from guidance.wire import AlertMessage, FindingsMessage, alert_message, findings_message

WIDTH_PX, HEIGHT_PX = 70, 48
CODEC_AT_HZ = {"ffv1": 30.0, "magicyuv": 20_000.0}
"""How fast so small pictures must come to be kept in each codec."""


def info(bits: int = 8, rate_hz: float | None = None) -> SourceInfo:
    return SourceInfo("bench grabber", WIDTH_PX, HEIGHT_PX, bits, live=True, rate_hz=rate_hz, mm_per_px=0.25)


def frames(count: int = 12, bits: int = 8, repeats: int = 2, start_s: float = 1234.5) -> list[Frame]:
    """Frames at 30 a second, of which ``repeats`` in a row show the same pulse; the fourth came damaged."""
    rng = np.random.default_rng(count)
    dtype = np.uint8 if bits == 8 else np.uint16
    shown = [freeze(rng.integers(0, 2**bits, (HEIGHT_PX, WIDTH_PX)).astype(dtype)) for _ in range(-(-count // repeats))]
    return [
        Frame(shown[i // repeats], start_s + i / 30, 100 + i, bits, FrameFlag.CORRUPT if i == 3 else FrameFlag.NONE)
        for i in range(count)
    ]


def findings(number: int, t_s: float) -> FindingsMessage:
    """Nothing seen, in a live picture."""
    return findings_message(
        Findings(
            frame=number,
            t_s=t_s,
            state=FrameState.LIVE,
            phase=Phase.CEMENT,
            phase_inferred=False,
            view=View.AP,
            view_id=0,
            field=None,
            registration=None,
            scale=None,
        )
    )


def alert(number: int, t_s: float, state: AlertState = AlertState.RAISED) -> AlertMessage:
    """A leak."""
    return alert_message(
        Alert(
            id=1,
            kind=AlertKind.CEMENT_IN_ZONE,
            priority=Priority.HIGH,
            state=state,
            frame=number,
            t_s=t_s,
            zone="foramen_S1L",
            needle=None,
            value=4.2,
            unit="mm2",
            text="Cement in foramen S1L: 4.2 mm²",
        )
    )


def record(folder: Path, shown: Iterable[Frame] = (), close: bool = True, codec: str = "ffv1") -> CaseRecorder:
    """A case of these frames, each with its findings, and a leak on the fifth."""
    shown = list(shown) or frames()
    recorder = CaseRecorder(folder, info(shown[0].bits, CODEC_AT_HZ[codec]), {"schema": 1, "mm_per_px": 0.2})
    for i, frame in enumerate(shown):
        recorder.frame(frame)
        t_s = frame.t_s - shown[0].t_s
        recorder.findings(findings(i, t_s))
        if i == 5:
            recorder.alerts([alert(i, t_s)])
    if close:
        recorder.close()
    return recorder
