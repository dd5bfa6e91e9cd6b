"""The shipped lab Ad-LLM and where it lies."""

from functools import cache

from django.conf import settings

WEIGHTS = settings.BASE_DIR / "training" / "lab" / "weights"


@cache
def shipped():
    """The model and its tokenizer, loaded once."""
    from training.lab.check import load_model

    return load_model(WEIGHTS)
