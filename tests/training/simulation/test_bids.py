from collections import Counter

from training.dataset.records import Ad, Query
from training.simulation.bids import draw_auction

ADS = {f"Ad-{number}": Ad(f"Ad-{number}", f"Mug {number}") for number in range(1000, 1100)}
QUERY = Query("u1-q0", "u1", "Which mug?", "train")


def draw(*, query=QUERY, seed=7, phase="epoch-1/policy", shuffle=False):
    return draw_auction(query=query, ads=ADS, seed=seed, phase=phase, shuffle=shuffle)


def test_an_auction_depends_on_seed_phase_and_query_alone():
    assert draw() == draw() == draw(query=Query("u1-q0", "u9", "Other words", "test"), seed="7")
    others = [draw(seed=8), draw(phase="epoch-2/policy"), draw(query=Query("u1-q1", "u1", "Which mug?", "train"))]
    assert all(other.bids != draw().bids for other in others)


def test_seed_and_phase_do_not_run_into_each_other():
    assert draw(seed="1/a", phase="b").bids != draw(seed="1", phase="a/b").bids


def test_serving_keeps_the_order_and_training_shuffles_bids_with_their_ads():
    stable, shuffled = draw(), draw(shuffle=True)
    assert list(stable.ad_ids) == list(ADS) != list(shuffled.ad_ids)
    pairs = [set(zip(drawn.ad_ids, drawn.bids, strict=True)) for drawn in (stable, shuffled)]
    assert pairs[0] == pairs[1]


def test_bids_are_uniform_whole_numbers_from_1_to_100():
    counts = Counter(bid for phase in range(200) for bid in draw(phase=str(phase)).bids)
    assert set(counts) == set(range(1, 101))
    assert min(counts.values()) > 130  # 200 on average
    assert max(counts.values()) < 275
