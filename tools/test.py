"""All tests, in the order in which they tell most: style, SQLite, PostgreSQL, vLLM, the browser. By `make test`.

The browser tests are a process of their own: Playwright's event loop does not go well with other asynchronous tests.
"""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parent.parent
POSTGRES = os.environ.get("TEST_DATABASE_URL", "postgres://postgres@127.0.0.1:5432/postgres")
VLLM = ROOT / ".venv-vllm-cpu" / "bin" / "python"
PYTEST = [sys.executable, "-m", "pytest"]
STEPS: dict[str, tuple[list[str], dict[str, str]]] = {
    "style": ([sys.executable, "-m", "ruff", "check", "."], {}),
    "tests on SQLite": ([*PYTEST, "-m", "not e2e and not vllm"], {"DATABASE_URL": ""}),
    "database tests on PostgreSQL": ([*PYTEST, "-m", "not e2e", "--only-db"], {"DATABASE_URL": POSTGRES}),
    "tests over real vLLM": ([*PYTEST, "-m", "vllm"], {}),
    "tests in the browser": ([*PYTEST, "tests/e2e"], {"DATABASE_URL": ""}),
}


def answers(url: str) -> bool:
    where = urlsplit(url)
    try:
        socket.create_connection((where.hostname or "127.0.0.1", where.port or 5432), timeout=1).close()
    except OSError:
        return False
    return True


def run(name: str, command: list[str], env: dict[str, str]) -> str:
    if env.get("DATABASE_URL") and not answers(POSTGRES):
        return "FAILED: nothing answers" if os.environ.get("CI") else "skipped: no PostgreSQL (set TEST_DATABASE_URL)"
    if "vllm" in command and not VLLM.exists():
        return f"skipped: {os.environ.get('NO_VLLM', 'no vLLM (make vllm-cpu)')}"
    print(f"\n=== {name}", flush=True)
    merged = {name: value for name, value in {**os.environ, **env}.items() if value != "" or name not in env}
    return "ok" if subprocess.run(command, cwd=ROOT, env=merged).returncode == 0 else "FAILED"


def main() -> int:
    results = {}
    for name, (command, env) in STEPS.items():
        began = time.monotonic()
        results[name] = f"{run(name, command, env)} ({time.monotonic() - began:.0f} s)"
    print("\n" + "\n".join(f"{name:<30} {result}" for name, result in results.items()))
    return any("FAILED" in result for result in results.values())


if __name__ == "__main__":
    sys.exit(main())
