"""Run the whole site on this machine: model server, web, worker. Start with `make demo`; Ctrl-C stops all of it.

Needs only the standard library, so that whatever goes wrong first can be told in one line. Logs go to var/log/.
"""

import contextlib
import fcntl
import json
import os
import signal
import socket
import sys
import time
import urllib.request
from pathlib import Path

from processes import Processes, Stop, die_with_parent, stop_on_signals

ROOT = Path(__file__).resolve().parent.parent
VAR = Path(os.environ.get("VAR_DIR", ROOT / "var"))
START_LIMIT_S = 180
FIRST_VISITORS = "simulate_traffic --first --visitors 120 --days 14 --engine both"  # dashboards are not empty then
PREPARE = {  # each time; all of it keeps what is there
    "Bringing the database up to date": "migrate --no-input --verbosity 0",
    "Making the shared cache": "createcachetable",
    "Filling in the demo market": "seed_demo",
    "Collecting static files": "collectstatic --no-input --verbosity 0",
}


def is_free(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def free_port(preferred: int) -> int:
    if is_free("127.0.0.1", preferred):
        return preferred
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def web_address() -> tuple[str, int]:
    host, port = os.environ.get("HOST", "127.0.0.1"), os.environ.get("PORT", "8000")
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise Stop(f"PORT must be a number from 1 to 65535, not {port!r}.", 2)
    if not is_free(host, int(port)):
        raise Stop(f"Port {port} is busy. Choose another one: make demo PORT=8080", 2)
    return host, int(port)


def run_alone() -> None:
    """One demo in a directory: two would share a database, a broker and a beat."""
    VAR.mkdir(parents=True, exist_ok=True)
    lock = os.open(VAR / "demo.lock", os.O_RDWR | os.O_CREAT)  # held until this process ends
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise Stop("The demo already runs in this directory.", 2) from None


def start_model_server(processes: Processes) -> tuple[str, ...]:
    """Returns the models it is to answer with."""
    weights = Path(os.environ.get("LAB_MODEL_DIR", ROOT / "training" / "lab" / "weights"))
    if not (weights / "config.json").exists():
        raise Stop(
            f"There is no built-in Ad-LLM in {weights}. Build it: .venv/bin/python manage.py build_lab_model\n"
            "Or name another model server: AD_LLM_BASE_URL=http://... AD_LLM_MODEL=... make demo",
            2,
        )
    print("Starting the model server", flush=True)
    port = free_port(8001)
    processes.start(
        "model-server",
        *(sys.executable, str(Path(sys.executable).with_name("transformers")), "serve", *models_served(weights)),
        *("--device", "cpu", "--host", "127.0.0.1", "--port", str(port), *guided(weights)),
        PYTHONPATH=os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
        OMP_NUM_THREADS=str(min(4, os.cpu_count() or 1)),
    )
    os.environ["AD_LLM_BASE_URL"] = f"http://127.0.0.1:{port}/v1"
    return tuple(str(folder) for folder in (weights, after_irpo()) if (folder / "config.json").exists())


def after_irpo() -> Path:
    return Path(os.environ.get("LAB_IRPO_MODEL_DIR", ROOT / "training" / "lab" / "weights-irpo"))


def guided(weights: Path) -> tuple[str, ...]:
    """Let the built-in model take its folder's own `generate`, which knows only true markers; unless switched off."""
    wanted = os.environ.get("AD_LLM_GUIDED_MARKERS", "1").lower() not in ("0", "false", "no", "off")
    return ("--trust-remote-code",) if wanted and (weights / "custom_generate").is_dir() else ()


def models_served(weights: Path) -> tuple[str, ...]:
    """The one model, loaded at the start; where its version after IRPO is there, both, loaded when first asked."""
    return ("--model-timeout", "-1") if (after_irpo() / "config.json").exists() else (str(weights),)


def wait_until_ready(processes: Processes, address: str) -> None:
    deadline, answer = time.monotonic() + START_LIMIT_S, ""
    while time.monotonic() < deadline:
        processes.check()
        try:
            with urllib.request.urlopen(f"{address}readyz", timeout=3):
                return
        except urllib.error.HTTPError as error:
            answer = error.read(500).decode(errors="replace")
        except OSError as error:
            answer = str(error)
        time.sleep(0.25)
    raise Stop(f"The site did not get ready within {START_LIMIT_S} s: {answer}", 1)


def warm_up(processes: Processes, models: tuple[str, ...]) -> None:
    """The first question to a model waits until it is loaded: ask one before a visitor does."""
    for model in models:
        asked = {"model": model, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1}
        request = urllib.request.Request(
            f"{os.environ['AD_LLM_BASE_URL']}/chat/completions", json.dumps(asked).encode(),
            {"Content-Type": "application/json"},
        )  # fmt: skip
        try:
            with urllib.request.urlopen(request, timeout=START_LIMIT_S):
                pass
        except OSError as error:
            last_words = processes.tail("model-server")
            raise Stop(f"The model server does not answer with {model}: {error}\n{last_words}", 1) from None


def demo(processes: Processes) -> None:
    host, port = web_address()
    run_alone()
    os.environ |= {"DEMO": "1", "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1", "TOKENIZERS_PARALLELISM": "false"}
    models: tuple[str, ...] = ()
    if "AD_LLM_BASE_URL" not in os.environ:
        models = start_model_server(processes)  # it loads while the rest is made ready
    printed = {}
    for title, command in PREPARE.items():
        print(title, flush=True)
        name, *options = command.split()
        printed[name] = processes.run(name, sys.executable, "manage.py", name, *options)
    print("Starting the site", flush=True)
    processes.start(
        "web-server",
        *(sys.executable, "-m", "uvicorn", "auction_site.asgi:application", "--host", host, "--port", str(port)),
        *("--timeout-graceful-shutdown", "5", "--no-access-log"),
    )
    worker = (sys.executable, "-m", "celery", "-A", "auction_site", "worker", "--pool", "threads", "--loglevel", "info")
    processes.start("worker", *worker, "--concurrency", "2", "--beat", "--schedule", str(VAR / "beat"))
    training = ("--concurrency", "1", "--queues", "training", "--hostname", "training@%h")
    # Beside the others, threads that wait for each other must sleep: spinning takes the processor that they wait for.
    processes.start("training-worker", *worker, *training, OMP_WAIT_POLICY="PASSIVE")
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    wait_until_ready(processes, f"http://{shown}:{port}/")
    warm_up(processes, models)
    visitors = processes.run("visitors", sys.executable, "manage.py", *FIRST_VISITORS.split())
    print(f"\n  The site is ready:  http://{shown}:{port}/\n\n{printed['seed_demo']}\n", flush=True)
    print(f"  {visitors.splitlines()[-1]}")
    print("  Ctrl-C stops it.\n", flush=True)
    while True:
        processes.check()
        time.sleep(0.5)


def main() -> int:
    if "MAKELEVEL" in os.environ:
        die_with_parent(signal.SIGTERM)  # make was killed: do not outlive it
    stop_on_signals()
    processes = Processes(logs=VAR / "log", cwd=ROOT)
    try:
        demo(processes)
    except Stop as stop:
        with contextlib.suppress(OSError):  # the terminal may be gone
            print(stop, flush=True)
        return stop.status
    finally:
        processes.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
