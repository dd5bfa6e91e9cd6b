"""The market in the stock admin: advertisers are opened and funded, ads reviewed; the ledger can only be read.

Bids, budgets and money go through bidding and billing, never by editing a row. Ads are written on the advertiser's
pages, which staff may open for everybody.
"""

from zoneinfo import available_timezones

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ActionForm
from django.core.exceptions import ValidationError

from campaigns.auction.candidates import format_micros
from campaigns.auction.validation import (
    MAX_BALANCE_MICROS,
    InvalidInput,
    clean_landing_url,
    clean_title,
    title_skeleton,
)
from campaigns.bidding import set_budgets
from campaigns.billing import deposit
from campaigns.forms import AmountField
from campaigns.models import (
    Account,
    Ad,
    Advertiser,
    Auction,
    AuctionCandidate,
    Bid,
    Campaign,
    Click,
    DatabaseMark,
    Impression,
    Membership,
    RejectedClick,
    Transfer,
)


def _amount(**kwargs) -> AmountField:
    return AmountField(minimum=1, maximum=MAX_BALANCE_MICROS, **kwargs)


def money(field: str, description: str = ""):
    """A column that shows micros as an amount."""

    @admin.display(description=description or field.removesuffix("_micros").replace("_", " "), ordering=field)
    def column(row) -> str:
        return format_micros(getattr(row, field))

    return column


# --- the ledger: to be read ---


class ReadOnly(admin.ModelAdmin):
    """Rows that nobody adds, changes or deletes by hand; the database would refuse it anyway."""

    show_full_result_count = False
    list_select_related = True

    def has_add_permission(self, request) -> bool:
        return False

    def has_change_permission(self, request, obj=None) -> bool:
        return False

    def has_delete_permission(self, request, obj=None) -> bool:
        return False


@admin.register(DatabaseMark)
class DatabaseMarkAdmin(ReadOnly):
    list_display = ["kind", "created_at"]


@admin.register(Account)
class AccountAdmin(ReadOnly):
    list_display = ["__str__", "kind", money("balance_micros")]
    list_filter = ["kind"]
    search_fields = ["advertiser__name"]


@admin.register(Bid)
class BidAdmin(ReadOnly):
    list_display = ["ad", money("amount_micros"), "created_at", "set_by"]
    search_fields = ["ad__public_id", "ad__title"]


@admin.register(Auction)
class AuctionAdmin(ReadOnly):
    list_display = ["id", "model_version", "origin", "created_at"]
    list_filter = ["origin", "model_version"]


@admin.register(AuctionCandidate)
class AuctionCandidateAdmin(ReadOnly):
    list_display = ["auction_id", "ad", "title", money("bid_micros")]
    search_fields = ["ad__public_id", "=auction__id"]


@admin.register(Impression)
class ImpressionAdmin(ReadOnly):
    list_display = ["id", "candidate_ad", "position", "created_at", "expires_at"]
    list_select_related = ["candidate__ad"]
    search_fields = ["candidate__ad__public_id"]
    exclude = ["token_id"]  # who knows it, knows the link

    @admin.display(description="ad", ordering="candidate__ad")
    def candidate_ad(self, impression: Impression) -> Ad:
        return impression.candidate.ad


@admin.register(Click)
class ClickAdmin(ReadOnly):
    list_display = ["impression_id", money("charged_micros"), "created_at"]


@admin.register(RejectedClick)
class RejectedClickAdmin(ReadOnly):
    list_display = ["impression_id", "reason", "created_at"]
    list_filter = ["reason"]


@admin.register(Transfer)
class TransferAdmin(ReadOnly):
    list_display = ["id", "kind", "debit", "credit", money("amount_micros"), "created_at", "external_ref", "note"]
    list_filter = ["kind"]
    list_select_related = ["debit__advertiser", "credit__advertiser"]
    search_fields = ["external_ref", "debit__advertiser__name", "credit__advertiser__name"]


# --- advertisers and campaigns ---


class MembershipInline(admin.TabularInline):
    model = Membership
    extra = 0
    autocomplete_fields = ["user"]


class AdvertiserForm(forms.ModelForm):
    time_zone = forms.ChoiceField(
        choices=[(zone, zone) for zone in sorted(available_timezones())],
        initial="UTC",
        help_text="Its day, and with it the daily budget, begins at midnight there. Fixed once a click was charged.",
    )
    deposit = _amount(required=False, help_text="An amount to add to the wallet.")
    payment_reference = forms.CharField(
        required=False, max_length=120, help_text="The payment's own reference: it is booked once, however often sent."
    )

    class Meta:
        model = Advertiser
        fields = ["name", "slug", "status", "time_zone"]

    def clean_time_zone(self) -> str:
        zone = self.cleaned_data["time_zone"]
        counted = self.instance.pk and self.instance.campaigns.filter(day__isnull=False).exists()
        if counted and zone != self.instance.time_zone:
            raise ValidationError("Clicks were charged already: the time zone stays.")
        return zone

    def clean(self) -> dict:
        cleaned = super().clean()
        if cleaned.get("deposit") and not cleaned.get("payment_reference"):
            self.add_error("payment_reference", "Name the payment's reference, so that it is booked only once.")
        return cleaned


@admin.register(Advertiser)
class AdvertiserAdmin(admin.ModelAdmin):
    form = AdvertiserForm
    inlines = [MembershipInline]
    list_display = ["name", "status", "balance", "time_zone"]
    list_filter = ["status"]
    list_select_related = ["wallet"]
    search_fields = ["name"]
    prepopulated_fields = {"slug": ["name"]}
    readonly_fields = ["balance"]
    fields = ["name", "slug", "status", "time_zone", "balance", "deposit", "payment_reference"]

    @admin.display(description="wallet")
    def balance(self, advertiser: Advertiser) -> str:
        return format_micros(advertiser.wallet.balance_micros) if hasattr(advertiser, "wallet") else "0"

    def save_model(self, request, obj, form, change) -> None:
        super().save_model(request, obj, form, change)
        if amount := form.cleaned_data.get("deposit"):
            try:
                deposit(
                    advertiser=obj,
                    amount_micros=amount,
                    external_ref=form.cleaned_data["payment_reference"],
                    created_by=request.user,
                )
            except InvalidInput as error:
                self.message_user(request, str(error), messages.ERROR)


class CampaignForm(forms.ModelForm):
    daily_budget = _amount()
    total_budget = _amount()

    class Meta:
        model = Campaign
        fields = ["advertiser", "name", "status"]

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            self.initial["daily_budget"] = self.instance.daily_budget_micros
            self.initial["total_budget"] = self.instance.total_budget_micros

    def clean_total_budget(self) -> int:
        total = self.cleaned_data["total_budget"]
        if total < self.instance.spent_micros:
            raise ValidationError(f"{format_micros(self.instance.spent_micros)} of it is already spent.")
        return total


@admin.register(Campaign)
class CampaignAdmin(admin.ModelAdmin):
    form = CampaignForm
    list_display = [
        *["name", "advertiser", "status", money("daily_budget_micros"), money("total_budget_micros")],
        money("spent_micros"),
    ]
    list_filter = ["status"]
    list_select_related = ["advertiser"]
    search_fields = ["name", "advertiser__name"]
    fields = ["advertiser", "name", "status", "daily_budget", "total_budget"]

    def get_readonly_fields(self, request, obj=None) -> list[str]:
        return ["advertiser"] if obj else []  # the books follow this path

    def save_model(self, request, obj, form, change) -> None:
        daily, total = form.cleaned_data["daily_budget"], form.cleaned_data["total_budget"]
        if not change:
            obj.daily_budget_micros, obj.total_budget_micros = daily, total
            return super().save_model(request, obj, form, change)
        obj.save(update_fields=["name", "status"])  # never what clicks are changing at this moment
        try:
            set_budgets(campaign=obj, daily_budget_micros=daily, total_budget_micros=total, set_by=request.user)
        except InvalidInput as error:
            self.message_user(request, str(error), messages.ERROR)


# --- ads and their review ---


class AdForm(forms.ModelForm):
    class Meta:
        model = Ad
        fields = ["title", "landing_url", "description", "category", "status"]
        field_classes = {"landing_url": forms.CharField}

    def clean_title(self) -> str:
        try:
            title = clean_title(self.cleaned_data["title"])
        except InvalidInput as error:
            raise ValidationError(str(error)) from None
        self.instance.title_skeleton = title_skeleton(title)
        if Ad.objects.filter(title_skeleton=self.instance.title_skeleton).exclude(pk=self.instance.pk).exists():
            raise ValidationError("Another ad has this title, or one that looks just like it.")
        return title

    def clean_landing_url(self) -> str:
        try:
            return clean_landing_url(self.cleaned_data["landing_url"])
        except InvalidInput as error:
            raise ValidationError(str(error)) from None


class ReasonForm(ActionForm):
    reason = forms.CharField(required=False, max_length=200, help_text="The advertiser reads it.")


@admin.register(Ad)
class AdAdmin(admin.ModelAdmin):
    form = AdForm
    action_form = ReasonForm
    actions = ["approve", "reject"]
    list_display = ["public_id", "title", "campaign", "category", "review_state", "status"]
    list_filter = ["review_state", "status", "category"]
    list_select_related = ["campaign__advertiser"]
    search_fields = ["public_id", "title", "campaign__advertiser__name"]
    readonly_fields = ["public_id", "campaign", "review_state", "review_reason"]
    fields = [*readonly_fields, *AdForm.Meta.fields]

    def has_add_permission(self, request) -> bool:
        return False

    @admin.action(description="Approve the selected ads", permissions=["change"])
    def approve(self, request, queryset) -> None:
        count = queryset.update(review_state=Ad.Review.APPROVED, review_reason="")
        self.message_user(request, f"Approved: {count}.")

    @admin.action(description="Reject the selected ads, with the reason given", permissions=["change"])
    def reject(self, request, queryset) -> None:
        reason = request.POST.get("reason", "").strip()[:200]
        if not reason:
            return self.message_user(request, "Not rejected: write the reason beside the action.", messages.ERROR)
        count = queryset.update(review_state=Ad.Review.REJECTED, review_reason=reason)
        self.message_user(request, f"Rejected: {count}.")
