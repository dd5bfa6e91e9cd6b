"""A catalogue goes on the market whole, with every wrong line named, or not at all."""

import json

import pytest
from django.core.management import CommandError, call_command

from campaigns.models import Ad, Bid
from tests import market

pytestmark = pytest.mark.django_db
GOOD = "title,url,bid,category,description\nAcme Mug,https://acme.example/mug,2.50,tea,Holds tea.\n"


@pytest.fixture
def spring():
    return market.make_campaign(market.make_advertiser("Acme"), "Spring")


def bring(tmp_path, text: str, *options: str, name: str = "shop.csv") -> None:
    (tmp_path / name).write_text(text)
    call_command("import_ads", str(tmp_path / name), "--advertiser", "acme", "--campaign", "Spring", *options)


def test_a_catalogue_waits_for_review_with_landing_pages_and_bids(tmp_path, spring, capsys):
    bring(tmp_path, GOOD + "Acme [blue] Pan,https://acme.example/pan,,,\n", "--bid", "7", "--category", "Cooking")
    mug, pan = Ad.objects.with_bid().order_by("pk")
    assert (mug.title, mug.landing_url, mug.bid_micros, mug.category) == (
        *("Acme Mug", "https://acme.example/mug", 2_500_000, "tea"),
    )
    assert (pan.title, pan.bid_micros, pan.category) == ("Acme (blue) Pan", 7_000_000, "cooking")
    assert {ad.review_state for ad in (mug, pan)} == {Ad.Review.PENDING}
    told = capsys.readouterr()
    assert "2 ads of Acme wait for review" in told.out
    assert "shop.csv:3: cleaned" in told.err
    market.check()


def test_json_lines_and_gem_bench_go_there_too(tmp_path, spring, capsys):
    bring(tmp_path, '{"title": "Mug", "url": "https://a.example", "bid": 3, "category": "tea"}\n', name="a.jsonl")
    products = {"tea": {"names": ["Pot"], "urls": ["https://a.example/pot"], "descs": ["Brews."]}}
    bring(tmp_path, json.dumps(products), "--format", "gem-bench", "--bid", "1", "--json", name="products.json")
    assert list(Bid.objects.order_by("pk").values_list("amount_micros", flat=True)) == [3_000_000, 1_000_000]
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["ads"] == [Ad.objects.get(title="Pot").public_id]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("Pan,http://acme.example/pan,1,tea,", r"shop\.csv:3: .*https://"),
        ("Pan,,1,tea,", r"shop\.csv:3: .*landing page"),
        ("Pan,https://acme.example/pan,NaN,tea,", r"shop\.csv:3: "),
        ("Pan,https://acme.example/pan,-1,tea,", r"shop\.csv:3: "),
        ("Pan,https://acme.example/pan,,tea,", r"shop\.csv:3: "),  # no bid, and no default
        ("Pan,https://acme.example/pan,1e400,tea,", r"shop\.csv:3: "),
        ("Pan,https://acme.example/pan,1,spaceships,", r"shop\.csv:3: .*'spaceships' is none of the market's 50"),
        ("Pan,https://acme.example/pan,1,tea," + "x" * 301, r"shop\.csv:3: The description has 301"),
        ("M,https://acme.example/pan,1,tea,", r"shop\.csv:3: refused"),
        ("ACME mug!,https://acme.example/pan,1,tea,", r"shop\.csv:3: dropped, title looks like an earlier one"),
        ("Zenith Shoes,https://acme.example/pan,1,tea,", r"shop\.csv:3: Another ad has this title"),
        ("Pan,https://acme.example/pan,1,tea", r"shop\.csv:3: 4 cells"),
    ],
)
def test_one_wrong_line_keeps_all_of_them_out(tmp_path, spring, line, complaint):
    other = market.make_campaign(market.make_advertiser("Zenith"))
    market.make_ad(other, title="Zenith Shoes")
    with pytest.raises(CommandError, match=complaint):
        bring(tmp_path, GOOD + line + "\n")
    assert Ad.objects.count() == 1


def test_a_campaign_that_is_not_there_is_told(tmp_path):
    with pytest.raises(CommandError, match="no campaign 'Spring' of acme"):
        bring(tmp_path, GOOD)
