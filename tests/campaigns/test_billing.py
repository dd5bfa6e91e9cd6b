"""Clicks, one at a time: what is billed, at what price, and why the others are not. Races are in test_races.py."""

import pytest

from tests.market import acme, check, click, serve

pytestmark = pytest.mark.django_db


def test_a_click_is_charged_the_bid_in_the_prompt():
    ad = acme(bid=5_000_000)
    outcome = click(serve(ad))
    assert (outcome.outcome, outcome.charged_micros) == ("billed", 5_000_000)
    assert outcome.landing_url == ad.landing_url
    check()
