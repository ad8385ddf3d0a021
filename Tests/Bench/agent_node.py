"""A node for the agent's experiments: a mount holder, agents that come and go, and verified load on their mounts."""
import json
import os
import select
import shutil
import signal
import subprocess
import time
from pathlib import Path

from measure import run
from workspace import Workspace


class Node:
    """`with Node(workspace) as node:`; whatever happens, its processes and mounts are gone afterwards."""

    def __init__(self, w: Workspace, *options: str):
        self.bin = w.kaml.binary.parent
        self.root = w.disk / "node"
        self.mounts, self.cache, self.run = (self.root / name for name in ("mounts", "cache", "run"))
        self.socket, self.http = self.run / "agent.sock", self.run / "http.sock"
        self.options, self.points = options, []
        self.holder = self.agent = None

    def __enter__(self) -> "Node":
        for each in (self.mounts, self.cache, self.run):
            each.mkdir(parents=True)
        self.log = open(self.root / "log", "ab")
        self.holder = self._start("kamld-holder", "--socket", self.run / "holder.sock", "--allow-under", self.mounts)
        _until(lambda: (self.run / "holder.sock").exists(), "the holder listens")
        return self

    def __exit__(self, *_) -> None:
        for point in self.points:
            subprocess.run(["umount", "-l", "-q", point], stderr=subprocess.DEVNULL)
        for process in (self.agent, self.holder):
            if process:
                process.kill()
                process.wait()
        self.log.close()
        shutil.rmtree(self.root, ignore_errors=True)

    def _start(self, name: str, *arguments: str | Path, binary: Path | None = None) -> subprocess.Popen:
        words = [str(part) for part in (binary or self.bin / name, *arguments)]
        return subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)

    def start_agent(self, binary: Path | None = None) -> None:
        self.agent = self._start(
            "kamld", "agent", "--admin-socket", self.socket, "--cache-directory", self.cache, "--holder-socket",
            self.run / "holder.sock", "--http-listen", f"unix:{self.http}", *self.options, binary=binary)

    def wait_until_ready(self) -> None:
        def is_ready() -> bool:
            if self.agent.poll() is not None:
                raise RuntimeError(f"the agent ended with {self.agent.returncode}; see {self.root / 'log'}")
            return self.get("/readyz") == "ready\n" or self.get("/readyz") == "ok\n"

        _until(is_ready, "the agent is ready")

    def get(self, path: str) -> str | None:
        """The body of an answer with status 200; None when there is none."""
        import socket

        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            try:
                connection.connect(str(self.http))
                connection.sendall(f"GET {path} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n".encode())
                answer = b""
                while piece := connection.recv(1 << 20):
                    answer += piece
            except OSError:
                return None
        head, _, body = answer.partition(b"\r\n\r\n")
        return body.decode() if b" 200 " in head.split(b"\r\n")[0] else None

    def end_agent(self, how: signal.Signals) -> None:
        self.agent.send_signal(how)
        status = self.agent.wait(60)
        if status != (-how if how == signal.SIGKILL else 0):
            raise RuntimeError(f"the agent ended with {status}; see {self.root / 'log'}")

    def mount(self, store: Path, what: str, name: str, *options: str) -> Path:
        point = self.mounts / name
        point.mkdir()
        self.points.append(point)
        run(self.bin / "kaml", "mount", what, point, "--store", f"file://{store}", "--agent", self.socket, *options)
        return point

    def load(self, point: Path, source: Path) -> "Load":
        return Load(self.bin / "kaml-bench", point, source)


class Load:
    """`kaml-bench verifyload`, until it is asked for its outcome."""

    def __init__(self, program: Path, point: Path, source: Path):
        self.process = subprocess.Popen(
            [program, "verifyload", "--mount", point, "--source", source, "--seconds", "86400"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        time.sleep(0.5)

    def longest_wait(self) -> float:
        """Milliseconds, since it was last asked."""
        self.process.send_signal(signal.SIGUSR1)
        if not select.select([self.process.stdout], [], [], 30)[0]:
            raise RuntimeError("the load does not answer")
        return json.loads(self.process.stdout.readline())["longest_ms"]

    def outcome(self) -> dict:
        self.process.terminate()
        said, _ = self.process.communicate(timeout=120)
        return json.loads(said.splitlines()[-1])


def _until(condition, what: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.002)
