"""The `kaml` command as the bench uses it. Output of `-o json` is parsed defensively: a missing key is an error."""
import json
import os
import signal
import time
from pathlib import Path

from measure import Run, run
from s3_server import Bucket


# A directory, or a bucket with what it takes to reach it.
Store = Path | Bucket


def _environment(store: Store | None) -> dict[str, str]:
    match store:
        case None:
            return {}
        case Bucket():
            return dict(store.env) | {"KAML_STORE": store.url}
        case _:
            return {"KAML_STORE": f"file://{store}"}


class Kaml:
    def __init__(self, binary: Path):
        self.binary = binary
        self.bench_binary = binary.with_name("kaml-bench")

    def __call__(self, store: Store | None, *arguments: str | Path) -> Run:
        return run(self.binary, *arguments, env=_environment(store))

    def json(self, store: Store | None, *arguments: str | Path) -> dict:
        return _last_json(self(store, *arguments, "-o", "json").output)

    def new_store(self, store: Store) -> Store:
        self(store, "store", "init")
        return store

    def commit(self, store: Store, directory: Path, dataset: str = "bench") -> Run:
        return self(store, "commit", dataset, directory, "-m", "bench", "-o", "json")

    def mount(self, store: Store, point: Path, cache: Path, what: str = "bench@main", profile: str = "auto") -> "Mount":
        return Mount(self, store, point, cache, what, profile)

    def fetched_bytes(self, cache: Path) -> int:
        return int(self.json(None, "stats", "--cache-dir", cache)["fetchedBytes"])

    def bench(self, *arguments: str | Path) -> dict:
        """A subcommand of kaml-bench, which prints one JSON object."""
        if not self.bench_binary.exists():
            raise RuntimeError("kaml-bench is not built")
        return _last_json(run(self.bench_binary, *arguments).output)

    def version(self) -> str:
        return self(None, "version").output.strip().splitlines()[0]


class Mount:
    """A mounted snapshot: `with kaml.mount(...) as mounted:`; `pid` is the serving process."""

    def __init__(self, kaml: Kaml, store: Store, point: Path, cache: Path, what: str, profile: str):
        self.kaml, self.store, self.point, self.cache = kaml, store, point, cache
        self.what, self.profile = what, profile
        self.pid = 0

    def __enter__(self) -> "Mount":
        self.point.mkdir(parents=True, exist_ok=True)
        self.cache.mkdir(parents=True, exist_ok=True)
        before = _fuse_servers(self.kaml.binary)
        self.kaml(self.store, "mount", self.what, self.point, "--cache-dir", self.cache, "--profile", self.profile)
        self.pid = next(iter(_fuse_servers(self.kaml.binary) - before), 0)
        return self

    def __exit__(self, *_) -> None:
        self.kaml(None, "umount", self.point)
        # The cache directory is free for the next mount once the server is gone.
        deadline = time.monotonic() + 20
        while self.pid and Path(f"/proc/{self.pid}/fd").exists() and time.monotonic() < deadline:
            if self.pid not in _fuse_servers(self.kaml.binary):
                break
            time.sleep(0.02)
        else:
            if self.pid and Path(f"/proc/{self.pid}").exists():
                os.kill(self.pid, signal.SIGTERM)


def memory_of(pid: int) -> dict[str, int]:
    """Bytes of resident memory of a process, by the kernel's names: VmHWM, VmRSS, RssAnon, RssFile, ..."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    fields = [line.split() for line in lines if line.startswith(("Vm", "Rss"))]
    return {name.rstrip(":"): int(amount) * 1024 for name, amount, *_ in fields}


def _fuse_servers(binary: Path) -> set[int]:
    """Processes that run this binary and hold an open /dev/fuse."""
    found = set()
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and os.path.samefile(entry / "exe", binary):
                if any(os.readlink(fd) == "/dev/fuse" for fd in (entry / "fd").iterdir()):
                    found.add(int(entry.name))
        except OSError:
            continue  # it ended while we looked
    return found


def _last_json(output: str) -> dict:
    start = output.find("{")
    if start < 0:
        raise RuntimeError(f"no JSON object in: {output[:80]!r}")
    return json.loads(output[start:])
