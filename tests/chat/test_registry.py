"""Which model answers: the settings' one until somebody promotes another."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from chat import registry
from chat.models import ModelVersion

pytestmark = pytest.mark.django_db


def test_the_first_look_registers_what_the_settings_say(settings):
    settings.AD_LLM_BASE_URL, settings.AD_LLM_MODEL = "http://gpu:8000/v1", "acme/qwen-ads-7b"
    version = registry.live()

    assert (version.name, version.source, version.is_builtin) == ("qwen-ads-7b", "settings", False)
    assert registry.live() == version
    assert ModelVersion.objects.count() == 1


def test_the_lab_model_is_the_built_in_one_wherever_it_is_served(settings):
    settings.AD_LLM_MODEL = str(settings.LAB_MODEL_DIR) + "/"
    first = registry.live()
    settings.AD_LLM_BASE_URL = "http://127.0.0.1:9009/v1"
    moved = registry.live()

    assert first.is_builtin
    assert "built in" in first.name
    assert (moved, moved.base_url) == (first, "http://127.0.0.1:9009/v1")


def test_changed_settings_make_a_new_live_version_and_keep_the_old_row(settings):
    settings.AD_LLM_BASE_URL, settings.AD_LLM_MODEL = "http://gpu:8000/v1", "acme/one"
    old = registry.live()
    settings.AD_LLM_MODEL = "zenith/one"
    new = registry.live()

    assert (old.name, new.name) == ("one", "one 2")
    assert list(ModelVersion.objects.filter(is_live=True)) == [new]
    settings.AD_LLM_MODEL = "acme/one"
    assert registry.live() == old


def test_a_promoted_version_stays_whatever_the_settings_say(settings):
    registry.live()
    candidate = registry.register(base_url="http://gpu:8000/v1", model="irpo/epoch-3", name="irpo 3")
    registry.promote(candidate)
    settings.AD_LLM_MODEL = "another"

    assert registry.live() == candidate
    assert ModelVersion.objects.filter(is_live=True).count() == 1


def test_rolling_back_is_promoting_the_one_before(settings):
    before = registry.live()
    registry.promote(registry.register(base_url="http://gpu:8000/v1", model="irpo/epoch-3"))
    registry.promote(before)

    assert registry.live() == before


def test_registering_twice_is_one_version():
    first, again = (registry.register(base_url="http://gpu:8000/v1", model="irpo/epoch-3") for _ in range(2))

    assert first == again


@pytest.mark.django_db(transaction=True)
def test_processes_that_start_together_register_one_version(settings):
    settings.AD_LLM_BASE_URL, settings.AD_LLM_MODEL = "http://gpu:8000/v1", str(settings.LAB_MODEL_DIR)
    together = threading.Barrier(6)

    def look(number):
        together.wait(timeout=10)
        try:
            return registry.live().pk
        finally:
            connection.close()

    with ThreadPoolExecutor(6) as pool:
        found = set(pool.map(look, range(6)))
    assert found == set(ModelVersion.objects.values_list("pk", flat=True))
    assert len(found) == 1


def test_the_engine_speaks_to_the_versions_own_endpoint_with_the_settings_key(settings):
    settings.AD_LLM_API_KEY = "secret"
    version = registry.register(base_url="http://gpu:8000/v1", model="irpo/epoch-3")
    engine = registry.engine_for(version)

    assert engine.name == "irpo/epoch-3"
    assert engine is registry.engine_for(version)
    assert "secret" not in str(ModelVersion.objects.values())


@pytest.fixture
def after_irpo(settings, tmp_path):
    """The folder of the built-in model after IRPO, beside the built-in one on one server."""
    settings.AD_LLM_MODEL, settings.LAB_IRPO_MODEL_DIR = str(settings.LAB_MODEL_DIR), tmp_path / "weights-irpo"
    settings.LAB_IRPO_MODEL_DIR.mkdir()
    (settings.LAB_IRPO_MODEL_DIR / "config.json").write_text("{}")
    return settings.LAB_IRPO_MODEL_DIR


def test_without_its_folder_there_is_no_second_version(settings, tmp_path):
    settings.LAB_IRPO_MODEL_DIR = tmp_path / "nowhere"
    live = registry.live()
    assert registry.register_shipped() is None
    assert list(ModelVersion.objects.all()) == registry.choices() == [live]


def test_the_model_after_irpo_is_a_second_version_of_the_same_server(settings, after_irpo):
    live = registry.live()
    shipped = registry.register_shipped()
    assert (shipped.name, shipped.model, shipped.base_url) == ("Lab Ad-LLM after IRPO", str(after_irpo), live.base_url)
    assert shipped.is_builtin
    assert registry.live() == live
    assert registry.choices() == [live, shipped]

    settings.AD_LLM_BASE_URL = "http://127.0.0.1:9009/v1"  # the next start took another port
    again = registry.register_shipped()
    assert (again, again.base_url) == (shipped, "http://127.0.0.1:9009/v1")


def test_another_endpoint_does_not_serve_it(settings, after_irpo):
    settings.AD_LLM_MODEL = "Qwen/Qwen3-4B"
    assert registry.register_shipped() is None


def test_a_promoted_version_whose_folder_is_gone_gives_way_to_the_settings(after_irpo):
    before = registry.live()
    promoted = registry.promote(registry.register_shipped())
    assert registry.live() == promoted
    (after_irpo / "config.json").unlink()
    registry.register_shipped()
    assert registry.live() == before
    assert registry.choices() == [before]
