"""How fast clicks are charged, as a ratio to pgbench running the same statement on the same PostgreSQL.

Absolute figures tell about the machine; ratios tell about this code. Every round measures pgbench, the service and HTTP
one after another, so that whatever else the machine does touches all of them; the result is the median of the rounds.
Works in a database of its own, which it makes and drops. The load itself is in click_load.py.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from django.conf import settings
from django.core.management import call_command
from django.db import connection

from campaigns import click_load
from campaigns.books import check_books
from campaigns.models import Click

CLIENTS = 16
WEB_PROCESSES = 2
SERVICE_TARGET, HTTP_TARGET = 0.75, 0.30  # of pgbench


@dataclass(frozen=True)
class ClickReport:
    """Rates are clicks per second, medians over the rounds; ratios are medians of each round's own ratio to pgbench."""

    rounds: int
    seconds: float
    clients: int
    pgbench_rate: int
    service_rate: int
    http_rate: int
    service_ratio: float
    service_target: float
    http_ratio: float
    http_target: float
    http_p50_ms: float
    http_p99_ms: float
    links_followed: int
    clicks_charged: int
    failures: dict[str, int]
    book_violations: list[str]


class CannotMeasure(RuntimeError):
    """Says what is missing."""


def measure_clicks(*, seconds: float, rounds: int, say: Callable[[str], None] = lambda line: None) -> ClickReport:
    """Three rates per round, each over this many seconds."""
    pgbench = find_pgbench()
    rates: list[tuple[float, float, float]] = []
    waits: list[float] = []
    failures: Counter[str] = Counter()
    with throwaway_database() as url, tempfile.TemporaryDirectory() as scratch:
        say("filling a market of its own")
        links = click_load.Links()
        with web_server(url, scratch=scratch) as port:
            for number in range(rounds + 1):  # the first warms everything up and does not count
                raw = run_pgbench(pgbench, links, seconds=seconds, scratch=scratch)
                service = click_load.through_the_service(links, clients=CLIENTS, seconds=seconds)
                http = click_load.through_http(links, port=port, clients=CLIENTS, seconds=seconds)
                if number:
                    rates.append((raw, service.rate, http.rate))
                    waits += http.waits
                    failures += service.failures + http.failures
                    say(
                        f"round {number} of {rounds}: pgbench {raw:.0f} clicks/s,"
                        f" the service {service.rate / raw:.2f} of that, HTTP {http.rate / raw:.2f}"
                    )
        charged = Click.objects.count()
        violations = check_books()
    waits.sort()
    return ClickReport(
        rounds=rounds,
        seconds=seconds,
        clients=CLIENTS,
        pgbench_rate=round(median(raw for raw, _, _ in rates)),
        service_rate=round(median(service for _, service, _ in rates)),
        http_rate=round(median(http for _, _, http in rates)),
        service_ratio=round(median(service / raw for raw, service, _ in rates), 3),
        service_target=SERVICE_TARGET,
        http_ratio=round(median(http / raw for raw, _, http in rates), 3),
        http_target=HTTP_TARGET,
        http_p50_ms=round(1000 * waits[len(waits) // 2], 1),
        http_p99_ms=round(1000 * waits[len(waits) * 99 // 100], 1),
        links_followed=links.used,
        clicks_charged=charged,
        failures=dict(failures),
        book_violations=violations,
    )


BENCHMARKS = {"clicks": measure_clicks}  # what `manage.py benchmark` finds here


# --- the surroundings ---


def find_pgbench() -> str:
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/pgbench"), reverse=True)
    found = shutil.which("pgbench") or next((str(path) for path in installed), None)
    if not found:
        raise CannotMeasure("pgbench is missing: it comes with the PostgreSQL server's packages")
    return found


@contextmanager
def throwaway_database() -> Iterator[str]:
    """A fresh, migrated database on the server of DATABASE_URL; `connection` points at it meanwhile. Yields its URL."""
    if connection.vendor != "postgresql":
        raise CannotMeasure("set DATABASE_URL to a PostgreSQL server: the ratio is to pgbench")
    where, own = connection.settings_dict, connection.settings_dict["NAME"]
    name = f"llm_auction_benchmark_{os.getpid()}"
    _execute(f'CREATE DATABASE "{name}"')
    try:
        _switch_to(name)
        call_command("migrate", verbosity=0)
        yield f"postgres://{where['USER']}:{where['PASSWORD']}@{where['HOST']}:{where['PORT']}/{name}"
    finally:
        _switch_to(own)
        _execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def _switch_to(name: str) -> None:
    connection.close()
    connection.close_pool()
    connection.settings_dict["NAME"] = name


def _execute(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
        cursor.execute(statement)
    connection.close()


@contextmanager
def web_server(url: str, *, scratch: str) -> Iterator[int]:
    """The site on uvicorn, as it is served in production; yields its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "auction_site.asgi:application", "--port", str(port)]
    command += ["--workers", str(WEB_PROCESSES), "--no-access-log", "--log-level", "warning"]
    surroundings = {
        "DATABASE_URL": url,
        "SECRET_KEY": settings.SECRET_KEY,
        "TRUSTED_PROXY_COUNT": "1",  # the load names its visitors' addresses
        "VAR_DIR": scratch,
    }
    Path(scratch, "static").mkdir()
    server = subprocess.Popen(command, env={**os.environ, **surroundings}, cwd=settings.BASE_DIR)
    try:
        deadline = time.monotonic() + 180
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                if server.poll() is not None or time.monotonic() > deadline:
                    raise CannotMeasure("the web server did not start") from None
                time.sleep(0.2)
        yield port
    finally:
        server.terminate()
        server.wait(timeout=30)


def run_pgbench(pgbench: str, links: click_load.Links, *, seconds: float, scratch: str) -> float:
    """Transactions per second of the statement that billing sends, without Python."""
    script = Path(scratch, "click.sql")
    script.write_text(click_load.STATEMENT, encoding="utf-8")
    links.hand_to_pgbench(seconds=seconds)
    where = connection.settings_dict
    whole_seconds = str(max(1, round(seconds)))
    run = subprocess.run(
        [
            *(pgbench, "--no-vacuum", "--client", str(CLIENTS), "--jobs", "2", "--time", whole_seconds),
            *("--file", str(script), "--host", where["HOST"], "--port", str(where["PORT"] or 5432)),
            *("--username", where["USER"], where["NAME"]),
        ],
        env={**os.environ, "PGPASSWORD": where["PASSWORD"]},
        capture_output=True,
        text=True,
    )
    rate = re.search(r"tps = ([0-9.]+)", run.stdout)
    if run.returncode or not rate:
        raise CannotMeasure(f"pgbench failed: {run.stderr.strip()}")
    links.take_back_from_pgbench()
    return float(rate[1])
