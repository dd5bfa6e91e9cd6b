"""The main job, seen by those who do it: alice asks and clicks, an advertiser bids, an analyst reads charts."""

from uuid import UUID

import pytest

from tests.fake_openai import Plan


def test_question_is_answered_with_an_ad_and_a_click_is_charged_once(page, site, ask, first_ad):
    ask()
    answer = page.locator(".answer")
    assert answer.locator("[data-body] strong").inner_text() == "just before"
    link = answer.locator("a.ad-link")
    assert link.count() == 1
    assert "Sponsored" in link.inner_text()
    assert "@" not in answer.locator("[data-body]").inner_text()
    before = site.rows("SELECT count(*), coalesce(sum(charged_micros), 0) FROM campaigns_click")[0]
    for _ in range(2):  # the second click opens the page as well, and costs nothing
        with page.context.expect_event("requestfailed", lambda request: request.url == first_ad["landing_url"]):
            link.click()  # the landing page is not on this machine; that it is asked for is enough
    after = site.rows("SELECT count(*), coalesce(sum(charged_micros), 0) FROM campaigns_click")[0]
    assert (after[0] - before[0], after[1] - before[1]) == (1, first_ad["bid"] * 1_000_000)
    assert site.rows("SELECT reason FROM campaigns_rejectedclick ORDER BY id DESC LIMIT 1") == [("duplicate",)]


def test_conversation_opened_again_generates_and_charges_nothing(page, site, ask):
    ask()
    generations, impressions = site.fake.generations, site.rows("SELECT count(*) FROM campaigns_impression")
    newest = site.rows("SELECT conversation_id FROM chat_turn ORDER BY created_at DESC LIMIT 1")[0][0]
    page.goto(f"/chat/{UUID(newest)}/")
    assert page.locator("a.ad-link").count() == 1
    page.reload()
    assert page.locator("a.ad-link").count() == 1
    assert site.fake.generations == generations
    assert site.rows("SELECT count(*) FROM campaigns_impression") == impressions


def test_hostile_answer_stays_text(page, site):
    site.fake.plan = Plan(
        text="<script>alert(1)</script> <img src=x onerror=alert(2)> [x](javascript:alert(3)) @No@[Ad-9]"
    )
    page.goto("/")
    page.on("dialog", lambda dialog: pytest.fail(dialog.message))
    page.fill("#query", "What now?")
    page.press("#query", "Enter")
    page.wait_for_selector("article.turn:not([aria-busy])")
    body = page.locator("[data-body]")
    assert body.locator("script, img, [onerror], a[href^=javascript]").count() == 0
    assert "alert(1)" in body.inner_text()


def test_model_server_that_is_down_is_said_and_retry_works(page, site):
    site.fake.plan = Plan(status=503)
    page.goto("/")
    page.fill("#query", "Are you there?")
    page.press("#query", "Enter")
    page.wait_for_selector("article.turn .status-bad")
    site.fake.plan = Plan(text="Here I am.")
    page.get_by_role("button", name="Retry").click()
    page.wait_for_selector("text=Here I am.")


def test_advertiser_changes_a_bid_in_place(page, site, log_in, problems, first_ad):
    log_in(first_ad["owner"])
    page.goto("/advertiser/")
    cell = page.locator(f"#bid-{first_ad['id']}")
    cell.locator(".bid-button").click()
    page.fill(f"#bid-input-{first_ad['id']}", "NaN")
    page.press(f"#bid-input-{first_ad['id']}", "Enter")
    page.wait_for_selector(f"#bid-error-{first_ad['id']}")
    problems.clear()  # the browser logs that the answer was a 422
    page.fill(f"#bid-input-{first_ad['id']}", "12.25")
    page.press(f"#bid-input-{first_ad['id']}", "Enter")
    page.wait_for_selector(f"#bid-{first_ad['id']} .bid-button")
    assert "12.25" in page.locator(f"#bid-{first_ad['id']}").inner_text()
    newest = "SELECT amount_micros FROM campaigns_bid ORDER BY id DESC LIMIT 1"
    assert site.rows(newest) == [(12_250_000,)]


SEND_AT_ONCE = """new MutationObserver(() => {
    const form = document.querySelector(".bid-form");
    if (!form || form.dataset.sent) return;
    form.dataset.sent = "yes";
    form.querySelector("[name=amount]").value = "NaN";
    if (!form.querySelector("[role=alert]")) form.requestSubmit();
}).observe(document, { childList: true, subtree: true });"""


def test_bid_sent_in_the_moment_its_form_appears_is_answered_in_place(page, log_in, problems, first_ad):
    page.add_init_script(SEND_AT_ONCE)
    log_in(first_ad["owner"])
    page.goto("/advertiser/")
    address = page.url
    page.locator(f"#bid-{first_ad['id']} .bid-button").click()
    page.wait_for_selector(f"#bid-error-{first_ad['id']}")
    assert page.url == address
    problems.clear()  # the browser logs that the answer was a 422


def test_analyst_sees_charts_each_with_its_table(page, log_in):
    log_in("analyst")
    page.goto("/analytics/")
    page.wait_for_selector("figure.chart canvas")
    page.wait_for_selector(".chart-state", state="detached")
    charts = page.locator("figure.chart")
    assert charts.count() >= 4
    for number in range(charts.count()):
        if charts.nth(number).locator("[data-chart]").count():
            assert charts.nth(number).locator("canvas").count() >= 1
            assert charts.nth(number).locator("details table").count() == 1


def test_answer_fits_a_phone(page, ask):
    page.set_viewport_size({"width": 360, "height": 740})
    ask()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_api_page_loads_within_the_content_policy(page):
    page.goto("/api/v1/docs/")
    page.wait_for_selector(".opblock")
