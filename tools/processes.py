"""Start processes, watch them, stop every one. Knows nothing of what they do; needs only the standard library."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

STOP_LIMIT_S = 10
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PR_SET_PDEATHSIG = 1
_prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else lambda *_: 0


class Stop(Exception):
    """The end of everything: what to tell, and the exit status."""

    def __init__(self, line: str, status: int) -> None:
        super().__init__(line)
        self.status = status


def _stop(number: int, _frame: object) -> None:
    raise Stop("Stopping ...", 0 if number == signal.SIGINT else 128 + number)


def stop_on_signals() -> None:
    for number in STOP_SIGNALS:
        signal.signal(number, _stop)


def die_with_parent(number: int) -> None:
    """Ask the kernel for this signal when the parent dies, however it dies."""
    _prctl(PR_SET_PDEATHSIG, number)


class Processes:
    """Named children, each in a process group of its own and with its output in <logs>/<name>.log."""

    def __init__(self, *, logs: Path, cwd: Path) -> None:
        self.logs, self.cwd = logs, cwd
        self.children: dict[str, subprocess.Popen] = {}

    def start(self, name: str, *command: str, **env: str) -> subprocess.Popen:
        self.logs.mkdir(parents=True, exist_ok=True)
        with open(self.logs / f"{name}.log", "wb") as log:
            child = self.children[name] = subprocess.Popen(
                command,
                cwd=self.cwd,
                env={**os.environ, **env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=lambda: die_with_parent(signal.SIGKILL),
            )
        return child

    def run(self, name: str, *command: str) -> str:
        """Run to the end and return what it printed; the others are watched meanwhile."""
        child = self.start(name, *command)
        while child.poll() is None:
            self.check(besides=name)
            time.sleep(0.05)
        if child.returncode:
            raise Stop(f"{name} failed (status {child.returncode}):\n{self.tail(name)}", 1)
        del self.children[name]
        return (self.logs / f"{name}.log").read_text(errors="replace").strip()

    def check(self, *, besides: str = "") -> None:
        """None of them ends by itself: one that does takes the rest with it."""
        for name, child in self.children.items():
            if name != besides and child.poll() is not None:
                log = self.logs / f"{name}.log"
                raise Stop(f"The {name} ended by itself (status {child.returncode}), so all stops. {log} ends:\n"
                           f"{self.tail(name)}", 1)  # fmt: skip

    def tail(self, name: str, lines: int = 12) -> str:
        text = (self.logs / f"{name}.log").read_text(errors="replace").strip().splitlines()[-lines:]
        return "\n".join(f"    {line}" for line in text)

    def stop(self) -> None:
        """Ask all groups to end; after STOP_LIMIT_S they have no choice."""
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C must not leave processes behind
        self._tell(signal.SIGTERM)
        deadline = time.monotonic() + STOP_LIMIT_S
        while time.monotonic() < deadline and any(child.poll() is None for child in self.children.values()):
            time.sleep(0.1)
        self._tell(signal.SIGKILL)
        for child in self.children.values():
            child.wait()

    def _tell(self, number: int) -> None:
        for child in self.children.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, number)  # the group, so that grandchildren hear it too
