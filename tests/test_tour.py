"""A walk through the house, online side: one question from the visitor's hand to the advertiser's report.

Read it first. Each step does one thing and says what it leaves behind. The model server is a real one over HTTP that
says what it is told; everything else is the site itself.
"""

import asyncio
import re
from uuid import uuid4

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from campaigns.bidding import set_bid
from campaigns.books import check_books
from campaigns.models import Auction, Bid, Click, Impression, RejectedClick, Transfer
from campaigns.reporting import Scope, by_ad, by_day, last_days, total
from campaigns.statement import statement_lines
from chat import streams
from chat.adllm.markup import AdMention, Text
from chat.answering import turn_segments
from chat.models import Conversation, Turn
from tests import market
from tests.fake_openai import FakeOpenAI, Plan

# What the model is going to say: one true marker, one with another's title, one cut off at the end.
SAYS = "Warm the cup first. @Acme Mug@[Ad-1000] keeps the heat. Not @Acme Mug@[Ad-1001]. For runs: @Zenith Trail"


@pytest.mark.django_db(transaction=True)
def test_a_question_becomes_an_answer_a_click_a_charge_and_a_report(settings):
    # 1) The market: acme and zenith fill their wallets and bid on their ads.
    mug, shoes = market.acme(bid=5_000_000, wallet=20_000_000), market.zenith(bid=3_000_000)
    acme = mug.campaign.advertiser
    assert [line.signed_micros for line in statement_lines(acme.wallet)] == [20_000_000]
    assert Bid.objects.count() == 2

    with FakeOpenAI(plan=Plan(text=SAYS, delay=0.005)) as model:
        settings.AD_LLM_BASE_URL, settings.AD_LLM_MODEL = model.base_url, "fake-ad-llm"

        # 2) Alice asks. The POST leaves a conversation and a queued turn, and hands it to the generation loop.
        alice = Client()
        question = {"query": "Which mug keeps tea warm?", "idempotency_key": uuid4().hex, "conversation": ""}
        assert alice.post(reverse("turn_create"), question).status_code == 302
        turn = Turn.objects.get()
        visitor = turn.conversation.visitor_hash
        assert len(visitor) == 64

        # 3) Following the turn generates nothing: twice at once, it is one generation and one transcript.
        async def follow() -> list[streams.Frame]:
            return [frame async for frame in streams.follow(turn.pk)]

        async def twice() -> list[list[streams.Frame]]:
            return await asyncio.gather(follow(), follow())

        frames, frames_too = asyncio.run(twice())
        assert frames[-1] == frames_too[-1]
        assert model.generations == 1

        # The same POST again, as browsers do: still one turn, one generation.
        alice.post(reverse("turn_create"), question)
        assert (Turn.objects.count(), Conversation.objects.count(), model.generations) == (1, 1, 1)
    streams.shutdown()
    turn.refresh_from_db()

    # 4) The auction: every eligible ad stood as a candidate, with its bid frozen.
    auction = Auction.objects.get()
    assert (auction, auction.model_version) == (turn.auction, turn.model_version.name) == (auction, "fake-ad-llm")
    frozen = {(row.ad_id, row.bid_micros) for row in auction.candidates.all()}
    assert frozen == {(mug.pk, 5_000_000), (shoes.pk, 3_000_000)}

    # 5) The prompt: exactly these candidates and bids, then the question (Appendix B.1).
    prompt = model.requests[-1]["messages"][0]["content"]
    lines = re.findall(r'^\{"Ad ID": "(.*?)", "Ad Title": "(.*?)", "Ad Bid": "?(.*?)"?\}$', prompt, re.MULTILINE)
    assert lines == [("Ad-1000", "Acme Mug", "5"), ("Ad-1001", "Zenith Trail Shoes", "3")]
    assert prompt.endswith("# User Question\nWhich mug keeps tea warm?\nYour Answer:")

    # 6) The generation, sampled as in Appendix B.2.1, and what the turn keeps of it.
    asked = model.requests[-1]
    assert (asked["temperature"], asked["top_p"], asked["top_k"], asked["max_tokens"]) == (0.7, 0.8, 20, 2048)
    assert (turn.status, turn.text) == (Turn.Status.COMPLETE, SAYS)
    assert (turn.prompt_tokens, turn.completion_tokens) == (11, 5)
    assert 0 <= turn.first_token_ms <= turn.duration_ms

    # 7) The parse: one ad; the wrong title and the half marker are plain text and counted.
    assert turn_segments(turn) == [
        Text("Warm the cup first. "),
        AdMention("Ad-1000", "Acme Mug", first=True),
        Text(" keeps the heat. Not Acme Mug. For runs: Zenith Trail"),
    ]
    assert turn.format_errors == {"wrong_title": 1, "half_marker": 1}

    # 8) The impression: one row, Alice's own, committed before any frame showed its link. Nobody has paid yet.
    impression = Impression.objects.get()
    assert (impression.candidate.ad, impression.position, impression.visitor_hash) == (mug, 1, visitor)
    assert not Transfer.objects.filter(kind="charge").exists()

    # 9) The page: the ad is a labelled link; no frame and no page holds a bid or a marker.
    page = alice.get(reverse("conversation", args=[turn.conversation_id])).content.decode()
    link = reverse("click", args=[frames[-1].served["Ad-1000"].token])
    assert link in page
    assert "Sponsored" in page
    assert "[Ad-" not in page
    assert Client().get(reverse("conversation", args=[turn.conversation_id])).status_code == 404  # mallory's browser

    # 10) Acme raises its bid. What was shown keeps its price.
    set_bid(ad=mug, amount_micros=19_000_000)

    # 11) The click: Alice reaches the advertiser and acme pays the bid that stood in the prompt (Eq. 7), once.
    for _ in range(2):
        arrived = alice.get(link)
        assert (arrived.status_code, arrived["Location"]) == (302, mug.landing_url)
    assert Click.objects.get().charged_micros == 5_000_000
    assert RejectedClick.objects.get().reason == RejectedClick.Reason.DUPLICATE
    charge = Transfer.objects.get(kind="charge")
    assert (charge.amount_micros, charge.debit, charge.click) == (5_000_000, acme.wallet, Click.objects.get())

    # 12) The books: wallet, campaign and statement agree, and every invariant holds.
    acme.wallet.refresh_from_db()
    mug.campaign.refresh_from_db()
    assert acme.wallet.balance_micros == sum(line.signed_micros for line in statement_lines(acme.wallet)) == 15_000_000
    assert mug.campaign.spent_micros == mug.campaign.day_spent_micros == 5_000_000
    assert check_books() == []

    # 13) The report: one question, one ad shown, one click paid, one refused; by day and by ad alike.
    today = last_days(1, now=timezone.now())
    figures = total(by_day(Scope(), today).values())
    assert (figures.queries, figures.impressions, figures.clicks, figures.rejected_clicks) == (1, 1, 1, 1)
    assert figures.revenue_micros == 5_000_000
    assert (figures.ads_per_answer, figures.ctr, figures.ecpm_micros) == (1.0, 1.0, 5_000_000_000)
    assert by_ad(Scope(advertiser=acme), today)[mug.pk].revenue_micros == 5_000_000
