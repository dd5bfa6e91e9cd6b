"""The chat in the stock admin: answers are read, profiles edited, models registered and promoted, reports resolved."""

from django.contrib import admin, messages
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html

from chat import registry
from chat.models import AdReport, Conversation, ModelVersion, TrafficRun, Turn, VisitorProfile


class ReadOnlyAdmin(admin.ModelAdmin):
    """For rows that the site alone writes."""

    def has_add_permission(self, request: HttpRequest, obj=None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj=None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj=None) -> bool:
        return False


@admin.register(Turn)
class TurnAdmin(ReadOnlyAdmin):
    list_display = ["created_at", "question", "status", "model_version", "origin", "first_token_ms", "duration_ms"]
    list_filter = ["status", "origin", "model_version", "created_at"]
    search_fields = ["=id", "query"]
    list_select_related = ["model_version"]
    date_hierarchy = "created_at"
    show_full_result_count = False
    fields = [
        *("query", "profile", "status", "error", "text", "format_errors", "model_version", "auction", "panel"),
        *("first_token_ms", "duration_ms", "prompt_tokens", "completion_tokens", "origin", "created_at", "updated_at"),
    ]
    readonly_fields = ["panel"]

    @admin.display(description="question")
    def question(self, turn: Turn) -> str:
        return turn.query[:80]

    @admin.display(description="behind the answer")
    def panel(self, turn: Turn) -> str:
        return format_html('<a href="{}">Candidates, bids and prompt</a>', reverse("turn_panel", args=[turn.pk]))


@admin.register(Conversation)
class ConversationAdmin(ReadOnlyAdmin):
    list_display = ["created_at", "title"]
    search_fields = ["title"]
    show_full_result_count = False


@admin.register(TrafficRun)
class TrafficRunAdmin(ReadOnlyAdmin):
    list_display = ["started_at", "wanted", "done", "engine", "status", "error"]
    list_filter = ["status"]


@admin.register(VisitorProfile)
class VisitorProfileAdmin(admin.ModelAdmin):
    list_display = ["name", "basic_information", "interests"]
    search_fields = ["name", "basic_information", "interests"]


@admin.register(ModelVersion)
class ModelVersionAdmin(admin.ModelAdmin):
    """A version is the model of past answers: once made, only its name may change. Promoting is an action."""

    list_display = ["name", "model", "base_url", "source", "is_builtin", "is_live", "created_at"]
    list_filter = ["is_live", "source"]
    readonly_fields = ["source", "is_builtin", "is_live", "created_at"]
    actions = ["promote"]

    def get_readonly_fields(self, request: HttpRequest, obj: ModelVersion | None = None) -> list[str]:
        return [*self.readonly_fields, *(["base_url", "model"] if obj else [])]

    def has_delete_permission(self, request: HttpRequest, obj: ModelVersion | None = None) -> bool:
        return False

    @admin.action(description="Let the selected model answer from now on", permissions=["change"])
    def promote(self, request: HttpRequest, chosen) -> None:
        if chosen.count() != 1:
            self.message_user(request, "Choose one model: only one answers at a time.", messages.ERROR)
            return
        version = registry.promote(chosen.get())
        self.log_change(request, version, "Promoted.")
        self.message_user(request, f"{version.name} answers the next question.")


@admin.register(AdReport)
class AdReportAdmin(admin.ModelAdmin):
    list_display = ["created_at", "ad", "reason", "note", "resolved_at"]
    list_filter = [("resolved_at", admin.EmptyFieldListFilter), "reason"]
    list_select_related = ["ad"]
    search_fields = ["ad__title", "ad__public_id", "note"]
    readonly_fields = ["turn", "ad", "reason", "note", "created_at", "resolved_at"]
    actions = ["resolve"]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: AdReport | None = None) -> bool:
        return False

    @admin.action(description="Mark as resolved", permissions=["change"])
    def resolve(self, request: HttpRequest, chosen) -> None:
        unresolved = chosen.filter(resolved_at__isnull=True)
        for report in unresolved:
            self.log_change(request, report, "Resolved.")
        count = unresolved.update(resolved_at=timezone.now())
        self.message_user(request, f"{count} resolved.")
