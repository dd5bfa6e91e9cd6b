"""The benchmark measures what it says: every click it counts was charged, and it leaves nothing behind."""

import json

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from campaigns import benchmarking


def test_benchmark_refuses_nonsense():
    for arguments in (["--seconds", "0"], ["--seconds", "nan"], ["--rounds", "0"]):
        with pytest.raises(CommandError, match="between"):
            call_command("benchmark", "clicks", *arguments)
    with pytest.raises(CommandError, match="invalid choice"):
        call_command("benchmark", "dreams")


@pytest.mark.django_db(transaction=True)
def test_benchmark_needs_postgresql():
    if connection.vendor == "postgresql":
        pytest.skip("it is there")
    with pytest.raises(CommandError, match="PostgreSQL"):
        call_command("benchmark", "clicks")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.django_db(transaction=True)
def test_benchmark_charges_every_click_it_counts(capsys):
    if connection.vendor != "postgresql":
        pytest.skip("the ratio is to pgbench")
    own = connection.settings_dict["NAME"]
    call_command("benchmark", "clicks", "--seconds", "1", "--rounds", "1", "--json")
    report = json.loads(capsys.readouterr().out)
    assert report["book_violations"] == []
    assert report["failures"] == {}
    assert report["links_followed"] == report["clicks_charged"] > 0
    assert report["service_ratio"] > 0.1  # 0.75 and 0.30 are for a quiet machine and more than one second
    assert report["http_ratio"] > 0.1
    assert (report["service_target"], report["http_target"]) == (0.75, 0.30)
    with connection.cursor() as cursor:
        cursor.execute("SELECT datname FROM pg_database WHERE datname LIKE 'llm_auction_benchmark_%%'", [])
        assert cursor.fetchall() == []
    assert connection.settings_dict["NAME"] == own


def test_pgbench_is_looked_for_where_debian_puts_it(monkeypatch):
    monkeypatch.setattr(benchmarking.shutil, "which", lambda name: None)
    monkeypatch.setattr(benchmarking.Path, "glob", lambda self, pattern: iter(()))
    with pytest.raises(benchmarking.CannotMeasure, match="pgbench is missing"):
        benchmarking.find_pgbench()
