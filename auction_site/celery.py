"""The Celery app, and what it does by the clock: `celery -A auction_site worker --beat`.

The tasks live in each app's tasks.py. What is done by the clock may be done twice, or late, without harm.
"""

import ctypes
import os
import signal
import sys

from celery import Celery
from celery.signals import beat_embedded_init

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "auction_site.settings")
WORKER = os.getpid()  # beat is forked from it, this module with it
app = Celery("auction_site")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
app.autodiscover_tasks(["auction_site"], related_name="housekeeping")


def _every(seconds: int, task: str) -> dict:
    return {"task": task, "schedule": seconds, "options": {"expires": seconds}}  # a late one is not done twice


app.conf.beat_schedule = {
    "end the turns whose writer is gone": _every(60, "chat.tasks.end_stale_turns"),
    "go on with the stages whose worker is gone": _every(60, "training.tasks.resume_stale_stages"),
    "check the books": _every(300, "campaigns.tasks.check_books"),
    "throw away what has expired": _every(6 * 3600, "auction_site.housekeeping.throw_away_expired"),
}


@beat_embedded_init.connect
def die_with_the_worker(**_: object) -> None:
    """Beat runs in a child of the worker; a worker that is killed with -9 cannot end it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if os.getppid() != WORKER:  # killed before that
            os.kill(os.getpid(), signal.SIGKILL)
