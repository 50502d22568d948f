"""What the first run on a machine waits for: the kernels are compiled for its processor, once."""

import gc
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from time import monotonic
from typing import Any, Final, TextIO

from numba.core import event

COMPILE: Final = "numba:compile"
EVERY_S: Final = 5.0
"""Where the line cannot be written over itself."""
KERNELS: Final = "guidance.vision.kernels"
FROM_THE_LAST: Final = (
    "import gc; gc.disable(); from guidance.first_run import load_kernels; load_kernels(from_the_last=True)"
)


class _Progress(event.Listener):  # type: ignore[misc]  # numba has no types
    """A listener to numba: one line that counts the kernels; and a second process that begins at their other end."""

    def __init__(self, to: TextIO) -> None:
        self._to, self._began_s, self._told_s = to, monotonic(), float("-inf")
        self._kernels = 0
        self._other: subprocess.Popen[bytes] | None = None

    def on_start(self, event: Any) -> None:
        # Each kernel has numba compile parts of its own library, too.
        module = event.data["dispatcher"].py_func.__module__
        if not module.startswith(__package__):
            return
        if self._other is None and module.startswith(KERNELS):
            self._other = subprocess.Popen([sys.executable, "-c", FROM_THE_LAST])
        self._kernels += 1
        now_s = monotonic()
        if self._to.isatty() or now_s - self._told_s >= EVERY_S:
            self._told_s = now_s
            self._tell(f"first run on this machine: compiling kernel {self._kernels} ({now_s - self._began_s:.0f} s)")

    def on_end(self, event: Any) -> None:
        """The next one's start says it."""

    def finish(self) -> None:
        if self._other is not None:
            self._other.terminate()
            self._other.wait()
        if self._kernels:
            took_s = monotonic() - self._began_s
            self._tell(f"compiled {self._kernels} kernels in {took_s:.0f} s; the next start finds them", is_last=True)

    def _tell(self, words: str, is_last: bool = False) -> None:
        over_itself = self._to.isatty()
        end = "\n" if is_last or not over_itself else ""
        print(("\r" if over_itself else "") + words, end=end, file=self._to, flush=True)


@contextmanager
def tell_compiling(to: TextIO = sys.stderr) -> Iterator[None]:
    """Says on ``to`` how many kernels have been compiled within, and nothing where they are all in the cache.

    As soon as one must be, another process begins with the last ones of ``load_kernels``: what it has made is found in
    the cache when their turn comes, so that two processors take little more than half of the time.
    """
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


def load_kernels(from_the_last: bool = False) -> None:
    """Import every kernel file of the analysis by its name's order, which compiles those that no cache has."""
    package = import_module(KERNELS)
    names = sorted(module.name for module in pkgutil.iter_modules(package.__path__))
    for name in reversed(names) if from_the_last else names:
        import_module(f"{KERNELS}.{name}")
