"""What is wrong beside the picture: the disk, the recorder, those who should be listening. Facts in, conditions out."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from guidance.records import AlertKind, Condition, Priority
from guidance.safety.limits import Limits


@dataclass(frozen=True, slots=True)
class Equipment:
    """How the service's surroundings do.

    ``disk_free_mb``: where the alarm log lies, None where none is kept. ``recorder_fault``: why it cannot be written,
    in words. ``silent_s``: for each subscriber that has given its name and not left, how long ago it was heard.
    """

    disk_free_mb: float | None = None
    recorder_fault: str | None = None
    recorder_stopped_for_s: float = 0.0
    silent_s: tuple[tuple[str, float], ...] = ()


def equipment_conditions(equipment: Equipment, limits: Limits, told: Iterable[AlertKind] = ()) -> Iterator[Condition]:
    """What is wrong with it. ``told``: the kinds that have alarmed, which are over only beyond their threshold."""
    free_mb = equipment.disk_free_mb
    enough_mb = limits.disk_free_mb / (limits.release_share if AlertKind.DISK_FILLING in told else 1.0)
    if free_mb is not None and free_mb < enough_mb:
        text = f"Disk is filling: {free_mb:.0f} MB left for the alarm log"
        yield Condition(AlertKind.DISK_FILLING, Priority.LOW, free_mb, "MB", text)
    if equipment.recorder_fault is not None:
        text = f"Alarm log is not being written: {equipment.recorder_fault}"
        yield Condition(AlertKind.RECORDER_STOPPED, Priority.MEDIUM, equipment.recorder_stopped_for_s, "s", text)
    for name, silent_s in equipment.silent_s:
        if silent_s >= limits.subscriber_grace_s:
            text = f"{name} has not been listening for {silent_s:.0f} s"
            yield Condition(AlertKind.SUBSCRIBER_LOST, Priority.MEDIUM, silent_s, "s", text, subject=name)
