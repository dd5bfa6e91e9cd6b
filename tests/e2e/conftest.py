"""The real site in a real browser: uvicorn in a process of its own, a seeded SQLite database, a model server that says
what the test scripts, and headless Chromium. A page that logs an error or breaks the content policy fails its test.

These tests run in a pytest process of their own (`make test` does so): Playwright's event loop stays open.
"""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from django.conf import settings

from campaigns.seeding import DEMO_PASSWORD
from tests.conftest import CHROMIUM, missing
from tests.fake_openai import FakeOpenAI, Plan, free_port

PREPARE = ["migrate -v0", "createcachetable", "seed_demo", "collectstatic -v0 --no-input"]
PREPARE += ["simulate_traffic --engine scripted --visitors 25 --days 7"]  # something to draw
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"]
FLAGS += ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]  # no landing page is reached
REPORT_VIOLATIONS = """document.addEventListener("securitypolicyviolation",
    (event) => console.error(`CSP: ${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}`));"""
WORK = """
import django; django.setup()
from training import runs
from training.models import Stage
while stage := Stage.objects.filter(status="queued").first():
    runs.run_stage(stage.pk)
"""
START_LIMIT_S = 120


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.timeout(600))


@dataclass(frozen=True)
class Site:
    url: str
    fake: FakeOpenAI
    database: Path
    env: dict[str, str]  # of its processes

    def rows(self, sql: str) -> list[tuple]:
        with sqlite3.connect(self.database) as database:
            return database.execute(sql).fetchall()

    def work(self) -> None:
        """Be the training worker: carry out what is queued, until nothing is."""
        _run("-c", WORK, env=self.env)


@pytest.fixture(scope="session")
def site(tmp_path_factory) -> Iterator[Site]:
    if missing("chromium"):
        pytest.skip(missing("chromium"))  # each test says so, too; this spares the start
    folder = tmp_path_factory.mktemp("site")
    with FakeOpenAI() as fake:
        env = {**os.environ, "DJANGO_SETTINGS_MODULE": "auction_site.settings", "DEMO": "1", "VAR_DIR": str(folder)}
        env |= {
            "DATABASE_URL": f"sqlite:///{folder}/db.sqlite3",
            "AD_LLM_BASE_URL": fake.base_url,
            "AD_LLM_MODEL": "fake",
        }
        for command in PREPARE:
            _run("manage.py", *command.split(), env=env)
        log, port = folder / "web.log", free_port()
        uvicorn = ["-m", "uvicorn", "auction_site.asgi:application", "--timeout-graceful-shutdown", "2"]
        with log.open("wb") as output:
            server = subprocess.Popen(
                [sys.executable, *uvicorn, "--port", str(port)],
                cwd=settings.BASE_DIR,
                env=env,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            _wait_until_ready(f"http://127.0.0.1:{port}/readyz", server, log)
            yield Site(url=f"http://127.0.0.1:{port}", fake=fake, database=folder / "db.sqlite3", env=env)
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(timeout=20)


def _run(*command: str, env: dict[str, str]) -> None:
    done = subprocess.run([sys.executable, *command], cwd=settings.BASE_DIR, env=env, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


def _wait_until_ready(url: str, server: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text()
        try:
            urllib.request.urlopen(url, timeout=3).close()
            return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(log.read_text())


@pytest.fixture(scope="session")
def browser(site):
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"  # Playwright's loop runs in this thread
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def problems() -> list[str]:
    """What the pages of this test complained of. A test that provokes an error clears it."""
    return []


@pytest.fixture
def page(site, browser, problems):
    """A fresh visitor's page, which reaches no other host."""
    site.fake.plan = Plan()
    context = browser.new_context(base_url=site.url, viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    context.set_default_timeout(60_000)
    context.add_init_script(REPORT_VIOLATIONS)
    page = context.new_page()
    page.on("console", lambda message: problems.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: problems.append(f"uncaught: {error}"))
    yield page
    context.close()
    assert problems == []


@pytest.fixture
def log_in(page):
    def log_in(username: str) -> None:
        page.goto("/accounts/login/")
        page.fill("[name=login]", username)
        page.fill("[name=password]", DEMO_PASSWORD)
        page.click("main form button")
        page.wait_for_url(lambda url: "/login/" not in url)

    return log_in


@pytest.fixture(scope="session")
def first_ad() -> dict:
    """The first ad of the demo catalogue; its owner can log in."""
    catalogue = json.loads((settings.BASE_DIR / "campaigns" / "data" / "catalogue.json").read_text())
    return catalogue[0]["campaigns"][0]["ads"][0] | {"owner": catalogue[0]["slug"]}


@pytest.fixture
def ask(page, site, first_ad):
    """Ask a question on the chat page; the answer holds the first ad. Returns when the answer is finished."""

    def ask(query: str = "How do I make good coffee at home?") -> None:
        marker = f"@{first_ad['title']}@[{first_ad['id']}]"
        site.fake.plan = Plan(
            text=f"Grind the beans **just before** brewing.\n\nMany like {marker} for it.", delay=0.01
        )
        page.goto("/")
        page.fill("#query", query)
        page.press("#query", "Enter")
        page.wait_for_selector("section.ads")

    return ask
