"""Ads in answers: marked as ads, explained without amounts, hidden and reported by the visitor who saw them."""

import re

import pytest
from django.urls import reverse

from campaigns.models import Bid
from chat.models import AdReport, HiddenAd
from tests.chat.page import HTMX, answered, browser
from tests.market import acme, zenith

pytestmark = pytest.mark.django_db


def page_of(alice, turn) -> str:
    return alice.client.get(reverse("conversation", args=[turn.conversation_id])).content.decode()


def test_ad_is_a_marked_link_to_its_click_address():
    alice, mug = browser(), acme()
    turn = answered(alice.visitor, "Take ", mug, ".")
    token = turn.segments[1]["token"]
    links = re.findall(rf'<a [^>]*href="{reverse("click", args=[token])}"[^>]*>', page_of(alice, turn))
    assert len(links) == 2  # in the answer and in the list of its ads
    for link in links:
        assert 'rel="sponsored nofollow noopener"' in link
        assert 'target="_blank"' in link
    body = re.search(r"data-body>(.*?)</div>", page_of(alice, turn), re.S)[1]
    assert "<bdi>Acme Mug</bdi>" in body
    assert ">Sponsored</span>" in body


def test_answer_lists_its_ads_with_advertiser_and_host():
    alice = browser()
    page = page_of(alice, answered(alice.visitor, acme(), " and ", zenith()))
    assert "This answer contains 2 ads" in page
    for words in ("Acme", "acme.example", "Zenith", "zenith.example", "Coffee", "Running"):
        assert words in page


def test_answer_without_ads_has_no_list():
    alice = browser()
    acme()
    assert "This answer contains" not in page_of(alice, answered(alice.visitor, "None is best."))


def test_public_pages_never_show_a_bid():
    alice, mug = browser(), acme(bid=73_519_317)
    zenith(bid=41_417_939)
    turn = answered(alice.visitor, "Take ", mug)
    pages = [
        page_of(alice, turn),
        alice.client.get("/").content.decode(),
        alice.client.get(reverse("turn", args=[turn.pk]), headers=HTMX).content.decode(),
        alice.client.get(reverse("turn_panel", args=[turn.pk])).content.decode(),
    ]
    for page in pages:
        for canary in ("73.519", "73519", "41.417", "41417", "Zenith"):
            assert canary not in page
    assert Bid.objects.count() == 2


def test_hidden_ad_becomes_plain_text_at_once_everywhere():
    alice, mug = browser(), acme()
    turn, other = (answered(alice.visitor, "Take ", mug, ".") for _ in range(2))
    fragment = alice.client.post(reverse("ad_hide", args=[turn.pk, mug.public_id]), headers=HTMX).content.decode()
    for html in (fragment, page_of(alice, turn), page_of(alice, other)):
        assert "Take Acme Mug." in re.sub(r"<(?!/?article).*?>", "", html)
        assert "/c/" not in html
        assert "This answer contains" not in html
    assert HiddenAd.objects.filter(visitor_hash=alice.visitor, ad=mug).count() == 1


def test_hiding_twice_is_harmless_and_undo_shows_the_ad_again():
    alice, mug = browser(), acme()
    turn = answered(alice.visitor, "Take ", mug)
    address = reverse("ad_hide", args=[turn.pk, mug.public_id])
    for _ in range(2):
        assert alice.client.post(address).status_code == 302
    assert "/c/" in alice.client.post(address, {"undo": "1"}, follow=True).content.decode()
    assert not HiddenAd.objects.exists()


def test_ad_hidden_by_one_visitor_stays_for_another():
    alice, mallory, mug = browser(), browser(), acme()
    turn = answered(alice.visitor, "Take ", mug)
    own = answered(mallory.visitor, "Take ", mug)
    mallory.client.post(reverse("ad_hide", args=[own.pk, mug.public_id]))
    assert "/c/" in page_of(alice, turn)


def test_report_is_kept_and_thanked_for():
    alice, mug = browser(), acme()
    turn = answered(alice.visitor, "Take ", mug)
    address = reverse("ad_report", args=[turn.pk, mug.public_id])
    response = alice.client.post(address, {"reason": "misleading", "note": "It leaks."}, headers=HTMX)
    assert "Thank you" in response.content.decode()
    report = AdReport.objects.get()
    assert (report.turn, report.ad, report.reason, report.note) == (turn, mug, "misleading", "It leaks.")


def test_second_report_replaces_the_first():
    alice, mug = browser(), acme()
    turn = answered(alice.visitor, "Take ", mug)
    for reason in ("other", "offensive"):
        alice.client.post(reverse("ad_report", args=[turn.pk, mug.public_id]), {"reason": reason})
    assert AdReport.objects.get().reason == "offensive"


@pytest.mark.parametrize("fields", [{}, {"reason": "bored"}, {"reason": "other", "note": "x" * 301}])
def test_report_without_sense_is_refused_in_place(fields):
    alice, mug = browser(), acme()
    turn = answered(alice.visitor, "Take ", mug)
    response = alice.client.post(reverse("ad_report", args=[turn.pk, mug.public_id]), fields, headers=HTMX)
    assert response.status_code == 422
    assert "field-error" in response.content.decode()
    assert not AdReport.objects.exists()


@pytest.mark.parametrize(("reason", "told"), [("other", "Thank you"), ("bored", "not sent")])
def test_without_htmx_the_page_says_what_became_of_the_report(reason, told):
    alice, mug = browser(), acme()
    turn = answered(alice.visitor, "Take ", mug)
    address = reverse("ad_report", args=[turn.pk, mug.public_id])
    page = alice.client.post(address, {"reason": reason}, follow=True)
    assert page.status_code == 200
    assert told in page.content.decode()


@pytest.mark.parametrize("name", ["ad_hide", "ad_report"])
def test_only_an_ad_that_was_shown_can_be_hidden_or_reported(name):
    alice, mug, shoes = browser(), acme(), zenith()
    turn = answered(alice.visitor, "Take ", mug)
    for ad_id in (shoes.public_id, "Ad-9999", "1", "%00"):  # a candidate that was not inserted, and nonsense
        response = alice.client.post(reverse(name, args=[turn.pk, ad_id]), {"reason": "other"})
        assert response.status_code == 404
