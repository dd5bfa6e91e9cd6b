"""From the market's own rows to a file that the reward model learns from."""

import json
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from campaigns.billing import credit_charge
from campaigns.models import Auction, Transfer
from chat.models import Conversation, HiddenAd, Turn
from tests import market
from tests.chat.page import answered
from tests.market import ALICE, MALLORY
from training.export.rows import read_feedback
from training.exporting import NothingToExport, export_feedback

pytestmark = pytest.mark.django_db
LATER = timedelta(days=2)


def ask(*ads, visitor=ALICE, **fields) -> Turn:
    return answered(visitor, "Warm it. ", *ads, " Then rest.", **fields)


def click(turn: Turn, ad, *, visitor=ALICE, **options) -> str:
    token = next(part["token"] for part in turn.segments if part.get("ad_id") == ad.public_id)
    return market.click(token, visitor=visitor, **options).outcome


def export(tmp_path, **options):
    out = tmp_path / "feedback.jsonl"
    tally = export_feedback(out=out, now=timezone.now() + LATER, **options)
    return tally, read_feedback(out, known={})


def clicked(found):
    return {
        (sample.exposure.query.text, ad.ad_id): ad.clicked for sample in found.samples for ad in sample.feedback.ads
    }


def test_shown_and_clicked_ads_become_online_data(tmp_path):
    mug, shoes = market.acme(bid=5_000_000), market.zenith(bid=3_000_000)
    turn = ask(mug, shoes, profile="A runner. Interests: tea", completion_tokens=12)
    assert click(turn, mug) == "billed"
    assert click(turn, mug) == "duplicate"
    assert click(turn, shoes, suspicion="bot") == "bot"
    tally, found = export(tmp_path)

    (sample,) = found.samples
    assert [(ad.ad_id, ad.position, ad.clicked) for ad in sample.feedback.ads] == [
        (mug.public_id, 0, True),
        (shoes.public_id, 1, False),
    ]
    assert (sample.exposure.auction.ad_ids, sample.exposure.auction.bids) == ((mug.public_id, shoes.public_id), (5, 3))
    assert (sample.exposure.response.text, sample.exposure.response.tokens) == (turn.text, 12)
    assert (sample.exposure.profile.info, sample.exposure.profile.interests) == ("A runner.", ("tea",))
    assert found.ads[mug.public_id].description == "A mug for coffee and tea."
    assert (tally.answers, tally.shown, tally.clicks) == (1, 2, 1)
    assert +tally.not_counted == {"duplicate": 1, "bot": 1}
    assert ALICE not in (tmp_path / "feedback.jsonl").read_text()
    market.check()


def test_simulated_open_credited_and_unbilled_answers_stay_out(tmp_path, settings):
    mug = market.acme(daily=5_000_000)
    market.mark_demo()
    good = ask(mug, query="good")
    ask(mug, query="simulated", origin=Auction.Origin.DEMO)
    ask(mug, query="stopped", status=Turn.Status.STOPPED)
    ask("no ad at all", query="without")
    asked_by_a_program = ask(mug, query="program")
    Conversation.objects.filter(pk=asked_by_a_program.conversation_id).update(visitor_hash="")
    credited, unpaid = ask(mug, query="credited"), ask(mug, query="unpaid")
    settings.LINK_LIFETIME_HOURS = 24 * 30
    ask(mug, query="new")
    assert click(credited, mug) == "billed"
    credit_charge(charge=Transfer.objects.get(kind="charge"))
    assert click(unpaid, mug) == "over_budget"

    tally, found = export(tmp_path)
    assert clicked(found) == {("good", mug.public_id): False}
    assert found.samples[0].exposure.query.id == f"live-{good.pk}"
    assert tally.left_out == dict.fromkeys(
        ("simulated", "unfinished", "no_visitor", "no_ads", "unsettled", "credited", "not_billed"), 1
    )


def test_a_part_given_back_leaves_the_click(tmp_path):
    mug = market.acme()
    click(ask(mug), mug)
    credit_charge(charge=Transfer.objects.get(kind="charge"), amount_micros=1)
    assert list(clicked(export(tmp_path)[1]).values()) == [True]


def test_a_click_on_an_ad_that_its_visitor_hid_does_not_count(tmp_path):
    mug = market.acme()
    for visitor in (ALICE, MALLORY):
        click(ask(mug, visitor=visitor, query=visitor[0]), mug, visitor=visitor)
    HiddenAd.objects.create(visitor_hash=MALLORY, ad=mug)
    assert clicked(export(tmp_path)[1]) == {("a", mug.public_id): True, ("e", mug.public_id): False}


def test_a_changed_title_leaves_the_older_answers_out(tmp_path):
    mug = market.acme()
    ask(mug, query="before")
    mug.title = "Acme Cup"
    mug.save()
    ask(mug, query="after")
    tally, found = export(tmp_path)
    assert list(clicked(found)) == [("after", mug.public_id)]
    assert tally.left_out == {"reads_differently": 1}


def test_the_newest_answers_of_one_visitor_fill_the_cap(tmp_path):
    mug = market.acme()
    for number in range(3):
        ask(mug, query=f"question {number}", created_at=timezone.now() + timedelta(seconds=number))
    ask(mug, visitor=MALLORY, query="mallory's")
    tally, found = export(tmp_path, per_user=2)
    assert [query for query, _ in clicked(found)] == ["question 2", "question 1", "mallory's"]
    assert (tally.left_out, len(tally.users)) == ({"over_cap": 1}, 2)


def test_queries_do_not_grow_with_the_answers(tmp_path, django_assert_max_num_queries):
    mug = market.acme()
    for _ in range(30):
        ask(mug)
    with django_assert_max_num_queries(12):
        export(tmp_path)


def test_nothing_to_export_leaves_no_file(tmp_path):
    ask(market.acme())
    with pytest.raises(NothingToExport, match="unsettled 1"):
        export_feedback(out=tmp_path / "feedback.jsonl", now=timezone.now())
    assert list(tmp_path.iterdir()) == []


def test_the_command_tells_what_it_wrote_and_why_not(tmp_path, capsys, settings):
    mug = market.acme()
    ask(mug)
    out = str(tmp_path / "feedback.jsonl")
    with pytest.raises(CommandError, match="unsettled 1"):
        call_command("export_feedback", "--out", out)
    settings.LINK_LIFETIME_HOURS = 0
    ask(mug)
    call_command("export_feedback", "--out", out, "--json")
    assert json.loads(capsys.readouterr().out) == {
        "answers": 1, "users": 1, "shown": 1, "clicks": 0, "clicks_not_counted": {}, "left_out": {"unsettled": 1},
    }  # fmt: skip
    call_command("export_feedback", "--out", out)
    assert "1 answers of 1 visitors, 1 ads shown, 0 clicks" in capsys.readouterr().out
    with pytest.raises(CommandError, match="at least 1"):
        call_command("export_feedback", "--out", out, "--per-user", "0")
