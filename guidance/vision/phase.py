"""Where in the procedure a frame lies: as planned, or inferred from what is seen."""

from collections.abc import Sequence

from guidance.records import Needle, Phase, PhaseMark

SETTLED_PULSES = 3
"""A needle must be seen on this many pulses in a row before it moves the phase on: one ghost must not."""

CEMENT_PULSES = 6
"""Growth at a tip must stay for so many pulses while no needle is driven: a stroke looks like growth until it is seen
as one."""


class PhaseClock:
    """The phase of each pulse. With marks from the plan they decide; without, the procedure's own order does.

    Inference only ever goes forward through baseline, epidurogram, needle and cement, because each phase leaves traces
    that the next one needs (the roadmap, the fresh baseline): contrast arriving before any needle is the epidurogram,
    a settled needle is the needle phase, lasting growth at a tip and beside its shaft is cement. What it misses: a
    second epidurogram after the needles, and contrast given through a needle, which it takes for cement.
    """

    def __init__(self, marks: Sequence[PhaseMark]) -> None:
        self._marks = tuple(marks)
        self._inferred = Phase.BASELINE
        self._needle_pulses = 0
        self._cement_pulses = 0

    @property
    def is_inferred(self) -> bool:
        """Whether nobody has said which phase it is."""
        return not self._marks

    def at(self, t_s: float) -> Phase:
        """The phase at ``t_s``: planned, or as far as has been inferred."""
        if self.is_inferred:
            return self._inferred
        begun = [mark.phase for mark in self._marks if mark.at_s <= t_s]
        return begun[-1] if begun else Phase.BASELINE

    def set(self, phase: Phase, t_s: float) -> None:
        """From ``t_s`` on it is this phase: the operator's word, which also ends what the plan had for later."""
        before = tuple(mark for mark in self._marks if mark.at_s < t_s)
        # What had been inferred until now stays said of the time before.
        self._marks = (*(before or (PhaseMark(0.0, self._inferred),)), PhaseMark(t_s, phase))

    def note(self, needles: Sequence[Needle], contrast_seen: bool, cement_seen: bool) -> None:
        """Learn from one pulse's findings; they move the inferred phase of the following pulses."""
        self._needle_pulses = self._needle_pulses + 1 if any(not n.predicted for n in needles) else 0
        self._cement_pulses = self._cement_pulses + 1 if cement_seen else 0
        if self._inferred is Phase.BASELINE and contrast_seen:
            self._inferred = Phase.EPIDUROGRAM
        if self._inferred in (Phase.BASELINE, Phase.EPIDUROGRAM) and self._needle_pulses >= SETTLED_PULSES:
            self._inferred = Phase.NEEDLE
        if self._inferred is Phase.NEEDLE and self._cement_pulses >= CEMENT_PULSES:
            self._inferred = Phase.CEMENT
