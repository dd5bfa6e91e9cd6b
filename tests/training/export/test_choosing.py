"""Which answers may teach, and which clicks count: one reason each."""

from dataclasses import replace

import pytest

from training.dataset.records import Ad
from training.export.choosing import LiveTurn, ShownAd, Tally, choose

ADS = {"Ad-1": Ad("Ad-1", "Acme Mug"), "Ad-2": Ad("Ad-2", "Zenith Kettle")}
SEEN = ShownAd("Ad-1", billed=False, credited=False, refused=(), hidden=False, settled=True)
CLICKED = replace(SEEN, billed=True)
TURN = LiveTurn(
    id="t", user="alice", simulated=False, complete=True, profile="A reader. Interests: tea, long walks.",
    query="Which mug?", text="Warm it. Take @Acme Mug@[Ad-1].", tokens=9,
    candidates=(("Ad-1", 2_500_000), ("Ad-2", 10_000)), shown=(CLICKED,),
)  # fmt: skip


def chosen(*turns: LiveTurn, per_user: int = 20):
    tally = Tally()
    return list(choose(turns, ads=ADS, per_user=per_user, tally=tally)), tally


def test_a_billed_click_becomes_a_row_of_the_online_data():
    (sample,), tally = chosen(TURN)
    exposure = sample.exposure
    assert (exposure.profile.id, exposure.profile.info, exposure.profile.interests) == (
        "live-alice", "A reader.", ("tea", "long walks"),
    )  # fmt: skip
    assert (exposure.auction.bids, exposure.query.split) == ((3, 1), "train")
    assert [(ad.ad_id, ad.position, ad.clicked, ad.ctr) for ad in sample.feedback.ads] == [("Ad-1", 0, True, None)]
    assert (tally.answers, tally.shown, tally.clicks, tally.users) == (1, 1, 1, {"alice"})


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"simulated": True}, "simulated"),
        ({"complete": False}, "unfinished"),
        ({"user": ""}, "no_visitor"),  # through the API: nobody knows who read it
        ({"shown": ()}, "no_ads"),
        ({"shown": (replace(SEEN, settled=False),)}, "unsettled"),  # a click may still come
        ({"shown": (replace(CLICKED, credited=True),)}, "credited"),
        ({"shown": (replace(SEEN, refused=("over_budget",)),)}, "not_billed"),  # a person clicked all the same
        ({"shown": (replace(SEEN, refused=("bot", "expired")),)}, "not_billed"),
        ({"text": "Take @Acme Cup@[Ad-1]."}, "reads_differently"),  # the title was changed since
        ({"text": "@Acme Mug@[Ad-1] @Zenith Kettle@[Ad-2]"}, "reads_differently"),  # written, and not shown
    ],
)
def test_an_answer_that_tells_nothing_certain_is_left_out(changes, reason):
    samples, tally = chosen(replace(TURN, **changes))
    assert samples == []
    assert tally.left_out == {reason: 1}


@pytest.mark.parametrize(
    ("shown", "clicks", "not_counted"),
    [
        (replace(CLICKED, refused=("duplicate", "duplicate")), 1, {"duplicate": 2}),
        (replace(SEEN, refused=("bot", "prefetch")), 0, {"bot": 1, "prefetch": 1}),
        (replace(CLICKED, hidden=True), 0, {"hidden": 1}),  # looked at, and never wanted again
        (replace(SEEN, hidden=True), 0, {}),
        (replace(CLICKED, refused=("invalid",)), 1, {"invalid": 1}),  # Mallory tried her link
        (replace(CLICKED, refused=("bot",)), 1, {"bot": 1}),
    ],
)
def test_only_a_persons_first_click_counts(shown, clicks, not_counted):
    (sample,), tally = chosen(replace(TURN, shown=(shown,)))
    assert (sum(ad.clicked for ad in sample.feedback.ads), tally.clicks) == (clicks, clicks)
    assert dict(+tally.not_counted) == not_counted


def test_nobody_gives_more_than_the_cap():
    turns = [replace(TURN, id=str(n), user=("alice", "bob")[n == 3]) for n in range(5)]
    samples, tally = chosen(*turns, per_user=2)
    assert [sample.exposure.query.id for sample in samples] == ["live-0", "live-1", "live-3"]
    assert tally.left_out == {"over_cap": 2}


def test_an_answer_left_out_takes_no_place_of_its_users_cap():
    samples, _ = chosen(replace(TURN, complete=False), TURN, per_user=1)
    assert len(samples) == 1
