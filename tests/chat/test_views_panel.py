"""The stakeholder panel: for staff and the group "stakeholder", and for nobody else."""

import html

import pytest
from django.contrib.auth.models import Group
from django.urls import reverse

from chat.adllm.prompts import ad_prompt
from tests import market
from tests.chat.page import HTMX, answered, browser
from tests.market import acme, zenith

pytestmark = pytest.mark.django_db


@pytest.fixture
def staff(django_user_model):
    return django_user_model.objects.create_user("sam", password="sam-password", is_staff=True)


@pytest.fixture
def stakeholder(django_user_model):
    user = django_user_model.objects.create_user("stella", password="stella-password")
    user.groups.add(Group.objects.get_or_create(name="stakeholder")[0])
    return user


def panel(visitor, turn, **query):
    return visitor.client.get(reverse("turn_panel", args=[turn.pk]), query, headers=HTMX)


def test_panel_is_closed_to_the_public_and_to_members(alice):
    for visitor in (browser(), browser(user=alice)):
        turn = answered(visitor.visitor, "Take ", acme() if not market.Ad.objects.exists() else market.Ad.objects.get())
        assert panel(visitor, turn).status_code == 404
        page = visitor.client.get(reverse("conversation", args=[turn.conversation_id])).content.decode()
        assert "Behind this answer" not in page


def test_stakeholder_sees_the_panel_of_own_questions_alone(stakeholder):
    stella, alice = browser(user=stakeholder), browser()
    assert panel(stella, answered(stella.visitor, "Yes.")).status_code == 200
    assert panel(stella, answered(alice.visitor, "Yes.")).status_code == 404


def test_staff_see_the_panel_of_any_question(staff):
    alice = browser()
    assert panel(browser(user=staff), answered(alice.visitor, "Yes.")).status_code == 200


def test_panel_shows_candidates_bids_and_what_was_inserted(staff):
    sam, mug = browser(user=staff), acme(bid=73_519_317)
    zenith(bid=41_000_000)
    turn = answered(sam.visitor, "Take ", mug, format_errors={"half_marker": 2}, prompt_tokens=4_210)
    page = panel(sam, turn).content.decode()
    for words in ("73.519317", "41.00", "Zenith Trail Shoes", "as ad 1", "2 × marker begun and not closed", "4,210"):
        assert words in page
    assert str(turn.auction_id) in page
    assert "120 ms" in page


def test_panel_shows_clicks_with_the_reason_why_one_was_not_billed(staff):
    sam, mug = browser(user=staff), acme(bid=5_000_000)
    turn = answered(sam.visitor, "Take ", mug)
    for _ in range(2):
        market.click(turn.segments[1]["token"], visitor=sam.visitor)
    page = panel(sam, turn).content.decode()
    assert "billed 5.00" in page
    assert "not billed: already clicked" in page


def test_panel_shows_the_prompt_the_model_read(staff):
    sam, mug = browser(user=staff), acme()
    zenith()
    turn = answered(sam.visitor, "Take ", mug, profile="A nurse. Interests: hiking")
    opened = market.open_auction(visitor=sam.visitor)  # the same market: the same candidates in the same order
    prompt = ad_prompt(query=turn.query, profile=turn.profile, candidates=opened.candidates)
    assert prompt in html.unescape(panel(sam, turn).content.decode())


@pytest.mark.parametrize(
    ("sort", "first"),
    [("bid", "Zenith"), ("title", "Acme"), ("ad", "Acme"), ("inserted", "Acme"), ("nonsense", "Zenith")],
)
def test_candidates_are_sorted_as_asked(staff, sort, first):
    sam, mug = browser(user=staff), acme(bid=1_000_000)
    zenith(bid=2_000_000)
    page = panel(sam, answered(sam.visitor, "Take ", mug), sort=sort).content.decode()
    table = page.split("Candidates</h4>")[1].split("</table>")[0]
    assert table.index(first) == min(table.index("Acme"), table.index("Zenith"))


def test_panel_opens_as_a_page_too(staff):
    sam = browser(user=staff)
    response = sam.client.get(reverse("turn_panel", args=[answered(sam.visitor, "Yes.").pk]))
    assert "<title>Behind an answer" in response.content.decode()


def test_panel_of_a_turn_without_auction_is_empty_not_broken(staff):
    sam = browser(user=staff)
    turn = answered(sam.visitor, status="failed")
    turn.auction_id = None
    turn.save()
    assert panel(sam, turn).status_code == 200


def test_panel_takes_as_many_queries_for_many_candidates(staff, django_assert_max_num_queries):
    sam, mug = browser(user=staff), acme()
    for number in range(20):
        market.make_ad(mug.campaign, title=f"Mug number {number}")
    turn = answered(sam.visitor, "Take ", mug)
    with django_assert_max_num_queries(8):
        panel(sam, turn)
