"""The detector: noise, blur, scatter, brightness, lag."""

import numpy as np
import pytest

from guidance.phantom.detector import QUANTA_PER_MM2_PER_UR, Detector, DetectorSettings

SIDE = 160
PIXEL_MM = 0.3


def bare(**changes: float) -> DetectorSettings:
    """A detector that does nothing but count quanta."""
    nothing = dict.fromkeys(
        ("focal_blur_mm", "detector_blur_mm", "readout_blur_px", "scatter_per_depth", "glare", "lag"), 0.0
    )
    return DetectorSettings(pixel_mm=PIXEL_MM, **(nothing | changes))


def even(level: float = 0.02) -> np.ndarray:
    return np.full((SIDE, SIDE), level, np.float32)


@pytest.mark.parametrize(("dose_ur", "noise"), [(0.6, 0.33), (1.0, 0.25), (4.0, 0.13)])
def test_the_noise_of_a_pulse_is_that_of_the_notes_for_its_dose(dose_ur: float, noise: float) -> None:
    signal = Detector(bare(), seed=1).expose(even(), dose_ur, 0.1)
    assert signal.mean() == pytest.approx(1.0, abs=0.02)
    assert signal.std() == pytest.approx(noise, rel=0.06)


def test_the_scintillators_blur_lowers_the_noise_and_ties_neighbours_together() -> None:
    sharp = Detector(bare(), seed=1).expose(even(), 4.0, 0.1)
    soft = Detector(bare(detector_blur_mm=0.3), seed=1).expose(even(), 4.0, 0.1)

    def neighbours(signal: np.ndarray) -> float:
        d = signal - signal.mean()
        return float((d[:, 1:] * d[:, :-1]).mean() / (d**2).mean())

    assert soft.std() < 0.5 * sharp.std()
    assert abs(neighbours(sharp)) < 0.05
    # A Gaussian of sigma s pixels correlates neighbours by exp(-1 / (4 s²)), here with s = 1.
    assert neighbours(soft) == pytest.approx(np.exp(-0.25), abs=0.05)


def test_recursive_averaging_lowers_the_noise_to_its_steady_share() -> None:
    detector = Detector(bare(lag=0.5), seed=2)
    for _ in range(8):
        signal = detector.expose(even(), 1.0, 0.1)
    assert signal.std() == pytest.approx(0.25 * (0.5 / 1.5) ** 0.5, rel=0.08)


def test_the_first_pulse_after_the_pedal_was_up_is_not_averaged() -> None:
    detector = Detector(bare(lag=0.5), seed=2)
    settled = detector.expose(even(), 1.0, 0.1).std()
    detector.forget()
    assert detector.expose(even(), 1.0, 2.0).std() > 1.5 * settled


def test_lag_keeps_a_ghost_of_what_has_just_gone() -> None:
    detector = Detector(bare(lag=0.5), seed=3)
    shaded = even()
    shaded[:20] = 0.002
    detector.expose(shaded, 1e4, 0.1)
    after = detector.expose(even(), 1e4, 0.1)
    assert after[:20].mean() == pytest.approx(0.55 * after[60:].mean(), rel=0.05)


def test_brightness_control_holds_the_central_field_but_takes_its_time() -> None:
    detector = Detector(bare(), seed=4)
    first = detector.expose(even(0.02), 1e4, 0.1)
    dimmed = detector.expose(even(0.01), 1e4, 0.1)
    for _ in range(60):
        settled = detector.expose(even(0.01), 1e4, 0.1)
    assert first.mean() == pytest.approx(1.0, abs=0.01)
    assert 0.5 < dimmed.mean() < 0.7
    assert settled.mean() == pytest.approx(1.0, abs=0.02)


def test_scatter_grows_with_the_depth_crossed_and_none_is_born_in_air() -> None:
    def share(level: float) -> float:
        primary = even(level)
        primary[:, : SIDE // 2] = 1e-6  # a shadow: what is seen in it is scatter alone
        signal = Detector(bare(scatter_per_depth=0.17), seed=5).expose(primary, 1e6, 0.1)
        return float(signal[:, 10:50].mean() / signal[:, 110:150].mean())

    assert share(1.0) < 0.001
    assert share(float(np.exp(-8))) > share(float(np.exp(-4))) > 0.02


def test_the_same_seed_gives_the_same_signal_and_another_seed_another() -> None:
    one, same, other = (Detector(bare(), seed=s).expose(even(), 1.0, 0.1) for s in (7, 7, 8))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_the_quanta_follow_from_the_notes_noise_at_one_microroentgen() -> None:
    assert pytest.approx(1 / 0.25**2, rel=0.01) == QUANTA_PER_MM2_PER_UR * 0.3**2
