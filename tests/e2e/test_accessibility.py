"""axe finds no serious or critical issue on any page, in light and in dark."""

import pytest
from axe_playwright_python.sync_playwright import Axe

PAGES = [  # who, where
    ("", "/"),
    ("", "/accounts/login/"),
    ("", "/nowhere/"),
    ("owner", "/advertiser/"),
    ("owner", "/advertiser/{slug}/statement/"),
    ("owner", "/advertiser/{slug}/ads/new/"),
    ("owner", "/advertiser/{slug}/ads/{ad}/"),
    ("owner", "/advertiser/{slug}/ads/{ad}/bids/"),
    ("owner", "/advertiser/{slug}/campaigns/new/"),
    ("analyst", "/analytics/"),
    ("staff", "/"),
    ("staff", "/training/"),
    ("staff", "/training/irpo/"),
    ("staff", "/training/evaluation/"),
]


IS_MARKED = """(() => {
    const place = document.activeElement.closest("#composer") || document.activeElement; // its frame glows
    const { outlineStyle, boxShadow } = getComputedStyle(place);
    return outlineStyle !== "none" || boxShadow !== "none";
})()"""


def serious(page) -> list[str]:
    violations = Axe().run(page).response["violations"]
    return [
        f"{violation['id']}: {node['target']} {node['failureSummary']}"
        for violation in violations
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
    ]


@pytest.mark.parametrize(("who", "where"), PAGES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_has_no_serious_accessibility_issue(page, log_in, problems, first_ad, who, where, scheme):
    page.emulate_media(color_scheme=scheme)
    if who:
        log_in(first_ad["owner"] if who == "owner" else who)
    page.goto(where.format(slug=first_ad["owner"], ad=first_ad["id"]))
    page.wait_for_load_state("networkidle")
    assert serious(page) == []
    if where == "/nowhere/":
        problems.clear()  # the browser logs that the page is not there


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_answer_has_no_serious_accessibility_issue(page, ask, scheme):
    page.emulate_media(color_scheme=scheme)
    ask()
    assert serious(page) == []


def test_chat_is_used_with_the_keyboard_alone(page, site, ask, first_ad):
    ask()
    focused = "document.activeElement.getAttribute('aria-label') || document.activeElement.innerText.trim()"
    page.evaluate("document.querySelector('a, button').focus()")
    assert page.evaluate(focused) == "Skip to the content"
    seen = []
    for _ in range(40):
        page.keyboard.press("Tab")
        seen.append(page.evaluate(focused))
        assert page.evaluate(IS_MARKED), f"nothing shows that the focus is on {seen[-1]}"
        if seen[-1].startswith("About this ad"):
            break
    page.keyboard.press("Enter")
    page.wait_for_selector(".sheet:popover-open")
    page.keyboard.press("Escape")
    page.wait_for_selector(".sheet:popover-open", state="detached")
    assert page.evaluate(focused).startswith("About this ad")
    assert any(first_ad["title"] in name for name in seen)


@pytest.mark.parametrize(("who", "where"), PAGES)
def test_page_fits_a_narrow_screen(page, log_in, problems, first_ad, who, where):
    page.set_viewport_size({"width": 375, "height": 740})
    if who:
        log_in(first_ad["owner"] if who == "owner" else who)
    page.goto(where.format(slug=first_ad["owner"], ad=first_ad["id"]))
    page.wait_for_load_state("networkidle")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    if where == "/nowhere/":
        problems.clear()


@pytest.mark.parametrize("where", ["/admin/", "/admin/campaigns/ad/", "/admin/campaigns/transfer/", "/api/v1/docs/"])
def test_other_pages_log_no_error(page, log_in, where):  # the page fixture fails a test whose page complains
    log_in("admin")
    page.goto(where)
    page.wait_for_load_state("networkidle")
    assert page.locator("link[rel=icon]").count() == 1
