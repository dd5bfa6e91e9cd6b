import pytest

from training.dataset import jsonl
from training.dataset.jsonl import DataError
from training.dataset.online import read_online
from training.dataset.records import AdFeedback, Auction, Exposure, Feedback, OnlineSample, Profile, Query, Response

ALICE = Profile("u1", "A nurse.", ("tea",), "train")
QUERIES = {f"q{n}": Query(f"q{n}", "u1", f"Tea {n}?", "train") for n in range(2)}
AUCTIONS = [Auction(f"q{n}", ("Ad-1",), (7 + n,)) for n in range(2)]
RESPONSES = [Response(f"q{n}", sample, "Take @Mug@[Ad-1].", 3) for n in range(2) for sample in range(2)]
CLICKS = [Feedback(row.query_id, row.sample, (AdFeedback("Ad-1", 0, bool(row.sample)),)) for row in RESPONSES]


def written(folder, *, auctions=AUCTIONS, responses=RESPONSES, clicks=CLICKS):
    for name, rows in (("auctions", auctions), ("responses", responses), ("clicks", clicks)):
        jsonl.write(folder / f"{name}.jsonl", rows)
    return folder


def read(folder, *, queries=QUERIES):
    return list(read_online(folder, queries=queries, profiles={"u1": ALICE}))


def test_every_answer_comes_with_its_user_auction_and_clicks(tmp_path):
    assert read(written(tmp_path)) == [
        OnlineSample(Exposure(ALICE, QUERIES[row.query_id], AUCTIONS[int(row.query_id[1])], row), feedback)
        for row, feedback in zip(RESPONSES, CLICKS, strict=True)
    ]


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({"clicks": CLICKS[:3]}, "do not hold the same number of rows"),
        ({"responses": RESPONSES[:3]}, "do not hold the same number of rows"),
        ({"clicks": [CLICKS[0], CLICKS[2], CLICKS[1], CLICKS[3]]}, "clicks.jsonl:2: not the feedback"),
        ({"auctions": AUCTIONS[:1]}, "responses.jsonl:3: there is no auction named q1"),
    ],
)
def test_files_that_do_not_fit_together_are_refused(tmp_path, files, complaint):
    with pytest.raises(DataError, match=complaint):
        read(written(tmp_path, **files))


def test_a_question_of_another_world_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"responses.jsonl:3: there is no question in this world named q1"):
        read(written(tmp_path), queries={"q0": QUERIES["q0"]})
