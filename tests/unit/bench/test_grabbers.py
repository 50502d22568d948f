"""The bench of capture measures what it says; the figures themselves are no test's business."""

import numpy as np

from drivers.pixel_formats import PIXEL_FORMATS
from guidance.bench.grabbers import HEIGHT_PX, WIDTH_PX, capture_cost


def test_every_format_that_a_grabber_may_deliver_is_timed() -> None:
    picture = np.random.default_rng(1).integers(20, 220, (64, 64), np.uint8)
    costs = capture_cost([picture, picture[::-1].copy()], frames=3)

    assert list(costs) == list(PIXEL_FORMATS)
    assert all(0 < cost.p50_ms <= cost.max_ms for cost in costs.values())
    assert all(cost.core_percent > 0 for cost in costs.values())
    assert costs["UYVY"].frame_kib == round(2 * WIDTH_PX * HEIGHT_PX / 1024)
    assert 0 < costs["MJPG"].frame_kib < costs["GREY"].frame_kib
