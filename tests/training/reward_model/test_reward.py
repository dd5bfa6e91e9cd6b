import pytest

from training.dataset.records import Ad, Auction, Exposure, Profile, Query, Response
from training.reward_model.predictor import Oracle
from training.reward_model.reward import MissingPrediction, score, score_many

ADS = {"Ad-1": Ad("Ad-1", "Blue Mug"), "Ad-2": Ad("Ad-2", "Tea Pot"), "Ad-3": Ad("Ad-3", "Tea Tin")}
AUCTION = Auction("q1", ("Ad-2", "Ad-1", "Ad-3"), (40, 70, 100))
M, P = "@Blue Mug@[Ad-1]", "@Tea Pot@[Ad-2]"
PCTR = {"Ad-1": 0.5, "Ad-2": 0.25}


@pytest.mark.parametrize(
    ("text", "weight", "revenue", "penalty"),
    [
        ("No ads.", 1, 0, 0),
        (f"Take {M}.", 1, 35, 10),  # 70 * 0.5, 10 * 1^2
        (f"Take {M} and {P}.", 1, 45, 40),  # 35 + 40 * 0.25, 10 * 2^2
        (f"Take {M} and {M}.", 1, 35, 10),  # named twice, shown once
        (f"Take {M} and @Tea Pot@[Ad-9].", 1, 35, 510),  # what is broken earns nothing
        (f"Take {M} and {P}.", 0.5, 45, 20),  # lambda
        (f"Take {M}, @Tea@[Ad-2].", 0, 35, 0),
    ],
)
def test_reward_is_expected_revenue_less_the_weighted_penalty(text, weight, revenue, penalty):
    scored = score(text, auction=AUCTION, ads=ADS, pctr=PCTR, penalty_weight=weight)
    assert (scored.revenue, scored.penalty, scored.reward) == (revenue, penalty, revenue - penalty)


def test_what_was_wrong_stands_beside_the_reward():
    scored = score(f"Take {M} and @Tea Pot@[Ad-9].", auction=AUCTION, ads=ADS, pctr=PCTR)
    assert (scored.n_ads, scored.format_errors) == (1, {"unknown_id": 1})


@pytest.mark.parametrize("pctr", [{}, {"Ad-1": float("nan")}, {"Ad-1": 1.2}, {"Ad-2": 0.5}])
def test_an_ad_without_a_probability_is_not_scored(pctr):
    with pytest.raises(MissingPrediction, match="Ad-1"):
        score(f"Take {M}.", auction=AUCTION, ads=ADS, pctr=pctr)


class Alice:
    """A user who clicks the blue mug three times in ten."""

    def ctr_many(self, exposures, *, ads):
        return [{"Ad-1": 0.3} if M in exposure.response.text else {} for exposure in exposures]


def test_the_oracle_scores_with_the_user_s_own_chance():
    profile, query = Profile("u1", "", (), "train"), Query("q1", "u1", "Tea?", "train")
    exposures = [
        Exposure(profile, query, AUCTION, Response("q1", n, text, 3)) for n, text in enumerate(("Water.", f"A {M}."))
    ]
    scored = score_many(exposures, ads=ADS, predictor=Oracle(Alice()))
    assert [one.reward for one in scored] == [0, pytest.approx(70 * 0.3 - 10)]
