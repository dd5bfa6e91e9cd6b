"""A file of real feedback is read back as it was written, and says which line is wrong."""

from dataclasses import replace

import pytest

from training.dataset import jsonl
from training.dataset.jsonl import DataError
from training.dataset.records import Ad, AdFeedback, Auction, Exposure, Feedback, OnlineSample, Profile, Query, Response
from training.export.rows import FeedbackRow, lines, read_feedback

MUG, KETTLE = Ad("Ad-1", "Acme Mug", "tea", "For tea."), Ad("Ad-2", "Zenith Kettle", "tea")
ADS = {ad.id: ad for ad in (MUG, KETTLE)}


def sample(name: str = "live-1", *, clicked: bool = True, split: str = "train", ctr: float | None = None):
    profile = Profile("live-alice", "A reader.", ("tea",), split)
    return OnlineSample(
        Exposure(
            profile, Query(name, profile.id, "Which mug?", split), Auction(name, ("Ad-1", "Ad-2"), (5, 3)),
            Response(name, 0, "Warm it. Take @Acme Mug@[Ad-1].", 9),
        ),
        Feedback(name, 0, (AdFeedback("Ad-1", 0, clicked, ctr),)),
    )  # fmt: skip


def changed(one: OnlineSample, **parts) -> OnlineSample:
    return replace(one, exposure=replace(one.exposure, **parts))


def test_what_is_written_is_read_and_every_ad_stands_once(tmp_path):
    samples = [sample("live-2"), sample("live-1", clicked=False)]
    path = tmp_path / "feedback.jsonl"
    jsonl.write(path, lines(samples, ads=ADS))
    found = read_feedback(path, known={"Ad-1": replace(MUG, description="Another text.")})
    assert (found.samples, found.ads) == (tuple(samples), ADS)
    assert len(path.read_text().splitlines()) == 4


ONE = sample()
WRONG = [
    ([FeedbackRow(sample=ONE)], "1: Ad-1 has no line before this one"),
    ([FeedbackRow(ad=MUG), FeedbackRow(ad=MUG)], "2: the id Ad-1 stands there twice"),
    ([FeedbackRow()], "1: a line holds an ad or a sample"),
    ([FeedbackRow(ad=replace(KETTLE, id="Ad-9"))], r"1: Ad-9 is 'Zenith Kettle' there and 'Pan' in this world"),
    ([FeedbackRow(ad=MUG)], "holds no answer"),
    ([ONE, ONE], "4: the answer to live-1 stands there twice"),
    ([sample(ctr=0.5)], "3: live-1 tells a chance of a click: it was simulated"),
    ([sample(split="test")], "3: live-1 is a question to test with"),
    ([replace(ONE, feedback=replace(ONE.feedback, query_id="live-7"))], "3: auction, answer or feedback is not that"),
    ([replace(ONE, feedback=replace(ONE.feedback, sample=1))], "3: profile or feedback is not that"),
    ([replace(ONE, feedback=replace(ONE.feedback, ads=()))], "3: the answer to live-1 shows Ad-1; its feedback"),
    ([changed(ONE, response=Response("live-1", 0, "No ad.", 2))], "3: the answer to live-1 shows no ad"),
    (
        [changed(ONE, response=replace(ONE.exposure.response, finished=False))],
        "3: the answer to live-1 says nothing or",
    ),
    (
        [changed(replace(ONE, feedback=replace(ONE.feedback, ads=())), response=Response("live-1", 0, " ", 1))],
        "3: the answer to live-1 says nothing or never ended",
    ),
    ([changed(ONE, auction=Auction("live-1", ("Ad-1", "Ad-2"), (5,)))], "3: the auction of live-1 does not hold"),
]


@pytest.mark.parametrize(("rows", "complaint"), WRONG, ids=[complaint for _, complaint in WRONG])
def test_a_wrong_line_is_named(tmp_path, rows, complaint):
    if isinstance(rows[0], OnlineSample):
        rows = [FeedbackRow(ad=MUG), FeedbackRow(ad=KETTLE), *(FeedbackRow(sample=one) for one in rows)]
    jsonl.write(tmp_path / "feedback.jsonl", rows)
    with pytest.raises(DataError, match=rf"feedback\.jsonl:.*{complaint}"):
        read_feedback(tmp_path / "feedback.jsonl", known={"Ad-9": Ad("Ad-9", "Pan")})


def test_a_field_that_is_none_is_named(tmp_path):
    (tmp_path / "feedback.jsonl").write_text('{"ad": {"id": "Ad-1", "title": "Acme Mug"}}\n{"adds": {}}\n')
    with pytest.raises(DataError, match=r"feedback\.jsonl:2: unknown field 'adds'"):
        read_feedback(tmp_path / "feedback.jsonl", known={})
