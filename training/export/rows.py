"""A file of real feedback: answers that visitors saw and what they clicked, as rows of the online data set D_on.

JSON Lines. A line holds an ad, or an answer whose candidates all stand on earlier lines. Knows no database, and nothing
of which answers are worth a line.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from chat.adllm import markup
from training.dataset import jsonl
from training.dataset.jsonl import DataError
from training.dataset.records import Ad, OnlineSample


@dataclass(frozen=True)
class FeedbackRow:
    """One line: exactly one of the two."""

    ad: Ad | None = None
    sample: OnlineSample | None = None


@dataclass(frozen=True)
class LiveFeedback:
    """What a file holds: its answers in order, and every candidate among them."""

    samples: tuple[OnlineSample, ...]
    ads: dict[str, Ad]


def lines(samples: Iterable[OnlineSample], *, ads: Mapping[str, Ad]) -> Iterator[FeedbackRow]:
    """The rows of a file: every ad once, before the first answer that could have shown it."""
    told: set[str] = set()
    for sample in samples:
        for ad_id in sample.exposure.auction.ad_ids:
            if ad_id not in told:
                told.add(ad_id)
                yield FeedbackRow(ad=ads[ad_id])
        yield FeedbackRow(sample=sample)


def read_feedback(path: Path, *, known: Mapping[str, Ad]) -> LiveFeedback:
    """The file, checked against itself and the ads known already. Raises DataError with file and line number."""
    samples: dict[tuple[str, int], OnlineSample] = {}
    ads: dict[str, Ad] = {}
    for number, row in jsonl.numbered(FeedbackRow, path):
        try:
            if row.ad and row.sample is None:
                _check_ad(row.ad, ads, known)
                ads[row.ad.id] = row.ad
            elif row.sample and row.ad is None:
                check_sample(row.sample, ads)
                response = row.sample.exposure.response
                if (response.query_id, response.sample) in samples:
                    raise DataError(f"the answer to {response.query_id} stands there twice")
                samples[response.query_id, response.sample] = row.sample
            else:
                raise DataError("a line holds an ad or a sample, one of the two")
        except DataError as error:
            raise DataError(f"{path.name}:{number}: {error}") from None
    if not samples:
        raise DataError(f"{path.name}: holds no answer")
    return LiveFeedback(tuple(samples.values()), ads)


def _check_ad(ad: Ad, ads: Mapping[str, Ad], known: Mapping[str, Ad]) -> None:
    if ad.id in ads:
        raise DataError(f"the id {ad.id} stands there twice")
    if ad.id in known and known[ad.id].title != ad.title:
        raise DataError(f"{ad.id} is {ad.title!r} there and {known[ad.id].title!r} in this world")


def check_sample(sample: OnlineSample, ads: Mapping[str, Ad]) -> None:
    """Does it fit together, and is it real? Raises DataError."""
    exposure, feedback = sample.exposure, sample.feedback
    profile, query, auction, response = exposure.profile, exposure.query, exposure.auction, exposure.response
    if len({query.id, auction.query_id, response.query_id, feedback.query_id}) > 1:
        raise DataError(f"auction, answer or feedback is not that of {query.id}")
    if query.profile_id != profile.id or response.sample != feedback.sample:
        raise DataError(f"profile or feedback is not that of the answer to {query.id}")
    if not response.finished or not response.text.strip():
        raise DataError(f"the answer to {query.id} says nothing or never ended")
    if "test" in (profile.split, query.split):
        raise DataError(f"{query.id} is a question to test with: feedback is to learn from")
    if len(auction.ad_ids) != len(auction.bids) or len(auction.ad_ids) != len(set(auction.ad_ids)):
        raise DataError(f"the auction of {query.id} does not hold every ad once, with one bid")
    if missing := [ad_id for ad_id in auction.ad_ids if ad_id not in ads]:
        raise DataError(f"{missing[0]} has no line before this one")
    if any(ad.ctr is not None for ad in feedback.ads):
        raise DataError(f"{query.id} tells a chance of a click: it was simulated")
    candidates = auction.candidates(ads)
    shown = markup.parse(response.text, candidates, max_ads=len(candidates)).ads
    if [(ad.ad_id, ad.position) for ad in feedback.ads] != [(ad_id, place) for place, ad_id in enumerate(shown)]:
        raise DataError(f"the answer to {query.id} shows {', '.join(shown) or 'no ad'}; its feedback is on other ads")
