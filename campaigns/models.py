"""The market: who may advertise, at what bid, what was shown, what is owed. A docstring per table states its grain."""

import uuid

from django.conf import settings
from django.db import models
from django.db.models import CheckConstraint, F, OuterRef, Q, Subquery, UniqueConstraint
from django.db.models.functions import Now

from campaigns.auction.categories import CATEGORIES
from campaigns.auction.validation import MAX_BALANCE_MICROS, MAX_BID_MICROS, MIN_BID_MICROS


class DatabaseMark(models.Model):
    """At most one row, "demo": says that the money in this database is play money. Demo auctions must point at it."""

    kind = models.CharField(max_length=8, primary_key=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [CheckConstraint(condition=Q(kind="demo"), name="database_mark_is_demo")]

    def __str__(self) -> str:
        return self.kind


class AdvertiserQuerySet(models.QuerySet):
    def for_user(self, user) -> "AdvertiserQuerySet":
        """The advertisers this person is a member of; staff see all."""
        return self if user.is_staff else self.filter(memberships__user=user)


class Advertiser(models.Model):
    """One row per company that pays for clicks. Its day begins at midnight in its own time zone."""

    class Status(models.TextChoices):
        ACTIVE = "active"
        SUSPENDED = "suspended"

    name = models.CharField(max_length=80, unique=True)
    slug = models.SlugField(max_length=80, unique=True)
    time_zone = models.CharField(max_length=64, default="UTC")
    status = models.CharField(max_length=9, choices=Status, default=Status.ACTIVE)
    created_at = models.DateTimeField(db_default=Now())

    objects = AdvertiserQuerySet.as_manager()

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Membership(models.Model):
    """One row per person and advertiser."""

    class Role(models.TextChoices):
        OWNER = "owner"
        EDITOR = "editor"
        VIEWER = "viewer"

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="memberships")
    advertiser = models.ForeignKey(Advertiser, models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=6, choices=Role, default=Role.EDITOR)

    class Meta:
        constraints = [UniqueConstraint(fields=["user", "advertiser"], name="one_membership_per_person")]

    def __str__(self) -> str:
        return f"{self.user} is {self.role} of {self.advertiser}"


class Account(models.Model):
    """One wallet per advertiser, and two accounts of the platform's own.

    Only wallets keep a balance (micros, credits less debits): a shared revenue row would serialise every click.
    """

    class Kind(models.TextChoices):
        WALLET = "wallet"
        CLEARING = "clearing"  # the outside world: deposits come from here
        REVENUE = "revenue"  # charges go here; its balance is the sum over transfers

    kind = models.CharField(max_length=8, choices=Kind)
    advertiser = models.OneToOneField(Advertiser, models.PROTECT, null=True, blank=True, related_name="wallet")
    balance_micros = models.BigIntegerField(default=0)

    class Meta:
        constraints = [
            CheckConstraint(
                condition=Q(balance_micros__range=(0, MAX_BALANCE_MICROS)), name="account_balance_in_range"
            ),
            CheckConstraint(
                condition=Q(kind="wallet", advertiser__isnull=False)
                | Q(kind__in=["clearing", "revenue"], advertiser__isnull=True, balance_micros=0),
                name="only_wallets_keep_a_balance",
            ),
            UniqueConstraint(fields=["kind"], condition=~Q(kind="wallet"), name="one_account_of_each_platform_kind"),
        ]

    def __str__(self) -> str:
        return f"{self.advertiser} wallet" if self.advertiser_id else self.kind


class Campaign(models.Model):
    """One row per campaign: budgets and what is spent of them, in micros. day_spent belongs to `day`, no other day."""

    class Status(models.TextChoices):
        ACTIVE = "active"
        PAUSED = "paused"

    advertiser = models.ForeignKey(Advertiser, models.PROTECT, related_name="campaigns")
    name = models.CharField(max_length=80)
    status = models.CharField(max_length=6, choices=Status, default=Status.ACTIVE)
    total_budget_micros = models.BigIntegerField()
    spent_micros = models.BigIntegerField(default=0)
    daily_budget_micros = models.BigIntegerField()
    day = models.DateField(null=True, blank=True)  # in the advertiser's time zone
    day_spent_micros = models.BigIntegerField(default=0)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["advertiser", "name"]
        constraints = [
            UniqueConstraint(fields=["advertiser", "name"], name="campaign_name_unique_per_advertiser"),
            CheckConstraint(
                condition=Q(spent_micros__gte=0, spent_micros__lte=F("total_budget_micros"))
                & Q(total_budget_micros__lte=MAX_BALANCE_MICROS),
                name="campaign_spent_within_total_budget",
            ),
            CheckConstraint(
                condition=Q(day_spent_micros__gte=0, day_spent_micros__lte=F("daily_budget_micros"))
                & Q(daily_budget_micros__lte=MAX_BALANCE_MICROS),
                name="campaign_day_spent_within_daily_budget",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class AdQuerySet(models.QuerySet):
    def for_user(self, user) -> "AdQuerySet":
        return self if user.is_staff else self.filter(campaign__advertiser__memberships__user=user)

    def with_bid(self) -> "AdQuerySet":
        """Annotates bid_id and bid_micros: the latest bid, which is the current one."""
        latest = Bid.objects.filter(ad=OuterRef("pk")).order_by("-pk")
        return self.annotate(
            bid_id=Subquery(latest.values("pk")[:1]),
            bid_micros=Subquery(latest.values("amount_micros")[:1], output_field=models.BigIntegerField()),
        )


class Ad(models.Model):
    """One row per ad. title_skeleton folds look-alike letters, so that nobody can copy a rival's title."""

    class Review(models.TextChoices):
        DRAFT = "draft"
        PENDING = "pending"
        APPROVED = "approved"
        REJECTED = "rejected"

    class Status(models.TextChoices):
        ACTIVE = "active"
        PAUSED = "paused"

    public_id = models.CharField(max_length=12, unique=True)  # "Ad-1234": what stands in prompts and markers
    campaign = models.ForeignKey(Campaign, models.PROTECT, related_name="ads")
    title = models.CharField(max_length=80)
    title_skeleton = models.CharField(max_length=160, unique=True)
    landing_url = models.URLField(max_length=500)
    description = models.CharField(max_length=300, blank=True)
    category = models.CharField(max_length=32, choices=list(CATEGORIES.items()))
    review_state = models.CharField(max_length=8, choices=Review, default=Review.DRAFT)
    review_reason = models.CharField(max_length=200, blank=True)
    status = models.CharField(max_length=6, choices=Status, default=Status.ACTIVE)
    created_at = models.DateTimeField(db_default=Now())

    objects = AdQuerySet.as_manager()

    class Meta:
        ordering = ["public_id"]

    def __str__(self) -> str:
        return f"{self.title} [{self.public_id}]"


class Bid(models.Model):
    """One row per bid ever set, append-only. The current bid of an ad is its latest row."""

    ad = models.ForeignKey(Ad, models.PROTECT, related_name="bids")
    amount_micros = models.BigIntegerField()
    created_at = models.DateTimeField(db_default=Now())
    set_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+")

    class Meta:
        ordering = ["-pk"]
        indexes = [models.Index(fields=["ad", "-id"], name="bid_latest_of_ad")]
        constraints = [
            CheckConstraint(condition=Q(amount_micros__range=(MIN_BID_MICROS, MAX_BID_MICROS)), name="bid_in_range"),
        ]


class Auction(models.Model):
    """One row per question that went to an Ad-LLM with candidates in its prompt."""

    class Origin(models.TextChoices):
        LIVE = "live"
        DEMO = "demo"  # simulated visitors, possible only in a database marked as demo

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    model_version = models.CharField(max_length=80)
    origin = models.CharField(max_length=4, choices=Origin, default=Origin.LIVE)
    demo_mark = models.ForeignKey(DatabaseMark, models.PROTECT, null=True, blank=True, related_name="+")
    visitor_hash = models.CharField(max_length=64, blank=True)
    created_at = models.DateTimeField(db_default=Now(), db_index=True)

    class Meta:
        constraints = [
            CheckConstraint(
                condition=Q(origin="live", demo_mark__isnull=True) | Q(origin="demo", demo_mark__isnull=False),
                name="auction_demo_needs_a_demo_database",
            ),
        ]


class AuctionCandidate(models.Model):
    """One row per ad in the prompt of an auction, with the bid that stood there. Never updated: it is the price."""

    auction = models.ForeignKey(Auction, models.PROTECT, related_name="candidates")
    ad = models.ForeignKey(Ad, models.PROTECT, related_name="candidacies")
    bid_micros = models.BigIntegerField()
    title = models.CharField(max_length=80)

    class Meta:
        constraints = [
            UniqueConstraint(fields=["auction", "ad"], name="one_candidacy_per_ad_and_auction"),
            CheckConstraint(
                condition=Q(bid_micros__range=(MIN_BID_MICROS, MAX_BID_MICROS)), name="candidate_bid_in_range"
            ),
        ]


class Impression(models.Model):
    """One row per ad shown in an answer: the served link. Written and committed before a visitor sees the link.

    token_id is 128 random bits in hex; the link carries it signed. A blank visitor_hash means the link was served
    through the API and belongs to no browser.
    """

    candidate = models.OneToOneField(AuctionCandidate, models.PROTECT, related_name="impression")
    position = models.PositiveSmallIntegerField()  # 1 = first ad in the answer
    token_id = models.CharField(max_length=32, unique=True)
    visitor_hash = models.CharField(max_length=64, blank=True)
    expires_at = models.DateTimeField()
    created_at = models.DateTimeField(db_default=Now(), db_index=True)


class Click(models.Model):
    """One row per billed click; an impression has at most one, which makes every retry harmless.

    visitor_hash and network_hash say where it came from, as digests, so that billing can cap clicks from one place.
    """

    impression = models.OneToOneField(Impression, models.PROTECT, primary_key=True, related_name="click")
    charged_micros = models.BigIntegerField()
    visitor_hash = models.CharField(max_length=64, blank=True)
    network_hash = models.CharField(max_length=64, blank=True)
    created_at = models.DateTimeField(db_default=Now(), db_index=True)

    class Meta:
        indexes = [
            models.Index(fields=["visitor_hash", "created_at"], name="click_by_visitor", condition=~Q(visitor_hash="")),
            models.Index(fields=["network_hash", "created_at"], name="click_by_network", condition=~Q(network_hash="")),
        ]
        constraints = [CheckConstraint(condition=Q(charged_micros__gt=0), name="click_charge_positive")]


class RejectedClick(models.Model):
    """One row per measured click that was not billed, with the reason. The visitor was sent on all the same."""

    class Reason(models.TextChoices):
        DUPLICATE = "duplicate", "already clicked"
        BOT = "bot", "an automated visitor"
        PREFETCH = "prefetch", "loaded ahead of a click"
        EXPIRED = "expired", "the link had expired"
        OVER_BUDGET = "over_budget", "no budget or wallet money left"
        INACTIVE = "inactive", "the ad, campaign or advertiser was not active"
        INVALID = "invalid", "not the visitor who saw the ad, or too many clicks from one place"

    impression = models.ForeignKey(Impression, models.PROTECT, related_name="rejected_clicks")
    reason = models.CharField(max_length=11, choices=Reason)
    created_at = models.DateTimeField(db_default=Now(), db_index=True)


class Transfer(models.Model):
    """One row per movement of money, append-only; a correction is a credit that reverses a charge.

    amount_micros leaves `debit` and reaches `credit`, so the books sum to zero by construction.
    """

    class Kind(models.TextChoices):
        DEPOSIT = "deposit"  # clearing -> wallet
        CHARGE = "charge"  # wallet -> revenue, for one click
        CREDIT = "credit"  # revenue -> wallet, reverses one charge
        WITHDRAWAL = "withdrawal"  # wallet -> clearing

    kind = models.CharField(max_length=10, choices=Kind)
    debit = models.ForeignKey(Account, models.PROTECT, related_name="debits")
    credit = models.ForeignKey(Account, models.PROTECT, related_name="credits")
    amount_micros = models.BigIntegerField()
    click = models.OneToOneField(Click, models.PROTECT, null=True, blank=True, related_name="transfer")
    reverses = models.OneToOneField("self", models.PROTECT, null=True, blank=True, related_name="reversed_by")
    external_ref = models.CharField(max_length=120, null=True, blank=True, unique=True)
    note = models.CharField(max_length=200, blank=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField(db_default=Now(), db_index=True)

    class Meta:
        constraints = [
            CheckConstraint(
                condition=Q(amount_micros__gt=0, amount_micros__lte=MAX_BALANCE_MICROS), name="transfer_positive"
            ),
            CheckConstraint(condition=~Q(debit=F("credit")), name="transfer_between_two_accounts"),
            CheckConstraint(
                condition=Q(kind="charge", click__isnull=False, reverses__isnull=True)
                | Q(kind="credit", click__isnull=True, reverses__isnull=False)
                | Q(
                    kind__in=["deposit", "withdrawal"],
                    click__isnull=True,
                    reverses__isnull=True,
                    external_ref__isnull=False,
                ),
                name="transfer_names_its_cause",
            ),
        ]
