"""The loop's runs: what was asked for, and how far each stage is. What they compute lies in files, not in tables."""

from datetime import timedelta
from pathlib import Path

from django.conf import settings
from django.db import models
from django.db.models import CheckConstraint, F, Q, UniqueConstraint
from django.db.models.functions import Now
from django.utils import timezone

STALE_AFTER = timedelta(minutes=2)  # a heartbeat comes every ten seconds
_SIZES = {"queries": "questions", "samples": "answers each"}


class TrainingRun(models.Model):
    """One row per run: work of minutes to days, done in stages, that leaves named files in a folder of its own."""

    class Kind(models.TextChoices):
        SIMULATION = "simulation"
        IRPO = "irpo", "IRPO"
        EVALUATION = "evaluation"

    kind = models.CharField(max_length=12, choices=Kind)
    asked = models.JSONField()  # what was asked for: preset, seed, numbers, names of given files
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-pk"]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} {self.pk}"

    @property
    def folder(self) -> Path:
        return settings.VAR_DIR / "runs" / str(self.pk)

    @property
    def about(self) -> str:
        """What was asked for, in a line."""
        asked, kind = self.asked, self.Kind
        if self.kind == kind.SIMULATION:
            sizes = [f"{asked[name]} {what}" for name, what in _SIZES.items() if asked.get(name)]
            return ", ".join([asked["preset"], *sizes, f"seed {asked['seed']}"])
        if self.kind == kind.IRPO:
            guided = ["guided"] if asked.get("guided") else []
            told = [asked["preset"], asked["algorithm"].upper(), f"reward: {asked['reward']}", *guided]
            return ", ".join([*told, f"seed {asked['seed']}"])
        names = ", ".join(name for name, _ in asked["policies"])
        seeds, swept = len(asked["seeds"]), f", bids swept in {asked['sweep']}" if asked.get("sweep") else ""
        return f"{names}: {asked['questions']} questions, {seeds} seed{'' if seeds == 1 else 's'}{swept}"

    @property
    def current(self) -> "Stage | None":
        """The stage it is at; None once all are complete. They are carried out in order."""
        return next((stage for stage in self.stages.all() if stage.status != Stage.Status.COMPLETE), None)

    @property
    def status(self) -> str:
        return self.current.status if self.current else Stage.Status.COMPLETE

    @property
    def is_active(self) -> bool:
        return self.status in Stage.ACTIVE

    @property
    def stages_complete(self) -> int:
        return sum(stage.status == Stage.Status.COMPLETE for stage in self.stages.all())

    @property
    def can_resume(self) -> bool:
        """Cancelled, failed, or left by a worker that is gone."""
        return self.status in Stage.ENDED or (self.current is not None and self.current.is_unattended)


class StageQuerySet(models.QuerySet):
    def unattended(self, now) -> "StageQuerySet":
        """Running, it is said, but nobody has given a sign of life."""
        return self.filter(status=Stage.Status.RUNNING, heartbeat_at__lt=now - STALE_AFTER)


class Stage(models.Model):
    """One row per part of a run that one task carries out, and that goes on where it stopped.

    `attempt` counts the claims: only who made the last one may write here. `done` of `total` rows belong to `step`.
    """

    class Kind(models.TextChoices):
        WORLD = "world"
        SIMULATE = "simulate"
        # Of IRPO, by the names in training/irpo/loop.py:
        ONLINE = "online", "online answers and clicks"
        PCTR = "pctr", "reward model"
        OFFLINE = "offline", "answers to learn from"
        PREFERENCES = "preferences", "winners and losers"
        DPO = "dpo", "DPO"
        GRPO = "grpo", "online RL"
        TEST = "test", "test questions"
        METRICS = "metrics", "figures"
        SHIP = "ship", "policy for the site"
        EVALUATE = "evaluate"

    class Status(models.TextChoices):
        WAITING = "waiting"  # for the stage before it
        QUEUED = "queued"
        RUNNING = "running"
        COMPLETE = "complete"
        CANCELLED = "cancelled"
        FAILED = "failed"

    ACTIVE = (Status.WAITING, Status.QUEUED, Status.RUNNING)
    ENDED = (Status.CANCELLED, Status.FAILED)

    run = models.ForeignKey(TrainingRun, models.CASCADE, related_name="stages")
    epoch = models.PositiveSmallIntegerField(default=0)  # 0 where a run has none
    kind = models.CharField(max_length=12, choices=Kind)
    status = models.CharField(max_length=9, choices=Status, default=Status.WAITING)
    attempt = models.PositiveIntegerField(default=0)
    deaths = models.PositiveSmallIntegerField(default=0)  # workers that left it without a word
    step = models.CharField(max_length=40, blank=True)
    done = models.PositiveIntegerField(default=0)
    total = models.PositiveIntegerField(default=0)
    tokens = models.PositiveBigIntegerField(default=0)  # written in this attempt
    step_from = models.PositiveIntegerField(default=0)  # rows that were there when this attempt came to the step
    step_at = models.DateTimeField(null=True)  # when that was
    heartbeat_at = models.DateTimeField(db_default=Now())
    error = models.CharField(max_length=500, blank=True)

    objects = StageQuerySet.as_manager()

    class Meta:
        ordering = ["run", "pk"]  # in the order they are carried out
        constraints = [
            UniqueConstraint(fields=["run", "epoch", "kind"], name="one_stage_of_a_kind_per_run_and_epoch"),
            CheckConstraint(condition=Q(done__lte=F("total")), name="stage_done_within_total"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} of run {self.run_id}"

    @property
    def title(self) -> str:
        """With its epoch, where it belongs to one."""
        return f"epoch {self.epoch}, {self.get_kind_display()}" if self.epoch else self.get_kind_display()

    @property
    def is_unattended(self) -> bool:
        return self.status == self.Status.RUNNING and self.heartbeat_at < timezone.now() - STALE_AFTER

    @property
    def seconds_left(self) -> int | None:
        """How long until the step is done, at this attempt's pace? None before its first row."""
        fresh = self.done - self.step_from
        if self.status != self.Status.RUNNING or self.step_at is None or fresh <= 0:
            return None
        return round((self.heartbeat_at - self.step_at).total_seconds() / fresh * (self.total - self.done))
