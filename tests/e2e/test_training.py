"""A training seen by who starts it: it waits for its worker, then shows by itself what came of it."""

import pytest

from tests.e2e.test_accessibility import serious

pytest.importorskip("torch")
pytest.importorskip("trl")


def test_admin_starts_a_training_and_watches_it_end(page, site, log_in):
    log_in("admin")
    page.goto("/training/")
    page.get_by_role("link", name="Train by IRPO").click()
    page.select_option("[name=preset]", "tiny")
    page.select_option("[name=reward]", "oracle")
    page.fill("[name=epochs]", "1")
    page.get_by_role("button", name="Start").click()
    page.wait_for_selector("text=0 of 8 stages done")
    site.work()
    page.wait_for_selector("text=The policy to keep is that of epoch 1")  # nobody reloaded the page
    page.wait_for_selector("[data-chart] canvas")
    assert page.locator("section#run table").first.locator("tbody tr").count() == 2  # before, and epoch 1
    assert page.get_by_role("button", name="Add it to the model versions").count() == 0  # it writes nonsense
    assert serious(page) == []
    page.set_viewport_size({"width": 375, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
