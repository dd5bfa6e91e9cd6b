"""What grows by itself and must not: log-ins, tokens and messages that have had their time."""

import time
from contextlib import suppress

from celery import shared_task
from django.conf import settings
from django.core.management import call_command
from django.utils import timezone
from knox.models import AuthToken

KEEP_MESSAGES_S = 24 * 3600


@shared_task
def throw_away_expired() -> None:
    call_command("clearsessions")
    AuthToken.objects.filter(expiry__lt=timezone.now()).delete()
    if settings.CELERY_BROKER_URL == "filesystem://":
        throw_away_messages(older_than=time.time() - KEEP_MESSAGES_S)


def throw_away_messages(*, older_than: float) -> None:
    """The broker without a server keeps each message it delivered as a file."""
    for message in (settings.VAR_DIR / "broker" / "processed").iterdir():
        with suppress(FileNotFoundError):  # another worker was quicker
            if message.stat().st_mtime < older_than:
                message.unlink()
