"""What every test may rely on: a clean cache, named people, and honest skips when a server is missing.

Services are looked for once. On a developer's machine a missing one skips its tests with a reason; in CI (CI=true) it
fails them, because a skipped test proves nothing.
"""

import importlib.util
import os
import shutil
import signal
import socket
from functools import cache
from urllib.parse import urlsplit

import pytest

pytest_plugins = ["tests.ledger_flush"] if importlib.util.find_spec("tests.ledger_flush") else []

SERVICES = {  # name -> (variable that overrides it, where it is looked for)
    "postgres": ("TEST_DATABASE_URL", "postgres://postgres@127.0.0.1:5432/postgres"),
    "redis": ("TEST_REDIS_URL", "redis://127.0.0.1:6379/15"),
    "rabbitmq": ("TEST_RABBITMQ_URL", "amqp://guest:guest@127.0.0.1:5672//"),
}
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")


def service_url(name: str) -> str:
    variable, default = SERVICES[name]
    return os.environ.get(variable, default)


@cache
def missing(name: str) -> str:
    """Why the tests that need this service cannot run here; blank when they can."""
    if name == "chromium":
        return "" if shutil.which(CHROMIUM) else f"no Chromium at {CHROMIUM} (set CHROMIUM)"
    url = urlsplit(service_url(name))
    try:
        socket.create_connection((url.hostname, url.port), timeout=1).close()
    except OSError:
        return f"no {name} at {url.hostname}:{url.port} (set {SERVICES[name][0]})"
    return ""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--only-db", action="store_true", help="run only the tests that use the database")


def needed_services(item: pytest.Item) -> list[str]:
    needed = ["chromium"] if item.get_closest_marker("e2e") else []
    if item.get_closest_marker("postgres"):
        needed.append("postgres")
    for mark in item.iter_markers("services"):
        needed += mark.args
    return needed


def pytest_configure() -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # tools/test.py ends a step so: fixtures still tidy up


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--only-db"):
        uses_db = [bool(item.get_closest_marker("django_db")) or "db" in item.fixturenames for item in items]
        config.hook.pytest_deselected(items=[item for item, keep in zip(items, uses_db, strict=True) if not keep])
        items[:] = [item for item, keep in zip(items, uses_db, strict=True) if keep]


def pytest_runtest_setup(item: pytest.Item) -> None:
    for name in needed_services(item):
        if reason := missing(name):
            (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


@pytest.fixture(autouse=True)
def _clean_cache():
    from django.core.cache import cache as site_cache

    site_cache.clear()  # rate limits count there


@pytest.fixture
def alice(db, django_user_model):
    """Alice asks questions and has no other rights."""
    return django_user_model.objects.create_user("alice", password="alice-password")


@pytest.fixture
def analyst(db, django_user_model):
    from django.contrib.auth.models import Group

    user = django_user_model.objects.create_user("ada", password="ada-password")
    user.groups.add(Group.objects.get_or_create(name="analyst")[0])
    return user


@pytest.fixture
def mallory(db, django_user_model):
    """Mallory has an account, and nothing else that she should not have."""
    return django_user_model.objects.create_user("mallory", password="mallory-password")
