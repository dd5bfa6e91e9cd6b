"""Which time counts: the database's clock, the advertiser's own day, and for simulated traffic the simulated time.

A web server's clock may be wrong by hours; caps, expiry and days must not follow it.
"""

from datetime import date, datetime
from zoneinfo import ZoneInfo

from django.db import connection

from campaigns.models import DatabaseMark


def database_now() -> datetime:
    """The database's clock, in UTC: one round trip on PostgreSQL; SQLite lives in this process and has its clock."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT now()")
            return cursor.fetchone()[0]
        cursor.execute("SELECT strftime('%Y-%m-%d %H:%M:%f+00:00', 'now')")
        return datetime.fromisoformat(cursor.fetchone()[0])


def local_day(moment: datetime, time_zone: str) -> date:
    """The date on which this moment falls for an advertiser; its daily budget begins anew with it."""
    return moment.astimezone(ZoneInfo(time_zone)).date()


def simulated(at: datetime | None) -> datetime | None:
    """`at`, if this database may hold simulated times: only one marked as demo may."""
    if at is not None and not DatabaseMark.objects.exists():
        raise ValueError("only a database marked as demo may be told what time it is")
    return at
