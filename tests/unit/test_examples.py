"""The programs in docs/examples, run as their reader would."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from guidance.bus.messages import Acknowledge, Endpoints
from guidance.bus.publisher import BusError
from guidance.records import CasePlan
from guidance.service import Service
from guidance.settings import Settings
from tests.unit.test_service import QUIET_DASHBOARD, EscapedPipeline, commander, frames, source

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


@contextmanager
def service_on_ports_that_follow_each_other() -> Iterator[Service]:
    """As `fluoroguide serve` has them: an example is given one endpoint and finds the others by it."""
    for port in range(23570, 24000, 10):
        service = Service(
            source(frames(3000)),
            CasePlan(),
            Settings(),
            port=0,
            bus_port=port,
            make_pipeline=EscapedPipeline,
            dashboard=("-c", QUIET_DASHBOARD),
        )
        try:
            service.start()
        except BusError:  # in use
            continue
        try:
            yield service
        finally:
            service.stop()
        return
    raise AssertionError("no free ports")


@pytest.mark.parametrize("example", ["nurse_call.py", "nurse_call_async.py"])
def test_an_integrators_ten_lines_show_alerts_until_they_are_over_and_unknown_when_the_service_is_gone(
    example: str,
) -> None:
    with service_on_ports_that_follow_each_other() as service:
        endpoint = service.endpoints.messages
        assert Endpoints.of(endpoint) == service.endpoints
        program = subprocess.Popen(
            [sys.executable, str(EXAMPLES / example), endpoint], stdout=subprocess.PIPE, text=True
        )
        # An example that never says what is waited for must not keep the tests waiting.
        patience = threading.Timer(60, program.kill)
        patience.start()
        with program:
            assert program.stdout is not None
            lines = iter(program.stdout.readline, "")
            assert "Cement escapes in a thin run of 12 mm, 20 mm/s" in next(line for line in lines if "Cement" in line)
            wait = time.monotonic() + 3
            while (case := service.case) is None:
                assert time.monotonic() < wait
            with commander(service) as desk:
                desk.order(case, Acknowledge(alert=1))
            assert next(line for line in lines if "Cement" not in line) == "[]\n"
            service.stop()
            assert next(line for line in lines if line != "[]\n") == "UNKNOWN\n"
            program.kill()
        patience.cancel()


def test_the_examples_are_as_short_as_the_documentation_says() -> None:
    lines = [line for line in (EXAMPLES / "nurse_call.py").read_text().splitlines() if line and '"""' not in line]
    assert len(lines) <= 10
    for line in lines[2:]:
        if "Subscriber(" not in line:
            assert line in (EXAMPLES.parent / "bus.md").read_text()
