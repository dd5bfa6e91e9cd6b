"""The README's pictures, taken from a running demo: `.venv/bin/python tools/screenshots.py [address]`.

Needs what `make test` installs, and Chromium (CHROMIUM names it). The question is asked until an answer shows an ad.
"""

import os
import sys
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

IMAGES = Path(__file__).resolve().parent.parent / "docs" / "images"
PASSWORD = "demo"
QUESTION = "How do I make good coffee at home?"
MOST_TRIES = 10


def log_in(page: Page, username: str) -> None:
    page.goto("/accounts/login/")
    page.fill("[name=login]", username)
    page.fill("[name=password]", PASSWORD)
    page.click("main form button")
    page.wait_for_url(lambda url: "/login/" not in url)


def ask_until_an_ad_is_shown(page: Page) -> None:
    for _ in range(MOST_TRIES):
        page.goto("/")
        page.fill("#query", QUESTION)
        page.press("#query", "Enter")
        page.wait_for_selector("article.turn:not([aria-busy])")
        if page.locator("section.ads").count():
            return
    sys.exit(f"No ad in {MOST_TRIES} answers: is this the model whose picture you want?")


def take(page: Page, name: str) -> None:
    page.wait_for_load_state("networkidle")
    page.screenshot(path=IMAGES / f"{name}.png")
    print(IMAGES / f"{name}.png")


def main(address: str) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"), args=["--no-sandbox", "--disable-gpu"]
        )

        def visitor(height: int) -> Page:
            context = browser.new_context(
                base_url=address, viewport={"width": 1280, "height": height}, reduced_motion="reduce"
            )
            context.set_default_timeout(120_000)
            return context.new_page()

        page = visitor(900)
        log_in(page, "staff")
        ask_until_an_ad_is_shown(page)
        take(page, "chat")

        page = visitor(1100)
        log_in(page, "brewbright")
        page.goto("/advertiser/")
        take(page, "advertiser")

        page = visitor(1100)
        log_in(page, "analyst")
        page.goto("/analytics/")
        page.locator(".chart-state").last.wait_for(state="detached")
        take(page, "analytics")
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000")
