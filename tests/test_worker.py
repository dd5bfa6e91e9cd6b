"""A task goes through each broker to a real worker process, and a killed worker leaves nobody behind."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest
from django.conf import settings

from tests.conftest import service_url

TASK = "auction_site.housekeeping.throw_away_expired"
CELERY = [sys.executable, "-m", "celery", "-A", "auction_site"]
LIMIT_S = 120


@pytest.fixture(scope="module")
def migrated(tmp_path_factory) -> Path:
    """A directory with a migrated database of its own."""
    site = tmp_path_factory.mktemp("site")
    run("manage.py", "migrate", "--verbosity", "0", site=site, broker="filesystem://")
    return site


@pytest.fixture
def site(migrated, tmp_path) -> Path:
    shutil.copytree(migrated, tmp_path / "site")
    return tmp_path / "site"


def environment(*, site: Path, broker: str) -> dict[str, str]:
    own = {"VAR_DIR": str(site), "BROKER_URL": broker, "DATABASE_URL": f"sqlite:///{site}/db.sqlite3", "DEMO": "1"}
    return {**os.environ, **own, "DJANGO_SETTINGS_MODULE": "auction_site.settings"}


def run(*command: str, site: Path, broker: str) -> None:
    env = environment(site=site, broker=broker)
    subprocess.run(
        [sys.executable, *command], cwd=settings.BASE_DIR, env=env, check=True, capture_output=True, timeout=60
    )


def start_worker(*options: str, site: Path, broker: str) -> subprocess.Popen:
    with open(site / "worker.log", "wb") as log:
        return subprocess.Popen(
            [*CELERY, "worker", "--pool", "threads", "--concurrency", "1", "--loglevel", "info", *options],
            cwd=settings.BASE_DIR, env=environment(site=site, broker=broker), stdout=log, stderr=log,
        )  # fmt: skip


def wait_for(happened, log: Path) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not happened():
        assert time.monotonic() < deadline, log.read_text()[-3000:]
        time.sleep(0.2)


def sessions(site: Path) -> int:
    with sqlite3.connect(site / "db.sqlite3") as database:
        return database.execute("SELECT count(*) FROM django_session").fetchone()[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    "broker",
    [
        "filesystem",
        pytest.param("redis", marks=pytest.mark.services("redis")),
        pytest.param("rabbitmq", marks=pytest.mark.services("rabbitmq")),
    ],
)
def test_task_reaches_a_worker(site, broker):
    url = "filesystem://" if broker == "filesystem" else service_url(broker)
    queue = f"test-{uuid.uuid4().hex[:8]}"
    with sqlite3.connect(site / "db.sqlite3") as database:
        database.execute("INSERT INTO django_session VALUES ('expired', '', '2001-01-01 00:00:00')")
    worker = start_worker("-Q", queue, site=site, broker=url)
    try:
        run("-m", "celery", "-A", "auction_site", "call", TASK, "--queue", queue, site=site, broker=url)
        wait_for(lambda: sessions(site) == 0, site / "worker.log")
    finally:
        worker.terminate()
        worker.wait(timeout=20)
        if broker != "filesystem":
            delete_queue(url, queue)


def delete_queue(url: str, queue: str) -> None:
    from kombu import Connection

    with Connection(url) as connection:
        connection.default_channel.queue_delete(queue)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux's")
def test_beat_dies_with_a_worker_that_is_killed(site):
    worker = start_worker("--beat", "--schedule", str(site / "beat"), site=site, broker="filesystem://")
    wait_for(lambda: "beat: Starting" in (site / "worker.log").read_text(), site / "worker.log")
    beat = Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text().split()
    assert len(beat) == 1
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    wait_for(lambda: not Path(f"/proc/{beat[0]}").exists(), site / "worker.log")
