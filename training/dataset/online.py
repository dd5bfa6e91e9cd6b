"""Read an online data set: a run's auctions, answers and clicks, joined. Knows the files and no model.

auctions.jsonl   one row per query
responses.jsonl  one row per answer
clicks.jsonl     one row per answer, in the same order
"""

from collections.abc import Iterator, Mapping
from itertools import zip_longest
from pathlib import Path

from training.dataset import jsonl
from training.dataset.jsonl import DataError
from training.dataset.records import Auction, Exposure, Feedback, OnlineSample, Profile, Query, Response


def read_online(
    folder: Path, *, queries: Mapping[str, Query], profiles: Mapping[str, Profile]
) -> Iterator[OnlineSample]:
    """Every answer with its user, auction and feedback. Raises DataError with file and line where they do not fit."""
    auctions = {auction.query_id: auction for auction in jsonl.read(Auction, folder / "auctions.jsonl")}
    rows = zip_longest(
        jsonl.numbered(Response, folder / "responses.jsonl"), jsonl.numbered(Feedback, folder / "clicks.jsonl")
    )
    for answered, judged in rows:
        if answered is None or judged is None:
            raise DataError(f"{folder.name}: responses.jsonl and clicks.jsonl do not hold the same number of rows")
        (number, response), (judged_number, feedback) = answered, judged
        if (feedback.query_id, feedback.sample) != (response.query_id, response.sample):
            raise DataError(f"clicks.jsonl:{judged_number}: not the feedback on responses.jsonl:{number}")
        query, auction = queries.get(response.query_id), auctions.get(response.query_id)
        if query is None or auction is None:
            missing = "question in this world" if query is None else "auction"
            raise DataError(f"responses.jsonl:{number}: there is no {missing} named {response.query_id}")
        yield OnlineSample(Exposure(profiles[query.profile_id], query, auction, response), feedback)
