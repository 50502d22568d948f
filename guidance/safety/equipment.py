"""What is wrong beside the picture: the disk, the recorder, those who should be listening. Facts in, conditions out."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from guidance.records import AlertKind, Condition, Priority
from guidance.safety.limits import Limits

RECORDING = "recording"
"""What an alert is about that is not about the alarm log."""

BEHIND_FOR_S = 5.0
"""A frame lost to the recording is told so long."""


@dataclass(frozen=True, slots=True)
class Equipment:
    """How the service's surroundings do.

    ``disk_free_mb``: where the alarm log lies, None where none is kept. ``recorder_fault``: why it cannot be written,
    in words. ``minutes_left``: of recording, as the disk fills now. ``recording_fault``: why the case is not kept.
    ``not_recorded``: frames lost to the recording, ``not_recorded_ago_s`` since the last of them. ``silent_s``: for
    each subscriber that has given its name and not left, how long ago it was heard.
    """

    disk_free_mb: float | None = None
    recorder_fault: str | None = None
    recorder_stopped_for_s: float = 0.0
    minutes_left: float | None = None
    recording_fault: str | None = None
    recording_stopped_for_s: float = 0.0
    not_recorded: int = 0
    not_recorded_ago_s: float = float("inf")
    silent_s: tuple[tuple[str, float], ...] = ()


def equipment_conditions(equipment: Equipment, limits: Limits, told: Collection[AlertKind] = ()) -> Iterator[Condition]:
    """What is wrong with it. ``told``: the kinds that have alarmed, which are over only beyond their threshold."""
    free_mb = equipment.disk_free_mb
    enough_mb = limits.disk_free_mb / (limits.release_share if AlertKind.DISK_FILLING in told else 1.0)
    if free_mb is not None and free_mb < enough_mb:
        text = f"Disk is filling: {free_mb:.0f} MB left for the alarm log"
        yield Condition(AlertKind.DISK_FILLING, Priority.LOW, free_mb, "MB", text)
    if equipment.recorder_fault is not None:
        text = f"Alarm log is not being written: {equipment.recorder_fault}"
        yield Condition(AlertKind.RECORDER_STOPPED, Priority.MEDIUM, equipment.recorder_stopped_for_s, "s", text)
    yield from _recording_conditions(equipment, limits, told)
    for name, silent_s in equipment.silent_s:
        if silent_s >= limits.subscriber_grace_s:
            text = f"{name} has not been listening for {silent_s:.0f} s"
            yield Condition(AlertKind.SUBSCRIBER_LOST, Priority.MEDIUM, silent_s, "s", text, subject=name)


def _recording_conditions(equipment: Equipment, limits: Limits, told: Collection[AlertKind]) -> Iterator[Condition]:
    left_min = equipment.minutes_left
    enough_min = limits.recording_left_min / (limits.release_share if AlertKind.DISK_FILLING in told else 1.0)
    if left_min is not None and left_min < enough_min:
        text = f"Disk is filling: {left_min:.0f} min of recording left"
        yield Condition(AlertKind.DISK_FILLING, Priority.LOW, left_min, "min", text, subject=RECORDING)
    if equipment.recording_fault is not None:
        text = f"The case is not being recorded: {equipment.recording_fault}"
        stopped_s = equipment.recording_stopped_for_s
        yield Condition(AlertKind.RECORDER_STOPPED, Priority.MEDIUM, stopped_s, "s", text, subject=RECORDING)
    elif equipment.not_recorded_ago_s < BEHIND_FOR_S:
        text = f"Recorder is behind: {equipment.not_recorded} frames are not recorded"
        yield Condition(AlertKind.RECORDER_BEHIND, Priority.LOW, equipment.not_recorded, "frames", text)
