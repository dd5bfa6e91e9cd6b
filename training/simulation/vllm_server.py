"""Start vLLM's server from an environment of its own, for tests and measurements. `make vllm-cpu` makes it."""

import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

PYTHON = Path(__file__).resolve().parents[2] / ".venv-vllm-cpu" / "bin" / "python"
CONTEXT = 4096
WITHIN_S = 300.0  # compiling for a new model takes most of it


class ServerFailed(RuntimeError):
    """It ended, or was not ready in time; says its last words."""


@contextmanager
def serve_vllm(model: Path, *, log: Path, python: Path = PYTHON, within: float = WITHIN_S) -> Iterator[str]:
    """Serve the folder under the name `lab` on a free port; yields the base URL, stops the server afterwards."""
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # The package for CPUs is called vllm-cpu, and the `vllm` command looks for its version under the other name.
    command = [str(python), "-m", "vllm.entrypoints.openai.api_server", "--model", str(model), "--port", str(port)]
    command += ["--host", "127.0.0.1", "--served-model-name", "lab", "--max-model-len", str(CONTEXT)]
    # Blanks between tokens are valid JSON, and a small model writes nothing else until its limit.
    form = {"backend": "xgrammar", "disable_any_whitespace": True}
    command += ["--structured-outputs-config", json.dumps(form)]
    # vLLM 0.32 on a CPU dies of a seeded request whose prompt it reads in pieces ("CPU Generator does not use offset").
    command += ["--no-enable-chunked-prefill", "--max-num-batched-tokens", str(CONTEXT)]
    env = {"VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}  # 1 GiB, and no calls home
    with log.open("wb") as told:
        server = subprocess.Popen(
            command, env={**os.environ, **env}, cwd=log.parent, stdout=told, stderr=subprocess.STDOUT
        )
    try:
        deadline = time.monotonic() + within
        while not _healthy(port):
            if server.poll() is not None or time.monotonic() > deadline:
                last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-3:]
                raise ServerFailed(f"vLLM was not ready: {' '.join(last)[:500]}")
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        try:
            server.wait(timeout=30)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False
