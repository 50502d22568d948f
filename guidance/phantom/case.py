"""A scenario rendered as a fixture case: the recording with its plan, its truth and bounds to hold it to."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from guidance.casebook.case import CaseTruth, FrameTruth, write_case
from guidance.phantom.monitor import Gray
from guidance.phantom.procedure import Procedure
from guidance.phantom.scenario import Scenario, load_scenario
from guidance.records import FrameState

Progress = Callable[[int, int], None]
"""Called with frames done and frames in all."""

EXPECT: dict[str, Any] = {
    "tip_median_px": 1.5,
    "tip_p95_mm": 1.0,
    "missed_share": 0.05,
    "false_needles_per_frame": 0.02,
    "dice_cement": 0.8,
    "dice_roots": 0.6,
    "leak_delay_frames": 4,
    "leaks_found_share": 1.0,
    "escapes_found_share": 1.0,
    "false_high_alerts": 0,
    "false_alerts": 1,
    "registration_median_mm": 0.5,
    "state_accuracy": 0.98,
}
"""What any case is held to unless its scenario's ``[expect]`` says otherwise; what it doesn't have is left out."""


def render_case(
    scenario: str | Path,
    out_dir: Path,
    seed: int | None = None,
    progress: Progress | None = None,
    ct: Path | None = None,
    size_px: int | None = None,
) -> CaseTruth:
    """Write the fixture case of a scenario, and give back its truth. Same seed, same bytes.

    ``scenario``: a built-in name or a .toml file. ``ct``: a CT volume to use instead of the scenario's patient.
    ``size_px``: another side for the detector's matrix.
    Raises ScenarioError on the scenario, CaseError on the folder.
    """
    played = load_scenario(scenario)
    if ct is not None:
        played = played.model_copy(update={"anatomy": played.anatomy.model_copy(update={"ct": str(ct.resolve())})})
    folder = Path(scenario).parent if str(scenario).endswith(".toml") else None
    procedure = Procedure(played, seed, size_px, folder)
    return write_case(
        out_dir,
        _frames(procedure, progress),
        mm_per_px=round(procedure.mm_per_px, 6),
        plan=procedure.plan,
        expect=bounds_of(played),
        source=_source_text(str(scenario), played, procedure.seed),
    )


def _frames(procedure: Procedure, progress: Progress | None) -> Iterator[tuple[Gray, FrameTruth]]:
    total = len(procedure.moments)
    for moment, pixels in procedure.frames():
        yield pixels, procedure.truth(moment)
        if progress is not None:
            progress(moment.frame + 1, total)


def bounds_of(scenario: Scenario) -> dict[str, Any]:
    """What a scenario's rendered case is held to: ``expect.json`` without its ``schema``."""
    bounds = dict(EXPECT)
    if any(interval.state is FrameState.FROZEN for interval in scenario.intervals):
        # A frozen picture can't be told from a held one until its clock should have ticked: up to a second.
        bounds["state_accuracy"] = 0.92
    absent = set()
    if not scenario.needles:
        absent |= {"tip_median_px", "tip_p95_mm", "missed_share"}
    if not scenario.cement:
        absent.add("dice_cement")
    # A vein leads past the zones: its leak is an escape, not cement in a zone.
    if not any(injection.leak not in (None, "vein") for injection in scenario.cement):
        absent |= {"leak_delay_frames", "leaks_found_share"}
    if not any(injection.leak for injection in scenario.cement):
        absent.add("escapes_found_share")
    if not any(injection.into == "root" for injection in scenario.contrast):
        absent.add("dice_roots")
    return {key: bound for key, bound in bounds.items() if key not in absent} | scenario.expect


def _source_text(name: str, scenario: Scenario, seed: int) -> str:
    patient = (
        "the built-in pelvis" if scenario.anatomy.ct is None else f"the CT volume {Path(scenario.anatomy.ct).name}"
    )
    return (
        f"# {scenario.title}\n\n"
        f"Simulated: `fluoroguide phantom {name} --seed {seed}`, on {patient}. No patient's data are in it.\n\n"
        "Licence: Apache-2.0, as the project.\n"
    )
