"""Which sources there are to choose from, and what each shows now, without disturbing the one that is watched."""

import asyncio
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from drivers.v4l2_devices import Device, devices
from guidance.phantom.scenario import scenario_names

PREVIEW_S = 20.0
"""A phantom takes some seconds to build; a grabber that has shown nothing by then has no signal."""

RECORDINGS_SHOWN = 200
WORDS = frozenset({".txt", ".md", ".json", ".jsonl"})
"""What lies beside recordings and is none."""


class NoPreviewError(Exception):
    """Why there is none, in one line."""


@dataclass(frozen=True, slots=True)
class Offer:
    """One source that may be chosen. ``words``: its state, or why it may not be opened, as a person reads it."""

    spec: str
    kind: Literal["grabber", "recording", "phantom"]
    name: str
    words: str
    may_open: bool = True


def offers(recordings: Path | None) -> list[Offer]:
    """Every grabber's inputs, what lies in the folder of recordings, and the phantom's scenarios. Takes some time."""
    found = [offer for device in devices() for offer in _of_device(device)]
    if recordings is not None and recordings.is_dir():
        paths = sorted(
            path for path in recordings.iterdir() if not path.name.startswith(".") and path.suffix not in WORDS
        )
        found += [Offer(str(path), "recording", path.name, _size(path)) for path in paths[:RECORDINGS_SHOWN]]
    found += [Offer(f"phantom://{name}", "phantom", name, "simulated") for name in scenario_names()]
    return found


def offers_json(recordings: Path | None) -> list[dict[str, Any]]:
    """The same for the page."""
    return [asdict(offer) for offer in offers(recordings)]


async def preview(spec: str) -> bytes:
    """A JPEG of what a source shows now. Raises NoPreviewError: it is in use, has no signal, or takes too long."""
    command = (sys.executable, "-P", "-m", "web.preview", spec)
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe)
    try:
        jpeg, words = await asyncio.wait_for(process.communicate(), PREVIEW_S)
    except TimeoutError as error:
        raise NoPreviewError(f"Nothing came within {PREVIEW_S:g} s.") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        lines = words.decode(errors="replace").strip().splitlines()
        raise NoPreviewError(lines[-1] if lines else f"the preview ended with status {process.returncode}")
    return jpeg


def same_device(a: str, b: str | None) -> bool:
    """Whether two sources are read from one and the same device or file, whatever their options."""
    return b is not None and urlsplit(a)._replace(query="") == urlsplit(b)._replace(query="")


def _of_device(device: Device) -> list[Offer]:
    if device.trouble is not None:
        return [Offer(device.url, "grabber", device.name, device.trouble, may_open=False)]
    if not device.inputs:
        return [Offer(device.url, "grabber", device.name, "")]
    return [
        Offer(
            f"{device.url}?input={entry.index}",
            "grabber",
            f"{device.name}, {entry.name}",
            ", ".join(part for part in (entry.signal and entry.signal.words, entry.timings) if part) or "not asked",
        )
        for entry in device.inputs
    ]


def _size(path: Path) -> str:
    if path.is_dir():
        return "folder"
    return f"{path.stat().st_size / 1e6:.1f} MB"
