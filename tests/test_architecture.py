"""The house stands as docs/ says: who may import whom, what the web process loads, what the repository may not name."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from django.conf import settings

ROOT = Path(settings.BASE_DIR)
PRODUCTION = {"SECRET_KEY": "k3" * 40 + "-not-a-real-one", "HTTPS": "1", "ALLOWED_HOSTS": "ads.example.com"}


def run(*command: str, **env: str) -> subprocess.CompletedProcess:
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": "auction_site.settings", **env}
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=120)


def run_site(code: str) -> subprocess.CompletedProcess:
    return run(sys.executable, "-c", f"import django; django.setup(); {code}", DJANGO_SETTINGS_MODULE="tests.settings")


def test_import_contracts_hold():
    result = run(str(Path(sys.executable).with_name("lint-imports")), "--no-cache")
    assert result.returncode == 0, result.stdout


def test_root_urls_load_no_heavy_library():
    result = run_site(
        "import sys, auction_site.urls, auction_site.asgi;"
        "print([name for name in ('torch', 'transformers', 'vllm', 'numpy') if name in sys.modules])"
    )
    assert result.stdout.strip() == "[]", result.stdout + result.stderr


def test_models_have_no_missing_migration():
    result = run(sys.executable, "manage.py", "makemigrations", "--check", "--dry-run", DEMO="1")
    assert result.returncode == 0, result.stdout + result.stderr


def test_deployment_check_is_clean():
    result = run(sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING", **PRODUCTION)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("env", "complaint"),
    [
        ({"SECRET_KEY": ""}, "Set SECRET_KEY"),  # a site with real money must not start with a known key
        ({"DATABASE_URL": "mysql://localhost/ads"}, "DATABASE_URL must be"),  # the ledger is proved on two engines
    ],
)
def test_nonsense_in_the_environment_stops_the_start(env, complaint):
    result = run(sys.executable, "manage.py", "check", **{**PRODUCTION, **env})
    assert result.returncode != 0
    assert complaint in result.stderr


class Asking(HTMLParser):
    """Collects the elements of a template that htmx makes ask, and for each what the browser would do by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[dict[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = {**dict(attrs), "tag": tag}
        if "hx-get" in element or "hx-post" in element:
            self.found.append(element)

    def handle_data(self, data: str) -> None:
        if self.found and "{% csrf_token %}" in data:
            self.found[-1]["token"] = data


def works_without_htmx(element: dict[str, str | None]) -> bool:
    if "hx-post" in element:
        sent = (element["tag"], element.get("method"), element.get("action"))
        return sent == ("form", "post", element["hx-post"]) and "token" in element
    by_itself = (element.get("hx-trigger") or "").startswith(("load", "every", "toggle"))  # nobody pressed anything
    return by_itself or (element["tag"] == "a" and "href" in element)


def test_what_htmx_sends_the_browser_sends_without_it():
    """Whoever presses Enter before the script has bound a form, or has no script, must lose nothing."""
    asking = []
    for path in sorted((ROOT / "templates").rglob("*.html")):
        parser = Asking()
        parser.feed(path.read_text(encoding="utf-8"))
        asking += [(path.name, element) for element in parser.found]
    assert len(asking) > 20
    assert [(name, element) for name, element in asking if not works_without_htmx(element)] == []


FORBIDDEN = {
    "a directory of somebody's machine": re.compile(r"(?<![\w.~$}/-])/(home|root|work|farm|Users|opt|tmp)/\w"),
    "the host of a package registry": re.compile(r"pypi[.]org|pythonhosted[.]|registry[.]npmjs|/simple[/]"),
}


def test_repository_names_no_machine():
    listed = run("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z").stdout.split("\0")
    found = []
    for name in filter(None, listed):
        path = ROOT / name
        if not path.is_file() or "vendor" in path.parts or path.stat().st_size > 2_000_000:
            continue
        text = path.read_bytes()
        if b"\0" in text:
            continue
        for number, line in enumerate(text.decode("utf-8", "replace").splitlines(), 1):
            found += [f"{name}:{number} names {what}" for what, pattern in FORBIDDEN.items() if pattern.search(line)]
    assert found == []
