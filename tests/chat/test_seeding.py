"""The demo as one command: the market, the people and the visitor profiles."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from chat.models import ModelVersion, VisitorProfile

pytestmark = pytest.mark.django_db


def test_demo_prints_its_log_ins(settings):
    settings.DEMO = True
    out = StringIO()
    call_command("seed_demo", stdout=out)
    assert "30 advertisers, 100 ads" in out.getvalue()
    assert 'password "demo"' in out.getvalue()
    for username in ("admin", "staff", "analyst", "brewbright", "hobnook", "leafwren"):
        assert f"\n    {username} " in out.getvalue()


def test_edited_profile_survives_a_second_seed(settings):
    settings.DEMO = True
    call_command("seed_demo", stdout=StringIO())
    assert VisitorProfile.objects.count() == 12
    VisitorProfile.objects.filter(name="Maker").update(interests="sailing")
    before = list(VisitorProfile.objects.values())
    call_command("seed_demo", stdout=StringIO())
    assert list(VisitorProfile.objects.values()) == before


def test_the_shipped_model_after_irpo_is_a_second_version(settings, tmp_path):
    settings.DEMO, settings.AD_LLM_MODEL = True, str(settings.LAB_MODEL_DIR)
    settings.LAB_IRPO_MODEL_DIR = tmp_path / "weights-irpo"
    call_command("seed_demo", stdout=StringIO())
    assert not ModelVersion.objects.exists()  # the first question registers the settings' model
    settings.LAB_IRPO_MODEL_DIR.mkdir()
    (settings.LAB_IRPO_MODEL_DIR / "config.json").write_text("{}")
    for _ in range(2):
        call_command("seed_demo", stdout=StringIO())
    assert ModelVersion.objects.get().name == "Lab Ad-LLM after IRPO"
    assert not ModelVersion.objects.get().is_live


def test_outside_a_demo_nothing_is_loaded(settings):
    settings.DEMO = False
    with pytest.raises(CommandError, match="DEMO=1"):
        call_command("seed_demo")
    assert not VisitorProfile.objects.exists()
