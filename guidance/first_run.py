"""What the first run on a machine waits for: the kernels are compiled for its processor, once."""

import gc
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from time import monotonic
from typing import Any, Final, TextIO

from numba.core import event

COMPILE: Final = "numba:compile"
EVERY_S: Final = 5.0
"""Where the line cannot be written over itself."""
KERNELS: Final = "guidance.vision.kernels"
SECOND_PROCESS: Final = (
    # Ctrl-C is told by the first one.
    "import gc, signal; gc.disable(); signal.signal(signal.SIGINT, signal.SIG_DFL); "
    "from guidance.first_run import take_turns; take_turns(0)"
)


class _Progress(event.Listener):  # type: ignore[misc]  # numba has no types
    """A listener to numba: one line that counts the kernels."""

    def __init__(self, to: TextIO) -> None:
        self._to, self._began_s, self._told_s = to, monotonic(), float("-inf")
        self._kernels = 0

    def on_start(self, event: Any) -> None:
        if not _is_ours(event):
            return
        self._kernels += 1
        now_s = monotonic()
        if self._to.isatty() or now_s - self._told_s >= EVERY_S:
            self._told_s = now_s
            self._tell(f"first run on this machine: compiling kernel {self._kernels} ({now_s - self._began_s:.0f} s)")

    def on_end(self, event: Any) -> None:
        """The next one's start says it."""

    def finish(self) -> None:
        if self._kernels:
            took_s = monotonic() - self._began_s
            self._tell(f"compiled {self._kernels} kernels in {took_s:.0f} s; the next start finds them", is_last=True)

    def _tell(self, words: str, is_last: bool = False) -> None:
        over_itself = self._to.isatty()
        end = "\n" if is_last or not over_itself else ""
        print(("\r" if over_itself else "") + words, end=end, file=self._to, flush=True)


class _SecondProcess(event.Listener):  # type: ignore[misc]  # numba has no types
    """A listener to numba: as soon as a kernel must be compiled, another process takes turns with this one."""

    def __init__(self, turns: int) -> None:
        self._turns = turns
        self._process: subprocess.Popen[bytes] | None = None

    def on_start(self, event: Any) -> None:
        if self._process is None and _is_ours(event):
            self._process = subprocess.Popen([sys.executable, "-c", SECOND_PROCESS], stdin=self._turns)

    def on_end(self, event: Any) -> None:
        """It goes on until no turn is left."""

    def finish(self) -> None:
        if self._process is not None:
            self._process.wait()

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()


def _is_ours(event: Any) -> bool:
    """Each kernel has numba compile parts of its own library, too."""
    return bool(event.data["dispatcher"].py_func.__module__.startswith(__package__))


@contextmanager
def tell_compiling(to: TextIO = sys.stderr) -> Iterator[None]:
    """Says on ``to`` how many kernels this process has compiled within, and nothing where the cache has them all."""
    progress = _Progress(to)
    try:
        with event.install_listener(COMPILE, progress), _without_collector():
            yield
    finally:
        progress.finish()


@contextmanager
def _without_collector() -> Iterator[None]:
    """What the compiler makes lives on or is gone by itself: walking it again and again takes a sixth of its time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def load_kernels() -> None:
    """Import every kernel file of the analysis; those that no cache has are compiled by two processes.

    Each of them takes the next file as soon as it has done one, the largest first, so that both end together and no
    file is compiled twice. What the other has compiled is found in the cache.
    """
    names = _largest_first()
    turns, to_give = os.pipe()
    os.write(to_give, bytes(range(len(names))))
    os.close(to_give)
    other = _SecondProcess(turns)
    try:
        with event.install_listener(COMPILE, other):
            take_turns(turns)
        other.finish()
        for name in names:
            import_module(name)
    finally:
        other.stop()
        os.close(turns)


def take_turns(turns: int) -> None:
    """Import the kernel files whose numbers, a byte each, are still to be had from that pipe."""
    names = _largest_first()
    for number in iter(partial(os.read, turns, 1), b""):
        import_module(names[ord(number)])


def _largest_first() -> list[str]:
    """The names of all kernel files by their size, which is about as long as they take; those that others use lead."""
    folder = Path(import_module(KERNELS).__path__[0])
    files = sorted(folder.glob("*.py"), key=lambda file: file.stat().st_size, reverse=True)
    return [f"{KERNELS}.{file.stem}" for file in files]
