"""`make test`: its lanes run side by side, a failure fails it, and Ctrl-C leaves nothing behind."""

import signal
import subprocess
import sys
from pathlib import Path

from django.conf import settings

from tests.test_demo import alive, linux, wait_for

RUNNER = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("lanes", "test.py")
lanes = importlib.util.module_from_spec(spec)
spec.loader.exec_module(lanes)
lanes.LANES = eval(sys.argv[1])
sys.exit(lanes.main())
"""
SAYS = "import sys; print(sys.argv[1]); sys.exit(int(sys.argv[2]))"


def start(*lanes: dict[str, list[str]]) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", RUNNER, repr(lanes)], cwd=Path(settings.BASE_DIR) / "tools", text=True,
        stdout=subprocess.PIPE,
    )  # fmt: skip


def says(word: str, code: int = 0) -> list[str]:
    return [sys.executable, "-c", SAYS, word, str(code)]


def test_every_step_runs_is_printed_whole_and_one_failure_fails_all():
    runner = start({"one": says("first", 1), "two": says("second")}, {"three": says("third")})
    told = runner.communicate()[0]
    assert runner.returncode == 1
    for word in ("=== one\nfirst\n", "=== two\nsecond\n", "=== three\nthird\n"):
        assert word in told
    results = [line.split()[:2] for line in told.splitlines()[-3:]]
    assert results == [["one", "FAILED"], ["two", "ok"], ["three", "ok"]]
    assert start({"one": says("first")}).wait() == 0


@linux
def test_ctrl_c_stops_both_lanes(tmp_path):
    sleeps = "import os, pathlib, sys, time; pathlib.Path(sys.argv[1]).write_text(str(os.getpid())); time.sleep(300)"
    pids = [tmp_path / "one", tmp_path / "two"]
    runner = start(*({path.name: [sys.executable, "-c", sleeps, str(path)], "next": says("never")} for path in pids))
    wait_for(lambda: all(path.exists() and path.read_text() for path in pids))
    runner.send_signal(signal.SIGINT)
    told = runner.communicate()[0]
    assert runner.returncode == 1
    assert "never" not in told
    assert not any(alive(int(path.read_text())) for path in pids)
