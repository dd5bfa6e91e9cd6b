"""Lets the tests empty the database between them, past the guards that make the ledger append-only.

Only a superuser on PostgreSQL, or whoever holds the SQLite file, can do this; nothing in the application can.
"""

from contextlib import contextmanager

from django.db import connection
from django.test import TransactionTestCase

_flush = TransactionTestCase._fixture_teardown


@contextmanager
def unguarded():
    """Within it the ledger's triggers sleep."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET session_replication_role = replica")
            guards = []
        else:
            cursor.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
            guards = cursor.fetchall()
            for name, _ in guards:
                cursor.execute(f'DROP TRIGGER "{name}"')
        try:
            yield
        finally:
            if connection.vendor == "postgresql":
                cursor.execute("SET session_replication_role = origin")
            for _, sql in guards:
                cursor.execute(sql)


def _flush_the_ledger_too(self) -> None:
    with unguarded():
        _flush(self)
    from campaigns.models import Account

    for kind in (Account.Kind.CLEARING, Account.Kind.REVENUE):
        Account.objects.get_or_create(kind=kind)


TransactionTestCase._fixture_teardown = _flush_the_ledger_too
