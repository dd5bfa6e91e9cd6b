"""The database's own guards over the books, the charge in one round trip, and the platform's two accounts."""

import sqlite3
from pathlib import Path

from django.db import migrations

SQL = Path(__file__).parent / "sql"
FILES = {"postgresql": ["ledger_postgresql.sql", "record_click_postgresql.sql"], "sqlite": ["ledger_sqlite.sql"]}


def _statements(script: str, *, vendor: str):
    """SQLite's driver takes one statement at a time, and a trigger's body holds semicolons; psycopg takes a script."""
    if vendor == "postgresql":
        yield script
        return
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def guard_the_ledger(apps, schema_editor) -> None:
    vendor = schema_editor.connection.vendor
    for name in FILES[vendor]:
        for statement in _statements((SQL / name).read_text(encoding="utf-8"), vendor=vendor):
            schema_editor.execute(statement, params=None)  # no parameters: a % stays a %


def open_platform_accounts(apps, schema_editor) -> None:
    for kind in ("clearing", "revenue"):
        apps.get_model("campaigns", "Account").objects.get_or_create(kind=kind)


class Migration(migrations.Migration):
    dependencies = [("campaigns", "0001_initial")]
    operations = [
        migrations.RunPython(guard_the_ledger),  # never taken back: books that were unguarded for a while prove nothing
        migrations.RunPython(open_platform_accounts, migrations.RunPython.noop),
    ]
