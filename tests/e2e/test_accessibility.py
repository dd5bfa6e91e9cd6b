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
]


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
