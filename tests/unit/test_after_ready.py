"""Once the service is ready nothing is compiled any more: a pulse would wait for it."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numba
import pytest
from numba.core import event
from numba.core.dispatcher import Dispatcher

import guidance.phantom.procedure  # noqa: F401 - its kernels, too
from guidance.evaluation.run import evaluate_case
from guidance.first_run import COMPILE, tell_compiling
from guidance.vision.kernels._jit import KERNELS

CASE = Path(__file__).parents[2] / "replay_fixtures" / "leak_foramen"


def our_modules() -> Iterator[ModuleType]:
    return (module for name, module in list(sys.modules.items()) if name.startswith(("guidance", "drivers", "web")))


def test_no_compiled_function_can_be_compiled_again_for_other_arguments() -> None:
    found = {thing for module in our_modules() for thing in vars(module).values() if isinstance(thing, Dispatcher)}
    assert set(KERNELS) <= found
    lazy = [f"{one.py_func.__module__}.{one.__name__}" for one in found if one._can_compile or not one.signatures]
    assert not lazy, f"compiled when they are first called: {lazy}"


def test_nothing_is_compiled_while_a_case_is_analysed() -> None:
    with event.install_recorder(COMPILE) as compiled:
        evaluate_case(CASE)
    assert not compiled.buffer


class Terminal:
    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None: ...

    def isatty(self) -> bool:
        return True


def test_whoever_waits_for_compiling_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def twice(x: int) -> int:
        return 2 * x

    monkeypatch.setattr(twice, "__module__", "guidance.vision.kernels.of_a_test")
    to = Terminal()
    with tell_compiling(to):
        assert numba.njit("int64(int64)")(twice)(4) == 8
    assert "compiling kernel 1" in to.text
    assert to.text.endswith("the next start finds them\n")


def test_nobody_is_told_where_nothing_is_compiled() -> None:
    to = Terminal()
    with tell_compiling(to):
        pass
    assert not to.text
