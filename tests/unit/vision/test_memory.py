"""Memory of image size that comes and goes with each pulse."""

import resource

import numpy as np
import pytest

import guidance.vision.pipeline  # noqa: F401 - whoever has a pipeline keeps its memory
from guidance.vision import memory

MEGAPIXELS = (1, 2, 4, 1, 8)


def a_pulse() -> None:
    pictures = [np.empty(n * 2**20, dtype=np.uint8) for n in MEGAPIXELS]
    for picture in pictures:
        picture[:] = 1


@pytest.mark.skipif(not memory.keep(), reason="a C library that cannot be told to keep memory")
def test_pictures_of_a_pulse_are_no_new_memory_after_the_first() -> None:
    for _ in range(3):
        a_pulse()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        a_pulse()
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    in_pages = 10 * sum(MEGAPIXELS) * 2**20 // resource.getpagesize()
    assert faults < 0.05 * in_pages
