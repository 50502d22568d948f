"""What a kernel is timed beside gives the same as the kernel, on the data of a real pulse."""

import numpy as np
import pytest

from guidance.bench.kernels import arguments_of, time_kernels
from guidance.bench.pulses import BenchCase, Pulses, render
from guidance.bench.twins import TWINS, Twin


@pytest.fixture(scope="module")
def pulses() -> Pulses:
    return render(BenchCase(320, 320, needles=2))


@pytest.fixture(scope="module")
def calls(pulses: Pulses):
    return arguments_of(pulses)


@pytest.mark.parametrize("twin", TWINS, ids=lambda twin: twin.kernel.__name__)
def test_a_twin_gives_what_its_kernel_gives(twin: Twin, calls) -> None:
    arguments = [one.copy() if isinstance(one, np.ndarray) else one for one in calls[twin.kernel]]
    plainly = np.asarray(twin.numpy(*arguments))
    np.testing.assert_allclose(twin.result(tuple(arguments)), plainly, rtol=0, atol=twin.within)


def test_every_twin_is_timed(pulses: Pulses) -> None:
    figures = time_kernels(pulses)
    assert len(figures) == len(TWINS)
    assert all(one.ours_ms > 0 and one.numpy_ms > 0 for one in figures)
