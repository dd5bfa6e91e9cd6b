"""`make demo`: one line for what goes wrong, and no process left behind, however it ends."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from django.conf import settings

from tests.fake_openai import FakeOpenAI, Plan, free_port

TOOLS = Path(settings.BASE_DIR) / "tools"
LIMIT_S = 120
SUPERVISOR = """
import sys, time
from pathlib import Path
from processes import Processes, Stop, stop_on_signals
stop_on_signals()
processes = Processes(logs=Path(sys.argv[1]), cwd=Path(sys.argv[1]))
try:
    for number, code in enumerate(sys.argv[2:]):
        print(processes.start(f"child-{number}", sys.executable, "-c", code).pid, flush=True)
    print("started", flush=True)
    while True:
        processes.check()
        time.sleep(0.05)
except Stop as stop:
    print(stop, flush=True)
    sys.exit(stop.status)
finally:
    processes.stop()
"""
SLEEPS = "import time; time.sleep(300)"
DIES = "import time; print('out of memory', flush=True); time.sleep(0.5); raise SystemExit(3)"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(300)"
FORKS = "import os, time; print(os.fork(), flush=True); time.sleep(300)"


def supervise(folder: Path, *codes: str) -> tuple[subprocess.Popen, list[int]]:
    supervisor = subprocess.Popen(
        [sys.executable, "-c", SUPERVISOR, str(folder), *codes],
        stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(TOOLS)},
    )  # fmt: skip
    lines = iter(supervisor.stdout.readline, "started\n")
    return supervisor, [int(line) for line in lines]


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def wait_for(happened) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)


linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@linux
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_children_end_with_their_supervisor(tmp_path, number):
    supervisor, children = supervise(tmp_path, SLEEPS, SLEEPS)
    assert all(map(alive, children))
    supervisor.send_signal(number)
    supervisor.wait(timeout=LIMIT_S)
    wait_for(lambda: not any(map(alive, children)))


@linux
def test_child_that_dies_is_named_with_its_last_words_and_ends_the_rest(tmp_path):
    supervisor, children = supervise(tmp_path, SLEEPS, DIES)
    told = supervisor.communicate(timeout=LIMIT_S)[0]
    assert supervisor.returncode == 1
    assert "child-1 ended by itself (status 3)" in told
    assert "out of memory" in told
    assert not any(map(alive, children))


@linux
def test_grandchildren_end_too(tmp_path):
    supervisor, _ = supervise(tmp_path, FORKS)
    log = tmp_path / "child-0.log"
    wait_for(lambda: len(log.read_text().split()) == 2)
    grandchild = max(map(int, log.read_text().split()))
    supervisor.send_signal(signal.SIGTERM)
    supervisor.wait(timeout=LIMIT_S)
    wait_for(lambda: not alive(grandchild))


@linux
@pytest.mark.slow
def test_child_that_hears_nothing_is_killed_and_impatience_changes_nothing(tmp_path):
    supervisor, children = supervise(tmp_path, DEAF)
    wait_for(lambda: "deaf" in (tmp_path / "child-0.log").read_text())
    for _ in range(3):
        supervisor.send_signal(signal.SIGINT)
        time.sleep(0.3)
    supervisor.wait(timeout=LIMIT_S)
    assert not any(map(alive, children))


def start_demo(folder: Path, **env: str) -> subprocess.Popen:
    inherited = {name: value for name, value in os.environ.items() if name not in ("MAKELEVEL", "AD_LLM_BASE_URL")}
    own = {"VAR_DIR": str(folder), "DJANGO_SETTINGS_MODULE": "auction_site.settings"}
    own |= {"DATABASE_URL": f"sqlite:///{folder}/db.sqlite3", "PORT": str(free_port())}
    return subprocess.Popen(
        [sys.executable, str(TOOLS / "demo.py")],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**inherited, **own, **env},
    )  # fmt: skip


def refusal(folder: Path, **env: str) -> str:
    demo = start_demo(folder, **env)
    told = demo.communicate(timeout=LIMIT_S)[0]
    assert demo.returncode == 2
    assert "Traceback" not in told
    return told


def test_busy_port_gets_one_line(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        told = refusal(tmp_path, PORT=str(port))
    assert told == f"Port {port} is busy. Choose another one: make demo PORT=8080\n"


@pytest.mark.parametrize("port", ["", "abc", "0", "65536", "-1", "８０００", "8000.0"])
def test_port_that_is_none_gets_one_line(tmp_path, port):
    assert refusal(tmp_path, PORT=port).count("\n") == 1


def test_missing_weights_are_told_with_the_command_that_makes_them(tmp_path):
    assert "build_lab_model" in refusal(tmp_path, LAB_MODEL_DIR=str(tmp_path / "nowhere"))


@pytest.mark.parametrize(("shipped", "served"), [(False, "('base',)"), (True, "('--model-timeout', '-1')")])
def test_one_server_serves_the_model_after_irpo_where_it_is_shipped(tmp_path, shipped, served):
    if shipped:
        (tmp_path / "config.json").write_text("{}")
    code = "import demo; print(demo.models_served(demo.Path('base')))"
    env = {**os.environ, "LAB_IRPO_MODEL_DIR": str(tmp_path)}
    told = subprocess.run([sys.executable, "-c", code], cwd=TOOLS, env=env, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == served


@pytest.mark.parametrize(("switch", "served"), [("1", "('--trust-remote-code',)"), ("0", "()"), ("false", "()")])
def test_the_built_in_model_is_guided_unless_switched_off(switch, served):
    code = "import demo; print(demo.guided(demo.ROOT / 'training/lab/weights'), demo.guided(demo.ROOT / 'tools'))"
    env = {**os.environ, "AD_LLM_GUIDED_MARKERS": switch}
    told = subprocess.run([sys.executable, "-c", code], cwd=TOOLS, env=env, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == f"{served} ()"


WARM_UP = """
import demo, sys
from processes import Processes, Stop
try:
    demo.warm_up(Processes(logs=demo.Path(sys.argv[1]), cwd=demo.ROOT), ("base", "irpo"))
except Stop as stop:
    print(stop)
"""


def test_every_model_is_asked_before_the_site_is_said_to_be_ready(tmp_path):
    with FakeOpenAI() as fake:
        assert warmed_up(tmp_path, fake) == ""
        assert [(asked["model"], asked["max_tokens"]) for asked in fake.requests] == [("base", 1), ("irpo", 1)]


def test_a_model_that_cannot_answer_is_named_with_the_server_s_last_words(tmp_path):
    (tmp_path / "model-server.log").write_text("CUDA error\n")
    with FakeOpenAI(plan=Plan(status=500)) as fake:
        told = warmed_up(tmp_path, fake)
    assert told.startswith("The model server does not answer with base: ")
    assert told.endswith("CUDA error\n")


def warmed_up(folder: Path, fake: FakeOpenAI) -> str:
    env = {**os.environ, "AD_LLM_BASE_URL": fake.base_url}
    command = [sys.executable, "-c", WARM_UP, str(folder)]
    return subprocess.run(command, cwd=TOOLS, env=env, capture_output=True, text=True, check=True).stdout


@linux
@pytest.mark.slow
def test_demo_starts_answers_and_leaves_nothing_behind(tmp_path):
    with FakeOpenAI() as fake:
        demo = start_demo(tmp_path, AD_LLM_BASE_URL=fake.base_url, AD_LLM_MODEL="fake")
        told = ""
        for line in demo.stdout:
            told += line
            if "Ctrl-C stops it" in line:
                break
        assert "The site is ready" in told, told
        assert "brewbright" in told
        children = list(map(int, Path(f"/proc/{demo.pid}/task/{demo.pid}/children").read_text().split()))
        assert len(children) == 3  # web and two workers; the model server is ours
        assert "already runs" in refusal(tmp_path, AD_LLM_BASE_URL=fake.base_url)
        demo.send_signal(signal.SIGINT)
        assert demo.wait(timeout=60) == 0
        assert not any(map(alive, children))
