"""What the chat asks of a Celery worker. Each task is one call."""

from celery import shared_task
from celery.signals import worker_shutting_down
from django.utils import timezone

from chat import traffic, turns
from chat.models import TrafficRun


@shared_task
def end_stale_turns() -> None:
    """Once a minute is often enough: pages that watch a stale turn end it themselves."""
    turns.mark_stale_turns(now=timezone.now())


_going_on: set[int] = set()  # the runs this process is at


@shared_task
def simulate_traffic(run_id: int) -> None:
    """Harmless when delivered twice: a run that is going on is left alone."""
    _going_on.add(run_id)
    try:
        traffic.run_traffic(TrafficRun.objects.get(pk=run_id))
    finally:
        _going_on.discard(run_id)


@worker_shutting_down.connect
def put_runs_back(**_: object) -> None:
    """A worker that is asked to stop leaves after the visit it is at; another start goes on from there."""
    going_on = TrafficRun.objects.filter(pk__in=_going_on, status=TrafficRun.Status.RUNNING)
    going_on.update(status=TrafficRun.Status.QUEUED)
