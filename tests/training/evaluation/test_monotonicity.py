import random
from dataclasses import replace

import pytest

from training.dataset.records import Ad, AdFeedback, Auction, Feedback, Profile, Query
from training.evaluation.monotonicity import BIDS, chosen_ad, sweep, with_bid
from training.simulation.environment import RunSettings
from training.simulation.sampling import ScriptedSampler
from training.simulation.world import World

ADS = {f"Ad-{1000 + n}": Ad(f"Ad-{1000 + n}", f"Mug {n}", category="tea" if n < 4 else "dogs") for n in range(8)}
QUERIES = [Query(f"q{n}", "u0", f"How do I brew tea number {n}?", "test") for n in range(40)]
WORLD = World(ADS, {"u0": Profile("u0", "A nurse.", (), "test")}, QUERIES)
TEA = {query.id: "tea" for query in QUERIES}


class ClicksAll:
    """Whoever sees an ad clicks it; the chance is known, or not."""

    name = "clicks all"

    def __init__(self, ctr=None):
        self._ctr = ctr

    def feedback_many(self, exposures, *, ads, seed):
        found = []
        for exposure in exposures:
            candidates = exposure.auction.candidates(ads)
            shown = [c.ad_id for c in candidates if f"@{c.title}@[{c.ad_id}]" in exposure.response.text]
            feedback = tuple(AdFeedback(ad_id, at, True, self._ctr) for at, ad_id in enumerate(shown))
            found.append(Feedback(exposure.response.query_id, exposure.response.sample, feedback))
        return found


def best_ad(request, number, seed):
    """An Ad-LLM that shows the ad that bids most of those about mugs 0 to 3."""
    lines = [line for line in request.messages[-1]["content"].splitlines() if line.startswith('{"Ad ID"')]
    bids = {}
    for line in lines:
        _, ad_id, _, title, _, bid = [part.strip("{}: ,") for part in line.split('"') if part.strip("{}: ,")]
        if title in ("Mug 0", "Mug 1", "Mug 2", "Mug 3"):
            bids[title, ad_id] = float(bid)
    title, ad_id = max(bids, key=bids.get)
    return f"Take @{title}@[{ad_id}] now."


def first_ad(request, number, seed):
    return "Take @Mug 0@[Ad-1000] now."


def swept(tmp_path, write, world=WORLD, **parts):
    return sweep(
        world=world, queries=world.queries, categories=TEA, sampler=ScriptedSampler(write),
        click_model=parts.get("click_model", ClicksAll()), settings=RunSettings(1, seed="s", phase="sweep"),
        out=tmp_path / "sweep",
    )  # fmt: skip


def test_one_bid_changes_and_no_other():
    auction = Auction("q0", ("Ad-1000", "Ad-1001"), (70, 20))
    assert with_bid(auction, "Ad-1001", 99) == replace(auction, bids=(70, 99))


def test_the_chosen_ad_is_of_the_question_s_category_where_that_is_known():
    chosen = {chosen_ad(query, world=WORLD, category="tea", seed=0) for query in QUERIES}
    assert chosen == {"Ad-1000", "Ad-1001", "Ad-1002", "Ad-1003"}
    assert len({chosen_ad(query, world=WORLD, category=None, seed=0) for query in QUERIES}) > 4
    assert chosen_ad(QUERIES[0], world=WORLD, category="tea", seed=0) == chosen_ad(
        QUERIES[0], world=WORLD, category="tea", seed=0
    )


def test_clicks_rise_with_the_bid_where_the_best_bid_is_shown(tmp_path):
    found = swept(tmp_path, best_ad)
    assert [row["bid"] for row in found["bids"]] == list(BIDS)
    assert (found["of"], found["queries"]) == ("clicks", 40)
    assert found["bids"][0]["clicks"] < 0.1
    assert found["bids"][-1]["clicks"] == 1.0
    assert found["rank_correlation"] > 0.95


def test_they_do_not_where_bids_are_not_read(tmp_path):
    found = swept(tmp_path, first_ad, click_model=ClicksAll(ctr=0.25))
    assert found["of"] == "expected_clicks"
    assert (found["rank_correlation"], found["interval"]) == (None, None)  # all alike
    shown = {row["shown"] for row in found["bids"]}
    assert len(shown) == 1
    assert found["bids"][0]["expected_clicks"] == pytest.approx(0.25 * found["bids"][0]["shown"])


def test_the_rank_correlation_has_an_interval_over_users(tmp_path):
    """Where one user in ten is answered by the bid, and the others by chance, the order is unsure."""
    users = {f"u{n}": Profile(f"u{n}", "A nurse.", (), "test") for n in range(10)}
    queries = [replace(query, profile_id=f"u{n % 10}") for n, query in enumerate(QUERIES)]
    world = World(ADS, users, queries)

    def at_random(request, number, seed):
        by_bid = request.id.endswith("0")
        return (
            best_ad(request, number, seed)
            if by_bid
            else random.Random(seed).choice(("None.", "Take @Mug 0@[Ad-1000]."))
        )

    sure, unsure = (swept(tmp_path / write.__name__, write, world=world) for write in (best_ad, at_random))
    for found in (sure, unsure):
        assert found["interval"]["mean"] == pytest.approx(found["rank_correlation"], abs=1e-4)
        assert found["interval"]["low"] <= found["interval"]["mean"] <= found["interval"]["high"]
    assert sure["interval"]["low"] > 0.9
    assert unsure["interval"]["high"] - unsure["interval"]["low"] > 5 * (1 - sure["interval"]["low"])


def test_a_sweep_that_was_killed_goes_on(tmp_path):
    whole = swept(tmp_path, best_ad)
    clicks = tmp_path / "sweep" / "bid-050" / "clicks.jsonl"
    kept = clicks.read_bytes()
    clicks.unlink()
    assert swept(tmp_path, best_ad) == whole
    assert clicks.read_bytes() == kept
