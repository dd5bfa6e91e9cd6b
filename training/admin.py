"""The loop in the stock admin: runs and stages are to be read; they are started and stopped on the training pages."""

from django.contrib import admin

from chat.admin import ReadOnlyAdmin
from training.models import Stage, TrainingRun


class StageInline(admin.TabularInline):
    model = Stage
    extra = 0
    can_delete = False
    fields = readonly_fields = ["epoch", "kind", "status", "attempt", "step", "done", "total", "heartbeat_at", "error"]

    def has_add_permission(self, request, obj=None) -> bool:
        return False


@admin.register(TrainingRun)
class TrainingRunAdmin(ReadOnlyAdmin):
    list_display = ["id", "kind", "created_at", "created_by", "asked"]
    list_filter = ["kind"]
    list_select_related = ["created_by"]
    inlines = [StageInline]


@admin.register(Stage)
class StageAdmin(ReadOnlyAdmin):
    list_display = ["run", "epoch", "kind", "status", "attempt", "step", "done", "total", "heartbeat_at", "error"]
    list_filter = ["status", "kind"]
    list_select_related = ["run"]
