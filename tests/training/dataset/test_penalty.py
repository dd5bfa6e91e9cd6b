import pytest

from campaigns.auction.candidates import Candidate
from chat.adllm.markup import parse
from training.dataset.penalty import penalty

CANDIDATES = [Candidate(f"Ad-{n}", f"Mug {n}", 0) for n in range(1, 5)]


@pytest.mark.parametrize(
    ("text", "lost"),
    [
        ("No ads.", 0),
        ("@Mug 1@[Ad-1]", 10),
        ("@Mug 1@[Ad-1] and @Mug 1@[Ad-1]", 10),  # the same ad twice is one
        ("@Mug 1@[Ad-1] @Mug 2@[Ad-2] @Mug 3@[Ad-3]", 90),
        ("@Mug 1@[Ad-9]", 500),
        ("@Mug 1@[Ad-9] @Mug 2@[Ad-9]", 500),  # any error, not each
        ("@Mug 1@[Ad-1] @Mug 2@[Ad-9]", 510),
    ],
)
def test_ads_cost_by_their_square_and_an_error_once(text, lost):
    assert penalty(parse(text, CANDIDATES, max_ads=len(CANDIDATES))) == lost
