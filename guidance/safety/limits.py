"""Thresholds of the rules and the alarms, as plain records. ``guidance.settings`` gives their reasons and ranges."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """When a finding is a condition."""

    cement_in_zone_mm2: float = 4.0
    cement_near_zone_mm: float = 3.0
    cement_arrival_s: float = 2.0
    cement_escape_mm_per_s: float = 5.0
    cement_near_root_mm: float = 2.0
    needle_near_zone_mm: float = 3.0
    needle_near_root_mm: float = 3.0
    behind_ms: float = 250.0
    release_mm: float = 0.5
    release_share: float = 0.75
    disk_free_mb: float = 1024.0
    recording_left_min: float = 60.0
    subscriber_grace_s: float = 3.0


@dataclass(frozen=True, slots=True)
class AlarmTiming:
    """When a condition is an alert, and when the alert is over. Pulses are x-ray pulses, not video repeats."""

    persistence_pulses: int = 2
    release_pulses: int = 5
    lost_grace_s: float = 0.25
    frozen_grace_s: float = 1.0
    corrupt_grace_s: float = 0.25
    reference_grace_s: float = 0.25
    behind_grace_s: float = 0.5
    technical_release_s: float = 0.5
    latch_technical: bool = False
    audio_pause_s: float = 120.0
    renotify_s: float = 300.0
    worse_factor: float = 2.0
    worse_needle_mm: float = 2.0
