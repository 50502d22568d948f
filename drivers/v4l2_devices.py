"""What the grabbers of this machine are and offer: cards, inputs, the state of their signal, formats and rates."""

import ctypes
import errno
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final, TypeVar

from drivers import v4l2_kernel as v4l2
from drivers.pixel_formats import PIXEL_FORMATS
from drivers.signal import Signal
from drivers.v4l2_kernel import Caps, InputCaps, InputStatus, Kernel, Node, RunningKernel

TIMINGS_SAY: Final = {
    errno.ENOLINK: Signal.NO_SIGNAL,
    errno.ENOLCK: Signal.NO_LOCK,
    errno.ERANGE: Signal.OUT_OF_RANGE,
}
_EDID_BLOCK_BYTES: Final = 128
_MOST_ENTRIES: Final = 256
"""No list that a driver gives is longer: one that never ends is its fault, not ours."""

_Argument = TypeVar("_Argument", bound=ctypes.Structure | ctypes.c_int32)


@dataclass(frozen=True, slots=True)
class InputOffer:
    """One input of a card. ``signal`` None: only the chosen input can be asked, or this kind does not tell."""

    index: int
    name: str
    is_chosen: bool
    has_timings: bool
    signal: Signal | None
    timings: str | None
    edid_bytes: int | None


@dataclass(frozen=True, slots=True)
class Mode:
    """A way to deliver frames. Size None: whatever the input brings, or scaled at will.

    ``rates_hz``: those that the driver lists, fastest first; of a range the fastest; none where it does not say.
    """

    format: str
    width_px: int | None
    height_px: int | None
    rates_hz: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Device:
    """One grabber. ``trouble``: why no more is known of it, None where all is."""

    url: str
    name: str
    driver: str
    bus: str
    serial: str
    inputs: tuple[InputOffer, ...] = ()
    modes: tuple[Mode, ...] = ()
    trouble: str | None = None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def as_lines(self) -> Iterator[str]:
        """As a person reads it."""
        serial = f", serial {self.serial}" if self.serial else ""
        yield f"{self.url}  {self.name} ({self.driver}, {self.bus}{serial})"
        if self.trouble is not None:
            yield f"  {self.trouble}"
        for entry in self.inputs:
            chosen = "*" if entry.is_chosen else " "
            said = ", ".join(
                part
                for part in (
                    entry.signal and entry.signal.words,
                    entry.timings,
                    None if entry.edid_bytes is None else f"EDID of {entry.edid_bytes} bytes",
                )
                if part
            )
            yield f"  {chosen} input={entry.index}  {entry.name}{': ' + said if said else ''}"
        for mode in self.modes:
            size = "" if mode.width_px is None else f"  {mode.width_px}x{mode.height_px}"
            rates = ", ".join(f"{rate_hz:.4g}" for rate_hz in mode.rates_hz)
            yield f"    {mode.format}{size}{f'  {rates}/s' if rates else ''}"


def devices(kernel: Kernel | None = None) -> list[Device]:
    """Every grabber there is now, by number. Looking at one does not disturb whoever uses it."""
    kernel = kernel or RunningKernel()
    found = []
    for path, identity in kernel.nodes():
        url = f"v4l2://{path}"
        try:
            node = kernel.open(path)
        except OSError as error:
            trouble = f"cannot be opened: {error.strerror}"
            found.append(Device(url, identity.name, "", identity.port, identity.serial, trouble=trouble))
            continue
        try:
            capability = v4l2.Capability()
            node.call(v4l2.QUERYCAP, capability)
            if not is_grabber(capability):
                continue
            found.append(
                Device(
                    url,
                    capability.card.decode(errors="replace"),
                    capability.driver.decode(errors="replace"),
                    capability.bus_info.decode(errors="replace"),
                    identity.serial,
                    tuple(_offer(node, entry) for entry in inputs_of(node)),
                    tuple(modes_of(node)),
                )
            )
        except OSError as error:
            trouble = f"stopped answering: {error.strerror}"
            found.append(Device(url, identity.name, "", identity.port, identity.serial, trouble=trouble))
        finally:
            node.close()
    return found


def is_grabber(capability: v4l2.Capability) -> bool:
    """Whether a device captures video and streams it."""
    can = capability.device_caps if capability.capabilities & Caps.DEVICE_CAPS else capability.capabilities
    return bool(can & Caps.VIDEO_CAPTURE and can & Caps.STREAMING)


def ask(node: Node, request: int, argument: _Argument) -> _Argument | None:
    """The argument as the kernel filled it; None where it has no answer. Raises OSError where the device is gone."""
    try:
        node.call(request, argument)
    except OSError as error:
        if error.errno in (errno.ENODEV, errno.ENXIO):
            raise
        return None
    return argument


def inputs_of(node: Node) -> Iterator[v4l2.Input]:
    """The card's inputs."""
    for index in range(_MOST_ENTRIES):
        entry = ask(node, v4l2.ENUMINPUT, v4l2.Input(index=index))
        if entry is None:
            return
        yield entry


def status_says(status: int) -> Signal | None:
    """What an input's status flags say is wrong; None where nothing is."""
    if status & (InputStatus.NO_POWER | InputStatus.NO_SIGNAL):
        return Signal.NO_SIGNAL
    return Signal.NO_LOCK if status & (InputStatus.NO_H_LOCK | InputStatus.NO_SYNC) else None


def modes_of(node: Node) -> Iterator[Mode]:
    """What the chosen input can deliver and this driver can read."""
    for index in range(_MOST_ENTRIES):
        form = ask(node, v4l2.ENUM_FMT, v4l2.FormatDescription(index=index, type=v4l2.CAPTURE))
        if form is None:
            return
        code = v4l2.letters(form.pixelformat)
        if code in PIXEL_FORMATS:
            sizes = list(_sizes_px(node, code))
            yield from (Mode(code, *size, _rates_hz(node, code, *size)) for size in sizes)
            if not sizes:
                yield Mode(code, None, None)


def _sizes_px(node: Node, code: str) -> Iterator[tuple[int, int]]:
    """The sizes that the driver lists."""
    for index in range(_MOST_ENTRIES):
        size = ask(node, v4l2.ENUM_FRAMESIZES, v4l2.FrameSize(index=index, pixel_format=v4l2.fourcc(code)))
        if size is None:
            return
        if size.type != v4l2.DISCRETE:
            return  # a range: what the input delivers, scaled at will
        yield int(size.width), int(size.height)


def _rates_hz(node: Node, code: str, width_px: int, height_px: int) -> tuple[float, ...]:
    rates = set()
    for index in range(_MOST_ENTRIES):
        asked = v4l2.FrameInterval(index=index, pixel_format=v4l2.fourcc(code), width=width_px, height=height_px)
        interval = ask(node, v4l2.ENUM_FRAMEINTERVALS, asked)
        if interval is None:
            break
        if interval.discrete.numerator:
            rates.add(interval.discrete.denominator / interval.discrete.numerator)
        if interval.type != v4l2.DISCRETE:
            break
    return tuple(sorted(rates, reverse=True))


def _offer(node: Node, entry: v4l2.Input) -> InputOffer:
    chosen = ask(node, v4l2.G_INPUT, ctypes.c_int32())
    is_chosen = chosen is not None and chosen.value == entry.index
    has_timings = bool(entry.capabilities & InputCaps.DV_TIMINGS)
    signal, timings = status_says(entry.status), None
    if has_timings and is_chosen:
        seen = v4l2.DvTimings()
        try:
            node.call(v4l2.QUERY_DV_TIMINGS, seen)
        except OSError as error:
            signal = TIMINGS_SAY.get(error.errno or 0, signal)
        else:
            timings = timings_words(seen)
    if signal is None and (is_chosen or not has_timings):
        signal = Signal.LIVE
    name = entry.name.decode(errors="replace")
    return InputOffer(int(entry.index), name, is_chosen, has_timings, signal, timings, _edid_bytes(node, entry))


def timings_words(timings: v4l2.DvTimings) -> str:
    """Such as 1920x1080p60."""
    rate_hz = timings.rate_hz
    scan = "i" if timings.interlaced else "p"
    return f"{timings.width}x{timings.height}{scan}{'' if rate_hz is None else f'{rate_hz:.4g}'}"


def _edid_bytes(node: Node, entry: v4l2.Input) -> int | None:
    """How long the EDID is that the input shows to what is plugged in; None for an input without one."""
    if not entry.capabilities & InputCaps.DV_TIMINGS:
        return None
    asked = ask(node, v4l2.G_EDID, v4l2.Edid(pad=entry.index))
    return None if asked is None else _EDID_BLOCK_BYTES * int(asked.blocks)


def write_edid(node: Node, input_index: int, edid: bytes) -> None:
    """Show this EDID to what is plugged in. Raises OSError, ValueError for what is no EDID."""
    blocks, rest = divmod(len(edid), _EDID_BLOCK_BYTES)
    if rest or not 1 <= blocks <= 4 or edid[:8] != b"\x00\xff\xff\xff\xff\xff\xff\x00":
        raise ValueError(f"{len(edid)} bytes, no EDID; expected one to four blocks of {_EDID_BLOCK_BYTES} bytes")
    memory = ctypes.create_string_buffer(edid, len(edid))
    node.call(v4l2.S_EDID, v4l2.Edid(pad=input_index, blocks=blocks, edid=ctypes.addressof(memory)))
