import pytest

from training.dataset.records import AdFeedback, Feedback
from training.simulation.agreement import agreement

NAMES = ("one", "other")


def feedback(*rows):
    return [
        Feedback("q", n, tuple(AdFeedback(f"Ad-{at}", at, clicked, ctr) for at, (clicked, ctr) in enumerate(ads)))
        for n, ads in enumerate(rows)
    ]


ONE = feedback([(True, 0.9), (False, 0.1)], [(False, 0.2)], [], [(True, 0.6)])


def test_a_user_agrees_with_itself():
    found = agreement(first=ONE, second=ONE, names=NAMES)
    assert (found.correlation, found.rank_correlation, found.kappa) == pytest.approx((1, 1, 1))
    assert (found.answers, found.ads) == (4, 4)
    assert [(at.position, at.ads, at.first_ctr) for at in found.by_position] == [
        (0, 3, pytest.approx(1.7 / 3)),
        (1, 1, pytest.approx(0.1)),
    ]


def test_the_opposite_user_disagrees():
    other = feedback([(False, 0.1), (True, 0.9)], [(True, 0.8)], [], [(False, 0.4)])
    found = agreement(first=ONE, second=other, names=NAMES)
    assert (found.correlation, found.rank_correlation, found.kappa) == pytest.approx((-1, -1, -1))


def test_ranks_forgive_another_scale():
    other = feedback([(True, 0.81), (False, 0.01)], [(False, 0.04)], [], [(True, 0.36)])
    found = agreement(first=ONE, second=other, names=NAMES)
    assert found.rank_correlation == pytest.approx(1)
    assert found.correlation < 0.99


def test_a_judge_without_known_chances_counts_by_its_clicks():
    judged = feedback([(True, None), (False, None)], [(False, None)], [], [(False, None)])
    found = agreement(first=ONE, second=judged, names=NAMES)
    assert found.second_ctr == pytest.approx(0.25)
    # three of four alike; by chance 0.5 * 0.25 + 0.5 * 0.75
    assert found.kappa == pytest.approx((0.75 - 0.5) / 0.5)


@pytest.mark.parametrize(
    "rows",
    [[[], []], [[(False, 0.2)], [(False, 0.2)]]],  # no ads at all; no difference at all
)
def test_what_is_not_defined_is_none(rows):
    found = agreement(first=feedback(*rows), second=feedback(*rows), names=NAMES)
    assert (found.correlation, found.rank_correlation, found.kappa) == (None, None, None)


def test_different_answers_are_refused():
    with pytest.raises(ValueError, match="query q, sample 1"):
        agreement(first=ONE, second=feedback([(True, 0.9), (False, 0.1)], [], [], [(True, 0.6)]), names=NAMES)
