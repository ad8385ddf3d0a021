"""Child processes that never outlive this one, free ports, and waiting for things to come up."""
import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1


class Failure(Exception):
    """A server that did not come up, or a command that failed, in words."""


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that are free now, below the range that clients take theirs from."""
    sockets, ports = [], []
    candidate = 20000 + int.from_bytes(os.urandom(2)) % 10000
    with contextlib.ExitStack() as stack:
        while len(ports) < count:
            candidate = candidate + 1 if candidate < 32000 else 20000
            each = stack.enter_context(socket.socket())
            try:
                each.bind(("127.0.0.1", candidate))
            except OSError:
                continue
            sockets.append(each)
            ports.append(candidate)
    return ports


class Processes:
    """The servers of one fixture, with a log each; stopped in the opposite order of their start."""

    def __init__(self, logs: Path):
        self.logs = logs
        self.running: dict[str, subprocess.Popen] = {}

    def start(self, name: str, *command: str | Path, env: dict[str, str] | None = None) -> subprocess.Popen:
        with open(self.logs / f"{name}.out", "ab") as log:
            process = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=log,
                                       stderr=log, env=os.environ | (env or {}), preexec_fn=_die_with_parent)
        self.running[name] = process
        return process

    def wait_for(self, name: str, what: str, ready: Callable[[], bool], seconds: float = 60) -> None:
        """Polls `ready` while the server lives; says the last words of its log when it does not come up."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.running[name].poll() is None:
            with contextlib.suppress(OSError):
                if ready():
                    return
            time.sleep(0.05)
        ended = self.running[name].poll()
        state = f"ended with status {ended}" if ended is not None else f"is not there after {seconds:.0f} s"
        raise Failure(f"{what} {state}: {self.last_words(name)}")

    def last_words(self, name: str) -> str:
        lines = (self.logs / f"{name}.out").read_text(errors="replace").strip().splitlines()
        return " / ".join(lines[-5:])

    def stop(self, gently: bool = True) -> None:
        """Ends all of them: by SIGTERM and five seconds, or at once where nothing is to be saved."""
        processes = list(reversed(self.running.values()))
        for process in processes:
            if process.poll() is None:
                if gently:
                    process.send_signal(signal.SIGCONT)
                    process.terminate()
                else:
                    process.kill()
        deadline = time.monotonic() + 5
        for process in processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.05, deadline - time.monotonic()))
            if process.poll() is None:
                process.kill()
                process.wait()
        self.running.clear()


def run(*command: str | Path, env: dict[str, str] | None = None, seconds: float = 60) -> str:
    """Runs a command to its end and gives its output; raises with its last words when it fails."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
                              env=os.environ | (env or {}), timeout=seconds, preexec_fn=_die_with_parent)
    except subprocess.TimeoutExpired as late:
        raise Failure(f"{Path(words[0]).name} took more than {seconds:.0f} s") from late
    if done.returncode:
        said = " / ".join((done.stderr.strip() or done.stdout.strip()).splitlines()[-3:])
        raise Failure(f"{Path(words[0]).name}: status {done.returncode}: {said}")
    return done.stdout


def is_listening(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), 1):
        return True


def need(program: str, package: str) -> str:
    """The path of a program; says which Debian package has it when it is missing."""
    for folder in [*os.environ.get("PATH", "").split(":"), "/usr/sbin", "/usr/bin"]:
        path = Path(folder, program)
        if path.exists():
            return str(path)
    raise Failure(f"{program} is not installed; run `make setup`, or: apt-get install {package}")


def _die_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() == 1:  # the parent ended before the call
        sys.exit(1)
