"""What the chat asks of a Celery worker. Each task is one call."""

from celery import shared_task
from django.utils import timezone

from chat import traffic, turns
from chat.models import TrafficRun


@shared_task
def end_stale_turns() -> None:
    """Once a minute is often enough: pages that watch a stale turn end it themselves."""
    turns.mark_stale_turns(now=timezone.now())


@shared_task
def simulate_traffic(run_id: int) -> None:
    """Harmless when delivered twice: a run that is going on is left alone."""
    traffic.run_traffic(TrafficRun.objects.get(pk=run_id))
