"""The period a page looks at, as its address says: ?days=7, 30 or all."""

from datetime import UTC, tzinfo

from django.http import HttpRequest
from django.utils import timezone

from campaigns.reporting import Period, all_days, last_days

DAY_CHOICES = {"7": "7 days", "30": "30 days", "all": "All time"}
DEFAULT_DAYS = "30"


def chosen_period(request: HttpRequest, *, zone: tzinfo = UTC) -> tuple[Period, str]:
    """The period and its name in the address; anything else in the address means the default."""
    days = request.GET.get("days")
    days = days if days in DAY_CHOICES else DEFAULT_DAYS
    now = timezone.now()
    return (all_days(now=now, zone=zone) if days == "all" else last_days(int(days), now=now, zone=zone)), days
