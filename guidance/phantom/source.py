"""The phantom as a source of frames, under ``phantom://SCENARIO?seed=N&size=N``."""

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, unquote, urlsplit

from drivers.errors import SourceError
from drivers.frame import Frame, FrameFlag, SourceInfo, freeze
from guidance.casebook.case import FrameTruth
from guidance.phantom.procedure import Procedure
from guidance.phantom.scenario import Scenario, ScenarioError, load_scenario
from guidance.plan import PlanFile
from guidance.records import CasePlan, FrameState

SCHEME = "phantom"


class PhantomSource:
    """A simulated procedure as a FrameSource: same scenario and seed, same frames. Each frame is made when asked for.

    ``scenario``: a name, a file, or one already read; a CT in the last is found from the working folder.
    ``info.live`` is False: who wants it in its own time paces it by the frames' timestamps. ``keep_truth``: the truth
    of each frame is kept for ``truth_of``; it costs a few milliseconds a pulse. May be iterated again, from the start.
    The first opening builds the patient and projects every view, which takes a few seconds; in the same process a
    second one finds them on the shelf.
    """

    def __init__(
        self,
        scenario: str | Path | Scenario,
        seed: int | None = None,
        size_px: int | None = None,
        keep_truth: bool = False,
    ) -> None:
        self._scenario = scenario
        self._name = scenario.title if isinstance(scenario, Scenario) else str(scenario)
        self._seed, self._size_px, self._keep_truth = seed, size_px, keep_truth
        self._procedure: Procedure | None = None
        self._info: SourceInfo | None = None
        self._plan = CasePlan()
        self._truths: list[FrameTruth] = []

    @property
    def info(self) -> SourceInfo:
        """Known from the first opening on, also after closing."""
        if self._info is None:
            raise RuntimeError(f"phantom {self._name}: not opened yet; use it in a `with` statement")
        return self._info

    @property
    def plan(self) -> CasePlan:
        """What the operator would know; empty before the first opening."""
        return self._plan

    def truth_of(self, frame: int) -> FrameTruth:
        """What is true of a frame that has been yielded. Raises LookupError where its truth was not kept."""
        if not self._keep_truth:
            raise LookupError("the truth was not kept: expected PhantomSource(..., keep_truth=True)")
        return self._truths[frame]

    def __enter__(self) -> Self:
        try:
            given = self._scenario
            procedure = self._play(given if isinstance(given, Scenario) else load_scenario(given))
        except (ScenarioError, OSError, ValueError) as error:
            raise SourceError(str(error)) from error
        width, height = procedure.size_px
        self._info = SourceInfo(
            name=f"phantom {self._name}, seed {procedure.seed}",
            width_px=width,
            height_px=height,
            bits=8,
            live=False,
            frame_count=len(procedure.moments),
            rate_hz=procedure.scenario.video.video_hz,
        )
        self._plan = PlanFile.model_validate(procedure.plan).record()
        self._procedure = procedure
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._procedure = None

    def __iter__(self) -> Iterator[Frame]:
        if self._procedure is None:
            raise RuntimeError(f"phantom {self._name}: not opened yet; use it in a `with` statement")
        procedure = self._play(self._procedure.scenario)
        self._truths.clear()
        for moment, pixels in procedure.frames():
            if self._procedure is None:
                return  # closed meanwhile
            if self._keep_truth:
                self._truths.append(procedure.truth(moment))
            lost = moment.state is FrameState.NO_SIGNAL
            # A copy: a repeated picture must not be one object, nor change under its reader.
            yield Frame(
                pixels=freeze(pixels.copy()),
                t_s=moment.t_s,
                sequence=moment.frame,
                flags=FrameFlag.NO_SIGNAL if lost else FrameFlag.NONE,
            )

    def _play(self, scenario: Scenario) -> Procedure:
        folder = Path(self._name).parent if self._name.endswith(".toml") else None
        return Procedure(scenario, self._seed, self._size_px, folder)


def open_phantom(url: str) -> PhantomSource:
    """The source of a ``phantom://SCENARIO[?seed=N&size=N]`` URL. Raises SourceError on an option it doesn't know."""
    parts = urlsplit(url)
    # A file's absolute path has an empty host: phantom:///tmp/mine.toml
    scenario = unquote(parts.netloc + parts.path)
    options: dict[str, int] = {}
    for key, values in parse_qs(parts.query, keep_blank_values=True).items():
        if key not in ("seed", "size") or not values[-1].isdecimal():
            raise SourceError(f"{url}: option {key}={values[-1]}: expected seed=N or size=N")
        options[key] = int(values[-1])
    if not 128 <= options.get("size", 512) <= 1536:
        raise SourceError(f"{url}: size={options['size']}: expected 128 to 1536")
    return PhantomSource(scenario, options.get("seed"), options.get("size"))
