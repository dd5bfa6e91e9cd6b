"""The ready-made visitor profiles of data/profiles.json. Only missing ones are added; edited ones stay as they are."""

import json
from pathlib import Path

from campaigns.auction.validation import clean_profile
from chat.models import VisitorProfile

PROFILES = Path(__file__).parent / "data" / "profiles.json"


def seed_profiles() -> None:
    for entry in json.loads(PROFILES.read_text(encoding="utf-8")):
        clean = {key: clean_profile(text, max_length=300) for key, text in entry.items()}
        VisitorProfile.objects.get_or_create(name=clean.pop("name"), defaults=clean)
