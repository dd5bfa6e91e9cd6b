"""The answer: a question in, an answer with ads out, by which model version. Docstrings state each table's grain."""

import uuid

from django.db import models
from django.db.models import Q, UniqueConstraint
from django.db.models.functions import Now

from campaigns.models import Ad, Auction


class VisitorProfile(models.Model):
    """One row per ready-made profile a visitor may choose; h in the paper."""

    name = models.CharField(max_length=80, unique=True)
    basic_information = models.CharField(max_length=300)
    interests = models.CharField(max_length=300)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def text(self) -> str:
        """What stands in the prompt under "User Profile"."""
        return f"{self.basic_information} Interests: {self.interests}"


class ModelVersion(models.Model):
    """One row per Ad-LLM that may answer: an OpenAI-compatible endpoint and the name of the model there."""

    class Source(models.TextChoices):
        SETTINGS = "settings"  # follows AD_LLM_BASE_URL and AD_LLM_MODEL
        REGISTERED = "registered"

    name = models.CharField(max_length=80, unique=True)
    base_url = models.CharField(max_length=300)
    model = models.CharField(max_length=300)
    source = models.CharField(max_length=10, choices=Source, default=Source.REGISTERED)
    is_builtin = models.BooleanField(default=False)  # the lab Ad-LLM that ships with the project: pages say so
    is_live = models.BooleanField(default=False)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-created_at"]
        constraints = [UniqueConstraint(fields=["is_live"], condition=Q(is_live=True), name="at_most_one_live_model")]

    def __str__(self) -> str:
        return self.name


class Conversation(models.Model):
    """One row per conversation of one visitor. visitor_hash is a digest of the browser's visitor cookie."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    visitor_hash = models.CharField(max_length=64, db_index=True)
    title = models.CharField(max_length=120, blank=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-created_at"]


class Turn(models.Model):
    """One row per question and the one generation that answers it. Its status only moves forward."""

    class Status(models.TextChoices):
        QUEUED = "queued"
        STREAMING = "streaming"
        COMPLETE = "complete"
        STOPPED = "stopped"  # by the visitor; the text so far stays
        INTERRUPTED = "interrupted"  # cut by the length limit, the model server or a restart; the text so far stays
        FAILED = "failed"  # nothing was shown

    FINAL = (Status.COMPLETE, Status.STOPPED, Status.INTERRUPTED, Status.FAILED)

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    conversation = models.ForeignKey(Conversation, models.CASCADE, related_name="turns")
    origin = models.CharField(max_length=4, choices=Auction.Origin, default=Auction.Origin.LIVE)
    retry_of = models.ForeignKey("self", models.SET_NULL, null=True, blank=True, related_name="retries")
    idempotency_key = models.CharField(max_length=64)
    query = models.TextField()
    profile = models.TextField(blank=True)
    status = models.CharField(max_length=11, choices=Status, default=Status.QUEUED)
    stop_requested = models.BooleanField(default=False)  # by the visitor; the writer sees it within half a second
    watched_until = models.DateTimeField(null=True)  # by a reader of another process, or a page without script
    error = models.CharField(max_length=300, blank=True)  # what the visitor is told
    text = models.TextField(blank=True)  # the model's own words, markers included; never shown unrendered
    segments = models.JSONField(default=list)  # [{"text": ...} | {"ad_id", "title", "first", "token"}]
    format_errors = models.JSONField(default=dict)  # kind -> count
    model_version = models.ForeignKey(ModelVersion, models.PROTECT, null=True, related_name="turns")
    auction = models.OneToOneField(Auction, models.PROTECT, null=True, related_name="turn")
    first_token_ms = models.PositiveIntegerField(null=True)
    duration_ms = models.PositiveIntegerField(null=True)
    prompt_tokens = models.PositiveIntegerField(null=True)
    completion_tokens = models.PositiveIntegerField(null=True)
    created_at = models.DateTimeField(db_default=Now(), db_index=True)
    updated_at = models.DateTimeField(auto_now=True)  # the heartbeat of a streaming turn

    class Meta:
        ordering = ["created_at"]
        constraints = [UniqueConstraint(fields=["conversation", "idempotency_key"], name="one_turn_per_submission")]


class HiddenAd(models.Model):
    """One row per ad a visitor asked not to see again."""

    visitor_hash = models.CharField(max_length=64)
    ad = models.ForeignKey(Ad, models.CASCADE, related_name="+")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [UniqueConstraint(fields=["visitor_hash", "ad"], name="an_ad_is_hidden_once")]


class AdReport(models.Model):
    """One row per complaint about an ad in an answer, for staff to look at."""

    class Reason(models.TextChoices):
        MISLEADING = "misleading"
        OFFENSIVE = "offensive"
        IRRELEVANT = "irrelevant"
        OTHER = "other"

    turn = models.ForeignKey(Turn, models.CASCADE, related_name="reports")
    ad = models.ForeignKey(Ad, models.CASCADE, related_name="reports")
    reason = models.CharField(max_length=10, choices=Reason)
    note = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField(db_default=Now())
    resolved_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [UniqueConstraint(fields=["turn", "ad"], name="one_report_per_ad_and_turn")]


class TrafficRun(models.Model):
    """One row per batch of simulated visitors, for a demo database. The plan follows from seed, wanted and days."""

    class Status(models.TextChoices):
        QUEUED = "queued"
        RUNNING = "running"
        COMPLETE = "complete"
        CANCELLED = "cancelled"
        FAILED = "failed"

    class Engine(models.TextChoices):
        LIVE = "live", "the live model"
        BOTH = "both", "the live model and the built-in one after IRPO, in turns"
        SCRIPTED = "scripted", "scripted answers, without a model"

    wanted = models.PositiveIntegerField()  # visitors
    done = models.PositiveIntegerField(default=0)
    days = models.PositiveSmallIntegerField(default=14)  # the visits lie in this many days before started_at
    seed = models.BigIntegerField(default=1)
    engine = models.CharField(max_length=8, choices=Engine, default=Engine.LIVE)
    status = models.CharField(max_length=9, choices=Status, default=Status.QUEUED)
    error = models.CharField(max_length=300, blank=True)
    started_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["-pk"]

    def __str__(self) -> str:
        return f"{self.wanted} simulated visitors"

    @property
    def seconds_left(self) -> int | None:
        """How long until the run is done, at its pace so far? None before the first visit."""
        if not self.done:
            return None
        return round((self.updated_at - self.started_at).total_seconds() / self.done * (self.wanted - self.done))
