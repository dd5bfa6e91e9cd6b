"""The house stands as docs/ says: who may import whom, what the web process loads, what the repository may not name."""

import os
import re
import subprocess
import sys
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
