"""The admin: the ledger is to be read, ads are to be reviewed, and no hostile amount gets in by this door either."""

import re

import pytest
from django.contrib import admin
from django.urls import reverse

from campaigns.admin import AdvertiserForm, CampaignForm
from campaigns.billing import credit_charge
from campaigns.models import (
    Account,
    Ad,
    Advertiser,
    Auction,
    AuctionCandidate,
    Bid,
    Campaign,
    Click,
    DatabaseMark,
    Impression,
    RejectedClick,
    Transfer,
)
from tests.hostile import HOSTILE_AMOUNTS
from tests.market import acme, check, click, mark_demo, serve

READ_ONLY = [
    *[Account, Auction, AuctionCandidate, Bid, Click, DatabaseMark, Impression, RejectedClick, Transfer],
]

pytestmark = pytest.mark.django_db


@pytest.fixture
def ad():
    mark_demo()
    ad = acme(bid=50)
    token = serve(ad)
    click(token)
    click(token)
    credit_charge(charge=Transfer.objects.get(kind="charge"))
    return ad


def url(model, action: str, *args) -> str:
    return reverse(f"admin:campaigns_{model._meta.model_name}_{action}", args=args)


@pytest.mark.usefixtures("ad")
@pytest.mark.parametrize("model", READ_ONLY, ids=lambda model: model.__name__)
def test_ledger_rows_can_only_be_read(admin_client, model):  # M14
    row = model.objects.first()
    assert admin_client.get(url(model, "changelist")).status_code == 200
    assert admin_client.get(url(model, "change", row.pk)).status_code == 200
    assert admin_client.get(url(model, "add")).status_code == 403
    assert admin_client.post(url(model, "change", row.pk), {}).status_code == 403
    assert admin_client.post(url(model, "delete", row.pk), {"post": "yes"}).status_code == 403
    admin_client.post(
        url(model, "changelist"), {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes"}
    )
    assert model.objects.filter(pk=row.pk).exists()
    check()


@pytest.mark.parametrize("model", [Advertiser, Campaign, Ad], ids=lambda model: model.__name__)
def test_lists_take_few_queries(admin_client, django_assert_max_num_queries, ad, model):
    with django_assert_max_num_queries(12):
        assert admin_client.get(url(model, "changelist")).status_code == 200
    assert admin_client.get(url(model, "change", model.objects.first().pk)).status_code == 200


def test_every_table_of_the_market_is_in_the_admin():
    assert {model for model in admin.site._registry if model._meta.app_label == "campaigns"} == {
        *READ_ONLY,
        Advertiser,
        Campaign,
        Ad,
    }


def test_ads_are_approved_and_rejected_with_a_reason(admin_client, ad):
    def act(action: str, reason: str = "") -> Ad:
        admin_client.post(url(Ad, "changelist"), {"action": action, "_selected_action": [ad.pk], "reason": reason})
        return Ad.objects.get()

    assert act("reject").review_state == "approved"  # no reason, no rejection
    assert (act("reject", "Misleading").review_state, Ad.objects.get().review_reason) == ("rejected", "Misleading")
    assert (act("approve").review_state, Ad.objects.get().review_reason) == ("approved", "")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"title": "Great @Rival Shoes@[Ad-1002]"}, "must not hold"),
        ({"title": "Mug]"}, "must not hold"),
        ({"title": "Mug\u202e"}, "invisible"),
        ({"landing_url": "javascript:alert(1)"}, "https"),
        ({"landing_url": "http://acme.example/"}, "https"),
        ({"landing_url": "https://127.0.0.1/"}, "host name"),
    ],
)
def test_ad_with_hostile_text_is_refused(admin_client, ad, change, said):
    form = {
        "title": "Acme Mug",
        "landing_url": ad.landing_url,
        "description": "",
        "category": "tea",
        "status": "active",
    }
    response = admin_client.post(url(Ad, "change", ad.pk), form | change)
    assert response.status_code == 200
    assert said in response.content.decode()
    assert Ad.objects.get().category == "coffee"


def test_ad_is_changed_with_its_skeleton(admin_client, ad):
    form = {"title": "Acme Cup", "landing_url": "https://ACME.example", "category": "tea", "status": "active"}
    assert admin_client.post(url(Ad, "change", ad.pk), form).status_code == 302
    changed = Ad.objects.get()
    assert (changed.title, changed.landing_url, changed.campaign) == ("Acme Cup", "https://acme.example/", ad.campaign)
    assert changed.title_skeleton != ad.title_skeleton


def advertiser_form(**changes) -> dict:
    formset = {f"memberships-{name}_FORMS": 0 for name in ("TOTAL", "INITIAL")}
    return {"name": "Acme", "slug": "acme", "status": "active", "time_zone": "UTC"} | formset | changes


def test_wallet_is_filled_once_per_reference(admin_client, ad):
    advertiser = ad.campaign.advertiser
    before = Account.objects.get(kind="wallet").balance_micros
    for _ in range(2):  # the button pressed twice
        form = advertiser_form(deposit="12.50", payment_reference="bank-1")
        assert admin_client.post(url(Advertiser, "change", advertiser.pk), form).status_code == 302
    assert Account.objects.get(kind="wallet").balance_micros - before == 12_500_000
    assert Transfer.objects.get(external_ref="bank-1").created_by.username == "admin"
    check()


def test_deposit_without_a_reference_is_refused(admin_client, ad):
    response = admin_client.post(url(Advertiser, "change", ad.campaign.advertiser_id), advertiser_form(deposit="5"))
    assert "reference" in response.content.decode()
    check()


def test_time_zone_stays_once_days_are_counted(admin_client, ad):
    form = advertiser_form(time_zone="Asia/Tokyo")
    assert admin_client.post(url(Advertiser, "change", ad.campaign.advertiser_id), form).status_code == 200
    assert Advertiser.objects.get().time_zone == "UTC"


def test_budgets_below_what_is_spent_are_refused(admin_client, ad):
    click(serve(ad))
    form = {"name": "Spring", "status": "paused", "daily_budget": "5", "total_budget": "0.00004"}
    response = admin_client.post(url(Campaign, "change", ad.campaign_id), form)
    assert "already spent" in response.content.decode()
    form["total_budget"] = "7"
    assert admin_client.post(url(Campaign, "change", ad.campaign_id), form).status_code == 302
    campaign = Campaign.objects.get()
    assert (campaign.total_budget_micros, campaign.status, campaign.spent_micros) == (7_000_000, "paused", 50)
    check()


def test_no_hostile_amount_enters_by_the_admin(ad):  # M10
    page = {"name": "Spring", "status": "active", "advertiser": ad.campaign.advertiser_id, "total_budget": "9000000"}
    plain = re.compile(r"[0-9]{1,7}(\.[0-9]{1,6})?")  # in range for a budget, if not for a bid
    texts = [text for text in HOSTILE_AMOUNTS if isinstance(text, str) and text.strip()]
    hostile = [text for text in texts if not plain.fullmatch(text.strip())]
    assert len(hostile) >= 200
    for text in hostile:
        for form in (
            CampaignForm(page | {"daily_budget": text}, instance=ad.campaign),
            AdvertiserForm(advertiser_form(deposit=text, payment_reference="x"), instance=ad.campaign.advertiser),
        ):
            assert {"daily_budget", "deposit"} & set(form.errors), text
