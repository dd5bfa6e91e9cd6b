from dataclasses import replace

import pytest

from training.dataset import jsonl
from training.dataset.jsonl import DataError
from training.dataset.records import Auction, PreferenceGroup, ScoredResponse
from training.irpo.preferences import pair_yield, prefer, rewards_to_learn

AUCTION = Auction("q1", ("Ad-1", "Ad-2"), (40, 7))


def answers(*rewards):
    return [
        ScoredResponse("q1", n, f"Answer {n}.", 4, True, reward, n_ads=0, format_error=False)
        for n, reward in enumerate(rewards)
    ]


def samples(group):
    return None if group is None else (group.winner.sample, [loser.sample for loser in group.losers])


@pytest.mark.parametrize(
    ("rewards", "found"),
    [
        ((0, 30, 5), (1, [0, 2])),
        ((0, 10), None),  # exactly the threshold is not more than it
        ((0, 10.000001), (1, [0])),
        ((-10, 0, 0.5, -490), (2, [0, 3])),  # 0.5 - -10 is more than 10, 0.5 - 0 is not
        ((20, 20, 0), (0, [2])),  # of equals the first wins, and the other does not lose
        ((7, 7, 7), None),
        ((50,), None),
    ],
)
def test_the_best_wins_and_those_more_than_the_threshold_below_lose(rewards, found):
    assert samples(prefer(answers(*rewards), auction=AUCTION, threshold=10)) == found


def test_a_cut_or_silent_answer_loses_but_never_wins():
    cut, silent, plain, worse = answers(90, 80, 40, 20)
    rows = [replace(cut, finished=False), replace(silent, text=" \n"), plain, worse]
    assert samples(prefer(rows, auction=AUCTION, threshold=10)) == (2, [3])
    rows = [replace(cut, finished=False, reward=-500), replace(silent, text="", tokens=1, reward=0), plain]
    assert samples(prefer(rows, auction=AUCTION, threshold=10)) == (2, [0, 1])
    assert prefer([replace(cut, finished=False), replace(worse, text="")], auction=AUCTION, threshold=10) is None


def test_online_rl_praises_no_cut_or_silent_answer_either():
    cut, silent, plain, worse = answers(90, 80, 40, -20)
    rows = [replace(cut, finished=False), replace(silent, text=" \n"), plain, worse]
    assert rewards_to_learn(rows) == [-20, -20, 40, -20]
    assert rewards_to_learn([replace(cut, finished=False), replace(silent, text="")]) == [80, 80]


def test_an_answer_without_tokens_has_no_probability_to_lower():
    winner, nothing = answers(40, 0)
    nothing = replace(nothing, text="", tokens=0, finished=False)
    assert prefer([winner, nothing], auction=AUCTION, threshold=10) is None


def test_answers_of_another_query_are_refused():
    with pytest.raises(ValueError, match="auction of q1"):
        prefer([*answers(1), replace(answers(2)[0], query_id="q2")], auction=AUCTION, threshold=10)


def test_yield_counts_auctions_groups_losers_and_margin():
    some, none = answers(0, 30, 10, 25), answers(1, 2)
    none[0] = replace(none[0], finished=False)
    none[1] = replace(none[1], text="")
    groups = [prefer(some, auction=AUCTION, threshold=10)]
    found = pair_yield([some, none], groups)
    assert (found.auctions, found.groups, found.share, found.losers_per_group) == (2, 1, 0.5, 2)
    assert found.margin == 25  # 30 against the mean of 0 and 10
    assert (found.cut, found.silent) == (1, 1)
    assert pair_yield([none], []).margin == 0


def test_groups_come_back_from_their_file_as_they_were(tmp_path):
    group = prefer(answers(0, 30.1, 5), auction=AUCTION, threshold=10)
    jsonl.write(tmp_path / "groups.jsonl", [group, group])
    assert list(jsonl.read(PreferenceGroup, tmp_path / "groups.jsonl")) == [group, group]


def test_a_group_without_losers_or_a_reward_that_is_no_number_is_refused_with_its_line(tmp_path):
    path = tmp_path / "groups.jsonl"
    group = prefer(answers(0, 30), auction=AUCTION, threshold=10)
    jsonl.write(path, [group, replace(group, losers=())])
    with pytest.raises(DataError, match=r"groups\.jsonl:2: losers"):
        list(jsonl.read(PreferenceGroup, path))
    jsonl.write(path, [replace(group, winner=replace(group.winner, reward=float("nan")))])
    with pytest.raises(DataError, match=r"groups\.jsonl:1: winner\.reward"):
        list(jsonl.read(PreferenceGroup, path))
