"""The analyst's page: who may see it, what its charts say, and that drawing, table and file agree."""

import csv
import json
import re
from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from campaigns.charts import METRICS
from campaigns.models import Membership
from tests import market

pytestmark = pytest.mark.django_db
CHARTS = [*METRICS, "by-advertiser", "by-model"]


@pytest.fixture
def ada(analyst):
    client = Client()
    client.force_login(analyst)
    return client


@pytest.fixture
def mug():
    """Shown twice and clicked once, a moment ago."""
    ad = market.acme()
    market.zenith()
    market.click(market.serve(ad))
    market.serve(ad)
    return ad


def page(client, **query) -> str:
    answer = client.get(reverse("analyst"), query)
    assert answer.status_code == 200
    return answer.content.decode()


def text(content: str) -> str:
    return " ".join(re.sub("<[^>]*>", " ", content).replace("\u00a0", " ").split())


def chart(client, key, **query) -> dict:
    return json.loads(client.get(reverse("analyst_chart_json", args=[key]), query).content)


def test_only_analysts_and_staff_see_the_figures(client, alice, ada, admin_client, mug):
    addresses = [
        reverse("analyst"),
        *(reverse(name, args=["ctr"]) for name in ("analyst_chart_json", "analyst_chart_csv")),
    ]
    owner = Client()
    owner.force_login(alice)
    Membership.objects.create(user=alice, advertiser=mug.campaign.advertiser)
    for address in addresses:
        assert client.get(address).status_code == 302  # to the log-in
        assert owner.get(address).status_code == 403  # an advertiser must not see rivals' figures
        assert ada.get(address).status_code == 200
        assert admin_client.get(address).status_code == 200


def test_the_tiles_show_the_period(ada, mug):
    content = text(page(ada))
    for tile in (
        "Revenue 5.00 EUR",
        "Questions 2",
        "Clicks 1",
        "Ads per answer 1.00",
        "CTR 50.00%",
        "eCPM 2,500.00 EUR",
    ):
        assert tile in content, tile


@pytest.mark.parametrize("key", CHARTS)
def test_drawing_table_and_file_hold_the_same(ada, mug, key):
    drawn = chart(ada, key)
    rows = list(csv.reader(ada.get(reverse("analyst_chart_csv", args=[key])).content.decode().splitlines()))[1:]
    assert [row[0] for row in rows] == drawn["labels"]
    assert len(drawn["series"][0]["values"]) == len(rows)
    figure = page(ada).split(f'id="{key}"')[1].split("</figure>")[0]
    assert text(drawn["series"][0]["texts"][0]) in text(figure)
    assert "<details>" in figure
    assert drawn["title"] in figure


def test_an_unknown_chart_is_not_found(ada):
    assert ada.get(reverse("analyst_chart_json", args=["profit"])).status_code == 404


def test_filters_stand_in_the_address(ada, mug):
    assert chart(ada, "queries", advertiser="zenith")["series"][0]["values"][-1] == 2  # it was a candidate
    assert chart(ada, "by-advertiser", advertiser="zenith")["labels"] == []  # but was never shown
    assert chart(ada, "by-model", model="test", metric="ctr")["series"][0]["texts"] == ["50.00%"]
    assert "No question of this period matches the filters" in page(ada, model="never ran")
    content = page(ada, days="7", advertiser="acme")
    assert "?days=7&amp;advertiser=acme" in content.replace("%3D", "=")
    assert ada.get(reverse("analyst"), {"advertiser": "nobody"}).status_code == 404


def test_a_whole_period_before_is_compared(ada):
    market.mark_demo()
    ad = market.acme()
    now = timezone.now()
    for days_ago in (0, 8, 8, 13, 14):
        market.serve(ad, origin="demo", at=now - timedelta(days=days_ago, minutes=1))
    content = text(page(ada, days="7"))
    assert "Questions 1 67% less (was 3)" in content
    assert chart(ada, "queries", days="7")["series"][1]["dashed"]
    assert "not as many days before these to compare with" in text(page(ada, days="30"))
    assert len(chart(ada, "queries", days="30")["series"]) == 1


def test_simulated_visitors_are_named(ada):
    market.mark_demo()
    ad = market.acme()
    market.serve(ad, origin="demo", at=timezone.now() - timedelta(hours=1))
    assert "The one question of this period came from simulated visitors" in text(page(ada))
    market.serve(ad)
    assert "1 of the 2 questions of this period came from simulated visitors" in text(page(ada))


def test_figures_of_real_visitors_carry_no_such_note(ada, mug):
    assert "simulated visitors" not in page(ada).split("<main")[1]


def test_an_empty_market_says_why(ada):
    content = page(ada)
    assert "No question was ever asked" in content
    assert "echarts" not in content


def test_the_page_costs_the_same_for_few_and_many_rows(ada, mug, django_assert_max_num_queries):
    for number in range(10):
        market.serve(mug, visitor=f"{number}" * 64)
    page(ada)
    with django_assert_max_num_queries(26):
        page(ada)
    with django_assert_max_num_queries(14):
        chart(ada, "revenue")
