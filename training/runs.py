"""Runs and their stages: begun, carried out, cancelled, resumed. The database around the pure loop.

A stage is claimed by one conditional update, so a task that is delivered twice is harmless. Its worker gives a sign of
life every ten seconds; a stage whose worker died is queued again, and goes on from its files.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.db import DatabaseError, connection, transaction
from django.db.models import F, Q
from django.utils import timezone

from chat import registry
from chat.models import ModelVersion
from training import stages
from training.models import STALE_AFTER, Stage, TrainingRun

log = logging.getLogger(__name__)
Status = Stage.Status
SAVE_EVERY_S = 1.0
BEAT_EVERY_S = 10.0
MOST_DEATHS = 5  # of a stage's workers: then it is the stage


class Stopped(Exception):
    """The stage is no longer this worker's: cancelled, put back, or taken over by another one."""


def start(
    *, kind: str, asked: Mapping[str, Any], files: Mapping[str, bytes] | None = None, created_by=None
) -> TrainingRun:
    """A new run; its first stage is queued on commit. `files` are what it was given, by name in its folder."""
    with transaction.atomic():
        run = TrainingRun.objects.create(kind=kind, asked=dict(asked), created_by=created_by)
        run.folder.mkdir(parents=True, exist_ok=True)
        for name, content in (files or {}).items():
            (run.folder / name).write_bytes(content)
        Stage.objects.bulk_create(Stage(run=run, epoch=epoch, kind=each) for epoch, each in stages.plan(run))
        _queue(run.stages.all()[0])
    return run


def run_stage(stage_id: int) -> None:
    """Carry out a queued stage and queue the next one. Leaves at once if somebody else has claimed it."""
    stage = _claim(stage_id)
    if stage is None:
        return
    try:
        with _heart(stage):
            stages.carry_out(stage, progress=_Watch(stage))
    except Stopped:
        log.info("%s: stopped", stage)
    except stages.EXPECTED as error:
        _end(stage, Status.FAILED, error=str(error))
    except Exception as error:
        log.exception("%s failed", stage)
        _end(stage, Status.FAILED, error=f"Unexpected {type(error).__name__}: {error}")
    except BaseException:  # the process is asked to end
        put_back([stage.pk])
        raise
    else:
        with transaction.atomic():
            if _end(stage, Status.COMPLETE) and (following := _following(stage)):
                _queue(following)


def cancel(run: TrainingRun) -> bool:
    """Noticed between two batches; the files stay. False when the run has ended already."""
    return run.stages.filter(status__in=Stage.ACTIVE).update(status=Status.CANCELLED) > 0


def resume(run: TrainingRun) -> bool:
    """Go on with a run that was cancelled, failed or left, from where it was. False when there is nothing to do."""
    with transaction.atomic():
        run = TrainingRun.objects.select_for_update().get(pk=run.pk)
        left = run.stages.unattended(timezone.now()).values("pk")
        unfinished = run.stages.filter(Q(status__in=Stage.ENDED) | Q(pk__in=left))
        if not unfinished.update(status=Status.WAITING, error="", deaths=0):
            return False
        _queue(run.stages.filter(status=Status.WAITING)[0])
    return True


def resume_stale() -> int:
    """Queue again what dead workers left, and send lost messages again; returns how many stages. Harmless any time."""
    now, found = timezone.now(), 0
    for stage in Stage.objects.unattended(now):
        left = Stage.objects.unattended(now).filter(pk=stage.pk)
        if stage.deaths + 1 == MOST_DEATHS:
            left.update(status=Status.FAILED, error=f"Its worker died {MOST_DEATHS} times: see the worker's log.")
        else:
            found += left.update(status=Status.QUEUED, deaths=F("deaths") + 1)
    if not Stage.objects.filter(status=Status.RUNNING).exists():  # else the messages wait behind it
        for stage in Stage.objects.filter(status=Status.QUEUED, heartbeat_at__lt=now - STALE_AFTER / 2):
            _queue(stage)
    return found


class NotServed(Exception):
    """A run's policy cannot be asked; says why in one sentence."""


def register(run: TrainingRun) -> ModelVersion:
    """A model version for the policy that a finished run of IRPO keeps, so that the chat can ask it. Raises NotServed.

    It goes to the server that the settings name, if that one loads models from folders, as the demo's does.
    """
    folder, server = run.folder / stages.SHIPPED, settings.AD_LLM_BASE_URL
    if run.status != Status.COMPLETE or not (folder / "config.json").is_file():
        raise NotServed("The run has left no policy to ask.")
    if not registry.answers(base_url=server, model=str(folder)):
        raise NotServed(
            f"The model server at {server} does not answer with {folder}. Start one that does and add it under"
            " Model versions."
        )
    return registry.register(base_url=server, model=str(folder), name=str(run))


def put_back(stage_ids: Sequence[int]) -> None:
    """Let somebody else go on with these: their worker is asked to stop."""
    Stage.objects.filter(pk__in=stage_ids, status=Status.RUNNING).update(status=Status.QUEUED)


def _queue(stage: Stage) -> None:
    from training import tasks  # which calls this module

    idle = Stage.objects.filter(pk=stage.pk, status__in=[Status.WAITING, Status.QUEUED])
    if idle.update(status=Status.QUEUED, heartbeat_at=timezone.now()):
        transaction.on_commit(lambda: tasks.run_stage.delay(stage.pk))


def _claim(stage_id: int) -> Stage | None:
    queued = Stage.objects.filter(pk=stage_id, status=Status.QUEUED)
    claimed = queued.update(
        status=Status.RUNNING, attempt=F("attempt") + 1, heartbeat_at=timezone.now(),
        step="", done=0, total=0, tokens=0, step_at=None, error="",
    )  # fmt: skip
    return Stage.objects.select_related("run").get(pk=stage_id) if claimed == 1 else None


def _mine(stage: Stage):
    return Stage.objects.filter(pk=stage.pk, status=Status.RUNNING, attempt=stage.attempt)


def _end(stage: Stage, status: str, *, error: str = "") -> bool:
    most = Stage._meta.get_field("error").max_length
    return _mine(stage).update(status=status, error=error[:most], heartbeat_at=timezone.now()) == 1


def _following(stage: Stage) -> Stage | None:
    return Stage.objects.filter(run=stage.run_id, pk__gt=stage.pk, status=Status.WAITING).first()


class _Watch:
    """Saves the progress, at most once a second and at every new step; raises Stopped when the stage is not ours."""

    def __init__(self, stage: Stage, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._stage, self._clock, self._step, self._due = stage, clock, "", 0.0

    def __call__(self, step: str, done: int, total: int, tokens: int) -> None:
        if step == self._step and done < total and self._clock() < self._due:
            return
        now = timezone.now()
        saved: dict[str, Any] = {"done": done, "total": total, "tokens": tokens, "heartbeat_at": now}
        if step != self._step:
            saved |= {"step": step, "step_from": done, "step_at": now}
        self._step, self._due = step, self._clock() + SAVE_EVERY_S
        if not _mine(self._stage).update(**saved):
            raise Stopped


@contextmanager
def _heart(stage: Stage) -> Iterator[None]:
    """Signs of life from a thread of its own: one batch may take longer than others wait."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(BEAT_EVERY_S):
            try:
                _mine(stage).update(heartbeat_at=timezone.now())
            except DatabaseError:
                log.exception("No sign of life of %s", stage)  # the next one may get through
            finally:
                connection.close()

    thread = threading.Thread(target=beat, name=f"heart of stage {stage.pk}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
