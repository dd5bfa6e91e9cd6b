import numpy as np
import pytest

from training.dataset.records import Ad, AdFeedback, Auction, Feedback, Response
from training.simulation.clicks_by_bid import band_of
from training.simulation.summary import summarize, told

ADS = {f"Ad-{n}": Ad(id=f"Ad-{n}", title=f"Mug {n}") for n in (1, 2, 3)}
ONE = Auction("q1", ("Ad-1", "Ad-2", "Ad-3"), (10, 40, 90))
TWO = Auction("q2", ("Ad-3", "Ad-1", "Ad-2"), (5, 60, 7))


def answer(auction, text, *clicked, ctr=None, errors=None):
    shown = [part for part in ADS if f"@[{part}]" in text and f"@Mug {part[3:]}@" in text]
    shown.sort(key=text.index)
    told = tuple(AdFeedback(ad_id, at, ad_id in clicked, ctr=ctr) for at, ad_id in enumerate(shown))
    return auction, Response(auction.query_id, 0, text, 10), Feedback(auction.query_id, 0, told, errors or {})


ROWS = [
    answer(ONE, "Take @Mug 1@[Ad-1] or @Mug 3@[Ad-3].", "Ad-3"),  # two ads, one clicked: 90 - 40
    answer(ONE, "Take none."),
    answer(TWO, "Take @Mug 2@[Ad-2] and @Mug 9@[Ad-9].", errors={"missing": 1}),  # one ad, a format error: -10 - 500
]


def test_figures_count_what_was_shown_and_clicked():
    figures = summarize(ROWS, ads=ADS)
    assert (figures["queries"], figures["answers"], figures["ads_shown"], figures["clicks"]) == (2, 3, 3, 1)
    assert (figures["ads_per_answer"], figures["share_without_ads"]) == (1.0, 0.3333)
    assert figures["answers_by_n_ads"] == {"0": 1, "1": 1, "2": 1}
    assert (figures["format_errors"], figures["share_with_format_error"]) == ({"unknown_id": 1}, 0.3333)
    assert figures["judge_errors"] == {"missing": 1}
    assert [row["ctr"] for row in figures["ctr_by_position"]] == [0.0, 1.0]
    assert {row["ad_id"]: row["ctr"] for row in figures["ctr_by_ad"]} == {"Ad-1": 0.0, "Ad-2": 0.0, "Ad-3": 1.0}


def test_revenue_and_reward_are_those_of_eq_8():
    figures = summarize(ROWS, ads=ADS)
    assert figures["revenue_per_query"] == 30.0  # 90 / 3
    assert figures["reward_per_query"] == round((90 - 40 + 0 - 510) / 3, 4)
    assert figures["reward_ctr"] == "clicked"
    assert (figures["reward_from_clicks"], figures["reward_from_ctr"]) == (figures["reward_per_query"], None)


def test_the_true_chance_takes_the_click_s_place_in_the_reward():
    figures = summarize([answer(ONE, "Take @Mug 2@[Ad-2].", ctr=0.5)], ads=ADS)
    assert (figures["revenue_per_query"], figures["reward_per_query"]) == (0.0, 10.0)  # 40 * 0.5 - 10
    assert figures["reward_ctr"] == "true"
    assert (figures["reward_from_clicks"], figures["reward_from_ctr"]) == (-10.0, 10.0)  # nobody clicked


@pytest.mark.parametrize("gain", [0.0, 0.005])
def test_the_slope_is_that_of_least_squares(gain):
    rng = np.random.default_rng(1)
    rows, bids, rates = [], [], []
    ads = {f"Ad-{1000 + n}": Ad(id=f"Ad-{1000 + n}", title=f"Mug {n}") for n in range(20)}
    for number in range(60):
        auction = Auction(f"q{number}", tuple(ads), tuple(rng.integers(1, 101, 20).tolist()))
        clicked = [a for a, b in zip(ads, auction.bids, strict=True) if rng.random() < 0.05 + gain * b]
        text = " ".join(f"@{ads[a].title}@[{a}]" for a in clicked)
        feedback = Feedback(auction.query_id, 0, tuple(AdFeedback(a, n, True) for n, a in enumerate(clicked)))
        rows.append((auction, Response(auction.query_id, 0, text, 1), feedback))
        bids += auction.bids
        rates += [a in clicked for a in ads]
    found = summarize(rows, ads=ads)["clicks_by_bid"]
    x, y = np.array(bids) - np.mean(bids), np.array(rates, float)
    slope, level = np.polyfit(x, y, 1)
    scores = (x * (y - level - slope * x)).reshape(60, 20).sum(axis=1)
    error = np.sqrt((scores**2).sum() * 60 / 59) / (x**2).sum()
    assert found["slope"] == pytest.approx(slope, rel=1e-4)
    assert found["standard_error"] == pytest.approx(error, rel=1e-4)
    assert (abs(found["t"]) > 5) == bool(gain)
    assert found["within_noise"] == (not gain)
    assert (found["rank_correlation"] > 0.95) == bool(gain)


def test_bands_count_every_candidate_of_every_answer():
    rows = [answer(ONE, "Take @Mug 1@[Ad-1] or @Mug 3@[Ad-3].", "Ad-3", ctr=0.25), answer(ONE, "Take @Mug 3@[Ad-3].")]
    bands = {tuple(row["bids"]): row for row in summarize(rows, ads=ADS)["clicks_by_bid"]["bands"]}
    assert list(bands) == [(1, 10), (31, 40), (81, 90)]  # of the bids 10, 40 and 90
    assert [(row["candidates"], row["shown"], row["clicks"]) for row in bands.values()] == [
        (2, 1, 0),
        (2, 0, 0),
        (2, 2, 1),
    ]
    assert bands[81, 90]["clicks_per_answer"] == bands[81, 90]["ctr"] == 0.5
    assert bands[1, 10]["true_ctr"] is None  # the second answer's chances are not known


@pytest.mark.parametrize(("bid", "band"), [(1, 0), (10, 0), (11, 1), (50, 4), (51, 5), (91, 9), (100, 9), (101, 9)])
def test_ten_bands_hold_ten_bids_each(bid, band):
    assert band_of(bid) == band


def test_nothing_at_all_has_figures_too():
    figures = summarize([], ads=ADS)
    assert (figures["answers"], figures["ctr"], figures["clicks_by_bid"]["slope"]) == (0, None, None)
    assert "too few queries" in told(figures, {})


def test_the_figures_can_be_read():
    text = told(summarize(ROWS, ads=ADS), {"tokens": 30, "answers_s": 2.0})
    assert "15 tokens/s" in text
    assert "unknown_id 1" in text
    assert "1: 0.0%, 2: 100.0%" in text
