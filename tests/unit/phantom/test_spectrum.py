import numpy as np
import pytest

from guidance.phantom.spectrum import ATTENUATION_PER_CM, Beam


def _through(beam: Beam, **paths_cm: float) -> float:
    given = {name: np.full((1, 1), value, np.float32) for name, value in paths_cm.items()}
    return float(beam.primary(**given)[0, 0])


def test_an_open_beam_arrives_whole():
    assert _through(Beam(80), soft_cm=0, bone_cm=0) == pytest.approx(1.0)


def test_a_millimetre_of_cement_behind_a_pelvis_changes_the_signal_by_about_13_per_cent():
    # The field's notes give 13 %; the tube's voltage moves it by a few.
    plain = _through(Beam(), soft_cm=20, bone_cm=1.5)
    cement = _through(Beam(), soft_cm=20, bone_cm=1.5, cement_cm=0.1)
    assert 1 - cement / plain == pytest.approx(0.13, abs=0.015)


def test_contrast_and_cement_of_equal_thickness_look_alike_within_6_per_cent():
    for iodine, cement in zip(ATTENUATION_PER_CM["iodine"], ATTENUATION_PER_CM["cement"], strict=True):
        assert iodine == pytest.approx(cement, rel=0.065)


def test_the_beam_hardens_on_its_way():
    beam = Beam(85)
    first = 1 - _through(beam, soft_cm=0, bone_cm=1)
    behind = 1 - _through(beam, soft_cm=25, bone_cm=1) / _through(beam, soft_cm=25, bone_cm=0)
    assert behind < first


def test_a_higher_voltage_puts_more_weight_on_the_higher_energies():
    low, high = Beam(65).weights, Beam(110).weights
    assert low.sum() == pytest.approx(1, abs=1e-6)
    assert high.sum() == pytest.approx(1, abs=1e-6)
    assert low[0] > high[0]
    assert low[3] == 0 < high[3]


def test_an_11_gauge_needle_lets_a_few_per_cent_through():
    share = _through(Beam(), soft_cm=20, bone_cm=1, steel_cm=0.305) / _through(Beam(), soft_cm=20, bone_cm=1)
    assert 0.03 < share < 0.2


def test_primary_is_the_weighted_sum_of_the_four_energies():
    rng = np.random.default_rng(4)
    beam = Beam(75)
    paths = {f"{name}_cm": rng.uniform(0, 2, (3, 5)).astype(np.float32) for name in ATTENUATION_PER_CM}
    expected = sum(
        float(beam.weights[i]) * np.exp(-sum(ATTENUATION_PER_CM[n][i] * paths[f"{n}_cm"] for n in ATTENUATION_PER_CM))
        for i in range(4)
    )
    np.testing.assert_allclose(beam.primary(**paths), expected, rtol=1e-5)


@pytest.mark.parametrize("kvp", [40, 200, float("nan")])
def test_a_voltage_no_c_arm_has_is_refused(kvp: float):
    with pytest.raises(ValueError, match="expected 55 to 120"):
        Beam(kvp)
