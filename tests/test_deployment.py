"""The files that nobody runs here are checked against those that everybody runs."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from django.conf import settings

ROOT = Path(settings.BASE_DIR)
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
SITE = ("migrate", "web", "worker", "training-worker", "beat")


def settings_variables() -> set[str]:
    return set(re.findall(r'env\.\w+\(\s*"([A-Z_]+)"', (ROOT / "auction_site" / "settings.py").read_text()))


def documented_variables() -> list[str]:
    return re.findall(r"^\| `([A-Z_]+)` \|", (ROOT / "docs" / "configuration.md").read_text(), re.MULTILINE)


def test_every_variable_is_documented_once_and_no_other():
    documented = documented_variables()
    assert sorted(documented) == sorted(settings_variables())


def test_example_environment_names_only_known_variables():
    named = set(re.findall(r"^#? ?([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert named - settings_variables() == {"POSTGRES_PASSWORD"}


def test_example_environment_holds_no_secret():
    values = dict(re.findall(r"^(\w+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert values["SECRET_KEY"] == values["POSTGRES_PASSWORD"] == ""


def test_only_the_web_is_published_and_only_to_this_host():
    published = {name: service["ports"] for name, service in COMPOSE.items() if service.get("ports")}
    assert list(published) == ["web"]
    assert all(port.startswith("127.0.0.1:") for port in published["web"])
    assert all(service.get("network_mode") != "host" for service in COMPOSE.values())


def test_vllm_gets_a_gpu_and_no_development_mode():
    vllm = COMPOSE["vllm"]
    [device] = vllm["deploy"]["resources"]["reservations"]["devices"]
    assert device["capabilities"] == ["gpu"]
    assert "VLLM_SERVER_DEV_MODE" not in vllm["environment"]


@pytest.mark.parametrize("name", SITE)
def test_site_services_get_only_variables_that_the_settings_read(name):
    assert set(COMPOSE[name]["environment"]) <= settings_variables()


@pytest.mark.parametrize("name", SITE)
def test_site_services_start_after_the_migration(name):
    first = {"postgres", "redis"} if name == "migrate" else {"migrate"}
    assert set(COMPOSE[name]["depends_on"]) == first


def test_commands_name_what_exists():
    commands = " ".join(str(service.get("command", "")) for service in COMPOSE.values())
    assert set(re.findall(r"-A (\w+)", commands)) == {"auction_site"}
    for path in re.findall(r"/app/(\S+)", commands):
        assert (ROOT / path).parent.exists()
    image = (ROOT / "Dockerfile").read_text()
    assert '"auction_site.asgi:application"' in image
    for line in re.findall(r"^COPY (.+)$", image, re.MULTILINE):
        assert all((ROOT / source).exists() for source in line.split()[:-1])


def test_pins_cover_every_dependency():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [
        *project["dependencies"],
        *(each for extra in project["optional-dependencies"].values() for each in extra),
    ]
    names = {re.split(r"[\[<>=!~ ]", each)[0].lower().replace("_", "-") for each in wanted}
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in lines if "==" in line}
    assert names - pinned == set()
    assert not [line for line in lines if "+" in line], "a local build's version exists nowhere else"
