import numpy as np
import pytest

from training.reward_model.calibration import bid_band, calibration, reliability


def clicks(rng, chances):
    return (rng.random(len(chances)) < chances).astype(float)


def checked(rng, *, shift=0.0, size=2000, ads=40, only=None):
    """Rows in clusters of five, most chances low; the pCTR is off by `shift` (for the ad `only`)."""
    true = rng.beta(0.4, 2.0, size)
    ad = rng.integers(0, ads, size)
    off = shift if only is None else np.where(ad == only, shift, 0.0)
    return calibration(
        predicted=np.clip(true + off, 0.001, 0.999),
        clicked=clicks(rng, true),
        cluster=[str(n // 5) for n in range(size)],
        by={"position": [str(n % 2) for n in range(size)], "ad": [f"Ad-{n}" for n in ad]},
    )


def test_a_calibrated_predictor_passes():
    rng = np.random.default_rng(1)
    assert sum(not checked(rng).holds for _ in range(200)) <= 4  # at most one false alarm in fifty runs


def test_a_predictor_too_high_everywhere_is_refused():
    rng = np.random.default_rng(2)
    found = [checked(rng, shift=0.06) for _ in range(50)]
    assert not any(one.holds for one in found)
    assert all("all" in {group.by for group in one.biased} for one in found)


def test_a_predictor_too_low_for_one_position_is_refused_there():
    rng = np.random.default_rng(3)
    true = np.full(4000, 0.3)
    position = np.arange(4000) % 2
    found = calibration(
        predicted=true - 0.1 * position,
        clicked=clicks(rng, true),
        cluster=[str(n) for n in range(4000)],
        by={"position": [str(p) for p in position]},
    )
    assert ("position", "1") in {(group.by, group.name) for group in found.biased}
    assert ("position", "0") not in {(group.by, group.name) for group in found.biased}


def test_one_biased_ad_among_many_is_found():
    rng = np.random.default_rng(4)
    found = [checked(rng, shift=0.4, only=7, size=4000) for _ in range(20)]
    assert all([(g.by, g.name) for g in one.biased if g.by == "ad"] == [("ad", "Ad-7")] for one in found)


def test_a_bias_that_is_certain_but_does_not_matter_passes():
    rng = np.random.default_rng(5)
    true = np.full(200_000, 0.3)
    found = calibration(
        predicted=true + 0.01, clicked=clicks(rng, true), cluster=[str(n) for n in range(len(true))], by={}
    )
    (group,) = found.groups
    assert group.adjusted_p < 1e-6
    assert found.holds


def test_answers_to_one_question_count_as_one_draw():
    # 40 questions of 50 answers each, clicked all or not at all: far too few draws to tell 0.5 from 0.6.
    clicked = np.repeat([1.0, 0.0] * 20, 50)
    options = {"predicted": np.full(2000, 0.6), "clicked": clicked, "by": {}}
    assert calibration(cluster=[str(n // 50) for n in range(2000)], **options).holds
    assert not calibration(cluster=[str(n) for n in range(2000)], **options).holds


def test_z_is_the_excess_of_clicks_in_standard_deviations():
    # 100 draws at 0.5 expect 50 clicks with a deviation of 5; there are 65.
    clicked = np.array([1.0] * 65 + [0.0] * 35)
    options = {"predicted": np.full(100, 0.5), "clicked": clicked, "cluster": [str(n) for n in range(100)]}
    (group,) = calibration(**options, by={}).groups
    assert (group.z, group.bias) == (pytest.approx(3.0), pytest.approx(-0.15))
    assert group.p == group.adjusted_p == pytest.approx(0.0026998, rel=1e-4)


def test_p_values_are_adjusted_for_the_number_of_groups():
    found = checked(np.random.default_rng(6))
    p = sorted(group.p for group in found.groups if group.p is not None)
    least = min(value * len(p) / rank for rank, value in enumerate(p, 1))
    assert min(group.adjusted_p for group in found.groups if group.p is not None) == pytest.approx(least)


def test_rare_ads_are_tested_together():
    rng = np.random.default_rng(7)
    size = 3000
    found = calibration(
        predicted=np.full(size, 0.1),
        clicked=clicks(rng, np.full(size, 0.3)),
        cluster=[str(n) for n in range(size)],
        by={"ad": [f"Ad-{max(200, n // 10)}" for n in range(size)]},  # ten rows each, and one with many
    )
    assert {(g.by, g.name) for g in found.groups if g.z is not None} == {
        ("all", "all"),
        ("ad", "Ad-200"),
        ("ad", "others"),
    }
    assert ("ad", "others") in {(g.by, g.name) for g in found.biased}


def test_the_calibration_error_is_the_weighted_gap_of_the_bins():
    predicted = np.repeat([0.1, 0.9], 50)
    clicked = np.concatenate([np.repeat([1.0, 0.0], [10, 40]), np.repeat([1.0, 0.0], [30, 20])])
    ece, bins = reliability(predicted, clicked)
    assert sum(one.count for one in bins) == 100
    # Bins of ten rows: in each half those clicked come first.
    assert ece == pytest.approx((0.9 + 4 * 0.1 + 3 * 0.1 + 2 * 0.9) / 10)


@pytest.mark.parametrize(("bid", "band"), [(1, "1-20"), (20, "1-20"), (21, "21-40"), (100, "81-100"), (140, "121-140")])
def test_bids_fall_into_bands_of_twenty(bid, band):
    assert bid_band(bid) == band
