"""Where a run keeps its things: cached data under .build, scratch space on disk and on tmpfs, removed afterwards."""
import contextlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from kaml import Kaml
from peers import Peers

ROOT = Path(__file__).resolve().parents[2]


class Workspace:
    def __init__(self, rounds: int, scale: float = 1):
        self.rounds = rounds
        # Below 1 the data is smaller, to try the bench itself; its figures then mean little.
        self.scale = scale
        # KAML_BENCH_DATA shares the downloads between several checkouts.
        self.data = Path(os.environ.get("KAML_BENCH_DATA", ROOT / ".build" / "bench-data"))
        self.kaml = Kaml(Path(os.environ.get("KAML_BIN", ROOT / ".build" / "release" / "kaml")))
        self.peers = Peers(ROOT / ".build" / "bench-peers")
        self.disk = self.memory = Path()
        self._open = contextlib.ExitStack()

    def __enter__(self) -> "Workspace":
        self.data.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *_) -> None:
        self.peers.stop_all()

    def using(self, thing):
        """Enters a context that lasts as long as the experiment."""
        return self._open.enter_context(thing)

    def scaled(self, count: int, least: int = 1) -> int:
        return max(least, int(count * self.scale))

    @contextlib.contextmanager
    def scratch(self):
        """Fresh `disk` and `memory` directories for one experiment; what it left mounted is unmounted first."""
        (ROOT / ".build").mkdir(exist_ok=True)
        self.disk = Path(tempfile.mkdtemp(prefix="bench-", dir=ROOT / ".build"))
        self.memory = Path(tempfile.mkdtemp(prefix="kaml-bench-", dir="/dev/shm"))
        try:
            yield
        finally:
            self.peers.stop_all()
            self._open.close()
            _unmount_below(self.disk)
            for directory in (self.disk, self.memory):
                shutil.rmtree(directory, ignore_errors=True)


def _unmount_below(directory: Path) -> None:
    for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
        point = line.split()[1]
        if point.startswith(f"{directory}/"):
            subprocess.run(["umount", "-l", point], check=False)
