"""The S3 servers and the fault proxy of Tests/Servers, as the bench uses them: child processes that speak JSON."""
import json
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

SERVERS = Path(__file__).resolve().parents[1] / "Servers"
sys.path.insert(0, str(SERVERS))

from s3 import S3  # noqa: E402

_TICKS = os.sysconf("SC_CLK_TCK")
_REQUEST = re.compile(r'"(\w+) (\S+) HTTP/1\.1" (\d+) (\d+)')


@dataclass(frozen=True)
class Bucket:
    """A store in a bucket: its URL, and the variables with which programs reach it."""

    url: str
    env: tuple[tuple[str, str], ...]


@dataclass
class Served:
    """What the server did in a while."""

    gets: int = 0
    lists: int = 0
    get_bytes: int = 0


class Child:
    """A process that answers a line of JSON to a line of JSON, and ends when its input closes."""

    def __init__(self, *command: str | Path, env: dict[str, str] | None = None, seconds: float = 120):
        self.process = subprocess.Popen([sys.executable, *map(str, command)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True, env=os.environ | (env or {}))
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{Path(command[0]).name} did not start: status {self.process.wait()}")
        self.details = json.loads(line)

    def tell(self, **command) -> dict:
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        if "error" in answer:
            raise RuntimeError(f"{command}: {answer['error']}")
        return answer

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        self.process.stdin.close()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class FaultProxy(Child):
    def __init__(self, server: "S3Server"):
        super().__init__(SERVERS / "faultproxy.py", "--upstream", server.endpoint, env=dict(server.keys))
        self.endpoint = self.details["endpoint"]


class S3Server(Child):
    """A real server with an empty bucket."""

    def __init__(self, kind: str = "rgw", *options: str):
        super().__init__(SERVERS / "serve.py", kind, *options)
        self.endpoint, self.bucket = self.details["endpoint"], self.details["bucket"]
        self.keys = {"AWS_ACCESS_KEY_ID": self.details["accessKey"],
                     "AWS_SECRET_ACCESS_KEY": self.details["secretKey"], "AWS_REGION": self.details["region"]}
        self._log = Path(self.details["accessLog"]) if "accessLog" in self.details else None

    def client(self) -> S3:
        return S3(self.endpoint, self.bucket, self.details["accessKey"], self.details["secretKey"])

    def store(self, prefix: str, endpoint: str | None = None) -> Bucket:
        variables = self.keys | {"KAML_S3_ENDPOINT": endpoint or self.endpoint}
        return Bucket(f"s3://{self.bucket}/{prefix}", tuple(variables.items()))

    def cpu(self) -> float:
        """Seconds of processor time that all processes of the server have used."""
        return sum(cpu_of(pid) for pid in self.details["pids"].values())

    def mark(self) -> int:
        """A place in the log of requests, which RGW writes a moment later."""
        size, before = self._log.stat().st_size, -1
        while size != before:
            time.sleep(0.6)
            size, before = self._log.stat().st_size, size
        return size

    def served_since(self, mark: int) -> Served:
        served = Served()
        end = self.mark()
        with self._log.open(errors="replace") as log:
            log.seek(mark)
            for line in log.read(end - mark).splitlines():
                request = _REQUEST.search(line)
                if not request or request[1] != "GET":
                    continue
                if "list-type=2" in request[2] or "?versions" in request[2]:
                    served.lists += 1
                else:
                    served.gets += 1
                    served.get_bytes += int(request[4])
        return served


def cpu_of(pid: int) -> float:
    """Seconds of processor time, user and system, that a process has used."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS
