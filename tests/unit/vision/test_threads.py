"""What the analysis leaves to others."""

from threadpoolctl import threadpool_info

import guidance.vision.pipeline  # noqa: F401 - whoever has a pipeline has the limit


def test_linear_algebra_takes_no_thread_but_the_callers():
    numpys = [pool for pool in threadpool_info() if pool["user_api"] == "blas" and "numpy" in pool["filepath"]]
    assert [pool["num_threads"] for pool in numpys] == [1]
