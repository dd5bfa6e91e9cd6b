"""What the loop asks of a Celery worker: one task a stage, on the queue "training", whose worker takes one at a time.

No retry by itself: a stage that failed for a reason that may pass is resumed by a person, one whose worker died by the
clock.
"""

from celery import shared_task
from celery.signals import worker_shutting_down

from training import runs

_going_on: set[int] = set()  # the stages this process is at


@shared_task
def run_stage(stage_id: int) -> None:
    """Harmless when delivered twice: a stage that is going on is left alone."""
    _going_on.add(stage_id)
    try:
        runs.run_stage(stage_id)
    finally:
        _going_on.discard(stage_id)


@shared_task
def resume_stale_stages() -> None:
    runs.resume_stale()


@worker_shutting_down.connect
def put_stages_back(**_: object) -> None:
    """A worker that is asked to stop leaves after the batch it is at; another one goes on from there."""
    runs.put_back(list(_going_on))
