"""Small measuring tools: run a command with its time and CPU, alternate rounds, sizes of trees."""
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path


@dataclass
class Run:
    """One finished command. `cpu` is user plus system time of it and the children it waited for."""

    seconds: float
    cpu: float
    output: str


def run(*command: str | Path, cwd: Path | None = None, env: dict | None = None, timeout: float = 1800) -> Run:
    """Runs a command to its end; raises with its last words when it fails.

    Output goes to files, not to pipes: a process that the command leaves behind (a mount) may keep it open.
    """
    arguments = [str(part) for part in command]
    file = partial(tempfile.TemporaryFile, "w+", errors="replace")
    with file() as said, file() as warned:
        before = os.times()
        start = time.monotonic()
        process = subprocess.run(arguments, cwd=cwd, env=os.environ | (env or {}), stdin=subprocess.DEVNULL,
                                 stdout=said, stderr=warned, timeout=timeout)
        seconds = time.monotonic() - start
        after = os.times()
        said.seek(0)
        warned.seek(0)
        output = said.read()
        if process.returncode != 0:
            words = " / ".join((warned.read().strip() or output.strip()).splitlines()[-3:])
            name = " ".join([Path(arguments[0]).name, *arguments[1:3]])
            raise RuntimeError(f"{name}: status {process.returncode}: {words}")
    cpu = after.children_user - before.children_user + after.children_system - before.children_system
    return Run(seconds, cpu, output)


def alternate(rounds: int, *sides: Callable[[], object]) -> list[list]:
    """Calls each side once a round, round after round, so that noise on the machine meets all sides alike."""
    results: list[list] = [[] for _ in sides]
    for _ in range(rounds):
        for side, kept in zip(sides, results):
            kept.append(side())
    return results


def best(runs: list[Run]) -> Run:
    return min(runs, key=lambda each: each.seconds)


def tree_bytes(directory: Path) -> int:
    """Sum of the lengths of all files: what a bucket would bill, whatever the file system rounds up."""
    total = 0
    for folder, _, names in os.walk(directory):
        total += sum(os.lstat(os.path.join(folder, name)).st_size for name in names)
    return total


def regular_files(directory: Path) -> list[Path]:
    """Every regular file that is not empty, sorted."""
    found = []
    for folder, _, names in os.walk(directory):
        for name in names:
            path = Path(folder, name)
            if path.is_file() and not path.is_symlink() and path.stat().st_size:
                found.append(path)
    return sorted(found)


def megabytes(count: float) -> str:
    return f"{count / 1e6:,.1f} MB"


def rate(count: float, seconds: float) -> str:
    return f"{count / seconds / 1e6:,.0f} MB/s"


def read_everything(directory: Path, threads: int = 1) -> None:
    """Reads every byte below a directory with a few threads (reads release the interpreter's lock)."""

    def read(path: Path) -> None:
        buffer = bytearray(1 << 20)
        with open(path, "rb", buffering=0) as file:
            while file.readinto(buffer):
                pass

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(read, regular_files(directory)))


@dataclass
class Reading:
    """What a reader got in how long."""

    files: int
    bytes: int
    seconds: float

    @property
    def files_rate(self) -> float:
        return self.files / self.seconds

    @property
    def rate(self) -> float:
        return self.bytes / self.seconds


def read_until(paths: Iterable[Path], seconds: float = float("inf")) -> Reading:
    """Reads files one after the other, as one thread does; stops in the middle of one when the time is over."""
    buffer, files, count = bytearray(1 << 20), 0, 0
    start = time.monotonic()
    for path in paths:
        with open(path, "rb", buffering=0) as file:
            while got := file.readinto(buffer):
                count += got
                if time.monotonic() - start > seconds:
                    return Reading(files, count, time.monotonic() - start)
        files += 1
    return Reading(files, count, time.monotonic() - start)


def drop_page_cache() -> None:
    """Makes the kernel forget what it has read, where this process may."""
    run("sync")
    if os.geteuid() == 0:
        Path("/proc/sys/vm/drop_caches").write_text("3")
